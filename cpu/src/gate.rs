//! Instruction forms that a model lacks: what CPUID does not show raises #UD, or is what it was before
//! the feature came. Decided when code is decoded, at no cost to what runs.

use crate::model::{Feature, Model, WORDS, feature};
use crate::state::CodeMode;
use iced_x86::{Code, CpuidFeature, DecoderOptions, Instruction};

/// The bit that each of the decoder's features stands for. What has none is in every model.
fn bit(f: CpuidFeature) -> Option<Feature> {
    use feature as b;
    Some(match f {
        CpuidFeature::ADX => b::ADX,
        CpuidFeature::AES => b::AES,
        CpuidFeature::AVX => b::AVX,
        CpuidFeature::AVX2 => b::AVX2,
        CpuidFeature::BMI1 => b::BMI1,
        CpuidFeature::BMI2 => b::BMI2,
        CpuidFeature::CLFLUSHOPT => b::CLFLUSHOPT,
        CpuidFeature::CLFSH => b::CLFSH,
        CpuidFeature::CLWB => b::CLWB,
        CpuidFeature::CMOV => b::CMOV,
        CpuidFeature::CMPXCHG16B => b::CX16,
        CpuidFeature::CX8 => b::CX8,
        CpuidFeature::F16C => b::F16C,
        CpuidFeature::FMA => b::FMA,
        CpuidFeature::FPU | CpuidFeature::FPU287 | CpuidFeature::FPU387 => b::FPU,
        CpuidFeature::FSGSBASE => b::FSGSBASE,
        CpuidFeature::FXSR => b::FXSR,
        CpuidFeature::INVPCID => b::INVPCID,
        CpuidFeature::LZCNT => b::LZCNT,
        CpuidFeature::MMX => b::MMX,
        CpuidFeature::MONITOR => b::MONITOR,
        CpuidFeature::MOVBE => b::MOVBE,
        CpuidFeature::MSR => b::MSR,
        CpuidFeature::PCLMULQDQ => b::PCLMULQDQ,
        CpuidFeature::POPCNT => b::POPCNT,
        CpuidFeature::RDPID => b::RDPID,
        CpuidFeature::RDRAND => b::RDRAND,
        CpuidFeature::RDSEED => b::RDSEED,
        CpuidFeature::RDTSCP => b::RDTSCP,
        CpuidFeature::SEP => b::SEP,
        CpuidFeature::SERIALIZE => b::SERIALIZE,
        CpuidFeature::SHA => b::SHA,
        CpuidFeature::SMAP => b::SMAP,
        CpuidFeature::SSE => b::SSE,
        CpuidFeature::SSE2 => b::SSE2,
        CpuidFeature::SSE3 => b::SSE3,
        CpuidFeature::SSE4_1 => b::SSE4_1,
        CpuidFeature::SSE4_2 => b::SSE4_2,
        CpuidFeature::SSSE3 => b::SSSE3,
        CpuidFeature::SYSCALL => b::SYSCALL,
        CpuidFeature::TSC => b::TSC,
        CpuidFeature::VAES => b::VAES,
        CpuidFeature::VPCLMULQDQ => b::VPCLMULQDQ,
        CpuidFeature::VMX | CpuidFeature::INVEPT | CpuidFeature::INVVPID => b::VMX,
        CpuidFeature::XSAVE => b::XSAVE,
        CpuidFeature::XSAVEC => b::XSAVEC,
        CpuidFeature::XSAVEOPT => b::XSAVEOPT,
        CpuidFeature::XSAVES => b::XSAVES,
        _ => return None,
    })
}

/// Hints: where the feature is missing, they do nothing.
fn is_hint(code: Code) -> bool {
    use Code::*;
    matches!(
        code,
        Prefetchnta_m8 | Prefetcht0_m8 | Prefetcht1_m8 | Prefetcht2_m8 | Prefetchw_m8 | Pause
    )
}

/// What a model lacks.
pub struct Gate {
    words: [u32; WORDS],
    /// A bit for each of the decoder's codes.
    absent: Vec<u64>,
    /// LAHF and SAHF in 64-bit mode.
    lahf: bool,
    /// Options of the decoder: LZCNT and TZCNT were BSR and BSF with a prefix.
    pub options: u32,
}

impl Default for Gate {
    fn default() -> Gate {
        Gate::new(&Model::default())
    }
}

impl Gate {
    /// The gate of `model`.
    pub fn new(model: &Model) -> Gate {
        let lacks = |f: Feature| !model.has(f);
        let mut absent = vec![0; Code::values().len().div_ceil(64)];
        for code in Code::values() {
            let missing = code.cpuid_features().iter().any(|f| bit(*f).is_some_and(lacks));
            if missing && !is_hint(code) {
                absent[code as usize / 64] |= 1 << (code as usize % 64);
            }
        }
        let option = |f: Feature, o: u32| if lacks(f) { o } else { 0 };
        let options = option(feature::BMI1, DecoderOptions::NO_MPFX_0FBC)
            | option(feature::LZCNT, DecoderOptions::NO_MPFX_0FBD);
        let lahf = !lacks(feature::LAHF_LM);
        Gate { words: model.words(), absent, lahf, options }
    }

    /// Whether this is the gate of `model`.
    pub fn is_of(&self, model: &Model) -> bool {
        self.words == model.words()
    }

    /// Makes `i` what it is on this model: undefined, if it is missing.
    pub fn pass(&self, mode: CodeMode, i: &mut Instruction) {
        let code = i.code() as usize;
        let long = mode == CodeMode::Bits64 && !self.lahf;
        let lahf = long && matches!(i.code(), Code::Lahf | Code::Sahf);
        if self.absent[code / 64] >> (code % 64) & 1 != 0 || lahf {
            i.set_code(Code::INVALID);
        }
    }
}
