//! The machine's own I/O APIC, whose pins interrupt on behalf of dom0.
#![expect(unsafe_code, reason = "the I/O APIC is a page of device registers")]

/// The vector of pin 0; the others follow.
pub(crate) const FIRST_VECTOR: u8 = 0x30;
/// The most pins that are used.
const MOST_PINS: u32 = 0xC0 - FIRST_VECTOR as u32;

const MASKED: u32 = 1 << 16;
const LEVEL: u32 = 1 << 15;
const ACTIVE_LOW: u32 = 1 << 13;

/// The I/O APIC.
#[derive(Clone, Copy, Debug)]
pub(crate) struct IoApic {
    base: u64,
    pins: u32,
    destination: u8,
}

impl IoApic {
    /// The I/O APIC at `base`, all pins masked; interrupts will go to the APIC `destination`.
    pub(crate) fn init(base: u64, destination: u8) -> Self {
        let mut this = Self { base, pins: 0, destination };
        this.pins = ((this.read(1) >> 16 & 0xFF) + 1).min(MOST_PINS);
        for pin in 0..this.pins {
            this.write(0x10 + 2 * pin, MASKED);
        }
        this
    }

    /// The number of pins.
    pub(crate) fn pins(&self) -> u32 {
        self.pins
    }

    /// The pin that interrupts with `vector`.
    pub(crate) fn pin_of(&self, vector: u8) -> Option<u32> {
        let pin = u32::from(vector.checked_sub(FIRST_VECTOR)?);
        (pin < self.pins).then_some(pin)
    }

    /// Sets a pin up; one that does not exist is ignored.
    pub(crate) fn bind(&self, pin: u32, masked: bool, level: bool, active_low: bool) {
        if pin >= self.pins {
            return;
        }
        let flag = |on: bool, bit| if on { bit } else { 0 };
        let low = u32::from(FIRST_VECTOR)
            + pin
            + flag(masked, MASKED)
            + flag(level, LEVEL)
            + flag(active_low, ACTIVE_LOW);
        self.write(0x11 + 2 * pin, u32::from(self.destination) << 24);
        self.write(0x10 + 2 * pin, low);
    }

    /// Masks a pin if it is level-triggered; true if it is.
    pub(crate) fn hold(&self, pin: u32) -> bool {
        let low = self.read(0x10 + 2 * pin);
        if low & LEVEL != 0 {
            self.write(0x10 + 2 * pin, low | MASKED);
        }
        low & LEVEL != 0
    }

    /// Lets a held pin interrupt again.
    pub(crate) fn release(&self, pin: u32) {
        if pin < self.pins {
            self.write(0x10 + 2 * pin, self.read(0x10 + 2 * pin) & !MASKED);
        }
    }

    fn read(&self, register: u32) -> u32 {
        // SAFETY: `base` is the I/O APIC's page, which is mapped and no memory.
        unsafe {
            (self.base as *mut u32).write_volatile(register);
            ((self.base + 0x10) as *const u32).read_volatile()
        }
    }

    fn write(&self, register: u32, value: u32) {
        // SAFETY: as `read`.
        unsafe {
            (self.base as *mut u32).write_volatile(register);
            ((self.base + 0x10) as *mut u32).write_volatile(value);
        }
    }
}
