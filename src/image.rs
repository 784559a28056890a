//! The base image: fetched, proven, imported, unpacked, and only then given its name.
//!
//! There is no journal.  Each point that a run can be killed at leaves something that the next one
//! recognises by itself: a partial file with what it is of; an image without an alias, whose
//! fingerprint is the digest of its file; a marked scratch instance; a marked image that lost its
//! alias.  `docs/decisions/0011-image-without-journal.md` says why.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::time::Duration;

use anyhow::{bail, Context as _, Result};

use crate::apply::wait_until_ready;
use crate::facts::{Bytes, Facts, Incus, Server};
use crate::host::download::{self, Client, Patience, Trouble};
use crate::host::{room, service, CommandError, Machine};
use crate::incus::images::{self, Store};
use crate::incus::upload::Held;
use crate::journal::{Lock, NotLocked};
use crate::plan::image::{Digest, Proof, Spot, Url, RESERVE};
use crate::plan::Refusal;
use crate::ui::Ui;

mod commands;
mod ending;
mod ensure;
mod hand_over;
mod install;
mod members;
mod progress;
mod proof;
mod removal;
mod service_mode;
mod wanted;
mod watch;

pub use commands::{remove, show, verify};
pub use ending::Ending;
pub use ensure::{detach, detach_and_wait, ensure, Readiness};
pub use progress::{OnMember, Progress, Stage};
pub use removal::{command as command_to_remove, take_away};
pub use service_mode::{
    arrange, commands as commands_to_arrange, due, due_soon, environment_of, trigger,
};

use hand_over::HandOver;
use progress::Reporter;
use proof::{expected, NoProof};
use watch::{Unpacking, Watcher};

/// Where the image comes from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Source {
    Url(Url),
    File(PathBuf),
}

impl Source {
    /// The name under which a list of digests has it.
    #[must_use]
    pub fn name(&self) -> String {
        match self {
            Self::Url(url) => url.name().to_owned(),
            Self::File(path) => path
                .file_name()
                .unwrap_or_default()
                .to_string_lossy()
                .into_owned(),
        }
    }

    /// For people, and for the status that anybody may read.
    #[must_use]
    pub fn shown(&self) -> String {
        match self {
            Self::Url(url) => url.plain(),
            Self::File(path) => path.display().to_string(),
        }
    }
}

/// Which image is wanted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Wanted {
    pub source: Source,
    /// `--image-sha256`.
    pub sha256: Option<Digest>,
    /// `--image-key`.
    pub key: Option<String>,
    /// `--insecure-no-digest`.
    pub insecure: bool,
    /// Also if there is an image already.
    pub refresh: bool,
}

/// How a fetch ended, and of which image.
#[derive(Debug)]
pub struct Fetch {
    pub ending: Ending,
    /// Of the image that is in place.
    pub fingerprint: Option<String>,
    /// What it was checked against, in words; none if it was here before.
    pub proof: Option<String>,
}

/// Fetches the image and puts it in place, if it is not there yet.
#[must_use]
pub fn fetch(machine: &Machine, ui: &Ui, wanted: &Wanted) -> Fetch {
    fetch_under(machine, ui, wanted, None)
}

/// As [`fetch`], as a part of a set-up that has locked out others already.
#[must_use]
pub fn fetch_under(machine: &Machine, ui: &Ui, wanted: &Wanted, locked: Option<&Lock>) -> Fetch {
    let lock = match take_lock(machine) {
        Ok(lock) => lock,
        Err(error) => {
            return Fetch {
                ending: error.into(),
                fingerprint: None,
                proof: None,
            }
        }
    };
    let _held = machine.signals.hold();
    let mut run = Run {
        machine,
        wanted,
        lock,
        reporter: Reporter::new(&machine.paths.image_status, wanted.source.shown()),
        show: ui.fetching(),
        set_up_waits: locked.is_some(),
        held: None,
        clustered: false,
        cold: BTreeMap::new(),
    };
    let mut ending = run.fetch().unwrap_or_else(|ending| ending);
    run.held = None;
    run.show.end();
    if let Ending::Done(message) = &mut ending {
        run.tell_of_members(message);
    }
    match &ending {
        Ending::Done(_) => {
            run.reporter.stage(Stage::Done);
            service_mode::finished(machine);
        }
        Ending::Failed { error, .. } => run.reporter.failed(error),
        Ending::Refused(refusal) => run.reporter.failed(&refusal.what),
        Ending::Stopped => run.reporter.stage(Stage::Idle),
    }
    let in_place = matches!(ending, Ending::Done(_));
    let Progress {
        fingerprint, proof, ..
    } = run.reporter.progress;
    Fetch {
        ending,
        fingerprint: fingerprint.filter(|_| in_place),
        proof: proof.filter(|_| in_place),
    }
}

/// One at a time.
fn take_lock(machine: &Machine) -> Result<Lock> {
    if !nix::unistd::geteuid().is_root() {
        bail!(Refusal::new(
            "fetching the base image has to run as root: the image store is root's",
            ["run it again as: sudo taos-setup image fetch"],
        ));
    }
    let folder = machine.paths.state.join("image");
    Lock::acquire(&folder, machine.bounds.change, || ()).map_err(|error| match error {
        NotLocked::Held { by } => Refusal::new(
            format!("the base image is being fetched already: {by}"),
            ["to see how far it is: taos-setup image status --watch"],
        )
        .into(),
        NotLocked::Failed(error) => error,
    })
}

/// One fetch, with all that it works with.
struct Run<'a> {
    machine: &'a Machine,
    wanted: &'a Wanted,
    lock: Lock,
    reporter: Reporter,
    show: crate::ui::Fetching<'a>,
    /// Whether this is a part of a set-up, which keeps others out.
    set_up_waits: bool,
    /// What Incus has of the file, but for its end.
    held: Option<Held>,
    /// Whether there may be other members that need it.
    clustered: bool,
    /// Where it could not be unpacked on other members of the cluster, and why.
    cold: BTreeMap<Spot, String>,
}

/// A file that was proven to be the one that is wanted.
struct Proven {
    digest: Digest,
    bytes: Bytes,
    unpacked: Bytes,
    path: PathBuf,
    proof: Proof,
}

impl Run<'_> {
    fn fetch(&mut self) -> Result<Ending, Ending> {
        let (server, store) = first_look(self.machine)?;
        let here = store.ready().map(ToOwned::to_owned);
        if let (Some(here), false) = (&here, self.wanted.refresh) {
            let digest: Digest = here.parse().map_err(|_| odd(here))?;
            self.reporter.progress.fingerprint = Some(here.clone());
            self.install(&digest, None)?;
            self.remove_file()?;
            return Ok(Ending::Done(format!(
                "the base image is here already ({}); to look for a newer one: taos-setup image \
                 fetch --refresh",
                digest.short()
            )));
        }
        self.reporter.stage(Stage::Downloading);
        let client = Client::new(Patience::from_bounds(&self.machine.bounds));
        let (digest, proof) = self.expected(&client)?;
        if let Some(digest) = &digest {
            if here.as_deref() == Some(digest.as_str()) {
                self.install(digest, None)?;
                self.remove_file()?;
                return Ok(Ending::Done(format!(
                    "the base image that is published is the one that is here ({})",
                    digest.short()
                )));
            }
            // A run that was killed may have come so far, or it is there in another project.
            if store
                .images
                .iter()
                .any(|image| image.fingerprint == digest.as_str())
            {
                self.prove(digest, &proof);
                self.install(digest, None)?;
                self.remove_file()?;
                return Ok(in_place(digest, &proof));
            }
        }
        self.make_folder()?;
        let proven = match self.wanted.source.clone() {
            Source::Url(url) => {
                // An image that has the name, and is to keep it, is no reason for another one.
                let copy = self.wanted.refresh
                    || !store
                        .images
                        .iter()
                        .any(|image| image.project == hand_over::PROJECT && image.is_base());
                let pool = launch_pool(&server, store);
                let upload = HandOver::new(self.machine, digest.clone(), copy);
                self.download(&client, &url, (pool, upload), digest, proof)?
            }
            Source::File(path) => read_file(path, digest, proof)?,
        };
        self.prove(&proven.digest, &proven.proof);
        let result = self.install(&proven.digest, Some(&proven));
        // What was not used takes room no longer.
        self.held = None;
        if result.is_ok() || self.is_full(&result) {
            self.remove_file()?;
        }
        result?;
        Ok(in_place(&proven.digest, &proven.proof))
    }

    fn expected(&mut self, client: &Client) -> Result<(Option<Digest>, Proof), Ending> {
        let mut watch = Watcher::new(self.machine, &mut self.reporter, &self.show, (None, None));
        expected(client, self.wanted, &mut watch).map_err(|error| match error {
            NoProof::Refused(refusal) => Ending::Refused(refusal),
            NoProof::Trouble(trouble) => trouble.into(),
        })
    }

    fn prove(&mut self, digest: &Digest, proof: &Proof) {
        self.reporter.progress.fingerprint = Some(digest.to_string());
        self.reporter.progress.proof = Some(proof.to_string());
    }

    fn download(
        &mut self,
        client: &Client,
        url: &Url,
        (pool, mut upload): (Option<Unpacking>, HandOver<'_>),
        mut digest: Option<Digest>,
        mut proof: Proof,
    ) -> Result<Proven, Ending> {
        let folder = self.machine.paths.image_folder.clone();
        let mut again = true;
        self.show.say(&format!("Fetching {}", url.plain()));
        loop {
            let fetched = {
                let (reporter, pool) = (&mut self.reporter, pool.clone());
                let to = (pool, Some(&mut upload));
                let mut watch = Watcher::new(self.machine, reporter, &self.show, to);
                client.fetch(url, &folder, &mut watch)?
            };
            self.show.end();
            let right = |digest: &Option<Digest>| {
                digest
                    .as_ref()
                    .is_none_or(|digest| *digest == fetched.digest)
            };
            if !right(&digest) && self.wanted.sha256.is_none() {
                // It may have been published anew since its digest was read.
                (digest, proof) = self.expected(client)?;
                upload.expect(digest.as_ref());
            }
            match (&fetched.scan, right(&digest)) {
                (Ok(scan), true) => {
                    self.held = upload.hold(fetched.bytes.0);
                    return Ok(Proven {
                        digest: fetched.digest,
                        bytes: fetched.bytes,
                        unpacked: scan.unpacked,
                        path: folder.join(download::PARTIAL),
                        proof,
                    });
                }
                // Its parts may be of two versions.
                _ if fetched.resumed && again => {
                    again = false;
                    upload.start_over();
                    self.remove_file()?;
                    self.show.say("What came is not right; starting over.");
                }
                (scan, _) => {
                    self.remove_file()?;
                    return Err(Trouble::Wrong(wrong(
                        &url.plain(),
                        scan.as_ref().err(),
                        &fetched.digest,
                        digest.as_ref(),
                    ))
                    .into());
                }
            }
        }
    }

    /// Whether it failed for want of room: then the file is not kept for another try.
    fn is_full(&self, result: &Result<(), Ending>) -> bool {
        let Err(Ending::Failed { error, .. }) = result else {
            return false;
        };
        // Incus does not always say so.
        let nothing_left = room(&self.machine.paths.incus).is_ok_and(|room| room.free < RESERVE);
        nothing_left || is_full(error)
    }

    fn remove_file(&self) -> Result<()> {
        download::remove(&self.machine.paths.image_folder)
    }

    /// The folder for the file: nobody else may put anything into it.
    fn make_folder(&self) -> Result<()> {
        use std::os::unix::fs::{DirBuilderExt as _, MetadataExt as _};
        let folder = &self.machine.paths.image_folder;
        std::fs::DirBuilder::new()
            .recursive(true)
            .mode(0o700)
            .create(folder)
            .with_context(|| format!("creating {}", folder.display()))?;
        let data = folder
            .symlink_metadata()
            .with_context(|| format!("looking at {}", folder.display()))?;
        if !data.is_dir() || data.uid() != 0 || data.mode() & 0o077 != 0 {
            bail!(Refusal::new(
                format!(
                    "{} is not a folder that only root can use",
                    folder.display()
                ),
                ["remove it, or name another place: TAOS_TMPDIR=/some/where"],
            ));
        }
        Ok(())
    }
}

/// The pool that the image will be unpacked on.
fn launch_pool(server: &Server, store: Store) -> Option<Unpacking> {
    let pool = store.targets.into_iter().find_map(|target| target.pool)?;
    let on = Spot {
        pool,
        member: server.here().unwrap_or_default().to_owned(),
    };
    // On a pool that copies nothing is unpacked before a launch.
    store
        .unpacked
        .contains_key(&on)
        .then(|| Unpacking::on(server, &on))
}

/// A file that is here already: it is looked at like one that was fetched.
fn read_file(path: PathBuf, digest: Option<Digest>, proof: Proof) -> Result<Proven, Ending> {
    let (found, bytes, scan) = download::read_here(&path)?;
    let right = digest.as_ref().is_none_or(|digest| *digest == found);
    match scan {
        Ok(scan) if right => Ok(Proven {
            digest: found,
            bytes,
            unpacked: scan.unpacked,
            path,
            proof,
        }),
        scan => Err(Ending::failed(
            wrong(
                &path.display().to_string(),
                scan.as_ref().err(),
                &found,
                digest.as_ref(),
            ),
            "it was not imported; the file stays as it is",
        )),
    }
}

fn in_place(digest: &Digest, proof: &Proof) -> Ending {
    Ending::Done(format!(
        "the base image {} is in place; it was {proof}",
        digest.short()
    ))
}

fn wrong(
    what: &str,
    not_an_image: Option<&String>,
    found: &Digest,
    digest: Option<&Digest>,
) -> String {
    match (not_an_image, digest) {
        (Some(why), _) => format!("{what} is no image for this host: {why}"),
        (None, Some(digest)) => {
            format!("{what} is not what it should be: its digest is {found}, and not {digest}")
        }
        (None, None) => format!("{what} cannot be used"),
    }
}

fn is_full(error: &str) -> bool {
    ["no space left", "disk quota exceeded", "are free there"]
        .iter()
        .any(|words| error.to_lowercase().contains(words))
}

fn odd(fingerprint: &str) -> Ending {
    Ending::failed(
        format!("Incus has an image with the fingerprint {fingerprint:?}, which is no digest"),
        "look at it with: incus image list",
    )
}

/// As [`look`], when a fetch begins: its service is started at boot, and there the daemon of a small
/// machine may need longer for its first answer than a question may take.
fn first_look(machine: &Machine) -> Result<(Server, Store)> {
    let late = |error: &anyhow::Error| {
        let error = error.downcast_ref::<CommandError>();
        error.is_some_and(CommandError::timed_out)
    };
    match look(machine) {
        Err(error) if late(&error) => {
            wait_until_ready(machine).map_err(|_| error)?;
            look(machine)
        }
        looked => looked,
    }
}

/// The daemon and its images.
fn look(machine: &Machine) -> Result<(Server, Store)> {
    let Facts { incus, .. } = crate::look(machine, None)?;
    let Incus::Answering(server) = incus else {
        bail!(Refusal::new(
            "there is no Incus that answers, so there is nowhere to put the base image",
            ["set it up first: taos-setup"],
        ));
    };
    let store = images::store(machine, &server, &service::users())?;
    Ok((*server, store))
}

/// How often something is looked at again that changes by itself.
const AGAIN: Duration = Duration::from_millis(500);
