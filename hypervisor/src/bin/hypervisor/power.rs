//! Ending the machine.

use hypervisor::bare::cpu;

/// Powers the machine off, by whatever works on it, or stops.
pub(crate) fn off() -> ! {
    for byte in *b"Shutdown" {
        cpu::outb(0x8900, byte);
    }
    cpu::stop()
}
