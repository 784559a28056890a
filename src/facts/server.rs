//! An Incus daemon and what it has.

use std::collections::BTreeMap;
use std::fmt;

use serde::{Deserialize, Serialize};

use super::{Bytes, Cluster, Config, Details, Devices, PoolPart, Record};

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
    /// More about them, and which of them this is.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cluster: Option<Cluster>,
    /// `storage.images_volume` and the like: key and `pool/volume`.
    pub daemon_volumes: Config,
    pub pools: Vec<Pool>,
    pub profiles: Vec<Profile>,
    pub instances: Vec<Instance>,
    pub networks: Vec<Network>,
    /// Filled where it matters whether the base image is here, and by a closer look (`status`).
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
    /// The name of the member that this program runs on, in a cluster.
    #[must_use]
    pub fn here(&self) -> Option<&str> {
        self.cluster.as_ref().map(|cluster| cluster.here.as_str())
    }

    /// Whether an instance is on the member that this program runs on, so that its files are here.
    #[must_use]
    pub fn has_here(&self, instance: &Instance) -> bool {
        self.here().is_none_or(|here| instance.location == here)
    }

    /// Whether a member of the cluster is there.
    #[must_use]
    pub fn answers(&self, member: &str) -> bool {
        let member = self.cluster.as_ref().and_then(|it| it.member(member));
        member.is_some_and(super::Member::answers)
    }

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
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub description: String,
    /// In a cluster: what holds for all, and the keys of the member that this program runs on.
    pub config: Config,
    pub users: Vec<PoolUser>,
    pub backing: Backing,
    /// For a `dir` pool: what lies in its folder that only instances or custom volumes make.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub stray_files: Vec<String>,
    /// Size and use, filled by a closer look only (`status`).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub space: Option<Space>,
    /// In a cluster: what each member has of it.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub parts: Vec<PoolPart>,
}

impl Pool {
    /// What a member of the cluster has of it.
    #[must_use]
    pub fn part(&self, member: &str) -> Option<&PoolPart> {
        self.parts.iter().find(|part| part.member == member)
    }

    /// Whether its volumes are plain folders, also while nothing runs on them.  Those of other
    /// drivers are mounted by Incus only when it needs them, and are empty folders otherwise.
    #[must_use]
    pub fn is_looked_into(&self) -> bool {
        matches!(self.driver.as_str(), "dir" | "btrfs")
    }

    /// On ZFS, whose volumes can be mounted to be looked into: the dataset that Incus has them in.
    #[must_use]
    pub fn datasets(&self) -> Option<&str> {
        let named = ["zfs.pool_name", "source"];
        let named = named.into_iter().find_map(|key| self.config.get(key));
        named
            .filter(|name| self.driver == "zfs" && !name.starts_with('/'))
            .map(String::as_str)
    }

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
    /// The member of the cluster it is on; empty where there is none.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub location: String,
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

impl Instance {
    /// Whether nothing is told of it but that it is there: Incus knows no more of what is on a member of the cluster
    /// that does not answer, neither its pool nor its profiles.
    #[must_use]
    pub fn untold(&self) -> bool {
        !self.location.is_empty()
            && self.status == "Error"
            && self.pool.is_none()
            && self.profiles.is_empty()
            && self.devices.is_empty()
    }
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
    /// As a pool's; empty where it was not told.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub status: String,
    /// The members of the cluster that have it, be it only to come.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub locations: Vec<String>,
}

impl Network {
    /// Whether it is there on every member, where there are several.
    #[must_use]
    pub fn is_whole(&self) -> bool {
        !matches!(self.status.as_str(), "Pending" | "Errored")
    }
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
