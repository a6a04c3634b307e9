//! SYSCALL, SYSRET, SYSENTER, SYSEXIT, SWAPGS, FS and GS bases; interrupts by instruction; flags that
//! the system owns. SDM vol. 2 under these names.

use super::{Exec, Form, forms};
use crate::Cpu;
use crate::descriptors::is_null;
use crate::state::control::{CR4_FSGSBASE, EFER_SCE};
use crate::state::{Event, EventKind, Segment, ar, flags, gpr, seg};
use crate::trap::{Trap, vector};
use crate::word::Word;
use iced_x86::Instruction;

type Outcome = Result<(), Trap>;

const CODE: u32 = ar::P | ar::S | ar::CODE | ar::RW | ar::ACCESSED | ar::G;
const DATA: u32 = ar::P | ar::S | ar::RW | ar::ACCESSED | ar::G | ar::DB;

/// Loads flat CS and SS for privilege level `cpl`, as the fast system calls do without descriptors.
fn flat_segments(cpu: &mut Cpu, cs: u16, ss: u16, cpl: u8, size: u32) {
    let flat = |selector, ar| Segment {
        selector,
        ar: ar | (cpl as u32) << ar::DPL_SHIFT,
        limit: u32::MAX,
        base: 0,
    };
    cpu.state.sys.cpl = cpl;
    cpu.set_segment(seg::SS, flat(ss, DATA));
    cpu.set_segment(seg::CS, flat(cs, CODE | size));
    cpu.update_view();
}

/// `SYSCALL`. As on Intel's processors, #UD outside 64-bit mode.
fn syscall(cpu: &mut Cpu, _: &Instruction) -> Outcome {
    if cpu.state.sys.efer & EFER_SCE == 0 || !cpu.is_64() {
        return Err(Trap::UD);
    }
    let flags = cpu.rflags() & !flags::RF;
    cpu.state.regs[gpr::RCX] = cpu.state.rip;
    cpu.state.regs[gpr::R11] = flags;
    cpu.state.rip = cpu.state.sys.msr.lstar;
    let clear = cpu.state.sys.msr.sfmask | flags::RF;
    cpu.set_rflags(flags & !clear);
    if clear & flags::TF != 0 {
        cpu.state.sys.step_trap = false;
    }
    let selector = (cpu.state.sys.msr.star >> 32) as u16;
    flat_segments(cpu, selector & !3, (selector & !3).wrapping_add(8), 0, ar::L);
    Ok(())
}

/// `SYSRET`.
fn sysret<const LONG: bool>(cpu: &mut Cpu, _: &Instruction) -> Outcome {
    if cpu.state.sys.efer & EFER_SCE == 0 || !cpu.is_64() {
        return Err(Trap::UD);
    }
    cpu.privileged()?;
    let rip = cpu.state.regs[gpr::RCX];
    if LONG && !cpu.canonical(rip) {
        return Err(Trap::GP0);
    }
    cpu.state.rip = if LONG { rip } else { rip as u32 as u64 };
    let image = cpu.state.regs[gpr::R11];
    cpu.change_flags(image, 0x3c_7fd7);
    let base = (cpu.state.sys.msr.star >> 48) as u16;
    let cs = if LONG { base.wrapping_add(16) } else { base };
    let size = if LONG { ar::L } else { ar::DB };
    flat_segments(cpu, cs | 3, base.wrapping_add(8) | 3, 3, size);
    Ok(())
}

/// `SYSENTER`.
fn sysenter(cpu: &mut Cpu, _: &Instruction) -> Outcome {
    let cs = cpu.state.sys.msr.sysenter_cs as u16;
    if !cpu.protected() || is_null(cs) {
        return Err(Trap::GP0);
    }
    let long = cpu.long_mode();
    let cut = |v: u64| if long { v } else { v as u32 as u64 };
    cpu.state.regs[gpr::RSP] = cut(cpu.state.sys.msr.sysenter_esp);
    cpu.state.rip = cut(cpu.state.sys.msr.sysenter_eip);
    cpu.state.flags.system &= !(flags::VM | flags::IF | flags::RF);
    let cs = cs & !3;
    flat_segments(cpu, cs, cs.wrapping_add(8), 0, if long { ar::L } else { ar::DB });
    Ok(())
}

/// `SYSEXIT`.
fn sysexit<const LONG: bool>(cpu: &mut Cpu, _: &Instruction) -> Outcome {
    let cs = cpu.state.sys.msr.sysenter_cs as u16;
    if !cpu.protected() || is_null(cs) || cpu.state.sys.cpl != 0 {
        return Err(Trap::GP0);
    }
    let (sp, ip) = (cpu.state.regs[gpr::RCX], cpu.state.regs[gpr::RDX]);
    if LONG && !(cpu.canonical(sp) && cpu.canonical(ip)) {
        return Err(Trap::GP0);
    }
    let cut = |v: u64| if LONG { v } else { v as u32 as u64 };
    cpu.state.regs[gpr::RSP] = cut(sp);
    cpu.state.rip = cut(ip);
    let cs = (cs & !3).wrapping_add(if LONG { 32 } else { 16 });
    let size = if LONG { ar::L } else { ar::DB };
    flat_segments(cpu, cs | 3, cs.wrapping_add(8) | 3, 3, size);
    Ok(())
}

impl Cpu {
    /// Sets the base of FS or GS and nothing else.
    pub(crate) fn set_base(&mut self, s: usize, base: u64) {
        self.state.sys.seg[s].base = base;
        self.state.bases.seg[s] = base;
    }
}

/// `SWAPGS`.
fn swapgs(cpu: &mut Cpu, _: &Instruction) -> Outcome {
    cpu.privileged()?;
    let new =
        std::mem::replace(&mut cpu.state.sys.msr.kernel_gs_base, cpu.state.bases.seg[seg::GS]);
    cpu.set_base(seg::GS, new);
    Ok(())
}

/// `RDFSBASE`, `RDGSBASE`.
fn read_base<const SEG: usize>(cpu: &mut Cpu, i: &Instruction) -> Outcome {
    if cpu.state.sys.cr4 & CR4_FSGSBASE == 0 {
        return Err(Trap::UD);
    }
    let v = cpu.state.bases.seg[SEG];
    cpu.set_reg(i.op0_register(), v);
    Ok(())
}

/// `WRFSBASE`, `WRGSBASE`.
fn write_base<const SEG: usize>(cpu: &mut Cpu, i: &Instruction) -> Outcome {
    if cpu.state.sys.cr4 & CR4_FSGSBASE == 0 {
        return Err(Trap::UD);
    }
    let v = cpu.reg(i.op0_register());
    if !cpu.canonical(v) {
        return Err(Trap::GP0);
    }
    cpu.set_base(SEG, v);
    Ok(())
}

/// `INT n`.
fn int_n(cpu: &mut Cpu, i: &Instruction) -> Outcome {
    if cpu.v86() && cpu.v86_interrupt(i.immediate8())? {
        return Ok(());
    }
    by_instruction(cpu, i, EventKind::Software, i.immediate8())
}

fn by_instruction(cpu: &mut Cpu, i: &Instruction, kind: EventKind, vector: u8) -> Outcome {
    let event = Event::new(kind, vector);
    cpu.state.vmx.software_length = i.len() as u8;
    if cpu.vmx_intercepts_instruction(&event) {
        return Err(Trap::VmExit);
    }
    cpu.deliver(event)
}

/// `INT3`.
fn int3(cpu: &mut Cpu, i: &Instruction) -> Outcome {
    by_instruction(cpu, i, EventKind::SoftwareException, vector::BP)
}

/// `INT1`.
fn int1(cpu: &mut Cpu, i: &Instruction) -> Outcome {
    by_instruction(cpu, i, EventKind::Privileged, vector::DB)
}

/// `INTO`.
fn into(cpu: &mut Cpu, i: &Instruction) -> Outcome {
    if !cpu.state.flags.of() {
        return Ok(());
    }
    by_instruction(cpu, i, EventKind::SoftwareException, vector::OF)
}

/// `UD0`, `UD1`, `UD2`.
fn undefined(_: &mut Cpu, _: &Instruction) -> Outcome {
    Err(Trap::UD)
}

/// `BOUND`.
fn bound<W: Word>(cpu: &mut Cpu, i: &Instruction) -> Outcome {
    let (s, la) = cpu.memory_operand(i, 2 * W::BYTES, false)?;
    let low = cpu.load_at::<W>(s, la)?.s();
    let high = cpu.load_at::<W>(s, la.wrapping_add(W::BYTES as u64) as u32 as u64)?.s();
    let index = W::of(cpu.reg(i.op0_register())).s();
    if index < low || index > high { Err(Trap::fault(vector::BR)) } else { Ok(()) }
}

/// `PUSHF`, `PUSHFD`, `PUSHFQ`.
fn pushf<W: Word>(cpu: &mut Cpu, _: &Instruction) -> Outcome {
    let vif = cpu.shows_vif(W::BYTES)?;
    let real = cpu.rflags() & !(flags::VM | flags::RF);
    cpu.push(W::BYTES, if vif { cpu.flags_with_vif() } else { real })
}

/// `POPF`, `POPFD`, `POPFQ`.
fn popf<W: Word>(cpu: &mut Cpu, _: &Instruction) -> Outcome {
    let vif = cpu.shows_vif(W::BYTES)?;
    if vif {
        let image = cpu.peek(0, W::BYTES)?;
        cpu.check_vif_image(image)?;
    }
    let mask = cpu.changeable_flags(W::BYTES);
    let v = cpu.pop(W::BYTES)? & !flags::RF;
    cpu.change_flags(v, mask);
    if vif {
        cpu.load_vif(v);
    }
    Ok(())
}

/// `CLI`.
fn cli(cpu: &mut Cpu, _: &Instruction) -> Outcome {
    let flag = cpu.interrupt_flag()?;
    cpu.state.flags.system &= !flag;
    Ok(())
}

/// `STI`: interrupts stay held back for one instruction.
fn sti(cpu: &mut Cpu, _: &Instruction) -> Outcome {
    if cpu.interrupt_flag()? == flags::VIF {
        if cpu.state.flags.system & flags::VIP != 0 {
            return Err(Trap::GP0);
        }
        cpu.state.flags.system |= flags::VIF;
        return Ok(());
    }
    if cpu.state.flags.system & flags::IF == 0 {
        cpu.state.flags.system |= flags::IF;
        cpu.state.sys.sti_shadow = true;
    }
    Ok(())
}

/// The table of this family.
#[rustfmt::skip]
pub(super) const FORMS: &[Form] = forms! {
    Syscall => Exec::EndsBlock(syscall);
    Sysretd => Exec::EndsBlock(sysret::<false>);
    Sysretq => Exec::EndsBlock(sysret::<true>);
    Sysenter => Exec::EndsBlock(sysenter);
    Sysexitd => Exec::EndsBlock(sysexit::<false>);
    Sysexitq => Exec::EndsBlock(sysexit::<true>);
    Swapgs => Exec::Function(swapgs);
    Rdfsbase_r32 => Exec::Function(read_base::<{ seg::FS }>);
    Rdfsbase_r64 => Exec::Function(read_base::<{ seg::FS }>);
    Rdgsbase_r32 => Exec::Function(read_base::<{ seg::GS }>);
    Rdgsbase_r64 => Exec::Function(read_base::<{ seg::GS }>);
    Wrfsbase_r32 => Exec::Function(write_base::<{ seg::FS }>);
    Wrfsbase_r64 => Exec::Function(write_base::<{ seg::FS }>);
    Wrgsbase_r32 => Exec::Function(write_base::<{ seg::GS }>);
    Wrgsbase_r64 => Exec::Function(write_base::<{ seg::GS }>);
    Int_imm8 => Exec::EndsBlock(int_n);
    Int3 => Exec::EndsBlock(int3);
    Int1 => Exec::EndsBlock(int1);
    Into => Exec::EndsBlock(into);
    Ud0 => Exec::EndsBlock(undefined);
    Ud0_r16_rm16 => Exec::EndsBlock(undefined);
    Ud0_r32_rm32 => Exec::EndsBlock(undefined);
    Ud0_r64_rm64 => Exec::EndsBlock(undefined);
    Ud1_r16_rm16 => Exec::EndsBlock(undefined);
    Ud1_r32_rm32 => Exec::EndsBlock(undefined);
    Ud1_r64_rm64 => Exec::EndsBlock(undefined);
    Ud2 => Exec::EndsBlock(undefined);
    Bound_r16_m1616 => Exec::Function(bound::<u16>);
    Bound_r32_m3232 => Exec::Function(bound::<u32>);
    Pushfw => Exec::Function(pushf::<u16>);
    Pushfd => Exec::Function(pushf::<u32>);
    Pushfq => Exec::Function(pushf::<u64>);
    Popfw => Exec::EndsBlock(popf::<u16>);
    Popfd => Exec::EndsBlock(popf::<u32>);
    Popfq => Exec::EndsBlock(popf::<u64>);
    Cli => Exec::Function(cli);
    Sti => Exec::EndsBlock(sti);
};
