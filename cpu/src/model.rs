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
pub(crate) const WORDS: usize = 10;

/// A feature bit.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Feature(pub Word, pub u8);

/// Features that the processor itself asks for, under the SDM's names.
pub mod feature {
    #![expect(missing_docs, reason = "the names are the SDM's")]
    use super::{Feature, Word::*};
    pub const FPU: Feature = Feature(L1Edx, 0);
    pub const DE: Feature = Feature(L1Edx, 2);
    pub const PSE: Feature = Feature(L1Edx, 3);
    pub const TSC: Feature = Feature(L1Edx, 4);
    pub const MSR: Feature = Feature(L1Edx, 5);
    pub const PAE: Feature = Feature(L1Edx, 6);
    pub const MCE: Feature = Feature(L1Edx, 7);
    pub const CX8: Feature = Feature(L1Edx, 8);
    pub const APIC: Feature = Feature(L1Edx, 9);
    pub const SEP: Feature = Feature(L1Edx, 11);
    pub const MTRR: Feature = Feature(L1Edx, 12);
    pub const PGE: Feature = Feature(L1Edx, 13);
    pub const MCA: Feature = Feature(L1Edx, 14);
    pub const CMOV: Feature = Feature(L1Edx, 15);
    pub const PAT: Feature = Feature(L1Edx, 16);
    pub const CLFSH: Feature = Feature(L1Edx, 19);
    pub const MMX: Feature = Feature(L1Edx, 23);
    pub const FXSR: Feature = Feature(L1Edx, 24);
    pub const SSE: Feature = Feature(L1Edx, 25);
    pub const SSE2: Feature = Feature(L1Edx, 26);
    pub const SSE3: Feature = Feature(L1Ecx, 0);
    pub const PCLMULQDQ: Feature = Feature(L1Ecx, 1);
    pub const MONITOR: Feature = Feature(L1Ecx, 3);
    pub const VMX: Feature = Feature(L1Ecx, 5);
    pub const SSSE3: Feature = Feature(L1Ecx, 9);
    pub const FMA: Feature = Feature(L1Ecx, 12);
    pub const CX16: Feature = Feature(L1Ecx, 13);
    pub const PCID: Feature = Feature(L1Ecx, 17);
    pub const SSE4_1: Feature = Feature(L1Ecx, 19);
    pub const SSE4_2: Feature = Feature(L1Ecx, 20);
    pub const X2APIC: Feature = Feature(L1Ecx, 21);
    pub const MOVBE: Feature = Feature(L1Ecx, 22);
    pub const POPCNT: Feature = Feature(L1Ecx, 23);
    pub const TSC_DEADLINE: Feature = Feature(L1Ecx, 24);
    pub const AES: Feature = Feature(L1Ecx, 25);
    pub const XSAVE: Feature = Feature(L1Ecx, 26);
    pub const AVX: Feature = Feature(L1Ecx, 28);
    pub const F16C: Feature = Feature(L1Ecx, 29);
    pub const RDRAND: Feature = Feature(L1Ecx, 30);
    pub const FSGSBASE: Feature = Feature(L7Ebx, 0);
    pub const TSC_ADJUST: Feature = Feature(L7Ebx, 1);
    pub const BMI1: Feature = Feature(L7Ebx, 3);
    pub const AVX2: Feature = Feature(L7Ebx, 5);
    pub const SMEP: Feature = Feature(L7Ebx, 7);
    pub const BMI2: Feature = Feature(L7Ebx, 8);
    pub const INVPCID: Feature = Feature(L7Ebx, 10);
    pub const RDSEED: Feature = Feature(L7Ebx, 18);
    pub const ADX: Feature = Feature(L7Ebx, 19);
    pub const SMAP: Feature = Feature(L7Ebx, 20);
    pub const CLFLUSHOPT: Feature = Feature(L7Ebx, 23);
    pub const CLWB: Feature = Feature(L7Ebx, 24);
    pub const SHA: Feature = Feature(L7Ebx, 29);
    pub const UMIP: Feature = Feature(L7Ecx, 2);
    pub const RDPID: Feature = Feature(L7Ecx, 22);
    pub const SERIALIZE: Feature = Feature(L7Edx, 14);
    pub const ARCH_CAPABILITIES: Feature = Feature(L7Edx, 29);
    pub const XSAVEOPT: Feature = Feature(LDEax, 0);
    pub const XSAVEC: Feature = Feature(LDEax, 1);
    pub const XSAVES: Feature = Feature(LDEax, 3);
    pub const LAHF_LM: Feature = Feature(E1Ecx, 0);
    pub const LZCNT: Feature = Feature(E1Ecx, 5);
    pub const SYSCALL: Feature = Feature(E1Edx, 11);
    pub const NX: Feature = Feature(E1Edx, 20);
    pub const GIB_PAGES: Feature = Feature(E1Edx, 26);
    pub const RDTSCP: Feature = Feature(E1Edx, 27);
    pub const LM: Feature = Feature(E1Edx, 29);
    pub const VAES: Feature = Feature(L7Ecx, 9);
    pub const VPCLMULQDQ: Feature = Feature(L7Ecx, 10);
    pub const VME: Feature = Feature(L1Edx, 1);
    pub const LA57: Feature = Feature(L7Ecx, 16);
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

/// A row of [`FEATURES`].
pub type Row = (Word, u8, &'static str, Name, Option<Code>);

/// All features that some model may show: place, QEMU's name, first model, witness.
#[rustfmt::skip]
pub const FEATURES: &[Row] = {
    use Name::*;
    use Word::*;
    &[
        (L1Edx, 0, "fpu", Min32, None),
        (L1Edx, 1, "vme", Min32, None),
        (L1Edx, 2, "de", Min32, None),
        (L1Edx, 3, "pse", Min32, None),
        (L1Edx, 4, "tsc", Min32, None),
        (L1Edx, 5, "msr", Min32, None),
        (L1Edx, 6, "pae", Min32, None),
        (L1Edx, 7, "mce", V1, None),
        (L1Edx, 8, "cx8", Min32, Some(Code::Cmpxchg8b_m64)),
        (L1Edx, 9, "apic", Min32, None),
        (L1Edx, 11, "sep", Min32, Some(Code::Sysenter)),
        (L1Edx, 12, "mtrr", Min32, None),
        (L1Edx, 13, "pge", Min32, None),
        (L1Edx, 14, "mca", V1, None),
        (L1Edx, 15, "cmov", Min32, Some(Code::Cmove_r32_rm32)),
        (L1Edx, 16, "pat", Min32, None),
        (L1Edx, 17, "pse36", Min32, None),
        (L1Edx, 19, "clflush", V1, Some(Code::Clflush_m8)),
        (L1Edx, 23, "mmx", V1, Some(Code::Paddb_mm_mmm64)),
        (L1Edx, 24, "fxsr", V1, None),
        (L1Edx, 25, "sse", V1, None),
        (L1Edx, 26, "sse2", V1, None),
        (L1Ecx, 0, "pni", V2, Some(Code::Haddps_xmm_xmmm128)),
        (L1Ecx, 1, "pclmulqdq", Default, Some(Code::Pclmulqdq_xmm_xmmm128_imm8)),
        (L1Ecx, 3, "monitor", Asked, Some(Code::Monitorq)),
        (L1Ecx, 5, "vmx", Default, Some(Code::Vmlaunch)),
        (L1Ecx, 9, "ssse3", V2, Some(Code::Pshufb_xmm_xmmm128)),
        (L1Ecx, 12, "fma", V3, Some(Code::VEX_Vfmadd231pd_ymm_ymm_ymmm256)),
        (L1Ecx, 13, "cx16", V2, Some(Code::Cmpxchg16b_m128)),
        (L1Ecx, 17, "pcid", Default, Some(Code::Invpcid_r64_m128)),
        (L1Ecx, 19, "sse4.1", V2, Some(Code::Pmulld_xmm_xmmm128)),
        (L1Ecx, 20, "sse4.2", V2, Some(Code::Pcmpistri_xmm_xmmm128_imm8)),
        (L1Ecx, 21, "x2apic", V2, None),
        (L1Ecx, 22, "movbe", Default, Some(Code::Movbe_r64_m64)),
        (L1Ecx, 23, "popcnt", V2, Some(Code::Popcnt_r64_rm64)),
        (L1Ecx, 24, "tsc-deadline", V2, None),
        (L1Ecx, 25, "aes", Default, Some(Code::Aesenc_xmm_xmmm128)),
        (L1Ecx, 26, "xsave", V2, Some(Code::Xsave_mem)),
        (L1Ecx, 28, "avx", V3, Some(Code::VEX_Vpaddb_ymm_ymm_ymmm256)),
        (L1Ecx, 29, "f16c", V3, Some(Code::VEX_Vcvtph2ps_ymm_xmmm128)),
        (L1Ecx, 30, "rdrand", Default, Some(Code::Rdrand_r64)),
        (L6Eax, 2, "arat", V1, None),
        (L7Ebx, 0, "fsgsbase", Default, Some(Code::Rdfsbase_r64)),
        (L7Ebx, 1, "tsc-adjust", Default, None),
        (L7Ebx, 3, "bmi1", Default, Some(Code::VEX_Andn_r64_r64_rm64)),
        (L7Ebx, 5, "avx2", V3, Some(Code::VEX_Vpaddb_ymm_ymm_ymmm256)),
        (L7Ebx, 7, "smep", Default, None),
        (L7Ebx, 8, "bmi2", Default, Some(Code::VEX_Pdep_r64_r64_rm64)),
        (L7Ebx, 9, "erms", V2, None),
        (L7Ebx, 10, "invpcid", Default, Some(Code::Invpcid_r64_m128)),
        (L7Ebx, 13, "zero-fcs-fds", Min32, None),
        (L7Ebx, 18, "rdseed", Default, Some(Code::Rdseed_r64)),
        (L7Ebx, 19, "adx", Default, Some(Code::Adcx_r64_rm64)),
        (L7Ebx, 20, "smap", V3, Some(Code::Stac)),
        (L7Ebx, 23, "clflushopt", Default, Some(Code::Clflushopt_m8)),
        (L7Ebx, 24, "clwb", Default, Some(Code::Clwb_m8)),
        (L7Ebx, 29, "sha-ni", Default, Some(Code::Sha256rnds2_xmm_xmmm128)),
        (L7Ecx, 2, "umip", Default, None),
        (L7Ecx, 9, "vaes", V3, Some(Code::VEX_Vaesenc_ymm_ymm_ymmm256)),
        (L7Ecx, 10, "vpclmulqdq", V3, Some(Code::VEX_Vpclmulqdq_ymm_ymm_ymmm256_imm8)),
        (L7Ecx, 22, "rdpid", Default, Some(Code::Rdpid_r64)),
        (L7Edx, 4, "fsrm", V2, None),
        (L7Edx, 14, "serialize", Default, Some(Code::Serialize)),
        (L7Edx, 29, "arch-capabilities", V1, None),
        (LDEax, 0, "xsaveopt", Default, Some(Code::Xsaveopt_mem)),
        (LDEax, 1, "xsavec", Default, Some(Code::Xsavec_mem)),
        (LDEax, 2, "xgetbv1", Default, Some(Code::Xgetbv)),
        (LDEax, 3, "xsaves", Default, Some(Code::Xsaves_mem)),
        (E1Ecx, 0, "lahf-lm", V1, Some(Code::Lahf)),
        (E1Ecx, 5, "abm", Default, Some(Code::Lzcnt_r64_rm64)),
        (E1Ecx, 8, "3dnowprefetch", V1, Some(Code::Prefetchw_m8)),
        (E1Edx, 11, "syscall", V1, Some(Code::Syscall)),
        (E1Edx, 20, "nx", V1, None),
        (E1Edx, 26, "pdpe1gb", Default, None),
        (E1Edx, 27, "rdtscp", V2, Some(Code::Rdtscp)),
        (E1Edx, 29, "lm", V1, None),
        (E7Edx, 8, "invtsc", V1, None),
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

    /// Switches a feature.
    pub fn set(&mut self, f: Feature, on: bool) {
        let word = &mut self.words[f.0 as usize];
        *word = *word & !(1 << f.1) | (on as u32) << f.1;
    }

    /// All feature bits.
    pub(crate) fn words(&self) -> [u32; WORDS] {
        self.words
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
        let rows = [
            (feature::TSC, CR4_TSD),
            (feature::DE, CR4_DE),
            (feature::PSE, CR4_PSE),
            (feature::PAE, CR4_PAE),
            (feature::MCE, CR4_MCE),
            (feature::PGE, CR4_PGE),
            (feature::FXSR, CR4_OSFXSR),
            (feature::SSE, CR4_OSXMMEXCPT),
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
        rows.iter().filter(|r| self.has(r.0)).fold(CR4_PCE, |bits, r| bits | r.1)
    }

    /// Bits of EFER that may be set.
    pub fn efer_bits(&self) -> u64 {
        use crate::control::*;
        let rows = [
            (feature::SYSCALL, EFER_SCE),
            (feature::LM, EFER_LME | EFER_LMA),
            (feature::NX, EFER_NXE),
        ];
        rows.iter().filter(|r| self.has(r.0)).fold(0, |bits, r| bits | r.1)
    }
}
