//! Launching scratch instances to see how long it takes.

use std::path::Path;
use std::time::{Duration, Instant};

use anyhow::{bail, Result};

use crate::facts::{Facts, Image, Pool, Reference, Server};
use crate::host::{service, CommandError, Machine};
use crate::status::{Launch, BASE_IMAGE};

/// Marks an instance as this program's own, with the process that made it.
const MARK: &str = "user.taos-setup.scratch";
/// Not `taos-agent-`: what begins so is an agent's.
const PREFIX: &str = "taos-probe-";
/// How long an address is waited for.
const ADDRESS: Duration = Duration::from_secs(10);

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
        .map(|pool| on_pool(machine, pool, image, server))
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

fn on_pool(machine: &Machine, pool: &Pool, image: &Image, server: &Server) -> Launch {
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
        launch: 0.0,
        idmap_restart: None,
        network_ready: None,
        total: None,
        error: None,
    };
    let name = format!("{PREFIX}{}", std::process::id());
    let result = timed(&mut launch, machine, &name, image, server);
    // Also after a failure half-way; what is not there cannot be deleted, and that is fine.
    let deleted = delete(machine, &name);
    launch.add_up();
    launch.error = result.and(deleted).err().map(|error| error.to_string());
    launch
}

fn timed(
    launch: &mut Launch,
    machine: &Machine,
    name: &str,
    image: &Image,
    server: &Server,
) -> Result<(), CommandError> {
    let network = bridge(server);
    let mark = format!("{MARK}={}", std::process::id());
    let pool = launch.pool.clone();
    let mut create = vec![
        "init",
        &image.fingerprint,
        name,
        "--storage",
        &pool,
        "--no-profiles",
        "--config",
        &mark,
    ];
    if !network.is_empty() {
        create.extend(["--network", network]);
    }
    if let Some(here) = server.here() {
        create.extend(["--target", here]);
    }
    launch.first_create = time(machine, &create)?;
    delete(machine, name)?;
    launch.create = time(machine, &create)?;
    launch.start = time(machine, &["start", name])?;
    deploy(launch, machine, name, network)
}

/// The rest of what a deploy does: another mapping of ids, and waiting for the network.
fn deploy(
    launch: &mut Launch,
    machine: &Machine,
    name: &str,
    network: &str,
) -> Result<(), CommandError> {
    // As agents have it: the user of the host's service is the same one inside.
    let user = service::users().first().copied().unwrap_or(1000);
    let map = format!("raw.idmap=both {user} {user}");
    let begun = Instant::now();
    // Where the host does not let containers have that user, agents do without it, too.
    if run(machine, &["config", "set", name, &map]).is_ok() {
        if run(machine, &["restart", "--force", name]).is_ok() {
            launch.idmap_restart = Some(begun.elapsed().as_secs_f64());
        } else {
            run(machine, &["config", "unset", name, "raw.idmap"])?;
            run(machine, &["start", name])?;
        }
    }
    if network.is_empty() {
        return Ok(());
    }
    let begun = Instant::now();
    while begun.elapsed() < ADDRESS && !machine.signals.stop_asked() {
        let path = format!("/1.0/instances/{name}/state?project=default");
        let argv = ["incus", "query", "--force-local", &path].map(String::from);
        let state = machine.run(&argv, machine.bounds.query)?.stdout;
        if has_address(&state) {
            launch.network_ready = Some(begun.elapsed().as_secs_f64());
            break;
        }
        std::thread::sleep(Duration::from_millis(100));
    }
    Ok(())
}

/// Whether an instance's state shows an address that others can reach.
fn has_address(state: &str) -> bool {
    let state: serde_json::Value = serde_json::from_str(state).unwrap_or_default();
    let cards = state["network"].as_object();
    cards.into_iter().flatten().any(|(_, card)| {
        let addresses = card["addresses"].as_array();
        addresses
            .into_iter()
            .flatten()
            .any(|address| address["family"] == "inet" && address["scope"] == "global")
    })
}

/// The bridge that launches in project `default` get a card on; empty without one.
fn bridge(server: &Server) -> &str {
    let reference = Reference::new("default", "default");
    let devices = server.profile(&reference).map(|profile| &profile.devices);
    let cards = devices.into_iter().flat_map(|devices| devices.values());
    cards
        .filter(|device| device.get("type").map(String::as_str) == Some("nic"))
        .find_map(|device| device.get("network"))
        .map_or("", String::as_str)
}

fn time(machine: &Machine, words: &[&str]) -> Result<f64, CommandError> {
    let begun = Instant::now();
    run(machine, words)?;
    Ok(begun.elapsed().as_secs_f64())
}

/// A container that has only just started or restarted may not let itself be stopped at once: the
/// daemon then says that it is running, and running is what it was to be stopped from.
fn delete(machine: &Machine, name: &str) -> Result<(), CommandError> {
    let delete = || run(machine, &["delete", "--force", name]);
    for _ in 0..10 {
        match delete() {
            Err(error) if error.words().contains("Failed stopping instance") => {
                std::thread::sleep(Duration::from_millis(300));
            }
            result => return result,
        }
    }
    delete()
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
            // Another member has processes of its own.
            && instance.location == server.here().unwrap_or_default()
            && !Path::new("/proc").join(process).exists();
        if ours {
            // It is tried again the next time.
            let _ = delete(machine, &instance.reference.name);
        }
    }
}
