//! Every decision, as a table of what is found and what is then planned.

use super::samples::Sample;
use super::{plan, Goal, Plan, SourceChoice};
use crate::facts::Facts;

mod cluster;
mod consent;
mod dir;
mod existing;
mod half;
mod image;
mod install;
mod many;
mod network;
mod place;
mod properties;
mod refusals;
mod source;
mod way_back;

const POOL: &str =
    "create storage pool default (btrfs, 50 GiB loop file /var/lib/incus/disks/default.img)";
const ROOT: &str = "give profile default a root disk on pool default";
const BRIDGE: &str = "create network incusbr0 (bridge)";
const NIC: &str = "give profile default a network card on incusbr0";

/// A name, size or list of pins, as the command line takes it.
fn parsed<T: std::str::FromStr>(text: &str) -> T {
    text.parse()
        .unwrap_or_else(|_| panic!("{text:?} is well-formed"))
}

/// `--pool NAME`
fn named(pool: &str) -> Goal {
    Goal {
        pool: Some(parsed(pool)),
        ..Goal::default()
    }
}

/// `--size SIZE`
fn sized(size: &str) -> Goal {
    Goal {
        size: Some(parsed(size)),
        ..Goal::default()
    }
}

/// `--source PATH`
fn at(path: &str) -> Goal {
    Goal {
        source: Some(SourceChoice::At(path.into())),
        ..Goal::default()
    }
}

/// `--beside`
fn beside() -> Goal {
    Goal {
        beside: true,
        ..Goal::default()
    }
}

fn decide(facts: &Facts, goal: &Goal) -> Plan {
    plan(facts, goal).unwrap_or_else(|refusal| panic!("refused: {refusal:#?}"))
}

fn words(plan: &Plan) -> Vec<String> {
    plan.steps.iter().map(super::Step::describe).collect()
}

/// What is planned without any option.
fn planned(sample: Sample) -> Vec<String> {
    planned_for(sample, &Goal::default())
}

fn planned_for(sample: Sample, goal: &Goal) -> Vec<String> {
    words(&decide(&sample.facts(), goal))
}

/// What is said where nothing is planned: the refusal, and a line for each hint.
fn refused(sample: Sample, goal: &Goal) -> String {
    match plan(&sample.facts(), goal) {
        Ok(plan) => panic!("not refused, but planned: {:#?}", words(&plan)),
        Err(refusal) => format!("{}\n{}", refusal.what, refusal.hints.join("\n")),
    }
}

/// The notes of a plan, each followed by its hint.
fn notes(plan: &Plan) -> Vec<String> {
    plan.notes
        .iter()
        .flat_map(|note| [Some(note.what.clone()), note.hint.clone()])
        .flatten()
        .collect()
}

/// The facts after every step of a plan did what it is expected to do.
fn after(facts: &Facts, plan: &Plan) -> Facts {
    let mut facts = facts.clone();
    for step in &plan.steps {
        step.expect(&mut facts);
    }
    facts
}

#[track_caller]
fn assert_says(text: &str, parts: &[&str]) {
    for part in parts {
        assert!(text.contains(part), "{part:?} is not in {text:?}");
    }
}
