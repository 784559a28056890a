//! The steps that move one container to another pool, and those that take them back.
//!
//! A container is copied while it runs, stopped, brought up to date, proven to be whole, and only
//! then does the copy get its name.  The original is kept under another name.  Which of the two an
//! instance is shows in its name, its pool and its mark together, never in one of them alone.

use serde::{Deserialize, Serialize};

use super::Step;
use crate::facts::{Bytes, Config, Devices, Facts, Instance, Record, Reference, Server, Snapshot};

mod steps;
mod ways;
mod words;

pub use ways::{Then, MANIFEST_MARK, STRAY};

/// On a copy that is not the container yet.
pub const COPY_MARK: &str = "user.taos-setup.copy";
/// On a copy that was compared with its original once: the second when that began.
pub const COPIED_MARK: &str = "user.taos-setup.copied";
/// On a copy that was proven to be the original: when that was last started.
pub const PROVEN_MARK: &str = "user.taos-setup.proven";
/// On an original that is kept: the name it had.
pub const KEPT_MARK: &str = "user.taos-setup.kept";

/// A container on its way from one pool to another.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Migration {
    pub name: Reference,
    pub from: String,
    pub to: String,
    /// The member of the cluster that it is on, and stays on; empty where there is none.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub member: String,
    /// What the copy is called until it gets the container's name.
    pub copy: String,
    /// What the original is called from then on.
    pub kept: String,
    /// The original's whole configuration, and its own devices.
    pub was: Record,
    pub devices: Devices,
    pub snapshots: Vec<Snapshot>,
    /// Its root disk's name, and its keys on the new pool.
    pub root: (String, Config),
    pub running: bool,
    /// The image it was made from, where that is there and a clone of it is worth something.
    pub seed: Option<String>,
    pub paths: u64,
    pub landing: Bytes,
    /// Read every byte again while it is stopped.
    pub thorough: bool,
    /// Where its project lets nobody set an identity.
    pub restricted: Option<Restriction>,
    /// By Incus's own move, which keeps no original.
    #[serde(default)]
    pub plain: bool,
    /// What the one that takes the name is configured as, where that is not what the container is.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub then: Option<Box<Then>>,
}

/// A project that forbids to set an identity.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Restriction {
    /// What [`LOW_LEVEL`] is set to, if it is set.
    pub was: Option<String>,
}

/// The project's key that says whether an identity may be set.
pub const LOW_LEVEL: &str = "restricted.containers.lowlevel";

/// A part of a migration.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Part {
    /// Copy it while it runs, inert, and compare.
    Copy,
    /// Delete the copy.
    DeleteCopy,
    Stop,
    /// Start the original again.
    Resume,
    /// Bring the copy up to date and prove that it is whole.
    Prove,
    /// Keep the original under another name, and give the copy its name and identity.
    Switch,
    /// Give the original its name and identity again.
    SwitchBack,
    Start,
    /// Stop the copy that has the container's name.
    Halt,
    /// Delete the original that was kept.
    DeleteKept,
    /// Let the project's containers be given an identity.
    Loosen,
    /// Forbid that again.
    Tighten,
    /// Write down all that it is, before a plain move.
    Record,
    /// Forget what was written down.
    Forget,
    /// Move it as Incus does.
    Move,
    /// Delete what a plain move that was cut short left beside the whole original.
    Unmove,
    /// Compare it with what was written down, and give it its identity again.
    Check,
    /// Delete what somebody's move left, which is less than the original.
    DeleteStray,
    /// Give what somebody's move left the name; what remains of the original is kept.
    Adopt,
    /// Leave both as they are, if nothing was done yet.
    Leave,
}

impl Migration {
    /// The steps of the whole migration.
    #[must_use]
    pub fn steps(self) -> Vec<Step> {
        if self.plain {
            return self.plain_steps();
        }
        let parts = [
            (true, Part::Copy),
            (self.restricted.is_some(), Part::Loosen),
            (self.running, Part::Stop),
            (true, Part::Prove),
            (true, Part::Switch),
            (self.running, Part::Start),
            (self.restricted.is_some(), Part::Tighten),
        ];
        let parts = parts.into_iter().filter(|(wanted, _)| *wanted);
        parts.map(|(_, part)| self.step(part)).collect()
    }

    #[must_use]
    pub fn step(&self, part: Part) -> Step {
        Step::Migrate {
            part,
            of: Box::new(self.clone()),
        }
    }

    #[must_use]
    pub fn reference(&self, name: &str) -> Reference {
        Reference::new(self.name.project.clone(), name)
    }

    /// The devices that a copy or a kept original has: none but its root.
    #[must_use]
    pub fn inert(&self, root: &(String, Config)) -> Devices {
        let none = || Config::from([("type".to_owned(), "none".to_owned())]);
        let devices = self.was.expanded_devices.keys();
        let mut devices: Devices = devices.map(|name| (name.clone(), none())).collect();
        devices.insert(root.0.clone(), root.1.clone());
        devices
    }

    /// The original's root disk as its own, so that it keeps no profile from changing.
    #[must_use]
    pub fn root_here(&self) -> (String, Config) {
        let mut root = self.root.clone();
        root.1.insert("pool".into(), self.from.clone());
        root
    }

    /// The container's devices once it is on the new pool.
    #[must_use]
    pub fn devices_there(&self) -> Devices {
        let mut devices = self.devices.clone();
        devices.insert(self.root.0.clone(), self.root.1.clone());
        devices
    }

    fn original<'a>(&self, server: &'a Server) -> Option<&'a Instance> {
        self.on(server, &self.name, &self.from)
    }

    /// The original under the name it is kept by.
    #[must_use]
    pub fn parked<'a>(&self, server: &'a Server) -> Option<&'a Instance> {
        self.on(server, &self.reference(&self.kept), &self.from)
    }

    /// The copy under a name of its own.
    #[must_use]
    pub fn copied<'a>(&self, server: &'a Server) -> Option<&'a Instance> {
        self.on(server, &self.reference(&self.copy), &self.to)
    }

    /// What is on the new pool under this name.
    #[must_use]
    pub fn copied_as<'a>(&self, server: &'a Server, name: &str) -> Option<&'a Instance> {
        self.on(server, &self.reference(name), &self.to)
    }

    /// The copy under the container's name.
    #[must_use]
    pub fn moved<'a>(&self, server: &'a Server) -> Option<&'a Instance> {
        self.on(server, &self.name, &self.to)
    }

    /// What has this name on this pool; what went to another member of the cluster is nothing that
    /// this program left.
    fn on<'a>(&self, server: &'a Server, name: &Reference, pool: &str) -> Option<&'a Instance> {
        server
            .instance(name)
            .filter(|it| it.pool.as_deref() == Some(pool) && self.is_here(it))
    }

    /// Whether an instance is on the same member of the cluster.
    #[must_use]
    pub fn is_here(&self, instance: &Instance) -> bool {
        self.member.is_empty() || instance.location == self.member
    }

    /// Whether an instance is configured as the original was, on this pool.
    #[must_use]
    pub fn is_as_it_was(&self, instance: &Instance, devices: &Devices) -> bool {
        is_as(instance, &self.was, devices)
    }

    fn untouched(&self, original: &Instance) -> Result<(), String> {
        if self.is_as_it_was(original, &self.devices) {
            Ok(())
        } else {
            Err(format!(
                "the configuration of {} was changed meanwhile",
                self.name
            ))
        }
    }

    /// Whether the copy is proven to be what the original is now.
    fn proven(&self, server: &Server, original: &Instance) -> Result<(), String> {
        if original.status != "Stopped" {
            return Err(format!("{} is {} again", self.name, original.status));
        }
        // What was kept is wanted as it is, and not as a copy of anything.
        if self.then.is_some() {
            return Ok(());
        }
        let mark = self
            .copied(server)
            .or_else(|| self.moved(server))
            .and_then(|copy| copy.record.config.get(PROVEN_MARK));
        if mark == Some(&original.record.last_used_at) {
            Ok(())
        } else {
            Err(format!(
                "the copy of {} is not proven to be what it is now",
                self.name
            ))
        }
    }
}

/// The keys that an instance's owner, or its identity, gave it; others come and go as it runs.
#[must_use]
pub fn lasting(config: &Config) -> Config {
    let lasts = |key: &str| {
        !(key.starts_with("volatile.") || key == MANIFEST_MARK)
            || key == "volatile.uuid"
            || key == "volatile.cloud-init.instance-id"
            || key == "volatile.base_image"
            || key == "volatile.apply_template"
            || key.ends_with(".hwaddr")
    };
    config
        .iter()
        .filter(|(key, _)| lasts(key))
        .map(|(key, value)| (key.clone(), value.clone()))
        .collect()
}

/// Whether an instance has this configuration, and these devices.
fn is_as(instance: &Instance, was: &Record, devices: &Devices) -> bool {
    let record = &instance.record;
    instance.devices == *devices
        && record.profiles == was.profiles
        && record.description == was.description
        && lasting(&record.config) == lasting(&was.config)
}

fn marked(instance: &Instance, mark: &str) -> bool {
    instance.record.config.contains_key(mark)
}

/// As [`Step::holds`].
pub(super) fn holds(part: Part, of: &Migration, facts: &Facts) -> bool {
    let Some(server) = facts.server() else {
        return false;
    };
    let is = |instance: Option<&Instance>, status: &str| {
        instance.is_some_and(|instance| instance.status == status)
    };
    match part {
        Part::Copy => of
            .copied(server)
            .is_some_and(|copy| marked(copy, COPY_MARK) && marked(copy, COPIED_MARK)),
        // One that ran may hold what nothing else does, so it is left where it is.
        Part::DeleteCopy => of.copied(server).map_or_else(
            || server.instance(&of.reference(&of.copy)).is_none(),
            |copy| marked(copy, COPY_MARK) && ran(copy),
        ),
        Part::Stop => is(of.original(server), "Stopped"),
        Part::Resume => is(of.original(server), "Running"),
        Part::Prove => of
            .original(server)
            .is_some_and(|original| of.proven(server, original).is_ok()),
        Part::Switch => {
            let parked = of
                .parked(server)
                .is_some_and(|kept| marked(kept, KEPT_MARK));
            let moved = of.moved(server);
            let (record, devices) = of.becomes();
            parked && moved.is_some_and(|moved| is_as(moved, record, &devices))
        }
        Part::SwitchBack => {
            of.moved(server).is_none()
                && of.original(server).is_some_and(|original| {
                    !marked(original, KEPT_MARK) && same_identity(of, original)
                })
        }
        // Whoever stopped it again since wants it so.
        Part::Start => of.moved(server).is_some_and(|moved| of.ran_since(moved)),
        Part::Halt => of
            .moved(server)
            .is_none_or(|moved| moved.status == "Stopped"),
        Part::DeleteKept => server.instance(&of.reference(&of.kept)).is_none(),
        Part::Loosen => low_level_is(Some("allow"), of, server),
        Part::Tighten => of
            .restricted
            .as_ref()
            .is_some_and(|it| low_level_is(it.was.as_deref(), of, server)),
        Part::Record
        | Part::Forget
        | Part::Move
        | Part::Unmove
        | Part::Check
        | Part::DeleteStray
        | Part::Adopt
        | Part::Leave => ways::holds(part, of, server),
    }
}

/// Whether the project's key is known to be set so.
fn low_level_is(value: Option<&str>, of: &Migration, server: &Server) -> bool {
    let config = server.projects.get(&of.name.project);
    config.is_some_and(|it| it.get(LOW_LEVEL).map(String::as_str) == value)
}

/// Whether an instance was ever started.
#[must_use]
pub fn ran(instance: &Instance) -> bool {
    let at = &instance.record.last_used_at;
    !(at.is_empty() || at.starts_with("1970-01-01") || at.starts_with("0001-"))
}

fn same_identity(of: &Migration, original: &Instance) -> bool {
    original.devices == of.devices && {
        let identity = |config: &Config| {
            let mut config = lasting(config);
            config.retain(|key, _| key.starts_with("volatile."));
            config
        };
        identity(&original.record.config) == identity(&of.was.config)
    }
}

/// As [`Step::blocked`].
pub(super) fn blocked(part: Part, of: &Migration, server: &Server) -> Option<String> {
    let name = &of.name;
    let gone = || format!("{name} is not on pool {} any more", of.from);
    let result = match part {
        Part::Copy => {
            let copy = server.instance(&of.reference(&of.copy));
            match (of.original(server), copy) {
                (None, _) => Err(gone()),
                (_, Some(_)) => Err(format!("there is an instance {} already", of.copy)),
                (Some(original), None) => of.untouched(original),
            }
        }
        Part::Stop => match of.original(server) {
            Some(original) if of.plain || of.copied(server).is_some() => of.untouched(original),
            Some(_) => Err(format!("there is no copy of {name}")),
            None => Err(gone()),
        },
        Part::Prove => match (of.original(server), of.copied(server)) {
            (Some(original), Some(copy)) if marked(copy, COPIED_MARK) => {
                if original.status == "Stopped" {
                    of.untouched(original)
                } else {
                    Err(format!("{name} is {}", original.status))
                }
            }
            _ => Err(format!("{name} and its copy are not both there")),
        },
        Part::Switch => switchable(of, server),
        Part::SwitchBack => match of.moved(server) {
            Some(moved) if moved.status != "Stopped" => Err(format!("{name} is {}", moved.status)),
            _ if of.original(server).or_else(|| of.parked(server)).is_none() => {
                Err(format!("the original of {name} is not there any more"))
            }
            _ => Ok(()),
        },
        Part::Start | Part::Halt => of
            .moved(server)
            .map(drop)
            .ok_or_else(|| format!("{name} is not on pool {}", of.to)),
        Part::Resume => of.original(server).map(drop).ok_or_else(gone),
        Part::DeleteCopy => deletable_copy(of, server),
        Part::DeleteKept => deletable_kept(of, server),
        Part::Loosen | Part::Tighten => Ok(()),
        Part::Record
        | Part::Forget
        | Part::Move
        | Part::Unmove
        | Part::Check
        | Part::DeleteStray
        | Part::Adopt
        | Part::Leave => ways::blocked(part, of, server),
    };
    result.err()
}

/// Both halves of the change of names can be what a crash left.
fn switchable(of: &Migration, server: &Server) -> Result<(), String> {
    let there = (
        of.original(server),
        of.parked(server),
        of.copied(server),
        of.moved(server),
    );
    match there {
        (Some(original), None, Some(_), None) => {
            of.untouched(original)?;
            of.proven(server, original)
        }
        (None, Some(kept), Some(_), None) => of.proven(server, kept),
        // From here on the copy may have lost its mark, and the name was given by this program.
        (None, Some(kept), None, Some(_)) if kept.status == "Stopped" => Ok(()),
        _ => Err(format!(
            "{} and its copy are not what this program left",
            of.name
        )),
    }
}

fn deletable_copy(of: &Migration, server: &Server) -> Result<(), String> {
    let Some(copy) = server.instance(&of.reference(&of.copy)) else {
        return Ok(());
    };
    let original = of.original(server);
    if copy.pool.as_deref() != Some(&of.to) || !of.is_here(copy) || !marked(copy, COPY_MARK) {
        return Err(format!(
            "{} is not the copy that was made of {}",
            of.copy, of.name
        ));
    }
    if copy.status != "Stopped" {
        return Err(format!("{} is {}", of.copy, copy.status));
    }
    if original.is_none_or(|original| marked(original, KEPT_MARK)) {
        return Err(format!("{} itself is not there", of.name));
    }
    Ok(())
}

fn deletable_kept(of: &Migration, server: &Server) -> Result<(), String> {
    let Some(kept) = server.instance(&of.reference(&of.kept)) else {
        return Ok(());
    };
    if !of.is_here(kept) {
        return Err(format!("{} is on member {}", of.kept, kept.location));
    }
    if kept.record.config.get(KEPT_MARK) != Some(&of.name.name) || kept.status != "Stopped" {
        return Err(format!(
            "{} is not an original that was kept, or it runs",
            of.kept
        ));
    }
    // A copy has its original's identity, and nothing else has.
    let uuid = |instance: &Instance| instance.record.config.get("volatile.uuid").cloned();
    let stands_in = server.instance(&of.name).filter(|instance| {
        !marked(instance, COPY_MARK) && uuid(instance).is_some() && uuid(instance) == uuid(kept)
    });
    match stands_in {
        Some(_) => Ok(()),
        None => Err(format!(
            "no {} stands in for it, so {} may be all there is of it",
            of.name, of.kept
        )),
    }
}

/// As [`Step::undo`].
pub(super) fn undo(part: Part, of: &Migration) -> Option<Step> {
    let back = match part {
        Part::Copy => Part::DeleteCopy,
        Part::Stop => Part::Resume,
        Part::Switch => Part::SwitchBack,
        Part::Start => Part::Halt,
        Part::Loosen => Part::Tighten,
        Part::Record => Part::Forget,
        Part::Move => Part::Unmove,
        Part::Adopt => Part::Leave,
        Part::Forget
        | Part::Unmove
        | Part::Check
        | Part::DeleteStray
        | Part::Leave
        | Part::Prove
        | Part::Tighten
        | Part::DeleteCopy
        | Part::Resume
        | Part::SwitchBack
        | Part::Halt
        | Part::DeleteKept => return None,
    };
    Some(of.step(back))
}
