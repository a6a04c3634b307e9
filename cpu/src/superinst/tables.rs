//! The tables of superinstructions, as the build script (`cpu/superinst/expand`) makes them of `cpu/superinst/*.txt`.

use super::{Member, Promises, Superinst, Type};
use crate::dispatch::sequence::{At, Sequence};
use crate::dispatch::uses::{BASE, DST, SRC};
use crate::dispatch::{Semantics, class};
use crate::isa::alu::{RegRm, RmImm, RmReg, op::*};
use crate::isa::bits::{Bswap, Cmov, Set};
use crate::isa::branch::{Call, CallRm, Jcc, Jmp, JmpRm, Ret};
use crate::isa::fast_path::Fast;
use crate::isa::fuse::{Arithmetic, Compare, CompareLoad, FromByte, FromDisp, FromReg};
use crate::isa::misc::Nop;
use crate::isa::moves::{Extend, Lea, MovRegRm, MovRmImm, MovRmReg, PopReg, Push};
use crate::isa::rm::{Memory, RegD, RegS};
use crate::isa::shift::{ROL, ROR, SAR, SHL, SHR, Shift};
use crate::isa::sse_float::{Add, Div, Max, Mul, Packed, Scalar, Sqrt, Sub};
use crate::isa::sse_moves::Take;
use crate::isa::unary::{DEC, INC, ImulRegRm, NEG, NOT, Unary};
use crate::isa::vector::{Binary, BinaryFp, Full, Narrow, StoreFull, StoreNarrow, Xmm};
use crate::isa::x87_compare::Fcomi;
use crate::isa::x87_fast::{Arith, ArithM, Duplicate, Exchange, Float};
use crate::mem::{Base, General, Index};
use std::any::TypeId;

type Mb = Memory<Base>;
type Mi = Memory<Index>;
type Mg = Memory<General>;

/// No register links the two.
const NONE: u32 = 0;

const fn declared<S: Semantics>(template: &'static str) -> Type {
    let promises = Promises {
        reads: S::READS,
        sets: S::SETS,
        bits: S::BITS,
        kills: S::KILLS,
        preserves: S::PRESERVES,
        replayable: S::REPLAYABLE,
    };
    Type { id: TypeId::of::<S>, template, promises }
}

const fn used<S: Semantics>() -> u32 {
    S::READS | S::SETS
}

/// The type-level list of operations, of each of which are given its type, what is known and the link.
macro_rules! list {
    () => { () };
    (($s:ty, $known:expr, $link:ident) $($rest:tt)*) => {
        (At<$s, { $known }, { $link }>, list!($($rest)*))
    };
}

/// A superinstruction: its link, and of each operation the number of its type among [`TYPES`], the type, what is known
/// of its operands, and the link that it has itself.
macro_rules! superinst {
    ($link:ident; $(($number:literal, $s:ty, $fields:expr, $own:ident))+) => {
        Superinst {
            members: &[$(Member {
                number: $number,
                known: class::exact(used::<$s>(), $fields),
            }),+],
            link: $link,
            handler: <list!($(($s, class::exact(used::<$s>(), $fields), $own))+) as Sequence>::HANDLER,
        }
    };
}

include!(concat!(env!("OUT_DIR"), "/superinst.rs"));
