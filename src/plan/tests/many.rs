//! Every kind of machine, and every kind of wish, for what must be true of all of them.

use super::*;
use crate::facts::{Bytes, PackageManager, PlaceKind, PoolUser, SourceKind, Zpool};
use crate::plan::samples::{backports, filesystem, reference};
use crate::plan::{DriverChoice, Pins};

pub fn samples() -> Vec<(String, Facts)> {
    let servers = [configured(), copying(), elsewhere(), broken()].concat();
    let mut samples = [not_answering(), servers.clone()].concat();
    // The same with other ground under it: what is decided there must not contradict the rest.
    for (name, sample) in servers {
        let on_btrfs = sample.clone().host(|host| {
            host.incus_filesystem = filesystem("/", "btrfs", 100);
        });
        samples.push((format!("{name}, on btrfs"), on_btrfs));
        let with_zfs = sample.host(|host| {
            host.kernel_filesystems = ["zfs".to_owned()].into();
            host.zpools.push(Zpool {
                name: "tank".into(),
                free: Bytes::gib(100),
            });
        });
        samples.push((format!("{name}, with ZFS only"), with_zfs));
    }
    samples
        .into_iter()
        .map(|(name, sample)| (name, sample.facts()))
        .collect()
}

type Samples = Vec<(String, Sample)>;

fn list<const N: usize>(samples: [(&str, Sample); N]) -> Samples {
    samples
        .map(|(name, sample)| (name.to_owned(), sample))
        .into()
}

fn not_answering() -> Samples {
    use PackageManager::{Apk, Dnf, Pacman, Zypper};
    list([
        ("bare", Sample::bare()),
        (
            "Debian 12",
            Sample::bare().host(|host| {
                let packages = host.packages.as_mut().unwrap();
                packages.offers_incus = false;
                packages.backports = Some(backports());
            }),
        ),
        ("Fedora", Sample::bare_on("Fedora Linux 42", Dnf)),
        ("Arch", Sample::bare_on("Arch Linux", Pacman)),
        ("openSUSE", Sample::bare_on("openSUSE Tumbleweed", Zypper)),
        ("Alpine", Sample::bare_on("Alpine Linux v3.22", Apk)),
        (
            "bare, without package manager",
            Sample::bare().host(|host| host.packages = None),
        ),
        ("silent", Sample::silent()),
        (
            "silent, without systemd",
            Sample::silent().host(|host| host.systemd = false),
        ),
        (
            "silent, with a database",
            Sample::silent().host(|host| host.incus_database = true),
        ),
        (
            "removed, with a database",
            Sample::bare().host(|host| host.incus_database = true),
        ),
        ("not root", Sample::silent().host(|host| host.root = false)),
    ])
}

fn configured() -> Samples {
    list([
        ("uninitialised", Sample::uninitialised()),
        (
            "without tools",
            Sample::uninitialised().host(|host| {
                host.tools.remove("btrfs");
                host.tools.remove("dnsmasq");
            }),
        ),
        ("btrfs", Sample::set_up("btrfs")),
        (
            "btrfs with instances",
            Sample::set_up("btrfs").instance("mary"),
        ),
        ("zfs", Sample::set_up("zfs")),
        ("lvm", Sample::set_up("lvm")),
        (
            "thick lvm",
            Sample::set_up("lvm").change_pool("default", |pool| {
                let key = "lvm.use_thinpool".to_owned();
                pool.config.insert(key, "false".into());
            }),
        ),
        (
            "without root",
            Sample::set_up("btrfs").without_device("default", "root"),
        ),
        (
            "without card",
            Sample::set_up("btrfs").without_device("default", "eth0"),
        ),
        (
            "without card, with instances",
            Sample::set_up("dir")
                .without_device("default", "eth0")
                .instance("mary"),
        ),
        (
            "other devices of those names",
            Sample::uninitialised()
                .device("default", "root", "disk path=/data source=/srv")
                .device("default", "eth0", "unix-char path=/dev/null"),
        ),
        (
            "a network that is no bridge",
            Sample::uninitialised().network("incusbr0", "macvlan", "default"),
        ),
        (
            "another project's network",
            Sample::uninitialised().network("incusbr0", "ovn", "web"),
        ),
    ])
}

fn copying() -> Samples {
    let several = Sample::set_up("dir")
        .device("default", "root", "disk path=/ pool=default size=10GiB")
        .device("web/default", "disk0", "disk path=/ pool=default")
        .device("user-1000/default", "root", "disk path=/ pool=default");
    list([
        ("empty dir", Sample::set_up("dir")),
        (
            "empty dir, no root",
            Sample::set_up("dir").without_device("default", "root"),
        ),
        ("empty dir, several profiles", several.clone()),
        (
            "dir with images",
            Sample::set_up("dir").user(
                "default",
                PoolUser::Image {
                    fingerprint: "0123456789ab".into(),
                },
            ),
        ),
        ("dir with instances", Sample::dir_with_instances()),
        (
            "dir with instances everywhere",
            several
                .clone()
                .instance("mary")
                .instance("web/luz")
                .instance("user-1000/mary")
                .instance("settled")
                .own_device("settled", "root", "disk path=/ pool=default"),
        ),
        (
            "dir with a volume",
            several.clone().user(
                "default",
                PoolUser::Volume {
                    name: reference("web/data"),
                },
            ),
        ),
        (
            "dir with a bucket",
            Sample::set_up("dir").user(
                "default",
                PoolUser::Bucket {
                    name: reference("data"),
                },
            ),
        ),
        (
            "dir with something unknown",
            Sample::set_up("dir").user(
                "default",
                PoolUser::Other {
                    url: "/1.0/new".into(),
                },
            ),
        ),
        (
            "dir with the daemon's volume",
            several.daemon_volume("storage.images_volume", "default/images"),
        ),
        (
            "dir with stray files",
            Sample::set_up("dir").change_pool("default", |pool| {
                pool.stray_files.push("containers/lost".into());
            }),
        ),
        (
            "dir in a folder that was chosen",
            Sample::set_up("dir").change_pool("default", |pool| {
                let folder = "/srv/storage-pools/default".to_owned();
                pool.config.insert("source".into(), folder);
            }),
        ),
    ])
}

fn elsewhere() -> Samples {
    list([
        (
            "a pool of another name",
            Sample::uninitialised().pool("fast", "btrfs"),
        ),
        (
            "a profile of a user on an old pool",
            Sample::set_up("btrfs")
                .pool("slow", "dir")
                .device("user-1000/default", "root", "disk path=/ pool=slow")
                .instance("user-1000/mary"),
        ),
        (
            "a dir pool beside, with instances",
            Sample::dir_with_instances().pool("taos", "btrfs"),
        ),
        (
            "pools of every name",
            Sample::dir_with_instances()
                .pool("taos", "dir")
                .pool("fast", "dir"),
        ),
        (
            "little room",
            Sample::uninitialised().host(|host| {
                host.incus_filesystem = filesystem("/", "ext4", 7);
            }),
        ),
        (
            "another btrfs with more room",
            Sample::set_up("dir").host(|host| {
                let other = filesystem("/srv", "btrfs", 900);
                host.btrfs_filesystems.push(other);
            }),
        ),
    ])
}

fn broken() -> Samples {
    let leftover = PlaceKind::File {
        size: Bytes::gib(50),
        allocated: Bytes::gib(1),
    };
    list([
        (
            "a leftover file",
            Sample::set_up("dir").place("/var/lib/incus/disks/default.img", leftover),
        ),
        (
            "an unavailable pool",
            Sample::set_up("dir").change_pool("default", |pool| {
                pool.status = "Unavailable".into();
            }),
        ),
        (
            "another pool is errored",
            Sample::set_up("dir")
                .pool("taos", "btrfs")
                .change_pool("taos", |pool| pool.status = "Errored".into()),
        ),
        (
            "a cluster",
            Sample::uninitialised().members(&["one", "two"], Some(100)),
        ),
        (
            "a cluster whose room is not known",
            Sample::uninitialised().members(&["one", "two"], None),
        ),
        (
            "a cluster on dir",
            Sample::set_up("dir").members(&["one", "two", "three"], Some(100)),
        ),
        (
            "a cluster on dir that is in use elsewhere",
            Sample::dir_with_instances()
                .members(&["one", "two"], Some(100))
                .at("mary", "two"),
        ),
        (
            "a cluster with a pool that was begun",
            Sample::uninitialised()
                .members(&["one", "two"], Some(100))
                .begun("default", "btrfs", &[("one", "Pending", "size=8GiB")]),
        ),
        (
            "a cluster with a pool that some have",
            Sample::uninitialised()
                .members(&["one", "two"], Some(100))
                .begun(
                    "default",
                    "btrfs",
                    &[
                        ("one", "Created", "size=8GiB"),
                        ("two", "Pending", "size=8GiB"),
                    ],
                ),
        ),
        (
            "a cluster with a member that is gone",
            Sample::uninitialised()
                .members(&["one", "two"], Some(100))
                .member("two", |member| member.silent = Some("gone".into())),
        ),
        (
            "in a container",
            Sample::set_up("dir").host(|host| host.user_namespace = true),
        ),
    ])
}

/// With what `--source` names, where it is given.
pub fn goals() -> Vec<(&'static str, Goal, Option<SourceKind>)> {
    let plain = Goal::default;
    let driver = |driver| Goal { driver, ..plain() };
    let all = |goal| Goal {
        pins: Pins::All,
        ..goal
    };
    let device = SourceKind::BlockDevice {
        mounted: false,
        signature: None,
        size: Bytes::gib(100),
    };
    let held = Goal {
        preallocate: true,
        ..plain()
    };
    let over = Goal {
        overcommit: true,
        ..sized("900GiB")
    };
    let beside_on = |driver| Goal { driver, ..beside() };
    vec![
        ("nothing said", plain(), None),
        ("--driver btrfs", driver(DriverChoice::Btrfs), None),
        ("--driver zfs", driver(DriverChoice::Zfs), None),
        ("--driver dir", driver(DriverChoice::Dir), None),
        ("--pool default", named("default"), None),
        ("--pool taos", named("taos"), None),
        ("--pool fast --pin all", all(named("fast")), None),
        ("--size", sized("8GiB"), None),
        ("--size --overcommit", over, None),
        ("--preallocate", held, None),
        ("--source /dev/sdb", at("/dev/sdb"), Some(device)),
        (
            "--source /srv/pool",
            at("/srv/pool"),
            Some(SourceKind::Nothing { parent: true }),
        ),
        ("--beside", beside(), None),
        ("--beside --pin all", all(beside()), None),
        (
            "--beside --pool agents",
            Goal {
                beside: true,
                ..named("agents")
            },
            None,
        ),
        ("--beside --driver dir", beside_on(DriverChoice::Dir), None),
        (
            "--no-network",
            Goal {
                network: false,
                ..plain()
            },
            None,
        ),
    ]
}
