//! The program under test on a real pseudo-terminal.

use std::fs::File;
use std::io::{Read, Write};
use std::num::NonZero;
use std::os::fd::OwnedFd;
use std::path::PathBuf;
use std::process::{Child, Command};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use nix::pty::{openpty, Winsize};

use super::run::{exit_code, incus_only};
use super::{Host, Run, Setup};

/// A run of `taos-setup` on a terminal of its own.
pub struct Session<'h> {
    host: &'h Host,
    child: Child,
    master: File,
    terminal: PathBuf,
    seen: Arc<Mutex<Seen>>,
    /// How much of the transcript earlier calls of `expect` have passed.
    passed: usize,
    started: Instant,
    limit: Duration,
}

struct Seen {
    screen: vt100::Parser,
    transcript: Transcript,
    /// Whether the reader came to the end.
    ended: bool,
}

impl Host {
    /// Starts `taos-setup` on a terminal of this many columns and rows.
    pub fn pty(&self, args: &[&str], cols: u16, rows: u16) -> Session<'_> {
        self.pty_run(&Setup::new(args), cols, rows)
    }

    pub fn pty_run(&self, setup: &Setup, cols: u16, rows: u16) -> Session<'_> {
        self.reset_wrapper(&setup.rules);
        let size = Winsize {
            ws_row: rows,
            ws_col: cols,
            ws_xpixel: 0,
            ws_ypixel: 0,
        };
        let pty = openpty(&size, None).expect("opening a pseudo-terminal");
        let terminal = nix::unistd::ttyname(&pty.slave).expect("naming the pseudo-terminal");
        let share = |fd: &OwnedFd| fd.try_clone().expect("sharing the pseudo-terminal");
        let inner = self.setup_command(setup, "xterm-256color");
        // The session must begin inside of the host: Ctrl-C goes to all of a session's foreground, and the way in is not
        // to hear it.
        let mut args: Vec<_> = inner.get_args().map(ToOwned::to_owned).collect();
        let at = args
            .iter()
            .position(|arg| arg == "setpriv")
            .expect("a way in");
        args.splice(at..at, ["setsid", "--ctty", "--wait"].map(Into::into));
        let child = Command::new(inner.get_program())
            .args(args)
            .env("TAOS_HOST_PLAIN", "1")
            .stdin(share(&pty.slave))
            .stdout(share(&pty.slave))
            .stderr(share(&pty.slave))
            .spawn()
            .expect("starting taos-setup on a pseudo-terminal");
        // As long as we hold the other side, the reader below hears of no end.
        drop(pty.slave);
        let seen = Arc::new(Mutex::new(Seen {
            screen: vt100::Parser::new(non_zero(rows), non_zero(cols), 1000),
            transcript: Transcript::default(),
            ended: false,
        }));
        read_along(File::from(share(&pty.master)), Arc::clone(&seen));
        Session {
            host: self,
            child,
            master: File::from(pty.master),
            terminal,
            seen,
            passed: 0,
            started: Instant::now(),
            limit: setup.timeout,
        }
    }
}

fn non_zero(n: u16) -> NonZero<u16> {
    NonZero::new(n).expect("a terminal has rows and columns")
}

fn read_along(mut master: File, seen: Arc<Mutex<Seen>>) {
    std::thread::spawn(move || {
        let mut buffer = [0; 4096];
        while let Ok(n @ 1..) = master.read(&mut buffer) {
            let mut seen = seen.lock().expect("the reader's lock");
            seen.screen.process(&buffer[..n]);
            seen.transcript.add(&buffer[..n]);
        }
        seen.lock().expect("the reader's lock").ended = true;
    });
}

impl Session<'_> {
    pub const ENTER: &'static str = "\r";
    pub const UP: &'static str = "\x1b[A";
    pub const DOWN: &'static str = "\x1b[B";
    pub const LEFT: &'static str = "\x1b[D";
    pub const RIGHT: &'static str = "\x1b[C";
    pub const ESCAPE: &'static str = "\x1b";
    pub const CTRL_C: &'static str = "\x03";
    /// End of input, at the start of a line.
    pub const CTRL_D: &'static str = "\x04";

    /// Waits until this text appears after what earlier calls have found.
    ///
    /// # Panics
    /// When it does not come within 30 seconds, or the program ends without it.
    #[track_caller]
    pub fn expect(&mut self, text: &str) -> &mut Self {
        self.expect_within(text, Duration::from_secs(30))
    }

    #[track_caller]
    pub fn expect_within(&mut self, text: &str, limit: Duration) -> &mut Self {
        let deadline = Instant::now() + limit;
        loop {
            // Asked before looking, so that what is written before the end counts.
            let ended = self
                .child
                .try_wait()
                .expect("waiting for taos-setup")
                .is_some();
            if ended {
                self.drain();
            }
            let transcript = self.transcript();
            if let Some(at) = transcript[self.passed..].find(text) {
                self.passed += at + text.len();
                return self;
            }
            assert!(
                !ended && Instant::now() < deadline,
                "waiting for {text:?}: {}; not passed yet is {:?}\nthe screen:\n{}",
                if ended {
                    "the program has ended"
                } else {
                    "it does not come"
                },
                &transcript[self.passed..],
                self.screen()
            );
            std::thread::sleep(Duration::from_millis(5));
        }
    }

    /// Types these keys.
    pub fn send(&mut self, keys: &str) -> &mut Self {
        self.master.write_all(keys.as_bytes()).expect("typing");
        self
    }

    /// Changes the size of the window.
    pub fn resize(&mut self, cols: u16, rows: u16) {
        let status = Command::new("stty")
            .args(["cols", &cols.to_string(), "rows", &rows.to_string()])
            .stdin(File::open(&self.terminal).expect("opening the terminal"))
            .status()
            .expect("running stty");
        assert!(status.success(), "resizing the terminal: {status}");
        let mut seen = self.seen.lock().expect("the reader's lock");
        seen.screen
            .screen_mut()
            .set_size(non_zero(rows), non_zero(cols));
    }

    /// All that was written so far, as plain text: no colours, `\n` for line ends. What was overwritten is still there.
    pub fn transcript(&self) -> String {
        self.seen
            .lock()
            .expect("the reader's lock")
            .transcript
            .text
            .clone()
    }

    /// What the window shows now.
    pub fn screen(&self) -> String {
        self.seen
            .lock()
            .expect("the reader's lock")
            .screen
            .screen()
            .contents()
    }

    /// The lines of the window that the terminal had to break, because they were longer than it is wide.
    pub fn wrapped_rows(&self) -> Vec<String> {
        let seen = self.seen.lock().expect("the reader's lock");
        let screen = seen.screen.screen();
        let (_, cols) = screen.size();
        let rows = screen.rows(0, cols.get()).enumerate();
        rows.filter(|(row, _)| screen.row_wrapped(u16::try_from(*row).expect("a small number")))
            .map(|(_, text)| text)
            .collect()
    }

    /// Waits for the end; the exit code is as in a shell. `stdout` of the run has the transcript.
    ///
    /// # Panics
    /// When the program does not end within the time limit of its setup.
    #[track_caller]
    pub fn wait_exit(&mut self) -> Run {
        let deadline = Instant::now() + self.limit;
        let status = loop {
            if let Some(status) = self.child.try_wait().expect("waiting for taos-setup") {
                break status;
            }
            assert!(
                Instant::now() < deadline,
                "taos-setup does not end; the screen:\n{}",
                self.screen()
            );
            std::thread::sleep(Duration::from_millis(2));
        };
        let elapsed = self.started.elapsed();
        self.drain();
        let calls = self.host.wrapper_calls();
        Run {
            code: exit_code(status),
            stdout: self.transcript(),
            stderr: String::new(),
            incus_calls: incus_only(&calls),
            calls,
            stdin_left: String::new(),
            elapsed,
        }
    }

    /// Waits until the reader has the last words.  Where somebody else still holds the terminal there is no end to wait
    /// for, so a second must do, and then a moment in which nothing new has come.
    fn drain(&self) {
        let deadline = Instant::now() + Duration::from_secs(1);
        while Instant::now() < deadline {
            if self.seen.lock().expect("the reader's lock").ended {
                return;
            }
            std::thread::sleep(Duration::from_millis(2));
        }
        let mut length = usize::MAX;
        while length != self.transcript().len() {
            length = self.transcript().len();
            std::thread::sleep(Duration::from_millis(20));
        }
    }
}

impl Drop for Session<'_> {
    fn drop(&mut self) {
        self.child.kill().ok();
        self.child.wait().ok();
    }
}

/// Plain text out of terminal output.
#[derive(Default)]
struct Transcript {
    text: String,
    /// Bytes of a character or an escape sequence that is not complete yet.
    rest: Vec<u8>,
}

impl Transcript {
    fn add(&mut self, bytes: &[u8]) {
        self.rest.extend(bytes);
        let mut at = 0;
        while at < self.rest.len() {
            let Some(length) = sequence_length(&self.rest[at..]) else {
                break;
            };
            let sequence = &self.rest[at..at + length];
            if sequence[0] >= b' ' || sequence == b"\n" || sequence == b"\t" {
                self.text.push_str(&String::from_utf8_lossy(sequence));
            }
            at += length;
        }
        self.rest.drain(..at);
    }
}

/// The length of the character or the escape sequence at the start; none if its end has not come yet.
fn sequence_length(bytes: &[u8]) -> Option<usize> {
    let through = |end: fn(&u8) -> bool, from: usize| {
        bytes
            .get(from..)?
            .iter()
            .position(end)
            .map(|at| from + at + 1)
    };
    match bytes {
        [0x1b] => None,
        // ESC [ parameters letter
        [0x1b, b'[', ..] => through(|byte| (0x40..=0x7e).contains(byte), 2),
        // ESC ] text BEL, the title of a window
        [0x1b, b']', ..] => through(|byte| *byte == 0x07, 2),
        [0x1b, ..] => Some(2),
        [first, ..] => {
            let length = match first {
                0xf0.. => 4,
                0xe0.. => 3,
                0xc0.. => 2,
                _ => 1,
            };
            (bytes.len() >= length).then_some(length)
        }
        [] => None,
    }
}
