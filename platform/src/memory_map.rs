//! The physical address map of the machine, as the boot protocols' memory maps state it.

use serde::{Deserialize, Serialize};

/// Base of the PCI configuration space in memory (MCFG).
pub const ECAM_BASE: u64 = 0xb000_0000;
/// Size of the PCI configuration space in memory: 256 buses.
pub const ECAM_SIZE: u64 = 256 << 20;
/// First address of memory above the hole that ends at 4 GiB.
pub const HIGH_BASE: u64 = 1 << 32;
/// Base of the IOAPIC.
pub const IOAPIC_BASE: u64 = 0xfec0_0000;
/// Base of the HPET.
pub const HPET_BASE: u64 = 0xfed0_0000;
/// Reset value of the local APICs' base.
pub const LAPIC_BASE: u64 = 0xfee0_0000;
/// End of conventional memory: the last KiB below 640 KiB is the extended BIOS data area.
pub const EBDA_BASE: u64 = 0x9_fc00;
/// KiB of conventional memory.
pub const LOWER_KIB: u32 = (EBDA_BASE >> 10) as u32;
/// Base of the text display's page.
pub const TEXT_BASE: u64 = 0xb_8000;
/// Start of the area in which firmware's tables are searched.
pub const BIOS_BASE: u64 = 0xe_0000;
/// Start of extended memory.
pub const EXTENDED_BASE: u64 = 0x10_0000;
/// Bytes at the top of low memory that hold the ACPI tables.
pub const ACPI_SIZE: u64 = 128 << 10;
/// The smallest machine that the direct boot protocols serve.
pub const MIN_MEMORY: u64 = 4 << 20;

const FIRST_LOW_END: u64 = ECAM_BASE;
const VIDEO_BASE: u64 = 0xa_0000;
/// Size of the reserved area of the IOAPIC, the HPET and the local APICs each.
const CHIP_SIZE: u64 = 0x1000;

/// The kind of a range, with its number in the BIOS interface INT 15h, AX=E820h.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[repr(u32)]
pub enum Kind {
    /// Free memory.
    Ram = 1,
    /// Not to be used.
    Reserved = 2,
    /// ACPI tables; free once they have been read.
    AcpiData = 3,
    /// Memory that ACPI uses.
    AcpiNvs = 4,
}

/// One range of physical addresses.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Range {
    /// First address.
    pub base: u64,
    /// Length in bytes.
    pub size: u64,
    /// Use of the range.
    pub kind: Kind,
}

/// The memory of a machine.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct MemoryMap {
    /// Bytes of memory from address 0.
    pub low: u64,
    /// Bytes of memory from 4 GiB.
    pub high: u64,
}

impl MemoryMap {
    /// The map of a machine with `size` bytes, rounded down to pages: what does not fit below the
    /// PCI configuration space is found above 4 GiB.
    #[must_use]
    pub fn new(size: u64) -> Self {
        let size = size & !0xfff;
        let low = size.min(FIRST_LOW_END);
        Self { low, high: size - low }
    }

    /// First address of the ACPI tables, above all free low memory.
    #[must_use]
    pub fn acpi_base(&self) -> u64 {
        self.low.saturating_sub(ACPI_SIZE)
    }

    /// KiB of free memory from 1 MiB on, without a gap.
    #[must_use]
    pub fn upper_kib(&self) -> u32 {
        (self.acpi_base().saturating_sub(EXTENDED_BASE) >> 10) as u32
    }

    /// Address of the firmware control structure, in the last page below `low`.
    #[must_use]
    pub fn facs_base(&self) -> u64 {
        self.low.saturating_sub(0x1000)
    }

    /// The ranges in ascending order, without overlaps.
    #[must_use]
    pub fn ranges(&self) -> Vec<Range> {
        let range = |base, end: u64, kind| Range { base, size: end.saturating_sub(base), kind };
        let chip = |base| range(base, base + CHIP_SIZE, Kind::Reserved);
        let mut ranges = vec![
            range(0, EBDA_BASE, Kind::Ram),
            range(EBDA_BASE, VIDEO_BASE, Kind::Reserved),
            range(BIOS_BASE, EXTENDED_BASE, Kind::Reserved),
            range(EXTENDED_BASE, self.acpi_base(), Kind::Ram),
            range(self.acpi_base(), self.facs_base(), Kind::AcpiData),
            range(self.facs_base(), self.low, Kind::AcpiNvs),
            range(ECAM_BASE, ECAM_BASE + ECAM_SIZE, Kind::Reserved),
            chip(IOAPIC_BASE),
            chip(HPET_BASE),
            chip(LAPIC_BASE),
        ];
        if self.high != 0 {
            ranges.push(range(HIGH_BASE, HIGH_BASE.saturating_add(self.high), Kind::Ram));
        }
        ranges
    }
}
