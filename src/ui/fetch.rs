//! A file that is coming: a bar on a terminal, some lines elsewhere.

use std::io::IsTerminal as _;

use indicatif::{ProgressBar, ProgressStyle};

use super::Ui;

/// Shows a file as it comes, and what is done with it.
pub struct Fetching<'a> {
    ui: &'a Ui,
    bar: Option<ProgressBar>,
}

impl Ui {
    /// Something that shows a file as it comes.
    #[must_use]
    pub fn fetching(&self) -> Fetching<'_> {
        let seen = !self.quiet && std::io::stderr().is_terminal();
        let bar = seen.then(|| {
            let bar = ProgressBar::new(0);
            let template = "  {bar:30} {bytes} of {total_bytes}, {bytes_per_sec}, {eta} left {msg}";
            if let Ok(style) = ProgressStyle::with_template(template) {
                bar.set_style(style);
            }
            bar
        });
        Fetching { ui: self, bar }
    }
}

impl Fetching<'_> {
    pub fn bytes(&self, here: u64, total: Option<u64>) {
        if let Some(bar) = &self.bar {
            bar.set_length(total.unwrap_or(here));
            // What was here before is no sign of a fast network.
            if bar.position() == 0 {
                bar.set_position(here);
                bar.reset_eta();
            }
            bar.set_position(here);
        }
    }

    /// Says something beside the bar.
    pub fn say(&self, text: &str) {
        match &self.bar {
            Some(bar) => bar.suspend(|| self.ui.say(text)),
            None => self.ui.say(text),
        }
    }

    /// The file is here, or will not come.
    pub fn end(&self) {
        if let Some(bar) = &self.bar {
            bar.finish_and_clear();
        }
    }
}
