//! Incus's own move, with all that the container was written down before, and compared after.

use std::io::Write as _;
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use anyhow::{bail, Context as _, Result};
use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};

use super::compare::{sync, visible, DAEMONS};
use super::{words, Work};
use crate::facts::Snapshot;
use crate::host::tree::manifest::Manifest;
use crate::host::tree::Difference;
use crate::step::migration::MANIFEST_MARK;

/// A container's own tree, and its snapshots with theirs.
#[derive(Serialize, Deserialize)]
struct Written {
    own: Manifest,
    snapshots: Vec<(Snapshot, Manifest)>,
}

impl Work<'_> {
    /// Writes down all that the stopped container is.
    pub(super) fn record(&self) -> Result<()> {
        let of = self.of;
        let name = &of.name;
        let write_down = |tree: &Path| {
            visible(tree)?;
            Manifest::of(tree, DAEMONS).with_context(|| format!("reading {}", tree.display()))
        };
        let own = write_down(&self.volume(&of.from, &name.name))?;
        let mut snapshots = Vec::new();
        // Those that there are by now: a schedule may have taken one since.
        let (there, _) = crate::incus::snapshots_of(self.machine, name)?;
        for snapshot in there {
            let tree = self.snapshot(&of.from, &name.name, &snapshot.name);
            snapshots.push((snapshot, write_down(&tree)?));
        }
        let (paths, count) = (own.paths(), snapshots.len());
        let text = serde_json::to_vec(&Written { own, snapshots }).context("writing JSON")?;
        let file = self.manifest();
        self.write_whole(&file, &text)
            .with_context(|| format!("writing {}", file.display()))?;
        self.machine.log.line(&format!(
            "{name}: {paths} paths and {count} snapshots are written down in {}",
            file.display()
        ));
        let original = self.server.instance(name).context("it is gone")?;
        let started = &original.record.last_used_at;
        self.run(&words::mark_written(
            of,
            &format!("{started}/{}", checksum(&text)),
        ))
    }

    pub(super) fn forget(&self) -> Result<()> {
        self.run(&words::unmark(self.of))?;
        self.remove_manifest()
    }

    /// Lets Incus move it, or finishes what a move that was cut short has left.
    pub(super) fn plain_move(&self) -> Result<()> {
        let of = self.of;
        if let Some(stray) = of.stray(self.server) {
            self.not_busy()?;
            return self.take_over(&stray.reference.name);
        }
        let moved = self.run_long(&words::plain_move(of));
        if let Err(error) = moved {
            // The daemon goes on without its client.
            return match self.not_busy() {
                Err(other) => Err(error.context(format!("{other:#}"))),
                Ok(()) => Err(error),
            };
        }
        Ok(())
    }

    /// Deletes what the move that was cut short left beside the whole original.
    pub(super) fn unmove(&self) -> Result<()> {
        self.not_busy()?;
        match self.of.stray(self.server) {
            Some(stray) => self.delete_stray(&stray.reference.name),
            None => bail!("nothing of it is there, and the original is gone, too"),
        }
    }

    /// Waits for what is at work on the container.
    fn not_busy(&self) -> Result<()> {
        let begun = Instant::now();
        loop {
            let stray = self.of.stray(self.server).map(|it| &it.reference);
            let busy = crate::incus::busy(self.machine)?;
            let at_work = |it| busy.contains(it);
            if !at_work(&self.of.name) && !stray.is_some_and(at_work) {
                return Ok(());
            }
            if begun.elapsed() > self.machine.bounds.change {
                bail!("an operation of Incus is still at work on {}", self.of.name);
            }
            std::thread::sleep(Duration::from_millis(250));
        }
    }

    /// Compares it with what was written down, mends what a move loses, and gives it its identity.
    pub(super) fn check(&self) -> Result<()> {
        let of = self.of;
        let name = &of.name;
        let moved = of.moved(self.server).context("it is not there")?;
        if moved.record.config.contains_key(MANIFEST_MARK) {
            self.compare_with_written()?;
        } else {
            // Somebody took the mark away, and so said that it may be used as it is.
            let log = &self.machine.log;
            log.line(&format!(
                "{name} is not compared, as {MANIFEST_MARK} is gone"
            ));
        }
        sync(&self.volume(&of.to, &name.name))?;
        self.put_identity(&of.was, &of.devices_there())?;
        self.remove_manifest()
    }

    fn compare_with_written(&self) -> Result<()> {
        let of = self.of;
        let name = &of.name;
        let written = self.written_down()?;
        let tree = self.volume(&of.to, &name.name);
        visible(&tree)?;
        let mut lost = self.checked(&written.own, &tree, &name.to_string(), false)?;
        let (there, _) = crate::incus::snapshots_of(self.machine, name)?;
        for (snapshot, manifest) in &written.snapshots {
            let name = &snapshot.name;
            let dates = |it: &Snapshot| (it.created_at.clone(), it.expires_at.clone());
            match there.iter().find(|it| it.name == *name) {
                None => {
                    lost.push(format!("snapshot {name}"));
                    continue;
                }
                Some(found) if dates(found) != dates(snapshot) => {
                    lost.push(format!("the dates of snapshot {name}"));
                }
                Some(_) => {}
            }
            let tree = self.snapshot(&of.to, &of.name.name, name);
            if !tree.exists() {
                lost.push(format!("the files of snapshot {name}"));
                continue;
            }
            lost.extend(self.checked(manifest, &tree, &format!("{}/{name}", of.name), true)?);
        }
        if !lost.is_empty() {
            bail!(
                "Incus's move lost what cannot be made again: {}. Nothing but {} remembers it. To \
                 use the container as it is: incus config unset {} {MANIFEST_MARK} --project {}",
                some_of(&lost),
                self.manifest().display(),
                name.name,
                name.project
            );
        }
        Ok(())
    }

    /// Compares a tree with what was written down, mending what can be.  What is lost, in words.
    fn checked(
        &self,
        manifest: &Manifest,
        tree: &Path,
        what: &str,
        read_only: bool,
    ) -> Result<Vec<String>> {
        let context = || format!("comparing {what} with what was written down");
        let found = manifest.differences(tree, DAEMONS).with_context(context)?;
        self.tell(what, manifest.paths(), &found);
        if found.is_empty() {
            return Ok(Vec::new());
        }
        if read_only {
            self.writable(tree, true)?;
        }
        let mended = manifest.mend(tree, &found);
        if read_only {
            self.writable(tree, false)?;
        }
        mended.with_context(context)?;
        let left = manifest.differences(tree, DAEMONS).with_context(context)?;
        self.tell(&format!("{what}, once mended,"), manifest.paths(), &left);
        let words = |it: &Difference| format!("{what}: {it}");
        Ok(left.iter().map(words).collect())
    }

    fn tell(&self, what: &str, paths: usize, found: &[Difference]) {
        let words: Vec<String> = found.iter().map(ToString::to_string).collect();
        let words = if words.is_empty() {
            "no difference".to_owned()
        } else {
            some_of(&words)
        };
        let log = &self.machine.log;
        log.line(&format!(
            "{what} compared with what was written down: {paths} paths, {words}"
        ));
    }

    fn written_down(&self) -> Result<Written> {
        let file = self.manifest();
        let text = std::fs::read(&file).with_context(|| format!("reading {}", file.display()))?;
        let moved = self.of.moved(self.server).context("it is not there")?;
        let mark = moved.record.config.get(MANIFEST_MARK);
        let right = mark.and_then(|mark| mark.split_once('/')).map(|it| it.1);
        if right != Some(checksum(&text).as_str()) {
            bail!(
                "{} is not what was written down of {}",
                file.display(),
                self.of.name
            );
        }
        serde_json::from_slice(&text).with_context(|| format!("reading {}", file.display()))
    }

    fn manifest(&self) -> PathBuf {
        let name = crate::incus::volume_name(&self.of.name);
        self.machine
            .paths
            .state
            .join(format!("manifest-{name}.json"))
    }

    fn remove_manifest(&self) -> Result<()> {
        let file = self.manifest();
        match std::fs::remove_file(&file) {
            Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
                Err(error).with_context(|| format!("removing {}", file.display()))
            }
            _ => Ok(()),
        }
    }

    /// Writes a file that is there whole, on the disk, or not at all.
    fn write_whole(&self, path: &Path, text: &[u8]) -> std::io::Result<()> {
        let partial = path.with_extension("partial");
        let mut file = std::fs::OpenOptions::new()
            .write(true)
            .create(true)
            .truncate(true)
            .mode(0o600)
            .open(&partial)?;
        file.write_all(text)?;
        file.sync_all()?;
        std::fs::rename(&partial, path)?;
        std::fs::File::open(&self.machine.paths.state)?.sync_all()
    }
}

fn checksum(text: &[u8]) -> String {
    use std::fmt::Write as _;
    Sha256::digest(text)
        .iter()
        .fold(String::new(), |mut text, byte| {
            let _ = write!(text, "{byte:02x}");
            text
        })
}

fn some_of(words: &[String]) -> String {
    let more = words.len().saturating_sub(5);
    let first = words[..words.len() - more].join(", ");
    if more > 0 {
        format!("{first}, and {more} more")
    } else {
        first
    }
}
