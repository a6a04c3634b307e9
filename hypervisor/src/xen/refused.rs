//! The log of hypercalls that do not exist here, for the statistics at the end.

use super::abi::nr::hypercall as nr;
use alloc::collections::BTreeMap;

/// Refused hypercalls by number and sub-operation: the first [`Refused::MOST`] different ones, which
/// is more than any kernel tries, and the others together.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Refused {
    /// (number, sub-operation or 255) and how often.
    pub counts: BTreeMap<(u32, u64), u64>,
    /// How often others were refused.
    pub others: u64,
}

impl Refused {
    /// The most that are counted one by one: the log is the hypervisor's memory, not a guest's.
    pub const MOST: usize = 32;

    /// Counts a refusal. Numbers from [`nr::LIMIT`] on are taken for one.
    pub fn count(&mut self, number: u32, operation: u64) {
        let key = (number.min(nr::LIMIT), operation.min(255));
        let count = if self.counts.len() < Self::MOST {
            self.counts.entry(key).or_insert(0)
        } else {
            self.counts.get_mut(&key).unwrap_or(&mut self.others)
        };
        *count = count.saturating_add(1);
    }
}
