//! What to do with the images that Incus has.

use std::collections::BTreeSet;
use std::fmt;

use super::{Digest, ALIAS};

/// An image in Incus's store, in one project.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Stored {
    pub project: String,
    pub fingerprint: String,
    pub aliases: Vec<String>,
    /// Whether this program imported it, or took the alias from it.
    pub marked: bool,
}

impl Stored {
    #[must_use]
    pub fn is_base(&self) -> bool {
        self.aliases.iter().any(|alias| alias == ALIAS)
    }
}

/// A project in which the application looks for the image.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Target {
    pub project: String,
    /// The pool that its launches use.
    pub pool: Option<String>,
}

/// Where an image is unpacked: on a pool, and in a cluster on one member's part of it.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Spot {
    pub pool: String,
    /// Empty outside of a cluster.
    pub member: String,
}

impl fmt::Display for Spot {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "pool {}", self.pool)?;
        if self.member.is_empty() {
            return Ok(());
        }
        write!(f, " of member {}", self.member)
    }
}

/// What has to happen to the alias in a project.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Alias {
    /// It is on the image already.
    Right,
    Create,
    /// It goes from this image to the new one in one step.
    Move {
        from: String,
    },
}

impl Alias {
    #[must_use]
    pub fn of(images: &[Stored], project: &str, new: &Digest) -> Self {
        let base = images
            .iter()
            .find(|image| image.project == project && image.is_base());
        match base {
            None => Self::Create,
            Some(image) if image.fingerprint == new.as_str() => Self::Right,
            Some(image) => Self::Move {
                from: image.fingerprint.clone(),
            },
        }
    }
}

/// The images in a project that were replaced, or were left by a run that was killed, and that
/// nothing needs.  `in_use` are the images that instances were made from.
pub fn old_images<'a>(
    images: &'a [Stored],
    project: &'a str,
    new: &'a Digest,
    in_use: &'a BTreeSet<String>,
) -> impl Iterator<Item = &'a Stored> + 'a {
    images.iter().filter(move |image| {
        image.project == project
            && image.marked
            && image.aliases.is_empty()
            && image.fingerprint != new.as_str()
            && !in_use.contains(&image.fingerprint)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn digest(letter: char) -> Digest {
        letter.to_string().repeat(64).parse().unwrap()
    }

    fn stored(project: &str, letter: char, aliases: &[&str], marked: bool) -> Stored {
        Stored {
            project: project.into(),
            fingerprint: digest(letter).to_string(),
            aliases: aliases.iter().map(ToString::to_string).collect(),
            marked,
        }
    }

    #[test]
    fn the_alias_moves_in_one_step() {
        let images = [
            stored("default", 'a', &[ALIAS], false),
            stored("p", 'b', &["taos-openclaw-base-old"], false),
        ];
        assert_eq!(Alias::of(&images, "default", &digest('a')), Alias::Right);
        let from = digest('a').to_string();
        assert_eq!(
            Alias::of(&images, "default", &digest('b')),
            Alias::Move { from }
        );
        assert_eq!(Alias::of(&images, "p", &digest('b')), Alias::Create);
    }

    #[test]
    fn only_what_nobody_needs_goes() {
        let images = [
            stored("default", 'a', &[], true),
            stored("default", 'b', &[], true),
            stored("default", 'c', &["mine"], true),
            stored("default", 'd', &[], false),
            stored("default", 'e', &[ALIAS], true),
            stored("p", 'f', &[], true),
        ];
        let in_use = BTreeSet::from([digest('b').to_string()]);
        let new = digest('e');
        let gone: Vec<_> = old_images(&images, "default", &new, &in_use).collect();
        assert_eq!(gone, [&images[0]]);
    }
}
