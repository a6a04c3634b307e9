//! Model-specific registers. SDM vol. 4, "Architectural MSRs".

use crate::Cpu;
use crate::cpuid::TSC_RATIO;
use crate::feature::{self, Feature};
use crate::state::control::*;
use crate::state::seg;
use number as n;

/// Machine-check banks.
const BANKS: u32 = 10;
/// Variable-range MTRRs.
const VARIABLE_MTRRS: u32 = 8;
/// RDCL_NO, SKIP_L1DFL_VMENTRY, SSB_NO, MDS_NO, PSCHANGE_MC_NO, TAA_NO, SBDR_SSDP_NO, FBSDP_NO,
/// PSDP_NO, BHI_NO, PBRSB_NO, GDS_NO, RFDS_NO, ITS_NO: none of these is a bug of this processor.
const ARCH_CAPABILITIES: u64 = 1
    | 1 << 3
    | 1 << 4
    | 1 << 5
    | 1 << 6
    | 1 << 8
    | 1 << 13
    | 1 << 14
    | 1 << 15
    | 1 << 20
    | 1 << 24
    | 1 << 26
    | 1 << 27
    | 1 << 62;
/// Microcode revision.
const MICROCODE: u64 = 0x100;
/// Fast strings; no branch trace store, no PEBS.
const MISC_ENABLE: u64 = 1 | 1 << 11 | 1 << 12;
/// Bits of IA32_DEBUGCTL that exist: LBR and BTF. There are no branch trace stores, counters, RTM or bus
/// lock traps that the others are about.
pub(crate) const DEBUGCTL: u64 = DEBUGCTL_BTF | 1;
/// IA32_DEBUGCTL.BTF: single-stepping stops at branches only.
pub(crate) const DEBUGCTL_BTF: u64 = 2;

/// Numbers of MSRs.
pub(crate) mod number {
    pub(crate) const TSC: u32 = 0x10;
    pub(crate) const PLATFORM_ID: u32 = 0x17;
    pub(crate) const APIC_BASE: u32 = 0x1b;
    pub(crate) const EBL_CR_POWERON: u32 = 0x2a;
    pub(crate) const FEATURE_CONTROL: u32 = 0x3a;
    pub(crate) const TSC_ADJUST: u32 = 0x3b;
    pub(crate) const BIOS_UPDT_TRIG: u32 = 0x79;
    pub(crate) const BIOS_SIGN_ID: u32 = 0x8b;
    pub(crate) const PLATFORM_INFO: u32 = 0xce;
    pub(crate) const MTRRCAP: u32 = 0xfe;
    pub(crate) const ARCH_CAPABILITIES: u32 = 0x10a;
    pub(crate) const SYSENTER_CS: u32 = 0x174;
    pub(crate) const SYSENTER_ESP: u32 = 0x175;
    pub(crate) const SYSENTER_EIP: u32 = 0x176;
    pub(crate) const MCG_CAP: u32 = 0x179;
    pub(crate) const MCG_STATUS: u32 = 0x17a;
    pub(crate) const PERF_STATUS: u32 = 0x198;
    pub(crate) const PERF_CTL: u32 = 0x199;
    pub(crate) const MISC_ENABLE: u32 = 0x1a0;
    pub(crate) const DEBUGCTL: u32 = 0x1d9;
    pub(crate) const LAST_BRANCH_FROM: u32 = 0x1db;
    pub(crate) const LAST_INT_TO: u32 = 0x1de;
    pub(crate) const MTRR_PHYSBASE0: u32 = 0x200;
    pub(crate) const PAT: u32 = 0x277;
    pub(crate) const MTRR_DEF_TYPE: u32 = 0x2ff;
    pub(crate) const MC0_CTL: u32 = 0x400;
    pub(crate) const VMX_BASIC: u32 = 0x480;
    pub(crate) const VMX_LAST: u32 = 0x493;
    pub(crate) const TSC_DEADLINE: u32 = 0x6e0;
    pub(crate) const X2APIC_FIRST: u32 = 0x800;
    pub(crate) const X2APIC_LAST: u32 = 0x8ff;
    pub(crate) const XSS: u32 = 0xda0;
    pub(crate) const EFER: u32 = 0xc000_0080;
    pub(crate) const STAR: u32 = 0xc000_0081;
    pub(crate) const LSTAR: u32 = 0xc000_0082;
    pub(crate) const CSTAR: u32 = 0xc000_0083;
    pub(crate) const SFMASK: u32 = 0xc000_0084;
    pub(crate) const FS_BASE: u32 = 0xc000_0100;
    pub(crate) const GS_BASE: u32 = 0xc000_0101;
    pub(crate) const KERNEL_GS_BASE: u32 = 0xc000_0102;
    pub(crate) const TSC_AUX: u32 = 0xc000_0103;
}

/// The index of a fixed-range MTRR.
fn fixed_mtrr(msr: u32) -> Option<usize> {
    match msr {
        0x250 => Some(0),
        0x258 | 0x259 => Some(msr as usize - 0x257),
        0x268..=0x26f => Some(msr as usize - 0x265),
        _ => None,
    }
}

/// The feature that brings an MSR; `None` for those that every model has.
fn needs(msr: u32) -> Option<Feature> {
    Some(match msr {
        n::TSC => feature::TSC,
        n::APIC_BASE => feature::APIC,
        n::FEATURE_CONTROL | n::VMX_BASIC..=n::VMX_LAST => feature::VMX,
        n::TSC_ADJUST => feature::TSC_ADJUST,
        n::MTRRCAP | n::MTRR_PHYSBASE0..0x210 | n::MTRR_DEF_TYPE => feature::MTRR,
        _ if fixed_mtrr(msr).is_some() => feature::MTRR,
        n::ARCH_CAPABILITIES => feature::ARCH_CAPABILITIES,
        n::SYSENTER_CS..=n::SYSENTER_EIP => feature::SEP,
        n::MCG_CAP | n::MCG_STATUS | n::MC0_CTL..0x428 => feature::MCA,
        n::PAT => feature::PAT,
        n::TSC_DEADLINE => feature::TSC_DEADLINE,
        n::X2APIC_FIRST..=n::X2APIC_LAST => feature::X2APIC,
        n::XSS => feature::XSAVES,
        n::STAR..=n::SFMASK => feature::SYSCALL,
        n::FS_BASE..=n::KERNEL_GS_BASE => feature::LM,
        _ => return None,
    })
}

/// Whether each byte is a memory type; with `uc_minus`, 7 is one too.
fn memory_types(v: u64, uc_minus: bool) -> bool {
    v.to_le_bytes().iter().all(|t| matches!(t, 0 | 1 | 4 | 5 | 6) || (uc_minus && *t == 7))
}

impl Cpu {
    /// Whether the model has MSR `msr`, if any has.
    fn has_msr(&self, msr: u32) -> bool {
        let has = |f| self.state.model.has(f);
        match msr {
            n::TSC_AUX => has(feature::RDTSCP) || has(feature::RDPID),
            n::EFER => self.state.model.efer_bits() != 0,
            _ => needs(msr).is_none_or(has),
        }
    }

    /// Reads MSR `msr`. `None`: #GP(0).
    pub(crate) fn read_msr(&mut self, msr: u32) -> Option<u64> {
        if !self.has_msr(msr) {
            return None;
        }
        let m = &self.state.sys.msr;
        Some(match msr {
            0 | 1 | n::PLATFORM_ID | n::EBL_CR_POWERON | n::MCG_STATUS => 0,
            n::TSC => self.tsc(),
            n::APIC_BASE | n::TSC_DEADLINE | n::X2APIC_FIRST..=n::X2APIC_LAST => {
                return self.apic_msr_read(msr);
            }
            n::FEATURE_CONTROL => m.feature_control,
            n::TSC_ADJUST => m.tsc_adjust,
            n::BIOS_SIGN_ID => MICROCODE << 32,
            n::PLATFORM_INFO | n::PERF_STATUS | n::PERF_CTL => TSC_RATIO << 8,
            n::MTRRCAP => VARIABLE_MTRRS as u64 | 1 << 8 | 1 << 10,
            n::ARCH_CAPABILITIES => ARCH_CAPABILITIES,
            n::SYSENTER_CS => m.sysenter_cs,
            n::SYSENTER_ESP => m.sysenter_esp,
            n::SYSENTER_EIP => m.sysenter_eip,
            n::MCG_CAP => BANKS as u64,
            n::MISC_ENABLE => m.misc_enable | MISC_ENABLE,
            n::DEBUGCTL => m.debugctl,
            n::LAST_BRANCH_FROM..=n::LAST_INT_TO => 0,
            n::PAT => m.pat,
            n::MTRR_DEF_TYPE => m.mtrr_def_type,
            n::VMX_BASIC..=n::VMX_LAST => return self.vmx_msr_read(msr),
            n::XSS => m.xss,
            _ => return self.read_msr_rest(msr),
        })
    }

    fn read_msr_rest(&self, msr: u32) -> Option<u64> {
        let m = &self.state.sys.msr;
        if let Some(k) = fixed_mtrr(msr) {
            return Some(m.mtrr_fixed[k]);
        }
        Some(match msr {
            n::MTRR_PHYSBASE0..0x210 => m.mtrr_var[(msr - n::MTRR_PHYSBASE0) as usize],
            n::MC0_CTL..0x428 if msr & 3 == 0 => m.mc_ctl[(msr - n::MC0_CTL) as usize / 4],
            n::MC0_CTL..0x428 => 0,
            n::EFER => self.state.sys.efer,
            n::STAR => m.star,
            n::LSTAR => m.lstar,
            n::CSTAR => m.cstar,
            n::SFMASK => m.sfmask,
            n::FS_BASE => self.state.bases.seg[seg::FS],
            n::GS_BASE => self.state.bases.seg[seg::GS],
            n::KERNEL_GS_BASE => m.kernel_gs_base,
            n::TSC_AUX => m.tsc_aux,
            _ => return None,
        })
    }

    /// Writes MSR `msr`. `None`: #GP(0).
    pub(crate) fn write_msr(&mut self, msr: u32, v: u64) -> Option<()> {
        if !self.has_msr(msr) {
            return None;
        }
        let canonical = self.canonical(v);
        let word = v >> 32 == 0;
        let ok = |b: bool| b.then_some(());
        match msr {
            n::TSC => {
                let delta = v.wrapping_sub(self.tsc());
                self.adjust_tsc(delta);
            }
            n::TSC_ADJUST => {
                let delta = v.wrapping_sub(self.state.sys.msr.tsc_adjust);
                self.adjust_tsc(delta);
            }
            n::APIC_BASE | n::TSC_DEADLINE | n::X2APIC_FIRST..=n::X2APIC_LAST => {
                return self.apic_msr_write(msr, v);
            }
            n::FEATURE_CONTROL => {
                ok(self.state.sys.msr.feature_control & 1 == 0 && v & !0x7 == 0)?;
                self.state.sys.msr.feature_control = v;
            }
            0 | 1 | n::BIOS_UPDT_TRIG | n::BIOS_SIGN_ID | n::EBL_CR_POWERON | n::PERF_CTL => {}
            n::MCG_STATUS => ok(v & !7 == 0)?,
            n::SYSENTER_CS => self.state.sys.msr.sysenter_cs = v as u32 as u64,
            n::SYSENTER_ESP => self.state.sys.msr.sysenter_esp = ok(canonical).map(|()| v)?,
            n::SYSENTER_EIP => self.state.sys.msr.sysenter_eip = ok(canonical).map(|()| v)?,
            n::MISC_ENABLE => self.state.sys.msr.misc_enable = v & !MISC_ENABLE,
            n::DEBUGCTL => self.state.sys.msr.debugctl = ok(v & !DEBUGCTL == 0).map(|()| v)?,
            n::PAT => self.state.sys.msr.pat = ok(memory_types(v, true)).map(|()| v)?,
            n::XSS => ok(v == 0)?,
            n::EFER => return self.write_efer(v),
            n::STAR => self.state.sys.msr.star = v,
            n::LSTAR => self.state.sys.msr.lstar = ok(canonical).map(|()| v)?,
            n::CSTAR => self.state.sys.msr.cstar = ok(canonical).map(|()| v)?,
            n::SFMASK => self.state.sys.msr.sfmask = v as u32 as u64,
            n::FS_BASE => self.set_base(seg::FS, ok(canonical).map(|()| v)?),
            n::GS_BASE => self.set_base(seg::GS, ok(canonical).map(|()| v)?),
            n::KERNEL_GS_BASE => self.state.sys.msr.kernel_gs_base = ok(canonical).map(|()| v)?,
            n::TSC_AUX => self.state.sys.msr.tsc_aux = ok(word).map(|()| v)?,
            _ => return self.write_msr_rest(msr, v),
        }
        Some(())
    }

    fn write_msr_rest(&mut self, msr: u32, v: u64) -> Option<()> {
        let ok = |b: bool| b.then_some(());
        let physical = (1u64 << self.state.model.maxphys) - 1;
        if let Some(k) = fixed_mtrr(msr) {
            ok(memory_types(v, false))?;
            self.state.sys.msr.mtrr_fixed[k] = v;
            return Some(());
        }
        match msr {
            n::MTRR_PHYSBASE0..0x210 => {
                let mask = msr & 1 != 0;
                let low = if mask { 0x800 } else { v & 0xff };
                ok(v & !(physical & !0xfff | low) == 0 && (mask || memory_types(v & 0xff, false)))?;
                self.state.sys.msr.mtrr_var[(msr - n::MTRR_PHYSBASE0) as usize] = v;
            }
            n::MTRR_DEF_TYPE => {
                ok(v & !0xcff == 0 && memory_types(v & 0xff, false))?;
                self.state.sys.msr.mtrr_def_type = v;
            }
            n::MC0_CTL..0x428 if msr & 3 == 0 => {
                self.state.sys.msr.mc_ctl[(msr - n::MC0_CTL) as usize / 4] = v;
            }
            n::MC0_CTL..0x428 => ok(v == 0)?,
            _ => return None,
        }
        Some(())
    }

    fn adjust_tsc(&mut self, delta: u64) {
        self.state.sys.tsc_offset = self.state.sys.tsc_offset.wrapping_add(delta);
        self.state.sys.msr.tsc_adjust = self.state.sys.msr.tsc_adjust.wrapping_add(delta);
        self.tsc_changed();
    }

    /// Writes IA32_EFER: LMA is the processor's.
    fn write_efer(&mut self, v: u64) -> Option<()> {
        let old = self.state.sys.efer;
        let paging = self.state.sys.cr0 & CR0_PG != 0;
        if v & !self.state.model.efer_bits() != 0 || (paging && (v ^ old) & EFER_LME != 0) {
            return None;
        }
        self.state.sys.efer = v & !EFER_LMA | old & EFER_LMA;
        self.update_paging();
        Some(())
    }
}
