//! What a daemon that died while it created a pool leaves behind.
//!
//! Killed late, Incus 6.0.4 comes back with the pool as `Pending`, and deleting that removes the
//! row in its database alone: the file, its loop device, the mount and the folder stay.  They are
//! this program's own, as its journal says that it began to create the pool, and nothing was in
//! their place before.

use std::path::Path;
use std::time::SystemTime;

use anyhow::{bail, Context as _, Result};

use crate::facts::Facts;
use crate::host::Machine;
use crate::step::{PoolPlace, Step};

/// Removes them after a creation that is in doubt.  `since` is when the run was approved.
pub(super) fn remove(
    machine: &Machine,
    facts: &Facts,
    step: &Step,
    since: SystemTime,
) -> Result<()> {
    let Step::CreatePool { pool } = step else {
        return Ok(());
    };
    let PoolPlace::LoopFile { path, size, .. } = &pool.place else {
        return Ok(());
    };
    let known = facts
        .server()
        .is_none_or(|server| server.pool(&pool.name).is_some());
    let file = Path::new(path);
    let Ok(metadata) = file.symlink_metadata() else {
        return Ok(());
    };
    if known {
        return Ok(());
    }
    // A file of somebody else's is older, or of another length.
    let made = metadata
        .created()
        .with_context(|| format!("finding out when {path} was made"))?;
    if made < since || !metadata.is_file() || metadata.len() != size.0 {
        bail!("{path} is in the way, and was not made by this run");
    }
    let run = |words: &[&str]| {
        let argv: Vec<String> = words.iter().map(ToString::to_string).collect();
        machine.run(&argv, machine.bounds.change)
    };
    let devices = run(&[
        "losetup",
        "--noheadings",
        "--output",
        "NAME",
        "--associated",
        path,
    ])?;
    let mounts = std::fs::read_to_string("/proc/self/mounts").context("reading the mounts")?;
    for device in devices.stdout.split_whitespace() {
        let mounted = mounts
            .lines()
            .any(|line| line.split(' ').next() == Some(device));
        if mounted {
            run(&["umount", device]).with_context(|| format!("unmounting the half-made {path}"))?;
        }
        // With autoclear it is gone by now.
        if run(&["losetup", device]).is_ok() {
            run(&["losetup", "--detach", device])
                .with_context(|| format!("detaching the half-made {path}"))?;
        }
    }
    std::fs::remove_file(file).with_context(|| format!("removing the half-made {path}"))?;
    let folder = Path::new(&facts.host.incus_dir)
        .join("storage-pools")
        .join(&pool.name);
    super::perform::remove_emptied(&folder)
}
