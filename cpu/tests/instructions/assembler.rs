//! The assembler of the tests, against bytes by hand.

use crate::support::asm::assemble;

/// `text` at 9000h in code of `bits` has these `bytes`.
#[track_caller]
fn check(bits: u32, text: &str, bytes: &[u8]) {
    assert_eq!(assemble(bits, 0x9000, text), bytes, "{text}");
}

#[test]
fn the_shortest_encoding() {
    check(64, "add ebx, 1; add ebx, strict dword 1", &[0x83, 0xc3, 1, 0x81, 0xc3, 1, 0, 0, 0]);
    check(64, "mov ecx, [0x12345]", &[0x8b, 0x0c, 0x25, 0x45, 0x23, 0x01, 0]);
    check(64, "mov eax, [qword 0x40000000]", &[0xa1, 0, 0, 0, 0x40, 0, 0, 0, 0]);
    check(16, "inc dword [0x7000]", &[0x66, 0xff, 0x06, 0, 0x70]);
    check(16, "mov byte [0xa900a], 6", &[0x67, 0xc6, 0x05, 0x0a, 0x90, 0x0a, 0, 6]);
}

#[test]
fn branches() {
    check(64, "l: nop; jmp l; jmp $", &[0x90, 0xeb, 0xfd, 0xeb, 0xfe]);
    check(64, "jne l; ud2; l: call $+0x2000", &[0x75, 2, 0x0f, 0x0b, 0xe8, 0xfb, 0x1f, 0, 0]);
    check(32, "jmp 0x30:0", &[0xea, 0, 0, 0, 0, 0x30, 0]);
    check(16, "jmp dword 8:0x9020", &[0x66, 0xea, 0x20, 0x90, 0, 0, 8, 0]);
    check(16, "jmp 0xa000:0x10", &[0xea, 0x10, 0, 0, 0xa0]);
}

#[test]
fn operands() {
    check(64, "xor r8d, [rdi+r10*4]; xor r10b, r8b", &[0x46, 0x33, 0x04, 0x97, 0x45, 0x30, 0xc2]);
    check(64, "lea rbx, [rip-0x80000000]", &[0x48, 0x8d, 0x1d, 0, 0, 0, 0x80]);
    check(64, "mov al, [rbx-5]; lea rax, [rip+5]", &[0x8a, 0x43, 0xfb, 0x48, 0x8d, 5, 5, 0, 0, 0]);
    check(64, "rep outsb; in al, dx; out 0xb2, al", &[0xf3, 0x6e, 0xec, 0xe6, 0xb2]);
    check(64, "db 0x66, 0x90; vpaddd ymm0, ymm1, ymm2", &[0x66, 0x90, 0xc5, 0xf5, 0xfe, 0xc2]);
}

#[test]
#[should_panic(expected = "`mov al, ebx` is no instruction of 32-bit code")]
fn what_does_not_fit() {
    assemble(32, 0, "mov al, ebx");
}
