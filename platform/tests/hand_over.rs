//! What firmware leaves for a kernel: chips, processors, tables in low memory, services in real mode.

mod common;

use common::{Memory, guest};
use platform::{
    board::OptionalDevice,
    firmware::{self, MP_ADDRESS, Processors, ROM_BASE},
    machine::{Config, Machine, MachineStop},
    memory_map::MemoryMap,
};

/// The guests' memory: free memory ends 128 KiB below.
const SIZE: u64 = 4 << 20;
const UPPER_KIB: u16 = 4096 - 1024 - 128;

/// Where the guests' real-mode code is, and what it needs: a descriptor table, its pseudo-descriptor, that of
/// the vectors.
const REAL: u32 = 0x7000;
const GDT: u32 = 0x6000;
const GDTR: u32 = 0x6018;
const IDTR: u32 = 0x6020;

/// Segments of 64 KiB at 0: 16-bit code, and data.
const DESCRIPTORS: [u64; 3] = [0, 0x0000_9b00_0000_ffff, 0x0000_9300_0000_ffff];

/// mov ax, 10h; mov ds, ax; mov es, ax; mov ss, ax; mov eax, cr0; and al, 0FEh; mov cr0, eax; jmp 0:7016h;
/// xor ax, ax; mov ds, ax; mov es, ax; mov ss, ax; mov sp, 7000h; lidt [6020h]
const TO_REAL: &[u8] = &[
    0xb8, 0x10, 0x00, 0x8e, 0xd8, 0x8e, 0xc0, 0x8e, 0xd0, 0x0f, 0x20, 0xc0, 0x24, 0xfe, 0x0f, 0x22,
    0xc0, 0xea, 0x16, 0x70, 0x00, 0x00, 0x31, 0xc0, 0x8e, 0xd8, 0x8e, 0xc0, 0x8e, 0xd0, 0xbc, 0x00,
    0x70, 0x0f, 0x01, 0x1e, 0x20, 0x60,
];
/// Sends AX, BX, CX, DX and FLAGS over COM1: pushf; push dx; push cx; push bx; push ax; mov si, sp;
/// mov cx, 10; mov dx, 3F8h; lodsb; out dx, al; loop $-2; add sp, 10
const SEND: &[u8] = &[
    0x9c, 0x52, 0x51, 0x53, 0x50, 0x89, 0xe6, 0xb9, 0x0a, 0x00, 0xba, 0xf8, 0x03, 0xac, 0xee, 0xe2,
    0xfc, 0x83, 0xc4, 0x0a,
];
/// mov dx, 501h; out dx, al
const END: &[u8] = &[0xba, 0x01, 0x05, 0xee];

fn config() -> Config {
    let devices = vec![OptionalDevice::DebugExit { base: 0x501, length: 2 }];
    Config { devices, ..Config::default() }
}

/// A machine whose guest goes to real mode and runs `code` there.
fn real_mode(code: &[u8]) -> Machine {
    let descriptors: Vec<u8> = DESCRIPTORS.iter().flat_map(|d| d.to_le_bytes()).collect();
    let pseudo = |limit: u16, base: u32| [&limit.to_le_bytes()[..], &base.to_le_bytes()].concat();
    let program = [
        guest::copy(GDT, &descriptors),
        guest::copy(GDTR, &pseudo(0x17, GDT)),
        guest::copy(IDTR, &pseudo(0x3ff, 0)),
        guest::copy(REAL, &[TO_REAL, code].concat()),
        // lgdt [GDTR]; jmp 8:REAL
        vec![0x0f, 0x01, 0x15, 0x18, 0x60, 0, 0, 0xea, 0x00, 0x70, 0, 0, 8, 0],
    ];
    guest::machine(config(), &program.concat())
}

/// What the guest has sent when it ends.
#[track_caller]
fn sent(machine: &mut Machine) -> Vec<u8> {
    let stop = machine.run(2_000_000_000);
    assert!(matches!(stop, MachineStop::DebugExit(_)), "{stop:?}");
    machine.serial_output(0)
}

/// AX, BX, CX, DX and CF after the code, which ends in a service.
#[track_caller]
fn registers(code: &[u8]) -> ([u16; 4], bool) {
    let sent = sent(&mut real_mode(&[code, SEND, END].concat()));
    let words: Vec<u16> = sent.chunks(2).map(|w| u16::from_le_bytes([w[0], w[1]])).collect();
    ([words[0], words[1], words[2], words[3]], words[4] & 1 != 0)
}

fn mov(register: u8, value: u16) -> Vec<u8> {
    [&[0xb8 + register][..], &value.to_le_bytes()].concat()
}

/// AX, BX, CX and DX are set, the interrupt is called; then they and CF are these.
#[track_caller]
fn check(vector: u8, before: [u16; 4], after: [u16; 4], carry: bool) {
    let set = [mov(0, before[0]), mov(3, before[1]), mov(1, before[2]), mov(2, before[3])];
    let found = registers(&[&set.concat()[..], &[0xcd, vector]].concat());
    assert_eq!(found, (after, carry), "INT {vector:#x}, AX={:#x}", before[0]);
}

#[test]
fn sizes_of_memory() {
    check(0x12, [0; 4], [639, 0, 0, 0], false);
    check(0x15, [0x8800, 0, 0, 0], [UPPER_KIB, 0, 0, 0], false);
    check(0x15, [0xe801, 0, 0, 0], [UPPER_KIB, 0, UPPER_KIB, 0], false);
}

#[test]
fn what_is_there() {
    check(0x11, [0; 4], [0x0422, 0, 0, 0], false);
    // Extended BIOS data area, A20, no drives, no keys, no such function.
    check(0x15, [0xc100, 1, 2, 3], [0xc100, 1, 2, 3], false);
    check(0x15, [0x2402, 0, 0, 0], [0x0001, 0, 0, 0], false);
    check(0x15, [0x2403, 0, 0, 0], [0x0003, 3, 0, 0], false);
    check(0x15, [0x5300, 0, 0, 0], [0x8600, 0, 0, 0], true);
    check(0x13, [0x4100, 0x55aa, 0, 0x80], [0x0100, 0x55aa, 0, 0x80], true);
    check(0x13, [0x0800, 0, 0, 0x80], [0x0100, 0, 0, 0x80], true);
    check(0x13, [0x1500, 0, 0, 0x80], [0x0000, 0, 0, 0x80], false);
    check(0x1a, [0xb101, 0, 0, 0], [0x8101, 0, 0, 0], true);
    check(0x10, [0x0f00, 0, 0, 0], [80 << 8 | 3, 0, 0, 0], false);
    check(0x10, [0x4f00, 1, 2, 3], [0x4f00, 1, 2, 3], false);
}

#[test]
fn date_and_time() {
    // The clock shows 2023-11-14, 22:13:20, in BCD.
    check(0x1a, [0x0200, 0, 0, 0], [0x0200, 0, 0x2213, 0x2000], false);
    check(0x1a, [0x0400, 0, 0, 0], [0x0420, 0, 0x2023, 0x1114], false);
    // Ticks of the 8254 since midnight: 80,000 seconds.
    let ticks = 80_000u64 * 1_193_182 / 65_536;
    check(0x1a, [0, 0, 0, 0], [0, 0, (ticks >> 16) as u16, ticks as u16], false);
}

#[test]
fn ranges_of_memory() {
    // mov eax, 0E820h; xor ebx, ebx; mov ecx, 20; mov edx, 'SMAP'; mov di, 5000h
    let first = [
        0x66, 0xb8, 0x20, 0xe8, 0, 0, 0x66, 0x31, 0xdb, 0x66, 0xb9, 20, 0, 0, 0, 0x66, 0xba, 0x50,
        0x41, 0x4d, 0x53, 0xbf, 0x00, 0x50,
    ];
    // int 15h; jc $+15h; add di, 20; mov eax, 0E820h; test ebx, ebx; jnz $-10h
    let each = [
        0xcd, 0x15, 0x72, 0x10, 0x83, 0xc7, 0x14, 0x66, 0xb8, 0x20, 0xe8, 0, 0, 0x66, 0x85, 0xdb,
        0x75, 0xee, 0x90, 0x90,
    ];
    // mov cx, di; mov si, 5000h; sub cx, si; mov dx, 3F8h; lodsb; out dx, al; loop $-2
    let send = [0x89, 0xf9, 0xbe, 0x00, 0x50, 0x29, 0xf1, 0xba, 0xf8, 0x03, 0xac, 0xee, 0xe2, 0xfc];
    let sent = sent(&mut real_mode(&[&first[..], &each, &send, END].concat()));
    let ranges = MemoryMap::new(SIZE).ranges();
    let expected = ranges.iter().flat_map(|r| {
        [&r.base.to_le_bytes()[..], &r.size.to_le_bytes(), &(r.kind as u32).to_le_bytes()].concat()
    });
    assert_eq!(sent, expected.collect::<Vec<u8>>());
    // Too short a buffer, and past the last range.
    check(0x15, [0xe820, 0, 20, 0], [0x8620, 0, 20, 0], true);
}

#[test]
fn the_tick_counts() {
    // mov bx, [46Ch]; sti; hlt; mov ax, [46Ch]; sub ax, bx; cmp ax, 3; jb $-9; cli
    let code = [
        0x8b, 0x1e, 0x6c, 0x04, 0xfb, 0xf4, 0xa1, 0x6c, 0x04, 0x29, 0xd8, 0x83, 0xf8, 0x03, 0x72,
        0xf5, 0xfa,
    ];
    let mut machine = real_mode(&[&code[..], SEND, END].concat());
    assert_eq!(sent(&mut machine)[..2], [3, 0]);
    // Three periods of 65,536 counts at 1.193182 MHz.
    let at = machine.now().0;
    assert!((164_000_000..165_500_000).contains(&at), "{at}");
}

#[test]
fn text_goes_to_the_page() {
    // mov ax, 0E41h; int 10h; mov al, 42h; int 10h; mov ax, 0B800h; mov ds, ax; mov bx, [0]; mov cx, [2];
    // xor ax, ax; mov ds, ax; mov dx, [450h]
    let code = [
        0xb8, 0x41, 0x0e, 0xcd, 0x10, 0xb0, 0x42, 0xcd, 0x10, 0xb8, 0x00, 0xb8, 0x8e, 0xd8, 0x8b,
        0x1e, 0, 0, 0x8b, 0x0e, 2, 0, 0x31, 0xc0, 0x8e, 0xd8, 0x8b, 0x16, 0x50, 0x04,
    ];
    let ([_, first, second, cursor], _) = registers(&code);
    assert_eq!((first & 0xff, second & 0xff, cursor), (0x41, 0x42, 2));
    // mov ax, 3; int 10h: the screen is cleared. Then a new line and back.
    let cleared = [mov(0, 3), vec![0xcd, 0x10], mov(0, 0x0e0a), vec![0xcd, 0x10]].concat();
    let read = [0x8b, 0x16, 0x50, 0x04];
    assert_eq!(registers(&[&cleared[..], &read].concat()).0[3], 0x0100);
}

#[test]
fn the_screen_scrolls() {
    // mov ax, 3; int 10h; mov cx, 26; mov ax, 0E0Ah; int 10h; loop $-2; mov dx, [450h]
    let code = [
        0xb8, 3, 0, 0xcd, 0x10, 0xb8, 0x41, 0x0e, 0xcd, 0x10, 0xb9, 26, 0, 0xb8, 0x0a, 0x0e, 0xcd,
        0x10, 0xe2, 0xfc, 0x8b, 0x16, 0x50, 0x04,
    ];
    assert_eq!(registers(&code).0[3], 24 << 8 | 1);
}

#[test]
fn the_reset_vector_resets() {
    // jmp 0F000h:0FFF0h
    let mut machine = real_mode(&[0xea, 0xf0, 0xff, 0x00, 0xf0]);
    assert!(matches!(machine.run(1_000_000), MachineStop::Reset));
    // int 19h
    let mut machine = real_mode(&[0xcd, 0x19]);
    assert!(matches!(machine.run(1_000_000), MachineStop::Reset));
}

/// Sends EAX over COM1: mov dx, 3F8h; out dx, al; and three times shr eax, 8; out dx, al
const SEND_EAX: &[u8] =
    &[0x66, 0xba, 0xf8, 0x03, 0xee, 0xc1, 0xe8, 8, 0xee, 0xc1, 0xe8, 8, 0xee, 0xc1, 0xe8, 8, 0xee];

/// A flat 32-bit program's EAX, as it is sent after each part.
#[track_caller]
fn values(config: Config, parts: &[&[u8]]) -> Vec<u32> {
    let mut program: Vec<u8> = parts.iter().flat_map(|part| [part, SEND_EAX].concat()).collect();
    program.extend(guest::outb(0x501, 0));
    let sent = sent(&mut guest::machine(config, &program));
    sent.chunks(4).map(|w| u32::from_le_bytes(w.try_into().unwrap())).collect()
}

#[test]
fn virtual_wire_mode() {
    // mov eax, [0FEE000F0h], [0FEE00350h], [0FEE00360h]
    let load = |at: u8, page: u8| [0xa1, at, page, 0xe0, 0xfe];
    let parts = [load(0xf0, 0), load(0x50, 3), load(0x60, 3)];
    let found = values(config(), &[&parts[0], &parts[1], &parts[2]]);
    assert_eq!(found, [0x1ff, 0x700, 0x400], "enabled, ExtINT, NMI");
    // in al, 21h; in al, 0A1h
    let masks = values(config(), &[&[0x31, 0xc0, 0xe4, 0x21], &[0x31, 0xc0, 0xe4, 0xa1]]);
    assert_eq!(masks, [0xf8, 0xfe], "the 8254, the keyboard, the clock");
}

#[test]
fn cmos_tells_of_the_same_memory() {
    // xor eax, eax; mov al, index; out 70h, al; in al, 71h
    let indices = [0x15, 0x16, 0x17, 0x18, 0x30, 0x31, 0x34, 0x35];
    let reads = indices.map(|index| [0x31, 0xc0, 0xb0, index, 0xe6, 0x70, 0xe4, 0x71]);
    let found = values(config(), &reads.each_ref().map(|read| &read[..]));
    let [low, high] = UPPER_KIB.to_le_bytes().map(u32::from);
    assert_eq!(found, [0x80, 2, low, high, low, high, 0, 0]);
}

#[test]
fn vmx_is_on_and_locked() {
    // mov ecx, 3Ah; rdmsr
    let read: &[u8] = &[0xb9, 0x3a, 0, 0, 0, 0x0f, 0x32];
    assert_eq!(values(config(), &[read]), [5]);
    assert_eq!(values(Config { vmx_unlocked: true, ..config() }, &[read]), [0]);
}

#[test]
fn what_only_a_maskable_interrupt_could_wake_ends_the_run() {
    // cli; hlt
    let mut machine = guest::machine(config(), &[0xfa, 0xf4]);
    assert!(matches!(machine.run(1_000_000_000), MachineStop::Idle));
    // All lines masked: mov al, 0FFh; out 21h, al; sti; hlt
    let mut machine = guest::machine(config(), &[0xb0, 0xff, 0xe6, 0x21, 0xfb, 0xf4]);
    assert!(matches!(machine.run(1_000_000_000), MachineStop::Idle));
    // The 8254 sends an NMI by the I/O APIC's input 2, which triple-faults: there are no gates.
    let route = [guest::store(0xfec0_0000, 0x14), guest::store(0xfec0_0010, 0x400)].concat();
    let mut machine = guest::machine(config(), &[&route[..], &[0xfa, 0xf4]].concat());
    assert!(matches!(machine.run(1_000_000_000), MachineStop::TripleFault(_)));
}

/// Low memory after firmware has set it up.
fn left(count: u8) -> Memory {
    let mut memory = Memory::new(64 << 20);
    let map = MemoryMap::new(64 << 20);
    let processors = Processors { count, signature: 0x206f2, features: 0x1234, apic_version: 0x15 };
    firmware::install(&map, &processors, 1_700_000_000, &mut memory).unwrap();
    memory
}

fn sum(bytes: &[u8]) -> u8 {
    bytes.iter().fold(0, |sum, &byte| sum.wrapping_add(byte))
}

/// The entries of the multiprocessor table.
fn entries(count: u8) -> Vec<Vec<u8>> {
    let memory = left(count);
    let pointer = memory.read(MP_ADDRESS, 16);
    assert_eq!((&pointer[..4], sum(&pointer), MP_ADDRESS % 16), (&b"_MP_"[..], 0, 0));
    let at = u64::from(u32::from_le_bytes(pointer[4..8].try_into().unwrap()));
    let length = usize::from(u16::from_le_bytes(memory.read(at + 4, 2).try_into().unwrap()));
    let table = memory.read(at, length);
    assert_eq!((&table[..4], sum(&table), table[6]), (&b"PCMP"[..], 0, 4));
    assert!(at + (length as u64) < ROM_BASE);
    let (mut rest, mut entries) = (&table[44..], Vec::new());
    while let Some(kind) = rest.first() {
        let (entry, next) = rest.split_at(if *kind == 0 { 20 } else { 8 });
        entries.push(entry.to_vec());
        rest = next;
    }
    assert_eq!(usize::from(u16::from_le_bytes([table[34], table[35]])), entries.len());
    entries
}

#[test]
fn the_multiprocessor_table() {
    for count in [1, 2, 64, 255] {
        let entries = entries(count);
        let of = |kind: u8| entries.iter().filter(move |entry| entry[0] == kind);
        let processors: Vec<_> = of(0).map(|p| (p[1], p[2], p[3])).collect();
        let expected = (0..count).map(|id| (id, 0x15, if id == 0 { 3 } else { 1 }));
        assert_eq!(processors, expected.collect::<Vec<_>>());
        assert_eq!(of(1).map(|bus| &bus[2..]).collect::<Vec<_>>(), [b"PCI   ", b"ISA   "]);
        assert_eq!(of(2).count(), 1);
        // LINT0 of the first: ExtINT; LINT1 of all: NMI.
        let local: Vec<_> = of(4).map(|l| (l[1], l[6], l[7])).collect();
        assert_eq!(local, [(3, 0, 0), (1, 0xff, 1)]);
    }
    let interrupts: Vec<_> = entries(1).into_iter().filter(|entry| entry[0] == 3).collect();
    let isa: Vec<_> = interrupts.iter().filter(|i| i[4] == 1).map(|i| (i[5], i[7])).collect();
    let expected = (0..16).filter(|&irq| irq != 2).map(|irq| (irq, if irq == 0 { 2 } else { irq }));
    assert_eq!(isa, expected.collect::<Vec<_>>());
    let pci: Vec<_> = interrupts.iter().filter(|i| i[4] == 0).map(|i| (i[5], i[7])).collect();
    assert_eq!((pci.len(), pci[0], pci[3 << 2 | 1]), (128, (0, 16), (3 << 2 | 1, 20)));
}

#[test]
fn the_bios_data_area() {
    let memory = left(1);
    let word = |at: u64| u16::from_le_bytes(memory.read(at, 2).try_into().unwrap());
    assert_eq!([0, 2, 4, 6].map(|at| word(0x400 + at)), [0x3f8, 0x2f8, 0, 0], "serial ports");
    assert_eq!((word(0x40e), memory.read(0x9_fc00, 1)[0]), (0x9fc0, 1), "extended area");
    assert_eq!((word(0x410), word(0x413)), (0x0422, 639), "equipment, memory");
    assert_eq!((word(0x41a), word(0x41c), word(0x480), word(0x482)), (0x1e, 0x1e, 0x1e, 0x3e));
    assert_eq!((word(0x463), memory.read(0x449, 3)), (0x3d4, vec![3, 80, 0]), "display");
    assert_eq!(memory.read(0xf_fff0, 1), [0xea], "the reset vector");
    assert_eq!(memory.read(0xf_fffe, 1), [0xfc], "the model");
    // Every vector but those of tables and users leads to code.
    let vectors = memory.read(0, 1024);
    let segment = |n: usize| u16::from_le_bytes([vectors[4 * n + 2], vectors[4 * n + 3]]);
    assert!((0..=0x1c).chain([0x70, 0x77, 0xff]).all(|n| segment(n) == 0xf000));
}
