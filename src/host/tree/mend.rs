//! Making a copy what it should be, where a transfer left it short.

use std::collections::BTreeSet;
use std::fs::{self, File, OpenOptions};
use std::io::{self, Read as _, Seek as _, Write as _};
use std::os::unix::fs::{FileTypeExt as _, MetadataExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};

use rustix::fs::{AtFlags, FileType, IFlags, Mode, Timespec, Timestamps, CWD};

use super::{flags, names, open, quoted, xattrs, Difference, What, KEPT_FLAGS};

/// What stands at a path until it is whole; nobody's own name for anything.
const PARTIAL: &str = ".taos-setup-partial";

/// Mends what differs.  `last`: nothing comes after this, so flags that forbid every further change
/// are set, too.  What this cannot mend stays, for the comparison that must follow.
///
/// # Errors
/// If something cannot be read or written.
pub fn mend(source: &Path, copy: &Path, differences: &[Difference], last: bool) -> io::Result<()> {
    let mut touched: BTreeSet<PathBuf> = BTreeSet::new();
    for Difference { path, what } in differences {
        let (is, copied) = (source.join(path), copy.join(path));
        let context = |error: io::Error| {
            io::Error::new(
                error.kind(),
                format!("mending {} in the copy: {error}", quoted(path)),
            )
        };
        match what {
            What::Content => content(&is, &copied).map_err(context)?,
            What::Missing if is_special(&is) => special(&is, &copied).map_err(context)?,
            What::Linked(first) => link(&copy.join(first), &copied).map_err(context)?,
            What::Owner | What::Mode | What::Time | What::Attributes => {}
            What::Flags
            | What::Missing
            | What::Extra
            | What::Kind
            | What::Target
            | What::Entangled => continue,
        }
        touched.insert(path.clone());
        // Its folder's times change along.
        if let Some(folder) = path.parent().filter(|_| *what != What::Time) {
            if !folder.as_os_str().is_empty() {
                touched.insert(folder.to_owned());
            }
        }
    }
    // Backwards: what is in a folder before the folder.
    for path in touched.iter().rev() {
        attributes(&source.join(path), &copy.join(path)).map_err(|error| {
            io::Error::new(
                error.kind(),
                format!("mending {} in the copy: {error}", quoted(path)),
            )
        })?;
    }
    if last {
        for Difference { path, what } in differences.iter().rev() {
            if *what == What::Flags {
                set_flags(&copy.join(path), flags(&source.join(path))?)?;
            }
        }
    }
    Ok(())
}

/// Whether [`mend`] does away with a difference; if not, it takes another transfer.
#[must_use]
pub fn can_be_mended(source: &Path, difference: &Difference) -> bool {
    match difference.what {
        What::Content
        | What::Owner
        | What::Mode
        | What::Time
        | What::Attributes
        | What::Flags
        | What::Linked(_) => true,
        What::Missing => is_special(&source.join(&difference.path)),
        What::Extra | What::Kind | What::Target | What::Entangled => false,
    }
}

/// Takes away the flags that keep a tree from being deleted.
///
/// # Errors
/// If something cannot be read or changed.
pub fn clear_flags(tree: &Path) -> io::Result<()> {
    let data = match fs::symlink_metadata(tree) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        data => data?,
    };
    if !data.is_dir() && !data.is_file() {
        return Ok(());
    }
    let found = flags(tree)?;
    let held = IFlags::IMMUTABLE | IFlags::APPEND;
    if found.intersects(held) {
        set_flags(tree, found.difference(held))?;
    }
    if data.is_dir() {
        for name in names(tree)? {
            clear_flags(&tree.join(name))?;
        }
    }
    Ok(())
}

pub(super) fn set_flags(path: &Path, wanted: IFlags) -> io::Result<()> {
    let file = open(path)?;
    let all = rustix::fs::ioctl_getflags(&file)?;
    rustix::fs::ioctl_setflags(&file, all.difference(KEPT_FLAGS) | wanted)?;
    Ok(())
}

/// Writes the bytes of one file into another, leaving out blocks of zeros.
fn content(source: &Path, copy: &Path) -> io::Result<()> {
    let mut from = open(source)?;
    let mut to = OpenOptions::new()
        .write(true)
        .truncate(true)
        .custom_flags(nix::libc::O_NOFOLLOW)
        .open(copy)?;
    let mut buffer = vec![0; 1 << 16];
    loop {
        let read = fill(&mut from, &mut buffer)?;
        if read == 0 {
            break;
        }
        if buffer[..read].iter().all(|byte| *byte == 0) {
            to.seek_relative(i64::try_from(read).unwrap_or_default())?;
        } else {
            to.write_all(&buffer[..read])?;
        }
    }
    let length = from.metadata()?.len();
    to.set_len(length)
}

fn fill(file: &mut File, buffer: &mut [u8]) -> io::Result<usize> {
    let mut filled = 0;
    while filled < buffer.len() {
        match file.read(&mut buffer[filled..])? {
            0 => break,
            read => filled += read,
        }
    }
    Ok(filled)
}

/// Makes `copy` another name of `first`.
pub(super) fn link(first: &Path, copy: &Path) -> io::Result<()> {
    let partial = copy.with_file_name(PARTIAL);
    match fs::remove_file(&partial) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
        _ => {}
    }
    fs::hard_link(first, &partial)?;
    fs::rename(&partial, copy)
}

fn is_special(path: &Path) -> bool {
    fs::symlink_metadata(path).is_ok_and(|data| {
        let kind = data.file_type();
        kind.is_socket() || kind.is_fifo() || kind.is_char_device() || kind.is_block_device()
    })
}

fn special(source: &Path, copy: &Path) -> io::Result<()> {
    let data = fs::symlink_metadata(source)?;
    let kind = FileType::from_raw_mode(data.mode());
    rustix::fs::mknodat(
        CWD,
        copy,
        kind,
        Mode::from_raw_mode(data.mode()),
        data.rdev(),
    )?;
    Ok(())
}

/// Owner first, as changing it takes capabilities and setuid away; times last.
fn attributes(source: &Path, copy: &Path) -> io::Result<()> {
    let data = fs::symlink_metadata(source)?;
    std::os::unix::fs::lchown(copy, Some(data.uid()), Some(data.gid()))?;
    xattrs::put(source, copy)?;
    if !data.file_type().is_symlink() {
        fs::set_permissions(copy, data.permissions())?;
    }
    let time = |seconds, nanoseconds| Timespec {
        tv_sec: seconds,
        tv_nsec: nanoseconds,
    };
    let times = Timestamps {
        last_access: time(data.atime(), data.atime_nsec()),
        last_modification: time(data.mtime(), data.mtime_nsec()),
    };
    rustix::fs::utimensat(CWD, copy, &times, AtFlags::SYMLINK_NOFOLLOW)?;
    Ok(())
}
