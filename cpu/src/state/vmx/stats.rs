//! Counts for the user: exits by reason, instructions by level. No guest sees them.

use std::collections::BTreeMap;

/// The level of software that runs.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub enum Level {
    /// VMX root operation, or no VMX.
    #[default]
    Root,
    /// A guest, by its EPT pointer.
    Ept(u64),
    /// A guest without EPT, by the address of its VMCS.
    Vmcs(u64),
}

/// Counts of events since the processor was made.
#[derive(Clone, Debug)]
pub struct Stats {
    /// VM exits by basic reason.
    pub(crate) exits: [u64; REASONS],
    /// VM entries.
    pub entries: u64,
    /// Retired instructions by level, up to the last transition, in the order in which the levels
    /// first ran; see [`Stats::levels`].
    retired: Vec<(Level, u64)>,
    /// Place of the level that runs.
    level: usize,
    since: u64,
    /// Failed VM entries, by the rule that failed.
    pub refused: BTreeMap<String, u64>,
}

/// More than there are basic exit reasons.
const REASONS: usize = 128;

impl Default for Stats {
    fn default() -> Stats {
        Stats {
            exits: [0; REASONS],
            entries: 0,
            retired: vec![(Level::Root, 0)],
            level: 0,
            since: 0,
            refused: BTreeMap::new(),
        }
    }
}

impl Stats {
    /// The processor passes to `level` at retired-instruction count `now`.
    pub(crate) fn pass(&mut self, level: Level, now: u64) {
        self.retired[self.level].1 += now.wrapping_sub(self.since);
        self.since = now;
        self.level = self.retired.iter().position(|(l, _)| *l == level).unwrap_or_else(|| {
            self.retired.push((level, 0));
            self.retired.len() - 1
        });
    }

    /// `time` passes without an instruction.
    pub fn idle(&mut self, time: u64) {
        self.since = self.since.wrapping_add(time);
    }

    /// Counts an exit.
    pub(crate) fn exit(&mut self, reason: u32) {
        self.exits[reason as usize % REASONS] += 1;
    }

    /// Retired instructions by level, up to count `now`, in the order in which the levels first ran.
    pub fn levels(&self, now: u64) -> Vec<(Level, u64)> {
        let mut all = self.retired.clone();
        all[self.level].1 += now.wrapping_sub(self.since);
        all
    }
}
