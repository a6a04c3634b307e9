//! Events at instruction boundaries: priorities, escalation of faults, single steps, halts.
//! SDM vol. 3, "Prioritization of Concurrent Events" and "Interrupt and Exception Handling".

use crate::Cpu;
use crate::debug::DR6_BS;
use crate::msr::DEBUGCTL_BTF;
use crate::state::{Activity, Event, EventKind, Segment, flags, seg};
use crate::trap::{Exception, Trap, vector};

/// Classes of exceptions. SDM vol. 3, "Conditions for Generating a Double Fault".
#[derive(Clone, Copy, PartialEq, Eq)]
enum Class {
    Benign,
    Contributory,
    PageFault,
    DoubleFault,
}

fn class(e: &Event) -> Class {
    if e.kind != EventKind::Hardware {
        return Class::Benign;
    }
    match e.vector {
        vector::DE | vector::TS | vector::NP | vector::SS | vector::GP => Class::Contributory,
        vector::PF => Class::PageFault,
        vector::DF => Class::DoubleFault,
        _ => Class::Benign,
    }
}

/// What becomes of `second`, met while `first` was delivered: itself, a double fault, or shutdown.
fn escalate(first: Option<Event>, second: Event) -> Option<Event> {
    let Some(first) = first else { return Some(second) };
    let double = Event { error: Some(0), ..Event::new(EventKind::Hardware, vector::DF) };
    match (class(&first), class(&second)) {
        (Class::DoubleFault, Class::Contributory | Class::PageFault) => None,
        (Class::Contributory, Class::Contributory) => Some(double),
        (Class::PageFault, Class::Contributory | Class::PageFault) => Some(double),
        _ => Some(second),
    }
}

impl Cpu {
    /// Whether anything but running instructions may have to be done at this boundary. Most often false:
    /// then nothing that [`Cpu::event_pending`] looks at is due, the processor is active and instructions
    /// run together.
    #[inline(always)]
    pub(crate) fn event_may_be_pending(&self) -> bool {
        let s = &self.state.sys;
        let pending = s.init_pending | s.sipi_pending.is_some() | s.nmi_pending | s.intr;
        let pending = pending | s.smm.pending;
        let shadow = s.sti_shadow | s.ss_shadow | s.task_fault.is_some();
        let flags = self.state.flags.system & (flags::TF | flags::RF | flags::VIP);
        pending | shadow
            || flags | s.dr7 & 0xff | s.pending_debug | s.activity as u64 != 0
            || self.state.apic.requests()
            || self.vmx_event_pending()
            || self.needs_exact_step()
    }

    /// Whether [`Cpu::service_events`] has anything to look at.
    #[inline]
    pub(crate) fn event_pending(&self) -> bool {
        let s = &self.state.sys;
        let rare = s.init_pending | s.sipi_pending.is_some() | s.smm.pending;
        if rare && self.rare_event_pending() {
            return true;
        }
        let nmi = s.nmi_pending && !s.nmi_blocked;
        match s.activity {
            Activity::WaitSipi => return false,
            Activity::Shutdown => return self.state.vmx.guest && (nmi || self.vmx_event_pending()),
            _ => {}
        }
        s.pending_debug != 0
            || nmi
            || s.dr7 & 0xff != 0 && s.activity == Activity::Active
            || self.interrupts_open() && self.interrupt_pending()
            || self.vmx_event_pending()
    }

    /// Whether INIT, a start-up IPI or an SMI waits that is not blocked.
    #[cold]
    fn rare_event_pending(&self) -> bool {
        let s = &self.state.sys;
        s.init_pending && !self.init_blocked() || s.sipi_pending.is_some() || self.smi_ready()
    }

    /// Whether an external interrupt can be taken at this boundary.
    fn interrupts_open(&self) -> bool {
        self.state.flags.system & flags::IF != 0
            && !self.state.sys.sti_shadow
            && !self.state.sys.ss_shadow
    }

    /// Whether an NMI can be taken at this boundary. SDM vol. 2, "STI", lets STI hold NMIs back for an
    /// instruction as MOV SS does.
    fn nmi_open(&self) -> bool {
        let s = &self.state.sys;
        !s.nmi_blocked && !s.sti_shadow && !s.ss_shadow
    }

    /// Latches an NMI. One that comes when another is about to be taken waits for that one's IRET: to the
    /// second sender the first NMI was taken already, since processors take turns here and do not run at
    /// once.
    pub(crate) fn latch_nmi(&mut self) {
        let s = &mut self.state.sys;
        s.nmi_queued |= s.nmi_pending && !s.nmi_blocked;
        s.nmi_pending = true;
    }

    /// Takes the highest event that is pending and not blocked.
    pub(crate) fn service_events(&mut self) {
        if self.state.sys.task_fault.is_some() {
            return;
        }
        if self.take_smi() {
            return;
        }
        if self.take_init() {
            // The SMI has waited for the start-up IPI.
            self.take_smi();
            return;
        }
        // Outside VMX non-root operation shutdown is the machine's affair.
        let shutdown = self.state.sys.activity == Activity::Shutdown;
        if self.state.sys.activity == Activity::WaitSipi || shutdown && !self.state.vmx.guest {
            return;
        }
        if self.vmx_high_event() {
            return;
        }
        if self.state.sys.pending_debug != 0 && !self.state.sys.ss_shadow {
            let bits = std::mem::take(&mut self.state.sys.pending_debug);
            self.raise_debug(bits);
            // The SMI was below the trap of a task switch.
            self.take_smi();
            return;
        }
        if self.vmx_middle_event() {
            return;
        }
        if self.nmi_open() && self.state.sys.nmi_pending {
            let queued = std::mem::take(&mut self.state.sys.nmi_queued);
            self.state.sys.nmi_pending = queued;
            return self.inject(Event::new(EventKind::Nmi, vector::NMI));
        }
        // Nothing below ends shutdown.
        if shutdown {
            return;
        }
        if self.vmx_low_event() {
            return;
        }
        if self.interrupts_open()
            && let Some(vector) = self.acknowledge_interrupt()
        {
            self.stats.interrupts += 1;
            return self.inject(Event::new(EventKind::External, vector));
        }
        // MOV SS holds off breakpoints on the next instruction too.
        if !self.state.sys.ss_shadow {
            self.code_breakpoints();
        }
    }

    /// Whether INIT stays latched: in system-management mode, and where VMX has it so.
    fn init_blocked(&self) -> bool {
        self.state.sys.smm.active || self.vmx_blocks_init()
    }

    /// INIT, and the start-up IPI that an INIT waits for. True if the processor was reset or started.
    fn take_init(&mut self) -> bool {
        let init = self.state.sys.init_pending && !self.init_blocked();
        if init {
            self.state.sys.init_pending = false;
            if self.vmx_init() {
                return true;
            }
            self.init();
        }
        let Some(page) = self.state.sys.sipi_pending.take() else { return init };
        if self.state.sys.activity != Activity::WaitSipi {
            return init;
        }
        if self.vmx_sipi(page) {
            return true;
        }
        let cs = self.state.sys.seg[seg::CS];
        let (selector, base) = ((page as u16) << 8, (page as u64) << 12);
        self.set_segment(seg::CS, Segment { selector, base, limit: 0xffff, ..cs });
        self.state.rip = 0;
        self.state.sys.activity = Activity::Active;
        true
    }

    /// The retired-instruction count of the next timer of the processor's own (APIC timer, preemption
    /// timer); `u64::MAX` for none.
    pub(crate) fn next_timer(&self) -> u64 {
        self.apic_deadline().min(self.vmx_deadline())
    }

    /// Lets timers that are due fire; false if none was.
    pub(crate) fn timer_due(&mut self) -> bool {
        let now = self.now();
        if self.apic_deadline() <= now {
            self.apic_timer_due();
            return true;
        }
        self.vmx_deadline() <= now
    }

    /// Whether something other than flags and DR7 wants single steps (monitor trap flag).
    pub(crate) fn needs_exact_step(&self) -> bool {
        self.vmx_exact_step()
    }

    /// Before a step that runs alone.
    pub(crate) fn before_step(&mut self, stepping: bool) {
        self.vmx_before_step(stepping);
        if stepping {
            self.state.sys.sti_shadow = false;
            self.state.sys.ss_shadow = false;
            self.state.sys.step_trap = self.state.flags.system & flags::TF != 0;
            self.state.sys.watch_hits = 0;
            self.state.flags.system &= !flags::RF;
        }
    }

    /// After a step that ran alone and completed, begun in a `guest` or not, and that `branched` or not:
    /// single-step trap. SDM vol. 3, "Single-Stepping on Branches".
    pub(crate) fn after_step(&mut self, guest: bool, branched: bool) {
        let wanted = branched || self.state.sys.msr.debugctl & DEBUGCTL_BTF == 0;
        if std::mem::take(&mut self.state.sys.step_trap) && wanted {
            self.state.sys.pending_debug |= DR6_BS;
        }
        self.state.sys.pending_debug |= std::mem::take(&mut self.state.sys.watch_hits);
        self.vmx_after_step(guest);
    }

    /// Delivers exception `e` of the instruction at RIP.
    pub(crate) fn raise(&mut self, e: Exception) {
        self.inject(Event::exception(e));
    }

    /// Delivers `event`, and what delivering it raises in turn.
    pub(crate) fn inject(&mut self, mut event: Event) {
        loop {
            // Real-address mode has no error codes.
            if !self.protected() {
                event.error = None;
            }
            let injected = self.state.vmx.injecting;
            // The exception bitmap is asked for what is met, and then for what becomes of it.
            if self.vmx_intercepts(&event) {
                return;
            }
            if self.state.sys.delivering.is_some() {
                let Some(becomes) = self.escalated(event) else { return self.triple_fault() };
                if becomes.vector != event.vector && self.vmx_intercepts(&becomes) {
                    return;
                }
                event = becomes;
            }
            // A debug exception that a VM entry injects leaves the debug registers alone.
            if !injected && event.kind == EventKind::Hardware && event.vector == vector::DB {
                self.take_debug_bits(event.address);
            }
            match self.deliver(event) {
                Ok(()) => return,
                // Delivering it may raise it again, without end: let time pass in between.
                Err(Trap::Fault(e)) if e.vector == vector::AC => {
                    self.state.sys.task_fault = Some(e);
                    return;
                }
                Err(Trap::Fault(e)) => event = Event::exception(e),
                Err(_) => return self.vm_exit(),
            }
        }
    }

    /// What becomes of `event`, met while another one is delivered; nothing: a triple fault.
    #[cold]
    fn escalated(&self, event: Event) -> Option<Event> {
        let becomes = escalate(self.state.sys.delivering, event)?;
        Some(if self.protected() { becomes } else { Event { error: None, ..becomes } })
    }

    fn triple_fault(&mut self) {
        if self.vmx_triple_fault() {
            return;
        }
        self.state.sys.delivering = None;
        self.state.sys.activity = Activity::Shutdown;
    }

    /// Counts an event for the user.
    pub(crate) fn note_event(&mut self, event: &Event) {
        if event.kind == EventKind::Hardware {
            self.stats.exceptions[event.vector as usize & 31] += 1;
        }
        self.trace_event(event);
        let rip = self.state.rip;
        self.stats.recent.push(*event, rip);
    }
}

/// The rows of the SDM's table, and that nothing else is a double fault.
#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(first: u8, second: u8, then: Option<u8>) {
        let hardware = |v| Event::new(EventKind::Hardware, v);
        let got = escalate(Some(hardware(first)), hardware(second)).map(|e| e.vector);
        assert_eq!(got, then, "{first} then {second}");
    }

    #[test]
    fn double_faults() {
        check(vector::UD, vector::GP, Some(vector::GP));
        check(vector::GP, vector::NP, Some(vector::DF));
        check(vector::GP, vector::PF, Some(vector::PF));
        check(vector::PF, vector::PF, Some(vector::DF));
        check(vector::PF, vector::TS, Some(vector::DF));
        check(vector::PF, vector::DB, Some(vector::DB));
        check(vector::DF, vector::GP, None);
        check(vector::DF, vector::PF, None);
        check(vector::DF, vector::UD, Some(vector::UD));
    }
}
