//! Handing approved steps to `apply`, and turning what came of it into an ending.

use super::Setup;
use crate::apply::{Applier, Event, Outcome};
use crate::facts::{Bytes, Facts};
use crate::journal::{Lock, Progress, Record, Writer};
use crate::plan::{plan, Approved, Refusal};
use crate::report::Ending;
use crate::step::{PartSpec, PoolPlace, Step};

impl Setup<'_> {
    /// Runs what was approved.  No ending means that the rest has to be planned anew.
    pub(super) fn run_forwards(
        &self,
        facts: Facts,
        lock: &Lock,
        writer: Writer<'_>,
        approved: &Approved,
        progress: &[Progress],
    ) -> Option<Ending> {
        self.run_watched(facts, lock, writer, approved, progress, &|_| ())
    }

    /// As [`Setup::run_forwards`], with somebody else watching, too.
    pub(super) fn run_watched(
        &self,
        mut facts: Facts,
        lock: &Lock,
        writer: Writer<'_>,
        approved: &Approved,
        progress: &[Progress],
        also: &dyn Fn(&Event<'_>),
    ) -> Option<Ending> {
        let show = self.ui.steps(&self.machine.meter);
        let applier = Applier {
            machine: self.machine,
            writer,
            lock: lock.descriptor(),
            facts: &mut facts,
            watch: &|event: Event<'_>| {
                also(&event);
                show.event(event);
            },
            fetch: &self.fetcher(lock),
            images: approved.steps().iter().any(Step::minds_image),
        };
        let still_right = |facts: &Facts, rest: &[Step]| self.still_right(facts, rest);
        let _held = self.machine.signals.hold();
        match applier.forwards(approved, progress, &still_right) {
            Ok(Outcome::Done) => Some(Ending::Done),
            Ok(Outcome::Changed) => None,
            Ok(outcome) => Some(ending(outcome)),
            Err(error) => Some(unrecorded(&error, approved.steps(), &facts, false)),
        }
    }

    /// Takes back what a run made.
    pub(super) fn run_backwards(
        &self,
        mut facts: Facts,
        lock: &Lock,
        writer: Writer<'_>,
        record: &Record,
        why: &str,
    ) -> Ending {
        let show = self.ui.steps(&self.machine.meter);
        let applier = Applier {
            machine: self.machine,
            writer,
            lock: lock.descriptor(),
            facts: &mut facts,
            watch: &|event: Event<'_>| show.event(event),
            fetch: &self.fetcher(lock),
            images: record.steps.iter().any(Step::minds_image),
        };
        let _held = self.machine.signals.hold();
        match applier.backwards(&record.steps, &record.progress, anyhow::anyhow!("{why}")) {
            Ok(outcome) => ending(outcome),
            Err(error) => {
                let made = record.made();
                let steps: Vec<Step> = made.iter().rev().filter_map(Step::undo).collect();
                unrecorded(&error, &steps, &facts, true)
            }
        }
    }

    /// Whether what is left of some steps is what would be planned now.
    pub(super) fn still_right(&self, facts: &Facts, rest: &[Step]) -> bool {
        // The size was approved; that another one would be chosen now is no reason to ask again.
        let mut goal = self.goal.clone();
        match parts_of(rest) {
            [] => goal.size = goal.size.or_else(|| size_of(rest)),
            parts => goal.member_sizes.extend(parts.iter().filter_map(|part| {
                let size = part.config.get("size")?.parse().ok()?;
                Some((part.member.clone(), size))
            })),
        }
        // Installing may have started the daemon, too.
        let rest = rest.iter().filter(|step| !step.holds(facts));
        // Fetching the image is a run of its own.
        let rest = rest.filter(|step| !step.fetches());
        plan(facts, &goal).is_ok_and(|plan| {
            let planned = plan.steps.iter().filter(|step| !step.fetches());
            planned.eq(rest)
        })
    }
}

/// What the members of a cluster are given by some steps.
fn parts_of(steps: &[Step]) -> &[PartSpec] {
    let made = steps.iter().find_map(|step| match step {
        Step::CreatePool { pool } => Some(&pool.parts[..]),
        _ => None,
    });
    made.unwrap_or_default()
}

/// The size of the loop file among some steps.
fn size_of(steps: &[Step]) -> Option<Bytes> {
    steps.iter().find_map(|step| match step {
        Step::CreatePool { pool } => match pool.place {
            PoolPlace::LoopFile { size, .. } => Some(size),
            _ => None,
        },
        _ => None,
    })
}

fn ending(outcome: Outcome) -> Ending {
    match outcome {
        Outcome::Done | Outcome::Changed => Ending::Done,
        Outcome::Stopped {
            remaining,
            begun: true,
        } => Ending::Stopped { remaining },
        Outcome::Stopped { begun: false, .. } => Ending::Refused(Refusal::new(
            "stopped, as asked for, before anything was begun",
            ["run taos-setup again whenever you like"],
        )),
        Outcome::Failed { error } => Ending::Failed {
            error: format!("{error:#}"),
        },
        Outcome::Halted { error, remaining } => Ending::Stuck {
            error: format!("{error:#}"),
            remaining,
            back: false,
        },
        Outcome::Stuck { error, remaining } => Ending::Stuck {
            error: format!("{error:#}"),
            remaining,
            back: true,
        },
    }
}

/// The journal could not be written, so nothing further was done.
fn unrecorded(error: &anyhow::Error, steps: &[Step], facts: &Facts, back: bool) -> Ending {
    Ending::Stuck {
        error: format!("{error:#}"),
        remaining: steps
            .iter()
            .filter(|step| !step.holds(facts))
            .cloned()
            .collect(),
        back,
    }
}
