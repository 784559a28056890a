//! The base image on real daemons: what a deployer sees, and what is left when things go wrong.

use std::fs;
use std::net::TcpListener;
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::{Duration, Instant};

use crate::image_plan::pretend_systemd;
use crate::image_server::{Server, Trick};
use crate::support::{Host, Rule, Run, Setup};
use sha2::{Digest as _, Sha256};

pub(crate) const PATH: &str = "/r/taos-openclaw-base-linux-test.tar.gz";
const LIST: &str = "/r/SHA256SUMS";
const ALIAS: &str = "taos-openclaw-base";

/// A container image that starts, with some megabytes of noise so that nothing is over at once.
pub(crate) fn image(megabytes: usize) -> Vec<u8> {
    static TINY: OnceLock<Vec<u8>> = OnceLock::new();
    let tiny = TINY.get_or_init(|| {
        let folder = tempfile::tempdir().expect("a folder");
        let file = folder.path().join("tiny.tar.gz");
        let script = concat!(env!("CARGO_MANIFEST_DIR"), "/scripts/private-host.sh");
        let made = Command::new(script).arg("tiny-image").arg(&file).status();
        assert!(made.expect("making a tiny image").success());
        fs::read(&file).expect("the tiny image")
    });
    let mut state = 88_172_645_463_325_252_u64 + megabytes as u64;
    let noise: Vec<u8> = (0..megabytes << 17)
        .flat_map(|_| {
            state ^= state << 13;
            state ^= state >> 7;
            state ^= state << 17;
            state.to_be_bytes()
        })
        .collect();
    let mut old = tar::Archive::new(flate2::read::GzDecoder::new(tiny.as_slice()));
    let packer = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::none());
    let mut new = tar::Builder::new(packer);
    for entry in old.entries().expect("entries") {
        let mut entry = entry.expect("an entry");
        let (mut header, path) = (
            entry.header().clone(),
            entry.path().expect("a path").into_owned(),
        );
        if let Some(link) = entry.link_name().expect("a link") {
            new.append_link(&mut header, path, &link).expect("a link");
        } else {
            new.append_data(&mut header, path, &mut entry)
                .expect("an entry");
        }
    }
    let mut header = tar::Header::new_gnu();
    header.set_size(noise.len() as u64);
    header.set_mode(0o644);
    new.append_data(&mut header, "rootfs/noise", noise.as_slice())
        .expect("noise");
    new.into_inner()
        .expect("a tarball")
        .finish()
        .expect("a tarball")
}

pub(crate) fn digest(bytes: &[u8]) -> String {
    Sha256::digest(bytes)
        .iter()
        .fold(String::new(), |text, byte| format!("{text}{byte:02x}"))
}

/// Has the thread that calls what this returns use the host's network.
pub(crate) fn as_in(host: &Host) -> impl FnOnce() + Send + 'static {
    let namespace = fs::File::open(format!("/proc/{}/ns/net", host.pid())).expect("the namespace");
    move || {
        nix::sched::setns(&namespace, nix::sched::CloneFlags::CLONE_NEWNET).expect("entering it");
    }
}

/// A server that the host reaches over its own loopback.
pub(crate) fn server_in(host: &Host) -> Server {
    let inside = as_in(host);
    let bind = move || {
        inside();
        TcpListener::bind("127.0.0.1:0").expect("binding a port")
    };
    Server::on(std::thread::spawn(bind).join().expect("a listener"))
}

pub(crate) fn publish(server: &Server, file: &[u8]) {
    server.put(PATH, file);
    let name = PATH.rsplit('/').next().expect("a name");
    server.put(LIST, format!("{}  {name}\n", digest(file)));
}

fn fetch(server: &Server, more: &[&str]) -> Setup {
    let url = server.url(PATH);
    let mut args = vec!["--timeout", "20", "image", "fetch", "--image-url", &url];
    args.extend(more);
    Setup::new(&args)
}

/// The same of a file that is here, which Incus's client imports.
fn fetch_file(path: &str, digest: &str) -> Setup {
    let args = ["--timeout", "20", "image", "fetch", "--image-file", path];
    Setup::new(&[&args[..], &["--image-sha256", digest]].concat())
}

/// As the application asks.
pub(crate) fn seen(host: &Host) -> String {
    host.incus(&["image", "list", "--format=csv", "-c", "f", ALIAS])
}

fn as_taos(host: &Host, words: &str) -> String {
    host.sh(&format!(
        "runuser -u taos -- env HOME=/home/taos {words} </dev/null"
    ))
}

pub(crate) fn status(host: &Host) -> serde_json::Value {
    let text = fs::read(host.file("/var/lib/taos-setup-image/status.json")).expect("a status");
    serde_json::from_slice(&text).expect("a document")
}

/// Nothing is left but the image itself.
#[track_caller]
fn clean(host: &Host, fingerprint: Option<&str>) {
    let images = host.incus(&["image", "list", "--format=csv", "-c", "F", "--all-projects"]);
    let mut images: Vec<&str> = images.lines().collect();
    images.dedup();
    assert_eq!(
        images,
        fingerprint.into_iter().collect::<Vec<_>>(),
        "images"
    );
    let files = host.sh("ls -A /var/lib/incus/images");
    assert_eq!(files.lines().collect::<Vec<_>>(), images, "files of Incus");
    assert_eq!(
        host.sh("incus list --format=csv -c n | grep -v taos-agent || true"),
        ""
    );
    let own = host.sh("ls -A /var/lib/taos-setup/image | grep -v -x lock || true");
    assert_eq!(own, "", "files of taos-setup");
}

fn unpacked(host: &Host, fingerprint: &str) -> bool {
    host.query("/1.0/storage-pools/default")
        .to_string()
        .contains(fingerprint)
}

#[test]
fn a_deployer_sees_all_of_it_or_nothing() {
    let host = Host::with_pool("btrfs");
    host.sh(
        "groupadd -f incus; useradd --create-home --groups incus --shell /bin/sh taos
         mkdir -p /etc/systemd/system
         printf '[Service]\\nUser=taos\\n' >/etc/systemd/system/tinyagentos.service",
    );
    host.start_incus_user();
    as_taos(&host, "incus list");
    let project = format!("user-{}", host.sh("id -u taos"));
    assert!(host
        .incus(&["project", "list", "--format=csv"])
        .contains(&project));
    let (server, file) = (server_in(&host), image(4));
    publish(&server, &file);
    server.next(PATH, &[Trick::Pause(2 << 20, Duration::from_secs(3))]);
    let looks = "incus image list --format=csv -c f taos-openclaw-base";
    assert_eq!(
        (seen(&host), as_taos(&host, looks)),
        (String::new(), String::new())
    );

    std::thread::scope(|scope| {
        // Long enough to be seen.
        let setup = fetch(&server, &[]).rule(Rule::on("image import").shell("sleep 1"));
        let host = &host;
        let running = scope.spawn(move || host.run(&setup));
        let mut stages: Vec<String> = Vec::new();
        while !running.is_finished() {
            if let Ok(text) = fs::read_to_string(host.file("/var/lib/taos-setup-image/status.json"))
            {
                let status: serde_json::Value = serde_json::from_str(&text).expect("always whole");
                let stage = status["status"].as_str().expect("a state").to_owned();
                if stages.last() != Some(&stage) {
                    stages.push(stage);
                }
            }
            let short = &digest(&file)[..12];
            let now = seen(host);
            // From the moment it has the alias it is unpacked, too.
            assert!(now.is_empty() || now == short, "{now}");
            if !now.is_empty() {
                assert!(unpacked(host, &digest(&file)));
            }
        }
        running.join().expect("a run").expect_code(0);
        assert_eq!(
            stages.first().map(String::as_str),
            Some("downloading"),
            "{stages:?}"
        );
        assert!(stages.contains(&"importing".to_owned()), "{stages:?}");
    });

    let fingerprint = digest(&file);
    assert_eq!(seen(&host), fingerprint[..12]);
    assert_eq!(as_taos(&host, looks), fingerprint[..12]);
    clean(&host, Some(&fingerprint));
    let status = status(&host);
    assert_eq!(status["status"], "done");
    assert_eq!(status["fingerprint"], fingerprint);
    assert_eq!(
        host.sh("stat -c %a /var/lib/taos-setup-image/status.json"),
        "644"
    );

    host.incus(&["launch", ALIAS, "taos-agent-x"]);
    as_taos(&host, "incus launch taos-openclaw-base taos-agent-y");
    assert!(as_taos(&host, "incus list --format=csv -c ns").contains("taos-agent-y,RUNNING"));
    // What anybody may ask, and what only root may do.
    // Where it is installed; the harness's own folder need not let everybody through.
    let program = "/usr/local/bin/taos-setup";
    let ours = host.share().join("taos-setup");
    host.sh(&format!("install -m 755 {} {program}", ours.display()));
    as_taos(&host, &format!("{program} image ensure"));
    assert!(as_taos(&host, &format!("{program} image status")).contains("done"));
    let refused = as_taos(
        &host,
        &format!("sh -c '{program} image fetch 2>&1; echo code $?'"),
    );
    assert!(
        refused.contains("as root") && refused.ends_with("code 3"),
        "{refused}"
    );

    // A project that comes later gets it, without its being fetched again.
    let before = server.requests(PATH).len();
    host.incus(&["image", "delete", ALIAS, "--project", &project]);
    host.run(&fetch(&server, &[])).expect_code(0);
    assert_eq!(as_taos(&host, looks), fingerprint[..12]);
    assert_eq!(server.requests(PATH).len(), before);
}

#[test]
fn killed_at_each_command_the_next_run_completes() {
    let host = Host::with_pool("btrfs");
    let (server, file) = (server_in(&host), image(2));
    publish(&server, &file);
    let fingerprint = digest(&file);
    fs::write(host.share().join("base.tar.gz"), &file).expect("a file");
    let path = host.share().join("base.tar.gz").display().to_string();
    let calls = [
        "/wait",
        "image import",
        "init ",
        "delete --force",
        "alias create",
    ];
    let rules: Vec<(&str, Rule)> = calls
        .into_iter()
        .flat_map(|text| {
            [
                (text, Rule::on(text).kill_before()),
                (text, Rule::on(text).kill_during(30)),
                (text, Rule::on(text).kill_after()),
            ]
        })
        .collect();
    for (number, (text, rule)) in rules.into_iter().enumerate() {
        let named = text == "alias create" && number % 3 > 0;
        let setup = match text {
            "image import" => fetch_file(&path, &fingerprint),
            _ => fetch(&server, &[]),
        };
        host.run(&setup.clone().rule(rule)).expect_code(137);
        if !named {
            assert_eq!(seen(&host), "", "{text} {number}");
        }
        host.run(&setup).expect_code(0);
        assert_eq!(seen(&host), fingerprint[..12], "{text} {number}");
        assert!(unpacked(&host, &fingerprint), "{text} {number}");
        clean(&host, Some(&fingerprint));
        host.setup(&["-y", "image", "remove"]).expect_code(0);
        clean(&host, None);
    }
}

#[test]
fn killed_while_it_comes_no_byte_comes_twice() {
    let host = Host::with_pool("dir");
    let (server, file) = (server_in(&host), image(2));
    publish(&server, &file);
    let program = host.share().join("taos-setup").display().to_string();
    for at in [0, 1, 100_000, 1_500_000] {
        let before = server.sent(PATH);
        server.next(PATH, &[Trick::Stall(at)]);
        let asked = server.requests(PATH).len();
        let command = format!(
            "echo $$ >/tmp/pid; exec {program} --timeout 60 image fetch --image-url {}",
            server.url(PATH)
        );
        let mut running = host.command("sh", &["-c", &command]);
        let mut running = running
            .stderr(Stdio::null())
            .stdout(Stdio::null())
            .spawn()
            .expect("a run");
        let partial = host.file("/var/lib/taos-setup/image/base-image.partial");
        let come = || {
            let length = fs::metadata(&partial).map_or(0, |data| data.len());
            server.requests(PATH).len() > asked && length == at as u64
        };
        let begun = Instant::now();
        while !come() {
            assert!(
                begun.elapsed() < Duration::from_secs(60),
                "{at} bytes do not come"
            );
            std::thread::sleep(Duration::from_millis(20));
        }
        host.sh("kill -KILL $(cat /tmp/pid)");
        running.wait().expect("its end");
        let here = fs::metadata(host.file("/var/lib/taos-setup/image/base-image.partial"));
        assert_eq!(
            here.map_or(0, |data| data.len()),
            at as u64,
            "killed at {at}"
        );
        assert_eq!(seen(&host), "");
        let watched = host.setup(&["image", "status", "--json"]).expect_code(0);
        assert_eq!(watched.json()["status"], "failed", "{}", watched.stdout);
        host.run(&fetch(&server, &[])).expect_code(0);
        assert_eq!(server.sent(PATH) - before, file.len(), "killed at {at}");
        clean(&host, Some(&digest(&file)));
        host.setup(&["-y", "image", "remove"]).expect_code(0);
    }
}

#[test]
fn a_daemon_killed_half_way_costs_a_second_run() {
    let host = Host::with_pool("btrfs");
    let (server, file) = (server_in(&host), image(16));
    publish(&server, &file);
    let fingerprint = digest(&file);
    fs::write(host.share().join("base.tar.gz"), &file).expect("a file");
    let path = host.share().join("base.tar.gz").display().to_string();
    for text in ["image import", "init "] {
        let local = text == "image import";
        let setup = if local {
            fetch_file(&path, &fingerprint)
        } else {
            fetch(&server, &[])
        };
        for pause in ["0.02", "0.08", "0.2"] {
            let daemon = host.daemon_pid().expect("a daemon");
            let rule = Rule::on(text).shell(&format!(
                "\"$real\" \"$@\" & sleep {pause}; kill -KILL {daemon}; wait $!; exit"
            ));
            let run = host.run(&setup.clone().rule(rule));
            host.start_daemon();
            if run.code != 0 {
                run.expect_code(1);
                assert_eq!(seen(&host), "", "{text}");
            }
            host.run(&setup).expect_code(0);
            assert_eq!(seen(&host), fingerprint[..12], "{text}");
            if !local {
                assert_eq!(server.sent(PATH), file.len(), "fetched once");
            }
            clean(&host, Some(&fingerprint));
            host.incus(&["launch", ALIAS, "taos-agent-x"]);
            host.incus(&["delete", "--force", "taos-agent-x"]);
            host.setup(&["-y", "image", "remove"]).expect_code(0);
            // Each round counts its own bytes.
            server.forget(PATH);
        }
    }
}

/// What Incus has of a file that is being handed to it.
fn handed(host: &Host) -> usize {
    let sizes = host.sh("stat -c %s /var/lib/incus/images/incus_build_*/* 2>/dev/null || true");
    sizes
        .lines()
        .filter_map(|line| line.parse::<usize>().ok())
        .sum()
}

#[track_caller]
fn wait_until(what: &str, mut is_so: impl FnMut() -> bool) {
    let begun = Instant::now();
    while !is_so() {
        assert!(begun.elapsed() < Duration::from_secs(60), "not so: {what}");
        std::thread::sleep(Duration::from_millis(20));
    }
}

/// Does something once so much of the file has come and Incus has it, before the rest comes.
fn at(host: &Host, server: &Server, bytes: usize, what: impl FnOnce()) -> Run {
    let rest = Arc::new(AtomicBool::new(false));
    server.next(PATH, &[Trick::Until(bytes, Arc::clone(&rest))]);
    meanwhile(host, &fetch(server, &[]), || {
        wait_until("Incus has most of it", || handed(host) == bytes);
        what();
        rest.store(true, Ordering::SeqCst);
    })
}

/// Does something while a run goes on.
fn meanwhile(host: &Host, setup: &Setup, what: impl FnOnce()) -> Run {
    std::thread::scope(|scope| {
        let running = scope.spawn(|| host.run(setup));
        what();
        running.join().expect("a run")
    })
}

/// The same image, with a path at its very end that climbs out of it.
fn climbing(image: &[u8]) -> Vec<u8> {
    let mut plain = Vec::new();
    let mut packed = flate2::read::GzDecoder::new(image);
    std::io::Read::read_to_end(&mut packed, &mut plain).expect("a tarball");
    plain.truncate(plain.len() - 1024);
    let mut header = tar::Header::new_gnu();
    header.as_old_mut().name[..19].copy_from_slice(b"rootfs/../../passwd");
    header.set_size(0);
    header.set_mode(0o644);
    header.set_cksum();
    plain.extend_from_slice(header.as_bytes());
    plain.resize(plain.len() + 1024, 0);
    let mut packer = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::none());
    std::io::Write::write_all(&mut packer, &plain).expect("a tarball");
    packer.finish().expect("a tarball")
}

#[test]
fn what_incus_was_handed_is_nothing_before_its_end() {
    let host = Host::with_pool("dir");
    let (server, file) = (server_in(&host), image(8));
    let most = file.len() - 1000;
    let nearly = || handed(&host) == most;
    let nothing = || {
        assert_eq!(seen(&host), "");
        let images = ["image", "list", "--format=csv", "-c", "F", "--all-projects"];
        assert_eq!(host.incus(&images), "");
    };

    // Almost all of it was handed over when it is seen that a path climbs out.
    let bad = climbing(&file);
    publish(&server, &bad);
    let short = bad.len() - 300;
    let run = at(&host, &server, short, nothing).expect_code(1);
    assert!(run.stderr.contains("climbs out"), "{}", run.output());
    clean(&host, None);

    // This program is killed.
    publish(&server, &file);
    server.next(PATH, &[Trick::Stall(most)]);
    let program = host.share().join("taos-setup").display().to_string();
    let url = server.url(PATH);
    let command =
        format!("echo $$ >/tmp/pid; exec {program} --timeout 60 image fetch --image-url {url}");
    let mut running = host.command("sh", &["-c", &command]);
    let running = running.stdout(Stdio::null()).stderr(Stdio::null()).spawn();
    wait_until("Incus has most of it", nearly);
    nothing();
    host.sh("kill -KILL $(cat /tmp/pid)");
    running.expect("a run").wait().expect("its end");
    wait_until("Incus forgot it", || {
        host.sh("ls -A /var/lib/incus/images").is_empty()
    });
    nothing();
    host.run(&fetch(&server, &[])).expect_code(0);
    clean(&host, Some(&digest(&file)));
    host.setup(&["-y", "image", "remove"]).expect_code(0);

    // Incus is killed.
    server.forget(PATH);
    let run = at(&host, &server, most, || host.kill_daemon()).expect_code(1);
    assert!(
        run.stderr.contains("image fetch goes on"),
        "{}",
        run.output()
    );
    host.start_daemon();
    nothing();
    host.run(&fetch(&server, &[])).expect_code(0);
    assert_eq!(server.sent(PATH), file.len(), "fetched once");
    clean(&host, Some(&digest(&file)));
    host.setup(&["-y", "image", "remove"]).expect_code(0);

    // A connection that breaks costs Incus nothing; another version of the file is begun anew.
    let begun = || {
        host.sh("grep -c 'while it comes: begun' /var/log/taos-setup.log")
            .parse::<u32>()
    };
    let changed = [Trick::Cut(most), Trick::Change(image(2))];
    for (tricks, more, file) in [
        (&[Trick::Cut(most)][..], 1, &file),
        (&changed[..], 2, &image(2)),
    ] {
        let before = begun().expect("a number");
        let name = PATH.rsplit('/').next().expect("a name");
        server.put(LIST, format!("{}  {name}\n", digest(file)));
        server.next(PATH, tricks);
        let run = host.run(&fetch(&server, &[])).expect_code(0);
        assert_eq!(begun().expect("a number"), before + more);
        let imports = run
            .incus_calls
            .iter()
            .filter(|call| call.join(" ").contains("image import"));
        assert_eq!(imports.count(), 0, "{:?}", run.incus_calls);
        clean(&host, Some(&digest(file)));
        host.setup(&["-y", "image", "remove"]).expect_code(0);
    }
}

#[test]
fn a_refresh_swaps_in_one_step() {
    let host = Host::with_pool("btrfs");
    let (server, old, new) = (server_in(&host), image(1), image(2));
    publish(&server, &old);
    host.run(&fetch(&server, &[])).expect_code(0);
    let asked = server.requests(PATH).len();
    host.run(&fetch(&server, &["--refresh"])).expect_code(0);
    assert_eq!(
        server.requests(PATH).len(),
        asked,
        "the published one is here"
    );
    host.incus(&["launch", ALIAS, "taos-agent-x"]);

    publish(&server, &new);
    host.run(&fetch(&server, &[])).expect_code(0);
    assert_eq!(
        seen(&host),
        digest(&old)[..12],
        "nobody asked for a newer one"
    );
    // Until the very swap the old one has the name.
    host.run(&fetch(&server, &["--refresh"]).rule(Rule::on("-X PUT").kill_before()))
        .expect_code(137);
    assert_eq!(seen(&host), digest(&old)[..12]);
    host.run(&fetch(&server, &["--refresh"])).expect_code(0);
    assert_eq!(seen(&host), digest(&new)[..12]);
    // An agent was made from the old one; once it is gone, so is the image.
    let images = || host.incus(&["image", "list", "--format=csv", "-c", "F"]);
    assert!(images().contains(&digest(&old)));
    host.incus(&["delete", "--force", "taos-agent-x"]);
    host.run(&fetch(&server, &["--refresh"])).expect_code(0);
    clean(&host, Some(&digest(&new)));

    // Killed between the swap and the end, the old one still goes.
    publish(&server, &old);
    host.run(&fetch(&server, &["--refresh"]).rule(Rule::on("-X PUT").kill_after()))
        .expect_code(137);
    assert_eq!(seen(&host), digest(&old)[..12]);
    host.run(&fetch(&server, &["--refresh"])).expect_code(0);
    clean(&host, Some(&digest(&old)));
}

#[test]
fn what_is_not_proven_never_gets_a_name() {
    let host = Host::with_pool("btrfs");
    let (server, file) = (server_in(&host), image(1));
    let refused = |run: Run, code: i32, word: &str| {
        let run = run.expect_code(code);
        assert!(run.stderr.contains(word), "{}", run.output());
        clean(&host, None);
    };
    server.put(PATH, file.clone());
    refused(host.run(&fetch(&server, &[])), 3, "nothing to check");
    publish(&server, &file);
    let wrong = "0".repeat(64);
    refused(
        host.run(&fetch(&server, &["--image-sha256", &wrong])),
        1,
        "its digest is",
    );
    server.put(
        LIST,
        format!("{wrong}  taos-openclaw-base-linux-test.tar.gz\n"),
    );
    refused(host.run(&fetch(&server, &[])), 1, "its digest is");
    server.put(PATH, "<html><form>Log in</form></html>");
    refused(
        host.run(&fetch(&server, &["--insecure-no-digest"])),
        1,
        "web page",
    );

    // The service has the option from its environment.
    let insecure = fetch(&server, &[]).env("TAOS_IMAGE_INSECURE_NO_DIGEST", "1");
    server.remove(LIST);
    refused(host.run(&insecure), 1, "web page");
    let off = fetch(&server, &[]).env("TAOS_IMAGE_INSECURE_NO_DIGEST", "0");
    refused(host.run(&off), 3, "nothing to check");

    // A file of a release, with no list beside it.
    let asset = "/o/r/releases/download/t/x.tar.gz";
    let release = "/api/v3/repos/o/r/releases/tags/t";
    let url = server.url(asset);
    let of_release = |more: &[&str]| {
        let args = ["--timeout", "20", "image", "fetch", "--image-url", &url];
        host.run(&Setup::new(&[&args[..], more].concat()))
    };
    server.put(asset, file.clone());
    refused(of_release(&[]), 3, "the release that it belongs to");
    let says = |digest: &str| {
        let asset = format!("{{\"name\":\"x.tar.gz\",\"digest\":\"sha256:{digest}\"}}");
        server.put(release, format!("{{\"assets\":[{asset}]}}"));
    };
    server.put(release, "<html>");
    refused(of_release(&[]), 3, "does not describe a release");
    says(&wrong);
    refused(of_release(&[]), 1, "its digest is");
    says(&digest(&file));
    let run = of_release(&["--json"]).expect_code(0);
    let found = &run.json()["image"];
    assert_eq!(found["fingerprint"], digest(&file));
    let proof = found["proof"].as_str().expect("a proof");
    assert!(
        proof.contains(release) && proof.contains("not signed"),
        "{proof}"
    );
    host.setup(&["-y", "image", "remove"]).expect_code(0);

    publish(&server, &file);
    let keys = minisign::KeyPair::generate_unencrypted_keypair().expect("keys");
    let others = minisign::KeyPair::generate_unencrypted_keypair().expect("keys");
    let list = format!("{}  taos-openclaw-base-linux-test.tar.gz\n", digest(&file));
    let key = keys.pk.to_base64();
    let signature = |keys: &minisign::KeyPair| {
        let signed = minisign::sign(None, &keys.sk, list.as_bytes(), None, None);
        signed.expect("a signature").into_string()
    };
    let with_key = fetch(&server, &["--image-key", &key]);
    refused(host.run(&with_key), 3, "is not signed");
    server.put("/r/SHA256SUMS.minisig", signature(&others));
    refused(host.run(&with_key), 3, "checking the signature");
    server.put("/r/SHA256SUMS.minisig", signature(&keys));
    server.put(PATH, image(2));
    refused(host.run(&with_key), 1, "its digest is");
    server.put(PATH, file.clone());
    let run = host.run(&with_key).expect_code(0);
    assert!(
        run.stdout.contains("whose signature is right"),
        "{}",
        run.output()
    );
    clean(&host, Some(&digest(&file)));
}

#[test]
fn a_file_that_is_here_needs_no_network() {
    let host = Host::with_pool("btrfs");
    let file = image(1);
    fs::write(host.share().join("base.tar.gz"), &file).expect("a file");
    let path = host.share().join("base.tar.gz").display().to_string();
    let sum = digest(&file);
    let args = [
        "image",
        "fetch",
        "--image-file",
        &path,
        "--image-sha256",
        &sum,
    ];
    // As after a boot: the daemon is there, and needs longer for its first answer than a question may take.
    let daemon = host.daemon_pid().expect("a daemon");
    host.sh(&format!(
        "kill -STOP {daemon}; setsid -f sh -c 'sleep 4; kill -CONT {daemon}' >/dev/null 2>&1"
    ));
    let run = host.setup(&[&["--timeout", "2"], &args[..]].concat());
    run.expect_code(0);
    assert_eq!(seen(&host), sum[..12]);
    assert!(
        host.share().join("base.tar.gz").exists(),
        "it is not ours to remove"
    );
    host.setup(&["image", "verify"]).expect_code(0);
    host.sh("for f in /var/lib/incus/images/*; do echo x >>$f; done");
    let run = host.setup(&["image", "verify"]).expect_code(1);
    assert!(run.stderr.contains("damaged"), "{}", run.output());
}

#[test]
fn full_disks_end_in_clear_errors_and_harm_nobody() {
    let host = Host::builder().incus_fs("ext4", "700M").daemon().start();
    host.incus(&["storage", "create", "default", "btrfs", "size=300MiB"]);
    host.incus(&[
        "profile",
        "device",
        "add",
        "default",
        "root",
        "disk",
        "path=/",
        "pool=default",
    ]);
    host.launch("mary", &[]);
    let (server, file) = (server_in(&host), image(40));
    publish(&server, &file);
    let full = |run: Run, words: &str| {
        let run = run.expect_code(1);
        assert!(run.stderr.contains(words), "{}", run.output());
        assert_eq!(seen(&host), "");
        assert!(
            !host
                .incus(&["image", "list", "--format=csv", "-c", "F"])
                .contains(&digest(&file)),
            "{}",
            run.output()
        );
        assert_eq!(
            host.sh("ls -A /var/lib/taos-setup/image | grep -v -x lock || true"),
            ""
        );
        assert!(host
            .incus(&["list", "--format=csv", "-c", "ns"])
            .contains("mary,RUNNING"));
        host.sh("incus exec mary -- sh -c 'echo x >/x; sync'");
    };
    // The folder of the file.
    host.sh("mkdir -m 700 /small && mount -t tmpfs -o size=30M none /small");
    let small = fetch(&server, &[]).env("TAOS_TMPDIR", "/small");
    full(host.run(&small), "are free there");
    assert_eq!(host.sh("ls -A /small/taos-setup-image"), "");
    // Incus's folder.
    host.sh("fallocate -l 430M /var/lib/incus/ballast");
    full(host.run(&fetch(&server, &[])), "are free there");
    // It fills up behind our back while Incus copies: a pool in a sparse file is not unpacked onto.
    let fill = |at: &str, left: u32| {
        let room = "$(($(stat -f -c '%f*%S' /var/lib/incus)";
        let ballast = format!("fallocate -l {room} - {left}000000)) /var/lib/incus/ballast");
        Rule::on(at).shell(&ballast)
    };
    host.sh("rm /var/lib/incus/ballast");
    full(
        host.run(&fetch(&server, &[]).rule(fill("/wait", 150))),
        "are free there",
    );
    host.sh("rm /var/lib/incus/ballast");
    // The copy itself finds no room. (A sparse pool would not survive that ballast by itself.)
    host.sh("fallocate --keep-size -l 300M /var/lib/incus/disks/default.img");
    fs::write(host.share().join("base.tar.gz"), &file).expect("a file");
    let path = host.share().join("base.tar.gz").display().to_string();
    let setup = fetch_file(&path, &digest(&file));
    let run = host.run(&setup.rule(fill("image import", 10)));
    full(run, "putting the base image in place");
    host.sh("rm /var/lib/incus/ballast");
    // Incus finds no room for the last of it while it comes.
    let most = file.len() - (8 << 20);
    let run = at(&host, &server, most, || {
        let room = "$(($(stat -f -c '%f*%S' /var/lib/incus) - 4000000))";
        host.sh(&format!(
            "fallocate -l {room} /var/lib/incus/ballast || true"
        ));
    });
    full(run, "are free there");
    let log = host.sh("cat /var/log/taos-setup.log");
    assert!(log.contains("while it comes: given up"), "{log}");
    host.sh("rm /var/lib/incus/ballast");
    // The pool.
    let fill = "mnt=/var/lib/incus/storage-pools/default; dd if=/dev/urandom of=$mnt/ballast bs=1M 2>/dev/null || true; sync";
    host.sh(fill);
    let run = host.run(&fetch(&server, &[]));
    assert_eq!(
        (run.code, seen(&host)),
        (1, String::new()),
        "{}",
        run.output()
    );
    host.sh("rm /var/lib/incus/storage-pools/default/ballast; sync");
    // With room again it works.
    host.run(&fetch(&server, &[])).expect_code(0);
    assert_eq!(seen(&host), digest(&file)[..12]);
}

/// Runs the program with nothing in between: what it leaves in the background outlives the call.
fn plain(host: &Host, args: &[&str]) -> (i32, String) {
    let program = host.share().join("taos-setup");
    let output = host
        .command(program.to_str().expect("a plain path"), args)
        .output()
        .expect("running taos-setup");
    let both = [output.stdout, output.stderr].concat();
    (
        output.status.code().unwrap_or(-1),
        String::from_utf8_lossy(&both).into_owned(),
    )
}

#[test]
fn ensure_answers_at_once() {
    let host = Host::with_pool("btrfs");
    let (server, file) = (server_in(&host), image(1));
    publish(&server, &file);
    let url = server.url(PATH);
    let ensure = |more: &[&str]| {
        let mut args = vec!["--timeout", "20", "image", "ensure", "--image-url", &url];
        args.extend(more);
        let begun = Instant::now();
        let run = plain(&host, &args);
        assert!(
            begun.elapsed() < Duration::from_secs(5),
            "{:?}",
            begun.elapsed()
        );
        run
    };
    assert_eq!(ensure(&[]).0, 11);
    server.next(PATH, &[Trick::Pause(1000, Duration::from_secs(4))]);
    assert_eq!(ensure(&["--detach"]).0, 10);
    let begun = Instant::now();
    while server.requests(PATH).is_empty() {
        assert!(
            begun.elapsed() < Duration::from_secs(20),
            "it was not begun"
        );
        std::thread::sleep(Duration::from_millis(20));
    }
    // Another one is no second fetch.
    assert_eq!(ensure(&["--detach"]).0, 10);
    let (code, words) = plain(&host, &["image", "fetch", "--image-url", &url]);
    assert!(
        code == 3 && words.contains("is being fetched already"),
        "{words}"
    );
    plain(&host, &["image", "status", "--watch"]);
    assert_eq!(ensure(&[]).0, 0);
    assert_eq!(server.requests(PATH).len(), 1);
    let json: serde_json::Value = serde_json::from_str(&ensure(&["--json"]).1).expect("a document");
    assert_eq!(
        (json["outcome"].as_str(), json["exit_code"].as_u64()),
        (Some("ready"), Some(0))
    );

    assert_eq!(plain(&host, &["-y", "image", "remove"]).0, 0);
    server.remove(PATH);
    assert_eq!(plain(&host, &["image", "fetch", "--image-url", &url]).0, 1);
    let (code, words) = ensure(&[]);
    assert!(code == 12 && words.contains("404"), "{words}");
    host.kill_daemon();
    assert_eq!(ensure(&[]).0, 13);
}

#[test]
fn only_a_first_deploy_is_due() {
    let host = Host::with_daemon();
    let due = || host.setup(&["image", "due"]).code;
    assert_eq!(due(), 1, "nothing was chosen");
    host.setup(&["--yes", "--no-network", "--size", "2GiB", "--image", "off"])
        .expect_code(0);
    host.launch("mary", &[]);
    assert_eq!(due(), 1);
    pretend_systemd(&host);
    host.setup(&["--yes", "--no-network", "--image", "lazy"])
        .expect_code(0);
    assert_eq!(due(), 1, "mary was here before");
    for name in ["taos-probe-1", "taos-warm-1", "taos-bake-x-tmp"] {
        host.incus(&["init", "tiny", name]);
        assert_eq!(due(), 1, "{name}");
    }
    host.incus(&["delete", "taos-probe-1"]);
    assert_eq!(due(), 1, "a deletion");
    host.incus(&[
        "project",
        "create",
        "user-1000",
        "-c",
        "features.images=false",
        "-c",
        "features.profiles=false",
    ]);
    host.incus(&["init", "tiny", "taos-agent-x", "--project", "user-1000"]);
    assert_eq!(due(), 0, "the first deploy");
    host.incus(&["delete", "taos-agent-x", "--project", "user-1000"]);
    assert_eq!(due(), 0, "what was begun is finished");
    // A set-up that is run again does not choose anew, and asks nothing of Incus for it.
    host.setup(&["--yes", "--no-network"]).expect_code(0);
    assert_eq!(due(), 0);
    due_in_time(&host);
    host.setup(&["--yes", "undo"]);
}

/// What comes while nobody watches, or while something else is decided.
fn due_in_time(host: &Host) {
    let lazy = ["--yes", "--no-network", "--image", "lazy"];
    let containers = "/var/lib/incus/containers";
    host.setup(&["--yes", "--no-network", "--image", "background"])
        .expect_code(0);
    // Before the path unit watches, and after the containers were listed.
    let comes = format!("mkdir {containers}/taos-agent-1");
    let path = Rule::on("enable --now taos-setup-image.path").of("systemctl");
    let service = Rule::on("start --no-block taos-setup-image.service").of("systemctl");
    let setup = Setup::new(&lazy)
        .rule(path.shell(&comes))
        .rule(service.shell("touch /var/lib/incus/started"));
    host.run(&setup).expect_code(0);
    host.sh("rm /var/lib/incus/started");

    // Right after something that is none, while the path unit does not watch.
    let again = || {
        host.setup(&["--yes", "--no-network", "--image", "background"])
            .expect_code(0);
        host.setup(&lazy).expect_code(0);
    };
    again();
    let setup = Setup::new(&["image", "due"]).env("TRIGGER_UNIT", "taos-setup-image.path");
    let run = meanwhile(host, &setup, || {
        std::thread::sleep(Duration::from_secs(1));
        host.sh(&format!("mkdir {containers}/taos-agent-2"));
    });
    run.expect_code(0);

    // A choice that is taken back meanwhile does not come again.
    again();
    host.sh(&format!("mkdir {containers}/taos-agent-3"));
    let folder = "/var/lib/taos-setup/image";
    let held = format!("touch /tmp/held; sleep 1; rm {folder}/mode.json");
    let mut held = host.command("flock", &[folder, "sh", "-c", &held]);
    let mut held = held.spawn().expect("flock");
    wait_until("it is held", || host.file("/tmp/held").exists());
    assert_eq!(host.setup(&["image", "due"]).code, 1);
    held.wait().expect("its end");
    host.sh(&format!(
        "test ! -e {folder}/mode.json; rmdir {containers}/taos-agent-*"
    ));
}

#[test]
fn set_up_fetches_now_if_asked() {
    let host = Host::with_daemon();
    let (server, file) = (server_in(&host), image(1));
    publish(&server, &file);
    let url = server.url(PATH);
    let setup = [
        "--yes",
        "--no-network",
        "--size",
        "2GiB",
        "--image-url",
        &url,
    ];
    // One document says all of it, also where only the image could not be had.
    server.next(PATH, &[Trick::Status(404, "")]);
    let now = [&setup[..], &["--json", "--image", "now"]].concat();
    let run = host.setup(&now).expect_code(1);
    let json = run.json();
    assert_eq!(
        (&json["outcome"], &json["exit_code"]),
        (&"done".into(), &1.into())
    );
    let image = &json["image"];
    assert_eq!(
        (&image["mode"], &image["outcome"]),
        (&"now".into(), &"failed".into())
    );
    assert!(
        image["message"]
            .as_str()
            .is_some_and(|why| why.contains("404")),
        "{image}"
    );
    let json = host.setup(&now).expect_code(0).json();
    assert_eq!(json["outcome"], "done");
    assert_eq!(json["plan"]["steps"][0]["step"], "fetch_image");
    let image = &json["image"];
    assert_eq!(
        (&image["outcome"], &image["exit_code"]),
        (&"done".into(), &0.into())
    );
    assert_eq!(image["fingerprint"], digest(&file));
    assert!(
        image["proof"]
            .as_str()
            .is_some_and(|proof| proof.contains("SHA256SUMS")),
        "{image}"
    );
    assert_eq!(seen(&host), digest(&file)[..12]);
    host.setup(&["--yes", "image", "remove"]).expect_code(0);
    // The application's variable means the background.
    let background = [&setup[..], &["--json"]].concat();
    let background = Setup::new(&background).env("TAOS_PREFETCH_BASE_IMAGE", "yes");
    let image = host.run(&background).expect_code(0).json()["image"].clone();
    assert_eq!(
        (&image["mode"], &image["outcome"]),
        (&"background".into(), &"arranged".into())
    );
    let begun = Instant::now();
    while seen(&host).is_empty() {
        assert!(
            begun.elapsed() < Duration::from_secs(30),
            "{:?}",
            status(&host)
        );
        std::thread::sleep(Duration::from_millis(100));
    }
}

#[test]
fn the_units_are_sound() {
    let folder = tempfile::tempdir().expect("a folder");
    let source = concat!(env!("CARGO_MANIFEST_DIR"), "/src/image/units");
    for name in ["taos-setup-image.service", "taos-setup-image.path"] {
        let unit = fs::read_to_string(format!("{source}/{name}")).expect("a unit");
        // What it starts has to be there to be verified.
        let unit = unit.replace("/usr/local/bin/taos-setup", "/bin/true");
        fs::write(folder.path().join(name), unit).expect("a unit");
    }
    let verified = Command::new("systemd-analyze")
        .arg("verify")
        .args(
            ["taos-setup-image.service", "taos-setup-image.path"]
                .map(|name| folder.path().join(name)),
        )
        .output()
        .expect("running systemd-analyze: install systemd");
    let words = String::from_utf8_lossy(&verified.stderr);
    assert!(
        verified.status.success() && !words.contains("taos-setup-image"),
        "{words}"
    );
}
