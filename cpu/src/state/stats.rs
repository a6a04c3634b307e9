//! Counters that a user may look at. No guest sees them.

use super::event::Recent;
use super::vmx;

/// Counters for the user.
#[derive(Clone, Debug, Default)]
pub struct Stats {
    /// Instructions retired.
    pub retired: u64,
    /// Unimplemented instructions that raised #UD: name and count.
    pub unimplemented: std::collections::BTreeMap<String, u64>,
    /// Exceptions by vector.
    pub exceptions: [u64; 32],
    /// External interrupts delivered.
    pub interrupts: u64,
    /// VM exits and entries.
    pub vmx: vmx::stats::Stats,
    /// The last events delivered.
    pub recent: Recent,
    /// Accesses to MSRs that do not exist, or with a reserved bit: the first numbers, and counts.
    pub unknown_msrs: std::collections::BTreeMap<u32, u64>,
    /// The rule by which RSM has refused the save area, and shut down.
    pub rsm_refused: Option<&'static str>,
}
