//! Steps as the commands that carry them out.

use crate::facts::{Config, Reference};
use crate::step::{Owner, Step};

/// What carries a step out.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Commands {
    /// In turn.
    pub run: Vec<Vec<String>>,
    /// Instead of `run`, if its failure says these words.
    pub otherwise: Option<(&'static str, Vec<String>)>,
}

/// The commands of a step that is Incus's business; none for the others.
#[must_use]
pub fn commands_of(step: &Step) -> Commands {
    let mut commands = Commands::default();
    match step {
        Step::InstallPackages { .. }
        | Step::StartDaemon { .. }
        | Step::HoldSpace { .. }
        | Step::ArrangeImage { .. }
        | Step::FetchImage { .. }
        | Step::RemoveImage { .. }
        | Step::Migrate { .. } => {}
        Step::CreatePool { pool } => {
            let create = || incus(&["storage", "create", &pool.name, &pool.driver]);
            let describe = |argv: &mut Vec<String>| {
                if !pool.description.is_empty() {
                    argv.push(format!("--description={}", pool.description));
                }
            };
            for part in &pool.parts {
                let mut argv = create();
                argv.extend(words(&["--target", &part.member]));
                argv.extend(keys(&part.config));
                commands.run.push(argv);
            }
            let mut argv = create();
            argv.extend(keys(&pool.config));
            describe(&mut argv);
            commands.run.push(argv);
            if !pool.parts.is_empty() {
                // It keeps what it was given when it was begun.
                let mut again = create();
                describe(&mut again);
                commands.otherwise = Some(("already partially created", again));
            }
        }
        Step::MeasureRoom { pool } => {
            let make = Step::CreatePool { pool: pool.clone() };
            commands.run = commands_of(&make).run;
            for member in pool.members() {
                let path = format!("/1.0/cluster/members/{member}/state");
                commands.run.push(incus(&["query", &path]));
            }
            commands.run.push(incus(&["storage", "delete", &pool.name]));
        }
        Step::DeletePool { pool } => {
            commands.run.push(incus(&["storage", "delete", &pool.name]));
        }
        Step::CreateNetwork { network } => {
            let mut argv = incus(&["network", "create", &network.name]);
            argv.extend(words(&["--type=bridge", "--project", "default"]));
            let mut otherwise = argv.clone();
            otherwise.push(format!("ipv4.address={}", network.fallback));
            for member in &network.members {
                let mut part = argv.clone();
                part.extend(words(&["--target", member]));
                commands.run.push(part);
            }
            commands.run.push(argv);
            commands.otherwise = Some(("find an unused", otherwise));
        }
        Step::DeleteNetwork { network } => {
            let mut argv = incus(&["network", "delete", &network.name]);
            argv.extend(words(&["--project", "default"]));
            commands.run.push(argv);
        }
        Step::SetDevice {
            owner,
            device,
            from,
            to,
        } => {
            let (kind, Reference { project, name }) = match owner {
                Owner::Profile { name } => (&["profile"][..], name),
                Owner::Instance { name } => (&["config"][..], name),
            };
            let mut argv = incus(kind);
            argv.extend(device_words(name, device, from.as_ref(), to.as_ref()));
            argv.extend(words(&["--project", project]));
            commands.run.push(argv);
        }
    }
    commands
}

fn device_words(
    owner: &str,
    device: &str,
    from: Option<&Config>,
    to: Option<&Config>,
) -> Vec<String> {
    match (from, to) {
        (Some(old), Some(new)) => {
            let mut argv = words(&["device", "set", owner, device]);
            argv.extend(keys(
                &new.iter()
                    .filter(|(key, value)| old.get(*key) != Some(value))
                    .map(|(key, value)| (key.clone(), value.clone()))
                    .collect(),
            ));
            // An empty value takes a key away.
            argv.extend(
                old.keys()
                    .filter(|key| !new.contains_key(*key))
                    .map(|key| format!("{key}=")),
            );
            argv
        }
        (None, Some(new)) => {
            let kind = new.get("type").map_or("none", String::as_str);
            let mut argv = words(&["device", "add", owner, device, kind]);
            let mut rest = new.clone();
            rest.remove("type");
            argv.extend(keys(&rest));
            argv
        }
        (_, None) => words(&["device", "remove", owner, device]),
    }
}

/// `--force-local` takes the daemon on this machine, whatever remote the client is set to.
pub(super) fn incus(rest: &[&str]) -> Vec<String> {
    let mut argv = words(&["incus", "--force-local"]);
    argv.extend(words(rest));
    argv
}

fn keys(config: &Config) -> Vec<String> {
    config
        .iter()
        .map(|(key, value)| format!("{key}={value}"))
        .collect()
}

pub(super) fn words(words: &[&str]) -> Vec<String> {
    words.iter().map(ToString::to_string).collect()
}
