//! A server of files that misbehaves on command.
#![allow(dead_code, reason = "each test program uses a part of it")]

use std::collections::{BTreeMap, VecDeque};
use std::io::{BufRead as _, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

/// How one answer goes wrong.
#[derive(Debug, Clone)]
pub enum Trick {
    /// Nothing is wrong with it.
    Well,
    /// The connection is cut after so many bytes of the body.
    Cut(usize),
    /// The whole file, whatever range was asked for; cut after so many bytes.
    IgnoreRange(usize),
    /// This length is claimed, and the file is sent.
    ClaimLength(usize),
    /// No length at all; the end of the connection is the end of the file.
    NoLength,
    /// This status and these headers, and nothing else.
    Status(u16, &'static str),
    /// Another body with status 200.
    Body(&'static str),
    /// So many bytes, and then silence.
    Stall(usize),
    /// A byte in so many milliseconds.
    Trickle(u64),
    /// From now on the file is this one.
    Change(Vec<u8>),
    /// So many bytes, then a pause, then the rest.
    Pause(usize, Duration),
    /// So many bytes, and the rest once this is set.
    Until(usize, Arc<AtomicBool>),
}

/// A request, as it came, and what was sent of a body.
#[derive(Debug, Clone)]
pub struct Request {
    pub path: String,
    pub range: Option<u64>,
    pub if_range: Option<String>,
    pub sent: usize,
}

#[derive(Default)]
struct State {
    files: BTreeMap<String, (Vec<u8>, u32)>,
    tricks: BTreeMap<String, VecDeque<Trick>>,
    forever: BTreeMap<String, Trick>,
    etags: bool,
    requests: Vec<Request>,
}

/// A running server; it ends with the test program.
pub struct Server {
    pub port: u16,
    state: Arc<Mutex<State>>,
}

impl Server {
    pub fn start() -> Self {
        Self::on(TcpListener::bind("127.0.0.1:0").expect("binding a port"))
    }

    pub fn on(listener: TcpListener) -> Self {
        let port = listener.local_addr().expect("an address").port();
        let state = Arc::new(Mutex::new(State {
            etags: true,
            ..State::default()
        }));
        let shared = Arc::clone(&state);
        std::thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let state = Arc::clone(&shared);
                // A client that goes away is part of what is tested.
                std::thread::spawn(move || drop(serve(&stream, &state)));
            }
        });
        Self { port, state }
    }

    pub fn url(&self, path: &str) -> String {
        format!("http://127.0.0.1:{}{path}", self.port)
    }

    pub fn put(&self, path: &str, bytes: impl Into<Vec<u8>>) {
        let mut state = self.state.lock().expect("the state");
        let version = state.files.get(path).map_or(1, |(_, version)| version + 1);
        state.files.insert(path.into(), (bytes.into(), version));
    }

    pub fn remove(&self, path: &str) {
        self.state.lock().expect("the state").files.remove(path);
    }

    /// What goes wrong with the next answers for a path, in turn.
    pub fn next(&self, path: &str, tricks: &[Trick]) {
        let mut state = self.state.lock().expect("the state");
        state
            .tricks
            .insert(path.into(), tricks.iter().cloned().collect());
    }

    /// What goes wrong with every answer for a path that nothing else is said of.
    pub fn always(&self, path: &str, trick: Trick) {
        self.state
            .lock()
            .expect("the state")
            .forever
            .insert(path.into(), trick);
    }

    pub fn without_etags(&self) {
        self.state.lock().expect("the state").etags = false;
    }

    pub fn requests(&self, path: &str) -> Vec<Request> {
        let state = self.state.lock().expect("the state");
        state
            .requests
            .iter()
            .filter(|request| request.path == path)
            .cloned()
            .collect()
    }

    /// Forgets the requests for a path.
    pub fn forget(&self, path: &str) {
        let mut state = self.state.lock().expect("the state");
        // A request that goes on keeps its place.
        for request in &mut state.requests {
            if request.path == path {
                request.path.clear();
            }
        }
    }

    /// Bytes of bodies that were sent for a path.
    pub fn sent(&self, path: &str) -> usize {
        self.requests(path).iter().map(|request| request.sent).sum()
    }
}

#[allow(
    clippy::too_many_lines,
    reason = "one answer, from its first line to its last"
)]
fn serve(stream: &TcpStream, state: &Mutex<State>) -> std::io::Result<()> {
    let mut reader = BufReader::new(stream.try_clone()?);
    let mut line = String::new();
    reader.read_line(&mut line)?;
    let path = line.split(' ').nth(1).unwrap_or_default().to_owned();
    let (mut range, mut if_range) = (None, None);
    loop {
        let mut header = String::new();
        if reader.read_line(&mut header)? == 0 || header.trim().is_empty() {
            break;
        }
        let (name, value) = header.split_once(':').unwrap_or_default();
        match name.to_lowercase().as_str() {
            "range" => {
                range = value
                    .trim()
                    .strip_prefix("bytes=")
                    .and_then(|range| range.split('-').next()?.parse().ok());
            }
            "if-range" => if_range = Some(value.trim().to_owned()),
            _ => {}
        }
    }
    let (index, trick, file, etags) = {
        let mut state = state.lock().expect("the state");
        let trick = state.tricks.get_mut(&path).and_then(VecDeque::pop_front);
        let trick = trick
            .or_else(|| state.forever.get(&path).cloned())
            .unwrap_or(Trick::Well);
        if let Trick::Change(bytes) = &trick {
            let version = state.files.get(&path).map_or(1, |(_, version)| version + 1);
            state.files.insert(path.clone(), (bytes.clone(), version));
        }
        state.requests.push(Request {
            path: path.clone(),
            range,
            if_range: if_range.clone(),
            sent: 0,
        });
        (
            state.requests.len() - 1,
            trick,
            state.files.get(&path).cloned(),
            state.etags,
        )
    };
    let sent = |bytes: &[u8]| -> std::io::Result<()> {
        let mut stream = stream;
        for part in bytes.chunks(8192) {
            stream.write_all(part)?;
            state.lock().expect("the state").requests[index].sent += part.len();
        }
        Ok(())
    };
    let head = |text: &str| {
        let mut stream = stream;
        stream.write_all(format!("{text}\r\nConnection: close\r\n\r\n").as_bytes())
    };
    match &trick {
        Trick::Status(status, headers) => {
            return head(&format!(
                "HTTP/1.1 {status} Trick\r\nContent-Length: 0{headers}"
            ));
        }
        Trick::Body(body) => {
            head(&format!(
                "HTTP/1.1 200 OK\r\nContent-Type: text/html\r\nContent-Length: {}",
                body.len()
            ))?;
            return sent(body.as_bytes());
        }
        _ => {}
    }
    let Some((file, version)) = file else {
        return head("HTTP/1.1 404 Not Found\r\nContent-Length: 0");
    };
    let etag = format!("\"v{version}\"");
    let tag_line = if etags {
        format!("\r\nETag: {etag}")
    } else {
        String::new()
    };
    let from = usize::try_from(range.unwrap_or(0)).expect("a small number");
    let same = if_range.is_none_or(|tag| tag == etag);
    let ranged = range.is_some() && same && !matches!(trick, Trick::IgnoreRange(_));
    let body = if ranged && from >= file.len() {
        return head(&format!(
            "HTTP/1.1 416 No\r\nContent-Length: 0\r\nContent-Range: bytes */{}",
            file.len()
        ));
    } else if ranged {
        let range = format!("bytes {from}-{}/{}", file.len() - 1, file.len());
        head(&format!(
            "HTTP/1.1 206 Partial\r\nContent-Range: {range}\r\nContent-Length: {}{tag_line}",
            file.len() - from
        ))?;
        &file[from..]
    } else {
        let length = match trick {
            Trick::ClaimLength(length) => format!("\r\nContent-Length: {length}"),
            Trick::NoLength => String::new(),
            _ => format!("\r\nContent-Length: {}", file.len()),
        };
        head(&format!("HTTP/1.1 200 OK{length}{tag_line}"))?;
        &file[..]
    };
    match trick {
        Trick::Cut(after) | Trick::IgnoreRange(after) => sent(&body[..after.min(body.len())]),
        Trick::Stall(after) => {
            sent(&body[..after.min(body.len())])?;
            // Until the client gives up.
            let _ = reader.read(&mut [0]);
            Ok(())
        }
        Trick::Trickle(pause) => {
            for byte in body {
                sent(&[*byte])?;
                std::thread::sleep(Duration::from_millis(pause));
            }
            Ok(())
        }
        Trick::Until(after, set) => {
            sent(&body[..after.min(body.len())])?;
            while !set.load(Ordering::SeqCst) {
                std::thread::sleep(Duration::from_millis(10));
            }
            sent(&body[after.min(body.len())..])
        }
        Trick::Pause(after, pause) => {
            sent(&body[..after.min(body.len())])?;
            std::thread::sleep(pause);
            sent(&body[after.min(body.len())..])
        }
        _ => sent(body),
    }
}
