//! `taos-setup image …`, and the options about the image.

use std::path::PathBuf;

use clap::{Args, Subcommand, ValueEnum};

use taos_setup::image::{Source, Wanted};
use taos_setup::plan::image::{published, Digest, Mode, Url};

#[derive(Debug, Subcommand)]
pub enum ImageCommand {
    /// Fetch it, check it, import it, unpack it, name it
    Fetch {
        /// In the background; return at once
        #[arg(long)]
        detach: bool,

        /// Also if there is one: replace it if another is published
        #[arg(long)]
        refresh: bool,
    },
    /// Show how far it is (for any user)
    Status {
        /// Until it is through
        #[arg(long)]
        watch: bool,
    },
    /// Look whether the one that is here is whole
    Verify,
    /// Remove it, and what there is of a fetch
    Remove,
    /// For deployers: return at once with 0 if it is ready, 10 if it
    /// is on its way, 11 absent, 12 failed, 13 no Incus
    Ensure {
        /// Have it fetched in the background if it is not here
        #[arg(long)]
        detach: bool,
    },
    /// For the service: 0 if it has something to do
    #[command(hide = true)]
    Due,
}

#[derive(Debug, Args)]
#[command(next_help_heading = "The base image")]
pub struct ImageOptions {
    /// When to fetch it: with the first deploy, now, in the
    /// background, or only when asked [default: lazy]
    #[arg(long, value_enum, value_name = "WHEN")]
    pub image: Option<When>,

    /// Where from: https:// [default: as published]
    #[arg(
        long,
        value_name = "URL",
        env = "TAOS_IMAGE_URL",
        global = true,
        hide_env = true
    )]
    pub image_url: Option<Url>,

    /// A file that is here already
    #[arg(
        long,
        value_name = "FILE",
        env = "TAOS_IMAGE_FILE",
        global = true,
        hide_env = true,
        conflicts_with = "image_url"
    )]
    pub image_file: Option<PathBuf>,

    /// The digest that it must have
    #[arg(
        long,
        value_name = "DIGEST",
        env = "TAOS_IMAGE_SHA256",
        global = true,
        hide_env = true
    )]
    pub image_sha256: Option<Digest>,

    /// The minisign key that its list of digests must be signed
    /// with
    #[arg(
        long,
        value_name = "KEY",
        env = "TAOS_IMAGE_KEY",
        global = true,
        hide_env = true
    )]
    pub image_key: Option<String>,

    /// Take it with no digest at all to check it against
    #[arg(
        long,
        env = "TAOS_IMAGE_INSECURE_NO_DIGEST",
        global = true,
        hide_env = true,
        value_parser = clap::builder::FalseyValueParser::new()
    )]
    pub insecure_no_digest: bool,
}

/// When the image is fetched.
#[derive(Debug, Clone, Copy, ValueEnum)]
pub enum When {
    Lazy,
    Now,
    Background,
    Off,
}

impl From<When> for Mode {
    fn from(when: When) -> Self {
        match when {
            When::Lazy => Self::Lazy,
            When::Now => Self::Now,
            When::Background => Self::Background,
            When::Off => Self::Off,
        }
    }
}

impl ImageOptions {
    /// Which image is wanted; none where none is published for this machine.
    #[must_use]
    pub fn wanted(&self, refresh: bool) -> Option<Wanted> {
        let source = match (&self.image_file, &self.image_url) {
            // The service has another working directory.
            (Some(file), _) => {
                Source::File(std::path::absolute(file).unwrap_or_else(|_| file.clone()))
            }
            (None, Some(url)) => Source::Url(url.clone()),
            (None, None) => Source::Url(published(std::env::consts::ARCH)?),
        };
        Some(Wanted {
            source,
            sha256: self.image_sha256.clone(),
            key: self.image_key.clone(),
            insecure: self.insecure_no_digest,
            refresh,
        })
    }
}
