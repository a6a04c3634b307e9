//! The interval timer. Its tick is 1/1193182 s: tick n is reached at `ceil(n · 10⁹ / 1193182)` ns.

use super::*;

/// The first instant at which `ticks` have passed.
fn tick(ticks: u64) -> u64 {
    (ticks * 1_000_000_000).div_ceil(1_193_182)
}

fn at(ticks: u64) -> Step {
    At(tick(ticks))
}

/// Counter 0: control word (binary), count low, count high, at power-on.
fn program(mode: u8, count: u16) -> Vec<Step> {
    let [low, high] = count.to_le_bytes();
    vec![out(0x43, 0x30 | mode << 1), out(0x40, low), out(0x40, high)]
}

/// Reads counter 0 by a latch command.
fn latched(count: u16) -> Vec<Step> {
    let [low, high] = count.to_le_bytes();
    vec![out(0x43, 0x00), inb(0x40, low), inb(0x40, high)]
}

/// Reads the status of counter 0 by a read-back command.
fn status(expect: u8) -> Vec<Step> {
    vec![out(0x43, 0xe2), inb(0x40, expect)]
}

#[track_caller]
fn rows(parts: &[Vec<Step>]) {
    check(&parts.concat());
}

#[test]
fn mode_0_counts_down_once() {
    // The count is loaded one tick after it is written.
    let start = program(0, 1000);
    rows(&[start.clone(), vec![at(1)], latched(1000), vec![at(11)], latched(990)]);
    rows(&[start.clone(), vec![at(1)], status(0x30), vec![at(1001)], status(0xb0)]);
    rows(&[start.clone(), vec![Deadline(Some(tick(1001)))]]);
    // It goes on below zero.
    rows(&[start, vec![at(1003)], latched(0xfffe)]);
}

#[test]
fn mode_0_interrupts() {
    let interrupts = vec![at(1000), Intr(false), at(1001), Intr(true), Ack(0x20)];
    rows(&[INIT_PICS.to_vec(), program(0, 1000), interrupts]);
}

#[test]
fn mode_2_interrupts_every_period() {
    let mut steps = vec![Deadline(Some(tick(100)))];
    for period in 1..=3 {
        steps.extend([at(100 * period), Intr(false), at(100 * period + 1)]);
        steps.extend([Intr(true), Ack(0x20), out(0x20, 0x20)]);
    }
    rows(&[INIT_PICS.to_vec(), program(2, 100), steps]);
}

#[test]
fn mode_2_counts_n_to_1() {
    let start = program(2, 100);
    rows(&[start.clone(), vec![at(1)], latched(100), vec![at(100)], latched(1)]);
    rows(&[start, vec![at(101)], latched(100), vec![at(3 * 100 + 51)], latched(50)]);
}

#[test]
fn mode_2_takes_a_new_count_at_the_periods_end() {
    let mut steps = program(2, 100);
    steps.extend([at(31), out(0x40, 10), out(0x40, 0), at(100)]);
    rows(&[steps.clone(), latched(1)]);
    rows(&[steps.clone(), vec![at(101)], latched(10)]);
    rows(&[steps, vec![at(111)], latched(10)]);
}

#[test]
fn mode_3_is_a_square_wave() {
    // Even: down by two, twice. The status shows OUT.
    let start = program(3, 100);
    rows(&[start.clone(), vec![at(11)], latched(80), vec![at(61)], latched(80)]);
    rows(&[start.clone(), vec![at(50)], status(0xb6), vec![at(51)], status(0x36)]);
    rows(&[start, vec![at(101)], status(0xb6)]);
    // Odd: one tick longer up than down.
    let odd = program(3, 5);
    rows(&[odd.clone(), vec![at(3)], status(0xb6), vec![at(4)], status(0x36)]);
    rows(&[odd.clone(), vec![at(5)], status(0x36), vec![at(6)], status(0xb6)]);
    rows(&[odd, vec![at(1)], latched(4)]);
}

#[test]
fn mode_4_strobes_for_one_tick() {
    let start = program(4, 10);
    rows(&[start.clone(), vec![at(10)], status(0xb8), vec![at(11)], status(0x38)]);
    rows(&[start, vec![at(12)], status(0xb8)]);
}

/// Counter 2 in `mode`; its gate is bit 0 of port 61h, its OUT bit 5, with bit 4 masked by reading
/// at an even multiple of the refresh time.
fn program_2(mode: u8, count: u8) -> Vec<Step> {
    vec![out(0x61, 0), out(0x43, 0x90 | mode << 1), out(0x42, count)]
}

#[test]
fn mode_1_and_5_wait_for_the_gate() {
    let shot = [program_2(1, 72), vec![inb(0x61, 0x20), at(36), inb(0x61, 0x20), out(0x61, 1)]];
    rows(&[shot.concat(), vec![at(72), inb(0x61, 0x01), at(36 * 3 + 2), inb(0x61, 0x21)]]);
    let strobe = [program_2(5, 71), vec![at(36), out(0x61, 1), at(72), inb(0x61, 0x21)]];
    rows(&[strobe.concat(), vec![at(108), inb(0x61, 0x01), at(109), inb(0x61, 0x21)]]);
}

#[test]
fn the_gate_stops_mode_0() {
    let begun = [program_2(0, 72), vec![out(0x61, 1), at(36), out(0x61, 0), at(360)]];
    let left = vec![out(0x43, 0x80), inb(0x42, 36)];
    rows(&[begun.concat(), left, vec![out(0x61, 1), at(360 + 36), inb(0x61, 0x21)]]);
}

#[test]
fn refresh_toggles() {
    rows(&[vec![inb(0x61, 0), at(18), inb(0x61, 0x10), at(36), inb(0x61, 0)]]);
}

#[test]
fn bcd_counts_in_decimal() {
    let start = vec![out(0x43, 0x31), out(0x40, 0x00), out(0x40, 0x10), at(2)];
    rows(&[start, vec![out(0x43, 0), inb(0x40, 0x99), inb(0x40, 0x09)]]);
    // 0 is 10000.
    let zero = vec![out(0x43, 0x35), out(0x40, 0), out(0x40, 0), at(2)];
    rows(&[zero, vec![out(0x43, 0), inb(0x40, 0x99), inb(0x40, 0x99)]]);
}

#[test]
fn latches_hold_until_read() {
    let start = [program(2, 1000), vec![at(1), out(0x43, 0), at(500), out(0x43, 0)]].concat();
    rows(&[start.clone(), vec![inb(0x40, 0xe8), inb(0x40, 3)], vec![at(501)], latched(500)]);
    // Status comes before count.
    let both = vec![out(0x43, 0xc2), inb(0x40, 0xb4), inb(0x40, 0xe8), inb(0x40, 0x03)];
    rows(&[start, both]);
}

#[test]
fn null_count_until_it_is_complete() {
    rows(&[vec![out(0x43, 0x34)], status(0xf4), vec![out(0x40, 1)], status(0xf4)]);
}

#[test]
fn one_byte_access() {
    let low = vec![out(0x43, 0x14), out(0x40, 50), at(11), inb(0x40, 40), inb(0x40, 40)];
    rows(&[low]);
    let high = vec![out(0x43, 0x24), out(0x40, 2), at(1), inb(0x40, 2), at(2), inb(0x40, 1)];
    rows(&[high]);
}
