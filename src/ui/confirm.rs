//! A question to which only a typed yes is one.

use std::io::Write as _;

use dialoguer::console::style;

use super::Ui;

impl Ui {
    /// Says what it is about, and asks; everything but yes is no.
    #[must_use]
    pub fn confirm(&self, about: &str, question: &str) -> bool {
        let _held = self.signals.hold();
        self.print("");
        self.print(&self.wrapped(about, "  ! ", "    "));
        loop {
            let _ = write!(
                std::io::stderr(),
                "{} yes / no [no]: ",
                style(question).for_stderr().bold()
            );
            let Some(line) = self.line() else {
                let _ = writeln!(std::io::stderr());
                return false;
            };
            match line.trim().to_lowercase().as_str() {
                "y" | "yes" => return true,
                "" | "n" | "no" => return false,
                _ => {
                    let _ = writeln!(std::io::stderr(), "Please type yes or no.");
                }
            }
        }
    }
}
