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
    /// All guests that came after the first [`Stats::LEVELS`] levels.
    Others,
}

/// Counts of events since the processor was made.
#[derive(Clone, Debug)]
pub struct Stats {
    /// VM exits of each level by basic reason; entries that failed are the root's.
    exits: Vec<[u64; REASONS]>,
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
            exits: vec![[0; REASONS]],
            entries: 0,
            retired: vec![(Level::Root, 0)],
            level: 0,
            since: 0,
            refused: BTreeMap::new(),
        }
    }
}

impl Stats {
    /// The most levels that are counted by themselves.
    pub const LEVELS: usize = 128;

    /// The processor passes to `level` at retired-instruction count `now`.
    pub(crate) fn pass(&mut self, level: Level, now: u64) {
        self.retired[self.level].1 += now.wrapping_sub(self.since);
        self.since = now;
        let named = if self.retired.len() < Stats::LEVELS { level } else { Level::Others };
        self.level = self.place(level).or_else(|| self.place(named)).unwrap_or_else(|| {
            self.retired.push((named, 0));
            self.exits.push([0; REASONS]);
            self.retired.len() - 1
        });
    }

    fn place(&self, level: Level) -> Option<usize> {
        self.retired.iter().position(|(l, _)| *l == level)
    }

    /// `time` passes without an instruction.
    pub fn idle(&mut self, time: u64) {
        self.since = self.since.wrapping_add(time);
    }

    /// Counts an exit.
    pub(crate) fn exit(&mut self, reason: u32) {
        self.exits[self.level][reason as usize % REASONS] += 1;
    }

    /// Exits of each level by basic reason, those of which there were any.
    pub fn exits(&self) -> impl Iterator<Item = (Level, u32, u64)> {
        let levels = self.retired.iter().zip(&self.exits);
        levels.flat_map(|((level, _), counts)| {
            let counts = (0u32..).zip(counts).filter(|(_, count)| **count != 0);
            counts.map(|(reason, count)| (*level, reason, *count))
        })
    }

    /// Retired instructions by level, up to count `now`, in the order in which the levels first ran.
    pub fn levels(&self, now: u64) -> Vec<(Level, u64)> {
        let mut all = self.retired.clone();
        all[self.level].1 += now.wrapping_sub(self.since);
        all
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn many_levels() {
        let mut stats = Stats::default();
        // Each of 1000 guests runs two instructions, and the host one behind each.
        for n in 0..1000 {
            stats.pass(Level::Ept(n), 3 * n);
            stats.pass(Level::Root, 3 * n + 2);
        }
        let levels = stats.levels(3000);
        assert_eq!(levels[..3], [(Level::Root, 1000), (Level::Ept(0), 2), (Level::Ept(1), 2)]);
        let named = Stats::LEVELS as u64 - 1;
        assert_eq!(levels[Stats::LEVELS..], [(Level::Others, 2 * (1000 - named))]);
        stats.exit(48);
        stats.pass(Level::Ept(1), 3000);
        stats.exit(10);
        stats.exit(10 | 1 << 31);
        let exits: Vec<_> = stats.exits().collect();
        assert_eq!(exits, [(Level::Root, 48, 1), (Level::Ept(1), 10, 2)]);
        assert_eq!(stats.levels(3001)[2], (Level::Ept(1), 3));
    }
}
