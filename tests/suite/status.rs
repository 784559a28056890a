//! `taos-setup status`, which changes nothing, and `taos-setup undo`, which takes back what the last run made.

use crate::support::{assert_same, Host, Rule, Run, Setup};
use serde_json::Value;

#[track_caller]
fn says(run: &Run, words: &[&str]) {
    for text in words {
        let said = run.output();
        assert!(said.contains(text), "nothing says {text:?}:\n{said}");
    }
}

/// The status of this host as JSON. It is found that looking changes nothing.
#[track_caller]
fn status(host: &Host) -> Value {
    let before = host.state_digest();
    let run = host.setup(&["status", "--json"]).expect_code(0);
    assert_same(&before, &host.state_digest());
    assert_eq!(run.stderr, "");
    let json = run.json();
    assert_eq!(json["schema"], 1);
    assert_eq!(json["command"], "status");
    json
}

/// What `--yes` made of a host before it is taken back.
const YES: [&str; 2] = ["undo", "--yes"];

/// A `dir` pool with a running container, a btrfs pool beside it, and the base image.
fn host_with_two_pools() -> Host {
    let host = Host::with_pool("dir");
    host.launch("mary", &[]);
    host.incus(&["storage", "create", "fast", "btrfs", "size=1GiB"]);
    host.sh("incus project create shop --config features.profiles=false --config features.images=false
             incus init tiny naira --project shop --storage fast
             incus image alias create taos-openclaw-base $(incus image list --format csv --columns F)");
    host
}

// Status.

#[test]
fn status_shows_pools_instances_launches_and_the_base_image() {
    let host = host_with_two_pools();
    let before = host.state_digest();
    let run = host.setup(&["status"]).expect_code(0);
    says(
        &run,
        &[
            "version 6.",
            "default: dir, folder /var/lib/incus/storage-pools/default",
            "fast: btrfs, 1 GiB loop file /var/lib/incus/disks/fast.img",
            "of 1 GiB used",
            "project default, profile default: pool default, a copy",
            "mary  project default, pool default, running",
            "naira  project shop, pool fast, stopped",
            "taos-openclaw-base  project default, ",
            "free on the host: kept",
            "works, but launches copy on pool default",
        ],
    );
    assert_same(&before, &host.state_digest());
    assert_eq!(
        host.sh("ls -A /var/lib/taos-setup; ls /var/log | grep taos || true"),
        ""
    );
}

#[test]
fn status_is_a_documented_json_document() {
    let host = host_with_two_pools();
    let json = status(&host);
    let server = &json["facts"]["incus"];
    assert_eq!(server["state"], "answering");
    let fast = &server["pools"][1];
    assert_eq!(fast["name"], "fast");
    assert_eq!(fast["status"], "Created");
    assert_eq!(fast["backing"]["kind"], "loop_file");
    assert_eq!(fast["backing"]["size"], 1 << 30);
    assert!(fast["space"]["used"].as_u64() > Some(0), "{fast}");
    let status = &json["status"];
    assert_eq!(status["verdict"], "copies");
    assert_eq!(status["base_image"][0]["project"], "default");
    assert_eq!(status["image_trigger"], "absent");
    let growth =
        fast["backing"]["size"].as_u64().unwrap() - fast["backing"]["allocated"].as_u64().unwrap();
    assert_eq!(status["promised"], growth);
    assert!(status["free"].as_u64() > Some(growth));
}

#[test]
fn status_says_what_is_not_there() {
    let host = Host::start();
    let json = host.setup(&["status", "--json"]).expect_code(0).json();
    assert_eq!(json["facts"]["incus"]["state"], "silent");
    assert_eq!(json["status"]["verdict"], "to-do");
    assert_eq!(host.daemon_pid(), None);

    host.start_daemon();
    let json = status(&host);
    assert_eq!(json["status"]["verdict"], "to-do");
    says(
        &host.setup(&["status"]),
        &[
            "no root disk",
            "taos-openclaw-base is not here",
            "trigger: there are no units for it",
            "run taos-setup, which has 4 steps",
        ],
    );

    host.sh("rm /usr/bin/incus");
    let run = host.setup(&["status"]).expect_code(0);
    says(&run, &["not installed", "not set up yet: run taos-setup"]);
}

#[test]
fn status_is_ready_after_a_set_up() {
    let host = Host::with_daemon();
    host.setup(&["--yes"]).expect_code(0);
    let json = status(&host);
    assert_eq!(json["status"]["verdict"], "ready");
    says(
        &host.setup(&["status"]),
        &[
            "ready: launches clone on pool default (btrfs)",
            "mounted with user_subvol_rm_allowed",
        ],
    );
}

#[test]
fn status_warns_of_a_promise_that_cannot_be_kept() {
    let host = Host::builder().incus_fs("ext4", "8G").daemon().start();
    host.incus(&["storage", "create", "default", "btrfs", "size=50GiB"]);
    says(
        &host.setup(&["status"]).expect_code(0),
        &["MORE THAN THE HOST HAS"],
    );
    let json = status(&host);
    assert!(json["status"]["promised"].as_u64() > json["status"]["free"].as_u64());
}

#[test]
fn status_shows_a_pool_in_a_bad_state() {
    let host = Host::with_pool("btrfs");
    host.incus(&[
        "admin",
        "sql",
        "global",
        "UPDATE storage_pools_nodes SET state = 2",
    ]);
    let run = host.setup(&["status"]).expect_code(0);
    says(&run, &["ERRORED", "storage pool default is Errored"]);
    assert_eq!(status(&host)["status"]["verdict"], "blocked");
}

#[test]
fn status_of_a_subvolume_promises_nothing() {
    let host = Host::builder().incus_fs("btrfs", "8G").daemon().start();
    host.setup(&["--yes"]).expect_code(0);
    let json = status(&host);
    assert_eq!(
        json["facts"]["incus"]["pools"][0]["backing"]["kind"],
        "subvolume"
    );
    assert_eq!(json["status"]["promised"], 0);
}

// Probing.

#[test]
fn a_probe_times_a_launch_on_each_pool_and_leaves_nothing() {
    let host = host_with_two_pools();
    let before = host.state_digest();
    let run = host.setup(&["status", "--probe", "--json"]).expect_code(0);
    assert_same(&before, &host.state_digest());
    let json = run.json();
    let launches = json["status"]["launches"].as_array().expect("launches");
    let pools: Vec<_> = launches.iter().map(|launch| &launch["pool"]).collect();
    assert_eq!(pools, ["default", "fast"]);
    for launch in launches {
        assert_eq!(launch["error"], Value::Null, "{launch}");
        for time in ["first_create", "create", "start"] {
            assert!(launch[time].as_f64() > Some(0.0), "{launch}");
        }
    }
    // It really was on both: a scratch instance is created twice on each.
    for pool in ["default", "fast"] {
        let created = run.incus_calls.iter().filter(|call| {
            call.contains(&"init".into()) && call.windows(2).any(|pair| pair == ["--storage", pool])
        });
        assert_eq!(created.count(), 2, "{:#?}", run.incus_calls);
    }
    let run = host.setup(&["status", "--probe"]).expect_code(0);
    says(&run, &["Launch times", "fast            btrfs"]);
}

#[test]
fn a_probe_times_all_that_a_deploy_asks_of_incus() {
    let host = Host::start();
    // The user of the service may be the same one inside of containers.
    host.sh("for file in /etc/subuid /etc/subgid; do echo root:1000:1 >>$file; done");
    host.start_daemon();
    host.setup(&["--yes", "--size", "1GiB"]).expect_code(0);
    host.incus(&["storage", "create", "plain", "dir"]);
    let image = host.share().join("dhcp.tar.gz").display().to_string();
    let script = concat!(env!("CARGO_MANIFEST_DIR"), "/scripts/private-host.sh");
    let made = std::process::Command::new(script)
        .args(["tiny-image", &image, "dhcp"])
        .status();
    assert!(made.expect("making an image").success());
    host.incus(&["image", "import", &image, "--alias", "taos-openclaw-base"]);

    let run = host.setup(&["status", "--probe", "--json"]).expect_code(0);
    let status = &run.json()["status"];
    let launches = status["launches"].as_array().expect("launches");
    assert_eq!(launches.len(), 2);
    for launch in launches {
        assert_eq!(launch["error"], Value::Null, "{launch}");
        assert_eq!(launch["image"], "taos-openclaw-base");
        let seconds = |key: &str| {
            launch[key]
                .as_f64()
                .unwrap_or_else(|| panic!("{key}: {launch}"))
        };
        // It really was stopped and started, and really got an address.
        assert!(seconds("idmap_restart") > 0.0 && seconds("network_ready") > 0.0);
        let parts = ["launch", "idmap_restart", "network_ready"].map(seconds);
        assert!((seconds("launch") - seconds("create") - seconds("start")).abs() < 1e-6);
        assert!((seconds("total") - parts.iter().sum::<f64>()).abs() < 1e-6);
    }
    let mapped = run
        .incus_calls
        .iter()
        .filter(|call| call.iter().any(|word| word == "raw.idmap=both 1000 1000"));
    assert_eq!(mapped.count(), 2, "{:#?}", run.incus_calls);
    assert_eq!(status["reference"]["launch"], 19.0);
    assert_eq!(status["reference"]["target"], 15.0);
    assert_eq!(host.incus(&["list", "--format", "csv", "-c", "n"]), "");

    let run = host.setup(&["status", "--probe"]).expect_code(0);
    says(
        &run,
        &["# A deploy", "Pi 5 Plus, dir", "is to take 15 s or less"]
            .map(|word| word.trim_start_matches("# ")),
    );
    for (row, pi) in [
        ("launch", "19"),
        ("idmap restart", "3"),
        ("network ready", "3"),
        ("total", "25"),
    ] {
        let line = run
            .stdout
            .lines()
            .find(|line| line.trim_start().starts_with(row));
        let words: Vec<&str> = line
            .unwrap_or_else(|| panic!("{row}: {}", run.stdout))
            .split_whitespace()
            .collect();
        let numbers: Vec<f64> = words.iter().filter_map(|word| word.parse().ok()).collect();
        assert_eq!(
            numbers.len(),
            3,
            "a figure for each pool, and the Pi's: {words:?}"
        );
        assert_eq!(words.last(), Some(&pi));
    }
}

#[test]
fn a_probe_that_fails_says_why_and_leaves_nothing() {
    let host = host_with_two_pools();
    let before = host.state_digest();
    let failing = Rule::on("start taos-probe-").fail(1, "Error: no more room in the cgroup");
    let run = host.run(&Setup::new(&["status", "--probe"]).rule(failing));
    says(&run.expect_code(0), &["no more room in the cgroup"]);
    assert_same(&before, &host.state_digest());
}

#[test]
fn a_killed_probe_is_cleared_away_by_the_next() {
    let host = host_with_two_pools();
    let before = host.state_digest();
    let setup = Setup::new(&["status", "--probe"]).rule(Rule::on("start taos-probe-").kill_after());
    host.run(&setup).expect_code(137);
    assert!(host
        .incus(&["list", "--format", "csv"])
        .contains("taos-probe-"));
    host.setup(&["status", "--probe"]).expect_code(0);
    assert_same(&before, &host.state_digest());
}

#[test]
fn a_probe_takes_nobodys_instance_for_its_own() {
    let host = host_with_two_pools();
    host.launch("taos-probe-1", &[]);
    let before = host.state_digest();
    host.setup(&["status", "--probe"]).expect_code(0);
    assert_same(&before, &host.state_digest());
}

#[test]
fn a_probe_needs_an_image() {
    let host = Host::with_pool("btrfs");
    let before = host.state_digest();
    let run = host.setup(&["status", "--probe"]).expect_code(3);
    says(&run, &["no container image", "incus image copy"]);
    assert_same(&before, &host.state_digest());
}

// Undo.

#[test]
fn undo_takes_a_first_set_up_back() {
    let host = Host::with_daemon();
    let before = host.state_digest();
    host.setup(&["--yes"]).expect_code(0);
    let after = host.state_digest();
    let run = host.setup(&["undo", "--dry-run"]).expect_code(0);
    says(
        &run,
        &["delete storage pool default", "network delete incusbr0"],
    );
    assert_same(&after, &host.state_digest());

    let run = host.setup(&YES).expect_code(0);
    says(&run, &["Taken back"]);
    assert_same(&before, &host.state_digest());
    assert!(host.loops().is_empty());
    assert_eq!(
        host.sh("ls -A /var/lib/incus/disks /var/lib/incus/storage-pools"),
        "/var/lib/incus/disks:\n\n/var/lib/incus/storage-pools:"
    );
    // It is taken back once, and can be done again.
    says(&host.setup(&YES).expect_code(3), &["no completed run"]);
    host.setup(&["--yes"]).expect_code(0);
    host.setup(&YES).expect_code(0);
    assert_same(&before, &host.state_digest());
}

#[test]
fn undo_takes_a_subvolume_back() {
    let host = Host::builder().incus_fs("btrfs", "8G").daemon().start();
    let before = host.state_digest();
    host.setup(&["--yes"]).expect_code(0);
    host.setup(&YES).expect_code(0);
    assert_same(&before, &host.state_digest());
    assert_eq!(host.sh("ls -A /var/lib/incus/storage-pools"), "");
}

#[test]
fn undo_makes_a_dir_pool_again_with_every_profile() {
    let host = Host::with_pool("dir");
    host.sh("incus profile create large
             incus profile device add large disk0 disk path=/ pool=default size=20GiB
             incus project create shop
             incus profile device add default root disk path=/ pool=default size=1GiB --project shop");
    host.import_tiny("tiny");
    let before = host.state_digest();
    host.setup(&["--yes"]).expect_code(0);
    host.setup(&YES).expect_code(0);
    assert_same(&before, &host.state_digest());
    host.launch("mary", &[]);
}

#[test]
fn undo_takes_pins_and_the_pool_beside_back() {
    let host = Host::with_pool("dir");
    host.launch("mary", &[]);
    let before = host.state_digest();
    host.setup(&["--beside", "--yes", "--pin", "all"])
        .expect_code(0);
    // It writes to mary again, so it takes the same consent as before.
    let refused = host.setup(&YES).expect_code(3);
    says(&refused, &["configuration of mary", "--pin mary"]);
    host.setup(&["undo", "--yes", "--pin", "mary"])
        .expect_code(0);
    // The process ids are the same as well: mary ran on through all of it.
    assert_same(&before, &host.state_digest());
}

#[test]
fn undo_says_what_stands_in_the_way_and_touches_nothing() {
    let host = Host::with_daemon();
    let before = host.state_digest();
    host.setup(&["--yes"]).expect_code(0);
    host.launch("mary", &[]);
    let used = host.state_digest();
    says(
        &host.setup(&YES).expect_code(3),
        &["mary", "nothing was touched"],
    );
    assert_same(&used, &host.state_digest());
    host.incus(&["delete", "--force", "mary"]);

    host.incus(&["storage", "volume", "create", "default", "data"]);
    let used = host.state_digest();
    says(&host.setup(&YES).expect_code(3), &["custom volume data"]);
    assert_same(&used, &host.state_digest());
    host.incus(&["storage", "volume", "delete", "default", "data"]);

    host.sh("incus profile create other; incus profile device add other eth0 nic network=incusbr0");
    let used = host.state_digest();
    says(
        &host.setup(&YES).expect_code(3),
        &["network incusbr0 is used by", "other"],
    );
    assert_same(&used, &host.state_digest());
    host.incus(&["profile", "delete", "other"]);

    host.incus(&["profile", "device", "set", "default", "root", "size=9GiB"]);
    let used = host.state_digest();
    says(
        &host.setup(&YES).expect_code(3),
        &["device root of profile default was changed"],
    );
    assert_same(&used, &host.state_digest());
    host.incus(&["profile", "device", "unset", "default", "root", "size"]);

    // An image and its unpacked copy on the pool stand in nobody's way.
    host.incus(&["image", "delete", "tiny"]);
    host.setup(&YES).expect_code(0);
    assert_same(&before, &host.state_digest());
}

#[test]
fn undo_takes_back_the_last_run_that_made_something() {
    let host = Host::with_daemon();
    host.setup(&["--yes", "--no-network"]).expect_code(0);
    let first = host.state_digest();
    host.setup(&[
        "--yes",
        "--pool",
        "second",
        "--size",
        "1GiB",
        "--no-network",
    ])
    .expect_code(0);
    // This one has nothing to do, and nothing of it is taken back.
    host.setup(&["--yes", "--no-network"]).expect_code(0);
    host.setup(&YES).expect_code(0);
    assert_same(&first, &host.state_digest());
}

#[test]
fn undo_without_a_run_or_a_yes_is_refused() {
    let host = Host::with_daemon();
    says(
        &host.setup(&YES).expect_code(3),
        &["no completed run to take back"],
    );
    host.setup(&["--yes"]).expect_code(0);
    let after = host.state_digest();
    let run = host
        .run(&Setup::new(&["undo"]).stdin("yes\n"))
        .expect_code(3);
    says(&run, &["no terminal to ask on", "undo --yes"]);
    assert_eq!(run.stdin_left, "yes\n");
    assert_same(&after, &host.state_digest());
}
