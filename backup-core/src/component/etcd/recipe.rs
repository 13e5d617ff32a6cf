//! What the steps of a restore are made of, as its journal says it.

use std::path::PathBuf;

use serde::{Deserialize, Serialize};

use super::OneEtcd;
use super::answers::Member;
use crate::component::aside::{self, FORGED, STAGING};
use crate::names::is_moment;
use crate::{Error, Kind, Result};

/// All that the steps are made of.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Recipe {
    /// Where clients find the server.
    pub(super) endpoint: String,
    /// The directory that it keeps its data in.
    pub(super) place: PathBuf,
    /// The directory beside it that the new data are made in.
    pub(super) staging: PathBuf,
    /// What the directory that is there now is called afterwards.
    pub(super) before: PathBuf,
    /// The member's name.
    pub(super) member: String,
    /// The URLs that it has for other members.
    pub(super) peers: Vec<String>,
}

impl Recipe {
    pub(super) fn at(etcd: &OneEtcd, Member { name, peers }: Member, moment: &str) -> Self {
        let place = etcd.server.data().to_owned();
        let name_of_place = place.file_name().unwrap_or_default().to_string_lossy().into_owned();
        // Two servers may have their data in one directory.
        let staging = place.with_file_name(format!("{STAGING}{moment}_{}", etcd.id));
        let before = place.with_file_name(aside::before(&name_of_place, moment));
        Self { endpoint: etcd.server.endpoint().into(), place, staging, before, member: name, peers }
    }

    /// The new data, until they take the place.
    pub(super) fn data(&self) -> PathBuf {
        self.staging.join("data")
    }

    /// What a rollback calls the new data while it drops them.
    pub(super) fn dropped(&self) -> PathBuf {
        self.staging.with_added_extension("back")
    }

    /// What sets the new cluster apart from the one that the data are of: a member of that one must not join.
    pub(super) fn token(&self) -> String {
        self.staging.file_name().unwrap_or_default().to_string_lossy().trim_start_matches('.').to_owned()
    }

    /// All members, as etcd wants them named.
    pub(super) fn cluster(&self) -> String {
        let one = |url: &String| format!("{}={url}", self.member);
        self.peers.iter().map(one).collect::<Vec<_>>().join(",")
    }

    /// Makes sure that it is of this server, and names what a restore names: a journal that somebody else has made must lead to nothing
    /// else.
    ///
    /// # Errors
    /// [`Kind::Refused`].
    pub(super) fn check(&self, etcd: &OneEtcd) -> Result<()> {
        let server = &etcd.server;
        if self.endpoint != server.endpoint() || self.place != server.data() {
            let (there, place) = (&self.endpoint, self.place.display());
            let message = format!(
                "{} with its data in {} is another server than the one at {there} with its data in {place} that the restore began on",
                server.place(),
                server.data().display()
            );
            let hint = "correct its endpoint and data_directory below [[component]] in the settings";
            return Err(Error::new(Kind::Refused, message).hint(hint));
        }
        let staging = self.staging.file_name().unwrap_or_default().to_string_lossy();
        let moment =
            staging.strip_prefix(STAGING).and_then(|rest| rest.split('_').next()).filter(|moment| is_moment(moment));
        let member = Member { name: self.member.clone(), peers: self.peers.clone() };
        if moment.is_some_and(|moment| *self == Self::at(etcd, member, moment)) {
            return Ok(());
        }
        let message =
            format!("it names {} beside {}, as no restore does", self.staging.display(), self.place.display());
        Err(Error::new(Kind::Refused, message).hint(FORGED))
    }
}
