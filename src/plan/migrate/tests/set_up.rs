//! A set-up that moves containers along.

use super::*;
use crate::plan::Note;

/// mary and naira on `dir`, and nothing else.
fn on_dir(change: impl FnOnce(&mut Server)) -> Facts {
    facts(|server| {
        server.pools.retain(|pool| pool.name == "default");
        for name in ["mary", "naira"] {
            let name = reference(name);
            let at = &mut server.pools[0].users;
            at.push(crate::facts::PoolUser::Instance { name });
        }
        change(server);
    })
}

fn goal(names: &[&str]) -> Goal {
    Goal {
        migrate: Some(wanted(names)),
        ..Goal::default()
    }
}

/// The whole plan, as the call makes it.
fn both(facts: &Facts, goal: &Goal) -> Result<Plan, Refusal> {
    let set_up = crate::plan::plan(facts, goal)?;
    let wanted = goal.migrate.clone().unwrap();
    let names = to_move(facts.server().unwrap(), &wanted)?;
    with_set_up(facts, set_up, &wanted, &names)
}

fn words(plan: &Plan) -> Vec<String> {
    plan.steps.iter().map(Step::describe).collect()
}

const POOL: &str =
    "create storage pool taos (btrfs, 50 GiB loop file /var/lib/incus/disks/taos.img)";

#[test]
fn the_pool_comes_first_then_each_container_then_the_profile() {
    let plan = both(&on_dir(|_| ()), &goal(&[])).unwrap();
    let words = words(&plan);
    assert_eq!(words[0], POOL);
    assert_eq!(parts(&plan).len(), 10);
    assert_eq!(
        words[11..],
        [
            "point the root disk of profile default to pool taos instead of default",
            "let instance mary take its root disk from its profile again",
            "let instance naira take its root disk from its profile again",
        ]
    );
    assert_eq!((plan.pool.as_deref(), plan.clones), (Some("taos"), true));
    assert_eq!(plan.choices, []);
    let runs = plan.approve(&Yes::Option(Pins::All)).unwrap().one_by_one();
    let counts: Vec<usize> = runs.iter().map(|run| run.steps().len()).collect();
    assert_eq!(counts, [1, 5, 5, 3], "each a run of its own");
}

#[test]
fn launches_stay_while_somebody_is_left_on_the_old_pool() {
    let plan = both(&on_dir(|_| ()), &goal(&["mary"])).unwrap();
    assert_eq!(words(&plan).len(), 6);
    assert_eq!(
        (plan.pool.as_deref(), plan.clones),
        (Some("default"), false)
    );
}

#[test]
fn with_beside_launches_go_over_at_once_and_what_was_pinned_follows_its_profile_again() {
    let goal = Goal {
        beside: true,
        ..goal(&["mary"])
    };
    let plan = both(&on_dir(|_| ()), &goal).unwrap();
    let words = words(&plan);
    assert_eq!(words[0], POOL);
    assert!(words[1].starts_with("pin the root disk of instance mary"));
    assert!(words[2].starts_with("pin the root disk of instance naira"));
    assert!(words[3].starts_with("point the root disk of profile default"));
    assert_eq!(
        words.last().unwrap(),
        "let instance mary take its root disk from its profile again"
    );
    let only_mary = Yes::Option("default/mary".parse().unwrap());
    let refusal = plan.approve(&only_mary).unwrap_err();
    assert!(refusal.what.contains("naira"), "{refusal}");
}

#[test]
fn an_override_that_says_more_than_the_profile_stays() {
    let goal = Goal {
        beside: true,
        ..goal(&["mary"])
    };
    let facts = on_dir(|it| {
        let root = [
            ("path", "/"),
            ("pool", "default"),
            ("type", "disk"),
            ("size", "4GiB"),
        ];
        let root: Config = root.map(|(key, value)| (key.into(), value.into())).into();
        mary(it).devices.insert("root".into(), root.clone());
        let devices = &mut mary(it).record.expanded_devices;
        devices.insert("root".into(), root);
    });
    let words = words(&both(&facts, &goal).unwrap());
    assert_eq!(words.last().unwrap(), "start mary on pool taos");
}

#[test]
fn a_name_that_is_not_meant_for_sure_refuses_before_a_pool_is_planned() {
    let facts = on_dir(|it| {
        let mut twin = mary(it).clone();
        twin.reference.project = "far".into();
        it.instances.push(twin);
    });
    for (names, says) in [
        (&["nobody"][..], "no instance nobody"),
        (&["naira", "naira"], "named twice"),
        (&["naira", "default/naira"], "named twice"),
        (&["mary"], "could be any of"),
    ] {
        let refusal = crate::plan::plan(&facts, &goal(names)).unwrap_err();
        assert!(refusal.what.contains(says), "{refusal}");
    }
    let bare = Sample::bare().facts();
    let refusal = crate::plan::plan(&bare, &goal(&["mary"])).unwrap_err();
    assert!(refusal.what.contains("no instance mary"), "{refusal}");
    assert!(crate::plan::plan(&bare, &goal(&[])).is_ok(), "all of none");
    let dir = Goal {
        driver: crate::plan::DriverChoice::Dir,
        ..goal(&["naira"])
    };
    assert!(crate::plan::plan(&facts, &dir).is_err());
}

#[test]
fn the_same_call_again_has_nothing_to_do() {
    let facts = facts(|server| {
        for instance in &mut server.instances {
            instance.pool = Some("taos".into());
        }
        let root = server.profiles[0].devices.get_mut("root").unwrap();
        root.insert("pool".into(), "taos".into());
    });
    for names in [&["mary", "naira"][..], &[]] {
        let plan = both(&facts, &goal(names)).unwrap();
        assert_eq!(words(&plan), [""; 0]);
        assert_eq!(plan.notes.len(), names.len(), "{:?}", plan.notes);
        assert_eq!((plan.pool.as_deref(), plan.clones), (Some("taos"), true));
    }
}

#[test]
fn an_empty_pool_is_made_again_and_what_is_on_another_moves_there() {
    let facts = facts(|server| {
        server.pools.retain(|pool| pool.name == "default");
        let mut old = server.pools[0].clone();
        old.name = "old".into();
        server.pools[0]
            .users
            .retain(|user| !matches!(user, crate::facts::PoolUser::Instance { .. }));
        server.pools.push(old);
        for instance in &mut server.instances {
            let root = [("path", "/"), ("pool", "old"), ("type", "disk")];
            let root: Config = root.map(|(key, value)| (key.into(), value.into())).into();
            instance.pool = Some("old".into());
            instance.devices.insert("root".into(), root.clone());
            instance.record.expanded_devices.insert("root".into(), root);
        }
    });
    let plan = both(&facts, &goal(&[])).unwrap();
    let words = words(&plan);
    assert!(
        words[1].starts_with("delete storage pool default (dir"),
        "{words:?}"
    );
    let of = plan.steps.iter().find_map(Step::migrates).unwrap();
    assert_eq!((of.from.as_str(), of.to.as_str()), ("old", "default"));
    assert_eq!(
        words.last().unwrap(),
        "let instance naira take its root disk from its profile again"
    );
}

#[test]
fn what_cannot_be_moved_is_said_and_all_of_the_others_are() {
    let facts = on_dir(|it| mary(it).record.ephemeral = true);
    let plan = both(&facts, &goal(&[])).unwrap();
    assert_eq!(parts(&plan)[0].0, "naira");
    let said = |note: &Note| note.what.contains("mary stays where it is");
    assert!(plan.notes.iter().any(said), "{:?}", plan.notes);
    assert!(both(&facts, &goal(&["mary", "naira"])).is_err());
}

#[test]
fn a_pool_beside_is_found_again_also_under_another_name() {
    let mut facts = on_dir(|it| {
        let mut plain = it.pools[0].clone();
        plain.name = "taos".into();
        plain.users.clear();
        it.pools.push(plain);
    });
    let plan = both(&facts, &goal(&["mary"])).unwrap();
    assert!(words(&plan)[0].contains("storage pool taos2"), "{plan:?}");
    plan.steps[0].expect(&mut facts);
    let again = both(&facts, &goal(&["mary"])).unwrap();
    assert_eq!(again.steps, plan.steps[1..]);
}
