//! The SDK's client, as settings, environment and `~/.aws` want it.

use std::fs;
use std::net::IpAddr;
use std::num::NonZeroU32;
use std::time::Duration;

use aws_config::environment::region::EnvironmentVariableRegionProvider;
use aws_config::imds::region::ImdsRegionProvider;
use aws_config::meta::region::RegionProviderChain;
use aws_config::profile::ProfileFileCredentialsProvider;
use aws_config::profile::region::ProfileFileRegionProvider;
use aws_sdk_s3::Client;
use aws_sdk_s3::config::retry::RetryConfig;
use aws_sdk_s3::config::timeout::TimeoutConfig;
use aws_sdk_s3::config::{
    BehaviorVersion, Builder, Credentials, Region, RequestChecksumCalculation, ResponseChecksumValidation,
    SharedHttpClient, StalledStreamProtectionConfig,
};
use aws_smithy_http_client::proxy::ProxyConfig;
use aws_smithy_http_client::tls::{Provider, TlsContext, TrustStore, rustls_provider::CryptoMode};
use aws_smithy_http_client::{Builder as HttpBuilder, Connector};
use aws_smithy_runtime_api::client::dns::{DnsFuture, ResolveDns, ResolveDnsError};
use backup_core::store::S3Options;
use backup_core::{Context, Error, ErrorContext, Kind, Result};
use rustls::RootCertStore;
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject as _;

use crate::retry::Busy;

/// Where nothing says a region, and a server that isn't Amazon's asks for none.
const DEFAULT_REGION: &str = "us-east-1";
/// Times that a request is tried, unless the settings say otherwise.
const ATTEMPTS: u32 = 5;
/// The same of a trial.
const HASTY: u32 = 3;
/// Where a machine that is up does not take a connection within this time, it won't.
const CONNECT: Duration = Duration::from_secs(10);
/// Seconds that a server may be silent, unless the settings say otherwise.
const SILENCE: u32 = 30;
/// Times as long that it may work before it answers, where it has much to do.
pub(crate) const WORK: u32 = 10;

/// The URL of a server that isn't Amazon's, from the settings or the environment.
pub(crate) fn endpoint(options: &S3Options, context: &Context) -> Option<String> {
    let variable = |name| context.environment.get(name).map(Into::into);
    options.endpoint.clone().or_else(|| variable("AWS_ENDPOINT_URL_S3")).or_else(|| variable("AWS_ENDPOINT_URL"))
}

/// Whether others on the way to the server could read along: it is not encrypted, and leads beyond this machine.
pub(crate) fn is_open_to_others(endpoint: Option<&str>) -> bool {
    let Some(url) = endpoint.map(str::to_ascii_lowercase) else { return false };
    let Some(rest) = url.strip_prefix("http://") else { return false };
    let authority = rest.split(['/', '?', '#']).next().unwrap_or_default();
    let host = authority
        .strip_prefix('[')
        .and_then(|rest| rest.split_once(']'))
        .map_or_else(|| authority.rsplit_once(':').map_or(authority, |(host, _)| host), |(host, _)| host);
    let loopback = host.parse::<IpAddr>().is_ok_and(|address| address.is_loopback());
    !loopback && host != "localhost"
}

/// Checks what of the settings can be wrong.
///
/// # Errors
/// [`Kind::Usage`], or where the certificates can't be read.
pub(crate) fn trusted(options: &S3Options, context: &Context) -> Result<Option<Vec<u8>>> {
    if let Some(url) = endpoint(options, context).filter(|url| !url.contains("://")) {
        let error = Error::new(Kind::Usage, format!("use the S3 endpoint {url}: it is no URL"));
        return Err(error.hint(format!("write https://{url}")));
    }
    let variable = || context.environment.get("AWS_CA_BUNDLE").map(Into::into);
    let Some(path) = options.ca_file.clone().or_else(variable) else { return Ok(None) };
    let pem = fs::read(&path).context(|| format!("read the certificates {}", path.display()))?;
    // The SDK takes for granted that they can be understood.
    let mut store = RootCertStore::empty();
    let certificates = CertificateDer::pem_slice_iter(&pem).collect::<Result<Vec<_>, _>>();
    let sound = certificates.is_ok_and(|certificates| {
        !certificates.is_empty() && certificates.into_iter().all(|certificate| store.add(certificate).is_ok())
    });
    if !sound {
        let error = Error::new(
            Kind::Usage,
            format!("read the certificates {}: not all of it is certificates in PEM", path.display()),
        );
        return Err(
            error.hint("it must hold whole blocks that begin with -----BEGIN CERTIFICATE-----, and nothing else")
        );
    }
    Ok(Some(pem))
}

/// Makes the client, and says the URL of a server that isn't Amazon's. It talks to nobody yet, unless the region has to be
/// asked for.
pub(crate) async fn client(
    options: &S3Options,
    endpoint: Option<String>,
    trusted: Option<Vec<u8>>,
) -> (Client, Option<String>) {
    let http = http(trusted);
    let mut loader = aws_config::defaults(BehaviorVersion::v2026_01_12()).http_client(http);
    let mut profile_region = ProfileFileRegionProvider::builder();
    if let Some(profile) = &options.profile {
        // Keys of the environment would come first otherwise.
        let keys = ProfileFileCredentialsProvider::builder().profile_name(profile).build();
        loader = loader.profile_name(profile).credentials_provider(keys);
        profile_region = profile_region.profile_name(profile);
    } else if let Some((access, secret)) = &options.keys {
        let keys = Credentials::new(access.expose(), secret.expose(), None, None, "cluster.conf");
        loader = loader.credentials_provider(keys);
    }
    let region = RegionProviderChain::first_try(options.region.clone().map(Region::new))
        .or_else(EnvironmentVariableRegionProvider::new())
        .or_else(profile_region.build());
    // A machine in Amazon's cloud knows its region; elsewhere to ask takes seconds.
    let region = match &endpoint {
        Some(_) => region,
        None => region.or_else(ImdsRegionProvider::builder().build()),
    };
    let config = loader.region(region.or_else(Region::new(DEFAULT_REGION))).load().await;
    // A profile may name one too.
    let endpoint = endpoint.or_else(|| config.endpoint_url().map(Into::into));
    let mut builder = Builder::from(&config)
        .force_path_style(options.path_style.unwrap_or(endpoint.is_some()))
        .request_checksum_calculation(RequestChecksumCalculation::WhenRequired)
        .response_checksum_validation(ResponseChecksumValidation::WhenRequired)
        .retry_config(RetryConfig::standard().with_max_attempts(options.attempts.map_or(ATTEMPTS, NonZeroU32::get)))
        .retry_classifier(Busy)
        .stalled_stream_protection(StalledStreamProtectionConfig::enabled().grace_period(silence(options)).build())
        .timeout_config(TimeoutConfig::builder().connect_timeout(CONNECT).read_timeout(silence(options)).build());
    if let Some(url) = &endpoint {
        builder = builder.endpoint_url(url);
    }
    (Client::from_conf(builder.build()), endpoint)
}

/// HTTP with the proxies of the environment, and TLS that trusts the system and `trusted`.
fn http(trusted: Option<Vec<u8>>) -> SharedHttpClient {
    HttpBuilder::new().build_with_connector_fn(move |settings, components| {
        let mut store = TrustStore::default();
        if let Some(pem) = &trusted {
            store.add_pem_certificate(pem.clone());
        }
        let mut connector = Connector::builder().proxy_config(ProxyConfig::from_env());
        connector.set_connector_settings(settings.cloned());
        connector.set_sleep_impl(components.and_then(|components| components.sleep_impl()));
        let connector = connector.tls_provider(Provider::Rustls(CryptoMode::AwsLc));
        match TlsContext::builder().with_trust_store(store).build() {
            Ok(context) => connector.tls_context(context).build_with_resolver(Names),
            Err(_) => connector.build_with_resolver(Names),
        }
    })
}

/// The system's names. The client has the same by itself, but its errors are told from others by words alone.
#[derive(Debug, Clone)]
struct Names;

impl ResolveDns for Names {
    fn resolve_dns<'a>(&'a self, name: &'a str) -> DnsFuture<'a> {
        DnsFuture::new(async move {
            let found = tokio::net::lookup_host((name, 0)).await.map_err(ResolveDnsError::new)?;
            Ok(found.map(|address| address.ip()).collect())
        })
    }
}

fn silence(options: &S3Options) -> Duration {
    Duration::from_secs(options.timeout.map_or(SILENCE, NonZeroU32::get).into())
}

/// The same client for what is tried for its answer alone: who fails is asked again, and soon gets the last word.
pub(crate) fn hasty(client: &Client) -> Client {
    let retry = RetryConfig::standard().with_max_attempts(HASTY).with_initial_backoff(Duration::from_millis(100));
    Client::from_conf(
        client.config().to_builder().retry_config(retry.with_max_backoff(Duration::from_millis(500))).build(),
    )
}

/// For requests that the server works on before it answers, `times` as long as on others. Where they send much, the time that this takes
/// counts as silence, for there is no answer meanwhile.
pub(crate) fn patient(options: &S3Options, times: u32) -> Builder {
    let time = silence(options) * times;
    let timeouts = TimeoutConfig::builder().connect_timeout(CONNECT).read_timeout(time).operation_attempt_timeout(time);
    Builder::new().timeout_config(timeouts.build())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_way_that_others_may_read_along_is_known() {
        for open in ["http://vault:3900", "HTTP://vault/x", "http://127.evil.example", "http://localhost.evil:80"] {
            assert!(is_open_to_others(Some(open)), "{open}");
        }
        for closed in ["https://vault", "http://127.0.0.1:3900", "http://[::1]:80/", "http://localhost"] {
            assert!(!is_open_to_others(Some(closed)), "{closed}");
        }
        assert!(!is_open_to_others(None));
    }
}
