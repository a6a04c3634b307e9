//! Near branches where CS is not flat or the operand size is 16 bits: RIP wraps at the operand size and
//! is checked against the limit of CS. SDM vol. 2, "Jcc", "JMP", "CALL", "RET".

use super::{Exec, Form, forms};
use crate::Cpu;
use crate::state::gpr;
use crate::trap::Trap;
use crate::word::Word;
use iced_x86::{ConditionCode, Instruction};

/// Sets RIP to `to` cut to the operand size `W`. #GP(0) outside the limit of CS, or if not canonical.
fn jump_entry<W: Word>(cpu: &mut Cpu, to: u64) -> Result<(), Trap> {
    let to = cpu.checked_rip(W::of(to).u())?;
    cpu.state.rip = to;
    Ok(())
}

/// The target of a direct branch: relative to the next instruction.
fn target(cpu: &Cpu, i: &Instruction) -> u64 {
    // Decoded with the page offset as IP, so that only the distance counts.
    cpu.state.rip.wrapping_add(i.near_branch_target().wrapping_sub(i.next_ip()))
}

/// Operand size of a direct branch in bytes.
fn size(i: &Instruction) -> u32 {
    match i.op0_kind() {
        iced_x86::OpKind::NearBranch16 => 2,
        iced_x86::OpKind::NearBranch32 => 4,
        _ => 8,
    }
}

/// `JMP rel`.
pub(super) fn near_jump(cpu: &mut Cpu, i: &Instruction) -> Result<(), Trap> {
    let to = target(cpu, i);
    match size(i) {
        2 => jump_entry::<u16>(cpu, to),
        4 => jump_entry::<u32>(cpu, to),
        _ => jump_entry::<u64>(cpu, to),
    }
}

/// `Jcc rel`.
pub(super) fn near_jcc(cpu: &mut Cpu, i: &Instruction) -> Result<(), Trap> {
    if cpu.state.flags.cond(condition_number(i.condition_code())) {
        near_jump(cpu, i)
    } else {
        Ok(())
    }
}

/// The number that the opcode has for a condition.
pub(super) fn condition_number(c: ConditionCode) -> u8 {
    use ConditionCode::*;
    match c {
        None | o => 0,
        no => 1,
        b => 2,
        ae => 3,
        e => 4,
        ne => 5,
        be => 6,
        a => 7,
        s => 8,
        ns => 9,
        p => 10,
        np => 11,
        l => 12,
        ge => 13,
        le => 14,
        g => 15,
    }
}

fn call_to<W: Word>(cpu: &mut Cpu, to: u64) -> Result<(), Trap> {
    let back = cpu.state.rip;
    let fits = cpu.probe_push(W::BYTES);
    if fits.is_none() {
        return Err(cpu.env.trap.take().unwrap_or(Trap::SS0));
    }
    let to = cpu.checked_rip(W::of(to).u())?;
    cpu.push(W::BYTES, back)?;
    cpu.state.rip = to;
    Ok(())
}

/// `CALL rel`.
pub(super) fn near_call<W: Word>(cpu: &mut Cpu, i: &Instruction) -> Result<(), Trap> {
    let to = target(cpu, i);
    call_to::<W>(cpu, to)
}

/// `JMP r/m`.
pub(super) fn near_jump_rm<W: Word>(cpu: &mut Cpu, i: &Instruction) -> Result<(), Trap> {
    let to = cpu.read::<W>(i, 0)?;
    jump_entry::<W>(cpu, to.u())
}

/// `CALL r/m`.
pub(super) fn near_call_rm<W: Word>(cpu: &mut Cpu, i: &Instruction) -> Result<(), Trap> {
    let to = cpu.read::<W>(i, 0)?;
    call_to::<W>(cpu, to.u())
}

/// `RET` and `RET imm16`.
pub(super) fn near_return<W: Word>(cpu: &mut Cpu, i: &Instruction) -> Result<(), Trap> {
    let to = cpu.peek(0, W::BYTES)?;
    let to = cpu.checked_rip(W::of(to).u())?;
    let extra = if i.op_count() > 0 { i.immediate(0) as i64 } else { 0 };
    let sp = cpu.stack_pointer(W::BYTES as i64 + extra);
    cpu.set_stack_pointer(sp);
    cpu.state.rip = to;
    Ok(())
}

/// `LOOP`, `LOOPE`, `LOOPNE`, `JCXZ`: the count register has the address size.
pub(super) fn near_loop(cpu: &mut Cpu, i: &Instruction) -> Result<(), Trap> {
    use iced_x86::Mnemonic::*;
    let size = count_size(i);
    let mask = u64::MAX >> (64 - 8 * size);
    let m = i.mnemonic();
    let jcxz = matches!(m, Jcxz | Jecxz | Jrcxz);
    let old = cpu.state.regs[gpr::RCX];
    let count = old.wrapping_sub(!jcxz as u64) & mask;
    let taken = match m {
        Loope => count != 0 && cpu.state.flags.zf(),
        Loopne => count != 0 && !cpu.state.flags.zf(),
        Loop => count != 0,
        _ => count == 0,
    };
    if taken {
        near_jump(cpu, i)?;
    }
    if !jcxz {
        cpu.state.regs[gpr::RCX] = if size == 2 { (old & !0xffff) | count } else { count };
    }
    Ok(())
}

/// Width in bytes of the count register of LOOP and JCXZ.
fn count_size(i: &Instruction) -> u32 {
    let code = format!("{:?}", i.code());
    if code.contains("RCX") || code.starts_with("Jrcxz") {
        8
    } else if code.contains("ECX") || code.starts_with("Jecxz") {
        4
    } else {
        2
    }
}

/// Conditional branches, LOOP and JCXZ.
#[rustfmt::skip]
pub(super) const FORMS: &[Form] = forms! {
    Jo_rel8_64 => Exec::Jcc;
    Jo_rel32_64 => Exec::Jcc;
    Jo_rel8_32 => Exec::Jcc, segmented Exec::EndsBlock(near_jcc);
    Jo_rel32_32 => Exec::Jcc, segmented Exec::EndsBlock(near_jcc);
    Jo_rel8_16 => Exec::EndsBlock(near_jcc);
    Jo_rel16 => Exec::EndsBlock(near_jcc);
    Jno_rel8_64 => Exec::Jcc;
    Jno_rel32_64 => Exec::Jcc;
    Jno_rel8_32 => Exec::Jcc, segmented Exec::EndsBlock(near_jcc);
    Jno_rel32_32 => Exec::Jcc, segmented Exec::EndsBlock(near_jcc);
    Jno_rel8_16 => Exec::EndsBlock(near_jcc);
    Jno_rel16 => Exec::EndsBlock(near_jcc);
    Jb_rel8_64 => Exec::Jcc;
    Jb_rel32_64 => Exec::Jcc;
    Jb_rel8_32 => Exec::Jcc, segmented Exec::EndsBlock(near_jcc);
    Jb_rel32_32 => Exec::Jcc, segmented Exec::EndsBlock(near_jcc);
    Jb_rel8_16 => Exec::EndsBlock(near_jcc);
    Jb_rel16 => Exec::EndsBlock(near_jcc);
    Jae_rel8_64 => Exec::Jcc;
    Jae_rel32_64 => Exec::Jcc;
    Jae_rel8_32 => Exec::Jcc, segmented Exec::EndsBlock(near_jcc);
    Jae_rel32_32 => Exec::Jcc, segmented Exec::EndsBlock(near_jcc);
    Jae_rel8_16 => Exec::EndsBlock(near_jcc);
    Jae_rel16 => Exec::EndsBlock(near_jcc);
    Je_rel8_64 => Exec::Jcc;
    Je_rel32_64 => Exec::Jcc;
    Je_rel8_32 => Exec::Jcc, segmented Exec::EndsBlock(near_jcc);
    Je_rel32_32 => Exec::Jcc, segmented Exec::EndsBlock(near_jcc);
    Je_rel8_16 => Exec::EndsBlock(near_jcc);
    Je_rel16 => Exec::EndsBlock(near_jcc);
    Jne_rel8_64 => Exec::Jcc;
    Jne_rel32_64 => Exec::Jcc;
    Jne_rel8_32 => Exec::Jcc, segmented Exec::EndsBlock(near_jcc);
    Jne_rel32_32 => Exec::Jcc, segmented Exec::EndsBlock(near_jcc);
    Jne_rel8_16 => Exec::EndsBlock(near_jcc);
    Jne_rel16 => Exec::EndsBlock(near_jcc);
    Jbe_rel8_64 => Exec::Jcc;
    Jbe_rel32_64 => Exec::Jcc;
    Jbe_rel8_32 => Exec::Jcc, segmented Exec::EndsBlock(near_jcc);
    Jbe_rel32_32 => Exec::Jcc, segmented Exec::EndsBlock(near_jcc);
    Jbe_rel8_16 => Exec::EndsBlock(near_jcc);
    Jbe_rel16 => Exec::EndsBlock(near_jcc);
    Ja_rel8_64 => Exec::Jcc;
    Ja_rel32_64 => Exec::Jcc;
    Ja_rel8_32 => Exec::Jcc, segmented Exec::EndsBlock(near_jcc);
    Ja_rel32_32 => Exec::Jcc, segmented Exec::EndsBlock(near_jcc);
    Ja_rel8_16 => Exec::EndsBlock(near_jcc);
    Ja_rel16 => Exec::EndsBlock(near_jcc);
    Js_rel8_64 => Exec::Jcc;
    Js_rel32_64 => Exec::Jcc;
    Js_rel8_32 => Exec::Jcc, segmented Exec::EndsBlock(near_jcc);
    Js_rel32_32 => Exec::Jcc, segmented Exec::EndsBlock(near_jcc);
    Js_rel8_16 => Exec::EndsBlock(near_jcc);
    Js_rel16 => Exec::EndsBlock(near_jcc);
    Jns_rel8_64 => Exec::Jcc;
    Jns_rel32_64 => Exec::Jcc;
    Jns_rel8_32 => Exec::Jcc, segmented Exec::EndsBlock(near_jcc);
    Jns_rel32_32 => Exec::Jcc, segmented Exec::EndsBlock(near_jcc);
    Jns_rel8_16 => Exec::EndsBlock(near_jcc);
    Jns_rel16 => Exec::EndsBlock(near_jcc);
    Jp_rel8_64 => Exec::Jcc;
    Jp_rel32_64 => Exec::Jcc;
    Jp_rel8_32 => Exec::Jcc, segmented Exec::EndsBlock(near_jcc);
    Jp_rel32_32 => Exec::Jcc, segmented Exec::EndsBlock(near_jcc);
    Jp_rel8_16 => Exec::EndsBlock(near_jcc);
    Jp_rel16 => Exec::EndsBlock(near_jcc);
    Jnp_rel8_64 => Exec::Jcc;
    Jnp_rel32_64 => Exec::Jcc;
    Jnp_rel8_32 => Exec::Jcc, segmented Exec::EndsBlock(near_jcc);
    Jnp_rel32_32 => Exec::Jcc, segmented Exec::EndsBlock(near_jcc);
    Jnp_rel8_16 => Exec::EndsBlock(near_jcc);
    Jnp_rel16 => Exec::EndsBlock(near_jcc);
    Jl_rel8_64 => Exec::Jcc;
    Jl_rel32_64 => Exec::Jcc;
    Jl_rel8_32 => Exec::Jcc, segmented Exec::EndsBlock(near_jcc);
    Jl_rel32_32 => Exec::Jcc, segmented Exec::EndsBlock(near_jcc);
    Jl_rel8_16 => Exec::EndsBlock(near_jcc);
    Jl_rel16 => Exec::EndsBlock(near_jcc);
    Jge_rel8_64 => Exec::Jcc;
    Jge_rel32_64 => Exec::Jcc;
    Jge_rel8_32 => Exec::Jcc, segmented Exec::EndsBlock(near_jcc);
    Jge_rel32_32 => Exec::Jcc, segmented Exec::EndsBlock(near_jcc);
    Jge_rel8_16 => Exec::EndsBlock(near_jcc);
    Jge_rel16 => Exec::EndsBlock(near_jcc);
    Jle_rel8_64 => Exec::Jcc;
    Jle_rel32_64 => Exec::Jcc;
    Jle_rel8_32 => Exec::Jcc, segmented Exec::EndsBlock(near_jcc);
    Jle_rel32_32 => Exec::Jcc, segmented Exec::EndsBlock(near_jcc);
    Jle_rel8_16 => Exec::EndsBlock(near_jcc);
    Jle_rel16 => Exec::EndsBlock(near_jcc);
    Jg_rel8_64 => Exec::Jcc;
    Jg_rel32_64 => Exec::Jcc;
    Jg_rel8_32 => Exec::Jcc, segmented Exec::EndsBlock(near_jcc);
    Jg_rel32_32 => Exec::Jcc, segmented Exec::EndsBlock(near_jcc);
    Jg_rel8_16 => Exec::EndsBlock(near_jcc);
    Jg_rel16 => Exec::EndsBlock(near_jcc);
    Loop_rel8_16_CX => Exec::EndsBlock(near_loop);
    Loop_rel8_32_CX => Exec::EndsBlock(near_loop);
    Loop_rel8_16_ECX => Exec::EndsBlock(near_loop);
    Loop_rel8_32_ECX => Exec::EndsBlock(near_loop);
    Loop_rel8_64_ECX => Exec::EndsBlock(near_loop);
    Loop_rel8_16_RCX => Exec::EndsBlock(near_loop);
    Loop_rel8_64_RCX => Exec::EndsBlock(near_loop);
    Loope_rel8_16_CX => Exec::EndsBlock(near_loop);
    Loope_rel8_32_CX => Exec::EndsBlock(near_loop);
    Loope_rel8_16_ECX => Exec::EndsBlock(near_loop);
    Loope_rel8_32_ECX => Exec::EndsBlock(near_loop);
    Loope_rel8_64_ECX => Exec::EndsBlock(near_loop);
    Loope_rel8_16_RCX => Exec::EndsBlock(near_loop);
    Loope_rel8_64_RCX => Exec::EndsBlock(near_loop);
    Loopne_rel8_16_CX => Exec::EndsBlock(near_loop);
    Loopne_rel8_32_CX => Exec::EndsBlock(near_loop);
    Loopne_rel8_16_ECX => Exec::EndsBlock(near_loop);
    Loopne_rel8_32_ECX => Exec::EndsBlock(near_loop);
    Loopne_rel8_64_ECX => Exec::EndsBlock(near_loop);
    Loopne_rel8_16_RCX => Exec::EndsBlock(near_loop);
    Loopne_rel8_64_RCX => Exec::EndsBlock(near_loop);
    Jcxz_rel8_16 => Exec::EndsBlock(near_loop);
    Jcxz_rel8_32 => Exec::EndsBlock(near_loop);
    Jecxz_rel8_16 => Exec::EndsBlock(near_loop);
    Jecxz_rel8_32 => Exec::EndsBlock(near_loop);
    Jecxz_rel8_64 => Exec::EndsBlock(near_loop);
    Jrcxz_rel8_16 => Exec::EndsBlock(near_loop);
    Jrcxz_rel8_64 => Exec::EndsBlock(near_loop);
};
