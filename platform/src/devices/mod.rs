//! The devices of the PC, one a file.

pub mod acpi_pm;
pub mod fsb;
pub mod fw_cfg;
pub mod hpet;
pub mod i8042;
pub mod ioapic;
mod keyboard;
pub mod misc;
pub mod pci;
pub mod pic;
pub mod pit;
pub mod pvpanic;
pub mod rtc;
pub mod smi;
pub mod testdev;
pub mod text_display;
pub mod uart;
