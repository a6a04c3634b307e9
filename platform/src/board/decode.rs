//! Decode of accesses: the row that an address is in, the device's offset, and the bus's own answers.

use super::{
    Board,
    report::Space,
    row,
    table::{self, Id},
};
use crate::{
    device::{IoError, all_ones},
    time::Icount,
};

/// Where an access ends up.
struct Place {
    device: Id,
    /// The base address register of a PCI function that the guest has put there.
    bar: Option<u8>,
    offset: u64,
}

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

    /// The place that takes an access whole: an optional device's row first, then a soldered
    /// one's, then the range of a PCI function.
    fn place(&mut self, space: Space, address: u64, size: u8) -> Option<Place> {
        let optional = row::find_in(&self.optional_rows, space, address, size);
        if let Some(row) = optional.or_else(|| row::find(space, address, size)) {
            return Some(Place { device: row.device, bar: None, offset: row.offset(address) });
        }
        let target = self.devices.pci.target(space == Space::Port, address, size)?;
        let device = table::function_at(target.function)?;
        Some(Place { device, bar: Some(target.bar), offset: target.offset })
    }

    /// Reads; an access that no device takes whole is made in halves.
    fn read(&mut self, space: Space, address: u64, size: u8) -> u64 {
        if let Some(place) = self.place(space, address, size) {
            return self.read_register(&place, size) & all_ones(size);
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
        if let Some(place) = self.place(space, address, size) {
            return self.write_register(&place, size, value & all_ones(size));
        }
        if size <= 1 {
            return self.note_unclaimed(space, address, true);
        }
        let half = size / 2;
        self.write(space, address, half, value);
        self.write(space, further(space, address, half), half, value >> (u32::from(half) * 8));
    }

    fn read_register(&mut self, place: &Place, size: u8) -> u64 {
        let (id, effect, now) = (place.device, place.device.effect(), self.now);
        self.note_access(id, false);
        self.reach(effect);
        let read = match place.bar {
            None => self.devices.registers(id).map(|d| d.read(place.offset, size, now)),
            Some(bar) => {
                self.devices.function(id).map(|f| f.bar_read(bar, place.offset, size, now))
            }
        };
        self.settle_after(effect);
        self.take_time(id);
        read.unwrap_or(Err(IoError::NoResponse)).unwrap_or_else(|why| {
            self.note_refused(id, why);
            u64::MAX
        })
    }

    fn write_register(&mut self, place: &Place, size: u8, value: u64) {
        let (id, effect, now) = (place.device, place.device.effect(), self.now);
        self.note_access(id, true);
        self.reach(effect);
        let written = match place.bar {
            None => self.devices.registers(id).map(|d| d.write(place.offset, size, value, now)),
            Some(bar) => {
                self.devices.function(id).map(|f| f.bar_write(bar, place.offset, size, value, now))
            }
        };
        self.settle_after(effect);
        self.take_time(id);
        if let Err(why) = written.unwrap_or(Err(IoError::NoResponse)) {
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
