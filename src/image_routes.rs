//! Routes `taos-setup image …`, and says what a set-up is to do about the image.

use anyhow::Result;

use taos_setup::host::Machine;
use taos_setup::image::{self, Ending, Source, Wanted};
use taos_setup::plan::image::Mode;
use taos_setup::plan::{ImageGoal, Refusal};
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
        ImageCommand::Due => {
            // What systemd says to a service that a path unit starts.
            let due = match std::env::var_os("TRIGGER_UNIT") {
                Some(_) => image::due_soon(machine)?,
                None => image::due(machine)?,
            };
            Ok(u8::from(!due))
        }
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
            Ok(end(machine, ui, cli.json, "image fetch", &ending.into()))
        }
        ImageCommand::Fetch { .. } => {
            let report = if cli.dry_run {
                would_fetch(&wanted?).into()
            } else {
                image::fetch(machine, ui, &wanted?).into()
            };
            Ok(end(machine, ui, cli.json, "image fetch", &report))
        }
        ImageCommand::Verify => {
            let report = image::verify(machine, &wanted?).into();
            Ok(end(machine, ui, cli.json, "image verify", &report))
        }
        ImageCommand::Remove => {
            let report = image::remove(machine, ui, cli.yes, cli.dry_run).into();
            Ok(end(machine, ui, cli.json, "image remove", &report))
        }
    }
}

/// What a set-up is to do about the image.
pub fn goal(cli: &Cli) -> ImageGoal {
    let prefetch = std::env::var("TAOS_PREFETCH_BASE_IMAGE").unwrap_or_default();
    let asked = cli.image.image.map(Mode::from);
    let mode = asked.or_else(|| Mode::of_prefetch(&prefetch));
    ImageGoal {
        mode,
        fixed: mode.is_some(),
        environment: cli.image.wanted(false).map(|wanted| {
            image::environment_of(&wanted, cli.timeout, |name| std::env::var(name).ok())
        }),
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
