//! Fetching from a server that misbehaves: each time the right file comes, or a clear error.

use std::io::{Read as _, Write as _};
use std::net::TcpListener;
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use crate::image_server::{Server, Trick};
use sha2::{Digest as _, Sha256};
use taos_setup::facts::Bytes;
use taos_setup::host::download::{
    progress, Client, Event, Fetched, Patience, Trouble, Watch, PARTIAL,
};
use taos_setup::plan::image::Retries;

const PATH: &str = "/f/image.tar.gz";

/// An image that does not compress, so that it has some length.
fn image(length: usize) -> Vec<u8> {
    let mut builder = tar::Builder::new(flate2::write::GzEncoder::new(
        Vec::new(),
        flate2::Compression::none(),
    ));
    let metadata = format!(
        "architecture: {}\ncreation_date: 1\nproperties: {{}}\n",
        std::env::consts::ARCH
    );
    let mut state = 1u64;
    let noise: Vec<u8> = (0..length)
        .map(|_| {
            state = state
                .wrapping_mul(6_364_136_223_846_793_005)
                .wrapping_add(1);
            state.to_be_bytes()[0]
        })
        .collect();
    for (name, bytes) in [
        ("metadata.yaml", metadata.as_bytes()),
        ("rootfs/noise", &noise),
    ] {
        let mut header = tar::Header::new_gnu();
        header.set_size(bytes.len() as u64);
        header.set_mode(0o644);
        builder
            .append_data(&mut header, name, bytes)
            .expect("writing a tarball");
    }
    builder
        .into_inner()
        .expect("a tarball")
        .finish()
        .expect("a tarball")
}

#[derive(Default)]
struct Seen {
    pauses: Vec<String>,
    restarts: usize,
    stop_after: Option<u64>,
    here: u64,
    room: Option<u64>,
}

impl Watch for Seen {
    fn event(&mut self, event: Event<'_>) {
        match event {
            Event::Bytes { here, .. } => self.here = here,
            Event::Pause { why, .. } => self.pauses.push(why.to_owned()),
            Event::StartingOver { .. } => self.restarts += 1,
        }
    }

    fn stop(&self) -> bool {
        self.stop_after.is_some_and(|after| self.here >= after)
    }

    fn room(&self, left: Bytes, _: Option<Bytes>) -> Result<(), String> {
        match self.room {
            Some(room) if left.0 > room => Err("too little room".into()),
            _ => Ok(()),
        }
    }
}

/// Patient enough for a machine that is busy, and not for long.
fn client() -> Client {
    Client::new(Patience {
        stall: Duration::from_millis(1500),
        retries: Retries {
            most: 4,
            first: Duration::from_millis(10),
            longest: Duration::from_millis(40),
            patience: Duration::from_secs(5),
        },
    })
}

fn fetch_in(folder: &Path, server: &Server, seen: &mut Seen) -> Result<Fetched, Trouble> {
    let url = server.url(PATH).parse().expect("a url");
    client().fetch(&url, folder, seen)
}

fn digest(bytes: &[u8]) -> String {
    Sha256::digest(bytes)
        .iter()
        .fold(String::new(), |text, byte| format!("{text}{byte:02x}"))
}

#[track_caller]
fn right(fetched: &Result<Fetched, Trouble>, file: &[u8], folder: &Path) {
    let fetched = fetched.as_ref().expect("a file");
    assert_eq!(fetched.digest.as_str(), digest(file));
    assert_eq!(fetched.bytes.0, file.len() as u64);
    assert!(fetched.scan.is_ok(), "{:?}", fetched.scan);
    assert!(std::fs::read(folder.join(PARTIAL)).expect("the file") == file);
}

fn folder() -> tempfile::TempDir {
    tempfile::tempdir().expect("a folder")
}

#[test]
fn a_file_comes_whole() {
    let (server, folder, file) = (Server::start(), folder(), image(3_000_000));
    server.put(PATH, file.clone());
    right(
        &fetch_in(folder.path(), &server, &mut Seen::default()),
        &file,
        folder.path(),
    );
    // It is here: nothing is asked for again.
    right(
        &fetch_in(folder.path(), &server, &mut Seen::default()),
        &file,
        folder.path(),
    );
    assert_eq!(server.requests(PATH).len(), 1);
}

#[test]
fn cut_anywhere_it_goes_on_there() {
    let file = image(2_000_000);
    for at in [
        0,
        1,
        5,
        261,
        262,
        263,
        1000,
        131_072,
        131_073,
        1_234_567,
        file.len() - 1,
    ] {
        let (server, folder) = (Server::start(), folder());
        server.put(PATH, file.clone());
        server.next(PATH, &[Trick::Cut(at), Trick::Cut(7)]);
        right(
            &fetch_in(folder.path(), &server, &mut Seen::default()),
            &file,
            folder.path(),
        );
        assert_eq!(server.sent(PATH), file.len(), "cut at {at}");
    }
}

#[test]
fn another_run_goes_on_where_one_stopped() {
    let (server, folder, file) = (Server::start(), folder(), image(4_000_000));
    server.put(PATH, file.clone());
    server.next(PATH, &[Trick::Cut(1_000_000)]);
    let mut seen = Seen {
        stop_after: Some(1_000_000),
        ..Seen::default()
    };
    let stopped = fetch_in(folder.path(), &server, &mut seen);
    assert!(matches!(stopped, Err(Trouble::Stopped)));
    assert_eq!(
        progress(folder.path()),
        (1_000_000, Some(file.len() as u64))
    );
    let fetched = fetch_in(folder.path(), &server, &mut Seen::default());
    right(&fetched, &file, folder.path());
    assert!(fetched.expect("a file").resumed);
    assert_eq!(server.sent(PATH), file.len());
    assert_eq!(server.requests(PATH)[1].if_range.as_deref(), Some("\"v1\""));
}

#[test]
fn ranges_that_are_ignored_cost_only_bytes() {
    let (server, folder, file) = (Server::start(), folder(), image(1_000_000));
    server.put(PATH, file.clone());
    server.next(PATH, &[Trick::Cut(500_000), Trick::IgnoreRange(usize::MAX)]);
    let mut seen = Seen::default();
    right(
        &fetch_in(folder.path(), &server, &mut seen),
        &file,
        folder.path(),
    );
    assert_eq!(seen.restarts, 1);
}

#[test]
fn a_server_that_never_gets_to_the_end_is_given_up() {
    let (server, folder, file) = (Server::start(), folder(), image(1_000_000));
    server.put(PATH, file);
    server.always(PATH, Trick::IgnoreRange(500_000));
    let error = fetch_in(folder.path(), &server, &mut Seen::default());
    assert!(matches!(error, Err(Trouble::Network(_))), "{error:?}");
    assert!(server.requests(PATH).len() < 12);
}

#[test]
fn a_change_half_way_starts_over() {
    let (server, folder) = (Server::start(), folder());
    let (old, new) = (image(1_000_000), image(1_200_000));
    server.put(PATH, old);
    server.next(PATH, &[Trick::Cut(400_000), Trick::Change(new.clone())]);
    let mut seen = Seen::default();
    right(
        &fetch_in(folder.path(), &server, &mut seen),
        &new,
        folder.path(),
    );
    assert_eq!(seen.restarts, 1);
}

#[test]
fn a_change_of_the_same_length_without_tags_is_seen_by_the_digest() {
    let (server, folder) = (Server::start(), folder());
    server.without_etags();
    let old = image(1_000_000);
    let mut new = old.clone();
    let at = new.len() - 700_000;
    new[at] ^= 1;
    server.put(PATH, old.clone());
    server.next(PATH, &[Trick::Cut(500_000), Trick::Change(new.clone())]);
    let fetched = fetch_in(folder.path(), &server, &mut Seen::default()).expect("a file");
    // Half of the one and half of the other: whoever knows the digest refuses it.
    assert_ne!(fetched.digest.as_str(), digest(&new));
}

#[test]
fn lies_about_the_length_end_in_an_error_or_the_file() {
    let file = image(300_000);
    // More is claimed than there is: what is missing never comes.
    let (server, more) = (Server::start(), folder());
    server.put(PATH, file.clone());
    server.always(PATH, Trick::ClaimLength(file.len() + 5));
    let error = fetch_in(more.path(), &server, &mut Seen::default());
    assert!(matches!(error, Err(Trouble::Network(_))), "{error:?}");
    assert!(server.requests(PATH).len() < 20);
    // Less is claimed: the file is cut short, and that is seen.
    let (server, less) = (Server::start(), folder());
    server.put(PATH, file.clone());
    server.next(PATH, &[Trick::ClaimLength(file.len() - 5)]);
    match fetch_in(less.path(), &server, &mut Seen::default()) {
        Ok(fetched) => assert_ne!(fetched.digest.as_str(), digest(&file)),
        Err(error) => assert!(matches!(error, Trouble::Wrong(_)), "{error:?}"),
    }
    // None is claimed at all.
    let (server, none) = (Server::start(), folder());
    server.put(PATH, file.clone());
    server.next(PATH, &[Trick::NoLength]);
    right(
        &fetch_in(none.path(), &server, &mut Seen::default()),
        &file,
        none.path(),
    );
}

#[test]
fn final_answers_are_final_and_others_are_waited_for() {
    for status in [403, 404, 410, 401] {
        let (server, folder) = (Server::start(), folder());
        server.put(PATH, image(1000));
        server.always(PATH, Trick::Status(status, ""));
        let error = fetch_in(folder.path(), &server, &mut Seen::default());
        let Err(Trouble::Refused(why) | Trouble::Missing(why)) = error else {
            panic!("{error:?}");
        };
        assert!(why.contains(&status.to_string()), "{why}");
        assert_eq!(server.requests(PATH).len(), 1);
    }
    for status in [429, 503] {
        let (server, folder, file) = (Server::start(), folder(), image(1000));
        server.put(PATH, file.clone());
        server.next(PATH, &[Trick::Status(status, "\r\nRetry-After: 1")]);
        let begun = Instant::now();
        right(
            &fetch_in(folder.path(), &server, &mut Seen::default()),
            &file,
            folder.path(),
        );
        assert!(
            begun.elapsed() >= Duration::from_secs(1),
            "Retry-After was not kept"
        );
        // One that wants hours is not waited for.
        server.always("/f/late", Trick::Status(status, "\r\nRetry-After: 7200"));
        let url = server.url("/f/late").parse().expect("a url");
        let error = client().fetch(&url, folder.path(), &mut Seen::default());
        assert!(
            matches!(&error, Err(Trouble::Network(why)) if why.contains("7200")),
            "{error:?}"
        );
    }
}

#[test]
fn redirects_are_followed_to_safe_places_only() {
    let (server, folder, file) = (Server::start(), folder(), image(500_000));
    server.put("/there", file.clone());
    server.always(
        PATH,
        Trick::Status(302, "\r\nLocation: /there?token=secret"),
    );
    server.put("/there?token=secret", file.clone());
    server.next("/there?token=secret", &[Trick::Cut(1000)]);
    right(
        &fetch_in(folder.path(), &server, &mut Seen::default()),
        &file,
        folder.path(),
    );
    for (location, word) in [
        ("\r\nLocation: http://example.org/x", "plain HTTP"),
        ("\r\nLocation: ftp://example.org/x", "not an address"),
        ("", "does not say where"),
        ("\r\nLocation: /f/loop", "without end"),
    ] {
        server.always("/f/loop", Trick::Status(301, location));
        let url = server.url("/f/loop").parse().expect("a url");
        let error = client().fetch(&url, folder.path(), &mut Seen::default());
        let Err(Trouble::Refused(why)) = error else {
            panic!("{location}: {error:?}");
        };
        assert!(why.contains(word), "{why}");
    }
}

#[test]
fn silence_and_trickles_are_noticed() {
    let (server, folder, file) = (Server::start(), folder(), image(500_000));
    server.put(PATH, file.clone());
    server.next(PATH, &[Trick::Stall(100_000)]);
    let begun = Instant::now();
    right(
        &fetch_in(folder.path(), &server, &mut Seen::default()),
        &file,
        folder.path(),
    );
    assert!(begun.elapsed() < Duration::from_secs(30));
    assert_eq!(server.sent(PATH), file.len());
    // A byte a second, for ever.
    let trickle = self::folder();
    server.always(PATH, Trick::Trickle(1000));
    let error = fetch_in(trickle.path(), &server, &mut Seen::default());
    assert!(
        matches!(&error, Err(Trouble::Network(why)) if why.contains("bytes came")),
        "{error:?}"
    );
    assert!(progress(trickle.path()).0 > 0, "what came is kept");
}

#[test]
fn what_is_no_image_is_seen_at_once() {
    let big = "<!DOCTYPE html><title>Please log in</title>".to_owned() + &"x".repeat(1 << 20);
    for (body, word) in [
        (Trick::Body(Box::leak(big.into_boxed_str())), "web page"),
        (Trick::Body("PK\x03\x04 garbage"), "no tarball"),
        (Trick::Body(""), "empty"),
    ] {
        let (server, folder) = (Server::start(), folder());
        server.always(PATH, body);
        let why = match fetch_in(folder.path(), &server, &mut Seen::default()) {
            Err(Trouble::Wrong(why)) => why,
            Ok(fetched) => fetched.scan.expect_err("no image"),
            other => panic!("{other:?}"),
        };
        assert!(why.contains(word), "{why}");
    }
    // A tarball that ends early, and claims to be whole.
    let (server, folder, file) = (Server::start(), folder(), image(300_000));
    server.put(PATH, file[..150_000].to_vec());
    match fetch_in(folder.path(), &server, &mut Seen::default()) {
        Ok(fetched) => assert!(fetched.scan.expect_err("no image").contains("damaged")),
        other => assert!(matches!(other, Err(Trouble::Wrong(_))), "{other:?}"),
    }
}

#[test]
fn other_compressions_are_looked_at_while_they_come() {
    for program in ["xz", "zstd", "bzip2"] {
        let (server, folder) = (Server::start(), folder());
        let path = folder.path().join("image");
        let mut plain = Vec::new();
        let file = image(200_000);
        let unpacked = flate2::read::GzDecoder::new(&file[..]).read_to_end(&mut plain);
        unpacked.expect("a tarball");
        std::fs::write(&path, plain).expect("a file");
        let packed = std::process::Command::new(program)
            .arg("-c")
            .arg(&path)
            .output();
        let Ok(packed) = packed.map(|packed| packed.stdout) else {
            continue;
        };
        server.put(PATH, packed.clone());
        server.next(PATH, &[Trick::Cut(100_000), Trick::Cut(7)]);
        right(
            &fetch_in(folder.path(), &server, &mut Seen::default()),
            &packed,
            folder.path(),
        );
        assert_eq!(server.sent(PATH), packed.len(), "{program}");
        // Cut short by whoever published it, and claimed to be whole.
        let (server, less) = (Server::start(), self::folder());
        server.put(PATH, &packed[..packed.len() - 30_000]);
        match fetch_in(less.path(), &server, &mut Seen::default()) {
            Ok(fetched) => assert!(fetched.scan.expect_err("no image").contains("damaged")),
            other => assert!(matches!(other, Err(Trouble::Wrong(_))), "{other:?}"),
        }
    }
}

#[test]
fn without_room_nothing_stays() {
    let (server, folder) = (Server::start(), folder());
    server.put(PATH, image(500_000));
    let mut seen = Seen {
        room: Some(1000),
        ..Seen::default()
    };
    let error = fetch_in(folder.path(), &server, &mut seen);
    assert!(matches!(error, Err(Trouble::Full(_))), "{error:?}");
    assert_eq!(
        std::fs::read_dir(folder.path())
            .expect("the folder")
            .count(),
        0
    );
    assert!(server.sent(PATH) < 5_000_000);
}

#[test]
fn a_partial_file_that_is_torn_is_fetched_anew() {
    let (server, folder, file) = (Server::start(), folder(), image(500_000));
    server.put(PATH, file.clone());
    server.next(PATH, &[Trick::Cut(300_000)]);
    let mut seen = Seen {
        stop_after: Some(300_000),
        ..Seen::default()
    };
    fetch_in(folder.path(), &server, &mut seen).expect_err("stopped");
    // As a power cut leaves it: the length is there, the bytes are not.
    std::fs::write(folder.path().join(PARTIAL), vec![0; 300_000]).expect("tearing the file");
    right(
        &fetch_in(folder.path(), &server, &mut Seen::default()),
        &file,
        folder.path(),
    );
}

#[test]
fn a_server_that_cannot_prove_who_it_is_is_refused() {
    let made = rcgen::generate_simple_self_signed(vec!["localhost".into()]).expect("a certificate");
    let key =
        rustls::pki_types::PrivateKeyDer::try_from(made.key_pair.serialize_der()).expect("a key");
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let config = rustls::ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .expect("protocols")
        .with_no_client_auth()
        .with_single_cert(vec![made.cert.der().clone()], key)
        .expect("a configuration");
    let config = Arc::new(config);
    let listener = TcpListener::bind("127.0.0.1:0").expect("binding a port");
    let port = listener.local_addr().expect("an address").port();
    std::thread::spawn(move || {
        for mut stream in listener.incoming().flatten() {
            let mut tls = rustls::ServerConnection::new(Arc::clone(&config)).expect("a connection");
            let mut stream = rustls::Stream::new(&mut tls, &mut stream);
            let _ = stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n");
        }
    });
    let folder = folder();
    let url = format!("https://localhost:{port}/image.tar.gz")
        .parse()
        .expect("a url");
    let error = client().fetch(&url, folder.path(), &mut Seen::default());
    let Err(Trouble::Refused(why)) = error else {
        panic!("{error:?}");
    };
    assert!(why.contains("cannot prove who it is"), "{why}");
}

#[test]
fn a_list_of_digests_comes_or_is_not_there() {
    let server = Server::start();
    server.put("/SHA256SUMS", "abc");
    server.next("/SHA256SUMS", &[Trick::Status(503, ""), Trick::Cut(1)]);
    let small = |path: &str, most| {
        let url = server.url(path).parse().expect("a url");
        client().small(&url, most, &mut Seen::default())
    };
    assert_eq!(
        small("/SHA256SUMS", 10).expect("a list").as_deref(),
        Some("abc")
    );
    assert_eq!(small("/none", 10).expect("no list"), None);
    assert!(matches!(small("/SHA256SUMS", 2), Err(Trouble::Wrong(_))));
}
