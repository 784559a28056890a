//! Decisions about the base image: where it comes from, what proves it, what a server's answer
//! means, whether a file is an image, and what to do with the images that Incus has.
//!
//! As everywhere in [`crate::plan`] nothing is read or changed here.

pub use crate::facts::{image_projects as projects, Mode, ALIAS};

mod answer;
mod arrange;
mod content;
mod proof;
mod proxy;
mod room;
mod store;
mod trigger;
mod url;
mod window;

pub use answer::{Answer, ContentRange, Head, Kept, Retries, Validator};
pub use content::{Compression, Entries, EntryKind, Metadata, NotAnImage, MAGIC};
pub use proof::{digest_in_release, digest_of, signed, BadDigest, Digest, Proof};
pub use proxy::Proxies;
pub use room::{Need, Room, RESERVE};
pub use store::{old_images, Alias, Spot, Stored, Target};
pub use trigger::{is_scratch, newcomers};
pub use url::{BadUrl, Url};
pub use window::{zstd_window, FRAME};

/// Where the image is published: a release whose assets are replaced in place.
const PUBLISHED: &str =
    "https://github.com/jaylfc/tinyagentos-images/releases/download/rolling-images";

/// The published image of an architecture, in the kernel's words.
#[must_use]
pub fn published(architecture: &str) -> Option<Url> {
    let asset = match canonical(architecture) {
        "x86_64" => "x64",
        "aarch64" => "arm64",
        _ => return None,
    };
    format!("{PUBLISHED}/{ALIAS}-linux-{asset}.tar.gz")
        .parse()
        .ok()
}

/// One word for each architecture, of the several that are in use.
#[must_use]
pub fn canonical(architecture: &str) -> &str {
    match architecture {
        "amd64" | "x64" => "x86_64",
        "arm64" => "aarch64",
        "i386" | "i586" | "x86" => "i686",
        "armhf" | "armv7" | "armv8l" => "armv7l",
        other => other,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_published_asset_fits_the_architecture() {
        for (architecture, end) in [
            (
                "x86_64",
                "rolling-images/taos-openclaw-base-linux-x64.tar.gz",
            ),
            (
                "aarch64",
                "rolling-images/taos-openclaw-base-linux-arm64.tar.gz",
            ),
        ] {
            let url = published(architecture).unwrap().to_string();
            assert!(url.starts_with("https://") && url.ends_with(end), "{url}");
        }
        assert_eq!(published("riscv64"), None);
    }
}
