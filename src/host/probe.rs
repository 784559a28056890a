//! Reading the machine around Incus into [`Host`].

use std::collections::{BTreeMap, BTreeSet, HashSet};
use std::fs::{self, OpenOptions};
use std::hash::{DefaultHasher, Hash as _, Hasher as _};
use std::net::Ipv4Addr;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};

use super::filesystems::{
    allocated, children, filesystem, is_block_device, is_subvolume, lasting_btrfs, mount_of,
    parse_mounts, place, Mount,
};
use super::{packages, Machine};
use crate::facts::{
    Backing, Bytes, Config, Filesystem, Host, Ipv4Network, Os, Place, PlaceKind, SourceKind,
    SourcePath, Trigger, Zpool, TOOLS,
};

/// Where daemons are that are in nobody's PATH.
const DAEMON_FOLDERS: &[&str] = &["/usr/libexec/incus", "/usr/lib/incus", "/opt/incus/bin"];

/// Reads everything about the host that a decision may depend on.  `source` is what `--source`
/// names.
#[must_use]
pub fn probe(machine: &Machine, source: Option<&str>) -> Host {
    let mounts = parse_mounts(&read("/proc/self/mountinfo"));
    let incus_dir = &machine.paths.incus;
    let own = mount_of(&mounts, incus_dir);
    let others = lasting_btrfs(&mounts, own, &read("/etc/fstab"));
    let places = places(incus_dir, &others);
    let tools = tools();
    let os = os(&read("/etc/os-release"));
    let kernel_filesystems = kernel_filesystems(machine);
    Host {
        root: nix::unistd::geteuid().is_root(),
        systemd: Path::new("/run/systemd/system").is_dir(),
        user_namespace: !is_whole_uid_map(&read("/proc/self/uid_map")),
        loop_devices: OpenOptions::new()
            .read(true)
            .write(true)
            .open("/dev/loop-control")
            .is_ok(),
        packages: packages::probe(machine, &os, &tools),
        zpools: zpools(machine, &tools, &kernel_filesystems),
        incus_dir: incus_dir.display().to_string(),
        incus_database: incus_dir.join("database/global").exists(),
        incus_filesystem: own.map_or_else(unknown_filesystem, |mount| Filesystem {
            promised: promised(&places, incus_dir),
            ..filesystem(mount)
        }),
        btrfs_filesystems: others.iter().map(filesystem).collect(),
        places,
        source: source.map(|path| source_path(machine, &mounts, path)),
        ipv4_networks: ipv4_networks(&read("/proc/net/route"), &read("/proc/net/fib_trie")),
        interfaces: children(Path::new("/sys/class/net"))
            .iter()
            .filter_map(|path| Some(path.file_name()?.to_string_lossy().into_owned()))
            .collect(),
        // Looked at by those who know it.
        trigger: Trigger::default(),
        seed: seed(),
        os,
        tools,
        kernel_filesystems,
    }
}

/// What a pool's data lies in, from its driver and configuration.
#[must_use]
pub fn backing(driver: &str, config: &Config) -> Backing {
    let Some(source) = config.get("source") else {
        return Backing::Unknown;
    };
    let path = Path::new(source);
    let metadata = path.metadata();
    match (&metadata, driver) {
        (Ok(data), _) if data.is_file() => Backing::LoopFile {
            path: source.clone(),
            size: Bytes(data.len()),
            allocated: allocated(data),
        },
        _ if is_block_device(path) => Backing::Device {
            path: source.clone(),
        },
        // Its file is gone.
        (Err(_), "btrfs") if path.extension().is_some_and(|end| end == "img") => Backing::Unknown,
        (_, "btrfs") if path.is_absolute() => Backing::Subvolume {
            path: source.clone(),
        },
        (_, "dir") => Backing::Directory {
            path: source.clone(),
        },
        (_, "zfs") if !path.is_absolute() => Backing::Dataset {
            name: source.clone(),
        },
        _ => Backing::Unknown,
    }
}

/// What lies in a `dir` pool's folder besides cached images and empty folders.
#[must_use]
pub fn stray_files(folder: &Path) -> Vec<String> {
    children(folder)
        .into_iter()
        .filter(|path| path.file_name().is_some_and(|name| name != "images"))
        .flat_map(|path| {
            if path.is_dir() && !path.is_symlink() {
                children(&path)
            } else {
                vec![path]
            }
        })
        .map(|path| path.display().to_string())
        .collect()
}

/// Whether a program of [`TOOLS`] is on the machine, and where.
#[must_use]
pub fn tools() -> BTreeMap<String, String> {
    TOOLS
        .iter()
        .filter_map(|tool| {
            let found = which::which(tool).ok().or_else(|| {
                // sbin is not in everybody's PATH.
                let folders = DAEMON_FOLDERS.iter().chain(&["/usr/sbin", "/sbin"]);
                folders
                    .map(|folder| Path::new(folder).join(tool))
                    .find(|path| path.is_file())
            })?;
            Some(((*tool).to_owned(), found.display().to_string()))
        })
        .collect()
}

fn read(path: impl AsRef<Path>) -> String {
    fs::read(path)
        .map(|bytes| String::from_utf8_lossy(&bytes).into_owned())
        .unwrap_or_default()
}

fn os(text: &str) -> Os {
    let field = |key: &str| {
        text.lines()
            .find_map(|line| line.strip_prefix(key)?.strip_prefix('='))
            .map(|value| value.trim_matches(['"', '\'']).to_owned())
            .unwrap_or_default()
    };
    Os {
        id: field("ID"),
        codename: field("VERSION_CODENAME"),
        name: field("PRETTY_NAME"),
    }
}

/// Outside user namespaces one line maps all of the 2^32 - 1 ids onto themselves.
fn is_whole_uid_map(text: &str) -> bool {
    let fields: Vec<&str> = text.split_whitespace().collect();
    fields.is_empty() || fields == ["0", "0", "4294967295"]
}

fn kernel_filesystems(machine: &Machine) -> BTreeSet<String> {
    let listed = read("/proc/filesystems");
    ["btrfs", "zfs"]
        .into_iter()
        .filter(|name| {
            listed
                .lines()
                .any(|line| line.split_whitespace().last() == Some(name))
                || loadable(machine, name)
        })
        .map(ToOwned::to_owned)
        .collect()
}

fn loadable(machine: &Machine, module: &str) -> bool {
    which::which("modprobe").is_ok()
        && machine
            .run(
                &["modprobe", "--dry-run", "--quiet", module].map(String::from),
                machine.bounds.query,
            )
            .is_ok()
}

fn zpools(
    machine: &Machine,
    tools: &BTreeMap<String, String>,
    kernel_filesystems: &BTreeSet<String>,
) -> Vec<Zpool> {
    if !tools.contains_key("zpool") || !kernel_filesystems.contains("zfs") {
        return Vec::new();
    }
    let argv = [
        "zpool",
        "list",
        "-H",
        "-p",
        "-o",
        "name,free,health,readonly",
    ]
    .map(String::from);
    let listed = machine
        .run(&argv, machine.bounds.query)
        .unwrap_or_default()
        .stdout;
    listed
        .lines()
        .filter_map(|line| {
            let fields: Vec<&str> = line.split('\t').collect();
            let [name, free, "ONLINE", "off" | "-"] = fields[..] else {
                return None;
            };
            Some(Zpool {
                name: name.to_owned(),
                free: Bytes(free.parse().ok()?),
            })
        })
        .collect()
}

/// Everything where Incus puts files and folders of pools, and where this program puts subvolumes.
fn places(incus_dir: &Path, btrfs: &[Mount]) -> Vec<Place> {
    let mut paths = children(&incus_dir.join("disks"));
    paths.extend(children(&incus_dir.join("storage-pools")));
    for mount in btrfs {
        paths.extend(children(&mount.mount_point).into_iter().filter(|path| {
            path.file_name()
                .is_some_and(|name| name.to_string_lossy().starts_with("incus-"))
        }));
    }
    paths.iter().filter_map(|path| place(path)).collect()
}

/// What the loop files in Incus's folder may still grow by.
fn promised(places: &[Place], incus_dir: &Path) -> Bytes {
    let folder = incus_dir.join("disks");
    places
        .iter()
        .filter(|place| Path::new(&place.path).starts_with(&folder))
        .map(|place| match place.what {
            PlaceKind::File { size, allocated } => size.saturating_sub(allocated),
            _ => Bytes(0),
        })
        .fold(Bytes(0), Bytes::saturating_add)
}

fn source_path(machine: &Machine, mounts: &[Mount], text: &str) -> SourcePath {
    let path = PathBuf::from(text);
    let kind = if path.is_absolute() {
        path_kind(machine, mounts, &path)
    } else {
        let exists = |name: &str| {
            let argv = ["zfs", "list", "-H", "-o", "name", name].map(String::from);
            machine.run(&argv, machine.bounds.query).is_ok()
        };
        let zpool = text.split('/').next().unwrap_or_default();
        SourceKind::Dataset {
            exists: exists(text),
            // Of an existing one: whether it is the pool itself; otherwise whether its pool exists.
            zpool: if text == zpool {
                true
            } else {
                !exists(text) && exists(zpool)
            },
        }
    };
    let real = path.canonicalize().unwrap_or(path);
    SourcePath {
        filesystem: mount_of(mounts, &real).map_or_else(unknown_filesystem, filesystem),
        path: real.display().to_string(),
        kind,
    }
}

fn path_kind(machine: &Machine, mounts: &[Mount], path: &Path) -> SourceKind {
    let Ok(metadata) = path.metadata() else {
        // A dangling link leads somewhere else than it looks.
        return if path.is_symlink() {
            SourceKind::File
        } else {
            SourceKind::Nothing {
                parent: path.parent().is_some_and(Path::is_dir),
            }
        };
    };
    if is_block_device(path) {
        block_device(machine, mounts, path, metadata.rdev())
    } else if !metadata.is_dir() {
        SourceKind::File
    } else if children(path).is_empty() {
        SourceKind::EmptyDirectory {
            subvolume: is_subvolume(path),
        }
    } else {
        SourceKind::FilledDirectory
    }
}

fn block_device(machine: &Machine, mounts: &[Mount], path: &Path, device: u64) -> SourceKind {
    use nix::sys::stat::{major, minor};
    let number = format!("{}:{}", major(device), minor(device));
    let folder = PathBuf::from(format!("/sys/dev/block/{number}"));
    let mut numbers: HashSet<String> = children(&folder)
        .iter()
        .map(|child| read(child.join("dev")).trim().to_owned())
        .filter(|number| !number.is_empty())
        .collect();
    numbers.insert(number);
    let name = path.display().to_string();
    let swap = read("/proc/swaps")
        .lines()
        .any(|line| line.split(' ').next() == Some(&name));
    // btrfs mounts show a device number of their own, so the device's name counts as well.
    let named = read("/proc/self/mounts")
        .lines()
        .any(|line| line.split(' ').next() == Some(&name));
    let held = !children(&folder.join("holders")).is_empty();
    let mounted =
        swap || named || held || mounts.iter().any(|mount| numbers.contains(&mount.device));
    let argv = ["blkid", "--probe", "--output", "export", &name].map(String::from);
    let signature = match machine.run(&argv, machine.bounds.query) {
        Ok(output) => ["TYPE=", "PTTYPE=", "USAGE="]
            .iter()
            .find_map(|key| {
                output
                    .stdout
                    .lines()
                    .find_map(|line| line.strip_prefix(key))
            })
            .map(ToOwned::to_owned),
        // blkid(8): 2 is "nothing recognised".
        Err(error) => match error.kind {
            super::command::CommandErrorKind::Failed { code: Some(2), .. } => None,
            _ => Some(format!("unknown, as it could not be read: {error}")),
        },
    };
    let sectors: u64 = read(folder.join("size")).trim().parse().unwrap_or(0);
    SourceKind::BlockDevice {
        mounted,
        signature,
        size: Bytes(sectors * 512),
    }
}

/// The networks in the kernel's routes, and of its own addresses, without the default route.
fn ipv4_networks(routes: &str, fib: &str) -> Vec<Ipv4Network> {
    let hex = |text: &str| u32::from_str_radix(text, 16).ok().map(u32::swap_bytes);
    let mut found: Vec<Ipv4Network> = routes
        .lines()
        .skip(1)
        .filter_map(|line| {
            let fields: Vec<&str> = line.split_whitespace().collect();
            let address = hex(fields.get(1)?)?;
            let mask = hex(fields.get(7)?)?;
            (mask != 0).then(|| Ipv4Network {
                address: Ipv4Addr::from(address),
                prefix: u8::try_from(mask.leading_ones()).unwrap_or(32),
            })
        })
        .collect();
    // "|-- 10.0.0.1" followed by "/32 host LOCAL" is an address of this host.
    let lines: Vec<&str> = fib.lines().map(str::trim).collect();
    for pair in lines.windows(2) {
        if let (Some(address), "/32 host LOCAL") = (pair[0].strip_prefix("|-- "), pair[1]) {
            if let Ok(address) = address.parse() {
                found.push(Ipv4Network {
                    address,
                    prefix: 32,
                });
            }
        }
    }
    found
}

fn seed() -> u64 {
    let mut hasher = DefaultHasher::new();
    read("/etc/machine-id").hash(&mut hasher);
    read("/proc/sys/kernel/hostname").hash(&mut hasher);
    hasher.finish()
}

fn unknown_filesystem() -> Filesystem {
    Filesystem {
        mount_point: "?".into(),
        kind: "unknown".into(),
        total: Bytes(0),
        free: Bytes(0),
        promised: Bytes(0),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn user_namespaces_are_told_by_their_map() {
        assert!(is_whole_uid_map("         0          0 4294967295\n"));
        assert!(!is_whole_uid_map("0 100000 65536\n"));
    }

    #[test]
    fn os_release_is_read_with_and_without_quotes() {
        let os = os("PRETTY_NAME=\"Debian GNU/Linux 12 (bookworm)\"\nVERSION_CODENAME=bookworm\nID=debian\n");
        assert_eq!(
            (os.id.as_str(), os.codename.as_str()),
            ("debian", "bookworm")
        );
        assert_eq!(os.name, "Debian GNU/Linux 12 (bookworm)");
    }

    #[test]
    fn routes_and_addresses_are_networks() {
        let routes = "Iface Destination Gateway Flags RefCnt Use Metric Mask MTU Window IRTT\n\
            eth0 00000000 010200C0 0003 0 0 0 00000000 0 0 0\n\
            eth0 000200C0 00000000 0001 0 0 0 00FFFFFF 0 0 0\n";
        let fib = "Main:\n  +-- 10.0.0.0/8 2 0 2\n     |-- 10.3.4.5\n        /32 host LOCAL\n";
        let shown: Vec<String> = ipv4_networks(routes, fib)
            .iter()
            .map(ToString::to_string)
            .collect();
        assert_eq!(shown, ["192.0.2.0/24", "10.3.4.5/32"]);
    }
}
