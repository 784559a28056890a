//! What a download says, and asks, while it goes on and at its end.

use std::time::Duration;

use crate::facts::Bytes;
use crate::host::archive::Scan;
use crate::plan::image::{Digest, NotAnImage};

/// Why a file did not come.
#[derive(Debug)]
pub enum Trouble {
    /// Somebody asked to stop; what came stays.
    Stopped,
    /// The network or the server; what came stays.
    Network(String),
    /// The server said something final; what came before stays.
    Refused(String),
    /// There is no such file.
    Missing(String),
    /// It is not what it should be; what came is gone.
    Wrong(String),
    /// There is no room; what came is gone.
    Full(String),
    /// Anything else, on this machine.
    Other(anyhow::Error),
}

impl From<anyhow::Error> for Trouble {
    fn from(error: anyhow::Error) -> Self {
        match error.downcast::<NotAnImage>() {
            Ok(wrong) => Self::Wrong(wrong.0),
            Err(error) => Self::Other(error),
        }
    }
}

/// What is seen of a download while it goes on.
#[derive(Debug, Clone, PartialEq)]
pub enum Event<'a> {
    Bytes {
        here: u64,
        total: Option<u64>,
    },
    /// It is tried again after a pause.
    Pause {
        why: &'a str,
        pause: Duration,
    },
    /// What was here is of no use.
    StartingOver {
        why: &'a str,
    },
}

/// What a download needs from whoever wants it.
pub trait Watch {
    fn event(&mut self, event: Event<'_>);
    /// Whether to stop.
    fn stop(&self) -> bool;
    /// Whether there is room for so many bytes more.
    ///
    /// # Errors
    /// If there is not.
    fn room(&self, left: Bytes, total: Option<Bytes>) -> Result<(), String>;
}

/// A file that came.
#[derive(Debug)]
pub struct Fetched {
    pub digest: Digest,
    pub bytes: Bytes,
    pub scan: Result<Scan, String>,
    /// Whether a part of it was here before, so that it could be of another version.
    pub resumed: bool,
}
