//! A pool that clones already, and a pool asked for by name.

use super::*;
use crate::facts::{Backing, Bytes};
use crate::plan::DriverChoice;

#[test]
fn a_pool_that_clones_is_used_as_it_is() {
    for driver in ["btrfs", "zfs", "lvm", "ceph"] {
        let sample = || Sample::set_up(driver).instance("mary");
        assert_eq!(planned(sample()), [""; 0], "{driver}");
        // "The profile is checked."
        let half = Sample::set_up(driver).without_device("default", "root");
        assert_eq!(planned(half), [ROOT], "{driver}");
    }
}

#[test]
fn lvm_clones_only_with_a_thin_pool() {
    let thick = Sample::set_up("lvm")
        .instance("mary")
        .change_pool("default", |pool| {
            pool.config
                .insert("lvm.use_thinpool".into(), "false".into());
        });
    let plan = decide(&thick.facts(), &Goal::default());
    assert_eq!(words(&plan), [""; 0]);
    assert_eq!(
        notes(&plan),
        [
            "pool default (lvm) copies at each launch; left as it is, because 1 instance is on it",
            "for a copy-on-write pool beside it for new agents: taos-setup --beside --pin mary",
        ]
    );
}

#[test]
fn a_driver_that_is_not_known_is_left_alone_even_if_nothing_is_on_it() {
    let sample = Sample::set_up("linstor").change_pool("default", |pool| pool.config.clear());
    let plan = decide(&sample.facts(), &Goal::default());
    assert_eq!(words(&plan), [""; 0]);
    assert_eq!(plan.choices.len(), 2);
}

#[test]
fn options_for_a_new_pool_are_noted_where_none_is_made() {
    for (goal, note) in [
        (sized("8GiB"), "pool default is there already"),
        (at("/srv/pool"), "pool default is there already"),
        (
            Goal {
                driver: DriverChoice::Zfs,
                ..Goal::default()
            },
            "launches use pool default, which is btrfs and clones; no zfs pool is made",
        ),
    ] {
        let plan = decide(&Sample::set_up("btrfs").facts(), &goal);
        assert_eq!(words(&plan), [""; 0]);
        assert_says(&notes(&plan).join("\n"), &[note]);
    }
}

fn preallocate() -> Goal {
    Goal {
        preallocate: true,
        ..Goal::default()
    }
}

/// A finished host whose pool has these mount options, and so much of its 50 GiB allocated.
fn with_file(options: &str, allocated_gib: u64) -> Sample {
    Sample::set_up("btrfs").change_pool("default", |pool| {
        pool.config
            .insert("btrfs.mount_options".into(), options.into());
        pool.backing = Backing::LoopFile {
            path: "/var/lib/incus/disks/default.img".into(),
            size: Bytes::gib(50),
            allocated: Bytes::gib(allocated_gib),
        };
    })
}

#[test]
fn a_preallocated_pool_with_holes_is_filled_again() {
    let sample = || with_file("user_subvol_rm_allowed,nodiscard", 40);
    let hold = "allocate all 50 GiB of /var/lib/incus/disks/default.img now";
    assert_eq!(planned_for(sample(), &preallocate()), [hold]);
    // Only if it is asked for.
    assert_eq!(planned(sample()), [""; 0]);
    let whole = with_file("user_subvol_rm_allowed,nodiscard", 50);
    assert_eq!(planned_for(whole, &preallocate()), [""; 0]);
    let full = sample().host(|host| host.incus_filesystem.free = Bytes::gib(9));
    assert_says(
        &refused(full, &preallocate()),
        &["needs 10 GiB more to be whole, and / has 9 GiB free"],
    );
}

#[test]
fn preallocating_what_would_not_stay_so_is_only_noted() {
    let zfs_file = Sample::set_up("zfs").change_pool("default", |pool| {
        pool.backing = Backing::LoopFile {
            path: "/var/lib/incus/disks/default.img".into(),
            size: Bytes::gib(50),
            allocated: Bytes::gib(1),
        };
    });
    for (sample, said, unsaid) in [
        (
            with_file("noatime", 40),
            "incus storage set default btrfs.mount_options=noatime,nodiscard",
            "?",
        ),
        (
            with_file("noatime,nodiscard=off", 40),
            "gives freed blocks back",
            "?",
        ),
        (Sample::set_up("lvm"), "is in no file", "btrfs"),
        (zfs_file, "pool default", "btrfs.mount_options"),
    ] {
        let plan = decide(&sample.facts(), &preallocate());
        assert_eq!(words(&plan), [""; 0]);
        let notes = notes(&plan).join("\n");
        assert_says(&notes, &[said]);
        assert!(!notes.contains(unsaid), "{notes}");
    }
}

#[test]
fn a_pool_asked_for_by_name_with_another_driver_is_refused() {
    let goal = Goal {
        driver: DriverChoice::Zfs,
        ..named("default")
    };
    assert_says(
        &refused(Sample::set_up("btrfs"), &goal),
        &["there is a pool default already, with the driver btrfs and not zfs"],
    );
}

#[test]
fn a_new_pool_by_name_becomes_that_of_every_launch_profile() {
    let sample = Sample::set_up("dir")
        .device("user-1000/default", "root", "disk path=/ pool=default")
        .device("web/default", "root", "disk path=/ pool=default");
    assert_eq!(
        planned_for(sample, &named("fast")),
        [
            "create storage pool fast (btrfs, 50 GiB loop file /var/lib/incus/disks/fast.img)",
            "point the root disk of profile default to pool fast instead of default",
            "point the root disk of profile default of project user-1000 to pool fast instead of \
             default",
        ]
    );
}

#[test]
fn instances_of_incus_user_s_projects_are_pinned_and_shown_with_their_project() {
    let sample = Sample::set_up("dir")
        .device("user-1000/default", "root", "disk path=/ pool=default")
        .instance("user-1000/mary");
    assert_eq!(
        planned_for(sample, &named("fast"))[2..],
        [
            "pin the root disk of instance user-1000/mary to pool default, where it is",
            "point the root disk of profile default of project user-1000 to pool fast instead of \
             default",
        ]
    );
}

#[test]
fn a_pool_by_name_that_is_there_only_has_profiles_pointed_at_it() {
    let sample = Sample::set_up("zfs").pool("fast", "btrfs");
    assert_eq!(
        planned_for(sample, &named("fast")),
        ["point the root disk of profile default to pool fast instead of default"]
    );
}

#[test]
fn an_old_launch_profile_follows_to_the_pool_that_clones() {
    let sample = || {
        Sample::set_up("btrfs").pool("slow", "dir").device(
            "user-1000/default",
            "root",
            "disk path=/ pool=slow",
        )
    };
    assert_eq!(
        planned(sample()),
        ["point the root disk of profile default of project user-1000 to pool default instead of slow"]
    );
    // With an instance that inherits its root disk it is only said.
    let plan = decide(
        &sample().instance("user-1000/mary").facts(),
        &Goal::default(),
    );
    assert_eq!(words(&plan), [""; 0]);
    assert_eq!(
        notes(&plan),
        [
            "profile default of project user-1000 still sends launches to pool slow; the root \
             disk of user-1000/mary comes from it",
            "to point it to default: taos-setup --pool default --pin user-1000/mary",
        ]
    );
}

#[test]
fn a_profile_on_another_pool_that_clones_stays_there() {
    let sample = Sample::set_up("btrfs").pool("other", "zfs").device(
        "user-1000/default",
        "root",
        "disk path=/ pool=other",
    );
    assert_eq!(planned(sample), [""; 0]);
}

#[test]
fn a_pool_in_use_that_copies_is_not_given_the_launches() {
    let sample = Sample::set_up("btrfs")
        .pool("slow", "dir")
        .instance("mary")
        .own_device("mary", "root", "disk path=/ pool=slow");
    assert_says(
        &refused(sample, &named("slow")),
        &["pool slow (dir) copies at each launch", "--driver dir"],
    );
}
