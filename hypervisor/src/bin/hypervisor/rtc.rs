//! The date from the machine's real-time clock. Motorola MC146818A data sheet.

use runtime::cpu::{inb, outb};

fn register(index: u8) -> u8 {
    outb(0x70, index);
    inb(0x71)
}

/// Seconds since 1970; an update in progress is waited for.
pub(crate) fn seconds() -> u64 {
    let mut tries = 0;
    while register(0x0A) & 0x80 != 0 && tries < 1_000_000 {
        tries += 1;
    }
    let binary = register(0x0B) & 4 != 0;
    let number = |index| {
        let value = u64::from(register(index));
        if binary { value } else { (value >> 4) * 10 + (value & 15) }
    };
    let (second, minute, hour) = (number(0), number(2), number(4));
    let days = days(2000 + number(9), number(8), number(7));
    days * 86_400 + hour * 3600 + minute * 60 + second
}

/// Days from 1970 to a date: years begin in March, so that the leap day is the last.
fn days(year: u64, month: u64, day: u64) -> u64 {
    let (year, month) = if month > 2 { (year, month - 3) } else { (year - 1, month + 9) };
    let leap = year / 4 - year / 100 + year / 400;
    (year * 365 + leap + (month * 153 + 2) / 5 + day).saturating_sub(719_469)
}
