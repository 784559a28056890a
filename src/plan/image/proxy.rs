//! Which proxy stands between this machine and an address.

use super::Url;

/// The proxies that the environment names, as `curl` reads them.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Proxies {
    https: Option<String>,
    /// Hosts that are reached without one, in the words of `no_proxy`.
    none_for: Vec<String>,
}

impl Proxies {
    /// From the environment, in which small letters win over capital ones.
    pub fn of(variable: impl Fn(&str) -> Option<String>) -> Self {
        let either = |name: &str| {
            let found = variable(name).or_else(|| variable(&name.to_uppercase()));
            found.filter(|value| !value.trim().is_empty())
        };
        Self {
            https: either("https_proxy").or_else(|| either("all_proxy")),
            none_for: either("no_proxy")
                .unwrap_or_default()
                .split([',', ' '])
                .map(|entry| entry.trim().to_ascii_lowercase())
                .filter(|entry| !entry.is_empty())
                .collect(),
        }
    }

    /// The proxy for an address; none if it is reached without one.
    ///
    /// `http_proxy` is never one: plain HTTP is fetched from this very machine only, and a proxy's
    /// own loopback is another machine's.
    #[must_use]
    pub fn between(&self, url: &Url) -> Option<&str> {
        if url.is_plain_http() || url.is_this_machine() {
            return None;
        }
        let host = url.host().to_ascii_lowercase();
        let without = self.none_for.iter().any(|entry| covers(entry, &host));
        self.https.as_deref().filter(|_| !without)
    }
}

/// Whether an entry of `no_proxy` is about a host: `*`, the host itself, or a domain that it is in.
fn covers(entry: &str, host: &str) -> bool {
    if entry == "*" {
        return true;
    }
    let entry = entry.trim_start_matches('*').trim_start_matches('.');
    // Some write a port behind it; it counts for all of them.
    let entry = match entry.rsplit_once(':') {
        Some((name, port)) if !name.contains(':') && port.parse::<u16>().is_ok() => name,
        _ => entry,
    };
    let entry = entry.trim_matches(['[', ']']);
    let rest = host.strip_suffix(entry);
    !entry.is_empty() && rest.is_some_and(|rest| rest.is_empty() || rest.ends_with('.'))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(pairs: &[(&str, &str)]) -> Proxies {
        Proxies::of(|name| {
            let found = pairs.iter().find(|(key, _)| *key == name);
            found.map(|(_, value)| (*value).to_owned())
        })
    }

    fn between(pairs: &[(&str, &str)], url: &str) -> Option<String> {
        let url = url.parse().unwrap();
        of(pairs).between(&url).map(ToOwned::to_owned)
    }

    #[test]
    fn small_letters_win_and_the_narrower_name_wins() {
        let all = ("all_proxy", "http://all:1");
        let big = ("HTTPS_PROXY", "http://big:1");
        let small = ("https_proxy", "http://small:1");
        let plain = ("http_proxy", "http://plain:1");
        let x = "https://example.org/x";
        assert_eq!(between(&[], x), None);
        assert_eq!(between(&[plain], x), None);
        assert_eq!(between(&[all], x).unwrap(), "http://all:1");
        assert_eq!(between(&[all, big], x).unwrap(), "http://big:1");
        assert_eq!(between(&[all, big, small], x).unwrap(), "http://small:1");
        assert_eq!(
            between(&[("https_proxy", ""), all], x).unwrap(),
            "http://all:1"
        );
    }

    #[test]
    fn this_machine_is_reached_without_one() {
        let all = ("all_proxy", "http://all:1");
        for url in [
            "http://127.0.0.1:80/x",
            "https://127.0.0.1/x",
            "https://localhost:8443/x",
            "https://[::1]/x",
        ] {
            assert_eq!(between(&[all], url), None, "{url}");
        }
    }

    #[test]
    fn no_proxy_names_hosts_and_domains() {
        for (list, host, without) in [
            ("*", "example.org", true),
            ("example.org", "example.org", true),
            ("EXAMPLE.org", "Example.ORG", true),
            (".example.org", "a.example.org", true),
            ("*.example.org", "a.example.org", true),
            ("example.org", "a.example.org", true),
            ("x, example.org:443", "example.org", true),
            ("example.org", "badexample.org", false),
            ("example.org", "example.org.evil", false),
            ("192.0.2.1", "192.0.2.1", true),
            (",", "example.org", false),
        ] {
            let pairs = [("https_proxy", "http://p:1"), ("no_proxy", list)];
            let found = between(&pairs, &format!("https://{host}/x"));
            assert_eq!(found.is_none(), without, "{list} {host}");
        }
    }
}
