//! Each command of docs/recovery.md, read out of it and typed in the state that it is for.

use std::collections::BTreeSet;
use std::sync::Mutex;

use crate::migrate::{lasting, states};
use crate::support::{Host, Rule, Run, Session, Setup};

const DOCUMENT: &str = include_str!("../../docs/recovery.md");

/// A section of the document, and a command in it.
type Told = (String, String);

/// Every indented line that begins with `sudo`, with the heading that it is below.
fn commands() -> BTreeSet<Told> {
    let mut heading = String::new();
    let mut commands = BTreeSet::new();
    for line in DOCUMENT.lines() {
        if let Some(text) = line.strip_prefix("## ") {
            text.clone_into(&mut heading);
        }
        let command = line.split("  #").next().unwrap_or(line).trim();
        if line.starts_with("    ") && command.starts_with("sudo ") {
            commands.insert((heading.clone(), command.to_owned()));
        }
    }
    commands
}

/// A person who has one section before her and types what it says.
struct Typist<'a> {
    host: &'a Host,
    section: &'a str,
    typed: BTreeSet<Told>,
}

impl<'a> Typist<'a> {
    fn new(host: &'a Host, section: &'a str) -> Self {
        let typed = BTreeSet::new();
        Self {
            host,
            section,
            typed,
        }
    }

    /// Types a command, and says yes to what it asks.
    fn run(&mut self, command: &str) -> Run {
        let words = self.words(command);
        let mut words: Vec<&str> = words.split(' ').collect();
        assert_eq!(words.remove(0), "taos-setup");
        if !words
            .iter()
            .any(|word| ["--dry-run", "--status", "--yes", "image"].contains(word))
        {
            words.push("--yes");
        }
        self.host.setup(&words)
    }

    /// Types one that is no call of the program.
    fn shell(&mut self, command: &str) -> String {
        let words = self.words(command);
        if words == "systemctl restart incus" {
            // There is no systemd in here, so what it would do.
            self.host.kill_daemon();
            self.host.start_daemon();
            return String::new();
        }
        self.host.sh(&words)
    }

    fn words(&mut self, command: &str) -> String {
        let told = (self.section.to_owned(), command.to_owned());
        assert!(
            commands().contains(&told),
            "docs/recovery.md does not say {told:?}"
        );
        self.typed.insert(told);
        command["sudo ".len()..].to_owned()
    }
}

#[test]
fn every_command_of_the_document_does_what_it_says() {
    let states: [fn() -> BTreeSet<Told>; 9] = [
        set_up_killed,
        set_up_that_is_used,
        migration_killed,
        migration_that_went_back,
        plain_moves,
        journal_damaged,
        daemon_that_hangs,
        pool_read_only,
        image_fetch_killed,
    ];
    let (typed, next) = (Mutex::new(BTreeSet::new()), Mutex::new(states.iter()));
    // Mostly they wait.
    std::thread::scope(|scope| {
        for _ in 0..2 {
            scope.spawn(|| loop {
                let state = next.lock().expect("the next state").next();
                let Some(state) = state else { return };
                let told = state();
                typed.lock().expect("what was typed").extend(told);
            });
        }
    });
    let typed = typed.into_inner().expect("what was typed");
    let untried: Vec<Told> = commands().difference(&typed).cloned().collect();
    assert!(untried.is_empty(), "nobody typed {untried:#?}");
}

fn set_up_killed() -> BTreeSet<Told> {
    let kill = || Setup::new(&["--yes"]).rule(Rule::on("storage create").kill_after());
    let mut typed = BTreeSet::new();
    for section in ["In short", "Killed or stopped"] {
        let host = Host::with_daemon();
        let before = host.state_digest();
        let mut person = Typist::new(&host, section);
        host.run(&kill()).expect_code(137);
        person.run("sudo taos-setup undo").expect_code(0);
        crate::support::assert_same(&before, &host.state_digest());

        host.run(&kill()).expect_code(137);
        if section == "In short" {
            let run = person.run("sudo taos-setup --dry-run").expect_code(0);
            assert!(run.stdout.contains("was cut short"), "{}", run.output());
        } else {
            person.shell("sudo dpkg --configure -a");
        }
        person.run("sudo taos-setup").expect_code(0);
        host.launch("mary", &[]);
        typed.extend(person.typed);
    }
    typed
}

fn set_up_that_is_used() -> BTreeSet<Told> {
    let host = Host::with_daemon();
    let before = host.state_digest();
    host.setup(&["--yes"]).expect_code(0);
    host.launch("mary", &[]);
    let run = host.setup(&["undo", "--yes"]).expect_code(3);
    assert!(run.stderr.contains("mary"), "{}", run.output());
    host.incus(&["delete", "mary", "--force"]);
    host.incus(&["image", "delete", "tiny"]);
    let mut person = Typist::new(&host, "`undo` says that something is in use");
    person.run("sudo taos-setup undo").expect_code(0);
    crate::support::assert_same(&before, &host.state_digest());
    let mut typed = person.typed;

    host.setup(&["--yes"]).expect_code(0);
    let mut person = Typist::new(&host, "Locked");
    host.sh("flock /var/lib/taos-setup/lock sleep 600 </dev/null >/dev/null 2>&1 & echo $! >/run/holder; sleep 0.2");
    let found = person.shell(
        "sudo find /proc -ignore_readdir_race -maxdepth 3 -path '/proc/[0-9]*/fd/*' -lname /var/lib/taos-setup/lock",
    );
    let holder = host.sh("cat /run/holder");
    assert!(
        found.contains(&format!("/proc/{holder}/")),
        "{found}, not {holder}"
    );
    host.sh("for pid in $(pgrep -P $(cat /run/holder)); do kill $pid; done");
    typed.extend(person.typed);

    let mut person = Typist::new(&host, "Removing all of it");
    host.sh("touch /usr/local/bin/taos-setup");
    person.run("sudo taos-setup undo").expect_code(0);
    // A private host has that folder from outside.
    host.sh("umount /var/lib/taos-setup; touch /var/log/taos-setup.log");
    for command in [
        "sudo rm -r /var/lib/taos-setup /var/log/taos-setup.log /usr/local/bin/taos-setup",
        "sudo rm -f /etc/apt/sources.list.d/taos-setup-backports.sources",
    ] {
        person.shell(command);
    }
    crate::support::assert_same(&before, &host.state_digest());
    typed.extend(person.typed);
    typed
}

fn migration_killed() -> BTreeSet<Told> {
    let host = Host::with_pool("dir");
    host.incus(&[
        "network",
        "create",
        "br0",
        "ipv4.address=10.97.0.1/24",
        "ipv6.address=none",
    ]);
    host.launch("mary", &["--network", "br0"]);
    let before = lasting(&host, "mary");
    let kill = |rule: Rule| {
        let migrate = Setup::new(&["migrate", "mary", "--to", "taos", "--yes"]);
        host.run(&migrate.rule(rule)).expect_code(137);
    };
    let mut person = Typist::new(&host, "A migration that was cut short");
    // The kept original gets its configuration at the same time.
    kill(Rule::on("rename taos-copy").shell("sleep 2; kill_setup; exit 137"));
    let kept = person
        .run("sudo taos-setup migrate --status")
        .expect_code(0);
    assert!(kept.stdout.contains("taos-kept-mary"), "{}", kept.output());
    for command in [
        "sudo incus rename taos-kept-mary mary",
        "sudo incus config device remove mary eth0",
        "sudo incus start mary",
    ] {
        person.shell(command);
    }
    assert_eq!(
        states(&host),
        "default,mary,RUNNING default,taos-copy-mary,STOPPED"
    );
    person.run("sudo taos-setup undo").expect_code(0);
    assert_eq!(states(&host), "default,mary,RUNNING");
    assert_eq!(before, lasting(&host, "mary"));

    kill(Rule::on("rename mary").kill_after());
    person.run("sudo taos-setup undo").expect_code(0);
    assert_eq!(
        states(&host),
        "default,mary,RUNNING default,taos-kept-mary,STOPPED"
    );
    let mut typed = person.typed;

    let mut person = Typist::new(&host, "A migration that is through");
    person
        .run("sudo taos-setup migrate --status")
        .expect_code(0);
    person
        .run("sudo taos-setup migrate --rollback mary")
        .expect_code(0);
    assert_eq!(
        states(&host),
        "default,mary,RUNNING default,taos-kept-mary,STOPPED default,taos-kept2-mary,STOPPED"
    );
    person
        .run("sudo taos-setup migrate --finish mary")
        .expect_code(0);
    assert_eq!(states(&host), "default,mary,RUNNING");
    // Its root disk is its own now, as the profile's is on the new pool.
    assert_eq!(before["config"], lasting(&host, "mary")["config"]);
    typed.extend(person.typed);
    typed
}

fn migration_that_went_back() -> BTreeSet<Told> {
    let host = Host::with_pool("dir");
    host.incus(&["storage", "create", "taos", "btrfs", "size=1GiB"]);
    host.launch("mary", &[]);
    let before = lasting(&host, "mary");
    // It started, and yet something is wrong with it.
    let fails = Rule::on("start mary").shell("\"$real\" \"$@\"; exit 1");
    // And so with the way back.
    let stuck = Rule::on("rename taos-kept").fail(1, "Error: no such luck");
    let migrate = Setup::new(&["migrate", "mary", "--to", "taos", "--yes"]);
    host.run(&migrate.rule(fails).rule(stuck)).expect_code(4);
    let mut person = Typist::new(&host, "Stuck");
    person.run("sudo taos-setup undo").expect_code(0);
    assert_eq!(
        states(&host),
        "default,mary,RUNNING default,taos-copy-mary,STOPPED"
    );
    assert_eq!(before, lasting(&host, "mary"));
    let mut typed = person.typed;

    let mut person = Typist::new(&host, "A migration that went back");
    person
        .run("sudo taos-setup migrate mary --to taos")
        .expect_code(0);
    person.shell("sudo incus delete taos-copy-mary");
    assert_eq!(
        states(&host),
        "default,mary,RUNNING default,taos-kept-mary,STOPPED"
    );
    typed.extend(person.typed);
    typed
}

fn plain_moves() -> BTreeSet<Told> {
    let host = Host::with_pool("dir");
    host.incus(&["storage", "create", "taos", "btrfs", "size=1GiB"]);
    host.launch("mary", &[]);
    host.incus(&["stop", "mary", "--force"]);
    // What is left of a move whose daemon died while it copied.
    host.incus(&["copy", "mary", "move-of-123", "--storage", "taos"]);
    let uuid = host.incus(&["config", "get", "mary", "volatile.uuid"]);
    let uuid = format!("volatile.uuid={uuid}");
    host.incus(&["config", "set", "move-of-123", &uuid]);
    let mut person = Typist::new(&host, "A move-of that is left");
    let told = person.run("sudo taos-setup migrate --status");
    assert!(told.stdout.contains("move-of-123"), "{}", told.output());
    person.words("sudo taos-setup migrate --rescue");
    let mut session = host.pty(&["migrate", "--rescue"], 120, 40);
    session.expect("Go ahead?").send("no").send(Session::ENTER);
    session.wait_exit().expect_code(3);
    person
        .run("sudo taos-setup migrate --rescue move-of-123 --yes")
        .expect_code(0);
    assert_eq!(states(&host), "default,mary,STOPPED");
    let mut typed = person.typed;

    let mut person = Typist::new(&host, "Lost by a plain move");
    host.sh("touch /var/lib/incus/storage-pools/default/containers/mary/rootfs/precious");
    let spoil = Rule::on("move mary").shell(
        "\"$real\" \"$@\"; rm /var/lib/incus/storage-pools/taos/containers/mary/rootfs/precious; exit 0",
    );
    let words = [
        "migrate",
        "mary",
        "--to",
        "taos",
        "--strategy",
        "move",
        "--yes",
    ];
    let run = host.run(&Setup::new(&words).rule(spoil)).expect_code(4);
    assert!(
        run.stderr.contains("precious is missing"),
        "{}",
        run.output()
    );
    person.shell("sudo incus config unset mary user.taos-setup.manifest --project default");
    person.run("sudo taos-setup undo").expect_code(0);
    assert_eq!(states(&host), "default,mary,STOPPED");
    typed.extend(person.typed);
    typed
}

fn journal_damaged() -> BTreeSet<Told> {
    let host = Host::with_pool("btrfs");
    host.sh("install -d -m 700 /var/lib/taos-setup; printf '{\\nnonsense\\n' >/var/lib/taos-setup/run-000003.jsonl");
    let run = host.setup(&["--yes"]).expect_code(3);
    assert!(run.stderr.contains("run-000003.jsonl"), "{}", run.output());
    let mut person = Typist::new(&host, "A damaged journal");
    person.shell("sudo mv /var/lib/taos-setup/run-000003.jsonl /root/");
    person.run("sudo taos-setup --dry-run").expect_code(0);
    person.typed
}

fn daemon_that_hangs() -> BTreeSet<Told> {
    let host = Host::with_pool("btrfs");
    let daemon = host.daemon_pid().expect("a daemon");
    host.sh(&format!("kill -STOP {daemon}"));
    let run = host.setup(&["--yes", "--timeout", "1"]).expect_code(3);
    assert!(
        run.stderr.contains("gave no answer within 1 s"),
        "{}",
        run.output()
    );
    let mut person = Typist::new(&host, "The daemon does not answer");
    person.shell("sudo tail -n 50 /var/log/incus/incusd.log");
    host.sh(&format!(
        "(sleep 3; kill -CONT {daemon}) </dev/null >/dev/null 2>&1 &"
    ));
    person.run("sudo taos-setup --timeout 120").expect_code(0);
    person.typed
}

/// A host that fills up while a container is migrated to a pool whose room nothing holds.
fn pool_read_only() -> BTreeSet<Told> {
    let host = Host::builder().incus_fs("ext4", "2G").daemon().start();
    // Full is full, for root as well.
    host.sh("tune2fs -r 0 $(findmnt -no SOURCE /var/lib/incus)");
    host.make_pool("dir");
    host.incus(&["storage", "create", "taos", "btrfs", "size=2GiB"]);
    host.launch("mary", &[]);
    let before = lasting(&host, "mary");
    let mut person = Typist::new(&host, "A pool that turned read-only");
    for (nth, text) in ["stop mary", "refresh"].into_iter().enumerate() {
        // What it writes right before is what the host has no room for twice.
        let fill = format!(
            "incus exec mary -- sh -c 'dd if=/dev/urandom of=/more bs=1M count=60 2>/dev/null; echo {nth} >>/log; sync' </dev/null
             fallocate -l $(df -B 1 --output=avail /var/lib/incus | tail -n 1) /var/lib/incus/filler"
        );
        let migrate = Setup::new(&["migrate", "mary", "--to", "taos", "--yes"]);
        let run = host.run(&migrate.rule(Rule::on(text).shell(&fill)));
        // Back, or all but for the copy on a pool that takes no change any more.
        assert!(matches!(run.code, 1 | 4), "{}", run.output());
        if run.code == 4 {
            let (_, left) = run
                .stderr
                .split_once("left to take it all back")
                .expect("steps");
            assert_eq!(left.matches("  - ").count(), 1, "{}", run.output());
            assert!(left.contains("delete the copy of mary"), "{}", run.output());
        }
        assert_eq!(before, lasting(&host, "mary"));
        let lines: Vec<String> = (0..=nth).map(|line| line.to_string()).collect();
        assert_eq!(
            host.incus(&["exec", "mary", "--", "cat", "/log"]),
            lines.join("\n")
        );
        host.sh("rm /var/lib/incus/filler");
    }
    // How much of it btrfs had written before it noticed differs from run to run.
    let stuck = states(&host).contains("taos-copy-mary");
    person.shell("sudo umount /var/lib/incus/storage-pools/taos");
    person.shell("sudo systemctl restart incus");
    let code = if stuck { 0 } else { 3 };
    person.run("sudo taos-setup undo").expect_code(code);
    assert_eq!(states(&host), "default,mary,RUNNING");
    host.setup(&["migrate", "mary", "--to", "taos", "--yes"])
        .expect_code(0);
    assert_eq!(host.incus(&["exec", "mary", "--", "cat", "/log"]), "0\n1");
    person.typed
}

fn image_fetch_killed() -> BTreeSet<Told> {
    let host = Host::with_pool("btrfs");
    host.import_tiny("tiny");
    host.incus(&["image", "delete", "tiny"]);
    let file = host.share().join("tiny.tar.gz").display().to_string();
    let sum = host.sh(&format!("sha256sum {file} | cut -d ' ' -f 1"));
    let with = |arguments: &[&str]| {
        Setup::new(arguments)
            .env("TAOS_IMAGE_FILE", &file)
            .env("TAOS_IMAGE_SHA256", &sum)
    };
    let kill = Rule::on("init").kill_after();
    host.run(&with(&["image", "fetch"]).rule(kill))
        .expect_code(137);
    let mut person = Typist::new(&host, "A fetch of the base image that was cut short");
    person.run("sudo taos-setup image status").expect_code(0);
    // What it is to fetch is in the environment of whoever types it, so that no network is needed.
    person.words("sudo taos-setup image fetch");
    host.run(&with(&["image", "fetch"])).expect_code(0);
    person.run("sudo taos-setup image verify").expect_code(0);
    assert_eq!(states(&host), "", "a scratch instance is left");
    person.typed
}
