//! Which instruction forms are implemented and which have a vector, by CPUID feature.
//!
//! [`Report`] is the table. A form is one of the decoder's codes. It counts where its features are all among [`GROUPS`], in
//! the last group that names one of them. What is left out, and why, stands in [`LEFT_OUT`] (whole
//! features), [`EXCEPTIONS`] (forms that are not implemented) and [`NO_VECTOR`] (forms that silicon
//! in user mode cannot show).

use iced_x86::{Code, CpuidFeature};
use std::collections::BTreeSet;
use std::fmt;

/// A row of the table: its name and the decoder's features that it stands for.
type Group = (&'static str, &'static [CpuidFeature]);

/// The features that a processor of ours has, old to new.
#[rustfmt::skip]
pub const GROUPS: &[Group] = {
    use CpuidFeature::*;
    &[
        ("8086, 186, 286", &[INTEL8086, INTEL8086_ONLY, INTEL186, INTEL286, INTEL286_ONLY]),
        ("386, 486", &[INTEL386, INTEL386_ONLY, INTEL486, INTEL486_A_ONLY]),
        ("Pentium, Pentium Pro", &[CPUID, CX8, MSR, TSC, RDPMC, CMOV, SEP, SMM, MULTIBYTENOP, PAUSE]),
        ("x86-64", &[X64, SYSCALL, RDTSCP]),
        ("x87", &[FPU, FPU287, FPU287XL_ONLY, FPU387, FPU387SL_ONLY]),
        ("MMX", &[MMX]),
        ("FXSR", &[FXSR]),
        ("SSE", &[SSE]),
        ("SSE2", &[SSE2]),
        ("SSE3", &[SSE3]),
        ("SSSE3", &[SSSE3]),
        ("SSE4.1", &[SSE4_1]),
        ("SSE4.2", &[SSE4_2]),
        ("POPCNT, LZCNT", &[POPCNT, LZCNT]),
        ("BMI1, BMI2, ADX", &[BMI1, BMI2, ADX]),
        ("MOVBE, CX16", &[MOVBE, CMPXCHG16B]),
        ("AVX", &[AVX]),
        ("AVX2", &[AVX2]),
        ("FMA", &[FMA]),
        ("F16C", &[F16C]),
        ("AES-NI, VAES", &[AES, VAES]),
        ("PCLMULQDQ, VPCLMULQDQ", &[PCLMULQDQ, VPCLMULQDQ]),
        ("SHA", &[SHA]),
        ("XSAVE, OPT, C, S", &[XSAVE, XSAVEOPT, XSAVEC, XSAVES]),
        ("CLFSH, CLFLUSHOPT, CLWB, PREFETCHW", &[CLFSH, CLFLUSHOPT, CLWB, PREFETCHW, CLDEMOTE]),
        ("RDRAND, RDSEED, RDPID", &[RDRAND, RDSEED, RDPID]),
        ("FSGSBASE, INVPCID, SMAP", &[FSGSBASE, INVPCID, SMAP]),
        ("MONITOR, SERIALIZE", &[MONITOR, SERIALIZE]),
        ("VMX", &[VMX, INVEPT, INVVPID]),
    ]
};

/// Features that no processor of ours has, with the reason.
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
            CL1INVMB, ENQCMD, MOVDIR64B, MOVDIRI, PCOMMIT, PKU, PTWRITE, WAITPKG, WBNOINVD, UINTR,
            HRESET, FRED, LKGS, RAO_INT, PREFETCHITI, CMPCCXADD, MSRLIST, WRMSRNS]),
    ]
};

/// Forms of our features that are not implemented, with the reason.
pub const EXCEPTIONS: &[(Code, &str)] =
    &[(Code::Popw_CS, "the byte 0F begins longer opcodes since the 80286")];

/// Forms that no vector from a process of the host (AMD's, under Linux and KVM) can show, with the
/// reason.
#[rustfmt::skip]
pub const NO_VECTOR: &[(Code, &str)] = {
    use Code::*;
    const KERNEL: &str = "Linux catches UMIP's #GP in 64-bit code and emulates the instruction";
    const SHORT: &str = "AMD has no 64-bit offsets in far pointers";
    const NONE: &str = "AMD has it not: #UD";
    const CALL: &str = "a system call of the host";
    &[
        (Popw_CS, "the byte 0F begins longer opcodes since the 80286"),
        (Sldt_r64m16, KERNEL), (Str_r64m16, KERNEL), (Smsw_r64m16, KERNEL),
        (Sgdt_m1664, KERNEL), (Sidt_m1664, KERNEL),
        (Call_m1664, SHORT), (Jmp_m1664, SHORT), (Lss_r64_m1664, SHORT), (Lfs_r64_m1664, SHORT),
        (Lgs_r64_m1664, SHORT),
        (Reservednop_rm16_r16_0F0D, NONE), (Reservednop_rm32_r32_0F0D, NONE),
        (Reservednop_rm64_r64_0F0D, NONE), (Serialize, NONE),
        (Syscall, CALL), (Sysenter, CALL),
        (Int1, "KVM intercepts its #DB and gives it with another RIP"),
        (Vmcall, "KVM intercepts it and gives another fault"),
    ]
};

/// The forms of one group.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Row {
    /// The group's name.
    pub name: &'static str,
    /// Forms that the decoder knows.
    pub known: usize,
    /// Of these, the ones without a handler.
    pub missing: Vec<Code>,
    /// Of these, the ones without a vector.
    pub bare: Vec<Code>,
}

/// The whole table.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Report(pub Vec<Row>);

/// The group that a form counts in.
pub fn group(code: Code) -> Option<usize> {
    let features = code.cpuid_features();
    let of = |f: &CpuidFeature| GROUPS.iter().position(|g| g.1.contains(f));
    let groups: Option<Vec<usize>> = features.iter().map(of).collect();
    groups?.into_iter().max().filter(|_| counts(code))
}

/// Whether our decoder gives the code for some bytes: data declarations and codes with a WAIT in
/// front are made by assemblers alone, and others by decoders of other processors.
fn counts(code: Code) -> bool {
    let o = code.op_code();
    let intel = o.intel_decoder16() || o.intel_decoder32() || o.intel_decoder64();
    o.is_instruction() && intel && !o.fwait() && o.decoder_option() == 0
}

/// The forms that the committed vectors show.
pub fn covered() -> BTreeSet<Code> {
    crate::oracle::vectors::forms().unwrap_or_default()
}

fn reason(table: &[(Code, &'static str)], code: Code) -> Option<&'static str> {
    table.iter().find(|row| row.0 == code).map(|row| row.1)
}

impl Report {
    /// The table where `covered` are the forms that have a vector.
    pub fn new(covered: &BTreeSet<Code>) -> Report {
        let empty = |g: &Group| Row { name: g.0, known: 0, missing: vec![], bare: vec![] };
        let mut rows: Vec<Row> = GROUPS.iter().map(empty).collect();
        for code in Code::values() {
            let Some(row) = group(code).map(|g| &mut rows[g]) else { continue };
            row.known += 1;
            if !cpu::isa::implemented(code) {
                row.missing.push(code);
            }
            if !covered.contains(&code) {
                row.bare.push(code);
            }
        }
        Report(rows)
    }

    fn sum(&self, of: impl Fn(&Row) -> usize) -> usize {
        self.0.iter().map(of).sum()
    }

    /// Whether every form is implemented or excused, 99 % have a vector, excuses not counted, and those
    /// that have none are excused.
    pub fn complete(&self) -> bool {
        let excused = |t: &[(Code, &'static str)], c: &Code| reason(t, *c).is_some();
        let implemented = |r: &Row| r.missing.iter().all(|c| excused(EXCEPTIONS, c));
        let shown = |r: &Row| r.bare.iter().all(|c| excused(NO_VECTOR, c));
        let (bare, known) = (self.sum(|r| r.bare.len()), self.sum(|r| r.known));
        self.0.iter().all(|r| implemented(r) && shown(r)) && bare * 100 <= known
    }
}

/// A table in Markdown, then what is missing in it, by name.
impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        writeln!(f, "| features | forms | implemented | with a vector |\n|---|---|---|---|")?;
        let mut line = |name: &str, known: usize, missing: usize, bare: usize| {
            writeln!(f, "| {name} | {known} | {} | {} |", known - missing, known - bare)
        };
        for r in &self.0 {
            line(r.name, r.known, r.missing.len(), r.bare.len())?;
        }
        let (missing, bare) = (self.sum(|r| r.missing.len()), self.sum(|r| r.bare.len()));
        line("all", self.sum(|r| r.known), missing, bare)?;
        let known = self.sum(|r| r.known);
        let percent = |n: usize| 100.0 * n as f64 / known as f64;
        writeln!(f)?;
        writeln!(f, "implemented: {:.2} %, {missing} excused", percent(known - missing))?;
        let excused =
            self.sum(|r| r.bare.iter().filter(|c| reason(NO_VECTOR, **c).is_some()).count());
        writeln!(
            f,
            "with a vector: {:.2} %, {excused} of the other {bare} excused",
            percent(known - bare)
        )?;
        let of = |pick: fn(&Row) -> &Vec<Code>| self.0.iter().flat_map(pick);
        for c in of(|r| &r.missing) {
            let why = reason(EXCEPTIONS, *c).unwrap_or("MISSING");
            writeln!(f, "not implemented: {c:?}: {why}")?;
        }
        for c in of(|r| &r.bare) {
            writeln!(f, "no vector: {c:?}: {}", reason(NO_VECTOR, *c).unwrap_or("none yet"))?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_feature_is_ours_or_left_out() {
        let named: Vec<_> = GROUPS.iter().chain(LEFT_OUT).flat_map(|g| g.1).collect();
        for f in CpuidFeature::values() {
            let n = named.iter().filter(|n| ***n == f).count();
            assert_eq!(n, 1, "{f:?}");
        }
    }

    #[test]
    fn every_form_is_implemented_or_excused() {
        let mut all: BTreeSet<Code> = Code::values().collect();
        assert!(Report::new(&all).complete());
        all.remove(&Code::Serialize);
        assert!(Report::new(&all).complete());
        all.remove(&Code::Nopd);
        assert!(!Report::new(&all).complete());
        let mut fewer: BTreeSet<Code> = Code::values().collect();
        fewer.retain(|c| (*c as usize).is_multiple_of(2));
        assert!(!Report::new(&fewer).complete());
    }
}
