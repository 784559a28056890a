//! What plain moves have left that were cut short, this program's own among them.

use std::time::{Duration, Instant};

use anyhow::{bail, Result};

use super::super::Setup;
use crate::facts::{Facts, Incus, Server, Stray};
use crate::incus;
use crate::journal;
use crate::plan::migrate::{self as plans, Verdict};
use crate::plan::{Pins, Plan, Refusal};
use crate::report::Ending;
use crate::step::migration::{Migration, Part, STRAY};
use crate::step::Step;

impl Setup<'_> {
    /// What would be done about them: those that are named, or all.
    pub(super) fn plan_rescue(&mut self, facts: &mut Facts) -> Result<Option<Plan>> {
        let Incus::Answering(server) = &mut facts.incus else {
            bail!("the Incus daemon does not answer");
        };
        incus::look_at(self.machine, server, &[])?;
        let strays = self.strays(server)?;
        let named = &self.migrating.wanted.names;
        if named.is_empty() && self.manner.yes {
            bail!(Refusal::new(
                "--yes touches only what is named",
                [
                    "see what there is with: taos-setup migrate --status",
                    "and name it: taos-setup migrate --rescue move-of-… --yes",
                ],
            ));
        }
        let (mut steps, mut notes) = (Vec::new(), Vec::new());
        let wanted = chosen(server, &strays, named)?;
        for (stray, given) in wanted {
            let verdict = Verdict::of(server, stray, given.as_deref());
            if let (Verdict::Doubt { why }, false) = (&verdict, named.is_empty()) {
                bail!(Refusal::new(
                    why.clone(),
                    ["nothing was touched; look at both, and rename or delete one by hand"],
                ));
            }
            notes.push(plans::say(stray, &verdict));
            steps.extend(plans::resolve(server, stray, &verdict)?);
        }
        if notes.is_empty() {
            self.ui.say("No move that was cut short has left anything.");
            return Ok(None);
        }
        let full = |of: &Migration| format!("{}/{}", of.name.project, of.name.name);
        let about = steps.iter().filter_map(Step::migrates);
        self.goal.pins = Pins::Named(about.map(full).collect());
        let mut plan = super::super::earlier::plan_of(steps);
        plan.notes = notes;
        Ok(Some(plan))
    }

    /// Says what each of them is, and what to type.
    pub(super) fn show_strays(&self, server: &Server) -> Result<()> {
        for stray in self.strays(server)? {
            let verdict = Verdict::of(server, &stray, None);
            let note = plans::say(&stray, &verdict);
            let hint = note.hint.map_or(String::new(), |hint| format!(". {hint}"));
            self.ui.say(&format!("{}{hint}", note.what));
        }
        let elsewhere = server.instances.iter().filter(|it| {
            it.reference.name.starts_with(STRAY) && !server.has_here(it) && it.kind == "container"
        });
        for stray in elsewhere {
            let member = &stray.location;
            self.ui.say(&format!(
                "{} is on member {member}, left by a move that was cut short. To see what it is, on \
                 {member}: taos-setup migrate --status",
                stray.reference
            ));
        }
        Ok(())
    }

    /// After a plain move that was cut short: whether it goes forward, or back; or why neither.
    pub(super) fn after_plain_move(
        &mut self,
        facts: &mut Facts,
        of: &Migration,
    ) -> Result<Result<bool, Ending>> {
        let begun = Instant::now();
        loop {
            let Some(server) = facts.server() else {
                bail!("the Incus daemon does not answer");
            };
            let left = of.stray(server).map(|it| &it.reference);
            let why = match left {
                None if of.moved(server).is_some() => return Ok(Ok(true)),
                None if server.instance(&of.name).is_some() => return Ok(Ok(false)),
                None => format!("{} is not there any more, under no name", of.name),
                Some(left) => {
                    let stray = self
                        .strays(server)?
                        .into_iter()
                        .find(|it| it.stray == *left);
                    match stray.map(|it| (it.busy, verdict_of(server, &it, of))) {
                        Some((false, Verdict::Lesser)) => return Ok(Ok(false)),
                        Some((false, Verdict::Whole | Verdict::Only { .. })) => {
                            return Ok(Ok(true))
                        }
                        // The daemon may still be at work on it.
                        Some((true, _)) if begun.elapsed() < self.machine.bounds.change => {
                            std::thread::sleep(Duration::from_millis(500));
                            *facts = self.look()?;
                            continue;
                        }
                        Some((_, Verdict::Doubt { why })) => why,
                        _ => format!("{left} is not what was seen"),
                    }
                }
            };
            return Ok(Err(Ending::Stuck {
                error: format!("a plain move of {} was cut short, and {why}", of.name),
                remaining: [Part::Check, Part::Start].map(|part| of.step(part)).into(),
                back: false,
            }));
        }
    }

    fn strays(&self, server: &Server) -> Result<Vec<Stray>> {
        let records = journal::records(&self.machine.paths.state)?;
        let known: Vec<(String, String)> = records
            .iter()
            .flat_map(|record| &record.steps)
            .filter_map(Step::migrates)
            .filter_map(|of| {
                let uuid = of.was.config.get("volatile.uuid")?;
                Some((uuid.clone(), of.name.name.clone()))
            })
            .collect();
        incus::strays(self.machine, server, &known)
    }
}

fn verdict_of(server: &Server, stray: &Stray, of: &Migration) -> Verdict {
    Verdict::of(server, stray, Some(&of.name.name))
}

/// Those that are meant, with the names that are given to them.
fn chosen<'a>(
    server: &Server,
    strays: &'a [Stray],
    named: &[String],
) -> Result<Vec<(&'a Stray, Option<String>)>, Refusal> {
    if named.is_empty() {
        return Ok(strays.iter().map(|stray| (stray, None)).collect());
    }
    let mut chosen: Vec<(&Stray, Option<String>)> = Vec::new();
    for text in named {
        let (name, given) = match text.split_once('=') {
            Some((name, given)) => (name, Some(given.to_owned())),
            None => (text.as_str(), None),
        };
        let reference = plans::one(server, name)?;
        let stray = strays.iter().find(|it| it.stray == reference);
        let elsewhere = server
            .instance(&reference)
            .filter(|it| !server.has_here(it));
        if let Some(elsewhere) = elsewhere {
            let member = &elsewhere.location;
            return Err(Refusal::new(
                format!("{reference} is on member {member}, and its files can be read only there"),
                [format!("on {member}: taos-setup migrate --rescue {text}")],
            ));
        }
        let Some(stray) = stray else {
            return Err(Refusal::new(
                format!("{reference} is not what a move left: that is called move-of-…"),
                ["see what there is with: taos-setup migrate --status"],
            ));
        };
        if chosen.iter().any(|(it, _)| it.stray == reference) {
            return Err(Refusal::new(
                format!("{name} is named twice"),
                ["name each once; nothing was touched"],
            ));
        }
        chosen.push((stray, given));
    }
    Ok(chosen)
}
