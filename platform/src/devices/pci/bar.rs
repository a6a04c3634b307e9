//! Base address registers: where in port or memory space a part of a function answers.
//!
//! PCI Local Bus Specification 3.0, "Base Addresses". A register's kind and size are in its bits: a
//! guest finds the size out by writing all-ones, the board by asking which bits are writable.

use super::config::{ConfigSpace, IO_SPACE, MEMORY_SPACE};

/// Offset of the first base address register.
const FIRST: u8 = 0x10;
/// Base address registers of a function.
pub const COUNT: u8 = 6;
/// The register is for port space.
const PORTS: u32 = 1;
/// The register and the next one are for memory space, with 64-bit addresses.
const WIDE: u32 = 1 << 2;
/// The address bits of a register for ports.
const PORT_BITS: u32 = !3;
/// The address bits of a register for memory.
const MEMORY_BITS: u32 = !0xf;

/// A base address register's kind, with its size: a power of two.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Bar {
    /// Ports, at least 4.
    Ports(u32),
    /// Memory with 32-bit addresses, at least 16 bytes.
    Memory32(u32),
    /// Memory with 64-bit addresses, which takes two registers.
    Memory64(u64),
}

/// A range of port or memory space that a function answers in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Window {
    /// Port space, not memory space.
    pub ports: bool,
    /// First address.
    pub base: u64,
    /// Number of addresses.
    pub size: u64,
}

impl ConfigSpace {
    /// Adds base address register `index`.
    pub fn add_bar(&mut self, index: u8, bar: Bar) {
        let at = FIRST + 4 * index;
        match bar {
            Bar::Ports(size) => self.add((at, 4, PORTS, !(size - 1) & PORT_BITS)),
            Bar::Memory32(size) => self.add((at, 4, 0, !(size - 1) & MEMORY_BITS)),
            Bar::Memory64(size) => {
                let writable = !(size - 1);
                self.add((at, 4, WIDE, writable as u32 & MEMORY_BITS));
                self.add((at + 4, 4, 0, (writable >> 32) as u32));
            }
        }
    }

    /// Where base address register `index` has the function answer now, if it does.
    #[must_use]
    pub fn window(&self, index: u8) -> Option<Window> {
        if self.is_upper_half(index) {
            return None;
        }
        let at = FIRST + 4 * index;
        let (low, low_mask) = (self.dword(at), self.writable_bits(at));
        let ports = low & PORTS != 0;
        let wide = !ports && low & WIDE != 0;
        let high = |word: u32| if wide { u64::from(word) << 32 } else { 0 };
        let upper = at + 4;
        let mask = high(self.writable_bits(upper)) | u64::from(low_mask);
        let enabled = self.command() & if ports { IO_SPACE } else { MEMORY_SPACE } != 0;
        (enabled && mask != 0).then(|| Window {
            ports,
            base: (high(self.dword(upper)) | u64::from(low)) & mask,
            size: 1 << mask.trailing_zeros(),
        })
    }

    /// Whether register `index` is the upper half of a 64-bit address.
    fn is_upper_half(&self, index: u8) -> bool {
        let wide = |index: u8| {
            let low = self.dword(FIRST + 4 * index);
            low & (PORTS | WIDE) == WIDE && !self.is_upper_half(index)
        };
        index.checked_sub(1).is_some_and(wide)
    }
}
