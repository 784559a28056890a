//! Steps as they are done.

use std::cell::RefCell;
use std::io::IsTerminal as _;
use std::time::Duration;

use indicatif::{ProgressBar, ProgressStyle};

use super::progress::Ticker;
use super::Ui;
use crate::apply::Event;
use crate::host::Meter;
use crate::step::migration::Part;
use crate::step::Step;

/// Steps as they are done: a spinner on a terminal, lines elsewhere.
pub struct Steps<'a> {
    ui: &'a Ui,
    meter: Meter,
    bar: RefCell<Option<ProgressBar>>,
    ticker: RefCell<Option<Ticker>>,
}

impl<'a> Steps<'a> {
    pub(super) fn new(ui: &'a Ui, meter: &Meter) -> Self {
        Self {
            ui,
            meter: meter.clone(),
            bar: RefCell::new(None),
            ticker: RefCell::new(None),
        }
    }

    /// Shows what is happening.
    pub fn event(&self, event: Event<'_>) {
        match event {
            Event::Begin(step) => self.begin(step),
            Event::Next(_) => {}
            Event::Done(step, time) => {
                self.end(&format!(
                    "  ✓ {} ({:.1} s)",
                    step.describe(),
                    time.as_secs_f64()
                ));
            }
            Event::Skipped(step) => self.end(&format!("  ✓ {} (was so already)", step.describe())),
            Event::Failed(step) => self.end(&format!("  ✗ {}", step.describe())),
            Event::Waiting(why) => self.end(&format!("  … {why}")),
            Event::Back(crate::apply::ASKED) => {}
            Event::Back(why) => {
                self.end(&format!("  Taking back what was done, because: {why}"));
            }
        }
    }

    fn begin(&self, step: &Step) {
        // A fetch has a bar of its own.
        if self.ui.quiet || step.fetches() {
            return;
        }
        let takes_long = matches!(
            step,
            Step::Migrate {
                part: Part::Copy | Part::Prove,
                ..
            }
        );
        if !std::io::stderr().is_terminal() {
            let lines = || Ticker::in_lines(self.ui.clone(), self.meter.clone());
            self.ticker.replace(takes_long.then(lines));
            return;
        }
        let bar = ProgressBar::new_spinner().with_message(format!("{}…", step.describe()));
        if let Ok(style) = ProgressStyle::with_template("  {spinner} {wide_msg} {elapsed}") {
            bar.set_style(style);
        }
        bar.enable_steady_tick(Duration::from_millis(120));
        let ticker = || Ticker::in_bar(bar.clone(), self.meter.clone());
        self.ticker.replace(takes_long.then(ticker));
        self.bar.replace(Some(bar));
    }

    fn end(&self, line: &str) {
        drop(self.ticker.take());
        if let Some(bar) = self.bar.take() {
            bar.finish_and_clear();
        }
        if !self.ui.quiet {
            self.ui.print(&self.ui.wrapped(line, "", "    "));
        }
    }
}
