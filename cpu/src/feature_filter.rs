//! Instruction forms that a model lacks: what CPUID does not show raises #UD, or is what it was before
//! the feature came. Decided when code is decoded, at no cost to what runs.

use crate::feature::{self, FEATURES, Feature, REGISTERS};
use crate::model::Model;
use crate::state::CodeMode;
use iced_x86::{Code, CpuidFeature, DecoderOptions, Instruction};

/// Hints: where the feature is missing, they do nothing.
fn is_hint(code: Code) -> bool {
    use Code::*;
    matches!(
        code,
        Prefetchnta_m8 | Prefetcht0_m8 | Prefetcht1_m8 | Prefetcht2_m8 | Prefetchw_m8 | Pause
    )
}

/// What a model lacks.
pub struct FeatureFilter {
    words: [u32; REGISTERS],
    /// A bit for each of the decoder's codes.
    absent: Vec<u64>,
    /// LAHF and SAHF in 64-bit mode.
    lahf: bool,
    /// Options of the decoder: LZCNT and TZCNT were BSR and BSF with a prefix.
    pub options: u32,
}

impl Default for FeatureFilter {
    fn default() -> FeatureFilter {
        FeatureFilter::new(&Model::default())
    }
}

impl FeatureFilter {
    /// The filter of `model`.
    pub fn new(model: &Model) -> FeatureFilter {
        let lacks = |f: Feature| !model.has(f);
        let missing = FEATURES.iter().filter(|r| lacks(r.feature));
        let gated: Vec<CpuidFeature> = missing.flat_map(|r| r.decoder).copied().collect();
        let mut absent = vec![0; Code::values().len().div_ceil(64)];
        for code in Code::values() {
            let missing = code.cpuid_features().iter().any(|f| gated.contains(f));
            if missing && !is_hint(code) {
                absent[code as usize / 64] |= 1 << (code as usize % 64);
            }
        }
        let option = |f: Feature, o: u32| if lacks(f) { o } else { 0 };
        let options = option(feature::BMI1, DecoderOptions::NO_MPFX_0FBC)
            | option(feature::LZCNT, DecoderOptions::NO_MPFX_0FBD);
        let lahf = !lacks(feature::LAHF_LM);
        FeatureFilter { words: model.words(), absent, lahf, options }
    }

    /// Whether this is the filter of `model`.
    pub fn is_of(&self, model: &Model) -> bool {
        self.words == model.words()
    }

    /// Makes `i` what it is on this model: undefined, if it is missing.
    pub fn apply(&self, mode: CodeMode, i: &mut Instruction) {
        let code = i.code() as usize;
        let long = mode == CodeMode::Bits64 && !self.lahf;
        let lahf = long && matches!(i.code(), Code::Lahf | Code::Sahf);
        if self.absent[code / 64] >> (code % 64) & 1 != 0 || lahf {
            i.set_code(Code::INVALID);
        }
    }
}
