//! Set-up, status and undo in real clusters.

use std::fs;
use std::thread;
use std::time::Duration;

use serde_json::Value;

use super::support::{assert_same, Cluster, Host, Rule, Run, Setup};

#[track_caller]
fn says(run: &Run, words: &[&str]) {
    for text in words {
        let said = run.output();
        assert!(said.contains(text), "nothing says {text:?}:\n{said}");
    }
}

/// What a member was given of a pool, and its state there.
fn part(host: &Host, pool: &str, member: &str) -> (Value, Value) {
    let part = host.query(&format!("/1.0/storage-pools/{pool}?target={member}"));
    (part["config"]["size"].clone(), part["status"].clone())
}

/// Runs the set-up, and loses a member right before the call that has this text.
fn losing(cluster: &Cluster, member: usize, text: &str, args: &[&str]) -> Run {
    let host = &cluster[0];
    let (reached, go) = (host.share().join("reached"), host.share().join("go"));
    let gate = format!(
        "touch '{}'; until [ -e '{}' ]; do sleep 0.02; done",
        reached.display(),
        go.display()
    );
    let setup = Setup::new(args).rule(Rule::on(text).shell(&gate));
    let run = thread::scope(|scope| {
        scope.spawn(|| {
            while !reached.exists() {
                thread::sleep(Duration::from_millis(20));
            }
            cluster.lose(member);
            fs::write(&go, "").expect("opening the gate");
        });
        let run = host.run(&setup);
        // Also where the call never came.
        fs::write(&reached, "").expect("ending the wait");
        run
    });
    for file in [reached, go] {
        fs::remove_file(file).expect("clearing the gate away");
    }
    run
}

const ALL: [&str; 3] = ["m1", "m2", "m3"];

#[test]
fn a_fresh_cluster_gets_its_pool_on_every_member_with_its_own_size() {
    let cluster = Cluster::of(vec![
        Host::builder(),
        Host::builder().incus_fs("ext4", "9G"),
        Host::builder().incus_fs("ext4", "3G"),
    ]);
    let host = &cluster[0];
    let before = host.state_digest();

    // What a member has free is measured; one has too little, and so nothing is begun on any.
    let run = host.setup(&["--yes", "--accept", "unseen"]).expect_code(3);
    says(
        &run,
        &[
            "see how much room m1, m2, m3 have",
            "member m3 has",
            "--member-size m3=",
        ],
    );
    assert_same(&before, &host.state_digest());

    // What lies on other members' disks takes a yes of its own.
    let sizes = ["--member-size", "m3=600MiB", "--member-size", "m1=1GiB"];
    let run = host
        .setup(&[&["--yes"][..], &sizes].concat())
        .expect_code(3);
    says(&run, &["on m2, m3", "--accept unseen"]);
    assert_same(&before, &host.state_digest());

    let all = [&["--yes", "--accept", "unseen"][..], &sizes].concat();
    let run = host.setup(&all).expect_code(0);
    says(&run, &["m1 (1 GiB file), m2 (", "m3 (600 MiB file)"]);
    assert_eq!(
        part(host, "default", "m1"),
        ("1GiB".into(), "Created".into())
    );
    assert_eq!(
        part(host, "default", "m3"),
        ("600MiB".into(), "Created".into())
    );
    let (size, _) = part(host, "default", "m2");
    assert!(
        ["5GiB", "6GiB"].contains(&size.as_str().expect("a size")),
        "{size}"
    );
    assert_eq!(host.query("/1.0/networks/incusbr0")["status"], "Created");
    host.import_tiny("tiny");
    for member in ALL {
        host.incus(&[
            "launch",
            "tiny",
            &format!("on-{member}"),
            "--target",
            member,
        ]);
    }
    let status = host.setup(&["status"]).expect_code(0);
    says(
        &status,
        &[
            "m1: online, this one",
            "m2: online",
            "on m3: 600MiB in /var/lib/incus/disks/default.img",
            "1 instance, 1 image",
            "on-m2  project default, pool default on m2, running",
            "ready: launches clone",
        ],
    );
    let run = host.setup(&["--yes"]).expect_code(0);
    says(&run, &["Nothing to do"]);

    for member in ALL {
        host.incus(&["delete", "--force", &format!("on-{member}")]);
    }
    host.incus(&["image", "delete", "tiny"]);
    host.setup(&["undo", "--yes"]).expect_code(0);
    assert_same(&before, &host.state_digest());
    for host in cluster.members() {
        assert_eq!(
            host.sh("ls -A /var/lib/incus/disks /var/lib/incus/storage-pools | grep -v : || :")
                .trim(),
            ""
        );
    }
}

#[test]
fn a_member_that_is_lost_at_any_step_is_waited_for() {
    let cluster = Cluster::start(3);
    let host = &cluster[0];
    let before = host.state_digest();
    let args = ["--yes", "--accept", "unseen", "--size", "600MiB"];

    // Known before: nothing is begun, and it says where.
    cluster.lose(2);
    let run = host.setup(&args).expect_code(3);
    says(
        &run,
        &[
            "of the cluster m3 does not answer: No heartbeat",
            "on m3: systemctl start incus",
        ],
    );
    assert_same(&before, &host.state_digest());
    let status = host.setup(&["status"]).expect_code(0);
    says(
        &status,
        &[
            "m3: offline",
            "DOES NOT ANSWER",
            "does not answer: No heartbeat",
        ],
    );
    let json = host.setup(&["status", "--json"]).expect_code(0).json();
    let seen = &json["facts"]["incus"]["cluster"];
    assert_eq!(seen["here"], "m1");
    assert_eq!(seen["members"][1]["drivers"][0], "btrfs");
    assert_eq!(seen["members"][1]["silent"], Value::Null);
    assert!(seen["members"][2]["silent"].is_string(), "{seen}");
    cluster.bring_back(2);

    // Then at each step of one run: it is finished when the member is there again.
    for text in [
        "storage create taos-room dir --target m3",
        "storage create default btrfs --target m2",
        "profile device add default root",
        "network create incusbr0 --type=bridge --project default --target m3",
    ] {
        let run = losing(&cluster, 2, text, &args).expect_code(4);
        says(&run, &["m3", "these steps are left to finish it"]);
        cluster.bring_back(2);
    }
    // A profile is everybody's, and whoever is away hears of it later.
    losing(&cluster, 2, "profile device add default eth0", &args).expect_code(0);
    cluster.bring_back(2);
    for member in ALL {
        let found = part(host, "default", member);
        assert_eq!(found, ("600MiB".into(), "Created".into()));
    }
    assert_eq!(host.query("/1.0/networks/incusbr0")["status"], "Created");
    says(&host.setup(&args).expect_code(0), &["Nothing to do"]);
    host.setup(&["undo", "--yes"]).expect_code(0);
    assert_same(&before, &host.state_digest());

    // As long as it is away nothing can be finished, and nothing taken back.
    let small = [&args[..], &["--overcommit", "--no-network"]].concat();
    let run = losing(
        &cluster,
        2,
        "storage create default btrfs btrfs.mount_options",
        &small,
    );
    says(
        &run.expect_code(4),
        &["left to finish it", "create storage pool default"],
    );
    let again = host.setup(&small).expect_code(4);
    says(&again, &["member m3 does not answer"]);
    let undo = host.setup(&["undo", "--yes"]);
    says(&undo, &["member m3 does not answer"]);
    cluster.bring_back(2);
    host.setup(&["undo", "--yes"]).expect_code(0);
    assert_same(&before, &host.state_digest());

    // It is gone for good: what was begun with it is taken back, and the others are set up.
    let text = "storage create default btrfs btrfs.mount_options";
    losing(&cluster, 2, text, &small).expect_code(4);
    host.incus(&["cluster", "remove", "--force", "--yes", "m3"]);
    let run = host.setup(&small).expect_code(1);
    says(
        &run,
        &["m3 is no member of the cluster any more", "taken back"],
    );
    host.setup(&small).expect_code(0);
    for member in &ALL[..2] {
        assert_eq!(
            part(host, "default", member),
            ("600MiB".into(), "Created".into())
        );
    }
}

#[test]
fn a_daemon_that_dies_while_the_pool_is_made_is_started_and_it_is_made() {
    let cluster = Cluster::start(3);
    let host = &cluster[0];
    let daemon = host.daemon_pid().expect("a running daemon");
    let dies = format!("\"$real\" \"$@\" & sleep 0.15; kill -KILL {daemon}; wait $!; exit");
    let rule = Rule::on("storage create default btrfs btrfs.mount_options").shell(&dies);
    host.run(&Setup::new(&PLAIN).rule(rule)).expect_code(4);
    host.setup(&PLAIN).expect_code(0);
    has_parts(host, &ALL);
    host.setup(&["undo", "--yes"]).expect_code(0);
    assert!(host.loops().is_empty());
}

/// No network, and nothing measured: the sizes are given.
const PLAIN: [&str; 6] = [
    "--yes",
    "--accept",
    "unseen",
    "--size=600MiB",
    "--overcommit",
    "--no-network",
];

#[track_caller]
fn has_parts(host: &Host, members: &[&str]) {
    for member in members {
        let found = part(host, "default", member);
        assert_eq!(found, ("600MiB".into(), "Created".into()), "{member}");
    }
}

#[test]
fn what_was_begun_is_completed_and_an_empty_dir_pool_made_again() {
    let without = Host::builder()
        .without(&["btrfs-progs"])
        .extra_btrfs("/srv/fast", "1G");
    let mut cluster = Cluster::of(vec![Host::builder(), without]);
    a_member_without_the_driver(&cluster);
    a_place_of_its_own(&cluster);
    defined_by_somebody(&cluster[0]);
    killed_while_it_is_made(&cluster[0]);
    left_by_a_daemon_that_died(&cluster);
    dir_pools(&cluster);
    joined_later(&mut cluster);
}

fn a_member_without_the_driver(cluster: &Cluster) {
    let before = cluster[0].state_digest();
    let run = cluster[0].setup(&PLAIN).expect_code(3);
    says(
        &run,
        &[
            "member m2 has no btrfs",
            "on m2, as root: apt-get install btrfs-progs",
        ],
    );
    assert_same(&before, &cluster[0].state_digest());
    // As apt-get and systemctl would.
    for tool in ["btrfs", "mkfs.btrfs"] {
        let path = cluster[0].sh(&format!("readlink -f $(command -v {tool})"));
        fs::copy(cluster[0].file(&path), cluster[1].file(&path)).expect("copying a tool");
    }
    cluster[1].kill_daemon();
    cluster.bring_back(1);
}

fn a_place_of_its_own(cluster: &Cluster) {
    let host = &cluster[0];
    let before = host.state_digest();
    let source = ["--member-source", "m2=/srv/fast/agents"];
    let run = host.setup(&[&PLAIN[..], &source].concat()).expect_code(0);
    says(&run, &["m1 (600 MiB file), m2 (/srv/fast/agents)"]);
    let part = host.query("/1.0/storage-pools/default?target=m2");
    assert_eq!(part["config"]["source"], "/srv/fast/agents");
    // On a filesystem that is not the pool's alone nothing is said about compression.
    let options = part["config"]["btrfs.mount_options"]
        .as_str()
        .expect("options");
    assert!(!options.contains("compress"), "{options}");
    host.setup(&["undo", "--yes"]).expect_code(0);
    assert_same(&before, &host.state_digest());
    cluster[1].sh("rmdir /srv/fast/agents");
}

/// Somebody defined the pool for one member, and no more.
fn defined_by_somebody(host: &Host) {
    let before = host.state_digest();
    host.sh("incus storage create default btrfs --target m2 size=700MiB");
    let run = host.setup(&PLAIN).expect_code(0);
    says(&run, &["was begun", "m1 (600 MiB file), m2 (700 MiB file)"]);
    assert_eq!(
        part(host, "default", "m2"),
        ("700MiB".into(), "Created".into())
    );
    host.setup(&["undo", "--yes"]).expect_code(0);
    assert_same(&before, &host.state_digest());
}

/// The next run finishes what one that was killed left, or takes it back.
fn killed_while_it_is_made(host: &Host) {
    let before = host.state_digest();
    let all = || Rule::on("storage create default btrfs btrfs.mount_options");
    let part = Rule::on("storage create default btrfs --target m2");
    for (rule, finished) in [
        (part.kill_before(), true),
        (all().kill_during(100), true),
        (all().kill_after(), false),
    ] {
        host.run(&Setup::new(&PLAIN).rule(rule)).expect_code(137);
        if finished {
            says(
                &host.setup(&PLAIN).expect_code(0),
                &["was cut short while at work"],
            );
            has_parts(host, &ALL[..2]);
        }
        host.setup(&["undo", "--yes"]).expect_code(0);
        assert_same(&before, &host.state_digest());
    }
}

/// What is in the way of a member's own part nobody else can clear away.
fn left_by_a_daemon_that_died(cluster: &Cluster) {
    let before = cluster[0].state_digest();
    cluster[1].sh("truncate -s 600M /var/lib/incus/disks/default.img
         mkfs.btrfs -q /var/lib/incus/disks/default.img
         mkdir /var/lib/incus/storage-pools/default
         mount -o loop /var/lib/incus/disks/default.img /var/lib/incus/storage-pools/default");
    let run = cluster[0].setup(&PLAIN).expect_code(1);
    says(
        &run,
        &[
            "is in the way there",
            "docs/clusters.md",
            "/storage-pools/default",
        ],
    );
    assert_same(&before, &cluster[0].state_digest());
    // As docs/clusters.md has it.
    cluster[1].sh("umount /var/lib/incus/storage-pools/default
         rmdir /var/lib/incus/storage-pools/default
         rm /var/lib/incus/disks/default.img");
}

fn dir_pools(cluster: &Cluster) {
    let host = &cluster[0];
    cluster.make_pool("default", "dir", &[]);
    host.sh("incus profile device add default root disk path=/ pool=default");
    host.import_tiny("tiny");
    let empty = host.state_digest();

    // Empty on this member alone: left alone, and said where it is not.
    host.incus(&["init", "tiny", "mary", "--target", "m2"]);
    let used = host.state_digest();
    let run = host.setup(&PLAIN).expect_code(0);
    says(
        &run,
        &["left as it is, because 1 instance is on it (on m2)"],
    );
    assert_same(&used, &host.state_digest());
    host.incus(&["delete", "mary"]);

    // Empty on both: made again, and what is free there is known from the pool itself.
    let args: Vec<&str> = PLAIN
        .into_iter()
        .filter(|it| *it != "--overcommit")
        .collect();
    let run = host.setup(&args).expect_code(0);
    says(
        &run,
        &["delete storage pool default (dir) on m1 (folder), m2 (folder)"],
    );
    has_parts(host, &ALL[..2]);
    host.incus(&["init", "tiny", "mary", "--target", "m2"]);
    host.incus(&["delete", "mary"]);
    host.setup(&["undo", "--yes"]).expect_code(0);
    assert_same(&empty, &host.state_digest());
    host.sh("incus profile device remove default root; incus storage delete default");
}

/// Defined for both, and then another one joins without a part of it.
fn joined_later(cluster: &mut Cluster) {
    for member in &ALL[..2] {
        cluster[0].sh(&format!(
            "incus storage create default btrfs --target {member} size=600MiB"
        ));
    }
    cluster.join(&[]);
    let host = &cluster[0];
    let status = host.setup(&["status"]).expect_code(0);
    says(&status, &["on m3: NO PART OF IT"]);
    host.setup(&PLAIN).expect_code(0);
    has_parts(host, &ALL);
    for member in ALL {
        host.incus(&["init", "tiny", &format!("on-{member}"), "--target", member]);
    }
}
