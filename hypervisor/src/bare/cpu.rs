//! Instructions that Rust has no words for: ports, MSRs, CPUID, the time-stamp counter.
#![expect(unsafe_code, reason = "privileged instructions are inline assembly")]

use core::arch::asm;

/// `IN` of one byte.
pub fn inb(port: u16) -> u8 {
    let value;
    // SAFETY: reads a device, touches no memory.
    unsafe { asm!("in al, dx", in("dx") port, out("al") value, options(nomem, nostack)) };
    value
}

/// `IN` of two bytes.
pub fn inw(port: u16) -> u16 {
    let value;
    // SAFETY: reads a device, touches no memory.
    unsafe { asm!("in ax, dx", in("dx") port, out("ax") value, options(nomem, nostack)) };
    value
}

/// `IN` of four bytes.
pub fn inl(port: u16) -> u32 {
    let value;
    // SAFETY: reads a device, touches no memory.
    unsafe { asm!("in eax, dx", in("dx") port, out("eax") value, options(nomem, nostack)) };
    value
}

/// `OUT` of one byte.
pub fn outb(port: u16, value: u8) {
    // SAFETY: writes a device; no device here is given memory to write to.
    unsafe { asm!("out dx, al", in("dx") port, in("al") value, options(nomem, nostack)) };
}

/// `OUT` of two bytes.
pub fn outw(port: u16, value: u16) {
    // SAFETY: as `outb`.
    unsafe { asm!("out dx, ax", in("dx") port, in("ax") value, options(nomem, nostack)) };
}

/// `OUT` of four bytes.
pub fn outl(port: u16, value: u32) {
    // SAFETY: as `outb`.
    unsafe { asm!("out dx, eax", in("dx") port, in("eax") value, options(nomem, nostack)) };
}

/// `RDTSC`.
pub fn rdtsc() -> u64 {
    // SAFETY: reads a counter.
    unsafe { core::arch::x86_64::_rdtsc() }
}

/// `CPUID`: EAX, EBX, ECX, EDX.
pub fn cpuid(leaf: u32, subleaf: u32) -> [u32; 4] {
    let r = core::arch::x86_64::__cpuid_count(leaf, subleaf);
    [r.eax, r.ebx, r.ecx, r.edx]
}

/// Stops this processor for good.
pub fn stop() -> ! {
    loop {
        // SAFETY: with interrupts off nothing can wake the processor.
        unsafe { asm!("cli", "hlt", options(nomem, nostack)) };
    }
}
