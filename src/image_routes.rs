//! Routes `taos-setup image …`, and what set-up does about the image.

use anyhow::Result;

use taos_setup::host::Machine;
use taos_setup::image::{self, Ending, Source, Wanted};
use taos_setup::plan::image::Mode;
use taos_setup::plan::Refusal;
use taos_setup::report;
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
                let word = readiness.word();
                let text = report::image_json("image ensure", word, code, Some(&message), &[]);
                println!("{text}");
            } else {
                ui.say(&message);
            }
            machine.log.line(&message);
            Ok(code)
        }
        ImageCommand::Fetch { detach: true, .. } => {
            let ending = detached(machine, &wanted?).unwrap_or_else(Ending::from);
            Ok(end(machine, ui, cli.json, "image fetch", &ending))
        }
        ImageCommand::Fetch { .. } => {
            let ending = if cli.dry_run {
                would_fetch(&wanted?)
            } else {
                image::fetch(machine, ui, &wanted?)
            };
            Ok(end(machine, ui, cli.json, "image fetch", &ending))
        }
        ImageCommand::Verify => {
            let ending = image::verify(machine, &wanted?);
            Ok(end(machine, ui, cli.json, "image verify", &ending))
        }
        ImageCommand::Remove => {
            let ending = image::remove(machine, ui, cli.yes, cli.dry_run);
            Ok(end(machine, ui, cli.json, "image remove", &ending))
        }
    }
}

/// After a set-up that is through: when the image is to be fetched.
pub fn after_set_up(machine: &Machine, ui: &Ui, cli: &Cli) -> Result<u8> {
    let prefetch = std::env::var("TAOS_PREFETCH_BASE_IMAGE").unwrap_or_default();
    let asked = cli
        .image
        .image
        .map(Mode::from)
        .or_else(|| Mode::of_prefetch(&prefetch));
    // It is no step of the plan that was shown, so it takes a word of its own.
    let Some(mode) = asked else {
        return Ok(0);
    };
    let wanted = match wanted(cli, false) {
        Ok(wanted) => wanted,
        // Without an image for this machine there is nothing to forgo.
        Err(_) if mode == Mode::Off => return Ok(0),
        Err(error) => return Err(error),
    };
    let words = image::set_mode(machine, mode, &wanted)?;
    ui.say(&words);
    if mode != Mode::Now {
        return Ok(0);
    }
    let ending = image::fetch(machine, ui, &wanted);
    // The document of the set-up is printed already.
    Ok(end(machine, ui, false, "image fetch", &ending))
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

/// Says how it ended, and returns the exit code.
fn end(machine: &Machine, ui: &Ui, json: bool, command: &str, ending: &Ending) -> u8 {
    let (message, hints) = match ending {
        Ending::Done(message) => (message.clone(), Vec::new()),
        Ending::Refused(refusal) => (refusal.what.clone(), refusal.hints.clone()),
        Ending::Failed { error, hints } => (error.clone(), hints.clone()),
        Ending::Stopped => (
            "stopped, as asked for".to_owned(),
            vec!["to go on: taos-setup image fetch".to_owned()],
        ),
    };
    let code = ending.exit_code();
    if json {
        let text = report::image_json(command, ending.word(), code, Some(&message), &hints);
        println!("{text}");
    }
    match ending {
        Ending::Done(_) => ui.say(&capitalised(&message)),
        _ => ui.error(&message, &hints),
    }
    machine
        .log
        .line(&format!("{command} ended with exit code {code}: {message}"));
    code
}

fn capitalised(text: &str) -> String {
    let mut chars = text.chars();
    let first = chars.next().map(|c| c.to_uppercase().to_string());
    format!("{}{}.", first.unwrap_or_default(), chars.as_str())
}
