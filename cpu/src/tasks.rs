//! Hardware task switches. SDM vol. 3, "Task Management".

use crate::Cpu;
use crate::debug::DR6_BT;
use crate::descriptors::{Descriptor, is_null, null_segment, rpl, selector_fault, system};
use crate::state::control::{CR0_PG, CR0_TS};
use crate::state::{Activity, Segment, ar, flags, seg};
use crate::trap::{Trap, vector};

/// What switches; the numbers are those of the exit qualification.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[repr(u8)]
pub(crate) enum Source {
    Call = 0,
    Iret = 1,
    JumpEntry = 2,
    Gate = 3,
}

/// Where a TSS keeps things; the 16-bit one has neither CR3 nor FS, GS and T.
struct Layout {
    /// Bytes of a register.
    size: u64,
    ip: u64,
    flags: u64,
    regs: u64,
    /// First of the selectors, and the distance between two.
    segments: u64,
    step: u64,
    count: usize,
    ldt: u64,
    /// Smallest limit.
    limit: u32,
}

const TSS32: Layout = Layout {
    size: 4,
    ip: 32,
    flags: 36,
    regs: 40,
    segments: 72,
    step: 4,
    count: 6,
    ldt: 96,
    limit: 0x67,
};

const TSS16: Layout = Layout {
    size: 2,
    ip: 14,
    flags: 16,
    regs: 18,
    segments: 34,
    step: 2,
    count: 4,
    ldt: 42,
    limit: 0x2b,
};

fn layout(wide: bool) -> &'static Layout {
    if wide { &TSS32 } else { &TSS16 }
}

/// A task's registers as a TSS holds them.
struct Image {
    cr3: Option<u64>,
    ip: u64,
    flags: u64,
    regs: [u64; 8],
    selectors: [u16; 6],
    ldt: u16,
    trap: bool,
}

impl Cpu {
    /// Switches to the task of `selector`. On an error nothing has changed; faults in the new task's
    /// context are delivered there. `error`: the error code that the new task's stack gets.
    pub(crate) fn switch_task(
        &mut self,
        selector: u16,
        source: Source,
        error: Option<u32>,
        ext: u32,
    ) -> Result<(), Trap> {
        let d = self.task_descriptor(selector, source, ext)?;
        self.vmx_task_switch(selector, source as u8)?;
        let new = d.segment(selector);
        let image = self.read_task(&new)?;
        let old = self.state.sys.tr;
        self.save_task(&old, source)?;
        if matches!(source, Source::JumpEntry | Source::Iret) {
            self.change_descriptor_type(old.selector, |t| t & !2)?;
        }
        if matches!(source, Source::Call | Source::Gate) {
            self.store_as(new.base, &old.selector.to_le_bytes(), 0, true)?;
        }
        if source != Source::Iret {
            self.set_descriptor_type(selector, 2)?;
        }
        self.state.sys.delivering = None;
        self.state.sys.sti_shadow = false;
        self.state.sys.ss_shadow = false;
        self.state.sys.step_trap = false;
        self.state.sys.activity = Activity::Active;
        self.state.sys.tr = Segment { ar: new.ar | 2, ..new };
        self.state.sys.cr0 |= CR0_TS;
        let nested = matches!(source, Source::Call | Source::Gate);
        if let Err(Trap::Fault(e)) = self.enter_task(&image, nested, error) {
            self.state.sys.task_fault = Some(e);
        }
        Ok(())
    }

    /// The TSS descriptor that `source` may switch to.
    fn task_descriptor(
        &mut self,
        selector: u16,
        source: Source,
        ext: u32,
    ) -> Result<Descriptor, Trap> {
        let iret = source == Source::Iret;
        let wrong = if iret { vector::TS } else { vector::GP };
        let fault = |v| selector_fault(v, selector, ext);
        if selector & 4 != 0 || is_null(selector) {
            return Err(fault(wrong));
        }
        let d = self.descriptor(selector, wrong, ext)?;
        let kinds = if iret {
            [system::TSS_BUSY, system::TSS16_BUSY]
        } else {
            [system::TSS, system::TSS16]
        };
        if !d.system().is_some_and(|t| kinds.contains(&t)) {
            return Err(fault(wrong));
        }
        if !d.present() {
            return Err(fault(vector::NP));
        }
        if d.limit() < layout(d.ar() & 8 != 0).limit {
            return Err(fault(vector::TS));
        }
        Ok(d)
    }

    fn read_task(&mut self, tss: &Segment) -> Result<Image, Trap> {
        let wide = tss.ar & 8 != 0;
        let l = layout(wide);
        let size = l.size as usize;
        let at = |off: u64| tss.base.wrapping_add(off);
        let mut regs = [0; 8];
        for (n, r) in regs.iter_mut().enumerate() {
            *r = self.load_table(at(l.regs + l.size * n as u64), size)?;
        }
        let mut selectors = [0; 6];
        for (n, s) in selectors.iter_mut().enumerate().take(l.count) {
            *s = self.load_table(at(l.segments + l.step * n as u64), 2)? as u16;
        }
        Ok(Image {
            cr3: if wide { Some(self.load_table(at(28), 4)?) } else { None },
            ip: self.load_table(at(l.ip), size)?,
            flags: self.load_table(at(l.flags), size)?,
            regs,
            selectors,
            ldt: self.load_table(at(l.ldt), 2)? as u16,
            trap: wide && self.load_table(at(100), 1)? & 1 != 0,
        })
    }

    /// Writes the dynamic fields of the old task's TSS.
    fn save_task(&mut self, tss: &Segment, source: Source) -> Result<(), Trap> {
        let l = layout(tss.ar & 8 != 0);
        let nt = if source == Source::Iret { flags::NT } else { 0 };
        // A fault's task returns to the instruction.
        let fault =
            source == Source::Gate && self.state.sys.delivering.is_some_and(|e| e.is_fault());
        let rf = if fault { flags::RF } else { 0 };
        let (rip, eflags) = (self.state.rip, self.rflags() & !nt | rf);
        for (off, v) in [(l.ip, rip), (l.flags, eflags)] {
            let la = tss.base.wrapping_add(off);
            self.store_as(la, &v.to_le_bytes()[..l.size as usize], 0, true)?;
        }
        for n in 0..8 {
            let v = self.state.regs[n];
            let la = tss.base.wrapping_add(l.regs + l.size * n as u64);
            self.store_as(la, &v.to_le_bytes()[..l.size as usize], 0, true)?;
        }
        for n in 0..l.count {
            let v = self.state.sys.seg[n].selector;
            let la = tss.base.wrapping_add(l.segments + l.step * n as u64);
            self.store_as(la, &v.to_le_bytes(), 0, true)?;
        }
        Ok(())
    }

    /// Takes up the registers of a new task. Errors are faults of the new task.
    fn enter_task(&mut self, t: &Image, nested: bool, error: Option<u32>) -> Result<(), Trap> {
        let wide = t.cr3.is_some();
        self.state.rip = t.ip;
        let high = if wide { 0 } else { 0xffff_0000 };
        for (n, v) in t.regs.iter().enumerate() {
            self.state.regs[n] = if wide { *v } else { self.state.regs[n] & high | v };
        }
        let eflags = t.flags | if nested { flags::NT } else { 0 };
        self.set_rflags(eflags & 0x3f_7fd7);
        for (n, &s) in t.selectors.iter().enumerate() {
            self.state.sys.seg[n] = null_segment(s);
            self.state.bases.seg[n] = 0;
        }
        self.state.sys.ldtr = null_segment(t.ldt);
        self.state.sys.cpl = if self.v86() { 3 } else { rpl(t.selectors[seg::CS]) };
        if let Some(cr3) = t.cr3.filter(|_| self.state.sys.cr0 & CR0_PG != 0) {
            self.write_cr3(cr3)?;
        }
        self.update_paging();
        self.load_task_segments(t)?;
        if let Some(e) = error {
            self.push(if wide { 4 } else { 2 }, e as u64)?;
        }
        if t.trap {
            self.state.sys.pending_debug |= DR6_BT;
        }
        Ok(())
    }

    fn load_task_segments(&mut self, t: &Image) -> Result<(), Trap> {
        let ts = |s| selector_fault(vector::TS, s, 0);
        if !is_null(t.ldt) {
            let d = self.descriptor(t.ldt, vector::TS, 0)?;
            if t.ldt & 4 != 0 || d.system() != Some(system::LDT) || !d.present() {
                return Err(ts(t.ldt));
            }
            self.state.sys.ldtr = d.segment(t.ldt);
        }
        if self.v86() {
            for (n, &s) in t.selectors.iter().enumerate() {
                let g = self.real_segment(n, s);
                self.set_segment(n, g);
            }
            self.update_view();
            return Ok(());
        }
        let cs = t.selectors[seg::CS];
        let d = self.descriptor(cs, vector::TS, 0)?;
        let level = if d.is_conforming() { d.dpl() <= rpl(cs) } else { d.dpl() == rpl(cs) };
        if is_null(cs) || !d.is_code() || !level {
            return Err(ts(cs));
        }
        if !d.present() {
            return Err(selector_fault(vector::NP, cs, 0));
        }
        let d = self.accessed(cs, d)?;
        self.set_segment(seg::CS, d.segment(cs));
        self.update_view();
        for s in [seg::SS, seg::DS, seg::ES, seg::FS, seg::GS] {
            // The faults are those of MOV, but #TS instead of #GP.
            self.load_segment(s, t.selectors[s]).map_err(|e| match e {
                Trap::Fault(mut e) if e.vector == vector::GP => {
                    e.vector = vector::TS;
                    Trap::Fault(e)
                }
                e => e,
            })?;
        }
        if self.state.rip > self.state.sys.seg[seg::CS].limit as u64
            || self.state.sys.tr.ar & ar::P == 0
        {
            return Err(Trap::GP0);
        }
        Ok(())
    }
}
