//! The profiles that launches without further words use, and where their root disks go.

use super::{Goal, Planner};
use crate::facts::{root_of, Config, Profile, Reference, Server};
use crate::step::{Owner, Step};

/// The `default` profiles of project `default`, where root and members of `incus-admin` land, and
/// of the `user-<uid>` projects, where members of `incus` do.
pub fn launch_profiles(server: &Server) -> impl Iterator<Item = &Profile> {
    server.profiles.iter().filter(|profile| {
        let Reference { project, name } = &profile.reference;
        name == "default" && (project == "default" || project.starts_with("user-"))
    })
}

impl Planner {
    /// Lets launches land on a pool: adds missing root disks, and repoints those that go to a pool
    /// that copies, or to any other where this pool was asked for by name.
    pub(super) fn point_profiles(&mut self, pool: &str, goal: &Goal) {
        let clones = self
            .server()
            .pool(pool)
            .is_some_and(super::super::facts::Pool::copy_on_write);
        let asked = goal.beside || goal.pool.is_some();
        let profiles: Vec<Profile> = launch_profiles(self.server()).cloned().collect();
        for profile in profiles {
            let owner = Owner::Profile {
                name: profile.reference.clone(),
            };
            let Some((device, keys)) = root_of(&profile.devices) else {
                self.push(add_root(owner, &profile, pool));
                continue;
            };
            let Some(old) = keys.get("pool").filter(|old| *old != pool) else {
                continue;
            };
            let copies = !self
                .server()
                .pool(old)
                .is_some_and(super::super::facts::Pool::copy_on_write);
            if !(asked || (copies && clones)) {
                continue;
            }
            let pins = self.pins_of(&profile);
            if !pins.is_empty() && !asked {
                let names: Vec<String> = pins.iter().map(|(name, ..)| name.to_string()).collect();
                self.note(
                    format!(
                        "{owner} still sends launches to pool {old}; the root disk of {} comes from it",
                        names.join(", ")
                    ),
                    Some(format!(
                        "to point it to {pool}: taos-setup --pool {pool} --pin {}",
                        names.join(",")
                    )),
                );
                continue;
            }
            for (instance, device, keys) in pins {
                self.push(Step::SetDevice {
                    owner: Owner::Instance { name: instance },
                    device,
                    from: None,
                    to: Some(keys),
                });
            }
            let mut new = keys.clone();
            new.insert("pool".into(), pool.into());
            self.push(Step::SetDevice {
                owner,
                device: device.clone(),
                from: Some(keys.clone()),
                to: Some(new),
            });
        }
    }

    /// The instances that would have to be pinned if launches went to another pool.
    pub(super) fn pins_for(&self, pool: &str) -> Vec<Reference> {
        launch_profiles(self.server())
            .filter(|profile| {
                root_of(&profile.devices)
                    .is_some_and(|(_, keys)| keys.get("pool").is_some_and(|old| old != pool))
            })
            .flat_map(|profile| self.pins_of(profile))
            .map(|(name, ..)| name)
            .collect()
    }

    /// The instances whose root disk comes from a profile, with the device to write down.
    fn pins_of(&self, profile: &Profile) -> Vec<(Reference, String, Config)> {
        let Some((device, keys)) = root_of(&profile.devices) else {
            return Vec::new();
        };
        self.server()
            .inheritors(profile)
            .map(|instance| (instance.reference.clone(), device.clone(), keys.clone()))
            .collect()
    }
}

fn add_root(owner: Owner, profile: &Profile, pool: &str) -> Step {
    let device = ["root", "rootfs"]
        .into_iter()
        .find(|name| !profile.devices.contains_key(*name))
        .unwrap_or("taos-root");
    let keys = [("type", "disk"), ("path", "/"), ("pool", pool)];
    Step::SetDevice {
        owner,
        device: device.into(),
        from: None,
        to: Some(
            keys.map(|(key, value)| (key.to_owned(), value.to_owned()))
                .into_iter()
                .collect(),
        ),
    }
}
