//! What a migration does not keep.  Each needs a yes of its own: `--yes` is none, and neither is the yes to the plan.

use std::fmt;
use std::str::FromStr;

use serde::Serialize;

use super::super::{Plan, Refusal};
use crate::facts::{root_of, Bytes, Config, Details, Instance, Pool, Reference};
use crate::step::migration::Migration;

/// What is lost, in the word that accepts it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Lossy {
    /// Backups stay with the original, and go with it.
    Backups,
    /// A snapshot's root size that comes from a profile.
    SnapshotSize,
    /// A root size that the pool cannot give.
    RootSize,
    /// Subvolumes within the container become folders.
    Subvolumes,
    /// An original is deleted although it is protected from that.
    Protection,
    /// What nobody can look at from here: files on other members of a cluster.
    Unseen,
}

impl Lossy {
    const ALL: [Self; 6] = [
        Self::Backups,
        Self::SnapshotSize,
        Self::RootSize,
        Self::Subvolumes,
        Self::Protection,
        Self::Unseen,
    ];
}

impl fmt::Display for Lossy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Backups => "backups",
            Self::SnapshotSize => "snapshot-size",
            Self::RootSize => "root-size",
            Self::Subvolumes => "subvolumes",
            Self::Protection => "protection",
            Self::Unseen => "unseen",
        })
    }
}

impl FromStr for Lossy {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let all = Self::ALL.into_iter();
        all.clone()
            .find(|it| it.to_string() == text)
            .ok_or_else(|| {
                let words: Vec<String> = all.map(|it| it.to_string()).collect();
                format!(
                    "nothing is lost by that name; it is one of {}",
                    words.join(", ")
                )
            })
    }
}

/// Something of a container that is not kept.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Loss {
    pub kind: Lossy,
    pub of: Reference,
    pub what: String,
    /// What can be done about it.
    pub hint: String,
}

/// Whether the same would be lost.  How much a pool has is known for sure only once it is there.
#[must_use]
pub fn same_losses(one: &[Loss], other: &[Loss]) -> bool {
    let same = |one: &Loss, other: &Loss| {
        (one.kind, &one.of) == (other.kind, &other.of)
            && (one.kind == Lossy::RootSize || one.what == other.what)
    };
    one.len() == other.len() && one.iter().zip(other).all(|(one, other)| same(one, other))
}

impl Plan {
    /// Takes these losses for accepted.
    pub fn accept(&mut self, accepted: impl Fn(&Loss) -> bool) {
        self.losses.retain(|loss| !accepted(loss));
    }

    /// Refuses what nobody said yes to.
    pub(in crate::plan) fn nothing_is_lost(&self) -> Result<(), Refusal> {
        let Some(first) = self.losses.first() else {
            return Ok(());
        };
        let mut kinds: Vec<Lossy> = self.losses.iter().map(|loss| loss.kind).collect();
        kinds.sort();
        kinds.dedup();
        let kinds: Vec<String> = kinds.iter().map(ToString::to_string).collect();
        let mut hints: Vec<String> = self.losses[1..]
            .iter()
            .map(|loss| format!("and {}", loss.what))
            .collect();
        hints.push(format!(
            "if that may be so, say yes to exactly that with --accept {}, or answer the prompt on a terminal",
            kinds.join(",")
        ));
        hints.push(format!("or keep it: {}", first.hint));
        let what = format!("{}, and nobody said yes to that", first.what);
        Err(Refusal::new(what, hints))
    }
}

/// What moving a container does not keep.  `room` is all that the pool has, where that is known.
pub(super) fn losses(of: &Migration, details: &Details, room: Option<Bytes>) -> Vec<Loss> {
    let name = &of.name;
    let mut losses = Vec::new();
    let mut lose = |kind: Lossy, what: String, hint: &str| {
        losses.push(Loss {
            kind,
            of: name.clone(),
            what,
            hint: hint.to_owned(),
        });
    };
    if !details.backups.is_empty() {
        lose(
            Lossy::Backups,
            format!(
                "{name} is without its backups ({}) then: they stay with the original that is kept",
                details.backups.join(", ")
            ),
            "export them first: incus export makes a file",
        );
    }
    for snapshot in &of.snapshots {
        let from_profile =
            sized(root_of(&snapshot.expanded_devices)) && !sized(root_of(&snapshot.devices));
        if from_profile {
            lose(
                Lossy::SnapshotSize,
                format!(
                    "snapshot {name}/{} has its root size from a profile, and loses it: Incus \
                     writes its root disk down without",
                    snapshot.name
                ),
                "after restoring it, set the size again: incus config device set NAME root size=…",
            );
        }
    }
    let size = root_size(&of.root.1);
    if let (Some(size), Some(room)) = (size, room) {
        if size > room {
            lose(
                Lossy::RootSize,
                format!(
                    "the root size of {name}, {size}, is more than all of pool {} ({room}): it stays \
                     set, and the pool cannot give it",
                    of.to
                ),
                "make the pool larger (incus storage set POOL size=…), or the root size smaller",
            );
        }
    }
    if !details.subvolumes.is_empty() {
        lose(
            Lossy::Subvolumes,
            format!(
                "subvolumes in {name} ({}) may become plain folders, with all that is in them",
                details.subvolumes.join(", ")
            ),
            "send them to where they are kept (btrfs send) first",
        );
    }
    losses
}

/// What deleting an original that is kept does not respect.
pub(super) fn loss_of_kept(kept: &Instance, name: &Reference) -> Option<Loss> {
    let protected = kept.record.config.get("security.protection.delete");
    let on = protected.is_some_and(|it| matches!(it.as_str(), "true" | "1" | "yes" | "on"));
    on.then(|| Loss {
        kind: Lossy::Protection,
        of: name.clone(),
        what: format!(
            "the original of {name} is protected from being deleted (security.protection.delete)"
        ),
        hint: "leave it where it is".into(),
    })
}

/// What a size that Incus enforces on the pool would cut off.
pub(super) fn too_small(of: &Migration, details: &Details, pool: Option<&Pool>) -> Option<Refusal> {
    // A new pool is btrfs; on `dir` a size is only a wish.
    let enforced = pool.is_none_or(|pool| pool.driver != "dir");
    let size = root_size(&of.root.1).filter(|size| enforced && *size < details.largest)?;
    let name = &of.name;
    Some(Refusal::new(
        format!(
            "the root size of {name} is {size}, pool {} holds it to that, and {} are in it or in \
             one of its snapshots",
            of.to, details.largest
        ),
        [format!(
            "give it more first: incus config device override {} {} size={}",
            name.name,
            of.root.0,
            Bytes::mib((details.largest.0 >> 20).saturating_mul(2).max(64)).exact()
        )],
    ))
}

fn sized(root: Option<(&String, &Config)>) -> bool {
    root.is_some_and(|(_, keys)| keys.contains_key("size"))
}

fn root_size(root: &Config) -> Option<Bytes> {
    root.get("size")
        .and_then(|size| incus_size(size))
        // None, in Incus's words.
        .filter(|size| *size > Bytes(0))
}

/// A size as Incus reads it: also without a unit, and in kilobytes.
fn incus_size(text: &str) -> Option<Bytes> {
    let split = text
        .find(|c: char| !c.is_ascii_digit())
        .unwrap_or(text.len());
    let (digits, unit) = text.split_at(split);
    let factor: u64 = match unit.trim() {
        "" | "B" => 1,
        "kB" | "KB" => 1_000,
        "KiB" => 1 << 10,
        "PB" => 1_000_000_000_000_000,
        "PiB" => 1 << 50,
        _ => return text.parse().ok(),
    };
    Some(Bytes(digits.parse::<u64>().ok()?.checked_mul(factor)?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_as_incus_reads_them() {
        for (text, bytes) in [
            ("1048576", Some(1 << 20)),
            ("20MiB", Some(20 << 20)),
            ("40GiB", Some(40 << 30)),
            ("4kB", Some(4000)),
            ("4KiB", Some(4096)),
            ("0", Some(0)),
            ("", None),
            ("much", None),
        ] {
            assert_eq!(incus_size(text), bytes.map(Bytes), "{text}");
        }
    }

    #[test]
    fn each_loss_has_a_word() {
        for kind in Lossy::ALL {
            assert_eq!(kind.to_string().parse(), Ok(kind));
            let written = serde_json::to_string(&kind).unwrap();
            assert_eq!(written, format!("\"{kind}\""));
        }
        assert!("all".parse::<Lossy>().is_err());
    }
}
