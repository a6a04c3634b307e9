//! The state of one virtual processor.
//!
//! [`Cpu`] is three things: [`State`], the architectural state as plain data, which begins with the
//! registers that operations name by byte offsets (see [`crate::op::slot`]); `Caches`, which follow from
//! it and are never saved; and `Env`, the running call.

pub mod apic;
pub mod control;
pub mod event;
pub mod flags;
pub mod fpu;
pub mod smm;
pub mod trace;
pub mod vmx;

use crate::block::{BlockLimit, CodeCache, Start};
use crate::bus::Bus;
use crate::model::Model;
use crate::op::Op;
use crate::trap::{Exception, Trap};
pub use apic::Apic;
use event::Recent;
pub use event::{Event, EventKind};
use flags::Flags;
pub use fpu::Fpu;
use mmu::{Mmu, Mode, Regime, TlbEntry, View, Window};
use serde::{Deserialize, Serialize};
pub use smm::{Smm, Smram};
use trace::Trace;
pub use vmx::Vmx;

/// Numbers of the general-purpose registers.
pub mod gpr {
    #![expect(missing_docs, reason = "the names are the SDM's")]
    pub const RAX: usize = 0;
    pub const RCX: usize = 1;
    pub const RDX: usize = 2;
    pub const RBX: usize = 3;
    pub const RSP: usize = 4;
    pub const RBP: usize = 5;
    pub const RSI: usize = 6;
    pub const RDI: usize = 7;
    pub const R11: usize = 11;
}

/// Numbers of the segment registers, as the decoder and the VMCS order them.
pub mod seg {
    #![expect(missing_docs, reason = "the names are the SDM's")]
    pub const ES: usize = 0;
    pub const CS: usize = 1;
    pub const SS: usize = 2;
    pub const DS: usize = 3;
    pub const FS: usize = 4;
    pub const GS: usize = 5;
}

/// A segment register with its hidden part. `ar` has the layout of the VMCS access rights: type,
/// S, DPL, P in bits 7:0, AVL, L, D/B, G in bits 15:12, unusable in bit 16.
/// SDM vol. 3, "Guest Register State".
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Segment {
    /// Visible selector.
    pub selector: u16,
    /// Access rights.
    pub ar: u32,
    /// Limit in bytes, scaled by G.
    pub limit: u32,
    /// Base address.
    pub base: u64,
}

/// Bits of [`Segment::ar`].
pub mod ar {
    #![expect(missing_docs, reason = "the names are the SDM's")]
    pub const ACCESSED: u32 = 1;
    /// Writable (data) or readable (code).
    pub const RW: u32 = 2;
    /// Expand-down (data) or conforming (code).
    pub const DC: u32 = 4;
    pub const CODE: u32 = 8;
    pub const S: u32 = 1 << 4;
    pub const DPL_SHIFT: u32 = 5;
    pub const P: u32 = 1 << 7;
    pub const AVL: u32 = 1 << 12;
    pub const L: u32 = 1 << 13;
    pub const DB: u32 = 1 << 14;
    pub const G: u32 = 1 << 15;
    pub const UNUSABLE: u32 = 1 << 16;
}

impl Segment {
    /// Descriptor privilege level.
    pub fn dpl(&self) -> u8 {
        (self.ar >> ar::DPL_SHIFT & 3) as u8
    }

    /// Whether all bits of `mask` are set in the access rights.
    pub fn has(&self, mask: u32) -> bool {
        self.ar & mask == mask
    }

    /// Whether the register holds no usable segment (null selector).
    pub fn unusable(&self) -> bool {
        self.ar & ar::UNUSABLE != 0
    }
}

/// GDTR or IDTR.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct TableRegister {
    /// Linear base.
    pub base: u64,
    /// Limit in bytes.
    pub limit: u16,
}

/// What the processor is doing. SDM vol. 3, "Guest Non-Register State" (the numbers are the VMCS's).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum Activity {
    /// Executing instructions.
    #[default]
    Active = 0,
    /// Stopped by HLT.
    Hlt = 1,
    /// Stopped by a triple fault.
    Shutdown = 2,
    /// An application processor that waits for a start-up IPI.
    WaitSipi = 3,
}

/// System registers and event state.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct System {
    /// CR0.
    pub cr0: u64,
    /// CR2.
    pub cr2: u64,
    /// CR3.
    pub cr3: u64,
    /// CR4.
    pub cr4: u64,
    /// IA32_EFER.
    pub efer: u64,
    /// XCR0.
    pub xcr0: u64,
    /// DR0 to DR3.
    pub dr: [u64; 4],
    /// DR6.
    pub dr6: u64,
    /// DR7.
    pub dr7: u64,
    /// Current privilege level.
    pub cpl: u8,
    /// ES, CS, SS, DS, FS, GS; change them with [`Cpu::set_segment`].
    pub seg: [Segment; 6],
    /// Local descriptor table register.
    pub ldtr: Segment,
    /// Task register.
    pub tr: Segment,
    /// Global descriptor table register.
    pub gdtr: TableRegister,
    /// Interrupt descriptor table register.
    pub idtr: TableRegister,
    /// PDPTEs in PAE paging.
    pub pdpte: [u64; 4],
    /// Model-specific registers that have no field of their own.
    pub msr: Msrs,
    /// TSC minus the count of retired instructions.
    pub tsc_offset: u64,
    /// Activity state.
    pub activity: Activity,
    /// Blocking by STI for one instruction.
    pub sti_shadow: bool,
    /// Blocking by MOV SS or POP SS for one instruction.
    pub ss_shadow: bool,
    /// NMIs are blocked until IRET.
    pub nmi_blocked: bool,
    /// An NMI is latched.
    pub nmi_pending: bool,
    /// An INIT is latched.
    pub init_pending: bool,
    /// A start-up IPI with its vector is latched.
    pub sipi_pending: Option<u8>,
    /// Level of the INTR pin (the 8259 pair), through LINT0.
    pub intr: bool,
    /// Debug exceptions (DR6 bits) that are pending after the last instruction.
    pub pending_debug: u64,
    /// State of the random number generator.
    pub random: u64,
    /// Breakpoints on data that the running instruction has met.
    pub watch_hits: u64,
    /// A fault that a task switch met in the new task, to be raised there.
    pub task_fault: Option<Exception>,
    /// TF was set when the running instruction began.
    pub step_trap: bool,
    /// The event that is being delivered.
    pub delivering: Option<Event>,
    /// System-management mode.
    pub smm: Smm,
}

/// Model-specific registers kept as values.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[expect(missing_docs, reason = "the names are the SDM's, vol. 4")]
pub struct Msrs {
    pub star: u64,
    pub lstar: u64,
    pub cstar: u64,
    pub sfmask: u64,
    pub kernel_gs_base: u64,
    pub sysenter_cs: u64,
    pub sysenter_esp: u64,
    pub sysenter_eip: u64,
    pub tsc_aux: u64,
    pub tsc_adjust: u64,
    pub pat: u64,
    pub mtrr_def_type: u64,
    pub mtrr_fixed: [u64; 11],
    pub mtrr_var: [u64; 16],
    pub misc_enable: u64,
    pub feature_control: u64,
    pub debugctl: u64,
    pub xss: u64,
    pub mc_ctl: [u64; 10],
}

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
}

/// Everything that a guest can tell, and nothing that it cannot: plain data, which is saved, restored
/// and hashed as it is.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[repr(C)]
pub struct State {
    /// RAX, RCX, RDX, RBX, RSP, RBP, RSI, RDI, R8 to R15.
    pub regs: [u64; 16],
    /// Parts of addresses, derived from the rest.
    #[serde(skip)]
    pub(crate) bases: Bases,
    /// Instruction pointer; valid in the outer loop only (see [`Cpu::current_rip`]).
    pub rip: u64,
    /// RFLAGS.
    pub flags: Flags,
    /// System registers and event state.
    pub sys: System,
    /// x87, MMX, SSE, AVX.
    pub fpu: Fpu,
    /// Local APIC.
    pub apic: Apic,
    /// VMX.
    pub vmx: Vmx,
    /// Features and identification.
    pub model: Model,
}

/// Parts of addresses that an operation names by byte offsets, as it names registers, see
/// [`crate::op::slot`]. All but the page follow from the segment registers.
#[derive(Clone, Copy, Debug)]
#[repr(C)]
pub(crate) struct Bases {
    /// Always 0: the base, index or segment that an address lacks.
    pub(crate) zero: u64,
    /// Linear address of the page that holds the running block.
    pub(crate) page: u64,
    /// Segment bases, copies of those in [`System::seg`].
    pub(crate) seg: [u64; 6],
    /// Always 8192: a part of a displacement that does not fit [`Op::disp`].
    pub(crate) two_pages: u64,
}

impl Default for Bases {
    fn default() -> Bases {
        Bases { zero: 0, page: 0, seg: [0; 6], two_pages: 8192 }
    }
}

impl PartialEq for Bases {
    /// Derived values make no difference between two states.
    fn eq(&self, _: &Bases) -> bool {
        true
    }
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
    pub(crate) code_epoch: (u64, u64),
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
    /// The running operation, valid in slow paths.
    pub(crate) op: *const Op,
    /// Leave to the outer loop after the current instruction.
    pub(crate) leave: bool,
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
            code_epoch: (0, 0),
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
    /// No run.
    pub(crate) fn new() -> Env {
        Env {
            budget: 0,
            budget_at_op: 0,
            budget_zero_at: 0,
            op: std::ptr::null(),
            leave: false,
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

    /// Gives the borrows back.
    pub(crate) fn release(&mut self) {
        (self.mmu, self.code, self.bus) = (std::ptr::null_mut(), std::ptr::null_mut(), None);
    }
}

/// An entry of the indirect-branch cache; it does not cross the host's cache lines.
#[derive(Clone, Copy)]
#[repr(C, align(32))]
pub struct JumpEntry {
    /// Linear address of the target.
    pub to: u64,
    /// `space_tag` when it was found; 0 is none.
    pub space_tag: u64,
    /// The `link_tag` of the target.
    pub link_tag: u64,
    /// Its first operation.
    pub op: *const Op,
}

/// A block that begins near a deadline, where only so much may be run.
#[derive(Clone, Copy)]
pub struct DeadlineEntry {
    /// Linear address.
    pub la: u64,
    /// `space_tag` when it was found; 0 is none.
    pub space_tag: u64,
    /// What the block was decoded for.
    pub limit: BlockLimit,
    /// The block.
    pub start: Start,
}

/// How many [`DeadlineEntry`]s are kept.
pub const DEADLINE_ENTRIES: usize = 512;

/// Entries of the indirect-branch cache.
pub const JUMP_ENTRIES: usize = 8192;

/// How code is decoded.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
#[repr(u8)]
pub enum CodeMode {
    /// Real, virtual-8086 or 16-bit protected mode.
    Bits16 = 0,
    /// 32-bit protected or compatibility mode with segments that are not all flat.
    Bits32 = 1,
    /// 32-bit mode with flat CS, SS, DS, ES: addresses need no segment.
    Flat32 = 2,
    /// 64-bit mode.
    Bits64 = 3,
}

impl CodeMode {
    /// Whether segments neither add to addresses nor limit them.
    pub fn flat(self) -> bool {
        matches!(self, CodeMode::Flat32 | CodeMode::Bits64)
    }
}

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
    /// Accesses to MSRs that do not exist: number and count.
    pub unknown_msrs: std::collections::BTreeMap<u32, u64>,
    /// The rule by which RSM has refused the save area, and shut down.
    pub rsm_refused: Option<&'static str>,
}

impl Cpu {
    /// Instructions retired before the current one.
    pub fn now(&self) -> u64 {
        self.env.budget_zero_at.wrapping_sub(self.env.budget_at_op as u64)
    }

    /// The time-stamp counter.
    pub(crate) fn tsc(&self) -> u64 {
        self.now().wrapping_add(self.state.sys.tsc_offset)
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
