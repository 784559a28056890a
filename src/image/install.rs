//! From a file to an image with a name, in an order in which no moment shows half of it.

use std::path::PathBuf;
use std::time::Instant;

use anyhow::Context as _;

use crate::facts::{Bytes, Server};
use crate::host::download::{write_atomically, Trouble};
use crate::host::CommandError;
use crate::incus::images::{self, Store};
use crate::journal::{inherit, Lock, NotLocked};
use crate::plan::image::{old_images, Alias, Digest, Need};

use super::hand_over::PROJECT;
use super::watch::{fits, Unpacking};
use super::{is_full, look, Ending, Proven, Run, Stage, AGAIN};

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
        named && !old && store.cold_pools(image.as_str()).is_empty()
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
            self.room(
                server,
                copy,
                proven.unpacked,
                store.cold_pools(image.as_str()),
            )?;
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
        for pool in store.cold_pools(image.as_str()) {
            self.room(server, Bytes(0), unpacked, [pool.clone()])?;
            self.show.say(&format!("Unpacking it on pool {pool}…"));
            let (scratch, argv) = images::unpack(image, &pool);
            self.note_unpacking(image, &pool)?;
            let unpacked = self.change(&argv);
            // Also after a failure half-way; what is not there cannot be deleted, and that is fine.
            let deleted = self.change_anyway(&images::delete_scratch(&scratch));
            unpacked.and(deleted)?;
            self.forget_unpacking()?;
        }
        Ok(())
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
        pools: impl IntoIterator<Item = String>,
    ) -> Result<(), Ending> {
        let need = Need {
            file: Bytes(0),
            copy,
            unpacked,
        };
        let pool = pools.into_iter().next();
        let pool = pool.map(|pool| Unpacking::on(server, &pool));
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
    /// makes instances of it that do not start.  So it is written down what is being unpacked.
    fn note_unpacking(&self, image: &Digest, pool: &str) -> Result<(), Ending> {
        let text = format!("{pool} {image}\n");
        let written = write_atomically(&self.unpacking_file(), text.as_bytes(), 0o600);
        Ok(written.context("writing down what is unpacked")?)
    }

    fn forget_unpacking(&self) -> Result<(), Ending> {
        match std::fs::remove_file(self.unpacking_file()) {
            Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
                let error = anyhow::Error::from(error);
                Err(error
                    .context("removing the note of what was unpacked")
                    .into())
            }
            _ => Ok(()),
        }
    }

    fn unpacking_file(&self) -> PathBuf {
        self.machine.paths.state.join("image/unpacking")
    }

    /// Removes what was perhaps not unpacked to its end, and is only a cache; whether it did.
    fn remove_half_unpacked(&self, store: &Store) -> Result<bool, Ending> {
        let Ok(text) = std::fs::read_to_string(self.unpacking_file()) else {
            return Ok(false);
        };
        let mut removed = false;
        if let Some((pool, image)) = text.trim_end().split_once(' ') {
            let there = store
                .unpacked
                .get(pool)
                .is_some_and(|images| images.contains(image));
            if there {
                self.change(&images::forget_unpacked(image, pool))?;
                removed = true;
            }
        }
        self.forget_unpacking()?;
        Ok(removed)
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

    fn look(&self) -> Result<(Server, Store), Ending> {
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
    fn change_anyway(&self, argv: &[String]) -> Result<(), Ending> {
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

/// Incus answered when this run began, so this is no refusal any more.
fn unanswered(error: anyhow::Error) -> Ending {
    Ending::failed(
        format!("putting the base image in place: {error:#}"),
        "once Incus answers again, taos-setup image fetch goes on from there",
    )
}
