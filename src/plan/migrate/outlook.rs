//! What moving a container takes, in one line to choose by.

use super::Loss;
use crate::facts::Details;
use crate::step::migration::Migration;

/// What the calls of the client and the start take, whatever is in the container, in milliseconds
/// (`docs/decisions/0024-figures-to-choose-by.md`).
const FIXED: u64 = 700;
/// What comparing takes for each path while it is stopped, in microseconds, from the same place.
const PER_PATH: u64 = 60;

/// State, size, snapshots, downtime, and what would not be kept.
#[must_use]
pub fn line(of: &Migration, details: &Details, losses: &[Loss]) -> String {
    let how = if of.running {
        format!("running, down for {}", downtime(details))
    } else {
        "stopped, no downtime".to_owned()
    };
    let mut line = format!(
        "{}/{}: {how}; {} from {} to {}, {} snapshots",
        of.name.project,
        of.name.name,
        of.landing,
        of.from,
        of.to,
        of.snapshots.len()
    );
    if !losses.is_empty() {
        let mut kinds: Vec<String> = losses.iter().map(|it| it.kind.to_string()).collect();
        kinds.dedup();
        line = format!("{line}; NOT KEPT: {}", kinds.join(", "));
    }
    line
}

/// About how long it is down, but for what it takes to stop, which only it knows.
fn downtime(details: &Details) -> String {
    let milliseconds = FIXED + details.own_paths.saturating_mul(PER_PATH) / 1000;
    format!("about {} s plus its own stop", milliseconds.div_ceil(1000))
}
