//! How long instructions and blocks are.

/// Longest block in instructions.
pub const MAX_BLOCK: usize = 64;
/// Longest instruction in bytes.
pub const MAX_LEN: usize = 15;
