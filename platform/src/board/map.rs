//! The board's tables: which device answers at which ports and addresses.

use serde::{Deserialize, Serialize};

use crate::devices::testdev::{LINE_COUNT, MEMORY};
use crate::memory_map::{ECAM_BASE, ECAM_SIZE, HPET_BASE, IOAPIC_BASE};

/// Base port of the ACPI register block.
pub const PM_BASE: u16 = 0xb000;
/// Port of SMI_EN, and behind it SMI_STS.
const SMI_EN: u16 = PM_BASE + 0x30;
/// The system control interrupt's line.
pub const SCI_IRQ: u8 = 9;
/// Ports and interrupt lines of COM1 and COM2.
pub const COM: [(u16, u8); 2] = [(0x3f8, 4), (0x2f8, 3)];

/// Names a device of the board.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) enum Id {
    AcpiPm,
    Com1,
    Com2,
    ControlPortA,
    DebugConsole,
    DebugExit,
    I8042,
    Pci,
    Pic,
    Pit,
    PostCode,
    ResetControl,
    Rtc,
    Smi,
    TestDevice,
}

/// A range of ports: `length` ports from `base` are the device's offsets from `offset`, in accesses
/// of up to `width` bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct PortRow {
    pub(super) base: u16,
    pub(super) length: u16,
    pub(super) width: u8,
    pub(super) device: Id,
    pub(super) offset: u16,
}

#[rustfmt::skip]
const PORTS: &[PortRow] = &[
    row(PM_BASE, 12, 4, Id::AcpiPm,       0),
    row(SMI_EN,   8, 4, Id::Smi,       0x10),
    row(COM[0].0, 8, 1, Id::Com1,         0),
    row(COM[1].0, 8, 1, Id::Com2,         0),
    row(0x020,    2, 1, Id::Pic,          0),
    row(0x0a0,    2, 1, Id::Pic,          2),
    row(0x4d0,    2, 1, Id::Pic,          4),
    row(0x040,    4, 1, Id::Pit,          0),
    row(0x061,    1, 1, Id::Pit,          4),
    row(0x070,    2, 1, Id::Rtc,          0),
    row(0x060,    1, 1, Id::I8042,        0),
    row(0x064,    1, 1, Id::I8042,        4),
    row(0x080,    1, 1, Id::PostCode,     0),
    row(0x092,    1, 1, Id::ControlPortA, 0),
    row(0x0e9,    1, 1, Id::DebugConsole, 0),
    row(0xcf9,    1, 1, Id::ResetControl, 0),
    row(0xcf8,    8, 4, Id::Pci,          0),
    row(0x0b2,    2, 1, Id::Smi,          0),
];

/// The ports of `pc-testdev`, which a board may lack.
#[rustfmt::skip]
pub(super) const TEST_PORTS: &[PortRow] = &[
    row(0x0e0,           4, 4, Id::TestDevice,    0),
    row(0x0e4,           4, 4, Id::TestDevice,    4),
    row(0x2000, LINE_COUNT, 1, Id::TestDevice, 0x20),
];

/// Ports below this are looked up in [`FIRST`].
const LOW_PORTS: usize = 0x1000;

/// For each low port the first row of [`PORTS`] that it is in, or the number of rows.
static FIRST: [u8; LOW_PORTS] = {
    let mut first = [PORTS.len() as u8; LOW_PORTS];
    let mut row = PORTS.len();
    while row > 0 {
        row -= 1;
        let (mut port, end) = (PORTS[row].base, PORTS[row].base + PORTS[row].length);
        while port < end && (port as usize) < LOW_PORTS {
            first[port as usize] = row as u8;
            port += 1;
        }
    }
    first
};

/// The row that takes an access whole.
pub(super) fn port_row(port: u16, size: u8) -> Option<PortRow> {
    let first = FIRST.get(usize::from(port)).map_or(0, |&first| usize::from(first));
    PORTS[first..].iter().copied().find(|row| row.claims(port, size))
}

/// Names a device with registers in memory space.
#[derive(Clone, Copy, Debug)]
pub(super) enum MmioId {
    Hpet,
    IoApic,
    Pci,
    TestDevice,
}

/// A range of memory space: `length` bytes from `base`, accesses of up to `width` bytes.
pub(super) struct MmioRow {
    pub(super) base: u64,
    pub(super) length: u64,
    pub(super) width: u8,
    pub(super) device: MmioId,
}

#[rustfmt::skip]
pub(super) const MMIO: &[MmioRow] = &[
    MmioRow { base: IOAPIC_BASE, length: 0x100,     width: 4, device: MmioId::IoApic },
    MmioRow { base: HPET_BASE,   length: 0x400,     width: 8, device: MmioId::Hpet },
    MmioRow { base: ECAM_BASE,   length: ECAM_SIZE, width: 4, device: MmioId::Pci },
];

/// The memory of `pc-testdev`.
pub(super) const TEST_MMIO: &[MmioRow] =
    &[MmioRow { base: 0xff00_0000, length: MEMORY, width: 8, device: MmioId::TestDevice }];

pub(super) const fn row(base: u16, length: u16, width: u8, device: Id, offset: u16) -> PortRow {
    PortRow { base, length, width, device, offset }
}

impl PortRow {
    pub(super) fn claims(&self, port: u16, size: u8) -> bool {
        port.checked_sub(self.base).is_some_and(|at| {
            size <= self.width
                && at.is_multiple_of(size.into())
                && u32::from(at) + u32::from(size) <= u32::from(self.length)
        })
    }
}

pub(super) fn debug_exit_row(base: u16, length: u16) -> PortRow {
    row(base, length, 4, Id::DebugExit, 0)
}

/// The row that takes an aligned access whole; `test`: there is a `pc-testdev`.
pub(super) fn mmio_row(address: u64, size: u8, test: bool) -> Option<&'static MmioRow> {
    let optional = if test { TEST_MMIO } else { &[] };
    MMIO.iter().chain(optional).find(|row| {
        address.checked_sub(row.base).is_some_and(|at| {
            size <= row.width && at.is_multiple_of(size.into()) && at < row.length
        })
    })
}
