//! A machine in a file.
//!
//! | bytes | content |
//! |---|---|
//! | 0 to 7 | [`MAGIC`] |
//! | 8 to 11 | [`VERSION`] of the format, little-endian |
//! | 12 to 15 | zero |
//! | 16 to 23 | length of the metadata |
//! | 24 to 55 | BLAKE3 hash of bytes 16 to 23 and the metadata: the [`Id`] of the snapshot |
//! | 56 to 63 | zero |
//! | 64 to 127 | the program that wrote the file, as text, filled up with zeros |
//! | 128 on | the metadata in postcard's form, compressed by zstd |
//! | from the next multiple of 4096 on | memory, page after page; the file has holes for pages that it does not list |
//!
//! A full snapshot lists the pages that are not all zero. An incremental one has a parent, and lists the pages
//! that have changed since.
//!
//! Reading order: `write`, `lineage` (which increments follow which), `read`.

mod lineage;
mod read;
mod write;

use crate::machine::Saved;
use crate::machine::pages::PageHash;
pub use lineage::Lineage;
pub use read::{Snapshot, SnapshotError, load, restore};
use serde::{Deserialize, Serialize};
pub use write::write;

/// How a snapshot begins.
pub const MAGIC: [u8; 8] = *b"\x89STRATA\n";
/// The version of the format that this program writes and reads.
pub const VERSION: u32 = 3;
/// The program, by the name that it writes into files.
pub const PROGRAM: &str = concat!("strata ", env!("CARGO_PKG_VERSION"));

/// The identity of a snapshot: a hash of all its content.
pub type Id = [u8; 32];

/// Where the metadata begins.
const METADATA: u64 = 128;
/// The most bytes of metadata, packed or unpacked: what 200 GiB of memory in use take.
const METADATA_MAX: u64 = 1 << 30;
/// Bytes of a page.
const PAGE: u64 = 4096;

/// The snapshot that another one is an increment to.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Parent {
    /// Name of its file, in the same directory.
    pub file: String,
    /// Identity of the snapshot.
    pub id: Id,
}

/// All of a snapshot but the pages' contents.
#[derive(Clone, Debug, Serialize, Deserialize)]
struct Metadata {
    parent: Option<Parent>,
    saved: Saved,
    /// The pages in the file, in ascending order, with their hashes.
    pages: Vec<(u32, PageHash)>,
}

/// The identity of a snapshot with this metadata.
fn id_of(metadata: &[u8]) -> Id {
    let mut hasher = blake3::Hasher::new();
    hasher.update(&(metadata.len() as u64).to_le_bytes());
    hasher.update(metadata);
    hasher.finalize().into()
}

/// Where memory begins in a file whose metadata has `length` bytes.
fn memory_offset(length: u64) -> u64 {
    METADATA.saturating_add(length).next_multiple_of(PAGE)
}
