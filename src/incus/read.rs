//! The daemon's answers, parsed.  What is not understood is an error, never a guess.

use std::collections::BTreeMap;
use std::path::Path;

use anyhow::{bail, Context as _, Result};
use serde::de::DeserializeOwned;
use serde::Deserialize;

use crate::facts::{
    Bytes, Cluster, Config, Devices, Image, Network, Pool, PoolUser, Profile, Reference, Server,
    Space,
};
use crate::host;

mod cluster;
mod instances;

pub(super) use cluster::{drivers, members, part, spaces};
pub(super) use instances::{busy, instances, projects, snapshots, status};

pub(super) fn server(text: &str) -> Result<Server> {
    #[derive(Deserialize, Default)]
    struct Document {
        api_version: String,
        auth: String,
        #[serde(default, deserialize_with = "or_null")]
        config: BTreeMap<String, serde_json::Value>,
        environment: Option<Environment>,
    }
    #[derive(Deserialize)]
    struct Environment {
        server: String,
        server_version: String,
        server_clustered: bool,
        #[serde(default, deserialize_with = "or_null")]
        server_name: String,
    }
    let document: Document = parse(text, "the server's state")?;
    let Some(environment) = document.environment.filter(|_| document.auth == "trusted") else {
        bail!("the Incus daemon does not trust this user; run taos-setup as root");
    };
    if environment.server != "incus" || document.api_version != "1.0" {
        bail!(
            "what answers is not Incus but {} (API {})",
            environment.server,
            document.api_version
        );
    }
    Ok(Server {
        version: environment.server_version,
        clustered: environment.server_clustered,
        cluster: environment.server_clustered.then(|| Cluster {
            here: environment.server_name,
            members: Vec::new(),
        }),
        daemon_volumes: document
            .config
            .into_iter()
            .filter(|(key, _)| key.starts_with("storage.") && key.ends_with("_volume"))
            .filter_map(|(key, value)| Some((key, value.as_str()?.to_owned())))
            .collect(),
        ..Server::default()
    })
}

pub(super) fn container_volumes(text: &str) -> Result<Vec<String>> {
    // Without recursion: URLs that end in the volume's name and the project.
    let urls: Vec<String> = parse(text, "the volumes of containers")?;
    let name = |url: &String| {
        let path = url.split('?').next().unwrap_or_default();
        path.rsplit('/').next().unwrap_or_default().to_owned()
    };
    Ok(urls.iter().map(name).collect())
}

pub(super) fn pools(text: &str) -> Result<Vec<Pool>> {
    #[derive(Deserialize)]
    struct Document {
        name: String,
        driver: String,
        status: String,
        #[serde(default)]
        description: String,
        #[serde(default, deserialize_with = "or_null")]
        config: Config,
        #[serde(default, deserialize_with = "or_null")]
        used_by: Vec<String>,
    }
    let documents: Vec<Document> = parse(text, "the storage pools")?;
    Ok(documents
        .into_iter()
        .map(|document| {
            let users: Vec<PoolUser> = document.used_by.iter().map(|url| user(url)).collect();
            let only_images = users
                .iter()
                .all(|user| matches!(user, PoolUser::Image { .. } | PoolUser::Profile { .. }));
            let stray_files = match document.config.get("source") {
                Some(folder) if document.driver == "dir" && only_images => {
                    host::stray_files(Path::new(folder))
                }
                _ => Vec::new(),
            };
            Pool {
                backing: host::backing(&document.driver, &document.config),
                name: document.name,
                driver: document.driver,
                status: document.status,
                reason: None,
                description: document.description,
                config: document.config,
                users,
                stray_files,
                space: None,
                parts: Vec::new(),
            }
        })
        .collect())
}

pub(super) fn profiles(text: &str) -> Result<Vec<Profile>> {
    #[derive(Deserialize)]
    struct Document {
        name: String,
        project: String,
        #[serde(default, deserialize_with = "or_null")]
        devices: Devices,
    }
    let documents: Vec<Document> = parse(text, "the profiles")?;
    Ok(documents
        .into_iter()
        .map(|document| Profile {
            reference: Reference::new(document.project, document.name),
            devices: document.devices,
        })
        .collect())
}

pub(super) fn networks(text: &str) -> Result<Vec<Network>> {
    #[derive(Deserialize)]
    struct Document {
        name: String,
        #[serde(default, deserialize_with = "or_null")]
        project: String,
        #[serde(rename = "type")]
        kind: String,
        managed: bool,
        #[serde(default, deserialize_with = "or_null")]
        config: Config,
        #[serde(default, deserialize_with = "or_null")]
        used_by: Vec<String>,
        #[serde(default, deserialize_with = "or_null")]
        status: String,
        #[serde(default, deserialize_with = "or_null")]
        locations: Vec<String>,
    }
    let documents: Vec<Document> = parse(text, "the networks")?;
    Ok(documents
        .into_iter()
        .filter(|document| document.managed)
        .map(|document| Network {
            project: if document.project.is_empty() {
                "default".into()
            } else {
                document.project
            },
            name: document.name,
            kind: document.kind,
            config: document.config,
            used_by: document.used_by,
            status: document.status,
            locations: document
                .locations
                .into_iter()
                .filter(|it| it != "none")
                .collect(),
        })
        .collect())
}

pub(super) fn images(text: &str) -> Result<Vec<Image>> {
    #[derive(Deserialize)]
    struct Document {
        fingerprint: String,
        #[serde(default, deserialize_with = "or_null")]
        project: String,
        #[serde(default, deserialize_with = "or_null")]
        aliases: Vec<Alias>,
        size: u64,
        #[serde(rename = "type", default, deserialize_with = "or_null")]
        kind: String,
    }
    #[derive(Deserialize)]
    struct Alias {
        name: String,
    }
    let documents: Vec<Document> = parse(text, "the images")?;
    Ok(documents
        .into_iter()
        .map(|document| Image {
            project: document.project,
            fingerprint: document.fingerprint,
            aliases: document
                .aliases
                .into_iter()
                .map(|alias| alias.name)
                .collect(),
            size: Bytes(document.size),
            container: document.kind != "virtual-machine",
        })
        .collect())
}

pub(super) fn space(text: &str) -> Result<Space> {
    #[derive(Deserialize, Default)]
    struct Document {
        space: Figures,
    }
    #[derive(Deserialize, Default)]
    struct Figures {
        #[serde(default, deserialize_with = "or_null")]
        used: u64,
        total: u64,
    }
    let document: Document = parse(text, "a storage pool's use")?;
    Ok(Space {
        used: Bytes(document.space.used),
        total: Bytes(document.space.total),
    })
}

/// The latest warning about each storage pool, by its name.
pub(super) fn pool_warnings(text: &str) -> Result<BTreeMap<String, String>> {
    #[derive(Deserialize)]
    struct Document {
        #[serde(rename = "type")]
        kind: String,
        status: String,
        entity_url: String,
        last_message: String,
        last_seen_at: String,
    }
    let mut documents: Vec<Document> = parse(text, "the warnings")?;
    documents
        .retain(|found| found.kind == "Storage pool unavailable" && found.status != "resolved");
    documents.sort_by(|a, b| a.last_seen_at.cmp(&b.last_seen_at));
    Ok(documents
        .into_iter()
        .filter_map(|document| {
            // Incus 6.0 names the pool only by the path in its message.
            let url = document.entity_url.strip_prefix("/1.0/storage-pools/");
            let path = || Some(document.last_message.split_once("/storage-pools/")?.1);
            let name = url.or_else(path)?.split(['?', '/', '"', ' ']).next()?;
            Some((unescape(name), document.last_message))
        })
        .collect())
}

/// Takes the answer out of the daemon's envelope.  An empty list may come as `null`.
pub(super) fn parse<T: DeserializeOwned + Default>(text: &str, what: &str) -> Result<T> {
    #[derive(Deserialize)]
    struct Envelope<T> {
        #[serde(rename = "type")]
        kind: String,
        #[serde(default)]
        error: String,
        metadata: Option<T>,
    }
    let envelope: Envelope<T> = serde_json::from_str(text).with_context(|| {
        let start: String = text.chars().take(60).collect();
        format!("reading {what} as Incus gives it: not what this program knows, but {start:?}")
    })?;
    if envelope.kind != "sync" {
        bail!("reading {what}: Incus says {}", envelope.error);
    }
    Ok(envelope.metadata.unwrap_or_default())
}

/// Go writes empty lists and maps as `null`.
fn or_null<'de, D, T>(deserializer: D) -> Result<T, D::Error>
where
    D: serde::Deserializer<'de>,
    T: Deserialize<'de> + Default,
{
    Ok(Option::deserialize(deserializer)?.unwrap_or_default())
}

/// Reads a URL of `used_by`.
fn user(url: &str) -> PoolUser {
    let (path, query) = url.split_once('?').unwrap_or((url, ""));
    let project = query
        .split('&')
        .find_map(|pair| pair.strip_prefix("project="))
        .map_or_else(|| "default".to_owned(), unescape);
    let parts: Vec<String> = path
        .trim_start_matches('/')
        .split('/')
        .map(unescape)
        .collect();
    let parts: Vec<&str> = parts.iter().map(String::as_str).collect();
    let reference = |name: &str| Reference::new(project.clone(), name);
    match parts[..] {
        ["1.0", "instances", name] => PoolUser::Instance {
            name: reference(name),
        },
        ["1.0", "profiles", name] => PoolUser::Profile {
            name: reference(name),
        },
        ["1.0", "images", fingerprint] => PoolUser::Image {
            fingerprint: fingerprint.to_owned(),
        },
        ["1.0", "storage-pools", _, "volumes", "custom", name] => PoolUser::Volume {
            name: reference(name),
        },
        ["1.0", "storage-pools", _, "buckets", name] => PoolUser::Bucket {
            name: reference(name),
        },
        _ => PoolUser::Other {
            url: url.to_owned(),
        },
    }
}

/// Undoes percent-encoding.
fn unescape(text: &str) -> String {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let Some((&first, tail)) = rest.split_first() {
        let code = tail
            .get(..2)
            .filter(|_| first == b'%')
            .and_then(|hex| std::str::from_utf8(hex).ok())
            .and_then(|hex| u8::from_str_radix(hex, 16).ok());
        if let Some(code) = code {
            bytes.push(code);
            rest = &tail[2..];
        } else {
            bytes.push(first);
            rest = tail;
        }
    }
    String::from_utf8_lossy(&bytes).into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn users_of_a_pool() {
        for (url, shown) in [
            ("/1.0/instances/mary", "instance mary"),
            (
                "/1.0/instances/mary?project=user-1000",
                "instance user-1000/mary",
            ),
            ("/1.0/profiles/a%20b?project=p", "profile p/a b"),
            ("/1.0/images/0123456789abcdef", "image 0123456789ab"),
            (
                "/1.0/storage-pools/default/volumes/custom/v1",
                "custom volume v1",
            ),
            (
                "/1.0/storage-pools/default/buckets/b1?project=p",
                "bucket p/b1",
            ),
            ("/1.0/something/new", "/1.0/something/new"),
        ] {
            assert_eq!(user(url).to_string(), shown);
        }
    }

    #[test]
    fn empty_lists_may_be_null() {
        assert!(pools(r#"{"type":"sync","metadata":null}"#)
            .unwrap()
            .is_empty());
        let pool = r#"{"type":"sync","metadata":[{"name":"x","driver":"dir","status":"Created","config":null,"used_by":null}]}"#;
        assert_eq!(pools(pool).unwrap()[0].name, "x");
    }

    #[test]
    fn warnings_are_told_apart_by_their_pool() {
        let warning = |status: &str, url: &str, message: &str| {
            format!(
                r#"{{"type":"Storage pool unavailable","status":"{status}","entity_url":"{url}",
                "last_message":"{message}","last_seen_at":"2026-01-01"}}"#
            )
        };
        let text = format!(
            r#"{{"type":"sync","metadata":[{},{},{}]}}"#,
            warning(
                "new",
                "",
                r#"mount \"x\" on \"/var/lib/incus/storage-pools/default\" failed"#
            ),
            warning("new", "/1.0/storage-pools/a%20b", "no such file"),
            warning("resolved", "/1.0/storage-pools/old", "long ago"),
        );
        let found = pool_warnings(&text).unwrap();
        assert_eq!(found.len(), 2);
        assert_eq!(found["a b"], "no such file");
        assert!(found["default"].starts_with("mount"));
    }

    #[test]
    fn foreign_answers_are_errors() {
        assert!(server("config: {}\n").is_err());
        assert!(server("{}").is_err());
        assert!(pools(r#"{"type":"error","error":"no"}"#).is_err());
        assert!(pools(r#"{"type":"sync","metadata":[{"name":"x"}]}"#).is_err());
        assert!(profiles("").is_err());
        let lxd = r#"{"type":"sync","metadata":{"api_version":"1.0","auth":"trusted","config":{},
            "environment":{"server":"lxd","server_version":"5","server_clustered":false}}}"#;
        let error = server(lxd).unwrap_err().to_string();
        assert!(error.contains("not Incus but lxd"), "{error}");
    }
}
