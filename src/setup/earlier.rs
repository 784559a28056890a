//! Earlier runs: taking a completed one back, and dealing with one that was cut short.

use anyhow::{bail, Result};

use super::Setup;
use crate::apply::{start, ASKED};
use crate::facts::{Facts, Incus};
use crate::journal::{self, End, Record};
use crate::plan::{approve, backwards, Pins, Plan, Refusal, Yes};
use crate::report::Ending;
use crate::step::{DaemonStart, Step};

/// The run that was cut short, if there is one; of several that were at work the one that began
/// first, as only its container may be down.
#[must_use]
pub fn unfinished(records: &[Record]) -> Option<&Record> {
    records.iter().find(|record| record.end.is_none())
}

impl Setup<'_> {
    /// Takes back what the last completed run made, or one that was cut short.
    pub(super) fn undo(&mut self) -> Result<Ending> {
        if let Some(ending) = self.undo_migrations()? {
            return Ok(ending);
        }
        let seen = journal::records(&self.machine.paths.state)?;
        let last = unfinished(&seen).or_else(|| seen.iter().rev().find(|run| can_go_back(run)));
        let Some(record) = last else {
            bail!(Refusal::new(
                "there is no completed run to take back",
                ["nothing on this host was made by taos-setup, as far as its journal tells"],
            ));
        };
        self.images_matter = record.steps.iter().any(Step::minds_image);
        // Another run may be writing this very record.
        let lock = (!self.manner.dry_run).then(|| self.lock()).transpose()?;
        let mut facts = self.look()?;
        if facts.server().is_none() {
            match self.wake(&facts)? {
                Some(ending) => return Ok(ending),
                None => facts = self.look()?,
            }
        }
        let steps = backwards(&facts, &record.made())?;
        let planned = plan_of(steps.clone());
        self.report.planned(&planned);
        self.ui
            .say(&format!("Taking back the run of {}", record.time));
        self.ui.show_plan(&planned, self.manner.dry_run);
        let Some(lock) = lock else {
            return Ok(Ending::Planned);
        };
        if !steps.is_empty() {
            self.consent(planned)?;
            if !self.manner.yes {
                facts = self.look()?;
                if backwards(&facts, &record.made())? != steps {
                    bail!(changed_meanwhile(&self.manner.command));
                }
            }
        }
        let writer = lock.resume(record)?;
        Ok(
            match self.run_backwards(facts, &lock, writer, record, ASKED) {
                Ending::Failed { .. } => Ending::Undone,
                other => other,
            },
        )
    }

    /// Deals with the migrations that were cut short, and nothing else then.
    fn undo_migrations(&mut self) -> Result<Option<Ending>> {
        let mut dealt_with = None;
        loop {
            let seen = journal::records(&self.machine.paths.state)?;
            let Some(record) = unfinished(&seen) else {
                return Ok(dealt_with);
            };
            let Some(of) = record.steps.iter().find_map(Step::migrates) else {
                return Ok(dealt_with);
            };
            match self.go_on_migrating(record, of)? {
                Some(ending) => return Ok(Some(ending)),
                None => dealt_with = Some(Ending::Done),
            }
        }
    }

    /// Starts a daemon that died, or was stopped, since an earlier run.  No ending means that it
    /// answers now.
    pub(super) fn wake(&mut self, facts: &Facts) -> Result<Option<Ending>> {
        let with = DaemonStart::of(&facts.host);
        let mut planned = plan_of(vec![Step::StartDaemon { with: with.clone() }]);
        planned.open_end = true;
        self.report.planned(&planned);
        self.ui
            .say("An earlier run is to be dealt with, and the Incus daemon does not run.");
        self.ui.show_plan(&planned, self.manner.dry_run);
        if self.manner.dry_run {
            return Ok(Some(Ending::Planned));
        }
        self.consent(planned)?;
        start(self.machine, &with)?;
        Ok(None)
    }

    /// Finishes or takes back a run that was cut short; nothing else is planned before that.  No
    /// ending means that it was dealt with and the set-up can go on.
    pub(super) fn go_on(&mut self, facts: &Facts, record: &Record) -> Result<Option<Ending>> {
        if let Some(of) = record.steps.iter().find_map(Step::migrates) {
            return self.go_on_migrating(record, of);
        }
        let fetches = record.steps.iter().any(Step::fetches);
        self.images_matter = record.steps.iter().any(Step::minds_image);
        let looked = self.images_matter.then(|| self.look()).transpose()?;
        let facts = looked.as_ref().unwrap_or(facts);
        // It may be no more cut short than at work.
        let lock = (!self.manner.dry_run).then(|| self.lock()).transpose()?;
        if matches!(facts.incus, Incus::Silent { .. }) && makes_sense_awake(record) {
            // It may have died with the run.  Once it is back, all is looked at again.
            return self.wake(facts);
        }
        let back = record.back.is_some();
        let planned = plan_of(remaining(record, facts));
        self.report.planned(&planned);
        self.ui.say(&format!(
            "The run of {} was cut short while {}. Before anything else it is {}.",
            record.time,
            if back { "it was taken back" } else { "at work" },
            if back { "taken back" } else { "finished" }
        ));
        self.ui.show_plan(&planned, self.manner.dry_run);
        let Some(lock) = lock else {
            return Ok(Some(Ending::Planned));
        };
        if !planned.steps.is_empty() {
            self.consent(planned).map_err(|mut refusal| {
                if !back {
                    let hint = "to take back what it did instead: taos-setup undo";
                    refusal.hints.push(hint.into());
                }
                refusal
            })?;
        }
        // The last command of the run that was cut short may have ended only now.
        let facts = self.look()?;
        let writer = lock.resume(record)?;
        if let Some(why) = &record.back {
            return Ok(
                match self.run_backwards(facts, &lock, writer, record, why) {
                    Ending::Failed { .. } => None,
                    stuck => Some(stuck),
                },
            );
        }
        // The yes just given was for those of them that remain; the others are not run again.
        let whole = approve(record.steps.clone(), &Yes::Option(Pins::All))?;
        Ok(
            match self.run_forwards(facts, &lock, writer, &whole, &record.progress) {
                Some(Ending::Done) | None => None,
                Some(other) if fetches => Some(self.not_fetched(other)),
                other => other,
            },
        )
    }
}

/// Whether the daemon was there when the run was approved, so that it has to be there again.
fn makes_sense_awake(record: &Record) -> bool {
    !record.remaining().iter().any(Step::reveals)
}

/// What is left to do of a run that was cut short, in whichever direction it went.
fn remaining(record: &Record, facts: &Facts) -> Vec<Step> {
    let back = record.back.is_some();
    let steps = if back {
        record.made().iter().rev().filter_map(Step::undo).collect()
    } else {
        record.remaining()
    };
    steps
        .into_iter()
        .filter(|step| !(step.holds(facts) || back && step.moot(facts)))
        .collect()
}

/// Whether a run is through, and something that it made can be taken back.
fn can_go_back(record: &Record) -> bool {
    record.end == Some(End::Completed)
        && record.made().iter().any(|step| step.undo().is_some() && !matches!(step, Step::MeasureRoom { .. }))
        // A container that was migrated has lived on: that takes more than going back.
        && record.steps.iter().all(|step| step.migrates().is_none())
}

fn changed_meanwhile(command: &str) -> Refusal {
    Refusal::new(
        "nothing was changed, as something else changed meanwhile",
        [format!("look again with: {command}")],
    )
}

pub(super) fn plan_of(steps: Vec<Step>) -> Plan {
    Plan {
        steps,
        notes: Vec::new(),
        losses: Vec::new(),
        open_end: false,
        choices: Vec::new(),
        image: None,
        pool: None,
        clones: false,
    }
}
