//! Which new container is a first deploy.

use std::collections::BTreeSet;

use crate::step::migration::STRAY;

/// Whether a container's name is that of one that does not last: `taos-probe-…` and `taos-warm-…`
/// of this program, `taos-bake-…` of the application while it prepares an image, `move-of-…` of
/// Incus.  What a deploy makes is `taos-agent-…`.
#[must_use]
pub fn is_scratch(name: &str) -> bool {
    // Outside of project `default` the project comes first; an instance's name has no underscore.
    let name = name.rsplit('_').next().unwrap_or(name);
    let of_taos = name.starts_with("taos-") && !name.starts_with("taos-agent-");
    of_taos || name.starts_with(STRAY)
}

/// The containers that were not there before, and are no scratch.
#[must_use]
pub fn newcomers(before: &BTreeSet<String>, now: &BTreeSet<String>) -> Vec<String> {
    now.difference(before)
        .filter(|name| !is_scratch(name))
        .cloned()
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn set(names: &[&str]) -> BTreeSet<String> {
        names.iter().map(ToString::to_string).collect()
    }

    #[test]
    fn only_a_new_lasting_container_is_a_deploy() {
        let before = set(&["mary", "user-1000_naira"]);
        for (now, new) in [
            (&["mary", "user-1000_naira"][..], &[][..]),
            (&["mary"], &[]),
            (&[], &[]),
            (
                &[
                    "mary",
                    "taos-warm-12",
                    "user-1000_taos-probe-3",
                    "move-of-9",
                ],
                &[],
            ),
            (&["mary", "taos-bake-taos-openclaw-base-tmp"], &[]),
            (&["mary", "taos-agent-x"], &["taos-agent-x"]),
            (
                &["user-1000_taos-agent-x", "web"],
                &["user-1000_taos-agent-x", "web"],
            ),
        ] {
            assert_eq!(newcomers(&before, &set(now)), new);
        }
    }
}
