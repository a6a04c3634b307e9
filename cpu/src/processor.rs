//! One virtual processor, as the interpreter runs it.
//!
//! [`Cpu`] is three things: [`State`], the architectural state as plain data; `Caches`, which follow from it and
//! are never saved; and `Env`, the running call.

use crate::block::{BlockLimit, CodeCache, Start};
use crate::bus::Bus;
use crate::op::Op;
use crate::state::TSC_STEP;
use crate::state::breakpoints::Halts;
use crate::state::trace::Trace;
use crate::state::{CodeMode, State, Stats};
use crate::trap::Trap;
use mmu::{Mmu, Mode, Regime, TlbEntry, View, Window};
use std::sync::Arc;
use std::sync::atomic::AtomicBool;

/// One virtual processor.
#[repr(C, align(64))]
pub struct Cpu {
    /// The architectural state; first, because operations name registers by byte offsets into [`Cpu`].
    pub state: State,
    pub(crate) caches: Caches,
    pub(crate) env: Env,
    /// Counters that a user may look at; never seen by a guest.
    pub stats: Stats,
    /// Events and instructions to be written down; never seen by a guest.
    pub(crate) trace: Trace,
    /// Where the host wants runs to end; never seen by a guest.
    pub(crate) halts: Halts,
    /// The host sets it to have the run end.
    pub(crate) pause: Arc<AtomicBool>,
}

/// Host-side copies and look-up tables, which follow from [`State`] and memory and are never saved.
pub(crate) struct Caches {
    /// Mode that blocks are decoded for.
    pub(crate) mode: CodeMode,
    /// `bases.page` mixed with `space_tag`: the key of cross-page links.
    pub(crate) link_tag: u64,
    /// The generation of the current address space and privilege, with the mode, in the bits of
    /// `link_tag` that are not the address's.
    pub(crate) space_tag: u64,
    /// The current TLB view.
    pub(crate) tlb: *mut TlbEntry,
    /// [`CodeCache::epoch`] that `jump_cache` and `deadline_cache` are up to date with.
    pub(crate) code_epoch: u64,
    /// The registers that translations depend on, derived from `sys` (and the VMCS).
    pub(crate) regime: Regime,
    /// The current TLB bank.
    pub(crate) bank: u32,
    /// The current TLB view's name.
    pub(crate) view: View,
    /// Indirect-branch cache.
    pub(crate) jump_cache: Box<[JumpEntry; JUMP_ENTRIES]>,
    /// Blocks that were entered near deadlines.
    pub(crate) deadline_cache: Box<[DeadlineEntry; DEADLINE_ENTRIES]>,
}

/// The running call: the memory, code and bus that it borrows, and how far it has come. Raw pointers
/// because handlers reach them through [`Cpu`]; they are set on entry of [`Cpu::run`] from exclusive
/// borrows that last as long as the call, and reset at its end.
pub(crate) struct Env {
    /// Instructions left at the begin of the running block; valid while blocks run.
    pub(crate) budget: i64,
    /// Instructions left, as of the operation in `op`; valid in slow paths and the outer loop.
    pub(crate) budget_at_op: i64,
    /// The retired-instruction count at which `budget_at_op` is 0.
    pub(crate) budget_zero_at: u64,
    /// Time that the running instruction takes besides its own, in instructions.
    pub(crate) stall: u64,
    /// The instruction whose time `stall` is gives way to other processors.
    pub(crate) yields: bool,
    /// Up to what count the processor's turn goes, if longer than the run.
    pub(crate) turn_end: u64,
    /// Somebody debugs, or has something traced.
    pub(crate) attended: bool,
    /// Time that has passed in blocks without an instruction, since it was last asked for.
    pub(crate) stalled: u64,
    /// The running operation, valid in slow paths.
    pub(crate) op: *const Op,
    /// Leave to the outer loop after the current instruction.
    pub(crate) leave: bool,
    /// What costly instructions may still do before that.
    credit: Credit,
    /// The retired-instruction count at which the run ends; nearer where it is to end early.
    pub(crate) until: u64,
    /// The bus has been used: the run ends after the current instruction.
    pub(crate) io: bool,
    /// The reason for which the last handler stopped.
    pub(crate) trap: Option<Trap>,
    /// Memory, null outside a run.
    pub(crate) mmu: *mut Mmu,
    /// Decoded code, null outside a run.
    pub(crate) code: *mut CodeCache,
    /// Ports, MMIO and messages.
    pub(crate) bus: Option<*mut dyn Bus>,
}

/// What instructions that cost more than others may do before the outer loop looks at the host again, in
/// elements of string instructions: some tens of milliseconds at most. It decides when the run leaves, never
/// what an instruction does.
#[derive(Clone, Copy)]
pub(crate) struct Credit(u64);

impl Credit {
    /// Credit after a look at the host.
    const FULL: Credit = Credit(1 << 18);
    /// What a store to code or to a paging structure is charged with.
    const WATCHED_STORE: u64 = 1 << 10;
}

const NO_PAGING: Regime = Regime {
    mode: Mode::Off,
    root: 0,
    pdpte: [0; 4],
    wp: false,
    nxe: false,
    smep: false,
    smap: false,
    gib_pages: false,
    maxphys: 40,
    ept: None,
    window: Window::Closed,
};

impl Caches {
    /// Empty caches.
    pub(crate) fn new() -> Caches {
        Caches {
            mode: CodeMode::Bits16,
            link_tag: 0,
            space_tag: 0,
            tlb: std::ptr::null_mut(),
            code_epoch: 0,
            regime: NO_PAGING,
            bank: 0,
            view: View::Supervisor,
            jump_cache: vec![JumpEntry::NONE; JUMP_ENTRIES]
                .into_boxed_slice()
                .try_into()
                .unwrap_or_else(|_| unreachable!("the length is JUMP_ENTRIES")),
            deadline_cache: Box::new([DeadlineEntry::NONE; DEADLINE_ENTRIES]),
        }
    }
}

impl Env {
    /// The environment outside of runs.
    pub(crate) fn new() -> Env {
        Env {
            budget: 0,
            budget_at_op: 0,
            budget_zero_at: 0,
            stall: 0,
            yields: false,
            turn_end: 0,
            attended: false,
            stalled: 0,
            op: std::ptr::null(),
            leave: false,
            credit: Credit::FULL,
            until: 0,
            io: false,
            trap: None,
            mmu: std::ptr::null_mut(),
            code: std::ptr::null_mut(),
            bus: None,
        }
    }

    /// Takes up the borrows of a call of [`Cpu::run`].
    pub(crate) fn borrow(&mut self, mmu: *mut Mmu, code: *mut CodeCache, bus: *mut dyn Bus) {
        (self.mmu, self.code, self.bus) = (mmu, code, Some(bus));
    }

    /// Charges the running instruction with `work`; the run leaves for the outer loop whenever too much has
    /// come together.
    pub(crate) fn charge(&mut self, work: u64) {
        match self.credit.0.checked_sub(work) {
            Some(left) => self.credit.0 = left,
            None => (self.credit, self.leave) = (Credit::FULL, true),
        }
    }

    /// Charges for a store to code or to a paging structure.
    pub(crate) fn charge_watched_store(&mut self) {
        self.charge(Credit::WATCHED_STORE);
    }

    /// Gives the borrows back.
    pub(crate) fn release(&mut self) {
        (self.mmu, self.code, self.bus) = (std::ptr::null_mut(), std::ptr::null_mut(), None);
    }
}

/// An entry of the indirect-branch cache; it does not cross the host's cache lines.
#[derive(Clone, Copy)]
#[repr(C, align(32))]
pub(crate) struct JumpEntry {
    /// Linear address of the target.
    pub(crate) to: u64,
    /// `space_tag` when it was found; 0 is none.
    pub(crate) space_tag: u64,
    /// The `link_tag` of the target.
    pub(crate) link_tag: u64,
    /// First operation of the block.
    pub(crate) op: *const Op,
}

/// A block that begins near a deadline, where only so much may be run.
#[derive(Clone, Copy)]
pub(crate) struct DeadlineEntry {
    /// Linear address.
    pub(crate) la: u64,
    /// `space_tag` when it was found; 0 is none.
    pub(crate) space_tag: u64,
    /// What the block was decoded for.
    pub(crate) limit: BlockLimit,
    /// Where the block begins.
    pub(crate) start: Start,
}

/// How many [`DeadlineEntry`]s are kept.
pub(crate) const DEADLINE_ENTRIES: usize = 512;

/// Entries of the indirect-branch cache.
pub(crate) const JUMP_ENTRIES: usize = 8192;

impl JumpEntry {
    /// An entry that nothing matches: generations start at 1.
    pub(crate) const NONE: JumpEntry =
        JumpEntry { to: 0, space_tag: 0, link_tag: 0, op: std::ptr::null() };
}

impl DeadlineEntry {
    /// An entry that nothing matches.
    pub(crate) const NONE: DeadlineEntry = DeadlineEntry {
        la: 0,
        space_tag: 0,
        limit: BlockLimit::ANY,
        start: Start { op: std::ptr::null(), count: u64::MAX },
    };
}

impl Cpu {
    /// Instructions retired before the current one.
    pub fn now(&self) -> u64 {
        self.env.budget_zero_at.wrapping_sub(self.env.budget_at_op as u64)
    }

    /// The time-stamp counter.
    pub(crate) fn tsc(&self) -> u64 {
        self.tsc_at(self.now())
    }

    /// The time-stamp counter when `now` instructions have been retired.
    pub(crate) fn tsc_at(&self, now: u64) -> u64 {
        now.wrapping_mul(TSC_STEP).wrapping_add(self.state.sys.tsc_offset)
    }

    /// Mode that code is decoded for now.
    pub fn mode(&self) -> CodeMode {
        self.caches.mode
    }

    /// Segment bases as addresses use them: ES, CS, SS, DS, FS, GS.
    pub fn segment_bases(&self) -> [u64; 6] {
        self.state.bases.seg
    }

    /// RFLAGS.
    pub fn rflags(&self) -> u64 {
        self.state.flags.get()
    }

    /// Sets RFLAGS; bit 1 stays 1. Reserved bits are the caller's to clear.
    pub fn set_rflags(&mut self, v: u64) {
        self.state.flags.set(v);
    }

    /// Whether the processor runs 64-bit code.
    pub fn is_64(&self) -> bool {
        self.caches.mode == CodeMode::Bits64
    }
}
