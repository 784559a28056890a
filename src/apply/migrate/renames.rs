//! A change of a name that is only half done.
//!
//! Incus 6.0 gives first the volume its new name, then its folders, then the instance, each by
//! itself.  Killed in between it finds the instance's volume under neither name: the instance can
//! be neither started, renamed nor changed, though all of it is there.
//!
//! After a power cut it is the other way round: the daemon's database is on the disk at once, a
//! renamed folder on btrfs up to half a minute later.  The records have the new name, and the folder
//! the old one.

use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result};

use crate::facts::{Pool, Server};
use crate::host::Machine;
use crate::incus;
use crate::step::migration::Migration;

/// Completes what is only half done of the renames of one migration; says which it were.
///
/// # Errors
/// If the volumes cannot be listed, or a folder or the daemon's record cannot be changed.
pub fn complete_renames(
    machine: &Machine,
    server: &Server,
    of: &Migration,
) -> Result<Vec<(String, String)>> {
    let name = &of.name.name;
    let pairs = [
        (name, &of.kept, &of.from),
        (&of.kept, name, &of.from),
        (&of.copy, name, &of.to),
        (name, &of.copy, &of.to),
    ];
    let mut completed = Vec::new();
    for (old, new, pool) in pairs {
        // Elsewhere more than folders is renamed, and nobody can tell from here how far that came.
        if !server.pool(pool).is_some_and(Pool::is_looked_into) {
            continue;
        }
        let there = |name: &str| server.instance(&of.reference(name)).is_some();
        let half = there(old) && !there(new);
        if !half && !lags_behind(machine, server, of, pool, old, new) {
            continue;
        }
        let volumes = incus::container_volumes(machine, pool, &of.name.project)?;
        if volumes.contains(new) && !volumes.contains(old) {
            let context = || format!("completing the renaming of {old} to {new}");
            move_folders(machine, of, pool, old, new).with_context(context)?;
            if half {
                rename_record(machine, of, old, new).with_context(context)?;
            }
            completed.push((old.clone(), new.clone()));
        }
    }
    Ok(completed)
}

/// Whether the records have the new name, and what they are of lies under the old one.
fn lags_behind(
    machine: &Machine,
    server: &Server,
    of: &Migration,
    pool: &str,
    old: &str,
    new: &str,
) -> bool {
    let recorded = |name: &str| {
        let found = server.instance(&of.reference(name));
        found.is_some_and(|found| found.pool.as_deref() == Some(pool))
    };
    let there = folder_of_pool(machine, pool).join("containers");
    let filled = |name: &str| {
        let folder = there.join(incus::volume_name(&of.reference(name)));
        folder.join("rootfs").is_dir()
    };
    recorded(new) && !recorded(old) && filled(old) && !filled(new)
}

fn folder_of_pool(machine: &Machine, pool: &str) -> PathBuf {
    machine.paths.incus.join("storage-pools").join(pool)
}

fn rename_record(machine: &Machine, of: &Migration, old: &str, new: &str) -> Result<()> {
    // Only one row, and only the one of this project.
    let quoted = |text: &str| text.replace('\'', "''");
    let query = format!(
        "UPDATE instances SET name = '{}' WHERE name = '{}' AND project_id = (SELECT id FROM projects WHERE name = '{}')",
        quoted(new),
        quoted(old),
        quoted(&of.name.project)
    );
    let argv = ["incus", "--force-local", "admin", "sql", "global", &query];
    machine.run(&argv.map(str::to_owned), machine.bounds.change)?;
    Ok(())
}

fn move_folders(machine: &Machine, of: &Migration, pool: &str, old: &str, new: &str) -> Result<()> {
    let volume = |name: &str| incus::volume_name(&of.reference(name));
    let (before, after) = (volume(old), volume(new));
    let base = folder_of_pool(machine, pool);
    for folder in ["containers", "containers-snapshots"] {
        let there = base.join(folder);
        let (from, to) = (there.join(&before), there.join(&after));
        if from.exists() {
            // The daemon may have made it when it started and found none; it goes only if it is empty.
            std::fs::remove_dir(&to).ok();
        }
        if from.exists() && !to.exists() {
            std::fs::rename(&from, &to)
                .with_context(|| format!("renaming {} to {}", from.display(), to.display()))?;
        }
        link(&machine.paths.incus.join(folder), &before, &after, &to)?;
    }
    Ok(())
}

/// The link by which Incus finds a volume, under its new name.
fn link(folder: &Path, before: &str, after: &str, volume: &Path) -> Result<()> {
    let (old, new) = (folder.join(before), folder.join(after));
    if old.symlink_metadata().is_ok_and(|data| data.is_symlink()) {
        std::fs::remove_file(&old).with_context(|| format!("removing {}", old.display()))?;
    }
    if volume.exists() && new.symlink_metadata().is_err() {
        std::os::unix::fs::symlink(volume, &new)
            .with_context(|| format!("making the link {}", new.display()))?;
    }
    Ok(())
}
