//! In a cluster: what is moved from here, and what is said of the rest.

use super::*;
use crate::facts::{Cluster, Member, PoolPart};

/// m1, where this runs, has mary, and m2 has naira; both have a part of each pool.
fn clustered(change: impl FnOnce(&mut Server)) -> Facts {
    facts(|server| {
        let member = |name: &str| Member {
            name: name.into(),
            status: "Online".into(),
            ..Member::default()
        };
        server.clustered = true;
        server.members = vec!["m1".into(), "m2".into()];
        server.cluster = Some(Cluster {
            here: "m1".into(),
            members: vec![member("m1"), member("m2")],
        });
        for pool in &mut server.pools {
            let part = |member: &str| PoolPart {
                member: member.into(),
                status: "Created".into(),
                ..PoolPart::default()
            };
            pool.parts = vec![part("m1"), part("m2")];
        }
        server.instances[0].location = "m1".into();
        server.instances[1].location = "m2".into();
        change(server);
    })
}

fn cluster(server: &mut Server) -> &mut Cluster {
    server.cluster.as_mut().expect("a cluster")
}

fn silent(server: &mut Server) {
    cluster(server).members[1].silent = Some("no route to host".into());
    let naira = &mut server.instances[1];
    naira.status = "Error".into();
    naira.pool = None;
    naira.profiles.clear();
}

/// As the command does it: all that is not here is refused, or said.
fn moved(facts: &Facts, wanted: &Wanted) -> Result<(Plan, Vec<String>), Refusal> {
    let server = facts.server().unwrap();
    let names = selected(server, wanted)?;
    let (names, elsewhere) = on_this_member(server, wanted, Deed::Move, names)?;
    let said = elsewhere.into_iter().map(|note| {
        let hint = note.hint.unwrap_or_default();
        format!("{}; {hint}", note.what)
    });
    Ok((plan(facts, wanted, &names)?, said.collect()))
}

fn to_taos(names: &[&str]) -> Wanted {
    Wanted {
        to: "taos".parse().ok(),
        ..wanted(names)
    }
}

#[test]
fn what_is_here_is_moved_and_stays_here() {
    let facts = clustered(|_| ());
    let (plan, said) = moved(&facts, &to_taos(&["mary"])).unwrap();
    assert!(said.is_empty());
    let of = plan.steps.iter().find_map(Step::migrates).unwrap();
    assert_eq!((of.name.name.as_str(), of.member.as_str()), ("mary", "m1"));
    // naira, on another member, takes its root disk from the profile still.
    let sets = |step: &Step| matches!(step, Step::SetDevice { .. });
    assert!(!plan.steps.iter().any(sets));
}

#[test]
fn what_is_elsewhere_is_refused_or_said_with_the_command() {
    let there = "on m2: taos-setup migrate naira --to taos";
    let facts = clustered(|_| ());
    for names in [&["naira"][..], &["mary", "naira"]] {
        let refusal = moved(&facts, &to_taos(names)).unwrap_err();
        assert!(refusal.what.contains("member m2"), "{refusal}");
        assert_eq!(refusal.hints, [there]);
    }
    let (plan, said) = moved(&facts, &to_taos(&[])).unwrap();
    assert!(plan.steps.iter().any(|step| step.migrates().is_some()));
    assert!(said.len() == 1 && said[0].ends_with(there), "{said:?}");

    let lost = clustered(silent);
    let back = "once it is back, on m2: taos-setup migrate";
    let refusal = moved(&lost, &to_taos(&["naira"])).unwrap_err();
    assert!(refusal.what.contains("does not answer"), "{refusal}");
    assert!(refusal.hints[0].starts_with(back), "{refusal:?}");
    let (_, said) = moved(&lost, &to_taos(&[])).unwrap();
    assert!(said[0].ends_with("once it is back, on m2: taos-setup migrate --member m2 --to taos"));
}

#[test]
fn a_member_that_is_named_has_to_be_this_one() {
    let on = |member: &str| Wanted {
        member: Some(member.into()),
        ..to_taos(&[])
    };
    let facts = clustered(|_| ());
    let (plan, said) = moved(&facts, &on("m1")).unwrap();
    let names: Vec<String> = plan
        .steps
        .iter()
        .filter_map(Step::migrates)
        .map(|of| of.name.name.clone())
        .collect();
    assert!(
        said.is_empty() && names.iter().all(|name| name == "mary"),
        "{names:?}"
    );
    for (facts, member, says) in [
        (
            &facts,
            "m2",
            "on m2: taos-setup migrate --member m2 --to taos",
        ),
        (&clustered(silent), "m2", "once it is back, on m2"),
        (&facts, "m9", "they are m1, m2"),
        (&super::facts(|_| ()), "m1", "leave --member out"),
    ] {
        let refusal = moved(facts, &on(member)).unwrap_err();
        assert!(refusal.hints[0].contains(says), "{says}: {refusal:?}");
    }
}

#[test]
fn no_profile_changes_while_it_is_not_known_who_uses_it() {
    let alone = |change: fn(&mut Server)| {
        clustered(|server| {
            server.instances[1].profiles.clear();
            change(server);
        })
    };
    let sets = |facts: &Facts| {
        let (plan, _) = moved(facts, &to_taos(&["mary"])).unwrap();
        plan.steps
            .iter()
            .any(|step| matches!(step, Step::SetDevice { .. }))
    };
    assert!(sets(&alone(|_| ())), "mary is the only one");
    assert!(!sets(&alone(silent)), "naira may use it, too");
}

#[test]
fn what_the_member_cannot_take() {
    type Change = fn(&mut Server);
    let cases: [(Change, &str); 3] = [
        (
            |it| cluster(it).members[0].status = "Evacuated".into(),
            "evacuated",
        ),
        (
            |it| {
                let pools = it.pools.iter_mut();
                pools.for_each(|pool| pool.parts[0].status = "Unknown".into());
            },
            "on this member, m1",
        ),
        (
            |it| it.pools.retain(|pool| pool.name != "taos"),
            "there is no storage pool taos",
        ),
    ];
    for (change, says) in cases {
        let refusal = moved(&clustered(change), &to_taos(&["mary"])).unwrap_err();
        assert!(refusal.what.contains(says), "{says}: {refusal}");
    }
}

#[test]
fn an_original_goes_where_it_is() {
    let facts = clustered(|server| {
        let mut kept = server.instances[1].clone();
        kept.reference.name = "taos-kept-naira".into();
        kept.status = "Stopped".into();
        kept.record.config.insert(KEPT_MARK.into(), "naira".into());
        server.instances[1].pool = Some("taos".into());
        server.instances.push(kept);
    });
    assert!(finish(&facts, &[]).unwrap().0.is_empty());
    let server = facts.server().unwrap();
    let names = vec![reference("naira")];
    let refusal = on_this_member(server, &wanted(&["naira"]), Deed::Finish, names).unwrap_err();
    assert_eq!(refusal.hints, ["on m2: taos-setup migrate --finish naira"]);
    let mut there = facts.clone();
    let Incus::Answering(server) = &mut there.incus else {
        unreachable!();
    };
    cluster(server).here = "m2".into();
    let (steps, _) = finish(&there, &[]).unwrap();
    assert_eq!(steps.len(), 1);
    assert_eq!(steps[0].migrates().map(|of| of.member.as_str()), Some("m2"));
}

#[test]
fn no_pool_is_deleted_that_other_members_have_a_folder_of() {
    let empty = clustered(|server| server.instances.clear());
    let refusal = may_be_deleted(&empty, "default", &[]).unwrap_err();
    assert!(refusal.what.contains("in a cluster"), "{refusal}");
}

#[test]
fn a_container_that_went_to_another_member_is_not_what_was_left() {
    let facts = clustered(|_| ());
    let (plan, _) = moved(&facts, &to_taos(&["mary"])).unwrap();
    let halt = plan
        .steps
        .iter()
        .find_map(Step::migrates)
        .unwrap()
        .step(Part::Stop);
    let away = clustered(|server| server.instances[0].location = "m2".into());
    assert!(halt
        .blocked(&away)
        .unwrap()
        .contains("not on pool default any more"));
}
