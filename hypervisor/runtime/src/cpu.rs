//! Instructions that Rust has no expression for: ports, MSRs, CPUID, the time-stamp counter.
#![expect(unsafe_code, reason = "privileged instructions are inline assembly")]

use core::arch::asm;

/// `IN` of one byte.
#[inline]
pub fn inb(port: u16) -> u8 {
    let value;
    // SAFETY: reads a device, touches no memory.
    unsafe { asm!("in al, dx", in("dx") port, out("al") value, options(nomem, nostack)) };
    value
}

/// `IN` of two bytes.
#[inline]
pub fn inw(port: u16) -> u16 {
    let value;
    // SAFETY: reads a device, touches no memory.
    unsafe { asm!("in ax, dx", in("dx") port, out("ax") value, options(nomem, nostack)) };
    value
}

/// `IN` of four bytes.
#[inline]
pub fn inl(port: u16) -> u32 {
    let value;
    // SAFETY: reads a device, touches no memory.
    unsafe { asm!("in eax, dx", in("dx") port, out("eax") value, options(nomem, nostack)) };
    value
}

/// `OUT` of one byte.
#[inline]
pub fn outb(port: u16, value: u8) {
    // SAFETY: writes a device; no device here is given memory to write to.
    unsafe { asm!("out dx, al", in("dx") port, in("al") value, options(nomem, nostack)) };
}

/// `OUT` of two bytes.
#[inline]
pub fn outw(port: u16, value: u16) {
    // SAFETY: as `outb`.
    unsafe { asm!("out dx, ax", in("dx") port, in("ax") value, options(nomem, nostack)) };
}

/// `OUT` of four bytes.
#[inline]
pub fn outl(port: u16, value: u32) {
    // SAFETY: as `outb`.
    unsafe { asm!("out dx, eax", in("dx") port, in("eax") value, options(nomem, nostack)) };
}

/// `RDMSR`: the value of a model-specific register.
#[inline]
pub fn rdmsr(msr: u32) -> u64 {
    let (low, high): (u32, u32);
    // SAFETY: reads a register; one that does not exist raises #GP, which is reported.
    unsafe {
        asm!("rdmsr", in("ecx") msr, out("eax") low, out("edx") high, options(nomem, nostack));
    }
    u64::from(high) << 32 | u64::from(low)
}

/// `WRMSR`: sets a model-specific register.
#[inline]
pub fn wrmsr(msr: u32, value: u64) {
    // SAFETY: the programs write registers that hold guest state or steer the local APIC, SYSCALL
    // and VMX; none of them moves memory under the program.
    unsafe {
        asm!("wrmsr", in("ecx") msr, in("eax") value as u32, in("edx") (value >> 32) as u32,
            options(nostack));
    }
}

/// `RDTSC`: the time-stamp counter.
#[inline]
pub fn rdtsc() -> u64 {
    // SAFETY: reads a counter.
    unsafe { core::arch::x86_64::_rdtsc() }
}

/// `CPUID`: EAX, EBX, ECX, EDX.
#[inline]
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
