//! Integer vectors on an x86 host: instructions of SSE2 (and one of SSSE3 where the host has
//! it), under the names of their intrinsics.
#![expect(unsafe_code, reason = "intrinsics")]

use super::host::{bits, of};
use core::arch::x86_64 as x86;

macro_rules! binary {
    ($($name:ident)*) => {$(
        #[inline(always)]
        pub(crate) fn $name(a: u128, b: u128) -> u128 {
            // SAFETY: SSE2 is a part of x86-64.
            bits(unsafe { x86::$name(of(a), of(b)) })
        }
    )*};
}
binary! {
    _mm_add_epi8 _mm_add_epi16 _mm_add_epi32 _mm_adds_epi8
    _mm_adds_epi16 _mm_adds_epu8 _mm_adds_epu16 _mm_sub_epi8
    _mm_sub_epi16 _mm_sub_epi32 _mm_subs_epi8 _mm_subs_epi16
    _mm_subs_epu8 _mm_subs_epu16 _mm_mullo_epi16 _mm_mulhi_epi16
    _mm_mulhi_epu16 _mm_mul_epu32 _mm_madd_epi16 _mm_sad_epu8
    _mm_avg_epu8 _mm_avg_epu16 _mm_min_epu8 _mm_max_epu8
    _mm_min_epi16 _mm_max_epi16 _mm_cmpeq_epi8 _mm_cmpeq_epi16
    _mm_cmpeq_epi32 _mm_cmpgt_epi8 _mm_cmpgt_epi16 _mm_cmpgt_epi32
    _mm_sll_epi16 _mm_sll_epi32 _mm_sll_epi64 _mm_srl_epi16
    _mm_srl_epi32 _mm_srl_epi64 _mm_sra_epi16 _mm_sra_epi32
    _mm_unpacklo_epi8 _mm_unpacklo_epi16 _mm_unpacklo_epi32 _mm_unpacklo_epi64
    _mm_unpackhi_epi8 _mm_unpackhi_epi16 _mm_unpackhi_epi32 _mm_unpackhi_epi64
    _mm_packs_epi16 _mm_packus_epi16 _mm_packs_epi32
}

/// The sign bits of the second operand's lanes.
macro_rules! mask {
    ($($name:ident $cast:expr;)*) => {$(
        #[inline(always)]
        pub(crate) fn $name(_: u128, b: u128) -> u128 {
            // SAFETY: as above.
            unsafe { x86::$name($cast(of(b))) as u128 }
        }
    )*};
}
mask! {
    _mm_movemask_epi8 std::convert::identity;
    _mm_movemask_ps x86::_mm_castsi128_ps;
    _mm_movemask_pd x86::_mm_castsi128_pd;
}

/// `PSHUFB`, if the host has the instruction.
pub(crate) fn shuffle_bytes(a: u128, b: u128) -> Option<u128> {
    #[target_feature(enable = "ssse3")]
    fn shuffle(a: x86::__m128i, b: x86::__m128i) -> x86::__m128i {
        x86::_mm_shuffle_epi8(a, b)
    }
    // SAFETY: the host has the instruction.
    is_x86_feature_detected!("ssse3").then(|| bits(unsafe { shuffle(of(a), of(b)) }))
}
