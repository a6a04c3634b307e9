//! A small monitor: its guest is a loop of this program in the same address space, which exits
//! for one reason only; the monitor saves and restores the registers, reads the reason, the
//! length and RIP, steps over the instruction and resumes, as hypervisors do.
//! Field encodings: SDM vol. 3, "Field Encoding in VMCS".

use core::arch::x86_64::__cpuid;
use core::arch::{asm, global_asm};
use runtime::cpu::{rdmsr, wrmsr};

global_asm!(
    r#"
    .section .bss
    .align 16
vm_stack: .skip 4096
vm_stack_top:
    .global vm_stack_top, vm_reason, vm_events, vm_limit
vm_reason: .skip 8
vm_events: .skip 8
vm_limit:  .skip 8

    .section .text
    # extern "C" fn vm_run() -> u64: launches, and returns the exit reason that ended it:
    # that of the event when vm_limit of them have happened, or another one; ~0 if it failed
    .global vm_run, vm_exit
vm_run:
    push rbx
    push rbp
    push r12
    push r13
    push r14
    push r15
    mov eax, 0x6C14                 # host RSP
    vmwrite rax, rsp
    vmlaunch
    mov rax, -1
    jmp 8f
vm_exit:
    push rax
    push rcx
    push rdx
    push rbx
    push rbp
    push rsi
    push rdi
    push r8
    push r9
    push r10
    push r11
    push r12
    push r13
    push r14
    push r15
    mov eax, 0x4402                 # exit reason
    vmread rdx, rax
    cmp rdx, [vm_reason]
    jne 7f
    mov rcx, [vm_events]
    inc rcx
    mov [vm_events], rcx
    cmp rcx, [vm_limit]
    je 7f
    cmp edx, 52
    je 3f
    mov ecx, 2                      # the load of vm_guest_ept
    cmp edx, 48
    je 2f
    mov eax, 0x440C                 # instruction length
    vmread rcx, rax
2:  mov eax, 0x681E                 # guest RIP
    vmread rdx, rax
    add rdx, rcx
    vmwrite rax, rdx
4:  pop r15
    pop r14
    pop r13
    pop r12
    pop r11
    pop r10
    pop r9
    pop r8
    pop rdi
    pop rsi
    pop rbp
    pop rbx
    pop rdx
    pop rcx
    pop rax
    vmresume
    mov rax, -1
    jmp 8f
3:  mov eax, 0x482E                 # the preemption timer's value
    mov ecx, 1
    vmwrite rax, rcx
    jmp 4b
7:  add rsp, 15 * 8
    mov rax, rdx
8:  pop r15
    pop r14
    pop r13
    pop r12
    pop rbp
    pop rbx
    ret

    .global vm_guest_vmcall, vm_guest_cpuid, vm_guest_msr, vm_guest_io, vm_guest_ept, vm_guest_spin
vm_guest_vmcall:
1:  vmcall
    jmp 1b
vm_guest_cpuid:
1:  mov eax, 1
    cpuid
    jmp 1b
vm_guest_msr:
    mov ecx, 0x1B
1:  rdmsr
    jmp 1b
vm_guest_io:
1:  out 0x80, al
    jmp 1b
vm_guest_ept:
    mov ebx, 0x03800000
1:  mov al, [rbx]
    jmp 1b
vm_guest_spin:
1:  jmp 1b
"#
);

unsafe extern "C" {
    static boot_gdt: u8;
    static vm_stack_top: u8;
    static mut vm_reason: u64;
    static mut vm_events: u64;
    static mut vm_limit: u64;
    fn vm_run() -> u64;
    fn vm_exit();
    fn vm_guest_vmcall();
    fn vm_guest_cpuid();
    fn vm_guest_msr();
    fn vm_guest_io();
    fn vm_guest_ept();
    fn vm_guest_spin();
}

/// VMX with EPT and the preemption timer.
pub fn there() -> bool {
    // Activate secondary controls; in these, EPT.
    __cpuid(1).ecx >> 5 & 1 != 0 && rdmsr(0x482) >> 63 != 0 && rdmsr(0x48B) >> 33 & 1 != 0
}

pub fn vmcall(count: u32) -> u64 {
    run(vm_guest_vmcall, 18, count)
}

pub fn cpuid(count: u32) -> u64 {
    run(vm_guest_cpuid, 10, count)
}

/// RDMSR without an MSR bitmap.
pub fn msr(count: u32) -> u64 {
    run(vm_guest_msr, 31, count)
}

/// OUT under unconditional I/O exiting.
pub fn io(count: u32) -> u64 {
    run(vm_guest_io, 30, count)
}

/// A load from a page that EPT does not map.
pub fn ept(count: u32) -> u64 {
    run(vm_guest_ept, 48, count)
}

/// The preemption timer runs out.
pub fn timer(count: u32) -> u64 {
    run(vm_guest_spin, 52, count)
}

#[repr(C, align(4096))]
struct Pages([[u64; 512]; 36]);
static mut PAGES: Pages = Pages([[0; 512]; 36]);

/// The page that EPT does not map.
const HOLE: usize = 0x0380_0000 >> 12;

/// Identity-maps the first 64 MiB by 4 KiB pages, but for [`HOLE`]; EPTP.
fn ept_tables(pages: &mut [[u64; 512]]) -> u64 {
    let at = |page: &[u64; 512]| page.as_ptr() as u64 | 7;
    let (tables, leaves) = pages.split_at_mut(2);
    (tables[0][0], tables[1][0]) = (at(&tables[1]), at(&leaves[0]));
    let (directory, leaves) = leaves.split_at_mut(1);
    for (n, leaf) in leaves.iter_mut().enumerate() {
        directory[0][n] = at(leaf);
        for (m, entry) in leaf.iter_mut().enumerate() {
            let page = n * 512 + m;
            // Memory type write-back, and all rights.
            *entry = if page == HOLE { 0 } else { (page as u64) << 12 | 0x37 };
        }
    }
    tables[0].as_ptr() as u64 | 0x1E
}

fn write(field: u64, value: u64) {
    // SAFETY: a VMCS is current.
    unsafe { asm!("vmwrite {}, {}", in(reg) field, in(reg) value, options(nostack)) };
}

/// Controls as wanted, and what the processor demands by the capability register `msr`.
fn controls(field: u64, msr: u32, wanted: u64) {
    let allowed = rdmsr(msr);
    write(field, (wanted | allowed & 0xFFFF_FFFF) & allowed >> 32);
}

/// Lets `guest` exit `count` times; how often it did.
fn run(guest: unsafe extern "C" fn(), reason: u64, count: u32) -> u64 {
    // SAFETY: one processor in root mode with its tables; VMX is left before the end.
    unsafe {
        let pages = &mut (*(&raw mut PAGES)).0;
        let (regions, tables) = pages.split_at_mut(2);
        let eptp = ept_tables(&mut tables[..34]);
        let revision = rdmsr(0x480) & 0x7FFF_FFFF;
        (regions[0][0], regions[1][0]) = (revision, revision);
        if rdmsr(0x3A) & 1 == 0 {
            wrmsr(0x3A, 5);
        }
        asm!("mov {t}, cr4", "or {t}, 0x2000", "mov cr4, {t}", t = out(reg) _, options(nostack));
        let [on, vmcs] = [regions[0].as_ptr() as u64, regions[1].as_ptr() as u64];
        asm!("vmxon [{}]", in(reg) &on);
        asm!("vmclear [{v}]", "vmptrld [{v}]", v = in(reg) &vmcs);
        fill(guest, reason, eptp);
        (vm_reason, vm_events, vm_limit) = (reason, 0, count.into());
        let ended = vm_run();
        asm!("vmclear [{}]", "vmxoff", in(reg) &vmcs);
        asm!("mov {t}, cr4", "and {t}, ~0x2000", "mov cr4, {t}", t = out(reg) _, options(nostack));
        assert!(ended == reason, "the guest exits for the reason {ended:#x}");
        (&raw const vm_events).read_volatile()
    }
}

fn fill(guest: unsafe extern "C" fn(), reason: u64, eptp: u64) {
    let [cr0, cr3, cr4]: [u64; 3];
    // SAFETY: reads of control registers.
    unsafe {
        let (a, b, c): (u64, u64, u64);
        asm!("mov {}, cr0", "mov {}, cr3", "mov {}, cr4", out(reg) a, out(reg) b, out(reg) c,
            options(nostack));
        [cr0, cr3, cr4] = [a, b, c];
    }
    let timer = u64::from(reason == 52);
    let tru = rdmsr(0x480) >> 55 & 1 != 0;
    let msr = |plain: u32, tru_msr: u32| if tru { tru_msr } else { plain };
    controls(0x4000, msr(0x481, 0x48D), timer << 6);
    controls(0x4002, msr(0x482, 0x48E), 1 << 31 | 1 << 24);
    controls(0x401E, 0x48B, 1 << 1);
    controls(0x400C, msr(0x483, 0x48F), 1 << 9 | 1 << 21);
    controls(0x4012, msr(0x484, 0x490), 1 << 9 | 1 << 15);
    for (field, value) in
        [(0x201A, eptp), (0x2800, u64::MAX), (0x482E, 1), (0x6000, 0), (0x6002, 0)]
    {
        write(field, value);
    }
    for (guest, host, value) in
        [(0x6800, 0x6C00, cr0), (0x6802, 0x6C02, cr3), (0x6804, 0x6C04, cr4)]
    {
        write(guest, value);
        write(host, value);
    }
    let [gdt, stack] = [&raw const boot_gdt as u64, &raw const vm_stack_top as u64];
    let idt = idt_base();
    let efer = rdmsr(0xC000_0080);
    // SS, DS, ES, FS and GS alike; the selectors of host and guest are the same.
    for n in 0..6 {
        let (selector, rights) = if n == 1 { (8, 0xA09B) } else { (0x10, 0xC093) };
        write(0x800 + 2 * n, selector);
        write(0xC00 + 2 * n, selector);
        write(0x4800 + 2 * n, 0xFFFF_FFFF);
        write(0x4814 + 2 * n, rights);
        write(0x6806 + 2 * n, 0);
    }
    for (field, value) in [
        (0x80C, 0), // LDTR: unusable
        (0x4820, 0x1_0000),
        (0x80E, 0x30), // TR
        (0x480E, 0x67),
        (0x4822, 0x8B),
        (0x6814, tss_base(gdt)),
        (0xC0C, 0x30),
        (0x6C0A, tss_base(gdt)),
        (0x6816, gdt),
        (0x4810, 63),
        (0x6C0C, gdt),
        (0x6818, idt),
        (0x4812, 0xFFF),
        (0x6C0E, idt),
        (0x2806, efer),
        (0x2C02, efer),
        (0x681C, stack), // guest RSP, RIP, RFLAGS, DR7
        (0x681E, guest as usize as u64),
        (0x6820, 2),
        (0x681A, 0x400),
        (0x6C16, vm_exit as *const () as u64),
    ] {
        write(field, value);
    }
}

fn idt_base() -> u64 {
    let mut idtr = [0_u8; 10];
    // SAFETY: ten bytes are written.
    unsafe { asm!("sidt [{}]", in(reg) &mut idtr, options(nostack)) };
    u64::from_le_bytes(core::array::from_fn(|n| idtr[n + 2]))
}

/// The base in the descriptor at 30h.
fn tss_base(gdt: u64) -> u64 {
    // SAFETY: the boot code's table has it.
    let low = unsafe { *((gdt + 0x30) as *const u64) };
    low >> 16 & 0xFF_FFFF | (low >> 56) << 24
}
