//! How long a container is down.

use std::cell::Cell;
use std::time::{Duration, Instant};

use crate::apply::{Event, STAYS_UP};
use crate::step::migration::Part;
use crate::step::Step;

/// Measures how long a container is down.
#[derive(Default)]
pub(super) struct Downtime {
    began: Cell<Option<Instant>>,
    took: Cell<Option<Duration>>,
}

impl Downtime {
    pub(super) fn event(&self, event: &Event<'_>) {
        match event {
            Event::Begin(Step::Migrate {
                part: Part::Stop, ..
            }) => {
                self.began.set(Some(Instant::now()));
            }
            Event::Done(
                Step::Migrate {
                    part: Part::Start, ..
                },
                _,
            ) => {
                let took = self.began.get().map(|began| began.elapsed());
                self.took
                    .set(took.map(|took| took.saturating_sub(STAYS_UP)));
            }
            _ => {}
        }
    }

    pub(super) fn seconds(&self) -> Option<f64> {
        self.took.get().map(|took| took.as_secs_f64())
    }
}
