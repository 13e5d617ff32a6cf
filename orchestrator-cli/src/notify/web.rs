//! Asks for a URL. What stands in it may be a secret, and never prints.

use std::sync::Arc;
use std::time::Duration;

use backon::{ExponentialBuilder, Retryable};
use backup_core::store::blocking;
use backup_core::{Context, Error, Kind, Result};
use ureq::Agent;
use ureq::tls::{Certificate, RootCerts, TlsConfig};

/// An answer takes no longer.
const PATIENCE: Duration = Duration::from_secs(10);
/// Times that it is asked for, beside the first.
const AGAIN: usize = 3;
/// Between the first two.
const PAUSE: Duration = Duration::from_millis(500);

/// Asks for a URL, or posts a body of a type to it.
pub(super) async fn ask(url: String, body: Option<(&'static str, String)>, context: &Context) -> Result<()> {
    let agent = agent();
    let once = || {
        let (agent, url, body) = (agent.clone(), url.clone(), body.clone());
        blocking(move || one(&agent, &url, body))
    };
    let retries = ExponentialBuilder::default().with_min_delay(PAUSE).with_max_times(AGAIN);
    context.until_cancelled(async { once.retry(retries).await }).await
}

fn one(agent: &Agent, url: &str, body: Option<(&'static str, String)>) -> Result<()> {
    let answered = match body {
        None => agent.get(url).call(),
        Some((kind, body)) => agent.post(url).header("content-type", kind).send(body),
    };
    answered.map(drop).map_err(|cause| {
        let host = host(url);
        Error::new(Kind::Failed, format!("tell {host}"))
            .because(said(&cause))
            .hint(format!("see that {host} can be reached from here and that its URL in [notify] is right"))
    })
}

/// The cause without the URL.
fn said(cause: &ureq::Error) -> String {
    match cause {
        ureq::Error::StatusCode(code) => format!("it answered with status {code}"),
        ureq::Error::Timeout(_) => format!("no answer in {} s", PATIENCE.as_secs()),
        ureq::Error::HostNotFound => "its name can't be resolved".into(),
        ureq::Error::ConnectionFailed => "no connection".into(),
        ureq::Error::Io(cause) => cause.to_string(),
        ureq::Error::Tls(why) => (*why).into(),
        ureq::Error::Rustls(cause) => cause.to_string(),
        _ => "its URL, or its answer, is none of HTTP".into(),
    }
}

/// The URL's host alone: name and password before it, and the path after it, may be secret.
fn host(url: &str) -> &str {
    let rest = url.split_once("://").map_or(url, |(_, rest)| rest);
    let authority = rest.split(['/', '?', '#']).next().unwrap_or_default();
    authority.rsplit('@').next().unwrap_or_default()
}

fn agent() -> Agent {
    let trusted = rustls_native_certs::load_native_certs().certs;
    let certificates = trusted.iter().map(|one| Certificate::from_der(one).to_owned());
    let tls = TlsConfig::builder()
        .root_certs(RootCerts::from(certificates))
        .unversioned_rustls_crypto_provider(Arc::new(rustls::crypto::aws_lc_rs::default_provider()))
        .build();
    Agent::config_builder().timeout_global(Some(PATIENCE)).tls_config(tls).build().into()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn of_a_url_the_host_alone_is_said() {
        for url in ["https://user:hunter2@example.com:8443/hunter2?token=hunter2", "https://example.com:8443"] {
            assert_eq!(host(url), "example.com:8443");
        }
    }
}
