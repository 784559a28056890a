//! Which containers can be dealt with from this member of a cluster.
//!
//! That a copy is whole is proven by reading the files of both, and those lie on the member that
//! the container is on.  So each member moves its own, and says of the others where to go.

use super::super::{Note, Refusal};
use super::{kept, Wanted};
use crate::facts::{Member, Reference, Server};

/// What is to be done to containers, each on the member that it is on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Deed {
    Move,
    Rollback,
    Return,
    /// Where the original is kept; the container may have gone elsewhere since.
    Finish,
}

impl Deed {
    fn command(self) -> &'static str {
        match self {
            Self::Move => "migrate",
            Self::Rollback => "migrate --rollback",
            Self::Return => "migrate --rollback --as-it-was",
            Self::Finish => "migrate --finish",
        }
    }

    /// The member on which this is done to a container.
    fn location<'a>(self, server: &'a Server, name: &Reference) -> Option<&'a str> {
        if self != Self::Finish {
            return server.instance(name).map(|it| it.location.as_str());
        }
        let mut originals = kept(server);
        originals.retain(|(_, of)| of == name);
        let here = originals.iter().find(|(it, _)| server.has_here(it));
        let (original, _) = here.or(originals.first())?;
        Some(&original.location)
    }
}

/// The containers that are on this member.  Of the others, if all were asked for, what to type where.
///
/// # Errors
/// If one that was named is on another member.
pub fn on_this_member(
    server: &Server,
    wanted: &Wanted,
    deed: Deed,
    names: Vec<Reference>,
) -> Result<(Vec<Reference>, Vec<Note>), Refusal> {
    let Some(here) = server.here() else {
        return Ok((names, Vec::new()));
    };
    let location = |name: &Reference| deed.location(server, name).unwrap_or(here);
    let (ours, others): (Vec<_>, Vec<_>) = names.into_iter().partition(|it| location(it) == here);
    let mut members: Vec<&str> = others.iter().map(location).collect();
    members.sort_unstable();
    members.dedup();
    let notes = members.into_iter().map(|member| {
        let there = others.iter().filter(|name| location(name) == member);
        let names: Vec<String> = there.map(ToString::to_string).collect();
        elsewhere(server, wanted, deed, member, &names)
    });
    let notes: Vec<Note> = notes.collect();
    match notes.first() {
        Some(first) if !wanted.names.is_empty() => Err(Refusal::new(
            format!("{}; nothing was touched", first.what),
            notes.iter().filter_map(|note| note.hint.clone()),
        )),
        _ => Ok((ours, notes)),
    }
}

/// What is to be known of containers on another member, and what to type there.
fn elsewhere(server: &Server, wanted: &Wanted, deed: Deed, member: &str, names: &[String]) -> Note {
    let known = server.cluster.as_ref().and_then(|it| it.member(member));
    let answers = known.is_some_and(Member::answers);
    let (back, silent) = if answers {
        ("", "")
    } else {
        ("once it is back, ", ", which does not answer")
    };
    let list = names.join(", ");
    let is = if names.len() == 1 { "is" } else { "are" };
    let what = match deed {
        Deed::Finish => format!("what is kept of {list} is on member {member}{silent}"),
        _ if !answers => format!("{list} {is} on member {member}{silent}"),
        _ => format!(
            "{list} {is} on member {member}, and only there a copy can be compared with its original"
        ),
    };
    // Which of them are meant is known only there.
    let meant = match deed {
        Deed::Move if wanted.names.is_empty() && !answers => format!("--member {member}"),
        _ => names.join(" "),
    };
    let command = command(wanted, deed, &meant);
    Note {
        what,
        hint: Some(format!("{back}on {member}: {command}")),
    }
}

/// Whether the member that was named is this one.
///
/// # Errors
/// If it is another one, or there is none of that name.
pub(super) fn meant(server: &Server, wanted: &Wanted) -> Result<(), Refusal> {
    let Some(member) = &wanted.member else {
        return Ok(());
    };
    let Some(cluster) = &server.cluster else {
        return Err(Refusal::new(
            "this server is not a member of a cluster",
            ["leave --member out; all that can be moved: taos-setup migrate --all"],
        ));
    };
    match cluster.member(member) {
        Some(_) if *member == cluster.here => Ok(()),
        Some(known) => {
            let command = command(wanted, Deed::Move, &format!("--member {member}"));
            let back = if known.answers() {
                ""
            } else {
                "once it is back, "
            };
            Err(Refusal::new(
                format!(
                    "this is member {}, and only on {member} the copies of its containers can be \
                     compared with their originals; nothing was touched",
                    cluster.here
                ),
                [format!("{back}on {member}: {command}")],
            ))
        }
        None => Err(Refusal::new(
            format!("there is no member {member}"),
            [format!("they are {}", server.members.join(", "))],
        )),
    }
}

/// Whether anything can be made on this member.
///
/// # Errors
/// If it was evacuated.
pub(super) fn takes_instances(server: &Server) -> Result<(), Refusal> {
    let here = server.cluster.as_ref().and_then(|it| it.member(&it.here));
    match here {
        Some(member) if member.status == "Evacuated" => Err(Refusal::new(
            format!("this member, {}, is evacuated", member.name),
            [format!(
                "let it take instances again first: incus cluster restore {}",
                member.name
            )],
        )),
        _ => Ok(()),
    }
}

/// The same wish, to be typed on another member.
fn command(wanted: &Wanted, deed: Deed, what: &str) -> String {
    let mut command = format!("taos-setup {} {what}", deed.command());
    if deed != Deed::Move {
        return command;
    }
    for (option, pool) in [("--from", &wanted.from), ("--to", &wanted.to)] {
        if let Some(pool) = pool {
            command = format!("{command} {option} {pool}");
        }
    }
    let others = [
        (wanted.plain, " --strategy move"),
        (wanted.thorough, " --verify full"),
        (wanted.delete_after.is_some(), " --delete-originals"),
    ];
    let others = others.iter().filter(|(given, _)| *given);
    command + &others.map(|(_, option)| *option).collect::<String>()
}
