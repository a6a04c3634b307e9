//! Ending the machine.

use runtime::cpu;

/// The port of QEMU's `pvpanic`, and the event that it is there for.
const PANIC_PORT: u16 = 0x505;
const PANICKED: u8 = 1;

/// Tells whoever runs the machine that a domain has crashed, where `pvpanic` is there to hear it; then the run
/// may end. Without the device all bits of the port read 1.
pub(crate) fn panicked() {
    crate::console::drain();
    let events = cpu::inb(PANIC_PORT);
    if events != 0xFF && events & PANICKED != 0 {
        cpu::outb(PANIC_PORT, PANICKED);
    }
}

/// Powers the machine off, by whatever works on it, or stops: ACPI S5 through the PM1a control
/// register and SLP_TYP given, QEMU's exit device, Bochs's shutdown port.
pub(crate) fn off(acpi: Option<(u16, u8)>) -> ! {
    crate::console::drain();
    if let Some((port, s5)) = acpi {
        cpu::outw(port, 1 << 13 | u16::from(s5) << 10);
    }
    cpu::outb(0xF4, 0);
    for byte in *b"Shutdown" {
        cpu::outb(0x8900, byte);
    }
    cpu::stop()
}
