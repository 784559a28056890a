//! What the machine is, as plain data.
//!
//! Everything a decision may depend on is read once into [`Facts`]; nothing in here reads,
//! writes or decides.  Sizes are bytes throughout ([`Bytes`]).

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use serde::{Deserialize, Serialize};

mod instances;
mod units;
pub use instances::{Details, Record, Snapshot};
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

/// How Incus is found.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", tag = "state")]
pub enum Incus {
    /// The client or the daemon's program is not there.
    Absent,
    /// Installed, but nothing listens; `reason` is what the client said.
    Silent {
        reason: String,
    },
    Answering(Box<Server>),
}

/// An answering daemon.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Server {
    pub version: String,
    pub clustered: bool,
    /// Names of the cluster's members, where it is one.
    pub members: Vec<String>,
    /// `storage.images_volume` and the like: key and `pool/volume`.
    pub daemon_volumes: Config,
    pub pools: Vec<Pool>,
    pub profiles: Vec<Profile>,
    pub instances: Vec<Instance>,
    pub networks: Vec<Network>,
    /// Filled by a closer look only (`status`).
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub images: Vec<Image>,
    /// Filled by a look at instances that may be migrated.
    #[serde(skip)]
    pub details: BTreeMap<Reference, Details>,
    /// The projects' configuration; filled along with it.
    #[serde(skip)]
    pub projects: BTreeMap<String, Config>,
}

impl Server {
    #[must_use]
    pub fn pool(&self, name: &str) -> Option<&Pool> {
        self.pools.iter().find(|pool| pool.name == name)
    }

    #[must_use]
    pub fn profile(&self, reference: &Reference) -> Option<&Profile> {
        self.profiles
            .iter()
            .find(|profile| profile.reference == *reference)
    }

    #[must_use]
    pub fn instance(&self, reference: &Reference) -> Option<&Instance> {
        self.instances
            .iter()
            .find(|instance| instance.reference == *reference)
    }

    /// The instances whose root disk comes from this profile's device.
    pub fn inheritors<'a>(
        &'a self,
        profile: &'a Profile,
    ) -> impl Iterator<Item = &'a Instance> + 'a {
        self.instances
            .iter()
            .filter(move |instance| self.root_profile(instance) == Some(&profile.reference))
    }

    /// The profile that an instance's root disk comes from; none if the instance has its own.
    #[must_use]
    pub fn root_profile(&self, instance: &Instance) -> Option<&Reference> {
        if root_of(&instance.devices).is_some() {
            return None;
        }
        // Incus expands profiles in order, and a later one wins.
        instance.profiles.iter().rev().find_map(|reference| {
            let profile = self.profile(reference)?;
            root_of(&profile.devices).map(|_| &profile.reference)
        })
    }
}

/// A name within a project.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Reference {
    pub project: String,
    pub name: String,
}

impl Reference {
    #[must_use]
    pub fn new(project: impl Into<String>, name: impl Into<String>) -> Self {
        Self {
            project: project.into(),
            name: name.into(),
        }
    }
}

/// The name alone in the project `default`, `project/name` elsewhere.
impl fmt::Display for Reference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.project == "default" {
            f.write_str(&self.name)
        } else {
            write!(f, "{}/{}", self.project, self.name)
        }
    }
}

/// A storage pool.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Pool {
    pub name: String,
    pub driver: String,
    /// `Created`, or `Pending`, `Errored`, `Unavailable`, `Unknown`.
    pub status: String,
    /// Why it is not usable, in Incus's words, where it gives any.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
    pub config: Config,
    pub users: Vec<PoolUser>,
    pub backing: Backing,
    /// For a `dir` pool: what lies in its folder that only instances or custom volumes make.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub stray_files: Vec<String>,
    /// Size and use, filled by a closer look only (`status`).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub space: Option<Space>,
}

impl Pool {
    /// Whether a launch on this pool is a clone and not a copy.
    #[must_use]
    pub fn copy_on_write(&self) -> bool {
        match self.driver.as_str() {
            "btrfs" | "zfs" | "ceph" | "truenas" => true,
            "lvm" | "lvmcluster" => {
                self.config.get("lvm.use_thinpool").map(String::as_str) != Some("false")
            }
            _ => false,
        }
    }
}

/// Used and total bytes of a pool, as its filesystem counts them.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Space {
    pub used: Bytes,
    pub total: Bytes,
}

/// What a pool's data lies in.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", tag = "kind")]
pub enum Backing {
    LoopFile {
        path: String,
        size: Bytes,
        allocated: Bytes,
    },
    Subvolume {
        path: String,
    },
    Directory {
        path: String,
    },
    Dataset {
        name: String,
    },
    Device {
        path: String,
    },
    Unknown,
}

/// What uses a pool, from its `used_by`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", tag = "kind")]
pub enum PoolUser {
    Instance {
        name: Reference,
    },
    Profile {
        name: Reference,
    },
    Image {
        fingerprint: String,
    },
    Volume {
        name: Reference,
    },
    Bucket {
        name: Reference,
    },
    /// Something this program does not know, so it counts as in use.
    Other {
        url: String,
    },
}

impl fmt::Display for PoolUser {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Instance { name } => write!(f, "instance {name}"),
            Self::Profile { name } => write!(f, "profile {name}"),
            Self::Image { fingerprint } => {
                write!(f, "image {}", fingerprint.get(..12).unwrap_or(fingerprint))
            }
            Self::Volume { name } => write!(f, "custom volume {name}"),
            Self::Bucket { name } => write!(f, "bucket {name}"),
            Self::Other { url } => f.write_str(url),
        }
    }
}

/// A profile, with the devices it gives to instances.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Profile {
    pub reference: Reference,
    pub devices: Devices,
}

/// An instance: a container or a virtual machine.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Instance {
    pub reference: Reference,
    /// `container` or `virtual-machine`.
    pub kind: String,
    pub status: String,
    /// Its own devices, without those of its profiles.
    pub devices: Devices,
    /// The pool its root disk is on, its own or from a profile.
    pub pool: Option<String>,
    pub profiles: Vec<Reference>,
    /// The process that made it to measure something, if this program did.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub scratch: Option<String>,
    /// Never part of a document: its keys may be secret.
    #[serde(skip)]
    pub record: Record,
}

/// A managed network.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Network {
    pub project: String,
    pub name: String,
    pub kind: String,
    pub config: Config,
    /// URLs of what uses it.
    pub used_by: Vec<String>,
}

/// An image in the local store.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Image {
    pub project: String,
    pub fingerprint: String,
    pub aliases: Vec<String>,
    pub size: Bytes,
    /// Whether containers are made from it, and not virtual machines.
    pub container: bool,
}

/// The root disk among some devices: its name and keys.
#[must_use]
pub fn root_of(devices: &Devices) -> Option<(&String, &Config)> {
    devices.iter().find(|(_, device)| {
        device.get("type").map(String::as_str) == Some("disk")
            && device.get("path").map(String::as_str) == Some("/")
    })
}

/// Whether there is a network card among some devices.
#[must_use]
pub fn has_nic(devices: &Devices) -> bool {
    devices
        .values()
        .any(|device| device.get("type").map(String::as_str) == Some("nic"))
}
