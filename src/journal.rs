//! The record of intent: what was approved, what of it was begun, done and undone.
//!
//! One file a run in the state folder, one JSON document a line, appended and fsynced before the
//! effect it speaks of.  A run that was killed leaves a file without an `end`; the next run
//! finishes or takes back that one first.  The last line may be torn, and is not believed then.

use std::fs::{self, File, OpenOptions};
use std::io::Write as _;
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use anyhow::{bail, Context as _, Result};
use serde::{Deserialize, Serialize};

use crate::step::Step;

mod lock;

pub(crate) use lock::inherit;
pub use lock::{Lock, NotLocked};

/// The format of the files; a file of another one is not touched.
const FORMAT: u32 = 1;

/// A line of a journal.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
enum Line {
    Approved {
        format: u32,
        program: String,
        time: String,
        steps: Vec<Step>,
    },
    /// About to run a step.
    Begin(usize),
    /// It ran, and what it was to bring about was seen to be so.
    Done(usize),
    /// It was so already.
    Skipped(usize),
    /// From here on the way is back.
    Back(String),
    /// About to take a step back.
    Undo(usize),
    Undone(usize),
    End(End),
}

/// How a run ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum End {
    /// All that was begun is done.
    Completed,
    /// All that was done is undone.
    Undone,
}

/// What became of a step.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Progress {
    Pending,
    /// Begun, and not known to be done: in doubt.
    Begun,
    Done,
    Skipped,
    Undone,
}

/// A run, as its journal tells it.
#[derive(Debug, Clone, PartialEq)]
pub struct Record {
    path: PathBuf,
    /// Bytes of the file that are whole lines.
    whole: u64,
    pub time: String,
    pub steps: Vec<Step>,
    pub progress: Vec<Progress>,
    /// Why the run turned back, if it did.
    pub back: Option<String>,
    pub end: Option<End>,
}

impl Record {
    /// When it was approved; now, where that cannot be told, so that nothing counts as made since.
    fn approved(&self) -> SystemTime {
        humantime::parse_rfc3339(&self.time).unwrap_or_else(|_| SystemTime::now())
    }

    /// The steps that this run brought about, or may have.
    #[must_use]
    pub fn made(&self) -> Vec<Step> {
        self.with(|progress| matches!(progress, Progress::Begun | Progress::Done))
    }

    /// The steps that are not known to be done.
    #[must_use]
    pub fn remaining(&self) -> Vec<Step> {
        self.with(|progress| matches!(progress, Progress::Pending | Progress::Begun))
    }

    fn with(&self, wanted: impl Fn(Progress) -> bool) -> Vec<Step> {
        self.steps
            .iter()
            .zip(&self.progress)
            .filter(|(_, progress)| wanted(**progress))
            .map(|(step, _)| step.clone())
            .collect()
    }

    fn apply(&mut self, line: Line) -> Result<()> {
        let (index, progress) = match line {
            Line::Approved { .. } => bail!("a second plan in one journal"),
            Line::Back(why) => {
                self.back = Some(why);
                self.end = None;
                return Ok(());
            }
            Line::End(end) => {
                self.end = Some(end);
                return Ok(());
            }
            Line::Begin(index) => (index, Progress::Begun),
            Line::Done(index) => (index, Progress::Done),
            Line::Skipped(index) => (index, Progress::Skipped),
            // Until it is undone it may still be there.
            Line::Undo(index) => (index, Progress::Begun),
            Line::Undone(index) => (index, Progress::Undone),
        };
        let slot = self
            .progress
            .get_mut(index)
            .with_context(|| format!("a step {index} that its plan does not have"))?;
        *slot = progress;
        Ok(())
    }
}

/// Reads every run that there was, oldest first.
///
/// # Errors
/// If a journal cannot be read, is damaged, or of another format.
pub fn records(folder: &Path) -> Result<Vec<Record>> {
    let mut paths = Vec::new();
    match fs::read_dir(folder) {
        Ok(entries) => {
            for entry in entries {
                let path = entry.context("reading the journal's folder")?.path();
                if path
                    .extension()
                    .is_some_and(|extension| extension == "jsonl")
                {
                    paths.push(path);
                }
            }
        }
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => {}
        Err(error) => {
            return Err(error)
                .with_context(|| format!("reading the journal in {}", folder.display()))
        }
    }
    paths.sort();
    let mut found = Vec::new();
    for path in paths {
        let record =
            read(&path).with_context(|| format!("reading the journal {}", path.display()))?;
        found.extend(record);
    }
    Ok(found)
}

fn read(path: &Path) -> Result<Option<Record>> {
    let bytes = fs::read(path)?;
    let whole = bytes
        .iter()
        .rposition(|byte| *byte == b'\n')
        .map_or(0, |at| at + 1);
    let text = std::str::from_utf8(&bytes[..whole]).context("it is not text")?;
    let mut record: Option<Record> = None;
    for (number, text) in text.lines().enumerate() {
        let line: Line = serde_json::from_str(text)
            .with_context(|| format!("line {} is damaged", number + 1))?;
        match (&mut record, line) {
            (
                None,
                Line::Approved {
                    format: FORMAT,
                    time,
                    steps,
                    ..
                },
            ) => {
                record = Some(Record {
                    path: path.to_owned(),
                    whole: whole as u64,
                    time,
                    progress: vec![Progress::Pending; steps.len()],
                    steps,
                    back: None,
                    end: None,
                });
            }
            (None, _) => bail!("line 1 is not a plan that this version knows"),
            (Some(record), line) => record.apply(line)?,
        }
    }
    // Without a whole first line nothing was begun either.
    Ok(record)
}

impl Lock {
    /// Begins the journal of a new run.
    ///
    /// # Errors
    /// If it cannot be written safely.
    pub fn begin(&self, steps: &[Step]) -> Result<Writer<'_>> {
        let last = fs::read_dir(&self.folder)
            .with_context(|| format!("reading {}", self.folder.display()))?
            .flatten()
            .filter_map(|entry| {
                let name = entry.file_name().into_string().ok()?;
                name.strip_prefix("run-")?
                    .strip_suffix(".jsonl")?
                    .parse::<u64>()
                    .ok()
            })
            .max()
            .unwrap_or(0);
        let path = self.folder.join(format!("run-{:06}.jsonl", last + 1));
        let file = OpenOptions::new()
            .append(true)
            .create_new(true)
            .mode(0o600)
            .open(&path)
            .with_context(|| format!("creating the journal {}", path.display()))?;
        let mut writer = Writer {
            file,
            path: path.clone(),
            approved: SystemTime::now(),
            _lock: self,
        };
        writer.write(&Line::Approved {
            format: FORMAT,
            program: env!("CARGO_PKG_VERSION").into(),
            time: crate::host::log::now(),
            steps: steps.to_vec(),
        })?;
        File::open(&self.folder)
            .and_then(|folder| folder.sync_all())
            .with_context(|| format!("syncing {}", self.folder.display()))?;
        Ok(writer)
    }

    /// Goes on with the journal of an earlier run.
    ///
    /// # Errors
    /// If it cannot be opened, or has grown since it was read.
    pub fn resume(&self, record: &Record) -> Result<Writer<'_>> {
        let path = record.path.clone();
        let file = OpenOptions::new()
            .append(true)
            .open(&path)
            .with_context(|| format!("opening the journal {}", path.display()))?;
        if read(&path)?.as_ref() != Some(record) {
            bail!(
                "another run went on with the journal {} meanwhile",
                path.display()
            );
        }
        // Whatever follows the last whole line was torn by a crash.
        file.set_len(record.whole)?;
        Ok(Writer {
            file,
            path,
            approved: record.approved(),
            _lock: self,
        })
    }
}

/// An open journal.  Every call is on the disk before it returns.
pub struct Writer<'lock> {
    file: File,
    path: PathBuf,
    approved: SystemTime,
    _lock: &'lock Lock,
}

impl Writer<'_> {
    /// When the run was approved: what it left half-made is not older.
    #[must_use]
    pub fn approved(&self) -> SystemTime {
        self.approved
    }

    /// # Errors
    /// If the line cannot be written safely; then the step must not be run.
    pub fn begin(&mut self, index: usize) -> Result<()> {
        self.write(&Line::Begin(index))
    }

    /// # Errors
    /// If the line cannot be written safely.
    pub fn done(&mut self, index: usize) -> Result<()> {
        self.write(&Line::Done(index))
    }

    /// # Errors
    /// If the line cannot be written safely.
    pub fn skipped(&mut self, index: usize) -> Result<()> {
        self.write(&Line::Skipped(index))
    }

    /// # Errors
    /// If the line cannot be written safely.
    pub fn back(&mut self, why: &str) -> Result<()> {
        self.write(&Line::Back(why.to_owned()))
    }

    /// # Errors
    /// If the line cannot be written safely; then the step must not be taken back.
    pub fn undo(&mut self, index: usize) -> Result<()> {
        self.write(&Line::Undo(index))
    }

    /// # Errors
    /// If the line cannot be written safely.
    pub fn undone(&mut self, index: usize) -> Result<()> {
        self.write(&Line::Undone(index))
    }

    /// # Errors
    /// If the line cannot be written safely.
    pub fn end(&mut self, end: End) -> Result<()> {
        self.write(&Line::End(end))
    }

    fn write(&mut self, line: &Line) -> Result<()> {
        let mut text = serde_json::to_string(line).context("encoding a journal line")?;
        text.push('\n');
        self.file
            .write_all(text.as_bytes())
            .and_then(|()| self.file.sync_data())
            .with_context(|| format!("writing the journal {}", self.path.display()))
    }
}

#[cfg(test)]
mod tests;
