//! Reading a tarball from its first byte to its last, to see whether it is an image.

use std::cell::Cell;
use std::io::{self, BufRead as _, BufReader, Read, Seek, SeekFrom, Write};
use std::os::fd::AsFd as _;
use std::process::{Command, Stdio};
use std::rc::Rc;

use anyhow::{bail, Context as _, Result};
use nix::fcntl::{fcntl, FcntlArg};

use crate::facts::Bytes;
use crate::plan::image::{
    zstd_window, Compression, Entries, EntryKind, Metadata, NotAnImage, FRAME,
};

/// More than any image's metadata or longest path takes.
const LONGEST: u64 = 1 << 20;

/// How far back a zstd file may look to be unpacked here: what `zstd` makes without `--long`.
const WINDOW: Bytes = Bytes::mib(8);

/// What a pipe to or from a program holds.
const PIPE: i32 = 1 << 20;

/// How much is unpacked at once.
const PIECE: usize = 128 << 10;

/// What was learned of an image.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Scan {
    /// What it takes unpacked.
    pub unpacked: Bytes,
}

/// Looks at an image as it comes.
///
/// # Errors
/// If it is no image for this host ([`NotAnImage`]), or cannot be read.
pub fn scan(compression: Compression, mut reader: impl Read + Send) -> Result<Scan> {
    let scan = match compression {
        Compression::None => entries(&mut reader),
        Compression::Gzip => {
            let packed = BufReader::with_capacity(PIECE, &mut reader);
            entries(flate2::bufread::MultiGzDecoder::new(packed))
        }
        Compression::Zstd => unpacked_by_zstd(&mut reader),
        Compression::Xz => unpacked_by("xz", &mut reader),
        Compression::Bzip2 => unpacked_by("bzip2", &mut reader),
    }?;
    // Whoever sends the bytes is to get rid of the padding, too.
    io::copy(&mut reader, &mut io::sink()).context("reading to the end")?;
    Ok(scan)
}

/// What looks far back takes as much memory: that is left to the program, which ends with it.
fn unpacked_by_zstd(packed: &mut (impl Read + Send)) -> Result<Scan> {
    let mut head = Vec::with_capacity(FRAME);
    packed
        .by_ref()
        .take(FRAME as u64)
        .read_to_end(&mut head)
        .context("reading its first bytes")?;
    let near = zstd_window(&head).is_some_and(|window| window <= WINDOW);
    let mut whole = io::Cursor::new(head).chain(packed);
    if !near {
        return unpacked_by("zstd", &mut whole);
    }
    let whole = BufReader::with_capacity(PIECE, whole);
    let mut plain = zstd::Decoder::with_buffer(whole).context("unpacking zstd")?;
    let scan = entries(&mut plain)?;
    io::copy(&mut plain, &mut io::sink())
        .map_err(|error| NotAnImage(format!("it is damaged: {error}")))?;
    Ok(scan)
}

/// Has a program of the host unpack it, while it comes.
fn unpacked_by(program: &str, packed: &mut (impl Read + Send)) -> Result<Scan> {
    let mut child = Command::new(program)
        .arg("-dc")
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .with_context(|| format!("unpacking it with {program}: install that"))?;
    let (Some(input), Some(mut output)) = (child.stdin.take(), child.stdout.take()) else {
        bail!("unpacking it with {program}: no pipes");
    };
    for pipe in [input.as_fd(), output.as_fd()] {
        // Fewer, larger pieces; where that is not allowed, small ones do as well.
        let _ = fcntl(pipe, FcntlArg::F_SETPIPE_SZ(PIPE));
    }
    std::thread::scope(|scope| {
        // That it went away half-way is seen at the other end.
        scope.spawn(move || feed(packed, input));
        let scan = entries(&mut output).and_then(|scan| {
            io::copy(&mut output, &mut io::sink()).context("reading to the end")?;
            Ok(scan)
        });
        // Where the scan ended early nobody reads any more; but what is damaged ends early, too.
        let more = scan.is_err() && output.read(&mut [0]).is_ok_and(|count| count > 0);
        if more {
            child.kill().ok();
        }
        let ended = child
            .wait()
            .with_context(|| format!("waiting for {program}"))?;
        if !more && !ended.success() {
            bail!(NotAnImage(format!(
                "it is damaged: {program} cannot unpack it"
            )));
        }
        scan
    })
}

/// Hands bytes on in large pieces, as long as there are some and somebody takes them.
fn feed(from: &mut impl Read, mut to: impl Write) {
    let mut piece = vec![0; PIECE];
    while let Ok(count @ 1..) = from.read(&mut piece) {
        if to.write_all(&piece[..count]).is_err() {
            return;
        }
    }
}

/// Looks at the entries of a tarball.  It is taken in large pieces: small ones cost half as much
/// again where it is unpacked.
fn entries(reader: impl Read) -> Result<Scan> {
    let damaged = |error: io::Error| NotAnImage(format!("it is damaged: {error}"));
    let budget = Rc::new(Cell::new(LONGEST));
    let mut archive = tar::Archive::new(Bounded {
        inner: BufReader::with_capacity(PIECE, reader),
        at: 0,
        budget: Rc::clone(&budget),
    });
    let mut seen = Entries::default();
    // What is in files is skipped where it lies.
    for entry in archive.entries_with_seek().map_err(damaged)? {
        let mut entry = entry.map_err(damaged)?;
        let kind = match entry.header().entry_type() {
            tar::EntryType::Directory => EntryKind::Directory,
            tar::EntryType::Symlink => EntryKind::Symlink,
            tar::EntryType::Link => EntryKind::HardLink,
            kind if kind.is_file() => EntryKind::File,
            _ => EntryKind::Other,
        };
        let link = entry.link_name_bytes().map(std::borrow::Cow::into_owned);
        let is_metadata = seen.see(&entry.path_bytes(), kind, link.as_deref(), entry.size())?;
        if is_metadata {
            budget.set(u64::MAX);
            let mut text = Vec::new();
            (&mut entry)
                .take(LONGEST)
                .read_to_end(&mut text)
                .map_err(damaged)?;
            Metadata::read(&text, std::env::consts::ARCH)?;
        }
        budget.set(LONGEST);
    }
    Ok(Scan {
        unpacked: Bytes(seen.end()?),
    })
}

/// Bounds what is read between two entries: long names are kept in memory.  What is skipped does
/// not count.
struct Bounded<R> {
    inner: BufReader<R>,
    at: u64,
    budget: Rc<Cell<u64>>,
}

/// Forward only, by as much as there is.
impl<R: Read> Seek for Bounded<R> {
    fn seek(&mut self, to: SeekFrom) -> io::Result<u64> {
        let SeekFrom::Current(forward) = to else {
            return Err(io::Error::other("a stream has no place to go to"));
        };
        let mut left = usize::try_from(forward).map_err(io::Error::other)?;
        while left > 0 {
            let here = self.inner.fill_buf()?.len().min(left);
            if here == 0 {
                return Err(io::ErrorKind::UnexpectedEof.into());
            }
            self.inner.consume(here);
            self.at += here as u64;
            left -= here;
        }
        Ok(self.at)
    }
}

impl<R: Read> Read for Bounded<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let count = self.inner.read(buffer)?;
        self.at += count as u64;
        let left = self.budget.get().checked_sub(count as u64);
        self.budget
            .set(left.ok_or_else(|| io::Error::other("a header of more than 1 MiB"))?);
        Ok(count)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::plan::image::MAGIC;

    fn tarball(files: &[(&str, &str)]) -> Vec<u8> {
        let mut builder = tar::Builder::new(Vec::new());
        for (name, text) in files {
            let mut header = tar::Header::new_gnu();
            header.set_size(text.len() as u64);
            header.set_mode(0o644);
            builder
                .append_data(&mut header, name, text.as_bytes())
                .unwrap();
        }
        builder.into_inner().unwrap()
    }

    fn image() -> Vec<u8> {
        let metadata = format!(
            "architecture: {}\nproperties: {{}}\n",
            std::env::consts::ARCH
        );
        let long = format!("rootfs/{}", "x/".repeat(100));
        tarball(&[
            ("metadata.yaml", &metadata),
            ("rootfs/a", "a"),
            (&long, "b"),
        ])
    }

    fn gzip(bytes: &[u8]) -> Vec<u8> {
        let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
        encoder.write_all(bytes).unwrap();
        encoder.finish().unwrap()
    }

    fn zstd(bytes: &[u8], window: u32) -> Vec<u8> {
        let mut encoder = zstd::Encoder::new(Vec::new(), 1).unwrap();
        encoder.window_log(window).unwrap();
        encoder.write_all(bytes).unwrap();
        encoder.finish().unwrap()
    }

    fn file(bytes: &[u8]) -> Result<Scan> {
        scan(Compression::of(&bytes[..bytes.len().min(MAGIC)])?, bytes)
    }

    fn not_an_image(bytes: &[u8]) -> String {
        let error = file(bytes).unwrap_err();
        error.downcast::<NotAnImage>().unwrap().0
    }

    #[test]
    fn images_are_recognised() {
        assert!(file(&image()).is_ok());
        assert!(file(&gzip(&image())).is_ok());
        // As gzip concatenates, and as some tools pad.
        let (one, two) = (gzip(&image()[..700]), gzip(&image()[700..]));
        assert!(file(&[one, two].concat()).is_ok());
    }

    #[test]
    fn the_programs_of_the_host_unpack_the_rest() {
        for program in ["xz", "zstd", "bzip2"] {
            let folder = tempfile::tempdir().unwrap();
            let path = folder.path().join("image");
            std::fs::write(&path, image()).unwrap();
            let packed = Command::new(program).arg("-c").arg(&path).output();
            let Ok(packed) = packed else { continue };
            let packed = packed.stdout;
            assert!(file(&packed).is_ok(), "{program}");
            assert!(file(&packed[..packed.len() - 20]).is_err(), "{program}");
            if program == "zstd" {
                let damaged = not_an_image(&packed[..packed.len() - 2]);
                assert!(damaged.contains("damaged"), "{damaged}");
                // In two frames, and one that looks far back.
                assert!(
                    file(&[zstd(&image()[..700], 23), zstd(&image()[700..], 23)].concat()).is_ok()
                );
                let far = zstd(&image(), 27);
                assert!(zstd_window(&far) > Some(WINDOW));
                assert!(file(&far).is_ok());
            }
        }
    }

    #[test]
    fn other_files_are_not() {
        assert!(not_an_image(b"").contains("empty"));
        assert!(not_an_image(b"<html>").contains("web page"));
        assert!(not_an_image(&tarball(&[("x", "y")])).contains("neither metadata.yaml nor rootfs"));
        let whole = gzip(&image());
        assert!(not_an_image(&whole[..whole.len() / 2]).contains("damaged"));
        let mut climbing = image();
        climbing[1024..1024 + 9].copy_from_slice(b"../../xyz");
        assert!(file(&climbing).is_err());
        let other = tarball(&[
            ("metadata.yaml", "architecture: s390x\n"),
            ("rootfs/a", "a"),
        ]);
        assert!(not_an_image(&other).contains("s390x"));
    }

    #[test]
    fn a_giant_header_is_not_kept_in_memory() {
        let mut builder = tar::Builder::new(Vec::new());
        let name = "x".repeat(2 << 20);
        let mut header = tar::Header::new_gnu();
        header.set_entry_type(tar::EntryType::GNULongName);
        header.set_path("././@LongLink").unwrap();
        header.set_size(name.len() as u64);
        header.set_cksum();
        builder.append(&header, name.as_bytes()).unwrap();
        let bytes = builder.into_inner().unwrap();
        assert!(not_an_image(&bytes).contains("more than 1 MiB"));
    }
}
