//! The return to an original as it was kept.

use anyhow::{bail, Result};

use super::super::Setup;
use crate::facts::{Facts, Incus, Instance, Reference};
use crate::incus;
use crate::journal::{self, End, Record};
use crate::plan::migrate::{self as plans, Deed};
use crate::plan::{Note, Pins, Plan, Refusal};
use crate::step::migration::{Migration, Part};
use crate::step::Step;

impl Setup<'_> {
    pub(super) fn plan_return(&mut self, facts: &mut Facts) -> Result<Plan> {
        let Incus::Answering(server) = &mut facts.incus else {
            bail!("the Incus daemon does not answer");
        };
        let wanted = &self.migrating.wanted;
        let names = plans::selected(server, wanted)?;
        let (names, _) = plans::on_this_member(server, wanted, Deed::Return, names)?;
        if self.migrating.wanted.names.is_empty() {
            bail!(Refusal::new(
                "which containers are to go back?",
                ["name them: taos-setup migrate --rollback --as-it-was NAME…"],
            ));
        }
        incus::look_at(self.machine, server, &names)?;
        let records = journal::records(&self.machine.paths.state)?;
        let (mut steps, mut notes) = (Vec::new(), Vec::new());
        for name in &names {
            let Incus::Answering(server) = &facts.incus else {
                bail!("the Incus daemon does not answer");
            };
            let pool = server.instance(name).and_then(|it| it.pool.clone());
            let kept: Vec<&Instance> = plans::kept(server)
                .into_iter()
                .filter(|(it, of)| of == name && it.pool != pool && server.has_here(it))
                .map(|(it, _)| it)
                .collect();
            let [kept] = kept[..] else {
                let kept: Vec<&str> = kept.iter().map(|it| it.reference.name.as_str()).collect();
                bail!(Refusal::new(
                    format!(
                        "there has to be one original of {name} on another pool, and there is {}",
                        if kept.is_empty() {
                            "none".to_owned()
                        } else {
                            kept.join(" and ")
                        }
                    ),
                    ["see what is kept with: taos-setup migrate --status"],
                ));
            };
            let then = kept_by(&records, name, kept);
            let planned = plans::as_it_was(facts, name, kept, then)?;
            let since = incus::since(self.machine, server, name, &kept.reference)?;
            let started = |of: &Migration| of.was.last_used_at != kept.record.last_used_at;
            if then.is_some_and(started) {
                notes.push(Note {
                    what: format!(
                        "{} was started since it was kept, so it may not be as it was",
                        kept.reference
                    ),
                    hint: None,
                });
            }
            let new_name = planned.iter().find_map(Step::migrates);
            let new_name = new_name.map_or("", |of| of.kept.as_str());
            notes.extend(plans::notes_of(name, new_name, &since));
            steps.extend(planned);
        }
        let full = |name: &Reference| format!("{}/{}", name.project, name.name);
        self.goal.pins = Pins::Named(names.iter().map(full).collect());
        let mut plan = super::super::earlier::plan_of(steps);
        plan.notes = notes;
        Ok(plan)
    }
}

/// The migration that kept an original.
fn kept_by<'a>(records: &'a [Record], name: &Reference, kept: &Instance) -> Option<&'a Migration> {
    let identity = kept.record.config.get("volatile.uuid");
    records
        .iter()
        .rev()
        .filter(|record| record.end == Some(End::Completed))
        .flat_map(|record| &record.steps)
        .find_map(|step| {
            match step {
                Step::Migrate {
                    part: Part::Switch,
                    of,
                } => Some(&**of),
                _ => None,
            }
            .filter(|of| {
                of.name == *name
                    && of.kept == kept.reference.name
                    && kept.pool.as_ref() == Some(&of.from)
                    && identity.is_some()
                    && of.was.config.get("volatile.uuid") == identity
            })
        })
}
