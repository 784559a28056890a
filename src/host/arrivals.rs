//! How much of a copy has arrived, while others copy.
//!
//! The kernel counts for each process what it wrote to files.  So nobody is asked, and nothing is
//! walked: a look takes a few milliseconds, however large the copy is.  (The daemon's own figure is
//! of what went through a compressed pipe, and a pool's free space follows half a minute late.)

use std::collections::HashMap;
use std::fs;
use std::path::Path;

/// Watches the programs that write into some folder.
pub struct Arrivals {
    folder: Vec<u8>,
    /// What each of them had written when it was last seen.
    written: HashMap<u32, u64>,
}

impl Arrivals {
    /// Of programs that name this folder among their arguments.
    #[must_use]
    pub fn in_folder(folder: &Path) -> Self {
        Self {
            folder: folder.as_os_str().as_encoded_bytes().to_vec(),
            written: HashMap::new(),
        }
    }

    /// How many bytes were written until now; those of programs that came and went unseen are
    /// missing.
    pub fn look(&mut self) -> u64 {
        let processes = fs::read_dir("/proc").into_iter().flatten().flatten();
        for process in processes {
            let name = process.file_name();
            let Some(id) = name.to_str().and_then(|name| name.parse().ok()) else {
                continue;
            };
            if !self.written.contains_key(&id) && !self.concerns(&process.path()) {
                continue;
            }
            let io = fs::read_to_string(process.path().join("io")).unwrap_or_default();
            if let Some(bytes) = written(&io) {
                let known = self.written.entry(id).or_default();
                *known = bytes.max(*known);
            }
        }
        self.written.values().sum()
    }

    fn concerns(&self, process: &Path) -> bool {
        let arguments = fs::read(process.join("cmdline")).unwrap_or_default();
        arguments
            .split(|byte| *byte == 0)
            .any(|argument| argument.starts_with(&self.folder))
    }
}

/// What the kernel says of a process's writing.
fn written(io: &str) -> Option<u64> {
    let line = io
        .lines()
        .find_map(|line| line.strip_prefix("write_bytes: "));
    line?.trim().parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_program_that_writes_into_the_folder_is_seen() {
        let folder = tempfile::tempdir().unwrap();
        let mut child = std::process::Command::new("sh")
            .args(["-c", "echo 1 >\"$1/file\"; read -r end", "sh"])
            .arg(folder.path())
            .stdin(std::process::Stdio::piped())
            .spawn()
            .unwrap();
        let mut arrivals = Arrivals::in_folder(folder.path());
        let found = (0..100).any(|_| {
            std::thread::sleep(std::time::Duration::from_millis(50));
            arrivals.look();
            !arrivals.written.is_empty()
        });
        child.kill().unwrap();
        child.wait().unwrap();
        assert!(found);
    }

    #[test]
    fn the_kernels_words_are_understood() {
        let io = "rchar: 5\nwchar: 6\nwrite_bytes: 4096\ncancelled_write_bytes: 0\n";
        assert_eq!(written(io), Some(4096));
        assert_eq!(written(""), None);
    }
}
