//! Debug registers: breakpoints on instructions, data and ports. SDM vol. 3, "Debug Registers" and
//! "Debug Exceptions".
//!
//! While a breakpoint is enabled each instruction runs alone; while one on data is, every access takes
//! the slow path, which notes what it meets in `sys.watch_hits`. Nothing of this costs anything else.

use crate::Cpu;
use crate::msr::DEBUGCTL;
use crate::state::control::CR4_DE;
use crate::state::{Activity, flags, seg};
use crate::trap::{Exception, vector};

/// DR6.BS: single step.
pub(crate) const DR6_BS: u64 = 1 << 14;
/// DR6.BT: task switch.
pub(crate) const DR6_BT: u64 = 1 << 15;
/// DR6.BD: access to a debug register.
pub(crate) const DR6_BD: u64 = 1 << 13;
/// DR7.GD: general detect.
pub(crate) const DR7_GD: u64 = 1 << 13;

/// The R/W field of a breakpoint: what it is on.
mod on {
    pub(super) const EXECUTE: u64 = 0;
    pub(super) const WRITE: u64 = 1;
    pub(super) const PORT: u64 = 2;
    pub(super) const ACCESS: u64 = 3;
}

impl Cpu {
    /// R/W field of breakpoint `n`.
    fn breakpoint_kind(&self, n: usize) -> u64 {
        self.state.sys.dr7 >> (16 + 4 * n) & 3
    }

    /// Whether breakpoint `n` is enabled, locally or globally.
    fn breakpoint_enabled(&self, n: usize) -> bool {
        self.state.sys.dr7 >> (2 * n) & 3 != 0
    }

    /// Whether a breakpoint on data or ports is enabled.
    pub(crate) fn watching(&self) -> bool {
        self.state.sys.dr7 & 0xff != 0
            && (0..4).any(|n| self.breakpoint_enabled(n) && self.breakpoint_kind(n) != on::EXECUTE)
    }

    /// Whether anybody watches accesses to data: the guest, or the host.
    #[inline]
    pub(crate) fn is_watched(&self) -> bool {
        self.state.sys.dr7 & 0xff != 0 || self.halts.watching
    }

    /// Whether breakpoint `n` and `size` bytes at `at` overlap.
    fn overlaps(&self, n: usize, at: u64, size: usize) -> bool {
        let len = match self.state.sys.dr7 >> (18 + 4 * n) & 3 {
            0 => 1,
            1 => 2,
            2 => 8,
            _ => 4,
        };
        let start = self.state.sys.dr[n] & !(len - 1);
        let last = at.wrapping_add(size as u64 - 1);
        start <= last && at <= start + (len - 1)
    }

    fn note_hits(&mut self, met: impl Fn(&Cpu, usize) -> bool) {
        let bits = (0..4).filter(|&n| met(self, n)).fold(0, |b, n| b | 1 << n);
        if (0..4).any(|n| bits >> n & 1 != 0 && self.breakpoint_enabled(n)) {
            self.state.sys.watch_hits |= bits;
        }
    }

    /// Notes an access to data at a linear address.
    #[cold]
    pub(crate) fn watch(&mut self, la: u64, size: usize, write: bool) {
        if self.halts.watching {
            self.note_access(la, size, write);
        }
        if self.state.sys.dr7 & 0xff == 0 {
            return;
        }
        self.note_hits(|cpu, n| {
            let kind = cpu.breakpoint_kind(n);
            let fits = kind == on::ACCESS || (write && kind == on::WRITE);
            fits && cpu.overlaps(n, la, size)
        });
    }

    /// Notes an access to ports.
    pub(crate) fn watch_port(&mut self, port: u16, size: usize) {
        if self.state.sys.cr4 & CR4_DE == 0 || self.state.sys.dr7 & 0xff == 0 {
            return;
        }
        self.note_hits(|cpu, n| {
            cpu.breakpoint_kind(n) == on::PORT && cpu.overlaps(n, port as u64, size)
        });
    }

    /// Instruction breakpoints at the next instruction. SDM vol. 3, "Instruction-Breakpoint Exception
    /// Condition".
    pub(crate) fn code_breakpoints(&mut self) {
        if self.state.sys.dr7 & 0xff == 0
            || self.state.flags.system & flags::RF != 0
            || self.state.sys.activity != Activity::Active
        {
            return;
        }
        let la = if self.is_64() {
            self.state.rip
        } else {
            self.state.rip.wrapping_add(self.state.bases.seg[seg::CS]) as u32 as u64
        };
        let met = |n: usize| self.breakpoint_kind(n) == on::EXECUTE && self.state.sys.dr[n] == la;
        let bits = (0..4).filter(|&n| met(n)).fold(0, |b, n| b | 1 << n);
        if (0..4).any(|n| bits >> n & 1 != 0 && self.breakpoint_enabled(n)) {
            self.raise_debug(bits);
        }
    }

    /// Raises #DB with these bits for DR6.
    pub(crate) fn raise_debug(&mut self, bits: u64) {
        self.raise(Exception { vector: vector::DB, error: None, address: bits });
    }

    /// Records the bits of a #DB that is delivered.
    pub(crate) fn take_debug_bits(&mut self, bits: u64) {
        self.state.sys.dr6 = (self.state.sys.dr6 & !0xf) | bits;
        self.state.sys.dr7 &= !DR7_GD;
        // Records of branches and single-stepping on branches end.
        self.state.sys.msr.debugctl &= !DEBUGCTL;
    }
}
