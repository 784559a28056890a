//! What a move that was cut short has left: which of two is the whole one, and what may be done.

use super::super::{Note, Refusal};
use super::{free_name, restricted};
use crate::facts::{root_of, Bytes, Config, Instance, Reference, Server, Stray};
use crate::step::migration::{Migration, Part};
use crate::step::Step;

/// What a stray is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Verdict {
    /// The original has all of it.
    Lesser,
    /// It has all of what is left of the original, which was being deleted.
    Whole,
    /// The original is gone, and this was its name.
    Only { name: String },
    /// It cannot be told for sure, for this reason.
    Doubt { why: String },
}

impl Verdict {
    /// Which it is.  `given` is a name that somebody says it had.
    #[must_use]
    pub fn of(server: &Server, stray: &Stray, given: Option<&str>) -> Self {
        let doubt = |why: String| Self::Doubt { why };
        let name = &stray.stray;
        if stray.busy {
            return doubt(format!("an operation is at work on {name} or its original"));
        }
        if server
            .instance(name)
            .is_none_or(|it| it.status != "Stopped")
        {
            return doubt(format!("{name} runs, so it is being used"));
        }
        let pool = |of: &Reference| server.instance(of).and_then(|it| it.pool.clone());
        let unseen = stray.original.iter().chain([name]).find_map(|of| {
            let pool = server.pool(&pool(of)?)?;
            (!pool.is_looked_into()).then_some((of, pool))
        });
        if let (Some((of, pool)), true) = (unseen, stray.original.is_some()) {
            return doubt(format!(
                "what {of} has on pool {} ({}) cannot be looked into, so nobody can tell which of \
                 the two is whole",
                pool.name, pool.driver
            ));
        }
        match &stray.original {
            None => only(server, stray, given),
            Some(original) if original.project != name.project || pool(original) == pool(name) => {
                doubt(format!(
                    "{name} and {original} are one container, on one pool or in two projects"
                ))
            }
            Some(original) if given.is_some_and(|given| given != original.name) => doubt(format!(
                "the original of {name} is {original}, and no other name is its"
            )),
            Some(_) if stray.only_here.nothing() => Self::Lesser,
            Some(original) if stray.finished && stray.only_there.nothing() => {
                match server.instance(original).map(|it| it.status.as_str()) {
                    Some("Stopped") => Self::Whole,
                    _ => doubt(format!(
                        "{name} has what {original} has lost ({}), and {original} runs; stop it first",
                        stray.only_here
                    )),
                }
            }
            Some(original) => doubt(format!(
                "each has what the other has not: {name} {}; {original} {}{}",
                stray.only_here,
                stray.only_there,
                if stray.finished {
                    ""
                } else {
                    "; and the copy was not finished"
                }
            )),
        }
    }
}

fn only(server: &Server, stray: &Stray, given: Option<&str>) -> Verdict {
    let doubt = |why: String| Verdict::Doubt { why };
    let it = &stray.stray;
    let name = match (given, &stray.names[..]) {
        (Some(given), _) => given,
        (None, [name]) => name,
        (None, []) => {
            return doubt(format!(
                "{it} is all there is of a container, and nothing tells its name. Say it: \
                 taos-setup migrate --rescue {}=NAME",
                it.name
            ))
        }
        (None, several) => {
            return doubt(format!(
                "{it} is all there is of a container that had several names ({}). Say which: \
                 taos-setup migrate --rescue {}=NAME",
                several.join(", "),
                it.name
            ))
        }
    };
    if !stray.finished && given.is_none() {
        return doubt(format!(
            "{it} is all there is of {name}, and was not copied to its end. If that is what you \
             want: taos-setup migrate --rescue {}={name}",
            it.name
        ));
    }
    if server
        .instance(&Reference::new(it.project.clone(), name))
        .is_some()
    {
        return doubt(format!(
            "{it} was {name}, and another instance has that name now. Say another: taos-setup \
             migrate --rescue {}=NAME",
            it.name
        ));
    }
    Verdict::Only { name: name.into() }
}

/// The verdict in words.
#[must_use]
pub fn say(stray: &Stray, verdict: &Verdict) -> Note {
    let it = &stray.stray;
    let (what, hint) = match (verdict, &stray.original) {
        (Verdict::Lesser, Some(original)) => (
            format!(
                "{it} was left by a move that was cut short while it copied; {original} has every \
                 path of it, with the same content or newer"
            ),
            Some(format!(
                "delete it: taos-setup migrate --rescue {}",
                it.name
            )),
        ),
        (Verdict::Whole, Some(original)) => (
            format!(
                "{it} was left by a move that was cut short while it deleted the original; it has \
                 all that {original} has, and more: {}",
                stray.only_here
            ),
            Some(format!(
                "let it be {original}: taos-setup migrate --rescue {}",
                it.name
            )),
        ),
        (Verdict::Only { name }, _) => (
            format!("{it} is all there is of {name}: a move was cut short before it got its name"),
            Some(format!(
                "let it be {name} again: taos-setup migrate --rescue {}",
                it.name
            )),
        ),
        (Verdict::Doubt { why }, _) => (format!("{why}; nothing is touched"), None),
        (Verdict::Lesser | Verdict::Whole, None) => (format!("{it} has no original"), None),
    };
    Note { what, hint }
}

/// The steps that follow from a verdict; none if nothing is for sure.
///
/// # Errors
/// If what they are about is not there.
pub fn resolve(server: &Server, stray: &Stray, verdict: &Verdict) -> Result<Vec<Step>, Refusal> {
    let gone = || Refusal::new(format!("{} is not there", stray.stray), [""; 0]);
    let it = server.instance(&stray.stray).ok_or_else(gone)?;
    let original = stray.original.as_ref().and_then(|of| server.instance(of));
    let own = Reference::new(stray.stray.project.clone(), stray.stray.name.as_str());
    Ok(match verdict {
        Verdict::Doubt { .. } => Vec::new(),
        Verdict::Lesser => {
            let original = original.ok_or_else(gone)?;
            let of = migration(server, it, original, &original.reference, String::new());
            vec![of.step(Part::DeleteStray)]
        }
        Verdict::Whole => {
            let original = original.ok_or_else(gone)?;
            let name = &original.reference;
            // Where nothing is left of it there is nothing to keep.
            let kept = if stray.remains {
                free_name(server, name, "kept")
            } else {
                String::new()
            };
            migration(server, it, original, name, kept).adopt_steps()
        }
        Verdict::Only { name } => {
            let name = Reference::new(own.project, name.as_str());
            migration(server, it, it, &name, String::new()).adopt_steps()
        }
    })
}

/// What is to get the name, as the one that is the model.
fn migration(
    server: &Server,
    stray: &Instance,
    model: &Instance,
    name: &Reference,
    kept: String,
) -> Migration {
    let mut was = model.record.clone();
    // Incus means to write the templates of a copy anew; this is none.
    if was
        .config
        .get("volatile.apply_template")
        .is_some_and(|it| it == "copy")
    {
        was.config.remove("volatile.apply_template");
    }
    let root = root_of(&stray.record.expanded_devices);
    let root = root.map_or_else(
        || (String::new(), Config::new()),
        |(name, keys)| (name.clone(), keys.clone()),
    );
    Migration {
        name: name.clone(),
        from: model.pool.clone().unwrap_or_default(),
        to: stray.pool.clone().unwrap_or_default(),
        member: stray.location.clone(),
        copy: stray.reference.name.clone(),
        kept,
        was,
        devices: model.devices.clone(),
        snapshots: Vec::new(),
        root,
        running: false,
        seed: None,
        paths: 0,
        landing: Bytes(0),
        thorough: false,
        restricted: restricted(server, name),
        plain: false,
        then: None,
    }
}
