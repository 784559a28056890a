//! Migrations in a cluster: each on the member that the container is on, whatever becomes of the others.

use std::fs;
use std::thread;
use std::time::{Duration, Instant};

use crate::support::{assert_same, Cluster, Rule, Run, Setup};

/// Two members with a `dir` pool, and a btrfs one to go to; m1 has mary, m2 has naira and stanley.
fn cluster() -> Cluster {
    let cluster = Cluster::with_pool(2, "dir");
    cluster.make_pool("taos", "btrfs", &["size=512MiB"]);
    cluster[0].import_tiny("tiny");
    for (name, member) in [("mary", "m1"), ("naira", "m2"), ("stanley", "m2")] {
        cluster[0].launch(name, &["--target", member]);
    }
    cluster
}

/// Name, pool, member and state of each instance.
fn instances(cluster: &Cluster) -> Vec<String> {
    let list = cluster[0].incus(&["list", "--format", "csv", "--columns", "nbLs"]);
    list.lines().map(str::to_owned).collect()
}

fn root_of_profile(cluster: &Cluster) -> String {
    cluster[0].incus(&["profile", "device", "get", "default", "root", "pool"])
}

#[track_caller]
fn says(run: &Run, texts: &[&str]) {
    let output = run.output();
    let output = output.split_whitespace().collect::<Vec<_>>().join(" ");
    for text in texts {
        assert!(output.contains(text), "no {text:?} in {output}");
    }
}

/// Runs the program on one member, and loses a member's daemon right before a call of `incus` with this text;
/// what is to happen `then` is a rule's script.
fn lost_at(
    cluster: &Cluster,
    lost: usize,
    on: usize,
    text: &str,
    then: &str,
    args: &[&str],
) -> Run {
    let (here, go) = ["here", "go"].map(|it| cluster[on].share().join(it)).into();
    for file in [&here, &go] {
        fs::remove_file(file).ok();
    }
    let hold = format!(
        "touch {}; until [ -e {} ]; do sleep 0.02; done; {then}",
        here.display(),
        go.display()
    );
    thread::scope(|scope| {
        scope.spawn(|| {
            let begun = Instant::now();
            while !here.exists() && begun.elapsed() < Duration::from_secs(60) {
                thread::sleep(Duration::from_millis(10));
            }
            cluster.lose(lost);
            fs::write(&go, "").expect("letting the program go on");
        });
        cluster[on].run(&Setup::new(args).rule(Rule::on(text).shell(&hold)))
    })
}

#[test]
fn each_member_moves_its_own_and_a_lost_one_keeps_nobody_from_it() {
    let mut cluster = cluster();
    others_are_named_and_left(&cluster);
    own_ones_are_moved_killed_or_not(&cluster);
    originals_go_where_they_are(&cluster);
    one_that_does_not_vote_is_lost(&cluster);
    the_one_that_votes_is_lost(&cluster);
    the_leader_of_three_is_lost(&mut cluster);
}

fn others_are_named_and_left(cluster: &Cluster) {
    let before = cluster[0].state_digest();
    let refused = [
        (
            &["migrate", "naira", "--to", "taos", "--yes"][..],
            "on m2: taos-setup migrate naira --to taos",
        ),
        (
            &["migrate", "mary", "stanley", "naira", "--yes"],
            "on m2: taos-setup migrate stanley naira",
        ),
        (
            &["migrate", "--member", "m2", "--yes"],
            "on m2: taos-setup migrate --member m2",
        ),
        (&["migrate", "--member", "m9", "--yes"], "they are m1, m2"),
        (
            &["--yes", "--migrate", "naira"],
            "on m2: taos-setup migrate naira",
        ),
        (
            &["migrate", "mary", "--to", "other", "--yes"],
            "there is no storage pool other",
        ),
    ];
    for (args, text) in refused {
        let run = cluster[0].setup(args).expect_code(3);
        says(&run, &[text]);
    }
    assert_same(&before, &cluster[0].state_digest());
}

fn own_ones_are_moved_killed_or_not(cluster: &Cluster) {
    let all = ["migrate", "--all", "--to", "taos", "--yes"];
    let run = cluster[0].setup(&all).expect_code(0);
    let elsewhere = "naira, stanley are on member m2, and only there";
    says(
        &run,
        &[
            elsewhere,
            "on m2: taos-setup migrate naira stanley --to taos",
        ],
    );
    assert_eq!(
        instances(cluster),
        [
            "mary,taos,m1,RUNNING",
            "naira,default,m2,RUNNING",
            "stanley,default,m2,RUNNING",
            "taos-kept-mary,default,m1,STOPPED",
        ]
    );
    // Others take theirs from it still.
    assert_eq!(root_of_profile(cluster), "default");

    let member = ["migrate", "--member", "m2", "--to", "taos", "--yes"];
    let killed = Setup::new(&member).rule(Rule::on("rename naira").kill_after());
    cluster[1].run(&killed).expect_code(137);
    // What was cut short there is nothing to this member.
    let here = cluster[0]
        .setup(&["migrate", "--all", "--yes"])
        .expect_code(0);
    says(&here, &["Nothing to do"]);
    let run = cluster[1].setup(&member).expect_code(0);
    says(&run, &["Before anything else it is finished"]);
    assert_eq!(
        instances(cluster),
        [
            "mary,taos,m1,RUNNING",
            "naira,taos,m2,RUNNING",
            "stanley,taos,m2,RUNNING",
            "taos-kept-mary,default,m1,STOPPED",
            "taos-kept-naira,default,m2,STOPPED",
            "taos-kept-stanley,default,m2,STOPPED",
        ]
    );
    assert_eq!(root_of_profile(cluster), "taos");
}

fn originals_go_where_they_are(cluster: &Cluster) {
    let status = cluster[0].setup(&["migrate", "--status"]).expect_code(0);
    says(
        &status,
        &[
            "kept as taos-kept-naira on default of member m2",
            "taos-kept-mary on default of member m1",
        ],
    );
    let refused = cluster[0].setup(&["migrate", "--finish", "naira", "--yes"]);
    says(
        &refused.expect_code(3),
        &["on m2: taos-setup migrate --finish naira"],
    );
    let finish = ["migrate", "--finish", "--all", "--yes"];
    let run = cluster[1].setup(&finish).expect_code(0);
    says(&run, &["on m1: taos-setup migrate --finish mary"]);
    let back = ["migrate", "--rollback", "mary", "--yes"];
    says(
        &cluster[1].setup(&back).expect_code(3),
        &["on m1: taos-setup migrate --rollback mary"],
    );
    cluster[0].setup(&back).expect_code(0);
    let moved = [
        "migrate",
        "stanley",
        "--to",
        "default",
        "--strategy",
        "move",
        "--yes",
    ];
    cluster[1].setup(&moved).expect_code(0);
    let old = [
        "migrate",
        "--finish",
        "mary",
        "--delete-old-pool",
        "taos",
        "--yes",
    ];
    says(
        &cluster[0].setup(&old).expect_code(3),
        &["in a cluster taos-setup deletes no pool"],
    );
    cluster[0].setup(&finish).expect_code(0);
    assert_eq!(
        instances(cluster),
        [
            "mary,default,m1,RUNNING",
            "naira,taos,m2,RUNNING",
            "stanley,default,m2,RUNNING",
        ]
    );
}

fn one_that_does_not_vote_is_lost(cluster: &Cluster) {
    let to_taos = ["migrate", "mary", "--to", "taos", "--yes"];
    lost_at(cluster, 1, 0, "stop mary", "", &to_taos).expect_code(0);
    let status = cluster[0].setup(&["migrate", "--all", "--to", "taos", "--yes"]);
    says(
        &status.expect_code(0),
        &[
            "naira, stanley are on member m2, which does not answer",
            "once it is back, on m2: taos-setup migrate --member m2 --to taos",
        ],
    );
    cluster.bring_back(1);
    assert_eq!(
        instances(cluster),
        [
            "mary,taos,m1,RUNNING",
            "naira,taos,m2,RUNNING",
            "stanley,default,m2,RUNNING",
            "taos-kept-mary,default,m1,STOPPED",
        ]
    );
}

fn the_one_that_votes_is_lost(cluster: &Cluster) {
    let to_taos = ["migrate", "stanley", "--to", "taos", "--yes"];
    lost_at(
        cluster,
        0,
        1,
        "stop stanley",
        "kill_setup; exit 137",
        &to_taos,
    )
    .expect_code(137);
    // Without it nobody can tell or do anything; and what was cut short waits.
    let refused = cluster[1].setup(&["--timeout", "1", "migrate", "--status"]);
    refused.expect_code(3);
    cluster.bring_back(0);
    let run = cluster[1].setup(&["undo", "--yes"]).expect_code(0);
    says(&run, &["Before anything else it is taken back"]);
    assert_eq!(instances(cluster)[2], "stanley,default,m2,RUNNING");

    // It is back before anybody gives up; whether a command was cut short by that or only slow is chance.
    let run = thread::scope(|scope| {
        scope.spawn(|| {
            let begun = Instant::now();
            while cluster[0].daemon_pid().is_some() && begun.elapsed() < Duration::from_secs(60) {
                thread::sleep(Duration::from_millis(20));
            }
            thread::sleep(Duration::from_secs(1));
            cluster.bring_back(0);
        });
        lost_at(cluster, 0, 1, "rename stanley", "", &to_taos)
    });
    if run.code != 0 {
        says(&run.expect_code(1), &["Taking back what was done"]);
        assert_eq!(instances(cluster)[2], "stanley,default,m2,RUNNING");
        cluster[1].setup(&to_taos).expect_code(0);
    }
    assert_eq!(
        instances(cluster),
        [
            "mary,taos,m1,RUNNING",
            "naira,taos,m2,RUNNING",
            "stanley,taos,m2,RUNNING",
            "taos-kept-mary,default,m1,STOPPED",
            "taos-kept-stanley,default,m2,STOPPED",
        ]
    );
}

fn the_leader_of_three_is_lost(cluster: &mut Cluster) {
    let source = |pool| (pool, "source", "");
    cluster.join(&[
        source("default"),
        source("taos"),
        ("taos", "size", "512MiB"),
    ]);
    // The other two choose another one, and the container is down for that time.
    let finish = ["migrate", "--finish", "stanley", "--yes"];
    cluster[1].setup(&finish).expect_code(0);
    let back = ["migrate", "stanley", "--to", "default", "--yes"];
    lost_at(cluster, 0, 1, "rename stanley", "", &back).expect_code(0);
    let list = cluster[1].incus(&["list", "stanley", "--format", "csv", "--columns", "nbLs"]);
    assert!(list.starts_with("stanley,default,m2,RUNNING"), "{list}");
}
