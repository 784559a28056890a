//! Images: what the daemon has of them, and the commands that change that.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use anyhow::{Context as _, Result};
use serde::Deserialize;

use super::commands::{incus, words};
use super::{ask, read};
use crate::facts::{root_of, PoolUser, Server};
use crate::host::{CommandError, Machine};
use crate::plan::image::{projects, Digest, Stored, Target, ALIAS};

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
    /// The usable pools on which launches clone an unpacked image, and the images unpacked there.
    pub unpacked: BTreeMap<String, BTreeSet<String>>,
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

    /// The pools that launches use and that do not have an image unpacked yet.
    #[must_use]
    pub fn cold_pools(&self, fingerprint: &str) -> BTreeSet<String> {
        self.targets
            .iter()
            .filter_map(|target| target.pool.clone())
            .filter(|pool| {
                self.unpacked
                    .get(pool)
                    .is_some_and(|images| !images.contains(fingerprint))
            })
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
        .filter(|pool| pool.status == "Created" && pool.copy_on_write())
        .map(|pool| {
            let images = pool.users.iter().filter_map(|user| match user {
                PoolUser::Image { fingerprint } => Some(fingerprint.clone()),
                _ => None,
            });
            (pool.name.clone(), images.collect())
        })
        .collect();
    let left_over = server
        .instances
        .iter()
        .filter(|instance| {
            instance.scratch.is_some()
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
        left_over,
    })
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

/// Makes an instance that is never started, only to have its image unpacked on a pool.
#[must_use]
pub fn unpack(image: &Digest, pool: &str) -> (String, Vec<String>) {
    let process = std::process::id();
    let name = format!("{SCRATCH}{process}");
    let mark = format!("{SCRATCH_MARK}={process}");
    let mut argv = incus(&["init", image.as_str(), &name, "--storage", pool]);
    argv.extend(words(&["--no-profiles", "--config", &mark]));
    argv.extend(words(&["--project", "default", "--quiet"]));
    (name, argv)
}

/// Removes what of an image is unpacked on a pool; the image itself stays.
#[must_use]
pub fn forget_unpacked(fingerprint: &str, pool: &str) -> Vec<String> {
    let volume = format!("image/{fingerprint}");
    incus(&["storage", "volume", "delete", pool, &volume])
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
pub fn free_of_pool(machine: &Machine, pool: &str) -> Result<u64> {
    let text = ask(machine, &format!("/1.0/storage-pools/{pool}/resources"))
        .with_context(|| format!("asking how full pool {pool} is"))?;
    let space = read::space(&text)?;
    Ok(space.total.0.saturating_sub(space.used.0))
}
