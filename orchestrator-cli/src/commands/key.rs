//! `key`.

use std::path::Path;
use std::process::ExitCode;

use backup_core::{Context, Result, encryption};
use serde_json::json;

use crate::exit;
use crate::output::Output;

pub(crate) fn generate(file: &Path, output: &Output, context: &Context) -> Result<ExitCode> {
    let recipient = encryption::generate(file, context.now())?;
    output.note(&format!(
        "{}: the identity, which reads bundles; keep it where the loss of this machine does not take it along\n",
        file.display()
    ));
    output.result("key", &json!({ "identity": file, "recipient": recipient }), &format!("{recipient}\n"))?;
    Ok(exit::done(false))
}
