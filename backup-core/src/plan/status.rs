//! How far a step is, as a pure function of the marks that its journal holds.

use serde::{Deserialize, Serialize};

use crate::event::Mark;

/// How far a step is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Status {
    /// Not begun.
    Waiting,
    /// Begun: some of it may be there.
    Applying,
    /// All of it is there.
    Applied,
    /// Some of it may be there still.
    Undoing,
    /// Nothing of it is left. A plan that is undone stays so.
    Undone,
}

impl Status {
    /// Every status.
    pub const ALL: [Self; 5] = [Self::Waiting, Self::Applying, Self::Applied, Self::Undoing, Self::Undone];

    /// The status after `mark`, or none where that can't follow.
    pub fn after(self, mark: Mark) -> Option<Self> {
        match (self, mark) {
            (Self::Waiting | Self::Applying, Mark::Begin) => Some(Self::Applying),
            (Self::Applying, Mark::Done) => Some(Self::Applied),
            (Self::Applying | Self::Applied | Self::Undoing, Mark::Undo) => Some(Self::Undoing),
            (Self::Undoing, Mark::Undone) => Some(Self::Undone),
            _ => None,
        }
    }
}

/// How far a whole plan is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Progress {
    /// No step has begun.
    Waiting,
    /// Some have: it can go on, or be undone.
    Begun,
    /// All of it is there; it can be undone.
    Applied,
    /// It is being undone, and can only be undone further.
    Undoing,
    /// Nothing of it is left.
    Undone,
}

impl Progress {
    /// Of the statuses of all steps.
    pub fn of(statuses: &[Status]) -> Self {
        let all = |wanted: &[Status]| statuses.iter().all(|status| wanted.contains(status));
        if all(&[Status::Waiting]) {
            Self::Waiting
        } else if all(&[Status::Applied]) {
            Self::Applied
        } else if all(&[Status::Waiting, Status::Undone]) {
            Self::Undone
        } else if all(&[Status::Waiting, Status::Applying, Status::Applied]) {
            Self::Begun
        } else {
            Self::Undoing
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_has_begun_can_be_undone_and_nothing_follows_that() {
        for status in Status::ALL {
            let undone = status.after(Mark::Undo).and_then(|status| status.after(Mark::Undone));
            let begun = matches!(status, Status::Applying | Status::Applied | Status::Undoing);
            assert_eq!(undone, begun.then_some(Status::Undone), "{status:?}");
        }
        assert!(Mark::ALL.iter().all(|mark| Status::Undone.after(*mark).is_none()));
    }

    #[test]
    fn what_is_applied_or_being_undone_is_not_applied_again() {
        for status in [Status::Applied, Status::Undoing] {
            assert_eq!((status.after(Mark::Begin), status.after(Mark::Done)), (None, None));
        }
    }

    #[test]
    fn a_plan_is_as_far_as_its_steps() {
        use Status::{Applied, Applying, Undoing, Undone, Waiting};
        let cases = [
            (vec![Waiting, Waiting], Progress::Waiting),
            (vec![Applied, Waiting], Progress::Begun),
            (vec![Applied, Applying], Progress::Begun),
            (vec![Applied, Applied], Progress::Applied),
            (vec![Applied, Undoing], Progress::Undoing),
            (vec![Applied, Undone], Progress::Undoing),
            (vec![Undoing, Waiting], Progress::Undoing),
            (vec![Undone, Waiting], Progress::Undone),
            (vec![Undone, Undone], Progress::Undone),
        ];
        for (statuses, progress) in cases {
            assert_eq!(Progress::of(&statuses), progress, "{statuses:?}");
        }
    }
}
