//! The other ways of migrating.

use super::*;
use crate::facts::{Lack, Since, Stray};
use crate::step::migration::Then;

fn plain(names: &[&str]) -> Wanted {
    Wanted {
        plain: true,
        ..wanted(names)
    }
}

#[test]
fn a_plain_move_is_written_down_before_and_compared_after() {
    let plan = planned(&facts(|_| ()), &plain(&["mary"])).unwrap();
    let whole = [
        Part::Stop,
        Part::Record,
        Part::Move,
        Part::Check,
        Part::Start,
    ];
    assert_eq!(parts(&plan), whole.map(|part| ("mary".to_owned(), part)));
    let no_way_back = plan.notes.iter().any(|it| it.what.contains("no way back"));
    assert!(no_way_back, "{:?}", plan.notes);
    for step in &plan.steps {
        let forward = ["compare", "start"];
        let back = !forward.iter().any(|word| step.describe().starts_with(word));
        assert_eq!(step.goes_back(), back, "{}", step.describe());
    }
}

#[test]
fn what_would_be_gone_for_good_refuses_the_ways_that_keep_nothing() {
    let backups = |server: &mut Server| {
        let details = server.details.get_mut(&reference("mary")).unwrap();
        details.backups = vec!["b1".into()];
    };
    let protected = |server: &mut Server| {
        let config = &mut mary(server).record.config;
        config.insert("security.protection.delete".into(), "true".into());
    };
    let delete = Wanted {
        delete_after: Some(60),
        ..wanted(&["mary"])
    };
    let staged = wanted(&["mary"]);
    for (facts, wanted, says) in [
        (facts(backups), plain(&["mary"]), "has backups"),
        (facts(backups), delete.clone(), "has backups"),
        (facts(protected), plain(&["mary"]), "protected"),
    ] {
        let refusal = planned(&facts, &wanted).unwrap_err();
        assert!(refusal.what.contains(says), "{refusal}");
        assert!(planned(&facts, &staged).is_ok());
    }
    assert!(planned(&facts(protected), &delete).is_ok());
}

#[test]
fn originals_that_go_at_once_need_room_for_the_largest_only() {
    let tight = || {
        let mut facts = facts(|server| {
            server
                .details
                .values_mut()
                .for_each(|it| it.taken = it.landing);
        });
        facts.host.incus_filesystem.free = Bytes::mib(800);
        facts
    };
    let refusal = planned(&tight(), &wanted(&[])).unwrap_err();
    assert!(refusal.hints[0].contains("--delete-originals"), "{refusal}");
    let delete = Wanted {
        delete_after: Some(60),
        ..wanted(&[])
    };
    let plan = planned(&tight(), &delete).unwrap();
    let deleted = parts(&plan);
    let deleted = deleted.iter().filter(|(_, part)| *part == Part::DeleteKept);
    assert_eq!(deleted.count(), 2);
    let runs = plan.approve(&Yes::Option(Pins::All)).unwrap().one_by_one();
    let counts: Vec<usize> = runs.iter().map(|run| run.steps().len()).collect();
    assert_eq!(counts, [5, 1, 5, 1, 3], "each deletion is a run of its own");
    // What does not become free is not counted on.
    let mut shared = tight();
    if let Incus::Answering(server) = &mut shared.incus {
        server
            .details
            .values_mut()
            .for_each(|it| it.taken = Bytes(0));
    }
    assert!(planned(&shared, &delete).is_err());
}

/// `mary` on `dir`, and what a move of it left on the new pool.
fn beside(change: impl FnOnce(&mut Server)) -> Facts {
    facts(|server| {
        let mut stray = mary(server).clone();
        stray.reference.name = "move-of-17".into();
        stray.pool = Some("taos".into());
        stray.status = "Stopped".into();
        let root = stray.record.expanded_devices.get_mut("root").unwrap();
        root.insert("pool".into(), "taos".into());
        let config = &mut stray.record.config;
        config.insert("volatile.apply_template".into(), "copy".into());
        server.instances.push(stray);
        mary(server).status = "Stopped".into();
        change(server);
    })
}

fn stray() -> Stray {
    Stray {
        stray: reference("move-of-17"),
        original: Some(reference("mary")),
        busy: false,
        finished: true,
        only_here: Lack::default(),
        only_there: Lack::default(),
        remains: true,
        names: Vec::new(),
    }
}

fn lack(what: &str) -> Lack {
    let mut lack = Lack::default();
    lack.add(what.into());
    lack
}

/// What a stray is, and the parts of what is done about it.
fn judged(facts: &Facts, stray: &Stray, given: Option<&str>) -> (Verdict, Vec<(String, Part)>) {
    let server = facts.server().unwrap();
    let verdict = Verdict::of(server, stray, given);
    let mut plan = planned(facts, &wanted(&["naira"])).unwrap();
    plan.steps = resolve(server, stray, &verdict).unwrap();
    assert!(!say(stray, &verdict).what.is_empty());
    (verdict, parts(&plan))
}

#[test]
fn what_cannot_be_looked_into_is_no_lesser_one() {
    // Its folder is empty while it is stopped, so it seems to have nothing that the original has not.
    for (pool, of) in [("taos", "move-of-17"), ("default", "mary")] {
        let facts = beside(|server| {
            for it in server.pools.iter_mut().filter(|it| it.name == pool) {
                it.driver = "zfs".into();
            }
        });
        let verdict = Verdict::of(facts.server().unwrap(), &stray(), None);
        let Verdict::Doubt { why } = verdict else {
            panic!("{verdict:?}");
        };
        assert!(why.starts_with(&format!("what {of} has")), "{why}");
        let steps = resolve(facts.server().unwrap(), &stray(), &Verdict::Doubt { why });
        assert_eq!(steps.unwrap(), []);
    }
}

#[test]
fn of_two_the_lesser_is_deleted_only_if_the_other_has_all_of_it() {
    let facts = beside(|_| ());
    let steps_of_mary = |part| vec![("mary".to_owned(), part)];
    let (verdict, steps) = judged(&facts, &stray(), None);
    assert_eq!(
        (verdict, steps),
        (Verdict::Lesser, steps_of_mary(Part::DeleteStray))
    );
    // Cut short while it copied: the original has more, too.
    let copying = Stray {
        finished: false,
        only_there: lack("a"),
        ..stray()
    };
    assert_eq!(
        judged(&facts, &copying, None).1,
        steps_of_mary(Part::DeleteStray)
    );
    // While the original was deleted.
    let deleting = Stray {
        only_here: lack("snapshot s1"),
        ..stray()
    };
    let (verdict, steps) = judged(&facts, &deleting, None);
    assert_eq!(
        (verdict, steps),
        (Verdict::Whole, steps_of_mary(Part::Adopt))
    );
    let adopted = |facts: &Facts, stray: &Stray| -> Migration {
        let steps = resolve(facts.server().unwrap(), stray, &Verdict::Whole).unwrap();
        steps[0].migrates().unwrap().clone()
    };
    let of = adopted(&facts, &deleting);
    // Taken back only where nothing was done.
    let leave = of.step(Part::Adopt).undo().unwrap();
    assert!(leave.holds(&facts));
    let half = beside(|server| server.instances[0].reference.name = "taos-kept-mary".into());
    assert!(!leave.holds(&half) && leave.blocked(&half).is_some());
    assert_eq!(
        (&*of.kept, &*of.from, &*of.to),
        ("taos-kept-mary", "default", "taos")
    );
    assert!(!of.was.config.contains_key("volatile.apply_template"));
    assert_eq!(of.devices_there()["root"]["pool"], "taos");
    let nothing_left = Stray {
        remains: false,
        ..deleting
    };
    assert_eq!(adopted(&facts, &nothing_left).kept, "");
}

#[test]
fn in_doubt_nothing_is_touched() {
    let lacking = |finished, there: Lack| Stray {
        only_here: lack("here"),
        only_there: there,
        finished,
        ..stray()
    };
    let of = |change: fn(&mut Server)| beside(change);
    let is = |name: &'static str| {
        move |server: &mut Server, status: &str| {
            let it = server.instances.iter_mut();
            let it = it.filter(|it| it.reference.name == name);
            it.for_each(|it| status.clone_into(&mut it.status));
        }
    };
    let cases: Vec<(Facts, Stray, Option<&str>, &str)> = vec![
        (
            of(|_| ()),
            lacking(true, lack("there")),
            None,
            "each has what",
        ),
        (
            of(|_| ()),
            lacking(false, Lack::default()),
            None,
            "not finished",
        ),
        (of(|_| ()), stray(), Some("naira"), "no other name"),
        (
            of(|_| ()),
            Stray {
                busy: true,
                ..stray()
            },
            None,
            "at work",
        ),
        (
            beside(|server| is("move-of-17")(server, "Running")),
            stray(),
            None,
            "being used",
        ),
        (
            beside(|server| is("mary")(server, "Running")),
            lacking(true, Lack::default()),
            None,
            "stop it first",
        ),
        (
            beside(|server| {
                let it = server.instances.last_mut().unwrap();
                it.pool = Some("default".into());
            }),
            stray(),
            None,
            "one container",
        ),
    ];
    for (facts, stray, given, says) in cases {
        let (verdict, steps) = judged(&facts, &stray, given);
        let Verdict::Doubt { why } = verdict else {
            panic!("{says}: {verdict:?}");
        };
        assert!(why.contains(says), "{says}: {why}");
        assert!(steps.is_empty());
    }
}

#[test]
fn what_is_all_there_is_gets_the_name_that_is_proven_or_given() {
    let alone = beside(|server| drop(server.instances.remove(0)));
    let only = |names: &[&str], finished| Stray {
        original: None,
        names: names.iter().map(ToString::to_string).collect(),
        finished,
        ..stray()
    };
    let name = |stray: &Stray, given| match judged(&alone, stray, given) {
        (Verdict::Only { name }, steps) => {
            assert_eq!(steps, [(name.clone(), Part::Adopt)]);
            name
        }
        (Verdict::Doubt { why }, steps) => {
            assert!(steps.is_empty());
            why
        }
        (other, _) => panic!("{other:?}"),
    };
    assert_eq!(name(&only(&["mary"], true), None), "mary");
    assert_eq!(name(&only(&[], true), Some("mary")), "mary");
    assert_eq!(name(&only(&["old"], true), Some("mary")), "mary");
    assert_eq!(name(&only(&[], false), Some("mary")), "mary");
    assert!(name(&only(&["mary"], false), None).contains("not copied to its end"));
    assert!(name(&only(&[], true), None).contains("nothing tells its name"));
    assert!(name(&only(&["mary", "old"], true), None).contains("several names"));
    assert!(name(&only(&["naira"], true), None).contains("has that name now"));
}

#[test]
fn the_return_gives_the_kept_one_its_name_and_keeps_the_other() {
    let before = facts(|server| {
        let config = &mut mary(server).record.config;
        config.insert("environment.TOKEN".into(), "hunter2".into());
    });
    let plan = planned(&before, &wanted(&["mary"])).unwrap();
    let then = plan.steps[0].migrates().unwrap();
    let now = |change: fn(&mut Server)| {
        facts(|server| {
            let mut kept = mary(server).clone();
            kept.reference.name = "taos-kept-mary".into();
            kept.status = "Stopped".into();
            kept.record.last_used_at = "then".into();
            mary(server).pool = Some("taos".into());
            server.instances.push(kept);
            change(server);
        })
    };
    let back = |facts: &Facts, then: Option<&Migration>| {
        let kept = facts.server().unwrap().instances.last().unwrap().clone();
        as_it_was(facts, &reference("mary"), &kept, then)
    };
    let steps = back(&now(|_| ()), Some(then)).unwrap();
    let of = steps[0].migrates().unwrap();
    assert_eq!(
        (&*of.from, &*of.to, &*of.copy, &*of.kept),
        ("taos", "default", "taos-kept-mary", "taos-kept2-mary")
    );
    let Then { record, devices } = &**of.then.as_ref().unwrap();
    assert_eq!(record.config["environment.TOKEN"], "hunter2");
    assert_eq!(
        (&*record.last_used_at, &*devices["root"]["pool"]),
        ("then", "default")
    );
    for step in &steps {
        let shown = serde_json::to_string(&step.without_secrets()).unwrap();
        assert!(!shown.contains("hunter2"), "{shown}");
    }
    for (facts, then, says) in [
        (now(|_| ()), None, "no journal"),
        (
            now(|it| mary(it).record.ephemeral = true),
            Some(then),
            "ephemeral",
        ),
        (
            now(|it| it.details.get_mut(&reference("mary")).unwrap().busy = true),
            Some(then),
            "operation",
        ),
        (
            now(|it| it.instances.last_mut().unwrap().status = "Running".into()),
            Some(then),
            "Running",
        ),
    ] {
        let refusal = back(&facts, then).unwrap_err();
        assert!(refusal.what.contains(says), "{says}: {refusal}");
    }
    let mut since = Since::default();
    let words = |since: &Since| notes_of(&reference("mary"), "kept", since)[0].what.clone();
    assert!(words(&since).contains("nothing"));
    since.written = lack("rootfs/file");
    assert!(words(&since).contains("1 paths that it wrote"));
}
