//! `config check`.

use std::path::Path;
use std::process::ExitCode;

use backup_core::finding::{Finding, Severity, worst};
use backup_core::settings::{self, Settings, faults, review};
use backup_core::{Context, Result};
use serde_json::json;

use crate::commands::check::lacking;
use crate::known::known;
use crate::output::Output;
use crate::{exit, findings};

pub(super) fn run(config: &Path, output: &Output, context: &Context) -> Result<ExitCode> {
    let shown = config.display().to_string();
    let faults = faults(config, &known())?;
    let mut findings: Vec<Finding> =
        faults.iter().map(|fault| Finding::from_error("settings", &shown, fault)).collect();
    if faults.is_empty() {
        findings.push(Finding::ok("settings", &shown, "every key and value can be read"));
        findings.extend(doubts(&settings::load(config, &known())?, config, context));
    }
    let text: String = findings.iter().map(findings::finding).collect();
    output.result("config-check", &json!({ "findings": findings }), &text)?;
    Ok(match worst(&findings) {
        Some(Severity::Error) => ExitCode::from(exit::REFUSED),
        worst => exit::done(worst == Some(Severity::Warning)),
    })
}

/// What is to be said of settings that can be read.
pub(super) fn doubts(settings: &Settings, path: &Path, context: &Context) -> Vec<Finding> {
    let mut findings = review(settings, path, context);
    findings.extend(lacking(settings));
    findings
}
