//! The clock of a PC's MC146818: the time, the alarm and the interrupts. Its battery-backed memory is
//! the device model's. Motorola MC146818A data sheet.

/// The registers that are here: time, alarm, control. Those above are the device model's.
pub const REGISTERS: u8 = 14;
/// Bytes of `hvm_hw_rtc`.
pub const RECORD: usize = 24;
const SECOND: u64 = 1_000_000_000;
/// The time before the next second in which the registers may not be read.
const UPDATE: u64 = 244_000;

const REG_A: usize = 10;
const REG_B: usize = 11;
const REG_C: usize = 12;
const REG_D: usize = 13;
const A_UIP: u8 = 1 << 7;
const B_SET: u8 = 1 << 7;
const B_24H: u8 = 1 << 1;
const B_BINARY: u8 = 1 << 2;
/// The periodic, alarm and update-ended interrupts, in registers B and C.
const PERIODIC: u8 = 1 << 6;
const ALARM: u8 = 1 << 5;
const ENDED: u8 = 1 << 4;
const C_IRQ: u8 = 1 << 7;
const D_VALID: u8 = 1 << 7;

/// The registers that hold a time, in the order of [`Time`].
const CLOCK: [usize; 7] = [0, 2, 4, 6, 7, 8, 9];

/// Second, minute, hour, day of the week (1 is Sunday), day of the month, month, year of the century.
type Time = [u8; 7];

/// The time, the alarm and the control registers.
#[derive(Debug, Clone)]
pub struct Rtc {
    index: u8,
    registers: [u8; REGISTERS as usize],
    /// Seconds from 1970 to system time 0.
    epoch: i64,
    /// The system time, ns, up to which register C is right.
    seen: u64,
}

/// Days from 1970 to the first of a month of a year.
fn days(year: i64, month: i64) -> i64 {
    // The year begins in March, so that the leap day is its last.
    let (year, month) = if month > 2 { (year, month - 3) } else { (year - 1, month + 9) };
    let century = year.div_euclid(100);
    let whole = 365 * year + year.div_euclid(4) - century + century.div_euclid(4);
    whole + (153 * month + 2) / 5 - 719_468
}

fn time_of(seconds: i64) -> Time {
    let (day, rest) = (seconds.div_euclid(86_400), seconds.rem_euclid(86_400));
    let mut year = 1970 + day.div_euclid(366);
    while days(year + 1, 1) <= day {
        year += 1;
    }
    let month = (1..=12).rev().find(|&month| days(year, month) <= day).unwrap_or(1);
    let date = day - days(year, month) + 1;
    let weekday = (day + 4).rem_euclid(7) + 1;
    [rest % 60, rest / 60 % 60, rest / 3600, weekday, date, month, year.rem_euclid(100)]
        .map(|value| value as u8)
}

fn seconds_of([second, minute, hour, _, date, month, year]: Time) -> i64 {
    let year = i64::from(year);
    let year = if year < 70 { 2000 + year } else { 1900 + year };
    let day = days(year, i64::from(month.clamp(1, 12))) + i64::from(date) - 1;
    day * 86_400 + i64::from(hour) * 3600 + i64::from(minute) * 60 + i64::from(second)
}

impl Rtc {
    /// A clock that shows `epoch` seconds since 1970 at system time 0.
    pub fn new(epoch: i64) -> Self {
        let mut registers = [0; REGISTERS as usize];
        registers[REG_A] = 0x26;
        registers[REG_B] = B_24H;
        registers[REG_D] = D_VALID;
        Self { index: 0, registers, epoch, seen: 0 }
    }

    /// The register that is selected, if it is here.
    pub fn selected(&self) -> Option<u8> {
        (self.index < REGISTERS).then_some(self.index)
    }

    /// Selects a register.
    pub fn select(&mut self, value: u8) {
        self.index = value & 0x7F;
    }

    fn stopped(&self) -> bool {
        self.registers[REG_B] & B_SET != 0
    }

    fn seconds(&self, now: u64) -> i64 {
        self.epoch + (now / SECOND) as i64
    }

    /// The period of the periodic interrupt, ns.
    fn period(&self) -> Option<u64> {
        let rate = match self.registers[REG_A] & 15 {
            0 => return None,
            rate @ 1..=2 => rate + 7,
            rate => rate,
        };
        Some((SECOND << (rate - 1)) / 32_768)
    }

    fn shown(&self, hour: bool, value: u8) -> u8 {
        let b = self.registers[REG_B];
        let afternoon = hour && b & B_24H == 0 && value >= 12;
        let value = if hour && b & B_24H == 0 { (value + 11) % 12 + 1 } else { value };
        let value = if b & B_BINARY != 0 { value } else { (value / 10) * 16 + value % 10 };
        value | u8::from(afternoon) << 7
    }

    fn meant(&self, hour: bool, value: u8) -> u8 {
        let b = self.registers[REG_B];
        let twelve = hour && b & B_24H == 0;
        let low = if twelve { value & 0x7F } else { value };
        let low = if b & B_BINARY != 0 { low } else { (low >> 4).wrapping_mul(10) + (low & 15) };
        if twelve { low % 12 + if value & 0x80 != 0 { 12 } else { 0 } } else { low }
    }

    /// Stores the time in the registers, where it stands while the clock is stopped.
    fn show(&mut self, now: u64) {
        for (place, value) in CLOCK.into_iter().zip(time_of(self.seconds(now))) {
            self.registers[place] = self.shown(place == 4, value);
        }
    }

    fn take(&mut self, now: u64) {
        let time = CLOCK.map(|place| self.meant(place == 4, self.registers[place]));
        self.epoch = seconds_of(time).saturating_sub((now / SECOND) as i64);
    }

    /// Reads the selected register at `now` ns.
    pub fn read(&mut self, now: u64) -> u8 {
        self.tick(now);
        let index = usize::from(self.index);
        if CLOCK.contains(&index) && !self.stopped() {
            self.show(now);
        }
        match index {
            REG_A => {
                let updates = !self.stopped() && now % SECOND >= SECOND - UPDATE;
                self.registers[REG_A] | if updates { A_UIP } else { 0 }
            }
            REG_C => core::mem::take(&mut self.registers[REG_C]),
            _ => self.registers.get(index).copied().unwrap_or(0xFF),
        }
    }

    /// Writes the selected register.
    pub fn write(&mut self, value: u8, now: u64) {
        self.tick(now);
        match usize::from(self.index) {
            REG_A => self.registers[REG_A] = value & !A_UIP,
            REG_B => {
                let was = self.stopped();
                if !was {
                    self.show(now);
                }
                self.registers[REG_B] = value;
                if was && !self.stopped() {
                    self.take(now);
                }
                self.raise(0);
            }
            REG_C | REG_D => {}
            index if CLOCK.contains(&index) => {
                if !self.stopped() {
                    self.show(now);
                }
                self.registers[index] = value;
                if !self.stopped() {
                    self.take(now);
                }
            }
            index => {
                if let Some(register) = self.registers.get_mut(index) {
                    *register = value;
                }
            }
        }
    }

    /// As a record of an HVM context; `wallclock` is seconds since 1970 at system time 0.
    pub fn record(&self, wallclock: i64) -> [u8; RECORD] {
        let Self { index, registers, epoch, seen } = self;
        let mut shown = self.clone();
        if !shown.stopped() {
            shown.show(*seen);
        }
        let mut raw = [0; RECORD];
        raw[..registers.len()].copy_from_slice(&shown.registers);
        raw[registers.len()] = *index;
        raw[16..].copy_from_slice(&epoch.wrapping_sub(wallclock).to_le_bytes());
        raw
    }

    /// Takes a record over.
    pub fn load(&mut self, raw: &[u8; RECORD], wallclock: i64, now: u64) {
        let [registers @ .., index, _, _, _, _, _, _, _, _, _] = *raw;
        let [.., a, b, c, d, e, f, g, h] = *raw;
        let offset = i64::from_le_bytes([a, b, c, d, e, f, g, h]);
        // Far beyond any calendar.
        let epoch = wallclock.saturating_add(offset.clamp(-(1 << 36), 1 << 36));
        *self = Self { index: index & 0x7F, registers, epoch, seen: now };
        self.registers[REG_D] = D_VALID;
    }

    fn raise(&mut self, causes: u8) {
        let c = self.registers[REG_C] & !C_IRQ | causes;
        let asks = c & self.registers[REG_B] & (PERIODIC | ALARM | ENDED) != 0;
        self.registers[REG_C] = c | if asks { C_IRQ } else { 0 };
    }

    fn alarm_is(&self, seconds: i64) -> bool {
        let time = time_of(seconds);
        // The two highest bits stand for any value.
        [1, 3, 5].into_iter().zip(time).all(|(place, value)| {
            let alarm = self.registers[place];
            alarm & 0xC0 == 0xC0 || self.meant(place == 5, alarm) == value
        })
    }

    /// Brings register C up to `now` ns.
    pub fn tick(&mut self, now: u64) {
        let before = core::mem::replace(&mut self.seen, now);
        let mut causes = 0;
        if self.period().is_some_and(|period| now / period != before / period) {
            causes |= PERIODIC;
        }
        let passed = (now / SECOND).saturating_sub(before / SECOND);
        if passed != 0 && !self.stopped() {
            causes |= ENDED;
            let last = self.seconds(now);
            let first = last - passed.min(60) as i64 + 1;
            if self.registers[REG_B] & ALARM != 0 && (first..=last).any(|at| self.alarm_is(at)) {
                causes |= ALARM;
            }
        }
        if causes != 0 {
            self.raise(causes);
        }
    }

    /// The level of the interrupt line.
    pub fn line(&self) -> bool {
        self.registers[REG_C] & C_IRQ != 0
    }

    /// The time, ns, at which the line may rise next.
    pub fn deadline(&self) -> Option<u64> {
        if self.line() {
            return None;
        }
        let b = self.registers[REG_B];
        let after = |period: u64| (self.seen / period + 1) * period;
        let periodic = self.period().filter(|_| b & PERIODIC != 0).map(after);
        let second = (b & (ALARM | ENDED) != 0 && b & B_SET == 0).then(|| after(SECOND));
        [periodic, second].into_iter().flatten().min()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(rtc: &mut Rtc, index: u8, now: u64) -> u8 {
        rtc.select(index);
        rtc.read(now)
    }

    fn write(rtc: &mut Rtc, index: u8, value: u8, now: u64) {
        rtc.select(index);
        rtc.write(value, now);
    }

    #[track_caller]
    fn check_time(seconds: i64, time: Time) {
        assert_eq!(time_of(seconds), time);
        assert_eq!(seconds_of(time), seconds);
    }

    #[test]
    fn calendar() {
        check_time(0, [0, 0, 0, 5, 1, 1, 70]);
        check_time(951_782_399, [59, 59, 23, 2, 28, 2, 0]);
        check_time(951_782_400, [0, 0, 0, 3, 29, 2, 0]);
        check_time(1_798_761_599, [59, 59, 23, 5, 31, 12, 26]);
    }

    #[test]
    fn shows_and_takes_the_time() {
        let mut rtc = Rtc::new(1_798_761_599);
        let fields = [0, 2, 4, 7, 8, 9].map(|index| read(&mut rtc, index, 0));
        assert_eq!(fields, [0x59, 0x59, 0x23, 0x31, 0x12, 0x26]);
        assert_eq!(read(&mut rtc, 9, SECOND), 0x27);
        write(&mut rtc, 11, B_SET, SECOND);
        for (index, value) in [(0, 0x30), (2, 0x15), (4, 0x83), (7, 4), (8, 7), (9, 0x26)] {
            write(&mut rtc, index, value, SECOND);
        }
        assert_eq!(read(&mut rtc, 0, 5 * SECOND), 0x30);
        write(&mut rtc, 11, 0, 5 * SECOND);
        assert_eq!(read(&mut rtc, 4, 5 * SECOND), 0x83);
        write(&mut rtc, 11, B_24H | B_BINARY, 5 * SECOND);
        let fields = [0, 2, 4, 6, 7, 8, 9].map(|index| read(&mut rtc, index, 7 * SECOND));
        assert_eq!(fields, [32, 15, 15, 7, 4, 7, 26]);
    }

    #[test]
    fn interrupts() {
        let mut rtc = Rtc::new(0);
        assert_eq!(rtc.deadline(), None);
        write(&mut rtc, 11, B_24H | PERIODIC, 0);
        let period = SECOND / 1024;
        assert_eq!(rtc.deadline(), Some(period));
        rtc.tick(period);
        assert!(rtc.line());
        assert_eq!(read(&mut rtc, 12, period), C_IRQ | PERIODIC);
        assert!(!rtc.line());
        write(&mut rtc, 11, B_24H | ALARM, period);
        for (index, value) in [(1, 3), (3, 0), (5, 0xFF)] {
            write(&mut rtc, index, value, period);
        }
        rtc.tick(2 * SECOND);
        assert!(!rtc.line());
        rtc.tick(3 * SECOND);
        assert_eq!(read(&mut rtc, 12, 3 * SECOND), C_IRQ | ALARM | ENDED | PERIODIC);
    }

    #[test]
    fn survives_its_record() {
        let mut rtc = Rtc::new(1_798_761_599);
        write(&mut rtc, 11, B_24H | B_BINARY | PERIODIC, 0);
        let mut copy = Rtc::new(0);
        copy.load(&rtc.record(1000), 1000, 0);
        assert_eq!(copy.record(1000), rtc.record(1000));
        assert_eq!(copy.deadline(), Some(SECOND / 1024));
        assert_eq!(read(&mut copy, 9, SECOND), 27);
        copy.load(&[0xFF; RECORD], 0, SECOND);
        read(&mut copy, 9, SECOND);
    }

    #[test]
    fn an_update_is_announced() {
        let mut rtc = Rtc::new(0);
        assert_eq!(read(&mut rtc, 10, SECOND - UPDATE - 1), 0x26);
        assert_eq!(read(&mut rtc, 10, SECOND - UPDATE), 0xA6);
    }
}
