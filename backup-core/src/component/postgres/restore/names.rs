//! Names that databases have while they are built, and after they have stepped aside.

use sha2::{Digest, Sha256};

use super::Planned;
use crate::component::aside::FORGED;
use crate::component::postgres::Names;
use crate::names::is_moment;
use crate::{Error, Kind, Result};

/// The longest name that PostgreSQL keeps.
const LONGEST: usize = 63;

/// The name of a database beside `name`: `orchestrator_before_20261120T191500Z`. One that would be too long keeps its
/// beginning and gets some digits of a digest, so that two never meet.
pub(super) fn beside(name: &str, infix: &str, timestamp: &str) -> String {
    let suffix = format!("_{infix}_{timestamp}");
    if name.len() + suffix.len() <= LONGEST {
        return format!("{name}{suffix}");
    }
    let digits = &hex::encode(Sha256::digest(name))[..8];
    let room = LONGEST - suffix.len() - digits.len() - 1;
    let end = (0..=room).rev().find(|end| name.is_char_boundary(*end)).unwrap_or(0);
    format!("{}_{digits}{suffix}", &name[..end])
}

impl Planned {
    /// Makes sure that it names what a restore names: a journal that somebody else has made must lead to nothing else.
    ///
    /// # Errors
    /// [`Kind::Refused`] with the name that no restore would have.
    pub(crate) fn check_names(&self) -> Result<()> {
        let Names { name, shadow, before, .. } = &self.names;
        let moment = shadow.rsplit('_').next().unwrap_or_default();
        let ours = |other: &str, infix| is_moment(moment) && other == beside(name, infix, moment);
        let named = [(Some(shadow), "restore"), (before.as_ref(), "before")].into_iter();
        match named.filter_map(|(other, infix)| other.filter(|other| !ours(other, infix))).next() {
            None => Ok(()),
            Some(other) => {
                let message = format!("it names {other} beside the database {name}, as no restore does");
                Err(Error::new(Kind::Refused, message).hint(FORGED))
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_beside_others_fit_and_differ() {
        let time = "20261120T191500Z";
        assert_eq!(beside("orchestrator", "before", time), "orchestrator_before_20261120T191500Z");
        let long = |last: &str| beside(&format!("{}{last}", "ä".repeat(30)), "restore", time);
        assert!(long("a").len() <= LONGEST && long("a") != long("b"));
        assert!(long("a").ends_with("_restore_20261120T191500Z"));
    }
}
