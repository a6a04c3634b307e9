//! Operands of plain instructions.

use crate::Cpu;
use crate::state::{gpr, seg};
use crate::trap::Trap;
use crate::word::Word;
use iced_x86::{Instruction, OpKind, Register};

/// The number of a segment register.
pub fn segment_number(r: Register) -> usize {
    match r {
        Register::ES => seg::ES,
        Register::CS => seg::CS,
        Register::SS => seg::SS,
        Register::FS => seg::FS,
        Register::GS => seg::GS,
        _ => seg::DS,
    }
}

/// The byte offset into [`Cpu`] of a general-purpose register.
pub fn register_offset(r: Register) -> u8 {
    match r {
        Register::AH => 1,
        Register::CH => 9,
        Register::DH => 17,
        Register::BH => 25,
        _ => r.full_register().number() as u8 * 8,
    }
}

impl Cpu {
    /// Reads a general-purpose register of any width, zero-extended.
    pub(crate) fn reg(&self, r: Register) -> u64 {
        let off = register_offset(r);
        let v = self.state.regs[(off >> 3) as usize] >> ((off & 7) * 8);
        match r.size() {
            1 => v as u8 as u64,
            2 => v as u16 as u64,
            4 => v as u32 as u64,
            _ => v,
        }
    }

    /// Writes a general-purpose register of any width; a 32-bit write clears the upper half.
    pub(crate) fn set_reg(&mut self, r: Register, v: u64) {
        let off = register_offset(r);
        let full = &mut self.state.regs[(off >> 3) as usize];
        match r.size() {
            1 if off & 7 == 1 => *full = (*full & !0xff00) | (v & 0xff) << 8,
            1 => u8::put(full, v as u8),
            2 => u16::put(full, v as u16),
            4 => u32::put(full, v as u32),
            _ => *full = v,
        }
    }

    fn address_part(&self, r: Register) -> u64 {
        match r {
            Register::None => 0,
            // The decoder's IP was the page offset, so displacements are relative to the page.
            Register::RIP | Register::EIP => self.state.bases.page,
            r => self.reg(r),
        }
    }

    /// The offset of the memory operand in its segment, cut to the address size.
    pub(crate) fn ea(&self, i: &Instruction) -> u64 {
        let index = self.address_part(i.memory_index()).wrapping_mul(i.memory_index_scale() as u64);
        let base = self.address_part(i.memory_base());
        let a = base.wrapping_add(index).wrapping_add(i.memory_displacement64());
        match address_size(i, self.is_64()) {
            2 => a & 0xffff,
            4 => a & 0xffff_ffff,
            _ => a,
        }
    }

    /// The segment number and linear address of the memory operand, checked for `size` bytes.
    pub(crate) fn memory_operand(
        &self,
        i: &Instruction,
        size: usize,
        write: bool,
    ) -> Result<(usize, u64), Trap> {
        let s = segment_number(i.memory_segment());
        Ok((s, self.linear(s, self.ea(i), size, write)?))
    }

    /// #AC(0) unless the memory operand is aligned; for where alignment is checked.
    pub(crate) fn check_alignment(&self, i: &Instruction, align: u64) -> Result<(), Trap> {
        let (_, la) = self.memory_operand(i, 1, false)?;
        if la & (align - 1) != 0 {
            Err(Trap::fault_code(crate::trap::vector::AC, 0))
        } else {
            Ok(())
        }
    }

    /// As [`Cpu::memory_operand`], aligned: #GP(0) comes before what the segment says.
    pub(crate) fn aligned_operand(
        &self,
        i: &Instruction,
        size: usize,
        align: u64,
        write: bool,
    ) -> Result<(usize, u64), Trap> {
        let s = segment_number(i.memory_segment());
        let base = if self.is_64() && s < seg::FS { 0 } else { self.state.bases.seg[s] };
        if base.wrapping_add(self.ea(i)) & (align - 1) != 0 {
            return Err(Trap::GP0);
        }
        self.memory_operand(i, size, write)
    }

    /// Loads the memory operand.
    pub(crate) fn load_operand<W: Word>(&mut self, i: &Instruction) -> Result<W, Trap> {
        let (s, la) = self.memory_operand(i, W::BYTES, false)?;
        self.load_at(s, la)
    }

    /// Stores to the memory operand.
    pub(crate) fn store_operand<W: Word>(&mut self, i: &Instruction, v: W) -> Result<(), Trap> {
        let (s, la) = self.memory_operand(i, W::BYTES, true)?;
        self.store_at(s, la, v)
    }

    /// Reads operand `n`: register, memory or immediate (sign-extended as the instruction says).
    pub(crate) fn read<W: Word>(&mut self, i: &Instruction, n: u32) -> Result<W, Trap> {
        match i.op_kind(n) {
            OpKind::Register => Ok(W::of(self.reg(i.op_register(n)))),
            OpKind::Memory => self.load_operand(i),
            _ => Ok(W::of(i.immediate(n))),
        }
    }

    /// Writes operand `n`: register or memory.
    pub(crate) fn write<W: Word>(&mut self, i: &Instruction, n: u32, v: W) -> Result<(), Trap> {
        match i.op_kind(n) {
            OpKind::Register => {
                self.set_reg(i.op_register(n), v.u());
                Ok(())
            }
            _ => self.store_operand(i, v),
        }
    }

    /// Replaces operand `n` (register or memory) by `f` of it; `f` runs when nothing can fail any
    /// more.
    pub(crate) fn modify<W: Word>(
        &mut self,
        i: &Instruction,
        n: u32,
        f: impl FnOnce(W) -> W,
    ) -> Result<(), Trap> {
        if i.op_kind(n) == OpKind::Register {
            let v = f(W::of(self.reg(i.op_register(n))));
            self.set_reg(i.op_register(n), v.u());
            return Ok(());
        }
        let (s, la) = self.memory_operand(i, W::BYTES, true)?;
        self.update_at(s, la, f)
    }

    /// Width of the stack pointer in bytes. SDM vol. 3, "Stack Segment" (SS.B, 64-bit mode).
    pub(crate) fn stack_size(&self) -> u32 {
        if self.is_64() {
            8
        } else if self.state.sys.seg[seg::SS].has(crate::state::ar::DB) {
            4
        } else {
            2
        }
    }

    /// The stack pointer moved by `by`, cut to the stack's width.
    pub(crate) fn stack_pointer(&self, by: i64) -> u64 {
        let sp = self.state.regs[gpr::RSP].wrapping_add(by as u64);
        match self.stack_size() {
            8 => sp,
            4 => sp & 0xffff_ffff,
            _ => sp & 0xffff,
        }
    }

    /// Writes the stack pointer at the stack's width.
    pub(crate) fn set_stack_pointer(&mut self, sp: u64) {
        let reg = &mut self.state.regs[gpr::RSP];
        match self.state.sys.seg[seg::SS].ar & crate::state::ar::DB {
            _ if self.caches.mode == crate::CodeMode::Bits64 => *reg = sp,
            0 => u16::put(reg, sp as u16),
            _ => u32::put(reg, sp as u32),
        }
    }

    /// Pushes a value of `size` bytes (2, 4 or 8).
    pub(crate) fn push(&mut self, size: usize, v: u64) -> Result<(), Trap> {
        let sp = self.stack_pointer(-(size as i64));
        let la = self.linear(seg::SS, sp, size, true)?;
        self.store_bytes(seg::SS, la, &v.to_le_bytes()[..size])?;
        self.set_stack_pointer(sp);
        Ok(())
    }

    /// The fault of a push of `size` bytes, if it has one, in `trap`.
    pub(crate) fn probe_push(&mut self, size: usize) -> Option<()> {
        let sp = self.stack_pointer(-(size as i64));
        let la = self.linear(seg::SS, sp, size, true);
        let done = la.and_then(|la| self.probe(seg::SS, la, size, mmu::AccessKind::Write));
        done.map_err(|t| self.env.trap = Some(t)).ok()
    }

    /// Reads the value of `size` bytes that stands `at` bytes above the stack pointer.
    pub(crate) fn peek(&mut self, at: u64, size: usize) -> Result<u64, Trap> {
        let sp = self.stack_pointer(at as i64);
        let la = self.linear(seg::SS, sp, size, false)?;
        match size {
            2 => Ok(self.load_at::<u16>(seg::SS, la)? as u64),
            4 => Ok(self.load_at::<u32>(seg::SS, la)? as u64),
            _ => self.load_at::<u64>(seg::SS, la),
        }
    }

    /// Pops a value of `size` bytes.
    pub(crate) fn pop(&mut self, size: usize) -> Result<u64, Trap> {
        let v = self.peek(0, size)?;
        let sp = self.stack_pointer(size as i64);
        self.set_stack_pointer(sp);
        Ok(v)
    }
}

/// Address size of the memory operand in bytes.
pub fn address_size(i: &Instruction, long: bool) -> u32 {
    for r in [i.memory_base(), i.memory_index()] {
        if r != Register::None && !r.is_vector_register() {
            return if matches!(r, Register::EIP) { 4 } else { r.size() as u32 };
        }
    }
    match i.memory_displ_size() {
        2 => 2,
        4 => 4,
        8 => 8,
        _ if long => 8,
        _ => 4,
    }
}
