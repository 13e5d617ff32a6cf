//! `check`.

use std::path::Path;
use std::process::ExitCode;

use backup_core::backup::{Request, destinations, recipients};
use backup_core::finding::{Severity, worst};
use backup_core::preflight::preflight;
use backup_core::{Context, Result, settings};
use serde_json::json;

use crate::output::Output;
use crate::{exit, findings};

pub(crate) async fn run(config: &Path, request: &Request, output: &Output, context: &Context) -> Result<ExitCode> {
    let settings = settings::load(config)?;
    let destinations = destinations(&settings, request, false, context)?;
    let recipients = recipients(&settings, request)?;
    let findings = preflight(&settings, request, &destinations, &recipients, context).await.findings;
    let text: String = findings.iter().map(findings::finding).collect();
    output.result("check", &json!({ "findings": findings }), &text)?;
    Ok(match worst(&findings) {
        Some(Severity::Error) => ExitCode::from(exit::REFUSED),
        worst => exit::done(worst == Some(Severity::Warning)),
    })
}
