//! How a command about the image ended.

use crate::host::download::Trouble;
use crate::plan::Refusal;
use crate::report::ImageReport;

use super::Fetch;

/// How it ended.
#[derive(Debug)]
pub enum Ending {
    /// What is so now.
    Done(String),
    /// Nothing was touched.
    Refused(Refusal),
    /// Nothing of it is to be seen in Incus.
    Failed { error: String, hints: Vec<String> },
    /// Somebody asked to stop; the next run goes on.
    Stopped,
}

impl Ending {
    /// As everywhere: 0 done, 1 failed, 3 refused, 4 stopped.
    #[must_use]
    pub fn exit_code(&self) -> u8 {
        match self {
            Self::Done(_) => 0,
            Self::Failed { .. } => 1,
            Self::Refused(_) => 3,
            Self::Stopped => 4,
        }
    }

    #[must_use]
    pub fn word(&self) -> &'static str {
        match self {
            Self::Done(_) => "done",
            Self::Failed { .. } => "failed",
            Self::Refused(_) => "refused",
            Self::Stopped => "stopped",
        }
    }

    pub(crate) fn failed(error: impl Into<String>, hint: impl Into<String>) -> Self {
        Self::Failed {
            error: error.into(),
            hints: vec![hint.into()],
        }
    }
}

impl From<Trouble> for Ending {
    fn from(trouble: Trouble) -> Self {
        match trouble {
            Trouble::Stopped => Self::Stopped,
            Trouble::Network(error) => Self::failed(
                error,
                "what came is kept: taos-setup image fetch goes on from there",
            ),
            Trouble::Refused(error) | Trouble::Missing(error) => Self::failed(
                error,
                "look at the address, or name another: taos-setup image fetch --image-url URL",
            ),
            Trouble::Wrong(error) => Self::failed(
                error,
                "it was not imported, and is removed; if it happens again, tell whoever publishes it",
            ),
            Trouble::Full(error) => Self::failed(
                error,
                "what came is removed; make room, or name a folder with room: TAOS_TMPDIR=/some/where",
            ),
            Trouble::Other(error) => Self::failed(
                format!("{error:#}"),
                "the log says more; taos-setup image fetch tries again",
            ),
        }
    }
}

impl From<anyhow::Error> for Ending {
    fn from(error: anyhow::Error) -> Self {
        match error.downcast::<Refusal>() {
            Ok(refusal) => Self::Refused(refusal),
            Err(error) => Trouble::Other(error).into(),
        }
    }
}

impl From<Ending> for ImageReport {
    fn from(ending: Ending) -> Self {
        let (outcome, exit_code) = (ending.word(), ending.exit_code());
        let (message, hints) = match ending {
            Ending::Done(message) => (message, Vec::new()),
            Ending::Refused(refusal) => (refusal.what, refusal.hints),
            Ending::Failed { error, hints } => (error, hints),
            Ending::Stopped => (
                "stopped, as asked for".to_owned(),
                vec!["to go on: taos-setup image fetch".to_owned()],
            ),
        };
        Self {
            outcome,
            exit_code,
            message,
            hints,
            ..Self::default()
        }
    }
}

impl From<Fetch> for ImageReport {
    fn from(fetch: Fetch) -> Self {
        Self {
            fingerprint: fetch.fingerprint,
            proof: fetch.proof,
            ..fetch.ending.into()
        }
    }
}
