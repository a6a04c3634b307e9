//! x87, MMX, SSE state.

use serde::{Deserialize, Serialize};

/// Floating-point and vector state.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Fpu {
    /// XMM registers (YMM upper halves follow when AVX comes).
    pub xmm: [u128; 16],
}
