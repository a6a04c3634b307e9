//! The real-time clock and CMOS memory.

use super::*;

const SECOND: u64 = 1_000_000_000;

/// Selects and reads a CMOS byte.
fn get(index: u8, expect: u8) -> Vec<Step> {
    vec![out(0x70, index), inb(0x71, expect)]
}

/// Selects and writes a CMOS byte.
fn set(index: u8, value: u8) -> Vec<Step> {
    vec![out(0x70, index), out(0x71, value)]
}

#[track_caller]
fn rows(parts: &[Vec<Step>]) {
    check(&parts.concat());
}

/// The date as the registers show it: century, year, month, day, weekday, hour, minute, second.
fn date(bytes: [u8; 8]) -> Vec<Step> {
    [0x32, 9, 8, 7, 6, 4, 2, 0].iter().zip(bytes).flat_map(|(&at, byte)| get(at, byte)).collect()
}

fn set_date(bytes: [u8; 8]) -> Vec<Step> {
    let fields = [0x32, 9, 8, 7, 6, 4, 2, 0].iter().zip(bytes);
    let stop = set(0x0b, 0x82);
    [stop, fields.flat_map(|(&at, byte)| set(at, byte)).collect(), set(0x0b, 0x02)].concat()
}

#[test]
fn power_on_date() {
    // 2023-11-14T22:13:20Z, a Tuesday.
    rows(&[date([0x20, 0x23, 0x11, 0x14, 3, 0x22, 0x13, 0x20])]);
}

#[test]
fn time_passes() {
    let later = |seconds: u64| vec![At(seconds * SECOND)];
    rows(&[later(1), date([0x20, 0x23, 0x11, 0x14, 3, 0x22, 0x13, 0x21])]);
    rows(&[vec![At(SECOND - 1)], date([0x20, 0x23, 0x11, 0x14, 3, 0x22, 0x13, 0x20])]);
    rows(&[later(6400), date([0x20, 0x23, 0x11, 0x15, 4, 0, 0, 0])]);
    // 10,000 days: 2051-04-01, a Saturday.
    rows(&[later(864_000_000), date([0x20, 0x51, 0x04, 0x01, 7, 0x22, 0x13, 0x20])]);
}

#[test]
fn calendar() {
    /// The day after `before`, both as century, year, month, day, weekday.
    #[track_caller]
    fn midnight([c, y, m, d, w]: [u8; 5], [nc, ny, nm, nd, nw]: [u8; 5]) {
        let last_second = set_date([c, y, m, d, w, 0x23, 0x59, 0x59]);
        rows(&[last_second, vec![At(SECOND)], date([nc, ny, nm, nd, nw, 0, 0, 0])]);
    }
    midnight([0x20, 0x23, 0x12, 0x31, 1], [0x20, 0x24, 0x01, 0x01, 2]);
    midnight([0x20, 0x24, 0x02, 0x28, 4], [0x20, 0x24, 0x02, 0x29, 5]);
    midnight([0x20, 0x23, 0x02, 0x28, 3], [0x20, 0x23, 0x03, 0x01, 4]);
    midnight([0x21, 0x00, 0x02, 0x28, 1], [0x21, 0x00, 0x03, 0x01, 2]);
    midnight([0x20, 0x00, 0x02, 0x28, 2], [0x20, 0x00, 0x02, 0x29, 3]);
    midnight([0x19, 0x99, 0x12, 0x31, 6], [0x20, 0x00, 0x01, 0x01, 7]);
    midnight([0x20, 0x23, 0x04, 0x30, 1], [0x20, 0x23, 0x05, 0x01, 2]);
}

#[test]
fn formats() {
    // 12-hour BCD: 11 PM, then midnight is 12 AM.
    let twelve = [set(0x0b, 0x80), set(4, 0x91), set(2, 0x59), set(0, 0x59), set(0x0b, 0)].concat();
    rows(&[twelve, vec![At(SECOND)], get(4, 0x12)]);
    // Binary, 24-hour.
    let binary = [set(0x0b, 0x86), set(4, 22), set(2, 59), set(0, 59), set(0x0b, 6)].concat();
    rows(&[binary, vec![At(SECOND)], get(4, 23), get(2, 0)]);
}

#[test]
fn set_holds_the_date() {
    let held = [set(0x0b, 0x82), vec![At(5 * SECOND)], get(0, 0x20), set(0x0b, 2)].concat();
    rows(&[held, vec![At(6 * SECOND)], get(0, 0x21)]);
}

#[test]
fn update_in_progress_leads_the_update() {
    let lead = SECOND * 8 / 32768;
    rows(&[vec![At(SECOND - lead - 1)], get(0x0a, 0x26)]);
    rows(&[vec![At(SECOND - lead)], get(0x0a, 0xa6)]);
    rows(&[vec![At(SECOND)], get(0x0a, 0x26)]);
}

#[test]
fn update_interrupt() {
    let enabled = [INIT_PICS.to_vec(), set(0x0b, 0x12), vec![Deadline(Some(SECOND))]].concat();
    let fires = vec![At(SECOND - 1), Intr(false), At(SECOND), Intr(true), Ack(0x28)];
    // Reading C takes the line down; the next second raises it again.
    // The periodic flag is set as well; its interrupt is not enabled.
    let ends = [get(0x0c, 0xd0), get(0x0c, 0)].concat();
    rows(&[enabled, fires, ends, vec![out(0xa0, 0x20), out(0x20, 0x20)], again()]);
}

fn again() -> Vec<Step> {
    vec![Intr(false), At(2 * SECOND), Intr(true), Ack(0x28)]
}

#[test]
fn alarm_interrupt() {
    // At 22:13:22; hours and minutes any.
    let alarm = [set(5, 0xc0), set(3, 0xff), set(1, 0x22), set(0x0b, 0x22)].concat();
    let rings = vec![At(2 * SECOND - 1), Intr(false), At(2 * SECOND), Intr(true)];
    rows(&[INIT_PICS.to_vec(), alarm, rings, get(0x0c, 0xf0)]);
}

#[test]
fn periodic_interrupt() {
    // Rate 6: 1024 Hz.
    let period = SECOND.div_ceil(1024);
    let enabled = [INIT_PICS.to_vec(), set(0x0b, 0x42), vec![Deadline(Some(period))]].concat();
    let fires = vec![At(period - 1), Intr(false), At(period), Intr(true)];
    rows(&[
        enabled.clone(),
        fires,
        get(0x0c, 0xc0),
        vec![Deadline(Some((2 * SECOND).div_ceil(1024)))],
    ]);
    // Rate 1 is 256 Hz, rate 15 is 2 Hz, rate 0 is none.
    rows(&[enabled.clone(), set(0x0a, 0x21), vec![Deadline(Some(SECOND / 256))]]);
    rows(&[enabled.clone(), set(0x0a, 0x2f), vec![Deadline(Some(SECOND / 2))]]);
    rows(&[enabled, set(0x0a, 0x20), vec![Deadline(None)]]);
}

#[test]
fn flags_come_without_interrupts() {
    rows(&[vec![At(SECOND)], get(0x0c, 0x50), get(0x0c, 0)]);
}

#[test]
fn divider_reset_delays_the_update_by_half_a_second() {
    let reset = [set(0x0a, 0x76), vec![At(SECOND * 7 / 4)], set(0x0a, 0x26), get(0, 0x20)].concat();
    rows(&[reset.clone(), vec![At(SECOND * 9 / 4 - 1)], get(0, 0x20)]);
    rows(&[reset, vec![At(SECOND * 9 / 4)], get(0, 0x21)]);
}

#[test]
fn cmos_memory() {
    rows(&[set(0x40, 0xa5), get(0x40, 0xa5), get(0x0d, 0x80), set(0x0d, 0), get(0x0d, 0x80)]);
    // 640 KiB; more than 63 MiB above the first, 112 MiB above the sixteenth; one processor.
    let base = [get(0x15, 0x80), get(0x16, 0x02)].concat();
    rows(&[base, get(0x17, 0xff), get(0x18, 0xff), get(0x34, 0), get(0x35, 7), get(0x5f, 0)]);
}
