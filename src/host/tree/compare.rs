//! Comparing two trees, several folders at a time: while a container is down, each core counts.

use std::collections::{HashMap, HashSet};
use std::ffi::OsString;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};

use rustix::fs::{FileType, Statx};

use super::{
    names, same_bytes, status, xattrs, Buffers, Comparison, Contents, Difference, What,
    KEPT_ATTRIBUTES,
};
use crate::host::Meter;

/// More than this wait for the same disk.
const MOST_AT_ONCE: usize = 4;

pub(super) struct Comparer<'a> {
    source: &'a Path,
    copy: &'a Path,
    contents: Contents,
    /// What is passed over at the top.
    skip: &'a [&'a str],
    seen: &'a Meter,
    queue: Mutex<Queue>,
    changed: Condvar,
}

/// What is left to be looked at.
struct Queue {
    folders: Vec<PathBuf>,
    /// Folders that are being looked at; they may bring more.
    at_work: usize,
    failed: bool,
}

/// What one thread found.
#[derive(Default)]
struct Found {
    comparison: Comparison,
    links: Vec<Link>,
}

/// A path that has other names as well, in either of the trees.
struct Link {
    path: PathBuf,
    /// Its file in the source, and whether that has several names.
    file: u64,
    shared: bool,
    /// The same in the copy.
    inode: u64,
    shared_there: bool,
}

impl<'a> Comparer<'a> {
    pub(super) fn new(
        source: &'a Path,
        copy: &'a Path,
        contents: Contents,
        skip: &'a [&'a str],
        seen: &'a Meter,
    ) -> Self {
        Self {
            source,
            copy,
            contents,
            skip,
            seen,
            queue: Mutex::new(Queue {
                folders: vec![PathBuf::new()],
                at_work: 0,
                failed: false,
            }),
            changed: Condvar::new(),
        }
    }

    pub(super) fn run(&self) -> io::Result<Comparison> {
        let threads = std::thread::available_parallelism().map_or(1, usize::from);
        let threads = threads.min(MOST_AT_ONCE);
        let results: Vec<io::Result<Found>> = std::thread::scope(|scope| {
            let others: Vec<_> = (1..threads).map(|_| scope.spawn(|| self.work())).collect();
            let mut results = vec![self.work()];
            results.extend(others.into_iter().map(|thread| {
                thread
                    .join()
                    .unwrap_or_else(|_| Err(io::Error::other("comparing: panicked")))
            }));
            results
        });
        let mut all = Found::default();
        for found in results {
            let Found { comparison, links } = found?;
            all.comparison.paths += comparison.paths;
            all.comparison.read += comparison.read;
            all.comparison.bytes += comparison.bytes;
            all.comparison.differences.extend(comparison.differences);
            all.links.extend(links);
        }
        all.compare_links();
        let differences = &mut all.comparison.differences;
        differences.sort_by(|one, other| one.path.cmp(&other.path));
        Ok(all.comparison)
    }

    fn work(&self) -> io::Result<Found> {
        let mut found = Found::default();
        let mut buffers = Buffers::default();
        while let Some(folder) = self.next() {
            let result = self.folder(&folder, &mut found, &mut buffers);
            let mut queue = self.queue();
            queue.at_work -= 1;
            queue.failed |= result.is_err();
            drop(queue);
            self.changed.notify_all();
            result?;
        }
        Ok(found)
    }

    /// A folder to look at; none once all were, or something failed.
    fn next(&self) -> Option<PathBuf> {
        let mut queue = self.queue();
        loop {
            if queue.failed {
                return None;
            }
            if let Some(folder) = queue.folders.pop() {
                queue.at_work += 1;
                return Some(folder);
            }
            if queue.at_work == 0 {
                return None;
            }
            queue = self
                .changed
                .wait(queue)
                .unwrap_or_else(PoisonError::into_inner);
        }
    }

    fn queue(&self) -> MutexGuard<'_, Queue> {
        self.queue.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn folder(&self, folder: &Path, found: &mut Found, buffers: &mut Buffers) -> io::Result<()> {
        let top = folder.as_os_str().is_empty();
        let skipped = |name: &OsString| top && self.skip.iter().any(|skipped| name == *skipped);
        let mut copied: HashSet<OsString> = names(&self.copy.join(folder))?.into_iter().collect();
        for name in names(&self.source.join(folder))? {
            let there = copied.remove(&name);
            if skipped(&name) {
                continue;
            }
            let path = folder.join(&name);
            found.comparison.paths += 1;
            self.seen.add(1, 0);
            if !there {
                found.differs(&path, What::Missing);
            } else if self.path(&path, found, buffers)? {
                self.queue().folders.push(path);
                self.changed.notify_one();
            }
        }
        for name in copied.iter().filter(|name| !skipped(name)) {
            found.differs(&folder.join(name), What::Extra);
        }
        Ok(())
    }

    /// Compares one path that is in both; whether to go into it.
    fn path(&self, path: &Path, found: &mut Found, buffers: &mut Buffers) -> io::Result<bool> {
        let (source, copy) = (self.source.join(path), self.copy.join(path));
        let (is, copied) = (status(&source)?, status(&copy)?);
        let kind = FileType::from_raw_mode(is.stx_mode.into());
        let device = |it: &Statx| (it.stx_rdev_major, it.stx_rdev_minor);
        if kind != FileType::from_raw_mode(copied.stx_mode.into()) || device(&is) != device(&copied)
        {
            found.differs(path, What::Kind);
            return Ok(false);
        }
        let owner = |it: &Statx| (it.stx_uid, it.stx_gid);
        let time = |it: &Statx| (it.stx_mtime.tv_sec, it.stx_mtime.tv_nsec);
        let flags = |it: &Statx| it.stx_attributes.bits() & KEPT_ATTRIBUTES.bits();
        if owner(&is) != owner(&copied) {
            found.differs(path, What::Owner);
        }
        if kind != FileType::Symlink && is.stx_mode != copied.stx_mode {
            found.differs(path, What::Mode);
        }
        if time(&is) != time(&copied) {
            found.differs(path, What::Time);
        }
        if kind == FileType::Symlink && fs::read_link(&source)? != fs::read_link(&copy)? {
            found.differs(path, What::Target);
        }
        if xattrs::of(&source)? != xattrs::of(&copy)? {
            found.differs(path, What::Attributes);
        }
        if flags(&is) != flags(&copied) {
            found.differs(path, What::Flags);
        }
        if kind == FileType::RegularFile {
            self.content(path, [&source, &copy], [&is, &copied], found, buffers)?;
        }
        // All of a tree is on one file system.
        if kind != FileType::Directory && (is.stx_nlink > 1 || copied.stx_nlink > 1) {
            found.links.push(Link {
                path: path.to_owned(),
                file: is.stx_ino,
                shared: is.stx_nlink > 1,
                inode: copied.stx_ino,
                shared_there: copied.stx_nlink > 1,
            });
        }
        Ok(kind == FileType::Directory)
    }

    fn content(
        &self,
        path: &Path,
        [source, copy]: [&Path; 2],
        [is, copied]: [&Statx; 2],
        found: &mut Found,
        buffers: &mut Buffers,
    ) -> io::Result<()> {
        let looked_at = match self.contents {
            Contents::All => true,
            Contents::Since(second) => is.stx_ctime.tv_sec >= second,
        };
        let same = if is.stx_size != copied.stx_size {
            false
        } else if looked_at {
            found.comparison.read += 1;
            found.comparison.bytes += is.stx_size;
            self.seen.add(0, is.stx_size);
            same_bytes(source, copy, buffers)?
        } else {
            true
        };
        if !same {
            found.differs(path, What::Content);
        }
        Ok(())
    }
}

impl Found {
    /// Two names are one file in the copy exactly if they are in the source.
    fn compare_links(&mut self) {
        // The first path of each file of the source with several names, and its inode in the copy.
        let mut groups: HashMap<u64, (PathBuf, u64)> = HashMap::new();
        // Which file of the source an inode of the copy stands for.
        let mut inodes: HashMap<u64, u64> = HashMap::new();
        let mut links = std::mem::take(&mut self.links);
        links.sort_by(|one, other| one.path.cmp(&other.path));
        for link in links {
            if link.shared {
                match groups.get(&link.file) {
                    Some((_, known)) if *known == link.inode => {}
                    Some((first, _)) => self.differs(&link.path, What::Linked(first.clone())),
                    None => {
                        groups.insert(link.file, (link.path.clone(), link.inode));
                    }
                }
            }
            if link.shared_there && *inodes.entry(link.inode).or_insert(link.file) != link.file {
                self.differs(&link.path, What::Entangled);
            }
        }
    }

    fn differs(&mut self, path: &Path, what: What) {
        let path = path.to_owned();
        let difference = Difference { path, what };
        self.comparison.differences.push(difference);
    }
}
