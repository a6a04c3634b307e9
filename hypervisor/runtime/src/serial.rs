//! COM1, byte by byte, without interrupts.

use crate::cpu::{inb, outb};
use core::fmt::{Result, Write};

const PORT: u16 = 0x3F8;

/// The first serial port as a formatter's target. Text goes out as it is, and takes its time.
pub struct Com1;

impl Com1 {
    /// Sets words of eight bits, one stop bit, no parity.
    pub fn init() {
        outb(PORT + 3, 3);
    }
}

impl Write for Com1 {
    fn write_str(&mut self, text: &str) -> Result {
        for byte in text.bytes() {
            // LSR bit 5: the transmitter's holding register is empty.
            while inb(PORT + 5) & 0x20 == 0 {}
            outb(PORT, byte);
        }
        Ok(())
    }
}
