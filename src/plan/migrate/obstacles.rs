//! What stands in the way of moving an instance, what is to be known, and whether there is room.

use super::super::{Note, Refusal};
use super::{can_be_proven, is_own, Wanted};
use crate::facts::{Backing, Bytes, Details, Facts, Instance, Pool, Server};
use crate::step::migration::{Migration, STRAY};

/// What a pool keeps free, as a copy-on-write filesystem needs room to change anything.
const POOL_RESERVE: Bytes = Bytes::mib(64);

/// What stands in the way of moving an instance.
pub(super) fn obstacle(
    server: &Server,
    wanted: &Wanted,
    instance: &Instance,
    details: &Details,
    pool: &Pool,
    to: &str,
) -> Result<(), Refusal> {
    let name = &instance.reference;
    let refuse = |what: String, hint: &str| Err(Refusal::new(what, [hint]));
    if instance.kind != "container" {
        return refuse(
            format!("{name} is a virtual machine"),
            "Incus moves those while they run: incus move NAME --storage POOL",
        );
    }
    if !is_own(instance) {
        return refuse(
            format!("{name} is a copy or a kept original of an earlier migration"),
            "see what it belongs to with: taos-setup migrate --status",
        );
    }
    if name.name.starts_with(STRAY) {
        return refuse(
            format!("{name} is what a move left behind that was cut short"),
            "see what it is, and what can be done: taos-setup migrate --rescue",
        );
    }
    if instance.record.ephemeral {
        return refuse(
            format!("{name} is ephemeral: stopping it would delete it"),
            "make it lasting first: incus config set NAME -p ephemeral=false",
        );
    }
    if !matches!(instance.status.as_str(), "Running" | "Stopped") {
        return refuse(
            format!("{name} is {}", instance.status),
            "start or stop it first",
        );
    }
    if pool.name == to {
        return refuse(
            format!("{name} is on pool {to} already"),
            "name another pool with --to, or leave it out",
        );
    }
    if wanted
        .from
        .as_ref()
        .is_some_and(|from| from.as_str() != pool.name)
    {
        return refuse(
            format!("{name} is on pool {}, and not where --from says", pool.name),
            "leave --from out, or leave it out",
        );
    }
    if !can_be_proven(server, pool, wanted) {
        return refuse(
            format!(
                "{name} is on a {} pool, which cannot be looked into",
                pool.driver
            ),
            "by hand: incus stop NAME, incus move NAME --storage POOL, incus start NAME",
        );
    }
    if !pool.is_looked_into() && instance.status != "Running" {
        return refuse(
            format!(
                "{name} is stopped, and Incus shows its files on a {} pool only while it runs",
                pool.driver
            ),
            "start it first",
        );
    }
    if details.busy {
        return refuse(
            format!("an operation is at work on {name}"),
            "wait until it is through (incus operation list), then run this again",
        );
    }
    if let Some((device, source)) = details.missing.first() {
        return refuse(
            format!(
                "{source}, the source of device {device} of {name}, is not there, and Incus takes \
                 no such device"
            ),
            "bring it back, or let it be missing: incus config device set NAME DEVICE required=false",
        );
    }
    let uuid = instance.record.config.get("volatile.uuid");
    let twin = server.instances.iter().find(|other| {
        other.reference.name.starts_with(STRAY)
            && uuid.is_some()
            && other.record.config.get("volatile.uuid") == uuid
    });
    if let Some(twin) = twin {
        return refuse(
            format!(
                "beside {name} there is {}, left by a move that was cut short",
                twin.reference
            ),
            "see what it is, and what can be done: taos-setup migrate --rescue",
        );
    }
    if wanted.plain || wanted.delete_after.is_some() {
        keeps_nothing(instance, details, wanted.plain)?;
    }
    snapshots(instance, details)
}

/// What would be gone for good with the original.
fn keeps_nothing(instance: &Instance, details: &Details, plain: bool) -> Result<(), Refusal> {
    let name = &instance.reference;
    if !details.backups.is_empty() {
        return Err(Refusal::new(
            format!(
                "{name} has backups, which would be deleted with the original: {}",
                details.backups.join(", ")
            ),
            ["export what you need and delete them, or let the original be kept"],
        ));
    }
    let protected = instance.record.config.get("security.protection.delete");
    if plain && protected.is_some_and(|value| value == "true" || value == "1") {
        return Err(Refusal::new(
            format!("{name} is protected from deletion, and a plain move deletes the original"),
            ["let the original be kept: leave --strategy move out"],
        ));
    }
    Ok(())
}

/// What a copy would not keep of a snapshot.
fn snapshots(instance: &Instance, details: &Details) -> Result<(), Refusal> {
    let name = &instance.reference;
    let refuse = |what: String, hint: &str| Err(Refusal::new(what, [hint]));
    if !details.torn_snapshots.is_empty() {
        return refuse(
            format!(
                "of the snapshots {} of {name} there is only one half, in the database or on the pool",
                details.torn_snapshots.join(", ")
            ),
            "look at both before anything else: incus snapshot list NAME, and the pool's folder containers-snapshots",
        );
    }
    for snapshot in &details.snapshots {
        if snapshot.stateful {
            return refuse(
                format!(
                    "snapshot {name}/{} holds the state of its memory",
                    snapshot.name
                ),
                "delete or export it first",
            );
        }
        if snapshot.profiles != instance.record.profiles {
            return refuse(
                format!(
                    "snapshot {name}/{} has the profiles {}, and a copy would give it {}",
                    snapshot.name,
                    snapshot.profiles.join(", "),
                    instance.record.profiles.join(", ")
                ),
                "delete it, or give the container those profiles, first",
            );
        }
    }
    Ok(())
}

/// What is to be known, and loses nothing.
pub(super) fn notes(of: &Migration, details: &Details) -> Vec<Note> {
    let name = &of.name;
    let mut notes = Vec::new();
    let mut note = |what: String, hint: &str| {
        let hint = Some(hint.to_owned()).filter(|hint| !hint.is_empty());
        notes.push(Note { what, hint });
    };
    if of.plain {
        note(
            format!(
                "with --strategy move no original of {name} is kept, and there is no way back: \
                 Incus deletes it before anyone could look at the copy"
            ),
            "what it was is written down before, and compared after; to keep it: leave that out",
        );
    }
    let attached: Vec<&str> = of
        .was
        .expanded_devices
        .iter()
        .filter(|(device, keys)| **device != of.root.0 && keys.contains_key("pool"))
        .map(|(device, _)| device.as_str())
        .collect();
    if !attached.is_empty() {
        note(
            format!(
                "{name} uses custom volumes ({}); they stay where they are, attached",
                attached.join(", ")
            ),
            "",
        );
    }
    if details.nested {
        note(
            format!(
                "{name} has an Incus or LXD of its own: what runs in there stops along with it, \
                 and starts as that one does at a boot; its pools go over as they are, as files"
            ),
            "",
        );
    }
    notes
}

/// Whether everything fits at once, on the pool and on the host, as it lands.
pub(super) fn room(
    facts: &Facts,
    pool: &Pool,
    moved: &[Migration],
    // What becomes free on the host after each of them.
    freed: &[Bytes],
) -> Result<(), Refusal> {
    let landing = moved
        .iter()
        .fold(Bytes(0), |sum, it| sum.saturating_add(it.landing));
    let needed = landing.saturating_add(POOL_RESERVE);
    let host = &facts.host.incus_filesystem;
    let free = pool
        .space
        .map(|space| space.total.saturating_sub(space.used));
    let refuse = |needed: Bytes, place: String, free: Bytes| {
        Err(Refusal::new(
            format!("{needed} may be needed, and {place} has {free} free"),
            [
                "migrate fewer at once, or let each original go before the next: \
                 --delete-originals"
                    .to_owned(),
                "or make room; nothing was touched".to_owned(),
            ],
        ))
    };
    if moved.is_empty() {
        return Ok(());
    }
    if let Some(free) = free.filter(|free| *free < needed) {
        return refuse(needed, format!("pool {}", pool.name), free);
    }
    // A new pool's figures are those of its file, or of the file system that it is on.
    let needed = peak(moved, freed).saturating_add(POOL_RESERVE);
    let grows =
        matches!(pool.backing, Backing::LoopFile { allocated, size, .. } if allocated < size);
    if (grows || pool.driver == "dir") && host.free < needed {
        return refuse(needed, host.mount_point.clone(), host.free);
    }
    Ok(())
}

/// The most that they take at any moment, beyond what is taken now.
fn peak(moved: &[Migration], freed: &[Bytes]) -> Bytes {
    let (mut taken, mut peak) = (Bytes(0), Bytes(0));
    for (it, freed) in moved.iter().zip(freed) {
        taken = taken.saturating_add(it.landing);
        peak = peak.max(taken);
        taken = taken.saturating_sub(*freed);
    }
    peak
}
