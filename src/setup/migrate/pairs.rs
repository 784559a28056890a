//! Two containers are copied at a time, and one is down at a time.
//!
//! A copy is bound by one core, so two beside each other take less than one after the other.  The
//! second one's run begins early, with a journal of its own: all that it did until its turn comes is
//! the first step, which is taken back like any other.  Nothing is copied while a container is down.

use std::cell::{Cell, RefCell};
use std::thread::{Scope, ScopedJoinHandle};
use std::time::Instant;

use anyhow::{bail, Result};

use super::super::Setup;
use crate::apply::{Applier, Event};
use crate::facts::{Config, Facts};
use crate::host::meter::Load;
use crate::host::Machine;
use crate::incus;
use crate::journal::{self, Lock, Progress, Record, Writer};
use crate::plan::migrate::may_be_copied_together;
use crate::plan::Approved;
use crate::report::Ending;
use crate::step::migration::{Migration, Part};
use crate::step::{Scope as Of, Step};
use crate::ui::Steps;

/// What became of a copy that was made before its container's turn.
pub(super) type Copied = Option<Result<()>>;

impl Setup<'_> {
    /// Runs the first of some runs, and copies the second one's container beside it where that
    /// disturbs nobody.  `copied` is what the same did for the first one, and then for the second.
    pub(super) fn run_beside(
        &mut self,
        lock: &Lock,
        runs: &[Approved],
        copied: &mut Copied,
    ) -> Result<Option<Ending>> {
        let run = &runs[0];
        let alone = copied.is_none();
        if !alone && self.machine.signals.stop_asked() {
            let remaining = run.steps().to_vec();
            return Ok(Some(Ending::Stopped { remaining }));
        }
        if let Some(Err(error)) = copied {
            // What is only meant to save time may fail; it is done again, in its turn.
            let log = &self.machine.log;
            log.line(&format!("copying ahead failed, so again: {error:#}"));
            if let Some(stuck) = self.put_back(lock, None)? {
                return Ok(Some(stuck));
            }
        }
        let mut facts = self.look_patiently()?;
        let (writer, progress) = match copied.take() {
            Some(Ok(())) => self.go_on_with(lock, run)?,
            _ => (
                lock.begin(run.steps())?,
                vec![Progress::Pending; run.steps().len()],
            ),
        };
        let next = runs
            .get(1)
            .filter(|next| alone && beside(self.machine, &mut facts, run, next));
        let (ended, then) = std::thread::scope(|scope| {
            let show = self.ui.steps(&self.machine.meter);
            let ahead = next.map(|next| Ahead::start(scope, self.machine, lock, next));
            let wait = || {
                if let Some(ahead) = &ahead {
                    ahead.wait(&show);
                }
            };
            let ended = self.run_watched(facts, lock, writer, run, &progress, &|event| {
                let stops = |step: &Step| {
                    matches!(
                        step,
                        Step::Migrate {
                            part: Part::Stop,
                            ..
                        }
                    )
                };
                if matches!(event, Event::Next(step) if stops(step)) {
                    wait();
                }
            });
            wait();
            (ended, ahead.and_then(|ahead| ahead.result.into_inner()))
        });
        *copied = then;
        Ok(ended)
    }

    /// The run that was begun ahead, with its journal.
    fn go_on_with<'lock>(
        &self,
        lock: &'lock Lock,
        run: &Approved,
    ) -> Result<(Writer<'lock>, Vec<Progress>)> {
        let records = journal::records(&self.machine.paths.state)?;
        let open = |it: &&Record| it.end.is_none() && it.steps == run.steps();
        let Some(record) = records.iter().find(open) else {
            bail!("the journal of a copy that was made ahead is not there any more");
        };
        Ok((lock.resume(record)?, record.progress.clone()))
    }

    /// Takes back, or finishes, every migration that is not through, but for this one.
    pub(super) fn put_back(
        &mut self,
        lock: &Lock,
        but: Option<&Migration>,
    ) -> Result<Option<Ending>> {
        let records = journal::records(&self.machine.paths.state)?;
        for record in records.iter().filter(|record| record.end.is_none()) {
            let Some(of) = record.steps.iter().find_map(Step::migrates) else {
                continue;
            };
            if but.is_none_or(|but| but.name != of.name) {
                if let Some(stuck) = self.heal(lock, record, of)? {
                    return Ok(Some(stuck));
                }
            }
        }
        Ok(None)
    }
}

/// What all of these take.
pub(super) fn loads(runs: &[Approved]) -> Vec<Load> {
    runs.iter()
        .filter_map(|run| run.steps().iter().find_map(Step::migrates))
        .map(|of| Load {
            name: of.name.to_string(),
            paths: of.paths,
            bytes: of.landing,
            ..Load::default()
        })
        .collect()
}

/// Whether the second of two runs may copy while the first one does.
fn beside(machine: &Machine, facts: &mut Facts, run: &Approved, next: &Approved) -> bool {
    let cores = std::thread::available_parallelism().map_or(1, usize::from);
    cores > 1
        && incus::refresh(machine, facts, Of::Projects).is_ok()
        && facts
            .server()
            .is_some_and(|server| may_be_copied_together(server, run, next))
}

/// A copy that is made while its container's turn has not come.
struct Ahead<'scope> {
    run: &'scope Approved,
    since: Instant,
    thread: Cell<Option<ScopedJoinHandle<'scope, Result<()>>>>,
    result: RefCell<Copied>,
}

impl<'scope> Ahead<'scope> {
    fn start<'env: 'scope>(
        scope: &'scope Scope<'scope, 'env>,
        machine: &'env Machine,
        lock: &'env Lock,
        run: &'env Approved,
    ) -> Self {
        Self {
            run,
            since: Instant::now(),
            thread: Cell::new(Some(scope.spawn(move || copy(machine, lock, run)))),
            result: RefCell::new(None),
        }
    }

    /// Until it is through, however that ended.
    fn wait(&self, show: &Steps<'_>) {
        let Some(thread) = self.thread.take() else {
            return;
        };
        let Some(step) = self.run.steps().first() else {
            return;
        };
        show.event(Event::Begin(step));
        let result = thread
            .join()
            .unwrap_or_else(|_| Err(anyhow::anyhow!("copying ahead: panicked")));
        show.event(match &result {
            Ok(()) => Event::Done(step, self.since.elapsed()),
            Err(_) => Event::Failed(step),
        });
        self.result.replace(Some(result));
    }
}

fn copy(machine: &Machine, lock: &Lock, run: &Approved) -> Result<()> {
    let machine = machine.beside();
    let mut facts = crate::look(&machine, None)?;
    let writer = lock.begin(run.steps())?;
    let applier = Applier {
        machine: &machine,
        writer,
        lock: lock.descriptor(),
        facts: &mut facts,
        watch: &|_| (),
        // A copy that is made ahead fetches no image.
        fetch: &|_: &Config, _: bool| bail!("no image is fetched beside a copy"),
        images: false,
    };
    applier.first(run)
}
