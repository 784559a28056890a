//! Two trees of files: compared path by path, and the second one mended until it is as the first.
//!
//! Names are raw bytes.  Of every path its type, size, mode, owner, times, links, target, extended
//! attributes (with ACLs and capabilities) and flags count; of files, where it is asked for, every
//! byte.  Nothing here follows a link, opens what is no regular file, or writes to the first tree.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::fs::{self, File};
use std::io::{self, Read as _};
use std::ops::Range;
use std::os::unix::ffi::OsStrExt as _;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};

use rustix::fs::{AtFlags, IFlags, Mode, OFlags, Statx, StatxAttributes, StatxFlags, CWD};

use super::Meter;

mod beyond;
mod compare;
mod landing;
pub mod manifest;
mod mend;
mod xattrs;

pub use beyond::{beyond, Newer};
pub use landing::{folders, Landing};
pub use mend::{can_be_mended, clear_flags, mend};

/// Of which files every byte is read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Contents {
    All,
    /// Of those whose inode changed at this second or later: the others were read before.
    Since(i64),
}

/// In what a path differs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum What {
    Missing,
    Extra,
    Kind,
    Content,
    Owner,
    Mode,
    Time,
    Target,
    Attributes,
    Flags,
    /// It is to be the same file as this path.
    Linked(PathBuf),
    /// It is the same file as another, and is not to be.
    Entangled,
}

/// A path, below both trees, that differs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Difference {
    pub path: PathBuf,
    pub what: What,
}

impl std::fmt::Display for Difference {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let what = match &self.what {
            What::Missing => "is missing in the copy".to_owned(),
            What::Extra => "is only in the copy".to_owned(),
            What::Kind => "is of another kind".to_owned(),
            What::Content => "has other content".to_owned(),
            What::Owner => "has another owner".to_owned(),
            What::Mode => "has another mode".to_owned(),
            What::Time => "has another time".to_owned(),
            What::Target => "leads elsewhere".to_owned(),
            What::Attributes => "has other extended attributes".to_owned(),
            What::Flags => "has other flags".to_owned(),
            What::Linked(first) => format!("is no hard link of {}", quoted(first)),
            What::Entangled => "is a hard link of something else".to_owned(),
        };
        write!(f, "{} {what}", quoted(&self.path))
    }
}

/// How many differences there are of each kind, in one line.
#[must_use]
pub fn summary(differences: &[Difference]) -> String {
    let mut counts: BTreeMap<&str, usize> = BTreeMap::new();
    for difference in differences {
        let kind = match difference.what {
            What::Missing => "missing paths",
            What::Extra => "paths too many",
            What::Kind => "kinds",
            What::Content => "contents",
            What::Owner => "owners",
            What::Mode => "modes",
            What::Time => "times",
            What::Target => "targets",
            What::Attributes => "extended attributes",
            What::Flags => "flags",
            What::Linked(_) | What::Entangled => "hard links",
        };
        *counts.entry(kind).or_default() += 1;
    }
    let parts: Vec<String> = counts
        .iter()
        .map(|(kind, count)| format!("{count} {kind}"))
        .collect();
    parts.join(", ")
}

/// What a comparison went through, and what it found.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Comparison {
    pub paths: u64,
    /// Files of which every byte was read, and how many bytes.
    pub read: u64,
    pub bytes: u64,
    pub differences: Vec<Difference>,
}

/// The flags that forbid a change, or a dump, and are a file's own.
const KEPT_FLAGS: IFlags = IFlags::IMMUTABLE
    .union(IFlags::APPEND)
    .union(IFlags::NODUMP);
/// The same, as a path's status tells them.
const KEPT_ATTRIBUTES: StatxAttributes = StatxAttributes::IMMUTABLE
    .union(StatxAttributes::APPEND)
    .union(StatxAttributes::NODUMP);

/// Compares two trees.  `skip` names what lies at their top and is not compared.
///
/// # Errors
/// If anything cannot be read.
pub fn compare(
    source: &Path,
    copy: &Path,
    contents: Contents,
    skip: &[&str],
) -> io::Result<Comparison> {
    compare_seen(source, copy, contents, skip, &Meter::default())
}

/// As [`compare`], with somebody who wants to see how far it is.
///
/// # Errors
/// As [`compare`].
pub fn compare_seen(
    source: &Path,
    copy: &Path,
    contents: Contents,
    skip: &[&str],
    seen: &Meter,
) -> io::Result<Comparison> {
    compare::Comparer::new(source, copy, contents, skip, seen).run()
}

/// Files that hold other bytes in the copy, of those whose inode last changed within these seconds:
/// a tree that is in use.  What comes and goes meanwhile is passed over.
///
/// # Errors
/// If the tree itself cannot be read.
pub fn stale(
    source: &Path,
    copy: &Path,
    changed: Range<i64>,
    skip: &[&str],
    seen: &Meter,
) -> io::Result<Comparison> {
    let mut found = Comparison::default();
    let mut folders = vec![PathBuf::new()];
    let mut buffers = Buffers::default();
    while let Some(folder) = folders.pop() {
        let names = match names(&source.join(&folder)) {
            Err(error) if folder.as_os_str().is_empty() => return Err(error),
            Err(_) => continue,
            Ok(names) => names,
        };
        let top = folder.as_os_str().is_empty();
        for name in names {
            if top && skip.iter().any(|skipped| name == *skipped) {
                continue;
            }
            let path = folder.join(name);
            let Ok(data) = fs::symlink_metadata(source.join(&path)) else {
                continue;
            };
            found.paths += 1;
            seen.add(1, 0);
            if data.is_dir() {
                folders.push(path);
            } else if data.is_file() && changed.contains(&data.ctime()) {
                let Ok(copied) = fs::symlink_metadata(copy.join(&path)) else {
                    continue;
                };
                let same = copied.is_file()
                    && copied.len() == data.len()
                    && same_bytes(&source.join(&path), &copy.join(&path), &mut buffers)
                        .unwrap_or(true);
                found.read += 1;
                found.bytes += data.len();
                seen.add(0, data.len());
                if !same {
                    let what = What::Content;
                    found.differences.push(Difference { path, what });
                }
            }
        }
    }
    Ok(found)
}

struct Buffers(Vec<u8>, Vec<u8>);

impl Default for Buffers {
    fn default() -> Self {
        Self(vec![0; 1 << 17], vec![0; 1 << 17])
    }
}

fn same_bytes(one: &Path, other: &Path, buffers: &mut Buffers) -> io::Result<bool> {
    let (mut one, mut other) = (open(one)?, open(other)?);
    loop {
        let read = one.read(&mut buffers.0)?;
        if read == 0 {
            return Ok(other.read(&mut buffers.1)? == 0);
        }
        match other.read_exact(&mut buffers.1[..read]) {
            Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => return Ok(false),
            result => result?,
        }
        if buffers.0[..read] != buffers.1[..read] {
            return Ok(false);
        }
    }
}

fn names(folder: &Path) -> io::Result<Vec<OsString>> {
    fs::read_dir(folder)?
        .map(|entry| Ok(entry?.file_name()))
        .collect()
}

/// Opens a regular file or a folder to read; a fifo that took its place would not block.
fn open(path: &Path) -> io::Result<File> {
    let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC;
    Ok(File::from(rustix::fs::open(path, flags, Mode::empty())?))
}

/// A path for a line of text, whatever bytes are in it.
fn quoted(path: &Path) -> String {
    path.as_os_str().as_bytes().escape_ascii().to_string()
}

/// All that is to be known of a path itself, in one question.
fn status(path: &Path) -> io::Result<Statx> {
    let flags = AtFlags::SYMLINK_NOFOLLOW;
    let status = rustix::fs::statx(CWD, path, flags, StatxFlags::BASIC_STATS)?;
    Ok(status)
}

/// A file's own flags; none where the file system has no flags.
fn flags(path: &Path) -> io::Result<IFlags> {
    use rustix::io::Errno;
    match rustix::fs::ioctl_getflags(open(path)?) {
        Ok(flags) => Ok(flags & KEPT_FLAGS),
        Err(Errno::NOTTY | Errno::OPNOTSUPP) => Ok(IFlags::empty()),
        Err(error) => Err(error.into()),
    }
}

#[cfg(test)]
mod tests;
