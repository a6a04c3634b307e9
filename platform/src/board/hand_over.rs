//! The chips as firmware leaves them when it hands over to a kernel.

/// What firmware writes, port and value: the keyboard interrupts and sends scan codes of set 1; counter 0 of the
/// 8254 in mode 3 with the longest count, 18.2 Hz; then the 8259s' vectors 08h and 70h, open for the 8254, the
/// keyboard, the second 8259 and the clock.
pub(super) const WRITES: [(u16, u8); 15] = [
    (0x64, 0x60),
    (0x60, 0x65),
    (0x43, 0x36),
    (0x40, 0x00),
    (0x40, 0x00),
    (0x20, 0x11),
    (0x21, 0x08),
    (0x21, 0x04),
    (0x21, 0x01),
    (0xa0, 0x11),
    (0xa1, 0x70),
    (0xa1, 0x02),
    (0xa1, 0x01),
    (0x21, 0xf8),
    (0xa1, 0xfe),
];
