//! Fetching through what a company puts in between: a proxy, and an authority of its own.

use std::fs;
use std::io::{BufRead as _, BufReader, Read, Write};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::sync::{Arc, Mutex};

use crate::image::{as_in, digest, image, publish, seen, server_in, PATH};
use crate::image_server::Server;
use crate::support::{Host, Setup};

/// A name that only the host's own list of hosts knows.
const NAME: &str = "images.example.org";

/// An authority, and the certificate of a server that it vouches for.
struct Company {
    authority: String,
    config: Arc<rustls::ServerConfig>,
}

fn company() -> Company {
    let own_key = rcgen::KeyPair::generate().expect("a key");
    let mut own = rcgen::CertificateParams::default();
    own.is_ca = rcgen::IsCa::Ca(rcgen::BasicConstraints::Unconstrained);
    let own = own.self_signed(&own_key).expect("an authority");
    let key = rcgen::KeyPair::generate().expect("a key");
    let leaf = rcgen::CertificateParams::new(vec![NAME.into()]).expect("a name");
    let leaf = leaf.signed_by(&key, &own, &own_key).expect("a certificate");
    let key = rustls::pki_types::PrivateKeyDer::try_from(key.serialize_der()).expect("a key");
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let config = rustls::ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .expect("protocols")
        .with_no_client_auth()
        .with_single_cert(vec![leaf.der().clone()], key)
        .expect("a configuration");
    Company {
        authority: own.pem(),
        config: Arc::new(config),
    }
}

/// Serves connections to a port of the host, each with a thread that is in the host.
fn listen(
    host: &Host,
    serve: impl Fn(TcpStream) -> std::io::Result<()> + Clone + Send + 'static,
) -> u16 {
    let (says, port) = std::sync::mpsc::channel();
    let inside = as_in(host);
    std::thread::spawn(move || {
        inside();
        let listener = TcpListener::bind("127.0.0.1:0").expect("binding a port");
        let port = listener.local_addr().expect("an address").port();
        says.send(port).expect("somebody who wants to know");
        for stream in listener.incoming().flatten() {
            let serve = serve.clone();
            // A client that goes away is part of what is tested.
            std::thread::spawn(move || drop(serve(stream)));
        }
    });
    port.recv().expect("a port")
}

/// The lines of a request's head.
fn head(reader: &mut impl Read) -> std::io::Result<Vec<String>> {
    let mut lines = Vec::new();
    let mut reader = BufReader::with_capacity(1, reader);
    loop {
        let mut line = String::new();
        if reader.read_line(&mut line)? == 0 || line.trim().is_empty() {
            return Ok(lines);
        }
        lines.push(line.trim_end().to_owned());
    }
}

/// The server, behind TLS.
fn behind_tls(host: &Host, server: &Server, company: &Company) -> u16 {
    let (config, plain) = (Arc::clone(&company.config), server.port);
    listen(host, move |mut stream| {
        let mut tls =
            rustls::ServerConnection::new(Arc::clone(&config)).map_err(std::io::Error::other)?;
        let mut stream = rustls::Stream::new(&mut tls, &mut stream);
        let lines = head(&mut stream)?;
        let mut behind = TcpStream::connect(("127.0.0.1", plain))?;
        write!(behind, "{}\r\n\r\n", lines.join("\r\n"))?;
        std::io::copy(&mut behind, &mut stream)?;
        stream.conn.send_close_notify();
        stream.flush()
    })
}

/// A forward proxy that wants a password, and what it was asked for.
fn proxy(host: &Host) -> (u16, Arc<Mutex<Vec<String>>>) {
    let asked = Arc::new(Mutex::new(Vec::new()));
    let list = Arc::clone(&asked);
    let port = listen(host, move |mut client| {
        let lines = head(&mut client)?;
        let first = lines.first().cloned().unwrap_or_default();
        list.lock().expect("the list").push(first.clone());
        // `user:word`, as HTTP wants it.
        let known = lines.iter().any(|line| {
            line.to_lowercase().starts_with("proxy-authorization:")
                && line.ends_with("Basic dXNlcjp3b3Jk")
        });
        let words: Vec<&str> = first.split(' ').collect();
        let ["CONNECT", place, _] = words[..] else {
            return write!(client, "HTTP/1.1 405 No\r\nContent-Length: 0\r\n\r\n");
        };
        if !known {
            return write!(client, "HTTP/1.1 407 Who\r\nContent-Length: 0\r\n\r\n");
        }
        let port = place.rsplit(':').next().and_then(|port| port.parse().ok());
        let server = TcpStream::connect(("127.0.0.1", port.unwrap_or(0)))?;
        write!(client, "HTTP/1.1 200 Connected\r\n\r\n")?;
        let (mut from, mut to) = (client.try_clone()?, server.try_clone()?);
        let up = std::thread::spawn(move || {
            let _ = std::io::copy(&mut from, &mut to);
            let _ = to.shutdown(Shutdown::Write);
        });
        let _ = std::io::copy(&mut &server, &mut client);
        let _ = client.shutdown(Shutdown::Both);
        up.join().map_err(|_| std::io::Error::other("panicked"))
    });
    (port, asked)
}

#[test]
fn what_a_company_puts_in_between_is_honoured() {
    let host = Host::with_pool("dir");
    let (server, file, company) = (server_in(&host), image(1), company());
    publish(&server, &file);
    let secure = behind_tls(&host, &server, &company);
    let (proxy, asked) = proxy(&host);
    let asked = || std::mem::take(&mut *asked.lock().expect("the list"));
    let proxy = format!("http://user:word@127.0.0.1:{proxy}");
    let url = format!("https://{NAME}:{secure}{PATH}");
    let fetch = |more: &[&str]| {
        let args = ["--timeout", "20", "image", "fetch", "--image-url", &url];
        Setup::new(&[&args[..], more].concat())
    };
    let own = host.share().join("own.pem");
    fs::write(&own, &company.authority).expect("writing the authority down");
    let own = own.to_str().expect("a plain path");

    // Nobody vouches for the server yet; that the proxy was asked is no proof either.
    let run = host
        .run(&fetch(&[]).env("https_proxy", &proxy))
        .expect_code(1);
    assert!(
        run.stderr.contains("cannot prove who it is"),
        "{}",
        run.output()
    );
    assert!(!asked().is_empty());
    // Its authority is named, and the proxy knows the way: this machine does not.
    let run = fetch(&[])
        .env("SSL_CERT_FILE", own)
        .env("HTTPS_PROXY", &proxy);
    let run = host.run(&run).expect_code(0);
    assert_eq!(seen(&host), digest(&file)[..12]);
    let all = asked();
    let connect = format!("CONNECT {NAME}:{secure} HTTP/1.1");
    assert!(
        all.len() > 1 && all.iter().all(|line| *line == connect),
        "{all:?}"
    );
    assert!(!run.output().contains("word@"), "{}", run.output());
    assert!(!host.sh("cat /var/log/taos-setup.log").contains("word@"));
    // What is in the host's own list counts without being named; and no_proxy is kept.
    host.sh(&format!(
        "cat {own} >>/etc/ssl/certs/ca-certificates.crt; echo 127.0.0.1 {NAME} >>/etc/hosts"
    ));
    let refresh = fetch(&["--refresh"])
        .env("all_proxy", &proxy)
        .env("no_proxy", "localhost, example.org");
    host.run(&refresh).expect_code(0);
    assert_eq!(asked(), Vec::<String>::new());
    // Plain HTTP is this machine's own, and never leaves it.
    let plain = Setup::new(&[
        "image",
        "fetch",
        "--refresh",
        "--image-url",
        &server.url(PATH),
    ])
    .env("http_proxy", &proxy)
    .env("all_proxy", &proxy);
    host.run(&plain).expect_code(0);
    assert_eq!(asked(), Vec::<String>::new());
}
