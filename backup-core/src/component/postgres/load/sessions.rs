//! Sessions of others in a database that is wanted for oneself.

use std::fmt;
use std::time::{Duration, Instant};

use tokio_postgres::Row;
use tokio_postgres::error::SqlState;

use super::{Kept, Target};
use crate::component::postgres::connection::Connection;
use crate::component::postgres::query_failed;
use crate::{Error, Kind, Result};

/// Kinds of sessions that are listed, at most.
const LISTED: usize = 10;
const SESSIONS: &str = "SELECT datname::text, coalesce(application_name, ''), coalesce(usename::text, ''), \
    coalesce(pg_catalog.host(client_addr), 'this server'), pg_catalog.count(*) FROM pg_catalog.pg_stat_activity \
    WHERE datname = ANY($1) AND pid <> pg_catalog.pg_backend_pid() GROUP BY 1, 2, 3, 4 ORDER BY 5 DESC, 1, 2, 3, 4";

/// Sessions in databases, those of one program, user, address and database together.
#[derive(Debug, Clone, Default)]
pub struct Sessions {
    kinds: Vec<String>,
    more: i64,
}

impl Sessions {
    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.kinds.is_empty()
    }
}

impl fmt::Display for Sessions {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.kinds.join("; "))?;
        if self.more > 0 { write!(f, "; and {} more", self.more) } else { Ok(()) }
    }
}

impl Target {
    /// Who is in `databases` now.
    ///
    /// # Errors
    /// A failed query.
    pub async fn sessions(&self, databases: &[&str]) -> Result<Sessions> {
        let rows = self.administer().await?.query(SESSIONS, &[&databases]).await;
        let rows = rows.map_err(|error| query_failed("look who is in the databases", &error))?;
        let kind = |row: &Row| {
            let [database, program, user, address] = [0, 1, 2, 3].map(|index| row.get::<_, &str>(index));
            let program = if program.is_empty() { "a program without a name" } else { program };
            let count = row.get::<_, i64>(4);
            let times = if count > 1 { format!(" ({count} sessions)") } else { String::new() };
            format!("{program} of {user} from {address} in {database}{times}")
        };
        Ok(Sessions {
            kinds: rows.iter().take(LISTED).map(kind).collect(),
            more: rows.iter().skip(LISTED).map(|row| row.get::<_, i64>(4)).sum(),
        })
    }
}

/// How long a session that was told to end may take: it takes back what it had begun.
const LEAVE: Duration = Duration::from_secs(60);
const END_CALLED: &str = "SELECT pid, pg_catalog.pg_terminate_backend(pid) FROM pg_catalog.pg_stat_activity \
    WHERE pg_catalog.right(application_name, pg_catalog.length($1)) = $1 AND pid <> pg_catalog.pg_backend_pid()";

impl Target {
    /// The same server, for sessions that [`Target::end_remaining`] finds by this ending of their name.
    pub fn called(self, ending: &str) -> Self {
        // Sessions that began under another name would not be found by this one.
        Self { parameters: self.parameters.called(ending), kept: Kept::default(), ..self }
    }

    /// Ends what is left of a run that was killed: the server goes on with a statement whatever becomes of its client, and what it
    /// makes would come to light after somebody looked for it. `ending` is that of the sessions' names.
    ///
    /// # Errors
    /// A failed query; where a session does not end.
    pub async fn end_remaining(&self, ending: &str) -> Result<()> {
        let connection = self.administer().await?;
        let begun = Instant::now();
        loop {
            let rows = connection.query(END_CALLED, &[&ending]).await;
            let rows = rows.map_err(|error| query_failed("end what is left of the run before", &error))?;
            let Some(row) = rows.first() else { return Ok(()) };
            if begun.elapsed() > LEAVE {
                let pid: i32 = row.get(0);
                let message = format!("end what is left of the run before: server process {pid} does not end");
                let hint = format!(
                    "see with psql what it does: SELECT * FROM pg_stat_activity WHERE pid = {pid}; when it is gone, run the same command again"
                );
                return Err(Error::new(Kind::Failed, message).hint(hint));
            }
            tokio::time::sleep(PAUSE).await;
        }
    }
}

/// How often sessions are ended while a statement waits for their end.
const PAUSE: Duration = Duration::from_millis(50);
const END_SESSIONS: &str = "SELECT pg_catalog.count(pg_catalog.pg_terminate_backend(pid)) FROM pg_catalog.pg_stat_activity \
    WHERE datname = ANY($1) AND pid <> pg_catalog.pg_backend_pid()";
/// How long a statement may wait for a lock that somebody else has.
const PATIENCE: &str = "SET lock_timeout = '10s'";

/// What can be done about a database that something holds.
const HELD: &str = "something holds a database: a transaction elsewhere (pg_locks shows it), a prepared one, a slot; when it \
    is gone, go on as the last line says";

/// Whether something but a session that can be ended holds a database: it is in use, or its lock did not come.
fn is_held(error: &tokio_postgres::Error) -> bool {
    error.code().is_some_and(|code| [SqlState::OBJECT_IN_USE, SqlState::LOCK_NOT_AVAILABLE].contains(code))
}

/// Ends every session in `databases` and waits until they are gone.
pub(super) async fn end_sessions(connection: &Connection, databases: &[&str]) -> Result<()> {
    loop {
        let ended = connection.query_one(END_SESSIONS, &[&databases]).await;
        let ended =
            ended.map_err(|error| query_failed(format!("end the sessions in {}", databases.join(", ")), &error))?;
        if ended.get::<_, i64>(0) == 0 {
            return Ok(());
        }
        tokio::time::sleep(PAUSE).await;
    }
}

/// Runs a statement that wants `databases` for itself, and ends their sessions until it is done.
///
/// The statement locks a database first and then waits some seconds for its sessions to end; from the lock on the server
/// lets no new one in. So they are ended while it waits, and nothing has to be closed that a crash would leave closed.
pub(super) async fn run_without_sessions(
    target: &Target,
    databases: &[&str],
    statement: &str,
    doing: String,
) -> Result<()> {
    target.kept.close(databases);
    let (connection, other) = tokio::try_join!(target.connect(target.administrative()), target.administer())?;
    // While it waits for its lock, logins to a live database wait behind it.
    let patience = connection.batch_execute(PATIENCE).await;
    patience.map_err(|error| query_failed(doing.clone(), &error))?;
    let mut statement = std::pin::pin!(connection.batch_execute(statement));
    let mut pauses = tokio::time::interval(PAUSE);
    loop {
        tokio::select! {
            done = &mut statement => {
                return done.map_err(|error| {
                    let failed = query_failed(doing, &error);
                    if is_held(&error) { failed.hint(HELD) } else { failed }
                });
            }
            _ = pauses.tick() => {
                let ended = other.query(END_SESSIONS, &[&databases]).await;
                ended.map_err(|error| query_failed(format!("end the sessions in {}", databases.join(", ")), &error))?;
            }
        }
    }
}
