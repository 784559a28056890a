//! Running a program: with a bound, without the terminal, and written down.

use std::ffi::OsStr;
use std::fmt;
use std::io::Write as _;
use std::os::unix::process::CommandExt as _;
use std::time::{Duration, Instant};

use super::Machine;

/// A folder that is nowhere, and that the client does not create.
const NO_CONFIGURATION: &str = "/nonexistent/incus";

/// What a program said, having succeeded.
#[derive(Debug, Clone, Default)]
pub struct Output {
    pub stdout: String,
}

/// Why a command did not succeed.
#[derive(Debug, Clone)]
pub struct CommandError {
    pub command: String,
    pub kind: CommandErrorKind,
}

/// How a command failed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum CommandErrorKind {
    /// It could not be started.
    NotStarted(String),
    /// It ended with this exit code (none: by a signal) and these last words.
    Failed { code: Option<i32>, words: String },
    /// It was ended because it took longer than this.
    TimedOut(Duration),
}

impl CommandError {
    /// Whether it was ended because it took too long.
    #[must_use]
    pub fn timed_out(&self) -> bool {
        matches!(self.kind, CommandErrorKind::TimedOut(_))
    }

    /// What the program itself said, if it ran.
    #[must_use]
    pub fn words(&self) -> &str {
        match &self.kind {
            CommandErrorKind::Failed { words, .. } => words,
            CommandErrorKind::NotStarted(why) => why,
            CommandErrorKind::TimedOut(_) => "",
        }
    }
}

impl fmt::Display for CommandError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { command, kind } = self;
        match kind {
            CommandErrorKind::NotStarted(why) => write!(f, "`{command}` did not start: {why}"),
            CommandErrorKind::Failed { code, words } => {
                let words = words.strip_prefix("Error: ").unwrap_or(words);
                match (code, words) {
                    (Some(code), "") => write!(f, "`{command}` ended with exit code {code}"),
                    (None, "") => write!(f, "`{command}` was ended by a signal"),
                    (_, words) => write!(f, "{words} (from `{command}`)"),
                }
            }
            CommandErrorKind::TimedOut(bound) => {
                write!(
                    f,
                    "`{command}` gave no answer within {} s",
                    bound.as_secs_f32()
                )
            }
        }
    }
}

impl std::error::Error for CommandError {}

impl Machine {
    /// Runs a command to its end, or to `bound`.
    ///
    /// It gets no stdin: several `incus` commands read YAML from one that is not a terminal, and
    /// under `curl … | bash` would swallow the rest of the script.  It is in a process group of
    /// its own, so that Ctrl-C reaches this program alone, which lets the step finish.
    ///
    /// # Errors
    /// If it cannot be started, fails, or takes too long.
    pub fn run(&self, argv: &[String], bound: Duration) -> Result<Output, CommandError> {
        self.run_with_input(argv, Vec::new(), bound)
    }

    /// As [`Machine::run`], with something to read: what must not show among the arguments.
    ///
    /// # Errors
    /// As [`Machine::run`].
    pub fn run_with_input(
        &self,
        argv: &[String],
        input: Vec<u8>,
        bound: Duration,
    ) -> Result<Output, CommandError> {
        let command = shown(argv);
        if self.verbose {
            // A reader that went away is no reason to stop a step half-way.
            let _ = writeln!(std::io::stderr(), "+ {command}");
        }
        let begun = Instant::now();
        let result = run_to_end(argv, input, bound, &command);
        let outcome = match &result {
            Ok(_) => "ok".to_owned(),
            Err(error) => error.to_string(),
        };
        self.log.command(&command, begun.elapsed(), &outcome);
        result
    }
}

fn run_to_end(
    argv: &[String],
    input: Vec<u8>,
    bound: Duration,
    command: &str,
) -> Result<Output, CommandError> {
    let fail = |kind| CommandError {
        command: command.to_owned(),
        kind,
    };
    let not_started = |error: std::io::Error| fail(CommandErrorKind::NotStarted(error.to_string()));
    let command_line = environment(duct::cmd(&argv[0], &argv[1..]));
    let command_line = if input.is_empty() {
        command_line.stdin_null()
    } else {
        command_line.stdin_bytes(input)
    };
    let handle = command_line
        .stdout_capture()
        .stderr_capture()
        .unchecked()
        .before_spawn(|command| {
            command.process_group(0);
            Ok(())
        })
        .start()
        .map_err(not_started)?;
    let ended = handle.wait_timeout(bound).map_err(not_started)?;
    let Some(output) = ended else {
        // An error here means that it has just ended by itself.
        handle.kill().ok();
        return Err(fail(CommandErrorKind::TimedOut(bound)));
    };
    if output.status.success() {
        return Ok(Output {
            stdout: String::from_utf8_lossy(&output.stdout).into_owned(),
        });
    }
    let mut words = String::from_utf8_lossy(&output.stderr).trim().to_owned();
    if words.is_empty() {
        words = last_lines(&String::from_utf8_lossy(&output.stdout), 5);
    }
    Err(fail(CommandErrorKind::Failed {
        code: output.status.code(),
        words: last_lines(&words, 15),
    }))
}

/// What the programs that are run see of the environment.
fn environment(command: duct::Expression) -> duct::Expression {
    command
        // Messages are matched in a few places.
        .env("LC_ALL", "C.UTF-8")
        .env("DEBIAN_FRONTEND", "noninteractive")
        // The local daemon, whatever remote, project or socket the person's client is set to.  A
        // folder that is not there gives the client's own defaults, and is not created by it.
        .env("INCUS_CONF", NO_CONFIGURATION)
        .env_remove("INCUS_REMOTE")
        .env_remove("INCUS_PROJECT")
        .env_remove("INCUS_SOCKET")
}

/// A command as it could be typed.
#[must_use]
pub fn shown<S: AsRef<OsStr>>(argv: &[S]) -> String {
    argv.iter()
        .map(|word| quoted(&word.as_ref().to_string_lossy()))
        .collect::<Vec<_>>()
        .join(" ")
}

fn quoted(word: &str) -> String {
    let plain = |c: char| c.is_ascii_alphanumeric() || "-_./:=,@%+".contains(c);
    if !word.is_empty() && word.chars().all(plain) {
        word.to_owned()
    } else {
        format!("'{}'", word.replace('\'', r"'\''"))
    }
}

fn last_lines(text: &str, count: usize) -> String {
    let lines: Vec<&str> = text.trim().lines().collect();
    lines[lines.len().saturating_sub(count)..].join("\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shown_commands_can_be_typed() {
        assert_eq!(
            shown(&["incus", "query", "/1.0/profiles?recursion=1"]),
            "incus query '/1.0/profiles?recursion=1'"
        );
        assert_eq!(shown(&["echo", "it's", ""]), r"echo 'it'\''s' ''");
    }

    #[test]
    fn the_last_words_are_kept() {
        assert_eq!(last_lines("a\nb\nc\n", 2), "b\nc");
        assert_eq!(last_lines("", 2), "");
    }
}
