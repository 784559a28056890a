//! Instances, and what is told of them.

use std::collections::BTreeMap;

use anyhow::Result;
use serde::Deserialize;

use super::{or_null, parse, user};
use crate::facts::{
    root_of, Config, Devices, Instance, PoolUser, Profile, Record, Reference, Snapshot,
};

/// The instances; `profiles` tells which projects have profiles of their own.
pub(in crate::incus) fn instances(text: &str, profiles: &[Profile]) -> Result<Vec<Instance>> {
    #[derive(Deserialize)]
    struct Document {
        name: String,
        project: String,
        #[serde(rename = "type")]
        kind: String,
        status: String,
        #[serde(default, deserialize_with = "or_null")]
        config: Config,
        #[serde(default, deserialize_with = "or_null")]
        devices: Devices,
        #[serde(default, deserialize_with = "or_null")]
        expanded_devices: Devices,
        #[serde(default, deserialize_with = "or_null")]
        profiles: Vec<String>,
        #[serde(default)]
        architecture: String,
        #[serde(default)]
        description: String,
        #[serde(default)]
        ephemeral: bool,
        #[serde(default)]
        stateful: bool,
        #[serde(default)]
        last_used_at: String,
        #[serde(default)]
        location: String,
    }
    let documents: Vec<Document> = parse(text, "the instances")?;
    Ok(documents
        .into_iter()
        .map(|document| {
            let pool =
                root_of(&document.expanded_devices).and_then(|(_, keys)| keys.get("pool").cloned());
            let project = document.project;
            // A project without profiles of its own uses those of `default`.
            let own = profiles
                .iter()
                .any(|profile| profile.reference.project == project);
            let profile_project = if own { &project } else { "default" };
            Instance {
                scratch: document.config.get("user.taos-setup.scratch").cloned(),
                record: Record {
                    architecture: document.architecture,
                    config: document.config,
                    expanded_devices: document.expanded_devices,
                    profiles: document.profiles.clone(),
                    description: document.description,
                    ephemeral: document.ephemeral,
                    stateful: document.stateful,
                    last_used_at: document.last_used_at,
                },
                profiles: document
                    .profiles
                    .into_iter()
                    .map(|name| Reference::new(profile_project, name))
                    .collect(),
                reference: Reference::new(project, document.name),
                kind: document.kind,
                status: document.status,
                devices: document.devices,
                // What is in no cluster is at `none`.
                location: if document.location == "none" {
                    String::new()
                } else {
                    document.location
                },
                pool,
            }
        })
        .collect())
}

/// What is told of one instance beside its configuration: its snapshots, and its backups' names.
pub(in crate::incus) fn snapshots(text: &str) -> Result<(Vec<Snapshot>, Vec<String>)> {
    #[derive(Deserialize, Default)]
    struct Document {
        #[serde(default, deserialize_with = "or_null")]
        snapshots: Vec<Snapshot>,
        #[serde(default, deserialize_with = "or_null")]
        backups: Vec<Backup>,
    }
    #[derive(Deserialize)]
    struct Backup {
        name: String,
    }
    let document: Document = parse(text, "an instance's snapshots")?;
    let names = document.backups.into_iter().map(|backup| backup.name);
    Ok((document.snapshots, names.collect()))
}

pub(in crate::incus) fn projects(text: &str) -> Result<BTreeMap<String, Config>> {
    #[derive(Deserialize)]
    struct Document {
        name: String,
        #[serde(default, deserialize_with = "or_null")]
        config: Config,
    }
    let documents: Vec<Document> = parse(text, "the projects")?;
    Ok(documents
        .into_iter()
        .map(|document| (document.name, document.config))
        .collect())
}

pub(in crate::incus) fn status(text: &str) -> Result<String> {
    #[derive(Deserialize, Default)]
    struct Document {
        status: String,
    }
    let document: Document = parse(text, "an instance's state")?;
    Ok(document.status)
}

/// The instances that operations are at work on, as the ends of their URLs.
pub(in crate::incus) fn busy(text: &str) -> Result<Vec<Reference>> {
    #[derive(Deserialize)]
    struct Operation {
        status_code: u32,
        #[serde(default, deserialize_with = "or_null")]
        resources: BTreeMap<String, Option<Vec<String>>>,
    }
    // A cluster's own operations are about nothing, and other members may have none: that is null.
    let document: BTreeMap<String, Option<Vec<Operation>>> = parse(text, "the operations")?;
    Ok(document
        .into_values()
        .flatten()
        .flatten()
        // Below 200 an operation is not through.
        .filter(|operation| operation.status_code < 200)
        .flat_map(|operation| operation.resources.into_values().flatten().flatten())
        .filter_map(|url| match user(&url) {
            PoolUser::Instance { name } => Some(name),
            _ => None,
        })
        .collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_is_not_through_keeps_an_instance_busy() {
        let operation = |code: u32, name: &str| {
            format!(
                r#"{{"status_code":{code},"resources":{{"instances":["/1.0/instances/{name}?project=p"]}}}}"#
            )
        };
        let text = format!(
            r#"{{"type":"sync","metadata":{{"running":[{},{}],"success":null}}}}"#,
            operation(103, "mary"),
            operation(200, "naira")
        );
        let nothing = r#"{"status_code":103,"resources":{"instances":null}}"#;
        let text = text.replace("[{", &format!("[{nothing},{{"));
        assert_eq!(busy(&text).unwrap(), [Reference::new("p", "mary")]);
    }
}
