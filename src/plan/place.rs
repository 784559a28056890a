//! What a new pool is made of: the driver, and where it lies.

mod begun;

use begun::{place_of_begun, refuse_begun_otherwise};

use super::{available, size, DriverChoice, Goal, Planner, Refusal, SourceChoice};
use crate::facts::{
    Bytes, Config, Filesystem, Host, Place, PlaceKind, Pool, PoolPart, SourceKind, SourcePath,
};
use crate::step::{is_begun, PoolPlace, PoolSpec, Step};

/// Mount options of every new btrfs pool; `docs/decisions/mount-options.md` has the figures.  The
/// first is Incus's own default, which setting the key replaces.
const MOUNT_OPTIONS: &str = "user_subvol_rm_allowed,noatime";
/// Only for a filesystem of the pool's own: on a subvolume it would compress the whole host's.
const COMPRESSION: &str = "compress=zstd:1";
/// Without this the first deletion gives a preallocated file's blocks back.
const KEEP_BLOCKS: &str = "nodiscard";
/// Filesystems on which allocating a file holds space for what is written later
/// (`docs/decisions/preallocation.md`).
const HOLDING: &[&str] = &["ext4", "xfs", "tmpfs"];

/// What Incus and its tools take, unpacked, with the package manager's lists and downloads: some
/// 600 MiB on Debian 12 and 13.
const PACKAGES: Bytes = Bytes::gib(1);

impl Planner {
    /// Decides how the pool `name` is made, and whether its blocks are allocated afterwards.
    pub(super) fn place_pool(
        &mut self,
        name: &str,
        goal: &Goal,
    ) -> Result<(PoolSpec, Option<Step>), Refusal> {
        let here = self.goal_here(goal);
        let (goal, wanted) = (&here, goal);
        let host = self.facts.host.clone();
        let begun = self.server().pool(name).filter(|it| is_begun(it)).cloned();
        let btrfs = host.kernel_filesystems.contains("btrfs") && self.obtainable("btrfs");
        let zfs = host.kernel_filesystems.contains("zfs") && self.obtainable("zfs");
        let driver = choose_driver(goal, btrfs, zfs)?;
        if let Some(begun) = &begun {
            refuse_begun_otherwise(begun, driver)?;
        }
        self.check_members(driver)?;
        let place = match driver {
            "dir" => PoolPlace::Directory {
                path: format!("{}/storage-pools/{name}", host.incus_dir),
            },
            _ => match begun.as_ref().and_then(|it| self.part_here(it)) {
                Some(part) => place_of_begun(&host, driver, name, goal, part)?,
                None => place(&host, driver, name, goal)?,
            },
        };
        match driver {
            "btrfs" => self.needs.extend(["btrfs", "mkfs.btrfs"]),
            "zfs" => self.needs.extend(["zfs", "zpool"]),
            _ => {}
        }
        refuse_unusable(goal, &place)?;
        if goal.preallocate {
            refuse_unholding(&host, driver)?;
        }
        let made = begun.as_ref().and_then(|it| self.part_here(it));
        if made.is_none_or(|part| part.status != "Created") {
            refuse_leftovers(&host, name, self.server().pool(name).is_some(), &place)?;
        }
        if let PoolPlace::LoopFile {
            size,
            overcommitted: true,
            ..
        } = place
        {
            self.note(
                format!(
                    "OVERCOMMITTED: of the {size} of pool {name}, {} can keep {}",
                    host.incus_filesystem.mount_point,
                    size::fitting(room(&host))
                ),
                Some("when it fills up, instances on the pool lose what they write".into()),
            );
        }
        let hold = match &place {
            PoolPlace::LoopFile { path, size, .. } if goal.preallocate => Some(Step::HoldSpace {
                pool: name.to_owned(),
                path: path.clone(),
                size: *size,
            }),
            _ => None,
        };
        let pool = PoolSpec {
            name: name.to_owned(),
            driver: driver.to_owned(),
            config: config(driver, &place, goal.preallocate),
            description: String::new(),
            place,
            parts: Vec::new(),
        };
        Ok((self.on_members(pool, wanted)?, hold))
    }

    /// What this member has already of a pool that was begun.
    fn part_here<'a>(&self, pool: &'a Pool) -> Option<&'a PoolPart> {
        let part = pool.part(self.server().here()?)?;
        part.is_there().then_some(part)
    }

    /// Whether a driver's tools are there or can be installed.
    fn obtainable(&self, tool: &str) -> bool {
        self.facts.host.tools.contains_key(tool) || self.facts.host.packages.is_some()
    }
}

fn choose_driver(goal: &Goal, btrfs: bool, zfs: bool) -> Result<&'static str, Refusal> {
    let missing = |driver: &str| {
        Refusal::new(
            format!("this kernel has no {driver}, or its tools can neither be found nor installed"),
            [
                "leave --driver out to take what works here".to_owned(),
                "or accept that each launch copies: --driver dir".to_owned(),
            ],
        )
    };
    match goal.driver {
        DriverChoice::Auto if btrfs => Ok("btrfs"),
        DriverChoice::Auto if zfs => Ok("zfs"),
        DriverChoice::Auto => Err(Refusal::new(
            "no copy-on-write storage on this host: the kernel has neither btrfs nor ZFS, or \
             their tools can neither be found nor installed",
            [
                "install btrfs-progs, on a kernel with btrfs, and run taos-setup again".to_owned(),
                "or accept that each launch copies: --driver dir".to_owned(),
            ],
        )),
        DriverChoice::Btrfs if btrfs => Ok("btrfs"),
        DriverChoice::Btrfs => Err(missing("btrfs")),
        DriverChoice::Zfs if zfs => Ok("zfs"),
        DriverChoice::Zfs => Err(missing("ZFS")),
        DriverChoice::Dir => Ok("dir"),
    }
}

/// Mount options for a filesystem that others share.
pub(super) fn without_compression(options: &str) -> String {
    let kept = options.split(',').filter(|it| *it != COMPRESSION);
    kept.collect::<Vec<_>>().join(",")
}

fn place(host: &Host, driver: &str, name: &str, goal: &Goal) -> Result<PoolPlace, Refusal> {
    match &goal.source {
        Some(SourceChoice::Loop) => loop_file(host, driver, name, goal),
        Some(SourceChoice::At(path)) => match &host.source {
            Some(source) => named_place(source, driver, name),
            None => Err(Refusal::new(
                format!("--source {path} could not be looked at"),
                ["name a path, a device, a ZFS dataset, or loop"],
            )),
        },
        // Asking for a size is asking for a file of that size.
        None if goal.size.is_some() || goal.preallocate => loop_file(host, driver, name, goal),
        None => match driver {
            "btrfs" => btrfs_place(host, name).map_or_else(
                || loop_file(host, driver, name, goal),
                |(path, mount_point)| {
                    let existed = host.places.iter().any(|place| place.path == path);
                    Ok(PoolPlace::Subvolume {
                        path,
                        mount_point,
                        existed,
                    })
                },
            ),
            _ => zpool_place(host, name).map_or_else(|| loop_file(host, driver, name, goal), Ok),
        },
    }
}

/// A subvolume of the filesystem Incus lies on, or of another btrfs with clearly more room: three
/// times as much, and 20 GiB more.
fn btrfs_place(host: &Host, name: &str) -> Option<(String, String)> {
    let own = &host.incus_filesystem;
    let clearly_more = |other: &&Filesystem| {
        other.free.0 >= own.free.0.saturating_mul(3)
            && other.free >= own.free.saturating_add(Bytes::gib(20))
    };
    let best = host
        .btrfs_filesystems
        .iter()
        .filter(clearly_more)
        .max_by_key(|filesystem| filesystem.free);
    if let Some(other) = best {
        let root = other.mount_point.trim_end_matches('/');
        return Some((format!("{root}/incus-{name}"), other.mount_point.clone()));
    }
    (own.kind == "btrfs").then(|| {
        (
            format!("{}/storage-pools/{name}", host.incus_dir),
            own.mount_point.clone(),
        )
    })
}

fn zpool_place(host: &Host, name: &str) -> Option<PoolPlace> {
    let zpool = host.zpools.iter().max_by_key(|zpool| zpool.free)?;
    (zpool.free >= size::FLOOR).then(|| PoolPlace::Dataset {
        name: format!("{}/incus-{name}", zpool.name),
    })
}

fn loop_file(host: &Host, driver: &str, name: &str, goal: &Goal) -> Result<PoolPlace, Refusal> {
    if host.user_namespace || !host.loop_devices {
        let why = if host.user_namespace {
            "this is an unprivileged container, where no loop device can be set up"
        } else {
            "there are no loop devices here (/dev/loop-control cannot be opened)"
        };
        return Err(Refusal::new(
            format!("a pool in a file is not possible: {why}"),
            [
                "run taos-setup on the host itself".to_owned(),
                "or name a folder on a btrfs filesystem, or a ZFS dataset: --source …".to_owned(),
                "or load the kernel's loop driver, if that is all: modprobe loop".to_owned(),
                "or accept that each launch copies: --driver dir".to_owned(),
            ],
        ));
    }
    let filesystem = &host.incus_filesystem;
    let fit = size::decide(
        room(host),
        &filesystem.mount_point,
        goal.size,
        goal.overcommit,
        goal.preallocate,
    )?;
    debug_assert!(matches!(driver, "btrfs" | "zfs"));
    Ok(PoolPlace::LoopFile {
        path: loop_path(host, name),
        size: fit.size,
        overcommitted: fit.keeps.is_some(),
    })
}

/// What is available for a loop file.  What is to be installed first takes space, too.
fn room(host: &Host) -> Bytes {
    let packages = if host.tools.contains_key("incusd") {
        Bytes(0)
    } else {
        PACKAGES
    };
    available(&host.incus_filesystem).saturating_sub(packages)
}

/// Where Incus puts the file of a pool that names no source.
fn loop_path(host: &Host, name: &str) -> String {
    format!("{}/disks/{name}.img", host.incus_dir)
}

/// The place that `--source` names, if nothing that is there could be lost.
fn named_place(source: &SourcePath, driver: &str, name: &str) -> Result<PoolPlace, Refusal> {
    let path = source.path.clone();
    let refuse = |what: String, hint: &str| Err(Refusal::new(what, [hint.to_owned()]));
    match (&source.kind, driver) {
        (SourceKind::File, _) => refuse(
            format!("--source {path} is a file, which would be overwritten"),
            "for a pool in a file leave --source out; for this folder's filesystem name a path that is not there yet",
        ),
        (SourceKind::FilledDirectory, _) => refuse(
            format!("--source {path} is a folder with files in it, which a pool would take over"),
            "name a path that is not there yet",
        ),
        (SourceKind::BlockDevice { mounted: true, .. }, _) => refuse(
            format!("--source {path} is a device that is mounted"),
            "name a device that is not in use",
        ),
        (
            SourceKind::BlockDevice {
                signature: Some(signature),
                ..
            },
            _,
        ) => Err(Refusal::new(
            format!("--source {path} has data on it ({signature}), which would be overwritten"),
            [
                "name an empty device".to_owned(),
                format!("or, if nothing on it is needed, empty it yourself: wipefs --all {path}"),
            ],
        )),
        (SourceKind::BlockDevice { size, .. }, _) if *size < size::FLOOR => refuse(
            format!("--source {path} has {size}, too little for a pool that agents grow in"),
            "name a larger device",
        ),
        (SourceKind::BlockDevice { .. }, _) => Ok(PoolPlace::Device { path }),
        (SourceKind::Nothing { parent: false }, "btrfs") => refuse(
            format!("--source {path}: the folder it would lie in is not there"),
            "make that folder first, or mount its filesystem",
        ),
        (
            SourceKind::Nothing { parent: true } | SourceKind::EmptyDirectory { subvolume: true },
            "btrfs",
        ) if source.filesystem.kind == "btrfs" => Ok(PoolPlace::Subvolume {
            path,
            mount_point: source.filesystem.mount_point.clone(),
            existed: source.kind == SourceKind::EmptyDirectory { subvolume: true },
        }),
        (SourceKind::Nothing { parent: true }, "btrfs") => Err(Refusal::new(
            format!(
                "--source {path} is on {}, and only btrfs can hold a subvolume",
                source.filesystem.kind
            ),
            [
                "name a path on a btrfs filesystem, or an empty device".to_owned(),
                "or leave --source out for a pool in a file".to_owned(),
            ],
        )),
        (SourceKind::EmptyDirectory { subvolume: false }, "btrfs") => refuse(
            format!("--source {path} is a folder and no subvolume; Incus refuses that"),
            "remove the empty folder, or name a path that is not there yet",
        ),
        (SourceKind::Dataset { exists: true, zpool: true }, "zfs") => Ok(PoolPlace::Dataset {
            name: format!("{path}/incus-{name}"),
        }),
        (SourceKind::Dataset { exists: true, .. }, "zfs") => refuse(
            format!("--source {path} is a dataset that is in use or may hold data"),
            "name a dataset that is not there yet",
        ),
        (SourceKind::Dataset { zpool: true, .. }, "zfs") => Ok(PoolPlace::Dataset { name: path }),
        (SourceKind::Dataset { .. }, "zfs") => refuse(
            format!("--source {path}: no ZFS pool of that name is imported"),
            "see what is there with: zpool list",
        ),
        (_, driver) => refuse(
            format!("--source {path} is nothing that a {driver} pool can lie in"),
            "btrfs takes a path on btrfs or an empty device; zfs a dataset or an empty device",
        ),
    }
}

fn refuse_unusable(goal: &Goal, place: &PoolPlace) -> Result<(), Refusal> {
    let is_loop = matches!(place, PoolPlace::LoopFile { .. });
    if (goal.size.is_some() || goal.preallocate) && !is_loop {
        return Err(Refusal::new(
            format!(
                "--size and --preallocate are for a pool in a file; this one would be a {place}"
            ),
            ["leave them out, or leave out --source and --driver dir"],
        ));
    }
    if goal.source.is_some() && matches!(place, PoolPlace::Directory { .. }) {
        return Err(Refusal::new(
            "--source is for btrfs and zfs pools; a dir pool lies in Incus's own folder",
            ["leave out --source, or --driver dir"],
        ));
    }
    Ok(())
}

/// Refuses to promise that space is held where it would not be.
pub(super) fn refuse_unholding(host: &Host, driver: &str) -> Result<(), Refusal> {
    let filesystem = &host.incus_filesystem;
    if driver == "btrfs" && HOLDING.contains(&filesystem.kind.as_str()) {
        return Ok(());
    }
    Err(Refusal::new(
        format!(
            "--preallocate cannot hold space for a {driver} pool in a file on {}, which is {}",
            filesystem.mount_point, filesystem.kind
        ),
        [format!(
            "leave --preallocate out; it is for btrfs pools on {}",
            HOLDING.join(", ")
        )],
    ))
}

/// Whether a pool was made so that its blocks stay allocated.
pub(super) fn keeps_blocks(pool: &crate::facts::Pool) -> bool {
    pool.config
        .get("btrfs.mount_options")
        .is_some_and(|options| options.split(',').any(|option| option == KEEP_BLOCKS))
}

/// Refuses where something that Incus does not know lies in a new pool's place: creating the pool
/// would truncate a file, a failing creation delete it, and deleting the pool wipe a folder.
fn refuse_leftovers(
    host: &Host,
    name: &str,
    pool_exists: bool,
    place: &PoolPlace,
) -> Result<(), Refusal> {
    let image = loop_path(host, name);
    let folder = format!("{}/storage-pools/{name}", host.incus_dir);
    let subvolume = match place {
        PoolPlace::Subvolume { path, .. } => Some(path),
        _ => None,
    };
    for Place { path, what } in &host.places {
        let is_pool_s_own = *path == folder && pool_exists;
        let in_the_way = *path == image || *path == folder || Some(path) == subvolume;
        if is_pool_s_own || !in_the_way {
            continue;
        }
        let description = match what {
            PlaceKind::File { size, allocated } => {
                format!("a file of {size} ({allocated} of it in use)")
            }
            // Nothing at all in it: Incus makes and removes such folders itself.  But it takes
            // only a subvolume, or nothing, where the pool is to be one.
            PlaceKind::Directory {
                entries,
                subvolume: is,
            } if entries.is_empty() => {
                if Some(path) == subvolume && !is {
                    "an empty folder, where a subvolume is to be".to_owned()
                } else {
                    continue;
                }
            }
            PlaceKind::Directory { entries, .. } => format!("a folder with {}", entries.join(", ")),
            PlaceKind::Other => "something that is neither file nor folder".to_owned(),
        };
        return Err(Refusal::new(
            format!(
                "{path} is {description}, and no pool that Incus knows: creating pool {name} \
                 there would destroy it"
            ),
            [
                "if it may be a pool of an earlier Incus, let Incus look: incus admin recover"
                    .to_owned(),
                format!("to keep it, move it away: mv {path} {path}.kept"),
                "if you know that nothing in it is needed, remove it; taos-setup never does"
                    .to_owned(),
                "or make the pool under another name: --pool taos".to_owned(),
            ],
        ));
    }
    Ok(())
}

/// The keys for `incus storage create`.
fn config(driver: &str, place: &PoolPlace, preallocate: bool) -> Config {
    let mut config = Config::new();
    let mut set = |key: &str, value: String| config.insert(key.to_owned(), value);
    match place {
        PoolPlace::LoopFile { size, .. } => {
            set("size", size.exact());
        }
        PoolPlace::Subvolume { path, .. } | PoolPlace::Device { path } => {
            set("source", path.clone());
        }
        PoolPlace::Dataset { name } => {
            set("source", name.clone());
        }
        PoolPlace::Directory { .. } => {}
    }
    if driver == "btrfs" {
        let own = !matches!(place, PoolPlace::Subvolume { .. });
        let options = [
            Some(MOUNT_OPTIONS),
            own.then_some(COMPRESSION),
            preallocate.then_some(KEEP_BLOCKS),
        ];
        let options: Vec<&str> = options.into_iter().flatten().collect();
        set("btrfs.mount_options", options.join(","));
    }
    config
}
