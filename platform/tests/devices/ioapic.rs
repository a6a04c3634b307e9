//! The I/O APIC, driven by the board's serial port (IRQ4), timer (IRQ0) and SCI.

use super::*;

const SELECT: u64 = 0xfec0_0000;
const WINDOW: u64 = 0xfec0_0010;
const EOI: u64 = 0xfec0_0040;

fn set(index: u8, value: u32) -> [Step; 2] {
    [Store(SELECT, 4, index.into()), Store(WINDOW, 4, value.into())]
}

fn get(index: u8, expect: u32) -> [Step; 2] {
    [Store(SELECT, 4, index.into()), Load(WINDOW, 4, expect.into())]
}

/// Writes an input's low half.
fn pin(pin: u8, low: u32) -> [Step; 2] {
    set(0x10 + 2 * pin, low)
}

fn pin_is(pin: u8, low: u32) -> [Step; 2] {
    get(0x10 + 2 * pin, low)
}

/// COM1's line goes up while a byte waits.
const COM1: [Step; 2] = [out(0x3fc, 8), out(0x3f9, 1)];
const UP: Step = Serial(b"x");
const DOWN: Step = inb(0x3f8, b'x');
const LEVEL: u32 = 1 << 15;
const REMOTE_IRR: u32 = 1 << 14;
const MASKED: u32 = 1 << 16;

#[track_caller]
fn rows(parts: &[&[Step]]) {
    check(&[&COM1[..], &parts.concat()].concat());
}

#[test]
fn registers() {
    rows(&[&get(1, 0x0017_0020), &set(0, 0xff00_0000), &get(0, 0x0f00_0000), &get(2, 0x0f00_0000)]);
    rows(&[&pin_is(23, MASKED), &get(0x40, 0), &get(0xff, 0), &[Load(SELECT, 4, 0xff)]]);
    // Delivery status and remote IRR cannot be written, destination and the rest can.
    rows(&[&pin(5, 0xffff_ffff), &pin_is(5, 0x0001_afff)]);
    rows(&[&set(0x1b, 0xffff_ffff), &get(0x1b, 0xff00_0000)]);
}

#[test]
fn edges() {
    rows(&[&pin(4, 0x41), &[UP, Messages(&[0x41]), DOWN, Messages(&[]), UP, Messages(&[0x41])]]);
    // While masked an edge is lost.
    rows(&[&pin(4, MASKED | 0x41), &[UP], &pin(4, 0x41), &[Messages(&[])]]);
}

#[test]
fn levels() {
    let sent = [
        &pin(4, LEVEL | 0x42)[..],
        &[UP, Messages(&[0x42])],
        &pin_is(4, LEVEL | REMOTE_IRR | 0x42),
    ]
    .concat();
    // Still up at the EOI: sent again. Gone: no more.
    rows(&[&sent, &[Eoi(0x41), Messages(&[]), Eoi(0x42), Messages(&[0x42]), DOWN, Eoi(0x42)]]);
    rows(&[&sent, &[DOWN, Eoi(0x42), Messages(&[])], &pin_is(4, LEVEL | 0x42)]);
    // The EOI register does the same.
    rows(&[&sent, &[Store(EOI, 4, 0x42), Messages(&[0x42])]]);
    // Up before it is unmasked.
    rows(&[&[UP], &pin(4, LEVEL | 0x42), &[Messages(&[0x42])]]);
}

#[test]
fn switching_to_edge_clears_remote_irr() {
    let sent = [&pin(4, LEVEL | 0x42)[..], &[UP, Messages(&[0x42])]].concat();
    rows(&[
        &sent,
        &pin(4, MASKED | 0x42),
        &pin(4, MASKED | LEVEL | 0x42),
        &pin_is(4, MASKED | LEVEL | 0x42),
    ]);
}

#[test]
fn irq0_leads_to_input_2() {
    let timer = [out(0x43, 0x30), out(0x40, 10), out(0x40, 0), At(1_000_000), Messages(&[0x50])];
    rows(&[&pin(2, 0x50), &pin(0, 0x51), &timer]);
}

#[test]
fn the_whole_message() {
    let mut board = Board::new(&BoardConfig::default());
    let program =
        [&set(0x19, 0x0300_0000)[..], &pin(4, LEVEL | 0x0800 | 0x0100 | 0x77), &COM1, &[UP]];
    run(&mut board, &program.concat());
    let message = board.take_messages()[0];
    let found = (message.destination, message.logical, message.delivery, message.vector);
    assert_eq!((found, message.level), ((3, true, 1, 0x77), true));
}
