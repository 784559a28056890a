//! Which yes covers what.

use super::*;
use crate::facts::Reference;
use crate::plan::{approve, Pins, Yes};

fn pins(text: &str) -> Pins {
    parsed(text)
}

#[test]
fn yes_by_option_covers_what_touches_no_instance() {
    for sample in [
        Sample::bare(),
        Sample::uninitialised(),
        Sample::set_up("dir"),
        Sample::dir_with_instances(),
    ] {
        let plan = decide(&sample.facts(), &Goal::default());
        let steps = plan.steps.clone();
        let approved = plan.approve(&Yes::Option(Pins::None)).unwrap();
        assert_eq!(approved.steps(), steps);
    }
}

#[test]
fn yes_by_option_covers_exactly_the_instances_that_are_pinned() {
    let facts = Sample::dir_with_instances().instance("web/luz").facts();
    let plan = decide(&facts, &beside());
    for (given, uncovered) in [
        (Pins::None, Some("mary, naira, web/luz")),
        (pins("mary"), Some("naira, web/luz")),
        (pins("mary,naira,default/luz"), Some("web/luz")),
        (pins("mary,naira,luz"), None),
        (pins("default/mary,naira,web/luz"), None),
        (Pins::All, None),
    ] {
        let answer = plan.clone().approve(&Yes::Option(given.clone()));
        match (answer, uncovered) {
            (Ok(approved), None) => assert_eq!(approved.steps(), plan.steps),
            (Err(refusal), Some(names)) => {
                let what = format!("configuration of {names}, which --yes does not cover");
                assert_says(&refusal.what, &[&what]);
                // To be typed as it stands, so all of them.
                assert_says(&refusal.hints[0], &["--pin mary,naira,web/luz"]);
            }
            (answer, _) => panic!("{given:?}: {answer:?}"),
        }
    }
}

#[test]
fn a_typed_yes_covers_the_list_it_was_typed_below() {
    let plan = decide(&Sample::dir_with_instances().facts(), &beside());
    let steps = plan.steps.clone();
    assert_eq!(plan.approve(&Yes::Typed).unwrap().steps(), steps);
}

#[test]
fn the_way_back_needs_the_same_yes() {
    let facts = Sample::dir_with_instances().facts();
    let plan = decide(&facts, &beside());
    let back = crate::plan::backwards(&after(&facts, &plan), &plan.steps).unwrap();
    assert!(approve(back.clone(), &Yes::Option(Pins::None)).is_err());
    assert!(approve(back.clone(), &Yes::Option(Pins::All)).is_ok());
    assert!(approve(back, &Yes::Typed).is_ok());
}

#[test]
fn a_pin_means_exactly_one_instance() {
    let sample = || {
        Sample::dir_with_instances()
            .instance("web/mary")
            .instance("web/luz")
    };
    let goal = |text: &str| Goal {
        pins: pins(text),
        ..beside()
    };
    for text in [
        "naira",
        "luz",
        "default/mary",
        "web/mary,default/mary",
        "all",
    ] {
        assert_eq!(planned_for(sample(), &goal(text)).len(), 6, "{text}");
    }
    assert_says(
        &refused(sample(), &goal("mary")),
        &[
            "--pin mary: that could be any of default/mary, web/mary",
            "--pin default/mary",
        ],
    );
    for text in ["mari", "web/naira", "naira,mari"] {
        assert_says(
            &refused(sample(), &goal(text)),
            &["there is no instance of that name", "taos-setup status"],
        );
    }
}

#[test]
fn lists_of_pins_that_are_none() {
    for text in ["", ",", "mary,", "mary,mary", "mary,all", "all,mary"] {
        assert!(text.parse::<Pins>().is_err(), "{text:?}");
    }
}

#[test]
fn a_name_without_project_covers_it_in_any_and_one_with_project_only_there() {
    let luz = Reference::new("web", "luz");
    for (text, covers) in [
        ("luz", true),
        ("web/luz", true),
        ("all", true),
        ("default/luz", false),
        ("web/lu", false),
        ("lu", false),
    ] {
        assert_eq!(pins(text).cover(&luz), covers, "{text}");
    }
    assert!(!Pins::None.cover(&luz));
}
