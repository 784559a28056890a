//! Setting up, and taking a set-up back: from the facts to the report.

use std::cell::RefCell;

use anyhow::Result;

use crate::facts::Facts;
use crate::host::Machine;
use crate::incus;
use crate::journal::{self, Lock, NotLocked};
use crate::plan::migrate::Lossy;
use crate::plan::{plan, Approved, Goal, Plan, Refusal, SourceChoice, Yes};
use crate::report::{Ending, ImageReport, Report};
use crate::step::Step;
use crate::ui::{Answer, Ui};

mod earlier;
mod image;
mod migrate;
mod offer;
mod old_pool;
mod run;
mod together;

pub use earlier::unfinished;
pub use migrate::{migrate, Asked, Migrating};

/// How the person wants to be asked.
#[derive(Debug, Clone, Default)]
pub struct Manner {
    /// `--yes`: approves what touches no instance.
    pub yes: bool,
    /// `--dry-run`: shows the plan and changes nothing.
    pub dry_run: bool,
    /// `--accept`: what may be lost.
    pub accept: Vec<Lossy>,
    /// The command as typed, for hints.
    pub command: String,
}

/// Looks, plans, asks, applies, and says what is different now.
///
/// # Errors
/// If the machine cannot be read, or the journal not begun; refusals and failures of steps are
/// endings of the [`Report`].
pub fn set_up(machine: &Machine, ui: &Ui, goal: Goal, manner: &Manner) -> Result<Report> {
    Setup::new("setup", machine, ui, goal, manner).report(Setup::set_up_and_offer)
}

/// Takes back what the last completed run made, if nobody uses it yet.
///
/// # Errors
/// As [`set_up`].
pub fn undo(machine: &Machine, ui: &Ui, goal: Goal, manner: &Manner) -> Result<Report> {
    Setup::new("undo", machine, ui, goal, manner).report(Setup::undo)
}

/// A call, with all it works with.
struct Setup<'a> {
    machine: &'a Machine,
    ui: &'a Ui,
    manner: &'a Manner,
    goal: Goal,
    migrating: Migrating,
    /// Whether an earlier run did something about the base image.
    images_matter: bool,
    /// What became of fetching it.
    image: RefCell<Option<ImageReport>>,
    report: Report,
}

impl<'a> Setup<'a> {
    fn new(
        name: &'static str,
        machine: &'a Machine,
        ui: &'a Ui,
        goal: Goal,
        manner: &'a Manner,
    ) -> Self {
        Self {
            machine,
            ui,
            manner,
            goal,
            migrating: Migrating::default(),
            images_matter: false,
            image: RefCell::default(),
            report: Report::new(name),
        }
    }

    /// Refusals come up everywhere, and are endings like any other.
    fn report(mut self, story: fn(&mut Self) -> Result<Ending>) -> Result<Report> {
        let ending = if nix::unistd::geteuid().is_root() {
            story(&mut self)
        } else {
            Err(not_root(&self.manner.command).into())
        };
        let ending = match ending {
            Ok(ending) => ending,
            Err(error) => Ending::Refused(error.downcast::<Refusal>()?),
        };
        if let Some(image) = self.image_report(&ending) {
            self.report.with_image(image);
        }
        Ok(self.report.ending(ending))
    }

    fn set_up(&mut self) -> Result<Ending> {
        // What a run that finishes an earlier one ends with, if there is nothing else to do.
        let mut nothing_more = Ending::Nothing;
        loop {
            let seen = journal::records(&self.machine.paths.state)?;
            let mut facts = self.look()?;
            if let Some(record) = unfinished(&seen) {
                match self.go_on(&facts, record)? {
                    Some(ending) => return Ok(ending),
                    None => nothing_more = Ending::Done,
                }
                continue;
            }
            self.ui.show_found(&facts);
            let (planned, own) = self.plan_with_migrations(&mut facts)?;
            self.report.planned(&planned);
            if self.choose(&planned)? {
                continue;
            }
            self.ui.show_plan(&planned, self.manner.dry_run);
            if planned.steps.is_empty() {
                return Ok(nothing_more);
            }
            if self.manner.dry_run {
                return Ok(Ending::Planned);
            }
            let open_end = planned.open_end;
            let losses = planned.losses.clone();
            let Some(approved) = self.consent_or_choose(planned)? else {
                continue;
            };
            let (approved, moves) = approved.split(own);
            let lock = self.lock()?;
            let Some(facts) = self.unchanged(facts, &seen, approved.steps())? else {
                self.ui.say("Something changed meanwhile; looking again.");
                continue;
            };
            if own == 0 {
                match self.move_along(&lock, moves, &losses)? {
                    Some(ending) => return Ok(ending),
                    None => continue,
                }
            }
            match self.run_both(facts, &lock, approved)? {
                Some(Ending::Done) if open_end => nothing_more = Ending::Done,
                Some(Ending::Done) if !moves.steps().is_empty() => {
                    nothing_more = Ending::Done;
                    if let Some(ending) = self.move_along(&lock, moves, &losses)? {
                        return Ok(ending);
                    }
                }
                Some(ending) => return Ok(ending),
                None => self
                    .ui
                    .say("The daemon answers now, and there is something else to do than assumed."),
            }
        }
    }

    fn look(&mut self) -> Result<Facts> {
        let source = match &self.goal.source {
            Some(SourceChoice::At(path)) => Some(path.as_str()),
            _ => None,
        };
        let mut facts = crate::look(self.machine, source)?;
        self.look_at_images(&mut facts)?;
        self.report.found(&facts);
        Ok(facts)
    }

    /// As [`Setup::look`], amid a run: while too few of a cluster's members are there, it waits for them.
    fn look_patiently(&mut self) -> Result<Facts> {
        let (machine, ui) = (self.machine, self.ui);
        let seen = self.report.facts().and_then(Facts::server);
        let clustered = seen.is_some_and(|server| server.clustered);
        incus::patiently(machine, clustered, &|why| ui.say(why), || self.look())
    }

    /// Where there is a choice and somebody to choose, asks; whether that asks for another plan.
    fn choose(&mut self, planned: &Plan) -> Result<bool> {
        let ask = self.ui.interactive()
            && !self.manner.yes
            && !self.manner.dry_run
            && self.goal.migrate.is_none();
        if !ask || planned.choices.is_empty() {
            return Ok(false);
        }
        match self.ui.choose(&planned.choices) {
            Answer::Yes => self.goal.beside = true,
            Answer::Leave => {}
            Answer::No | Answer::Explain => return Err(declined().into()),
        }
        Ok(self.goal.beside)
    }

    /// Asks, or takes the options for an answer.
    fn consent(&self, mut planned: Plan) -> Result<Approved, Refusal> {
        planned.accept(|loss| self.manner.accept.contains(&loss.kind));
        if self.manner.yes {
            return planned.approve(&Yes::Option(self.goal.pins.clone()));
        }
        if !self.ui.interactive() {
            let command = &self.manner.command;
            return Err(Refusal::new(
                "there is no terminal to ask on, and no --yes",
                [
                    format!("to do what is listed above: {command} --yes"),
                    format!(
                        "to see it with every command, and change nothing: {command} --dry-run"
                    ),
                ],
            ));
        }
        loop {
            match self.ui.ask() {
                Answer::Yes => return self.typed_yes(planned),
                Answer::Explain => self.ui.explain(&planned),
                Answer::No | Answer::Leave => return Err(declined()),
            }
        }
    }

    /// After a yes to the plan: asks about each loss on its own.
    fn typed_yes(&self, mut planned: Plan) -> Result<Approved, Refusal> {
        planned.accept(|loss| self.manner.accept.contains(&loss.kind));
        planned.accept(|loss| self.ui.confirm(&loss.what, "Let that be lost?"));
        if !planned.losses.is_empty() {
            return Err(declined());
        }
        planned.approve(&Yes::Typed)
    }

    /// The facts to go by, unless they ask for another plan than the one that was approved:
    /// somebody thought about it for a while, or another run came in between.
    fn unchanged(
        &mut self,
        facts: Facts,
        seen: &[journal::Record],
        steps: &[Step],
    ) -> Result<Option<Facts>> {
        let same_runs = journal::records(&self.machine.paths.state)? == seen;
        if same_runs && self.manner.yes {
            return Ok(Some(facts));
        }
        let again = self.look()?;
        Ok((same_runs && self.still_right(&again, steps)).then_some(again))
    }

    fn lock(&self) -> Result<Lock> {
        let waiting = || {
            self.ui
                .say("Waiting for the last command of a run that was killed…");
        };
        let (state, patience) = (&self.machine.paths.state, self.machine.bounds.change);
        Lock::acquire(state, patience, waiting).map_err(|error| match error {
            NotLocked::Held { by } => Refusal::new(
                format!("another taos-setup is at work here: {by}"),
                ["wait until it is through, then run this again"],
            )
            .into(),
            NotLocked::Failed(error) => error,
        })
    }
}

fn declined() -> Refusal {
    Refusal::new(
        "nothing was changed, as there was no yes",
        ["run taos-setup again whenever you like"],
    )
}

fn not_root(command: &str) -> Refusal {
    Refusal::new(
        "taos-setup has to run as root: Incus and its storage are root's",
        [format!("run it again as: sudo {command}")],
    )
}

/// The plan that a host as it is would get, for `status`.
pub(crate) fn outlook(facts: &Facts) -> Result<Plan, Refusal> {
    plan(facts, &Goal::default())
}
