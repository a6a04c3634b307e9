//! A program that enters a guest again and again.

/// Text that writes `value`, an operand, to a field of the VMCS.
fn write(field: u32, value: &str) -> String {
    format!("mov rax, {value}; mov edx, {field:#x}; vmwrite rdx, rax\n")
}

/// Text that sets `bits` of a control field, and those that the capability MSR says are 1.
fn controls(field: u32, msr: u32, bits: u32) -> String {
    format!("mov ecx, {msr:#x}; rdmsr; or eax, {bits:#x}; mov edx, {field:#x}; vmwrite rdx, rax\n")
}

/// 64-bit code: each VM exit enters the guest again, with an EPT pointer that has not been there yet.
/// The guest never gets to its first instruction. SDM vol. 3, "Field Encoding in VMCS".
pub(crate) fn ever_new_ept_pointers() -> String {
    let begin = "
        mov rax, cr0; or rax, 0x20; mov cr0, rax; mov rax, cr4; or rax, 0x2000; mov cr4, rax
        mov ecx, 0x3a; rdmsr; test eax, 1; jne locked; or eax, 5; wrmsr; locked:
        mov ecx, 0x480; rdmsr; and eax, 0x7fffffff; mov rbx, 0x600000; mov [rbx], eax
        mov rsi, 0x602000; mov [rsi], rbx; vmxon [rsi]
        mov rbx, 0x601000; mov [rbx], eax; mov [rsi], rbx; vmclear [rsi]; vmptrld [rsi]
        mov rbp, 0x100001e\n";
    let mut text = begin.to_owned();
    for (field, msr, bits) in [
        (0x4000, 0x481, 0),
        (0x4002, 0x482, 1 << 31), // secondary controls
        (0x401e, 0x48b, 1 << 1),  // EPT
        (0x400c, 0x483, 1 << 9),  // host address-space size
        (0x4012, 0x484, 1 << 9),  // IA-32e mode guest
    ] {
        text += &controls(field, msr, bits);
    }
    for (guest, host, register) in
        [(0x6800, 0x6c00, "cr0"), (0x6802, 0x6c02, "cr3"), (0x6804, 0x6c04, "cr4")]
    {
        text += &format!("mov rax, {register}; mov edx, {guest:#x}; vmwrite rdx, rax\n");
        text += &format!("mov edx, {host:#x}; vmwrite rdx, rax\n");
    }
    for n in 0..6 {
        let (selector, rights) = if n == 1 { ("8", "0xa09b") } else { ("0x10", "0xc093") };
        text += &write(0x800 + 2 * n, selector);
        text += &write(0xc00 + 2 * n, selector);
        text += &write(0x4800 + 2 * n, "0xffffffff");
        text += &write(0x4814 + 2 * n, rights);
    }
    for (field, value) in [
        (0x201a, "rbp"),
        (0x2800, "-1"),      // VMCS link pointer
        (0x4820, "0x10000"), // LDTR: unusable
        (0x80e, "0x18"),     // TR
        (0x480e, "0x67"),
        (0x4822, "0x8b"),
        (0xc0c, "0x18"),
        (0x6820, "2"), // guest RFLAGS, RIP, DR7
        (0x681e, "0x101000"),
        (0x681a, "0x400"),
        (0x6c16, "exit"), // host RIP
    ] {
        text += &write(field, value);
    }
    text + "vmlaunch; hlt\nexit: add rbp, 0x1000; mov edx, 0x201a; vmwrite rdx, rbp; vmresume; hlt"
}
