//! What firmware leaves in low memory beside the ACPI tables: interrupt vectors with services behind them,
//! the BIOS data area, the multiprocessor tables.
//!
//! Reading order: `data_area`, `rom` (where the services lie, and the vectors), `services` (their code),
//! `mp`. What firmware leaves in the chips is `Board::hand_over`, in the processors `Cpu::hand_over`.

mod data_area;
mod mp;
mod rom;
mod services;

use crate::{
    boot::{GuestMemory, MemoryError},
    memory_map::{EBDA_BASE, MemoryMap},
};

pub use mp::MP_ADDRESS;
pub use rom::ROM_BASE;

/// The processors, as the multiprocessor tables tell of them.
#[derive(Clone, Copy, Debug)]
pub struct Processors {
    /// How many; their APIC IDs count from 0.
    pub count: u8,
    /// CPUID leaf 1, EAX.
    pub signature: u32,
    /// CPUID leaf 1, EDX.
    pub features: u32,
    /// Version of the local APICs.
    pub apic_version: u8,
}

/// Writes all of it for a machine that was switched on at `start`, in seconds since 1970.
pub fn install(
    map: &MemoryMap,
    processors: &Processors,
    start: u64,
    memory: &mut dyn GuestMemory,
) -> Result<(), MemoryError> {
    let (rom, vectors) = rom::image(map);
    memory.write(0, &vectors)?;
    memory.write(data_area::ADDRESS, &data_area::content(start))?;
    memory.write(EBDA_BASE, &data_area::EXTENDED)?;
    memory.write(ROM_BASE, &rom)?;
    memory.write(MP_ADDRESS, &mp::tables(processors))
}
