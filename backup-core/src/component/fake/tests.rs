//! The engine, killed at every mark and every effect.

use std::path::PathBuf;

use super::world::Outside;
use super::*;
use crate::bundle::FORMAT_OF_SECTIONS;
use crate::bundle::manifest::Manifest;
use crate::bundle::reader::{Bundle, OpenBundle, ReadAt};
use crate::bundle::writer::Writer;
use crate::context::Environment;
use crate::event::Meter;
use crate::names::BundleName;
use crate::plan::{Head, apply, in_phases, undo};

#[derive(Serialize, Deserialize)]
struct Plan(Value);

impl crate::plan::Recipe for Plan {}

/// A bundle of a fake with this text.
async fn bundle(text: &str) -> Stored {
    let name = BundleName::at(Utc::now());
    let (context, meter) = (Context::new(Environment::default()), Arc::new(Meter::default()));
    let (writer, closing) = Writer::start(name.clone(), 1, Vec::new(), meter.clone());
    let component = component(&World::new(text));
    let mut findings = Findings::default();
    let ready = component.check(&mut Look { context: &context, findings: &mut findings }).await.expect("it is ready");
    let id = component.id().clone();
    let out = Out::new(writer.clone(), Section::root_of(&id), meter, context);
    let Said::Section { version, as_of, items, body } = ready.capture(&out).await.expect("captured").said else {
        panic!("it has a section");
    };
    let mut tail = closing.close(writer).await.expect("written").expect("whole");
    let section = Section { id, kind: KIND.into(), version, as_of, items, body };
    let manifest = Manifest {
        format: FORMAT_OF_SECTIONS,
        tool: "a test".into(),
        name: name.to_string(),
        created: name.time(),
        finished: name.time(),
        source: Default::default(),
        hosts: Vec::new(),
        databases: Vec::new(),
        components: vec![section.clone()],
        warnings: Vec::new(),
        needs: Vec::new(),
        entries: std::mem::take(&mut tail.entries),
    };
    let sealed = tail.seal(&manifest).expect("sealed");
    let opened: OpenBundle = Bundle::open(Box::new(sealed.sink) as Box<dyn ReadAt>).expect("a bundle");
    Stored::new(opened.manifest().components[0].clone(), Arc::new(opened))
}

/// A world with something live, a journal, and a bundle of another text.
struct Stage {
    world: World,
    stored: Stored,
    directory: tempfile::TempDir,
    before: Outside,
}

impl Stage {
    async fn new() -> Self {
        let world = World::new("live");
        let before = world.outside().clone();
        Self {
            world,
            stored: bundle("from the bundle").await,
            directory: tempfile::tempdir().expect("a directory"),
            before,
        }
    }

    fn context(&self) -> Context {
        Context { observer: Arc::new(AtMarks(self.world.fuse.clone())), ..Context::new(Environment::default()) }
    }

    fn journal(&self) -> PathBuf {
        self.directory.path().join("journal")
    }

    /// Begins a restore, or goes on with it, as another process would.
    async fn restore(&self) -> Result<()> {
        let (context, component) = (self.context(), component(&self.world).restoring(Some(self.stored.clone())));
        let working = Working { context: context.clone(), meter: Arc::default(), accepted: Vec::new() };
        let (mut journal, steps) = if self.journal().exists() {
            let (journal, head) = Journal::open::<Plan>(&self.journal())?;
            let part = component.take_up(&head.plan.0, &working).await?;
            (journal, in_phases(part.steps()))
        } else {
            let mut findings = Findings::default();
            let mut look = Look { context: &context, findings: &mut findings };
            let fitted = component.fit("20261129T120000Z", &mut look).await.expect("it fits");
            let part = component.take_up(&fitted.recipe, &working).await?;
            let steps = in_phases(part.steps());
            let ids = steps.iter().map(|step| step.id().clone()).collect();
            (Journal::create(&self.journal(), &Head::new("test", context.now(), Plan(fitted.recipe), ids))?, steps)
        };
        apply(&steps, &mut journal, &context).await
    }

    async fn roll_back(&self) -> Result<()> {
        let (context, component) = (self.context(), component(&self.world).restoring(None));
        let working = Working { context: context.clone(), meter: Arc::default(), accepted: Vec::new() };
        let (mut journal, head) = Journal::open::<Plan>(&self.journal())?;
        let part = component.take_up(&head.plan.0, &working).await?;
        part.check_way_back(&journal).await?;
        undo(&in_phases(part.steps()), &mut journal, &context).await
    }

    fn is_restored(&self) -> bool {
        let outside = self.world.outside();
        outside.live == "from the bundle"
            && outside.running
            && outside.before.as_deref() == Some("live")
            && outside.uploads.is_empty()
    }

    /// As before, but for numbers that were given.
    fn is_as_before(&self) -> bool {
        Outside { numbers: 0, ..self.world.outside().clone() } == self.before
    }
}

#[tokio::test]
async fn killed_at_any_mark_and_effect_it_is_resumed_to_the_same_end() {
    for length in 1.. {
        let stage = Stage::new().await;
        let ended = killed_in(&stage.world, length, stage.restore()).await;
        if !ended {
            stage.restore().await.unwrap_or_else(|error| panic!("{length}: {error}"));
        }
        assert!(stage.is_restored(), "{length}: {:?}", stage.world.outside());
        if ended {
            assert!(length > 20, "it was killed {length} times alone");
            return;
        }
    }
}

#[tokio::test]
async fn killed_at_any_mark_and_effect_it_is_rolled_back_to_the_beginning() {
    for length in 1.. {
        let stage = Stage::new().await;
        let ended = killed_in(&stage.world, length, stage.restore()).await;
        stage.roll_back().await.unwrap_or_else(|error| panic!("{length}: {error}"));
        assert!(stage.is_as_before(), "{length}: {:?}", stage.world.outside());
        if ended {
            return;
        }
    }
}

#[tokio::test]
async fn a_rollback_that_is_killed_is_gone_on_with() {
    for length in 1.. {
        let stage = Stage::new().await;
        stage.restore().await.expect("restored");
        let ended = killed_in(&stage.world, length, stage.roll_back()).await;
        if !ended {
            stage.roll_back().await.unwrap_or_else(|error| panic!("{length}: {error}"));
        }
        assert!(stage.is_as_before(), "{length}: {:?}", stage.world.outside());
        if ended {
            return;
        }
    }
}
