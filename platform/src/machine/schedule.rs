//! The processors, which take turns on one host thread.
//!
//! Each has its own count of retired instructions; the one that is furthest behind runs next, at most
//! [`QUANTUM`] ahead of the others, and never past the board's next deadline by more than that. An
//! inter-processor message or HLT ends its turn.

use super::bus::Chipset;
use super::report::{self, MachineStop};
use crate::time::Icount;
use cpu::bus::Message;
use cpu::{CodeCache, Cpu, Stop};
use mmu::Mmu;

/// How far a processor runs ahead of the others.
pub const QUANTUM: u64 = 20_000;

/// A processor and its time.
pub(super) struct Processor {
    pub(super) cpu: Box<Cpu>,
    /// Its count of retired instructions, with idle time.
    pub(super) at: u64,
    /// It waits for an event.
    pub(super) idle: bool,
}

/// What the processors share.
pub(super) struct Shared {
    pub(super) mmu: Mmu,
    pub(super) code: CodeCache,
    pub(super) chipset: Chipset,
}

/// The processors, by APIC ID.
pub(super) struct Schedule {
    pub(super) processors: Vec<Processor>,
    trace: String,
}

impl Schedule {
    /// The processors at power-up.
    pub(super) fn new(cpus: impl Iterator<Item = Box<Cpu>>) -> Schedule {
        let processors = cpus.map(|cpu| Processor { cpu, at: 0, idle: false }).collect();
        Schedule { processors, trace: String::new() }
    }

    /// The machine's time: that of the processor furthest behind.
    pub(super) fn now(&self) -> u64 {
        self.processors.iter().map(|p| p.at).min().unwrap_or(0)
    }

    /// Takes the lines that the processors have written down, in the order of their turns.
    pub(super) fn take_trace(&mut self) -> String {
        std::mem::take(&mut self.trace)
    }

    /// Lets the processors take turns until the machine's time is `end`, or to an end.
    pub(super) fn run(&mut self, shared: &mut Shared, end: u64) -> MachineStop {
        loop {
            if let Some(ending) = shared.chipset.board.ending() {
                return ending.into();
            }
            let now = self.now();
            shared.chipset.board.arrive(Icount(now));
            self.route(&mut shared.chipset);
            if now >= end {
                return MachineStop::Budget;
            }
            if let Some(stop) = self.turn(shared, end) {
                return stop;
            }
        }
    }

    /// Carries interrupt lines and messages to the processors.
    fn route(&mut self, chipset: &mut Chipset) {
        let processors = &mut self.processors;
        processors[0].cpu.set_intr(chipset.board.intr_output());
        let smram = chipset.smram();
        processors.iter_mut().for_each(|p| p.cpu.set_smram(smram));
        for message in chipset.take_messages() {
            deliver(processors, &message);
        }
        for p in processors.iter_mut().filter(|p| p.idle) {
            p.idle = !p.cpu.wakeable();
        }
    }

    /// The turn of the processor furthest behind.
    fn turn(&mut self, shared: &mut Shared, end: u64) -> Option<MachineStop> {
        let deadline = shared.chipset.board.next_deadline().map_or(u64::MAX, |t| t.0);
        let p = &self.processors;
        let who = (0..p.len()).min_by_key(|&n| p[n].at)?;
        let others = (0..p.len()).filter(|&n| n != who).map(|n| p[n].at).min();
        let horizon = others.unwrap_or(u64::MAX).saturating_add(QUANTUM).min(end).min(deadline);
        let horizon = horizon.max(p[who].at + 1);
        if p[who].idle {
            return self.skip(who, horizon, deadline, end);
        }
        self.step(who, shared, horizon)
    }

    /// Processor `who` runs, at most to `horizon`.
    fn step(&mut self, who: usize, shared: &mut Shared, horizon: u64) -> Option<MachineStop> {
        let Shared { mmu, code, chipset } = shared;
        let p = &mut self.processors[who];
        chipset.begin();
        let from = p.at;
        let stop = p.cpu.run(mmu, code, chipset, from, horizon);
        p.at = p.cpu.now();
        p.cpu.count_retired(p.at - from);
        // DEPARTURE: SMI# reaches the processor that has asked for it, not all.
        if chipset.board.take_smi() {
            p.cpu.raise_smi();
        }
        self.trace.push_str(&p.cpu.take_trace());
        match stop {
            Stop::Budget | Stop::Io => None,
            Stop::Idle => {
                p.idle = true;
                None
            }
            Stop::TripleFault => Some(MachineStop::TripleFault(report::triple_fault(&p.cpu, mmu))),
        }
    }

    /// Lets an idle processor's time pass.
    fn skip(&mut self, who: usize, horizon: u64, deadline: u64, end: u64) -> Option<MachineStop> {
        let p = &mut self.processors;
        let wakes = p.iter().filter(|p| p.idle).map(|p| p.cpu.wakes_at()).min();
        let all_idle = p.iter().all(|p| p.idle);
        let next = deadline.min(wakes.unwrap_or(u64::MAX));
        if all_idle && next == u64::MAX {
            return Some(MachineStop::Idle);
        }
        let to = if all_idle { next.min(end) } else { horizon.min(next) };
        let p = &mut p[who];
        let from = p.at;
        p.at = p.at.max(to).max(p.at + !all_idle as u64);
        p.cpu.count_idle(p.at - from);
        p.idle = p.cpu.wakes_at() > p.at;
        None
    }
}

/// Gives a message to whom it is for; lowest priority: to the first of them.
fn deliver(processors: &mut [Processor], m: &Message) {
    let mut all = processors.iter_mut().filter(|p| p.cpu.is_destination(m));
    if m.delivery == 1 {
        if let Some(p) = all.find(|p| p.cpu.apic_enabled()) {
            p.cpu.receive(m);
        }
        return;
    }
    all.for_each(|p| p.cpu.receive(m));
}
