//! Private hosts for tests: real daemons, real containers, and nothing left behind.
//!
//! A [`Host`] is a throw-away machine made by `scripts/private-host.sh`, with the default paths of Incus, a network of
//! its own and the program under test in it. It ends with the value, also when the test panics or is killed.
//!
//! Nothing is skipped: without root or without a tool the test fails and says what is missing.
#![allow(
    dead_code,
    unused_imports,
    reason = "every test binary compiles its own copy and uses a part of it"
)]

mod cluster;
mod digest;
mod pty;
mod run;
mod tree;
mod wrapper;

pub use cluster::Cluster;
pub use digest::{assert_same, Digest};
pub use pty::Session;
pub use run::{Run, Setup};
pub use tree::Tree;
pub use wrapper::Rule;

use std::fs;
use std::io::{BufRead, BufReader, Read, Write};
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::sync::OnceLock;
use std::time::{Duration, Instant};

use serde_json::Value;

const SCRIPT: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/scripts/private-host.sh");
const PROGRAM: &str = env!("CARGO_BIN_EXE_taos-setup");

/// What a plain root shell has, and where packages put `incusd`.
const PATH: &str = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

/// Where the daemon may be: Debian and Ubuntu, others, and the packages of Zabbly.
const DAEMON_DIRS: &str = "/usr/libexec/incus /usr/lib/incus /opt/incus/bin";

/// What kind of host to start.
#[derive(Default)]
pub struct Builder {
    options: Vec<String>,
    daemon: bool,
}

impl Builder {
    /// Puts /var/lib/incus on a file system of its own: `btrfs`, `ext4`, … with a size such as `8G`.
    #[must_use]
    pub fn incus_fs(self, kind: &str, size: &str) -> Self {
        self.option("--incus-fs", &format!("{kind}:{size}"))
    }

    /// Mounts a further btrfs file system on `path`.
    #[must_use]
    pub fn extra_btrfs(self, path: &str, size: &str) -> Self {
        self.option("--extra-btrfs", &format!("{path}:{size}"))
    }

    /// Removes packages in the host, and those called `<name>-*`.
    #[must_use]
    pub fn without(self, packages: &[&str]) -> Self {
        self.option("--without", &packages.join(","))
    }

    /// Lets apt reach the network.
    #[must_use]
    pub fn online(mut self) -> Self {
        self.options.push("--online".into());
        self
    }

    /// Starts the daemon as well.
    #[must_use]
    pub fn daemon(mut self) -> Self {
        self.daemon = true;
        self
    }

    #[must_use]
    pub fn start(self) -> Host {
        let host = Host::hold(&self.options);
        if self.daemon {
            host.start_daemon();
        }
        host
    }

    fn option(mut self, name: &str, value: &str) -> Self {
        self.options.extend([name.into(), value.into()]);
        self
    }
}

/// A running private host.
pub struct Host {
    /// Keeps the host alive as long as its standard input is open. None for a host that was adopted.
    holder: Option<Child>,
    dir: PathBuf,
    pid: u32,
}

/// A loop device of a host, and its file as the host sees it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Loop {
    pub device: String,
    pub file: String,
}

// Starting and ending.
impl Host {
    pub fn builder() -> Builder {
        Builder::default()
    }

    /// A host whose daemon does not run yet.
    pub fn start() -> Self {
        Self::builder().start()
    }

    /// A host with a running daemon that nobody has initialised.
    pub fn with_daemon() -> Self {
        Self::builder().daemon().start()
    }

    /// The common half of the tests: a running daemon with a pool `default` of this driver and a profile that uses it.
    pub fn with_pool(driver: &str) -> Self {
        let host = Self::with_daemon();
        host.make_pool(driver);
        host
    }

    fn hold(options: &[String]) -> Self {
        assert!(
            nix::unistd::geteuid().is_root(),
            "starting a private host for a test needs root: run `sudo ./scripts/test.sh`"
        );
        let mut holder = Command::new(SCRIPT)
            .arg("hold")
            .args(options)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap_or_else(|e| panic!("starting {SCRIPT}: {e}"));
        let stdout = holder.stdout.take().expect("a pipe");
        if let Some(mut host) = Self::on(stdout) {
            host.holder = Some(holder);
            return host;
        }
        drop(holder.stdin.take());
        panic!(
            "{SCRIPT} hold {}: {}",
            options.join(" "),
            rest_of_stderr(&mut holder)
        );
    }

    /// Uses a host that somebody else holds, and ends when that one wants.
    pub fn adopt(says: impl Read) -> Self {
        Self::on(says).expect("a private host that says it is ready")
    }

    /// The host whose script says `ready DIR`.
    fn on(says: impl Read) -> Option<Self> {
        let mut line = String::new();
        BufReader::new(says).read_line(&mut line).ok()?;
        let dir = PathBuf::from(line.trim_end().strip_prefix("ready ")?);
        let pid = fs::read_to_string(dir.join("pid")).expect("reading the host's pid");
        let pid = pid.trim().parse().expect("a process id");
        let host = Self {
            holder: None,
            dir,
            pid,
        };
        host.install_program();
        host.install_wrapper();
        Some(host)
    }

    /// The program goes to a folder that both sides see; a link costs nothing where the build lies on the same disk.
    fn install_program(&self) {
        let target = self.program();
        if fs::hard_link(PROGRAM, &target).is_err() {
            fs::copy(PROGRAM, &target)
                .unwrap_or_else(|e| panic!("copying {PROGRAM} to {}: {e}", target.display()));
        }
    }

    /// Puts a shell script in the place of `taos-setup`, to test this harness itself.
    pub fn replace_program(&self, script: &str) {
        fs::remove_file(self.program()).expect("removing the program");
        fs::write(self.program(), script).expect("writing a script");
        fs::set_permissions(self.program(), fs::Permissions::from_mode(0o755))
            .expect("making a script executable");
    }

    pub(crate) fn program(&self) -> PathBuf {
        self.share().join("taos-setup")
    }

    /// The folder that has the same path inside and outside of the host.
    pub fn share(&self) -> PathBuf {
        self.dir.join("share")
    }

    /// The host's folder on the machine; `scripts/private-host.sh exec` takes it.
    pub fn dir(&self) -> &Path {
        &self.dir
    }

    /// The process id of the host's first process, as the machine sees it.
    pub fn pid(&self) -> u32 {
        self.pid
    }

    /// A path of the host as a path of the machine, for plain file access.
    pub fn file(&self, path: &str) -> PathBuf {
        PathBuf::from(format!(
            "/proc/{}/root/{}",
            self.pid,
            path.trim_start_matches('/')
        ))
    }
}

impl Drop for Host {
    fn drop(&mut self) {
        if std::thread::panicking() {
            if let Ok(log) = fs::read_to_string(self.file("/var/log/incus/incusd.log")) {
                let tail: Vec<&str> = log.lines().rev().take(15).collect();
                eprintln!(
                    "the last lines of the daemon's log, latest first:\n{}",
                    tail.join("\n")
                );
            }
        }
        let Some(holder) = &mut self.holder else {
            return;
        };
        drop(holder.stdin.take());
        let deadline = Instant::now() + Duration::from_secs(60);
        loop {
            match holder.try_wait() {
                Ok(Some(_)) => break,
                Ok(None) if Instant::now() < deadline => {
                    std::thread::sleep(Duration::from_millis(5));
                }
                Ok(None) | Err(_) => {
                    eprintln!(
                        "clearing away the private host {} takes more than a minute",
                        self.dir.display()
                    );
                    return;
                }
            }
        }
        eprint!("{}", rest_of_stderr(holder));
    }
}

fn rest_of_stderr(child: &mut Child) -> String {
    let mut text = String::new();
    if let Some(mut stderr) = child.stderr.take() {
        stderr.read_to_string(&mut text).ok();
    }
    text
}

// Commands in the host.
impl Host {
    /// A command in the host, with a clean environment. It is killed when the process that is returned is killed.
    pub fn command(&self, program: &str, args: &[&str]) -> Command {
        self.command_with(&[("PATH", PATH)], program, args)
    }

    pub(crate) fn command_with(
        &self,
        env: &[(&str, &str)],
        program: &str,
        args: &[&str],
    ) -> Command {
        let mut command = Command::new(SCRIPT);
        command
            .env("TAOS_HOST_PLAIN", "1")
            .arg("exec")
            .arg(&self.dir)
            .args(["setpriv", "--pdeathsig", "KILL", "env", "-i"])
            .args(["HOME=/root", "USER=root", "LOGNAME=root", "LANG=C.UTF-8"])
            .args(env.iter().map(|(name, value)| format!("{name}={value}")))
            .arg(program)
            .args(args)
            .stdin(Stdio::null());
        command
    }

    /// Runs a shell script in the host and returns its standard output.
    ///
    /// # Panics
    /// When the script fails.
    pub fn sh(&self, script: &str) -> String {
        let output = self.output(&mut self.command("sh", &["-euc", script]));
        success(&format!("sh: {script}"), output)
    }

    /// Runs `incus` and returns its standard output.
    ///
    /// # Panics
    /// When it fails.
    pub fn incus(&self, args: &[&str]) -> String {
        success(
            &format!("incus {}", args.join(" ")),
            self.output(&mut self.command("incus", args)),
        )
    }

    /// Runs `incus`: standard output, or standard error if it fails.
    pub fn try_incus(&self, args: &[&str]) -> Result<String, String> {
        let output = self.output(&mut self.command("incus", args));
        if output.status.success() {
            Ok(text(&output.stdout))
        } else {
            Err(text(&output.stderr))
        }
    }

    /// What the API says, its `metadata` only.
    pub fn query(&self, path: &str) -> Value {
        self.try_query(path)
            .unwrap_or_else(|e| panic!("asking the daemon for {path}: {e}"))
    }

    /// As [`Host::query`], or the daemon's error. It asks on the socket: a call of the client takes 50 ms.
    pub fn try_query(&self, path: &str) -> Result<Value, String> {
        let ask = || -> std::io::Result<String> {
            let mut socket = UnixStream::connect(self.file("/var/lib/incus/unix.socket"))?;
            write!(socket, "GET {path} HTTP/1.0\r\nHost: incus\r\n\r\n")?;
            let mut answer = String::new();
            socket.read_to_string(&mut answer)?;
            Ok(answer)
        };
        let answer = ask().map_err(|e| e.to_string())?;
        let (_, body) = answer.split_once("\r\n\r\n").ok_or(answer.clone())?;
        let mut document: Value =
            serde_json::from_str(body).map_err(|e| format!("{e}: {answer}"))?;
        match document["error"].as_str() {
            Some(error) if !error.is_empty() => Err(error.to_owned()),
            _ => Ok(document["metadata"].take()),
        }
    }

    /// Runs `incus` with something to read.
    pub fn incus_with_input(&self, args: &[&str], input: &str) -> String {
        let mut child = self
            .command("incus", args)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .expect("starting incus in the host");
        let mut stdin = child.stdin.take().expect("a pipe");
        stdin.write_all(input.as_bytes()).expect("writing to incus");
        drop(stdin);
        let output = child.wait_with_output().expect("waiting for incus");
        success(&format!("incus {} < {input}", args.join(" ")), output)
    }

    fn output(&self, command: &mut Command) -> Output {
        command
            .output()
            .unwrap_or_else(|e| panic!("running a command in the host {}: {e}", self.dir.display()))
    }
}

fn success(what: &str, output: Output) -> String {
    assert!(
        output.status.success(),
        "{what}: {}\n{}{}",
        output.status,
        text(&output.stdout),
        text(&output.stderr)
    );
    text(&output.stdout)
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).trim_end().to_owned()
}

// The daemon.
impl Host {
    /// Starts the daemon and waits until it answers.
    pub fn start_daemon(&self) {
        self.sh(&format!(
            "for dir in {DAEMON_DIRS}; do [ ! -x $dir/incusd ] || daemon=$dir/incusd; done
             : \"${{daemon:?no incusd in {DAEMON_DIRS}; install it first (apt-get install incus-base incus-client)}}\"
             group=; ! getent group incus-admin >/dev/null || group='--group incus-admin'
             setsid -f $daemon $group --logfile /var/log/incus/incusd.log </dev/null >/dev/null 2>&1
             incus admin waitready --timeout 60"
        ));
    }

    /// Kills the daemon without a warning; containers run on.
    pub fn kill_daemon(&self) {
        let pid = self.daemon_pid().expect("a running daemon to kill");
        self.sh(&format!(
            "kill -KILL {pid}; while kill -0 {pid} 2>/dev/null; do sleep 0.01; done"
        ));
    }

    /// The daemon's process id inside of the host.
    pub fn daemon_pid(&self) -> Option<u32> {
        // Helpers carry its name too: `incusd forkproxy …`, and a container's `[lxc monitor] …`.
        let pid = self.sh("for dir in /proc/[0-9]*; do
               [ \"$(cat $dir/comm 2>/dev/null)\" = incusd ] || continue
               set -- $(tr '\\0' ' ' <$dir/cmdline 2>/dev/null)
               case ${1:-},${2:-} in *incusd,fork*|*incusd,callhook) ;; *incusd,*) echo ${dir#/proc/} ;; esac
             done");
        pid.lines()
            .next()
            .map(|pid| pid.parse().expect("a process id"))
    }

    /// Starts `incus-user` beside the daemon, for members of the group `incus` only.
    pub fn start_incus_user(&self) {
        self.sh(&format!(
            "for dir in {DAEMON_DIRS}; do [ ! -x $dir/incus-user ] || user=$dir/incus-user; done
             setsid -f \"${{user:?no incus-user in {DAEMON_DIRS}}}\" --group incus </dev/null >/dev/null 2>&1
             until [ -S /var/lib/incus/unix.socket.user ]; do sleep 0.02; done"
        ));
    }

    /// Makes `ipv4.address=auto` fail: Incus looks for a free subnet in 10.0.0.0/8 only, and takes none that a route of
    /// the host covers. Other private ranges stay free.
    pub fn occupy_subnets(&self) {
        self.sh("ip route add unreachable 10.0.0.0/8");
    }
}

// What a host may have in it.
impl Host {
    /// A pool `default`, and the `default` profile with its root on it. A loop pool has 2 GiB.
    pub fn make_pool(&self, driver: &str) {
        let mut create = vec!["storage", "create", "default", driver];
        if driver != "dir" {
            create.push("size=2GiB");
        }
        self.incus(&create);
        self.incus(&[
            "profile",
            "device",
            "add",
            "default",
            "root",
            "disk",
            "path=/",
            "pool=default",
        ]);
    }

    /// Feeds `incus admin init --preseed`.
    pub fn preseed(&self, yaml: &str) {
        self.incus_with_input(&["admin", "init", "--preseed"], yaml);
    }

    /// Imports the image of a tiny container: it starts and stops at once.
    pub fn import_tiny(&self, alias: &str) {
        self.import_tiny_into("default", alias);
    }

    pub fn import_tiny_into(&self, project: &str, alias: &str) {
        static IMAGE: OnceLock<Vec<u8>> = OnceLock::new();
        let file = self.share().join("tiny.tar.gz");
        let image = IMAGE.get_or_init(|| {
            let made = Command::new(SCRIPT)
                .arg("tiny-image")
                .arg(&file)
                .output()
                .expect("making a tiny image");
            success("making a tiny image", made);
            fs::read(&file).expect("reading the tiny image")
        });
        if !file.exists() {
            fs::write(&file, image).expect("writing the tiny image");
        }
        let file = file.to_str().expect("a plain path");
        self.incus(&[
            "image",
            "import",
            file,
            "--alias",
            alias,
            "--project",
            project,
        ]);
    }

    /// Launches a tiny container. The image `tiny` is imported when it is missing.
    pub fn launch(&self, name: &str, extra: &[&str]) {
        let project = extra
            .iter()
            .position(|arg| *arg == "--project")
            .map_or("default", |at| extra[at + 1]);
        if self
            .try_incus(&["image", "show", "tiny", "--project", project])
            .is_err()
        {
            self.import_tiny_into(project, "tiny");
        }
        let mut args = vec!["launch", "tiny", name];
        args.extend(extra);
        self.incus(&args);
    }

    /// The loop devices of this host and of no other.
    pub fn loops(&self) -> Vec<Loop> {
        let output = Command::new(SCRIPT)
            .arg("loops")
            .arg(&self.dir)
            .output()
            .expect("listing loop devices");
        success("listing loop devices", output)
            .lines()
            .map(|line| {
                let words: Vec<&str> = line.splitn(4, ' ').collect();
                Loop {
                    device: words[0].into(),
                    file: words[3].into(),
                }
            })
            .collect()
    }
}
