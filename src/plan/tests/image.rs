//! When the base image is fetched: what is planned for it.

use super::{decide, plan, Goal, Sample};
use crate::facts::{
    Arrangement, Cluster, Config, Facts, Image, Incus, Member, Mode, PoolPart, PoolUser, Reference,
    ALIAS,
};
use crate::plan::{backwards, ImageGoal};
use crate::step::Step;

fn variables() -> Config {
    Config::from([
        ("TAOS_IMAGE_URL".into(), "https://example.org/x".into()),
        ("https_proxy".into(), "http://me:secret@proxy:8080".into()),
    ])
}

fn goal(mode: Option<Mode>) -> Goal {
    Goal {
        image: Some(ImageGoal {
            mode,
            fixed: mode.is_some(),
            environment: Some(variables()),
        }),
        ..Goal::default()
    }
}

fn lazy() -> Arrangement {
    Arrangement {
        mode: Mode::Lazy,
        environment: variables(),
    }
}

fn without_systemd(mut facts: Facts) -> Facts {
    facts.host.systemd = false;
    facts
}

fn arranged(mut facts: Facts, arrangement: &Arrangement, in_force: bool) -> Facts {
    let trigger = &mut facts.host.trigger;
    trigger.mode = Some(arrangement.mode);
    trigger.environment = arrangement.environment.clone();
    trigger.units = arrangement.mode != Mode::Off;
    trigger.in_force = in_force;
    facts
}

fn image(project: &str) -> Image {
    Image {
        project: project.into(),
        fingerprint: "f".repeat(64),
        aliases: vec![ALIAS.into()],
        size: crate::facts::Bytes(1),
        container: true,
    }
}

fn cold() -> Facts {
    Sample::set_up("btrfs")
        .server(|server| server.images.push(image("default")))
        .facts()
}

fn warm() -> Facts {
    let fingerprint = "f".repeat(64);
    Sample::set_up("btrfs")
        .user("default", PoolUser::Image { fingerprint })
        .server(|server| server.images.push(image("default")))
        .facts()
}

fn set_up() -> Facts {
    Sample::set_up("btrfs").facts()
}

/// What a plan does about the image, in a word or two.
fn decided(facts: &Facts, mode: Option<Mode>) -> String {
    let plan = decide(facts, &goal(mode));
    let words: Vec<String> = plan
        .steps
        .iter()
        .filter(|step| step.minds_image())
        .map(|step| match step {
            Step::ArrangeImage { to: Some(to), .. } => to.mode.word().to_owned(),
            Step::ArrangeImage { to: None, .. } => "forget".to_owned(),
            Step::FetchImage {
                detached, projects, ..
            } => format!(
                "fetch{}{}",
                if *detached { " detached" } else { "" },
                if projects.is_empty() { " nowhere" } else { "" }
            ),
            other => panic!("{other:?}"),
        })
        .collect();
    words.join(", ")
}

#[test]
fn the_image_is_arranged_as_asked_and_lazily_by_default() {
    use Mode::{Background, Lazy, Now, Off};
    let off = Arrangement {
        mode: Off,
        environment: Config::new(),
    };
    let plain = || without_systemd(set_up());
    let table = vec![
        ("nothing was chosen", set_up(), None, "lazy"),
        ("lazy", set_up(), Some(Lazy), "lazy"),
        ("background", set_up(), Some(Background), "background"),
        ("now", set_up(), Some(Now), "fetch"),
        ("off", set_up(), Some(Off), "off"),
        ("kept", arranged(set_up(), &lazy(), true), None, ""),
        (
            "the same",
            arranged(set_up(), &lazy(), true),
            Some(Lazy),
            "",
        ),
        ("mended", arranged(set_up(), &lazy(), false), None, "lazy"),
        (
            "changed",
            arranged(set_up(), &lazy(), true),
            Some(Background),
            "background",
        ),
        ("off stays", arranged(set_up(), &off, true), None, ""),
        ("off again", arranged(set_up(), &off, true), Some(Off), ""),
        ("here", warm(), None, ""),
        ("here, lazy", warm(), Some(Lazy), ""),
        ("here, background", warm(), Some(Background), ""),
        ("here, now", warm(), Some(Now), ""),
        ("here, off", warm(), Some(Off), "off"),
        ("cold", cold(), None, ""),
        ("cold, now", cold(), Some(Now), "fetch nowhere"),
        ("no systemd", plain(), None, ""),
        ("no systemd, lazy", plain(), Some(Lazy), ""),
        ("no systemd, off", plain(), Some(Off), ""),
        ("no systemd, now", plain(), Some(Now), "fetch"),
        (
            "no systemd, background",
            plain(),
            Some(Background),
            "fetch detached",
        ),
        (
            "no systemd any more",
            arranged(plain(), &lazy(), false),
            Some(Off),
            "forget",
        ),
    ];
    for (what, facts, mode, expected) in table {
        assert_eq!(decided(&facts, mode), expected, "{what}");
    }
}

#[test]
fn it_is_the_last_step_of_a_new_host() {
    let plan = decide(&Sample::bare().facts(), &goal(None));
    let Some(Step::ArrangeImage { from: None, to }) = plan.steps.last() else {
        panic!("{:?}", plan.steps);
    };
    assert_eq!(to.as_ref(), Some(&lazy()));
    assert_eq!(plan.image, Some(Mode::Lazy));
    // Where it is no matter, there is no such step.
    let plan = decide(&Sample::bare().facts(), &Goal::default());
    assert!(!plan.steps.iter().any(Step::minds_image));
}

#[test]
fn what_is_being_fetched_is_not_fetched_twice() {
    let mut facts = set_up();
    facts.host.trigger.fetching = true;
    for mode in [Mode::Now, Mode::Background] {
        let plan = decide(&facts, &goal(Some(mode)));
        assert!(plan.steps.is_empty(), "{:?}", plan.steps);
        assert!(plan.notes[0].what.contains("already"), "{:?}", plan.notes);
    }
}

#[test]
fn a_project_without_it_gets_it() {
    let mut facts = warm();
    facts.host.trigger.service_users = vec![1000];
    if let Incus::Answering(server) = &mut facts.incus {
        let profile = server.profiles[0].clone();
        server.profiles.push(crate::facts::Profile {
            reference: Reference::new("user-1000", "default"),
            ..profile
        });
    }
    let plan = decide(&facts, &goal(Some(Mode::Now)));
    let projects = plan.steps.iter().find_map(|step| match step {
        Step::FetchImage { projects, .. } => Some(projects.clone()),
        _ => None,
    });
    assert_eq!(projects, Some(vec!["user-1000".to_owned()]));
}

#[test]
fn without_a_published_image_only_what_was_asked_for_is_refused() {
    let nothing = |mode| Goal {
        image: Some(ImageGoal {
            mode,
            ..ImageGoal::default()
        }),
        ..Goal::default()
    };
    assert!(decide(&set_up(), &nothing(None)).steps.is_empty());
    assert_eq!(decide(&set_up(), &nothing(Some(Mode::Off))).steps.len(), 1);
    let refusal = plan(&set_up(), &nothing(Some(Mode::Lazy))).expect_err("a refusal");
    assert!(refusal.hints[0].contains("--image-url"), "{refusal:?}");
}

#[test]
fn each_of_them_goes_back() {
    for mode in [None, Some(Mode::Background), Some(Mode::Off)] {
        let before = set_up();
        let steps = decide(&before, &goal(mode)).steps;
        let mut after = before.clone();
        for step in &steps {
            step.expect(&mut after);
        }
        assert!(steps.iter().all(|step| step.holds(&after)), "{mode:?}");
        let back = backwards(&after, &steps).expect("a way back");
        assert_eq!(back.len(), 1);
        for step in &back {
            step.expect(&mut after);
        }
        assert_eq!(after.host.trigger.mode, None);
        assert!(back.iter().all(|step| step.holds(&after)), "{mode:?}");
    }
    // The image came, and the trigger took itself away: the units are left to remove.
    let mut facts = warm();
    facts.host.trigger.units = true;
    let steps = decide(&set_up(), &goal(None)).steps;
    assert_eq!(backwards(&facts, &steps).expect("a way back").len(), 1);
}

#[test]
fn an_image_that_somebody_uses_is_not_taken_back() {
    let steps = decide(&set_up(), &goal(Some(Mode::Now))).steps;
    let mut facts = warm();
    assert_eq!(backwards(&facts, &steps).expect("a way back").len(), 1);
    if let Incus::Answering(server) = &mut facts.incus {
        let mut mary = Sample::set_up("btrfs").instance("mary").facts();
        let Incus::Answering(other) = &mut mary.incus else {
            unreachable!()
        };
        let mut mary = other.instances.remove(0);
        let base = ("volatile.base_image".to_owned(), "f".repeat(64));
        mary.record.config.extend([base]);
        server.instances.push(mary);
    }
    let refusal = backwards(&facts, &steps).expect_err("a refusal");
    assert!(refusal.what.contains("mary was made from it"), "{refusal}");
    // It is gone already, or never came: nothing to take back.
    assert_eq!(backwards(&set_up(), &steps).expect("a way back"), []);
}

#[test]
fn nobody_sees_a_proxys_password() {
    let steps = decide(&set_up(), &goal(None)).steps;
    let shown = serde_json::to_string(&steps[0].without_secrets()).expect("a document");
    assert!(!shown.contains("secret"), "{shown}");
    assert!(shown.contains("https://example.org/x"), "{shown}");
}

#[test]
fn in_a_cluster_each_member_that_can_launch_unpacks_it() {
    let mut facts = set_up();
    let Incus::Answering(server) = &mut facts.incus else {
        unreachable!();
    };
    let member = |name: &str, status: &str| Member {
        name: name.into(),
        status: status.into(),
        ..Member::default()
    };
    server.cluster = Some(Cluster {
        here: "m1".into(),
        members: vec![member("m1", "Online"), member("m2", "Evacuated")],
    });
    for pool in &mut server.pools {
        let part = |member: &str| PoolPart {
            member: member.into(),
            status: "Created".into(),
            ..PoolPart::default()
        };
        pool.parts = vec![part("m1"), part("m2")];
    }
    let plan = plan(&facts, &goal(Some(Mode::Now))).unwrap();
    assert!(plan.steps.iter().any(Step::fetches));
    let said: Vec<&str> = plan.notes.iter().map(|note| note.what.as_str()).collect();
    let said = said.join("; ");
    assert!(said.contains("imported once, and unpacked on m1"), "{said}");
    assert!(said.contains("member m2, which is evacuated"), "{said}");
}
