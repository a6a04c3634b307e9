//! The BIOS data area, as kernels and the services read it.

use crate::{
    board::COM,
    devices::{pit::PIT_HZ, text_display},
    memory_map::{EBDA_BASE, LOWER_KIB},
};

/// Segment 40h.
pub(super) const ADDRESS: u64 = 0x400;
const SIZE: usize = 0x100;
/// First byte of the extended BIOS data area: its size in KiB.
pub(super) const EXTENDED: [u8; 1] = [1];

/// Equipment: a coprocessor, 80 columns in colour, two serial ports.
const EQUIPMENT: u16 = 1 << 1 | 2 << 4 | 2 << 9;
/// The keyboard's ring of 16 keys, empty.
const KEYS: (u16, u16) = (0x1e, 0x3e);
const SECONDS_OF_DAY: u64 = 24 * 60 * 60;

/// The area of a machine that was switched on at `start`, in seconds since 1970.
pub(super) fn content(start: u64) -> Vec<u8> {
    // The tick is the 8254's, with the longest count there is.
    let ticks = start % SECONDS_OF_DAY * PIT_HZ / 0x1_0000;
    let words = [
        (0x00, COM[0].0),
        (0x02, COM[1].0),
        (0x0e, (EBDA_BASE >> 4) as u16),
        (0x10, EQUIPMENT),
        (0x13, LOWER_KIB as u16),
        (0x1a, KEYS.0),
        (0x1c, KEYS.0),
        (0x4a, text_display::COLUMNS),
        (0x4c, 0x1000),
        (0x60, 0x0607),
        (0x63, text_display::PORT),
        (0x6c, ticks as u16),
        (0x6e, (ticks >> 16) as u16),
        (0x80, KEYS.0),
        (0x82, KEYS.1),
    ];
    // Video mode 3, time-outs of the serial ports, rows less one, height of a character, 101 keys.
    let bytes = [(0x49, 3), (0x7c, 10), (0x7d, 10), (0x84, 24), (0x85, 16), (0x96, 0x10)];
    let mut area = vec![0; SIZE];
    for (at, word) in words {
        area[at..at + 2].copy_from_slice(&word.to_le_bytes());
    }
    bytes.into_iter().for_each(|(at, byte)| area[at] = byte);
    area
}
