//! `grant_table_op`: sharing pages between domains, version 1 entries.

use super::super::Xen;
use super::super::abi::layout::{
    GnttabGetVersion, GnttabMap, GnttabQuerySize, GnttabSetVersion, GnttabSetup, GnttabUnmap,
    GrantEntry, Layout,
};
use super::super::abi::nr::{GrantStatus, domid, gnt as op};
use super::super::abi::{Errno, Width};
use super::super::grant_table::{
    ActiveEntry, ENTRIES_PER_FRAME, MAX_FRAMES, MAX_MAPTRACK, MapTrack,
};
use super::super::host_services::{DomId, GFN_LIMIT, HostServices, Mapping, P2mKind};
use super::{Args, Call, Step};

impl Call<'_> {
    /// `grant_table_op(cmd, list, count)`: every element has its own status.
    pub(super) fn grant_table_op(&mut self, args: Args) -> Result<Step, Errno> {
        let [cmd, list, count, ..] = args;
        let count = u64::from(count as u32);
        match cmd {
            op::MAP_GRANT_REF => self.each::<GnttabMap>(cmd, list, count, Self::map_grant),
            op::UNMAP_GRANT_REF => self.each::<GnttabUnmap>(cmd, list, count, Self::unmap_grant),
            op::COPY => self.each(cmd, list, count, Self::copy_grant),
            op::QUERY_SIZE if count == 1 => self.query_size(list),
            op::SETUP_TABLE if count == 1 => self.setup_table(list),
            op::SET_VERSION if count == 1 => self.set_version(list),
            op::GET_VERSION if count == 1 => self.get_version(list),
            op::QUERY_SIZE | op::SETUP_TABLE | op::SET_VERSION | op::GET_VERSION => {
                Err(Errno::Inval)
            }
            _ => Err(Errno::NoSys),
        }
    }

    /// Applies `f` to each element of a list, as far as the slice allows.
    fn each<T: Layout>(
        &mut self,
        cmd: u64,
        list: u64,
        count: u64,
        f: fn(&mut Self, &mut T),
    ) -> Result<Step, Errno> {
        for index in 0..count {
            let at = self.c.entry::<T>(list, index);
            let mut element: T = self.load(at)?;
            f(self, &mut element);
            self.store(at, &element)?;
            let left = count - index - 1;
            if left > 0 && self.preempted() {
                let next = self.c.entry::<T>(list, index + 1);
                return Ok(Step::Again([cmd, next, left, 0, 0, 0]));
            }
        }
        Ok(Step::Done(0))
    }

    fn map_grant(&mut self, map: &mut GnttabMap) {
        let status = self.try_map(map);
        map.status = status.err().unwrap_or(GrantStatus::Okay) as i16;
    }

    fn try_map(&mut self, map: &mut GnttabMap) -> Result<(), GrantStatus> {
        let readonly = map.flags & op::MAP_READONLY != 0;
        if map.flags & (op::MAP_HOST | op::MAP_CONTAINS_PTE) != op::MAP_HOST
            || map.flags & op::MAP_DEVICE != 0
        {
            // Without an IOMMU there is no device mapping to make.
            return Err(GrantStatus::GeneralError);
        }
        let gfn = map.host_addr >> 12;
        if map.host_addr & 0xFFF != 0 || gfn >= GFN_LIMIT {
            return Err(GrantStatus::BadVirtAddr);
        }
        let (me, dom) = (self.c.dom, DomId(map.dom));
        let mfn = self.xen.take_grant(self.host, me, dom, map.gref, readonly)?;
        let track = MapTrack { dom, gref: map.gref, gfn, mfn, readonly };
        match self.install_grant(track) {
            Ok(handle) => {
                (map.handle, map.dev_bus_addr) = (handle, gfn << 12);
                Ok(())
            }
            Err(status) => {
                self.xen.drop_grant(self.host, (dom, map.gref), mfn, readonly);
                Err(status)
            }
        }
    }

    /// Maps what `track` says, with a reference of its own; the handle.
    fn install_grant(&mut self, track: MapTrack) -> Result<u32, GrantStatus> {
        let MapTrack { gfn, mfn, readonly, .. } = track;
        let me = self.c.dom;
        let domain = self.xen.domain_mut(me).map_err(|_| GrantStatus::GeneralError)?;
        let handle = domain.grants.mapped.insert(Some(track), MAX_MAPTRACK);
        let handle = handle.map_err(|_| GrantStatus::NoSpace)?;
        let kind = if readonly { P2mKind::GrantRo } else { P2mKind::GrantRw };
        self.host.get(mfn);
        if self.xen.install(self.host, me, gfn, Some(Mapping { mfn, kind })).is_err() {
            self.host.put(mfn);
            if let Ok(domain) = self.xen.domain_mut(me) {
                domain.grants.mapped.remove(handle);
            }
            return Err(GrantStatus::GeneralError);
        }
        Ok(handle as u32)
    }

    fn unmap_grant(&mut self, unmap: &mut GnttabUnmap) {
        let status = self.try_unmap(unmap);
        unmap.status = status.err().unwrap_or(GrantStatus::Okay) as i16;
    }

    fn try_unmap(&mut self, unmap: &GnttabUnmap) -> Result<(), GrantStatus> {
        let domain = self.xen.domain(self.c.dom).map_err(|_| GrantStatus::GeneralError)?;
        let track = domain.grants.mapped.get(unmap.handle as usize).copied().flatten();
        let track = track.ok_or(GrantStatus::BadHandle)?;
        if unmap.host_addr != track.gfn << 12 {
            return Err(GrantStatus::BadVirtAddr);
        }
        self.xen.unmap_track(self.host, self.c.dom, unmap.handle);
        Ok(())
    }

    fn query_size(&mut self, arg: u64) -> Result<Step, Errno> {
        let mut query: GnttabQuerySize = self.load(arg)?;
        query.status = match self.target(query.dom) {
            Ok(dom) => {
                query.nr_frames = self.xen.domain(dom)?.grants.frames.len() as u32;
                query.max_nr_frames = self.xen.domain(dom)?.grants.most_frames;
                GrantStatus::Okay
            }
            Err(Errno::Perm) => GrantStatus::PermissionDenied,
            Err(_) => GrantStatus::BadDomain,
        } as i16;
        self.store(arg, &query).map(|()| Step::Done(0))
    }

    /// Grows the table and lists its frames. A translated domain cannot use the numbers (it maps
    /// the frames with `add_to_physmap`), so it gets its own guest frame numbers' place: zeros.
    fn setup_table(&mut self, arg: u64) -> Result<Step, Errno> {
        let mut setup: GnttabSetup = self.load(arg)?;
        let status = match self.target(setup.dom) {
            Ok(_) if setup.nr_frames > MAX_FRAMES => GrantStatus::GeneralError,
            Ok(dom) => {
                let grown = self.xen.grow_grant_table(self.host, dom, setup.nr_frames as usize);
                if grown.is_ok() { GrantStatus::Okay } else { GrantStatus::GeneralError }
            }
            Err(Errno::Perm) => GrantStatus::PermissionDenied,
            Err(_) => GrantStatus::BadDomain,
        };
        if status == GrantStatus::Okay {
            for index in 0..u64::from(setup.nr_frames) {
                let at = setup.frame_list.wrapping_add(index * self.c.long_size() as u64);
                self.c.store_long(self.host, at, 0)?;
            }
        }
        setup.status = status as i16;
        self.store(arg, &setup).map(|()| Step::Done(0))
    }

    fn set_version(&mut self, arg: u64) -> Result<Step, Errno> {
        let mut set: GnttabSetVersion = self.load(arg)?;
        let wanted = core::mem::replace(&mut set.version, 1);
        if wanted == 1 {
            self.store(arg, &set)?;
            return Ok(Step::Done(0));
        }
        Err(if wanted == 2 { Errno::NoSys } else { Errno::Inval })
    }

    fn get_version(&mut self, arg: u64) -> Result<Step, Errno> {
        let mut get: GnttabGetVersion = self.load(arg)?;
        self.target(get.dom)?;
        get.version = 1;
        self.store(arg, &get).map(|()| Step::Done(0))
    }
}

impl Xen {
    /// Makes the domain's own table at least `frames` frames long.
    pub(super) fn grow_grant_table(
        &mut self,
        host: &mut dyn HostServices,
        dom: DomId,
        frames: usize,
    ) -> Result<(), Errno> {
        let domain = self.domain_mut(dom)?;
        if frames > domain.grants.most_frames as usize || domain.dying {
            return Err(Errno::Inval);
        }
        while domain.grants.frames.len() < frames {
            domain.grants.reserve_frame()?;
            domain.grants.frames.push(host.alloc_shared(dom).ok_or(Errno::NoMem)?);
        }
        Ok(())
    }

    /// The place of entry `gref` of the domain's table: (machine frame, offset).
    fn grant_entry(&self, dom: DomId, gref: u32) -> Result<(u64, usize), GrantStatus> {
        let domain = self.domain(dom).map_err(|_| GrantStatus::BadDomain)?;
        let frame = domain.grants.frames.get((gref / ENTRIES_PER_FRAME) as usize);
        let offset = (gref % ENTRIES_PER_FRAME) as usize * GrantEntry::MAX;
        frame.map(|&mfn| (mfn, offset)).ok_or(GrantStatus::BadGntref)
    }

    /// `user` starts to use entry `gref` of `dom`: checks it, marks it in use, and yields the
    /// frame it names with a reference taken, which [`Xen::drop_grant`] gives back.
    pub(super) fn take_grant(
        &mut self,
        host: &mut dyn HostServices,
        user: DomId,
        dom: DomId,
        gref: u32,
        readonly: bool,
    ) -> Result<u64, GrantStatus> {
        if user == dom || dom.0 == domid::SELF {
            // One's own grants need no map; Xen allows it, no guest here asks for it.
            return Err(GrantStatus::BadDomain);
        }
        let (table, offset) = self.grant_entry(dom, gref)?;
        if self.domain(dom).map_or(true, |domain| domain.dying) {
            return Err(GrantStatus::BadDomain);
        }
        let mut raw = [0; GrantEntry::MAX];
        host.read(table, offset, &mut raw);
        let mut entry = GrantEntry::decode(Width::Long, &raw);
        let allowed = entry.flags & op::GTF_TYPE_MASK == op::GTF_PERMIT_ACCESS
            && entry.domid == user.0
            && (readonly || entry.flags & op::GTF_READONLY == 0);
        if !allowed {
            return Err(GrantStatus::BadGntref);
        }
        let domain = self.domain_mut(dom).map_err(|_| GrantStatus::BadDomain)?;
        let active = domain.grants.active.get_mut(gref as usize).ok_or(GrantStatus::BadGntref)?;
        if !active.in_use() {
            *active = ActiveEntry {
                dom: user,
                mfn: grantable(host, dom, entry.frame.into())?,
                ..*active
            };
        } else if active.dom != user {
            return Err(GrantStatus::GeneralError);
        }
        let uses = if readonly { &mut active.readers } else { &mut active.writers };
        *uses = uses.checked_add(1).ok_or(GrantStatus::NoSpace)?;
        let mfn = active.mfn;
        host.get(mfn);
        entry.flags |= op::GTF_READING | if readonly { 0 } else { op::GTF_WRITING };
        host.write(table, offset, &entry.flags.to_le_bytes());
        Ok(mfn)
    }

    /// Ends one use of an entry; the last reader or writer clears its flag.
    pub(super) fn drop_grant(
        &mut self,
        host: &mut dyn HostServices,
        (dom, gref): (DomId, u32),
        mfn: u64,
        readonly: bool,
    ) {
        // The reference is given back even if the granting domain is gone.
        host.put(mfn);
        let place = self.grant_entry(dom, gref);
        let Ok(domain) = self.domain_mut(dom) else { return };
        let Some(active) = domain.grants.active.get_mut(gref as usize) else { return };
        let uses = if readonly { &mut active.readers } else { &mut active.writers };
        *uses = uses.saturating_sub(1);
        let left = *active;
        let Ok((table, offset)) = place else { return };
        let mut raw = [0; 2];
        host.read(table, offset, &mut raw);
        let mut flags = u16::from_le_bytes(raw);
        if left.writers == 0 {
            flags &= !op::GTF_WRITING;
        }
        if !left.in_use() {
            flags &= !op::GTF_READING;
        }
        host.write(table, offset, &flags.to_le_bytes());
    }

    /// Removes the mapping that `handle` names of `dom`; false if there is none.
    fn unmap_track(&mut self, host: &mut dyn HostServices, dom: DomId, handle: u32) -> bool {
        let Ok(domain) = self.domain_mut(dom) else { return false };
        let Some(track) = domain.grants.mapped.remove(handle as usize) else { return false };
        if host.lookup(dom, track.gfn).is_some_and(|map| map.mfn == track.mfn) {
            // A hole needs no memory: this cannot fail.
            let _ = host.set(dom, track.gfn, None);
            host.put(track.mfn);
        }
        self.drop_grant(host, (track.dom, track.gref), track.mfn, track.readonly);
        true
    }

    /// Unmaps everything `dom` has mapped of others; false if the slice has ended before.
    pub(in super::super) fn unmap_all_grants(
        &mut self,
        host: &mut dyn HostServices,
        dom: DomId,
    ) -> bool {
        let handles = self.domain(dom).map_or(0, |domain| domain.grants.mapped.len());
        (0..handles as u32).all(|handle| {
            // What was unmapped before takes no time.
            !self.unmap_track(host, dom, handle) || !self.slice_ended(host)
        })
    }
}

/// The machine frame of a page `dom` may grant: its own RAM, no page of the hypervisor's.
/// DEPARTURE: Xen lets a domain grant its `shared_info` and its grant table as well.
fn grantable(host: &dyn HostServices, dom: DomId, gfn: u64) -> Result<u64, GrantStatus> {
    let map = host.lookup(dom, gfn).filter(|map| matches!(map.kind, P2mKind::Ram | P2mKind::RamRo));
    map.map(|map| map.mfn).filter(|&mfn| host.is_ram(mfn)).ok_or(GrantStatus::BadPage)
}
