//! Where a server's bundle goes.

use std::fmt;

use serde::{Deserialize, Serialize};

use crate::store::Address;

/// What a PostgreSQL server is, as itself says.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Role {
    /// It takes changes.
    Master,
    /// It follows a master.
    Standby,
}

impl fmt::Display for Role {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Master => "master",
            Self::Standby => "standby",
        })
    }
}

/// The places that get a server's bundle; none where it has nothing to do. A standby leaves it to its master, unless the bucket
/// has no bundle of today yet (`covered`): whoever was the master may be gone.
pub(super) fn places(role: Role, bucket: Option<&Address>, directory: &Address, covered: bool) -> Vec<Address> {
    match (bucket, role) {
        (None, _) => vec![directory.clone()],
        (Some(bucket), Role::Master) => vec![bucket.clone(), directory.clone()],
        (Some(bucket), Role::Standby) if !covered => vec![bucket.clone()],
        (Some(_), Role::Standby) => Vec::new(),
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;

    #[test]
    fn the_master_keeps_a_copy_and_a_day_without_its_bundle_gets_one_of_a_standby() {
        let (bucket, disk) =
            (Address::parse(Path::new("s3://backups")).expect("an address"), Address::Directory("/b".into()));
        let both = || vec![bucket.clone(), disk.clone()];
        for (role, in_s3, covered, expected) in [
            (Role::Master, true, false, both()),
            (Role::Master, true, true, both()),
            (Role::Standby, true, false, vec![bucket.clone()]),
            (Role::Standby, true, true, Vec::new()),
            (Role::Master, false, false, vec![disk.clone()]),
            (Role::Standby, false, true, vec![disk.clone()]),
        ] {
            assert_eq!(places(role, in_s3.then_some(&bucket), &disk, covered), expected, "{role} {in_s3} {covered}");
        }
    }
}
