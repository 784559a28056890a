//! The log of every command, with its time and its outcome.

use std::fs::{File, OpenOptions};
use std::io::Write as _;
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

/// A log file, or nothing where none is wanted (a dry run changes nothing at all).
#[derive(Clone)]
pub struct Log(Option<Arc<File>>);

impl Log {
    /// Nothing is written down.
    #[must_use]
    pub fn none() -> Self {
        Self(None)
    }

    /// Appends to a file that only root can read.
    ///
    /// # Errors
    /// If it cannot be opened, or is a link.
    pub fn append_to(path: &Path) -> std::io::Result<Self> {
        let file = OpenOptions::new()
            .append(true)
            .create(true)
            .mode(0o600)
            .custom_flags(nix::libc::O_NOFOLLOW)
            .open(path)?;
        Ok(Self(Some(Arc::new(file))))
    }

    /// Writes a line about this program.
    pub fn line(&self, text: &str) {
        if let Some(file) = self.0.as_ref() {
            // In one piece, as two threads may write.  A log that cannot be written (a full disk)
            // must not stop a step half-way.
            let line = format!("{} [{}] {text}\n", now(), std::process::id());
            let _ = (&**file).write_all(line.as_bytes());
        }
    }

    /// Writes a command, how long it took, and how it ended.
    pub fn command(&self, command: &str, time: Duration, outcome: &str) {
        let outcome = outcome.replace('\n', "\n    ");
        self.line(&format!(
            "{command}  ({:.3} s)  {outcome}",
            time.as_secs_f64()
        ));
    }
}

/// The time in UTC, to the second.
#[must_use]
pub fn now() -> String {
    humantime::format_rfc3339_seconds(SystemTime::now()).to_string()
}
