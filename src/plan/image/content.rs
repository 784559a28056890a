//! Whether a file is an image: its first bytes, the paths in it, its metadata.

use std::collections::{BTreeMap, HashSet};
use std::fmt;
use std::hash::{DefaultHasher, Hash as _, Hasher as _};

use serde::Deserialize;

use super::canonical;

/// How many bytes [`Compression::of`] wants to see.
pub const MAGIC: usize = 262;

/// How a tarball is compressed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Compression {
    None,
    Gzip,
    Xz,
    Zstd,
    Bzip2,
}

impl Compression {
    /// From the first bytes, whatever the file is called.
    ///
    /// # Errors
    /// If no tarball begins so.
    pub fn of(start: &[u8]) -> Result<Self, NotAnImage> {
        let magics: [(&[u8], Self); 4] = [
            (&[0x1f, 0x8b], Self::Gzip),
            (&[0xfd, b'7', b'z', b'X', b'Z', 0], Self::Xz),
            (&[0x28, 0xb5, 0x2f, 0xfd], Self::Zstd),
            (b"BZh", Self::Bzip2),
        ];
        for (magic, compression) in magics {
            if start.starts_with(magic) {
                return Ok(compression);
            }
        }
        if start.get(257..262) == Some(b"ustar") {
            return Ok(Self::None);
        }
        let shown: String = String::from_utf8_lossy(start)
            .chars()
            .take(40)
            .map(|c| if c.is_control() { ' ' } else { c })
            .collect();
        let shown = shown.trim();
        Err(NotAnImage(if start.is_empty() {
            "it is empty".into()
        } else if shown.starts_with('<') {
            format!("it is a web page, perhaps a login, and begins with {shown:?}")
        } else {
            format!("it is no tarball, and begins with {shown:?}")
        }))
    }
}

/// Why a file is no image for this host.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NotAnImage(pub String);

impl fmt::Display for NotAnImage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for NotAnImage {}

/// What an entry of a tarball is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum EntryKind {
    File,
    Directory,
    Symlink,
    HardLink,
    Other,
}

/// The entries of a tarball, looked at one after the other.
#[derive(Debug, Default)]
pub struct Entries {
    rootfs: bool,
    metadata: bool,
    /// Links that lead out of the tarball, as numbers: a name each would take memory.
    leading_out: HashSet<u64>,
    unpacked: u64,
}

impl Entries {
    /// Looks at an entry; whether it is the metadata, which is to be read then.
    ///
    /// # Errors
    /// If unpacking it would write outside of its folder.
    pub fn see(
        &mut self,
        path: &[u8],
        kind: EntryKind,
        link: Option<&[u8]>,
        size: u64,
    ) -> Result<bool, NotAnImage> {
        let shown = || String::from_utf8_lossy(path).into_owned();
        let parts = inside(path).ok_or_else(|| {
            NotAnImage(format!(
                "it has a path that climbs out of it: {:?}",
                shown()
            ))
        })?;
        for length in 1..parts.len() {
            if self.leading_out.contains(&number(&parts[..length])) {
                return Err(NotAnImage(format!(
                    "it has a path that climbs out of it through a link: {:?}",
                    shown()
                )));
            }
        }
        match (kind, link) {
            (EntryKind::HardLink, Some(link)) if inside(link).is_none() => {
                return Err(NotAnImage(format!(
                    "it has a hard link that climbs out of it: {:?}",
                    shown()
                )));
            }
            (EntryKind::Symlink, Some(link)) if leads_out(parts.len(), link) => {
                self.leading_out.insert(number(&parts));
            }
            _ => {}
        }
        self.rootfs |= parts.first() == Some(&&b"rootfs"[..]);
        // In blocks, and something for the inode.
        self.unpacked += size.div_ceil(4096) * 4096 + 512;
        let metadata = kind == EntryKind::File && parts == [b"metadata.yaml"];
        self.metadata |= metadata;
        Ok(metadata)
    }

    /// What it takes unpacked.
    ///
    /// # Errors
    /// If something is missing that each image has.
    pub fn end(self) -> Result<u64, NotAnImage> {
        let missing = match (self.metadata, self.rootfs) {
            (true, true) => return Ok(self.unpacked),
            (false, true) => "metadata.yaml",
            (true, false) => "rootfs",
            (false, false) => "metadata.yaml nor rootfs",
        };
        let no = if missing.contains("nor") {
            "neither"
        } else {
            "no"
        };
        Err(NotAnImage(format!(
            "it is a tarball, but not an Incus container image: it has {no} {missing}"
        )))
    }
}

/// The parts of a path, unless it leads out of the folder it is in.
fn inside(path: &[u8]) -> Option<Vec<&[u8]>> {
    if path.starts_with(b"/") {
        return None;
    }
    let parts: Vec<&[u8]> = path
        .split(|byte| *byte == b'/')
        .filter(|part| !part.is_empty() && *part != b".")
        .collect();
    (!parts.contains(&&b".."[..])).then_some(parts)
}

/// Whether a symbolic link this deep in the tarball leads out of it, if followed while unpacking.
fn leads_out(depth: usize, link: &[u8]) -> bool {
    if link.starts_with(b"/") {
        return true;
    }
    let mut depth = depth.saturating_sub(1);
    for part in link.split(|byte| *byte == b'/') {
        match part {
            b"" | b"." => {}
            b".." => match depth.checked_sub(1) {
                Some(up) => depth = up,
                None => return true,
            },
            _ => depth += 1,
        }
    }
    false
}

fn number(parts: &[&[u8]]) -> u64 {
    let mut hasher = DefaultHasher::new();
    parts.hash(&mut hasher);
    hasher.finish()
}

/// What `metadata.yaml` says, as far as it matters here.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Metadata {
    pub architecture: String,
}

impl Metadata {
    /// Reads it, for a host of an architecture.
    ///
    /// # Errors
    /// If it cannot be read, is for another architecture, or would end the daemon.
    pub fn read(text: &[u8], host: &str) -> Result<Self, NotAnImage> {
        #[derive(Deserialize)]
        struct Document {
            architecture: String,
            properties: Option<BTreeMap<String, serde_yaml::Value>>,
        }
        let metadata: Document = serde_yaml::from_slice(text)
            .map_err(|error| NotAnImage(format!("its metadata.yaml cannot be read: {error}")))?;
        if canonical(&metadata.architecture) != canonical(host) {
            return Err(NotAnImage(format!(
                "it is for {}, and this host is {host}",
                metadata.architecture
            )));
        }
        // The daemon puts our mark among them, and panics where there is no place for it (6.0.4).
        if metadata.properties.is_none() {
            return Err(NotAnImage(
                "its metadata.yaml has no properties, and Incus would crash over that".into(),
            ));
        }
        Ok(Self {
            architecture: metadata.architecture,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn see(entries: &mut Entries, path: &str, kind: EntryKind, link: &str) -> Result<bool, String> {
        let link = (!link.is_empty()).then_some(link.as_bytes());
        entries
            .see(path.as_bytes(), kind, link, 10)
            .map_err(|error| error.to_string())
    }

    #[test]
    fn an_image_has_metadata_and_a_root() {
        let mut entries = Entries::default();
        assert_eq!(
            see(&mut entries, "./metadata.yaml", EntryKind::File, ""),
            Ok(true)
        );
        assert!(Entries::default().end().is_err());
        assert_eq!(
            see(&mut entries, "rootfs/", EntryKind::Directory, ""),
            Ok(false)
        );
        assert_eq!(
            see(&mut entries, "rootfs/metadata.yaml", EntryKind::File, ""),
            Ok(false)
        );
        assert_eq!(entries.end().unwrap(), 3 * (4096 + 512));
        let mut no_root = Entries::default();
        see(&mut no_root, "metadata.yaml", EntryKind::File, "").unwrap();
        assert!(no_root.end().unwrap_err().to_string().contains("no rootfs"));
    }

    #[test]
    fn nothing_climbs_out() {
        use EntryKind::{Directory, File, HardLink, Symlink};
        for (path, kind, link) in [
            ("/etc/passwd", File, ""),
            ("../x", File, ""),
            ("rootfs/../../x", File, ""),
            ("rootfs/..", Directory, ""),
            ("rootfs/x", HardLink, "/etc/shadow"),
            ("rootfs/x", HardLink, "../../etc/shadow"),
        ] {
            let seen = see(&mut Entries::default(), path, kind, link);
            assert!(seen.is_err(), "{path} {link}");
        }
        // As ordinary images have them.
        let mut entries = Entries::default();
        for (path, kind, link) in [
            ("rootfs/var/run", Symlink, "/run"),
            ("rootfs/lib", Symlink, "usr/lib"),
            ("rootfs/etc/mtab", Symlink, "../proc/self/mounts"),
            ("rootfs/usr/x", HardLink, "rootfs/usr/y"),
            ("rootfs/a..b/...", File, ""),
            ("rootfs/lib/x", File, ""),
        ] {
            assert!(see(&mut entries, path, kind, link).is_ok(), "{path} {link}");
        }
        // Not through a link either.
        assert!(see(&mut entries, "rootfs/var/run/x", File, "").is_err());
        see(&mut entries, "rootfs/up", Symlink, "../../etc").unwrap();
        assert!(see(&mut entries, "rootfs/up/x/y", File, "").is_err());
    }

    #[test]
    fn compression_is_seen_in_the_bytes() {
        let mut tar = vec![0; MAGIC];
        tar[257..262].copy_from_slice(b"ustar");
        assert_eq!(Compression::of(&tar), Ok(Compression::None));
        assert_eq!(Compression::of(&[0x1f, 0x8b, 8]), Ok(Compression::Gzip));
        assert_eq!(Compression::of(b"BZh9"), Ok(Compression::Bzip2));
        let page = Compression::of(b"<!DOCTYPE html><title>Login").unwrap_err();
        assert!(page.to_string().contains("web page"), "{page}");
        for garbage in [&b""[..], b"PK\x03\x04", b"{\"error\":1}", &[0; 512]] {
            assert!(Compression::of(garbage).is_err(), "{garbage:?}");
        }
    }

    #[test]
    fn the_architecture_must_be_the_hosts() {
        let yaml = b"architecture: arm64\ncreation_date: 1\nproperties: {os: debian}\n";
        assert!(Metadata::read(yaml, "aarch64").is_ok());
        let error = Metadata::read(yaml, "x86_64").unwrap_err().to_string();
        assert!(
            error.contains("arm64") && error.contains("x86_64"),
            "{error}"
        );
        assert!(Metadata::read(b"creation_date: 1\n", "x86_64").is_err());
        let read = |text: &str| Metadata::read(text.as_bytes(), "x86_64");
        assert!(read("architecture: x86_64\nproperties: {}\n").is_ok());
        for none in ["", "properties:\n", "properties: null\n"] {
            let error = read(&format!("architecture: x86_64\n{none}")).unwrap_err();
            assert!(error.to_string().contains("no properties"), "{error}");
        }
        assert!(Metadata::read(b"{{{", "x86_64").is_err());
    }
}
