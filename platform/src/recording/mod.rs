//! What a run was given, in a directory: enough to run it again, and to check that it is the same.
//!
//! The directory has snapshots, and a file named [`FILE`]:
//!
//! | bytes | content |
//! |---|---|
//! | 0 to 7 | [`MAGIC`] |
//! | 8 to 11 | [`VERSION`] of the format, little-endian |
//! | 12 to 63 | zero |
//! | 64 to 127 | the program that wrote the file, as text, filled up with zeros |
//! | 128 on | frames |
//!
//! A frame is the length of its content (4 bytes, little-endian), the first 8 bytes of the BLAKE3 hash of length and
//! content, and the content: a [`Frame`] in postcard's form. Frames are only ever added. A file that ends in the
//! middle of a frame, because the writer was killed, holds the run up to the frame before.
//!
//! Reading order: `write`, `read`.

mod read;
mod write;

use crate::machine::Input;
use crate::snapshot::Id;
use crate::time::Icount;
pub use read::{Recording, RecordingError};
use serde::{Deserialize, Serialize};
pub use write::Writer;

/// The name of the file with the frames.
pub const FILE: &str = "recording";
/// The first bytes of that file.
pub const MAGIC: [u8; 8] = *b"\x89STRATR\n";
/// The version of the format that this program writes and reads.
pub const VERSION: u32 = 3;

/// Bytes before the first frame.
const HEADER: u64 = 128;
/// Bytes of a frame before its content.
const PREFIX: usize = 12;
/// The most bytes of a frame's content.
const FRAME_MAX: usize = 128 << 20;

/// Something that happened, at a time of the machine.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Frame {
    /// The machine is as in a snapshot. The first frame is one; where the snapshot is full another run begins, as
    /// after a reset. Any other comes after the hash of its state.
    Snapshot {
        /// The machine time.
        at: Icount,
        /// Name of the file, in the directory.
        file: String,
        /// Identity of the snapshot.
        id: Id,
        /// What precedes it is another run.
        begins: bool,
    },
    /// The machine takes an input.
    Input {
        /// The time at which the machine takes the input.
        at: Icount,
        /// What the outside world does.
        input: Input,
    },
    /// The state hash.
    Hash {
        /// The machine time.
        at: Icount,
        /// [`crate::machine::Machine::state_hash`].
        hash: [u8; 32],
    },
    /// The run has ended.
    End {
        /// The machine time.
        at: Icount,
        /// The state hash.
        hash: [u8; 32],
        /// The guest ended it; else the host did, at this time.
        by_guest: bool,
        /// The exit status of the command.
        status: u8,
    },
}

impl Frame {
    /// The machine time of the frame.
    #[must_use]
    pub fn at(&self) -> Icount {
        match self {
            Frame::Snapshot { at, .. }
            | Frame::Input { at, .. }
            | Frame::Hash { at, .. }
            | Frame::End { at, .. } => *at,
        }
    }
}

/// The check value of a frame.
fn check_value(content: &[u8]) -> [u8; 8] {
    let mut hasher = blake3::Hasher::new();
    hasher.update(&(content.len() as u32).to_le_bytes());
    hasher.update(content);
    let mut value = [0; 8];
    value.copy_from_slice(&hasher.finalize().as_bytes()[..8]);
    value
}
