//! A guest whose processors count, take interrupts, send each other NMIs and send back what they receive: each order
//! of their turns leaves another state.

use super::guest::{copy, outb, store};
use platform::machine::{Machine, MachineStop};

/// What the second processor counts, with LOCK.
pub(crate) const COUNT: u32 = 0x7000;
/// What the handlers make of [`COUNT`]: each order of turns leaves another value.
pub(crate) const LOG: u32 = 0x7010;
/// What the first processor counts.
pub(crate) const MAIN: u32 = 0x7020;
/// Where the tables and programs lie that the first processor lays out.
pub(crate) const IDT: u32 = 0x5000;
pub(crate) const IDT_REGISTER: u32 = 0x5ff0;
pub(crate) const SECOND: u32 = 0x6000;
pub(crate) const NMI: u32 = 0x6100;
pub(crate) const SERIAL: u32 = 0x8000;
pub(crate) const TICK: u32 = 0x8100;

/// mov eax, [COUNT]; add [LOG], eax; rol dword [LOG], 1
pub(crate) fn log() -> Vec<u8> {
    let (count, log) = (COUNT.to_le_bytes(), LOG.to_le_bytes());
    [&[0xa1][..], &count, &[0x01, 0x05], &log, &[0xd1, 0x05], &log].concat()
}

/// mov al, 20h; out 20h, al; pop edx; pop eax; iretd
pub(crate) const END: [u8; 7] = [0xb0, 0x20, 0xe6, 0x20, 0x5a, 0x58, 0xcf];

/// The handler of COM1's interrupt sends back what it receives.
pub(crate) fn serial() -> Vec<u8> {
    let echo = [
        0x50, 0x52, // push eax; push edx
        0x66, 0xba, 0xfd, 0x03, // again: mov dx, 3fdh
        0xec, 0xa8, 0x01, // in al, dx; test al, 1
        0x74, 0x08, // jz done
        0x66, 0xba, 0xf8, 0x03, // mov dx, 3f8h
        0xec, 0xee, // in al, dx; out dx, al
        0xeb, 0xef, // jmp again
    ];
    [&echo[..], &log(), &END].concat()
}

/// The handler of the interval timer's interrupt sends an NMI to the second processor if `nmi`.
pub(crate) fn tick(nmi: bool) -> Vec<u8> {
    let send = if nmi { store(0xfee0_0300, 0x000c_4400) } else { Vec::new() };
    // push eax; push edx
    [&[0x50, 0x52][..], &log(), &send, &END].concat()
}

/// lock inc dword [at], as 16-bit code
pub(crate) fn inc16(at: u32) -> Vec<u8> {
    [&[0xf0, 0x66, 0xff, 0x06][..], &(at as u16).to_le_bytes()].concat()
}

/// The second processor counts, and sends back what COM2 receives.
pub(crate) fn poll() -> Vec<u8> {
    let count = [&[0xb9, 0xd0, 0x07][..], &inc16(COUNT), &[0xe2, 0xf8]].concat(); // mov cx, 2000; count; loop
    let echo = [
        0xba, 0xfd, 0x02, // mov dx, 2fdh
        0xec, 0xa8, 0x01, // in al, dx; test al, 1
        0x74, 0xed, // jz to the begin
        0xba, 0xf8, 0x02, // mov dx, 2f8h
        0xec, 0xee, // in al, dx; out dx, al
        0xeb, 0xe6, // jmp to the begin
    ];
    [&count[..], &echo].concat()
}

/// The gate of a 32-bit interrupt handler.
pub(crate) fn gate(handler: u32) -> Vec<u8> {
    let [a, b, c, d] = handler.to_le_bytes();
    vec![a, b, 8, 0, 0, 0x8e, c, d]
}

/// Lays out tables and handlers, and sets interrupt controllers, timer and COM1 up.
pub(crate) fn set_up(nmi: bool) -> Vec<u8> {
    let mut idtr = vec![0xff, 0x03];
    idtr.extend(IDT.to_le_bytes());
    let lidt = [&[0x0f, 0x01, 0x1d][..], &IDT_REGISTER.to_le_bytes()].concat();
    [
        vec![0xbc, 0, 0x90, 0, 0], // mov esp, 9000h
        copy(IDT + 0x20 * 8, &gate(TICK)),
        copy(IDT + 0x24 * 8, &gate(SERIAL)),
        copy(IDT_REGISTER, &idtr),
        copy(TICK, &tick(nmi)),
        copy(SERIAL, &serial()),
        lidt,
        // Virtual wire: INTR comes through LINT0.
        store(0xfee0_00f0, 0x1ff),
        store(0xfee0_0350, 0x700),
        // The 8259: vectors from 20h on, IRQ 0 and 4.
        [(0x20, 0x11), (0x21, 0x20), (0x21, 4), (0x21, 1), (0x21, 0xee)]
            .map(|(p, v)| outb(p, v))
            .concat(),
        // The 8254: mode 2, a tick each 25,000 instructions.
        [(0x43, 0x34), (0x40, 30), (0x40, 0)].map(|(p, v)| outb(p, v)).concat(),
        // COM1: FIFOs, an interrupt for each byte received.
        [(0x3fa, 1), (0x3fc, 0x0b), (0x3f9, 1)].map(|(p, v)| outb(p, v)).concat(),
    ]
    .concat()
}

/// INIT and start-up IPI to the others, which begin at [`SECOND`] with `program`.
pub(crate) fn start(program: &[u8]) -> Vec<u8> {
    [
        copy(SECOND, program),
        // The interrupt vector table's entry of the NMI, and its handler: count; iret
        store(8, NMI),
        copy(NMI, &[&inc16(COUNT)[..], &[0xcf]].concat()),
        store(0xfee0_0300, 0x000c_4500),
        store(0xfee0_0300, 0x000c_4606),
    ]
    .concat()
}

/// sti; again: hlt; lock inc dword [MAIN]; jmp again, without the hlt if not `halts`
pub(crate) fn work(halts: bool) -> Vec<u8> {
    let hlt: &[u8] = if halts { &[0xf4] } else { &[0x90] };
    [&[0xfb][..], hlt, &[0xf0, 0xff, 0x05], &MAIN.to_le_bytes(), &[0xeb, 0xf6]].concat()
}

/// Bytes that are typed, with the machine time and the port.
pub(crate) const TYPED: [(u64, usize, &str); 6] = [
    (25_000, 0, "a"),
    (61_003, 0, "bc"),
    (61_003, 1, "d"),
    (61_004, 1, "e"),
    (100_000, 0, "a line longer than the FIFO\r"),
    (123_457, 1, "and another one\r"),
];

/// What of [`TYPED`] `port` gets.
pub(crate) fn typed(port: usize) -> String {
    TYPED.iter().filter(|t| t.1 == port).map(|t| t.2).collect()
}

/// Runs to machine time `to` in slices.
#[track_caller]
pub(crate) fn run_to(machine: &mut Machine, to: u64, slice: u64) {
    while machine.now().0 < to {
        let left = to - machine.now().0;
        assert_eq!(machine.run(slice.min(left)), MachineStop::Budget);
    }
    assert_eq!(machine.now().0, to);
}
