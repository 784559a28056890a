//! How far it is, in a file that anybody may read.

use std::os::unix::fs::DirBuilderExt as _;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use serde::{Deserialize, Serialize};

use crate::host::download::write_atomically;
use crate::host::log;

/// How often the file is written while bytes come.
const EACH: Duration = Duration::from_millis(500);

/// The five states that the application reports.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Stage {
    #[default]
    Idle,
    Downloading,
    Importing,
    Done,
    Failed,
}

impl Stage {
    #[must_use]
    pub fn word(self) -> &'static str {
        match self {
            Self::Idle => "idle",
            Self::Downloading => "downloading",
            Self::Importing => "importing",
            Self::Done => "done",
            Self::Failed => "failed",
        }
    }

    #[must_use]
    pub fn going_on(self) -> bool {
        matches!(self, Self::Downloading | Self::Importing)
    }
}

/// A member of a cluster, and whether launches on it find the image unpacked.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct OnMember {
    pub member: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub pool: Option<String>,
    pub unpacked: bool,
    /// Why it is not.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub why: Option<String>,
}

/// The document: the application's three keys, and more.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Progress {
    pub status: Stage,
    pub started_at: Option<String>,
    pub url: Option<String>,
    pub bytes: u64,
    pub total: Option<u64>,
    /// Bytes in a second.
    pub rate: u64,
    pub error: Option<String>,
    pub fingerprint: Option<String>,
    /// What the file was checked against.
    pub proof: Option<String>,
    /// In a cluster: where it was unpacked when this was written, and where not.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub members: Vec<OnMember>,
    /// In a cluster: how many members Incus keeps the file of an image on, as it is configured.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub copies: Option<String>,
    /// Who is at it.
    pub process: Option<u32>,
    pub updated_at: Option<String>,
}

impl Progress {
    /// What the file says; of one that speaks of a process that is gone, that it was cut short.
    #[must_use]
    pub fn read(path: &Path) -> Self {
        let mut progress: Self = std::fs::read(path)
            .ok()
            .and_then(|text| serde_json::from_slice(&text).ok())
            .unwrap_or_default();
        if progress.status.going_on() && !progress.process.is_some_and(alive) {
            progress.status = Stage::Failed;
            progress.rate = 0;
            progress.error = Some("it was cut short; the next one goes on where it was".to_owned());
        }
        progress
    }
}

/// Whether a process is there, and is one of this program.
fn alive(process: u32) -> bool {
    let name = std::fs::read_to_string(format!("/proc/{process}/comm")).unwrap_or_default();
    name.trim_end() == "taos-setup"
}

/// Writes the file.
pub struct Reporter {
    path: PathBuf,
    pub progress: Progress,
    written: Option<Instant>,
    /// When the counting of the rate began, and with how many bytes.
    counted: (Instant, u64),
}

impl Reporter {
    /// Begins with nothing written yet.
    #[must_use]
    pub fn new(path: &Path, url: String) -> Self {
        Self {
            path: path.to_owned(),
            progress: Progress {
                started_at: Some(log::now()),
                url: Some(url),
                process: Some(std::process::id()),
                ..Progress::default()
            },
            written: None,
            counted: (Instant::now(), 0),
        }
    }

    /// Goes to another state.
    pub fn stage(&mut self, stage: Stage) {
        self.progress.status = stage;
        self.progress.rate = 0;
        if !stage.going_on() {
            self.progress.process = None;
        }
        self.write();
    }

    /// Ends with an error.
    pub fn failed(&mut self, error: &str) {
        self.progress.error = Some(error.to_owned());
        self.stage(Stage::Failed);
    }

    /// Some more has come.
    pub fn bytes(&mut self, here: u64, total: Option<u64>) {
        self.progress.bytes = here;
        self.progress.total = total;
        let (since, before) = self.counted;
        let seconds = since.elapsed().as_secs_f64();
        // What was here before does not count, and neither does what had to be fetched anew.
        if before == 0 || here < before {
            self.counted = (Instant::now(), here.max(1));
        } else if seconds > 1.0 {
            #[allow(
                clippy::cast_possible_truncation,
                clippy::cast_precision_loss,
                clippy::cast_sign_loss,
                reason = "a rate for people"
            )]
            let rate = ((here - before) as f64 / seconds) as u64;
            // The latest quarter of a minute counts.
            if seconds > 15.0 {
                self.counted = (Instant::now(), here);
            }
            self.progress.rate = rate;
        }
        if self.written.is_none_or(|at| at.elapsed() >= EACH) {
            self.write();
        }
    }

    /// It is a courtesy: nothing is stopped because it does not work, say on a full disk.
    fn write(&mut self) {
        self.written = Some(Instant::now());
        self.progress.updated_at = Some(log::now());
        let Ok(text) = serde_json::to_vec(&self.progress) else {
            return;
        };
        if let Some(folder) = self.path.parent() {
            let _ = std::fs::DirBuilder::new()
                .recursive(true)
                .mode(0o755)
                .create(folder);
        }
        let _ = write_atomically(&self.path, &text, 0o644);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::PermissionsExt as _;

    #[test]
    fn anybody_can_read_the_applications_keys() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("deep/status.json");
        assert_eq!(Progress::read(&path), Progress::default());
        let mut reporter = Reporter::new(&path, "https://example.org/x".into());
        reporter.stage(Stage::Downloading);
        reporter.bytes(5, Some(10));
        reporter.failed("no");
        let text = std::fs::read_to_string(&path).unwrap();
        let value: serde_json::Value = serde_json::from_str(&text).unwrap();
        assert_eq!(value["status"], "failed");
        assert_eq!(value["url"], "https://example.org/x");
        assert!(value["started_at"].as_str().unwrap().ends_with('Z'));
        assert_eq!(
            (value["bytes"].as_u64(), value["total"].as_u64()),
            (Some(5), Some(10))
        );
        let mode = std::fs::metadata(&path).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o644);
        assert_eq!(
            std::fs::read_dir(path.parent().unwrap()).unwrap().count(),
            1
        );
    }

    #[test]
    fn a_process_that_is_gone_is_not_at_work() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("status.json");
        let mut reporter = Reporter::new(&path, String::new());
        reporter.progress.process = Some(u32::MAX);
        reporter.stage(Stage::Importing);
        let read = Progress::read(&path);
        assert_eq!(read.status, Stage::Failed);
        assert!(read.error.unwrap().contains("cut short"));
        for nonsense in ["", "[]", "{\"status\":\"nonsense\"}"] {
            std::fs::write(&path, nonsense).unwrap();
            assert_eq!(Progress::read(&path).status, Stage::Idle);
        }
    }
}
