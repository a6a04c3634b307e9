//! The VMX instructions but VM entries. SDM vol. 3, "VMX Instruction Reference".

use super::controls::{CR0_FIXED0, CR0_FIXED1, CR4_FIXED0, capability_msr};
use super::rules::canonical;
use super::{info, reason};
use crate::Cpu;
use crate::state::control::{CR4_VMXE, EFER_LMA};
use crate::state::vmx::Exit;
use crate::state::vmx::field::{Field, group};
use crate::state::vmx::vmcs::{CLEAR, IMAGE, NO_VMCS, REVISION, Vmcs};
use crate::state::{ar, flags, seg};
use crate::trap::Trap;
use crate::word::Word;
use iced_x86::{Instruction, OpKind, Register};
use mmu::{Eptp, HostPhys};

/// VM-instruction errors. SDM vol. 3, "VM Instruction Error Numbers".
mod error {
    pub(super) const VMCALL_IN_ROOT: u32 = 1;
    pub(super) const VMCLEAR_ADDRESS: u32 = 2;
    pub(super) const VMCLEAR_VMXON: u32 = 3;
    pub(super) const VMPTRLD_ADDRESS: u32 = 9;
    pub(super) const VMPTRLD_VMXON: u32 = 10;
    pub(super) const VMPTRLD_REVISION: u32 = 11;
    pub(super) const NO_FIELD: u32 = 12;
    pub(super) const READ_ONLY: u32 = 13;
    pub(super) const VMXON_IN_ROOT: u32 = 15;
    pub(super) const INVALIDATE_OPERAND: u32 = 28;
}

/// IA32_FEATURE_CONTROL: no more to be written.
pub(crate) const FEATURE_LOCK: u64 = 1;
/// IA32_FEATURE_CONTROL: VMXON is allowed outside SMX operation.
pub(crate) const FEATURE_VMXON: u64 = 4;

impl Cpu {
    /// VMsucceed.
    fn vm_succeed(&mut self) {
        self.state.flags.set_status(0);
    }

    /// VMfailInvalid.
    pub(super) fn vm_fail_invalid(&mut self) {
        self.state.flags.set_status(flags::CF);
    }

    /// VMfail: VMfailValid with error `n` if there is a current VMCS.
    pub(super) fn vm_fail(&mut self, n: u32) {
        if !self.state.vmx.vmcs.is_current() {
            return self.vm_fail_invalid();
        }
        self.state.vmx.vmcs[Field::InstructionError] = n as u64;
        self.state.flags.set_status(flags::ZF);
    }

    /// #UD where no VMX instruction but VMCALL exists: real mode, virtual-8086 mode, compatibility mode.
    fn vmx_mode(&self) -> Result<(), Trap> {
        let long = self.state.sys.efer & EFER_LMA != 0;
        let compatible = long && !self.state.sys.seg[seg::CS].has(ar::L);
        if !self.protected() || self.v86() || compatible { Err(Trap::UD) } else { Ok(()) }
    }

    /// The checks that all but VMXON and VMCALL begin with; in the guest the exit of `reason`.
    pub(super) fn vmx_operation(&mut self, reason: u32) -> Result<(), Trap> {
        self.vmx_checks(|_| Exit::new(reason))
    }

    #[inline]
    fn vmx_checks(&mut self, e: impl FnOnce(&Cpu) -> Exit) -> Result<(), Trap> {
        if !self.is_64() {
            self.vmx_mode()?;
        }
        if !self.state.vmx.on {
            return Err(Trap::UD);
        }
        if self.state.vmx.guest {
            let length = self.instruction_length();
            return Err(self.exit_trap(Exit { length, resume: Some(false), ..e(self) }));
        }
        if self.state.sys.cpl != 0 { Err(Trap::GP0) } else { Ok(()) }
    }

    /// The same for instructions with operands, which an exit reports.
    #[inline]
    fn vmx_operands(&mut self, i: &Instruction, reason: u32) -> Result<(), Trap> {
        self.vmx_checks(|cpu| Exit {
            qualification: cpu.displacement(i),
            info: info::instruction(i, cpu.is_64()),
            ..Exit::new(reason)
        })
    }

    /// Whether the operand of VMXON, VMPTRLD or VMCLEAR can be a region.
    fn region(&self, p: u64) -> bool {
        p & 0xfff == 0 && p >> self.state.model.maxphys == 0
    }

    fn phys_revision(&self, p: u64) -> u32 {
        self.phys_u64(p) as u32
    }

    /// Writes the current VMCS back to its region.
    fn put_vmcs_back(&mut self) {
        let v = &self.state.vmx.vmcs;
        if v.is_current() {
            let (at, image) = (v.address, v.image());
            self.phys_write(HostPhys(at + 8), &image);
        }
        self.state.vmx.vmcs = Vmcs::default();
    }

    /// Whether CR0 and CR4 are as VMX operation wants them.
    fn vmx_fixed(&self) -> bool {
        let (cr0, cr4) = (self.state.sys.cr0, self.state.sys.cr4);
        cr0 & CR0_FIXED0 == CR0_FIXED0 && cr0 & !CR0_FIXED1 == 0 && cr4 & CR4_FIXED0 == CR4_FIXED0
    }

    /// Capability MSR `n`, if the processor has one.
    pub(crate) fn vmx_msr_read(&self, n: u32) -> Option<u64> {
        capability_msr(n, &self.state.model)
    }
}

/// `VMXON m64`.
pub(crate) fn vmxon(cpu: &mut Cpu, i: &Instruction) -> Result<(), Trap> {
    cpu.vmx_mode()?;
    if cpu.state.sys.cr4 & CR4_VMXE == 0 {
        return Err(Trap::UD);
    }
    if cpu.state.vmx.on {
        cpu.vmx_operands(i, reason::VMXON)?;
        cpu.vm_fail(error::VMXON_IN_ROOT);
        return Ok(());
    }
    let enabled = FEATURE_LOCK | FEATURE_VMXON;
    let allowed = cpu.state.sys.msr.feature_control & enabled == enabled;
    if cpu.state.sys.cpl != 0 || !cpu.vmx_fixed() || !allowed {
        return Err(Trap::GP0);
    }
    let p = cpu.load_operand::<u64>(i)?;
    if !cpu.region(p) || cpu.phys_revision(p) != REVISION {
        cpu.vm_fail_invalid();
        return Ok(());
    }
    cpu.state.vmx = super::Vmx { on: true, vmxon_pointer: p, ..super::Vmx::default() };
    cpu.vm_succeed();
    Ok(())
}

/// `VMXOFF`.
pub(crate) fn vmxoff(cpu: &mut Cpu, _: &Instruction) -> Result<(), Trap> {
    cpu.vmx_operation(reason::VMXOFF)?;
    cpu.put_vmcs_back();
    cpu.state.vmx = super::Vmx::default();
    cpu.vm_succeed();
    Ok(())
}

/// `VMCLEAR m64`.
pub(crate) fn vmclear(cpu: &mut Cpu, i: &Instruction) -> Result<(), Trap> {
    cpu.vmx_operands(i, reason::VMCLEAR)?;
    let p = cpu.load_operand::<u64>(i)?;
    if !cpu.region(p) {
        cpu.vm_fail(error::VMCLEAR_ADDRESS);
    } else if p == cpu.state.vmx.vmxon_pointer {
        cpu.vm_fail(error::VMCLEAR_VMXON);
    } else {
        if p == cpu.state.vmx.vmcs.address {
            cpu.put_vmcs_back();
        }
        cpu.phys_write(HostPhys(p + 8), &CLEAR);
        cpu.vm_succeed();
    }
    Ok(())
}

/// `VMPTRLD m64`.
pub(crate) fn vmptrld(cpu: &mut Cpu, i: &Instruction) -> Result<(), Trap> {
    cpu.vmx_operands(i, reason::VMPTRLD)?;
    let p = cpu.load_operand::<u64>(i)?;
    if !cpu.region(p) {
        cpu.vm_fail(error::VMPTRLD_ADDRESS);
    } else if p == cpu.state.vmx.vmxon_pointer {
        cpu.vm_fail(error::VMPTRLD_VMXON);
    } else if cpu.phys_revision(p) != REVISION {
        cpu.vm_fail(error::VMPTRLD_REVISION);
    } else {
        if p != cpu.state.vmx.vmcs.address {
            cpu.put_vmcs_back();
            let mut image = [0; IMAGE];
            let _ = cpu.mmu().read_slice(HostPhys(p), &mut image);
            cpu.state.vmx.vmcs = Vmcs::from_image(p, &image);
            cpu.state.vmx.dirty = group::ALL;
        }
        cpu.vm_succeed();
    }
    Ok(())
}

/// `VMPTRST m64`.
pub(crate) fn vmptrst(cpu: &mut Cpu, i: &Instruction) -> Result<(), Trap> {
    cpu.vmx_operands(i, reason::VMPTRST)?;
    let p = if cpu.state.vmx.vmcs.is_current() { cpu.state.vmx.vmcs.address } else { NO_VMCS };
    cpu.store_operand(i, p)?;
    cpu.vm_succeed();
    Ok(())
}

/// The field that a VMREAD or VMWRITE names, and whether its high half; None: it has failed.
fn named_field(cpu: &mut Cpu, encoding: u64) -> Option<(Field, bool)> {
    if !cpu.state.vmx.vmcs.is_current() {
        cpu.vm_fail_invalid();
        return None;
    }
    let found = Field::find(encoding);
    if found.is_none() {
        cpu.vm_fail(error::NO_FIELD);
    }
    found
}

/// The number of a register of `W`'s width, 4 or 8 bytes.
fn number<W: Word>(r: Register) -> usize {
    let first = if W::BYTES == 8 { Register::RAX } else { Register::EAX };
    (r as usize).wrapping_sub(first as usize) & 15
}

/// The value of that register.
fn register<W: Word>(cpu: &Cpu, r: Register) -> u64 {
    W::of(cpu.state.regs[number::<W>(r)]).u()
}

/// `VMREAD r/m, r`.
pub(crate) fn vmread<W: Word>(cpu: &mut Cpu, i: &Instruction) -> Result<(), Trap> {
    cpu.vmx_operands(i, reason::VMREAD)?;
    let encoding = register::<W>(cpu, i.op1_register());
    let Some((f, high)) = named_field(cpu, encoding) else { return Ok(()) };
    let v = W::of(cpu.state.vmx.vmcs[f] >> if high { 32 } else { 0 });
    match i.op0_kind() {
        OpKind::Register => W::put(&mut cpu.state.regs[number::<W>(i.op0_register())], v),
        _ => cpu.store_operand(i, v)?,
    }
    cpu.vm_succeed();
    Ok(())
}

/// `VMWRITE r, r/m`.
pub(crate) fn vmwrite<W: Word>(cpu: &mut Cpu, i: &Instruction) -> Result<(), Trap> {
    cpu.vmx_operands(i, reason::VMWRITE)?;
    let v = match i.op1_kind() {
        OpKind::Register => register::<W>(cpu, i.op1_register()),
        _ => cpu.load_operand::<W>(i)?.u(),
    };
    let encoding = register::<W>(cpu, i.op0_register());
    let Some((f, high)) = named_field(cpu, encoding) else { return Ok(()) };
    if f.read_only() {
        cpu.vm_fail(error::READ_ONLY);
        return Ok(());
    }
    let v = if high { cpu.state.vmx.vmcs[f] & 0xffff_ffff | v << 32 } else { v };
    cpu.state.vmx.dirty |= f.line().groups;
    cpu.state.vmx.vmcs.set(f, v);
    cpu.note_vmwrite(f);
    cpu.vm_succeed();
    Ok(())
}

/// `VMCALL`.
pub(crate) fn vmcall(cpu: &mut Cpu, i: &Instruction) -> Result<(), Trap> {
    if !cpu.state.vmx.on {
        return Err(Trap::UD);
    }
    if cpu.state.vmx.guest {
        return Err(cpu.exit_trap(Exit::of(i, reason::VMCALL)));
    }
    cpu.vmx_mode()?;
    if cpu.state.sys.cpl != 0 {
        return Err(Trap::GP0);
    }
    cpu.vm_fail(error::VMCALL_IN_ROOT);
    Ok(())
}

/// The type and the descriptor of INVEPT and INVVPID.
fn descriptor(cpu: &mut Cpu, i: &Instruction) -> Result<(u64, [u64; 2]), Trap> {
    let kind = cpu.reg(i.op_register(0));
    let (s, la) = cpu.memory_operand(i, 16, false)?;
    let mut b = [0; 16];
    cpu.load_bytes(s, la, &mut b)?;
    let word = |at: usize| b[at..at + 8].iter().rev().fold(0, |v, b| v << 8 | *b as u64);
    Ok((kind, [word(0), word(8)]))
}

/// `INVEPT r, m128`.
pub(crate) fn invept(cpu: &mut Cpu, i: &Instruction) -> Result<(), Trap> {
    cpu.vmx_operands(i, reason::INVEPT)?;
    let (kind, [eptp, reserved]) = descriptor(cpu, i)?;
    let known = match kind {
        1 => eptp >> 3 & 7 == 3 && eptp & 0xf80 == 0 && eptp >> cpu.state.model.maxphys == 0,
        2 => true,
        _ => false,
    };
    if !known || reserved != 0 {
        cpu.vm_fail(error::INVALIDATE_OPERAND);
        return Ok(());
    }
    cpu.mmu().flush_ept((kind == 1).then_some(Eptp(eptp)));
    cpu.refresh_generation();
    cpu.vm_succeed();
    Ok(())
}

/// `INVVPID r, m128`. Translations of guest paging are coherent with memory, so that there is nothing
/// to do but to check the operands.
pub(crate) fn invvpid(cpu: &mut Cpu, i: &Instruction) -> Result<(), Trap> {
    cpu.vmx_operands(i, reason::INVVPID)?;
    let (kind, [vpid, address]) = descriptor(cpu, i)?;
    let tagged = vpid & 0xffff != 0;
    let known = match kind {
        0 => tagged && canonical(address),
        1 | 3 => tagged,
        2 => true,
        _ => false,
    };
    if !known || vpid >> 16 != 0 {
        cpu.vm_fail(error::INVALIDATE_OPERAND);
        return Ok(());
    }
    cpu.vm_succeed();
    Ok(())
}

impl Cpu {
    /// The length of the running instruction.
    pub(super) fn instruction_length(&self) -> u32 {
        self.next_rip().wrapping_sub(self.current_rip()) as u32 & 15
    }
}
