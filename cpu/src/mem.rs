//! Memory as handlers see it: a TLB hit in [`FastMem`], everything else in [`SlowMem`].
#![allow(unsafe_op_in_unsafe_fn, reason = "the part of handler bodies that reaches memory")]
#![expect(unsafe_code, reason = "TLB entries hold host addresses")]

use crate::Cpu;
use crate::hint::rare;
use crate::op::{Op, op_flags, slot, uses};
use crate::word::Word;
use mmu::{TLB_ENTRIES, TlbEntry};

/// How a handler body reaches memory. `None` from [`FastMem`]: run the cold twin. From [`SlowMem`]: a
/// trap, in `cpu.trap`.
pub trait Mem {
    /// Whether this is the cold twin.
    const SLOW: bool;
    /// Loads from linear address `la`.
    ///
    /// # Safety
    /// As [`crate::dispatch::Semantics::run`]; so the others.
    unsafe fn load<W: Word>(cpu: *mut Cpu, tlb: *mut TlbEntry, la: u64) -> Option<W>;
    /// Stores `v` at the address.
    ///
    /// # Safety
    /// As `load`.
    unsafe fn store<W: Word>(cpu: *mut Cpu, tlb: *mut TlbEntry, la: u64, v: W) -> Option<()>;
    /// Loads, and stores what `f` makes of it. `f` runs only when the store cannot fail any more.
    ///
    /// # Safety
    /// As `load`.
    unsafe fn update<W: Word>(
        cpu: *mut Cpu,
        tlb: *mut TlbEntry,
        la: u64,
        f: impl FnOnce(W) -> W,
    ) -> Option<()>;
    /// Loads 16 bytes.
    ///
    /// # Safety
    /// As `load`.
    unsafe fn load_vector(cpu: *mut Cpu, tlb: *mut TlbEntry, la: u64) -> Option<u128>;
    /// Stores 16 bytes.
    ///
    /// # Safety
    /// As `load`.
    unsafe fn store_vector(cpu: *mut Cpu, tlb: *mut TlbEntry, la: u64, v: u128) -> Option<()>;
}

/// Hits in the TLB.
pub struct FastMem;
/// Fills the TLB, crosses pages, reaches devices, checks everything.
pub struct SlowMem;

#[inline(always)]
unsafe fn entry(tlb: *mut TlbEntry, la: u64) -> *const TlbEntry {
    tlb.add((la >> 12) as usize & (TLB_ENTRIES - 1))
}

/// The entry for `la`, and its addend. That is read ahead of the tag's compare, in any case: after it the
/// compiler would make up the entry's address again.
#[inline(always)]
unsafe fn found(tlb: *mut TlbEntry, la: u64) -> (*const TlbEntry, u64) {
    let e = entry(tlb, la);
    // SAFETY: every slot of the view holds an entry.
    (e, (&raw const (*e).addend).read_volatile())
}

impl Mem for FastMem {
    const SLOW: bool = false;

    #[inline(always)]
    unsafe fn load<W: Word>(_: *mut Cpu, tlb: *mut TlbEntry, la: u64) -> Option<W> {
        let (e, addend) = found(tlb, la);
        // One compare does tag, permission and page crossing.
        if la ^ (*e).rtag > 4096 - W::BYTES as u64 {
            rare();
            return None;
        }
        // SAFETY: the entry's addend maps its page to a frame of the RAM map.
        Some((addend.wrapping_add(la) as *const W).read_unaligned())
    }

    #[inline(always)]
    unsafe fn store<W: Word>(_: *mut Cpu, tlb: *mut TlbEntry, la: u64, v: W) -> Option<()> {
        let (e, addend) = found(tlb, la);
        if la ^ (*e).wtag > 4096 - W::BYTES as u64 {
            rare();
            return None;
        }
        // SAFETY: as in `load`; wtag matches only where a plain store is all there is to do.
        (addend.wrapping_add(la) as *mut W).write_unaligned(v);
        Some(())
    }

    #[inline(always)]
    unsafe fn update<W: Word>(
        _: *mut Cpu,
        tlb: *mut TlbEntry,
        la: u64,
        f: impl FnOnce(W) -> W,
    ) -> Option<()> {
        let (e, addend) = found(tlb, la);
        if la ^ (*e).wtag > 4096 - W::BYTES as u64 {
            rare();
            return None;
        }
        let p = addend.wrapping_add(la) as *mut W;
        // SAFETY: as in `store`; a writable entry is readable.
        p.write_unaligned(f(p.read_unaligned()));
        Some(())
    }

    #[inline(always)]
    unsafe fn load_vector(_: *mut Cpu, tlb: *mut TlbEntry, la: u64) -> Option<u128> {
        let (e, addend) = found(tlb, la);
        if la ^ (*e).rtag > 4096 - 16 {
            rare();
            return None;
        }
        // SAFETY: as in `load`.
        Some((addend.wrapping_add(la) as *const u128).read_unaligned())
    }

    #[inline(always)]
    unsafe fn store_vector(_: *mut Cpu, tlb: *mut TlbEntry, la: u64, v: u128) -> Option<()> {
        let (e, addend) = found(tlb, la);
        if la ^ (*e).wtag > 4096 - 16 {
            rare();
            return None;
        }
        // SAFETY: as in `store`.
        (addend.wrapping_add(la) as *mut u128).write_unaligned(v);
        Some(())
    }
}

impl Mem for SlowMem {
    const SLOW: bool = true;

    unsafe fn load<W: Word>(cpu: *mut Cpu, _: *mut TlbEntry, la: u64) -> Option<W> {
        let cpu = &mut *cpu;
        let seg = cpu.op_segment();
        cpu.load_at(seg, la).map_err(|t| cpu.env.trap = Some(t)).ok()
    }

    unsafe fn store<W: Word>(cpu: *mut Cpu, _: *mut TlbEntry, la: u64, v: W) -> Option<()> {
        let cpu = &mut *cpu;
        let seg = cpu.op_segment();
        cpu.store_at(seg, la, v).map_err(|t| cpu.env.trap = Some(t)).ok()
    }

    unsafe fn update<W: Word>(
        cpu: *mut Cpu,
        _: *mut TlbEntry,
        la: u64,
        f: impl FnOnce(W) -> W,
    ) -> Option<()> {
        let cpu = &mut *cpu;
        let seg = cpu.op_segment();
        cpu.update_at(seg, la, f).map_err(|t| cpu.env.trap = Some(t)).ok()
    }

    unsafe fn load_vector(cpu: *mut Cpu, _: *mut TlbEntry, la: u64) -> Option<u128> {
        let cpu = &mut *cpu;
        let (seg, mut b) = (cpu.op_segment(), [0; 16]);
        let done = cpu.load_bytes(seg, la, &mut b);
        done.map_err(|t| cpu.env.trap = Some(t)).ok()?;
        Some(u128::from_le_bytes(b))
    }

    unsafe fn store_vector(cpu: *mut Cpu, _: *mut TlbEntry, la: u64, v: u128) -> Option<()> {
        let cpu = &mut *cpu;
        let seg = cpu.op_segment();
        cpu.store_bytes(seg, la, &v.to_le_bytes()).map_err(|t| cpu.env.trap = Some(t)).ok()
    }
}

/// The host address of `len` bytes at `la`, for reads or for writes, where the TLB says that a plain access
/// is all there is to do.
#[inline(always)]
unsafe fn reach(tlb: *mut TlbEntry, la: u64, len: usize, write: bool) -> Option<*mut u8> {
    let e = entry(tlb, la);
    let tag = if write { (*e).wtag } else { (*e).rtag };
    let inside = (1..=4096).contains(&len) && la ^ tag <= 4096 - len as u64;
    inside.then(|| (*e).addend.wrapping_add(la) as *mut u8)
}

impl Cpu {
    /// Copies `n` elements of `size` bytes upwards, between places that the TLB knows, each in one page.
    /// Returns how many: up to where an element copied would be read again, and none where it takes more
    /// than a copy.
    #[inline]
    pub(crate) fn copy_plain(&mut self, src: u64, dst: u64, size: u64, n: u64) -> u64 {
        let len = (n * size) as usize;
        // SAFETY: in a run `tlb` is the current view; what it knows lies in frames of the RAM map.
        unsafe {
            let p = reach(self.caches.tlb, src, len, false);
            let q = reach(self.caches.tlb, dst, len, true);
            let (Some(p), Some(q)) = (p, q) else { return 0 };
            let n = n.min((q as u64).wrapping_sub(p as u64) / size);
            p.copy_to(q, (n * size) as usize);
            n
        }
    }

    /// Copies `len` bytes as [`Self::copy_plain`]; false, nothing being done, if that takes more than one step.
    #[inline]
    pub(crate) fn copies_whole(&mut self, src: u64, dst: u64, len: u64) -> bool {
        // SAFETY: as in `copy_plain`.
        unsafe {
            let p = reach(self.caches.tlb, src, len as usize, false);
            let q = reach(self.caches.tlb, dst, len as usize, true);
            let (Some(p), Some(q)) = (p, q) else { return false };
            let apart = (q as u64).wrapping_sub(p as u64) >= len;
            if apart {
                p.copy_to(q, len as usize);
            }
            apart
        }
    }

    /// Fills `len` bytes at `dst` with elements of `size` bytes; false, as [`Self::copy_plain`], if nothing
    /// is done.
    #[inline]
    pub(crate) fn fill_plain(&mut self, dst: u64, element: u64, size: usize, len: usize) -> bool {
        // SAFETY: as in `copy_plain`, and nobody else refers to guest memory now.
        let bytes = unsafe {
            match reach(self.caches.tlb, dst, len, true) {
                Some(q) => std::slice::from_raw_parts_mut(q, len),
                None => return false,
            }
        };
        let element = &element.to_le_bytes()[..size];
        if element.iter().all(|b| *b == element[0]) {
            mmu::ram::set_bytes(bytes, element[0]);
        } else {
            bytes.chunks_exact_mut(size).for_each(|to| to.copy_from_slice(element));
        }
        true
    }
}

/// How an operation computes its memory operand's address.
pub trait Address: 'static {
    /// Registers that it reads, see [`uses`].
    const READS: u32 = uses::BASE;

    /// The offset in the segment.
    ///
    /// # Safety
    /// As [`crate::dispatch::Semantics::run`].
    unsafe fn offset(op: &Op, cpu: *mut Cpu) -> u64;
    /// The linear address of an access of `size` bytes; `None` from [`FastMem`]: run the cold twin; from
    /// [`SlowMem`]: the segment forbids it, and `cpu.trap` says so.
    ///
    /// # Safety
    /// As `offset`.
    unsafe fn linear<M: Mem>(op: &Op, cpu: *mut Cpu, size: usize, write: bool) -> Option<u64>;
}

/// `[base + disp]` in 64-bit mode, no segment base.
pub struct Base;
/// `[base + index * scale + disp]` in 64-bit mode, no segment base.
pub struct Index;
/// Anything else: FS and GS, short addresses, segmented modes.
pub struct General;

#[inline(always)]
unsafe fn reg(cpu: *mut Cpu, off: u8) -> u64 {
    ((cpu as *const u8).add(off as usize) as *const u64).read()
}

impl Address for Base {
    #[inline(always)]
    unsafe fn offset(op: &Op, cpu: *mut Cpu) -> u64 {
        reg(cpu, op.base).wrapping_add(op.disp as i64 as u64)
    }
    #[inline(always)]
    unsafe fn linear<M: Mem>(op: &Op, cpu: *mut Cpu, _: usize, _: bool) -> Option<u64> {
        Some(Self::offset(op, cpu))
    }
}

impl Address for Index {
    const READS: u32 = uses::BASE | uses::INDEX;

    #[inline(always)]
    unsafe fn offset(op: &Op, cpu: *mut Cpu) -> u64 {
        let index = reg(cpu, op.index).wrapping_mul(op.scale as u64);
        reg(cpu, op.base).wrapping_add(index).wrapping_add(op.disp as i64 as u64)
    }
    #[inline(always)]
    unsafe fn linear<M: Mem>(op: &Op, cpu: *mut Cpu, _: usize, _: bool) -> Option<u64> {
        Some(Self::offset(op, cpu))
    }
}

impl Address for General {
    #[inline(always)]
    unsafe fn offset(op: &Op, cpu: *mut Cpu) -> u64 {
        let a = Index::offset(op, cpu);
        match op.flags & (op_flags::ADDR32 | op_flags::ADDR16) {
            0 => a,
            op_flags::ADDR32 => a as u32 as u64,
            _ => a as u16 as u64,
        }
    }
    #[inline(always)]
    unsafe fn linear<M: Mem>(op: &Op, cpu: *mut Cpu, size: usize, write: bool) -> Option<u64> {
        let a = Self::offset(op, cpu);
        if op.flags & op_flags::LEGACY != 0 {
            if !M::SLOW {
                // A call would cost every handler of this kind a stack frame.
                rare();
                return None;
            }
            return (*cpu).segmented(op.flags >> op_flags::SEG_SHIFT, a, size, write);
        }
        Some(a.wrapping_add(reg(cpu, op.seg)))
    }
}

/// Reads register operand `off`.
#[inline(always)]
pub(crate) unsafe fn get<W: Word>(cpu: *mut Cpu, off: u8) -> W {
    ((cpu as *const u8).add(off as usize) as *const W).read_unaligned()
}

/// Writes register operand `off`; a 32-bit write clears the upper half. AH, CH, DH and BH are written with
/// their whole registers, which are mostly read next: the host would have that wait for a store of a part.
#[inline(always)]
pub(crate) unsafe fn put<W: Word>(cpu: *mut Cpu, off: u8, v: W) {
    let p = (cpu as *mut u8).add(off as usize);
    if W::BITS == 32 {
        (p as *mut u64).write_unaligned(v.u());
    } else if W::BITS == 8 && off & 7 != 0 {
        let whole = p.sub(1) as *mut u64;
        whole.write(whole.read() & !0xff00 | v.u() << 8);
    } else {
        (p as *mut W).write_unaligned(v);
    }
}

const _: () = {
    assert!(std::mem::offset_of!(Cpu, state.regs) == 0);
    assert!(std::mem::offset_of!(Cpu, state.bases.zero) == slot::ZERO as usize);
    assert!(std::mem::offset_of!(Cpu, state.bases.page) == slot::PAGE_BASE as usize);
    assert!(std::mem::offset_of!(Cpu, state.bases.seg) == slot::SEG as usize);
    assert!(std::mem::offset_of!(Cpu, state.bases.two_pages) == slot::TWO_PAGES as usize);
    assert!(std::mem::size_of::<Op>() == 32);
};
