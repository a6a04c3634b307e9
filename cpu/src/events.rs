//! Events at instruction boundaries and their delivery: exceptions, interrupts, NMI, INIT, SIPI.
//! SDM vol. 3, "Interrupt and Exception Handling".

use crate::state::Cpu;
use crate::trap::Exception;

impl Cpu {
    /// Whether [`Cpu::service_events`] has anything to look at.
    pub(crate) fn attention(&self) -> bool {
        false
    }

    /// Takes the highest event that is pending and not blocked.
    pub(crate) fn service_events(&mut self) {}

    /// The retired-instruction count of the next timer of the processor's own (APIC timer, preemption
    /// timer); `u64::MAX` for none.
    pub(crate) fn next_timer(&self) -> u64 {
        u64::MAX
    }

    /// Lets timers that are due fire; false if none was.
    pub(crate) fn timer_due(&mut self) -> bool {
        false
    }

    /// Before a step that runs alone.
    pub(crate) fn before_step(&mut self, stepping: bool) {
        if stepping {
            self.sys.sti_shadow = false;
            self.sys.ss_shadow = false;
        }
    }

    /// After a step that ran alone and completed: single-step trap.
    pub(crate) fn after_step(&mut self) {}

    /// Whether something other than flags and DR7 wants single steps (monitor trap flag).
    pub(crate) fn needs_exact_step(&self) -> bool {
        false
    }

    /// Delivers exception `e` of the instruction at RIP.
    pub(crate) fn raise(&mut self, e: Exception) {
        let _ = e;
        self.sys.activity = crate::state::Activity::Shutdown;
    }
}
