//! Containers moved along with a set-up: in one call, offered on a terminal, and what is left of the old pool.

use crate::support::{assert_same, Host, Rule, Session, Setup};

const QUESTION: &str = "Go ahead?";
const LOST: &str = "Let that be lost? yes / no [no]: ";

fn pool_of(host: &Host, name: &str) -> String {
    let root = host.query(&format!("/1.0/instances/{name}"))["expanded_devices"]["root"].clone();
    root["pool"].as_str().expect("a pool").to_owned()
}

fn driver_of(host: &Host, pool: &str) -> Option<String> {
    let found = host.try_query(&format!("/1.0/storage-pools/{pool}")).ok()?;
    Some(found["driver"].as_str().expect("a driver").to_owned())
}

fn back_up(host: &Host, name: &str) {
    let path = format!("/1.0/instances/{name}/backups");
    let data = r#"{"name": "b1", "instance_only": true}"#;
    host.incus(&["query", "--wait", "-X", "POST", "-d", data, &path]);
}

fn delete_backup(host: &Host, name: &str) {
    let path = format!("/1.0/instances/{name}/backups/b1");
    host.incus(&["query", "--wait", "-X", "DELETE", &path]);
}

fn journals(host: &Host) -> usize {
    let count = host.sh("ls /var/lib/taos-setup | grep -c jsonl || true");
    count.trim().parse().expect("a number")
}

#[test]
fn one_call_sets_up_and_moves_and_the_old_pool_goes_when_it_is_named() {
    let host = Host::with_pool("dir");
    host.launch("mary", &["--config", "security.protection.delete=true"]);
    host.launch(
        "naira",
        &[
            "--config",
            "security.protection.shift=true",
            "--device",
            "root,size=20MiB",
        ],
    );
    host.launch("stanley", &[]);
    host.incus(&["storage", "volume", "create", "default", "data"]);
    let volume = ["pool=default", "source=data", "path=/data"];
    host.incus(
        &[
            &["config", "device", "add", "stanley", "data", "disk"][..],
            &volume,
        ]
        .concat(),
    );
    back_up(&host, "mary");
    let much = "/var/lib/incus/storage-pools/default/containers/naira/rootfs/much";
    host.sh(&format!(
        "dd if=/dev/urandom of={much} bs=1M count=24 status=none"
    ));
    host.sh("mkdir -p /var/lib/incus/storage-pools/default/containers/naira/rootfs/var/lib/incus/database");

    what_is_not_meant_or_does_not_fit_refuses_all_of_it(&host);
    the_pool_is_made_and_each_container_moved(&host);
    originals_and_the_pool_go_by_a_word_of_their_own(&host);
}

fn what_is_not_meant_or_does_not_fit_refuses_all_of_it(host: &Host) {
    let before = host.state_digest();
    // Also the pool is not made.
    for (arguments, code, says) in [
        (
            &["--yes", "--migrate", "mary,nobody"][..],
            3,
            "no instance nobody",
        ),
        (&["--yes", "--migrate", "mary,mary"], 3, "named twice"),
        (&["--yes", "--migrate", "mary,"], 2, "not a list"),
        (&["--migrate", "mary", "status"], 2, "for the set-up itself"),
        (&["--migrate", "stanley"], 3, "no --yes"),
        (
            &["--yes", "--migrate", "stanley", "--driver", "dir"],
            3,
            "leave one of them out",
        ),
        (&["--yes", "--migrate", "mary"], 3, "--accept backups"),
        (
            &["--yes", "--migrate", "stanley,naira"],
            3,
            "root size of naira is 20 MiB",
        ),
        (
            &[
                "migrate",
                "stanley",
                "--yes",
                "--delete-old-pool",
                "default",
            ],
            3,
            "is used by",
        ),
    ] {
        let run = host.setup(arguments).expect_code(code);
        assert!(run.stderr.contains(says), "{arguments:?}: {}", run.output());
    }
    let hint = host.setup(&["--yes"]).expect_code(0);
    assert!(
        hint.stdout
            .contains("taos-setup migrate mary naira stanley")
            && hint
                .stdout
                .contains("taos-setup --yes --migrate mary,naira,stanley"),
        "{}",
        hint.output()
    );
    assert_same(&before, &host.state_digest());
    assert_eq!(journals(host), 0);
}

fn the_pool_is_made_and_each_container_moved(host: &Host) {
    host.incus(&["config", "device", "set", "naira", "root", "size=40GiB"]);
    let wanted = [
        "--yes",
        "--no-network",
        "--size",
        "1GiB",
        "--migrate",
        "mary,naira",
        "--accept",
        "backups,root-size",
        "--json",
    ];
    let before = host.state_digest();
    let dry = host.setup(&[&wanted[..], &["--dry-run"]].concat());
    let plan = dry.expect_code(0).json()["plan"].clone();
    let steps = plan["steps"].as_array().expect("steps");
    assert_eq!(steps[0]["step"], "create_pool");
    assert!(steps[1..].iter().all(|step| step["step"] == "migrate"));
    let losses = plan["losses"].as_array().expect("losses");
    let kinds: Vec<&str> = losses.iter().filter_map(|it| it["kind"].as_str()).collect();
    assert_eq!(kinds, ["backups", "root-size"]);
    let notes = plan["notes"].to_string();
    assert!(
        notes.contains("naira has an Incus or LXD of its own"),
        "{notes}"
    );
    assert_same(&before, &host.state_digest());

    // Killed once the pool is made; the same call goes on.
    let killed = Rule::on("storage create").kill_after();
    host.run(&Setup::new(&wanted).rule(killed)).expect_code(137);
    let run = host.setup(&wanted).expect_code(0);
    assert_eq!(run.json()["migrated"].as_array().map(Vec::len), Some(2));
    assert_eq!(journals(host), 3, "the set-up, and each container");
    assert_eq!(pool_of(host, "mary"), "taos");
    assert_eq!(pool_of(host, "naira"), "taos");
    let root = host.query("/1.0/instances/naira")["devices"]["root"].clone();
    assert_eq!(root["size"], "40GiB", "it stays set");
    let states = host.incus(&["list", "--format", "csv", "--columns", "ns"]);
    assert!(states.contains("naira,RUNNING") && states.contains("mary,RUNNING"));
    let changes = before.changes(&host.state_digest());
    assert!(
        !changes.iter().any(|line| line.contains("stanley")),
        "{changes:?}"
    );
    let moved = host.state_digest();
    host.setup(&wanted).expect_code(0);
    assert_same(&moved, &host.state_digest());

    // On the way back to `dir` a subvolume would be a folder.
    host.sh("cd /var/lib/incus/storage-pools/taos/containers/mary/rootfs; mkdir -p srv; btrfs subvolume create srv/data");
    let back = host
        .setup(&["migrate", "--rollback", "mary", "--yes"])
        .expect_code(3);
    assert!(
        back.stderr.contains("--accept subvolumes"),
        "{}",
        back.output()
    );

    // The last one takes launches along.
    host.setup(&["--yes", "--no-network", "--migrate", "all"])
        .expect_code(0);
    let devices = host.query("/1.0/instances/stanley")["devices"].clone();
    let names: Vec<&String> = devices.as_object().expect("devices").keys().collect();
    assert_eq!(
        names,
        ["data"],
        "its volume stays attached, its root disk is the profile's"
    );
    assert_eq!(pool_of(host, "stanley"), "taos");
}

fn originals_and_the_pool_go_by_a_word_of_their_own(host: &Host) {
    // Originals go by name or all; one that is protected, and the pool, each need a word of their own.
    delete_backup(host, "taos-kept-mary");
    host.incus(&["project", "create", "far"]);
    let root = ["default", "root", "disk", "path=/", "pool=default"];
    host.incus(&[&["profile", "device", "add", "--project", "far"][..], &root].concat());
    let before = host.state_digest();
    let finish = ["migrate", "--finish", "--all", "--yes"];
    let run = host.setup(&finish).expect_code(3);
    assert!(
        run.stderr.contains("--accept protection"),
        "{}",
        run.output()
    );
    let finish = [
        &finish[..],
        &["--accept", "protection", "--delete-old-pool", "default"],
    ]
    .concat();
    let run = host.setup(&finish).expect_code(3);
    for user in ["profile far/default", "custom volume data"] {
        assert!(run.stderr.contains(user), "{}", run.output());
    }
    assert_same(&before, &host.state_digest());
    host.incus(&["config", "device", "remove", "stanley", "data"]);
    host.incus(&["storage", "volume", "delete", "default", "data"]);
    host.incus(&[
        "profile",
        "device",
        "remove",
        "default",
        "root",
        "--project",
        "far",
    ]);
    let run = host.setup(&finish).expect_code(0);
    assert!(run.stdout.contains("incus-user"), "{}", run.output());
    assert_eq!(driver_of(host, "default"), None);
    assert_eq!(driver_of(host, "taos").as_deref(), Some("btrfs"));

    // What the deletion's way back says is what happens.
    host.setup(&["undo", "--yes"]).expect_code(0);
    assert_eq!(driver_of(host, "default").as_deref(), Some("dir"));
}

#[test]
fn after_a_set_up_on_a_terminal_moving_is_offered_and_the_old_pool_is_asked_for_by_itself() {
    let host = Host::with_pool("dir");
    host.launch("mary", &[]);
    host.launch("naira", &[]);
    back_up(&host, "naira");
    let before = host.state_digest();
    let offered = || {
        let mut session = host.pty(&["--no-network", "--size", "1GiB"], 130, 50);
        session
            .expect("1) Leave pool default as it is")
            .expect("Which? [1]: ")
            .send("1\r");
        session
            .expect("Which containers are to be moved?")
            .expect("default/mary: running, down for about 1 s plus its own stop;")
            .expect("from default to taos, 0 snapshots")
            .expect("NOT KEPT: backups");
        session
    };
    // Nothing is ticked to begin with, and the set-up is done whatever the answer is.
    let mut session = offered();
    session.send(Session::ENTER).expect("No container is moved");
    session.wait_exit().expect_code(0);
    assert_same(&before, &host.state_digest());
    for lost in [None, Some(Session::CTRL_D)] {
        let mut session = offered();
        session.send(Session::DOWN).send(" ").send(Session::ENTER);
        session
            .expect("create storage pool taos")
            .expect("NOT KEPT: naira is without its backups (b1)")
            .expect(QUESTION);
        match lost {
            None => session.send("no\r"),
            Some(keys) => session.send("yes\r").expect(LOST).send(keys),
        };
        session.expect("No container is moved");
        session.wait_exit().expect_code(0);
        assert_same(&before, &host.state_digest());
    }
    let mut session = offered();
    session.send(Session::DOWN).send(" ").send(Session::ENTER);
    session.expect(QUESTION).send("yes\r");
    session.expect(LOST).send("perhaps\r");
    session.expect("Please type yes or no.").send("yes\r");
    session.expect("Migrated").wait_exit().expect_code(0);
    assert_eq!(pool_of(&host, "naira"), "taos");
    assert_eq!(pool_of(&host, "mary"), "default");
    delete_backup(&host, "taos-kept-naira");

    // With its option there is no list; declined, nothing is touched at all.
    let before = host.state_digest();
    for (answer, code) in [("no\r", 3), ("yes\r", 0)] {
        let mut session = host.pty(&["--no-network", "--migrate", "mary"], 110, 50);
        session
            .expect("keep the original as taos-kept-mary")
            .expect(QUESTION);
        assert_same(&before, &host.state_digest());
        session.send(answer);
        session.wait_exit().expect_code(code);
    }
    assert_eq!(pool_of(&host, "mary"), "taos");

    let pool = "Delete storage pool default? yes / no [no]: ";
    let mut session = host.pty(&["migrate", "--finish"], 110, 50);
    session
        .expect("DELETED for good")
        .expect(QUESTION)
        .send("yes\r");
    session
        .expect("Storage pool default is empty")
        .expect("incus-user")
        .expect(pool)
        .send(Session::ENTER);
    session.wait_exit().expect_code(0);
    assert_eq!(driver_of(&host, "default").as_deref(), Some("dir"));
    let mut session = host.pty(
        &["migrate", "--finish", "--delete-old-pool", "default"],
        110,
        50,
    );
    session.expect(QUESTION).send("yes\r");
    session.expect(pool).send("yes\r");
    session.wait_exit().expect_code(0);
    assert_eq!(driver_of(&host, "default"), None);
    assert!(host.try_query("/1.0/instances/taos-kept-mary").is_err());
}
