//! What there is to ask of any step because some of them migrate.

use super::{Migration, Part};
use crate::facts::Config;
use crate::step::Step;

impl Step {
    /// Whether all before it is taken back if this step fails; if not, it is tried again.
    #[must_use]
    pub fn goes_back(&self) -> bool {
        match self {
            Self::Migrate { part, of } => !match part {
                Part::Tighten | Part::Check => true,
                // A plain move keeps nothing to go back to.
                Part::Start => of.plain,
                _ => false,
            },
            _ => true,
        }
    }

    /// Whether a wish to stop is heard before this step.
    #[must_use]
    pub fn can_wait(&self) -> bool {
        match self {
            // What does not run is not down for it.
            Self::Migrate { part, of } => part.can_wait() || *part == Part::Prove && !of.running,
            _ => true,
        }
    }

    /// The container that the step migrates, if it migrates one.
    #[must_use]
    pub fn migrates(&self) -> Option<&Migration> {
        match self {
            Self::Migrate { of, .. } => Some(of),
            _ => None,
        }
    }

    /// The step as others may see it: without the values of a container's configuration, some of
    /// which are secret.
    #[must_use]
    pub fn without_secrets(&self) -> Step {
        let mut step = self.clone();
        crate::step::image::hide(&mut step);
        if let Self::Migrate { of, .. } = &mut step {
            of.was
                .config
                .values_mut()
                .for_each(|value| "…".clone_into(value));
            let devices = of
                .devices
                .values_mut()
                .chain(of.was.expanded_devices.values_mut());
            devices.for_each(Config::clear);
            if let Some(then) = &mut of.then {
                let values = then.record.config.values_mut();
                values.for_each(|value| "…".clone_into(value));
                let devices = then.devices.values_mut();
                let devices = devices.chain(then.record.expanded_devices.values_mut());
                devices.for_each(Config::clear);
            }
            of.snapshots.clear();
        }
        step
    }
}
