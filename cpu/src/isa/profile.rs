//! Handlers for what runs most often: operations whose operands are in certain registers, and pairs of
//! operations in a row.
//!
//! Two things cost an interpreter most. One is the time that a register's value takes from a store to the
//! next load: handlers that know which [pinned registers](crate::dispatch::PINNED) their operands are in
//! need not wait. The other is the indirect jump from one handler to the next: a processor remembers the
//! targets of some thousand of them, and a kernel at work has more. A pair has one less, and every variant
//! is a place of its own to jump from. There are too many combinations to have them all, so a profile says
//! which: `profile_table.rs`.

use super::alu::{RegRm, RmImm, RmReg, op::*};
use super::bits::{Bswap, Cmov, Set};
use super::branch::{Call, CallRm, Jcc, Jmp, JmpRm, Ret};
use super::fuse::{Arithmetic, Compare, CompareLoad, FromByte, FromDisp, FromReg};
use super::moves::{Extend, Lea, MovRegRm, MovRmImm, MovRmReg, PopReg, Push};
use super::profile_table::{with_pairs, with_singles};
use super::rm::{Memory, RegD, RegS};
use super::shift::{ROL, ROR, SAR, SHL, SHR, Shift};
use super::sse_float::{Add, Div, Max, Mul, Packed, Scalar, Sqrt, Sub};
use super::sse_moves::Take;
use super::unary::{DEC, INC, ImulRegRm, NEG, NOT, Unary};
use super::usual::Fast;
use super::vector::{Binary, BinaryFp, Full, Narrow, StoreFull, StoreNarrow, Xmm};
use super::x87;
use super::x87_usual::{Arith, ArithM, Duplicate, Exchange, Float};
use crate::dispatch::{Handler, Sem, class, handler, handler_of, linked, pair, uses};
use crate::mem::{Base, General, Index};
use crate::op::Op;
use std::collections::BTreeMap;
use std::sync::OnceLock;

type Mb = Memory<Base>;
type Mi = Memory<Index>;
type Mg = Memory<General>;

const NONE: u32 = 0;
const D: u32 = uses::D;
const S: u32 = uses::S;
const B: u32 = uses::B;

/// An operation on operands of certain classes: the handler that takes any, and the classes.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
struct Kind {
    handler: usize,
    classes: u16,
}

/// A variant of one handler.
struct Single {
    general: Handler,
    /// The registers that it has to do with, see [`uses`].
    used: u32,
    classes: u16,
    handler: Handler,
}

/// The handler of a pair.
struct Pair {
    first: (Handler, u16),
    second: (Handler, u16),
    /// See [`pair`].
    link: u32,
    handler: Handler,
}

macro_rules! used {
    ($s:ty) => {
        <$s as Sem>::READS | <$s as Sem>::SETS
    };
}

macro_rules! classes {
    ($s:ty, $a:literal, $b:literal) => {
        class::code(used!($s), $a, $b)
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

static SINGLES: &[Single] = with_singles!(singles);
static PAIRS: &[Pair] = with_pairs!(pairs);

/// The tables, for look-up.
struct Tables {
    /// Handlers for any operands, and what they use.
    used: BTreeMap<usize, u32>,
    singles: BTreeMap<Kind, Handler>,
    /// The handlers of a pair: with a link by `d`, by `s`, by `b`, and without.
    pairs: BTreeMap<(Kind, Kind), [Option<Handler>; LINKS.len()]>,
}

const LINKS: [u32; 4] = [D, S, B, NONE];

fn kind((handler, classes): (Handler, u16)) -> Kind {
    Kind { handler: handler as usize, classes }
}

fn tables() -> &'static Tables {
    static TABLES: OnceLock<Tables> = OnceLock::new();
    TABLES.get_or_init(|| {
        let used = SINGLES.iter().map(|s| (s.general as usize, s.used)).collect();
        let single = |s: &Single| (kind((s.general, s.classes)), s.handler);
        let singles = SINGLES.iter().map(single).collect();
        let mut pairs = BTreeMap::<_, [_; LINKS.len()]>::default();
        for p in PAIRS {
            let by_link = pairs.entry((kind(p.first), kind(p.second))).or_default();
            if let Some(k) = LINKS.iter().position(|l| *l == p.link) {
                by_link[k] = Some(p.handler);
            }
        }
        Tables { used, singles, pairs }
    })
}

impl Tables {
    /// The kind of an operation, if it is one of the table's.
    fn kind(&self, op: &Op) -> Option<Kind> {
        let handler = op.f as usize;
        let used = *self.used.get(&handler)?;
        let offsets = [op.d, op.s, op.b, op.x];
        let [a, b] = class::operands(used).map(|k| match used & (uses::D << k) {
            0 => class::MEMORY,
            _ => class::of(offsets[k as usize]),
        });
        Some(Kind { handler, classes: class::code(used, a, b) })
    }

    fn single(&self, kind: Kind) -> Option<Handler> {
        self.singles.get(&kind).copied()
    }

    /// The handler of two operations: the one with a link, if there is one that holds.
    fn pair(&self, kinds: (Kind, Kind), first: &Op, second: &Op) -> Option<Handler> {
        let by_link = self.pairs.get(&kinds)?;
        let holds = |link| link == NONE || linked(second, link) == first.d;
        LINKS.into_iter().zip(by_link).find_map(|(link, h)| h.filter(|_| holds(link)))
    }
}

/// Gives the operations of a block the handlers for their registers, and joins them in pairs from the
/// block's begin.
pub fn specialise(ops: &mut [Op]) {
    let tables = tables();
    let kinds: Vec<_> = ops.iter().map(|op| tables.kind(op)).collect();
    let mut paired = false;
    for k in 0..ops.len() {
        let Some(kind) = kinds[k] else {
            paired = false;
            continue;
        };
        let next = kinds.get(k + 1).copied().flatten().filter(|_| !paired);
        let both = next.and_then(|next| tables.pair((kind, next), &ops[k], &ops[k + 1]));
        paired = both.is_some();
        if let Some(handler) = both.or_else(|| tables.single(kind)) {
            ops[k].f = handler;
        }
    }
}
