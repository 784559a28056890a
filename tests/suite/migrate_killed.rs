//! A migration that is cut short anywhere: afterwards the container is there, once, whole, and does what it did.

use crate::support::{Host, Rule, Setup};

/// Every call of a migration that changes something, by words that only it has, and which of the calls with them.
const CHANGES: &[(&str, usize)] = &[
    ("type\":\"image", 1),
    ("refresh", 1),
    ("user.taos-setup.copied", 1),
    ("project set", 1),
    ("stop mary", 1),
    ("refresh", 2),
    ("user.taos-setup.proven", 1),
    ("rename mary", 1),
    ("config edit taos-kept", 1),
    ("rename taos-copy", 1),
    ("config edit mary", 1),
    ("config edit mary", 2),
    ("start mary", 1),
    ("project unset", 1),
];

/// A container in a restricted project, with a card, that counts as fast as it can into a file of constant size.
fn host() -> Host {
    let host = Host::with_pool("dir");
    host.incus(&["storage", "create", "taos", "btrfs", "size=2GiB"]);
    host.incus(&[
        "project",
        "create",
        "p",
        "--config",
        "restricted=true",
        "--config",
        "restricted.devices.disk=allow",
        "--config",
        "restricted.devices.nic=allow",
        "--config",
        "restricted.snapshots=allow",
        "--config",
        "features.networks=false",
    ]);
    host.incus(&[
        "network",
        "create",
        "br0",
        "ipv4.address=10.98.0.1/24",
        "ipv6.address=none",
    ]);
    host.incus(&[
        "profile",
        "device",
        "add",
        "default",
        "root",
        "disk",
        "path=/",
        "pool=default",
        "--project",
        "p",
    ]);
    host.import_tiny_into("p", "tiny");
    host.incus(&[
        "init",
        "tiny",
        "mary",
        "--project",
        "p",
        "--config",
        "environment.NAME=mary",
    ]);
    host.incus(&[
        "config",
        "device",
        "add",
        "mary",
        "eth0",
        "nic",
        "network=br0",
        "ipv4.address=10.98.0.7",
        "--project",
        "p",
    ]);
    host.incus(&["start", "mary", "--project", "p"]);
    host.incus(&["snapshot", "create", "mary", "s1", "--project", "p"]);
    host
}

/// Lets the container write, and tells what it is that must not be lost.
fn identity(host: &Host) -> String {
    let it = host.query("/1.0/instances/mary?project=p");
    let keys = [
        "volatile.uuid",
        "volatile.cloud-init.instance-id",
        "volatile.eth0.hwaddr",
        "environment.NAME",
        "volatile.apply_template",
    ];
    let config: Vec<String> = keys
        .iter()
        .map(|key| format!("{key}={}", it["config"][key]))
        .collect();
    format!(
        "{} {} {}",
        config.join(" "),
        it["profiles"],
        it["devices"]["eth0"]
    )
}

fn write(host: &Host, text: &str) {
    host.sh(&format!(
        "echo '{text}' | incus exec mary --project p -- sh -c 'cat >>/log'"
    ));
}

fn log(host: &Host) -> String {
    host.incus(&["exec", "mary", "--project", "p", "--", "cat", "/log"])
}

fn instances(host: &Host) -> String {
    host.incus(&[
        "list",
        "--all-projects",
        "--format",
        "csv",
        "--columns",
        "nsS",
    ])
    .replace('\n', " ")
}

/// Whatever is left is dealt with, and the container moves.
fn assert_healed(host: &Host, to: &str, written: &str, who: &str, case: &str) {
    // The next call first deals with what was left, and `undo` does nothing else.
    let run = host.run(&Setup::new(&["undo", "--yes"]));
    assert!(matches!(run.code, 0 | 3), "{case}: {}", run.output());
    let now = instances(host);
    let moved =
        host.query("/1.0/instances/mary?project=p")["expanded_devices"]["root"]["pool"] == to;
    let expected = if moved {
        "mary,RUNNING,1 taos-kept-mary,STOPPED,1"
    } else {
        "mary,RUNNING,1"
    };
    assert_eq!(now, expected, "{case}: {}", run.output());
    assert_eq!(identity(host), who, "{case}");
    assert_eq!(log(host), written, "{case}");
    assert_eq!(
        host.query("/1.0/projects/p")["config"]["restricted.containers.lowlevel"],
        serde_json::Value::Null,
        "{case}"
    );
    if !moved {
        host.setup(&["migrate", "mary", "--to", to, "--yes"])
            .expect_code(0);
    }
    host.setup(&["migrate", "--finish", "mary", "--yes"])
        .expect_code(0);
    assert_eq!(instances(host), "mary,RUNNING,1", "{case}");
    assert_eq!(
        (identity(host), log(host)),
        (who.to_owned(), written.to_owned()),
        "{case}"
    );
}

fn cut_short(how: fn(Rule, &Host) -> Rule, code: &[i32]) {
    let host = host();
    let who = identity(&host);
    let mut written = String::new();
    let pools = ["taos", "default"];
    for (number, (text, nth)) in CHANGES.iter().enumerate() {
        let to = pools[number % 2];
        if to == "default" && *text == "type\":\"image" {
            continue;
        }
        let case = format!("{text} ({nth}), to {to}");
        let line = format!("before {number}");
        write(&host, &line);
        if !written.is_empty() {
            written.push('\n');
        }
        written.push_str(&line);
        let rule = how(Rule::on(text).and_nth(*nth), &host);
        // A new file cannot be mended, so that it takes a second transfer.
        let late = format!("incus exec mary --project p -- touch /late-{number}");
        let late = Rule::on("stop mary").shell(&late);
        let setup = Setup::new(&["migrate", "mary", "--to", to, "--yes"]);
        let run = host.run(&setup.rule(late).rule(rule));
        assert!(code.contains(&run.code), "{case}: {}", run.output());
        if host.daemon_pid().is_none() {
            host.start_daemon();
        }
        assert_healed(&host, to, &written, &who, &case);
    }
}

#[test]
fn killed_before_any_change() {
    cut_short(|rule, _| rule.kill_before(), &[137]);
}

#[test]
fn killed_after_any_change() {
    cut_short(|rule, _| rule.kill_after(), &[137]);
}

#[test]
fn killed_during_any_change() {
    cut_short(|rule, _| rule.kill_during(15), &[137]);
}

#[test]
fn the_daemon_killed_during_any_change() {
    let kill = |rule: Rule, host: &Host| {
        let pid = host.daemon_pid().expect("a daemon");
        rule.shell(&format!(
            "\"$real\" \"$@\" <&0 & sleep 0.02; kill -KILL {pid}; wait $!; exit"
        ))
    };
    cut_short(kill, &[0, 1, 4]);
}

#[test]
fn a_change_that_fails_is_taken_back_at_once() {
    cut_short(|rule, _| rule.fail(1, "Error: no such luck"), &[0, 1, 4]);
}

#[test]
fn letting_an_original_go_is_finished_once_it_was_begun() {
    let host = Host::with_pool("dir");
    host.incus(&["storage", "create", "taos", "btrfs", "size=2GiB"]);
    let kills: [fn(Rule) -> Rule; 3] = [Rule::kill_before, Rule::kill_after, |rule| {
        rule.kill_during(5)
    }];
    for kill in kills {
        host.launch("mary", &[]);
        host.sh(
            "cd /var/lib/incus/storage-pools/default/containers/mary/rootfs; touch fixed; chattr +i fixed",
        );
        host.setup(&["migrate", "mary", "--to", "taos", "--yes"])
            .expect_code(0);
        let rule = kill(Rule::on("delete taos-kept"));
        let setup = Setup::new(&["migrate", "--finish", "mary", "--yes"]).rule(rule);
        host.run(&setup).expect_code(137);
        host.setup(&["undo", "--yes"]).expect_code(0);
        assert_eq!(instances(&host), "mary,RUNNING,0");
        // A container that is deleted by its owner has nothing of ours left.
        host.sh("chattr -i /var/lib/incus/storage-pools/taos/containers/mary/rootfs/fixed");
        host.incus(&["delete", "mary", "--force"]);
        host.incus(&[
            "profile",
            "device",
            "set",
            "default",
            "root",
            "pool=default",
        ]);
    }
}
