//! The first instructions: boot headers, page tables for the low 4 GiB, the way to 64-bit mode.
#![expect(unsafe_code, reason = "the first instructions are assembly")]

use core::arch::global_asm;

global_asm!(
    r#"
    .section .multiboot, "a"
    .align 8
multiboot1:
    .long 0x1BADB002, 3, -(0x1BADB002 + 3)
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
    mov eax, 0x336EC578
start_multiboot:
    cli
    cld
    mov esp, offset boot_stack_top
    mov edi, eax
    mov esi, ebx
    # PML4[0] -> PDPT, PDPT[0..4] -> four page directories of 2-MByte pages.
    mov eax, offset boot_pdpt + 3
    mov [boot_pml4], eax
    mov eax, offset boot_pd + 3
    mov ecx, offset boot_pdpt
1:  mov [ecx], eax
    add ecx, 8
    add eax, 0x1000
    cmp ecx, offset boot_pdpt + 32
    jb 1b
    mov eax, 0x83
    mov ecx, offset boot_pd
2:  mov [ecx], eax
    add ecx, 8
    add eax, 0x200000
    cmp ecx, offset boot_pd + 0x4000
    jb 2b
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
    call hypervisor_main
3:  cli
    hlt
    jmp 3b

    .section .data
    .align 8
    .global boot_gdt
boot_gdt:
    .quad 0
    .quad 0x00AF9B000000FFFF
    .quad 0x00CF93000000FFFF
    .quad 0, 0                      # the TSS, filled in later
boot_gdt_pointer:
    .short 39
    .quad boot_gdt

    .section .bss
    .align 4096
    .global boot_pml4, boot_pdpt
boot_pml4: .skip 4096
boot_pdpt: .skip 4096
boot_pd:   .skip 0x4000
boot_stack: .skip 0x10000
boot_stack_top:
"#
);
