//! Control and debug registers.
#![expect(unsafe_code, reason = "privileged registers are read and written in assembly")]

use core::arch::asm;

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
