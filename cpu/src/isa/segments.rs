//! Segment registers and descriptor tables: MOV and POP Sreg, LDS and its kin, LLDT, LTR, LGDT, LIDT,
//! their stores, LAR, LSL, VERR, VERW, ARPL. SDM vol. 2 under these names.

use super::{Exec, Form, forms};
use crate::Cpu;
use crate::descriptors::{
    Descriptor, gp, is_null, null_segment, null_stack, rpl, selector_fault, system as kind,
};
use crate::operand::segment_number;
use crate::state::control::CR4_UMIP;
use crate::state::{Segment, ar, flags, gpr, seg};
use crate::trap::{Trap, vector};
use crate::word::Word;
use iced_x86::{Instruction, OpKind};

type Outcome = Result<(), Trap>;

impl Cpu {
    /// #GP(0) unless CPL is 0.
    pub(crate) fn privileged(&self) -> Outcome {
        if self.state.sys.cpl == 0 { Ok(()) } else { Err(Trap::GP0) }
    }

    /// #GP(0) where CR4.UMIP keeps a store of system state from user code.
    pub(crate) fn umip(&self) -> Outcome {
        if self.state.sys.cpl != 0 && self.state.sys.cr4 & CR4_UMIP != 0 {
            Err(Trap::GP0)
        } else {
            Ok(())
        }
    }

    /// #UD in real-address and virtual-8086 mode.
    fn needs_protection(&self) -> Outcome {
        if self.protected() && !self.v86() { Ok(()) } else { Err(Trap::UD) }
    }

    /// What loading `selector` makes of a segment register in real-address or virtual-8086 mode.
    pub(crate) fn real_segment(&self, s: usize, selector: u16) -> Segment {
        let data = ar::P | ar::S | ar::RW | ar::ACCESSED;
        let base = (selector as u64) << 4;
        let old = self.state.sys.seg[s];
        if self.v86() {
            let ar = data | 3 << ar::DPL_SHIFT;
            return Segment { selector, ar, limit: 0xffff, base };
        }
        // A far transfer changes nothing else: SDM vol. 3, "Real-Address Mode". What CS was loaded with in
        // protected mode shows in VM exits.
        if s == seg::CS {
            return Segment { selector, base, ..old };
        }
        if old.unusable() {
            return Segment { selector, ar: data, limit: 0xffff, base };
        }
        // Real mode changes neither limit nor size.
        let ar = data | old.ar & (ar::DB | ar::G | ar::AVL);
        Segment { selector, ar, base, ..old }
    }

    /// Loads segment register `s` (not CS) as MOV does. SDM vol. 2, "MOV", and vol. 3, "Segment
    /// Loading Instructions in IA-32e Mode".
    pub(crate) fn load_segment(&mut self, s: usize, selector: u16) -> Outcome {
        let g = if !self.protected() || self.v86() {
            self.real_segment(s, selector)
        } else if s == seg::SS {
            self.stack_segment(selector)?
        } else {
            self.data_segment(selector)?
        };
        self.set_segment(s, g);
        Ok(())
    }

    fn stack_segment(&mut self, selector: u16) -> Result<Segment, Trap> {
        let cpl = self.state.sys.cpl;
        if is_null(selector) {
            let ok = self.is_64() && cpl < 3 && rpl(selector) == cpl;
            return if ok { Ok(null_stack(cpl)) } else { Err(Trap::GP0) };
        }
        let d = self.descriptor(selector, vector::GP, 0)?;
        if rpl(selector) != cpl || d.dpl() != cpl || !d.is_writable() {
            return Err(gp(selector));
        }
        if !d.present() {
            return Err(selector_fault(vector::SS, selector, 0));
        }
        Ok(self.accessed(selector, d)?.segment(selector))
    }

    fn data_segment(&mut self, selector: u16) -> Result<Segment, Trap> {
        if is_null(selector) {
            return Ok(null_segment(selector));
        }
        let d = self.descriptor(selector, vector::GP, 0)?;
        let readable = d.is_segment() && (!d.is_code() || d.has(ar::RW));
        let allowed = d.is_conforming() || d.dpl() >= self.state.sys.cpl.max(rpl(selector));
        if !readable || !allowed {
            return Err(gp(selector));
        }
        if !d.present() {
            return Err(selector_fault(vector::NP, selector, 0));
        }
        Ok(self.accessed(selector, d)?.segment(selector))
    }

    /// A selector operand: 16 bits of a register or of memory.
    fn selector_operand(&mut self, i: &Instruction, n: u32) -> Result<u16, Trap> {
        if i.op_kind(n) == OpKind::Register {
            return Ok(self.reg(i.op_register(n)) as u16);
        }
        self.load_operand::<u16>(i)
    }

    /// Stores 16 bits to memory, or zero-extended to a register of the operand size.
    fn store_selector(&mut self, i: &Instruction, v: u64) -> Outcome {
        if i.op_kind(0) == OpKind::Register {
            self.set_reg(i.op_register(0), v);
            return Ok(());
        }
        self.store_operand::<u16>(i, v as u16)
    }
}

/// `MOV Sreg, r/m`.
fn mov_to_segment(cpu: &mut Cpu, i: &Instruction) -> Outcome {
    let s = segment_number(i.op0_register());
    if s == seg::CS {
        return Err(Trap::UD);
    }
    let selector = cpu.selector_operand(i, 1)?;
    cpu.load_segment(s, selector)?;
    shadow(cpu, s);
    Ok(())
}

/// Loading SS holds back interrupts and debug traps for one instruction.
fn shadow(cpu: &mut Cpu, s: usize) {
    if s == seg::SS {
        cpu.state.sys.ss_shadow = true;
        cpu.env.leave = true;
    }
}

/// `MOV r/m, Sreg`.
fn mov_from_segment(cpu: &mut Cpu, i: &Instruction) -> Outcome {
    let v = cpu.state.sys.seg[segment_number(i.op1_register())].selector;
    cpu.store_selector(i, v as u64)
}

/// `PUSH Sreg`: a 32-bit push writes 16 bits, and the rest of the word stays. SDM vol. 2, "PUSH".
fn push_segment<const SIZE: usize>(cpu: &mut Cpu, i: &Instruction) -> Outcome {
    let v = cpu.state.sys.seg[segment_number(i.op0_register())].selector;
    if SIZE != 4 {
        return cpu.push(SIZE, v as u64);
    }
    let sp = cpu.stack_pointer(-(SIZE as i64));
    let la = cpu.linear(seg::SS, sp, 2, true)?;
    cpu.store_at(seg::SS, la, v)?;
    cpu.set_stack_pointer(sp);
    Ok(())
}

/// `POP Sreg`: a 32-bit pop reads 16 bits, as Intel's silicon does.
fn pop_segment<const SIZE: usize>(cpu: &mut Cpu, i: &Instruction) -> Outcome {
    let s = segment_number(i.op0_register());
    let selector = cpu.peek(0, if SIZE == 4 { 2 } else { SIZE })? as u16;
    let before = cpu.state.regs[gpr::RSP];
    let sp = cpu.stack_pointer(SIZE as i64);
    cpu.set_stack_pointer(sp);
    if let Err(t) = cpu.load_segment(s, selector) {
        cpu.state.regs[gpr::RSP] = before;
        return Err(t);
    }
    shadow(cpu, s);
    Ok(())
}

/// `LDS`, `LES`, `LFS`, `LGS`, `LSS`.
fn load_far<W: Word, const SEG: usize>(cpu: &mut Cpu, i: &Instruction) -> Outcome {
    let (selector, offset) = cpu.far_pointer(i, W::BYTES)?;
    cpu.load_segment(SEG, selector)?;
    cpu.set_reg(i.op0_register(), offset);
    Ok(())
}

/// `LLDT`.
fn lldt(cpu: &mut Cpu, i: &Instruction) -> Outcome {
    cpu.needs_protection()?;
    cpu.privileged()?;
    cpu.vmx_intercept_table(i)?;
    let selector = cpu.selector_operand(i, 0)?;
    if is_null(selector) {
        cpu.state.sys.ldtr = null_segment(selector);
        return Ok(());
    }
    let (d, upper) = system_descriptor(cpu, selector, |t, _| t == kind::LDT)?;
    let base = d.base() | upper << 32;
    cpu.state.sys.ldtr = Segment { base, ..d.segment(selector) };
    Ok(())
}

/// `LTR`.
fn ltr(cpu: &mut Cpu, i: &Instruction) -> Outcome {
    cpu.needs_protection()?;
    cpu.privileged()?;
    cpu.vmx_intercept_table(i)?;
    let selector = cpu.selector_operand(i, 0)?;
    if is_null(selector) {
        return Err(Trap::GP0);
    }
    let fits = |t: u32, long: bool| t == kind::TSS || (t == kind::TSS16 && !long);
    let (d, upper) = system_descriptor(cpu, selector, fits)?;
    cpu.set_descriptor_type(selector, 2)?;
    let base = d.base() | upper << 32;
    let g = d.segment(selector);
    cpu.state.sys.tr = Segment { base, ar: g.ar | 2, ..g };
    Ok(())
}

/// The present system descriptor of `selector` in the GDT, with base bits 63:32 in IA-32e mode.
fn system_descriptor(
    cpu: &mut Cpu,
    selector: u16,
    fits: impl Fn(u32, bool) -> bool,
) -> Result<(Descriptor, u64), Trap> {
    if selector & 4 != 0 {
        return Err(gp(selector));
    }
    let long = cpu.long_mode();
    let d = cpu.descriptor(selector, vector::GP, 0)?;
    if !d.system().is_some_and(|t| fits(t, long)) {
        return Err(gp(selector));
    }
    if !d.present() {
        return Err(selector_fault(vector::NP, selector, 0));
    }
    let upper = if long { cpu.descriptor_upper(selector, 0)? } else { 0 };
    if long && !cpu.canonical(d.base() | upper << 32) {
        return Err(gp(selector));
    }
    Ok((d, upper))
}

/// `SLDT`.
fn sldt(cpu: &mut Cpu, i: &Instruction) -> Outcome {
    cpu.needs_protection()?;
    cpu.umip()?;
    cpu.vmx_intercept_table(i)?;
    let v = cpu.state.sys.ldtr.selector;
    cpu.store_selector(i, v as u64)
}

/// `STR`.
fn str(cpu: &mut Cpu, i: &Instruction) -> Outcome {
    cpu.needs_protection()?;
    cpu.umip()?;
    cpu.vmx_intercept_table(i)?;
    let v = cpu.state.sys.tr.selector;
    cpu.store_selector(i, v as u64)
}

/// The operand of LGDT and LIDT: limit and base; a 16-bit operand size loads 24 bits of base.
fn table_operand<const BASE: usize>(
    cpu: &mut Cpu,
    i: &Instruction,
) -> Result<crate::state::TableRegister, Trap> {
    cpu.privileged()?;
    cpu.vmx_intercept_table(i)?;
    let bytes = if cpu.is_64() { 8 } else { 4 };
    let (s, la) = cpu.memory_operand(i, 2 + bytes, false)?;
    let mut b = [0; 10];
    cpu.load_bytes(s, la, &mut b[..2 + bytes])?;
    let limit = u16::from_le_bytes([b[0], b[1]]);
    let mut base = [0; 8];
    base[..BASE].copy_from_slice(&b[2..2 + BASE]);
    let base = u64::from_le_bytes(base);
    if cpu.is_64() && !cpu.canonical(base) {
        return Err(Trap::GP0);
    }
    Ok(crate::state::TableRegister { base, limit })
}

/// `LGDT`.
fn lgdt<const BASE: usize>(cpu: &mut Cpu, i: &Instruction) -> Outcome {
    cpu.state.sys.gdtr = table_operand::<BASE>(cpu, i)?;
    Ok(())
}

/// `LIDT`.
fn lidt<const BASE: usize>(cpu: &mut Cpu, i: &Instruction) -> Outcome {
    cpu.state.sys.idtr = table_operand::<BASE>(cpu, i)?;
    Ok(())
}

fn store_table(cpu: &mut Cpu, i: &Instruction, t: crate::state::TableRegister) -> Outcome {
    cpu.umip()?;
    cpu.vmx_intercept_table(i)?;
    let bytes = if cpu.is_64() { 8 } else { 4 };
    let (s, la) = cpu.memory_operand(i, 2 + bytes, true)?;
    let mut b = [0; 10];
    b[..2].copy_from_slice(&t.limit.to_le_bytes());
    b[2..].copy_from_slice(&t.base.to_le_bytes());
    cpu.store_bytes(s, la, &b[..2 + bytes])
}

/// `SGDT`.
fn sgdt(cpu: &mut Cpu, i: &Instruction) -> Outcome {
    let t = cpu.state.sys.gdtr;
    store_table(cpu, i, t)
}

/// `SIDT`.
fn sidt(cpu: &mut Cpu, i: &Instruction) -> Outcome {
    let t = cpu.state.sys.idtr;
    store_table(cpu, i, t)
}

/// The descriptor of `selector`, if it can be seen from the current privilege level.
fn visible(cpu: &mut Cpu, selector: u16) -> Result<Option<Descriptor>, Trap> {
    if is_null(selector) {
        return Ok(None);
    }
    let Some(la) = cpu.descriptor_address(selector) else { return Ok(None) };
    let d = Descriptor(cpu.load_table(la, 8)?);
    let seen = d.is_conforming() || d.dpl() >= cpu.state.sys.cpl.max(rpl(selector));
    Ok(seen.then_some(d))
}

fn set_zf(cpu: &mut Cpu, zf: bool) {
    let others = cpu.state.flags.status() & !flags::ZF;
    cpu.state.flags.set_status(others | if zf { flags::ZF } else { 0 });
}

/// `LAR`.
fn lar(cpu: &mut Cpu, i: &Instruction) -> Outcome {
    cpu.needs_protection()?;
    let selector = cpu.selector_operand(i, 1)?;
    let types: &[u32] = if cpu.long_mode() { &[2, 9, 11, 12] } else { &[1, 2, 3, 4, 5, 9, 11, 12] };
    let d = visible(cpu, selector)?.filter(|d| d.system().is_none_or(|t| types.contains(&t)));
    if let Some(d) = d {
        let mask = if i.op0_register().size() == 2 { 0xff00 } else { 0xff_ff00 };
        cpu.set_reg(i.op0_register(), d.0 >> 32 & mask);
    }
    set_zf(cpu, d.is_some());
    Ok(())
}

/// `LSL`.
fn lsl(cpu: &mut Cpu, i: &Instruction) -> Outcome {
    cpu.needs_protection()?;
    let selector = cpu.selector_operand(i, 1)?;
    let types: &[u32] = if cpu.long_mode() { &[2, 9, 11] } else { &[1, 2, 3, 9, 11] };
    let d = visible(cpu, selector)?.filter(|d| d.system().is_none_or(|t| types.contains(&t)));
    if let Some(d) = d {
        cpu.set_reg(i.op0_register(), d.limit() as u64);
    }
    set_zf(cpu, d.is_some());
    Ok(())
}

/// `VERR`.
fn verr(cpu: &mut Cpu, i: &Instruction) -> Outcome {
    cpu.needs_protection()?;
    let selector = cpu.selector_operand(i, 0)?;
    let d = visible(cpu, selector)?;
    let ok = d.is_some_and(|d| d.is_segment() && (!d.is_code() || d.has(ar::RW)));
    set_zf(cpu, ok);
    Ok(())
}

/// `VERW`.
fn verw(cpu: &mut Cpu, i: &Instruction) -> Outcome {
    cpu.needs_protection()?;
    let selector = cpu.selector_operand(i, 0)?;
    let ok = visible(cpu, selector)?.is_some_and(Descriptor::is_writable);
    set_zf(cpu, ok);
    Ok(())
}

/// `ARPL`.
fn arpl(cpu: &mut Cpu, i: &Instruction) -> Outcome {
    cpu.needs_protection()?;
    let with = cpu.reg(i.op1_register()) as u16 & 3;
    let old = cpu.selector_operand(i, 0)?;
    let raise = old & 3 < with;
    if raise {
        let new = (old & !3) | with;
        match i.op0_kind() {
            OpKind::Register => {
                let r = i.op0_register();
                let v = cpu.reg(r) & !0xffff | new as u64;
                cpu.set_reg(r, v);
            }
            _ => cpu.store_operand::<u16>(i, new)?,
        }
    }
    set_zf(cpu, raise);
    Ok(())
}

/// The table of this family.
#[rustfmt::skip]
pub(super) const FORMS: &[Form] = forms! {
    Mov_Sreg_rm16 => Exec::Function(mov_to_segment);
    Mov_Sreg_r32m16 => Exec::Function(mov_to_segment);
    Mov_Sreg_r64m16 => Exec::Function(mov_to_segment);
    Mov_rm16_Sreg => Exec::Function(mov_from_segment);
    Mov_r32m16_Sreg => Exec::Function(mov_from_segment);
    Mov_r64m16_Sreg => Exec::Function(mov_from_segment);
    Pushw_ES => Exec::Function(push_segment::<2>);
    Pushw_CS => Exec::Function(push_segment::<2>);
    Pushw_SS => Exec::Function(push_segment::<2>);
    Pushw_DS => Exec::Function(push_segment::<2>);
    Pushw_FS => Exec::Function(push_segment::<2>);
    Pushw_GS => Exec::Function(push_segment::<2>);
    Pushd_ES => Exec::Function(push_segment::<4>);
    Pushd_CS => Exec::Function(push_segment::<4>);
    Pushd_SS => Exec::Function(push_segment::<4>);
    Pushd_DS => Exec::Function(push_segment::<4>);
    Pushd_FS => Exec::Function(push_segment::<4>);
    Pushd_GS => Exec::Function(push_segment::<4>);
    Pushq_FS => Exec::Function(push_segment::<8>);
    Pushq_GS => Exec::Function(push_segment::<8>);
    Popw_ES => Exec::Function(pop_segment::<2>);
    Popw_SS => Exec::Function(pop_segment::<2>);
    Popw_DS => Exec::Function(pop_segment::<2>);
    Popw_FS => Exec::Function(pop_segment::<2>);
    Popw_GS => Exec::Function(pop_segment::<2>);
    Popd_ES => Exec::Function(pop_segment::<4>);
    Popd_SS => Exec::Function(pop_segment::<4>);
    Popd_DS => Exec::Function(pop_segment::<4>);
    Popd_FS => Exec::Function(pop_segment::<4>);
    Popd_GS => Exec::Function(pop_segment::<4>);
    Popq_FS => Exec::Function(pop_segment::<8>);
    Popq_GS => Exec::Function(pop_segment::<8>);
    Lds_r16_m1616 => Exec::Function(load_far::<u16, { seg::DS }>);
    Lds_r32_m1632 => Exec::Function(load_far::<u32, { seg::DS }>);
    Les_r16_m1616 => Exec::Function(load_far::<u16, { seg::ES }>);
    Les_r32_m1632 => Exec::Function(load_far::<u32, { seg::ES }>);
    Lfs_r16_m1616 => Exec::Function(load_far::<u16, { seg::FS }>);
    Lfs_r32_m1632 => Exec::Function(load_far::<u32, { seg::FS }>);
    Lfs_r64_m1664 => Exec::Function(load_far::<u64, { seg::FS }>);
    Lgs_r16_m1616 => Exec::Function(load_far::<u16, { seg::GS }>);
    Lgs_r32_m1632 => Exec::Function(load_far::<u32, { seg::GS }>);
    Lgs_r64_m1664 => Exec::Function(load_far::<u64, { seg::GS }>);
    Lss_r16_m1616 => Exec::Function(load_far::<u16, { seg::SS }>);
    Lss_r32_m1632 => Exec::Function(load_far::<u32, { seg::SS }>);
    Lss_r64_m1664 => Exec::Function(load_far::<u64, { seg::SS }>);
    Lldt_rm16 => Exec::Function(lldt);
    Lldt_r32m16 => Exec::Function(lldt);
    Lldt_r64m16 => Exec::Function(lldt);
    Ltr_rm16 => Exec::Function(ltr);
    Ltr_r32m16 => Exec::Function(ltr);
    Ltr_r64m16 => Exec::Function(ltr);
    Sldt_rm16 => Exec::Function(sldt);
    Sldt_r32m16 => Exec::Function(sldt);
    Sldt_r64m16 => Exec::Function(sldt);
    Str_rm16 => Exec::Function(str);
    Str_r32m16 => Exec::Function(str);
    Str_r64m16 => Exec::Function(str);
    Lgdt_m1632_16 => Exec::Function(lgdt::<3>);
    Lgdt_m1632 => Exec::Function(lgdt::<4>);
    Lgdt_m1664 => Exec::Function(lgdt::<8>);
    Lidt_m1632_16 => Exec::Function(lidt::<3>);
    Lidt_m1632 => Exec::Function(lidt::<4>);
    Lidt_m1664 => Exec::Function(lidt::<8>);
    Sgdt_m1632_16 => Exec::Function(sgdt);
    Sgdt_m1632 => Exec::Function(sgdt);
    Sgdt_m1664 => Exec::Function(sgdt);
    Sidt_m1632_16 => Exec::Function(sidt);
    Sidt_m1632 => Exec::Function(sidt);
    Sidt_m1664 => Exec::Function(sidt);
    Lar_r16_rm16 => Exec::Function(lar);
    Lar_r32_r32m16 => Exec::Function(lar);
    Lar_r64_r64m16 => Exec::Function(lar);
    Lsl_r16_rm16 => Exec::Function(lsl);
    Lsl_r32_r32m16 => Exec::Function(lsl);
    Lsl_r64_r64m16 => Exec::Function(lsl);
    Verr_rm16 => Exec::Function(verr);
    Verr_r32m16 => Exec::Function(verr);
    Verr_r64m16 => Exec::Function(verr);
    Verw_rm16 => Exec::Function(verw);
    Verw_r32m16 => Exec::Function(verw);
    Verw_r64m16 => Exec::Function(verw);
    Arpl_rm16_r16 => Exec::Function(arpl);
    Arpl_r32m16_r32 => Exec::Function(arpl);
};
