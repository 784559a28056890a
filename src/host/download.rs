//! Fetching a file over HTTPS: resumed where it was cut, hashed and looked at while it comes.

use std::io::{self, Read as _};
use std::path::Path;
use std::sync::mpsc::{Receiver, RecvTimeoutError};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use anyhow::{Context as _, Result};
use ureq::typestate::WithoutBody;

mod http;
mod intake;
mod partial;
mod trust;
mod words;

use http::{chance, chunks, head, unreachable};
use intake::Intake;
pub use words::{Event, Fetched, Trouble, Watch};

pub use partial::{progress, remove, write_atomically, write_durably, Partial, BYTES as PARTIAL};

use super::archive::Scan;
use super::Bounds;
use crate::facts::Bytes;
use crate::plan::image::{Answer, Digest, Kept, Proxies, Retries, Url};

/// How many redirects are followed.
const HOPS: u32 = 10;
/// Fewer bytes in the time after which a connection counts as stalled is the same as none.
const TRICKLE: u64 = 1024;
/// How often it is looked whether somebody asked to stop.
const LOOK: Duration = Duration::from_millis(200);
/// How often it is begun anew, with a server that changes its mind each time.
const RESTARTS: u32 = 4;
/// How many bytes may come before the room is looked at again.
const ROOM_EACH: u64 = 32 << 20;

/// How patient to be.
#[derive(Debug, Clone, Copy)]
pub struct Patience {
    pub stall: Duration,
    pub retries: Retries,
}

impl Patience {
    /// Follows from how long the daemon may take for an answer: with 30 s, pauses from 1 s to 60 s.
    #[must_use]
    pub fn from_bounds(bounds: &Bounds) -> Self {
        Self {
            stall: bounds.query,
            retries: Retries {
                most: 8,
                first: bounds.query / 30,
                longest: bounds.query * 2,
                patience: bounds.query * 20,
            },
        }
    }
}

/// Speaks HTTP.
pub struct Client {
    agent: ureq::Agent,
    proxies: Proxies,
    patience: Patience,
}

/// What has happened in the tries so far.
struct Past {
    /// Whether there are bytes from before this run.
    resumed: bool,
    restarts: u32,
}

/// One try's end, if not success.
enum Stop {
    /// It may work another time.
    Later {
        why: String,
        after: Option<Duration>,
    },
    Final(Trouble),
}

impl From<Trouble> for Stop {
    fn from(trouble: Trouble) -> Self {
        Self::Final(trouble)
    }
}

impl Client {
    /// A client that follows no redirect by itself: each is to be looked at.
    #[must_use]
    pub fn new(patience: Patience) -> Self {
        let agent = ureq::Agent::config_builder()
            .max_redirects(0)
            .http_status_as_error(false)
            .timeout_connect(Some(patience.stall))
            .timeout_per_read(Some(patience.stall))
            .timeout_per_write(Some(patience.stall))
            .timeout_recv_response(Some(patience.stall))
            .user_agent(concat!("taos-setup/", env!("CARGO_PKG_VERSION")))
            .accept_encoding("identity")
            // Each connection is for one file, and memory is to stay flat.
            .max_idle_connections(0)
            // Which one is between is looked at for each address.
            .proxy(None)
            .tls_config(trust::tls())
            .build()
            .new_agent();
        Self {
            agent,
            proxies: Proxies::of(|name| std::env::var(name).ok()),
            patience,
        }
    }

    /// A small file as text; none if it is not there.
    ///
    /// # Errors
    /// If it does not come, or is larger than `most`.
    pub fn small(
        &self,
        url: &Url,
        most: u64,
        watch: &mut dyn Watch,
    ) -> Result<Option<String>, Trouble> {
        let mut failures = 0;
        loop {
            let why = match self.small_once(url, most) {
                Ok(text) => return Ok(text),
                Err(Stop::Final(trouble)) => return Err(trouble),
                Err(Stop::Later { why, after }) => (why, after),
            };
            failures += 1;
            self.pause(&why.0, failures, why.1, watch)?;
        }
    }

    fn small_once(&self, url: &Url, most: u64) -> Result<Option<String>, Stop> {
        let mut discarded = Kept::default();
        let response = match self.ask(url, &mut discarded) {
            Ok((_, response)) => response,
            Err(Stop::Final(Trouble::Missing(_))) => return Ok(None),
            Err(stop) => return Err(stop),
        };
        let mut bytes = Vec::new();
        let read = response
            .into_body()
            .into_reader()
            .take(most + 1)
            .read_to_end(&mut bytes);
        read.map_err(|error| Stop::Later {
            why: format!("fetching {}: {error}", url.plain()),
            after: None,
        })?;
        if bytes.len() as u64 > most {
            let why = format!("{} is larger than it should be", url.plain());
            return Err(Stop::Final(Trouble::Wrong(why)));
        }
        Ok(Some(String::from_utf8_lossy(&bytes).into_owned()))
    }

    /// Fetches a file into a folder.
    ///
    /// # Errors
    /// See [`Trouble`].
    pub fn fetch(
        &self,
        url: &Url,
        folder: &Path,
        watch: &mut dyn Watch,
    ) -> Result<Fetched, Trouble> {
        let mut partial = Partial::open(folder, url)?;
        let result = self.fetch_into(url, &mut partial, watch);
        if let Err(Trouble::Wrong(_) | Trouble::Full(_)) = &result {
            partial.remove()?;
        }
        result
    }

    fn fetch_into(
        &self,
        url: &Url,
        partial: &mut Partial,
        watch: &mut dyn Watch,
    ) -> Result<Fetched, Trouble> {
        let mut past = Past {
            resumed: partial.kept().bytes > 0,
            restarts: 0,
        };
        let mut intake = match Intake::of_file(partial.path()) {
            Ok(intake) => intake,
            // What is here was perhaps torn by a power cut; it deserves a second try.
            Err(error) if past.resumed => {
                watch.event(Event::StartingOver {
                    why: &error.to_string(),
                });
                partial.discard().context("emptying the partial file")?;
                Intake::default()
            }
            Err(error) => return Err(error.into()),
        };
        let mut failures = 0;
        while !partial.whole() {
            let before = partial.kept().bytes;
            let stop = match self.try_once(url, partial, &mut intake, &mut past, watch) {
                Ok(()) => break,
                Err(stop) => stop,
            };
            let (why, after) = match stop {
                Stop::Final(trouble) => return Err(trouble),
                Stop::Later { why, after } => (why, after),
            };
            let progress = partial.kept().bytes.saturating_sub(before);
            failures = if progress >= TRICKLE { 1 } else { failures + 1 };
            self.pause(&why, failures, after, watch)?;
        }
        let bytes = Bytes(partial.kept().bytes);
        let (digest, scan) = intake.finish();
        Ok(Fetched {
            digest,
            bytes,
            scan: scan.map_err(|error| format!("{error:#}")),
            resumed: past.resumed,
        })
    }

    /// Waits before another try, or gives up.
    fn pause(
        &self,
        why: &str,
        failures: u32,
        after: Option<Duration>,
        watch: &mut dyn Watch,
    ) -> Result<(), Trouble> {
        let Some(pause) = self.patience.retries.pause(failures, chance(), after) else {
            return Err(Trouble::Network(match after {
                Some(after) if failures <= self.patience.retries.most => {
                    format!("{why}, and asks to come back in {} s", after.as_secs())
                }
                _ => format!("{why}; given up after {failures} tries without anything coming"),
            }));
        };
        watch.event(Event::Pause { why, pause });
        let begun = Instant::now();
        while begun.elapsed() < pause {
            if watch.stop() {
                return Err(Trouble::Stopped);
            }
            std::thread::sleep(LOOK.min(pause.saturating_sub(begun.elapsed())));
        }
        Ok(())
    }

    fn try_once(
        &self,
        url: &Url,
        partial: &mut Partial,
        intake: &mut Intake,
        past: &mut Past,
        watch: &mut dyn Watch,
    ) -> Result<(), Stop> {
        let mut kept = partial.kept();
        let had = kept.bytes;
        let (answer, response) = self.ask(url, &mut kept)?;
        let local = |error: io::Error| Stop::Final(full_or(error, partial_words));
        match answer {
            Answer::Append => {
                partial.learn_total(head(&response).range.and_then(|range| range.total));
            }
            Answer::Whole => return Ok(()),
            _ => {
                if had > 0 {
                    let why = "the server sends all of it: it changed, or does not resume";
                    watch.event(Event::StartingOver { why });
                    past.restarts += 1;
                    if past.restarts > RESTARTS {
                        let why = format!("fetching {}: each time {why}", url.plain());
                        return Err(Stop::Final(Trouble::Network(why)));
                    }
                }
                partial.restart(&head(&response)).map_err(local)?;
                *intake = Intake::default();
                past.resumed = false;
            }
        }
        let kept = partial.kept();
        let left = kept
            .total
            .map_or(0, |total| total.saturating_sub(kept.bytes));
        watch
            .room(Bytes(left), kept.total.map(Bytes))
            .map_err(|why| Stop::Final(Trouble::Full(why)))?;
        self.stream(chunks(response), partial, intake, watch)
    }

    /// Asks for what is not here, along all redirects.
    fn ask(
        &self,
        url: &Url,
        kept: &mut Kept,
    ) -> Result<(Answer, ureq::http::Response<ureq::Body>), Stop> {
        let mut at = url.clone();
        for _ in 0..=HOPS {
            let mut request = self.request(&at)?;
            if kept.bytes > 0 {
                request = request.header("Range", format!("bytes={}-", kept.bytes));
                if let Some(validator) = &kept.validator {
                    request = request.header("If-Range", validator.as_str());
                }
            }
            let response = request.call().map_err(|error| unreachable(&at, &error))?;
            let now = SystemTime::now()
                .duration_since(UNIX_EPOCH)
                .unwrap_or_default()
                .as_secs();
            let fetching = |why: String| format!("fetching {}: {why}", at.plain());
            match Answer::to(&head(&response), kept, &at, now) {
                Answer::Redirect(there) => at = there,
                Answer::Discard => *kept = Kept::default(),
                Answer::Later { why, after } => {
                    return Err(Stop::Later {
                        why: fetching(why),
                        after,
                    })
                }
                Answer::Missing(why) => return Err(Stop::Final(Trouble::Missing(fetching(why)))),
                Answer::Never(why) => return Err(Stop::Final(Trouble::Refused(fetching(why)))),
                answer => return Ok((answer, response)),
            }
        }
        let why = format!(
            "fetching {}: it sends from place to place without end",
            url.plain()
        );
        Err(Stop::Final(Trouble::Refused(why)))
    }

    /// A request for an address, through the proxy that is between.
    fn request(&self, url: &Url) -> Result<ureq::RequestBuilder<WithoutBody>, Stop> {
        let request = self.agent.get(url.to_string());
        let Some(proxy) = self.proxies.between(url) else {
            return Ok(request);
        };
        let proxy = ureq::Proxy::new(proxy).map_err(|_| {
            // Not shown, as there may be a password in it.
            let why = "https_proxy, or all_proxy, is not the address of a proxy".to_owned();
            Stop::Final(Trouble::Refused(why))
        })?;
        Ok(request.config().proxy(Some(proxy)).build())
    }

    /// Takes the bytes in as they come.
    fn stream(
        &self,
        chunks: Receiver<io::Result<Vec<u8>>>,
        partial: &mut Partial,
        intake: &mut Intake,
        watch: &mut dyn Watch,
    ) -> Result<(), Stop> {
        let later = |why: String| Stop::Later { why, after: None };
        let (mut window, mut came) = (Instant::now(), 0);
        let mut unchecked = 0;
        loop {
            if watch.stop() {
                return Err(Stop::Final(Trouble::Stopped));
            }
            match chunks.recv_timeout(LOOK) {
                Ok(Ok(chunk)) => {
                    let length = chunk.len() as u64;
                    partial
                        .append(&chunk)
                        .map_err(|error| Stop::Final(full_or(error, partial_words)))?;
                    intake.take(chunk).map_err(Trouble::from)?;
                    came += length;
                    unchecked += length;
                }
                Ok(Err(error)) => return Err(later(format!("the connection broke: {error}"))),
                Err(RecvTimeoutError::Timeout) => {}
                Err(RecvTimeoutError::Disconnected) => break,
            }
            let Kept { bytes, total, .. } = partial.kept();
            watch.event(Event::Bytes { here: bytes, total });
            if total.is_some_and(|total| bytes > total) {
                let why = "more came than the server said there is".to_owned();
                return Err(Stop::Final(Trouble::Wrong(why)));
            }
            if unchecked >= ROOM_EACH {
                unchecked = 0;
                let left = total.map_or(0, |total| total - bytes);
                watch
                    .room(Bytes(left), total.map(Bytes))
                    .map_err(|why| Stop::Final(Trouble::Full(why)))?;
            }
            if window.elapsed() >= self.patience.stall {
                if came < TRICKLE {
                    let seconds = self.patience.stall.as_secs();
                    return Err(later(format!("in {seconds} s only {came} bytes came")));
                }
                (window, came) = (Instant::now(), 0);
            }
        }
        let kept = partial.kept();
        match kept.total {
            Some(total) if kept.bytes < total => Err(later(format!(
                "the connection ended after {} of {total} bytes",
                kept.bytes
            ))),
            Some(_) => Ok(()),
            None => {
                partial.learn_total(Some(kept.bytes));
                Ok(())
            }
        }
    }
}

const fn partial_words() -> &'static str {
    "writing what is fetched"
}

/// A full disk is told from one that is broken.
fn full_or(error: io::Error, doing: fn() -> &'static str) -> Trouble {
    match error.kind() {
        io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => {
            Trouble::Full(format!("{}: {error}", doing()))
        }
        _ => Trouble::Other(anyhow::Error::from(error).context(doing())),
    }
}

/// Digest and content of a file that is here, read once.
///
/// # Errors
/// If it cannot be read.
pub fn read_here(path: &Path) -> Result<(Digest, Bytes, Result<Scan, String>)> {
    Intake::read(path)
}
