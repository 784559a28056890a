//! What a deployer calls: whether the image is here, and if not, that it comes.

use std::process::Stdio;
use std::time::{Duration, Instant};

use anyhow::{bail, Context as _, Result};

use crate::host::Machine;
use crate::incus::images;

use super::{look, service_mode, Progress, Source, Stage, Wanted};

/// How it stands, for a deployer that has to decide now.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Readiness {
    Ready,
    /// It comes; this deploy takes the build path.
    OnItsWay,
    /// It is not here, and nothing fetches it.
    Absent,
    /// The last fetch failed, and nothing fetches it.
    Failed(String),
    /// The daemon does not answer.
    NoIncus(String),
}

impl Readiness {
    /// 0 ready, 10 on its way, 11 absent, 12 failed, 13 no daemon.
    #[must_use]
    pub fn exit_code(&self) -> u8 {
        match self {
            Self::Ready => 0,
            Self::OnItsWay => 10,
            Self::Absent => 11,
            Self::Failed(_) => 12,
            Self::NoIncus(_) => 13,
        }
    }

    #[must_use]
    pub fn word(&self) -> &'static str {
        match self {
            Self::Ready => "ready",
            Self::OnItsWay => "on-its-way",
            Self::Absent => "absent",
            Self::Failed(_) => "failed",
            Self::NoIncus(_) => "no-incus",
        }
    }

    /// For people.
    #[must_use]
    pub fn message(&self) -> String {
        match self {
            Self::Ready => "the base image is ready".into(),
            Self::OnItsWay => "the base image is on its way; deploy without it".into(),
            Self::Absent => {
                "the base image is not here, and nothing fetches it; to fetch it: sudo taos-setup \
                 image fetch --detach"
                    .into()
            }
            Self::Failed(why) => format!(
                "the base image is not here, and fetching it failed: {why}; to try again: sudo \
                 taos-setup image fetch --detach"
            ),
            Self::NoIncus(why) => format!("Incus does not answer: {why}"),
        }
    }
}

/// Says at once how it stands, and has the image fetched if that was asked for.
///
/// # Errors
/// If it is to be fetched, and that cannot be begun.
pub fn ensure(machine: &Machine, wanted: &Wanted, detached: bool) -> Result<Readiness> {
    let root = nix::unistd::geteuid().is_root();
    // Root looks into every project that counts; anybody else sees what his own deploy would see.
    let ready = if root {
        look(machine).map(|(server, store)| {
            let ready = store.ready();
            // A member that came back has to have it unpacked, too.
            let cold = |image: &str| server.clustered && !store.cold_spots(image).is_empty();
            ready.map(cold)
        })
    } else {
        let visible = images::visible(machine).map_err(Into::into);
        visible.map(|it| it.then_some(false))
    };
    let cold = match ready {
        Ok(Some(cold)) => cold,
        Ok(None) => return comes(machine, wanted, detached),
        Err(error) => return Ok(Readiness::NoIncus(format!("{error:#}"))),
    };
    if cold
        && detached
        && !Progress::read(&machine.paths.image_status)
            .status
            .going_on()
    {
        detach(machine, wanted)?;
    }
    Ok(Readiness::Ready)
}

/// Has it fetched, as far as that was asked for or arranged.
fn comes(machine: &Machine, wanted: &Wanted, detached: bool) -> Result<Readiness> {
    let root = nix::unistd::geteuid().is_root();
    let progress = Progress::read(&machine.paths.image_status);
    if progress.status.going_on() {
        return Ok(Readiness::OnItsWay);
    }
    if root && service_mode::startable(machine) {
        service_mode::start(machine)?;
        return Ok(Readiness::OnItsWay);
    }
    if root && detached {
        detach(machine, wanted)?;
        return Ok(Readiness::OnItsWay);
    }
    Ok(match (progress.status, progress.error) {
        (Stage::Failed, Some(error)) => Readiness::Failed(error),
        _ => Readiness::Absent,
    })
}

/// Starts a fetch that lives on by itself.
///
/// # Errors
/// If it cannot be started.
pub fn detach(machine: &Machine, wanted: &Wanted) -> Result<()> {
    let program = std::env::current_exe().context("finding this program")?;
    let mut command = match which::which("setsid") {
        // A session of its own, so that no closed terminal ends it.
        Ok(setsid) => {
            let mut command = std::process::Command::new(setsid);
            command.arg("--fork").arg(&program);
            command
        }
        Err(_) => std::process::Command::new(&program),
    };
    let seconds = machine.bounds.query.as_secs().max(1).to_string();
    command.args(["--quiet", "--timeout", &seconds, "image", "fetch"]);
    match &wanted.source {
        Source::Url(url) => command.args(["--image-url", &url.to_string()]),
        Source::File(path) => command.arg("--image-file").arg(path),
    };
    if let Some(digest) = &wanted.sha256 {
        command.args(["--image-sha256", digest.as_str()]);
    }
    if let Some(key) = &wanted.key {
        command.args(["--image-key", key]);
    }
    if wanted.insecure {
        command.arg("--insecure-no-digest");
    }
    if wanted.refresh {
        command.arg("--refresh");
    }
    let mut child = command
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .context("starting a fetch in the background")?;
    machine.log.line("started a fetch in the background");
    if which::which("setsid").is_ok() {
        child.wait().context("waiting for setsid")?;
    }
    Ok(())
}

/// As [`detach`], until it is seen to be at work.
///
/// # Errors
/// If it cannot be started, or failed at once.
pub fn detach_and_wait(machine: &Machine, wanted: &Wanted) -> Result<()> {
    let path = &machine.paths.image_status;
    let before = Progress::read(path);
    detach(machine, wanted)?;
    let begun = Instant::now();
    while begun.elapsed() < machine.bounds.query {
        let now = Progress::read(path);
        match now.status {
            Stage::Downloading | Stage::Importing | Stage::Done if now != before => return Ok(()),
            Stage::Failed if now != before => {
                bail!(
                    "{}",
                    now.error.unwrap_or_else(|| "it failed at once".into())
                )
            }
            _ => std::thread::sleep(Duration::from_millis(50)),
        }
    }
    bail!("the process that was started for it does not begin")
}
