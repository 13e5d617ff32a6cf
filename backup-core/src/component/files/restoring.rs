//! Files that are brought back, and the `cluster.conf` among them.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use futures_util::FutureExt;
use futures_util::future::BoxFuture;
use serde::Deserialize;
use serde_json::Value;

use super::Placement;
use super::fit::{Asked, fit};
use super::place::placements;
use super::restore::{Files, Source, place_id};
use crate::component::{Fitted, Look, Named, Part, Restores, Working};
use crate::names::ComponentId;
use crate::{ErrorContext, Result};

/// The files of a restore.
pub(crate) struct Restoring {
    id: ComponentId,
    /// The name of the bundle, or of the script beside the `cluster.conf`.
    bundle: String,
    asked: Asked,
    /// What they are made of; they are undone without it.
    source: Option<Source>,
}

impl Restoring {
    /// What is asked of the files of a bundle with this name.
    pub(crate) fn new(bundle: String, asked: Asked, source: Option<Source>) -> Self {
        Self { id: ComponentId::fixed(ComponentId::FILES), bundle, asked, source }
    }
}

/// What brings these files back, from the placements alone.
pub(crate) fn fitted(files: &[Placement]) -> Fitted {
    let shown = |path: &Path| path.display().to_string();
    Fitted {
        brings: files.iter().map(|file| shown(&file.place)).collect(),
        aside: files.iter().filter_map(|file| Some((shown(&file.place), shown(file.before.as_ref()?)))).collect(),
        live: vec![place_id()],
        places: files.iter().map(|file| file.place.clone()).collect(),
        ..Fitted::default()
    }
}

impl Named for Restoring {
    fn id(&self) -> &ComponentId {
        &self.id
    }

    fn kind(&self) -> &'static str {
        ComponentId::FILES
    }
}

impl Restores for Restoring {
    fn is_taken<'a>(&'a self, moment: &'a str, _: &'a mut Look<'_>) -> BoxFuture<'a, bool> {
        let is_there = |path: &PathBuf| path.symlink_metadata().is_ok();
        let is_taken = self.source.as_ref().is_some_and(|source| {
            let mut files = placements(&source.there(), &self.asked.root, moment).into_iter();
            files.any(|file| is_there(&file.staging) || file.before.as_ref().is_some_and(is_there))
        });
        async move { is_taken }.boxed()
    }

    fn fit<'a>(&'a self, moment: &'a str, look: &'a mut Look<'_>) -> BoxFuture<'a, Option<Fitted>> {
        async move {
            let files = fit(&self.source.as_ref()?.there(), &self.asked, moment, look.findings);
            let recipe = serde_json::to_value(&files).context(|| "note the plan of the files".into());
            Some(Fitted { recipe: look.findings.keep("files", "files", recipe)?, ..fitted(&files) })
        }
        .boxed()
    }

    fn changes_live(&self, fitted: Option<&Fitted>) -> bool {
        self.asked.is_in_place() && fitted.is_some_and(|fitted| !fitted.brings.is_empty())
    }

    fn take_up<'a>(self: Arc<Self>, recipe: &'a Value, _: &'a Working) -> BoxFuture<'a, Result<Arc<dyn Part>>> {
        async move {
            let files = Vec::<Placement>::deserialize(recipe).context(|| "read the plan of the files".into())?;
            files.iter().try_for_each(Placement::check_names)?;
            let part: Arc<dyn Part> = Arc::new(Files::new(self.bundle.clone(), files, self.source.clone()));
            Ok(part)
        }
        .boxed()
    }
}
