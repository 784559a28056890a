//! The driver of a new pool, where it lies, and how large it is.

use super::*;
use crate::facts::{Bytes, Zpool};
use crate::plan::samples::filesystem;
use crate::plan::{DriverChoice, Step};
use crate::step::PoolSpec;

/// How the pool is made, in the words of its step.
fn made(sample: Sample, goal: &Goal) -> String {
    let created = planned_for(sample, goal)
        .into_iter()
        .find_map(|step| Some(step.strip_prefix("create storage pool ")?.to_owned()));
    created.expect("a pool is made")
}

fn spec(sample: Sample, goal: &Goal) -> PoolSpec {
    let plan = decide(&sample.facts(), goal);
    let mut pools = plan.steps.into_iter().filter_map(|step| match step {
        Step::CreatePool { pool } => Some(pool),
        _ => None,
    });
    pools.next().expect("a pool is made")
}

/// The keys of `incus storage create`.
fn keys(sample: Sample, goal: &Goal) -> Vec<String> {
    spec(sample, goal)
        .config
        .iter()
        .map(|(key, value)| format!("{key}={value}"))
        .collect()
}

fn driver(driver: DriverChoice) -> Goal {
    Goal {
        driver,
        ..Goal::default()
    }
}

/// Incus lies on a filesystem of this kind, with so many GiB free.
fn on(kind: &str, free_gib: u64) -> Sample {
    Sample::uninitialised().host(|host| {
        host.incus_filesystem = filesystem("/", kind, free_gib);
    })
}

/// As [`on`], with another btrfs filesystem beside.
fn with_other(kind: &str, free_gib: u64, other_free_gib: u64) -> Sample {
    on(kind, free_gib).host(|host| {
        let other = filesystem("/srv", "btrfs", other_free_gib);
        host.btrfs_filesystems.push(other);
    })
}

#[test]
fn on_btrfs_it_is_a_subvolume_and_no_file() {
    let own = "default (btrfs, subvolume /var/lib/incus/storage-pools/default)";
    let other = "default (btrfs, subvolume /srv/incus-default)";
    let file = "default (btrfs, 50 GiB loop file /var/lib/incus/disks/default.img)";
    for (found, sample, expected) in [
        ("Incus on btrfs", on("btrfs", 100), own),
        ("Incus on btrfs, with little room", on("btrfs", 3), own),
        (
            "another with clearly more room",
            with_other("ext4", 100, 300),
            other,
        ),
        (
            "another with less than three times",
            with_other("ext4", 100, 299),
            file,
        ),
        (
            "another with less than 20 GiB more",
            with_other("ext4", 8, 27),
            "default (btrfs, 6 GiB loop file /var/lib/incus/disks/default.img)",
        ),
        (
            "another with 20 GiB more, of little",
            with_other("ext4", 8, 28),
            other,
        ),
        (
            "both on btrfs, the other clearly larger",
            with_other("btrfs", 10, 200),
            other,
        ),
        ("both on btrfs, alike", with_other("btrfs", 100, 200), own),
    ] {
        assert_eq!(made(sample, &Goal::default()), expected, "{found}");
    }
    let largest = with_other("ext4", 10, 100).host(|host| {
        host.btrfs_filesystems
            .push(filesystem("/big", "btrfs", 500));
    });
    assert_says(&made(largest, &Goal::default()), &["/big/incus-default"]);
}

#[test]
fn it_lies_where_this_incus_keeps_its_state() {
    let moved = |sample: Sample| sample.host(|host| host.incus_dir = "/srv/incus".into());
    let file = "50 GiB loop file /srv/incus/disks/default.img";
    assert_says(&made(moved(on("ext4", 100)), &Goal::default()), &[file]);
    let empty = Sample::set_up("dir").change_pool("default", |pool| {
        let folder = "/srv/incus/storage-pools/default".to_owned();
        pool.config.insert("source".into(), folder);
    });
    assert_says(&made(moved(empty), &Goal::default()), &[file]);
}

#[test]
fn only_a_filesystem_of_its_own_is_compressed() {
    assert_eq!(
        keys(on("btrfs", 100), &Goal::default()),
        [
            "btrfs.mount_options=user_subvol_rm_allowed,noatime",
            "source=/var/lib/incus/storage-pools/default"
        ]
    );
    assert_eq!(
        keys(on("ext4", 100), &Goal::default()),
        [
            "btrfs.mount_options=user_subvol_rm_allowed,noatime,compress=zstd:1",
            "size=50GiB"
        ]
    );
}

#[test]
fn a_file_is_made_on_btrfs_where_it_is_asked_for() {
    let file = "50 GiB loop file /var/lib/incus/disks/default.img";
    for goal in [
        sized("50GiB"),
        Goal {
            source: Some(SourceChoice::Loop),
            ..Goal::default()
        },
    ] {
        assert_says(&made(on("btrfs", 100), &goal), &[file]);
        assert_says(&made(with_other("ext4", 100, 900), &goal), &[file]);
    }
}

/// A host whose kernel has these filesystems, with the tools for zfs and a pool of it.
fn with_zfs(kernel: &[&str], zpools: &[(&str, u64)]) -> Sample {
    Sample::uninitialised().host(|host| {
        host.kernel_filesystems = kernel.iter().map(ToString::to_string).collect();
        for tool in ["zfs", "zpool"] {
            host.tools.insert(tool.into(), format!("/sbin/{tool}"));
        }
        host.zpools = zpools
            .iter()
            .map(|(name, free_gib)| Zpool {
                name: (*name).into(),
                free: Bytes::gib(*free_gib),
            })
            .collect();
    })
}

#[test]
fn zfs_is_taken_where_btrfs_cannot_be() {
    let file = "default (zfs, 50 GiB loop file /var/lib/incus/disks/default.img)";
    for (found, sample, expected) in [
        (
            "a zpool",
            with_zfs(&["zfs"], &[("tank", 100)]),
            "default (zfs, dataset tank/incus-default)",
        ),
        (
            "several: the one with most room",
            with_zfs(&["zfs"], &[("small", 10), ("tank", 100), ("rpool", 20)]),
            "default (zfs, dataset tank/incus-default)",
        ),
        ("no zpool", with_zfs(&["zfs"], &[]), file),
        ("a full zpool", with_zfs(&["zfs"], &[("tank", 3)]), file),
        (
            "btrfs as well",
            with_zfs(&["btrfs", "zfs"], &[("tank", 900)]),
            "default (btrfs, 50 GiB loop file /var/lib/incus/disks/default.img)",
        ),
    ] {
        assert_eq!(made(sample, &Goal::default()), expected, "{found}");
    }
    assert_eq!(
        keys(with_zfs(&["zfs"], &[("tank", 100)]), &Goal::default()),
        ["source=tank/incus-default"]
    );
}

#[test]
fn a_driver_whose_tools_cannot_be_had_is_none() {
    let unobtainable = with_zfs(&["btrfs", "zfs"], &[("tank", 100)]).host(|host| {
        host.packages = None;
        host.tools.remove("btrfs");
    });
    assert_says(
        &made(unobtainable.clone(), &Goal::default()),
        &["dataset tank/incus-default"],
    );
    assert_says(
        &refused(unobtainable, &driver(DriverChoice::Btrfs)),
        &["no btrfs, or its tools", "--driver dir"],
    );
}

#[test]
fn neither_btrfs_nor_zfs_is_refused_with_what_is_missing() {
    for found in [
        Sample::bare(),
        Sample::uninitialised(),
        Sample::set_up("dir"),
    ] {
        let text = refused(
            found.host(|host| host.kernel_filesystems.clear()),
            &Goal::default(),
        );
        assert_says(
            &text,
            &["neither btrfs nor ZFS", "btrfs-progs", "--driver dir"],
        );
    }
}

#[test]
fn a_driver_can_be_chosen() {
    let both = || with_zfs(&["btrfs", "zfs"], &[("tank", 100)]);
    for (choice, expected) in [
        (DriverChoice::Btrfs, "(btrfs, 50 GiB loop file"),
        (DriverChoice::Zfs, "(zfs, dataset tank/incus-default)"),
        (
            DriverChoice::Dir,
            "(dir, folder /var/lib/incus/storage-pools/default)",
        ),
    ] {
        assert_says(&made(both(), &driver(choice)), &[expected]);
    }
    assert_says(
        &refused(Sample::uninitialised(), &driver(DriverChoice::Zfs)),
        &["no ZFS, or its tools"],
    );
    // It needs neither.
    let neither = Sample::uninitialised().host(|host| host.kernel_filesystems.clear());
    assert!(keys(neither, &driver(DriverChoice::Dir)).is_empty());
}

#[test]
fn the_size_is_what_the_host_can_keep() {
    for (free_gib, size) in [
        (6, Some("4 GiB")),
        (8, Some("6 GiB")),
        (16, Some("14 GiB")),
        (31, Some("27 GiB")),
        (64, Some("50 GiB")),
        (500, Some("50 GiB")),
        (5, None),
    ] {
        match size {
            Some(size) => {
                let file = format!("(btrfs, {size} loop file ");
                assert_says(&made(on("ext4", free_gib), &Goal::default()), &[&file]);
            }
            None => assert_says(
                &refused(on("ext4", free_gib), &Goal::default()),
                &["/ has 5 GiB available", "2 GiB stay in reserve", "--source"],
            ),
        }
    }
}

#[test]
fn what_other_files_may_grow_by_is_not_free() {
    let sample = on("ext4", 100).host(|host| host.incus_filesystem.promised = Bytes::gib(70));
    assert_says(&made(sample, &Goal::default()), &["27 GiB loop file"]);
}

#[test]
fn sizes_that_are_asked_for() {
    let over = |size: &str| Goal {
        overcommit: true,
        ..sized(size)
    };
    let held = |goal: Goal| Goal {
        preallocate: true,
        ..goal
    };
    // 20 GiB free, of which 18 can be kept.
    for (goal, expected) in [
        (sized("8GiB"), Ok("8 GiB loop file")),
        (sized("18GiB"), Ok("18 GiB loop file")),
        (over("18GiB"), Ok("default.img)")),
        (sized("19GiB"), Err("promises more than the host can keep")),
        (
            over("40GiB"),
            Ok("40 GiB loop file /var/lib/incus/disks/default.img, OVERCOMMITTED"),
        ),
        (held(sized("18GiB")), Ok("18 GiB loop file")),
        (held(sized("19GiB")), Err("19 GiB cannot be allocated")),
        (held(over("19GiB")), Err("19 GiB cannot be allocated")),
        (sized("511MiB"), Err("too small to hold anything")),
        (over("511MiB"), Err("too small to hold anything")),
        (sized("512MiB"), Ok("512 MiB loop file")),
    ] {
        match expected {
            Ok(words) => assert_says(&made(on("ext4", 20), &goal), &[words]),
            Err(words) => assert_says(&refused(on("ext4", 20), &goal), &[words]),
        }
    }
}

#[test]
fn a_size_beyond_the_room_is_flagged_with_the_figures() {
    let goal = Goal {
        overcommit: true,
        ..sized("40GiB")
    };
    let plan = decide(&on("ext4", 20).facts(), &goal);
    assert_says(&plan.steps[0].reason(), &["OVERCOMMITTED"]);
    assert_says(
        &notes(&plan)[0],
        &["OVERCOMMITTED: of the 40 GiB of pool default, / can keep 18 GiB"],
    );
}

#[test]
fn preallocating_is_a_step_of_its_own_and_keeps_discard_off() {
    let goal = Goal {
        preallocate: true,
        ..sized("8GiB")
    };
    assert_eq!(
        planned_for(Sample::uninitialised(), &goal)[..3],
        [
            "create storage pool default (btrfs, 8 GiB loop file /var/lib/incus/disks/default.img)",
            "allocate all 8 GiB of /var/lib/incus/disks/default.img now",
            ROOT,
        ]
    );
    assert_eq!(
        keys(Sample::uninitialised(), &goal),
        [
            "btrfs.mount_options=user_subvol_rm_allowed,noatime,compress=zstd:1,nodiscard",
            "size=8GiB"
        ]
    );
}

#[test]
fn space_is_preallocated_only_where_it_is_really_held() {
    let goal = Goal {
        preallocate: true,
        ..Goal::default()
    };
    for kind in ["ext4", "xfs", "tmpfs"] {
        assert_says(&made(on(kind, 100), &goal), &["50 GiB loop file"]);
    }
    for kind in ["btrfs", "zfs", "overlay", "nfs4"] {
        let said = format!("in a file on /, which is {kind}");
        assert_says(&refused(on(kind, 100), &goal), &["--preallocate", &said]);
    }
    assert_says(
        &refused(with_zfs(&["zfs"], &[]), &goal),
        &["--preallocate cannot hold space for a zfs pool"],
    );
}

#[test]
fn what_is_to_be_installed_takes_room_too() {
    let bare = |free_gib| {
        let host = on("ext4", free_gib);
        host.host(|host| {
            host.tools.remove("incusd");
        })
    };
    assert_says(&made(bare(31), &Goal::default()), &["27 GiB loop file"]);
    assert_says(&made(bare(7), &Goal::default()), &["4 GiB loop file"]);
    assert_says(
        &refused(bare(6), &Goal::default()),
        &["5 GiB available", "2 GiB stay in reserve"],
    );
}

#[test]
fn size_and_preallocate_are_for_files() {
    for goal in [
        sized("8GiB"),
        Goal {
            preallocate: true,
            ..Goal::default()
        },
    ] {
        let goal = Goal {
            driver: DriverChoice::Dir,
            ..goal
        };
        assert_says(
            &refused(Sample::uninitialised(), &goal),
            &["--size and --preallocate are for a pool in a file"],
        );
    }
}
