//! The steps about the base image: when it is fetched, and fetching it.

use super::Step;
use crate::facts::{Arrangement, Config, Facts, Image, Mode, Server, ALIAS};

/// As [`Step::holds`] of arranging when the image is fetched.
pub(super) fn arranged(to: Option<&Arrangement>, facts: &Facts) -> bool {
    let trigger = &facts.host.trigger;
    let Some(to) = to else {
        return trigger.mode.is_none() && !trigger.units;
    };
    // Once the image is there, what waits for it takes itself away.
    let through = to.mode != Mode::Off && facts.image_ready();
    through || trigger.in_force && trigger.arranged().as_ref() == Some(to)
}

/// As [`Step::holds`] of fetching the image.
pub(super) fn fetched(detached: bool, facts: &Facts) -> bool {
    facts.image_warm() || detached && facts.host.trigger.fetching
}

/// As [`Step::holds`] of removing the image from some projects.
pub(super) fn removed(projects: &[String], facts: &Facts) -> bool {
    facts.server().is_some()
        && projects
            .iter()
            .all(|project| facts.base_image(project).is_none())
}

/// What keeps the image from being removed: whoever was made from it, or a fetch.
pub(super) fn remove_blocked(projects: &[String], facts: &Facts) -> Option<String> {
    if facts.host.trigger.fetching {
        return Some("it is being fetched; to watch: taos-setup image status --watch".into());
    }
    let server = facts.server()?;
    let users: Vec<String> = server
        .instances
        .iter()
        .filter(|instance| {
            let project = &instance.reference.project;
            let base = instance.record.config.get("volatile.base_image");
            projects.contains(project)
                && base.is_some()
                && base.map(String::as_str) == facts.base_image(project)
        })
        .map(|instance| instance.reference.to_string())
        .collect();
    (!users.is_empty()).then(|| format!("{} was made from it", users.join(", ")))
}

/// As [`Step::expect`].
pub(super) fn expect_arranged(to: Option<&Arrangement>, facts: &mut Facts) {
    let trigger = &mut facts.host.trigger;
    trigger.mode = to.map(|to| to.mode);
    trigger.environment = to.map(|to| to.environment.clone()).unwrap_or_default();
    trigger.units = matches!(trigger.mode, Some(Mode::Lazy | Mode::Background));
    trigger.in_force = to.is_some();
}

/// As [`Step::expect`] of removing the image.
pub(super) fn expect_removed(projects: &[String], server: &mut Server) {
    let gone = |image: &Image| {
        projects.contains(&image.project) && image.aliases.iter().any(|alias| alias == ALIAS)
    };
    server.images.retain(|image| !gone(image));
}

/// As [`Step::describe`].
pub(super) fn describe(step: &Step) -> String {
    match step {
        Step::ArrangeImage { to, .. } => match to.as_ref().map(|to| to.mode) {
            Some(Mode::Lazy) => "install taos-setup-image.path: the first deploy then starts the \
                                 fetch of the base image"
                .into(),
            Some(Mode::Background | Mode::Now) => "install and start taos-setup-image.service: it \
                                                   fetches the base image in the background"
                .into(),
            Some(Mode::Off) => "leave the base image until it is asked for: no \
                                taos-setup-image.service and .path"
                .into(),
            None => "remove taos-setup-image.service and .path: nothing waits to fetch the base \
                     image any more"
                .into(),
        },
        Step::FetchImage {
            projects, detached, ..
        } if projects.is_empty() && !detached => {
            "unpack the base image on the pools that launches use".into()
        }
        Step::FetchImage {
            wanted, detached, ..
        } => {
            let from = plain(wanted, "TAOS_IMAGE_FILE")
                .or_else(|| plain(wanted, "TAOS_IMAGE_URL"))
                .unwrap_or_default();
            if *detached {
                format!("start fetching the base image in the background, from {from}")
            } else {
                format!("fetch the base image now, from {from}, and put it in place")
            }
        }
        Step::RemoveImage { projects } => {
            format!("remove the base image from project {}", projects.join(", "))
        }
        _ => String::new(),
    }
}

/// As [`Step::reason`].
pub(super) fn reason(step: &Step) -> &'static str {
    match step {
        Step::ArrangeImage { to, .. } => match to.as_ref().map(|to| to.mode) {
            Some(Mode::Lazy) => {
                "Agents are made from the base image; without it a deploy takes minutes. Nothing \
                 is downloaded before the first deploy, and that one goes on undisturbed."
            }
            Some(Mode::Background | Mode::Now) => {
                "Agents are made from the base image; without it a deploy takes minutes. The \
                 service has low priority, and goes on after a reboot."
            }
            Some(Mode::Off) => "It was asked for.",
            None => "They were installed by the run that is taken back, or are not wanted.",
        },
        Step::FetchImage { .. } => {
            "Agents are made from the base image; without it a deploy takes minutes. It is a run \
             of its own, after the steps above: if it fails, they stay, and what came is kept."
        }
        _ => "It was fetched by the run that is taken back, and no instance was made from it.",
    }
}

/// As [`Step::undo_words`].
pub(super) fn undo_words(step: &Step) -> Option<String> {
    let undo = step.undo().map(|undo| undo.describe());
    match step {
        Step::ArrangeImage { to: Some(to), .. } if to.mode != Mode::Off && undo.is_some() => {
            Some(format!(
                "{}; an image that was fetched by then stays: taos-setup image remove",
                undo.unwrap_or_default()
            ))
        }
        Step::ArrangeImage { .. } if undo.is_none() => Some("stays as it was chosen before".into()),
        Step::FetchImage { .. } => Some(match undo {
            Some(undo) => format!("{undo}, as long as no instance was made from it"),
            None => "it stays unpacked, which harms nobody".into(),
        }),
        _ => None,
    }
}

/// The options of `taos-setup image fetch` that stand for some variables.
#[must_use]
pub fn options(wanted: &Config) -> Vec<String> {
    let mut words = Vec::new();
    for (variable, option) in [
        ("TAOS_IMAGE_FILE", "--image-file"),
        ("TAOS_IMAGE_URL", "--image-url"),
        ("TAOS_IMAGE_SHA256", "--image-sha256"),
        ("TAOS_IMAGE_KEY", "--image-key"),
    ] {
        if let Some(value) = plain(wanted, variable) {
            words.extend([option.to_owned(), value]);
        }
    }
    if wanted.contains_key("TAOS_IMAGE_INSECURE_NO_DIGEST") {
        words.push("--insecure-no-digest".into());
    }
    words
}

/// A variable's value as others may see it.
fn plain(variables: &Config, name: &str) -> Option<String> {
    variables.get(name).map(|value| hidden(value))
}

/// Addresses may hold a password or a token.
fn hidden(value: &str) -> String {
    let secret = value.contains("://") && value.contains(['@', '?']);
    if secret { "…" } else { value }.to_owned()
}

/// Takes out of a step what others may not see.
pub(super) fn hide(step: &mut Step) {
    let configs: Vec<&mut Config> = match step {
        Step::ArrangeImage { from, to } => [from, to]
            .into_iter()
            .flatten()
            .map(|arrangement| &mut arrangement.environment)
            .collect(),
        Step::FetchImage { wanted, .. } => vec![wanted],
        _ => Vec::new(),
    };
    for config in configs {
        for value in config.values_mut() {
            *value = hidden(value);
        }
    }
}

impl Step {
    /// Whether the step is about the base image, so that the images have to be looked at.
    #[must_use]
    pub fn minds_image(&self) -> bool {
        matches!(
            self,
            Self::ArrangeImage { .. } | Self::FetchImage { .. } | Self::RemoveImage { .. }
        )
    }

    /// Whether the step fetches the base image, which is a run of its own.
    #[must_use]
    pub fn fetches(&self) -> bool {
        matches!(self, Self::FetchImage { .. })
    }
}
