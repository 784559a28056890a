//! The vocabulary of change.
//!
//! A [`Step`] says what it would do ([`Step::describe`]), why ([`Step::reason`]), whether it is
//! already true ([`Step::holds`]), what stands in its way ([`Step::blocked`]), what takes it back
//! ([`Step::undo`]), and what the machine is expected to be afterwards ([`Step::expect`]).  It
//! does nothing by itself: `apply` is the only place with effects.

use serde::{Deserialize, Serialize};

use crate::facts::{
    root_of, Arrangement, Bytes, Config, Devices, Facts, Host, Incus, PackageManager,
    PackageSource, Pool, PoolUser, Reference, Server,
};

mod cluster;
mod expect;
pub mod image;
pub mod migration;
mod words;

pub use cluster::{as_given, is_begun};

use migration::{Migration, Part};

/// One change.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", tag = "step")]
pub enum Step {
    /// Install packages with the host's package manager.
    InstallPackages {
        manager: PackageManager,
        packages: Vec<String>,
        /// A package source to add first.
        source: Option<PackageSource>,
        /// The programs that are there afterwards.
        tools: Vec<String>,
    },
    /// Start the Incus daemon and wait until it is ready.
    StartDaemon {
        with: DaemonStart,
    },
    CreatePool {
        pool: PoolSpec,
    },
    /// Delete a pool that nothing but cached images is on.
    DeletePool {
        pool: PoolSpec,
    },
    /// Allocate all of a loop file's blocks on the host filesystem.
    HoldSpace {
        pool: String,
        path: String,
        size: Bytes,
    },
    /// See how much room the members of a cluster have, with a pool that is empty and goes again.
    MeasureRoom {
        pool: PoolSpec,
    },
    CreateNetwork {
        network: NetworkSpec,
    },
    DeleteNetwork {
        network: NetworkSpec,
    },
    /// Add, remove or change one device of one profile or instance.
    SetDevice {
        owner: Owner,
        device: String,
        from: Option<Config>,
        to: Option<Config>,
    },
    /// Arrange when the base image is fetched: what is written down, and the units.
    ArrangeImage {
        from: Option<Arrangement>,
        to: Option<Arrangement>,
    },
    /// Fetch the base image and put it in place; the last step, and a run of its own.
    FetchImage {
        /// The variables that say which one.
        wanted: Config,
        /// The projects that do not have it yet.
        projects: Vec<String>,
        /// In the background, by a process that lives on.
        detached: bool,
    },
    RemoveImage {
        projects: Vec<String>,
    },
    /// A part of moving a container to another pool.
    Migrate {
        part: Part,
        of: Box<Migration>,
    },
}

/// How a daemon is started.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", tag = "by")]
pub enum DaemonStart {
    /// `systemctl enable --now` on the package's units.
    Systemd,
    /// The daemon's program itself, where there is no systemd.
    Program { path: Option<String> },
}

impl DaemonStart {
    /// How this host starts it.
    #[must_use]
    pub fn of(host: &Host) -> Self {
        if host.systemd {
            Self::Systemd
        } else {
            Self::Program {
                path: host.tools.get("incusd").cloned(),
            }
        }
    }
}

/// A pool to be made, or made again.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct PoolSpec {
    pub name: String,
    pub driver: String,
    /// Exactly the keys given to `incus storage create`.
    pub config: Config,
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub description: String,
    /// In a cluster that of the member that this program runs on.
    pub place: PoolPlace,
    /// In a cluster: the keys that are each member's own; `config` holds for all.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub parts: Vec<PartSpec>,
}

/// What a member of a cluster is given of a pool.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct PartSpec {
    pub member: String,
    pub config: Config,
}

/// Where a new pool's data will lie.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", tag = "kind")]
pub enum PoolPlace {
    LoopFile {
        path: String,
        size: Bytes,
        /// Whether the host filesystem cannot keep all of that.
        overcommitted: bool,
    },
    Subvolume {
        path: String,
        mount_point: String,
        /// Whether it was there, empty, before.
        existed: bool,
    },
    Dataset {
        name: String,
    },
    Device {
        path: String,
    },
    Directory {
        path: String,
    },
}

/// A bridge to be made.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct NetworkSpec {
    pub name: String,
    /// The address (CIDR) to use where Incus finds no free subnet by itself.
    pub fallback: String,
    /// The members of the cluster, where it is one.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub members: Vec<String>,
}

/// Whose device a [`Step::SetDevice`] sets.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", tag = "owner")]
pub enum Owner {
    Profile { name: Reference },
    Instance { name: Reference },
}

/// Which part of the facts a step changes, and is to be read again after it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Scope {
    Everything,
    Pools,
    Networks,
    Profiles,
    Instances,
    Projects,
    Image,
}

impl Step {
    /// Whether what the step brings about is already so.
    #[must_use]
    pub fn holds(&self, facts: &Facts) -> bool {
        match self {
            Self::InstallPackages { tools, .. } => {
                tools.iter().all(|tool| facts.host.tools.contains_key(tool))
            }
            Self::StartDaemon { .. } => facts.server().is_some(),
            Self::CreatePool { pool } => facts
                .server()
                .and_then(|server| server.pool(&pool.name))
                .is_some_and(|found| found.driver == pool.driver && found.status == "Created"),
            // Not only gone from the list: `dir` made again as `btrfs` is gone, too.
            Self::DeletePool { pool } => facts.server().is_some_and(|server| {
                server
                    .pool(&pool.name)
                    .is_none_or(|found| found.driver != pool.driver && found.status == "Created")
            }),
            Self::HoldSpace { pool, size, .. } => facts
                .server()
                .and_then(|server| server.pool(pool))
                .is_some_and(|found| match found.backing {
                    crate::facts::Backing::LoopFile { allocated, .. } => allocated >= *size,
                    _ => false,
                }),
            Self::MeasureRoom { pool } => cluster::measured(pool, facts),
            Self::CreateNetwork { network } => facts.server().is_some_and(|server| {
                let mut networks = server.networks.iter();
                networks.any(|found| found.name == network.name && found.is_whole())
            }),
            Self::DeleteNetwork { network } => facts
                .server()
                .is_some_and(|server| !server.networks.iter().any(|n| n.name == network.name)),
            Self::SetDevice {
                owner, device, to, ..
            } => facts.server().is_some_and(|server| {
                // What is not there has no device either.
                let found = owner
                    .devices(server)
                    .and_then(|devices| devices.get(device));
                found == to.as_ref()
            }),
            Self::ArrangeImage { to, .. } => image::arranged(to.as_ref(), facts),
            Self::FetchImage { detached, .. } => image::fetched(*detached, facts),
            Self::RemoveImage { projects } => image::removed(projects, facts),
            Self::Migrate { part, of } => migration::holds(*part, of, facts),
        }
    }

    /// Whether the step has lost its object: a device cannot be given back to a profile that was
    /// deleted since.
    #[must_use]
    pub fn moot(&self, facts: &Facts) -> bool {
        match self {
            Self::SetDevice { owner, .. } => facts
                .server()
                .is_some_and(|server| owner.devices(server).is_none()),
            _ => false,
        }
    }

    /// What stands in the way of the step, if anything does.
    #[must_use]
    pub fn blocked(&self, facts: &Facts) -> Option<String> {
        let server = match (&facts.incus, self) {
            (
                _,
                Self::InstallPackages { .. } | Self::StartDaemon { .. } | Self::ArrangeImage { .. },
            ) => return None,
            (Incus::Answering(server), _) => server,
            (Incus::Absent | Incus::Silent { .. }, _) => {
                return Some("the Incus daemon does not answer".into())
            }
        };
        match self {
            Self::InstallPackages { .. }
            | Self::StartDaemon { .. }
            | Self::HoldSpace { .. }
            | Self::ArrangeImage { .. }
            | Self::FetchImage { .. } => None,
            Self::RemoveImage { projects } => image::remove_blocked(projects, facts),
            Self::CreatePool { pool } => {
                cluster::members_missing(server, pool.members()).or_else(|| {
                    let found = server.pool(&pool.name)?;
                    (!cluster::can_be_completed(pool, found)).then(|| {
                        format!(
                            "there is a {} pool named {} in state {}",
                            found.driver, found.name, found.status
                        )
                    })
                })
            }
            Self::MeasureRoom { pool } => cluster::measuring_blocked(server, pool),
            Self::DeletePool { pool } => match server.pool(&pool.name) {
                Some(found) if found.driver != pool.driver => Some(format!(
                    "pool {} is now {}, not {}",
                    found.name, found.driver, pool.driver
                )),
                Some(found) => in_use(server, found).or_else(|| cluster::silent(server)),
                None => None,
            },
            Self::CreateNetwork { network } => {
                let members = network.members.iter().map(String::as_str);
                cluster::members_missing(server, members).or_else(|| {
                    let mut networks = server.networks.iter();
                    networks
                        .find(|found| found.name == network.name)
                        .filter(|found| found.is_whole() || network.members.is_empty())
                        .map(|found| format!("there is a network named {}", found.name))
                })
            }
            Self::DeleteNetwork { network } => server
                .networks
                .iter()
                .find(|found| found.name == network.name && !found.used_by.is_empty())
                .map(|found| {
                    format!(
                        "network {} is used by {}",
                        found.name,
                        found.used_by.join(", ")
                    )
                })
                .or_else(|| cluster::silent(server)),
            Self::SetDevice {
                owner,
                device,
                from,
                to,
            } => device_blocked(server, owner, device, from.as_ref(), to.as_ref()),
            Self::Migrate { part, of } => migration::blocked(*part, of, server),
        }
    }

    /// The step that takes this one back, where there is one.
    #[must_use]
    pub fn undo(&self) -> Option<Step> {
        match self {
            Self::InstallPackages { .. } | Self::StartDaemon { .. } | Self::HoldSpace { .. } => {
                None
            }
            Self::CreatePool { pool } | Self::MeasureRoom { pool } => {
                Some(Self::DeletePool { pool: pool.clone() })
            }
            Self::DeletePool { pool } => Some(Self::CreatePool { pool: pool.clone() }),
            Self::CreateNetwork { network } => Some(Self::DeleteNetwork {
                network: network.clone(),
            }),
            Self::DeleteNetwork { network } => Some(Self::CreateNetwork {
                network: network.clone(),
            }),
            Self::SetDevice {
                owner,
                device,
                from,
                to,
            } => Some(Self::SetDevice {
                owner: owner.clone(),
                device: device.clone(),
                from: to.clone(),
                to: from.clone(),
            }),
            // What was only mended stays whole.
            Self::ArrangeImage { from, to } if from == to => None,
            Self::ArrangeImage { from, to } => Some(Self::ArrangeImage {
                from: to.clone(),
                to: from.clone(),
            }),
            Self::FetchImage { projects, .. } if !projects.is_empty() => Some(Self::RemoveImage {
                projects: projects.clone(),
            }),
            Self::FetchImage { .. } | Self::RemoveImage { .. } => None,
            Self::Migrate { part, of } => migration::undo(*part, of),
        }
    }

    /// Which facts the step changes.
    #[must_use]
    pub fn scope(&self) -> Scope {
        match self {
            Self::InstallPackages { .. } | Self::StartDaemon { .. } => Scope::Everything,
            Self::CreatePool { .. }
            | Self::DeletePool { .. }
            | Self::HoldSpace { .. }
            | Self::MeasureRoom { .. } => Scope::Pools,
            Self::CreateNetwork { .. } | Self::DeleteNetwork { .. } => Scope::Networks,
            Self::SetDevice {
                owner: Owner::Profile { .. },
                ..
            } => Scope::Profiles,
            Self::SetDevice {
                owner: Owner::Instance { .. },
                ..
            } => Scope::Instances,
            Self::Migrate {
                part: Part::Loosen | Part::Tighten,
                ..
            } => Scope::Projects,
            Self::ArrangeImage { .. } | Self::FetchImage { .. } | Self::RemoveImage { .. } => {
                Scope::Image
            }
            Self::Migrate { .. } => Scope::Instances,
        }
    }

    /// Whether only after this step it can be seen what else there is to do.
    #[must_use]
    pub fn reveals(&self) -> bool {
        matches!(
            self,
            Self::InstallPackages { .. } | Self::StartDaemon { .. } | Self::MeasureRoom { .. }
        )
    }

    /// Whether all members of a cluster have to be there for it, and for taking it back.
    #[must_use]
    pub fn needs_members(&self) -> bool {
        match self {
            Self::CreatePool { pool } | Self::DeletePool { pool } | Self::MeasureRoom { pool } => {
                !pool.parts.is_empty()
            }
            Self::CreateNetwork { network } | Self::DeleteNetwork { network } => {
                !network.members.is_empty()
            }
            _ => false,
        }
    }

    /// The instance whose configuration the step touches, if it touches one.
    #[must_use]
    pub fn touches(&self) -> Option<&Reference> {
        match self {
            Self::SetDevice {
                owner: Owner::Instance { name },
                ..
            } => Some(name),
            Self::Migrate { of, .. } => Some(&of.name),
            _ => None,
        }
    }
}

impl Owner {
    fn devices<'a>(&self, server: &'a Server) -> Option<&'a Devices> {
        match self {
            Self::Profile { name } => server.profile(name).map(|profile| &profile.devices),
            Self::Instance { name } => server.instance(name).map(|instance| &instance.devices),
        }
    }
}

/// What keeps a pool from being deleted: anything on it or pointing at it but cached images.
#[must_use]
pub fn in_use(server: &Server, pool: &Pool) -> Option<String> {
    let mut users: Vec<String> = pool
        .users
        .iter()
        .filter(|user| !matches!(user, PoolUser::Image { .. }))
        .map(ToString::to_string)
        .collect();
    users.extend(daemon_users(server, pool));
    users.extend(
        pool.stray_files
            .iter()
            .map(|path| format!("files in {path}")),
    );
    if users.is_empty() {
        None
    } else {
        Some(format!(
            "pool {} is used by {}",
            pool.name,
            users.join(", ")
        ))
    }
}

/// The daemon settings that put their data on a pool.
fn daemon_users<'a>(server: &'a Server, pool: &'a Pool) -> impl Iterator<Item = String> + 'a {
    server
        .daemon_volumes
        .iter()
        .filter(|(_, volume)| volume.split('/').next() == Some(pool.name.as_str()))
        .map(|(key, volume)| format!("the daemon setting {key}={volume}"))
}

fn device_blocked(
    server: &Server,
    owner: &Owner,
    device: &str,
    from: Option<&Config>,
    to: Option<&Config>,
) -> Option<String> {
    let Some(devices) = owner.devices(server) else {
        return Some(format!("{owner} is not there any more"));
    };
    if devices.get(device) != from {
        return Some(format!(
            "device {device} of {owner} was changed by someone else"
        ));
    }
    // Incus refuses this itself; said here, it is said before anything was begun.
    let Owner::Profile { name } = owner else {
        return None;
    };
    let (root, old) = root_of(devices)?;
    let stays = to.is_some_and(|new| new.get("pool") == old.get("pool"));
    if root != device || stays {
        return None;
    }
    let profile = server.profile(name)?;
    let names: Vec<String> = server
        .inheritors(profile)
        .map(|instance| instance.reference.to_string())
        .collect();
    (!names.is_empty()).then(|| format!("the root disk of {} comes from {owner}", names.join(", ")))
}
