//! What restores leave: databases and files that stepped aside, and journals of servers that are gone.

use super::Settings;
use super::journals::{Journals, is_current};
use super::plan::Plan;
use super::work::Work;
use crate::plan::{Head, Journal, Progress};
use crate::{Cause, Context, Error, Kind, Result};

/// What earlier restores have left on the server that is connected to: databases and files that stepped aside.
///
/// # Errors
/// [`Kind::Unfinished`] where a restore is; [`Kind::Locked`], [`Kind::Damaged`]; where the server can't be reached.
pub async fn leftovers(settings: &Settings, context: &Context) -> Result<Leftovers> {
    let journals = Journals::open(context)?;
    if let Some((_, head)) = journals.unfinished()? {
        let error = Error::new(Kind::Unfinished, format!("clean up: a restore of {} is unfinished", head.plan.bundle));
        return Err(error.hint("end it first, with `restore --resume` or `restore --rollback`"));
    }
    let mut left = Leftovers { _journals: journals, restores: Vec::new(), undone: Vec::new(), elsewhere: Vec::new() };
    for (journal, head) in left._journals.all()?.into_iter().rev() {
        if journal.progress() == Progress::Undone {
            left.undone.push(journal);
            continue;
        }
        match Work::reach(head.plan.clone(), None, settings, context).await {
            Ok(work) => left.restores.push(Left { journal, work }),
            Err(error) if error.kind() == Kind::Refused => left.elsewhere.push(described(&head)),
            Err(error) => return Err(error),
        }
    }
    Ok(left)
}

/// Restores that are complete or rolled back.
pub struct Leftovers {
    _journals: Journals,
    restores: Vec<Left>,
    undone: Vec<Journal>,
    elsewhere: Vec<String>,
}

struct Left {
    journal: Journal,
    work: Work,
}

impl Leftovers {
    /// Names of the databases, and paths of the files, that stepped aside.
    pub fn names(&self) -> Vec<String> {
        self.restores.iter().flat_map(|left| left.work.plan.stepping_aside()).map(|(_, before)| before).collect()
    }

    /// Restores into other servers than the one that is connected to: what they left stays.
    pub fn elsewhere(&self) -> &[String] {
        &self.elsewhere
    }

    /// Whether one of the restores can still be rolled back.
    pub fn can_roll_back(&self) -> bool {
        self.restores.iter().any(|left| is_current(left.journal.path()))
    }

    /// Drops them and forgets the restores; there is no way back afterwards.
    ///
    /// # Errors
    /// The first failure; to be called again.
    pub async fn drop_all(self, context: &Context) -> Result<()> {
        let dropped = self.drop_each(context).await;
        dropped.map_err(|error| {
            let hint = error.first_hint().map(Into::into);
            let error = Error::new(Kind::Unfinished, "clean up: it stopped half way").because(error);
            error.hint(hint.unwrap_or_else(|| String::from("remove the cause, then run it again")))
        })
    }

    async fn drop_each(self, context: &Context) -> Result<()> {
        for Left { journal, work } in self.restores {
            for part in work.parts() {
                part.clean_up(context).await?;
            }
            journal.remove()?;
        }
        self.undone.into_iter().try_for_each(Journal::remove)
    }
}

/// Restores that can be neither gone on with nor taken back: no server answers, another one does, or what stepped aside is
/// gone.
pub struct Gone {
    _journals: Journals,
    restores: Vec<(Journal, String)>,
}

/// Finds the restores that can be neither gone on with nor taken back from here.
///
/// # Errors
/// [`Kind::NotFound`] where there is none.
pub async fn gone(settings: &Settings, context: &Context) -> Result<Gone> {
    let journals = Journals::open(context)?;
    let mut gone = Gone { _journals: journals, restores: Vec::new() };
    for (journal, head) in gone._journals.all()? {
        if journal.progress() == Progress::Undone {
            continue;
        }
        let reached =
            async { Work::reach(head.plan.clone(), None, settings, context).await?.check_ways_back(&journal).await };
        match reached.await {
            Ok(()) => {}
            // Another server answers, or the way back is gone; or none answers.
            Err(error) if error.kind() == Kind::Refused || error.came_of(Cause::Unanswered) => {
                let why = error.chain().pop().unwrap_or_default();
                gone.restores.push((journal, format!("{}: {why}", described(&head))));
            }
            Err(error) => return Err(error),
        }
    }
    if gone.restores.is_empty() {
        let error =
            Error::new(Kind::NotFound, "forget a restore: each one's server answers, and the way back is there");
        return Err(
            error.hint("`restore --rollback` takes the last one back, `restore cleanup` drops what stepped aside")
        );
    }
    Ok(gone)
}

impl Gone {
    /// What they are, and why they can't be reached.
    pub fn described(&self) -> Vec<&str> {
        self.restores.iter().map(|(_, described)| described.as_str()).collect()
    }

    /// Forgets them: nothing is changed but the journals.
    ///
    /// # Errors
    /// Where a journal can't be removed.
    pub fn forget(self) -> Result<()> {
        self.restores.into_iter().try_for_each(|(journal, _)| journal.remove())
    }
}

/// A restore, for people.
fn described(head: &Head<Plan>) -> String {
    let (plan, begun) = (&head.plan, head.created.format("%F %T UTC"));
    format!("the restore of {} ({}), begun {begun}", plan.bundle, plan.brings().join(", "))
}
