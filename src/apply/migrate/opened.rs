//! Volumes that lie nowhere while nothing runs on them.
//!
//! On ZFS the files of a stopped container are in a dataset that Incus mounts when it needs it, and
//! unmounts afterwards.  To be compared it is mounted here, at the very place where Incus would do
//! it: so Incus takes it for its own, also if this program is killed, and unmounts it when it is
//! through with the container.

use std::path::{Path, PathBuf};
use std::sync::{Mutex, MutexGuard, PoisonError};

use crate::facts::Server;
use crate::host::Machine;

/// What was mounted to be looked into.
#[derive(Default)]
pub(super) struct Opened {
    mounts: Mutex<Vec<Mount>>,
}

#[derive(Clone, PartialEq, Eq)]
struct Mount {
    dataset: String,
    path: PathBuf,
}

impl Opened {
    /// Makes a volume of a pool visible where it has to be mounted for that.  If that does not work
    /// it stays an empty folder, which nothing compares to be whole.
    pub(super) fn open(
        &self,
        machine: &Machine,
        server: &Server,
        (pool, volume, snapshot): (&str, &str, Option<&str>),
        path: &Path,
    ) {
        let Some(datasets) = server.pool(pool).and_then(|pool| pool.datasets()) else {
            return;
        };
        let snapshot = snapshot.map(|name| format!("@snapshot-{name}"));
        let mount = Mount {
            dataset: format!(
                "{datasets}/containers/{volume}{}",
                snapshot.unwrap_or_default()
            ),
            path: path.to_owned(),
        };
        if is_mounted(&mount.path) || !mount.path.is_dir() {
            return;
        }
        if attach(machine, &mount) {
            self.mounts().push(mount);
        }
    }

    /// Opens again what a command of Incus has closed when it was through with it.
    pub(super) fn reopen(&self, machine: &Machine) {
        self.mounts()
            .retain(|mount| is_mounted(&mount.path) || attach(machine, mount));
    }

    /// Leaves all of it to Incus again.
    pub(super) fn close(&self, machine: &Machine) {
        for mount in self.mounts().drain(..).rev() {
            if is_mounted(&mount.path) {
                let path = mount.path.display().to_string();
                // One that stays mounted is one that Incus unmounts.
                let argv = ["umount", &path].map(str::to_owned);
                let _ = machine.run(&argv, machine.bounds.change);
            }
        }
    }

    fn mounts(&self) -> MutexGuard<'_, Vec<Mount>> {
        self.mounts.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn attach(machine: &Machine, mount: &Mount) -> bool {
    let path = mount.path.display().to_string();
    let argv = ["mount", "-t", "zfs", &mount.dataset, &path].map(str::to_owned);
    machine.run(&argv, machine.bounds.change).is_ok()
}

/// Whether something is mounted there.
fn is_mounted(path: &Path) -> bool {
    use std::os::unix::fs::MetadataExt as _;
    let device = |path: &Path| path.metadata().ok().map(|data| data.dev());
    path.parent()
        .is_some_and(|parent| device(path) != device(parent))
}
