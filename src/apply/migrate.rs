//! The effects of a migration's parts.

use std::os::fd::BorrowedFd;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use anyhow::{bail, Context as _, Result};

use crate::facts::{Config, Devices, Facts, Record, Server};
use crate::host::{tree, Machine};
use crate::step::migration::{Migration, Part, COPY_MARK, KEPT_MARK};

mod compare;
mod opened;
mod plain_move;
mod renames;
mod strays;
mod words;

pub use renames::complete_renames;
pub use words::commands;

/// How long a container must stay up to count as started.
pub const STAYS_UP: Duration = Duration::from_secs(2);

/// Does what a part says.
pub(super) fn perform(
    machine: &Machine,
    lock: BorrowedFd<'_>,
    facts: &Facts,
    part: Part,
    of: &Migration,
) -> Result<()> {
    let server = facts.server().context("the Incus daemon does not answer")?;
    let work = Work {
        machine,
        server,
        of,
        opened: opened::Opened::default(),
    };
    // Should this program be killed now, the lock stays until its last command is through.
    crate::journal::inherit(lock, true);
    let result = match part {
        Part::Copy => work.copy(),
        Part::DeleteCopy => work.delete_copy(),
        Part::Stop => work.stop(),
        Part::Resume | Part::Start => work.start(),
        Part::Prove => work.prove(),
        Part::Switch => work.switch(),
        Part::SwitchBack => work.switch_back(),
        Part::Halt => work.halt(),
        Part::DeleteKept => work.delete_kept(),
        Part::Loosen => work.run(&words::loosen(of)),
        Part::Tighten => work.run(&words::tighten(of)),
        Part::Record => work.record(),
        Part::Forget => work.forget(),
        Part::Move => work.plain_move(),
        Part::Unmove => work.unmove(),
        Part::Check => work.check(),
        Part::DeleteStray => work.delete_stray(&of.copy),
        Part::Adopt => work.adopt(),
        Part::Leave => Ok(()),
    };
    work.opened.close(machine);
    crate::journal::inherit(lock, false);
    result
}

struct Work<'a> {
    machine: &'a Machine,
    server: &'a Server,
    of: &'a Migration,
    opened: opened::Opened,
}

impl Work<'_> {
    fn run(&self, argv: &[String]) -> Result<()> {
        self.machine.run(argv, self.machine.bounds.change)?;
        Ok(())
    }

    /// Runs what copies data; on a slow card that takes as long as it takes.
    fn run_long(&self, argv: &[String]) -> Result<()> {
        let seconds = self.of.landing.0 >> 20;
        let bound = self.machine.bounds.change + Duration::from_secs(seconds);
        let result = self.machine.run(argv, bound);
        self.opened.reopen(self.machine);
        result?;
        Ok(())
    }

    /// Puts an instance's whole configuration; through stdin, as other users see arguments.
    fn put(&self, name: &str, config: &Config, devices: &Devices) -> Result<()> {
        self.put_as(&self.of.was, name, config, devices)
    }

    /// As [`Work::put`], with what is neither configuration nor a device from `was`.
    fn put_as(&self, was: &Record, name: &str, config: &Config, devices: &Devices) -> Result<()> {
        let document = serde_json::json!({
            "architecture": was.architecture,
            "config": config,
            "description": was.description,
            "devices": devices,
            "ephemeral": was.ephemeral,
            "profiles": was.profiles,
            "stateful": was.stateful,
        });
        let argv = words::edit(self.of, name);
        let bound = self.machine.bounds.change;
        self.machine
            .run_with_input(&argv, document.to_string().into_bytes(), bound)?;
        Ok(())
    }

    /// Puts what the container was, under its own name.
    fn put_identity(&self, was: &Record, devices: &Devices) -> Result<()> {
        let name = &self.of.name.name;
        self.put_as(was, name, &was.config, devices)?;
        // A network card that comes back gets a new address, and the container a new identity;
        // without a change of devices both are taken as they are given.
        if was.expanded_devices.len() > 1 {
            self.put_as(was, name, &was.config, devices)?;
        }
        Ok(())
    }

    fn stop(&self) -> Result<()> {
        self.catch_up()?;
        self.machine.meter.down();
        let seconds = self.of.was.config.get("boot.host_shutdown_timeout");
        let seconds: u64 = seconds.and_then(|text| text.parse().ok()).unwrap_or(30);
        let bound = Duration::from_secs(seconds) + self.machine.bounds.change;
        let given = Duration::from_secs(seconds);
        let begun = Instant::now();
        let stopped = self.machine.run(&words::stop(self.of), bound);
        // It was told to, and cannot be told otherwise: one that only takes longer would be down
        // soon after it was said to be as it was.
        let late = stopped.is_err() && begun.elapsed() >= given;
        if late && self.stops_within(given) {
            return Ok(());
        }
        stopped.with_context(|| {
            format!(
                "it was given {seconds} s (boot.host_shutdown_timeout), and as long again, and \
                 goes on; it may stop yet, so look at it, and stop it yourself before you migrate it"
            )
        })?;
        Ok(())
    }

    fn stops_within(&self, bound: Duration) -> bool {
        let begun = Instant::now();
        loop {
            match crate::incus::status_of(self.machine, &self.of.name) {
                Ok(status) if status == "Stopped" => return true,
                _ if begun.elapsed() > bound => return false,
                _ => std::thread::sleep(Duration::from_millis(250)),
            }
        }
    }

    /// Starts what has the container's name, and sees that it stays up.
    fn start(&self) -> Result<()> {
        self.run(&words::start(self.of))?;
        self.machine.meter.up();
        let begun = Instant::now();
        while begun.elapsed() < STAYS_UP {
            std::thread::sleep(Duration::from_millis(250));
            let status = self.settled_status()?;
            if status != "Running" {
                bail!("it started, and was {status} soon after");
            }
        }
        Ok(())
    }

    /// Stops the copy that has the container's name; it may end by itself at the same time.
    fn halt(&self) -> Result<()> {
        let stopped = self.run(&words::halt(self.of));
        match self.settled_status() {
            Ok(status) if status == "Stopped" => Ok(()),
            _ => stopped,
        }
    }

    /// What state it is in.  Of one that is ending just now the daemon cannot tell.
    fn settled_status(&self) -> Result<String> {
        let asked = Instant::now();
        loop {
            match crate::incus::status_of(self.machine, &self.of.name) {
                Err(_) if asked.elapsed() < 5 * STAYS_UP => {
                    std::thread::sleep(Duration::from_millis(250));
                }
                answer => return answer,
            }
        }
    }

    /// Each half of the change of names may have been done by a run that was killed.
    fn switch(&self) -> Result<()> {
        let of = self.of;
        if of.parked(self.server).is_none() {
            self.run(&words::rename(of, &of.name.name, &of.kept))?;
        }
        let config = self.kept_config(&of.was.config);
        // The name is free now, whatever the kept original still has: each call takes a while.
        std::thread::scope(|scope| {
            let kept = scope.spawn(|| self.put(&of.kept, &config, &of.inert(&of.root_here())));
            let renamed = match of.moved(self.server) {
                None => self.run(&words::rename(of, &of.copy, &of.name.name)),
                Some(_) => Ok(()),
            };
            let kept = kept.join();
            kept.unwrap_or_else(|_| bail!("keeping the original: panicked"))?;
            renamed
        })?;
        // Incus writes its database down at once, and the renamed folder with whatever comes next.
        self.settle_names(&of.to)?;
        // Only one of the two may have network cards at a time.
        let (record, devices) = of.becomes();
        self.put_identity(record, &devices)
    }

    /// Brings the names of a pool's folders to the disk.  Those of ZFS datasets are there already.
    fn settle_names(&self, pool: &str) -> Result<()> {
        let found = self.server.pool(pool);
        if found.is_some_and(|pool| pool.datasets().is_some()) {
            return Ok(());
        }
        compare::sync(&self.volume(pool, &self.of.name.name))
    }

    /// What an original is configured as while it is kept.
    fn kept_config(&self, was: &Config) -> Config {
        let mut config = was.clone();
        config.retain(|key, _| !key.starts_with("volatile.") || !key.ends_with(".hwaddr"));
        // Nothing is taken of what only waits.
        config.remove("snapshots.schedule");
        config.insert(KEPT_MARK.into(), self.of.name.name.clone());
        config.insert("boot.autostart".into(), "false".into());
        config
    }

    fn switch_back(&self) -> Result<()> {
        let of = self.of;
        if let Some(moved) = of.moved(self.server) {
            // The daemon lets nobody take away how its files' owners are mapped.
            let mut config = moved.record.config.clone();
            config.retain(|key, _| key.starts_with("volatile.") && key.contains("idmap"));
            if let Some(then) = &of.then {
                // It is kept again, as it was before.
                config.extend(self.kept_config(&then.record.config));
            } else {
                config.extend(copy_config());
            }
            self.put(&of.name.name, &config, &of.inert(&of.root))?;
            self.run(&words::rename(of, &of.name.name, &of.copy))?;
        }
        if of.parked(self.server).is_some() {
            self.run(&words::rename(of, &of.kept, &of.name.name))?;
            self.settle_names(&of.from)?;
        }
        self.put_identity(&of.was, &of.devices)
    }

    fn delete_copy(&self) -> Result<()> {
        let of = self.of;
        self.make_deletable(&of.to, &of.copy)?;
        self.run_long(&words::delete(of, &of.copy))
    }

    fn delete_kept(&self) -> Result<()> {
        let of = self.of;
        let kept = of.parked(self.server).context("it is not there")?;
        if kept
            .record
            .config
            .contains_key("security.protection.delete")
        {
            self.run(&words::unprotect(of))?;
        }
        self.make_deletable(&of.from, &of.kept)?;
        self.run_long(&words::delete(of, &of.kept))
    }

    /// An immutable file keeps even the daemon from deleting it.
    fn make_deletable(&self, pool: &str, name: &str) -> Result<()> {
        if self
            .server
            .pool(pool)
            .is_some_and(|pool| pool.datasets().is_some())
        {
            // ZFS has no such flags, and what is mounted cannot be deleted.
            return Ok(());
        }
        let volume = self.volume(pool, name);
        tree::clear_flags(&volume)
            .with_context(|| format!("clearing the flags of what lies in {}", volume.display()))
    }

    fn pool_folder(&self, pool: &str) -> PathBuf {
        self.machine.paths.incus.join("storage-pools").join(pool)
    }

    /// Where an instance's files lie.
    fn volume(&self, pool: &str, name: &str) -> PathBuf {
        let folder = crate::incus::volume_name(&self.of.reference(name));
        let path = self.pool_folder(pool).join("containers").join(&folder);
        let what = (pool, folder.as_str(), None);
        self.opened.open(self.machine, self.server, what, &path);
        path
    }

    /// Where the files of an instance's snapshot lie.
    fn snapshot(&self, pool: &str, name: &str, snapshot: &str) -> PathBuf {
        let folder = crate::incus::volume_name(&self.of.reference(name));
        let path = self
            .pool_folder(pool)
            .join("containers-snapshots")
            .join(&folder)
            .join(snapshot);
        let what = (pool, folder.as_str(), Some(snapshot));
        self.opened.open(self.machine, self.server, what, &path);
        path
    }
}

/// All that is set on a copy: it is one, and does not start by itself.
fn copy_config() -> Config {
    Config::from([
        (COPY_MARK.to_owned(), "1".to_owned()),
        ("boot.autostart".to_owned(), "false".to_owned()),
    ])
}
