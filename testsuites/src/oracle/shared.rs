//! The memory that a host child and its owner share: a batch of cases and what came of them.

use super::case::{DATA_SIZE, Event, LINE, Patch, State};
use std::sync::atomic::AtomicU32;

/// Cases in a batch.
pub(super) const SLOTS: usize = 128;
/// Patches of a case.
pub(super) const PATCHES: usize = 160;
/// Changed lines of an outcome: all that there are.
pub(super) const LINES: usize = DATA_SIZE / LINE;

/// A case and its outcome.
#[repr(C, align(64))]
pub(super) struct Slot {
    /// The instruction, with INT3 after.
    pub(super) code: [u8; 16],
    /// Whether TF is set.
    pub(super) step: bool,
    /// How many of `patches` count.
    pub(super) patched: u16,
    /// How many of `at` and `lines` count.
    pub(super) changed: u16,
    /// The signal that ended the case.
    pub(super) signal: i32,
    /// Event that ended the case.
    pub(super) event: Event,
    /// Registers, before and after.
    pub(super) state: State,
    /// Memory before.
    pub(super) patches: [Patch; PATCHES],
    /// Where memory has changed.
    pub(super) at: [u16; LINES],
    /// What is there now.
    pub(super) lines: [[u8; LINE]; LINES],
}

/// The memory that parent and child share.
#[repr(C)]
pub(super) struct Shared {
    /// Batches asked for.
    pub(super) asked: AtomicU32,
    /// Number of batches done.
    pub(super) done: AtomicU32,
    /// Cases in the batch.
    pub(super) count: AtomicU32,
    /// The running case.
    pub(super) current: AtomicU32,
    /// Memory of all cases of the batch.
    pub(super) base: [u8; DATA_SIZE],
    /// The cases of a batch.
    pub(super) slots: [Slot; SLOTS],
}
