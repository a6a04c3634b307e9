//! Instructions: how the engine runs them, and whether floating-point and vector instructions agree with the host's.

#[path = "../support/mod.rs"]
mod support;

mod assembler;
mod direct_stores;
mod engine;
#[cfg(target_arch = "x86_64")]
mod fp_faults;
#[cfg(target_arch = "x86_64")]
#[path = "../support/native/mod.rs"]
mod native;
#[cfg(target_arch = "x86_64")]
mod sse;
#[cfg(target_arch = "x86_64")]
mod x87;
