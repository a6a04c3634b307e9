//! What a processor writes down for the user, and the lines that it has written.

use super::vmx::stats::Level;

/// What to write down.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Items {
    /// Exceptions and interrupts as they are delivered.
    pub int: bool,
    /// Each instruction before it runs.
    pub exec: bool,
    /// Code as it is decoded.
    pub in_asm: bool,
    /// VM exits.
    pub vmexit: bool,
    /// VM entries and exits, as data.
    pub transitions: bool,
}

/// A change between VMX root and non-root operation.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Transition {
    /// Time of the processor: the guest's instructions are those from an entry on, and before an exit.
    pub at: u64,
    /// The guest that is entered or left.
    pub level: Level,
    /// RIP of the guest.
    pub rip: u64,
    /// Entry or exit.
    pub kind: TransitionKind,
}

/// Which way a transition leads.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum TransitionKind {
    /// Into the guest.
    Entry,
    /// Out of the guest, or back from an entry that failed.
    Exit {
        /// Exit reason; bit 31: the entry failed.
        reason: u32,
        /// Exit qualification.
        qualification: u64,
        /// Guest-physical address.
        physical: u64,
        /// The guest's RAX and RCX, which number hypercalls and MSRs.
        rax: u64,
        /// See `rax`.
        rcx: u64,
    },
}

/// The lines not yet taken.
#[derive(Clone, Debug, Default)]
pub struct Trace {
    /// What is asked for.
    pub items: Items,
    /// Lines of the trace so far.
    pub text: String,
    /// Transitions so far.
    pub transitions: Vec<Transition>,
}

impl Trace {
    /// Bytes of text after which a run ends, so that the lines can be taken.
    pub const MANY: usize = 1 << 20;
    /// Transitions after which a run ends, so that they can be taken.
    pub const MANY_TRANSITIONS: usize = 1 << 14;

    /// Whether the lines are to be taken before the run goes on.
    pub(crate) fn is_full(&self) -> bool {
        self.text.len() >= Trace::MANY || self.transitions.len() >= Trace::MANY_TRANSITIONS
    }
}
