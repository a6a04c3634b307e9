//! COM1, byte by byte.

use crate::machine::{inb, outb};
use core::fmt::{Arguments, Result, Write};

const PORT: u16 = 0x3F8;

struct Console;

impl Write for Console {
    fn write_str(&mut self, text: &str) -> Result {
        for byte in text.bytes() {
            // The transmitter's holding register is empty.
            while inb(PORT + 5) & 0x20 == 0 {}
            outb(PORT, byte);
        }
        Ok(())
    }
}

/// Sets words of eight bits.
pub fn init() {
    outb(PORT + 3, 3);
}

/// Writes a line.
pub fn line(text: Arguments<'_>) {
    // Writing never fails.
    let _ = Console.write_fmt(format_args!("{text}\n"));
}
