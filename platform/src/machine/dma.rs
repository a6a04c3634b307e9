//! Memory as it is lent to the board: for bus masters.

use super::debugging::{DataBreakpoint, Hit, Who};
use super::schedule::Shared;
use crate::device::{DmaMemory, IoError};
use cpu::CodeCache;
use mmu::{HostPhys, Mmu, PageKind};
use std::ops::Range;

/// The VGA window, in which bus masters meet neither memory nor system-management RAM.
const VGA_WINDOW: Range<u64> = 0xa_0000..0xc_0000;
/// Bytes of a page.
const PAGE: u64 = 4096;

impl Shared {
    /// Lends memory to the devices that ask for some; the first breakpoint of `watched` that they meet.
    pub(super) fn lend_memory(&mut self, watched: &[DataBreakpoint]) -> Option<Hit> {
        let Shared { mmu, code, chipset, .. } = self;
        if !chipset.board.wants_memory() {
            return None;
        }
        let mut lent = Lent { mmu, code, watched, hit: None };
        chipset.board.lend_memory(&mut lent);
        lent.hit
    }
}

/// Memory, with what has been made from its contents: shadow pages and decoded code.
struct Lent<'a> {
    mmu: &'a mut Mmu,
    code: &'a mut CodeCache,
    /// Breakpoints on data at physical addresses.
    watched: &'a [DataBreakpoint],
    hit: Option<Hit>,
}

/// The bus masters' range, if none of it is in the VGA window.
fn outside_vga(address: u64, length: usize) -> Result<HostPhys, IoError> {
    let end = address.checked_add(length as u64).ok_or(IoError::NoResponse)?;
    let outside = end <= VGA_WINDOW.start || address >= VGA_WINDOW.end;
    outside.then_some(HostPhys(address)).ok_or(IoError::NoResponse)
}

impl DmaMemory for Lent<'_> {
    fn read(&mut self, address: u64, bytes: &mut [u8]) -> Result<(), IoError> {
        let at = outside_vga(address, bytes.len())?;
        self.mmu.read_slice(at, bytes).then_some(()).ok_or(IoError::NoResponse)?;
        self.note(address, bytes.len(), false);
        Ok(())
    }

    /// A store like a processor's: shadow entries and decoded code made from the bytes go.
    fn write(&mut self, address: u64, bytes: &[u8]) -> Result<(), IoError> {
        let at = outside_vga(address, bytes.len())?;
        if !self.mmu.write_slice(at, bytes) {
            return Err(IoError::NoResponse);
        }
        self.note(address, bytes.len(), true);
        let mut rest = bytes;
        let mut at = address;
        while !rest.is_empty() {
            let length = rest.len().min((PAGE - at % PAGE) as usize);
            self.stored(HostPhys(at), length);
            (at, rest) = (at + length as u64, &rest[length..]);
        }
        Ok(())
    }
}

impl Lent<'_> {
    /// Notes the first breakpoint that an access of `length` bytes meets.
    fn note(&mut self, address: u64, length: usize, store: bool) {
        let Some(last) = (length as u64).checked_sub(1).map(|more| address + more) else { return };
        let met = self.watched.iter().find(|b| {
            let kind = if store { b.stores } else { b.loads };
            kind && b.who == Who::Any && b.first <= last && address <= b.last
        });
        let hit = met.map(|b| Hit::Data { address: b.first.max(address), store });
        self.hit = self.hit.or(hit);
    }

    /// Drops code decoded from `length` bytes of a page.
    fn stored(&mut self, at: HostPhys, length: usize) {
        let dropped = self.mmu.kinds(at).code && self.code.note_store(at, length);
        if dropped && self.code.vacant(at) {
            self.mmu.set_kind(at, PageKind::Code, false);
        }
    }
}
