//! `check`.

use std::path::Path;
use std::process::ExitCode;

use backup_core::backup::preflight;
use backup_core::backup::{Request, destinations, recipients};
use backup_core::component::postgres::CLIENTS_UNSAFE;
use backup_core::encryption::Identities;
use backup_core::finding::{Finding, Severity, worst};
use backup_core::settings::{self, Notify, Settings};
use backup_core::{Context, Result};
use serde_json::json;

use crate::human::shell_word;
use crate::known::known;
use crate::output::Output;
use crate::{exit, findings};

pub(crate) async fn run(config: &Path, request: &Request, output: &Output, context: &Context) -> Result<ExitCode> {
    let settings = settings::load(config, &known())?;
    let destinations = destinations(&settings.backup, request, false, context)?;
    let recipients = recipients(&settings.backup, request)?;
    let mut findings = preflight(&settings.backup, request, &destinations, &recipients, context).await.findings;
    // A backup does as well with them; a bundle from elsewhere does not.
    findings.iter_mut().filter(|one| one.code == CLIENTS_UNSAFE).for_each(|one| one.severity = Severity::Warning);
    findings.extend(lacking(&settings));
    let text: String = findings.iter().map(findings::finding).collect();
    output.result("check", &json!({ "findings": findings }), &text)?;
    Ok(match worst(&findings) {
        Some(Severity::Error) => ExitCode::from(exit::REFUSED),
        worst => exit::done(worst == Some(Severity::Warning)),
    })
}

/// What a backup does without, and what comes after it does not.
pub(super) fn lacking(settings: &Settings) -> Vec<Finding> {
    let identities = Identities::read(&settings.backup.access.identities).err();
    let identities =
        identities.iter().map(|error| Finding::warning_from_error("no-identity", "encryption.identities", error));
    let Notify { mail, sendmail, metrics, .. } = &settings.notify;
    let mailer = (!mail.is_empty() && !sendmail.exists()).then(|| {
        let finding =
            Finding::warning("no-sendmail", sendmail.display().to_string(), "there is no such program to mail with");
        finding.hint("install a mail system, or name its sendmail in [notify]")
    });
    let directory = metrics.as_deref().and_then(Path::parent).filter(|directory| !directory.is_dir());
    let directory = directory.map(|directory| {
        let finding = Finding::warning(
            "no-directory",
            directory.display().to_string(),
            "metrics go there, and it does not exist",
        );
        finding.hint(format!("install -d -o USER -m 755 {}", shell_word(directory)))
    });
    identities.chain(mailer).chain(directory).collect()
}
