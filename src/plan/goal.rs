//! What is wanted, as the command line says it.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use super::migrate::Wanted;
use crate::facts::{Bytes, Config, Mode, Reference};

/// What is wanted.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Goal {
    /// The pool by name; by default the one launches use already, or else `default`.
    pub pool: Option<PoolName>,
    pub driver: DriverChoice,
    /// The size of a loop file; by default [`super::NOMINAL`], or what fits.
    pub size: Option<Bytes>,
    /// The size of the file on a member of a cluster, by its name; by default [`Goal::size`].
    pub member_sizes: BTreeMap<String, Bytes>,
    /// Where it lies on a member of a cluster other than this one.
    pub member_sources: BTreeMap<String, String>,
    /// Allow a size that the host filesystem cannot keep.
    pub overcommit: bool,
    pub source: Option<SourceChoice>,
    /// Allocate the loop file's blocks at once.
    pub preallocate: bool,
    /// Make a copy-on-write pool beside one that copies and has instances on it.
    pub beside: bool,
    /// Give profile `default` a network card where it has none.
    pub network: bool,
    pub pins: Pins,
    /// Containers to be moved in the same call.
    pub migrate: Option<Wanted>,
    /// What is to become of the base image; none if it is no matter here.
    pub image: Option<ImageGoal>,
}

/// When the base image is to be fetched, and which one.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct ImageGoal {
    /// What somebody chose; by default what was chosen before, or else lazy.
    pub mode: Option<Mode>,
    /// Whether it was chosen with an option or a variable, so that nobody is asked.
    pub fixed: bool,
    /// The variables that say which image, and that a fetch needs; none where no image is
    /// published for this machine.
    pub environment: Option<Config>,
}

impl Default for Goal {
    fn default() -> Self {
        Self {
            pool: None,
            driver: DriverChoice::Auto,
            size: None,
            member_sizes: BTreeMap::new(),
            member_sources: BTreeMap::new(),
            overcommit: false,
            source: None,
            preallocate: false,
            beside: false,
            network: true,
            pins: Pins::default(),
            image: None,
            migrate: None,
        }
    }
}

/// Which storage driver a new pool gets.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum DriverChoice {
    #[default]
    Auto,
    Btrfs,
    Zfs,
    Dir,
}

impl DriverChoice {
    /// Incus's name of the driver, if one was chosen.
    #[must_use]
    pub fn name(self) -> Option<&'static str> {
        match self {
            Self::Auto => None,
            Self::Btrfs => Some("btrfs"),
            Self::Zfs => Some("zfs"),
            Self::Dir => Some("dir"),
        }
    }
}

/// Where a new pool is to lie.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum SourceChoice {
    /// A loop file, also where the host has a better place.
    Loop,
    /// A path, a block device, or a ZFS dataset.
    At(String),
}

impl FromStr for SourceChoice {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text {
            "" => Err("an empty source; name a path, a device, a ZFS dataset, or loop".into()),
            "loop" => Ok(Self::Loop),
            _ if text.contains(['\n', '\0']) => Err("a source with a line break in it".into()),
            _ => Ok(Self::At(text.to_owned())),
        }
    }
}

/// A storage pool's name.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(transparent)]
pub struct PoolName(String);

impl PoolName {
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for PoolName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// Why a text is not a pool's name.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BadPoolName;

impl fmt::Display for BadPoolName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(
            "a pool's name has 1 to 63 letters, digits, '-', '_' or '.', and begins with a letter \
             or digit; for example taos",
        )
    }
}

impl std::error::Error for BadPoolName {}

impl FromStr for PoolName {
    type Err = BadPoolName;

    /// Stricter than Incus, as the name also becomes a file's and a subvolume's.
    fn from_str(text: &str) -> Result<Self, BadPoolName> {
        let fits = (1..=63).contains(&text.len())
            && text.starts_with(|c: char| c.is_ascii_alphanumeric())
            && text
                .chars()
                .all(|c| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.'));
        fits.then(|| Self(text.to_owned())).ok_or(BadPoolName)
    }
}

/// The instances whose root disk may be pinned.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Pins {
    #[default]
    None,
    /// `name`, or `project/name`.
    Named(BTreeSet<String>),
    All,
}

impl Pins {
    /// These, and the instances of these names, too.
    #[must_use]
    pub fn and(self, names: impl IntoIterator<Item = String>) -> Self {
        match self {
            Self::All => Self::All,
            Self::None => Self::Named(names.into_iter().collect()),
            Self::Named(pins) => Self::Named(pins.into_iter().chain(names).collect()),
        }
    }

    #[must_use]
    pub fn cover(&self, instance: &Reference) -> bool {
        match self {
            Self::None => false,
            Self::All => true,
            Self::Named(names) => names.iter().any(|name| matches(name, instance)),
        }
    }
}

/// Whether `name`, or `project/name`, as a person writes it, means this instance.
pub(super) fn matches(name: &str, instance: &Reference) -> bool {
    match name.split_once('/') {
        Some((project, name)) => instance.project == project && instance.name == name,
        None => instance.name == name,
    }
}

/// Why a text does not name instances.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BadPin(String);

impl fmt::Display for BadPin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}; write mary,naira or project/mary or all", self.0)
    }
}

impl std::error::Error for BadPin {}

impl FromStr for Pins {
    type Err = BadPin;

    fn from_str(text: &str) -> Result<Self, BadPin> {
        if text == "all" {
            return Ok(Self::All);
        }
        let mut names = BTreeSet::new();
        for name in text.split(',') {
            if name.is_empty() || name == "all" {
                return Err(BadPin(format!("not a list of instances: {text:?}")));
            }
            if !names.insert(name.to_owned()) {
                return Err(BadPin(format!("{name} is named twice")));
            }
        }
        Ok(Self::Named(names))
    }
}
