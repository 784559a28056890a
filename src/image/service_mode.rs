//! When the image is fetched: written down, and handed to systemd where there is one.

use std::collections::BTreeSet;
use std::fmt::Write as _;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result};
use serde::{Deserialize, Serialize};

use crate::host::download::write_atomically;
use crate::host::Machine;
use crate::plan::image::{newcomers, Mode};

use super::{Source, Wanted};

const SERVICE: &str = "taos-setup-image.service";
const PATH: &str = "taos-setup-image.path";
const SERVICE_UNIT: &str = include_str!("units/taos-setup-image.service");
const PATH_UNIT: &str = include_str!("units/taos-setup-image.path");
const UNITS: &str = "/etc/systemd/system";
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
}

/// Writes down when the image is to be fetched, and arranges for it.  What it says is for people.
///
/// # Errors
/// If something cannot be written, or systemd refuses.
pub fn set_mode(machine: &Machine, mode: Mode, wanted: &Wanted) -> Result<String> {
    let systemd = Path::new("/run/systemd/system").is_dir();
    make_folder(machine)?;
    let chosen = Chosen {
        mode,
        before: containers(machine),
        fired: false,
    };
    let text = serde_json::to_vec(&chosen).context("encoding the mode")?;
    let path = file(machine);
    write_atomically(&path, &text, 0o600).with_context(|| format!("writing {}", path.display()))?;
    if !systemd {
        return Ok(match mode {
            Mode::Lazy => "The base image is fetched with the first deploy that calls: taos-setup \
                           image ensure --detach. (Without systemd nothing watches for it.)"
                .into(),
            Mode::Background => {
                super::detach(machine, wanted)?;
                "The base image is on its way: taos-setup image status --watch".into()
            }
            _ => off_words().into(),
        });
    }
    disable(machine)?;
    match mode {
        Mode::Lazy | Mode::Background => {}
        Mode::Now | Mode::Off => return Ok(off_words().into()),
    }
    let environment = file(machine).with_file_name("environment");
    let timeout = machine.bounds.query.as_secs().max(1);
    let text = environment_of(wanted, timeout, |name| std::env::var(name).ok());
    write_atomically(&environment, text.as_bytes(), 0o600)
        .with_context(|| format!("writing {}", environment.display()))?;
    for (name, unit) in [(SERVICE, SERVICE_UNIT), (PATH, PATH_UNIT)] {
        let path = Path::new(UNITS).join(name);
        write_atomically(&path, fitted(machine, unit).as_bytes(), 0o644)
            .with_context(|| format!("writing {}", path.display()))?;
    }
    systemctl(machine, &["daemon-reload"])?;
    // After a reboot it goes on where it was.
    systemctl(machine, &["enable", SERVICE])?;
    if mode == Mode::Background {
        systemctl(machine, &["start", "--no-block", SERVICE])?;
        return Ok("The base image is on its way: taos-setup image status --watch".into());
    }
    systemctl(machine, &["enable", "--now", PATH])?;
    Ok("The base image is fetched when the first agent is deployed.".into())
}

fn off_words() -> &'static str {
    "The base image is fetched when you ask for it: taos-setup image fetch"
}

/// Whether the service has something to do: it was asked for, or there was a first deploy.
///
/// # Errors
/// If what was chosen cannot be read or written.
pub fn due(machine: &Machine) -> Result<bool> {
    let path = file(machine);
    let Some(mut chosen) = chosen(machine)? else {
        return Ok(false);
    };
    match chosen.mode {
        Mode::Background => return Ok(true),
        Mode::Lazy if chosen.fired => return Ok(true),
        Mode::Lazy => {}
        Mode::Now | Mode::Off => return Ok(false),
    }
    let new = newcomers(&chosen.before, &containers(machine));
    if new.is_empty() {
        return Ok(false);
    }
    machine
        .log
        .line(&format!("the first deploy: {}", new.join(", ")));
    chosen.fired = true;
    let text = serde_json::to_vec(&chosen).context("encoding the mode")?;
    write_atomically(&path, &text, 0o600).with_context(|| format!("writing {}", path.display()))?;
    Ok(true)
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
    if let Some(mut chosen) = chosen(machine)? {
        chosen.fired = true;
        let text = serde_json::to_vec(&chosen).context("encoding the mode")?;
        write_atomically(&file(machine), &text, 0o600).context("writing down the first deploy")?;
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
    let _ = std::fs::remove_file(file(machine));
}

/// Takes back what [`set_mode`] arranged.
///
/// # Errors
/// If systemd refuses, or a file cannot be removed.
pub fn withdraw(machine: &Machine) -> Result<()> {
    disable(machine)?;
    let units = [SERVICE, PATH].map(|name| Path::new(UNITS).join(name));
    let own = ["mode.json", "environment"].map(|name| file(machine).with_file_name(name));
    let mut removed = false;
    for path in units.iter().chain(&own) {
        match std::fs::remove_file(path) {
            Ok(()) => removed |= units.contains(path),
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => {}
            Err(error) => {
                return Err(error).with_context(|| format!("removing {}", path.display()))
            }
        }
    }
    if removed {
        systemctl(machine, &["daemon-reload"])?;
    }
    Ok(())
}

fn disable(machine: &Machine) -> Result<()> {
    let here = [SERVICE, PATH].map(|name| Path::new(UNITS).join(name).exists());
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

/// Lines as systemd reads them, of what the environment of the person has and the options say.
fn environment_of(
    wanted: &Wanted,
    timeout: u64,
    variable: impl Fn(&str) -> Option<String>,
) -> String {
    let mut pairs: Vec<(String, String)> = PASSED_ON
        .iter()
        .filter_map(|name| Some(((*name).to_owned(), variable(name)?)))
        .collect();
    pairs.push(("TAOS_TIMEOUT".into(), timeout.to_string()));
    match &wanted.source {
        Source::Url(url) => pairs.push(("TAOS_IMAGE_URL".into(), url.to_string())),
        Source::File(path) => pairs.push(("TAOS_IMAGE_FILE".into(), path.display().to_string())),
    }
    if let Some(digest) = &wanted.sha256 {
        pairs.push(("TAOS_IMAGE_SHA256".into(), digest.to_string()));
    }
    if let Some(key) = &wanted.key {
        pairs.push(("TAOS_IMAGE_KEY".into(), key.clone()));
    }
    if wanted.insecure {
        pairs.push(("TAOS_IMAGE_INSECURE_NO_DIGEST".into(), "1".into()));
    }
    let mut text = String::new();
    for (name, value) in pairs {
        if !value.is_empty() && !value.contains('\n') {
            let value = value.replace('\\', "\\\\").replace('"', "\\\"");
            let _ = writeln!(text, "{name}=\"{value}\"");
        }
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
            environment_of(&wanted, 20, variable),
            format!(
                "https_proxy=\"http://proxy:3128\"\nSSL_CERT_FILE=\"/etc/own.pem\"\n\
                 TAOS_TIMEOUT=\"20\"\nTAOS_IMAGE_URL=\"https://example.org/x?a=b\"\n\
                 TAOS_IMAGE_SHA256=\"{digest}\"\nTAOS_IMAGE_KEY=\"RWQ+\\\"\\\\\"\n\
                 TAOS_IMAGE_INSECURE_NO_DIGEST=\"1\"\n"
            )
        );
        wanted.source = Source::File("/srv/x.tar.gz".into());
        wanted.insecure = false;
        let text = environment_of(&wanted, 20, |_| None);
        assert!(text.contains("TAOS_IMAGE_FILE=\"/srv/x.tar.gz\""), "{text}");
        assert!(!text.contains("INSECURE"), "{text}");
    }
}
