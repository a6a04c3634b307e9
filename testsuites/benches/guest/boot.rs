//! The first instructions: boot headers, page tables that map the first 64 MiB by 4 KiB pages and
//! the rest of 4 GiB by 2 MiB pages at themselves, the way to 64-bit mode; the command line.

use core::ffi::{CStr, c_char};

core::arch::global_asm!(
    r#"
    .section .multiboot, "a"
    .align 8
multiboot2:
    .long 0xE85250D6, 0, multiboot2_end - multiboot2, -(0xE85250D6 + multiboot2_end - multiboot2)
    .short 0, 0
    .long 8
multiboot2_end:

    .section .note.xen, "a", @note
    .align 4
    .long 4, 4, 18
    .asciz "Xen"
    .long start_pvh

    .section .text.boot, "ax"
    .code32
    .global start_pvh, start_multiboot
start_pvh:
    xor eax, eax
start_multiboot:
    cli
    cld
    mov esp, offset boot_stack_top
    mov edi, eax
    mov esi, ebx
    mov dword ptr [boot_pml4], offset boot_pdpt + 7
    mov eax, offset boot_pd + 7
    xor ecx, ecx
1:  mov [boot_pdpt + ecx * 8], eax
    add eax, 0x1000
    inc ecx
    cmp ecx, 4
    jb 1b
    mov eax, 0x87                   # 2 MiB pages
    xor ecx, ecx
2:  mov [boot_pd + ecx * 8], eax
    add eax, 0x200000
    inc ecx
    cmp ecx, 2048
    jb 2b
    or dword ptr [boot_pd + 2038 * 8], 0x18 # uncached from FEC00000h
    or dword ptr [boot_pd + 2039 * 8], 0x18
    mov eax, offset boot_pt + 7     # 32 page tables for the first 64 MiB
    xor ecx, ecx
3:  mov [boot_pd + ecx * 8], eax
    add eax, 0x1000
    inc ecx
    cmp ecx, 32
    jb 3b
    mov eax, 7
    xor ecx, ecx
4:  mov [boot_pt + ecx * 8], eax
    add eax, 0x1000
    inc ecx
    cmp ecx, 32 * 512
    jb 4b
    mov eax, offset boot_pml4
    mov cr3, eax
    mov eax, 0x620                  # PAE, OSFXSR, OSXMMEXCPT
    mov cr4, eax
    mov ecx, 0xC0000080
    rdmsr
    or eax, 0x900                   # LME, NXE
    wrmsr
    mov eax, 0x80010033             # PG, WP, NE, ET, MP, PE
    mov cr0, eax
    lgdt [boot_gdt_pointer]
    ljmp 8, offset start64

    .code64
start64:
    mov eax, 0x10
    mov ds, eax
    mov es, eax
    mov ss, eax
    xor eax, eax
    mov fs, eax
    mov gs, eax
    xor ebp, ebp
    fninit
    call guest_main

    .section .data
    .align 8
    .global boot_gdt
boot_gdt:
    .quad 0
    .quad 0x00AF9B000000FFFF        # 08: code
    .quad 0x00CF93000000FFFF        # 10: data
    .quad 0                         # 18: 32-bit user code, as SYSRET wants it
    .quad 0x00CFF3000000FFFF        # 20: user data
    .quad 0x00AFFB000000FFFF        # 28: user code
    .quad 0, 0                      # 30: TSS
boot_gdt_pointer:
    .short 63
    .quad boot_gdt

    .section .bss
    .align 4096
    .global boot_pml4, boot_pt
boot_pml4: .skip 4096
boot_pdpt: .skip 4096
boot_pd:   .skip 4 * 4096
boot_pt:   .skip 32 * 4096
boot_stack: .skip 0x20000
boot_stack_top:
"#
);

/// The command line of a PVH start (`protocol` 0) or of a multiboot 2 loader.
pub fn command_line(protocol: u64, info: u64) -> &'static str {
    let text = match protocol {
        // SAFETY: the loader's structures lie in memory that nothing has written yet.
        0 => unsafe { *((info + 24) as *const u64) },
        _ => multiboot(info),
    };
    if text == 0 {
        return "";
    }
    // SAFETY: as above.
    unsafe { CStr::from_ptr(text as *const c_char) }.to_str().unwrap_or("")
}

/// Tag 1 of the multiboot 2 information, which is the command line.
fn multiboot(info: u64) -> u64 {
    let mut tag = info + 8;
    loop {
        // SAFETY: a list of tags, each with type and size, that ends with type 0.
        let [kind, size] = unsafe { *(tag as *const [u32; 2]) };
        match kind {
            0 => return 0,
            1 => return tag + 8,
            _ => tag += u64::from(size).next_multiple_of(8),
        }
    }
}
