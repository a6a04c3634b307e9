//! The 82093AA I/O APIC with the EOI register of its successors: 24 inputs, each with an entry that
//! says which message it sends to the local APICs.
//!
//! Intel 82093AA data sheet; EOI register: ICH data sheets (version 20h).

use serde::{Deserialize, Serialize};

use crate::{
    device::{Device, InterruptMessage, IoError},
    time::Icount,
};

/// Number of inputs.
pub const PINS: usize = 24;

const IOREGSEL: u64 = 0x00;
const IOWIN: u64 = 0x10;
const EOI: u64 = 0x40;
const VERSION: u32 = 0x20 | (PINS as u32 - 1) << 16;

const MASKED: u64 = 1 << 16;
const LEVEL: u64 = 1 << 15;
const REMOTE_IRR: u64 = 1 << 14;
const LOGICAL: u64 = 1 << 11;
/// Delivery status: a message never waits here, so it is always idle.
const DELIVERY_STATUS: u64 = 1 << 12;
const READ_ONLY: u64 = REMOTE_IRR | DELIVERY_STATUS;
const IMPLEMENTED: u64 = 0xff00_0000_0001_ffff;

/// The I/O APIC.
///
/// DEPARTURE: inputs say "asserted" or not; an entry's polarity is stored and not applied.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct IoApic {
    id: u8,
    select: u8,
    lines: u32,
    entries: [u64; PINS],
    messages: Vec<InterruptMessage>,
}

impl Default for IoApic {
    fn default() -> Self {
        Self { id: 0, select: 0, lines: 0, entries: [MASKED; PINS], messages: Vec::new() }
    }
}

impl IoApic {
    /// Sets the levels of the inputs.
    pub fn set_lines(&mut self, lines: u32) {
        let risen = lines & !self.lines;
        self.lines = lines;
        for pin in 0..PINS {
            // A rising edge at a masked pin is lost. Data sheet, "Interrupt Mask".
            let edge = risen >> pin & 1 != 0 && self.entries[pin] & (LEVEL | MASKED) == 0;
            if edge {
                self.send(pin);
            }
            self.service_level(pin);
        }
    }

    /// An EOI message for `vector` from a local APIC.
    pub fn eoi(&mut self, vector: u8) {
        for pin in 0..PINS {
            let entry = &mut self.entries[pin];
            if *entry & LEVEL != 0 && *entry as u8 == vector {
                *entry &= !REMOTE_IRR;
                self.service_level(pin);
            }
        }
    }

    /// The messages sent since the last call, in order.
    pub fn take_messages(&mut self) -> Vec<InterruptMessage> {
        std::mem::take(&mut self.messages)
    }

    /// Whether an input can send: anything, or only what a processor cannot mask.
    #[must_use]
    pub fn listens(&self, unmaskable: bool) -> bool {
        let maskable = |entry: u64| entry >> 8 & 7 <= 1;
        let mut open = self.entries.iter().filter(|&entry| entry & MASKED == 0);
        open.any(|&entry| !unmaskable || !maskable(entry))
    }

    /// Messages are waiting.
    #[must_use]
    pub fn has_messages(&self) -> bool {
        !self.messages.is_empty()
    }

    /// A level input sends when asserted, unmasked and not yet accepted.
    fn service_level(&mut self, pin: usize) {
        let ready = self.entries[pin] & (LEVEL | MASKED | REMOTE_IRR) == LEVEL;
        if ready && self.lines >> pin & 1 != 0 {
            self.entries[pin] |= REMOTE_IRR;
            self.send(pin);
        }
    }

    fn send(&mut self, pin: usize) {
        let entry = self.entries[pin];
        self.messages.push(InterruptMessage {
            destination: (entry >> 56) as u32,
            logical: entry & LOGICAL != 0,
            delivery: (entry >> 8 & 7) as u8,
            vector: entry as u8,
            level: entry & LEVEL != 0,
        });
    }

    fn read_register(&self) -> u32 {
        match self.select {
            0 | 2 => u32::from(self.id) << 24,
            1 => VERSION,
            index => self.half_entry(index).map_or(0, |(pin, high)| {
                let entry = self.entries[pin];
                if high { (entry >> 32) as u32 } else { entry as u32 }
            }),
        }
    }

    fn write_register(&mut self, value: u32) {
        if self.select == 0 {
            self.id = (value >> 24 & 0x0f) as u8;
        }
        let Some((pin, high)) = self.half_entry(self.select) else { return };
        let old = self.entries[pin];
        let new = if high {
            old & 0xffff_ffff | u64::from(value) << 32
        } else {
            old & !0xffff_ffff | u64::from(value) & !READ_ONLY | old & READ_ONLY
        };
        self.entries[pin] = new & IMPLEMENTED;
        if self.entries[pin] & LEVEL == 0 {
            // Switching to edge and back is how software without the EOI register clears this.
            self.entries[pin] &= !REMOTE_IRR;
        }
        self.service_level(pin);
    }

    fn half_entry(&self, index: u8) -> Option<(usize, bool)> {
        let half = index.checked_sub(0x10)?;
        Some((usize::from(half / 2), half % 2 != 0)).filter(|&(pin, _)| pin < PINS)
    }
}

impl Device for IoApic {
    fn read(&mut self, offset: u64, _size: u8, _now: Icount) -> Result<u64, IoError> {
        Ok(match offset {
            IOREGSEL => self.select.into(),
            IOWIN => self.read_register().into(),
            _ => 0,
        })
    }

    fn write(&mut self, offset: u64, _size: u8, value: u64, _now: Icount) -> Result<(), IoError> {
        match offset {
            IOREGSEL => self.select = value as u8,
            IOWIN => self.write_register(value as u32),
            EOI => self.eoi(value as u8),
            _ => {}
        }
        Ok(())
    }
}
