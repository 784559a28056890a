//! The tests' own private hosts: they do what the tests believe they do, and nothing of them stays.

use std::fs;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use crate::support::{assert_same, Cluster, Host, Rule, Session, Setup};

/// What a host has on the machine, to be looked for after its end.
struct Traces {
    dir: String,
    loops: Vec<(String, String)>,
}

impl Traces {
    fn of(host: &Host) -> Self {
        let loops = host.loops();
        assert!(
            !loops.is_empty(),
            "the host has a loop device to leave behind"
        );
        Self {
            dir: host.dir().to_str().expect("a plain path").to_owned(),
            loops: loops
                .into_iter()
                .map(|l| (backing(&l.device), l.device))
                .collect(),
        }
    }

    /// Waits for the end of everything; a guard that outlives its owner needs a moment.
    fn assert_gone(&self) {
        let deadline = Instant::now() + Duration::from_secs(20);
        while let Err(left) = self.look() {
            assert!(Instant::now() < deadline, "{left} is still there");
            std::thread::sleep(Duration::from_millis(20));
        }
    }

    fn look(&self) -> Result<(), String> {
        if Path::new(&self.dir).exists() {
            return Err(format!("the folder {}", self.dir));
        }
        for (file, device) in &self.loops {
            if &backing(device) == file {
                return Err(format!("the loop device {device} of {file}"));
            }
        }
        let mounts = fs::read_to_string("/proc/self/mountinfo").expect("reading the mounts");
        if let Some(mount) = mounts.lines().find(|line| line.contains(&self.dir)) {
            return Err(format!("the mount {mount}"));
        }
        let name = self.dir.rsplit('/').next().expect("a name");
        let groups = Command::new("find")
            .args(["/sys/fs/cgroup", "-name", name])
            .output();
        if let Some(group) = text(&groups.expect("running find").stdout).lines().next() {
            return Err(format!("the control group {group}"));
        }
        for process in fs::read_dir("/proc").expect("reading /proc") {
            let path = process.expect("a process").path();
            let words = fs::read(path.join("cmdline")).unwrap_or_default();
            if text(&words).contains(&self.dir) {
                return Err(format!("the process {}", path.display()));
            }
        }
        Ok(())
    }
}

/// The file of a loop device as its device and inode number; two hosts' files have the same path.
fn backing(device: &str) -> String {
    let args = [
        "--list",
        "--noheadings",
        "--output",
        "BACK-MAJ:MIN,BACK-INO",
    ];
    let output = Command::new("losetup").args(args).arg(device).output();
    text(&output.expect("running losetup").stdout)
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

#[test]
fn a_host_runs_real_containers_and_leaves_nothing() {
    let host = Host::with_pool("btrfs");
    host.launch("mary", &[]);
    assert_eq!(
        host.incus(&["list", "--format", "csv", "--columns", "ns"]),
        "mary,RUNNING"
    );
    assert_eq!(host.incus(&["exec", "mary", "--", "hostname"]), "mary");
    assert_eq!(host.loops().len(), 1);
    assert_eq!(host.loops()[0].file, "/var/lib/incus/disks/default.img");

    let started = Instant::now();
    host.incus(&["stop", "mary"]);
    host.incus(&["start", "mary"]);
    host.incus(&["stop", "mary", "--force"]);
    host.incus(&["start", "mary"]);
    eprintln!(
        "a clean and a forced stop with their starts: {:?}",
        started.elapsed()
    );

    let traces = Traces::of(&host);
    drop(host);
    traces.assert_gone();
}

#[test]
fn a_killed_owner_leaves_nothing() {
    // The owner is a shell of its own, so that this test lives on after the kill. It alone holds the pipe's other end.
    let script = concat!(env!("CARGO_MANIFEST_DIR"), "/scripts/private-host.sh");
    let hold = "coproc HOLD { exec \"$0\" hold; }; read -r line <&${HOLD[0]}; echo \"$line\"; read -r _ <&${HOLD[0]}";
    let mut owner = Command::new("bash")
        .args(["-c", hold, script])
        .stdout(Stdio::piped())
        .spawn()
        .expect("starting an owner");
    let stdout = owner.stdout.take().expect("a pipe");
    let host = Host::adopt(stdout);
    host.start_daemon();
    host.make_pool("btrfs");
    host.launch("naira", &[]);
    let traces = Traces::of(&host);
    owner.kill().expect("killing the owner");
    owner.wait().expect("waiting for the owner");
    traces.assert_gone();
}

#[test]
fn a_panic_leaves_nothing() {
    let (sender, receiver) = std::sync::mpsc::channel();
    let failed = std::thread::spawn(move || {
        let host = Host::with_pool("btrfs");
        sender.send(Traces::of(&host)).expect("sending");
        panic!("on purpose");
    });
    assert!(failed.join().is_err());
    receiver.recv().expect("traces").assert_gone();
}

#[test]
fn a_loop_device_of_a_deleted_file_goes_too() {
    let host = Host::start();
    let make = "truncate -s 10M /var/lib/incus/x.img; losetup --find --show /var/lib/incus/x.img; rm /var/lib/incus/x.img";
    let device = host.sh(make);
    let file = backing(&device);
    assert!(!file.is_empty());
    drop(host);
    assert_ne!(backing(&device), file, "{device} is still there");
}

#[test]
fn hosts_do_not_see_each_other() {
    let one = Host::with_pool("dir");
    let two = Host::with_pool("dir");
    one.launch("mary", &[]);
    two.launch("mary", &[]);
    one.incus(&["network", "create", "incusbr0", "ipv6.address=none"]);
    two.incus(&["network", "create", "incusbr0", "ipv6.address=none"]);
    one.sh("touch /etc/only-here /tmp/only-here; rm /usr/bin/incus");
    for path in ["/etc/only-here", "/tmp/only-here"] {
        assert!(!two.file(path).exists() && !Path::new(path).exists());
    }
    assert_eq!(
        two.incus(&["list", "--format", "csv", "--columns", "ns"]),
        "mary,RUNNING"
    );
}

#[test]
fn a_host_has_the_file_systems_it_is_asked_for() {
    let host = Host::builder()
        .incus_fs("btrfs", "8G")
        .extra_btrfs("/mnt/data", "50G")
        .daemon()
        .start();
    assert_eq!(
        host.sh("stat -f -c %T /var/lib/incus /mnt/data"),
        "btrfs\nbtrfs"
    );
    host.make_pool("btrfs");
    host.launch("stanley", &[]);
    // The pool's loop file lies on a file system that lies on a loop file itself.
    assert_eq!(host.loops().len(), 3);
    let traces = Traces::of(&host);
    drop(host);
    traces.assert_gone();
}

#[test]
fn packages_go_in_the_host_only() {
    let host = Host::builder().without(&["incus", "btrfs-progs"]).start();
    assert_eq!(host.sh("command -v incus btrfs incusd || true"), "");
    assert_eq!(host.sh("ls /run"), host.sh("ls /run | grep -v systemd"));
    assert!(Path::new("/usr/bin/incus").exists());
}

#[test]
fn containers_outlive_a_killed_daemon() {
    let host = Host::with_pool("dir");
    host.launch("mary", &[]);
    let before = host.state_digest();
    host.kill_daemon();
    assert_eq!(host.daemon_pid(), None);
    host.start_daemon();
    assert_same(&before, &host.state_digest());

    host.incus(&["config", "set", "mary", "user.x", "1"]);
    let changes = before.changes(&host.state_digest());
    assert_eq!(changes, ["+ instance default/mary config user.x: \"1\""]);
}

#[test]
fn subnets_can_be_taken() {
    let host = Host::with_daemon();
    host.occupy_subnets();
    let error = host.try_incus(&[
        "network",
        "create",
        "incusbr0",
        "ipv4.address=auto",
        "ipv6.address=none",
    ]);
    assert!(error
        .expect_err("no free subnet")
        .contains("Failed to automatically find an unused IPv4 subnet"));
}

#[test]
fn calls_are_counted_and_rules_act() {
    let host = Host::with_daemon();
    host.replace_program(
        "#!/bin/sh\nincus list \"two words\"\nincus storage list\nincus storage list\necho end\n",
    );

    let run = host.setup(&[]).expect_code(0);
    assert_eq!(run.incus_calls[0], ["list", "two words"]);
    assert_eq!(run.incus_calls.len(), 3);

    let kills = [
        (Rule::nth(1).kill_before(), 1),
        (Rule::on("storage list").kill_after(), 2),
        (Rule::on("storage").and_nth(2).kill_during(1), 3),
    ];
    for (rule, calls) in kills {
        let run = host.run(&Setup::new(&[]).rule(rule)).expect_code(137);
        assert_eq!(run.incus_calls.len(), calls);
        assert!(!run.stdout.contains("end"));
    }

    let setup = Setup::new(&[])
        .rule(Rule::on("list two").print("it's \"here\""))
        .rule(Rule::on("storage").each().fail(3, "no such thing"));
    let run = host.run(&setup).expect_code(0);
    assert_eq!(run.stdout, "it's \"here\"\nend\n");
    assert_eq!(run.stderr, "no such thing\nno such thing\n");
}

#[test]
fn a_hanging_call_ends_with_the_time_limit() {
    let host = Host::start();
    host.replace_program("#!/bin/sh\nincus list\n");
    let setup = Setup::new(&[])
        .rule(Rule::nth(1).hang())
        .timeout(Duration::from_millis(300));
    let failed = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| host.run(&setup)));
    let message = failed.expect_err("a time limit");
    let message = message.downcast_ref::<String>().expect("a message");
    assert!(message.contains("did not end within 300ms"), "{message}");
    host.sh("for i in $(seq 100); do pgrep -x taos-setup >/dev/null || exit 0; sleep 0.02; done; exit 1");
}

#[test]
fn wrapping_shows_no_command_that_is_not_there() {
    let host = Host::builder().without(&["incus"]).start();
    host.replace_program(
        "#!/bin/sh\ncommand -v incus\napt-get --version >/dev/null\nprintf '#!/bin/sh\\necho real\\n' >/usr/bin/incus\n\
         chmod +x /usr/bin/incus\napt-get --version >/dev/null\nincus list\n",
    );
    let run = host.run(&Setup::new(&[]).rule(Rule::on("install").of("apt-get").fail(1, "offline")));
    assert_eq!(run.stdout, "real\n", "{}", run.output());
    assert_eq!(run.calls[2], ["incus", "list"]);
}

#[test]
fn standard_input_and_environment_reach_the_program() {
    let host = Host::start();
    host.replace_program("#!/bin/sh\nread -r line\necho \"$line $X $HOME $# $TERM\"\nexit 3\n");
    let run = host
        .run(
            &Setup::new(&["a b", ""])
                .stdin("first\nsecond\n")
                .env("X", "y z"),
        )
        .expect_code(3);
    assert_eq!(run.stdout, "first y z /root 2 dumb\n");
    assert_eq!(run.stdin_left, "second\n");
    assert_eq!(host.setup(&[]).stdout, "  /root 0 dumb\n");
}

#[test]
fn a_terminal_has_keys_and_a_width() {
    let host = Host::start();
    host.replace_program(
        "#!/bin/bash\ntrap 'echo caught; exit 130' INT\nstty size\nprintf '\\e[1mwho\\e[0m? '\nread -r name\n\
         echo \"hello $name\"\nprintf '%070d\\n' 0\nstty size\nread -r end || echo no more\nsleep 60\n",
    );
    let mut session = host.pty(&[], 60, 20);
    session
        .expect("20 60")
        .expect("who? ")
        .send("mary")
        .send(Session::ENTER);
    session.expect("hello mary").expect("0000\n");
    assert_eq!(session.wrapped_rows(), ["0".repeat(60)]);
    session
        .expect("20 60")
        .send(Session::CTRL_D)
        .expect("no more");
    session.resize(100, 30);
    session.send(Session::CTRL_C);
    let run = session.wait_exit().expect_code(130);
    assert!(run.stdout.ends_with("caught\n"), "{run:?}");
}

#[test]
fn a_cluster_loses_members_gets_them_back_and_leaves_nothing() {
    let mut cluster = Cluster::with_pool(2, "btrfs");
    cluster[0].launch("mary", &["--target", "m1"]);
    cluster[1].launch("naira", &["--target", "m2"]);
    let size = ("default", "size", "1GiB");
    let third = cluster.join(&[("default", "source", ""), size]);
    assert_eq!(third, 2);
    let before = cluster[1].state_digest();
    for (what, value) in [
        ("pool default on m1 config size", "\"2GiB\""),
        ("pool default on m3 config size", "\"1GiB\""),
        ("instance default/naira location", "\"m2\""),
    ] {
        assert_eq!(before.get(what), Some(value), "{before}");
    }
    assert_same(&before, &cluster[2].state_digest());
    // Each member has folders of its own.
    cluster[1].sh("[ -d /var/lib/incus/storage-pools/default/containers/naira ]");
    cluster[1].sh("[ ! -d /var/lib/incus/storage-pools/default/containers/mary ]");

    // The leader is lost: the other two go on without it.
    cluster.lose(0);
    assert_eq!(cluster.status(1, 0), "Offline");
    cluster[2].launch("stanley", &["--target", "m2"]);
    cluster.bring_back(0);
    for asked in 0..cluster.len() {
        assert_eq!(cluster.status(asked, 0), "Online");
    }
    let after = cluster[0].state_digest().without(&["stanley"]);
    assert_same(&before, &after);

    let traces: Vec<Traces> = cluster.members().map(Traces::of).collect();
    drop(cluster);
    for traces in traces {
        traces.assert_gone();
    }
}
