//! The 8254 timer of a PC with the speaker's port. Intel 8254 data sheet.
//!
//! Nothing counts: an output is computed from the time that has passed since a count was written. The
//! unit of time is the input clock's period; only channel 0 interrupts.

/// The input clock, in Hz.
pub const HZ: u64 = 1_193_182;
/// The port of channel 0; the others and the control word follow.
const BASE: u16 = 0x40;
/// Bit 0 is channel 2's gate, bit 1 lets its output to the speaker.
const SPEAKER: u16 = 0x61;
/// The shortest period of channel 0 that interrupts, in periods of the input clock: a guest cannot ask
/// for more interrupts than the hypervisor can deliver.
const SHORTEST: u64 = 60;

/// The bytes of a count that a read or a write of the channel's port passes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
enum Bytes {
    Low,
    High,
    #[default]
    Both,
}

/// A counter of the three, with its latches.
#[derive(Debug, Clone, Default)]
struct Channel {
    bytes: Bytes,
    mode: u8,
    bcd: bool,
    /// The count as written, 1 to 10000h.
    count: u64,
    /// The low byte, written before the high one.
    low: Option<u8>,
    /// The next read gives the high byte.
    high_next: bool,
    latched: Option<u16>,
    status: Option<u8>,
    /// The time at which the count began; none before one was written.
    start: Option<u64>,
    gate: bool,
}

impl Channel {
    fn full(&self) -> u64 {
        if self.count == 0 { if self.bcd { 10_000 } else { 0x1_0000 } } else { self.count }
    }

    fn periodic(&self) -> bool {
        self.mode & 2 != 0
    }

    fn passed(&self, now: u64) -> u64 {
        self.start.map_or(0, |start| now.saturating_sub(start))
    }

    /// The output's level.
    fn output(&self, now: u64) -> bool {
        let (passed, full) = (self.passed(now), self.full());
        match self.mode {
            0 | 1 => self.start.is_some() && passed >= full,
            2 => passed % full != full - 1,
            3 => passed % full < full.div_ceil(2),
            _ => passed != full,
        }
    }

    fn value(&self, now: u64) -> u16 {
        let (passed, full) = (self.passed(now), self.full());
        let left = match self.mode {
            2 => full - passed % full,
            3 => full - passed * 2 % full,
            _ => full.wrapping_sub(passed),
        };
        if !self.bcd {
            return left as u16;
        }
        let left = left % 10_000;
        [1, 10, 100, 1000].iter().rev().fold(0, |bcd, unit| bcd << 4 | (left / unit % 10) as u16)
    }

    fn control(&mut self, word: u8, now: u64) {
        match word >> 4 & 3 {
            0 => self.latch(now),
            bytes => {
                let mode = word >> 1 & 7;
                let mode = if mode & 2 != 0 { mode & 3 } else { mode };
                let bytes = [Bytes::Low, Bytes::High, Bytes::Both][usize::from(bytes - 1)];
                let gate = self.gate;
                *self = Self { bytes, mode, bcd: word & 1 != 0, gate, ..Self::default() };
            }
        }
    }

    fn latch(&mut self, now: u64) {
        if self.latched.is_none() {
            self.latched = Some(self.value(now));
        }
    }

    fn latch_status(&mut self, now: u64) {
        let access = self.access();
        let output = u8::from(self.output(now)) << 7 | u8::from(self.start.is_none()) << 6;
        self.status.get_or_insert(output | access << 4 | self.mode << 1 | u8::from(self.bcd));
    }

    fn read(&mut self, now: u64) -> u8 {
        if let Some(status) = self.status.take() {
            return status;
        }
        let [low, high] = self.latched.unwrap_or_else(|| self.value(now)).to_le_bytes();
        let is_high = match self.bytes {
            Bytes::Low => false,
            Bytes::High => true,
            Bytes::Both => {
                self.high_next = !self.high_next;
                !self.high_next
            }
        };
        if is_high || self.bytes == Bytes::Low {
            self.latched = None;
        }
        if is_high { high } else { low }
    }

    fn write(&mut self, value: u8, now: u64) {
        let word = match (self.bytes, self.low.take()) {
            (Bytes::Low, _) => u16::from(value),
            (Bytes::High, _) => u16::from(value) << 8,
            (Bytes::Both, None) => return self.low = Some(value),
            (Bytes::Both, Some(low)) => u16::from_le_bytes([low, value]),
        };
        let digits = [12, 8, 4, 0].map(|shift| u64::from(word >> shift & 15));
        let decimal = digits.iter().fold(0, |sum, digit| sum * 10 + digit);
        self.count = if self.bcd { decimal } else { word.into() };
        self.start = Some(now);
    }

    fn set_gate(&mut self, gate: bool, now: u64) {
        // DEPARTURE: a gate that falls does not stop the count; a rise begins the count anew.
        if gate && !self.gate && self.start.is_some() && !matches!(self.mode, 0 | 4) {
            self.start = Some(now);
        }
        self.gate = gate;
    }
}

/// Bytes of a channel of `hvm_hw_pit`, and of the whole.
const CHANNEL: usize = 16;
/// Bytes of `hvm_hw_pit`.
pub const RECORD: usize = 3 * CHANNEL + 8;

impl Channel {
    fn access(&self) -> u8 {
        match self.bytes {
            Bytes::Low => 1,
            Bytes::High => 2,
            Bytes::Both => 3,
        }
    }

    fn record(&self) -> [u8; CHANNEL] {
        let Self { bytes: _, mode, bcd, count: _, low, high_next, latched, status, .. } = self;
        let access = self.access();
        let both = |second: bool| if access == 3 { 3 + u8::from(second) } else { access };
        let latch = if latched.is_some() { access } else { 0 };
        let mut raw = [0; CHANNEL];
        raw[..4].copy_from_slice(&(self.full() as u32).to_le_bytes());
        raw[4..6].copy_from_slice(&latched.unwrap_or(0).to_le_bytes());
        raw[6..9].copy_from_slice(&[latch, status.is_some().into(), status.unwrap_or(0)]);
        raw[9..12].copy_from_slice(&[both(*high_next), both(low.is_some()), low.unwrap_or(0)]);
        raw[12..].copy_from_slice(&[access, *mode, u8::from(*bcd), u8::from(self.gate)]);
        raw
    }

    /// The count begins anew, as in Xen.
    fn load(&mut self, raw: &[u8; CHANNEL], now: u64) {
        let [count @ .., _, _, _, _, _, _, _, _, _, _, _, _] = *raw;
        let [_, _, _, _, low, high, latch, has_status, status, read, write, byte, ..] = *raw;
        let [.., access, mode, bcd, gate] = *raw;
        let count = u64::from(u32::from_le_bytes(count)).min(0x1_0000);
        *self = Self {
            bytes: [Bytes::Low, Bytes::High, Bytes::Both][usize::from(access.clamp(1, 3) - 1)],
            mode: if mode & 2 != 0 { mode & 3 } else { mode & 5 },
            bcd: bcd != 0,
            count,
            low: (write == 4).then_some(byte),
            high_next: read == 4,
            latched: (latch != 0).then_some(u16::from_le_bytes([low, high])),
            status: (has_status != 0).then_some(status),
            start: Some(now),
            gate: gate != 0,
        };
    }
}

/// The timer: three counters, and the port of the speaker.
#[derive(Debug, Clone, Default)]
pub struct Pit {
    channels: [Channel; 3],
    speaker: u8,
    /// The time of channel 0's next interrupt.
    next: Option<u64>,
}

impl Pit {
    /// True if `port` is one of the timer's.
    pub fn has(port: u16) -> bool {
        (BASE..BASE + 4).contains(&port) || port == SPEAKER
    }

    /// The time of the next interrupt.
    pub fn deadline(&self) -> Option<u64> {
        self.next
    }

    /// True if an interrupt is due at `now`: one, however many have been missed.
    pub fn tick(&mut self, now: u64) -> bool {
        let Some(next) = self.next.filter(|&next| next <= now) else { return false };
        let channel = &self.channels[0];
        let period = channel.full().max(SHORTEST);
        self.next = channel.periodic().then(|| next + ((now - next) / period + 1) * period);
        true
    }

    /// Reads a port that [`Pit::has`].
    pub fn read(&mut self, port: u16, now: u64) -> u8 {
        if port == SPEAKER {
            // The refresh request toggles every 15 microseconds.
            let refresh = (now / 18) as u8 & 1;
            let output = u8::from(self.channels[2].output(now));
            return self.speaker | refresh << 4 | output << 5;
        }
        self.channels.get_mut(usize::from(port - BASE)).map_or(0xFF, |channel| channel.read(now))
    }

    /// Writes a port that [`Pit::has`].
    pub fn write(&mut self, port: u16, value: u8, now: u64) {
        if port == SPEAKER {
            self.speaker = value & 3;
            return self.channels[2].set_gate(value & 1 != 0, now);
        }
        match self.channels.get_mut(usize::from(port - BASE)) {
            Some(channel) => channel.write(value, now),
            None => self.control(value, now),
        }
        let channel = &self.channels[0];
        if port == BASE && channel.low.is_none() {
            self.next = channel.start.map(|start| start + channel.full().max(SHORTEST));
        } else if channel.start.is_none() {
            self.next = None;
        }
    }

    /// As a record of an HVM context.
    pub fn record(&self) -> [u8; RECORD] {
        let mut raw = [0; RECORD];
        for (place, channel) in raw.chunks_exact_mut(CHANNEL).zip(&self.channels) {
            place.copy_from_slice(&channel.record());
        }
        raw[3 * CHANNEL] = self.speaker >> 1;
        raw
    }

    /// Takes a record over.
    pub fn load(&mut self, raw: &[u8; RECORD], now: u64) {
        for (place, channel) in raw.as_chunks().0.iter().zip(&mut self.channels) {
            channel.load(place, now);
        }
        self.speaker = u8::from(self.channels[2].gate) | (raw[3 * CHANNEL] & 1) << 1;
        let channel = &self.channels[0];
        self.next = Some(now + channel.full().max(SHORTEST));
    }

    fn control(&mut self, word: u8, now: u64) {
        if let Some(channel) = self.channels.get_mut(usize::from(word >> 6)) {
            return channel.control(word, now);
        }
        for (index, channel) in self.channels.iter_mut().enumerate() {
            if word & 2 << index == 0 {
                continue;
            }
            if word & 1 << 5 == 0 {
                channel.latch(now);
            }
            if word & 1 << 4 == 0 {
                channel.latch_status(now);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn programmed(control: u8, count: u16) -> Pit {
        let mut pit = Pit::default();
        pit.write(0x43, control, 100);
        count.to_le_bytes().into_iter().for_each(|byte| pit.write(0x40, byte, 100));
        pit
    }

    #[track_caller]
    fn check_ticks(pit: &mut Pit, expected: &[u64]) {
        for &at in expected {
            assert_eq!(pit.deadline(), Some(at));
            assert!(!pit.tick(at - 1));
            assert!(pit.tick(at));
        }
    }

    #[test]
    fn channel_0_interrupts() {
        check_ticks(&mut programmed(0x34, 1000), &[1100, 2100, 3100]);
        let mut full = programmed(0x36, 0);
        check_ticks(&mut full, &[65636]);
        // Those that are missed come once.
        assert!(full.tick(65636 * 4));
        assert_eq!(full.deadline(), Some(100 + 65536 * 5));
        let mut once = programmed(0x30, 500);
        check_ticks(&mut once, &[600]);
        assert_eq!(once.deadline(), None);
        check_ticks(&mut programmed(0x34, 1), &[160, 220]);
    }

    #[test]
    fn counts_go_down_and_are_latched() {
        let mut pit = programmed(0x34, 1000);
        pit.write(0x43, 0, 350);
        let latched = [pit.read(0x40, 900), pit.read(0x40, 901)];
        assert_eq!(u16::from_le_bytes(latched), 750);
        let live = [pit.read(0x40, 1101), pit.read(0x40, 1101)];
        assert_eq!(u16::from_le_bytes(live), 999);
        pit.write(0x43, 0xE2, 1101);
        assert_eq!(pit.read(0x40, 1101), 0xB4);
    }

    #[test]
    fn survives_its_record() {
        let mut pit = programmed(0x34, 1000);
        pit.write(0x61, 3, 0);
        pit.write(0x43, 0, 350);
        pit.read(0x40, 350);
        let mut copy = Pit::default();
        copy.load(&pit.record(), 5000);
        assert_eq!(copy.record(), pit.record());
        assert_eq!((copy.deadline(), copy.read(0x40, 5000)), (Some(6000), 2));
        // Anything may stand in a record.
        copy.load(&[0xFF; RECORD], 0);
        assert_eq!(copy.deadline(), Some(0x1_0000));
    }

    #[test]
    fn channel_2_is_seen_at_the_speaker() {
        let mut pit = Pit::default();
        pit.write(0x61, 1, 0);
        pit.write(0x43, 0xB0, 0);
        pit.write(0x42, 100, 0);
        pit.write(0x42, 0, 0);
        assert_eq!(pit.read(0x61, 99) & 0x21, 1);
        assert_eq!(pit.read(0x61, 100) & 0x21, 0x21);
    }
}
