//! What a call ends with: its exit code, and its JSON document.

use serde::Serialize;

use crate::apply::commands;
use crate::facts::{Facts, Mode};
use crate::plan::migrate::Loss;
use crate::plan::{Choice, Note, Plan, Refusal};
use crate::status::Status;
use crate::step::Step;

/// The version of the JSON documents; `docs/json.md` describes them.
pub const SCHEMA: u32 = 1;

/// How a call ended.
#[derive(Debug, Clone, PartialEq)]
pub enum Ending {
    /// There was nothing to do.
    Nothing,
    /// The plan was shown, as asked for with `--dry-run`.
    Planned,
    Done,
    /// What an earlier run made was taken back, as asked for.
    Undone,
    /// What became of each container that was to be migrated.
    Migrated(Vec<Moved>),
    /// Nothing was touched.
    Refused(Refusal),
    /// A step failed; what was begun has been taken back.
    Failed {
        error: String,
    },
    /// Stopped between steps; these are left.
    Stopped {
        remaining: Vec<Step>,
    },
    /// It could not go on; these steps are left, of the way back or of the way forward.
    Stuck {
        error: String,
        remaining: Vec<Step>,
        back: bool,
    },
}

/// What became of a container.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Moved {
    pub name: String,
    pub pool: String,
    /// What its original is called now, if it is kept.
    pub kept: Option<String>,
    /// From the beginning of its stop until it was started; nothing if it did not run.
    pub downtime_seconds: Option<f64>,
    /// Why it is where it was.
    pub error: Option<String>,
    /// Why its original is kept that was to go.
    pub note: Option<String>,
}

impl Ending {
    /// 0 done or nothing to do, 1 failed and undone, 3 refused, 4 steps remain.
    #[must_use]
    pub fn exit_code(&self) -> u8 {
        match self {
            Self::Nothing | Self::Planned | Self::Done | Self::Undone => 0,
            Self::Migrated(moved) => moved
                .iter()
                .any(|it| it.error.is_some() || it.note.is_some())
                .into(),
            Self::Failed { .. } => 1,
            Self::Refused(_) => 3,
            Self::Stopped { .. } | Self::Stuck { .. } => 4,
        }
    }

    fn word(&self) -> &'static str {
        match self {
            Self::Nothing => "nothing-to-do",
            Self::Planned => "planned",
            Self::Done => "done",
            Self::Undone => "undone",
            Self::Migrated(_) if self.exit_code() == 0 => "migrated",
            Self::Migrated(_) => "failed",
            Self::Refused(_) => "refused",
            Self::Failed { .. } => "failed",
            Self::Stopped { .. } => "stopped",
            Self::Stuck { .. } => "stuck",
        }
    }
}

/// Everything about a call, for the end of it.
#[derive(Debug)]
pub struct Report {
    command: &'static str,
    facts: Option<Facts>,
    plan: Option<Plan>,
    image: Option<ImageReport>,
    pub ending: Ending,
}

/// What became of the base image.
#[derive(Debug, Clone, Default, PartialEq, Serialize)]
pub struct ImageReport {
    /// When it is fetched, if that was arranged.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub mode: Option<Mode>,
    pub outcome: &'static str,
    pub exit_code: u8,
    pub message: String,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub hints: Vec<String>,
    pub fingerprint: Option<String>,
    /// What it was checked against, in words.
    pub proof: Option<String>,
}

impl Report {
    #[must_use]
    pub fn new(command: &'static str) -> Self {
        Self {
            command,
            facts: None,
            plan: None,
            image: None,
            ending: Ending::Nothing,
        }
    }

    /// Adds what became of the base image.
    pub fn with_image(&mut self, image: ImageReport) {
        self.image = Some(image);
    }

    /// What became of the base image, where anything did.
    #[must_use]
    pub fn image(&self) -> Option<&ImageReport> {
        self.image.as_ref()
    }

    /// That of the process: the image's where only that did not work.  A set-up that was done is no
    /// refusal, even if its image was refused.
    #[must_use]
    pub fn exit_code(&self) -> u8 {
        let of_image = self.image.as_ref().map_or(0, |image| image.exit_code);
        match (self.ending.exit_code(), of_image) {
            (0, 3) => 1,
            (0, code) | (code, _) => code,
        }
    }

    pub fn found(&mut self, facts: &Facts) {
        self.facts = Some(facts.clone());
    }

    pub fn planned(&mut self, plan: &Plan) {
        self.plan = Some(plan.clone());
    }

    #[must_use]
    pub fn ending(mut self, ending: Ending) -> Self {
        self.ending = ending;
        self
    }

    #[must_use]
    pub fn refused(self, refusal: Refusal) -> Self {
        self.ending(Ending::Refused(refusal))
    }

    /// The pool that launches use, now that it is through.
    #[must_use]
    pub fn pool(&self) -> Option<&str> {
        self.plan.as_ref()?.pool.as_deref()
    }

    #[must_use]
    pub fn facts(&self) -> Option<&Facts> {
        self.facts.as_ref()
    }

    #[must_use]
    pub fn plan(&self) -> Option<&Plan> {
        self.plan.as_ref()
    }

    /// The document for `--json`.
    #[must_use]
    pub fn json(&self) -> String {
        let (message, hints, remaining) = match &self.ending {
            Ending::Refused(refusal) => (Some(&refusal.what), refusal.hints.as_slice(), &[][..]),
            Ending::Failed { error } => (Some(error), &[][..], &[][..]),
            Ending::Stuck {
                error, remaining, ..
            } => (Some(error), &[][..], remaining.as_slice()),
            Ending::Stopped { remaining } => (None, &[][..], remaining.as_slice()),
            _ => (None, &[][..], &[][..]),
        };
        document(&Document {
            schema: SCHEMA,
            command: self.command,
            outcome: self.ending.word(),
            exit_code: self.exit_code(),
            message: message.map(String::as_str),
            hints,
            facts: self.facts.as_ref(),
            plan: self.plan.as_ref().map(PlanDocument::of),
            remaining: remaining.iter().map(StepDocument::of).collect(),
            status: None,
            migrated: match &self.ending {
                Ending::Migrated(moved) => moved,
                _ => &[],
            },
            image: self.image.as_ref(),
        })
    }
}

/// The document of `status --json`.
#[must_use]
pub fn status_json(facts: &Facts, status: &Status) -> String {
    document(&Document {
        schema: SCHEMA,
        command: "status",
        outcome: "done",
        exit_code: 0,
        message: None,
        hints: &[],
        facts: Some(facts),
        plan: None,
        remaining: Vec::new(),
        status: Some(status),
        migrated: &[],
        image: None,
    })
}

/// The document of a call that ended in an error before it could report anything.
#[must_use]
pub fn error_json(command: &str, exit_code: u8, message: &str, hints: &[String]) -> String {
    document(&Document {
        schema: SCHEMA,
        command,
        outcome: "error",
        exit_code,
        message: Some(message),
        hints,
        facts: None,
        plan: None,
        remaining: Vec::new(),
        status: None,
        migrated: &[],
        image: None,
    })
}

/// The document of `image …`, but for `image status`, which has its own.
#[must_use]
pub fn image_json(command: &str, image: &ImageReport) -> String {
    document(&Document {
        schema: SCHEMA,
        command,
        outcome: image.outcome,
        exit_code: image.exit_code,
        message: Some(&image.message),
        hints: &image.hints,
        facts: None,
        plan: None,
        remaining: Vec::new(),
        status: None,
        migrated: &[],
        image: Some(image),
    })
}

#[derive(Serialize)]
struct Document<'a> {
    schema: u32,
    command: &'a str,
    outcome: &'a str,
    exit_code: u8,
    #[serde(skip_serializing_if = "Option::is_none")]
    message: Option<&'a str>,
    #[serde(skip_serializing_if = "<[String]>::is_empty")]
    hints: &'a [String],
    #[serde(skip_serializing_if = "Option::is_none")]
    status: Option<&'a Status>,
    #[serde(skip_serializing_if = "<[Moved]>::is_empty")]
    migrated: &'a [Moved],
    #[serde(skip_serializing_if = "Option::is_none")]
    image: Option<&'a ImageReport>,
    #[serde(skip_serializing_if = "Option::is_none")]
    plan: Option<PlanDocument<'a>>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    remaining: Vec<StepDocument>,
    #[serde(skip_serializing_if = "Option::is_none")]
    facts: Option<&'a Facts>,
}

#[derive(Serialize)]
struct PlanDocument<'a> {
    steps: Vec<StepDocument>,
    notes: &'a [Note],
    losses: &'a [Loss],
    choices: &'a [Choice],
    open_end: bool,
    pool: Option<&'a str>,
    clones: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    image: Option<Mode>,
}

impl<'a> PlanDocument<'a> {
    fn of(plan: &'a Plan) -> Self {
        Self {
            steps: plan.steps.iter().map(StepDocument::of).collect(),
            notes: &plan.notes,
            losses: &plan.losses,
            choices: &plan.choices,
            open_end: plan.open_end,
            pool: plan.pool.as_deref(),
            clones: plan.clones,
            image: plan.image,
        }
    }
}

#[derive(Serialize)]
struct StepDocument {
    description: String,
    reason: String,
    commands: Vec<String>,
    undo: String,
    #[serde(flatten)]
    step: Step,
}

impl StepDocument {
    fn of(step: &Step) -> Self {
        Self {
            description: step.describe(),
            reason: step.reason(),
            commands: commands(step),
            undo: step.undo_words(),
            step: step.without_secrets(),
        }
    }
}

fn document(document: &Document<'_>) -> String {
    serde_json::to_string_pretty(document).unwrap_or_else(|error| {
        format!("{{\"schema\": {SCHEMA}, \"outcome\": \"error\", \"message\": \"{error}\"}}")
    })
}
