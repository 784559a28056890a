//! What a step is expected to make of the facts.
//!
//! Used to look ahead (is the whole sequence possible?) and to show a plan for a daemon that does
//! not answer yet.  After a step was really run the part it changes is read again.

use super::{image, Owner, PoolPlace, PoolSpec, Step};
use crate::facts::{
    Backing, Bytes, Config, Devices, Facts, Incus, Network, Pool, PoolPart, PoolUser, Profile,
    Reference, Server,
};

impl Step {
    /// Changes `facts` into what they should be once the step is done.
    pub fn expect(&self, facts: &mut Facts) {
        if let Self::ArrangeImage { to, .. } = self {
            return image::expect_arranged(to.as_ref(), facts);
        }
        match (self, &mut facts.incus) {
            (Self::InstallPackages { tools, .. }, incus) => {
                for tool in tools {
                    let path = facts.host.tools.entry(tool.clone());
                    path.or_insert_with(|| tool.clone());
                }
                if *incus == Incus::Absent {
                    *incus = Incus::Silent {
                        reason: "not started yet".into(),
                    };
                }
            }
            (_, Incus::Answering(server)) => self.expect_of(server),
            (Self::StartDaemon { .. }, incus) => {
                *incus = Incus::Answering(Box::new(uninitialised()));
            }
            _ => {}
        }
    }

    fn expect_of(&self, server: &mut Server) {
        match self {
            Self::InstallPackages { .. }
            | Self::StartDaemon { .. }
            | Self::ArrangeImage { .. }
            | Self::FetchImage { .. }
            | Self::Migrate { .. } => {}
            Self::RemoveImage { projects } => image::expect_removed(projects, server),
            Self::CreatePool { pool } => {
                // In a cluster it may have been begun.
                server.pools.retain(|found| found.name != pool.name);
                server.pools.push(created(pool, server.here()));
            }
            Self::MeasureRoom { .. } => {
                let members = server.cluster.iter_mut().flat_map(|it| &mut it.members);
                for member in members {
                    member.room.get_or_insert_default();
                }
            }
            Self::DeletePool { pool } => server.pools.retain(|found| found.name != pool.name),
            Self::HoldSpace { pool, size, .. } => {
                for found in &mut server.pools {
                    if let (true, Backing::LoopFile { allocated, .. }) =
                        (found.name == *pool, &mut found.backing)
                    {
                        *allocated = *size;
                    }
                }
            }
            Self::CreateNetwork { network } => {
                server.networks.retain(|found| found.name != network.name);
                server.networks.push(Network {
                    project: "default".into(),
                    name: network.name.clone(),
                    kind: "bridge".into(),
                    config: Config::new(),
                    used_by: Vec::new(),
                    status: "Created".into(),
                    locations: network.members.clone(),
                });
            }
            Self::DeleteNetwork { network } => {
                server.networks.retain(|found| found.name != network.name);
            }
            Self::SetDevice {
                owner,
                device,
                from,
                to,
            } => {
                set_device(server, owner, device, to.clone());
                if let Owner::Profile { name } = owner {
                    leave(server, name, from.as_ref());
                    join(server, name, to.as_ref());
                }
            }
        }
    }
}

/// A daemon as it answers before anyone configured it: no pools, no networks, one empty profile.
fn uninitialised() -> Server {
    Server {
        profiles: vec![Profile {
            reference: Reference::new("default", "default"),
            devices: Devices::new(),
        }],
        ..Server::default()
    }
}

fn created(spec: &PoolSpec, here: Option<&str>) -> Pool {
    let own = spec.parts.iter().find(|part| Some(&*part.member) == here);
    let mut config = spec.config.clone();
    config.extend(own.map(|part| part.config.clone()).unwrap_or_default());
    Pool {
        name: spec.name.clone(),
        driver: spec.driver.clone(),
        status: "Created".into(),
        reason: None,
        description: spec.description.clone(),
        config,
        users: Vec::new(),
        backing: match spec.place.clone() {
            PoolPlace::LoopFile { path, size, .. } => Backing::LoopFile {
                path,
                size,
                allocated: Bytes(0),
            },
            PoolPlace::Subvolume { path, .. } => Backing::Subvolume { path },
            PoolPlace::Dataset { name } => Backing::Dataset { name },
            PoolPlace::Device { path } => Backing::Device { path },
            PoolPlace::Directory { path } => Backing::Directory { path },
        },
        stray_files: Vec::new(),
        space: None,
        parts: spec
            .parts
            .iter()
            .map(|part| PoolPart {
                member: part.member.clone(),
                status: "Created".into(),
                config: part.config.clone(),
                users: Vec::new(),
                space: None,
            })
            .collect(),
    }
}

fn set_device(server: &mut Server, owner: &Owner, device: &str, to: Option<Config>) {
    let devices = match owner {
        Owner::Profile { name } => server
            .profiles
            .iter_mut()
            .find(|profile| profile.reference == *name)
            .map(|profile| &mut profile.devices),
        Owner::Instance { name } => server
            .instances
            .iter_mut()
            .find(|instance| instance.reference == *name)
            .map(|instance| &mut instance.devices),
    };
    if let Some(devices) = devices {
        match to {
            Some(keys) => devices.insert(device.to_owned(), keys),
            None => devices.remove(device),
        };
    }
}

fn leave(server: &mut Server, profile: &Reference, device: Option<&Config>) {
    let Some(device) = device else { return };
    for pool in &mut server.pools {
        if device.get("pool") == Some(&pool.name) {
            pool.users
                .retain(|user| !matches!(user, PoolUser::Profile { name } if name == profile));
        }
    }
    for network in &mut server.networks {
        if device.get("network") == Some(&network.name) {
            network
                .used_by
                .retain(|url| profile_of(url).as_ref() != Some(profile));
        }
    }
}

fn join(server: &mut Server, profile: &Reference, device: Option<&Config>) {
    let Some(device) = device else { return };
    for pool in &mut server.pools {
        if device.get("pool") == Some(&pool.name) {
            pool.users.push(PoolUser::Profile {
                name: profile.clone(),
            });
        }
    }
    for network in &mut server.networks {
        if device.get("network") == Some(&network.name) {
            network.used_by.push(format!(
                "/1.0/profiles/{}?project={}",
                profile.name, profile.project
            ));
        }
    }
}

fn profile_of(url: &str) -> Option<Reference> {
    let path = url.strip_prefix("/1.0/profiles/")?;
    let (name, project) = path.split_once("?project=").unwrap_or((path, "default"));
    Some(Reference::new(project, name))
}
