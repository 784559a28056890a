//! What the pools that are there ask for, before anything is decided about a new one.

use super::cluster::{chosen_on_members, used_on};
use super::{DriverChoice, Goal, Refusal};
use crate::facts::{root_of, Pool, PoolUser, Reference, Server};
use crate::step::{in_use, is_begun};

/// The name a pool gets beside one that is kept.
const BESIDE: &str = "taos";
/// The name of a first pool.  `incus-user` writes it into the profiles it makes.
const DEFAULT: &str = "default";

/// What is to become of the pool that launches use.
#[derive(Debug, PartialEq)]
pub(super) enum Situation {
    /// There is none: make it.
    Create(String),
    /// It clones already, or copying is what was asked for.
    Keep(String),
    /// It copies, and nothing is on it: make it again.
    Recreate(Pool),
    /// It copies, something is on it, and nothing else was asked for.
    Leave(Pool),
}

/// Finds out which of them it is.
pub(super) fn situation(
    server: &Server,
    goal: &Goal,
    incus_dir: &str,
) -> Result<Situation, Refusal> {
    if goal.beside && goal.driver == DriverChoice::Dir {
        return Err(Refusal::new(
            "--beside makes a copy-on-write pool, and --driver dir asks for one that copies",
            ["leave one of them out"],
        ));
    }
    if goal.migrate.is_some() && goal.driver == DriverChoice::Dir {
        return Err(Refusal::new(
            "--migrate moves containers to a pool that clones, and --driver dir asks for one that copies",
            ["leave one of them out"],
        ));
    }
    if let Some(name) = &goal.pool {
        let Some(pool) = server.pool(name.as_str()) else {
            return Ok(Situation::Create(name.to_string()));
        };
        if goal.beside && !pool.copy_on_write() {
            return Err(Refusal::new(
                format!("pool {name} is there already, and it is {}", pool.driver),
                ["name a pool that is not there yet: --beside --pool taos"],
            ));
        }
        return existing(server, pool, goal, incus_dir);
    }
    let used = launch_pool(server)?;
    match used {
        // A profile may name a pool that is not there (a pool deleted, or never made).
        None => Ok(Situation::Create(
            launch_pool_name(server).unwrap_or(DEFAULT).to_owned(),
        )),
        Some(pool) if goal.beside && !pool.copy_on_write() => {
            Ok(beside(server).map_or_else(Situation::Create, Situation::Keep))
        }
        Some(pool) => existing(server, pool, goal, incus_dir),
    }
}

fn existing(
    server: &Server,
    pool: &Pool,
    goal: &Goal,
    incus_dir: &str,
) -> Result<Situation, Refusal> {
    let name = pool.name.clone();
    if is_begun(pool) {
        return Ok(Situation::Keep(name));
    }
    usable(pool)?;
    if pool.copy_on_write() || (goal.driver == DriverChoice::Dir && pool.driver == "dir") {
        Ok(Situation::Keep(name))
    } else if why_kept(server, pool, incus_dir).is_none() {
        Ok(Situation::Recreate(pool.clone()))
    } else if goal.pool.is_some() && launch_pool_name(server) != Some(&name) {
        Err(Refusal::new(
            format!(
                "pool {name} ({}) copies at each launch, and launches do not use it yet",
                pool.driver
            ),
            [
                "name a pool that clones, or one that is not there yet".to_owned(),
                format!("or accept that each launch copies: --pool {name} --driver dir"),
            ],
        ))
    } else {
        Ok(Situation::Leave(pool.clone()))
    }
}

/// The pool that profile `default` names.
fn launch_pool_name(server: &Server) -> Option<&str> {
    let profile = server.profile(&Reference::new("default", "default"))?;
    let (_, keys) = root_of(&profile.devices)?;
    keys.get("pool").map(String::as_str)
}

/// The pool that a launch uses now, or that it clearly should.
fn launch_pool(server: &Server) -> Result<Option<&Pool>, Refusal> {
    let named = launch_pool_name(server).and_then(|name| server.pool(name));
    if let Some(pool) = named.or_else(|| server.pool(DEFAULT)) {
        return Ok(Some(pool));
    }
    // Half-configured: pools, but none that the profile names.
    let clones: Vec<&Pool> = server
        .pools
        .iter()
        .filter(|pool| pool.copy_on_write() && pool.status == "Created")
        .collect();
    match clones.as_slice() {
        [] => Ok(None),
        [pool] => Ok(Some(pool)),
        several => {
            let names: Vec<&str> = several.iter().map(|pool| pool.name.as_str()).collect();
            Err(Refusal::new(
                format!(
                    "profile default names no pool, and {} could all be meant",
                    names.join(", ")
                ),
                [format!("say which: --pool {}", names[0])],
            ))
        }
    }
}

/// Why a pool that copies is not deleted and made again; nothing, if that loses nothing at all.
pub(super) fn why_kept(server: &Server, pool: &Pool, incus_dir: &str) -> Option<String> {
    let instances = pool
        .users
        .iter()
        .filter(|user| matches!(user, PoolUser::Instance { .. }))
        .count();
    if instances > 0 {
        let are = if instances == 1 {
            "instance is"
        } else {
            "instances are"
        };
        return Some(format!("{instances} {are} on it{}", used_on(pool)));
    }
    if let Some(why) = in_use(server, &without_profiles(server, pool)) {
        return Some(format!("{why}{}", used_on(pool)));
    }
    if pool.driver != "dir" {
        return Some(format!("taos-setup does not replace {} pools", pool.driver));
    }
    let folder = format!(
        "{}/storage-pools/{}",
        incus_dir.trim_end_matches('/'),
        pool.name
    );
    let own = |(key, value): &(&String, &String)| {
        !(key.starts_with("volatile.") || (*key == "source" && **value == folder))
    };
    // What somebody chose stays chosen.
    let mut chosen: Vec<String> = pool
        .config
        .iter()
        .filter(own)
        .map(|(key, value)| format!("{key}={value}"))
        .collect();
    chosen.extend(chosen_on_members(server, pool));
    (!chosen.is_empty()).then(|| format!("somebody set {}", chosen.join(", ")))
}

/// The pool without the users that a new one gets back: profiles that name it for their root disk
/// and for nothing else.
fn without_profiles(server: &Server, pool: &Pool) -> Pool {
    let mut pool = pool.clone();
    let name = pool.name.clone();
    pool.users.retain(|user| match user {
        PoolUser::Profile { name: profile } => !server.profile(profile).is_some_and(|profile| {
            let mut disks = profile
                .devices
                .values()
                .filter(|keys| keys.get("pool") == Some(&name));
            let root = root_of(&profile.devices).map(|(_, keys)| keys);
            disks.all(|keys| Some(keys) == root)
        }),
        _ => true,
    });
    pool
}

pub(super) fn usable(pool: &Pool) -> Result<(), Refusal> {
    if pool.status == "Created" {
        return Ok(());
    }
    let reason = pool.reason.as_deref().unwrap_or("Incus gives no reason");
    let hint = match pool.status.as_str() {
        "Pending" => format!(
            "if nothing is creating it right now, a creation was broken off: \
             incus storage delete {}",
            pool.name
        ),
        "Errored" => format!("its creation failed: incus storage delete {}", pool.name),
        _ => {
            "bring back what it lies on, then restart Incus; taos-setup will not replace it".into()
        }
    };
    Err(Refusal::new(
        format!("storage pool {} is {}: {reason}", pool.name, pool.status),
        [hint, "then run taos-setup again".into()],
    ))
}

/// The pool that was made beside one that copies, or a name for it.
pub(super) fn beside(server: &Server) -> Result<String, String> {
    names_beside()
        .map_while(|name| server.pool(&name))
        .find(|pool| pool.copy_on_write())
        .map(|pool| pool.name.clone())
        .ok_or_else(|| free_pool_name(server))
}

fn names_beside() -> impl Iterator<Item = String> {
    std::iter::once(BESIDE.to_owned()).chain((2..).map(|number| format!("{BESIDE}{number}")))
}

/// A name for a pool beside the others.
pub(super) fn free_pool_name(server: &Server) -> String {
    names_beside()
        .find(|name| server.pool(name).is_none())
        .unwrap_or_default()
}
