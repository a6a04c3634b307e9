//! Delivery of exceptions and interrupts through the IDT or the real-mode vector table, in every mode.
//! SDM vol. 3, "Interrupt and Exception Handling".

use crate::Cpu;
use crate::debug::DR6_BT;
use crate::descriptors::{
    Descriptor, NewStack, is_null, null_segment, null_stack, selector_fault, system,
};
use crate::state::{Activity, Event, EventKind, Segment, ar, flags, gpr, seg};
use crate::tasks::Source;
use crate::trap::{Trap, vector};

impl Event {
    /// Raised by the program on purpose: DPL of the gate counts, EXT does not.
    fn by_program(&self) -> bool {
        matches!(self.kind, EventKind::Software | EventKind::SoftwareException)
    }

    /// A fault: its handler returns to the instruction, and RF is set in the flags that are saved.
    pub(crate) fn is_fault(&self) -> bool {
        self.kind == EventKind::Hardware
            && !matches!(self.vector, vector::DB | vector::DF | vector::MC)
    }

    /// The EXT bit of error codes of faults met on the way.
    fn ext(&self) -> u32 {
        !self.by_program() as u32
    }
}

/// What the handler is entered with.
struct Entry {
    cs: Segment,
    rip: u64,
    cpl: u8,
    /// New SS, if the stack changes.
    ss: Option<Segment>,
    rsp: u64,
    /// RFLAGS bits that are cleared: no status flags.
    clear: u64,
    /// From virtual-8086 mode: data segments become null.
    leaves_v86: bool,
}

impl Cpu {
    /// Delivers `event`, to return to `self.rip`. On an error nothing has changed but `sys.delivering`,
    /// which stays for what follows: escalation, or IDT-vectoring information.
    pub(crate) fn deliver(&mut self, event: Event) -> Result<(), Trap> {
        self.state.sys.delivering = Some(event);
        self.note_event(&event);
        if event.kind == EventKind::Hardware && event.vector == vector::PF {
            self.state.sys.cr2 = event.address;
        }
        if event.kind == EventKind::Nmi {
            self.block_nmi();
        }
        let entry = if !self.protected() {
            self.real_entry(&event)?
        } else if self.long_mode() {
            self.long_entry(&event)?
        } else {
            let (gate, _) = self.gate(&event, 8)?;
            if gate.system() == Some(system::TASK_GATE) {
                let to = gate.gate_selector();
                return self.switch_task(to, Source::Gate, event.error, event.ext());
            }
            self.protected_entry(&event, gate)?
        };
        self.commit(entry);
        // A trap that MOV SS holds back does not outlive an exception of the next instruction: SDM vol. 3,
        // "Delivery of Pending Debug Exceptions after VM Entry", says so of injected ones.
        if matches!(event.kind, EventKind::Hardware | EventKind::Privileged) {
            self.state.sys.pending_debug &= DR6_BT;
        }
        Ok(())
    }

    fn commit(&mut self, e: Entry) {
        let changed = self.state.flags.system & e.clear;
        self.state.flags.system &= !e.clear;
        if let Some(ss) = e.ss {
            self.set_segment(seg::SS, ss);
        }
        if e.leaves_v86 {
            for s in [seg::ES, seg::DS, seg::FS, seg::GS] {
                self.set_segment(s, null_segment(0));
            }
        }
        self.state.regs[gpr::RSP] = e.rsp;
        self.state.rip = e.rip;
        let cpl = std::mem::replace(&mut self.state.sys.cpl, e.cpl);
        self.set_segment(seg::CS, e.cs);
        if cpl != e.cpl || changed & flags::AC != 0 {
            self.update_view();
        }
        self.refresh_generation();
        self.state.sys.sti_shadow = false;
        self.state.sys.ss_shadow = false;
        self.state.sys.step_trap = false;
        self.state.sys.activity = Activity::Active;
        self.state.sys.delivering = None;
    }

    /// RFLAGS as the handler's stack gets them.
    pub(crate) fn saved_flags(&self, event: &Event) -> u64 {
        self.rflags() | if event.is_fault() { flags::RF } else { 0 }
    }

    fn real_entry(&mut self, event: &Event) -> Result<Entry, Trap> {
        let at = event.vector as u64 * 4;
        if at + 3 > self.state.sys.idtr.limit as u64 {
            return Err(Trap::fault_code(vector::GP, at as u32 * 2 + 2 + event.ext()));
        }
        let target = self.load_table(self.state.sys.idtr.base.wrapping_add(at), 4)?;
        let mut stack = NewStack::current(self, 0);
        stack.push(self, 2, self.rflags())?;
        stack.push(self, 2, self.state.sys.seg[seg::CS].selector as u64)?;
        stack.push(self, 2, self.state.rip)?;
        let selector = (target >> 16) as u16;
        Ok(Entry {
            cs: Segment { selector, base: (selector as u64) << 4, ..self.state.sys.seg[seg::CS] },
            rip: target & 0xffff,
            cpl: 0,
            ss: None,
            rsp: stack.sp,
            clear: flags::TF | flags::IF | flags::RF | flags::AC,
            leaves_v86: false,
        })
    }

    /// Reads and checks the gate of `event`; `size` is 8, or 16 in IA-32e mode.
    fn gate(&mut self, event: &Event, size: u64) -> Result<(Descriptor, u64), Trap> {
        let at = event.vector as u64 * size;
        let index = event.vector as u32 * 8 + 2 + event.ext();
        if at + size - 1 > self.state.sys.idtr.limit as u64 {
            return Err(Trap::fault_code(vector::GP, index));
        }
        let la = self.state.sys.idtr.base.wrapping_add(at);
        let mut b = [0; 16];
        let (gate, upper) = if size == 16 && self.load_cached(la, &mut b, 0, true) {
            let both = u128::from_le_bytes(b);
            (both as u64, (both >> 64) as u64)
        } else {
            let gate = self.load_table(la, 8)?;
            (gate, if size == 16 { self.load_table(la.wrapping_add(8), 8)? } else { 0 })
        };
        let gate = Descriptor(gate);
        let known = match gate.system() {
            Some(system::INTERRUPT_GATE | system::TRAP_GATE) => true,
            Some(system::INTERRUPT_GATE16 | system::TRAP_GATE16 | system::TASK_GATE) => size == 8,
            _ => false,
        };
        if !known || (event.by_program() && gate.dpl() < self.state.sys.cpl) {
            return Err(Trap::fault_code(vector::GP, index));
        }
        if !gate.present() {
            return Err(Trap::fault_code(vector::NP, index));
        }
        Ok((gate, upper))
    }

    /// The code segment that a gate leads to, and the privilege level that it runs at.
    fn handler_segment(&mut self, selector: u16, ext: u32) -> Result<(Descriptor, u8), Trap> {
        if is_null(selector) {
            return Err(Trap::fault_code(vector::GP, ext));
        }
        let d = self.descriptor(selector, vector::GP, ext)?;
        let long = self.long_mode();
        if !d.is_code()
            || d.dpl() > self.state.sys.cpl
            || (long && d.ar() & (ar::L | ar::DB) != ar::L)
        {
            return Err(selector_fault(vector::GP, selector, ext));
        }
        if !d.present() {
            return Err(selector_fault(vector::NP, selector, ext));
        }
        let cpl = if d.is_conforming() { self.state.sys.cpl } else { d.dpl() };
        Ok((self.accessed(selector, d)?, cpl))
    }

    fn protected_entry(&mut self, event: &Event, gate: Descriptor) -> Result<Entry, Trap> {
        let ext = event.ext();
        let selector = gate.gate_selector();
        let (code, cpl) = self.handler_segment(selector, ext)?;
        let v86 = self.v86();
        if v86 && cpl != 0 {
            return Err(selector_fault(vector::GP, selector, ext));
        }
        let size = if gate.ar() & 8 != 0 { 4 } else { 2 };
        let inner = cpl < self.state.sys.cpl;
        let mut stack = if inner {
            let (ss, sp) = self.tss_stack(cpl, ext)?;
            let error = (ss & 0xfffc) as u32 | ext;
            let ss = self.inner_stack(ss, cpl, ext)?;
            NewStack { ss, sp, cpl, long: false, error }
        } else {
            NewStack::current(self, ext)
        };
        if gate.gate_offset() > code.limit() as u64 {
            return Err(Trap::fault_code(vector::GP, ext));
        }
        self.push_protected(event, &mut stack, size, inner, v86)?;
        Ok(Entry {
            cs: code.segment((selector & 0xfffc) | cpl as u16),
            rip: gate.gate_offset(),
            cpl,
            ss: inner.then_some(stack.ss),
            rsp: stack.sp,
            clear: self.cleared_flags(gate),
            leaves_v86: v86,
        })
    }

    fn push_protected(
        &mut self,
        event: &Event,
        stack: &mut NewStack,
        size: usize,
        inner: bool,
        v86: bool,
    ) -> Result<(), Trap> {
        if v86 {
            for s in [seg::GS, seg::FS, seg::DS, seg::ES] {
                stack.push(self, size, self.state.sys.seg[s].selector as u64)?;
            }
        }
        if inner {
            stack.push(self, size, self.state.sys.seg[seg::SS].selector as u64)?;
            stack.push(self, size, self.state.regs[gpr::RSP])?;
        }
        stack.push(self, size, self.saved_flags(event))?;
        stack.push(self, size, self.state.sys.seg[seg::CS].selector as u64)?;
        stack.push(self, size, self.state.rip)?;
        match event.error {
            Some(e) => stack.push(self, size, e as u64),
            None => Ok(()),
        }
    }

    fn cleared_flags(&self, gate: Descriptor) -> u64 {
        let interrupt = gate.ar() & 1 == 0;
        flags::TF | flags::NT | flags::RF | flags::VM | if interrupt { flags::IF } else { 0 }
    }

    /// SDM vol. 3, "64-Bit Mode Stack Frame" and "Interrupt Stack Table".
    fn long_entry(&mut self, event: &Event) -> Result<Entry, Trap> {
        let (gate, upper) = self.gate(event, 16)?;
        let ext = event.ext();
        let (code, cpl) = self.handler_segment(gate.gate_selector(), ext)?;
        let inner = cpl < self.state.sys.cpl;
        let ist = gate.0 >> 32 & 7;
        let sp = if ist != 0 {
            self.tss_stack64(28 + 8 * ist, ext)?
        } else if inner {
            self.tss_stack64(4 + 8 * cpl as u64, ext)?
        } else {
            self.state.regs[gpr::RSP]
        };
        let old_ss = self.state.sys.seg[seg::SS];
        let ss = if inner { null_stack(cpl) } else { old_ss };
        let mut stack = NewStack { ss, sp: sp & !15, cpl, long: true, error: ext };
        let rip = gate.gate_offset() | upper << 32;
        if !self.canonical(rip) {
            return Err(Trap::fault_code(vector::GP, ext));
        }
        let frame = [
            event.error.unwrap_or(0) as u64,
            self.state.rip,
            self.state.sys.seg[seg::CS].selector as u64,
            self.saved_flags(event),
            self.state.regs[gpr::RSP],
            old_ss.selector as u64,
        ];
        stack.push_frame(self, &frame[event.error.is_none() as usize..])?;
        Ok(Entry {
            cs: code.segment((gate.gate_selector() & 0xfffc) | cpl as u16),
            rip,
            cpl,
            ss: inner.then_some(ss),
            rsp: stack.sp,
            clear: self.cleared_flags(gate),
            leaves_v86: false,
        })
    }
}
