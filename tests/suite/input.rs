//! Bad input from people, from the machine and from Incus: one clear message with a hint, and nothing changed.

use std::fs;
use std::path::Path;
use std::time::Duration;

use crate::support::{assert_same, Digest, Host, Rule, Run, Setup};

/// What must stay as it is.
struct Snapshot {
    daemon: Digest,
    files: Vec<String>,
}

impl Snapshot {
    fn of(host: &Host) -> Self {
        let folders = [
            "/var/lib/taos-setup",
            "/var/lib/incus/disks",
            "/var/lib/incus/storage-pools",
            "/mnt",
        ];
        let names = |folder: &str| {
            let entries = fs::read_dir(host.file(folder)).into_iter().flatten();
            entries
                .map(|entry| entry.expect("a file").path().display().to_string())
                .collect::<Vec<_>>()
        };
        let mut files: Vec<String> = folders.into_iter().flat_map(names).collect();
        files.sort();
        Self {
            daemon: host.state_digest(),
            files,
        }
    }

    #[track_caller]
    fn assert_now(&self, host: &Host) {
        let now = Self::of(host);
        assert_same(&self.daemon, &now.daemon);
        assert_eq!(self.files, now.files);
    }
}

/// One message that says these words, and what to do.
#[track_caller]
fn assert_clear(run: &Run, words: &[&str]) {
    let message = &run.stderr;
    assert_eq!(message.matches("error:").count(), 1, "{}", run.output());
    assert!(message.lines().count() >= 2, "no hint: {}", run.output());
    assert!(!message.contains("panicked"), "{}", run.output());
    for word in words {
        assert!(message.contains(word), "no {word}: {}", run.output());
    }
    let changes = |call: &Vec<String>| call[0] != "query" && !call.contains(&"waitready".into());
    assert!(!run.incus_calls.iter().any(changes), "{run:?}");
}

/// Refused with exit code 3, in words and as JSON.
#[track_caller]
fn assert_refused(host: &Host, setup: &Setup, words: &[&str]) {
    let before = Snapshot::of(host);
    assert_clear(&host.run(setup).expect_code(3), words);
    before.assert_now(host);

    let mut setup = setup.clone();
    setup.args.push("--json".into());
    let run = host.run(&setup).expect_code(3);
    assert_clear(&run, words);
    before.assert_now(host);
    let document = run.json();
    assert_eq!(document["exit_code"], 3, "{document}");
    let message = document["message"].as_str().expect("a message");
    assert!(!message.is_empty());
    assert!(!document["hints"].as_array().expect("hints").is_empty());
}

#[track_caller]
fn assert_usage(host: &Host, setup: &Setup, words: &[&str]) {
    let before = Snapshot::of(host);
    let run = host.run(setup).expect_code(2);
    assert_clear(&run, words);
    assert_eq!(run.stdout, "");
    before.assert_now(host);
}

// The command line and the environment.

#[test]
fn what_is_no_driver_size_or_name_is_wrong_usage() {
    let host = Host::with_daemon();
    let long = "x".repeat(64);
    let mut bad = vec![
        ("--driver", "ext4", "btrfs"),
        ("--driver", "BTRFS", "btrfs"),
        ("--pin", "", "mary,naira"),
        ("--timeout", "0", "1..=3600"),
        ("--source", "", "name a path"),
    ];
    bad.extend(
        [
            "0",
            "-1",
            "50",
            "50XB",
            "1e99GiB",
            "",
            "GiB",
            " 50GiB",
            "99999999999999999999GiB",
        ]
        .map(|size| ("--size", size, "50GiB")),
    );
    bad.extend(
        ["", ".", "..", "a/b", "/a", "a b", "-a", "a\n", "ä", &long]
            .map(|name| ("--pool", name, "for example taos")),
    );
    for (option, value, hint) in bad {
        let argument = format!("{option}={value}");
        let setup = Setup::new(&["--yes", &argument]);
        assert_usage(&host, &setup, &[option, hint]);
    }
    for arguments in [&["--overcommit"][..], &["frobnicate"], &["--yess"]] {
        assert_usage(&host, &Setup::new(arguments), &["--help"]);
    }
}

#[test]
fn pool_names_that_are_taken_are_good_for_incus() {
    let host = Host::with_daemon();
    for name in ["a", "1", "Taos_2.x-", &"x".repeat(63)] {
        host.setup(&["--dry-run", "--pool", name]).expect_code(0);
        host.incus(&["storage", "create", name, "dir"]);
        host.incus(&["storage", "delete", name]);
    }
}

#[test]
fn the_driver_may_come_from_the_environment() {
    let host = Host::with_daemon();
    let with = |value| Setup::new(&["--dry-run"]).env("TAOS_COW_POOL", value);
    for (value, driver) in [
        ("", "(btrfs,"),
        ("auto", "(btrfs,"),
        ("btrfs", "(btrfs,"),
        ("dir", "(dir,"),
    ] {
        let run = host.run(&with(value)).expect_code(0);
        assert!(run.stdout.contains(driver), "{}", run.output());
    }
    let setup = Setup::new(&["--yes"]).env("TAOS_COW_POOL", "ext4");
    assert_usage(&host, &setup, &["ext4", "btrfs"]);
    // What is typed counts more.
    let typed = Setup::new(&["--dry-run", "--driver", "btrfs"]).env("TAOS_COW_POOL", "dir");
    let run = host.run(&typed).expect_code(0);
    assert!(run.stdout.contains("(btrfs,"), "{}", run.output());
}

// Sources.

#[test]
fn a_source_with_something_in_it_is_refused() {
    let host = Host::builder()
        .extra_btrfs("/mnt/data", "8G")
        .daemon()
        .start();
    let device = |make: &str| {
        host.sh(&format!(
            "file=$(mktemp /tmp/disk.XXXX); truncate -s 5G $file; {make} $file >/dev/null; losetup -f --show $file"
        ))
    };
    let formatted = device("mkfs.ext4 -q");
    let swap = device("mkswap");
    let mounted = device("mkfs.ext4 -q");
    host.sh(&format!(
        "mkdir /mnt/disk /mnt/empty /mnt/data/empty; mount {mounted} /mnt/disk"
    ));
    host.sh("echo precious >/mnt/file; mkdir /mnt/full; echo precious >/mnt/full/file; ln -s /mnt/nowhere /mnt/link");
    let data = host.sh("findmnt -no SOURCE /mnt/data");
    let cases = [
        ("/mnt/file", "is a file"),
        ("/mnt/link", "is a file"),
        ("/mnt/full", "a folder with files in it"),
        ("/mnt/empty", "no subvolume"),
        ("/mnt/data/empty", "no subvolume"),
        ("/mnt/none/pool", "is not there"),
        ("/mnt/pool", "only btrfs can hold a subvolume"),
        ("relative", "nothing that a btrfs pool can lie in"),
        (&mounted, "is mounted"),
        (&data, "is mounted"),
        (&formatted, "has data on it (ext4)"),
        (&swap, "has data on it (swap)"),
        ("/dev/null", "is a file"),
    ];
    for (source, words) in cases {
        let setup = Setup::new(&["--yes", "--source", source]);
        assert_refused(&host, &setup, &[source, words]);
    }
    assert_eq!(
        host.sh("cat /mnt/file /mnt/full/file"),
        "precious\nprecious"
    );
    assert_eq!(
        host.sh(&format!("blkid -p -o value -s TYPE {formatted}")),
        "ext4"
    );
}

#[test]
fn a_size_that_cannot_be_is_refused_with_the_figures() {
    let host = Host::builder().incus_fs("ext4", "8G").daemon().start();
    for (options, words) in [
        (
            &["--yes", "--size=900GiB"][..],
            "promises more than the host can keep",
        ),
        (
            &["--yes", "--size=900GiB", "--overcommit", "--preallocate"],
            "cannot be allocated",
        ),
        (&["--yes", "--size=100MiB"], "too small"),
        (
            &["--yes", "--size=1GiB", "--driver=dir"],
            "for a pool in a file",
        ),
    ] {
        assert_refused(&host, &Setup::new(options), &[words]);
    }
}

// What Incus says.

const QUERIES: [&str; 4] = [
    "/1.0/storage-pools",
    "/1.0/profiles",
    "/1.0/instances",
    "/1.0/networks",
];

/// A rule for each of the calls of a first look.
fn each_query(rule: impl Fn(Rule) -> Rule) -> Vec<Rule> {
    let mut rules = vec![rule(Rule::nth(1))];
    rules.extend(QUERIES.map(|query| rule(Rule::on(query))));
    rules
}

#[test]
fn answers_that_are_not_incus_s_are_refused() {
    let host = Host::with_daemon();
    let foreign = [
        "",
        "garbage",
        "- name: default\n  driver: dir\n",
        "<html><body>502 Bad Gateway</body></html>",
        "{\"type\": \"sync\", \"metadata\": [{\"name\": \"default\"",
        "{\"type\": \"sync\", \"metadata\": {\"pools\": []}}",
        "{\"type\": \"sync\", \"metadata\": [{\"driver\": 7}]}",
        "{\"type\": \"error\", \"error\": \"database is locked\", \"error_code\": 500}",
        "[]",
        "null",
    ];
    for answer in foreign {
        for rule in each_query(|rule| rule.print(answer)) {
            assert_refused(&host, &Setup::new(&["--yes"]).rule(rule), &["Incus"]);
        }
    }
    let lxd = host
        .incus(&["query", "--raw", "/1.0"])
        .replace("\"server\": \"incus\"", "\"server\": \"lxd\"");
    let setup = Setup::new(&["--yes"]).rule(Rule::nth(1).print(&lxd));
    assert_refused(&host, &setup, &["not Incus but lxd"]);
}

#[test]
fn a_client_that_crashes_is_refused() {
    let host = Host::with_daemon();
    let mut rules = each_query(|rule| rule.shell("kill -SEGV $$"));
    rules.extend(each_query(|rule| {
        rule.fail(127, "error while loading shared libraries")
    }));
    for rule in rules {
        assert_refused(&host, &Setup::new(&["--yes"]).rule(rule), &["incus query"]);
    }
}

#[test]
fn each_question_has_a_bound() {
    let host = Host::with_daemon();
    for rule in each_query(Rule::hang) {
        let setup = Setup::new(&["--yes", "--timeout", "1"]).rule(rule);
        let setup = setup.timeout(Duration::from_secs(10));
        assert_refused(&host, &setup, &["no answer within 1 s"]);
    }
}

#[test]
fn a_daemon_that_stands_still_is_refused() {
    let host = Host::with_daemon();
    let before = Snapshot::of(&host);
    let daemon = host.daemon_pid().expect("a daemon");
    host.sh(&format!("kill -STOP {daemon}"));
    for args in [&["--yes"][..], &["--dry-run"], &["status"]] {
        let setup = Setup::new(&[args, &["--timeout", "2"]].concat());
        let run = host
            .run(&setup.timeout(Duration::from_secs(10)))
            .expect_code(3);
        assert_clear(&run, &[]);
    }
    host.sh(&format!("kill -CONT {daemon}"));
    before.assert_now(&host);
}

/// A run that goes wrong after it has begun is taken back.
fn assert_taken_back(rule: Rule, words: &str) {
    let host = Host::with_daemon();
    let before = host.state_digest();
    let args = ["--yes", "--no-network", "--timeout", "1"];
    let setup = Setup::new(&args).rule(rule.clone());
    let run = host
        .run(&setup.timeout(Duration::from_secs(60)))
        .expect_code(1);
    assert!(run.stderr.contains(words), "{rule:?}: {}", run.output());
    assert!(run.stderr.contains("taken back"), "{}", run.output());
    assert_same(&before, &host.state_digest());
}

#[test]
fn each_change_has_a_bound_and_is_taken_back() {
    // A change has twenty times the bound of a question; all at once, as this is waiting only.
    std::thread::scope(|scope| {
        for change in ["storage create", "device add"] {
            scope.spawn(|| assert_taken_back(Rule::on(change).hang(), "no answer within 20 s"));
        }
    });
}

#[test]
fn bad_answers_after_a_change_take_it_back() {
    for query in ["/1.0/storage-pools", "/1.0/profiles"] {
        let second = Rule::on(query).and_nth(2);
        assert_taken_back(second.clone().hang(), "no answer within 1 s");
        assert_taken_back(second.clone().print("garbage"), "garbage");
        assert_taken_back(second.shell("kill -SEGV $$"), "signal");
    }
}

#[test]
fn a_daemon_that_does_not_come_up_is_given_up() {
    let host = Host::start();
    for (rule, words) in [
        (Rule::on("waitready").hang(), "no answer within"),
        (Rule::on("").of("incusd").shell("exit 1"), "ready"),
    ] {
        let setup = Setup::new(&["--yes", "--timeout", "1"]).rule(rule);
        let run = host
            .run(&setup.timeout(Duration::from_secs(30)))
            .expect_code(1);
        assert!(run.stderr.contains(words), "{}", run.output());
        assert!(run.stderr.contains("incusd.log"), "{}", run.output());
        assert!(Path::new(&host.file("/var/log/incus/incusd.log")).exists());
        if host.daemon_pid().is_some() {
            host.kill_daemon();
        }
    }
}
