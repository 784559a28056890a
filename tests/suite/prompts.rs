//! Questions on a terminal, what counts as a yes, and what happens where there is nobody to ask.

use std::fs;
use std::io::{Read, Write};
use std::process::{Child, Stdio};
use std::time::{Duration, Instant};

use crate::support::{assert_same, Digest, Host, Rule, Run, Session, Setup};

const QUESTION: &str = "Go ahead? yes / no / explain [no]: ";
const CHOICE: &str = "Which? [1]: ";
/// The list behind a set-up that leaves containers on a pool that copies.
const OFFER: &str = "Which containers are to be moved?";

/// A plan without a network, which takes a moment to make, and of a size that is the same on every machine.
const SMALL: [&str; 3] = ["--no-network", "--size", "1GiB"];

fn containers() -> Host {
    let host = Host::with_pool("dir");
    host.launch("mary", &[]);
    host.launch("naira", &[]);
    host
}

/// The state, and the files of earlier runs.
fn snapshot(host: &Host) -> (Digest, usize) {
    let files = fs::read_dir(host.file("/var/lib/taos-setup")).expect("the state folder");
    let journals = files.filter(|file| {
        let path = file.as_ref().expect("a file").path();
        path.extension().is_some_and(|e| e == "jsonl")
    });
    (host.state_digest(), journals.count())
}

#[track_caller]
fn assert_untouched(before: &(Digest, usize), host: &Host) {
    let now = snapshot(host);
    assert_same(&before.0, &now.0);
    assert_eq!(before.1, now.1, "the number of journals");
}

fn changed_something(run: &Run) -> bool {
    run.incus_calls.iter().any(|call| call[0] != "query")
}

fn pool_driver(host: &Host, pool: &str) -> String {
    let pools = host.query("/1.0/storage-pools?recursion=1");
    let found = pools.as_array().and_then(|pools| {
        pools
            .iter()
            .find(|found| found["name"] == pool)
            .and_then(|found| found["driver"].as_str())
    });
    found.unwrap_or("none").to_owned()
}

// Yes and no.

#[test]
fn yes_does_it() {
    for yes in ["yes", "y", " YES "] {
        let host = Host::with_daemon();
        let mut session = host.pty(&SMALL, 100, 40);
        session.expect(QUESTION).send(yes).send(Session::ENTER);
        let run = session.wait_exit().expect_code(0);
        assert!(run.stdout.contains("✓ create storage pool default"));
        assert_eq!(pool_driver(&host, "default"), "btrfs");
    }
}

#[test]
fn anything_but_yes_changes_nothing() {
    let host = Host::with_daemon();
    let before = snapshot(&host);
    for keys in ["no\r", "n\r", "\r", Session::CTRL_D, Session::CTRL_C] {
        let mut session = host.pty(&SMALL, 100, 40);
        session.expect(QUESTION).send(keys);
        let run = session.wait_exit().expect_code(3);
        assert!(run.stdout.contains("nothing was changed"), "{run:?}");
        assert!(!changed_something(&run), "{run:?}");
        assert_untouched(&before, &host);
    }
}

#[test]
fn what_is_neither_is_asked_again() {
    let host = Host::with_daemon();
    let before = snapshot(&host);
    let mut session = host.pty(&SMALL, 100, 40);
    for keys in [
        "maybe\r",
        "yess\r",
        "ye s\r",
        "yes no\r",
        "1\r",
        "\u{e4}\u{1f600}\r",
    ] {
        session
            .expect(QUESTION)
            .send(keys)
            .expect("Please type yes, no or explain");
    }
    session.expect(QUESTION).send("no\r");
    session.wait_exit().expect_code(3);
    assert_untouched(&before, &host);

    let mut session = host.pty(&SMALL, 100, 40);
    session.expect(QUESTION).send("maybe\r");
    session.expect(QUESTION).send("yes\r");
    session.wait_exit().expect_code(0);
    assert_eq!(pool_driver(&host, "default"), "btrfs");
}

#[test]
fn explain_says_why_how_and_the_way_back_and_asks_again() {
    let host = Host::with_daemon();
    let before = snapshot(&host);
    for (answer, code) in [("no", 3), ("yes", 0)] {
        let mut session = host.pty(&SMALL, 100, 60);
        session.expect(QUESTION).send("explain\r");
        session
            .expect("1. create storage pool default")
            .expect("why:")
            .expect("run:  incus --force-local storage create default btrfs")
            .expect("undo: delete storage pool default")
            .expect("2. give profile default a root disk")
            .expect("why:")
            .expect("run:  incus --force-local profile device add default root disk")
            .expect("undo: take the root disk");
        assert_untouched(&before, &host);
        session.expect(QUESTION).send(answer).send(Session::ENTER);
        session.wait_exit().expect_code(code);
    }
    assert_eq!(pool_driver(&host, "default"), "btrfs");
}

// A terminal that goes away.

/// Runs the program on a terminal that can be taken away.
fn on_a_weak_terminal(host: &Host, rules: &[Rule]) -> Child {
    host.reset_wrapper(rules);
    let share = host.share().display().to_string();
    let options = SMALL.join(" ");
    let command = format!("export PATH={share}/bin:$PATH; exec {share}/taos-setup {options}");
    host.command("script", &["-qec", &command, "/dev/null"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .expect("starting a terminal")
}

fn read_until(terminal: &mut Child, text: &str) {
    let out = terminal.stdout.as_mut().expect("a pipe");
    let mut seen = Vec::new();
    let mut byte = [0];
    while !String::from_utf8_lossy(&seen).contains(text) {
        assert_eq!(out.read(&mut byte).expect("reading"), 1, "no {text}");
        seen.extend(byte);
    }
}

/// Takes the terminal away, waits for the end, and returns what the log says of it.
fn hang_up(mut terminal: Child, host: &Host) -> String {
    terminal.kill().expect("hanging up");
    terminal.wait().expect("hanging up");
    let deadline = Instant::now() + Duration::from_secs(20);
    while !host.sh("pgrep -x taos-setup || :").is_empty() {
        assert!(Instant::now() < deadline, "taos-setup does not end");
        std::thread::sleep(Duration::from_millis(10));
    }
    let log = fs::read_to_string(host.file("/var/log/taos-setup.log")).expect("the log");
    let last = log.lines().last().unwrap_or_default();
    last.rsplit_once("] ")
        .map_or(last, |(_, words)| words)
        .to_owned()
}

#[test]
fn a_terminal_that_hangs_up_at_the_question_says_no() {
    let host = Host::with_daemon();
    let before = snapshot(&host);
    let mut terminal = on_a_weak_terminal(&host, &[]);
    read_until(&mut terminal, "Go ahead?");
    assert_eq!(hang_up(terminal, &host), "ended with exit code 3");
    assert_untouched(&before, &host);
}

#[test]
fn a_terminal_that_hangs_up_during_a_step_lets_it_finish() {
    let host = Host::with_daemon();
    let slow = Rule::on("storage create").shell("touch \"$state/held\"; sleep 0.7");
    let mut terminal = on_a_weak_terminal(&host, &[slow]);
    read_until(&mut terminal, "Go ahead?");
    let stdin = terminal.stdin.as_mut().expect("a pipe");
    stdin.write_all(b"yes\n").expect("typing");
    let held = host.share().join("calls/held");
    let deadline = Instant::now() + Duration::from_secs(20);
    while !held.exists() {
        assert!(Instant::now() < deadline, "no pool is made");
        std::thread::sleep(Duration::from_millis(5));
    }
    assert_eq!(hang_up(terminal, &host), "ended with exit code 4");
    assert_eq!(pool_driver(&host, "default"), "btrfs");
    let run = host.setup(&["--yes"]).expect_code(0);
    assert!(run.stdout.contains("cut short"), "{}", run.output());
    assert!(host
        .state_digest()
        .get("profile default/default device root")
        .is_some());
}

// A narrow window.

/// No words beyond the window's edge: all that the terminal had to break is a command.
#[track_caller]
fn assert_fits(session: &Session) {
    // Rows that the terminal broke are one line here.
    let screen = session.screen();
    let long: Vec<&str> = screen
        .lines()
        .filter(|line| line.chars().count() > 60 && !line.contains("incus --force-local"))
        .collect();
    assert!(long.is_empty(), "{long:#?}\n{screen}");
}

#[test]
fn the_plan_is_readable_in_60_columns() {
    let host = Host::with_daemon();
    let mut session = host.pty(&SMALL, 60, 100);
    session.expect(QUESTION);
    let screen = session.screen();
    let plan = screen.split_once("Plan\n").expect("a plan").1;
    assert_eq!(
        plan,
        "  1. create storage pool default (btrfs, 1 GiB loop file
     /var/lib/incus/disks/default.img)
  2. give profile default a root disk on pool default

No instance is touched.
The base image comes when a deployer asks: taos-setup image
ensure --detach (lazy). To change that, type now,
background, off.
Go ahead? yes / no / explain [no]: "
    );
    assert_fits(&session);

    session.send("explain\r").expect(QUESTION);
    assert_fits(&session);
    let screen = session.screen();
    let explained = screen.rsplit_once("  2. give").expect("an explanation").1;
    assert_eq!(
        explained,
        " profile default a root disk on pool default
     why:  Launches that name no pool take the one that the
           profile names.
     run:  incus --force-local profile device add default root disk path=/ pool=default --project default
     undo: take the root disk on pool default out of profile
           default

The base image comes when a deployer asks: taos-setup image
ensure --detach (lazy). To change that, type now,
background, off.
Go ahead? yes / no / explain [no]: "
    );

    session.send("yes\r").expect("taos-setup undo");
    session.wait_exit().expect_code(0);
    assert_fits(&session);
    let screen = session.screen();
    let done = screen.split_once("Done\n").expect("a report").1;
    assert!(done.lines().count() >= 4, "{done}");
}

#[test]
fn choices_refusals_and_status_fit_in_60_columns() {
    let host = containers();
    let mut session = host.pty(&["--no-network"], 60, 100);
    session.expect(CHOICE).send("2\r").expect(QUESTION);
    assert_fits(&session);
    session.send("explain\r").expect(QUESTION);
    assert_fits(&session);
    session.send("no\r");
    session.wait_exit().expect_code(3);
    assert_fits(&session);

    let commands: [&[&str]; 4] = [
        &["status"],
        &["--yes"],
        &["--yes", "--source", "/etc"],
        &["--yes", "--beside"],
    ];
    for args in commands {
        let mut session = host.pty(args, 60, 100);
        session.wait_exit();
        assert_fits(&session);
    }
}

// The choice where a pool copies and is in use.

#[test]
fn leaving_is_the_first_choice_and_the_default() {
    let host = containers();
    let before = snapshot(&host);
    for keys in ["1\r", "\r"] {
        let mut session = host.pty(&["--no-network"], 100, 50);
        session
            .expect("1) Leave pool default as it is")
            .expect("2) Make a copy-on-write pool taos beside it")
            .expect(CHOICE)
            .send(keys)
            .expect(OFFER)
            .send(Session::ENTER);
        let run = session.wait_exit().expect_code(0);
        assert!(!changed_something(&run), "{run:?}");
        assert_untouched(&before, &host);
    }
}

#[test]
fn no_choice_is_no_yes() {
    let host = containers();
    let before = snapshot(&host);
    for keys in [Session::CTRL_C, Session::CTRL_D] {
        let mut session = host.pty(&["--no-network"], 100, 50);
        session.expect(CHOICE).send(keys);
        session.wait_exit().expect_code(3);
        assert_untouched(&before, &host);
    }
    let mut session = host.pty(&["--no-network"], 100, 50);
    for keys in ["0\r", "3\r", "-1\r", "beside\r", "99999999999999999999\r"] {
        session
            .expect(CHOICE)
            .send(keys)
            .expect("Please type a number from 1 to 2.");
    }
    session
        .expect(CHOICE)
        .send("2\r")
        .expect(QUESTION)
        .send("no\r");
    session.wait_exit().expect_code(3);
    assert_untouched(&before, &host);
}

#[test]
fn what_gets_pinned_is_listed_by_name_before_the_yes() {
    let host = containers();
    let before = host.state_digest();
    let mut session = host.pty(&["--no-network", "--size", "1GiB"], 100, 50);
    session
        .expect("gets its root disk written down as its own: mary, naira.")
        .expect(CHOICE)
        .send("2\r");
    session
        .expect("Plan")
        .expect("pin the root disk of instance mary to pool default, where it is")
        .expect("pin the root disk of instance naira to pool default, where it is")
        .expect("Written to is the configuration of these instances")
        .expect("mary, naira")
        .expect(QUESTION);
    assert_same(&before, &host.state_digest());
    session.send("yes\r").expect(OFFER).send(Session::ENTER);
    session.wait_exit().expect_code(0);

    let after = host.state_digest();
    assert_eq!(pool_driver(&host, "taos"), "btrfs");
    let root = after.get("profile default/default device root");
    assert!(root.expect("a root disk").contains("\"taos\""), "{root:?}");
    for name in ["mary", "naira"] {
        for what in ["pid", "status", "root"] {
            let line = format!("instance default/{name} {what}");
            assert_eq!(before.get(&line), after.get(&line), "{line}");
        }
    }
}

// Colours and quiet.

/// What a terminal gets, with its escape sequences.
fn raw(host: &Host, variables: &str, args: &str) -> String {
    let program = host.share().join("taos-setup");
    let command = format!("{variables} {} {args}", program.display());
    host.sh(&format!(
        "export TERM=xterm-256color; script -qec '{command}' /dev/null"
    ))
}

#[test]
fn colours_are_for_terminals_that_want_them() {
    let host = Host::with_daemon();
    let coloured = |text: &str| text.contains("\x1b[1m") || text.contains("\x1b[3");
    assert!(coloured(&raw(&host, "", "--dry-run")));
    assert!(!coloured(&raw(&host, "NO_COLOR=1", "--dry-run")));
    assert!(!coloured(&raw(&host, "TERM=dumb", "--dry-run")));
    for args in [&["--dry-run"][..], &["--source", "/etc"], &["--yes"]] {
        let run = host.setup(args);
        assert!(!run.output().contains('\x1b'), "{run:?}");
    }
}

#[test]
fn quiet_shows_what_is_asked_and_nothing_else() {
    let host = Host::with_daemon();
    let args = ["--quiet", "--no-network", "--size", "1GiB"];
    let mut session = host.pty(&args, 100, 40);
    session
        .expect("1. create storage pool default")
        .expect(QUESTION)
        .send("yes\r");
    let run = session.wait_exit().expect_code(0);
    for words in ["Found", "✓", "Done"] {
        assert!(!run.stdout.contains(words), "{run:?}");
    }

    host.setup(&["undo", "--yes"]).expect_code(0);
    for args in [
        &["--quiet", "--yes"][..],
        &["--quiet", "--yes"],
        &["undo", "--quiet", "--yes"],
    ] {
        let run = host.setup(args).expect_code(0);
        assert_eq!((run.stdout.as_str(), run.stderr.as_str()), ("", ""));
    }
    let run = host.setup(&["--quiet"]).expect_code(3);
    assert!(run.stderr.contains("--yes"), "{}", run.output());
}

// Somebody else is at work between the plan and the yes.

#[test]
fn a_plan_that_is_out_of_date_is_made_anew_and_asked_for_again() {
    let host = Host::with_daemon();
    let mut session = host.pty(&SMALL, 100, 50);
    session
        .expect("1. create storage pool default")
        .expect(QUESTION);
    host.incus(&["storage", "create", "default", "dir"]);
    let before = snapshot(&host);
    session
        .send("yes\r")
        .expect("Something changed meanwhile")
        .expect("1. delete storage pool default (dir")
        .expect(QUESTION);
    assert_untouched(&before, &host);

    // By the second yes somebody else has done all of it.
    host.incus(&["storage", "delete", "default"]);
    host.make_pool("btrfs");
    let before = host.state_digest();
    session.send("yes\r");
    let run = session.wait_exit().expect_code(0);
    assert!(!changed_something(&run), "{run:?}");
    assert_same(&before, &host.state_digest());
}

#[test]
fn a_pool_that_is_used_by_the_time_of_the_yes_is_not_deleted() {
    let host = Host::with_pool("dir");
    let mut session = host.pty(&SMALL, 100, 50);
    session
        .expect("delete storage pool default")
        .expect(QUESTION);
    host.launch("mary", &[]);
    let before = snapshot(&host);
    // The new plan is to leave it; there is a choice now.
    session
        .send("yes\r")
        .expect("Something changed meanwhile")
        .expect(CHOICE)
        .send("1\r")
        .expect(OFFER)
        .send(Session::ENTER);
    session.wait_exit().expect_code(0);
    assert_untouched(&before, &host);
}

#[test]
fn an_undo_that_is_out_of_date_is_refused() {
    let host = Host::with_daemon();
    host.setup(&["--yes", "--no-network", "--size", "1GiB"])
        .expect_code(0);
    let mut session = host.pty(&["undo"], 100, 50);
    session
        .expect("delete storage pool default")
        .expect(QUESTION);
    host.launch("mary", &[]);
    let before = snapshot(&host);
    session.send("yes\r");
    let run = session.wait_exit().expect_code(3);
    assert!(!changed_something(&run), "{run:?}");
    assert_untouched(&before, &host);
}

// A run that was cut short.

#[test]
fn an_unfinished_run_is_shown_and_asked_for() {
    let host = Host::with_daemon();
    let killed = Setup::new(&["--yes", "--no-network", "--size", "1GiB"])
        .rule(Rule::on("device add").kill_before());
    host.run(&killed).expect_code(137);
    let before = snapshot(&host);
    for (keys, code) in [
        ("no\r", 3),
        (Session::CTRL_C, 3),
        (Session::CTRL_D, 3),
        ("yes\r", 0),
    ] {
        assert_untouched(&before, &host);
        let mut session = host.pty(&SMALL, 100, 40);
        session
            .expect("was cut short")
            .expect("1. give profile default a root disk on pool default")
            .expect(QUESTION)
            .send(keys);
        session.wait_exit().expect_code(code);
    }
    assert!(host
        .state_digest()
        .get("profile default/default device root")
        .is_some());
}

// Nobody to ask.

#[test]
fn without_a_terminal_only_an_option_is_a_yes() {
    let host = Host::with_daemon();
    let before = snapshot(&host);
    for stdin in ["", "yes\n", "yes\nyes\nyes\n"] {
        let run = host.run(&Setup::new(&SMALL).stdin(stdin)).expect_code(3);
        assert!(
            run.stderr
                .contains("taos-setup --no-network --size 1GiB --yes"),
            "{}",
            run.output()
        );
        assert!(
            run.stdout.contains("create storage pool"),
            "{}",
            run.output()
        );
        assert_eq!(run.stdin_left, stdin);
        assert_untouched(&before, &host);
    }
}

/// What follows the program in `curl … | bash`.
const SCRIPT: &str = "echo and the script goes on\nname: x\n";

/// A run whose commands all try to read what there is to read.
fn with_greedy_commands(host: &Host, args: &[&str]) -> Run {
    let programs = [
        "incus",
        "incusd",
        "fallocate",
        "apt-get",
        "modprobe",
        "blkid",
    ];
    let setup = programs.iter().fold(Setup::new(args), |setup, program| {
        setup.rule(Rule::on("").of(program).each().shell("cat >/dev/null"))
    });
    let run = host.run(&setup.stdin(SCRIPT));
    assert_eq!(run.stdin_left, SCRIPT, "{args:?}: {}", run.output());
    run
}

#[test]
fn no_command_reads_the_script_that_the_program_is_part_of() {
    let host = Host::start();
    let all = ["--yes", "--preallocate", "--size", "512MiB"];
    with_greedy_commands(&host, &["--dry-run"]).expect_code(0);
    with_greedy_commands(&host, &["--no-network"]).expect_code(3);
    let run = with_greedy_commands(&host, &all).expect_code(0);
    for program in ["incus", "incusd", "fallocate"] {
        assert!(run.calls.iter().any(|call| call[0] == program), "{run:?}");
    }
    with_greedy_commands(&host, &["--yes"]).expect_code(0);
    with_greedy_commands(&host, &["status"]).expect_code(0);
    host.import_tiny("tiny");
    with_greedy_commands(&host, &["status", "--probe"]).expect_code(0);
    with_greedy_commands(&host, &["undo", "--yes"]).expect_code(0);
    with_greedy_commands(&host, &["undo", "--yes"]).expect_code(3);
    with_greedy_commands(&host, &["--size", "0"]).expect_code(2);
    with_greedy_commands(&host, &["--yes", "--source", "/etc"]).expect_code(3);
}

#[test]
fn no_package_manager_reads_it_either() {
    let host = Host::builder().without(&["incus"]).start();
    // Without a network this goes wrong, after apt-get was called.
    let run = with_greedy_commands(&host, &["--yes"]).expect_code(1);
    assert!(run.calls.iter().any(|call| call[0] == "apt-get"), "{run:?}");
}

/// As sudo runs what is at the end of a pipe: on a terminal of its own, which it has only once it is stopped for wanting it.
#[test]
fn a_question_asks_for_a_terminal_that_is_lent_to_others() {
    let host = Host::with_daemon();
    let script = host.share().join("behind.sh");
    let text = format!(
        "set -m\n{} {} &\nfor i in $(seq 100); do jobs -s | grep -q . && break; sleep 0.2; done\n\
         jobs -sl\nkill -KILL %1\n",
        host.program().display(),
        SMALL.join(" ")
    );
    fs::write(&script, text).expect("a script");
    // Nothing comes over the terminal, not even its end: there would be something to read.
    let seen = host.sh(&format!(
        "mkfifo /tmp/silence; script -qec 'bash {}' /dev/null <>/tmp/silence",
        script.display()
    ));
    assert!(seen.contains("Go ahead?"), "{seen}");
    assert!(seen.contains("Stopped (tty input)"), "{seen}");
}
