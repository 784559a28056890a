//! What is to be minded where each member of a cluster has its part.

use super::PoolSpec;
use crate::facts::{Config, Facts, Pool, PoolPart, Server};

impl PoolSpec {
    /// The members that are given a part.
    pub fn members(&self) -> impl Iterator<Item = &str> {
        self.parts.iter().map(|part| part.member.as_str())
    }
}

/// As [`super::Step::holds`]: the room is known, and what it was measured with is gone.
pub(super) fn measured(pool: &PoolSpec, facts: &Facts) -> bool {
    let Some(server) = facts.server() else {
        return false;
    };
    let known = |name: &str| {
        let member = server.cluster.as_ref().and_then(|it| it.member(name));
        member.is_some_and(|member| member.room.is_some())
    };
    server.pool(&pool.name).is_none() && pool.members().all(known)
}

/// A pool of that name may be what is left of measuring that was cut short, and nothing else.
pub(super) fn measuring_blocked(server: &Server, pool: &PoolSpec) -> Option<String> {
    members_missing(server, pool.members()).or_else(|| {
        let found = server.pool(&pool.name)?;
        let ours = found.driver == pool.driver
            && found.users.is_empty()
            && (found.description == pool.description || found.status != "Created");
        (!ours).then(|| format!("there is a pool named {} of somebody else's", found.name))
    })
}

/// Why something cannot be made on all members: one is silent, gone or new.
pub(super) fn members_missing<'a>(
    server: &Server,
    members: impl Iterator<Item = &'a str>,
) -> Option<String> {
    let members: Vec<&str> = members.collect();
    let cluster = server.cluster.as_ref().filter(|_| !members.is_empty())?;
    let gone = members.iter().find(|name| cluster.member(name).is_none());
    let new = cluster
        .members
        .iter()
        .find(|member| !members.contains(&member.name.as_str()));
    match (gone, new) {
        (Some(name), _) => Some(format!("{name} is no member of the cluster any more")),
        (_, Some(member)) => Some(format!("{} has joined the cluster meanwhile", member.name)),
        _ => silent(server),
    }
}

/// Incus makes, and deletes, what every member has a part of only while all of them are there.
pub(super) fn silent(server: &Server) -> Option<String> {
    let member = server.cluster.as_ref()?.silent().next()?;
    let why = member.silent.as_deref().unwrap_or_default();
    Some(format!("member {} does not answer: {why}", member.name))
}

/// Whether a pool that is there is one that was begun, as it is to be made, and that is all.
pub(super) fn can_be_completed(spec: &PoolSpec, found: &Pool) -> bool {
    let same = |part: &PoolPart| {
        let wanted = spec.parts.iter().find(|it| it.member == part.member);
        wanted.is_some_and(|wanted| wanted.config == as_given(part, &found.driver))
    };
    is_begun(found)
        && found.driver == spec.driver
        && found.parts.iter().filter(|part| part.is_there()).all(same)
}

/// Whether it is to be on every member of a cluster, and is not on all of them yet.
#[must_use]
pub fn is_begun(found: &Pool) -> bool {
    !found.parts.is_empty() && matches!(found.status.as_str(), "Pending" | "Errored")
}

/// The keys that a part was defined with.  Where it is made already, Incus has added the place it chose.
#[must_use]
pub fn as_given(part: &PoolPart, driver: &str) -> Config {
    let mut config = part.config.clone();
    config.retain(|key, _| !key.starts_with("volatile."));
    let chosen = config.contains_key("size") || driver == "dir";
    if part.status != "Pending" && chosen {
        config.remove("source");
    }
    config
}
