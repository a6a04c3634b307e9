//! QEMU's `pc-testdev`: interrupt lines, a latch, and memory behind a bus, for test programs.
//!
//! Offsets: 0 to 3 the latch, 4 to 7 the flush command, from 20h on one port for each interrupt line.

use serde::{Deserialize, Serialize};

use crate::{
    device::{MmioDevice, PortDevice, all_ones},
    time::Icount,
};

/// Bytes of its memory.
pub const MEMORY: u64 = 0x1_0000;
/// Offset of the first interrupt line's port.
const LINES: u16 = 0x20;
/// Interrupt lines with a port.
pub const LINE_COUNT: u16 = 24;

/// The device.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct TestDevice {
    latch: u32,
    lines: u32,
    memory: Vec<u8>,
}

impl Default for TestDevice {
    fn default() -> Self {
        Self { latch: 0, lines: 0, memory: vec![0; MEMORY as usize] }
    }
}

impl TestDevice {
    /// The levels of the ISA interrupt lines.
    #[must_use]
    pub fn lines(&self) -> u16 {
        self.lines as u16
    }
}

impl PortDevice for TestDevice {
    fn read(&mut self, offset: u16, size: u8, _now: Icount) -> u32 {
        match offset {
            0..=3 => self.latch >> (offset * 8) & all_ones(size) as u32,
            _ => all_ones(size) as u32,
        }
    }

    fn write(&mut self, offset: u16, size: u8, value: u32, _now: Icount) {
        match offset {
            0..=3 => {
                let (shift, mask) = (offset * 8, all_ones(size) as u32);
                self.latch = self.latch & !(mask << shift) | (value & mask) << shift;
            }
            // The flush asks the host to drop its mapping of a page: nothing that a guest can tell.
            4..LINES => {}
            _ => {
                let line = 1 << (offset - LINES).min(31);
                self.lines = if value != 0 { self.lines | line } else { self.lines & !line };
            }
        }
    }
}

impl MmioDevice for TestDevice {
    fn read(&mut self, offset: u64, size: u8, _now: Icount) -> u64 {
        let at = offset as usize;
        let bytes = self.memory.get(at..at + usize::from(size)).unwrap_or(&[]);
        bytes.iter().rev().fold(0, |value, byte| value << 8 | u64::from(*byte))
    }

    fn write(&mut self, offset: u64, size: u8, value: u64, _now: Icount) {
        let at = offset as usize;
        if let Some(bytes) = self.memory.get_mut(at..at + usize::from(size)) {
            bytes.copy_from_slice(&value.to_le_bytes()[..size.into()]);
        }
    }
}
