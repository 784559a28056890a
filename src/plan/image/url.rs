//! Addresses: HTTPS, or plain HTTP to this very machine.

use std::fmt;
use std::net::IpAddr;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

/// An address that may be fetched from.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Url {
    scheme: Scheme,
    /// Host and port.
    authority: String,
    /// Begins with a slash; with the query.
    path: String,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Scheme {
    Http,
    Https,
}

/// Why a text is no address to fetch from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum BadUrl {
    NotAUrl(String),
    /// Plain HTTP to another machine.
    Plain(String),
    Secret,
}

impl fmt::Display for BadUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NotAUrl(text) => write!(f, "not an address: {text:?}; write https://host/path"),
            Self::Plain(text) => write!(
                f,
                "{text} is plain HTTP, which anybody on the way can change: only https:// is \
                 taken, or http:// from this machine itself"
            ),
            Self::Secret => {
                f.write_str("an address with a name or password in it, which would become public")
            }
        }
    }
}

impl std::error::Error for BadUrl {}

impl FromStr for Url {
    type Err = BadUrl;

    fn from_str(text: &str) -> Result<Self, BadUrl> {
        let bad = || BadUrl::NotAUrl(text.to_owned());
        if text.chars().any(|c| c.is_control() || c.is_whitespace()) {
            return Err(bad());
        }
        let (scheme, rest) = text.split_once("://").ok_or_else(bad)?;
        let scheme = match scheme.to_ascii_lowercase().as_str() {
            "http" => Scheme::Http,
            "https" => Scheme::Https,
            _ => return Err(bad()),
        };
        let end = rest.find(['/', '?', '#']).unwrap_or(rest.len());
        let (authority, path) = rest.split_at(end);
        let path = path.split('#').next().unwrap_or_default();
        if authority.contains('@') {
            return Err(BadUrl::Secret);
        }
        let host = host(authority).ok_or_else(bad)?;
        if scheme == Scheme::Http && !is_this_machine(host) {
            return Err(BadUrl::Plain(format!("http://{authority}")));
        }
        Ok(Self {
            scheme,
            authority: authority.to_owned(),
            path: if path.starts_with('/') {
                path.to_owned()
            } else {
                format!("/{path}")
            },
        })
    }
}

/// The host of an authority, without its port and brackets.
fn host(authority: &str) -> Option<&str> {
    let (host, port) = if let Some(rest) = authority.strip_prefix('[') {
        let (host, rest) = rest.split_once(']')?;
        let port = match rest {
            "" => None,
            rest => Some(rest.strip_prefix(':')?),
        };
        (host, port)
    } else {
        match authority.split_once(':') {
            Some((host, port)) => (host, Some(port)),
            None => (authority, None),
        }
    };
    let sound = !host.is_empty() && port.is_none_or(|port| port.parse::<u16>().is_ok());
    sound.then_some(host)
}

fn is_this_machine(host: &str) -> bool {
    host.eq_ignore_ascii_case("localhost")
        || host
            .parse::<IpAddr>()
            .is_ok_and(|address| address.is_loopback())
}

impl Url {
    /// What a `Location` header says, seen from here.
    ///
    /// # Errors
    /// If it is no address, or one that is not fetched from.
    pub fn join(&self, location: &str) -> Result<Self, BadUrl> {
        let location = location.trim();
        if let Some(rest) = location.strip_prefix("//") {
            return format!("{}://{rest}", self.scheme()).parse();
        }
        if location.starts_with('/') {
            return format!("{}://{}{location}", self.scheme(), self.authority).parse();
        }
        let scheme_end = location.find("://").unwrap_or(usize::MAX);
        if scheme_end < location.find(['/', '?', '#']).unwrap_or(usize::MAX) {
            return location.parse();
        }
        if location.is_empty() {
            return Err(BadUrl::NotAUrl(String::new()));
        }
        format!(
            "{}://{}{}{location}",
            self.scheme(),
            self.authority,
            self.folder()
        )
        .parse()
    }

    /// Another file in the same folder.
    #[must_use]
    pub fn beside(&self, name: &str) -> Self {
        Self {
            path: format!("{}{name}", self.folder()),
            ..self.clone()
        }
    }

    /// The file's name.
    #[must_use]
    pub fn name(&self) -> &str {
        let path = self.path.split('?').next().unwrap_or_default();
        path.rsplit('/').next().unwrap_or_default()
    }

    /// Without the query, in which storage services keep what opens their doors.
    #[must_use]
    pub fn plain(&self) -> String {
        let path = self.path.split('?').next().unwrap_or_default();
        format!("{}://{}{path}", self.scheme(), self.authority)
    }

    /// The host, without port and brackets.
    #[must_use]
    pub fn host(&self) -> &str {
        host(&self.authority).unwrap_or_default()
    }

    #[must_use]
    pub fn is_plain_http(&self) -> bool {
        self.scheme == Scheme::Http
    }

    #[must_use]
    pub fn is_this_machine(&self) -> bool {
        is_this_machine(self.host())
    }

    /// Where a forge describes the release that a file belongs to, if this is the address of such
    /// a file: there it says which digest each file had when it was uploaded.
    #[must_use]
    pub fn release(&self) -> Option<Self> {
        let path = self.path.split('?').next().unwrap_or_default();
        let parts: Vec<&str> = path.split('/').collect();
        let ["", owner, name, "releases", "download", tag, _] = parts[..] else {
            return None;
        };
        let (authority, base) = if self.authority.eq_ignore_ascii_case("github.com") {
            ("api.github.com", "")
        } else {
            (self.authority.as_str(), "/api/v3")
        };
        Some(Self {
            scheme: self.scheme,
            authority: authority.to_owned(),
            path: format!("{base}/repos/{owner}/{name}/releases/tags/{tag}"),
        })
    }

    fn folder(&self) -> &str {
        let path = self.path.split('?').next().unwrap_or_default();
        path.rfind('/').map_or("/", |end| &path[..=end])
    }

    fn scheme(&self) -> &'static str {
        match self.scheme {
            Scheme::Http => "http",
            Scheme::Https => "https",
        }
    }
}

impl fmt::Display for Url {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}://{}{}", self.scheme(), self.authority, self.path)
    }
}

impl TryFrom<String> for Url {
    type Error = BadUrl;

    fn try_from(text: String) -> Result<Self, BadUrl> {
        text.parse()
    }
}

impl From<Url> for String {
    fn from(url: Url) -> Self {
        url.to_string()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn https_everywhere_and_http_only_from_here() {
        for good in [
            "https://example.org/a/b.tar.gz",
            "https://example.org",
            "HTTPS://example.org:8443/x?y=z#w",
            "http://127.0.0.1:8099/x",
            "http://127.9.9.9/x",
            "http://[::1]:80/x",
            "http://localhost/x",
        ] {
            assert!(good.parse::<Url>().is_ok(), "{good}");
        }
        for bad in [
            "http://example.org/x",
            "http://localhost.example.org/x",
            "http://127.0.0.1.example.org/x",
            "http://127.0.0.1@example.org/x",
            "https://user:secret@example.org/x",
            "http://[2001:db8::1]/x",
            "ftp://example.org/x",
            "file:///etc/passwd",
            "https://",
            "https:///x",
            "https://a b/x",
            "https://example.org/x\r\nHost: y",
            "https://example.org:port/x",
            "https://[::1/x",
            "image.tar.gz",
            "",
        ] {
            assert!(bad.parse::<Url>().is_err(), "{bad}");
        }
    }

    #[test]
    fn locations_are_joined() {
        let here: Url = "https://a.org/b/c.gz?d=e".parse().unwrap();
        for (location, there) in [
            ("https://x.org/y?z=1", "https://x.org/y?z=1"),
            ("//x.org/y", "https://x.org/y"),
            ("/y", "https://a.org/y"),
            ("y?u=https://q/r", "https://a.org/b/y?u=https://q/r"),
            ("http://localhost/y", "http://localhost/y"),
        ] {
            assert_eq!(here.join(location).unwrap().to_string(), there);
        }
        assert!(matches!(here.join("http://x.org/y"), Err(BadUrl::Plain(_))));
        assert!(here.join("").is_err());
    }

    #[test]
    fn releases_are_described_by_their_forge() {
        for (asset, release) in [
            (
                "https://github.com/o/r/releases/download/rolling-images/x.tar.gz",
                Some("https://api.github.com/repos/o/r/releases/tags/rolling-images"),
            ),
            (
                "https://forge.example.org:8443/o/r/releases/download/v1/x?y=z",
                Some("https://forge.example.org:8443/api/v3/repos/o/r/releases/tags/v1"),
            ),
            ("https://github.com/o/r/releases/download/x.tar.gz", None),
            ("https://github.com/o/r/archive/download/v1/x.tar.gz", None),
            ("https://example.org/x.tar.gz", None),
        ] {
            let asset: Url = asset.parse().unwrap();
            let found = asset.release().map(|url| url.to_string());
            assert_eq!(found.as_deref(), release);
        }
    }

    #[test]
    fn neighbours_and_names() {
        let here: Url = "https://a.org/b/c.gz?d=e/f".parse().unwrap();
        assert_eq!(here.beside("S").to_string(), "https://a.org/b/S");
        assert_eq!(here.name(), "c.gz");
        assert_eq!(here.plain(), "https://a.org/b/c.gz");
    }
}
