//! Names of bundles: `orchestrator_backup_<YYYYMMDDTHHMMSSZ>`.

use std::fmt;
use std::str::FromStr;

use chrono::{DateTime, NaiveDateTime, Utc};

const PREFIX: &str = "orchestrator_backup_";
const ENDING: &str = ".tgz";
const ENCRYPTED: &str = ".age";
const TIME: &str = "%Y%m%dT%H%M%SZ";

/// A bundle's name without its ending; it is also the name of the one directory inside.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct BundleName(DateTime<Utc>);

/// Why a text is not the name of a bundle.
#[derive(Debug, PartialEq, Eq)]
pub struct NotAName;

impl fmt::Display for NotAName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("not a name of the form orchestrator_backup_YYYYMMDDTHHMMSSZ")
    }
}

impl std::error::Error for NotAName {}

impl BundleName {
    /// The name of a bundle begun at `time`, to the second.
    pub fn at(time: DateTime<Utc>) -> Self {
        Self(DateTime::from_timestamp(time.timestamp(), 0).unwrap_or(time))
    }

    /// When the bundle was begun.
    pub fn time(&self) -> DateTime<Utc> {
        self.0
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

/// A time as it stands in names, such as `20261120T191500Z`.
pub fn timestamp(time: DateTime<Utc>) -> String {
    time.format(TIME).to_string()
}

impl fmt::Display for BundleName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{PREFIX}{}", timestamp(self.0))
    }
}

impl FromStr for BundleName {
    type Err = NotAName;

    fn from_str(text: &str) -> Result<Self, NotAName> {
        let time = text.strip_prefix(PREFIX).ok_or(NotAName)?;
        let parsed = NaiveDateTime::parse_from_str(time, TIME).map_err(|_| NotAName)?;
        let name = Self(parsed.and_utc());
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
        assert_eq!("orchestrator_backup_20261120T191500Z.age".parse::<FileName>(), Err(NotAName));
        for bad in [
            "",
            "orchestrator_backup_",
            "orchestrator_backup_20261120T191500",
            "x_20261120T191500Z",
            "orchestrator_backup_20261120T1915 0Z",
            "orchestrator_backup_20261320T191500Z",
        ] {
            assert_eq!(bad.parse::<BundleName>(), Err(NotAName), "{bad}");
        }
    }
}
