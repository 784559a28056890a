//! The only prompts, bars and colours.

use std::io::{BufRead as _, IsTerminal as _, Write as _};

use dialoguer::console::{style, Term};

use crate::apply::commands;
use crate::facts::{root_of, Facts, Incus};
use crate::host::{Meter, Signals};
use crate::plan::{launch_profiles, Choice, Note, Plan};
use crate::report::{Ending, Report};
use crate::status::{cluster, pool_line, Status};
use crate::step::Step;

mod confirm;
mod fetch;
mod image;
mod migrate;
mod progress;
mod steps;

pub use fetch::Fetching;
pub(crate) use image::afterwards;
pub use steps::Steps;

/// How much is said, and where.
#[derive(Clone)]
pub struct Ui {
    quiet: bool,
    verbose: bool,
    /// Words go to stderr, as stdout is for the JSON document.
    json: bool,
    signals: Signals,
}

/// What a person answered.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Answer {
    Yes,
    No,
    Explain,
    /// Of the choices, the one that leaves things as they are.
    Leave,
}

impl Answer {
    /// What a word means.
    fn of(word: &str) -> Option<Self> {
        match word {
            "y" | "yes" => Some(Self::Yes),
            "" | "n" | "no" => Some(Self::No),
            "e" | "explain" | "?" => Some(Self::Explain),
            _ => None,
        }
    }
}

impl Ui {
    #[must_use]
    pub fn new(quiet: bool, verbose: bool, json: bool, signals: Signals) -> Self {
        Self {
            quiet,
            verbose,
            json,
            signals,
        }
    }

    /// Whether there is a person to ask: prompts are read from stdin and shown on stderr.
    #[must_use]
    pub fn interactive(&self) -> bool {
        std::io::stdin().is_terminal() && std::io::stderr().is_terminal()
    }

    /// Says something, wrapped to the terminal.
    pub fn say(&self, text: &str) {
        if !self.quiet {
            self.print(&self.wrapped(text, "", ""));
        }
    }

    /// Shows what was found, in a few lines.
    pub fn show_found(&self, facts: &Facts) {
        if self.quiet {
            return;
        }
        self.heading("Found");
        let filesystem = &facts.host.incus_filesystem;
        self.item(
            "host",
            &format!(
                "{}, {} free on {} ({})",
                facts.host.os.name, filesystem.free, filesystem.mount_point, filesystem.kind
            ),
        );
        let server = match &facts.incus {
            Incus::Absent => return self.item("Incus", "not installed"),
            Incus::Silent { .. } => return self.item("Incus", "installed, not running"),
            Incus::Answering(server) => server,
        };
        self.item("Incus", &server.version);
        for line in server.cluster.iter().flat_map(cluster::members) {
            self.item("member", &line);
        }
        if server.pools.is_empty() {
            self.item("pools", "none");
        }
        for pool in &server.pools {
            self.item("pool", &pool_line(pool));
            for line in cluster::parts(server, pool) {
                self.item("", &line);
            }
        }
        for profile in launch_profiles(server) {
            let to = root_of(&profile.devices)
                .and_then(|(_, keys)| keys.get("pool"))
                .map_or_else(|| "no root disk".to_owned(), |pool| format!("pool {pool}"));
            self.item(
                "launches",
                &format!("project {}: {to}", profile.reference.project),
            );
        }
        if !server.instances.is_empty() {
            let names: Vec<String> = server
                .instances
                .iter()
                .map(|instance| instance.reference.to_string())
                .collect();
            let count = names.len();
            let shown = if count > 12 {
                format!("{}, and {} more", names[..12].join(", "), count - 12)
            } else {
                names.join(", ")
            };
            self.item("instances", &shown);
        }
    }

    /// Shows the steps, and what was noticed; with every command where that was asked for.
    pub fn show_plan(&self, plan: &Plan, with_commands: bool) {
        // Nobody says yes to what is not shown.
        if self.quiet && !self.interactive() && !with_commands {
            return;
        }
        if plan.steps.is_empty() {
            self.print("");
            self.print(&match &plan.pool {
                Some(pool) if plan.clones => {
                    format!("Nothing to do: launches are clones on pool {pool}.")
                }
                _ => "Nothing to do.".into(),
            });
        } else {
            self.heading("Plan");
        }
        for (number, step) in (1..).zip(&plan.steps) {
            self.print(&self.wrapped(&step.describe(), &format!("  {number}. "), "     "));
            if with_commands || self.verbose {
                // To be copied, so never wrapped.
                for command in commands(step) {
                    self.print(&format!(
                        "     {}",
                        self.dim(&command.replace('\n', "\n     "))
                    ));
                }
            }
        }
        if plan.open_end {
            self.print(&self.wrapped(
                "then look at what the daemon has, and plan the rest",
                "     ",
                "     ",
            ));
        }
        self.show_notes(&plan.notes);
        for loss in &plan.losses {
            let text = format!("NOT KEPT: {}", loss.what);
            self.print(&self.wrapped(&text, "  ! ", "    "));
            let hint = format!(
                "unattended: --accept {}; to keep it: {}",
                loss.kind, loss.hint
            );
            self.print(&self.wrapped(&hint, "    ", "    "));
        }
        if !plan.steps.is_empty() {
            self.print("");
            self.print(&self.wrapped(&touched(&plan.steps), "", ""));
        }
    }

    /// Shows what is to be known.
    pub fn show_notes(&self, notes: &[Note]) {
        for note in notes {
            self.print(&self.wrapped(&note.what, "  ! ", "    "));
            if let Some(hint) = &note.hint {
                self.print(&self.wrapped(hint, "    ", "    "));
            }
        }
    }

    /// Asks for a yes to the plan just shown.
    #[must_use]
    pub fn ask(&self) -> Answer {
        let _held = self.signals.hold();
        loop {
            let _ = write!(
                std::io::stderr(),
                "{} yes / no / explain [no]: ",
                style("Go ahead?").for_stderr().bold()
            );
            let Some(line) = self.line() else {
                let _ = writeln!(std::io::stderr());
                return Answer::No;
            };
            match Answer::of(&line.trim().to_lowercase()) {
                Some(answer) => return answer,
                None => {
                    let _ = writeln!(std::io::stderr(), "Please type yes, no or explain.");
                }
            }
        }
    }

    /// Says of each step why, how, and what takes it back.
    pub fn explain(&self, plan: &Plan) {
        for (number, step) in (1..).zip(&plan.steps) {
            self.print("");
            self.print(&self.wrapped(&step.describe(), &format!("  {number}. "), "     "));
            self.print(&self.wrapped(&step.reason(), "     why:  ", "           "));
            for command in commands(step) {
                self.print(&format!(
                    "     run:  {}",
                    command.replace('\n', "\n           ")
                ));
            }
            self.print(&self.wrapped(&step.undo_words(), "     undo: ", "           "));
        }
        self.print("");
    }

    /// Lets the person choose between leaving things and changing them.
    pub fn choose(&self, choices: &[Choice]) -> Answer {
        let items: Vec<String> = choices.iter().map(words_of).collect();
        self.print("");
        for (number, item) in (1..).zip(&items) {
            self.print(&self.wrapped(item, &format!("  {number}) "), "     "));
        }
        let _held = self.signals.hold();
        loop {
            let _ = write!(
                std::io::stderr(),
                "{} [1]: ",
                style("Which?").for_stderr().bold()
            );
            let Some(line) = self.line() else {
                let _ = writeln!(std::io::stderr());
                return Answer::No;
            };
            let line = line.trim();
            let number = if line.is_empty() {
                Ok(1)
            } else {
                line.parse::<usize>()
            };
            match number
                .ok()
                .and_then(|number| choices.get(number.checked_sub(1)?))
            {
                Some(Choice::Leave { .. }) => return Answer::Leave,
                Some(Choice::Beside { .. }) => return Answer::Yes,
                None => eprintln!("Please type a number from 1 to {}.", choices.len()),
            }
        }
    }

    /// A line that the person typed; none at the end of input or when asked to stop.
    fn line(&self) -> Option<String> {
        use nix::poll::{poll, PollFd, PollFlags, PollTimeout};
        use std::os::fd::AsFd as _;
        std::io::stderr().flush().ok()?;
        let stdin = std::io::stdin();
        // Reading starts again after a signal, waiting for input does not.
        loop {
            if self.signals.stop_asked() {
                return None;
            }
            ask_for_terminal(stdin.as_fd());
            let mut descriptors = [PollFd::new(stdin.as_fd(), PollFlags::POLLIN)];
            match poll(&mut descriptors, PollTimeout::from(200u16)) {
                Ok(0) | Err(nix::errno::Errno::EINTR) => {}
                Ok(_) => break,
                Err(_) => return None,
            }
        }
        let mut line = String::new();
        match stdin.lock().read_line(&mut line) {
            Ok(0) | Err(_) => None,
            Ok(_) => Some(line),
        }
    }

    /// Something that shows steps as they are done.
    #[must_use]
    pub fn steps(&self, meter: &Meter) -> Steps<'_> {
        Steps::new(self, meter)
    }

    /// Prints the document, where `--json` asks for it.
    pub fn print_document(&self, report: &Report) {
        if self.json {
            let _ = writeln!(std::io::stdout(), "{}", report.json());
        }
    }

    /// Shows how it ended.
    pub fn show_ending(&self, report: &Report) {
        match &report.ending {
            Ending::Nothing | Ending::Planned => {}
            Ending::Migrated(moved) => self.show_migrated(moved),
            Ending::Done => {
                self.show_done(report);
                self.show_image_failed(report);
            }
            Ending::Undone => self
                .say("Taken back: what that run made is gone, and what it changed is as it was."),
            Ending::Refused(refusal) => self.error(&refusal.what, &refusal.hints),
            Ending::Failed { error } => {
                let mut hints = vec!["what was begun has been taken back".to_owned()];
                let steps = report.plan().map(|plan| plan.steps.as_slice());
                if steps.unwrap_or_default().iter().any(Step::reveals) {
                    hints.push(
                        "packages that were installed stay, and so does a daemon that was started"
                            .into(),
                    );
                }
                self.error(error, &hints);
            }
            Ending::Stopped { remaining } => {
                let mut hints = remaining_lines(remaining);
                hints.push(
                    "to finish: taos-setup    to take back what is done: taos-setup undo".into(),
                );
                self.error(
                    "stopped, as asked for, between two steps; these are left:",
                    &hints,
                );
            }
            Ending::Stuck {
                error,
                remaining,
                back,
            } => {
                let mut hints = vec![if *back {
                    "these steps are left to take it all back:".to_owned()
                } else {
                    "these steps are left to finish it:".to_owned()
                }];
                hints.extend(remaining_lines(remaining));
                hints.push("docs/recovery.md helps; running taos-setup again tries again".into());
                self.error(error, &hints);
            }
        }
    }

    fn show_done(&self, report: &Report) {
        if self.quiet {
            return;
        }
        self.heading("Done");
        let steps = report.plan().map(|plan| plan.steps.as_slice());
        if steps
            .unwrap_or_default()
            .iter()
            .any(|step| step.migrates().is_some())
        {
            return;
        }
        let clones = report.plan().is_some_and(|plan| plan.clones);
        if let Some(pool) = report.pool() {
            self.print(&self.wrapped(
                &if clones {
                    format!("Launches use pool {pool} now: each is a clone, not a copy.")
                } else {
                    format!("Launches use pool {pool} now.")
                },
                "  ",
                "  ",
            ));
        }
        self.item("next", "incus launch images:debian/13 first");
        if let Some(words) = afterwards(report) {
            self.item("image", words);
        }
        self.item("look", "taos-setup status");
        self.item("undo", "taos-setup undo");
    }

    /// An error, and what the person can do about it.
    pub fn error(&self, what: &str, hints: &[String]) {
        let width = Term::stderr()
            .size_checked()
            .map_or(usize::MAX, |(_, columns)| columns.into());
        let sign = style("error:").for_stderr().red().bold();
        let _ = writeln!(
            std::io::stderr(),
            "{sign} {}",
            fill(what, width.saturating_sub(8), "", "  ")
        );
        for hint in hints {
            let _ = writeln!(std::io::stderr(), "{}", fill(hint, width, "  ", "    "));
        }
    }

    /// `status` for people.
    pub fn show_status(&self, facts: &Facts, status: &Status) {
        for line in status.lines(facts) {
            if let Some(title) = line.strip_prefix("# ") {
                self.heading(title);
            } else {
                self.print(&self.wrapped(&line, "", "    "));
            }
        }
    }

    fn heading(&self, text: &str) {
        self.print("");
        let text = style(text).bold();
        let text = if self.json { text.for_stderr() } else { text };
        self.print(&text.to_string());
    }

    fn item(&self, name: &str, text: &str) {
        self.print(&self.wrapped(text, &format!("  {name:<10}"), &" ".repeat(12)));
    }

    fn dim(&self, text: &str) -> String {
        let text = style(text).dim();
        if self.json { text.for_stderr() } else { text }.to_string()
    }

    fn wrapped(&self, text: &str, first: &str, rest: &str) -> String {
        fill(text, self.columns(), first, rest)
    }

    /// How wide the terminal is; as wide as can be if there is none.
    fn columns(&self) -> usize {
        let term = if self.json {
            Term::stderr()
        } else {
            Term::stdout()
        };
        term.size_checked()
            .map_or(usize::MAX, |(_, columns)| columns.into())
    }

    fn print(&self, text: &str) {
        // A reader that went away (`| head`) is no reason to stop a step half-way.
        if self.json {
            let _ = writeln!(std::io::stderr(), "{text}");
        } else {
            let _ = writeln!(std::io::stdout(), "{text}");
        }
    }
}

/// Wraps a text at blanks; names and paths stay whole, to be copied.
fn fill(text: &str, width: usize, first: &str, rest: &str) -> String {
    let options = textwrap::Options::new(width.max(20))
        .initial_indent(first)
        .subsequent_indent(rest)
        .break_words(false)
        .word_splitter(textwrap::WordSplitter::NoHyphenation);
    textwrap::fill(text, options)
}

/// The promise about what exists, or exactly what of it is touched.
fn touched(steps: &[Step]) -> String {
    let names: Vec<String> = steps
        .iter()
        .filter_map(Step::touches)
        .map(ToString::to_string)
        .collect();
    if steps.iter().any(|step| step.migrates().is_some()) {
        migrate::touched(steps)
    } else if names.is_empty() {
        "No instance is touched.".into()
    } else {
        format!(
            "Written to is the configuration of these instances, and nothing else of them: {}.",
            names.join(", ")
        )
    }
}

fn words_of(choice: &Choice) -> String {
    match choice {
        Choice::Leave { pool } => format!(
            "Leave pool {pool} as it is. Costs nothing; each launch goes on copying the whole root \
             filesystem."
        ),
        Choice::Beside { pool, beside, pins } if pins.is_empty() => format!(
            "Make a copy-on-write pool {beside} beside it for new agents. Costs the space they \
             take; what is on {pool} stays there."
        ),
        Choice::Beside { pool, beside, pins } => {
            let names: Vec<String> = pins.iter().map(ToString::to_string).collect();
            format!(
                "Make a copy-on-write pool {beside} beside it for new agents. Costs the space they \
                 take; what is on {pool} stays there, and gets its root disk written down as its \
                 own: {}.",
                names.join(", ")
            )
        }
    }
}

fn remaining_lines(remaining: &[Step]) -> Vec<String> {
    remaining
        .iter()
        .flat_map(|step| {
            std::iter::once(format!("- {}", step.describe())).chain(
                commands(step)
                    .into_iter()
                    .map(|command| format!("  {command}")),
            )
        })
        .collect()
}

/// Where a terminal is lent to others, the kernel stops whoever reads from it, by SIGTTIN, until it is lent to them, and who
/// lends it sees that it is wanted: so sudo does for what is at the end of a pipe (`curl … | sudo bash`). Waiting for input tells
/// nobody, and the person would type in vain; so it is said as reading would say it.
fn ask_for_terminal(terminal: std::os::fd::BorrowedFd<'_>) {
    use nix::sys::signal::{killpg, Signal};
    use nix::unistd::{getpgrp, tcgetpgrp};
    let own = getpgrp();
    if tcgetpgrp(terminal).is_ok_and(|lent_to| lent_to != own) {
        let _ = killpg(own, Signal::SIGTTIN);
    }
}
