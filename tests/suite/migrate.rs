//! Containers moved from a `dir` pool to btrfs and back: whole, with everything that makes them what they are.

use crate::support::{Host, Setup};
use serde_json::Value;

/// An instance without what comes and goes with its runs, and without where it is.
pub fn lasting(host: &Host, name: &str) -> Value {
    let mut it = host.query(&format!("/1.0/instances/{name}"));
    let config = it["config"].as_object_mut().expect("a configuration");
    config
        .retain(|key, _| !key.starts_with("volatile.last_state.") && !key.ends_with(".host_name"));
    for gone in [
        "expanded_config",
        "expanded_devices",
        "last_used_at",
        "created_at",
    ] {
        it.as_object_mut().expect("an object").remove(gone);
    }
    if let Some(root) = it["devices"]["root"].as_object_mut() {
        root.remove("pool");
    }
    it
}

pub fn snapshots(host: &Host, name: &str) -> Vec<[Value; 4]> {
    let all = host.query(&format!("/1.0/instances/{name}/snapshots?recursion=1"));
    all.as_array()
        .expect("snapshots")
        .iter()
        .map(|it| ["name", "created_at", "expires_at", "profiles"].map(|key| it[key].clone()))
        .collect()
}

pub fn states(host: &Host) -> String {
    let mut lines: Vec<String> = host
        .incus(&[
            "list",
            "--all-projects",
            "--format",
            "csv",
            "--columns",
            "ens",
        ])
        .lines()
        .map(str::to_owned)
        .collect();
    lines.sort();
    lines.join(" ")
}

/// A container `mary` with all that a container may have.
pub fn furnished() -> Host {
    let host = Host::start();
    let ids = "root:1000000:1000000000\nroot:1000:1";
    host.sh(&format!("printf '{ids}\n' | tee /etc/subuid >/etc/subgid"));
    host.start_daemon();
    host.make_pool("dir");
    host.incus(&[
        "network",
        "create",
        "br0",
        "ipv4.address=10.99.0.1/24",
        "ipv6.address=none",
    ]);
    host.launch(
        "mary",
        &[
            "--device",
            "root,size=40GiB",
            "--config",
            "raw.idmap=both 1000 1000",
            "--config",
            "security.nesting=true",
            "--config",
            "cloud-init.user-data=#cloud-config",
        ],
    );
    for number in 1..=20 {
        host.incus(&[
            "config",
            "set",
            "mary",
            &format!("environment.KEY_{number}=value {number} 's\""),
        ]);
    }
    host.sh("mkdir -p /srv/shared; cd /srv/shared; echo bound >file; echo mine >mine; chown 1000:1000 mine; chmod 666 mine");
    host.incus(&["stop", "mary", "--force"]);
    for device in [
        &[
            "eth0",
            "nic",
            "network=br0",
            "name=eth0",
            "ipv4.address=10.99.0.50",
            "hwaddr=10:66:6a:00:00:01",
        ][..],
        &["bind", "disk", "source=/srv/shared", "path=/mnt"],
        &[
            "web",
            "proxy",
            "listen=tcp:127.0.0.1:8080",
            "connect=tcp:127.0.0.1:80",
        ],
    ] {
        host.incus(&[&["config", "device", "add", "mary"][..], device].concat());
    }
    host.incus(&["start", "mary"]);
    host
}

/// What the container's devices do for it, seen from inside and from the host: the bind mount with the owner that
/// `raw.idmap` lets through, the environment, its card's address, the lease that the bridge gives it, and its proxy.
fn what_works(host: &Host) -> String {
    let inside = host.incus(&[
        "exec",
        "mary",
        "--",
        "sh",
        "-c",
        "busybox=/bin/busybox; cat /mnt/file; stat -c %u:%a /mnt/mine; echo written >>/mnt/mine
         $busybox env | grep -c '^KEY_'; cat /sys/class/net/eth0/address
         ip link set eth0 up; printf '#!/bin/sh\nexec echo lease $1 $ip\n' >/tmp/lease; $busybox chmod +x /tmp/lease
         $busybox udhcpc -i eth0 -n -q -t 20 -T 1 -s /tmp/lease 2>/dev/null | grep bound
         $busybox httpd -p 127.0.0.1:80 -h /mnt; rm /tmp/lease",
    ]);
    let answer = host.sh("python3 -c 'import urllib.request as it; print(it.urlopen(\"http://127.0.0.1:8080/file\").read())'");
    format!("{inside}\n{answer}")
}

#[test]
fn a_running_container_goes_over_whole_and_comes_back_with_what_it_wrote() {
    let host = furnished();
    host.make_hard_tree("mary", 2000);
    host.incus(&["snapshot", "create", "mary", "taos-archive-1"]);
    host.incus(&["config", "set", "mary", "snapshots.expiry=3w"]);
    host.incus(&["snapshot", "create", "mary", "pre-framework-update-2"]);
    host.sh(
        "echo edited >/var/lib/incus/storage-pools/default/containers/mary/rootfs/etc/hostname",
    );
    host.incus(&["snapshot", "create", "mary", "s3"]);
    // Written to the moment of the stop, in place and within one second: the same size at the same time.
    host.sh("incus exec mary -- sh -c '(i=0; while :; do i=$((i+1)); printf %010d $i >/counter; done) </dev/null >/dev/null 2>&1 &'");
    let works = what_works(&host);
    assert_eq!(works.lines().nth(1), Some("1000:666"), "{works}");
    assert!(works.contains("lease bound 10.99.0.50"), "{works}");
    let (before, dates) = (lasting(&host, "mary"), snapshots(&host, "mary"));

    let run = host
        .setup(&[
            "migrate",
            "mary",
            "--to",
            "taos",
            "--accept",
            "root-size",
            "--yes",
        ])
        .expect_code(0);
    assert!(run.stdout.contains("down for"), "{}", run.output());
    assert_eq!(
        states(&host),
        "default,mary,RUNNING default,taos-kept-mary,STOPPED"
    );
    assert_eq!(before, lasting(&host, "mary"), "its configuration");
    assert_eq!(dates, snapshots(&host, "mary"));
    let pool = host.query("/1.0/instances/mary")["devices"]["root"].clone();
    assert_eq!(
        (&pool["pool"], &pool["size"]),
        (&"taos".into(), &"40GiB".into())
    );
    host.incus(&["stop", "mary", "--force"]);
    assert_eq!(
        host.tree("default", "containers/taos-kept-mary"),
        host.tree("taos", "containers/mary")
    );
    for snapshot in ["taos-archive-1", "pre-framework-update-2", "s3"] {
        assert_eq!(
            host.tree(
                "default",
                &format!("containers-snapshots/taos-kept-mary/{snapshot}")
            ),
            host.tree("taos", &format!("containers-snapshots/mary/{snapshot}")),
            "{snapshot}"
        );
    }
    assert!(
        !host
            .sh("cat /var/log/taos-setup.log; ps axww")
            .contains("value 7"),
        "secrets in a log"
    );

    // What is written now goes back with it.
    host.incus(&["start", "mary"]);
    assert_eq!(works, what_works(&host));
    host.incus(&["exec", "mary", "--", "sh", "-c", "echo since >/since"]);
    host.setup(&["migrate", "--rollback", "mary", "--yes"])
        .expect_code(0);
    assert_eq!(
        host.incus(&["exec", "mary", "--", "cat", "/since"]),
        "since"
    );
    assert_eq!(before, lasting(&host, "mary"));
    assert_eq!(dates, snapshots(&host, "mary"));
    host.incus(&["stop", "mary", "--force"]);
    assert_eq!(
        host.tree("taos", "containers/taos-kept2-mary"),
        host.tree("default", "containers/mary")
    );

    host.setup(&["migrate", "--finish", "--yes"]).expect_code(3);
    host.setup(&["migrate", "--finish", "mary", "--yes"])
        .expect_code(0);
    assert_eq!(states(&host), "default,mary,STOPPED");
}

#[test]
fn a_stopped_container_of_another_project_moves_and_stays_stopped() {
    let host = Host::with_pool("dir");
    host.incus(&[
        "project",
        "create",
        "user-1000",
        "--config",
        "restricted=true",
        "--config",
        "features.networks=false",
    ]);
    host.incus(&[
        "profile",
        "device",
        "add",
        "default",
        "root",
        "disk",
        "path=/",
        "pool=default",
        "--project",
        "user-1000",
    ]);
    host.launch("stanley", &["--project", "user-1000"]);
    host.launch("naira", &[]);
    host.incus(&["stop", "stanley", "--force", "--project", "user-1000"]);
    host.incus(&["project", "set", "user-1000", "limits.containers", "2"]);
    let before = host.state_digest();
    let run = host.setup(&["migrate", "user-1000/stanley", "--yes"]);
    let run = run.expect_code(1);
    assert!(
        run.stderr.contains("maximum number of instances"),
        "{}",
        run.output()
    );
    crate::support::assert_same(&before, &host.state_digest().without(&["pool taos"]));
    host.incus(&["project", "unset", "user-1000", "limits.containers"]);
    let naira = host.state_digest();

    host.setup(&["migrate", "user-1000/stanley", "--yes"])
        .expect_code(0);
    assert_eq!(
        states(&host),
        "default,naira,RUNNING user-1000,stanley,STOPPED user-1000,taos-kept-stanley,STOPPED"
    );
    host.incus(&["start", "stanley", "--project", "user-1000"]);
    let changes = naira.changes(&host.state_digest());
    assert!(
        changes
            .iter()
            .all(|line| !line.contains("project user-1000")),
        "{changes:?}"
    );
    assert!(
        changes.iter().all(|line| !line.contains("naira")),
        "{changes:?}"
    );
}

#[test]
fn what_is_not_meant_for_sure_refuses_the_whole_call() {
    let host = Host::with_pool("dir");
    host.incus(&[
        "project",
        "create",
        "p",
        "--config",
        "features.profiles=false",
        "--config",
        "features.images=false",
    ]);
    for name in ["mary", "naira"] {
        host.launch(name, &[]);
    }
    host.launch("eph", &["--ephemeral"]);
    host.incus(&["launch", "tiny", "mary", "--project", "p"]);
    let before = host.state_digest();
    for (arguments, says) in [
        (&["migrate", "--yes"][..], "which containers?"),
        (
            &["migrate", "naira", "nobody", "--yes"],
            "there is no instance nobody",
        ),
        (&["migrate", "naira", "naira", "--yes"], "named twice"),
        (
            &["migrate", "naira", "default/naira", "--yes"],
            "named twice",
        ),
        (&["migrate", "mary", "--yes"], "could be any of"),
        (&["migrate", "naira", "eph", "--yes"], "eph is ephemeral"),
        (
            &["migrate", "naira", "--to", "default", "--yes"],
            "on pool default already",
        ),
        (&["migrate", "naira"], "no terminal"),
        (
            &["migrate", "--rollback", "naira", "--yes"],
            "no original of naira",
        ),
        (
            &["migrate", "--finish", "naira", "--yes"],
            "no original of naira",
        ),
        (&["--yes"], ""),
    ] {
        let run = host.setup(arguments);
        let code = if says.is_empty() { 0 } else { 3 };
        let run = run.expect_code(code);
        assert!(run.stderr.contains(says), "{arguments:?}: {}", run.output());
    }
    crate::support::assert_same(&before, &host.state_digest());
    let run = host
        .run(&Setup::new(&["migrate", "--all", "--yes"]))
        .expect_code(0);
    assert!(
        run.stdout.contains("eph stays where it is"),
        "{}",
        run.output()
    );
    assert_eq!(
        states(&host),
        "default,eph,RUNNING default,mary,RUNNING default,naira,RUNNING default,taos-kept-mary,STOPPED \
         default,taos-kept-naira,STOPPED p,mary,RUNNING p,taos-kept-mary,STOPPED"
    );
}
