//! Parses the command line, wires up the real machine, and ends with the right exit code.

use std::process::ExitCode;

use anyhow::{Context as _, Result};
use clap::Parser as _;

use taos_setup::host::{command::shown, log::Log, Bounds, Machine, Meter, Paths, Signals};
use taos_setup::report;
use taos_setup::ui::Ui;
use taos_setup::{apply, incus, journal, look, setup, status};

mod cli;
mod image_routes;

use cli::{Cli, Command};

fn main() -> ExitCode {
    let cli = Cli::parse();
    if let Some(error) = cli.contradiction() {
        error.exit();
    }
    match run(&cli) {
        Ok(code) => code.into(),
        // Errors of steps are endings of a report; what arrives here came before any of them.
        Err(error) => {
            let message = format!("{error:#}");
            let mut hints = vec![format!(
                "nothing was changed; the log is {}",
                Paths::from_environment().log.display()
            )];
            if message.contains("Required tool") {
                hints.push("install the tool that Incus names, then run this again".into());
            }
            if cli.json {
                println!("{}", report::error_json(cli.name(), 3, &message, &hints));
            }
            if let Ok(signals) = Signals::listen() {
                Ui::new(cli.quiet, cli.verbose, cli.json, signals).error(&message, &hints);
            }
            3.into()
        }
    }
}

fn run(cli: &Cli) -> Result<u8> {
    let signals = Signals::listen().context("listening for signals")?;
    let ui = Ui::new(cli.quiet, cli.verbose, cli.json, signals.clone());
    let paths = Paths::from_environment();
    let only_looks = match &cli.command {
        Some(Command::Status { probe }) => !probe,
        Some(Command::Image { command }) => image_routes::only_looks(command),
        _ => false,
    };
    let effects = !cli.dry_run && !only_looks;
    let log = if effects && nix::unistd::geteuid().is_root() {
        Log::append_to(&paths.log)
            .with_context(|| format!("opening the log {}", paths.log.display()))?
    } else {
        Log::none()
    };
    let mut command = vec!["taos-setup".to_owned()];
    command.extend(std::env::args().skip(1));
    let command = shown(&command);
    log.line(&format!("version {}: {command}", env!("CARGO_PKG_VERSION")));
    let machine = Machine {
        bounds: Bounds::from_query(cli.bound()),
        verbose: cli.verbose,
        paths,
        log,
        signals,
        rooms: taos_setup::host::Rooms::default(),
        meter: Meter::default(),
    };
    let report = match &cli.command {
        Some(Command::Status { probe }) => return show_status(&machine, &ui, cli.json, *probe),
        Some(Command::Image { command }) => return image_routes::run(&machine, &ui, cli, command),
        Some(Command::Undo) => setup::undo(&machine, &ui, cli.goal(), &cli.manner(&command))?,
        Some(Command::Migrate(options)) => {
            setup::migrate(&machine, &ui, options.asked(), &cli.manner(&command))?
        }
        None => {
            let mut goal = cli.goal();
            goal.image = Some(image_routes::goal(cli));
            setup::set_up(&machine, &ui, goal, &cli.manner(&command))?
        }
    };
    ui.show_ending(&report);
    let code = report.exit_code();
    // There is one document, of all of it.
    ui.print_document(&report);
    machine.log.line(&format!("ended with exit code {code}"));
    Ok(code)
}

fn show_status(machine: &Machine, ui: &Ui, json: bool, probe: bool) -> Result<u8> {
    let mut facts = look(machine, None)?;
    if let taos_setup::facts::Incus::Answering(server) = &mut facts.incus {
        incus::look_closer(machine, server)?;
    }
    let launches = if probe {
        apply::measure(machine, &facts)?
    } else {
        Vec::new()
    };
    // Only root can read the journal.
    let records = journal::records(&machine.paths.state).unwrap_or_default();
    let cut_short = setup::unfinished(&records).map(|record| record.time.as_str());
    let status = status::Status::of(&facts, launches, cut_short);
    if json {
        println!("{}", report::status_json(&facts, &status));
    } else {
        ui.show_status(&facts, &status);
    }
    Ok(0)
}
