//! What `taos-setup` finds on a host, and what it makes of it: each row of that table on a real daemon.
//!
//! Every test looks at the end state and not only at words: what the daemon has now, that nothing else of it changed, where
//! a new container really lies, and that a second run has nothing left to do.

use std::time::{Duration, Instant};

use crate::support::{assert_same, Digest, Host, Rule, Run, Setup};
use serde_json::Value;

// What the tests have in common.

/// The whole of what was said holds this.
#[track_caller]
fn says(run: &Run, words: &[&str]) {
    for text in words {
        let said = run.output();
        assert!(said.contains(text), "nothing says {text:?}:\n{said}");
    }
}

#[track_caller]
fn says_not(run: &Run, text: &str) {
    assert!(!run.output().contains(text), "{}", run.output());
}

/// Between two moments only lines that begin with one of these are different.
#[track_caller]
fn assert_changed_only(before: &Digest, after: &Digest, beginnings: &[&str]) {
    let others: Vec<String> = before
        .changes(after)
        .into_iter()
        .filter(|line| !beginnings.iter().any(|text| line[2..].starts_with(text)))
        .collect();
    assert!(others.is_empty(), "changed as well: {others:#?}");
}

/// A further run has nothing to do, soon knows it, and does nothing.
#[track_caller]
fn assert_settled(host: &Host, args: &[&str]) {
    let before = host.state_digest();
    let run = host.setup(args).expect_code(0);
    says(&run, &["Nothing to do"]);
    assert!(run.incus_calls.len() <= 6, "{:#?}", run.incus_calls);
    assert_same(&before, &host.state_digest());
}

/// A refusal that touched nothing; returns what was said.
#[track_caller]
fn assert_refused(host: &Host, setup: &Setup) -> Run {
    let before = host.state_digest();
    let run = host.run(setup).expect_code(3);
    assert_same(&before, &host.state_digest());
    assert_eq!(host.sh("find /var/lib/taos-setup -name '*.jsonl'"), "");
    run
}

fn pool_of(host: &Host, project: &str, instance: &str) -> String {
    let answer = host.query(&format!("/1.0/instances/{instance}?project={project}"));
    let devices = answer["expanded_devices"].as_object().expect("devices");
    let root = devices.values().find(|device| device["path"] == "/");
    text(&root.expect("a root disk")["pool"])
}

fn text(value: &Value) -> String {
    value.as_str().expect("a text").to_owned()
}

/// A container launched now is on this pool, and a btrfs snapshot of its image there.
#[track_caller]
fn assert_launches_clone_on(host: &Host, pool: &str) {
    host.launch("new", &[]);
    assert_eq!(pool_of(host, "default", "new"), pool);
    let uuid = |field: &str, path: &str| {
        host.sh(&format!(
            "btrfs subvolume show /var/lib/incus/storage-pools/{pool}/{path} | sed -n 's/^[[:space:]]*{field}:[[:space:]]*//p'"
        ))
    };
    assert_eq!(
        uuid("Parent UUID", "containers/new"),
        uuid("UUID", "images/*")
    );
    host.incus(&["exec", "new", "--", "touch", "/root/written"]);
    host.incus(&["delete", "--force", "new"]);
}

#[track_caller]
fn assert_launches_copy_on(host: &Host, pool: &str) {
    host.launch("new", &[]);
    assert_eq!(pool_of(host, "default", "new"), pool);
    host.incus(&["delete", "--force", "new"]);
}

fn pool_config(host: &Host, pool: &str, key: &str) -> String {
    text(&host.query(&format!("/1.0/storage-pools/{pool}"))["config"][key])
}

/// What the free space of a file system allows a pool's file, by the formula of `docs/size.md`.
fn fitting_gib(host: &Host, path: &str) -> u64 {
    let free: u64 = host
        .sh(&format!("df --output=avail -B1 {path} | tail -n 1"))
        .trim()
        .parse()
        .expect("a number of bytes");
    let reserve = (free / 10).max(2 << 30);
    free.saturating_sub(reserve) >> 30
}

/// Neither btrfs's tools nor anything that could install them.
fn hide_btrfs_tools(host: &Host) {
    host.sh("for name in btrfs mkfs.btrfs apt-get dnf pacman zypper apk; do rm -f /usr/bin/$name /usr/sbin/$name; done");
}

/// Loop devices can be used no more. The machine's own are not touched.
fn hide_loop_control(host: &Host) {
    host.sh("mount --bind /dev/loop-control /dev/loop-control
         mount -o remount,bind,nodev /dev/loop-control");
}

/// Loop pools and folders that Incus could have, beside its database.
const FILES: &str =
    "find /var/lib/incus/disks /var/lib/incus/storage-pools -maxdepth 1 -mindepth 1";

// Incus not installed; installed, but not answering.

#[test]
fn incus_is_installed_and_started() {
    let host = Host::builder()
        .without(&["incus", "btrfs-progs", "dnsmasq"])
        .online()
        .start();
    // As on a machine that nobody has prepared: the backports are not among the sources.
    host.sh("grep -lr backports /etc/apt/sources.list* | xargs -r rm");
    let packages = "dpkg-query -W; find /etc/apt | sort";
    let before = host.sh(packages);
    let run = host.setup(&["--dry-run"]).expect_code(0);
    says(
        &run,
        &[
            "not installed",
            "apt-get",
            "incus-base",
            "btrfs-progs",
            "bookworm-backports",
            "start the Incus daemon's program itself, as there is no systemd",
            "incus --force-local storage create default btrfs",
        ],
    );
    assert_eq!(host.sh(packages), before);

    let run = host.setup(&["--yes"]).expect_code(0);
    says(&run, &["install incus-client", "clone"]);
    assert_launches_clone_on(&host, "default");
    assert_settled(&host, &["--yes"]);
}

#[test]
fn a_daemon_that_never_ran_is_started() {
    let host = Host::start();
    let run = host.setup(&["--yes"]).expect_code(0);
    says(&run, &["not running", "as there is no systemd"]);
    assert_launches_clone_on(&host, "default");
    assert_settled(&host, &["--yes"]);
}

#[test]
fn a_stopped_daemon_is_started_before_anything_is_planned() {
    let host = Host::with_pool("dir");
    host.launch("mary", &[]);
    let before = host.state_digest();
    host.kill_daemon();
    let run = host.setup(&["--yes"]).expect_code(0);
    says(
        &run,
        &["not running", "plan the rest", "1 instance is on it"],
    );
    // The container ran on, and its pool is known now.
    assert_same(&before, &host.state_digest());
    assert_settled(&host, &["--yes"]);
}

#[test]
fn a_daemon_that_hangs_is_given_up() {
    let host = Host::with_pool("dir");
    let daemon = host.daemon_pid().expect("a daemon");
    let before = host.state_digest();
    host.sh(&format!("kill -STOP {daemon}"));
    let run = host.setup(&["--yes", "--timeout", "2"]).expect_code(3);
    says(&run, &["no answer within 2 s", "nothing was changed"]);
    assert!(run.elapsed < Duration::from_secs(10), "{:?}", run.elapsed);
    host.sh(&format!("kill -CONT {daemon}"));
    assert_same(&before, &host.state_digest());
}

#[test]
fn a_daemon_that_never_gets_ready_is_given_up() {
    let host = Host::start();
    let setup = Setup::new(&["--yes", "--timeout", "1"]).rule(Rule::on("").of("incusd").hang());
    let run = host.run(&setup).expect_code(1);
    says(&run, &["see why in /var/log/incus/incusd.log"]);
    assert!(run.elapsed < Duration::from_secs(20), "{:?}", run.elapsed);
}

// Uninitialised.

#[test]
fn an_uninitialised_incus_gets_pool_bridge_and_profile() {
    let host = Host::with_daemon();
    let before = host.state_digest();
    let dry = host.setup(&["--dry-run"]).expect_code(0);
    assert_same(&before, &host.state_digest());
    assert_eq!(host.sh("ls -A /var/lib/taos-setup"), "");

    let run = host.setup(&["--yes"]).expect_code(0);
    let after = host.state_digest();
    let created = [
        "pool default",
        "network default/incusbr0",
        "profile default/default device",
    ];
    assert_changed_only(&before, &after, &created);
    assert_eq!(after.get("pool default driver"), Some("\"btrfs\""));
    let root = after
        .get("profile default/default device root")
        .expect("a root disk");
    assert_eq!(root, r#"{"path":"/","pool":"default","type":"disk"}"#);
    let nic = after
        .get("profile default/default device eth0")
        .expect("a card");
    assert_eq!(nic, r#"{"name":"eth0","network":"incusbr0","type":"nic"}"#);
    assert_eq!(host.loops()[0].file, "/var/lib/incus/disks/default.img");
    // The dry run had shown every command that was run and was no question.
    for call in run.incus_calls.iter().filter(|call| call[0] != "query") {
        says(&dry, &[&format!("incus {}", call.join(" "))]);
    }
    assert_launches_clone_on(&host, "default");
    assert_settled(&host, &["--yes"]);
}

#[test]
fn a_bridge_gets_a_subnet_where_incus_finds_none() {
    let host = Host::with_daemon();
    host.occupy_subnets();
    host.setup(&["--yes"]).expect_code(0);
    let network = host.query("/1.0/networks/incusbr0");
    let address = text(&network["config"]["ipv4.address"]);
    assert!(
        ["172.", "192.168."]
            .iter()
            .any(|free| address.starts_with(free)),
        "the bridge got {address}"
    );
    assert_launches_clone_on(&host, "default");
    assert_settled(&host, &["--yes"]);
}

#[test]
fn without_networks_only_the_pool_is_made() {
    let host = Host::with_daemon();
    let before = host.state_digest();
    host.setup(&["--yes", "--no-network"]).expect_code(0);
    let created = ["pool default", "profile default/default device root"];
    assert_changed_only(&before, &host.state_digest(), &created);
    assert_settled(&host, &["--yes", "--no-network"]);
}

// Half-configured.

#[test]
fn a_pool_without_a_root_in_the_profile_is_used() {
    let host = Host::with_daemon();
    host.incus(&["storage", "create", "data", "btrfs", "size=1GiB"]);
    host.incus(&["network", "create", "lan", "ipv6.address=none"]);
    let before = host.state_digest();
    host.setup(&["--yes"]).expect_code(0);
    let after = host.state_digest();
    // The bridge that was there is used, and none is made.
    assert_changed_only(&before, &after, &["profile default/default device"]);
    let nic = after
        .get("profile default/default device eth0")
        .expect("a card");
    assert!(nic.contains(r#""network":"lan""#), "{nic}");
    assert_launches_clone_on(&host, "data");
    assert_settled(&host, &["--yes"]);
}

#[test]
fn a_profile_without_a_card_gets_one() {
    let host = Host::with_pool("btrfs");
    let before = host.state_digest();
    host.setup(&["--yes"]).expect_code(0);
    let created = [
        "network default/incusbr0",
        "profile default/default device eth0",
    ];
    assert_changed_only(&before, &host.state_digest(), &created);
    assert_launches_clone_on(&host, "default");
    assert_settled(&host, &["--yes"]);
}

#[test]
fn no_card_is_plugged_into_instances_that_are_there() {
    let host = Host::with_pool("btrfs");
    host.launch("mary", &[]);
    let before = host.state_digest();
    let run = host.setup(&["--yes"]).expect_code(0);
    says(&run, &["no network card", "plug it into mary"]);
    assert_same(&before, &host.state_digest());
}

#[test]
fn a_profile_that_names_a_missing_pool_is_mended() {
    let host = Host::with_pool("btrfs");
    // Incus lets nobody do this; a database that was restored may have it.
    sql(
        &host,
        "UPDATE profiles_devices_config SET value = 'gone' WHERE key = 'pool'",
    );
    let before = host.state_digest();
    host.setup(&["--yes", "--no-network"]).expect_code(0);
    assert_changed_only(
        &before,
        &host.state_digest(),
        &["profile default/default device root"],
    );
    assert_launches_clone_on(&host, "default");
    assert_settled(&host, &["--yes", "--no-network"]);
}

#[test]
fn a_preseed_that_failed_half_way_is_completed() {
    let host = Host::with_daemon();
    host.sh("if incus admin init --preseed <<'END'
storage_pools:
- {name: default, driver: btrfs, config: {size: 1GiB}}
profiles:
- name: default
  devices:
    root: {type: disk, path: /, pool: default}
    eth0: {type: nic, network: not-there}
END
then exit 1; fi");
    let before = host.state_digest();
    assert_eq!(before.get("pool default driver"), Some("\"btrfs\""));
    host.setup(&["--yes"]).expect_code(0);
    let missing = ["network default/incusbr0", "profile default/default device"];
    assert_changed_only(&before, &host.state_digest(), &missing);
    assert_launches_clone_on(&host, "default");
    assert_settled(&host, &["--yes"]);
}

fn sql(host: &Host, query: &str) {
    host.incus(&["admin", "sql", "global", query]);
}

// On btrfs already.

#[test]
fn on_btrfs_the_pool_is_a_subvolume_and_no_file() {
    let host = Host::builder().incus_fs("btrfs", "8G").daemon().start();
    host.setup(&["--yes"]).expect_code(0);
    assert_eq!(host.sh(FILES), "/var/lib/incus/storage-pools/default");
    assert_eq!(
        pool_config(&host, "default", "source"),
        "/var/lib/incus/storage-pools/default"
    );
    // 256 is the inode of every subvolume's root.
    assert_eq!(
        host.sh("stat -c %i /var/lib/incus/storage-pools/default"),
        "256"
    );
    assert_launches_clone_on(&host, "default");
    assert_settled(&host, &["--yes"]);
}

#[test]
fn another_btrfs_with_more_room_is_used_if_it_is_mounted_at_boot() {
    let host = Host::builder()
        .incus_fs("ext4", "8G")
        .extra_btrfs("/mnt/big", "100G")
        .daemon()
        .start();
    // A stick that happens to be plugged in is not used.
    let run = host.setup(&["--dry-run"]).expect_code(0);
    says(&run, &["loop file /var/lib/incus/disks/default.img"]);
    says_not(&run, "/mnt/big");

    host.sh("echo 'LABEL=big /mnt/big btrfs defaults 0 0' >>/etc/fstab");
    host.setup(&["--yes"]).expect_code(0);
    assert_eq!(
        pool_config(&host, "default", "source"),
        "/mnt/big/incus-default"
    );
    assert_eq!(
        host.sh("stat -c %i /mnt/big/incus-default; ls -A /var/lib/incus/disks"),
        "256"
    );
    assert_launches_clone_on(&host, "default");
    assert_settled(&host, &["--yes"]);
}

#[test]
fn another_btrfs_with_little_more_room_is_left_alone() {
    let host = Host::builder()
        .incus_fs("ext4", "8G")
        .extra_btrfs("/mnt/small", "12G")
        .daemon()
        .start();
    host.sh("echo 'LABEL=small /mnt/small btrfs defaults 0 0' >>/etc/fstab");
    host.setup(&["--yes"]).expect_code(0);
    assert_eq!(
        pool_config(&host, "default", "source"),
        "/var/lib/incus/disks/default.img"
    );
    assert_eq!(host.sh("ls -A /mnt/small"), "");
}

// btrfs not usable.

#[test]
fn without_btrfs_dir_is_offered_and_works() {
    let host = Host::with_daemon();
    hide_btrfs_tools(&host);
    let run = assert_refused(&host, &Setup::new(&["--yes"]));
    says(
        &run,
        &[
            "no copy-on-write storage",
            "install btrfs-progs",
            "--driver dir",
        ],
    );

    host.setup(&["--yes", "--driver", "dir"]).expect_code(0);
    assert_launches_copy_on(&host, "default");
    let after = host.state_digest();
    assert_eq!(after.get("pool default driver"), Some("\"dir\""));
    assert_settled(&host, &["--yes", "--driver", "dir"]);
    let run = host.run(&Setup::new(&["--yes"]).env("TAOS_COW_POOL", "dir"));
    says(&run.expect_code(0), &["Nothing to do"]);
    // A pool that copies is no reason to fail where nothing better can be had.
    assert_same(&after, &host.state_digest());
}

/// Without ZFS on the machine this goes as far as the plan: its commands are played, the kernel's list is covered.
#[test]
fn without_btrfs_in_the_kernel_zfs_is_planned() {
    let host = Host::with_daemon();
    host.sh("rm -f $(command -v modprobe)
         grep -v btrfs /proc/filesystems >/tmp/filesystems
         mount --bind /tmp/filesystems /proc/filesystems");
    let run = assert_refused(&host, &Setup::new(&["--yes"]));
    says(&run, &["neither btrfs nor ZFS", "--driver dir"]);

    host.sh(
        "printf 'nodev\\tzfs\\n' >>/tmp/filesystems
         printf '#!/bin/sh\\n[ \"$1\" = list ]\\nprintf \"tank\\\\t99000000000\\\\tONLINE\\\\toff\\\\n\"\\n' >/usr/local/bin/zpool
         printf '#!/bin/sh\\n' >/usr/local/bin/zfs
         chmod 755 /usr/local/bin/zpool /usr/local/bin/zfs",
    );
    let run = host.setup(&["--dry-run"]).expect_code(0);
    says(
        &run,
        &["storage create default zfs source=tank/incus-default"],
    );
    host.sh("printf '#!/bin/sh\\n' >/usr/local/bin/zpool");
    let run = host.setup(&["--dry-run"]).expect_code(0);
    says(
        &run,
        &["storage create default zfs size=", "disks/default.img"],
    );
}

// `dir` and empty.

#[test]
fn an_empty_dir_pool_is_made_again_and_every_profile_gets_its_root_back() {
    let host = Host::with_pool("dir");
    host.incus(&["profile", "device", "set", "default", "root", "size=5GiB"]);
    host.incus(&["profile", "create", "large"]);
    add_root(
        &host,
        "default",
        "large",
        "disk0",
        &["size=20GiB", "io.bus=auto", "limits.max=30MB"],
    );
    host.incus(&["project", "create", "shop"]);
    add_root(&host, "shop", "default", "root", &["size=1GiB"]);
    host.incus(&[
        "project",
        "create",
        "plain",
        "--config",
        "features.profiles=false",
    ]);
    host.import_tiny("tiny");
    host.import_tiny_into("shop", "tiny");
    host.incus(&["init", "tiny", "scratch"]);
    host.incus(&["delete", "scratch"]);
    let before = host.state_digest();

    let run = host.setup(&["--yes"]).expect_code(0);
    says(
        &run,
        &[
            "which is empty",
            "profile default of project shop",
            "profile large",
        ],
    );
    let after = host.state_digest();
    // No word on root disks and images: each of them is as it was. Project `plain` shares the profile that got a card.
    let changed = [
        "pool default",
        "network default/incusbr0",
        "profile default/default device eth0",
        "profile plain/default device eth0",
    ];
    assert_changed_only(&before, &after, &changed);
    assert_eq!(after.get("pool default driver"), Some("\"btrfs\""));
    let root = after
        .get("profile default/large device disk0")
        .expect("a root disk");
    assert!(root.contains(r#""limits.max":"30MB""#) && root.contains(r#""size":"20GiB""#));
    assert_launches_clone_on(&host, "default");
    host.launch("naira", &["--project", "shop"]);
    assert_eq!(pool_of(&host, "shop", "naira"), "default");
    assert_settled(&host, &["--yes"]);
}

fn add_root(host: &Host, project: &str, profile: &str, device: &str, keys: &[&str]) {
    let mut args = vec![
        "profile",
        "device",
        "add",
        profile,
        device,
        "disk",
        "path=/",
        "pool=default",
    ];
    args.extend(keys);
    args.extend(["--project", project]);
    host.incus(&args);
}

/// One after the other on one pool, which is made again once all of them are gone.
#[test]
fn whatever_is_on_a_dir_pool_keeps_it() {
    let host = Host::with_pool("dir");
    host.import_tiny("tiny");
    host.sh("incus project create shop --config features.images=false
         incus profile device add default root disk path=/ pool=default --project shop
         incus storage volume create default images
         incus storage volume create default backups");
    let volume = |key: &str, name: &str| {
        (
            format!("incus config set {key}=default/{name}"),
            format!("incus config unset {key}"),
        )
    };
    let (set_images, unset_images) = volume("storage.images_volume", "images");
    let (set_backups, unset_backups) = volume("storage.backups_volume", "backups");
    let remove_images = format!("{unset_images}; incus storage volume delete default images");
    let remove_backups = format!("{unset_backups}; incus storage volume delete default backups");
    let stray = "/var/lib/incus/storage-pools/default/custom/somebodys-data";
    let make_stray = format!("echo precious >{stray}");
    let remove_stray = format!("grep -x precious {stray}; rm {stray}");
    let bucket = "INSERT INTO storage_buckets (name, storage_pool_id, node_id, description, project_id) VALUES ('bucket', 1, 1, '', 1)";
    // Incus's own command for buckets needs MinIO's server.
    let make_bucket = format!("incus admin sql global \"{bucket}\"");
    let cases = [
        (set_images.as_str(), remove_images.as_str(), "storage.images_volume=default/images"),
        (&set_backups, &remove_backups, "storage.backups_volume=default/backups"),
        (
            "incus init tiny naira --project shop",
            "incus delete naira --project shop",
            "1 instance is on it",
        ),
        (
            "incus storage volume create default data --project shop",
            "incus storage volume delete default data --project shop",
            "custom volume shop/data",
        ),
        (
            &make_bucket,
            "incus admin sql global 'DELETE FROM storage_buckets'",
            "bucket bucket",
        ),
        (&make_stray, &remove_stray, stray),
        (
            "incus profile create other; incus profile device add other data disk path=/data pool=default source=x",
            "incus profile delete other",
            "profile other",
        ),
    ];
    for (make, remove, named) in cases {
        host.sh(make);
        let before = host.state_digest();
        let run = host.setup(&["--yes", "--no-network"]).expect_code(0);
        says(&run, &["left as it is", "--beside", "Nothing to do"]);
        says(&run, &[named]);
        assert!(run.incus_calls.len() <= 6, "{:#?}", run.incus_calls);
        assert_same(&before, &host.state_digest());
        host.sh(remove);
    }
    host.setup(&["--yes", "--no-network"]).expect_code(0);
    assert_launches_clone_on(&host, "default");
}

// `dir`, with instances or volumes.

/// `mary` in project default, `naira` in a project that shares the profiles of default, and `rex` with a root of its own.
fn host_with_instances() -> Host {
    let host = Host::with_pool("dir");
    host.launch("mary", &[]);
    host.sh(
        "incus project create shop --config features.profiles=false --config features.images=false",
    );
    host.launch("naira", &["--project", "shop"]);
    host.launch("rex", &["--storage", "default"]);
    host
}

#[test]
fn yes_leaves_a_dir_pool_with_instances_alone() {
    let host = host_with_instances();
    let before = host.state_digest();
    let run = host.setup(&["--yes"]).expect_code(0);
    says(
        &run,
        &[
            "copies at each launch; left as it is, because 3 instances are on it",
            "taos-setup --beside --pin mary,shop/naira",
        ],
    );
    assert_same(&before, &host.state_digest());
    assert_settled(&host, &["--yes"]);
}

#[test]
fn a_pool_beside_needs_consent_for_each_instance_that_is_pinned() {
    let host = host_with_instances();
    let run = assert_refused(&host, &Setup::new(&["--beside", "--yes"]));
    says(
        &run,
        &["configuration of mary, shop/naira", "--pin mary,shop/naira"],
    );
    let run = assert_refused(&host, &Setup::new(&["--beside", "--yes", "--pin", "mary"]));
    says(
        &run,
        &["configuration of shop/naira,", "--pin mary,shop/naira"],
    );
    let run = assert_refused(
        &host,
        &Setup::new(&["--beside", "--yes", "--pin", "nobody"]),
    );
    says(&run, &["--pin nobody: there is no instance of that name"]);
}

#[test]
fn a_pool_beside_takes_new_launches_and_leaves_instances_running() {
    let host = host_with_instances();
    let before = host.state_digest();
    let args = [
        "--beside",
        "--yes",
        "--pin",
        "mary,shop/naira",
        "--no-network",
    ];
    host.setup(&args).expect_code(0);
    let after = host.state_digest();
    let changed = [
        "pool taos",
        "profile default/default device root",
        // The same profile, as the project that shares it sees it.
        "profile shop/default device root",
        "instance default/mary device root",
        "instance shop/naira device root",
    ];
    // The same processes run on, so nothing was restarted.
    assert_changed_only(&before, &after, &changed);
    let root = after
        .get("instance default/mary device root")
        .expect("a root of its own");
    assert_eq!(root, r#"{"path":"/","pool":"default","type":"disk"}"#);
    assert_launches_clone_on(&host, "taos");
    host.sh("incus restart --force mary; incus restart --force naira --project shop");
    assert_eq!(pool_of(&host, "default", "mary"), "default");
    assert_eq!(host.incus(&["exec", "mary", "--", "hostname"]), "mary");
    assert_settled(&host, &args);
    assert_settled(&host, &["--yes", "--no-network"]);
}

#[test]
fn a_pool_beside_volumes_needs_no_consent() {
    let host = Host::with_pool("dir");
    host.incus(&["storage", "volume", "create", "default", "data"]);
    let before = host.state_digest();
    let run = host.setup(&["--yes", "--no-network"]).expect_code(0);
    says(&run, &["left as it is", "custom volume data"]);
    assert_same(&before, &host.state_digest());

    host.setup(&["--beside", "--yes", "--no-network"])
        .expect_code(0);
    let changed = ["pool taos", "profile default/default device root"];
    assert_changed_only(&before, &host.state_digest(), &changed);
    assert_launches_clone_on(&host, "taos");
    assert_settled(&host, &["--beside", "--yes", "--no-network"]);
}

// Copy-on-write already.

#[test]
fn a_finished_host_is_left_alone() {
    let host = Host::with_pool("btrfs");
    host.sh("incus network create incusbr0 ipv6.address=none
         incus profile device add default eth0 nic network=incusbr0");
    host.launch("mary", &[]);
    assert_settled(&host, &["--yes"]);
    assert_settled(&host, &[]);
    assert_launches_clone_on(&host, "default");
}

/// Without LVM on the machine the daemon is made to believe in it: its tool is played, and the pool's row says so.
#[test]
fn a_thin_lvm_pool_is_left_alone_and_a_thick_one_copies() {
    let host = Host::with_pool("dir");
    host.sh(
        "printf '#!/bin/sh\\necho \"  LVM version: 2.03.16(2) (2022-05-18)\"\\necho \"  Library version: 1.02.185 (2022-05-18)\"\\necho \"  Driver version: 4.48.0\"\\n' >/usr/local/bin/lvm
         chmod 755 /usr/local/bin/lvm",
    );
    sql(&host, "UPDATE storage_pools SET driver = 'lvm'");
    assert_settled(&host, &["--yes", "--no-network"]);
    let run = host.setup(&["--yes", "--no-network"]);
    says(&run, &["launches are clones on pool default"]);
    sql(&host, "INSERT INTO storage_pools_config (storage_pool_id, node_id, key, value) VALUES (1, 1, 'lvm.use_thinpool', 'false')");
    let run = host.setup(&["--yes", "--no-network"]).expect_code(0);
    says_not(&run, "launches are clones");
    says(&run, &["copies at each launch; left as it is"]);
}

// Other people's projects.

#[test]
fn profiles_of_restricted_users_follow_a_pool_by_name() {
    let host = Host::with_pool("dir");
    host.start_incus_user();
    // The first call of a member of the group makes the project; incus-user does it, not we.
    let uid = host.sh("getent group incus >/dev/null || groupadd incus
         useradd --no-create-home --groups incus agent >/dev/null
         setpriv --reuid=agent --regid=agent --init-groups env HOME=/tmp incus list >/dev/null 2>&1
         id -u agent");
    let project = format!("user-{uid}");
    let before = host.state_digest();
    let line = format!("profile {project}/default device root");
    assert!(before
        .get(&line)
        .expect("a root disk")
        .contains(r#""pool":"default""#));

    let run = host
        .setup(&["--pool", "taos", "--yes", "--no-network"])
        .expect_code(0);
    says(
        &run,
        &[&format!(
            "profile default of project {project} to pool taos"
        )],
    );
    let changed = ["pool taos", "profile default/default device root", &line];
    assert_changed_only(&before, &host.state_digest(), &changed);
    assert_launches_clone_on(&host, "taos");
    host.launch("mine", &["--project", &project]);
    assert_eq!(pool_of(&host, &project, "mine"), "taos");
    assert_settled(&host, &["--pool", "taos", "--yes", "--no-network"]);
}

#[test]
fn instances_of_restricted_users_are_pinned_by_consent_only() {
    let host = Host::with_pool("dir");
    host.sh(
        "incus project create user-1000 --config features.images=false
         incus profile device add default root disk path=/ pool=default --project user-1000",
    );
    host.launch("mine", &["--project", "user-1000"]);
    let before = host.state_digest();
    let args = ["--pool", "taos", "--yes", "--no-network"];
    let run = assert_refused(&host, &Setup::new(&args));
    says(&run, &["user-1000/mine", "--pin user-1000/mine"]);

    let args = [&args[..], &["--pin", "user-1000/mine"]].concat();
    host.setup(&args).expect_code(0);
    let changed = [
        "pool taos",
        "profile default/default device root",
        "profile user-1000/default device root",
        "instance user-1000/mine device root",
    ];
    assert_changed_only(&before, &host.state_digest(), &changed);
    assert_settled(&host, &args);
}

#[test]
fn an_empty_pool_of_a_restricted_user_comes_back_with_its_profile() {
    let host = Host::with_pool("dir");
    host.sh("incus project create user-1000
         incus profile device add default root disk path=/ pool=default --project user-1000");
    let before = host.state_digest();
    let run = host.setup(&["--yes", "--no-network"]).expect_code(0);
    says(&run, &["profile default of project user-1000"]);
    assert_changed_only(&before, &host.state_digest(), &["pool default"]);
    assert_launches_clone_on(&host, "default");
}

// What Incus does not know.

#[test]
fn a_left_over_loop_file_is_never_touched() {
    let host = Host::with_daemon();
    host.sh("mkdir -p /var/lib/incus/disks
         truncate -s 300M /var/lib/incus/disks/default.img
         mkfs.btrfs -q /var/lib/incus/disks/default.img");
    let sum = "sha256sum /var/lib/incus/disks/default.img; stat -c '%i %Y %b' /var/lib/incus/disks/default.img";
    let before = host.sh(sum);
    let run = assert_refused(&host, &Setup::new(&["--yes"]));
    says(
        &run,
        &[
            "/var/lib/incus/disks/default.img is a file of 300 MiB",
            "incus admin recover",
            "mv /var/lib/incus/disks/default.img",
            "remove it",
        ],
    );
    assert_eq!(host.sh(sum), before);
    // Under another name there is nothing in the way.
    host.setup(&["--yes", "--pool", "taos"]).expect_code(0);
    assert_launches_clone_on(&host, "taos");
    assert_eq!(host.sh(sum), before);
}

#[test]
fn a_left_over_pool_folder_is_never_touched() {
    for (kind, size) in [("ext4", "8G"), ("btrfs", "8G")] {
        let host = Host::builder().incus_fs(kind, size).daemon().start();
        let folder = "/var/lib/incus/storage-pools/default";
        host.sh(&format!(
            "mkdir -p {folder}/containers; echo precious >{folder}/containers/mary"
        ));
        let run = assert_refused(&host, &Setup::new(&["--yes"]));
        says(
            &run,
            &[
                &format!("{folder} is a folder with containers/mary"),
                "incus admin recover",
            ],
        );
        assert_eq!(
            host.sh(&format!("cat {folder}/containers/mary; {FILES}")),
            format!("precious\n{folder}")
        );
    }
}

#[test]
fn a_left_over_file_keeps_an_empty_dir_pool_too() {
    let host = Host::with_pool("dir");
    host.sh("mkdir -p /var/lib/incus/disks; echo precious >/var/lib/incus/disks/default.img");
    let run = assert_refused(&host, &Setup::new(&["--yes"]));
    says(&run, &["/var/lib/incus/disks/default.img is a file"]);
    assert_eq!(host.sh("cat /var/lib/incus/disks/default.img"), "precious");
}

// Pools in a bad state.

#[test]
fn an_unavailable_pool_is_refused_with_incuss_reason() {
    let host = Host::with_pool("btrfs");
    host.kill_daemon();
    // Its file is there, but nothing is in it any more.
    host.sh("umount /var/lib/incus/storage-pools/default
         truncate -s 0 /var/lib/incus/disks/default.img
         truncate -s 2G /var/lib/incus/disks/default.img");
    host.start_daemon();
    assert_eq!(
        host.query("/1.0/storage-pools/default")["status"],
        "Unavailable"
    );
    let run = assert_refused(&host, &Setup::new(&["--yes"]));
    says(
        &run,
        &[
            "storage pool default is Unavailable: Failed to mount",
            "restart Incus",
        ],
    );
    let run = assert_refused(&host, &Setup::new(&["--yes", "--pool", "default"]));
    says(&run, &["default is Unavailable"]);
}

/// A creation that was broken off leaves such a state; the database is set to it, so that it comes for sure.
#[test]
fn pending_and_errored_pools_are_refused() {
    let host = Host::with_pool("dir");
    for (state, name) in [(0, "Pending"), (2, "Errored")] {
        sql(
            &host,
            &format!("UPDATE storage_pools_nodes SET state = {state}"),
        );
        let run = assert_refused(&host, &Setup::new(&["--yes"]));
        says(
            &run,
            &[
                &format!("storage pool default is {name}"),
                "incus storage delete default",
            ],
        );
    }
}

#[test]
fn a_broken_pool_that_launches_do_not_use_is_only_mentioned() {
    let host = Host::with_pool("btrfs");
    host.incus(&["storage", "create", "old", "dir"]);
    sql(
        &host,
        "UPDATE storage_pools_nodes SET state = 2 WHERE storage_pool_id = 2",
    );
    let run = host.setup(&["--yes", "--no-network"]).expect_code(0);
    says(&run, &["pool old is Errored"]);
    assert_settled(&host, &["--yes", "--no-network"]);
}

// Other kinds of servers and clients.

#[test]
fn the_clients_settings_are_not_asked() {
    let host = Host::with_pool("dir");
    host.sh("incus project create other
         mkdir -p /root/.config/incus
         cat >/root/.config/incus/config.yml <<'END'
default-remote: elsewhere
remotes:
  elsewhere: {addr: 'https://127.0.0.1:1', protocol: incus}
  local: {addr: 'unix://', project: other}
END
         cp -r /root/.config/incus /tmp/conf");
    assert!(
        host.try_incus(&["list"]).is_err(),
        "the client goes elsewhere"
    );
    let before = host.sh("find /root/.config -type f -exec sha256sum {} +");
    let other = host.query("local:/1.0/profiles/default?project=other");
    let setup = Setup::new(&["--yes"])
        .env("INCUS_REMOTE", "elsewhere")
        .env("INCUS_PROJECT", "other")
        .env("INCUS_SOCKET", "/nowhere/unix.socket")
        .env("INCUS_CONF", "/tmp/conf");
    host.run(&setup).expect_code(0);
    assert_eq!(
        host.sh("find /root/.config -type f -exec sha256sum {} +"),
        before
    );
    assert_eq!(
        host.query("local:/1.0/profiles/default?project=other"),
        other
    );
    host.sh("rm -r /root/.config/incus");
    let after = host.state_digest();
    assert_eq!(after.get("pool default driver"), Some("\"btrfs\""));
    assert!(after.get("profile default/default device eth0").is_some());
    assert_launches_clone_on(&host, "default");
    assert_settled(&host, &["--yes"]);
}

#[test]
fn incus_dir_names_the_daemon() {
    let host = Host::with_daemon();
    let before = host.state_digest();
    host.sh("mkdir /tmp/incus");
    // It has to be started there, too.
    let setup = Setup::new(&["--yes"]).env("INCUS_DIR", "/tmp/incus");
    host.run(&setup).expect_code(0);
    assert_same(&before, &host.state_digest());
    assert_eq!(host.sh(FILES), "");
    assert_eq!(host.loops()[0].file, "/tmp/incus/disks/default.img");
    let pool = host.sh("INCUS_DIR=/tmp/incus incus query /1.0/storage-pools/default");
    assert!(pool.contains(r#""driver": "btrfs""#), "{pool}");
    let run = host.run(&setup).expect_code(0);
    says(&run, &["launches are clones on pool default"]);
    assert!(run.incus_calls.len() <= 6, "{:#?}", run.incus_calls);
}

#[test]
fn without_root_it_says_the_command_to_use() {
    let host = Host::with_daemon();
    let before = host.state_digest();
    let program = host.program();
    let program = program.to_str().expect("a plain path");
    let started = Instant::now();
    let output = host
        .command(
            "setpriv",
            &[
                "--reuid=65534",
                "--regid=65534",
                "--clear-groups",
                program,
                "--yes",
            ],
        )
        .output()
        .expect("running without root");
    let said = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(3), "{said}");
    assert!(said.contains("sudo taos-setup"), "{said}");
    assert!(started.elapsed() < Duration::from_secs(2));
    assert_same(&before, &host.state_digest());
}

// Containers and loop devices.

#[test]
fn without_loop_devices_the_alternatives_are_named() {
    let host = Host::with_daemon();
    hide_loop_control(&host);
    let run = assert_refused(&host, &Setup::new(&["--yes"]));
    says(
        &run,
        &[
            "no loop devices",
            "--source",
            "modprobe loop",
            "--driver dir",
        ],
    );
    host.setup(&["--yes", "--driver", "dir"]).expect_code(0);
    assert_launches_copy_on(&host, "default");
}

#[test]
fn a_subvolume_needs_no_loop_devices() {
    let host = Host::builder().incus_fs("btrfs", "8G").daemon().start();
    hide_loop_control(&host);
    host.setup(&["--yes"]).expect_code(0);
    assert_launches_clone_on(&host, "default");
}

#[test]
fn inside_an_unprivileged_container_loop_pools_are_refused() {
    let host = Host::with_daemon();
    let before = host.state_digest();
    let program = host.program();
    let program = program.to_str().expect("a plain path");
    let output = host
        .command("unshare", &["--user", "--map-root-user", program, "--yes"])
        .output()
        .expect("running in a user namespace");
    let said = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(3), "{said}");
    for text in [
        "unprivileged container",
        "--driver dir",
        "on the host itself",
    ] {
        assert!(said.contains(text), "nothing says {text:?}: {said}");
    }
    assert_same(&before, &host.state_digest());
}

// Size.

#[test]
fn a_pool_takes_what_fits_and_leaves_the_reserve() {
    let host = Host::builder().incus_fs("ext4", "8G").daemon().start();
    let fits = fitting_gib(&host, "/var/lib/incus");
    assert!((4..8).contains(&fits), "{fits} GiB fit");
    host.setup(&["--yes"]).expect_code(0);
    assert_eq!(pool_config(&host, "default", "size"), format!("{fits}GiB"));
    let length = host.sh("stat -c %s /var/lib/incus/disks/default.img");
    assert_eq!(length, (fits << 30).to_string());
}

#[test]
fn too_little_room_is_refused_with_the_figures() {
    let host = Host::builder().incus_fs("ext4", "6G").daemon().start();
    let run = assert_refused(&host, &Setup::new(&["--yes"]));
    says(
        &run,
        &["/var/lib/incus has 5.", "2 GiB stay in reserve", "--size"],
    );
    host.setup(&["--yes", "--size", "2GiB"]).expect_code(0);
    assert_eq!(pool_config(&host, "default", "size"), "2GiB");
    assert_launches_clone_on(&host, "default");
}

#[test]
fn a_size_that_cannot_be_kept_needs_overcommit() {
    let host = Host::builder().incus_fs("ext4", "8G").daemon().start();
    let run = assert_refused(&host, &Setup::new(&["--yes", "--size", "20GiB"]));
    says(
        &run,
        &["promises more than the host can keep", "--overcommit"],
    );
    let run = assert_refused(
        &host,
        &Setup::new(&["--yes", "--size", "20GiB", "--overcommit", "--preallocate"]),
    );
    says(&run, &["cannot be allocated"]);
    let run = host
        .setup(&["--yes", "--size", "20GiB", "--overcommit"])
        .expect_code(0);
    says(&run, &["OVERCOMMITTED"]);
    assert_eq!(pool_config(&host, "default", "size"), "20GiB");
    // What is promised already is not promised again.
    let run = assert_refused_again(&host, &["--yes", "--pool", "taos", "--size", "2GiB"]);
    says(&run, &["promises more than the host can keep"]);
}

/// As [`assert_refused`], after a run that has left its journal.
fn assert_refused_again(host: &Host, args: &[&str]) -> Run {
    let before = host.state_digest();
    let run = host.setup(args).expect_code(3);
    assert_same(&before, &host.state_digest());
    run
}

#[test]
fn preallocate_really_holds_the_space() {
    let host = Host::builder().incus_fs("ext4", "8G").daemon().start();
    host.setup(&["--yes", "--size", "1GiB", "--preallocate"])
        .expect_code(0);
    let held = || {
        let blocks = host.sh("stat -c %b /var/lib/incus/disks/default.img");
        blocks.parse::<u64>().expect("a number of blocks") * 512 >= 1 << 30
    };
    assert!(held());
    assert_launches_clone_on(&host, "default");
    // What is deleted in the pool is not given back to the host.
    host.sh("cd /var/lib/incus/storage-pools/default/custom
         dd if=/dev/zero of=filler bs=1M count=300 status=none
         sync -f filler; rm filler; sync -f .; cd /
         ! findmnt -no OPTIONS /var/lib/incus/storage-pools/default | grep discard");
    host.kill_daemon();
    host.sh("umount /var/lib/incus/storage-pools/default");
    assert!(held());
    host.start_daemon();
    assert_settled(&host, &["--yes", "--size", "1GiB", "--preallocate"]);
}
