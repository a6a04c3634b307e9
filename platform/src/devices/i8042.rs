//! The 8042 keyboard controller with a keyboard: self test, command byte, scan codes, output port, reset.
//!
//! Offset 0 is port 60h (data), offset 4 port 64h (status, command).
//! IBM PC/AT Technical Reference, "Keyboard Controller".

use serde::{Deserialize, Serialize};

use super::keyboard::{self, Keyboard};
use crate::{
    device::{Device, Ending, Ends, IoError, Timed},
    time::{Icount, Rate},
};

/// Status: the output buffer holds a byte.
const OUTPUT_FULL: u8 = 1;
/// Status: the system flag of the command byte, set by a passed self test.
const SYSTEM_FLAG: u8 = 4;
/// Status: the last write went to the command port.
const LAST_WAS_COMMAND: u8 = 8;
/// Status: the keyboard lock is open.
const UNLOCKED: u8 = 0x10;
/// Command byte: the keyboard's interrupt is enabled.
const INTERRUPT: u8 = 1;
/// Command byte: the keyboard's clock is held, it sends nothing.
const DISABLED: u8 = 0x10;
/// Command byte: scan codes become those of set 1.
const TRANSLATE: u8 = 0x40;
/// What a byte takes on the keyboard's wire, in microseconds.
const BYTE: u64 = 1000;
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
    keyboard: Keyboard,
    /// When the wire has the keyboard's next byte, if there is one.
    arrives: Icount,
    /// What a byte takes on the wire.
    byte: u64,
    /// The keyboard has sent that the next code is of a key that is released.
    released: bool,
}

impl I8042 {
    /// The controller of a machine that runs at `rate`, after reset.
    #[must_use]
    pub fn new(rate: Rate) -> Self {
        Self {
            ram: [0; 32],
            output_port: 0xcf,
            output: None,
            last_output: 0,
            waiting: None,
            last_was_command: false,
            reset: false,
            keyboard: Keyboard::default(),
            arrives: Icount(0),
            byte: BYTE * rate.microsecond(),
            released: false,
        }
    }

    /// IRQ1: the output buffer is full and the command byte enables the keyboard's interrupt.
    #[must_use]
    pub fn keyboard_irq(&self) -> bool {
        self.output.is_some() && self.ram[0] & INTERRUPT != 0
    }

    /// A key of the keyboard goes down or up; `key` is its code in scan code set 1, with bit 7 for one behind E0h.
    pub fn key(&mut self, key: u8, down: bool, now: Icount) {
        self.send(now, |keyboard| keyboard.key(key, down));
    }

    /// Has the keyboard do something, which may have it send.
    fn send(&mut self, now: Icount, what: impl FnOnce(&mut Keyboard)) {
        let idle = !self.keyboard.has_sent();
        what(&mut self.keyboard);
        if idle {
            self.arrives = self.arrives.max(now.plus(self.byte));
        }
    }

    /// The keyboard's next byte, in scan code set 1 where the command byte says so.
    fn take(&mut self) -> Option<u8> {
        let byte = self.keyboard.take()?;
        if self.ram[0] & TRANSLATE == 0 {
            return Some(byte);
        }
        if byte == keyboard::RELEASED {
            self.released = true;
            return self.take();
        }
        let released = std::mem::take(&mut self.released);
        Some(keyboard::translated(byte) | u8::from(released) << 7)
    }

    /// The keyboard may put its next byte into the output buffer.
    fn listens(&self) -> bool {
        self.output.is_none() && self.ram[0] & DISABLED == 0 && self.keyboard.has_sent()
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
            0xad => self.ram[0] |= DISABLED,
            0xae => self.ram[0] &= !DISABLED,
            0xc0 => self.output = Some(0x80),
            0xd0 => self.output = Some(self.output_port),
            // Pulse the output lines whose bits are 0.
            0xf0..=0xff => self.reset |= command & NOT_RESET == 0,
            _ => {}
        }
    }

    fn data(&mut self, value: u8, now: Icount) {
        self.last_was_command = false;
        match self.waiting.take() {
            Some(command @ 0x60..=0x7f) => self.ram[usize::from(command & 0x1f)] = value,
            Some(0xd1) => {
                self.output_port = value;
                self.reset |= value & NOT_RESET == 0;
            }
            Some(0xd2 | 0xd3) => self.output = Some(value),
            // A byte for the mouse: nobody is there.
            Some(_) => {}
            None => {
                self.ram[0] &= !DISABLED;
                self.send(now, |keyboard| keyboard.receive(value));
            }
        }
    }
}

impl Ends for I8042 {
    fn ending(&self) -> Option<Ending> {
        self.reset.then_some(Ending::Reset)
    }
}

impl Device for I8042 {
    fn read(&mut self, offset: u64, _size: u8, now: Icount) -> Result<u64, IoError> {
        if offset != 0 {
            return Ok(self.status().into());
        }
        if let Some(value) = self.output.take() {
            self.last_output = value;
            // Only now does the keyboard send its next byte, so that the interrupt line falls in between.
            self.arrives = now.plus(self.byte);
        }
        Ok(self.last_output.into())
    }

    fn write(&mut self, offset: u64, _size: u8, value: u64, now: Icount) -> Result<(), IoError> {
        match offset {
            0 => self.data(value as u8, now),
            _ => self.command(value as u8),
        }
        Ok(())
    }
}

impl Timed for I8042 {
    fn deadline(&self, now: Icount) -> Option<Icount> {
        self.listens().then_some(self.arrives).filter(|at| *at > now)
    }

    fn advance(&mut self, now: Icount) {
        if self.listens() && now >= self.arrives {
            self.output = self.take();
        }
    }
}
