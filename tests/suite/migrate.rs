//! Containers moved from a `dir` pool to btrfs and back: whole, with everything that makes them what they are.

use crate::support::{Host, Setup};
use serde_json::Value;

/// What a tree is, told by tools that are not under test: kinds, modes, owners, times, sizes, links, targets, bytes,
/// attributes and flags, each path's hard links as the first of their names.
fn tree(host: &Host, pool: &str, volume: &str) -> String {
    host.sh(&format!(
        r#"cd /var/lib/incus/storage-pools/{pool}/{volume}/rootfs
        export LC_ALL=C
        find . -mindepth 1 -printf '%P\0%y %m %U %G %T@ %s %n %l\0' | sed -z 's/^d\(.*\) [0-9]* [0-9]* $/d\1/' | paste -zd '|' - - | sort -z | sha256sum
        find . -type f -print0 | sort -z | xargs -0 -r sha256sum -z | sort -z | sha256sum
        find . -links +1 ! -type d -printf '%i %P\0' | sort -z | awk 'BEGIN {{ RS = ORS = "\0" }} {{ i = $1; sub(/^[0-9]+ /, ""); if (i in first) print first[i] "=" $0; else first[i] = $0 }}' | sort -z | sha256sum
        find . ! -type l -print0 | sort -z | xargs -0 -r getfattr -h -d -m - --absolute-names -- 2>/dev/null | sha256sum
        lsattr -Ra . 2>/dev/null | awk '{{ print ($1 ~ /i/), ($1 ~ /a/), $2 }}' | sort | sha256sum"#
    ))
}

/// The tree that transfers are known to lose things of.
fn make_hard_tree(host: &Host, name: &str) {
    host.sh(&format!(
        r#"cd /var/lib/incus/storage-pools/default/containers/{name}/rootfs; mkdir hard; cd hard
        mkdir -p a/b/c d/e; echo one >a/one; ln a/one a/two; ln a/one d/e/three; ln -s nowhere dangling; ln dangling a/dangling
        dd if=/dev/urandom of=big bs=1M count=32 status=none
        truncate -s 50M sparse; printf x | dd of=sparse bs=1 seek=10000000 conv=notrunc status=none
        printf y >hole; truncate -s 3M hole
        echo caps >caps; setcap cap_net_raw,cap_sys_admin+ep caps; echo s >suid; chmod 6755 suid; mkdir sticky; chmod 1777 sticky
        setfattr -n user.note -v "$(printf 'v\001w')" a/one; setfattr -n trusted.t -v 1 a/b
        chown 1000:1000 d; chown -h 4242:17 dangling; chmod 0 big
        echo fixed >fixed; echo grows >grows; mkdir frozen; echo in >frozen/in
        mkfifo fifo; mknod null c 1 3; mknod disk b 7 99
        python3 -c "import socket; socket.socket(socket.AF_UNIX).bind('socket')"
        echo nl >"$(printf 'new\nline')"; echo bad >"$(printf 'bad\377\376name')"; echo q >"it's \"so\""
        path=deep; for i in $(seq 60); do path=$path/a-rather-long-folder-name; done; mkdir -p "$path"; echo end >"$path/end"
        touch -d '1959-03-04 05:06:07.123456789' old; touch -d '2101-01-01 00:00:00.5' future
        mkdir many; cd many; seq 1 2000 | xargs -n1 sh -c 'echo "$0 some words" >f$0'; cd ..
        touch -h -d '1999-01-01' dangling; touch -d '2001-01-01' a
        chattr +i fixed frozen; chattr +a grows"#
    ));
    host.sh(&format!(
        "cd /var/lib/incus/storage-pools/default/containers/{name}/rootfs/hard
         setfacl -m u:1234:r-- a/one; setfacl -d -m g:5:rwx d"
    ));
}

/// An instance without what comes and goes with its runs, and without where it is.
fn lasting(host: &Host, name: &str) -> Value {
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

fn snapshots(host: &Host, name: &str) -> Vec<[Value; 4]> {
    let all = host.query(&format!("/1.0/instances/{name}/snapshots?recursion=1"));
    all.as_array()
        .expect("snapshots")
        .iter()
        .map(|it| ["name", "created_at", "expires_at", "profiles"].map(|key| it[key].clone()))
        .collect()
}

fn states(host: &Host) -> String {
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
fn furnished() -> Host {
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
    host.sh("mkdir -p /srv/shared; echo bound >/srv/shared/file");
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

#[test]
fn a_running_container_goes_over_whole_and_comes_back_with_what_it_wrote() {
    let host = furnished();
    make_hard_tree(&host, "mary");
    host.incus(&["snapshot", "create", "mary", "taos-archive-1"]);
    host.incus(&["config", "set", "mary", "snapshots.expiry=3w"]);
    host.incus(&["snapshot", "create", "mary", "pre-framework-update-2"]);
    host.sh(
        "echo edited >/var/lib/incus/storage-pools/default/containers/mary/rootfs/etc/hostname",
    );
    host.incus(&["snapshot", "create", "mary", "s3"]);
    // Written to the moment of the stop, in place and within one second: the same size at the same time.
    host.sh("incus exec mary -- sh -c '(i=0; while :; do i=$((i+1)); printf %010d $i >/counter; done) </dev/null >/dev/null 2>&1 &'");
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
        tree(&host, "default", "containers/taos-kept-mary"),
        tree(&host, "taos", "containers/mary")
    );
    for snapshot in ["taos-archive-1", "pre-framework-update-2", "s3"] {
        assert_eq!(
            tree(
                &host,
                "default",
                &format!("containers-snapshots/taos-kept-mary/{snapshot}")
            ),
            tree(
                &host,
                "taos",
                &format!("containers-snapshots/mary/{snapshot}")
            ),
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
        tree(&host, "taos", "containers/taos-kept2-mary"),
        tree(&host, "default", "containers/mary")
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
