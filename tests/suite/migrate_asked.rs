//! Who is asked before a container is moved, and what becomes of it if there is no yes, or no room.

use crate::support::{assert_same, Host, Rule, Session, Setup};

fn three() -> Host {
    let host = Host::with_pool("dir");
    for name in ["mary", "naira", "stanley"] {
        host.launch(name, &[]);
    }
    host
}

fn pool_of(host: &Host, name: &str) -> String {
    let root = host.query(&format!("/1.0/instances/{name}"))["expanded_devices"]["root"].clone();
    root["pool"].as_str().expect("a pool").to_owned()
}

#[test]
fn nothing_is_ticked_to_begin_with_and_only_what_is_ticked_moves() {
    let host = three();
    let before = host.state_digest();
    for keys in [Session::ENTER, Session::ESCAPE, Session::CTRL_C] {
        let mut session = host.pty(&["migrate"], 100, 30);
        session
            .expect("Which containers")
            .expect("stanley: running")
            .send(keys);
        let run = session.wait_exit();
        assert!(matches!(run.code, 3 | 130), "{}", run.output());
        assert_same(&before, &host.state_digest());
    }
    for answer in ["no", "", Session::CTRL_D] {
        // Narrower than a line of the list, and the list is gone all the same.
        let mut session = host.pty(&["migrate"], 60, 50);
        session
            .expect("stanley: running")
            .send(Session::DOWN)
            .send(" ")
            .send(Session::ENTER);
        session.expect("naira").expect("Go ahead?");
        let screen = session.screen();
        assert!(!screen.contains("Which containers"), "{screen}");
        assert_eq!(screen.matches("plus its own").count(), 3, "{screen}");
        session.send(answer);
        if answer != Session::CTRL_D {
            session.send(Session::ENTER);
        }
        session.wait_exit().expect_code(3);
        assert_same(&before, &host.state_digest());
    }
    let mut session = host.pty(&["migrate"], 100, 30);
    session
        .expect("stanley: running")
        .send(Session::DOWN)
        .send(" ")
        .send(Session::ENTER);
    session.expect("Go ahead?").send("yes").send(Session::ENTER);
    session.expect("Migrated").wait_exit().expect_code(0);
    assert_eq!(pool_of(&host, "naira"), "taos");
    assert_eq!(
        (pool_of(&host, "mary"), pool_of(&host, "stanley")),
        ("default".into(), "default".into())
    );
}

#[test]
fn where_none_can_be_moved_nobody_is_asked_which() {
    let host = Host::with_pool("dir");
    host.launch("mary", &[]);
    host.sh("mkdir /srv/hers");
    let device = ["hers", "disk", "source=/srv/hers", "path=/hers"];
    host.incus(&[&["config", "device", "add", "mary"], &device[..]].concat());
    host.sh("rmdir /srv/hers");
    let before = host.state_digest();
    let run = host.pty(&["migrate"], 100, 30).wait_exit().expect_code(3);
    for words in ["none of them can be moved", "default/mary: /srv/hers"] {
        assert!(run.output().contains(words), "{}", run.output());
    }
    assert!(!run.output().contains("Which containers"));
    assert_same(&before, &host.state_digest());
    // The same after a set-up, which is done all the same.
    let mut session = host.pty(&["--beside", "--no-network"], 100, 50);
    session.expect("Go ahead?").send("yes").send(Session::ENTER);
    session.expect("No container is moved: none of them can be");
    session.wait_exit().expect_code(0);
    assert_eq!(pool_of(&host, "mary"), "default");
}

#[test]
fn all_of_them_take_the_profile_along_and_one_that_fails_stays() {
    let host = three();
    let fails = Rule::on("rename taos-copy-naira").fail(1, "Error: no such luck");
    let run = host
        .run(&Setup::new(&["migrate", "--all", "--yes"]).rule(fails))
        .expect_code(1);
    assert!(run.stdout.contains("✗ naira"), "{}", run.output());
    assert_eq!(pool_of(&host, "naira"), "default");
    assert_eq!(
        (pool_of(&host, "mary"), pool_of(&host, "stanley")),
        ("taos".into(), "taos".into())
    );
    let states = host.incus(&["list", "--format", "csv", "--columns", "ns"]);
    assert!(
        states.contains("naira,RUNNING") && !states.contains("taos-copy"),
        "{states}"
    );
    assert_eq!(
        host.incus(&["profile", "device", "get", "default", "root", "pool"]),
        "default"
    );

    host.setup(&["migrate", "--all", "--yes"]).expect_code(0);
    assert_eq!(
        host.incus(&["profile", "device", "get", "default", "root", "pool"]),
        "taos"
    );
    assert_eq!(
        host.query("/1.0/instances/naira")["devices"],
        serde_json::json!({})
    );
    host.setup(&["migrate", "--finish", "--all", "--yes"])
        .expect_code(0);
    host.incus(&["storage", "delete", "default"]);
    host.launch("fresh", &[]);
    assert_eq!(pool_of(&host, "fresh"), "taos");
}

#[test]
fn ctrl_c_while_copying_leaves_it_running_where_it_was() {
    let host = three();
    host.incus(&["storage", "create", "taos", "btrfs", "size=2GiB"]);
    let before = host.state_digest();
    let slow = Rule::on("refresh").shell("sleep 2");
    let mut session = host.pty_run(
        &Setup::new(&["migrate", "mary", "naira"]).rule(slow),
        100,
        40,
    );
    session.expect("Go ahead?").send("yes").send(Session::ENTER);
    // The second time it is said, it is being done.
    session
        .expect("copy mary to pool taos")
        .send(Session::CTRL_C);
    let run = session.wait_exit().expect_code(1);
    assert!(
        run.stdout.contains("stopped, as asked for"),
        "{}",
        run.output()
    );
    assert_same(&before, &host.state_digest());
}

#[test]
fn a_pool_that_fills_up_meanwhile_puts_it_back() {
    let host = three();
    host.incus(&["storage", "create", "taos", "btrfs", "size=512MiB"]);
    host.sh("dd if=/dev/urandom of=/var/lib/incus/storage-pools/default/containers/mary/rootfs/much bs=1M count=150 status=none");
    let before = host.state_digest();
    // While it is copied, and once more is to be brought over than was copied.
    let fill = |call| {
        Rule::on(call).shell(&format!(
            "incus exec mary -- sh -c 'dd if=/dev/urandom of=\"/{call}\" bs=1M count=40 2>/dev/null; sync' </dev/null
             dd if=/dev/urandom of=/var/lib/incus/storage-pools/taos/filler bs=1M 2>/dev/null; sync",
        ))
    };
    for call in ["refresh", "stop mary"] {
        let run = host
            .run(&Setup::new(&["migrate", "mary", "--yes"]).rule(fill(call)))
            .expect_code(1);
        assert!(
            run.stderr.contains("mary is where it was"),
            "{}",
            run.output()
        );
        host.sh("rm /var/lib/incus/storage-pools/taos/filler; sync");
        let more = format!("/{call}");
        assert_eq!(host.incus(&["exec", "mary", "--", "ls", &more]), more);
        assert_same(
            &before.without(&["mary pid"]),
            &host.state_digest().without(&["mary pid"]),
        );
    }
    host.sh("dd if=/dev/urandom of=/var/lib/incus/storage-pools/default/containers/mary/rootfs/more bs=1M count=400 status=none");
    let run = host.setup(&["migrate", "mary", "--yes"]).expect_code(3);
    assert!(run.stderr.contains("may be needed"), "{}", run.output());
}

#[test]
fn what_a_move_left_beside_its_original_is_not_built_on() {
    let host = three();
    let uuid = host.incus(&["config", "get", "mary", "volatile.uuid"]);
    host.incus(&["copy", "mary", "move-of-123", "--instance-only"]);
    host.incus(&[
        "config",
        "set",
        "move-of-123",
        &format!("volatile.uuid={uuid}"),
    ]);
    let before = host.state_digest();
    let run = host.setup(&["migrate", "mary", "--yes"]).expect_code(3);
    assert!(run.stderr.contains("move-of-123"), "{}", run.output());
    host.setup(&["migrate", "move-of-123", "--yes"])
        .expect_code(3);
    assert_same(&before, &host.state_digest());
}
