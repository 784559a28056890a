//! Every decision.
//!
//! [`plan`] turns what is ([`Facts`]) and what is wanted ([`Goal`]) into what would change, or
//! into a [`Refusal`].  It reads nothing and changes nothing, so the same code answers a dry run,
//! a test table and the real thing.  Only [`Plan::approve`] makes an [`Approved`], and only that
//! can be applied.

use std::fmt;

use serde::Serialize;

use crate::facts::{Bytes, Facts, Incus, Pool, Reference, Server};
use crate::step::{DaemonStart, Step};

mod cluster;
mod goal;
pub mod image;
pub mod migrate;
mod network;
mod packages;
mod place;
mod pool;
mod profiles;
#[cfg(test)]
mod samples;
mod situation;
mod size;
#[cfg(test)]
mod tests;
mod undo;

pub use goal::{BadPin, BadPoolName, DriverChoice, Goal, ImageGoal, Pins, PoolName, SourceChoice};
pub use profiles::launch_profiles;
pub use size::{fitting, Fit, FLOOR, NOMINAL};
pub use undo::backwards;

/// What would change, and what the person should know about it.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Plan {
    pub steps: Vec<Step>,
    /// What was noticed and is left alone.
    pub notes: Vec<Note>,
    /// What is not kept, and that nobody said yes to yet.
    pub losses: Vec<migrate::Loss>,
    /// Whether more is decided once the daemon answers, and asked for then.
    pub open_end: bool,
    /// Other things the person could choose, where there is a choice.
    pub choices: Vec<Choice>,
    /// When the base image is fetched; none where it is here, or that was settled before.
    pub image: Option<crate::facts::Mode>,
    /// The pool that launches use afterwards.
    pub pool: Option<String>,
    /// Whether a launch is a clone then.
    pub clones: bool,
}

/// Something noticed and left alone, with what can be done about it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Note {
    pub what: String,
    pub hint: Option<String>,
}

/// Something that is done only if it is chosen.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case", tag = "choice")]
pub enum Choice {
    /// Leave the pool as it is.
    Leave { pool: String },
    /// A copy-on-write pool beside it for new instances; these existing ones get pinned.
    Beside {
        pool: String,
        beside: String,
        pins: Vec<Reference>,
    },
}

/// Why nothing is done, and what the person can do about it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Refusal {
    pub what: String,
    pub hints: Vec<String>,
}

impl Refusal {
    pub fn new<H: Into<String>>(
        what: impl Into<String>,
        hints: impl IntoIterator<Item = H>,
    ) -> Self {
        Self {
            what: what.into(),
            hints: hints.into_iter().map(Into::into).collect(),
        }
    }
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.what)
    }
}

impl std::error::Error for Refusal {}

/// A plan that somebody said yes to: the only thing that can be applied.
#[derive(Debug)]
pub struct Approved {
    steps: Vec<Step>,
}

impl Approved {
    #[must_use]
    pub fn steps(&self) -> &[Step] {
        &self.steps
    }

    /// The run of the set-up, and that which fetches the base image after it.
    #[must_use]
    pub fn apart(self) -> (Self, Self) {
        let (last, first) = self.steps.into_iter().partition(Step::fetches);
        (Self { steps: first }, Self { steps: last })
    }
}

/// How a yes was given.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Yes {
    /// Typed at the prompt, below the whole list of steps.
    Typed,
    /// With `--yes`, and with `--pin` for the instances it names.
    Option(Pins),
}

impl Plan {
    /// Turns a yes into the right to apply.
    ///
    /// # Errors
    /// If the plan touches instances that the yes does not cover, or loses what nobody accepted.
    pub fn approve(self, yes: &Yes) -> Result<Approved, Refusal> {
        self.nothing_is_lost()?;
        approve(self.steps, yes)
    }
}

/// As [`Plan::approve`], for steps that an earlier run left unfinished, or their way back.
///
/// # Errors
/// If the steps touch instances that the yes does not cover.
pub fn approve(steps: Vec<Step>, yes: &Yes) -> Result<Approved, Refusal> {
    if let Yes::Option(pins) = yes {
        let touched = || steps.iter().filter_map(Step::touches);
        let names = |names: Vec<&Reference>| -> Vec<String> {
            names.iter().map(ToString::to_string).collect()
        };
        let uncovered = names(touched().filter(|name| !pins.cover(name)).collect());
        if !uncovered.is_empty() {
            return Err(Refusal::new(
                format!(
                    "this writes to the configuration of {}, which --yes does not cover",
                    uncovered.join(", ")
                ),
                [
                    format!(
                        "say yes to exactly that with --pin {}",
                        names(touched().collect()).join(",")
                    ),
                    "or answer the prompt on a terminal".into(),
                ],
            ));
        }
    }
    Ok(Approved { steps })
}

/// Decides what would change.
///
/// # Errors
/// With a [`Refusal`] where nothing can or should be done; nothing was touched then.
pub fn plan(facts: &Facts, goal: &Goal) -> Result<Plan, Refusal> {
    if !facts.host.root {
        return Err(Refusal::new(
            "taos-setup has to run as root: Incus and its storage are root's",
            ["run it again as: sudo taos-setup"],
        ));
    }
    let mut planner = Planner::new(facts);
    planner.start_daemon();
    if facts.host.packages.is_none() {
        // Nothing that is missing can come, so say that first.
        planner.install_packages()?;
    }
    if planner.facts.server().is_some() {
        if let Err(refusal) = planner.plan_pool(goal) {
            // It may be only that something has to be measured before.
            let step = planner.measure.take().ok_or(refusal)?;
            planner = Planner::new(facts);
            planner.push(step);
            return Ok(Plan {
                open_end: true,
                ..planner.finish()
            });
        }
        if goal.network {
            planner.plan_network();
        }
    }
    planner.refuse_without_members()?;
    planner.install_packages()?;
    if let (Some(image), true) = (&goal.image, planner.facts.server().is_some()) {
        planner.plan_image(image)?;
    }
    Ok(planner.finish())
}

/// A plan in the making: the steps so far, and the facts as they would be after them.
struct Planner {
    facts: Facts,
    steps: Vec<Step>,
    notes: Vec<Note>,
    choices: Vec<Choice>,
    /// Programs that the steps need.
    needs: Vec<&'static str>,
    image: Option<crate::facts::Mode>,
    pool: Option<String>,
    losses: Vec<migrate::Loss>,
    /// What has to be seen before a pool can be planned.
    measure: Option<Step>,
}

impl Planner {
    fn new(facts: &Facts) -> Self {
        Self {
            facts: facts.clone(),
            steps: Vec::new(),
            notes: Vec::new(),
            choices: Vec::new(),
            needs: Vec::new(),
            image: None,
            pool: None,
            losses: Vec::new(),
            measure: None,
        }
    }

    fn push(&mut self, step: Step) {
        step.expect(&mut self.facts);
        self.steps.push(step);
    }

    fn note(&mut self, what: impl Into<String>, hint: Option<String>) {
        self.notes.push(Note {
            what: what.into(),
            hint,
        });
    }

    /// The daemon's state after the steps so far.  Only called where it answers by then.
    fn server(&self) -> &Server {
        static NONE: std::sync::OnceLock<Server> = std::sync::OnceLock::new();
        self.facts
            .server()
            .unwrap_or_else(|| NONE.get_or_init(Server::default))
    }

    fn start_daemon(&mut self) {
        match self.facts.incus {
            Incus::Answering(_) => return self.needs.push("incus"),
            Incus::Absent | Incus::Silent { .. } => self.needs.extend(["incus", "incusd"]),
        }
        let start = Step::StartDaemon {
            with: DaemonStart::of(&self.facts.host),
        };
        // What an Incus that ran before holds is not known before it answers: no guessing.
        if self.facts.host.incus_database {
            self.steps.push(start);
        } else {
            self.push(start);
        }
    }

    fn finish(self) -> Plan {
        let pool = self.pool.as_deref();
        Plan {
            clones: pool
                .and_then(|name| self.server().pool(name))
                .is_some_and(Pool::copy_on_write),
            open_end: self.facts.server().is_none(),
            steps: self.steps,
            notes: self.notes,
            losses: self.losses,
            choices: self.choices,
            image: self.image,
            pool: self.pool,
        }
    }
}

/// Free, less what is promised already.
fn available(filesystem: &crate::facts::Filesystem) -> Bytes {
    filesystem.free.saturating_sub(filesystem.promised)
}
