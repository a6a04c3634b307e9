//! The CPU features, a row each: place in CPUID, QEMU's name, first model, the decoder's features that it
//! gates and where coverage counts them, the control-register bits that it allows.
//!
//! A new feature is a row here and the lines of its forms in [`crate::isa`]. What CPUID shows, `-cpu`,
//! [`crate::feature_filter`], the bits of CR4 and EFER and the table of coverage follow.

use crate::state::control::*;
use iced_x86::CpuidFeature;
use serde::{Deserialize, Serialize};

/// The registers that feature bits stand in.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[expect(missing_docs, reason = "leaf and register")]
pub enum CpuidRegister {
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

/// Number of [`CpuidRegister`]s.
pub(crate) const REGISTERS: usize = CpuidRegister::E7Edx as usize + 1;

/// A feature bit.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Feature(pub CpuidRegister, pub u8);

impl Feature {
    /// The bit in its register.
    pub const fn mask(self) -> u32 {
        1 << self.1
    }
}

/// The models. Each has all features of the one before.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug, Serialize, Deserialize)]
pub enum ModelName {
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
    /// No model: a processor has the feature only on request.
    OnRequest,
}

impl ModelName {
    /// The names that a user may give.
    pub const ALL: &[(&str, ModelName)] = &[
        ("default", ModelName::Default),
        ("v3", ModelName::V3),
        ("v2", ModelName::V2),
        ("v1", ModelName::V1),
        ("min32", ModelName::Min32),
    ];
}

/// All that is known of a feature.
#[derive(Clone, Copy, Debug)]
pub struct FeatureInfo {
    /// Place of the feature's bit.
    pub feature: Feature,
    /// QEMU's name.
    pub name: &'static str,
    /// The first model that has the feature.
    pub first: ModelName,
    /// The decoder's features that are undefined without this one.
    pub decoder: &'static [CpuidFeature],
    /// The group that coverage counts their forms in.
    pub group: Option<Group>,
}

/// Rows of [`FEATURES`]: `CONSTANT = register bit, "QEMU's name", first model`, then
/// `=> group [decoder's features]`, `cr4 [bits]`, `efer [bits]` where there are such.
macro_rules! features {
    ($($name:ident = $register:ident $bit:literal, $qemu:literal, $first:ident
        $(=> $group:ident [$($decoder:ident)+])?
        $(, cr4 [$($cr4:ident)+])?
        $(, efer [$($efer:ident)+])?;)*) => {
        $(#[doc = concat!("`", $qemu, "` is QEMU's name.")]
        pub const $name: Feature = Feature(CpuidRegister::$register, $bit);)*

        /// All features that some processor may have.
        pub const FEATURES: &[FeatureInfo] = &[$(FeatureInfo {
            feature: $name,
            name: $qemu,
            first: ModelName::$first,
            decoder: &[$($(CpuidFeature::$decoder),+)?],
            group: features!(@group $($group)?),
        }),*];

        /// The bits of CR4 that may be set with a feature.
        pub(crate) const CR4_BITS: &[(Feature, u64)] = &[$($(($name, 0 $(| $cr4)+),)?)*];

        /// The bits of EFER that may be set with a feature.
        pub(crate) const EFER_BITS: &[(Feature, u64)] = &[$($(($name, 0 $(| $efer)+),)?)*];
    };
    (@group) => { None };
    (@group $group:ident) => { Some(Group::$group) };
}

#[rustfmt::skip]
features! {
    FPU = L1Edx 0, "fpu", Min32 => X87 [FPU FPU287 FPU387];
    VME = L1Edx 1, "vme", Min32, cr4 [CR4_VME CR4_PVI];
    DE = L1Edx 2, "de", Min32, cr4 [CR4_DE];
    PSE = L1Edx 3, "pse", Min32, cr4 [CR4_PSE];
    TSC = L1Edx 4, "tsc", Min32 => Pentium [TSC], cr4 [CR4_TSD];
    MSR = L1Edx 5, "msr", Min32 => Pentium [MSR];
    PAE = L1Edx 6, "pae", Min32, cr4 [CR4_PAE];
    MCE = L1Edx 7, "mce", V1, cr4 [CR4_MCE];
    CX8 = L1Edx 8, "cx8", Min32 => Pentium [CX8];
    APIC = L1Edx 9, "apic", Min32;
    SEP = L1Edx 11, "sep", Min32 => Pentium [SEP];
    MTRR = L1Edx 12, "mtrr", Min32;
    PGE = L1Edx 13, "pge", Min32, cr4 [CR4_PGE];
    MCA = L1Edx 14, "mca", V1;
    CMOV = L1Edx 15, "cmov", Min32 => Pentium [CMOV];
    PAT = L1Edx 16, "pat", Min32;
    PSE36 = L1Edx 17, "pse36", Min32;
    CLFSH = L1Edx 19, "clflush", V1 => CacheLines [CLFSH];
    MMX = L1Edx 23, "mmx", V1 => Mmx [MMX];
    FXSR = L1Edx 24, "fxsr", V1 => Fxsr [FXSR], cr4 [CR4_OSFXSR];
    SSE = L1Edx 25, "sse", V1 => Sse [SSE], cr4 [CR4_OSXMMEXCPT];
    SSE2 = L1Edx 26, "sse2", V1 => Sse2 [SSE2];
    SSE3 = L1Ecx 0, "pni", V2 => Sse3 [SSE3];
    PCLMULQDQ = L1Ecx 1, "pclmulqdq", Default => Pclmulqdq [PCLMULQDQ];
    MONITOR = L1Ecx 3, "monitor", OnRequest => Waiting [MONITOR];
    VMX = L1Ecx 5, "vmx", Default => Vmx [VMX INVEPT INVVPID], cr4 [CR4_VMXE];
    SSSE3 = L1Ecx 9, "ssse3", V2 => Ssse3 [SSSE3];
    FMA = L1Ecx 12, "fma", V3 => Fma [FMA];
    CX16 = L1Ecx 13, "cx16", V2 => WideMoves [CMPXCHG16B];
    PCID = L1Ecx 17, "pcid", Default, cr4 [CR4_PCIDE];
    SSE4_1 = L1Ecx 19, "sse4.1", V2 => Sse41 [SSE4_1];
    SSE4_2 = L1Ecx 20, "sse4.2", V2 => Sse42 [SSE4_2];
    X2APIC = L1Ecx 21, "x2apic", V2;
    MOVBE = L1Ecx 22, "movbe", Default => WideMoves [MOVBE];
    POPCNT = L1Ecx 23, "popcnt", V2 => Counts [POPCNT];
    TSC_DEADLINE = L1Ecx 24, "tsc-deadline", V2;
    AES = L1Ecx 25, "aes", Default => Aes [AES];
    XSAVE = L1Ecx 26, "xsave", V2 => Xsave [XSAVE], cr4 [CR4_OSXSAVE];
    AVX = L1Ecx 28, "avx", V3 => Avx [AVX];
    F16C = L1Ecx 29, "f16c", V3 => F16c [F16C];
    RDRAND = L1Ecx 30, "rdrand", Default => Random [RDRAND];
    ARAT = L6Eax 2, "arat", V1;
    FSGSBASE = L7Ebx 0, "fsgsbase", Default => Supervisor [FSGSBASE], cr4 [CR4_FSGSBASE];
    TSC_ADJUST = L7Ebx 1, "tsc-adjust", Default;
    BMI1 = L7Ebx 3, "bmi1", Default => Bits [BMI1];
    AVX2 = L7Ebx 5, "avx2", V3 => Avx2 [AVX2];
    SMEP = L7Ebx 7, "smep", Default, cr4 [CR4_SMEP];
    BMI2 = L7Ebx 8, "bmi2", Default => Bits [BMI2];
    ERMS = L7Ebx 9, "erms", V2;
    INVPCID = L7Ebx 10, "invpcid", Default => Supervisor [INVPCID];
    ZERO_FCS_FDS = L7Ebx 13, "zero-fcs-fds", Min32;
    RDSEED = L7Ebx 18, "rdseed", Default => Random [RDSEED];
    ADX = L7Ebx 19, "adx", Default => Bits [ADX];
    SMAP = L7Ebx 20, "smap", V3 => Supervisor [SMAP], cr4 [CR4_SMAP];
    CLFLUSHOPT = L7Ebx 23, "clflushopt", Default => CacheLines [CLFLUSHOPT];
    CLWB = L7Ebx 24, "clwb", Default => CacheLines [CLWB];
    SHA = L7Ebx 29, "sha-ni", Default => Sha [SHA];
    UMIP = L7Ecx 2, "umip", Default, cr4 [CR4_UMIP];
    VAES = L7Ecx 9, "vaes", V3 => Aes [VAES];
    VPCLMULQDQ = L7Ecx 10, "vpclmulqdq", V3 => Pclmulqdq [VPCLMULQDQ];
    RDPID = L7Ecx 22, "rdpid", Default => Random [RDPID];
    MOVDIRI = L7Ecx 27, "movdiri", OnRequest => DirectStores [MOVDIRI];
    MOVDIR64B = L7Ecx 28, "movdir64b", OnRequest => DirectStores [MOVDIR64B];
    FSRM = L7Edx 4, "fsrm", V2;
    SERIALIZE = L7Edx 14, "serialize", Default => Waiting [SERIALIZE];
    ARCH_CAPABILITIES = L7Edx 29, "arch-capabilities", V1;
    XSAVEOPT = LDEax 0, "xsaveopt", Default => Xsave [XSAVEOPT];
    XSAVEC = LDEax 1, "xsavec", Default => Xsave [XSAVEC];
    XGETBV1 = LDEax 2, "xgetbv1", Default;
    XSAVES = LDEax 3, "xsaves", Default => Xsave [XSAVES];
    LAHF_LM = E1Ecx 0, "lahf-lm", V1;
    LZCNT = E1Ecx 5, "abm", Default => Counts [LZCNT];
    PREFETCHW = E1Ecx 8, "3dnowprefetch", V1;
    SYSCALL = E1Edx 11, "syscall", V1 => X64 [SYSCALL], efer [EFER_SCE];
    NX = E1Edx 20, "nx", V1, efer [EFER_NXE];
    GIB_PAGES = E1Edx 26, "pdpe1gb", Default;
    RDTSCP = E1Edx 27, "rdtscp", V2 => X64 [RDTSCP];
    LM = E1Edx 29, "lm", V1, efer [EFER_LME EFER_LMA];
    INVTSC = E7Edx 8, "invtsc", V1;
}

/// Rows of [`GROUPS`]: `Group = "name"`, then the decoder's features that are in every processor.
macro_rules! groups {
    ($($group:ident = $name:literal $([$($decoder:ident)+])?;)*) => {
        /// Groups of forms that coverage counts together, old to new.
        #[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
        #[expect(missing_docs, reason = "the names stand in the table")]
        pub enum Group { $($group),* }

        /// The name of each group, and the decoder's features in it that no bit of CPUID gates.
        pub const GROUPS: &[(&str, &[CpuidFeature])] =
            &[$(($name, &[$($(CpuidFeature::$decoder),+)?])),*];
    };
}

#[rustfmt::skip]
groups! {
    Intel8086 = "8086, 186, 286" [INTEL8086 INTEL8086_ONLY INTEL186 INTEL286 INTEL286_ONLY];
    Intel386 = "386, 486" [INTEL386 INTEL386_ONLY INTEL486 INTEL486_A_ONLY];
    Pentium = "Pentium, Pentium Pro" [CPUID RDPMC SMM MULTIBYTENOP PAUSE];
    X64 = "x86-64" [X64];
    X87 = "x87" [FPU287XL_ONLY FPU387SL_ONLY];
    Mmx = "MMX";
    Fxsr = "FXSR";
    Sse = "SSE";
    Sse2 = "SSE2";
    Sse3 = "SSE3";
    Ssse3 = "SSSE3";
    Sse41 = "SSE4.1";
    Sse42 = "SSE4.2";
    Counts = "POPCNT, LZCNT";
    Bits = "BMI1, BMI2, ADX";
    WideMoves = "MOVBE, CX16";
    Avx = "AVX";
    Avx2 = "AVX2";
    Fma = "FMA";
    F16c = "F16C";
    Aes = "AES-NI, VAES";
    Pclmulqdq = "PCLMULQDQ, VPCLMULQDQ";
    Sha = "SHA";
    Xsave = "XSAVE, OPT, C, S";
    CacheLines = "CLFSH, CLFLUSHOPT, CLWB, PREFETCHW" [PREFETCHW CLDEMOTE];
    Random = "RDRAND, RDSEED, RDPID";
    Supervisor = "FSGSBASE, INVPCID, SMAP";
    Waiting = "MONITOR, SERIALIZE";
    DirectStores = "MOVDIRI, MOVDIR64B";
    Vmx = "VMX";
}

/// The group that a feature of the decoder counts in, if a processor of ours may have the feature.
pub fn group(f: CpuidFeature) -> Option<usize> {
    let row = FEATURES.iter().find(|r| r.decoder.contains(&f));
    let always = || GROUPS.iter().position(|g| g.1.contains(&f));
    row.and_then(|r| r.group).map(|g| g as usize).or_else(always)
}

/// The decoder's features that no processor of ours has, with the reason.
#[rustfmt::skip]
pub const LEFT_OUT: &[(&str, &[CpuidFeature])] = {
    use CpuidFeature::*;
    &[
        ("steppings that were withdrawn, other decoders of old opcodes",
            &[INTEL386_A0_ONLY, UMOV, IA64, MOV_TR, UDBG]),
        ("AVX-512: above x86-64-v3", &[
            AVX512_4FMAPS, AVX512_4VNNIW, AVX512_BF16, AVX512_BITALG, AVX512_IFMA, AVX512_VBMI,
            AVX512_VBMI2, AVX512_VNNI, AVX512_VP2INTERSECT, AVX512_VPOPCNTDQ, AVX512BW, AVX512CD,
            AVX512DQ, AVX512ER, AVX512F, AVX512PF, AVX512VL, AVX512_FP16, KNC, PREFETCHWT1]),
        ("AMX: above x86-64-v3", &[AMX_BF16, AMX_TILE, AMX_INT8, AMX_FP16, AMX_COMPLEX]),
        ("vector extensions above x86-64-v3", &[
            GFNI, AVX_VNNI, AVX_IFMA, AVX_NE_CONVERT, AVX_VNNI_INT8, AVX_VNNI_INT16, SHA512, SM3, SM4]),
        ("AMD's", &[
            D3NOW, D3NOWEXT, FMA4, LWP, XOP, TBM, SSE4A, SVM, SKINIT, SKINIT_or_SVM, SEV_ES, SEV_SNP,
            CLZERO, MCOMMIT, MONITORX, OSS, RDPRU, INVLPGB, RMPQUERY]),
        ("Cyrix', Geode's, Centaur's, VIA's", &[
            CYRIX_D3NOW, CYRIX_FPU, CYRIX_SMM, CYRIX_SMINT, CYRIX_SMINT_0F7E, CYRIX_SHR, CYRIX_DDI,
            CYRIX_EMMI, CYRIX_DMI, CENTAUR_AIS, PADLOCK_ACE, PADLOCK_PHE, PADLOCK_PMM, PADLOCK_RNG,
            PADLOCK_GMI, PADLOCK_UNDOC]),
        ("transactions", &[HLE, HLE_or_RTM, RTM, TSXLDTRK]),
        ("no control-flow enforcement: ENDBR and RDSSP do nothing, the others are undefined",
            &[CET_IBT, CET_SS]),
        ("bounds registers, withdrawn by Intel", &[MPX]),
        ("enclaves, trusted execution, key locker", &[SGX1, SMX, TDX, KL, AESKLE, WIDE_KL, TSE, PCONFIG]),
        ("newer than our models", &[
            CL1INVMB, ENQCMD, PCOMMIT, PKU, PTWRITE, WAITPKG, WBNOINVD, UINTR,
            HRESET, FRED, LKGS, RAO_INT, PREFETCHITI, CMPCCXADD, MSRLIST, WRMSRNS]),
    ]
};

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_feature_of_the_decoder_stands_once() {
        let rows = FEATURES.iter().flat_map(|r| r.decoder);
        let named: Vec<_> = rows.chain(GROUPS.iter().chain(LEFT_OUT).flat_map(|g| g.1)).collect();
        for f in CpuidFeature::values() {
            let n = named.iter().filter(|n| ***n == f).count();
            assert_eq!(n, 1, "{f:?}");
        }
    }

    #[test]
    fn every_bit_stands_once() {
        for r in FEATURES {
            assert_eq!(FEATURES.iter().filter(|s| s.feature == r.feature).count(), 1, "{}", r.name);
        }
    }
}
