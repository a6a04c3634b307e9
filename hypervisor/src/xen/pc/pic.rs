//! The pair of 8259A interrupt controllers of a PC. Intel 8259A data sheet; ELCR as in the 82371.

use core::ops::RangeInclusive;

/// The command port of the first; its data port follows.
const MASTER: u16 = 0x20;
/// The command port of the second.
const SLAVE: u16 = 0xA0;
/// The two ports that say which lines are level triggered.
const ELCR: RangeInclusive<u16> = 0x4D0..=0x4D1;
/// The input of the first that the second drives.
const CASCADE: u8 = 2;
/// The lines of each that can be level triggered.
const ELCR_BITS: [u8; 2] = [0xF8, 0xDE];

const ICW1: u8 = 1 << 4;
const ICW1_NEEDS_ICW4: u8 = 1;
const ICW1_SINGLE: u8 = 1 << 1;
const ICW4_AUTO_EOI: u8 = 1 << 1;
const OCW3: u8 = 1 << 3;

/// The word that a chip expects at its data port.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
enum Expects {
    #[default]
    Mask,
    Icw2,
    Icw3,
    Icw4,
}

/// One 8259A.
#[derive(Debug, Clone, Default)]
struct Chip {
    irr: u8,
    isr: u8,
    imr: u8,
    /// The levels of its inputs.
    lines: u8,
    /// Level-triggered inputs.
    elcr: u8,
    /// The vector of input 0.
    base: u8,
    /// The input of the highest priority.
    first: u8,
    expects: Expects,
    icw1: u8,
    auto_eoi: bool,
    rotates: bool,
    special_mask: bool,
    reads_isr: bool,
    poll: bool,
}

impl Chip {
    fn set_line(&mut self, input: u8, level: bool) {
        let bit = 1 << input;
        if level {
            if self.elcr & bit != 0 || self.lines & bit == 0 {
                self.irr |= bit;
            }
            self.lines |= bit;
        } else {
            self.lines &= !bit;
            if self.elcr & bit != 0 {
                self.irr &= !bit;
            }
        }
    }

    /// The place of the highest-priority input in `set`, 0 being the highest priority.
    fn rank(&self, set: u8) -> Option<u8> {
        let turned = set.rotate_right(self.first.into());
        (turned != 0).then(|| turned.trailing_zeros() as u8)
    }

    /// The input that it asks to be served.
    fn requested(&self) -> Option<u8> {
        let rank = self.rank(self.irr & !self.imr)?;
        let served = if self.special_mask { self.isr & !self.imr } else { self.isr };
        let free = self.rank(served).is_none_or(|busy| rank < busy);
        free.then(|| (rank + self.first) & 7)
    }

    fn acknowledge(&mut self, input: u8) {
        let bit = 1 << input;
        if self.elcr & bit == 0 {
            self.irr &= !bit;
        }
        if !self.auto_eoi {
            self.isr |= bit;
        } else if self.rotates {
            self.first = (input + 1) & 7;
        }
    }

    fn command(&mut self, value: u8) {
        if value & ICW1 != 0 {
            let (elcr, lines) = (self.elcr, self.lines);
            // Levels that are high ask again; edges have to come anew.
            let irr = lines & elcr;
            *self = Self { elcr, lines, irr, icw1: value, ..Self::default() };
            self.expects = Expects::Icw2;
        } else if value & OCW3 != 0 {
            self.poll = value & 4 != 0;
            if value & 2 != 0 {
                self.reads_isr = value & 1 != 0;
            }
            if value & 1 << 6 != 0 {
                self.special_mask = value & 1 << 5 != 0;
            }
        } else {
            self.end(value >> 5, value & 7);
        }
    }

    /// OCW2: ends of interrupt and rotation.
    fn end(&mut self, operation: u8, named: u8) {
        let highest = self.rank(self.isr).map(|rank| (rank + self.first) & 7);
        match operation {
            0 | 4 => self.rotates = operation == 4,
            1 | 5 => {
                let Some(input) = highest else { return };
                self.isr &= !(1 << input);
                if operation == 5 {
                    self.first = (input + 1) & 7;
                }
            }
            3 | 7 => {
                self.isr &= !(1 << named);
                if operation == 7 {
                    self.first = (named + 1) & 7;
                }
            }
            6 => self.first = (named + 1) & 7,
            _ => {}
        }
    }

    fn data(&mut self, value: u8) {
        let after_icw3 =
            if self.icw1 & ICW1_NEEDS_ICW4 != 0 { Expects::Icw4 } else { Expects::Mask };
        match self.expects {
            Expects::Mask => self.imr = value,
            Expects::Icw2 => {
                self.base = value & 0xF8;
                let single = self.icw1 & ICW1_SINGLE != 0;
                self.expects = if single { after_icw3 } else { Expects::Icw3 };
            }
            Expects::Icw3 => self.expects = after_icw3,
            Expects::Icw4 => {
                self.auto_eoi = value & ICW4_AUTO_EOI != 0;
                self.expects = Expects::Mask;
            }
        }
    }

    /// A read of the command port (`data` false) or of the mask.
    fn read(&mut self, data: bool) -> u8 {
        if core::mem::take(&mut self.poll) {
            let Some(input) = self.requested() else { return 0 };
            self.acknowledge(input);
            return 1 << 7 | input;
        }
        match (data, self.reads_isr) {
            (true, _) => self.imr,
            (false, true) => self.isr,
            (false, false) => self.irr,
        }
    }
}

/// Bytes of `hvm_hw_vpic`.
pub const RECORD: usize = 8;

impl Chip {
    fn record(&self, first: bool) -> [u8; RECORD] {
        let &Self { irr, isr, imr, lines: _, elcr, base, first: top, expects, icw1, .. } = self;
        let &Self { auto_eoi, rotates, special_mask, reads_isr, poll, .. } = self;
        let expected = match expects {
            Expects::Mask => 0,
            Expects::Icw2 => 1,
            Expects::Icw3 => 2,
            Expects::Icw4 => 3,
        };
        // ICW4 is to come, and there is no third word.
        let state = expected | (icw1 & ICW1_NEEDS_ICW4) << 2 | (icw1 & ICW1_SINGLE) << 2;
        let flags = [reads_isr, poll, auto_eoi, rotates, false, special_mask, first];
        let flags = flags.iter().rev().fold(0, |byte, &flag| byte << 1 | u8::from(flag));
        let output = u8::from(self.requested().is_some());
        [irr, imr, isr, base, state | top << 4, flags, elcr, output]
    }

    fn load(&mut self, raw: [u8; RECORD]) {
        let [irr, imr, isr, base, state, flags, elcr, _] = raw;
        let flag = |bit: u8| flags >> bit & 1 != 0;
        *self = Self {
            irr,
            isr,
            imr,
            lines: 0,
            elcr,
            base: base & 0xF8,
            first: state >> 4 & 7,
            expects: [Expects::Mask, Expects::Icw2, Expects::Icw3, Expects::Icw4]
                [usize::from(state & 3)],
            icw1: state >> 2 & ICW1_NEEDS_ICW4 | state >> 2 & ICW1_SINGLE,
            auto_eoi: flag(2),
            rotates: flag(3),
            special_mask: flag(5),
            reads_isr: flag(0),
            poll: flag(1),
        };
    }
}

/// The pair: inputs 0 to 7 are the first's, 8 to 15 the second's.
#[derive(Debug, Clone, Default)]
pub struct Pic([Chip; 2]);

impl Pic {
    /// True if `port` is one of the pair's.
    pub fn has(port: u16) -> bool {
        matches!(port & !1, MASTER | SLAVE) || ELCR.contains(&port)
    }

    /// Sets the level of input `irq`, below 16.
    pub fn set_line(&mut self, irq: u8, level: bool) {
        if let Some(chip) = self.0.get_mut(usize::from(irq / 8)) {
            chip.set_line(irq % 8, level);
        }
        self.cascade();
    }

    /// The two as records of an HVM context.
    pub fn records(&self) -> [[u8; RECORD]; 2] {
        let [master, slave] = &self.0;
        [master.record(true), slave.record(false)]
    }

    /// Takes the record of one of them over.
    pub fn load(&mut self, second: bool, raw: [u8; RECORD]) {
        self.0[usize::from(second)].load(raw);
    }

    /// Says how the lines are, without any having changed.
    pub fn set_levels(&mut self, lines: u16) {
        let [low, high] = lines.to_le_bytes();
        (self.0[0].lines, self.0[1].lines) = (low, high);
    }

    fn cascade(&mut self) {
        // A request that goes away is forgotten.
        let asks = u8::from(self.0[1].requested().is_some()) << CASCADE;
        self.0[0].irr = self.0[0].irr & !(1 << CASCADE) | asks;
    }

    /// The vector that an acknowledge cycle would give, if the output is high.
    pub fn vector(&self) -> Option<u8> {
        let [master, slave] = &self.0;
        let input = master.requested()?;
        if input != CASCADE {
            return Some(master.base | input);
        }
        // A request that has gone away is a spurious one of the lowest priority.
        Some(slave.base | slave.requested().unwrap_or(7))
    }

    /// The acknowledge cycle.
    pub fn acknowledge(&mut self) {
        let [master, slave] = &mut self.0;
        let Some(input) = master.requested() else { return };
        master.acknowledge(input);
        if input == CASCADE
            && let Some(input) = slave.requested()
        {
            slave.acknowledge(input);
            self.cascade();
        }
    }

    /// Reads a port that [`Pic::has`].
    pub fn read(&mut self, port: u16) -> u8 {
        let second = usize::from(if ELCR.contains(&port) { port & 1 } else { port >> 7 & 1 });
        let chip = &mut self.0[second];
        let value = if ELCR.contains(&port) { chip.elcr } else { chip.read(port & 1 != 0) };
        self.cascade();
        value
    }

    /// Writes a port that [`Pic::has`].
    pub fn write(&mut self, port: u16, value: u8) {
        let second = usize::from(if ELCR.contains(&port) { port & 1 } else { port >> 7 & 1 });
        let chip = &mut self.0[second];
        if ELCR.contains(&port) {
            chip.elcr = value & ELCR_BITS[second];
        } else if port & 1 != 0 {
            chip.data(value);
        } else {
            chip.command(value);
        }
        self.cascade();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A pair as the BIOS leaves it: vectors 8 and 70h, nothing masked.
    fn pair() -> Pic {
        let mut pic = Pic::default();
        for (port, words) in [(0x20, [0x11, 8, 4, 1]), (0xA0, [0x11, 0x70, 2, 1])] {
            pic.write(port, words[0]);
            words[1..].iter().for_each(|&word| pic.write(port + 1, word));
            pic.write(port + 1, 0);
        }
        pic
    }

    #[track_caller]
    fn check_vectors(pic: &mut Pic, expected: &[u8]) {
        let mut found = alloc::vec::Vec::new();
        while let Some(vector) = pic.vector() {
            pic.acknowledge();
            found.push(vector);
            if vector >= 0x70 {
                pic.write(0xA0, 0x20);
            }
            pic.write(0x20, 0x20);
        }
        assert_eq!(found, expected);
    }

    #[test]
    fn requests_by_priority() {
        let mut pic = pair();
        [4, 12, 0].into_iter().for_each(|irq| pic.set_line(irq, true));
        check_vectors(&mut pic, &[8, 0x74, 12]);
        // Edges: a line that stays high asks once.
        check_vectors(&mut pic, &[]);
        pic.set_line(4, false);
        pic.set_line(4, true);
        check_vectors(&mut pic, &[12]);
    }

    #[test]
    fn one_in_service_holds_off_lower_ones() {
        let mut pic = pair();
        pic.set_line(1, true);
        pic.acknowledge();
        pic.set_line(3, true);
        assert_eq!(pic.vector(), None);
        pic.set_line(0, true);
        assert_eq!(pic.vector(), Some(8));
        pic.write(0x20, 0x61);
        pic.acknowledge();
        pic.write(0x20, 0x60);
        assert_eq!(pic.vector(), Some(11));
    }

    #[test]
    fn levels_ask_while_they_are_high() {
        let mut pic = pair();
        pic.write(0x4D1, 0xFF);
        assert_eq!(pic.read(0x4D1), 0xDE);
        pic.set_line(11, true);
        for _ in 0..2 {
            assert_eq!(pic.vector(), Some(0x73));
            pic.acknowledge();
            pic.write(0xA0, 0x20);
            pic.write(0x20, 0x20);
        }
        pic.set_line(11, false);
        check_vectors(&mut pic, &[]);
    }

    #[test]
    fn survives_its_records() {
        let mut pic = pair();
        pic.write(0x4D1, 0x08);
        pic.write(0xA1, 0x42);
        pic.set_line(4, true);
        pic.set_line(11, true);
        pic.acknowledge();
        let mut copy = Pic::default();
        let [master, slave] = pic.records();
        copy.load(false, master);
        copy.load(true, slave);
        copy.set_levels(1 << 4 | 1 << 11);
        assert_eq!(copy.records(), [master, slave]);
        pic.write(0x20, 0x20);
        copy.write(0x20, 0x20);
        assert_eq!((pic.vector(), copy.vector()), (Some(12), Some(12)));
    }

    #[test]
    fn masks_and_registers() {
        let mut pic = pair();
        pic.write(0x21, 1);
        pic.set_line(0, true);
        assert_eq!((pic.vector(), pic.read(0x20), pic.read(0x21)), (None, 1, 1));
        pic.write(0x21, 0);
        pic.acknowledge();
        pic.write(0x20, 0x0B);
        assert_eq!(pic.read(0x20), 1);
    }
}
