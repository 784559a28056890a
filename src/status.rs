//! How it stands: the pools, what they promise, where launches go, and a verdict.

pub mod cluster;

use std::fmt::Write as _;

use serde::Serialize;

use crate::facts::{root_of, Backing, Bytes, Facts, Image, Incus, Pool, Reference, Server, Watch};
use crate::setup::outlook;

/// The alias under which the taOS application looks for its base image.
pub use crate::plan::image::ALIAS as BASE_IMAGE;

/// What `status` adds to the facts.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Status {
    pub verdict: Verdict,
    pub message: String,
    /// What the loop files may still grow by.
    pub promised: Bytes,
    /// What the host filesystem has free for that.
    pub free: Bytes,
    /// The base image, in each project that has it.
    pub base_image: Vec<Image>,
    /// What there is to fetch it.
    pub image_trigger: Watch,
    /// Measured with `--probe`.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub launches: Vec<Launch>,
    /// What to compare that with.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub reference: Option<Yardstick>,
}

/// The verdict in one word.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Verdict {
    /// Every launch is a clone.
    Ready,
    /// It works, and launches copy.
    Copies,
    /// There is something that `taos-setup` would do.
    ToDo,
    /// There is something that `taos-setup` refuses to do by itself.
    Blocked,
    /// A run was cut short, and is to be finished or taken back first.
    CutShort,
}

/// The times of one scratch instance on one pool, in seconds.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Launch {
    pub pool: String,
    pub driver: String,
    /// The image it was made from.
    pub image: String,
    /// Made for the first time, which unpacks the image where it was not unpacked yet.
    pub first_create: f64,
    /// Made again.
    pub create: f64,
    /// Started.
    pub start: f64,
    /// Made again and started, as a deploy does.
    pub launch: f64,
    /// Restarted with another mapping of user ids, as a deploy does; none if that did not work.
    #[serde(default)]
    pub idmap_restart: Option<f64>,
    /// From then until it had an address; none if it got none in time.
    #[serde(default)]
    pub network_ready: Option<f64>,
    /// All that a deploy asks of Incus; none if a part of it did not work.
    pub total: Option<f64>,
    /// Why there are no times.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub error: Option<String>,
}

impl Status {
    /// Judges the facts.
    #[must_use]
    pub fn of(facts: &Facts, launches: Vec<Launch>, cut_short: Option<&str>) -> Self {
        let (verdict, message) = match cut_short {
            Some(time) => (
                Verdict::CutShort,
                format!(
                    "the run of {time} was cut short: taos-setup goes on with it, and taos-setup \
                     undo takes it back"
                ),
            ),
            None => judge(facts),
        };
        Self {
            verdict,
            message,
            promised: facts.host.incus_filesystem.promised,
            free: facts.host.incus_filesystem.free,
            base_image: facts.server().map(base_images).unwrap_or_default(),
            image_trigger: facts.host.trigger.watch(),
            reference: (!launches.is_empty()).then_some(PI),
            launches,
        }
    }

    /// The text, a line each; headings begin with `# `.
    #[must_use]
    pub fn lines(&self, facts: &Facts) -> Vec<String> {
        let mut lines = vec!["# Incus".to_owned()];
        match &facts.incus {
            Incus::Absent => lines.push("  not installed".into()),
            Incus::Silent { reason } => lines.push(format!("  installed, not answering: {reason}")),
            Incus::Answering(server) => {
                let cluster = if server.clustered { ", clustered" } else { "" };
                lines.push(format!("  version {}{cluster}", server.version));
                self.server_lines(server, &mut lines);
            }
        }
        lines.push("# Verdict".into());
        lines.push(format!("  {}", self.message));
        lines
    }

    fn server_lines(&self, server: &Server, lines: &mut Vec<String>) {
        cluster::member_lines(server, lines);
        lines.push("# Pools".into());
        if server.pools.is_empty() {
            lines.push("  none".into());
        }
        for pool in &server.pools {
            lines.push(format!("  {}", pool_line(pool)));
            let parts = cluster::parts(server, pool);
            lines.extend(parts.into_iter().map(|line| format!("    {line}")));
            if let Some(options) = pool.config.get("btrfs.mount_options") {
                lines.push(format!("    mounted with {options}"));
            }
            if let Some(reason) = &pool.reason {
                lines.push(format!("    {reason}"));
            }
        }
        let promise = if self.promised > self.free {
            "MORE THAN THE HOST HAS: instances lose writes when it fills up"
        } else {
            "kept"
        };
        if self.promised > Bytes(0) {
            lines.push(format!(
                "  promised, beyond what they take now: {} of {} free on the host: {promise}",
                self.promised, self.free
            ));
        }
        lines.push("# Launches".into());
        for profile in &server.profiles {
            let Reference { project, name } = &profile.reference;
            let Some((_, keys)) = root_of(&profile.devices) else {
                if name == "default" {
                    lines.push(format!("  project {project}, profile {name}: no root disk"));
                }
                continue;
            };
            let pool = keys.get("pool").map_or("?", String::as_str);
            let how = match server.pool(pool) {
                None => "which is not there",
                Some(pool) if pool.copy_on_write() => "a clone",
                Some(_) => "a copy",
            };
            lines.push(format!(
                "  project {project}, profile {name}: pool {pool}, {how}"
            ));
        }
        lines.push("# Instances".into());
        if server.instances.is_empty() {
            lines.push("  none".into());
        }
        for instance in &server.instances {
            let Reference { project, name } = &instance.reference;
            let pool = instance.pool.as_deref().unwrap_or("?");
            lines.push(format!(
                "  {name}  project {project}, pool {pool}{}, {}",
                cluster::at(instance),
                instance.status.to_lowercase()
            ));
        }
        lines.push("# Base image".into());
        if self.base_image.is_empty() {
            lines.push(format!("  {BASE_IMAGE} is not here"));
        }
        for image in &self.base_image {
            let fingerprint = image.fingerprint.get(..12).unwrap_or(&image.fingerprint);
            lines.push(format!(
                "  {BASE_IMAGE}  project {}, {fingerprint}, {}",
                image.project, image.size
            ));
        }
        lines.push(format!("  trigger: {}", self.image_trigger.words()));
        if !self.launches.is_empty() {
            lines.push("# Launch times, in seconds".into());
            lines.push("  pool            driver   create   again    start".into());
            for launch in &self.launches {
                lines.push(match &launch.error {
                    Some(error) => format!("  {:<15} {:<8} {error}", launch.pool, launch.driver),
                    None => format!(
                        "  {:<15} {:<8} {:<8.2} {:<8.2} {:<8.2}",
                        launch.pool,
                        launch.driver,
                        launch.first_create,
                        launch.create,
                        launch.start
                    ),
                });
            }
            deploy_lines(&self.launches, lines);
        }
    }
}

/// What a deploy took somewhere, in seconds, and what is aimed at.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct Yardstick {
    pub host: &'static str,
    pub launch: f64,
    pub idmap_restart: f64,
    pub network_ready: f64,
    pub total: f64,
    /// The application's own part of a deploy, which no pool makes shorter.
    pub application: f64,
    /// All of a deploy is to take no longer.
    pub target: f64,
}

const PI: Yardstick = Yardstick {
    host: "Pi 5 Plus, dir",
    launch: 19.0,
    idmap_restart: 3.0,
    network_ready: 3.0,
    total: 25.0,
    application: 8.0,
    target: 15.0,
};

impl Launch {
    /// Adds the parts of a deploy up; there is no sum where one of them did not work.
    pub fn add_up(&mut self) {
        self.launch = self.create + self.start;
        self.total = [Some(self.launch), self.idmap_restart, self.network_ready]
            .into_iter()
            .sum();
    }
}

/// A deploy on each pool, beside the Pi's.
fn deploy_lines(launches: &[Launch], lines: &mut Vec<String>) {
    let measured: Vec<&Launch> = launches
        .iter()
        .filter(|launch| launch.error.is_none())
        .collect();
    if measured.is_empty() {
        return;
    }
    let row = |name: &str, times: Vec<Option<f64>>, pi: f64| {
        let mut line = format!("  {name:<15}");
        for time in times {
            let text = time.map_or_else(|| "-".to_owned(), |time| format!("{time:.2}"));
            let _ = write!(line, " {text:<12}");
        }
        format!("{line} {pi:.0}")
    };
    lines.push("# A deploy, in seconds".into());
    let mut head = format!("  {:<15}", "pool");
    for launch in &measured {
        let _ = write!(head, " {:<12}", launch.pool);
    }
    lines.push(format!("{head} {}", PI.host));
    let column = |part: fn(&Launch) -> Option<f64>| measured.iter().map(|it| part(it)).collect();
    lines.extend([
        row("launch", column(|it| Some(it.launch)), PI.launch),
        row(
            "idmap restart",
            column(|it| it.idmap_restart),
            PI.idmap_restart,
        ),
        row(
            "network ready",
            column(|it| it.network_ready),
            PI.network_ready,
        ),
        row("total", column(|it| it.total), PI.total),
    ]);
    lines.push(format!(
        "  The application adds {:.0} s of its own on that Pi; all of a deploy is to take {:.0} s or less.",
        PI.application, PI.target
    ));
}

/// A pool in one line.
#[must_use]
pub fn pool_line(pool: &Pool) -> String {
    let state = if pool.status == "Created" {
        String::new()
    } else {
        format!(", {}", pool.status.to_uppercase())
    };
    if !pool.parts.is_empty() {
        // Each member has a place and a size of its own.
        return format!("{}: {}{state}", pool.name, pool.driver);
    }
    let place = match &pool.backing {
        Backing::LoopFile {
            path,
            size,
            allocated,
        } => {
            format!("{size} loop file {path} ({allocated} allocated)")
        }
        Backing::Subvolume { path } => format!("subvolume {path}"),
        Backing::Directory { path } => format!("folder {path}"),
        Backing::Dataset { name } => format!("dataset {name}"),
        Backing::Device { path } => format!("device {path}"),
        Backing::Unknown => "place unknown".into(),
    };
    let space = pool
        .space
        .map(|space| format!(", {} of {} used", space.used, space.total))
        .unwrap_or_default();
    format!("{}: {}, {place}{space}{state}", pool.name, pool.driver)
}

fn base_images(server: &Server) -> Vec<Image> {
    server
        .images
        .iter()
        .filter(|image| image.aliases.iter().any(|alias| alias == BASE_IMAGE))
        .cloned()
        .collect()
}

fn judge(facts: &Facts) -> (Verdict, String) {
    let plan = match outlook(facts) {
        Ok(plan) => plan,
        Err(refusal) => return (Verdict::Blocked, refusal.what),
    };
    if !plan.steps.is_empty() || plan.open_end {
        let steps = plan.steps.len();
        let plural = if steps == 1 { "step" } else { "steps" };
        return (
            Verdict::ToDo,
            format!("not set up yet: run taos-setup, which has {steps} {plural} to do"),
        );
    }
    let pool = plan.pool.unwrap_or_default();
    let found = facts.server().and_then(|server| server.pool(&pool));
    match found {
        Some(found) if found.copy_on_write() => (
            Verdict::Ready,
            format!("ready: launches clone on pool {pool} ({})", found.driver),
        ),
        _ => (
            Verdict::Copies,
            format!("works, but launches copy on pool {pool}; taos-setup has the choices"),
        ),
    }
}
