//! Bytes of the fuzzer as choices, one after another; where they end, all choices are the first.

/// An input of the fuzzer.
pub(super) struct Input<'a>(&'a [u8]);

impl<'a> Input<'a> {
    /// Any bytes are an input.
    pub(super) fn new(bytes: &'a [u8]) -> Self {
        Self(bytes)
    }

    /// True when the bytes are used up.
    pub(super) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The next byte.
    pub(super) fn byte(&mut self) -> u8 {
        match self.0.split_first() {
            Some((&byte, rest)) => {
                self.0 = rest;
                byte
            }
            None => 0,
        }
    }

    /// A number below `n`, which is at most 256.
    pub(super) fn below(&mut self, n: u64) -> u64 {
        u64::from(self.byte()) % n
    }

    /// True once in `n` times.
    pub(super) fn once_in(&mut self, n: u64) -> bool {
        self.below(n) == n - 1
    }

    /// One of `all`.
    pub(super) fn pick<T: Copy>(&mut self, all: &[T]) -> T {
        all[usize::from(self.byte()) % all.len()]
    }

    /// Four bytes.
    pub(super) fn word(&mut self) -> u32 {
        u32::from_le_bytes([self.byte(), self.byte(), self.byte(), self.byte()])
    }
}
