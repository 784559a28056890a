//! Steps as they are done.

use std::cell::RefCell;
use std::io::IsTerminal as _;
use std::time::Duration;

use indicatif::{ProgressBar, ProgressStyle};

use super::Ui;
use crate::apply::Event;
use crate::step::Step;

/// Steps as they are done: a spinner on a terminal, lines elsewhere.
pub struct Steps<'a> {
    pub(super) ui: &'a Ui,
    pub(super) bar: RefCell<Option<ProgressBar>>,
}

impl Steps<'_> {
    /// Shows what is happening.
    pub fn event(&self, event: Event<'_>) {
        match event {
            Event::Begin(step) => self.begin(step),
            Event::Done(step, time) => {
                self.end(&format!(
                    "  ✓ {} ({:.1} s)",
                    step.describe(),
                    time.as_secs_f64()
                ));
            }
            Event::Skipped(step) => self.end(&format!("  ✓ {} (was so already)", step.describe())),
            Event::Failed(step) => self.end(&format!("  ✗ {}", step.describe())),
            Event::Back(crate::apply::ASKED) => {}
            Event::Back(why) => {
                self.end(&format!("  Taking back what was done, because: {why}"));
            }
        }
    }

    fn begin(&self, step: &Step) {
        // A fetch has a bar of its own.
        if self.ui.quiet || step.fetches() || !std::io::stderr().is_terminal() {
            return;
        }
        let bar = ProgressBar::new_spinner().with_message(format!("{}…", step.describe()));
        if let Ok(style) = ProgressStyle::with_template("  {spinner} {wide_msg} {elapsed}") {
            bar.set_style(style);
        }
        bar.enable_steady_tick(Duration::from_millis(120));
        self.bar.replace(Some(bar));
    }

    fn end(&self, line: &str) {
        if let Some(bar) = self.bar.take() {
            bar.finish_and_clear();
        }
        if !self.ui.quiet {
            self.ui.print(&self.ui.wrapped(line, "", "    "));
        }
    }
}
