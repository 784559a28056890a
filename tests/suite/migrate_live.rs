//! What a migration shows while it is at work, and two containers that are copied at a time.

use crate::support::{assert_same, Host, Rule, Session, Setup};
use serde_json::Value;

const NAMES: [&str; 3] = ["mary", "naira", "stanley"];

fn host(names: &[&str]) -> Host {
    let host = Host::with_pool("dir");
    host.incus(&["storage", "create", "taos", "btrfs", "size=2GiB"]);
    for name in names {
        host.launch(name, &[]);
    }
    host
}

#[test]
fn how_far_it_is_shows_on_a_terminal_and_without_one_and_the_log_has_what_was_verified() {
    let host = host(&["mary"]);
    host.sh(
        "cd /var/lib/incus/storage-pools/default/containers/mary/rootfs
         dd if=/dev/urandom of=much bs=1M count=60 status=none; ln much more; echo 1 >fixed; chattr +i fixed",
    );
    host.incus(&["snapshot", "create", "mary", "s1"]);
    // Long enough for a line, whatever the machine is.
    let slow = || Rule::on("refresh").shell("\"$real\" \"$@\" || exit; sleep 4; exit 0");
    let to_taos = Setup::new(&["migrate", "mary", "--to", "taos", "--yes"]).rule(slow());
    let run = host.run(&to_taos).expect_code(0);
    let parts = ["copying mary: ", "MiB of", " paths, ", "/s, ", " left"];
    let told = |line: &str| parts.iter().all(|part| line.contains(part));
    assert!(run.stdout.lines().any(told), "{}", run.output());
    let log = host.sh("cat /var/log/taos-setup.log");
    for part in [
        "compared while it was in use: mary: ",
        "compared: snapshot mary/s1: ",
        "compared: the 1 snapshots of mary: their names, dates, expiry and profiles are equal",
        "mended: mary: 1 hard links",
        "mended: mary: 1 flags",
        "compared again, once mended: mary: ",
    ] {
        assert!(log.contains(part), "{part} is not in {log}");
    }

    let back = Setup::new(&["migrate", "--rollback", "mary"]).rule(slow());
    let mut session = host.pty_run(&back, 100, 30);
    session.expect("Go ahead?").send("yes").send(Session::ENTER);
    let patience = std::time::Duration::from_secs(100);
    for text in ["copying mary: ", " paths, ", "/s, ", "Migrated"] {
        session.expect_within(text, patience);
    }
    session.wait_exit().expect_code(0);
    assert_eq!(session.wrapped_rows(), [""; 0]);
}

/// Each stop and start of an instance, and each copy that was begun, in their order.
fn happened(host: &Host) -> Vec<(String, String)> {
    let events = host.sh("cat /tmp/events");
    let mut all: Vec<(String, String, String)> = events
        .lines()
        .filter(|line| !line.is_empty())
        .map(|line| {
            let event: Value = serde_json::from_str(line).expect("an event");
            let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
            let source = text(&event["metadata"]["source"]);
            let name = source
                .split(['/', '?'])
                .nth(3)
                .unwrap_or_default()
                .to_owned();
            (
                text(&event["timestamp"]),
                text(&event["metadata"]["action"]),
                name,
            )
        })
        .collect();
    all.sort();
    all.into_iter()
        .map(|(_, action, name)| (action, name))
        .collect()
}

#[test]
fn two_are_copied_at_a_time_and_one_is_down_at_a_time() {
    let host = host(&NAMES);
    host.sh("incus monitor --type=lifecycle --format=json >/tmp/events </dev/null 2>/dev/null & sleep 0.5");
    host.setup(&[
        "migrate", "mary", "naira", "stanley", "--to", "taos", "--yes",
    ])
    .expect_code(0);
    let happened = happened(&host);
    let mut down: Vec<&str> = Vec::new();
    for (action, name) in &happened {
        if !NAMES.contains(&name.as_str()) {
            continue;
        }
        match action.as_str() {
            "instance-shutdown" | "instance-stopped" if !down.contains(&name.as_str()) => {
                down.push(name);
            }
            "instance-started" => down.retain(|it| it != name),
            _ => {}
        }
        assert!(down.len() < 2, "{down:?} were down at once: {happened:?}");
    }
    assert!(down.is_empty(), "{happened:?}");
    let at = |action: &str, name: &str| {
        happened
            .iter()
            .position(|(it, of)| it.starts_with(action) && of == name)
            .unwrap_or_else(|| panic!("no {action} of {name}: {happened:?}"))
    };
    assert!(at("instance-created", "taos-copy-naira") < at("instance-s", "mary"));
    // Nothing is copied while one is down.
    assert!(at("instance-started", "naira") < at("instance-created", "taos-copy-stanley"));
}

#[test]
fn killed_while_two_are_copied_or_one_of_them_is_down() {
    let host = host(&NAMES[..2]);
    let before = host.state_digest();
    let ahead = r#"taos-copy-naira","profiles":["default"],"source":{"allow"#;
    let cases = [
        Rule::on(ahead).kill_during(50),
        Rule::on(ahead).kill_after(),
        Rule::on("stop mary").kill_after(),
        Rule::on("rename mary").kill_after(),
    ];
    for (number, rule) in cases.into_iter().enumerate() {
        let setup = Setup::new(&["migrate", "mary", "naira", "--to", "taos", "--yes"]);
        let run = host.run(&setup.rule(rule)).expect_code(137);
        let open = host.sh("grep -L '\"end\"' /var/lib/taos-setup/run-*.jsonl | wc -l");
        assert_eq!(open, "2", "{number}: {}", run.output());
        host.setup(&["undo", "--yes"]).expect_code(0);
        let states = host.incus(&["list", "--format", "csv", "--columns", "ns"]);
        if number < 3 {
            assert_eq!(states, "mary,RUNNING\nnaira,RUNNING", "{number}");
            let plain = |digest: crate::support::Digest| digest.without(&["mary pid"]);
            assert_same(&plain(before.clone()), &plain(host.state_digest()));
        } else {
            let moved = "mary,RUNNING\nnaira,RUNNING\ntaos-kept-mary,STOPPED";
            assert_eq!(states, moved, "from the change of names on it is finished");
        }
    }
}
