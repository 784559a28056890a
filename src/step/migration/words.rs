//! The parts of a migration in words.

use super::{Migration, Part};

impl Part {
    /// In one line.
    #[must_use]
    pub fn describe(self, of: &Migration) -> String {
        let Migration { name, from, to, .. } = of;
        match self {
            Self::Copy => format!(
                "copy {name} to pool {to} while it stays as it is ({}, {} paths, {} snapshots)",
                of.landing,
                of.paths,
                of.snapshots.len()
            ),
            Self::DeleteCopy => format!("delete the copy of {name} on pool {to}"),
            Self::Stop => format!("stop {name}"),
            Self::Resume => format!("start {name} again on pool {from}"),
            Self::Prove => format!("copy what {name} changed, and compare all of it"),
            Self::Switch if of.then.is_some() => format!(
                "keep what {name} is now as {}, and let it be its original on pool {to} as that was",
                of.kept
            ),
            Self::Switch => format!(
                "keep the original as {}, and let {name} be the copy on pool {to}",
                of.kept
            ),
            Self::SwitchBack => format!("let {name} be the original on pool {from} again"),
            Self::Start => format!("start {name} on pool {to}"),
            Self::Halt => format!("stop {name} on pool {to}"),
            Self::Loosen => format!("let containers of project {} get an identity", name.project),
            Self::Tighten => format!("forbid that again in project {}", name.project),
            Self::DeleteKept => {
                format!("delete {}, the original of {name} on pool {from}", of.kept)
            }
            Self::Record => format!("write down all that {name} is, with every byte's checksum"),
            Self::Forget => format!("forget what was written down of {name}"),
            Self::Move => format!("move {name} to pool {to}, as Incus does"),
            Self::Unmove => format!("delete what the move of {name} left on pool {to}"),
            Self::Check => {
                format!("compare {name} with what was written down, and give it its identity again")
            }
            Self::DeleteStray => format!(
                "delete {}, all of which {name} on pool {from} has, too",
                of.copy
            ),
            Self::Leave => format!("leave {} and {name} as they are", of.copy),
            Self::Adopt if of.kept.is_empty() => {
                format!("let {} on pool {to} be {name} again", of.copy)
            }
            Self::Adopt => format!(
                "let {} on pool {to} be {name}, and keep what remains of the original as {}",
                of.copy, of.kept
            ),
        }
    }

    /// Why it is in the plan.
    #[must_use]
    pub fn reason(self) -> &'static str {
        match self {
            Self::Copy => {
                "It goes on running. The copy has no network card, no other device, and does not \
                 start by itself. Where the base image is there, it begins as a clone of that."
            }
            Self::Stop => "What is written must come to an end for a copy to be whole.",
            Self::Prove => {
                "Every path's kind, size, mode, owner, time, links, target, attributes and flags \
                 are compared, and the bytes of every file: before the stop of those that did not \
                 change since, after it of the others. What differs is mended or copied again, until \
                 nothing does."
            }
            Self::Switch => {
                "The copy gets the name, the whole configuration and the identity. The original \
                 stays, stopped, until you say that it may go."
            }
            Self::Start | Self::Resume => "It ran before.",
            Self::Loosen | Self::Tighten => {
                "The project is restricted or has limits, and that forbids even root to give a container the \
                 identity it had. It is allowed for this moment only."
            }
            Self::DeleteCopy | Self::SwitchBack | Self::Halt => "A migration is taken back.",
            Self::Record => {
                "Incus deletes the original before anyone looked at the copy. This is what the \
                 copy is compared with then."
            }
            Self::Move => {
                "You asked for Incus's own move. It keeps no original: there is no way back."
            }
            Self::Check => {
                "Hard links and flags, which a move loses, are made again, and so is the identity. \
                 What cannot be made again is said by name."
            }
            Self::Forget | Self::Unmove | Self::Leave => "A migration is taken back.",
            Self::DeleteStray => {
                "A move was cut short while it copied. Every path in this is compared once more \
                 before, and nothing is deleted that the original does not have."
            }
            Self::Adopt => {
                "A move was cut short while it deleted the original, so this is the whole one."
            }
            Self::DeleteKept => {
                "You said that it may go. With it go its backups. This cannot be taken back."
            }
        }
    }

    /// Whether a wish to stop is heard before this: not while the container is down.
    #[must_use]
    pub fn can_wait(self) -> bool {
        matches!(
            self,
            Self::Copy | Self::Loosen | Self::Stop | Self::DeleteKept | Self::DeleteStray
        )
    }
}
