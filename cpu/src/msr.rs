//! Model-specific registers. SDM vol. 4, "Architectural MSRs".

use crate::control::*;
use crate::feature::{self, Feature};
use crate::state::{Cpu, seg};

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
/// LBR and BTF, the freeze and trace bits.
const DEBUGCTL: u64 = 0xffc3;

/// Numbers of MSRs.
pub mod number {
    #![expect(missing_docs, reason = "the names are the SDM's")]
    pub const TSC: u32 = 0x10;
    pub const PLATFORM_ID: u32 = 0x17;
    pub const APIC_BASE: u32 = 0x1b;
    pub const EBL_CR_POWERON: u32 = 0x2a;
    pub const FEATURE_CONTROL: u32 = 0x3a;
    pub const TSC_ADJUST: u32 = 0x3b;
    pub const BIOS_UPDT_TRIG: u32 = 0x79;
    pub const BIOS_SIGN_ID: u32 = 0x8b;
    pub const PLATFORM_INFO: u32 = 0xce;
    pub const MTRRCAP: u32 = 0xfe;
    pub const ARCH_CAPABILITIES: u32 = 0x10a;
    pub const SYSENTER_CS: u32 = 0x174;
    pub const SYSENTER_ESP: u32 = 0x175;
    pub const SYSENTER_EIP: u32 = 0x176;
    pub const MCG_CAP: u32 = 0x179;
    pub const MCG_STATUS: u32 = 0x17a;
    pub const PERF_STATUS: u32 = 0x198;
    pub const PERF_CTL: u32 = 0x199;
    pub const MISC_ENABLE: u32 = 0x1a0;
    pub const DEBUGCTL: u32 = 0x1d9;
    pub const LAST_BRANCH_FROM: u32 = 0x1db;
    pub const LAST_INT_TO: u32 = 0x1de;
    pub const MTRR_PHYSBASE0: u32 = 0x200;
    pub const PAT: u32 = 0x277;
    pub const MTRR_DEF_TYPE: u32 = 0x2ff;
    pub const MC0_CTL: u32 = 0x400;
    pub const VMX_BASIC: u32 = 0x480;
    pub const VMX_LAST: u32 = 0x493;
    pub const TSC_DEADLINE: u32 = 0x6e0;
    pub const X2APIC_FIRST: u32 = 0x800;
    pub const X2APIC_LAST: u32 = 0x8ff;
    pub const XSS: u32 = 0xda0;
    pub const EFER: u32 = 0xc000_0080;
    pub const STAR: u32 = 0xc000_0081;
    pub const LSTAR: u32 = 0xc000_0082;
    pub const CSTAR: u32 = 0xc000_0083;
    pub const SFMASK: u32 = 0xc000_0084;
    pub const FS_BASE: u32 = 0xc000_0100;
    pub const GS_BASE: u32 = 0xc000_0101;
    pub const KERNEL_GS_BASE: u32 = 0xc000_0102;
    pub const TSC_AUX: u32 = 0xc000_0103;
}
use number as n;

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
        let has = |f| self.model.has(f);
        match msr {
            n::TSC_AUX => has(feature::RDTSCP) || has(feature::RDPID),
            n::EFER => self.model.efer_bits() != 0,
            _ => needs(msr).is_none_or(has),
        }
    }

    /// Reads MSR `msr`. `None`: #GP(0).
    pub(crate) fn read_msr(&mut self, msr: u32) -> Option<u64> {
        if !self.has_msr(msr) {
            return None;
        }
        let m = &self.sys.msr;
        Some(match msr {
            0 | 1 | n::PLATFORM_ID | n::EBL_CR_POWERON | n::MCG_STATUS => 0,
            n::TSC => self.tsc(),
            n::APIC_BASE | n::TSC_DEADLINE | n::X2APIC_FIRST..=n::X2APIC_LAST => {
                return self.apic_msr_read(msr);
            }
            n::FEATURE_CONTROL => m.feature_control,
            n::TSC_ADJUST => m.tsc_adjust,
            n::BIOS_SIGN_ID => MICROCODE << 32,
            // The ratio of the TSC to 100 MHz.
            n::PLATFORM_INFO => 10 << 8,
            n::PERF_STATUS | n::PERF_CTL => 10 << 8,
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
        let m = &self.sys.msr;
        if let Some(k) = fixed_mtrr(msr) {
            return Some(m.mtrr_fixed[k]);
        }
        Some(match msr {
            n::MTRR_PHYSBASE0..0x210 => m.mtrr_var[(msr - n::MTRR_PHYSBASE0) as usize],
            n::MC0_CTL..0x428 if msr & 3 == 0 => m.mc_ctl[(msr - n::MC0_CTL) as usize / 4],
            n::MC0_CTL..0x428 => 0,
            n::EFER => self.sys.efer,
            n::STAR => m.star,
            n::LSTAR => m.lstar,
            n::CSTAR => m.cstar,
            n::SFMASK => m.sfmask,
            n::FS_BASE => self.seg_base[seg::FS],
            n::GS_BASE => self.seg_base[seg::GS],
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
                let delta = v.wrapping_sub(self.sys.msr.tsc_adjust);
                self.adjust_tsc(delta);
            }
            n::APIC_BASE | n::TSC_DEADLINE | n::X2APIC_FIRST..=n::X2APIC_LAST => {
                return self.apic_msr_write(msr, v);
            }
            n::FEATURE_CONTROL => {
                ok(self.sys.msr.feature_control & 1 == 0 && v & !0x7 == 0)?;
                self.sys.msr.feature_control = v;
            }
            0 | 1 | n::BIOS_UPDT_TRIG | n::BIOS_SIGN_ID | n::EBL_CR_POWERON | n::PERF_CTL => {}
            n::MCG_STATUS => ok(v & !7 == 0)?,
            n::SYSENTER_CS => self.sys.msr.sysenter_cs = v as u32 as u64,
            n::SYSENTER_ESP => self.sys.msr.sysenter_esp = ok(canonical).map(|()| v)?,
            n::SYSENTER_EIP => self.sys.msr.sysenter_eip = ok(canonical).map(|()| v)?,
            n::MISC_ENABLE => self.sys.msr.misc_enable = v & !MISC_ENABLE,
            n::DEBUGCTL => self.sys.msr.debugctl = ok(v & !DEBUGCTL == 0).map(|()| v)?,
            n::PAT => self.sys.msr.pat = ok(memory_types(v, true)).map(|()| v)?,
            n::XSS => ok(v == 0)?,
            n::EFER => return self.write_efer(v),
            n::STAR => self.sys.msr.star = v,
            n::LSTAR => self.sys.msr.lstar = ok(canonical).map(|()| v)?,
            n::CSTAR => self.sys.msr.cstar = ok(canonical).map(|()| v)?,
            n::SFMASK => self.sys.msr.sfmask = v as u32 as u64,
            n::FS_BASE => self.set_base(seg::FS, ok(canonical).map(|()| v)?),
            n::GS_BASE => self.set_base(seg::GS, ok(canonical).map(|()| v)?),
            n::KERNEL_GS_BASE => self.sys.msr.kernel_gs_base = ok(canonical).map(|()| v)?,
            n::TSC_AUX => self.sys.msr.tsc_aux = ok(word).map(|()| v)?,
            _ => return self.write_msr_rest(msr, v),
        }
        Some(())
    }

    fn write_msr_rest(&mut self, msr: u32, v: u64) -> Option<()> {
        let ok = |b: bool| b.then_some(());
        let physical = (1u64 << self.model.maxphys) - 1;
        if let Some(k) = fixed_mtrr(msr) {
            ok(memory_types(v, false))?;
            self.sys.msr.mtrr_fixed[k] = v;
            return Some(());
        }
        match msr {
            n::MTRR_PHYSBASE0..0x210 => {
                let mask = msr & 1 != 0;
                let low = if mask { 0x800 } else { v & 0xff };
                ok(v & !(physical & !0xfff | low) == 0 && (mask || memory_types(v & 0xff, false)))?;
                self.sys.msr.mtrr_var[(msr - n::MTRR_PHYSBASE0) as usize] = v;
            }
            n::MTRR_DEF_TYPE => {
                ok(v & !0xcff == 0 && memory_types(v & 0xff, false))?;
                self.sys.msr.mtrr_def_type = v;
            }
            n::MC0_CTL..0x428 if msr & 3 == 0 => {
                self.sys.msr.mc_ctl[(msr - n::MC0_CTL) as usize / 4] = v;
            }
            n::MC0_CTL..0x428 => ok(v == 0)?,
            _ => return None,
        }
        Some(())
    }

    fn adjust_tsc(&mut self, delta: u64) {
        self.sys.tsc_offset = self.sys.tsc_offset.wrapping_add(delta);
        self.sys.msr.tsc_adjust = self.sys.msr.tsc_adjust.wrapping_add(delta);
        self.tsc_changed();
    }

    /// Writes IA32_EFER: LMA is the processor's.
    fn write_efer(&mut self, v: u64) -> Option<()> {
        let old = self.sys.efer;
        let paging = self.sys.cr0 & CR0_PG != 0;
        if v & !self.model.efer_bits() != 0 || (paging && (v ^ old) & EFER_LME != 0) {
            return None;
        }
        self.sys.efer = v & !EFER_LMA | old & EFER_LMA;
        self.update_paging();
        Some(())
    }
}
