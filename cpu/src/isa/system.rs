//! Control and debug registers, cache and TLB control, HLT. SDM vol. 2 under these names, vol. 3,
//! "Control Registers" and "Debug Registers".

use super::{Exec, Form, forms};
use crate::Cpu;
use crate::debug::{DR6_BD, DR7_GD};
use crate::descriptors::system as kind;
use crate::state::control::*;
use crate::state::{Activity, ar, flags, gpr, seg};
use crate::trap::{Exception, Trap, vector};
use crate::vmx::{Cause, Written};
use iced_x86::{Code, Instruction, Mnemonic, OpKind};
use mmu::{AccessKind, GuestPhys, Linear};

type Outcome = Result<(), Trap>;

/// Bits of CR0 that exist.
pub(crate) const CR0_BITS: u64 = CR0_PE
    | CR0_MP
    | CR0_EM
    | CR0_TS
    | CR0_ET
    | CR0_NE
    | CR0_WP
    | CR0_AM
    | CR0_NW
    | CR0_CD
    | CR0_PG;

impl Cpu {
    /// The PDPTEs at `cr3`. #GP(0) for a reserved bit in a present one. SDM vol. 3, "PDPTE Registers".
    pub(crate) fn load_pdptes(&mut self, cr3: u64) -> Result<[u64; 4], Trap> {
        let base = cr3 & 0xffff_ffe0;
        let regime = self.caches.regime;
        let p = self.mmu().guest_phys(&regime, GuestPhys(base), AccessKind::Read);
        let p = p.map_err(|f| self.translation_trap(f, base, false))?;
        let mut bytes = [0; 32];
        self.phys_load(p, &mut bytes)?;
        let reserved = 0x1e6 | !((1u64 << self.state.model.maxphys) - 1);
        let mut out = [0; 4];
        for (v, b) in out.iter_mut().zip(bytes.chunks_exact(8)) {
            *v = u64::from_le_bytes(b.try_into().unwrap_or_default());
            if *v & 1 != 0 && *v & reserved != 0 {
                return Err(Trap::GP0);
            }
        }
        Ok(out)
    }

    /// Writes CR0 with all checks and consequences. SDM vol. 2, "MOV - Move to/from Control Registers".
    pub(crate) fn write_cr0(&mut self, v: u64) -> Outcome {
        let old = self.state.sys.cr0;
        let v = v | CR0_ET;
        let bad =
            v >> 32 != 0 || v & (CR0_PG | CR0_PE) == CR0_PG || v & (CR0_NW | CR0_CD) == CR0_NW;
        if bad || !self.vmx_cr_fixed(0, v) {
            return Err(Trap::GP0);
        }
        let v = v & CR0_BITS;
        let (on, off) = (v & !old & CR0_PG != 0, old & !v & CR0_PG != 0);
        let mut efer = self.state.sys.efer;
        if on && efer & EFER_LME != 0 {
            let busy16 = self.state.sys.tr.ar & 15 == kind::TSS16_BUSY;
            if self.state.sys.cr4 & CR4_PAE == 0 || self.state.sys.seg[seg::CS].has(ar::L) || busy16
            {
                return Err(Trap::GP0);
            }
            efer |= EFER_LMA;
        }
        if off {
            if self.state.sys.cr4 & CR4_PCIDE != 0 || self.is_64() {
                return Err(Trap::GP0);
            }
            efer &= !EFER_LMA;
        }
        let pae = v & CR0_PG != 0 && self.state.sys.cr4 & CR4_PAE != 0 && efer & EFER_LMA == 0;
        if pae && (old ^ v) & (CR0_PG | CR0_CD | CR0_NW) != 0 {
            self.state.sys.pdpte = self.load_pdptes(self.state.sys.cr3)?;
        }
        self.state.sys.cr0 = v;
        self.state.sys.efer = efer;
        self.update_paging();
        self.update_mode();
        Ok(())
    }

    /// Writes CR3.
    pub(crate) fn write_cr3(&mut self, v: u64) -> Outcome {
        let long = self.long_mode();
        let v =
            if self.is_64() && self.state.sys.cr4 & CR4_PCIDE != 0 { v & !(1 << 63) } else { v };
        if self.is_64() && v >> self.state.model.maxphys != 0 {
            return Err(Trap::GP0);
        }
        if self.state.sys.cr0 & CR0_PG != 0 && self.state.sys.cr4 & CR4_PAE != 0 && !long {
            self.state.sys.pdpte = self.load_pdptes(v)?;
        }
        self.state.sys.cr3 = v;
        self.update_paging();
        Ok(())
    }

    /// Writes CR4.
    pub(crate) fn write_cr4(&mut self, v: u64) -> Outcome {
        let old = self.state.sys.cr4;
        let changed = old ^ v;
        let vmx = self.state.sys.smm.active && v & CR4_VMXE != 0;
        if v & !self.state.model.cr4_bits() != 0 || !self.vmx_cr_fixed(4, v) || vmx {
            return Err(Trap::GP0);
        }
        let long = self.long_mode();
        if long && (v & CR4_PAE == 0 || changed & CR4_LA57 != 0) {
            return Err(Trap::GP0);
        }
        let pcid_on = v & !old & CR4_PCIDE != 0;
        if pcid_on && (!long || self.state.sys.cr3 & 0xfff != 0) {
            return Err(Trap::GP0);
        }
        let paging = CR4_PAE | CR4_PSE | CR4_PGE | CR4_SMEP;
        if self.state.sys.cr0 & CR0_PG != 0 && v & CR4_PAE != 0 && !long && changed & paging != 0 {
            self.state.sys.pdpte = self.load_pdptes(self.state.sys.cr3)?;
        }
        self.state.sys.cr4 = v;
        self.update_paging();
        Ok(())
    }

    /// Number of debug register `n`: 4 and 5 are 6 and 7 unless CR4.DE makes them undefined.
    fn debug_register(&self, n: usize) -> Result<usize, Trap> {
        match n {
            0..=3 | 6 | 7 => Ok(n),
            4 | 5 if self.state.sys.cr4 & CR4_DE == 0 => Ok(n + 2),
            _ => Err(Trap::UD),
        }
    }

    /// General detect: #DB instead of an access to a debug register.
    fn general_detect(&self) -> Outcome {
        if self.state.sys.dr7 & DR7_GD == 0 {
            return Ok(());
        }
        Err(Trap::Fault(Exception { vector: vector::DB, error: None, address: DR6_BD }))
    }

    /// Writes a debug register.
    fn write_dr(&mut self, n: usize, v: u64) -> Outcome {
        if n >= 6 && v >> 32 != 0 {
            return Err(Trap::GP0);
        }
        match n {
            6 => self.state.sys.dr6 = v & 0xe00f | 0xffff_0ff0,
            7 => {
                self.state.sys.dr7 = v & 0xffff_23ff | 0x400;
                self.update_view();
            }
            _ => self.state.sys.dr[n & 3] = v,
        }
        Ok(())
    }
}

/// `MOV r, CRn`.
fn mov_from_cr(cpu: &mut Cpu, i: &Instruction) -> Outcome {
    let n = i.op1_register().number();
    if !matches!(n, 0 | 2 | 3 | 4 | 8) {
        return Err(Trap::UD);
    }
    cpu.privileged()?;
    if let Some(v) = cpu.vmx_read_cr(i, n as u8)? {
        cpu.set_reg(i.op0_register(), v);
        return Ok(());
    }
    let v = match n {
        0 => cpu.state.sys.cr0,
        2 => cpu.state.sys.cr2,
        3 => cpu.state.sys.cr3,
        4 => cpu.state.sys.cr4,
        _ => (cpu.state.apic.tpr >> 4) as u64,
    };
    cpu.set_reg(i.op0_register(), v);
    Ok(())
}

/// `MOV CRn, r`.
fn mov_to_cr(cpu: &mut Cpu, i: &Instruction) -> Outcome {
    let n = i.op0_register().number();
    if !matches!(n, 0 | 2 | 3 | 4 | 8) {
        return Err(Trap::UD);
    }
    cpu.privileged()?;
    let v = cpu.reg(i.op1_register());
    let Written::Load(v) = cpu.vmx_write_cr(i, n as u8, v)? else { return Ok(()) };
    match n {
        0 => cpu.write_cr0(v),
        2 => {
            cpu.state.sys.cr2 = v;
            Ok(())
        }
        3 => cpu.write_cr3(v),
        4 => cpu.write_cr4(v),
        _ if v > 15 => Err(Trap::GP0),
        _ => {
            cpu.state.apic.tpr = (v as u8) << 4;
            Ok(())
        }
    }
}

/// `MOV r, DRn`.
fn mov_from_dr(cpu: &mut Cpu, i: &Instruction) -> Outcome {
    let n = cpu.debug_register(i.op1_register().number())?;
    cpu.privileged()?;
    cpu.vmx_intercept_dr(i, n as u8, false)?;
    cpu.general_detect()?;
    let v = match n {
        6 => cpu.state.sys.dr6,
        7 => cpu.state.sys.dr7,
        _ => cpu.state.sys.dr[n & 3],
    };
    cpu.set_reg(i.op0_register(), v);
    Ok(())
}

/// `MOV DRn, r`.
fn mov_to_dr(cpu: &mut Cpu, i: &Instruction) -> Outcome {
    let n = cpu.debug_register(i.op0_register().number())?;
    cpu.privileged()?;
    cpu.vmx_intercept_dr(i, n as u8, true)?;
    cpu.general_detect()?;
    let v = cpu.reg(i.op1_register());
    cpu.write_dr(n, v)
}

/// `LMSW`: may set PE, but never clears the bit.
fn lmsw(cpu: &mut Cpu, i: &Instruction) -> Outcome {
    cpu.privileged()?;
    let v = match i.op0_kind() {
        OpKind::Register => cpu.reg(i.op0_register()),
        _ => cpu.load_operand::<u16>(i)? as u64,
    };
    let cr0 = cpu.vmx_lmsw(i, v as u16)?;
    cpu.write_cr0(cr0)
}

/// `SMSW`.
fn smsw(cpu: &mut Cpu, i: &Instruction) -> Outcome {
    cpu.umip()?;
    let v = cpu.vmx_seen_cr0();
    match i.op0_kind() {
        OpKind::Register => {
            cpu.set_reg(i.op0_register(), v);
            Ok(())
        }
        _ => cpu.store_operand::<u16>(i, v as u16),
    }
}

/// `CLTS`.
fn clts(cpu: &mut Cpu, i: &Instruction) -> Outcome {
    cpu.privileged()?;
    if cpu.vmx_clts(i)? {
        cpu.state.sys.cr0 &= !CR0_TS;
        cpu.update_fallback();
    }
    Ok(())
}

/// `HLT`.
fn hlt(cpu: &mut Cpu, i: &Instruction) -> Outcome {
    cpu.privileged()?;
    cpu.vmx_intercept(i, Cause::Hlt)?;
    cpu.state.sys.activity = Activity::Hlt;
    Ok(())
}

/// What PAUSE takes besides its own instruction: somewhat less than the 140 cycles of Skylake. So a
/// processor that waits for another one is quickly done with its turn.
const PAUSE_TIME: u64 = 100;

/// `PAUSE`.
fn pause(cpu: &mut Cpu, i: &Instruction) -> Outcome {
    cpu.vmx_intercept(i, Cause::Pause)?;
    cpu.env.stall = PAUSE_TIME;
    cpu.env.yields = true;
    Ok(())
}

/// `INVD`, `WBINVD`: no caches are modelled.
fn invalidate_caches(cpu: &mut Cpu, i: &Instruction) -> Outcome {
    cpu.privileged()?;
    let invd = i.mnemonic() == Mnemonic::Invd;
    cpu.vmx_intercept(i, if invd { Cause::Invd } else { Cause::Wbinvd })
}

/// `INVLPG`.
fn invlpg(cpu: &mut Cpu, i: &Instruction) -> Outcome {
    cpu.privileged()?;
    let s = crate::operand::segment_number(i.memory_segment());
    let off = cpu.ea(i);
    let base = if cpu.is_64() && s < seg::FS { 0 } else { cpu.state.bases.seg[s] };
    let la = off.wrapping_add(base);
    cpu.vmx_intercept_invlpg(i, la)?;
    let regime = cpu.caches.regime;
    cpu.mmu().invlpg(&regime, Linear(la));
    // Translations may have gone unnoticed since (a shadow page evicted by a fill); here is where
    // the guest counts on it.
    cpu.refresh_generation();
    Ok(())
}

/// `INVPCID`: what is cached agrees with memory, so that only the checks are left.
fn invpcid(cpu: &mut Cpu, i: &Instruction) -> Outcome {
    if !cpu.state.model.has(crate::feature::INVPCID) || (cpu.protected() && cpu.v86()) {
        return Err(Trap::UD);
    }
    cpu.privileged()?;
    cpu.vmx_intercept(i, Cause::Invpcid)?;
    let kind = cpu.reg(i.op0_register());
    let (s, la) = cpu.memory_operand(i, 16, false)?;
    let mut b = [0; 16];
    cpu.load_bytes(s, la, &mut b)?;
    let d = u128::from_le_bytes(b);
    let (pcid, address) = (d as u64, (d >> 64) as u64);
    let pcid_ok = cpu.state.sys.cr4 & CR4_PCIDE != 0 || pcid & 0xfff == 0;
    let ok = match kind {
        0 => pcid >> 12 == 0 && cpu.canonical(address) && pcid_ok,
        1 => pcid >> 12 == 0 && pcid_ok,
        2 | 3 => pcid >> 12 == 0,
        _ => false,
    };
    if !ok {
        return Err(Trap::GP0);
    }
    cpu.refresh_generation();
    Ok(())
}

/// `CLFLUSH`, `CLFLUSHOPT`, `CLWB`: faults as a load of a byte does, but code need not be readable. SDM
/// vol. 2, "CLFLUSH".
fn flush_line(cpu: &mut Cpu, i: &Instruction) -> Outcome {
    let (s, off) = (crate::operand::segment_number(i.memory_segment()), cpu.ea(i));
    let g = cpu.state.sys.seg[s];
    let code = s == seg::CS && cpu.protected() && !cpu.v86() && !cpu.is_64();
    if code && off <= g.limit as u64 {
        return cpu.load_at::<u8>(s, g.base.wrapping_add(off) as u32 as u64).map(drop);
    }
    cpu.load_operand::<u8>(i).map(drop)
}

/// `CLDEMOTE`.
fn nothing(_: &mut Cpu, _: &Instruction) -> Outcome {
    Ok(())
}

/// `MONITOR`: faults as a load of a byte does. Nothing is armed: see [`mwait`].
fn monitor(cpu: &mut Cpu, i: &Instruction) -> Outcome {
    if cpu.state.sys.cpl != 0 || !cpu.state.model.has(crate::feature::MONITOR) {
        return Err(Trap::UD);
    }
    cpu.vmx_intercept(i, Cause::Monitor)?;
    if cpu.state.regs[gpr::RCX] as u32 != 0 {
        return Err(Trap::GP0);
    }
    let cut = match i.code() {
        Code::Monitorw => 0xffff,
        Code::Monitord => 0xffff_ffff,
        _ => u64::MAX,
    };
    let s = crate::operand::segment_number(i.memory_segment());
    let la = cpu.linear(s, cpu.state.regs[gpr::RAX] & cut, 1, false)?;
    cpu.load_at::<u8>(s, la).map(drop)
}

/// `MWAIT`: wakes at once, as it does where nothing is armed. SDM vol. 2, "MWAIT - Monitor Wait".
fn mwait(cpu: &mut Cpu, i: &Instruction) -> Outcome {
    if cpu.state.sys.cpl != 0 || !cpu.state.model.has(crate::feature::MONITOR) {
        return Err(Trap::UD);
    }
    cpu.vmx_intercept(i, Cause::Mwait)?;
    // No extensions (ECX bit 0: interrupts that are masked wake too) are enumerated.
    if cpu.state.regs[gpr::RCX] as u32 != 0 { Err(Trap::GP0) } else { Ok(()) }
}

/// `SERIALIZE`: nothing is ever out of order.
fn serialize(cpu: &mut Cpu, _: &Instruction) -> Outcome {
    if cpu.state.model.has(crate::feature::SERIALIZE) { Ok(()) } else { Err(Trap::UD) }
}

/// `RSM`: #UD outside system-management mode.
fn rsm(cpu: &mut Cpu, _: &Instruction) -> Outcome {
    if !cpu.state.sys.smm.active {
        return Err(Trap::UD);
    }
    cpu.resume();
    Ok(())
}

/// `CLAC` and `STAC`.
fn set_ac<const ON: bool>(cpu: &mut Cpu, _: &Instruction) -> Outcome {
    if cpu.state.sys.cpl != 0 || !cpu.state.model.has(crate::feature::SMAP) {
        return Err(Trap::UD);
    }
    let old = cpu.state.flags.system;
    cpu.state.flags.system = if ON { old | flags::AC } else { old & !flags::AC };
    if old != cpu.state.flags.system {
        cpu.update_view();
    }
    Ok(())
}

/// The table of this family.
#[rustfmt::skip]
pub(crate) const FORMS: &[Form] = forms! {
    Mov_r32_cr => Exec::Function(mov_from_cr);
    Mov_r64_cr => Exec::Function(mov_from_cr);
    Mov_cr_r32 => Exec::EndsBlock(mov_to_cr);
    Mov_cr_r64 => Exec::EndsBlock(mov_to_cr);
    Mov_r32_dr => Exec::Function(mov_from_dr);
    Mov_r64_dr => Exec::Function(mov_from_dr);
    Mov_dr_r32 => Exec::EndsBlock(mov_to_dr);
    Mov_dr_r64 => Exec::EndsBlock(mov_to_dr);
    Lmsw_rm16 => Exec::EndsBlock(lmsw);
    Lmsw_r32m16 => Exec::EndsBlock(lmsw);
    Lmsw_r64m16 => Exec::EndsBlock(lmsw);
    Smsw_rm16 => Exec::Function(smsw);
    Smsw_r32m16 => Exec::Function(smsw);
    Smsw_r64m16 => Exec::Function(smsw);
    Clts => Exec::Function(clts);
    Hlt => Exec::EndsBlock(hlt);
    Pause => Exec::Function(pause);
    Invd => Exec::Function(invalidate_caches);
    Wbinvd => Exec::Function(invalidate_caches);
    Wbnoinvd => Exec::Function(invalidate_caches);
    Invlpg_m => Exec::EndsBlock(invlpg);
    Invpcid_r32_m128 => Exec::EndsBlock(invpcid);
    Invpcid_r64_m128 => Exec::EndsBlock(invpcid);
    Clflush_m8 => Exec::Function(flush_line);
    Clflushopt_m8 => Exec::Function(flush_line);
    Clwb_m8 => Exec::Function(flush_line);
    Cldemote_m8 => Exec::Function(nothing);
    Monitorw => Exec::Function(monitor);
    Monitord => Exec::Function(monitor);
    Monitorq => Exec::Function(monitor);
    Mwait => Exec::Function(mwait);
    Serialize => Exec::Function(serialize);
    Rsm => Exec::EndsBlock(rsm);
    Clac => Exec::Function(set_ac::<false>);
    Stac => Exec::Function(set_ac::<true>);
};
