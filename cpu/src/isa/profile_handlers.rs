//! The handlers of the tables [`super::profile_rows`] and [`super::profile_table`].

use super::alu::{RegRm, RmImm, RmReg, op::*};
use super::bits::{Bswap, Cmov, Set};
use super::branch::{Call, CallRm, Jcc, Jmp, JmpRm, Ret};
use super::fast_path::Fast;
use super::fuse::{Arithmetic, Compare, CompareLoad, FromByte, FromDisp, FromReg};
use super::misc::Nop;
use super::moves::{Extend, Lea, MovRegRm, MovRmImm, MovRmReg, PopReg, Push};
use super::profile::{Pair, Row, Single};
use super::profile_rows::{with_rows, with_types};
use super::profile_table::{with_pairs, with_singles};
use super::rm::{Memory, RegD, RegS};
use super::shift::{ROL, ROR, SAR, SHL, SHR, Shift};
use super::sse_float::{Add, Div, Max, Mul, Packed, Scalar, Sqrt, Sub};
use super::sse_moves::Take;
use super::unary::{DEC, INC, ImulRegRm, NEG, NOT, Unary};
use super::vector::{Binary, BinaryFp, Full, Narrow, StoreFull, StoreNarrow, Xmm};
use super::x87;
use super::x87_compare::Fcomi;
use super::x87_fast::{Arith, ArithM, Duplicate, Exchange, Float};
use crate::dispatch::{
    Semantics, class, eight, five, four, handler, handler_of, pair, seven, six, three, two, uses,
};
use crate::mem::{Base, General, Index};

type Mb = Memory<Base>;
type Mi = Memory<Index>;
type Mg = Memory<General>;

const NONE: u32 = 0;
const D: u32 = uses::DST;
const S: u32 = uses::SRC;
const B: u32 = uses::BASE;

macro_rules! used {
    ($s:ty) => {
        <$s as Semantics>::READS | <$s as Semantics>::SETS
    };
}

macro_rules! classes {
    ($s:ty, $a:literal, $b:literal) => {
        class::code(used!($s), class::numbered($a), class::numbered($b))
    };
}

macro_rules! singles {
    ($($s:ty: $([$a:literal $b:literal])*;)*) => {
        &[$($(Single {
            general: handler::<$s>(),
            used: used!($s),
            classes: classes!($s, $a, $b),
            handler: handler_of::<$s, { classes!($s, $a, $b) }>(),
        },)*)*]
    };
}

macro_rules! pairs {
    ($($s:ty [$a:literal $b:literal], $t:ty [$c:literal $d:literal], $link:ident;)*) => {
        &[$(Pair {
            first: (handler::<$s>(), classes!($s, $a, $b)),
            second: (handler::<$t>(), classes!($t, $c, $d)),
            link: $link,
            handler: pair::<$s, $t, { classes!($s, $a, $b) }, { classes!($t, $c, $d) }, { $link }>(),
        },)*]
    };
}

macro_rules! exact {
    ($s:ty, $d:ident $s_:ident $b:ident $x:ident $scale:literal) => {
        class::exact(used!($s), [field::$d, field::$s_, field::$b, field::$x, $scale])
    };
}

/// What an operand is in the table of rows: a register by its place in [`crate::Cpu`].
#[allow(dead_code, reason = "which of them the table has, the profile says")]
mod field {
    use crate::op::slot;

    pub(super) const RAX: u8 = 0;
    pub(super) const RCX: u8 = 8;
    pub(super) const RDX: u8 = 16;
    pub(super) const RBX: u8 = 24;
    pub(super) const RSP: u8 = 32;
    pub(super) const RBP: u8 = 40;
    pub(super) const RSI: u8 = 48;
    pub(super) const RDI: u8 = 56;
    pub(super) const R8: u8 = 64;
    pub(super) const R9: u8 = 72;
    pub(super) const R10: u8 = 80;
    pub(super) const R11: u8 = 88;
    pub(super) const R12: u8 = 96;
    pub(super) const R13: u8 = 104;
    pub(super) const R14: u8 = 112;
    pub(super) const R15: u8 = 120;
    pub(super) const AH: u8 = 1;
    pub(super) const CH: u8 = 9;
    pub(super) const DH: u8 = 17;
    pub(super) const BH: u8 = 25;
    pub(super) const NIL: u8 = slot::ZERO;
    /// Vector register or ST(i) number `N`.
    macro_rules! vector {
        ($($name:ident $n:literal)*) => {$( pub(super) const $name: u8 = 16 * $n; )*};
    }
    vector! { V0 0 V1 1 V2 2 V3 3 V4 4 V5 5 V6 6 V7 7 V8 8 V9 9 V10 10 V11 11 V12 12 V13 13 V14 14 V15 15 }
    pub(super) const PAGE: u8 = slot::PAGE_BASE;
    /// None, or any.
    pub(super) const XX: u8 = crate::dispatch::class::ANY;
}

macro_rules! rows {
    ($($($s:ty [$d:ident $s_:ident $b:ident $x:ident $scale:literal]),+;)*) => {
        &[$(Row {
            members: &[$((
                handler::<$s>(),
                used!($s),
                exact!($s, $d $s_ $b $x $scale),
            )),+],
            handler: row!($($s, { exact!($s, $d $s_ $b $x $scale) });+),
        },)*]
    };
}

macro_rules! types {
    ($($($s:ty),+;)*) => {
        &[$(Row {
            members: &[$((handler::<$s>(), used!($s), class::UNKNOWN)),+],
            handler: row!($($s, { class::UNKNOWN });+),
        },)*]
    };
}

macro_rules! row {
    ($a:ty, $c:block) => {
        handler_of::<$a, $c>()
    };
    ($a:ty, $ca:block; $b:ty, $cb:block) => {
        two::<$a, $b, $ca, $cb>()
    };
    ($a:ty, $ca:block; $b:ty, $cb:block; $d:ty, $cd:block) => {
        three::<$a, $b, $d, $ca, $cb, $cd>()
    };
    ($a:ty, $ca:block; $b:ty, $cb:block; $d:ty, $cd:block; $e:ty, $ce:block) => {
        four::<$a, $b, $d, $e, $ca, $cb, $cd, $ce>()
    };
    ($a:ty, $ca:block; $b:ty, $cb:block; $d:ty, $cd:block; $e:ty, $ce:block; $f:ty, $cf:block) => {
        five::<$a, $b, $d, $e, $f, $ca, $cb, $cd, $ce, $cf>()
    };
    ($a:ty, $ca:block; $b:ty, $cb:block; $d:ty, $cd:block; $e:ty, $ce:block; $f:ty, $cf:block;
     $g:ty, $cg:block) => {
        six::<$a, $b, $d, $e, $f, $g, $ca, $cb, $cd, $ce, $cf, $cg>()
    };
    ($a:ty, $ca:block; $b:ty, $cb:block; $d:ty, $cd:block; $e:ty, $ce:block; $f:ty, $cf:block;
     $g:ty, $cg:block; $h:ty, $ch:block) => {
        seven::<$a, $b, $d, $e, $f, $g, $h, $ca, $cb, $cd, $ce, $cf, $cg, $ch>()
    };
    ($a:ty, $ca:block; $b:ty, $cb:block; $d:ty, $cd:block; $e:ty, $ce:block; $f:ty, $cf:block;
     $g:ty, $cg:block; $h:ty, $ch:block; $i:ty, $ci:block) => {
        eight::<$a, $b, $d, $e, $f, $g, $h, $i, $ca, $cb, $cd, $ce, $cf, $cg, $ch, $ci>()
    };
}

pub(super) static ROWS: &[Row] = with_rows!(rows);
pub(super) static TYPES: &[Row] = with_types!(types);
pub(super) static SINGLES: &[Single] = with_singles!(singles);
pub(super) static PAIRS: &[Pair] = with_pairs!(pairs);
