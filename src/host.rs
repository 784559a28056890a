//! The machine itself: the only code that runs programs, reads the system's files, and hears
//! signals.

pub mod archive;
pub mod arrivals;
pub mod command;
pub mod download;
mod filesystems;
pub mod log;
pub mod meter;
pub mod packages;
mod probe;
pub mod service;
pub mod signals;
pub mod tree;

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::{Arc, Mutex};
use std::time::Duration;

pub use command::{CommandError, Output};
pub use filesystems::room;
pub use meter::Meter;
pub use probe::{backing, probe, stray_files, tools};
pub use signals::Signals;

use crate::facts::Bytes;

/// Where this program and Incus keep their things.
#[derive(Debug, Clone)]
pub struct Paths {
    /// The journal and the lock; `/var/lib/taos-setup`, or `TAOS_STATE_DIR`.
    pub state: PathBuf,
    /// `/var/log/taos-setup.log`, or `TAOS_LOG_FILE`.
    pub log: PathBuf,
    /// The daemon's state; `/var/lib/incus`, or `INCUS_DIR`.
    pub incus: PathBuf,
    /// How far the base image is, for anybody to read; `/var/lib/taos-setup-image/status.json`, or
    /// `TAOS_IMAGE_STATUS`.
    pub image_status: PathBuf,
    /// Where the base image's file lies until Incus has it: `TAOS_TMPDIR`, or below `state`.
    pub image_folder: PathBuf,
}

impl Paths {
    /// From the environment.
    #[must_use]
    pub fn from_environment() -> Self {
        let path = |variable: &str, default: &str| {
            std::env::var_os(variable)
                .filter(|value| !value.is_empty())
                .map_or_else(|| PathBuf::from(default), PathBuf::from)
        };
        let state = path("TAOS_STATE_DIR", "/var/lib/taos-setup");
        Self {
            image_status: path("TAOS_IMAGE_STATUS", "/var/lib/taos-setup-image/status.json"),
            image_folder: std::env::var_os("TAOS_TMPDIR")
                .filter(|value| !value.is_empty())
                .map_or_else(
                    || state.join("image"),
                    |folder| PathBuf::from(folder).join("taos-setup-image"),
                ),
            state,
            log: path("TAOS_LOG_FILE", "/var/log/taos-setup.log"),
            incus: path("INCUS_DIR", "/var/lib/incus"),
        }
    }
}

/// How long commands may take.
#[derive(Debug, Clone, Copy)]
pub struct Bounds {
    /// A question to the daemon.
    pub query: Duration,
    /// A change that the daemon makes.
    pub change: Duration,
    /// Installing packages.
    pub install: Duration,
    /// Starting the daemon.
    pub start: Duration,
}

impl Bounds {
    /// The bounds that follow from that of a question.  A pool on a slow card takes minutes to
    /// create, packages on a slow line take longer.
    #[must_use]
    pub fn from_query(query: Duration) -> Self {
        Self {
            query,
            change: query * 20,
            install: query * 120,
            start: query * 4,
        }
    }
}

/// The room of members of a cluster, by name.
pub type Rooms = Arc<Mutex<BTreeMap<String, Bytes>>>;

/// The machine, with the means to act on it.
pub struct Machine {
    pub paths: Paths,
    pub bounds: Bounds,
    pub log: log::Log,
    pub signals: Signals,
    /// How far a migration is.
    pub meter: Meter,
    /// What members of a cluster were found to have free, which nobody else remembers.
    pub rooms: Rooms,
    /// Show commands on stderr as they are run (`-v`).
    pub verbose: bool,
}

impl Machine {
    /// The same machine, for what is done beside something else.
    #[must_use]
    pub fn beside(&self) -> Self {
        Self {
            paths: self.paths.clone(),
            bounds: self.bounds,
            log: self.log.clone(),
            signals: self.signals.clone(),
            meter: self.meter.beside(),
            rooms: self.rooms.clone(),
            verbose: self.verbose,
        }
    }
}
