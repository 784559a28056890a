//! Asking each member of a cluster for what only it knows.

use std::path::Path;

use anyhow::Result;

use super::{ask, read};
use crate::facts::{Cluster, Member, Pool, PoolPart, PoolUser, Server};
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
    cluster.members = read::members(&ask(machine, MEMBERS)?)?;
    cluster.members.sort_by(|a, b| a.name.cmp(&b.name));
    server.members = cluster.members.iter().map(|it| it.name.clone()).collect();
    let pools = &server.pools;
    let mut answers = std::thread::scope(|scope| {
        let asked: Vec<_> = cluster
            .members
            .iter_mut()
            .map(|member| scope.spawn(move || look_at_member(machine, member, pools)))
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
    Ok(())
}

/// Its drivers, and its part of each pool in turn.
fn look_at_member(machine: &Machine, member: &mut Member, pools: &[Pool]) -> Vec<PoolPart> {
    let name = percent(&member.name);
    let drivers =
        ask(machine, &format!("/1.0?target={name}")).and_then(|text| read::drivers(&text));
    match drivers {
        Ok(drivers) => member.drivers = drivers,
        Err(error) => member.silent = Some(silence(member, &error)),
    }
    let part = |pool: &Pool| {
        let none = || PoolPart {
            member: member.name.clone(),
            status: "Unknown".into(),
            ..PoolPart::default()
        };
        if !member.answers() {
            return none();
        }
        let path = format!("/1.0/storage-pools/{}?target={name}", percent(&pool.name));
        ask(machine, &path)
            .and_then(|text| read::part(&text, &member.name, &pool.config))
            .map_or_else(
                |_| none(),
                |part| PoolPart {
                    // What a folder's filesystem has is what a file beside it could take.
                    space: (pool.driver == "dir")
                        .then(|| space(machine, &pool.name, &name))
                        .flatten(),
                    ..part
                },
            )
    };
    pools.iter().map(part).collect()
}

/// How full each part of each pool is.
pub(super) fn look_closer(machine: &Machine, server: &mut Server) {
    let silent =
        |cluster: &Cluster, name: &str| cluster.member(name).is_none_or(|member| !member.answers());
    let Some(cluster) = &server.cluster else {
        return;
    };
    for pool in &mut server.pools {
        for part in &mut pool.parts {
            if part.space.is_none() && part.is_there() && !silent(cluster, &part.member) {
                part.space = space(machine, &pool.name, &percent(&part.member));
            }
        }
    }
}

fn space(machine: &Machine, pool: &str, member: &str) -> Option<crate::facts::Space> {
    let pool = percent(pool);
    let path = format!("/1.0/storage-pools/{pool}/resources?target={member}");
    read::space(&ask(machine, &path).ok()?).ok()
}

/// What Incus says of a member that is gone; of one that has just died only its silence tells.
fn silence(member: &Member, error: &anyhow::Error) -> String {
    if member.status == "Online" {
        format!("{:#}", error.root_cause())
    } else {
        member.message.clone()
    }
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
