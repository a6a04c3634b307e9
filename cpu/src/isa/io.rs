//! Ports: IN, OUT, INS, OUTS. SDM vol. 1, "Input/Output".

use super::{Exec, Form, forms};
use crate::Cpu;
use crate::operand::segment_number;
use crate::state::{flags, gpr, seg};
use crate::trap::Trap;
use crate::word::Word;
use iced_x86::{Instruction, OpKind};
use mmu::AccessKind;

type Outcome = Result<(), Trap>;

impl Cpu {
    /// #GP(0) unless IOPL or the I/O permission bit map lets the program use the port.
    pub(crate) fn io_allowed(&mut self, port: u16, size: usize) -> Outcome {
        let iopl = (self.state.flags.system >> 12 & 3) as u8;
        if !self.protected() || (self.state.sys.cpl <= iopl && !self.v86()) {
            return Ok(());
        }
        let tr = self.state.sys.tr;
        let limit = tr.limit as u64;
        if tr.ar & 8 == 0 || limit < 0x67 {
            return Err(Trap::GP0);
        }
        let map = self.load_table(tr.base.wrapping_add(0x66), 2)?;
        let at = map + (port >> 3) as u64;
        if at + 1 > limit {
            return Err(Trap::GP0);
        }
        let bits = self.load_table(tr.base.wrapping_add(at), 2)?;
        let mask = (1 << size) - 1;
        if bits >> (port & 7) & mask != 0 { Err(Trap::GP0) } else { Ok(()) }
    }
}

fn port(cpu: &Cpu, i: &Instruction, n: u32) -> u16 {
    match i.op_kind(n) {
        OpKind::Immediate8 => i.immediate8() as u16,
        _ => cpu.state.regs[gpr::RDX] as u16,
    }
}

/// `IN`.
fn input<W: Word>(cpu: &mut Cpu, i: &Instruction) -> Outcome {
    let port = port(cpu, i, 1);
    cpu.io_allowed(port, W::BYTES)?;
    cpu.watch_port(port, W::BYTES);
    cpu.vmx_intercept_io(i, port, W::BYTES as u8, true)?;
    let v = cpu.access_device(|bus, now| bus.port_read(port, W::BYTES as u8, now));
    cpu.set_reg(i.op0_register(), v as u64);
    Ok(())
}

/// `OUT`.
fn output<W: Word>(cpu: &mut Cpu, i: &Instruction) -> Outcome {
    let port = port(cpu, i, 0);
    cpu.io_allowed(port, W::BYTES)?;
    cpu.watch_port(port, W::BYTES);
    cpu.vmx_intercept_io(i, port, W::BYTES as u8, false)?;
    let v = W::of(cpu.state.regs[gpr::RAX]).u() as u32;
    cpu.access_device(|bus, now| bus.port_write(port, W::BYTES as u8, v, now));
    Ok(())
}

/// Address size in bytes of a string operand.
fn string_address_size(k: OpKind) -> u32 {
    match k {
        OpKind::MemorySegSI | OpKind::MemoryESDI => 2,
        OpKind::MemorySegESI | OpKind::MemoryESEDI => 4,
        _ => 8,
    }
}

fn cut(v: u64, size: u32) -> u64 {
    v & u64::MAX >> (64 - 8 * size)
}

/// Writes the low `size` bytes of a register as an instruction of that address size does.
fn put_counter(cpu: &mut Cpu, r: usize, size: u32, v: u64) {
    let old = cpu.state.regs[r];
    cpu.state.regs[r] = if size == 2 { old & !0xffff | v & 0xffff } else { cut(v, size) };
}

/// One element, and the count: a REP goes on at the same instruction while it is not 0.
fn repeat(
    cpu: &mut Cpu,
    i: &Instruction,
    size: u32,
    element: impl FnOnce(&mut Cpu) -> Outcome,
) -> Outcome {
    if !(i.has_rep_prefix() || i.has_repne_prefix()) {
        return element(cpu);
    }
    let count = cut(cpu.state.regs[gpr::RCX], size);
    if count == 0 {
        return Ok(());
    }
    element(cpu)?;
    put_counter(cpu, gpr::RCX, size, count - 1);
    if count > 1 { Err(Trap::Again) } else { Ok(()) }
}

fn advance(cpu: &mut Cpu, r: usize, size: u32, by: usize) {
    let down = cpu.state.flags.system & flags::DF != 0;
    let by = if down { (by as u64).wrapping_neg() } else { by as u64 };
    let v = cpu.state.regs[r].wrapping_add(by);
    put_counter(cpu, r, size, v);
}

/// `INS`.
fn ins<W: Word>(cpu: &mut Cpu, i: &Instruction) -> Outcome {
    let size = string_address_size(i.op0_kind());
    repeat(cpu, i, size, |cpu| {
        let port = cpu.state.regs[gpr::RDX] as u16;
        cpu.io_allowed(port, W::BYTES)?;
        cpu.watch_port(port, W::BYTES);
        cpu.vmx_intercept_io(i, port, W::BYTES as u8, true)?;
        let off = cut(cpu.state.regs[gpr::RDI], size);
        let la = cpu.linear(seg::ES, off, W::BYTES, true)?;
        // The store must not fail once the port has been read.
        cpu.translate(la, AccessKind::Write)?;
        cpu.translate(la.wrapping_add(W::BYTES as u64 - 1), AccessKind::Write)?;
        let v = cpu.access_device(|bus, now| bus.port_read(port, W::BYTES as u8, now));
        cpu.store_at::<W>(seg::ES, la, W::of(v as u64))?;
        advance(cpu, gpr::RDI, size, W::BYTES);
        Ok(())
    })
}

/// `OUTS`.
fn outs<W: Word>(cpu: &mut Cpu, i: &Instruction) -> Outcome {
    let size = string_address_size(i.op1_kind());
    repeat(cpu, i, size, |cpu| {
        let port = cpu.state.regs[gpr::RDX] as u16;
        cpu.io_allowed(port, W::BYTES)?;
        cpu.watch_port(port, W::BYTES);
        cpu.vmx_intercept_io(i, port, W::BYTES as u8, false)?;
        let s = segment_number(i.memory_segment());
        let off = cut(cpu.state.regs[gpr::RSI], size);
        let la = cpu.linear(s, off, W::BYTES, false)?;
        let v = cpu.load_at::<W>(s, la)?.u() as u32;
        cpu.access_device(|bus, now| bus.port_write(port, W::BYTES as u8, v, now));
        advance(cpu, gpr::RSI, size, W::BYTES);
        Ok(())
    })
}

/// The table of this family.
#[rustfmt::skip]
pub(super) const FORMS: &[Form] = forms! {
    In_AL_imm8 => Exec::Function(input::<u8>);
    In_AX_imm8 => Exec::Function(input::<u16>);
    In_EAX_imm8 => Exec::Function(input::<u32>);
    In_AL_DX => Exec::Function(input::<u8>);
    In_AX_DX => Exec::Function(input::<u16>);
    In_EAX_DX => Exec::Function(input::<u32>);
    Out_imm8_AL => Exec::Function(output::<u8>);
    Out_imm8_AX => Exec::Function(output::<u16>);
    Out_imm8_EAX => Exec::Function(output::<u32>);
    Out_DX_AL => Exec::Function(output::<u8>);
    Out_DX_AX => Exec::Function(output::<u16>);
    Out_DX_EAX => Exec::Function(output::<u32>);
    Insb_m8_DX => Exec::Function(ins::<u8>);
    Insw_m16_DX => Exec::Function(ins::<u16>);
    Insd_m32_DX => Exec::Function(ins::<u32>);
    Outsb_DX_m8 => Exec::Function(outs::<u8>);
    Outsw_DX_m16 => Exec::Function(outs::<u16>);
    Outsd_DX_m32 => Exec::Function(outs::<u32>);
};
