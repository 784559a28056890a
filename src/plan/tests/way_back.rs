//! What stands in the way of taking a completed run back.

use super::*;
use crate::facts::{Incus, PoolUser, Server};
use crate::plan::backwards;
use crate::plan::samples::{device, reference};

const TAKE_NIC: &str = "take device eth0 out of profile default";
const TAKE_ROOT: &str = "take the root disk on pool default out of profile default";

/// What taking a plan back would do after something happened to the finished host, or why not.
fn taken_back(sample: Sample, goal: &Goal, happened: impl FnOnce(&mut Server)) -> Vec<String> {
    let facts = sample.facts();
    let plan = decide(&facts, goal);
    let mut facts = after(&facts, &plan);
    if let Incus::Answering(server) = &mut facts.incus {
        happened(server);
    }
    match backwards(&facts, &plan.steps) {
        Ok(steps) => steps.iter().map(super::super::Step::describe).collect(),
        Err(refusal) => vec![refusal.what],
    }
}

/// Somebody launches an instance with profile `default`.
fn launch(server: &mut Server, name: &str) {
    let facts = Sample::uninitialised().instance(name).facts();
    let launched = facts.server().unwrap().instances.clone();
    server.instances.extend(launched);
}

#[test]
fn everything_that_was_made_goes_last_first() {
    let fresh = [
        TAKE_NIC,
        "delete network incusbr0",
        TAKE_ROOT,
        "delete storage pool default (btrfs, 50 GiB loop file \
         /var/lib/incus/disks/default.img), which is empty",
    ];
    for sample in [Sample::bare(), Sample::silent(), Sample::uninitialised()] {
        assert_eq!(taken_back(sample, &Goal::default(), |_| {}), fresh);
    }
    assert_eq!(
        taken_back(Sample::set_up("dir"), &Goal::default(), |_| {}),
        [
            TAKE_ROOT,
            fresh[3],
            "create storage pool default (dir, folder /var/lib/incus/storage-pools/default)",
            ROOT,
        ]
    );
    assert_eq!(
        taken_back(Sample::dir_with_instances(), &beside(), |_| {}),
        [
            "point the root disk of profile default to pool default instead of taos",
            "let instance naira take its root disk from its profile again",
            "let instance mary take its root disk from its profile again",
            "delete storage pool taos (btrfs, 50 GiB loop file /var/lib/incus/disks/taos.img), \
             which is empty",
        ]
    );
}

#[test]
fn an_instance_launched_since_stands_in_the_way() {
    for sample in [Sample::uninitialised(), Sample::set_up("dir")] {
        let back = taken_back(sample, &Goal::default(), |server| launch(server, "luz"));
        let why = "the root disk of luz comes from profile default";
        assert_eq!(back, [format!("cannot {TAKE_ROOT}: {why}")]);
    }
    let back = taken_back(Sample::dir_with_instances(), &beside(), |server| {
        launch(server, "luz");
    });
    assert_says(
        &back[0],
        &["the root disk of luz comes from profile default"],
    );
}

#[test]
fn anything_on_the_pool_stands_in_the_way() {
    for (user, name) in [
        (
            PoolUser::Instance {
                name: reference("web/luz"),
            },
            "instance web/luz",
        ),
        (
            PoolUser::Volume {
                name: reference("data"),
            },
            "custom volume data",
        ),
        (
            PoolUser::Profile {
                name: reference("big"),
            },
            "profile big",
        ),
    ] {
        let back = taken_back(Sample::set_up("dir"), &Goal::default(), |server| {
            server.pools[0].users.push(user);
        });
        assert_says(
            &back[0],
            &[
                "cannot delete storage pool default",
                &format!("is used by {name}"),
            ],
        );
    }
    let back = taken_back(Sample::set_up("dir"), &Goal::default(), |server| {
        let volume = ("storage.images_volume".into(), "default/images".into());
        server.daemon_volumes.extend([volume]);
    });
    assert_says(&back[0], &["storage.images_volume=default/images"]);
}

#[test]
fn an_instance_on_the_network_stands_in_the_way() {
    let back = taken_back(Sample::uninitialised(), &Goal::default(), |server| {
        let user = "/1.0/instances/luz".into();
        server.networks[0].used_by.push(user);
    });
    assert_says(
        &back[0],
        &["network incusbr0 is used by /1.0/instances/luz"],
    );
}

#[test]
fn what_somebody_changed_since_is_not_overwritten() {
    let back = taken_back(Sample::uninitialised(), &Goal::default(), |server| {
        let root = device("disk path=/ pool=default size=20GiB");
        server.profiles[0].devices.insert("root".into(), root);
    });
    assert_says(&back[0], &["was changed by someone else"]);
}

#[test]
fn what_somebody_took_back_already_is_left_out() {
    let back = taken_back(Sample::uninitialised(), &Goal::default(), |server| {
        server.profiles[0].devices.remove("eth0");
        server.networks.clear();
    });
    assert_eq!(back.len(), 2);
    assert_eq!(back[0], TAKE_ROOT);
}

#[test]
fn an_instance_deleted_since_needs_no_way_back() {
    let back = taken_back(Sample::dir_with_instances(), &beside(), |server| {
        server.instances.remove(0);
    });
    assert_eq!(
        back[1],
        "let instance naira take its root disk from its profile again"
    );
    assert_eq!(back.len(), 3);
}

#[test]
fn a_silent_daemon_is_said() {
    let facts = Sample::uninitialised().facts();
    let steps = decide(&facts, &Goal::default()).steps;
    let silent = Sample::silent().facts();
    let refusal = backwards(&silent, &steps).unwrap_err();
    assert_says(&refusal.what, &["the Incus daemon does not answer"]);
}

#[test]
fn a_profile_deleted_since_gets_nothing_back() {
    let sample = Sample::set_up("dir").device("web", "root", "disk path=/ pool=default");
    let back = taken_back(sample, &Goal::default(), |server| {
        server
            .profiles
            .retain(|profile| profile.reference.name != "web");
        for pool in &mut server.pools {
            pool.users.retain(|user| {
                *user
                    != PoolUser::Profile {
                        name: reference("web"),
                    }
            });
        }
    });
    assert!(back.iter().all(|words| !words.contains("web")), "{back:?}");
    assert_eq!(back.len(), 4, "{back:?}");
}
