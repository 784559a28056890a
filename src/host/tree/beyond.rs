//! What one tree has that another has not.

use std::fs::{self, Metadata};
use std::io;
use std::os::unix::ffi::OsStrExt as _;
use std::os::unix::fs::{FileTypeExt as _, MetadataExt as _};
use std::path::{Path, PathBuf};

use super::{names, open, quoted, same_bytes, Buffers};

/// What to make of a file that the other tree has with another content.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Newer {
    /// It counts, whichever is newer.
    Counts,
    /// It does not count if the other tree's was written later.
    Passes,
    /// Size and time tell, and no byte is read.
    ByTime,
    /// It does not count: only what is missing does.
    Missing,
}

/// Calls `each` with every path of `one`, in words and with its bytes, that `other` does not have
/// as it is.  `skip` names what lies at the top and is not looked at.
///
/// # Errors
/// If anything of `one` cannot be read; what vanishes meanwhile is passed over.
pub fn beyond(
    one: &Path,
    other: &Path,
    newer: Newer,
    skip: &[&str],
    each: &mut dyn FnMut(String, u64),
) -> io::Result<()> {
    let mut folders = vec![PathBuf::new()];
    let mut buffers = Buffers::default();
    while let Some(folder) = folders.pop() {
        let top = folder.as_os_str().is_empty();
        let names = match names(&one.join(&folder)) {
            Err(error) if top || error.kind() != io::ErrorKind::NotFound => return Err(error),
            Err(_) => continue,
            Ok(names) => names,
        };
        for name in names {
            if top && skip.iter().any(|skipped| name == *skipped) {
                continue;
            }
            let path = folder.join(&name);
            let Some(data) = there(&one.join(&path))? else {
                continue;
            };
            let found = there(&other.join(&path))?;
            let has = match &found {
                Some(found) => match has(one, other, &path, &data, found, newer, &mut buffers) {
                    // It vanished while it was looked at.
                    Err(error) if error.kind() == io::ErrorKind::NotFound => {
                        matches!(newer, Newer::ByTime | Newer::Missing)
                    }
                    has => has?,
                },
                None => partial(one, other, &path, &data, &mut buffers)?,
            };
            if !has {
                each(quoted(&path), data.len());
            }
            // What lies in a folder that is missing there is missing, too.
            if data.is_dir() && found.is_some_and(|found| found.is_dir()) {
                folders.push(path);
            }
        }
    }
    Ok(())
}

fn there(path: &Path) -> io::Result<Option<Metadata>> {
    match fs::symlink_metadata(path) {
        Err(error)
            if matches!(
                error.kind(),
                io::ErrorKind::NotFound | io::ErrorKind::NotADirectory
            ) =>
        {
            Ok(None)
        }
        data => data.map(Some),
    }
}

fn has(
    one: &Path,
    other: &Path,
    path: &Path,
    data: &Metadata,
    found: &Metadata,
    newer: Newer,
    buffers: &mut Buffers,
) -> io::Result<bool> {
    let (kind, there) = (data.file_type(), found.file_type());
    let time = |it: &Metadata| (it.mtime(), it.mtime_nsec());
    let later = time(found) > time(data);
    if newer == Newer::Missing {
        return Ok(true);
    }
    if kind != there {
        return Ok(newer == Newer::Passes && later);
    }
    if kind.is_dir() {
        return Ok(true);
    }
    let (one, other) = (one.join(path), other.join(path));
    let same = if kind.is_file() {
        let alike = data.len() == found.len();
        match newer {
            Newer::ByTime => alike && time(found) == time(data),
            _ => alike && same_bytes(&one, &other, buffers)?,
        }
    } else if kind.is_symlink() {
        fs::read_link(&one)? == fs::read_link(&other)?
    } else if kind.is_char_device() || kind.is_block_device() {
        data.rdev() == found.rdev()
    } else {
        true
    };
    Ok(same || newer == Newer::Passes && later)
}

/// Whether a file is the beginning of one that the other tree has: a transfer that is killed
/// leaves `.NAME.XXXXXX` for `NAME`.
fn partial(
    one: &Path,
    other: &Path,
    path: &Path,
    data: &Metadata,
    buffers: &mut Buffers,
) -> io::Result<bool> {
    let name = path.file_name().map(|name| name.as_bytes().to_vec());
    let name = name.unwrap_or_default();
    let whole = match name.len().checked_sub(7) {
        Some(dot) if dot > 1 && name[0] == b'.' && name[dot] == b'.' => &name[1..dot],
        _ => return Ok(false),
    };
    let suffix = &name[name.len() - 6..];
    if !data.is_file() || !suffix.iter().all(u8::is_ascii_alphanumeric) {
        return Ok(false);
    }
    let whole = other.join(path.with_file_name(std::ffi::OsStr::from_bytes(whole)));
    match there(&whole)? {
        Some(found) if found.is_file() && found.len() >= data.len() => {
            begins_with(&whole, &one.join(path), buffers)
        }
        _ => Ok(false),
    }
}

fn begins_with(whole: &Path, part: &Path, buffers: &mut Buffers) -> io::Result<bool> {
    use std::io::Read as _;
    let (mut whole, mut part) = (open(whole)?, open(part)?);
    loop {
        let read = part.read(&mut buffers.0)?;
        if read == 0 {
            return Ok(true);
        }
        whole.read_exact(&mut buffers.1[..read])?;
        if buffers.0[..read] != buffers.1[..read] {
            return Ok(false);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn listed(one: &Path, other: &Path, newer: Newer) -> Vec<String> {
        let mut found = Vec::new();
        beyond(one, other, newer, &["backup.yaml"], &mut |what, _| {
            found.push(what);
        })
        .unwrap();
        found.sort();
        found
    }

    #[test]
    fn what_is_more_is_told_and_what_is_less_is_not() {
        let (one, other) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        let (one, other) = (one.path(), other.path());
        for (tree, text) in [(one, "old"), (other, "new")] {
            fs::create_dir(tree.join("folder")).unwrap();
            fs::write(tree.join("folder/same"), "same").unwrap();
            fs::write(tree.join("changed"), text).unwrap();
            fs::write(tree.join("backup.yaml"), text).unwrap();
            std::os::unix::fs::symlink("folder", tree.join("link")).unwrap();
        }
        fs::write(other.join("more"), "more").unwrap();
        fs::write(other.join("big"), "0123456789").unwrap();
        fs::write(one.join(".big.aB3x9z"), "01234").unwrap();
        let later = std::time::SystemTime::now() + std::time::Duration::from_secs(9);
        let file = fs::File::open(other.join("changed")).unwrap();
        file.set_modified(later).unwrap();
        assert_eq!(listed(one, other, Newer::Counts), ["changed"]);
        assert!(listed(one, other, Newer::Passes).is_empty());
        fs::write(one.join(".big.aB3x9z"), "0x234").unwrap();
        fs::create_dir(one.join("only")).unwrap();
        fs::write(one.join("only/here"), "").unwrap();
        let left = listed(one, other, Newer::Passes);
        assert_eq!(left, [".big.aB3x9z", "only"]);
        let file = fs::File::open(one.join("changed")).unwrap();
        file.set_modified(later + std::time::Duration::from_secs(9))
            .unwrap();
        assert!(listed(one, other, Newer::Passes).contains(&"changed".to_owned()));
    }
}
