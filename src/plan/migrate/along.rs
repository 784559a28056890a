//! A set-up and migrations in one plan: what is decided about the second rests on what the first will make.

use super::super::{profiles::launch_profiles, Note, Plan, Refusal};
use super::{is_own, one, plan, selected, Wanted};
use crate::facts::{
    root_of, Backing, Bytes, Facts, Filesystem, Host, Incus, Pool, Reference, Server, Space,
};
use crate::step::Step;

/// The facts as they should be once these steps are done, with the room that new pools will have.
#[must_use]
pub fn foreseen(facts: &Facts, steps: &[Step]) -> Facts {
    let mut facts = facts.clone();
    for step in steps {
        step.expect(&mut facts);
    }
    let Facts { host, incus } = &mut facts;
    if let Incus::Answering(server) = incus {
        for pool in &mut server.pools {
            pool.space = pool.space.or_else(|| space_of_new(host, pool));
        }
    }
    facts
}

/// The room of a pool that is to be made; none of one that is there.
fn space_of_new(host: &Host, pool: &Pool) -> Option<Space> {
    match &pool.backing {
        Backing::LoopFile {
            size, allocated, ..
        } if *allocated == Bytes(0) || allocated == size => Some(Space {
            used: Bytes(0),
            total: *size,
        }),
        Backing::Subvolume { path } => {
            let under = |filesystem: &&Filesystem| {
                let mount_point = filesystem.mount_point.trim_end_matches('/');
                path.strip_prefix(mount_point)
                    .is_some_and(|rest| rest.starts_with('/'))
            };
            let source = host.source.as_ref().map(|source| &source.filesystem);
            let filesystem = std::iter::once(&host.incus_filesystem)
                .chain(&host.btrfs_filesystems)
                .chain(source)
                .filter(under)
                .max_by_key(|filesystem| filesystem.mount_point.len())?;
            Some(Space {
                used: filesystem.total.saturating_sub(filesystem.free),
                total: filesystem.total,
            })
        }
        _ => None,
    }
}

/// The containers that a set-up is to move along: without those that are on a pool that clones already, so that the
/// same call again has nothing to do.
///
/// # Errors
/// As [`selected`].
pub fn to_move(server: &Server, wanted: &Wanted) -> Result<Vec<Reference>, Refusal> {
    let mut names = selected(server, wanted)?;
    names.retain(|name| {
        let instance = server.instance(name).filter(|it| is_own(it));
        let pool = instance.and_then(|it| server.pool(it.pool.as_deref()?));
        !pool.is_some_and(Pool::copy_on_write)
    });
    Ok(names)
}

/// The set-up's plan with the migrations behind it, to the pool that the set-up makes or finds.  Where the daemon does
/// not answer yet, they are planned once it does.
///
/// # Errors
/// If anything stands in the way of a container that was named.
pub fn with_set_up(
    facts: &Facts,
    mut set_up: Plan,
    wanted: &Wanted,
    names: &[Reference],
) -> Result<Plan, Refusal> {
    let there = foreseen(facts, &set_up.steps);
    let Some(server) = there.server() else {
        return Ok(set_up);
    };
    set_up.notes.extend(there_already(server, wanted, names));
    if names.is_empty() {
        return Ok(set_up);
    }
    let mut wanted = wanted.clone();
    // Launches may still go to a pool that copies: then it is the one that was made beside it.
    let clones = |name: &str| server.pool(name).is_some_and(Pool::copy_on_write);
    wanted.to = wanted.to.or_else(|| {
        let made = set_up.steps.iter().rev().find_map(|step| match step {
            Step::CreatePool { pool } if clones(&pool.name) => Some(&pool.name),
            _ => None,
        });
        made?.parse().ok()
    });
    let migrations = plan(&there, &wanted, names)?;
    Ok(set_up.and(migrations, &there))
}

/// What was named and is not moved, as it is where it should be.
fn there_already(server: &Server, wanted: &Wanted, names: &[Reference]) -> Vec<Note> {
    let named = wanted
        .names
        .iter()
        .filter_map(|name| one(server, name).ok());
    named
        .filter(|name| !names.contains(name))
        .filter_map(|name| {
            let pool = server.instance(&name)?.pool.as_ref()?;
            let what = format!("{name} is on pool {pool} already, which clones");
            Some(Note { what, hint: None })
        })
        .collect()
}

impl Plan {
    /// This, and another one that begins with the facts as this one leaves them.
    #[must_use]
    pub fn and(self, then: Plan, there: &Facts) -> Plan {
        let last = foreseen(there, &then.steps);
        let used = last.server().and_then(|server| {
            let launches = launch_profiles(server).find(|it| it.reference.project == "default")?;
            let (_, keys) = root_of(&launches.devices)?;
            let pool = server.pool(keys.get("pool")?)?;
            Some((pool.name.clone(), pool.copy_on_write()))
        });
        let (pool, clones) = used.map_or((self.pool, self.clones), |(pool, clones)| {
            (Some(pool), clones)
        });
        Plan {
            steps: [self.steps, then.steps].concat(),
            notes: [self.notes, then.notes].concat(),
            losses: [self.losses, then.losses].concat(),
            open_end: self.open_end || then.open_end,
            choices: self.choices,
            image: self.image,
            pool,
            clones,
        }
    }
}
