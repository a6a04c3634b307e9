//! Segment descriptors and the tables that hold them. SDM vol. 3, "Segment Descriptors" and "System
//! Descriptor Types".

use crate::Cpu;
use crate::state::{Segment, ar, seg};
use crate::trap::{Trap, vector};
use mmu::{AccessKind, View};

/// The first eight bytes of a descriptor or gate.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Descriptor(pub u64);

/// Types of system descriptors.
pub mod system {
    #![expect(missing_docs, reason = "the names are the SDM's")]
    pub const TSS16: u32 = 1;
    pub const LDT: u32 = 2;
    pub const TSS16_BUSY: u32 = 3;
    pub const CALL_GATE16: u32 = 4;
    pub const TASK_GATE: u32 = 5;
    pub const INTERRUPT_GATE16: u32 = 6;
    pub const TRAP_GATE16: u32 = 7;
    pub const TSS: u32 = 9;
    pub const TSS_BUSY: u32 = 11;
    pub const CALL_GATE: u32 = 12;
    pub const INTERRUPT_GATE: u32 = 14;
    pub const TRAP_GATE: u32 = 15;
}

impl Descriptor {
    /// Access rights in the layout of [`Segment::ar`].
    pub fn ar(self) -> u32 {
        (self.0 >> 40) as u32 & 0xf0ff
    }

    /// Whether all bits of `mask` are set in the access rights.
    pub fn has(self, mask: u32) -> bool {
        self.ar() & mask == mask
    }

    /// Descriptor privilege level.
    pub fn dpl(self) -> u8 {
        (self.0 >> 45 & 3) as u8
    }

    /// Bit P: whether the descriptor is present.
    pub fn present(self) -> bool {
        self.has(ar::P)
    }

    /// A code or data segment.
    pub fn is_segment(self) -> bool {
        self.has(ar::S)
    }

    /// A code segment.
    pub fn is_code(self) -> bool {
        self.has(ar::S | ar::CODE)
    }

    /// A conforming code segment.
    pub fn is_conforming(self) -> bool {
        self.has(ar::S | ar::CODE | ar::DC)
    }

    /// A data segment that may be written.
    pub fn is_writable(self) -> bool {
        self.ar() & (ar::S | ar::CODE | ar::RW) == ar::S | ar::RW
    }

    /// The type of a system descriptor; `None` for code and data.
    pub fn system(self) -> Option<u32> {
        (!self.is_segment()).then(|| self.ar() & 15)
    }

    /// Base address, bits 31:0.
    pub fn base(self) -> u64 {
        (self.0 >> 16 & 0xff_ffff) | (self.0 >> 56) << 24
    }

    /// Limit in bytes.
    pub fn limit(self) -> u32 {
        let raw = (self.0 & 0xffff | self.0 >> 32 & 0xf_0000) as u32;
        if self.has(ar::G) { raw << 12 | 0xfff } else { raw }
    }

    /// The segment register that this descriptor makes.
    pub fn segment(self, selector: u16) -> Segment {
        Segment { selector, ar: self.ar(), limit: self.limit(), base: self.base() }
    }

    /// Target selector of a gate.
    pub fn gate_selector(self) -> u16 {
        (self.0 >> 16) as u16
    }

    /// Target offset of a gate, bits 31:0; 16-bit gates have 16 bits.
    pub fn gate_offset(self) -> u64 {
        let low = self.0 & 0xffff;
        if self.ar() & 8 == 0 { low } else { low | self.0 >> 32 & 0xffff_0000 }
    }
}

/// What a null selector leaves in a segment register.
pub(crate) fn null_segment(selector: u16) -> Segment {
    Segment { selector, ar: ar::UNUSABLE, limit: 0, base: 0 }
}

/// The SS that a transfer to an inner level leaves in 64-bit mode.
pub(crate) fn null_stack(cpl: u8) -> Segment {
    let ar = ar::UNUSABLE | (cpl as u32) << ar::DPL_SHIFT;
    Segment { selector: cpl as u16, ar, limit: 0, base: 0 }
}

/// Whether a selector is null.
pub(crate) fn is_null(selector: u16) -> bool {
    selector & 0xfffc == 0
}

/// Requested privilege level.
pub(crate) fn rpl(selector: u16) -> u8 {
    (selector & 3) as u8
}

/// A fault whose error code names a selector. `ext` is 1 while an event from outside the program is
/// delivered.
pub(crate) fn selector_fault(vector: u8, selector: u16, ext: u32) -> Trap {
    Trap::fault_code(vector, (selector & 0xfffc) as u32 | ext)
}

/// #GP(selector).
pub(crate) fn gp(selector: u16) -> Trap {
    selector_fault(vector::GP, selector, 0)
}

impl Cpu {
    /// The linear address of byte `i` from `la`: 32 bits outside IA-32e mode.
    fn table_address(&self, la: u64, i: u64) -> u64 {
        let a = la.wrapping_add(i);
        if self.long_mode() { a } else { a as u32 as u64 }
    }

    /// Loads bytes with supervisor rights, whatever the CPL: descriptor tables, TSS.
    pub(crate) fn load_implicit(&mut self, la: u64, buf: &mut [u8]) -> Result<(), Trap> {
        let la = self.table_address(la, 0);
        if self.halts.watching {
            self.note_access(la, buf.len(), false);
        }
        let first = (4096 - (la & 4095)) as usize;
        let p = self.translate_implicit(la, AccessKind::Read)?;
        if buf.len() <= first {
            return self.phys_load(p, buf);
        }
        let la = self.table_address(la, first as u64);
        let q = self.translate_implicit(la, AccessKind::Read)?;
        let (a, b) = buf.split_at_mut(first);
        self.phys_load(p, a)?;
        self.phys_load(q, b)
    }

    /// Loads a little-endian number of `size` bytes with supervisor rights.
    #[inline]
    pub(crate) fn load_table(&mut self, la: u64, size: usize) -> Result<u64, Trap> {
        let mut b = [0; 8];
        let at = self.table_address(la, 0);
        if !self.load_cached(at, &mut b[..size], 0, true) {
            self.load_implicit(la, &mut b[..size])?;
        }
        Ok(u64::from_le_bytes(b))
    }

    /// Stores bytes with the rights of privilege level `cpl`; `implicit`: with supervisor rights.
    pub(crate) fn store_as(
        &mut self,
        la: u64,
        buf: &[u8],
        cpl: u8,
        implicit: bool,
    ) -> Result<(), Trap> {
        if self.halts.watching {
            self.note_access(la, buf.len(), true);
        }
        let first = (4096 - (la & 4095)) as usize;
        let p = self.translate_as(la, AccessKind::Write, cpl, implicit)?;
        if buf.len() <= first {
            return self.phys_store(p, buf);
        }
        let next = self.table_address(la, first as u64);
        let q = self.translate_as(next, AccessKind::Write, cpl, implicit)?;
        let (a, b) = buf.split_at(first);
        self.phys_store(p, a)?;
        self.phys_store(q, b)
    }

    /// The TLB view of accesses at privilege level `cpl`.
    pub(crate) fn view_of(&self, cpl: u8, implicit: bool) -> View {
        let ac = self.state.flags.system & crate::state::flags::AC != 0;
        if cpl == 3 && !implicit {
            View::User
        } else if self.caches.regime.smap && (implicit || !ac) {
            View::SupervisorSmap
        } else {
            View::Supervisor
        }
    }

    /// Linear address of a descriptor; `None` outside the table.
    pub(crate) fn descriptor_address(&self, selector: u16) -> Option<u64> {
        let index = (selector & 0xfff8) as u64;
        let (base, limit) = if selector & 4 == 0 {
            (self.state.sys.gdtr.base, self.state.sys.gdtr.limit as u64)
        } else if self.state.sys.ldtr.unusable() {
            return None;
        } else {
            (self.state.sys.ldtr.base, self.state.sys.ldtr.limit as u64)
        };
        (index + 7 <= limit).then(|| self.table_address(base, index))
    }

    /// The descriptor of `selector`; outside the table, fault `vector` with the selector.
    pub(crate) fn descriptor(
        &mut self,
        selector: u16,
        vector: u8,
        ext: u32,
    ) -> Result<Descriptor, Trap> {
        let Some(la) = self.descriptor_address(selector) else {
            return Err(selector_fault(vector, selector, ext));
        };
        Ok(Descriptor(self.load_table(la, 8)?))
    }

    /// The second half of a 16-byte descriptor. #GP(selector) if it is outside the table, or its type
    /// field is not 0.
    pub(crate) fn descriptor_upper(&mut self, selector: u16, ext: u32) -> Result<u64, Trap> {
        let fault = selector_fault(vector::GP, selector, ext);
        let at = selector.checked_add(8).and_then(|s| self.descriptor_address(s)).ok_or(fault)?;
        let upper = self.load_table(at, 8)?;
        if upper >> 40 & 0x1f != 0 {
            return Err(fault);
        }
        Ok(upper & 0xffff_ffff)
    }

    /// Sets bits in the type field of a descriptor in memory.
    pub(crate) fn set_descriptor_type(&mut self, selector: u16, bits: u8) -> Result<(), Trap> {
        self.change_descriptor_type(selector, |t| t | bits)
    }

    /// Replaces the access byte of a descriptor in memory.
    pub(crate) fn change_descriptor_type(
        &mut self,
        selector: u16,
        f: impl FnOnce(u8) -> u8,
    ) -> Result<(), Trap> {
        let Some(la) = self.descriptor_address(selector) else { return Ok(()) };
        let la = self.table_address(la, 5);
        let old = self.load_table(la, 1)? as u8;
        self.store_as(la, &[f(old)], 0, true)
    }

    /// Sets the accessed bit of a code or data descriptor in memory, and in what is returned.
    pub(crate) fn accessed(&mut self, selector: u16, d: Descriptor) -> Result<Descriptor, Trap> {
        if d.has(ar::ACCESSED) {
            return Ok(d);
        }
        self.set_descriptor_type(selector, ar::ACCESSED as u8)?;
        Ok(Descriptor(d.0 | 1 << 40))
    }

    /// The stack pointer field of level `cpl` in the TSS: (SS, SP). #TS(TR) outside its limit.
    pub(crate) fn tss_stack(&mut self, cpl: u8, ext: u32) -> Result<(u16, u64), Trap> {
        let tr = self.state.sys.tr;
        let wide = tr.ar & 8 != 0;
        let (size, at) = if wide { (4, 4 + 8 * cpl as u64) } else { (2, 2 + 4 * cpl as u64) };
        if at + 2 * size as u64 - 1 > tr.limit as u64 {
            return Err(selector_fault(vector::TS, tr.selector, ext));
        }
        let sp = self.load_table(tr.base.wrapping_add(at), size)?;
        let ss = self.load_table(tr.base.wrapping_add(at + size as u64), 2)?;
        Ok((ss as u16, sp))
    }

    /// An RSP or IST field of the 64-bit TSS at offset `at`. #TS(TR) outside its limit.
    pub(crate) fn tss_stack64(&mut self, at: u64, ext: u32) -> Result<u64, Trap> {
        let tr = self.state.sys.tr;
        if at + 7 > tr.limit as u64 {
            return Err(selector_fault(vector::TS, tr.selector, ext));
        }
        self.load_table(tr.base.wrapping_add(at), 8)
    }

    /// Checks the new SS of a transfer to inner level `cpl`. SDM vol. 3, "Exception- or
    /// Interrupt-Handler Procedures".
    pub(crate) fn inner_stack(&mut self, ss: u16, cpl: u8, ext: u32) -> Result<Segment, Trap> {
        let ts = selector_fault(vector::TS, ss, ext);
        if is_null(ss) {
            return Err(selector_fault(vector::TS, 0, ext));
        }
        let d = self.descriptor(ss, vector::TS, ext)?;
        if rpl(ss) != cpl || d.dpl() != cpl || !d.is_writable() {
            return Err(ts);
        }
        if !d.present() {
            return Err(selector_fault(vector::SS, ss, ext));
        }
        Ok(self.accessed(ss, d)?.segment(ss))
    }
}

/// A stack that is pushed to before it is the current one.
pub(crate) struct NewStack {
    /// SS.
    pub(crate) ss: Segment,
    /// Stack pointer, at full width.
    pub(crate) sp: u64,
    /// Privilege level of the accesses.
    pub(crate) cpl: u8,
    /// 64-bit mode: no segmentation.
    pub(crate) long: bool,
    /// Error code of #SS.
    pub(crate) error: u32,
}

impl NewStack {
    fn fault(&self) -> Trap {
        Trap::fault_code(vector::SS, self.error)
    }

    fn mask(&self) -> u64 {
        match (self.long, self.ss.has(ar::DB)) {
            (true, _) => u64::MAX,
            (false, true) => 0xffff_ffff,
            (false, false) => 0xffff,
        }
    }

    fn linear(&self, cpu: &Cpu, off: u64, size: u64) -> Result<u64, Trap> {
        if self.long {
            let last = off.wrapping_add(size - 1);
            let ok = cpu.canonical(off) && cpu.canonical(last);
            return if ok { Ok(off) } else { Err(self.fault()) };
        }
        let last = off + size - 1;
        let inside = if self.ss.ar & (ar::CODE | ar::DC) == ar::DC && cpu.protected() {
            let top = if self.ss.has(ar::DB) { 0xffff_ffff } else { 0xffff };
            off > self.ss.limit as u64 && last <= top
        } else {
            last <= self.ss.limit as u64
        };
        if !inside {
            return Err(self.fault());
        }
        Ok(self.ss.base.wrapping_add(off) as u32 as u64)
    }

    /// Pushes `size` bytes of `v`.
    pub(crate) fn push(&mut self, cpu: &mut Cpu, size: usize, v: u64) -> Result<(), Trap> {
        let mask = self.mask();
        let off = self.sp.wrapping_sub(size as u64) & mask;
        let la = self.linear(cpu, off, size as u64)?;
        if self.cpl == 3 && la & (size as u64 - 1) != 0 && cpu.aligned_only() {
            return Err(Trap::fault_code(vector::AC, 0));
        }
        cpu.store_as(la, &v.to_le_bytes()[..size], self.cpl, false)?;
        self.sp = (self.sp & !mask) | off;
        Ok(())
    }

    /// Pushes the eight-byte values of `frame`, the last one first, in 64-bit mode.
    pub(crate) fn push_frame(&mut self, cpu: &mut Cpu, frame: &[u64]) -> Result<(), Trap> {
        debug_assert!(self.long && self.sp & 7 == 0);
        let la = self.sp.wrapping_sub(8 * frame.len() as u64);
        if cpu.store_cached(la, frame, self.cpl, false) {
            self.sp = la;
            return Ok(());
        }
        frame.iter().rev().try_for_each(|v| self.push(cpu, 8, *v))
    }

    /// The current stack.
    pub(crate) fn current(cpu: &Cpu, ext: u32) -> NewStack {
        let (ss, cpl) = (cpu.state.sys.seg[seg::SS], cpu.state.sys.cpl);
        let sp = cpu.state.regs[crate::state::gpr::RSP];
        NewStack { ss, sp, cpl, long: cpu.is_64(), error: ext }
    }
}
