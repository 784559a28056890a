//! Which pool launches shall use, and what becomes of the one they use now.

use super::goal::matches;
use super::migrate::to_move;
use super::place::{keeps_blocks, refuse_unholding};
use super::situation::{beside, free_pool_name, situation, usable, why_kept, Situation};
use super::{Choice, Goal, Pins, Planner, Refusal};
use crate::facts::{root_of, Backing, Bytes, Pool, Reference};
use crate::step::{is_begun, Owner, PartSpec, PoolPlace, PoolSpec, Step};

impl Planner {
    pub(super) fn plan_pool(&mut self, goal: &Goal) -> Result<(), Refusal> {
        self.check_pins(goal)?;
        self.check_members_named(goal)?;
        self.migrates(goal)?;
        self.refuse_stray_options(goal)?;
        let situation = situation(self.server(), goal, &self.facts.host.incus_dir)?;
        match situation {
            // In a cluster it may have been begun, and not be on all members yet.
            Situation::Keep(name) if self.server().pool(&name).is_some_and(is_begun) => {
                self.complete(&name, goal)?;
                self.point_profiles(&name, goal);
            }
            Situation::Keep(name) => {
                self.keep(&name, goal)?;
                self.point_profiles(&name, goal);
            }
            Situation::Create(name) => {
                self.create_pool(&name, goal)?;
                self.point_profiles(&name, goal);
            }
            Situation::Recreate(pool) => self.recreate(&pool, goal)?,
            Situation::Leave(pool) if self.migrates(goal)? => self.make_beside(&pool, goal)?,
            Situation::Leave(pool) => self.leave(&pool, goal),
        }
        self.note_broken_pools();
        Ok(())
    }

    /// A pin must mean exactly one instance.
    fn check_pins(&self, goal: &Goal) -> Result<(), Refusal> {
        let Pins::Named(names) = &goal.pins else {
            return Ok(());
        };
        for name in names {
            let found: Vec<String> = self
                .server()
                .instances
                .iter()
                .filter(|instance| matches(name, &instance.reference))
                .map(|instance| {
                    let Reference { project, name } = &instance.reference;
                    format!("{project}/{name}")
                })
                .collect();
            match found.len() {
                1 => {}
                0 => {
                    return Err(Refusal::new(
                        format!("--pin {name}: there is no instance of that name"),
                        ["see them all with: taos-setup status"],
                    ))
                }
                _ => {
                    return Err(Refusal::new(
                        format!("--pin {name}: that could be any of {}", found.join(", ")),
                        [format!("name one with its project: --pin {}", found[0])],
                    ))
                }
            }
        }
        Ok(())
    }

    /// Options that only make sense for a pool that is made, where none will be.
    fn refuse_stray_options(&self, goal: &Goal) -> Result<(), Refusal> {
        let Some(pool) = goal
            .pool
            .as_ref()
            .and_then(|name| self.server().pool(name.as_str()))
        else {
            return Ok(());
        };
        match goal.driver.name() {
            Some(driver) if driver != pool.driver && pool.driver != "dir" => Err(Refusal::new(
                format!(
                    "there is a pool {} already, with the driver {} and not {driver}",
                    pool.name, pool.driver
                ),
                [
                    format!("use it as it is: --pool {}", pool.name),
                    "or make another: --pool with a name that is free".into(),
                ],
            )),
            _ => Ok(()),
        }
    }

    /// Checks an existing pool that is to be used as it is.
    fn keep(&mut self, name: &str, goal: &Goal) -> Result<(), Refusal> {
        let Some(pool) = self.server().pool(name).cloned() else {
            return Ok(());
        };
        usable(&pool)?;
        if let Some(driver) = goal.driver.name().filter(|driver| *driver != pool.driver) {
            self.note(
                format!(
                    "launches use pool {name}, which is {} and clones; no {driver} pool is made",
                    pool.driver
                ),
                Some("for one beside it name it: --pool taos".into()),
            );
        }
        if goal.preallocate {
            self.hold_again(&pool)?;
        }
        self.note_members_without(&pool);
        let of_members = !(goal.member_sizes.is_empty() && goal.member_sources.is_empty());
        if goal.size.is_some() || goal.source.is_some() || of_members {
            self.note(
                format!("pool {name} is there already: --size and --source are for new ones"),
                Some(format!(
                    "to grow a loop file: incus storage set {name} size=…"
                )),
            );
        }
        self.pool = Some(name.to_owned());
        Ok(())
    }

    /// A member that has no part of a pool that is whole can be given none: it joined in a way that Incus does not know.
    fn note_members_without(&mut self, pool: &Pool) {
        let without: Vec<&str> = pool
            .parts
            .iter()
            .filter(|part| !part.is_there() && self.server().answers(&part.member))
            .map(|part| part.member.as_str())
            .collect();
        if without.is_empty() {
            return;
        }
        self.note(
            format!("{} has no part of pool {}", without.join(", "), pool.name),
            Some(format!(
                "Incus gives it one only as it joins: incus cluster remove {}, then let it join again",
                without[0]
            )),
        );
    }

    /// Fills the holes that a trim made in a preallocated file.
    fn hold_again(&mut self, pool: &Pool) -> Result<(), Refusal> {
        let Backing::LoopFile {
            path,
            size,
            allocated,
        } = &pool.backing
        else {
            self.note(
                format!(
                    "pool {} is in no file: there is nothing to preallocate",
                    pool.name
                ),
                None,
            );
            return Ok(());
        };
        if pool.driver != "btrfs" {
            self.note(
                format!(
                    "pool {} is {}; preallocating is for btrfs",
                    pool.name, pool.driver
                ),
                None,
            );
            return Ok(());
        }
        if !keeps_blocks(pool) {
            let options = pool.config.get("btrfs.mount_options");
            let options = options.map_or("user_subvol_rm_allowed", String::as_str);
            self.note(
                format!(
                    "pool {} gives freed blocks back, so preallocating it now would not last",
                    pool.name
                ),
                Some(format!(
                    "to change that: incus storage set {} btrfs.mount_options={options},nodiscard",
                    pool.name
                )),
            );
            return Ok(());
        }
        refuse_unholding(&self.facts.host, &pool.driver)?;
        let missing = size.saturating_sub(*allocated);
        let filesystem = &self.facts.host.incus_filesystem;
        if missing > filesystem.free {
            return Err(Refusal::new(
                format!(
                    "{path} needs {missing} more to be whole, and {} has {} free",
                    filesystem.mount_point, filesystem.free
                ),
                ["make room, then run it again"],
            ));
        }
        if missing > Bytes(0) {
            self.push(Step::HoldSpace {
                pool: pool.name.clone(),
                path: path.clone(),
                size: *size,
            });
        }
        Ok(())
    }

    /// Goes on with a pool that some members have their part of, and others not yet.
    fn complete(&mut self, name: &str, goal: &Goal) -> Result<(), Refusal> {
        self.create_pool(name, goal)?;
        self.note(
            format!("pool {name} was begun, and is not on all members of the cluster yet"),
            Some(format!(
                "to take it back instead: incus storage delete {name}"
            )),
        );
        Ok(())
    }

    fn create_pool(&mut self, name: &str, goal: &Goal) -> Result<(), Refusal> {
        let (pool, hold) = self.place_pool(name, goal)?;
        self.push(Step::CreatePool { pool });
        if let Some(hold) = hold {
            self.push(hold);
        }
        self.pool = Some(name.to_owned());
        Ok(())
    }

    /// Deletes an empty pool and makes it again under its name, with every profile as it was.
    fn recreate(&mut self, pool: &Pool, goal: &Goal) -> Result<(), Refusal> {
        usable(pool)?;
        let (mut new, hold) = self.place_pool(&pool.name, goal)?;
        new.description.clone_from(&pool.description);
        let holders: Vec<_> = self
            .server()
            .profiles
            .iter()
            .filter_map(|profile| {
                let (device, keys) = root_of(&profile.devices)?;
                (keys.get("pool") == Some(&pool.name)).then(|| {
                    let owner = Owner::Profile {
                        name: profile.reference.clone(),
                    };
                    (owner, device.clone(), keys.clone())
                })
            })
            .collect();
        for (owner, device, keys) in &holders {
            self.push(Step::SetDevice {
                owner: owner.clone(),
                device: device.clone(),
                from: Some(keys.clone()),
                to: None,
            });
        }
        self.push(Step::DeletePool {
            pool: spec_of(pool, &self.facts.host.incus_dir),
        });
        self.push(Step::CreatePool { pool: new });
        if let Some(hold) = hold {
            self.push(hold);
        }
        for (owner, device, keys) in holders {
            self.push(Step::SetDevice {
                owner,
                device,
                from: None,
                to: Some(keys),
            });
        }
        self.pool = Some(pool.name.clone());
        self.point_profiles(&pool.name, goal);
        Ok(())
    }

    /// Whether containers are moved in the same call; refuses names that do not mean exactly one.
    fn migrates(&self, goal: &Goal) -> Result<bool, Refusal> {
        let names = goal.migrate.as_ref();
        let names = names
            .map(|wanted| to_move(self.server(), wanted))
            .transpose()?;
        Ok(names.is_some_and(|names| !names.is_empty()))
    }

    /// Makes the pool that containers are to be moved to.  Launches follow once nobody is left on the other.
    fn make_beside(&mut self, pool: &Pool, goal: &Goal) -> Result<(), Refusal> {
        match beside(self.server()) {
            Ok(ready) => self.keep(&ready, goal)?,
            Err(free) => self.create_pool(&free, goal)?,
        }
        self.pool = Some(pool.name.clone());
        self.point_profiles(&pool.name, goal);
        Ok(())
    }

    /// Says what could be done about a pool that copies and is in use; does nothing.
    fn leave(&mut self, pool: &Pool, goal: &Goal) {
        let beside = free_pool_name(self.server());
        let pins = self.pins_for(&beside);
        let incus_dir = &self.facts.host.incus_dir;
        let why = why_kept(self.server(), pool, incus_dir).unwrap_or_default();
        self.note(
            format!(
                "pool {} ({}) copies at each launch; left as it is, because {why}",
                pool.name, pool.driver
            ),
            Some(if pins.is_empty() {
                "for a copy-on-write pool beside it for new agents: taos-setup --beside".into()
            } else {
                let names: Vec<String> = pins.iter().map(ToString::to_string).collect();
                format!(
                    "for a copy-on-write pool beside it for new agents: taos-setup --beside --pin {}",
                    names.join(",")
                )
            }),
        );
        self.choices = vec![
            Choice::Leave {
                pool: pool.name.clone(),
            },
            Choice::Beside {
                pool: pool.name.clone(),
                beside,
                pins,
            },
        ];
        self.pool = Some(pool.name.clone());
        self.point_profiles(&pool.name, goal);
    }

    /// Pools that launches do not use, but that are in a bad state.
    fn note_broken_pools(&mut self) {
        let pools = &self.server().pools;
        let broken = pools.iter().filter(|pool| pool.status != "Created");
        let mut broken: Vec<(String, Option<String>)> = broken
            .map(|pool| {
                let reason = pool.reason.clone();
                (format!("pool {} is {}", pool.name, pool.status), reason)
            })
            .collect();
        // Whole on this member, and maybe not on another one.
        for pool in pools.iter().filter(|pool| pool.status == "Created") {
            let parts = pool.parts.iter().filter(|part| part.is_there());
            broken.extend(parts.filter(|part| part.status != "Created").map(|part| {
                let what = format!(
                    "pool {} is {} on member {}",
                    pool.name, part.status, part.member
                );
                let hint = format!("see why on {}: incus warning list", part.member);
                (what, Some(hint))
            }));
        }
        for (what, reason) in broken {
            self.note(what, reason);
        }
    }
}

/// A pool as it would have to be made to be what it is now.
fn spec_of(pool: &Pool, incus_dir: &str) -> PoolSpec {
    PoolSpec {
        name: pool.name.clone(),
        driver: pool.driver.clone(),
        // `why_kept` let only the default folder through, which is made by naming none.
        config: crate::facts::Config::new(),
        description: pool.description.clone(),
        place: PoolPlace::Directory {
            path: format!("{incus_dir}/storage-pools/{}", pool.name),
        },
        parts: pool
            .parts
            .iter()
            .map(|part| PartSpec {
                member: part.member.clone(),
                config: crate::facts::Config::new(),
            })
            .collect(),
    }
}
