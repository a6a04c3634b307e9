//! Futures as they run: a machine that is put back to where all begin, again and again.

use super::condition::{Condition, Watch, status};
use super::corpus::{self, Corpus, News, State};
use super::plan::Plan;
use crate::record::{Every, Recorder};
use crate::replay::forget_output;
use crate::snapshot::Chain;
use crate::status::{Failure, Status};
use platform::machine::{Branch, Config, Machine, MachineStop};
use platform::time::Icount;
use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// Instructions between two looks at what a future has come to.
const LOOK: u64 = 100_000;

/// Where all futures begin, and how they end.
pub(crate) struct Begin {
    pub(crate) path: PathBuf,
    pub(crate) chain: Chain,
    /// Instructions of each future.
    pub(crate) budget: u64,
    pub(crate) conditions: Vec<Condition>,
}

/// How a future has ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Ended {
    /// The condition that is met, by its number.
    pub(crate) met: Option<usize>,
    /// The machine's time.
    pub(crate) at: Icount,
    /// The exit status, if the guest has ended the run.
    pub(crate) status: Option<Status>,
}

impl Begin {
    /// The machine's time.
    pub(crate) fn now(&self) -> u64 {
        self.chain.last().saved().now().0
    }

    /// The state itself.
    pub(crate) fn branch(&self) -> Result<Branch, Failure> {
        Ok(Branch::root(&self.machine()?))
    }

    fn machine(&self) -> Result<Machine, Failure> {
        self.chain.restore(&self.path, &Config::default())
    }

    /// Runs the future in which `machine` has been given all that it is given, to machine time `end` at most.
    fn follow(&self, machine: &mut Machine, end: Icount, corpus: Option<&Corpus>) -> (Ended, News) {
        let mut watch = Watch::new(&self.conditions, machine.now().0);
        let (mut news, mut features) = (News::default(), BTreeSet::new());
        loop {
            let left = end.0.saturating_sub(machine.now().0);
            let stop = machine.run(left.min(LOOK));
            features.extend(corpus::features(machine, stop != MachineStop::Paused));
            if stop == MachineStop::Paused {
                continue;
            }
            let (met, at, status) = (watch.look(machine, &stop), machine.now(), status(&stop));
            let over = met.is_some() || status.is_some() || at >= end;
            let features = std::mem::take(&mut features).into_iter();
            if let Some(corpus) = corpus.filter(|_| !over) {
                news.add(at, features.filter(|feature| corpus.is_new(*feature)));
            }
            if over {
                return (Ended { met, at, status }, news);
            }
        }
    }

    /// Writes down a future that has ended so, in the directory `directory`.
    pub(crate) fn record(&self, plan: &Plan, ended: &Ended, to: &Path) -> Result<(), Failure> {
        let every = Every { hash: (self.budget / 4).max(1), snapshot: u64::MAX };
        let mut recorder = Recorder::create(to, every)?;
        let mut machine = self.machine()?;
        recorder.begin(&mut machine)?;
        for (at, input) in plan {
            let at = machine.input(*at, input.clone());
            recorder.input(at, input.clone())?;
        }
        loop {
            let now = machine.now();
            let most = if ended.status.is_some() { u64::MAX } else { ended.at.0 };
            let left = most.min(recorder.due()).saturating_sub(now.0);
            let stop = machine.run(left.min(LOOK));
            forget_output(&mut machine);
            if stop != MachineStop::Budget || machine.now() >= ended.at && ended.status.is_none() {
                break;
            }
            recorder.look(&mut machine)?;
        }
        let status = ended.status.unwrap_or(Status::Limit);
        recorder.end(&mut machine, status, ended.status.is_some())
    }
}

/// A machine that runs one future after the other.
pub(crate) struct Explorer {
    machine: Machine,
    /// What never runs: the pages as they are at the begin.
    root: Machine,
    /// The state to which the machine was put last.
    at: Arc<Branch>,
}

impl Explorer {
    pub(crate) fn new(begin: &Begin) -> Result<Explorer, Failure> {
        let (mut machine, root) = (begin.machine()?, begin.machine()?);
        machine.write_transitions_down();
        let at = Arc::new(Branch::root(&root));
        Ok(Explorer { machine, root, at })
    }

    /// Puts the machine to `from`, and gives it what `plan` has for later.
    fn put(&mut self, from: &Arc<Branch>, plan: &Plan) {
        from.put(&mut self.machine, &self.at, &self.root);
        self.at = from.clone();
        for (at, input) in plan.iter().filter(|(at, _)| *at > from.now()) {
            self.machine.input(*at, input.clone());
        }
    }

    /// Runs the future `plan` from `from` on to machine time `end` at most, and tells what of it is new.
    pub(crate) fn run(
        &mut self,
        begin: &Begin,
        from: &Arc<Branch>,
        plan: &Plan,
        end: Icount,
        corpus: Option<&Corpus>,
    ) -> (Ended, News) {
        self.put(from, plan);
        begin.follow(&mut self.machine, end, corpus)
    }

    /// The state at machine time `at` of the future `plan` from `from` on.
    pub(crate) fn state(&mut self, from: &Arc<Branch>, plan: &Plan, at: Icount) -> State {
        let plan: Plan = plan.iter().filter(|(time, _)| *time <= at).cloned().collect();
        self.put(from, &plan);
        while self.machine.now() < at {
            let left = at.0 - self.machine.now().0;
            self.machine.run(left.min(LOOK));
            drop(self.machine.take_transitions());
            forget_output(&mut self.machine);
        }
        State { plan, branch: Arc::new(Branch::of(&mut self.machine, from)) }
    }
}
