//! The first instructions of a freestanding program: the loaders' headers, page tables for the
//! low 4 GiB, the way to 64-bit mode. They are macros, because the code must lie in the program,
//! not in this library.

/// The entry by PVH and by multiboot: 4 GiB are mapped at themselves by 2 MiB pages, then `main`
/// is called in 64-bit mode on a stack of its own.
///
/// - `main`: an `extern "C" fn(magic: u32, info: u32) -> !`, which gets EAX and EBX as the loader
///   left them. A PVH loader leaves no magic number in EAX; `main` then gets that of
///   `hvm_start_info`, which [`entry!`](crate::entry!) puts there.
/// - `stack`: the size of the stack in bytes.
/// - `rights`: the low bits of every page-table entry: 3, or 7 for a program with user code.
/// - `descriptors`: what the global descriptor table holds from selector 18h on, after code at
///   08h and data at 10h.
///
/// Symbols for the program: `boot_gdt`, and the page tables `boot_pml4`, `boot_pdpt`, `boot_pd`.
/// SDM vol. 3, "Initializing IA-32e Mode".
#[macro_export]
macro_rules! entry {
    (
        main: $main:path,
        stack: $stack:expr,
        rights: $rights:expr,
        descriptors: [$($descriptor:literal),*] $(,)?
    ) => {
        ::core::arch::global_asm!(
            r#"
    .section .note.xen, "a", @note
    .align 4
    .long 4, 4, 18                  # XEN_ELFNOTE_PHYS32_ENTRY
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
    mov dword ptr [boot_pml4], offset boot_pdpt + {rights}
    mov eax, offset boot_pd + {rights}
    xor ecx, ecx
2:  mov [boot_pdpt + ecx * 8], eax
    add eax, 0x1000
    inc ecx
    cmp ecx, 4
    jb 2b
    mov eax, 0x80 + {rights}
    xor ecx, ecx
3:  mov [boot_pd + ecx * 8], eax
    add eax, 0x200000
    inc ecx
    cmp ecx, 4 * 512
    jb 3b
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
    call {main}

    .section .data
    .align 8
    .global boot_gdt
boot_gdt:
    .quad 0
    .quad 0x00AF9B000000FFFF        # 08h: code
    .quad 0x00CF93000000FFFF        # 10h: data"#,
            $(concat!("    .quad ", $descriptor),)*
            r#"
boot_gdt_end:
boot_gdt_pointer:
    .short boot_gdt_end - boot_gdt - 1
    .quad boot_gdt

    .section .bss
    .align 4096
    .global boot_pml4, boot_pdpt, boot_pd
boot_pml4: .skip 4096
boot_pdpt: .skip 4096
boot_pd:   .skip 4 * 4096
boot_stack: .skip {stack}
boot_stack_top:
    .text
"#,
            main = sym $main,
            stack = const $stack,
            rights = const $rights,
        );
    };
}

/// The header that a multiboot 1 loader looks for: modules on page boundaries, a memory map.
#[macro_export]
macro_rules! multiboot1_header {
    () => {
        ::core::arch::global_asm!(
            r#"
    .section .multiboot, "a"
    .align 8
    .long 0x1BADB002, 3, -(0x1BADB002 + 3)
    .text
"#
        );
    };
}

/// The header that a multiboot 2 loader looks for, without a request.
#[macro_export]
macro_rules! multiboot2_header {
    () => {
        ::core::arch::global_asm!(
            r#"
    .section .multiboot, "a"
    .align 8
multiboot2:
    .long 0xE85250D6, 0, multiboot2_end - multiboot2, -(0xE85250D6 + multiboot2_end - multiboot2)
    .short 0, 0
    .long 8
multiboot2_end:
    .text
"#
        );
    };
}
