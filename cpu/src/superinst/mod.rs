//! Superinstructions: handlers for what runs most often, operations whose operands are in certain registers, and
//! sequences of operations.
//!
//! Two things cost an interpreter most. One is the time that a register's value takes from a store to the
//! next load: handlers that know which [pinned registers](crate::dispatch::PINNED) their operands are in
//! need not wait. The other is the indirect jump from one handler to the next: a processor remembers the
//! targets of some thousand of them, and a kernel at work has more. A sequence has fewer, and every variant
//! is a place of its own to jump from. There are too many combinations to have them all, so a profile says
//! which.
//!
//! Reading order: `cpu/superinst/exact.txt` says how sequences are written; the build script beside it expands them;
//! [`select`] chooses among them when a block is decoded. Without the feature `superinst`, where dispatch is a
//! loop, and in unit tests, which would take as long to build as the library, the tables are empty: no operation has
//! a handler of its own, and what guests see is the same.

pub mod select;
#[cfg(all(feature = "superinst", threaded, not(test)))]
mod tables;
mod text;

use crate::op::HandlerFn;
use std::any::TypeId;
use std::fmt;

#[cfg(not(all(feature = "superinst", threaded, not(test))))]
mod tables {
    use super::{Superinst, Type};

    pub(super) static TYPES: &[Type] = &[];
    pub(super) static EXACT: &[Superinst] = &[];
    pub(super) static TYPED: &[Superinst] = &[];
    pub(super) static VARIANTS: &[Superinst] = &[];
    pub(super) static PAIRS: &[Superinst] = &[];
}

/// A type that the tables have.
pub struct Type {
    /// The identity of the type.
    id: fn() -> TypeId,
    /// An instruction that it does, as the tables write it, with slots (`{d:32}`) in place of registers.
    template: &'static str,
    /// The promises of the type.
    pub promises: Promises,
}

/// What a type promises: the constants of [`crate::dispatch::Semantics`].
#[derive(Clone, Copy, Debug)]
pub struct Promises {
    /// Registers read.
    pub reads: u32,
    /// Registers written.
    pub sets: u32,
    /// Bits of the destination written.
    pub bits: u32,
    /// Deferrable parts renewed.
    pub kills: u32,
    /// Deferrable parts left alone.
    pub preserves: u32,
    /// Whether a second run does nothing more.
    pub replayable: bool,
}

impl Type {
    /// The registers that it has to do with, see [`crate::dispatch::uses`].
    fn used(&self) -> u32 {
        self.promises.reads | self.promises.sets
    }
}

/// The types that the tables have, each with an instruction on any operands.
pub fn types() -> impl Iterator<Item = (String, &'static Type)> {
    let any = |number| Member { number, known: crate::dispatch::class::UNKNOWN };
    let text = move |number| text::operation(&any(number), 0).unwrap_or_default();
    tables::TYPES.iter().zip(0..).map(move |(t, number)| (text(number), t))
}

/// Operations in a row of whose operands something is known, and the handler that does them.
pub struct Superinst {
    members: &'static [Member],
    /// Which register of the second (one of [`crate::dispatch::uses`]) is the destination of the first; 0 if that is
    /// not made use of.
    link: u32,
    handler: HandlerFn,
}

impl Superinst {
    /// How many operations there are.
    pub fn length(&self) -> usize {
        self.members.len()
    }

    /// The operations, as the tables write them.
    pub fn text(&self) -> String {
        text::sequence(self)
    }
}

/// Each stands in the tables once, and its place is what it is known by.
impl PartialEq for Superinst {
    fn eq(&self, other: &Superinst) -> bool {
        std::ptr::eq(self, other)
    }
}

impl Eq for Superinst {}

impl fmt::Debug for Superinst {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        f.write_str(&self.text())
    }
}

/// All superinstructions, with the name of the table that each stands in.
pub fn all() -> impl Iterator<Item = (&'static str, &'static Superinst)> {
    use tables::{EXACT, PAIRS, TYPED, VARIANTS};
    let tables = [("exact", EXACT), ("typed", TYPED), ("variants", VARIANTS), ("pairs", PAIRS)];
    tables.into_iter().flat_map(|(name, table)| table.iter().map(move |s| (name, s)))
}

/// An operation of a superinstruction.
struct Member {
    /// The number of its type.
    number: u32,
    /// What is known of the operands, see [`crate::dispatch::class`].
    known: u64,
}
