//! QEMU's `pc-testdev`: interrupt lines, a latch, and memory behind a bus, for test programs.
//!
//! Offsets: 0 to 3 the latch, 4 to 7 the flush command, from 20h on one port for each interrupt line,
//! from 10000h on the memory.

use serde::{Deserialize, Serialize};

use crate::{
    device::{Device, IoError, all_ones, little_endian},
    time::Icount,
};

/// Offset of the memory.
pub const MEMORY: u64 = 0x1_0000;
/// Bytes of the memory.
pub const MEMORY_SIZE: u64 = 0x1_0000;
/// Offset of the first interrupt line's port.
pub const LINES: u64 = 0x20;
/// Interrupt lines with a port.
pub const LINE_COUNT: u16 = 24;

/// State of the device.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct TestDevice {
    latch: u32,
    lines: u32,
    memory: Vec<u8>,
}

impl Default for TestDevice {
    fn default() -> Self {
        Self { latch: 0, lines: 0, memory: vec![0; MEMORY_SIZE as usize] }
    }
}

impl TestDevice {
    /// The levels of the ISA interrupt lines.
    #[must_use]
    pub fn lines(&self) -> u16 {
        self.lines as u16
    }

    /// The bytes of the memory that an access at `offset` is for.
    fn cells(&mut self, offset: u64, size: u8) -> Result<&mut [u8], IoError> {
        let at = (offset - MEMORY) as usize;
        self.memory.get_mut(at..at + usize::from(size)).ok_or(IoError::InvalidRegister)
    }
}

impl Device for TestDevice {
    fn read(&mut self, offset: u64, size: u8, _now: Icount) -> Result<u64, IoError> {
        match offset {
            0..=3 => Ok(u64::from(self.latch) >> (offset * 8)),
            MEMORY.. => self.cells(offset, size).map(|bytes| little_endian(bytes)),
            _ => Err(IoError::InvalidRegister),
        }
    }

    fn write(&mut self, offset: u64, size: u8, value: u64, _now: Icount) -> Result<(), IoError> {
        match offset {
            0..=3 => {
                let (shift, mask) = (offset * 8, all_ones(size) as u32);
                self.latch = self.latch & !(mask << shift) | (value as u32) << shift;
            }
            // The flush asks the host to drop its mapping of a page: nothing that a guest can tell.
            4..LINES => {}
            LINES..MEMORY => {
                let line = 1 << (offset - LINES).min(31);
                self.lines = if value != 0 { self.lines | line } else { self.lines & !line };
            }
            _ => self.cells(offset, size)?.copy_from_slice(&value.to_le_bytes()[..size.into()]),
        }
        Ok(())
    }
}
