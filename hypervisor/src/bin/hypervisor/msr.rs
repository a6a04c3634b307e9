//! Model-specific and control registers.
#![expect(unsafe_code, reason = "privileged registers are read and written in assembly")]

use core::arch::asm;

/// `RDMSR`.
pub(crate) fn rdmsr(msr: u32) -> u64 {
    let (low, high): (u32, u32);
    // SAFETY: reads a register; one that does not exist raises #GP, which is reported.
    unsafe {
        asm!("rdmsr", in("ecx") msr, out("eax") low, out("edx") high, options(nomem, nostack));
    }
    u64::from(high) << 32 | u64::from(low)
}

/// `WRMSR`.
pub(crate) fn wrmsr(msr: u32, value: u64) {
    // SAFETY: the callers write registers that hold guest state or steer the local APIC and VMX;
    // none of them moves memory under this program.
    unsafe {
        asm!("wrmsr", in("ecx") msr, in("eax") value as u32, in("edx") (value >> 32) as u32,
            options(nostack));
    }
}

macro_rules! registers {
    ($($get:ident $set:ident $name:literal;)*) => {
        $(#[doc = concat!("Reads ", $name, ".")]
        #[allow(dead_code, reason = "one line makes both directions")]
        pub(crate) fn $get() -> u64 {
            let value;
            // SAFETY: reads a register.
            unsafe { asm!(concat!("mov {}, ", $name), out(reg) value, options(nomem, nostack)) };
            value
        }

        #[doc = concat!("Writes ", $name, ".")]
        #[allow(dead_code, reason = "one line makes both directions")]
        pub(crate) fn $set(value: u64) {
            // SAFETY: the registers set hold guest state that this program does not use.
            unsafe { asm!(concat!("mov ", $name, ", {}"), in(reg) value, options(nostack)) };
        })*
    };
}

registers! {
    cr0 set_cr0 "cr0";
    cr2 set_cr2 "cr2";
    cr3 set_cr3 "cr3";
    cr4 set_cr4 "cr4";
    dr0 set_dr0 "dr0";
    dr1 set_dr1 "dr1";
    dr2 set_dr2 "dr2";
    dr3 set_dr3 "dr3";
    dr6 set_dr6 "dr6";
}
