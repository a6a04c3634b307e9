//! Vectors of 128 bits as lanes of integers.
#![expect(unsafe_code, reason = "vectors are taken apart as arrays of the same size")]

/// A lane of a vector.
pub(crate) trait Lane: Copy + Default + 'static {
    /// As many as fill 128 bits.
    type Lanes: Copy + AsRef<[Self]> + AsMut<[Self]>;
    /// Splits, least significant lane first.
    fn split(v: u128) -> Self::Lanes;
    /// The vector made of lanes.
    fn join(v: Self::Lanes) -> u128;
}

macro_rules! lane {
    ($($t:ty, $n:literal;)*) => {$(
        #[allow(unnecessary_transmutes)]
        impl Lane for $t {
            type Lanes = [$t; $n];
            #[inline(always)]
            fn split(v: u128) -> [$t; $n] {
                // SAFETY: same size, every bit pattern is valid; the host is little-endian.
                unsafe { std::mem::transmute(v) }
            }
            #[inline(always)]
            fn join(v: [$t; $n]) -> u128 {
                // SAFETY: as `split`.
                unsafe { std::mem::transmute(v) }
            }
        }
    )*};
}
lane! { u8, 16; i8, 16; u16, 8; i16, 8; u32, 4; i32, 4; u64, 2; i64, 2; }

/// Lane by lane.
#[inline(always)]
pub(crate) fn lanes<L: Lane>(a: u128, b: u128, mut f: impl FnMut(L, L) -> L) -> u128 {
    let (mut x, y) = (L::split(a), L::split(b));
    for (x, y) in x.as_mut().iter_mut().zip(y.as_ref()) {
        *x = f(*x, *y);
    }
    L::join(x)
}

/// Each lane of one operand.
#[inline(always)]
pub(crate) fn each<L: Lane>(a: u128, mut f: impl FnMut(L) -> L) -> u128 {
    lanes::<L>(a, a, |x, _| f(x))
}

/// A vector whose lane `k` is `f(k)`.
#[inline(always)]
pub(crate) fn build<L: Lane>(mut f: impl FnMut(usize) -> L) -> u128 {
    let mut v = L::split(0);
    for (k, x) in v.as_mut().iter_mut().enumerate() {
        *x = f(k);
    }
    L::join(v)
}

/// Lane `k`.
#[inline(always)]
pub(crate) fn lane_of<L: Lane>(v: u128, k: usize) -> L {
    L::split(v).as_ref()[k]
}

/// `v` with lane `k` replaced.
#[inline(always)]
pub(crate) fn with_lane<L: Lane>(v: u128, k: usize, x: L) -> u128 {
    let mut v = L::split(v);
    v.as_mut()[k] = x;
    L::join(v)
}

/// `low` in the low `bits` bits of `v`.
#[inline(always)]
pub(crate) fn merge(v: u128, low: u128, bits: u32) -> u128 {
    let mask = u128::MAX >> (128 - bits);
    v & !mask | low & mask
}
