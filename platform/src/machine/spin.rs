//! Processors that wait for others in a loop without PAUSE: the rest of their turns passes at once.
//!
//! A processor whose registers are the same before and after [`PERIOD`] instructions goes round in a loop, which only
//! others can end, by a store or an interrupt. It is looked at twice at the end of its turns, when it has gone as far as
//! it may: level with the others, or at the end of a lead. Once it was found to spin, it is looked at early in its next
//! turns, and all turns are so short that those who hand work to each other need not wait long; they double with each
//! look that finds it spinning still. All this follows from the processors' states and times, so it is as deterministic
//! as turns are. To be wrong costs nothing but an early end of a turn.

use super::schedule::{Processor, QUANTUM};
use serde::{Deserialize, Serialize};

/// Instructions between two looks: a multiple of the lengths of loops up to eight instructions.
pub(super) const PERIOD: u64 = 840;
/// How many looks that find no spinning it takes to trust a processor again.
const WARY: u8 = 8;
/// How often turns double at most.
const DOUBLINGS: u8 = 4;

/// What RIP, RFLAGS and the general-purpose registers were at one time of a processor.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Look {
    at: u64,
    registers: [u64; 18],
    /// The looks to come before the processor is trusted; while it is not, turns are short.
    wary: u8,
    /// How many looks in a row have found it spinning.
    found: u8,
}

impl Look {
    /// How far a processor may lead.
    fn lead(&self) -> u64 {
        if self.wary == 0 {
            QUANTUM
        } else {
            ((2 * PERIOD) << self.found.min(DOUBLINGS)).min(QUANTUM)
        }
    }

    /// Whether as many instructions lie between this and time `at` as loops go round in.
    fn is_due(&self, at: u64) -> bool {
        at.checked_sub(self.at).is_some_and(|passed| passed.is_multiple_of(PERIOD))
    }
}

impl Processor {
    /// How far a processor may lead, as far as this one is concerned.
    pub(super) fn allows_lead(&self) -> u64 {
        self.look.as_ref().map_or(QUANTUM, Look::lead)
    }

    /// Where a processor that may go up to `goal` is looked at before.
    fn looks(&self, goal: u64) -> [u64; 2] {
        let early = match &self.look {
            Some(look) if look.found > 0 => look.at.saturating_add(PERIOD),
            _ => u64::MAX,
        };
        [early, goal.saturating_sub(PERIOD)]
    }

    /// Where the run of a processor that may go up to `goal` ends first, to be looked at.
    pub(super) fn next_look(&self, goal: u64) -> u64 {
        let ahead = self.looks(goal).into_iter().filter(|at| *at > self.at);
        ahead.fold(goal, u64::min)
    }

    /// Looks at the processor if it is where that is to be: it may have got there without a run.
    pub(super) fn look_first(&mut self, goal: u64) {
        if self.looks(goal).contains(&self.at) {
            self.look(goal);
        }
    }

    /// Looks whether the processor spins, which may go up to `goal`, and is there or at [`Processor::next_look`]. If so
    /// it stands still up to there, or to a timer of its own.
    pub(super) fn look(&mut self, goal: u64) {
        let last = self.look.take();
        let (at, registers) = (self.at, self.cpu.registers());
        let look = match last {
            // It has been looked at, and a pause came between.
            Some(last) if last.at == at => last,
            Some(last) if last.is_due(at) && last.registers == registers => {
                self.still = goal.min(self.cpu.wakes_at());
                let found = last.found.saturating_add(1);
                Look { at: self.still.max(at), registers, wary: WARY, found }
            }
            // Something else has ended its turn: there is nothing to compare.
            Some(last) if !last.is_due(at) => Look { at, registers, ..last },
            Some(last) => Look { at, registers, wary: last.wary.saturating_sub(1), found: 0 },
            None => Look { at, registers, wary: 0, found: 0 },
        };
        self.look = Some(look);
    }

    /// Notes that the processor has done what others see.
    pub(super) fn acts(&mut self) {
        if let Some(look) = &mut self.look {
            look.found = 0;
        }
    }
}
