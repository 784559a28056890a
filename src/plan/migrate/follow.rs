//! Root disks of their own that say no more than the profile.

use crate::facts::{root_of, Config, Pool, Reference, Server};
use crate::step::migration::Migration;
use crate::step::{Owner, Step};

/// Lets containers that are moved take their root disk from their profile again, where that will say exactly the same
/// as their own: `then` is what becomes of the profiles.
pub(super) fn drop_overrides(server: &Server, moved: &[Migration], then: &[Step]) -> Vec<Step> {
    let clones = |pool: &str| server.pool(pool).is_none_or(Pool::copy_on_write);
    moved
        .iter()
        .filter(|of| clones(&of.to) && !clones(&of.from))
        // Who took it from there before is seen to already.
        .filter(|of| of.devices.contains_key(&of.root.0))
        .filter(|of| inherited(server, &of.name, then).as_ref() == Some(&of.root))
        .map(|of| Step::SetDevice {
            owner: Owner::Instance {
                name: of.name.clone(),
            },
            device: of.root.0.clone(),
            from: Some(of.root.1.clone()),
            to: None,
        })
        .collect()
}

/// The root disk that an instance would have without one of its own.
fn inherited(server: &Server, name: &Reference, then: &[Step]) -> Option<(String, Config)> {
    let instance = server.instance(name)?;
    instance.profiles.iter().rev().find_map(|reference| {
        let profile = server.profile(reference)?;
        let (device, keys) = root_of(&profile.devices)?;
        let changed = then.iter().find_map(|step| match step {
            Step::SetDevice {
                owner: Owner::Profile { name },
                device: set,
                to: Some(keys),
                ..
            } if name == reference && set == device => Some(keys),
            _ => None,
        });
        Some((device.clone(), changed.unwrap_or(keys).clone()))
    })
}
