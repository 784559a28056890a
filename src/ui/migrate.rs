//! Migrations: the list to choose from, and how they ended.

use dialoguer::console::{measure_text_width, truncate_str};
use dialoguer::theme::ColorfulTheme;
use dialoguer::MultiSelect;

use super::Ui;
use crate::report::{Ending, Moved};
use crate::step::migration::Part;
use crate::step::Step;

/// Columns for the mark and the tick before a line, and one to spare.
const TICKS: usize = 6;

impl Ui {
    /// Lets the person tick lines, none of which is ticked to begin with; none at the end of input,
    /// or if they went away from it.
    #[must_use]
    pub fn tick(&self, question: &str, lines: &[String]) -> Option<Vec<usize>> {
        let _held = self.signals.hold();
        // A line that the terminal breaks would be left standing each time the list is drawn again.
        let room = self.columns().saturating_sub(TICKS).max(TICKS);
        if lines.iter().any(|line| measure_text_width(line) > room) {
            for line in lines {
                self.print(&self.wrapped(line, "  ", "    "));
            }
        }
        let keys = "space ticks, enter goes on";
        let mut prompt = format!("{question} ({keys})");
        if measure_text_width(&prompt) > room {
            self.print(&self.wrapped(&format!("{keys}:"), "", ""));
            question.clone_into(&mut prompt);
        }
        let short = lines.iter().map(|line| truncate_str(line, room, "…"));
        MultiSelect::with_theme(&ColorfulTheme::default())
            .with_prompt(prompt)
            .items(short)
            .report(false)
            .interact_opt()
            .ok()
            .flatten()
    }

    /// What became of the containers, where something else is how the call ends.
    pub fn show_moved(&self, ending: &Ending) {
        if let Ending::Migrated(moved) = ending {
            self.show_migrated(moved);
        }
    }

    /// What became of each container, as a table.
    pub(super) fn show_migrated(&self, moved: &[Moved]) {
        if !self.quiet {
            self.heading("Migrated");
            let width = moved.iter().map(|it| it.name.len()).max().unwrap_or(0);
            for it in moved {
                let Moved {
                    name, pool, kept, ..
                } = it;
                let kept = kept.as_ref().map_or("its original is gone".into(), |it| {
                    format!("its original is {it}")
                });
                let line = match (&it.error, it.downtime_seconds) {
                    (Some(_), _) => format!("  ✗ {name:width$}  is where it was"),
                    (None, Some(seconds)) => {
                        format!("  ✓ {name:width$}  on {pool}, down for {seconds:.1} s; {kept}")
                    }
                    (None, None) => {
                        format!("  ✓ {name:width$}  on {pool}; {kept}")
                    }
                };
                self.print(&self.wrapped(&line, "", "    "));
            }
            if moved
                .iter()
                .any(|it| it.error.is_none() && it.kept.is_some())
            {
                self.item(
                    "back",
                    "taos-setup migrate --rollback NAME, with all it wrote since",
                );
                self.item(
                    "finish",
                    "taos-setup migrate --finish NAME deletes the original",
                );
            }
        }
        for Moved {
            name, error, note, ..
        } in moved
        {
            if let Some(note) = note {
                let hint = format!("let it go later: taos-setup migrate --finish {name}");
                self.error(&format!("{name}: its original is kept: {note}"), &[hint]);
            }
            if let Some(error) = error {
                let hint = format!("{name} is where it was, and as it was");
                self.error(&format!("{name}: {error}"), &[hint]);
            }
        }
    }
}

/// Which containers are stopped, moved or deleted.
pub(super) fn touched(steps: &[Step]) -> String {
    let names = |wanted: &dyn Fn(Part) -> bool| -> Vec<String> {
        steps
            .iter()
            .filter_map(|step| match step {
                Step::Migrate { part, of } if wanted(*part) => Some(of.name.to_string()),
                _ => None,
            })
            .collect()
    };
    let stopped = names(&|part| part == Part::Stop);
    let moved = names(&|part| part == Part::Switch);
    let deleted = names(&|part| part == Part::DeleteKept);
    let mut text = Vec::new();
    if !stopped.is_empty() {
        text.push(format!(
            "Stopped for a few seconds, one after the other: {}.",
            stopped.join(", ")
        ));
    }
    if !moved.is_empty() {
        text.push(format!(
            "Moved: {}. {}; if anything fails, it is put back.",
            moved.join(", "),
            if deleted.is_empty() {
                "Each original is kept"
            } else {
                "Each original is kept until its copy has run for a while"
            }
        ));
    }
    let bare = names(&|part| part == Part::Move);
    if !bare.is_empty() {
        text.push(format!(
            "Moved with NO original kept, and no way back: {}.",
            bare.join(", ")
        ));
    }
    let lesser = names(&|part| part == Part::DeleteStray);
    if !lesser.is_empty() {
        text.push(format!(
            "DELETED for good is what a move left beside: {}.",
            lesser.join(", ")
        ));
    }
    let adopted = names(&|part| part == Part::Adopt);
    if !adopted.is_empty() {
        text.push(format!(
            "Given its name again is what a move left of: {}.",
            adopted.join(", ")
        ));
    }
    if !deleted.is_empty() {
        text.push(format!(
            "DELETED for good is the original of: {}.",
            deleted.join(", ")
        ));
    }
    text.push("No other instance is touched.".into());
    text.join(" ")
}
