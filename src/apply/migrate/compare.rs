//! Copying, and proving that the copy is whole.

use std::path::Path;
use std::sync::mpsc::{self, RecvTimeoutError};
use std::time::{Duration, Instant, SystemTime};

use anyhow::{bail, Context as _, Result};

use super::{words, Work};
use crate::facts::{Instance, Snapshot};
use crate::host::arrivals::Arrivals;
use crate::host::meter::Stage;
use crate::host::tree::{self, Comparison, Contents, Difference, What};
use crate::step::migration::{COPIED_MARK, COPY_MARK};

/// What the daemon writes anew for itself, at the top of an instance's folder.
pub(super) const DAEMONS: &[&str] = &["backup.yaml"];
/// So often what a running container changes is copied again before it is stopped.
const ROUNDS: usize = 3;
/// A copy that is so many seconds old is brought up to date before the stop.
const CATCH_UP_AFTER: i64 = 5;
const LOOK_EVERY: Duration = Duration::from_millis(500);

impl Work<'_> {
    /// Copies while it may run, and compares every byte that does not change meanwhile.
    pub(super) fn copy(&self) -> Result<()> {
        let of = self.of;
        let source = self.volume(&of.from, &of.name.name);
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
        self.transfer()?;
        let meter = &self.machine.meter;
        meter.begin(Stage::Comparing, &of.name.to_string());
        let compared = self.settle(i64::MIN, clock.second).and_then(|()| {
            let mut snapshots = of.snapshots.iter();
            snapshots.try_for_each(|snapshot| self.compare_snapshot(&snapshot.name))
        });
        meter.end();
        compared?;
        self.mark_copied(&clock)
    }

    /// Brings a copy up to date that was made a while ago, while all goes on: so that less is left
    /// to be done once it is stopped.
    pub(super) fn catch_up(&self) -> Result<()> {
        let of = self.of;
        // Only what is nothing but this program's copy is written to.
        let copy = of.copied(self.server).filter(|_| of.then.is_none());
        if copy.is_none_or(|copy| !copy.record.config.contains_key(COPY_MARK)) {
            return Ok(());
        }
        let Some(then) = self.copied_at().filter(Clock::was_not_set) else {
            // It proves nothing any more, and all will be read.
            return Ok(());
        };
        if Clock::now().second - then.second < CATCH_UP_AFTER {
            return Ok(());
        }
        let clock = Clock::read(&self.volume(&of.from, &of.name.name))?;
        self.run_long(&words::refresh(of))?;
        self.settle(then.second, clock.second)?;
        self.mark_copied(&clock)
    }

    /// Compares every byte of the files that last changed between these seconds, and copies again
    /// what is stale; makes the hard links that a transfer does not.
    fn settle(&self, since: i64, until: i64) -> Result<()> {
        let of = self.of;
        let (source, copy) = (
            self.volume(&of.from, &of.name.name),
            self.volume(&of.to, &of.copy),
        );
        visible(&copy)?;
        for round in 1.. {
            let meter = &self.machine.meter;
            let stale = tree::stale(&source, &copy, since..until, DAEMONS, meter)
                .with_context(|| format!("comparing {} with its copy", of.name))?;
            self.note("compared while it was in use", &of.name.to_string(), &stale);
            if stale.differences.is_empty() {
                break;
            }
            if round == ROUNDS {
                bail!("the copy goes on being different: {}", first(&stale));
            }
            // Of the same size and second as the original, they look the same to a transfer.
            remove(&copy, &stale.differences)?;
            self.run_long(&words::refresh(of))?;
        }
        self.mend_early(&source, &copy);
        Ok(())
    }

    /// Makes the hard links and special files of the copy while the original is in use.  What goes
    /// wrong, as things come and go meanwhile, is done and proven when it is stopped.
    fn mend_early(&self, source: &Path, copy: &Path) {
        let nothing_read = Contents::Since(i64::MAX);
        let Ok(mut found) = tree::compare(source, copy, nothing_read, DAEMONS) else {
            return;
        };
        found.differences.retain(|it| match it.what {
            What::Linked(_) => true,
            What::Missing => tree::can_be_mended(source, it),
            _ => false,
        });
        let mended = tree::mend(source, copy, &found.differences, false);
        if !found.differences.is_empty() && mended.is_ok() {
            self.note_mended(&self.of.name.to_string(), &found.differences);
        }
    }

    /// On the disk now, so that nothing waits for it while the container is down.
    fn mark_copied(&self, clock: &Clock) -> Result<()> {
        sync(&self.volume(&self.of.to, &self.of.copy))?;
        sync(&self.machine.paths.state)?;
        self.run(&words::mark_copied(self.of, &clock.to_string()))
    }

    /// Transfers what differs, and counts what arrives.
    fn transfer(&self) -> Result<()> {
        let of = self.of;
        let argv = words::refresh(of);
        let meter = &self.machine.meter;
        meter.begin(Stage::Copying, &of.name.to_string());
        let mut arrivals = Arrivals::in_folder(&self.volume(&of.to, &of.copy));
        let (end, ended) = mpsc::channel::<()>();
        let result = std::thread::scope(|scope| {
            scope.spawn(move || {
                let mut pause = LOOK_EVERY;
                while let Err(RecvTimeoutError::Timeout) = ended.recv_timeout(pause) {
                    let begun = Instant::now();
                    meter.arrived(arrivals.look());
                    // At most a hundredth of the time, however many programs there are.
                    pause = LOOK_EVERY.max(begun.elapsed() * 100);
                }
            });
            let result = self.run_long(&argv);
            drop(end);
            result
        });
        meter.end();
        result
    }

    /// Copies what changed, mends what a transfer loses, and compares all of it.
    ///
    /// Little has changed, and most of that is mended at once by what the comparing found; a
    /// transfer looks at all of it once more, so it is asked for only where it is needed.
    pub(super) fn prove(&self) -> Result<()> {
        let of = self.of;
        let meter = &self.machine.meter;
        meter.begin(Stage::Comparing, &of.name.to_string());
        let proven = self.make_whole();
        meter.end();
        proven?;
        // What it was told is written must be so wherever it is started; a pool that cannot take it
        // says so only now.
        sync(&self.volume(&of.to, &of.copy))?;
        // Its owner may have started it again while it was copied; what counts is that it is
        // stopped now, and that this is what was compared.
        let original = self.server.instance(&of.name);
        let started = original.map_or("", |it| it.record.last_used_at.as_str());
        self.run(&words::mark_proven(of, started))
    }

    fn make_whole(&self) -> Result<()> {
        let of = self.of;
        let (source, copy) = (
            self.volume(&of.from, &of.name.name),
            self.volume(&of.to, &of.copy),
        );
        let context = || format!("comparing {} with its copy", of.name);
        let (snapshots, found) = std::thread::scope(|scope| {
            let snapshots = scope.spawn(|| self.same_snapshots());
            let found = self.compare_all(&source, &copy, "compared");
            let snapshots = snapshots
                .join()
                .unwrap_or_else(|_| bail!("comparing snapshots: panicked"));
            (snapshots, found)
        });
        let mut found = found?;
        let mendable = |it: &Difference| tree::can_be_mended(&source, it);
        if snapshots.is_err() || !found.differences.iter().all(mendable) {
            remove(&copy, &entangled(&found))?;
            self.run_long(&words::refresh(of))?;
            self.same_snapshots()?;
            found = self.compare_all(&source, &copy, "compared, once copied again")?;
        }
        if !found.differences.is_empty() {
            tree::mend(&source, &copy, &found.differences, true).with_context(context)?;
            self.note_mended(&of.name.to_string(), &found.differences);
            found = self.compare_all(&source, &copy, "compared again, once mended")?;
        }
        if !found.differences.is_empty() {
            bail!("the copy of {} is not whole: {}", of.name, first(&found));
        }
        Ok(())
    }

    fn compare_all(&self, source: &Path, copy: &Path, how: &str) -> Result<Comparison> {
        let name = &self.of.name;
        let meter = &self.machine.meter;
        // An empty folder, where something is not mounted, would be mended to be equal.
        both_visible(source, copy)?;
        let found = tree::compare_seen(source, copy, self.contents(), DAEMONS, meter)
            .with_context(|| format!("comparing {name} with its copy"))?;
        both_visible(source, copy)?;
        self.note(how, &name.to_string(), &found);
        Ok(found)
    }

    /// Of which files every byte has to be read now: those that changed since it was done before.
    fn contents(&self) -> Contents {
        match self.copied_at() {
            Some(clock) if !self.of.thorough && clock.was_not_set() => {
                Contents::Since(clock.second)
            }
            _ => Contents::All,
        }
    }

    /// When the copy was begun that every byte was compared of.
    fn copied_at(&self) -> Option<Clock> {
        let copy: &Instance = self.of.copied(self.server)?;
        Clock::parse(copy.record.config.get(COPIED_MARK)?)
    }

    fn same_snapshots(&self) -> Result<()> {
        let of = self.of;
        // Each call takes a while to start.
        let (there, copied) = std::thread::scope(|scope| {
            let there = scope.spawn(|| crate::incus::snapshots_of(self.machine, &of.name));
            let copied = crate::incus::snapshots_of(self.machine, &of.reference(&of.copy));
            let there = there
                .join()
                .unwrap_or_else(|_| bail!("asking for snapshots: panicked"));
            (there, copied)
        });
        let ((there, _), (copied, _)) = (there?, copied?);
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
        self.machine.log.line(&format!(
            "compared: the {} snapshots of {}: their names, dates, expiry and profiles are equal",
            there.len(),
            of.name
        ));
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
        let meter = &self.machine.meter;
        both_visible(&source, &copy)?;
        let mut found = tree::compare_seen(&source, &copy, Contents::All, DAEMONS, meter)
            .with_context(context)?;
        both_visible(&source, &copy)?;
        self.note("compared", &what, &found);
        if !found.differences.is_empty() {
            self.writable(&copy, true)?;
            let mended = tree::mend(&source, &copy, &found.differences, true);
            self.writable(&copy, false)?;
            mended.with_context(context)?;
            self.note_mended(&what, &found.differences);
            found = tree::compare(&source, &copy, Contents::All, DAEMONS).with_context(context)?;
            both_visible(&source, &copy)?;
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

    fn note_mended(&self, what: &str, differences: &[Difference]) {
        let mended = tree::summary(differences);
        self.machine.log.line(&format!("mended: {what}: {mended}"));
    }
}

/// Removes from a copy what is to be transferred anew.
fn remove(copy: &Path, differences: &[Difference]) -> Result<()> {
    for difference in differences {
        let path = copy.join(&difference.path);
        std::fs::remove_file(&path)
            .with_context(|| format!("removing what is stale: {}", path.display()))?;
    }
    Ok(())
}

/// What is one file in the copy and two in the original: nothing but a new file tells them apart.
fn entangled(found: &Comparison) -> Vec<Difference> {
    let differences = found.differences.iter();
    differences
        .filter(|it| it.what == What::Entangled)
        .cloned()
        .collect()
}

fn both_visible(source: &Path, copy: &Path) -> Result<()> {
    visible(source).and_then(|()| visible(copy))
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
