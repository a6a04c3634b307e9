//! Grant tables as data: the frames of a domain's own table and what it has mapped of others.

use super::abi::Errno;
use super::host_services::DomId;
use super::table::Table;
use alloc::vec::Vec;

/// The most frames of a domain's table: 64 frames of 512 entries.
pub const MAX_FRAMES: u32 = 64;
/// The most grants a domain may have mapped at a time. Xen's default is far higher; the hypervisor's
/// own memory, which each mapping takes a little of, is not a guest's to use up.
pub const MAX_MAPTRACK: usize = 4096;
/// The most frames of Xen's table of those mappings that tools may ask for: Xen's own default.
pub const MAX_MAPTRACK_FRAMES: u32 = 1024;
/// Version 1 entries in a frame.
pub const ENTRIES_PER_FRAME: u32 = 512;

/// The use that others make of a granted entry; none has neither readers nor writers.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct ActiveEntry {
    /// The frame it names, fixed while it is mapped.
    pub mfn: u64,
    /// The domain that maps the entry.
    pub dom: DomId,
    /// Mappings and copies that only read.
    pub readers: u16,
    /// Mappings and copies that write.
    pub writers: u16,
}

impl ActiveEntry {
    /// True while somebody maps or copies the entry.
    pub fn in_use(&self) -> bool {
        self.readers != 0 || self.writers != 0
    }
}

/// One mapping of another domain's grant.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct MapTrack {
    /// The granting domain.
    pub dom: DomId,
    /// The reference in the granting domain's table.
    pub gref: u32,
    /// The mapper's guest frame.
    pub gfn: u64,
    /// The machine frame.
    pub mfn: u64,
    /// Mapped read-only.
    pub readonly: bool,
}

/// A domain's grants in both directions.
#[derive(Debug, Clone)]
pub struct GrantTable {
    /// The machine frames of its own table, at most [`GrantTable::most_frames`].
    pub frames: Vec<u64>,
    /// The most frames it may have, at most [`MAX_FRAMES`].
    pub most_frames: u32,
    /// The use of each entry by others, by reference: as long as the table.
    pub active: Table<ActiveEntry>,
    /// The domain's mappings of others' grants, by handle, at most [`MAX_MAPTRACK`].
    pub mapped: Table<Option<MapTrack>>,
}

impl Default for GrantTable {
    fn default() -> Self {
        Self {
            frames: Vec::new(),
            most_frames: MAX_FRAMES,
            active: Table::new(0),
            mapped: Table::new(0),
        }
    }
}

impl GrantTable {
    /// Makes room for one more frame, of which nobody uses an entry yet.
    pub fn reserve_frame(&mut self) -> Result<(), Errno> {
        self.frames.try_reserve(1).map_err(|_| Errno::NoMem)?;
        self.active.grow((self.frames.len() + 1) * ENTRIES_PER_FRAME as usize)
    }
}
