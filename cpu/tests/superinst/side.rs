//! One of two processors that do the same: with superinstructions, or one instruction at a time.

use cpu::block::{BlockLimit, Key};
use cpu::bus::{Bus, Message};
use cpu::decode::{Source, explain};
use cpu::feature_filter::FeatureFilter;
use cpu::model::Model;
use cpu::state::{Segment, State, ar, seg};
use cpu::superinst::Superinst;
use cpu::superinst::select::Explained;
use cpu::{CodeCache, CodeMode, Cpu, Stop};
use mmu::{HostPhys, Limits, Mmu, Ram};

pub(crate) const CODE: u64 = 0x20_0000;
/// Where branches inside the page and into the next lead, from [`CODE`] on: to a HLT.
pub(crate) const LANDING: u64 = 0x800;
pub(crate) const OTHER_LANDING: u64 = 0x1800;
pub(crate) const DATA: u64 = 0x40_0000;
/// Pages of data that are mapped; the last is for reading only.
pub(crate) const PAGES: u64 = 4;
const RAM: u64 = 8 << 20;

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

/// The superinstruction that the block at `code` begins with.
pub(crate) fn chosen(code: &[u8]) -> Option<&'static Superinst> {
    explained(code)?.chosen
}

/// The operation that the block at `code` begins with.
pub(crate) fn explained(code: &[u8]) -> Option<Explained> {
    let key =
        Key { frame: CODE >> 12, page_offset: 0, mode: CodeMode::Bits64, limit: BlockLimit::ANY };
    let filter = FeatureFilter::new(&Model::default());
    let source =
        Source { page: &code[..code.len().min(4096)], next: None, filter: &filter, breaks: &[] };
    explain(key, &source).into_iter().next().flatten()
}

pub(crate) struct Side {
    cpu: Box<Cpu>,
    mmu: Mmu,
    cache: CodeCache,
}

/// What a run leaves.
#[derive(Clone, PartialEq)]
pub(crate) struct Outcome {
    stop: Stop,
    retired: u64,
    pub(crate) state: State,
    data: Vec<u8>,
}

impl Outcome {
    pub(crate) fn faulted(&self) -> bool {
        self.stop == Stop::TripleFault
    }

    /// What `other` has else.
    pub(crate) fn difference(&self, other: &Outcome) -> String {
        let lines = |o: &Outcome| format!("{:?} {} {:#x?}", o.stop, o.retired, o.state);
        let (a, b) = (lines(self), lines(other));
        let differ = a.lines().zip(b.lines()).filter(|(a, b)| a != b);
        let mut texts: Vec<String> = differ.map(|(a, b)| format!("{a} != {b}")).collect();
        if self.data != other.data {
            texts.push("memory".into());
        }
        texts.join("; ")
    }
}

impl Side {
    pub(crate) fn new(fused: bool) -> Side {
        let mut mmu = Mmu::new(Ram::new(RAM).unwrap(), Limits::default());
        let mut put = |at: u64, v: u64| assert!(mmu.write_slice(HostPhys(at), &v.to_le_bytes()));
        put(0x1000, 0x2063);
        put(0x2000, 0x3063);
        for (k, table) in [(1, 0x4000), (2, 0x5000)] {
            put(0x3000 + 8 * k, table | 0x63);
        }
        for k in 0..2 {
            put(0x4000 + 8 * k, CODE + 4096 * k | 0x61);
        }
        for k in 0..PAGES {
            let rights = if k + 1 == PAGES { 0x61 } else { 0x63 };
            // Not executable: what is written there from outside drops no decoded code.
            put(0x5000 + 8 * k, DATA + 4096 * k | rights | 1 << 63);
        }
        let mut cache = CodeCache::new(1 << 20);
        if !fused {
            (cache.max_block, cache.fuse) = (1, false);
        }
        let mut cpu = Cpu::new(Model::default());
        cpu.state.sys.cr0 = 0x8001_0031;
        cpu.state.sys.cr4 = 0x620;
        cpu.state.sys.cr3 = 0x1000;
        cpu.state.sys.efer = 0xd00;
        let flags = ar::P | ar::S | ar::RW | ar::ACCESSED;
        let data = Segment { selector: 16, ar: flags | ar::DB | ar::G, limit: u32::MAX, base: 0 };
        cpu.set_segment(seg::SS, data);
        cpu.set_segment(seg::GS, Segment { base: 0x40, ..data });
        cpu.set_segment(seg::CS, Segment { ar: flags | ar::CODE | ar::L, selector: 8, ..data });
        cpu.state.rip = CODE;
        Side { cpu, mmu, cache }
    }

    /// The state at the begin of the code, after FNINIT and what makes the processor look at CR0 and CR4.
    pub(crate) fn start(&mut self) -> State {
        // fninit; mov rax, cr0; mov cr0, rax; mov rax, cr4; mov cr4, rax
        self.load(&[
            0xdb, 0xe3, 0x0f, 0x20, 0xc0, 0x0f, 0x22, 0xc0, 0x0f, 0x20, 0xe0, 0x0f, 0x22, 0xe0,
        ]);
        let state = self.cpu.save();
        self.run(&state, &[], 5);
        self.cpu.state.rip = CODE;
        self.cpu.save()
    }

    /// Puts code in place, with what branches lead to.
    pub(crate) fn load(&mut self, code: &[u8]) {
        self.cache.flush(&mut self.mmu);
        let mut bytes = vec![0xf4; 8192];
        bytes[..code.len()].copy_from_slice(code);
        assert!(self.mmu.write_slice(HostPhys(CODE), &bytes));
    }

    pub(crate) fn run(&mut self, state: &State, data: &[u8], budget: u64) -> Outcome {
        self.cpu.restore(state.clone());
        assert!(self.mmu.write_slice(HostPhys(DATA), data));
        let stop = loop {
            let now = self.cpu.now();
            match self.cpu.run(&mut self.mmu, &mut self.cache, &mut NoBus, now, budget) {
                Stop::Io => {}
                stop => break stop,
            }
        };
        let mut data = vec![0; data.len()];
        assert!(self.mmu.read_slice(HostPhys(DATA), &mut data));
        Outcome { stop, retired: self.cpu.now(), state: self.cpu.save(), data }
    }
}
