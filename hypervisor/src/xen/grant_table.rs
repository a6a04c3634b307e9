//! Grant tables as data: the frames of a domain's own table and what it has mapped of others.

use super::host_services::DomId;
use alloc::{collections::BTreeMap, vec::Vec};

/// The most frames of a domain's table: 64 frames of 512 entries.
pub const MAX_FRAMES: u32 = 64;
/// The most grants a domain may have mapped at a time. Xen's default is far higher; the hypervisor's
/// own memory, which each mapping takes a little of, is not a guest's to use up.
pub const MAX_MAPTRACK: usize = 4096;
/// Version 1 entries in a frame.
pub const ENTRIES_PER_FRAME: u32 = 512;

/// The use that others make of a granted entry.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct ActiveEntry {
    /// The domain that maps the entry.
    pub dom: DomId,
    /// The frame it names, fixed while it is mapped.
    pub mfn: u64,
    /// Mappings and copies that only read.
    pub readers: u32,
    /// Mappings and copies that write.
    pub writers: u32,
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
#[derive(Debug, Clone, Default)]
pub struct GrantTable {
    /// The machine frames of its own table.
    pub frames: Vec<u64>,
    /// The entries that others use, by reference.
    pub active: BTreeMap<u32, ActiveEntry>,
    /// The domain's mappings of others' grants, by handle.
    pub mapped: BTreeMap<u32, MapTrack>,
    /// The next handle to try.
    pub next_handle: u32,
}
