//! The virtual I/O APIC. 82093AA data sheet; version 11h as in Xen, no EOI register.
//!
//! A domU's pins are driven by its emulated devices. Dom0's are bound to the physical pins of the
//! same number (GSI): unmasking a pin asks for the physical interrupt, ending a level-triggered
//! interrupt releases the physical pin again.

use super::vlapic::Message;
use alloc::vec::Vec;

/// The guest-physical address of the page.
pub const PAGE: u64 = 0xFEC0_0000;
/// The fewest pins an I/O APIC here has, and the most.
pub const PINS: core::ops::RangeInclusive<u32> = 24..=48;
const VERSION: u32 = 0x11;
const MASKED: u64 = 1 << 16;
const LEVEL: u64 = 1 << 15;
const REMOTE_IRR: u64 = 1 << 14;
const ACTIVE_LOW: u64 = 1 << 13;
const STATUS: u64 = 1 << 12;
const LOGICAL: u64 = 1 << 11;

/// A request of the I/O APIC to the rest of the machine.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Output {
    /// Deliver to the domain's local APICs.
    Deliver(Message),
    /// A pin's configuration changed: bind or unbind the physical pin.
    Bind {
        /// The pin's number.
        gsi: u32,
        /// True if masked now.
        masked: bool,
        /// True if level triggered.
        level: bool,
        /// True if active low.
        active_low: bool,
    },
    /// The guest has ended the level-triggered interrupt of this pin.
    Eoi(u32),
}

/// One I/O APIC.
#[derive(Debug, Clone)]
pub struct Vioapic {
    id: u32,
    select: u32,
    entries: Vec<u64>,
    lines: u64,
    /// Pins are bound to physical ones: a level holds until the guest's EOI.
    physical: bool,
}

impl Vioapic {
    /// An I/O APIC with `pins` pins (clamped to [`PINS`]), all masked.
    pub fn new(pins: u32, physical: bool) -> Self {
        let pins = pins.clamp(*PINS.start(), *PINS.end());
        Self { id: 0, select: 0, entries: alloc::vec![MASKED; pins as usize], lines: 0, physical }
    }

    /// The number of pins.
    pub fn pins(&self) -> u32 {
        self.entries.len() as u32
    }

    /// True if pin 0 is the wire by which the 8259A pair's interrupts reach the local APIC `id`: hvmloader's way.
    pub fn virtual_wire(&self, id: u32) -> bool {
        const EXT_INT: u64 = 7 << 8;
        let entry = self.entries[0];
        entry & (MASKED | EXT_INT) == EXT_INT && (entry >> 56) as u32 == id
    }

    /// Sets the level of a pin; unknown pins are ignored.
    pub fn set_line(&mut self, pin: u32, level: bool) -> Option<Output> {
        if pin >= self.pins() {
            return None;
        }
        let old = self.lines >> pin & 1 != 0;
        self.lines = self.lines & !(1 << pin) | u64::from(level) << pin;
        let rising = level && !old;
        let entry = self.entries[pin as usize];
        if entry & LEVEL == 0 {
            if self.physical {
                self.lines &= !(1 << pin);
            }
            return (rising && entry & MASKED == 0).then(|| Output::Deliver(message(entry)));
        }
        self.deliver_level(pin)
    }

    /// Delivers a level-triggered pin that is high, unmasked and not being served.
    fn deliver_level(&mut self, pin: u32) -> Option<Output> {
        let entry = &mut self.entries[pin as usize];
        let high = self.lines >> pin & 1 != 0;
        if !high || *entry & LEVEL == 0 || *entry & (MASKED | REMOTE_IRR) != 0 {
            return None;
        }
        *entry |= REMOTE_IRR;
        Some(Output::Deliver(message(*entry)))
    }

    /// A local APIC has ended the level-triggered `vector`.
    pub fn eoi(&mut self, vector: u8) -> Vec<Output> {
        let mut out = Vec::new();
        for pin in 0..self.pins() {
            let entry = &mut self.entries[pin as usize];
            if *entry as u8 != vector || *entry & (LEVEL | REMOTE_IRR) != LEVEL | REMOTE_IRR {
                continue;
            }
            *entry &= !REMOTE_IRR;
            if self.physical {
                self.lines &= !(1 << pin);
                out.push(Output::Eoi(pin));
            } else {
                out.extend(self.deliver_level(pin));
            }
        }
        out
    }

    /// Reads at `offset` of the page.
    pub fn read(&self, offset: u32) -> u32 {
        match offset {
            0x00 => self.select,
            0x10 => self.register(),
            _ => 0,
        }
    }

    fn register(&self) -> u32 {
        match self.select {
            0 | 2 => self.id << 24,
            1 => VERSION | (self.pins() - 1) << 16,
            select => {
                let Some(pin) = select.checked_sub(0x10) else { return 0 };
                let entry = self.entries.get(pin as usize / 2).copied().unwrap_or(0);
                (entry >> (32 * (pin & 1))) as u32
            }
        }
    }

    /// Writes at `offset` of the page.
    pub fn write(&mut self, offset: u32, value: u32) -> Vec<Output> {
        match offset {
            0x00 => self.select = value & 0xFF,
            0x10 if self.select == 0 => self.id = value >> 24 & 0xF,
            0x10 => return self.write_entry(value),
            _ => {}
        }
        Vec::new()
    }

    fn write_entry(&mut self, value: u32) -> Vec<Output> {
        let mut out = Vec::new();
        let Some(index) = self.select.checked_sub(0x10) else { return out };
        let (pin, high) = (index / 2, index & 1 != 0);
        let Some(entry) = self.entries.get_mut(pin as usize) else { return out };
        let old = *entry;
        let read_only = REMOTE_IRR | STATUS;
        *entry = if high {
            old & 0xFFFF_FFFF | u64::from(value & 0xFF00_0000) << 32
        } else {
            old & (0xFFFF_FFFF_0000_0000 | read_only) | u64::from(value & 0x1_FFFF) & !read_only
        };
        if *entry & LEVEL == 0 {
            *entry &= !REMOTE_IRR;
        }
        let new = *entry;
        let shape = MASKED | LEVEL | ACTIVE_LOW;
        if self.physical && (old ^ new) & shape != 0 {
            let (masked, level) = (new & MASKED != 0, new & LEVEL != 0);
            out.push(Output::Bind { gsi: pin, masked, level, active_low: new & ACTIVE_LOW != 0 });
        }
        out.extend(self.deliver_level(pin));
        out
    }
}

/// Bytes of `hvm_hw_vioapic`, which has 48 pins.
pub const RECORD: usize = 16 + 48 * 8;

impl Vioapic {
    /// As a record of an HVM context.
    pub fn record(&self) -> [u8; RECORD] {
        let Self { id, select, entries, lines: _, physical: _ } = self;
        let mut raw = [0; RECORD];
        raw[..8].copy_from_slice(&PAGE.to_le_bytes());
        raw[8..12].copy_from_slice(&select.to_le_bytes());
        raw[12..16].copy_from_slice(&id.to_le_bytes());
        for (place, entry) in raw[16..].chunks_exact_mut(8).zip(entries) {
            place.copy_from_slice(&entry.to_le_bytes());
        }
        raw
    }

    /// Takes a record over.
    pub fn load(&mut self, raw: &[u8; RECORD]) {
        let (words, _) = raw.as_chunks::<8>();
        let [_, head, entries @ ..] = words else { return };
        let [a, b, c, d, e, f, g, h] = *head;
        (self.select, self.id) =
            (u32::from_le_bytes([a, b, c, d]) & 0xFF, u32::from_le_bytes([e, f, g, h]) & 0xF);
        for (entry, word) in self.entries.iter_mut().zip(entries) {
            *entry = u64::from_le_bytes(*word);
        }
    }

    /// Says how the lines are, without any having changed.
    pub fn set_levels(&mut self, lines: u64) {
        self.lines = lines;
    }
}

fn message(entry: u64) -> Message {
    Message {
        mode: (entry >> 8 & 7) as u8,
        vector: entry as u8,
        logical: entry & LOGICAL != 0,
        level: entry & LEVEL != 0,
        assert: true,
        shorthand: 0,
        dest: (entry >> 56) as u32,
        wide: false,
    }
}
