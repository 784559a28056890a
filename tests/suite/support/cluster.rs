//! A real Incus cluster: each member is a private host of its own, with its own daemon, pools and bridges.
//!
//! The members reach each other over a network of their own at 192.0.2.1, 192.0.2.2 and so on, and are called m1, m2, ….
//! With two members only m1 votes in the database; with three all do.

use std::ops::Index;
use std::thread;
use std::time::{Duration, Instant};

use super::{Builder, Host};

/// Running members; they end with the value, the first one last.
pub struct Cluster {
    members: Vec<Host>,
}

impl Cluster {
    /// So many members, without a pool, a network or a root device in the `default` profile.
    pub fn start(members: usize) -> Self {
        Self::of((0..members).map(|_| Host::builder()).collect())
    }

    /// The same of hosts that are not plain ones: of another file system, or without some package.
    pub fn of(hosts: Vec<Builder>) -> Self {
        let mut hosts = hosts.into_iter();
        let first = member(hosts.next().expect("a first member"), "1");
        let others: Vec<Host> = thread::scope(|scope| {
            let start = |(index, host)| {
                let first = &first;
                scope.spawn(move || plugged_into(first, index + 1, host))
            };
            let starting: Vec<_> = hosts.enumerate().map(start).collect();
            first.incus(&["config", "set", "core.https_address", &address(0)]);
            first.incus(&["cluster", "enable", "m1"]);
            let started = starting.into_iter().map(|it| it.join().expect("a member"));
            started.collect()
        });
        let mut cluster = Self {
            members: vec![first],
        };
        for host in others {
            cluster.admit(host, &[]);
        }
        cluster
    }

    /// The common half of the tests: a pool `default` of this driver on all members (2 GiB each, unless it is `dir`), and
    /// the `default` profile with its root on it.
    pub fn with_pool(members: usize, driver: &str) -> Self {
        let cluster = Self::start(members);
        let size = if driver == "dir" {
            &[][..]
        } else {
            &["size=2GiB"]
        };
        cluster.make_pool("default", driver, size);
        cluster[0].incus(&[
            "profile",
            "device",
            "add",
            "default",
            "root",
            "disk",
            "path=/",
            "pool=default",
        ]);
        cluster
    }

    /// Lets a new member join and returns its index. Of pools that are there it takes its part with these keys: pool, key,
    /// value; the daemon asks for each pool's `source` (which may be empty), and for the `size` of a loop file.
    pub fn join(&mut self, keys: &[(&str, &str, &str)]) -> usize {
        let index = self.members.len();
        let host = plugged_into(&self.members[0], index, Host::builder());
        self.admit(host, keys);
        index
    }

    fn admit(&mut self, host: Host, keys: &[(&str, &str, &str)]) {
        let index = self.members.len();
        let told = self.members[0].incus(&["cluster", "add", &name(index)]);
        let token = told.lines().last().expect("a token to join with");
        let mut preseed = format!(
            "cluster: {{enabled: true, server_address: '{}', cluster_token: '{token}', member_config: [",
            address(index)
        );
        let keys: Vec<String> = keys
            .iter()
            .map(|(pool, key, value)| {
                format!("{{entity: storage-pool, name: {pool}, key: {key}, value: '{value}'}}")
            })
            .collect();
        preseed += &keys.join(",");
        host.preseed(&(preseed + "]}\n"));
        self.members.push(host);
    }

    /// A pool on all members, with these keys for each.
    pub fn make_pool(&self, pool: &str, driver: &str, keys: &[&str]) {
        let create = ["storage", "create", pool, driver];
        for index in 0..self.members.len() {
            let target = ["--target", &name(index)];
            self[0].incus(&[&create[..], keys, &target].concat());
        }
        self[0].incus(&create);
    }

    /// Kills a member's daemon; its containers run on. The cluster knows at once: the date of its last sign of life is
    /// set back, in place of a wait for `cluster.offline_threshold`.
    pub fn lose(&self, index: usize) {
        self[index].kill_daemon();
        self.mark(index, "2020-01-01T00:00:00Z");
    }

    /// Starts the daemon of a lost member, and waits until it answers each of the others.
    pub fn bring_back(&self, index: usize) {
        self[index].start_daemon();
        // Else it takes until the next round of signs of life, up to ten seconds.
        self.mark(index, "now");
        let path = format!("/1.0?target={}", name(index));
        let deadline = Instant::now() + Duration::from_secs(30);
        for host in self.running() {
            while let Err(error) = host.try_query(&path) {
                assert!(Instant::now() < deadline, "asking {}: {error}", name(index));
                thread::sleep(Duration::from_millis(50));
            }
        }
    }

    /// The members whose daemon runs.
    fn running(&self) -> impl Iterator<Item = &Host> {
        let all = self.members.iter();
        all.filter(|host| host.daemon_pid().is_some())
    }

    /// Sets the date of a member's last sign of life. Where the database has no majority there is nobody to tell.
    fn mark(&self, index: usize, date: &str) {
        let sql = format!(
            "UPDATE nodes SET heartbeat = strftime('%Y-%m-%dT%H:%M:%fZ', '{date}') WHERE name = '{}'",
            name(index)
        );
        for host in self.running() {
            if host.try_incus(&["admin", "sql", "global", &sql]).is_ok() {
                return;
            }
        }
    }

    pub fn len(&self) -> usize {
        self.members.len()
    }

    pub fn members(&self) -> impl Iterator<Item = &Host> {
        self.members.iter()
    }

    /// What the cluster says of a member: `Online`, `Offline`, `Evacuated`.
    pub fn status(&self, asked: usize, of: usize) -> String {
        let path = format!("/1.0/cluster/members/{}", name(of));
        let status = &self[asked].query(&path)["status"];
        status.as_str().expect("a status").to_owned()
    }
}

impl Index<usize> for Cluster {
    type Output = Host;

    /// m1 is 0.
    fn index(&self, index: usize) -> &Host {
        &self.members[index]
    }
}

impl Drop for Cluster {
    fn drop(&mut self) {
        // The others are plugged into the first one's network.
        let others = self.members.drain(1.min(self.members.len())..);
        thread::scope(|scope| {
            for host in others {
                scope.spawn(move || drop(host));
            }
        });
    }
}

fn name(index: usize) -> String {
    format!("m{}", index + 1)
}

fn address(index: usize) -> String {
    format!("192.0.2.{}:8443", index + 1)
}

/// A host that is to be a member; its network has its plug in the first one's.
fn plugged_into(first: &Host, index: usize, host: Builder) -> Host {
    member(host, &format!("{}:{}", index + 1, first.dir().display()))
}

fn member(host: Builder, spec: &str) -> Host {
    host.option("--member", spec).daemon().start()
}
