//! Moving containers to another pool: from a wish to the table of what became of each.

mod as_it_was;
mod pairs;
mod rescue;
mod settle;
mod unfinished;

use anyhow::{bail, Result};

use super::{Manner, Setup};
use crate::facts::{Facts, Incus, Instance, Reference, Server};
use crate::host::Machine;
use crate::incus;
use crate::journal::{self, Lock};
use crate::plan::migrate::{self as plans, Deed, Wanted};
use crate::plan::{Approved, Goal, Pins, Plan, PoolName, Refusal};
use crate::report::{Ending, Moved, Report};
use crate::step::migration::{Migration, Part};
use crate::step::Step;
use crate::ui::Ui;

/// What `taos-setup migrate` is asked for.
#[derive(Debug, Clone, Default)]
pub struct Migrating {
    pub wanted: Wanted,
    /// All of them, and not none.
    pub all: bool,
    /// Back to what was kept, and not with what was written since.
    pub as_it_was: bool,
    /// A pool to delete once nothing is on it.
    pub delete_old_pool: Option<PoolName>,
    pub what: Asked,
}

/// Which way.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Asked {
    #[default]
    Move,
    Status,
    Rollback,
    Finish,
    /// What moves that were cut short have left.
    Rescue,
}

/// Moves containers, shows what is kept, moves them back, or lets the originals go.
///
/// # Errors
/// If the machine cannot be read, or the journal not begun.
pub fn migrate(machine: &Machine, ui: &Ui, asked: Migrating, manner: &Manner) -> Result<Report> {
    let mut setup = Setup::new("migrate", machine, ui, Goal::default(), manner);
    setup.migrating = asked;
    setup.report(Setup::migrate)
}

impl Setup<'_> {
    pub(super) fn migrate(&mut self) -> Result<Ending> {
        loop {
            let seen = journal::records(&self.machine.paths.state)?;
            let mut facts = self.look()?;
            if self.migrating.what == Asked::Status {
                return self.show_kept(&facts);
            }
            if let Some(record) = super::unfinished(&seen) {
                match self.go_on(&facts, record)? {
                    Some(ending) => return Ok(ending),
                    None => continue,
                }
            }
            let planned = self.plan_migration(&mut facts)?;
            let Some(mut planned) = planned else {
                return Ok(Ending::Nothing);
            };
            let steps = planned.steps.clone();
            let old_pool = self.plan_old_pool(&facts, &mut planned)?;
            self.report.planned(&planned);
            self.ui.show_plan(&planned, self.manner.dry_run);
            if planned.steps.is_empty() {
                return Ok(Ending::Nothing);
            }
            if self.manner.dry_run {
                return Ok(Ending::Planned);
            }
            let losses = planned.losses.clone();
            let (approved, _) = self.consent(planned)?.split(steps.len());
            let lock = self.lock()?;
            let mut again = self.look()?;
            let same = journal::records(&self.machine.paths.state)? == seen
                && self.plan_migration(&mut again)?.is_some_and(|planned| {
                    same_steps(&planned.steps, &steps)
                        && plans::same_losses(&planned.losses, &losses)
                });
            if same {
                let ending = self.run_each(&lock, approved)?;
                return self.delete_old_pools(&lock, &steps, old_pool, ending);
            }
            if self.manner.yes {
                bail!(Refusal::new(
                    "nothing was changed, as something else changed meanwhile",
                    [format!("look again with: {}", self.manner.command)],
                ));
            }
            self.ui.say("Something changed meanwhile; looking again.");
        }
    }

    /// What would be done.  Nothing where there is nothing to choose from.
    fn plan_migration(&mut self, facts: &mut Facts) -> Result<Option<Plan>> {
        let Incus::Answering(server) = &mut facts.incus else {
            bail!(Refusal::new(
                "the Incus daemon does not answer",
                ["start it, or let this do it: taos-setup"],
            ));
        };
        if self.migrating.what == Asked::Finish {
            return self.plan_finish(facts).map(Some);
        }
        if self.migrating.what == Asked::Rescue {
            return self.plan_rescue(facts);
        }
        if self.migrating.what == Asked::Rollback && self.migrating.as_it_was {
            return self.plan_return(facts).map(Some);
        }
        if self.migrating.what == Asked::Rollback {
            self.aim_back(server)?;
        }
        let deed = match self.migrating.what {
            Asked::Rollback => Deed::Rollback,
            _ => Deed::Move,
        };
        let wanted = &self.migrating.wanted;
        let names = plans::selected(server, wanted)?;
        let (mut names, elsewhere) = plans::on_this_member(server, wanted, deed, names)?;
        incus::look_at(self.machine, server, &names)?;
        if self.migrating.wanted.names.is_empty() && !self.migrating.all {
            self.ui.show_notes(&elsewhere);
            if names.is_empty() {
                self.ui.say(if elsewhere.is_empty() {
                    "Nothing to migrate: no container is on a pool that copies."
                } else {
                    "Nothing to migrate on this member: none of its containers is on a pool that copies."
                });
                return Ok(None);
            }
            names = self.choose_from(facts, names)?;
        }
        // A yes to these, and to no others.
        let full = |name: &Reference| format!("{}/{}", name.project, name.name);
        self.goal.pins = Pins::Named(names.iter().map(full).collect());
        let mut plan = plans::plan(facts, &self.migrating.wanted, &names)?;
        if self.migrating.all {
            plan.notes.extend(elsewhere);
        }
        Ok(Some(plan))
    }

    /// Lets the person tick containers, each with what moving it takes, or what is in its way.
    fn choose_from(&mut self, facts: &Facts, names: Vec<Reference>) -> Result<Vec<Reference>> {
        if !self.ui.interactive() || self.manner.yes || self.manner.dry_run {
            bail!(Refusal::new(
                "which containers?",
                [
                    "name them: taos-setup migrate NAME…",
                    "or say all: taos-setup migrate --all",
                ],
            ));
        }
        let (mut lines, mut obstacles) = (Vec::new(), Vec::new());
        for name in &names {
            let wanted = Wanted {
                names: vec![format!("{}/{}", name.project, name.name)],
                ..self.migrating.wanted.clone()
            };
            lines.push(
                match plans::plan(facts, &wanted, std::slice::from_ref(name)) {
                    Ok(plan) => in_short(facts, &plan),
                    Err(refusal) => {
                        obstacles.push(format!("{}/{}: {refusal}", name.project, name.name));
                        format!("{}/{}: NOT POSSIBLE: {refusal}", name.project, name.name)
                    }
                },
            );
        }
        if obstacles.len() == lines.len() {
            bail!(Refusal::new("none of them can be moved", obstacles));
        }
        let question = "Which containers are to be moved?";
        let ticked = self.ui.tick(question, &lines).unwrap_or_default();
        if ticked.is_empty() {
            bail!(super::declined());
        }
        let chosen: Vec<Reference> = ticked.into_iter().map(|at| names[at].clone()).collect();
        self.migrating.wanted.names = chosen
            .iter()
            .map(|name| format!("{}/{}", name.project, name.name))
            .collect();
        Ok(chosen)
    }

    /// The pool that the kept originals are on is where the containers go back to.
    fn aim_back(&mut self, server: &Server) -> Result<(), Refusal> {
        let wanted = &mut self.migrating.wanted;
        let kept = plans::kept(server);
        if wanted.names.is_empty() {
            return Err(Refusal::new(
                "which containers are to go back?",
                ["name them: taos-setup migrate --rollback NAME…"],
            ));
        }
        for name in &wanted.names {
            let reference = plans::one(server, name)?;
            let now = server.instance(&reference).and_then(|it| it.pool.clone());
            let pool = kept
                .iter()
                .filter(|(it, of)| *of == reference && it.pool != now)
                .find_map(|(it, _)| it.pool.clone());
            let Some(pool) = pool else {
                return Err(Refusal::new(
                    format!("no original of {reference} is kept on another pool"),
                    [format!("move it to a pool of your choice: taos-setup migrate {reference} --to POOL")],
                ));
            };
            match &wanted.to {
                Some(to) if to.as_str() != pool => {
                    return Err(Refusal::new(
                        format!("{reference} goes back to pool {pool}, and others to {to}"),
                        ["roll back those of one pool at a time"],
                    ))
                }
                _ => wanted.to = pool.parse().ok(),
            }
        }
        Ok(())
    }

    fn plan_finish(&mut self, facts: &mut Facts) -> Result<Plan> {
        let Incus::Answering(server) = &mut facts.incus else {
            bail!("the Incus daemon does not answer");
        };
        let mut names = Vec::new();
        for name in &self.migrating.wanted.names {
            let reference = plans::one(server, name)?;
            if !plans::kept(server).iter().any(|(_, of)| *of == reference) {
                bail!(Refusal::new(
                    format!("no original of {reference} is kept"),
                    ["see what is with: taos-setup migrate --status"],
                ));
            }
            names.push(reference);
        }
        let wanted = &self.migrating.wanted;
        let mut all = names.clone();
        if all.is_empty() {
            all.extend(plans::kept(server).into_iter().map(|(_, of)| of));
            all.sort();
            all.dedup();
        }
        let (_, elsewhere) = plans::on_this_member(server, wanted, Deed::Finish, all)?;
        let kept: Vec<Reference> = plans::kept(server)
            .iter()
            .filter(|(it, _)| server.has_here(it))
            .map(|(it, _)| it.reference.clone())
            .collect();
        if names.is_empty() && self.manner.yes && !self.migrating.all && !kept.is_empty() {
            bail!(Refusal::new(
                "--yes deletes only originals that are named",
                ["name them: taos-setup migrate --finish --yes NAME…, or --all"],
            ));
        }
        incus::look_at(self.machine, server, &kept)?;
        let (steps, losses) = plans::finish(facts, &names)?;
        let named = steps.iter().filter_map(Step::migrates);
        self.goal.pins = Pins::Named(
            named
                .map(|of| format!("{}/{}", of.name.project, of.name.name))
                .collect(),
        );
        let mut planned = super::earlier::plan_of(steps);
        planned.losses = losses;
        planned.notes = elsewhere;
        Ok(planned)
    }

    fn show_kept(&mut self, facts: &Facts) -> Result<Ending> {
        let Some(server) = facts.server() else {
            bail!("the Incus daemon does not answer");
        };
        let kept = plans::kept(server);
        if kept.is_empty() {
            self.ui.say("No original of a migrated container is kept.");
        }
        for (instance, name) in kept {
            let now = server.instance(&name).map_or_else(
                || "is NOT THERE".to_owned(),
                |it| format!("is {} on {}", it.status, place(it)),
            );
            self.ui.say(&format!(
                "{name} {now}; its original is kept as {} on {}",
                instance.reference,
                place(instance)
            ));
        }
        let ours = |name: &str| name.starts_with("taos-copy");
        for copy in server
            .instances
            .iter()
            .filter(|it| !plans::is_own(it) && ours(&it.reference.name))
        {
            self.ui.say(&format!(
                "{} is left of a migration that was taken back; it ran, so it may hold what \
                 nothing else does. To delete it: incus delete {}",
                copy.reference, copy.reference.name
            ));
        }
        self.show_strays(server)?;
        Ok(Ending::Nothing)
    }

    /// Runs what was approved, each container for itself.
    pub(super) fn run_each(&mut self, lock: &Lock, approved: Approved) -> Result<Ending> {
        let mut moved = Vec::new();
        let runs = approved.one_by_one();
        self.machine.meter.plan(pairs::loads(&runs));
        // Also between two runs, as a copy may be under way.
        let _held = self.machine.signals.hold();
        let mut copied = None;
        for (at, run) in runs.iter().enumerate() {
            let last =
                run.steps().iter().all(|step| step.migrates().is_none()) && !moved.is_empty();
            if last && moved.iter().any(|it: &Moved| it.error.is_some()) {
                self.ui
                    .say("Profiles stay as they are, as not everything was moved.");
                break;
            }
            let after = self.migrating.wanted.delete_after;
            if let (Some(seconds), true) = (after, is_finish(run.steps())) {
                match self.may_go(run, &mut moved, seconds) {
                    settle::Then::Delete => {}
                    settle::Then::GoOn => continue,
                    settle::Then::Stop => break,
                }
            }
            let ended = self.run_beside(lock, &runs[at..], &mut copied)?;
            let down = self.machine.meter.was_down().map(|it| it.as_secs_f64());
            let of = run.steps().iter().find_map(Step::migrates);
            let (Some(of), finish) = (of, is_finish(run.steps())) else {
                match ended {
                    Some(Ending::Done) | None => continue,
                    Some(other) => return Ok(other),
                }
            };
            match ended {
                Some(Ending::Done) | None if finish => settle::gone(&mut moved, of),
                Some(Ending::Failed { error }) if finish && after.is_some() => {
                    settle::stays(&mut moved, of, error);
                    break;
                }
                Some(Ending::Done) | None => moved.push(row(of, down, None)),
                Some(Ending::Failed { error }) => moved.push(row(of, None, Some(error))),
                // It runs on, and what was begun of its copy goes.
                Some(Ending::Stopped { .. } | Ending::Refused(_)) => {
                    if let Some(stuck) = self.put_back(lock, None)? {
                        return Ok(stuck);
                    }
                    let why = "stopped, as asked for".to_owned();
                    moved.push(row(of, None, Some(why)));
                    break;
                }
                // Whatever it is, it must be dealt with before anything else.
                Some(other) => {
                    self.put_back(lock, Some(of))?;
                    return Ok(other);
                }
            }
        }
        if moved.is_empty() {
            return Ok(Ending::Done);
        }
        Ok(Ending::Migrated(moved))
    }
}

/// The pool that an instance is on, and in a cluster the member.
fn place(instance: &Instance) -> String {
    let pool = instance.pool.as_deref().unwrap_or("no pool");
    match instance.location.as_str() {
        "" => pool.to_owned(),
        member => format!("{pool} of member {member}"),
    }
}

/// Times and sizes go on while a person thinks; what is done, and to what, must not.
pub(super) fn same_steps(one: &[Step], other: &[Step]) -> bool {
    let plain = |steps: &[Step]| -> Vec<Step> {
        let mut steps = steps.to_vec();
        for step in &mut steps {
            match step {
                Step::Migrate { of, .. } => {
                    of.paths = 0;
                    of.landing = crate::facts::Bytes(0);
                    of.was.expanded_devices.clear();
                    of.was.config = crate::step::migration::lasting(&of.was.config);
                }
                Step::CreatePool { pool } => {
                    pool.config.clear();
                    pool.parts.iter_mut().for_each(|it| it.config.clear());
                }
                _ => {}
            }
        }
        steps
    };
    // A new pool's size follows what is free.
    one.len() == other.len()
        && plain(one)
            .iter()
            .zip(plain(other))
            .all(|(one, other)| match (one, &other) {
                (Step::CreatePool { pool }, Step::CreatePool { pool: other }) => {
                    pool.name == other.name && pool.driver == other.driver
                }
                (one, other) => one == other,
            })
}

fn is_finish(steps: &[Step]) -> bool {
    steps.iter().any(|step| {
        matches!(
            step,
            Step::Migrate {
                part: Part::DeleteKept | Part::DeleteStray | Part::Adopt,
                ..
            }
        )
    })
}

fn in_short(facts: &Facts, plan: &Plan) -> String {
    let of = plan.steps.iter().find_map(Step::migrates);
    let line = of.and_then(|of| {
        let details = facts.server()?.details.get(&of.name)?;
        Some(plans::line(of, details, &plan.losses))
    });
    line.unwrap_or_default()
}

fn row(of: &Migration, downtime_seconds: Option<f64>, error: Option<String>) -> Moved {
    Moved {
        name: of.name.to_string(),
        pool: of.to.clone(),
        kept: (!of.plain).then(|| of.kept.clone()),
        downtime_seconds,
        error,
        note: None,
    }
}
