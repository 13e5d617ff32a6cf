//! The one way in for effects: environment, clock, progress, cancellation.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;

use chrono::{DateTime, Utc};
use tokio_util::sync::CancellationToken;

use crate::event::{Event, Observer, Silent};
use crate::{Error, Kind, Result};

/// What the process was started with, captured once in `main`.
#[derive(Debug, Clone, Default)]
pub struct Environment {
    /// Environment variables.
    pub variables: BTreeMap<String, String>,
    /// The user's home directory.
    pub home: Option<PathBuf>,
    /// The operating system's name of the user, libpq's default for the PostgreSQL user.
    pub user: Option<String>,
    /// This machine's name.
    pub host: String,
}

impl Environment {
    /// A variable that is set and not empty.
    pub fn get(&self, name: &str) -> Option<&str> {
        self.variables.get(name).map(String::as_str).filter(|value| !value.is_empty())
    }
}

/// Effects that the core uses. Cheap to clone.
#[derive(Clone)]
pub struct Context {
    /// Environment variables, home directory, user.
    pub environment: Arc<Environment>,
    /// The time now.
    pub clock: Arc<dyn Fn() -> DateTime<Utc> + Send + Sync>,
    /// Where progress goes.
    pub observer: Arc<dyn Observer>,
    /// Cancelled when the operator or the system asks us to stop.
    pub cancel: CancellationToken,
}

impl Context {
    /// A context with the system clock, no observer and nothing to cancel it.
    pub fn new(environment: Environment) -> Self {
        Self {
            environment: Arc::new(environment),
            clock: Arc::new(Utc::now),
            observer: Arc::new(Silent),
            cancel: CancellationToken::new(),
        }
    }

    /// The same for what must come to its end although the run was told to stop.
    pub fn to_its_end(&self) -> Self {
        Self { cancel: CancellationToken::new(), ..self.clone() }
    }

    /// The time now.
    pub fn now(&self) -> DateTime<Utc> {
        (self.clock)()
    }

    /// Tells the observer that a phase of the work began.
    pub fn phase(&self, name: impl Into<String>) {
        self.observer.event(&Event::Phase { name: name.into() });
    }

    /// Runs `work` until it ends or the context is cancelled, whichever comes first.
    ///
    /// # Errors
    /// What `work` returns, or [`Kind::Interrupted`]. On cancellation `work` is dropped where it stands.
    pub async fn until_cancelled<T>(&self, work: impl Future<Output = Result<T>>) -> Result<T> {
        tokio::select! {
            biased;
            () = self.cancel.cancelled() => Err(interrupted()),
            result = work => result,
        }
    }
}

/// Makes sure that nobody has asked us to stop.
///
/// # Errors
/// [`Kind::Interrupted`].
pub(crate) fn go_on(cancel: &CancellationToken) -> Result<()> {
    if cancel.is_cancelled() { Err(interrupted()) } else { Ok(()) }
}

fn interrupted() -> Error {
    Error::new(Kind::Interrupted, "interrupted before the work was complete")
}
