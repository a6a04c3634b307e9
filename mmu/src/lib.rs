//! Memory of the emulated machine: RAM, page walks, EPT, shadow pages, TLB. Names no other crate.
//!
//! Reading order: [`addr`], [`ram`], [`regime`] (what a translation depends on), `paging` and
//! `ept` (how entries are read; `ept_entries`: which were), `walk` (the one architectural walk), `shadow` and `tlb` (data),
//! `coherence` and `banks` (what keeps them right), `mmu`.
//!
//! A translation is looked for in the TLB (by the interpreter itself), then in the shadow pages,
//! then made by the walk, which reads memory and whose result is put into both.
//!
//! Invariants:
//! - Every cached translation of guest paging agrees with the paging structures in memory: the
//!   frames it was built from are of kind [`PageKind::Table`], which no TLB entry makes writable, and
//!   a store to one calls [`Mmu::note_store`]. So CR3 loads, INVLPG and VM transitions flush nothing.
//! - So does every cached guest-physical mapping with the EPT structures: frames with entries that were used are of
//!   kind [`PageKind::Ept`], and a store to such an entry drops what depends on its root.
//! - So what is cached follows from memory and registers: no guest can tell what has been dropped.
//! - A fault is always decided by the walk that reads memory, never from a cache.
//! - Nothing here depends on the host: no clock, no address, no hash order.

pub mod addr;
mod banks;
mod coherence;
mod ept;
mod ept_entries;
mod inspect;
mod kinds;
mod mmu;
mod paging;
pub mod ram;
pub mod regime;
mod shadow;
mod tlb;
mod walk;

pub use addr::{GuestPhys, HostPhys, Linear};
pub use banks::{Bank, Cached};
pub use inspect::{EntryRead, Inspection};
pub use kinds::{PageKind, PageKinds};
pub use mmu::{Limits, Mmu, Stats};
pub use paging::pdptes_valid;
pub use ram::{Ram, RamError, Window};
pub use regime::{Access, AccessKind, Eptp, Fault, Mode, Regime, View};
pub use tlb::{TLB_BAD, TLB_ENTRIES, TlbEntry, TlbView};
