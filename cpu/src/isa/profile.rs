//! Handlers for what runs most often: operations whose operands are in certain registers, and pairs of
//! operations in a row.
//!
//! Two things cost an interpreter most. One is the time that a register's value takes from a store to the
//! next load: handlers that know which [pinned registers](crate::dispatch::PINNED) their operands are in
//! need not wait. The other is the indirect jump from one handler to the next: a processor remembers the
//! targets of some thousand of them, and a kernel at work has more. A pair has one less, and every variant
//! is a place of its own to jump from. There are too many combinations to have them all, so a profile says
//! which. Rows of up to eight operations with these very operands come first (`profile_rows.rs`): the compiler
//! then knows every place in the processor's state and keeps what one operation leaves to the next in the
//! host's registers. Other rows know only what the operations are, for code that is wide rather than hot: it
//! waits for mispredicted jumps more than for anything else. What is in no row has the pairs and the variants by classes of operands
//! (`profile_table.rs`).

use crate::dispatch::{Handler, class, linked, uses};
use crate::op::Op;
use rustc_hash::FxHashMap;
use std::sync::OnceLock;

const NONE: u32 = 0;
const D: u32 = uses::DST;
const S: u32 = uses::SRC;
const B: u32 = uses::BASE;

/// An operation on operands of certain classes: the handler that takes any, and the classes.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
struct Kind {
    handler: usize,
    classes: u64,
}

/// A variant of one handler.
pub(super) struct Single {
    pub(super) general: Handler,
    /// The registers that it has to do with, see [`uses`].
    pub(super) used: u32,
    pub(super) classes: u64,
    pub(super) handler: Handler,
}

/// Operations in a row, all of whose operands are known or none, and the handler that does them.
pub(super) struct Row {
    /// The handler for any operands, the registers that it has to do with, what is known.
    pub(super) members: &'static [(Handler, u32, u64)],
    pub(super) handler: Handler,
}

/// The handler of a pair.
pub(super) struct Pair {
    pub(super) first: (Handler, u64),
    pub(super) second: (Handler, u64),
    /// See `pair`.
    pub(super) link: u32,
    pub(super) handler: Handler,
}

#[cfg(not(any(debug_assertions, feature = "loop-dispatch")))]
use super::profile_handlers::{PAIRS, ROWS, SINGLES, TYPES};

/// Where dispatch is a loop, no operation has a handler of its own: the tables are left out.
#[cfg(any(debug_assertions, feature = "loop-dispatch"))]
mod empty {
    pub(super) const ROWS: &[super::Row] = &[];
    pub(super) const TYPES: &[super::Row] = &[];
    pub(super) const SINGLES: &[super::Single] = &[];
    pub(super) const PAIRS: &[super::Pair] = &[];
}
#[cfg(any(debug_assertions, feature = "loop-dispatch"))]
use empty::{PAIRS, ROWS, SINGLES, TYPES};

/// The tables, for look-up: decoding asks them several times for each operation.
struct Tables {
    /// Handlers for any operands, and what they use.
    used: FxHashMap<usize, u32>,
    singles: FxHashMap<Kind, Handler>,
    /// The handlers of a pair: with a link by `d`, by `s`, by `b`, and without.
    pairs: FxHashMap<(Kind, Kind), [Option<Handler>; LINKS.len()]>,
    rows: Tree,
}

/// Rows by what begins them: each node is the begin of some.
#[derive(Default)]
struct Tree {
    /// The nodes after a node; 0 is the empty row.
    next: FxHashMap<(usize, Kind), usize>,
    /// The handlers of the nodes that are rows.
    handlers: Vec<Option<Handler>>,
}

impl Tree {
    fn insert(&mut self, row: &Row) {
        let mut at = 0;
        for &(handler, _, known) in row.members {
            let fresh = self.next.len() + 1;
            at = *self.next.entry((at, kind((handler, known)))).or_insert(fresh);
        }
        self.handlers.resize(self.next.len() + 1, None);
        self.handlers[at] = Some(row.handler);
    }

    /// The longest row at the begin of these operations: its handler and its length.
    fn longest(&self, ops: impl Iterator<Item = Kind>) -> Option<(Handler, usize)> {
        let (mut at, mut found) = (0, None);
        for (k, kind) in ops.enumerate() {
            let Some(node) = self.next.get(&(at, kind)) else { break };
            at = *node;
            found = self.handlers[at].map(|h| (h, k + 1)).or(found);
        }
        found
    }
}

const LINKS: [u32; 4] = [D, S, B, NONE];

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
        let mut used: FxHashMap<_, _> =
            SINGLES.iter().map(|s| (s.general as usize, s.used)).collect();
        let single = |s: &Single| (kind((s.general, s.classes)), s.handler);
        let singles = SINGLES.iter().map(single).collect();
        let mut pairs = FxHashMap::<_, [_; LINKS.len()]>::default();
        for p in PAIRS {
            let by_link = pairs.entry((kind(p.first), kind(p.second))).or_default();
            if let Some(k) = LINKS.iter().position(|l| *l == p.link) {
                by_link[k] = Some(p.handler);
            }
        }
        let mut rows = Tree::default();
        for row in ROWS.iter().chain(TYPES) {
            used.extend(row.members.iter().map(|&(handler, uses, _)| (handler as usize, uses)));
            rows.insert(row);
        }
        Tables { used, singles, pairs, rows }
    })
}

impl Tables {
    /// The kinds of an operation, if it is one of the tables'.
    fn kinds(&self, op: &Op) -> Option<Kinds> {
        let handler = op.handler as usize;
        let used = *self.used.get(&handler)?;
        let offsets = [op.dst, op.src, op.base, op.index];
        let [a, b] = class::operands(used).map(|k| match used & (uses::DST << k) {
            0 => class::UNPINNED,
            _ => class::of(offsets[k as usize]),
        });
        let broad = Kind { handler, classes: class::code(used, a, b) };
        let exact = class::exact(used, [op.dst, op.src, op.base, op.index, op.scale]);
        Some(Kinds { broad, exact: Kind { handler, classes: exact } })
    }

    /// The handler of the operation alone.
    fn single(&self, kinds: Kinds) -> Option<Handler> {
        let row = self.rows.longest(std::iter::once(kinds.exact)).map(|(h, _)| h);
        row.or_else(|| self.singles.get(&kinds.broad).copied())
    }

    /// The longest row at the begin of these operations: its handler and its length. One that knows only
    /// types must be twice as long: what is said of operands saves more than one jump does.
    fn row(&self, kinds: &[Option<Kinds>]) -> Option<(Handler, usize)> {
        let known = || kinds.iter().map_while(|k| *k);
        let exact = self.rows.longest(known().map(|k| k.exact));
        let any = |k: Kinds| Kind { classes: class::UNKNOWN, ..k.exact };
        let typed = self.rows.longest(known().map(any));
        let length = |row: &Option<(Handler, usize)>| row.map_or(0, |(_, n)| n);
        if length(&typed) >= 2 * length(&exact).max(1) { typed } else { exact }
    }

    /// The handler of two operations: the one with a link, if there is one that holds.
    fn pair(&self, kinds: (Kind, Kind), first: &Op, second: &Op) -> Option<Handler> {
        let by_link = self.pairs.get(&kinds)?;
        let holds = |link| link == NONE || linked(second, link) == first.dst;
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

/// What becomes of an operation.
struct Choice {
    kinds: Option<Kinds>,
    /// The handler that it gets, if not the one that takes any operands.
    handler: Option<Handler>,
    /// How many operations that handler does from the block's begin on; 0 where one before does this one.
    does: usize,
}

/// What becomes of the operations of a block. All keep a handler of their own, for what stops between them.
fn choose(ops: &[Op]) -> Vec<Choice> {
    let tables = tables();
    let kinds: Vec<_> = ops.iter().map(|op| tables.kinds(op)).collect();
    let mut covered = 0;
    let choice = |k| {
        let Some(own) = kinds[k] else {
            covered = 0;
            return Choice { kinds: None, handler: None, does: 1 };
        };
        let best = if covered == 0 { tables.best(&ops[k..], &kinds[k..]) } else { None };
        let does = if covered == 0 { best.map_or(1, |(_, n)| n) } else { 0 };
        covered = covered.max(does) - 1;
        let handler = best.map(|(h, _)| h).or_else(|| tables.single(own));
        Choice { kinds: Some(own), handler, does }
    };
    (0..ops.len()).map(choice).collect()
}

/// Gives the operations of a block the handlers for their operands, and joins them in rows from the block's
/// begin.
pub fn specialise(ops: &mut [Op]) {
    let choices = choose(ops);
    for (op, choice) in ops.iter_mut().zip(choices) {
        if let Some(handler) = choice.handler {
            op.handler = handler;
        }
    }
}

/// An operation as the rows know it, and what they make of it.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub struct Member {
    /// The address of the handler that takes any operands.
    pub handler: usize,
    /// The operands, see [`class::exact`].
    pub operands: u64,
    /// How many operations its handler in the block does; 0 where one before does this one.
    pub does: usize,
}

/// What [`specialise`] would make of these operations: `None` of those that no table knows. For the program that
/// writes `profile_rows.rs`.
pub fn explain(ops: &[Op]) -> Vec<Option<Member>> {
    let member = |c: Choice| {
        let Kind { handler, classes } = c.kinds?.exact;
        Some(Member { handler, operands: classes, does: c.does })
    };
    choose(ops).into_iter().map(member).collect()
}
