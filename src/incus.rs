//! Speaking Incus: questions as JSON in, changes as argument vectors out.

use std::path::Path;
use std::time::{Duration, Instant};

use anyhow::{bail, Context as _, Result};

use crate::facts::{Bytes, Details, Facts, Incus, Instance, Reference, Server, Snapshot};
use crate::host::command::CommandErrorKind;
use crate::host::{tree, CommandError, Machine};
use crate::step::Scope;

mod cluster;
mod commands;
pub mod images;
mod read;
mod strays;
pub mod upload;

pub use cluster::room_of;
pub use commands::{commands_of, Commands};
pub use strays::{only_in, since, strays};

/// Reads the daemon's state in five questions, a sixth where a pool is broken; in a cluster every
/// member is asked as well.
///
/// # Errors
/// If the daemon does not answer in time, or answers what this program cannot read.
pub fn probe(machine: &Machine, installed: bool) -> Result<Incus> {
    if !installed {
        return Ok(Incus::Absent);
    }
    let document = match query(machine, "/1.0") {
        Ok(document) => document,
        Err(error) => return silence(error),
    };
    let mut server = read::server(&document)?;
    // The client takes some 20 ms a call, most of it starting up.
    let (pools, profiles, instances, networks) = std::thread::scope(|scope| {
        let ask = |path: &'static str| scope.spawn(move || ask(machine, path));
        let asked = [PROFILES, INSTANCES, NETWORKS].map(ask);
        let pools = self::ask(machine, POOLS);
        let [profiles, instances, networks] = asked.map(|thread| {
            thread
                .join()
                .unwrap_or_else(|_| bail!("asking Incus: panicked"))
        });
        (pools, profiles, instances, networks)
    });
    server.pools = read::pools(&pools?)?;
    server.profiles = read::profiles(&profiles?)?;
    server.instances = read::instances(&instances?, &server.profiles)?;
    server.networks = read::networks(&networks?)?;
    cluster::look(machine, &mut server)?;
    explain_broken_pools(machine, &mut server);
    Ok(Incus::Answering(Box::new(server)))
}

const POOLS: &str = "/1.0/storage-pools?recursion=1";
const PROFILES: &str = "/1.0/profiles?recursion=1&all-projects=true";
const INSTANCES: &str = "/1.0/instances?recursion=1&all-projects=true";
const PROJECTS: &str = "/1.0/projects?recursion=1";
const IMAGES: &str = "/1.0/images?recursion=1&all-projects=true";
const NETWORKS: &str = "/1.0/networks?recursion=1";

/// Reads again the part of the daemon's state that a step changes.
///
/// # Errors
/// As [`probe`].
pub fn refresh(machine: &Machine, facts: &mut Facts, scope: Scope) -> Result<()> {
    let Incus::Answering(server) = &mut facts.incus else {
        return Ok(());
    };
    match scope {
        Scope::Everything => {}
        Scope::Pools => {
            look_at_pools(machine, server)?;
        }
        Scope::Networks => server.networks = read::networks(&ask(machine, NETWORKS)?)?,
        Scope::Projects => server.projects = read::projects(&ask(machine, PROJECTS)?)?,
        Scope::Image => {
            look_at_pools(machine, server)?;
            server.images = read::images(&ask(machine, IMAGES)?)?;
        }
        Scope::Profiles => server.profiles = read::profiles(&ask(machine, PROFILES)?)?,
        Scope::Instances => {
            server.instances = read::instances(&ask(machine, INSTANCES)?, &server.profiles)?;
        }
    }
    Ok(())
}

fn look_at_pools(machine: &Machine, server: &mut Server) -> Result<()> {
    server.pools = read::pools(&ask(machine, POOLS)?)?;
    cluster::look(machine, server)?;
    explain_broken_pools(machine, server);
    Ok(())
}

/// Adds the images, where they matter.
///
/// # Errors
/// As [`probe`].
pub fn look_at_images(machine: &Machine, facts: &mut Facts) -> Result<()> {
    if let Incus::Answering(server) = &mut facts.incus {
        server.images = read::images(&ask(machine, IMAGES)?)?;
    }
    Ok(())
}

/// Adds what only a closer look shows: the images, and how full the pools are.
///
/// # Errors
/// As [`probe`].
pub fn look_closer(machine: &Machine, server: &mut Server) -> Result<()> {
    server.images = read::images(&ask(machine, IMAGES)?)?;
    for pool in &mut server.pools {
        // A pool that is broken has no figures; that it is broken is said elsewhere.
        pool.space = ask(
            machine,
            &format!("/1.0/storage-pools/{}/resources", pool.name),
        )
        .ok()
        .and_then(|text| read::space(&text).ok());
    }
    Ok(())
}

/// Adds what is to be known of instances before they are migrated, or tidied up after.
///
/// # Errors
/// As [`probe`].
pub fn look_at(machine: &Machine, server: &mut Server, names: &[Reference]) -> Result<()> {
    look_closer(machine, server)?;
    server.projects = read::projects(&ask(machine, PROJECTS)?)?;
    let busy = busy(machine)?;
    for name in names {
        let (snapshots, backups) = snapshots_of(machine, name)?;
        let mut details = Details {
            busy: busy.contains(name),
            missing: server.instance(name).map_or_else(Vec::new, missing),
            snapshots,
            backups,
            ..Details::default()
        };
        if let Some(pool) = server.instance(name).and_then(|it| it.pool.as_deref()) {
            let folder = machine.paths.incus.join("storage-pools").join(pool);
            measure(&folder, &volume_name(name), &mut details);
        }
        server.details.insert(name.clone(), details);
    }
    Ok(())
}

/// The instances that operations are at work on.
///
/// # Errors
/// As [`probe`].
pub fn busy(machine: &Machine) -> Result<Vec<Reference>> {
    let path = "/1.0/operations?recursion=1&all-projects=true";
    read::busy(&ask(machine, path)?)
}

/// Disks of the host's whose source has to be there, and is not.
fn missing(instance: &Instance) -> Vec<(String, String)> {
    let devices = instance.record.expanded_devices.iter();
    let sources = devices.filter_map(|(device, keys)| {
        let is = |key: &str, value: &str| keys.get(key).is_some_and(|it| it == value);
        let ours = is("type", "disk") && !keys.contains_key("pool") && !is("required", "false");
        let source = keys.get("source").filter(|path| path.starts_with('/'))?;
        (ours && !Path::new(source).exists()).then(|| (device.clone(), source.clone()))
    });
    sources.collect()
}

/// Counts what lies in an instance's folders on a pool, as a copy will take it: its snapshots first, in their order.
fn measure(pool: &Path, volume: &str, details: &mut Details) {
    let mut landing = tree::Landing::default();
    let snapshots = pool.join("containers-snapshots").join(volume);
    let mut there = tree::folders(&snapshots);
    for Snapshot { name, .. } in &details.snapshots {
        landing.add(&snapshots.join(name));
        if !there.remove(name.as_str()) {
            details.torn_snapshots.push(name.clone());
        }
    }
    details.torn_snapshots.extend(there);
    let container = pool.join("containers").join(volume);
    let before = landing.paths;
    landing.add(&container);
    details.paths = landing.paths;
    details.own_paths = landing.paths - before;
    details.landing = Bytes(landing.shared);
    details.unshared = Bytes(landing.unshared);
    details.largest = Bytes(landing.largest);
    details.taken = Bytes(landing.taken);
    details.subvolumes = landing.subvolumes;
    details.nested = ["incus", "lxd"].iter().any(|it| {
        container
            .join("rootfs/var/lib")
            .join(it)
            .join("database")
            .is_dir()
    });
}

/// The snapshots of an instance, and the names of its backups.
///
/// # Errors
/// As [`probe`].
pub fn snapshots_of(machine: &Machine, name: &Reference) -> Result<(Vec<Snapshot>, Vec<String>)> {
    let Reference { project, name } = name;
    let path = format!("/1.0/instances/{name}?recursion=1&project={project}");
    read::snapshots(&ask(machine, &path)?)
}

/// The names of the volumes that a project's containers have on a pool.
///
/// # Errors
/// As [`probe`].
pub fn container_volumes(machine: &Machine, pool: &str, project: &str) -> Result<Vec<String>> {
    let path = format!("/1.0/storage-pools/{pool}/volumes/container?project={project}");
    read::container_volumes(&ask(machine, &path)?)
}

/// What an instance does: `Running`, `Stopped`, …
///
/// # Errors
/// As [`probe`].
pub fn status_of(machine: &Machine, name: &Reference) -> Result<String> {
    let Reference { project, name } = name;
    read::status(&ask(
        machine,
        &format!("/1.0/instances/{name}/state?project={project}"),
    )?)
}

/// What an instance's folder on a pool is called.
#[must_use]
pub fn volume_name(instance: &Reference) -> String {
    let Reference { project, name } = instance;
    if project == "default" {
        name.clone()
    } else {
        format!("{project}_{name}")
    }
}

fn ask(machine: &Machine, path: &str) -> Result<String> {
    query(machine, path).with_context(|| format!("asking the Incus daemon for {path}"))
}

fn query(machine: &Machine, path: &str) -> Result<String, CommandError> {
    let argv = ["incus", "query", "--raw", "--force-local", path].map(String::from);
    machine
        .run(&argv, machine.bounds.query)
        .map(|output| output.stdout)
}

/// Whether it failed because the cluster's database has no majority: the daemon is there, and can neither tell nor do
/// anything.
#[must_use]
pub fn without_majority(error: &anyhow::Error) -> bool {
    let words = format!("{error:#}");
    let signs = [
        "RAFT cluster is unavailable",
        "no available cowsql leader",
        "no available dqlite leader",
    ];
    signs.iter().any(|sign| words.contains(sign))
}

/// Asks as often as it takes until the cluster's database has its majority again, for as long as a daemon may take to
/// start: what was begun can be neither finished nor taken back before.  Outside of a cluster it asks once.
///
/// # Errors
/// Those of the question.
pub fn patiently<T>(
    machine: &Machine,
    clustered: bool,
    say: &dyn Fn(&str),
    mut ask: impl FnMut() -> Result<T>,
) -> Result<T> {
    let begun = Instant::now();
    let mut said = false;
    loop {
        match ask() {
            Err(error)
                // While a new leader is looked for, it gives no answer at all.
                if clustered
                    && (without_majority(&error) || timed_out(&error))
                    && begun.elapsed() < machine.bounds.start
                    && !machine.signals.stop_asked() =>
            {
                if !said {
                    say("the cluster's database gives no answer; waiting for the members that keep it");
                }
                said = true;
                std::thread::sleep(Duration::from_millis(500));
            }
            answer => return answer,
        }
    }
}

fn timed_out(error: &anyhow::Error) -> bool {
    let error = error
        .chain()
        .find_map(|it| it.downcast_ref::<CommandError>());
    error.is_some_and(|it| matches!(it.kind, CommandErrorKind::TimedOut { .. }))
}

/// Tells a daemon that is not running from one that cannot be used.
fn silence(error: CommandError) -> Result<Incus> {
    let words = error.words();
    let nobody_listens = [
        "connection refused",
        "no such file or directory",
        "the incus daemon doesn't appear to be started",
    ]
    .iter()
    .any(|sign| words.to_lowercase().contains(sign));
    match error.kind {
        CommandErrorKind::Failed { .. } if nobody_listens => Ok(Incus::Silent {
            reason: words.trim_start_matches("Error: ").to_owned(),
        }),
        _ => Err(error).context("asking the Incus daemon for its state"),
    }
}

fn explain_broken_pools(machine: &Machine, server: &mut Server) {
    if server.pools.iter().all(|pool| pool.status == "Created") {
        return;
    }
    let reasons = ask(machine, "/1.0/warnings?recursion=1")
        .and_then(|text| read::pool_warnings(&text))
        .unwrap_or_default();
    for pool in &mut server.pools {
        if pool.status != "Created" {
            pool.reason = reasons.get(&pool.name).cloned();
        }
    }
}
