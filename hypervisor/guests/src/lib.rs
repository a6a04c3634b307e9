//! The common part of the two embedded guests: the work they check one another by, and the
//! hypercalls they make.
//!
//! The exchange: each domU grants the page [`Page`] to dom0 as grant [`GRANT`] and offers event
//! channel [`PORT`]. These two numbers are the whole agreement; a toolstack would have passed them
//! through xenstore.
//!
//! Invariant: nothing of the hypervisor is named here, only the runtime, so that a number of Xen's
//! interface which one side has wrong does not agree with the other.
#![cfg_attr(not(test), no_std)]

pub mod hypercalls;
pub mod work;

/// The grant reference of a domU's page: the first that is not reserved.
pub const GRANT: u32 = 8;
/// The event channel that a domU offers: the first it allocates.
pub const PORT: u32 = 1;

/// The values of [`Page::state`].
pub mod state {
    /// The domU has computed its results.
    pub const READY: u32 = 1;
    /// Dom0 has asked its question.
    pub const ASKED: u32 = 2;
    /// The domU has answered.
    pub const ANSWERED: u32 = 3;
    /// Dom0 wants the domU to end.
    pub const GOODBYE: u32 = 4;
}

/// The page that a domU shares with dom0.
#[repr(C, align(4096))]
pub struct Page {
    /// One of [`state`].
    pub state: u32,
    /// The number of primes below [`work::PRIMES_BELOW`].
    pub primes: u32,
    /// Counts up while the domU waits.
    pub beats: u64,
    /// The domU's chain of hashes.
    pub chain: [u8; 32],
    /// Dom0's question.
    pub question: [u8; 32],
    /// The hash of the question.
    pub answer: [u8; 32],
}

impl Page {
    /// A page of zeros.
    pub const fn new() -> Self {
        let none = [0; 32];
        Self { state: 0, primes: 0, beats: 0, chain: none, question: none, answer: none }
    }
}

impl Default for Page {
    fn default() -> Self {
        Self::new()
    }
}
