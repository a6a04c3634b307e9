//! Saving and restoring a processor between two runs: the architectural state is all there is.

use crate::Cpu;
use crate::processor::Env;
use crate::state::{Bases, State};

impl Cpu {
    /// The state, between two runs.
    pub fn save(&self) -> State {
        self.state.clone()
    }

    /// Goes to `state`, between two runs; what follows from it is derived anew.
    pub fn restore(&mut self, state: State) {
        let State { regs, bases: _, rip, flags, sys, fpu, apic, vmx, model } = state;
        let seg = sys.seg.map(|segment| segment.base);
        let bases = Bases { seg, ..Bases::default() };
        self.state = State { regs, bases, rip, flags, sys, fpu, apic, vmx, model };
        self.env = Env::new();
        self.update_mode();
        self.update_paging();
    }
}
