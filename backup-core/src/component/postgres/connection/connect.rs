//! Opens connections with the driver.

use std::future::poll_fn;
use std::str::FromStr as _;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncWrite};
use tokio::task::JoinHandle;
use tokio_postgres::config::{SslMode, SslNegotiation, TargetSessionAttrs};
use tokio_postgres::error::SqlState;
use tokio_postgres::tls::{MakeTlsConnect, TlsConnect};
use tokio_postgres::{AsyncMessage, Client, Config, NoTls, SimpleQueryMessage, Socket};
use tokio_postgres_rustls::MakeRustlsConnect;

use super::super::{query_failed, session, words};
use super::parameters::{Host, Parameters};
use super::refusal::{POOLER, Refusal, said};
use super::stage::{Noted, Reached};
use super::tls;
use crate::finding::Finding;
use crate::{Cause, Error, Kind, Result};

/// An open connection; it closes when dropped.
pub struct Connection {
    pub(super) client: Client,
    driver: JoinHandle<()>,
    greetings: Vec<String>,
}

/// What a session is told before it asks for anything; none once it is under way.
type Greetings = Arc<Mutex<Option<Vec<String>>>>;

impl Connection {
    fn new<S, T>(client: Client, connection: tokio_postgres::Connection<S, T>) -> (Self, Greetings)
    where
        S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
        T: AsyncRead + AsyncWrite + Unpin + Send + 'static,
    {
        let greetings = Greetings::new(Mutex::new(Some(Vec::new())));
        let driver = tokio::spawn(drive(connection, greetings.clone()));
        (Self { client, driver, greetings: Vec::new() }, greetings)
    }

    /// What the server tells every session like this one at its beginning, as PostgreSQL's programs write it.
    pub(in super::super) fn greetings(&self) -> &[String] {
        &self.greetings
    }
}

/// Drives a connection to its end, and keeps what it is greeted with.
async fn drive<S, T>(mut connection: tokio_postgres::Connection<S, T>, greetings: Greetings)
where
    S: AsyncRead + AsyncWrite + Unpin,
    T: AsyncRead + AsyncWrite + Unpin,
{
    // The driver's errors reach the caller through the client.
    while let Some(Ok(message)) = poll_fn(|context| connection.poll_message(context)).await {
        let AsyncMessage::Notice(notice) = message else { continue };
        if let Some(greetings) = &mut *greetings.lock().unwrap_or_else(PoisonError::into_inner) {
            greetings.push(words::as_written(&notice));
        }
    }
}

impl std::ops::Deref for Connection {
    type Target = Client;

    fn deref(&self) -> &Client {
        &self.client
    }
}

impl Drop for Connection {
    fn drop(&mut self) {
        // Without this the driver would read a running COPY to its end.
        self.driver.abort();
    }
}

/// Connects to the first host that answers.
///
/// # Errors
/// One sentence on why no host could be used, with the server's own words and a hint.
pub async fn connect(parameters: &Parameters) -> Result<Connection> {
    first(parameters).await.map(|(connection, _)| connection).map_err(Failure::into_error)
}

/// Connects to the first of `databases` that is there, on the first host that answers, and returns the parameters that lead to
/// that host alone, and that know which settings it takes.
///
/// # Errors
/// As [`connect`]; where none of them is there, what the server says of the first; where something between us and the server
/// drops the sessions' settings.
pub async fn connect_first(parameters: &Parameters, databases: &[&str]) -> Result<(Connection, Parameters)> {
    let mut missing = None;
    for database in databases {
        match first(&parameters.with_database(database)).await {
            Ok((connection, parameters)) => return settle(connection, parameters).await,
            Err(Failure::NoDatabase(error)) => missing = missing.or(Some(error)),
            Err(other) => return Err(other.into_error()),
        }
    }
    Err(missing.unwrap_or_else(|| Error::new(Kind::Usage, "PostgreSQL connection: no database")))
}

/// Asks which settings the server takes.
async fn settle(connection: Connection, mut parameters: Parameters) -> Result<(Connection, Parameters)> {
    if !is_marked(&connection).await.map_err(|error| query_failed("ask the server for its settings", &error))? {
        let message = format!("connect to PostgreSQL at {}: our sessions' settings don't reach it", parameters.place());
        return Err(Error::new(Kind::Failed, message).hint(said(&parameters, POOLER.into())));
    }
    let names: Vec<&str> = session::WHERE_KNOWN.iter().map(|(name, _)| *name).collect();
    // One that only superusers may change is fixed already, where it could be.
    let sql =
        "SELECT name FROM pg_catalog.pg_settings WHERE name = ANY($1) AND (context = 'user' OR source = 'client')";
    let rows = connection.query(sql, &[&names]).await;
    let rows = rows.map_err(|error| query_failed("ask the server for its settings", &error))?;
    let mut known: Vec<String> = rows.iter().map(|row| row.get(0)).collect();
    // A database may make its sessions another role's, which may not read what the user may. The user's own role is meant.
    let sql = "SELECT current_user <> session_user, EXISTS (SELECT FROM pg_catalog.pg_db_role_setting s \
        JOIN pg_catalog.pg_roles r ON r.oid = s.setrole, LATERAL pg_catalog.unnest(s.setconfig) AS c(text) \
        WHERE r.rolname = session_user AND pg_catalog.split_part(c.text, '=', 1) = 'role'), \
        EXISTS (SELECT FROM pg_catalog.pg_roles r WHERE r.rolname = session_user AND r.rolsuper)";
    let row = connection.query_one(sql, &[]).await;
    let row = row.map_err(|error| query_failed("ask the server who we are", &error))?;
    let (is_another, is_own, is_superuser): (bool, bool, bool) = (row.get(0), row.get(1), row.get(2));
    if !is_own {
        known.push(session::ROLE.0.into());
    }
    if is_superuser {
        known.push(session::LANGUAGE.0.into());
    }
    parameters.settle(known);
    let connection = if is_another && !is_own { connect(&parameters).await? } else { connection };
    Ok((connection, parameters))
}

/// Whether a session has the settings that it was to begin with. Asked by a statement without a name, for a pooler may have given
/// a name to somebody else's.
async fn is_marked(connection: &Connection) -> Result<bool, tokio_postgres::Error> {
    let (mark, value) = session::MARK;
    let sql = format!("SELECT pg_catalog.current_setting('{mark}', true)");
    let answer = connection.simple_query(&sql).await?;
    let is = |message: &SimpleQueryMessage| matches!(message, SimpleQueryMessage::Row(row) if row.try_get(0).is_ok_and(|found| found == Some(value)));
    Ok(answer.iter().any(is))
}

/// Makes sure that the server would let its user into a database that it has not yet: who may come in is asked before what is there.
///
/// # Errors
/// As [`connect`].
pub async fn try_admission(parameters: &Parameters) -> Result<()> {
    for host in parameters.hosts()? {
        match connect_settled(parameters, &host).await {
            Ok(_) | Err(Failure::NoDatabase(_)) => {}
            Err(failure) => return Err(failure.into_error()),
        }
    }
    Ok(())
}

async fn first(parameters: &Parameters) -> Result<(Connection, Parameters), Failure> {
    let hosts = parameters.hosts()?;
    let mut failure = None;
    for host in &hosts {
        match connect_settled(parameters, host).await {
            Ok(connection) => return Ok((connection, parameters.pinned_to(host))),
            Err(error) => {
                // A host that answers tells more than one that does not.
                let telling = |before: &Failure| error.is_unanswered() && !before.is_unanswered();
                failure = failure.filter(telling).or(Some(error));
            }
        }
    }
    Err(failure.unwrap_or_else(|| Error::new(Kind::Usage, "PostgreSQL connection: no host").into()))
}

/// Tells apart, where nobody has yet, whether the server takes what keeps triggers on login from firing. Only a session
/// could ask, and that would fire them.
async fn connect_settled(parameters: &Parameters, host: &Host) -> Result<Connection, Failure> {
    if parameters.is_settled() {
        return connect_to(parameters, host, &session::begin()).await;
    }
    let (mut settled, begin) = (parameters.clone(), session::begin_first());
    settled.settle(vec![session::WHERE_KNOWN[0].0.into()]);
    match connect_to(&settled, host, &begin).await {
        Err(Failure::Setting(_)) => {
            settled.settle(Vec::new());
            connect_to(&settled, host, &begin).await
        }
        other => other,
    }
}

/// Why there is no connection.
enum Failure {
    /// The server does not know a setting, or the user may not change it.
    Setting(Error),
    /// The user was let in, and the server has no such database, or lets nobody into it.
    NoDatabase(Error),
    Other(Error),
}

impl Failure {
    fn is_unanswered(&self) -> bool {
        let (Self::Setting(error) | Self::NoDatabase(error) | Self::Other(error)) = self;
        error.came_of(Cause::Unanswered)
    }

    fn into_error(self) -> Error {
        let (Self::Setting(error) | Self::NoDatabase(error) | Self::Other(error)) = self;
        error
    }
}

impl From<Error> for Failure {
    fn from(error: Error) -> Self {
        Self::Other(error)
    }
}

async fn connect_to(parameters: &Parameters, host: &Host, begin: &str) -> Result<Connection, Failure> {
    let (config, password_problem) = config(parameters, host)?;
    let tls = if host.is_socket() { None } else { tls::client(parameters)? };
    let mode = parameters.get("sslmode").unwrap_or("prefer");
    let mut result = match &tls {
        Some(_) if mode == "allow" => open_plain(&config).await,
        Some(tls) => open_encrypted(&config, tls.clone()).await,
        None => open_plain(&config).await,
    };
    let refused = |refusal: &Refusal| refusal.code() == Some(&SqlState::INVALID_AUTHORIZATION_SPECIFICATION);
    if mode == "prefer" && tls.is_some() && result.as_ref().is_err_and(refused) {
        // The server may take this user without encryption alone.
        result = open_plain(&config).await;
    }
    if let (Err(_), "allow", Some(tls)) = (&result, mode, tls) {
        let mut config = config.clone();
        config.ssl_mode(SslMode::Require);
        result = open_encrypted(&config, tls).await;
    }
    let (mut connection, greetings) = result.map_err(|refusal| {
        let code = refusal.code().cloned();
        let failure = refusal.into_error(parameters, host, password_problem);
        match code {
            Some(SqlState::UNDEFINED_OBJECT | SqlState::INSUFFICIENT_PRIVILEGE) => Failure::Setting(failure),
            Some(SqlState::INVALID_CATALOG_NAME | SqlState::OBJECT_NOT_IN_PREREQUISITE_STATE) => {
                Failure::NoDatabase(failure)
            }
            _ => Failure::Other(failure),
        }
    })?;
    let begun = connection.batch_execute(begin).await;
    begun.map_err(|error| Refusal::in_session(error).into_error(parameters, host, None))?;
    connection.greetings = greetings.lock().unwrap_or_else(PoisonError::into_inner).take().unwrap_or_default();
    Ok(connection)
}

async fn open_plain(config: &Config) -> Result<(Connection, Greetings), Refusal> {
    let mut config = config.clone();
    config.ssl_mode(SslMode::Disable);
    open(&config, NoTls).await
}

async fn open_encrypted(config: &Config, tls: rustls::ClientConfig) -> Result<(Connection, Greetings), Refusal> {
    open(config, MakeRustlsConnect::new(tls)).await
}

async fn open<T>(config: &Config, tls: T) -> Result<(Connection, Greetings), Refusal>
where
    T: MakeTlsConnect<Socket, Stream: Send + 'static, TlsConnect: TlsConnect<Socket, Future: Send> + Send> + Send,
{
    let reached = Reached::default();
    let opened = config.connect(Noted::new(tls, &reached)).await;
    let (client, connection) = opened.map_err(|error| Refusal::new(error, reached.stage(), config))?;
    Ok(Connection::new(client, connection))
}

fn config(parameters: &Parameters, host: &Host) -> Result<(Config, Option<Finding>)> {
    let mut config = Config::new();
    config.host(&host.name).port(host.port).user(parameters.user());
    if let Some(address) = &host.address {
        let address = std::net::IpAddr::from_str(address)
            .map_err(|_| Error::new(Kind::Usage, format!("PostgreSQL connection: hostaddr {address} is no address")))?;
        config.hostaddr(address);
    }
    config.dbname(parameters.get("dbname").unwrap_or(parameters.user()));
    config.application_name(parameters.get("application_name").unwrap_or("orchestrator-cli"));
    config.options(parameters.options());
    let seconds =
        parameters.get("connect_timeout").and_then(|text| text.parse::<u64>().ok()).filter(|seconds| *seconds > 0);
    config.connect_timeout(Duration::from_secs(seconds.unwrap_or(30)));
    config.ssl_mode(match parameters.get("sslmode") {
        Some("require" | "verify-ca" | "verify-full") => SslMode::Require,
        _ => SslMode::Prefer,
    });
    if parameters.get("sslnegotiation") == Some("direct") {
        config.ssl_negotiation(SslNegotiation::Direct);
    }
    config.target_session_attrs(match parameters.get("target_session_attrs") {
        None | Some("any" | "prefer-standby") => TargetSessionAttrs::Any,
        Some("read-write" | "primary") => TargetSessionAttrs::ReadWrite,
        Some("read-only" | "standby") => TargetSessionAttrs::ReadOnly,
        Some(other) => {
            return Err(Error::new(
                Kind::Usage,
                format!("PostgreSQL connection: unknown target_session_attrs {other}"),
            ));
        }
    });
    config.channel_binding(match parameters.get("channel_binding") {
        Some("require") => tokio_postgres::config::ChannelBinding::Require,
        Some("disable") => tokio_postgres::config::ChannelBinding::Disable,
        _ => tokio_postgres::config::ChannelBinding::Prefer,
    });
    match parameters.password(host) {
        Ok(Some(password)) => {
            config.password(password.expose());
            Ok((config, None))
        }
        Ok(None) => Ok((config, None)),
        Err(finding) => Ok((config, Some(finding))),
    }
}
