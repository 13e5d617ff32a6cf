//! What a backup stops or holds for as long as it captures, and lets go again whatever happens: by a journal, so that a run that is
//! killed leaves nothing stopped for good.

use std::sync::Arc;
use std::time::Duration;

use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::ReadyComponent;
use crate::component::Components;
use crate::finding::Finding;
use crate::names::{BundleName, ComponentId};
use crate::plan::{Head, Journal, Recipe, Shelf, Step, apply, undo};
use crate::{Context, Error, ErrorContext, Kind, Result, state};

/// The kind of plan, as its journal names it.
const KIND: &str = "backup";

/// What is held, as it stands in the journal.
#[derive(Debug, Serialize, Deserialize)]
struct Plan {
    /// The bundle that it is held for.
    bundle: String,
    held: Vec<Held>,
}

#[derive(Debug, Serialize, Deserialize)]
struct Held {
    id: ComponentId,
    kind: String,
    /// What its steps are made of, for its own kind to read.
    recipe: Value,
}

impl Recipe for Plan {}

impl Plan {
    fn steps(&self, components: &Components) -> Result<Vec<Box<dyn Step>>> {
        let mut steps = Vec::new();
        for Held { id, kind, recipe } in &self.held {
            let component = components.get(id).filter(|component| component.kind() == kind).ok_or_else(|| {
                let error = Error::new(Kind::NotFound, format!("let {id} go: the settings name no such component"));
                error.hint(format!(
                    "add [[component]] with kind = \"{kind}\" and id = \"{id}\" again; or see that it runs, and remove the journal in \
                     the directory backups of the state directory"
                ))
            })?;
            steps.extend(Arc::clone(component).quiet(recipe)?);
        }
        Ok(steps)
    }

    fn names(&self) -> String {
        self.held.iter().map(|held| held.id.as_str()).collect::<Vec<_>>().join(", ")
    }
}

/// What is held for a capture. Nothing, and no journal, where no component asks for it.
#[derive(Default)]
pub(super) struct Quiet(Option<Begun>);

struct Begun {
    journal: Journal,
    steps: Vec<Box<dyn Step>>,
    _shelf: Shelf,
}

/// `status` may look at it for a moment.
async fn shelf(context: &Context) -> Result<Shelf> {
    const TIMES: usize = 5;
    const PAUSE: Duration = Duration::from_millis(100);
    let directory = state::directory(context)?.join("backups");
    let open = || Shelf::open(directory.clone(), "another backup that stops applications is running");
    for _ in 1..TIMES {
        match open() {
            Err(error) if error.kind() == Kind::Locked => tokio::time::sleep(PAUSE).await,
            opened => return opened,
        }
    }
    open()
}

impl Quiet {
    /// Stops or holds all that the components ask for.
    ///
    /// # Errors
    /// The first step's failure. What was held until then is let go by [`Self::end`].
    pub(super) async fn begin(
        &mut self,
        name: &BundleName,
        ready: &[ReadyComponent],
        components: &Components,
        context: &Context,
    ) -> Result<()> {
        let held = ready.iter().filter_map(|component| {
            let recipe = component.ready.hold()?;
            Some(Held { id: component.id.clone(), kind: component.kind.into(), recipe })
        });
        let plan = Plan { bundle: name.to_string(), held: held.collect() };
        if plan.held.is_empty() {
            return Ok(());
        }
        context.phase(format!("hold {}", plan.names()));
        let (shelf, steps) = (shelf(context).await?, plan.steps(components)?);
        let ids = steps.iter().map(|step| step.id().clone()).collect();
        let journal = shelf.create(&Head::new(KIND, context.now(), plan, ids))?;
        let begun = self.0.insert(Begun { journal, steps, _shelf: shelf });
        apply(&begun.steps, &mut begun.journal, context).await
    }

    /// Lets all go that is held, also where the run was interrupted.
    ///
    /// # Errors
    /// The first failure; [`settle`] tries again.
    pub(super) async fn end(self, context: &Context) -> Result<()> {
        let Some(Begun { mut journal, steps, _shelf }) = self.0 else { return Ok(()) };
        let context = &context.to_its_end();
        undo(&steps, &mut journal, context).await.map_err(|error| {
            error
                .hint("what stands above is stopped still: start it by hand, or run the next backup, which tries again")
        })?;
        journal.remove()
    }
}

/// Lets go what backups that were killed have left stopped or held; returns what it was.
///
/// # Errors
/// Where that can't be done.
pub async fn settle(components: &Components, context: &Context) -> Result<Option<Finding>> {
    // Without a state directory nothing was ever held.
    if !state::directory(context).is_ok_and(|directory| directory.join("backups").exists()) {
        return Ok(None);
    }
    let context = &context.to_its_end();
    let shelf = match shelf(context).await {
        // It lets go itself what it holds.
        Err(error) if error.kind() == Kind::Locked => return Ok(None),
        opened => opened?,
    };
    let mut found = None;
    for path in Shelf::paths(shelf.directory(), None)? {
        let (mut journal, head) = Journal::open::<Plan>(&path)?;
        let (names, bundle) = (head.plan.names(), &head.plan.bundle);
        let doing = || format!("let {names} go, which the backup {bundle} was killed over");
        let steps = head.plan.steps(components).context(doing)?;
        undo(&steps, &mut journal, context).await.context(doing)?;
        journal.remove()?;
        let message = format!("the backup {bundle} was killed while it was held, and it is let go now");
        found = Some(Finding::warning("was-held", names, message));
    }
    Ok(found)
}

/// What backups that were killed have left stopped or held, in words; none where nothing is, or a backup is at work.
///
/// # Errors
/// Where that can't be seen.
pub fn left_held(context: &Context) -> Result<Option<String>> {
    let directory = state::directory(context)?.join("backups");
    if !directory.exists() || Shelf::paths(&directory, None)?.is_empty() {
        return Ok(None);
    }
    let _shelf = match Shelf::open(directory.clone(), "a backup is at work") {
        // Whoever holds it now lets it go.
        Err(error) if error.kind() == Kind::Locked => return Ok(None),
        opened => opened?,
    };
    let Some(path) = Shelf::paths(&directory, None)?.pop() else { return Ok(None) };
    let (_, head) = Journal::peek::<Plan>(&path)?;
    let (bundle, names) = (&head.plan.bundle, head.plan.names());
    Ok(Some(format!("the backup {bundle} was killed, and {names} may be stopped still")))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::component::fake::{self, killed_after};
    use crate::context::Environment;
    use crate::event::Silent;

    fn context(directory: &std::path::Path) -> Context {
        let variables = [("STATE_DIRECTORY".to_owned(), directory.display().to_string())].into();
        Context { observer: Arc::new(Silent), ..Context::new(Environment { variables, ..Environment::default() }) }
    }

    async fn hold_and_let_go(fake: &fake::Live, context: &Context) -> Result<()> {
        let context = &Context { observer: fake.at_marks(), ..context.clone() };
        let mut quiet = Quiet::default();
        let (id, kind, ready) = fake.ready(context).await;
        let ready = [ReadyComponent { id, kind, ready }];
        let name = BundleName::at(context.now());
        quiet.begin(&name, &ready, &fake.components(), context).await?;
        assert!(!fake.is_running(), "it is held");
        quiet.end(context).await
    }

    #[tokio::test]
    async fn killed_at_any_mark_and_effect_it_is_let_go_by_the_next_command() {
        for length in 1.. {
            let directory = tempfile::tempdir().expect("a directory");
            let (fake, context) = (fake::Live::new(), context(directory.path()));
            let ended = killed_after(length, &fake, hold_and_let_go(&fake, &context)).await;
            let stopped = !fake.is_running();
            let said = left_held(&context).expect("it can be seen");
            assert!(said.is_some() || !stopped, "{length}: nobody says that it is stopped");
            settle(&fake.components(), &context).await.unwrap_or_else(|error| panic!("{length}: {error}"));
            assert!(fake.is_running(), "{length}: it stays stopped");
            assert_eq!(left_held(&context).expect("it can be seen"), None, "{length}");
            if ended {
                assert!(length > 5, "it was killed {length} times alone");
                return;
            }
        }
    }
}
