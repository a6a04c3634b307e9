//! `memory_op`, the linear walkers, and the frame table.

use crate::xen::abi::Errno;
use crate::xen::abi::layout::*;
use crate::xen::abi::nr::{domid, hypercall as nr, mem as op};
use crate::xen::frames::{FrameKind, FrameTable};
use crate::xen::guest_memory::{BadAddress, Paging};
use crate::xen::host_services::{DomId, HostServices, P2mKind};
use crate::xen::testing::{PAGES, World};

fn add(world: &mut World, dom: u16, space: u32, idx: u64, gpfn: u64) -> i64 {
    let arg = AddToPhysmap { domid: domid::SELF, size: 0, space, idx, gpfn };
    world.op(dom, nr::MEMORY_OP, op::ADD_TO_PHYSMAP, arg).0
}

#[test]
fn shared_info_appears_and_moves() {
    let mut world = World::new();
    let free = world.host.free_pages();
    assert_eq!(add(&mut world, 1, op::SPACE_SHARED_INFO, 0, 20), 0);
    assert_eq!(world.host.free_pages(), free + 1, "the page that was there is released");
    assert_eq!(world.host.pages(DomId(1)), PAGES - 1);
    let seconds: GetPhysid = world.get(1, (20 << 12) + 3076);
    assert_eq!(seconds.phys_id & 0xFFFF_FFFF, 1000, "the wall clock");
    assert_eq!(add(&mut world, 1, op::SPACE_SHARED_INFO, 0, 200), 0);
    assert_eq!(world.host.lookup(DomId(1), 20), None);
}

#[track_caller]
fn refused(space: u32, idx: u64, gpfn: u64, expected: Errno) {
    let mut world = World::new();
    assert_eq!(add(&mut world, 1, space, idx, gpfn), expected.result());
}

#[test]
fn add_to_physmap_refusals() {
    refused(op::SPACE_SHARED_INFO, 1, 20, Errno::Inval);
    refused(op::SPACE_SHARED_INFO, 0, 1 << 28, Errno::Inval);
    refused(op::SPACE_SHARED_INFO, 0, u64::MAX, Errno::Inval);
    refused(op::SPACE_GRANT_TABLE, 64, 20, Errno::Inval);
    refused(op::SPACE_GRANT_TABLE, op::GRANT_TABLE_STATUS, 20, Errno::Inval);
    refused(op::SPACE_GMFN, 5000, 20, Errno::Inval);
    refused(op::SPACE_GMFN_FOREIGN, 0, 20, Errno::Inval);
    refused(3, 0, 20, Errno::Inval);
    refused(99, 0, 20, Errno::Inval);
}

#[test]
fn gmfn_moves_a_page() {
    let mut world = World::new();
    world.put(1, 0x7000, &GetPhysid { phys_id: 7 });
    let free = world.host.free_pages();
    assert_eq!(add(&mut world, 1, op::SPACE_GMFN, 7, 300), 0);
    assert_eq!(world.get::<GetPhysid>(1, 300 << 12).phys_id, 7);
    assert_eq!(world.host.lookup(DomId(1), 7), None);
    assert_eq!(world.host.free_pages(), free);
}

/// Dom `dom` maps `idx` of `foreign` at 300; the result of the call and of the element.
fn foreign(world: &mut World, dom: u16, foreign: u16, idx: u64) -> (i64, i32) {
    world.put(dom, 0x2000, &GetPhysid { phys_id: idx });
    world.put(dom, 0x2008, &GetPhysid { phys_id: 300 });
    let arg = AddToPhysmapBatch {
        domid: domid::SELF,
        space: op::SPACE_GMFN_FOREIGN as u16,
        size: 1,
        foreign_domid: foreign,
        idxs: 0x2000,
        gpfns: 0x2008,
        errs: 0x2010,
    };
    let (result, _) = world.op(dom, nr::MEMORY_OP, op::ADD_TO_PHYSMAP_BATCH, arg);
    (result, world.get::<EvtchnPort>(dom, 0x2010).port as i32)
}

#[test]
fn foreign_pages_are_for_dom0() {
    let mut world = World::new();
    world.put(1, 0x3000, &GetPhysid { phys_id: 0xABCD });
    assert_eq!(foreign(&mut world, 0, 1, 3), (0, 0));
    assert_eq!(world.get::<GetPhysid>(0, 300 << 12).phys_id, 0xABCD);
    assert_eq!(world.host.lookup(DomId(0), 300).unwrap().kind, P2mKind::Foreign);
    let gone = RemoveFromPhysmap { domid: domid::SELF, gpfn: 300 };
    assert_eq!(world.op(0, nr::MEMORY_OP, op::REMOVE_FROM_PHYSMAP, gone).0, 0);
    assert_eq!(foreign(&mut world, 0, 0, 3).1, Errno::Inval.result() as i32, "oneself");
    assert_eq!(foreign(&mut world, 0, 1, 999).1, Errno::Inval.result() as i32, "a hole");
    assert_eq!(foreign(&mut world, 0, 9, 3).1, Errno::Srch.result() as i32, "nobody");
    assert_eq!(foreign(&mut world, 1, 2, 3).1, Errno::Perm.result() as i32, "a domU");
}

fn reserve(world: &mut World, cmd: u64, gfns: &[u64], order: u32) -> i64 {
    for (index, &gfn) in gfns.iter().enumerate() {
        world.put(1, 0x2000 + index as u64 * 8, &GetPhysid { phys_id: gfn });
    }
    let arg = MemoryReservation {
        extent_start: 0x2000,
        nr_extents: gfns.len() as u64,
        extent_order: order,
        mem_flags: 0,
        domid: domid::SELF,
    };
    world.op(1, nr::MEMORY_OP, cmd, arg).0
}

#[test]
fn populate_and_decrease() {
    let mut world = World::new();
    let free = world.host.free_pages();
    assert_eq!(reserve(&mut world, op::POPULATE_PHYSMAP, &[100, 101], 0), 2);
    assert_eq!(reserve(&mut world, op::POPULATE_PHYSMAP, &[0x200], 3), 1);
    assert_eq!(world.host.free_pages(), free - 10);
    assert_eq!(reserve(&mut world, op::POPULATE_PHYSMAP, &[0x300], 6), 0, "more than max_pages");
    assert_eq!(reserve(&mut world, op::DECREASE_RESERVATION, &[100, 99, 101], 0), 1, "a hole");
    let (pages, _) =
        world.op(1, nr::MEMORY_OP, op::CURRENT_RESERVATION, MemoryDomain { domid: domid::SELF });
    assert_eq!(pages as u64, PAGES + 9);
    assert_eq!(reserve(&mut world, op::POPULATE_PHYSMAP, &[1 << 40], 0), 0);
    assert_eq!(reserve(&mut world, op::POPULATE_PHYSMAP, &[5], 40), 0);
}

/// Dom0 claims `pages` for domain `dom`; the result, and what is outstanding then.
fn claim(world: &mut World, dom: u16, pages: u64) -> (i64, u64) {
    let arg = MemoryReservation { nr_extents: pages, domid: dom, ..Default::default() };
    let result = world.op(0, nr::MEMORY_OP, op::CLAIM_PAGES, arg).0;
    (result, world.xen.claims(&world.host))
}

#[test]
fn claims() {
    let mut world = World::new();
    let (inval, no_memory) = (Errno::Inval.result(), Errno::NoMem.result());
    world.xen.domain_mut(DomId(2)).unwrap().max_pages = 1 << 20;
    assert_eq!(claim(&mut world, 1, PAGES), (inval, 0), "no more than it has");
    assert_eq!(claim(&mut world, 1, 65), (inval, 0), "more than it may have");
    assert_eq!(claim(&mut world, 77, 10), (inval, 0));
    assert_eq!(claim(&mut world, 2, 1 << 19), (no_memory, 0));
    // What is left to the other is one page.
    let free = world.host.free_pages();
    assert_eq!(claim(&mut world, 2, PAGES + free - 1), (0, free - 1));
    assert_eq!(claim(&mut world, 2, PAGES + 1), (inval, free - 1), "there is a claim");
    assert_eq!(reserve(&mut world, op::POPULATE_PHYSMAP, &[100, 101], 0), 1);
    assert_eq!(claim(&mut world, 2, 0), (0, 0));
    assert_eq!(reserve(&mut world, op::POPULATE_PHYSMAP, &[101], 0), 1);
    let arg = MemoryReservation { nr_extents: 40, domid: 1, ..Default::default() };
    assert_eq!(world.op(1, nr::MEMORY_OP, op::CLAIM_PAGES, arg).0, Errno::Perm.result());
    let arg = MemoryReservation { extent_order: 1, ..arg };
    assert_eq!(world.op(0, nr::MEMORY_OP, op::CLAIM_PAGES, arg).0, inval);
    for op in [op::GET_SHARING_FREED_PAGES, op::GET_SHARING_SHARED_PAGES] {
        assert_eq!(world.op(0, nr::MEMORY_OP, op, MemoryDomain { domid: 0 }).0, 0);
    }
}

/// Builds page tables of one kind at 0x10000 that map linear 0x1234000 (and a large page) and
/// walks them.
#[track_caller]
fn walk(entries: &[(u64, u64)], size: usize, paging: Paging, linear: u64, expected: Option<u64>) {
    let mut world = World::new();
    for &(at, value) in entries {
        let bytes = value.to_le_bytes();
        crate::xen::guest_memory::write_gpa(&mut world.host, DomId(1), at, &bytes[..size]).unwrap();
    }
    let result = paging.translate(&world.host, DomId(1), linear, true);
    assert_eq!(result, expected.ok_or(BadAddress));
}

const PG: u64 = 1 << 31 | 1 << 16 | 1;

#[test]
fn four_level_walks() {
    let paging = Paging { cr0: PG, cr3: 0x1_0000, cr4: 1 << 5, efer: 1 << 10 };
    let tables = [(0x1_0000, 0x1_1003), (0x1_1000, 0x1_2003), (0x1_2048, 0x1_3003)];
    let with = |last: (u64, u64)| [tables[0], tables[1], tables[2], last];
    walk(&with((0x1_31A0, 0x5003)), 8, paging, 0x123_4567, Some(0x5567));
    walk(&with((0x1_31A0, 0x5001)), 8, paging, 0x123_4567, None);
    walk(&with((0x1_31A0, 0x5002)), 8, paging, 0x123_4567, None);
    let no_wp = Paging { cr0: PG & !(1 << 16), ..paging };
    walk(&with((0x1_31A0, 0x5001)), 8, no_wp, 0x123_4567, Some(0x5567));
    walk(&with((0x1_2048, 0x60_0083)), 8, paging, 0x123_4567, Some(0x63_4567));
    walk(&with((0x1_1000, 0x4000_0083)), 8, paging, 0x123_4567, Some(0x4123_4567));
    walk(&tables, 8, paging, 1 << 47, None);
    walk(&tables, 8, paging, 0xFFFF_8000_0000_0000, None);
    walk(&[], 8, Paging { cr3: 0x9999_F000, ..paging }, 0, None);
}

#[test]
fn legacy_walks() {
    let pae = Paging { cr0: PG, cr3: 0x1_0020, cr4: 1 << 5, efer: 0 };
    let tables = [(0x1_0020, 0x1_2001), (0x1_2048, 0x1_3003), (0x1_31A0, 0x5003)];
    walk(&tables, 8, pae, 0x123_4567, Some(0x5567));
    walk(&tables, 8, pae, 0xFFFF_FFFF_0123_4567, Some(0x5567));
    let plain = Paging { cr0: PG, cr3: 0x1_0000, cr4: 1 << 4, efer: 0 };
    let small = [(0x1_0010, 0x1_1003), (0x1_18D0, 0x5003)];
    walk(&small, 4, plain, 0x123_4567, Some(0x5567));
    walk(&[(0x1_0010, 0x80_0083)], 4, plain, 0x123_4567, Some(0xA3_4567));
    walk(&[(0x1_0010, 0x80_2083)], 4, plain, 0x123_4567, Some(0x1_00A3_4567));
    walk(&[(0x1_0010, 0x80_0081)], 4, plain, 0x123_4567, None);
    walk(&[], 4, Paging::default(), 0x1_0000_1234, Some(0x1234));
}

#[test]
fn the_memory_map_is_told() {
    let mut world = World::new();
    let buffer = MemoryMap { nr_entries: 8, buffer: 0x2000 };
    let none = world.op(1, nr::MEMORY_OP, op::MEMORY_MAP, buffer).0;
    assert_eq!(none, Errno::NoSys.result());
    world.xen.domain_mut(DomId(1)).unwrap().memory_map = crate::xen::build::domu_map(0x800_0000);
    let (result, map) = world.op(1, nr::MEMORY_OP, op::MEMORY_MAP, buffer);
    assert_eq!((result, map.nr_entries), (0, 3));
    let third: E820Entry = world.get(1, 0x2000 + 40);
    assert_eq!((third.addr, third.kind), (0x10_0000, 1));
}

#[test]
fn handles_that_point_nowhere_fault() {
    let mut world = World::new();
    for arg in [u64::MAX, 0x100_0000, 1 << 31, u64::MAX - 7] {
        assert_eq!(world.call(1, nr::MEMORY_OP, &[7, arg]), Errno::Fault.result());
    }
    // A structure that crosses from RAM into nothing.
    assert_eq!(world.call(1, nr::MEMORY_OP, &[7, (PAGES << 12) - 4]), Errno::Fault.result());
}

#[test]
fn frames_are_counted() {
    let mut table = FrameTable::default();
    table.add(16..26);
    table.add(1000..1600);
    let (dom, ram) = (DomId(3), FrameKind::Ram);
    assert_eq!(table.alloc(dom, ram), Some(16));
    assert_eq!(table.alloc_contiguous(dom, ram, 512, 512), Some(1024));
    assert_eq!((table.free_pages(), table.pages(dom)), (610 - 513, 513));
    assert_eq!(table.alloc_contiguous(dom, ram, 512, 512), None);
    table.get(16);
    assert!(!table.put(16));
    assert_eq!(table.pages(dom), 513, "a frame counts until its last reference is gone");
    assert!(table.put(16));
    assert!(!table.put(16), "a free frame stays free");
    assert_eq!((table.owner(16), table.owner(1024)), (None, Some(dom)));
    assert_eq!((table.owner(99_999), table.refs(99_999), table.pages(dom)), (None, 0, 512));
    assert_eq!(table.alloc(dom, FrameKind::Xen), Some(16), "what was freed last");
    assert_eq!((table.kind(16), table.pages(dom)), (Some(FrameKind::Xen), 512));
    assert!((0..97).all(|_| table.alloc(dom, ram).is_some()));
    assert_eq!((table.alloc(dom, ram), table.free_pages()), (None, 0));
    assert_eq!(table.max_mfn(), 1599);
    assert!([1100, 20, 1500].map(|mfn| table.put(mfn)).into_iter().all(|freed| freed));
    assert_eq!([(); 4].map(|()| table.alloc(dom, ram)), [Some(1500), Some(20), Some(1100), None]);
}
