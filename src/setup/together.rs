//! A set-up that moves containers along, in one call.

use anyhow::Result;

use super::migrate::same_steps;
use super::Setup;
use crate::facts::{Facts, Incus, Reference};
use crate::incus;
use crate::journal::Lock;
use crate::plan::migrate::{self as plans, Loss};
use crate::plan::{plan, Approved, Plan};
use crate::report::Ending;

impl Setup<'_> {
    /// The set-up's plan, with the migrations that are asked for behind it; and how many of its steps are the set-up's.
    pub(super) fn plan_with_migrations(&mut self, facts: &mut Facts) -> Result<(Plan, usize)> {
        let mut set_up = plan(facts, &self.goal)?;
        let Some(wanted) = self.goal.migrate.clone() else {
            let own = set_up.steps.len();
            return Ok((set_up, own));
        };
        let Incus::Answering(server) = &mut facts.incus else {
            let own = set_up.steps.len();
            return Ok((set_up, own));
        };
        let names = plans::to_move(server, &wanted)?;
        let (names, elsewhere) = plans::on_this_member(server, &wanted, plans::Deed::Move, names)?;
        set_up.notes.extend(elsewhere);
        incus::look_at(self.machine, server, &names)?;
        let mut both = plans::with_set_up(facts, set_up.clone(), &wanted, &names)?;
        if !both.steps.iter().any(|step| step.migrates().is_some()) {
            // No pool is made for containers that stay where they are.
            let notes = both.notes.split_off(set_up.notes.len());
            self.goal.migrate = None;
            set_up = plan(facts, &self.goal)?;
            set_up.notes.extend(notes);
            both = set_up.clone();
        }
        // A yes to these, and to those that --pin names.
        let full = |name: &Reference| format!("{}/{}", name.project, name.name);
        let pins = std::mem::take(&mut self.goal.pins);
        self.goal.pins = pins.and(names.iter().map(full));
        Ok((both, set_up.steps.len()))
    }

    /// Moves what was approved, now that the set-up is through.  Nothing if that asks for another plan.
    pub(super) fn move_along(
        &mut self,
        lock: &Lock,
        moves: Approved,
        losses: &[Loss],
    ) -> Result<Option<Ending>> {
        let mut facts = self.look()?;
        let (planned, own) = self.plan_with_migrations(&mut facts)?;
        let same = same_steps(&planned.steps, moves.steps())
            && plans::same_losses(&planned.losses, losses);
        if own == 0 && same {
            return self.run_each(lock, moves).map(Some);
        }
        self.ui.say("Something changed meanwhile; looking again.");
        Ok(None)
    }
}
