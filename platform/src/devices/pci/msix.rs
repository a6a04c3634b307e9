//! MSI-X: a table of messages in a range of the function's own, each with a mask, and bits for what
//! waits for a mask to go.
//!
//! PCI Local Bus Specification 3.0, "MSI-X Capability and Table Structures".

use serde::{Deserialize, Serialize};

use super::{config::ConfigSpace, msi::Message};
use crate::device::IoError;

/// Identifier of the capability.
const ID: u8 = 0x11;
/// Message control: no vector is signalled, whatever its own mask.
const FUNCTION_MASK: u16 = 1 << 14;
/// Message control: the function signals by messages of this kind.
const ENABLE: u16 = 1 << 15;
/// Vector control of an entry: the vector is masked.
const MASKED: u32 = 1;
/// Words of an entry: address, upper address, data, vector control.
const WORDS: usize = 4;
/// Bytes of an entry.
const ENTRY: u64 = 16;

/// Offset of the pending bits in the range of the table.
pub const PENDING: u64 = 0x800;
/// Bytes of the range.
pub const SIZE: u64 = 0x1000;

/// What the capability says of the function as a whole.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Control {
    /// The function signals by MSI-X.
    pub enabled: bool,
    /// All vectors are masked.
    pub masked: bool,
}

/// The table and the pending bits, of at most 32 vectors.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct MsixTable {
    entries: Vec<[u32; WORDS]>,
    pending: u32,
    /// A mask may have gone since the pending bits were looked at.
    unmasked: bool,
}

impl ConfigSpace {
    /// Adds the capability: `count` vectors, their table at the beginning of the range of `bar`.
    pub fn add_msix(&mut self, count: u16, bar: u8) {
        let at = self.add_capability(ID, 12);
        self.add((at + 2, 2, u32::from(count - 1), (ENABLE | FUNCTION_MASK).into()));
        self.add((at + 4, 4, bar.into(), 0));
        self.add((at + 8, 4, PENDING as u32 | u32::from(bar), 0));
    }

    /// What the capability says; `None` without one.
    #[must_use]
    pub fn msix_control(&self) -> Option<Control> {
        let control = self.word(self.capability(ID)? + 2);
        let set = |bit| control & bit != 0;
        Some(Control { enabled: set(ENABLE), masked: set(FUNCTION_MASK) })
    }
}

impl MsixTable {
    /// A table of `count` vectors, all masked.
    #[must_use]
    pub fn new(count: usize) -> Self {
        Self { entries: vec![[0, 0, 0, MASKED]; count], pending: 0, unmasked: false }
    }

    /// Reads doublewords or quadwords of the range.
    pub fn read(&self, offset: u64, size: u8) -> Result<u64, IoError> {
        let low = self.word(offset & !7)?;
        match (size, offset % 8) {
            (4, 0) => Ok(low.into()),
            (4, _) => self.word(offset).map(u64::from),
            (8, _) => Ok(u64::from(self.word(offset + 4)?) << 32 | u64::from(low)),
            _ => Err(IoError::InvalidAccessSize),
        }
    }

    /// Writes doublewords or quadwords of the table; the pending bits are read-only.
    pub fn write(&mut self, offset: u64, size: u8, value: u64) -> Result<(), IoError> {
        let words: &[(u64, u64)] = match size {
            4 => &[(0, 0)],
            8 => &[(0, 0), (4, 32)],
            _ => return Err(IoError::InvalidAccessSize),
        };
        for (at, shift) in words {
            *self.entry_word(offset + at)? = (value >> shift) as u32;
        }
        self.look_again();
        Ok(())
    }

    fn word(&self, offset: u64) -> Result<u32, IoError> {
        match offset {
            PENDING.. => Ok(if offset == PENDING { self.pending } else { 0 }),
            _ => {
                let entry = self.entries.get((offset / ENTRY) as usize);
                entry
                    .map(|words| words[(offset % ENTRY / 4) as usize])
                    .ok_or(IoError::InvalidRegister)
            }
        }
    }

    fn entry_word(&mut self, offset: u64) -> Result<&mut u32, IoError> {
        let entry = self.entries.get_mut((offset / ENTRY) as usize);
        entry.map(|words| &mut words[(offset % ENTRY / 4) as usize]).ok_or(IoError::InvalidRegister)
    }

    /// A mask may have gone.
    pub fn look_again(&mut self) {
        self.unmasked = self.pending != 0;
    }

    /// There may be something to deliver.
    #[must_use]
    pub fn wants_bus(&self) -> bool {
        self.unmasked
    }

    /// The messages of `vectors`, and of those that waited, whose masks are open now. What is not
    /// enabled signals nothing, and nothing waits.
    pub fn deliver(&mut self, vectors: u32, control: Control) -> Vec<Message> {
        self.unmasked = false;
        if !control.enabled {
            return Vec::new();
        }
        self.pending |= vectors;
        if control.masked {
            return Vec::new();
        }
        let ready = |(vector, words): &(usize, &[u32; WORDS])| {
            self.pending >> vector & 1 != 0 && words[3] & MASKED == 0
        };
        let entries = self.entries.iter().enumerate();
        let ready: Vec<_> = entries.filter(ready).map(|(vector, words)| (vector, *words)).collect();
        let mut messages = Vec::new();
        for (vector, [low, high, data, _]) in ready {
            self.pending &= !(1 << vector);
            messages.push(Message { address: u64::from(high) << 32 | u64::from(low & !3), data });
        }
        messages
    }
}
