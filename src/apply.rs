//! The only place with effects: begin, run, look, done; or the way back.

use std::os::fd::BorrowedFd;
use std::time::{Duration, Instant};

use anyhow::{anyhow, bail, Context as _, Result};

use crate::facts::{Config, Facts};
use crate::host::Machine;
use crate::incus;
use crate::journal::{End, Progress, Writer};
use crate::plan::Approved;
use crate::step::{Scope, Step};

/// Why a run is taken back that did not fail.
pub const ASKED: &str = "undo was asked for";

mod cluster;
mod image;
mod measure;
mod migrate;
mod perform;
mod remains;

pub use measure::measure;
pub use migrate::{complete_renames, STAYS_UP};
use perform::perform;
pub use perform::{commands, start, wait_until_ready};

/// What is being done, for whoever watches.
#[derive(Debug, Clone, Copy)]
pub enum Event<'a> {
    /// This comes next; whoever watches may hold it up.
    Next(&'a Step),
    Begin(&'a Step),
    Done(&'a Step, Duration),
    Skipped(&'a Step),
    Failed(&'a Step),
    /// It cannot go on just now, for this reason.
    Waiting(&'a str),
    /// Everything that was done is taken back, for this reason.
    Back(&'a str),
}

/// How applying ended.
#[derive(Debug)]
pub enum Outcome {
    Done,
    /// What the first steps revealed asks for another plan than the one that was approved.
    Changed,
    /// Somebody asked to stop; these steps are left.
    Stopped {
        remaining: Vec<Step>,
        /// Whether anything was begun before.
        begun: bool,
    },
    /// It failed, and what was begun has been taken back.
    Failed {
        error: anyhow::Error,
    },
    /// It failed with nothing to be gained by going back; these steps are left to finish it.
    Halted {
        error: anyhow::Error,
        remaining: Vec<Step>,
    },
    /// It failed, and so did taking it back; these steps are still in place.
    Stuck {
        error: anyhow::Error,
        remaining: Vec<Step>,
    },
}

/// Fetches the base image: which one, and whether in the background.
pub trait Fetcher: Fn(&Config, bool) -> Result<()> {}
impl<F: Fn(&Config, bool) -> Result<()>> Fetcher for F {}

/// What applying works with.
pub struct Applier<'a, 'lock> {
    pub machine: &'a Machine,
    pub writer: Writer<'lock>,
    pub lock: BorrowedFd<'a>,
    /// Kept up to date with what is seen.
    pub facts: &'a mut Facts,
    pub watch: &'a dyn Fn(Event<'_>),
    pub fetch: &'a dyn Fetcher,
    /// Whether the images have to be looked at along with everything else.
    pub images: bool,
}

impl Applier<'_, '_> {
    /// Runs what was approved.  `still_right` says, once the daemon answers, whether the rest of
    /// the plan is what would be planned now.
    ///
    /// # Errors
    /// Only if the journal cannot be written.
    pub fn forwards(
        mut self,
        approved: &Approved,
        progress: &[Progress],
        still_right: &dyn Fn(&Facts, &[Step]) -> bool,
    ) -> Result<Outcome> {
        let steps = approved.steps();
        let mut progress = progress.to_vec();
        for (index, step) in steps.iter().enumerate() {
            if matches!(progress[index], Progress::Done | Progress::Skipped) {
                continue;
            }
            (self.watch)(Event::Next(step));
            if step.can_wait() && self.machine.signals.stop_asked() {
                let begun = progress.contains(&Progress::Done);
                if !begun {
                    self.writer.end(End::Undone)?;
                }
                return Ok(Outcome::Stopped {
                    remaining: steps[index..].to_vec(),
                    begun,
                });
            }
            let in_doubt = progress[index] == Progress::Begun;
            if step.holds(self.facts) {
                // Begun and true means done by the run that was cut short.
                if in_doubt {
                    self.writer.done(index)?;
                    progress[index] = Progress::Done;
                } else {
                    self.writer.skipped(index)?;
                    progress[index] = Progress::Skipped;
                }
                (self.watch)(Event::Skipped(step));
                continue;
            }
            self.writer.begin(index)?;
            progress[index] = Progress::Begun;
            if let Err(error) = self.carry_out(step, in_doubt) {
                (self.watch)(Event::Failed(step));
                if step.fetches() && self.machine.signals.stop_asked() {
                    // What came is kept, for whoever goes on.
                    return Ok(Outcome::Stopped {
                        remaining: steps[index..].to_vec(),
                        begun: true,
                    });
                }
                if !step.goes_back() || self.stays(&steps[..=index], &progress) {
                    let remaining = steps[index..].to_vec();
                    return Ok(Outcome::Halted { error, remaining });
                }
                return self.backwards(steps, &progress, error);
            }
            self.writer.done(index)?;
            progress[index] = Progress::Done;
            let rest = &steps[index + 1..];
            if step.reveals() && !rest.is_empty() && !still_right(self.facts, rest) {
                self.writer.end(End::Completed)?;
                return Ok(Outcome::Changed);
            }
        }
        self.writer.end(End::Completed)?;
        Ok(Outcome::Done)
    }

    /// Runs the first step alone, and leaves the run open: [`Applier::forwards`] goes on with it, or
    /// [`Applier::backwards`] takes it back.
    ///
    /// # Errors
    /// If the step fails, or the journal cannot be written.
    pub fn first(mut self, approved: &Approved) -> Result<()> {
        let step = approved.steps().first().context("there is no step")?;
        self.writer.begin(0)?;
        self.carry_out(step, false)?;
        self.writer.done(0)
    }

    /// Takes back everything that is begun or done, last first.
    ///
    /// # Errors
    /// Only if the journal cannot be written.
    pub fn backwards(
        mut self,
        steps: &[Step],
        progress: &[Progress],
        error: anyhow::Error,
    ) -> Result<Outcome> {
        let why = format!("{error:#}");
        self.writer.back(&why)?;
        (self.watch)(Event::Back(&why));
        // After a failure nothing that was read before is taken for granted.
        let mut trouble = self.look(Scope::Everything).err();
        for (index, step) in steps.iter().enumerate().rev() {
            if !matches!(progress[index], Progress::Begun | Progress::Done) {
                continue;
            }
            if let (None, Some(undo)) = (&trouble, step.undo()) {
                if !undo.holds(self.facts) && !undo.moot(self.facts) {
                    self.writer.undo(index)?;
                    trouble = self.carry_out(&undo, true).err();
                } else {
                    trouble = perform::tidy(&undo).err();
                }
            }
            if trouble.is_none() && progress[index] == Progress::Begun {
                trouble =
                    remains::remove(self.machine, self.facts, step, self.writer.approved()).err();
            }
            if let Some(trouble) = trouble {
                let remaining = steps[..=index]
                    .iter()
                    .zip(progress)
                    .rev()
                    .filter(|(_, progress)| matches!(progress, Progress::Begun | Progress::Done))
                    .filter_map(|(step, _)| step.undo())
                    .collect();
                return Ok(Outcome::Stuck {
                    error: anyhow!("{error:#}; and taking it back failed, too: {trouble:#}"),
                    remaining,
                });
            }
            self.writer.undone(index)?;
        }
        self.writer.end(End::Undone)?;
        Ok(Outcome::Failed { error })
    }

    /// Runs one step and looks whether it did what it is for.  `in_doubt`: it may have been begun
    /// before, so that something half-made may be in its way.
    fn carry_out(&mut self, step: &Step, in_doubt: bool) -> Result<()> {
        (self.watch)(Event::Begin(step));
        let begun = Instant::now();
        let what = step.describe();
        // Deleting is the one thing whose conditions are looked at again right before.
        if matches!(step, Step::DeletePool { .. }) {
            self.look(Scope::Pools)?;
        }
        if in_doubt {
            self.clear_half_made(step)?;
        }
        if let Some(why) = step.blocked(self.facts) {
            bail!("cannot {what}: {why}");
        }
        let ran = match step {
            Step::Migrate { part, of } => {
                migrate::perform(self.machine, self.lock, self.facts, *part, of)
            }
            Step::FetchImage {
                wanted, detached, ..
            } => (self.fetch)(wanted, *detached),
            _ => image::perform(self.machine, self.lock, step)
                .unwrap_or_else(|| perform(self.machine, self.lock, step)),
        };
        step.expect(self.facts);
        let looked = self.look(step.scope());
        ran.with_context(|| format!("trying to {what}"))?;
        looked?;
        if !step.holds(self.facts) {
            bail!("trying to {what}: every command succeeded, and yet it is not so");
        }
        (self.watch)(Event::Done(step, begun.elapsed()));
        Ok(())
    }

    /// Removes a pool that a creation which was cut short left unusable.  It is this program's
    /// own: its journal says that it began to create it, where there was none.
    fn clear_half_made(&mut self, step: &Step) -> Result<()> {
        let Step::CreatePool { pool } = step else {
            return Ok(());
        };
        let half_made = self
            .facts
            .server()
            .and_then(|server| server.pool(&pool.name))
            .is_some_and(|found| found.status != "Created" && found.users.is_empty())
            // In a cluster it goes on where it was.
            && pool.parts.is_empty();
        if let (true, Some(undo)) = (half_made, step.undo()) {
            perform(self.machine, self.lock, &undo)
                .with_context(|| format!("trying to remove the half-made pool {}", pool.name))?;
            self.look(Scope::Pools)?;
        }
        remains::remove(self.machine, self.facts, step, self.writer.approved())
    }

    /// Whether nothing is gained by going back: what members of a cluster have a part of cannot be
    /// taken back either before all of them are there again.
    fn stays(&mut self, steps: &[Step], progress: &[Progress]) -> bool {
        let mut begun = steps.iter().zip(progress);
        let shared = begun.any(|(step, progress)| {
            step.needs_members() && matches!(progress, Progress::Begun | Progress::Done)
        });
        // Where it is not known how it stands, the way back finds out.
        shared
            && self.look(Scope::Everything).is_ok()
            && self
                .facts
                .server()
                .and_then(|server| server.cluster.as_ref())
                .is_some_and(|cluster| cluster.silent().next().is_some())
    }

    fn look(&mut self, scope: Scope) -> Result<()> {
        let (machine, watch) = (self.machine, self.watch);
        let say = |why: &str| watch(Event::Waiting(why));
        let clustered = self.facts.server().is_some_and(|server| server.clustered);
        incus::patiently(machine, clustered, &say, || self.look_now(scope))
    }

    fn look_now(&mut self, scope: Scope) -> Result<()> {
        match scope {
            Scope::Everything => {
                // It is asked for again if there is no answer.
                let source = self.facts.host.source.clone();
                let looked = crate::look(self.machine, None)?;
                *self.facts = looked;
                self.facts.host.source = source;
                if self.images {
                    incus::look_at_images(self.machine, self.facts)?;
                }
            }
            Scope::Image => {
                self.facts.host.trigger = crate::image::trigger(self.machine);
                incus::refresh(self.machine, self.facts, scope)?;
            }
            scope => incus::refresh(self.machine, self.facts, scope)?,
        }
        Ok(())
    }
}
