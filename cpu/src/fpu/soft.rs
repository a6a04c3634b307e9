//! Exact binary floating point of any format up to 64 bits of significand.
//!
//! An operand is unpacked into a [`Num`]; an operation makes an exact (or sticky) [`Wide`]; rounding
//! makes a [`Num`] of the result's format again and notes the exceptions in an [`Env`]. One path
//! serves binary16, binary32, binary64 and the x87's extended format with its precision control.
//! NaN operands and invalid operations are the callers', whose rules differ.

use crate::state::fpu::{F80, flag};

/// A binary format by its precision (with the integer bit) and exponent range.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Format {
    /// Bits of significand.
    pub p: u32,
    /// Exponent of the smallest normal number.
    pub emin: i32,
    /// Exponent of the largest number.
    pub emax: i32,
}

impl Format {
    const fn new(p: u32, emax: i32) -> Format {
        Format { p, emin: 1 - emax, emax }
    }

    /// Bits of the exponent field.
    const fn exponent_bits(&self) -> u32 {
        32 - (self.emax as u32).leading_zeros() + 1
    }
}

/// binary16.
pub const F16: Format = Format::new(11, 15);
/// binary32.
pub const F32: Format = Format::new(24, 127);
/// binary64.
pub const F64: Format = Format::new(53, 1023);
/// The x87's extended format.
pub const X80: Format = Format::new(64, 16383);

/// Rounding modes, numbered as in MXCSR and the x87 control word.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum Rounding {
    /// To nearest, ties to even.
    Nearest = 0,
    /// Towards minus infinity.
    Down = 1,
    /// Towards plus infinity.
    Up = 2,
    /// Towards zero.
    Zero = 3,
}

impl Rounding {
    /// From the low two bits of a control field.
    pub fn of(bits: u32) -> Rounding {
        match bits & 3 {
            0 => Rounding::Nearest,
            1 => Rounding::Down,
            2 => Rounding::Up,
            _ => Rounding::Zero,
        }
    }
}

/// How operations round, and what they found.
#[derive(Clone, Copy, Debug)]
pub struct Env {
    /// Rounding mode.
    pub rm: Rounding,
    /// Flush tiny results to zero (when underflow is masked).
    pub ftz: bool,
    /// Take denormal operands for zero.
    pub daz: bool,
    /// Exceptions that are not masked, as [`flag`]s.
    pub unmasked: u32,
    /// Exceptions found.
    pub flags: u32,
    /// The last result was rounded away from zero.
    pub up: bool,
    /// Host arithmetic may be used: round to nearest, and nobody can see that an inexact result is recorded.
    pub fast: bool,
}

impl Env {
    /// Whether an exception was found that is not masked.
    pub fn trapped(&self) -> bool {
        self.flags & self.unmasked != 0
    }

    /// Notes exceptions.
    pub fn raise(&mut self, flags: u32) {
        self.flags |= flags;
    }
}

/// What a [`Num`] is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// A zero of either sign.
    Zero,
    /// Nonzero and finite.
    Finite,
    /// An infinity of either sign.
    Infinity,
    /// Quiet NaN.
    Quiet,
    /// Signalling NaN.
    Signaling,
    /// An encoding of the x87 format that is no number: pseudo-NaN, pseudo-infinity, unnormal.
    Unsupported,
}

/// An unpacked number.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Num {
    /// Class of the number.
    pub kind: Kind,
    /// Whether the number is negative.
    pub sign: bool,
    /// Exponent of the significand's top bit (finite numbers only).
    pub exp: i32,
    /// Significand with its top bit at bit 63; for a NaN the payload, with the quiet bit at bit 62.
    pub sig: u64,
    /// It was denormal (or pseudo-denormal) in its format.
    pub denormal: bool,
}

impl Num {
    /// The default NaN ("real indefinite").
    pub const DEFAULT_NAN: Num = Num { kind: Kind::Quiet, sign: true, ..Num::nan(3 << 62) };

    const fn nan(sig: u64) -> Num {
        Num { kind: Kind::Quiet, sign: false, exp: 0, sig, denormal: false }
    }

    /// Zero with a sign.
    pub const fn zero(sign: bool) -> Num {
        Num { kind: Kind::Zero, sign, exp: 0, sig: 0, denormal: false }
    }

    /// Infinity with a sign.
    pub const fn infinity(sign: bool) -> Num {
        Num { kind: Kind::Infinity, sign, exp: 0, sig: 1 << 63, denormal: false }
    }

    /// Whether it is a NaN of either kind.
    pub fn is_nan(&self) -> bool {
        matches!(self.kind, Kind::Quiet | Kind::Signaling)
    }

    /// Whether it is zero.
    pub fn is_zero(&self) -> bool {
        self.kind == Kind::Zero
    }

    /// Whether it is infinite.
    pub fn is_infinite(&self) -> bool {
        self.kind == Kind::Infinity
    }

    /// A NaN made quiet.
    pub fn quieted(self) -> Num {
        Num { kind: Kind::Quiet, sig: self.sig | 3 << 62, ..self }
    }

    /// With the sign turned.
    pub fn negated(self) -> Num {
        Num { sign: !self.sign, ..self }
    }

    /// Unpacks an interchange format (not the x87's).
    pub fn of_bits(f: &Format, bits: u64) -> Num {
        let fraction_bits = f.p - 1;
        let sign = bits >> (fraction_bits + f.exponent_bits()) & 1 != 0;
        let field = (bits >> fraction_bits) as i32 & ((1 << f.exponent_bits()) - 1);
        let sig = (bits & ((1 << fraction_bits) - 1)) << (64 - f.p);
        match (field, sig) {
            (0, 0) => Num::zero(sign),
            (0, _) => Num::finite(sign, f.emin, sig, true),
            (e, 0) if e == 2 * f.emax + 1 => Num::infinity(sign),
            (e, _) if e == 2 * f.emax + 1 => Num::nan_of(sign, sig | 1 << 63),
            (e, _) => Num::finite(sign, e - f.emax, sig | 1 << 63, false),
        }
    }

    fn nan_of(sign: bool, sig: u64) -> Num {
        let kind = if sig >> 62 & 1 != 0 { Kind::Quiet } else { Kind::Signaling };
        Num { kind, sign, exp: 0, sig, denormal: false }
    }

    /// A finite number from a significand that need not be normalised; `exp` is bit 63's.
    pub fn finite(sign: bool, exp: i32, sig: u64, denormal: bool) -> Num {
        if sig == 0 {
            return Num::zero(sign);
        }
        let lz = sig.leading_zeros();
        Num { kind: Kind::Finite, sign, exp: exp - lz as i32, sig: sig << lz, denormal }
    }

    /// The number that equals an integer.
    pub fn of_int(v: i64) -> Num {
        Num::finite(v < 0, 63, v.unsigned_abs(), false)
    }

    /// An integral value that [`Env::to_integer`] made, with the sign of a zero.
    pub fn of_integral(sign: bool, v: i128) -> Num {
        match Wide::new(sign, 127, v.unsigned_abs()) {
            Some(w) => Num::finite(sign, w.exp, (w.sig >> 64) as u64, false),
            None => Num::zero(sign),
        }
    }

    /// Packs a number that fits the interchange format `f`.
    pub fn to_bits(self, f: &Format) -> u64 {
        let fraction_bits = f.p - 1;
        let top = 2 * f.emax as u64 + 1;
        let sig = self.sig >> (64 - f.p);
        let (field, sig) = match self.kind {
            Kind::Zero => (0, 0),
            Kind::Infinity => (top, 0),
            Kind::Finite if self.exp < f.emin => (0, sig >> (f.emin - self.exp).min(63)),
            Kind::Finite => ((self.exp + f.emax) as u64, sig),
            _ => (top, sig),
        };
        let sign = (self.sign as u64) << (fraction_bits + f.exponent_bits());
        sign | field << fraction_bits | sig & ((1 << fraction_bits) - 1)
    }

    /// Unpacks an x87 register.
    pub fn of_f80(v: F80) -> Num {
        let sign = v.se >> 15 != 0;
        let field = v.se as i32 & 0x7fff;
        let integer = v.m >> 63 != 0;
        match field {
            0 => Num::finite(sign, X80.emin, v.m, true).without_denormal_zero(),
            _ if !integer => Num { kind: Kind::Unsupported, ..Num::nan_of(sign, v.m) },
            0x7fff if v.m << 1 == 0 => Num::infinity(sign),
            0x7fff => Num::nan_of(sign, v.m),
            _ => Num::finite(sign, field - X80.emax, v.m, false),
        }
    }

    fn without_denormal_zero(self) -> Num {
        Num { denormal: self.denormal && self.kind == Kind::Finite, ..self }
    }

    /// Packs a number that fits the x87 format.
    pub fn to_f80(self) -> F80 {
        let sign = (self.sign as u16) << 15;
        let (se, m) = match self.kind {
            Kind::Zero => (0, 0),
            Kind::Infinity => (0x7fff, 1 << 63),
            Kind::Finite if self.exp < X80.emin => (0, self.sig >> (X80.emin - self.exp).min(63)),
            Kind::Finite => ((self.exp + X80.emax) as u16, self.sig),
            _ => (0x7fff, self.sig),
        };
        F80 { m, se: sign | se }
    }

    /// The number as an exact wide one.
    pub fn wide(&self) -> Wide {
        Wide { sign: self.sign, exp: self.exp, sig: (self.sig as u128) << 64 }
    }
}

/// A nonzero finite value with 128 bits of significand (top bit at bit 127, of exponent `exp`); bit 0
/// is sticky when the value is not exact.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Wide {
    /// Whether the number is negative.
    pub sign: bool,
    /// Exponent of bit 127.
    pub exp: i32,
    /// Significand, with its leading one on top.
    pub sig: u128,
}

impl Wide {
    /// Normalises; `None` for zero.
    pub fn new(sign: bool, exp: i32, sig: u128) -> Option<Wide> {
        if sig == 0 {
            return None;
        }
        let lz = sig.leading_zeros();
        Some(Wide { sign, exp: exp - lz as i32, sig: sig << lz })
    }

    /// The product of finite numbers, exact.
    pub fn product(a: &Num, b: &Num) -> Wide {
        let (sign, exp) = (a.sign != b.sign, a.exp + b.exp + 1);
        let sig = a.sig as u128 * b.sig as u128;
        let lz = sig.leading_zeros();
        Wide { sign, exp: exp - lz as i32, sig: sig << lz }
    }

    /// The quotient of finite numbers.
    pub fn quotient(a: &Num, b: &Num) -> Wide {
        let divisor = b.sig as u128;
        let less = a.sig < b.sig;
        let first = (a.sig as u128) << (63 + less as u32);
        let (q, rest) = (first / divisor, (first % divisor) << 64);
        let low = (rest / divisor) | (!rest.is_multiple_of(divisor)) as u128;
        Wide { sign: a.sign != b.sign, exp: a.exp - b.exp - less as i32, sig: q << 64 | low }
    }

    /// The square root of a positive finite number.
    pub fn root(a: &Num) -> Wide {
        let odd = a.exp & 1;
        let n = (a.sig as u128) << (63 + odd);
        let r = n.isqrt();
        let rest = n - r * r;
        // The next bit of the root is set if n >= (r + 1/2)², that is, the rest exceeds r.
        let guard = (rest > r) as u128;
        let sig = r << 64 | guard << 63 | (rest != 0) as u128;
        Wide { sign: false, exp: (a.exp - odd) / 2, sig }
    }

    /// The sum; `None` if it is exactly zero. Exact for 64-bit significands up to a sticky bit; the
    /// product of 53-bit ones may be a summand.
    pub fn sum(a: Wide, b: Wide) -> Option<Wide> {
        let (big, small) = if (a.exp, a.sig) >= (b.exp, b.sig) { (a, b) } else { (b, a) };
        // One bit of room for the carry.
        let x = jam(big.sig, 1);
        let y = jam(small.sig, 1u32.saturating_add((big.exp - small.exp) as u32));
        let sig = if big.sign == small.sign { x + y } else { x - y };
        Wide::new(big.sign, big.exp + 1, sig)
    }
}

/// Shifts right, keeping in bit 0 whether a set bit fell off.
pub fn jam(v: u128, n: u32) -> u128 {
    match n {
        0 => v,
        1..128 => v >> n | (v << (128 - n) != 0) as u128,
        _ => (v != 0) as u128,
    }
}

/// `v >> n` rounded: (quotient, inexact, rounded up).
pub fn round_shift(v: u128, n: u32, sign: bool, rm: Rounding) -> (u128, bool, bool) {
    if n == 0 {
        return (v, false, false);
    }
    let (q, rest, half) = match n {
        1..128 => (v >> n, v & ((1 << n) - 1), 1 << (n - 1)),
        128 => (0, v, 1 << 127),
        // Less than half.
        _ => (0, (v != 0) as u128, 2),
    };
    let up = match rm {
        Rounding::Nearest => rest > half || rest == half && q & 1 != 0,
        Rounding::Down => rest != 0 && sign,
        Rounding::Up => rest != 0 && !sign,
        Rounding::Zero => false,
    };
    (q + up as u128, rest != 0, up)
}

impl Env {
    /// Rounds `w` to format `f`. Tininess is detected after rounding; an unmasked overflow or
    /// underflow returns the number with its exponent out of range. SDM vol. 1, "Numeric Overflow
    /// Exception", "Numeric Underflow Exception".
    pub fn round(&mut self, f: &Format, w: Wide) -> Num {
        if self.rm == Rounding::Nearest && f.p == 64 && (f.emin..f.emax).contains(&w.exp) {
            return self.round_extended(w);
        }
        let drop = 128 - f.p;
        let (q, inexact, up) = round_shift(w.sig, drop, w.sign, self.rm);
        let exp = w.exp + (q >> f.p) as i32;
        if exp < f.emin {
            return self.round_tiny(f, w, (q, inexact, up));
        }
        if exp > f.emax {
            return self.round_huge(f, w, (q, inexact, up));
        }
        // A value just below the least normal number may round up to it: then it is not tiny, but its
        // precision is that of its place.
        let late = (f.emin - w.exp).max(0) as u32;
        let (q, inexact, up) = if late > 0 {
            round_shift(w.sig, drop + late, w.sign, self.rm)
        } else {
            (q, inexact, up)
        };
        self.finish(w, drop + late, (q, inexact, up))
    }

    /// Rounds to nearest with 64 bits, far from both ends of the exponent range: what the x87 does most.
    fn round_extended(&mut self, w: Wide) -> Num {
        let (high, low) = ((w.sig >> 64) as u64, w.sig as u64);
        let up = low > 1 << 63 || low == 1 << 63 && high & 1 != 0;
        let (sig, carry) = high.overflowing_add(up as u64);
        self.flags |= if low != 0 { flag::P } else { 0 };
        self.up = up;
        let sig = if carry { 1 << 63 } else { sig };
        Num { kind: Kind::Finite, sign: w.sign, exp: w.exp + carry as i32, sig, denormal: false }
    }

    fn finish(&mut self, w: Wide, drop: u32, (q, inexact, up): (u128, bool, bool)) -> Num {
        self.flags |= if inexact { flag::P } else { 0 };
        self.up = up;
        let place = w.exp.wrapping_sub(127).wrapping_add(drop as i32);
        match Wide::new(w.sign, place.wrapping_add(127), q) {
            None => Num::zero(w.sign),
            Some(n) => Num::finite(w.sign, n.exp, (n.sig >> 64) as u64, false),
        }
    }

    #[cold]
    fn round_tiny(&mut self, f: &Format, w: Wide, full: (u128, bool, bool)) -> Num {
        if self.unmasked & flag::U != 0 {
            self.flags |= flag::U;
            return self.finish(w, 128 - f.p, full);
        }
        if self.ftz {
            self.flags |= flag::U | flag::P;
            return Num::zero(w.sign);
        }
        let drop = (128 - f.p).saturating_add((f.emin - w.exp) as u32);
        let part = round_shift(w.sig, drop, w.sign, self.rm);
        self.flags |= if part.1 { flag::U } else { 0 };
        self.finish(w, drop, part)
    }

    #[cold]
    fn round_huge(&mut self, f: &Format, w: Wide, full: (u128, bool, bool)) -> Num {
        self.flags |= flag::O;
        if self.unmasked & flag::O != 0 {
            return self.finish(w, 128 - f.p, full);
        }
        self.flags |= flag::P;
        self.up = match self.rm {
            Rounding::Nearest => true,
            Rounding::Down => w.sign,
            Rounding::Up => !w.sign,
            Rounding::Zero => false,
        };
        if self.up {
            return Num::infinity(w.sign);
        }
        Num::finite(w.sign, f.emax, u64::MAX << (64 - f.p), false)
    }

    /// Rounds, for a sum that may be exactly zero; `signs` are the summands'.
    pub fn round_sum(&mut self, f: &Format, w: Option<Wide>, signs: (bool, bool)) -> Num {
        match w {
            Some(w) => self.round(f, w),
            None => Num::zero(self.zero_sign(signs)),
        }
    }

    /// The sign of an exact zero sum.
    pub fn zero_sign(&self, (a, b): (bool, bool)) -> bool {
        if a == b { a } else { self.rm == Rounding::Down }
    }

    /// Rounds a finite number or zero to an integer of magnitude below 2^127; `None` if it is
    /// larger. Notes nothing: (value, inexact, rounded up).
    pub fn to_integer(rm: Rounding, n: &Num) -> Option<(i128, bool, bool)> {
        if n.is_zero() {
            return Some((0, false, false));
        }
        if n.exp > 100 {
            return None;
        }
        let drop = (127 - n.exp).min(200) as u32;
        let (q, inexact, up) = round_shift(n.wide().sig, drop, n.sign, rm);
        Some((if n.sign { -(q as i128) } else { q as i128 }, inexact, up))
    }
}

/// Orders two numbers that are not NaN; zeros of either sign are equal.
pub fn compare(a: &Num, b: &Num) -> std::cmp::Ordering {
    let key = |n: &Num| match n.kind {
        Kind::Zero => (0, i32::MIN, 0),
        Kind::Infinity => (1, i32::MAX, 0),
        _ => (1, n.exp, n.sig),
    };
    let sign = |n: &Num| {
        if n.is_zero() {
            0
        } else if n.sign {
            -1
        } else {
            1
        }
    };
    sign(a).cmp(&sign(b)).then_with(|| {
        let magnitude = key(a).cmp(&key(b));
        if a.sign { magnitude.reverse() } else { magnitude }
    })
}
