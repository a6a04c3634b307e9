//! The bundled type-1 hypervisor: a Xen-HVM-like host for dom0 and domUs, as a library whose logic
//! runs (and is tested) anywhere, and three freestanding programs built with the feature `bare`.
#![cfg_attr(not(test), no_std)]

extern crate alloc;

#[cfg(feature = "bare")]
pub mod bare;
pub mod boot;
pub mod ept;
pub mod phys;
pub mod vmx;
pub mod words;
pub mod xen;
