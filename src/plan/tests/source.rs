//! What `--source` may name.

use super::*;
use crate::facts::{Bytes, SourceKind};
use crate::plan::{DriverChoice, Step};

const DRIVERS: [(&str, DriverChoice); 2] =
    [("btrfs", DriverChoice::Btrfs), ("zfs", DriverChoice::Zfs)];

fn device(mounted: bool, signature: Option<&str>, gib: u64) -> SourceKind {
    SourceKind::BlockDevice {
        mounted,
        signature: signature.map(String::from),
        size: Bytes::gib(gib),
    }
}

fn dataset(exists: bool, zpool: bool) -> SourceKind {
    SourceKind::Dataset { exists, zpool }
}

/// The place a new pool gets, or why it gets none.
fn place(path: &str, kind: SourceKind, filesystem: &str, driver: DriverChoice) -> String {
    let sample = Sample::uninitialised()
        .source(path, kind, filesystem)
        .host(|host| {
            host.kernel_filesystems.insert("zfs".into());
        });
    let goal = Goal { driver, ..at(path) };
    match plan(&sample.facts(), &goal) {
        Err(refusal) => refusal.what,
        Ok(plan) => {
            let mut pools = plan.steps.iter().filter_map(|step| match step {
                Step::CreatePool { pool } => Some(pool.place.to_string()),
                _ => None,
            });
            pools.next().expect("a pool is made")
        }
    }
}

#[test]
fn places_for_a_btrfs_pool() {
    use SourceKind::{EmptyDirectory, FilledDirectory, Nothing};
    let (path, disk) = ("/srv/pool", "/dev/sdb");
    for (path, kind, filesystem, expected) in [
        (
            path,
            Nothing { parent: true },
            "btrfs",
            "subvolume /srv/pool",
        ),
        (
            path,
            Nothing { parent: true },
            "ext4",
            "is on ext4, and only btrfs can hold a subvolume",
        ),
        (
            path,
            Nothing { parent: false },
            "btrfs",
            "the folder it would lie in is not there",
        ),
        (
            path,
            Nothing { parent: false },
            "ext4",
            "the folder it would lie in is not there",
        ),
        (
            path,
            EmptyDirectory { subvolume: true },
            "btrfs",
            "subvolume /srv/pool",
        ),
        (
            path,
            EmptyDirectory { subvolume: false },
            "btrfs",
            "is a folder and no subvolume",
        ),
        (
            path,
            EmptyDirectory { subvolume: false },
            "ext4",
            "is a folder and no subvolume",
        ),
        (
            path,
            FilledDirectory,
            "btrfs",
            "is a folder with files in it",
        ),
        (
            path,
            SourceKind::File,
            "btrfs",
            "is a file, which would be overwritten",
        ),
        (
            disk,
            device(false, None, 100),
            "devtmpfs",
            "device /dev/sdb",
        ),
        (
            disk,
            device(true, None, 100),
            "devtmpfs",
            "is a device that is mounted",
        ),
        (
            disk,
            device(true, Some("ext4"), 100),
            "devtmpfs",
            "is a device that is mounted",
        ),
        (
            disk,
            device(false, Some("ext4"), 100),
            "devtmpfs",
            "has data on it (ext4)",
        ),
        (
            disk,
            device(false, None, 3),
            "devtmpfs",
            "has 3 GiB, too little",
        ),
        (
            "tank/pool",
            dataset(false, true),
            "zfs",
            "is nothing that a btrfs pool can lie in",
        ),
    ] {
        let said = place(path, kind.clone(), filesystem, DriverChoice::Btrfs);
        assert!(said.contains(expected), "{kind:?} on {filesystem}: {said}");
    }
}

#[test]
fn places_for_a_zfs_pool() {
    for (path, kind, expected) in [
        ("tank/pool", dataset(false, true), "dataset tank/pool"),
        ("tank", dataset(true, true), "dataset tank/incus-default"),
        (
            "tank/data",
            dataset(true, false),
            "is a dataset that is in use or may hold data",
        ),
        (
            "tnak/pool",
            dataset(false, false),
            "no ZFS pool of that name is imported",
        ),
        ("/dev/sdb", device(false, None, 100), "device /dev/sdb"),
        (
            "/srv/pool",
            SourceKind::Nothing { parent: true },
            "is nothing that a zfs pool can lie in",
        ),
    ] {
        let said = place(path, kind.clone(), "zfs", DriverChoice::Zfs);
        assert!(said.contains(expected), "{kind:?}: {said}");
    }
}

#[test]
fn nothing_with_data_on_it_is_ever_taken() {
    for kind in [
        SourceKind::File,
        SourceKind::FilledDirectory,
        device(true, None, 100),
        device(false, Some("LVM2_member"), 100),
        device(false, Some("partition table"), 100),
    ] {
        for (name, driver) in DRIVERS {
            let said = place("/srv/x", kind.clone(), "btrfs", driver);
            assert!(
                said.starts_with("--source /srv/x "),
                "{name}, {kind:?}: {said}"
            );
        }
    }
}

#[test]
fn a_source_that_nobody_looked_at_is_not_replaced_by_a_file() {
    assert_says(
        &refused(Sample::uninitialised(), &at("/dev/sdb")),
        &["/dev/sdb"],
    );
}

#[test]
fn a_source_is_not_for_dir() {
    for source in [SourceChoice::Loop, SourceChoice::At("/srv/pool".into())] {
        let goal = Goal {
            source: Some(source),
            driver: DriverChoice::Dir,
            ..Goal::default()
        };
        let sample = Sample::uninitialised().source(
            "/srv/pool",
            SourceKind::Nothing { parent: true },
            "btrfs",
        );
        assert_says(
            &refused(sample, &goal),
            &["--source is for btrfs and zfs pools"],
        );
    }
}

#[test]
fn a_size_is_not_for_a_source() {
    let goal = Goal {
        source: Some(SourceChoice::At("/dev/sdb".into())),
        ..sized("8GiB")
    };
    let sample = Sample::uninitialised().source("/dev/sdb", device(false, None, 100), "devtmpfs");
    assert_says(
        &refused(sample, &goal),
        &[
            "--size and --preallocate are for a pool in a file",
            "device /dev/sdb",
        ],
    );
}

#[test]
fn a_device_needs_no_loop_devices() {
    let sample = Sample::uninitialised()
        .source("/dev/sdb", device(false, None, 100), "devtmpfs")
        .host(|host| host.loop_devices = false);
    let plan = decide(&sample.facts(), &at("/dev/sdb"));
    assert_eq!(
        words(&plan)[0],
        "create storage pool default (btrfs, device /dev/sdb)"
    );
    let Step::CreatePool { pool } = &plan.steps[0] else {
        panic!("{:?}", plan.steps[0]);
    };
    assert_eq!(pool.config["source"], "/dev/sdb");
    assert!(pool.config.contains_key("btrfs.mount_options"));
    assert!(!pool.config.contains_key("size"));
}
