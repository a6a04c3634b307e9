//! Counts for the user: exits by reason, instructions by level. No guest sees them.

use super::reason;
use std::collections::BTreeMap;

/// Who runs.
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

/// Counts.
#[derive(Clone, Debug, Default)]
pub struct Stats {
    /// VM exits by basic reason.
    pub exits: BTreeMap<u32, u64>,
    /// VM entries.
    pub entries: u64,
    /// Retired instructions by level, up to the last transition; see [`Stats::levels`].
    retired: BTreeMap<Level, u64>,
    level: Level,
    since: u64,
    /// The levels in the order in which they first ran.
    pub order: Vec<Level>,
    /// Failed VM entries, by the rule that failed.
    pub refused: BTreeMap<String, u64>,
}

impl Stats {
    /// The processor passes to `level` at retired-instruction count `now`.
    pub(crate) fn pass(&mut self, level: Level, now: u64) {
        *self.retired.entry(self.level).or_default() += now.wrapping_sub(self.since);
        self.level = level;
        self.since = now;
        if !self.order.contains(&level) {
            self.order.push(level);
        }
    }

    /// `time` passes without an instruction.
    pub fn idle(&mut self, time: u64) {
        self.since = self.since.wrapping_add(time);
    }

    /// Counts an exit.
    pub(crate) fn exit(&mut self, reason: u32) {
        *self.exits.entry(reason & 0xffff).or_default() += 1;
    }

    /// Retired instructions by level, up to count `now`.
    pub fn levels(&self, now: u64) -> BTreeMap<Level, u64> {
        let mut all = self.retired.clone();
        *all.entry(self.level).or_default() += now.wrapping_sub(self.since);
        all
    }

    /// Names and counts of exits.
    pub fn exits_by_name(&self) -> impl Iterator<Item = (&'static str, u64)> {
        self.exits.iter().map(|(r, n)| (reason::name(*r), *n))
    }
}
