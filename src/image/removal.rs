//! Taking the image away again, as the way back of a set-up that fetched it.

use anyhow::Result;

use super::{look, take_lock};
use crate::host::{download, Machine};
use crate::incus::images;
use crate::plan::image::ALIAS;

/// The command that removes the image from a project.
#[must_use]
pub fn command(project: &str) -> Vec<String> {
    images::delete(ALIAS, project)
}

/// Removes the image from these projects, and what there is of a fetch.
///
/// # Errors
/// If it is being fetched, or Incus refuses.
pub fn take_away(machine: &Machine, projects: &[String]) -> Result<()> {
    let _lock = take_lock(machine)?;
    let (_, store) = look(machine)?;
    for project in projects {
        let here =
            |image: &&crate::plan::image::Stored| image.project == *project && image.is_base();
        if store.images.iter().any(|image| here(&image)) {
            machine.run(&command(project), machine.bounds.change)?;
        }
    }
    download::remove(&machine.paths.image_folder)?;
    match std::fs::remove_file(&machine.paths.image_status) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => Err(error.into()),
        _ => Ok(()),
    }
}
