//! What the processor asks of the machine around it.

use mmu::HostPhys;
use serde::{Deserialize, Serialize};

/// The machine, as the processor sees it. Borrowed for a call of [`crate::Cpu::run`]. `now` is the
/// count of retired instructions.
pub trait Bus {
    /// `IN`: `size` is 1, 2 or 4. An unclaimed port reads all-ones.
    fn port_read(&mut self, port: u16, size: u8, now: u64) -> u32;
    /// `OUT`: `size` is 1, 2 or 4.
    fn port_write(&mut self, port: u16, size: u8, value: u32, now: u64);
    /// A load outside RAM: `size` is 1, 2, 4 or 8. Unclaimed addresses read all-ones.
    fn mmio_read(&mut self, addr: HostPhys, size: u8, now: u64) -> u64;
    /// A store outside RAM.
    fn mmio_write(&mut self, addr: HostPhys, size: u8, value: u64, now: u64);
    /// Interrupt acknowledge (INTA) to the 8259 pair: the vector.
    fn acknowledge(&mut self) -> u8;
    /// A message from this processor's local APIC (an IPI).
    fn message(&mut self, message: Message);
    /// End of a level-triggered interrupt, broadcast to the I/O APICs.
    fn end_of_interrupt(&mut self, vector: u8);
    /// What follows from the access just made.
    fn complete(&mut self) -> Completion {
        Completion { resample: true, time: 0 }
    }
    /// Whether other processors run by turns with this one.
    fn shared(&self) -> bool {
        false
    }
}

/// What follows from an access to a device.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Completion {
    /// The run ends with [`crate::Stop::Io`] after the instruction, so that the machine can sample its
    /// interrupt lines at an exact instruction boundary. Not needed where the accesses of the run have
    /// left everything that the machine looks at between two runs as it was.
    pub resample: bool,
    /// Time that the access takes, in instructions, besides the instruction itself.
    pub time: u64,
}

/// An interrupt message. SDM vol. 3, "Interrupt Command Register" and "Message Data Register Format".
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Message {
    /// Processors that the message is for.
    pub destination: Destination,
    /// Delivery mode: 0 fixed, 1 lowest priority, 2 SMI, 4 NMI, 5 INIT, 6 start-up, 7 ExtINT.
    pub delivery: u8,
    /// Vector of the interrupt.
    pub vector: u8,
    /// Trigger mode: level, not edge.
    pub level: bool,
    /// The APIC ID of the sender, for the shorthands.
    pub source: u32,
}

/// The destination of a [`Message`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Destination {
    /// The processor whose APIC ID this is; 0xff (xAPIC) or 0xffff_ffff are all.
    Physical(u32),
    /// Logical: matched against each local APIC's LDR.
    Logical(u32),
    /// All including the sender.
    All,
    /// All but the sender.
    Others,
}
