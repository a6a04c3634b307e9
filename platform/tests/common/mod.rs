//! What several test programs use: guest memory (bytes where something was written, zero elsewhere),
//! and small guests.
#![allow(dead_code, reason = "each test program uses its part")]

pub(crate) mod guest;
pub(crate) mod turns;

use std::collections::BTreeMap;

use platform::boot::{GuestMemory, MemoryError};

/// Sparse memory of a given size below 4 GiB.
pub(crate) struct Memory {
    pub(crate) size: u64,
    pub(crate) writes: BTreeMap<u64, Vec<u8>>,
}

impl Memory {
    pub(crate) fn new(size: u64) -> Self {
        Self { size, writes: BTreeMap::new() }
    }

    /// `length` bytes at `address`.
    pub(crate) fn read(&self, address: u64, length: usize) -> Vec<u8> {
        let mut bytes = vec![0; length];
        for (&base, written) in &self.writes {
            for (at, &byte) in (base..).zip(written) {
                if let Some(index) = at.checked_sub(address).filter(|&i| i < length as u64) {
                    bytes[index as usize] = byte;
                }
            }
        }
        bytes
    }

    pub(crate) fn u32(&self, address: u64) -> u32 {
        u32::from_le_bytes(self.read(address, 4).try_into().unwrap())
    }

    pub(crate) fn u64(&self, address: u64) -> u64 {
        u64::from_le_bytes(self.read(address, 8).try_into().unwrap())
    }

    /// The zero-terminated text at `address`.
    pub(crate) fn text(&self, address: u64) -> String {
        let bytes = self.read(address, 4096);
        let end = bytes.iter().position(|&byte| byte == 0).unwrap();
        String::from_utf8(bytes[..end].to_vec()).unwrap()
    }
}

impl GuestMemory for Memory {
    fn write(&mut self, address: u64, bytes: &[u8]) -> Result<(), MemoryError> {
        let length = bytes.len() as u64;
        let end = address.checked_add(length).ok_or(MemoryError { address, length })?;
        if end > self.size {
            return Err(MemoryError { address, length });
        }
        // A later write over an earlier one keeps the order by splitting nothing: tests never do it,
        // except for whole areas at the same address.
        self.writes.insert(address, bytes.to_vec());
        Ok(())
    }
}
