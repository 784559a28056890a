//! The return to what was kept, as it is.

use super::super::{Note, Refusal};
use super::{free_name, restricted};
use crate::facts::{Bytes, Facts, Instance, Reference, Since};
use crate::step::migration::{Migration, Then};
use crate::step::Step;

/// The steps that give a kept original its name again.  `then` is the migration that kept it, as
/// its journal tells.
///
/// # Errors
/// If it is not for sure that this is what was kept.
pub fn as_it_was(
    facts: &Facts,
    name: &Reference,
    kept: &Instance,
    then: Option<&Migration>,
) -> Result<Vec<Step>, Refusal> {
    let refuse = |what: String, hint: &str| Err(Refusal::new(what, [hint]));
    let now = facts.server().and_then(|server| server.instance(name));
    let (Some(server), Some(now)) = (facts.server(), now) else {
        return refuse(format!("there is no {name}"), "nothing was touched");
    };
    let (Some(from), Some(to)) = (now.pool.clone(), kept.pool.clone()) else {
        return refuse(
            format!("{name} has no root disk on any pool"),
            "nothing was touched",
        );
    };
    let Some(then) = then else {
        return refuse(
            format!(
                "no journal tells what {} was configured as",
                kept.reference.name
            ),
            "with all that it wrote since it goes back by: taos-setup migrate --rollback NAME",
        );
    };
    if server.details.get(name).is_some_and(|details| details.busy) {
        return refuse(
            format!("an operation is at work on {name}"),
            "wait until it is through (incus operation list), then run this again",
        );
    }
    if now.record.ephemeral || !matches!(now.status.as_str(), "Running" | "Stopped") {
        return refuse(
            format!("{name} is {} or ephemeral", now.status),
            "make it lasting, and start or stop it, first",
        );
    }
    if kept.status != "Stopped" {
        return refuse(
            format!("{} is {}", kept.reference, kept.status),
            "it is to be what it was when it was kept; see what runs in it",
        );
    }
    let mut record = then.was.clone();
    record.last_used_at.clone_from(&kept.record.last_used_at);
    let root = then.root_here();
    let mut devices = then.devices.clone();
    // A profile's root disk may be elsewhere by now.
    devices.insert(root.0.clone(), root.1.clone());
    let of = Migration {
        name: name.clone(),
        from,
        to,
        member: now.location.clone(),
        copy: kept.reference.name.clone(),
        kept: free_name(server, name, "kept"),
        was: now.record.clone(),
        devices: now.devices.clone(),
        snapshots: Vec::new(),
        root,
        running: now.status == "Running",
        seed: None,
        paths: 0,
        landing: Bytes(0),
        thorough: false,
        restricted: restricted(server, name),
        plain: false,
        then: Some(Box::new(Then { record, devices })),
    };
    Ok(of.return_steps())
}

/// What the return leaves behind, in words.
#[must_use]
pub fn notes_of(name: &Reference, kept: &str, since: &Since) -> Vec<Note> {
    let mut parts = Vec::new();
    if !since.written.nothing() {
        let bytes = Bytes(since.bytes);
        let (count, which) = (since.written.count, &since.written);
        parts.push(format!("{count} paths that it wrote ({bytes}): {which}"));
    }
    if !since.deleted.nothing() {
        let (count, which) = (since.deleted.count, &since.deleted);
        parts.push(format!("{count} paths that it deleted: {which}"));
    }
    if !since.snapshots.is_empty() {
        parts.push(format!("the snapshots {}", since.snapshots.join(", ")));
    }
    if parts.is_empty() {
        parts.push("nothing that size and time would show".into());
    }
    vec![Note {
        what: format!(
            "{name} will be as it was when it was migrated, with its configuration of then. What \
             changed since is not in it: {}",
            parts.join("; ")
        ),
        hint: Some(format!(
            "it is kept as {kept}, until you say: taos-setup migrate --finish {name}"
        )),
    }]
}
