//! The ACPI power-management timer and the event block beside it. ACPI, "Fixed Hardware".

use core::ops::Range;

/// The timer's clock, in Hz.
pub const HZ: u64 = 3_579_545;
/// The block where hvmloader puts it, and where it was before `HVM_PARAM_ACPI_IOPORTS_LOCATION`.
const BASES: [u16; 2] = [0x1F40, 0xB000];
/// The status and enable registers, two bytes each.
const EVENTS: Range<u16> = 0..4;
/// The timer's four bytes in the block.
const TIMER: Range<u16> = 8..12;

const TIMER_OVERFLOW: u16 = 1 << 0;
const POWER_BUTTON: u16 = 1 << 8;
const SLEEP_BUTTON: u16 = 1 << 9;
/// The bit whose change is an overflow of the timer.
const TOP: u32 = 31;

/// Timer and event block.
#[derive(Debug, Clone, Default)]
pub struct PmTimer {
    status: u16,
    enable: u16,
    /// The time up to which the status is right.
    seen: u64,
    /// What the timer shows at time 0.
    offset: u32,
}

/// Bytes of `hvm_hw_pmtimer`.
pub const RECORD: usize = 8;

impl PmTimer {
    /// The offset of `port` in the block at `location` (the value of the parameter), if the hypervisor
    /// has what is there: sleep and general events are the device model's.
    pub fn offset(location: u64, port: u16) -> Option<u16> {
        let base = BASES[usize::from(location != 0)];
        let offset = port.checked_sub(base)?;
        (EVENTS.contains(&offset) || TIMER.contains(&offset)).then_some(offset)
    }

    /// Reads byte `offset` at `now`, in periods of the clock.
    pub fn read(&mut self, offset: u16, now: u64) -> u8 {
        self.tick(now);
        let events = u32::from(self.enable) << 16 | u32::from(self.status);
        if TIMER.contains(&offset) {
            self.shown(now).to_le_bytes()[usize::from(offset - TIMER.start)]
        } else {
            events.to_le_bytes()[usize::from(offset & 3)]
        }
    }

    /// Writes byte `offset`: ones clear the status.
    pub fn write(&mut self, offset: u16, value: u8, now: u64) {
        self.tick(now);
        let shift = u32::from(offset & 1) * 8;
        match offset {
            0 | 1 => self.status &= !(u16::from(value) << shift),
            2 | 3 => self.enable = self.enable & !(0xFF << shift) | u16::from(value) << shift,
            _ => {}
        }
    }

    fn shown(&self, now: u64) -> u32 {
        (now as u32).wrapping_add(self.offset)
    }

    /// As a record of an HVM context.
    pub fn record(&self) -> [u8; RECORD] {
        let Self { status, enable, seen, offset: _ } = self;
        let mut raw = [0; RECORD];
        raw[..4].copy_from_slice(&self.shown(*seen).to_le_bytes());
        raw[4..6].copy_from_slice(&status.to_le_bytes());
        raw[6..].copy_from_slice(&enable.to_le_bytes());
        raw
    }

    /// Takes a record over.
    pub fn load(&mut self, raw: [u8; RECORD], now: u64) {
        let [a, b, c, d, status @ .., e, f] = raw;
        let shown = u32::from_le_bytes([a, b, c, d]);
        *self = Self {
            status: u16::from_le_bytes(status),
            enable: u16::from_le_bytes([e, f]),
            seen: now,
            offset: shown.wrapping_sub(now as u32),
        };
    }

    /// Brings the status up to `now`.
    pub fn tick(&mut self, now: u64) {
        let before = core::mem::replace(&mut self.seen, now);
        let offset = u64::from(self.offset);
        if (before + offset) >> TOP != (now + offset) >> TOP {
            self.status |= TIMER_OVERFLOW;
        }
    }

    /// The power button is pressed, or the sleep button.
    pub fn press(&mut self, sleep: bool) {
        self.status |= if sleep { SLEEP_BUTTON } else { POWER_BUTTON };
    }

    /// The level of the system control interrupt.
    pub fn line(&self) -> bool {
        self.status & self.enable & (TIMER_OVERFLOW | POWER_BUTTON | SLEEP_BUTTON) != 0
    }

    /// The time at which the line may rise next.
    pub fn deadline(&self) -> Option<u64> {
        let waits = self.enable & TIMER_OVERFLOW != 0 && !self.line();
        let offset = u64::from(self.offset);
        waits.then(|| ((((self.seen + offset) >> TOP) + 1) << TOP) - offset)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check_place(location: u64, port: u16, offset: Option<u16>) {
        assert_eq!(PmTimer::offset(location, port), offset);
    }

    #[test]
    fn places() {
        check_place(0, 0x1F40, Some(0));
        check_place(0, 0xB008, None);
        check_place(1, 0xB008, Some(8));
        check_place(1, 0xB004, None);
        check_place(1, 0xB00C, None);
    }

    #[test]
    fn survives_its_record() {
        let mut pm = PmTimer::default();
        pm.write(2, 1, 100);
        let mut copy = PmTimer::default();
        copy.load(pm.record(), 1000);
        assert_eq!(copy.record(), pm.record());
        assert_eq!((copy.read(8, 1001), copy.deadline()), (101, Some((1 << 31) + 900)));
    }

    #[test]
    fn overflow_and_buttons() {
        let mut pm = PmTimer::default();
        assert_eq!(pm.deadline(), None);
        pm.write(2, 1, 5);
        assert_eq!(pm.deadline(), Some(1 << 31));
        pm.tick(1 << 31);
        assert!(pm.line());
        pm.write(0, 1, 1 << 31);
        assert!(!pm.line());
        pm.press(false);
        pm.write(3, 1, 1 << 31);
        assert!(pm.line());
        assert_eq!([0, 1, 2, 3].map(|at| pm.read(at, 1 << 31)), [0, 1, 1, 1]);
        assert_eq!(pm.read(9, 0x1234_5678), 0x56);
    }
}
