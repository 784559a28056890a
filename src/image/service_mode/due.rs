//! Whether there was a first deploy.

use std::fs::File;
use std::path::Path;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result};
use nix::fcntl::{Flock, FlockArg};

use super::{chosen, containers, file, write, Chosen};
use crate::facts::Mode;
use crate::host::Machine;
use crate::image::AGAIN;
use crate::plan::image::newcomers;

/// For how long after something happened to a container another one may follow.
const BURST: Duration = Duration::from_secs(10);

/// Whether the service has something to do: it was asked for, or there was a first deploy.
///
/// # Errors
/// If what was chosen cannot be read or written.
pub fn due(machine: &Machine) -> Result<bool> {
    let Some(_alone) = alone(machine)? else {
        return Ok(false);
    };
    let Some(chosen) = chosen(machine)? else {
        return Ok(false);
    };
    match chosen.mode {
        Mode::Background => return Ok(true),
        Mode::Lazy if chosen.fired => return Ok(true),
        Mode::Lazy => {}
        Mode::Now | Mode::Off => return Ok(false),
    }
    let new = newcomers(&chosen.before, &containers(machine));
    if new.is_empty() {
        return Ok(false);
    }
    machine
        .log
        .line(&format!("the first deploy: {}", new.join(", ")));
    fire(machine, chosen)?;
    Ok(true)
}

/// As [`due`], for the path unit.  It does not watch while its service decides: a deploy that
/// follows a scratch instance at once would pass unseen.  So this looks on for a while.
///
/// # Errors
/// As [`due`].
pub fn due_soon(machine: &Machine) -> Result<bool> {
    let begun = Instant::now();
    loop {
        let lazy = chosen(machine)?.is_some_and(|chosen| chosen.mode == Mode::Lazy);
        if due(machine)? {
            return Ok(true);
        }
        if !lazy || begun.elapsed() >= BURST || machine.signals.stop_asked() {
            return Ok(false);
        }
        std::thread::sleep(AGAIN);
    }
}

/// Writes down that there was a first deploy.
pub(super) fn fire(machine: &Machine, mut chosen: Chosen) -> Result<()> {
    chosen.fired = true;
    let text = serde_json::to_vec(&chosen).context("encoding the mode")?;
    write(&file(machine), &text, 0o600)
}

/// As long as this lives nobody else reads what was chosen in order to write it anew; none if
/// nothing was ever chosen.  Nothing slow may be done meanwhile.
pub(super) fn alone(machine: &Machine) -> Result<Option<Flock<File>>> {
    let path = file(machine);
    let folder = path.parent().unwrap_or(Path::new("."));
    let waiting = || format!("waiting for {}", folder.display());
    let opened = match File::open(folder) {
        Ok(opened) => opened,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(error).with_context(waiting),
    };
    let locked = Flock::lock(opened, FlockArg::LockExclusive).map_err(|(_, errno)| errno);
    locked.map(Some).with_context(waiting)
}
