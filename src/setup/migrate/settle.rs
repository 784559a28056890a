//! Letting originals go one by one, each as soon as its copy has run for a while.

use std::time::{Duration, Instant};

use anyhow::Result;

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
    pub(super) fn may_go(&self, run: &Approved, moved: &mut [Moved], seconds: u64) -> Result<Then> {
        let Some(of) = run.steps().iter().find_map(Step::migrates) else {
            return Ok(Then::GoOn);
        };
        let row = row(moved, of);
        if row.is_none_or(|row| row.error.is_some()) {
            return Ok(Then::GoOn);
        }
        if !of.running {
            return Ok(Then::Delete);
        }
        self.ui.say(&format!(
            "The original of {} goes once its copy has run for {seconds} s.",
            of.name
        ));
        let begun = Instant::now();
        let why = loop {
            let status = crate::incus::status_of(self.machine, &of.name)?;
            if status != "Running" {
                break format!("its copy was {status} within {seconds} s of its start");
            }
            if self.machine.signals.stop_asked() {
                break "stopped, as asked for".to_owned();
            }
            if begun.elapsed() >= Duration::from_secs(seconds) {
                return Ok(Then::Delete);
            }
            std::thread::sleep(Duration::from_millis(500));
        };
        stays(moved, of, why);
        self.ui
            .say("No other container is moved, as there may be no room for it.");
        Ok(Then::Stop)
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
