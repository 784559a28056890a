//! The other ways of migrating: Incus's own move, the return to what was kept, originals that go at once, and what moves
//! leave that were cut short. Their states are made by killing the daemon in the middle of a real `incus move`.

use crate::support::{assert_same, Host, Rule, Setup};

/// A call by words that it has, and what happens at it.
type Kill = (&'static str, fn(Rule) -> Rule);

const POOLS: &str = "/var/lib/incus/storage-pools";

/// A running container on `dir` with hard links, flags, two snapshots and a card; files enough for a move to take a while.
fn host() -> Host {
    let host = Host::with_pool("dir");
    host.incus(&["storage", "create", "taos", "btrfs", "size=2GiB"]);
    host.incus(&[
        "network",
        "create",
        "br0",
        "ipv4.address=10.97.0.1/24",
        "ipv6.address=none",
    ]);
    host.launch("mary", &["--config", "environment.NAME=mary"]);
    host.sh(&format!(
        "cd {POOLS}/default/containers/mary/rootfs; mkdir many; cd many
         seq 1 1500 | xargs -n 300 sh -c 'for i; do echo $i >f$i; done' _
         echo one >../one; ln ../one ../two; ln ../one three; echo log >../log"
    ));
    host.incus(&[
        "config",
        "device",
        "add",
        "mary",
        "eth0",
        "nic",
        "network=br0",
    ]);
    host.incus(&["snapshot", "create", "mary", "s1"]);
    host.incus(&["config", "set", "mary", "snapshots.expiry=3w"]);
    host.incus(&["snapshot", "create", "mary", "s2"]);
    host.sh(&format!(
        "cd {POOLS}/default/containers/mary/rootfs; chattr +i two; chattr +a log; touch -d 2001-01-01 many"
    ));
    host
}

/// Who the container is, and its snapshots.
fn identity(host: &Host) -> String {
    let it = host.query("/1.0/instances/mary?recursion=1");
    let keys = [
        "volatile.uuid",
        "volatile.cloud-init.instance-id",
        "volatile.eth0.hwaddr",
        "environment.NAME",
        "volatile.apply_template",
        "user.taos-setup.manifest",
    ];
    let config = keys.map(|key| format!("{key}={}", it["config"][key]));
    let snapshots: Vec<String> = it["snapshots"]
        .as_array()
        .map(|all| {
            all.iter()
                .map(|it| format!("{} {} {}", it["name"], it["created_at"], it["expires_at"]))
                .collect()
        })
        .unwrap_or_default();
    format!(
        "{} {} {} {}",
        config.join(" "),
        it["profiles"],
        it["devices"]["eth0"],
        snapshots.join(", ")
    )
}

/// What a move is known to lose: links and flags, told by tools that are not under test.
fn tree(host: &Host, name: &str) -> String {
    let pool = pool(host, name);
    host.sh(&format!(
        "cd {POOLS}/{pool}/containers/{name}/rootfs; stat -c '%n %h %Y' one two many/three; stat -c '%n %Y' many; ls many | wc -l
         [ one -ef two ] && [ one -ef many/three ] && echo linked; lsattr two log | cut -c5,6; cat log
         cd {POOLS}/{pool}/containers-snapshots/{name}; for s in s1 s2; do stat -c '%n %h' $s/rootfs/two; ls $s/rootfs/many | wc -l; done"
    ))
}

fn pool(host: &Host, name: &str) -> String {
    let it = host.query(&format!("/1.0/instances/{name}"));
    let pool = it["expanded_devices"]["root"]["pool"].as_str();
    pool.expect("a root disk").to_owned()
}

fn instances(host: &Host) -> String {
    host.incus(&["list", "--format", "csv", "--columns", "nsS"])
        .replace('\n', " ")
}

/// Moves `mary` as anybody would, and kills the daemon as soon as a shell's condition is true.
fn cut_short(host: &Host, to: &str, moment: &str) -> String {
    host.incus(&["stop", "mary", "--force"]);
    let daemon = host.daemon_pid().expect("a daemon");
    host.sh(&format!(
        "cd {POOLS}; incus move mary --storage {to} >/dev/null 2>&1 &
         until {moment}; do :; done; kill -KILL {daemon}; wait"
    ));
    host.start_daemon();
    let all = host.query("/1.0/instances");
    let urls = all.as_array().expect("instances").iter();
    let mut names = urls.filter_map(|it| it.as_str()?.strip_prefix("/1.0/instances/"));
    let stray = names.find(|name| name.starts_with("move-of-"));
    stray
        .unwrap_or_else(|| panic!("no move-of-… : {all}"))
        .to_owned()
}

const COPYING: &str = "ls taos/containers/move-of-*/rootfs/many/f1 >/dev/null 2>&1";
const SNAPSHOTS_GONE: &str = "[ ! -e default/containers-snapshots/mary/s1 ]";
const HALF_DELETED: &str = "[ ! -e default/containers/mary/rootfs/many/f1 ]";

#[test]
fn a_plain_move_is_compared_with_what_was_written_down_and_mended() {
    let host = host();
    let (who, was) = (identity(&host), tree(&host, "mary"));
    host.sh("incus export mary /dev/null >/dev/null 2>&1 || true");
    let kept = host.state_digest();
    let plain = &[
        "migrate",
        "mary",
        "--to",
        "taos",
        "--strategy",
        "move",
        "--yes",
    ];
    for (set, unset, says) in [
        (
            "incus query -X POST --wait -d '{\"name\":\"b1\"}' /1.0/instances/mary/backups",
            "incus query -X DELETE --wait /1.0/instances/mary/backups/b1",
            "has backups",
        ),
        (
            "incus config set mary security.protection.delete=true",
            "incus config unset mary security.protection.delete",
            "protected",
        ),
    ] {
        host.sh(set);
        let run = host.setup(plain).expect_code(3);
        assert!(run.stderr.contains(says), "{}", run.output());
        host.sh(unset);
    }
    let dry = host.setup(&[plain, &["--dry-run"][..]].concat());
    let dry = dry.expect_code(0);
    assert!(dry.stdout.contains("no way back"), "{}", dry.output());
    assert_same(&kept, &host.state_digest());

    let run = host.setup(plain).expect_code(0);
    assert!(
        run.stdout.contains("its original is gone"),
        "{}",
        run.output()
    );
    assert_eq!(instances(&host), "mary,RUNNING,2");
    assert_eq!(pool(&host, "mary"), "taos");
    assert_eq!(identity(&host), who);
    assert_eq!(tree(&host, "mary"), was);
    let log = host.sh("cat /var/log/taos-setup.log");
    assert!(
        log.contains("is no hard link of"),
        "it would have lost some"
    );
    let left = host.sh("ls /var/lib/taos-setup");
    assert!(!left.contains("manifest"), "{left}");

    // What cannot be made again is said by name, and no start hides it.
    let spoil = Rule::on("move mary").shell(&format!(
        "\"$real\" \"$@\"; echo x >>{POOLS}/default/containers/mary/rootfs/many/f7; rm {POOLS}/default/containers/mary/rootfs/many/f8; exit 0"
    ));
    let back = &[
        "migrate",
        "mary",
        "--to",
        "default",
        "--strategy",
        "move",
        "--yes",
    ];
    let run = host.run(&Setup::new(back).rule(spoil)).expect_code(4);
    for name in [
        "many/f7 has other content",
        "many/f8 is missing",
        "incus config unset mary",
    ] {
        assert!(run.stderr.contains(name), "{}", run.output());
    }
    assert_eq!(instances(&host), "mary,STOPPED,2");
    host.incus(&["config", "unset", "mary", "user.taos-setup.manifest"]);
    host.setup(&["undo", "--yes"]).expect_code(0);
    assert_eq!(instances(&host), "mary,RUNNING,2");
    assert_eq!(identity(&host), who);
}

fn forget_s1(pool: &str) -> String {
    format!(
        "DELETE FROM storage_volumes_snapshots WHERE name = 's1' AND storage_volume_id IN \
         (SELECT storage_volumes.id FROM storage_volumes JOIN storage_pools ON storage_pools.id = storage_pool_id \
         WHERE storage_volumes.name = 'mary' AND storage_pools.name = '{pool}')"
    )
}

#[test]
fn a_plain_move_that_is_cut_short_anywhere_is_dealt_with() {
    let host = host();
    let (who, was) = (identity(&host), tree(&host, "mary"));
    // The program itself, at a call with this text; or the daemon, as soon as this is so.
    let setup: [Kill; 7] = [
        ("user.taos-setup.manifest", Rule::kill_before),
        ("user.taos-setup.manifest", Rule::kill_after),
        ("move mary", Rule::kill_before),
        ("move mary", |rule| rule.kill_during(100)),
        ("move mary", Rule::kill_after),
        ("config edit mary", Rule::kill_after),
        ("start mary", Rule::kill_before),
    ];
    let daemon = [
        "ls TO/containers/move-of-*/rootfs/many >/dev/null 2>&1",
        "[ ! -e FROM/containers-snapshots/mary/s1 ]",
        "[ ! -e FROM/containers-snapshots/mary/s1 ] || false",
        "[ ! -e FROM/containers/mary/rootfs/many ]",
    ];
    for number in 0..setup.len() + daemon.len() {
        let from = pool(&host, "mary");
        let to = if from == "taos" { "default" } else { "taos" };
        host.sh(&format!(
            "echo {} >/tmp/daemon",
            host.daemon_pid().expect("a daemon")
        ));
        let arguments = &["migrate", "mary", "--to", to, "--strategy", "move", "--yes"];
        let (case, rule) = if let Some((text, kill)) = setup.get(number) {
            (*text, kill(Rule::on(text)))
        } else {
            let moment = daemon[number - setup.len()];
            let until = moment.replace("FROM", &from).replace("TO", to);
            let script = format!(
                "cd {POOLS}; \"$real\" \"$@\" & until {until}; do :; done; kill -KILL $(cat /tmp/daemon); wait $!; exit"
            );
            (moment, Rule::on("move mary").shell(&script))
        };
        let run = host.run(&Setup::new(arguments).rule(rule));
        assert!(matches!(run.code, 4 | 137), "{case}: {}", run.output());
        if case.ends_with("|| false") {
            // Had it lived a moment longer, the pool would not know of the snapshot any more either.
            host.start_daemon();
            host.incus(&["admin", "sql", "global", &forget_s1(&from)]);
        }
        let run = host.run(&Setup::new(&["undo", "--yes"]));
        assert_eq!(run.code, 0, "{case}: {}", run.output());
        let now = instances(&host);
        assert!(
            now == "mary,RUNNING,2" || now.starts_with("mary,RUNNING,2 taos-kept-mary,STOPPED"),
            "{case}: {now}"
        );
        assert_eq!(identity(&host), who, "{case}");
        assert_eq!(tree(&host, "mary"), was, "{case}");
        if now.contains("taos-kept") {
            host.setup(&["migrate", "--finish", "mary", "--yes"])
                .expect_code(0);
        }
    }
}

#[test]
fn what_somebodys_move_left_is_told_apart_and_nothing_is_lost() {
    let host = host();
    let who = identity(&host);
    // Cut short while it copied: the original is whole, and what was made of it is less.
    let stray = cut_short(&host, "taos", COPYING);
    let before = host.state_digest();
    let run = host.setup(&["migrate", "--status"]).expect_code(0);
    assert!(
        run.stdout.contains("has every path of it"),
        "{}",
        run.output()
    );
    for refused in [
        &["migrate", "mary", "--to", "taos", "--yes"][..],
        &["migrate", "--rescue", "--yes"],
        &["migrate", "--rescue"],
        &["migrate", "--rescue", "mary", "--yes"],
        &["migrate", "--rescue", &format!("{stray}=naira"), "--yes"],
    ] {
        host.setup(refused).expect_code(3);
    }
    // What only the lesser one has is never deleted.
    host.sh(&format!(
        "echo own >{POOLS}/taos/containers/{stray}/rootfs/own"
    ));
    let run = host.setup(&["migrate", "--rescue", &stray, "--yes"]);
    let run = run.expect_code(3);
    assert!(run.stderr.contains("rootfs/own"), "{}", run.output());
    host.sh(&format!("rm {POOLS}/taos/containers/{stray}/rootfs/own"));
    assert_same(&before, &host.state_digest());
    host.setup(&["migrate", "--rescue", &stray, "--yes"])
        .expect_code(0);
    assert_eq!(instances(&host), "mary,STOPPED,2");
    assert_eq!(identity(&host), who);

    // Cut short once the snapshots are gone from the original: it is whole, but for them.
    let whole = tree(&host, "mary");
    let links = |text: &str| text.lines().take(9).collect::<Vec<_>>().join("\n");
    host.incus(&["start", "mary"]);
    let stray = cut_short(&host, "taos", SNAPSHOTS_GONE);
    let run = host.setup(&["migrate", "--status"]).expect_code(0);
    assert!(run.stdout.contains("snapshot s1"), "{}", run.output());
    let rescue = &["migrate", "--rescue", &stray, "--yes"];
    let killed = Setup::new(rescue).rule(Rule::on("config edit taos-kept-mary").kill_before());
    host.run(&killed).expect_code(137);
    host.setup(&["undo", "--yes"]).expect_code(0);
    let now = instances(&host);
    assert!(
        now.starts_with("mary,STOPPED,2 taos-kept-mary,STOPPED,"),
        "{now}"
    );
    assert_eq!(identity(&host), who);
    assert_eq!(
        links(&tree(&host, "mary")),
        links(&whole),
        "links and flags"
    );
    host.setup(&["migrate", "--finish", "mary", "--yes"])
        .expect_code(0);

    // Cut short once half of the original is gone, and then the rest of it.
    host.incus(&["move", "mary", "--storage", "default"]);
    let renewed = identity(&host);
    host.incus(&["start", "mary"]);
    let stray = cut_short(&host, "taos", HALF_DELETED);
    host.sh(&format!(
        "echo own >{POOLS}/default/containers/mary/rootfs/own"
    ));
    let run = host.setup(&["migrate", "--rescue", &stray, "--yes"]);
    let run = run.expect_code(3);
    assert!(run.stderr.contains("each has what"), "{}", run.output());
    assert!(
        instances(&host).contains("mary,STOPPED,0 "),
        "{}",
        instances(&host)
    );
    host.incus(&["delete", "mary"]);
    let run = host.setup(&["migrate", "--rescue", &stray, "--yes"]);
    let run = run.expect_code(0);
    assert!(
        run.stdout.contains("all there is of mary"),
        "{}",
        run.output()
    );
    assert_eq!(instances(&host), "mary,STOPPED,2");
    let unsettled = |text: &str| text.replace("\"copy\"", "null");
    assert_eq!(unsettled(&identity(&host)), unsettled(&renewed));
    host.incus(&["start", "mary"]);
}

#[test]
fn back_to_what_it_was_keeps_what_it_is() {
    let host = Host::with_pool("dir");
    host.incus(&["storage", "create", "taos", "btrfs", "size=2GiB"]);
    host.launch("mary", &["--config", "environment.A=1"]);
    let read = |name: &str| {
        let path = format!(
            "{POOLS}/{}/containers/{name}/rootfs/file",
            pool(&host, name)
        );
        host.sh(&format!("cat {path} || true"))
    };
    let write = |text: &str| {
        host.incus(&[
            "exec",
            "mary",
            "--",
            "sh",
            "-c",
            &format!("echo {text} >/file"),
        ]);
    };
    write("then");
    let config = |name: &str| host.query(&format!("/1.0/instances/{name}"))["config"].clone();
    let was = config("mary");
    host.setup(&["migrate", "mary", "--to", "taos", "--yes"])
        .expect_code(0);
    write("now");
    host.incus(&["snapshot", "create", "mary", "since"]);
    host.incus(&["config", "set", "mary", "environment.A=2"]);
    let back = &["migrate", "--rollback", "mary", "--as-it-was"];
    let before = host.state_digest();
    host.setup(back).expect_code(3);
    host.setup(&["migrate", "--rollback", "--as-it-was", "--yes"])
        .expect_code(3);
    assert_same(&before, &host.state_digest());
    let yes: Vec<&str> = back.iter().copied().chain(["--yes"]).collect();
    // In whichever direction it is dealt with, both are there, once.
    for (text, code) in [
        ("stop mary", 137),
        ("rename mary", 137),
        ("rename taos-kept", 137),
    ] {
        let rule = Rule::on(text).kill_after();
        let run = host.run(&Setup::new(&yes).rule(rule)).expect_code(code);
        assert!(run.stdout.contains("rootfs/file"), "{}", run.output());
        host.setup(&["undo", "--yes"]).expect_code(0);
        if pool(&host, "mary") == "default" {
            assert_eq!(read("mary"), "then");
            assert_eq!(config("mary")["environment.A"], was["environment.A"]);
            assert_eq!(config("mary")["volatile.uuid"], was["volatile.uuid"]);
            assert_eq!(instances(&host), "mary,RUNNING,0 taos-kept2-mary,STOPPED,1");
            assert_eq!(read("taos-kept2-mary"), "now");
            // And to and fro, as nothing is lost.
            host.setup(&yes).expect_code(0);
        }
        assert_eq!(read("mary"), "now", "{text}");
        assert_eq!(config("mary")["environment.A"], "2");
        assert_eq!(instances(&host), "mary,RUNNING,1 taos-kept-mary,STOPPED,0");
    }
    // One that does not start goes back by itself.
    let fails = Rule::on("start mary").fail(1, "Error: no such luck");
    host.run(&Setup::new(&yes).rule(fails)).expect_code(1);
    assert_eq!(instances(&host), "mary,RUNNING,1 taos-kept-mary,STOPPED,0");
    assert_eq!(read("mary"), "now");
}

#[test]
fn originals_go_one_by_one_once_their_copies_have_run_for_a_while() {
    let host = Host::with_pool("dir");
    host.incus(&["storage", "create", "taos", "btrfs", "size=2GiB"]);
    for name in ["mary", "naira", "stanley"] {
        host.launch(name, &[]);
    }
    host.incus(&["stop", "stanley", "--force"]);
    let all = &[
        "migrate",
        "stanley",
        "mary",
        "naira",
        "--to",
        "taos",
        "--delete-originals",
        "--after",
        "60",
        "--yes",
    ];
    // The copy of the second one dies while it is waited for.
    let dies = Rule::on("start mary").shell(
        "\"$real\" \"$@\"; (sleep 5; \"$real\" stop mary --force) </dev/null >/dev/null 2>&1 & exit 0",
    );
    let run = host.run(&Setup::new(all).rule(dies)).expect_code(1);
    assert!(
        run.stderr.contains("its original is kept"),
        "{}",
        run.output()
    );
    assert_eq!(
        instances(&host),
        "mary,STOPPED,0 naira,RUNNING,0 stanley,STOPPED,0 taos-kept-mary,STOPPED,0"
    );
    assert_eq!(pool(&host, "naira"), "default");
    host.incus(&["start", "mary"]);
    host.setup(&["migrate", "--finish", "mary", "--yes"])
        .expect_code(0);
    let only = &[
        "migrate",
        "naira",
        "--to",
        "taos",
        "--delete-originals",
        "--after",
        "2",
        "--yes",
    ];
    let killed = Setup::new(only).rule(Rule::on("delete taos-kept-naira").kill_before());
    host.run(&killed).expect_code(137);
    host.setup(&["undo", "--yes"]).expect_code(0);
    assert_eq!(
        instances(&host),
        "mary,RUNNING,0 naira,RUNNING,0 stanley,STOPPED,0"
    );
}
