//! Runs that are cut short: killed anywhere, stopped, failed or disturbed, and what the next run makes of it.
//!
//! Each plan is killed around every call that it makes after its first look, forwards and on the way back. The next run
//! must reach the state of an undisturbed run, or the initial one.

use std::fs;
use std::path::PathBuf;
use std::process::Output;
use std::time::{Duration, Instant};

use crate::support::{assert_same, Digest, Host, Rule, Run, Session, Setup};

const JOURNALS: &str = "/var/lib/taos-setup";

/// A moment to be killed at, around one of a run's calls.
#[derive(Debug, Clone)]
struct Moment {
    program: String,
    nth: usize,
    how: How,
    call: String,
    changes: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum How {
    /// In place of the call.
    Before,
    /// As [`How::Before`], and of the last line of the journal only one half is on the disk.
    Torn,
    /// While the daemon is at work on it.
    During,
    /// Once it is complete, before the program hears of that.
    After,
}

impl Moment {
    fn rule(&self) -> Rule {
        let rule = Rule::nth(self.nth).of(&self.program);
        match self.how {
            How::Before | How::Torn => rule.kill_before(),
            How::During => rule.kill_during(10),
            How::After => rule.kill_after(),
        }
    }
}

/// With the calls of the one program besides `incus` that changes something.
fn counted(args: &[&str]) -> Setup {
    Setup::new(args).rule(Rule::on("").of("fallocate").each().shell(":"))
}

fn changes(call: &[String]) -> bool {
    call[0] != "incus" || !call.iter().any(|word| word == "query")
}

/// The moments around a run's changing calls, and before each query after the first of them. After a query is the same
/// as before the call that follows it.
fn moments(run: &Run) -> Vec<Moment> {
    let first = run
        .calls
        .iter()
        .position(|call| changes(call))
        .expect("a change");
    let mut moments = Vec::new();
    for (index, call) in run.calls.iter().enumerate().skip(first - 1) {
        let program = &call[0];
        let earlier = run.calls[..index].iter().filter(|call| &call[0] == program);
        let nth = earlier.count() + 1;
        let hows: &[How] = if changes(call) {
            &[How::Before, How::Torn, How::During, How::After]
        } else {
            &[How::Before]
        };
        moments.extend(hows.iter().map(|how| Moment {
            program: program.clone(),
            nth,
            how: *how,
            call: call.join(" "),
            changes: changes(call),
        }));
    }
    moments
}

/// A host, what is asked of it, and where that leads without a disturbance.
struct Case {
    host: Host,
    options: &'static [&'static str],
    undo: &'static [&'static str],
    initial: State,
    end: State,
    forwards: Vec<Moment>,
    backwards: Vec<Moment>,
}

impl Case {
    fn new(host: Host, options: &'static [&'static str]) -> Self {
        Self::with_undo(host, options, &["undo", "--yes"])
    }

    fn with_undo(
        host: Host,
        options: &'static [&'static str],
        undo: &'static [&'static str],
    ) -> Self {
        let initial = State::of(&host);
        let there = host.run(&counted(options)).expect_code(0);
        let end = State::of(&host);
        // Wherever the end state and the journal's end are the same, so is this.
        let again = host.setup(options).expect_code(0);
        assert!(again.stdout.contains("Nothing to do"), "{}", again.output());
        assert!(!again.calls.iter().any(|call| changes(call)), "{again:?}");
        assert!(again.calls.len() <= 6, "{again:?}");
        assert_ne!(initial.daemon, end.daemon, "the plan does something");
        let back = host.run(&counted(undo)).expect_code(0);
        initial.assert_now(&host);
        Self {
            host,
            options,
            undo,
            initial,
            end,
            forwards: moments(&there),
            backwards: moments(&back),
        }
    }

    /// Kills the run, or the way back, at this moment.
    fn kill(&self, args: &[&str], moment: &Moment) {
        eprintln!(
            "{} is killed {:?} {}",
            args.join(" "),
            moment.how,
            moment.call
        );
        self.host
            .run(&Setup::new(args).rule(moment.rule()))
            .expect_code(137);
        if moment.how == How::Torn {
            tear(&self.host);
        }
    }

    fn assert_finished(&self) {
        self.end.assert_now(&self.host);
        assert_ended(&self.host);
    }

    fn assert_initial(&self) {
        self.initial.assert_now(&self.host);
        assert_ended(&self.host);
    }

    /// Runs it to its end.
    fn finish(&self) {
        self.host.setup(self.options).expect_code(0);
        self.assert_finished();
    }

    fn take_back(&self) {
        self.host.setup(self.undo).expect_code(0);
        self.assert_initial();
    }

    /// Killed at each moment of the run, the next run finishes it. Killed at each moment of the way back, it is gone
    /// back to its end, or finished again.
    fn survives_every_kill(&self) {
        let rounds = self.forwards.len().max(self.backwards.len());
        let forwards = self.forwards.iter().cycle();
        let backwards = self.backwards.iter().cycle();
        for (round, (there, back)) in forwards.zip(backwards).take(rounds).enumerate() {
            self.kill(self.options, there);
            self.finish();
            self.kill(self.undo, back);
            if round % 2 == 1 {
                self.finish();
            }
            self.take_back();
        }
    }

    /// Killed at each moment of the run, it can be taken back instead.
    fn can_be_taken_back_after_every_kill(&self) {
        for moment in &self.forwards {
            if moment.changes && matches!(moment.how, How::Before | How::After) {
                self.kill(self.options, moment);
                self.take_back();
            }
        }
    }

    /// A command that fails, whether it had its effect or not, is taken back with all before it.
    fn takes_back_every_failure(&self) {
        let changes = |moment: &&Moment| moment.changes && moment.how == How::Before;
        for moment in self.forwards.iter().filter(changes) {
            for script in ["exit 1", "\"$real\" \"$@\"; exit 1"] {
                let script = format!("echo 'Error: no luck' >&2; {script}");
                let rule = Rule::nth(moment.nth).of(&moment.program).shell(&script);
                let run = self.host.run(&Setup::new(self.options).rule(rule));
                eprintln!("{} fails with {script}", moment.call);
                let run = run.expect_code(1);
                assert!(run.stderr.contains("no luck"), "{}", run.output());
                assert!(run.stderr.contains("taken back"), "{}", run.output());
                self.assert_initial();
            }
        }
    }
}

/// What must come out the same: all that the daemon knows but the addresses that it draws by lot, and its files.
struct State {
    daemon: Digest,
    files: Vec<String>,
}

impl State {
    fn of(host: &Host) -> Self {
        let folders = [
            "/var/lib/incus/disks",
            "/var/lib/incus/storage-pools",
            "/mnt/data",
        ];
        let mut files: Vec<String> = folders
            .iter()
            .flat_map(|folder| fs::read_dir(host.file(folder)).into_iter().flatten())
            .map(|entry| entry.expect("a file").path().display().to_string())
            .collect();
        files.sort();
        Self {
            daemon: host
                .state_digest()
                .without(&["ipv4.address", "ipv6.address"]),
            files,
        }
    }

    /// The same on a host of another life.
    #[track_caller]
    fn assert_like(&self, host: &Host) {
        assert_same(&self.daemon.shape(), &Self::of(host).daemon.shape());
    }

    #[track_caller]
    fn assert_now(&self, host: &Host) {
        let now = Self::of(host);
        assert_same(&self.daemon, &now.daemon);
        assert_eq!(self.files, now.files);
    }
}

/// The journal of the last run, as a path of the machine.
fn last_journal(host: &Host) -> PathBuf {
    let mut journals: Vec<_> = fs::read_dir(host.file(JOURNALS))
        .expect("reading the journals")
        .map(|entry| entry.expect("a journal").path())
        .filter(|path| path.extension().is_some_and(|e| e == "jsonl"))
        .collect();
    journals.sort();
    journals.pop().expect("a journal")
}

fn assert_ended(host: &Host) {
    let journal = fs::read_to_string(last_journal(host)).expect("reading a journal");
    let last = journal.lines().last().unwrap_or_default();
    assert!(last.starts_with("{\"end\":"), "{journal}");
}

/// Leaves half of the journal's last line.
fn tear(host: &Host) {
    let path = last_journal(host);
    let text = fs::read_to_string(&path).expect("reading a journal");
    let whole = text.trim_end().rfind('\n').map_or(0, |at| at + 1);
    let half = whole + (text.len() - whole) / 2;
    fs::write(&path, &text[..half]).expect("tearing a journal");
}

/// Every journal.
fn journals(host: &Host) -> Vec<(String, String)> {
    let mut files: Vec<_> = fs::read_dir(host.file(JOURNALS))
        .expect("reading the state folder")
        .map(|entry| entry.expect("a file").path())
        .filter(|path| path.extension().is_some_and(|e| e == "jsonl"))
        .map(|path| {
            let text = fs::read_to_string(&path).expect("reading a file");
            (path.display().to_string(), text)
        })
        .collect();
    files.sort();
    files
}

// The plans.  Each has a size: one that follows what is free on this machine would change while others work here.

fn fresh() -> Case {
    Case::new(Host::with_daemon(), &["--yes", "--size=4GiB"])
}

/// A pool and a bridge, and a profile that names neither.
fn half_configured() -> Case {
    let host = Host::with_daemon();
    host.incus(&["storage", "create", "default", "btrfs", "size=1GiB"]);
    host.incus(&["network", "create", "incusbr0"]);
    Case::new(host, &["--yes"])
}

/// An empty `dir` pool that profiles of two projects point at.
fn empty_dir() -> Case {
    let host = Host::with_pool("dir");
    host.import_tiny("tiny");
    host.incus(&["project", "create", "other"]);
    let root = ["root", "disk", "path=/", "pool=default", "size=5GiB"];
    let mut add = vec!["profile", "device", "add", "default", "--project", "other"];
    add.extend(root);
    host.incus(&add);
    Case::new(host, &["--yes", "--no-network", "--size=4GiB"])
}

/// A `dir` pool with two running containers.
fn beside() -> Case {
    Case::with_undo(
        two_running(),
        &[
            "--yes",
            "--no-network",
            "--size=4GiB",
            "--beside",
            "--pin=all",
        ],
        &["undo", "--yes", "--pin", "all"],
    )
}

fn two_running() -> Host {
    let host = Host::with_pool("dir");
    host.launch("mary", &[]);
    host.launch("naira", &[]);
    host
}

fn subvolume() -> Case {
    let builder = Host::builder().incus_fs("btrfs", "8G");
    Case::new(builder.daemon().start(), &["--yes", "--no-network"])
}

fn preallocated() -> Case {
    Case::new(
        Host::with_daemon(),
        &["--yes", "--no-network", "--preallocate", "--size", "512MiB"],
    )
}

/// A subvolume of a btrfs file system elsewhere; Incus leaves the emptied subvolume there.
fn elsewhere() -> Case {
    let builder = Host::builder().extra_btrfs("/mnt/data", "8G");
    Case::new(
        builder.daemon().start(),
        &["--yes", "--no-network", "--source", "/mnt/data/agents"],
    )
}

/// The quickest plan: a pool and a root.
fn small() -> Case {
    Case::new(
        Host::with_daemon(),
        &["--yes", "--no-network", "--size=4GiB"],
    )
}

macro_rules! plans {
    ($($plan:ident),*) => {$(
        mod $plan {
            #[test]
            fn survives_every_kill() {
                super::$plan().survives_every_kill();
            }

            #[test]
            fn goes_back_after_every_kill_and_failure() {
                let case = super::$plan();
                case.can_be_taken_back_after_every_kill();
                case.takes_back_every_failure();
            }
        }
    )*};
}

plans!(
    fresh,
    half_configured,
    empty_dir,
    beside,
    subvolume,
    elsewhere,
    preallocated
);

// Failures on the way back.

#[test]
fn a_way_back_that_fails_is_printed_and_healed_by_the_next_run() {
    let case = empty_dir();
    let fails = |text: &str| Rule::on(text).fail(1, "Error: no luck");
    for stuck in ["storage create default dir", "add default root disk"] {
        let setup = Setup::new(case.options)
            .rule(fails("storage create default btrfs"))
            .rule(fails(stuck));
        let run = case.host.run(&setup).expect_code(4);
        assert!(
            run.stderr.contains(&format!("incus --force-local {stuck}"))
                || run.stderr.contains(stuck),
            "{}",
            run.output()
        );
        case.finish();
        case.take_back();

        // The same by a run that takes back only.
        case.host.run(&setup).expect_code(4);
        case.take_back();
    }
}

#[test]
fn an_undo_that_fails_is_printed_and_healed_by_the_next() {
    let case = empty_dir();
    case.finish();
    let setup = Setup::new(case.undo).rule(Rule::on("storage delete").fail(1, "Error: no luck"));
    let run = case.host.run(&setup).expect_code(4);
    assert!(run.stderr.contains("no luck"), "{}", run.output());
    for command in ["storage delete default", "storage create default dir"] {
        assert!(run.stderr.contains(command), "{}", run.output());
    }
    case.take_back();
}

// A daemon that dies.

/// The daemon is killed when this is so, while it makes the pool `default`; then something else may happen, too.
fn daemon_dies_when(condition: &str, then: &str) -> Rule {
    Rule::on("storage create").shell(&format!(
        "daemon=$(pidof incusd); \"$real\" \"$@\" & client=$!
         until {condition} || ! kill -0 $client 2>/dev/null; do :; done
         kill -KILL $daemon; {then} wait $client; exit"
    ))
}

/// Moments in the life of a pool: asked for, its file made, its file system mounted, its folders made, all there.
const MOMENTS_OF_A_CREATION: [&str; 5] = [
    "true",
    "[ -e /var/lib/incus/disks/default.img ]",
    "mountpoint -q /var/lib/incus/storage-pools/default",
    "[ -d /var/lib/incus/storage-pools/default/images ]",
    "false",
];

#[test]
fn a_daemon_that_dies_while_it_creates_a_pool_is_recovered_from() {
    let case = small();
    for moment in MOMENTS_OF_A_CREATION {
        eprintln!("the daemon dies when {moment}");
        let run = case
            .host
            .run(&Setup::new(case.options).rule(daemon_dies_when(moment, "")))
            .expect_code(4);
        assert!(
            run.stderr.contains("storage delete default"),
            "{}",
            run.output()
        );
        case.host.start_daemon();
        case.finish();
        case.take_back();
    }
}

#[test]
fn a_daemon_that_dies_with_the_run_is_recovered_from() {
    let case = small();
    for args in [case.options, case.undo] {
        for moment in MOMENTS_OF_A_CREATION {
            eprintln!("both die when {moment}, then {}", args.join(" "));
            case.host
                .run(&Setup::new(case.options).rule(daemon_dies_when(moment, "kill_setup;")))
                .expect_code(137);
            case.host.start_daemon();
            if args == case.options {
                case.finish();
            }
            case.take_back();
        }
    }
}

#[test]
fn the_next_run_starts_a_daemon_that_died() {
    let case = small();
    for then in ["", "kill_setup;"] {
        case.host
            .run(&Setup::new(case.options).rule(daemon_dies_when("true", then)));
        assert_eq!(case.host.daemon_pid(), None);
        case.finish();
        case.take_back();
    }
}

// Starting the daemon is a step as any other.

#[test]
fn a_run_that_is_killed_while_it_starts_the_daemon_is_finished() {
    let kills = [
        Rule::on("").of("incusd").kill_before(),
        Rule::on("").of("incusd").shell("kill_setup"),
        Rule::on("waitready").kill_before(),
        Rule::on("waitready").kill_after(),
    ];
    let options = ["--yes", "--no-network"];
    let end = small().end;
    for kill in kills {
        eprintln!("{kill:?}");
        let host = Host::start();
        host.run(&Setup::new(&options).rule(kill)).expect_code(137);
        // The journal names the daemon's program, which is the wrapper's now.
        let next = Setup::new(&options).rule(Rule::on("").of("incusd").each().shell(":"));
        host.run(&next).expect_code(0);
        end.assert_like(&host);
        assert_ended(&host);
        assert!(host.daemon_pid().is_some());
    }
}

#[test]
fn a_daemon_that_is_still_starting_is_waited_for() {
    let options = ["--yes", "--no-network"];
    let host = Host::start();
    // It is there, and is held before it answers, until the next run waits for it. In a session of its own, or
    // the kernel hangs up on it once its parent is gone.
    let held = Rule::on("").of("incusd").shell(
        "setsid \"$real\" \"$@\" >/dev/null 2>&1 &
         until [ \"$(basename \"$(readlink /proc/$!/exe)\")\" = incusd ]; do sleep 0.01; done
         kill -STOP $!; echo $! >\"$state/held\"; kill_setup; exit 137",
    );
    host.run(&Setup::new(&options).rule(held)).expect_code(137);
    let first = fs::read_to_string(wrapper_file(&host, "held")).expect("its process");
    let first = first.trim();
    let go_on = format!("kill -CONT {first}; \"$real\" \"$@\"; exit");
    let go_on = Rule::on("waitready").shell(&go_on);
    host.run(&Setup::new(&options).rule(go_on)).expect_code(0);
    let now = host.daemon_pid().map(|pid| pid.to_string());
    assert_eq!(now.as_deref(), Some(first));
    let log = host.sh("cat /var/log/taos-setup.log");
    assert!(log.contains("the daemon is being started already"), "{log}");
    small().end.assert_like(&host);
    // Without the daemon its containers' monitors are left, which are no daemon.
    host.launch("mary", &[]);
    host.kill_daemon();
    host.setup(&options).expect_code(0);
    assert!(host.daemon_pid().is_some());
}

// Two at a time.

/// A rule for a call that lasts until [`let_go`].
fn held(text: &str, first: &str) -> Rule {
    Rule::on(text).shell(&format!(
        "{first} trap 'touch \"$state/hit\"' INT TERM HUP
         touch \"$state/held\"; until [ -e \"$state/go\" ]; do sleep 0.02; done"
    ))
}

fn wrapper_file(host: &Host, name: &str) -> PathBuf {
    host.share().join("calls").join(name)
}

fn wait_until_held(host: &Host) {
    let deadline = Instant::now() + Duration::from_secs(30);
    while !wrapper_file(host, "held").exists() {
        assert!(Instant::now() < deadline, "the call does not come");
        std::thread::sleep(Duration::from_millis(5));
    }
}

fn let_go(host: &Host) {
    fs::write(wrapper_file(host, "go"), "").expect("letting a call go on");
}

/// Runs the program beside one that is at work, whose wrapper stays as it is.
fn beside_it(host: &Host, args: &[&str]) -> Output {
    let program = host.share().join("taos-setup");
    host.command(program.to_str().expect("a plain path"), args)
        .output()
        .expect("running taos-setup")
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

fn process_of(host: &Host) -> String {
    host.sh("pgrep -x taos-setup")
}

#[test]
fn a_second_run_is_refused_and_told_of_the_first() {
    let case = small();
    let setup = Setup::new(case.options).rule(held("storage create", ""));
    let mut first = case.host.pty_run(&setup, 200, 50);
    wait_until_held(&case.host);
    let process = format!("process {}", process_of(&case.host));
    for args in [case.options, case.undo] {
        let second = beside_it(&case.host, args);
        let message = text(&second.stderr);
        assert_eq!(second.status.code(), Some(3), "{message}");
        assert!(message.contains(&process), "{process}: {message}");
    }
    case.initial.assert_now(&case.host);
    let status = beside_it(&case.host, &["status"]);
    assert_eq!(status.status.code(), Some(0));

    let_go(&case.host);
    first.wait_exit().expect_code(0);
    case.assert_finished();
}

#[test]
fn the_next_run_waits_for_the_last_command_of_a_killed_one() {
    let case = preallocated();
    for call in ["storage create", "device add"] {
        waits_for(&case, held(call, "kill_setup;"));
    }
    waits_for(&case, held("", "kill_setup;").of("fallocate"));
}

fn waits_for(case: &Case, last: Rule) {
    eprintln!("{last:?}");
    for (args, state) in [(case.options, &case.end), (case.undo, &case.initial)] {
        case.host
            .run(&Setup::new(case.options).rule(last.clone()))
            .expect_code(137);
        wait_until_held(&case.host);
        let mut next = case.host.pty(args, 200, 50);
        next.expect("Waiting for the last command");
        let_go(&case.host);
        next.wait_exit().expect_code(0);
        state.assert_now(&case.host);
        assert_ended(&case.host);
        if args == case.options {
            case.take_back();
        }
    }
}

// Signals.

/// A run that gets a signal while it creates the pool.
fn stopped(case: &Case, signal: impl Fn(&mut Session, &str)) -> Run {
    let setup = Setup::new(case.options).rule(held("storage create", ""));
    let mut session = case.host.pty_run(&setup, 200, 50);
    wait_until_held(&case.host);
    signal(&mut session, &process_of(&case.host));
    // Time to do something wrong in.
    std::thread::sleep(Duration::from_millis(300));
    let_go(&case.host);
    let run = session.wait_exit();
    assert!(
        !wrapper_file(&case.host, "hit").exists(),
        "only for taos-setup"
    );
    run
}

#[test]
fn a_signal_lets_the_step_finish_and_leaves_the_rest() {
    let case = small();
    for signal in ["INT", "TERM", "HUP"] {
        let run = stopped(&case, |_, process| {
            case.host.sh(&format!("kill -{signal} {process}"));
        });
        let run = run.expect_code(4);
        assert!(run.stdout.contains("✓ create storage pool"), "{run:?}");
        assert!(run.stdout.contains("profile device add default root"));
        assert!(run.stdout.contains("taos-setup undo"));
        assert_ne!(case.host.query("/1.0/storage-pools/default")["name"], "");
        if signal != "TERM" {
            case.finish();
        }
        case.take_back();
    }
}

#[test]
fn ctrl_c_reaches_no_command() {
    let case = small();
    stopped(&case, |session, _| {
        session.send(Session::CTRL_C);
    })
    .expect_code(4);
    case.finish();
}

#[test]
fn a_signal_on_the_way_back_lets_it_be_completed() {
    let case = small();
    case.finish();
    let setup = Setup::new(case.undo).rule(held("device remove", ""));
    let mut session = case.host.pty_run(&setup, 200, 50);
    wait_until_held(&case.host);
    session.send(Session::CTRL_C);
    std::thread::sleep(Duration::from_millis(300));
    let_go(&case.host);
    session.wait_exit().expect_code(0);
    case.assert_initial();
}

// The journal itself.

/// A run that was killed when its pool was there and nothing else.
fn cut_short(case: &Case) {
    case.host
        .run(&Setup::new(case.options).rule(Rule::on("device add").kill_before()))
        .expect_code(137);
}

/// Everything that a refused run must leave alone.
fn assert_untouched(host: &Host, act: impl FnOnce()) {
    let before = (State::of(host), journals(host));
    act();
    before.0.assert_now(host);
    assert_eq!(before.1, journals(host));
}

#[test]
fn a_journal_that_ends_with_the_plan_or_before_it_is_no_obstacle() {
    let case = small();
    for keep in [0, 50] {
        case.host
            .run(&Setup::new(case.options).rule(Rule::on("storage create").kill_before()))
            .expect_code(137);
        let journal = last_journal(&case.host);
        let text = fs::read_to_string(&journal).expect("reading a journal");
        fs::write(&journal, &text[..keep]).expect("cutting a journal");
        case.finish();
        case.take_back();
    }
}

#[test]
fn a_journal_without_its_last_line_is_completed() {
    let case = small();
    case.finish();
    tear(&case.host);
    case.finish();
    assert!(fs::read_to_string(last_journal(&case.host))
        .expect("reading a journal")
        .contains("completed"));
    case.take_back();
    tear(&case.host);
    case.take_back();
}

#[test]
fn a_damaged_journal_is_refused() {
    let case = small();
    cut_short(&case);
    let journal = last_journal(&case.host);
    let text = fs::read_to_string(&journal).expect("reading a journal");
    let (plan, rest) = text.split_once('\n').expect("a plan");
    let newer = text.replacen("\"format\":1", "\"format\":99", 1);
    for damaged in [
        format!("{plan}\n\0\0\0\0\n{rest}"),
        format!("{plan}\n{{\"begin\":77}}\n{rest}"),
        format!("garbage\n{rest}"),
        newer,
    ] {
        fs::write(&journal, damaged).expect("damaging a journal");
        for args in [case.options, case.undo, &["--yes", "--dry-run"]] {
            assert_untouched(&case.host, || {
                let run = case.host.setup(args).expect_code(3);
                assert!(run.stderr.contains("run-0"), "{}", run.output());
            });
        }
    }
    fs::write(&journal, text).expect("mending a journal");
    case.finish();
}

/// A state folder on a file system of its own.
const SMALL_DISK: &str = "/mnt/small";

fn with_small_disk(case: &Case) -> Setup {
    case.host.sh(&format!(
        "mkdir -p {SMALL_DISK}; mount -t tmpfs -o size=64k tmpfs {SMALL_DISK}"
    ));
    Setup::new(case.options).env("TAOS_STATE_DIR", SMALL_DISK)
}

fn fill(folder: &str) -> String {
    format!("cat /dev/zero >{folder}/full 2>/dev/null || :")
}

#[test]
fn a_full_disk_is_noticed_before_anything_is_done() {
    let case = small();
    let setup = with_small_disk(&case);
    case.host.sh(&fill(SMALL_DISK));
    let run = case.host.run(&setup).expect_code(3);
    assert!(run.stderr.contains(SMALL_DISK), "{}", run.output());
    assert!(run.stderr.contains("No space left"), "{}", run.output());
    case.initial.assert_now(&case.host);
    assert!(!run.calls.iter().any(|call| changes(call)));

    case.host.sh(&format!("rm {SMALL_DISK}/full"));
    case.host.run(&setup).expect_code(0);
    case.end.assert_now(&case.host);
}

#[test]
fn a_disk_that_fills_up_on_the_way_stops_the_run_and_the_next_finishes_it() {
    let case = small();
    let setup = with_small_disk(&case);
    // A file's last page has room left; blanks before a line are no harm.
    let fills = Rule::on("storage create").shell(&format!(
        "journal=$(ls {SMALL_DISK}/*.jsonl)
         printf '%*s' $((4096 - $(stat -c %s $journal) % 4096)) '' >>$journal
         {}",
        fill(SMALL_DISK)
    ));
    let run = case.host.run(&setup.clone().rule(fills)).expect_code(4);
    assert!(run.stderr.contains("No space left"), "{}", run.output());
    case.host.sh(&format!("rm {SMALL_DISK}/full"));
    case.host.run(&setup).expect_code(0);
    case.end.assert_now(&case.host);
}

// Who says yes to an unfinished run.

#[test]
fn looking_at_an_unfinished_run_changes_nothing() {
    let case = small();
    cut_short(&case);
    let log = || fs::read_to_string(case.host.file("/var/log/taos-setup.log")).expect("the log");
    let before = log();
    assert_untouched(&case.host, || {
        let run = case.host.setup(&["--dry-run"]).expect_code(0);
        assert!(run.stdout.contains("cut short"), "{}", run.output());
        assert!(run.stdout.contains("profile device add default root"));
        case.host.setup(&["undo", "--dry-run"]).expect_code(0);
        case.host.setup(&["status"]).expect_code(0);
        case.host.setup(&["status", "--json"]).expect_code(0);
    });
    assert_eq!(before, log());
}

#[test]
fn an_unfinished_run_is_not_finished_without_a_yes() {
    let case = small();
    cut_short(&case);
    assert_untouched(&case.host, || {
        for args in [&["--no-network"][..], &["undo"]] {
            let run = case.host.setup(args).expect_code(3);
            assert!(run.stderr.contains("--yes"), "{}", run.output());
        }
    });
}

#[test]
fn an_unfinished_run_with_pins_needs_them_named_again() {
    let case = beside();
    case.host
        .run(&Setup::new(case.options).rule(Rule::on("config device add").kill_before()))
        .expect_code(137);
    assert_untouched(&case.host, || {
        let run = case.host.setup(&["--yes"]).expect_code(3);
        for name in ["mary", "naira", "--pin"] {
            assert!(run.stderr.contains(name), "{}", run.output());
        }
        case.host.setup(&["--yes", "--pin", "mary"]).expect_code(3);
    });
    case.host
        .setup(&["--yes", "--no-network", "--pin", "mary,naira"])
        .expect_code(0);
    case.assert_finished();
}
