//! A function's configuration space: 256 bytes, each bit of which is read-only or writable.
//!
//! PCI Local Bus Specification 3.0, "Configuration Space Organization". Header type 0; there are no
//! extended capabilities.

use serde::{Deserialize, Serialize};

use crate::device::{IoError, little_endian};

/// Bytes of a configuration space.
const SIZE: usize = 256;
/// Offset of the command register.
const COMMAND: u8 = 0x04;
/// Offset of the status register.
const STATUS: u8 = 0x06;
/// Offset of the capabilities pointer.
const CAPABILITIES: u8 = 0x34;
/// Offset of the interrupt pin register.
const INTERRUPT_PIN: u8 = 0x3d;
/// Where the first capability is put.
const FIRST_CAPABILITY: u8 = 0x40;

/// Command: the function answers in port space.
pub const IO_SPACE: u16 = 1 << 0;
/// Command: the function answers in memory space.
pub const MEMORY_SPACE: u16 = 1 << 1;
/// Command: the function may be a bus master.
pub const BUS_MASTER: u16 = 1 << 2;
/// Command: the function does not assert its INTx.
pub const INTX_DISABLE: u16 = 1 << 10;
/// Status: the function wants to assert its INTx.
const INTERRUPT_STATUS: u16 = 1 << 3;
/// Status: there are capabilities.
const CAPABILITIES_LIST: u16 = 1 << 4;

/// A register: offset, bytes, value at reset, writable bits.
pub type Register = (u8, u8, u32, u32);

/// A configuration space.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ConfigSpace {
    bytes: Vec<u8>,
    writable: Vec<u8>,
}

impl ConfigSpace {
    /// A space that has these registers; everything else reads 0.
    #[must_use]
    pub fn new(registers: &[Register]) -> Self {
        let mut space = Self { bytes: vec![0; SIZE], writable: vec![0; SIZE] };
        registers.iter().for_each(|&register| space.add(register));
        space
    }

    /// Adds a register, or puts it in the place of what was there.
    pub fn add(&mut self, (offset, size, value, writable): Register) {
        let range = usize::from(offset)..usize::from(offset) + usize::from(size);
        self.bytes[range.clone()].copy_from_slice(&value.to_le_bytes()[..size.into()]);
        self.writable[range].copy_from_slice(&writable.to_le_bytes()[..size.into()]);
    }

    /// Adds a capability of `length` bytes (identifier and link included) in front of the others;
    /// returns its offset.
    pub fn add_capability(&mut self, id: u8, length: u8) -> u8 {
        let next = self.byte(CAPABILITIES);
        let at = if next == 0 { FIRST_CAPABILITY } else { next + 0x10 };
        debug_assert!(length <= 0x10 || next == 0, "capabilities are 16 bytes apart");
        self.add((at, 2, u32::from(id) | u32::from(next) << 8, 0));
        self.add((CAPABILITIES, 1, at.into(), 0));
        self.set_word(STATUS, self.word(STATUS) | CAPABILITIES_LIST);
        at
    }

    /// The offset of the capability `id`.
    #[must_use]
    pub fn capability(&self, id: u8) -> Option<u8> {
        let next = |at: u8| Some(at).filter(|&at| at != 0);
        let mut at = next(self.byte(CAPABILITIES));
        while let Some(offset) = at.filter(|&offset| self.byte(offset) != id) {
            at = next(self.byte(offset + 1));
        }
        at
    }

    /// What a guest reads at `register`.
    pub fn read(&self, register: usize, size: u8) -> Result<u64, IoError> {
        let bytes = self.bytes.get(register..register + usize::from(size));
        bytes.map(little_endian).ok_or(IoError::InvalidRegister)
    }

    /// What a guest writes at `register`: the writable bits change.
    pub fn write(&mut self, register: usize, size: u8, value: u64) {
        let fields = self.bytes.iter_mut().zip(&self.writable).skip(register);
        for ((byte, mask), new) in fields.take(size.into()).zip(value.to_le_bytes()) {
            *byte = *byte & !mask | new & mask;
        }
    }

    /// The byte at `offset`.
    #[must_use]
    pub fn byte(&self, offset: u8) -> u8 {
        self.bytes[usize::from(offset)]
    }

    /// The word at `offset`.
    #[must_use]
    pub fn word(&self, offset: u8) -> u16 {
        self.read(offset.into(), 2).unwrap_or(0) as u16
    }

    /// The doubleword at `offset`.
    #[must_use]
    pub fn dword(&self, offset: u8) -> u32 {
        self.read(offset.into(), 4).unwrap_or(0) as u32
    }

    /// The writable bits of the doubleword at `offset`.
    #[must_use]
    pub fn writable_bits(&self, offset: u8) -> u32 {
        let at = usize::from(offset);
        self.writable.get(at..at + 4).map_or(0, |bytes| little_endian(bytes) as u32)
    }

    /// Sets the word at `offset`, read-only or not.
    fn set_word(&mut self, offset: u8, value: u16) {
        let at = usize::from(offset);
        self.bytes[at..at + 2].copy_from_slice(&value.to_le_bytes());
    }

    /// The command register.
    #[must_use]
    pub fn command(&self) -> u16 {
        self.word(COMMAND)
    }

    /// The pin of INTx: 0 is INTA; none if the function has no pin.
    #[must_use]
    pub fn interrupt_pin(&self) -> Option<u8> {
        self.byte(INTERRUPT_PIN).checked_sub(1)
    }

    /// The function may signal by INTx: it is not disabled, and no kind of message is enabled.
    #[must_use]
    pub fn signals_intx(&self) -> bool {
        let messages = self.msi_message().is_some()
            || self.msix_control().is_some_and(|control| control.enabled);
        self.command() & INTX_DISABLE == 0 && !messages
    }

    /// Shows in the status register whether the function wants to assert its INTx.
    pub fn set_interrupt_status(&mut self, asserted: bool) {
        let others = self.word(STATUS) & !INTERRUPT_STATUS;
        self.set_word(STATUS, others | if asserted { INTERRUPT_STATUS } else { 0 });
    }
}
