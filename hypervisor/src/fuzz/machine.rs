//! The physical memory of a machine, page by page, and its time-stamp counter, which every access
//! takes on.

use crate::phys::Physical;
use alloc::boxed::Box;
use alloc::vec::Vec;
use core::cell::Cell;

const PAGE: usize = 4096;
/// The content of memory that nobody has written, which no domain may ever see.
const UNKNOWN: u8 = 0xA5;

std::thread_local! {
    /// The time-stamp counter, of a thread, since a service of [`crate::memory::Memory`] reads it that
    /// knows no machine.
    static TSC: Cell<u64> = const { Cell::new(0) };
}

/// The time-stamp counter. Reading takes time too, so that whoever waits for it gets on.
pub(super) fn now() -> u64 {
    pass(10);
    TSC.get()
}

/// Sets the time-stamp counter.
pub(super) fn set_time(tsc: u64) {
    TSC.set(tsc);
}

/// Lets some ticks pass.
fn pass(ticks: u64) {
    TSC.set(TSC.get().saturating_add(ticks));
}

/// Bytes that are moved in a tick.
const RATE: usize = 8;

/// The content of one page.
#[derive(Clone)]
enum Page {
    /// The same byte all over.
    Filled(u8),
    /// 4096 bytes.
    Bytes(Box<[u8; PAGE]>),
}

/// Memory from address 0 on.
pub(super) struct Pages(Vec<Page>);

impl Pages {
    /// Memory of that many pages, which nobody has written.
    pub(super) fn new(count: u64) -> Self {
        Self(alloc::vec![Page::Filled(UNKNOWN); count as usize])
    }

    /// The 64-bit words of a page that are not 0, by their index, without that time passes.
    pub(super) fn words(&self, frame: u64) -> impl Iterator<Item = (u64, u64)> {
        let bytes = match &self.0[frame as usize] {
            Page::Filled(byte) => {
                assert_eq!(*byte, 0, "frame {frame:#x} is used and was not cleared");
                &[]
            }
            Page::Bytes(bytes) => &bytes[..],
        };
        let lines = (0..).step_by(8).zip(bytes.as_chunks::<64>().0);
        let lines = lines.filter(|(_, line)| **line != [0; 64]);
        let words = lines.flat_map(|(at, line)| (at..).zip(line.as_chunks::<8>().0));
        words.map(|(at, raw)| (at, u64::from_le_bytes(*raw))).filter(|(_, word)| *word != 0)
    }

    /// True if the page begins with `bytes`, without that time passes.
    pub(super) fn begins(&self, frame: u64, bytes: &[u8]) -> bool {
        match &self.0[frame as usize] {
            Page::Filled(byte) => bytes.iter().all(|found| found == byte),
            Page::Bytes(page) => page.starts_with(bytes),
        }
    }
}

/// The page of an access within one page, and its offset there.
fn place(addr: u64, len: usize) -> (usize, usize) {
    let (page, offset) = (addr as usize / PAGE, addr as usize % PAGE);
    assert!(offset + len <= PAGE, "an access crosses a frame: {addr:#x}, {len} bytes");
    (page, offset)
}

impl Physical for Pages {
    fn read(&self, addr: u64, buf: &mut [u8]) {
        pass(1 + (buf.len() / RATE) as u64);
        let (page, offset) = place(addr, buf.len());
        match &self.0[page] {
            Page::Filled(byte) => buf.fill(*byte),
            Page::Bytes(bytes) => buf.copy_from_slice(&bytes[offset..offset + buf.len()]),
        }
    }

    fn write(&mut self, addr: u64, data: &[u8]) {
        pass(1 + (data.len() / RATE) as u64);
        let (page, offset) = place(addr, data.len());
        let page = &mut self.0[page];
        if let Page::Filled(byte) = *page {
            *page = Page::Bytes(Box::new([byte; PAGE]));
        }
        if let Page::Bytes(bytes) = page {
            bytes[offset..offset + data.len()].copy_from_slice(data);
        }
    }

    fn clear(&mut self, addr: u64, len: u64) {
        pass(1 + len / RATE as u64);
        let first = addr as usize / PAGE;
        assert!(addr.is_multiple_of(PAGE as u64) && len.is_multiple_of(PAGE as u64), "whole pages");
        self.0[first..first + len as usize / PAGE].fill(Page::Filled(0));
    }
}
