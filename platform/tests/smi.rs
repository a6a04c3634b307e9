//! System-management interrupts of a whole machine: firmware's steps with the chipset, and two processors.

mod common;

use common::guest::{self, CODE, copy, outb, outd, store};
use platform::machine::{Config, Machine, MachineStop, OptionalDevice, TraceItems};

/// What the handler in system-management RAM counts.
const COUNT: u32 = 0x7000;
/// What the handler at 38000h counts: it moves SMBASE.
const MOVED: u32 = 0x7010;
/// What the second processor counts.
const STARTED: u32 = 0x7020;

/// cmp dword [at], v; jne to it
fn wait(at: u32, v: u8) -> Vec<u8> {
    [&[0x83, 0x3d][..], &at.to_le_bytes(), &[v, 0x75, 0xf7]].concat()
}

/// inc dword [at], as 16-bit code
fn inc(at: u32) -> Vec<u8> {
    [&[0x66, 0xff, 0x06][..], &(at as u16).to_le_bytes()].concat()
}

/// Firmware's steps: handlers, relocation, lock.
fn set_up() -> Vec<u8> {
    let relocate = [0x67, 0x66, 0xc7, 0x05, 0x00, 0xff, 0x03, 0x00, 0x00, 0x00, 0x0a, 0x00];
    let relocate = [&relocate[..], &inc(MOVED), &[0x0f, 0xaa]].concat();
    [
        outd(0xcf8, 0x8000_009c),
        outb(0xcfd, 0x4a),
        copy(0x3_8000, &relocate),
        copy(0xa_8000, &[&inc(COUNT)[..], &[0x0f, 0xaa]].concat()),
        outd(0x630, 0x21),
        outb(0xb2, 0),
        outb(0xcfd, 0x1a),
    ]
    .concat()
}

/// A machine with `vcpus` processors that is about to run `program`.
fn machine(vcpus: u32, program: &[u8]) -> Machine {
    let devices = vec![OptionalDevice::DebugExit { base: 0xf4, length: 4 }];
    let trace = TraceItems { int: true, ..TraceItems::default() };
    guest::machine(Config { vcpus, devices, trace, ..Config::default() }, program)
}

/// The program ends in isa-debug-exit with the dword at `at`; twice, to the same state. The trace.
#[track_caller]
fn check(vcpus: u32, program: &[u8], at: u32, value: u32) -> String {
    // mov eax, [at]; out f4h, eax
    let exit = [&[0xa1][..], &at.to_le_bytes(), &[0x66, 0xba, 0xf4, 0, 0xef]].concat();
    let program = [program, &exit].concat();
    let [mut a, mut b] = [(); 2].map(|()| machine(vcpus, &program));
    assert_eq!(a.run(5_000_000), MachineStop::DebugExit(value << 1 | 1));
    let stop = (0..).map(|_| b.run(97)).find(|stop| *stop != MachineStop::Budget);
    assert_eq!(stop, Some(MachineStop::DebugExit(value << 1 | 1)));
    assert_eq!(a.state_hash(), b.state_hash());
    a.take_trace()
}

#[test]
fn relocation_lock_and_count() {
    let twice = [outb(0xb2, 0), outb(0xb2, 1)].concat();
    let trace = check(1, &[set_up(), twice].concat(), COUNT, 2);
    let lines = |word| trace.lines().filter(|l| l.starts_with(word)).collect::<Vec<_>>();
    let (smi, rsm) = (lines("smi "), lines("rsm "));
    assert_eq!((smi.len(), rsm.len()), (3, 3), "{trace}");
    assert!(smi[0].ends_with("smbase=00030000") && smi[2].ends_with("smbase=000a0000"), "{trace}");
    check(1, &set_up(), MOVED, 1);
    // Locked RAM is out of reach, and stays so.
    check(1, &[set_up(), store(0xa_8000, 0), outb(0xcfd, 0x4a)].concat(), 0xa_8000, u32::MAX);
    let count = [store(0xa_8000, 0), outb(0xb2, 0)].concat();
    check(1, &[set_up(), count].concat(), COUNT, 1);
}

/// What the handler's save area holds is part of the state's hash.
#[test]
fn smram_is_in_the_hash() {
    let [mut a, mut b] = [1, 2].map(|v| {
        // mov ebx, v; an SMI; mov ebx, 0, and no trace of v in the program
        let smi = [set_up(), outb(0xb2, 0), store(CODE + 33, 0)].concat();
        let program = [&[0xbb, v, 0, 0, 0][..], &smi, &[0xbb, 0, 0, 0, 0], &outb(0xf4, 0)].concat();
        let mut m = machine(1, &program);
        assert_eq!(m.run(100_000), MachineStop::DebugExit(1));
        m
    });
    let word = |m: &Machine| m.processors().next().map(|cpu| cpu.state.regs[3]);
    assert_eq!((word(&a), word(&b)), (Some(0), Some(0)));
    assert_ne!(a.state_hash(), b.state_hash());
}

/// The second processor starts, halts, and gets SMIs by message: one that moves its SMBASE, one that counts.
#[test]
fn two_processors() {
    const ICR: u32 = 0xfee0_0300;
    // inc dword [7020h]; hlt; jmp to the hlt
    let second = [&inc(STARTED)[..], &[0xf4, 0xeb, 0xfd]].concat();
    let program = [
        set_up(),
        copy(0x6000, &second),
        store(ICR, 0x000c_4500),
        store(ICR, 0x000c_4606),
        wait(STARTED, 1),
        store(ICR, 0x000c_4200),
        wait(MOVED, 2),
        store(ICR, 0x000c_4200),
        wait(COUNT, 1),
    ]
    .concat();
    check(2, &program, STARTED, 1);
    // One that comes before the start-up IPI waits for it.
    let early = [
        set_up(),
        copy(0x6000, &second),
        store(ICR, 0x000c_4200),
        store(ICR, 0x000c_4606),
        wait(STARTED, 1),
    ]
    .concat();
    check(2, &early, MOVED, 2);
}

/// The I/O APIC sends one: the interval timer's output is input 2.
#[test]
fn by_the_io_apic() {
    const IOAPIC: u32 = 0xfec0_0000;
    let program = [
        set_up(),
        store(IOAPIC, 0x14),
        store(IOAPIC + 0x10, 0x0200),
        outb(0x43, 0x30),
        outb(0x40, 0x10),
        outb(0x40, 0),
        wait(COUNT, 1),
    ]
    .concat();
    check(1, &program, COUNT, 1);
}

/// A handler that spoils the save area ends the machine, which says why.
#[test]
fn a_refused_image() {
    // mov dword [3ff58h], 80000010h; rsm
    let spoil = [0x67, 0x66, 0xc7, 0x05, 0x58, 0xff, 0x03, 0, 0x10, 0, 0, 0x80, 0x0f, 0xaa];
    let program = [copy(0x3_8000, &spoil), outd(0x630, 0x21), outb(0xb2, 0)].concat();
    match machine(1, &program).run(100_000) {
        MachineStop::TripleFault(text) => {
            assert!(text.contains("PG is not set without PE"), "{text}")
        }
        stop => panic!("{stop:?}"),
    }
}
