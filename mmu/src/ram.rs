//! RAM: one anonymous map, and the only place that turns a physical address into a host address.
#![expect(unsafe_code, reason = "reads and writes the map through raw pointers")]

use crate::addr::HostPhys;
use crate::kinds::set;
use bitvec::vec::BitVec;
use core::ptr;
use memmap2::{MmapMut, MmapOptions, MmapRaw};
use std::os::fd::AsRawFd;

/// RAM below this address; what is larger continues at 4 GiB.
pub const LOW_MAX: u64 = 0xb000_0000;
/// Where RAM continues.
pub const HIGH_BASE: u64 = 4 << 30;
/// The VGA window. The map has bytes for it: system-management RAM, which [`Window`] shows or hides.
const HOLE: core::ops::Range<u64> = 0xA_0000..0xC_0000;
/// Frame numbers are kept in 32 bits.
const SIZE_MAX: u64 = 1 << 42;

/// What lies in the VGA window for the processor that runs now: system-management RAM, or devices. Data
/// sheet of the Q35 memory controller hub, "SMRAM - System Management RAM Control".
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug, Default)]
pub enum Window {
    /// Memory-mapped devices.
    #[default]
    Closed,
    /// RAM for instruction fetches, devices for data.
    Code,
    /// RAM.
    Open,
}

/// Why RAM could not be made.
#[derive(Debug, thiserror::Error)]
pub enum RamError {
    /// Not a multiple of 4 KiB, or out of range.
    #[error("memory size {0} is not a multiple of 4096 from 1 MiB to 4 TiB")]
    Size(u64),
    /// The host refused the map.
    #[error("cannot map {0} bytes of memory: {1}")]
    Map(u64, std::io::Error),
}

fn check_size(size: u64) -> Result<(), RamError> {
    let valid = size.is_multiple_of(4096) && (1 << 20..=SIZE_MAX).contains(&size);
    valid.then_some(()).ok_or(RamError::Size(size))
}

/// The memory of the machine: `[0, size)` without the VGA window, the part over [`LOW_MAX`] at 4 GiB.
pub struct Ram {
    map: MmapRaw,
    size: u64,
    low: u64,
    /// Frames stored to since they were last all clean, other than through TLB entries.
    pub(crate) stored: BitVec<u64>,
    /// That of the regime last made current.
    pub(crate) window: Window,
}

impl Ram {
    /// `size` bytes of zeros; a multiple of 4096, at least 1 MiB.
    pub fn new(size: u64) -> Result<Ram, RamError> {
        check_size(size)?;
        let map = MmapMut::map_anon(size as usize).map_err(|e| RamError::Map(size, e))?;
        let ram = Ram::of(map, size);
        // Large host pages only make it faster; a host without them is as good.
        #[cfg(target_os = "linux")]
        let _ = ram.map.advise(memmap2::Advice::HugePage);
        Ok(ram)
    }

    /// The `size` bytes of `file` from `offset` on, frame after frame in map order, mapped privately: what is stored
    /// does not reach the file. The file, which has so many bytes, must stay as it is for as long as the map lives.
    /// Errors: as [`Ram::new`].
    pub fn map(file: &impl AsRawFd, offset: u64, size: u64) -> Result<Ram, RamError> {
        check_size(size)?;
        // SAFETY: the map is private, and the caller leaves the file as it is.
        let map = unsafe { MmapOptions::new().offset(offset).len(size as usize).map_copy(file) };
        Ok(Ram::of(map.map_err(|e| RamError::Map(size, e))?, size))
    }

    fn of(map: MmapMut, size: u64) -> Ram {
        let stored = BitVec::repeat(false, (size >> 12) as usize);
        let low = size.min(LOW_MAX);
        Ram { map: MmapRaw::from(map), size, low, stored, window: Window::Closed }
    }

    /// Pages of 4 KiB in the map: all of RAM, and system-management RAM in the place of the VGA window.
    #[must_use]
    pub fn pages(&self) -> usize {
        self.frames()
    }

    /// Page `n` of the map, whoever may see it now.
    ///
    /// # Panics
    /// If there is no such page.
    #[must_use]
    pub fn page(&self, n: usize) -> &[u8; 4096] {
        // SAFETY: the frame is in the map, and nobody stores to it while `self` is borrowed.
        unsafe { &*self.frame_ptr(n).cast() }
    }

    /// The physical address of page `n` of the map.
    #[must_use]
    pub fn address(&self, n: usize) -> HostPhys {
        let at = (n as u64) << 12;
        HostPhys(if at < self.low { at } else { at - self.low + HIGH_BASE })
    }

    /// Nothing counts as stored so far, see [`crate::Mmu::take_dirty`].
    pub fn all_clean(&mut self) {
        self.stored.fill(false);
    }

    /// Page `n` of the map, to be stored to. Bare bytes, as [`Ram::write`].
    ///
    /// # Panics
    /// If there is no such page.
    #[must_use]
    pub fn page_mut(&mut self, n: usize) -> &mut [u8; 4096] {
        self.stored.set(n, true);
        // SAFETY: the frame is in the map, and nobody else has it while `self` is borrowed.
        unsafe { &mut *self.frame_ptr(n).cast() }
    }

    /// Bytes in all, the VGA window included.
    #[must_use]
    pub fn size(&self) -> u64 {
        self.size
    }

    /// End of the part that begins at 0.
    #[must_use]
    pub fn below_4g(&self) -> u64 {
        self.low
    }

    /// Length of the part that begins at 4 GiB.
    #[must_use]
    pub fn above_4g(&self) -> u64 {
        self.size - self.low
    }

    /// Frames in the map: frame numbers are below this.
    pub(crate) fn frames(&self) -> usize {
        (self.size >> 12) as usize
    }

    /// The number of the 4 KiB frame that holds `p`: dense, in map order. None outside RAM.
    #[inline]
    pub(crate) fn frame(&self, p: HostPhys) -> Option<usize> {
        let hidden = HOLE.contains(&p.0) && self.window != Window::Open;
        if hidden { None } else { self.place(p) }
    }

    /// As [`Ram::frame`], for instruction fetches.
    #[inline]
    pub(crate) fn code_frame(&self, p: HostPhys) -> Option<usize> {
        let hidden = HOLE.contains(&p.0) && self.window == Window::Closed;
        if hidden { None } else { self.place(p) }
    }

    /// As [`Ram::frame`], whether the window is open or not.
    #[inline]
    pub(crate) fn place(&self, p: HostPhys) -> Option<usize> {
        if p.0 < self.low {
            return Some((p.0 >> 12) as usize);
        }
        let high = p.0.wrapping_sub(HIGH_BASE);
        let held = p.0 >= HIGH_BASE && high < self.size - self.low;
        held.then(|| ((self.low + high) >> 12) as usize)
    }

    /// Whether instructions can be fetched from `p`.
    #[must_use]
    pub fn is_code(&self, p: HostPhys) -> bool {
        self.code_frame(p).is_some()
    }

    /// Whether `p` is RAM.
    #[must_use]
    pub fn is_ram(&self, p: HostPhys) -> bool {
        self.frame(p).is_some()
    }

    /// The host address of the frame that holds `p`; None outside RAM.
    #[must_use]
    #[inline]
    pub fn page_ptr(&self, p: HostPhys) -> Option<*mut u8> {
        self.frame(p).map(|f| self.frame_ptr(f))
    }

    /// Whether the page of `p` is RAM.
    #[inline]
    #[must_use]
    pub fn holds_page(&self, p: HostPhys) -> bool {
        self.frame(p).is_some()
    }

    /// As [`Ram::page_ptr`], for a store.
    #[inline]
    fn page_to_store(&mut self, p: HostPhys) -> Option<*mut u8> {
        let frame = self.frame(p)?;
        set(&mut self.stored, frame);
        Some(self.frame_ptr(frame))
    }

    /// The host address of a frame of this RAM.
    #[inline]
    pub(crate) fn frame_ptr(&self, frame: usize) -> *mut u8 {
        assert!(frame < self.frames());
        // SAFETY: the map holds `frames()` frames.
        unsafe { self.map.as_mut_ptr().add(frame << 12) }
    }

    /// The paging-structure entry of `N` bytes at `p`, which does not cross a page.
    /// All ones outside RAM, as from a bus where nobody answers.
    #[inline]
    pub(crate) fn entry(&self, p: HostPhys, bytes: u64) -> u64 {
        debug_assert!(p.0.is_multiple_of(bytes));
        let Some(page) = self.page_ptr(p) else { return u64::MAX >> (64 - 8 * bytes) };
        // SAFETY: `offset + bytes <= 4096`, for `p` is aligned to `bytes`; the frame is in the map.
        unsafe {
            let at = page.add(p.offset() as usize);
            if bytes == 4 { u64::from(at.cast::<u32>().read()) } else { at.cast::<u64>().read() }
        }
    }

    /// Replaces the entry at `p`; dropped outside RAM.
    #[inline]
    pub(crate) fn set_entry(&mut self, p: HostPhys, bytes: u64, value: u64) {
        debug_assert!(p.0.is_multiple_of(bytes));
        let Some(page) = self.page_to_store(p) else { return };
        // SAFETY: as in `entry`.
        unsafe {
            let at = page.add(p.offset() as usize);
            if bytes == 4 {
                at.cast::<u32>().write(value as u32)
            } else {
                at.cast::<u64>().write(value)
            }
        }
    }

    /// Whether all of `[p, p + len)` is RAM.
    fn holds(&self, p: HostPhys, len: usize) -> bool {
        let Some(last) = p.0.checked_add((len as u64).saturating_sub(1)) else { return false };
        (p.0 >> 12..=last >> 12).all(|f| self.is_ram(HostPhys(f << 12)))
    }

    /// Fills `buf` from `p`. False, and nothing done, unless all of it is RAM.
    #[must_use]
    pub fn read(&self, p: HostPhys, buf: &mut [u8]) -> bool {
        if p.offset() as usize + buf.len() <= 4096 {
            let Some(page) = self.page_ptr(p) else { return false };
            // SAFETY: as below.
            unsafe {
                ptr::copy_nonoverlapping(
                    page.add(p.offset() as usize),
                    buf.as_mut_ptr(),
                    buf.len(),
                );
            }
            return true;
        }
        if !self.holds(p, buf.len()) {
            return false;
        }
        for (at, part) in pieces(p, buf.len()) {
            let Some(page) = self.page_ptr(at) else { return false };
            let to = &mut buf[part];
            // SAFETY: a piece lies in one frame, and `buf` is not part of the map.
            unsafe {
                ptr::copy_nonoverlapping(page.add(at.offset() as usize), to.as_mut_ptr(), to.len());
            }
        }
        true
    }

    /// Fills `buf`, at most to the end of the page, from code at `p`. False, and nothing done, where there
    /// is no RAM for fetches.
    #[must_use]
    pub fn read_code(&self, p: HostPhys, buf: &mut [u8]) -> bool {
        let Some(frame) = self.code_frame(p) else { return false };
        let at = p.offset() as usize;
        let len = buf.len().min(4096 - at);
        // SAFETY: the bytes lie in the frame, and `buf` is not part of the map.
        unsafe {
            ptr::copy_nonoverlapping(self.frame_ptr(frame).add(at), buf.as_mut_ptr(), len);
        }
        true
    }

    /// Page `n` (0 to 31) of system-management RAM, whoever may see it now.
    #[must_use]
    pub fn smram_page(&self, n: usize) -> [u8; 4096] {
        let mut page = [0; 4096];
        let frame = (HOLE.start >> 12) as usize + n % 32;
        // SAFETY: RAM is at least 1 MiB, so that the map has the frame.
        unsafe { ptr::copy_nonoverlapping(self.frame_ptr(frame), page.as_mut_ptr(), 4096) };
        page
    }

    /// Zeroes system-management RAM, as at power-on. Bare bytes, as [`Ram::write`].
    pub fn clear_smram(&mut self) {
        let frame = (HOLE.start >> 12) as usize;
        let len = (HOLE.end - HOLE.start) as usize;
        self.stored[frame..frame + (len >> 12)].fill(true);
        // SAFETY: as in `smram_page`.
        unsafe { ptr::write_bytes(self.frame_ptr(frame), 0, len) };
    }

    /// Stores `buf` at `p`. False, and nothing done, unless all of it is RAM.
    /// Bare bytes: the caller tells the MMU ([`crate::Mmu::write_slice`] does).
    #[must_use]
    pub fn write(&mut self, p: HostPhys, buf: &[u8]) -> bool {
        if p.offset() as usize + buf.len() <= 4096 {
            let Some(page) = self.page_to_store(p) else { return false };
            // SAFETY: as below.
            unsafe {
                ptr::copy_nonoverlapping(buf.as_ptr(), page.add(p.offset() as usize), buf.len());
            }
            return true;
        }
        if !self.holds(p, buf.len()) {
            return false;
        }
        for (at, part) in pieces(p, buf.len()) {
            let Some(page) = self.page_to_store(at) else { return false };
            let from = &buf[part];
            // SAFETY: a piece lies in one frame, and `buf` is not part of the map.
            unsafe {
                ptr::copy_nonoverlapping(from.as_ptr(), page.add(at.offset() as usize), from.len());
            }
        }
        true
    }
}

impl Ram {
    /// Whether `[p, p + len)` lies in one frame of RAM.
    fn in_frame(&self, p: HostPhys, len: usize) -> bool {
        p.offset() as usize + len <= 4096 && self.is_ram(p)
    }

    /// Copies `len` bytes inside RAM, as if through a buffer; neither side crosses a page. False, and
    /// nothing done, otherwise. Bare bytes, as [`Ram::write`].
    #[must_use]
    pub fn copy(&mut self, from: HostPhys, to: HostPhys, len: usize) -> bool {
        if !self.in_frame(from, len) || !self.in_frame(to, len) {
            return false;
        }
        let (Some(a), Some(b)) = (self.page_ptr(from), self.page_to_store(to)) else {
            return false;
        };
        // SAFETY: both pieces lie in their frames.
        unsafe { ptr::copy(a.add(from.offset() as usize), b.add(to.offset() as usize), len) };
        true
    }

    /// Fills `count` elements from `p` on with the low `size` (1, 2, 4 or 8) bytes of `value`; they do not
    /// cross a page. False, and nothing done, otherwise. Bare bytes, as [`Ram::write`].
    #[must_use]
    pub fn fill(&mut self, p: HostPhys, size: usize, value: u64, count: usize) -> bool {
        if !self.in_frame(p, size * count) {
            return false;
        }
        let Some(page) = self.page_to_store(p) else { return false };
        // SAFETY: all elements lie in the frame, and nobody else refers to it now.
        unsafe {
            let at = page.add(p.offset() as usize);
            match size {
                _ if value == 0 => set_bytes(core::slice::from_raw_parts_mut(at, size * count), 0),
                1 => ptr::write_bytes(at, value as u8, count),
                2 => (0..count).for_each(|k| at.cast::<u16>().add(k).write_unaligned(value as u16)),
                4 => (0..count).for_each(|k| at.cast::<u32>().add(k).write_unaligned(value as u32)),
                _ => (0..count).for_each(|k| at.cast::<u64>().add(k).write_unaligned(value)),
            }
        }
        true
    }
}

/// Sets all `bytes` of RAM. A page that is zero is not zeroed again: a host gives out memory where it is
/// written, and only shows a page of zeros where it is read. So a guest that scrubs its memory neither waits
/// for the host nor takes what it does not use.
pub fn set_bytes(bytes: &mut [u8], value: u8) {
    let is_zero = |line: &[u8]| line.iter().fold(0, |any, byte| any | byte) == 0;
    for page in bytes.chunks_mut(4096) {
        if value != 0 || page.len() < 4096 || !page.chunks(64).all(is_zero) {
            page.fill(value);
        }
    }
}

/// `[p, p + len)` cut at page boundaries: each piece's address and its range in the buffer.
pub(crate) fn pieces(
    p: HostPhys,
    len: usize,
) -> impl Iterator<Item = (HostPhys, core::ops::Range<usize>)> {
    let mut done = 0;
    core::iter::from_fn(move || {
        let at = HostPhys(p.0.wrapping_add(done as u64));
        let n = (len - done).min(4096 - at.offset() as usize);
        done += n;
        (n > 0).then_some((at, done - n..done))
    })
}
