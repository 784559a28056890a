//! Where launches clone an image: the pools, and in a cluster the members.

use std::collections::BTreeSet;

use super::{Member, Pool, PoolUser, Server};

/// What has to have an image unpacked for a launch to be a clone.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Unpacked {
    /// The member of the cluster; empty where there is none.
    pub member: String,
    /// The fingerprints of the images that are unpacked there.
    pub images: BTreeSet<String>,
}

impl Server {
    /// Where launches on a pool unpack an image, once; nowhere on a pool that copies.
    #[must_use]
    pub fn unpacked_on(&self, pool: &Pool) -> Vec<Unpacked> {
        if pool.status != "Created" || !pool.copy_on_write() {
            return Vec::new();
        }
        let Some(cluster) = &self.cluster else {
            return vec![Unpacked {
                member: String::new(),
                images: images(&pool.users),
            }];
        };
        let able = cluster.members.iter();
        able.filter(|member| self.why_not_launched_on(member).is_none())
            .filter_map(|member| pool.part(&member.name))
            .filter(|part| part.status == "Created")
            .map(|part| Unpacked {
                member: part.member.clone(),
                images: images(&part.users),
            })
            .collect()
    }

    /// The members of the cluster that take no launch of an image of this one's architecture, and why.
    #[must_use]
    pub fn not_launched_on(&self) -> Vec<(&Member, String)> {
        let members = self.cluster.iter().flat_map(|cluster| &cluster.members);
        members
            .filter_map(|member| Some((member, self.why_not_launched_on(member)?)))
            .collect()
    }

    fn why_not_launched_on(&self, member: &Member) -> Option<String> {
        let here = self
            .here()
            .and_then(|here| self.cluster.as_ref()?.member(here));
        match member.status.as_str() {
            "Evacuated" => Some("is evacuated".into()),
            _ if !member.answers() => Some("does not answer".into()),
            _ if here.is_some_and(|here| here.architecture != member.architecture) => {
                Some(format!("is {}", member.architecture))
            }
            _ => None,
        }
    }
}

fn images(users: &[PoolUser]) -> BTreeSet<String> {
    let images = users.iter().filter_map(|user| match user {
        PoolUser::Image { fingerprint } => Some(fingerprint.clone()),
        _ => None,
    });
    images.collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::facts::{Backing, Cluster, Config, PoolPart};

    fn pool(driver: &str, parts: &[(&str, &str, &str)]) -> Pool {
        Pool {
            name: "taos".into(),
            driver: driver.into(),
            status: "Created".into(),
            reason: None,
            description: String::new(),
            config: Config::new(),
            users: Vec::new(),
            backing: Backing::Unknown,
            stray_files: Vec::new(),
            space: None,
            parts: parts
                .iter()
                .map(|(member, status, image)| PoolPart {
                    member: (*member).to_owned(),
                    status: (*status).to_owned(),
                    users: vec![PoolUser::Image {
                        fingerprint: (*image).to_owned(),
                    }],
                    ..PoolPart::default()
                })
                .collect(),
        }
    }

    fn member(name: &str, status: &str, architecture: &str, silent: bool) -> Member {
        Member {
            name: name.into(),
            status: status.into(),
            architecture: architecture.into(),
            silent: silent.then(String::new),
            ..Member::default()
        }
    }

    #[test]
    fn each_member_that_can_launch_unpacks_for_itself() {
        let server = Server {
            cluster: Some(Cluster {
                here: "m1".into(),
                members: vec![
                    member("m1", "Online", "x86_64", false),
                    member("m2", "Online", "x86_64", false),
                    member("m3", "Online", "x86_64", true),
                    member("m4", "Evacuated", "x86_64", false),
                    member("m5", "Online", "aarch64", false),
                    member("m6", "Online", "x86_64", false),
                ],
            }),
            ..Server::default()
        };
        let parts = ["m1", "m2", "m3", "m4", "m5"].map(|it| (it, "Created", "a"));
        let mut parts = parts.to_vec();
        parts.push(("m6", "Pending", "a"));
        let able = server.unpacked_on(&pool("btrfs", &parts));
        let able: Vec<&str> = able.iter().map(|it| it.member.as_str()).collect();
        assert_eq!(able, ["m1", "m2"]);
        assert!(server.unpacked_on(&pool("dir", &parts)).is_empty());
        let unable: Vec<(String, String)> = server
            .not_launched_on()
            .into_iter()
            .map(|(member, why)| (member.name.clone(), why))
            .collect();
        let of = |member: &str, why: &str| (member.to_owned(), why.to_owned());
        assert_eq!(
            unable,
            [
                of("m3", "does not answer"),
                of("m4", "is evacuated"),
                of("m5", "is aarch64"),
            ]
        );
    }

    #[test]
    fn outside_of_a_cluster_there_is_one_place() {
        let mut pool = pool("btrfs", &[]);
        pool.users.push(PoolUser::Image {
            fingerprint: "a".into(),
        });
        let found = Server::default().unpacked_on(&pool);
        assert_eq!(found.len(), 1);
        assert!(found[0].member.is_empty() && found[0].images.contains("a"));
    }
}
