//! A migration that is cut short anywhere: afterwards the container is there, once, whole, and does what it did.

use crate::support::{Host, Rule, Setup};

/// Every call of a migration that changes something, by words that only it has, and which of the calls with them: those
/// before the container is stopped, and with it.
const FIRST: &[(&str, usize)] = &[
    ("type\":\"image", 1),
    ("refresh", 1),
    ("user.taos-setup.copied", 1),
    ("project set", 1),
    ("stop mary", 1),
    ("refresh", 2),
    ("user.taos-setup.proven", 1),
];

/// Those after it.
const THEN: &[(&str, usize)] = &[
    ("rename mary", 1),
    ("config edit taos-kept", 1),
    ("rename taos-copy", 1),
    ("config edit mary", 1),
    ("config edit mary", 2),
    ("start mary", 1),
    ("project unset", 1),
];

/// Those that take all of it back, after a start that failed. The calls that give the container its name and
/// configuration are as on the way there, so these are the later ones.
const BACK: &[(&str, usize)] = &[
    ("config edit mary", 3),
    ("rename mary taos-copy", 1),
    ("rename taos-kept", 1),
    ("config edit mary", 4),
    ("config edit mary", 5),
    // The start that fails is not counted here.
    ("start mary", 1),
    ("delete taos-copy", 1),
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

/// Whatever is left is dealt with: the container is there, once, whole, under its name, and runs.
fn assert_healed(host: &Host, to: &str, written: &str, who: &str, case: &str) {
    // The next call first deals with what was left, and `undo` does nothing else.
    let mut run = host.run(&Setup::new(&["undo", "--yes"]));
    // A daemon that was killed may find its bridge taken by what it left; it tries again later, or once it is started again.
    for _ in 0..3 {
        if run.code == 4 && run.stderr.contains("unavailable on this server") {
            host.kill_daemon();
            host.start_daemon();
            run = host.run(&Setup::new(&["undo", "--yes"]));
        }
    }
    assert!(matches!(run.code, 0 | 3), "{case}: {}", run.output());
    let expected = if pool(host) == to {
        "mary,RUNNING,1 taos-kept-mary,STOPPED,1"
    } else {
        "mary,RUNNING,1"
    };
    assert_eq!(instances(host), expected, "{case}: {}", run.output());
    assert_eq!(identity(host), who, "{case}");
    assert_eq!(log(host), written, "{case}");
    assert_eq!(
        host.query("/1.0/projects/p")["config"]["restricted.containers.lowlevel"],
        serde_json::Value::Null,
        "{case}"
    );
}

fn pool(host: &Host) -> String {
    let root = host.query("/1.0/instances/mary?project=p")["expanded_devices"]["root"].clone();
    root["pool"].as_str().expect("a pool").to_owned()
}

fn migrate(host: &Host, to: &str) {
    host.setup(&["migrate", "mary", "--to", to, "--yes"])
        .expect_code(0);
    finish(host);
}

fn finish(host: &Host) {
    host.setup(&["migrate", "--finish", "mary", "--yes"])
        .expect_code(0);
    assert_eq!(instances(host), "mary,RUNNING,1");
}

/// Cuts a migration short at each of these calls, one after the other. It goes from where the container is to the other
/// pool, so that one that is taken back is begun again by the next case, and gets as far as that.
fn cut_short(
    changes: &[(&str, usize)],
    first_to: &str,
    how: impl Fn(Rule, &Host) -> Vec<Rule>,
    code: &[i32],
) {
    let host = host();
    let who = identity(&host);
    if first_to == "default" {
        migrate(&host, "taos");
    }
    let mut written = String::new();
    let other = |here: String| if here == "taos" { "default" } else { "taos" };
    for (number, (text, nth)) in changes.iter().enumerate() {
        // Only a pool that clones has use for the image.
        if *text == "type\":\"image" && pool(&host) == "taos" {
            continue;
        }
        let to = other(pool(&host));
        let case = format!("{text} ({nth}), to {to}");
        let line = format!("before {number}");
        write(&host, &line);
        if !written.is_empty() {
            written.push('\n');
        }
        written.push_str(&line);
        // A new file cannot be mended, so that it takes a second transfer.
        let late = format!("incus exec mary --project p -- touch /late-{number} </dev/null");
        let late = Rule::on("stop mary").shell(&late);
        let mut setup = Setup::new(&["migrate", "mary", "--to", to, "--yes"]).rule(late);
        for rule in how(Rule::on(text).and_nth(*nth), &host) {
            setup = setup.rule(rule);
        }
        let run = host.run(&setup);
        assert!(code.contains(&run.code), "{case}: {}", run.output());
        if host.daemon_pid().is_none() {
            host.start_daemon();
        }
        assert_healed(&host, to, &written, &who, &case);
        if pool(&host) == to {
            finish(&host);
        }
    }
    migrate(&host, other(pool(&host)));
    assert_eq!((identity(&host), log(&host)), (who, written));
}

/// SIGKILL for the daemon while the call goes on.
fn kill_daemon(rule: Rule, host: &Host) -> Rule {
    let pid = host.daemon_pid().expect("a daemon");
    rule.shell(&format!(
        "\"$real\" \"$@\" <&0 & sleep 0.02; kill -KILL {pid}; wait $!; exit"
    ))
}

/// Makes the container's start fail once everything before it is done, so that all is taken back, and something else
/// happens on the way back.
fn on_the_way_back(rule: Rule) -> Vec<Rule> {
    let fails = Rule::on("start mary").fail(1, "Error: no such luck");
    vec![fails, rule]
}

// Each way of cutting short begins with another direction than the one before it; the first half of the calls leaves the
// container where it was, the second takes it to and fro.

#[test]
fn killed_before_any_change_until_it_is_stopped() {
    cut_short(FIRST, "taos", |rule, _| vec![rule.kill_before()], &[137]);
}

#[test]
fn killed_before_any_change_from_its_stop_on() {
    cut_short(THEN, "taos", |rule, _| vec![rule.kill_before()], &[137]);
}

#[test]
fn killed_after_any_change_until_it_is_stopped() {
    cut_short(FIRST, "default", |rule, _| vec![rule.kill_after()], &[137]);
}

#[test]
fn killed_after_any_change_from_its_stop_on() {
    cut_short(THEN, "default", |rule, _| vec![rule.kill_after()], &[137]);
}

#[test]
fn killed_during_any_change_until_it_is_stopped() {
    cut_short(FIRST, "taos", |rule, _| vec![rule.kill_during(15)], &[137]);
}

#[test]
fn killed_during_any_change_from_its_stop_on() {
    cut_short(THEN, "taos", |rule, _| vec![rule.kill_during(15)], &[137]);
}

#[test]
fn the_daemon_killed_during_any_change_until_it_is_stopped() {
    let how = |rule: Rule, host: &Host| vec![kill_daemon(rule, host)];
    cut_short(FIRST, "default", how, &[0, 1, 4]);
}

#[test]
fn the_daemon_killed_during_any_change_from_its_stop_on() {
    let how = |rule: Rule, host: &Host| vec![kill_daemon(rule, host)];
    cut_short(THEN, "default", how, &[0, 1, 4]);
}

#[test]
fn a_change_that_fails_is_taken_back_at_once() {
    let how = |rule: Rule, _: &Host| vec![rule.fail(1, "Error: no such luck")];
    let all = [FIRST, THEN].concat();
    cut_short(&all, "taos", how, &[0, 1, 4]);
}

#[test]
fn killed_after_any_change_of_the_way_back() {
    let how = |rule: Rule, _: &Host| on_the_way_back(rule.kill_after());
    cut_short(BACK, "taos", how, &[137]);
}

#[test]
fn the_daemon_killed_during_any_change_of_the_way_back() {
    let how = |rule: Rule, host: &Host| on_the_way_back(kill_daemon(rule, host));
    cut_short(BACK, "default", how, &[1, 4]);
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

#[test]
fn a_stopped_one_stays_stopped_and_its_profile_follows() {
    let host = Host::with_pool("dir");
    host.incus(&["storage", "create", "taos", "btrfs", "size=2GiB"]);
    host.launch("mary", &[]);
    host.incus(&["exec", "mary", "--", "sh", "-c", "echo whole >/log; sync"]);
    host.incus(&["stop", "mary", "--force"]);
    let cut = |text: &str| {
        let rule = Rule::on(text).kill_after();
        let setup = Setup::new(&["migrate", "mary", "--to", "taos", "--yes"]).rule(rule);
        host.run(&setup).expect_code(137);
    };
    let whole = |pool| {
        let log = format!("/var/lib/incus/storage-pools/{pool}/containers/mary/rootfs/log");
        assert_eq!(host.sh(&format!("cat {log}")), "whole");
    };
    for text in ["refresh", "user.taos-setup.proven"] {
        cut(text);
        host.setup(&["undo", "--yes"]).expect_code(0);
        assert_eq!(instances(&host), "mary,STOPPED,0", "{text}");
        whole("default");
    }
    // What follows for the profile once it has moved is a run of its own, and any next call finishes it.
    for text in [
        "rename mary",
        "profile device set",
        "config device remove mary",
    ] {
        cut(text);
        if text == "rename mary" {
            host.setup(&["undo", "--yes"]).expect_code(0);
        } else {
            // Its last step writes to a container, which an option has to name.
            if text == "profile device set" {
                host.setup(&["--yes"]).expect_code(3);
            }
            host.setup(&["--yes", "--pin", "mary"]).expect_code(0);
            let mary = host.query("/1.0/instances/mary");
            assert_eq!(mary["devices"], serde_json::json!({}), "{text}");
            assert_eq!(mary["expanded_devices"]["root"]["pool"], "taos", "{text}");
        }
        assert_eq!(
            instances(&host),
            "mary,STOPPED,0 taos-kept-mary,STOPPED,0",
            "{text}"
        );
        whole("taos");
        host.setup(&["migrate", "--rollback", "mary", "--yes"])
            .expect_code(0);
        whole("default");
        host.setup(&["migrate", "--finish", "mary", "--yes"])
            .expect_code(0);
        // As it was: its root disk from its profile.
        host.incus(&[
            "profile",
            "device",
            "set",
            "default",
            "root",
            "pool=default",
        ]);
        host.incus(&["config", "device", "remove", "mary", "root"]);
    }
}

#[test]
fn killed_while_a_copy_that_ran_is_put_aside() {
    let host = host();
    let who = identity(&host);
    write(&host, "before");
    // It starts, and something is wrong with it.
    let fails = || Rule::on("start mary").shell("\"$real\" \"$@\"; exit 1");
    // Before it is stopped it is the container, and lives: so it stays. After that it goes back.
    for (kill, moved) in [
        (Rule::on("stop mary --force").kill_before(), true),
        (Rule::on("stop mary --force").kill_after(), false),
        (Rule::on("rename mary taos-copy").kill_after(), false),
    ] {
        let to = if pool(&host) == "taos" {
            "default"
        } else {
            "taos"
        };
        let setup = Setup::new(&["migrate", "mary", "--to", to, "--yes"]);
        host.run(&setup.rule(fails()).rule(kill)).expect_code(137);
        host.setup(&["undo", "--yes"]).expect_code(0);
        assert_eq!(pool(&host) == to, moved);
        let left = if moved {
            "taos-kept-mary"
        } else {
            "taos-copy-mary"
        };
        assert_eq!(instances(&host), format!("mary,RUNNING,1 {left},STOPPED,1"));
        assert_eq!(
            (identity(&host).as_str(), log(&host).as_str()),
            (who.as_str(), "before")
        );
        host.incus(&["delete", left, "--project", "p"]);
    }
}

/// Incus renames in steps of its own: the volume's record, its folders, the instance. What a daemon leaves that is
/// killed between them is made here by hand, as nobody can wait for the microsecond; and what a power cut leaves, after
/// which the records have the new name and the folders the old one.
#[test]
fn a_rename_that_is_only_half_done_is_completed() {
    let host = Host::with_pool("dir");
    host.incus(&["storage", "create", "taos", "btrfs", "size=2GiB"]);
    host.incus(&[
        "project",
        "create",
        "p",
        "--config",
        "features.images=false",
    ]);
    let project = ["--project", "p"];
    let incus = |args: &[&str]| host.incus(&[&project, args].concat());
    incus(&[
        "profile",
        "device",
        "add",
        "default",
        "root",
        "disk",
        "path=/",
        "pool=default",
    ]);
    host.import_tiny("tiny");
    incus(&["launch", "tiny", "mary"]);
    incus(&["snapshot", "create", "mary", "s1"]);
    let before = identity(&host);
    for (rename, old, new, pool) in [
        (
            "rename mary taos-kept-mary",
            "mary",
            "taos-kept-mary",
            "default",
        ),
        (
            "rename taos-copy-mary mary",
            "taos-copy-mary",
            "mary",
            "taos",
        ),
    ] {
        for (record_is_old, folders_are_old) in [(true, false), (true, true), (false, true)] {
            let rule = Rule::on(rename).kill_after();
            host.run(&Setup::new(&["migrate", "p/mary", "--to", "taos", "--yes"]).rule(rule))
                .expect_code(137);
            if record_is_old {
                let query = format!("UPDATE instances SET name = '{old}' WHERE name = '{new}'");
                host.incus(&["admin", "sql", "global", &query]);
            }
            if folders_are_old {
                host.sh(&format!(
                    "cd /var/lib/incus/storage-pools/{pool}
                     mv containers/p_{new} containers/p_{old}
                     mv containers-snapshots/p_{new} containers-snapshots/p_{old}
                     cd /var/lib/incus; rm containers/p_{new} containers-snapshots/p_{new}
                     ln -s $PWD/storage-pools/{pool}/containers/p_{old} containers/
                     ln -s $PWD/storage-pools/{pool}/containers-snapshots/p_{old} containers-snapshots/"
                ));
            }
            let run = host.setup(&["undo", "--yes"]).expect_code(0);
            assert!(
                run.output().contains("that is completed"),
                "{}",
                run.output()
            );
            let state = incus(&["list", "--format", "csv", "--columns", "nsS"]);
            assert!(state.contains("mary,RUNNING,1"), "{state}");
            incus(&["exec", "mary", "--", "sh", "-c", ":"]);
            assert_eq!(before, identity(&host));
            if !state.contains("taos-kept-mary") {
                assert_eq!(state, "mary,RUNNING,1");
                continue;
            }
            host.setup(&["migrate", "--rollback", "p/mary", "--yes"])
                .expect_code(0);
            host.setup(&["migrate", "--finish", "p/mary", "--yes"])
                .expect_code(0);
        }
    }
    incus(&["snapshot", "restore", "mary", "s1"]);
}
