//! A session of `psql`, for statements that are not UTF-8, which the driver cannot send.

use std::process::Stdio;
use std::sync::Arc;

use bytes::Bytes;
use tokio::io::{AsyncBufReadExt, AsyncWriteExt};
use tokio::sync::{Mutex, OwnedMutexGuard};

use super::command::{Running, start};
use super::connection::Parameters;
use super::session;
use super::tools::Tools;
use crate::{Error, ErrorContext, Kind, Result};

const DOING: &str = "read names that are not UTF-8 with psql";
/// A line that no row can be, since `COPY` doubles every backslash.
const END: &[u8] = b"\\.\n";
/// Makes psql print [`END`]; a `COPY`, even of nothing, makes it hand over what it has.
const PRINT_END: &[u8] = b";\n\\echo '\\\\.'\nCOPY (SELECT WHERE false) TO STDOUT;\n";

/// A session that begins with its first statement. It ends when dropped.
pub(super) struct Psql {
    tools: Tools,
    parameters: Parameters,
    begin: String,
    session: Arc<Mutex<Option<Box<Running>>>>,
}

impl Psql {
    /// A session that runs `begin` first, after the settings of every connection.
    pub(super) fn new(tools: &Tools, parameters: &Parameters, begin: String) -> Self {
        Self { tools: tools.clone(), parameters: parameters.clone(), begin, session: Arc::default() }
    }

    /// Makes sure that the session, if it has begun, has lasted until now.
    pub(super) async fn check_alive(&self) -> Result<()> {
        let begun = self.session.lock().await.is_some();
        if begun { self.execute(b"SELECT WHERE false").await } else { Ok(()) }
    }

    /// Runs a statement and passes over what it prints.
    pub(super) async fn execute(&self, statement: &[u8]) -> Result<()> {
        let mut lines = self.copy(statement).await?;
        while lines.next().await?.is_some() {}
        Ok(())
    }

    /// Runs a statement, such as `COPY … TO STDOUT`, for the lines that it prints. Another one waits for the last line.
    pub(super) async fn copy(&self, statement: &[u8]) -> Result<Lines> {
        let mut place = self.session.clone().lock_owned().await;
        let mut session = match place.take() {
            Some(session) => session,
            None => self.start().await?,
        };
        send(&mut session, &[statement, PRINT_END].concat()).await;
        Ok(Lines { place, session: Some(session) })
    }

    async fn start(&self) -> Result<Box<Running>> {
        let mut command = self.tools.client("psql", &self.parameters);
        command.args(["--no-psqlrc", "--quiet", "--no-password", "--set=ON_ERROR_STOP=1"]);
        command.env("PGCLIENTENCODING", "SQL_ASCII");
        let mut session = start(command, DOING, Stdio::piped())?;
        send(&mut session, format!("\\o /dev/null\n{};\n{};\n\\o\n", session::begin(), self.begin).as_bytes()).await;
        Ok(Box::new(session))
    }
}

async fn send(session: &mut Running, text: &[u8]) {
    if let Some(input) = &mut session.input {
        // A psql that has ended takes none; why it ended is seen where its output ends.
        let _ = input.write_all(text).await;
    }
}

/// What a statement prints.
pub(super) struct Lines {
    /// Where the session goes back to when it has printed all; one that is left in between ends.
    place: OwnedMutexGuard<Option<Box<Running>>>,
    session: Option<Box<Running>>,
}

impl Lines {
    /// The next line with its end, or none after the last.
    ///
    /// # Errors
    /// A failed statement, in psql's words.
    pub(super) async fn next(&mut self) -> Result<Option<Bytes>> {
        let Some(mut session) = self.session.take() else { return Ok(None) };
        let mut line = Vec::new();
        if session.output.read_until(b'\n', &mut line).await.context(|| DOING.into())? == 0 {
            session.finish().await?;
            return Err(Error::new(Kind::Failed, format!("{DOING}: it ended too early")));
        }
        if line == END {
            *self.place = Some(session);
            return Ok(None);
        }
        self.session = Some(session);
        Ok(Some(line.into()))
    }
}
