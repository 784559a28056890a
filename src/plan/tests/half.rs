//! Uninitialised and half-configured: only what is missing is planned.

use super::*;

#[test]
fn uninitialised() {
    let plan = decide(&Sample::uninitialised().facts(), &Goal::default());
    assert_eq!(words(&plan), [POOL, ROOT, BRIDGE, NIC]);
    assert_eq!(plan.pool.as_deref(), Some("default"));
    assert_eq!(notes(&plan), [""; 0]);
    assert!(plan.choices.is_empty());
}

#[test]
fn set_up_already() {
    let plan = decide(&Sample::set_up("btrfs").facts(), &Goal::default());
    assert_eq!(words(&plan), [""; 0]);
    assert_eq!(plan.pool.as_deref(), Some("default"));
}

#[test]
fn only_the_missing_parts() {
    let set_up = || Sample::set_up("btrfs");
    let repoint = "point the root disk of profile default to pool fast instead of gone";
    for (found, sample, expected) in [
        (
            "a pool, but no root and no card in the profile",
            Sample::uninitialised().pool("default", "btrfs"),
            &[ROOT, BRIDGE, NIC][..],
        ),
        (
            "a pool and a bridge, as after a failed init",
            Sample::uninitialised()
                .pool("default", "btrfs")
                .bridge("incusbr0"),
            &[ROOT, NIC],
        ),
        (
            "a profile without root",
            set_up().without_device("default", "root"),
            &[ROOT],
        ),
        (
            "a profile without card",
            set_up().without_device("default", "eth0"),
            &[NIC],
        ),
        (
            "a bridge only",
            Sample::uninitialised().bridge("incusbr0"),
            &[POOL, ROOT, NIC],
        ),
        (
            "a pool of another name",
            Sample::uninitialised().pool("fast", "zfs"),
            &["give profile default a root disk on pool fast", BRIDGE, NIC],
        ),
        (
            "a pool that clones beside one that copies, and no root in the profile",
            set_up()
                .pool("slow", "dir")
                .without_device("default", "root"),
            &[ROOT],
        ),
        (
            "only a pool of another name that copies",
            Sample::uninitialised().pool("slow", "dir"),
            &[POOL, ROOT, BRIDGE, NIC],
        ),
        (
            "a profile that names a pool that is gone",
            Sample::uninitialised().device("default", "root", "disk path=/ pool=default"),
            &[POOL, BRIDGE, NIC],
        ),
        (
            "a profile that names a pool that is gone, and the only other clones",
            Sample::set_up("btrfs")
                .server(|server| server.pools.clear())
                .device("default", "root", "disk path=/ pool=gone")
                .pool("fast", "btrfs"),
            &[repoint],
        ),
    ] {
        assert_eq!(planned(sample), expected, "{found}");
    }
}

#[test]
fn a_root_disk_takes_no_other_device_s_name() {
    let sample = Sample::set_up("btrfs")
        .device("default", "root", "disk path=/data source=/srv/data")
        .facts();
    let plan = decide(&sample, &Goal::default());
    assert_eq!(words(&plan), [ROOT]);
    let after = after(&sample, &plan);
    let devices = &after.server().unwrap().profiles[0].devices;
    assert_eq!(devices["root"]["path"], "/data");
    assert_eq!(devices["rootfs"]["path"], "/");
}

#[test]
fn several_pools_and_none_named_is_a_question_back() {
    let sample = Sample::uninitialised()
        .pool("fast", "zfs")
        .pool("faster", "btrfs");
    assert_says(
        &refused(sample, &Goal::default()),
        &["fast, faster could all be meant", "--pool fast"],
    );
}

#[test]
fn profiles_of_incus_user_are_given_a_root_too() {
    let sample = Sample::uninitialised().profile("user-1000/default");
    assert_eq!(
        planned(sample)[..3],
        [
            POOL,
            ROOT,
            "give profile default of project user-1000 a root disk on pool default"
        ]
    );
}

#[test]
fn other_profiles_are_left_alone() {
    let sample = Sample::set_up("btrfs")
        .profile("empty")
        .profile("web/default")
        .pool("slow", "dir")
        .device("big", "root", "disk path=/ pool=slow");
    assert_eq!(planned(sample), [""; 0]);
}
