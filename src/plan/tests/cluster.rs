//! Clusters: what each member is given, and where nothing is begun.

use super::*;
use crate::facts::Bytes;
use crate::plan::migrate::Lossy;
use crate::plan::{backwards, Yes};
use crate::step::Step;

const TWO: [&str; 2] = ["one", "two"];

/// Nothing is there but two members with 100 GiB each.
fn fresh() -> Sample {
    Sample::uninitialised().members(&TWO, Some(100))
}

/// `--member-size NAME=SIZE`
fn member_sized(name: &str, size: &str) -> Goal {
    Goal {
        member_sizes: [(name.to_owned(), parsed(size))].into(),
        ..Goal::default()
    }
}

fn created(on: &str) -> String {
    format!("create storage pool default (btrfs) on {on}")
}

fn bridge() -> String {
    "create network incusbr0 (bridge) on one, two".into()
}

#[test]
fn each_member_gets_what_was_said_of_it_or_what_it_has_room_for() {
    for (found, sample, goal, on) in [
        (
            "nothing said",
            fresh(),
            Goal::default(),
            "one (50 GiB file), two (50 GiB file)",
        ),
        (
            "one has less",
            fresh().member("two", |it| it.room = Some(Bytes::gib(8))),
            Goal::default(),
            "one (50 GiB file), two (6 GiB file)",
        ),
        (
            "one size for all",
            fresh(),
            sized("8GiB"),
            "one (8 GiB file), two (8 GiB file)",
        ),
        (
            "a size of its own",
            fresh(),
            member_sized("two", "9GiB"),
            "one (50 GiB file), two (9 GiB file)",
        ),
        (
            "a size of this one's own",
            fresh(),
            Goal {
                size: Some(parsed("8GiB")),
                ..member_sized("one", "9GiB")
            },
            "one (9 GiB file), two (8 GiB file)",
        ),
        (
            "a place of its own",
            fresh(),
            Goal {
                member_sources: [("two".to_owned(), "/dev/sdb".to_owned())].into(),
                ..Goal::default()
            },
            "one (50 GiB file), two (/dev/sdb)",
        ),
        (
            "room that is not known, and nobody wants it kept",
            Sample::uninitialised().members(&TWO, None),
            Goal {
                overcommit: true,
                ..sized("8GiB")
            },
            "one (8 GiB file), two (8 GiB file)",
        ),
        (
            "dir, where no file is promised anything",
            Sample::uninitialised().members(&TWO, None),
            Goal {
                driver: crate::plan::DriverChoice::Dir,
                ..Goal::default()
            },
            "",
        ),
    ] {
        let on = if on.is_empty() {
            "create storage pool default (dir) on one (folder), two (folder)".to_owned()
        } else {
            created(on)
        };
        assert_eq!(
            planned_for(sample, &goal),
            [&on, ROOT, &bridge(), NIC],
            "{found}"
        );
    }
}

#[test]
fn room_that_is_not_known_is_measured_before_anything_else() {
    let plan = decide(
        &Sample::uninitialised().members(&TWO, None).facts(),
        &Goal::default(),
    );
    assert_eq!(
        words(&plan),
        ["see how much room one, two have: with an empty dir pool taos-room, which is deleted at once"]
    );
    assert!(plan.open_end);
    assert!(plan.approve(&Yes::Option(crate::plan::Pins::None)).is_ok());
}

#[test]
fn what_others_files_may_still_grow_by_is_not_given_away() {
    let sample = fresh()
        .member("two", |it| it.room = Some(Bytes::gib(30)))
        .begun(
            "old",
            "btrfs",
            &[
                ("one", "Created", "size=20GiB"),
                ("two", "Created", "size=20GiB"),
            ],
        )
        .change_pool("old", |pool| pool.status = "Created".into());
    let goal = named("default");
    assert_eq!(
        planned_for(sample, &goal)[0],
        created("one (50 GiB file), two (8 GiB file)")
    );
}

#[test]
fn where_one_member_could_not_take_its_part_nothing_is_begun() {
    for (sample, goal, said) in [
        (
            fresh().member("two", |it| it.room = Some(Bytes::gib(3))),
            Goal::default(),
            &[
                "member two has 3 GiB available",
                "--member-size two=2GiB",
                "nothing was begun",
            ][..],
        ),
        (
            fresh().member("two", |it| it.room = Some(Bytes::gib(3))),
            member_sized("two", "2GiB"),
            &["member two has 3 GiB available", "--member-size two="],
        ),
        (
            fresh().member("two", |it| it.silent = Some("No heartbeat for 40s".into())),
            Goal::default(),
            &[
                "of the cluster two does not answer: No heartbeat",
                "on two: systemctl start incus",
                "incus cluster remove --force two",
                "nothing was begun",
            ],
        ),
        (
            fresh().member("two", |it| {
                it.drivers.remove("btrfs");
            }),
            Goal::default(),
            &[
                "member two has no btrfs",
                "on two, as root: apt-get install btrfs-progs",
            ],
        ),
        (
            fresh(),
            member_sized("three", "8GiB"),
            &["no member three", "it has one, two"],
        ),
        (
            Sample::uninitialised(),
            member_sized("two", "8GiB"),
            &["in no cluster", "--size"],
        ),
        (
            fresh(),
            Goal {
                preallocate: true,
                ..Goal::default()
            },
            &["--preallocate", "on each member: fallocate"],
        ),
    ] {
        assert_says(&refused(sample, &goal), said);
    }
}

#[test]
fn what_cannot_be_seen_takes_a_yes_of_its_own() {
    let plan = decide(&fresh().facts(), &Goal::default());
    assert_eq!(plan.losses.len(), 1);
    assert_says(&plan.losses[0].what, &["disks/default.img", "on two"]);
    let refusal = plan.clone().approve(&Yes::Typed).unwrap_err();
    assert_says(&refusal.hints.join("\n"), &["--accept unseen"]);
    let mut plan = plan;
    plan.accept(|loss| loss.kind == Lossy::Unseen);
    assert!(plan.approve(&Yes::Typed).is_ok());
    // On the only member there is everything can be seen.
    let alone = Sample::uninitialised().members(&["one"], Some(100));
    assert_eq!(decide(&alone.facts(), &Goal::default()).losses, []);
}

#[test]
fn a_pool_that_was_begun_is_completed_as_it_was_begun() {
    let begun = |parts: &[_]| fresh().begun("default", "btrfs", parts);
    for (found, sample, on) in [
        (
            "one was told, the other not",
            begun(&[("one", "Pending", "size=8GiB")]),
            "one (8 GiB file), two (50 GiB file)",
        ),
        (
            "only the other was told",
            begun(&[("two", "Pending", "size=8GiB")]),
            "one (50 GiB file), two (8 GiB file)",
        ),
        (
            "one has it, the other has not",
            begun(&[
                (
                    "one",
                    "Created",
                    "size=8GiB source=/var/lib/incus/disks/default.img",
                ),
                ("two", "Pending", "size=9GiB"),
            ]),
            "one (8 GiB file), two (9 GiB file)",
        ),
        (
            "one has joined since",
            begun(&[("one", "Created", "size=8GiB"), ("two", "Unknown", "")]),
            "one (8 GiB file), two (50 GiB file)",
        ),
    ] {
        let facts = sample.facts();
        let plan = decide(&facts, &Goal::default());
        assert_eq!(words(&plan)[0], created(on), "{found}");
        assert_says(
            &notes(&plan).join("\n"),
            &["was begun", "incus storage delete default"],
        );
        let back = backwards(&after(&facts, &plan), &plan.steps).unwrap();
        let deletes = |step: &Step| matches!(step, Step::DeletePool { .. });
        assert_eq!(back.iter().filter(|it| deletes(it)).count(), 1, "{found}");
    }
}

#[test]
fn a_pool_that_was_begun_otherwise_is_left_alone() {
    for (driver, keys) in [
        ("btrfs", "source=/dev/sdb"),
        ("dir", ""),
        ("zfs", "size=8GiB"),
    ] {
        let sample = fresh().begun("default", driver, &[("one", "Pending", keys)]);
        assert_says(
            &refused(sample, &Goal::default()),
            &[
                "was begun",
                "incus storage create default",
                "incus storage delete default",
            ],
        );
    }
}

#[test]
fn what_only_looks_begun_is_no_step_s_own() {
    let plan = decide(&fresh().facts(), &Goal::default());
    let found = |parts: &[_]| fresh().begun("default", "btrfs", parts).facts();
    let create = &plan.steps[0];
    assert_eq!(
        create.blocked(&found(&[("one", "Pending", "size=50GiB")])),
        None
    );
    for parts in [
        [("one", "Pending", "size=8GiB")],
        [("two", "Pending", "source=/dev/sdb")],
    ] {
        assert!(create.blocked(&found(&parts)).is_some());
    }
    // Neither is anything made, or taken back, without all of them.
    let silent = fresh().member("two", |it| it.silent = Some("gone".into()));
    assert_says(
        &create.blocked(&silent.facts()).unwrap(),
        &["two does not answer"],
    );
    let joined = Sample::uninitialised().members(&["one", "two", "three"], Some(100));
    assert_says(
        &create.blocked(&joined.facts()).unwrap(),
        &["three has joined"],
    );
    let left = Sample::uninitialised().members(&["one"], Some(100));
    assert_says(
        &create.blocked(&left.facts()).unwrap(),
        &["two is no member"],
    );
}

#[test]
fn an_empty_dir_pool_is_made_again_only_where_it_is_empty_on_all() {
    let dir = || Sample::set_up("dir").members(&TWO, Some(100));
    let steps = planned(dir());
    assert_eq!(
        steps[1..3],
        [
            "delete storage pool default (dir) on one (folder), two (folder), where it is empty",
            &created("one (50 GiB file), two (50 GiB file)"),
        ]
    );
    let used = dir().instance("mary").at("mary", "two");
    let plan = decide(&used.facts(), &Goal::default());
    assert_eq!(words(&plan), [""; 0]);
    assert_says(&notes(&plan).join("\n"), &["1 instance is on it (on two)"]);
    let chosen = dir().begun("x", "dir", &[]).server(|server| {
        server.pools.retain(|pool| pool.name == "default");
        let part = |name: &str, source: &str| crate::facts::PoolPart {
            member: name.into(),
            status: "Created".into(),
            config: [("source".to_owned(), source.to_owned())].into(),
            ..Default::default()
        };
        server.pools[0].parts = vec![
            part("one", "/var/lib/incus/storage-pools/default"),
            part("two", "/srv/agents"),
        ];
    });
    let plan = decide(&chosen.facts(), &Goal::default());
    assert_says(&notes(&plan).join("\n"), &["source=/srv/agents on two"]);
}

#[test]
fn nothing_is_wanted_of_a_member_that_is_away_where_all_is_there() {
    let sample = Sample::set_up("btrfs")
        .members(&TWO, None)
        .member("two", |it| it.silent = Some("gone".into()));
    assert_eq!(planned(sample), [""; 0]);
    let without = Sample::set_up("btrfs")
        .members(&TWO, None)
        .change_pool("default", |pool| {
            pool.parts = vec![crate::facts::PoolPart {
                member: "two".into(),
                status: "Unknown".into(),
                ..Default::default()
            }];
        });
    let plan = decide(&without.facts(), &Goal::default());
    assert_says(
        &notes(&plan).join("\n"),
        &["two has no part of pool default"],
    );
}

#[test]
fn nothing_is_changed_while_a_member_is_away() {
    // What its instances take from this profile is not told.
    let sample = Sample::set_up("dir")
        .pool("fast", "btrfs")
        .members(&TWO, None)
        .member("two", |it| it.silent = Some("gone".into()));
    assert_says(&refused(sample, &named("fast")), &["two does not answer"]);
}

#[test]
fn a_part_that_is_broken_on_another_member_is_noted() {
    let parts = [
        ("one", "Created", "size=8GiB"),
        ("two", "Unavailable", "size=8GiB"),
    ];
    let sample = Sample::set_up("btrfs")
        .members(&TWO, None)
        .change_pool("default", |pool| {
            let begun = Sample::uninitialised().begun("default", "btrfs", &parts);
            pool.parts = begun.facts().server().unwrap().pools[0].parts.clone();
        });
    let plan = decide(&sample.facts(), &Goal::default());
    assert_eq!(words(&plan), [""; 0]);
    assert_says(
        &notes(&plan).join("\n"),
        &[
            "pool default is Unavailable on member two",
            "see why on two",
        ],
    );
}

#[test]
fn a_bridge_that_was_begun_is_made_on_all_members() {
    let begun = fresh()
        .network("incusbr7", "bridge", "default")
        .server(|server| {
            server.networks[0].status = "Errored".into();
        });
    assert_eq!(
        planned(begun)[2],
        "create network incusbr7 (bridge) on one, two"
    );
    let away = Sample::set_up("btrfs")
        .members(&TWO, None)
        .without_device("default", "eth0")
        .server(|server| server.networks.clear())
        .member("two", |it| it.silent = Some("gone".into()));
    assert_says(&refused(away, &Goal::default()), &["two does not answer"]);
}
