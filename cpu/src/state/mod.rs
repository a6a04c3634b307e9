//! What a processor is: plain data, which names nothing of how it behaves.
//!
//! [`State`] is all that a guest can tell, and begins with the registers that operations name by byte offsets
//! (see [`crate::op::slot`]). [`Stats`] and [`trace::Trace`] are for the user. The processor that the
//! interpreter runs is [`crate::Cpu`].

pub mod apic;
pub mod breakpoints;
pub mod control;
pub mod event;
pub mod flags;
pub mod fpu;
mod mode;
mod registers;
pub mod smm;
mod stats;
mod system;
pub mod trace;
pub mod vmx;

use crate::model::Model;
pub use apic::Apic;
pub use event::{Event, EventKind};
use flags::Flags;
pub use fpu::Fpu;
pub use mode::CodeMode;
pub use registers::{Segment, TableRegister, ar, gpr, seg};
use serde::{Deserialize, Serialize};
pub use smm::{Smm, Smram};
pub use stats::Stats;
pub(crate) use system::TSC_STEP;
pub use system::{Activity, Msrs, System};
pub use vmx::Vmx;

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
    /// Instruction pointer; valid in the outer loop only (see `Cpu::current_rip`).
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
    /// Always 8192: a part of a displacement that does not fit `Op::disp`.
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
