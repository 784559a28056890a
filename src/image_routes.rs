//! Routes `taos-setup image …`, and what set-up does about the image.

use anyhow::Result;

use taos_setup::host::Machine;
use taos_setup::image::{self, Ending, Fetch, Source, Wanted};
use taos_setup::plan::image::Mode;
use taos_setup::plan::Refusal;
use taos_setup::report::{self, ImageReport};
use taos_setup::ui::Ui;

use crate::cli::{Cli, ImageCommand};

/// Whether a command changes nothing, so that nothing is written to the log either.
pub fn only_looks(command: &ImageCommand) -> bool {
    matches!(command, ImageCommand::Status { .. } | ImageCommand::Verify)
}

/// Does what a command says; its exit code.
pub fn run(machine: &Machine, ui: &Ui, cli: &Cli, command: &ImageCommand) -> Result<u8> {
    let refresh = matches!(command, ImageCommand::Fetch { refresh: true, .. });
    let wanted = wanted(cli, refresh);
    match command {
        ImageCommand::Status { watch } => {
            image::show(machine, ui, cli.json, *watch)?;
            Ok(0)
        }
        ImageCommand::Due => Ok(u8::from(!image::due(machine)?)),
        ImageCommand::Ensure { detach } => {
            let readiness = image::ensure(machine, &wanted?, *detach)?;
            let code = readiness.exit_code();
            let message = readiness.message();
            if cli.json {
                let image = ImageReport {
                    outcome: readiness.word(),
                    exit_code: code,
                    message: message.clone(),
                    ..ImageReport::default()
                };
                println!("{}", report::image_json("image ensure", &image));
            } else {
                ui.say(&message);
            }
            machine.log.line(&message);
            Ok(code)
        }
        ImageCommand::Fetch { detach: true, .. } => {
            let ending = detached(machine, &wanted?).unwrap_or_else(Ending::from);
            Ok(end(
                machine,
                ui,
                cli.json,
                "image fetch",
                &report_of(ending),
            ))
        }
        ImageCommand::Fetch { .. } => {
            let report = if cli.dry_run {
                report_of(would_fetch(&wanted?))
            } else {
                report_of_fetch(image::fetch(machine, ui, &wanted?))
            };
            Ok(end(machine, ui, cli.json, "image fetch", &report))
        }
        ImageCommand::Verify => {
            let report = report_of(image::verify(machine, &wanted?));
            Ok(end(machine, ui, cli.json, "image verify", &report))
        }
        ImageCommand::Remove => {
            let report = report_of(image::remove(machine, ui, cli.yes, cli.dry_run));
            Ok(end(machine, ui, cli.json, "image remove", &report))
        }
    }
}

/// After a set-up that is through: when the image is to be fetched; none if nobody said.
pub fn after_set_up(machine: &Machine, ui: &Ui, cli: &Cli) -> Option<ImageReport> {
    let prefetch = std::env::var("TAOS_PREFETCH_BASE_IMAGE").unwrap_or_default();
    // It is no step of the plan that was shown, so it takes a word of its own.
    let mode = cli
        .image
        .image
        .map(Mode::from)
        .or_else(|| Mode::of_prefetch(&prefetch))?;
    let wanted = match wanted(cli, false) {
        Ok(wanted) => wanted,
        // Without an image for this machine there is nothing to forgo.
        Err(_) if mode == Mode::Off => return None,
        Err(error) => return Some(said(machine, ui, mode, report_of(error.into()))),
    };
    let arranged = match image::set_mode(machine, mode, &wanted) {
        Ok(words) => words,
        Err(error) => return Some(said(machine, ui, mode, report_of(error.into()))),
    };
    ui.say(&arranged);
    if mode == Mode::Now {
        let report = report_of_fetch(image::fetch(machine, ui, &wanted));
        return Some(said(machine, ui, mode, report));
    }
    machine.log.line(&arranged);
    Some(ImageReport {
        mode: Some(mode),
        outcome: "arranged",
        message: arranged,
        ..ImageReport::default()
    })
}

/// Says how it ended; it becomes a part of the set-up's document.
fn said(machine: &Machine, ui: &Ui, mode: Mode, report: ImageReport) -> ImageReport {
    end(machine, ui, false, "image fetch", &report);
    ImageReport {
        mode: Some(mode),
        ..report
    }
}

fn wanted(cli: &Cli, refresh: bool) -> Result<Wanted> {
    cli.image
        .wanted(refresh)
        .ok_or_else(|| unpublished().into())
}

fn unpublished() -> Refusal {
    Refusal::new(
        format!("no base image is published for {}", std::env::consts::ARCH),
        ["name one: --image-url URL or --image-file FILE"],
    )
}

fn would_fetch(wanted: &Wanted) -> Ending {
    let from = match &wanted.source {
        Source::Url(url) => url.plain(),
        Source::File(path) => path.display().to_string(),
    };
    Ending::Done(format!(
        "nothing was changed; it would be fetched from {from}"
    ))
}

fn detached(machine: &Machine, wanted: &Wanted) -> Result<Ending> {
    image::detach(machine, wanted)?;
    Ok(Ending::Done(
        "the base image is on its way; to see how far it is: taos-setup image status --watch"
            .into(),
    ))
}

fn report_of_fetch(fetch: Fetch) -> ImageReport {
    ImageReport {
        fingerprint: fetch.fingerprint,
        proof: fetch.proof,
        ..report_of(fetch.ending)
    }
}

fn report_of(ending: Ending) -> ImageReport {
    let (outcome, exit_code) = (ending.word(), ending.exit_code());
    let (message, hints) = match ending {
        Ending::Done(message) => (message, Vec::new()),
        Ending::Refused(refusal) => (refusal.what, refusal.hints),
        Ending::Failed { error, hints } => (error, hints),
        Ending::Stopped => (
            "stopped, as asked for".to_owned(),
            vec!["to go on: taos-setup image fetch".to_owned()],
        ),
    };
    ImageReport {
        outcome,
        exit_code,
        message,
        hints,
        ..ImageReport::default()
    }
}

/// Says how it ended, and returns the exit code.
fn end(machine: &Machine, ui: &Ui, json: bool, command: &str, report: &ImageReport) -> u8 {
    let ImageReport {
        exit_code: code,
        message,
        hints,
        ..
    } = report;
    if json {
        println!("{}", report::image_json(command, report));
    }
    match code {
        0 => ui.say(&capitalised(message)),
        _ => ui.error(message, hints),
    }
    machine
        .log
        .line(&format!("{command} ended with exit code {code}: {message}"));
    *code
}

fn capitalised(text: &str) -> String {
    let mut chars = text.chars();
    let first = chars.next().map(|c| c.to_uppercase().to_string());
    format!("{}{}.", first.unwrap_or_default(), chars.as_str())
}
