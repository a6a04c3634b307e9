//! PCI: configuration space and how it is reached, base address registers, message-signalled
//! interrupts, and the functions of bus 0, one a file.
//!
//! Reading order: [`config`], [`bar`], [`function`], [`bus`], [`msi`], [`msix`], then the functions.
//! PCI Local Bus Specification 3.0.

pub mod bar;
pub mod bus;
pub mod config;
pub mod edu;
pub mod function;
pub mod host_bridge;
pub mod lpc_bridge;
pub mod msi;
pub mod msix;

/// Devices that a bus has room for.
pub const DEVICES: u32 = 32;
