//! Message-signalled interrupts: a doubleword, which the guest chooses, is written to an address,
//! which the guest chooses.
//!
//! PCI Local Bus Specification 3.0, "MSI Capability Structure". Without masks for single vectors.

use super::config::ConfigSpace;

/// Identifier of the capability.
const ID: u8 = 0x05;
/// Message control: the function signals by messages.
const ENABLE: u16 = 1 << 0;
/// Message control: there is a 64-bit address.
const WIDE: u16 = 1 << 7;

/// A message: where the doubleword is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Message {
    /// Address of the doubleword.
    pub address: u64,
    /// The doubleword itself.
    pub data: u32,
}

impl ConfigSpace {
    /// Adds the capability: one vector, 64-bit address.
    pub fn add_msi(&mut self) {
        let at = self.add_capability(ID, 14);
        self.add((at + 2, 2, WIDE.into(), ENABLE.into()));
        self.add((at + 4, 4, 0, !3));
        self.add((at + 8, 4, 0, u32::MAX));
        self.add((at + 12, 2, 0, 0xffff));
    }

    /// The message of the one vector, if the function signals by messages of this kind.
    #[must_use]
    pub fn msi_message(&self) -> Option<Message> {
        let at = self.capability(ID)?;
        let address = u64::from(self.dword(at + 8)) << 32 | u64::from(self.dword(at + 4));
        let message = Message { address, data: self.word(at + 12).into() };
        (self.word(at + 2) & ENABLE != 0).then_some(message)
    }
}
