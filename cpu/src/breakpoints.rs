//! Breakpoints of the host: what ends a run before an instruction, after an access to data, at a VM exit, after
//! each step. They change nothing that a guest can tell.
//!
//! Blocks end before an instruction that may have a breakpoint, and a block that begins with one has an operation
//! before it that looks (`isa::branch::Break`). The TLB keeps no page with data that are watched
//! ([`mmu::Mmu::watch_pages`]), so that every access to one comes to [`Cpu::note_access`]. Where there are no
//! breakpoints nothing of this costs anything.
//!
//! A *step* is an instruction, or what happens at a boundary without one: an event that is taken, a VM exit.

use crate::Cpu;
use crate::state::breakpoints::{Breakpoints, Exits, Hit, Place, Space, Who};
use crate::state::seg;
use crate::state::vmx::field::Field;

impl Cpu {
    /// Has runs end at these breakpoints: [`crate::Stop::Debugger`], or what else ends the run just there; then
    /// [`Cpu::take_hit`] tells.
    ///
    /// The decoded code and the TLBs must know of them too, see [`crate::CodeCache::break_at`] and
    /// [`mmu::Mmu::watch_pages`]; frames with data at physical addresses are of kind [`mmu::PageKind::SlowPath`].
    pub fn break_at(&mut self, at: Breakpoints) {
        self.halts.active |= at != Breakpoints::default();
        self.halts.watching = at.data.iter().any(|b| b.space == Space::Linear);
        self.halts.at = at;
    }

    /// Has steps counted, which costs a few instructions at each VM exit and event.
    pub fn count_steps(&mut self) {
        self.halts.active = true;
    }

    /// Has runs end after each step.
    pub fn step_by_step(&mut self, on: bool) {
        self.halts.active |= on;
        self.halts.step = on;
    }

    /// Whether the last run has ended after a step, as asked.
    pub fn take_stepped(&mut self) -> bool {
        std::mem::take(&mut self.halts.stepped)
    }

    /// The breakpoint that the last run has met. One on the instruction that comes next does not stop the next run
    /// again.
    pub fn take_hit(&mut self) -> Option<Hit> {
        self.halts.hit.take()
    }

    /// How many steps the last run has made that took no time, after the last that did.
    pub fn take_steps(&mut self) -> u32 {
        std::mem::take(&mut self.halts.steps)
    }

    /// Whether the last run has ended between the events of a boundary and the instruction: where no other run may
    /// end, and nothing can be saved.
    pub fn is_between(&self) -> bool {
        self.halts.served
    }

    /// Forgets where the last run has ended, for the processor is put elsewhere.
    pub fn forget_place(&mut self) {
        let halts = &mut self.halts;
        (halts.served, halts.stepped, halts.steps) = (false, false, 0);
        (halts.hit, halts.told) = (None, None);
    }

    /// The linear address of CS:RIP, whether code may be there or not.
    pub fn linear_rip(&self) -> u64 {
        if self.is_64() {
            return self.state.rip;
        }
        self.state.rip.wrapping_add(self.state.bases.seg[seg::CS]) as u32 as u64
    }

    /// A step begins.
    pub(crate) fn begin_step(&mut self) {
        self.halts.from = self.place();
    }

    /// What began has ended: a step, if it got anywhere. Whether the run is to end here.
    pub(crate) fn end_step(&mut self) -> bool {
        let (before, after) = (self.halts.from, self.place());
        let halts = &mut self.halts;
        if after != before {
            halts.steps = if after.now == before.now { halts.steps + 1 } else { 0 };
            halts.stepped |= halts.step;
        }
        halts.stepped || halts.hit.is_some()
    }

    /// The last instruction traps: what ran before it was a step, and the trap is the next one.
    pub(crate) fn restart_step(&mut self) {
        self.forget_access();
        self.end_step();
        self.begin_step();
    }

    fn place(&self) -> Place {
        Place {
            now: self.now(),
            rip: self.state.rip,
            guest: self.state.vmx.guest,
            activity: self.state.sys.activity,
        }
    }

    /// Whether `who` runs.
    fn runs(&self, who: Who) -> bool {
        let vmx = &self.state.vmx;
        match who {
            Who::Any => true,
            Who::Root => !vmx.guest,
            Who::Ept(pointer) => vmx.guest && vmx.eptp().is_some_and(|e| e.0 == pointer),
        }
    }

    /// Whether there is a breakpoint on the instruction at linear address `address`, and it has not been told of.
    #[cold]
    pub(crate) fn breaks_at(&mut self, address: u64) -> bool {
        let place = Some((self.now(), address));
        let met =
            |cpu: &Cpu| cpu.halts.at.code.iter().any(|b| b.address == address && cpu.runs(b.who));
        if self.halts.told == place || !met(self) {
            return false;
        }
        (self.halts.hit, self.halts.told) = (Some(Hit::Code { address }), place);
        true
    }

    /// Notes an access to `size` bytes at linear address `address`.
    #[cold]
    pub(crate) fn note_access(&mut self, address: u64, size: usize, store: bool) {
        self.note_access_in(Space::Linear, address, size, store);
    }

    /// Notes an access to `size` bytes at physical address `address`, in a page all accesses to which come by here.
    pub(crate) fn note_physical(&mut self, address: u64, size: usize, store: bool) {
        self.note_access_in(Space::Physical, address, size, store);
    }

    fn note_access_in(&mut self, space: Space, address: u64, size: usize, store: bool) {
        let last = address.saturating_add(size as u64 - 1);
        let met = self.halts.at.data.iter().find(|b| {
            let counts = if store { b.stores } else { b.loads };
            let there = b.space == space && b.first <= last && address <= b.last;
            counts && there && self.runs(b.who)
        });
        if let Some(b) = met {
            self.halts.hit = Some(Hit::Data { address: address.max(b.first), store });
            self.env.leave = true;
        }
    }

    /// Whether the page of linear address `address` has data that are watched.
    pub(crate) fn watches_page(&self, address: u64) -> bool {
        let page = address >> 12;
        let has = |first: u64, last: u64| (first >> 12..=last >> 12).contains(&page);
        let mut linear = self.halts.at.data.iter().filter(|b| b.space == Space::Linear);
        self.halts.watching && linear.any(|b| has(b.first, b.last))
    }

    /// Forgets an access of an instruction that has not completed.
    fn forget_access(&mut self) {
        if matches!(self.halts.hit, Some(Hit::Data { .. })) {
            self.halts.hit = None;
        }
    }

    /// Notes a VM exit that is made.
    pub(crate) fn note_exit(&mut self, reason: u32) {
        let reason = reason & 0xffff;
        let met = match self.halts.at.exits {
            None => false,
            Some(Exits::All) => true,
            Some(Exits::Reason(wanted)) => wanted == reason,
        };
        if met {
            self.halts.hit = Some(Hit::Exit { reason });
        }
    }

    /// Notes a VMWRITE to `field`.
    pub(crate) fn note_vmwrite(&mut self, field: Field) {
        if self.halts.active && self.halts.at.vmwrites == Some(field) {
            self.halts.hit = Some(Hit::Vmwrite { field });
            self.env.leave = true;
        }
    }
}
