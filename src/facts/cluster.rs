//! A cluster: its members, and what each of them has of a pool.

use std::collections::BTreeSet;

use serde::{Deserialize, Serialize};

use super::{Bytes, Config, PoolUser, Space};

/// The pool that is there for a moment, to see how much room members have.
pub const MEASURE_POOL: &str = "taos-room";

/// The cluster that a daemon is in.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Cluster {
    /// The name of the member that this program runs on.
    pub here: String,
    pub members: Vec<Member>,
}

impl Cluster {
    #[must_use]
    pub fn member(&self, name: &str) -> Option<&Member> {
        self.members.iter().find(|member| member.name == name)
    }

    /// The members that do not answer.
    pub fn silent(&self) -> impl Iterator<Item = &Member> {
        self.members.iter().filter(|member| !member.answers())
    }

    /// The members other than the one this program runs on.
    pub fn others(&self) -> impl Iterator<Item = &Member> {
        self.members.iter().filter(|it| it.name != self.here)
    }
}

/// A member of a cluster.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Member {
    pub name: String,
    pub url: String,
    /// `Online`, `Offline`, `Evacuated`, …, as Incus says.  One that has just died is `Online` for a while.
    pub status: String,
    pub message: String,
    #[serde(default)]
    pub roles: Vec<String>,
    #[serde(default)]
    pub architecture: String,
    /// The storage drivers that it has; none where it does not answer.
    #[serde(default)]
    pub drivers: BTreeSet<String>,
    /// What the filesystem has free that its pools' files lie on, if that is known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub room: Option<Bytes>,
    /// Why it gave no answer when it was asked, if it gave none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub silent: Option<String>,
}

impl Member {
    /// Whether it is there: what Incus says of it may be older than its death.
    #[must_use]
    pub fn answers(&self) -> bool {
        self.silent.is_none()
    }
}

/// What a member has of a storage pool.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct PoolPart {
    pub member: String,
    /// `Created`, `Pending`, `Errored`, …; `Unknown` where it has none, or does not answer.
    pub status: String,
    /// The keys that are this member's own: `size` and `source`.
    pub config: Config,
    /// What lies on it there.
    pub users: Vec<PoolUser>,
    /// Size and use, if it is whole.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub space: Option<Space>,
}

impl PoolPart {
    /// Whether the member has it, be it only to come.
    #[must_use]
    pub fn is_there(&self) -> bool {
        self.status != "Unknown"
    }
}
