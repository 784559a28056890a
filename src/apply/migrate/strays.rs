//! What a move that was cut short has left: deleted where it is the lesser, or given the name.

use anyhow::{bail, Context as _, Result};

use super::compare::DAEMONS;
use super::{words, Work};
use crate::host::tree::manifest::Manifest;
use crate::host::tree::{self, Contents, Difference, Newer, What};

impl Work<'_> {
    /// Deletes it, once it is proven right now that the original has all of it.
    pub(super) fn delete_stray(&self, stray: &str) -> Result<()> {
        let of = self.of;
        let reference = of.reference(stray);
        let Some(found) = self.server.instance(&reference) else {
            return Ok(());
        };
        let identity = |it: &crate::facts::Instance| it.record.config.get("volatile.uuid").cloned();
        let original = self
            .server
            .instance(&of.name)
            .context("the original is gone")?;
        if identity(found).is_none() || identity(found) != identity(original) {
            bail!("{stray} and {} are not one container any more", of.name);
        }
        if found.status != "Stopped" {
            bail!("{stray} is {}", found.status);
        }
        let (machine, server) = (self.machine, self.server);
        let more = crate::incus::only_in(machine, server, &reference, &of.name, Newer::Passes)?;
        if !more.nothing() {
            bail!("{stray} has what {} has not: {more}", of.name);
        }
        self.machine.log.line(&format!(
            "{stray}: every path of it is in {}, with equal content or newer",
            of.name
        ));
        let pool = found.pool.clone().unwrap_or_default();
        self.make_deletable(&pool, stray)?;
        self.run_long(&words::delete(of, stray))
    }

    /// Gives it the name, the configuration and the identity.
    pub(super) fn adopt(&self) -> Result<()> {
        self.take_over(&self.of.copy)?;
        let (record, devices) = self.of.becomes();
        self.put_identity(record, &devices)
    }

    /// Gives it the name; what remains of the original is kept under another.  Each half may have
    /// been done by a run that was killed.
    pub(super) fn take_over(&self, stray: &str) -> Result<()> {
        let of = self.of;
        let mut keep = of.parked(self.server).is_some();
        if of.copied_as(self.server, stray).is_none() {
            return Ok(());
        }
        if let Some(original) = self.server.instance(&of.name).filter(|_| of.from != of.to) {
            let (machine, server) = (self.machine, self.server);
            let reference = of.reference(stray);
            if original.status != "Stopped" {
                bail!("{} is {}", of.name, original.status);
            }
            let more = crate::incus::only_in(machine, server, &of.name, &reference, Newer::Counts)?;
            if !more.nothing() {
                bail!("{} has what {stray} has not: {more}", of.name);
            }
            if self.volume(&of.from, &of.name.name).exists() {
                self.mend_links(stray)?;
                self.drop_emptied_snapshots()?;
                self.run(&words::rename(of, &of.name.name, &of.kept))?;
                keep = true;
            } else {
                // Not a file is left of it.
                self.run(&words::delete(of, &of.name.name))?;
            }
        }
        if keep {
            let config = self.kept_config(&of.was.config);
            self.put(&of.kept, &config, &of.inert(&of.root_here()))?;
        }
        self.run(&words::rename(of, stray, &of.name.name))
    }

    /// A snapshot of the original whose files the daemon deleted, and not yet its record, lets the
    /// original not be renamed.  What it held is in the stray, as was just compared.
    fn drop_emptied_snapshots(&self) -> Result<()> {
        let of = self.of;
        let (snapshots, _) = crate::incus::snapshots_of(self.machine, &of.name)?;
        for snapshot in snapshots {
            if !self
                .snapshot(&of.from, &of.name.name, &snapshot.name)
                .exists()
            {
                self.run(&words::delete_snapshot(of, &snapshot.name))?;
            }
        }
        Ok(())
    }

    /// Makes hard links and flags again that are still to be seen in what remains of the original.
    fn mend_links(&self, stray: &str) -> Result<()> {
        let of = self.of;
        let remains = self.volume(&of.from, &of.name.name);
        let copy = self.volume(&of.to, stray);
        let context = || format!("mending hard links and flags of {stray}");
        // Every byte has been compared by now.
        let contents = Contents::Since(i64::MAX);
        let found = tree::compare(&remains, &copy, contents, DAEMONS).with_context(context)?;
        let linked = |it: &Difference| matches!(it.what, What::Linked(_));
        let (links, others): (Vec<_>, Vec<_>) = found.differences.into_iter().partition(linked);
        if !links.is_empty() {
            // Times of what is half deleted are not what they were; the copy's are.
            let as_it_is = Manifest::of(&copy, DAEMONS).with_context(context)?;
            as_it_is.mend(&copy, &links).with_context(context)?;
        }
        let flags: Vec<_> = others
            .into_iter()
            .filter(|it| it.what == What::Flags)
            .collect();
        tree::mend(&remains, &copy, &flags, true).with_context(context)
    }
}
