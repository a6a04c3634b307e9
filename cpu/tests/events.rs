//! Events and privilege changes: small programs on a bare processor, in real, protected and 64-bit mode.
//! Each handler is a HLT at an address that tells its vector; the row says what it finds on its stack.

use cpu::apic::Apic;
use cpu::bus::{Bus, Destination, Message};
use cpu::model::Model;
use cpu::state::{Activity, Segment, TableRegister, ar, seg};
use cpu::{CodeCache, Cpu, Stop};
use mmu::{HostPhys, Limits, Mmu, Ram};

/// Interrupts with vector 0x40; ports that read their own number.
#[derive(Default)]
struct Board {
    written: Vec<(u16, u32)>,
}

impl Bus for Board {
    fn port_read(&mut self, port: u16, _: u8, _: u64) -> u32 {
        port as u32
    }
    fn port_write(&mut self, port: u16, _: u8, v: u32, _: u64) {
        self.written.push((port, v));
    }
    fn mmio_read(&mut self, _: HostPhys, _: u8, _: u64) -> u64 {
        u64::MAX
    }
    fn mmio_write(&mut self, _: HostPhys, _: u8, _: u64, _: u64) {}
    fn acknowledge(&mut self) -> u8 {
        0x40
    }
    fn message(&mut self, _: Message) {}
    fn end_of_interrupt(&mut self, _: u8) {}
}

#[derive(Clone, Copy, PartialEq, Debug)]
enum Mode {
    Real,
    Protected,
    Long,
}
use Mode::*;

const GDT: u64 = 0x5000;
const IDT: u64 = 0x6000;
const TSS: u64 = 0x8000;
const CODE: u64 = 0x9000;
const HANDLERS: u64 = 0xa000;
const STACK: u64 = 0xe000;
const STACK0: u64 = 0xf008;
const IST1: u64 = 0x1_0000;

const CODE32: u64 = 0x00cf_9b00_0000_ffff;
const CODE64: u64 = 0x00af_9b00_0000_ffff;
const DATA32: u64 = 0x00cf_9300_0000_ffff;
const RING3: u64 = 0x6000_0000_0000;

struct Rig {
    cpu: Box<Cpu>,
    mmu: Mmu,
    code: CodeCache,
    board: Board,
    now: u64,
}

impl Rig {
    fn put(&mut self, at: u64, b: &[u8]) {
        assert!(self.mmu.write_slice(HostPhys(at), b));
    }

    fn word(&self, at: u64, size: usize) -> u64 {
        let mut b = [0; 8];
        assert!(self.mmu.read_slice(HostPhys(at), &mut b[..size]));
        u64::from_le_bytes(b)
    }

    fn new(mode: Mode, cpl: u8) -> Rig {
        let mmu = Mmu::new(Ram::new(4 << 20).unwrap(), Limits::default());
        let cpu = Cpu::new(Model::default());
        let code = CodeCache::new(1 << 20);
        let mut r = Rig { cpu, mmu, code, board: Board::default(), now: 0 };
        r.tables(mode);
        match mode {
            Real => r.real(),
            _ => r.protected(mode, cpl),
        }
        r.cpu.rip = CODE;
        r
    }

    fn tables(&mut self, mode: Mode) {
        // 8 code, 10h data, 18h user code, 20h user data, 28h TSS, 38h 32-bit code, 40h 64-bit code.
        let code = if mode == Long { CODE64 } else { CODE32 };
        let tss = 0x67 | TSS << 16 | 0x89 << 40;
        let gdt = [0, code, DATA32, code | RING3, DATA32 | RING3, tss, 0, CODE32, CODE64];
        for (n, d) in gdt.iter().enumerate() {
            self.put(GDT + 8 * n as u64, &d.to_le_bytes());
        }
        for v in 0..=255u64 {
            self.put(HANDLERS + v * 16, &[0xf4]);
            self.gate(mode, v, 0x8e | if v == 3 { 0x60 } else { 0 }, 0);
        }
        match mode {
            Long => self.put(TSS + 4, &STACK0.to_le_bytes()),
            _ => self.put(TSS + 4, &(STACK0 | 0x10 << 32).to_le_bytes()),
        }
        self.put(TSS + 36, &IST1.to_le_bytes());
        self.put(0x1000, &0x2007u64.to_le_bytes());
        self.put(0x2000, &0x3007u64.to_le_bytes());
        self.put(0x3000, &0x87u64.to_le_bytes());
    }

    fn gate(&mut self, mode: Mode, v: u64, kind: u64, ist: u64) {
        let to = HANDLERS + v * 16;
        let low = (to & 0xffff) | 8 << 16 | ist << 32 | kind << 40 | (to >> 16) << 48;
        match mode {
            Real => self.put(v * 4, &(to as u32).to_le_bytes()),
            Protected => self.put(IDT + v * 8, &low.to_le_bytes()),
            Long => self.put(IDT + v * 16, &low.to_le_bytes()),
        }
    }

    fn real(&mut self) {
        let cs = self.cpu.sys.seg[seg::CS];
        self.cpu.set_segment(seg::CS, Segment { selector: 0, base: 0, ..cs });
        self.cpu.regs[4] = STACK;
        self.cpu.sys.idtr.limit = 0x3ff;
    }

    fn protected(&mut self, mode: Mode, cpl: u8) {
        let cpu = &mut self.cpu;
        cpu.sys.cr0 = 0x11;
        cpu.sys.gdtr = TableRegister { base: GDT, limit: 0x47 };
        let limit = if mode == Long { 0xfff } else { 0x7ff };
        cpu.sys.idtr = TableRegister { base: IDT, limit };
        cpu.sys.tr = Segment { selector: 0x28, ar: ar::P | 11, limit: 0x67, base: TSS };
        if mode == Long {
            cpu.sys.cr0 |= 1 << 31;
            cpu.sys.cr4 = 0x20;
            cpu.sys.cr3 = 0x1000;
            cpu.sys.efer = 0xd01;
        }
        let user = cpl == 3;
        let rights = ar::P | ar::S | ar::RW | ar::ACCESSED | ar::G | (cpl as u32) << 5;
        let data = if user { 0x23 } else { 0x10 };
        let g = Segment { selector: data, ar: rights | ar::DB, limit: u32::MAX, base: 0 };
        for s in [seg::ES, seg::SS, seg::DS, seg::FS, seg::GS] {
            cpu.set_segment(s, g);
        }
        let size = if mode == Long { ar::L } else { ar::DB };
        let selector = if user { 0x1b } else { 8 };
        cpu.set_segment(seg::CS, Segment { selector, ar: rights | ar::CODE | size, ..g });
        cpu.sys.cpl = cpl;
        cpu.regs[4] = STACK;
    }

    /// Runs until HLT.
    fn run(&mut self) -> Stop {
        loop {
            let Rig { cpu, mmu, code, board, now } = self;
            let stop = cpu.run(mmu, code, board, *now, 10_000);
            *now = cpu.now();
            if stop != Stop::Io {
                return stop;
            }
        }
    }

    /// The vector whose handler has halted.
    fn vector(&self) -> Option<u64> {
        let at = self.cpu.rip.wrapping_sub(HANDLERS + 1);
        (at & 15 == 0 && at < 0x1000).then_some(at / 16)
    }
}

/// Runs `code`; the handler of `vector` finds these on its stack: `(slot, value)`.
#[track_caller]
fn check(mode: Mode, cpl: u8, code: &[u8], vector: u64, stack: &[(u64, u64)]) {
    let mut r = Rig::new(mode, cpl);
    r.put(CODE, code);
    finish(&mut r, mode, vector, stack);
}

#[track_caller]
fn finish(r: &mut Rig, mode: Mode, vector: u64, stack: &[(u64, u64)]) {
    assert_eq!(r.run(), Stop::Idle, "{:x?}", r.cpu.stats.recent);
    assert_eq!(r.vector(), Some(vector), "rip {:#x} {:x?}", r.cpu.rip, r.cpu.stats.recent);
    let size = match mode {
        Real => 2,
        Protected => 4,
        Long => 8,
    };
    for &(slot, want) in stack {
        let got = r.word(r.cpu.regs[4] + slot * size, size as usize);
        assert_eq!(got, want, "slot {slot}");
    }
}

const RF: u64 = 1 << 16;

#[test]
fn exceptions_in_every_mode() {
    // ud2
    check(Real, 0, &[0x0f, 0x0b], 6, &[(0, CODE), (1, 0), (2, 2)]);
    check(Protected, 0, &[0x0f, 0x0b], 6, &[(0, CODE), (1, 8), (2, 2 | RF)]);
    check(Long, 0, &[0x0f, 0x0b], 6, &[(0, CODE), (1, 8), (2, 2 | RF), (3, STACK), (4, 0x10)]);
    // The same from level 3: the stack is the TSS's, aligned in 64-bit mode.
    let outer = [(0, CODE), (1, 0x1b), (2, 2 | RF), (3, STACK), (4, 0x23)];
    check(Protected, 3, &[0x0f, 0x0b], 6, &outer);
    check(Long, 3, &[0x0f, 0x0b], 6, &outer);
    // hlt at level 3: #GP(0)
    check(Protected, 3, &[0xf4], 13, &[(0, 0), (1, CODE), (2, 0x1b)]);
    check(Long, 3, &[0xf4], 13, &[(0, 0), (1, CODE), (2, 0x1b)]);
    // mov eax, [8000_0000h]: #PF, user read of a page that is not there
    check(Long, 3, &[0xa1, 0, 0, 0, 0x40, 0, 0, 0, 0], 14, &[(0, 4), (1, CODE)]);
    check(Long, 0, &[0xa2, 0, 0, 0, 0x40, 0, 0, 0, 0], 14, &[(0, 2), (1, CODE)]);
}

#[test]
fn software_interrupts() {
    // int 50h
    check(Real, 0, &[0xcd, 0x50], 0x50, &[(0, CODE + 2), (1, 0), (2, 2)]);
    check(Protected, 0, &[0xcd, 0x50], 0x50, &[(0, CODE + 2), (1, 8), (2, 2)]);
    check(Long, 0, &[0xcd, 0x50], 0x50, &[(0, CODE + 2), (1, 8), (2, 2)]);
    // At level 3 the gate's DPL of 0 forbids it: #GP with the vector and the IDT bit, without EXT.
    check(Protected, 3, &[0xcd, 0x50], 13, &[(0, 0x50 * 8 + 2), (1, CODE)]);
    check(Long, 3, &[0xcd, 0x50], 13, &[(0, 0x50 * 8 + 2), (1, CODE)]);
    // int3 has a gate of DPL 3
    check(Protected, 3, &[0xcc], 3, &[(0, CODE + 1), (1, 0x1b)]);
    check(Long, 3, &[0xcc], 3, &[(0, CODE + 1), (1, 0x1b)]);
    // int1 does not look at the DPL
    check(Long, 3, &[0xf1], 1, &[(0, CODE + 1), (1, 0x1b)]);
}

/// A gate changed before `code` runs.
#[track_caller]
fn check_gate(mode: Mode, gate: (u64, u64, u64), code: &[u8], vector: u64, stack: &[(u64, u64)]) {
    let mut r = Rig::new(mode, 0);
    r.gate(mode, gate.0, gate.1, gate.2);
    r.put(CODE, code);
    finish(&mut r, mode, vector, stack);
}

#[test]
fn gates() {
    const UD: &[u8] = &[0x0f, 0x0b];
    // Not present: #NP with EXT. A wrong type: #GP.
    check_gate(Protected, (6, 0x0e, 0), UD, 11, &[(0, 6 * 8 + 3), (1, CODE)]);
    check_gate(Long, (6, 0x0e, 0), UD, 11, &[(0, 6 * 8 + 3), (1, CODE)]);
    check_gate(Protected, (6, 0x82, 0), UD, 13, &[(0, 6 * 8 + 3), (1, CODE)]);
    check_gate(Long, (6, 0x86, 0), UD, 13, &[(0, 6 * 8 + 3), (1, CODE)]);
    // Both #NP and its handler are not there: double fault.
    let mut r = Rig::new(Long, 0);
    r.gate(Long, 6, 0x0e, 0);
    r.gate(Long, 11, 0x0e, 0);
    r.put(CODE, UD);
    finish(&mut r, Long, 8, &[(0, 0), (1, CODE)]);
    // An IST stack.
    let mut r = Rig::new(Long, 0);
    r.gate(Long, 6, 0x8e, 1);
    r.put(CODE, UD);
    finish(&mut r, Long, 6, &[(0, CODE), (3, STACK)]);
    assert_eq!(r.cpu.regs[4], IST1 - 40);
}

#[test]
fn triple_fault() {
    let mut r = Rig::new(Long, 0);
    r.cpu.sys.idtr.limit = 0;
    r.put(CODE, &[0x0f, 0x0b]);
    assert_eq!(r.run(), Stop::TripleFault);
    let chain: Vec<u8> = r.cpu.stats.recent.iter().map(|(e, _)| e.vector).collect();
    assert_eq!(chain, [6, 13, 8]);
}

/// An external interrupt arrives before `code`, with IF clear; `at`: where it is taken.
#[track_caller]
fn check_interrupt(code: &[u8], at: u64) {
    for mode in [Real, Protected, Long] {
        let mut r = Rig::new(mode, 0);
        r.put(CODE, code);
        r.cpu.sys.intr = true;
        finish(&mut r, mode, 0x40, &[(0, at)]);
        assert_eq!(r.cpu.rflags() & 0x200, 0, "IF is clear in the handler");
    }
}

#[test]
fn interrupts_wait_for_the_shadow() {
    // sti; nop; nop: taken behind the first nop
    check_interrupt(&[0xfb, 0x90, 0x90, 0xf4], CODE + 2);
    // sti; hlt: taken behind the hlt
    check_interrupt(&[0xfb, 0xf4], CODE + 2);
    // sti; mov ax, ss; mov ss, ax; nop; nop: one instruction of STI's, then one of SS's
    check_interrupt(&[0x8c, 0xd0, 0xfb, 0x8e, 0xd0, 0x90, 0x90, 0xf4], CODE + 6);
    // sti; sti; nop: two STIs give one shadow
    check_interrupt(&[0xfb, 0xfb, 0x90, 0xf4], CODE + 2);
}

#[test]
fn nmi_waits_for_iret() {
    let mut r = Rig::new(Long, 0);
    r.put(CODE, &[0x90, 0xf4]);
    r.cpu.sys.nmi_pending = true;
    finish(&mut r, Long, 2, &[(0, CODE)]);
    assert!(r.cpu.sys.nmi_blocked);
    r.cpu.sys.nmi_pending = true;
    assert!(!r.cpu.wakeable(), "blocked");
    // iretq
    r.put(HANDLERS + 0x21, &[0x48, 0xcf]);
    r.cpu.sys.activity = Activity::Active;
    finish(&mut r, Long, 2, &[(0, CODE)]);
}

#[test]
fn single_steps() {
    // pushf; or word [rsp], 100h; popf; nop; nop: the trap comes behind the first nop
    let long = [0x9c, 0x66, 0x81, 0x0c, 0x24, 0, 1, 0x9d, 0x90, 0x90, 0xf4];
    let mut r = Rig::new(Long, 0);
    r.put(CODE, &long);
    finish(&mut r, Long, 1, &[(0, CODE + 9), (2, 0x102)]);
    assert_eq!(r.cpu.sys.dr6 & 0x4000, 0x4000);
    assert_eq!(r.cpu.rflags() & 0x100, 0);
}

#[test]
fn breakpoints() {
    let mut r = Rig::new(Long, 0);
    r.put(CODE, &[0x90, 0x90, 0xf4]);
    r.cpu.sys.dr[0] = CODE + 1;
    r.cpu.sys.dr7 = 0x402;
    finish(&mut r, Long, 1, &[(0, CODE + 1)]);
    assert_eq!(r.cpu.sys.dr6 & 0xf, 1);
}

/// Runs from `cpl` 0 with these quadwords on the stack; stops in `hlt` or a handler at `rip`.
#[track_caller]
fn check_iretq(frame: [u64; 5], rip: u64, cpl: u8) {
    let mut r = Rig::new(Long, 0);
    r.put(CODE, &[0x48, 0xcf]);
    // The target: int3.
    r.put(CODE + 0x100, &[0xcc]);
    for (n, v) in frame.iter().enumerate() {
        r.put(STACK + 8 * n as u64, &v.to_le_bytes());
    }
    assert_eq!(r.run(), Stop::Idle);
    let slots = if r.vector() == Some(3) { 0 } else { 8 };
    let at = r.cpu.regs[4];
    assert_eq!(r.word(at + slots, 8), rip);
    assert_eq!(r.word(at + slots + 8, 8) & 3, cpl as u64);
}

#[test]
fn iretq() {
    let to = CODE + 0x100;
    check_iretq([to, 8, 2, STACK, 0x10], to + 1, 0);
    check_iretq([to, 8, 2, STACK, 0], to + 1, 0);
    check_iretq([to, 0x1b, 2, STACK, 0x23], to + 1, 3);
    // A null SS at level 3, an SS of another level, a data segment as CS: #GP at the IRET.
    check_iretq([to, 0x1b, 2, STACK, 0], CODE, 0);
    check_iretq([to, 0x1b, 2, STACK, 0x10], CODE, 0);
    check_iretq([to, 0x10, 2, STACK, 0x10], CODE, 0);
    check_iretq([1 << 63, 8, 2, STACK, 0x10], CODE, 0);
    // NT is #GP in IA-32e mode.
    let mut r = Rig::new(Long, 0);
    r.cpu.set_rflags(1 << 14 | 2);
    r.put(CODE, &[0x48, 0xcf]);
    finish(&mut r, Long, 13, &[(0, 0), (1, CODE)]);
}

#[test]
fn system_calls() {
    let mut r = Rig::new(Long, 3);
    r.cpu.sys.msr.star = 0x13 << 48 | 8 << 32;
    r.cpu.sys.msr.lstar = CODE + 0x100;
    r.cpu.sys.msr.sfmask = 0x200;
    r.cpu.set_rflags(0x202);
    // syscall; int3  ...  sysretq
    r.put(CODE, &[0x0f, 0x05, 0xcc]);
    r.put(CODE + 0x100, &[0x48, 0x0f, 0x07]);
    finish(&mut r, Long, 3, &[(0, CODE + 3), (1, 0x23), (2, 0x202), (4, 0x1b)]);
    assert_eq!(r.cpu.regs[1], CODE + 2);
    assert_eq!(r.cpu.regs[11], 0x202);
}

#[test]
fn from_real_to_long_mode() {
    let mut r = Rig::new(Real, 0);
    let gdt = [0, CODE32, DATA32, CODE64];
    for (n, d) in gdt.iter().enumerate() {
        r.put(GDT + 8 * n as u64, &d.to_le_bytes());
    }
    r.put(0x700, &[0x1f, 0, 0, 0x50, 0, 0]);
    // lgdt [700h]; mov eax, cr0; or al, 1; mov cr0, eax; jmp 8:dword CODE + 20h
    r.put(CODE, &[0x66, 0x0f, 0x01, 0x16, 0x00, 0x07, 0x0f, 0x20, 0xc0, 0x0c, 1]);
    r.put(CODE + 11, &[0x0f, 0x22, 0xc0, 0x66, 0xea, 0x20, 0x90, 0, 0, 8, 0]);
    // mov ax, 10h; mov ds, ax; mov ss, ax; mov eax, 20h; mov cr4, eax; mov eax, 1000h; mov cr3, eax
    let a = [0x66, 0xb8, 0x10, 0, 0x8e, 0xd8, 0x8e, 0xd0, 0xb8, 0x20, 0, 0, 0, 0x0f, 0x22, 0xe0];
    let b = [0xb8, 0, 0x10, 0, 0, 0x0f, 0x22, 0xd8];
    // mov ecx, c0000080h; rdmsr; or ah, 1; wrmsr; mov eax, cr0; bts eax, 31; mov cr0, eax
    let c = [0xb9, 0x80, 0, 0, 0xc0, 0x0f, 0x32, 0x80, 0xcc, 1, 0x0f, 0x30, 0x0f, 0x20, 0xc0];
    let d = [0x0f, 0xba, 0xe8, 31, 0x0f, 0x22, 0xc0];
    // jmp 18h:CODE + 80h;  mov rax, 1122334455667788h; hlt
    let e = [0xea, 0x80, 0x90, 0, 0, 0x18, 0];
    r.put(CODE + 0x20, &[&a[..], &b, &c, &d, &e].concat());
    r.put(CODE + 0x80, &[0x48, 0xb8, 0x88, 0x77, 0x66, 0x55, 0x44, 0x33, 0x22, 0x11, 0xf4]);
    assert_eq!(r.run(), Stop::Idle, "{:x?}", r.cpu.stats.recent);
    assert_eq!(r.cpu.regs[0], 0x1122_3344_5566_7788);
    assert_eq!(r.cpu.rip, CODE + 0x8b);
    assert_eq!(r.cpu.sys.efer & 0x500, 0x500);
}

#[test]
fn ports() {
    // At level 3 with IOPL 0 the bit map decides: port 10h is free, 11h is not.
    let mut r = Rig::new(Protected, 3);
    r.put(TSS + 0x66, &[0x68, 0]);
    r.put(TSS + 0x68, &[0, 0, 0xfe, 0xff]);
    r.cpu.sys.tr.limit = 0x6b;
    // in al, 10h; out 10h, al; in al, 11h
    r.put(CODE, &[0xe4, 0x10, 0xe6, 0x10, 0xe4, 0x11]);
    finish(&mut r, Protected, 13, &[(0, 0), (1, CODE + 4)]);
    assert_eq!(r.board.written, [(0x10, 0x10)]);
}

#[test]
fn repeated_port_output() {
    let mut r = Rig::new(Real, 0);
    // mov cx, 3; mov si, CODE; mov dx, 77h; rep outsb; hlt
    r.put(CODE, &[0xb9, 3, 0, 0xbe, 0, 0x90, 0xba, 0x77, 0, 0xf3, 0x6e, 0xf4]);
    assert_eq!(r.run(), Stop::Idle);
    assert_eq!(r.board.written, [(0x77, 0xb9), (0x77, 3), (0x77, 0)]);
    assert_eq!(r.cpu.regs[1], 0);
    assert_eq!(r.cpu.regs[6], CODE + 3);
}

#[test]
fn segments_of_protected_mode() {
    // mov ax, 48h (outside the GDT); mov ds, ax
    check(Protected, 0, &[0x66, 0xb8, 0x48, 0, 0x8e, 0xd8], 13, &[(0, 0x48), (1, CODE + 4)]);
    // Level 3 may not load a segment of level 0, nor a null SS.
    check(Protected, 3, &[0x66, 0xb8, 0x10, 0, 0x8e, 0xd8], 13, &[(0, 0x10), (1, CODE + 4)]);
    check(Protected, 3, &[0x66, 0x31, 0xc0, 0x8e, 0xd0], 13, &[(0, 0), (1, CODE + 3)]);
    // A null DS faults when it is used.
    check(Protected, 0, &[0x31, 0xc0, 0x8e, 0xd8, 0x8b, 0], 13, &[(0, 0), (1, CODE + 4)]);
    // A far jump to data: #GP(selector).
    check(Protected, 0, &[0xea, 0, 0, 0, 0, 0x10, 0], 13, &[(0, 0x10), (1, CODE)]);
}

/// A call gate of DPL 3 at GDT 30h (and 38h) to a handler that halts.
fn with_call_gate(mode: Mode, parameters: u64) -> Rig {
    let mut r = Rig::new(mode, 3);
    let to = HANDLERS + 0x700;
    let low = (to & 0xffff) | 8 << 16 | parameters << 32 | 0xec << 40;
    r.put(GDT + 0x30, &low.to_le_bytes());
    r.put(GDT + 0x38, &[0; 8]);
    r
}

#[test]
fn call_gates() {
    // call 33h:0
    let mut r = with_call_gate(Protected, 2);
    r.put(CODE, &[0x9a, 0, 0, 0, 0, 0x33, 0]);
    r.put(STACK, &0x2222_2222_1111_1111u64.to_le_bytes());
    let stack = [(0, CODE + 7), (1, 0x1b), (2, 0x1111_1111), (3, 0x2222_2222), (4, STACK)];
    finish(&mut r, Protected, 0x70, &stack);
    assert_eq!(r.cpu.sys.cpl, 0);
    // ret 8 (far): back to level 3, past the parameters on both stacks; then hlt is #GP
    r.put(HANDLERS + 0x701, &[0xca, 8, 0]);
    r.put(CODE + 7, &[0xf4]);
    r.cpu.sys.activity = Activity::Active;
    finish(&mut r, Protected, 13, &[(0, 0), (1, CODE + 7), (2, 0x1b), (4, STACK + 8)]);
    // call [rip + 2] in 64-bit mode
    let mut r = with_call_gate(Long, 0);
    r.put(CODE, &[0xff, 0x1d, 2, 0, 0, 0, 0x90, 0x90, 0, 0, 0, 0, 0x33, 0]);
    finish(&mut r, Long, 0x70, &[(0, CODE + 6), (1, 0x1b), (2, STACK), (3, 0x23)]);
    // A gate whose DPL is lower than the CPL.
    let mut r = with_call_gate(Protected, 0);
    r.put(GDT + 0x35, &[0x8c]);
    r.put(CODE, &[0x9a, 0, 0, 0, 0, 0x33, 0]);
    finish(&mut r, Protected, 13, &[(0, 0x30), (1, CODE)]);
}

#[test]
fn virtual_8086_mode() {
    let mut r = Rig::new(Protected, 0);
    // iretd to 0900h:0010h with IOPL 3: int 50h there; its gate needs DPL 3
    let frame = [0x10u32, 0x900, 0x2_3002, 0xff0, 0xd00, 0x111, 0x222, 0x333, 0x444];
    for (n, v) in frame.iter().enumerate() {
        r.put(STACK + 4 * n as u64, &v.to_le_bytes());
    }
    r.gate(Protected, 0x50, 0xee, 0);
    r.put(CODE, &[0xcf]);
    r.put(CODE + 0x10, &[0xcd, 0x50]);
    let stack = [(0, 0x12), (1, 0x900), (2, 0x2_3002), (3, 0xff0), (4, 0xd00), (5, 0x111)];
    finish(&mut r, Protected, 0x50, &stack);
    assert_eq!(r.word(r.cpu.regs[4] + 32, 4), 0x444, "GS");
    assert_eq!(r.cpu.sys.seg[seg::DS].selector, 0);
    assert_eq!((r.cpu.sys.cpl, r.cpu.rflags() >> 17 & 1), (0, 0));
    // Below IOPL 3 the same is #GP(0).
    r = Rig::new(Protected, 0);
    for (n, v) in frame.iter().enumerate() {
        r.put(STACK + 4 * n as u64, &v.to_le_bytes());
    }
    r.put(STACK + 8, &0x2_0002u32.to_le_bytes());
    r.put(CODE, &[0xcf]);
    r.put(CODE + 0x10, &[0xcd, 0x50]);
    finish(&mut r, Protected, 13, &[(0, 0), (1, 0x10), (2, 0x900)]);
}

#[test]
fn sixteen_bit_gates() {
    let mut r = Rig::new(Protected, 3);
    r.gate(Protected, 6, 0x86, 0);
    r.put(CODE, &[0x0f, 0x0b]);
    assert_eq!(r.run(), Stop::Idle);
    assert_eq!(r.vector(), Some(6));
    let sp = r.cpu.regs[4];
    let words = [CODE, 0x1b, 2, STACK, 0x23];
    for (n, want) in words.iter().enumerate() {
        assert_eq!(r.word(sp + 2 * n as u64, 2), *want, "word {n}");
    }
}

/// A second task at 1_2000h whose TSS descriptor is at GDT 30h; it halts at handler 71h.
fn with_task() -> Rig {
    const OTHER: u64 = 0x1_2000;
    let mut r = Rig::new(Protected, 0);
    let low = 0x67 | (OTHER & 0xffff) << 16 | (OTHER >> 16) << 32 | 0x89 << 40;
    r.put(GDT + 0x30, &low.to_le_bytes());
    // The current TSS is busy.
    r.put(GDT + 0x2d, &[0x8b]);
    let mut put = |off: u64, v: u64| r.put(OTHER + off, &(v as u32).to_le_bytes());
    put(32, HANDLERS + 0x710);
    put(36, 2);
    put(40, 0xaaaa);
    put(56, STACK0);
    for s in [72, 80, 84, 88, 92] {
        put(s, 0x10);
    }
    put(76, 8);
    r
}

#[test]
fn task_switches() {
    // jmp 30h:0: the old task is available again, its state saved; TS is set
    let mut r = with_task();
    r.put(CODE, &[0xea, 0, 0, 0, 0, 0x30, 0]);
    finish(&mut r, Protected, 0x71, &[]);
    assert_eq!((r.cpu.regs[0], r.cpu.regs[4]), (0xaaaa, STACK0));
    assert_eq!(r.cpu.sys.tr.selector, 0x30);
    assert_eq!(r.cpu.sys.cr0 & 8, 8);
    assert_eq!(r.word(GDT + 0x2d, 1), 0x89);
    assert_eq!(r.word(GDT + 0x35, 1), 0x8b);
    assert_eq!(r.word(TSS + 32, 4), CODE + 7);
    // call 30h:0, there iret: back behind the call
    let mut r = with_task();
    r.put(CODE, &[0x9a, 0, 0, 0, 0, 0x30, 0, 0xcc]);
    r.put(HANDLERS + 0x710, &[0xcf]);
    finish(&mut r, Protected, 3, &[(0, CODE + 8)]);
    assert_eq!(r.cpu.sys.tr.selector, 0x28);
    assert_eq!(r.cpu.regs[4], STACK - 12);
    assert_eq!(r.word(GDT + 0x35, 1), 0x89);
    // A task gate for #GP, with the error code on the new stack.
    let mut r = with_task();
    r.put(IDT + 13 * 8, &(0x30u64 << 16 | 0x85 << 40).to_le_bytes());
    r.put(CODE, &[0x66, 0xb8, 0x48, 0, 0x8e, 0xd8]);
    finish(&mut r, Protected, 0x71, &[(0, 0x48)]);
    assert_eq!(r.word(0x1_2000, 2), 0x28, "back link");
    assert_eq!(r.cpu.rflags() & 0x4000, 0x4000);
    // A fault that the switch meets in the new task: a DS that does not exist.
    let mut r = with_task();
    r.put(0x1_2000 + 84, &[0x48]);
    r.put(CODE, &[0xea, 0, 0, 0, 0, 0x30, 0]);
    finish(&mut r, Protected, 10, &[(0, 0x48), (1, HANDLERS + 0x710)]);
    // A busy task: #GP(selector).
    let mut r = with_task();
    r.put(CODE, &[0xea, 0, 0, 0, 0, 0x28, 0]);
    finish(&mut r, Protected, 13, &[(0, 0x28), (1, CODE)]);
}

#[test]
fn init_and_start_up() {
    // Both may wait by the time that the processor looks.
    let message = |delivery| Message {
        destination: Destination::Physical(1),
        delivery,
        vector: 9,
        level: false,
        source: 0,
    };
    for running in [false, true] {
        let mut r = Rig::new(Real, 0);
        r.cpu.apic = Apic::new(1);
        if !running {
            r.cpu.wait_for_sipi();
        }
        r.put(CODE, &[0xf4]);
        r.cpu.rip = 0x500;
        r.cpu.receive(&message(5));
        r.cpu.receive(&message(6));
        assert!(r.cpu.wakeable());
        assert_eq!(r.run(), Stop::Idle);
        assert_eq!((r.cpu.sys.activity, r.cpu.rip), (Activity::Hlt, 1));
        assert_eq!(r.cpu.sys.seg[seg::CS].base, CODE);
        // A start-up IPI to a running processor is lost.
        r.cpu.receive(&message(6));
        assert!(!r.cpu.wakeable());
    }
}

/// Breakpoint 0 with R/W field `kind` on 8 bytes at 1_1000h; the trap is met behind `code`.
#[track_caller]
fn check_watch(kind: u64, code: &[u8], hit: bool) {
    let mut r = Rig::new(Long, 0);
    r.put(CODE, code);
    r.put(CODE + code.len() as u64, &[0xcc]);
    r.cpu.regs[3] = 0x1_1004;
    r.cpu.sys.dr[0] = 0x1_1000;
    r.cpu.sys.dr7 = 0x402 | kind << 16 | 2 << 18;
    let (vector, rip) = if hit { (1, 0) } else { (3, 1) };
    finish(&mut r, Long, vector, &[(0, CODE + code.len() as u64 + rip)]);
    assert_eq!(r.cpu.sys.dr6 & 0xf, hit as u64);
}

#[test]
fn watchpoints() {
    // mov [rbx], eax; mov eax, [rbx]; mov eax, [rbx - 8]; mov al, [rbx - 5]; inc dword [rbx]
    check_watch(1, &[0x89, 0x03], true);
    check_watch(3, &[0x89, 0x03], true);
    check_watch(1, &[0x8b, 0x03], false);
    check_watch(3, &[0x8b, 0x03], true);
    check_watch(3, &[0x8b, 0x43, 0xf8], false);
    check_watch(3, &[0x8a, 0x43, 0xfb], false);
    check_watch(1, &[0xff, 0x03], true);
    // A repeated store stops behind the element that hit: 3 of 8 bytes are left.
    let mut r = Rig::new(Long, 0);
    r.put(CODE, &[0xf3, 0xaa]);
    (r.cpu.regs[7], r.cpu.regs[1]) = (0x1_0ffc, 8);
    r.cpu.sys.dr[1] = 0x1_1000;
    r.cpu.sys.dr7 = 0x408 | 1 << 20;
    finish(&mut r, Long, 1, &[(0, CODE)]);
    assert_eq!((r.cpu.regs[1], r.cpu.sys.dr6 & 0xf), (3, 2));
}
