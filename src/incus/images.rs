//! Images: what the daemon has of them, and the commands that change that.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use anyhow::{Context as _, Result};
use serde::Deserialize;

use super::commands::{incus, words};
use super::{ask, read};
use crate::facts::{root_of, Server};
use crate::host::{CommandError, Machine};
use crate::plan::image::{projects, Digest, Spot, Stored, Target, ALIAS};

const IMAGES: &str = "/1.0/images?recursion=1&all-projects=true";
/// Marks an image that this program imported, or took the alias from.
const MARK: &str = "taos-setup.image";
/// The mark of one that was imported.
pub(super) const MARKED: &str = "taos-setup.image=imported";
/// Marks an instance as this program's own; `apply::measure` looks for it, too.
const SCRATCH_MARK: &str = "user.taos-setup.scratch";
/// How the names of the instances begin that only unpack an image.
const SCRATCH: &str = "taos-warm-";

/// What the daemon has, as far as images are concerned.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Store {
    pub images: Vec<Stored>,
    /// The projects in which the application may look.
    pub targets: Vec<Target>,
    /// The fingerprints of images that instances were made from.
    pub in_use: BTreeSet<String>,
    /// Where launches clone an unpacked image, and the images unpacked there.
    pub unpacked: BTreeMap<Spot, BTreeSet<String>>,
    /// Members of the cluster on which nothing can be unpacked, and why.
    pub not_on: Vec<(String, String)>,
    /// Of how many members Incus keeps the file of an image on, in a cluster, as it is configured.
    pub copies: Option<String>,
    /// Scratch instances of runs that were killed.
    pub left_over: Vec<String>,
}

impl Store {
    /// The image that has the alias in each target; none where one has not.
    #[must_use]
    pub fn ready(&self) -> Option<&str> {
        let mut first = None;
        for target in &self.targets {
            let found = self
                .images
                .iter()
                .find(|image| image.project == target.project && image.is_base())?;
            first = first.or(Some(found.fingerprint.as_str()));
        }
        first
    }

    #[must_use]
    pub fn has(&self, project: &str, fingerprint: &str) -> bool {
        self.images
            .iter()
            .any(|image| image.project == project && image.fingerprint == fingerprint)
    }

    /// Where launches need an image unpacked.
    pub fn spots(&self) -> impl Iterator<Item = (&Spot, &BTreeSet<String>)> {
        let used = |pool: &String| {
            let mut targets = self.targets.iter();
            targets.any(|target| target.pool.as_ref() == Some(pool))
        };
        self.unpacked
            .iter()
            .filter(move |(spot, _)| used(&spot.pool))
    }

    /// Where launches need an image that is not unpacked there yet.
    #[must_use]
    pub fn cold_spots(&self, fingerprint: &str) -> BTreeSet<Spot> {
        self.spots()
            .filter(|(_, images)| !images.contains(fingerprint))
            .map(|(spot, _)| spot.clone())
            .collect()
    }
}

/// Asks the daemon.
///
/// # Errors
/// If it does not answer, or answers what this program cannot read.
pub fn store(machine: &Machine, server: &Server, service_users: &[u32]) -> Result<Store> {
    let images = ask(machine, IMAGES)?;
    let existing: BTreeSet<String> = server
        .profiles
        .iter()
        .map(|profile| profile.reference.project.clone())
        .collect();
    let targets = projects(&existing, service_users)
        .into_iter()
        .map(|project| Target {
            pool: server
                .profiles
                .iter()
                .find(|profile| {
                    profile.reference.project == project && profile.reference.name == "default"
                })
                .and_then(|profile| root_of(&profile.devices)?.1.get("pool").cloned()),
            project,
        })
        .collect();
    let unpacked = server
        .pools
        .iter()
        .flat_map(|pool| {
            let places = server.unpacked_on(pool).into_iter();
            places.map(|place| {
                let spot = Spot {
                    pool: pool.name.clone(),
                    member: place.member,
                };
                (spot, place.images)
            })
        })
        .collect();
    let not_on = server.not_launched_on().into_iter();
    let not_on = not_on.map(|(member, why)| (member.name.clone(), why));
    let left_over = server
        .instances
        .iter()
        .filter(|instance| {
            let maker = instance.scratch.as_deref();
            maker.is_some_and(|maker| made_here(maker, server.here()))
                && instance.reference.project == "default"
                && instance.reference.name.starts_with(SCRATCH)
        })
        .map(|instance| instance.reference.name.clone())
        .collect();
    Ok(Store {
        images: stored(&images)?,
        targets,
        in_use: server
            .instances
            .iter()
            .filter_map(|it| it.record.config.get("volatile.base_image").cloned())
            .collect(),
        unpacked,
        not_on: not_on.collect(),
        copies: copies(machine, server)?,
        left_over,
    })
}

/// Whether a run on this host made it: others have a lock of their own, and may be at work.
fn made_here(maker: &str, here: Option<&str>) -> bool {
    let member = maker.split_once('@').map(|(_, member)| member);
    member.is_none() || member == here
}

fn copies(machine: &Machine, server: &Server) -> Result<Option<String>> {
    #[derive(Deserialize, Default)]
    struct Document {
        #[serde(default)]
        config: BTreeMap<String, serde_json::Value>,
    }
    if server.cluster.is_none() {
        return Ok(None);
    }
    let document: Document = read::parse(&ask(machine, "/1.0")?, "the server's configuration")?;
    let set = document.config.get("cluster.images_minimal_replica");
    let set = set.and_then(|value| value.as_str().map(ToOwned::to_owned));
    // What Incus takes where nothing is set.
    Ok(Some(set.unwrap_or_else(|| "3".to_owned())))
}

/// Reads the images again.
///
/// # Errors
/// As [`store`].
pub fn refresh(machine: &Machine, store: &mut Store) -> Result<()> {
    store.images = stored(&ask(machine, IMAGES)?)?;
    Ok(())
}

fn stored(text: &str) -> Result<Vec<Stored>> {
    #[derive(Deserialize)]
    struct Document {
        fingerprint: String,
        #[serde(default)]
        project: String,
        aliases: Option<Vec<Alias>>,
        properties: Option<BTreeMap<String, String>>,
    }
    #[derive(Deserialize)]
    struct Alias {
        name: String,
    }
    let documents: Vec<Document> = read::parse(text, "the images")?;
    Ok(documents
        .into_iter()
        .map(|document| Stored {
            project: document.project,
            fingerprint: document.fingerprint,
            aliases: document
                .aliases
                .unwrap_or_default()
                .into_iter()
                .map(|alias| alias.name)
                .collect(),
            marked: document
                .properties
                .is_some_and(|properties| properties.contains_key(MARK)),
        })
        .collect())
}

/// Imports a file, without an alias.
#[must_use]
pub fn import(file: &Path, project: &str) -> Vec<String> {
    let file = file.display().to_string();
    incus(&["image", "import", &file, MARKED, "--project", project])
}

/// Waits for the end of what the daemon does; fails if that did.
#[must_use]
pub fn wait_for(operation: &str) -> Vec<String> {
    let mut argv = words(&["incus", "query", "--force-local"]);
    argv.push(format!("{operation}/wait"));
    argv
}

/// Gives an image the alias, which nothing has yet.
#[must_use]
pub fn create_alias(image: &Digest, project: &str) -> Vec<String> {
    let image = image.as_str();
    incus(&[
        "image",
        "alias",
        "create",
        ALIAS,
        image,
        "--project",
        project,
    ])
}

/// Moves the alias to an image, in one step.
#[must_use]
pub fn move_alias(image: &Digest, project: &str) -> Vec<String> {
    let target = format!("{{\"target\":\"{image}\"}}");
    let path = format!("/1.0/images/aliases/{ALIAS}?project={project}");
    let mut argv = words(&["incus", "query", "--force-local", "-X", "PUT", "-d"]);
    argv.extend([target, path]);
    argv
}

/// Marks an image, so that a later run knows that it may go.
#[must_use]
pub fn mark(fingerprint: &str, project: &str) -> Vec<String> {
    let key = ["image", "set-property", fingerprint, MARK, "replaced"];
    let mut argv = incus(&key);
    argv.extend(words(&["--project", project]));
    argv
}

#[must_use]
pub fn delete(fingerprint: &str, project: &str) -> Vec<String> {
    incus(&["image", "delete", fingerprint, "--project", project])
}

/// Makes an instance that is never started, only to have its image unpacked; `here` is the member of
/// the cluster that this program runs on.
#[must_use]
pub fn unpack(image: &Digest, on: &Spot, here: Option<&str>) -> (String, Vec<String>) {
    let process = std::process::id();
    let name = format!("{SCRATCH}{process}");
    let maker = here.map_or_else(|| process.to_string(), |here| format!("{process}@{here}"));
    let mark = format!("{SCRATCH_MARK}={maker}");
    let mut argv = incus(&["init", image.as_str(), &name, "--storage", &on.pool]);
    argv.extend(words(&["--no-profiles", "--config", &mark]));
    argv.extend(words(&["--project", "default", "--quiet"]));
    argv.extend(target(on));
    (name, argv)
}

fn target(spot: &Spot) -> Vec<String> {
    match spot.member.as_str() {
        "" => Vec::new(),
        member => words(&["--target", member]),
    }
}

/// Removes what of an image is unpacked somewhere; the image itself stays.
#[must_use]
pub fn forget_unpacked(fingerprint: &str, on: &Spot) -> Vec<String> {
    let volume = format!("image/{fingerprint}");
    let mut argv = incus(&["storage", "volume", "delete", &on.pool, &volume]);
    argv.extend(target(on));
    argv
}

#[must_use]
pub fn delete_scratch(name: &str) -> Vec<String> {
    incus(&["delete", "--force", name, "--project", "default"])
}

/// Whether the daemon, asked as any user may ask it, has the alias in the project of that user.
///
/// # Errors
/// If it does not answer.
pub fn visible(machine: &Machine) -> Result<bool, CommandError> {
    let argv = words(&[
        "incus",
        "image",
        "list",
        "--format=csv",
        "--columns=l",
        "--force-local",
    ]);
    let listed = machine.run(&argv, machine.bounds.query)?;
    Ok(listed.stdout.lines().any(|line| line.trim() == ALIAS))
}

/// What is asked of a pool that a file is unpacked on.
///
/// # Errors
/// If the daemon does not answer.
pub fn free_of_pool(machine: &Machine, on: &Spot) -> Result<u64> {
    let mut path = format!("/1.0/storage-pools/{}/resources", on.pool);
    if !on.member.is_empty() {
        path = format!("{path}?target={}", on.member);
    }
    let text = ask(machine, &path).with_context(|| format!("asking how full {on} is"))?;
    let space = read::space(&text)?;
    Ok(space.total.0.saturating_sub(space.used.0))
}
