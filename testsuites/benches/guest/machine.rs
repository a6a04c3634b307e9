//! How a run ends on each machine.

use core::arch::asm;
use core::arch::x86_64::__cpuid;
use runtime::cpu::{outb, wrmsr};

/// Halts for ever, open to interrupts: a domain that halts without them counts as ended.
pub fn hold() -> ! {
    loop {
        // SAFETY: there are handlers, or no interrupts.
        unsafe { asm!("sti", "hlt", options(nomem, nostack)) };
    }
}

/// Switches off: a domain by SCHEDOP_shutdown, Bochs by its shutdown port, Strata and QEMU by
/// isa-debug-exit at F4h, which writes 0 here and makes their exit status 1.
pub fn off() -> ! {
    if let Some(base) = xen() {
        shutdown(base);
    }
    for byte in *b"Shutdown" {
        outb(0x8900, byte);
    }
    outb(0xF4, 0);
    runtime::cpu::stop()
}

/// The base of Xen's CPUID leaves, if they are there.
fn xen() -> Option<u32> {
    let signed = |leaf: &u32| {
        let id = __cpuid(*leaf);
        (id.ebx, id.ecx, id.edx) == (0x566E_6558, 0x6558_4D4D, 0x4D4D_566E)
    };
    (__cpuid(1).ecx >> 31 != 0).then(|| (0x4000_0000..0x4001_0000).step_by(256).find(signed))?
}

/// The page that Xen fills with its hypercalls.
#[repr(C, align(4096))]
struct Page([u8; 4096]);
static mut HYPERCALLS: Page = Page([0xC3; 4096]);

/// SCHEDOP_shutdown (2) of `__HYPERVISOR_sched_op` (29), with the reason 0, power off.
fn shutdown(base: u32) {
    let msr = __cpuid(base + 2).ebx;
    let page = &raw mut HYPERCALLS as u64;
    let reason = 0_u32;
    wrmsr(msr, page);
    // SAFETY: the hypervisor has written the page.
    unsafe {
        asm!("call {call}", call = in(reg) page + 29 * 32, inout("rax") 0_u64 => _, in("rdi") 2,
            in("rsi") &reason, clobber_abi("C"));
    }
}
