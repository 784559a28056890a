//! Steps as commands: shown, and run.

use std::ffi::OsStr;
use std::os::fd::BorrowedFd;
use std::os::unix::ffi::OsStrExt as _;
use std::path::Path;
use std::process::Stdio;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result};

use super::cluster;
use crate::facts::PackageSource;
use crate::host::{command::shown, packages, CommandError, Machine};
use crate::incus;
use crate::step::{DaemonStart, PoolPlace, PoolSpec, Step};

/// Where a daemon that was started here without systemd says what goes wrong.
const DAEMON_LOG: &str = "/var/log/incus/incusd.log";

/// The commands of a step, as they could be typed.
#[must_use]
pub fn commands(step: &Step) -> Vec<String> {
    match step {
        Step::InstallPackages {
            manager,
            packages,
            source,
            ..
        } => {
            let mut lines: Vec<String> = Vec::new();
            if let Some(source) = source {
                lines.push(format!(
                    "cat > {} <<'END'\n{}END",
                    source.path, source.content
                ));
            }
            lines.extend(
                packages::commands(*manager, packages)
                    .iter()
                    .map(|argv| shown(argv)),
            );
            lines
        }
        Step::StartDaemon { with } => match with {
            DaemonStart::Systemd => systemd_commands().iter().map(|argv| shown(argv)).collect(),
            DaemonStart::Program { path } => vec![
                format!(
                    "{} --group incus-admin &",
                    path.as_deref().unwrap_or("incusd")
                ),
                "incus admin waitready".into(),
            ],
        },
        Step::HoldSpace { path, size, .. } => vec![shown(&fallocate(path, size.0))],
        Step::Migrate { part, of } => super::migrate::commands(*part, of),
        _ if step.minds_image() => super::image::commands(step).unwrap_or_default(),
        _ => {
            let commands = incus::commands_of(step);
            let mut lines: Vec<String> = commands.run.iter().map(|argv| shown(argv)).collect();
            if let Some((_, otherwise)) = commands.otherwise {
                lines.push(format!(
                    "{}  # if Incus finds no free subnet",
                    shown(&otherwise)
                ));
            }
            if let Some(path) = subvolume_of(step) {
                lines.push(format!(
                    "{}  # if it is still there",
                    shown(&["rmdir", path])
                ));
            }
            lines
        }
    }
}

/// Does what a step says.
pub(super) fn perform(machine: &Machine, lock: BorrowedFd<'_>, step: &Step) -> Result<()> {
    match step {
        Step::InstallPackages {
            manager,
            packages,
            source,
            ..
        } => install(
            machine,
            source.as_ref(),
            &packages::commands(*manager, packages),
        ),
        Step::StartDaemon { with } => start(machine, with),
        Step::HoldSpace { path, size, .. } => {
            crate::journal::inherit(lock, true);
            let result = machine.run(&fallocate(path, size.0), machine.bounds.change);
            crate::journal::inherit(lock, false);
            result.map(drop).map_err(Into::into)
        }
        _ if step.needs_members() && !matches!(step, Step::DeletePool { .. }) => {
            cluster::perform(machine, lock, step)
        }
        _ => {
            let commands = incus::commands_of(step);
            // Should this program be killed now, the lock stays until the command is through.
            crate::journal::inherit(lock, true);
            let result = commands
                .run
                .iter()
                .try_for_each(|argv| machine.run(argv, machine.bounds.change).map(drop));
            let result = match (result, &commands.otherwise) {
                (Err(error), Some((words, argv))) if error.words().contains(words) => {
                    machine.run(argv, machine.bounds.change).map(drop)
                }
                (result, _) => result,
            };
            crate::journal::inherit(lock, false);
            result?;
            tidy(step)
        }
    }
}

/// What a step leaves for after its commands, and a run that was killed may not have come to.
pub(super) fn tidy(step: &Step) -> Result<()> {
    subvolume_of(step).map_or(Ok(()), |path| remove_emptied(Path::new(path)))
}

/// The subvolume that a deleted pool was, if it was made for it.
fn subvolume_of(step: &Step) -> Option<&str> {
    match step {
        Step::DeletePool {
            pool:
                PoolSpec {
                    place:
                        PoolPlace::Subvolume {
                            path,
                            existed: false,
                            ..
                        },
                    ..
                },
        } => Some(path),
        _ => None,
    }
}

/// Removes a subvolume that Incus emptied and, outside of its own folder, leaves there.
pub(super) fn remove_emptied(path: &Path) -> Result<()> {
    use std::io::ErrorKind::{DirectoryNotEmpty, NotFound};
    match std::fs::remove_dir(path) {
        // What somebody has put there since is not ours.
        Err(error) if !matches!(error.kind(), NotFound | DirectoryNotEmpty) => {
            Err(error).with_context(|| format!("removing the emptied {}", path.display()))
        }
        _ => Ok(()),
    }
}

fn fallocate(path: &str, bytes: u64) -> Vec<String> {
    [
        "fallocate",
        "--keep-size",
        "--length",
        &bytes.to_string(),
        path,
    ]
    .map(ToOwned::to_owned)
    .to_vec()
}

fn install(
    machine: &Machine,
    source: Option<&PackageSource>,
    commands: &[Vec<String>],
) -> Result<()> {
    if let Some(source) = source {
        std::fs::write(&source.path, &source.content)
            .with_context(|| format!("writing {}", source.path))?;
    }
    let result = commands
        .iter()
        .try_for_each(|argv| run_in_turn(machine, argv));
    if let (Err(_), Some(source)) = (&result, source) {
        // Nothing came from it, so it goes again.
        std::fs::remove_file(&source.path).with_context(|| format!("removing {}", source.path))?;
    }
    result.map_err(Into::into)
}

/// Runs a package manager's command, waiting for others that are at work: on a machine's first
/// boot there is one, and not every lock of apt's is waited for by itself.
fn run_in_turn(machine: &Machine, argv: &[String]) -> Result<(), CommandError> {
    let begun = Instant::now();
    loop {
        match machine.run(argv, machine.bounds.install) {
            Err(error)
                if error.words().contains("Could not get lock")
                    && begun.elapsed() < machine.bounds.install
                    && !machine.signals.stop_asked() =>
            {
                std::thread::sleep(Duration::from_secs(2));
            }
            result => return result.map(drop),
        }
    }
}

fn systemd_commands() -> [Vec<String>; 2] {
    [
        ["systemctl", "enable", "--now", "incus.socket"]
            .map(ToOwned::to_owned)
            .to_vec(),
        ["incus", "admin", "waitready", "--force-local"]
            .map(ToOwned::to_owned)
            .to_vec(),
    ]
}

/// Starts the daemon and waits until it is ready.
///
/// # Errors
/// If it is not, in time.
pub fn start(machine: &Machine, with: &DaemonStart) -> Result<()> {
    match with {
        DaemonStart::Systemd => {
            machine.run(&systemd_commands()[0], machine.bounds.start)?;
            wait_until_ready(machine).context("see why with: journalctl -u incus.service")
        }
        DaemonStart::Program { path } => {
            if is_starting(machine) {
                machine.log.line("the daemon is being started already");
            } else {
                spawn_daemon(machine, path.as_deref())?;
            }
            wait_until_ready(machine).with_context(|| format!("see why in {DAEMON_LOG}"))
        }
    }
}

/// Waits until the daemon that is being started is ready.
///
/// # Errors
/// If it is not, in time.
pub fn wait_until_ready(machine: &Machine) -> Result<()> {
    let seconds = machine.bounds.start.as_secs().max(1).to_string();
    let wait = [
        "incus",
        "admin",
        "waitready",
        "--force-local",
        "--timeout",
        &seconds,
    ]
    .map(ToOwned::to_owned);
    // `waitready` keeps to its own bound; ours is for a client that hangs.
    machine.run(&wait, machine.bounds.start + machine.bounds.query)?;
    Ok(())
}

/// Whether the daemon is there, though it does not answer yet: a run that was killed may have
/// started it a moment ago.  Two on one database keep each other from becoming ready.
fn is_starting(machine: &Machine) -> bool {
    let namespace = |process: &Path| std::fs::read_link(process.join("ns/pid")).ok();
    let ours = namespace(Path::new("/proc/self"));
    let is_daemon = |process: &Path| {
        let words = |file: &str| std::fs::read(process.join(file)).unwrap_or_default();
        let (arguments, environment) = (words("cmdline"), words("environ"));
        let program = std::fs::read_link(process.join("exe")).ok();
        let mut arguments = arguments.split(|byte| *byte == 0);
        // The monitors of containers run the same program, too, and outlive the daemon.
        let named = arguments
            .next()
            .is_some_and(|first| first.ends_with(b"incusd"));
        let second = arguments.next();
        let folder = environment
            .split(|byte| *byte == 0)
            .find_map(|word| word.strip_prefix(b"INCUS_DIR="));
        named && program.is_some_and(|path| path.file_name().is_some_and(|name| name == "incusd"))
            // Its helpers are commands of the same program.
            && second.is_none_or(|word| word.is_empty() || word.starts_with(b"-"))
            && Path::new(OsStr::from_bytes(folder.unwrap_or(b"/var/lib/incus"))) == machine.paths.incus
            // Not that of a container.
            && namespace(process) == ours
    };
    let processes = std::fs::read_dir("/proc").into_iter().flatten().flatten();
    processes.map(|entry| entry.path()).any(|it| is_daemon(&it))
}

/// Starts the daemon's program, to live on after this one.
fn spawn_daemon(machine: &Machine, path: Option<&str>) -> Result<()> {
    use std::os::unix::process::CommandExt as _;
    let program = path
        .map(ToOwned::to_owned)
        .or_else(|| crate::host::tools().remove("incusd"))
        .context("finding the daemon's program, incusd")?;
    if let Some(folder) = Path::new(DAEMON_LOG).parent() {
        std::fs::create_dir_all(folder)
            .with_context(|| format!("creating {}", folder.display()))?;
    }
    let log = std::fs::OpenOptions::new()
        .append(true)
        .create(true)
        .open(DAEMON_LOG)
        .with_context(|| format!("opening {DAEMON_LOG}"))?;
    let mut command = std::process::Command::new(&program);
    if nix::unistd::Group::from_name("incus-admin")
        .ok()
        .flatten()
        .is_some()
    {
        command.args(["--group", "incus-admin"]);
    }
    command
        .stdin(Stdio::null())
        .stdout(log.try_clone().context("duplicating the log's handle")?)
        .stderr(log)
        .process_group(0)
        .spawn()
        .with_context(|| format!("starting {program}"))?;
    machine.log.line(&format!("started {program}"));
    Ok(())
}
