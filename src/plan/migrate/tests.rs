use super::*;
use crate::facts::{Bytes, Details, Incus, Snapshot};
use crate::plan::samples::{reference, Sample};
use crate::plan::{Pins, Yes};
use crate::step::migration::Part;

mod cluster;
mod lost;
mod old_pool;
mod set_up;

/// Two running containers on `dir`, one of them in a project, and a btrfs pool.
fn facts(change: impl FnOnce(&mut Server)) -> Facts {
    let mut facts = Sample::set_up("dir")
        .pool("taos", "btrfs")
        .instance("mary")
        .instance("naira")
        .facts();
    let Incus::Answering(server) = &mut facts.incus else {
        unreachable!();
    };
    for instance in &mut server.instances {
        let root = [("path", "/"), ("pool", "default"), ("type", "disk")];
        let root: Config = root.map(|(key, value)| (key.into(), value.into())).into();
        instance.record.expanded_devices.insert("root".into(), root);
        instance.record.profiles = vec!["default".into()];
        let uuid = format!("uuid of {}", instance.reference);
        instance.record.config.insert("volatile.uuid".into(), uuid);
        instance.pool = Some("default".into());
        let details = Details {
            landing: Bytes::mib(500),
            ..Details::default()
        };
        server.details.insert(instance.reference.clone(), details);
    }
    change(server);
    facts
}

fn wanted(names: &[&str]) -> Wanted {
    Wanted {
        names: names.iter().map(ToString::to_string).collect(),
        ..Wanted::default()
    }
}

fn planned(facts: &Facts, wanted: &Wanted) -> Result<Plan, Refusal> {
    let names = selected(facts.server().unwrap(), wanted)?;
    plan(facts, wanted, &names)
}

fn parts(plan: &Plan) -> Vec<(String, Part)> {
    plan.steps
        .iter()
        .filter_map(|step| match step {
            Step::Migrate { part, of } => Some((of.name.to_string(), *part)),
            _ => None,
        })
        .collect()
}

fn mary(server: &mut Server) -> &mut Instance {
    &mut server.instances[0]
}

fn snapshot(profiles: &[&str], stateful: bool) -> Snapshot {
    Snapshot {
        name: "s1".into(),
        created_at: String::new(),
        expires_at: String::new(),
        profiles: profiles.iter().map(ToString::to_string).collect(),
        devices: crate::facts::Devices::new(),
        expanded_devices: crate::facts::Devices::new(),
        stateful,
    }
}

#[test]
fn a_running_one_is_stopped_and_started_and_a_stopped_one_is_not() {
    let plan = planned(&facts(|_| ()), &wanted(&["mary"])).unwrap();
    let whole = [
        Part::Copy,
        Part::Stop,
        Part::Prove,
        Part::Switch,
        Part::Start,
    ];
    assert_eq!(parts(&plan), whole.map(|part| ("mary".to_owned(), part)));
    let stopped = facts(|server| mary(server).status = "Stopped".into());
    let plan = planned(&stopped, &wanted(&["mary"])).unwrap();
    let whole = [Part::Copy, Part::Prove, Part::Switch];
    assert_eq!(parts(&plan), whole.map(|part| ("mary".to_owned(), part)));
}

#[test]
fn a_restricted_project_is_opened_before_the_stop_and_closed_at_the_end() {
    for (key, value) in [("restricted", "true"), ("limits.instances", "9")] {
        let restricted = facts(|server| {
            let config = Config::from([(key.to_owned(), value.to_owned())]);
            server.projects.insert("default".into(), config);
        });
        let plan = planned(&restricted, &wanted(&["mary"])).unwrap();
        let parts: Vec<Part> = parts(&plan).into_iter().map(|(_, part)| part).collect();
        assert_eq!(parts[1..3], [Part::Loosen, Part::Stop], "{key}");
        assert_eq!(parts.last(), Some(&Part::Tighten), "{key}");
    }
}

#[test]
fn profiles_follow_once_nobody_is_left() {
    let devices = |names: &[&str]| {
        let plan = planned(&facts(|_| ()), &wanted(names)).unwrap();
        let set = plan.steps.iter();
        set.filter(|step| matches!(step, Step::SetDevice { .. }))
            .count()
    };
    assert_eq!(devices(&["mary"]), 0);
    assert_eq!(devices(&["mary", "naira"]), 3);
    assert_eq!(devices(&[]), 3);
}

#[test]
fn each_container_is_a_run_of_its_own() {
    let plan = planned(&facts(|_| ()), &wanted(&[])).unwrap();
    let no = Yes::Option(Pins::None);
    assert!(plan.clone().approve(&no).is_err(), "--yes alone is no yes");
    let only_mary = Yes::Option("default/mary".parse().unwrap());
    assert!(plan.clone().approve(&only_mary).is_err());
    let runs = plan.approve(&Yes::Option(Pins::All)).unwrap().one_by_one();
    let counts: Vec<usize> = runs.iter().map(|run| run.steps().len()).collect();
    assert_eq!(counts, [5, 5, 3]);
}

#[test]
fn two_are_copied_together_where_nothing_limits_how_many_there_are() {
    let cases: [(&[(&str, &str)], bool); 3] = [
        (&[], true),
        (&[("features.images", "true")], true),
        (&[("limits.containers", "4")], false),
    ];
    for (keys, together) in cases {
        let facts = facts(|server| {
            let keys = keys
                .iter()
                .map(|(key, value)| ((*key).into(), (*value).into()));
            server.projects.insert("default".into(), keys.collect());
        });
        let server = facts.server().unwrap();
        let plan = planned(&facts, &wanted(&[])).unwrap();
        let runs = plan.approve(&Yes::Option(Pins::All)).unwrap().one_by_one();
        let may =
            |one: usize, other: usize| may_be_copied_together(server, &runs[one], &runs[other]);
        assert_eq!(may(0, 1), together, "{keys:?}");
        assert!(!may(1, 2), "profiles are no copy");
        assert!(!may_be_copied_together(
            &Server::default(),
            &runs[0],
            &runs[1]
        ));
    }
}

/// What is different from the sample.
type Change = Box<dyn FnOnce(&mut Server)>;

#[test]
fn what_stands_in_the_way_is_said_and_refuses_the_call() {
    let details = |server: &mut Server, change: fn(&mut Details)| {
        change(server.details.get_mut(&reference("mary")).unwrap());
    };
    let cases: Vec<(Change, &str)> = vec![
        (
            Box::new(|it| mary(it).kind = "virtual-machine".into()),
            "virtual machine",
        ),
        (Box::new(|it| mary(it).record.ephemeral = true), "ephemeral"),
        (Box::new(|it| mary(it).status = "Frozen".into()), "Frozen"),
        (Box::new(|it| mary(it).pool = None), "no root disk"),
        (
            Box::new(|it| mary(it).pool = Some("taos".into())),
            "already",
        ),
        (
            Box::new(|it| {
                mary(it).record.config.insert(KEPT_MARK.into(), "x".into());
            }),
            "kept original",
        ),
        (
            Box::new(move |it| details(it, |it| it.busy = true)),
            "operation",
        ),
        (
            Box::new(move |it| {
                details(it, |it| {
                    it.missing = vec![("usb".into(), "/media/usb".into())];
                });
            }),
            "/media/usb, the source of device usb",
        ),
        (
            Box::new(move |it| details(it, |it| it.snapshots = vec![snapshot(&["default"], true)])),
            "memory",
        ),
        (
            Box::new(move |it| details(it, |it| it.snapshots = vec![snapshot(&["old"], false)])),
            "profiles old",
        ),
        (
            Box::new(move |it| details(it, |it| it.torn_snapshots = vec!["s9".into()])),
            "only one half",
        ),
        (
            Box::new(move |it| details(it, |it| it.landing = Bytes::gib(900))),
            "may be needed",
        ),
        (
            Box::new(|it| {
                let mut twin = mary(it).clone();
                twin.reference.name = "move-of-17".into();
                it.instances.push(twin);
            }),
            "move-of-17",
        ),
        (
            Box::new(|it| it.pools[1].status = "Unavailable".into()),
            "Unavailable",
        ),
        (Box::new(|it| it.pools[1].driver = "zfs".into()), "zfs"),
        (
            Box::new(|it| it.pools[0].driver = "lvm".into()),
            "cannot be looked into",
        ),
    ];
    for (change, says) in cases {
        let facts = facts(|server| {
            server.pools.sort_by(|one, other| one.name.cmp(&other.name));
            change(server);
        });
        let mut wanted = wanted(&["mary"]);
        wanted.to = "taos".parse().ok();
        let refusal = planned(&facts, &wanted).unwrap_err();
        assert!(refusal.what.contains(says), "{says}: {refusal}");
        assert!(!refusal.hints.is_empty(), "{refusal}");
    }
}

#[test]
fn on_zfs_what_runs_is_copied_and_compared() {
    let on = |zfs: &'static str, change: fn(&mut Server)| {
        facts(move |server| {
            for pool in server.pools.iter_mut().filter(|it| it.name == zfs) {
                pool.driver = "zfs".into();
                pool.config
                    .insert("zfs.pool_name".into(), "tank/incus".into());
            }
            change(server);
        })
    };
    let mut to_taos = wanted(&["mary"]);
    to_taos.to = "taos".parse().ok();
    let mut moved = to_taos.clone();
    moved.plain = true;
    let stopped = |server: &mut Server| mary(server).status = "Stopped".into();
    for zfs in ["taos", "default"] {
        assert!(planned(&on(zfs, |_| ()), &to_taos).is_ok());
        let clustered = on(zfs, |server| server.clustered = true);
        for (facts, wanted) in [(on(zfs, |_| ()), &moved), (clustered, &to_taos)] {
            let refusal = planned(&facts, wanted).unwrap_err();
            assert!(refusal.what.contains("looked into"), "{refusal}");
        }
    }
    assert!(planned(&on("taos", stopped), &to_taos).is_ok());
    let refusal = planned(&on("default", stopped), &to_taos).unwrap_err();
    assert!(refusal.what.contains("only while it runs"), "{refusal}");
    // The dataset has to be known.
    let unknown = on("taos", |server| {
        server.pools.iter_mut().for_each(|it| it.config.clear());
    });
    assert!(planned(&unknown, &to_taos).is_err());
}

#[test]
fn an_original_goes_only_while_its_copy_stands_in_for_it() {
    let kept = |change: fn(&mut Server)| {
        facts(move |server| {
            let mut kept = mary(server).clone();
            kept.reference.name = "taos-kept-mary".into();
            kept.status = "Stopped".into();
            kept.record.config.insert(KEPT_MARK.into(), "mary".into());
            mary(server).pool = Some("taos".into());
            server.instances.push(kept);
            change(server);
        })
    };
    assert_eq!(finish(&kept(|_| ()), &[]).unwrap().0.len(), 1);
    assert!(finish(&kept(|_| ()), &[reference("naira")])
        .unwrap()
        .0
        .is_empty());
    let gone = |server: &mut Server| drop(server.instances.remove(0));
    let refusal = finish(&kept(gone), &[]).unwrap_err();
    assert!(refusal.what.contains("may be all there is"), "{refusal}");
    let another = |server: &mut Server| {
        let config = &mut mary(server).record.config;
        config.insert("volatile.uuid".into(), "another's".into());
    };
    assert!(finish(&kept(another), &[]).is_err());
    let runs = |server: &mut Server| server.instances[2].status = "Running".into();
    assert!(finish(&kept(runs), &[]).is_err());
}

#[test]
fn names_fit_and_are_free() {
    let long = "a".repeat(63);
    let name = free_name(&Server::default(), &reference(&long), "copy");
    assert!(name.len() <= LONGEST && name.starts_with("taos-copy-a"));
    let taken = facts(|server| mary(server).reference.name = "taos-kept-x".into());
    let name = free_name(taken.server().unwrap(), &reference("x"), "kept");
    assert_eq!(name, "taos-kept2-x");
}

#[test]
fn what_others_may_see_of_a_step_has_no_secrets() {
    let facts = facts(|server| {
        let config = &mut mary(server).record.config;
        config.insert("environment.TOKEN".into(), "hunter2".into());
    });
    let plan = planned(&facts, &wanted(&["mary"])).unwrap();
    for step in &plan.steps {
        let shown = serde_json::to_string(&step.without_secrets()).unwrap();
        assert!(!shown.contains("hunter2"), "{shown}");
        let journal = serde_json::to_string(step).unwrap();
        let read: Step = serde_json::from_str(&journal).unwrap();
        assert_eq!(&read, step, "a journal is read as it was written");
    }
}

mod ways;
