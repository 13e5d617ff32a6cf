//! Sessions that are used again. To begin one costs a server more than most of what a restore asks in it.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use super::Target;
use crate::Result;
use crate::component::postgres::connection::Connection;

/// The most sessions that are kept: a server may have few left.
const MOST: usize = 2;
/// How long a session is kept. What lies between us and the server may forget one that says nothing.
const LONGEST: Duration = Duration::from_secs(10);

/// What new databases are copied from, which nobody can while somebody is in it.
const COPIED: &str = "template1";

/// The sessions that are kept of a server.
#[derive(Clone, Default)]
pub(in super::super) struct Kept(Arc<Mutex<Vec<Lent>>>);

/// A session, and when it was lent.
struct Lent {
    /// Its database, and the options that it began with.
    of: (String, String),
    session: Arc<Connection>,
    since: Instant,
}

impl Kept {
    /// A session that nobody has at the moment.
    fn take(&self, of: &(String, String)) -> Option<Arc<Connection>> {
        let mut kept = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        kept.retain(|one| !one.session.is_closed() && one.since.elapsed() < LONGEST);
        let is_free = |one: &&mut Lent| one.of == *of && Arc::strong_count(&one.session) == 1;
        let one = kept.iter_mut().find(is_free)?;
        one.since = Instant::now();
        Some(one.session.clone())
    }

    fn keep(&self, of: (String, String), session: Arc<Connection>) {
        let mut kept = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if kept.len() >= MOST {
            kept.remove(0);
        }
        kept.push(Lent { of, session, since: Instant::now() });
    }

    /// Closes those in `databases`, but for what is lent of them.
    pub(super) fn close(&self, databases: &[&str]) {
        let mut kept = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        kept.retain(|one| !databases.contains(&one.of.0.as_str()));
    }
}

impl Target {
    /// A session for statements that leave nothing behind in it: no setting, no transaction, no lock. Others use it afterwards.
    pub(super) async fn ask(&self, database: &str) -> Result<Arc<Connection>> {
        let of = (database.to_owned(), self.parameters.options());
        if let Some(session) = self.kept.take(&of) {
            // It may have been ended meanwhile.
            if session.batch_execute("SELECT").await.is_ok() {
                return Ok(session);
            }
        }
        let session = Arc::new(self.connect(database).await?);
        if database != COPIED {
            self.kept.keep(of, session.clone());
        }
        Ok(session)
    }
}
