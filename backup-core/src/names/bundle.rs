//! Names of bundles: `<component>_backup_<YYYYMMDDTHHMMSSZ>`.

use std::fmt;
use std::path::Path;
use std::str::FromStr;

use chrono::{DateTime, NaiveDateTime, Utc};

use super::component::is_plain;
use crate::finding::Finding;

/// The component whose bundles hold the orchestrator itself.
pub const ORCHESTRATOR: &str = "orchestrator";
/// What the digest's file beside a bundle adds to its name; `sha256sum -c` reads it.
pub const DIGEST: &str = ".sha256";
const INFIX: &str = "_backup_";
const ENDING: &str = ".tgz";
const ENCRYPTED: &str = ".age";
const TIME: &str = "%Y%m%dT%H%M%SZ";
/// Characters of a time.
const TIME_LENGTH: usize = 16;

/// A bundle's name without its ending; it is also the name of the one directory inside. Older ones come first.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct BundleName {
    time: DateTime<Utc>,
    component: String,
}

/// Why a text is not the name of a bundle.
#[derive(Debug, PartialEq, Eq)]
pub struct NotAName;

impl fmt::Display for NotAName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("not a name of the form COMPONENT_backup_YYYYMMDDTHHMMSSZ")
    }
}

impl std::error::Error for NotAName {}

impl BundleName {
    /// The name of a bundle of the orchestrator begun at `time`, to the second.
    pub fn at(time: DateTime<Utc>) -> Self {
        Self { time: DateTime::from_timestamp(time.timestamp(), 0).unwrap_or(time), component: ORCHESTRATOR.into() }
    }

    /// The name of a bundle of a component begun at `time`.
    ///
    /// # Errors
    /// [`NotAName`] where the component's name has other characters than small letters, digits and hyphens.
    pub fn of(component: &str, time: DateTime<Utc>) -> Result<Self, NotAName> {
        if is_plain(component) { Ok(Self { component: component.into(), ..Self::at(time) }) } else { Err(NotAName) }
    }

    /// When the bundle was begun.
    pub fn time(&self) -> DateTime<Utc> {
        self.time
    }

    /// What it holds: the orchestrator, or the databases of a component.
    pub fn component(&self) -> &str {
        &self.component
    }

    /// Whether it holds the orchestrator itself.
    pub fn is_orchestrators(&self) -> bool {
        self.component == ORCHESTRATOR
    }
}

/// The name of a bundle's file: `.tgz`, or `.tgz.age` where it is encrypted.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct FileName {
    /// The bundle's name.
    pub bundle: BundleName,
    /// Whether only who has an identity can read it.
    pub encrypted: bool,
}

impl From<BundleName> for FileName {
    /// The name of a bundle that isn't encrypted.
    fn from(bundle: BundleName) -> Self {
        Self { bundle, encrypted: false }
    }
}

impl fmt::Display for FileName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}{ENDING}{}", self.bundle, if self.encrypted { ENCRYPTED } else { "" })
    }
}

impl FromStr for FileName {
    type Err = NotAName;

    fn from_str(text: &str) -> Result<Self, NotAName> {
        let (text, encrypted) = text.strip_suffix(ENCRYPTED).map_or((text, false), |plain| (plain, true));
        Ok(Self { bundle: text.strip_suffix(ENDING).ok_or(NotAName)?.parse()?, encrypted })
    }
}

/// What there is to say of a bundle whose file was renamed: its name is what else knows it by.
pub fn renamed(file: &Path, name: &str) -> Option<Finding> {
    let called = file.file_name()?.to_string_lossy();
    let plain = called.strip_suffix(ENCRYPTED).unwrap_or(&called).strip_suffix(ENDING);
    let message = format!("the file was renamed: the bundle in it is {name}");
    let hint = "its digest's file, drills and rules go by the name, and the time in it; give it back";
    (plain != Some(name)).then(|| Finding::info("renamed", file.display().to_string(), message).hint(hint))
}

/// Whether a text begins with a bundle's name.
pub(crate) fn begins_with_name(text: &str) -> bool {
    let end = text.find(INFIX).map(|at| at + INFIX.len() + TIME_LENGTH);
    end.and_then(|end| text.get(..end)).is_some_and(|name| name.parse::<BundleName>().is_ok())
}

/// A time as it stands in names, such as `20261120T191500Z`.
pub fn timestamp(time: DateTime<Utc>) -> String {
    time.format(TIME).to_string()
}

/// Whether a text is such a time.
pub(crate) fn is_moment(text: &str) -> bool {
    NaiveDateTime::parse_from_str(text, TIME).is_ok_and(|time| timestamp(time.and_utc()) == text)
}

impl fmt::Display for BundleName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}{INFIX}{}", self.component, timestamp(self.time))
    }
}

impl FromStr for BundleName {
    type Err = NotAName;

    fn from_str(text: &str) -> Result<Self, NotAName> {
        let (component, time) = text.split_once(INFIX).ok_or(NotAName)?;
        let parsed = NaiveDateTime::parse_from_str(time, TIME).map_err(|_| NotAName)?;
        let name = Self::of(component, parsed.and_utc())?;
        // chrono accepts `1` for `01`; one time has one name.
        if name.to_string() == text { Ok(name) } else { Err(NotAName) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_is_read_back_and_nothing_else_is() {
        let name: BundleName = "orchestrator_backup_20261120T191500Z".parse().expect("a good name");
        for (encrypted, file) in [
            (false, "orchestrator_backup_20261120T191500Z.tgz"),
            (true, "orchestrator_backup_20261120T191500Z.tgz.age"),
        ] {
            let file_name = FileName { bundle: name.clone(), encrypted };
            assert_eq!((file_name.to_string().as_str(), file.parse()), (file, Ok(file_name)));
        }
        let other: BundleName = "component-database_backup_20261120T191500Z".parse().expect("a good name");
        assert_eq!(
            (other.component(), other.is_orchestrators(), name.is_orchestrators()),
            ("component-database", false, true)
        );
        assert_eq!(other.time(), name.time());
        assert_eq!("orchestrator_backup_20261120T191500Z.age".parse::<FileName>(), Err(NotAName));
        for bad in [
            "",
            "orchestrator_backup_",
            "orchestrator_backup_20261120T191500",
            "x_20261120T191500Z",
            "_backup_20261120T191500Z",
            "../x_backup_20261120T191500Z",
            "X_backup_20261120T191500Z",
            "-x_backup_20261120T191500Z",
            "orchestrator_backup_20261120T1915 0Z",
            "orchestrator_backup_20261320T191500Z",
        ] {
            assert_eq!(bad.parse::<BundleName>(), Err(NotAName), "{bad}");
        }
    }
}
