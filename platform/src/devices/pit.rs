//! The 8254 interval timer and port 61h, "system control port B", which gates its counter 2.
//!
//! Offsets: 0–2 counters, 3 control word, 4 port 61h. Intel 8254 data sheet.
//! A counter is a function of the ticks since its count was loaded, so idle time costs nothing.

use serde::{Deserialize, Serialize};

use crate::{
    device::{Device, IoError, Timed},
    time::{Icount, Rate, Scale},
};

/// Input frequency of the three counters.
pub const PIT_HZ: u64 = 1_193_182;
/// Ticks between two changes of port 61h's refresh bit: 15.085 µs.
const REFRESH_TICKS: u64 = 18;

/// Which bytes of the count the port transfers.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
enum Access {
    #[default]
    Low,
    High,
    Both,
}

/// State of one counter.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
struct Counter {
    mode: u8,
    bcd: bool,
    access: Access,
    /// The count in force, 1 to 10000h (or 9999+1 in BCD).
    count: u32,
    /// A count written during a period of mode 2 or 3, or before a trigger of mode 1 or 5.
    next_count: Option<u32>,
    /// The low byte, when the high byte is still to be written.
    low: Option<u8>,
    /// The next read returns the high byte.
    high_next: bool,
    latched: Option<u16>,
    latched_status: Option<u8>,
    gate: bool,
    /// The tick at which the counting element held `count`; none: not counting.
    start: Option<u64>,
    /// Ticks counted when the gate stopped the counting.
    paused: Option<u64>,
}

impl Counter {
    /// Modes 2 and 3 repeat.
    fn periodic(&self) -> bool {
        matches!(self.mode, 2 | 3)
    }

    /// Modes 1 and 5 start on a rising gate.
    fn triggered(&self) -> bool {
        matches!(self.mode, 1 | 5)
    }

    fn modulus(&self) -> u32 {
        if self.bcd { 10_000 } else { 0x1_0000 }
    }

    /// Ticks counted since the load; none if nothing is counting.
    fn elapsed(&self, tick: u64) -> Option<u64> {
        self.paused.or(self.start.map(|start| tick.saturating_sub(start)))
    }

    /// Position in the period of mode 2 or 3; none while OUT is held high.
    fn position(&self, tick: u64) -> Option<u64> {
        let running = self.gate && self.paused.is_none();
        self.elapsed(tick).filter(|_| running).map(|elapsed| elapsed % u64::from(self.count))
    }

    /// Ticks of a mode 3 period during which OUT is high.
    fn high_half(&self) -> u64 {
        u64::from(self.count).div_ceil(2)
    }

    fn out(&self, tick: u64) -> bool {
        let count = u64::from(self.count);
        let elapsed = self.elapsed(tick);
        match self.mode {
            0 => elapsed.is_some_and(|e| e >= count),
            1 => elapsed.is_none_or(|e| e >= count),
            2 => self.position(tick).is_none_or(|p| p != count - 1),
            3 => self.position(tick).is_none_or(|p| p < self.high_half()),
            _ => elapsed != Some(count),
        }
    }

    /// The tick at which OUT changes next.
    fn edge(&self, tick: u64) -> Option<u64> {
        if self.paused.is_some() {
            return None;
        }
        let elapsed = self.elapsed(tick)?;
        let count = u64::from(self.count);
        let wait = match self.mode {
            2 | 3 => self.edge_in_period(elapsed % count)?,
            0 | 1 => count.checked_sub(elapsed).filter(|&wait| wait > 0)?,
            _ if elapsed < count => count - elapsed,
            _ if elapsed == count => 1,
            _ => return None,
        };
        Some(tick.max(self.start?).saturating_add(wait))
    }

    fn edge_in_period(&self, position: u64) -> Option<u64> {
        let count = u64::from(self.count);
        let low_from = if self.mode == 2 { count - 1 } else { self.high_half() };
        match count {
            1 => None,
            _ if position < low_from => Some(low_from - position),
            _ => Some(count - position),
        }
    }

    /// The counting element, in the form that the guest reads.
    fn value(&self, tick: u64) -> u16 {
        let elapsed = self.elapsed(tick).unwrap_or(0);
        let count = u64::from(self.count);
        let value = match self.mode {
            2 => count - elapsed % count.max(1),
            3 => self.square_wave_value(elapsed % count.max(1)),
            _ => {
                let modulus = u64::from(self.modulus());
                count + modulus - elapsed % modulus
            }
        };
        self.encode(value)
    }

    /// Mode 3 counts down by two, twice a period, from the count made even.
    fn square_wave_value(&self, position: u64) -> u64 {
        let half = self.high_half();
        let within = if position < half { position } else { position - half };
        (u64::from(self.count) & !1) - 2 * within
    }

    fn encode(&self, value: u64) -> u16 {
        let value = (value % u64::from(self.modulus())) as u16;
        if !self.bcd {
            return value;
        }
        (value % 10) | ((value / 10 % 10) << 4) | (value / 100 % 10) << 8 | (value / 1000) << 12
    }

    /// A count register's content as a count: 0 is the modulus. A nibble above 9 counts as it is.
    fn decode(&self, raw: u16) -> u32 {
        let digit = |shift: u32| u32::from(raw >> shift & 15);
        let count = match self.bcd {
            false => raw.into(),
            true => digit(0) + digit(4) * 10 + digit(8) * 100 + digit(12) * 1000,
        };
        if count == 0 { self.modulus() } else { count }
    }

    /// A control word for this counter: everything stops until a count comes.
    fn program(&mut self, control: u8) {
        // Modes 6 and 7 are 2 and 3.
        let mode = match control >> 1 & 7 {
            mode @ 6..=7 => mode - 4,
            mode => mode,
        };
        let access = match control >> 4 & 3 {
            1 => Access::Low,
            2 => Access::High,
            _ => Access::Both,
        };
        let (gate, count) = (self.gate, self.count);
        *self = Self { mode, access, bcd: control & 1 != 0, gate, count, ..Self::default() };
    }

    fn write(&mut self, value: u8, tick: u64) {
        match (self.access, self.low.take()) {
            (Access::Low, _) => self.load(value.into(), tick),
            (Access::High, _) => self.load(u16::from(value) << 8, tick),
            (Access::Both, Some(low)) => self.load(u16::from_le_bytes([low, value]), tick),
            (Access::Both, None) => {
                self.low = Some(value);
                if self.mode == 0 {
                    // The first byte of a count stops mode 0.
                    self.start = None;
                    self.paused = None;
                }
            }
        }
    }

    /// A complete count has been written; it reaches the counting element with the next tick.
    ///
    /// DEPARTURE: a new count in mode 3 waits for the end of the period, not of the half period.
    fn load(&mut self, raw: u16, tick: u64) {
        let count = self.decode(raw);
        if self.triggered() || self.periodic() && self.start.is_some() {
            self.fold(tick);
            self.next_count = Some(count);
            return;
        }
        self.count = count;
        self.start = Some(tick + 1);
        self.paused = (!self.gate).then_some(0);
    }

    /// Moves `start` into the current period, so that its end is `start + count`.
    fn fold(&mut self, tick: u64) {
        if let (Some(start), true) = (self.start, self.periodic()) {
            let count = u64::from(self.count);
            self.start = Some(start + tick.saturating_sub(start) / count * count);
        }
    }

    /// Takes a waiting count into force when the period of mode 2 or 3 has ended.
    fn advance(&mut self, tick: u64) {
        let (Some(start), Some(next), true) = (self.start, self.next_count, self.periodic()) else {
            return;
        };
        let end = start + u64::from(self.count);
        if self.paused.is_none() && tick >= end {
            self.start = Some(end);
            self.count = next;
            self.next_count = None;
        }
    }

    fn set_gate(&mut self, gate: bool, tick: u64) {
        let was = std::mem::replace(&mut self.gate, gate);
        match self.mode {
            1 | 5 if gate && !was => self.trigger(tick),
            2 | 3 if gate && !was && self.start.is_some() => self.trigger(tick),
            1 | 5 => {}
            _ if !gate => self.paused = self.elapsed(tick),
            _ if !was => self.resume(tick),
            _ => {}
        }
    }

    /// A rising gate in modes 1, 2, 3 and 5: counting begins anew.
    fn trigger(&mut self, tick: u64) {
        self.count = self.next_count.take().unwrap_or(self.count);
        self.paused = None;
        if self.count != 0 {
            self.start = Some(tick + 1);
        }
    }

    fn resume(&mut self, tick: u64) {
        if let Some(elapsed) = self.paused.take() {
            self.start = Some(tick.saturating_sub(elapsed));
        }
    }

    fn latch(&mut self, tick: u64) {
        if self.latched.is_none() {
            self.latched = Some(self.value(tick));
        }
    }

    fn latch_status(&mut self, tick: u64) {
        let access = match self.access {
            Access::Low => 1,
            Access::High => 2,
            Access::Both => 3,
        };
        let null = self.start.is_none() || self.next_count.is_some();
        let status = u8::from(self.out(tick)) << 7
            | u8::from(null) << 6
            | access << 4
            | self.mode << 1
            | u8::from(self.bcd);
        self.latched_status.get_or_insert(status);
    }

    fn read(&mut self, tick: u64) -> u8 {
        if let Some(status) = self.latched_status.take() {
            return status;
        }
        let [low, high] = self.latched.unwrap_or_else(|| self.value(tick)).to_le_bytes();
        let high_byte = match self.access {
            Access::Low => false,
            Access::High => true,
            Access::Both => {
                self.high_next = !self.high_next;
                !self.high_next
            }
        };
        if high_byte || self.access == Access::Low {
            self.latched = None;
        }
        if high_byte { high } else { low }
    }
}

/// The timer and port 61h.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Pit {
    scale: Scale,
    counters: [Counter; 3],
    /// Bits 0–3 of port 61h: gate of counter 2, speaker, and two error enables.
    control_b: u8,
}

impl Pit {
    /// The timer of a machine that runs at `rate`: no counter counts yet.
    #[must_use]
    pub fn new(rate: Rate) -> Self {
        // Data sheet: modes and outputs are undefined. In mode 3 OUT is high, so that programming it is no edge.
        let open = Counter { gate: true, mode: 3, ..Counter::default() };
        let counters = [open.clone(), open, Counter::default()];
        Self { scale: rate.scale(PIT_HZ), counters, control_b: 0 }
    }

    /// OUT of counter 0: IRQ0.
    #[must_use]
    pub fn irq(&self, now: Icount) -> bool {
        self.counters[0].out(self.scale.ticks(now))
    }

    fn control(&mut self, control: u8, tick: u64) {
        let select = usize::from(control >> 6);
        if select == 3 {
            self.read_back(control, tick);
        } else if control & 0x30 == 0 {
            self.counters[select].latch(tick);
        } else {
            self.counters[select].program(control);
        }
    }

    fn read_back(&mut self, control: u8, tick: u64) {
        let chosen = |index: usize| control & 2 << index != 0;
        for (_, counter) in self.counters.iter_mut().enumerate().filter(|&(i, _)| chosen(i)) {
            if control & 0x20 == 0 {
                counter.latch(tick);
            }
            if control & 0x10 == 0 {
                counter.latch_status(tick);
            }
        }
    }

    fn read_control_b(&self, tick: u64) -> u8 {
        let refresh = ((tick / REFRESH_TICKS) & 1) as u8;
        self.control_b | refresh << 4 | u8::from(self.counters[2].out(tick)) << 5
    }
}

impl Device for Pit {
    fn read(&mut self, offset: u64, _size: u8, now: Icount) -> Result<u64, IoError> {
        let tick = self.scale.ticks(now);
        let value = match offset {
            0..=2 => self.counters[offset as usize].read(tick),
            // The control word is write-only.
            3 => return Err(IoError::InvalidRegister),
            _ => self.read_control_b(tick),
        };
        Ok(value.into())
    }

    fn write(&mut self, offset: u64, _size: u8, value: u64, now: Icount) -> Result<(), IoError> {
        let (value, tick) = (value as u8, self.scale.ticks(now));
        match offset {
            0..=2 => self.counters[offset as usize].write(value, tick),
            3 => self.control(value, tick),
            _ => {
                self.control_b = value & 0x0f;
                self.counters[2].set_gate(value & 1 != 0, tick);
            }
        }
        Ok(())
    }
}

impl Timed for Pit {
    fn deadline(&self, now: Icount) -> Option<Icount> {
        // Only counter 0 is wired to an interrupt; the others are looked at when read.
        self.counters[0].edge(self.scale.ticks(now)).map(|tick| self.scale.instant(tick))
    }

    fn advance(&mut self, now: Icount) {
        let tick = self.scale.ticks(now);
        self.counters.iter_mut().for_each(|counter| counter.advance(tick));
    }
}
