//! Deleting the pool that containers were moved away from.

use anyhow::Result;

use super::Setup;
use crate::facts::{Facts, Incus, Reference};
use crate::incus;
use crate::journal::{Lock, Progress};
use crate::plan::migrate as plans;
use crate::plan::{approve, Pins, Plan, Refusal, Yes};
use crate::report::Ending;
use crate::step::migration::Part;
use crate::step::Step;

impl Setup<'_> {
    /// Refuses a wish to delete a pool that something would still use, before anything is begun; and shows the deletion
    /// as the last step of the plan.
    pub(super) fn plan_old_pool(
        &mut self,
        facts: &Facts,
        planned: &mut Plan,
    ) -> Result<Option<Step>, Refusal> {
        let Some(name) = &self.migrating.delete_old_pool else {
            return Ok(None);
        };
        let there = plans::foreseen(facts, &planned.steps);
        let step = plans::may_be_deleted(&there, name.as_str(), &leaving(&planned.steps))?;
        planned.steps.push(step.clone());
        planned.notes.extend(plans::without(name.as_str()));
        Ok(Some(step))
    }

    /// Deletes it, if nothing uses it now, and if that is what the person says: with the option that names it, or asked
    /// for just that.
    pub(super) fn delete_old_pools(
        &mut self,
        lock: &Lock,
        steps: &[Step],
        asked: Option<Step>,
        ending: Ending,
    ) -> Result<Ending> {
        let whole = match &ending {
            Ending::Done => true,
            Ending::Migrated(moved) => moved.iter().all(|it| it.error.is_none()),
            _ => false,
        };
        if !whole {
            return Ok(ending);
        }
        let mut facts = self.look()?;
        if let Incus::Answering(server) = &mut facts.incus {
            incus::look_at(self.machine, server, &[])?;
        }
        let mut pools = facts
            .server()
            .map(|server| plans::emptied(server, steps))
            .unwrap_or_default();
        pools.retain(|pool| asked.as_ref().and_then(name_of) != Some(pool));
        let empty = pools
            .iter()
            .filter_map(|pool| plans::may_be_deleted(&facts, pool, &[]).ok());
        for step in asked.clone().into_iter().chain(empty) {
            if !self.may_delete(&step, asked.as_ref() == Some(&step)) {
                continue;
            }
            let pool = name_of(&step).cloned().unwrap_or_default();
            let ended = match plans::may_be_deleted(&facts, &pool, &[]) {
                Ok(step) => self.delete_pool(lock, step)?,
                Err(refusal) => Ending::Failed {
                    error: format!("pool {pool} stays: {refusal}"),
                },
            };
            if ended != Ending::Done {
                self.ui.show_moved(&ending);
                return Ok(ended);
            }
        }
        Ok(ending)
    }

    /// With `--yes` only the option is a yes to this; on a terminal only one that is typed for just this.
    fn may_delete(&self, step: &Step, asked: bool) -> bool {
        if self.manner.yes || !self.ui.interactive() {
            return asked && self.manner.yes;
        }
        let pool = name_of(step).map_or("", String::as_str);
        let mut what = format!("Storage pool {pool} is empty: nothing at all uses it.");
        if let Some(note) = plans::without(pool) {
            what = format!("{what} But: {}.", note.what);
        }
        let question = format!("Delete storage pool {pool}?");
        self.ui.confirm(&what, &question)
    }

    fn delete_pool(&mut self, lock: &Lock, step: Step) -> Result<Ending> {
        let facts = self.look()?;
        let approved = approve(vec![step], &Yes::Option(Pins::None))?;
        let writer = lock.begin(approved.steps())?;
        let ended = self.run_forwards(facts, lock, writer, &approved, &[Progress::Pending]);
        Ok(ended.unwrap_or(Ending::Done))
    }
}

/// The originals that these steps delete: kept ones, and those that are moved without being kept.
fn leaving(steps: &[Step]) -> Vec<Reference> {
    let of_part = |wanted: Part| {
        steps.iter().filter_map(move |step| match step {
            Step::Migrate { part, of } if *part == wanted => Some(of),
            _ => None,
        })
    };
    let kept = of_part(Part::DeleteKept).map(|of| of.reference(&of.kept));
    let moved = of_part(Part::Switch)
        .filter(|of| of_part(Part::DeleteKept).any(|it| it.kept == of.kept))
        .chain(of_part(Part::Move))
        .map(|of| of.name.clone());
    kept.chain(moved).collect()
}

fn name_of(step: &Step) -> Option<&String> {
    match step {
        Step::DeletePool { pool } => Some(&pool.name),
        _ => None,
    }
}
