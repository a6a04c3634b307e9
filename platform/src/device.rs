//! What a device is to the board: offsets in, levels out, an optional next deadline.
//!
//! A device knows no address, bus, clock, thread or other device. Its outputs are levels that the
//! board reads from it after every access and at every deadline.

use crate::time::Icount;

/// A device with registers in port space.
///
/// The board calls it with naturally aligned accesses of `size` 1, 2 or 4 bytes, never wider than
/// the device's row in the board's table allows.
pub trait PortDevice {
    /// `IN`: the value of the register at `offset`, in the low `size` bytes.
    fn read(&mut self, offset: u16, size: u8, now: Icount) -> u32;
    /// `OUT`: writes the low `size` bytes of `value` to the register at `offset`.
    fn write(&mut self, offset: u16, size: u8, value: u32, now: Icount);
}

/// A device with registers in memory space, accessed 1, 2, 4 or 8 bytes at a time.
pub trait MmioDevice {
    /// The value at `offset`, in the low `size` bytes.
    fn read(&mut self, offset: u64, size: u8, now: Icount) -> u64;
    /// Writes the low `size` bytes of `value` at `offset`.
    fn write(&mut self, offset: u64, size: u8, value: u64, now: Icount);
}

/// A device whose outputs change by themselves as time passes.
pub trait Timed {
    /// The first instant after `now` at which an output may change without an access.
    fn deadline(&self, now: Icount) -> Option<Icount>;
    /// Brings the state to `now`; calling it more often changes nothing.
    fn advance(&mut self, now: Icount);
}

/// All-ones in the low `size` bytes: what an access to nothing reads.
#[must_use]
pub fn all_ones(size: u8) -> u64 {
    match size {
        0 => 0,
        1..=7 => (1 << (u32::from(size) * 8)) - 1,
        _ => u64::MAX,
    }
}
