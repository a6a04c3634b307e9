//! x87, MMX, SSE: arithmetic on the state in [`crate::state::fpu`].
//!
//! Reading order: [`soft`] (exact arithmetic on any binary format), [`simd`] (SSE's rules on top),
//! [`host`] and `integers` (what the host may do instead),
//! [`x87`] (the register stack), [`extended`] (its fast arithmetic), [`transcendental`].
//! The instructions are in [`crate::isa`].

pub mod extended;
pub mod host;
#[cfg(target_arch = "x86_64")]
pub mod integers;
pub mod lanes;
pub mod simd;
pub mod soft;
pub mod transcendental;
pub mod x87;
