//! What restores leave: databases and files that stepped aside.

use super::journals::Journals;
use super::plan::Plan;
use super::reach;
use crate::component::files::Placement;
use crate::component::postgres;
use crate::plan::{Head, Journal, Progress};
use crate::settings::RestoreSettings;
use crate::{Context, Error, Kind, Result};

/// What earlier restores have left: databases and files that stepped aside.
///
/// # Errors
/// [`Kind::Unfinished`] where a restore is; [`Kind::Locked`], [`Kind::Damaged`].
pub fn leftovers(context: &Context) -> Result<Leftovers> {
    let journals = Journals::open(context)?;
    if let Some(head) = journals.unfinished()? {
        let error = Error::new(Kind::Unfinished, format!("clean up: a restore of {} is unfinished", head.plan.bundle));
        return Err(error.hint("end it first, with `restore --resume` or `restore --rollback`"));
    }
    let restores = journals.all()?;
    Ok(Leftovers { _journals: journals, restores })
}

/// Restores that are complete or rolled back.
pub struct Leftovers {
    _journals: Journals,
    restores: Vec<(Journal, Head<Plan>)>,
}

impl Leftovers {
    /// Names of the databases, and paths of the files, that stepped aside.
    pub fn names(&self) -> Vec<String> {
        let applied = self.restores.iter().filter(|(journal, _)| journal.progress() == Progress::Applied);
        applied.flat_map(|(_, head)| head.plan.stepping_aside().into_iter().map(|(_, before)| before)).collect()
    }

    /// Whether one of the restores can still be rolled back.
    pub fn can_roll_back(&self) -> bool {
        self.restores.last().is_some_and(|(journal, _)| journal.progress() == Progress::Applied)
    }

    /// Drops them and forgets the restores; there is no way back afterwards.
    ///
    /// # Errors
    /// The first failure; to be called again.
    pub async fn drop_all(self, settings: &RestoreSettings, context: &Context) -> Result<()> {
        let dropped = self.drop_each(settings, context).await;
        dropped.map_err(|error| {
            let hint = error.first_hint().map(Into::into);
            let error = Error::new(Kind::Unfinished, "clean up: it stopped half way").because(error);
            error.hint(hint.unwrap_or_else(|| String::from("remove the cause, then run it again")))
        })
    }

    async fn drop_each(self, settings: &RestoreSettings, context: &Context) -> Result<()> {
        for (journal, head) in self.restores {
            if journal.progress() == Progress::Applied {
                if let Some(target) = reach(&head.plan, 0, settings, context).await? {
                    for before in head.plan.databases.iter().filter_map(|planned| planned.names.before.as_ref()) {
                        context.phase(format!("drop database {before}"));
                        context.until_cancelled(postgres::drop_database(&target, before)).await?;
                    }
                }
                head.plan.files.iter().try_for_each(Placement::clean_up)?;
            }
            journal.remove()?;
        }
        Ok(())
    }
}
