//! A pool on every member of a cluster: what each is given, and why nothing is begun.

use std::collections::BTreeMap;

use super::migrate::{Loss, Lossy};
use super::{size, Goal, Planner, Refusal};
use crate::facts::{Bytes, Cluster, Config, Pool, PoolPart, Reference, Server, MEASURE_POOL};
use crate::step::{as_given, is_begun, PartSpec, PoolPlace, PoolSpec, Step};

const MEASURE_WORDS: &str = "taos-setup sees how much room there is, and deletes this at once";
/// What a member has of its own; all else of a pool is the same on all of them.
const OWN_KEYS: &[&str] = &["size", "source"];

impl Planner {
    /// Refuses what is said of members where there are none, or none of that name.
    pub(super) fn check_members_named(&self, goal: &Goal) -> Result<(), Refusal> {
        let names = goal.member_sizes.keys().chain(goal.member_sources.keys());
        for name in names {
            let Some(cluster) = &self.server().cluster else {
                return Err(Refusal::new(
                    format!("{name} is said to be a member, and this server is in no cluster"),
                    ["leave --member-size and --member-source out; for this server: --size"],
                ));
            };
            if cluster.member(name).is_none() {
                return Err(Refusal::new(
                    format!("the cluster has no member {name}"),
                    [format!("it has {}", self.server().members.join(", "))],
                ));
            }
        }
        Ok(())
    }

    /// What is wanted of the member that this program runs on, whose disks can be seen.
    pub(super) fn goal_here(&self, goal: &Goal) -> Goal {
        let mut goal = goal.clone();
        let Some(here) = self.server().here() else {
            return goal;
        };
        if let Some(size) = goal.member_sizes.get(here) {
            goal.size = Some(*size);
        }
        goal
    }

    /// Refuses to begin anything where a member could not take its part.
    pub(super) fn check_members(&self, driver: &str) -> Result<(), Refusal> {
        let Some(cluster) = &self.server().cluster else {
            return Ok(());
        };
        refuse_silent(cluster)?;
        let lacking = cluster.others().find(|it| !it.drivers.contains(driver));
        let Some(member) = lacking else {
            return Ok(());
        };
        let name = &member.name;
        let package = match driver {
            "zfs" => "zfsutils-linux",
            _ => "btrfs-progs",
        };
        Err(Refusal::new(
            format!("member {name} has no {driver}, so it could not take its part of the pool"),
            [
                format!("on {name}, as root: apt-get install {package}"),
                format!("then on {name}, whose daemon looks for it as it starts: systemctl restart incus"),
                "nothing was begun anywhere; then run taos-setup again".to_owned(),
            ],
        ))
    }

    /// Refuses any change while a member does not answer: what its instances take from a profile is not told then.
    pub(super) fn refuse_without_members(&self) -> Result<(), Refusal> {
        match &self.server().cluster {
            Some(cluster) if !self.steps.is_empty() => refuse_silent(cluster),
            _ => Ok(()),
        }
    }

    /// Turns the pool of one host into that of a cluster, with what each member is given.
    pub(super) fn on_members(&mut self, pool: PoolSpec, goal: &Goal) -> Result<PoolSpec, Refusal> {
        let Some(cluster) = self.server().cluster.clone() else {
            return Ok(pool);
        };
        if goal.preallocate {
            return Err(Refusal::new(
                "--preallocate is for this member's own disks, and the pool is on others, too",
                [format!(
                    "leave it out; then on each member: fallocate --keep-size --length SIZE \
                     /var/lib/incus/disks/{}.img",
                    pool.name
                )],
            ));
        }
        let begun = self.server().pool(&pool.name).filter(|it| is_begun(it));
        let begun = begun.cloned();
        let (own, mut all): (Config, Config) = pool
            .config
            .iter()
            .map(|(key, value)| (key.clone(), value.clone()))
            .partition(|(key, _)| OWN_KEYS.contains(&key.as_str()));
        let mut parts = BTreeMap::from([(cluster.here.clone(), own)]);
        let mut unknown = false;
        let mut short = Vec::new();
        let mut unseen = Vec::new();
        for member in cluster.others() {
            let known = begun.as_ref().and_then(|it| it.part(&member.name));
            let known = known.filter(|part| part.is_there());
            if let Some(part) = known.filter(|part| part.status == "Created") {
                parts.insert(member.name.clone(), as_given(part, &pool.driver));
                continue;
            }
            if pool.driver != "dir" {
                unseen.push(member.name.clone());
            }
            match self.part_of(&member.name, &pool, known, goal) {
                Ok(Some(config)) => {
                    parts.insert(member.name.clone(), config);
                }
                Ok(None) => unknown = true,
                Err(refusal) => short.push(refusal),
            }
        }
        if let Some(refusal) = together(short) {
            return Err(refusal);
        }
        if unknown {
            return Err(self.measure_first(&cluster, &pool.name));
        }
        // What is made in somebody's filesystem does not decide on the compression of all of it.
        if parts.values().any(|config| config.contains_key("source")) {
            if let Some(options) = all.get_mut("btrfs.mount_options") {
                *options = super::place::without_compression(options);
            }
        }
        let mut description = pool.description.clone();
        if let Some(begun) = &begun {
            description.clone_from(&begun.description);
            if begun.parts.iter().any(|part| part.status == "Created") {
                all = held_by_all(begun, &cluster);
            }
        }
        self.unseen(&pool.name, &unseen);
        Ok(PoolSpec {
            config: all,
            description,
            parts: parts
                .into_iter()
                .map(|(member, config)| PartSpec { member, config })
                .collect(),
            ..pool
        })
    }

    /// What a member other than this one is given; nothing where its room is not known.
    fn part_of(
        &self,
        member: &str,
        pool: &PoolSpec,
        begun: Option<&PoolPart>,
        goal: &Goal,
    ) -> Result<Option<Config>, Refusal> {
        let given = begun.map(|part| as_given(part, &pool.driver));
        if pool.driver == "dir" {
            return Ok(Some(given.unwrap_or_default()));
        }
        let source = given
            .as_ref()
            .and_then(|config| config.get("source"))
            .or_else(|| goal.member_sources.get(member));
        if let Some(source) = source {
            return Ok(Some(Config::from([("source".into(), source.clone())])));
        }
        let size = given.and_then(|config| config.get("size")?.parse().ok());
        let asked = size
            .or_else(|| goal.member_sizes.get(member).copied())
            .or(goal.size);
        let room = self.room(member);
        let size = match (asked, room) {
            (Some(size), None) if goal.overcommit => size,
            (_, None) => return Ok(None),
            (_, Some(room)) => {
                let place = format!("member {member}");
                size::decide(room, &place, asked, goal.overcommit, false)
                    .map_err(|refusal| for_member(refusal, member))?
                    .size
            }
        };
        Ok(Some(Config::from([("size".into(), size.exact())])))
    }

    /// What a member has free, less what the files of other pools on it may still grow by.
    fn room(&self, member: &str) -> Option<Bytes> {
        let server = self.server();
        let free = server.cluster.as_ref()?.member(member)?.room?;
        let promised = server
            .pools
            .iter()
            .filter_map(|pool| pool.part(member))
            .filter(|part| part.status == "Created")
            .filter_map(|part| {
                let size: Bytes = part.config.get("size")?.parse().ok()?;
                let used = part.space.map_or(Bytes(0), |space| space.used);
                Some(size.saturating_sub(used))
            })
            .fold(Bytes(0), Bytes::saturating_add);
        Some(free.saturating_sub(promised))
    }

    /// Has the room of all members measured before anything else is decided.
    fn measure_first(&mut self, cluster: &Cluster, pool: &str) -> Refusal {
        let part = |name: &str| PartSpec {
            member: name.to_owned(),
            config: Config::new(),
        };
        let names = || cluster.members.iter().map(|member| member.name.as_str());
        self.measure = Some(Step::MeasureRoom {
            pool: PoolSpec {
                name: MEASURE_POOL.into(),
                driver: "dir".into(),
                config: Config::new(),
                description: MEASURE_WORDS.into(),
                place: PoolPlace::Directory {
                    path: format!("{}/storage-pools/{MEASURE_POOL}", self.facts.host.incus_dir),
                },
                parts: names().map(part).collect(),
            },
        });
        Refusal::new(
            "how much room the members of the cluster have is not known yet",
            [format!(
                "let the set-up see to it and make the pool first: taos-setup --pool {pool}"
            )],
        )
    }

    /// What cannot be looked at from here takes a yes of its own.
    fn unseen(&mut self, pool: &str, members: &[String]) {
        if members.is_empty() {
            return;
        }
        let names = members.join(", ");
        let old = self.server().pool(pool).filter(|old| old.driver == "dir");
        let folder = if old.is_some() {
            format!(", and files in storage-pools/{pool} that Incus does not know")
        } else {
            String::new()
        };
        self.losses.push(Loss {
            kind: Lossy::Unseen,
            of: Reference::new("default", pool),
            what: format!(
                "a file disks/{pool}.img that an earlier Incus left{folder}, on {names}: whether there \
                 are any cannot be seen from here, and they would be overwritten"
            ),
            hint: format!(
                "look on each of them: ls -lR /var/lib/incus/disks /var/lib/incus/storage-pools/{pool}"
            ),
        });
    }
}

/// Refuses where a member does not answer: what it has a part of is made on all of them or not at all.
fn refuse_silent(cluster: &Cluster) -> Result<(), Refusal> {
    let silent: Vec<_> = cluster.silent().collect();
    let Some(first) = silent.first() else {
        return Ok(());
    };
    let names: Vec<&str> = silent.iter().map(|it| it.name.as_str()).collect();
    let why = first.silent.as_deref().unwrap_or_default();
    Err(Refusal::new(
        format!("of the cluster {} does not answer: {why}", names.join(", ")),
        [
            format!(
                "on {}: systemctl start incus, then run taos-setup again",
                names.join(", ")
            ),
            format!(
                "or, if it is gone for good: incus cluster remove --force {}",
                first.name
            ),
            "nothing was begun on any member".to_owned(),
        ],
    ))
}

/// On which members there is anything of a pool's, in words.
pub(super) fn used_on(pool: &Pool) -> String {
    let names: Vec<&str> = pool
        .parts
        .iter()
        .filter(|part| {
            let image = |user: &_| matches!(user, crate::facts::PoolUser::Image { .. });
            !part.users.iter().all(image)
        })
        .map(|part| part.member.as_str())
        .collect();
    if names.is_empty() {
        String::new()
    } else {
        format!(" (on {})", names.join(", "))
    }
}

/// What somebody chose for a member's part of a `dir` pool.  Incus's own folder may lie elsewhere there.
pub(super) fn chosen_on_members(server: &Server, pool: &Pool) -> Vec<String> {
    let ending = format!("/storage-pools/{}", pool.name);
    let others = pool
        .parts
        .iter()
        .filter(|part| Some(part.member.as_str()) != server.here());
    others
        .flat_map(|part| {
            let member = &part.member;
            part.config
                .iter()
                .filter(|(key, value)| {
                    !(key.starts_with("volatile.") || *key == "source" && value.ends_with(&ending))
                })
                .map(move |(key, value)| format!("{key}={value} on {member}"))
        })
        .collect()
}

/// The configuration that holds for all members.
fn held_by_all(pool: &Pool, cluster: &Cluster) -> Config {
    let own = pool.part(&cluster.here).map(|part| &part.config);
    let mut config = pool.config.clone();
    config.retain(|key, _| own.is_none_or(|own| !own.contains_key(key)));
    config
}

/// A refusal about this host's disk, said of another member.
fn for_member(refusal: Refusal, member: &str) -> Refusal {
    Refusal::new(
        refusal.what,
        [
            format!("make room on {member}, then run taos-setup again"),
            format!("or give it less: --member-size {member}=2GiB"),
        ],
    )
}

fn together(refusals: Vec<Refusal>) -> Option<Refusal> {
    let mut refusals = refusals.into_iter();
    let mut first = refusals.next()?;
    for refusal in refusals {
        first.what = format!("{}; {}", first.what, refusal.what);
        first.hints.extend(refusal.hints);
    }
    first.hints.push("nothing was begun on any member".into());
    Some(first)
}
