//! Far transfers: JMP, CALL and RET through selectors and call gates, IRET. SDM vol. 2 under these
//! names, vol. 3, "Privilege Levels" and "Call Gates".

use super::{Exec, Form, forms};
use crate::Cpu;
use crate::descriptors::{
    Descriptor, NewStack, gp, is_null, null_segment, null_stack, rpl, selector_fault, system,
};
use crate::state::{Segment, ar, flags, gpr, seg};
use crate::tasks::Source;
use crate::trap::{Trap, vector};
use crate::word::Word;
use iced_x86::{Instruction, OpKind};

type Outcome = Result<(), Trap>;

/// Flags that POPF and IRET may always change.
const USER_FLAGS: u64 = flags::STATUS | flags::TF | flags::DF | flags::NT;

/// The far pointer operand: (selector, offset).
fn pointer<W: Word>(cpu: &mut Cpu, i: &Instruction) -> Result<(u16, u64), Trap> {
    match i.op0_kind() {
        OpKind::FarBranch16 => return Ok((i.far_branch_selector(), i.far_branch16() as u64)),
        OpKind::FarBranch32 => return Ok((i.far_branch_selector(), i.far_branch32() as u64)),
        _ => {}
    }
    cpu.far_pointer(i, W::BYTES)
}

impl Cpu {
    fn segmented_mode(&self) -> bool {
        self.protected() && !self.v86()
    }

    /// A code segment as the target of a direct far jump or call at the current privilege level.
    fn direct_target(&mut self, selector: u16, d: Descriptor) -> Result<Segment, Trap> {
        let cpl = self.state.sys.cpl;
        let level =
            if d.is_conforming() { d.dpl() <= cpl } else { rpl(selector) <= cpl && d.dpl() == cpl };
        if !d.is_code() || !level || self.both_sizes(d) {
            return Err(gp(selector));
        }
        if !d.present() {
            return Err(selector_fault(vector::NP, selector, 0));
        }
        Ok(self.accessed(selector, d)?.segment((selector & !3) | cpl as u16))
    }

    /// L and D both set, which IA-32e mode forbids.
    fn both_sizes(&self, d: Descriptor) -> bool {
        self.long_mode() && d.has(ar::L | ar::DB)
    }

    /// #GP(0) if `rip` is no place for code in `cs`.
    fn check_target(&self, cs: &Segment, rip: u64) -> Outcome {
        let ok = if self.long_mode() && cs.has(ar::L) {
            self.canonical(rip)
        } else {
            rip <= cs.limit as u64
        };
        if ok { Ok(()) } else { Err(Trap::GP0) }
    }

    fn go_far(&mut self, cs: Segment, rip: u64) {
        self.state.rip = rip;
        self.set_segment(seg::CS, cs);
    }

    /// In real-address and virtual-8086 mode: CS for `selector`, if `offset` is inside its limit.
    fn real_target(&self, selector: u16, offset: u64) -> Result<Segment, Trap> {
        let cs = self.real_segment(seg::CS, selector);
        self.check_target(&cs, offset)?;
        Ok(cs)
    }
}

/// `JMP` far.
fn jump_far<W: Word>(cpu: &mut Cpu, i: &Instruction) -> Outcome {
    let (selector, offset) = pointer::<W>(cpu, i)?;
    if !cpu.segmented_mode() {
        let cs = cpu.real_target(selector, offset)?;
        cpu.go_far(cs, offset);
        return Ok(());
    }
    if is_null(selector) {
        return Err(Trap::GP0);
    }
    let d = cpu.descriptor(selector, vector::GP, 0)?;
    if let Some(task) = task_of(cpu, selector, d)? {
        return cpu.switch_task(task, Source::JumpEntry, None, 0);
    }
    if !d.is_segment() {
        let (cs, rip, _) = gate_target(cpu, selector, d)?;
        if cs.dpl() != cpu.state.sys.cpl && !cs.has(ar::DC) {
            return Err(gp(cs.selector));
        }
        let cs = Segment { selector: (cs.selector & !3) | cpu.state.sys.cpl as u16, ..cs };
        cpu.go_far(cs, rip);
        return Ok(());
    }
    let cs = cpu.direct_target(selector, d)?;
    cpu.check_target(&cs, offset)?;
    cpu.go_far(cs, offset);
    Ok(())
}

/// `CALL` far.
fn call_far<W: Word>(cpu: &mut Cpu, i: &Instruction) -> Outcome {
    let (selector, offset) = pointer::<W>(cpu, i)?;
    let cs = if !cpu.segmented_mode() {
        cpu.real_target(selector, offset)?
    } else if is_null(selector) {
        return Err(Trap::GP0);
    } else {
        let d = cpu.descriptor(selector, vector::GP, 0)?;
        if let Some(task) = task_of(cpu, selector, d)? {
            return cpu.switch_task(task, Source::Call, None, 0);
        }
        if !d.is_segment() {
            return call_gate(cpu, selector, d);
        }
        let cs = cpu.direct_target(selector, d)?;
        cpu.check_target(&cs, offset)?;
        cs
    };
    let mut stack = NewStack::current(cpu, 0);
    push_return(cpu, &mut stack, W::BYTES)?;
    cpu.state.regs[gpr::RSP] = stack.sp;
    cpu.go_far(cs, offset);
    Ok(())
}

/// The TSS selector that a TSS descriptor or task gate leads to, outside IA-32e mode.
fn task_of(cpu: &Cpu, selector: u16, d: Descriptor) -> Result<Option<u16>, Trap> {
    let gate = match d.system() {
        Some(system::TASK_GATE) => true,
        Some(system::TSS | system::TSS16 | system::TSS_BUSY | system::TSS16_BUSY) => false,
        _ => return Ok(None),
    };
    if cpu.long_mode() || d.dpl() < cpu.state.sys.cpl.max(rpl(selector)) {
        return Err(gp(selector));
    }
    if !d.present() {
        return Err(selector_fault(vector::NP, selector, 0));
    }
    Ok(Some(if gate { d.gate_selector() } else { selector }))
}

fn push_return(cpu: &mut Cpu, stack: &mut NewStack, size: usize) -> Outcome {
    stack.push(cpu, size, cpu.state.sys.seg[seg::CS].selector as u64)?;
    stack.push(cpu, size, cpu.state.rip)
}

/// The code segment, offset and operand size that a call gate leads to. Its selector is as in the gate.
fn gate_target(
    cpu: &mut Cpu,
    selector: u16,
    gate: Descriptor,
) -> Result<(Segment, u64, usize), Trap> {
    let long = cpu.long_mode();
    let size = match gate.system() {
        Some(system::CALL_GATE) if long => 8,
        Some(system::CALL_GATE) => 4,
        Some(system::CALL_GATE16) if !long => 2,
        _ => return Err(gp(selector)),
    };
    if gate.dpl() < cpu.state.sys.cpl.max(rpl(selector)) {
        return Err(gp(selector));
    }
    if !gate.present() {
        return Err(selector_fault(vector::NP, selector, 0));
    }
    let upper = if long { cpu.descriptor_upper(selector, 0)? } else { 0 };
    let rip = gate.gate_offset() | upper << 32;
    let to = gate.gate_selector();
    if is_null(to) {
        return Err(Trap::GP0);
    }
    let d = cpu.descriptor(to, vector::GP, 0)?;
    let sized = !long || d.ar() & (ar::L | ar::DB) == ar::L;
    if !d.is_code() || d.dpl() > cpu.state.sys.cpl || !sized {
        return Err(gp(to));
    }
    if !d.present() {
        return Err(selector_fault(vector::NP, to, 0));
    }
    let cs = cpu.accessed(to, d)?.segment(to);
    cpu.check_target(&cs, rip)?;
    Ok((cs, rip, size))
}

fn call_gate(cpu: &mut Cpu, selector: u16, gate: Descriptor) -> Outcome {
    let (cs, rip, size) = gate_target(cpu, selector, gate)?;
    let inner = !cs.has(ar::DC) && cs.dpl() < cpu.state.sys.cpl;
    let cpl = if inner { cs.dpl() } else { cpu.state.sys.cpl };
    let mut stack = NewStack::current(cpu, 0);
    if inner {
        stack = inner_stack(cpu, cpl, size)?;
        let (ss, sp) = (cpu.state.sys.seg[seg::SS].selector, cpu.state.regs[gpr::RSP]);
        stack.push(cpu, size, ss as u64)?;
        stack.push(cpu, size, sp)?;
        let count = if size == 8 { 0 } else { gate.0 >> 32 & 31 };
        for k in (0..count).rev() {
            let v = cpu.peek(k * size as u64, size)?;
            stack.push(cpu, size, v)?;
        }
    }
    push_return(cpu, &mut stack, size)?;
    if inner {
        cpu.set_segment(seg::SS, stack.ss);
        cpu.set_cpl(cpl);
    }
    cpu.state.regs[gpr::RSP] = stack.sp;
    cpu.go_far(Segment { selector: (cs.selector & !3) | cpl as u16, ..cs }, rip);
    Ok(())
}

fn inner_stack(cpu: &mut Cpu, cpl: u8, size: usize) -> Result<NewStack, Trap> {
    if size == 8 {
        let sp = cpu.tss_stack64(4 + 8 * cpl as u64, 0)?;
        return Ok(NewStack { ss: null_stack(cpl), sp, cpl, long: true, error: 0 });
    }
    let (ss, sp) = cpu.tss_stack(cpl, 0)?;
    let error = (ss & 0xfffc) as u32;
    let ss = cpu.inner_stack(ss, cpl, 0)?;
    Ok(NewStack { ss, sp, cpl, long: false, error })
}

/// CS of a return to `selector`, which may be to an outer level.
fn return_code(cpu: &mut Cpu, selector: u16) -> Result<Segment, Trap> {
    if is_null(selector) {
        return Err(Trap::GP0);
    }
    let d = cpu.descriptor(selector, vector::GP, 0)?;
    let to = rpl(selector);
    let level = if d.is_conforming() { d.dpl() <= to } else { d.dpl() == to };
    if to < cpu.state.sys.cpl || !d.is_code() || !level || cpu.both_sizes(d) {
        return Err(gp(selector));
    }
    if !d.present() {
        return Err(selector_fault(vector::NP, selector, 0));
    }
    Ok(cpu.accessed(selector, d)?.segment(selector))
}

/// SS of a return to level `cpl`; `long`: to 64-bit code, which may have a null SS below level 3.
fn return_stack(cpu: &mut Cpu, selector: u16, cpl: u8, long: bool) -> Result<Segment, Trap> {
    if is_null(selector) {
        let ok = long && cpl != 3 && rpl(selector) == cpl;
        return if ok { Ok(null_stack(cpl)) } else { Err(Trap::GP0) };
    }
    let d = cpu.descriptor(selector, vector::GP, 0)?;
    if rpl(selector) != cpl || d.dpl() != cpl || !d.is_writable() {
        return Err(gp(selector));
    }
    if !d.present() {
        return Err(selector_fault(vector::SS, selector, 0));
    }
    Ok(cpu.accessed(selector, d)?.segment(selector))
}

/// Moves to an outer (or the same) level with its stack.
fn commit_return(cpu: &mut Cpu, cs: Segment, rip: u64, ss: Segment, sp: u64) {
    let cpl = rpl(cs.selector);
    let outer = cpl > cpu.state.sys.cpl;
    cpu.state.rip = rip;
    cpu.state.sys.cpl = cpl;
    cpu.set_segment(seg::SS, ss);
    cpu.set_segment(seg::CS, cs);
    cpu.set_stack_pointer(sp);
    if outer {
        drop_inner_segments(cpu);
    }
    cpu.update_view();
}

/// Data segments that the outer level may not have become null.
fn drop_inner_segments(cpu: &mut Cpu) {
    for s in [seg::ES, seg::DS, seg::FS, seg::GS] {
        let g = cpu.state.sys.seg[s];
        if g.unusable() {
            // Null selectors lose their RPL; FS and GS keep their bases.
            cpu.state.sys.seg[s].selector = 0;
        }
        let kept = g.unusable() || g.dpl() >= cpu.state.sys.cpl || g.has(ar::CODE | ar::DC);
        if !kept {
            let base = if s >= seg::FS { g.base } else { 0 };
            cpu.set_segment(s, Segment { base, ..null_segment(0) });
        }
    }
}

/// `RET` far.
fn return_far<W: Word>(cpu: &mut Cpu, i: &Instruction) -> Outcome {
    let size = W::BYTES as u64;
    let extra = if i.op_count() > 0 { i.immediate(0) } else { 0 };
    let selector = cpu.peek(size, W::BYTES)? as u16;
    let rip = cpu.peek(0, W::BYTES)?;
    let sp = cpu.stack_pointer((2 * size + extra) as i64);
    if !cpu.segmented_mode() {
        let cs = cpu.real_target(selector, rip)?;
        cpu.set_stack_pointer(sp);
        cpu.go_far(cs, rip);
        return Ok(());
    }
    let cs = return_code(cpu, selector)?;
    cpu.check_target(&cs, rip)?;
    if rpl(selector) == cpu.state.sys.cpl {
        cpu.set_stack_pointer(sp);
        cpu.go_far(cs, rip);
        return Ok(());
    }
    let new_sp = cpu.peek(2 * size + extra, W::BYTES)?;
    let ss = cpu.peek(3 * size + extra, W::BYTES)? as u16;
    let long = cpu.long_mode() && cs.has(ar::L);
    let ss = return_stack(cpu, ss, rpl(selector), long)?;
    commit_return(cpu, cs, rip, ss, new_sp.wrapping_add(extra));
    Ok(())
}

impl Cpu {
    /// The flags that POPF or IRET of `size` bytes may change at the current privilege level.
    pub(crate) fn changeable_flags(&self, size: usize) -> u64 {
        let iopl = (self.state.flags.system >> 12 & 3) as u8;
        let mut mask = USER_FLAGS;
        if self.state.sys.cpl == 0 {
            mask |= flags::IOPL;
        }
        if self.state.sys.cpl <= iopl {
            mask |= flags::IF;
        }
        if size > 2 {
            mask |= flags::RF | flags::AC | flags::ID;
        }
        mask
    }

    /// Replaces the flags in `mask`, among them all status flags.
    pub(crate) fn change_flags(&mut self, v: u64, mask: u64) {
        debug_assert_eq!(mask & flags::STATUS, flags::STATUS);
        let old = self.state.flags.system;
        let mut new = (old & !mask) | (v & mask);
        if self.state.sys.dr7 & 0xff == 0 {
            // RF only holds back instruction breakpoints.
            new &= !flags::RF;
        }
        self.set_rflags(new);
        if (old ^ new) & flags::AC != 0 {
            self.update_view();
        }
    }
}

/// `IRET`, `IRETD`, `IRETQ`.
fn iret<W: Word>(cpu: &mut Cpu, _: &Instruction) -> Outcome {
    let size = W::BYTES as u64;
    let vif = cpu.shows_vif(W::BYTES)?;
    cpu.iret_unblocks_nmi();
    if cpu.segmented_mode() && cpu.state.flags.system & flags::NT != 0 {
        if cpu.long_mode() {
            return Err(Trap::GP0);
        }
        let back = cpu.load_table(cpu.state.sys.tr.base, 2)? as u16;
        return cpu.switch_task(back, Source::Iret, None, 0);
    }
    let frame = if W::BYTES == 8 { cpu.peek_frame() } else { None };
    let peek = |cpu: &mut Cpu, k: usize| match frame {
        Some(frame) => Ok(frame[k]),
        None => cpu.peek(k as u64 * size, W::BYTES),
    };
    let (rip, selector, image) = (peek(cpu, 0)?, peek(cpu, 1)? as u16, peek(cpu, 2)?);
    let mut mask = cpu.changeable_flags(W::BYTES);
    if !cpu.segmented_mode() {
        let cs = cpu.real_target(selector, rip)?;
        if vif {
            cpu.check_vif_image(image)?;
        }
        let sp = cpu.stack_pointer(3 * size as i64);
        cpu.set_stack_pointer(sp);
        cpu.go_far(cs, rip);
        cpu.change_flags(image, mask);
        if vif {
            cpu.load_vif(image);
        }
        return Ok(());
    }
    if cpu.state.sys.cpl == 0 && W::BYTES > 2 {
        mask |= flags::VIF | flags::VIP;
    }
    let to_v86 = image & flags::VM != 0 && W::BYTES == 4;
    if to_v86 && cpu.state.sys.cpl == 0 && !cpu.long_mode() {
        return iret_to_v86(cpu, rip, selector, image);
    }
    let from_long = cpu.is_64();
    let cs = return_code(cpu, selector)?;
    cpu.check_target(&cs, rip)?;
    if rpl(selector) == cpu.state.sys.cpl && !from_long {
        let sp = cpu.stack_pointer(3 * size as i64);
        cpu.set_stack_pointer(sp);
        cpu.go_far(cs, rip);
        cpu.change_flags(image, mask);
        return Ok(());
    }
    let (sp, ss) = (peek(cpu, 3)?, peek(cpu, 4)? as u16);
    let long = cpu.long_mode() && cs.has(ar::L);
    let ss = return_stack(cpu, ss, rpl(selector), long)?;
    cpu.change_flags(image, mask);
    commit_return(cpu, cs, rip, ss, sp);
    Ok(())
}

/// Return from a 32-bit handler at level 0 to virtual-8086 mode.
fn iret_to_v86(cpu: &mut Cpu, rip: u64, cs: u16, image: u64) -> Outcome {
    if rip > 0xffff {
        return Err(Trap::GP0);
    }
    let mut v = [0; 6];
    for (k, v) in v.iter_mut().enumerate() {
        *v = cpu.peek(12 + 4 * k as u64, 4)?;
    }
    let [sp, ss, es, ds, fs, gs] = v;
    let mask = USER_FLAGS | flags::IOPL | flags::IF | flags::RF | flags::AC | flags::ID;
    cpu.change_flags(image, mask | flags::VM | flags::VIF | flags::VIP);
    let all = [(seg::ES, es), (seg::SS, ss), (seg::DS, ds), (seg::FS, fs), (seg::GS, gs)];
    for (s, selector) in all {
        let g = cpu.real_segment(s, selector as u16);
        cpu.set_segment(s, g);
    }
    let cs = cpu.real_segment(seg::CS, cs);
    cpu.go_far(cs, rip);
    cpu.state.regs[gpr::RSP] = sp;
    cpu.set_cpl(3);
    Ok(())
}

/// The table of this family.
#[rustfmt::skip]
pub(super) const FORMS: &[Form] = forms! {
    Jmp_ptr1616 => Exec::EndsBlock(jump_far::<u16>);
    Jmp_ptr1632 => Exec::EndsBlock(jump_far::<u32>);
    Jmp_m1616 => Exec::EndsBlock(jump_far::<u16>);
    Jmp_m1632 => Exec::EndsBlock(jump_far::<u32>);
    Jmp_m1664 => Exec::EndsBlock(jump_far::<u64>);
    Call_ptr1616 => Exec::EndsBlock(call_far::<u16>);
    Call_ptr1632 => Exec::EndsBlock(call_far::<u32>);
    Call_m1616 => Exec::EndsBlock(call_far::<u16>);
    Call_m1632 => Exec::EndsBlock(call_far::<u32>);
    Call_m1664 => Exec::EndsBlock(call_far::<u64>);
    Retfw => Exec::EndsBlock(return_far::<u16>);
    Retfd => Exec::EndsBlock(return_far::<u32>);
    Retfq => Exec::EndsBlock(return_far::<u64>);
    Retfw_imm16 => Exec::EndsBlock(return_far::<u16>);
    Retfd_imm16 => Exec::EndsBlock(return_far::<u32>);
    Retfq_imm16 => Exec::EndsBlock(return_far::<u64>);
    Iretw => Exec::EndsBlock(iret::<u16>);
    Iretd => Exec::EndsBlock(iret::<u32>);
    Iretq => Exec::EndsBlock(iret::<u64>);
};
