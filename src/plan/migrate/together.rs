//! Whether two containers are copied at a time.

use super::Approved;
use crate::facts::Server;
use crate::step::migration::{Migration, Part};
use crate::step::Step;

/// Whether the copy that the second run begins with may be made beside that of the first: nothing is
/// deleted in between to make room, and neither project limits how many instances there are.
#[must_use]
pub fn may_be_copied_together(server: &Server, run: &Approved, next: &Approved) -> bool {
    let deletes = |step: &Step| {
        matches!(
            step,
            Step::Migrate {
                part: Part::DeleteKept,
                ..
            }
        )
    };
    let unlimited = |of: &Migration| {
        let project = server.projects.get(&of.name.project);
        project.is_some_and(|config| config.keys().all(|key| !key.starts_with("limits.")))
    };
    [run, next]
        .iter()
        .all(|run| copied_first(run).is_some_and(unlimited) && !run.steps().iter().any(deletes))
}

/// The container that a run begins to copy.
fn copied_first(run: &Approved) -> Option<&Migration> {
    match run.steps().first() {
        Some(Step::Migrate {
            part: Part::Copy,
            of,
        }) => Some(of),
        _ => None,
    }
}
