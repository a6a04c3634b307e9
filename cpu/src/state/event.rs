//! Events: exceptions and interrupts on their way to a handler. SDM vol. 3, "Interrupt and Exception Handling".

use crate::trap::Exception;
use serde::{Deserialize, Serialize};

/// What raised an event; the numbers are the VMCS's interruption types.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[repr(u8)]
pub enum EventKind {
    /// External interrupt.
    External = 0,
    /// Non-maskable interrupt.
    Nmi = 2,
    /// Exception that the processor detects.
    Hardware = 3,
    /// `INT n`.
    Software = 4,
    /// `INT1`.
    Privileged = 5,
    /// `INT3`, `INTO`.
    SoftwareException = 6,
}

/// An event on its way to a handler.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Event {
    /// Kind of the event's source.
    pub kind: EventKind,
    /// Vector of the event.
    pub vector: u8,
    /// Error code, for the exceptions that have one.
    pub error: Option<u32>,
    /// #PF: the linear address. #DB: the bits that DR6 gets.
    pub address: u64,
}

impl Event {
    /// The event of an exception.
    pub fn exception(e: Exception) -> Event {
        Event { kind: EventKind::Hardware, vector: e.vector, error: e.error, address: e.address }
    }

    /// An event without error code.
    pub fn new(kind: EventKind, vector: u8) -> Event {
        Event { kind, vector, error: None, address: 0 }
    }
}

/// How many events [`Recent`] keeps.
const RECENT: usize = 8;

/// The last events that were delivered, for the user.
#[derive(Clone, Copy, Debug, Default)]
pub struct Recent {
    events: [Option<(Event, u64)>; RECENT],
    next: usize,
}

impl Recent {
    pub(crate) fn push(&mut self, event: Event, rip: u64) {
        self.events[self.next % RECENT] = Some((event, rip));
        self.next = self.next.wrapping_add(1);
    }

    /// Events with the RIP that they met, the oldest first.
    pub fn iter(&self) -> impl Iterator<Item = (Event, u64)> {
        (0..RECENT).filter_map(move |k| self.events[(self.next + k) % RECENT])
    }
}
