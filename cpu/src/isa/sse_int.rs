//! SSE2 integer arithmetic, comparisons, logic, shifts, packing and shuffles; the marker types serve
//! MMX and AVX too.

use super::vector::{by_imm, full, hot, pure};
use super::{Exec, Form, forms};
use crate::fpu::lanes::{Lane, build, each, lane_of, lanes, merge};
use crate::word::Word;

#[inline(always)]
fn all_ones<W: Word>(b: bool) -> W {
    W::of(if b { u64::MAX } else { 0 })
}

/// Interleaves the lanes of two operands, from lane `from` on.
#[inline(always)]
fn unpack<L: Lane>(a: u128, b: u128, from: usize) -> u128 {
    let from = from * size_of::<L::Lanes>() / size_of::<L>() / 2;
    build::<L>(|k| lane_of(if k & 1 == 0 { a } else { b }, from + k / 2))
}

/// Joins the lanes of two operands, each made half as wide.
#[inline(always)]
fn pack<L: Lane, M: Lane>(a: u128, b: u128, f: impl Fn(L) -> M) -> u128 {
    let n = 16 / size_of::<L>();
    build::<M>(|k| f(lane_of(if k < n { a } else { b }, k % n)))
}

/// Shifts lanes by a count that may exceed their width.
#[inline(always)]
fn shift<W: Word + Lane>(a: u128, count: u64, f: impl Fn(u64, u32) -> u64) -> u128 {
    if count >= W::BITS as u64 { 0 } else { each::<W>(a, |x| W::of(f(x.u(), count as u32))) }
}

/// Arithmetic right shift of lanes.
#[inline(always)]
fn shift_signed<W: Word + Lane>(a: u128, count: u64) -> u128 {
    let count = count.min(W::BITS as u64 - 1) as u32;
    each::<W>(a, |x| W::of((x.s() >> count) as u64))
}

#[inline(always)]
fn bytes(a: u128, count: u128, left: bool) -> u128 {
    match (count, left) {
        (16.., _) => 0,
        (_, true) => a << (8 * count as u32),
        (_, false) => a >> (8 * count as u32),
    }
}

/// Sums of products of neighbouring lanes.
#[inline(always)]
fn multiply_add(a: u128, b: u128) -> u128 {
    let (x, y) = (i16::split(a), i16::split(b));
    let product = |k: usize| x[k] as i32 * y[k] as i32;
    build::<i32>(|k| product(2 * k).wrapping_add(product(2 * k + 1)))
}

#[inline(always)]
fn sum_of_differences(a: u128, b: u128) -> u128 {
    let (x, y) = (u8::split(a), u8::split(b));
    build::<u64>(|k| (0..8).map(|n| x[8 * k + n].abs_diff(y[8 * k + n]) as u64).sum())
}

/// A shuffle of the four words from `from` on.
#[inline(always)]
fn shuffle_words(b: u128, imm: u8, from: usize) -> u128 {
    let inside = |k: usize| k.wrapping_sub(from) < 4;
    build::<u16>(|k| {
        lane_of(b, if inside(k) { from + (imm >> (2 * (k - from)) & 3) as usize } else { k })
    })
}

pure! {
    And(a, b, _i) => a & b;
    AndNot(a, b, _i) => !a & b;
    Or(a, b, _i) => a | b;
    Xor(a, b, _i) => a ^ b;
    AddB(a, b, _i) => lanes::<u8>(a, b, u8::wrapping_add), _mm_add_epi8;
    AddW(a, b, _i) => lanes::<u16>(a, b, u16::wrapping_add), _mm_add_epi16;
    AddD(a, b, _i) => lanes::<u32>(a, b, u32::wrapping_add), _mm_add_epi32;
    AddQ(a, b, _i) => lanes::<u64>(a, b, u64::wrapping_add);
    AddSB(a, b, _i) => lanes::<i8>(a, b, i8::saturating_add), _mm_adds_epi8;
    AddSW(a, b, _i) => lanes::<i16>(a, b, i16::saturating_add), _mm_adds_epi16;
    AddUSB(a, b, _i) => lanes::<u8>(a, b, u8::saturating_add), _mm_adds_epu8;
    AddUSW(a, b, _i) => lanes::<u16>(a, b, u16::saturating_add), _mm_adds_epu16;
    SubB(a, b, _i) => lanes::<u8>(a, b, u8::wrapping_sub), _mm_sub_epi8;
    SubW(a, b, _i) => lanes::<u16>(a, b, u16::wrapping_sub), _mm_sub_epi16;
    SubD(a, b, _i) => lanes::<u32>(a, b, u32::wrapping_sub), _mm_sub_epi32;
    SubQ(a, b, _i) => lanes::<u64>(a, b, u64::wrapping_sub);
    SubSB(a, b, _i) => lanes::<i8>(a, b, i8::saturating_sub), _mm_subs_epi8;
    SubSW(a, b, _i) => lanes::<i16>(a, b, i16::saturating_sub), _mm_subs_epi16;
    SubUSB(a, b, _i) => lanes::<u8>(a, b, u8::saturating_sub), _mm_subs_epu8;
    SubUSW(a, b, _i) => lanes::<u16>(a, b, u16::saturating_sub), _mm_subs_epu16;
    MulLW(a, b, _i) => lanes::<u16>(a, b, u16::wrapping_mul), _mm_mullo_epi16;
    MulHW(a, b, _i) => lanes::<i16>(a, b, |x, y| ((x as i32 * y as i32) >> 16) as i16), _mm_mulhi_epi16;
    MulHUW(a, b, _i) => lanes::<u16>(a, b, |x, y| ((x as u32 * y as u32) >> 16) as u16), _mm_mulhi_epu16;
    MulUDQ(a, b, _i) => lanes::<u64>(a, b, |x, y| x as u32 as u64 * (y as u32 as u64)), _mm_mul_epu32;
    MulAddWD(a, b, _i) => multiply_add(a, b), _mm_madd_epi16;
    SadBW(a, b, _i) => sum_of_differences(a, b), _mm_sad_epu8;
    AvgB(a, b, _i) => lanes::<u8>(a, b, |x, y| ((x as u16 + y as u16 + 1) >> 1) as u8), _mm_avg_epu8;
    AvgW(a, b, _i) => lanes::<u16>(a, b, |x, y| ((x as u32 + y as u32 + 1) >> 1) as u16), _mm_avg_epu16;
    MinUB(a, b, _i) => lanes::<u8>(a, b, u8::min), _mm_min_epu8;
    MaxUB(a, b, _i) => lanes::<u8>(a, b, u8::max), _mm_max_epu8;
    MinSW(a, b, _i) => lanes::<i16>(a, b, i16::min), _mm_min_epi16;
    MaxSW(a, b, _i) => lanes::<i16>(a, b, i16::max), _mm_max_epi16;
    CmpEqB(a, b, _i) => lanes::<u8>(a, b, |x, y| all_ones(x == y)), _mm_cmpeq_epi8;
    CmpEqW(a, b, _i) => lanes::<u16>(a, b, |x, y| all_ones(x == y)), _mm_cmpeq_epi16;
    CmpEqD(a, b, _i) => lanes::<u32>(a, b, |x, y| all_ones(x == y)), _mm_cmpeq_epi32;
    CmpGtB(a, b, _i) => lanes::<u8>(a, b, |x, y| all_ones(x as i8 > y as i8)), _mm_cmpgt_epi8;
    CmpGtW(a, b, _i) => lanes::<u16>(a, b, |x, y| all_ones(x as i16 > y as i16)), _mm_cmpgt_epi16;
    CmpGtD(a, b, _i) => lanes::<u32>(a, b, |x, y| all_ones(x as i32 > y as i32)), _mm_cmpgt_epi32;
    SllW(a, b, _i) => shift::<u16>(a, b as u64, |x, n| x << n), _mm_sll_epi16;
    SllD(a, b, _i) => shift::<u32>(a, b as u64, |x, n| x << n), _mm_sll_epi32;
    SllQ(a, b, _i) => shift::<u64>(a, b as u64, |x, n| x << n), _mm_sll_epi64;
    SrlW(a, b, _i) => shift::<u16>(a, b as u64, |x, n| x >> n), _mm_srl_epi16;
    SrlD(a, b, _i) => shift::<u32>(a, b as u64, |x, n| x >> n), _mm_srl_epi32;
    SrlQ(a, b, _i) => shift::<u64>(a, b as u64, |x, n| x >> n), _mm_srl_epi64;
    SraW(a, b, _i) => shift_signed::<u16>(a, b as u64), _mm_sra_epi16;
    SraD(a, b, _i) => shift_signed::<u32>(a, b as u64), _mm_sra_epi32;
    SllDQ(a, b, _i) => bytes(a, b, true);
    SrlDQ(a, b, _i) => bytes(a, b, false);
    UnpackLBW(a, b, _i) => unpack::<u8>(a, b, 0), _mm_unpacklo_epi8;
    UnpackLWD(a, b, _i) => unpack::<u16>(a, b, 0), _mm_unpacklo_epi16;
    UnpackLDQ(a, b, _i) => unpack::<u32>(a, b, 0), _mm_unpacklo_epi32;
    UnpackLQDQ(a, b, _i) => unpack::<u64>(a, b, 0), _mm_unpacklo_epi64;
    UnpackHBW(a, b, _i) => unpack::<u8>(a, b, 1), _mm_unpackhi_epi8;
    UnpackHWD(a, b, _i) => unpack::<u16>(a, b, 1), _mm_unpackhi_epi16;
    UnpackHDQ(a, b, _i) => unpack::<u32>(a, b, 1), _mm_unpackhi_epi32;
    UnpackHQDQ(a, b, _i) => unpack::<u64>(a, b, 1), _mm_unpackhi_epi64;
    PackSSWB(a, b, _i) => pack(a, b, |x: i16| x.clamp(-128, 127) as i8), _mm_packs_epi16;
    PackUSWB(a, b, _i) => pack(a, b, |x: i16| x.clamp(0, 255) as u8), _mm_packus_epi16;
    PackSSDW(a, b, _i) => pack(a, b, |x: i32| x.clamp(-32768, 32767) as i16), _mm_packs_epi32;
    ShufD(a, b, imm) => build::<u32>(|k| lane_of(b, (imm >> (2 * k) & 3) as usize));
    ShufLW(a, b, imm) => shuffle_words(b, imm, 0);
    ShufHW(a, b, imm) => shuffle_words(b, imm, 4);
    ShufPS(a, b, imm) => {
        build::<u32>(|k| lane_of(if k < 2 { a } else { b }, (imm >> (2 * k) & 3) as usize))
    };
    ShufPD(a, b, imm) => {
        merge(b >> (64 * (imm >> 1 & 1)) << 64, a >> (64 * (imm & 1)), 64)
    };
}

/// The table of this family.
#[rustfmt::skip]
pub(super) const FORMS: &[Form] = forms! {
    Pand_xmm_xmmm128 => Exec::Handler(hot::<And>);
    Andps_xmm_xmmm128 => Exec::Handler(hot::<And>);
    Andpd_xmm_xmmm128 => Exec::Handler(hot::<And>);
    Pandn_xmm_xmmm128 => Exec::Handler(full::<AndNot>);
    Andnps_xmm_xmmm128 => Exec::Handler(full::<AndNot>);
    Andnpd_xmm_xmmm128 => Exec::Handler(full::<AndNot>);
    Por_xmm_xmmm128 => Exec::Handler(hot::<Or>);
    Orps_xmm_xmmm128 => Exec::Handler(hot::<Or>);
    Orpd_xmm_xmmm128 => Exec::Handler(hot::<Or>);
    Pxor_xmm_xmmm128 => Exec::Handler(hot::<Xor>);
    Xorps_xmm_xmmm128 => Exec::Handler(hot::<Xor>);
    Xorpd_xmm_xmmm128 => Exec::Handler(hot::<Xor>);
    Paddb_xmm_xmmm128 => Exec::Handler(full::<AddB>);
    Paddw_xmm_xmmm128 => Exec::Handler(full::<AddW>);
    Paddd_xmm_xmmm128 => Exec::Handler(full::<AddD>);
    Paddq_xmm_xmmm128 => Exec::Handler(full::<AddQ>);
    Paddsb_xmm_xmmm128 => Exec::Handler(full::<AddSB>);
    Paddsw_xmm_xmmm128 => Exec::Handler(full::<AddSW>);
    Paddusb_xmm_xmmm128 => Exec::Handler(full::<AddUSB>);
    Paddusw_xmm_xmmm128 => Exec::Handler(full::<AddUSW>);
    Psubb_xmm_xmmm128 => Exec::Handler(full::<SubB>);
    Psubw_xmm_xmmm128 => Exec::Handler(full::<SubW>);
    Psubd_xmm_xmmm128 => Exec::Handler(full::<SubD>);
    Psubq_xmm_xmmm128 => Exec::Handler(full::<SubQ>);
    Psubsb_xmm_xmmm128 => Exec::Handler(full::<SubSB>);
    Psubsw_xmm_xmmm128 => Exec::Handler(full::<SubSW>);
    Psubusb_xmm_xmmm128 => Exec::Handler(full::<SubUSB>);
    Psubusw_xmm_xmmm128 => Exec::Handler(full::<SubUSW>);
    Pmullw_xmm_xmmm128 => Exec::Handler(full::<MulLW>);
    Pmulhw_xmm_xmmm128 => Exec::Handler(full::<MulHW>);
    Pmulhuw_xmm_xmmm128 => Exec::Handler(full::<MulHUW>);
    Pmuludq_xmm_xmmm128 => Exec::Handler(full::<MulUDQ>);
    Pmaddwd_xmm_xmmm128 => Exec::Handler(full::<MulAddWD>);
    Psadbw_xmm_xmmm128 => Exec::Handler(full::<SadBW>);
    Pavgb_xmm_xmmm128 => Exec::Handler(full::<AvgB>);
    Pavgw_xmm_xmmm128 => Exec::Handler(full::<AvgW>);
    Pminub_xmm_xmmm128 => Exec::Handler(full::<MinUB>);
    Pmaxub_xmm_xmmm128 => Exec::Handler(full::<MaxUB>);
    Pminsw_xmm_xmmm128 => Exec::Handler(full::<MinSW>);
    Pmaxsw_xmm_xmmm128 => Exec::Handler(full::<MaxSW>);
    Pcmpeqb_xmm_xmmm128 => Exec::Handler(hot::<CmpEqB>);
    Pcmpeqw_xmm_xmmm128 => Exec::Handler(full::<CmpEqW>);
    Pcmpeqd_xmm_xmmm128 => Exec::Handler(full::<CmpEqD>);
    Pcmpgtb_xmm_xmmm128 => Exec::Handler(full::<CmpGtB>);
    Pcmpgtw_xmm_xmmm128 => Exec::Handler(full::<CmpGtW>);
    Pcmpgtd_xmm_xmmm128 => Exec::Handler(full::<CmpGtD>);
    Psllw_xmm_xmmm128 => Exec::Handler(full::<SllW>);
    Pslld_xmm_xmmm128 => Exec::Handler(full::<SllD>);
    Psllq_xmm_xmmm128 => Exec::Handler(full::<SllQ>);
    Psrlw_xmm_xmmm128 => Exec::Handler(full::<SrlW>);
    Psrld_xmm_xmmm128 => Exec::Handler(full::<SrlD>);
    Psrlq_xmm_xmmm128 => Exec::Handler(full::<SrlQ>);
    Psraw_xmm_xmmm128 => Exec::Handler(full::<SraW>);
    Psrad_xmm_xmmm128 => Exec::Handler(full::<SraD>);
    Psllw_xmm_imm8 => Exec::Handler(by_imm::<SllW>);
    Pslld_xmm_imm8 => Exec::Handler(by_imm::<SllD>);
    Psllq_xmm_imm8 => Exec::Handler(by_imm::<SllQ>);
    Psrlw_xmm_imm8 => Exec::Handler(by_imm::<SrlW>);
    Psrld_xmm_imm8 => Exec::Handler(by_imm::<SrlD>);
    Psrlq_xmm_imm8 => Exec::Handler(by_imm::<SrlQ>);
    Psraw_xmm_imm8 => Exec::Handler(by_imm::<SraW>);
    Psrad_xmm_imm8 => Exec::Handler(by_imm::<SraD>);
    Pslldq_xmm_imm8 => Exec::Handler(by_imm::<SllDQ>);
    Psrldq_xmm_imm8 => Exec::Handler(by_imm::<SrlDQ>);
    Punpcklbw_xmm_xmmm128 => Exec::Handler(full::<UnpackLBW>);
    Punpcklwd_xmm_xmmm128 => Exec::Handler(full::<UnpackLWD>);
    Punpckldq_xmm_xmmm128 => Exec::Handler(full::<UnpackLDQ>);
    Punpcklqdq_xmm_xmmm128 => Exec::Handler(full::<UnpackLQDQ>);
    Punpckhbw_xmm_xmmm128 => Exec::Handler(full::<UnpackHBW>);
    Punpckhwd_xmm_xmmm128 => Exec::Handler(full::<UnpackHWD>);
    Punpckhdq_xmm_xmmm128 => Exec::Handler(full::<UnpackHDQ>);
    Punpckhqdq_xmm_xmmm128 => Exec::Handler(full::<UnpackHQDQ>);
    Unpcklps_xmm_xmmm128 => Exec::Handler(full::<UnpackLDQ>);
    Unpckhps_xmm_xmmm128 => Exec::Handler(full::<UnpackHDQ>);
    Unpcklpd_xmm_xmmm128 => Exec::Handler(full::<UnpackLQDQ>);
    Unpckhpd_xmm_xmmm128 => Exec::Handler(full::<UnpackHQDQ>);
    Packsswb_xmm_xmmm128 => Exec::Handler(full::<PackSSWB>);
    Packuswb_xmm_xmmm128 => Exec::Handler(full::<PackUSWB>);
    Packssdw_xmm_xmmm128 => Exec::Handler(full::<PackSSDW>);
    Pshufd_xmm_xmmm128_imm8 => Exec::Handler(full::<ShufD>);
    Pshuflw_xmm_xmmm128_imm8 => Exec::Handler(full::<ShufLW>);
    Pshufhw_xmm_xmmm128_imm8 => Exec::Handler(full::<ShufHW>);
    Shufps_xmm_xmmm128_imm8 => Exec::Handler(full::<ShufPS>);
    Shufpd_xmm_xmmm128_imm8 => Exec::Handler(full::<ShufPD>);
};

#[cfg(all(test, target_arch = "x86_64"))]
mod tests {
    use super::*;
    use crate::isa::vector::Pure;

    /// The host's instruction does what the table says, on numbers from ends and middle of each width.
    fn check<P: Pure>(name: &str) {
        let some =
            [0, 1, 3, 15, 16, 31, 32, 63, 64, 65, 127, 128, 200, 255, 0x7fff, 0x8000, 0x8001];
        let more =
            [0xffff, 0x7fff_ffff, 0x8000_0000, 0xffff_ffff, 0x80ff_7f01, u64::MAX >> 1, 1 << 63];
        let all: Vec<u64> = some.into_iter().chain(more).flat_map(|v| [v, !v]).collect();
        let wide = |k: usize| {
            let [a, b, c] = [k, 3 * k + 1, 5 * k + 2].map(|k| all[k % all.len()]);
            (a.rotate_left(k as u32 & 48) as u128) << 64 | (b ^ c << 7) as u128
        };
        for (a, b) in (0..200).flat_map(|a| (0..all.len() * 4).map(move |b| (wide(a), b))) {
            // Shifts have small counts.
            let b = if b & 1 == 0 { wide(b) } else { all[b % all.len()] as u128 };
            assert_eq!(P::run(a, b, 0), P::definition(a, b, 0), "{name} {a:x} {b:x}");
        }
    }

    macro_rules! check {
        ($($name:ident)*) => { $(check::<$name>(stringify!($name));)* };
    }

    #[test]
    fn host_agrees() {
        check! {
            AddB AddW AddD AddSB AddSW AddUSB AddUSW SubB SubW SubD
            SubSB SubSW SubUSB SubUSW MulLW MulHW MulHUW MulUDQ MulAddWD SadBW
            AvgB AvgW MinUB MaxUB MinSW MaxSW CmpEqB CmpEqW CmpEqD CmpGtB
            CmpGtW CmpGtD SllW SllD SllQ SrlW SrlD SrlQ SraW SraD
            UnpackLBW UnpackLWD UnpackLDQ UnpackLQDQ UnpackHBW UnpackHWD UnpackHDQ UnpackHQDQ PackSSWB PackUSWB
            PackSSDW
        }
    }
}
