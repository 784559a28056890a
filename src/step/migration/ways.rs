//! The other ways: Incus's own move, the return to what was kept, and what a move that was cut
//! short leaves.

use serde::{Deserialize, Serialize};

use super::{is_as, marked, ran, Migration, Part, KEPT_MARK};
use crate::facts::{Devices, Instance, Record, Server};
use crate::step::Step;

/// On a container all of which is written down, for a plain move: when it was last started, and
/// the checksum of what is written.
pub const MANIFEST_MARK: &str = "user.taos-setup.manifest";
/// How the names begin that Incus gives to what it is moving.
pub const STRAY: &str = "move-of-";

/// What the one that takes a container's name is configured as.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Then {
    /// `last_used_at` is when the one that takes the name was last started.
    pub record: Record,
    pub devices: Devices,
}

impl Migration {
    /// The steps of a plain move.
    pub(super) fn plain_steps(self) -> Vec<Step> {
        let parts = [
            (self.restricted.is_some(), Part::Loosen),
            (self.running, Part::Stop),
            (true, Part::Record),
            (true, Part::Move),
            (true, Part::Check),
            (self.running, Part::Start),
            (self.restricted.is_some(), Part::Tighten),
        ];
        self.those(&parts)
    }

    /// The steps of the return to what was kept: as it is, so nothing is copied.
    #[must_use]
    pub fn return_steps(self) -> Vec<Step> {
        let parts = [
            (self.restricted.is_some(), Part::Loosen),
            (self.running, Part::Stop),
            (true, Part::Switch),
            (self.running, Part::Start),
            (self.restricted.is_some(), Part::Tighten),
        ];
        self.those(&parts)
    }

    /// The steps that give what a move left the container's name.
    #[must_use]
    pub fn adopt_steps(self) -> Vec<Step> {
        let parts = [
            (self.restricted.is_some(), Part::Loosen),
            (true, Part::Adopt),
            (self.restricted.is_some(), Part::Tighten),
        ];
        self.those(&parts)
    }

    fn those(&self, parts: &[(bool, Part)]) -> Vec<Step> {
        let parts = parts.iter().filter(|(wanted, _)| *wanted);
        parts.map(|(_, part)| self.step(*part)).collect()
    }

    /// What the one that takes the name is configured as, with its devices.
    #[must_use]
    pub fn becomes(&self) -> (&Record, Devices) {
        match &self.then {
            Some(then) => (&then.record, then.devices.clone()),
            None => (&self.was, self.devices_there()),
        }
    }

    /// Whether the one that has the name was started since it got that.
    #[must_use]
    pub fn ran_since(&self, moved: &Instance) -> bool {
        match &self.then {
            Some(then) => moved.record.last_used_at != then.record.last_used_at,
            // Incus's own move keeps no time either.
            None => ran(moved),
        }
    }

    /// What a move of this container that was cut short has left.
    #[must_use]
    pub fn stray<'a>(&self, server: &'a Server) -> Option<&'a Instance> {
        let uuid = self.was.config.get("volatile.uuid");
        server.instances.iter().find(|instance| {
            instance.reference.project == self.name.project
                && self.is_here(instance)
                && instance.reference.name.starts_with(STRAY)
                && uuid.is_some()
                && instance.record.config.get("volatile.uuid") == uuid
        })
    }

    /// Whether all that it is now is written down.
    fn written_down(&self, original: &Instance) -> Result<(), String> {
        let mark = original.record.config.get(MANIFEST_MARK);
        let started = mark.and_then(|mark| mark.split_once('/')).map(|it| it.0);
        if started == Some(original.record.last_used_at.as_str()) {
            Ok(())
        } else {
            Err(format!("what {} is now is not written down", self.name))
        }
    }
}

/// As [`Step::holds`].
pub(super) fn holds(part: Part, of: &Migration, server: &Server) -> bool {
    let stray = of.stray(server).is_some();
    match part {
        Part::Record => of
            .original(server)
            .is_some_and(|original| of.written_down(original).is_ok()),
        Part::Forget => of
            .original(server)
            .is_some_and(|original| !marked(original, MANIFEST_MARK)),
        Part::Move => of.moved(server).is_some() && !stray,
        Part::Unmove => of.original(server).is_some() && !stray,
        Part::Check => of.moved(server).is_some_and(|moved| {
            !marked(moved, MANIFEST_MARK) && of.is_as_it_was(moved, &of.devices_there())
        }),
        Part::DeleteStray => server.instance(&of.reference(&of.copy)).is_none(),
        Part::Adopt => {
            let (record, devices) = of.becomes();
            let kept = of.parked(server);
            server.instance(&of.reference(&of.copy)).is_none()
                && kept.is_none_or(|kept| marked(kept, KEPT_MARK))
                && of
                    .moved(server)
                    .is_some_and(|moved| is_as(moved, record, &devices))
        }
        // The original has its name, or it is what was left that is waiting for it.
        Part::Leave => {
            of.copied(server).is_some() && (of.from == of.to || of.original(server).is_some())
        }
        _ => false,
    }
}

/// As [`Step::blocked`].
pub(super) fn blocked(part: Part, of: &Migration, server: &Server) -> Result<(), String> {
    let name = &of.name;
    let gone = || format!("{name} is not on pool {} any more", of.from);
    let stopped = |instance: &Instance| match instance.status.as_str() {
        "Stopped" => Ok(()),
        status => Err(format!("{} is {status}", instance.reference)),
    };
    let original = of.original(server);
    match part {
        Part::Record => {
            let original = original.ok_or_else(gone)?;
            stopped(original)?;
            of.untouched(original)
        }
        Part::Forget => original.map(drop).ok_or_else(gone),
        // Where a move was cut short, `perform` looks at what there is.
        Part::Move => match (original, of.stray(server)) {
            (_, Some(stray)) => stopped(stray),
            (Some(original), None) => {
                stopped(original)?;
                of.untouched(original)?;
                of.written_down(original)
            }
            (None, None) => Err(gone()),
        },
        Part::Unmove => original.map(drop).ok_or_else(gone),
        Part::Check => {
            let there = || format!("{name} is not on pool {}", of.to);
            stopped(of.moved(server).ok_or_else(there)?)
        }
        Part::DeleteStray => {
            original.ok_or_else(gone)?;
            of.copied(server).map_or(Ok(()), stopped)
        }
        Part::Adopt => match (of.copied(server), of.moved(server)) {
            (Some(stray), None) => {
                stopped(stray)?;
                original.map_or(Ok(()), stopped)
            }
            (None, Some(_)) => Ok(()),
            _ => Err(format!("{} and {name} are not what was seen", of.copy)),
        },
        Part::Leave => Err(format!(
            "{name} has its name half; run this again, and it is finished"
        )),
        _ => Ok(()),
    }
}
