//! Operand widths: arithmetic is written once over [`Word`] and serves 8, 16, 32 and 64 bits.

/// An unsigned operand width: `u8`, `u16`, `u32` or `u64`.
pub trait Word: Copy + Eq + Ord + Default + 'static {
    /// Width in bits.
    const BITS: u32;
    /// Width in bytes.
    const BYTES: usize;
    /// log2 of the width in bytes: the size field of a lazy-flags class.
    const SIZE: u32;
    /// The low bits of `v`.
    fn of(v: u64) -> Self;
    /// The value, zero-extended to 64 bits.
    fn u(self) -> u64;
    /// The value, sign-extended to 64 bits.
    fn s(self) -> i64;
    /// The bits that a register write keeps: 32-bit results zero-extend to the whole register.
    fn put(reg: &mut u64, v: Self);
}

macro_rules! words {
    ($($t:ty, $s:ty, $size:literal, |$reg:ident, $v:ident| $put:expr;)*) => {$(
        impl Word for $t {
            const BITS: u32 = <$t>::BITS;
            const BYTES: usize = <$t>::BITS as usize / 8;
            const SIZE: u32 = $size;
            #[inline(always)]
            fn of(v: u64) -> Self {
                v as $t
            }
            #[inline(always)]
            fn u(self) -> u64 {
                self as u64
            }
            #[inline(always)]
            fn s(self) -> i64 {
                self as $s as i64
            }
            #[inline(always)]
            fn put($reg: &mut u64, $v: Self) {
                *$reg = $put;
            }
        }
    )*};
}

words! {
    u8, i8, 0, |reg, v| (*reg & !0xff) | v as u64;
    u16, i16, 1, |reg, v| (*reg & !0xffff) | v as u64;
    u32, i32, 2, |_reg, v| v as u64;
    u64, i64, 3, |_reg, v| v;
}
