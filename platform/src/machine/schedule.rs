//! The processors, which take turns on one host thread.
//!
//! Each processor has a time of its own: its count of retired instructions, which goes on while it
//! idles. The *machine's time* is that of the processor furthest behind: it becomes `t` when the last
//! processor reaches `t`. The others may be up to [`QUANTUM`] ahead by then.
//!
//! The processor furthest behind catches up with the next. When several are equally far behind, the
//! first of them leads: it runs [`QUANTUM`] ahead, while the machine's time stands still. A message, HLT and
//! the board's next deadline end a turn; so do an access to the board and PAUSE, unless the others idle and
//! see nothing of it. When all idle, the time of all passes at once. A processor that waits for others in a loop stands still for the rest of its turn (`spin`).
//!
//! So who runs, and how far, follows from the processors' times and states and the board alone. A run pauses, and
//! inputs are taken, exactly when the machine's time reaches the value asked for: while the last
//! processor catches up, or while all idle. After a pause the same turn goes on as without. So it
//! leaves no trace how a run is sliced, nor when an input became known.
//!
//! What hardware leaves open can be chosen by inputs (`perturb`): that a processor stands still for a while, as in
//! system management, and how far one leads.
//!
//! A pause that the host asks for does not wait so long: it may cut a lead, at any instruction. The lead
//! is kept, and goes on first.

use super::bus::Chipset;
use super::debugging::Debugging;
use super::input::InputQueue;
use super::report::{self, MachineStop};
use super::spin::{Look, PERIOD};
use crate::time::Icount;
use cpu::bus::Message;
use cpu::state::trace::{Trace, Transition};
use cpu::{CodeCache, Cpu, Stop};
use mmu::Mmu;
use serde::{Deserialize, Serialize};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

/// How far a processor runs ahead of the others.
pub const QUANTUM: u64 = 24 * PERIOD;

/// A processor and its time.
pub(super) struct Processor {
    pub(super) cpu: Box<Cpu>,
    /// Its count of retired instructions, with idle time.
    pub(super) at: u64,
    /// It waits for an event.
    pub(super) idle: bool,
    /// Up to what time of its own it stands still.
    pub(super) still: u64,
    /// What it was found doing last, where there are others.
    pub(super) look: Option<Look>,
}

/// What the processors share.
pub(super) struct Shared {
    pub(super) mmu: Mmu,
    pub(super) code: CodeCache,
    pub(super) chipset: Chipset,
    pub(super) inputs: InputQueue,
    /// The host sets it to have a run end.
    pub(super) pause: Arc<AtomicBool>,
}

/// A turn in which a processor leads.
#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
pub(super) struct Lead {
    pub(super) who: usize,
    /// Up to what time of its own.
    until: u64,
}

/// The processors, by APIC ID.
pub(super) struct Schedule {
    pub(super) processors: Vec<Processor>,
    /// The lead that a pause has cut.
    pub(super) cut: Option<Lead>,
    /// How far a processor leads.
    pub(super) quantum: u64,
    pub(super) trace: String,
    /// Transitions that the processors have written down, with the processor of each.
    pub(super) transitions: Vec<(usize, Transition)>,
    pub(super) debugging: Debugging,
}

impl Schedule {
    /// The processors at power-up.
    pub(super) fn new(cpus: impl Iterator<Item = Box<Cpu>>) -> Schedule {
        Schedule::of(cpus.map(Processor::new).collect())
    }

    /// These processors, at the begin of a turn.
    pub(super) fn of(processors: Vec<Processor>) -> Schedule {
        let (cut, trace, transitions, debugging) = Default::default();
        Schedule { processors, cut, quantum: QUANTUM, trace, transitions, debugging }
    }

    /// The machine's time: that of the processor furthest behind.
    pub(super) fn now(&self) -> u64 {
        self.processors.iter().map(|p| p.at).min().unwrap_or(0)
    }

    /// Takes the lines that the processors have written down, in the order of their turns.
    pub(super) fn take_trace(&mut self) -> String {
        std::mem::take(&mut self.trace)
    }

    /// Takes the transitions, in the order of the processors' turns.
    pub(super) fn take_transitions(&mut self) -> Vec<(usize, Transition)> {
        std::mem::take(&mut self.transitions)
    }

    /// Whether the host is to take what was written down before the run goes on.
    fn has_much_to_take(&self) -> bool {
        self.trace.len() >= Trace::MANY || self.transitions.len() >= Trace::MANY_TRANSITIONS
    }

    /// Lets the processors take turns until the machine's time is `end`, or to an end.
    pub(super) fn run(&mut self, shared: &mut Shared, end: u64) -> MachineStop {
        loop {
            let Shared { chipset, inputs, .. } = shared;
            if let Some(ending) = chipset.board.ending() {
                return ending.into();
            }
            let now = self.now();
            chipset.board.arrive(Icount(now));
            if inputs.is_due(Icount(now)) {
                let taken = inputs.take_due(&mut chipset.board, Icount(now));
                taken.iter().for_each(|input| self.perturb(input));
            }
            let met = shared.lend_memory(&self.debugging.watched);
            self.met_by_device(met);
            self.route(&mut shared.chipset);
            if now >= end {
                return MachineStop::Budget;
            }
            let asked = shared.pause.load(Ordering::Relaxed) || self.has_much_to_take();
            if asked || self.is_stopped(now) {
                return MachineStop::Paused;
            }
            let stop = match self.cut.take() {
                Some(lead) => self.lead(shared, lead),
                None => self.turn(shared, end),
            };
            if let Some(stop) = stop {
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
        if chipset.has_messages() {
            chipset.take_messages().iter().for_each(|message| deliver(processors, message));
        }
        for p in processors.iter_mut().filter(|p| p.idle) {
            p.idle = !p.cpu.wakeable();
        }
    }

    /// The turn of the processor furthest behind, or an idle time of all. The machine's time does not
    /// pass `end`, nor the stamp of the next input.
    fn turn(&mut self, shared: &mut Shared, end: u64) -> Option<MachineStop> {
        let instant = |at: Option<Icount>| at.map_or(u64::MAX, |at| at.0);
        let deadline = instant(shared.chipset.board.next_deadline());
        let input = instant(shared.inputs.next());
        let p = &self.processors;
        if p.iter().all(|p| p.idle && !p.stands_still()) {
            let maskable = p.iter().any(|p| p.cpu.heeds_interrupts());
            let extint = p[0].cpu.heeds_extint();
            let board = &mut shared.chipset.board;
            let awaited = deadline != u64::MAX && board.may_interrupt(maskable, extint);
            let deadline = if awaited { deadline } else { u64::MAX };
            return self.idle(deadline.min(input), end);
        }
        let who = (0..p.len()).min_by_key(|&n| p[n].at)?;
        let others = (0..p.len()).filter(|&n| n != who).map(|n| p[n].at).min();
        let level = others.unwrap_or(u64::MAX);
        let (until, leads) = match level {
            next if next > p[who].at => (next.min(input).min(end), false),
            level => (level.saturating_add(self.longest_lead()), true),
        };
        let until = until.min(deadline);
        if p[who].idle || p[who].stands_still() {
            self.processors[who].wait(until);
            return None;
        }
        if leads {
            return self.lead(shared, Lead { who, until });
        }
        let stop = self.step(who, shared, until, level);
        stop.filter(|stop| *stop != MachineStop::Paused)
    }

    /// How far a processor may lead now.
    fn longest_lead(&self) -> u64 {
        self.processors.iter().map(Processor::allows_lead).fold(self.quantum, u64::min)
    }

    /// A processor leads, or goes on with a lead that was cut.
    fn lead(&mut self, shared: &mut Shared, lead: Lead) -> Option<MachineStop> {
        let stop = self.step(lead.who, shared, lead.until, lead.until);
        if stop == Some(MachineStop::Paused) {
            self.cut = Some(lead);
            return None;
        }
        stop
    }

    /// Processor `who` runs, at most to `until`; its turn goes up to `goal`.
    fn step(
        &mut self,
        who: usize,
        shared: &mut Shared,
        until: u64,
        goal: u64,
    ) -> Option<MachineStop> {
        let Shared { mmu, code, chipset, .. } = shared;
        self.processors[who].look_first(goal);
        if self.processors[who].stands_still() {
            return None;
        }
        let look = self.processors[who].next_look(goal);
        let bound = self.bound(who, until.min(look));
        let alone = self.processors.iter().enumerate().all(|(n, p)| n == who || p.idle);
        let p = &mut self.processors[who];
        chipset.begin(alone);
        let from = p.at;
        p.cpu.take_turn(until);
        let stop = p.cpu.run(mmu, code, chipset, from, bound);
        p.at = p.cpu.now();
        let stalled = p.cpu.take_stalled();
        let retired = p.at - from - stalled;
        p.cpu.count_retired(retired);
        // DEPARTURE: SMI# reaches the processor that has asked for it, not all.
        if chipset.board.take_smi() {
            p.cpu.raise_smi();
        }
        if p.cpu.has_trace() {
            self.trace.push_str(&p.cpu.take_trace());
            self.transitions.extend(p.cpu.take_transitions().into_iter().map(|t| (who, t)));
        }
        let short = p.at < until;
        self.note(who, retired);
        let p = &mut self.processors[who];
        match stop {
            Stop::Io => p.acts(),
            Stop::Idle => {}
            _ if p.at == look => p.look(goal),
            _ => {}
        }
        let cut = short && !p.stands_still();
        match stop {
            // What the debugger has cut goes on as after a pause.
            Stop::Budget if bound < until => cut.then_some(MachineStop::Paused),
            Stop::Debugger => cut.then_some(MachineStop::Paused),
            Stop::Budget | Stop::Io => None,
            Stop::Paused => cut.then_some(MachineStop::Paused),
            Stop::Idle => {
                p.idle = true;
                None
            }
            Stop::TripleFault => Some(MachineStop::TripleFault(report::triple_fault(&p.cpu, mmu))),
        }
    }

    /// Lets the time of all processors pass up to `outside`, when something happens outside them, to the
    /// first of their own timers, or to `end`.
    fn idle(&mut self, outside: u64, end: u64) -> Option<MachineStop> {
        let timers = self.processors.iter().map(|p| p.cpu.wakes_at());
        let next = timers.min().unwrap_or(u64::MAX).min(outside);
        if next == u64::MAX {
            return Some(MachineStop::Idle);
        }
        // A timer that is due and does not end the idling lets time pass all the same.
        let until = next.max(self.now() + 1).min(end);
        self.processors.iter_mut().for_each(|p| p.wait(until));
        None
    }
}

impl Processor {
    fn new(cpu: Box<Cpu>) -> Processor {
        Processor { cpu, at: 0, idle: false, still: 0, look: None }
    }

    /// Whether it is in a time in which it runs nothing, whatever comes.
    fn stands_still(&self) -> bool {
        self.at < self.still
    }

    /// Lets the time of a processor that is idle or stands still pass up to `until`, or to a timer of its own.
    fn wait(&mut self, until: u64) {
        if self.stands_still() {
            let until = until.min(self.still);
            self.cpu.count_idle(until.saturating_sub(self.at));
            self.at = self.at.max(until);
            return;
        }
        let (from, wakes) = (self.at, self.cpu.wakes_at());
        // No timer wakes a processor in shutdown: time passes although one is due.
        self.at = until.min(wakes.max(from + 1)).max(from);
        self.cpu.count_idle(self.at - from);
        self.idle = wakes > self.at;
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
