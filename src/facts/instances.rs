//! What is known of an instance that may be migrated.

use serde::{Deserialize, Serialize};

use super::{Bytes, Config, Devices};

/// An instance's whole configuration, as it is put back.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Record {
    pub architecture: String,
    pub config: Config,
    /// With those of its profiles.
    pub expanded_devices: Devices,
    /// As they are named within its project.
    pub profiles: Vec<String>,
    pub description: String,
    pub ephemeral: bool,
    pub stateful: bool,
    /// When it was last started.
    pub last_used_at: String,
}

/// A snapshot of an instance.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Snapshot {
    pub name: String,
    pub created_at: String,
    pub expires_at: String,
    #[serde(default)]
    pub profiles: Vec<String>,
    #[serde(default)]
    pub devices: Devices,
    #[serde(default)]
    pub expanded_devices: Devices,
    #[serde(default)]
    pub stateful: bool,
}

/// What only a closer look at an instance shows.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Details {
    pub snapshots: Vec<Snapshot>,
    pub backups: Vec<String>,
    /// Whether an operation is at work on it.
    pub busy: bool,
    /// Disks whose source on the host has to be there, and is not: device and path.
    #[serde(default)]
    pub missing: Vec<(String, String)>,
    /// Paths in it and its snapshots.
    pub paths: u64,
    /// Paths in it alone: what is compared while it is stopped.
    pub own_paths: u64,
    /// What a copy takes until its hard links are made again, with its snapshots, where what they have in common is
    /// there once.
    pub landing: Bytes,
    /// What becomes free on its pool once it is deleted.
    #[serde(default)]
    pub taken: Bytes,
    /// The same where each snapshot is a folder of its own.
    pub unshared: Bytes,
    /// The largest of it and its snapshots, as a quota on each of them counts it.
    pub largest: Bytes,
    /// Subvolumes in it that are not Incus's own.
    pub subvolumes: Vec<String>,
    /// Snapshots that the database has and the pool has not, or the other way round.
    pub torn_snapshots: Vec<String>,
    /// Whether an Incus or LXD of its own was set up in it.
    pub nested: bool,
}
