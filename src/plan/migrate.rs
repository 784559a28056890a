//! Which containers are moved to which pool, what stands in the way, and what follows from it.

mod accept;
mod along;
mod as_it_was;
mod follow;
mod kept;
mod leftovers;
mod members;
mod obstacles;
mod old_pool;
mod outlook;
mod together;

pub use accept::{same_losses, Loss, Lossy};
pub use along::{foreseen, to_move, with_set_up};
pub use as_it_was::{as_it_was, notes_of};
pub use kept::{finish, kept};
pub use leftovers::{resolve, say, Verdict};
pub use members::{on_this_member, Deed};
pub use old_pool::{emptied, may_be_deleted, without};
pub use outlook::line;
pub use together::may_be_copied_together;

use accept::{loss_of_kept, losses, too_small};
use follow::drop_overrides;
use obstacles::{notes, obstacle, room};

use serde::Serialize;

use super::situation::{beside, free_pool_name};
use super::{goal::matches, Approved, Goal, Plan, Planner, PoolName, Refusal};
use crate::facts::{root_of, Backing, Bytes, Config, Facts, Instance, Pool, Reference, Server};
use crate::step::migration::{Migration, Part, Restriction, COPY_MARK, KEPT_MARK, LOW_LEVEL};
use crate::step::{Owner, Step};

/// Incus's longest name of an instance.
const LONGEST: usize = 63;

/// What is to be migrated.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct Wanted {
    /// `name`, or `project/name`; none for all.
    pub names: Vec<String>,
    pub from: Option<PoolName>,
    pub to: Option<PoolName>,
    /// All on this member of the cluster.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub member: Option<String>,
    pub thorough: bool,
    /// By Incus's own move.
    pub plain: bool,
    /// Let each original go as soon as its copy has run for so many seconds.
    pub delete_after: Option<u64>,
}

/// The containers that are meant: exactly those that were named, or all that copy at a launch.
///
/// # Errors
/// If a name means none, or several, or was given twice; or a member that is not this one.
pub fn selected(server: &Server, wanted: &Wanted) -> Result<Vec<Reference>, Refusal> {
    members::meant(server, wanted)?;
    if wanted.names.is_empty() {
        let there = |instance: &Instance| {
            let member = wanted.member.as_ref();
            member.is_none_or(|member| instance.location == *member)
        };
        let all = server.instances.iter().filter(|instance| {
            let pool = instance.pool.as_deref().and_then(|name| server.pool(name));
            let meant = || match (&wanted.from, pool) {
                (Some(from), Some(pool)) => pool.name == from.as_str(),
                (None, Some(pool)) => !pool.copy_on_write(),
                (_, None) => false,
            };
            // What is on a member that does not answer could be one of them.
            there(instance) && (instance.untold() || is_own(instance) && meant())
        });
        return Ok(all.map(|instance| instance.reference.clone()).collect());
    }
    let mut found = Vec::new();
    for name in &wanted.names {
        let reference = one(server, name)?;
        if found.contains(&reference) {
            return Err(Refusal::new(
                format!("{name} is named twice"),
                ["name each container once; nothing was touched"],
            ));
        }
        found.push(reference);
    }
    Ok(found)
}

/// The one instance that a name means.
///
/// # Errors
/// If it means none, or several.
pub fn one(server: &Server, name: &str) -> Result<Reference, Refusal> {
    let found: Vec<&Reference> = server
        .instances
        .iter()
        .map(|instance| &instance.reference)
        .filter(|reference| matches(name, reference))
        .collect();
    match found[..] {
        [reference] => Ok(reference.clone()),
        [] => Err(Refusal::new(
            format!("there is no instance {name}"),
            ["see them all with: taos-setup status"],
        )),
        _ => {
            let names: Vec<String> = found
                .iter()
                .map(|it| format!("{}/{}", it.project, it.name))
                .collect();
            Err(Refusal::new(
                format!("{name} could be any of {}", names.join(", ")),
                [format!("name one with its project: {}", names[0])],
            ))
        }
    }
}

/// Whether an instance is somebody's, and not a copy or a kept original of this program's.
#[must_use]
pub fn is_own(instance: &Instance) -> bool {
    let config = &instance.record.config;
    !config.contains_key(COPY_MARK) && !config.contains_key(KEPT_MARK)
}

/// Decides how these containers are moved.
///
/// # Errors
/// If anything stands in the way of one that was named, or of all; nothing was touched then.
pub fn plan(facts: &Facts, wanted: &Wanted, names: &[Reference]) -> Result<Plan, Refusal> {
    let Some(server) = facts.server() else {
        return Err(Refusal::new(
            "the Incus daemon does not answer",
            ["start it, or let this do it: taos-setup"],
        ));
    };
    members::takes_instances(server)?;
    let mut planner = Planner::new(facts);
    let to = target(server, wanted);
    match server.pool(&to) {
        Some(pool) => usable(server, pool, wanted)?,
        // It is made on all members, or on none.
        None if server.clustered => {
            return Err(Refusal::new(
                format!("there is no storage pool {to} that containers could be moved to"),
                ["make it on all members of the cluster first: taos-setup --beside"],
            ))
        }
        None => planner.make_pool(&to)?,
    }
    let there = foreseen(&planner.facts, &[]);
    let target = there.server().and_then(|server| server.pool(&to));
    planner.pool = Some(to.clone());
    // On `dir` a size is only a wish.
    let holds = target.filter(|pool| pool.driver != "dir");
    let all = holds.and_then(|pool| Some(pool.space?.total));
    let mut moved = Vec::new();
    let mut lost = Vec::new();
    for name in names {
        match migration(server, wanted, name, &to) {
            Ok(migration) => {
                let details = &server.details[name];
                planner.notes.extend(notes(&migration, details));
                lost.extend(losses(&migration, details, all));
                let goes = server
                    .instance(name)
                    .filter(|_| wanted.delete_after.is_some());
                lost.extend(goes.and_then(|original| loss_of_kept(original, name)));
                moved.push(migration);
            }
            // Who asks for all of them asks for all that can be moved.
            Err(why) if wanted.names.is_empty() => planner.note(
                format!("{name} stays where it is: {}", why.what),
                why.hints.first().cloned(),
            ),
            Err(why) => return Err(why),
        }
    }
    let freed = freed(server, wanted, &moved);
    target.map_or(Ok(()), |pool| room(facts, pool, &moved, &freed))?;
    if moved.is_empty() {
        planner.steps.clear();
    }
    let mut then = profiles(server, &moved);
    then.extend(drop_overrides(server, &moved, &then));
    for it in moved {
        let delete = wanted.delete_after.map(|_| it.step(Part::DeleteKept));
        planner.steps.extend(it.steps());
        planner.steps.extend(delete);
    }
    planner.steps.extend(then);
    let clones = planner.server().pool(&to).is_some_and(Pool::copy_on_write);
    Ok(Plan {
        steps: planner.steps,
        notes: planner.notes,
        losses: lost,
        open_end: false,
        choices: Vec::new(),
        image: None,
        pool: planner.pool,
        clones,
    })
}

impl Planner {
    /// The pool as a set-up would make it; no profile names it yet.
    fn make_pool(&mut self, name: &str) -> Result<(), Refusal> {
        let (pool, _) = self.place_pool(name, &Goal::default())?;
        if pool.driver != "btrfs" {
            return Err(Refusal::new(
                format!(
                    "a new pool would be {}, and a migration makes none but btrfs ones",
                    pool.driver
                ),
                ["let the set-up make it: taos-setup --beside; then migrate"],
            ));
        }
        self.push(Step::CreatePool { pool });
        // No package is installed on the way to a migration.
        let missing = ["btrfs", "mkfs.btrfs"]
            .into_iter()
            .find(|tool| !self.facts.host.tools.contains_key(*tool));
        match missing {
            Some(tool) => Err(Refusal::new(
                format!("a btrfs pool needs {tool}, which is not installed"),
                ["let the set-up install it and make the pool: taos-setup --beside"],
            )),
            None => Ok(()),
        }
    }
}

/// What follows for profiles: one whose root disk nobody takes any more once these are moved is
/// pointed to the new pool, and who has the very same root disk of its own takes it from there again.
/// Nothing as long as it is not known of each instance where it takes its root disk from.
fn profiles(server: &Server, moved: &[Migration]) -> Vec<Step> {
    let mut steps = Vec::new();
    if server.instances.iter().any(Instance::untold) {
        return steps;
    }
    let clones = |pool: &str| server.pool(pool).is_none_or(Pool::copy_on_write);
    for profile in &server.profiles {
        let Some((device, keys)) = root_of(&profile.devices) else {
            continue;
        };
        let inheritors: Vec<&Reference> = server
            .inheritors(profile)
            .map(|instance| &instance.reference)
            .collect();
        let heirs: Vec<&Migration> = moved
            .iter()
            .filter(|it| inheritors.contains(&&it.name) && it.root.0 == *device)
            // What goes back to a pool that copies does not take new launches along.
            .filter(|it| clones(&it.to) && !clones(&it.from))
            .collect();
        if heirs.is_empty() || heirs.len() < inheritors.len() {
            continue;
        }
        let there = heirs[0].root.1.clone();
        steps.push(Step::SetDevice {
            owner: Owner::Profile {
                name: profile.reference.clone(),
            },
            device: device.clone(),
            from: Some(keys.clone()),
            to: Some(there.clone()),
        });
        steps.extend(heirs.iter().map(|of| Step::SetDevice {
            owner: Owner::Instance {
                name: of.name.clone(),
            },
            device: device.clone(),
            from: Some(there.clone()),
            to: None,
        }));
    }
    steps
}

/// The pool that was named, or that launches use if it clones, or else `taos`.
fn target(server: &Server, wanted: &Wanted) -> String {
    if let Some(name) = &wanted.to {
        return name.to_string();
    }
    let used = server
        .profile(&Reference::new("default", "default"))
        .and_then(|profile| root_of(&profile.devices))
        .and_then(|(_, keys)| server.pool(keys.get("pool")?));
    let ours = beside(server).ok().and_then(|name| server.pool(&name));
    [used, ours]
        .into_iter()
        .flatten()
        .find(|pool| pool.copy_on_write())
        .map_or_else(|| free_pool_name(server), |pool| pool.name.clone())
}

fn usable(server: &Server, pool: &Pool, wanted: &Wanted) -> Result<(), Refusal> {
    if pool.status != "Created" {
        return Err(Refusal::new(
            format!("storage pool {} is {}", pool.name, pool.status),
            ["repair it, or name another: --to POOL"],
        ));
    }
    let part = server.here().and_then(|here| pool.part(here));
    if let Some(part) = part.filter(|part| part.status != "Created") {
        return Err(Refusal::new(
            format!(
                "storage pool {} is {} on this member, {}",
                pool.name, part.status, part.member
            ),
            ["let the set-up complete it: taos-setup; or name another: --to POOL"],
        ));
    }
    if !can_be_proven(server, pool, wanted) {
        return Err(Refusal::new(
            format!(
                "pool {} is {}: a copy on it cannot be looked into while it is stopped, and so \
                 not be proven to be whole",
                pool.name, pool.driver
            ),
            ["name a btrfs pool: --to POOL"],
        ));
    }
    Ok(())
}

/// Whether what lies on a pool can be compared.  On ZFS it is mounted for that; Incus's own move
/// leaves nothing there that could be told from an empty folder, should it be cut short.
fn can_be_proven(server: &Server, pool: &Pool, wanted: &Wanted) -> bool {
    pool.is_looked_into() || (pool.datasets().is_some() && !server.clustered && !wanted.plain)
}

fn migration(
    server: &Server,
    wanted: &Wanted,
    name: &Reference,
    to: &str,
) -> Result<Migration, Refusal> {
    let (Some(instance), Some(details)) = (server.instance(name), server.details.get(name)) else {
        return Err(Refusal::new(
            format!("there is no instance {name}"),
            [""; 0],
        ));
    };
    let record = &instance.record;
    let root = root_of(&record.expanded_devices);
    let pool = instance.pool.as_deref().and_then(|pool| server.pool(pool));
    let (Some((root, keys)), Some(pool)) = (root, pool) else {
        return Err(Refusal::new(
            format!("{name} has no root disk on any pool"),
            [format!(
                "look at it: incus config show {} --expanded",
                name.name
            )],
        ));
    };
    obstacle(server, wanted, instance, details, pool, to)?;
    let mut there: Config = keys.clone();
    there.insert("pool".into(), to.to_owned());
    let shares = server.pool(to).is_none_or(Pool::copy_on_write);
    let seed = record.config.get("volatile.base_image").filter(|base| {
        let here = |project: &str| project == name.project || project == "default";
        let images = &server.images;
        shares
            && images
                .iter()
                .any(|it| it.fingerprint == **base && here(&it.project))
    });
    let migration = Migration {
        name: name.clone(),
        from: pool.name.clone(),
        to: to.to_owned(),
        member: instance.location.clone(),
        copy: free_name(server, name, "copy"),
        kept: free_name(server, name, "kept"),
        was: record.clone(),
        devices: instance.devices.clone(),
        snapshots: details.snapshots.clone(),
        root: (root.clone(), there),
        running: instance.status == "Running",
        seed: seed.cloned(),
        paths: details.paths,
        landing: if shares {
            details.landing
        } else {
            details.unshared
        },
        thorough: wanted.thorough,
        restricted: restricted(server, name),
        plain: wanted.plain,
        then: None,
    };
    match too_small(&migration, details, server.pool(to)) {
        Some(refusal) => Err(refusal),
        None => Ok(migration),
    }
}

/// What becomes free on the host before the next one is copied, of each.
fn freed(server: &Server, wanted: &Wanted, moved: &[Migration]) -> Vec<Bytes> {
    let of = |it: &Migration| {
        let pool = server.pool(&it.from).map(|pool| &pool.backing);
        // Elsewhere, and in a loop file, it does not become free for anything else.
        let on_host = matches!(pool, Some(Backing::Directory { .. }));
        let goes = it.plain || wanted.delete_after.is_some();
        let taken = server.details.get(&it.name).map(|details| details.taken);
        taken.filter(|_| on_host && goes).unwrap_or(Bytes(0))
    };
    moved.iter().map(of).collect()
}

/// Whether its project forbids to set an identity, and how that is written down there.
fn restricted(server: &Server, name: &Reference) -> Option<Restriction> {
    let config = server.projects.get(&name.project)?;
    let is = |key: &str, value: &str| config.get(key).map(String::as_str) == Some(value);
    // One with any limit forbids it as well, though it is not restricted (Incus 6.0.4).
    let limits = config.keys().any(|key| key.starts_with("limits."));
    let forbids = (limits || is("restricted", "true")) && !is(LOW_LEVEL, "allow");
    let was = config.get(LOW_LEVEL).cloned();
    forbids.then_some(Restriction { was })
}

impl Approved {
    /// The first `count` steps, and the others.
    #[must_use]
    pub fn split(mut self, count: usize) -> (Approved, Approved) {
        let others = self.steps.split_off(count.min(self.steps.len()));
        (self, Approved { steps: others })
    }

    /// What comes before any migration, then each migration: to be run, and recorded, on its own, so
    /// that one that fails leaves the others alone.
    #[must_use]
    pub fn one_by_one(self) -> Vec<Approved> {
        let mut runs: Vec<Approved> = Vec::new();
        for step in self.steps {
            let deletes = |step: &Step| {
                matches!(
                    step,
                    Step::Migrate {
                        part: Part::DeleteKept,
                        ..
                    }
                )
            };
            let of = |step: &Step| {
                let of = step.migrates();
                of.map(|it| (it.name.clone(), it.kept.clone(), deletes(step)))
            };
            match runs.last_mut() {
                Some(run) if run.steps.last().and_then(of) == of(&step) => run.steps.push(step),
                _ => runs.push(Approved { steps: vec![step] }),
            }
        }
        runs
    }
}

/// A name for a copy or a kept original: never one that begins as an agent's does.
fn free_name(server: &Server, of: &Reference, what: &str) -> String {
    std::iter::once(String::new())
        .chain((2..).map(|number: u32| number.to_string()))
        .map(|number| {
            let mut name = format!("taos-{what}{number}-{}", of.name);
            name.truncate(LONGEST);
            name.trim_end_matches('-').to_owned()
        })
        .find(|name| {
            server
                .instance(&Reference::new(of.project.clone(), name.as_str()))
                .is_none()
        })
        .unwrap_or_default()
}

#[cfg(test)]
mod tests;
