//! x87, MMX, SSE: arithmetic on the state in [`crate::state::fpu`].
//!
//! Reading order: [`soft`] (exact arithmetic on any binary format), [`simd`] (SSE's rules on top),
//! [`host`] and `integers` (what the host may do instead),
//! [`x87`] (the register stack), [`extended`] (its fast arithmetic), [`transcendental`].
//! The instructions are in [`crate::isa`].

pub mod extended;
pub mod host;
#[cfg(target_arch = "x86_64")]
pub mod integers;
pub mod simd;
pub mod soft;
pub mod transcendental;
pub mod x87;

use crate::state::Cpu;
use crate::state::control::{CR0_EM, CR0_TS, CR4_OSFXSR, CR4_OSXMMEXCPT};
use crate::state::fpu::{fallback, flag};
use crate::trap::{Trap, vector};

impl Cpu {
    /// What is fallback now; of [`fallback`].
    fn computed_fallback(&self) -> u8 {
        let (sys, f) = (&self.state.sys, &self.state.fpu);
        let off = sys.cr0 & (CR0_EM | CR0_TS) != 0;
        let bit = |on: bool, bit| if on { bit } else { 0 };
        bit(off || sys.cr4 & CR4_OSFXSR == 0, fallback::SSE)
            | bit(!host::can_compute(f.mxcsr), fallback::MXCSR)
            | bit(off, fallback::X87)
            | bit(f.cw & (3 << 10 | flag::P as u16) != flag::P as u16, fallback::ROUNDING)
            | bit(f.cw >> 8 & 3 != 3, fallback::PRECISION)
    }

    /// Takes up what the host has noted of the guest's exceptions, see [`host`], and lets the host forget it.
    #[inline(always)]
    pub(crate) fn collect_host_exceptions(&mut self) {
        let noted = host::mxcsr() & 63;
        if noted != 0 {
            // What is noted under another MXCSR is the emulator's own.
            if self.fast_path_allowed(fallback::MXCSR) {
                self.state.fpu.mxcsr |= noted;
            }
            host::set_mxcsr(host::MXCSR);
        }
    }

    /// Lets the host forget what the emulator itself has made it note.
    #[inline(always)]
    pub(crate) fn clear_host_exceptions(&self) {
        if host::mxcsr() & 63 != 0 {
            host::set_mxcsr(host::MXCSR);
        }
    }

    /// Brings [`fallback`] up to date after changes to CR0, CR4, MXCSR or the control word.
    pub(crate) fn update_fallback(&mut self) {
        self.state.fpu.sw.set_fallback(self.computed_fallback());
    }

    /// Whether nothing among `which` is fallback.
    #[inline(always)]
    pub(crate) fn fast_path_allowed(&self, which: u8) -> bool {
        debug_assert_eq!(self.state.fpu.sw.fallback(), self.computed_fallback());
        self.state.fpu.sw.fallback() & which == 0
    }

    /// #UD or #NM, if SSE instructions may not run. SDM vol. 2, "Exceptions Type" of each.
    pub(crate) fn check_sse(&self) -> Result<(), Trap> {
        if self.state.sys.cr0 & CR0_EM != 0 || self.state.sys.cr4 & CR4_OSFXSR == 0 {
            return Err(Trap::UD);
        }
        if self.state.sys.cr0 & CR0_TS != 0 { Err(Trap::NM) } else { Ok(()) }
    }

    /// The exception of an SSE instruction that found an unmasked condition.
    pub(crate) fn simd_exception(&self) -> Trap {
        if self.state.sys.cr4 & CR4_OSXMMEXCPT != 0 { Trap::fault(vector::XM) } else { Trap::UD }
    }
}
