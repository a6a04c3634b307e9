//! CPUID, time-stamp counter, performance counters, MSRs, random numbers. SDM vol. 2 under these names.

use super::{Exec, Form, forms};
use crate::state::control::{CR4_PCE, CR4_TSD};
use crate::state::{flags, gpr};
use crate::trap::Trap;
use crate::vmx::Cause;
use crate::{Cpu, feature};
use iced_x86::Instruction;

type Outcome = Result<(), Trap>;

/// What CPUID takes besides its own instruction: the hundred cycles and more of silicon.
const CPUID_TIME: u64 = 60;

/// `CPUID`.
fn cpuid(cpu: &mut Cpu, i: &Instruction) -> Outcome {
    cpu.vmx_intercept(i, Cause::Cpuid)?;
    let [a, b, c, d] = cpu.cpuid(cpu.state.regs[gpr::RAX] as u32, cpu.state.regs[gpr::RCX] as u32);
    for (r, v) in [(gpr::RAX, a), (gpr::RBX, b), (gpr::RCX, c), (gpr::RDX, d)] {
        cpu.state.regs[r] = v as u64;
    }
    cpu.env.stall = CPUID_TIME;
    Ok(())
}

/// EDX:EAX.
fn put_pair(cpu: &mut Cpu, v: u64) {
    cpu.state.regs[gpr::RAX] = v as u32 as u64;
    cpu.state.regs[gpr::RDX] = v >> 32;
}

/// #GP(0) where CR4.TSD keeps the time from user code.
fn may_read_time(cpu: &Cpu) -> Outcome {
    if cpu.state.sys.cr4 & CR4_TSD != 0 && cpu.state.sys.cpl != 0 { Err(Trap::GP0) } else { Ok(()) }
}

/// `RDTSC`.
fn rdtsc(cpu: &mut Cpu, i: &Instruction) -> Outcome {
    may_read_time(cpu)?;
    cpu.vmx_intercept(i, Cause::Rdtsc)?;
    let t = cpu.guest_tsc();
    put_pair(cpu, t);
    Ok(())
}

/// `RDTSCP`.
fn rdtscp(cpu: &mut Cpu, i: &Instruction) -> Outcome {
    if !cpu.state.model.has(feature::RDTSCP) {
        return Err(Trap::UD);
    }
    cpu.vmx_enabled(Cause::Rdtscp)?;
    may_read_time(cpu)?;
    cpu.vmx_intercept(i, Cause::Rdtscp)?;
    let t = cpu.guest_tsc();
    put_pair(cpu, t);
    cpu.state.regs[gpr::RCX] = cpu.state.sys.msr.tsc_aux;
    Ok(())
}

/// `RDPID`.
fn rdpid(cpu: &mut Cpu, i: &Instruction) -> Outcome {
    if !cpu.state.model.has(feature::RDPID) {
        return Err(Trap::UD);
    }
    cpu.vmx_intercept(i, Cause::Rdpid)?;
    let v = cpu.state.sys.msr.tsc_aux;
    cpu.set_reg(i.op0_register(), v);
    Ok(())
}

/// `RDPMC`: there are no counters.
fn rdpmc(cpu: &mut Cpu, i: &Instruction) -> Outcome {
    if cpu.state.sys.cpl == 0 || cpu.state.sys.cr4 & CR4_PCE != 0 {
        cpu.vmx_intercept(i, Cause::Rdpmc)?;
    }
    Err(Trap::GP0)
}

/// How many MSRs that do not exist are remembered.
const UNKNOWN_MSRS: usize = 32;

/// #GP(0), counted.
fn unknown(cpu: &mut Cpu, msr: u32) -> Trap {
    let msrs = &mut cpu.stats.unknown_msrs;
    if msrs.len() < UNKNOWN_MSRS || msrs.contains_key(&msr) {
        *msrs.entry(msr).or_default() += 1;
    }
    Trap::GP0
}

/// `RDMSR`.
fn rdmsr(cpu: &mut Cpu, i: &Instruction) -> Outcome {
    cpu.privileged()?;
    let msr = cpu.state.regs[gpr::RCX] as u32;
    let v = match cpu.vmx_rdmsr(i, msr)? {
        Some(v) => v,
        None => cpu.read_msr(msr).ok_or_else(|| unknown(cpu, msr))?,
    };
    put_pair(cpu, v);
    Ok(())
}

/// `WRMSR`.
fn wrmsr(cpu: &mut Cpu, i: &Instruction) -> Outcome {
    cpu.privileged()?;
    let msr = cpu.state.regs[gpr::RCX] as u32;
    let v = cpu.state.regs[gpr::RDX] << 32 | cpu.state.regs[gpr::RAX] as u32 as u64;
    if cpu.vmx_wrmsr(i, msr, v)? {
        return Ok(());
    }
    cpu.write_msr(msr, v).ok_or_else(|| unknown(cpu, msr))
}

/// The next number of a fixed sequence that depends on the processor (SplitMix64).
fn next_random(cpu: &mut Cpu) -> u64 {
    cpu.state.sys.random = cpu.state.sys.random.wrapping_add(0x9e37_79b9_7f4a_7c15);
    let z = cpu.state.sys.random ^ (cpu.state.apic.id as u64) << 32;
    let z = (z ^ z >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let z = (z ^ z >> 27).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ z >> 31
}

/// `RDRAND`, `RDSEED`. A repeatable machine has no entropy: the sequence is always the same.
fn random(cpu: &mut Cpu, i: &Instruction) -> Outcome {
    let v = next_random(cpu);
    cpu.set_reg(i.op0_register(), v);
    cpu.state.flags.set_status(flags::CF);
    Ok(())
}

/// The table of this family.
#[rustfmt::skip]
pub(super) const FORMS: &[Form] = forms! {
    Cpuid => Exec::Function(cpuid);
    Rdtsc => Exec::Function(rdtsc);
    Rdtscp => Exec::Function(rdtscp);
    Rdpid_r32 => Exec::Function(rdpid);
    Rdpid_r64 => Exec::Function(rdpid);
    Rdpmc => Exec::Function(rdpmc);
    Rdmsr => Exec::Function(rdmsr);
    Wrmsr => Exec::EndsBlock(wrmsr);
    Rdrand_r16 => Exec::Function(random);
    Rdrand_r32 => Exec::Function(random);
    Rdrand_r64 => Exec::Function(random);
    Rdseed_r16 => Exec::Function(random);
    Rdseed_r32 => Exec::Function(random);
    Rdseed_r64 => Exec::Function(random);
};
