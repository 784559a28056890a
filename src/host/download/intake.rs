//! What happens to bytes as they come: they are hashed, and looked at by another thread.

use std::fs::File;
use std::io::{self, Read};
use std::path::Path;
use std::sync::mpsc::{sync_channel, Receiver, SyncSender};
use std::thread::JoinHandle;

use anyhow::{bail, Context as _, Result};
use sha2::{Digest as _, Sha256};

use crate::facts::Bytes;
use crate::host::archive::{self, Scan};
use crate::plan::image::{Compression, Digest, NotAnImage, MAGIC};

/// How many bytes come at once.
pub const CHUNK: usize = 128 << 10;
/// How many chunks may wait for the one who looks at them.
const WAITING: usize = 16;

/// Takes a file's bytes in.
#[derive(Default)]
pub struct Intake {
    hasher: Sha256,
    look: Look,
}

enum Look {
    /// The first bytes, as long as there are not enough to know what it is.
    Starting(Vec<u8>),
    Streaming(Scanner),
}

impl Default for Look {
    fn default() -> Self {
        Self::Starting(Vec::new())
    }
}

impl Intake {
    /// Takes in what is in a file already.
    ///
    /// # Errors
    /// If it cannot be read, or is no image ([`NotAnImage`]).
    pub fn of_file(path: &Path) -> Result<Self> {
        let mut intake = Self::default();
        let mut file = File::open(path).with_context(|| format!("opening {}", path.display()))?;
        loop {
            let mut chunk = vec![0; CHUNK];
            let count = file
                .read(&mut chunk)
                .with_context(|| format!("reading {}", path.display()))?;
            if count == 0 {
                return Ok(intake);
            }
            chunk.truncate(count);
            intake.take(chunk)?;
        }
    }

    /// Digest and content of a whole file.  Its digest is told also of one that is no image.
    ///
    /// # Errors
    /// If it cannot be read.
    pub fn read(path: &Path) -> Result<(Digest, Bytes, Result<Scan, String>)> {
        let mut intake = Self::default();
        let (mut bytes, mut wrong) = (0, None);
        let mut file = File::open(path).with_context(|| format!("opening {}", path.display()))?;
        loop {
            let mut chunk = vec![0; CHUNK];
            let count = file
                .read(&mut chunk)
                .with_context(|| format!("reading {}", path.display()))?;
            if count == 0 {
                break;
            }
            bytes += count as u64;
            chunk.truncate(count);
            if wrong.is_some() {
                intake.hasher.update(&chunk);
            } else {
                wrong = intake.take(chunk).err();
            }
        }
        let (digest, scan) = intake.finish();
        let scan = match wrong {
            Some(wrong) => Err(wrong),
            None => scan,
        };
        Ok((
            digest,
            Bytes(bytes),
            scan.map_err(|error| format!("{error:#}")),
        ))
    }

    /// Takes some bytes in.
    ///
    /// # Errors
    /// If what has come so far is no image ([`NotAnImage`]).
    pub fn take(&mut self, chunk: Vec<u8>) -> Result<()> {
        self.hasher.update(&chunk);
        match &mut self.look {
            Look::Starting(start) => {
                start.extend_from_slice(&chunk);
                if start.len() >= MAGIC {
                    let start = std::mem::take(start);
                    self.start(start)?;
                }
                Ok(())
            }
            Look::Streaming(scanner) => scanner.send(chunk),
        }
    }

    fn start(&mut self, start: Vec<u8>) -> Result<()> {
        let compression = Compression::of(&start)?;
        let mut scanner = Scanner::start(compression);
        scanner.send(start)?;
        self.look = Look::Streaming(scanner);
        Ok(())
    }

    /// The digest of all that came, and what was seen in it.
    ///
    /// # Errors
    /// If it is no image ([`NotAnImage`]); the digest comes all the same.
    pub fn finish(mut self) -> (Digest, Result<Scan>) {
        let digest = hexadecimal(&self.hasher.finalize_reset());
        let scan = (|| {
            if let Look::Starting(start) = &mut self.look {
                let start = std::mem::take(start);
                self.start(start)?;
            }
            match self.look {
                Look::Streaming(scanner) => scanner.end(),
                Look::Starting(_) => bail!(NotAnImage("it is empty".into())),
            }
        })();
        (digest, scan)
    }
}

fn hexadecimal(bytes: &[u8]) -> Digest {
    use std::fmt::Write as _;
    let mut text = String::with_capacity(64);
    for byte in bytes {
        let _ = write!(text, "{byte:02x}");
    }
    text.parse()
        .unwrap_or_else(|_| unreachable!("SHA-256 has 32 bytes"))
}

/// A thread that reads the tarball that is coming.
struct Scanner {
    chunks: Option<SyncSender<Vec<u8>>>,
    thread: Option<JoinHandle<Result<Scan>>>,
}

impl Scanner {
    fn start(compression: Compression) -> Self {
        let (chunks, receiver) = sync_channel(WAITING);
        let reader = Chunks {
            receiver,
            chunk: Vec::new(),
            at: 0,
        };
        Self {
            chunks: Some(chunks),
            thread: Some(std::thread::spawn(move || {
                archive::scan(compression, reader)
            })),
        }
    }

    fn send(&mut self, chunk: Vec<u8>) -> Result<()> {
        let Some(chunks) = &self.chunks else {
            return Ok(());
        };
        if chunks.send(chunk).is_ok() {
            return Ok(());
        }
        // It reads to the end unless it has found something.
        self.chunks = None;
        self.join().map(drop)
    }

    fn end(mut self) -> Result<Scan> {
        self.chunks = None;
        self.join()
    }

    fn join(&mut self) -> Result<Scan> {
        let gone = || NotAnImage("reading it ended unexpectedly".into());
        let thread = self.thread.take().ok_or_else(gone)?;
        thread.join().map_err(|_| gone())?
    }
}

/// Chunks as something to read from.
struct Chunks {
    receiver: Receiver<Vec<u8>>,
    chunk: Vec<u8>,
    at: usize,
}

impl Read for Chunks {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        while self.at == self.chunk.len() {
            match self.receiver.recv() {
                Ok(chunk) => (self.chunk, self.at) = (chunk, 0),
                Err(_) => return Ok(0),
            }
        }
        let count = buffer.len().min(self.chunk.len() - self.at);
        buffer[..count].copy_from_slice(&self.chunk[self.at..self.at + count]);
        self.at += count;
        Ok(count)
    }
}
