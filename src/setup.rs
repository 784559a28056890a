//! Setting up, and taking a set-up back: from the facts to the report.

use anyhow::Result;

use crate::apply::{self, Applier, Event, Outcome};
use crate::facts::{Bytes, Facts};
use crate::host::Machine;
use crate::journal::{self, End, Lock, NotLocked, Progress, Record, Writer};
use crate::plan::{
    self, approve, backwards, plan, Approved, Goal, Plan, Refusal, SourceChoice, Yes,
};
use crate::report::{Ending, Report};
use crate::step::{PoolPlace, Step};
use crate::ui::{Answer, Ui};

/// How the person wants to be asked.
#[derive(Debug, Clone, Default)]
pub struct Manner {
    /// `--yes`: approves what touches no instance.
    pub yes: bool,
    /// `--dry-run`: shows the plan and changes nothing.
    pub dry_run: bool,
}

/// Looks, plans, asks, applies, and says what is different now.
///
/// # Errors
/// If the machine cannot be read, or the journal not written; refusals and failures of steps are
/// endings of the [`Report`].
pub fn set_up(machine: &Machine, ui: &Ui, mut goal: Goal, manner: &Manner) -> Result<Report> {
    let mut report = Report::new("setup");
    if !nix::unistd::geteuid().is_root() {
        return Ok(report.refused(not_root()));
    }
    loop {
        let seen = journal::records(&machine.paths.state)?;
        let source = match &goal.source {
            Some(SourceChoice::At(path)) => Some(path.as_str()),
            _ => None,
        };
        let facts = crate::look(machine, source)?;
        report.found(&facts);
        if let Some(record) = unfinished(&seen) {
            match go_on(machine, ui, &mut report, &facts, record, &goal, manner)? {
                Some(ending) => return Ok(report.ending(ending)),
                None => continue,
            }
        }
        let planned = match plan(&facts, &goal) {
            Ok(planned) => planned,
            Err(refusal) => return Ok(report.refused(refusal)),
        };
        ui.show_found(&facts);
        report.planned(&planned);
        if ui.interactive() && !manner.yes && !manner.dry_run && !planned.choices.is_empty() {
            match ui.choose(&planned.choices) {
                Answer::Explain | Answer::No => return Ok(report.refused(declined())),
                Answer::Yes => goal.beside = true,
                Answer::Leave => {
                    ui.show_plan(&planned, manner.dry_run);
                    if planned.steps.is_empty() {
                        return Ok(report.ending(Ending::Nothing));
                    }
                }
            }
            if goal.beside {
                continue;
            }
        } else {
            ui.show_plan(&planned, manner.dry_run);
        }
        if planned.steps.is_empty() {
            return Ok(report.ending(Ending::Nothing));
        }
        if manner.dry_run {
            return Ok(report.ending(Ending::Planned));
        }
        let steps = planned.steps.clone();
        let open_end = planned.open_end;
        let approved = match consent(ui, planned, &goal, manner) {
            Ok(approved) => approved,
            Err(refusal) => return Ok(report.refused(refusal)),
        };
        let lock = match lock(machine, ui) {
            Ok(lock) => lock,
            Err(refusal) => return Ok(report.refused(refusal?)),
        };
        // Somebody thought about it for a while, or another run came in between.
        let facts = if manner.yes && journal::records(&machine.paths.state)? == seen {
            facts
        } else {
            let again = crate::look(machine, source)?;
            if journal::records(&machine.paths.state)? != seen
                || plan(&again, &goal).map(|plan| plan.steps).ok().as_ref() != Some(&steps)
            {
                ui.say("Something changed meanwhile; looking again.");
                continue;
            }
            again
        };
        let writer = lock.begin(approved.steps())?;
        let fresh = vec![Progress::Pending; steps.len()];
        let ending = run_forwards(machine, ui, facts, &lock, writer, &approved, &fresh, &goal);
        match ending {
            Some(Ending::Done) if open_end => {}
            Some(ending) => return Ok(report.ending(ending)),
            None => {
                ui.say("The daemon answers now, and there is something else to do than assumed.");
            }
        }
    }
}

/// Takes back what the last completed run made, if nobody uses it yet.
///
/// # Errors
/// As [`set_up`].
pub fn undo(machine: &Machine, ui: &Ui, goal: &Goal, manner: &Manner) -> Result<Report> {
    let mut report = Report::new("undo");
    if !nix::unistd::geteuid().is_root() {
        return Ok(report.refused(not_root()));
    }
    let seen = journal::records(&machine.paths.state)?;
    let facts = crate::look(machine, None)?;
    report.found(&facts);
    let last = unfinished(&seen).or_else(|| {
        seen.iter()
            .rev()
            .find(|record| record.end == Some(End::Completed) && made_something(record))
    });
    let Some(record) = last else {
        return Ok(report.refused(Refusal::new(
            "there is no completed run to take back",
            ["nothing on this host was made by taos-setup, as far as its journal tells"],
        )));
    };
    let steps = match backwards(&facts, &record.made()) {
        Ok(steps) => steps,
        Err(refusal) => return Ok(report.refused(refusal)),
    };
    let planned = plan_of(steps);
    report.planned(&planned);
    ui.say(&format!("Taking back the run of {}", record.time));
    ui.show_plan(&planned, manner.dry_run);
    if manner.dry_run {
        return Ok(report.ending(Ending::Planned));
    }
    if !planned.steps.is_empty() {
        if let Err(refusal) = consent(ui, planned, goal, manner) {
            return Ok(report.refused(refusal));
        }
    }
    let lock = match lock(machine, ui) {
        Ok(lock) => lock,
        Err(refusal) => return Ok(report.refused(refusal?)),
    };
    let writer = lock.resume(record)?;
    let ending = run_backwards(machine, ui, facts, &lock, writer, record, apply::ASKED);
    Ok(report.ending(match ending {
        Ending::Failed { .. } => Ending::Undone,
        other => other,
    }))
}

/// Finishes or takes back a run that was cut short; nothing else is planned before that.  No
/// ending means that it was dealt with and the set-up can go on.
fn go_on(
    machine: &Machine,
    ui: &Ui,
    report: &mut Report,
    facts: &Facts,
    record: &Record,
    goal: &Goal,
    manner: &Manner,
) -> Result<Option<Ending>> {
    let back = record.back.is_some();
    let rest = if back {
        let mut steps: Vec<Step> = record.made().iter().rev().filter_map(Step::undo).collect();
        steps.retain(|step| !step.holds(facts));
        steps
    } else {
        record.remaining()
    };
    let planned = plan_of(rest);
    report.planned(&planned);
    ui.say(&format!(
        "The run of {} was cut short while {}. Before anything else it is {}.",
        record.time,
        if back {
            "taking its steps back"
        } else {
            "at work"
        },
        if back { "taken back" } else { "finished" }
    ));
    ui.show_plan(&planned, manner.dry_run);
    if manner.dry_run {
        return Ok(Some(Ending::Planned));
    }
    let approved = if planned.steps.is_empty() {
        // Nothing is left to do but to say so in the journal.
        approve(Vec::new(), &Yes::Typed)
    } else {
        consent(ui, planned, goal, manner)
    };
    if let Err(refusal) = approved {
        let hint = "to take back what it did instead: taos-setup undo".to_owned();
        let hints = refusal.hints.into_iter().chain([hint]);
        return Ok(Some(Ending::Refused(Refusal::new(refusal.what, hints))));
    }
    let lock = match lock(machine, ui) {
        Ok(lock) => lock,
        Err(refusal) => return Ok(Some(Ending::Refused(refusal?))),
    };
    // The last command of the run that was cut short may have ended only now.
    let facts = crate::look(machine, None)?;
    let writer = lock.resume(record)?;
    if back {
        let why = record.back.clone().unwrap_or_default();
        let ending = run_backwards(machine, ui, facts, &lock, writer, record, &why);
        return Ok(match ending {
            Ending::Failed { .. } => None,
            stuck => Some(stuck),
        });
    }
    let whole = approve(record.steps.clone(), &Yes::Typed).map_err(anyhow::Error::from)?;
    let ending = run_forwards(
        machine,
        ui,
        facts,
        &lock,
        writer,
        &whole,
        &record.progress,
        goal,
    );
    Ok(match ending {
        Some(Ending::Done) | None => None,
        other => other,
    })
}

#[allow(
    clippy::too_many_arguments,
    reason = "everything a run works with, once"
)]
fn run_forwards(
    machine: &Machine,
    ui: &Ui,
    mut facts: Facts,
    lock: &Lock,
    writer: Writer<'_>,
    approved: &Approved,
    progress: &[Progress],
    goal: &Goal,
) -> Option<Ending> {
    let show = ui.steps(approved.steps().len());
    let watch = |event: Event<'_>| show.event(event);
    let applier = Applier {
        machine,
        writer,
        lock: lock.descriptor(),
        facts: &mut facts,
        watch: &watch,
    };
    let still_right = |facts: &Facts, rest: &[Step]| {
        // The size was approved; that another one would be chosen now is no reason to ask again.
        let goal = Goal {
            size: goal.size.or_else(|| size_of(rest)),
            ..goal.clone()
        };
        // Installing may have started the daemon, too.
        let rest = rest.iter().filter(|step| !step.holds(facts));
        plan(facts, &goal).is_ok_and(|plan| plan.steps.iter().eq(rest))
    };
    let _held = machine.signals.hold();
    match applier.forwards(approved, progress, &still_right) {
        Ok(Outcome::Done) => Some(Ending::Done),
        Ok(Outcome::Changed) => None,
        Ok(outcome) => Some(ending(outcome)),
        Err(error) => Some(unrecorded(&error, approved.steps())),
    }
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

fn run_backwards(
    machine: &Machine,
    ui: &Ui,
    mut facts: Facts,
    lock: &Lock,
    writer: Writer<'_>,
    record: &Record,
    why: &str,
) -> Ending {
    let show = ui.steps(record.made().len());
    let watch = |event: Event<'_>| show.event(event);
    let applier = Applier {
        machine,
        writer,
        lock: lock.descriptor(),
        facts: &mut facts,
        watch: &watch,
    };
    let why = anyhow::anyhow!("{why}");
    let _held = machine.signals.hold();
    let outcome = applier.backwards(&record.steps, &record.progress, why);
    outcome.map_or_else(|error| unrecorded(&error, &record.made()), ending)
}

/// The journal could not be written, so nothing further was done.
fn unrecorded(error: &anyhow::Error, steps: &[Step]) -> Ending {
    Ending::Stuck {
        error: format!("{error:#}"),
        remaining: steps.to_vec(),
    }
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
        Outcome::Stuck { error, remaining } => Ending::Stuck {
            error: format!("{error:#}"),
            remaining,
        },
    }
}

/// Asks, or takes the options for an answer.
fn consent(ui: &Ui, planned: Plan, goal: &Goal, manner: &Manner) -> Result<Approved, Refusal> {
    if manner.yes {
        return planned.approve(&Yes::Option(goal.pins.clone()));
    }
    if !ui.interactive() {
        return Err(Refusal::new(
            "there is no terminal to ask on, and no --yes",
            [
                "to do what is listed above: taos-setup --yes",
                "to see it with every command, and change nothing: taos-setup --dry-run",
            ],
        ));
    }
    loop {
        match ui.ask() {
            Answer::Yes => return planned.approve(&Yes::Typed),
            Answer::Explain => ui.explain(&planned),
            Answer::No | Answer::Leave => return Err(declined()),
        }
    }
}

fn lock(machine: &Machine, ui: &Ui) -> Result<Lock, Result<Refusal>> {
    let waiting = || {
        ui.say("Waiting for the last command of a run that was killed…");
    };
    Lock::acquire(&machine.paths.state, machine.bounds.change, waiting).map_err(|error| match error
    {
        NotLocked::Held { by } => Ok(Refusal::new(
            format!("another taos-setup is at work here: {by}"),
            ["wait until it is through; then run taos-setup again"],
        )),
        NotLocked::Failed(error) => Err(error),
    })
}

fn unfinished(records: &[Record]) -> Option<&Record> {
    records.last().filter(|record| record.end.is_none())
}

fn made_something(record: &Record) -> bool {
    record.made().iter().any(|step| step.undo().is_some())
}

fn declined() -> Refusal {
    Refusal::new(
        "nothing was changed, as there was no yes",
        ["run taos-setup again whenever you like"],
    )
}

fn not_root() -> Refusal {
    Refusal::new(
        "taos-setup has to run as root: Incus and its storage are root's",
        ["run it again as: sudo taos-setup"],
    )
}

fn plan_of(steps: Vec<Step>) -> Plan {
    Plan {
        steps,
        notes: Vec::new(),
        open_end: false,
        choices: Vec::new(),
        pool: None,
        clones: false,
    }
}

/// The plan that a host as it is would get, for `status`.
pub(crate) fn outlook(facts: &Facts) -> Result<Plan, Refusal> {
    plan::plan(facts, &Goal::default())
}
