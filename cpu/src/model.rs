//! CPU models: which of the [`FEATURES`] a processor has.

use crate::feature::{
    self, CR4_BITS, CpuidRegister, EFER_BITS, FEATURES, Feature, ModelName, REGISTERS,
};
use crate::state::control::CR4_PCE;
use serde::{Deserialize, Serialize};

/// A CPU model.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Model {
    /// Name of the model.
    pub name: ModelName,
    /// Physical-address width in bits.
    pub maxphys: u8,
    /// Processors in the package.
    pub processors: u32,
    words: [u32; REGISTERS],
}

impl Default for Model {
    fn default() -> Self {
        Model::new(ModelName::Default)
    }
}

impl Model {
    /// The model of this name.
    pub fn new(name: ModelName) -> Model {
        let maxphys = if name == ModelName::Min32 { 36 } else { 40 };
        let mut model = Model { name, maxphys, processors: 1, words: [0; REGISTERS] };
        FEATURES.iter().filter(|r| r.first <= name).for_each(|r| model.set(r.feature, true));
        model
    }

    /// The model that the user calls `name`.
    pub fn named(name: &str) -> Option<Model> {
        let row = ModelName::ALL.iter().find(|row| row.0 == name)?;
        Some(Model::new(row.1))
    }

    /// Switches a feature.
    pub fn set(&mut self, f: Feature, on: bool) {
        let word = &mut self.words[f.0 as usize];
        *word = if on { *word | f.mask() } else { *word & !f.mask() };
    }

    /// All feature bits.
    pub(crate) fn words(&self) -> [u32; REGISTERS] {
        self.words
    }

    /// Feature bits of one register.
    pub fn word(&self, register: CpuidRegister) -> u32 {
        self.words[register as usize]
    }

    /// Whether the model has a feature.
    pub fn has(&self, f: Feature) -> bool {
        self.words[f.0 as usize] & f.mask() != 0
    }

    /// Whether 1 GiB pages exist.
    pub fn gib_pages(&self) -> bool {
        self.has(feature::GIB_PAGES)
    }

    /// Bits of CR4 that may be set.
    pub fn cr4_bits(&self) -> u64 {
        CR4_PCE | self.allowed(CR4_BITS)
    }

    /// Bits of EFER that may be set.
    pub fn efer_bits(&self) -> u64 {
        self.allowed(EFER_BITS)
    }

    fn allowed(&self, bits: &[(Feature, u64)]) -> u64 {
        bits.iter().filter(|b| self.has(b.0)).fold(0, |all, b| all | b.1)
    }
}
