//! What hardware leaves open, chosen: inputs that are for the processors.

use super::input::Input;
use super::schedule::{Processor, QUANTUM, Schedule};
use cpu::bus::{Destination, Message};
use cpu::state::State;

/// An NMI from outside.
const NMI: Message =
    Message { destination: Destination::All, delivery: 4, vector: 0, level: false, source: 0 };

impl Schedule {
    /// The processors take an input.
    pub(super) fn perturb(&mut self, input: &Input) {
        match *input {
            Input::Nmi => self.processors.iter_mut().for_each(|p| p.cpu.receive(&NMI)),
            Input::Stall { processor, time } => {
                if let Some(p) = self.processors.get_mut(processor) {
                    p.still = p.at.saturating_add(time.min(Input::STALL_MAX));
                }
            }
            Input::Quantum { instructions } => self.quantum = instructions.clamp(1, QUANTUM),
            Input::Random { seed } => self.change(|_, state| state.sys.random = seed),
            Input::Tsc { ticks } => self.change(|waits, state| {
                // A timer that waits for a value would have to be set anew.
                if !waits && !state.vmx.guest {
                    state.sys.tsc_offset = state.sys.tsc_offset.wrapping_add(ticks);
                }
            }),
            Input::Serial { .. } | Input::Break { .. } | Input::PowerButton | Input::Key { .. } => {
            }
        }
    }

    /// Changes the state of each processor; told whether it waits for a timer of its own.
    fn change(&mut self, change: impl Fn(bool, &mut State)) {
        for Processor { cpu, .. } in &mut self.processors {
            let (waits, mut state) = (cpu.wakes_at() != u64::MAX, cpu.save());
            change(waits, &mut state);
            cpu.restore(state);
        }
    }
}
