//! What moves that were cut short have left, looked at closely.

use std::io;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result};
use serde::Deserialize;

use super::{snapshots_of, volume_name};
use crate::facts::{Lack, Reference, Server, Since, Snapshot, Stray};
use crate::host::tree::{beyond, Newer};
use crate::host::Machine;
use crate::step::migration::{ran, STRAY};

/// What the daemon writes anew for itself, at the top of an instance's folder.
const DAEMONS: &[&str] = &["backup.yaml"];

/// Looks at all that moves left.  `known` are identities with the names that had them, from journals.
///
/// # Errors
/// If the daemon does not answer, or a tree cannot be read.
pub fn strays(
    machine: &Machine,
    server: &Server,
    known: &[(String, String)],
) -> Result<Vec<Stray>> {
    let found: Vec<_> = server
        .instances
        .iter()
        .filter(|it| it.kind == "container" && it.reference.name.starts_with(STRAY))
        .filter(|it| server.has_here(it))
        .collect();
    if found.is_empty() {
        return Ok(Vec::new());
    }
    let busy = super::busy(machine)?;
    let mut strays = Vec::new();
    for instance in found {
        let stray = &instance.reference;
        let config = &instance.record.config;
        let uuid = config.get("volatile.uuid");
        let original = server.instances.iter().find(|other| {
            other.reference != *stray
                && !other.reference.name.starts_with(STRAY)
                && server.has_here(other)
                && uuid.is_some()
                && other.record.config.get("volatile.uuid") == uuid
        });
        let original = original.map(|it| it.reference.clone());
        let is_busy = busy.contains(stray) || original.as_ref().is_some_and(|it| busy.contains(it));
        let mut seen = Stray {
            stray: stray.clone(),
            busy: is_busy,
            finished: config.contains_key("volatile.apply_template") || ran(instance),
            only_here: Lack::default(),
            only_there: Lack::default(),
            remains: false,
            names: names(machine, server, stray, uuid, known)?,
            original,
        };
        let beside = seen
            .original
            .as_ref()
            .filter(|it| it.project == stray.project);
        if let (Some(original), false) = (beside, is_busy) {
            seen.only_here = only_in(machine, server, stray, original, Newer::Passes)?;
            seen.only_there = only_in(machine, server, original, stray, Newer::Counts)?;
            seen.remains = volume(machine, server, original).is_some_and(|it| it.exists());
        }
        strays.push(seen);
    }
    Ok(strays)
}

/// What one instance has, with its snapshots, and another has not.
///
/// # Errors
/// As [`strays`].
pub fn only_in(
    machine: &Machine,
    server: &Server,
    one: &Reference,
    other: &Reference,
    newer: Newer,
) -> Result<Lack> {
    let mut lack = Lack::default();
    if let Some(why) = [one, other].into_iter().find_map(|it| unseen(server, it)) {
        lack.add(why);
        return Ok(lack);
    }
    let context = || format!("looking what {one} has that {other} has not");
    let trees = volume(machine, server, one).zip(volume(machine, server, other));
    let Some((tree, there)) = trees else {
        lack.add("everything, as one of them has no root disk".into());
        return Ok(lack);
    };
    if tree.exists() {
        if there.exists() {
            let mut each = |path, _| lack.add(path);
            beyond(&tree, &there, newer, DAEMONS, &mut each).with_context(context)?;
        } else {
            lack.add("all its files".into());
        }
    }
    let ((snapshots, _), (known, _)) = (snapshots_of(machine, one)?, snapshots_of(machine, other)?);
    for snapshot in snapshots {
        let name = &snapshot.name;
        let same = |it: &&Snapshot| it.name == *name && it.created_at == snapshot.created_at;
        if !known.iter().any(|it| same(&it)) {
            lack.add(format!("snapshot {name}"));
            continue;
        }
        let folder = |of| snapshot_folder(machine, server, of, name);
        let (Some(tree), Some(there)) = (folder(one), folder(other)) else {
            continue;
        };
        if tree.exists() && !there.exists() {
            lack.add(format!("the files of snapshot {name}"));
        } else if tree.exists() {
            // A snapshot does not change, so neither of two is the newer one.
            let mut each = |path, _| lack.add(format!("{path} in snapshot {name}"));
            beyond(&tree, &there, Newer::Counts, DAEMONS, &mut each).with_context(context)?;
        }
    }
    Ok(lack)
}

/// Why nobody can tell what an instance has.  Its folder is empty while Incus has no use for it: that
/// must not be taken for having nothing.
fn unseen(server: &Server, of: &Reference) -> Option<String> {
    let pool = server.pool(server.instance(of)?.pool.as_deref()?)?;
    (!pool.is_looked_into()).then(|| {
        format!(
            "perhaps all its files: what {of} has on pool {} ({}) cannot be looked into",
            pool.name, pool.driver
        )
    })
}

/// What a container wrote since its original was kept: by size and time, as it may be at work.
///
/// # Errors
/// As [`strays`].
pub fn since(
    machine: &Machine,
    server: &Server,
    now: &Reference,
    kept: &Reference,
) -> Result<Since> {
    let mut since = Since::default();
    let trees = volume(machine, server, now).zip(volume(machine, server, kept));
    let (tree, was) = trees.context("finding the files of a container")?;
    let context = || format!("looking what {now} wrote since {kept} was kept");
    let mut written = |path, bytes| {
        since.written.add(path);
        since.bytes += bytes;
    };
    beyond(&tree, &was, Newer::ByTime, DAEMONS, &mut written).with_context(context)?;
    let mut gone: Vec<String> = Vec::new();
    let mut missing = |path: String, _| gone.push(path);
    beyond(&was, &tree, Newer::Missing, DAEMONS, &mut missing).with_context(context)?;
    for path in gone {
        since.deleted.add(path);
    }
    let ((snapshots, _), (known, _)) = (snapshots_of(machine, now)?, snapshots_of(machine, kept)?);
    since.snapshots = snapshots
        .into_iter()
        .map(|it| it.name)
        .filter(|name| !known.iter().any(|it| it.name == *name))
        .collect();
    Ok(since)
}

/// Where an instance's files lie.
fn volume(machine: &Machine, server: &Server, of: &Reference) -> Option<PathBuf> {
    Some(folder(machine, server, of, "containers")?.join(volume_name(of)))
}

fn snapshot_folder(
    machine: &Machine,
    server: &Server,
    of: &Reference,
    snapshot: &str,
) -> Option<PathBuf> {
    let folder = folder(machine, server, of, "containers-snapshots")?;
    Some(folder.join(volume_name(of)).join(snapshot))
}

fn folder(machine: &Machine, server: &Server, of: &Reference, kind: &str) -> Option<PathBuf> {
    let pool = server.instance(of)?.pool.as_deref()?;
    let pools = machine.paths.incus.join("storage-pools");
    Some(pools.join(pool).join(kind))
}

/// The names that what has this identity had.
fn names(
    machine: &Machine,
    server: &Server,
    stray: &Reference,
    uuid: Option<&String>,
    known: &[(String, String)],
) -> Result<Vec<String>> {
    let Some(uuid) = uuid else {
        return Ok(Vec::new());
    };
    let mut names: Vec<String> = known
        .iter()
        .filter(|(identity, _)| identity == uuid)
        .map(|(_, name)| name.clone())
        .collect();
    let (snapshots, _) = snapshots_of(machine, stray)?;
    for snapshot in snapshots {
        let folder = snapshot_folder(machine, server, stray, &snapshot.name);
        let file = folder.map(|it| it.join("backup.yaml"));
        if let Some(name) = file.and_then(|file| name_in(&file, uuid)) {
            names.push(name);
        }
    }
    names.retain(|name| !name.starts_with(STRAY));
    names.sort();
    names.dedup();
    Ok(names)
}

/// The name in what the daemon wrote beside an instance's files, if it is of that identity.
fn name_in(file: &Path, uuid: &str) -> Option<String> {
    #[derive(Deserialize)]
    struct Document {
        #[serde(alias = "container")]
        instance: Instance,
    }
    #[derive(Deserialize)]
    struct Instance {
        name: String,
        #[serde(default)]
        config: std::collections::BTreeMap<String, serde_yaml::Value>,
    }
    let text = match std::fs::read_to_string(file) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return None,
        text => text.ok()?,
    };
    let document: Document = serde_yaml::from_str(&text).ok()?;
    let found = document.instance.config.get("volatile.uuid")?.as_str()?;
    (found == uuid).then_some(document.instance.name)
}
