//! What is true of every plan, for every machine and every wish.

use std::collections::BTreeMap;

use super::many::{goals, samples};
use super::*;
use crate::facts::{root_of, Bytes, Config, PoolUser, Server, SourcePath};
use crate::plan::migrate::Lossy;
use crate::plan::samples::filesystem;
use crate::plan::{backwards, Pins, Yes};
use crate::step::{is_begun, Owner, Step};

/// Looks at every plan there is; `what` names it.
fn for_all(check: impl Fn(&str, &Facts, &Goal, &Plan)) {
    let mut plans = 0;
    for (found, facts) in samples() {
        for (wanted, goal, source) in goals() {
            let mut facts = facts.clone();
            facts.host.source = source.map(|kind| SourcePath {
                path: match &goal.source {
                    Some(SourceChoice::At(path)) => path.clone(),
                    _ => String::new(),
                },
                kind,
                filesystem: filesystem("/srv", "btrfs", 200),
            });
            if let Ok(plan) = plan(&facts, &goal) {
                plans += 1;
                check(&format!("{found}; {wanted}"), &facts, &goal, &plan);
            }
        }
    }
    assert!(plans > 1000, "only {plans} plans");
}

#[test]
fn after_it_there_is_nothing_left_to_do() {
    for_all(|what, facts, goal, done| {
        if done.open_end {
            return;
        }
        let again = decide(&after(facts, done), goal);
        assert_eq!(words(&again), [""; 0], "{what}: after {:#?}", words(done));
        assert_eq!(again.pool, done.pool, "{what}");
    });
}

#[test]
fn every_step_can_be_taken_at_its_turn_and_is_seen_to_have_been() {
    for_all(|what, facts, _, plan| {
        let mut facts = facts.clone();
        for step in &plan.steps {
            let name = format!("{what}: {}", step.describe());
            assert!(!step.holds(&facts), "{name}: holds before");
            assert_eq!(step.blocked(&facts), None, "{name}");
            step.expect(&mut facts);
            assert!(step.holds(&facts), "{name}: does not hold afterwards");
        }
    });
}

#[test]
fn the_way_back_leads_to_where_it_began() {
    for_all(|what, facts, _, plan| {
        let done = after(facts, plan);
        let mut undone = done.clone();
        // What room is measured with is gone before the step ends.
        let made = plan
            .steps
            .iter()
            .filter(|step| !matches!(step, Step::MeasureRoom { .. }));
        let undos: Vec<Step> = made.rev().filter_map(Step::undo).collect();
        for undo in &undos {
            undo.expect(&mut undone);
        }
        // Packages stay, and a daemon that was started keeps running.
        let mut before = facts.clone();
        for step in plan.steps.iter().filter(|step| step.undo().is_none()) {
            step.expect(&mut before);
        }
        match (before.server(), undone.server()) {
            (Some(before), Some(undone)) => {
                assert_eq!(essence(undone), essence(before), "{what}");
            }
            (None, None) => {}
            (before, undone) => panic!("{what}: {before:?} became {undone:?}"),
        }
        let back = backwards(&done, &plan.steps).unwrap_or_else(|why| panic!("{what}: {why:?}"));
        assert_eq!(back, undos, "{what}");
    });
}

#[test]
fn taking_back_what_was_taken_back_already_changes_nothing() {
    for_all(|what, facts, _, plan| {
        let Some(before) = facts.server() else {
            return;
        };
        let mut after = facts.clone();
        for step in backwards(facts, &plan.steps).unwrap() {
            step.expect(&mut after);
        }
        assert_eq!(essence(after.server().unwrap()), essence(before), "{what}");
    });
}

#[test]
fn once_the_daemon_answers_the_rest_of_the_plan_is_still_right() {
    for_all(|what, facts, goal, plan| {
        let mut facts = facts.clone();
        let (first, rest): (Vec<&Step>, Vec<&Step>) =
            plan.steps.iter().partition(|step| step.reveals());
        for step in first {
            step.expect(&mut facts);
        }
        if !plan.open_end {
            assert!(decide(&facts, goal).steps.iter().eq(rest), "{what}");
        }
    });
}

#[test]
fn a_little_less_room_makes_no_other_plan_of_a_size_that_was_given() {
    // Between the look and the yes, something else writes a log.
    for_all(|what, facts, goal, plan| {
        let mut facts = facts.clone();
        let free = &mut facts.host.incus_filesystem.free;
        *free = free.saturating_sub(Bytes::mib(1));
        if goal.size.is_some() {
            assert_eq!(decide(&facts, goal).steps, plan.steps, "{what}");
        }
    });
}

/// What a person would miss: without the order, without who uses a pool or network, and without
/// the folder of a `dir` pool that Incus writes into its keys by itself.
fn essence(server: &Server) -> Server {
    let mut server = server.clone();
    // What was only begun is taken back as a whole, and what was measured stays known.
    server.pools.retain(|pool| !is_begun(pool));
    let members = server.cluster.iter_mut().flat_map(|it| &mut it.members);
    members.for_each(|member| member.room = None);
    for pool in &mut server.pools {
        pool.users.clear();
        if pool.driver == "dir" {
            let own = format!("/var/lib/incus/storage-pools/{}", pool.name);
            pool.config.retain(|_, value| *value != own);
            for part in &mut pool.parts {
                part.config.retain(|_, value| *value != own);
            }
        }
    }
    for network in &mut server.networks {
        network.used_by.clear();
    }
    server.pools.sort_by_key(|pool| pool.name.clone());
    server.networks.sort_by_key(|network| network.name.clone());
    server
}

#[test]
fn instances_are_touched_only_where_another_pool_was_asked_for() {
    for_all(|what, _, goal, plan| {
        let touched = plan.steps.iter().filter_map(Step::touches).count();
        if goal.pool.is_none() && !goal.beside {
            assert_eq!(touched, 0, "{what}");
        }
        let mut plan = plan.clone();
        plan.accept(|loss| loss.kind == Lossy::Unseen);
        let unasked = plan.approve(&Yes::Option(Pins::None));
        assert_eq!(unasked.is_ok(), touched == 0, "{what}");
    });
}

#[test]
fn touching_an_instance_is_writing_its_present_root_down_and_nothing_else() {
    for_all(|what, facts, _, plan| {
        for step in plan.steps.iter().filter(|step| step.touches().is_some()) {
            let Step::SetDevice {
                owner: Owner::Instance { name },
                device,
                from: None,
                to: Some(keys),
            } = step
            else {
                panic!("{what}: {step:#?}");
            };
            let server = facts.server().unwrap();
            let instance = server.instance(name).unwrap();
            let profile = server.profile(server.root_profile(instance).unwrap());
            let present = root_of(&profile.unwrap().devices).unwrap();
            assert_eq!(present, (device, keys), "{what}");
            assert_eq!(instance.pool.as_ref(), keys.get("pool"), "{what}");
        }
    });
}

#[test]
fn instances_stay_on_their_pools() {
    let places = |server: &Server| -> BTreeMap<String, Option<Config>> {
        let root = |instance: &crate::facts::Instance| {
            let devices = match server.root_profile(instance) {
                Some(profile) => &server.profile(profile)?.devices,
                None => &instance.devices,
            };
            root_of(devices).map(|(_, keys)| keys.clone())
        };
        let instances = server.instances.iter();
        instances
            .map(|instance| (instance.reference.to_string(), root(instance)))
            .collect()
    };
    for_all(|what, facts, _, plan| {
        if let (Some(before), Some(after)) = (facts.server(), after(facts, plan).server()) {
            assert_eq!(places(after), places(before), "{what}");
        }
    });
}

#[test]
fn a_pool_is_deleted_only_if_nothing_but_images_and_profiles_is_on_it() {
    for_all(|what, facts, _, plan| {
        for step in &plan.steps {
            let Step::DeletePool { pool } = step else {
                continue;
            };
            let server = facts.server().unwrap();
            let found = server.pool(&pool.name).unwrap();
            let harmless =
                |user: &PoolUser| matches!(user, PoolUser::Image { .. } | PoolUser::Profile { .. });
            assert!(found.users.iter().all(harmless), "{what}");
            assert!(found.stray_files.is_empty(), "{what}");
            assert_eq!(found.driver, "dir", "{what}");
            let own = format!("/var/lib/incus/storage-pools/{}", pool.name);
            assert_eq!(found.config.get("source"), Some(&own), "{what}");
            let on_it = format!("{}/", pool.name);
            let mut volumes = server.daemon_volumes.values();
            assert!(!volumes.any(|volume| volume.starts_with(&on_it)), "{what}");
        }
    });
}

#[test]
fn profiles_lose_no_device_and_no_key() {
    for_all(|what, facts, _, plan| {
        let (Some(before), after) = (facts.server(), after(facts, plan)) else {
            return;
        };
        for profile in &before.profiles {
            let after = after.server().unwrap().profile(&profile.reference).unwrap();
            for (name, keys) in &profile.devices {
                for key in keys.keys().filter(|key| *key != "pool") {
                    assert_eq!(after.devices[name][key], keys[key], "{what}: {name}");
                }
            }
        }
    });
}

#[test]
fn the_same_facts_and_the_same_wish_give_the_same_plan() {
    for_all(|what, facts, goal, first| {
        assert_eq!(decide(facts, goal), *first, "{what}");
        // Whatever order Incus lists things in.
        let mut turned = facts.clone();
        if let crate::facts::Incus::Answering(server) = &mut turned.incus {
            server.pools.reverse();
            server.networks.reverse();
        }
        assert_eq!(decide(&turned, goal).steps, first.steps, "{what}");
    });
}

#[test]
fn every_step_survives_the_journal() {
    for_all(|what, _, _, plan| {
        let undos = plan.steps.iter().filter_map(Step::undo);
        for step in plan.steps.iter().cloned().chain(undos) {
            let text = serde_json::to_string(&step).unwrap();
            let read: Step = serde_json::from_str(&text).unwrap();
            assert_eq!(read, step, "{what}: {text}");
        }
    });
}

#[test]
fn every_step_says_what_why_and_how_back() {
    for_all(|what, _, _, plan| {
        for step in &plan.steps {
            for text in [step.describe(), step.reason(), step.undo_words()] {
                assert!(!text.is_empty() && !text.contains('?'), "{what}: {text}");
            }
        }
    });
}

#[test]
fn every_refusal_ends_in_what_can_be_done() {
    for (found, facts) in samples() {
        for (wanted, goal, _) in goals() {
            if let Err(refusal) = plan(&facts, &goal) {
                assert!(!refusal.what.is_empty(), "{found}; {wanted}");
                assert!(!refusal.hints.is_empty(), "{found}; {wanted}: {refusal}");
            }
        }
    }
}

#[test]
fn no_note_stops_in_the_middle() {
    for_all(|what, _, _, plan| {
        for note in notes(plan) {
            assert_eq!(note, note.trim_end(), "{what}: {note:?}");
        }
    });
}
