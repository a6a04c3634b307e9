//! Images of small guests, from assembly text.

use crate::asm::assemble;
use anyhow::Result;
use std::fs;
use std::path::PathBuf;

/// Where an image is loaded; its multiboot header has 32 bytes, at whose end it is entered.
const BASE: u64 = 0x10_0000;
/// Where the 64-bit code stands.
const CODE64: u64 = 0x10_1000;
/// The GDT: null, 64-bit code, data; and what LGDT reads.
const GDT: u64 = 0x10_8000;

/// Page tables, and the way to 64-bit mode. The first GiB is mapped to itself. The second leads through one page
/// directory at 403000h, whose entries all name one page table at 404000h, whose entries all name page 500000h.
const TO_64_BITS: &str = "
    mov edi, 0x400000; mov ecx, 0x2000; xor eax, eax; cld; rep stosd
    mov dword [0x400000], 0x401007; mov dword [0x401000], 0x402007; mov dword [0x401008], 0x403007
    mov edi, 0x402000; mov eax, 0x87; mov ecx, 512
    a: mov [edi], eax; add eax, 0x200000; add edi, 8; loop a
    mov edi, 0x403000; mov ecx, 512
    b: mov dword [edi], 0x404007; add edi, 8; loop b
    mov edi, 0x404000; mov ecx, 512
    c: mov dword [edi], 0x500067; add edi, 8; loop c
    mov eax, 0x400000; mov cr3, eax
    mov eax, cr4; or eax, 0x20; mov cr4, eax
    mov ecx, 0xc0000080; rdmsr; or eax, 0x100; wrmsr
    mov eax, cr0; or eax, 0x80000000; mov cr0, eax
    lgdt [0x108020]; jmp 8:0x101000";

/// A guest of 32-bit code: flat, without paging and interrupts.
pub(crate) fn bits32(text: &str) -> Vec<u8> {
    multiboot(assemble(32, BASE + 32, text))
}

/// A guest of 64-bit code, see [`TO_64_BITS`].
pub(crate) fn bits64(text: &str) -> Vec<u8> {
    let mut code = assemble(32, BASE + 32, TO_64_BITS);
    code.resize((CODE64 - BASE - 32) as usize, 0xf4);
    code.extend(assemble(64, CODE64, text));
    code.resize((GDT - BASE - 32) as usize, 0xf4);
    for descriptor in [0u64, 0x00af_9b00_0000_ffff, 0x00cf_9300_0000_ffff, 0] {
        code.extend(descriptor.to_le_bytes());
    }
    code.extend(0x17u16.to_le_bytes());
    code.extend((GDT as u32).to_le_bytes());
    multiboot(code)
}

/// A multiboot image that says itself where it goes.
fn multiboot(code: Vec<u8>) -> Vec<u8> {
    let (magic, flags, base) = (0x1bad_b002u32, 1u32 << 16, BASE as u32);
    let words = [magic, flags, 0u32.wrapping_sub(magic + flags), base, base, 0, 0, base + 32];
    words.iter().flat_map(|word| word.to_le_bytes()).chain(code).collect()
}

/// A file with `image`.
pub(crate) fn file(name: &str, image: &[u8]) -> Result<PathBuf> {
    let path = PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join(format!("hostile-{name}"));
    fs::write(&path, image)?;
    Ok(path)
}
