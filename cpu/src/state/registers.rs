//! General-purpose, segment and table registers.

use serde::{Deserialize, Serialize};

/// Numbers of the general-purpose registers.
pub mod gpr {
    #![expect(missing_docs, reason = "the names are the SDM's")]
    pub const RAX: usize = 0;
    pub const RCX: usize = 1;
    pub const RDX: usize = 2;
    pub const RBX: usize = 3;
    pub const RSP: usize = 4;
    pub const RBP: usize = 5;
    pub const RSI: usize = 6;
    pub const RDI: usize = 7;
    pub const R11: usize = 11;
}

/// Numbers of the segment registers, as the decoder and the VMCS order them.
pub mod seg {
    #![expect(missing_docs, reason = "the names are the SDM's")]
    pub const ES: usize = 0;
    pub const CS: usize = 1;
    pub const SS: usize = 2;
    pub const DS: usize = 3;
    pub const FS: usize = 4;
    pub const GS: usize = 5;
}

/// A segment register with its hidden part. `ar` has the layout of the VMCS access rights: type,
/// S, DPL, P in bits 7:0, AVL, L, D/B, G in bits 15:12, unusable in bit 16.
/// SDM vol. 3, "Guest Register State".
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Segment {
    /// Visible selector.
    pub selector: u16,
    /// Access rights.
    pub ar: u32,
    /// Limit in bytes, scaled by G.
    pub limit: u32,
    /// Base address.
    pub base: u64,
}

/// Bits of [`Segment::ar`].
pub mod ar {
    #![expect(missing_docs, reason = "the names are the SDM's")]
    pub const ACCESSED: u32 = 1;
    /// Writable (data) or readable (code).
    pub const RW: u32 = 2;
    /// Expand-down (data) or conforming (code).
    pub const DC: u32 = 4;
    pub const CODE: u32 = 8;
    pub const S: u32 = 1 << 4;
    pub const DPL_SHIFT: u32 = 5;
    pub const P: u32 = 1 << 7;
    pub const AVL: u32 = 1 << 12;
    pub const L: u32 = 1 << 13;
    pub const DB: u32 = 1 << 14;
    pub const G: u32 = 1 << 15;
    pub const UNUSABLE: u32 = 1 << 16;
}

impl Segment {
    /// Descriptor privilege level.
    pub fn dpl(&self) -> u8 {
        (self.ar >> ar::DPL_SHIFT & 3) as u8
    }

    /// Whether all bits of `mask` are set in the access rights.
    pub fn has(&self, mask: u32) -> bool {
        self.ar & mask == mask
    }

    /// Whether the register holds no usable segment (null selector).
    pub fn unusable(&self) -> bool {
        self.ar & ar::UNUSABLE != 0
    }
}

/// GDTR or IDTR.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct TableRegister {
    /// Linear base.
    pub base: u64,
    /// Limit in bytes.
    pub limit: u16,
}
