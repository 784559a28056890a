//! The place of a pool that was begun in a cluster, and is not on all members yet.

use super::{loop_file, loop_path};
use crate::facts::{Host, Pool, PoolPart};
use crate::plan::{Goal, Refusal};
use crate::step::{as_given, PoolPlace};

/// Where a pool lies that was begun here: as it was defined, or not at all.
pub(super) fn place_of_begun(
    host: &Host,
    driver: &str,
    name: &str,
    goal: &Goal,
    part: &PoolPart,
) -> Result<PoolPlace, Refusal> {
    let config = as_given(part, driver);
    let size = config.get("size").and_then(|size| size.parse().ok());
    let (Some(size), 1) = (size, config.len()) else {
        return Err(Refusal::new(
            format!("pool {name} was begun with another place than taos-setup would give it"),
            begun_hints(name, driver),
        ));
    };
    if part.status == "Created" {
        return Ok(PoolPlace::LoopFile {
            path: loop_path(host, name),
            size,
            overcommitted: false,
        });
    }
    let as_begun = Goal {
        size: Some(size),
        ..goal.clone()
    };
    loop_file(host, driver, name, &as_begun)
}

pub(super) fn refuse_begun_otherwise(begun: &Pool, driver: &str) -> Result<(), Refusal> {
    if begun.driver == driver {
        return Ok(());
    }
    Err(Refusal::new(
        format!(
            "pool {} was begun as {} and is {}; it would be {driver}",
            begun.name, begun.driver, begun.status
        ),
        begun_hints(&begun.name, &begun.driver),
    ))
}

fn begun_hints(name: &str, driver: &str) -> [String; 2] {
    [
        format!("to complete it as it was begun: incus storage create {name} {driver}"),
        format!("to take it back: incus storage delete {name}; then run taos-setup again"),
    ]
}
