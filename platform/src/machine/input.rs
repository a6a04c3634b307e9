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
}

impl Input {
    /// Does to the board, at `now`, what the outside world does there.
    fn reach(&self, board: &mut Board, now: Icount) {
        match self {
            Self::Serial { port, bytes } => board.push_serial_input(*port, bytes, now),
            Self::Break { port } => board.push_serial_break(*port, now),
            Self::PowerButton => board.press_power_button(now),
            Self::Nmi => {}
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

    /// Hands the inputs that are due at `now` to the board; whether there is an NMI among them.
    pub(super) fn take_due(&mut self, board: &mut Board, now: Icount) -> bool {
        let mut nmi = false;
        while let Some(due) = self.0.first_entry().filter(|due| *due.key() <= now) {
            let due = due.remove();
            due.iter().for_each(|input| input.reach(board, now));
            nmi |= due.contains(&Input::Nmi);
        }
        nmi
    }
}
