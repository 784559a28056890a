//! Trees of files in a host's pools: one that is made to be hard, and what any of them is.

use std::collections::BTreeMap;
use std::fs;

use super::Host;

/// What a tree is: a digest for each aspect, such as its hard links, that any of its paths has.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Tree(BTreeMap<String, String>);

impl Tree {
    pub fn aspects(&self) -> impl Iterator<Item = &str> {
        self.0.keys().map(String::as_str)
    }

    /// Whether the other one is the same in this.
    pub fn is_same_in(&self, aspect: &str, other: &Self) -> bool {
        self.0.get(aspect) == other.0.get(aspect)
    }
}

impl Host {
    /// What the files of a container or snapshot are, by tools that are not under test.
    pub fn tree(&self, pool: &str, volume: &str) -> Tree {
        self.tree_and_room(pool, volume).0
    }

    /// The same with the bytes that it takes, each hard link counted once.
    pub fn tree_and_room(&self, pool: &str, volume: &str) -> (Tree, u64) {
        let program = self.script("tree.py", include_str!("tree.py"));
        let told = self.sh(&format!(
            "cd /var/lib/incus/storage-pools/{pool}/{volume}/rootfs; exec python3 {program}"
        ));
        let told: serde_json::Value = serde_json::from_str(&told).expect("what a tree is");
        let aspects = told["aspects"].as_object().expect("aspects").iter();
        let aspects = aspects.map(|(aspect, digest)| (aspect.clone(), digest.to_string()));
        let room = told["room"].as_u64().expect("the bytes that it takes");
        (Tree(aspects.collect()), room)
    }

    /// Gives a container on pool `default` a folder /hard of what transfers are known to lose, with this many small files.
    pub fn make_hard_tree(&self, name: &str, small_files: usize) {
        let program = self.script("hard_tree.sh", include_str!("hard_tree.sh"));
        self.sh(&format!(
            "cd /var/lib/incus/storage-pools/default/containers/{name}/rootfs; sh -eu {program} {small_files}"
        ));
    }

    fn script(&self, name: &str, text: &str) -> String {
        let path = self.share().join(name);
        fs::write(&path, text).expect("writing a script");
        path.display().to_string()
    }
}
