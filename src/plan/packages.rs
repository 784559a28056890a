//! Which packages are missing.

use super::{Planner, Refusal};
use crate::facts::{PackageManager, TOOLS};
use crate::step::Step;

impl Planner {
    /// Puts what the steps need and the host lacks in front of them.
    pub(super) fn install_packages(&mut self) -> Result<(), Refusal> {
        let tools: Vec<String> = TOOLS
            .iter()
            .filter(|tool| self.needs.contains(tool))
            .filter(|tool| !self.facts.host.tools.contains_key(**tool))
            .map(ToString::to_string)
            .collect();
        if tools.is_empty() {
            return Ok(());
        }
        let Some(packages) = &self.facts.host.packages else {
            let missing = tools.join(", ");
            return Err(Refusal::new(
                format!("missing on this host: {missing}, and no package manager that is known"),
                ["install them by hand, then run taos-setup again"],
            ));
        };
        let manager = packages.manager;
        let mut names: Vec<String> = Vec::new();
        for tool in &tools {
            for name in package_of(manager, tool, packages.incus_base) {
                if !names.iter().any(|known| known == name) {
                    names.push((*name).to_owned());
                }
            }
        }
        let wants_incus = tools.iter().any(|tool| tool.starts_with("incus"));
        let source = match (&packages.backports, packages.offers_incus || !wants_incus) {
            (_, true) => None,
            (Some(source), false) => Some(source.clone()),
            (None, false) => {
                return Err(Refusal::new(
                    format!(
                        "the package sources of {} do not offer Incus",
                        self.facts.host.os.name
                    ),
                    [
                        "install Incus as its documentation says, then run taos-setup again: \
                         https://linuxcontainers.org/incus/docs/main/installing/",
                    ],
                ))
            }
        };
        self.steps.insert(
            0,
            Step::InstallPackages {
                manager,
                packages: names,
                source,
                tools,
            },
        );
        Ok(())
    }
}

/// The packages that bring a program.  On Debian and Ubuntu `incus-base` leaves out the virtual
/// machine stack, whose dependencies break on some arm64 boards.
fn package_of(manager: PackageManager, tool: &str, incus_base: bool) -> &'static [&'static str] {
    use PackageManager::{Apk, Apt, Dnf, Pacman, Zypper};
    match (tool, manager) {
        ("incus", Apt) => &["incus-client"],
        ("incusd", Apt) if incus_base => &["incus-base"],
        ("incus", Dnf | Apk) => &["incus-client"],
        ("incus" | "incusd", _) => &["incus"],
        ("btrfs" | "mkfs.btrfs", Zypper) => &["btrfsprogs"],
        ("btrfs" | "mkfs.btrfs", _) => &["btrfs-progs"],
        ("dnsmasq", Apt) => &["dnsmasq-base"],
        ("dnsmasq", _) => &["dnsmasq"],
        ("zfs" | "zpool", Apt) => &["zfsutils-linux"],
        ("zfs" | "zpool", Pacman) => &["zfs-utils"],
        _ => &["zfs"],
    }
}
