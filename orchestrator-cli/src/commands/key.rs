//! `key`.

use std::path::Path;
use std::process::ExitCode;

use backup_core::{Context, Result, encryption, signing};
use serde_json::json;

use crate::exit;
use crate::output::Output;

pub(crate) fn generate(file: &Path, signing: bool, output: &Output, context: &Context) -> Result<ExitCode> {
    if signing {
        return generate_signing(file, output, context);
    }
    let recipient = encryption::generate(file, context.now())?;
    output.note(&format!(
        "{}: the identity, which reads bundles; keep it where the loss of this machine does not take it along\n",
        file.display()
    ));
    output.result("key", &json!({ "identity": file, "recipient": recipient }), &format!("{recipient}\n"))?;
    Ok(exit::done(false))
}

fn generate_signing(file: &Path, output: &Output, context: &Context) -> Result<ExitCode> {
    let host = &context.environment.host;
    let public = signing::generate(file, host)?;
    output.note(&format!(
        "{}: the key, which signs bundles: key of [signing] in the settings; who has it can sign, so keep it on this machine alone; where another user makes the backups, chown it to that user\n\
         what is printed is its public half: each machine that is to know its bundles has it in [signing.trusted], as NAME = \"ssh-ed25519 …\"\n",
        file.display()
    ));
    output.result("key", &json!({ "key": file, "public": public }), &format!("{public}\n"))?;
    Ok(exit::done(false))
}
