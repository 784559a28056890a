//! How far long work is: counted by whoever does it, read by whoever shows it.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use crate::facts::Bytes;

/// Until it is measured: so much faster is comparing than copying.
const COMPARING_IS_FASTER: u64 = 8;

/// What is being done to a container.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Stage {
    Copying,
    Comparing,
}

/// Counts what containers take to be copied and compared: two of them may be at work at once.
#[derive(Clone, Default)]
pub struct Meter {
    shared: Arc<Shared>,
    lane: usize,
}

#[derive(Default)]
struct Shared {
    lanes: [Counted; 2],
    work: Mutex<Work>,
}

#[derive(Default)]
struct Counted {
    paths: AtomicU64,
    bytes: AtomicU64,
}

#[derive(Default)]
struct Work {
    /// All that there is to do.
    loads: Vec<Load>,
    lanes: [Lane; 2],
    copied: Spent,
    compared: Spent,
    down: Option<Instant>,
    was_down: Option<Duration>,
}

#[derive(Clone, Copy, Default)]
struct Lane {
    /// Whose turn it is.
    at: usize,
    stage: Option<(Stage, Instant)>,
}

/// What moving one container takes.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Load {
    pub name: String,
    pub paths: u64,
    pub bytes: Bytes,
    /// Whether it was copied, and compared, once.
    pub copied: bool,
    pub compared: bool,
}

/// So much was done in this time.
#[derive(Clone, Copy, Default)]
struct Spent {
    bytes: u64,
    time: Duration,
}

impl Spent {
    /// Bytes in a second, once that can be told.
    fn rate(self) -> Option<u64> {
        let millis = u64::try_from(self.time.as_millis()).ok()?;
        let rate = self.bytes.saturating_mul(1000).checked_div(millis)?;
        (rate > 0).then_some(rate)
    }
}

/// How far it is at one moment.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct View {
    pub stage: Stage,
    pub name: String,
    /// The first has the number 1.
    pub number: usize,
    pub count: usize,
    pub paths: u64,
    pub of_paths: u64,
    pub bytes: Bytes,
    pub of_bytes: Bytes,
    /// In a second, on average.
    pub rate: Option<Bytes>,
    pub left: Option<Duration>,
    /// In hundredths, of all containers.
    pub all: Option<u64>,
    pub all_left: Option<Duration>,
}

impl Meter {
    /// Counts the container that is worked on beside the one whose turn it is.
    #[must_use]
    pub fn beside(&self) -> Self {
        Self {
            shared: Arc::clone(&self.shared),
            lane: 1,
        }
    }

    /// From here on it is about these.
    pub fn plan(&self, loads: Vec<Load>) {
        *self.work() = Work {
            loads,
            ..Work::default()
        };
    }

    /// Begins to count anew, for this container.
    pub fn begin(&self, stage: Stage, name: &str) {
        self.end();
        self.counted().paths.store(0, Ordering::Relaxed);
        self.counted().bytes.store(0, Ordering::Relaxed);
        let mut work = self.work();
        if let Some(at) = work.loads.iter().position(|load| load.name == name) {
            work.lanes[self.lane] = Lane {
                at,
                stage: Some((stage, Instant::now())),
            };
        }
    }

    /// Nothing is counted any more; what was, tells how fast it goes.
    pub fn end(&self) {
        let bytes = self.counted().bytes.load(Ordering::Relaxed);
        let mut work = self.work();
        let Some((stage, since)) = work.lanes[self.lane].stage.take() else {
            return;
        };
        let at = work.lanes[self.lane].at;
        let (load, copying) = (&mut work.loads[at], stage == Stage::Copying);
        if copying {
            load.copied = true;
        } else {
            load.compared = true;
        }
        let spent = if copying {
            &mut work.copied
        } else {
            &mut work.compared
        };
        spent.bytes += bytes;
        spent.time += since.elapsed();
    }

    /// So much more was gone through.
    pub fn add(&self, paths: u64, bytes: u64) {
        self.counted().paths.fetch_add(paths, Ordering::Relaxed);
        self.counted().bytes.fetch_add(bytes, Ordering::Relaxed);
    }

    /// So much has arrived, all in all.
    pub fn arrived(&self, bytes: u64) {
        self.counted().bytes.store(bytes, Ordering::Relaxed);
    }

    /// How far it is: the container whose turn it is, or else the one beside it; nothing while
    /// there is nothing to count.
    #[must_use]
    pub fn view(&self) -> Option<View> {
        let bytes = self.shared.lanes.each_ref().map(|lane| {
            let paths = lane.paths.load(Ordering::Relaxed);
            (paths, lane.bytes.load(Ordering::Relaxed))
        });
        self.work().view(bytes, Instant::now())
    }

    /// A container is being stopped.
    pub fn down(&self) {
        let mut work = self.work();
        (work.down, work.was_down) = (Some(Instant::now()), None);
    }

    /// It runs again.
    pub fn up(&self) {
        let mut work = self.work();
        work.was_down = work.down.take().map(|since| since.elapsed());
    }

    /// How long the last container was down that was stopped and runs again; it is told once.
    #[must_use]
    pub fn was_down(&self) -> Option<Duration> {
        self.work().was_down.take()
    }

    fn counted(&self) -> &Counted {
        &self.shared.lanes[self.lane]
    }

    fn work(&self) -> MutexGuard<'_, Work> {
        self.shared
            .work
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }
}

impl Work {
    fn view(&self, counted: [(u64, u64); 2], now: Instant) -> Option<View> {
        let lane = usize::from(self.lanes[0].stage.is_none());
        let Lane { at, stage } = self.lanes[lane];
        let (stage, since) = stage?;
        let load = self.loads.get(at)?;
        let (paths, bytes) = counted[lane];
        // Holes are read and not written, so more can be seen than lands.
        let bytes = bytes.min(load.bytes.0);
        let left = load.bytes.0 - bytes;
        let time = now.saturating_duration_since(since);
        let rate = Spent { bytes, time }.rate();
        let known = |of: Stage, before: Spent| {
            let now = rate.filter(|_| of == stage);
            now.or_else(|| before.rate()).unwrap_or(0)
        };
        let copying = known(Stage::Copying, self.copied);
        let comparing = match known(Stage::Comparing, self.compared) {
            0 => copying * COMPARING_IS_FASTER,
            rate => rate,
        };
        let [to_copy, to_compare] = [Stage::Copying, Stage::Comparing].map(|of| {
            let loads = self.loads.iter().enumerate();
            loads
                .map(|(at, load)| self.left(of, at, load, counted))
                .sum()
        });
        let seconds = |bytes: u64, rate: u64| match bytes {
            0 => Some(0),
            _ => bytes.checked_div(rate),
        };
        let all_left =
            seconds(to_copy, copying).and_then(|copy| Some(copy + seconds(to_compare, comparing)?));
        let whole: u64 = self.loads.iter().map(|load| load.bytes.0).sum();
        // Both count as they take time.
        let weigh = |copy: u64, compare: u64| copy + compare / COMPARING_IS_FASTER;
        let done = weigh(whole, whole).saturating_sub(weigh(to_copy, to_compare));
        Some(View {
            stage,
            name: load.name.clone(),
            number: at + 1,
            count: self.loads.len(),
            paths: paths.min(load.paths),
            of_paths: load.paths,
            bytes: Bytes(bytes),
            of_bytes: load.bytes,
            rate: rate.map(Bytes),
            left: rate
                .and_then(|rate| seconds(left, rate))
                .map(Duration::from_secs),
            all: done.saturating_mul(100).checked_div(weigh(whole, whole)),
            all_left: all_left.map(Duration::from_secs),
        })
    }

    /// What is left of a container's copying, or comparing.
    fn left(&self, of: Stage, at: usize, load: &Load, counted: [(u64, u64); 2]) -> u64 {
        let done = match of {
            Stage::Copying => load.copied,
            Stage::Comparing => load.compared,
        };
        if done {
            return 0;
        }
        let lanes = self.lanes.iter().zip(counted);
        let begun = lanes
            .filter(|(lane, _)| lane.at == at && lane.stage.is_some_and(|(it, _)| it == of))
            .map(|(_, (_, bytes))| bytes)
            .sum();
        load.bytes.0.saturating_sub(begun)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MIB: u64 = 1 << 20;

    /// Two containers, of 100 and 300 MiB.
    fn work(stages: [Option<(usize, Stage)>; 2], now: Instant) -> Work {
        let load = |name: &str, mib| Load {
            name: name.into(),
            paths: 1000,
            bytes: Bytes::mib(mib),
            ..Load::default()
        };
        let mut work = Work {
            loads: vec![load("mary", 100), load("naira", 300)],
            ..Work::default()
        };
        for (lane, stage) in work.lanes.iter_mut().zip(stages) {
            if let Some((at, stage)) = stage {
                *lane = Lane {
                    at,
                    stage: Some((stage, now)),
                };
            }
        }
        work
    }

    #[test]
    fn what_is_left_follows_from_what_was_done() {
        use Stage::{Comparing, Copying};
        let begun = Instant::now();
        // Whose turn and stage, seconds, MiB; then MiB in a second, seconds left, hundredths of all.
        let cases = [
            (0, Copying, 10, 50, Some(5), Some(10), 11),
            (0, Copying, 10, 0, None, None, 0),
            (1, Copying, 30, 300, Some(10), Some(0), 91),
            (1, Comparing, 3, 300, Some(100), Some(0), 100),
            // A file with a hole is longer than what lands of it.
            (1, Comparing, 3, 999, Some(100), Some(0), 100),
        ];
        for (at, stage, seconds, mib, rate, left, all) in cases {
            let mut work = work([Some((at, stage)), None], begun);
            work.loads[0].copied = at == 1;
            work.loads[0].compared = at == 1;
            work.loads[1].copied = stage == Comparing;
            let now = begun + Duration::from_secs(seconds);
            let view = work.view([(7, mib * MIB), (0, 0)], now).unwrap();
            let case = format!("{at} {stage:?} {mib}: {view:?}");
            assert_eq!(view.rate, rate.map(Bytes::mib), "{case}");
            assert_eq!(view.left, left.map(Duration::from_secs), "{case}");
            assert_eq!(view.all, Some(all), "{case}");
            assert_eq!((view.number, view.count, view.paths), (at + 1, 2, 7));
        }
    }

    #[test]
    fn what_is_copied_beside_counts_for_all_and_is_shown_once_it_is_alone() {
        let begun = Instant::now();
        let now = begun + Duration::from_secs(10);
        let both = [Some((0, Stage::Copying)), Some((1, Stage::Copying))];
        let view = work(both, begun).view([(0, 50 * MIB), (0, 150 * MIB)], now);
        let view = view.unwrap();
        assert_eq!((view.name.as_str(), view.all), ("mary", Some(44)));
        let one = [None, Some((1, Stage::Copying))];
        let view = work(one, begun)
            .view([(0, 0), (0, 150 * MIB)], now)
            .unwrap();
        assert_eq!(
            (view.name.as_str(), view.rate),
            ("naira", Some(Bytes::mib(15)))
        );
    }

    #[test]
    fn rates_of_earlier_stages_are_used_for_later_ones() {
        let begun = Instant::now();
        let mut work = work([Some((0, Stage::Comparing)), None], begun);
        work.loads[0].copied = true;
        work.copied = Spent {
            bytes: 100 * MIB,
            time: Duration::from_secs(10),
        };
        let now = begun + Duration::from_secs(1);
        let view = work.view([(0, 50 * MIB), (0, 0)], now).unwrap();
        // 300 MiB to copy at 10 in a second, 350 to compare at 50.
        assert_eq!(view.all_left, Some(Duration::from_secs(37)));
    }

    #[test]
    fn without_anything_to_do_nothing_is_divided() {
        let meter = Meter::default();
        assert_eq!(meter.view(), None);
        meter.begin(Stage::Comparing, "mary");
        meter.add(1, 1);
        assert_eq!(meter.view(), None, "nobody said that there is a mary");
        let name = "mary".to_owned();
        meter.plan(vec![Load {
            name,
            ..Load::default()
        }]);
        meter.begin(Stage::Copying, "mary");
        let view = meter.view().unwrap();
        assert_eq!((view.all, view.bytes, view.rate), (None, Bytes(0), None));
        meter.end();
        assert_eq!(meter.view(), None);
    }
}
