//! Which operations of a block get which handlers.
//!
//! Sequences with these very operands come first: the compiler then knows every place in the processor's state and
//! keeps what one operation leaves to the next in the host's registers. Others know only what the operations are, for
//! code that is wide rather than hot: it waits for mispredicted jumps more than for anything else. What is in no
//! sequence has the pairs and the variants by classes of operands.

use super::tables::{EXACT, PAIRS, TYPED, TYPES, VARIANTS};
use super::{Superinst, text};
use crate::dispatch::{Handler, class, linked, uses};
use crate::op::Op;
use rustc_hash::FxHashMap;
use std::any::TypeId;
use std::sync::OnceLock;

/// The links that a pair may have, in the order in which they are tried; the last is none.
const LINKS: [u32; 4] = [uses::DST, uses::SRC, uses::BASE, 0];

/// An operation of a certain type on operands of which something is known, see [`class`].
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
struct Kind {
    number: u32,
    known: u64,
}

/// The tables, for look-up: decoding asks them several times for each operation.
#[derive(Default)]
struct Tables {
    /// The numbers of the types.
    types: FxHashMap<TypeId, u32>,
    variants: FxHashMap<Kind, &'static Superinst>,
    /// Pairs by [`LINKS`].
    pairs: FxHashMap<(Kind, Kind), [Option<&'static Superinst>; LINKS.len()]>,
    sequences: Tree,
}

/// Sequences by what begins them: each node is the begin of some.
#[derive(Default)]
struct Tree {
    /// The nodes after a node; 0 is the empty sequence.
    next: FxHashMap<(usize, Kind), usize>,
    /// The nodes that are sequences.
    whole: Vec<Option<&'static Superinst>>,
}

impl Tree {
    fn insert(&mut self, sequence: &'static Superinst) {
        let mut at = 0;
        for member in sequence.members {
            let fresh = self.next.len() + 1;
            at = *self.next.entry((at, kind(member))).or_insert(fresh);
        }
        self.whole.resize(self.next.len() + 1, None);
        self.whole[at] = Some(sequence);
    }

    /// The longest sequence at the begin of these operations.
    fn longest(&self, ops: impl Iterator<Item = Kind>) -> Option<&'static Superinst> {
        let (mut at, mut found) = (0, None);
        for kind in ops {
            let Some(node) = self.next.get(&(at, kind)) else { break };
            at = *node;
            found = self.whole[at].or(found);
        }
        found
    }
}

/// An operation in the two ways in which the tables tell operations apart.
#[derive(Clone, Copy)]
struct Kinds {
    /// By the classes of its operands.
    broad: Kind,
    /// Known by its very operands.
    exact: Kind,
}

fn tables() -> &'static Tables {
    static TABLES: OnceLock<Tables> = OnceLock::new();
    TABLES.get_or_init(|| {
        let mut tables = Tables {
            types: TYPES.iter().zip(0..).map(|(t, number)| ((t.id)(), number)).collect(),
            variants: VARIANTS.iter().map(|s| (kind(&s.members[0]), s)).collect(),
            ..Tables::default()
        };
        for s in PAIRS {
            let by_link = tables.pairs.entry((kind(&s.members[0]), kind(&s.members[1])));
            if let Some(k) = LINKS.iter().position(|l| *l == s.link) {
                by_link.or_default()[k] = Some(s);
            }
        }
        EXACT.iter().chain(TYPED).for_each(|s| tables.sequences.insert(s));
        tables
    })
}

fn kind(member: &super::Member) -> Kind {
    Kind { number: member.number, known: member.known }
}

impl Tables {
    /// The kinds of an operation, if its type is one of the tables'.
    fn kinds(&self, op: &Op, handler: Option<Handler>) -> Option<Kinds> {
        let number = *self.types.get(&handler?.id())?;
        let used = TYPES[number as usize].used();
        let offsets = [op.dst, op.src, op.base, op.index];
        let [a, b] = class::operands(used).map(|k| match used & (uses::DST << k) {
            0 => class::UNPINNED,
            _ => class::of(offsets[k as usize]),
        });
        let broad = Kind { number, known: class::code(used, a, b) };
        let exact = class::exact(used, [op.dst, op.src, op.base, op.index, op.scale]);
        Some(Kinds { broad, exact: Kind { number, known: exact } })
    }

    /// The superinstruction for the operation alone.
    fn single(&self, kinds: Kinds) -> Option<&'static Superinst> {
        let exact = self.sequences.longest(std::iter::once(kinds.exact));
        exact.or_else(|| self.variants.get(&kinds.broad).copied())
    }

    /// The longest sequence at the begin of these operations. One that knows only types must be twice as long: what is
    /// said of operands saves more than one jump does.
    fn sequence(&self, kinds: &[Option<Kinds>]) -> Option<&'static Superinst> {
        let known = || kinds.iter().map_while(|k| *k);
        let exact = self.sequences.longest(known().map(|k| k.exact));
        let any = |k: Kinds| Kind { known: class::UNKNOWN, ..k.exact };
        let typed = self.sequences.longest(known().map(any));
        let length = |s: Option<&Superinst>| s.map_or(0, Superinst::length);
        if length(typed) >= 2 * length(exact).max(1) { typed } else { exact }
    }

    /// The superinstruction of two operations: the one with a link, if there is one that holds.
    fn pair(&self, kinds: (Kind, Kind), first: &Op, second: &Op) -> Option<&'static Superinst> {
        let by_link = self.pairs.get(&kinds)?;
        let holds = |link| link == 0 || linked(second, link) == first.dst;
        LINKS.into_iter().zip(by_link).find_map(|(link, s)| s.filter(|_| holds(link)))
    }

    /// The superinstruction for the begin of these operations.
    fn best(&self, ops: &[Op], kinds: &[Option<Kinds>]) -> Option<&'static Superinst> {
        let sequence = self.sequence(kinds);
        if sequence.is_some_and(|s| s.length() > 1) {
            return sequence;
        }
        let first = (*kinds.first()?)?;
        let second = kinds.get(1).copied().flatten();
        let pair = second.and_then(|k| self.pair((first.broad, k.broad), &ops[0], &ops[1]));
        pair.or(sequence).or_else(|| self.single(first))
    }
}

/// The handler chosen for an operation.
struct Choice {
    kinds: Option<Kinds>,
    /// The superinstruction that begins here, if no handler for any operands does the operation.
    chosen: Option<&'static Superinst>,
    /// How many operations that does from the block's begin on; 0 where one before does this one.
    does: usize,
}

/// What becomes of the operations of a block. All keep a handler of their own, for what stops between them.
fn choose(ops: &[Op], handlers: &[Option<Handler>]) -> Vec<Choice> {
    let tables = tables();
    let kinds: Vec<_> = ops.iter().zip(handlers).map(|(op, h)| tables.kinds(op, *h)).collect();
    let mut covered = 0;
    let choice = |k| {
        let Some(own) = kinds[k] else {
            covered = 0;
            return Choice { kinds: None, chosen: None, does: 1 };
        };
        let best = if covered == 0 { tables.best(&ops[k..], &kinds[k..]) } else { None };
        let does = if covered == 0 { best.map_or(1, Superinst::length) } else { 0 };
        covered = covered.max(does) - 1;
        Choice { kinds: Some(own), chosen: best.or_else(|| tables.single(own)), does }
    };
    (0..ops.len()).map(choice).collect()
}

/// Gives the operations of a block the handlers for their operands, and joins them in superinstructions from the
/// block's begin. `handlers` are those for any operands.
pub(crate) fn specialise(ops: &mut [Op], handlers: &[Option<Handler>]) {
    let choices = choose(ops, handlers);
    for (op, choice) in ops.iter_mut().zip(choices) {
        if let Some(superinst) = choice.chosen {
            op.handler = superinst.handler;
        }
    }
}

/// An operation as the tables know it, and the superinstruction made of it and others.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Explained {
    /// The operation with these very operands, as the tables write it; `None` if they have no word for one.
    pub text: Option<String>,
    /// Its type's number, see [`super::types`].
    pub number: u32,
    /// Its operands, see [`class`].
    pub operands: u64,
    /// How many operations its handler in the block does; 0 where one before does this one.
    pub does: usize,
    /// The superinstruction that it begins, if it has one.
    pub chosen: Option<&'static Superinst>,
}

/// What [`specialise`] would make of these operations: `None` of those that no table knows.
pub(crate) fn explain(ops: &[Op], handlers: &[Option<Handler>]) -> Vec<Option<Explained>> {
    let explained = |c: Choice| {
        let Kind { number, known } = c.kinds?.exact;
        let text = text::operation(&super::Member { number, known }, 0);
        Some(Explained { text, number, operands: known, does: c.does, chosen: c.chosen })
    };
    choose(ops, handlers).into_iter().map(explained).collect()
}
