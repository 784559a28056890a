//! The members of a cluster, and what each has of a pool.

use std::collections::{BTreeMap, BTreeSet};

use anyhow::Result;
use serde::Deserialize;

use super::{or_null, parse, user};
use crate::facts::{Bytes, Config, Member, PoolPart, PoolUser, Space};

pub(in crate::incus) fn members(text: &str) -> Result<Vec<Member>> {
    #[derive(Deserialize)]
    struct Document {
        server_name: String,
        #[serde(default)]
        url: String,
        status: String,
        #[serde(default)]
        message: String,
        #[serde(default, deserialize_with = "or_null")]
        roles: Vec<String>,
        #[serde(default)]
        architecture: String,
    }
    let documents: Vec<Document> = parse(text, "the cluster's members")?;
    Ok(documents
        .into_iter()
        .map(|document| Member {
            name: document.server_name,
            url: document.url,
            status: document.status,
            message: document.message,
            roles: document.roles,
            architecture: document.architecture,
            ..Member::default()
        })
        .collect())
}

/// The storage drivers of the member that gave this answer.
pub(in crate::incus) fn drivers(text: &str) -> Result<BTreeSet<String>> {
    #[derive(Deserialize, Default)]
    struct Document {
        #[serde(default)]
        environment: Environment,
    }
    #[derive(Deserialize, Default)]
    struct Environment {
        #[serde(default, deserialize_with = "or_null")]
        storage_supported_drivers: Vec<Driver>,
    }
    #[derive(Deserialize)]
    struct Driver {
        #[serde(rename = "Name")]
        name: String,
    }
    let document: Document = parse(text, "a member's storage drivers")?;
    let drivers = document.environment.storage_supported_drivers;
    Ok(drivers.into_iter().map(|driver| driver.name).collect())
}

/// How full a member's parts of the pools are, from its state.
pub(in crate::incus) fn spaces(text: &str) -> Result<BTreeMap<String, Space>> {
    #[derive(Deserialize, Default)]
    struct Document {
        #[serde(default, deserialize_with = "or_null")]
        storage_pools: BTreeMap<String, State>,
    }
    #[derive(Deserialize)]
    struct State {
        space: Figures,
    }
    #[derive(Deserialize)]
    struct Figures {
        #[serde(default)]
        used: u64,
        total: u64,
    }
    let document: Document = parse(text, "a member's state")?;
    Ok(document
        .storage_pools
        .into_iter()
        .map(|(name, State { space })| {
            let space = Space {
                used: Bytes(space.used),
                total: Bytes(space.total),
            };
            (name, space)
        })
        .collect())
}

/// What a member answered about its part of a pool; `all` is what holds for every member.
pub(in crate::incus) fn part(text: &str, member: &str, all: &Config) -> Result<PoolPart> {
    #[derive(Deserialize, Default)]
    struct Document {
        status: String,
        #[serde(default, deserialize_with = "or_null")]
        config: Config,
        #[serde(default, deserialize_with = "or_null")]
        used_by: Vec<String>,
        #[serde(default, deserialize_with = "or_null")]
        locations: Vec<String>,
    }
    let document: Document = parse(text, "a member's part of a storage pool")?;
    let mut config = document.config;
    config.retain(|key, _| !all.contains_key(key));
    // The state of a member that has none is made up.
    let there = document.locations.iter().any(|it| it == member);
    Ok(PoolPart {
        member: member.to_owned(),
        status: if there {
            document.status
        } else {
            "Unknown".into()
        },
        config,
        users: document
            .used_by
            .iter()
            .map(|url| user(url))
            // A profile is everywhere.
            .filter(|user| !matches!(user, PoolUser::Profile { .. }))
            .collect(),
        space: None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_member_that_has_no_part_is_told_apart() {
        let answer = |locations: &str, status: &str| {
            format!(
                r#"{{"type":"sync","metadata":{{"status":"{status}","locations":{locations},
                "config":{{"size":"1GiB","btrfs.mount_options":"noatime"}},
                "used_by":["/1.0/profiles/default","/1.0/images/0123?target=two"]}}}}"#
            )
        };
        let all = Config::from([("btrfs.mount_options".into(), "noatime".into())]);
        let found = part(&answer(r#"["one","two"]"#, "Created"), "two", &all).unwrap();
        assert!(found.is_there());
        assert_eq!(found.config, Config::from([("size".into(), "1GiB".into())]));
        assert_eq!(found.users.len(), 1);
        for status in ["Created", "Unknown"] {
            let found = part(&answer(r#"["one"]"#, status), "two", &all).unwrap();
            assert!(!found.is_there(), "{status}");
        }
    }
}
