//! What is made on every member of a cluster: defined for each of them first, and then made at once.

use std::os::fd::BorrowedFd;

use anyhow::{Context as _, Result};

use crate::host::{CommandError, Machine};
use crate::incus;
use crate::step::{PoolSpec, Step};

/// Does what such a step says, from wherever it was left.
pub(super) fn perform(machine: &Machine, lock: BorrowedFd<'_>, step: &Step) -> Result<()> {
    // Should this program be killed now, the lock stays until the command is through.
    crate::journal::inherit(lock, true);
    let result = match step {
        Step::MeasureRoom { pool } => measure_room(machine, pool),
        _ => make(machine, step).map_err(|error| {
            let left = error.words().contains("Storage pool directory");
            let error = anyhow::Error::from(error);
            if left {
                error.context(
                    "what a member left whose daemon died while it made its part is in the way there \
                     (docs/clusters.md says how to clear it away)",
                )
            } else {
                error
            }
        }),
    };
    crate::journal::inherit(lock, false);
    result
}

/// Runs the commands in turn.  What a member was given already was looked at before: it is the same.
fn make(machine: &Machine, step: &Step) -> Result<(), CommandError> {
    let commands = incus::commands_of(step);
    for argv in &commands.run {
        let result = machine.run(argv, machine.bounds.change);
        let Err(error) = result else {
            continue;
        };
        let words = error.words();
        let of_one = argv.iter().any(|word| word == "--target");
        let known = ["already defined on member", "not in pending state"];
        if of_one && known.iter().any(|sign| words.contains(sign)) {
            continue;
        }
        match &commands.otherwise {
            _ if words.contains("already partially created") => {
                let again = without_keys(argv);
                machine.run(&again, machine.bounds.change)?;
            }
            Some((sign, otherwise)) if words.contains(sign) => {
                machine.run(otherwise, machine.bounds.change)?;
            }
            _ => return Err(error),
        }
    }
    Ok(())
}

/// The same without configuration: what was begun keeps what it was given.
fn without_keys(argv: &[String]) -> Vec<String> {
    let is_key = |word: &String| word.contains('=') && !word.starts_with("--");
    argv.iter().filter(|word| !is_key(word)).cloned().collect()
}

/// Lets each member tell what its filesystem has free, for the rest of this call.
fn measure_room(machine: &Machine, pool: &PoolSpec) -> Result<()> {
    let delete = || {
        let step = Step::DeletePool { pool: pool.clone() };
        let argv = incus::commands_of(&step).run.concat();
        machine.run(&argv, machine.bounds.change).map(drop)
    };
    // What measuring that was cut short left.
    match delete() {
        Err(error) if !error.words().contains("not found") => return Err(error.into()),
        _ => {}
    }
    let made = make(machine, &Step::CreatePool { pool: pool.clone() });
    let measured = made.map_err(anyhow::Error::from).and_then(|()| {
        pool.members()
            .map(|member| {
                let room = incus::room_of(machine, &pool.name, member)
                    .with_context(|| format!("seeing how much room {member} has"))?;
                Ok((member.to_owned(), room))
            })
            .collect::<Result<Vec<_>>>()
    });
    delete().with_context(|| format!("deleting the empty pool {}", pool.name))?;
    let measured = measured?;
    if let Ok(mut rooms) = machine.rooms.lock() {
        rooms.extend(measured);
    }
    Ok(())
}
