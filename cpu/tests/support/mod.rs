//! A bare processor with tables, handlers and a board, for small programs written as assembly. Each handler is
//! a HLT at an address that tells its vector. [`guest`] sets the same rig up as a host with a guest.
#![allow(dead_code, reason = "each test uses its part")]

pub(crate) mod asm;
pub(crate) mod guest;
mod operand;
pub(crate) mod reason;

use asm::assemble;
use cpu::bus::{Bus, Completion, Message};
use cpu::model::Model;
pub(crate) use cpu::state::gpr;
use cpu::state::{Segment, TableRegister, ar, seg};
use cpu::{CodeCache, Cpu, Stop};
use mmu::{HostPhys, Limits, Mmu, Ram};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

/// Interrupts with vector 0x40; ports that read their own number.
#[derive(Default)]
pub(crate) struct Board {
    pub(crate) written: Vec<(u16, u32)>,
    /// A write to a port sets this flag, and does not end the run.
    pub(crate) pause: Option<Arc<AtomicBool>>,
    /// What an access to a port takes.
    pub(crate) time: u64,
}

impl Bus for Board {
    fn port_read(&mut self, port: u16, _: u8, _: u64) -> u32 {
        port as u32
    }
    fn port_write(&mut self, port: u16, _: u8, v: u32, _: u64) {
        self.written.push((port, v));
        self.pause.iter().for_each(|flag| flag.store(true, Ordering::Relaxed));
    }
    fn complete(&mut self) -> Completion {
        Completion { resample: self.pause.is_none(), time: self.time }
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
pub(crate) enum Mode {
    Real,
    Protected,
    Long,
}
pub(crate) use Mode::*;

impl Mode {
    /// Width of the mode's code.
    pub(crate) fn bits(self) -> u32 {
        match self {
            Real => 16,
            Protected => 32,
            Long => 64,
        }
    }
}

/// Exception vectors. SDM vol. 3, "Exception and Interrupt Vectors".
pub(crate) const DB: u64 = 1;
pub(crate) const NMI: u64 = 2;
pub(crate) const BP: u64 = 3;
pub(crate) const UD: u64 = 6;
pub(crate) const DF: u64 = 8;
pub(crate) const TS: u64 = 10;
pub(crate) const NP: u64 = 11;
pub(crate) const SS: u64 = 12;
pub(crate) const GP: u64 = 13;
pub(crate) const PF: u64 = 14;
pub(crate) const AC: u64 = 17;

pub(crate) const GDT: u64 = 0x5000;
pub(crate) const IDT: u64 = 0x6000;
pub(crate) const TSS: u64 = 0x8000;
pub(crate) const CODE: u64 = 0x9000;
pub(crate) const HANDLERS: u64 = 0xa000;
pub(crate) const STACK: u64 = 0xe000;
pub(crate) const STACK0: u64 = 0xf008;
pub(crate) const IST1: u64 = 0x1_0000;

pub(crate) const CODE32: u64 = 0x00cf_9b00_0000_ffff;
pub(crate) const CODE64: u64 = 0x00af_9b00_0000_ffff;
pub(crate) const DATA32: u64 = 0x00cf_9300_0000_ffff;
pub(crate) const RING3: u64 = 0x6000_0000_0000;

pub(crate) struct Rig {
    /// The mode that code is assembled for.
    pub(crate) mode: Mode,
    pub(crate) cpu: Box<Cpu>,
    pub(crate) mmu: Mmu,
    pub(crate) cache: CodeCache,
    pub(crate) board: Board,
    pub(crate) now: u64,
}

impl Rig {
    /// A processor after reset and empty memory.
    pub(crate) fn bare(mode: Mode, ram: u64) -> Rig {
        let mmu = Mmu::new(Ram::new(ram).unwrap(), Limits::default());
        let (cpu, cache) = (Cpu::new(Model::default()), CodeCache::new(1 << 20));
        Rig { mode, cpu, mmu, cache, board: Board::default(), now: 0 }
    }

    pub(crate) fn put(&mut self, at: u64, b: &[u8]) {
        assert!(self.mmu.write_slice(HostPhys(at), b));
    }

    /// Writes the program `text` at `at`, as code of the rig's mode.
    #[track_caller]
    pub(crate) fn code(&mut self, at: u64, text: &str) {
        self.code_as(self.mode.bits(), at, text);
    }

    /// Writes the program `text` at `at`, as code of `bits`.
    #[track_caller]
    pub(crate) fn code_as(&mut self, bits: u32, at: u64, text: &str) {
        self.put(at, &assemble(bits, at, text));
    }

    /// Length of the program `text`, as code of the rig's mode.
    #[track_caller]
    pub(crate) fn length(&self, text: &str) -> u64 {
        assemble(self.mode.bits(), CODE, text).len() as u64
    }

    pub(crate) fn word(&self, at: u64, size: usize) -> u64 {
        let mut b = [0; 8];
        assert!(self.mmu.read_slice(HostPhys(at), &mut b[..size]));
        u64::from_le_bytes(b)
    }

    pub(crate) fn new(mode: Mode, cpl: u8) -> Rig {
        let mut r = Rig::bare(mode, 4 << 20);
        r.tables(mode);
        match mode {
            Real => r.real(),
            _ => r.protected(mode, cpl),
        }
        r.cpu.state.rip = CODE;
        r
    }

    pub(crate) fn tables(&mut self, mode: Mode) {
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

    pub(crate) fn gate(&mut self, mode: Mode, v: u64, kind: u64, ist: u64) {
        let to = HANDLERS + v * 16;
        let low = (to & 0xffff) | 8 << 16 | ist << 32 | kind << 40 | (to >> 16) << 48;
        match mode {
            Real => self.put(v * 4, &(to as u32).to_le_bytes()),
            Protected => self.put(IDT + v * 8, &low.to_le_bytes()),
            Long => self.put(IDT + v * 16, &low.to_le_bytes()),
        }
    }

    pub(crate) fn real(&mut self) {
        let cs = self.cpu.state.sys.seg[seg::CS];
        self.cpu.set_segment(seg::CS, Segment { selector: 0, base: 0, ..cs });
        self.cpu.state.regs[gpr::RSP] = STACK;
        self.cpu.state.sys.idtr.limit = 0x3ff;
    }

    pub(crate) fn protected(&mut self, mode: Mode, cpl: u8) {
        let cpu = &mut self.cpu;
        cpu.state.sys.cr0 = 0x11;
        cpu.state.sys.gdtr = TableRegister { base: GDT, limit: 0x47 };
        let limit = if mode == Long { 0xfff } else { 0x7ff };
        cpu.state.sys.idtr = TableRegister { base: IDT, limit };
        cpu.state.sys.tr = Segment { selector: 0x28, ar: ar::P | 11, limit: 0x67, base: TSS };
        if mode == Long {
            cpu.state.sys.cr0 |= 1 << 31;
            cpu.state.sys.cr4 = 0x20;
            cpu.state.sys.cr3 = 0x1000;
            cpu.state.sys.efer = 0xd01;
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
        cpu.state.sys.cpl = cpl;
        cpu.state.regs[gpr::RSP] = STACK;
    }

    /// Runs to the instruction count `until`, or to where the processor stops before.
    pub(crate) fn slice(&mut self, until: u64) -> Stop {
        let Rig { cpu, mmu, cache, board, now, .. } = self;
        let stop = cpu.run(mmu, cache, board, *now, until);
        *now = cpu.now();
        stop
    }

    /// Runs until HLT.
    pub(crate) fn run(&mut self) -> Stop {
        loop {
            let stop = self.slice(10_000);
            if stop != Stop::Io {
                return stop;
            }
        }
    }

    /// General-purpose register `n`.
    pub(crate) fn reg(&self, n: usize) -> u64 {
        self.cpu.state.regs[n]
    }

    pub(crate) fn set_reg(&mut self, n: usize, value: u64) {
        self.cpu.state.regs[n] = value;
    }

    pub(crate) fn rip(&self) -> u64 {
        self.cpu.state.rip
    }

    /// The vector whose handler has halted.
    pub(crate) fn vector(&self) -> Option<u64> {
        let at = self.cpu.state.rip.wrapping_sub(HANDLERS + 1);
        (at & 15 == 0 && at < 0x1000).then_some(at / 16)
    }
}

/// Runs `code`; the handler of `vector` finds these on its stack: `(slot, value)`.
#[track_caller]
pub(crate) fn check(mode: Mode, cpl: u8, code: &str, vector: u64, stack: &[(u64, u64)]) {
    let mut r = Rig::new(mode, cpl);
    r.code(CODE, code);
    finish(&mut r, mode, vector, stack);
}

#[track_caller]
pub(crate) fn finish(r: &mut Rig, mode: Mode, vector: u64, stack: &[(u64, u64)]) {
    assert_eq!(r.run(), Stop::Idle, "{:x?}", r.cpu.stats.recent);
    assert_eq!(r.vector(), Some(vector), "rip {:#x} {:x?}", r.rip(), r.cpu.stats.recent);
    let size = match mode {
        Real => 2,
        Protected => 4,
        Long => 8,
    };
    for &(slot, want) in stack {
        let got = r.word(r.reg(gpr::RSP) + slot * size, size as usize);
        assert_eq!(got, want, "slot {slot}");
    }
}

pub(crate) const RF: u64 = 1 << 16;
