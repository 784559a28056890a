//! How much trees take once they are copied.

use std::collections::{BTreeSet, HashMap, HashSet};
use std::fs::{self, Metadata};
use std::hash::{BuildHasher as _, RandomState};
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};

use super::names;

/// What trees take that are copied one after the other to the same place, each as a snapshot of it: a container's
/// snapshots, and itself.
#[derive(Debug, Default)]
pub struct Landing {
    pub paths: u64,
    /// Allocated bytes, each hard link counted as a file of its own, as a copy lands at first.  What is the same in
    /// the tree before, for a transfer that goes by name, size and time, is not sent again.
    pub shared: u64,
    /// The same, with everything sent for each tree.
    pub unshared: u64,
    /// What becomes free with them: allocated bytes, each file counted once.
    pub taken: u64,
    /// The largest single tree.
    pub largest: u64,
    /// Subvolumes within the trees.
    pub subvolumes: Vec<String>,
    /// Names, and sizes with times, of the files of the tree before.
    there: HashMap<u64, u64>,
    hasher: RandomState,
}

/// The names of the folders in a folder.
#[must_use]
pub fn folders(folder: &Path) -> BTreeSet<String> {
    let names = names(folder).unwrap_or_default().into_iter();
    names
        .filter(|name| folder.join(name).is_dir())
        .map(|name| name.to_string_lossy().into_owned())
        .collect()
}

impl Landing {
    /// Adds a tree, passing over what comes and goes meanwhile.
    pub fn add(&mut self, tree: &Path) {
        let before = self.unshared;
        let mut now = HashMap::new();
        let mut linked = HashSet::new();
        // A folder on another device than the one it is in is a subvolume.
        let mut folders: Vec<(PathBuf, Option<u64>)> = vec![(PathBuf::new(), None)];
        while let Some((folder, device)) = folders.pop() {
            let inside = tree.join(&folder);
            let device = device.or_else(|| Some(fs::symlink_metadata(&inside).ok()?.dev()));
            for name in names(&inside).unwrap_or_default() {
                let path = folder.join(name);
                let Ok(data) = fs::symlink_metadata(tree.join(&path)) else {
                    continue;
                };
                self.count(&path, &data, &mut now);
                if data.is_dir() || data.nlink() < 2 || linked.insert(data.ino()) {
                    self.taken += data.blocks() * 512;
                }
                if data.is_dir() {
                    if device.is_some_and(|device| device != data.dev()) {
                        self.subvolumes.push(path.display().to_string());
                    }
                    folders.push((path, Some(data.dev())));
                }
            }
        }
        self.largest = self.largest.max(self.unshared - before);
        self.there = now;
    }

    fn count(&mut self, path: &Path, data: &Metadata, now: &mut HashMap<u64, u64>) {
        let bytes = data.blocks() * 512;
        self.paths += 1;
        self.unshared += bytes;
        let name = self.hasher.hash_one(path);
        let state = (data.len(), data.mtime(), data.mtime_nsec());
        let state = self.hasher.hash_one(state);
        if data.is_file() {
            now.insert(name, state);
        }
        if !data.is_file() || self.there.get(&name) != Some(&state) {
            self.shared += bytes;
        }
    }
}
