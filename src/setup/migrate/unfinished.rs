//! Migrations that were cut short.

use std::time::{Duration, Instant};

use anyhow::{bail, Result};

use super::super::Setup;
use crate::apply::complete_renames;
use crate::facts::Reference;
use crate::incus;
use crate::journal::{Lock, Progress, Record};
use crate::plan::{approve, Pins, Refusal, Yes};
use crate::report::Ending;
use crate::step::migration::{Migration, Part, STRAY};
use crate::step::Step;

impl Setup<'_> {
    /// Deals with a migration that was cut short.  It was approved, and a container may be down: so
    /// nobody is asked again.  Before the change of names all is taken back; from then on the copy is
    /// proven, and it is finished.
    pub(in crate::setup) fn go_on_migrating(
        &mut self,
        record: &Record,
        of: &Migration,
    ) -> Result<Option<Ending>> {
        if self.manner.dry_run {
            self.ui.say(&format!(
                "The migration of {} of {} was cut short. Before anything else it would be \
                 finished or taken back.",
                of.name, record.time
            ));
            return Ok(Some(Ending::Planned));
        }
        let lock = self.lock()?;
        self.heal(&lock, record, of)
    }

    pub(super) fn heal(
        &mut self,
        lock: &Lock,
        record: &Record,
        of: &Migration,
    ) -> Result<Option<Ending>> {
        let mut facts = self.look_patiently()?;
        if facts.server().is_none() {
            // It may have died with the run.
            if let Some(ending) = self.wake(&facts)? {
                return Ok(Some(ending));
            }
            facts = self.look_patiently()?;
        }
        if of.plain && self.wait_for_the_daemon(of)? {
            facts = self.look_patiently()?;
        }
        if let Some(server) = facts.server() {
            let renamed = complete_renames(self.machine, server, of)?;
            for (old, new) in &renamed {
                self.ui.say(&format!(
                    "{old} was only half renamed to {new}; that is completed."
                ));
            }
            if !renamed.is_empty() {
                facts = self.look_patiently()?;
            }
        }
        let lives = facts
            .server()
            .and_then(|server| of.moved(server))
            .is_some_and(|moved| moved.status == "Running" && of.ran_since(moved));
        let begun = record
            .steps
            .iter()
            .zip(&record.progress)
            .any(|(step, progress)| {
                matches!(
                    step,
                    Step::Migrate {
                        part: Part::Switch | Part::DeleteKept | Part::DeleteStray | Part::Adopt,
                        ..
                    }
                ) && matches!(progress, Progress::Begun | Progress::Done)
            });
        let forward = if of.plain {
            match self.after_plain_move(&mut facts, of)? {
                Ok(forward) => forward,
                Err(stuck) => return Ok(Some(stuck)),
            }
        } else {
            let half = |step: &Step| {
                let adopts = matches!(
                    step,
                    Step::Migrate {
                        part: Part::Adopt,
                        ..
                    }
                );
                adopts && step.undo().is_some_and(|leave| !leave.holds(&facts))
            };
            lives || (begun && (record.back.is_none() || record.steps.iter().any(half)))
        };
        self.ui.say(&format!(
            "The migration of {} of {} was cut short. Before anything else it is {}.",
            of.name,
            record.time,
            if forward { "finished" } else { "taken back" }
        ));
        let writer = lock.resume(record)?;
        let ended = if forward {
            let whole = approve(record.steps.clone(), &Yes::Option(Pins::All))?;
            self.run_forwards(facts, lock, writer, &whole, &record.progress)
        } else {
            let why = record.back.as_deref().unwrap_or("it was cut short");
            Some(self.run_backwards(facts, lock, writer, record, why))
        };
        Ok(match ended {
            Some(Ending::Done | Ending::Failed { .. }) | None => None,
            other => other,
        })
    }

    /// A plain move goes on in the daemon, also after the command that asked for it has died with
    /// this program.  Whether there was anything to wait for.
    fn wait_for_the_daemon(&self, of: &Migration) -> Result<bool> {
        let ours = |name: &Reference| *name == of.name || name.name.starts_with(STRAY);
        let bound = self.machine.bounds.change + Duration::from_secs(of.landing.0 >> 20);
        let begun = Instant::now();
        let mut waited = false;
        while incus::busy(self.machine)?.iter().any(ours) {
            if begun.elapsed() > bound {
                bail!(Refusal::new(
                    format!("the daemon is still at work on {}", of.name),
                    [
                        "see at what with: incus operation list",
                        "then run this again; nothing was touched",
                    ],
                ));
            }
            if !waited {
                self.ui
                    .say("Waiting for the daemon, which is still moving it…");
            }
            waited = true;
            std::thread::sleep(Duration::from_millis(200));
        }
        Ok(waited)
    }
}
