//! What the machine is, as plain data.
//!
//! Everything a decision may depend on is read once into [`Facts`]; nothing in here reads,
//! writes or decides.  Sizes are bytes throughout ([`Bytes`]).

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use serde::{Deserialize, Serialize};

mod cluster;
mod image;
mod instances;
mod launch;
mod leftovers;
mod server;
mod units;
pub use cluster::{Cluster, Member, PoolPart, MEASURE_POOL};
pub use image::{image_projects, Arrangement, Mode, Trigger, Watch, ALIAS};
pub use instances::{Details, Record, Snapshot};
pub use launch::Unpacked;
pub use leftovers::{Lack, Since, Stray};
pub use server::{
    has_nic, root_of, Backing, Image, Incus, Instance, Network, Pool, PoolUser, Profile, Reference,
    Server, Space,
};
pub use units::{BadSize, Bytes};

/// Configuration keys of a pool, network or profile, and the keys of one device.
pub type Config = BTreeMap<String, String>;
/// Devices by name.
pub type Devices = BTreeMap<String, Config>;

/// All that was read before anything is decided.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Facts {
    pub host: Host,
    pub incus: Incus,
}

impl Facts {
    /// The answering daemon's state, if it answers.
    #[must_use]
    pub fn server(&self) -> Option<&Server> {
        match &self.incus {
            Incus::Answering(server) => Some(server),
            Incus::Absent | Incus::Silent { .. } => None,
        }
    }
}

/// The machine around Incus.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Host {
    /// Whether the effective user is root.
    pub root: bool,
    /// Whether systemd is the init system (`/run/systemd/system` exists).
    pub systemd: bool,
    /// Whether this is inside a user namespace, that is an unprivileged container.
    pub user_namespace: bool,
    /// Whether `/dev/loop-control` can be opened.
    pub loop_devices: bool,
    /// `ID`, `VERSION_CODENAME` and `PRETTY_NAME` of os-release.
    pub os: Os,
    pub packages: Option<Packages>,
    /// The programs of [`TOOLS`] that are on the machine, by name, with their paths.
    pub tools: BTreeMap<String, String>,
    /// The filesystems of btrfs and zfs that the kernel has, or can load.
    pub kernel_filesystems: BTreeSet<String>,
    /// Imported ZFS pools that are writable and healthy.
    pub zpools: Vec<Zpool>,
    /// Where the daemon keeps its state.
    pub incus_dir: String,
    /// Whether `incus_dir` holds a database, that is an Incus that was started before.
    pub incus_database: bool,
    /// The filesystem under `incus_dir` (or under its nearest existing parent).
    pub incus_filesystem: Filesystem,
    /// Writable btrfs filesystems mounted elsewhere that will be there after a reboot, too.
    pub btrfs_filesystems: Vec<Filesystem>,
    /// What lies where Incus would put a pool's loop file or directory.
    pub places: Vec<Place>,
    /// What `--source` names, if it was given.
    pub source: Option<SourcePath>,
    /// IPv4 networks that the host has an address in or a route to.
    pub ipv4_networks: Vec<Ipv4Network>,
    /// Names of network interfaces.
    pub interfaces: BTreeSet<String>,
    /// When the base image is to be fetched.
    #[serde(default)]
    pub trigger: Trigger,
    /// A number that stays the same on this machine and differs between machines.
    pub seed: u64,
}

/// Every program that a decision asks for.
pub const TOOLS: &[&str] = &[
    "incus",
    "incusd",
    "btrfs",
    "mkfs.btrfs",
    "zfs",
    "zpool",
    "dnsmasq",
];

/// Which operating system, from os-release.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Os {
    pub id: String,
    pub codename: String,
    pub name: String,
}

/// The package manager of the host and what it can offer.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Packages {
    pub manager: PackageManager,
    /// Whether the package sources as they stand offer Incus.
    pub offers_incus: bool,
    /// Whether there is a package `incus-base`, without what virtual machines need.  (Debian has
    /// it, Ubuntu 24.04 does not.)
    pub incus_base: bool,
    /// A package source that would offer it, made from the sources the host already has.
    pub backports: Option<PackageSource>,
}

/// The package managers that this program can use.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum PackageManager {
    Apt,
    Dnf,
    Pacman,
    Zypper,
    Apk,
}

/// A file that adds a suite to the package sources.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct PackageSource {
    pub path: String,
    pub suite: String,
    pub content: String,
}

/// An imported ZFS pool.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Zpool {
    pub name: String,
    pub free: Bytes,
}

/// A mounted filesystem.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Filesystem {
    pub mount_point: String,
    /// As in `/proc/self/mountinfo`: `ext4`, `btrfs`, …
    pub kind: String,
    pub total: Bytes,
    /// Free to unprivileged writers (`f_bavail`).
    pub free: Bytes,
    /// What existing loop files on it may still grow by.
    pub promised: Bytes,
}

/// Something at a path where a pool could be put.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Place {
    pub path: String,
    pub what: PlaceKind,
}

/// What lies at a [`Place`].
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", tag = "kind")]
pub enum PlaceKind {
    /// A regular file, with its length and what of it is really allocated.
    File { size: Bytes, allocated: Bytes },
    /// A directory; `entries` names what is in it, two levels deep, but for empty folders.
    Directory {
        entries: Vec<String>,
        subvolume: bool,
    },
    /// A device, socket or link.
    Other,
}

/// What `--source` names.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct SourcePath {
    pub path: String,
    pub kind: SourceKind,
    /// The filesystem it is, or would be, on.
    pub filesystem: Filesystem,
}

/// What is at the path that `--source` names.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", tag = "is")]
pub enum SourceKind {
    /// Nothing; `parent` says whether the folder it would lie in exists.
    Nothing {
        parent: bool,
    },
    EmptyDirectory {
        subvolume: bool,
    },
    FilledDirectory,
    File,
    BlockDevice {
        mounted: bool,
        /// What `blkid` recognises on it: a filesystem, a partition table, a member of something.
        signature: Option<String>,
        size: Bytes,
    },
    /// Not a path but a ZFS dataset's name; `exists` says whether there is one.
    Dataset {
        exists: bool,
        zpool: bool,
    },
}

/// An IPv4 network in CIDR form.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Ipv4Network {
    pub address: std::net::Ipv4Addr,
    pub prefix: u8,
}

impl Ipv4Network {
    /// Whether any address is in both networks.
    #[must_use]
    pub fn overlaps(self, other: Self) -> bool {
        let prefix = self.prefix.min(other.prefix);
        if prefix == 0 {
            return true;
        }
        let mask = u32::MAX << (32 - u32::from(prefix.min(32)));
        (u32::from(self.address) & mask) == (u32::from(other.address) & mask)
    }
}

impl fmt::Display for Ipv4Network {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.address, self.prefix)
    }
}
