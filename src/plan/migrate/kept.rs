//! Originals that are kept, and letting them go.

use super::super::Refusal;
use super::accept::{loss_of_kept, Loss};
use crate::facts::{Bytes, Config, Facts, Instance, Reference, Server};
use crate::step::migration::{Migration, Part, KEPT_MARK};
use crate::step::Step;

/// The originals that are kept, with what became of them.
#[must_use]
pub fn kept(server: &Server) -> Vec<(&Instance, Reference)> {
    server
        .instances
        .iter()
        .filter_map(|instance| {
            let name = instance.record.config.get(KEPT_MARK)?;
            let project = instance.reference.project.clone();
            Some((instance, Reference::new(project, name.as_str())))
        })
        .collect()
}

/// The steps that delete kept originals, of these containers, or of all; and what that does not respect.
///
/// # Errors
/// If one may not go.
pub fn finish(facts: &Facts, names: &[Reference]) -> Result<(Vec<Step>, Vec<Loss>), Refusal> {
    let mut steps = Vec::new();
    let mut losses = Vec::new();
    let Some(server) = facts.server() else {
        return Ok((steps, losses));
    };
    for (instance, name) in kept(server) {
        // Its files are cleared of their flags before it goes, and those lie on its member.
        if !server.has_here(instance) || !(names.is_empty() || names.contains(&name)) {
            continue;
        }
        let stands_in = server.instance(&name);
        losses.extend(loss_of_kept(instance, &name));
        let details = server.details.get(&instance.reference);
        let backups = details.map(|it| it.backups.join(", ")).unwrap_or_default();
        if !backups.is_empty() {
            return Err(Refusal::new(
                format!(
                    "{} has backups, which would go with it: {backups}",
                    instance.reference
                ),
                ["export what you need, delete them, and run this again"],
            ));
        }
        let of = Migration {
            kept: instance.reference.name.clone(),
            from: instance.pool.clone().unwrap_or_default(),
            to: stands_in.and_then(|it| it.pool.clone()).unwrap_or_default(),
            member: instance.location.clone(),
            copy: String::new(),
            was: instance.record.clone(),
            devices: instance.devices.clone(),
            snapshots: Vec::new(),
            root: (String::new(), Config::new()),
            running: false,
            seed: None,
            paths: 0,
            landing: Bytes(0),
            thorough: false,
            restricted: None,
            plain: false,
            then: None,
            name,
        };
        let step = of.step(Part::DeleteKept);
        if let Some(why) = step.blocked(facts) {
            return Err(Refusal::new(why, ["nothing was deleted"]));
        }
        steps.push(step);
    }
    Ok((steps, losses))
}
