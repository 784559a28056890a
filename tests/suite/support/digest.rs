//! All that matters in a daemon, in a form that two moments can be compared in.

use std::collections::BTreeMap;
use std::fmt;

use serde_json::{Map, Value};

use super::Host;

/// One line for each fact, such as `pool default driver: "dir"`.
#[derive(Clone, PartialEq, Eq)]
pub struct Digest(BTreeMap<String, String>);

impl Host {
    /// Pools, volumes, projects, profiles, networks, images and instances of all projects, as they are now.
    pub fn state_digest(&self) -> Digest {
        let mut digest = Digest(BTreeMap::new());
        let server = &self.query("/1.0")["config"];
        // In a cluster each member has its own address to tell.
        let clustered = server["cluster.https_address"].is_string();
        digest.add_map("server config", server, |key| {
            !(clustered && key.ends_with(".https_address"))
        });
        for pool in list(&self.query("/1.0/storage-pools?recursion=1")) {
            let name = string(&pool["name"]);
            let what = format!("pool {name}");
            digest.add(&format!("{what} driver"), &pool["driver"]);
            digest.add(&format!("{what} status"), &pool["status"]);
            digest.add(&format!("{what} description"), &pool["description"]);
            digest.add_map(&format!("{what} config"), &pool["config"], not_volatile);
            let members = list(&pool["locations"]);
            for member in members.iter().map(string).filter(|it| it != "none") {
                // Size and source are each member's own; one that is away cannot be asked.
                let path = format!("/1.0/storage-pools/{name}?target={member}");
                let config = self.try_query(&path).unwrap_or_default()["config"].take();
                digest.add_map(&format!("{what} on {member} config"), &config, not_volatile);
            }
            self.add_volumes(&mut digest, &name);
        }
        for network in list(&self.query("/1.0/networks?recursion=1&all-projects=true")) {
            if network["managed"] == Value::Bool(true) {
                let what = format!(
                    "network {}/{}",
                    string(&network["project"]),
                    string(&network["name"])
                );
                digest.add(&format!("{what} type"), &network["type"]);
                digest.add_map(&format!("{what} config"), &network["config"], not_volatile);
            }
        }
        for project in list(&self.query("/1.0/projects?recursion=1")) {
            let name = string(&project["name"]);
            digest.add_map(
                &format!("project {name} config"),
                &project["config"],
                |_| true,
            );
            self.add_profiles(&mut digest, &name);
            self.add_images(&mut digest, &name);
        }
        for instance in list(&self.query("/1.0/instances?recursion=2&all-projects=true")) {
            digest.add_instance(&instance);
        }
        digest
    }

    fn add_volumes(&self, digest: &mut Digest, pool: &str) {
        // An unpacked image is a cache, and instances' volumes come with their instances.
        let path = format!("/1.0/storage-pools/{pool}/volumes?recursion=1&all-projects=true");
        // A broken pool, or one whose driver has no buckets, has an error for an answer.
        for volume in list(&self.try_query(&path).unwrap_or_default()) {
            if volume["type"] == "custom" {
                let mut what = format!(
                    "volume {pool}/{}/{}",
                    string(&volume["project"]),
                    string(&volume["name"])
                );
                // In a cluster each member may have one of that name.
                if let Some(member) = located(&volume) {
                    what = format!("{what} on {member}");
                }
                digest.add(&format!("{what} type"), &volume["content_type"]);
                digest.add_map(&format!("{what} config"), &volume["config"], not_volatile);
            }
        }
        let path = format!("/1.0/storage-pools/{pool}/buckets?recursion=1&all-projects=true");
        for bucket in list(&self.try_query(&path).unwrap_or_default()) {
            let what = format!(
                "bucket {pool}/{}/{}",
                string(&bucket["project"]),
                string(&bucket["name"])
            );
            digest.add_map(&what, &bucket["config"], not_volatile);
        }
    }

    fn add_profiles(&self, digest: &mut Digest, project: &str) {
        for profile in list(&self.query(&format!("/1.0/profiles?recursion=1&project={project}"))) {
            let what = format!("profile {project}/{}", string(&profile["name"]));
            digest.add(&what, &profile["description"]);
            digest.add_map(&format!("{what} config"), &profile["config"], |_| true);
            digest.add_map(&format!("{what} device"), &profile["devices"], |_| true);
        }
    }

    fn add_images(&self, digest: &mut Digest, project: &str) {
        for image in list(&self.query(&format!("/1.0/images?recursion=1&project={project}"))) {
            let mut aliases: Vec<String> = list(&image["aliases"])
                .iter()
                .map(|a| string(&a["name"]))
                .collect();
            aliases.sort();
            let what = format!("image {project}/{} aliases", string(&image["fingerprint"]));
            digest.0.insert(what, aliases.join(" "));
        }
    }
}

impl Digest {
    /// The lines that are only in `self` (-) or only in `later` (+).
    pub fn changes(&self, later: &Self) -> Vec<String> {
        let mut lines = Vec::new();
        for (what, value) in &self.0 {
            match later.0.get(what) {
                Some(new) if new == value => {}
                Some(new) => {
                    lines.extend([format!("- {what}: {value}"), format!("+ {what}: {new}")]);
                }
                None => lines.push(format!("- {what}: {value}")),
            }
        }
        let added = later
            .0
            .iter()
            .filter(|(what, _)| !self.0.contains_key(*what));
        lines.extend(added.map(|(what, value)| format!("+ {what}: {value}")));
        lines
    }

    /// The same without what differs between two hosts that went the same way: process ids, identities, addresses, and
    /// sizes that depend on the machine's free space.
    #[must_use]
    pub fn shape(&self) -> Self {
        let by_chance = [
            "pid",
            "volatile.",
            "ipv4.address",
            "ipv6.address",
            "config size",
        ];
        let shape = self.0.iter().map(|(what, value)| {
            let own = by_chance.iter().any(|word| what.contains(word));
            let value = if own && !value.contains("none") {
                "…".to_owned()
            } else {
                value.clone()
            };
            (what.clone(), value)
        });
        Self(shape.collect())
    }

    /// The same without the lines that contain one of these texts.
    #[must_use]
    pub fn without(&self, texts: &[&str]) -> Self {
        let keep = |what: &str| !texts.iter().any(|text| what.contains(text));
        Self(
            self.0
                .clone()
                .into_iter()
                .filter(|(what, _)| keep(what))
                .collect(),
        )
    }

    /// The value of one line, as JSON or plain text.
    pub fn get(&self, what: &str) -> Option<&str> {
        self.0.get(what).map(String::as_str)
    }

    fn add_instance(&mut self, instance: &Value) {
        let what = format!(
            "instance {}/{}",
            string(&instance["project"]),
            string(&instance["name"])
        );
        for key in ["type", "status", "ephemeral", "profiles", "description"] {
            self.add(&format!("{what} {key}"), &instance[key]);
        }
        self.add(&format!("{what} pid"), &instance["state"]["pid"]);
        if located(instance).is_some() {
            self.add(&format!("{what} location"), &instance["location"]);
        }
        // These follow what the instance does, not what anyone has set.
        self.add_map(&format!("{what} config"), &instance["config"], |key| {
            !key.starts_with("volatile.last_state.") && !key.ends_with(".host_name")
        });
        self.add_map(&format!("{what} device"), &instance["devices"], |_| true);
        for device in instance["expanded_devices"]
            .as_object()
            .into_iter()
            .flat_map(Map::values)
        {
            if device["type"] == "disk" && device["path"] == "/" {
                self.add(&format!("{what} root"), device);
            }
        }
        for snapshot in list(&instance["snapshots"]) {
            let name = string(&snapshot["name"]);
            self.add(
                &format!("{what} snapshot {name} created"),
                &snapshot["created_at"],
            );
            self.add_map(
                &format!("{what} snapshot {name} device"),
                &snapshot["devices"],
                |_| true,
            );
        }
    }

    fn add(&mut self, what: &str, value: &Value) {
        // The keys of a JSON object are sorted here.
        self.0.insert(what.to_owned(), value.to_string());
    }

    fn add_map(&mut self, what: &str, values: &Value, keep: impl Fn(&str) -> bool) {
        for (key, value) in values.as_object().into_iter().flatten() {
            if keep(key) {
                self.add(&format!("{what} {key}"), value);
            }
        }
    }
}

impl fmt::Display for Digest {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        for (what, value) in &self.0 {
            writeln!(f, "{what}: {value}")?;
        }
        Ok(())
    }
}

impl fmt::Debug for Digest {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        write!(f, "\n{self}")
    }
}

/// # Panics
/// With what is different, if anything is.
#[track_caller]
pub fn assert_same(before: &Digest, after: &Digest) {
    let changes = before.changes(after);
    assert!(
        changes.is_empty(),
        "the daemon's state has changed:\n{}",
        changes.join("\n")
    );
}

fn not_volatile(key: &str) -> bool {
    !key.starts_with("volatile.")
}

fn list(value: &Value) -> Vec<Value> {
    value.as_array().cloned().unwrap_or_default()
}

/// The member of a cluster that something lies on.
fn located(value: &Value) -> Option<&str> {
    let member = value["location"].as_str()?;
    (!["", "none"].contains(&member)).then_some(member)
}

fn string(value: &Value) -> String {
    value.as_str().unwrap_or_default().to_owned()
}
