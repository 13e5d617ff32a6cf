//! A claim, as it stands in stores, on machines and in notes.

use std::fmt;
use std::net::IpAddr;

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};

use super::{Cluster, machine};
use crate::cluster::hosts::own_addresses;
use crate::signing::Signing;
use crate::store::{ClaimName, LAST_EPOCH};
use crate::text::is_unseen;
use crate::{Context, Error, Kind, Result, random};

/// No claim is longer, in bytes.
const LONGEST: usize = 1 << 16;

/// That somebody owns a cluster from an epoch on, or has released it. Scripts on machines read `epoch` and `owner`, which stand first.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Claim {
    /// The epoch.
    pub epoch: u64,
    /// What tells this claim from every other one: 32 hexadecimal digits.
    pub owner: String,
    /// Whether who wrote it gives the cluster up.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub released: bool,
    /// The cluster's identity.
    pub identity: String,
    /// The cluster's name; empty where it has none.
    pub cluster: String,
    /// Name of the orchestrator's machine.
    pub host: String,
    /// Its addresses.
    pub addresses: Vec<IpAddr>,
    /// When it was claimed, by that machine's clock; for people alone.
    pub since: DateTime<Utc>,
    /// The signature of who wrote it, as SSH has it; none where no key was set up.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub signature: Option<String>,
}

impl Claim {
    /// A claim of this machine that nobody has seen yet.
    ///
    /// # Errors
    /// [`Kind::Refused`] after the last epoch that there is; where the system has no random numbers.
    pub(super) fn new(cluster: &Cluster, identity: &str, epoch: u64, context: &Context) -> Result<Self> {
        if epoch > LAST_EPOCH {
            let error =
                Error::new(Kind::Refused, format!("claim {}: there is no epoch after the last", cluster.shown()));
            return Err(
                error.hint("somebody wrote a claim that can't be true: `ownership show` says where; delete it there")
            );
        }
        Ok(Self {
            epoch,
            owner: random::word()?,
            released: false,
            identity: identity.into(),
            cluster: cluster.name.clone(),
            host: context.environment.host.clone(),
            addresses: own_addresses(),
            since: context.now(),
            signature: None,
        })
    }

    /// The same, signed where a key is set up.
    ///
    /// # Errors
    /// Where the key can't be used.
    pub(super) fn signed(self, signing: &Signing) -> Result<Self> {
        let signature = signing.sign_claim(&self.decisive())?;
        Ok(Self { signature: signature.map(|text| String::from_utf8_lossy(&text).into_owned()), ..self })
    }

    /// Whether a key that the settings trust has signed it.
    pub(super) fn is_signed(&self, signing: &Signing) -> bool {
        let signature = self.signature.as_deref().map(str::as_bytes);
        signature.is_some_and(|signature| signing.signer_of_claim(&self.decisive(), signature).is_some())
    }

    /// Whether it says the same as another one, but for what people read.
    pub(super) fn is_same(&self, other: &Self) -> bool {
        self.decisive() == other.decisive()
    }

    /// What is signed: all by which anything is decided, and no more, so that later versions may add to a claim.
    fn decisive(&self) -> Vec<u8> {
        let decisive = (&self.identity, &self.cluster, self.epoch, &self.owner, self.released);
        serde_json::to_vec(&decisive).unwrap_or_default()
    }

    /// What a text says; none where it is no claim. It comes from other machines.
    pub fn read(text: &[u8]) -> Option<Self> {
        let claim: Self = serde_json::from_slice(text.get(..text.len().min(LONGEST))?).ok()?;
        let words = [&claim.owner, &claim.identity];
        let sound = words.iter().all(|word| !word.is_empty() && word.bytes().all(|byte| byte.is_ascii_hexdigit()));
        let plain = |text: &str| text.chars().filter(|c| !is_unseen(*c)).collect();
        (sound && claim.epoch <= LAST_EPOCH).then(|| Self {
            cluster: plain(&claim.cluster),
            host: plain(&claim.host),
            ..claim
        })
    }

    /// The name of its file in a store.
    pub fn name(&self) -> ClaimName {
        ClaimName { cluster: self.identity.clone(), epoch: self.epoch }
    }

    /// One line of JSON.
    pub fn line(&self) -> String {
        // Its texts and numbers can always be written.
        serde_json::to_string(self).unwrap_or_default()
    }
}

impl fmt::Display for Claim {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&machine(&self.host, &self.addresses))?;
        if self.since > DateTime::UNIX_EPOCH {
            write!(f, " since {}", self.since.format("%F %T UTC"))?;
        }
        write!(f, ", epoch {}", self.epoch)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::context::Environment;

    #[test]
    fn what_others_wrote_is_read_with_care() {
        let cluster = Cluster { name: "example".into(), identity: "0a".into() };
        let context = Context::new(Environment { host: "orch".into(), ..Environment::default() });
        let claim = Claim::new(&cluster, "0a", 3, &context).expect("a claim");
        assert_eq!(Claim::read(claim.line().as_bytes()), Some(claim.clone()));
        assert!(claim.line().starts_with(&format!("{{\"epoch\":3,\"owner\":\"{}\",", claim.owner)));
        let odd = Claim { host: "\u{1b}[2Jo\nrch".into(), ..claim.clone() };
        assert_eq!(Claim::read(odd.line().as_bytes()).expect("a claim").host, "[2Jorch");
        for bad in ["", "{}", "no JSON"] {
            assert_eq!(Claim::read(bad.as_bytes()), None, "{bad}");
        }
        let named = Claim { owner: "x; touch ran".into(), ..claim };
        assert_eq!(Claim::read(named.line().as_bytes()), None);
    }
}
