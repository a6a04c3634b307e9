//! Runs a case on a bare processor of ours.

use super::case::{self, Event};
use super::{CODE, Case, DATA, DATA_SIZE, Outcome};
use cpu::bus::{Bus, Message};
use cpu::model::Model;
use cpu::state::{Segment, TableRegister, ar, seg};
use cpu::{CodeCache, Cpu};
use mmu::{HostPhys, Limits, Mmu, Ram};

/// Physical addresses.
const TABLES: u64 = 0x10_0000;
const CODE_FRAME: u64 = 0x20_0000;
const DATA_FRAME: u64 = 0x21_0000;

/// A processor in 64-bit user mode.
pub struct Ours {
    cpu: Box<Cpu>,
    mmu: Mmu,
    code: CodeCache,
}

struct NoBus;

impl Bus for NoBus {
    fn port_read(&mut self, _: u16, _: u8, _: u64) -> u32 {
        u32::MAX
    }
    fn port_write(&mut self, _: u16, _: u8, _: u32, _: u64) {}
    fn mmio_read(&mut self, _: HostPhys, _: u8, _: u64) -> u64 {
        u64::MAX
    }
    fn mmio_write(&mut self, _: HostPhys, _: u8, _: u64, _: u64) {}
    fn acknowledge(&mut self) -> u8 {
        0xff
    }
    fn message(&mut self, _: Message) {}
    fn end_of_interrupt(&mut self, _: u8) {}
}

impl Default for Ours {
    fn default() -> Self {
        let ram = Ram::new(4 << 20).expect("4 MiB of memory");
        let mut ours = Ours {
            cpu: Cpu::new(Model::default()),
            mmu: Mmu::new(ram, Limits::default()),
            code: CodeCache::new(1 << 16),
        };
        ours.tables();
        ours
    }
}

impl Ours {
    /// Maps the code page and the data pages for user mode.
    fn tables(&mut self) {
        let mut next = TABLES + 0x1000;
        let pages = [(CODE, CODE_FRAME), (DATA, DATA_FRAME), (DATA + 4096, DATA_FRAME + 4096)];
        for (la, frame) in pages {
            let mut table = TABLES;
            for level in (1..4).rev() {
                let at = table + (la >> (12 + 9 * level) & 511) * 8;
                let mut e = self.read(at);
                if e == 0 {
                    e = next | 7;
                    next += 0x1000;
                    self.write(at, &e.to_le_bytes());
                }
                table = e & !0xfff;
            }
            let rights: u64 = if la == CODE { 5 } else { 7 };
            self.write(table + (la >> 12 & 511) * 8, &(frame | rights).to_le_bytes());
        }
    }

    fn read(&self, at: u64) -> u64 {
        let mut b = [0; 8];
        assert!(self.mmu.read_slice(HostPhys(at), &mut b), "in memory");
        u64::from_le_bytes(b)
    }

    fn write(&mut self, at: u64, bytes: &[u8]) {
        assert!(self.mmu.write_slice(HostPhys(at), bytes), "in memory");
    }

    fn enter(&mut self, case: &Case) {
        let cpu = &mut self.cpu;
        cpu.reset();
        cpu.stats = Default::default();
        cpu.sys.cr0 = 0x8000_0033;
        cpu.sys.cr4 = 0x620;
        cpu.sys.cr3 = TABLES;
        cpu.sys.efer = 0xd00;
        let flags = ar::P | ar::S | ar::RW | ar::ACCESSED | 3 << ar::DPL_SHIFT;
        let ar_data = flags | ar::DB | ar::G;
        let data = Segment { selector: 0x2b, ar: ar_data, limit: u32::MAX, base: 0 };
        cpu.set_segment(seg::SS, data);
        let code = Segment { ar: flags | ar::CODE | ar::L | ar::G, selector: 0x33, ..data };
        cpu.set_segment(seg::CS, code);
        cpu.set_cpl(3);
        // No exception gets through: the first one shows in the statistics.
        cpu.sys.idtr = TableRegister { base: 0, limit: 0 };
        cpu.regs = case.state.regs;
        cpu.set_rflags(case.state.flags | 0x202);
        cpu.rip = CODE;
        cpu.fpu = Default::default();
        cpu.fpu.cw = 0x37f;
        cpu.fpu.tags = 0;
        cpu.fpu.xmm = case.state.xmm;
        cpu.fpu.mxcsr = case.state.mxcsr;
    }

    /// Runs `case`.
    pub fn run(&mut self, case: &Case) -> Outcome {
        self.code.flush(&mut self.mmu);
        self.write(CODE_FRAME, &case.code);
        self.write(DATA_FRAME, &case.data());
        self.enter(case);
        self.cpu.run(&mut self.mmu, &mut self.code, &mut NoBus, 0, 1);
        let first = self.cpu.stats.recent.iter().next();
        let mut data = vec![0; DATA_SIZE];
        assert!(self.mmu.read_slice(HostPhys(DATA_FRAME), &mut data), "in memory");
        let mut state = case.state.clone();
        state.regs = self.cpu.regs;
        state.rip = first.map_or(self.cpu.rip, |(_, rip)| rip);
        state.flags = self.cpu.rflags() & 0xcd5;
        (state.xmm, state.mxcsr) = (self.cpu.fpu.xmm, self.cpu.fpu.mxcsr);
        let vector = match first.map(|(e, _)| e) {
            None => 1,
            Some(e) => match e.vector {
                14 => {
                    let event = Event { vector: 14, error: 0, address: e.address };
                    return Outcome { event, state, lines: case::changes(&case.data(), &data) };
                }
                12 | 13 => 13,
                16 | 19 => 16,
                1 | 3 => 1,
                v => v,
            },
        };
        let event = Event { vector, ..Event::default() };
        Outcome { event, state, lines: case::changes(&case.data(), &data) }
    }
}
