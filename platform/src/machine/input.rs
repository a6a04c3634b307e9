//! The one way from the outside world into a machine: a queue of inputs, each stamped with the
//! machine time at which the machine takes it.
//!
//! A machine, its configuration and the inputs with their stamps are all that a run depends on.

use crate::board::Board;
use crate::time::Icount;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// Something that the outside world does to a machine.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Input {
    /// Bytes arrive at a serial port.
    Serial {
        /// Number of the port (0: COM1).
        port: usize,
        /// What arrives, in this order.
        bytes: Vec<u8>,
    },
    /// The other side of a serial port sends a break.
    Break {
        /// Number of the port (0: COM1).
        port: usize,
    },
    /// The power button is pressed.
    PowerButton,
    /// All processors get an NMI.
    Nmi,
    /// A processor stands still for so long while time passes, as hardware may have it at any instruction. See
    /// [`Input::STALL_MAX`].
    Stall {
        /// APIC ID of the processor; no such processor: nothing happens.
        processor: usize,
        /// How long, in instructions.
        time: u64,
    },
    /// From now on a processor leads by so many instructions, see [`super::QUANTUM`], which is the most.
    Quantum {
        /// The length of a lead; 0 counts as 1.
        instructions: u64,
    },
    /// RDRAND and RDSEED take from another sequence.
    Random {
        /// The number from which the sequence follows.
        seed: u64,
    },
    /// The time-stamp counters of all processors go on by so many ticks, except where a timer waits for a value of one.
    Tsc {
        /// The ticks to go on by.
        ticks: u64,
    },
    /// A key of the keyboard goes down or up.
    Key {
        /// The key's code in scan code set 1, with bit 7 for one behind E0h.
        key: u8,
        /// Down, not up.
        down: bool,
    },
}

impl Input {
    /// The longest time for which a processor stands still.
    pub const STALL_MAX: u64 = 1_000_000_000;

    /// Whether it is for the processors, not the board.
    fn is_for_processors(&self) -> bool {
        use Input::{Break, Key, PowerButton, Serial};
        !matches!(self, Serial { .. } | Break { .. } | PowerButton | Key { .. })
    }

    /// Does to the board, at `now`, what the outside world does there.
    fn reach(&self, board: &mut Board, now: Icount) {
        match self {
            Self::Serial { port, bytes } => board.push_serial_input(*port, bytes, now),
            Self::Break { port } => board.push_serial_break(*port, now),
            Self::PowerButton => board.press_power_button(now),
            Self::Key { key, down } => board.press_key(*key, *down, now),
            Self::Nmi
            | Self::Stall { .. }
            | Self::Quantum { .. }
            | Self::Random { .. }
            | Self::Tsc { .. } => {}
        }
    }
}

/// Inputs that the machine has not yet taken, by stamp; those of one stamp in the order in which they
/// were given.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub(super) struct InputQueue(BTreeMap<Icount, Vec<Input>>);

impl InputQueue {
    /// Adds `input`, to be taken at `at`.
    pub(super) fn push(&mut self, at: Icount, input: Input) {
        self.0.entry(at).or_default().push(input);
    }

    /// The stamp of the next input.
    pub(super) fn next(&self) -> Option<Icount> {
        self.0.keys().next().copied()
    }

    /// Whether an input is due at `now`.
    #[inline]
    pub(super) fn is_due(&self, now: Icount) -> bool {
        self.next().is_some_and(|at| at <= now)
    }

    /// Hands the inputs that are due at `now` to the board, and returns those for the processors.
    pub(super) fn take_due(&mut self, board: &mut Board, now: Icount) -> Vec<Input> {
        let mut others = Vec::new();
        while let Some(due) = self.0.first_entry().filter(|due| *due.key() <= now) {
            for input in due.remove() {
                input.reach(board, now);
                others.extend(input.is_for_processors().then_some(input));
            }
        }
        others
    }
}
