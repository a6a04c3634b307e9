//! Floating point as the processor meets it: which instructions may run, when the host computes them, and what
//! becomes of exceptions. The arithmetic is in [`crate::fpu`].

use crate::Cpu;
use crate::fpu::host;
use crate::fpu::soft::Env;
use crate::state::control::*;
use crate::state::fpu::flag::{D, I, Z};
use crate::state::fpu::{ES, fallback, flag};
use crate::trap::{Trap, vector};
use iced_x86::{Instruction, OpKind};

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

    /// Takes up what the host has noted of the guest's exceptions, see [`host`], and clears the host's notes.
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

impl Cpu {
    /// Notes in MXCSR what an instruction found; #XM or #UD, if something found is unmasked.
    /// Conditions found before the computation keep those found after it from being noted. SDM vol.
    /// 1, "Priority Between Simultaneous Exceptions and Interrupts" of SSE.
    #[inline(always)]
    pub(crate) fn commit_simd(&mut self, e: &Env) -> Result<(), Trap> {
        if e.trapped() {
            return Err(self.simd_trap(e));
        }
        self.note_simd(e.flags);
        Ok(())
    }

    #[cold]
    fn simd_trap(&mut self, e: &Env) -> Trap {
        let before = I | D | Z;
        let seen = if e.flags & e.unmasked & before != 0 { e.flags & before } else { e.flags };
        self.note_simd(seen);
        self.simd_exception()
    }

    #[inline(always)]
    fn note_simd(&mut self, flags: u32) {
        if flags & !self.state.fpu.mxcsr != 0 {
            self.state.fpu.mxcsr |= flags;
            self.update_fallback();
        }
    }
}

impl Cpu {
    /// What every waiting x87 instruction does first: #NM, pending exceptions.
    pub(crate) fn x87_check(&mut self) -> Result<(), Trap> {
        if self.state.sys.cr0 & (CR0_EM | CR0_TS) != 0 {
            return Err(Trap::NM);
        }
        self.x87_pending()
    }

    /// As [`Cpu::x87_check`], for an instruction that does not wait.
    pub(crate) fn x87_check_nowait(&mut self) -> Result<(), Trap> {
        if self.state.sys.cr0 & (CR0_EM | CR0_TS) != 0 { Err(Trap::NM) } else { Ok(()) }
    }

    /// `WAIT`: #NM if TS and MP are set.
    pub(crate) fn x87_wait(&mut self) -> Result<(), Trap> {
        let both = CR0_MP | CR0_TS;
        if self.state.sys.cr0 & both == both {
            return Err(Trap::NM);
        }
        self.x87_pending()
    }

    /// #MF for an unmasked exception of an earlier instruction.
    /// DEPARTURE: with CR0.NE clear nothing happens, as if IGNNE# were asserted; FERR# goes nowhere.
    pub(crate) fn x87_pending(&self) -> Result<(), Trap> {
        if self.state.fpu.sw.get() & ES != 0 && self.state.sys.cr0 & CR0_NE != 0 {
            return Err(Trap::fault(vector::MF));
        }
        Ok(())
    }

    /// Records instruction and data pointer.
    /// DEPARTURE: the last opcode (FOP) is not recorded, as on processors where only unmasked
    /// exceptions do.
    pub(crate) fn x87_record(&mut self, i: &Instruction) {
        self.state.fpu.fip = self.current_rip();
        if (0..i.op_count()).any(|n| i.op_kind(n) == OpKind::Memory) {
            self.state.fpu.fdp = self.ea(i);
        }
    }
}
