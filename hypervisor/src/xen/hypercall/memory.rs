//! `memory_op`: a domain's physical memory map.

use super::super::abi::layout::{
    AcquireResource, AddToPhysmap, AddToPhysmapBatch, E820Entry, ForeignMemoryMap, Layout,
    MemoryDomain, MemoryMap, MemoryReservation, PodTarget, RemoveFromPhysmap,
};
use super::super::abi::{Errno, nr::domid, nr::mem as op};
use super::super::grant_table::MAX_FRAMES;
use super::super::host_services::{DomId, GFN_LIMIT, Mapping, P2mKind};
use super::{Args, Call, Step, count};
use alloc::vec::Vec;

/// Bits of the command below the number of extents already done (`MEMOP_EXTENT_SHIFT`).
const EXTENT_SHIFT: u32 = 6;
/// The largest extent a guest may ask for: 2 MiB.
const MAX_ORDER: u32 = 9;
/// `e820` types are copied as they are; entries beyond this many do not exist.
const MAX_MAP: usize = 128;

/// The frames of a device model's server.
const SERVER_FRAMES: u32 = 2;

impl Call<'_> {
    pub(super) fn memory_op(&mut self, args: Args) -> Result<Step, Errno> {
        let [full, arg, ..] = args;
        let (cmd, start) = (full & ((1 << EXTENT_SHIFT) - 1), (full as u32 >> EXTENT_SHIFT).into());
        match cmd {
            op::POPULATE_PHYSMAP | op::DECREASE_RESERVATION => {
                return self.reservation(cmd, start, arg);
            }
            op::ADD_TO_PHYSMAP_BATCH => return self.add_to_physmap_batch(start, arg),
            op::ACQUIRE_RESOURCE => return self.acquire_resource(start, arg),
            _ if start != 0 => return Err(Errno::NoSys),
            op::ADD_TO_PHYSMAP => self.add_to_physmap(arg),
            op::REMOVE_FROM_PHYSMAP => self.remove_from_physmap(arg),
            op::MEMORY_MAP => self.memory_map(arg),
            op::SET_MEMORY_MAP => self.set_memory_map(arg),
            op::MAXIMUM_RAM_PAGE => count(self.host.max_mfn()),
            op::CURRENT_RESERVATION | op::MAXIMUM_RESERVATION | op::MAXIMUM_GPFN => {
                self.reservation_query(cmd, arg)
            }
            op::SET_POD_TARGET | op::GET_POD_TARGET => self.pod_target(arg),
            op::GET_VNUMAINFO => Err(Errno::OpNotSupp),
            op::CLAIM_PAGES => self.claim_pages(arg),
            // No page is ever shared.
            op::GET_SHARING_FREED_PAGES | op::GET_SHARING_SHARED_PAGES => Ok(0),
            _ => Err(Errno::NoSys),
        }
        .map(Step::Done)
    }

    fn add_to_physmap(&mut self, arg: u64) -> super::OpResult {
        let AddToPhysmap { domid, space, idx, gpfn, .. } = self.load(arg)?;
        let dom = self.target(domid)?;
        if space == op::SPACE_GMFN_FOREIGN {
            return Err(Errno::Inval);
        }
        self.place(dom, space, idx, gpfn, domid).map(|()| 0)
    }

    /// Makes frame `idx` of `space` appear at `gfn` of `dom`.
    fn place(
        &mut self,
        dom: DomId,
        space: u32,
        idx: u64,
        gfn: u64,
        foreign: u16,
    ) -> Result<(), Errno> {
        if gfn >= GFN_LIMIT {
            return Err(Errno::Inval);
        }
        let kind = if space == op::SPACE_GMFN_FOREIGN { P2mKind::Foreign } else { P2mKind::Ram };
        let mfn = match space {
            op::SPACE_SHARED_INFO if idx == 0 => self.xen.domain(dom)?.shared_info,
            op::SPACE_GRANT_TABLE => self.grant_frame(dom, idx)?,
            op::SPACE_GMFN => return self.move_frame(dom, idx, gfn),
            op::SPACE_GMFN_FOREIGN => self.foreign_frame(dom, foreign, idx)?,
            _ => return Err(Errno::Inval),
        };
        self.host.get(mfn);
        let done = self.xen.install(self.host, dom, gfn, Some(Mapping { mfn, kind }));
        if done.is_err() {
            self.host.put(mfn);
        } else if space == op::SPACE_SHARED_INFO {
            self.moved_shared_info(dom, gfn);
            if self.xen.pc(dom).is_some() {
                // hvmloader has cleared it before it goes.
                self.xen.write_clock(self.host, dom);
            }
        }
        done
    }

    /// `shared_info` appears in one place: the earlier one becomes a hole.
    fn moved_shared_info(&mut self, dom: DomId, gfn: u64) {
        let Ok(domain) = self.xen.domain_mut(dom) else { return };
        let old = core::mem::replace(&mut domain.shared_info_gfn, gfn);
        let shared = domain.shared_info;
        if old != gfn && self.host.lookup(dom, old).is_some_and(|map| map.mfn == shared) {
            // The hole needs no memory, so this cannot fail; if it did, two views are harmless.
            let _ = self.xen.install(self.host, dom, old, None);
        }
    }

    /// A frame of the domain's grant table; the table grows up to the frame asked for.
    fn grant_frame(&mut self, dom: DomId, idx: u64) -> Result<u64, Errno> {
        if idx & op::GRANT_TABLE_STATUS != 0 || idx >= u64::from(MAX_FRAMES) {
            return Err(Errno::Inval);
        }
        self.xen.grow_grant_table(self.host, dom, idx as usize + 1)?;
        Ok(self.xen.domain(dom)?.grants.frames[idx as usize])
    }

    /// Another domain's RAM page, for dom0.
    fn foreign_frame(&mut self, dom: DomId, foreign: u16, gfn: u64) -> Result<u64, Errno> {
        self.privileged()?;
        let foreign = DomId(foreign);
        if foreign == dom || foreign.0 == domid::SELF {
            return Err(Errno::Inval);
        }
        let domain = self.xen.domain(foreign)?;
        if domain.dying {
            return Err(Errno::Inval);
        }
        let map = self.host.lookup(foreign, gfn).filter(|map| map.kind.is_own());
        map.map(|map| map.mfn).ok_or(Errno::Inval)
    }

    /// `XENMAPSPACE_gmfn`: moves a page within the domain.
    pub(super) fn move_frame(&mut self, dom: DomId, from: u64, to: u64) -> Result<(), Errno> {
        let map = self.host.lookup(dom, from).filter(|map| map.kind.is_own());
        let map = map.ok_or(Errno::Inval)?;
        if from == to {
            return Ok(());
        }
        // What may take a table comes first: once the page stands in two places with one reference,
        // nothing may fail.
        self.host.set(dom, from, Some(map))?;
        self.xen.install(self.host, dom, to, Some(map))?;
        // The reference moves with the page, so the old place is cleared without a release.
        self.host.set(dom, from, None)
    }

    fn add_to_physmap_batch(&mut self, start: u64, arg: u64) -> Result<Step, Errno> {
        let batch: AddToPhysmapBatch = self.load(arg)?;
        let AddToPhysmapBatch { domid, space, size, foreign_domid, idxs, gpfns, errs } = batch;
        let dom = self.target(domid)?;
        let (c, long) = (self.c, self.c.long_size() as u64);
        let size = u64::from(size);
        for index in start..size {
            let idx = c.load_long(self.host, idxs.wrapping_add(index * long))?;
            let gpfn = c.load_long(self.host, gpfns.wrapping_add(index * long))?;
            let done = self.place(dom, space.into(), idx, gpfn, foreign_domid);
            let code = done.err().map_or(0, Errno::result) as i32;
            c.write(self.host, errs.wrapping_add(index * 4), &code.to_le_bytes())?;
            if index + 1 < size && self.preempted() {
                return Ok(Step::Again(rest(op::ADD_TO_PHYSMAP_BATCH, index + 1, arg)));
            }
        }
        Ok(Step::Done(0))
    }

    fn remove_from_physmap(&mut self, arg: u64) -> super::OpResult {
        let RemoveFromPhysmap { domid, gpfn } = self.load(arg)?;
        let dom = self.target(domid)?;
        let map = self.host.lookup(dom, gpfn).ok_or(Errno::Inval)?;
        if !map.kind.holds_reference() {
            return Err(Errno::Inval);
        }
        self.xen.install(self.host, dom, gpfn, None).map(|()| 0)
    }

    fn memory_map(&mut self, arg: u64) -> super::OpResult {
        let mut map: MemoryMap = self.load(arg)?;
        let entries = self.xen.domain(self.c.dom)?.memory_map.clone();
        if entries.is_empty() {
            return Err(Errno::NoSys);
        }
        if map.nr_entries as usize > entries.len() || map.nr_entries as usize > MAX_MAP {
            map.nr_entries = entries.len() as u32;
        }
        for (index, entry) in entries.iter().take(map.nr_entries as usize).enumerate() {
            let at = self.c.entry::<E820Entry>(map.buffer, index as u64);
            let mut raw = [0; E820Entry::MAX];
            entry.encode(self.c.width, &mut raw);
            self.c.write(self.host, at, &raw)?;
        }
        self.store(arg, &map).map(|()| 0)
    }

    fn reservation_query(&mut self, cmd: u64, arg: u64) -> super::OpResult {
        let MemoryDomain { domid } = self.load(arg)?;
        let dom = self.target(domid)?;
        let domain = self.xen.domain(dom)?;
        match cmd {
            op::CURRENT_RESERVATION => count(self.host.pages(dom)),
            op::MAXIMUM_RESERVATION => count(domain.max_pages),
            _ => count(domain.max_gfn),
        }
    }

    /// Nothing is populated on demand: the target is what there is.
    fn pod_target(&mut self, arg: u64) -> super::OpResult {
        self.privileged()?;
        let mut target: PodTarget = self.load(arg)?;
        let dom = self.target(target.domid)?;
        target.tot_pages = self.host.pages(dom);
        (target.pod_cache_pages, target.pod_entries) = (0, 0);
        self.store(arg, &target).map(|()| 0)
    }

    /// The answer to `memory_map` for another domain.
    fn set_memory_map(&mut self, arg: u64) -> super::OpResult {
        let ForeignMemoryMap { domid, nr_entries, buffer } = self.load(arg)?;
        if nr_entries as usize > MAX_MAP {
            return Err(Errno::Inval);
        }
        let dom = self.target(domid)?;
        self.privileged()?;
        let mut map = Vec::new();
        map.try_reserve_exact(nr_entries as usize).map_err(|_| Errno::NoMem)?;
        for index in 0..u64::from(nr_entries) {
            map.push(self.load(self.c.entry::<E820Entry>(buffer, index))?);
        }
        self.xen.domain_mut(dom)?.memory_map = map;
        Ok(0)
    }

    /// Maps frames that the hypervisor has for another domain: those of the grant table. Without a
    /// list the answer is how many there may be.
    fn acquire_resource(&mut self, start: u64, arg: u64) -> Result<Step, Errno> {
        let mut r: AcquireResource = self.load(arg)?;
        let end = r.frame.checked_add(r.nr_frames.into()).filter(|end| end >> 32 == 0);
        if r.pad != 0 || end.is_none() {
            return Err(Errno::Inval);
        }
        if r.domid == domid::SELF || DomId(r.domid) == self.c.dom {
            return Err(Errno::Perm);
        }
        let dom = self.target(r.domid)?;
        let of_table =
            (r.kind, r.id) == (op::RESOURCE_GRANT_TABLE, op::RESOURCE_GRANT_TABLE_SHARED);
        if !of_table && r.kind != op::RESOURCE_IOREQ_SERVER {
            return Err(Errno::Inval);
        }
        if r.frame_list == 0 {
            if r.nr_frames != 0 || start != 0 {
                return Err(Errno::Inval);
            }
            let table = self.xen.domain(dom)?.grants.most_frames;
            r.nr_frames = if of_table { table } else { SERVER_FRAMES };
            return self.store(arg, &r).map(|()| Step::Done(0));
        }
        if start >= u64::from(r.nr_frames) || r.nr_frames > u32::MAX >> EXTENT_SHIFT {
            return Err(Errno::Inval);
        }
        for index in start..r.nr_frames.into() {
            let at = r.frame_list.wrapping_add(index * self.c.long_size() as u64);
            let gfn = self.c.load_long(self.host, at)?;
            let mfn = match r.kind {
                op::RESOURCE_GRANT_TABLE => self.grant_frame(dom, r.frame + index)?,
                _ => self.server_frame(dom, r.id, r.frame + index)?,
            };
            self.map_foreign(gfn, mfn)?;
            if index + 1 < r.nr_frames.into() && self.preempted() {
                return Ok(Step::Again(rest(op::ACQUIRE_RESOURCE, index + 1, arg)));
            }
        }
        Ok(Step::Done(0))
    }

    /// A frame of a device model's server: 0 is that of buffered requests, 1 of those that are answered.
    fn server_frame(&self, dom: DomId, id: u32, frame: u64) -> Result<u64, Errno> {
        let pc = self.xen.pc(dom).ok_or(Errno::Inval)?;
        let found = pc.servers.iter().find(|server| u32::from(server.id) == id);
        let server = found.ok_or(Errno::Inval)?;
        if server.owner != self.c.dom {
            return Err(Errno::Perm);
        }
        match frame {
            0 => server.buffered.map(|ring| ring.page).ok_or(Errno::NoEnt),
            1 => Ok(server.page),
            _ => Err(Errno::Inval),
        }
    }

    /// Has frame `gfn` of the caller lead to another domain's frame.
    fn map_foreign(&mut self, gfn: u64, mfn: u64) -> Result<(), Errno> {
        let mapping = Some(Mapping { mfn, kind: P2mKind::Foreign });
        self.host.get(mfn);
        let done = self.xen.install(self.host, self.c.dom, gfn, mapping);
        if done.is_err() {
            self.host.put(mfn);
        }
        done
    }

    /// `populate_physmap` and `decrease_reservation`: extents, as far as the slice allows. The result
    /// is how many extents were done, at the first failure too.
    fn reservation(&mut self, cmd: u64, start: u64, arg: u64) -> Result<Step, Errno> {
        let r: MemoryReservation = self.load(arg)?;
        let Ok(dom) = self.target(r.domid) else { return Ok(Step::Done(start as i64)) };
        if start > r.nr_extents || r.nr_extents > 1 << 26 || r.extent_order > MAX_ORDER {
            return Ok(Step::Done(start as i64));
        }
        #[cfg(feature = "planted")]
        let start = if start > 0 { planted::come() } else { start };
        for index in start..r.nr_extents {
            let at = r.extent_start.wrapping_add(index * self.c.long_size() as u64);
            let Ok(gfn) = self.c.load_long(self.host, at) else {
                return Ok(Step::Done(index as i64));
            };
            let done = match cmd {
                op::POPULATE_PHYSMAP => self.populate_extent(dom, gfn, r.extent_order),
                _ => self.free_extent(dom, gfn, r.extent_order),
            };
            if done.is_err() {
                return Ok(Step::Done(index as i64));
            }
            if index + 1 < r.nr_extents && self.preempted() {
                #[cfg(feature = "planted")]
                planted::keep(index + 1);
                return Ok(Step::Again(rest(cmd, index + 1, arg)));
            }
        }
        Ok(Step::Done(r.nr_extents as i64))
    }

    fn populate_extent(&mut self, dom: DomId, gfn: u64, order: u32) -> Result<(), Errno> {
        let frames = extent(gfn, order)?;
        let domain = self.xen.domain(dom)?;
        let room = domain.max_pages.saturating_sub(self.host.pages(dom));
        let count = frames.end - frames.start;
        if room < count || domain.dying || self.unclaimed(dom)? < count {
            return Err(Errno::NoMem);
        }
        if order == MAX_ORDER && frames.clone().all(|gfn| self.host.lookup(dom, gfn).is_none()) {
            let end = frames.end - 1;
            self.host.populate(dom, frames.start, 1 << order)?;
            let domain = self.xen.domain_mut(dom)?;
            domain.max_gfn = domain.max_gfn.max(end);
            return Ok(());
        }
        for gfn in frames {
            let mfn = self.host.alloc(dom).ok_or(Errno::NoMem)?;
            let mapping = Some(Mapping { mfn, kind: P2mKind::Ram });
            if let Err(error) = self.xen.install(self.host, dom, gfn, mapping) {
                self.host.put(mfn);
                return Err(error);
            }
        }
        Ok(())
    }

    fn free_extent(&mut self, dom: DomId, gfn: u64, order: u32) -> Result<(), Errno> {
        for gfn in extent(gfn, order)? {
            let map = self.host.lookup(dom, gfn).filter(|map| map.kind.is_own());
            map.ok_or(Errno::Inval)?;
            self.xen.install(self.host, dom, gfn, None)?;
        }
        Ok(())
    }
}

/// The arguments by which a list of extents goes on at `next`.
fn rest(cmd: u64, next: u64, arg: u64) -> Args {
    [cmd | next << EXTENT_SHIFT, arg, 0, 0, 0, 0]
}

fn extent(gfn: u64, order: u32) -> Result<core::ops::Range<u64>, Errno> {
    let end = gfn.checked_add(1 << order).filter(|&end| end <= GFN_LIMIT);
    end.map(|end| gfn..end).ok_or(Errno::Inval)
}

/// A fault for `strata explore` to find, in builds for its test only: how far a list has come when its caller's slice
/// ends is kept once for all callers.
#[cfg(feature = "planted")]
mod planted {
    use core::sync::atomic::{AtomicU64, Ordering};

    static COME: AtomicU64 = AtomicU64::new(0);

    pub(super) fn keep(index: u64) {
        COME.store(index, Ordering::Relaxed);
    }

    pub(super) fn come() -> u64 {
        COME.load(Ordering::Relaxed)
    }
}
