//! CPU models: CPUID and MSR tables.

use serde::{Deserialize, Serialize};

/// A CPU model.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Model {
    /// Physical-address width in bits.
    pub maxphys: u8,
}

impl Default for Model {
    fn default() -> Self {
        Model { maxphys: 40 }
    }
}

impl Model {
    /// Whether 1 GiB pages exist.
    pub fn gib_pages(&self) -> bool {
        true
    }
}
