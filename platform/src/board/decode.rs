//! Decode of accesses: the row that an address is in, the device's offset, and the bus's own answers.

use super::{
    Board,
    report::Space,
    row::{self, Row},
};
use crate::{device::all_ones, time::Icount};

impl Board {
    /// `IN`: reads `size` (1, 2 or 4) bytes from `port`; all-ones where nobody answers.
    pub fn port_read(&mut self, port: u16, size: u8, now: Icount) -> u32 {
        self.arrive(now);
        self.read(Space::Port, port.into(), size) as u32
    }

    /// `OUT`: writes the low `size` (1, 2 or 4) bytes of `value` to `port`.
    pub fn port_write(&mut self, port: u16, size: u8, value: u32, now: Icount) {
        self.arrive(now);
        self.write(Space::Port, port.into(), size, value.into());
    }

    /// Reads memory space: `size` is 1, 2, 4 or 8; all-ones where nobody answers.
    pub fn mmio_read(&mut self, address: u64, size: u8, now: Icount) -> u64 {
        self.arrive(now);
        self.read(Space::Memory, address, size)
    }

    /// Writes memory space: `size` is 1, 2, 4 or 8.
    pub fn mmio_write(&mut self, address: u64, size: u8, value: u64, now: Icount) {
        self.arrive(now);
        self.write(Space::Memory, address, size, value);
    }

    /// The row that takes an access whole: an optional device's first.
    fn row(&self, space: Space, address: u64, size: u8) -> Option<Row> {
        let optional = row::find_in(&self.optional_rows, space, address, size);
        optional.or_else(|| row::find(space, address, size))
    }

    /// Reads; an access that no device takes whole is made in halves.
    fn read(&mut self, space: Space, address: u64, size: u8) -> u64 {
        if let Some(row) = self.row(space, address, size) {
            return self.read_register(&row, address, size) & all_ones(size);
        }
        if size <= 1 {
            self.note_unclaimed(space, address, false);
            return 0xff;
        }
        let half = size / 2;
        let low = self.read(space, address, half);
        let high = self.read(space, further(space, address, half), half);
        low | high << (u32::from(half) * 8)
    }

    /// Writes, in halves likewise.
    fn write(&mut self, space: Space, address: u64, size: u8, value: u64) {
        if let Some(row) = self.row(space, address, size) {
            return self.write_register(&row, address, size, value & all_ones(size));
        }
        if size <= 1 {
            return self.note_unclaimed(space, address, true);
        }
        let half = size / 2;
        self.write(space, address, half, value);
        self.write(space, further(space, address, half), half, value >> (u32::from(half) * 8));
    }

    fn read_register(&mut self, row: &Row, address: u64, size: u8) -> u64 {
        let (id, effect, now) = (row.device, row.device.effect(), self.now);
        self.reach(effect);
        let Some(device) = self.devices.registers(id) else { return u64::MAX };
        let read = device.read(row.offset(address), size, now);
        self.settle_after(effect);
        read.unwrap_or_else(|why| {
            self.note_refused(id, why);
            u64::MAX
        })
    }

    fn write_register(&mut self, row: &Row, address: u64, size: u8, value: u64) {
        let (id, effect, now) = (row.device, row.device.effect(), self.now);
        self.reach(effect);
        let Some(device) = self.devices.registers(id) else { return };
        let written = device.write(row.offset(address), size, value, now);
        self.settle_after(effect);
        if let Err(why) = written {
            self.note_refused(id, why);
        }
    }
}

/// The address `bytes` further: an address space has no end, it begins again.
fn further(space: Space, address: u64, bytes: u8) -> u64 {
    match space {
        Space::Port => (address as u16).wrapping_add(bytes.into()).into(),
        Space::Memory => address.wrapping_add(bytes.into()),
    }
}
