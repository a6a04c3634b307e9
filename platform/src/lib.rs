//! The machine around the processor: devices, board, time, ACPI tables, boot loaders.
//!
//! Reading order: [`time`], [`device`], [`output`], [`devices`], [`board`], [`memory_map`], [`acpi`], [`boot`],
//! [`machine`], [`snapshot`], [`recording`], [`timeline`]; `examples/boot.rs` uses it all.
//!
//! Invariants: a device knows no address, bus, clock, thread or other device; its outputs are levels
//! that the board samples after every access and at every deadline. Time is the count of retired
//! instructions. Nothing here names the `cpu` crate but the machine module.
//!
//! [`firmware`] is what a kernel finds in low memory beside the tables of [`acpi`].

pub mod acpi;
pub mod board;
pub mod boot;
pub mod device;
pub mod devices;
pub mod firmware;
pub mod machine;
pub mod memory_map;
pub mod output;
pub mod recording;
pub mod snapshot;
pub mod time;
pub mod timeline;
