//! A step in words: what it does, why, and what takes it back.

use std::fmt;

use super::{image, DaemonStart, Owner, PartSpec, PoolPlace, PoolSpec, Step};
use crate::facts::{root_of, Bytes, Config, Devices, PackageManager};

impl Step {
    /// One line in the imperative: "create storage pool default (btrfs, …)".
    #[must_use]
    pub fn describe(&self) -> String {
        match self {
            Self::InstallPackages {
                manager,
                packages,
                source,
                ..
            } => {
                let from = source
                    .as_ref()
                    .map(|source| format!(", with {} added to its sources", source.suite))
                    .unwrap_or_default();
                format!("install {} with {manager}{from}", packages.join(", "))
            }
            Self::StartDaemon { with } => match with {
                DaemonStart::Systemd => "start the Incus daemon and wait until it is ready".into(),
                DaemonStart::Program { .. } => "start the Incus daemon's program itself, as there \
                     is no systemd, and wait until it is ready"
                    .into(),
            },
            Self::CreatePool { pool } if !pool.parts.is_empty() => format!(
                "create storage pool {} ({}) on {}",
                pool.name,
                pool.driver,
                parts_in_words(pool)
            ),
            Self::CreatePool { pool } => {
                format!(
                    "create storage pool {} ({}, {})",
                    pool.name, pool.driver, pool.place
                )
            }
            Self::DeletePool { pool } if !pool.parts.is_empty() => format!(
                "delete storage pool {} ({}) on {}, where it is empty",
                pool.name,
                pool.driver,
                parts_in_words(pool)
            ),
            Self::MeasureRoom { pool } => format!(
                "see how much room {} have: with an empty {} pool {}, which is deleted at once",
                pool.members().collect::<Vec<_>>().join(", "),
                pool.driver,
                pool.name
            ),
            Self::DeletePool { pool } => format!(
                "delete storage pool {} ({}, {}), which is empty",
                pool.name, pool.driver, pool.place
            ),
            Self::HoldSpace { size, path, .. } => {
                format!("allocate all {size} of {path} now")
            }
            Self::CreateNetwork { network } if network.fallback == "none" => {
                "Instances reach the network through it. Incus looks for a free subnet; if it \
                 finds none, the bridge gets no IPv4 address, as every private one is taken."
                    .into()
            }
            Self::CreateNetwork { network } if !network.members.is_empty() => format!(
                "create network {} (bridge) on {}",
                network.name,
                network.members.join(", ")
            ),
            Self::CreateNetwork { network } => format!("create network {} (bridge)", network.name),
            Self::DeleteNetwork { network } => format!("delete network {}", network.name),
            Self::SetDevice {
                owner,
                device,
                from,
                to,
            } => describe_device(owner, device, from.as_ref(), to.as_ref()),
            Self::ArrangeImage { .. } | Self::FetchImage { .. } | Self::RemoveImage { .. } => {
                image::describe(self)
            }
            Self::Migrate { part, of } => part.describe(of),
        }
    }

    /// Why the step is in the plan, for the person who asks.
    #[must_use]
    pub fn reason(&self) -> String {
        match self {
            Self::InstallPackages { source, .. } => {
                let mut text = "What agents run in, and the tools for a copy-on-write pool. Only \
                     the base packages: no virtual machine support, no recommendations."
                    .to_owned();
                if source.is_some() {
                    text.push_str(
                        " This release has Incus in its backports only. They are added with the \
                         mirror you already use.",
                    );
                }
                text
            }
            Self::StartDaemon { .. } => {
                "Pools, networks and profiles are the daemon's, so it has to run.".into()
            }
            Self::CreatePool { pool } => reason_of_pool(pool),
            Self::MeasureRoom { .. } => {
                "A file that can grow is promised to a pool only where the host can keep it. What a \
                 member's filesystem has free is told for a pool that lies on it, and only then."
                    .into()
            }
            Self::DeletePool { pool } if pool.driver == "dir" => {
                "It copies the whole root filesystem at each launch. No instance, custom volume \
                 or bucket is on it in any project. Images stay, as they are kept elsewhere."
                    .into()
            }
            Self::DeletePool { .. } => {
                "It was made by the run that is taken back, and nothing is on it.".into()
            }
            Self::HoldSpace { .. } => "The file is sparse otherwise: if the host filesystem fills \
                 up before the pool does, writes that were acknowledged are lost."
                .into(),
            Self::CreateNetwork { network } => format!(
                "Instances reach the network through it. Incus looks for a free subnet; if it \
                 finds none, {} is used, which no address or route of this host overlaps.",
                network.fallback
            ),
            Self::DeleteNetwork { .. } => "It was made by the run that is taken back.".into(),
            Self::SetDevice {
                owner, from, to, ..
            } => match (owner, from, to) {
                (Owner::Instance { .. }, None, Some(_)) => {
                    "Its root disk comes from a profile that will name another pool for new \
                     instances. With the same disk written down as its own it stays exactly where \
                     it is, running or not."
                        .into()
                }
                (_, Some(_), None) => {
                    "A pool cannot be deleted while a profile names it. It gets the device back \
                     with all its keys."
                        .into()
                }
                (_, _, Some(keys)) if is_root(keys) => {
                    "Launches that name no pool take the one that the profile names.".into()
                }
                _ => "Launches that name no network take the one that the profile names.".into(),
            },
            Self::ArrangeImage { .. } | Self::FetchImage { .. } | Self::RemoveImage { .. } => {
                image::reason(self).into()
            }
            Self::Migrate { part, .. } => part.reason().into(),
        }
    }

    /// What takes the step back, in words, also where nothing does.
    #[must_use]
    pub fn undo_words(&self) -> String {
        match self {
            Self::InstallPackages {
                manager, packages, ..
            } => format!(
                "packages stay; by hand: {} {}",
                match manager {
                    PackageManager::Apt => "apt-get remove",
                    PackageManager::Dnf => "dnf remove",
                    PackageManager::Pacman => "pacman -R",
                    PackageManager::Zypper => "zypper remove",
                    PackageManager::Apk => "apk del",
                },
                packages.join(" ")
            ),
            Self::StartDaemon { .. } => "the daemon keeps running".into(),
            Self::HoldSpace { .. } => "goes with the pool".into(),
            Self::MeasureRoom { .. } => "nothing stays".into(),
            step => image::undo_words(step).unwrap_or_else(|| {
                step.undo()
                    .map_or_else(|| "nothing".into(), |undo| undo.describe())
            }),
        }
    }
}

fn describe_device(
    owner: &Owner,
    device: &str,
    from: Option<&Config>,
    to: Option<&Config>,
) -> String {
    match (owner, from, to) {
        (Owner::Instance { name }, None, Some(keys)) => format!(
            "pin the root disk of instance {name} to pool {}, where it is",
            value(keys, "pool")
        ),
        (Owner::Instance { name }, _, _) => {
            format!("let instance {name} take its root disk from its profile again")
        }
        (_, None, Some(keys)) if is_root(keys) => {
            format!("give {owner} a root disk on pool {}", value(keys, "pool"))
        }
        (_, Some(old), Some(keys)) if is_root(keys) => format!(
            "point the root disk of {owner} to pool {} instead of {}",
            value(keys, "pool"),
            value(old, "pool")
        ),
        (_, Some(old), None) if is_root(old) => {
            format!(
                "take the root disk on pool {} out of {owner}",
                value(old, "pool")
            )
        }
        (_, None, Some(keys)) => {
            format!("give {owner} a network card on {}", value(keys, "network"))
        }
        _ => format!("take device {device} out of {owner}"),
    }
}

fn reason_of_pool(pool: &PoolSpec) -> String {
    let what = "A launch on it is a clone, under a second, instead of a copy of the whole root \
                filesystem.";
    match &pool.place {
        PoolPlace::LoopFile {
            overcommitted: true,
            ..
        } => format!(
            "{what} OVERCOMMITTED: the host filesystem cannot keep all of it. When that fills up, \
             instances on this pool lose what they write."
        ),
        PoolPlace::LoopFile { .. } => format!(
            "{what} A file needs no partition; it takes space as it is filled, and what it may \
             grow to fits into what the host has free, with a reserve."
        ),
        PoolPlace::Subvolume { mount_point, .. } => format!(
            "{what} {mount_point} is btrfs already: a subvolume shares its space and is not \
             journalled twice, as a file on it would be."
        ),
        PoolPlace::Directory { .. } => {
            "A folder on the host filesystem: it works anywhere, and each launch is a full copy."
                .into()
        }
        PoolPlace::Dataset { .. } | PoolPlace::Device { .. } => what.into(),
    }
}

/// What each member has of it, or is to have.
fn parts_in_words(pool: &PoolSpec) -> String {
    let words: Vec<String> = pool
        .parts
        .iter()
        .map(|PartSpec { member, config }| {
            let what = match (config.get("size"), config.get("source")) {
                (Some(size), _) => {
                    let size = size
                        .parse()
                        .map_or(size.clone(), |it: Bytes| it.to_string());
                    format!("{size} file")
                }
                (None, Some(source)) => source.clone(),
                (None, None) => "folder".into(),
            };
            format!("{member} ({what})")
        })
        .collect();
    words.join(", ")
}

fn is_root(keys: &Config) -> bool {
    root_of(&Devices::from([(String::new(), keys.clone())])).is_some()
}

fn value<'a>(keys: &'a Config, key: &str) -> &'a str {
    keys.get(key).map_or("?", String::as_str)
}

impl fmt::Display for PoolPlace {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::LoopFile {
                path,
                size,
                overcommitted,
            } => {
                write!(f, "{size} loop file {path}")?;
                if *overcommitted {
                    f.write_str(", OVERCOMMITTED")?;
                }
                Ok(())
            }
            Self::Subvolume { path, .. } => write!(f, "subvolume {path}"),
            Self::Dataset { name } => write!(f, "dataset {name}"),
            Self::Device { path } => write!(f, "device {path}"),
            Self::Directory { path } => write!(f, "folder {path}"),
        }
    }
}

impl fmt::Display for Owner {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Profile { name } if name.project == "default" => {
                write!(f, "profile {}", name.name)
            }
            Self::Profile { name } => {
                write!(f, "profile {} of project {}", name.name, name.project)
            }
            Self::Instance { name } => write!(f, "instance {name}"),
        }
    }
}

impl fmt::Display for PackageManager {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Apt => "apt",
            Self::Dnf => "dnf",
            Self::Pacman => "pacman",
            Self::Zypper => "zypper",
            Self::Apk => "apk",
        })
    }
}
