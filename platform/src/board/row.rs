//! Rows of the board's map: which addresses are which device's offsets, and how they are found.

use serde::{Deserialize, Serialize};

use super::{
    report::Space,
    table::{Id, MEMORY, PORTS},
};

/// A range of one address space: `length` addresses from `base` are the device's offsets from
/// `offset` on, in naturally aligned accesses of up to `width` bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Row {
    pub(super) space: Space,
    base: u64,
    length: u64,
    width: u8,
    pub(super) device: Id,
    offset: u64,
}

impl Row {
    /// A row of ports.
    pub(super) const fn port(device: Id, base: u16, length: u16, width: u8, offset: u64) -> Row {
        Row { space: Space::Port, base: base as u64, length: length as u64, width, device, offset }
    }

    /// A row of memory space.
    pub(super) const fn memory(device: Id, base: u64, length: u64, width: u8, offset: u64) -> Row {
        Row { space: Space::Memory, base, length, width, device, offset }
    }

    /// The row takes an access of `size` bytes whole.
    fn claims(&self, address: u64, size: u8) -> bool {
        address.checked_sub(self.base).is_some_and(|at| {
            let bytes = u64::from(size);
            let fits = at < self.length && self.length - at >= bytes;
            // Sizes are powers of two.
            fits && size <= self.width && at & bytes.wrapping_sub(1) == 0
        })
    }

    /// The first address, and how many there are.
    pub(super) fn range(&self) -> (u64, u64) {
        (self.base, self.length)
    }

    /// The two rows have an address in common.
    fn overlaps(&self, other: &Row) -> bool {
        let apart = self.base + self.length <= other.base || other.base + other.length <= self.base;
        self.space == other.space && !apart
    }

    /// The device's offset at an address of the row.
    pub(super) fn offset(&self, address: u64) -> u64 {
        self.offset + (address - self.base)
    }
}

impl std::fmt::Display for Row {
    fn fmt(&self, to: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let (space, name) = match self.space {
            Space::Port => ("ports", self.device.name()),
            Space::Memory => ("memory", self.device.name()),
        };
        let last = self.base + self.length.saturating_sub(1);
        write!(to, "{space} {:#x} to {last:#x} of {name}", self.base)
    }
}

/// A row of an optional device, and one of another device with which it has an address in common.
pub(super) fn clash(optional: &[Row]) -> Option<(Row, Row)> {
    optional.iter().enumerate().find_map(|(n, row)| {
        let others = PORTS.iter().chain(MEMORY).chain(&optional[..n]);
        others.copied().find(|other| other.overlaps(row)).map(|other| (*row, other))
    })
}

/// The ports, shorter rows first: where two overlap, the shorter one decodes.
static SORTED: [Row; PORTS.len()] = {
    let mut rows = [PORTS[0]; PORTS.len()];
    let mut count = 0;
    while count < PORTS.len() {
        let mut at = count;
        while at > 0 && rows[at - 1].length > PORTS[count].length {
            rows[at] = rows[at - 1];
            at -= 1;
        }
        rows[at] = PORTS[count];
        count += 1;
    }
    rows
};

/// Number of I/O ports.
const PORT_COUNT: usize = 1 << 16;

/// For each port the first of [`SORTED`] that it is in, or their number.
static FIRST: [u8; PORT_COUNT] = {
    let mut first = [PORTS.len() as u8; PORT_COUNT];
    let mut row = PORTS.len();
    while row > 0 {
        row -= 1;
        let mut port = SORTED[row].base;
        while port < SORTED[row].base + SORTED[row].length {
            first[port as usize] = row as u8;
            port += 1;
        }
    }
    first
};

/// The row of a soldered device that takes an access whole.
pub(super) fn find(space: Space, address: u64, size: u8) -> Option<Row> {
    let rows = match space {
        Space::Port => &SORTED[usize::from(FIRST[address as usize % PORT_COUNT])..],
        Space::Memory => MEMORY,
    };
    find_in(rows, space, address, size)
}

/// The row of `rows` that takes an access whole.
pub(super) fn find_in(rows: &[Row], space: Space, address: u64, size: u8) -> Option<Row> {
    rows.iter().copied().find(|row| row.space == space && row.claims(address, size))
}
