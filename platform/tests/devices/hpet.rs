//! The HPET: ten instructions a tick.

use super::*;

const BASE: u64 = 0xfed0_0000;
const CONFIG: u64 = BASE + 0x10;
const STATUS: u64 = BASE + 0x20;
const COUNTER: u64 = BASE + 0xf0;

const fn timer(index: u64) -> u64 {
    BASE + 0x100 + 0x20 * index
}

/// Unmasks an I/O APIC input with a vector; low-half flags may be added to the vector.
fn input(pin: u8, low: u64) -> [Step; 2] {
    [Store(0xfec0_0000, 4, 0x10 + 2 * u64::from(pin)), Store(0xfec0_0010, 4, low)]
}

#[test]
fn capabilities() {
    check(&[Load(BASE, 8, 0x0098_9680_8086_a201), Load(BASE + 4, 4, 0x0098_9680)]);
    check(&[Load(timer(0), 8, 0x00f0_0000_0000_0030), Store(timer(0), 8, u64::MAX)]);
    check(&[Store(timer(0), 8, u64::MAX), Load(timer(0), 8, 0x00f0_0000_0000_017e)]);
    check(&[Load(timer(3), 8, 0), Load(BASE + 0x3f8, 8, 0)]);
}

#[test]
fn routes_that_are_not_offered_are_not_taken() {
    // Neither the 8254's input nor the clock's, nor those that functions drive.
    for route in [1, 2, 8, 16, 19, 24, 31] {
        check(&[Store(timer(0), 8, route << 9), Load(timer(0), 4, 0x30)]);
        let kept = [Store(timer(0), 8, 22 << 9), Store(timer(0), 8, route << 9)];
        check(&[&kept[..], &[Load(timer(0), 4, 22 << 9 | 0x30)]].concat());
    }
    // A timer without a route asserts nothing.
    let fires = [Store(timer(0), 8, 4), Store(timer(0) + 8, 8, 10), Store(CONFIG, 8, 1)];
    check(&[&input(0, 0x60)[..], &fires, &[At(1000), Messages(&[])]].concat());
}

#[test]
fn every_route_brings_the_edge_beside_the_8254() {
    let pit = [out(0x43, 0x34), out(0x40, 0), out(0x40, 0xe9), At(60_000_000)];
    for route in 0..24u8 {
        if 0x00f0_0000u32 >> route & 1 != 0 {
            let begun = [
                Store(timer(0), 8, u64::from(route) << 9 | 4),
                Store(timer(0) + 8, 8, 7_000_000),
                Store(CONFIG, 8, 1),
            ];
            let fires = [At(60_000_000 + 70_000_000), Messages(&[0x60])];
            check(&[&pit[..], &input(route, 0x60), &begun, &fires].concat());
        }
    }
}

#[test]
fn the_counter_counts_when_enabled() {
    check(&[At(1000), Load(COUNTER, 8, 0), Store(CONFIG, 8, 1), At(1500), Load(COUNTER, 8, 50)]);
    let stopped =
        [Store(CONFIG, 4, 1), At(500), Store(CONFIG, 4, 0), At(900), Load(COUNTER, 8, 50)];
    check(&stopped);
    let set =
        [Store(COUNTER + 4, 4, 7), Store(CONFIG, 4, 1), At(30), Load(COUNTER, 8, 7 << 32 | 3)];
    check(&set);
}

#[test]
fn one_shot_edges() {
    // Input 20, comparator 100.
    let begun =
        [&input(20, 0x60)[..], &[Store(timer(0), 8, 20 << 9 | 4), Store(timer(0) + 8, 8, 100)]];
    let runs = [Store(CONFIG, 8, 1), Deadline(Some(1000)), At(999), Messages(&[])];
    let fires = [At(1000), Messages(&[0x60]), At(100_000), Messages(&[])];
    check(&[&begun.concat()[..], &runs, &fires].concat());
    // Armed again, it fires again.
    let again = [Store(timer(0) + 8, 8, 20_000), At(200_000), Messages(&[0x60])];
    check(&[&begun.concat()[..], &runs, &fires, &again].concat());
}

#[test]
fn periodic_legacy_replacement() {
    // Comparator 100 by VAL_SET, then period 50; the PIC's IRQ0 and input 2.
    let mut steps = INIT_PICS.to_vec();
    steps.extend(input(2, 0x61));
    steps.extend([
        Store(timer(0), 8, 0x4c),
        Store(timer(0) + 8, 8, 100),
        Store(timer(0) + 8, 8, 50),
    ]);
    steps.extend([Load(timer(0) + 8, 8, 100), Store(CONFIG, 8, 3)]);
    for instant in [1000, 1500, 2000] {
        steps.extend([At(instant - 1), Intr(false), Messages(&[]), At(instant), Intr(true)]);
        steps.extend([Messages(&[0x61]), Ack(0x20), out(0x20, 0x20)]);
    }
    steps.push(Load(timer(0) + 8, 8, 250));
    check(&steps);
}

#[test]
fn legacy_replacement_disconnects_the_pit() {
    let pit = [out(0x43, 0x30), out(0x40, 10), out(0x40, 0), Store(CONFIG, 8, 3)];
    check(&[&INIT_PICS[..], &pit, &[At(1_000_000), Intr(false)]].concat());
}

#[test]
fn timer_1_is_irq8() {
    let timer1 = [Store(timer(1), 8, 4), Store(timer(1) + 8, 8, 100), Store(CONFIG, 8, 3)];
    check(&[&INIT_PICS[..], &timer1, &[At(1000), Intr(true), Ack(0x28)]].concat());
}

#[test]
fn levels_last_until_cleared() {
    let level = [Store(timer(2), 8, 21 << 9 | 6), Store(timer(2) + 8, 8, 10), Store(CONFIG, 8, 1)];
    let fires = [At(100), Messages(&[0x62]), Load(STATUS, 8, 4), Eoi(0x62), Messages(&[0x62])];
    let ends = [Store(STATUS, 8, 4), Eoi(0x62), Messages(&[]), Load(STATUS, 8, 0)];
    check(&[&input(21, 0x8062)[..], &level, &fires, &ends].concat());
}

#[test]
fn a_32_bit_timer_wraps() {
    let begun = [Store(COUNTER, 8, 0xffff_fff0), Store(timer(0), 8, 20 << 9 | 0x104)];
    let runs = [Store(timer(0) + 8, 4, 4), Store(CONFIG, 8, 1), Deadline(Some(200))];
    check(&[&input(20, 0x63)[..], &begun, &runs, &[At(200), Messages(&[0x63])]].concat());
}
