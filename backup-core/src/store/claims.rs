//! Names of claims: who owns a cluster stands in stores beside its bundles, one file for each ownership epoch.

use std::fmt;
use std::str::FromStr;

use crate::{Error, Kind};

/// What every claim's name begins with.
pub const CLAIMS: &str = "orchestrator_claim_";
const ENDING: &str = ".json";
/// No epoch is higher: its name has no room for more digits.
pub const LAST_EPOCH: u64 = 9_999_999_999;
/// Digits of an epoch, so that names are in the order of epochs.
const DIGITS: usize = 10;

/// The name of a claim's file: `orchestrator_claim_<IDENTITY>_<EPOCH>.json`.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct ClaimName {
    /// The cluster's identity: hexadecimal digits.
    pub cluster: String,
    /// The epoch.
    pub epoch: u64,
}

impl fmt::Display for ClaimName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{CLAIMS}{}_{:0DIGITS$}{ENDING}", self.cluster, self.epoch)
    }
}

/// Why a text is not the name of a claim.
#[derive(Debug, PartialEq, Eq)]
pub struct NotAClaim;

impl FromStr for ClaimName {
    type Err = NotAClaim;

    fn from_str(text: &str) -> Result<Self, NotAClaim> {
        let parts = text.strip_prefix(CLAIMS).and_then(|rest| rest.strip_suffix(ENDING)?.split_once('_'));
        let (cluster, epoch) = parts.ok_or(NotAClaim)?;
        let name = Self { cluster: cluster.into(), epoch: epoch.parse().map_err(|_| NotAClaim)? };
        let hexadecimal = !cluster.is_empty() && cluster.bytes().all(|byte| byte.is_ascii_hexdigit());
        // One epoch has one name.
        if hexadecimal && name.epoch <= LAST_EPOCH && name.to_string() == text { Ok(name) } else { Err(NotAClaim) }
    }
}

/// The claims among files.
pub fn claims<'f>(files: impl IntoIterator<Item = &'f str>) -> Vec<ClaimName> {
    let mut claims: Vec<ClaimName> = files.into_iter().filter_map(|name| name.parse().ok()).collect();
    claims.sort();
    claims
}

/// Somebody else has the claim that was to be written.
pub fn is_taken(claim: &str) -> Error {
    Error::new(Kind::Refused, format!("{claim} is another orchestrator's"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_is_read_back_and_nothing_else_is() {
        let name = ClaimName { cluster: "0a1b".into(), epoch: 12 };
        assert_eq!(name.to_string(), "orchestrator_claim_0a1b_0000000012.json");
        assert_eq!(name.to_string().parse(), Ok(name));
        for bad in [
            "",
            "orchestrator_claim_0a1b_12.json",
            "orchestrator_claim__0000000012.json",
            "orchestrator_claim_../x_0000000012.json",
            "orchestrator_claim_0a1b_+000000012.json",
            "orchestrator_claim_0a1b_18446744073709551615.json",
            "orchestrator_claim_0a1b_0000000012.json.part",
        ] {
            assert_eq!(bad.parse::<ClaimName>(), Err(NotAClaim), "{bad}");
        }
    }
}
