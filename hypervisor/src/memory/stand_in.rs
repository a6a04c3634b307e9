//! Frames of the hypervisor's own that stand in for a domain's while it executes one instruction.

use super::{Memory, note_stale, table};
use crate::ept::{self, Ept, Leaf, Replaced};
use crate::phys::Physical;
use crate::xen::DomId;
use alloc::vec;
use alloc::vec::Vec;

/// A frame of the hypervisor's own to which a frame of a domain leads for the time of an instruction.
#[derive(Debug)]
pub struct StandIn {
    dom: DomId,
    /// The domain's frame.
    pub gfn: u64,
    /// Address of the hypervisor's.
    pub frame: u64,
    replaced: Replaced,
}

/// The words of a page that differ after an instruction, and the one at offset `written`, even if it holds what it
/// held: offsets and values.
pub fn written_words(before: &[u8], after: &[u8], written: Option<usize>) -> Vec<(usize, u32)> {
    let ((before, _), (after, _)) = (before.as_chunks::<4>(), after.as_chunks::<4>());
    let differs = |&(word, (old, new)): &(usize, (&[u8; 4], &[u8; 4]))| {
        old != new || written.is_some_and(|at| at / 4 == word)
    };
    let words = before.iter().zip(after).enumerate().filter(differs);
    words.map(|(word, (_, new))| (word * 4, u32::from_le_bytes(*new))).collect()
}

impl<P: Physical> Memory<P> {
    /// Has frame `gfn` of `dom` lead to a frame of its own that holds what `gfn` led to, or ones, and can be read
    /// and perhaps `written`. None if there is no memory.
    pub fn stand_in(&mut self, dom: DomId, gfn: u64, written: bool) -> Option<StandIn> {
        let ept = self.maps.get(&dom).filter(|_| gfn < ept::GFN_END)?.ept;
        let old = ept.lookup(&self.physical, gfn);
        let frame = self.own_frame()?;
        let mut page = vec![0xFF; 4096];
        if let Some(leaf) = old {
            self.physical.read(leaf.mfn << 12, &mut page);
        }
        self.physical.write(frame, &page);
        let write = if written { ept::WRITE } else { 0 };
        let flags = ept::READ | write | ept::WRITE_BACK;
        let leaf = Leaf { mfn: frame >> 12, flags, kind: 0 };
        let (physical, frames) = (&mut self.physical, &mut self.frames);
        if old.is_some() {
            note_stale(&mut self.stale, ept);
        }
        match ept.replace(physical, &mut || table(frames), gfn, leaf) {
            Ok(replaced) => Some(StandIn { dom, gfn, frame, replaced }),
            Err(replaced) => {
                self.take_back(StandIn { dom, gfn, frame, replaced });
                None
            }
        }
    }

    /// Ends [`Self::stand_in`].
    pub fn take_back(&mut self, stand_in: StandIn) {
        for table in Ept::restore(&mut self.physical, stand_in.replaced) {
            self.give_back(table);
        }
        self.give_back(stand_in.frame);
        if let Some(map) = self.maps.get(&stand_in.dom) {
            note_stale(&mut self.stale, map.ept);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::tests::{DOM, memory};
    use super::*;
    use crate::xen::host_services::{HostServices, Mapping, P2mKind};

    /// A frame that leads nowhere, and one that may only be read: both can be written for a while, and nothing
    /// of it is left.
    #[test]
    fn a_page_stands_in() {
        let mut m = memory(2048);
        let mfn = m.alloc(DOM).expect("memory");
        m.write(mfn, 8, b"text");
        m.set(DOM, 5, Some(Mapping { mfn, kind: P2mKind::RamRo })).expect("memory");
        let free = m.free_pages();
        for (gfn, holds) in [(5, *b"text"), (0x1234_5678, [0xFF; 4])] {
            let before = m.lookup(DOM, gfn);
            let page = m.stand_in(DOM, gfn, true).expect("memory");
            let now = m.lookup(DOM, gfn).expect("mapped");
            assert_eq!((now.kind, now.mfn << 12), (P2mKind::Ram, page.frame));
            let mut bytes = [0; 4];
            m.physical.read(page.frame + 8, &mut bytes);
            assert_eq!(bytes, holds);
            m.physical.write(page.frame + 8, b"else");
            m.take_back(page);
            assert_eq!((m.lookup(DOM, gfn), m.free_pages()), (before, free));
            assert_eq!(m.take_stale(), m.ept_pointer(DOM).as_slice());
        }
        let mut bytes = [0; 4];
        m.read(mfn, 8, &mut bytes);
        assert_eq!(bytes, *b"text");
        assert!(m.stand_in(DOM, ept::GFN_END, true).is_none());
        assert!(m.stand_in(DomId(9), 0, true).is_none());
        assert_eq!(m.free_pages(), free);
    }

    #[test]
    fn what_was_written_is_seen() {
        let before: Vec<u8> = (0..16).collect();
        let mut after = before.clone();
        assert_eq!(written_words(&before, &after, None), []);
        assert_eq!(written_words(&before, &after, Some(6)), [(4, 0x0706_0504)]);
        after[15] = 0xAA;
        assert_eq!(written_words(&before, &after, None), [(12, 0xAA0E_0D0C)]);
        assert_eq!(written_words(&before, &after, Some(0))[0], (0, 0x0302_0100));
    }
}
