//! Letting originals go one by one, each as soon as its copy has run for a while.

use std::time::{Duration, Instant};

use super::super::Setup;
use crate::plan::Approved;
use crate::report::Moved;
use crate::step::migration::Migration;
use crate::step::Step;

/// What is to be done about an original.
pub(super) enum Then {
    Delete,
    /// It is no original: its container was put back.
    GoOn,
    /// It stays, and so the next one may not fit.
    Stop,
}

impl Setup<'_> {
    /// Waits until the copy has run for so long, without a break.
    pub(super) fn may_go(&self, run: &Approved, moved: &mut [Moved], seconds: u64) -> Then {
        let Some(of) = run.steps().iter().find_map(Step::migrates) else {
            return Then::GoOn;
        };
        let row = row(moved, of);
        if row.is_none_or(|row| row.error.is_some()) {
            return Then::GoOn;
        }
        if !of.running {
            return Then::Delete;
        }
        self.ui.say(&format!(
            "The original of {} goes once its copy has run for {seconds} s.",
            of.name
        ));
        let begun = Instant::now();
        let mut unanswered = 0;
        let why = loop {
            match crate::incus::status_of(self.machine, &of.name) {
                Ok(status) if status == "Running" => unanswered = 0,
                Ok(status) => break format!("its copy was {status} within {seconds} s"),
                // While a container ends there may be no answer for a moment.
                Err(_) if unanswered < 10 => unanswered += 1,
                Err(error) => break format!("it cannot be seen whether its copy runs: {error:#}"),
            }
            if self.machine.signals.stop_asked() {
                break "stopped, as asked for".to_owned();
            }
            if unanswered == 0 && begun.elapsed() >= Duration::from_secs(seconds) {
                return Then::Delete;
            }
            std::thread::sleep(Duration::from_millis(500));
        };
        stays(moved, of, why);
        self.ui
            .say("No other container is moved, as there may be no room for it.");
        Then::Stop
    }
}

/// The original is deleted.
pub(super) fn gone(moved: &mut [Moved], of: &Migration) {
    if let Some(row) = row(moved, of) {
        row.kept = None;
    }
}

/// The original is kept, for this reason.
pub(super) fn stays(moved: &mut [Moved], of: &Migration, why: String) {
    if let Some(row) = row(moved, of) {
        row.note = Some(why);
    }
}

fn row<'a>(moved: &'a mut [Moved], of: &Migration) -> Option<&'a mut Moved> {
    let name = of.name.to_string();
    moved.iter_mut().find(|row| row.name == name)
}
