//! Gates, the task-state segment's descriptor, and the instructions that load their tables.
#![expect(unsafe_code, reason = "loading a descriptor table is assembly")]

use core::arch::asm;

/// The selector of the code segment of [`entry!`](crate::entry!)'s table.
pub const CODE: u16 = 0x08;
/// The selector of its data segment.
pub const DATA: u16 = 0x10;

/// An interrupt gate to `handler` in [`CODE`], on stack `ist` (0: the current one), open to
/// privilege levels up to `dpl`. SDM vol. 3, "64-Bit Mode IDT".
pub const fn interrupt_gate(handler: u64, ist: u8, dpl: u8) -> [u64; 2] {
    let access = 0x8E | (dpl as u64) << 5;
    let low = handler & 0xFFFF | (CODE as u64) << 16 | (ist as u64) << 32 | access << 40;
    [low | (handler >> 16 & 0xFFFF) << 48, handler >> 32]
}

/// The descriptor of an available task-state segment of 104 bytes at `base`.
/// SDM vol. 3, "TSS Descriptor in 64-bit mode".
pub const fn tss_descriptor(base: u64) -> [u64; 2] {
    [103 | (base & 0xFF_FFFF) << 16 | 0x89 << 40 | (base >> 24 & 0xFF) << 56, base >> 32]
}

/// The operand of LIDT.
#[repr(C, packed)]
struct TablePointer {
    limit: u16,
    base: u64,
}

/// `LIDT` of a table of 256 gates at `base`.
///
/// # Safety
/// The table's gates lead to handlers, for as long as the program runs.
pub unsafe fn load_idt(base: u64) {
    let pointer = TablePointer { limit: 256 * 16 - 1, base };
    // SAFETY: the table is the caller's promise.
    unsafe { asm!("lidt [{}]", in(reg) &pointer, options(nostack)) };
}

/// `LTR` of `selector`.
///
/// # Safety
/// The selector names the descriptor of a task-state segment that stays where it is.
pub unsafe fn load_task_register(selector: u16) {
    // SAFETY: the segment is the caller's promise.
    unsafe { asm!("ltr {0:x}", in(reg) selector, options(nostack)) };
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn gates_and_segments_are_in_the_processors_form() {
        let handler = 0x1234_5678_9ABC_DEF0;
        assert_eq!(interrupt_gate(handler, 1, 0), [0x9ABC_8E01_0008_DEF0, 0x1234_5678]);
        assert_eq!(interrupt_gate(handler, 0, 3), [0x9ABC_EE00_0008_DEF0, 0x1234_5678]);
        assert_eq!(tss_descriptor(handler), [0x9A00_89BC_DEF0_0067, 0x1234_5678]);
    }
}
