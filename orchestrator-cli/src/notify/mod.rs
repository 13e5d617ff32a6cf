//! Who is told of runs: a ping URL, a webhook, mail. A channel that fails is a finding and nothing worse.

mod mail;
mod web;

use backup_core::finding::{Finding, Severity, worst};
use backup_core::runs::{Run, State};
use backup_core::settings::{Notify, Settings};
use backup_core::{Context, Result};
use serde_json::{Value, json};

use crate::output::JSON_VERSION;

/// Says that a run begins.
pub(crate) async fn begun(settings: &Settings, context: &Context) -> Vec<Finding> {
    let told = match &settings.notify.ping {
        Some(url) => web::ask(format!("{}/start", url.expose().trim_end_matches('/')), None, context).await,
        None => Ok(()),
    };
    failures([("ping", told)])
}

/// Says how a run ended, and what of the whole is not as it should be.
pub(crate) async fn ended(run: &Run, findings: &[Finding], settings: &Settings, context: &Context) -> Vec<Finding> {
    let Notify { ping, webhook, mail, sendmail, .. } = &settings.notify;
    let cluster = settings.backup.cluster.cluster_name.clone().unwrap_or_default();
    let told = Told { run, findings, cluster: &cluster, host: &context.environment.host };
    let pinged = async {
        let Some(url) = ping else { return Ok(()) };
        let base = url.expose().trim_end_matches('/');
        let (url, body) = match run.state.is_good() {
            true => (base.to_owned(), None),
            false => (format!("{base}/fail"), Some(("text/plain", told.text()))),
        };
        web::ask(url, body, context).await
    };
    let posted = async {
        let Some(url) = webhook else { return Ok(()) };
        web::ask(url.expose().to_owned(), Some(("application/json", told.value().to_string())), context).await
    };
    let mailed = async {
        // What is only worth knowing is worth no letter.
        let all_well = run.state == State::Done && worst(findings).is_none_or(|worst| worst == Severity::Info);
        if mail.is_empty() || all_well {
            return Ok(());
        }
        mail::send(sendmail, mail, &mail::letter(&told, mail)).await
    };
    let (pinged, posted, mailed) = tokio::join!(pinged, posted, mailed);
    failures([("ping", pinged), ("webhook", posted), ("mail", mailed)])
}

fn failures<const N: usize>(told: [(&str, Result<()>); N]) -> Vec<Finding> {
    let failed = told.into_iter().filter_map(|(channel, told)| Some((channel, told.err()?)));
    failed.map(|(channel, error)| Finding::warning_from_error("not-told", channel, &error)).collect()
}

/// What is told of a run.
struct Told<'t> {
    run: &'t Run,
    /// What of the whole is not as it should be.
    findings: &'t [Finding],
    cluster: &'t str,
    host: &'t str,
}

impl Told<'_> {
    fn subject(&self) -> String {
        let cluster = if self.cluster.is_empty() { self.host } else { self.cluster };
        let unsafe_all_the_same = self.run.state.is_good() && worst(self.findings) == Some(Severity::Error);
        let verdict = if unsafe_all_the_same { "NOT SAFE, though " } else { "" };
        format!("{cluster}: {verdict}{} {}", self.run.job.name(), self.run.state.said())
    }

    fn text(&self) -> String {
        let run = self.run;
        let mut text = format!(
            "{} on {}: the run of {} {}.\n",
            run.job.name(),
            self.host,
            run.began.format("%F %T UTC"),
            run.state.said()
        );
        for part in &run.parts {
            let bundle = part.bundle.as_deref().unwrap_or("no bundle");
            let why = part.failed.as_ref().map_or_else(String::new, |why| format!(": {why}"));
            text.push_str(&format!("{}: {bundle}{why}\n", part.series));
        }
        let mut said = |heading: &str, findings: &[Finding]| {
            if !findings.is_empty() {
                text.push_str(&format!("\n{heading}\n"));
            }
            for finding in findings {
                text.push_str(&format!("- {}: {}\n", finding.subject, finding.message));
                text.push_str(&finding.hint.as_ref().map_or_else(String::new, |hint| format!("  {hint}\n")));
            }
        };
        said("What the run says", &run.findings);
        said("What else is not as it should be", self.findings);
        text
    }

    fn value(&self) -> Value {
        json!({
            "version": JSON_VERSION, "kind": "run", "cluster": self.cluster, "host": self.host,
            "subject": self.subject(), "run": self.run, "findings": self.findings,
        })
    }
}
