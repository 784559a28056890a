//! Migrations that go wrong by themselves: each container is back as it was, in its power state, with all that it wrote.

use std::time::Duration;

use crate::migrate::{lasting, states};
use crate::support::{Host, Rule, Setup};

/// A container that goes on counting in a file of constant size, and says in a folder of the host's, `/srv/NAME`,
/// how far it is. Its init is told what to do by that folder, too.
fn counting(host: &Host, name: &str, init: &str) {
    host.launch(name, &[]);
    host.sh(&format!(
        "mkdir -m 1777 -p /srv/{name}
         incus config device add {name} told disk source=/srv/{name} path=/mnt
         cat >/var/lib/incus/storage-pools/default/containers/{name}/rootfs/sbin/init <<'INIT'
#!/bin/sh
{init}
INIT
         incus restart {name} --force
         incus exec {name} -- sh -c '(i=0; while :; do i=$((i+1)); printf %010d $i 1<>/counter; printf %010d $i 1<>/mnt/counted; sleep 0.02; done) </dev/null >/dev/null 2>&1 &'"
    ));
}

/// What it counted is all there: the last that it said, or the one that it was about to say.
fn assert_counted(host: &Host, name: &str) {
    let number = |text: String| text.trim().parse::<u64>().expect("a number");
    let said = number(host.sh(&format!("cat /srv/{name}/counted")));
    let counted = number(host.incus(&["exec", name, "--", "cat", "/counter"]));
    assert!(
        said > 0 && counted >= said,
        "{name}: {counted}, and it said {said}"
    );
}

const LIVES: &str = "trap 'exit 0' PWR INT TERM; while :; do sleep 86400 & wait $!; done";
const IGNORES: &str = "trap '' PWR INT TERM; while :; do sleep 86400 & wait $!; done";
/// It is given five seconds.
const SLOW: &str = "trap 'sleep 7; exit 0' PWR INT TERM; while :; do sleep 86400 & wait $!; done";
/// It ends by itself, some time after it was started, if it finds the file.
const DIES: &str =
    "trap 'exit 0' PWR INT TERM; while :; do sleep 0.7 & wait $!; [ ! -e /mnt/die ] || exit 1; done";

#[test]
fn those_that_hang_or_die_or_do_not_start_go_back_and_the_others_go_on() {
    let host = Host::with_pool("dir");
    host.incus(&["storage", "create", "taos", "btrfs", "size=2GiB"]);
    for (name, init) in [
        ("dies", DIES),
        ("hangs", IGNORES),
        ("misses", LIVES),
        ("slow", SLOW),
    ] {
        counting(&host, name, init);
    }
    host.sh("incus config device add misses web proxy listen=tcp:127.0.0.1:8080 connect=tcp:127.0.0.1:80
        echo 'import socket, time; s = socket.create_server((\"127.0.0.1\", 8080)); open(\"/srv/listens\", \"w\"); time.sleep(600)' >/srv/listen");
    host.incus(&["config", "set", "hangs", "boot.host_shutdown_timeout=2"]);
    host.incus(&["config", "set", "slow", "boot.host_shutdown_timeout=5"]);
    host.launch("off", &[]);
    host.incus(&["stop", "off", "--force"]);
    let before = ["dies", "hangs", "misses"].map(|name| lasting(&host, name));

    let at = |text: &str, nth, script: &str| Rule::on(text).and_nth(nth).shell(script);
    let setup = Setup::new(&["migrate", "--all", "--to", "taos", "--yes"])
        .rule(at("start dies", 1, "touch /srv/dies/die"))
        .rule(at("start dies", 2, "rm /srv/dies/die"))
        // The port that its proxy listens on is somebody else's for a while.
        .rule(at("start misses", 1, "python3 /srv/listen </dev/null >/dev/null 2>&1 & echo $! >/srv/listener; until [ -e /srv/listens ]; do sleep 0.05; done"))
        .rule(at("start misses", 2, "kill $(cat /srv/listener)"));
    let run = host
        .run(&setup.timeout(Duration::from_secs(600)))
        .expect_code(1);
    let (_, table) = run.stdout.split_once("\nMigrated\n").expect("a table");
    for line in ["✗ dies", "✗ hangs", "✗ misses", "✓ off", "✓ slow"] {
        assert!(table.contains(line), "{line}: {}", run.output());
    }
    for why in [
        "trying to start dies on pool taos",
        "it was given 2 s (boot.host_shutdown_timeout)",
    ] {
        assert!(run.stderr.contains(why), "{why}: {}", run.output());
    }
    assert_eq!(
        states(&host),
        "default,dies,RUNNING default,hangs,RUNNING default,misses,RUNNING default,off,STOPPED \
         default,slow,RUNNING \
         default,taos-copy-dies,STOPPED default,taos-copy-misses,STOPPED default,taos-kept-off,STOPPED default,taos-kept-slow,STOPPED"
    );
    assert_eq!(
        before,
        ["dies", "hangs", "misses"].map(|name| lasting(&host, name))
    );
    for name in ["dies", "hangs", "misses", "slow"] {
        assert_counted(&host, name);
    }
    let ps = host.incus(&["exec", "hangs", "--", "ps"]);
    assert!(ps.contains("/counter"), "it was stopped: {ps}");

    let kept = host.setup(&["migrate", "--status"]).expect_code(0);
    assert!(
        kept.stdout.contains("incus delete taos-copy-dies"),
        "{}",
        kept.output()
    );
    host.setup(&["migrate", "dies", "misses", "--to", "taos", "--yes"])
        .expect_code(0);
    for name in ["dies", "misses"] {
        assert_counted(&host, name);
    }
}
