//! Sets up copy-on-write Incus storage for taOS agents.
//!
//! The whole story: [`look`] at what is, [`plan::plan`] what would change, show it, have it
//! approved, [`apply`] it with a [`journal`], and report.  Nothing that exists is touched without
//! a yes to exactly that.

pub mod apply;
pub mod facts;
pub mod host;
pub mod image;
pub mod incus;
pub mod journal;
pub mod plan;
pub mod report;
pub mod setup;
pub mod status;
pub mod step;
pub mod ui;

use anyhow::Result;

use crate::facts::{Facts, Host};
use crate::host::Machine;

/// Reads what the machine is.  `source` is what `--source` names.
///
/// # Errors
/// If the Incus daemon is there, but gives no answer that can be understood.
pub fn look(machine: &Machine, source: Option<&str>) -> Result<Facts> {
    let mut host: Host = host::probe(machine, source);
    host.trigger = image::trigger(machine);
    let installed = host.tools.contains_key("incus");
    let incus = incus::probe(machine, installed).map_err(|error| {
        if !incus::without_majority(&error) {
            return error;
        }
        error.context(
            "too few of the members that keep the cluster's database are there, so Incus can tell \
             and do nothing; bring them back, then run this again",
        )
    })?;
    Ok(Facts { host, incus })
}
