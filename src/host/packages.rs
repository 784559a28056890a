//! The host's package manager: what it offers, and the commands that install.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

use super::Machine;
use crate::facts::{Os, PackageManager, PackageSource, Packages};

/// The file that adds a suite to apt's sources.
const SOURCE_FILE: &str = "/etc/apt/sources.list.d/taos-setup-backports.sources";
/// Debian's releases that have Incus in their backports only.
const BACKPORTED: &[&str] = &["bookworm"];
/// Releases of Debian and Ubuntu that have it nowhere.
const TOO_OLD: &[&str] = &["buster", "bullseye", "bionic", "focal", "jammy"];

pub(super) fn probe(
    machine: &Machine,
    os: &Os,
    tools: &BTreeMap<String, String>,
) -> Option<Packages> {
    let manager = [
        ("apt-get", PackageManager::Apt),
        ("dnf", PackageManager::Dnf),
        ("pacman", PackageManager::Pacman),
        ("zypper", PackageManager::Zypper),
        ("apk", PackageManager::Apk),
    ]
    .into_iter()
    .find(|(program, _)| which::which(program).is_ok())?
    .1;
    let installed = tools.contains_key("incus") && tools.contains_key("incusd");
    if manager != PackageManager::Apt || installed {
        return Some(Packages {
            manager,
            offers_incus: true,
            incus_base: true,
            backports: None,
        });
    }
    // On a fresh machine the lists may be empty: then the release tells.
    let argv = ["apt-cache", "policy", "incus", "incus-base"].map(String::from);
    let listed = candidates(
        &machine
            .run(&argv, machine.bounds.query)
            .unwrap_or_default()
            .stdout,
    );
    let codename = os.codename.as_str();
    let backported = BACKPORTED.contains(&codename);
    let unlisted = listed.is_empty();
    Some(Packages {
        manager,
        offers_incus: !unlisted || !(backported || TOO_OLD.contains(&codename)),
        incus_base: listed.iter().any(|name| name == "incus-base")
            || (unlisted && os.id != "ubuntu"),
        backports: (unlisted && backported)
            .then(|| backports(codename))
            .flatten(),
    })
}

/// The packages that can be installed, from what `apt-cache policy` says.
fn candidates(text: &str) -> Vec<String> {
    let mut found = Vec::new();
    let mut package = "";
    for line in text.lines() {
        if let Some(name) = line.strip_suffix(':').filter(|name| !name.starts_with(' ')) {
            package = name;
        } else if let Some(version) = line.trim().strip_prefix("Candidate:") {
            if version.trim() != "(none)" {
                found.push(package.to_owned());
            }
        }
    }
    found
}

/// A package source for the backports of a release, with the mirror and the key of the release's
/// own source.
fn backports(codename: &str) -> Option<PackageSource> {
    let mut texts = vec![fs::read_to_string("/etc/apt/sources.list").unwrap_or_default()];
    let mut deb822 = Vec::new();
    for path in super::filesystems::children(Path::new("/etc/apt/sources.list.d")) {
        let Ok(text) = fs::read_to_string(&path) else {
            continue;
        };
        match path.extension().and_then(|extension| extension.to_str()) {
            Some("list") => texts.push(text),
            Some("sources") => deb822.push(text),
            _ => {}
        }
    }
    let mirror = deb822
        .iter()
        .find_map(|text| mirror_in_deb822(text, codename))
        .or_else(|| {
            texts
                .iter()
                .find_map(|text| mirror_in_lines(text, codename))
        })?;
    let suite = format!("{codename}-backports");
    let signed_by = mirror
        .signed_by
        .map(|key| format!("Signed-By: {key}\n"))
        .unwrap_or_default();
    Some(PackageSource {
        path: SOURCE_FILE.into(),
        content: format!(
            "# Added by taos-setup: Incus is in the backports of this release.\n\
             Types: deb\nURIs: {}\nSuites: {suite}\nComponents: main\n{signed_by}",
            mirror.uri
        ),
        suite,
    })
}

#[derive(Debug, PartialEq)]
struct Mirror {
    uri: String,
    signed_by: Option<String>,
}

/// The first enabled stanza with binary packages of the suite.
fn mirror_in_deb822(text: &str, suite: &str) -> Option<Mirror> {
    text.split("\n\n").find_map(|stanza| {
        let field = |name: &str| {
            let mut lines = stanza.lines().skip_while(|line| {
                !line
                    .split_once(':')
                    .is_some_and(|(key, _)| key.eq_ignore_ascii_case(name))
            });
            let first = lines.next()?.split_once(':')?.1.trim().to_owned();
            // Continuation lines: an embedded key, or a list that was wrapped.
            Some(
                lines
                    .take_while(|line| line.starts_with([' ', '\t']))
                    .fold(first, |text, line| format!("{text}\n{line}")),
            )
        };
        let has = |name: &str, word: &str| {
            field(name).is_some_and(|value| value.split_whitespace().any(|found| found == word))
        };
        let disabled = has("Enabled", "no") || has("Enabled", "false");
        (has("Types", "deb") && has("Suites", suite) && has("Components", "main") && !disabled)
            .then(|| {
                Some(Mirror {
                    uri: field("URIs")?.split_whitespace().next()?.to_owned(),
                    signed_by: field("Signed-By"),
                })
            })?
    })
}

/// The first line of the one-line format with binary packages of the suite.
fn mirror_in_lines(text: &str, suite: &str) -> Option<Mirror> {
    text.lines().find_map(|line| {
        let line = line.split('#').next()?.trim();
        let rest = line.strip_prefix("deb")?;
        let rest = rest
            .starts_with(char::is_whitespace)
            .then_some(rest)?
            .trim();
        let (options, rest) = match rest.strip_prefix('[') {
            Some(rest) => rest.split_once(']')?,
            None => ("", rest),
        };
        let mut words = rest.split_whitespace();
        let uri = words.next()?;
        (words.next()? == suite && words.any(|word| word == "main")).then(|| Mirror {
            uri: uri.to_owned(),
            signed_by: options
                .split_whitespace()
                .find_map(|option| option.strip_prefix("signed-by="))
                .map(ToOwned::to_owned),
        })
    })
}

/// The commands that install packages, each to be run in turn.
#[must_use]
pub fn commands(manager: PackageManager, packages: &[String]) -> Vec<Vec<String>> {
    let (prepare, install): (&[&str], &[&str]) = match manager {
        PackageManager::Apt => (
            &["apt-get", "-q", "-y", "update"],
            &[
                "apt-get",
                "-q",
                "-y",
                "-o",
                "DPkg::Lock::Timeout=600",
                "-o",
                "Dpkg::Options::=--force-confold",
                "install",
                "--no-install-recommends",
                // Whatever is installed stays.
                "--no-remove",
            ],
        ),
        PackageManager::Dnf => (&[], &["dnf", "-y", "install"]),
        PackageManager::Pacman => (&[], &["pacman", "-Sy", "--needed", "--noconfirm"]),
        PackageManager::Zypper => (&[], &["zypper", "--non-interactive", "install"]),
        PackageManager::Apk => (&["apk", "update"], &["apk", "add"]),
    };
    let words = |words: &[&str]| words.iter().map(ToString::to_string).collect::<Vec<_>>();
    let mut install = words(install);
    install.extend_from_slice(packages);
    let mut commands = Vec::new();
    if !prepare.is_empty() {
        commands.push(words(prepare));
    }
    commands.push(install);
    commands
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_mirror_is_found_in_either_format() {
        let deb822 = "# a comment\nTypes: deb-src\nURIs: http://a.example/debian\nSuites: bookworm\nComponents: main\n\n\
            Types: deb\nURIs: http://b.example/debian\nSuites: bookworm bookworm-updates\nComponents: main contrib\nSigned-By: /k.gpg\n";
        let expected = |uri: &str, key: Option<&str>| {
            Some(Mirror {
                uri: uri.into(),
                signed_by: key.map(String::from),
            })
        };
        assert_eq!(
            mirror_in_deb822(deb822, "bookworm"),
            expected("http://b.example/debian", Some("/k.gpg"))
        );
        assert_eq!(mirror_in_deb822(deb822, "trixie"), None);
        let embedded = "Types: deb\nURIs: http://c.example/\nSuites: bookworm\nComponents: main\nSigned-By:\n -----BEGIN\n .\n -----END\n";
        assert_eq!(
            mirror_in_deb822(embedded, "bookworm"),
            expected("http://c.example/", Some("\n -----BEGIN\n .\n -----END"))
        );
        let lines =
            "#deb http://x.example/ bookworm main\ndeb-src http://y.example/ bookworm main\n\
            deb [arch=amd64 signed-by=/k.asc] http://d.example/debian bookworm main # comment\n";
        assert_eq!(
            mirror_in_lines(lines, "bookworm"),
            expected("http://d.example/debian", Some("/k.asc"))
        );
        assert_eq!(
            mirror_in_lines("deb http://e.example/ bookworm-updates main", "bookworm"),
            None
        );
    }

    #[test]
    fn candidates_are_told_from_packages_that_are_only_known() {
        let text = "incus:\n  Installed: (none)\n  Candidate: 6.0.0-1\n  Version table:\n     6.0.0-1 500\n\
            incus-base:\n  Installed: (none)\n  Candidate: (none)\n";
        assert_eq!(candidates(text), ["incus"]);
        assert!(candidates("").is_empty());
    }

    #[test]
    fn every_package_manager_is_told_to_ask_nothing() {
        let packages = ["incus".to_owned()];
        for (manager, word) in [
            (PackageManager::Apt, "-y"),
            (PackageManager::Dnf, "-y"),
            (PackageManager::Pacman, "--noconfirm"),
            (PackageManager::Zypper, "--non-interactive"),
            // apk never asks.
            (PackageManager::Apk, "add"),
        ] {
            let commands = commands(manager, &packages);
            let install = commands.last().unwrap();
            assert!(install.iter().any(|found| found == word), "{install:?}");
            assert_eq!(install.last().unwrap(), "incus");
        }
    }
}
