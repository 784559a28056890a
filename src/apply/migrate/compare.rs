//! Copying, and proving that the copy is whole.

use std::path::Path;
use std::time::SystemTime;

use anyhow::{bail, Context as _, Result};

use super::{words, Work};
use crate::facts::{Instance, Snapshot};
use crate::host::tree::{self, Comparison, Contents, Difference};
use crate::step::migration::COPIED_MARK;

/// What the daemon writes anew for itself, at the top of an instance's folder.
pub(super) const DAEMONS: &[&str] = &["backup.yaml"];
/// So often what a running container changes is copied again before it is stopped.
const ROUNDS: usize = 3;

impl Work<'_> {
    /// Copies while it may run, and compares every byte that does not change meanwhile.
    pub(super) fn copy(&self) -> Result<()> {
        let of = self.of;
        let (source, copy) = (
            self.volume(&of.from, &of.name.name),
            self.volume(&of.to, &of.copy),
        );
        visible(&source)?;
        let clock = Clock::read(&source)?;
        if let Some(seed) = words::seed(of) {
            // Without it the copy is as good, and only takes more space.
            if let Err(error) = self.run_long(&seed) {
                let log = &self.machine.log;
                log.line(&format!(
                    "no clone of the base image, copying all: {error:#}"
                ));
            }
        }
        self.run_long(&words::refresh(of))?;
        visible(&copy)?;
        for round in 1.. {
            let stale = tree::stale(&source, &copy, clock.second, DAEMONS)
                .with_context(|| format!("comparing {} with its copy", of.name))?;
            self.note("compared while it was in use", &of.name.to_string(), &stale);
            if stale.differences.is_empty() {
                break;
            }
            if round == ROUNDS {
                bail!("the copy goes on being different: {}", first(&stale));
            }
            // Of the same size and second as the original, they look the same to a transfer.
            for difference in &stale.differences {
                let path = copy.join(&difference.path);
                std::fs::remove_file(&path)
                    .with_context(|| format!("removing what is stale: {}", path.display()))?;
            }
            self.run_long(&words::refresh(of))?;
        }
        for snapshot in &of.snapshots {
            self.compare_snapshot(&snapshot.name)?;
        }
        // On the disk now, so that nothing waits for it while the container is down.
        sync(&copy)?;
        sync(&self.machine.paths.state)?;
        self.run(&words::mark_copied(of, &clock.to_string()))
    }

    /// Copies what changed, mends what a transfer loses, and compares all of it.
    pub(super) fn prove(&self) -> Result<()> {
        let of = self.of;
        let (source, copy) = (
            self.volume(&of.from, &of.name.name),
            self.volume(&of.to, &of.copy),
        );
        self.run_long(&words::refresh(of))?;
        let contents = self.contents();
        let context = || format!("comparing {} with its copy", of.name);
        let mut found = tree::compare(&source, &copy, contents, DAEMONS).with_context(context)?;
        self.note("compared", &of.name.to_string(), &found);
        if !found.differences.is_empty() {
            tree::mend(&source, &copy, &found.differences, true).with_context(context)?;
            found = tree::compare(&source, &copy, contents, DAEMONS).with_context(context)?;
            self.note("compared again, once mended", &of.name.to_string(), &found);
        }
        if !found.differences.is_empty() {
            bail!("the copy of {} is not whole: {}", of.name, first(&found));
        }
        self.same_snapshots()?;
        // Its owner may have started it again while it was copied; what counts is that it is
        // stopped now, and that this is what was compared.
        let original = self.server.instance(&of.name);
        let started = original.map_or("", |it| it.record.last_used_at.as_str());
        self.run(&words::mark_proven(of, started))
    }

    /// Of which files every byte has to be read now: those that changed since it was done before.
    fn contents(&self) -> Contents {
        let mark = self
            .of
            .copied(self.server)
            .and_then(|copy: &Instance| copy.record.config.get(COPIED_MARK));
        match mark.and_then(|mark| Clock::parse(mark)) {
            Some(clock) if !self.of.thorough && clock.was_not_set() => {
                Contents::Since(clock.second)
            }
            _ => Contents::All,
        }
    }

    fn same_snapshots(&self) -> Result<()> {
        let of = self.of;
        let (there, _) = crate::incus::snapshots_of(self.machine, &of.name)?;
        let (copied, _) = crate::incus::snapshots_of(self.machine, &of.reference(&of.copy))?;
        let facts = |snapshots: &[Snapshot]| -> Vec<(String, String, String, Vec<String>)> {
            let mut facts: Vec<_> = snapshots
                .iter()
                .cloned()
                .map(|it| (it.name, it.created_at, it.expires_at, it.profiles))
                .collect();
            facts.sort();
            facts
        };
        if facts(&there) != facts(&copied) {
            bail!("the snapshots of {} and of its copy differ", of.name);
        }
        // One that its schedule took meanwhile.
        for snapshot in &there {
            if !of.snapshots.iter().any(|known| known.name == snapshot.name) {
                self.compare_snapshot(&snapshot.name)?;
            }
        }
        Ok(())
    }

    fn compare_snapshot(&self, snapshot: &str) -> Result<()> {
        let of = self.of;
        let source = self.snapshot(&of.from, &of.name.name, snapshot);
        let copy = self.snapshot(&of.to, &of.copy, snapshot);
        let what = format!("snapshot {}/{snapshot}", of.name);
        let context = || format!("comparing {what} with its copy");
        let mut found =
            tree::compare(&source, &copy, Contents::All, DAEMONS).with_context(context)?;
        self.note("compared", &what, &found);
        if !found.differences.is_empty() {
            self.writable(&copy, true)?;
            let mended = tree::mend(&source, &copy, &found.differences, true);
            self.writable(&copy, false)?;
            mended.with_context(context)?;
            found = tree::compare(&source, &copy, Contents::All, DAEMONS).with_context(context)?;
            self.note("compared again, once mended", &what, &found);
        }
        if !found.differences.is_empty() {
            bail!("the copy of {what} is not whole: {}", first(&found));
        }
        Ok(())
    }

    /// Snapshots on btrfs are subvolumes that cannot be written to.
    pub(super) fn writable(&self, path: &Path, writable: bool) -> Result<()> {
        let pool = self.server.pool(&self.of.to);
        if pool.is_none_or(|pool| pool.driver != "btrfs") {
            return Ok(());
        }
        let read_only = if writable { "false" } else { "true" };
        let path = path.display().to_string();
        self.run(
            &[
                "btrfs", "property", "set", "-t", "subvol", &path, "ro", read_only,
            ]
            .map(ToOwned::to_owned),
        )
    }

    fn note(&self, how: &str, what: &str, found: &Comparison) {
        self.machine.log.line(&format!(
            "{how}: {what}: {} paths, of them every byte of {} files ({} bytes); {} differences",
            found.paths,
            found.read,
            found.bytes,
            found.differences.len()
        ));
    }
}

pub(super) fn visible(volume: &Path) -> Result<()> {
    if volume.join("rootfs").is_dir() {
        return Ok(());
    }
    bail!(
        "{} cannot be looked into from here, so no copy could be proven to be whole",
        volume.display()
    )
}

fn first(found: &Comparison) -> String {
    let shown: Vec<String> = found
        .differences
        .iter()
        .take(5)
        .map(Difference::to_string)
        .collect();
    let more = found.differences.len() - shown.len();
    let more = if more > 0 {
        format!(", and {more} more")
    } else {
        String::new()
    };
    format!("{}{more}", shown.join(", "))
}

/// Brings all of a file system to the disk.
pub(super) fn sync(folder: &Path) -> Result<()> {
    std::fs::File::open(folder)
        .and_then(|file| Ok(rustix::fs::syncfs(file)?))
        .with_context(|| format!("syncing the file system of {}", folder.display()))
}

/// A moment, by the clock that files get their times from, and by one that nobody sets.
struct Clock {
    second: i64,
    uptime: i64,
}

impl Clock {
    /// Now, with everything written before it on the disk: from here on every write shows in the
    /// time that an inode changed, also one through a mapping that was dirty already.
    fn read(folder: &Path) -> Result<Self> {
        let now = Self::now();
        sync(folder)?;
        Ok(Self {
            // Inodes take their times from a clock that is a little behind.
            second: now.second - 1,
            uptime: now.uptime - 1,
        })
    }

    fn now() -> Self {
        let seconds = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH);
        let uptime = std::fs::read_to_string("/proc/uptime").unwrap_or_default();
        let uptime = uptime.split('.').next().and_then(|text| text.parse().ok());
        Self {
            second: seconds.map_or(0, |time| i64::try_from(time.as_secs()).unwrap_or(0)),
            uptime: uptime.unwrap_or(-1),
        }
    }

    fn parse(text: &str) -> Option<Self> {
        let (second, uptime) = text.split_once('/')?;
        Some(Self {
            second: second.parse().ok()?,
            uptime: uptime.parse().ok()?,
        })
    }

    /// Whether the clock went on evenly since then: otherwise times of files prove nothing.
    fn was_not_set(&self) -> bool {
        let now = Self::now();
        let (wall, machine) = (now.second - self.second, now.uptime - self.uptime);
        self.uptime >= 0 && machine >= 0 && (wall - machine).abs() <= 1
    }
}

impl std::fmt::Display for Clock {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}/{}", self.second, self.uptime)
    }
}
