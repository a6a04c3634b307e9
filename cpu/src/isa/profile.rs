//! Handlers for what runs most often: operations whose operands are in certain registers, and pairs of
//! operations in a row.
//!
//! Two things cost an interpreter most. One is the time that a register's value takes from a store to the
//! next load: handlers that know which [pinned registers](crate::dispatch::PINNED) their operands are in
//! need not wait. The other is the indirect jump from one handler to the next: a processor remembers the
//! targets of some thousand of them, and a kernel at work has more. A pair has one less, and every variant
//! is a place of its own to jump from. There are too many combinations to have them all, so a profile says
//! which. Rows of up to four operations with these very operands come first (`profile_rows.rs`): the compiler
//! then knows every place in the processor's state and keeps what one operation leaves to the next in the
//! host's registers. What is in no row has the pairs and the variants by classes of operands
//! (`profile_table.rs`).

use super::alu::{RegRm, RmImm, RmReg, op::*};
use super::bits::{Bswap, Cmov, Set};
use super::branch::{Call, CallRm, Jcc, Jmp, JmpRm, Ret};
use super::fuse::{Arithmetic, Compare, CompareLoad, FromByte, FromDisp, FromReg};
use super::moves::{Extend, Lea, MovRegRm, MovRmImm, MovRmReg, PopReg, Push};
use super::profile_rows::with_rows;
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
use crate::dispatch::{
    Handler, Sem, class, four, handler, handler_of, linked, pair, three, two, uses,
};
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
    classes: u64,
}

/// A variant of one handler.
struct Single {
    general: Handler,
    /// The registers that it has to do with, see [`uses`].
    used: u32,
    classes: u64,
    handler: Handler,
}

/// Up to four operations in a row whose operands are all known, and the handler that does them.
struct Row {
    /// The handler for any operands, the registers that it has to do with, what is known.
    members: &'static [(Handler, u32, u64)],
    handler: Handler,
}

/// The handler of a pair.
struct Pair {
    first: (Handler, u64),
    second: (Handler, u64),
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
    pub(super) const PAGE: u8 = slot::VBASE;
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
}

static ROWS: &[Row] = with_rows!(rows);
static SINGLES: &[Single] = with_singles!(singles);
static PAIRS: &[Pair] = with_pairs!(pairs);

/// Operations in one [`Row`] at most.
const LONGEST: usize = 4;

/// The tables, for look-up.
struct Tables {
    /// Handlers for any operands, and what they use.
    used: BTreeMap<usize, u32>,
    singles: BTreeMap<Kind, Handler>,
    /// The handlers of a pair: with a link by `d`, by `s`, by `b`, and without.
    pairs: BTreeMap<(Kind, Kind), [Option<Handler>; LINKS.len()]>,
    /// How long rows are that begin with an operation, at most.
    heads: BTreeMap<Kind, usize>,
    /// The handlers of rows; short ones are filled up.
    rows: BTreeMap<[Kind; LONGEST], Handler>,
}

const LINKS: [u32; 4] = [D, S, B, NONE];

/// No operation.
const NO_KIND: Kind = Kind { handler: 0, classes: 0 };

fn kind((handler, classes): (Handler, u64)) -> Kind {
    Kind { handler: handler as usize, classes }
}

/// What an operation is in the two ways in which the tables tell operations apart.
#[derive(Clone, Copy)]
struct Kinds {
    /// By the classes of its operands.
    broad: Kind,
    /// By its operands.
    exact: Kind,
}

fn tables() -> &'static Tables {
    static TABLES: OnceLock<Tables> = OnceLock::new();
    TABLES.get_or_init(|| {
        let mut used: BTreeMap<_, _> =
            SINGLES.iter().map(|s| (s.general as usize, s.used)).collect();
        let single = |s: &Single| (kind((s.general, s.classes)), s.handler);
        let singles = SINGLES.iter().map(single).collect();
        let mut pairs = BTreeMap::<_, [_; LINKS.len()]>::default();
        for p in PAIRS {
            let by_link = pairs.entry((kind(p.first), kind(p.second))).or_default();
            if let Some(k) = LINKS.iter().position(|l| *l == p.link) {
                by_link[k] = Some(p.handler);
            }
        }
        let (mut heads, mut rows) = (BTreeMap::new(), BTreeMap::new());
        for row in ROWS {
            let mut key = [NO_KIND; LONGEST];
            for (k, &(handler, uses, known)) in row.members.iter().enumerate() {
                used.insert(handler as usize, uses);
                key[k] = kind((handler, known));
            }
            let longest = heads.entry(key[0]).or_default();
            *longest = row.members.len().max(*longest);
            rows.insert(key, row.handler);
        }
        Tables { used, singles, pairs, heads, rows }
    })
}

impl Tables {
    /// The kinds of an operation, if it is one of the tables'.
    fn kinds(&self, op: &Op) -> Option<Kinds> {
        let handler = op.f as usize;
        let used = *self.used.get(&handler)?;
        let offsets = [op.d, op.s, op.b, op.x];
        let [a, b] = class::operands(used).map(|k| match used & (uses::D << k) {
            0 => class::MEMORY,
            _ => class::of(offsets[k as usize]),
        });
        let broad = Kind { handler, classes: class::code(used, a, b) };
        let exact = class::exact(used, [op.d, op.s, op.b, op.x, op.sc]);
        Some(Kinds { broad, exact: Kind { handler, classes: exact } })
    }

    /// The handler of the operation alone.
    fn single(&self, kinds: Kinds) -> Option<Handler> {
        let row = self.row(&[Some(kinds)]).map(|(h, _)| h);
        row.or_else(|| self.singles.get(&kinds.broad).copied())
    }

    /// The longest row at the begin of these operations: its handler and its length.
    fn row(&self, kinds: &[Option<Kinds>]) -> Option<(Handler, usize)> {
        let exact = |k: usize| kinds.get(k).copied().flatten().map(|k| k.exact);
        let longest = *self.heads.get(&exact(0)?)?;
        let mut key = [NO_KIND; LONGEST];
        let known = (0..longest.min(kinds.len())).take_while(|&k| match exact(k) {
            Some(kind) => {
                key[k] = kind;
                true
            }
            None => false,
        });
        let known = known.count();
        (1..=known).rev().find_map(|n| {
            key[n..].fill(NO_KIND);
            self.rows.get(&key).map(|h| (*h, n))
        })
    }

    /// The handler of two operations: the one with a link, if there is one that holds.
    fn pair(&self, kinds: (Kind, Kind), first: &Op, second: &Op) -> Option<Handler> {
        let by_link = self.pairs.get(&kinds)?;
        let holds = |link| link == NONE || linked(second, link) == first.d;
        LINKS.into_iter().zip(by_link).find_map(|(link, h)| h.filter(|_| holds(link)))
    }

    /// The handler for the begin of these operations, and how many it does.
    fn best(&self, ops: &[Op], kinds: &[Option<Kinds>]) -> Option<(Handler, usize)> {
        let row = self.row(kinds);
        if row.is_some_and(|(_, n)| n > 1) {
            return row;
        }
        let first = (*kinds.first()?)?;
        let second = kinds.get(1).copied().flatten();
        let pair = second.and_then(|k| self.pair((first.broad, k.broad), &ops[0], &ops[1]));
        pair.map(|h| (h, 2)).or(row).or_else(|| self.single(first).map(|h| (h, 1)))
    }
}

/// Gives the operations of a block the handlers for their operands, and joins them in rows from the block's
/// begin. All keep a handler of their own, for what stops between them.
pub fn specialise(ops: &mut [Op]) {
    let tables = tables();
    let kinds: Vec<_> = ops.iter().map(|op| tables.kinds(op)).collect();
    let mut covered = 0;
    for k in 0..ops.len() {
        let Some(own) = kinds[k] else {
            covered = 0;
            continue;
        };
        let best = if covered == 0 { tables.best(&ops[k..], &kinds[k..]) } else { None };
        covered = best.map_or(covered.max(1), |(_, n)| n) - 1;
        if let Some(handler) = best.map(|(h, _)| h).or_else(|| tables.single(own)) {
            ops[k].f = handler;
        }
    }
}
