//! Commands that stand before the real ones: they count and log each call, and do what a test's rules say.
//!
//! `incus` is wrapped always, once it exists in the host; a rule may name a further program (`apt-get`, `incusd`).

use std::fmt::Write as _;
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;

use super::{Host, DAEMON_DIRS, PATH};

/// Something that happens at a call of `incus`.
///
/// A rule looks at the calls that hold its text (`storage create`), and acts at the first of them, or at the n-th, or at
/// each. Rules are asked in their order; one that ends the call is the last.
#[derive(Debug, Clone)]
pub struct Rule {
    program: String,
    text: String,
    nth: Option<usize>,
    action: String,
}

impl Rule {
    /// Looks at the calls whose arguments, joined by blanks, hold this text; an empty text is in every call.
    pub fn on(text: &str) -> Self {
        Self {
            program: "incus".into(),
            text: text.into(),
            nth: Some(1),
            action: String::new(),
        }
    }

    /// Looks at the n-th call, whatever it is. The first has the number 1.
    pub fn nth(n: usize) -> Self {
        Self::on("").and_nth(n)
    }

    /// Acts at the n-th of the calls that it looks at.
    #[must_use]
    pub fn and_nth(mut self, n: usize) -> Self {
        self.nth = Some(n);
        self
    }

    /// Acts at each of the calls that it looks at.
    #[must_use]
    pub fn each(mut self) -> Self {
        self.nth = None;
        self
    }

    /// Looks at calls of another program.
    #[must_use]
    pub fn of(mut self, program: &str) -> Self {
        self.program = program.into();
        self
    }

    /// SIGKILL for `taos-setup` in place of the call.
    #[must_use]
    pub fn kill_before(self) -> Self {
        self.shell("kill_setup; exit 137")
    }

    /// SIGKILL for `taos-setup` once the call is complete, before it hears of that.
    #[must_use]
    pub fn kill_after(self) -> Self {
        self.shell("code=0; \"$real\" \"$@\" || code=$?; kill_setup; exit $code")
    }

    /// SIGKILL for `taos-setup` while the call goes on; the call itself is completed.
    #[must_use]
    pub fn kill_during(self, milliseconds: u32) -> Self {
        let pause = f64::from(milliseconds) / 1000.0;
        self.shell(&format!(
            "\"$real\" \"$@\" <&0 & sleep {pause}; kill_setup; wait $!; exit"
        ))
    }

    /// The call never ends.
    #[must_use]
    pub fn hang(self) -> Self {
        self.shell("exec sleep 86400")
    }

    /// The call fails, and the real program is not asked.
    #[must_use]
    pub fn fail(self, code: i32, stderr: &str) -> Self {
        let stderr = quoted(stderr);
        self.shell(&format!("printf '%s\\n' {stderr} >&2; exit {code}"))
    }

    /// The call succeeds and prints this, and the real program is not asked.
    #[must_use]
    pub fn print(self, stdout: &str) -> Self {
        let stdout = quoted(stdout);
        self.shell(&format!("printf '%s\\n' {stdout}; exit 0"))
    }

    /// Any shell script. It has the real program in `$real`, its arguments in `$@`, and the function `kill_setup`. The
    /// real program runs afterwards unless the script exits.
    #[must_use]
    pub fn shell(mut self, script: &str) -> Self {
        self.action = script.into();
        self
    }

    fn script(&self, number: usize) -> String {
        let when = match self.nth {
            Some(n) => format!("count rule-{number}; [ \"$number\" = {n} ]"),
            None => "true".into(),
        };
        format!(
            "case \"$program $*\" in {}' '*{}*) if {when}; then {}\nfi ;; esac\n",
            quoted(&self.program),
            quoted(&self.text),
            self.action
        )
    }
}

fn quoted(text: &str) -> String {
    format!("'{}'", text.replace('\'', "'\\''"))
}

impl Host {
    pub(crate) fn wrapper_dir(&self) -> PathBuf {
        self.share().join("bin")
    }

    fn wrapper_state(&self) -> PathBuf {
        self.share().join("calls")
    }

    pub(crate) fn install_wrapper(&self) {
        let state = self.wrapper_state();
        let script = format!(
            r#"#!/bin/sh
# Stands before the real command in a test: counts and logs, then does what the test's rules say.
state='{state}'
bin='{bin}'
program=${{0##*/}}

# Nothing here starts a process that need not be: this runs some ten thousand times in a suite.
real_of() {{
  for dir in {dirs}; do
    real=$dir/$1
    [ ! -x "$real" ] || return 0
  done
  real=
  return 1
}}

# Two calls may come at the same time: whoever can make the file has the number.
count() {{
  number=1
  set -C
  until {{ true >"$state/$1-$number"; }} 2>/dev/null; do
    [ -d "$state" ] || {{ echo "the test that $program was called in is over" >&2; exit 127; }}
    number=$((number + 1))
  done
  set +C
}}

kill_setup() {{
  process=$$
  while [ "$process" -gt 1 ]; do
    if [ "$(cat "/proc/$process/comm")" = taos-setup ]; then
      kill -KILL "$process"
      return
    fi
    process=$(sed -n 's/^PPid:[^0-9]*//p' "/proc/$process/status")
  done
  echo "no taos-setup above the call $program $*" >>"$state/errors"
}}

count call
printf '%s\0' "$program" "$@" >"$state/call-$number"
real_of "$program" || {{ echo "sh: $program: not found" >&2; exit 127; }}
. "$state/rules"
# A package manager may just have brought a command that is to be wrapped from now on.
case $program in
  incus) exec "$real" "$@" ;;
esac
code=0
"$real" "$@" || code=$?
for later in "$bin.later"/*; do
  [ ! -e "$later" ] || ! real_of "${{later##*/}}" || mv "$later" "$bin/"
done
exit $code
"#,
            state = state.display(),
            bin = self.wrapper_dir().display(),
            dirs = PATH.replace(':', " ") + " " + DAEMON_DIRS,
        );
        for dir in [
            &state,
            &self.wrapper_dir(),
            &self.wrapper_dir().with_extension("later"),
        ] {
            fs::create_dir_all(dir).expect("making a folder for wrapped commands");
        }
        let file = self.share().join("wrapper.sh");
        fs::write(&file, script).expect("writing the wrapper");
        fs::set_permissions(&file, fs::Permissions::from_mode(0o755))
            .expect("making the wrapper executable");
    }

    /// Forgets the calls so far and sets the rules for the next ones.
    pub(crate) fn reset_wrapper(&self, rules: &[Rule]) {
        let state = self.wrapper_state();
        // Out of the way first: a command that outlived its run may be about to write there.
        let earlier = state.with_extension("earlier");
        fs::rename(&state, &earlier).expect("moving the calls so far away");
        fs::remove_dir_all(&earlier).expect("forgetting the calls so far");
        fs::create_dir(&state).expect("making a folder for the calls");
        let mut script = String::new();
        for (number, rule) in rules.iter().enumerate() {
            write!(script, "{}", rule.script(number)).expect("writing to a string");
        }
        fs::write(state.join("rules"), script).expect("writing the rules");
        let mut programs: Vec<&str> = rules.iter().map(|rule| rule.program.as_str()).collect();
        programs.push("incus");
        // Without a file no link leads to the wrapper of an earlier run.
        for dir in [
            self.wrapper_dir(),
            self.wrapper_dir().with_extension("later"),
        ] {
            for link in fs::read_dir(dir).expect("listing the wrapped commands") {
                fs::remove_file(link.expect("a wrapped command").path())
                    .expect("removing a wrapped command");
            }
        }
        for program in programs {
            // A wrapper for a command that is not there would make it look installed.
            let dir = if self.has_command(program) {
                self.wrapper_dir()
            } else {
                self.wrapper_dir().with_extension("later")
            };
            let link = dir.join(program);
            if !link.exists() {
                std::os::unix::fs::symlink("../wrapper.sh", link).expect("wrapping a command");
            }
        }
    }

    fn has_command(&self, program: &str) -> bool {
        PATH.split(':')
            .chain(DAEMON_DIRS.split(' '))
            .any(|dir| self.file(dir).join(program).exists())
    }

    /// The calls since the last reset, in their order, each with the program's name in front.
    pub(crate) fn wrapper_calls(&self) -> Vec<Vec<String>> {
        let state = self.wrapper_state();
        if let Ok(errors) = fs::read_to_string(state.join("errors")) {
            panic!("a rule could not do its part: {errors}");
        }
        let mut calls = Vec::new();
        while let Ok(call) = fs::read_to_string(state.join(format!("call-{}", calls.len() + 1))) {
            calls.push(call.split_terminator('\0').map(str::to_owned).collect());
        }
        calls
    }
}
