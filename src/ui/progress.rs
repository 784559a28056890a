//! How far a migration is: a bar on a terminal, a line now and then elsewhere.

use std::fmt::Write as _;
use std::sync::mpsc::{self, RecvTimeoutError, Sender};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use indicatif::{ProgressBar, ProgressStyle};

use super::Ui;
use crate::host::meter::{Stage, View};
use crate::host::Meter;

/// So often a bar is drawn.
const FRAME: Duration = Duration::from_millis(200);
/// After this, and then ever more seldom, comes a line where there is no terminal…
const FIRST_LINE: Duration = Duration::from_secs(2);
/// …but at least so often.
const LAST_LINE: Duration = Duration::from_secs(60);

/// Shows a meter as long as it lives.
pub(super) struct Ticker {
    end: Option<Sender<()>>,
    thread: Option<JoinHandle<()>>,
}

impl Ticker {
    /// In a bar that is on the terminal already.
    pub(super) fn in_bar(bar: ProgressBar, meter: Meter) -> Self {
        Self::every(
            move || {
                if let Some(view) = meter.view() {
                    draw(&bar, &view);
                }
            },
            |_| FRAME,
            FRAME,
        )
    }

    /// In lines.
    pub(super) fn in_lines(ui: Ui, meter: Meter) -> Self {
        Self::every(
            move || {
                if let Some(view) = meter.view() {
                    let all = overall(&view).map_or_else(String::new, |all| format!("; {all}"));
                    ui.print(&format!("    {}{all}", words(&view)));
                }
            },
            |pause| (pause * 2).min(LAST_LINE),
            FIRST_LINE,
        )
    }

    fn every(
        show: impl Fn() + Send + 'static,
        next: impl Fn(Duration) -> Duration + Send + 'static,
        first: Duration,
    ) -> Self {
        let (end, ended) = mpsc::channel();
        let thread = std::thread::spawn(move || {
            let mut pause = first;
            let mut due = Instant::now() + pause;
            loop {
                let left = due.saturating_duration_since(Instant::now());
                match ended.recv_timeout(left) {
                    Err(RecvTimeoutError::Timeout) => show(),
                    _ => return,
                }
                pause = next(pause);
                due = Instant::now() + pause;
            }
        });
        Self {
            end: Some(end),
            thread: Some(thread),
        }
    }
}

impl Drop for Ticker {
    fn drop(&mut self) {
        drop(self.end.take());
        // It shows nothing after this, so that what follows stands below it.
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

fn draw(bar: &ProgressBar, view: &View) {
    if bar.length().is_none() {
        if let Ok(style) =
            ProgressStyle::with_template("  {spinner} {wide_msg}\n    {bar:20} {prefix}")
        {
            bar.set_style(style);
        }
    }
    bar.set_length(view.of_bytes.0);
    bar.set_position(view.bytes.0);
    bar.set_message(words(view));
    bar.set_prefix(overall(view).unwrap_or_default());
}

/// How far one container is.
fn words(view: &View) -> String {
    let View { name, paths, .. } = view;
    let mut text = match view.stage {
        Stage::Copying => format!("copying {name}: "),
        Stage::Comparing => format!("comparing {name}: {paths} of {} paths, ", view.of_paths),
    };
    let _ = write!(text, "{} of {}", view.bytes, view.of_bytes);
    if view.stage == Stage::Copying {
        let _ = write!(text, " in {} paths", view.of_paths);
    }
    if let Some(rate) = view.rate {
        let _ = write!(text, ", {rate}/s");
    }
    if let Some(left) = view.left {
        let _ = write!(text, ", {} left", time(left));
    }
    text
}

/// How far all of them are, if there are several.
fn overall(view: &View) -> Option<String> {
    let all = view.all.filter(|_| view.count > 1)?;
    let left = view
        .all_left
        .map_or_else(String::new, |left| format!(", {} left", time(left)));
    Some(format!(
        "{} of {}; all: {all} %{left}",
        view.number, view.count
    ))
}

fn time(time: Duration) -> String {
    match time.as_secs() {
        seconds @ 0..60 => format!("{seconds} s"),
        seconds @ 60..3600 => format!("{} min {} s", seconds / 60, seconds % 60),
        seconds => format!("{} h {} min", seconds / 3600, seconds % 3600 / 60),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::facts::Bytes;

    #[test]
    fn a_moment_in_words() {
        let copying = View {
            stage: Stage::Copying,
            name: "mary".into(),
            number: 2,
            count: 3,
            paths: 0,
            of_paths: 10_150,
            bytes: Bytes::mib(210),
            of_bytes: Bytes::mib(600),
            rate: Some(Bytes::mib(20)),
            left: Some(Duration::from_secs(75)),
            all: Some(40),
            all_left: Some(Duration::from_secs(7260)),
        };
        assert_eq!(
            words(&copying),
            "copying mary: 210 MiB of 600 MiB in 10150 paths, 20 MiB/s, 1 min 15 s left"
        );
        let all = overall(&copying);
        assert_eq!(all.as_deref(), Some("2 of 3; all: 40 %, 2 h 1 min left"));
        let comparing = View {
            stage: Stage::Comparing,
            paths: 12,
            count: 1,
            rate: None,
            left: None,
            ..copying
        };
        assert_eq!(
            words(&comparing),
            "comparing mary: 12 of 10150 paths, 210 MiB of 600 MiB"
        );
        assert_eq!(overall(&comparing), None);
    }
}
