//! The machine's memory as the ABI logic needs it: frames with owners, one EPT per domain.

pub mod stand_in;

use crate::dirty_log::DirtyLog;
use crate::ept::{Ept, NoMemory};
use crate::p2m::{leaf_of, mapping_of};
use crate::phys::Physical;
use crate::xen::abi::Errno;
use crate::xen::frames::{FrameKind, FrameTable};
use crate::xen::grant_table::MAX_FRAMES;
use crate::xen::host_services::{BLOCK, DomId, HostServices, Mapping, P2mKind};
use crate::xen::pc::io_server;
use alloc::collections::BTreeMap;
use alloc::vec::Vec;

/// Frames of a 2-MiB page.
const LARGE: u64 = 512;

/// Memory and its owners.
pub struct Memory<P> {
    /// The bytes of physical memory.
    pub physical: P,
    /// Owners and reference counts.
    pub frames: FrameTable,
    maps: BTreeMap<DomId, Map>,
    /// Free frames that belong to domains which may yet ask for them.
    set_aside: BTreeMap<DomId, u64>,
    /// The sum of those.
    kept: u64,
    /// EPT pointers of tables in which a translation that a processor may have cached was changed or removed.
    stale: Vec<u64>,
    /// What others than its own processors have stored to while a domain's stores are written down, or was mapped.
    written: DirtyLog,
    /// Reads the time-stamp counter.
    clock: fn() -> u64,
}

/// A domain's tables, and how many more it may have: a guest decides where its pages go, so without
/// a limit it could fill the machine with tables.
struct Map {
    ept: Ept,
    tables: u64,
    most_tables: u64,
    /// Dom0's tools have created the domain: it has what others leave.
    created: bool,
    /// Stores are written down.
    logs: bool,
    /// Frames for what the freestanding part keeps of the domain.
    spare: Vec<u64>,
}

/// Tables for what every domain has, and for scattered mappings.
const SPARE_TABLES: u64 = 256;

/// Pages that a domain may have above its RAM, for what its tools put there, as in Xen's `xl`.
pub const SPECIAL_PAGES: u64 = 256;

/// The most frames that a domain of `pages` pages ever takes: its RAM, and what the hypervisor holds
/// for it: EPT tables, the frames of its grant table, a VMCS for each of `vcpus`, three bitmaps and
/// `shared_info`.
pub fn most_frames(pages: u64, vcpus: u32) -> u64 {
    let tables = SPARE_TABLES + pages / LARGE + 1;
    pages + SPECIAL_PAGES + tables + u64::from(MAX_FRAMES) + u64::from(vcpus) + 1 + BITMAPS
}

/// Frames of a domain's bitmaps: two of ports, one of MSRs.
const BITMAPS: u64 = 3;

/// Frames of the servers of device models: two each.
const SERVER_FRAMES: u64 = 2 * io_server::MOST as u64;

impl Map {
    /// The address of a frame for one more table.
    fn table(&mut self, frames: &mut FrameTable) -> Option<u64> {
        if self.tables == self.most_tables {
            return None;
        }
        let table = table(frames)?;
        self.tables += 1;
        Some(table)
    }
}

/// A frame of the hypervisor's own; its address.
fn table(frames: &mut FrameTable) -> Option<u64> {
    frames.alloc(DomId::XEN, FrameKind::Xen).map(|mfn| mfn << 12)
}

impl<P: Physical> Memory<P> {
    /// Memory whose frames are in `frames`; `clock` reads the time-stamp counter.
    pub fn new(physical: P, frames: FrameTable, clock: fn() -> u64) -> Self {
        let (maps, set_aside) = (BTreeMap::new(), BTreeMap::new());
        Self {
            physical,
            frames,
            maps,
            set_aside,
            kept: 0,
            stale: Vec::new(),
            written: DirtyLog::default(),
            clock,
        }
    }

    /// A zeroed frame of the hypervisor's own; its address.
    pub fn own_frame(&mut self) -> Option<u64> {
        let addr = table(&mut self.frames)?;
        self.physical.clear(addr, 4096);
        Some(addr)
    }

    /// Zeroed contiguous frames of the hypervisor's own; the address of the first.
    pub fn own_frames(&mut self, count: u64) -> Option<u64> {
        let mfn = self.frames.alloc_contiguous(DomId::XEN, FrameKind::Xen, count, 1)?;
        self.physical.clear(mfn << 12, count << 12);
        Some(mfn << 12)
    }

    /// Frees a frame of the hypervisor's own.
    pub fn give_back(&mut self, addr: u64) {
        self.frames.put(addr >> 12);
    }

    /// The value for a domain's EPT-pointer field; a new domain gets empty tables first.
    pub fn ept_pointer(&mut self, dom: DomId) -> Option<u64> {
        if let Some(map) = self.maps.get(&dom) {
            return Some(if map.logs { map.ept.logging_pointer() } else { map.ept.pointer() });
        }
        let Self { physical, frames, .. } = self;
        let ept = Ept::new(physical, &mut || table(frames)).ok()?;
        let (tables, most_tables, spare) = (0, SPARE_TABLES, Vec::new());
        let map = Map { ept, tables, most_tables, created: false, logs: false, spare };
        self.maps.insert(dom, map);
        Some(ept.pointer())
    }

    /// Allows a domain the tables that map `pages` more, one by one.
    pub fn allow_tables(&mut self, dom: DomId, pages: u64) {
        if let Some(map) = self.maps.get_mut(&dom) {
            map.most_tables += pages / LARGE;
        }
    }

    /// Sets `frames` free ones aside for `dom`: nobody that dom0's tools create gets them.
    pub fn set_aside(&mut self, dom: DomId, frames: u64) {
        let before = self.set_aside.insert(dom, frames).unwrap_or(0);
        self.kept = self.kept.saturating_sub(before).saturating_add(frames);
    }

    /// A frame for what the freestanding part keeps of `dom`; its address.
    pub fn spare_frame(&mut self, dom: DomId) -> Option<u64> {
        match self.maps.get_mut(&dom).and_then(|map| map.spare.pop()) {
            Some(frame) => Some(frame),
            None => self.own_frame(),
        }
    }

    /// The addresses of the frames that [`Self::spare_frame`] still has for `dom`.
    pub fn spare_frames(&self, dom: DomId) -> &[u64] {
        self.maps.get(&dom).map_or(&[], |map| &map.spare)
    }

    /// True if `dom` may have `count` frames of RAM: others keep what they were promised.
    fn has_room(&self, dom: DomId, count: u64) -> bool {
        let created = self.maps.get(&dom).is_some_and(|map| map.created);
        !created || self.free_pages() >= count
    }

    fn fill(&mut self, dom: DomId, gfn: u64, count: u64) -> Result<(), NoMemory> {
        let (mut at, end) = (gfn, gfn + count);
        while at < end {
            let large = at.is_multiple_of(LARGE) && end - at >= LARGE;
            let block =
                large.then(|| self.frames.alloc_contiguous(dom, FrameKind::Ram, LARGE, LARGE));
            if let Some(mfn) = block.flatten() {
                self.physical.clear(mfn << 12, LARGE << 12);
                self.written.note(mfn, LARGE);
                self.map_large(dom, at, Mapping { mfn, kind: P2mKind::Ram })?;
                at += LARGE;
            } else {
                let mfn = self.alloc(dom).ok_or(NoMemory)?;
                self.set(dom, at, Some(Mapping { mfn, kind: P2mKind::Ram }))
                    .map_err(|_| NoMemory)?;
                at += 1;
            }
        }
        Ok(())
    }

    /// Maps device memory of the machine at itself, `[start, end)` in frames, where nothing is
    /// mapped yet.
    pub fn pass_through(&mut self, dom: DomId, start: u64, end: u64) -> Result<(), NoMemory> {
        let mut at = start;
        while at < end {
            let mapping = Mapping { mfn: at, kind: P2mKind::MmioDirect };
            if at.is_multiple_of(LARGE) && end - at >= LARGE {
                self.map_large(dom, at, mapping)?;
                at += LARGE;
            } else {
                self.set(dom, at, Some(mapping)).map_err(|_| NoMemory)?;
                at += 1;
            }
        }
        Ok(())
    }

    fn map_large(&mut self, dom: DomId, gfn: u64, mapping: Mapping) -> Result<(), NoMemory> {
        let Self { physical, frames, maps, .. } = self;
        let map = maps.get_mut(&dom).ok_or(NoMemory)?;
        map.ept.map_large(physical, &mut || map.table(frames), gfn, leaf_of(mapping))
    }

    /// Ends what [`HostServices::log_dirty`] has begun.
    fn end_log(&mut self, dom: DomId) {
        let Some(map) = self.maps.get_mut(&dom).filter(|map| map.logs) else { return };
        map.logs = false;
        note_stale(&mut self.stale, map.ept);
        if self.maps.values().all(|map| !map.logs) {
            self.written.end();
        }
    }

    /// Frees the tables of a domain, not what they map.
    pub fn remove_domain(&mut self, dom: DomId) {
        self.end_log(dom);
        self.kept -= self.set_aside.remove(&dom).unwrap_or(0);
        if let Some(map) = self.maps.remove(&dom) {
            map.spare.iter().for_each(|&frame| self.give_back(frame));
            let (physical, frames) = (&self.physical, &mut self.frames);
            map.ept.tables(physical, &mut |table| {
                frames.put(table >> 12);
            });
            note_stale(&mut self.stale, map.ept);
        }
    }

    /// The EPT pointers of which a processor must drop what it has cached (INVEPT) before it runs a guest again.
    pub fn take_stale(&mut self) -> Vec<u64> {
        core::mem::take(&mut self.stale)
    }
}

/// Notes that translations of `ept` are gone or others.
fn note_stale(stale: &mut Vec<u64>, ept: Ept) {
    if !stale.contains(&ept.pointer()) {
        stale.push(ept.pointer());
    }
}

impl<P: Physical> HostServices for Memory<P> {
    fn read(&self, mfn: u64, offset: usize, buf: &mut [u8]) {
        self.physical.read((mfn << 12) + offset as u64, buf);
    }

    fn write(&mut self, mfn: u64, offset: usize, data: &[u8]) {
        self.written.note(mfn, 1);
        self.physical.write((mfn << 12) + offset as u64, data);
    }

    fn alloc(&mut self, owner: DomId) -> Option<u64> {
        if !self.has_room(owner, 1) {
            return None;
        }
        let mfn = self.frames.alloc(owner, FrameKind::Ram)?;
        self.physical.clear(mfn << 12, 4096);
        Some(mfn)
    }

    fn alloc_shared(&mut self, owner: DomId) -> Option<u64> {
        let mfn = self.frames.alloc(owner, FrameKind::Xen)?;
        self.physical.clear(mfn << 12, 4096);
        Some(mfn)
    }

    fn get(&mut self, mfn: u64) {
        self.frames.get(mfn);
    }

    fn put(&mut self, mfn: u64) {
        self.frames.put(mfn);
    }

    fn owner(&self, mfn: u64) -> Option<DomId> {
        self.frames.owner(mfn)
    }

    fn is_ram(&self, mfn: u64) -> bool {
        self.frames.kind(mfn) == Some(FrameKind::Ram)
    }

    fn pages(&self, owner: DomId) -> u64 {
        self.frames.pages(owner)
    }

    fn lookup(&self, dom: DomId, gfn: u64) -> Option<Mapping> {
        self.maps.get(&dom)?.ept.lookup(&self.physical, gfn).map(mapping_of)
    }

    fn set(&mut self, dom: DomId, gfn: u64, mapping: Option<Mapping>) -> Result<(), Errno> {
        // What is mapped is new here, and what was may have been stored to through this mapping.
        if self.written.is_on() {
            let both = [mapping, self.lookup(dom, gfn)].into_iter().flatten();
            both.filter(|map| map.kind.holds_reference())
                .for_each(|map| self.written.note(map.mfn, 1));
        }
        let Self { physical, frames, maps, stale, .. } = self;
        let map = maps.get_mut(&dom).ok_or(Errno::Srch)?;
        let ept = map.ept;
        if ept.lookup(physical, gfn).is_some() {
            note_stale(stale, ept);
        }
        let new_table = &mut || map.table(frames);
        match mapping {
            Some(mapping) => ept.map(physical, new_table, gfn, leaf_of(mapping)),
            None => ept.unmap(physical, new_table, gfn),
        }
        .map_err(|NoMemory| Errno::NoMem)
    }

    fn create(&mut self, dom: DomId, vcpus: u32) -> Result<(), Errno> {
        let held = SPARE_TABLES + u64::from(MAX_FRAMES) + 1 + SERVER_FRAMES;
        let spare = BITMAPS + u64::from(vcpus);
        if self.free_pages() < held + spare {
            return Err(Errno::NoMem);
        }
        self.ept_pointer(dom).ok_or(Errno::NoMem)?;
        let frames: Vec<u64> = (0..spare).map_while(|_| self.own_frame()).collect();
        if let Some(map) = self.maps.get_mut(&dom) {
            (map.created, map.spare) = (true, frames);
        }
        self.set_aside(dom, held);
        Ok(())
    }

    fn remove(&mut self, dom: DomId) {
        self.remove_domain(dom);
    }

    fn limit_tables(&mut self, dom: DomId, pages: u64) {
        if let Some(map) = self.maps.get_mut(&dom) {
            map.most_tables = map.most_tables.max(SPARE_TABLES + pages / LARGE);
        }
    }

    fn populate(&mut self, dom: DomId, gfn: u64, count: u64) -> Result<(), Errno> {
        if !self.has_room(dom, count) {
            return Err(Errno::NoMem);
        }
        self.fill(dom, gfn, count).map_err(|NoMemory| Errno::NoMem)
    }

    fn unmap_next(&mut self, dom: DomId, from: u64, gone: &mut Vec<Mapping>) -> Option<u64> {
        let Self { physical, frames, maps, stale, .. } = self;
        let ept = maps.get(&dom)?.ept;
        let cut = ept.cut(physical, from, &mut |leaf| gone.push(mapping_of(leaf)))?;
        if let Some(table) = cut.table {
            frames.put(table >> 12);
        }
        note_stale(stale, ept);
        Some(cut.end)
    }

    fn log_dirty(&mut self, dom: DomId, on: bool) -> Result<(), Errno> {
        if !on {
            self.end_log(dom);
            return Ok(());
        }
        self.written.begin(self.max_mfn()).map_err(|_| Errno::NoMem)?;
        let map = self.maps.get_mut(&dom).ok_or(Errno::Srch)?;
        map.logs = true;
        note_stale(&mut self.stale, map.ept);
        Ok(())
    }

    fn dirty_block(&mut self, dom: DomId, gfn: u64, clean: bool) -> [u8; BLOCK as usize / 8] {
        let mut block = [0; BLOCK as usize / 8];
        let Self { physical, frames, maps, stale, written, .. } = self;
        let Some(map) = maps.get_mut(&dom).filter(|map| map.logs) else { return block };
        let ept = map.ept;
        let mut found = Vec::new();
        let new_table = &mut || map.table(frames);
        ept.dirty(physical, new_table, (gfn, clean), &mut |index, mfn, dirty| {
            found.push((index, mfn, dirty));
        });
        for (index, mfn, dirty) in found {
            if written.take(mfn, clean) | dirty || frames.refs(mfn) > 1 {
                block[index as usize / 8] |= 1_u8 << (index % 8);
            }
        }
        if clean {
            note_stale(stale, ept);
        }
        block
    }

    fn tsc(&self) -> u64 {
        (self.clock)()
    }

    fn free_pages(&self) -> u64 {
        self.frames.free_pages().saturating_sub(self.kept)
    }

    fn total_pages(&self) -> u64 {
        self.frames.total_pages()
    }

    fn max_mfn(&self) -> u64 {
        self.frames.max_mfn()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::phys::TestMemory;

    pub(super) const DOM: DomId = DomId(1);

    pub(super) fn memory(frames: u64) -> Memory<TestMemory> {
        let mut table = FrameTable::default();
        table.add(1..frames);
        let mut memory = Memory::new(TestMemory(vec![0xAA; (frames as usize) << 12]), table, || 0);
        memory.ept_pointer(DOM).expect("memory");
        memory
    }

    #[track_caller]
    fn check(memory: &Memory<TestMemory>, gfn: u64, kind: Option<P2mKind>, owner: Option<DomId>) {
        let found = memory.lookup(DOM, gfn);
        assert_eq!(found.map(|m| m.kind), kind);
        assert_eq!(found.and_then(|m| memory.owner(m.mfn)), owner);
    }

    #[test]
    fn ram_is_zeroed_and_owned() {
        let mut m = memory(2048);
        m.populate(DOM, 0, 515).expect("memory");
        for gfn in [0, 511, 512, 514] {
            check(&m, gfn, Some(P2mKind::Ram), Some(DOM));
            let mut word = [1; 8];
            let mfn = m.lookup(DOM, gfn).expect("mapped").mfn;
            m.read(mfn, 4088, &mut word);
            assert_eq!(word, [0; 8]);
        }
        check(&m, 515, None, None);
        assert_eq!(m.take_stale(), []);
    }

    #[test]
    fn changing_a_mapping_is_noticed() {
        let mut m = memory(2048);
        m.populate(DOM, 0, 512).expect("memory");
        m.set(DOM, 5, None).expect("memory");
        check(&m, 5, None, None);
        check(&m, 6, Some(P2mKind::Ram), Some(DOM));
        assert_eq!(m.take_stale(), m.ept_pointer(DOM).as_slice());
    }

    #[test]
    fn tables_are_limited() {
        let mut m = memory(4096);
        let mapping = Mapping { mfn: 9, kind: P2mKind::Foreign };
        let mapped = (0..).take_while(|i| m.set(DOM, i << 9, Some(mapping)).is_ok()).count();
        assert_eq!(mapped as u64, SPARE_TABLES - 2);
        assert!(m.free_pages() > 3000);
    }

    /// RAM in single frames, and tables until no more are given: the most that a domain's map takes.
    #[test]
    fn a_greedy_domain_stays_within_its_frames() {
        let mut m = memory(8192);
        let most = most_frames(1000, 1) - SPECIAL_PAGES - u64::from(MAX_FRAMES) - 1 - 4;
        m.allow_tables(DOM, 1000);
        m.populate(DOM, 1, 1000).expect("memory");
        let mapping = Mapping { mfn: 9, kind: P2mKind::Foreign };
        assert!((9..5000).any(|i| m.set(DOM, i << 9, Some(mapping)).is_err()));
        assert_eq!(8191 - m.free_pages(), most);
    }

    #[test]
    fn devices_are_mapped_at_themselves() {
        let mut m = memory(64);
        m.pass_through(DOM, 0xFE000, 0xFE401).expect("memory");
        check(&m, 0xFE000, Some(P2mKind::MmioDirect), None);
        check(&m, 0xFE400, Some(P2mKind::MmioDirect), None);
        check(&m, 0xFE401, None, None);
        assert_eq!(m.lookup(DOM, 0xFE123).expect("mapped").mfn, 0xFE123);
    }

    #[test]
    fn a_domain_is_unmapped_in_parts() {
        let mut m = memory(4096);
        m.populate(DOM, 0, 1030).expect("memory");
        m.set(DOM, 3 << 18, Some(Mapping { mfn: 9, kind: P2mKind::Foreign })).expect("memory");
        let (mut from, mut ends, mut gone) = (0, Vec::new(), Vec::new());
        while let Some(next) = m.unmap_next(DOM, from, &mut gone) {
            ends.push((next, gone.len()));
            from = next;
        }
        assert_eq!(ends, [(512, 512), (1024, 1024), (1536, 1030), ((3 << 18) + 512, 1031)]);
        assert_eq!(gone[1030], Mapping { mfn: 9, kind: P2mKind::Foreign });
        assert_eq!(m.take_stale(), m.ept_pointer(DOM).as_slice());
        check(&m, 0, None, None);
        check(&m, 1029, None, None);
    }

    #[test]
    fn a_removed_domain_gives_its_tables_back() {
        let mut m = memory(2048);
        let free = m.free_pages();
        m.ept_pointer(DomId(2)).expect("memory");
        m.pass_through(DomId(2), 0x100, 0x800).expect("memory");
        m.remove_domain(DomId(2));
        assert_eq!(m.free_pages(), free);
        assert_eq!(m.populate(DOM, 0, 4096), Err(Errno::NoMem));
    }
}
