//! What etcdctl answers, as far as it is read.

use serde::Deserialize;

/// What every answer begins with.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default)]
pub(super) struct Header {
    pub(super) cluster_id: u64,
    pub(super) member_id: u64,
    pub(super) revision: i64,
}

/// What a server says of itself.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default)]
pub(super) struct Status {
    pub(super) header: Header,
    pub(super) version: String,
    #[serde(rename = "dbSize")]
    pub(super) size: u64,
    /// The leader's number; 0 as long as there is none.
    leader: u64,
    #[serde(rename = "raftIndex")]
    index: u64,
    #[serde(rename = "raftAppliedIndex")]
    applied: u64,
}

impl Status {
    /// Whether it has a leader, and has done all that its log says: until then it may take a user for one of an earlier time.
    pub(super) fn is_settled(&self) -> bool {
        self.leader != 0 && self.applied >= self.index
    }
}

/// What one of several endpoints answers.
#[derive(Debug, Deserialize)]
pub(super) struct OfEndpoint {
    #[serde(rename = "Status")]
    pub(super) status: Option<Status>,
    #[serde(rename = "HashKV")]
    pub(super) hash: Option<HashKv>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct HashKv {
    pub(super) header: Header,
    pub(super) hash: u32,
    pub(super) compact_revision: i64,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct Members {
    pub(super) members: Vec<Member>,
}

#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default)]
pub(super) struct Member {
    pub(super) name: String,
    #[serde(rename = "peerURLs")]
    pub(super) peers: Vec<String>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct Alarms {
    alarms: Vec<Alarm>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Alarm {
    alarm: u32,
}

impl Alarms {
    /// Their names, as etcd has them.
    pub(super) fn names(&self) -> Vec<String> {
        let name = |alarm: &Alarm| match alarm.alarm {
            1 => "NOSPACE".into(),
            2 => "CORRUPT".into(),
            other => format!("alarm {other}"),
        };
        self.alarms.iter().map(name).collect()
    }
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct Range {
    /// All keys that were asked for, whatever the limit.
    pub(super) count: u64,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct Users {
    pub(super) users: Vec<String>,
}

/// What a snapshot says of itself.
#[derive(Debug, Deserialize)]
pub(super) struct Inside {
    pub(super) revision: i64,
}
