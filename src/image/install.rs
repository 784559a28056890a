//! From a file to an image with a name, in an order in which no moment shows half of it.

use std::path::PathBuf;
use std::time::Instant;

use anyhow::Context as _;

use crate::facts::{Bytes, Server};
use crate::host::download::{write_durably, Trouble};
use crate::host::CommandError;
use crate::incus::images::{self, Store};
use crate::journal::{inherit, Lock, NotLocked};
use crate::plan::image::{old_images, Alias, Digest, Need, Spot};

use super::hand_over::PROJECT;
use super::watch::{fits, Unpacking};
use super::{is_full, look, Ending, Proven, Run, Stage, AGAIN};

/// The name of the note of what is being unpacked.
const UNPACKING: &str = "unpacking";

impl Run<'_> {
    /// Puts an image in place: imported everywhere, unpacked, then named, then the old one goes.
    /// What is so already is left out.  `proven` is its file, if the store may not have it yet.
    pub(super) fn install(
        &mut self,
        image: &Digest,
        proven: Option<&Proven>,
    ) -> Result<(), Ending> {
        let _quiet = self.set_up_waits()?;
        let (server, mut store) = self.tidied()?;
        self.clustered = server.clustered;
        if self.nothing_to_do(&store, image) {
            return Ok(());
        }
        self.reporter.stage(Stage::Importing);
        let result = self.import_and_unpack(&server, &mut store, image, proven);
        if let Err(ending) = result {
            // Without its alias it is only in the way, most of all on a full disk.
            if !matches!(ending, Ending::Stopped) {
                self.take_back(image);
            }
            return Err(ending);
        }
        let mut moved = false;
        for target in &store.targets {
            match Alias::of(&store.images, &target.project, image) {
                Alias::Right => {}
                Alias::Create => self.change(&images::create_alias(image, &target.project))?,
                Alias::Move { from } if self.wanted.refresh => {
                    self.change(&images::mark(&from, &target.project))?;
                    self.change(&images::move_alias(image, &target.project))?;
                    moved = true;
                }
                // Another image was put there on purpose.
                Alias::Move { .. } => {}
            }
        }
        // An image that has just lost its name is an old one only since then.
        if moved {
            store = self.look()?.1;
        }
        self.remove_old(&store, image)
    }

    /// What there is, once what an earlier run left half-way is gone.
    fn tidied(&self) -> Result<(Server, Store), Ending> {
        let (server, store) = self.look()?;
        // Whoever made them had the lock that is ours now.
        for name in &store.left_over {
            self.change(&images::delete_scratch(name))?;
        }
        let removed = self.remove_half_unpacked(&store)?;
        if store.left_over.is_empty() && !removed {
            return Ok((server, store));
        }
        self.look()
    }

    fn nothing_to_do(&self, store: &Store, image: &Digest) -> bool {
        let named = store.targets.iter().all(|target| {
            match Alias::of(&store.images, &target.project, image) {
                Alias::Right => true,
                Alias::Create => false,
                Alias::Move { .. } => !self.wanted.refresh,
            }
        });
        let old = store.targets.iter().any(|target| {
            old_images(&store.images, &target.project, image, &store.in_use)
                .next()
                .is_some()
        });
        named && !old && store.cold_spots(image.as_str()).is_empty()
    }

    fn import_and_unpack(
        &mut self,
        server: &Server,
        store: &mut Store,
        image: &Digest,
        proven: Option<&Proven>,
    ) -> Result<(), Ending> {
        // What is in the store already takes no more room there.
        if let (Some(proven), false) = (proven, store.has("default", image.as_str())) {
            // What it was handed already neither.
            let copy = if self.held.is_some() {
                Bytes(0)
            } else {
                proven.bytes
            };
            let cold = store.cold_spots(image.as_str());
            let here = cold.iter().find(|spot| is_here(server, spot));
            self.room(server, copy, proven.unpacked, here)?;
        }
        for target in store.targets.clone() {
            let other = matches!(
                Alias::of(&store.images, &target.project, image),
                Alias::Move { .. }
            );
            if store.has(&target.project, image.as_str()) || (other && !self.wanted.refresh) {
                continue;
            }
            let file = match proven {
                Some(proven) => proven.path.clone(),
                None => self.file_in_store(image)?,
            };
            self.show
                .say(&format!("Importing it into project {}…", target.project));
            if target.project == PROJECT && self.commit()? {
                continue;
            }
            let imported = self.change(&images::import(&file, &target.project));
            // Of a run that was killed in between Incus may have been at work on it still.
            if let Err(Ending::Failed { .. }) = &imported {
                images::refresh(self.machine, store).map_err(unanswered)?;
                if store.has(&target.project, image.as_str()) {
                    continue;
                }
            }
            imported?;
        }
        images::refresh(self.machine, store).map_err(unanswered)?;
        if !store
            .images
            .iter()
            .any(|found| found.fingerprint == image.as_str())
        {
            return Err(Ending::failed(
                format!("importing the base image: Incus took it, but has no image {image}"),
                "the file changed while it was imported; run this again",
            ));
        }
        let unpacked = match proven {
            Some(proven) => proven.unpacked,
            None => self.guess(image),
        };
        let (here, others): (Vec<Spot>, Vec<Spot>) = store
            .cold_spots(image.as_str())
            .into_iter()
            .partition(|spot| is_here(server, spot));
        for spot in here {
            self.unpack(server, image, unpacked, &spot)?;
        }
        for spot in others {
            let mut tried = self.unpack(server, image, unpacked, &spot);
            if matches!(tried, Err(Ending::Failed { .. })) {
                // A member that has just come back may be at work on it, and not be able to tell.
                self.sweep()?;
                tried = self.unpack(server, image, unpacked, &spot);
            }
            match tried {
                Err(Ending::Failed { error, .. }) => {
                    self.leave_cold(&spot, &error);
                }
                other => other?,
            }
        }
        Ok(())
    }

    fn unpack(
        &self,
        server: &Server,
        image: &Digest,
        unpacked: Bytes,
        on: &Spot,
    ) -> Result<(), Ending> {
        self.room(server, Bytes(0), unpacked, Some(on))?;
        self.show.say(&format!("Unpacking it on {on}…"));
        let (scratch, argv) = images::unpack(image, on, server.here());
        self.note_unpacking(image, on)?;
        let unpacked = self.change(&argv);
        // Also after a failure half-way; what is not there cannot be deleted, and that is fine.
        let deleted = self.change_anyway(&images::delete_scratch(&scratch));
        unpacked.and(deleted)?;
        // A scratch instance was cloned from it: what is cloned is on the pool's disk before.
        self.forget_unpacking(on)
    }

    /// Says that what Incus was handed is all there is, and waits until it has made an image of
    /// it; false if it was handed nothing, or does not make use of that.
    fn commit(&mut self) -> Result<bool, Ending> {
        let Some(held) = self.held.take() else {
            return Ok(false);
        };
        if self.machine.signals.stop_asked() {
            return Err(Ending::Stopped);
        }
        let log = |line: &str| self.machine.log.line(line);
        match held.commit(self.machine.bounds.change) {
            Ok(operation) => {
                log("handing the base image to Incus: it is whole, and Incus was told so");
                self.change_anyway(&images::wait_for(&operation))?;
                Ok(true)
            }
            Err(why) => {
                log(&format!(
                    "handing the base image to Incus: {why}; it is imported instead"
                ));
                Ok(false)
            }
        }
    }

    /// Whether there is room for Incus's copy and for what is unpacked.
    fn room(
        &self,
        server: &Server,
        copy: Bytes,
        unpacked: Bytes,
        on: Option<&Spot>,
    ) -> Result<(), Ending> {
        let need = Need {
            file: Bytes(0),
            copy,
            unpacked,
        };
        let pool = on.map(|on| Unpacking::on(server, on));
        fits(self.machine, need, pool.as_ref())
            .map_err(|why| Trouble::Full(format!("importing the base image: {why}")).into())
    }

    /// What an image may take unpacked that was looked at by an earlier run.
    fn guess(&self, image: &Digest) -> Bytes {
        let file = self.file_in_store(image).ok();
        let length = file
            .and_then(|path| path.metadata().ok())
            .map_or(0, |data| data.len());
        Bytes(length.saturating_mul(3))
    }

    /// Incus keeps the file of an image as it came, under its fingerprint.
    fn file_in_store(&self, image: &Digest) -> Result<PathBuf, Ending> {
        let path = self.machine.paths.incus.join("images").join(image.as_str());
        if path.is_file() {
            return Ok(path);
        }
        Err(Ending::failed(
            format!(
                "importing the base image into another project: its file {} is not there",
                path.display()
            ),
            "fetch it anew: taos-setup image fetch --refresh",
        ))
    }

    /// A daemon that is killed while it unpacks takes what is there for whole when it is back, and
    /// makes instances of it that do not start.  So it is written down what is being unpacked, and
    /// that is on the disk before it begins: after a power cut nothing else tells.
    fn note_unpacking(&self, image: &Digest, on: &Spot) -> Result<(), Ending> {
        let text = format!("{} {image} {}\n", on.pool, on.member);
        let written = write_durably(&self.unpacking_file(on), text.as_bytes(), 0o600);
        Ok(written.context("writing down what is unpacked")?)
    }

    fn forget_unpacking(&self, on: &Spot) -> Result<(), Ending> {
        match std::fs::remove_file(self.unpacking_file(on)) {
            Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
                let error = anyhow::Error::from(error);
                Err(error
                    .context("removing the note of what was unpacked")
                    .into())
            }
            _ => Ok(()),
        }
    }

    /// One for each member of a cluster, as one that is lost keeps its own until it is back.
    fn unpacking_file(&self, on: &Spot) -> PathBuf {
        let name = match on.member.as_str() {
            "" => UNPACKING.to_owned(),
            member => format!("{UNPACKING}-{member}"),
        };
        self.machine.paths.state.join("image").join(name)
    }

    /// Removes what was perhaps not unpacked to its end, and is only a cache; whether it did.
    fn remove_half_unpacked(&self, store: &Store) -> Result<bool, Ending> {
        let mut removed = false;
        for (on, image) in self.begun_to_unpack() {
            if store.not_on.iter().any(|(member, _)| *member == on.member) {
                continue;
            }
            let images = store.unpacked.get(&on);
            if images.is_some_and(|images| images.contains(&image)) {
                self.change(&images::forget_unpacked(&image, &on))?;
                removed = true;
            }
            self.forget_unpacking(&on)?;
        }
        Ok(removed)
    }

    /// What was begun to be unpacked, and where, of which nobody knows whether it was to its end.
    fn begun_to_unpack(&self) -> Vec<(Spot, String)> {
        let Ok(entries) = std::fs::read_dir(self.machine.paths.state.join("image")) else {
            return Vec::new();
        };
        let notes = entries.filter_map(Result::ok).filter(|entry| {
            let name = entry.file_name();
            let name = name.to_string_lossy();
            name == UNPACKING || name.starts_with(&format!("{UNPACKING}-"))
        });
        let read = |path: PathBuf| {
            let text = std::fs::read_to_string(path).ok()?;
            let mut words = text.split_whitespace().map(ToOwned::to_owned);
            let (pool, image) = (words.next()?, words.next()?);
            let member = words.next().unwrap_or_default();
            Some((Spot { pool, member }, image))
        };
        notes.filter_map(|entry| read(entry.path())).collect()
    }

    /// What was replaced goes, if nothing was made from it.
    fn remove_old(&self, store: &Store, image: &Digest) -> Result<(), Ending> {
        for target in &store.targets {
            for old in old_images(&store.images, &target.project, image, &store.in_use) {
                self.change(&images::delete(&old.fingerprint, &target.project))?;
            }
        }
        Ok(())
    }

    /// Removes what was imported and never got its name.
    fn take_back(&self, image: &Digest) {
        let Ok((_, store)) = self.look() else { return };
        for found in &store.images {
            if found.fingerprint == image.as_str() && found.marked && found.aliases.is_empty() {
                // What cannot be removed now is recognised by the next run.
                let _ = self.change_anyway(&images::delete(&found.fingerprint, &found.project));
            }
        }
    }

    pub(super) fn look(&self) -> Result<(Server, Store), Ending> {
        look(self.machine).map_err(unanswered)
    }

    /// Runs a command that changes something.  The lock is inherited: should this program be
    /// killed, the next one waits for the command's end.
    fn change(&self, argv: &[String]) -> Result<(), Ending> {
        if self.machine.signals.stop_asked() {
            return Err(Ending::Stopped);
        }
        self.change_anyway(argv)
    }

    /// The same for what has to be cleared away, also when somebody asked to stop.
    pub(super) fn change_anyway(&self, argv: &[String]) -> Result<(), Ending> {
        inherit(self.lock.descriptor(), true);
        let result = self.machine.run(argv, self.machine.bounds.change);
        inherit(self.lock.descriptor(), false);
        result.map(drop).map_err(|error: CommandError| {
            let hint = if is_full(error.words()) {
                "make room, then run this again: taos-setup image fetch"
            } else {
                "what came is kept: taos-setup image fetch goes on from there"
            };
            Ending::failed(format!("putting the base image in place: {error}"), hint)
        })
    }

    /// As long as this lives no set-up run finds an instance that is about to go.
    fn set_up_waits(&self) -> Result<Option<Lock>, Ending> {
        if self.set_up_waits {
            return Ok(None);
        }
        let begun = Instant::now();
        loop {
            let patience = self.machine.bounds.change;
            match Lock::acquire(&self.machine.paths.state, patience, || ()) {
                Ok(lock) => return Ok(Some(lock)),
                Err(NotLocked::Held { .. }) if begun.elapsed() < self.machine.bounds.change => {
                    if self.machine.signals.stop_asked() {
                        return Err(Ending::Stopped);
                    }
                    std::thread::sleep(AGAIN);
                }
                Err(NotLocked::Held { by }) => {
                    return Err(Ending::failed(
                        format!("waiting for a taos-setup that is at work: {by}"),
                        "run this again once it is through",
                    ))
                }
                Err(NotLocked::Failed(error)) => {
                    return Err(error.context("locking out other runs").into())
                }
            }
        }
    }
}

/// Whether it lies on this host.
fn is_here(server: &Server, spot: &Spot) -> bool {
    spot.member.is_empty() || server.here() == Some(&spot.member)
}

/// Incus answered when this run began, so this is no refusal any more.
fn unanswered(error: anyhow::Error) -> Ending {
    Ending::failed(
        format!("putting the base image in place: {error:#}"),
        "once Incus answers again, taos-setup image fetch goes on from there",
    )
}
