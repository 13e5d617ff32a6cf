//! A kind of state, and the kinds that a program knows.

use std::fmt;
use std::fs;
use std::os::unix::fs::lchown;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use futures_util::FutureExt;
use futures_util::future::BoxFuture;
use serde_json::Value;

use super::walls::Walls;
use super::{DrillLimits, Part, Ready, Staying, Stored};
use crate::bundle::manifest::Section;
use crate::event::Meter;
use crate::finding::{Finding, Findings};
use crate::names::{ComponentId, StepId};
use crate::plan::Step;
use crate::{Context, Error, ErrorContext, Kind as ErrorKind, Result, toml_text};

/// A kind of state, such as `redis`. A program lists those that it knows once; nothing else names one.
pub trait Kind: Send + Sync {
    /// What settings, manifests and journals call it. It is never changed.
    fn name(&self) -> &'static str;

    /// The component that a table of the settings describes. The kind need not look at `kind` and `id` in it.
    ///
    /// # Errors
    /// [`ErrorKind::Usage`] with what is wrong in the table. Unknown fields are refused.
    fn configured(&self, id: ComponentId, table: &toml_text::Table) -> Result<Arc<dyn Component>>;

    /// Makes sure of what a manifest says of such a component: before it is sealed, restored or drilled.
    ///
    /// # Errors
    /// [`ErrorKind::Damaged`] with what can't be.
    fn check_section(&self, section: &Section) -> Result<()>;

    /// The same component at a server that is thrown away, for a drill; its guard ends the server and removes all of it.
    ///
    /// # Errors
    /// Where there can be no such server; that says nothing of the bundle.
    fn throwaway<'a>(&'a self, stored: &'a Stored, room: &'a Room<'_>) -> BoxFuture<'a, Result<Throwaway>>;
}

/// Where a drill may make a server.
pub struct Room<'r> {
    /// A directory for it alone, which is removed afterwards.
    pub place: &'r Path,
    /// What it may take.
    pub limits: &'r DrillLimits,
    /// Clock, environment, progress and cancellation.
    pub context: &'r Context,
}

impl Room<'_> {
    /// Raises walls around a directory for the data of one server, which is the account's that the server runs as; `doing` is what
    /// for, in errors.
    pub(crate) async fn walls(&self, doing: impl Fn() -> String + Copy + Send) -> Result<(Walls, PathBuf)> {
        let [root, own] = ["root", "own"].map(|name| self.place.join(name));
        for directory in [&root, &own] {
            fs::create_dir(directory).context(doing)?;
        }
        let environment = &self.context.environment;
        let walls = Walls::raise(&root, std::slice::from_ref(&own), (&[], &[]), self.limits, environment).await?;
        if let Some((user, group)) = walls.account {
            lchown(&own, Some(user), Some(group)).context(doing)?;
        }
        Ok((walls, own))
    }
}

/// A component at a server that is thrown away.
pub struct Throwaway {
    /// The component.
    pub component: Arc<dyn Component>,
    /// What ends the server when it is dropped.
    pub guard: Box<dyn Send + Sync>,
    /// What this machine can't show, and the walls that it lacks.
    pub unproved: Vec<Finding>,
}

/// Something that a control plane keeps. It knows its address and its credentials, and says none of them.
pub trait Named: Send + Sync {
    /// What it is called.
    fn id(&self) -> &ComponentId;

    /// What kind it is of.
    fn kind(&self) -> &'static str;
}

/// What can be captured.
pub trait Captures: Named {
    /// Looks whether it can be captured, and what would stop that. Without it there is an error among the findings.
    fn check<'a>(&'a self, look: &'a mut Look<'_>) -> BoxFuture<'a, Option<Box<dyn Ready>>>;

    /// The steps that stop or hold something while it is captured, made of what [`Ready::hold`] said. They are undone after the capture
    /// whatever happens, in another process where the first one was killed.
    ///
    /// # Errors
    /// Where they can't be made of that.
    fn quiet(self: Arc<Self>, _: &Value) -> Result<Vec<Box<dyn Step>>> {
        Ok(Vec::new())
    }
}

/// One configured component.
pub trait Component: Captures {
    /// It as a restore brings it back, made of what a bundle has of it. Without that its steps can only be undone, and what stepped aside
    /// dropped.
    fn restoring(self: Arc<Self>, stored: Option<Stored>) -> Arc<dyn Restores>;
}

/// A component that is brought back: it holds what it is made of.
pub trait Restores: Named {
    /// Reaches what it is brought back into, before anything is decided. Where that can't be, there is an error among the findings.
    fn reach<'a>(&'a self, _: &'a mut Look<'_>) -> BoxFuture<'a, ()> {
        async {}.boxed()
    }

    /// Whether something beside what is live is called by this moment already.
    fn is_taken<'a>(&'a self, _moment: &'a str, _: &'a mut Look<'_>) -> BoxFuture<'a, bool> {
        async { false }.boxed()
    }

    /// Looks whether it can take the place of what is live, and decides how. Nothing is changed. What steps aside gets a name that ends
    /// in `moment`. Without a result there is an error among the findings.
    fn fit<'a>(&'a self, moment: &'a str, look: &'a mut Look<'_>) -> BoxFuture<'a, Option<Fitted>>;

    /// Whether something that lives is changed, and not only put beside it. That must be known where it does not fit, too.
    fn changes_live(&self, _: Option<&Fitted>) -> bool {
        true
    }

    /// What a running server of this machine needs where it is; also asked of what is not brought back itself. That it can't be seen is
    /// a finding.
    fn staying<'a>(&'a self, _: &'a mut Look<'_>) -> BoxFuture<'a, Vec<Staying>> {
        async { Vec::new() }.boxed()
    }

    /// What a restore does of it, by the recipe that [`Self::fit`] made, from the journal alone.
    ///
    /// # Errors
    /// [`ErrorKind::Refused`] where something else answers than the restore began on; where nothing does.
    fn take_up<'a>(self: Arc<Self>, recipe: &'a Value, working: &'a Working) -> BoxFuture<'a, Result<Arc<dyn Part>>>;
}

/// A look at something: what is found goes into the findings.
pub struct Look<'l> {
    /// Clock, environment, progress and cancellation.
    pub context: &'l Context,
    /// What was found so far.
    pub findings: &'l mut Findings,
}

/// What all parts of a restore work with.
#[derive(Clone)]
pub struct Working {
    /// Clock, environment, progress and cancellation.
    pub context: Context,
    /// How far the work is.
    pub meter: Arc<Meter>,
    /// What may be missing of it, should it be refused: the operator has named that.
    pub accepted: Vec<String>,
}

/// How a component is restored.
#[derive(Debug, Default)]
pub struct Fitted {
    /// All that its steps are made of, as the journal keeps it. Nothing in it is secret.
    pub recipe: Value,
    /// What it brings, for people: `redis at 127.0.0.1:6379`; empty where there is nothing of it.
    pub brings: Vec<String>,
    /// What steps aside, and the name that it has then.
    pub aside: Vec<(String, String)>,
    /// The ids of the steps that change what is live.
    pub live: Vec<StepId>,
    /// Files and directories that it puts in the place of others: nothing that must stay may be among them.
    pub places: Vec<PathBuf>,
    /// The server that it is swapped on, for people: `PostgreSQL at /run/postgresql`.
    pub server: Option<String>,
    /// Whose sessions end then.
    pub ends: Option<String>,
}

/// The kinds that a program knows.
#[derive(Clone)]
pub struct Kinds(Arc<Vec<Box<dyn Kind>>>);

impl Kinds {
    /// These.
    pub fn new(kinds: Vec<Box<dyn Kind>>) -> Self {
        Self(Arc::new(kinds))
    }

    /// The kind with this name.
    ///
    /// # Errors
    /// [`ErrorKind::Unsupported`] where the program knows none.
    pub fn named(&self, name: &str) -> Result<&dyn Kind> {
        self.0.iter().find(|kind| kind.name() == name).map(|kind| &**kind).ok_or_else(|| {
            let known: Vec<&str> = self.0.iter().map(|kind| kind.name()).collect();
            let error =
                Error::new(ErrorKind::Unsupported, format!("this program knows no kind of state called {name}"));
            error.hint(format!("it knows {}", known.join(", ")))
        })
    }

    /// All of them.
    pub fn all(&self) -> impl Iterator<Item = &dyn Kind> {
        self.0.iter().map(|kind| &**kind)
    }
}

impl fmt::Debug for Kinds {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.debug_list().entries(self.all().map(Kind::name)).finish()
    }
}
