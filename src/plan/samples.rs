//! Machines as they are found, for the decision tests.
//!
//! A [`Sample`] begins as a Debian 13 server with 100 GiB free on ext4, and a test adds what
//! matters to it.  Who uses which pool and network is worked out at the end, so that a sample
//! cannot contradict itself.

use std::collections::BTreeSet;

use crate::facts::{
    root_of, Backing, Bytes, Cluster, Config, Devices, Facts, Filesystem, Host, Incus, Instance,
    Member, Network, Os, PackageManager, PackageSource, Packages, Place, PlaceKind, Pool, PoolPart,
    PoolUser, Profile, Reference, Server, SourceKind, SourcePath, Trigger,
};

/// A machine in the making.
#[derive(Clone)]
pub struct Sample {
    host: Host,
    incus: Incus,
}

impl Sample {
    /// Incus is not installed, and nothing it needs is.
    pub fn bare() -> Self {
        let mut host = host();
        host.tools.clear();
        Self {
            host,
            incus: Incus::Absent,
        }
    }

    /// As [`Sample::bare`], on another system.
    pub fn bare_on(name: &str, manager: PackageManager) -> Self {
        Self::bare().host(|host| {
            host.os.name = name.into();
            host.packages = Some(packages(manager));
        })
    }

    /// Incus is installed, but its daemon does not answer.
    pub fn silent() -> Self {
        Self {
            host: host(),
            incus: Incus::Silent {
                reason: "connection refused".into(),
            },
        }
    }

    /// The daemon answers, and nobody configured it: no pool, no network, an empty profile.
    pub fn uninitialised() -> Self {
        let server = Server {
            version: "6.0.4".into(),
            ..Server::default()
        };
        Self {
            host: host(),
            incus: Incus::Answering(Box::new(server)),
        }
        .profile("default")
    }

    /// Everything is there: `incus launch` works, on a pool of this driver.
    pub fn set_up(driver: &str) -> Self {
        Self::uninitialised()
            .pool("default", driver)
            .bridge("incusbr0")
            .device("default", "eth0", "nic network=incusbr0 name=eth0")
            .device("default", "root", "disk path=/ pool=default")
    }

    /// What `incus admin init --auto` makes on ext4, with two agents launched on it.
    pub fn dir_with_instances() -> Self {
        Self::set_up("dir").instance("mary").instance("naira")
    }

    pub fn host(mut self, change: impl FnOnce(&mut Host)) -> Self {
        change(&mut self.host);
        self
    }

    pub fn server(mut self, change: impl FnOnce(&mut Server)) -> Self {
        match &mut self.incus {
            Incus::Answering(server) => change(server),
            Incus::Absent | Incus::Silent { .. } => panic!("the daemon of this sample is silent"),
        }
        self
    }

    /// A cluster of these, of which this is the first; each has this much room, in GiB.
    pub fn members(self, names: &[&str], room: Option<u64>) -> Self {
        self.server(|server| {
            server.clustered = true;
            server.members = names.iter().map(ToString::to_string).collect();
            let member = |name: &&str| Member {
                name: (*name).into(),
                status: "Online".into(),
                drivers: ["btrfs", "dir"].map(String::from).into(),
                room: room.map(Bytes::gib),
                ..Member::default()
            };
            server.cluster = Some(Cluster {
                here: names[0].into(),
                members: names.iter().map(member).collect(),
            });
        })
    }

    pub fn member(self, name: &str, change: impl FnOnce(&mut Member)) -> Self {
        self.server(|server| {
            let members = server.cluster.iter_mut().flat_map(|it| &mut it.members);
            change(
                members
                    .into_iter()
                    .find(|member| member.name == name)
                    .expect("the sample has this member"),
            );
        })
    }

    /// Puts an instance on a member.
    pub fn at(self, instance: &str, member: &str) -> Self {
        let owner = reference(instance);
        self.server(|server| {
            for instance in &mut server.instances {
                if instance.reference == owner {
                    instance.location = member.into();
                }
            }
        })
    }

    /// A pool that was begun: members with what they were given, and whether they have it already.
    pub fn begun(self, name: &str, driver: &str, parts: &[(&str, &str, &str)]) -> Self {
        let any = parts.iter().any(|(_, status, _)| *status == "Created");
        self.pool(name, driver).change_pool(name, |pool| {
            pool.status = if any { "Errored" } else { "Pending" }.into();
            pool.config.clear();
            pool.parts = parts
                .iter()
                .map(|(member, status, keys)| PoolPart {
                    member: (*member).into(),
                    status: (*status).into(),
                    config: keys
                        .split_whitespace()
                        .filter_map(|key| key.split_once('='))
                        .map(|(key, value)| (key.to_owned(), value.to_owned()))
                        .collect(),
                    ..PoolPart::default()
                })
                .collect();
        })
    }

    /// A pool with nothing on it, as Incus makes it by itself.
    pub fn pool(self, name: &str, driver: &str) -> Self {
        let pool = pool(name, driver);
        self.server(|server| server.pools.push(pool))
    }

    pub fn change_pool(self, name: &str, change: impl FnOnce(&mut Pool)) -> Self {
        self.server(|server| {
            let pool = server.pools.iter_mut().find(|pool| pool.name == name);
            change(pool.expect("the sample has this pool"));
        })
    }

    /// Puts something on a pool that samples have no other words for.
    pub fn user(self, pool: &str, user: PoolUser) -> Self {
        self.change_pool(pool, |pool| pool.users.push(user))
    }

    /// What `storage.images_volume` and the like say.
    pub fn daemon_volume(self, key: &str, volume: &str) -> Self {
        self.server(|server| {
            server.daemon_volumes.insert(key.into(), volume.into());
        })
    }

    pub fn profile(self, name: &str) -> Self {
        self.server(|server| {
            let reference = reference(name);
            if server.profile(&reference).is_none() {
                server.profiles.push(Profile {
                    reference,
                    devices: Devices::new(),
                });
            }
        })
    }

    /// Gives a profile a device, such as `disk path=/ pool=default`.
    pub fn device(self, profile: &str, name: &str, keys: &str) -> Self {
        let owner = reference(profile);
        self.profile(profile).server(|server| {
            for profile in &mut server.profiles {
                if profile.reference == owner {
                    profile.devices.insert(name.into(), device(keys));
                }
            }
        })
    }

    pub fn without_device(self, profile: &str, name: &str) -> Self {
        let owner = reference(profile);
        self.server(|server| {
            for profile in &mut server.profiles {
                if profile.reference == owner {
                    profile.devices.remove(name);
                }
            }
        })
    }

    /// A running container with the profile `default` of its project.
    pub fn instance(self, name: &str) -> Self {
        self.server(|server| {
            let reference = reference(name);
            let own = Reference::new(reference.project.clone(), "default");
            // A project without profiles of its own uses those of `default`.
            let profile = match server.profile(&own) {
                Some(_) => own,
                None => Reference::new("default", "default"),
            };
            server.instances.push(Instance {
                reference,
                kind: "container".into(),
                status: "Running".into(),
                devices: Devices::new(),
                pool: None,
                location: String::new(),
                profiles: vec![profile],
                scratch: None,
                record: crate::facts::Record::default(),
            });
        })
    }

    /// Gives an instance these profiles, of project `default`, in this order.
    pub fn profiles_of(self, instance: &str, names: &[&str]) -> Self {
        let owner = reference(instance);
        self.server(|server| {
            for instance in &mut server.instances {
                if instance.reference == owner {
                    instance.profiles = names.iter().map(|name| reference(name)).collect();
                }
            }
        })
    }

    /// Gives an instance a device of its own.
    pub fn own_device(self, instance: &str, name: &str, keys: &str) -> Self {
        let owner = reference(instance);
        self.server(|server| {
            for instance in &mut server.instances {
                if instance.reference == owner {
                    instance.devices.insert(name.into(), device(keys));
                }
            }
        })
    }

    pub fn bridge(self, name: &str) -> Self {
        self.host(|host| {
            host.interfaces.insert(name.into());
        })
        .network(name, "bridge", "default")
    }

    pub fn network(self, name: &str, kind: &str, project: &str) -> Self {
        self.server(|server| {
            server.networks.push(Network {
                project: project.into(),
                name: name.into(),
                kind: kind.into(),
                config: Config::new(),
                used_by: Vec::new(),
                status: "Created".into(),
                locations: Vec::new(),
            });
        })
    }

    /// Something that lies on the host filesystem.
    pub fn place(self, path: &str, what: PlaceKind) -> Self {
        self.host(|host| {
            host.places.push(Place {
                path: path.into(),
                what,
            });
        })
    }

    /// What `--source` names, on a filesystem of this kind.
    pub fn source(self, path: &str, kind: SourceKind, filesystem: &str) -> Self {
        self.host(|host| {
            host.source = Some(SourcePath {
                path: path.into(),
                kind,
                filesystem: self::filesystem("/srv", filesystem, 200),
            });
        })
    }

    pub fn facts(mut self) -> Facts {
        if let Incus::Answering(server) = &mut self.incus {
            connect(server);
        }
        Facts {
            host: self.host,
            incus: self.incus,
        }
    }
}

/// A Debian 13 server with everything for btrfs on it.
fn host() -> Host {
    let tools = ["incus", "incusd", "btrfs", "mkfs.btrfs", "dnsmasq"];
    Host {
        root: true,
        systemd: true,
        user_namespace: false,
        loop_devices: true,
        os: Os {
            id: "debian".into(),
            codename: "trixie".into(),
            name: "Debian GNU/Linux 13 (trixie)".into(),
        },
        packages: Some(packages(PackageManager::Apt)),
        tools: tools
            .map(|tool| (tool.to_owned(), format!("/usr/bin/{tool}")))
            .into(),
        kernel_filesystems: BTreeSet::from(["btrfs".to_owned()]),
        zpools: Vec::new(),
        incus_dir: "/var/lib/incus".into(),
        incus_database: false,
        incus_filesystem: filesystem("/", "ext4", 100),
        btrfs_filesystems: Vec::new(),
        places: Vec::new(),
        source: None,
        ipv4_networks: Vec::new(),
        interfaces: ["lo", "enp1s0"].map(String::from).into(),
        trigger: Trigger::default(),
        seed: 1,
    }
}

pub fn packages(manager: PackageManager) -> Packages {
    Packages {
        manager,
        offers_incus: true,
        incus_base: manager == PackageManager::Apt,
        backports: None,
    }
}

pub fn backports() -> PackageSource {
    PackageSource {
        path: "/etc/apt/sources.list.d/taos-setup-backports.sources".into(),
        suite: "bookworm-backports".into(),
        content: "Types: deb\n".into(),
    }
}

pub fn filesystem(mount_point: &str, kind: &str, free_gib: u64) -> Filesystem {
    Filesystem {
        mount_point: mount_point.into(),
        kind: kind.into(),
        total: Bytes::gib(1000),
        free: Bytes::gib(free_gib),
        promised: Bytes(0),
    }
}

fn pool(name: &str, driver: &str) -> Pool {
    let folder = format!("/var/lib/incus/storage-pools/{name}");
    let (source, backing) = match driver {
        "dir" => (
            folder.clone(),
            Backing::Directory {
                path: folder.clone(),
            },
        ),
        "btrfs" => {
            let path = format!("/var/lib/incus/disks/{name}.img");
            let backing = Backing::LoopFile {
                path: path.clone(),
                size: Bytes::gib(50),
                allocated: Bytes::gib(1),
            };
            (path, backing)
        }
        _ => (name.to_owned(), Backing::Unknown),
    };
    Pool {
        name: name.into(),
        driver: driver.into(),
        status: "Created".into(),
        reason: None,
        description: String::new(),
        config: Config::from([("source".into(), source)]),
        users: Vec::new(),
        backing,
        stray_files: Vec::new(),
        space: None,
        parts: Vec::new(),
    }
}

/// `name`, or `project/name`.
pub fn reference(text: &str) -> Reference {
    let (project, name) = text.split_once('/').unwrap_or(("default", text));
    Reference::new(project, name)
}

/// The type first, then `key=value`.
pub fn device(text: &str) -> Config {
    let (kind, keys) = text.split_once(' ').unwrap_or((text, ""));
    let pairs = keys
        .split_whitespace()
        .filter_map(|key| key.split_once('='));
    std::iter::once(("type", kind))
        .chain(pairs)
        .map(|(key, value)| (key.to_owned(), value.to_owned()))
        .collect()
}

/// Works out who uses which pool and network.
fn connect(server: &mut Server) {
    let roots: Vec<Option<String>> = server
        .instances
        .iter()
        .map(|instance| {
            let devices = match server.root_profile(instance) {
                Some(profile) => &server.profile(profile)?.devices,
                None => &instance.devices,
            };
            root_of(devices)?.1.get("pool").cloned()
        })
        .collect();
    for (instance, pool) in server.instances.iter_mut().zip(roots) {
        instance.pool = pool;
    }
    for pool in &mut server.pools {
        for instance in &server.instances {
            if instance.pool.as_ref() == Some(&pool.name) {
                pool.users.push(PoolUser::Instance {
                    name: instance.reference.clone(),
                });
            }
        }
        for profile in uses(&server.profiles, "pool", &pool.name) {
            pool.users.push(PoolUser::Profile {
                name: profile.reference.clone(),
            });
        }
    }
    if let Some(cluster) = &server.cluster {
        for pool in &mut server.pools {
            fill_parts(cluster, &server.instances, pool);
        }
    }
    for network in &mut server.networks {
        for profile in uses(&server.profiles, "network", &network.name) {
            let Reference { project, name } = &profile.reference;
            let url = format!("/1.0/profiles/{name}?project={project}");
            network.used_by.push(url);
        }
    }
}

/// Gives each member its part of a pool that says nothing else, with the instances that are there.
fn fill_parts(cluster: &Cluster, instances: &[Instance], pool: &mut Pool) {
    if pool.parts.is_empty() {
        let part = |member: &Member| PoolPart {
            member: member.name.clone(),
            status: "Created".into(),
            config: pool.config.clone(),
            ..PoolPart::default()
        };
        pool.parts = cluster.members.iter().map(part).collect();
    }
    for part in &mut pool.parts {
        let here = part.member == cluster.here;
        let on = instances.iter().filter(|it| {
            it.pool.as_ref() == Some(&pool.name)
                && (it.location == part.member || it.location.is_empty() && here)
        });
        part.users.extend(on.map(|it| PoolUser::Instance {
            name: it.reference.clone(),
        }));
    }
}

fn uses<'a>(
    profiles: &'a [Profile],
    key: &'a str,
    value: &'a str,
) -> impl Iterator<Item = &'a Profile> {
    profiles.iter().filter(move |profile| {
        profile
            .devices
            .values()
            .any(|keys| keys.get(key).map(String::as_str) == Some(value))
    })
}
