//! The common part of the freestanding programs: the hypervisor, its embedded guests, the bench's
//! guest. Nothing here knows a program's interface to another, so that two programs which must
//! agree on one cannot take it from a common source.
//!
//! Reading order: [`entry!`] (the first instructions), [`descriptors`] (gates and the TSS),
//! [`cpu`] (ports and registers), [`heap`], [`serial`]. The C memory functions that compiled code
//! calls are there with the feature `bare`: a program with a C library has its own.
#![cfg_attr(not(test), no_std)]

#[cfg(feature = "bare")]
mod c_memory;
pub mod cpu;
pub mod descriptors;
mod entry;
pub mod heap;
pub mod serial;
