//! When the base image is fetched, as steps of a set-up: shown, done, killed, taken back.

use std::fs;

use crate::image::{digest, image, publish, seen, server_in, status, PATH};
use crate::support::{Host, Rule, Run, Setup};

const SMALL: [&str; 3] = ["--no-network", "--size", "2GiB"];
/// What a set-up arranges, of all that could be there.
const TRACES: &str = "cd /; ls etc/systemd/system/taos-setup-image.* etc/systemd/system/*.wants/taos-setup-image.* \
                      var/lib/taos-setup/image/mode.json var/lib/taos-setup/image/environment 2>/dev/null || true";

/// Makes the host look as if systemd were at work, with a `systemctl` that makes the links of what is enabled. What the
/// real one makes of the units is tried in a virtual machine.
pub(crate) fn pretend_systemd(host: &Host) {
    host.sh("mkdir -p /run/systemd/system /etc/systemd/system
         cat >/usr/local/sbin/systemctl <<'END'
#!/bin/sh
units=/etc/systemd/system
verb=$1
shift
case $verb in
  enable | disable)
    for unit; do
      case $unit in
        -*) continue ;;
        *.path) link=$units/paths.target.wants/$unit ;;
        *) link=$units/multi-user.target.wants/$unit ;;
      esac
      rm -f $link
      [ $verb = disable ] || { mkdir -p ${link%/*} && ln -s $units/$unit $link; }
    done ;;
esac
END
         chmod 755 /usr/local/sbin/systemctl");
}

fn set_up(more: &[&str]) -> Setup {
    Setup::new(&[&["--yes"], &SMALL[..], more].concat())
}

fn traces(host: &Host) -> String {
    host.sh(TRACES)
}

fn mode(host: &Host) -> String {
    let text = fs::read(host.file("/var/lib/taos-setup/image/mode.json")).expect("a mode");
    let mode: serde_json::Value = serde_json::from_slice(&text).expect("a document");
    mode["mode"].as_str().expect("a word").to_owned()
}

/// What `status` says of the trigger.
fn watch(host: &Host) -> String {
    let json = host.setup(&["status", "--json"]).expect_code(0).json();
    let word = json["status"]["image_trigger"].as_str();
    word.expect("a word").to_owned()
}

fn last_step(run: &Run) -> serde_json::Value {
    let json = run.json();
    let steps = json["plan"]["steps"].as_array().expect("steps");
    steps.last().expect("a step").clone()
}

#[test]
fn the_trigger_is_a_step_like_any_other() {
    let host = Host::with_daemon();
    pretend_systemd(&host);
    let untouched = traces(&host);
    let proxy = |setup: Setup| setup.env("https_proxy", "http://me:secret@127.0.0.1:9");
    let shown = host
        .run(&proxy(set_up(&["--dry-run", "--json"])))
        .expect_code(0);
    let step = last_step(&shown);
    assert_eq!(step["step"], "arrange_image");
    assert_eq!(step["to"]["mode"], "lazy");
    let first =
        "install taos-setup-image.path: the first deploy then starts the fetch of the base image";
    assert_eq!(step["description"], first);
    assert!(!shown.stdout.contains("secret"), "{}", shown.stdout);
    assert_eq!(shown.json()["plan"]["image"], "lazy");
    assert_eq!(traces(&host), untouched);

    let done = host.run(&proxy(set_up(&[]))).expect_code(0);
    assert!(
        done.stdout.contains("comes with the first deploy"),
        "{}",
        done.output()
    );
    assert_eq!(mode(&host), "lazy");
    assert_eq!(watch(&host), "waiting");
    let words = host.setup(&["status"]).expect_code(0).stdout;
    assert!(
        words.contains("taos-setup-image.path waits for the first deploy"),
        "{words}"
    );
    assert!(host
        .sh("cat /var/lib/taos-setup/image/environment")
        .contains("me:secret@"));
    let lazy = traces(&host);
    assert_eq!(lazy.lines().count(), 6, "{lazy}");
    // What was chosen stays chosen, and asks for no more.
    for again in [set_up(&[]), proxy(set_up(&["--image", "lazy"]))] {
        let again = host.run(&again).expect_code(0);
        assert!(again.stdout.contains("Nothing to do"), "{}", again.output());
        assert!(again.incus_calls.len() <= 6, "{:?}", again.incus_calls);
    }
    // What was broken is mended.
    host.sh("rm /etc/systemd/system/paths.target.wants/taos-setup-image.path");
    assert_eq!(watch(&host), "broken");
    let mended = host.run(&set_up(&[])).expect_code(0);
    assert!(mended.stdout.contains(first), "{}", mended.output());
    assert_eq!(traces(&host), lazy);
    assert!(host
        .sh("cat /var/lib/taos-setup/image/environment")
        .contains("me:secret@"));

    // Another choice is a run of its own, which goes back to the one before.
    host.run(&set_up(&["--image", "background"])).expect_code(0);
    assert_eq!(mode(&host), "background");
    assert_eq!(watch(&host), "pending");
    host.setup(&["--yes", "undo"]).expect_code(0);
    assert_eq!(
        (mode(&host).as_str(), traces(&host)),
        ("lazy", lazy.clone())
    );
    host.run(&set_up(&["--image", "off"])).expect_code(0);
    assert_eq!(mode(&host), "off");
    assert_eq!(traces(&host), "var/lib/taos-setup/image/mode.json");
    let again = host.run(&set_up(&[])).expect_code(0);
    assert!(again.stdout.contains("Nothing to do"), "{}", again.output());
    host.setup(&["--yes", "undo"]).expect_code(0);
    assert_eq!((mode(&host).as_str(), traces(&host)), ("lazy", lazy));
    // Mending made nothing, so what is left is the first run.
    host.setup(&["--yes", "undo"]).expect_code(0);
    assert_eq!(traces(&host), untouched);
    assert_eq!(host.incus(&["storage", "list", "--format=csv"]), "");
}

#[test]
fn killed_at_each_command_the_trigger_is_completed_or_taken_back() {
    let host = Host::with_pool("btrfs");
    pretend_systemd(&host);
    let untouched = traces(&host);
    let setup = |rule: Rule| Setup::new(&["--yes", "--no-network"]).rule(rule.of("systemctl"));
    let undo = |rule: Rule| Setup::new(&["--yes", "undo"]).rule(rule.of("systemctl"));
    let both = |text: &str| [Rule::on(text).kill_before(), Rule::on(text).kill_after()];
    host.setup(&["--yes", "--no-network"]).expect_code(0);
    let lazy = traces(&host);
    host.setup(&["--yes", "undo"]).expect_code(0);
    assert_eq!(traces(&host), untouched);
    for text in ["daemon-reload", "enable --now"] {
        for (number, rule) in both(text).into_iter().enumerate() {
            host.run(&setup(rule)).expect_code(137);
            // Forwards and backwards in turn.
            if number == 0 {
                host.setup(&["--yes", "--no-network"]).expect_code(0);
                assert_eq!(traces(&host), lazy, "{text}");
            }
            host.setup(&["--yes", "undo"]).expect_code(0);
            assert_eq!(traces(&host), untouched, "{text}");
        }
    }
    for rule in both("disable --now") {
        host.setup(&["--yes", "--no-network"]).expect_code(0);
        host.run(&undo(rule)).expect_code(137);
        host.setup(&["--yes", "undo"]).expect_code(0);
        assert_eq!(traces(&host), untouched);
    }
    // What fails is taken back, and the pool was there before.
    let fails = Rule::on("enable --now").fail(1, "no such bus");
    let run = host.run(&setup(fails)).expect_code(1);
    assert!(run.stderr.contains("no such bus"), "{}", run.output());
    assert_eq!(traces(&host), untouched);
}

#[test]
fn the_time_can_be_typed() {
    let host = Host::with_pool("btrfs");
    pretend_systemd(&host);
    let mut session = host.pty(&["--no-network"], 80, 60);
    session.expect("install taos-setup-image.path");
    session
        .expect("comes with the first deploy (lazy)")
        .expect("Go ahead?");
    // Another time is no yes.
    session
        .send("background\r")
        .expect("start taos-setup-image.service");
    session
        .expect("in the background (background)")
        .expect("Go ahead?");
    session
        .send("soon\r")
        .expect("or lazy, now, background or off");
    session
        .send("off\r")
        .expect("leave the base image")
        .expect("Go ahead?");
    assert!(!host.file("/var/lib/taos-setup/image/mode.json").exists());
    session.send("yes\r");
    session.wait_exit().expect_code(0);
    assert_eq!(mode(&host), "off");
    // With an option nobody is asked.
    let mut session = host.pty(&["--no-network", "--image", "lazy"], 80, 60);
    session.expect("Go ahead?");
    assert!(
        !session.screen().contains("To change that"),
        "{}",
        session.screen()
    );
    session.send("\r");
    session.wait_exit().expect_code(3);
    assert_eq!(mode(&host), "off");
}

#[test]
fn now_is_a_run_of_its_own() {
    let host = Host::with_daemon();
    let (server, file) = (server_in(&host), image(1));
    let url = server.url(PATH);
    let now = || set_up(&["--image", "now", "--image-url", &url]);
    // It fails: what was set up stays.
    let run = host.run(&now()).expect_code(1);
    assert!(
        run.stderr.contains("the set-up itself is done, and stays"),
        "{}",
        run.output()
    );
    assert!(host
        .incus(&["storage", "list", "--format=csv"])
        .contains("btrfs"));
    publish(&server, &file);
    // Killed in the middle, the next run goes on, and only with that.
    host.run(&now().rule(Rule::on("/wait").kill_after()))
        .expect_code(137);
    let run = host.run(&set_up(&[])).expect_code(0);
    assert!(run.stdout.contains("was cut short"), "{}", run.output());
    assert_eq!(seen(&host), digest(&file)[..12]);
    assert_eq!(status(&host)["status"], "done");
    let run = host.run(&now()).expect_code(0);
    assert!(run.stdout.contains("Nothing to do"), "{}", run.output());
    // Somebody uses it.
    host.incus(&["launch", "taos-openclaw-base", "taos-agent-x"]);
    let run = host.setup(&["--yes", "undo"]).expect_code(3);
    assert!(
        run.stderr.contains("taos-agent-x was made from it"),
        "{}",
        run.output()
    );
    host.incus(&["delete", "--force", "taos-agent-x"]);
    host.setup(&["--yes", "undo"]).expect_code(0);
    assert_eq!(
        host.incus(&["image", "list", "--format=csv", "--all-projects"]),
        ""
    );
    host.setup(&["--yes", "undo"]).expect_code(0);
    assert_eq!(host.incus(&["storage", "list", "--format=csv"]), "");
}
