//! The x87's status word, in the parts that instructions change most, so that each is one store.

use super::flag::P;

/// Stack fault.
pub const SF: u16 = 1 << 6;
/// Error summary.
pub const ES: u16 = 1 << 7;
/// Condition code C0.
pub const C0: u16 = 1 << 8;
/// Condition code C1.
pub const C1: u16 = 1 << 9;
/// Condition code C2.
pub const C2: u16 = 1 << 10;
/// Condition code C3.
pub const C3: u16 = 1 << 14;
/// Busy: the same as ES.
pub const BUSY: u16 = 1 << 15;

/// Where TOP stands.
const TOP: u32 = 11;
/// What stands in a part of its own.
const APART: u16 = 7 << TOP | C1 | P as u16;
/// What is cut off by rounding, in units of 2^-64 of the last bit: a half.
pub const HALF: u64 = 1 << 63;

/// The status word; and, because an instruction asks for both at once, [`super::fallback`].
#[derive(Clone, Copy, Debug)]
pub struct StatusWord {
    /// The bits that have no part of their own; above them what is fallback.
    pub(crate) bits: u32,
    /// TOP times 16: the offset of ST(0) among the registers, in bytes.
    pub(crate) top: u32,
    /// C1: whether this is above [`HALF`], as what was cut off by the last rounding that went up.
    pub(crate) cut: u64,
    /// Precision: whether this is not 0, as some of what was cut off by all roundings.
    pub(crate) inexact: u64,
}

impl StatusWord {
    /// All as in the value 0, and all that there is fallback.
    pub(crate) const ZERO: StatusWord = StatusWord { bits: 0xff << 16, top: 0, cut: 0, inexact: 0 };

    /// The sixteen bits of the register.
    #[inline(always)]
    pub fn get(&self) -> u16 {
        let c1 = (self.cut > HALF) as u16 * C1;
        let p = (self.inexact != 0) as u16 * P as u16;
        self.bits as u16 | (self.top << (TOP - 4)) as u16 | c1 | p
    }

    /// Sets the sixteen bits of the register.
    pub fn set(&mut self, v: u16) {
        self.bits = self.bits & !0xffff | (v & !APART) as u32;
        self.top = (v as u32 >> (TOP - 4)) & 0x70;
        self.cut = if v & C1 != 0 { u64::MAX } else { 0 };
        self.inexact = (v & P as u16) as u64;
    }

    /// Sets those bits of `mask` that are in `bits`, and clears the others.
    pub fn replace(&mut self, mask: u16, bits: u16) {
        self.set(self.get() & !mask | bits);
    }

    /// State bits that send instructions to the slow path.
    #[inline(always)]
    pub(crate) fn fallback(&self) -> u8 {
        (self.bits >> 16) as u8
    }

    /// Sets what is fallback.
    pub(crate) fn set_fallback(&mut self, which: u8) {
        self.bits = self.bits & 0xffff | (which as u32) << 16;
    }
}

impl PartialEq for StatusWord {
    fn eq(&self, other: &StatusWord) -> bool {
        self.get() == other.get()
    }
}

impl Eq for StatusWord {}

impl From<u16> for StatusWord {
    fn from(v: u16) -> StatusWord {
        let mut sw = StatusWord::ZERO;
        sw.set(v);
        sw
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_value() {
        for v in 0..=u16::MAX {
            let mut sw = StatusWord::from(!v);
            sw.set_fallback(v as u8);
            sw.set(v);
            assert_eq!((sw.get(), sw.fallback()), (v, v as u8));
        }
    }
}
