//! The board as the processor that runs sees it, and what passes from the board to the processors.

use crate::board::Board;
use crate::device::InterruptMessage;
use crate::devices::pci::host_bridge;
use crate::time::Icount;
use cpu::bus::{Bus, Completion, Destination, Message};
use cpu::state::Smram;
use mmu::HostPhys;

/// The board, and the messages of the running processor.
pub(super) struct Chipset {
    pub(super) board: Board,
    /// IPIs of the running processor.
    messages: Vec<Message>,
    /// What the processor that runs knows of the board; None: nothing yet.
    known: Option<Seen>,
    /// All other processors are idle: no access, and no PAUSE, need end the turn of the one that runs.
    alone: bool,
}

/// What a processor knows of the board while it runs.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Seen {
    intr: bool,
    deadline: Option<Icount>,
    smram: Smram,
}

impl Chipset {
    /// `board`, between processors.
    pub(super) fn new(board: Board) -> Chipset {
        Chipset { board, messages: Vec::new(), known: None, alone: false }
    }

    /// A board as it was saved, with messages on their way.
    pub(super) fn restored(board: Board, messages: Vec<Message>) -> Chipset {
        Chipset { messages, ..Chipset::new(board) }
    }

    /// A processor begins to run, while all others are idle if it is `alone`.
    pub(super) fn begin(&mut self, alone: bool) {
        self.alone = alone;
        if self.known.is_none() || self.board.disturbed() {
            self.known = Some(self.seen());
            self.board.settled();
        }
    }

    /// Who sees system-management RAM.
    pub(super) fn smram(&self) -> Smram {
        if let Some(known) = self.known.filter(|_| !self.board.disturbed()) {
            return known.smram;
        }
        let host_bridge::Smram { enabled, open, closed } = self.board.smram();
        Smram { enabled, open, closed }
    }

    /// There are messages to take.
    pub(super) fn has_messages(&self) -> bool {
        !self.messages.is_empty() || self.board.has_messages()
    }

    /// Takes the messages to the local APICs since the last call: those of the processor that ran,
    /// then the board's.
    pub(super) fn take_messages(&mut self) -> Vec<Message> {
        let mut messages = std::mem::take(&mut self.messages);
        if self.board.has_messages() {
            messages.extend(self.board.take_messages().iter().map(message));
        }
        messages
    }

    /// The messages of the processor that ran, to look at.
    pub(super) fn messages(&self) -> &[Message] {
        &self.messages
    }

    /// Whether the board, although disturbed, shows what it showed when the run began.
    fn unchanged(&mut self) -> bool {
        let same = Some(self.seen()) == self.known
            && !self.board.has_messages()
            && !self.board.wants_memory()
            && !self.board.has_smi()
            && self.board.ending().is_none();
        if same {
            self.board.settled();
        }
        same
    }

    fn seen(&self) -> Seen {
        Seen {
            intr: self.board.intr_output(),
            deadline: self.board.next_deadline(),
            smram: self.smram(),
        }
    }
}

impl Bus for Chipset {
    fn port_read(&mut self, port: u16, size: u8, now: u64) -> u32 {
        self.board.port_read(port, size, Icount(now))
    }
    fn port_write(&mut self, port: u16, size: u8, value: u32, now: u64) {
        self.board.port_write(port, size, value, Icount(now));
    }
    fn mmio_read(&mut self, addr: HostPhys, size: u8, now: u64) -> u64 {
        self.board.mmio_read(addr.0, size, Icount(now))
    }
    fn mmio_write(&mut self, addr: HostPhys, size: u8, value: u64, now: u64) {
        self.board.mmio_write(addr.0, size, value, Icount(now));
    }
    fn acknowledge(&mut self) -> u8 {
        self.board.acknowledge()
    }
    fn message(&mut self, message: Message) {
        self.messages.push(message);
    }
    fn end_of_interrupt(&mut self, vector: u8) {
        self.board.eoi(vector);
    }
    fn complete(&mut self) -> Completion {
        let unchanged =
            self.alone && self.messages.is_empty() && (!self.board.disturbed() || self.unchanged());
        Completion { resample: !unchanged, time: self.board.take_access_time() }
    }
    fn shared(&self) -> bool {
        !self.alone
    }
}

fn message(m: &InterruptMessage) -> Message {
    let destination = if m.logical {
        Destination::Logical(m.destination)
    } else {
        Destination::Physical(m.destination)
    };
    Message {
        destination,
        delivery: m.delivery,
        vector: m.vector,
        level: m.level,
        source: u32::MAX,
    }
}
