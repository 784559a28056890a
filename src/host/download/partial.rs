//! A file that is being fetched, and what is known about it.
//!
//! The bytes lie in `base-image.partial`.  What they are of lies beside it, and is written before
//! the first byte and never while there are bytes of something else.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Seek as _, SeekFrom, Write as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result};
use serde::{Deserialize, Serialize};

use crate::plan::image::{Head, Kept, Url, Validator};

/// The name of the file.
pub const BYTES: &str = "base-image.partial";
const ABOUT: &str = "base-image.json";

/// What the bytes are of.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
struct About {
    url: Url,
    total: Option<u64>,
    validator: Option<Validator>,
}

/// An open partial file.
pub struct Partial {
    path: PathBuf,
    file: File,
    bytes: u64,
    about: About,
}

impl Partial {
    /// Opens what is in a folder of this address; of another one it is worth nothing.
    ///
    /// # Errors
    /// If the folder cannot be used.
    pub fn open(folder: &Path, url: &Url) -> Result<Self> {
        let path = folder.join(BYTES);
        let file = OpenOptions::new()
            .read(true)
            .write(true)
            .create(true)
            .truncate(false)
            .mode(0o600)
            .custom_flags(nix::libc::O_NOFOLLOW)
            .open(&path)
            .with_context(|| format!("opening {}", path.display()))?;
        let about = fs::read(folder.join(ABOUT))
            .ok()
            .and_then(|text| serde_json::from_slice::<About>(&text).ok())
            .filter(|about| about.url == *url);
        let mut partial = Self {
            bytes: file
                .metadata()
                .context("looking at the partial file")?
                .len(),
            path,
            file,
            about: about.clone().unwrap_or(About {
                url: url.clone(),
                total: None,
                validator: None,
            }),
        };
        let too_long = partial
            .about
            .total
            .is_some_and(|total| partial.bytes > total);
        if about.is_none() || too_long {
            partial.discard().context("emptying the partial file")?;
        }
        partial
            .file
            .seek(SeekFrom::Start(partial.bytes))
            .context("going to the end of the partial file")?;
        Ok(partial)
    }

    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }

    #[must_use]
    pub fn kept(&self) -> Kept {
        Kept {
            bytes: self.bytes,
            total: self.about.total,
            validator: self.about.validator.clone(),
        }
    }

    /// Whether all of it is here.
    #[must_use]
    pub fn whole(&self) -> bool {
        self.about.total == Some(self.bytes)
    }

    /// Forgets the bytes.
    ///
    /// # Errors
    /// If they cannot be taken away.
    pub fn discard(&mut self) -> io::Result<()> {
        self.file.set_len(0)?;
        self.file.seek(SeekFrom::Start(0))?;
        self.bytes = 0;
        self.about.total = None;
        self.about.validator = None;
        Ok(())
    }

    /// Begins with a new version of the file.
    ///
    /// # Errors
    /// If that cannot be written down.
    pub fn restart(&mut self, head: &Head) -> io::Result<()> {
        self.discard()?;
        self.about.total = head.length;
        self.about.validator.clone_from(&head.validator);
        let text = serde_json::to_vec(&self.about).map_err(io::Error::other)?;
        write_atomically(&self.path.with_file_name(ABOUT), &text, 0o600)
    }

    /// Learns the length from a part's `Content-Range`.
    pub fn learn_total(&mut self, total: Option<u64>) {
        self.about.total = self.about.total.or(total);
    }

    /// # Errors
    /// If the disk is full, or broken.
    pub fn append(&mut self, chunk: &[u8]) -> io::Result<()> {
        let written = self.file.write_all(chunk);
        if written.is_err() {
            // Some of it may have been written: what counts is what is in the file.
            self.bytes = self.file.metadata()?.len();
            return written;
        }
        self.bytes += chunk.len() as u64;
        Ok(())
    }

    /// Takes the file away.
    ///
    /// # Errors
    /// If it cannot be.
    pub fn remove(self) -> Result<()> {
        remove(self.path.parent().unwrap_or(Path::new(".")))
    }
}

/// Takes away what is in a folder of a file that is being fetched.
///
/// # Errors
/// If it cannot be.
pub fn remove(folder: &Path) -> Result<()> {
    for name in [BYTES, ABOUT] {
        let path = folder.join(name);
        match fs::remove_file(&path) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => {
                return Err(error).with_context(|| format!("removing {}", path.display()))
            }
            _ => {}
        }
    }
    Ok(())
}

/// How much of a file is in a folder, and of how much.
#[must_use]
pub fn progress(folder: &Path) -> (u64, Option<u64>) {
    let bytes = fs::metadata(folder.join(BYTES)).map_or(0, |data| data.len());
    let total = fs::read(folder.join(ABOUT))
        .ok()
        .and_then(|text| serde_json::from_slice::<About>(&text).ok())
        .and_then(|about| about.total);
    (bytes, total)
}

/// Writes a file so that at each moment either the old or the new one is there, whole.  After a
/// power cut it may be neither; see [`write_durably`].
///
/// # Errors
/// If it cannot be written; then the old one stays.
pub fn write_atomically(path: &Path, bytes: &[u8], mode: u32) -> io::Result<()> {
    replace(path, bytes, mode, |_| Ok(()))
}

/// As [`write_atomically`], and it is on the disk afterwards: what is done next may rely on it also
/// after a power cut.
///
/// # Errors
/// If it cannot be written; then the old one stays, or it is not known to be on the disk.
pub fn write_durably(path: &Path, bytes: &[u8], mode: u32) -> io::Result<()> {
    replace(path, bytes, mode, File::sync_all)?;
    File::open(path.parent().unwrap_or(Path::new(".")))?.sync_all()
}

fn replace(
    path: &Path,
    bytes: &[u8],
    mode: u32,
    settle: impl FnOnce(&File) -> io::Result<()>,
) -> io::Result<()> {
    use std::os::unix::fs::PermissionsExt as _;
    let fresh = path.with_extension("new");
    let result = (|| {
        let mut file = OpenOptions::new()
            .write(true)
            .create(true)
            .truncate(true)
            .mode(mode)
            .custom_flags(nix::libc::O_NOFOLLOW)
            .open(&fresh)?;
        file.write_all(bytes)?;
        // Whatever the umask is.
        file.set_permissions(fs::Permissions::from_mode(mode))?;
        settle(&file)?;
        fs::rename(&fresh, path)
    })();
    if result.is_err() {
        fs::remove_file(&fresh).ok();
    }
    result
}

#[cfg(test)]
mod tests {
    use super::*;

    fn head(length: u64, tag: &str) -> Head {
        Head {
            status: 200,
            length: Some(length),
            validator: Validator::of(Some(tag), None),
            ..Head::default()
        }
    }

    #[test]
    fn what_is_kept_is_of_one_address() {
        let folder = tempfile::tempdir().unwrap();
        let url: Url = "https://example.org/x".parse().unwrap();
        let mut partial = Partial::open(folder.path(), &url).unwrap();
        assert_eq!(partial.kept(), Kept::default());
        partial.restart(&head(10, "\"a\"")).unwrap();
        partial.append(b"12345").unwrap();
        drop(partial);
        let mut partial = Partial::open(folder.path(), &url).unwrap();
        assert_eq!(partial.kept().bytes, 5);
        assert_eq!(partial.kept().total, Some(10));
        partial.append(b"67890").unwrap();
        assert!(partial.whole());
        assert_eq!(progress(folder.path()), (10, Some(10)));
        let other: Url = "https://example.org/y".parse().unwrap();
        assert_eq!(
            Partial::open(folder.path(), &other).unwrap().kept().bytes,
            0
        );
        let partial = Partial::open(folder.path(), &url).unwrap();
        partial.remove().unwrap();
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 0);
    }

    #[test]
    fn bytes_of_nothing_known_do_not_count() {
        let folder = tempfile::tempdir().unwrap();
        let url: Url = "https://example.org/x".parse().unwrap();
        for about in [
            "",
            "nonsense",
            "{\"url\":\"https://example.org/x\",\"total\":3,\"validator\":null}",
        ] {
            fs::write(folder.path().join(BYTES), "12345").unwrap();
            fs::write(folder.path().join(ABOUT), about).unwrap();
            assert_eq!(
                Partial::open(folder.path(), &url).unwrap().kept().bytes,
                0,
                "{about}"
            );
        }
    }

    #[test]
    fn a_link_is_not_followed() {
        let folder = tempfile::tempdir().unwrap();
        let target = folder.path().join("target");
        fs::write(&target, "precious").unwrap();
        std::os::unix::fs::symlink(&target, folder.path().join(BYTES)).unwrap();
        let url: Url = "https://example.org/x".parse().unwrap();
        assert!(Partial::open(folder.path(), &url).is_err());
        assert_eq!(fs::read_to_string(&target).unwrap(), "precious");
    }
}
