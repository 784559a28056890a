//! One run at a time.

use std::fs::{DirBuilder, File, OpenOptions};
use std::io::{Read as _, Seek as _, SeekFrom, Write as _};
use std::os::fd::{AsFd as _, AsRawFd as _, BorrowedFd};
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result};
use nix::fcntl::{Flock, FlockArg};

/// The right to write the journal: at most one process has it.
pub struct Lock {
    pub(super) folder: PathBuf,
    file: Flock<File>,
}

/// Why the lock could not be had.
#[derive(Debug)]
pub enum NotLocked {
    /// Another run has it; its process and when it began.
    Held { by: String },
    /// The folder or file cannot be used.
    Failed(anyhow::Error),
}

impl Lock {
    /// Takes the lock.
    ///
    /// The commands of a run inherit it, so it is held as long as the last command of a killed run
    /// is still at work; for that one it waits up to `patience`, calling `waiting` once.
    ///
    /// # Errors
    /// If another run has it, or its file cannot be made.
    pub fn acquire(
        folder: &Path,
        patience: Duration,
        waiting: impl FnOnce(),
    ) -> Result<Self, NotLocked> {
        let open = || -> Result<File> {
            DirBuilder::new()
                .recursive(true)
                .mode(0o700)
                .create(folder)
                .with_context(|| format!("creating {}", folder.display()))?;
            let path = folder.join("lock");
            OpenOptions::new()
                .read(true)
                .write(true)
                .create(true)
                .truncate(false)
                .mode(0o600)
                .custom_flags(nix::libc::O_NOFOLLOW)
                .open(&path)
                .with_context(|| format!("opening {}", path.display()))
        };
        let mut file = open().map_err(NotLocked::Failed)?;
        let begun = Instant::now();
        let mut waiting = Some(waiting);
        loop {
            match Flock::lock(file, FlockArg::LockExclusiveNonblock) {
                Ok(lock) => {
                    let mut lock = Self {
                        folder: folder.to_owned(),
                        file: lock,
                    };
                    lock.sign()
                        .with_context(|| format!("writing {}", folder.join("lock").display()))
                        .map_err(NotLocked::Failed)?;
                    return Ok(lock);
                }
                Err((mut returned, nix::errno::Errno::EWOULDBLOCK)) => {
                    let holder = holder(&mut returned);
                    if holder.alive || begun.elapsed() > patience {
                        return Err(NotLocked::Held { by: holder.words });
                    }
                    if let Some(waiting) = waiting.take() {
                        waiting();
                    }
                    std::thread::sleep(Duration::from_millis(50));
                    file = returned;
                }
                Err((_, errno)) => {
                    return Err(NotLocked::Failed(
                        anyhow::Error::from(errno).context("locking the journal"),
                    ))
                }
            }
        }
    }

    fn sign(&mut self) -> Result<()> {
        self.file.set_len(0)?;
        self.file.seek(SeekFrom::Start(0))?;
        write!(
            self.file,
            "{} {}",
            std::process::id(),
            crate::host::log::now()
        )?;
        Ok(())
    }

    /// What commands inherit to hold the lock, too.
    #[must_use]
    pub fn descriptor(&self) -> BorrowedFd<'_> {
        self.file.as_fd()
    }
}

struct Holder {
    words: String,
    alive: bool,
}

fn holder(file: &mut File) -> Holder {
    let mut text = String::new();
    let read = file
        .seek(SeekFrom::Start(0))
        .and_then(|_| file.read_to_string(&mut text));
    let (pid, since) = text.split_once(' ').unwrap_or_default();
    Holder {
        // Not to be read is to be taken for alive.
        alive: read.is_err() || Path::new("/proc").join(pid).exists(),
        words: format!("process {pid}, since {since}"),
    }
}

/// Lets programs started from now on inherit a descriptor, or no longer: until as many have taken
/// it back as have asked for it.
pub(crate) fn inherit(descriptor: BorrowedFd<'_>, inherited: bool) {
    use nix::fcntl::{fcntl, FcntlArg, FdFlag};
    static ASKED: Mutex<usize> = Mutex::new(0);
    let mut asked = ASKED.lock().unwrap_or_else(PoisonError::into_inner);
    *asked = if inherited {
        *asked + 1
    } else {
        asked.saturating_sub(1)
    };
    let flags = if *asked > 0 {
        FdFlag::empty()
    } else {
        FdFlag::FD_CLOEXEC
    };
    // It only fails for a descriptor that is not open.
    let _ = fcntl(descriptor, FcntlArg::F_SETFD(flags));
    debug_assert!(descriptor.as_raw_fd() > 2);
}
