//! The base image in a cluster: imported once, and unpacked on every member that can launch.

use std::thread;
use std::time::{Duration, Instant};

use crate::support::{Cluster, Host};

const ALIAS: &str = "taos-openclaw-base";

/// Where the image is unpacked: asked of a member that answers.
fn unpacked_on(host: &Host) -> Vec<String> {
    let path = "/1.0/storage-pools/default/volumes/image?recursion=1";
    let volumes = host.query(path);
    let volumes = volumes.as_array().expect("volumes").iter();
    let mut members: Vec<String> = volumes
        .map(|it| it["location"].as_str().expect("a member").to_owned())
        .collect();
    members.sort();
    members
}

fn fetch(host: &Host, file: &str, extra: &[&str]) -> String {
    let mut args = vec![
        "image",
        "fetch",
        "--image-file",
        file,
        "--insecure-no-digest",
    ];
    args.extend(extra);
    let run = host.setup(&args).expect_code(0);
    run.output()
        .split_whitespace()
        .collect::<Vec<_>>()
        .join(" ")
}

#[track_caller]
fn holds(text: &str, part: &str) {
    assert!(text.contains(part), "no {part:?} in {text}");
}

#[test]
fn it_is_imported_once_and_unpacked_on_every_member_that_can_launch() {
    let cluster = Cluster::with_pool(2, "btrfs");
    let (one, two) = (&cluster[0], &cluster[1]);
    one.import_tiny("tiny");
    one.incus(&["image", "delete", "tiny"]);
    let file = one.share().join("tiny.tar.gz");
    let file = file.to_str().expect("a plain path");

    cluster.lose(1);
    let told = fetch(one, file, &[]);
    holds(&told, "not unpacked on member m2, which does not answer");
    assert_eq!(unpacked_on(one), ["m1"]);
    let status = one.setup(&["image", "status", "--json"]).json();
    assert_eq!(status["copies"], "3", "{status}");
    assert_eq!(status["members"][0]["unpacked"], true, "{status}");
    assert_eq!(status["members"][1]["why"], "does not answer", "{status}");
    let shown = one.setup(&["image", "status"]).stdout;
    holds(&shown, "m1 on pool default: unpacked");
    holds(&shown, "m2: not unpacked: does not answer");

    // It is back; whoever deploys sees to that.
    cluster.bring_back(1);
    let ensure = ["image", "ensure", "--detach", "--image-file", file];
    one.setup(&ensure).expect_code(0);
    let begun = Instant::now();
    let through = || one.setup(&["image", "status", "--json"]).json()["status"] == "done";
    while unpacked_on(one) != ["m1", "m2"] || !through() {
        assert!(begun.elapsed() < Duration::from_secs(60), "m2 stays cold");
        thread::sleep(Duration::from_millis(100));
    }
    one.setup(&["image", "verify"]).expect_code(0);
    two.setup(&["image", "verify"]).expect_code(0);
    let scratch = one.incus(&["list", "--format", "csv", "--columns", "n"]);
    assert_eq!(scratch, "");

    // An evacuated member takes no launch, and is seen to from any other once it is restored.
    two.setup(&["image", "remove", "--yes"]).expect_code(0);
    assert_eq!(unpacked_on(one), [""; 0], "Incus takes it away everywhere");
    one.incus(&["cluster", "evacuate", "m1", "--force"]);
    let told = fetch(two, file, &[]);
    holds(&told, "not unpacked on member m1, which is evacuated");
    assert_eq!(unpacked_on(one), ["m2"]);
    one.incus(&["cluster", "restore", "m1", "--force"]);
    let told = fetch(two, file, &[]);
    holds(&told, "is here already");
    assert_eq!(unpacked_on(one), ["m1", "m2"]);
    for host in cluster.members() {
        host.incus(&[
            "init",
            ALIAS,
            "demo",
            "--storage",
            "default",
            "--no-profiles",
        ]);
        host.incus(&["delete", "demo"]);
    }
}
