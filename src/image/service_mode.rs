//! When the image is fetched: written down, and handed to systemd where there is one.

use std::collections::BTreeSet;
use std::fmt::Write as _;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result};
use serde::{Deserialize, Serialize};

use crate::facts::{Arrangement, Config, Mode, Trigger};
use crate::host::download::write_durably;
use crate::host::Machine;

use super::{Progress, Wanted};

mod due;

use due::{alone, fire};
pub use due::{due, due_soon};

const SERVICE: &str = "taos-setup-image.service";
const PATH: &str = "taos-setup-image.path";
const SERVICE_UNIT: &str = include_str!("units/taos-setup-image.service");
const PATH_UNIT: &str = include_str!("units/taos-setup-image.path");
const UNITS: &str = "/etc/systemd/system";
const UNITS_HERE: [(&str, &str); 2] = [(SERVICE, SERVICE_UNIT), (PATH, PATH_UNIT)];
/// Where the shipped units expect things; what is elsewhere here is written into them.
const PROGRAM: &str = "/usr/local/bin/taos-setup";
const STATE: &str = "/var/lib/taos-setup/";
const INCUS: &str = "/var/lib/incus/";

/// What sudo and systemd do not pass on, and the fetch may need.
const PASSED_ON: &[&str] = &[
    "http_proxy",
    "https_proxy",
    "all_proxy",
    "no_proxy",
    "HTTP_PROXY",
    "HTTPS_PROXY",
    "ALL_PROXY",
    "NO_PROXY",
    "SSL_CERT_FILE",
    "SSL_CERT_DIR",
    "TAOS_TMPDIR",
    "TAOS_STATE_DIR",
    "TAOS_LOG_FILE",
    "TAOS_IMAGE_STATUS",
    "INCUS_DIR",
];

/// What was chosen, and what was here then.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
struct Chosen {
    mode: Mode,
    /// The containers that are no first deploy.
    before: BTreeSet<String>,
    /// Whether there was a first deploy.
    fired: bool,
    /// As it is in the file for the service.
    #[serde(default)]
    environment: Config,
}

/// How fetching the image is arranged here.
#[must_use]
pub fn trigger(machine: &Machine) -> Trigger {
    // What is damaged is arranged anew.
    let chosen = chosen(machine).ok().flatten();
    let mode = chosen.as_ref().map(|chosen| chosen.mode);
    let mode = mode.filter(|mode| *mode != Mode::Now);
    let units = UNITS_HERE.iter().any(|(name, _)| unit(name).exists());
    Trigger {
        in_force: match mode {
            None => false,
            Some(Mode::Lazy) => {
                are_current(machine) && is_enabled(SERVICE) && is_enabled(PATH) && waits(machine)
            }
            Some(Mode::Background) => are_current(machine) && is_enabled(SERVICE),
            Some(Mode::Off | Mode::Now) => !(is_enabled(SERVICE) || is_enabled(PATH)),
        },
        mode,
        environment: chosen.unwrap_or_default().environment,
        units,
        fetching: Progress::read(&machine.paths.image_status)
            .status
            .going_on(),
        service_users: crate::host::service::users(),
    }
}

/// Whether both units are as this version has them.  Which program they start is no matter, as
/// long as it is there.
fn are_current(machine: &Machine) -> bool {
    let starts = |line: &&str| line.starts_with("Exec");
    UNITS_HERE.iter().all(|(name, shipped)| {
        let Ok(here) = std::fs::read_to_string(unit(name)) else {
            return false;
        };
        let programs_there = here.lines().filter(starts).all(|line| {
            let program = line
                .split_once('=')
                .and_then(|(_, it)| it.split(' ').next());
            program.is_some_and(|path| Path::new(path).exists())
        });
        let shipped = fitted(machine, shipped);
        let rest = here.lines().filter(|line| !starts(line));
        programs_there && rest.eq(shipped.lines().filter(|line| !starts(line)))
    })
}

fn is_enabled(name: &str) -> bool {
    let target = if name == PATH { "paths" } else { "multi-user" };
    unit(&format!("{target}.target.wants/{name}")).is_symlink()
}

/// Whether the path unit is at its post.
fn waits(machine: &Machine) -> bool {
    systemctl(machine, &["is-active", "--quiet", PATH]).is_ok()
}

/// What is run to bring an arrangement about, after files were written or before they go.
#[must_use]
pub fn commands(to: Option<&Arrangement>) -> Vec<String> {
    let files = format!("{UNITS}/{SERVICE} {UNITS}/{PATH}");
    let mut lines = vec![
        format!("systemctl disable --now {PATH} {SERVICE}  # if they are there"),
        format!("rm -f {files}"),
    ];
    if let Some(Mode::Lazy | Mode::Background) = to.map(|to| to.mode) {
        let last = lines.len() - 1;
        lines[last] = format!("# write {files}");
    }
    lines.push("systemctl daemon-reload".into());
    match to.map(|to| to.mode) {
        Some(Mode::Lazy) => {
            lines.push(format!("systemctl enable {SERVICE}"));
            lines.push(format!("systemctl enable --now {PATH}"));
            lines.push(format!(
                "systemctl start --no-block {SERVICE}  # if a container came meanwhile"
            ));
        }
        Some(Mode::Background) => {
            lines.push(format!("systemctl enable {SERVICE}"));
            lines.push(format!("systemctl start --no-block {SERVICE}"));
        }
        _ => {}
    }
    lines
}

/// Writes down when the image is to be fetched, and hands it to systemd.  Whatever was arranged
/// before is taken away first.
///
/// # Errors
/// If something cannot be written, or systemd refuses.
pub fn arrange(machine: &Machine, to: Option<&Arrangement>) -> Result<()> {
    let Some(to) = to else {
        return withdraw(machine);
    };
    take_units_away(machine, to.mode == Mode::Off)?;
    make_folder(machine)?;
    let alone = alone(machine)?;
    // Read when nobody decides any more: a first deploy that was seen just now counts.
    let was = chosen(machine).ok().flatten();
    let mut chosen = Chosen {
        mode: to.mode,
        before: containers(machine),
        fired: false,
        environment: to.environment.clone(),
    };
    if let Some(was) = was.filter(|was| was.mode == Mode::Lazy && to.mode == Mode::Lazy) {
        // It has waited since then.
        (chosen.before, chosen.fired) = (was.before, was.fired);
    }
    write(&file(machine), &serde_json::to_vec(&chosen)?, 0o600)?;
    drop(alone);
    let environment = file(machine).with_file_name("environment");
    if to.mode == Mode::Off {
        return remove(&environment);
    }
    write(&environment, lines_of(&to.environment).as_bytes(), 0o600)?;
    for (name, shipped) in UNITS_HERE {
        write(&unit(name), fitted(machine, shipped).as_bytes(), 0o644)?;
    }
    systemctl(machine, &["daemon-reload"])?;
    // After a reboot it goes on where it was.
    systemctl(machine, &["enable", SERVICE])?;
    if to.mode == Mode::Lazy {
        systemctl(machine, &["enable", "--now", PATH])?;
        // Since the containers were listed one may have come, which nobody was there to see; and
        // what was begun is gone on with.
        if !due(machine)? {
            return Ok(());
        }
    }
    systemctl(machine, &["start", "--no-block", SERVICE])
}

fn write(path: &Path, bytes: &[u8], mode: u32) -> Result<()> {
    write_durably(path, bytes, mode).with_context(|| format!("writing {}", path.display()))
}

/// Whether a deployer may start the service.
pub(super) fn startable(machine: &Machine) -> bool {
    let wanted = chosen(machine)
        .ok()
        .flatten()
        .is_some_and(|chosen| matches!(chosen.mode, Mode::Lazy | Mode::Background));
    wanted && Path::new("/run/systemd/system").is_dir() && Path::new(UNITS).join(SERVICE).exists()
}

/// Starts the service for a deployer that has said that there is a deploy.
pub(super) fn start(machine: &Machine) -> Result<()> {
    {
        let _alone = alone(machine)?;
        if let Some(chosen) = chosen(machine)? {
            fire(machine, chosen)?;
        }
    }
    systemctl(machine, &["start", "--no-block", SERVICE])
}

/// The image is in place: nothing has to be watched for any more.
pub(super) fn finished(machine: &Machine) {
    if !matches!(chosen(machine), Ok(Some(_))) {
        return;
    }
    // What is left of it would only look and find nothing to do.
    let _ = disable(machine);
    let _alone = alone(machine);
    let _ = std::fs::remove_file(file(machine));
    let _ = std::fs::remove_file(file(machine).with_file_name("environment"));
}

/// Forgets what was chosen, and takes the units away.
fn withdraw(machine: &Machine) -> Result<()> {
    take_units_away(machine, true)?;
    let _alone = alone(machine)?;
    for name in ["mode.json", "environment"] {
        remove(&file(machine).with_file_name(name))?;
    }
    Ok(())
}

/// Stops the units; with `files` they go altogether.
fn take_units_away(machine: &Machine, files: bool) -> Result<()> {
    let here = UNITS_HERE.map(|(name, _)| unit(name).exists());
    if here == [false, false] {
        return Ok(());
    }
    let systemd = Path::new("/run/systemd/system").is_dir();
    if systemd && here == [true, true] {
        systemctl(machine, &["disable", "--now", PATH, SERVICE])?;
    }
    if files {
        for (name, _) in UNITS_HERE {
            remove(&unit(name))?;
        }
        if systemd {
            systemctl(machine, &["daemon-reload"])?;
            // One that failed would be listed on; most did not.
            let _ = systemctl(machine, &["reset-failed", SERVICE]);
        }
    }
    Ok(())
}

fn remove(path: &Path) -> Result<()> {
    match std::fs::remove_file(path) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
            Err(error).with_context(|| format!("removing {}", path.display()))
        }
        _ => Ok(()),
    }
}

fn disable(machine: &Machine) -> Result<()> {
    let here = UNITS_HERE.map(|(name, _)| unit(name).exists());
    if here == [true, true] && Path::new("/run/systemd/system").is_dir() {
        systemctl(machine, &["disable", "--now", PATH])?;
        // Without --now: it may be this very process.
        systemctl(machine, &["disable", SERVICE])?;
    }
    Ok(())
}

fn chosen(machine: &Machine) -> Result<Option<Chosen>> {
    let path = file(machine);
    match std::fs::read(&path) {
        Ok(text) => serde_json::from_slice(&text)
            .map(Some)
            .with_context(|| format!("{} is damaged", path.display())),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(error).with_context(|| format!("reading {}", path.display())),
    }
}

fn file(machine: &Machine) -> PathBuf {
    machine.paths.state.join("image/mode.json")
}

fn make_folder(machine: &Machine) -> Result<()> {
    use std::os::unix::fs::DirBuilderExt as _;
    let folder = machine.paths.state.join("image");
    std::fs::DirBuilder::new()
        .recursive(true)
        .mode(0o700)
        .create(&folder)
        .with_context(|| format!("creating {}", folder.display()))
}

fn unit(name: &str) -> PathBuf {
    Path::new(UNITS).join(name)
}

/// The names in the folder where Incus puts a link for each container.
fn containers(machine: &Machine) -> BTreeSet<String> {
    let entries = std::fs::read_dir(machine.paths.incus.join("containers"));
    entries
        .into_iter()
        .flatten()
        .flatten()
        .map(|entry| entry.file_name().to_string_lossy().into_owned())
        .collect()
}

/// A shipped unit, with what is elsewhere on this host.
fn fitted(machine: &Machine, unit: &str) -> String {
    let folder = |path: &Path| format!("{}/", path.display());
    let program = std::env::current_exe()
        .map_or_else(|_| PROGRAM.to_owned(), |path| path.display().to_string());
    unit.replace(PROGRAM, &program)
        .replace(STATE, &folder(&machine.paths.state))
        .replace(INCUS, &folder(&machine.paths.incus))
}

/// What a fetch needs to know that sudo and systemd do not pass on, and which image is wanted.
/// `variable` reads the environment of the person.
#[must_use]
pub fn environment_of(
    wanted: &Wanted,
    timeout: u64,
    variable: impl Fn(&str) -> Option<String>,
) -> Config {
    let mut pairs: Config = PASSED_ON
        .iter()
        .filter_map(|name| Some(((*name).to_owned(), variable(name)?)))
        .collect();
    pairs.insert("TAOS_TIMEOUT".into(), timeout.to_string());
    pairs.extend(wanted.variables());
    pairs.retain(|_, value| !value.is_empty() && !value.contains('\n'));
    pairs
}

/// Lines as systemd reads them.
fn lines_of(environment: &Config) -> String {
    let mut text = String::new();
    for (name, value) in environment {
        let value = value.replace('\\', "\\\\").replace('"', "\\\"");
        let _ = writeln!(text, "{name}=\"{value}\"");
    }
    text
}

fn systemctl(machine: &Machine, words: &[&str]) -> Result<()> {
    let mut argv = vec!["systemctl".to_owned()];
    argv.extend(words.iter().map(ToString::to_string));
    machine
        .run(&argv, machine.bounds.start)
        .map(drop)
        .map_err(Into::into)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::image::Source;

    #[test]
    fn the_service_gets_every_option_and_what_sudo_dropped() {
        let mut wanted = Wanted {
            source: Source::Url("https://example.org/x?a=b".parse().unwrap()),
            sha256: Some("a".repeat(64).parse().unwrap()),
            key: Some("RWQ+\"\\".into()),
            insecure: true,
            refresh: false,
        };
        let variable = |name: &str| match name {
            "https_proxy" => Some("http://proxy:3128".to_owned()),
            "SSL_CERT_FILE" => Some("/etc/own.pem".into()),
            "no_proxy" => Some(String::new()),
            "TAOS_TMPDIR" => Some("two\nlines".into()),
            "SECRET" => Some("x".into()),
            _ => None,
        };
        let digest = "a".repeat(64);
        assert_eq!(
            lines_of(&environment_of(&wanted, 20, variable)),
            format!(
                "SSL_CERT_FILE=\"/etc/own.pem\"\nTAOS_IMAGE_INSECURE_NO_DIGEST=\"1\"\n\
                 TAOS_IMAGE_KEY=\"RWQ+\\\"\\\\\"\nTAOS_IMAGE_SHA256=\"{digest}\"\n\
                 TAOS_IMAGE_URL=\"https://example.org/x?a=b\"\nTAOS_TIMEOUT=\"20\"\n\
                 https_proxy=\"http://proxy:3128\"\n"
            )
        );
        wanted.source = Source::File("/srv/x.tar.gz".into());
        wanted.insecure = false;
        let text = lines_of(&environment_of(&wanted, 20, |_| None));
        assert!(text.contains("TAOS_IMAGE_FILE=\"/srv/x.tar.gz\""), "{text}");
        assert!(!text.contains("INSECURE"), "{text}");
    }
}
