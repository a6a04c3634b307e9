//! The entry of an embedded guest by the PVH protocol, and the way to 64-bit mode.

/// The entry code of a guest, which calls `guest_main(start_info)` in 64-bit mode with 4 GiB
/// mapped at themselves. A macro, because the code must lie in the program, not in this library.
#[macro_export]
macro_rules! guest_entry {
    () => {
        core::arch::global_asm!(
            r#"
    .section .note.xen, "a", @note
    .align 4
    .long 4, 4, 18
    .asciz "Xen"
    .long start_pvh

    .section .text.boot, "ax"
    .code32
    .global start_pvh
start_pvh:
    cli
    cld
    mov esp, offset boot_stack_top
    mov edi, ebx
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
    or eax, 0x100                   # LME
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
    xor ebp, ebp
    call guest_main
3:  cli
    hlt
    jmp 3b

    .section .data
    .align 8
boot_gdt:
    .quad 0
    .quad 0x00AF9B000000FFFF
    .quad 0x00CF93000000FFFF
boot_gdt_pointer:
    .short 23
    .quad boot_gdt

    .section .bss
    .align 4096
boot_pml4: .skip 4096
boot_pdpt: .skip 4096
boot_pd:   .skip 0x4000
boot_stack: .skip 0x10000
boot_stack_top:
"#
        );
    };
}
