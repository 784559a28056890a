//! The base image: whether it is here, and when it is to be fetched.

use std::collections::BTreeSet;

use serde::{Deserialize, Serialize};

use super::{root_of, Config, Facts, Reference, Server};

/// The alias under which the taOS application looks for its base image.
pub const ALIAS: &str = "taos-openclaw-base";

/// When the image is fetched.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Mode {
    /// Started by the first deploy.
    #[default]
    Lazy,
    /// During set-up, with a bar.
    Now,
    /// By a service that begins at once.
    Background,
    /// Only when somebody asks for it by hand.
    Off,
}

impl Mode {
    #[must_use]
    pub fn word(self) -> &'static str {
        match self {
            Self::Lazy => "lazy",
            Self::Now => "now",
            Self::Background => "background",
            Self::Off => "off",
        }
    }

    /// What `TAOS_PREFETCH_BASE_IMAGE` asks for, as the application reads it.
    #[must_use]
    pub fn of_prefetch(value: &str) -> Option<Self> {
        let wanted = ["1", "true", "yes"]
            .iter()
            .any(|word| value.trim().eq_ignore_ascii_case(word));
        wanted.then_some(Self::Background)
    }
}

/// When the image is to be fetched, and with which variables: where from, and through which proxy.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Arrangement {
    pub mode: Mode,
    /// A proxy's may hold a password.
    pub environment: Config,
}

/// How fetching the image is arranged on this host.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Trigger {
    /// What was chosen; none if nothing was, or if the image came since.
    pub mode: Option<Mode>,
    /// Never part of a document: there may be a password in it.
    #[serde(skip)]
    pub environment: Config,
    /// Whether unit files of this program are there.
    pub units: bool,
    /// Whether they are as this version has them, and wait or work as the mode asks.
    pub in_force: bool,
    /// Whether it is being fetched right now.
    pub fetching: bool,
    /// The users that the taOS service runs as.
    pub service_users: Vec<u32>,
}

/// How the fetch of the image stands, in one word.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Watch {
    /// The path unit waits for the first deploy.
    Waiting,
    /// The service was told to fetch it, and is about to, or pauses between two tries.
    Pending,
    /// It is being fetched.
    Fetching,
    /// Something was chosen, and the units are not at work for it.
    Broken,
    /// Nothing fetches it, as was chosen.
    Off,
    /// The units are there, and wait for nothing.
    Idle,
    /// There are no units, and nothing was chosen.
    Absent,
}

impl Watch {
    /// For people.
    #[must_use]
    pub fn words(self) -> &'static str {
        match self {
            Self::Waiting => "taos-setup-image.path waits for the first deploy",
            Self::Pending => "taos-setup-image.service is to fetch it, and is not at it right now",
            Self::Fetching => "it is being fetched; to watch: taos-setup image status --watch",
            Self::Broken => {
                "taos-setup-image.path or .service is not as it should be: run taos-setup"
            }
            Self::Off => "off, as was chosen: nothing fetches it",
            Self::Idle => "the units are there, and wait for nothing",
            Self::Absent => "there are no units for it, and nothing was chosen",
        }
    }
}

impl Trigger {
    /// How it stands.
    #[must_use]
    pub fn watch(&self) -> Watch {
        match self.mode {
            _ if self.fetching => Watch::Fetching,
            Some(_) if !self.in_force => Watch::Broken,
            Some(Mode::Lazy) => Watch::Waiting,
            Some(Mode::Background | Mode::Now) => Watch::Pending,
            Some(Mode::Off) => Watch::Off,
            None if self.units => Watch::Idle,
            None => Watch::Absent,
        }
    }

    /// What was chosen, as a whole.
    #[must_use]
    pub fn arranged(&self) -> Option<Arrangement> {
        Some(Arrangement {
            mode: self.mode?,
            environment: self.environment.clone(),
        })
    }
}

/// The projects in which the application may look: that of root, and those of the service's user,
/// as far as they are there.
#[must_use]
pub fn image_projects(existing: &BTreeSet<String>, service_users: &[u32]) -> Vec<String> {
    let of_users = service_users.iter().map(|uid| format!("user-{uid}"));
    let mut found: Vec<String> = Vec::new();
    for project in std::iter::once("default".to_owned()).chain(of_users) {
        if existing.contains(&project) && !found.contains(&project) {
            found.push(project);
        }
    }
    found
}

impl Facts {
    /// The projects in which the image has to be.
    fn image_projects(&self) -> Vec<String> {
        let profiles = self.server().map(|server| server.profiles.as_slice());
        let existing = profiles
            .unwrap_or_default()
            .iter()
            .map(|profile| profile.reference.project.clone())
            .collect();
        image_projects(&existing, &self.host.trigger.service_users)
    }

    /// The projects in which the image has to be, and is not.
    #[must_use]
    pub fn without_image(&self) -> Vec<String> {
        let mut projects = self.image_projects();
        projects.retain(|project| self.base_image(project).is_none());
        projects
    }

    /// The image's fingerprint, where a project has it under its name.
    #[must_use]
    pub fn base_image(&self, project: &str) -> Option<&str> {
        self.server()?
            .images
            .iter()
            .find(|image| {
                image.project == project && image.aliases.iter().any(|alias| alias == ALIAS)
            })
            .map(|image| image.fingerprint.as_str())
    }

    /// Whether the image is wherever a deploy may look for it.
    #[must_use]
    pub fn image_ready(&self) -> bool {
        self.server().is_some() && self.without_image().is_empty()
    }

    /// Whether it is unpacked on the pools that launches use, too.
    #[must_use]
    pub fn image_warm(&self) -> bool {
        self.image_ready()
            && self.image_projects().iter().all(|project| {
                let fingerprint = self.base_image(project).unwrap_or_default();
                self.server()
                    .is_some_and(|server| unpacked(server, project, fingerprint))
            })
    }
}

/// Whether launches of a project find an image unpacked, on whichever member of a cluster; on a pool
/// that copies there is no such thing.
fn unpacked(server: &Server, project: &str, fingerprint: &str) -> bool {
    let profile = server.profile(&Reference::new(project, "default"));
    let pool = profile
        .and_then(|profile| root_of(&profile.devices)?.1.get("pool"))
        .and_then(|name| server.pool(name));
    pool.is_none_or(|pool| {
        let places = server.unpacked_on(pool);
        places.iter().all(|it| it.images.contains(fingerprint))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_application_looks_in_two_projects() {
        let existing: BTreeSet<String> = ["default", "user-1000", "user-1001", "other"]
            .map(String::from)
            .into();
        assert_eq!(image_projects(&existing, &[]), ["default"]);
        assert_eq!(
            image_projects(&existing, &[1000, 1000, 1002]),
            ["default", "user-1000"]
        );
    }

    #[test]
    fn the_trigger_is_one_of_a_few_things() {
        let trigger = |mode, in_force, units, fetching| Trigger {
            mode,
            units,
            in_force,
            fetching,
            ..Trigger::default()
        };
        for (trigger, watch) in [
            (trigger(None, false, false, false), Watch::Absent),
            (trigger(None, false, true, false), Watch::Idle),
            (trigger(Some(Mode::Lazy), true, true, false), Watch::Waiting),
            (trigger(Some(Mode::Lazy), false, true, false), Watch::Broken),
            (
                trigger(Some(Mode::Background), true, true, false),
                Watch::Pending,
            ),
            (
                trigger(Some(Mode::Background), true, true, true),
                Watch::Fetching,
            ),
            // By hand, with nothing arranged.
            (trigger(None, false, false, true), Watch::Fetching),
            (trigger(Some(Mode::Off), true, false, false), Watch::Off),
            (trigger(Some(Mode::Off), false, true, false), Watch::Broken),
        ] {
            assert_eq!(trigger.watch(), watch, "{trigger:?}");
        }
    }

    #[test]
    fn prefetching_is_asked_for_as_the_application_documents() {
        for yes in ["1", "true", "YES", " True "] {
            assert_eq!(Mode::of_prefetch(yes), Some(Mode::Background), "{yes}");
        }
        for no in ["", "0", "no", "false", "2"] {
            assert_eq!(Mode::of_prefetch(no), None, "{no}");
        }
    }
}
