//! The system measurements: one event of the processor or the platform, over and over. Each
//! gives the number of events that took place, which must be the count.

use crate::{boot, traps, vmx};
use core::arch::asm;
use core::arch::x86_64::__cpuid;
use runtime::cpu::outb;

/// One event to measure.
pub struct Event {
    /// Its name, which is a word of the command line.
    pub name: &'static str,
    /// Lets `count` events happen; how many did.
    pub run: fn(count: u32) -> u64,
    /// Whether this machine has what it takes.
    pub there: fn() -> bool,
}

fn always() -> bool {
    true
}

fn pcid() -> bool {
    __cpuid(1).ecx >> 17 & 1 != 0
}

/// The events that are measured.
#[rustfmt::skip]
pub const EVENTS: [Event; 16] = [
    Event { name: "exception",  run: exception,     there: always },
    Event { name: "syscall",    run: syscall,       there: always },
    Event { name: "pagefault",  run: page_fault,    there: always },
    Event { name: "cr3",        run: cr3,           there: always },
    Event { name: "cr3-pcid",   run: cr3_pcid,      there: pcid },
    Event { name: "invlpg",     run: invlpg,        there: always },
    Event { name: "port",       run: port,          there: always },
    Event { name: "mmio",       run: mmio,          there: always },
    Event { name: "self-ipi",   run: self_ipi,      there: always },
    Event { name: "timer",      run: timer,         there: always },
    Event { name: "vmcall",     run: vmx::vmcall,   there: vmx::there },
    Event { name: "vm-cpuid",   run: vmx::cpuid,    there: vmx::there },
    Event { name: "vm-msr",     run: vmx::msr,      there: vmx::there },
    Event { name: "vm-io",      run: vmx::io,       there: vmx::there },
    Event { name: "vm-ept",     run: vmx::ept,      there: vmx::there },
    Event { name: "vm-timer",   run: vmx::timer,    there: vmx::there },
];

unsafe extern "C" {
    static boot_pml4: [u64; 512];
    fn user_run(rip: unsafe extern "C" fn(), count: u64);
    fn user_syscall();
}

/// Pages that nothing else uses.
const PAGE: u64 = 48 << 20;

/// UD2, its handler and IRET.
fn exception(count: u32) -> u64 {
    traps::begin(0);
    for _ in 0..count {
        // SAFETY: the handler steps over it.
        unsafe { asm!("ud2") };
    }
    traps::events()
}

/// SYSCALL from user mode, SYSRET.
fn syscall(count: u32) -> u64 {
    traps::begin(0);
    // SAFETY: runs the user's loop, whose pages are open to user mode.
    unsafe { user_run(user_syscall, count.into()) };
    traps::events()
}

/// A store to a page that is not present: the handler makes it present; then it is taken away.
fn page_fault(count: u32) -> u64 {
    let pte = boot::pte(PAGE);
    traps::begin(pte);
    for _ in 0..count {
        // SAFETY: the entry of a page of this program's own.
        unsafe {
            let entry = pte as *mut u64;
            entry.write_volatile(entry.read_volatile() & !1);
            asm!("invlpg [{}]", in(reg) PAGE, options(nostack));
            (PAGE as *mut u8).write_volatile(1);
        }
    }
    traps::events()
}

/// Loads of four pages.
fn touch() {
    for page in 1..5 {
        // SAFETY: pages of this program's own.
        unsafe { ((PAGE + page * 4096) as *const u8).read_volatile() };
    }
}

/// Loads CR3 with one of two address spaces in turn, then touches four pages.
fn cr3(count: u32) -> u64 {
    switch(count, 0, 0)
}

/// The same with process-context identifiers, so that nothing need be flushed.
fn cr3_pcid(count: u32) -> u64 {
    control(1 << 17, 0);
    let events = switch(count, 1 << 63 | 1, 1 << 63 | 2);
    // CR4.PCIDE may only be cleared under PCID 0, too.
    switch(1, 0, 0);
    control(0, 1 << 17);
    events
}

#[repr(C, align(4096))]
struct Page([u64; 512]);
static mut SECOND: Page = Page([0; 512]);

fn switch(count: u32, first: u64, second: u64) -> u64 {
    // SAFETY: two top tables with the same content; the first is loaded again at the end.
    unsafe {
        (*(&raw mut SECOND)).0 = boot_pml4;
        let spaces = [&raw const SECOND as u64 | second, &raw const boot_pml4 as u64 | first];
        for n in 0..count {
            asm!("mov cr3, {}", in(reg) spaces[n as usize & 1], options(nostack));
            touch();
        }
        asm!("mov cr3, {}", in(reg) &raw const boot_pml4 as u64, options(nostack));
    }
    count.into()
}

/// Sets and clears bits of CR4.
fn control(set: u64, clear: u64) {
    // SAFETY: the callers know the bits.
    unsafe {
        let value: u64;
        asm!("mov {}, cr4", out(reg) value, options(nostack));
        asm!("mov cr4, {}", in(reg) value & !clear | set, options(nostack));
    }
}

/// INVLPG of a page, then a load from the same page.
fn invlpg(count: u32) -> u64 {
    for _ in 0..count {
        // SAFETY: a page of this program's own.
        unsafe {
            asm!("invlpg [{}]", in(reg) PAGE, options(nostack));
            (PAGE as *const u8).read_volatile();
        }
    }
    count.into()
}

/// OUT to the POST code's port.
fn port(count: u32) -> u64 {
    (0..count).for_each(|n| outb(0x80, n as u8));
    count.into()
}

/// A load from the local APIC's identity register.
fn mmio(count: u32) -> u64 {
    for _ in 0..count {
        // SAFETY: a register without side effects, mapped uncached.
        unsafe { (0xFEE0_0020 as *const u32).read_volatile() };
    }
    count.into()
}

/// An interrupt to oneself by the local APIC's command register, its handler with the end of
/// interrupt, IRET.
fn self_ipi(count: u32) -> u64 {
    traps::begin(0);
    for n in 1..=u64::from(count) {
        traps::apic(0x300, 0x4_4000 | u32::from(traps::VECTOR));
        // SAFETY: the table has a gate for it.
        unsafe { asm!("sti", "nop", "cli", options(nostack)) };
        while traps::events() < n {
            // SAFETY: as above.
            unsafe { asm!("sti", "pause", "cli", options(nostack)) };
        }
    }
    traps::events()
}

/// A one-shot of the local APIC's timer that ends HLT, its handler, IRET.
fn timer(count: u32) -> u64 {
    traps::begin(0);
    traps::apic(0x3E0, 0xB);
    traps::apic(0x320, traps::VECTOR.into());
    for n in 1..=u64::from(count) {
        traps::apic(0x380, 100);
        while traps::events() < n {
            // SAFETY: an interrupt that comes before HLT ends it, because STI holds it back.
            unsafe { asm!("sti", "hlt", "cli", options(nostack)) };
        }
    }
    traps::events()
}
