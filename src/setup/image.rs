//! The base image in a set-up: when it is fetched is a step like any other; fetching it is a run of
//! its own, after that of the set-up.

use anyhow::{anyhow, Result};

use super::Setup;
use crate::apply::Fetcher;
use crate::facts::{Config, Facts, Mode};
use crate::image::{self, Ending as Fetched, Wanted};
use crate::incus;
use crate::journal::{Lock, Progress};
use crate::plan::{Approved, Plan, Refusal};
use crate::report::{Ending, ImageReport};
use crate::ui::{afterwards, Answer};

impl Setup<'_> {
    /// Runs what was approved: first the set-up, then, under the same lock, the fetch.  No ending
    /// means that the rest has to be planned anew.
    pub(super) fn run_both(
        &mut self,
        facts: Facts,
        lock: &Lock,
        approved: Approved,
    ) -> Result<Option<Ending>> {
        let (first, fetch) = approved.apart();
        let fresh = |run: &Approved| vec![Progress::Pending; run.steps().len()];
        if !first.steps().is_empty() {
            let writer = lock.begin(first.steps())?;
            let ended = self.run_forwards(facts, lock, writer, &first, &fresh(&first));
            if fetch.steps().is_empty() || !matches!(ended, Some(Ending::Done)) {
                return Ok(ended);
            }
        }
        let facts = self.look()?;
        let writer = lock.begin(fetch.steps())?;
        let ended = self.run_forwards(facts, lock, writer, &fetch, &fresh(&fetch));
        Ok(ended.map(|ended| self.not_fetched(ended)))
    }

    /// Adds the images to what was looked at, where they matter.
    pub(super) fn look_at_images(&self, facts: &mut Facts) -> Result<()> {
        let wanted = self.goal.image.as_ref().is_some_and(|image| {
            facts.host.systemd || matches!(image.mode, Some(Mode::Now | Mode::Background))
        });
        if wanted || self.images_matter {
            incus::look_at_images(self.machine, facts)?;
        }
        Ok(())
    }

    /// Asks about a plan, where a person can also choose when the image is fetched.  None means
    /// that this was chosen, so that there is another plan.
    pub(super) fn consent_or_choose(&mut self, planned: Plan) -> Result<Option<Approved>, Refusal> {
        let open = self.goal.image.as_ref().is_some_and(|image| !image.fixed);
        let offered = planned.image.filter(|_| open);
        let (Some(mode), false, true) = (offered, self.manner.yes, self.ui.interactive()) else {
            return self.consent(planned).map(Some);
        };
        let systemd = self.report.facts().is_some_and(|facts| facts.host.systemd);
        loop {
            self.ui.offer_image(mode, systemd);
            match self.ui.ask_or_choose() {
                Ok(Answer::Yes) => return self.typed_yes(planned).map(Some),
                Ok(Answer::Explain) => self.ui.explain(&planned),
                Ok(Answer::No | Answer::Leave) => return Err(super::declined()),
                Err(mode) => {
                    if let Some(image) = &mut self.goal.image {
                        image.mode = Some(mode);
                    }
                    return Ok(None);
                }
            }
        }
    }

    /// A fetch that failed left nothing to take back, and the set-up before it stays.
    pub(super) fn not_fetched(&self, ended: Ending) -> Ending {
        let Ending::Failed { error } = ended else {
            return ended;
        };
        let mut image = self.image.borrow_mut();
        if image.as_ref().is_none_or(|image| image.exit_code == 0) {
            *image = Some(Fetched::failed(error, "to try again: taos-setup image fetch").into());
        }
        Ending::Done
    }

    /// What became of the image, for the report.
    pub(super) fn image_report(&mut self, ending: &Ending) -> Option<ImageReport> {
        let mode = self.report.plan().and_then(|plan| plan.image);
        let arranged = || ImageReport {
            outcome: "arranged",
            message: afterwards(&self.report).unwrap_or_default().to_owned(),
            ..ImageReport::default()
        };
        let report = match (self.image.take(), mode, ending) {
            (Some(report), ..) => report,
            (None, Some(mode), Ending::Done) if mode != Mode::Now => arranged(),
            _ => return None,
        };
        Some(ImageReport { mode, ..report })
    }

    /// Fetches the image as a step says, under the lock of the set-up.
    pub(super) fn fetcher<'b>(&'b self, lock: &'b Lock) -> impl Fetcher + 'b {
        move |wanted: &Config, detached: bool| {
            let wanted = Wanted::from_variables(wanted)?;
            if detached {
                return image::detach_and_wait(self.machine, &wanted);
            }
            let fetched = image::fetch_under(self.machine, self.ui, &wanted, Some(lock));
            let report = ImageReport::from(fetched);
            let error = (report.exit_code != 0).then(|| anyhow!("{}", report.message));
            self.image.replace(Some(report));
            error.map_or(Ok(()), Err)
        }
    }
}
