//! What the hypervisor has said: the last of it, for `xl dmesg`.

use alloc::collections::VecDeque;

/// Bytes that are kept.
const SIZE: usize = 16 << 10;

/// The last bytes of the console's lines, by their number since the start.
#[derive(Debug, Clone, Default)]
pub struct Log {
    bytes: VecDeque<u8>,
    /// The number of the byte after the last, which wraps.
    end: u32,
}

impl Log {
    /// Adds a line.
    pub fn push(&mut self, line: &str) {
        for byte in line.bytes().chain([b'\n']) {
            if self.bytes.len() == SIZE {
                self.bytes.pop_front();
            }
            self.bytes.push_back(byte);
            self.end = self.end.wrapping_add(1);
        }
    }

    /// The bytes from number `from` on, or from the first that is kept.
    pub fn after(&self, from: u32) -> impl Iterator<Item = u8> {
        let ahead = self.end.wrapping_sub(from) as usize;
        let skipped = self.bytes.len() - ahead.min(self.bytes.len());
        self.bytes.iter().skip(skipped).copied()
    }

    /// The number of the first byte that is kept.
    pub fn start(&self) -> u32 {
        self.end.wrapping_sub(self.bytes.len() as u32)
    }

    /// The number of the byte to come.
    pub fn end(&self) -> u32 {
        self.end
    }

    /// Forgets all lines, and keeps the numbers.
    pub fn clear(&mut self) {
        self.bytes.clear();
    }
}
