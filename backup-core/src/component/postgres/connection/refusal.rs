//! Why there is no session, told by codes, types and stages: servers translate their words, and drivers change theirs.

use std::io;

use tokio_postgres::Config;
use tokio_postgres::config::{Host as ConfigHost, SslMode, SslNegotiation};
use tokio_postgres::error::{DbError, SqlState};

use super::super::words;
use super::describe;
use super::parameters::{Host, Parameters};
use super::stage::Stage;
use crate::finding::Finding;
use crate::{Cause, Error, Kind};

/// What to do where a pooler stands before the server. Programs of PostgreSQL could not say their settings to it either, and one
/// that pools transactions mixes sessions up.
pub(super) const POOLER: &str = "a pooler such as PgBouncer stands there, which takes no settings at the start of a session: \
    connect to the server itself, whose host and port stand in the pooler's configuration";

/// What the server calls the function that takes a session's role. It refuses roles that don't exist and those that may not log
/// in, in all versions by the code that pg_hba.conf has too. Unlike the message its name is never translated.
const TAKES_ROLE: &str = "InitializeSessionUserId";

/// Why the driver gives no session.
#[derive(Debug)]
pub(super) struct Refusal {
    error: tokio_postgres::Error,
    why: Why,
}

/// What tells hints apart.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Why {
    /// Nobody listens at any of the host's addresses.
    Unanswered,
    /// Encryption is demanded, and the server has none.
    NoEncryption,
    /// The server's certificate is not taken.
    Certificate,
    /// The server wants a password, and there is none.
    NoPassword,
    /// The server wants a way to log in that the driver has not.
    Method,
    /// The server is not what `target_session_attrs` asks for.
    OtherServer,
    /// The server's code says it, or nothing does.
    Other,
}

impl Refusal {
    /// Why an attempt with this `config` gave no session, which came so far.
    pub(super) fn new(error: tokio_postgres::Error, stage: Stage, config: &Config) -> Self {
        let why = why(&error, stage, config);
        Self { error, why }
    }

    /// Why a session that was there could not begin.
    pub(super) fn in_session(error: tokio_postgres::Error) -> Self {
        Self { error, why: Why::Other }
    }

    /// The server's code.
    pub(super) fn code(&self) -> Option<&SqlState> {
        self.error.code()
    }

    /// The error for people; `password` is why the password file was not read.
    pub(super) fn into_error(self, parameters: &Parameters, host: &Host, password: Option<Finding>) -> Error {
        let place = if host.is_socket() {
            format!("{}/.s.PGSQL.{}", host.name, host.port)
        } else {
            format!("{}:{}", host.name, host.port)
        };
        let database = parameters.get("dbname").unwrap_or(parameters.user());
        let message = format!("connect to PostgreSQL at {place} as {}, database {database}", parameters.user());
        let hint = match (self.error.as_db_error(), password) {
            (Some(server), _) => of_server(server, parameters),
            (None, Some(finding)) if self.why == Why::NoPassword => of_file(finding),
            (None, _) => of_driver(self.why).into(),
        };
        let error = Error::new(Kind::Failed, message).because(describe(&self.error)).of(self.cause());
        error.hint(said(parameters, hint))
    }

    fn cause(&self) -> Option<Cause> {
        match self.why {
            Why::Unanswered => Some(Cause::Unanswered),
            Why::NoPassword => Some(Cause::Password),
            _ if self.code() == Some(&SqlState::INVALID_PASSWORD) => Some(Cause::Password),
            _ => words::cause(&self.error),
        }
    }
}

fn why(error: &tokio_postgres::Error, stage: Stage, config: &Config) -> Why {
    if stage == Stage::Nowhere {
        return Why::Unanswered;
    }
    // A code speaks for itself. Without a source the server closed the connection, or sent what belongs elsewhere.
    let Some(source) = std::error::Error::source(error).filter(|_| error.code().is_none()) else { return Why::Other };
    if let Some(io) = source.downcast_ref::<io::Error>() {
        let tls = io.get_ref().and_then(|inner| inner.downcast_ref::<rustls::Error>());
        return match tls {
            Some(rustls::Error::InvalidCertificate(_) | rustls::Error::NoCertificatesPresented) => Why::Certificate,
            // The driver asked the session; the system's own errors have a number.
            None if io.kind() == io::ErrorKind::PermissionDenied && io.raw_os_error().is_none() => Why::OtherServer,
            _ => Why::Other,
        };
    }
    // What is left has a text of the driver for its source, which tells nothing. Before encryption, where that is demanded: that
    // the server has none. With `sslnegotiation=direct` nobody asks it, and a host that is a directory has no name to check.
    let is_demanded = config.get_ssl_mode() == SslMode::Require;
    let is_asked = config.get_ssl_negotiation() == SslNegotiation::Postgres;
    let has_name = matches!(config.get_hosts(), [ConfigHost::Tcp(_), ..]);
    let is_plain = config.get_ssl_mode() == SslMode::Disable;
    if stage == Stage::Open && !is_plain && (is_demanded || !is_asked || !has_name) {
        return if is_demanded && is_asked && has_name { Why::NoEncryption } else { Why::Other };
    }
    // After that, of `connect_raw`: the password is missing; the server wants Kerberos, GSSAPI, SSPI, or SASL without SCRAM; or it
    // bound no channel though that was demanded, which takes a password too. Without one the first is by far the likeliest.
    if config.get_password().is_none() { Why::NoPassword } else { Why::Method }
}

/// What to do about what the server says.
fn of_server(server: &DbError, parameters: &Parameters) -> String {
    match server.code().code() {
        "28P01" => "check the password, wherever it comes from: the connection string, PGPASSWORD or ~/.pgpass".into(),
        "28000" if server.routine() == Some(TAKES_ROLE) => format!(
            "the role's name comes from {}; name another one{}; on the server itself `sudo -u postgres …` runs this as its superuser",
            parameters.user_from(),
            if parameters.is_user_said() { " there" } else { " with PGUSER" }
        ),
        "28000" => {
            "check the user's line in the server's pg_hba.conf; on the server itself run `sudo -u postgres …`".into()
        }
        "3D000" => "name an existing database; `psql -l` lists them".into(),
        // What poolers say of an option: PgBouncer, and Amazon's.
        "08P01" | "0A000" => POOLER.into(),
        "53300" => "the server has no connection left; use fewer with --jobs".into(),
        _ => "the server refused for the reason above".into(),
    }
}

/// What to do where the password file was not read.
fn of_file(finding: Finding) -> String {
    let hint = finding.hint.map(|hint| format!(" ({hint})")).unwrap_or_default();
    format!("{}: {}{hint}", finding.subject, finding.message)
}

/// What to do about what the server did not say itself.
fn of_driver(why: Why) -> &'static str {
    match why {
        Why::NoEncryption => {
            "sslmode asks for encryption, and the server has ssl = off: turn it on there, or ask for less"
        }
        Why::Certificate => {
            "sslmode=verify-full needs the authority's certificate (sslrootcert) and the host's name in the server's"
        }
        Why::NoPassword => {
            "the server asks for a password: put it into ~/.pgpass; Kerberos, GSSAPI and SSPI can't be answered from here"
        }
        Why::Method => {
            "see the user's line in the server's pg_hba.conf: a password is all that can be given here (scram-sha-256, md5, password); channel_binding=require takes scram-sha-256 over TLS"
        }
        Why::OtherServer => "name the server that is meant, or change target_session_attrs",
        Why::Unanswered | Why::Other => {
            "check that the server runs and listens there (`pg_lsclusters`, `pg_isready`), and PGHOST and PGPORT"
        }
    }
}

/// A hint, and where the connection is said.
pub(super) fn said(parameters: &Parameters, hint: String) -> String {
    match parameters.said_in() {
        Some(place) if !hint.contains(place) => format!("{hint}; the connection is that of {place}"),
        _ => hint,
    }
}

#[cfg(test)]
mod tests {
    use std::io::{Read as _, Write as _};
    use std::net::TcpListener;

    use super::super::connect;
    use super::*;
    use crate::context::Environment;

    fn message(kind: u8, body: &[u8]) -> Vec<u8> {
        let length = u32::try_from(body.len() + 4).expect("a length");
        [&[kind][..], &length.to_be_bytes(), body].concat()
    }

    /// What a server says in another language than English.
    fn refusal(code: &str, words: &str, routine: &str) -> Vec<u8> {
        let fields = [('S', "SCHWERWIEGEND"), ('V', "FATAL"), ('C', code), ('M', words), ('R', routine)];
        let fields = fields.map(|(kind, text)| format!("{kind}{text}\0"));
        message(b'E', format!("{}\0", fields.concat()).as_bytes())
    }

    /// Answers what it gets with one of `answers` after the other, then hangs up; returns its port.
    fn serve(answers: Vec<Vec<u8>>) -> u16 {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
        let port = listener.local_addr().expect("an address").port();
        std::thread::spawn(move || {
            for mut socket in listener.incoming().flatten() {
                for answer in &answers {
                    let _ = socket.read(&mut [0; 4096]);
                    let _ = socket.write_all(answer);
                }
            }
        });
        port
    }

    async fn refused(connection: &str) -> Error {
        let parameters = Parameters::resolve(connection, &Environment::default()).expect(connection);
        connect(&parameters).await.err().expect(connection)
    }

    #[tokio::test]
    async fn what_a_server_means_is_told_in_any_language() {
        let ready = [message(b'R', &[0; 4]), message(b'Z', b"I")].concat();
        let is_standby = [
            message(b'T', b"\0\x01a\0\0\0\0\0\0\0\0\0\0\x19\xff\xff\xff\xff\xff\xff\0\0"),
            message(b'D', b"\0\x01\0\0\0\x02on"),
            message(b'C', b"SHOW\0"),
            message(b'Z', b"I"),
        ];
        let (clear, gss) = (message(b'R', &[0, 0, 0, 3]), message(b'R', &[0, 0, 0, 7]));
        let role = |words| refusal("28000", words, "InitializeSessionUserId");
        let hba = refusal(
            "28000",
            "pg_hba.conf ... role does not exist, certificate, password missing",
            "ClientAuthentication",
        );
        let check = "check that the server runs";
        let cases = [
            ("", vec![role("Rolle »ops« existiert nicht")], "the role's name comes from", None),
            ("", vec![role("Rolle »ops« hat keine Berechtigung zum Einloggen")], "the role's name comes from", None),
            ("", vec![hba], "check the user's line", None),
            (
                "",
                vec![refusal("28P01", "Passwort-Authentifizierung", "auth_failed")],
                "check the password",
                Some(Cause::Password),
            ),
            ("", vec![clear.clone()], "the server asks for a password", Some(Cause::Password)),
            ("password=x", vec![gss], "see the user's line", None),
            ("password=x channel_binding=require", vec![clear.clone()], "see the user's line", None),
            ("channel_binding=require", vec![clear.clone()], "the server asks for a password", Some(Cause::Password)),
            (
                "sslmode=disable sslnegotiation=direct",
                vec![clear.clone()],
                "the server asks for a password",
                Some(Cause::Password),
            ),
            ("sslmode=prefer host=/nowhere hostaddr=127.0.0.1", vec![b"S".to_vec()], check, None),
            (
                "target_session_attrs=read-write",
                vec![ready, is_standby.concat(), Vec::new()],
                "name the server that is meant",
                None,
            ),
            // It hangs up.
            ("", vec![Vec::new()], check, Some(Cause::CutOff)),
            ("sslmode=require", vec![Vec::new()], check, None),
            ("sslmode=require", vec![b"N".to_vec()], "sslmode asks for encryption", None),
            ("sslmode=prefer", vec![b"N".to_vec(), clear], "the server asks for a password", Some(Cause::Password)),
            ("sslmode=require", vec![b"S".to_vec(), b"no handshake".to_vec()], check, None),
            ("sslmode=prefer sslnegotiation=direct", vec![Vec::new()], check, None),
        ];
        for (given, answers, hint, cause) in cases {
            let port = serve(answers);
            let sslmode = if given.contains("sslmode") { "" } else { "sslmode=disable" };
            let error = refused(&format!("host=127.0.0.1 port={port} user=ops {sslmode} {given}")).await;
            assert!(error.first_hint().is_some_and(|said| said.starts_with(hint)), "{given}: {error:?}");
            for one in [Cause::Unanswered, Cause::CutOff, Cause::Password] {
                assert_eq!(error.came_of(one), cause == Some(one), "{given}: {error:?}");
            }
        }
    }

    #[tokio::test]
    async fn nothing_answers_where_nobody_listens() {
        let directory = tempfile::tempdir().expect("a directory");
        let (socket, port) = (directory.path().display(), serve(vec![Vec::new()]));
        // Nothing listens on a port that was free a moment ago.
        let free = TcpListener::bind("127.0.0.1:0").and_then(|listener| listener.local_addr()).expect("a port").port();
        let is_unanswered = [
            (format!("host={socket} port=5432"), true),
            (format!("host=127.0.0.1 port={free}"), true),
            (format!("host=127.0.0.1,{socket} port={free},5432"), true),
            // One that answers tells more, whichever comes first.
            (format!("host=127.0.0.1,127.0.0.1 port={port},{free}"), false),
            (format!("host=127.0.0.1,127.0.0.1 port={free},{port}"), false),
        ];
        for (given, unanswered) in is_unanswered {
            let error = refused(&format!("{given} user=ops sslmode=disable")).await;
            assert_eq!(error.came_of(Cause::Unanswered), unanswered, "{given}: {error:?}");
            assert!(error.first_hint().is_some_and(|hint| hint.starts_with("check that the server runs")), "{error:?}");
        }
    }
}
