//! Handing an image to the daemon while it comes.
//!
//! The daemon gets the bytes as they are fetched.  What it does not get is the end: the five bytes
//! that say that there are no more are sent by [`Held::commit`] alone, once the digest is right and
//! every path was looked at.  Without them the daemon throws away what it has, and never looks at
//! it, also if this program is killed.  `docs/decisions/0050-upload-without-an-end.md` says how
//! that was found out.

use std::fs::File;
use std::io::{self, BufRead as _, BufReader, Read as _, Write as _};
use std::net::Shutdown;
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;
use std::time::Duration;

use serde::Deserialize;

use super::images::MARKED;
use crate::host::Machine;
use crate::plan::image::Digest;

/// How much is handed over at once.
const PIECE: u64 = 1 << 20;
/// More than any answer of the daemon's has.
const LONGEST: u64 = 1 << 20;
/// How often it is looked whether somebody asked to stop.
const LOOK: Duration = Duration::from_millis(100);
/// How long the daemon may take to forget what it was handed.
const FAREWELL: Duration = Duration::from_secs(5);
/// What says that all bytes came.
const END: &[u8] = b"0\r\n\r\n";

/// A file that is being handed over while it grows.
pub struct Upload {
    shared: Arc<Shared>,
    /// To end what the thread waits for.
    stream: UnixStream,
    thread: Option<JoinHandle<()>>,
}

/// A file of which the daemon has everything but the word that this is all.
pub struct Held {
    stream: Option<UnixStream>,
}

#[derive(Default)]
struct Shared {
    state: Mutex<State>,
    changed: Condvar,
}

#[derive(Default)]
struct State {
    /// How much of the file may be handed over.
    here: u64,
    /// How much was.
    sent: u64,
    /// Nobody wants it any more.
    over: bool,
    /// Why no more is taken.
    failed: Option<String>,
}

impl Shared {
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Upload {
    /// Begins to hand a file over, of which nothing needs to be here yet.  With the digest the
    /// daemon looks by itself, too, whether it has the right one.
    ///
    /// # Errors
    /// If the file cannot be read, or the daemon not be reached.
    pub fn begin(
        machine: &Machine,
        path: &Path,
        project: &str,
        digest: Option<&Digest>,
    ) -> io::Result<Self> {
        let file = File::open(path)?;
        let mut stream = UnixStream::connect(socket(machine))?;
        // A daemon that takes nothing for so long does not answer questions either.
        stream.set_write_timeout(Some(machine.bounds.query))?;
        let name = path.file_name().unwrap_or_default().to_string_lossy();
        stream.write_all(head(&name, project, digest).as_bytes())?;
        Self::of(file, stream)
    }

    fn of(file: File, stream: UnixStream) -> io::Result<Self> {
        let shared: Arc<Shared> = Arc::default();
        let (seen, ours) = (Arc::clone(&shared), stream.try_clone()?);
        let thread = std::thread::spawn(move || {
            if let Err(error) = follow(&seen, &file, &ours) {
                seen.state().failed = Some(error.to_string());
                seen.changed.notify_all();
            }
        });
        Ok(Self {
            shared,
            stream,
            thread: Some(thread),
        })
    }

    /// So many bytes of the file are here.
    pub fn here(&self, bytes: u64) {
        self.shared.state().here = bytes;
        self.shared.changed.notify_all();
    }

    /// How many bytes the daemon was handed.
    #[must_use]
    pub fn sent(&self) -> u64 {
        self.shared.state().sent
    }

    /// Waits until the daemon has all of the file, but for its end.
    ///
    /// # Errors
    /// If the daemon does not take it, or somebody asked to stop.
    pub fn hold(self, bytes: u64, stop: impl Fn() -> bool) -> Result<Held, String> {
        self.here(bytes);
        let mut state = self.shared.state();
        while state.sent < bytes {
            if let Some(why) = &state.failed {
                return Err(why.clone());
            }
            if stop() {
                return Err("stopped, as asked for".into());
            }
            let waited = self.shared.changed.wait_timeout(state, LOOK);
            state = waited.unwrap_or_else(PoisonError::into_inner).0;
        }
        drop(state);
        let stream = self.stream.try_clone().map_err(|error| error.to_string())?;
        self.end();
        Ok(Held {
            stream: Some(stream),
        })
    }

    /// Ends the thread.
    fn end(mut self) {
        self.shared.state().over = true;
        self.shared.changed.notify_all();
        if let Some(thread) = self.thread.take() {
            thread.join().ok();
        }
    }
}

impl Drop for Upload {
    fn drop(&mut self) {
        let Some(thread) = self.thread.take() else {
            return;
        };
        self.shared.state().over = true;
        self.shared.changed.notify_all();
        let_go(&self.stream);
        thread.join().ok();
    }
}

impl Drop for Held {
    fn drop(&mut self) {
        if let Some(stream) = &self.stream {
            let_go(stream);
        }
    }
}

/// Breaks off before the end, so that the daemon forgets what it has; once it has done so it says
/// that something was missing.
fn let_go(mut stream: &UnixStream) {
    let told = stream
        .shutdown(Shutdown::Write)
        .and_then(|()| stream.set_read_timeout(Some(FAREWELL)));
    if told.is_ok() {
        // Whatever it says, it is through with it.
        let _ = stream.read(&mut [0]);
    }
}

/// Hands over what is here, until all is over.
fn follow(shared: &Shared, file: &File, mut stream: &UnixStream) -> io::Result<()> {
    let mut state = shared.state();
    loop {
        if state.over {
            return Ok(());
        }
        let piece = (state.here - state.sent.min(state.here)).min(PIECE);
        if piece == 0 {
            let waited = shared.changed.wait(state);
            state = waited.unwrap_or_else(PoisonError::into_inner);
            continue;
        }
        let mut at = state.sent;
        let end = at + piece;
        drop(state);
        write!(stream, "{piece:x}\r\n")?;
        while at < end {
            let left = usize::try_from(end - at).map_err(io::Error::other)?;
            // From the kernel's cache, without a copy of it in this program.
            match rustix::fs::sendfile(stream, file, Some(&mut at), left) {
                Ok(0) => return Err(io::Error::other("the file is shorter than it was")),
                Ok(_) | Err(rustix::io::Errno::INTR) => {}
                Err(error) => return Err(error.into()),
            }
        }
        stream.write_all(b"\r\n")?;
        state = shared.state();
        state.sent = end;
        shared.changed.notify_all();
    }
}

impl Held {
    /// Says that this is all: from now on the daemon makes an image of it.  The path of what it
    /// does, which goes on by itself.
    ///
    /// # Errors
    /// If it did not come to that: why, in the daemon's words where there are some.
    pub fn commit(mut self, patience: Duration) -> Result<String, String> {
        let Some(mut stream) = self.stream.take() else {
            return Err("there is no connection any more".into());
        };
        let said = stream.write_all(END).and_then(|()| {
            stream.set_read_timeout(Some(patience))?;
            answer(&stream)
        });
        let (status, body) = said.map_err(|error| error.to_string())?;
        operation(status, &body)
    }
}

/// Where the daemon listens, as its client finds it.
fn socket(machine: &Machine) -> std::path::PathBuf {
    let named = std::env::var_os("INCUS_SOCKET").filter(|path| !path.is_empty());
    named.map_or_else(|| machine.paths.incus.join("unix.socket"), Into::into)
}

fn head(name: &str, project: &str, digest: Option<&Digest>) -> String {
    let expected = digest.map_or_else(String::new, |digest| {
        format!("X-Incus-fingerprint: {digest}\r\n")
    });
    format!(
        "POST /1.0/images?project={project} HTTP/1.1\r\nHost: incus\r\n\
         User-Agent: taos-setup\r\nContent-Type: application/octet-stream\r\n\
         X-Incus-filename: {name}\r\nX-Incus-properties: {MARKED}\r\n{expected}\
         Transfer-Encoding: chunked\r\n\r\n"
    )
}

/// The status of an answer, and its body.
fn answer(stream: &UnixStream) -> io::Result<(u16, Vec<u8>)> {
    let mut reader = BufReader::new(stream).take(LONGEST);
    let mut line = String::new();
    reader.read_line(&mut line)?;
    let status = line.split(' ').nth(1).and_then(|word| word.parse().ok());
    let mut length = 0;
    loop {
        line.clear();
        if reader.read_line(&mut line)? == 0 || line.trim().is_empty() {
            break;
        }
        if let Some((name, value)) = line.split_once(':') {
            if name.eq_ignore_ascii_case("content-length") {
                length = value.trim().parse().unwrap_or(0);
            }
        }
    }
    let mut body = Vec::new();
    reader.take(length).read_to_end(&mut body)?;
    let status = status.ok_or_else(|| io::Error::other("its answer is no HTTP"))?;
    Ok((status, body))
}

/// What the daemon does now, from its answer.
fn operation(status: u16, body: &[u8]) -> Result<String, String> {
    #[derive(Deserialize)]
    struct Answer {
        #[serde(default)]
        operation: String,
        #[serde(default)]
        error: String,
    }
    let answer: Answer = serde_json::from_slice(body)
        .map_err(|_| format!("it answers with status {status}, and no document"))?;
    let plain = |c: char| c.is_ascii_alphanumeric() || "/.-".contains(c);
    if status == 202
        && answer.operation.starts_with("/1.0/operations/")
        && answer.operation.chars().all(plain)
    {
        return Ok(answer.operation);
    }
    Err(format!("it answers with status {status}: {}", answer.error))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn answers_are_understood() {
        let accepted = br#"{"type":"async","operation":"/1.0/operations/ab-1","error":""}"#;
        assert_eq!(operation(202, accepted).unwrap(), "/1.0/operations/ab-1");
        for (status, body, words) in [
            (500, &br#"{"error":"no space left"}"#[..], "500: no space"),
            (200, &accepted[..], "200"),
            (202, &b"{}"[..], "202"),
            (202, &br#"{"operation":"/1.0/operations/x?y"}"#[..], "202"),
            (400, &b"<html>"[..], "no document"),
        ] {
            let why = operation(status, body).unwrap_err();
            assert!(why.contains(words), "{why}");
        }
        let (here, mut there) = UnixStream::pair().unwrap();
        there
            .write_all(b"HTTP/1.1 202 Accepted\r\nA: b\r\ncontent-length: 2\r\n\r\n{}more")
            .unwrap();
        assert_eq!(answer(&here).unwrap(), (202, b"{}".to_vec()));
        drop(there);
        assert!(answer(&here).is_err());
    }

    #[test]
    fn the_end_is_sent_by_the_commit_alone() {
        let file = tempfile::NamedTempFile::new().unwrap();
        let bytes: Vec<u8> = (0..3_000_000_u32).map(|at| at.to_le_bytes()[1]).collect();
        std::fs::write(file.path(), &bytes).unwrap();
        for commit in [false, true] {
            let (ours, mut theirs) = UnixStream::pair().unwrap();
            let daemon = std::thread::spawn(move || {
                let mut came = Vec::new();
                let mut piece = [0; 4096];
                loop {
                    match theirs.read(&mut piece).unwrap() {
                        0 => return came,
                        count => came.extend_from_slice(&piece[..count]),
                    }
                    if came.ends_with(b"\r\n0\r\n\r\n") {
                        theirs
                            .write_all(
                                b"HTTP/1.1 500 No\r\nContent-Length: 13\r\n\r\n{\"error\":\"x\"}",
                            )
                            .unwrap();
                    }
                }
            });
            let upload = Upload::of(file.reopen().unwrap(), ours).unwrap();
            upload.here(1_500_000);
            let held = upload.hold(bytes.len() as u64, || false).unwrap();
            if commit {
                let why = held.commit(Duration::from_secs(5)).unwrap_err();
                assert!(why.contains("500: x"), "{why}");
            } else {
                drop(held);
            }
            let came = daemon.join().unwrap();
            assert_eq!(came.ends_with(END), commit);
            let mut body = Vec::new();
            let mut rest = &came[..];
            while let Some(line) = rest.iter().position(|byte| *byte == b'\n') {
                let size = std::str::from_utf8(&rest[..line - 1]).unwrap();
                let size = usize::from_str_radix(size, 16).unwrap();
                body.extend_from_slice(&rest[line + 1..][..size]);
                rest = &rest[line + 1 + size + 2..];
            }
            assert!(body == bytes);
        }
    }
}
