//! What a debugger asks of a machine: to stop at breakpoints, after a step, at a position; registers and memory.
//!
//! A machine's instructions have an order, for its processors take turns. A [`Position`] is a point in it, by counts
//! that do not depend on how a run is sliced. A *step* is an instruction, or what happens between two without taking
//! time: an event that is taken, a VM exit.
//!
//! Nothing here changes what the guest does, but [`Machine::set_state`] and [`Machine::write_linear`].

use super::Machine;
use super::schedule::Schedule;
use crate::time::Icount;
pub use cpu::Cpu as Processor;
pub use cpu::state::State;
pub use cpu::state::breakpoints::{
    Breakpoints, CodeBreakpoint, DataBreakpoint, Exits, Hit, Space, Who,
};
pub use cpu::state::vmx::field::{FIELDS, Field};
use cpu::state::vmx::stats::Level;
use mmu::{GuestPhys, HostPhys, Inspection, Linear, PageKind};

/// A point in the order of a machine's instructions.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Position {
    /// Instructions that all processors have retired.
    pub retired: u64,
    /// Steps since then, which took no time.
    pub steps: u32,
    /// The machine's time, which may pass without an instruction.
    pub at: Icount,
}

impl Position {
    /// The first moment with these counts.
    #[must_use]
    pub fn first(retired: u64, steps: u32) -> Position {
        Position { retired, steps, at: Icount(0) }
    }
}

/// Why a run has ended for the debugger.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Event {
    /// A processor has met a breakpoint.
    Hit {
        /// Number of the processor.
        processor: usize,
        /// The breakpoint that was met.
        hit: Hit,
    },
    /// The processor that is to step has done so.
    Step {
        /// Number of the processor.
        processor: usize,
    },
}

/// Where a debugger wants a machine to stop, and how far it has come.
#[derive(Debug, Default)]
pub(super) struct Debugging {
    /// Steps since the last instruction.
    pub(super) steps: u32,
    /// Runs end there at the latest.
    until: Option<Position>,
    /// The processor that ends the run by a step.
    stepping: Option<usize>,
    event: Option<Event>,
    /// The processor that ran last.
    last: usize,
    /// Numbers of the physical pages all accesses to which are looked at.
    frames: Vec<u64>,
    /// Breakpoints on data at physical addresses, which devices may meet too.
    pub(super) watched: Vec<DataBreakpoint>,
    /// For each processor the counts after its last step, since the machine was put where it began.
    ran: Vec<Option<(u64, u32)>>,
}

impl Schedule {
    /// Instructions that all processors have retired.
    pub(super) fn retired(&self) -> u64 {
        self.processors.iter().map(|p| p.cpu.stats.retired).sum()
    }

    fn counts(&self) -> (u64, u32) {
        (self.retired(), self.debugging.steps)
    }

    /// Whether the debugger has the run end now.
    pub(super) fn is_stopped(&self, now: u64) -> bool {
        let Some(until) = self.debugging.until else { return self.debugging.event.is_some() };
        let (here, there) = (self.counts(), (until.retired, until.steps));
        self.debugging.event.is_some() || here > there || here == there && now >= until.at.0
    }

    /// Up to what time of its own processor `who` may run, if others let it run up to `until`.
    pub(super) fn bound(&mut self, who: usize, until: u64) -> u64 {
        let left = self.debugging.until.map(|u| u.retired.saturating_sub(self.retired()));
        let step = self.debugging.stepping == Some(who) || left == Some(0);
        let p = &mut self.processors[who];
        p.cpu.step_by_step(step);
        match left {
            Some(left) if left > 0 => until.min(p.at.saturating_add(left)),
            _ => until,
        }
    }

    /// Processor `who` has run, and retired so many instructions: counts, and notes what it has met.
    pub(super) fn note(&mut self, who: usize, retired: u64) {
        let cpu = &mut self.processors[who].cpu;
        let (steps, stepped, hit) = (cpu.take_steps(), cpu.take_stepped(), cpu.take_hit());
        if retired > 0 {
            self.debugging.steps = 0;
        }
        self.debugging.steps += steps;
        if retired > 0 || steps > 0 {
            let counts = self.counts();
            self.debugging.last = who;
            self.debugging.ran.resize(self.processors.len(), None);
            self.debugging.ran[who] = Some(counts);
        }
        if let Some(hit) = hit {
            self.debugging.last = who;
            self.debugging.event = Some(Event::Hit { processor: who, hit });
        } else if stepped && self.debugging.stepping == Some(who) {
            self.debugging.event = Some(Event::Step { processor: who });
        }
    }

    /// A device has met a breakpoint on data; the processor that ran last has asked for the access.
    pub(super) fn met_by_device(&mut self, hit: Option<Hit>) {
        let Debugging { event, last, .. } = &mut self.debugging;
        *event = event.or(hit.map(|hit| Event::Hit { processor: *last, hit }));
    }

    /// The processors are put elsewhere, where `steps` have been made since the last instruction.
    pub(super) fn forget_debugging(&mut self, steps: u32) {
        let debugging = &mut self.debugging;
        (debugging.steps, debugging.event) = (steps, None);
        debugging.ran.clear();
        self.processors.iter_mut().for_each(|p| p.cpu.forget_place());
    }
}

impl Machine {
    /// Where the machine is.
    #[must_use]
    pub fn position(&self) -> Position {
        let (retired, steps) = self.schedule.counts();
        Position { retired, steps, at: self.now() }
    }

    /// Has runs end at these breakpoints: [`super::MachineStop::Paused`], and [`Machine::take_event`] tells which.
    pub fn break_at(&mut self, at: &Breakpoints) {
        self.count_steps();
        self.shared.code.break_at(at.offsets());
        self.shared.mmu.watch_pages(at.pages());
        let frames = at.frames();
        let watched = at.data.iter().filter(|b| b.space == Space::Physical);
        self.schedule.debugging.watched = watched.copied().collect();
        let old = std::mem::replace(&mut self.schedule.debugging.frames, frames.clone());
        // A change of kind drops translations: what stays watched stays as it is.
        for (frames, others, on) in [(&old, &frames, false), (&frames, &old, true)] {
            let changed = frames.iter().filter(|n| !others.contains(n)).map(|n| HostPhys(n << 12));
            changed.for_each(|at| self.shared.mmu.set_kind(at, PageKind::SlowPath, on));
        }
        self.schedule.processors.iter_mut().for_each(|p| p.cpu.break_at(at.clone()));
    }

    /// Has steps counted from here on; until then positions know of none.
    pub fn count_steps(&mut self) {
        self.schedule.processors.iter_mut().for_each(|p| p.cpu.count_steps());
    }

    /// Has runs end at `position` at the latest, as at a breakpoint.
    pub fn run_until(&mut self, position: Option<Position>) {
        self.schedule.debugging.until = position;
    }

    /// Has runs end after a step of a processor.
    pub fn step_processor(&mut self, processor: Option<usize>) {
        self.count_steps();
        self.schedule.debugging.stepping = processor;
    }

    /// What has ended the last run. While it is not taken, runs end at once.
    pub fn take_event(&mut self) -> Option<Event> {
        self.schedule.debugging.event.take()
    }

    /// The processor that ran last.
    #[must_use]
    pub fn last_processor(&self) -> usize {
        self.schedule.debugging.last
    }

    /// The counts of the position after the last step of a processor, if it has made one since the machine was put
    /// where it began.
    #[must_use]
    pub fn ran(&self, processor: usize) -> Option<(u64, u32)> {
        self.schedule.debugging.ran.get(processor).copied().flatten()
    }

    /// Whether a processor has stopped between the events of an instruction boundary and the instruction: the machine
    /// goes on from there, but cannot be saved.
    #[must_use]
    pub fn is_between(&self) -> bool {
        self.processors().any(Processor::is_between)
    }

    /// Processor `n`, to look at.
    #[must_use]
    pub fn processor(&self, n: usize) -> Option<&Processor> {
        self.schedule.processors.get(n).map(|p| &*p.cpu)
    }

    /// Changes the state of processor `n`, as a debugger does.
    pub fn set_state(&mut self, n: usize, change: impl FnOnce(&mut State)) {
        let Some(p) = self.schedule.processors.get_mut(n) else { return };
        let mut state = p.cpu.save();
        change(&mut state);
        p.cpu.restore(state);
        p.cpu.forget_place();
    }

    /// Follows the translation of a linear address of processor `n`, without any effect.
    #[must_use]
    pub fn translate(&self, n: usize, address: u64) -> Inspection {
        let regime = self.processor(n).map(Processor::paging_regime);
        regime.map(|r| self.shared.mmu.inspect(&r, Linear(address))).unwrap_or_default()
    }

    /// Follows the translation of a guest-physical address of processor `n`, without any effect.
    #[must_use]
    pub fn translate_guest(&self, n: usize, address: u64) -> Inspection {
        let regime = self.processor(n).map(Processor::paging_regime);
        regime.map(|r| self.shared.mmu.inspect_guest(&r, GuestPhys(address))).unwrap_or_default()
    }

    /// What the TLBs hold.
    pub fn translations(&self) -> impl Iterator<Item = mmu::Cached> {
        self.shared.mmu.cached()
    }

    /// Who has run since the machine was put where it began, with the instructions retired.
    #[must_use]
    pub fn level_counts(&self) -> Vec<(String, u64)> {
        let all = self.schedule.processors.iter().flat_map(|p| p.cpu.stats.vmx.levels(p.at));
        all.map(|(level, count)| (level_name(level), count)).collect()
    }

    /// VM exits since the machine was put where it began: whose, the basic reason, how many.
    #[must_use]
    pub fn exit_counts(&self) -> Vec<(String, u32, u64)> {
        let all = self.processors().flat_map(|p| p.stats.vmx.exits());
        all.map(|(level, reason, count)| (level_name(level), reason, count)).collect()
    }

    /// Reads RAM at a linear address of processor `n`: how many bytes, up to where none is mapped.
    pub fn peek_linear(&self, n: usize, address: u64, bytes: &mut [u8]) -> usize {
        let mut done = 0;
        for (at, part) in pieces(address, bytes.len()) {
            let Some(phys) = self.translate(n, at).phys else { break };
            if !self.shared.mmu.read_slice(phys, &mut bytes[part.clone()]) {
                break;
            }
            done = part.end;
        }
        done
    }

    /// Writes RAM at a linear address of processor `n`, whatever paging permits: how many bytes.
    pub fn write_linear(&mut self, n: usize, address: u64, bytes: &[u8]) -> usize {
        let mut done = 0;
        for (at, part) in pieces(address, bytes.len()) {
            let Some(phys) = self.translate(n, at).phys else { break };
            if !self.store(phys, &bytes[part.clone()]) {
                break;
            }
            done = part.end;
        }
        done
    }

    /// Stores to RAM in a page, and drops what was made from the bytes before.
    fn store(&mut self, at: HostPhys, bytes: &[u8]) -> bool {
        let stored = self.shared.mmu.write_slice(at, bytes);
        if stored {
            self.drop_code(at, bytes.len());
        }
        stored
    }

    /// Drops code decoded from `length` bytes of a page.
    pub(super) fn drop_code(&mut self, at: HostPhys, length: usize) {
        if self.shared.code.note_store(at, length) && self.shared.code.vacant(at) {
            self.shared.mmu.set_kind(at, PageKind::Code, false);
        }
    }
}

fn level_name(level: Level) -> String {
    match level {
        Level::Root => "hypervisor, or no VMX".to_owned(),
        Level::Ept(pointer) => format!("guest {pointer:#x}"),
        Level::Vmcs(address) => format!("guest of VMCS {address:#x}"),
        Level::Others => "other guests".to_owned(),
    }
}

/// `length` bytes from `address` on, cut at page boundaries: where each piece is, and its range.
fn pieces(address: u64, length: usize) -> impl Iterator<Item = (u64, std::ops::Range<usize>)> {
    let mut done = 0;
    std::iter::from_fn(move || {
        let at = address.wrapping_add(done as u64);
        let count = (length - done).min(4096 - (at & 0xfff) as usize);
        done += count;
        (count > 0).then_some((at, done - count..done))
    })
}
