//! Descriptor tables, exceptions of the hypervisor itself, and interrupts that end its idling.
#![expect(unsafe_code, reason = "descriptor tables and interrupt entry are raw by nature")]

use crate::console::say;
use core::arch::{asm, global_asm};
use core::sync::atomic::{AtomicU32, Ordering};
use runtime::descriptors::{interrupt_gate, load_idt, load_task_register, tss_descriptor};

global_asm!(
    r#"
    .section .text
    .align 16
    .global trap_stubs
trap_stubs:
    .set vector, 0
    .rept 256
    .align 16
    .if vector != 8 && !(vector >= 10 && vector <= 14) && vector != 17 && vector != 21
    push 0
    .endif
    push vector
    jmp trap_common
    .set vector, vector + 1
    .endr
trap_common:
    push rax
    push rcx
    push rdx
    push rsi
    push rdi
    push r8
    push r9
    push r10
    push r11
    lea rdi, [rsp + 72]
    cld
    call hypervisor_trap
    pop r11
    pop r10
    pop r9
    pop r8
    pop rdi
    pop rsi
    pop rdx
    pop rcx
    pop rax
    add rsp, 16
    iretq

    .section .bss
    .align 4096
    .global trap_tss, trap_idt, trap_stack_top
trap_idt: .skip 4096
trap_tss: .skip 104
    .align 16
trap_stack: .skip 0x4000
trap_stack_top:
"#
);

unsafe extern "C" {
    static mut boot_gdt: [u64; 5];
    static mut trap_idt: [[u64; 2]; 256];
    static mut trap_tss: [u32; 26];
    static trap_stack_top: u8;
    static trap_stubs: u8;
}

/// The selector of the hypervisor's task-state segment.
pub(crate) const TSS: u16 = 0x18;

/// The stack as the stubs leave it to the handler.
#[repr(C)]
struct Frame {
    vector: u64,
    error: u64,
    rip: u64,
    cs: u64,
    rflags: u64,
    rsp: u64,
    ss: u64,
}

/// The vector of the last interrupt taken while idle, or 0.
static TAKEN: AtomicU32 = AtomicU32::new(0);

#[unsafe(no_mangle)]
extern "C" fn hypervisor_trap(frame: &Frame) {
    if frame.vector >= 32 {
        TAKEN.store(frame.vector as u32, Ordering::Relaxed);
        return;
    }
    if frame.vector == 2 {
        return;
    }
    let cr2: u64;
    // SAFETY: reads a register.
    unsafe { asm!("mov {}, cr2", out(reg) cr2, options(nomem, nostack)) };
    say!(
        "exception {} error {:#x} at {:#x}, stack {:#x}, CR2 {cr2:#x}",
        frame.vector,
        frame.error,
        frame.rip,
        frame.rsp
    );
    crate::power::off(None)
}

/// Loads IDT and TSS; exceptions run on a stack of their own (IST 1).
pub(crate) fn init() {
    // SAFETY: runs once, before anything else uses the tables; all addresses are identity-mapped.
    unsafe {
        let stubs = &raw const trap_stubs as u64;
        for vector in 0..256 {
            let ist = u8::from(vector < 32);
            trap_idt[vector as usize] = interrupt_gate(stubs + 16 * vector, ist, 0);
        }
        let stack = &raw const trap_stack_top as u64;
        trap_tss[9] = stack as u32;
        trap_tss[10] = (stack >> 32) as u32;
        trap_tss[25] = 104 << 16;
        [boot_gdt[3], boot_gdt[4]] = tss_descriptor(tss());
        load_idt(&raw const trap_idt as u64);
        load_task_register(TSS);
    }
}

/// The addresses of GDT and IDT, for the host-state area.
pub(crate) fn tables() -> [u64; 2] {
    [&raw const boot_gdt as u64, &raw const trap_idt as u64]
}

/// The address of the TSS, for the host-state area.
pub(crate) fn tss() -> u64 {
    &raw const trap_tss as u64
}

/// Sleeps until an interrupt comes; its vector.
pub(crate) fn idle() -> u8 {
    TAKEN.store(0, Ordering::Relaxed);
    // SAFETY: the handler touches only its own stack frame and `TAKEN`; interrupts are open for
    // exactly the HLT (STI's shadow covers the instruction after it).
    unsafe { asm!("sti", "hlt", "cli", clobber_abi("C")) };
    TAKEN.load(Ordering::Relaxed) as u8
}
