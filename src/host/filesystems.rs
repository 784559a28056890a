//! Mounted filesystems, and what lies where a pool could be put.

use std::collections::BTreeSet;
use std::os::unix::fs::{FileTypeExt as _, MetadataExt as _};
use std::path::{Path, PathBuf};

use crate::facts::{Bytes, Filesystem, Place, PlaceKind};
use crate::plan::image::Room;

/// The inode number of every btrfs subvolume's root folder.
const SUBVOLUME_INODE: u64 = 256;

/// A line of `/proc/self/mountinfo`.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Mount {
    pub device: String,
    pub mount_point: PathBuf,
    pub writable: bool,
    pub kind: String,
}

/// Reads mountinfo (proc(5)).
pub(super) fn parse_mounts(text: &str) -> Vec<Mount> {
    text.lines()
        .filter_map(|line| {
            let (left, right) = line.split_once(" - ")?;
            let mut left = left.split(' ').skip(2);
            let device = left.next()?.to_owned();
            let mount_point = PathBuf::from(unescape(left.nth(1)?));
            let options = left.next()?;
            let mut right = right.split(' ');
            let kind = right.next()?.to_owned();
            let super_options = right.nth(1)?;
            let read_only = |options: &str| options.split(',').any(|option| option == "ro");
            Some(Mount {
                device,
                mount_point,
                writable: !read_only(options) && !read_only(super_options),
                kind,
            })
        })
        .collect()
}

/// Undoes the octal escapes of mountinfo and fstab.
fn unescape(text: &str) -> String {
    ["\\040 ", "\\011\t", "\\012\n", "\\134\\"]
        .iter()
        .fold(text.to_owned(), |text, pair| {
            text.replace(&pair[..4], &pair[4..])
        })
}

/// The mount that a path is in; of a path that is not there, its nearest parent's.
pub(super) fn mount_of<'a>(mounts: &'a [Mount], path: &Path) -> Option<&'a Mount> {
    let real = path
        .ancestors()
        .find_map(|ancestor| ancestor.canonicalize().ok())?;
    // Later mounts hide earlier ones on the same point; `max_by_key` takes the last of equals.
    mounts
        .iter()
        .filter(|mount| real.starts_with(&mount.mount_point))
        .max_by_key(|mount| mount.mount_point.components().count())
}

/// Size and room of a mounted filesystem.
pub(super) fn filesystem(mount: &Mount) -> Filesystem {
    let (total, free) = nix::sys::statvfs::statvfs(&mount.mount_point)
        .map(|stat| {
            let unit = stat.fragment_size();
            (stat.blocks() * unit, stat.blocks_available() * unit)
        })
        .unwrap_or_default();
    Filesystem {
        mount_point: mount.mount_point.display().to_string(),
        kind: mount.kind.clone(),
        total: Bytes(total),
        free: Bytes(free),
        promised: Bytes(0),
    }
}

/// The room where a path lies, or would lie.
///
/// # Errors
/// If not even its parents can be looked at.
pub fn room(path: &Path) -> std::io::Result<Room> {
    let real = path
        .ancestors()
        .find_map(|ancestor| ancestor.canonicalize().ok())
        .ok_or(std::io::ErrorKind::NotFound)?;
    let stat = nix::sys::statvfs::statvfs(&real)?;
    Ok(Room {
        path: path.display().to_string(),
        device: real.metadata()?.dev(),
        free: Bytes(stat.blocks_available() * stat.fragment_size()),
    })
}

/// Other btrfs filesystems that a pool could be put on: writable, and mounted at boot (in fstab).
/// A stick that happens to be plugged in is no place for agents.
pub(super) fn lasting_btrfs(mounts: &[Mount], own: Option<&Mount>, fstab: &str) -> Vec<Mount> {
    let lasting: BTreeSet<PathBuf> = fstab
        .lines()
        .filter_map(|line| {
            let mut fields = line.split_whitespace();
            let device = fields.next()?;
            let mount_point = fields.next()?;
            let options = fields.nth(1).unwrap_or_default();
            let usable = !device.starts_with('#') && !options.split(',').any(|o| o == "noauto");
            usable.then(|| PathBuf::from(unescape(mount_point)))
        })
        .collect();
    let mut found: Vec<Mount> = Vec::new();
    for mount in mounts {
        let usable = mount.kind == "btrfs"
            && mount.writable
            && lasting.contains(&mount.mount_point)
            && own.is_none_or(|own| own.device != mount.device);
        if usable && !found.iter().any(|known| known.device == mount.device) {
            found.push(mount.clone());
        }
    }
    found
}

/// What is at a path, if anything is.
pub(super) fn place(path: &Path) -> Option<Place> {
    let metadata = path.symlink_metadata().ok()?;
    let kind = metadata.file_type();
    let what = if kind.is_file() {
        PlaceKind::File {
            size: Bytes(metadata.len()),
            allocated: allocated(&metadata),
        }
    } else if kind.is_dir() {
        PlaceKind::Directory {
            entries: entries(path),
            subvolume: metadata.ino() == SUBVOLUME_INODE,
        }
    } else {
        PlaceKind::Other
    };
    Some(Place {
        path: path.display().to_string(),
        what,
    })
}

/// What of a file really takes space.
pub(super) fn allocated(metadata: &std::fs::Metadata) -> Bytes {
    Bytes(metadata.blocks() * 512)
}

/// The names in a folder, two levels deep, without empty folders; at most a handful.
fn entries(folder: &Path) -> Vec<String> {
    const MOST: usize = 8;
    let mut found = Vec::new();
    for entry in children(folder) {
        let name = entry
            .file_name()
            .unwrap_or_default()
            .to_string_lossy()
            .into_owned();
        if !entry.is_dir() || entry.is_symlink() {
            found.push(name);
            continue;
        }
        found.extend(children(&entry).into_iter().map(|child| {
            let child = child
                .file_name()
                .unwrap_or_default()
                .to_string_lossy()
                .into_owned();
            format!("{name}/{child}")
        }));
    }
    if found.len() > MOST {
        let more = found.len() - MOST;
        found.truncate(MOST);
        found.push(format!("{more} more"));
    }
    found
}

/// The paths in a folder, sorted; none if it cannot be read.
pub(super) fn children(folder: &Path) -> Vec<PathBuf> {
    let mut paths: Vec<PathBuf> = std::fs::read_dir(folder)
        .map(|entries| entries.flatten().map(|entry| entry.path()).collect())
        .unwrap_or_default();
    paths.sort();
    paths
}

/// Whether a folder is a subvolume's root.
pub(super) fn is_subvolume(path: &Path) -> bool {
    path.metadata()
        .is_ok_and(|data| data.ino() == SUBVOLUME_INODE)
}

/// Whether a path is a block device.
pub(super) fn is_block_device(path: &Path) -> bool {
    path.metadata()
        .is_ok_and(|data| data.file_type().is_block_device())
}

#[cfg(test)]
mod tests {
    use super::*;

    const MOUNTS: &str = "\
22 1 254:0 / / rw,relatime - ext4 /dev/vda rw
30 22 0:30 / /mnt/my\\040data rw,noatime shared:5 - btrfs /dev/sdb rw,space_cache
31 22 0:31 /sub /srv ro - btrfs /dev/sdc rw
32 22 0:32 / /media/stick rw - btrfs /dev/sdd rw
";

    #[test]
    fn mounts_are_read() {
        let mounts = parse_mounts(MOUNTS);
        assert_eq!(mounts.len(), 4);
        assert_eq!(mounts[1].mount_point, Path::new("/mnt/my data"));
        assert_eq!(
            (mounts[1].kind.as_str(), mounts[1].device.as_str()),
            ("btrfs", "0:30")
        );
        assert!(mounts[1].writable && !mounts[2].writable);
    }

    #[test]
    fn only_lasting_writable_btrfs_is_offered() {
        let mounts = parse_mounts(MOUNTS);
        let fstab = "# /dev/sdd /media/stick btrfs defaults 0 0\nLABEL=d /mnt/my\\040data btrfs defaults 0 0\n/dev/sdc /srv btrfs ro 0 0\n/dev/sdd /media/stick btrfs noauto 0 0\n";
        let found = lasting_btrfs(&mounts, mounts.first(), fstab);
        assert_eq!(found.len(), 1);
        assert_eq!(found[0].mount_point, Path::new("/mnt/my data"));
        assert!(lasting_btrfs(&mounts, mounts.get(1), fstab).is_empty());
    }

    #[test]
    fn a_path_belongs_to_the_deepest_mount() {
        let mounts = parse_mounts("1 0 1:1 / / rw - ext4 x rw\n2 1 1:2 / /proc rw - proc x rw\n");
        let found = mount_of(&mounts, Path::new("/proc/self/not-there")).unwrap();
        assert_eq!(found.kind, "proc");
        assert_eq!(
            mount_of(&mounts, Path::new("/not-there")).unwrap().kind,
            "ext4"
        );
    }
}
