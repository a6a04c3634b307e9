//! CPU models: the features that CPUID shows.
//!
//! A row of [`FEATURES`] may name a witness, an instruction that has to be in the tables of
//! [`crate::isa`] for the feature to be shown: a model never promises what is not there.

use crate::isa;
use iced_x86::Code;
use serde::{Deserialize, Serialize};

/// The registers that feature bits stand in.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[expect(missing_docs, reason = "leaf and register")]
pub enum Word {
    L1Ecx,
    L1Edx,
    L6Eax,
    L7Ebx,
    L7Ecx,
    L7Edx,
    LDEax,
    E1Ecx,
    E1Edx,
    E7Edx,
}

/// Number of [`Word`]s.
const WORDS: usize = 10;

/// A feature bit.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Feature(pub Word, pub u8);

/// Features that the processor itself asks for.
pub mod feature {
    #![expect(missing_docs, reason = "the names are the SDM's")]
    use super::{Feature, Word::*};
    pub const MONITOR: Feature = Feature(L1Ecx, 3);
    pub const VMX: Feature = Feature(L1Ecx, 5);
    pub const PCID: Feature = Feature(L1Ecx, 17);
    pub const X2APIC: Feature = Feature(L1Ecx, 21);
    pub const XSAVE: Feature = Feature(L1Ecx, 26);
    pub const AVX: Feature = Feature(L1Ecx, 28);
    pub const VME: Feature = Feature(L1Edx, 1);
    pub const FSGSBASE: Feature = Feature(L7Ebx, 0);
    pub const SMEP: Feature = Feature(L7Ebx, 7);
    pub const INVPCID: Feature = Feature(L7Ebx, 10);
    pub const SMAP: Feature = Feature(L7Ebx, 20);
    pub const UMIP: Feature = Feature(L7Ecx, 2);
    pub const LA57: Feature = Feature(L7Ecx, 16);
    pub const SERIALIZE: Feature = Feature(L7Edx, 14);
    pub const RDPID: Feature = Feature(L7Ecx, 22);
    pub const RDTSCP: Feature = Feature(E1Edx, 27);
    pub const NX: Feature = Feature(E1Edx, 20);
    pub const GIB_PAGES: Feature = Feature(E1Edx, 26);
    pub const LM: Feature = Feature(E1Edx, 29);
}

/// The first model that has a feature. Each has all of the one before.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug, Serialize, Deserialize)]
pub enum Name {
    /// 32-bit only.
    Min32,
    /// x86-64-v1.
    V1,
    /// x86-64-v2.
    V2,
    /// What is fast in an interpreter and runs today's hypervisors.
    Default,
    /// `Default` with AVX2.
    V3,
    /// No model: what a processor has only where it is asked for.
    Asked,
}

impl Name {
    /// The names that a user may give.
    pub const ALL: &[(&str, Name)] = &[
        ("default", Name::Default),
        ("v3", Name::V3),
        ("v2", Name::V2),
        ("v1", Name::V1),
        ("min32", Name::Min32),
    ];
}

type Row = (Word, u8, &'static str, Name, Option<Code>);

/// All features that some model shows: place, name, first model, witness.
#[rustfmt::skip]
pub const FEATURES: &[Row] = {
    use Name::*;
    use Word::*;
    &[
        (L1Edx, 0, "FPU", Min32, None),
        (L1Edx, 2, "DE", Min32, None),
        (L1Edx, 3, "PSE", Min32, None),
        (L1Edx, 4, "TSC", Min32, None),
        (L1Edx, 5, "MSR", Min32, None),
        (L1Edx, 6, "PAE", Min32, None),
        (L1Edx, 7, "MCE", V1, None),
        (L1Edx, 8, "CX8", Min32, Some(Code::Cmpxchg8b_m64)),
        (L1Edx, 9, "APIC", Min32, None),
        (L1Edx, 11, "SEP", Min32, Some(Code::Sysenter)),
        (L1Edx, 12, "MTRR", Min32, None),
        (L1Edx, 13, "PGE", Min32, None),
        (L1Edx, 14, "MCA", V1, None),
        (L1Edx, 15, "CMOV", Min32, Some(Code::Cmove_r32_rm32)),
        (L1Edx, 16, "PAT", Min32, None),
        (L1Edx, 17, "PSE36", Min32, None),
        (L1Edx, 19, "CLFSH", V1, Some(Code::Clflush_m8)),
        (L1Edx, 23, "MMX", V1, Some(Code::Paddb_mm_mmm64)),
        (L1Edx, 24, "FXSR", V1, None),
        (L1Edx, 25, "SSE", V1, None),
        (L1Edx, 26, "SSE2", V1, None),
        (L1Ecx, 0, "SSE3", V2, Some(Code::Haddps_xmm_xmmm128)),
        (L1Ecx, 1, "PCLMULQDQ", Default, Some(Code::Pclmulqdq_xmm_xmmm128_imm8)),
        (L1Ecx, 3, "MONITOR", Asked, Some(Code::Monitorq)),
        (L1Ecx, 5, "VMX", Default, Some(Code::Vmlaunch)),
        (L1Ecx, 9, "SSSE3", V2, Some(Code::Pshufb_xmm_xmmm128)),
        (L1Ecx, 12, "FMA", V3, Some(Code::VEX_Vfmadd231pd_ymm_ymm_ymmm256)),
        (L1Ecx, 13, "CX16", V2, Some(Code::Cmpxchg16b_m128)),
        (L1Ecx, 17, "PCID", Default, Some(Code::Invpcid_r64_m128)),
        (L1Ecx, 19, "SSE4_1", V2, Some(Code::Pmulld_xmm_xmmm128)),
        (L1Ecx, 20, "SSE4_2", V2, Some(Code::Pcmpistri_xmm_xmmm128_imm8)),
        (L1Ecx, 21, "X2APIC", V2, None),
        (L1Ecx, 22, "MOVBE", Default, Some(Code::Movbe_r64_m64)),
        (L1Ecx, 23, "POPCNT", V2, Some(Code::Popcnt_r64_rm64)),
        (L1Ecx, 24, "TSC_DEADLINE", V2, None),
        (L1Ecx, 25, "AESNI", Default, Some(Code::Aesenc_xmm_xmmm128)),
        (L1Ecx, 26, "XSAVE", V2, Some(Code::Xsave_mem)),
        (L1Ecx, 28, "AVX", V3, Some(Code::VEX_Vpaddb_ymm_ymm_ymmm256)),
        (L1Ecx, 29, "F16C", V3, Some(Code::VEX_Vcvtph2ps_ymm_xmmm128)),
        (L1Ecx, 30, "RDRAND", Default, Some(Code::Rdrand_r64)),
        (L6Eax, 2, "ARAT", V1, None),
        (L7Ebx, 0, "FSGSBASE", Default, Some(Code::Rdfsbase_r64)),
        (L7Ebx, 1, "TSC_ADJUST", Default, None),
        (L7Ebx, 3, "BMI1", Default, Some(Code::VEX_Andn_r64_r64_rm64)),
        (L7Ebx, 5, "AVX2", V3, Some(Code::VEX_Vpaddb_ymm_ymm_ymmm256)),
        (L7Ebx, 7, "SMEP", Default, None),
        (L7Ebx, 8, "BMI2", Default, Some(Code::VEX_Pdep_r64_r64_rm64)),
        (L7Ebx, 9, "ERMS", V2, None),
        (L7Ebx, 10, "INVPCID", Default, Some(Code::Invpcid_r64_m128)),
        (L7Ebx, 13, "ZERO_FCS_FDS", Min32, None),
        (L7Ebx, 18, "RDSEED", Default, Some(Code::Rdseed_r64)),
        (L7Ebx, 19, "ADX", Default, Some(Code::Adcx_r64_rm64)),
        (L7Ebx, 20, "SMAP", V3, Some(Code::Stac)),
        (L7Ebx, 23, "CLFLUSHOPT", Default, Some(Code::Clflushopt_m8)),
        (L7Ebx, 24, "CLWB", Default, Some(Code::Clwb_m8)),
        (L7Ebx, 29, "SHA", Default, Some(Code::Sha256rnds2_xmm_xmmm128)),
        (L7Ecx, 2, "UMIP", Default, None),
        (L7Ecx, 22, "RDPID", Default, Some(Code::Rdpid_r64)),
        (L7Edx, 4, "FSRM", V2, None),
        (L7Edx, 14, "SERIALIZE", Default, Some(Code::Serialize)),
        (L7Edx, 29, "ARCH_CAPABILITIES", V1, None),
        (LDEax, 0, "XSAVEOPT", Default, Some(Code::Xsaveopt_mem)),
        (LDEax, 1, "XSAVEC", Default, Some(Code::Xsavec_mem)),
        (LDEax, 2, "XGETBV_1", Default, Some(Code::Xgetbv)),
        (LDEax, 3, "XSAVES", Default, Some(Code::Xsaves_mem)),
        (E1Ecx, 0, "LAHF", V1, Some(Code::Lahf)),
        (E1Ecx, 5, "LZCNT", Default, Some(Code::Lzcnt_r64_rm64)),
        (E1Ecx, 8, "PREFETCHW", V1, Some(Code::Prefetchw_m8)),
        (E1Edx, 11, "SYSCALL", V1, Some(Code::Syscall)),
        (E1Edx, 20, "NX", V1, None),
        (E1Edx, 26, "PAGE1G", Default, None),
        (E1Edx, 27, "RDTSCP", V2, Some(Code::Rdtscp)),
        (E1Edx, 29, "LM", V1, None),
        (E7Edx, 8, "INVARIANT_TSC", V1, None),
    ]
};

/// A CPU model.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Model {
    /// Which.
    pub name: Name,
    /// Physical-address width in bits.
    pub maxphys: u8,
    /// Processors in the package.
    pub processors: u32,
    words: [u32; WORDS],
}

impl Default for Model {
    fn default() -> Self {
        Model::new(Name::Default)
    }
}

impl Model {
    /// The model of this name.
    pub fn new(name: Name) -> Model {
        let mut words = [0; WORDS];
        for &(word, bit, _, first, witness) in FEATURES {
            if first <= name && witness.is_none_or(isa::implemented) {
                words[word as usize] |= 1 << bit;
            }
        }
        let maxphys = if name == Name::Min32 { 36 } else { 40 };
        Model { name, maxphys, processors: 1, words }
    }

    /// The model that the user calls `name`.
    pub fn named(name: &str) -> Option<Model> {
        let row = Name::ALL.iter().find(|row| row.0 == name)?;
        Some(Model::new(row.1))
    }

    /// Feature bits of one register.
    pub fn word(&self, w: Word) -> u32 {
        self.words[w as usize]
    }

    /// Whether the model has a feature.
    pub fn has(&self, f: Feature) -> bool {
        self.words[f.0 as usize] >> f.1 & 1 != 0
    }

    /// Whether 1 GiB pages exist.
    pub fn gib_pages(&self) -> bool {
        self.has(feature::GIB_PAGES)
    }

    /// Bits of CR4 that may be set.
    pub fn cr4_bits(&self) -> u64 {
        use crate::control::*;
        let always = CR4_TSD | CR4_DE | CR4_PSE | CR4_PAE | CR4_MCE | CR4_PGE | CR4_PCE;
        let rows = [
            (feature::VME, CR4_VME | CR4_PVI),
            (feature::UMIP, CR4_UMIP),
            (feature::LA57, CR4_LA57),
            (feature::VMX, CR4_VMXE),
            (feature::FSGSBASE, CR4_FSGSBASE),
            (feature::PCID, CR4_PCIDE),
            (feature::XSAVE, CR4_OSXSAVE),
            (feature::SMEP, CR4_SMEP),
            (feature::SMAP, CR4_SMAP),
        ];
        let fpu = CR4_OSFXSR | CR4_OSXMMEXCPT;
        rows.iter().filter(|r| self.has(r.0)).fold(always | fpu, |bits, r| bits | r.1)
    }

    /// Bits of EFER that may be set.
    pub fn efer_bits(&self) -> u64 {
        use crate::control::*;
        let long = if self.has(feature::LM) { EFER_SCE | EFER_LME | EFER_LMA } else { 0 };
        long | if self.has(feature::NX) { EFER_NXE } else { 0 }
    }
}
