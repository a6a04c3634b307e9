//! Accesses of an HVM domain to its devices, which the hypervisor or a device model emulates.
//!
//! An instruction whose access a device model answers waits: its vCPU does not run, and goes on here when it
//! is chosen again. Moves are carried out here. Any other instruction accesses memory by itself, on pages that stand in
//! ([`crate::stand_in`]): what it reads is asked for before, in the size that it reads, and what it has written is sent
//! on after.

use crate::exits::{Outcome, advance, advance_by, paging};
use crate::host::{Host, Slot};
use crate::stand_in::Page;
use crate::string_io::address_mask;
use crate::vmx_ops;
use alloc::collections::VecDeque;
use alloc::format;
use alloc::vec;
use alloc::vec::Vec;
use hypervisor::phys::Physical;
use hypervisor::vmx::{exit, field};
use hypervisor::xen::guest_memory::read_gpa;
use hypervisor::xen::pc::io_server::{Access, Space};
use hypervisor::xen::pc::moves::{self, Action, Move};
use hypervisor::xen::pc::operand::{self, CodeSize, LONGEST, Operand};
use hypervisor::xen::pc::strings::{self, Strings};
use hypervisor::xen::{DomId, HostServices};
use runtime::cpu::rdtsc;

const PAGE: u64 = 4096;
const RAX: u8 = 0;
const RCX: u8 = 1;
const RFLAGS_DF: u64 = 1 << 10;
const RFLAGS_RF: u64 = 1 << 16;
/// The breakpoints that are on.
const DR7_ENABLED: u64 = 0xFF;
/// The most readings of an instruction: two operands, each on two pages.
const MOST_READINGS: usize = 4;
/// The largest operand.
const LARGEST: usize = 16;

/// What is read of devices for one operand of an instruction, on one page.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Reading {
    gpa: u64,
    size: usize,
    data: [u8; LARGEST],
    /// The bytes that are known.
    done: usize,
    /// The operand is read; it may also be written alone.
    read: bool,
    /// The operand is written.
    written: bool,
}

/// The rest of an access that waits for a device model.
#[derive(Debug)]
pub(crate) enum Wait {
    /// IN or OUT.
    Port(exit::Io),
    /// An element of INS or OUTS.
    Element(exit::Io),
    /// Elements of INS or OUTS that the model moves by itself.
    Elements(exit::Io, u32),
    /// A move from or to device memory.
    Move(Move),
    /// Elements of MOVS or STOS.
    Strings(Strings, u32),
    /// A read from device memory, of another instruction.
    Read(Reading),
    /// Writes to device memory that are not made yet, after the one that is waited for.
    Writes(VecDeque<Access>),
}

/// The length of the next piece of `left` bytes at `addr`: what a bus carries at once.
fn piece(addr: u64, left: usize) -> usize {
    [8, 4, 2]
        .into_iter()
        .find(|&size| size <= left && addr.is_multiple_of(size as u64))
        .unwrap_or(1)
}

/// The writes by which `data` gets to `gpa`. An access of a size that devices know is one, aligned or not.
pub(crate) fn writes(gpa: u64, data: &[u8]) -> VecDeque<Access> {
    let (mut out, mut at) = (VecDeque::new(), 0);
    while at < data.len() {
        let len = length(gpa, at, data.len());
        let mut raw = [0; 8];
        raw[..len].copy_from_slice(&data[at..at + len]);
        let value = Some(u64::from_le_bytes(raw));
        out.push_back(Access::new(Space::Memory, gpa + at as u64, len as u8, value));
        at += len;
    }
    out
}

/// The length of the access at byte `at` of an operand of `size` bytes at `gpa`.
fn length(gpa: u64, at: usize, size: usize) -> usize {
    if at == 0 && matches!(size, 1 | 2 | 4 | 8) { size } else { piece(gpa + at as u64, size - at) }
}

/// An access to a port.
fn port(io: exit::Io, written: Option<u64>) -> Access {
    Access::new(Space::Port, io.port().into(), io.size(), written)
}

impl Host {
    /// Goes on with what the current vCPU has waited for; false if it waits again.
    pub(crate) fn go_on(&mut self, index: usize) -> bool {
        let Slot { dom, id, .. } = self.slots[index];
        if let Some(wait) = self.slots[index].wait.take() {
            // Who is chosen has its answer, but for a vCPU that has been set up anew.
            let answer = self.xen.answer(dom, id).unwrap_or(u64::MAX);
            match wait {
                Wait::Port(io) => self.finish_port(index, io, answer),
                Wait::Element(io) => self.finish_element(index, io, answer),
                Wait::Elements(io, count) => self.finish_strings(index, io, count),
                Wait::Move(action) => self.finish_move(index, action, answer),
                Wait::Strings(strings, count) => self.finish_string_moves(index, strings, count),
                Wait::Read(mut reading) => {
                    reading.take(answer);
                    self.read_on(index, reading);
                }
                Wait::Writes(rest) => self.write_on(index, rest),
            }
        }
        if self.slots[index].wait.is_some() {
            return false;
        }
        if self.stand_ins.is_empty() {
            // An interrupt of the machine has come before the instruction.
            for reading in self.slots[index].readings.clone() {
                self.place(index, reading);
            }
        }
        true
    }

    pub(crate) fn access(&mut self, index: usize, access: Access) -> Option<u64> {
        let key = self.slots[index].key();
        self.timers_changed = true;
        self.xen.access(&mut self.memory, key, access, rdtsc())
    }

    /// IN, OUT, INS or OUTS.
    pub(crate) fn device_port(&mut self, index: usize, io: exit::Io) {
        if io.is_string() {
            return self.device_strings(index, io);
        }
        let written = (!io.is_in()).then(|| self.slots[index].vcpu.gpr(RAX));
        let mut access = port(io, written);
        access.data &= access.mask();
        match self.access(index, access) {
            Some(value) => self.finish_port(index, io, value),
            None => self.slots[index].wait = Some(Wait::Port(io)),
        }
    }

    fn finish_port(&mut self, index: usize, io: exit::Io, value: u64) {
        if io.is_in() { self.finish_in(index, io, value) } else { advance() }
    }

    /// INS or OUTS: as many elements at once as the device model can reach, or one.
    fn device_strings(&mut self, index: usize, io: exit::Io) {
        let slot = &self.slots[index];
        let left = if io.is_rep() { slot.vcpu.gpr(RCX) & address_mask() } else { 1 };
        let linear = vmx_ops::read(field::GUEST_LINEAR_ADDRESS);
        if left == 0 {
            return advance();
        }
        let (count, gpa) = self.reach(slot.dom, io, linear, left);
        if count > 1 {
            let down = vmx_ops::read(field::GUEST_RFLAGS) & RFLAGS_DF != 0;
            let one = port(io, (!io.is_in()).then_some(0));
            let access = Access { data: gpa, count, pointer: true, down, ..one };
            match self.access(index, access) {
                Some(_) => self.finish_strings(index, io, count),
                None => self.slots[index].wait = Some(Wait::Elements(io, count)),
            }
            return;
        }
        let mut data = [0; 8];
        let size = usize::from(io.size());
        if !io.is_in() && self.load(index, linear, &mut data[..size]) < size {
            return self.string_fault(index, linear, io);
        }
        let written = (!io.is_in()).then_some(u64::from_le_bytes(data));
        match self.access(index, port(io, written)) {
            Some(value) => self.finish_element(index, io, value),
            None => self.slots[index].wait = Some(Wait::Element(io)),
        }
    }

    /// How many of `left` elements a device model would move: those on the page of the first, if that is RAM
    /// of the domain's. With the guest-physical address of the first.
    fn reach(&self, dom: DomId, io: exit::Io, linear: u64, left: u64) -> (u32, u64) {
        let size = u64::from(io.size());
        let Ok(gpa) = paging().translate(&self.memory, dom, linear, io.is_in()) else {
            return (1, 0);
        };
        let ram = self.memory.lookup(dom, gpa >> 12).is_some_and(|map| map.kind.is_own());
        if !ram || !self.xen.takes_strings(dom, &port(io, None)) {
            return (1, gpa);
        }
        let offset = gpa % PAGE;
        let down = vmx_ops::read(field::GUEST_RFLAGS) & RFLAGS_DF != 0;
        let fit = match (offset + size <= PAGE, down) {
            (false, _) => 0,
            (true, false) => (PAGE - offset) / size,
            (true, true) => offset / size + 1,
        };
        (fit.min(left) as u32, gpa)
    }

    /// Reads memory of the guest's, up to the end of `data` or to what cannot be read; how many bytes.
    fn load(&self, index: usize, linear: u64, data: &mut [u8]) -> usize {
        let dom = self.slots[index].dom;
        let mut done = 0;
        while done < data.len() {
            let at = linear.wrapping_add(done as u64);
            let end = data.len().min(done + (PAGE - at % PAGE) as usize);
            let gpa = paging().translate(&self.memory, dom, at, false);
            let read = |gpa| read_gpa(&self.memory, dom, gpa, &mut data[done..end]);
            if gpa.and_then(read).is_err() {
                break;
            }
            done = end;
        }
        done
    }

    fn finish_element(&mut self, index: usize, io: exit::Io, value: u64) {
        let linear = vmx_ops::read(field::GUEST_LINEAR_ADDRESS);
        let data = value.to_le_bytes();
        if io.is_in() && self.store(index, linear, &data[..usize::from(io.size())]).is_err() {
            return self.string_fault(index, linear, io);
        }
        self.finish_strings(index, io, 1);
    }

    /// An access of an HVM domain to guest-physical memory where it has none: by a move, or by whatever instruction
    /// there is. None if that one is not known.
    pub(crate) fn device_memory(
        &mut self,
        index: usize,
        gpa: u64,
        written: bool,
    ) -> Option<Outcome> {
        let (bytes, code) = self.code(index);
        // With breakpoints the processor is to see the access.
        let breaks = vmx_ops::read(field::GUEST_DR7) & DR7_ENABLED != 0;
        if let Some(strings) = strings::decode(&bytes, code).filter(|_| !breaks)
            && self.move_strings(index, gpa, strings, written)
        {
            return Some(Ok(()));
        }
        match moves::decode(&bytes, code).filter(|_| !breaks) {
            Some(action) if gpa % PAGE + u64::from(action.size) <= PAGE => {
                self.move_of_device(index, gpa, action);
                Some(Ok(()))
            }
            _ => {
                let operand = operand::operand(&bytes, code).filter(|op| op.size <= LARGEST)?;
                Some(self.access_by_step(index, gpa, operand, written))
            }
        }
    }

    /// The bytes at the instruction pointer, as far as they can be read, and how they are to be taken.
    fn code(&self, index: usize) -> (Vec<u8>, CodeSize) {
        let rights = vmx_ops::read(field::GUEST_CS_ACCESS);
        let long = rights & 1 << 13 != 0 && paging().efer & 1 << 10 != 0;
        let code = match (long, rights & 1 << 14 != 0) {
            (true, _) => CodeSize::Bits64,
            (false, true) => CodeSize::Bits32,
            (false, false) => CodeSize::Bits16,
        };
        let base = if long { 0 } else { vmx_ops::read(field::GUEST_CS_BASE) };
        let linear = base.wrapping_add(vmx_ops::read(field::GUEST_RIP));
        // What goes on at address 0 after 4 GiB is not looked at.
        let end = if long { u64::MAX } else { 1 << 32 };
        let linear = if long { linear } else { linear & 0xFFFF_FFFF };
        let mut bytes = vec![0; (end - linear).min(LONGEST as u64) as usize];
        let known = self.load(index, linear, &mut bytes);
        bytes.truncate(known);
        (bytes, code)
    }

    /// Carries a move out.
    fn move_of_device(&mut self, index: usize, gpa: u64, action: Move) {
        let vcpu = &self.slots[index].vcpu;
        let written = match action.action {
            Action::Load { .. } => None,
            Action::Store(register) => Some(register.part(vcpu.gpr(register.number))),
            Action::StoreImmediate(value) => Some(value),
        };
        match self.access(index, Access::new(Space::Memory, gpa, action.size, written)) {
            Some(value) => self.finish_move(index, action, value),
            None => self.slots[index].wait = Some(Wait::Move(action)),
        }
    }

    /// Ends a move that has read `value`, if it reads.
    fn finish_move(&mut self, index: usize, action: Move, value: u64) {
        if let Action::Load { to, .. } = action.action {
            let vcpu = &mut self.slots[index].vcpu;
            vcpu.set_gpr(to.number, to.merged(vcpu.gpr(to.number), action.extended(value)));
        }
        self.finish_instruction(action.length);
    }

    /// Skips an instruction of `length` bytes that has been carried out.
    pub(crate) fn finish_instruction(&mut self, length: u8) {
        // The exit was as for a fault, which sets RF.
        let flags = vmx_ops::read(field::GUEST_RFLAGS);
        vmx_ops::write(field::GUEST_RFLAGS, flags & !RFLAGS_RF);
        advance_by(length.into());
    }

    /// The instruction, which has the memory operand `operand`, accesses device memory at `gpa`.
    fn access_by_step(
        &mut self,
        index: usize,
        gpa: u64,
        operand: Operand,
        written: bool,
    ) -> Outcome {
        let size = operand.size.min((PAGE - gpa % PAGE) as usize);
        if written && !operand.modified {
            let reading =
                Reading { gpa, size, data: [0; LARGEST], done: size, read: false, written };
            return if self.place(index, reading) { Ok(()) } else { no_page(gpa) };
        }
        if self.slots[index].readings.len() == MOST_READINGS {
            return no_page(gpa);
        }
        self.read_on(
            index,
            Reading { gpa, size, data: [0; LARGEST], done: 0, read: true, written },
        );
        Ok(())
    }

    /// Asks devices for what is missing of `reading`, and then lets the instruction run.
    fn read_on(&mut self, index: usize, mut reading: Reading) {
        while reading.done < reading.size {
            match self.access(index, reading.next()) {
                Some(value) => reading.take(value),
                None => {
                    self.give_up_step(index);
                    self.slots[index].wait = Some(Wait::Read(reading));
                    return;
                }
            }
        }
        self.slots[index].readings.push(reading);
        if !self.stand_ins.is_empty() {
            self.place(index, reading);
        }
    }

    /// Makes writes, one after the other.
    pub(crate) fn write_on(&mut self, index: usize, mut rest: VecDeque<Access>) {
        while let Some(access) = rest.pop_front() {
            if self.access(index, access).is_none() {
                self.slots[index].wait = Some(Wait::Writes(rest));
                return;
            }
        }
    }

    /// Has a page stand in with what was read, and lets the instruction run. False without memory.
    fn place(&mut self, index: usize, reading: Reading) -> bool {
        let Reading { gpa, size, data, read, written, .. } = reading;
        let (dom, gfn) = (self.slots[index].dom, gpa >> 12);
        let same = |page: &Page| page.stand_in.gfn == gfn;
        let old = self.stand_ins.iter().position(same).map(|at| self.stand_ins.remove(at));
        let mut content = None;
        let mut pieces = Vec::new();
        if let Some(old) = old {
            let mut bytes = alloc::vec![0; PAGE as usize];
            self.memory.physical.read(old.stand_in.frame, &mut bytes);
            content = Some(bytes);
            pieces = old.pieces.unwrap_or_default();
            self.memory.take_back(old.stand_in);
        }
        if written {
            pieces.push(((gpa % PAGE) as usize, size));
        }
        let Some(page) = self.memory.stand_in(dom, gfn, !pieces.is_empty()) else {
            return false;
        };
        if let Some(bytes) = content {
            self.memory.physical.write(page.frame, &bytes);
        }
        if read {
            self.memory.physical.write(page.frame + gpa % PAGE, &data[..size]);
        }
        self.stand_ins.push(Page::of_devices(page, pieces));
        self.begin_step(index);
        true
    }
}

fn no_page(gpa: u64) -> Outcome {
    Err(format!("no page for an access at guest-physical {gpa:#x}"))
}

impl Reading {
    /// The access to its next piece.
    fn next(&self) -> Access {
        let len = length(self.gpa, self.done, self.size);
        Access::new(Space::Memory, self.gpa + self.done as u64, len as u8, None)
    }

    fn take(&mut self, value: u64) {
        let len = length(self.gpa, self.done, self.size);
        self.data[self.done..self.done + len].copy_from_slice(&value.to_le_bytes()[..len]);
        self.done += len;
    }
}
