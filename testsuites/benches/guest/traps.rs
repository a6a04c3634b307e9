//! The interrupt descriptor table, the task state segment, and the handlers that the system
//! measurements count by: each adds one to `trap_events`.

use core::arch::global_asm;
use runtime::cpu::{outb, wrmsr};
use runtime::descriptors::{interrupt_gate, load_idt, load_task_register, tss_descriptor};

global_asm!(
    r#"
    .section .bss
    .align 4096
trap_stack: .skip 4096
    .global trap_stack_top, user_stack_top, trap_events, trap_pte
trap_stack_top:
user_stack: .skip 4096
user_stack_top:
trap_events: .skip 8
trap_pte:    .skip 8
kernel_rsp:  .skip 8

    .section .text
    .global trap_ud, trap_pf, trap_interrupt, trap_unknown, trap_user_end, syscall_entry
trap_ud:                            # steps over the UD2
    inc qword ptr [trap_events]
    add qword ptr [rsp], 2
    iretq

trap_pf:                            # makes the page present again
    inc qword ptr [trap_events]
    push rax
    mov rax, [trap_pte]
    or dword ptr [rax], 1
    pop rax
    add rsp, 8
    iretq

trap_interrupt:
    inc qword ptr [trap_events]
    push rax
    mov eax, 0xFEE000B0
    mov dword ptr [rax], 0          # end of interrupt
    pop rax
    iretq

syscall_entry:
    inc qword ptr [trap_events]
    sysretq

    # extern "C" fn user_run(rip, count): runs user code at rip with the count in RBX until its
    # INT 80h
    .global user_run, user_syscall
user_run:
    push rbx
    push rbp
    push r12
    push r13
    push r14
    push r15
    mov [kernel_rsp], rsp
    mov rbx, rsi
    push 0x23
    lea rax, [user_stack_top]
    push rax
    push 2
    push 0x2B
    push rdi
    iretq
trap_user_end:
    mov rsp, [kernel_rsp]
    pop r15
    pop r14
    pop r13
    pop r12
    pop rbp
    pop rbx
    ret

user_syscall:
1:  syscall
    dec rbx
    jnz 1b
    int 0x80

trap_unknown:
    lea rdi, [rsp]
    and rsp, -16
    call trap_fatal
"#
);

unsafe extern "C" {
    static trap_stack_top: u8;
    static mut trap_events: u64;
    static mut trap_pte: u64;
    static mut boot_gdt: [u64; 8];
    fn trap_ud();
    fn trap_pf();
    fn trap_interrupt();
    fn trap_unknown();
    fn trap_user_end();
    fn syscall_entry();
}

/// The vector of the measurements' interrupts.
pub const VECTOR: u8 = 0x40;

#[repr(C, align(16))]
struct Table([[u64; 2]; 256]);
static mut IDT: Table = Table([[0; 2]; 256]);

#[repr(C, align(128))]
struct Tss([u32; 26]);
static mut TSS: Tss = Tss([0; 26]);

#[unsafe(no_mangle)]
extern "C" fn trap_fatal(frame: &[u64; 6]) -> ! {
    panic!("exception: {frame:#x?}");
}

/// The selector of the task-state segment.
const TSS_SELECTOR: u16 = 0x30;

/// An interrupt gate of privilege `dpl`.
fn gate(handler: unsafe extern "C" fn(), dpl: u8) -> [u64; 2] {
    interrupt_gate(handler as usize as u64, 0, dpl)
}

/// Sets everything up; the legacy interrupt controllers are masked, the local APIC is on.
pub fn init() {
    // SAFETY: one processor, and nothing uses these tables yet.
    unsafe {
        let idt = &mut *(&raw mut IDT);
        idt.0[..32].fill(gate(trap_unknown, 0));
        idt.0[6] = gate(trap_ud, 0);
        idt.0[14] = gate(trap_pf, 0);
        idt.0[usize::from(VECTOR)] = gate(trap_interrupt, 0);
        idt.0[0x80] = gate(trap_user_end, 3);
        load_idt(&raw const IDT as u64);
        let tss = &raw mut TSS;
        let top = &raw const trap_stack_top as u64;
        ((*tss).0[1], (*tss).0[2]) = (top as u32, (top >> 32) as u32);
        [boot_gdt[6], boot_gdt[7]] = tss_descriptor(tss as u64);
        load_task_register(TSS_SELECTOR);
    }
    outb(0x21, 0xFF);
    outb(0xA1, 0xFF);
    const STAR: u32 = 0xC000_0081;
    wrmsr(STAR, 0x0018_0008 << 32);
    wrmsr(STAR + 1, syscall_entry as *const () as u64);
    wrmsr(STAR + 3, 0x700);
    // EFER.SCE beside what the boot code has set.
    wrmsr(0xC000_0080, 0xD01);
    apic(0xF0, 0x1FF);
}

/// Writes a register of the local APIC.
pub fn apic(offset: u64, value: u32) {
    // SAFETY: the APIC's page, which the boot code maps uncached.
    unsafe { ((0xFEE0_0000 + offset) as *mut u32).write_volatile(value) };
}

/// How many events the handlers have counted.
pub fn events() -> u64 {
    // SAFETY: handlers change it, so each look is a real one.
    unsafe { (&raw const trap_events).read_volatile() }
}

/// Begins to count at zero; page faults make the page of the entry at `pte` present.
pub fn begin(pte: u64) {
    // SAFETY: one processor.
    unsafe {
        (&raw mut trap_events).write_volatile(0);
        (&raw mut trap_pte).write_volatile(pte);
    }
}
