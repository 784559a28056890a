//! Asking each member of a cluster for what only it knows.

use std::collections::BTreeMap;
use std::path::Path;

use anyhow::{Context as _, Result};

use super::{ask, read};
use crate::facts::{Bytes, Cluster, Member, Pool, PoolPart, PoolUser, Server, Space, MEASURE_POOL};
use crate::host::{self, Machine};

const MEMBERS: &str = "/1.0/cluster/members?recursion=1";

/// Fills in the members, and what each of them has of each pool.
///
/// # Errors
/// If the members cannot be listed; one that gives no answer is a fact.
pub(super) fn look(machine: &Machine, server: &mut Server) -> Result<()> {
    let Some(cluster) = &mut server.cluster else {
        return Ok(());
    };
    let earlier = std::mem::take(&mut cluster.members);
    cluster.members = read::members(&ask(machine, MEMBERS)?)?;
    cluster.members.sort_by(|a, b| a.name.cmp(&b.name));
    server.members = cluster.members.iter().map(|it| it.name.clone()).collect();
    let pools = &server.pools;
    let earlier = &earlier;
    let mut answers = std::thread::scope(|scope| {
        let asked: Vec<_> = cluster
            .members
            .iter_mut()
            .map(|member| scope.spawn(move || look_at_member(machine, member, earlier, pools)))
            .collect();
        asked
            .into_iter()
            .map(|thread| thread.join().unwrap_or_default().into_iter())
            .collect::<Vec<_>>()
    });
    for pool in &mut server.pools {
        pool.parts = answers.iter_mut().filter_map(Iterator::next).collect();
        own_part(pool, cluster);
    }
    let measured = machine.rooms.lock().map(|rooms| rooms.clone());
    let measured = measured.unwrap_or_default();
    for member in &mut cluster.members {
        let known = measured.get(&member.name).copied();
        member.room = known.or_else(|| seen_room(&server.pools, &member.name));
    }
    Ok(())
}

/// Whether it answers, what it is, and its part of each pool.  What it is was seen earlier, if it answered then.
fn look_at_member(
    machine: &Machine,
    member: &mut Member,
    earlier: &[Member],
    pools: &[Pool],
) -> Vec<PoolPart> {
    let name = percent(&member.name);
    let spaces = look_whether_there(machine, member, earlier, &name);
    let none = |pool: &Pool| PoolPart {
        member: member.name.clone(),
        status: "Unknown".into(),
        space: spaces.get(&pool.name).copied(),
        ..PoolPart::default()
    };
    let mut parts: Vec<PoolPart> = pools.iter().map(none).collect();
    for (pool, part) in pools.iter().zip(&mut parts) {
        if !member.answers() {
            break;
        }
        match part_of(machine, pool, &member.name) {
            Ok(found) => {
                let space = part.space;
                *part = PoolPart { space, ..found };
            }
            // Somebody deleted it just now.
            Err(error) if format!("{error:#}").contains("not found") => {}
            // What it has is not known then, and that is not the same as nothing.
            Err(error) => member.silent = Some(format!("{:#}", error.root_cause())),
        }
    }
    parts
}

fn part_of(machine: &Machine, pool: &Pool, member: &str) -> Result<PoolPart> {
    let (name, target) = (percent(&pool.name), percent(member));
    let path = format!("/1.0/storage-pools/{name}?target={target}");
    read::part(&ask(machine, &path)?, member, &pool.config)
}

/// Asks a member once, or twice: Incus waits up to ten seconds for one that is gone.
fn look_whether_there(
    machine: &Machine,
    member: &mut Member,
    earlier: &[Member],
    name: &str,
) -> BTreeMap<String, Space> {
    if member.status == "Offline" {
        member.silent = Some(member.message.clone());
        return BTreeMap::new();
    }
    let spaces = spaces(machine, name);
    match &spaces {
        Err(error) if is_gone(error) => {
            member.silent = Some(format!("{:#}", error.root_cause()));
            return BTreeMap::new();
        }
        _ => {}
    }
    let mut known = earlier
        .iter()
        .filter(|it| it.name == member.name && it.answers());
    if let Some(known) = known.next().filter(|_| spaces.is_ok()) {
        member.drivers.clone_from(&known.drivers);
    } else {
        // A broken pool is a reason for no figures, too.
        let drivers = ask(machine, &format!("/1.0?target={name}"));
        match drivers.and_then(|text| read::drivers(&text)) {
            Ok(drivers) => member.drivers = drivers,
            Err(error) => member.silent = Some(format!("{:#}", error.root_cause())),
        }
    }
    spaces.unwrap_or_default()
}

/// Whether an answer is that of the others, who cannot reach a member.
fn is_gone(error: &anyhow::Error) -> bool {
    let words = format!("{error:#}");
    [
        "Missing event connection",
        "isn't ready yet",
        "Unable to connect",
        "is down",
    ]
    .iter()
    .any(|sign| words.contains(sign))
}

/// How full its part of each pool is.
fn spaces(machine: &Machine, member: &str) -> Result<BTreeMap<String, Space>> {
    read::spaces(&ask(
        machine,
        &format!("/1.0/cluster/members/{member}/state"),
    )?)
}

/// What a member's filesystem has free, from a pool that is a folder on it.
fn seen_room(pools: &[Pool], member: &str) -> Option<Bytes> {
    // One that a run left which was cut short goes with the next measuring.
    pools
        .iter()
        .filter(|pool| pool.driver == "dir" && pool.name != MEASURE_POOL)
        .find_map(|pool| {
            let part = pool.part(member)?;
            let source = part.config.get("source")?;
            let own = source.ends_with(&format!("/storage-pools/{}", pool.name));
            Some(room(part.space.filter(|_| own)?))
        })
}

/// Of what is not used, some is kept for root alone: how much is not told, and a twentieth is what is usual.
fn room(space: Space) -> Bytes {
    let free = space.total.saturating_sub(space.used);
    free.saturating_sub(Bytes(space.total.0 / 20))
}

/// What the filesystem of a member has free, on which it has its part of a `dir` pool.
///
/// # Errors
/// If it does not answer.
pub fn room_of(machine: &Machine, pool: &str, member: &str) -> Result<Bytes> {
    spaces(machine, &percent(member))?
        .get(pool)
        .map(|space| room(*space))
        .with_context(|| format!("asking member {member} for pool {pool}"))
}

/// A pool's place and files are looked at where this program runs.
fn own_part(pool: &mut Pool, cluster: &Cluster) {
    let Some(part) = pool.part(&cluster.here).cloned() else {
        return;
    };
    pool.config.extend(part.config);
    pool.backing = host::backing(&pool.driver, &pool.config);
    let only_images = part
        .users
        .iter()
        .all(|user| matches!(user, PoolUser::Image { .. }));
    pool.stray_files = match pool.config.get("source") {
        Some(folder) if pool.driver == "dir" && only_images => host::stray_files(Path::new(folder)),
        _ => Vec::new(),
    };
}

/// A name as part of an address.
fn percent(name: &str) -> String {
    use std::fmt::Write as _;
    let mut text = String::new();
    for byte in name.bytes() {
        if byte.is_ascii_alphanumeric() || b"-_.".contains(&byte) {
            text.push(char::from(byte));
        } else {
            let _ = write!(text, "%{byte:02X}");
        }
    }
    text
}
