//! RFLAGS: the six status flags are lazy, the rest is kept as it is.
//!
//! An instruction that sets status flags stores its result, one source and a class; a reader
//! derives the flags from them. SDM vol. 1, "EFLAGS Register".

use crate::word::Word;
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use std::fmt;

/// Carry flag.
pub const CF: u64 = 1 << 0;
/// Bit 1 of RFLAGS, always 1.
pub const FIXED: u64 = 1 << 1;
/// Parity flag.
pub const PF: u64 = 1 << 2;
/// Auxiliary carry flag.
pub const AF: u64 = 1 << 4;
/// Zero flag.
pub const ZF: u64 = 1 << 6;
/// Sign flag.
pub const SF: u64 = 1 << 7;
/// Trap flag.
pub const TF: u64 = 1 << 8;
/// Interrupt-enable flag.
pub const IF: u64 = 1 << 9;
/// Direction flag.
pub const DF: u64 = 1 << 10;
/// Overflow flag.
pub const OF: u64 = 1 << 11;
/// I/O privilege level, two bits.
pub const IOPL: u64 = 3 << 12;
/// Nested task.
pub const NT: u64 = 1 << 14;
/// Resume flag.
pub const RF: u64 = 1 << 16;
/// Virtual-8086 mode.
pub const VM: u64 = 1 << 17;
/// Alignment check / access control.
pub const AC: u64 = 1 << 18;
/// Virtual interrupt flag.
pub const VIF: u64 = 1 << 19;
/// Virtual interrupt pending.
pub const VIP: u64 = 1 << 20;
/// CPUID may be toggled.
pub const ID: u64 = 1 << 21;
/// The six lazy flags.
pub const STATUS: u64 = CF | PF | AF | ZF | SF | OF;

/// How `res` and `src` of [`Flags`] were made. The low two bits of `op` hold [`Word::SIZE`]. A class has a
/// number and says how the carry follows, so that reading it takes no branch.
pub mod class {
    /// Carry: res < src.
    const BELOW: u32 = 1 << 6;
    /// Carry: res > src.
    const ABOVE: u32 = 1 << 7;
    /// Carry: bit 0 of src.
    const BIT: u32 = 1 << 8;
    /// Carry: not what the others say.
    const NOT: u32 = 1 << 9;
    /// Of `op`: whether bit 0 of src is the carry.
    pub(super) const CARRY_IN_SRC: u32 = BIT << 2;

    /// res = a + b, src = b.
    pub const ADD: u32 = BELOW;
    /// res = a + b + 1, src = b.
    pub const ADC1: u32 = 1 | ABOVE | NOT;
    /// res = a - b, src = a.
    pub const SUB: u32 = 2 | ABOVE;
    /// res = a - b - 1, src = a.
    pub const SBB1: u32 = 3 | BELOW | NOT;
    /// res of AND, OR, XOR, TEST: CF = OF = AF = 0.
    pub const LOGIC: u32 = 4;
    /// res of INC; bit 0 of src = the carry before.
    pub const INC: u32 = 5 | BIT;
    /// res of DEC; bit 0 of src = the carry before.
    pub const DEC: u32 = 6 | BIT;
    /// res of SHL; src = the last bit shifted out; AF = 0 (undefined; Intel's silicon).
    pub const SHL: u32 = 7 | BIT;
    /// res of SHR or SAR; src = the value shifted by count - 1 (its bit 0 is CF); AF = 0 as for SHL.
    pub const SHR: u32 = 8 | BIT;
    /// src holds the six flags at their places in RFLAGS.
    pub const BITS: u32 = 9 | BIT;
    /// ZF, SF and PF follow from res; src holds CF, AF and OF at their places in RFLAGS.
    pub const KEPT: u32 = 10 | BIT;

    /// The carry of these.
    #[inline(always)]
    pub(super) fn carry(op: u32, res: u64, src: u64) -> bool {
        let class = op >> 2;
        let below = class >> BELOW.trailing_zeros() & (res < src) as u32;
        let above = class >> ABOVE.trailing_zeros() & (res > src) as u32;
        let bit = class >> BIT.trailing_zeros() & src as u32;
        ((below | above | bit) ^ class >> NOT.trailing_zeros()) & 1 != 0
    }
}

/// How the status flags follow from an instruction: what is recorded of the instruction.
#[derive(Clone, Copy)]
pub struct Lazy {
    res: u64,
    src: u64,
    op: u32,
}

impl Lazy {
    /// The record of no instruction.
    pub const NONE: Lazy = Lazy { res: 0, src: 0, op: class::BITS << 2 };

    /// What an instruction of this class leaves.
    #[inline(always)]
    pub fn of<W: Word>(class: u32, res: W, src: W) -> Lazy {
        Lazy { res: res.u(), src: src.u(), op: class * 4 + W::SIZE }
    }
}

/// RFLAGS: the system flags as they are, the status flags as the last instruction left them.
#[derive(Clone, Copy)]
pub struct Flags {
    /// Result of the last flag-setting instruction.
    res: u64,
    /// A source of the last flag-setting instruction.
    src: u64,
    /// Class and width of the last flag-setting instruction.
    op: u32,
    /// All flags but the six status flags and bit 1.
    pub(crate) system: u64,
}

impl Default for Flags {
    fn default() -> Flags {
        Flags { res: 0, src: 0, op: class::BITS << 2, system: 0 }
    }
}

/// Two records of the same flags are equal: how the flags came about is no state.
impl PartialEq for Flags {
    fn eq(&self, other: &Flags) -> bool {
        self.get() == other.get()
    }
}

impl fmt::Debug for Flags {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        write!(f, "{:#x}", self.get())
    }
}

/// Saved as RFLAGS.
impl Serialize for Flags {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        self.get().serialize(serializer)
    }
}

impl<'de> Deserialize<'de> for Flags {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Flags, D::Error> {
        let mut flags = Flags::default();
        flags.set(u64::deserialize(deserializer)?);
        Ok(flags)
    }
}

impl Flags {
    /// Records how the status flags follow from the last arithmetic instruction.
    #[inline(always)]
    pub fn set_lazy(&mut self, flags: Lazy) {
        self.res = flags.res;
        // The others have no use for a source.
        if flags.op >> 2 != class::LOGIC {
            self.src = flags.src;
        }
        self.op = flags.op;
    }

    /// As [`Flags::set_lazy`], of the parts.
    #[inline(always)]
    pub fn set_cc<W: Word>(&mut self, class: u32, res: W, src: W) {
        self.set_lazy(Lazy::of(class, res, src));
    }

    /// As [`Flags::set_cc`] for [`class::INC`] and [`class::DEC`]: CF stays. That it mostly is in the source
    /// already is worth a branch.
    #[inline(always)]
    pub fn set_cc_but_cf<W: Word>(&mut self, class: u32, res: W) {
        if self.op & class::CARRY_IN_SRC == 0 {
            self.src = self.cf() as u64;
        }
        self.res = res.u();
        self.op = class * 4 + W::SIZE;
    }

    /// Sets the six status flags from their places in `bits`; other bits are ignored.
    #[inline(always)]
    pub fn set_status(&mut self, bits: u64) {
        self.src = bits;
        self.op = class::BITS * 4;
    }

    /// After a multiplication: CF and OF from their places in `bits`, SF and PF by the low half, the others clear.
    #[inline(always)]
    pub fn set_product<W: Word>(&mut self, low: W, bits: u64) {
        // 3 has the sign and the parity of 0, and is not 0.
        self.res = if low.u() == 0 { 3 } else { low.u() };
        self.src = bits;
        self.op = class::KEPT * 4 + W::SIZE;
    }

    /// Sets CF and OF from their places in `bits`; the other status flags stay as they are.
    #[inline(always)]
    pub fn set_cf_of(&mut self, bits: u64) {
        self.replace(CF | OF, bits);
    }

    /// Sets CF; the other status flags stay as they are.
    #[inline(always)]
    pub fn set_cf(&mut self, carry: bool) {
        self.replace(CF, carry as u64);
    }

    /// Sets the flags of `mask`, some of CF, AF and OF, from `bits`; the others stay.
    #[inline(always)]
    fn replace(&mut self, mask: u64, bits: u64) {
        let old = match self.op >> 2 {
            class::BITS | class::KEPT => self.src,
            class::LOGIC => 0,
            _ => self.carries(),
        };
        self.src = old & !mask | bits;
        if self.op >> 2 != class::BITS {
            self.op = class::KEPT * 4 + (self.op & 3);
        }
    }

    /// CF, AF and OF, for [`class::KEPT`]. Behind an addition or a subtraction, which is what most bit tests
    /// follow, without a call.
    #[inline(always)]
    fn carries(&self) -> u64 {
        let (res, src) = (self.res, self.src);
        let (other, same) = match self.op >> 2 {
            class::SUB => (src.wrapping_sub(res), 0),
            class::ADD => (res.wrapping_sub(src), u64::MAX),
            _ => return self.other_carries(),
        };
        let top = (8u32 << (self.op & 3)) - 1;
        let of = ((src ^ other ^ same) & (src ^ res)) >> top & 1;
        self.cf() as u64 | (other ^ src ^ res) & AF | of << OF.trailing_zeros()
    }

    /// As [`Self::carries`], of any class.
    #[cold]
    #[inline(never)]
    fn other_carries(&self) -> u64 {
        let bit = |b: bool, f: u64| if b { f } else { 0 };
        self.cf() as u64 | bit(self.af(), AF) | bit(self.of(), OF)
    }

    /// The carry flag.
    #[inline(always)]
    pub fn cf(&self) -> bool {
        class::carry(self.op, self.res, self.src)
    }

    /// The zero flag.
    #[inline(always)]
    pub fn zf(&self) -> bool {
        if self.op >> 2 == class::BITS { self.src & ZF != 0 } else { self.res == 0 }
    }

    /// The sign flag.
    #[inline(always)]
    pub fn sf(&self) -> bool {
        if self.op >> 2 == class::BITS {
            return self.src & SF != 0;
        }
        (self.res >> ((8u32 << (self.op & 3)) - 1)) & 1 != 0
    }

    /// The parity flag.
    #[inline(always)]
    pub fn pf(&self) -> bool {
        if self.op >> 2 == class::BITS {
            return self.src & PF != 0;
        }
        (self.res as u8).count_ones() & 1 == 0
    }

    /// The overflow flag.
    pub fn of(&self) -> bool {
        let (res, src) = (self.res, self.src);
        let top = 1u64 << ((8u32 << (self.op & 3)) - 1);
        match self.op >> 2 {
            class::ADD => (!(res.wrapping_sub(src) ^ src) & (res ^ src)) & top != 0,
            class::ADC1 => {
                (!(res.wrapping_sub(src).wrapping_sub(1) ^ src) & (res ^ src)) & top != 0
            }
            class::SUB => ((src ^ src.wrapping_sub(res)) & (src ^ res)) & top != 0,
            class::SBB1 => ((src ^ src.wrapping_sub(res).wrapping_sub(1)) & (src ^ res)) & top != 0,
            class::LOGIC => false,
            class::INC => res == top,
            class::DEC => res == top - 1,
            class::SHL => (res & top != 0) != (src & 1 != 0),
            class::SHR => (res ^ src) & top != 0,
            _ => src & OF != 0,
        }
    }

    /// The auxiliary carry flag.
    pub fn af(&self) -> bool {
        let (res, src) = (self.res, self.src);
        match self.op >> 2 {
            class::ADD => (res.wrapping_sub(src) ^ src ^ res) & 0x10 != 0,
            class::ADC1 => (res.wrapping_sub(src).wrapping_sub(1) ^ src ^ res) & 0x10 != 0,
            class::SUB => (src.wrapping_sub(res) ^ src ^ res) & 0x10 != 0,
            class::SBB1 => (src.wrapping_sub(res).wrapping_sub(1) ^ src ^ res) & 0x10 != 0,
            class::INC => res & 0xf == 0,
            class::DEC => res & 0xf == 0xf,
            class::BITS | class::KEPT => src & AF != 0,
            _ => false,
        }
    }

    /// All six status flags at their places in RFLAGS.
    pub fn status(&self) -> u64 {
        if self.op >> 2 == class::BITS {
            return self.src & STATUS;
        }
        let bit = |b: bool, f: u64| if b { f } else { 0 };
        bit(self.cf(), CF)
            | bit(self.pf(), PF)
            | bit(self.af(), AF)
            | bit(self.zf(), ZF)
            | bit(self.sf(), SF)
            | bit(self.of(), OF)
    }

    /// RFLAGS whole.
    pub fn get(&self) -> u64 {
        self.system | FIXED | self.status()
    }

    /// Sets RFLAGS whole; bit 1 stays 1. Reserved bits are the caller's to clear.
    pub fn set(&mut self, v: u64) {
        self.set_status(v);
        self.system = v & !(STATUS | FIXED);
    }

    /// Condition `cc` (the low four bits of a Jcc opcode). SDM vol. 1, "EFLAGS Condition Codes".
    #[inline(never)]
    pub fn cond(&self, cc: u8) -> bool {
        let v = match cc >> 1 {
            0 => self.of(),
            1 => self.cf(),
            2 => self.zf(),
            3 => self.cf() || self.zf(),
            4 => self.sf(),
            5 => self.pf(),
            6 => self.sf() != self.of(),
            _ => self.zf() || self.sf() != self.of(),
        };
        v ^ (cc & 1 != 0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Sets CF, or CF and OF, after a result of `class`: the other flags stay.
    fn check<W: Word>(flags: &mut Flags, class: u32, res: u64, src: u64) {
        let before = |flags: &mut Flags| {
            flags.set_cc(class, W::of(res), W::of(src));
            flags.status()
        };
        for bits in [0, CF, OF, CF | OF] {
            let old = before(flags);
            flags.set_cf_of(bits);
            assert_eq!(flags.status(), old & !(CF | OF) | bits, "{class:#x} {res:#x} {src:#x}");
            let old = flags.status();
            flags.set_cf(bits & CF == 0);
            assert_eq!(
                flags.status(),
                old & !CF | !bits & CF,
                "{class:#x} {res:#x} {src:#x}, twice"
            );
            let old = before(flags);
            flags.set_cf(bits & CF != 0);
            assert_eq!(flags.status(), old & !CF | bits & CF, "{class:#x} {res:#x} {src:#x}");
        }
    }

    #[test]
    fn carry_and_overflow_change_alone() {
        use class::*;
        let flags = &mut Flags::default();
        let edges = [0, 1, 0xf, 0x10, 0x7f, 0x80, 0xff, 0x7fff, 0x8000, 1 << 31, 1 << 63, u64::MAX];
        for class in [ADD, ADC1, SUB, SBB1, LOGIC, INC, DEC, SHL, SHR, KEPT] {
            for (res, src) in edges.iter().flat_map(|r| edges.iter().map(move |s| (*r, *s))) {
                // What a class keeps as bits is 0 or 1, or flags.
                let src = match class {
                    INC | DEC => src & 1,
                    LOGIC => 0,
                    KEPT => src & (CF | AF | OF),
                    _ => src,
                };
                check::<u8>(flags, class, res, src);
                check::<u16>(flags, class, res, src);
                check::<u32>(flags, class, res, src);
                check::<u64>(flags, class, res, src);
            }
        }
        for bits in [0, STATUS, ZF | AF, PF | SF | OF] {
            flags.set_status(bits);
            flags.set_cf_of(CF);
            assert_eq!(flags.status(), bits & !OF | CF);
        }
    }
}
