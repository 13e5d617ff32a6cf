//! Sessions that are used again. To begin one costs a server more than most of what a restore asks in it.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use super::Target;
use crate::Result;
use crate::component::postgres::connection::Connection;

/// Most sessions that are kept. A server may have few left.
const MOST: usize = 2;
/// Time that an idle session is kept. A firewall on the way to the server may forget an idle connection.
const LONGEST: Duration = Duration::from_secs(10);

/// The template of new databases. The server copies it only while no session is in it.
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
    /// A session that others use afterwards. The statements in it leave nothing behind: no setting, no transaction, no lock.
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
