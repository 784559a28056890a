//! What a move that was cut short has left.

use serde::{Deserialize, Serialize};

use super::Reference;

/// An instance that Incus was moving when its daemon died, and what it is beside the original.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Stray {
    pub stray: Reference,
    /// The instance with the same identity, if there is one.
    pub original: Option<Reference>,
    /// Whether an operation is at work on either.
    pub busy: bool,
    /// Whether Incus copied it to its end: only then it begins to delete the original.
    pub finished: bool,
    /// What it has, and the original has neither like it nor newer.
    pub only_here: Lack,
    /// What the original has, and it has not exactly so.
    pub only_there: Lack,
    /// Whether anything is left of the original's folders.
    pub remains: bool,
    /// The names that the container had, as its snapshots and journals tell.
    pub names: Vec<String>,
}

/// What one of two does not have.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Lack {
    pub count: u64,
    /// The first few, in words.
    pub first: Vec<String>,
}

impl Lack {
    #[must_use]
    pub fn nothing(&self) -> bool {
        self.count == 0
    }

    pub fn add(&mut self, what: String) {
        self.count += 1;
        if self.first.len() < 5 {
            self.first.push(what);
        }
    }
}

impl std::fmt::Display for Lack {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.first.join(", "))?;
        let more = self.count.saturating_sub(self.first.len() as u64);
        if more > 0 {
            write!(f, ", and {more} more")?;
        }
        Ok(())
    }
}

/// What a container wrote since its original was kept.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Since {
    /// Paths that are new, or different, with what they take.
    pub written: Lack,
    pub bytes: u64,
    /// Paths that it deleted.
    pub deleted: Lack,
    /// Snapshots that were taken.
    pub snapshots: Vec<String>,
}
