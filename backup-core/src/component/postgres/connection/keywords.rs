//! The parameters that libpq knows by their key words, and which of them can be kept here.

use super::conninfo::Pairs;
use crate::{Error, Kind, Result};

/// libpq's parameters and the environment variables that stand for them.
pub(super) const VARIABLES: [(&str, &str); 27] = [
    ("host", "PGHOST"),
    ("hostaddr", "PGHOSTADDR"),
    ("port", "PGPORT"),
    ("dbname", "PGDATABASE"),
    ("user", "PGUSER"),
    ("password", "PGPASSWORD"),
    ("passfile", "PGPASSFILE"),
    ("options", "PGOPTIONS"),
    ("application_name", "PGAPPNAME"),
    ("connect_timeout", "PGCONNECT_TIMEOUT"),
    ("sslmode", "PGSSLMODE"),
    ("sslnegotiation", "PGSSLNEGOTIATION"),
    ("sslcert", "PGSSLCERT"),
    ("sslkey", "PGSSLKEY"),
    ("sslrootcert", "PGSSLROOTCERT"),
    ("sslcrl", "PGSSLCRL"),
    ("sslcrldir", "PGSSLCRLDIR"),
    ("sslsni", "PGSSLSNI"),
    ("ssl_min_protocol_version", "PGSSLMINPROTOCOLVERSION"),
    ("ssl_max_protocol_version", "PGSSLMAXPROTOCOLVERSION"),
    ("requiressl", "PGREQUIRESSL"),
    ("requirepeer", "PGREQUIREPEER"),
    ("channel_binding", "PGCHANNELBINDING"),
    ("require_auth", "PGREQUIREAUTH"),
    ("gssencmode", "PGGSSENCMODE"),
    ("target_session_attrs", "PGTARGETSESSIONATTRS"),
    ("load_balance_hosts", "PGLOADBALANCEHOSTS"),
];

/// Parameters without a variable that are passed on nowhere and change nothing here.
pub(super) const HARMLESS: [&str; 10] = [
    "client_encoding",
    "fallback_application_name",
    "keepalives",
    "keepalives_idle",
    "keepalives_interval",
    "keepalives_count",
    "tcp_user_timeout",
    "krbsrvname",
    "gsslib",
    "sslcompression",
];

/// Parameters whose demand the driver can't meet; to ignore them would be less safe than `psql` is.
const UNSUPPORTED: [(&str, &[&str]); 6] = [
    ("sslcrl", &[]),
    ("sslcrldir", &[]),
    ("requirepeer", &[]),
    ("require_auth", &[]),
    ("gssencmode", &["prefer", "disable"]),
    ("ssl_max_protocol_version", &["TLSv1.3"]),
];

/// Refuses what libpq doesn't know and what the driver can't keep.
pub(super) fn refuse_unknown(pairs: &Pairs) -> Result<()> {
    for (key, value) in pairs {
        if !key.chars().all(|c| c.is_ascii_lowercase() || matches!(c, '_' | '2')) {
            // Never shown: it may be the rest of a password.
            return Err(Error::new(Kind::Usage, "PostgreSQL connection: a word that is no parameter's name")
                .hint("a value with spaces stands in single quotes: password='two words'"));
        }
        if !VARIABLES.iter().any(|(known, _)| known == key) && !HARMLESS.contains(&key.as_str()) {
            let known = VARIABLES.iter().map(|(known, _)| *known);
            let near = known.max_by(|a, b| strsim::jaro_winkler(a, key).total_cmp(&strsim::jaro_winkler(b, key)));
            let error = Error::new(Kind::Usage, format!("PostgreSQL connection: unknown parameter {key}"));
            return Err(error.hint(format!("did you mean {}?", near.unwrap_or("host"))));
        }
        let unsupported = UNSUPPORTED.iter().find(|(name, _)| name == key);
        if unsupported.is_some_and(|(_, fine)| !value.is_empty() && !fine.contains(&value.as_str())) {
            return Err(Error::new(
                Kind::Unsupported,
                format!("PostgreSQL connection: {key}={value} is not supported"),
            )
            .hint(
                "this tool can't keep what that parameter demands, so it does not connect; leave the parameter out",
            ));
        }
    }
    Ok(())
}
