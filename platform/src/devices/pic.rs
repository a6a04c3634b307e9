//! Two cascaded 8259A interrupt controllers with the ELCR of PCI chipsets.
//!
//! Offsets: 0–1 master, 2–3 slave, 4–5 ELCR. Intel 8259A data sheet; ELCR: PIIX/ICH data sheets.

use serde::{Deserialize, Serialize};

use crate::{
    device::{Device, IoError},
    time::Icount,
};

/// The master's input to which the slave's INT is wired.
const CASCADE: u8 = 2;

/// What the next write to the odd port means.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
enum Init {
    #[default]
    Done,
    Icw2,
    Icw3,
    Icw4,
}

/// One 8259A.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
struct Pic {
    /// Input levels.
    lines: u8,
    /// Rising edges that no INTA has taken yet.
    ///
    /// DEPARTURE: they stay when the line falls, as in QEMU's, where the data sheet has the request go away.
    edges: u8,
    /// Interrupt mask register (OCW1).
    imr: u8,
    /// In-service register.
    isr: u8,
    /// Edge/level control: 1 = level.
    elcr: u8,
    /// ICW2: vector of input 0.
    base: u8,
    init: Init,
    single: bool,
    icw4: bool,
    auto_eoi: bool,
    rotate_on_aeoi: bool,
    special_mask: bool,
    special_fully_nested: bool,
    read_isr: bool,
    poll: bool,
    /// The input of lowest priority; 7 after ICW1.
    lowest: u8,
}

impl Pic {
    fn new() -> Self {
        Self { lowest: 7, ..Self::default() }
    }

    fn set_lines(&mut self, lines: u8) {
        self.edges |= lines & !self.lines;
        self.lines = lines;
    }

    fn irr(&self) -> u8 {
        (self.edges & !self.elcr) | (self.lines & self.elcr)
    }

    /// Position of the first set bit in priority order, 0 = highest; 8 if none.
    fn priority(&self, bits: u8) -> u32 {
        bits.rotate_right(u32::from(self.lowest + 1) & 7).trailing_zeros()
    }

    fn input_at(&self, priority: u32) -> u8 {
        ((u32::from(self.lowest) + 1 + priority) & 7) as u8
    }

    /// The input whose request drives INT.
    fn pending(&self) -> Option<u8> {
        let request = self.priority(self.irr() & !self.imr);
        let mut blocking = self.isr;
        if self.special_mask {
            blocking &= !self.imr;
        }
        if self.special_fully_nested {
            // The slave may interrupt its own service by a higher one of its inputs.
            blocking &= !(1 << CASCADE);
        }
        (request < self.priority(blocking)).then(|| self.input_at(request))
    }

    /// INTA: the acknowledged input; 7 without in-service bit when the request has gone away.
    fn acknowledge(&mut self) -> u8 {
        let Some(input) = self.pending() else { return 7 };
        self.edges &= !(1 << input);
        if !self.auto_eoi {
            self.isr |= 1 << input;
        } else if self.rotate_on_aeoi {
            self.lowest = input;
        }
        input
    }

    fn read(&mut self, odd: bool) -> u8 {
        if self.poll {
            self.poll = false;
            return self.pending().map_or(0, |_| 0x80 | self.acknowledge());
        }
        match (odd, self.read_isr) {
            (true, _) => self.imr,
            (false, true) => self.isr,
            (false, false) => self.irr(),
        }
    }

    fn write(&mut self, odd: bool, value: u8) {
        match (odd, value & 0x18) {
            (true, _) => self.write_odd(value),
            (false, 0x00) => self.ocw2(value),
            (false, 0x08) => self.ocw3(value),
            (false, _) => self.icw1(value),
        }
    }

    /// ICW1 resets everything but the inputs and the ELCR. LTIM is ignored, as in chipsets with
    /// an ELCR.
    fn icw1(&mut self, value: u8) {
        *self = Self {
            lines: self.lines,
            elcr: self.elcr,
            base: self.base,
            single: value & 2 != 0,
            icw4: value & 1 != 0,
            init: Init::Icw2,
            ..Self::new()
        };
    }

    fn write_odd(&mut self, value: u8) {
        match self.init {
            Init::Done => self.imr = value,
            Init::Icw2 => {
                self.base = value & 0xf8;
                self.init = if self.single { self.after_icw3() } else { Init::Icw3 };
            }
            // The cascade is wired, not programmed.
            Init::Icw3 => self.init = self.after_icw3(),
            Init::Icw4 => {
                self.auto_eoi = value & 2 != 0;
                self.special_fully_nested = value & 0x10 != 0;
                self.init = Init::Done;
            }
        }
    }

    fn after_icw3(&self) -> Init {
        if self.icw4 { Init::Icw4 } else { Init::Done }
    }

    fn ocw2(&mut self, value: u8) {
        let level = value & 7;
        match value >> 5 {
            0 => self.rotate_on_aeoi = false,
            1 => _ = self.eoi(),
            3 => self.isr &= !(1 << level),
            4 => self.rotate_on_aeoi = true,
            5 => {
                if let Some(input) = self.eoi() {
                    self.lowest = input;
                }
            }
            6 => self.lowest = level,
            7 => {
                self.isr &= !(1 << level);
                self.lowest = level;
            }
            _ => {}
        }
    }

    /// Non-specific EOI: ends the highest interrupt in service, those masked in special mask mode
    /// excepted.
    fn eoi(&mut self) -> Option<u8> {
        let candidates = if self.special_mask { self.isr & !self.imr } else { self.isr };
        let priority = self.priority(candidates);
        (priority < 8).then(|| {
            let input = self.input_at(priority);
            self.isr &= !(1 << input);
            input
        })
    }

    fn ocw3(&mut self, value: u8) {
        if value & 0x40 != 0 {
            self.special_mask = value & 0x20 != 0;
        }
        self.poll = value & 4 != 0;
        if value & 2 != 0 {
            self.read_isr = value & 1 != 0;
        }
    }
}

/// The pair: inputs IRQ0–IRQ15 (IRQ2 is the cascade), output INTR.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct PicPair {
    master: Pic,
    slave: Pic,
}

impl Default for PicPair {
    fn default() -> Self {
        Self::new()
    }
}

impl PicPair {
    /// Both controllers as after power-on: uninitialised, every input low.
    #[must_use]
    pub fn new() -> Self {
        Self { master: Pic::new(), slave: Pic::new() }
    }

    /// Sets the levels of IRQ0–IRQ15; bit 2 is ignored.
    pub fn set_lines(&mut self, lines: u16) {
        let [low, high] = lines.to_le_bytes();
        self.slave.set_lines(high);
        self.drive_master(low);
    }

    /// Whether any input can ever drive INTR.
    #[must_use]
    pub fn listens(&self) -> bool {
        self.master.imr != u8::MAX
    }

    /// The level of INTR.
    #[must_use]
    pub fn intr(&self) -> bool {
        self.master.pending().is_some()
    }

    /// INTA: the vector of the highest request, now in service (input 7's if it has gone away).
    pub fn acknowledge(&mut self) -> u8 {
        let input = self.master.acknowledge();
        let vector = if input == CASCADE {
            let input = self.slave.acknowledge();
            // The slave's INT drops during INTA, so that the master sees a new edge.
            self.master.lines &= !(1 << CASCADE);
            self.slave.base | input
        } else {
            self.master.base | input
        };
        self.drive_master(self.master.lines);
        vector
    }

    fn drive_master(&mut self, low: u8) {
        let cascade = u8::from(self.slave.pending().is_some()) << CASCADE;
        self.master.set_lines(low & !(1 << CASCADE) | cascade);
        // The slave's INT is no device's pulse: its edge goes when it falls.
        self.master.edges &= !(1 << CASCADE) | cascade;
    }
}

impl Device for PicPair {
    fn read(&mut self, offset: u64, _size: u8, _now: Icount) -> Result<u64, IoError> {
        let value = match offset {
            0 | 1 => self.master.read(offset == 1),
            2 | 3 => self.slave.read(offset == 3),
            4 => self.master.elcr,
            _ => self.slave.elcr,
        };
        // A poll acknowledges, which may change the slave's output.
        self.drive_master(self.master.lines);
        Ok(value.into())
    }

    fn write(&mut self, offset: u64, _size: u8, value: u64, _now: Icount) -> Result<(), IoError> {
        let value = value as u8;
        match offset {
            0 | 1 => self.master.write(offset == 1, value),
            2 | 3 => self.slave.write(offset == 3, value),
            // IRQ0, 1, 2, 8 and 13 are always edge triggered.
            4 => self.master.elcr = value & 0xf8,
            _ => self.slave.elcr = value & 0xde,
        }
        self.drive_master(self.master.lines);
        Ok(())
    }
}
