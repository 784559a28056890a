//! A pool that copies: made again where it is empty, left alone where it is not.

use super::*;
use crate::facts::PoolUser;
use crate::plan::samples::reference;
use crate::plan::{Choice, DriverChoice, Step};

const OUT: &str = "take the root disk on pool default out of profile default";
const DELETE: &str = "delete storage pool default (dir, folder \
                      /var/lib/incus/storage-pools/default), which is empty";

/// An empty pool with profiles in several projects on it.
fn empty() -> Sample {
    Sample::set_up("dir")
        .device("default", "root", "disk path=/ pool=default size=10GiB")
        .device("web", "disk0", "disk path=/ pool=default io.bus=nvme")
        .device("user-1000/default", "root", "disk path=/ pool=default")
        .user(
            "default",
            PoolUser::Image {
                fingerprint: "0123456789abcdef".into(),
            },
        )
}

#[test]
fn empty_is_made_again_under_its_name() {
    let root_of_user = "root disk on pool default";
    assert_eq!(
        planned(empty()),
        [
            OUT,
            "take the root disk on pool default out of profile web",
            &format!("take the {root_of_user} out of profile default of project user-1000"),
            DELETE,
            POOL,
            ROOT,
            "give profile web a root disk on pool default",
            &format!("give profile default of project user-1000 a {root_of_user}"),
        ]
    );
}

#[test]
fn every_profile_gets_its_root_back_with_all_its_keys() {
    let facts = empty().facts();
    let after = after(&facts, &decide(&facts, &Goal::default()));
    let (before, after) = (facts.server().unwrap(), after.server().unwrap());
    assert_eq!(after.profiles, before.profiles);
    assert_eq!(after.profiles[0].devices["root"]["size"], "10GiB");
    assert_eq!(after.profiles[1].devices["disk0"]["io.bus"], "nvme");
    assert_eq!(after.pool("default").unwrap().driver, "btrfs");
}

#[test]
fn empty_and_unused_by_profiles() {
    let sample = Sample::uninitialised().pool("default", "dir");
    assert_eq!(planned(sample), [DELETE, POOL, ROOT, BRIDGE, NIC]);
}

#[test]
fn empty_is_kept_where_copying_is_asked_for() {
    let goal = Goal {
        driver: DriverChoice::Dir,
        ..Goal::default()
    };
    assert_eq!(planned_for(empty(), &goal), [""; 0]);
}

#[test]
fn an_instance_on_another_pool_does_not_make_it_used() {
    let sample = empty().pool("other", "btrfs").instance("mary").own_device(
        "mary",
        "root",
        "disk path=/ pool=other",
    );
    assert!(planned(sample).contains(&DELETE.to_owned()));
}

/// Each with the words that name it.
fn occupied() -> Vec<(&'static str, Sample)> {
    let user = |user: PoolUser| empty().user("default", user);
    let root = "disk path=/ pool=default";
    vec![
        ("1 instance is on it", empty().instance("mary")),
        ("1 instance is on it", empty().instance("web/mary")),
        (
            "1 instance is on it",
            empty()
                .instance("user-1000/mary")
                .own_device("user-1000/mary", "root", root),
        ),
        (
            "custom volume data",
            user(PoolUser::Volume {
                name: reference("data"),
            }),
        ),
        (
            "custom volume web/data",
            user(PoolUser::Volume {
                name: reference("web/data"),
            }),
        ),
        (
            "bucket web/backups",
            user(PoolUser::Bucket {
                name: reference("web/backups"),
            }),
        ),
        (
            "the daemon setting storage.images_volume=default/images",
            empty().daemon_volume("storage.images_volume", "default/images"),
        ),
        (
            "the daemon setting storage.backups_volume=default/backups",
            empty().daemon_volume("storage.backups_volume", "default/backups"),
        ),
        (
            "files in containers/lost",
            empty().change_pool("default", |pool| {
                pool.stray_files.push("containers/lost".into());
            }),
        ),
        (
            "/1.0/something/new",
            user(PoolUser::Other {
                url: "/1.0/something/new".into(),
            }),
        ),
        ("/srv/pool", with_key("source", "/srv/pool")),
        (
            "/srv/storage-pools/default",
            with_key("source", "/srv/storage-pools/default"),
        ),
        ("rsync.bwlimit", with_key("rsync.bwlimit", "10MB")),
        (
            "profile web",
            empty().device("web", "data", "disk path=/data pool=default source=data"),
        ),
    ]
}

fn with_key(key: &str, value: &str) -> Sample {
    empty().change_pool("default", |pool| {
        pool.config.insert(key.into(), value.into());
    })
}

#[test]
fn anything_at_all_on_it_leaves_it_as_it_is() {
    for (what, sample) in occupied() {
        let plan = decide(&sample.facts(), &Goal::default());
        assert_eq!(words(&plan), [""; 0], "{what}");
        assert_eq!(plan.choices.len(), 2, "{what}");
        assert_eq!(plan.pool.as_deref(), Some("default"), "{what}");
    }
}

#[test]
fn what_is_on_it_is_named() {
    for (what, sample) in occupied() {
        let plan = decide(&sample.facts(), &Goal::default());
        assert_says(&notes(&plan)[0], &["left as it is, because", what]);
    }
}

#[test]
fn a_setting_for_another_pool_does_not_count() {
    let sample = empty()
        .pool("default2", "btrfs")
        .daemon_volume("storage.images_volume", "default2/images");
    assert!(planned(sample).contains(&DELETE.to_owned()));
}

#[test]
fn with_instances_the_choices_are_listed_with_who_would_be_pinned() {
    let sample = Sample::dir_with_instances()
        .instance("web/luz")
        .instance("settled")
        .own_device("settled", "root", "disk path=/ pool=default");
    let plan = decide(&sample.facts(), &Goal::default());
    assert_eq!(words(&plan), [""; 0]);
    assert_eq!(
        plan.choices,
        [
            Choice::Leave {
                pool: "default".into()
            },
            Choice::Beside {
                pool: "default".into(),
                beside: "taos".into(),
                pins: ["mary", "naira", "web/luz"].map(reference).into(),
            },
        ]
    );
    assert_eq!(
        notes(&plan),
        [
            "pool default (dir) copies at each launch; left as it is, because 4 instances are on \
             it",
            "for a copy-on-write pool beside it for new agents: taos-setup --beside --pin \
             mary,naira,web/luz",
        ]
    );
}

#[test]
fn left_alone_but_for_what_launches_lack() {
    let sample = Sample::set_up("dir")
        .without_device("default", "root")
        .instance("mary")
        .own_device("mary", "root", "disk path=/ pool=default");
    assert_eq!(planned(sample), [ROOT]);
}

#[test]
fn beside_pins_exactly_those_who_inherit_and_nobody_else() {
    let facts = Sample::dir_with_instances()
        .device("default", "root", "disk path=/ pool=default size=10GiB")
        .instance("settled")
        .own_device("settled", "root", "disk path=/ pool=default")
        .facts();
    let plan = decide(&facts, &beside());
    assert_eq!(
        words(&plan),
        [
            "create storage pool taos (btrfs, 50 GiB loop file /var/lib/incus/disks/taos.img)",
            "pin the root disk of instance mary to pool default, where it is",
            "pin the root disk of instance naira to pool default, where it is",
            "point the root disk of profile default to pool taos instead of default",
        ]
    );
    let after = after(&facts, &plan);
    let after = after.server().unwrap();
    let old = &facts.server().unwrap().profiles[0].devices["root"];
    assert_eq!(after.instances[0].devices["root"], *old);
    assert_eq!(after.profiles[0].devices["root"]["pool"], "taos");
    assert_eq!(after.profiles[0].devices["root"]["size"], "10GiB");
    assert_eq!(plan.pool.as_deref(), Some("taos"));
}

#[test]
fn of_several_profiles_the_last_with_a_root_disk_counts() {
    let with = |names: &[&str]| {
        let sample = Sample::dir_with_instances()
            .device("big", "root", "disk path=/ pool=default size=90GiB")
            .profile("plain")
            .profiles_of("mary", names);
        let pin = "pin the root disk of instance mary to pool default, where it is".to_owned();
        planned_for(sample, &beside()).contains(&pin)
    };
    for (names, pinned) in [
        (&["default"][..], true),
        (&["default", "plain"], true),
        (&["big", "default"], true),
        (&["default", "big"], false),
        (&["big"], false),
    ] {
        assert_eq!(with(names), pinned, "{names:?}");
    }
}

#[test]
fn no_profile_is_pointed_from_one_pool_that_copies_to_another() {
    let sample = Sample::dir_with_instances().pool("slow", "dir").device(
        "user-1000/default",
        "root",
        "disk path=/ pool=slow",
    );
    assert_eq!(planned(sample), [""; 0]);
}

#[test]
fn beside_takes_a_name_that_is_free_or_given() {
    let create = |sample: Sample, goal: Goal| planned_for(sample, &goal)[0].clone();
    let taken = || Sample::dir_with_instances().pool("taos", "dir");
    assert_says(&create(taken(), beside()), &["create storage pool taos2 "]);
    let goal = Goal {
        beside: true,
        ..named("agents")
    };
    assert_says(&create(taken(), goal), &["create storage pool agents "]);
}

#[test]
fn beside_finishes_what_is_there_already() {
    let sample = Sample::dir_with_instances().pool("taos", "btrfs");
    assert_eq!(
        planned_for(sample, &beside()),
        [
            "pin the root disk of instance mary to pool default, where it is",
            "pin the root disk of instance naira to pool default, where it is",
            "point the root disk of profile default to pool taos instead of default",
        ]
    );
}

#[test]
fn beside_cannot_be_the_pool_itself() {
    let goal = Goal {
        beside: true,
        ..named("default")
    };
    assert_says(
        &refused(Sample::dir_with_instances(), &goal),
        &["pool default is there already, and it is dir"],
    );
}

#[test]
fn no_plan_without_options_deletes_a_pool_with_instances() {
    let deletes = |step: &Step| matches!(step, Step::DeletePool { .. });
    for (what, sample) in occupied() {
        let facts = sample.facts();
        for goal in [Goal::default(), named("default"), beside(), sized("8GiB")] {
            let plan = decide(&facts, &goal);
            assert!(!plan.steps.iter().any(deletes), "{what}");
        }
    }
}

#[test]
fn it_keeps_its_description() {
    let sample = empty().change_pool("default", |pool| pool.description = "for agents".into());
    let facts = sample.facts();
    let after = after(&facts, &decide(&facts, &Goal::default()));
    let pool = after.server().unwrap().pool("default").unwrap();
    assert_eq!(pool.description, "for agents");
}
