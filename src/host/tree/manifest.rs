//! All that a tree is, written down, to compare another one with when the first is gone.

use std::collections::{BTreeMap, HashMap};
use std::fs;
use std::io::{self, Read as _};
use std::os::unix::ffi::{OsStrExt as _, OsStringExt as _};
use std::path::{Path, PathBuf};

use rustix::fs::{AtFlags, FileType, IFlags, Timespec, Timestamps, CWD};
use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};

use super::mend::{link, set_flags};
use super::{flags, names, open, quoted, status, xattrs, Difference, What};

/// A tree as it was, in the order of its paths.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Manifest {
    entries: Vec<Entry>,
}

/// A path as it was.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
struct Entry {
    #[serde(rename = "p")]
    path: Raw,
    /// Kind and mode.
    #[serde(rename = "m")]
    mode: u16,
    #[serde(rename = "o")]
    owner: (u32, u32),
    #[serde(rename = "t")]
    time: (i64, u32),
    #[serde(rename = "s")]
    size: u64,
    #[serde(rename = "d", default, skip_serializing_if = "Option::is_none")]
    device: Option<(u32, u32)>,
    /// The checksum of a file's bytes, or where a link leads.
    #[serde(rename = "c", default, skip_serializing_if = "Option::is_none")]
    content: Option<Raw>,
    #[serde(rename = "x", default, skip_serializing_if = "Vec::is_empty")]
    xattrs: Vec<(Raw, Raw)>,
    #[serde(rename = "f", default, skip_serializing_if = "Option::is_none")]
    flags: Option<u32>,
    /// The first path of the same file.
    #[serde(rename = "l", default, skip_serializing_if = "Option::is_none")]
    linked: Option<Raw>,
}

/// Bytes as text of as many characters, as JSON has no bytes.
#[derive(Debug, Clone, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(from = "String", into = "String")]
struct Raw(Vec<u8>);

impl From<String> for Raw {
    fn from(text: String) -> Self {
        let byte = |character| u8::try_from(u32::from(character)).unwrap_or(b'?');
        Self(text.chars().map(byte).collect())
    }
}

impl From<Raw> for String {
    fn from(raw: Raw) -> Self {
        raw.0.into_iter().map(char::from).collect()
    }
}

impl Raw {
    fn of(path: &Path) -> Self {
        Self(path.as_os_str().as_bytes().to_vec())
    }

    fn path(&self) -> PathBuf {
        PathBuf::from(std::ffi::OsString::from_vec(self.0.clone()))
    }
}

impl Manifest {
    /// Writes down a tree that nobody writes to.  `skip` names what lies at its top and is left out.
    ///
    /// # Errors
    /// If anything cannot be read.
    pub fn of(tree: &Path, skip: &[&str]) -> io::Result<Self> {
        let mut manifest = Self::default();
        let mut firsts: HashMap<u64, Raw> = HashMap::new();
        let mut folders = vec![PathBuf::new()];
        while let Some(folder) = folders.pop() {
            let mut names = names(&tree.join(&folder))?;
            names.sort();
            for name in names {
                let top = folder.as_os_str().is_empty();
                if top && skip.iter().any(|skipped| name == *skipped) {
                    continue;
                }
                let path = folder.join(name);
                let is = status(&tree.join(&path))?;
                let kind = FileType::from_raw_mode(is.stx_mode.into());
                let mut entry = Entry::of(&tree.join(&path), &path)?;
                if kind == FileType::Directory {
                    folders.push(path);
                } else if is.stx_nlink > 1 {
                    match firsts.get(&is.stx_ino) {
                        Some(first) => entry.linked = Some(first.clone()),
                        None => drop(firsts.insert(is.stx_ino, entry.path.clone())),
                    }
                }
                manifest.entries.push(entry);
            }
        }
        Ok(manifest)
    }

    #[must_use]
    pub fn paths(&self) -> usize {
        self.entries.len()
    }

    /// In what a tree differs from what was written down.
    ///
    /// # Errors
    /// If anything cannot be read.
    pub fn differences(&self, tree: &Path, skip: &[&str]) -> io::Result<Vec<Difference>> {
        let now = Self::of(tree, skip)?;
        let mut there: HashMap<&Raw, &Entry> = now
            .entries
            .iter()
            .map(|entry| (&entry.path, entry))
            .collect();
        let mut differences = Vec::new();
        for entry in &self.entries {
            let mut differs = |what| {
                let path = entry.path.path();
                differences.push(Difference { path, what });
            };
            let Some(is) = there.remove(&entry.path) else {
                differs(What::Missing);
                continue;
            };
            entry.compare(is, &mut differs);
            // Which name comes first is the same in both, as both are sorted.
            match (&entry.linked, &is.linked) {
                (Some(first), found) if found.as_ref() != Some(first) => {
                    differs(What::Linked(first.path()));
                }
                (None, Some(_)) => differs(What::Entangled),
                _ => {}
            }
        }
        let extra = there.into_keys().map(|path| Difference {
            path: path.path(),
            what: What::Extra,
        });
        differences.extend(extra);
        Ok(differences)
    }

    /// Makes a tree again what was written down, as far as that can be done without the first one.
    ///
    /// # Errors
    /// If something cannot be read or written.
    pub fn mend(&self, tree: &Path, differences: &[Difference]) -> io::Result<()> {
        let entries: BTreeMap<PathBuf, &Entry> = self
            .entries
            .iter()
            .map(|entry| (entry.path.path(), entry))
            .collect();
        let mut touched = std::collections::BTreeSet::new();
        let broken: Vec<&PathBuf> = differences
            .iter()
            .filter(|it| matches!(it.what, What::Content | What::Missing | What::Kind))
            .map(|it| &it.path)
            .collect();
        for Difference { path, what } in differences {
            match what {
                // Only what has the right bytes is made a name of the other.
                What::Linked(first) if !broken.contains(&path) && !broken.contains(&first) => {
                    link(&tree.join(first), &tree.join(path)).map_err(|it| mending(path, it))?;
                    touched.insert(first.clone());
                }
                What::Owner | What::Mode | What::Time | What::Attributes => {}
                _ => continue,
            }
            touched.insert(path.clone());
            if let Some(folder) = path.parent().filter(|it| !it.as_os_str().is_empty()) {
                touched.insert(folder.to_owned());
            }
        }
        for path in touched.iter().rev() {
            if let Some(entry) = entries.get(path) {
                entry
                    .put(&tree.join(path))
                    .map_err(|it| mending(path, it))?;
            }
        }
        for Difference { path, what } in differences.iter().rev() {
            if let (What::Flags, Some(entry)) = (what, entries.get(path)) {
                set_flags(
                    &tree.join(path),
                    IFlags::from_bits_retain(entry.flags.unwrap_or_default()),
                )
                .map_err(|it| mending(path, it))?;
            }
        }
        Ok(())
    }
}

fn mending(path: &Path, error: io::Error) -> io::Error {
    io::Error::new(error.kind(), format!("mending {}: {error}", quoted(path)))
}

impl Entry {
    fn of(full: &Path, path: &Path) -> io::Result<Self> {
        let is = status(full)?;
        let kind = FileType::from_raw_mode(is.stx_mode.into());
        let plain = matches!(kind, FileType::RegularFile | FileType::Directory);
        Ok(Self {
            path: Raw::of(path),
            mode: is.stx_mode,
            owner: (is.stx_uid, is.stx_gid),
            time: (is.stx_mtime.tv_sec, is.stx_mtime.tv_nsec),
            size: if kind == FileType::RegularFile {
                is.stx_size
            } else {
                0
            },
            device: Some((is.stx_rdev_major, is.stx_rdev_minor)).filter(|it| *it != (0, 0)),
            content: match kind {
                FileType::RegularFile => Some(checksum(full)?),
                FileType::Symlink => Some(Raw::of(&fs::read_link(full)?)),
                _ => None,
            },
            xattrs: xattrs::of(full)?
                .into_iter()
                .map(|(name, value)| (Raw(name), Raw(value)))
                .collect(),
            flags: if plain {
                Some(flags(full)?.bits()).filter(|it| *it != 0)
            } else {
                None
            },
            linked: None,
        })
    }

    fn compare(&self, is: &Self, differs: &mut dyn FnMut(What)) {
        let kind = |mode: u16| FileType::from_raw_mode(mode.into());
        if kind(self.mode) != kind(is.mode) || self.device != is.device {
            return differs(What::Kind);
        }
        let symlink = kind(self.mode) == FileType::Symlink;
        for (same, what) in [
            (self.owner == is.owner, What::Owner),
            (symlink || self.mode == is.mode, What::Mode),
            (self.time == is.time, What::Time),
            (self.xattrs == is.xattrs, What::Attributes),
            (self.flags == is.flags, What::Flags),
            (
                self.size == is.size && self.content == is.content,
                if symlink { What::Target } else { What::Content },
            ),
        ] {
            if !same {
                differs(what);
            }
        }
    }

    /// Gives a path its owner, attributes, mode and times; in an order in which none undoes another.
    fn put(&self, full: &Path) -> io::Result<()> {
        let symlink = FileType::from_raw_mode(self.mode.into()) == FileType::Symlink;
        std::os::unix::fs::lchown(full, Some(self.owner.0), Some(self.owner.1))?;
        let wanted = self.xattrs.iter();
        let wanted = wanted.map(|(name, value)| (name.0.clone(), value.0.clone()));
        xattrs::put_all(&wanted.collect(), full)?;
        if !symlink {
            use std::os::unix::fs::PermissionsExt as _;
            let mode = fs::Permissions::from_mode(u32::from(self.mode) & 0o7777);
            fs::set_permissions(full, mode)?;
        }
        let time = Timespec {
            tv_sec: self.time.0,
            tv_nsec: self.time.1.into(),
        };
        let times = Timestamps {
            last_access: time,
            last_modification: time,
        };
        rustix::fs::utimensat(CWD, full, &times, AtFlags::SYMLINK_NOFOLLOW)?;
        Ok(())
    }
}

fn checksum(path: &Path) -> io::Result<Raw> {
    let mut file = open(path)?;
    let mut digest = Sha256::new();
    let mut buffer = vec![0; 1 << 17];
    loop {
        match file.read(&mut buffer)? {
            0 => return Ok(Raw(digest.finalize().to_vec())),
            read => digest.update(&buffer[..read]),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_tree_is_made_again_what_was_written_down() {
        let (one, other) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        let (one, other) = (one.path(), other.path());
        for tree in [one, other] {
            fs::create_dir(tree.join("z")).unwrap();
            fs::write(tree.join("a"), "same").unwrap();
            fs::write(tree.join("lost"), tree.as_os_str().as_bytes()).unwrap();
            let odd = std::ffi::OsString::from_vec(b"bad\xff\n".to_vec());
            fs::write(tree.join(odd), "odd").unwrap();
            std::os::unix::fs::symlink("a", tree.join("link")).unwrap();
        }
        fs::hard_link(one.join("a"), one.join("z/b")).unwrap();
        fs::write(other.join("z/b"), "same").unwrap();
        fs::write(other.join("more"), "").unwrap();
        let written = serde_json::to_string(&Manifest::of(one, &[]).unwrap()).unwrap();
        let manifest: Manifest = serde_json::from_str(&written).unwrap();
        assert!(manifest.differences(one, &[]).unwrap().is_empty());
        let found = manifest.differences(other, &[]).unwrap();
        manifest.mend(other, &found).unwrap();
        let left = manifest.differences(other, &[]).unwrap();
        let mut left: Vec<String> = left.iter().map(ToString::to_string).collect();
        left.sort();
        assert_eq!(left, ["lost has other content", "more is only in the copy"]);
    }
}
