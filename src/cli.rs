//! The command line.  No input or output: options become a [`Goal`].

use std::time::Duration;

use clap::{ArgAction, ArgGroup, Args, Parser, Subcommand, ValueEnum};

use taos_setup::facts::Bytes;
use taos_setup::plan::migrate::{Lossy, Wanted};
use taos_setup::plan::{DriverChoice, Goal, Pins, PoolName, SourceChoice};
use taos_setup::setup::{Asked, Manner, Migrating};

#[cfg(test)]
mod generated;
mod image;

pub use image::{ImageCommand, ImageOptions};

/// Set up Incus so that each launch is a clone, not a copy
///
/// Looks at this host's Incus, shows what it found and what it would do, asks,
/// and does it. Nothing that exists is touched without a yes to exactly that.
#[derive(Debug, Parser)]
#[command(
    version,
    max_term_width = 80,
    after_help = "Exit codes: 0 done or nothing to do; 1 failed, and taken back; 2 wrong usage;\n\
                  3 refused, nothing touched; 4 steps remain, which are printed."
)]
pub struct Cli {
    #[command(subcommand)]
    pub command: Option<Command>,

    /// Do what touches no instance without asking
    #[arg(short, long, global = true)]
    pub yes: bool,

    /// Show the plan with every command, and change nothing
    #[arg(short = 'n', long, global = true)]
    pub dry_run: bool,

    /// Print one JSON document on stdout; words go to stderr
    #[arg(long, global = true)]
    pub json: bool,

    /// Say nothing but errors and questions
    #[arg(short, long, global = true)]
    pub quiet: bool,

    /// Show commands, in the plan and as they are run
    #[arg(short, long, global = true)]
    pub verbose: bool,

    /// Let these instances get their root disk written down as
    /// their own: mary,naira or project/mary or all
    #[arg(long, value_name = "NAMES", global = true)]
    pub pin: Option<Pins>,

    /// Let this be lost when containers are moved or originals
    /// deleted: backups, snapshot-size, root-size, subvolumes or
    /// protection; or unseen, on other members of a cluster
    #[arg(
        long,
        value_name = "WHAT",
        global = true,
        value_delimiter = ',',
        hide_possible_values = true
    )]
    pub accept: Vec<Lossy>,

    /// How long the Incus daemon may take to answer a question
    #[arg(long, value_name = "SECONDS", default_value = "30", global = true,
          env = "TAOS_TIMEOUT", hide_env = true,
          value_parser = clap::value_parser!(u64).range(1..=3600))]
    pub timeout: u64,

    // Last, as its heading would go on over what follows.
    #[command(flatten)]
    pub pool: PoolOptions,

    #[command(flatten)]
    pub image: ImageOptions,
}

#[derive(Debug, Subcommand)]
pub enum Command {
    /// Show how it stands: pools, launches, instances, and a verdict
    Status {
        /// Also launch and remove a scratch instance on each pool,
        /// and show the times
        #[arg(long)]
        probe: bool,
    },
    /// Take back what the last run made, if nobody uses it yet
    Undo,
    /// Move containers to another pool, each down for seconds only
    Migrate(MigrateOptions),
    /// The image that agents are made from
    Image {
        #[command(subcommand)]
        command: ImageCommand,
    },
}

#[derive(Debug, Args)]
pub struct MigrateOptions {
    /// mary, or project/mary
    #[arg(value_name = "NAME", conflicts_with = "all")]
    pub names: Vec<String>,

    /// All containers on pools that copy at each launch, or on --from
    #[arg(long)]
    pub all: bool,

    /// All such containers on this member of a cluster, which has
    /// to be the one that this runs on
    #[arg(long, value_name = "MEMBER", conflicts_with_all = ["names", "all", "status", "rollback",
          "finish", "rescue"])]
    pub member: Option<String>,

    /// Only from this pool
    #[arg(long, value_name = "POOL")]
    pub from: Option<PoolName>,

    /// To this pool; it is made where it is not there
    /// [default: the one launches use, or taos]
    #[arg(long, value_name = "POOL")]
    pub to: Option<PoolName>,

    /// Read every byte again while it is stopped, not only of
    /// files that changed
    #[arg(long, value_name = "HOW")]
    pub verify: Option<Verify>,

    /// How: copied while they run, each original kept; or by
    /// Incus's own move, down all the while, with no way back
    #[arg(long, value_name = "HOW", value_enum, default_value = "staged")]
    pub strategy: Strategy,

    /// Delete each original as soon as its copy has run for a
    /// while, where there is no room to keep them all
    #[arg(long, conflicts_with_all = ["status", "rollback", "finish"])]
    pub delete_originals: bool,

    /// For how long it has to run before that
    #[arg(long, value_name = "SECONDS", default_value = "60", requires = "delete_originals",
          value_parser = clap::value_parser!(u64).range(2..=86400))]
    pub after: u64,

    /// Show which originals are kept, and what moves left that
    /// were cut short
    #[arg(long, conflicts_with_all = ["names", "all", "rollback", "finish"])]
    pub status: bool,

    /// Move them back, with all that they wrote since
    #[arg(long, conflicts_with_all = ["to", "from", "all", "finish"])]
    pub rollback: bool,

    /// Without that: to what was kept, as it was then; what is
    /// there now is kept in turn
    #[arg(long, requires = "rollback")]
    pub as_it_was: bool,

    /// Delete the kept originals, for good
    #[arg(long, conflicts_with_all = ["to", "from"])]
    pub finish: bool,

    /// Then delete this dir pool, if nothing at all uses it
    #[arg(long, value_name = "POOL", conflicts_with_all = ["status", "rollback"])]
    pub delete_old_pool: Option<PoolName>,

    /// Deal with a move-of-… that a plain move left which was cut
    /// short; move-of-1=mary if nothing tells its name
    #[arg(long, conflicts_with_all = ["to", "from", "all", "status", "rollback", "finish",
          "delete_originals"])]
    pub rescue: bool,
}

/// How a container is moved.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Strategy {
    Staged,
    Move,
}

/// How a copy is compared.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Verify {
    Changed,
    Full,
}

impl MigrateOptions {
    /// What is asked for.
    #[must_use]
    pub fn asked(&self) -> Migrating {
        Migrating {
            wanted: Wanted {
                names: self.names.clone(),
                from: self.from.clone(),
                to: self.to.clone(),
                member: self.member.clone(),
                thorough: self.verify == Some(Verify::Full),
                plain: self.strategy == Strategy::Move,
                delete_after: (self.delete_originals && self.strategy == Strategy::Staged)
                    .then_some(self.after),
            },
            all: self.all || self.member.is_some(),
            as_it_was: self.as_it_was,
            delete_old_pool: self.delete_old_pool.clone(),
            what: match (self.status, self.rollback, self.finish) {
                _ if self.rescue => Asked::Rescue,
                (true, ..) => Asked::Status,
                (_, true, _) => Asked::Rollback,
                (_, _, true) => Asked::Finish,
                _ => Asked::Move,
            },
        }
    }
}

#[derive(Debug, Args)]
#[command(next_help_heading = "The pool", group = sizes())]
pub struct PoolOptions {
    /// Its name [default: the one launches use, else default]
    #[arg(long, value_name = "NAME")]
    pub pool: Option<PoolName>,

    /// Its storage driver
    #[arg(long, value_enum, default_value = "auto", env = "TAOS_COW_POOL")]
    pub driver: Driver,

    /// Size of the file it lies in, such as 50GiB
    /// [default: 50GiB, or what fits]
    #[arg(long, value_name = "SIZE", allow_hyphen_values = true)]
    pub size: Option<Bytes>,

    /// Its size on a member of a cluster, such as two=20GiB
    #[arg(long, value_name = "NAME=SIZE", value_parser = of_member::<Bytes>)]
    pub member_size: Vec<(String, Bytes)>,

    /// Where it lies on another member of a cluster, such as
    /// two=/dev/sdb
    #[arg(long, value_name = "NAME=PLACE", value_parser = of_member::<String>)]
    pub member_source: Vec<(String, String)>,

    /// Allow a size that the host cannot keep
    #[arg(long, requires = "sizes")]
    pub overcommit: bool,

    /// Where it lies: a path on btrfs, an empty device, a ZFS
    /// dataset, or loop
    #[arg(long, value_name = "PLACE")]
    pub source: Option<SourceChoice>,

    /// Allocate the whole file now, so that the space is held
    #[arg(long)]
    pub preallocate: bool,

    /// Make it beside a pool that copies and is in use, for new
    /// instances
    #[arg(long)]
    pub beside: bool,

    /// Then move these containers to it, each down for seconds:
    /// mary,naira or project/mary or all
    #[arg(long, value_name = "NAMES", value_parser = to_migrate)]
    pub migrate: Option<Wanted>,

    /// Leave networks and network cards alone
    #[arg(long = "no-network", action = ArgAction::SetFalse)]
    pub network: bool,
}

/// The options that give a size.
fn sizes() -> ArgGroup {
    ArgGroup::new("sizes")
        .args(["size", "member_size"])
        .multiple(true)
}

/// What is said of one member.
fn of_member<T: std::str::FromStr>(text: &str) -> Result<(String, T), String>
where
    T::Err: std::fmt::Display,
{
    match text.split_once('=') {
        Some((name, value)) if !name.is_empty() && !value.is_empty() => {
            let value = value.parse().map_err(|error: T::Err| error.to_string())?;
            Ok((name.to_owned(), value))
        }
        _ => Err("write the member's name, =, and what it is given".into()),
    }
}

/// Names as they are given to `--migrate`; that each means one container is seen later.
fn to_migrate(text: &str) -> Result<Wanted, String> {
    let names: Vec<String> = text.split(',').map(str::to_owned).collect();
    if text != "all" && names.iter().any(|name| name.is_empty() || name == "all") {
        return Err(format!(
            "not a list of containers: {text:?}; write mary,naira or project/mary or all"
        ));
    }
    Ok(Wanted {
        names: if text == "all" { Vec::new() } else { names },
        ..Wanted::default()
    })
}

/// A storage driver.
#[derive(Debug, Clone, Copy, ValueEnum)]
pub enum Driver {
    // A variable that is set to nothing is as good as unset.
    #[value(alias = "")]
    Auto,
    Btrfs,
    Zfs,
    Dir,
}

impl Cli {
    /// What is wanted.
    #[must_use]
    pub fn goal(&self) -> Goal {
        let pool = &self.pool;
        Goal {
            pool: pool.pool.clone(),
            driver: match pool.driver {
                Driver::Auto => DriverChoice::Auto,
                Driver::Btrfs => DriverChoice::Btrfs,
                Driver::Zfs => DriverChoice::Zfs,
                Driver::Dir => DriverChoice::Dir,
            },
            size: pool.size,
            member_sizes: pool.member_size.iter().cloned().collect(),
            member_sources: pool.member_source.iter().cloned().collect(),
            overcommit: pool.overcommit,
            source: pool.source.clone(),
            preallocate: pool.preallocate,
            beside: pool.beside,
            network: pool.network,
            pins: self.pin.clone().unwrap_or_default(),
            image: None,
            migrate: pool.migrate.clone(),
        }
    }

    /// How to be asked.
    #[must_use]
    pub fn manner(&self, command: &str) -> Manner {
        Manner {
            yes: self.yes,
            dry_run: self.dry_run,
            accept: self.accept.clone(),
            command: command.to_owned(),
        }
    }

    /// What the definition of the options cannot say: why this is wrong usage.
    #[must_use]
    pub fn contradiction(&self) -> Option<clap::Error> {
        let stray = self.command.is_some() && self.pool.migrate.is_some();
        stray.then(|| {
            let what =
                "--migrate is for the set-up itself, and not for a command behind it; to move \
                        containers alone: taos-setup migrate NAME…\n";
            <Self as clap::CommandFactory>::command()
                .error(clap::error::ErrorKind::ArgumentConflict, what)
        })
    }

    #[must_use]
    pub fn bound(&self) -> Duration {
        Duration::from_secs(self.timeout)
    }

    #[must_use]
    pub fn name(&self) -> &'static str {
        match self.command {
            None => "setup",
            Some(Command::Status { .. }) => "status",
            Some(Command::Undo) => "undo",
            Some(Command::Migrate(_)) => "migrate",
            Some(Command::Image { .. }) => "image",
        }
    }
}

#[cfg(test)]
mod tests {
    use clap::{CommandFactory as _, Parser as _};

    use super::*;

    #[test]
    fn the_definition_is_sound() {
        Cli::command().debug_assert();
    }

    #[test]
    fn help_fits_80_columns() {
        let mut command = Cli::command();
        command.build();
        let mut pages = vec![command.render_long_help(), command.render_help()];
        for sub in command.get_subcommands_mut() {
            pages.push(sub.render_long_help());
        }
        for page in pages {
            for line in page.to_string().lines() {
                assert!(line.chars().count() <= 80, "{line}");
            }
        }
    }

    #[test]
    fn bad_values_are_usage_errors() {
        for arguments in [
            &["--driver", "ext4"][..],
            &["--size", "0"],
            &["--size", "-1"],
            &["--size", "50"],
            &["--size", "50XB"],
            &["--size", "1e99GiB"],
            &["--pool", "a/b"],
            &["--pool", "a b"],
            &["--pool", ""],
            &["--pool", ".."],
            &["--source", ""],
            &["--overcommit"],
            &["--pin", "mary,mary"],
            &["--migrate", ""],
            &["--migrate", "mary,"],
            &["--migrate", "mary,all"],
            &["migrate", "--migrate", "mary"],
            &["--accept", "all"],
            &["--accept", ""],
            &[
                "migrate",
                "--rollback",
                "mary",
                "--delete-old-pool",
                "default",
            ],
            &["--timeout", "0"],
            &["frobnicate"],
            &["--image", "soon"],
            &["image"],
            &["image", "fetch", "--image-url", "http://example.org/x"],
            &["image", "fetch", "--image-sha256", "abc"],
            &[
                "image",
                "fetch",
                "--image-file",
                "x",
                "--image-url",
                "https://a/b",
            ],
        ] {
            let line = ["taos-setup"].iter().chain(arguments);
            assert!(Cli::try_parse_from(line).is_err(), "{arguments:?}");
        }
    }

    #[test]
    fn options_become_a_goal() {
        let cli = Cli::try_parse_from([
            "taos-setup",
            "--pool",
            "taos",
            "--driver",
            "zfs",
            "--size",
            "8GiB",
            "--no-network",
            "--pin",
            "mary",
        ])
        .unwrap();
        let goal = cli.goal();
        assert_eq!(goal.driver, DriverChoice::Zfs);
        assert_eq!(goal.size, Some(Bytes::gib(8)));
        assert!(!goal.network && !goal.beside);
        assert!(goal
            .pins
            .cover(&taos_setup::facts::Reference::new("p", "mary")));
        assert!(Cli::try_parse_from(["taos-setup"]).unwrap().goal().network);
    }
}
