//! Arbitrary bytes as a state of the processor and a program, run twice: in one go, and instruction by
//! instruction, on a processor that is saved and restored now and then. Nothing panics, everything comes to an end, and both ways lead to the same state.
//!
//! Reading order: [`Input`] (how bytes become choices), `memory` (tables, code and data), `start`
//! (registers of every mode), `virtual_machine` (VMX), `board` (the bus), [`run`].
//! The fuzz target in `testsuites/fuzz` and the proptest in `tests/fuzz.rs` drive [`run`].

pub mod board;
pub mod files;
mod input;
mod memory;
mod start;
mod virtual_machine;

pub use input::{Input, KNOBS};

use board::Board;
use cpu::feature::ModelName;
use cpu::model::Model;
use cpu::state::State;
use cpu::{CodeCache, Cpu, Stop};
use memory::Image;
use mmu::{HostPhys, Limits, Mmu, Ram};
use std::cell::RefCell;

/// Memory of the machine.
pub const MEMORY: u64 = 1 << 20;
/// Most instructions of a run.
const BUDGET: u64 = 256;
/// Returns from the processor in a row that retire nothing: more mean that it hangs.
const PATIENCE: u32 = 1000;
/// Instructions between two restored processors.
const RESTORE: u64 = 8;
const PAGE: usize = 4096;

/// How a machine gets through its budget.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Pace {
    /// A run in one go.
    Whole,
    /// One instruction after another, and after each [`RESTORE`] on another processor, restored from
    /// what was saved of the one before.
    Single,
}

/// One machine, used again for every input.
struct Machine {
    cpu: Box<Cpu>,
    /// The processor before the last one that was restored.
    spare: Box<Cpu>,
    mmu: Mmu,
    code: CodeCache,
    board: Board,
    now: u64,
}

/// What a run came to, but for memory.
#[derive(PartialEq, Debug)]
struct End {
    stop: Stop,
    now: u64,
    state: State,
    board: u64,
}

impl Machine {
    fn new() -> Machine {
        let ram = Ram::new(MEMORY).expect("1 MiB of memory");
        Machine {
            cpu: Cpu::new(Model::default()),
            spare: Cpu::new(Model::default()),
            mmu: Mmu::new(ram, Limits { banks: 4, shadow_pages: 64 }),
            code: CodeCache::new(1 << 14),
            board: Board::default(),
            now: 0,
        }
    }

    /// The state that `input` describes, whatever was before.
    fn reset(&mut self, image: &[u8], start: &Cpu) {
        self.code.flush(&mut self.mmu);
        self.mmu.flush_all();
        for frame in memory::frames() {
            let at = frame * PAGE;
            let page = image.get(at..at + PAGE).unwrap_or(&[0; PAGE]);
            assert!(self.mmu.ram.write(HostPhys(at as u64), page), "in memory");
        }
        self.mmu.ram.clear_smram();
        start::copy(start, &mut self.cpu);
        self.cpu.count_from(0, 0);
        self.board = Board::default();
        self.now = 0;
    }

    /// Runs for `budget` instructions, or until nothing can happen any more.
    fn run(&mut self, pace: Pace, budget: u64) -> End {
        let mut still = 0;
        let stop = loop {
            if pace == Pace::Single && self.now.is_multiple_of(RESTORE) {
                self.spare.restore(self.cpu.save());
                self.spare.count_from(self.now, 0);
                std::mem::swap(&mut self.cpu, &mut self.spare);
            }
            let until = if pace == Pace::Single { budget.min(self.now + 1) } else { budget };
            let Machine { cpu, mmu, code, board, now, .. } = self;
            let stop = cpu.run(mmu, code, board, *now, until);
            still = if cpu.now() == *now { still + 1 } else { 0 };
            assert!(still < PATIENCE, "no progress at {:#x}: {stop:?}", cpu.state.rip);
            assert!(cpu.now() >= *now && cpu.now() <= until, "{} for {until}", cpu.now());
            *now = cpu.now();
            invariants(cpu);
            board.settle(cpu);
            match stop {
                Stop::TripleFault => break stop,
                Stop::Idle if !cpu.wakeable() && cpu.wakes_at() >= budget => break stop,
                Stop::Idle => *now = cpu.wakes_at().clamp(*now, budget),
                Stop::Io | Stop::Budget | Stop::Paused | Stop::Debugger => {}
            }
            if *now >= budget && stop != Stop::Io {
                break Stop::Budget;
            }
        };
        End { stop, now: self.now, state: self.cpu.save(), board: self.board.digest }
    }
}

/// What holds between two instructions of any program.
fn invariants(cpu: &Cpu) {
    let s = &cpu.state.sys;
    let flags = cpu.rflags();
    assert_eq!(flags & !0x3f_7fd7, 0, "reserved RFLAGS");
    assert!(flags & 2 != 0, "RFLAGS bit 1");
    assert!(s.cr0 >> 31 & 1 <= s.cr0 & 1, "paging without protection: {:#x}", s.cr0);
    assert_eq!(s.cr4 & !cpu.state.model.cr4_bits(), 0, "reserved CR4 bits");
    let long = s.efer >> 8 & 1 != 0 && s.cr0 >> 31 & 1 != 0;
    assert_eq!(s.efer >> 10 & 1 != 0, long, "EFER.LMA");
    assert!(s.cpl == 3 || flags >> 17 & 1 == 0, "virtual-8086 mode at CPL {}", s.cpl);
    assert_eq!(cpu.segment_bases(), s.seg.map(|segment| segment.base), "segment bases");
    assert!(cpu.state.vmx.on || !cpu.state.vmx.guest, "a guest without VMX");
}

/// What is kept from one input to the next: only memory of the host.
struct Lab {
    image: Image,
    start: Box<Cpu>,
    machines: [Machine; 2],
}

thread_local! {
    static LAB: RefCell<Lab> = RefCell::new(Lab {
        image: Image::new(),
        start: Cpu::new(Model::default()),
        machines: [Machine::new(), Machine::new()],
    });
}

/// The CPU model with this number.
fn model(number: u8) -> Model {
    let names = [
        ModelName::Default,
        ModelName::V3,
        ModelName::V3,
        ModelName::Default,
        ModelName::V2,
        ModelName::V1,
        ModelName::Min32,
    ];
    Model::new(names[number as usize % names.len()])
}

/// Runs what `bytes` describe, both ways.
///
/// # Panics
/// When the two ends differ, when an invariant of the processor is broken, or when it hangs.
pub fn run(bytes: &[u8]) {
    let mut input = Input::new(bytes);
    LAB.with_borrow_mut(|lab| {
        start::build(&mut input, &mut lab.start, &mut lab.image);
        if lab.ends(BUDGET).is_err() {
            // The shortest run that ends differently shows the instruction.
            let first = (1..=BUDGET).find_map(|n| lab.ends(n).err().map(|text| (n, text)));
            let (n, text) = first.unwrap_or_else(|| (0, "only once".to_owned()));
            let before = lab.ends(n.saturating_sub(1)).map(|end| format!("{end:#x?}"));
            panic!("the two ways differ at instruction {n}\n{text}before: {before:?}");
        }
    });
}

impl Lab {
    /// Runs both ways to the same end, or tells the difference.
    fn ends(&mut self, budget: u64) -> Result<u64, String> {
        let ends = [Pace::Whole, Pace::Single].map(|pace| {
            let machine = &mut self.machines[pace as usize];
            machine.reset(&self.image.0, &self.start);
            machine.run(pace, budget)
        });
        let [whole, single] = &ends;
        if whole != single {
            return Err(differences(whole, single));
        }
        match unlike(&self.machines[0].mmu, &self.machines[1].mmu) {
            Some((at, a, b)) => {
                Err(format!("memory differs at {at:#x}: whole {a:#x}, single {b:#x}\n"))
            }
            None => Ok(whole.state.rip),
        }
    }
}

/// The first byte of memory that differs: where, and both.
fn unlike(a: &Mmu, b: &Mmu) -> Option<(usize, u8, u8)> {
    let [mut x, mut y] = [[0; PAGE]; 2];
    memory::frames().find_map(|frame| {
        let at = frame * PAGE;
        let p = HostPhys(at as u64);
        assert!(a.read_slice(p, &mut x) && b.read_slice(p, &mut y), "in memory");
        let k = (0..PAGE).find(|&k| x[k] != y[k])?;
        Some((at + k, x[k], y[k]))
    })
}

/// The lines of the two states that differ.
fn differences(whole: &End, single: &End) -> String {
    let [a, b] = [whole, single].map(|end| format!("{end:#x?}"));
    let unlike = a.lines().zip(b.lines()).filter(|(x, y)| x != y);
    let lines = unlike.map(|(x, y)| format!("  whole {}  single {}\n", x.trim(), y.trim()));
    format!(
        "the two ways differ, whole to {:#x} at {}, single to {:#x} at {}\n{}",
        whole.state.rip,
        whole.now,
        single.state.rip,
        single.now,
        lines.take(40).collect::<String>()
    )
}
