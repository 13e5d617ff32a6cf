//! TLS as `sslmode` asks for it.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::client::{verify_server_cert_signed_by_trust_anchor, verify_server_name};
use rustls::crypto::{CryptoProvider, aws_lc_rs};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName, UnixTime};
use rustls::server::ParsedCertificate;
use rustls::{ClientConfig, DigitallySignedStruct, RootCertStore, SignatureScheme};

use super::parameters::Parameters;
use crate::{Error, ErrorContext, Kind, Result};

/// Certificates that are trusted: authorities, or a server's own.
#[derive(Debug)]
struct Trusted {
    certificates: Vec<CertificateDer<'static>>,
    roots: RootCertStore,
}

/// The TLS client for `parameters`; `None` where `sslmode` is `disable`.
pub(super) fn client(parameters: &Parameters) -> Result<Option<ClientConfig>> {
    let mode = parameters.get("sslmode").unwrap_or("prefer");
    let trusted = match mode {
        "disable" => return Ok(None),
        // With a root certificate at hand `require` checks like `verify-ca`: libpq's rule for old clients' sake.
        "allow" | "prefer" => None,
        "require" => root_file(parameters).map(|path| trusted_in(&path)).transpose()?,
        "verify-ca" | "verify-full" => Some(trusted(parameters)?),
        other => {
            return Err(Error::new(Kind::Usage, format!("PostgreSQL connection: unknown sslmode {other}"))
                .hint("one of disable, allow, prefer, require, verify-ca, verify-full"));
        }
    };
    let provider = Arc::new(aws_lc_rs::default_provider());
    let failed = || "prepare TLS for PostgreSQL".to_owned();
    let versions: &[_] = match parameters.get("ssl_min_protocol_version") {
        Some("TLSv1.3") => &[&rustls::version::TLS13],
        _ => rustls::DEFAULT_VERSIONS,
    };
    let builder =
        ClientConfig::builder_with_provider(provider.clone()).with_protocol_versions(versions).context(failed)?;
    let verifier = Verifier { trusted, check_name: mode == "verify-full", provider };
    let builder = builder.dangerous().with_custom_certificate_verifier(Arc::new(verifier));
    match identity(parameters)? {
        Some((chain, key)) => builder.with_client_auth_cert(chain, key).map(Some).context(failed),
        None => Ok(Some(builder.with_no_client_auth())),
    }
}

fn root_file(parameters: &Parameters) -> Option<PathBuf> {
    let named =
        parameters.get("sslrootcert").map(PathBuf::from).filter(|path| path.as_os_str() == "system" || path.exists());
    named.or_else(|| parameters.default_file("root.crt"))
}

fn trusted(parameters: &Parameters) -> Result<Trusted> {
    match root_file(parameters) {
        Some(path) => trusted_in(&path),
        None => {
            let named = parameters.get("sslrootcert").unwrap_or("~/.postgresql/root.crt");
            Err(Error::new(
                Kind::NotFound,
                format!("prepare TLS for PostgreSQL: the root certificate {named} does not exist"),
            )
            .hint("put the authority's certificate there, name it with sslrootcert, or use sslrootcert=system"))
        }
    }
}

fn trusted_in(path: &Path) -> Result<Trusted> {
    let certificates =
        if path.as_os_str() == "system" { rustls_native_certs::load_native_certs().certs } else { certificates(path)? };
    let mut roots = RootCertStore::empty();
    for certificate in &certificates {
        roots.add(certificate.clone()).context(|| format!("read the root certificate {}", path.display()))?;
    }
    if roots.is_empty() {
        return Err(Error::new(Kind::Failed, format!("read the root certificate {}: it holds none", path.display())));
    }
    Ok(Trusted { certificates, roots })
}

fn certificates(path: &Path) -> Result<Vec<CertificateDer<'static>>> {
    let read = CertificateDer::pem_file_iter(path).and_then(|certificates| certificates.collect());
    read.context(|| format!("read the certificate {}", path.display()))
}

type Identity = (Vec<CertificateDer<'static>>, PrivateKeyDer<'static>);

/// The client's own certificate and key, if there are any.
fn identity(parameters: &Parameters) -> Result<Option<Identity>> {
    let file = |key, name| parameters.get(key).map(PathBuf::from).or_else(|| parameters.default_file(name));
    let Some(certificate) = file("sslcert", "postgresql.crt") else { return Ok(None) };
    let Some(key) = file("sslkey", "postgresql.key") else {
        return Err(Error::new(
            Kind::NotFound,
            format!("prepare TLS for PostgreSQL: {} has no key beside it", certificate.display()),
        )
        .hint("name the key with sslkey"));
    };
    let read = PrivateKeyDer::from_pem_file(&key).context(|| format!("read the key {}", key.display()))?;
    Ok(Some((certificates(&certificate)?, read)))
}

/// Checks the chain where something is trusted, and the name where that is asked for.
#[derive(Debug)]
struct Verifier {
    trusted: Option<Trusted>,
    check_name: bool,
    provider: Arc<CryptoProvider>,
}

impl ServerCertVerifier for Verifier {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        name: &ServerName<'_>,
        _: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        let Some(trusted) = &self.trusted else { return Ok(ServerCertVerified::assertion()) };
        let certificate = ParsedCertificate::try_from(end_entity)?;
        // A self-signed certificate, as PostgreSQL's manual makes one, is its own authority.
        if !trusted.certificates.contains(end_entity) {
            let algorithms = self.provider.signature_verification_algorithms.all;
            verify_server_cert_signed_by_trust_anchor(&certificate, &trusted.roots, intermediates, now, algorithms)?;
        }
        if self.check_name {
            verify_server_name(&certificate, name)?;
        }
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        let algorithms = &self.provider.signature_verification_algorithms;
        rustls::crypto::verify_tls12_signature(message, certificate, signed, algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        let algorithms = &self.provider.signature_verification_algorithms;
        rustls::crypto::verify_tls13_signature(message, certificate, signed, algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.provider.signature_verification_algorithms.supported_schemes()
    }
}
