//! When the base image is fetched: offered with the question, and said afterwards.

use std::io::Write as _;

use dialoguer::console::style;

use super::{Answer, Ui};
use crate::facts::Mode;
use crate::report::Report;

const MODES: [Mode; 4] = [Mode::Lazy, Mode::Now, Mode::Background, Mode::Off];

impl Ui {
    /// Says when the image comes, and what to type for another time.
    pub fn offer_image(&self, mode: Mode, systemd: bool) {
        let when = match mode {
            Mode::Lazy if systemd => "comes with the first deploy",
            Mode::Lazy => "comes when a deployer asks: taos-setup image ensure --detach",
            Mode::Now => "comes now",
            Mode::Background => "comes now, in the background",
            Mode::Off => "comes when it is asked for",
        };
        let others: Vec<&str> = MODES
            .into_iter()
            .filter(|other| *other != mode)
            .map(Mode::word)
            .collect();
        self.print(&self.wrapped(
            &format!(
                "The base image {when} ({}). To change that, type {}.",
                mode.word(),
                others.join(", ")
            ),
            "",
            "",
        ));
    }

    /// Says why the image is not here, where a set-up was to fetch it.
    pub(super) fn show_image_failed(&self, report: &Report) {
        if let Some(image) = report.image().filter(|image| image.exit_code != 0) {
            let mut hints = vec!["the set-up itself is done, and stays".to_owned()];
            hints.extend(image.hints.iter().cloned());
            self.error(&image.message, &hints);
        }
    }

    /// As [`Ui::ask`], where another time for the image can be typed, too.
    ///
    /// # Errors
    /// With that time.
    pub fn ask_or_choose(&self) -> Result<Answer, Mode> {
        let _held = self.signals.hold();
        loop {
            let _ = write!(
                std::io::stderr(),
                "{} yes / no / explain [no]: ",
                style("Go ahead?").for_stderr().bold()
            );
            let Some(line) = self.line() else {
                let _ = writeln!(std::io::stderr());
                return Ok(Answer::No);
            };
            let word = line.trim().to_lowercase();
            if let Some(answer) = Answer::of(&word) {
                return Ok(answer);
            }
            if let Some(mode) = MODES.into_iter().find(|mode| mode.word() == word) {
                return Err(mode);
            }
            let _ = writeln!(
                std::io::stderr(),
                "Please type yes, no or explain; or lazy, now, background or off."
            );
        }
    }
}

/// What becomes of the image once a set-up is done.
pub(crate) fn afterwards(report: &Report) -> Option<&'static str> {
    let systemd = report.facts().is_some_and(|facts| facts.host.systemd);
    Some(match report.plan()?.image? {
        Mode::Lazy if systemd => "comes with the first deploy; to watch: taos-setup image status",
        Mode::Lazy => {
            "comes with taos-setup image ensure --detach, for a deployer to call: without systemd \
             nothing else notices the first deploy"
        }
        Mode::Background => "on its way: taos-setup image status --watch",
        // Said by the fetch itself.
        Mode::Now => return None,
        Mode::Off => "comes when it is asked for: taos-setup image fetch",
    })
}
