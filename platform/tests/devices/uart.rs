//! The serial port COM1: 3F8h, IRQ4.

use super::*;

const DATA: u16 = 0x3f8;
const IER: u16 = 0x3f9;
const IIR: u16 = 0x3fa;
const LCR: u16 = 0x3fb;
const MCR: u16 = 0x3fc;
const LSR: u16 = 0x3fd;
const MSR: u16 = 0x3fe;

/// Interrupts may reach the line.
const OUT2: Step = out(MCR, 0x08);

#[track_caller]
fn rows(parts: &[&[Step]]) {
    check(&[&INIT_PICS[..], &parts.concat()].concat());
}

#[test]
fn reset_state() {
    rows(&[&[inb(IER, 0), inb(IIR, 1), inb(LCR, 0), inb(MCR, 0), inb(LSR, 0x60), inb(MSR, 0xb0)]]);
}

#[test]
fn sends() {
    rows(&[&[out(DATA, b'h'), out(DATA, b'i'), inb(LSR, 0x60), Sent(b"hi"), Sent(b"")]]);
}

#[test]
fn transmitter_interrupt() {
    // Enabling raises it, reading IIR ends it, the next byte raises it again.
    let enabled = [OUT2, out(IER, 2), Intr(true), Ack(0x24), inb(IIR, 2), inb(IIR, 1)];
    rows(&[&enabled, &[out(0x20, 0x20), Intr(false), out(DATA, 1), Intr(true), inb(IIR, 2)]]);
    // OUT2 does not gate the line.
    rows(&[&[out(MCR, 0), out(IER, 2), Intr(true), Ack(0x24), inb(IIR, 2)]]);
}

#[test]
fn receives() {
    let taken = [Serial(b"ab"), inb(LSR, 0x61), inb(DATA, b'a'), inb(LSR, 0x61), inb(DATA, b'b')];
    rows(&[&taken, &[inb(LSR, 0x60), inb(DATA, b'b')]]);
}

#[test]
fn receives_a_break() {
    rows(&[&[SerialBreak, inb(LSR, 0x71), inb(LSR, 0x61), inb(DATA, 0), inb(LSR, 0x60)]]);
    let told =
        [OUT2, out(IER, 5), SerialBreak, Intr(true), inb(IIR, 6), inb(LSR, 0x71), inb(IIR, 4)];
    rows(&[&told, &[inb(DATA, 0), inb(IIR, 1)]]);
    rows(&[&[Serial(b"x"), SerialBreak, inb(LSR, 0x71), inb(DATA, b'x'), inb(LSR, 0x60)]]);
    rows(&[&[out(MCR, 0x10), SerialBreak, inb(LSR, 0x60)]]);
}

#[test]
fn receiver_interrupt() {
    let ready = [OUT2, out(IER, 1), Intr(false), Serial(b"x"), Intr(true), inb(IIR, 4)];
    // The 8259 keeps the edge.
    rows(&[&ready, &[inb(DATA, b'x'), Intr(true), Ack(0x24), Intr(false), inb(IIR, 1)]]);
}

#[test]
fn fifo_trigger_and_timeout() {
    // 115200 baud, 8 bits, no parity: four characters of ten bits are 640 ticks of 1.8432 MHz.
    let timeout = (640 * 1_000_000_000u64).div_ceil(1_843_200);
    let divisor = [out(LCR, 0x83), out(DATA, 1), out(IER, 0), out(LCR, 3)];
    let four = [out(IIR, 0x41), OUT2, out(IER, 1), inb(IIR, 0xc1)];
    let short =
        [Serial(b"abc"), Intr(false), Deadline(Some(timeout)), At(timeout - 1), inb(IIR, 0xc1)];
    let late = [At(timeout), Intr(true), inb(IIR, 0xcc), inb(DATA, b'a'), inb(IIR, 0xc1)];
    rows(&[&divisor, &four, &short, &late]);
    rows(&[&divisor, &four, &[Serial(b"abcd"), Intr(true), inb(IIR, 0xc4), inb(DATA, b'a')]]);
}

#[test]
fn more_input_than_the_fifo_holds_waits() {
    let bytes = b"0123456789abcdefghij";
    let mut steps = vec![out(IIR, 1), Serial(bytes)];
    steps.extend(bytes.iter().flat_map(|&byte| [inb(LSR, 0x61), inb(DATA, byte)]));
    steps.push(inb(LSR, 0x60));
    rows(&[&steps]);
}

#[test]
fn fifo_reset_drops_what_is_there() {
    rows(&[&[out(IIR, 1), Serial(b"abc"), out(IIR, 3), inb(LSR, 0x60)]]);
}

#[test]
fn divisor_latch() {
    let latch = [out(LCR, 0x83), out(DATA, 0x34), out(IER, 0x12), inb(DATA, 0x34), inb(IER, 0x12)];
    rows(&[&latch, &[out(LCR, 3), inb(IER, 0), Sent(b"")]]);
}

#[test]
fn loopback() {
    let looped = [out(MCR, 0x10), inb(MSR, 0x0b), out(DATA, 0x5a), Sent(b""), inb(LSR, 0x61)];
    rows(&[&looped, &[inb(DATA, 0x5a), out(MCR, 0x1f), inb(MSR, 0xfb), inb(MSR, 0xf0)]]);
    // RI reports its trailing edge.
    rows(&[&[out(MCR, 0x14), inb(MSR, 0x4b), out(MCR, 0x10), inb(MSR, 0x04)]]);
    // A second byte overruns the first.
    let overrun = [out(MCR, 0x10), out(DATA, 1), out(DATA, 2), inb(LSR, 0x63), inb(LSR, 0x61)];
    rows(&[&overrun, &[inb(DATA, 2)]]);
    // A break is a zero byte's error.
    rows(&[&[out(MCR, 0x10), out(LCR, 0x43), inb(LSR, 0x70)]]);
}

#[test]
fn interrupt_priorities() {
    let all = [out(MCR, 0x10), out(IER, 0x0f), out(DATA, 1), out(DATA, 2)];
    let order = [inb(IIR, 6), inb(LSR, 0x63), inb(IIR, 4), inb(DATA, 2), inb(IIR, 2), inb(IIR, 0)];
    rows(&[&all, &order, &[inb(MSR, 0x0b), inb(IIR, 1)]]);
}

#[test]
fn scratch() {
    rows(&[&[out(0x3ff, 0xa5), inb(0x3ff, 0xa5)]]);
}
