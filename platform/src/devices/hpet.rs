//! The high precision event timer: a 64-bit counter and three timers.
//!
//! IA-PC HPET Specification 1.0a.

use serde::{Deserialize, Serialize};

use crate::{
    device::{Device, IoError, Timed},
    time::{Icount, Rate, Scale},
};

/// Frequency of the main counter: a period of 10 ns.
pub const HPET_HZ: u64 = 100_000_000;
/// The period in femtoseconds, for the capability register.
const PERIOD_FS: u64 = 1_000_000_000_000_000 / HPET_HZ;
const TIMERS: usize = 3;
/// I/O APIC inputs to which a timer may be routed: 20 to 23, as in ICH. Input 2 is the 8254's and input 8
/// the clock's, whose levels would hide the timer's edges, and a function of the board drives input 19.
const ROUTES: u64 = 0x00f0_0000;
/// Vendor 8086h, legacy replacement, 64-bit counter, three timers, revision 1.
pub const CAPABILITIES: u32 = 0x8086_0000 | 1 << 15 | 1 << 13 | (TIMERS as u32 - 1) << 8 | 1;

const ENABLE: u64 = 1;
const LEGACY: u64 = 2;

const TN_LEVEL: u64 = 1 << 1;
const TN_INTERRUPT: u64 = 1 << 2;
const TN_PERIODIC: u64 = 1 << 3;
const TN_PERIODIC_CAP: u64 = 1 << 4;
const TN_SIZE_CAP: u64 = 1 << 5;
const TN_VALUE_SET: u64 = 1 << 6;
const TN_32BIT: u64 = 1 << 8;
const TN_ROUTE: u64 = 0x1f << 9;
const TN_WRITABLE: u64 = TN_LEVEL | TN_INTERRUPT | TN_PERIODIC | TN_VALUE_SET | TN_32BIT | TN_ROUTE;
const TN_CAPABILITIES: u64 = TN_PERIODIC_CAP | TN_SIZE_CAP | ROUTES << 32;

/// State of one timer.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
struct Timer {
    config: u64,
    comparator: u64,
    /// What the comparator grows by at a match in periodic mode.
    period: u64,
    /// In edge mode, the line stays up after a match until the next one takes it down and up again.
    raised: bool,
}

impl Timer {
    fn mask(&self) -> u64 {
        if self.config & TN_32BIT != 0 { u32::MAX.into() } else { u64::MAX }
    }

    /// Counter ticks from `counter` to the next match: never 0.
    fn distance(&self, counter: u64) -> u64 {
        // A match at `counter` itself is past; the next is one turn of the counter later.
        (self.comparator.wrapping_sub(counter).wrapping_sub(1) & self.mask()).saturating_add(1)
    }

    fn periodic(&self) -> bool {
        self.config & TN_PERIODIC != 0
    }

    /// Steps over the matches in the `ticks` after `counter`; true if there was one.
    fn run(&mut self, counter: u64, ticks: u64) -> bool {
        let distance = self.distance(counter);
        if distance > ticks {
            return false;
        }
        let mask = self.mask();
        let period = self.period & mask;
        if self.periodic() && period != 0 {
            let steps = (ticks - distance) / period + 1;
            self.comparator = self.comparator.wrapping_add(steps.wrapping_mul(period)) & mask;
        }
        true
    }

    fn write_config(&mut self, value: u64) {
        // A route that is not offered is not taken. "Tn_INT_ROUTE_CNF".
        let offered = ROUTES >> ((value & TN_ROUTE) >> 9) & 1 != 0;
        let route = if offered { value } else { self.config } & TN_ROUTE;
        self.config = value & TN_WRITABLE & !TN_ROUTE | route;
        if self.config & TN_32BIT != 0 {
            self.comparator &= self.mask();
            self.period &= self.mask();
        }
        if self.config & TN_INTERRUPT == 0 || self.config & TN_LEVEL != 0 {
            self.raised = false;
        }
    }

    /// In periodic mode every write sets the period, and the comparator only after VAL_SET.
    fn write_comparator(&mut self, value: u64, written: u64) {
        let mask = self.mask();
        let merge = |old: u64| (old & !written | value & written) & mask;
        if !self.periodic() || self.config & TN_VALUE_SET != 0 {
            self.comparator = merge(self.comparator);
        }
        if self.periodic() {
            self.period = merge(self.period);
        }
        if written & 1 != 0 {
            self.config &= !TN_VALUE_SET;
        }
    }
}

/// The timer block.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Hpet {
    scale: Scale,
    config: u64,
    status: u64,
    /// The main counter at `tick`.
    counter: u64,
    tick: u64,
    timers: [Timer; TIMERS],
    /// Timers whose edge the board has not sampled yet.
    strikes: u8,
}

impl Hpet {
    /// The block of a machine that runs at `rate`, halted.
    #[must_use]
    pub fn new(rate: Rate) -> Self {
        Self {
            scale: rate.scale(HPET_HZ),
            config: 0,
            status: 0,
            counter: 0,
            tick: 0,
            timers: Default::default(),
            strikes: 0,
        }
    }

    /// Legacy replacement: timers 0 and 1 take the place of the PIT and the RTC.
    #[must_use]
    pub fn legacy(&self) -> bool {
        self.config & LEGACY != 0
    }

    /// Levels of the I/O APIC inputs: before the edges since the last call, and after them.
    pub fn take_lines(&mut self) -> (u32, u32) {
        let strikes = std::mem::take(&mut self.strikes);
        let (mut before, mut after) = (0, 0);
        for (index, timer) in self.timers.iter().enumerate() {
            let level = timer.config & TN_LEVEL != 0 && self.status >> index & 1 != 0;
            let enabled = timer.config & TN_INTERRUPT != 0;
            let asserted = enabled && (level || timer.raised);
            let line = self.route(index).map_or(0, |input| u32::from(asserted) << input);
            after |= line;
            if strikes >> index & 1 == 0 {
                before |= line;
            }
        }
        (before, after)
    }

    /// The I/O APIC input of a timer, if it has been routed to one.
    fn route(&self, index: usize) -> Option<u32> {
        match index {
            0 if self.legacy() => Some(2),
            1 if self.legacy() => Some(8),
            _ => Some(((self.timers[index].config & TN_ROUTE) >> 9) as u32).filter(|&r| r != 0),
        }
    }

    fn enabled(&self) -> bool {
        self.config & ENABLE != 0
    }

    fn fire(&mut self, index: usize) {
        let timer = &mut self.timers[index];
        if timer.config & TN_LEVEL != 0 {
            self.status |= 1 << index;
        } else if timer.config & TN_INTERRUPT != 0 {
            timer.raised = true;
            self.strikes |= 1 << index;
        }
    }

    fn register(&self, offset: u64) -> u64 {
        match offset {
            0x00 => u64::from(CAPABILITIES) | PERIOD_FS << 32,
            0x10 => self.config,
            0x20 => self.status,
            0xf0 => self.counter,
            _ => self.timer_register(offset),
        }
    }

    fn timer_register(&self, offset: u64) -> u64 {
        let Some(timer) = timer_index(offset).and_then(|index| self.timers.get(index)) else {
            return 0;
        };
        match offset & 0x1f {
            0x00 => timer.config | TN_CAPABILITIES,
            0x08 => timer.comparator,
            _ => 0,
        }
    }

    /// Writes the bits of `value` that `written` selects.
    fn set_register(&mut self, offset: u64, value: u64, written: u64) {
        let merge = |old: u64| old & !written | value & written;
        match offset {
            0x10 => self.set_config(merge(self.config) & (ENABLE | LEGACY)),
            0x20 => self.status &= !(value & written),
            // Writing the counter is for when it is halted.
            0xf0 => self.counter = merge(self.counter),
            _ => self.set_timer_register(offset, value, written),
        }
    }

    fn set_config(&mut self, config: u64) {
        self.config = config;
        if !self.enabled() {
            self.timers.iter_mut().for_each(|timer| timer.raised = false);
        }
    }

    fn set_timer_register(&mut self, offset: u64, value: u64, written: u64) {
        let Some(timer) = timer_index(offset).and_then(|index| self.timers.get_mut(index)) else {
            return;
        };
        match offset & 0x1f {
            0x00 => timer.write_config(timer.config & !written | value & written),
            0x08 => timer.write_comparator(value, written),
            _ => {}
        }
    }
}

/// The timer whose registers `offset` lies in.
fn timer_index(offset: u64) -> Option<usize> {
    offset.checked_sub(0x100).map(|at| (at / 0x20) as usize)
}

impl Device for Hpet {
    fn read(&mut self, offset: u64, _size: u8, _now: Icount) -> Result<u64, IoError> {
        Ok(self.register(offset & !7) >> ((offset & 7) * 8))
    }

    fn write(&mut self, offset: u64, size: u8, value: u64, _now: Icount) -> Result<(), IoError> {
        let shift = (offset & 7) * 8;
        let written = crate::device::all_ones(size) << shift;
        self.set_register(offset & !7, value << shift, written);
        Ok(())
    }
}

impl Timed for Hpet {
    fn deadline(&self, now: Icount) -> Option<Icount> {
        if !self.enabled() {
            return None;
        }
        let tick = self.scale.ticks(now);
        let counter = self.counter.wrapping_add(tick.saturating_sub(self.tick));
        let waiting = self.timers.iter().filter(|timer| timer.config & TN_INTERRUPT != 0);
        let distance = waiting.map(|timer| timer.distance(counter)).min()?;
        Some(self.scale.instant(tick.saturating_add(distance)))
    }

    fn advance(&mut self, now: Icount) {
        let tick = self.scale.ticks(now);
        let ticks = tick.saturating_sub(self.tick);
        self.tick = tick;
        if !self.enabled() || ticks == 0 {
            return;
        }
        for index in 0..TIMERS {
            if self.timers[index].run(self.counter, ticks) {
                self.fire(index);
            }
        }
        self.counter = self.counter.wrapping_add(ticks);
    }
}
