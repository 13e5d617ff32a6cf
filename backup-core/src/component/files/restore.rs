//! Files as a part of a restore: written beside their places, put there by renames.

use std::sync::Arc;

use futures_util::FutureExt;
use futures_util::future::BoxFuture;

use super::Placement;
use super::place::There;
use crate::bundle::manifest::Source as From;
use crate::bundle::reader::OpenBundle;
use crate::component::{Amount, Brought, Item, Part};
use crate::finding::Finding;
use crate::names::StepId;
use crate::plan::{At, Journal, Phase, Phased, Seen, Step};
use crate::{Context, Error, Kind, Result};

/// What files are made of.
#[derive(Clone)]
pub(crate) enum Source {
    /// A bundle.
    Bundle(Arc<OpenBundle>),
    /// A `cluster.conf` that was given.
    Given(Arc<GivenConf>),
}

/// A `cluster.conf` that was given.
pub(crate) struct GivenConf {
    /// Its bytes.
    pub(crate) content: Vec<u8>,
    /// The mode that it gets where there is none to take it from.
    pub(crate) mode: u32,
    /// Where it goes, if anywhere.
    pub(crate) from: From,
}

impl Source {
    /// What files there are to be put back.
    pub(crate) fn there(&self) -> There<'_> {
        match self {
            Self::Bundle(bundle) => There::of(bundle.manifest()),
            Self::Given(given) => There { entries: &[], from: &given.from, is_of_component: false },
        }
    }

    /// The `cluster.conf`.
    ///
    /// # Errors
    /// Where a bundle has none, or it can't be read.
    pub(crate) fn cluster_conf(&self) -> Result<Vec<u8>> {
        match self {
            Self::Bundle(bundle) => bundle.content("cluster.conf"),
            Self::Given(given) => Ok(given.content.clone()),
        }
    }
}

/// The files of a restore.
pub(super) struct Files {
    /// The name of the bundle, or of the script beside the `cluster.conf`.
    bundle: String,
    files: Vec<Placement>,
    /// Needed to apply steps; they are undone without it.
    source: Option<Source>,
}

/// The id of the step that changes live files.
pub(super) fn place_id() -> StepId {
    StepId::new("files/place")
}

impl Files {
    /// Of a bundle with this name.
    pub(super) fn new(bundle: String, files: Vec<Placement>, source: Option<Source>) -> Self {
        Self { bundle, files, source }
    }

    /// Writes those that are wanted beside their places, in a thread that may wait for the disk.
    async fn stage(self: Arc<Self>, which: fn(&Placement) -> bool, at: &At<'_>) -> Result<()> {
        let context = at.context.clone();
        let work = move || {
            let source =
                self.source.as_ref().ok_or_else(|| Error::new(Kind::Failed, "what is restored is not open"))?;
            let mut found = Vec::new();
            for file in self.files.iter().filter(|file| which(file)) {
                match source {
                    Source::Bundle(bundle) => found.extend(file.stage(bundle, &context)?),
                    Source::Given(given) => file.stage_content(&self.bundle, &given.content, given.mode)?,
                }
            }
            Ok::<_, Error>(found)
        };
        let done = tokio::task::spawn_blocking(work).await;
        at.keep(done.map_err(|cause| Error::new(Kind::Failed, "write files").because(cause))??);
        Ok(())
    }
}

impl Part for Files {
    fn steps(self: Arc<Self>) -> Vec<Phased> {
        if self.files.is_empty() {
            return Vec::new();
        }
        let stage = Stage { id: StepId::new("files/stage"), files: self.clone() };
        let place = Place { id: place_id(), files: self };
        vec![
            Phased { phase: Phase::Stage, step: Box::new(stage) },
            Phased { phase: Phase::Swap, step: Box::new(place) },
        ]
    }

    fn check_way_back<'a>(&'a self, journal: &'a Journal) -> BoxFuture<'a, Result<()>> {
        async move {
            match is_placed(journal) {
                true => self.files.iter().try_for_each(|file| file.check_way_back(&self.bundle)),
                false => Ok(()),
            }
        }
        .boxed()
    }

    fn way_back(&self, journal: &Journal) -> Vec<(Phase, String)> {
        let placed = is_placed(journal);
        let shown = self.files.iter().map(|file| (file, file.place.display()));
        let sentence = |(file, place): (&Placement, _)| match &file.before {
            _ if !placed => format!("remove {}, as far as it is there", file.staging.display()),
            Some(before) => format!("remove {place}, and rename {} to {place}", before.display()),
            None => format!("remove {place}"),
        };
        shown.map(|file| (Phase::Swap, sentence(file))).collect()
    }

    fn brought<'a>(&'a self, _: &'a Journal) -> BoxFuture<'a, Brought> {
        let item = |file: &Placement| Item {
            name: file.place.display().to_string(),
            amount: Amount::None,
            before: file.before.as_ref().map(|before| before.display().to_string()),
        };
        let is_conf = |file: &&Placement| file.entry == "cluster.conf" || file.place.ends_with("cluster.conf");
        let mut brought = Brought {
            items: self.files.iter().map(item).collect(),
            cluster_conf: self.files.iter().find(is_conf).map(|file| file.place.clone()),
            ..Brought::default()
        };
        match serde_json::to_value(&self.files) {
            Ok(files) => drop(brought.fields.insert("files".into(), files)),
            Err(error) => {
                brought.findings.push(Finding::warning("not-shown", "files", error.to_string()));
            }
        }
        async { brought }.boxed()
    }

    fn clean_up<'a>(&'a self, _: &'a Context) -> BoxFuture<'a, Result<()>> {
        async { self.files.iter().try_for_each(Placement::clean_up) }.boxed()
    }
}

fn is_placed(journal: &Journal) -> bool {
    journal.has_happened(&place_id())
}

struct Stage {
    id: StepId,
    files: Arc<Files>,
}

impl Step for Stage {
    fn id(&self) -> &StepId {
        &self.id
    }

    fn title(&self) -> &str {
        "write files beside their places"
    }

    fn apply<'a>(&'a self, at: &'a At<'_>) -> BoxFuture<'a, Result<()>> {
        self.files.clone().stage(|_| true, at).boxed()
    }

    fn undo<'a>(&'a self, _: &'a At<'_>) -> BoxFuture<'a, Result<()>> {
        async { self.files.files.iter().try_for_each(Placement::forget) }.boxed()
    }
}

struct Place {
    id: StepId,
    files: Arc<Files>,
}

impl Step for Place {
    fn id(&self) -> &StepId {
        &self.id
    }

    fn title(&self) -> &str {
        "put files in their places"
    }

    fn probe<'a>(&'a self, _: &'a At<'_>) -> BoxFuture<'a, Result<Seen>> {
        async { Ok(self.files.files.iter().all(Placement::is_placed).into()) }.boxed()
    }

    fn apply<'a>(&'a self, at: &'a At<'_>) -> BoxFuture<'a, Result<()>> {
        async move {
            let Files { bundle, files, .. } = &*self.files;
            self.files.clone().stage(Placement::is_lost, at).await?;
            files.iter().try_for_each(|file| file.place(bundle))
        }
        .boxed()
    }

    fn undo<'a>(&'a self, _: &'a At<'_>) -> BoxFuture<'a, Result<()>> {
        async {
            let Files { bundle, files, .. } = &*self.files;
            files.iter().rev().try_for_each(|file| file.take_back(bundle))
        }
        .boxed()
    }
}
