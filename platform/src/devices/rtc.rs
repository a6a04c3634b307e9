//! The MC146818 real-time clock with the CMOS memory of a PC.
//!
//! Offsets: 0 index (port 70h), 1 data (port 71h). Motorola MC146818 data sheet.

use serde::{Deserialize, Serialize};

use crate::{
    device::{Device, IoError, Timed},
    time::{Icount, Rate, Scale},
};

/// 2023-11-14T22:13:20Z: what the clock shows at power-on unless told otherwise.
pub const DEFAULT_START: u64 = 1_700_000_000;
/// Ticks of the crystal in a second.
const SECOND: u64 = 32_768;
/// UIP leads an update by 244 µs: 8 ticks.
const UPDATE_LEAD: u64 = 8;

const SECONDS: usize = 0;
const MINUTES: usize = 2;
const HOURS: usize = 4;
const WEEKDAY: usize = 6;
const DAY: usize = 7;
const MONTH: usize = 8;
const YEAR: usize = 9;
const A: usize = 10;
const B: usize = 11;
const C: usize = 12;
const D: usize = 13;
const CENTURY: usize = 0x32;

const A_UIP: u8 = 0x80;
const B_SET: u8 = 0x80;
const B_BINARY: u8 = 4;
const B_24_HOURS: u8 = 2;
const FLAG_IRQ: u8 = 0x80;
const FLAG_PERIODIC: u8 = 0x40;
const FLAG_ALARM: u8 = 0x20;
const FLAG_UPDATE: u8 = 0x10;
const PM: u8 = 0x80;

/// The clock and its 128 bytes.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Rtc {
    scale: Scale,
    index: u8,
    cmos: Vec<u8>,
    /// Tick of the last update cycle.
    updated: u64,
    /// Tick to which the periodic flag has been followed.
    followed: u64,
}

impl Rtc {
    /// A clock that shows `start` (seconds since 1970, UTC) at power-on.
    #[must_use]
    pub fn new(rate: Rate, start: u64) -> Self {
        let mut rtc = Self {
            scale: rate.scale(SECOND),
            index: 0,
            cmos: vec![0; 128],
            updated: 0,
            followed: 0,
        };
        rtc.cmos[A] = 0x26;
        rtc.cmos[B] = B_24_HOURS;
        rtc.cmos[D] = 0x80;
        rtc.set_date(start);
        rtc
    }

    /// Presets a byte of the CMOS memory, as firmware's set-up would have.
    pub fn preset(&mut self, index: u8, value: u8) {
        self.cmos[usize::from(index & 0x7f)] = value;
    }

    /// Presets the bytes that state the size of memory: free memory ends at `low`, and
    /// above 4 GiB there are `high` bytes.
    pub fn preset_memory(&mut self, low: u64, high: u64) {
        let kib = (low.saturating_sub(1 << 20) >> 10).min(0xffff) as u16;
        let blocks = (low.saturating_sub(16 << 20) >> 16).min(0xffff) as u16;
        let above = (high >> 16).min(0xff_ffff) as u32;
        self.preset_bytes(0x15, &640u16.to_le_bytes());
        self.preset_bytes(0x17, &kib.to_le_bytes());
        self.preset_bytes(0x30, &kib.to_le_bytes());
        self.preset_bytes(0x34, &blocks.to_le_bytes());
        self.preset_bytes(0x5b, &above.to_le_bytes()[..3]);
    }

    fn preset_bytes(&mut self, index: u8, bytes: &[u8]) {
        (index..).zip(bytes).for_each(|(index, &byte)| self.preset(index, byte));
    }

    /// The level of IRQ8.
    #[must_use]
    pub fn irq(&self) -> bool {
        self.cmos[C] & FLAG_IRQ != 0
    }

    fn set_date(&mut self, time: u64) {
        let days = time / 86_400;
        let (year, month, day) = civil(days);
        let (hour, minute) = ((time / 3600 % 24) as u8, (time / 60 % 60) as u8);
        self.set(SECONDS, (time % 60) as u8);
        self.set(MINUTES, minute);
        self.set_hour(hour);
        // 1970-01-01 was a Thursday; Sunday is 1.
        self.set(WEEKDAY, ((days + 4) % 7) as u8 + 1);
        self.set(DAY, day);
        self.set(MONTH, month);
        self.set_year(year);
    }

    fn binary(&self) -> bool {
        self.cmos[B] & B_BINARY != 0
    }

    fn get(&self, index: usize) -> u8 {
        self.decoded(self.cmos[index])
    }

    fn decoded(&self, raw: u8) -> u8 {
        if self.binary() { raw } else { (raw >> 4).wrapping_mul(10).wrapping_add(raw & 15) }
    }

    fn set(&mut self, index: usize, value: u8) {
        self.cmos[index] = self.encoded(value);
    }

    fn encoded(&self, value: u8) -> u8 {
        if self.binary() { value } else { ((value / 10) << 4) | (value % 10) }
    }

    fn hour(&self) -> u8 {
        let raw = self.cmos[HOURS];
        if self.cmos[B] & B_24_HOURS != 0 {
            return self.decoded(raw);
        }
        self.decoded(raw & !PM) % 12 + if raw & PM != 0 { 12 } else { 0 }
    }

    fn set_hour(&mut self, hour: u8) {
        self.cmos[HOURS] = if self.cmos[B] & B_24_HOURS != 0 {
            self.encoded(hour)
        } else {
            let twelve = if hour.is_multiple_of(12) { 12 } else { hour % 12 };
            self.encoded(twelve) | if hour >= 12 { PM } else { 0 }
        };
    }

    fn year(&self) -> u64 {
        u64::from(self.decoded(self.cmos[CENTURY])) * 100 + u64::from(self.get(YEAR))
    }

    fn set_year(&mut self, year: u64) {
        self.set(YEAR, (year % 100) as u8);
        self.set(CENTURY, (year / 100 % 100) as u8);
    }

    /// The clock counts: not held by SET, and the divider runs.
    fn counting(&self) -> bool {
        self.cmos[B] & B_SET == 0 && self.divider_runs()
    }

    fn divider_runs(&self) -> bool {
        self.cmos[A] & 0x60 != 0x60
    }

    /// Ticks between two periodic interrupts; none if the rate selects none.
    fn period(&self) -> Option<u64> {
        match self.cmos[A] & 15 {
            0 => None,
            rate @ 1..=2 => Some(64 << rate),
            rate => Some(1 << (rate - 1)),
        }
    }

    /// One update cycle: a second more, then the alarm.
    fn update(&mut self) {
        self.count_second();
        let matches = |alarm: usize, time: usize| {
            self.cmos[alarm] >= 0xc0 || self.cmos[alarm] == self.cmos[time]
        };
        let alarm = matches(1, SECONDS) && matches(3, MINUTES) && matches(5, HOURS);
        self.cmos[C] |= FLAG_UPDATE | if alarm { FLAG_ALARM } else { 0 };
    }

    /// Adds one to a field; true if it went past `last` and restarted at `first`.
    fn count(&mut self, index: usize, first: u8, last: u8) -> bool {
        let value = self.get(index);
        let wraps = value >= last;
        self.set(index, if wraps { first } else { value + 1 });
        wraps
    }

    fn count_second(&mut self) {
        if !self.count(SECONDS, 0, 59) || !self.count(MINUTES, 0, 59) {
            return;
        }
        let hour = self.hour();
        self.set_hour(if hour >= 23 { 0 } else { hour + 1 });
        if hour < 23 {
            return;
        }
        self.count(WEEKDAY, 1, 7);
        let length = month_length(self.year(), self.get(MONTH));
        if self.count(DAY, 1, length) && self.count(MONTH, 1, 12) {
            self.set_year(self.year() + 1);
        }
    }

    /// Runs the update cycles up to `tick`. A long sleep is taken in whole days.
    fn run_updates(&mut self, tick: u64) {
        if !self.counting() {
            // The divider goes on while SET holds the date.
            self.updated += tick.saturating_sub(self.updated) / SECOND * SECOND;
            return;
        }
        let mut seconds = tick.saturating_sub(self.updated) / SECOND;
        self.updated += seconds * SECOND;
        if seconds > 2 * 86_400 {
            let days = seconds / 86_400 - 1;
            seconds -= days * 86_400;
            self.add_days(days);
        }
        (0..seconds).for_each(|_| self.update());
    }

    fn add_days(&mut self, days: u64) {
        let date = days_from_civil(self.year(), self.get(MONTH), self.get(DAY)) + days;
        let (year, month, day) = civil(date);
        self.set(DAY, day);
        self.set(MONTH, month);
        self.set_year(year);
        self.set(WEEKDAY, ((date + 4) % 7) as u8 + 1);
    }

    fn update_irq(&mut self) {
        let raised = self.cmos[C] & self.cmos[B] & (FLAG_PERIODIC | FLAG_ALARM | FLAG_UPDATE) != 0;
        self.cmos[C] = self.cmos[C] & !FLAG_IRQ | if raised { FLAG_IRQ } else { 0 };
    }

    fn read_data(&mut self, tick: u64) -> u8 {
        match usize::from(self.index) {
            A => {
                let due = self.updated + SECOND;
                let updating = self.counting() && tick + UPDATE_LEAD >= due;
                self.cmos[A] | if updating { A_UIP } else { 0 }
            }
            C => std::mem::take(&mut self.cmos[C]),
            index => self.cmos[index],
        }
    }

    fn write_data(&mut self, value: u8, tick: u64) {
        match usize::from(self.index) {
            A => {
                let stopped = !self.divider_runs();
                self.cmos[A] = value & !A_UIP;
                if stopped && self.divider_runs() {
                    // The first update comes half a second after the divider's release.
                    self.updated = tick.saturating_sub(SECOND / 2);
                }
            }
            // SET clears the update interrupt's enable.
            B if value & B_SET != 0 => self.cmos[B] = value & !FLAG_UPDATE,
            B => self.cmos[B] = value,
            C | D => {}
            index => self.cmos[index] = value,
        }
        self.update_irq();
    }
}

impl Device for Rtc {
    fn read(&mut self, offset: u64, _size: u8, now: Icount) -> Result<u64, IoError> {
        match offset {
            // The index register is write-only.
            0 => Err(IoError::InvalidRegister),
            _ => Ok(self.read_data(self.scale.ticks(now)).into()),
        }
    }

    fn write(&mut self, offset: u64, _size: u8, value: u64, now: Icount) -> Result<(), IoError> {
        match offset {
            // Bit 7 is the NMI mask of the chipset.
            0 => self.index = value as u8 & 0x7f,
            _ => self.write_data(value as u8, self.scale.ticks(now)),
        }
        Ok(())
    }
}

impl Timed for Rtc {
    fn deadline(&self, now: Icount) -> Option<Icount> {
        if self.irq() {
            return None;
        }
        let tick = self.scale.ticks(now);
        let enabled = |flag: u8| self.cmos[B] & flag != 0;
        let period = self.period().filter(|_| enabled(FLAG_PERIODIC) && self.divider_runs());
        let periodic = period.map(|period| (tick / period + 1) * period);
        let updates = self.counting() && enabled(FLAG_ALARM | FLAG_UPDATE);
        let update = updates.then_some(self.updated + SECOND);
        periodic.into_iter().chain(update).min().map(|tick| self.scale.instant(tick))
    }

    fn advance(&mut self, now: Icount) {
        let tick = self.scale.ticks(now);
        self.run_updates(tick);
        if let Some(period) = self.period().filter(|_| self.divider_runs())
            && tick / period != self.followed / period
        {
            self.cmos[C] |= FLAG_PERIODIC;
        }
        self.followed = tick;
        self.update_irq();
    }
}

fn leap(year: u64) -> bool {
    year.is_multiple_of(4) && (!year.is_multiple_of(100) || year.is_multiple_of(400))
}

fn month_length(year: u64, month: u8) -> u8 {
    match month {
        2 => 28 + u8::from(leap(year)),
        4 | 6 | 9 | 11 => 30,
        _ => 31,
    }
}

/// Days before 1 January of `year` since 1 January of year 0 (proleptic Gregorian).
fn days_before(year: u64) -> u64 {
    let full = year.saturating_sub(1);
    if year == 0 { 0 } else { year * 365 + full / 4 - full / 100 + full / 400 + 1 }
}

/// Days from year 0 to 1970.
const EPOCH: u64 = 719_528;

/// Days from 1970-01-01 to a date; dates before count as that day.
fn days_from_civil(year: u64, month: u8, day: u8) -> u64 {
    let months: u64 = (1..month.min(12)).map(|m| u64::from(month_length(year, m))).sum();
    (days_before(year) + months + u64::from(day.max(1)) - 1).saturating_sub(EPOCH)
}

/// Year, month (1–12) and day (1–31) of the day `days` after 1970-01-01.
fn civil(days: u64) -> (u64, u8, u8) {
    let days = days + EPOCH;
    // 400 years are 146097 days; the estimate is never too late by more than a year.
    let mut year = days * 400 / 146_097;
    while days_before(year + 1) <= days {
        year += 1;
    }
    while days_before(year) > days {
        year -= 1;
    }
    let mut rest = days - days_before(year);
    let mut month = 1;
    while rest >= u64::from(month_length(year, month)) {
        rest -= u64::from(month_length(year, month));
        month += 1;
    }
    (year, month, rest as u8 + 1)
}
