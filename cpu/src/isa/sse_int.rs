//! SSE2 integer arithmetic, comparisons, logic, shifts, packing and shuffles; the marker types serve
//! MMX and AVX too.

use super::vector::{Lane, build, by_imm, each, full, hot, lane_of, lanes, merge, pure};
use super::{Form, Make, forms};
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
    AddB(a, b, _i) => lanes::<u8>(a, b, u8::wrapping_add);
    AddW(a, b, _i) => lanes::<u16>(a, b, u16::wrapping_add);
    AddD(a, b, _i) => lanes::<u32>(a, b, u32::wrapping_add);
    AddQ(a, b, _i) => lanes::<u64>(a, b, u64::wrapping_add);
    AddSB(a, b, _i) => lanes::<i8>(a, b, i8::saturating_add);
    AddSW(a, b, _i) => lanes::<i16>(a, b, i16::saturating_add);
    AddUSB(a, b, _i) => lanes::<u8>(a, b, u8::saturating_add);
    AddUSW(a, b, _i) => lanes::<u16>(a, b, u16::saturating_add);
    SubB(a, b, _i) => lanes::<u8>(a, b, u8::wrapping_sub);
    SubW(a, b, _i) => lanes::<u16>(a, b, u16::wrapping_sub);
    SubD(a, b, _i) => lanes::<u32>(a, b, u32::wrapping_sub);
    SubQ(a, b, _i) => lanes::<u64>(a, b, u64::wrapping_sub);
    SubSB(a, b, _i) => lanes::<i8>(a, b, i8::saturating_sub);
    SubSW(a, b, _i) => lanes::<i16>(a, b, i16::saturating_sub);
    SubUSB(a, b, _i) => lanes::<u8>(a, b, u8::saturating_sub);
    SubUSW(a, b, _i) => lanes::<u16>(a, b, u16::saturating_sub);
    MulLW(a, b, _i) => lanes::<u16>(a, b, u16::wrapping_mul);
    MulHW(a, b, _i) => lanes::<i16>(a, b, |x, y| ((x as i32 * y as i32) >> 16) as i16);
    MulHUW(a, b, _i) => lanes::<u16>(a, b, |x, y| ((x as u32 * y as u32) >> 16) as u16);
    MulUDQ(a, b, _i) => lanes::<u64>(a, b, |x, y| x as u32 as u64 * (y as u32 as u64));
    MulAddWD(a, b, _i) => multiply_add(a, b);
    SadBW(a, b, _i) => sum_of_differences(a, b);
    AvgB(a, b, _i) => lanes::<u8>(a, b, |x, y| ((x as u16 + y as u16 + 1) >> 1) as u8);
    AvgW(a, b, _i) => lanes::<u16>(a, b, |x, y| ((x as u32 + y as u32 + 1) >> 1) as u16);
    MinUB(a, b, _i) => lanes::<u8>(a, b, u8::min);
    MaxUB(a, b, _i) => lanes::<u8>(a, b, u8::max);
    MinSW(a, b, _i) => lanes::<i16>(a, b, i16::min);
    MaxSW(a, b, _i) => lanes::<i16>(a, b, i16::max);
    CmpEqB(a, b, _i) => lanes::<u8>(a, b, |x, y| all_ones(x == y));
    CmpEqW(a, b, _i) => lanes::<u16>(a, b, |x, y| all_ones(x == y));
    CmpEqD(a, b, _i) => lanes::<u32>(a, b, |x, y| all_ones(x == y));
    CmpGtB(a, b, _i) => lanes::<u8>(a, b, |x, y| all_ones(x as i8 > y as i8));
    CmpGtW(a, b, _i) => lanes::<u16>(a, b, |x, y| all_ones(x as i16 > y as i16));
    CmpGtD(a, b, _i) => lanes::<u32>(a, b, |x, y| all_ones(x as i32 > y as i32));
    SllW(a, b, _i) => shift::<u16>(a, b as u64, |x, n| x << n);
    SllD(a, b, _i) => shift::<u32>(a, b as u64, |x, n| x << n);
    SllQ(a, b, _i) => shift::<u64>(a, b as u64, |x, n| x << n);
    SrlW(a, b, _i) => shift::<u16>(a, b as u64, |x, n| x >> n);
    SrlD(a, b, _i) => shift::<u32>(a, b as u64, |x, n| x >> n);
    SrlQ(a, b, _i) => shift::<u64>(a, b as u64, |x, n| x >> n);
    SraW(a, b, _i) => shift_signed::<u16>(a, b as u64);
    SraD(a, b, _i) => shift_signed::<u32>(a, b as u64);
    SllDQ(a, b, _i) => bytes(a, b, true);
    SrlDQ(a, b, _i) => bytes(a, b, false);
    UnpackLBW(a, b, _i) => unpack::<u8>(a, b, 0);
    UnpackLWD(a, b, _i) => unpack::<u16>(a, b, 0);
    UnpackLDQ(a, b, _i) => unpack::<u32>(a, b, 0);
    UnpackLQDQ(a, b, _i) => unpack::<u64>(a, b, 0);
    UnpackHBW(a, b, _i) => unpack::<u8>(a, b, 1);
    UnpackHWD(a, b, _i) => unpack::<u16>(a, b, 1);
    UnpackHDQ(a, b, _i) => unpack::<u32>(a, b, 1);
    UnpackHQDQ(a, b, _i) => unpack::<u64>(a, b, 1);
    PackSSWB(a, b, _i) => pack(a, b, |x: i16| x.clamp(-128, 127) as i8);
    PackUSWB(a, b, _i) => pack(a, b, |x: i16| x.clamp(0, 255) as u8);
    PackSSDW(a, b, _i) => pack(a, b, |x: i32| x.clamp(-32768, 32767) as i16);
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
pub const FORMS: &[Form] = forms! {
    Pand_xmm_xmmm128 => Make::Typed(hot::<And>);
    Andps_xmm_xmmm128 => Make::Typed(hot::<And>);
    Andpd_xmm_xmmm128 => Make::Typed(hot::<And>);
    Pandn_xmm_xmmm128 => Make::Typed(full::<AndNot>);
    Andnps_xmm_xmmm128 => Make::Typed(full::<AndNot>);
    Andnpd_xmm_xmmm128 => Make::Typed(full::<AndNot>);
    Por_xmm_xmmm128 => Make::Typed(hot::<Or>);
    Orps_xmm_xmmm128 => Make::Typed(hot::<Or>);
    Orpd_xmm_xmmm128 => Make::Typed(hot::<Or>);
    Pxor_xmm_xmmm128 => Make::Typed(hot::<Xor>);
    Xorps_xmm_xmmm128 => Make::Typed(hot::<Xor>);
    Xorpd_xmm_xmmm128 => Make::Typed(hot::<Xor>);
    Paddb_xmm_xmmm128 => Make::Typed(full::<AddB>);
    Paddw_xmm_xmmm128 => Make::Typed(full::<AddW>);
    Paddd_xmm_xmmm128 => Make::Typed(full::<AddD>);
    Paddq_xmm_xmmm128 => Make::Typed(full::<AddQ>);
    Paddsb_xmm_xmmm128 => Make::Typed(full::<AddSB>);
    Paddsw_xmm_xmmm128 => Make::Typed(full::<AddSW>);
    Paddusb_xmm_xmmm128 => Make::Typed(full::<AddUSB>);
    Paddusw_xmm_xmmm128 => Make::Typed(full::<AddUSW>);
    Psubb_xmm_xmmm128 => Make::Typed(full::<SubB>);
    Psubw_xmm_xmmm128 => Make::Typed(full::<SubW>);
    Psubd_xmm_xmmm128 => Make::Typed(full::<SubD>);
    Psubq_xmm_xmmm128 => Make::Typed(full::<SubQ>);
    Psubsb_xmm_xmmm128 => Make::Typed(full::<SubSB>);
    Psubsw_xmm_xmmm128 => Make::Typed(full::<SubSW>);
    Psubusb_xmm_xmmm128 => Make::Typed(full::<SubUSB>);
    Psubusw_xmm_xmmm128 => Make::Typed(full::<SubUSW>);
    Pmullw_xmm_xmmm128 => Make::Typed(full::<MulLW>);
    Pmulhw_xmm_xmmm128 => Make::Typed(full::<MulHW>);
    Pmulhuw_xmm_xmmm128 => Make::Typed(full::<MulHUW>);
    Pmuludq_xmm_xmmm128 => Make::Typed(full::<MulUDQ>);
    Pmaddwd_xmm_xmmm128 => Make::Typed(full::<MulAddWD>);
    Psadbw_xmm_xmmm128 => Make::Typed(full::<SadBW>);
    Pavgb_xmm_xmmm128 => Make::Typed(full::<AvgB>);
    Pavgw_xmm_xmmm128 => Make::Typed(full::<AvgW>);
    Pminub_xmm_xmmm128 => Make::Typed(full::<MinUB>);
    Pmaxub_xmm_xmmm128 => Make::Typed(full::<MaxUB>);
    Pminsw_xmm_xmmm128 => Make::Typed(full::<MinSW>);
    Pmaxsw_xmm_xmmm128 => Make::Typed(full::<MaxSW>);
    Pcmpeqb_xmm_xmmm128 => Make::Typed(hot::<CmpEqB>);
    Pcmpeqw_xmm_xmmm128 => Make::Typed(full::<CmpEqW>);
    Pcmpeqd_xmm_xmmm128 => Make::Typed(full::<CmpEqD>);
    Pcmpgtb_xmm_xmmm128 => Make::Typed(full::<CmpGtB>);
    Pcmpgtw_xmm_xmmm128 => Make::Typed(full::<CmpGtW>);
    Pcmpgtd_xmm_xmmm128 => Make::Typed(full::<CmpGtD>);
    Psllw_xmm_xmmm128 => Make::Typed(full::<SllW>);
    Pslld_xmm_xmmm128 => Make::Typed(full::<SllD>);
    Psllq_xmm_xmmm128 => Make::Typed(full::<SllQ>);
    Psrlw_xmm_xmmm128 => Make::Typed(full::<SrlW>);
    Psrld_xmm_xmmm128 => Make::Typed(full::<SrlD>);
    Psrlq_xmm_xmmm128 => Make::Typed(full::<SrlQ>);
    Psraw_xmm_xmmm128 => Make::Typed(full::<SraW>);
    Psrad_xmm_xmmm128 => Make::Typed(full::<SraD>);
    Psllw_xmm_imm8 => Make::Typed(by_imm::<SllW>);
    Pslld_xmm_imm8 => Make::Typed(by_imm::<SllD>);
    Psllq_xmm_imm8 => Make::Typed(by_imm::<SllQ>);
    Psrlw_xmm_imm8 => Make::Typed(by_imm::<SrlW>);
    Psrld_xmm_imm8 => Make::Typed(by_imm::<SrlD>);
    Psrlq_xmm_imm8 => Make::Typed(by_imm::<SrlQ>);
    Psraw_xmm_imm8 => Make::Typed(by_imm::<SraW>);
    Psrad_xmm_imm8 => Make::Typed(by_imm::<SraD>);
    Pslldq_xmm_imm8 => Make::Typed(by_imm::<SllDQ>);
    Psrldq_xmm_imm8 => Make::Typed(by_imm::<SrlDQ>);
    Punpcklbw_xmm_xmmm128 => Make::Typed(full::<UnpackLBW>);
    Punpcklwd_xmm_xmmm128 => Make::Typed(full::<UnpackLWD>);
    Punpckldq_xmm_xmmm128 => Make::Typed(full::<UnpackLDQ>);
    Punpcklqdq_xmm_xmmm128 => Make::Typed(full::<UnpackLQDQ>);
    Punpckhbw_xmm_xmmm128 => Make::Typed(full::<UnpackHBW>);
    Punpckhwd_xmm_xmmm128 => Make::Typed(full::<UnpackHWD>);
    Punpckhdq_xmm_xmmm128 => Make::Typed(full::<UnpackHDQ>);
    Punpckhqdq_xmm_xmmm128 => Make::Typed(full::<UnpackHQDQ>);
    Unpcklps_xmm_xmmm128 => Make::Typed(full::<UnpackLDQ>);
    Unpckhps_xmm_xmmm128 => Make::Typed(full::<UnpackHDQ>);
    Unpcklpd_xmm_xmmm128 => Make::Typed(full::<UnpackLQDQ>);
    Unpckhpd_xmm_xmmm128 => Make::Typed(full::<UnpackHQDQ>);
    Packsswb_xmm_xmmm128 => Make::Typed(full::<PackSSWB>);
    Packuswb_xmm_xmmm128 => Make::Typed(full::<PackUSWB>);
    Packssdw_xmm_xmmm128 => Make::Typed(full::<PackSSDW>);
    Pshufd_xmm_xmmm128_imm8 => Make::Typed(full::<ShufD>);
    Pshuflw_xmm_xmmm128_imm8 => Make::Typed(full::<ShufLW>);
    Pshufhw_xmm_xmmm128_imm8 => Make::Typed(full::<ShufHW>);
    Shufps_xmm_xmmm128_imm8 => Make::Typed(full::<ShufPS>);
    Shufpd_xmm_xmmm128_imm8 => Make::Typed(full::<ShufPD>);
};
