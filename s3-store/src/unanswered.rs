//! What may be wrong where a server gave no answer, by the types of the errors and not by their words.

use std::error::Error as StdError;
use std::io;

use aws_credential_types::provider::error::CredentialsError;
use aws_smithy_runtime_api::client::dns::ResolveDnsError;
use aws_smithy_runtime_api::client::result::SdkError;

const NAME: &str = "correct the endpoint's name, or look after this machine's name resolution";
const AUTHORITY: &str = "name the authority's certificate: AWS_CA_BUNDLE, or s3.ca_file in the settings";
const CERTIFICATE: &str = "the server's certificate is not valid for it: correct the endpoint, or have it renewed";
const NOBODY: &str = "nothing listens there: correct the endpoint and its port, or start the server";
const NO_KEYS: &str = "give keys: AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, AWS_PROFILE, a role of this machine, or \
    database_backups in cluster.conf";
const NETWORK: &str = "look after the network between here and the server, and run it again";

/// All layers of an error. An `io::Error` hands on the source of what it holds, and so leaves that itself out.
fn layers<'e>(cause: &'e (dyn StdError + 'static)) -> impl Iterator<Item = &'e (dyn StdError + 'static)> {
    std::iter::successors(Some(cause), |&error| match error.downcast_ref::<io::Error>() {
        Some(io) => io.get_ref().map(|inner| inner as &(dyn StdError + 'static)),
        None => error.source(),
    })
}

/// What to do.
pub(crate) fn hint<E, R>(cause: &SdkError<E, R>) -> &'static str
where
    SdkError<E, R>: StdError + 'static,
{
    let layers = || layers(cause);
    // Whoever gives keys may be asked over the network too: where nobody gives any, that nobody answers there is no news.
    let keys = |error: &CredentialsError| matches!(error, CredentialsError::CredentialsNotLoaded(_));
    if layers().filter_map(|layer| layer.downcast_ref()).any(keys) {
        return NO_KEYS;
    }
    if layers().any(|layer| layer.is::<ResolveDnsError>()) {
        return NAME;
    }
    match layers().find_map(|layer| layer.downcast_ref::<rustls::Error>()) {
        Some(rustls::Error::InvalidCertificate(rustls::CertificateError::UnknownIssuer)) => return AUTHORITY,
        Some(rustls::Error::InvalidCertificate(_) | rustls::Error::NoCertificatesPresented) => return CERTIFICATE,
        _ => {}
    }
    let is_refused = |error: &io::Error| error.kind() == io::ErrorKind::ConnectionRefused;
    if layers().filter_map(|layer| layer.downcast_ref()).any(is_refused) {
        return NOBODY;
    }
    if layers().any(|layer| layer.is::<CredentialsError>()) { NO_KEYS } else { NETWORK }
}

#[cfg(test)]
mod tests {
    use aws_smithy_runtime_api::client::result::ConnectorError;
    use rustls::{CertificateError, Error as TlsError};

    use super::*;

    #[test]
    fn what_is_wrong_is_told_by_types() {
        let tls = |error| io::Error::new(io::ErrorKind::InvalidData, TlsError::InvalidCertificate(error));
        let cases: [(Box<dyn StdError + Send + Sync>, &str); 9] = [
            (Box::new(ResolveDnsError::new("certificate refused")), NAME),
            (Box::new(tls(CertificateError::UnknownIssuer)), AUTHORITY),
            (Box::new(tls(CertificateError::Expired)), CERTIFICATE),
            (Box::new(io::Error::other(tls(CertificateError::UnknownIssuer))), AUTHORITY),
            (Box::new(io::Error::from(io::ErrorKind::ConnectionRefused)), NOBODY),
            (Box::new(CredentialsError::not_loaded(io::Error::from(io::ErrorKind::ConnectionRefused))), NO_KEYS),
            (Box::new(CredentialsError::provider_error(ResolveDnsError::new("no such host"))), NAME),
            (Box::new(CredentialsError::provider_error("no such role")), NO_KEYS),
            ("certificate refused, no credentials, dns error".into(), NETWORK),
        ];
        for (cause, expected) in cases {
            let shown = cause.to_string();
            let failed: SdkError<io::Error, ()> = SdkError::dispatch_failure(ConnectorError::io(cause));
            assert_eq!(hint(&failed), expected, "{shown}");
        }
    }
}
