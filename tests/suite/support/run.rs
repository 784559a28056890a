//! Running the program under test in a host.

use std::fs::{self, File};
use std::io::{Read, Write};
use std::os::unix::process::ExitStatusExt;
use std::process::{ExitStatus, Stdio};
use std::time::{Duration, Instant};

use nix::fcntl::OFlag;

use super::{Host, Rule, PATH};

/// How to run `taos-setup`: its arguments, and what is around it.
#[derive(Clone)]
pub struct Setup {
    pub(crate) args: Vec<String>,
    pub(crate) env: Vec<(String, String)>,
    pub(crate) rules: Vec<Rule>,
    stdin: Option<String>,
    pub(crate) timeout: Duration,
}

/// What came of a run of `taos-setup`.
#[derive(Debug, Clone)]
pub struct Run {
    /// The exit code; 128 and the signal's number for a killed one, as in a shell.
    pub code: i32,
    pub stdout: String,
    pub stderr: String,
    /// The argument vectors of all calls of wrapped programs, without the program's name.
    pub incus_calls: Vec<Vec<String>>,
    /// All calls of wrapped programs, with the program's name in front.
    pub calls: Vec<Vec<String>>,
    /// What nobody has read of the text on standard input.
    pub stdin_left: String,
    pub elapsed: Duration,
}

impl Setup {
    pub fn new(args: &[&str]) -> Self {
        Self {
            args: args.iter().map(ToString::to_string).collect(),
            env: Vec::new(),
            rules: Vec::new(),
            stdin: None,
            timeout: Duration::from_secs(120),
        }
    }

    #[must_use]
    pub fn env(mut self, name: &str, value: &str) -> Self {
        self.env.push((name.into(), value.into()));
        self
    }

    /// A pipe with this text as standard input, at most 64 KiB. [`Run::stdin_left`] is what stays unread.
    #[must_use]
    pub fn stdin(mut self, text: &str) -> Self {
        assert!(text.len() <= 65536, "more than a pipe can hold");
        self.stdin = Some(text.into());
        self
    }

    /// After this time the program is killed, and the test fails. Two minutes by default.
    #[must_use]
    pub fn timeout(mut self, limit: Duration) -> Self {
        self.timeout = limit;
        self
    }

    /// Something that happens at one of the program's calls of `incus`.
    #[must_use]
    pub fn rule(mut self, rule: Rule) -> Self {
        self.rules.push(rule);
        self
    }
}

impl Run {
    /// Both outputs, for messages.
    pub fn output(&self) -> String {
        format!(
            "exit code {}\n--- stdout\n{}\n--- stderr\n{}",
            self.code, self.stdout, self.stderr
        )
    }

    /// # Panics
    /// When the exit code is another one.
    #[track_caller]
    pub fn expect_code(self, code: i32) -> Self {
        assert_eq!(self.code, code, "{}", self.output());
        self
    }

    /// The one JSON document on standard output.
    #[track_caller]
    pub fn json(&self) -> serde_json::Value {
        serde_json::from_str(&self.stdout)
            .unwrap_or_else(|e| panic!("reading JSON: {e}\n{}", self.output()))
    }
}

impl Host {
    /// Runs `taos-setup` with these arguments and a null standard input.
    pub fn setup(&self, args: &[&str]) -> Run {
        self.run(&Setup::new(args))
    }

    /// Runs `taos-setup`.
    ///
    /// # Panics
    /// When it does not end in time, or when a rule of the wrapper could not do its part.
    pub fn run(&self, setup: &Setup) -> Run {
        self.reset_wrapper(&setup.rules);
        // Files, because a daemon that the program starts may hold on to a pipe, and we would wait for its end.
        let out_file = self.share().join("stdout");
        let err_file = self.share().join("stderr");
        for file in [&out_file, &err_file] {
            // Calls of a killed run may still write to theirs.
            fs::remove_file(file).ok();
        }
        let (stdin, unread) = match &setup.stdin {
            None => (Stdio::null(), None),
            Some(text) => {
                let (reader, writer) = nix::unistd::pipe2(OFlag::O_CLOEXEC).expect("making a pipe");
                File::from(writer)
                    .write_all(text.as_bytes())
                    .expect("filling a pipe");
                let unread = File::from(reader.try_clone().expect("sharing a pipe"));
                (Stdio::from(reader), Some(unread))
            }
        };
        let started = Instant::now();
        let mut child = self
            .setup_command(setup, "dumb")
            .stdin(stdin)
            .stdout(File::create(&out_file).expect("making a file for standard output"))
            .stderr(File::create(&err_file).expect("making a file for standard error"))
            .spawn()
            .expect("starting taos-setup in the host");
        let status = loop {
            if let Some(status) = child.try_wait().expect("waiting for taos-setup") {
                break Some(status);
            }
            if started.elapsed() > setup.timeout {
                child.kill().ok();
                child.wait().ok();
                break None;
            }
            std::thread::sleep(Duration::from_millis(2));
        };
        let elapsed = started.elapsed();
        let mut stdin_left = String::new();
        if let Some(mut unread) = unread {
            unread.read_to_string(&mut stdin_left).ok();
        }
        let calls = self.wrapper_calls();
        let run = Run {
            code: status.map_or(-1, exit_code),
            stdout: fs::read_to_string(&out_file).unwrap_or_default(),
            stderr: fs::read_to_string(&err_file).unwrap_or_default(),
            incus_calls: incus_only(&calls),
            calls,
            stdin_left,
            elapsed,
        };
        assert!(
            status.is_some(),
            "taos-setup {} did not end within {:?}; its last call was {:?}\n{}",
            setup.args.join(" "),
            setup.timeout,
            run.calls.last(),
            run.output()
        );
        run
    }

    pub(crate) fn setup_command(&self, setup: &Setup, term: &str) -> std::process::Command {
        let program = self.program();
        let path = format!("{}:{PATH}", self.wrapper_dir().display());
        let mut env = vec![("PATH", path.as_str()), ("TERM", term)];
        env.extend(
            setup
                .env
                .iter()
                .map(|(name, value)| (name.as_str(), value.as_str())),
        );
        let args: Vec<&str> = setup.args.iter().map(String::as_str).collect();
        self.command_with(&env, program.to_str().expect("a plain path"), &args)
    }
}

pub(crate) fn incus_only(calls: &[Vec<String>]) -> Vec<Vec<String>> {
    calls
        .iter()
        .filter(|call| call[0] == "incus")
        .map(|call| call[1..].to_vec())
        .collect()
}

pub(crate) fn exit_code(status: ExitStatus) -> i32 {
    status
        .code()
        .or_else(|| status.signal().map(|signal| 128 + signal))
        .unwrap_or(-1)
}
