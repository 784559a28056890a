//! The network card that launches get.

use super::*;
use crate::facts::Ipv4Network;
use crate::plan::Step;

#[test]
fn a_profile_without_card_gets_one() {
    let bare = || Sample::set_up("btrfs").without_device("default", "eth0");
    let card = |network: &str| format!("give profile default a network card on {network}");
    let none = || bare().server(|server| server.networks.clear());
    for (found, sample, expected) in [
        ("its own bridge", bare(), vec![NIC.to_owned()]),
        (
            "another bridge",
            none().bridge("lanbr"),
            vec![card("lanbr")],
        ),
        (
            "several bridges: Incus's own first",
            bare().bridge("abr0"),
            vec![card("incusbr0")],
        ),
        (
            "several others: the first by name",
            none().bridge("lan2").bridge("lan1"),
            vec![card("lan1")],
        ),
        (
            "the bridges of incus-user are theirs",
            none()
                .host(|host| {
                    host.interfaces.remove("incusbr0");
                })
                .bridge("incusbr-1000"),
            vec![BRIDGE.to_owned(), card("incusbr0")],
        ),
        (
            "another project's network is its own",
            none().bridge("lan1").network("abr0", "bridge", "web"),
            vec![card("lan1")],
        ),
        (
            "an interface has the bridge's name",
            none(),
            vec![
                "create network incusbr1 (bridge)".to_owned(),
                card("incusbr1"),
            ],
        ),
    ] {
        assert_eq!(planned(sample), expected, "{found}");
    }
}

#[test]
fn a_network_that_is_no_bridge_keeps_its_name() {
    // Neither has an interface of its own name.
    for (kind, project) in [("macvlan", "default"), ("ovn", "web")] {
        let sample = Sample::uninitialised()
            .pool("default", "btrfs")
            .network("incusbr0", kind, project);
        let facts = sample.facts();
        let plan = decide(&facts, &Goal::default());
        let create = plan
            .steps
            .iter()
            .find(|step| matches!(step, Step::CreateNetwork { .. }))
            .expect("a bridge is made");
        assert!(
            !create.holds(&facts),
            "a {kind} network in project {project} is taken for the new bridge"
        );
    }
}

#[test]
fn a_card_is_plugged_into_no_instance_that_is_there() {
    let sample = Sample::set_up("btrfs")
        .without_device("default", "eth0")
        .instance("mary")
        .instance("web/luz");
    let plan = decide(&sample.facts(), &Goal::default());
    assert_eq!(words(&plan), [""; 0]);
    assert_eq!(
        notes(&plan),
        [
            "profile default has no network card; giving it one would plug it into mary, web/luz",
            "if you want that: incus profile device add default eth0 nic network=NAME name=eth0",
        ]
    );
}

#[test]
fn an_instance_of_another_profile_is_none_of_its_users() {
    let sample = Sample::set_up("btrfs")
        .without_device("default", "eth0")
        .device("web/default", "root", "disk path=/ pool=default")
        .instance("web/luz");
    assert_eq!(planned(sample), [NIC]);
}

#[test]
fn a_card_of_any_name_and_kind_will_do() {
    for keys in ["nic network=incusbr0", "nic nictype=macvlan parent=enp1s0"] {
        let sample = Sample::set_up("btrfs")
            .without_device("default", "eth0")
            .device("default", "lan", keys);
        assert_eq!(planned(sample), [""; 0], "{keys}");
    }
}

#[test]
fn networks_can_be_left_alone() {
    let goal = Goal {
        network: false,
        ..Goal::default()
    };
    assert_eq!(planned_for(Sample::uninitialised(), &goal), [POOL, ROOT]);
}

#[test]
fn the_fallback_subnet_is_free_on_this_host() {
    let taken = Ipv4Network {
        address: [10, 0, 0, 7].into(),
        prefix: 16,
    };
    let sample = Sample::uninitialised().host(|host| host.ipv4_networks.push(taken));
    let plan = decide(&sample.facts(), &Goal::default());
    let Some(Step::CreateNetwork { network }) = plan.steps.iter().rev().nth(1) else {
        panic!("{:#?}", plan.steps);
    };
    let (address, prefix) = network.fallback.split_once('/').unwrap();
    let fallback = Ipv4Network {
        address: address.parse().unwrap(),
        prefix: prefix.parse().unwrap(),
    };
    assert!(!fallback.overlaps(taken), "{fallback}");
}
