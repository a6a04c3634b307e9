//! The wakeup of vCPUs: which may run, the events and timers that end a wait, and the interrupt
//! that a vCPU is to take next.

use super::abi::{Width, layout::Layout, layout::RunstateInfo, nr::virq};
use super::domain::ShutdownReason;
use super::guest_memory::{BadAddress, write_gpa};
use super::host_services::{DomId, HostServices};
use super::vcpu::{Activity, RunState, Vcpu};
use super::{Action, Xen};
use core::ops::RangeBounds;

/// An event for a vCPU to take at the next VM entry.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Event {
    /// A non-maskable interrupt.
    Nmi,
    /// The event channel upcall by `HVM_PARAM_CALLBACK_IRQ`, which bypasses the local APIC.
    Upcall(u8),
    /// An interrupt of the 8259A pair.
    Legacy(u8),
    /// An interrupt of the local APIC.
    Interrupt(u8),
}

impl Xen {
    /// The event to inject into a vCPU, maskable ones regardless of its RFLAGS.IF.
    pub fn pending(&self, host: &dyn HostServices, dom: DomId, vcpu: u32) -> Option<Event> {
        let domain = self.domain(dom).ok()?;
        let state = domain.vcpu(vcpu)?;
        if state.nmi {
            return Some(Event::Nmi);
        }
        // DEPARTURE: injected once for each time the flag is set, where Xen injects while it is
        // set. Guests clear the flag first thing, and an interrupt window is saved.
        if state.upcall_vector == 0
            && !state.upcall_taken
            && let Some(vector) = domain.callback_vector()
            && domain.upcall_pending(host, vcpu)
        {
            return Some(Event::Upcall(vector));
        }
        if let Some(vector) = self.legacy_vector(dom, vcpu) {
            return Some(Event::Legacy(vector));
        }
        state.lapic.deliverable().map(Event::Interrupt)
    }

    /// Marks `event`, as [`Xen::pending`] named it, as taken by the vCPU.
    pub fn accept(&mut self, dom: DomId, vcpu: u32, event: Event) {
        if let (Event::Legacy(_), Some(pc)) = (event, self.pc_mut(dom)) {
            pc.pic.acknowledge();
        }
        let Ok(state) = self.vcpu_mut(dom, vcpu) else { return };
        match event {
            Event::Nmi => state.nmi = false,
            Event::Legacy(_) => {}
            Event::Upcall(_) => state.upcall_taken = true,
            Event::Interrupt(vector) => state.lapic.acknowledge(vector),
        }
    }

    /// True if the vCPU may run now.
    pub fn runnable(&self, dom: DomId, vcpu: u32) -> bool {
        let Ok(domain) = self.domain(dom) else { return false };
        let ready = domain.vcpu(vcpu).is_some_and(Vcpu::ready);
        ready && domain.alive() && domain.pause_count == 0
    }

    /// The vCPU has executed HLT (already skipped). With interrupts off nothing but an INIT can
    /// wake it: it goes down.
    pub fn halt(&mut self, host: &dyn HostServices, dom: DomId, vcpu: u32, interrupts: bool) {
        let pending = self.pending(host, dom, vcpu);
        let Ok(state) = self.vcpu_mut(dom, vcpu) else { return };
        state.activity = match pending {
            Some(Event::Nmi) => Activity::Runnable,
            Some(_) if interrupts => Activity::Runnable,
            None if interrupts => Activity::Halted,
            _ => return self.take_down(dom, vcpu),
        };
    }

    /// Takes a vCPU down. With the last one the domain ends: only its own vCPUs could bring one up
    /// again.
    pub(super) fn take_down(&mut self, dom: DomId, vcpu: u32) {
        let Ok(domain) = self.domain_mut(dom) else { return };
        if let Some(state) = domain.vcpu_mut(vcpu) {
            state.activity = Activity::Down;
        }
        if domain.vcpus.iter().all(|v| v.activity == Activity::Down) {
            self.shutdown(dom, ShutdownReason::Poweroff);
        }
    }

    /// Lets a waiting vCPU run if something has come for that vCPU.
    pub fn wake(&mut self, host: &dyn HostServices, dom: DomId, vcpu: u32) {
        let pending = self.pending(host, dom, vcpu).is_some();
        let Ok(domain) = self.domain(dom) else { return };
        let upcall = domain.upcall_pending(host, vcpu);
        let Ok(state) = self.vcpu_mut(dom, vcpu) else { return };
        let wakes = match state.activity {
            Activity::Halted => pending,
            Activity::Blocked | Activity::Polling(_) => pending || upcall,
            Activity::Down | Activity::Runnable => false,
        };
        if wakes {
            state.activity = Activity::Runnable;
        }
    }

    /// Wakes the vCPUs of `dom` that poll `port`.
    pub(super) fn wake_pollers(&mut self, dom: DomId, port: u32) {
        let Ok(domain) = self.domain_mut(dom) else { return };
        for state in &mut domain.vcpus {
            if let Activity::Polling(poll) = &state.activity
                && poll.ports.contains(&port)
            {
                state.activity = Activity::Runnable;
            }
        }
    }

    /// Ends `dom` in the sense of `SCHEDOP_shutdown`: it stays, and runs no more.
    pub fn shutdown(&mut self, dom: DomId, reason: ShutdownReason) {
        let Ok(domain) = self.domain_mut(dom) else { return };
        if domain.shutdown.is_some() {
            return;
        }
        domain.shutdown = Some(reason);
        self.flush_console(dom);
        self.actions.push(Action::Shutdown { dom, reason });
    }

    /// Tells dom0's tools that `dom` has shut down: by the port that they have asked for if it has
    /// suspended, else as they learn of every end.
    pub fn announce_shutdown(&mut self, host: &mut dyn HostServices, dom: DomId) {
        let Ok(domain) = self.domain(dom) else { return };
        let port = domain.toolstack.suspend_port;
        let suspended = domain.shutdown == Some(ShutdownReason::Suspend);
        if !suspended || port == 0 || self.send(host, dom, port).is_err() {
            self.raise_global_virq(host, DomId(0), virq::DOM_EXC);
        }
    }

    /// Fires every timer that is due at `now`. No deadline is left behind.
    pub fn tick(&mut self, host: &mut dyn HostServices, now: u64) {
        // By number, since raising an event needs all domains.
        let mut next = self.domains.keys().next().copied();
        while let Some(dom) = next {
            self.tick_domain(host, dom, now);
            let after = (core::ops::Bound::Excluded(dom), core::ops::Bound::Unbounded);
            next = self.domains.range(after).next().map(|(&dom, _)| dom);
        }
    }

    /// Fires every timer of `dom` that is due at `now`.
    pub fn tick_domain(&mut self, host: &mut dyn HostServices, dom: DomId, now: u64) {
        let ns = self.clock.ns(now);
        let count = self.domain(dom).map_or(0, |d| if d.alive() { d.vcpus.len() } else { 0 });
        (0..count as u32).for_each(|vcpu| self.tick_vcpu(host, dom, vcpu, now, ns));
        if count != 0 {
            self.tick_pc(host, dom, now);
        }
    }

    fn tick_vcpu(&mut self, host: &mut dyn HostServices, dom: DomId, vcpu: u32, now: u64, ns: u64) {
        let Ok(state) = self.vcpu_mut(dom, vcpu) else { return };
        let lapic = state.lapic.tick(now);
        if state.poll_timeout().is_some_and(|at| at <= ns) {
            state.activity = Activity::Runnable;
        }
        if timer_due(state, ns) {
            self.raise_virq(host, dom, vcpu, virq::TIMER);
        }
        if lapic {
            self.wake(host, dom, vcpu);
        }
    }

    /// The TSC value at which [`Xen::tick`] has something to do next. A paused domain's timers
    /// count: they fire into its state. After a tick it lies ahead.
    pub fn next_deadline(&self) -> Option<u64> {
        self.deadlines(..).min()
    }

    /// The next deadline of each vCPU of `domains` that has one.
    pub fn deadlines(&self, domains: impl RangeBounds<DomId>) -> impl Iterator<Item = u64> {
        let domains = self.domains.range(domains).map(|(_, domain)| domain);
        domains.filter(|d| d.alive()).flat_map(|domain| {
            let pc = domain.pc.as_deref().and_then(|pc| pc.deadline(&self.clock));
            let vcpus = domain.vcpus.iter().filter_map(|vcpu| self.vcpu_deadline(vcpu));
            vcpus.chain(pc)
        })
    }

    fn vcpu_deadline(&self, vcpu: &Vcpu) -> Option<u64> {
        let ns = [vcpu.singleshot, vcpu.periodic.map(|p| p.next), vcpu.poll_timeout()];
        let ns = ns.into_iter().flatten().min().map(|ns| self.clock.tsc_at(ns));
        [ns, vcpu.lapic.deadline()].into_iter().flatten().min()
    }

    /// The vCPU is put on the processor at `now`.
    pub fn run(&mut self, host: &mut dyn HostServices, dom: DomId, vcpu: u32, now: u64) {
        self.enter_runstate(host, dom, vcpu, RunState::Running, now);
        let Ok(domain) = self.domain_mut(dom) else { return };
        domain.toolstack.started = true;
        if let Some(state) = domain.vcpu_mut(vcpu) {
            // They are in the processor now.
            state.registers = None;
        }
    }

    /// The vCPU is taken off the processor at `now`.
    pub fn stop(&mut self, host: &mut dyn HostServices, dom: DomId, vcpu: u32, now: u64) {
        let Ok(domain) = self.domain(dom) else { return };
        let paused = domain.pause_count != 0 || !domain.alive();
        let Some(state) = domain.vcpu(vcpu) else { return };
        let state = match state.activity {
            Activity::Runnable if paused => RunState::Offline,
            Activity::Runnable if !state.ready() => RunState::Blocked,
            Activity::Runnable => RunState::Runnable,
            Activity::Halted | Activity::Blocked | Activity::Polling(_) => RunState::Blocked,
            Activity::Down => RunState::Offline,
        };
        self.enter_runstate(host, dom, vcpu, state, now);
    }

    fn enter_runstate(
        &mut self,
        host: &mut dyn HostServices,
        dom: DomId,
        vcpu: u32,
        state: RunState,
        now: u64,
    ) {
        let ns = self.clock.ns(now);
        let Ok(domain) = self.domain_mut(dom) else { return };
        let width = domain.width;
        let Some(vcpu) = domain.vcpu_mut(vcpu) else { return };
        if vcpu.runstate.enter(state, ns) {
            // An area that has become unwritable is skipped, as in Xen.
            let _ = write_runstate(host, dom, vcpu, width);
        }
    }
}

/// The vCPU's times as its guest reads them.
pub(super) fn runstate_info(vcpu: &Vcpu) -> RunstateInfo {
    let [running, runnable, blocked, offline] = vcpu.runstate.time;
    RunstateInfo {
        state: vcpu.runstate.state as u32,
        state_entry_time: vcpu.runstate.entered,
        running,
        runnable,
        blocked,
        offline,
    }
}

/// Copies the times to the registered area.
pub(super) fn write_runstate(
    host: &mut dyn HostServices,
    dom: DomId,
    vcpu: &Vcpu,
    width: Width,
) -> Result<(), BadAddress> {
    let mut raw = [0; RunstateInfo::MAX];
    runstate_info(vcpu).encode(width, &mut raw);
    let mut at = 0;
    for &(gpa, len) in &vcpu.runstate_area {
        write_gpa(host, dom, gpa, &raw[at..at + len])?;
        at += len;
    }
    Ok(())
}

/// Disarms or advances the vCPU's ABI timers that are due; true if one was.
fn timer_due(vcpu: &mut Vcpu, ns: u64) -> bool {
    let single = vcpu.singleshot.is_some_and(|at| at <= ns);
    if single {
        vcpu.singleshot = None;
    }
    let Some(periodic) = vcpu.periodic.as_mut().filter(|periodic| periodic.next <= ns) else {
        return single;
    };
    let late = (ns - periodic.next) % periodic.period;
    periodic.next = ns.saturating_add(periodic.period - late);
    true
}
