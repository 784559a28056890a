//! Where nothing is done, and what is said then.

use super::*;
use crate::facts::{Bytes, PlaceKind};
use crate::plan::samples::filesystem;
use crate::plan::{DriverChoice, PoolName};

#[test]
fn not_root() {
    for sample in [Sample::bare(), Sample::set_up("btrfs")] {
        let sample = sample.host(|host| host.root = false);
        assert_says(
            &refused(sample, &Goal::default()),
            &["has to run as root", "sudo taos-setup"],
        );
    }
}

#[test]
fn a_pool_in_a_bad_state_is_refused_with_incus_s_reason() {
    for (status, driver, hint) in [
        ("Errored", "btrfs", "incus storage delete default"),
        ("Pending", "btrfs", "incus storage delete default"),
        ("Pending", "dir", "incus storage delete default"),
        ("Unavailable", "zfs", "bring back what it lies on"),
        ("Unavailable", "dir", "bring back what it lies on"),
        ("Unknown", "btrfs", "then run taos-setup again"),
    ] {
        let sample = |reason: Option<&str>| {
            Sample::set_up(driver).change_pool("default", |pool| {
                pool.status = status.into();
                pool.reason = reason.map(String::from);
            })
        };
        for goal in [Goal::default(), named("default")] {
            let text = refused(sample(Some("no such device")), &goal);
            let what = format!("storage pool default is {status}: no such device");
            assert_says(&text, &[&what, hint]);
        }
        let text = refused(sample(None), &Goal::default());
        assert_says(&text, &["Incus gives no reason"]);
    }
}

#[test]
fn a_broken_pool_that_launches_do_not_use_is_only_noted() {
    let sample = Sample::set_up("btrfs")
        .pool("old", "zfs")
        .change_pool("old", |pool| {
            pool.status = "Unavailable".into();
            pool.reason = Some("no such pool".into());
        });
    let plan = decide(&sample.facts(), &Goal::default());
    assert_eq!(words(&plan), [""; 0]);
    assert_eq!(notes(&plan), ["pool old is Unavailable", "no such pool"]);
}

/// Something where a pool would be put, and how it is called.
fn leftovers() -> Vec<(&'static str, PlaceKind, &'static str)> {
    let folder = |entries: &[&str], subvolume| PlaceKind::Directory {
        entries: entries.iter().map(ToString::to_string).collect(),
        subvolume,
    };
    let file = PlaceKind::File {
        size: Bytes::gib(50),
        allocated: Bytes::gib(3),
    };
    vec![
        (
            "/var/lib/incus/disks/default.img",
            file,
            "a file of 50 GiB (3 GiB of it in use)",
        ),
        (
            "/var/lib/incus/storage-pools/default",
            folder(&["containers/mary"], false),
            "a folder with containers/mary",
        ),
        (
            "/var/lib/incus/storage-pools/default",
            folder(&["containers/mary", "custom"], true),
            "a folder with containers/mary, custom",
        ),
        (
            "/var/lib/incus/disks/default.img",
            PlaceKind::Other,
            "something that is neither file nor folder",
        ),
    ]
}

#[test]
fn a_leftover_is_refused_with_what_it_is_and_how_to_keep_it() {
    for (path, what, name) in leftovers() {
        for sample in [
            Sample::bare(),
            Sample::silent(),
            Sample::uninitialised(),
            Sample::uninitialised()
                .host(|host| host.incus_filesystem = filesystem("/", "btrfs", 100)),
        ] {
            let text = refused(sample.place(path, what.clone()), &Goal::default());
            assert_says(
                &text,
                &[
                    &format!("{path} is {name}, and no pool that Incus knows"),
                    "incus admin recover",
                    &format!("mv {path} {path}.kept"),
                    "taos-setup never does",
                    "--pool taos",
                ],
            );
        }
    }
}

#[test]
fn a_leftover_is_in_the_way_only_of_the_pool_of_its_name() {
    for (path, what, _) in leftovers() {
        let sample = Sample::uninitialised().place(path, what);
        assert_says(
            &planned_for(sample, &named("taos"))[0],
            &["create storage pool taos "],
        );
    }
}

#[test]
fn a_leftover_file_keeps_an_empty_dir_pool_from_being_made_again() {
    let (path, what, _) = leftovers().remove(0);
    let sample = Sample::set_up("dir").place(path, what);
    assert_says(&refused(sample, &Goal::default()), &[path]);
}

#[test]
fn the_folder_of_a_pool_that_incus_knows_is_no_leftover() {
    let (path, what, _) = leftovers().remove(1);
    for kind in ["ext4", "btrfs"] {
        let sample = Sample::set_up("dir")
            .place(path, what.clone())
            .host(|host| host.incus_filesystem = filesystem("/", kind, 100));
        assert_eq!(planned(sample).len(), 4, "{kind}");
    }
}

#[test]
fn empty_folders_of_incus_are_no_leftovers_but_where_a_subvolume_is_to_be() {
    let path = "/var/lib/incus/storage-pools/default";
    let sample = |kind, subvolume| {
        let empty = PlaceKind::Directory {
            entries: Vec::new(),
            subvolume,
        };
        Sample::uninitialised()
            .place(path, empty)
            .host(|host| host.incus_filesystem = filesystem("/", kind, 100))
    };
    assert_eq!(planned(sample("ext4", false)), [POOL, ROOT, BRIDGE, NIC]);
    assert_eq!(planned(sample("btrfs", true)).len(), 4);
    assert_says(
        &refused(sample("btrfs", false), &Goal::default()),
        &["an empty folder, where a subvolume is to be"],
    );
}

#[test]
fn without_loop_devices_a_pool_in_a_file_is_refused_with_the_alternatives() {
    let alternatives = [
        "a pool in a file is not possible",
        "on the host itself",
        "--source",
        "modprobe loop",
        "--driver dir",
    ];
    let container = |sample: Sample| sample.host(|host| host.user_namespace = true);
    let no_loop = |sample: Sample| sample.host(|host| host.loop_devices = false);
    for found in [
        Sample::bare(),
        Sample::uninitialised(),
        Sample::set_up("dir"),
    ] {
        let text = refused(container(found.clone()), &Goal::default());
        assert_says(&text, &alternatives);
        assert_says(&text, &["unprivileged container"]);
        let text = refused(no_loop(found), &Goal::default());
        assert_says(&text, &alternatives);
        assert_says(&text, &["/dev/loop-control"]);
    }
    // What needs no file works there.
    let btrfs =
        Sample::uninitialised().host(|host| host.incus_filesystem = filesystem("/", "btrfs", 100));
    assert_eq!(planned(no_loop(btrfs.clone())).len(), 4);
    assert_eq!(planned(container(btrfs)).len(), 4);
    assert_eq!(planned(container(Sample::set_up("btrfs"))), [""; 0]);
    let dir = Goal {
        driver: DriverChoice::Dir,
        ..Goal::default()
    };
    assert_eq!(
        planned_for(container(Sample::uninitialised()), &dir).len(),
        4
    );
}

#[test]
fn names_that_no_pool_gets() {
    let long = "a".repeat(64);
    for name in [
        "", "-a", ".a", "_a", "a b", "a/b", "../a", "ä", "a\n", "a=b", &long,
    ] {
        assert!(name.parse::<PoolName>().is_err(), "{name:?}");
    }
    for name in ["a", "taos", "7", "a-b_c.d", &long[1..]] {
        assert!(name.parse::<PoolName>().is_ok(), "{name:?}");
    }
}
