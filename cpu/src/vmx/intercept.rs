//! Instructions that exit. SDM vol. 3, "Instructions That Cause VM Exits". Every function here is called
//! after the checks of #UD and privilege, and before those of values; outside the guest none does anything.

use super::cause::{Cause, When};
use super::controls::{PROC, PROC2, proc, proc2};
use super::{info, reason};
use crate::Cpu;
use crate::operand::segment_number;
use crate::state::vmx::Exit;
use crate::state::vmx::field::Field;
use crate::state::{gpr, seg};
use crate::trap::Trap;
use iced_x86::{Instruction, Mnemonic, OpKind};

/// The controls that bear on a cause.
#[derive(Clone, Copy)]
struct Conditions {
    /// Primary controls under which the instruction exits.
    proc: u64,
    /// Secondary controls under which the instruction exits.
    proc2: u64,
    /// Secondary controls without which the instruction is undefined.
    enable: u64,
}

/// The conditions of each [`Cause`], from the rows of [`super::controls`].
const CONDITIONS: [Conditions; Cause::ALL.len()] = {
    let mut all = [Conditions { proc: 0, proc2: 0, enable: 0 }; Cause::ALL.len()];
    let mut n = 0;
    while n < all.len() {
        let cause = Cause::ALL[n];
        let (proc, proc2) = (PROC.exiting(cause), PROC2.exiting(cause));
        all[n] = Conditions { proc, proc2, enable: PROC2.enabling(cause) };
        n += 1;
    }
    all
};

impl Cpu {
    /// The exit of `cause`; #UD if the guest does not have the instruction.
    #[inline]
    pub(crate) fn vmx_intercept(&mut self, i: &Instruction, cause: Cause) -> Result<(), Trap> {
        if self.state.vmx.guest { self.intercept(i, cause) } else { Ok(()) }
    }

    /// #UD if the guest does not have the instruction.
    pub(crate) fn vmx_enabled(&self, cause: Cause) -> Result<(), Trap> {
        let enable = CONDITIONS[cause as usize].enable;
        let missing = self.state.vmx.guest && enable != 0 && !self.state.vmx.proc2(enable);
        if missing { Err(Trap::UD) } else { Ok(()) }
    }

    fn intercept(&mut self, i: &Instruction, cause: Cause) -> Result<(), Trap> {
        self.vmx_enabled(cause)?;
        if !self.exits(cause) {
            return Ok(());
        }
        let mut e = Exit::of(i, cause.reason());
        if matches!(cause, Cause::Invpcid | Cause::Xsaves | Cause::Xrstors) {
            e.info = info::instruction(i, self.is_64());
            e.qualification = self.displacement(i);
        }
        Err(self.exit_trap(e))
    }

    fn exits(&self, cause: Cause) -> bool {
        let c = &CONDITIONS[cause as usize];
        match cause.when() {
            When::Always => true,
            When::Controlled => self.state.vmx.proc(c.proc) || self.state.vmx.proc2(c.proc2),
            When::Xss => self.xss_exits(),
        }
    }

    fn xss_exits(&self) -> bool {
        let asked = self.state.regs[gpr::RDX] << 32 | self.state.regs[gpr::RAX] & 0xffff_ffff;
        self.state.vmx.vmcs[Field::XssExitingBitmap] & self.state.sys.msr.xss & asked != 0
    }

    /// `INVLPG` of linear address `la`.
    pub(crate) fn vmx_intercept_invlpg(&mut self, i: &Instruction, la: u64) -> Result<(), Trap> {
        if !self.state.vmx.proc(proc::INVLPG) {
            return Ok(());
        }
        let e = Exit { qualification: la, ..Exit::of(i, reason::INVLPG) };
        Err(self.exit_trap(e))
    }

    /// `SGDT`, `SIDT`, `LGDT`, `LIDT`, `SLDT`, `STR`, `LLDT`, `LTR`.
    pub(crate) fn vmx_intercept_table(&mut self, i: &Instruction) -> Result<(), Trap> {
        if !self.state.vmx.proc2(proc2::DESCRIPTOR_TABLE) {
            return Ok(());
        }
        use Mnemonic::{Lgdt, Lidt, Sgdt, Sidt};
        let table = matches!(i.mnemonic(), Sgdt | Sidt | Lgdt | Lidt);
        let why = if table { reason::TABLE_ACCESS } else { reason::LDTR_TR_ACCESS };
        let e = Exit {
            info: info::instruction(i, self.is_64()),
            qualification: self.displacement(i),
            ..Exit::of(i, why)
        };
        Err(self.exit_trap(e))
    }

    /// `MOV` to (`write`) or from debug register `n`; the other operand is register `r`.
    pub(crate) fn vmx_intercept_dr(
        &mut self,
        i: &Instruction,
        n: u8,
        write: bool,
    ) -> Result<(), Trap> {
        if !self.state.vmx.proc(proc::MOV_DR) {
            return Ok(());
        }
        let r = i.op_register(write as u32).full_register().number() as u64;
        let qualification = n as u64 | (!write as u64) << 4 | r << 8;
        let e = Exit { qualification, ..Exit::of(i, reason::MOV_DR) };
        Err(self.exit_trap(e))
    }

    /// `IN`, `OUT`, `INS`, `OUTS` (a step of it) on `port`.
    pub(crate) fn vmx_intercept_io(
        &mut self,
        i: &Instruction,
        port: u16,
        size: u8,
        input: bool,
    ) -> Result<(), Trap> {
        if !self.state.vmx.guest || !self.io_exits(port, size) {
            return Ok(());
        }
        let immediate = (0..2).any(|n| i.op_kind(n) == OpKind::Immediate8);
        let string = matches!(i.mnemonic(), Mnemonic::Insb | Mnemonic::Insw | Mnemonic::Insd)
            || matches!(i.mnemonic(), Mnemonic::Outsb | Mnemonic::Outsw | Mnemonic::Outsd);
        let repeated = string && (i.has_rep_prefix() || i.has_repne_prefix());
        let qualification = (size as u64).wrapping_sub(1) & 7
            | (input as u64) << 3
            | (string as u64) << 4
            | (repeated as u64) << 5
            | (immediate as u64) << 6
            | (port as u64) << 16;
        let mut e = Exit { qualification, ..Exit::of(i, reason::IO) };
        if string {
            e.info = info::string_io(i, self.is_64());
            e.linear = self.string_address(i, input);
        }
        Err(self.exit_trap(e))
    }

    pub(super) fn io_exits(&self, port: u16, size: u8) -> bool {
        if !self.state.vmx.proc(proc::IO_BITMAPS) {
            return self.state.vmx.proc(proc::UNCONDITIONAL_IO);
        }
        let ports = port as u32..port as u32 + size as u32;
        let set = |p: u32| {
            let f = if p < 0x8000 { Field::IoBitmapA } else { Field::IoBitmapB };
            self.bitmap(self.state.vmx.vmcs[f], p & 0x7fff)
        };
        ports.end > 0x1_0000 || ports.into_iter().any(set)
    }

    /// Bit `n` of a bitmap in physical memory.
    fn bitmap(&self, at: u64, n: u32) -> bool {
        let word = self.phys_u64(at.wrapping_add((n as u64 >> 6) * 8));
        word >> (n & 63) & 1 != 0
    }

    /// The linear address of the memory operand of INS and OUTS.
    fn string_address(&self, i: &Instruction, input: bool) -> u64 {
        let (s, reg) = match input {
            true => (seg::ES, gpr::RDI),
            false => (segment_number(i.memory_segment()), gpr::RSI),
        };
        let kind = i.op_kind(!input as u32);
        let off = match kind {
            OpKind::MemoryESDI | OpKind::MemorySegSI => self.state.regs[reg] & 0xffff,
            OpKind::MemoryESEDI | OpKind::MemorySegESI => self.state.regs[reg] & 0xffff_ffff,
            _ => self.state.regs[reg],
        };
        if self.is_64() {
            return off.wrapping_add(if s >= seg::FS { self.state.bases.seg[s] } else { 0 });
        }
        off.wrapping_add(self.state.bases.seg[s]) as u32 as u64
    }

    /// `RDMSR` of `n`: exits, or gives the value that VMX virtualises, or None: the register's own.
    pub(crate) fn vmx_rdmsr(&mut self, i: &Instruction, n: u32) -> Result<Option<u64>, Trap> {
        if !self.state.vmx.guest {
            return Ok(None);
        }
        if self.msr_exits(n, 0) {
            return Err(self.exit_trap(Exit::of(i, reason::RDMSR)));
        }
        Ok(match n {
            0x808 if self.state.vmx.proc2(proc2::VIRTUALIZE_X2APIC) => Some(self.vtpr() as u64),
            0x10 => Some(self.guest_tsc()),
            _ => None,
        })
    }

    /// `WRMSR` of `v` to `n`: exits, or true: VMX has done it, or false: write the register.
    pub(crate) fn vmx_wrmsr(&mut self, i: &Instruction, n: u32, v: u64) -> Result<bool, Trap> {
        if !self.state.vmx.guest {
            return Ok(false);
        }
        if self.msr_exits(n, 2048) {
            return Err(self.exit_trap(Exit::of(i, reason::WRMSR)));
        }
        if n != 0x808 || !self.state.vmx.proc2(proc2::VIRTUALIZE_X2APIC) {
            return Ok(false);
        }
        if v >> 8 != 0 {
            return Err(Trap::GP0);
        }
        self.set_vtpr(v as u8);
        Ok(true)
    }

    pub(super) fn msr_exits(&self, n: u32, half: u64) -> bool {
        if !self.state.vmx.proc(proc::MSR_BITMAPS) {
            return true;
        }
        let at = self.state.vmx.vmcs[Field::MsrBitmap].wrapping_add(half);
        match n {
            0..=0x1fff => self.bitmap(at, n),
            0xc000_0000..=0xc000_1fff => self.bitmap(at.wrapping_add(1024), n & 0x1fff),
            _ => true,
        }
    }

    /// The time-stamp counter as read by RDTSC, RDTSCP and RDMSR.
    pub(crate) fn guest_tsc(&self) -> u64 {
        self.tsc().wrapping_add(self.state.vmx.tsc_offset())
    }

    /// A task switch, which always exits: to `selector`, from CALL (0), IRET (1), JMP (2) or a task gate
    /// in the IDT (3).
    pub(crate) fn vmx_task_switch(&mut self, selector: u16, source: u8) -> Result<(), Trap> {
        if !self.state.vmx.guest {
            return Ok(());
        }
        let length = if source == 3 { 0 } else { self.instruction_length() };
        let qualification = selector as u64 | (source as u64) << 30;
        let e = Exit { length, qualification, ..Exit::new(reason::TASK_SWITCH) };
        Err(self.exit_trap(e))
    }
}
