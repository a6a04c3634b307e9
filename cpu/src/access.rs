//! Memory accesses off the fast path: translation, page crossing, self-modifying code.
#![expect(unsafe_code, reason = "the environment of a run is reached through raw pointers")]

use crate::Cpu;
use crate::block::CodeCache;
use crate::bus::Bus;
use crate::mem::{FastMem, Mem};
use crate::op::op_flags;
use crate::processor::Env;
use crate::state::{CodeMode, ar, flags, gpr, seg};
use crate::trap::{Exception, Trap, vector};
use crate::word::Word;
use iced_x86::Instruction;
use mmu::{
    Access, AccessKind, Fault, HostPhys, Linear, Mmu, PageKind, PageKinds, TLB_ENTRIES, TlbEntry,
};

const PAGE: u64 = 4096;

impl Env {
    /// The memory of the machine, lent for the run.
    #[inline(always)]
    pub(crate) fn mmu(&mut self) -> &mut Mmu {
        debug_assert!(!self.mmu.is_null());
        // SAFETY: lent for the run, and nothing holds another reference across a call.
        unsafe { &mut *self.mmu }
    }
}

impl Cpu {
    /// The memory of the machine.
    #[inline(always)]
    pub(crate) fn mmu(&mut self) -> &mut Mmu {
        self.env.mmu()
    }

    /// Memory, to look at.
    #[inline(always)]
    pub(crate) fn mmu_ref(&self) -> &Mmu {
        debug_assert!(!self.env.mmu.is_null());
        // SAFETY: as `mmu`.
        unsafe { &*self.env.mmu }
    }

    /// Decoded code.
    #[inline(always)]
    pub(crate) fn code(&mut self) -> &mut CodeCache {
        debug_assert!(!self.env.code.is_null());
        // SAFETY: as `mmu`.
        unsafe { &mut *self.env.code }
    }

    /// The machine. Marks that the run has to end after this instruction, so that the machine can
    /// sample its lines.
    pub(crate) fn bus(&mut self) -> &mut dyn Bus {
        self.env.leave = true;
        self.env.io = true;
        let bus = self.env.bus.expect("a run has a bus");
        // SAFETY: as `mmu`.
        unsafe { &mut *bus }
    }

    /// The segment of the running operation's memory operand.
    pub(crate) fn op_segment(&self) -> usize {
        // SAFETY: `op` is set by the cold twins before any access.
        (unsafe { (*self.env.op).flags } >> op_flags::SEG_SHIFT) as usize
    }

    /// RIP of the running instruction. Valid in plain instructions and slow paths.
    pub(crate) fn current_rip(&self) -> u64 {
        // SAFETY: as `op_segment`.
        self.rip_at(unsafe { (*self.env.op).page_offset })
    }

    /// RIP of the instruction after the running one.
    pub(crate) fn next_rip(&self) -> u64 {
        // SAFETY: as `op_segment`.
        unsafe { self.rip_at((*self.env.op).page_offset + (*self.env.op).len as u16) }
    }

    pub(crate) fn rip_at(&self, po: u16) -> u64 {
        let linear = self.state.bases.page.wrapping_add(po as u64);
        if self.is_64() {
            return linear;
        }
        // EIP is 32 bits wide in 16-bit code too: beyond 0xffff, the limit of CS decides.
        linear.wrapping_sub(self.state.bases.seg[seg::CS]) as u32 as u64
    }

    pub(crate) fn set_rip_at(&mut self, po: u16) {
        self.state.rip = self.rip_at(po);
    }

    /// The fault of an access through segment `s` that the segment or the address form forbids.
    pub(crate) fn segment_fault(s: usize) -> Trap {
        if s == seg::SS { Trap::SS0 } else { Trap::GP0 }
    }

    fn access(&self, kind: AccessKind) -> Access {
        let ac = self.state.flags.system & flags::AC != 0;
        Access { kind, user: self.state.sys.cpl == 3, ac, implicit: false }
    }

    /// Whether `la` is canonical for the paging mode.
    pub(crate) fn canonical(&self, la: u64) -> bool {
        let bits = if self.state.sys.cr4 & crate::state::control::CR4_LA57 != 0 { 57 } else { 48 };
        let up = 64 - bits;
        ((la << up) as i64 >> up) as u64 == la
    }

    /// Offset `off` in segment `s` to a linear address, for an access of `size` bytes: limit, type and
    /// canonical checks. SDM vol. 3, "Limit Checking" and "Type Checking".
    pub(crate) fn linear(&self, s: usize, off: u64, size: usize, write: bool) -> Result<u64, Trap> {
        if self.is_64() {
            let base = if s >= seg::FS { self.state.bases.seg[s] } else { 0 };
            let la = off.wrapping_add(base);
            let last = la.wrapping_add(size as u64 - 1);
            if !self.canonical(la) || !self.canonical(last) {
                return Err(Self::segment_fault(s));
            }
            return Ok(la);
        }
        let g = &self.state.sys.seg[s];
        let off = off as u32;
        let last = off.wrapping_add(size as u32 - 1);
        let protected = self.state.sys.cr0 & 1 != 0 && self.state.flags.system & flags::VM == 0;
        let typed = if !protected {
            true
        } else if g.unusable() {
            false
        } else if write {
            g.ar & (ar::CODE | ar::RW) == ar::RW
        } else {
            g.ar & (ar::CODE | ar::RW) != ar::CODE
        };
        let inside = if g.ar & (ar::CODE | ar::DC) == ar::DC && protected {
            let top = if g.has(ar::DB) { u32::MAX } else { 0xffff };
            off > g.limit && last <= top && last >= off
        } else {
            last <= g.limit && last >= off
        };
        if !typed || !inside {
            return Err(Self::segment_fault(s));
        }
        Ok(g.base.wrapping_add(off as u64) as u32 as u64)
    }

    #[cold]
    #[inline(never)]
    pub(crate) fn segmented(&mut self, s: u8, off: u64, size: usize, write: bool) -> Option<u64> {
        self.linear(s as usize, off, size, write).map_err(|t| self.env.trap = Some(t)).ok()
    }

    /// Translates for an access that starts at `la` and stays in its page; fills the TLB.
    pub(crate) fn translate(&mut self, la: u64, kind: AccessKind) -> Result<HostPhys, Trap> {
        // SAFETY: in a run `tlb` is the current view.
        if let Some(e) = unsafe { cached(self.caches.tlb, la, 1, kind) } {
            return Ok(HostPhys(e.frame() | la & 0xfff));
        }
        // SAFETY: as above.
        let e = unsafe { &*entry(self.caches.tlb, la) };
        if e.permits(la, kind == AccessKind::Write) {
            let p = HostPhys(e.frame() | la & 0xfff);
            if e.is_device() {
                return Ok(p);
            }
            let kinds = self.mmu().kinds(p);
            // Where nobody has to be told any more, stores shall hit again.
            if kinds.code || kinds.table {
                return Ok(p);
            }
        }
        self.translate_anew(la, kind)
    }

    /// As `translate`, where the TLB has nothing.
    #[inline(never)]
    fn translate_anew(&mut self, la: u64, kind: AccessKind) -> Result<HostPhys, Trap> {
        let (regime, bank, view) = (self.caches.regime, self.caches.bank, self.caches.view);
        let a = self.access(kind);
        let r = self.mmu().fill(&regime, bank, view, Linear(la), a);
        self.drop_flagged_code();
        r.map_err(|f| self.translation_trap(f, la, false))
    }

    /// As `translate`, for accesses that the processor makes itself with supervisor rights: descriptor
    /// tables, TSS.
    pub(crate) fn translate_implicit(
        &mut self,
        la: u64,
        kind: AccessKind,
    ) -> Result<HostPhys, Trap> {
        self.translate_as(la, kind, 0, true)
    }

    /// As `translate`, with the rights of privilege level `cpl`, whatever the current one is; `implicit`
    /// as for descriptor tables. Uses and fills the TLB.
    pub(crate) fn translate_as(
        &mut self,
        la: u64,
        kind: AccessKind,
        cpl: u8,
        implicit: bool,
    ) -> Result<HostPhys, Trap> {
        let (regime, bank, view) =
            (self.caches.regime, self.caches.bank, self.view_of(cpl, implicit));
        let tlb = self.mmu().tlb(bank, view);
        // SAFETY: the view is whole.
        if let Some(e) = unsafe { cached(tlb, la, 1, kind) } {
            return Ok(HostPhys(e.frame() | la & 0xfff));
        }
        let ac = self.state.flags.system & flags::AC != 0;
        let a = Access { kind, user: cpl == 3 && !implicit, ac, implicit };
        let r = self.mmu().fill(&regime, bank, view, Linear(la), a);
        self.drop_flagged_code();
        r.map_err(|f| self.translation_trap(f, la, false))
    }

    /// The first entry of the TLB view of accesses as `translate_as` makes them.
    #[inline(always)]
    fn tlb_as(&mut self, cpl: u8, implicit: bool) -> *const TlbEntry {
        let (bank, view) = (self.caches.bank, self.view_of(cpl, implicit));
        self.mmu().tlb(bank, view)
    }

    /// Loads `buf.len()` bytes (at most a page) as `translate_as` permits, if the TLB serves them.
    #[inline(always)]
    pub(crate) fn load_cached(&mut self, la: u64, buf: &mut [u8], cpl: u8, implicit: bool) -> bool {
        let tlb = self.tlb_as(cpl, implicit);
        // SAFETY: the view is whole, and a hit is an address in RAM.
        unsafe {
            let Some(e) = cached(tlb, la, buf.len(), AccessKind::Read) else { return false };
            let from = e.addend.wrapping_add(la) as *const u8;
            std::ptr::copy_nonoverlapping(from, buf.as_mut_ptr(), buf.len());
        }
        true
    }

    /// The five words at the top of the stack, if the TLB serves them; in 64-bit mode.
    pub(crate) fn peek_frame(&self) -> Option<[u64; 5]> {
        let la = self.state.regs[gpr::RSP];
        // SAFETY: in a run `tlb` is the current view, and a hit is an address in RAM.
        unsafe {
            let e = cached(self.caches.tlb, la, 40, AccessKind::Read)?;
            Some((e.addend.wrapping_add(la) as *const [u64; 5]).read_unaligned())
        }
    }

    /// Stores `words` from `la` on (at most a page) as `translate_as` permits, if the TLB serves them.
    #[inline(always)]
    pub(crate) fn store_cached(&mut self, la: u64, words: &[u64], cpl: u8, implicit: bool) -> bool {
        let tlb = self.tlb_as(cpl, implicit);
        // SAFETY: as in `load_cached`; a page that writes hit needs no more than the store.
        unsafe {
            let Some(e) = cached(tlb, la, 8 * words.len(), AccessKind::Write) else { return false };
            let to = e.addend.wrapping_add(la) as *mut u64;
            for (k, word) in words.iter().enumerate() {
                to.add(k).write_unaligned(*word);
            }
        }
        true
    }

    /// The trap of a failed translation; `fetch`: of an instruction, which has no length yet.
    pub(crate) fn translation_trap(&mut self, f: Fault, la: u64, fetch: bool) -> Trap {
        match f {
            Fault::Page { code } => {
                Trap::Fault(Exception { vector: vector::PF, error: Some(code), address: la })
            }
            Fault::EptViolation { gpa, qualification, linear } => {
                self.ept_violation(gpa, qualification, linear, fetch)
            }
            Fault::EptMisconfig { gpa } => self.ept_misconfig(gpa, fetch),
        }
    }

    fn check_canonical(&self, seg: usize, la: u64, size: usize) -> Result<(), Trap> {
        if !self.is_64() {
            // What lies flat has not been checked against the limit, which is where addresses end.
            let flat = self.caches.mode == CodeMode::Flat32 && seg < crate::state::seg::FS;
            let over = (la as u32 as u64 + (size as u64 - 1)) >> 32 != 0;
            return if flat && over { Err(Self::segment_fault(seg)) } else { Ok(()) };
        }
        if self.canonical(la) && self.canonical(la.wrapping_add(size as u64 - 1)) {
            return Ok(());
        }
        Err(Self::segment_fault(seg))
    }

    /// The linear address of byte `i` of an access at `la`.
    pub(crate) fn step(&self, la: u64, i: u64) -> u64 {
        let a = la.wrapping_add(i);
        if self.is_64() { a } else { a as u32 as u64 }
    }

    /// Loads `buf.len()` bytes (at most a page) from `la`, through segment `seg` for the kind of fault.
    pub(crate) fn load_bytes(&mut self, seg: usize, la: u64, buf: &mut [u8]) -> Result<(), Trap> {
        self.check_access(seg, la, buf.len())?;
        self.load_unaligned(la, buf)
    }

    /// As [`Cpu::load_bytes`], for what alignment checks leave alone.
    pub(crate) fn load_unaligned(&mut self, la: u64, buf: &mut [u8]) -> Result<(), Trap> {
        if self.is_watched() {
            self.watch(la, buf.len(), false);
        }
        // SAFETY: in a run `tlb` is the current view, and a hit is an address in RAM.
        unsafe {
            if let Some(e) = cached(self.caches.tlb, la, buf.len(), AccessKind::Read) {
                let from = e.addend.wrapping_add(la) as *const u8;
                std::ptr::copy_nonoverlapping(from, buf.as_mut_ptr(), buf.len());
                return Ok(());
            }
        }
        let first = (PAGE - (la & (PAGE - 1))) as usize;
        let p = self.translate(la, AccessKind::Read)?;
        if buf.len() <= first {
            return self.phys_load(p, buf);
        }
        let q = self.translate(self.step(la, first as u64), AccessKind::Read)?;
        let (a, b) = buf.split_at_mut(first);
        self.phys_load(p, a)?;
        self.phys_load(q, b)
    }

    /// Stores `buf` (at most a page) at `la`; all of it is checked before the first byte is stored.
    pub(crate) fn store_bytes(&mut self, seg: usize, la: u64, buf: &[u8]) -> Result<(), Trap> {
        self.check_access(seg, la, buf.len())?;
        self.store_unaligned(la, buf)
    }

    /// As [`Cpu::store_bytes`], for what alignment checks leave alone.
    pub(crate) fn store_unaligned(&mut self, la: u64, buf: &[u8]) -> Result<(), Trap> {
        if self.is_watched() {
            self.watch(la, buf.len(), true);
        }
        // SAFETY: as in `load_bytes`; a page that writes hit needs no more than the store.
        unsafe {
            if let Some(e) = cached(self.caches.tlb, la, buf.len(), AccessKind::Write) {
                let to = e.addend.wrapping_add(la) as *mut u8;
                std::ptr::copy_nonoverlapping(buf.as_ptr(), to, buf.len());
                return Ok(());
            }
        }
        let first = (PAGE - (la & (PAGE - 1))) as usize;
        let p = self.translate(la, AccessKind::Write)?;
        if buf.len() <= first {
            return self.phys_store(p, buf);
        }
        let q = self.translate(self.step(la, first as u64), AccessKind::Write)?;
        let (a, b) = buf.split_at(first);
        self.phys_store(p, a)?;
        self.phys_store(q, b)
    }

    /// Canonical form, then alignment (#AC at CPL 3 with CR0.AM and EFLAGS.AC). Of what is wider than the x87's
    /// operands nothing is checked: the SDM leaves that to implementations (vol. 2, "MOVUPS", and the classes of VEX
    /// exceptions without #AC), and Intel's do not.
    fn check_access(&self, seg: usize, la: u64, size: usize) -> Result<(), Trap> {
        self.check_canonical(seg, la, size)?;
        let alignment = match size {
            2 | 4 | 8 => size as u64,
            10 => 8,
            _ => 1,
        };
        if la & (alignment - 1) != 0 && self.aligned_only() {
            return Err(Trap::fault_code(vector::AC, 0));
        }
        Ok(())
    }

    /// The far pointer in memory operand `i`: selector, and offset of `size` bytes. Alignment is checked
    /// four bytes wide at most.
    pub(crate) fn far_pointer(&mut self, i: &Instruction, size: usize) -> Result<(u16, u64), Trap> {
        let (s, la) = self.memory_operand(i, size + 2, false)?;
        self.probe(s, la, size.min(4), AccessKind::Read)?;
        let (mut offset, mut selector) = ([0; 8], [0; 2]);
        self.load_unaligned(la, &mut offset[..size])?;
        self.load_unaligned(self.step(la, size as u64), &mut selector)?;
        Ok((u16::from_le_bytes(selector), u64::from_le_bytes(offset)))
    }

    /// The fault of an access at `la`, without the access.
    pub(crate) fn probe(
        &mut self,
        seg: usize,
        la: u64,
        size: usize,
        kind: AccessKind,
    ) -> Result<(), Trap> {
        self.check_access(seg, la, size)?;
        self.probe_unaligned(la, size, kind)
    }

    /// As [`Cpu::probe`], for what alignment checks leave alone.
    pub(crate) fn probe_unaligned(
        &mut self,
        la: u64,
        size: usize,
        kind: AccessKind,
    ) -> Result<(), Trap> {
        let cpl = self.state.sys.cpl;
        self.translate_as(la, kind, cpl, false)?;
        let first = PAGE - (la & (PAGE - 1));
        if size as u64 > first {
            self.translate_as(self.step(la, first), kind, cpl, false)?;
        }
        Ok(())
    }

    /// Whether misaligned accesses raise #AC now. SDM vol. 3, "Alignment Check Exception (#AC)".
    pub(crate) fn aligned_only(&self) -> bool {
        self.state.sys.cpl == 3
            && self.state.flags.system & flags::AC != 0
            && self.state.sys.cr0 & crate::state::control::CR0_AM != 0
    }

    /// Loads a word at linear address `la`.
    pub(crate) fn load_at<W: Word>(&mut self, seg: usize, la: u64) -> Result<W, Trap> {
        // SAFETY: in a run `tlb` is the current view.
        if let Some(v) = unsafe { FastMem::load(self, self.caches.tlb, la) } {
            return Ok(v);
        }
        let mut b = [0; 8];
        self.load_bytes(seg, la, &mut b[..W::BYTES])?;
        Ok(W::of(u64::from_le_bytes(b)))
    }

    /// Stores a word at linear address `la`.
    pub(crate) fn store_at<W: Word>(&mut self, seg: usize, la: u64, v: W) -> Result<(), Trap> {
        // SAFETY: as `load_at`.
        if unsafe { FastMem::store(self, self.caches.tlb, la, v) }.is_some() {
            return Ok(());
        }
        self.store_bytes(seg, la, &v.u().to_le_bytes()[..W::BYTES])
    }

    /// Loads a word, and stores what `f` makes of it; `f` runs when nothing can fail any more.
    pub(crate) fn update_at<W: Word>(
        &mut self,
        seg: usize,
        la: u64,
        f: impl FnOnce(W) -> W,
    ) -> Result<(), Trap> {
        self.check_access(seg, la, W::BYTES)?;
        self.translate(la, AccessKind::Write)?;
        let first = PAGE - (la & (PAGE - 1));
        if (W::BYTES as u64) > first {
            self.translate(self.step(la, first), AccessKind::Write)?;
        }
        let old = self.load_at::<W>(seg, la)?;
        self.store_at(seg, la, f(old))
    }

    /// Loads from physical memory or a device; `buf` stays in one page.
    pub(crate) fn phys_load(&mut self, p: HostPhys, buf: &mut [u8]) -> Result<(), Trap> {
        if !self.mmu().ram.holds_page(p) {
            return self.device_load(p, buf);
        }
        if self.mmu().kinds(p).slow_path {
            return self.special_load(p, buf);
        }
        let read = self.mmu().read_slice(p, buf);
        debug_assert!(read, "an access to RAM leaves its page");
        Ok(())
    }

    /// Stores to physical memory or a device; `buf` stays in one page. Drops decoded code and shadow
    /// entries made from the bytes.
    pub(crate) fn phys_store(&mut self, p: HostPhys, buf: &[u8]) -> Result<(), Trap> {
        if !self.mmu().ram.holds_page(p) {
            return self.device_store(p, buf);
        }
        let kinds = self.mmu().kinds(p);
        if kinds.slow_path {
            return self.special_store(p, buf);
        }
        let stored = self.mmu().ram.write(p, buf);
        debug_assert!(stored, "an access to RAM leaves its page");
        self.stored_in(kinds, p, buf.len());
        Ok(())
    }

    /// Writes RAM inside a page and keeps code and shadow pages coherent; false outside RAM.
    pub(crate) fn phys_write(&mut self, p: HostPhys, buf: &[u8]) -> bool {
        if !self.mmu().ram.write(p, buf) {
            return false;
        }
        self.stored(p, buf.len());
        true
    }

    /// Bytes of RAM have been stored: drops what was made from them.
    pub(crate) fn stored(&mut self, p: HostPhys, len: usize) {
        let kinds = self.mmu().kinds(p);
        self.stored_in(kinds, p, len);
    }

    /// As `stored`, in a page of these kinds.
    #[inline]
    fn stored_in(&mut self, kinds: PageKinds, p: HostPhys, len: usize) {
        if kinds.table {
            self.env.charge_watched_store();
            self.mmu().note_store(p, len);
            self.refresh_generation();
        }
        if kinds.code {
            self.code_stored(p, len);
        }
    }

    /// Bytes of a page with decoded code have been stored.
    fn code_stored(&mut self, p: HostPhys, len: usize) {
        self.env.charge_watched_store();
        if self.code().note_store(p, len) {
            self.env.leave = true;
            if self.code().vacant(p) {
                self.mmu().set_kind(p, PageKind::Code, false);
            }
        }
    }

    /// Drops code from the pages in which a translation has set accessed or dirty flags.
    pub(crate) fn drop_flagged_code(&mut self) {
        while let Some(p) = self.mmu().code_store() {
            self.code_stored(p, PAGE as usize);
        }
    }

    /// Takes up a new generation of the address space, if there is one.
    pub(crate) fn refresh_generation(&mut self) {
        if self.mmu().changed() {
            self.env.leave = true;
            let bank = self.caches.bank;
            let g = self.mmu().generation(bank);
            self.set_generation(g);
        }
    }
}

/// The entry of `tlb` for `la`, if there is one.
///
/// # Safety
/// `tlb` is the first entry of a live view.
#[inline(always)]
unsafe fn entry(tlb: *const TlbEntry, la: u64) -> *const TlbEntry {
    // SAFETY: a view has as many entries.
    unsafe { tlb.add((la >> 12) as usize % TLB_ENTRIES) }
}

/// The entry of `tlb` that serves an access of `len` bytes (at most a page) at `la`.
///
/// # Safety
/// `tlb` is the first entry of a live view.
#[inline(always)]
unsafe fn cached<'a>(
    tlb: *const TlbEntry,
    la: u64,
    len: usize,
    kind: AccessKind,
) -> Option<&'a TlbEntry> {
    // SAFETY: `tlb` is a view, which lives.
    let e = unsafe { &*entry(tlb, la) };
    let tag = if kind == AccessKind::Write { e.wtag } else { e.rtag };
    (la ^ tag <= PAGE - len as u64).then_some(e)
}
