//! Where event delivery asks VMX. Outside VMX operation none of these does anything.
//! SDM vol. 3, "Other Causes of VM Exits" and "Event Blocking".

use super::controls::{exit, pin, proc, proc2};
use super::exit::{exit_of_event, interruption};
use super::reason;
use crate::Cpu;
use crate::state::smm::Before;
use crate::state::vmx::Exit;
use crate::state::vmx::field::Field;
use crate::state::vmx::stats::Level;
use crate::state::{Activity, Event, EventKind, flags};
use crate::trap::vector;

impl Cpu {
    /// Whether VMX has an event to look at, at this boundary.
    #[inline]
    pub(crate) fn vmx_event_pending(&self) -> bool {
        self.state.vmx.guest && self.vmx_pending()
    }

    fn vmx_pending(&self) -> bool {
        let v = &self.state.vmx;
        v.inject
            || v.monitor_trap
            || v.tpr_below
            || v.timer <= self.now()
            || self.nmi_window()
            || self.state.sys.activity != Activity::Shutdown
                && (self.interrupt_window() || self.interrupt_exits())
    }

    pub(super) fn nmi_window(&self) -> bool {
        self.state.vmx.proc(proc::NMI_WINDOW)
            && !self.state.vmx.virtual_nmi_blocked
            && !self.state.sys.ss_shadow
    }

    fn shadowed(&self) -> bool {
        self.state.sys.sti_shadow || self.state.sys.ss_shadow
    }

    pub(super) fn interrupt_window(&self) -> bool {
        self.state.vmx.proc(proc::INTERRUPT_WINDOW)
            && self.state.flags.system & flags::IF != 0
            && !self.shadowed()
    }

    /// Whether an external interrupt exits now; RFLAGS.IF has no say.
    pub(super) fn interrupt_exits(&self) -> bool {
        self.state.vmx.pin(pin::EXTERNAL_INTERRUPT) && !self.shadowed() && self.interrupt_pending()
    }

    /// Events above debug traps. True if one was taken.
    pub(crate) fn vmx_high_event(&mut self) -> bool {
        if !self.state.vmx.guest {
            return false;
        }
        if self.state.vmx.inject {
            self.inject_event();
            // What follows comes before the first instruction of the handler.
            if !self.state.vmx.guest {
                return true;
            }
        }
        if std::mem::take(&mut self.state.vmx.tpr_below) {
            return self.exit_now(Exit::new(reason::TPR_BELOW_THRESHOLD));
        }
        std::mem::take(&mut self.state.vmx.monitor_trap)
            && self.exit_now(Exit::new(reason::MONITOR_TRAP))
    }

    fn take_preemption(&mut self) -> bool {
        self.state.vmx.timer <= self.now() && self.exit_now(Exit::new(reason::PREEMPTION_TIMER))
    }

    /// Preemption timer and NMI window. True if one was taken.
    pub(crate) fn vmx_middle_event(&mut self) -> bool {
        if !self.state.vmx.guest {
            return false;
        }
        self.take_preemption() || self.nmi_window() && self.exit_now(Exit::new(reason::NMI_WINDOW))
    }

    /// Interrupt window and exits of external interrupts. True if one was taken.
    pub(crate) fn vmx_low_event(&mut self) -> bool {
        if self.interrupt_window() {
            return self.exit_now(Exit::new(reason::INTERRUPT_WINDOW));
        }
        if !self.interrupt_exits() {
            return false;
        }
        let acknowledge = self.state.vmx.vmcs[Field::ExitControls] & exit::ACKNOWLEDGE != 0;
        let vector = if acknowledge { self.acknowledge_interrupt() } else { None };
        let event = vector.map(|vector| Event::new(EventKind::External, vector));
        let interruption = event.map_or(0, |e| interruption(&e));
        self.exit_now(Exit { interruption, ..Exit::new(reason::EXTERNAL_INTERRUPT) })
    }

    /// Whether an event that is about to be delivered exits instead. If so, the exit has been made.
    pub(crate) fn vmx_intercepts(&mut self, event: &Event) -> bool {
        if !self.state.vmx.guest {
            return false;
        }
        let injected = std::mem::take(&mut self.state.vmx.injecting);
        if injected || !self.event_exits(event) {
            self.state.vmx.monitor_trap |= self.state.vmx.proc(proc::MONITOR_TRAP);
            return false;
        }
        let mut e = exit_of_event(event);
        let outer = self.state.sys.delivering.take().filter(|_| event.vector != vector::DF);
        if self.state.vmx.nmi_unblocked && outer.is_none() && event.vector != vector::DF {
            e.interruption |= 1 << 12;
        }
        self.state.vmx.exit = e;
        self.leave_guest(outer);
        true
    }

    /// Whether an event that an instruction raises (INT3, INTO, INT1) exits. If so, the exit is recorded.
    pub(crate) fn vmx_intercepts_instruction(&mut self, event: &Event) -> bool {
        if !self.state.vmx.guest || !self.event_exits(event) {
            return false;
        }
        let length = self.state.vmx.software_length as u32;
        self.state.vmx.exit = Exit { length, ..exit_of_event(event) };
        true
    }

    pub(super) fn event_exits(&self, event: &Event) -> bool {
        let v = &self.state.vmx.vmcs;
        match event.kind {
            EventKind::External | EventKind::Software => false,
            EventKind::Nmi => self.state.vmx.pin(pin::NMI),
            _ => {
                let bit = v[Field::ExceptionBitmap] >> (event.vector & 31) & 1 != 0;
                let fault = event.kind == EventKind::Hardware && event.vector == vector::PF;
                let error = event.error.unwrap_or(0) as u64;
                let matches = error & v[Field::PageFaultMask] == v[Field::PageFaultMatch];
                if fault { bit == matches } else { bit }
            }
        }
    }

    /// Whether INIT stays latched: in VMX root operation, and in a guest that waits for a start-up IPI.
    pub(crate) fn vmx_blocks_init(&self) -> bool {
        self.state.vmx.on
            && (!self.state.vmx.guest || self.state.sys.activity == Activity::WaitSipi)
    }

    /// Whether INIT exits. If so, the exit has been made.
    pub(crate) fn vmx_init(&mut self) -> bool {
        self.state.vmx.guest && self.exit_now(Exit::new(reason::INIT))
    }

    /// Whether a start-up IPI exits. If so, the exit has been made.
    pub(crate) fn vmx_sipi(&mut self, page: u8) -> bool {
        let qualification = page as u64;
        self.state.vmx.guest && self.exit_now(Exit { qualification, ..Exit::new(reason::SIPI) })
    }

    /// Whether the next instruction has to run alone: monitor trap flag.
    pub(crate) fn vmx_exact_step(&self) -> bool {
        self.state.vmx.proc(proc::MONITOR_TRAP)
    }

    /// Before a slice of instructions; `stepping`: of one.
    pub(crate) fn vmx_before_step(&mut self, stepping: bool) {
        let s = &self.state.sys;
        let shadow = s.sti_shadow as u8 | (s.ss_shadow as u8) << 1;
        self.state.vmx.shadow = if stepping { shadow } else { 0 };
        self.state.vmx.nmi_unblocked = false;
    }

    /// After an instruction that ran alone, begun in a `guest` or not.
    pub(crate) fn vmx_after_step(&mut self, guest: bool) {
        // A VM entry is the host's instruction, RSM not the guest's: no step of the guest.
        if guest && self.state.vmx.proc(proc::MONITOR_TRAP) {
            self.state.vmx.monitor_trap = true;
        }
    }

    /// Whether a triple fault exits. If so, the exit has been made.
    pub(crate) fn vmx_triple_fault(&mut self) -> bool {
        self.state.vmx.guest && self.exit_now(Exit::new(reason::TRIPLE_FAULT))
    }

    /// The retired-instruction count at which the preemption timer is due; `u64::MAX` for never.
    pub(crate) fn vmx_deadline(&self) -> u64 {
        let stands = !self.state.vmx.guest || self.state.sys.activity == Activity::WaitSipi;
        if stands { u64::MAX } else { self.state.vmx.timer }
    }

    /// Delivers the event that a VM entry injects, if that is still to be done.
    pub(crate) fn vmx_inject(&mut self) {
        if self.state.vmx.guest && self.state.vmx.inject {
            self.inject_event();
        }
    }

    /// An SMI leaves VMX operation. SDM vol. 3, "Default Treatment of SMI Delivery". The current VMCS, the
    /// controls, virtual-NMI blocking and pending exits stay, and wait for RSM.
    pub(crate) fn vmx_leave_for_smm(&mut self) {
        if self.state.vmx.guest {
            let now = self.now();
            self.stats.vmx.pass(Level::Root, now);
        }
        self.state.vmx.on = false;
        self.state.vmx.guest = false;
    }

    /// RSM returns to VMX operation. SDM vol. 3, "Default Treatment of RSM".
    pub(crate) fn vmx_return_from_smm(&mut self, before: &Before) {
        self.state.vmx.on = before.vmx;
        self.state.vmx.guest = before.guest;
        if before.guest {
            let (level, now) = (self.state.vmx.level(), self.now());
            self.stats.vmx.pass(level, now);
            self.trace_entry(now);
        }
    }

    /// Whether "unrestricted guest" is 1 in the controls that were in force last.
    pub(crate) fn vmx_unrestricted(&self) -> bool {
        self.state.vmx.controls.proc2 & proc2::UNRESTRICTED != 0
    }

    /// What IRET does to NMI blocking.
    pub(crate) fn iret_unblocks_nmi(&mut self) {
        if self.state.vmx.virtual_nmis() {
            self.state.vmx.nmi_unblocked = std::mem::take(&mut self.state.vmx.virtual_nmi_blocked);
        } else if !self.state.vmx.pin(pin::NMI) {
            self.state.vmx.nmi_unblocked = std::mem::take(&mut self.state.sys.nmi_blocked);
        }
    }

    /// An NMI is delivered: further ones are blocked.
    pub(crate) fn block_nmi(&mut self) {
        if self.state.vmx.virtual_nmis() {
            self.state.vmx.virtual_nmi_blocked = true;
        } else {
            self.state.sys.nmi_blocked = true;
        }
    }
}
