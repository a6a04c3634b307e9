//! The x87's register stack, exceptions and NaN rules. SDM vol. 1, "Programming with the x87 FPU".

use super::simd::{Op, operate};
use super::soft::{Env, Format, Kind, Num, Rounding, X80};
use crate::state::Fpu;
use crate::state::fpu::flag::{ALL, D, I, O, P, U, Z};
use crate::state::fpu::{BUSY, C1, EMPTY, ES, F80, Register, SF};

/// The default NaN in a register.
pub const INDEFINITE: F80 = F80 { m: 3 << 62, se: 0xffff };

impl Fpu {
    /// The initial state of the x87: FNINIT, and XRSTOR without the component.
    pub fn init_x87(&mut self) {
        self.cw = 0x37f;
        self.sw.set(0);
        self.set_tags(0);
        (self.fop, self.fip, self.fdp) = (0, 0, 0);
    }

    /// TOP.
    pub fn top(&self) -> usize {
        self.sw.top as usize / 16
    }

    /// Sets TOP.
    pub fn set_top(&mut self, top: usize) {
        self.sw.top = (top as u32 & 7) * 16;
    }

    fn index(&self, n: usize) -> usize {
        (self.top() + n) & 7
    }

    /// ST(n).
    pub fn st(&self, n: usize) -> F80 {
        self.r[self.index(n)].value()
    }

    /// ST(n) as a number.
    pub fn num(&self, n: usize) -> Num {
        Num::of_f80(self.st(n))
    }

    /// Whether ST(n) is empty.
    pub fn empty(&self, n: usize) -> bool {
        self.r[self.index(n)].is_empty()
    }

    /// Writes ST(n).
    pub fn set_st(&mut self, n: usize, v: F80) {
        let at = self.index(n);
        self.r[at] = Register::full(v);
    }

    /// Marks ST(n) empty.
    pub fn free(&mut self, n: usize) {
        let at = self.index(n);
        self.r[at].se |= EMPTY;
    }

    /// Empties the top register and moves TOP up.
    pub fn pop(&mut self) {
        self.free(0);
        self.set_top(self.top() + 1);
    }

    /// Pushes; the slot is known to be free, or to be overwritten.
    pub fn push(&mut self, v: F80) {
        self.set_top(self.top().wrapping_sub(1));
        self.set_st(0, v);
    }

    /// How the control word rounds, without precision control.
    pub fn env(&self) -> Env {
        Env {
            rm: Rounding::of(self.cw as u32 >> 10),
            ftz: false,
            daz: false,
            unmasked: !(self.cw as u32) & ALL,
            flags: 0,
            up: false,
            fast: false,
        }
    }

    /// The format that arithmetic rounds to: the control word's precision, the whole exponent range.
    pub fn format(&self) -> Format {
        let p = match self.cw >> 8 & 3 {
            0 => 24,
            2 => 53,
            _ => 64,
        };
        Format { p, ..X80 }
    }

    /// Sets or clears a bit of the status word.
    pub fn set_sw(&mut self, bit: u16, on: bool) {
        self.sw.replace(bit, if on { bit } else { 0 });
    }

    /// Error summary and busy follow from flags and masks.
    pub fn summarize(&mut self) {
        let pending = self.sw.get() & !self.cw & ALL as u16 != 0;
        self.set_sw(ES | BUSY, pending);
    }

    /// Notes what an operation found. False if an unmasked condition keeps its result from being
    /// written; C1 says whether it was rounded up.
    pub fn report(&mut self, e: &Env) -> bool {
        let early = e.flags & e.unmasked & (I | D | Z) != 0;
        let seen = if early { e.flags & (I | D | Z) } else { e.flags };
        self.sw.replace(0, seen as u16);
        self.set_sw(C1, !early && e.flags & (P | O | U) != 0 && e.up);
        self.summarize();
        !early
    }

    /// Notes a stack fault. Whether its masked response is wanted.
    pub fn stack_fault(&mut self, overflow: bool) -> bool {
        self.sw.replace(0, I as u16 | SF);
        self.set_sw(C1, overflow);
        self.summarize();
        self.cw & I as u16 != 0
    }

    /// Pushes a value that an operation made, unless the stack is full.
    pub fn push_checked(&mut self, v: F80) {
        if self.empty(7) {
            self.push(v);
        } else if self.stack_fault(true) {
            self.push(INDEFINITE);
        }
    }
}

/// The result for operands of which one is a NaN or unsupported; `None` if none is. SDM vol. 1, "Rules
/// for Handling NaNs".
pub fn nan_result(e: &mut Env, a: &Num, b: &Num) -> Option<Num> {
    if a.kind == Kind::Unsupported || b.kind == Kind::Unsupported {
        e.raise(I);
        return Some(Num::DEFAULT_NAN);
    }
    if !a.is_nan() && !b.is_nan() {
        return None;
    }
    if a.kind == Kind::Signaling || b.kind == Kind::Signaling {
        e.raise(I);
    }
    let (x, y) = (a.quieted(), b.quieted());
    Some(match (a.is_nan(), b.is_nan()) {
        (true, false) => x,
        (false, true) => y,
        _ if a.kind != b.kind => {
            if a.kind == Kind::Quiet {
                x
            } else {
                y
            }
        }
        _ if a.sig != b.sig => {
            if a.sig > b.sig {
                x
            } else {
                y
            }
        }
        _ if a.sign => y,
        _ => x,
    })
}

/// `a op b` by the rules of the x87.
pub fn arith(e: &mut Env, f: &Format, op: Op, a: Num, b: Num) -> Num {
    nan_result(e, &a, &b).unwrap_or_else(|| operate(e, f, op, a, b))
}
