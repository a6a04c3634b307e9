//! The 8042 keyboard controller without a keyboard: self test, command byte, output port, reset.
//!
//! Offset 0 is port 60h (data), offset 4 port 64h (status, command).
//! IBM PC/AT Technical Reference, "Keyboard Controller".

use serde::{Deserialize, Serialize};

use crate::{
    device::{Device, Ending, Ends, IoError},
    time::Icount,
};

/// Status: the output buffer holds a byte.
const OUTPUT_FULL: u8 = 1;
/// Status: the system flag of the command byte, set by a passed self test.
const SYSTEM_FLAG: u8 = 4;
/// Status: the last write went to the command port.
const LAST_WAS_COMMAND: u8 = 8;
/// Status: the keyboard lock is open.
const UNLOCKED: u8 = 0x10;
/// Output port: 0 resets the processor.
const NOT_RESET: u8 = 1;

/// The controller. DEPARTURE: its A20 output is stored, but address line 20 is always on.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct I8042 {
    ram: [u8; 32],
    output_port: u8,
    output: Option<u8>,
    last_output: u8,
    /// The command that waits for its data byte.
    waiting: Option<u8>,
    last_was_command: bool,
    reset: bool,
}

impl Default for I8042 {
    fn default() -> Self {
        Self {
            ram: [0; 32],
            output_port: 0xcf,
            output: None,
            last_output: 0,
            waiting: None,
            last_was_command: false,
            reset: false,
        }
    }
}

impl I8042 {
    /// IRQ1: the output buffer is full and the command byte enables the keyboard's interrupt.
    #[must_use]
    pub fn keyboard_irq(&self) -> bool {
        self.output.is_some() && self.ram[0] & 1 != 0
    }

    fn status(&self) -> u8 {
        let mut status = UNLOCKED | self.ram[0] & SYSTEM_FLAG;
        if self.output.is_some() {
            status |= OUTPUT_FULL;
        }
        if self.last_was_command {
            status |= LAST_WAS_COMMAND;
        }
        status
    }

    fn command(&mut self, command: u8) {
        self.last_was_command = true;
        self.waiting = None;
        match command {
            0x20..=0x3f => self.output = Some(self.ram[usize::from(command & 0x1f)]),
            0x60..=0x7f | 0xd1..=0xd4 => self.waiting = Some(command),
            // No auxiliary device answers: "clock line stuck low".
            0xa9 => self.output = Some(1),
            0xa7 => self.ram[0] |= 0x20,
            0xa8 => self.ram[0] &= !0x20,
            0xaa => {
                self.ram[0] |= SYSTEM_FLAG;
                self.output = Some(0x55);
            }
            0xab => self.output = Some(0),
            0xad => self.ram[0] |= 0x10,
            0xae => self.ram[0] &= !0x10,
            0xc0 => self.output = Some(0x80),
            0xd0 => self.output = Some(self.output_port),
            // Pulse the output lines whose bits are 0.
            0xf0..=0xff => self.reset |= command & NOT_RESET == 0,
            _ => {}
        }
    }

    fn data(&mut self, value: u8) {
        self.last_was_command = false;
        match self.waiting.take() {
            Some(command @ 0x60..=0x7f) => self.ram[usize::from(command & 0x1f)] = value,
            Some(0xd1) => {
                self.output_port = value;
                self.reset |= value & NOT_RESET == 0;
            }
            Some(0xd2 | 0xd3) => self.output = Some(value),
            // Bytes for the keyboard and the mouse: nobody is there.
            _ => {}
        }
    }
}

impl Ends for I8042 {
    fn ending(&self) -> Option<Ending> {
        self.reset.then_some(Ending::Reset)
    }
}

impl Device for I8042 {
    fn read(&mut self, offset: u64, _size: u8, _now: Icount) -> Result<u64, IoError> {
        if offset != 0 {
            return Ok(self.status().into());
        }
        if let Some(value) = self.output.take() {
            self.last_output = value;
        }
        Ok(self.last_output.into())
    }

    fn write(&mut self, offset: u64, _size: u8, value: u64, _now: Icount) -> Result<(), IoError> {
        match offset {
            0 => self.data(value as u8),
            _ => self.command(value as u8),
        }
        Ok(())
    }
}
