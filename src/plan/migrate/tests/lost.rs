//! What is not kept, and what would not fit.

use super::*;
use crate::facts::{Backing, Space};

/// As [`facts`], with a change of what is known of mary.
fn of_mary(change: impl FnOnce(&mut Server)) -> Facts {
    facts(|server| {
        let pool = server.pools.iter_mut().find(|pool| pool.name == "taos");
        pool.unwrap().space = Some(Space {
            used: Bytes(0),
            total: Bytes::gib(50),
        });
        change(server);
    })
}

fn details(server: &mut Server) -> &mut Details {
    server.details.get_mut(&reference("mary")).unwrap()
}

fn size(server: &mut Server, size: &str) {
    let root = mary(server).record.expanded_devices.get_mut("root");
    root.unwrap().insert("size".into(), size.into());
}

#[test]
fn each_loss_needs_a_yes_of_its_own() {
    let cases: Vec<(Change, Lossy, &str)> = vec![
        (
            Box::new(|it| details(it).backups = vec!["b1".into(), "b2".into()]),
            Lossy::Backups,
            "without its backups (b1, b2)",
        ),
        (
            Box::new(|it| {
                let mut sized = snapshot(&["default"], false);
                let root = [("path", "/"), ("type", "disk"), ("size", "40GiB")];
                let root: Config = root.map(|(key, value)| (key.into(), value.into())).into();
                sized.expanded_devices.insert("root".into(), root);
                details(it).snapshots = vec![sized];
            }),
            Lossy::SnapshotSize,
            "snapshot mary/s1",
        ),
        (
            Box::new(|it| size(it, "60GiB")),
            Lossy::RootSize,
            "more than all of pool taos (50 GiB)",
        ),
        (
            Box::new(|it| details(it).subvolumes = vec!["srv/data".into()]),
            Lossy::Subvolumes,
            "subvolumes in mary (srv/data)",
        ),
    ];
    for (change, kind, says) in cases {
        let plan = planned(&of_mary(change), &wanted(&["mary"])).unwrap();
        assert_eq!(plan.losses.len(), 1, "{:?}", plan.losses);
        assert_eq!(plan.losses[0].kind, kind);
        for yes in [Yes::Typed, Yes::Option(Pins::All)] {
            let refusal = plan.clone().approve(&yes).unwrap_err();
            assert!(refusal.what.contains(says), "{refusal}");
            let hint = format!("--accept {kind}");
            assert!(refusal.hints.iter().any(|it| it.contains(&hint)));
        }
        let mut other = plan.clone();
        other.accept(|loss| loss.kind == Lossy::Protection);
        assert!(other.approve(&Yes::Typed).is_err(), "a yes to another loss");
        let mut accepted = plan;
        accepted.accept(|loss| loss.kind == kind);
        assert!(accepted.approve(&Yes::Option(Pins::All)).is_ok());
    }
}

#[test]
fn a_loss_that_comes_up_later_is_another_one() {
    let lost = |backups: &[&str]| {
        let names = backups.iter().map(ToString::to_string).collect();
        let facts = of_mary(|it| details(it).backups = names);
        planned(&facts, &wanted(&["mary"])).unwrap().losses
    };
    assert!(same_losses(&lost(&["b1"]), &lost(&["b1"])));
    assert!(!same_losses(&lost(&["b1"]), &lost(&["b1", "b2"])));
    assert!(!same_losses(&lost(&[]), &lost(&["b1"])));
}

#[test]
fn what_loses_nothing_needs_no_further_yes() {
    let facts = of_mary(|it| {
        size(it, "40GiB");
        details(it).nested = true;
        let volume = Config::from([("pool".to_owned(), "default".to_owned())]);
        let devices = &mut mary(it).record.expanded_devices;
        devices.insert("data".into(), volume);
    });
    let plan = planned(&facts, &wanted(&["mary"])).unwrap();
    assert_eq!(plan.losses, []);
    let notes: Vec<&str> = plan.notes.iter().map(|note| note.what.as_str()).collect();
    assert!(notes[0].contains("custom volumes (data)"), "{notes:?}");
    assert!(notes[1].contains("an Incus or LXD of its own"), "{notes:?}");
    assert!(plan.approve(&Yes::Option(Pins::All)).is_ok());
}

#[test]
fn a_size_that_is_enforced_must_hold_the_container_and_each_snapshot() {
    for (limit, largest, to, refused) in [
        ("20MiB", Bytes::mib(21), "taos", true),
        ("20MiB", Bytes::mib(20), "taos", false),
        // A number alone is bytes, and 0 is no limit.
        ("1000000", Bytes::mib(1), "taos", true),
        ("0", Bytes::mib(1), "taos", false),
        // Nobody holds it to that on `dir`.
        ("20MiB", Bytes::mib(21), "plain", false),
    ] {
        let facts = of_mary(|it| {
            let mut plain = it.pool("default").unwrap().clone();
            plain.name = "plain".into();
            it.pools.push(plain);
            size(it, limit);
            details(it).largest = largest;
        });
        let mut wanted = wanted(&["mary"]);
        wanted.to = to.parse().ok();
        let plan = planned(&facts, &wanted);
        assert_eq!(plan.is_err(), refused, "{limit} {largest} {to}: {plan:?}");
        if let Err(refusal) = plan {
            assert!(refusal.hints[0].contains("config device override mary root size="));
        }
    }
}

#[test]
fn room_is_counted_on_the_pool_and_on_the_host_as_it_lands() {
    let small = |total: Bytes, landing: Bytes, unshared: Bytes, host: Bytes, to: &str| {
        let mut facts = of_mary(|it| {
            let mut plain = it.pool("default").unwrap().clone();
            plain.name = "plain".into();
            it.pools.push(plain);
            for pool in &mut it.pools {
                pool.space = Some(Space {
                    used: Bytes(0),
                    total,
                });
            }
            details(it).landing = landing;
            details(it).unshared = unshared;
        });
        facts.host.incus_filesystem.free = host;
        let mut wanted = wanted(&["mary"]);
        wanted.to = to.parse().ok();
        planned(&facts, &wanted).map_err(|refusal| refusal.what)
    };
    let (gib, plenty) = (Bytes::gib(1), Bytes::gib(40));
    assert!(small(plenty, gib, plenty, plenty, "taos").is_ok());
    let refused = small(Bytes::mib(1080), gib, gib, plenty, "taos").unwrap_err();
    assert!(refused.contains("pool taos has 1 GiB free"), "{refused}");
    // The file is sparse: the host must have it, too.
    let refused = small(plenty, gib, gib, gib, "taos").unwrap_err();
    assert!(refused.contains("/ has 1 GiB free"), "{refused}");
    // On `dir` snapshots share nothing.
    let refused = small(Bytes::gib(2), gib, plenty, plenty, "plain").unwrap_err();
    assert!(refused.contains("pool plain has 2 GiB free"), "{refused}");
}

#[test]
fn a_new_pool_has_the_room_that_it_will_have() {
    let fresh = |landing: Bytes| {
        let mut facts = facts(|server| {
            server.pools.retain(|pool| pool.name != "taos");
            details(server).landing = landing;
        });
        facts.host.incus_filesystem.free = Bytes::gib(30);
        planned(&facts, &wanted(&["mary"]))
    };
    assert!(fresh(Bytes::gib(10)).is_ok());
    assert!(fresh(Bytes::gib(29)).is_err());
    // A subvolume has what its own filesystem has, whatever there is where Incus lies.
    let elsewhere = |free: u64| {
        let mut facts = facts(|server| {
            server.pools.retain(|pool| pool.name != "taos");
            details(server).landing = Bytes::gib(30);
        });
        facts.host.incus_filesystem.free = Bytes::gib(5);
        let other = crate::plan::samples::filesystem("/srv", "btrfs", free);
        facts.host.btrfs_filesystems.push(other);
        planned(&facts, &wanted(&["mary"]))
    };
    assert!(elsewhere(100).is_ok());
    let refusal = elsewhere(26).unwrap_err();
    assert!(refusal.what.contains("pool taos has 26 GiB"), "{refusal}");
}

#[test]
fn lines_to_tick_say_what_it_takes() {
    let facts = of_mary(|it| {
        size(it, "60GiB");
        details(it).own_paths = 10_000;
        details(it).snapshots = vec![snapshot(&["default"], false)];
    });
    let plan = planned(&facts, &wanted(&["mary"])).unwrap();
    let of = plan.steps.iter().find_map(Step::migrates).unwrap();
    let details = &facts.server().unwrap().details[&reference("mary")];
    assert_eq!(
        line(of, details, &plan.losses),
        "default/mary: running, down for about 2 s plus its own stop; 500 MiB from default to \
         taos, 1 snapshots; NOT KEPT: root-size"
    );
    let mut stopped = of.clone();
    stopped.running = false;
    assert!(line(&stopped, details, &[]).contains("stopped, no downtime; 500 MiB"));
}

#[test]
fn pools_that_are_there_say_themselves_what_they_have() {
    let facts = facts(|server| {
        for pool in &mut server.pools {
            pool.space = None;
        }
    });
    let there = foreseen(&facts, &[]);
    let pool = there.server().unwrap().pool("taos").unwrap();
    assert!(matches!(pool.backing, Backing::LoopFile { .. }));
    assert_eq!(pool.space, None);
}
