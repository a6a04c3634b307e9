//! Arbitrary bytes as what two hostile domUs and dom0's tools do to the hypervisor, over memory and
//! EPT tables as the freestanding program has them. Whatever it is, nothing panics, every call comes
//! to an end, time goes on, what the hypervisor keeps agrees with a count from scratch, and a third
//! domU notices nothing.
//!
//! Reading order: [`run`], `input` (how bytes become choices), `world` (the domains), `calls` and
//! `guest` (what they do), `witness`, `count` (what must hold). The fuzz target `hypercalls` in
//! `testsuites/fuzz` and the test in `tests` drive [`run`].

mod calls;
mod count;
mod guest;
mod input;
mod machine;
#[cfg(test)]
mod tests;
mod toolstack;
mod values;
mod witness;
mod world;

use crate::xen::hypercall::Flow;
use crate::xen::{DomId, Share};
use calls::Maker;
use input::Input;
use witness::Witness;
use world::{DOM0, Key, WITNESS, World};

/// Ticks between two looks at the clock of a call that takes long: it goes on no longer after the
/// end of its slice.
const OVERRUN: u64 = world::KHZ;
/// Beyond this time nothing is waited for.
const END_OF_TIME: u64 = 1 << 50;

/// The state of one run.
struct Run<'a> {
    world: World,
    witness: Witness,
    input: Input<'a>,
    /// Dom0 has changed a domain's share of the processor.
    shares: bool,
}

/// Does what `bytes` describe.
///
/// # Panics
/// When something that must hold does not.
pub fn run(bytes: &[u8]) {
    let mut input = Input::new(bytes);
    // None, or nearly all of the 256 and one that each has.
    let tables = match input.byte() {
        0..=127 => 0,
        some => 245 + u64::from(some) % 12,
    };
    let (world, witness) = (World::new(tables), Witness::default());
    let mut run = Run { world, witness, input, shares: false };
    count::check(&mut run.world);
    while !run.input.is_empty() && run.step() {}
    count::check(&mut run.world);
}

impl Run<'_> {
    /// What one vCPU does next, or the wait for the time at which one can run; false if there is none.
    fn step(&mut self) -> bool {
        self.world.settle();
        let now = machine::now();
        let Some(key) = self.world.xen.schedule(&mut self.world.memory, now) else {
            return self.idle(now);
        };
        self.world.enter(key, now);
        let mut domains = self.world.xen.domains.values();
        self.shares |= domains.any(|domain| domain.account.share != Share::default());
        self.witness.wait(&self.world, now, self.shares);
        self.tick(key.0, now);
        self.spend(now);
        self.interrupt(key);
        if key.0 == WITNESS {
            self.witness.turn(&mut self.world);
        } else {
            self.act(key);
        }
        self.world.settle();
        count::check(&mut self.world);
        true
    }

    /// Waits for the first deadline. All timers that were due have fired, so it lies ahead.
    fn idle(&mut self, now: u64) -> bool {
        self.world.leave(now);
        let next = self.world.xen.next_deadline();
        assert!(next.is_none_or(|at| at > now), "the deadline {next:?} is past at {now}");
        let next = [next, self.world.xen.scheduler.resume()].into_iter().flatten().min();
        let Some(at) = next.filter(|&at| at < END_OF_TIME) else { return false };
        machine::set_time(at.max(now));
        // The time of waiting is a choice that an input has, or it would not come to an end.
        self.input.byte();
        true
    }

    /// Fires the timers of the domain that runs.
    fn tick(&mut self, dom: DomId, now: u64) {
        self.world.xen.tick_domain(&mut self.world.memory, dom, now);
        let next = self.world.xen.deadlines(dom..=dom).min();
        assert!(next.is_none_or(|at| at > now), "the deadline {next:?} of {dom:?} at {now}");
    }

    /// The guest runs for a while, up to the next interrupt of the machine's timer.
    fn spend(&mut self, now: u64) {
        let slice_end = self.world.xen.scheduler.slice_end();
        let time = [0, 0, 0, 1000, 100_000, 1_000_000, u64::MAX];
        let until = now.saturating_add(self.input.pick(&time)).min(slice_end);
        machine::set_time(until.max(now));
    }

    /// The vCPU takes what is pending.
    fn interrupt(&mut self, (dom, vcpu): Key) {
        if let Some(event) = self.world.xen.pending(&self.world.memory, dom, vcpu) {
            self.world.xen.accept(dom, vcpu, event);
            if !self.input.once_in(4) {
                guest::handled(&mut self.world, (dom, vcpu));
            }
        }
    }

    /// A hostile vCPU, or dom0, goes on with its call or begins something.
    fn act(&mut self, key: Key) {
        let registers = match self.world.unfinished.remove(&key) {
            Some(registers) => Some(registers),
            None if key.0 == DOM0 && self.input.once_in(2) => {
                Some(guest::tools(&mut self.world, &mut self.input))
            }
            None if key.0 == DOM0 => Some(guest::rest(&mut self.world)),
            None if self.input.once_in(4) => {
                guest::act(&mut self.world, &mut self.input, key);
                None
            }
            None => {
                let Run { world, input, .. } = self;
                let width = input.width();
                Some(Maker { world, input, key, width, made: 0 }.registers())
            }
        };
        if let Some(mut registers) = registers {
            self.call(key, &mut registers);
        }
    }

    /// A step of a hypercall, which ends with the slice.
    fn call(&mut self, key: Key, registers: &mut world::Registers) {
        let before = machine::now();
        let slice_end = self.world.xen.scheduler.slice_end();
        let flow = self.world.hypercall(key, registers);
        let took = machine::now() - before;
        let allowed = slice_end.saturating_sub(before) + OVERRUN;
        assert!(took <= allowed, "a step of a hypercall took {took} ticks of {allowed}");
        if flow == Flow::Again {
            self.world.unfinished.insert(key, *registers);
        }
    }
}
