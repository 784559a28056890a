//! What a download asks of the machine, and tells whoever watches.

use crate::facts::{Backing, Bytes, Server};
use crate::host::download::{Event, Watch};
use crate::host::{room, Machine};
use crate::incus::images;
use crate::plan::image::{Need, Room, Spot};
use crate::ui::Fetching;

use super::{HandOver, Reporter};

/// Stands between a download, the status file and the terminal.
pub(super) struct Watcher<'a, 'm> {
    machine: &'a Machine,
    reporter: &'a mut Reporter,
    show: &'a Fetching<'a>,
    /// The pool that it will be unpacked on.
    pool: Option<Unpacking>,
    /// Incus, if it gets the file while it comes.
    upload: Option<&'a mut HandOver<'m>>,
}

impl<'a, 'm> Watcher<'a, 'm> {
    pub(super) fn new(
        machine: &'a Machine,
        reporter: &'a mut Reporter,
        show: &'a Fetching<'a>,
        (pool, upload): (Option<Unpacking>, Option<&'a mut HandOver<'m>>),
    ) -> Self {
        Self {
            machine,
            reporter,
            show,
            pool,
            upload,
        }
    }
}

impl Watch for Watcher<'_, '_> {
    fn event(&mut self, event: Event<'_>) {
        match event {
            Event::Bytes { here, total } => {
                self.reporter.bytes(here, total);
                self.show.bytes(here, total);
                if let Some(upload) = &mut self.upload {
                    upload.here(here);
                }
            }
            Event::Pause { why, pause } => {
                let text = format!("{why}; trying again in {:.1} s", pause.as_secs_f64());
                self.machine.log.line(&text);
                self.show.say(&text);
            }
            Event::StartingOver { why } => {
                if let Some(upload) = &mut self.upload {
                    upload.start_over();
                }
                self.machine.log.line(&format!("starting over: {why}"));
                self.show.say(&format!("Starting over: {why}"));
            }
        }
    }

    fn stop(&self) -> bool {
        self.machine.signals.stop_asked()
    }

    fn room(&self, left: Bytes, total: Option<Bytes>) -> Result<(), String> {
        let all = total.unwrap_or(left);
        let sent = self.upload.as_ref().map_or(0, |upload| upload.sent());
        let need = Need {
            file: left,
            copy: all.saturating_sub(Bytes(sent)),
            // At least that; how much exactly is known once it has been read.
            unpacked: all.saturating_add(all),
        };
        fits(self.machine, need, self.pool.as_ref())
            .map_err(|why| format!("fetching the base image: {why}"))
    }
}

/// A pool that an image is unpacked on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Unpacking {
    pub on: Spot,
    /// Whether it grows at the cost of the filesystem that Incus lies on.  When that one is full,
    /// a pool in a sparse file breaks for all that live on it.
    pub grows: bool,
}

impl Unpacking {
    pub(super) fn on(server: &Server, on: &Spot) -> Self {
        // Where the file of another member's part lies is not seen from here.
        let here = on.member.is_empty() || server.here() == Some(&on.member);
        let pool = server.pool(&on.pool).filter(|_| here);
        let backing = pool.map(|pool| &pool.backing);
        Self {
            on: on.clone(),
            grows: matches!(backing, Some(Backing::LoopFile { size, allocated, .. }) if allocated < size),
        }
    }
}

/// Whether there is room for an image.
///
/// # Errors
/// If there is not: what is missing, and where.
pub(super) fn fits(
    machine: &Machine,
    mut need: Need,
    pool: Option<&Unpacking>,
) -> Result<(), String> {
    let look = |path| room(path).map_err(|error| format!("looking how much is free: {error}"));
    let file = look(&machine.paths.image_folder)?;
    let incus = look(&machine.paths.incus)?;
    if pool.is_some_and(|pool| pool.grows) {
        need.copy = need.copy.saturating_add(need.unpacked);
    }
    let pool = pool.and_then(|pool| pool_room(machine, &pool.on));
    need.fits(&file, &incus, pool.as_ref())
}

/// The room on a pool, if the daemon tells.
fn pool_room(machine: &Machine, on: &Spot) -> Option<Room> {
    let free = images::free_of_pool(machine, on).ok()?;
    Some(Room {
        path: on.to_string(),
        // No filesystem has this number.
        device: u64::MAX,
        free: Bytes(free),
    })
}
