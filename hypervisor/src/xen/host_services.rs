//! The services that the ABI logic asks of the layer below: frames, and each domain's
//! second-level table.

use super::abi::Errno;
use alloc::vec::Vec;

/// A domain's number.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct DomId(pub u16);

impl DomId {
    /// The owner of frames that belong to no domain: the hypervisor itself.
    pub const XEN: Self = Self(super::abi::nr::domid::XEN);
}

/// The bytes in a page.
pub const PAGE_SIZE: usize = 4096;

/// The type of a guest frame, which decides its rights.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum P2mKind {
    /// The domain's own memory: read, write, execute.
    Ram,
    /// The domain's own memory, writes dropped.
    RamRo,
    /// A device's memory, passed through (dom0 only): no reference is held.
    MmioDirect,
    /// Another domain's page by grant, writable.
    GrantRw,
    /// Another domain's page by grant, read-only.
    GrantRo,
    /// Another domain's page mapped by its guest frame number (dom0 only).
    Foreign,
}

impl P2mKind {
    /// True for the domain's own memory.
    pub fn is_own(self) -> bool {
        matches!(self, Self::Ram | Self::RamRo)
    }

    /// True if the guest may write through this mapping.
    pub fn writable(self) -> bool {
        !matches!(self, Self::RamRo | Self::GrantRo)
    }

    /// True if the mapping holds a reference on a frame that the frame table knows.
    pub fn holds_reference(self) -> bool {
        self != Self::MmioDirect
    }
}

/// One entry of a domain's second-level table.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Mapping {
    /// The machine frame.
    pub mfn: u64,
    /// The type of the mapping.
    pub kind: P2mKind,
}

/// Machine memory and the domains' second-level tables.
///
/// The implementer keeps no reference counts on behalf of mappings: the callers in this module
/// pair every [`HostServices::get`] with a [`HostServices::put`].
pub trait HostServices {
    /// Reads from a frame; `offset + buf.len()` is at most a page.
    fn read(&self, mfn: u64, offset: usize, buf: &mut [u8]);
    /// Writes to a frame; `offset + data.len()` is at most a page.
    fn write(&mut self, mfn: u64, offset: usize, data: &[u8]);
    /// A zeroed frame with one reference for the RAM of `owner`, against whom it counts; `None`
    /// when memory is exhausted.
    fn alloc(&mut self, owner: DomId) -> Option<u64>;
    /// A zeroed frame with one reference that the hypervisor shares with `owner`, and that does not
    /// count; `None` when memory is exhausted.
    fn alloc_shared(&mut self, owner: DomId) -> Option<u64>;
    /// Takes a reference on an allocated frame.
    fn get(&mut self, mfn: u64);
    /// Drops a reference; the last one frees the frame.
    fn put(&mut self, mfn: u64);
    /// The owner of an allocated frame.
    fn owner(&self, mfn: u64) -> Option<DomId>;
    /// True for a frame of a domain's RAM, false for one of the hypervisor's.
    fn is_ram(&self, mfn: u64) -> bool;
    /// The frames of RAM that count against `owner`: those it has and those it has given up while
    /// others still use them.
    fn pages(&self, owner: DomId) -> u64;
    /// The mapping of `gfn` of `dom`.
    fn lookup(&self, dom: DomId, gfn: u64) -> Option<Mapping>;
    /// Replaces what `gfn` of `dom` maps to and makes the change visible to the domain.
    /// [`Errno::NoMem`] if there is no memory for a table that the change takes.
    fn set(&mut self, dom: DomId, gfn: u64, mapping: Option<Mapping>) -> Result<(), Errno>;
    /// Gives the new domain `dom` empty tables, and sets frames aside for what the hypervisor holds
    /// for the domain and its `vcpus`. [`Errno::NoMem`] if there are none.
    fn create(&mut self, dom: DomId, vcpus: u32) -> Result<(), Errno>;
    /// Takes back what [`HostServices::create`] gave.
    fn remove(&mut self, dom: DomId);
    /// Allows `dom` the tables that map `pages` one by one, and a few for scattered mappings.
    fn limit_tables(&mut self, dom: DomId, pages: u64);
    /// Maps `count` fresh zeroed frames from `gfn` on as RAM of `dom`; implementers may use large
    /// pages. On error some of them may be mapped.
    fn populate(&mut self, dom: DomId, gfn: u64, count: u64) -> Result<(), Errno> {
        for gfn in gfn..gfn.saturating_add(count).min(GFN_LIMIT) {
            let mfn = self.alloc(dom).ok_or(Errno::NoMem)?;
            let mapping = Some(Mapping { mfn, kind: P2mKind::Ram });
            if let Err(error) = self.set(dom, gfn, mapping) {
                self.put(mfn);
                return Err(error);
            }
        }
        Ok(())
    }
    /// Unmaps the first 2 MiB of `dom` from frame `from` on that have any mapping: adds what was
    /// mapped to `gone`, with the references it held. The frame after them; `None` if nothing is
    /// mapped from there on.
    fn unmap_next(&mut self, dom: DomId, from: u64, gone: &mut Vec<Mapping>) -> Option<u64>;
    /// Writes down from now on which frames of `dom` are stored to, or no more. [`Errno::NoMem`] if there is no
    /// memory for that.
    fn log_dirty(&mut self, dom: DomId, on: bool) -> Result<(), Errno>;
    /// A bit for each of [`BLOCK`] frames of `dom` from `gfn` on, a multiple of that: it may have been stored to since
    /// it was last clean, or others can store to it. With `clean` they are clean from now on.
    fn dirty_block(&mut self, dom: DomId, gfn: u64, clean: bool) -> [u8; BLOCK as usize / 8];
    /// The time-stamp counter now.
    fn tsc(&self) -> u64;
    /// Free frames that are not set aside for domains that exist.
    fn free_pages(&self) -> u64;
    /// All frames of RAM the hypervisor manages.
    fn total_pages(&self) -> u64;
    /// The highest machine frame number of RAM.
    fn max_mfn(&self) -> u64;
}

/// Frames of which [`HostServices::dirty_block`] tells.
pub const BLOCK: u64 = 512;

/// The first guest frame number that no guest may name: 2^40 bytes of guest-physical space.
pub const GFN_LIMIT: u64 = 1 << 28;
