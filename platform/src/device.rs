//! What a device is to the board: registers at offsets in, levels out, an optional next deadline.
//!
//! A device knows no address, bus, clock, thread or other device. Its outputs are levels that the
//! board reads from it after every access and at every deadline.

use serde::{Deserialize, Serialize};

use crate::time::Icount;

/// Why a device did not take an access. A device never answers for the bus: what the guest reads
/// then, the board decides.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, thiserror::Error)]
pub enum IoError {
    /// There is no register at the offset, or none that is read, or none that is written.
    #[error("no such register")]
    InvalidRegister,
    /// The register takes accesses of other sizes only.
    #[error("access of a wrong size")]
    InvalidAccessSize,
    /// The device is a bridge, and nobody after it answers.
    #[error("no response")]
    NoResponse,
}

/// A device with registers. Which of its offsets are ports and which are memory, its rows in the
/// board's table say.
///
/// The board makes naturally aligned accesses of `size` 1, 2, 4 or 8 bytes, never wider than the
/// row allows.
pub trait Device {
    /// The value of the register at `offset`, in the low `size` bytes.
    fn read(&mut self, offset: u64, size: u8, now: Icount) -> Result<u64, IoError>;
    /// Writes `value`, which has no more than `size` bytes, to the register at `offset`.
    fn write(&mut self, offset: u64, size: u8, value: u64, now: Icount) -> Result<(), IoError>;
}

/// A device whose outputs change by themselves as time passes.
pub trait Timed {
    /// The first instant after `now` at which an output may change without an access.
    fn deadline(&self, now: Icount) -> Option<Icount>;
    /// Brings the state to `now`; calling it more often changes nothing.
    fn advance(&mut self, now: Icount);
}

/// How a guest may end the run by way of a device.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ending {
    /// The machine is switched off.
    PowerOff,
    /// The machine is reset.
    Reset,
    /// The guest has chosen this exit status.
    Status(u32),
    /// The guest has panicked.
    GuestPanicked,
}

/// A device by which a guest may end the run.
pub trait Ends {
    /// The end that the guest has asked for; it stays once asked for.
    fn ending(&self) -> Option<Ending>;
}

/// An interrupt message to the local APICs. SDM vol. 3, "Message Signalled Interrupts".
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct InterruptMessage {
    /// Destination: an APIC ID, or a set of logical IDs.
    pub destination: u32,
    /// Destination mode: logical.
    pub logical: bool,
    /// Delivery mode: 0 fixed, 1 lowest priority, 2 SMI, 4 NMI, 5 INIT, 7 ExtINT.
    pub delivery: u8,
    /// Vector of the interrupt.
    pub vector: u8,
    /// Trigger mode: level.
    pub level: bool,
}

impl InterruptMessage {
    /// First address that is no memory for bus masters, but interrupt messages.
    const FIRST: u64 = 0xfee0_0000;
    /// Last such address.
    const LAST: u64 = 0xfeef_ffff;

    /// What a bus master's write of the doubleword `data` to `address` is a message of, if it is
    /// one. SDM vol. 3, "Message Address Register Format" and "Message Data Register Format".
    #[must_use]
    pub fn decode(address: u64, data: u32) -> Option<Self> {
        (Self::FIRST..=Self::LAST).contains(&address).then_some(Self {
            destination: (address >> 12 & 0xff) as u32,
            logical: address & 1 << 2 != 0,
            delivery: (data >> 8 & 7) as u8,
            vector: data as u8,
            level: data & 1 << 15 != 0,
        })
    }
}

/// Memory as a bus master reaches it. It is lent for a call, and never kept.
pub trait DmaMemory {
    /// Fills `bytes` from `address` on.
    fn read(&mut self, address: u64, bytes: &mut [u8]) -> Result<(), IoError>;
    /// Writes `bytes` from `address` on.
    fn write(&mut self, address: u64, bytes: &[u8]) -> Result<(), IoError>;
}

/// A device of the ISA bus that reaches memory by itself.
pub trait Masters {
    /// The device is about to move memory.
    fn wants_memory(&self) -> bool;
    /// Moves memory as the guest has asked.
    fn transfer(&mut self, memory: &mut dyn DmaMemory);
}

/// All-ones in the low `size` bytes: what an access to nothing reads.
#[must_use]
pub fn all_ones(size: u8) -> u64 {
    match size {
        0 => 0,
        1..=7 => (1 << (u32::from(size) * 8)) - 1,
        _ => u64::MAX,
    }
}

/// `bytes` as a number, the first byte lowest.
#[must_use]
pub fn little_endian(bytes: &[u8]) -> u64 {
    bytes.iter().rev().fold(0, |value, &byte| value << 8 | u64::from(byte))
}
