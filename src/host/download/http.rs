//! Answers and errors of the HTTP client, in this program's words.

use std::io::{self, Read as _};
use std::sync::mpsc::{sync_channel, Receiver};

use super::intake::CHUNK;
use super::{Stop, Trouble};
use crate::plan::image::{ContentRange, Head, Url, Validator};

/// Why a server was not reached; some of it will be so the next time, too.
pub(super) fn unreachable(url: &Url, error: &ureq::Error) -> Stop {
    let why = format!("fetching {}: {error}", url.plain());
    match error {
        ureq::Error::Rustls(_) | ureq::Error::Tls(_) => {
            let why =
                format!("{why}; nothing is fetched from a server that cannot prove who it is");
            Stop::Final(Trouble::Refused(why))
        }
        ureq::Error::Io(inner) if inner.to_string().contains("certificate") => {
            let why =
                format!("{why}; nothing is fetched from a server that cannot prove who it is");
            Stop::Final(Trouble::Refused(why))
        }
        ureq::Error::BadUri(_) | ureq::Error::Http(_) | ureq::Error::InvalidProxyUrl => {
            Stop::Final(Trouble::Refused(why))
        }
        _ => Stop::Later { why, after: None },
    }
}

pub(super) fn head(response: &ureq::http::Response<ureq::Body>) -> Head {
    let header = |name: &str| response.headers().get(name)?.to_str().ok();
    Head {
        status: response.status().as_u16(),
        length: header("content-length").and_then(|text| text.trim().parse().ok()),
        range: header("content-range").and_then(ContentRange::parse),
        validator: Validator::of(header("etag"), header("last-modified")),
        retry_after: header("retry-after").map(ToOwned::to_owned),
        location: header("location").map(ToOwned::to_owned),
    }
}

/// The body in chunks, read by a thread of its own: a slow disk does not keep the network waiting,
/// and a slow network does not keep this program from hearing that it is to stop.
pub(super) fn chunks(response: ureq::http::Response<ureq::Body>) -> Receiver<io::Result<Vec<u8>>> {
    let (sender, receiver) = sync_channel(8);
    std::thread::spawn(move || {
        let mut reader = response.into_body().into_reader();
        loop {
            let mut chunk = vec![0; CHUNK];
            let read = reader.read(&mut chunk);
            let end = !matches!(read, Ok(count) if count > 0);
            let chunk = match read {
                Ok(0) => return,
                Ok(count) => {
                    chunk.truncate(count);
                    Ok(chunk)
                }
                Err(error) => Err(error),
            };
            if sender.send(chunk).is_err() || end {
                return;
            }
        }
    });
    receiver
}

/// A number from 0 to 1, another one each time and on each machine.
pub(super) fn chance() -> f64 {
    use std::hash::{BuildHasher as _, RandomState};
    let number = RandomState::new().hash_one(std::process::id());
    f64::from(u32::try_from(number >> 32).unwrap_or_default()) / f64::from(u32::MAX)
}
