//! What a run has counted, over its resets: instructions and seconds of each level, exits by level and reason.

use crate::summary::Level;
use platform::machine::{self, Machine};
use rustix::time::{ClockId, clock_gettime};
use std::collections::BTreeMap;

/// Counts of the machines that a run has had, one after the other.
pub(crate) struct Counts {
    /// The domains on the machine, in the hypervisor's order.
    domains: Vec<String>,
    levels: Vec<Level>,
    /// The levels of the present machine, in the order in which they were first seen.
    known: Vec<machine::Level>,
    /// What [`Machine::levels`] said of each when it was last asked.
    counted: Vec<u64>,
    /// Exits of the machines before, by the level's place and the basic reason.
    exits: BTreeMap<(usize, u32), u64>,
}

impl Counts {
    /// The counts before the first slice.
    pub(crate) fn new(domains: &[String]) -> Self {
        Self {
            domains: domains.to_vec(),
            levels: Vec::new(),
            known: Vec::new(),
            counted: Vec::new(),
            exits: BTreeMap::new(),
        }
    }

    /// Counts a slice: its seconds are shared out by the instructions of each level.
    pub(crate) fn slice(&mut self, machine: &Machine, seconds: f64) {
        let mut ran = vec![0; self.levels.len()];
        for (level, all) in machine.levels() {
            let n = self.place(level);
            ran.resize(self.levels.len(), 0);
            ran[n] = all.saturating_sub(std::mem::replace(&mut self.counted[n], all));
        }
        let all = ran.iter().sum::<u64>().max(1) as f64;
        for (level, ran) in self.levels.iter_mut().zip(ran) {
            level.instructions += ran;
            level.seconds += seconds * ran as f64 / all;
        }
    }

    /// Another machine follows `machine`.
    pub(crate) fn restart(&mut self, machine: &Machine) {
        self.exits = self.exits(machine);
        self.known.clear();
        self.counted.clear();
    }

    /// The place of a level among [`Counts::levels`].
    pub(crate) fn place(&mut self, level: machine::Level) -> usize {
        if let Some(n) = self.known.iter().position(|known| *known == level) {
            return n;
        }
        let n = self.known.len();
        self.known.push(level);
        self.counted.push(0);
        if self.levels.len() == n {
            let name = self.name(n, level);
            self.levels.push(Level { name, ..Level::default() });
        }
        n
    }

    /// Guests are named in the order in which they first run, which is the hypervisor's order.
    fn name(&self, n: usize, level: machine::Level) -> String {
        match (n, level) {
            (0, _) if self.domains.is_empty() => "machine".into(),
            (0, _) => "hypervisor".into(),
            (_, machine::Level::Others) => "other guests".into(),
            _ => self.domains.get(n - 1).cloned().unwrap_or_else(|| format!("guest {n}")),
        }
    }

    /// The levels so far.
    pub(crate) fn levels(&self) -> &[Level] {
        &self.levels
    }

    /// All exits so far, by the level's place and the basic reason.
    pub(crate) fn exits(&mut self, machine: &Machine) -> BTreeMap<(usize, u32), u64> {
        let mut exits = self.exits.clone();
        for ((level, reason), count) in machine.exits() {
            *exits.entry((self.place(level), reason)).or_default() += count;
        }
        exits
    }
}

/// Seconds of processor time that this thread has used.
pub(crate) fn processor_seconds() -> f64 {
    let time = clock_gettime(ClockId::ThreadCPUTime);
    time.tv_sec as f64 + time.tv_nsec as f64 / 1e9
}
