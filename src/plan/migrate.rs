//! Which containers are moved to which pool, what stands in the way, and what follows from it.

use super::pool::free_pool_name;
use super::{goal::matches, Approved, Goal, Note, Plan, Planner, PoolName, Refusal};
use crate::facts::{
    root_of, Backing, Bytes, Config, Details, Facts, Instance, Pool, Reference, Server,
};
use crate::step::migration::{Migration, Part, Restriction, COPY_MARK, KEPT_MARK, LOW_LEVEL};
use crate::step::{PoolPlace, Step};

/// What a pool keeps free, as a copy-on-write filesystem needs room to change anything.
const POOL_RESERVE: Bytes = Bytes::mib(64);
/// Incus's longest name of an instance.
const LONGEST: usize = 63;

/// What is to be migrated.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Wanted {
    /// `name`, or `project/name`; none for all.
    pub names: Vec<String>,
    pub from: Option<PoolName>,
    pub to: Option<PoolName>,
    pub thorough: bool,
}

/// The containers that are meant: exactly those that were named, or all that copy at a launch.
///
/// # Errors
/// If a name means none, or several, or was given twice.
pub fn selected(server: &Server, wanted: &Wanted) -> Result<Vec<Reference>, Refusal> {
    if wanted.names.is_empty() {
        let all = server.instances.iter().filter(|instance| {
            let pool = instance.pool.as_deref().and_then(|name| server.pool(name));
            is_own(instance)
                && match (&wanted.from, pool) {
                    (Some(from), Some(pool)) => pool.name == from.as_str(),
                    (None, Some(pool)) => !pool.copy_on_write(),
                    (_, None) => false,
                }
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
    if server.clustered {
        return Err(Refusal::new(
            "this server is a member of a cluster; taos-setup does not migrate there yet",
            ["by hand: incus move NAME --storage POOL, on the member that it is on"],
        ));
    }
    let mut planner = Planner::new(facts);
    let to = target(server, wanted);
    let made = match server.pool(&to) {
        Some(pool) => {
            usable(pool)?;
            None
        }
        None => Some(planner.make_pool(&to)?),
    };
    planner.pool = Some(to.clone());
    let mut moved = Vec::new();
    for name in names {
        match migration(server, wanted, name, &to) {
            Ok((migration, notes)) => {
                planner.notes.extend(notes);
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
    room(facts, server.pool(&to), made, &moved)?;
    if moved.is_empty() {
        planner.steps.clear();
    }
    let steps = moved.into_iter().flat_map(Migration::steps);
    planner.steps.extend(steps);
    let clones = planner.server().pool(&to).is_some_and(Pool::copy_on_write);
    Ok(Plan {
        steps: planner.steps,
        notes: planner.notes,
        open_end: false,
        choices: Vec::new(),
        pool: planner.pool,
        clones,
    })
}

impl Planner {
    /// The pool as a set-up would make it; no profile names it yet.  Its size, if it has one.
    fn make_pool(&mut self, name: &str) -> Result<Option<Bytes>, Refusal> {
        let (pool, _) = self.place_pool(name, &Goal::default())?;
        if pool.driver != "btrfs" {
            return Err(Refusal::new(
                format!(
                    "a new pool would be {}, and only to btrfs can be proven",
                    pool.driver
                ),
                ["make a btrfs pool first, and name it: taos-setup migrate --to POOL"],
            ));
        }
        let size = match pool.place {
            PoolPlace::LoopFile { size, .. } => Some(size),
            _ => None,
        };
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
            None => Ok(size),
        }
    }
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
    let ours = server.pool("taos");
    [used, ours]
        .into_iter()
        .flatten()
        .find(|pool| pool.copy_on_write())
        .map_or_else(|| free_pool_name(server), |pool| pool.name.clone())
}

fn usable(pool: &Pool) -> Result<(), Refusal> {
    if pool.status != "Created" {
        return Err(Refusal::new(
            format!("storage pool {} is {}", pool.name, pool.status),
            ["repair it, or name another: --to POOL"],
        ));
    }
    if !looked_into(&pool.driver) {
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

/// The drivers whose volumes are plain folders, also while nothing runs on them.
fn looked_into(driver: &str) -> bool {
    matches!(driver, "dir" | "btrfs")
}

fn migration(
    server: &Server,
    wanted: &Wanted,
    name: &Reference,
    to: &str,
) -> Result<(Migration, Vec<Note>), Refusal> {
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
    let seed = record.config.get("volatile.base_image").filter(|base| {
        let clones = server.pool(to).is_none_or(Pool::copy_on_write);
        let here = |project: &str| project == name.project || project == "default";
        let images = &server.images;
        clones
            && images
                .iter()
                .any(|it| it.fingerprint == **base && here(&it.project))
    });
    let migration = Migration {
        name: name.clone(),
        from: pool.name.clone(),
        to: to.to_owned(),
        copy: free_name(server, name, "copy"),
        kept: free_name(server, name, "kept"),
        was: record.clone(),
        devices: instance.devices.clone(),
        snapshots: details.snapshots.clone(),
        root: (root.clone(), there),
        running: instance.status == "Running",
        seed: seed.cloned(),
        paths: details.paths,
        landing: details.landing,
        thorough: wanted.thorough,
        restricted: restricted(server, name),
    };
    let notes = notes(server, &migration, details);
    Ok((migration, notes))
}

/// Whether its project forbids to set an identity, and how that is written down there.
fn restricted(server: &Server, name: &Reference) -> Option<Restriction> {
    let config = server.projects.get(&name.project)?;
    let is = |key: &str, value: &str| config.get(key).map(String::as_str) == Some(value);
    let forbids = is("restricted", "true") && !is(LOW_LEVEL, "allow");
    let was = config.get(LOW_LEVEL).cloned();
    forbids.then_some(Restriction { was })
}

/// What stands in the way of moving an instance.
fn obstacle(
    server: &Server,
    wanted: &Wanted,
    instance: &Instance,
    details: &Details,
    pool: &Pool,
    to: &str,
) -> Result<(), Refusal> {
    let name = &instance.reference;
    let refuse = |what: String, hint: &str| Err(Refusal::new(what, [hint]));
    if instance.kind != "container" {
        return refuse(
            format!("{name} is a virtual machine"),
            "Incus moves those while they run: incus move NAME --storage POOL",
        );
    }
    if !is_own(instance) {
        return refuse(
            format!("{name} is a copy or a kept original of an earlier migration"),
            "see what it belongs to with: taos-setup migrate --status",
        );
    }
    if name.name.starts_with("move-of-") {
        return refuse(
            format!("{name} is what a move left behind that was cut short"),
            "compare it with its original before you rename or delete it",
        );
    }
    if instance.record.ephemeral {
        return refuse(
            format!("{name} is ephemeral: stopping it would delete it"),
            "make it lasting first: incus config set NAME -p ephemeral=false",
        );
    }
    if !matches!(instance.status.as_str(), "Running" | "Stopped") {
        return refuse(
            format!("{name} is {}", instance.status),
            "start or stop it first",
        );
    }
    if pool.name == to {
        return refuse(
            format!("{name} is on pool {to} already"),
            "name another pool with --to, or leave it out",
        );
    }
    if wanted
        .from
        .as_ref()
        .is_some_and(|from| from.as_str() != pool.name)
    {
        return refuse(
            format!("{name} is on pool {}, and not where --from says", pool.name),
            "leave --from out, or leave it out",
        );
    }
    if !looked_into(&pool.driver) {
        return refuse(
            format!(
                "{name} is on a {} pool, which cannot be looked into",
                pool.driver
            ),
            "by hand: incus stop NAME, incus move NAME --storage POOL, incus start NAME",
        );
    }
    if details.busy {
        return refuse(
            format!("an operation is at work on {name}"),
            "wait until it is through (incus operation list), then run this again",
        );
    }
    let uuid = instance.record.config.get("volatile.uuid");
    let twin = server.instances.iter().find(|other| {
        other.reference.name.starts_with("move-of-")
            && uuid.is_some()
            && other.record.config.get("volatile.uuid") == uuid
    });
    if let Some(twin) = twin {
        return refuse(
            format!(
                "beside {name} there is {}, left by a move that was cut short",
                twin.reference
            ),
            "compare the two, and delete the lesser one, before anything else",
        );
    }
    for snapshot in &details.snapshots {
        if snapshot.stateful {
            return refuse(
                format!(
                    "snapshot {name}/{} holds the state of its memory",
                    snapshot.name
                ),
                "delete or export it first",
            );
        }
        if snapshot.profiles != instance.record.profiles {
            return refuse(
                format!(
                    "snapshot {name}/{} has the profiles {}, and a copy would give it {}",
                    snapshot.name,
                    snapshot.profiles.join(", "),
                    instance.record.profiles.join(", ")
                ),
                "delete it, or give the container those profiles, first",
            );
        }
    }
    Ok(())
}

/// What changes along, and what does not come along.
fn notes(server: &Server, of: &Migration, details: &Details) -> Vec<Note> {
    let name = &of.name;
    let mut notes = Vec::new();
    let mut note = |what: String, hint: &str| {
        let hint = Some(hint.to_owned()).filter(|hint| !hint.is_empty());
        notes.push(Note { what, hint });
    };
    if !details.backups.is_empty() {
        note(
            format!(
                "the backups of {name} ({}) stay with the kept original",
                details.backups.join(", ")
            ),
            "export them before you let that go",
        );
    }
    let sized =
        |keys: Option<(&String, &Config)>| keys.is_some_and(|(_, it)| it.contains_key("size"));
    for snapshot in &of.snapshots {
        if sized(root_of(&snapshot.expanded_devices)) && !sized(root_of(&snapshot.devices)) {
            note(
                format!(
                    "snapshot {name}/{} has its root size from a profile, and loses it: Incus \
                     writes its root disk down without",
                    snapshot.name
                ),
                "set it again after restoring: incus config device set NAME root size=…",
            );
        }
    }
    let attached: Vec<&str> = of
        .was
        .expanded_devices
        .iter()
        .filter(|(device, keys)| **device != of.root.0 && keys.contains_key("pool"))
        .map(|(device, _)| device.as_str())
        .collect();
    if !attached.is_empty() {
        note(
            format!(
                "{name} uses custom volumes ({}); they stay where they are",
                attached.join(", ")
            ),
            "",
        );
    }
    let size = of
        .root
        .1
        .get("size")
        .and_then(|size| size.parse::<Bytes>().ok());
    let total = server
        .pool(&of.to)
        .and_then(|pool| pool.space)
        .map(|space| space.total);
    if let (Some(size), Some(total)) = (size, total) {
        if size > total {
            note(
                format!(
                    "the root size of {name}, {size}, is more than all of pool {}",
                    of.to
                ),
                "it stays set; the pool is what limits it",
            );
        }
    }
    notes
}

/// Whether everything fits at once, on the pool and on the host, as it lands.
fn room(
    facts: &Facts,
    pool: Option<&Pool>,
    made: Option<Option<Bytes>>,
    moved: &[Migration],
) -> Result<(), Refusal> {
    let landing = moved
        .iter()
        .fold(Bytes(0), |sum, it| sum.saturating_add(it.landing));
    let needed = landing.saturating_add(POOL_RESERVE);
    let host = &facts.host.incus_filesystem;
    let free = match (pool, made) {
        (Some(pool), _) => pool
            .space
            .map(|space| space.total.saturating_sub(space.used)),
        (None, Some(size)) => size,
        (None, None) => None,
    };
    let refuse = |place: String, free: Bytes| {
        Err(Refusal::new(
            format!("{needed} may be needed, and {place} has {free} free"),
            [
                "migrate fewer at once, and let each original go before the next".to_owned(),
                "or make room; nothing was touched".to_owned(),
            ],
        ))
    };
    if let Some(free) = free.filter(|free| *free < needed) {
        let name = pool.map_or("the new pool", |pool| pool.name.as_str());
        return refuse(format!("pool {name}"), free);
    }
    let on_host = pool.is_none_or(|pool| {
        matches!(pool.backing, Backing::LoopFile { allocated, size, .. } if allocated < size)
            || pool.driver == "dir"
    });
    if on_host && host.free < needed && !moved.is_empty() {
        return refuse(host.mount_point.clone(), host.free);
    }
    Ok(())
}

impl Approved {
    /// What comes before any migration, then each migration: to be run, and recorded, on its own, so
    /// that one that fails leaves the others alone.
    #[must_use]
    pub fn one_by_one(self) -> Vec<Approved> {
        let mut runs: Vec<Approved> = Vec::new();
        for step in self.steps {
            let of = |step: &Step| step.migrates().map(|it| (it.name.clone(), it.kept.clone()));
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

/// The originals that are kept, with what became of them.
#[must_use]
pub fn kept(server: &Server) -> Vec<(&Instance, Reference)> {
    server
        .instances
        .iter()
        .filter_map(|instance| {
            let name = instance.record.config.get(KEPT_MARK)?;
            let project = instance.reference.project.clone();
            Some((instance, Reference::new(project, name.as_str())))
        })
        .collect()
}

/// The steps that delete kept originals: of these containers, or of all.
///
/// # Errors
/// If one may not go.
pub fn finish(facts: &Facts, names: &[Reference]) -> Result<Vec<Step>, Refusal> {
    let Some(server) = facts.server() else {
        return Ok(Vec::new());
    };
    let mut steps = Vec::new();
    for (instance, name) in kept(server) {
        if !names.is_empty() && !names.contains(&name) {
            continue;
        }
        let stands_in = server.instance(&name);
        let details = server.details.get(&instance.reference);
        let backups = details.map(|it| it.backups.join(", ")).unwrap_or_default();
        if !backups.is_empty() {
            return Err(Refusal::new(
                format!(
                    "{} has backups, which would go with it: {backups}",
                    instance.reference
                ),
                ["export what you need, delete them, and run this again"],
            ));
        }
        let of = Migration {
            kept: instance.reference.name.clone(),
            from: instance.pool.clone().unwrap_or_default(),
            to: stands_in.and_then(|it| it.pool.clone()).unwrap_or_default(),
            copy: String::new(),
            was: instance.record.clone(),
            devices: instance.devices.clone(),
            snapshots: Vec::new(),
            root: (String::new(), Config::new()),
            running: false,
            seed: None,
            paths: 0,
            landing: Bytes(0),
            thorough: false,
            restricted: None,
            name,
        };
        let step = of.step(Part::DeleteKept);
        if let Some(why) = step.blocked(facts) {
            return Err(Refusal::new(why, ["nothing was deleted"]));
        }
        steps.push(step);
    }
    Ok(steps)
}
