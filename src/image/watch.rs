//! What a download asks of the machine, and tells whoever watches.

use crate::facts::Bytes;
use crate::host::download::{Event, Watch};
use crate::host::{room, Machine};
use crate::incus::images;
use crate::plan::image::{Need, Room};
use crate::ui::Fetching;

use super::Reporter;

/// Stands between a download, the status file and the terminal.
pub(super) struct Watcher<'a> {
    machine: &'a Machine,
    reporter: &'a mut Reporter,
    show: &'a Fetching<'a>,
    /// The pool that it will be unpacked on.
    pool: Option<String>,
}

impl<'a> Watcher<'a> {
    pub(super) fn new(
        machine: &'a Machine,
        reporter: &'a mut Reporter,
        show: &'a Fetching<'a>,
        pool: Option<String>,
    ) -> Self {
        Self {
            machine,
            reporter,
            show,
            pool,
        }
    }
}

impl Watch for Watcher<'_> {
    fn event(&mut self, event: Event<'_>) {
        match event {
            Event::Bytes { here, total } => {
                self.reporter.bytes(here, total);
                self.show.bytes(here, total);
            }
            Event::Pause { why, pause } => {
                let text = format!("{why}; trying again in {:.1} s", pause.as_secs_f64());
                self.machine.log.line(&text);
                self.show.say(&text);
            }
            Event::StartingOver { why } => {
                self.machine.log.line(&format!("starting over: {why}"));
                self.show.say(&format!("Starting over: {why}"));
            }
        }
    }

    fn stop(&self) -> bool {
        self.machine.signals.stop_asked()
    }

    fn room(&self, left: Bytes, total: Option<Bytes>) -> Result<(), String> {
        let copy = total.unwrap_or(left);
        let need = Need {
            file: left,
            copy,
            // At least that; how much exactly is known once it has been read.
            unpacked: copy.saturating_add(copy),
        };
        let look = |path| room(path).map_err(|error| format!("looking how much is free: {error}"));
        let file = look(&self.machine.paths.image_folder)?;
        let incus = look(&self.machine.paths.incus)?;
        let pool = self
            .pool
            .as_deref()
            .and_then(|pool| pool_room(self.machine, pool));
        need.fits(&file, &incus, pool.as_ref())
            .map_err(|why| format!("fetching the base image: {why}"))
    }
}

/// The room on a pool, if the daemon tells.
pub(super) fn pool_room(machine: &Machine, pool: &str) -> Option<Room> {
    let free = images::free_of_pool(machine, pool).ok()?;
    Some(Room {
        path: format!("pool {pool}"),
        // No filesystem has this number.
        device: u64::MAX,
        free: Bytes(free),
    })
}
