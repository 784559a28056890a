//! Incus is not installed, or its daemon does not answer.

use super::*;
use crate::facts::{Incus, PackageManager};
use crate::plan::samples::backports;
use crate::plan::{DriverChoice, Step};

const START: &str = "start the Incus daemon and wait until it is ready";
const START_ALONE: &str = "start the Incus daemon's program itself, as there is no systemd, and \
                           wait until it is ready";

#[test]
fn all_that_is_missing_comes_from_the_package_manager() {
    use PackageManager::{Apk, Apt, Dnf, Pacman, Zypper};
    for (system, manager, install) in [
        (
            "Debian GNU/Linux 13 (trixie)",
            Apt,
            "install incus-client, incus-base, btrfs-progs, dnsmasq-base with apt",
        ),
        (
            "Ubuntu 24.04 LTS",
            Apt,
            "install incus-client, incus, btrfs-progs, dnsmasq-base with apt",
        ),
        (
            "Fedora Linux 42",
            Dnf,
            "install incus-client, incus, btrfs-progs, dnsmasq with dnf",
        ),
        (
            "Arch Linux",
            Pacman,
            "install incus, btrfs-progs, dnsmasq with pacman",
        ),
        (
            "openSUSE Tumbleweed",
            Zypper,
            "install incus, btrfsprogs, dnsmasq with zypper",
        ),
        (
            "Alpine Linux v3.22",
            Apk,
            "install incus-client, incus, btrfs-progs, dnsmasq with apk",
        ),
    ] {
        let sample = Sample::bare_on(system, manager).host(|host| {
            // Debian's alone, and there without the virtual machine stack.
            host.packages.as_mut().unwrap().incus_base = system.starts_with("Debian");
        });
        let expected = [install, START, POOL, ROOT, BRIDGE, NIC];
        assert_eq!(planned(sample), expected, "{system}");
    }
}

#[test]
fn debian_12_gets_its_backports() {
    let sample = Sample::bare().host(|host| {
        let packages = host.packages.as_mut().unwrap();
        packages.offers_incus = false;
        packages.backports = Some(backports());
    });
    assert_eq!(
        planned(sample)[0],
        "install incus-client, incus-base, btrfs-progs, dnsmasq-base with apt, with \
         bookworm-backports added to its sources"
    );
}

#[test]
fn backports_are_for_incus_only() {
    let sample = Sample::uninitialised().host(|host| {
        host.tools.remove("btrfs");
        let packages = host.packages.as_mut().unwrap();
        packages.offers_incus = false;
        packages.backports = Some(backports());
    });
    assert_eq!(planned(sample)[0], "install btrfs-progs with apt");
}

#[test]
fn sources_that_do_not_offer_incus_are_said_by_name() {
    let sample = Sample::bare_on("Ubuntu 22.04 LTS", PackageManager::Apt)
        .host(|host| host.packages.as_mut().unwrap().offers_incus = false);
    assert_says(
        &refused(sample, &Goal::default()),
        &[
            "the package sources of Ubuntu 22.04 LTS do not offer Incus",
            "https://linuxcontainers.org/incus/docs/main/installing/",
        ],
    );
}

#[test]
fn without_a_package_manager_the_missing_programs_are_named() {
    for driver in [DriverChoice::Auto, DriverChoice::Dir] {
        let sample = Sample::bare().host(|host| host.packages = None);
        let goal = Goal {
            driver,
            ..Goal::default()
        };
        assert_says(
            &refused(sample, &goal),
            &[
                "missing on this host: incus, incusd",
                "install them by hand",
            ],
        );
    }
}

#[test]
fn only_what_is_missing_is_installed() {
    for (missing, install) in [
        (&["dnsmasq"][..], "install dnsmasq-base with apt"),
        (&["btrfs", "mkfs.btrfs"], "install btrfs-progs with apt"),
        (&["mkfs.btrfs"], "install btrfs-progs with apt"),
    ] {
        let sample = Sample::uninitialised().host(|host| {
            for tool in missing {
                host.tools.remove(*tool);
            }
        });
        assert_eq!(
            planned(sample),
            [install, POOL, ROOT, BRIDGE, NIC],
            "{missing:?}"
        );
    }
    // A finished host needs none of them to be found.
    let sample = Sample::set_up("btrfs").host(|host| {
        host.tools.remove("btrfs");
        host.tools.remove("dnsmasq");
    });
    assert_eq!(planned(sample), [""; 0]);
}

#[test]
fn a_client_alone_is_no_incus() {
    let sample = Sample::bare().host(|host| {
        host.tools.insert("incus".into(), "/usr/bin/incus".into());
    });
    assert_eq!(
        planned(sample)[..2],
        [
            "install incus-base, btrfs-progs, dnsmasq-base with apt",
            START
        ]
    );
}

#[test]
fn zfs_tools_are_installed_for_a_zfs_pool() {
    let sample = Sample::bare().host(|host| {
        host.kernel_filesystems = ["zfs".to_owned()].into();
    });
    assert_eq!(
        planned(sample)[0],
        "install incus-client, incus-base, zfsutils-linux, dnsmasq-base with apt"
    );
}

#[test]
fn a_daemon_that_never_ran_is_started_and_set_up() {
    let plan = decide(&Sample::silent().facts(), &Goal::default());
    assert_eq!(words(&plan), [START, POOL, ROOT, BRIDGE, NIC]);
    assert!(!plan.open_end);
}

#[test]
fn nothing_is_guessed_about_a_daemon_that_ran_before() {
    for sample in [Sample::silent(), Sample::bare()] {
        let facts = sample.host(|host| host.incus_database = true).facts();
        let plan = decide(&facts, &Goal::default());
        assert_eq!(words(&plan).last().unwrap(), START);
        assert!(plan.open_end);
        // What is on it is seen, and asked for, only once it answers.
        let reveal = |step: &Step| step.reveals();
        assert!(plan.steps.iter().all(reveal), "{:#?}", plan.steps);
        assert_eq!(
            plan.steps.len(),
            1 + usize::from(facts.incus == Incus::Absent)
        );
    }
}

#[test]
fn without_systemd_the_program_itself_is_started() {
    for database in [false, true] {
        let sample = Sample::silent().host(|host| {
            host.systemd = false;
            host.incus_database = database;
        });
        let plan = decide(&sample.facts(), &Goal::default());
        assert_eq!(words(&plan)[0], START_ALONE);
        assert_eq!(plan.open_end, database);
    }
}
