//! The text page of a colour display, as memory, and the registers of its CRT controller: kernels write
//! there before they look whether anybody shows it. Nobody does.
//!
//! Offsets: 0 index and 1 data of the CRTC (ports 3D4h, 3D5h), 2 status (port 3DAh), then the page.
//! IBM VGA Technical Reference, "CRT Controller".

use serde::{Deserialize, Serialize};

use crate::{
    device::{Device, IoError, little_endian},
    time::{Icount, Rate, Scale},
};

/// The port of the CRTC's index.
pub const PORT: u16 = 0x3d4;
/// Characters in a line.
pub const COLUMNS: u16 = 80;
/// Offset of the status register.
pub const STATUS: u64 = 2;
/// Offset of the page.
pub const PAGE: u64 = 0x100;
/// Bytes of the page.
pub const PAGE_SIZE: u64 = 32 << 10;

const REGISTERS: usize = 25;
/// A picture has this many lines, of which the last ones are the retrace; 70 a second.
const LINES: u64 = 449;
const SHOWN_LINES: u64 = 400;
const LINES_HZ: u64 = 70 * LINES;
/// Status: no picture is drawn; vertical retrace.
const BLANK: u8 = 1;
const RETRACE: u8 = 8;

/// Text page and CRT controller.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct TextDisplay {
    lines: Scale,
    index: u8,
    registers: [u8; REGISTERS],
    page: Vec<u8>,
}

impl TextDisplay {
    /// The display of a machine that runs at `rate`, dark, with the cursor at the first place.
    #[must_use]
    pub fn new(rate: Rate) -> Self {
        let page = vec![0; PAGE_SIZE as usize];
        Self { lines: rate.scale(LINES_HZ), index: 0, registers: [0; REGISTERS], page }
    }

    /// The bytes of the page from `offset` on that an access takes.
    fn cells(&mut self, offset: u64, size: u8) -> Result<&mut [u8], IoError> {
        let at = (offset - PAGE) as usize;
        self.page.get_mut(at..at + usize::from(size)).ok_or(IoError::InvalidRegister)
    }

    fn status(&self, now: Icount) -> u8 {
        let shown = self.lines.ticks(now) % LINES < SHOWN_LINES;
        if shown { 0 } else { BLANK | RETRACE }
    }
}

impl Device for TextDisplay {
    fn read(&mut self, offset: u64, size: u8, now: Icount) -> Result<u64, IoError> {
        match offset {
            0 => Ok(self.index.into()),
            1 => Ok(self.registers.get(usize::from(self.index)).copied().unwrap_or(0).into()),
            STATUS => Ok(self.status(now).into()),
            _ => self.cells(offset, size).map(|cells| little_endian(cells)),
        }
    }

    fn write(&mut self, offset: u64, size: u8, value: u64, _now: Icount) -> Result<(), IoError> {
        match offset {
            0 => self.index = value as u8,
            1 => {
                if let Some(register) = self.registers.get_mut(usize::from(self.index)) {
                    *register = value as u8;
                }
            }
            STATUS => return Err(IoError::InvalidRegister),
            _ => {
                let bytes = value.to_le_bytes();
                self.cells(offset, size)?.copy_from_slice(&bytes[..usize::from(size)]);
            }
        }
        Ok(())
    }
}
