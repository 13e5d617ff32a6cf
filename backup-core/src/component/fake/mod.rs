//! A kind of state that is kept in memory, for tests: the engine is killed at every mark and at every effect with it, in milliseconds.
//!
//! A new kind can begin as a copy of it. What a real one has beside: settings, programs, and a look at whether they are there.

mod tests;
mod world;

use std::sync::{Arc, Mutex, PoisonError};

use chrono::Utc;
use futures_util::FutureExt;
use futures_util::future::BoxFuture;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::{
    Amount, Brought, ByHand, Captured, Captures, Component, Components, Fitted, Item, Kind, Kinds, Look, Named, Out,
    Part, Ready, Restores, Room, Said, Stored, Throwaway, Working,
};
use crate::bundle::manifest::{Items, Section};
use crate::event::Observer;
use crate::finding::{Finding, Findings};
use crate::names::{ComponentId, StepId};
use crate::plan::{At, Journal, Phase, Phased, Seen, Status, Step};
use crate::{Context, Error, Kind as ErrorKind, Result, toml_text};
use world::{AtMarks, World, killed_in};

const KIND: &str = "fake";
const DATA: &str = "text";

/// The same with a fake of another room's tests.
pub(crate) async fn killed_after(length: usize, fake: &Live, run: impl Future<Output = Result<()>>) -> bool {
    killed_in(&fake.0, length, run).await
}

/// A live fake, for tests of jobs.
pub(crate) struct Live(World);

impl Live {
    /// One that stays stopped where a run is killed over it.
    pub(crate) fn new() -> Self {
        Self(World { stays_down: true, ..World::new("live") })
    }

    pub(crate) fn is_running(&self) -> bool {
        self.0.outside().running
    }

    /// What counts marks.
    pub(crate) fn at_marks(&self) -> Arc<dyn Observer> {
        Arc::new(AtMarks(self.0.fuse.clone()))
    }

    pub(crate) fn components(&self) -> Components {
        Components::of(vec![component(&self.0)])
    }

    /// It, ready to be captured.
    pub(crate) async fn ready(&self, context: &Context) -> (ComponentId, &'static str, Box<dyn Ready>) {
        let component = component(&self.0);
        let mut findings = Findings::default();
        let ready = component.check(&mut Look { context, findings: &mut findings }).await.expect("it is ready");
        (component.id().clone(), KIND, ready)
    }
}

fn component(world: &World) -> Arc<dyn Component> {
    let kinds = Kinds::new(vec![Box::new(Fake(world.clone()))]);
    let id = ComponentId::try_from(String::from("fake")).expect("a name");
    kinds.named(KIND).expect("it is known").configured(id, &toml_text::Table::default()).expect("configured")
}

struct Fake(World);

impl Kind for Fake {
    fn name(&self) -> &'static str {
        KIND
    }

    fn configured(&self, id: ComponentId, _: &toml_text::Table) -> Result<Arc<dyn Component>> {
        Ok(Arc::new(OneFake { id, world: self.0.clone() }))
    }

    fn check_section(&self, section: &Section) -> Result<()> {
        section.read::<()>()
    }

    fn throwaway<'a>(&'a self, stored: &'a Stored, _: &'a Room<'_>) -> BoxFuture<'a, Result<Throwaway>> {
        let component = OneFake { id: stored.section.id.clone(), world: World::new("") };
        async { Ok(Throwaway { component: Arc::new(component), guard: Box::new(()), unproved: Vec::new() }) }.boxed()
    }
}

struct OneFake {
    id: ComponentId,
    world: World,
}

/// What the steps are made of.
#[derive(Serialize, Deserialize)]
struct Recipe {
    moment: String,
}

impl Named for OneFake {
    fn id(&self) -> &ComponentId {
        &self.id
    }

    fn kind(&self) -> &'static str {
        KIND
    }
}

impl Captures for OneFake {
    fn check<'a>(&'a self, _: &'a mut Look<'_>) -> BoxFuture<'a, Option<Box<dyn Ready>>> {
        let ready: Box<dyn Ready> = Box::new(ReadyFake(self.world.clone()));
        async { Some(ready) }.boxed()
    }

    fn quiet(self: Arc<Self>, _: &Value) -> Result<Vec<Box<dyn Step>>> {
        let part = Arc::new(FakePart { id: self.id.clone(), world: self.world.clone(), stored: None });
        let step = FakeStep {
            id: StepId::new(format!("{}/hold", self.id)),
            title: format!("hold {}", self.id),
            act: Act::Stop,
            part,
        };
        Ok(vec![Box::new(step)])
    }
}

impl Component for OneFake {
    fn restoring(self: Arc<Self>, stored: Option<Stored>) -> Arc<dyn Restores> {
        Arc::new(Restoring { fake: self, stored })
    }
}

struct Restoring {
    fake: Arc<OneFake>,
    stored: Option<Stored>,
}

impl Named for Restoring {
    fn id(&self) -> &ComponentId {
        &self.fake.id
    }

    fn kind(&self) -> &'static str {
        KIND
    }
}

impl Restores for Restoring {
    fn fit<'a>(&'a self, moment: &'a str, look: &'a mut Look<'_>) -> BoxFuture<'a, Option<Fitted>> {
        if !self.fake.world.outside().running {
            look.findings.all.push(Finding::error("fake", "fake", "it does not run"));
            return async { None }.boxed();
        }
        let recipe = json!(Recipe { moment: moment.into() });
        let aside = vec![("fake".to_owned(), format!("fake_before_{moment}"))];
        let live = vec![StepId::new(format!("{}/swap", self.fake.id))];
        let fitted = Fitted { recipe, brings: vec!["fake".into()], aside, live, ..Fitted::default() };
        async { Some(fitted) }.boxed()
    }

    fn take_up<'a>(self: Arc<Self>, _: &'a Value, _: &'a Working) -> BoxFuture<'a, Result<Arc<dyn Part>>> {
        let OneFake { id, world } = &*self.fake;
        let part: Arc<dyn Part> =
            Arc::new(FakePart { id: id.clone(), world: world.clone(), stored: self.stored.clone() });
        async { Ok(part) }.boxed()
    }
}

struct ReadyFake(World);

impl Ready for ReadyFake {
    fn size(&self) -> u64 {
        self.0.outside().live.len() as u64
    }

    fn by_hand(&self, _: &str) -> ByHand {
        ByHand::also("Read components/fake/text.")
    }

    fn hold(&self) -> Option<Value> {
        Some(Value::Null)
    }

    fn capture<'a>(self: Box<Self>, out: &'a Out) -> BoxFuture<'a, Result<Captured>> {
        async move {
            let text = self.0.outside().live.clone();
            out.add(DATA, text.as_bytes()).await?;
            let items = Items { count: text.len() as u64, unit: "letter".into() };
            let said = Said::Section { version: 1, as_of: Utc::now(), items, body: Value::Null };
            Ok(Captured { said, findings: Vec::new() })
        }
        .boxed()
    }
}

struct FakePart {
    id: ComponentId,
    world: World,
    stored: Option<Stored>,
}

impl Part for FakePart {
    fn steps(self: Arc<Self>) -> Vec<Phased> {
        let step = |(phase, act, id): (Phase, Act, &str)| {
            let (id, title) = (StepId::new(format!("{}/{id}", self.id)), format!("{id} {}", self.id));
            Phased { phase, step: Box::new(FakeStep { id, title, act, part: self.clone() }) }
        };
        let acts = [
            (Phase::Stage, Act::Upload, "upload"),
            (Phase::Quiesce, Act::Stop, "stop"),
            (Phase::Swap, Act::Swap, "swap"),
            (Phase::Start, Act::Start, "start"),
        ];
        acts.into_iter().map(step).collect()
    }

    fn check_way_back<'a>(&'a self, journal: &'a Journal) -> BoxFuture<'a, Result<()>> {
        let swapped = journal.status(&StepId::new(format!("{}/swap", self.id))) == Some(Status::Applied);
        let gone = swapped && self.world.outside().before.is_none();
        async move { if gone { Err(Error::new(ErrorKind::Refused, "what stepped aside is gone")) } else { Ok(()) } }
            .boxed()
    }

    fn way_back(&self, _: &Journal) -> Vec<(Phase, String)> {
        vec![(Phase::Swap, "put the text back".into())]
    }

    fn brought<'a>(&'a self, _: &'a Journal) -> BoxFuture<'a, Brought> {
        let item = Item { name: "fake".into(), amount: Amount::None, before: None };
        async { Brought { items: vec![item], ..Brought::default() } }.boxed()
    }

    fn clean_up<'a>(&'a self, _: &'a Context) -> BoxFuture<'a, Result<()>> {
        self.world.change(|outside| outside.before = None);
        async { Ok(()) }.boxed()
    }
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Act {
    Upload,
    Stop,
    Swap,
    Start,
}

struct FakeStep {
    id: StepId,
    title: String,
    act: Act,
    part: Arc<FakePart>,
}

impl Step for FakeStep {
    fn id(&self) -> &StepId {
        &self.id
    }

    fn title(&self) -> &str {
        &self.title
    }

    fn probe<'a>(&'a self, _: &'a At<'_>) -> BoxFuture<'a, Result<Seen>> {
        let outside = self.part.world.outside();
        let whole = match self.act {
            Act::Upload => false,
            Act::Stop => !outside.running,
            Act::Swap => outside.before.is_some() && outside.uploads.is_empty(),
            Act::Start => outside.running,
        };
        async move { Ok(whole.into()) }.boxed()
    }

    fn apply<'a>(&'a self, at: &'a At<'_>) -> BoxFuture<'a, Result<()>> {
        let world = &self.part.world;
        async move {
            match self.act {
                Act::Upload => self.upload(at).await?,
                Act::Stop => world.change(|outside| outside.running = false),
                Act::Swap => {
                    // The machine may have been started meanwhile, and the fake with it.
                    world.change(|outside| outside.running = false);
                    // What is live steps aside once.
                    world.change(|outside| outside.before.get_or_insert(outside.live.clone()).clone());
                    world.change(|outside| {
                        if let Some((_, text)) = outside.uploads.pop() {
                            outside.put(text);
                        }
                    });
                }
                Act::Start => world.change(|outside| outside.running = true),
            }
            Ok(())
        }
        .boxed()
    }

    fn undo<'a>(&'a self, at: &'a At<'_>) -> BoxFuture<'a, Result<()>> {
        let world = &self.part.world;
        async move {
            match self.act {
                Act::Upload => self.withdraw(at)?,
                Act::Stop => world.change(|outside| outside.running = true),
                Act::Swap => {
                    world.change(|outside| outside.running = false);
                    world.change(|outside| {
                        if let Some(before) = outside.before.take() {
                            outside.put(before);
                        }
                    });
                }
                Act::Start => world.change(|outside| outside.running = false),
            }
            Ok(())
        }
        .boxed()
    }
}

impl FakeStep {
    /// Sends the text under a number that is noted first, so that none is left that nobody knows of.
    async fn upload(&self, at: &At<'_>) -> Result<()> {
        self.withdraw(at)?;
        let world = &self.part.world;
        let number = world.change(|outside| {
            outside.numbers += 1;
            outside.numbers
        });
        at.note(&number)?;
        world.fuse.burn();
        let stored = self.part.stored.as_ref().ok_or_else(|| Error::new(ErrorKind::Failed, "nothing is open"))?;
        let text = Arc::new(Mutex::new(Vec::new()));
        let taken = text.clone();
        let take = move |part: &[u8]| {
            taken.lock().unwrap_or_else(PoisonError::into_inner).extend_from_slice(part);
            Ok(())
        };
        stored.read(DATA, take).await?;
        let text = std::mem::take(&mut *text.lock().unwrap_or_else(PoisonError::into_inner));
        let text = String::from_utf8(text).map_err(|cause| Error::new(ErrorKind::Damaged, "no text").because(cause))?;
        world.change(|outside| outside.uploads.push((number, text)));
        Ok(())
    }

    /// Takes back what an earlier run has sent.
    fn withdraw(&self, at: &At<'_>) -> Result<()> {
        if let Some(number) = at.noted::<u64>()? {
            self.part.world.change(|outside| outside.uploads.retain(|(other, _)| *other != number));
        }
        Ok(())
    }
}
