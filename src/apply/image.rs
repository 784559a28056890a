//! The steps about the base image: shown, and run.

use std::os::fd::BorrowedFd;

use anyhow::Result;

use crate::host::{command::shown, Machine};
use crate::image;
use crate::step::image::options;
use crate::step::Step;

/// The commands of a step, as they could be typed; none for other steps.
pub(super) fn commands(step: &Step) -> Option<Vec<String>> {
    match step {
        Step::ArrangeImage { to, .. } => Some(image::commands_to_arrange(to.as_ref())),
        Step::FetchImage {
            wanted, detached, ..
        } => {
            let mut words = vec!["taos-setup".to_owned(), "image".into(), "fetch".into()];
            if *detached {
                words.push("--detach".into());
            }
            words.extend(options(wanted));
            Some(vec![shown(&words)])
        }
        Step::RemoveImage { projects } => Some(
            projects
                .iter()
                .map(|project| shown(&image::command_to_remove(project)))
                .collect(),
        ),
        _ => None,
    }
}

/// Does what a step says; nothing for other steps.  Fetching is not done here, as that shows a bar.
pub(super) fn perform(machine: &Machine, lock: BorrowedFd<'_>, step: &Step) -> Option<Result<()>> {
    // Should this program be killed now, the lock stays until the command is through.
    crate::journal::inherit(lock, true);
    let result = match step {
        Step::ArrangeImage { to, .. } => Some(image::arrange(machine, to.as_ref())),
        Step::RemoveImage { projects } => Some(image::take_away(machine, projects)),
        _ => None,
    };
    crate::journal::inherit(lock, false);
    result
}
