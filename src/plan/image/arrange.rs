//! When the base image is fetched, as a part of a set-up's plan.

use crate::facts::{Arrangement, Config, Mode};
use crate::plan::{ImageGoal, Planner, Refusal};
use crate::step::Step;

impl Planner {
    /// Decides what is arranged for the image: what was asked for; by default what was chosen
    /// before, or else lazy, and nothing where the image is here.
    pub(in crate::plan) fn plan_image(&mut self, goal: &ImageGoal) -> Result<(), Refusal> {
        let Some((mode, environment)) = self.image_mode(goal)? else {
            return Ok(());
        };
        let arrangement = |environment| Some(Arrangement { mode, environment });
        let systemd = self.facts.host.systemd;
        self.image = Some(mode);
        match mode {
            Mode::Off if systemd => self.arrange_image(arrangement(Config::new())),
            Mode::Off => self.arrange_image(None),
            Mode::Lazy | Mode::Background if self.facts.image_ready() => self.image = None,
            Mode::Now if self.facts.image_warm() => self.image = None,
            Mode::Lazy if systemd => self.arrange_image(arrangement(environment)),
            // Nothing could notice the first deploy.
            Mode::Lazy => self.arrange_image(None),
            Mode::Now | Mode::Background if self.facts.host.trigger.fetching => {
                self.image = None;
                self.note(
                    "the base image is being fetched already",
                    Some("to watch: taos-setup image status --watch".into()),
                );
            }
            Mode::Background if systemd => self.arrange_image(arrangement(environment)),
            Mode::Now | Mode::Background => {
                let step = Step::FetchImage {
                    wanted: which(environment),
                    projects: self.facts.without_image(),
                    detached: mode == Mode::Background,
                };
                self.push(step);
                self.note_members();
            }
        }
        Ok(())
    }

    /// Says on which members of a cluster it is unpacked, and on which not.
    fn note_members(&mut self) {
        let cluster = self.server().cluster.clone().unwrap_or_default();
        let unable: Vec<(String, String)> = self
            .server()
            .not_launched_on()
            .into_iter()
            .map(|(member, why)| (member.name.clone(), why))
            .collect();
        let able = cluster.members.iter().map(|member| &member.name);
        let able: Vec<&str> = able
            .filter(|name| unable.iter().all(|(other, _)| other != *name))
            .map(String::as_str)
            .collect();
        if !able.is_empty() {
            let able = able.join(", ");
            self.note(
                format!("in the cluster the base image is imported once, and unpacked on {able}"),
                None,
            );
        }
        for (member, why) in unable {
            self.note(
                format!("the base image is not unpacked on member {member}, which {why}"),
                Some("once that is over: taos-setup image fetch".into()),
            );
        }
    }

    /// The mode that is wanted, with its variables; none where all stays as it is.
    fn image_mode(&self, goal: &ImageGoal) -> Result<Option<(Mode, Config)>, Refusal> {
        let trigger = &self.facts.host.trigger;
        match (goal.mode, &goal.environment) {
            (Some(Mode::Off), _) => Ok(Some((Mode::Off, Config::new()))),
            (Some(mode), Some(environment)) => Ok(Some((mode, environment.clone()))),
            (Some(_), None) => Err(Refusal::new(
                "no base image is published for this machine's architecture",
                ["name one: --image-url URL or --image-file FILE"],
            )),
            (None, _) if self.facts.image_ready() => Ok(None),
            (None, environment) => Ok(match trigger.arranged() {
                // It is as it was chosen, or there is nothing to be kept up.
                Some(_) if trigger.in_force || !self.facts.host.systemd => None,
                Some(chosen) => Some((chosen.mode, chosen.environment)),
                None => environment.clone().map(|them| (Mode::Lazy, them)),
            }),
        }
    }

    fn arrange_image(&mut self, to: Option<Arrangement>) {
        let step = Step::ArrangeImage {
            from: self.facts.host.trigger.arranged(),
            to,
        };
        if !step.holds(&self.facts) {
            self.push(step);
        }
    }
}

/// Those of the variables that say which image.
fn which(mut environment: Config) -> Config {
    environment.retain(|name, _| name.starts_with("TAOS_IMAGE_") && name != "TAOS_IMAGE_STATUS");
    environment
}
