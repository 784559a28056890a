//! How it stands on each member of a cluster.

use std::fmt::Write as _;

use crate::facts::{Cluster, Instance, Member, Pool, PoolPart, PoolUser, Server};

/// The members, a line each.
pub(super) fn member_lines(server: &Server, lines: &mut Vec<String>) {
    let Some(cluster) = &server.cluster else {
        return;
    };
    lines.push("# Members".into());
    lines.extend(members(cluster).map(|line| format!("  {line}")));
}

/// The same without heading.
pub fn members(cluster: &Cluster) -> impl Iterator<Item = String> + '_ {
    let line = |member| member_line(member, cluster);
    cluster.members.iter().map(line)
}

fn member_line(member: &Member, cluster: &Cluster) -> String {
    let mut words = vec![member.status.to_lowercase()];
    if member.name == cluster.here {
        words.push("this one".into());
    }
    words.push(member.architecture.clone());
    words.extend(member.roles.iter().cloned());
    words.retain(|word| !word.is_empty());
    let mut line = format!("{}: {}", member.name, words.join(", "));
    if let Some(why) = &member.silent {
        let _ = write!(line, "; DOES NOT ANSWER: {why}");
    }
    line
}

/// What each member has of a pool, a line each.
#[must_use]
pub fn parts(server: &Server, pool: &Pool) -> Vec<String> {
    let line = |part: &PoolPart| {
        let what = part_line(part, server.answers(&part.member));
        format!("on {}: {what}", part.member)
    };
    pool.parts.iter().map(line).collect()
}

fn part_line(part: &PoolPart, answers: bool) -> String {
    if !answers {
        return "not known, as it does not answer".into();
    }
    if !part.is_there() {
        return "NO PART OF IT".into();
    }
    let size = part.config.get("size").cloned();
    let source = part.config.get("source").cloned();
    let place = match (size, source) {
        (Some(size), Some(source)) => format!("{size} in {source}"),
        (Some(size), None) => size,
        (None, source) => source.unwrap_or_else(|| "place unknown".into()),
    };
    let space = part
        .space
        .map(|space| format!(", {} of {} used", space.used, space.total))
        .unwrap_or_default();
    let users = users(part);
    let state = if part.status == "Created" {
        String::new()
    } else {
        format!(", {}", part.status.to_uppercase())
    };
    format!("{place}{space}{users}{state}")
}

/// How many of each lie on it.
fn users(part: &PoolPart) -> String {
    let count = |is: fn(&PoolUser) -> bool| part.users.iter().filter(|user| is(user)).count();
    let kinds = [
        (
            count(|it| matches!(it, PoolUser::Instance { .. })),
            "instance",
        ),
        (
            count(|it| matches!(it, PoolUser::Volume { .. })),
            "custom volume",
        ),
        (count(|it| matches!(it, PoolUser::Bucket { .. })), "bucket"),
        (count(|it| matches!(it, PoolUser::Image { .. })), "image"),
    ];
    let mut words = String::new();
    for (count, kind) in kinds.into_iter().filter(|(count, _)| *count > 0) {
        let plural = if count == 1 { "" } else { "s" };
        let _ = write!(words, ", {count} {kind}{plural}");
    }
    words
}

/// Where an instance is, where there is more than one place.
pub(super) fn at(instance: &Instance) -> String {
    if instance.location.is_empty() {
        String::new()
    } else {
        format!(" on {}", instance.location)
    }
}
