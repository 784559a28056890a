//! Launching scratch instances to see how long it takes.

use std::path::Path;
use std::time::Instant;

use anyhow::{bail, Result};

use crate::facts::{Facts, Image, Pool, Server};
use crate::host::{CommandError, Machine};
use crate::status::{Launch, BASE_IMAGE};

/// Marks an instance as this program's own, with the process that made it.
const MARK: &str = "user.taos-setup.scratch";
/// Not `taos-agent-`: what begins so is an agent's.
const PREFIX: &str = "taos-probe-";

/// Launches and removes a scratch instance on each usable pool.
///
/// # Errors
/// If there is no daemon, or no image to launch.
pub fn measure(machine: &Machine, facts: &Facts) -> Result<Vec<Launch>> {
    let Some(server) = facts.server() else {
        bail!("measuring launches: the Incus daemon does not answer");
    };
    remove_left_over(machine, server);
    let Some(image) = image(server) else {
        bail!(
            "measuring launches: there is no container image in project default; get one with: \
             incus image copy images:alpine/edge local:"
        );
    };
    let usable = server.pools.iter().filter(|pool| pool.status == "Created");
    Ok(usable
        .take_while(|_| !machine.signals.stop_asked())
        .map(|pool| on_pool(machine, pool, image))
        .collect())
}

/// The base image, or else the smallest there is.
fn image(server: &Server) -> Option<&Image> {
    let mut images: Vec<&Image> = server
        .images
        .iter()
        .filter(|image| image.container && image.project == "default")
        .collect();
    images.sort_by_key(|image| {
        (
            !image.aliases.iter().any(|alias| alias == BASE_IMAGE),
            image.size,
        )
    });
    images.first().copied()
}

fn on_pool(machine: &Machine, pool: &Pool, image: &Image) -> Launch {
    let mut launch = Launch {
        pool: pool.name.clone(),
        driver: pool.driver.clone(),
        image: image
            .aliases
            .first()
            .cloned()
            .unwrap_or_else(|| image.fingerprint.clone()),
        first_create: 0.0,
        create: 0.0,
        start: 0.0,
        error: None,
    };
    let name = format!("{PREFIX}{}", std::process::id());
    let result = timed(&mut launch, machine, &name, image);
    // Also after a failure half-way; what is not there cannot be deleted, and that is fine.
    let deleted = delete(machine, &name);
    launch.error = result.and(deleted).err().map(|error| error.to_string());
    launch
}

fn timed(
    launch: &mut Launch,
    machine: &Machine,
    name: &str,
    image: &Image,
) -> Result<(), CommandError> {
    let mark = format!("{MARK}={}", std::process::id());
    let create = [
        "init",
        &image.fingerprint,
        name,
        "--storage",
        &launch.pool.clone(),
        "--no-profiles",
        "--config",
        &mark,
    ];
    launch.first_create = time(machine, &create)?;
    delete(machine, name)?;
    launch.create = time(machine, &create)?;
    launch.start = time(machine, &["start", name])?;
    Ok(())
}

fn time(machine: &Machine, words: &[&str]) -> Result<f64, CommandError> {
    let begun = Instant::now();
    run(machine, words)?;
    Ok(begun.elapsed().as_secs_f64())
}

fn delete(machine: &Machine, name: &str) -> Result<(), CommandError> {
    run(machine, &["delete", "--force", name])
}

fn run(machine: &Machine, words: &[&str]) -> Result<(), CommandError> {
    let mut argv: Vec<String> = ["incus", "--force-local", "--project", "default"]
        .map(String::from)
        .to_vec();
    argv.extend(words.iter().map(ToString::to_string));
    machine.run(&argv, machine.bounds.change).map(drop)
}

/// Removes scratch instances of processes that were killed.
fn remove_left_over(machine: &Machine, server: &Server) {
    for instance in &server.instances {
        let Some(process) = &instance.scratch else {
            continue;
        };
        let ours = instance.reference.project == "default"
            && instance.reference.name.starts_with(PREFIX)
            && !Path::new("/proc").join(process).exists();
        if ours {
            // It is tried again the next time.
            let _ = delete(machine, &instance.reference.name);
        }
    }
}
