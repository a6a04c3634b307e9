//! The current VMCS, kept in a struct while it is current, and its image in guest memory otherwise.
//!
//! Layout of a VMCS region (ours to choose: SDM vol. 3, "Format of the VMCS Region"): revision
//! identifier (4 bytes), VMX-abort indicator (4), launch state (8: 0 clear, 1 launched), then each
//! field of [`FIELDS`] in 8 bytes.

use super::field::{FIELDS, Field, Width};
use serde::{Deserialize, Serialize};
use std::ops::{Index, IndexMut};

/// The VMCS revision identifier.
pub const REVISION: u32 = 1;
/// Bytes of a VMCS region that are used.
pub const IMAGE: usize = 16 + 8 * FIELDS.len();

/// The number of fields.
const COUNT: usize = FIELDS.len();

/// A VMCS.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Vmcs {
    /// Physical address of its region; all-ones: there is no current VMCS.
    pub address: u64,
    /// Whether it has been launched.
    pub launched: bool,
    #[serde(with = "values")]
    values: [u64; COUNT],
}

/// The values as a sequence: there are more than an array may have for serde.
mod values {
    use super::COUNT;
    use serde::de::Error;
    use serde::{Deserialize, Deserializer, Serialize, Serializer};

    pub(super) fn serialize<S: Serializer>(v: &[u64; COUNT], s: S) -> Result<S::Ok, S::Error> {
        v.as_slice().serialize(s)
    }

    pub(super) fn deserialize<'a, D: Deserializer<'a>>(d: D) -> Result<[u64; COUNT], D::Error> {
        let v = Vec::<u64>::deserialize(d)?;
        v.try_into().map_err(|_| Error::custom("a VMCS of another version"))
    }
}

/// The current-VMCS pointer that means none.
pub const NO_VMCS: u64 = u64::MAX;

impl Default for Vmcs {
    fn default() -> Vmcs {
        Vmcs { address: NO_VMCS, launched: false, values: [0; COUNT] }
    }
}

impl Index<Field> for Vmcs {
    type Output = u64;
    #[inline]
    fn index(&self, f: Field) -> &u64 {
        &self.values[f as usize]
    }
}

impl IndexMut<Field> for Vmcs {
    #[inline]
    fn index_mut(&mut self, f: Field) -> &mut u64 {
        &mut self.values[f as usize]
    }
}

impl Vmcs {
    /// Whether there is one.
    pub fn is_current(&self) -> bool {
        self.address != NO_VMCS
    }

    /// Stores `v` in `f`, cut to the field's width.
    pub fn set(&mut self, f: Field, v: u64) {
        self[f] = match f.width() {
            Width::W16 => v & 0xffff,
            Width::W32 => v & 0xffff_ffff,
            Width::W64 | Width::Natural => v,
        };
    }

    /// A VMCS from the image of its region at `address`. Any bytes are accepted: values are cut to
    /// their fields' widths.
    pub fn from_image(address: u64, image: &[u8; IMAGE]) -> Vmcs {
        let word = |at: usize| {
            let mut b = [0; 8];
            b.copy_from_slice(&image[at..at + 8]);
            u64::from_le_bytes(b)
        };
        let mut vmcs = Vmcs { address, launched: word(8) == 1, ..Vmcs::default() };
        for (i, l) in FIELDS.iter().enumerate() {
            vmcs.set(l.field, word(16 + 8 * i));
        }
        vmcs
    }

    /// The image from byte 8 on: the revision identifier and the abort indicator are not written.
    pub fn image(&self) -> [u8; IMAGE - 8] {
        let mut b = [0; IMAGE - 8];
        b[..8].copy_from_slice(&(self.launched as u64).to_le_bytes());
        for (b, v) in b[8..].chunks_exact_mut(8).zip(&self.values) {
            b.copy_from_slice(&v.to_le_bytes());
        }
        b
    }
}

/// Bytes of the image of a VMCS that is not launched, at offset 8.
pub const CLEAR: [u8; 8] = [0; 8];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_image_gives_the_vmcs_back() {
        let mut v = Vmcs { address: 0x5000, launched: true, ..Vmcs::default() };
        for l in FIELDS {
            v.set(l.field, 0x0123_4567_89ab_cdef ^ l.encoding as u64);
        }
        let mut image = [0; IMAGE];
        image[8..].copy_from_slice(&v.image());
        assert_eq!(Vmcs::from_image(0x5000, &image), v);
        const { assert!(IMAGE <= 4096) };
    }
}
