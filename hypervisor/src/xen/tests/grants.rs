//! Grants: map, unmap and copy; who may; and that nothing leaks.

use crate::xen::abi::Errno;
use crate::xen::abi::layout::*;
use crate::xen::abi::nr::{GrantStatus, domid, gnt as op, hypercall as nr};
use crate::xen::grant_table::MAX_MAPTRACK;
use crate::xen::host_services::{DomId, HostServices, P2mKind};
use crate::xen::testing::{PAGES, World};
use crate::xen::{Action, Mapping};
use proptest::prelude::*;

/// The address at which the granting domain maps its table.
const TABLE: u64 = 0x8000;

/// Domain 1 maps its grant table.
fn set_up(world: &mut World) {
    let arg = AddToPhysmap { domid: domid::SELF, space: 1, idx: 0, gpfn: TABLE >> 12, size: 0 };
    assert_eq!(world.op(1, nr::MEMORY_OP, 7, arg).0, 0);
}

fn grant(world: &mut World, gref: u32, to: u16, gfn: u32, flags: u16) {
    let entry = GrantEntry { flags, domid: to, frame: gfn };
    world.put(1, TABLE + u64::from(gref) * 8, &entry);
}

fn flags(world: &World, gref: u32) -> u16 {
    world.get::<GrantEntry>(1, TABLE + u64::from(gref) * 8).flags
}

fn map(world: &mut World, gref: u32, gfn: u64, flags: u32) -> GnttabMap {
    let arg = GnttabMap { host_addr: gfn << 12, flags, gref, dom: 1, ..Default::default() };
    let (result, arg) = world.op(0, nr::GRANT_TABLE_OP, op::MAP_GRANT_REF, arg);
    assert_eq!(result, 0);
    arg
}

fn unmap(world: &mut World, gfn: u64, handle: u32) -> i16 {
    let arg = GnttabUnmap { host_addr: gfn << 12, handle, ..Default::default() };
    world.op(0, nr::GRANT_TABLE_OP, op::UNMAP_GRANT_REF, arg).1.status
}

#[test]
fn a_page_is_shared_and_returned() {
    let mut world = World::new();
    set_up(&mut world);
    let free = world.host.free_pages();
    grant(&mut world, 8, 0, 3, op::GTF_PERMIT_ACCESS);
    let done = map(&mut world, 8, 100, op::MAP_HOST);
    assert_eq!(done.status, 0);
    world.put(1, 0x3000, &GetPhysid { phys_id: 0xFEED });
    assert_eq!(world.get::<GetPhysid>(0, 100 << 12).phys_id, 0xFEED);
    world.put(0, 100 << 12, &GetPhysid { phys_id: 0xBEEF });
    assert_eq!(world.get::<GetPhysid>(1, 0x3000).phys_id, 0xBEEF);
    assert_eq!(flags(&world, 8), op::GTF_PERMIT_ACCESS | op::GTF_READING | op::GTF_WRITING);
    let holds = |world: &World, dom| world.xen.domain(DomId(dom)).unwrap().holds();
    let lent = "0 event channels, 1 of its grants in use, 0 of others' mapped";
    let borrowed = "0 event channels, 0 of its grants in use, 1 of others' mapped";
    assert_eq!([holds(&world, 1), holds(&world, 0)], [lent, borrowed]);
    assert_eq!(unmap(&mut world, 100, done.handle), 0);
    assert!(holds(&world, 1).contains(", 0 of its grants in use"));
    assert!(holds(&world, 0).contains(", 0 of others' mapped"));
    assert_eq!(flags(&world, 8), op::GTF_PERMIT_ACCESS);
    assert_eq!(world.host.lookup(DomId(0), 100), None);
    assert_eq!(world.host.free_pages(), free);
    assert_eq!(unmap(&mut world, 100, done.handle), GrantStatus::BadHandle as i16);
}

#[track_caller]
fn refused(entry: (u16, u16, u32), gref: u32, gfn: u64, map_flags: u32, expected: GrantStatus) {
    let mut world = World::new();
    set_up(&mut world);
    let (flags, to, frame) = entry;
    grant(&mut world, 8, to, frame, flags);
    let free = world.host.free_pages();
    assert_eq!(map(&mut world, gref, gfn, map_flags).status, expected as i16);
    assert_eq!(world.host.free_pages(), free);
}

#[test]
fn refusals() {
    use GrantStatus as S;
    let good = (op::GTF_PERMIT_ACCESS, 0, 3);
    let read_only = (op::GTF_PERMIT_ACCESS | op::GTF_READONLY, 0, 3);
    refused((0, 0, 3), 8, 100, op::MAP_HOST, S::BadGntref);
    refused((op::GTF_PERMIT_ACCESS, 2, 3), 8, 100, op::MAP_HOST, S::BadGntref);
    refused(read_only, 8, 100, op::MAP_HOST, S::BadGntref);
    refused(read_only, 8, 100, op::MAP_HOST | op::MAP_READONLY, S::Okay);
    refused((op::GTF_PERMIT_ACCESS, 0, 999), 8, 100, op::MAP_HOST, S::BadPage);
    refused(good, 9, 100, op::MAP_HOST, S::BadGntref);
    refused(good, 512, 100, op::MAP_HOST, S::BadGntref);
    refused(good, u32::MAX, 100, op::MAP_HOST, S::BadGntref);
    refused(good, 8, 1 << 28, op::MAP_HOST, S::BadVirtAddr);
    refused(good, 8, u64::MAX >> 12, op::MAP_HOST, S::BadVirtAddr);
    refused(good, 8, 100, op::MAP_DEVICE, S::GeneralError);
    refused(good, 8, 100, op::MAP_HOST | op::MAP_CONTAINS_PTE, S::GeneralError);
}

/// A granted page cannot leave the mapper's map except by its unmap operation, which would
/// otherwise put a stranger's page.
#[test]
fn a_granted_mapping_is_not_replaced() {
    let mut world = World::new();
    set_up(&mut world);
    grant(&mut world, 8, 0, 3, op::GTF_PERMIT_ACCESS);
    map(&mut world, 8, 100, op::MAP_HOST);
    let arg = RemoveFromPhysmap { domid: domid::SELF, gpfn: 100 };
    assert!(world.op(0, nr::MEMORY_OP, 15, arg).0 < 0);
    assert!(world.host.lookup(DomId(0), 100).is_some_and(|map| map.kind == P2mKind::GrantRw));
}

#[test]
fn a_dying_granter_keeps_its_page_until_the_unmap() {
    let mut world = World::new();
    set_up(&mut world);
    grant(&mut world, 8, 0, 3, op::GTF_PERMIT_ACCESS);
    let Mapping { mfn, .. } = world.host.lookup(DomId(1), 3).unwrap();
    let handle = map(&mut world, 8, 100, op::MAP_HOST).handle;
    assert_eq!(world.xen.destroy(&mut world.host, DomId(1)), Ok(true));
    assert!(world.xen.actions.contains(&Action::Destroyed(DomId(1))));
    world.xen.destroyed(&mut world.host, DomId(1));
    assert_eq!(world.host.frames.refs(mfn), 2, "the map and the grant");
    assert_eq!(unmap(&mut world, 100, handle), 0);
    assert_eq!(world.host.frames.refs(mfn), 0);
}

/// A page counts against its owner until it is free: grants are no way past the limit.
#[test]
fn a_page_that_a_peer_maps_still_counts() {
    let mut world = World::new();
    set_up(&mut world);
    let had = world.host.pages(DomId(1));
    grant(&mut world, 8, 0, 3, op::GTF_PERMIT_ACCESS);
    let handle = map(&mut world, 8, 100, op::MAP_HOST).handle;
    let gone = RemoveFromPhysmap { domid: domid::SELF, gpfn: 3 };
    assert_eq!(world.op(1, nr::MEMORY_OP, 15, gone).0, 0);
    assert_eq!(world.host.pages(DomId(1)), had, "the peer has it");
    world.xen.domain_mut(DomId(1)).unwrap().max_pages = had;
    let populate = |world: &mut World| world.xen.populate(&mut world.host, DomId(1), 3, 1);
    assert_eq!(populate(&mut world), Err(Errno::NoMem));
    assert_eq!(unmap(&mut world, 100, handle), 0);
    assert_eq!(world.host.pages(DomId(1)), had - 1);
    assert_eq!(populate(&mut world), Ok(()));
    assert_eq!((world.host.pages(DomId(0)), world.host.pages(DomId(1))), (PAGES, had));
}

#[test]
fn what_the_hypervisor_shares_is_not_granted() {
    let mut world = World::new();
    set_up(&mut world);
    let shared_info = AddToPhysmap { domid: domid::SELF, gpfn: 9, ..Default::default() };
    assert_eq!(world.op(1, nr::MEMORY_OP, 7, shared_info).0, 0);
    for gfn in [9, (TABLE >> 12) as u32] {
        grant(&mut world, 8, 0, gfn, op::GTF_PERMIT_ACCESS);
        let done = map(&mut world, 8, 100, op::MAP_HOST | op::MAP_READONLY);
        assert_eq!(done.status, GrantStatus::BadPage as i16, "{gfn}");
        assert_eq!(flags(&world, 8), op::GTF_PERMIT_ACCESS);
    }
}

/// The handles of what is unmapped are given out again, up to the most mappings.
#[test]
fn mappings_are_limited() {
    let mut world = World::new();
    set_up(&mut world);
    grant(&mut world, 8, 0, 3, op::GTF_PERMIT_ACCESS);
    let most = MAX_MAPTRACK as u64;
    let statuses = (0..=most).map(|i| map(&mut world, 8, 100 + i, op::MAP_HOST).status);
    let statuses: alloc::vec::Vec<_> = statuses.collect();
    assert_eq!(statuses.iter().position(|&status| status != 0), Some(MAX_MAPTRACK));
    assert_eq!(statuses[MAX_MAPTRACK], GrantStatus::NoSpace as i16);
    assert_eq!(unmap(&mut world, 100 + 7, 7), 0);
    let again = map(&mut world, 8, 100 + most, op::MAP_HOST);
    assert_eq!((again.status, again.handle), (0, 7));
}

fn copy(world: &mut World, arg: GnttabCopy) -> i16 {
    let (result, arg) = world.op(0, nr::GRANT_TABLE_OP, op::COPY, arg);
    assert_eq!(result, 0);
    arg.status
}

#[test]
fn copies() {
    let mut world = World::new();
    set_up(&mut world);
    grant(&mut world, 8, 0, 3, op::GTF_PERMIT_ACCESS | op::GTF_READONLY);
    world.put(1, 0x3010, &GetPhysid { phys_id: 0xC0FFEE });
    let good = GnttabCopy {
        source: 8,
        source_dom: 1,
        source_offset: 0x10,
        dest: 6,
        dest_dom: domid::SELF,
        dest_offset: 0xFF8,
        len: 8,
        flags: op::COPY_SOURCE_GREF,
        status: 99,
    };
    assert_eq!(copy(&mut world, good), 0);
    assert_eq!(world.get::<GetPhysid>(0, 0x6FF8).phys_id, 0xC0FFEE);
    assert_eq!(flags(&world, 8), op::GTF_PERMIT_ACCESS | op::GTF_READONLY, "released");
    let rows = [
        (GnttabCopy { len: 9, ..good }, GrantStatus::BadCopyArg),
        (GnttabCopy { source_offset: 0xFFF9, ..good }, GrantStatus::BadCopyArg),
        (GnttabCopy { source: 9, ..good }, GrantStatus::BadGntref),
        (GnttabCopy { source_dom: 7, ..good }, GrantStatus::BadDomain),
        (GnttabCopy { dest: u64::MAX, ..good }, GrantStatus::BadPage),
        (GnttabCopy { dest_dom: 2, ..good }, GrantStatus::PermissionDenied),
        (GnttabCopy { flags: 0, ..good }, GrantStatus::PermissionDenied),
        // Writing through a read-only grant.
        (
            GnttabCopy { dest: 8, dest_dom: 1, flags: 3, dest_offset: 0, ..good },
            GrantStatus::BadGntref,
        ),
    ];
    for (row, expected) in rows {
        assert_eq!(copy(&mut world, row), expected as i16, "{row:?}");
    }
}

#[test]
fn sizes_and_versions() {
    let mut world = World::new();
    set_up(&mut world);
    let query = GnttabQuerySize { dom: domid::SELF, ..Default::default() };
    let (_, query) = world.op(1, nr::GRANT_TABLE_OP, op::QUERY_SIZE, query);
    assert_eq!((query.nr_frames, query.max_nr_frames, query.status), (1, 64, 0));
    let one = world.op(1, nr::GRANT_TABLE_OP, op::SET_VERSION, GnttabSetVersion { version: 1 });
    assert_eq!(one.0, 0);
    let two = world.op(1, nr::GRANT_TABLE_OP, op::SET_VERSION, GnttabSetVersion { version: 2 });
    assert!(two.0 < 0);
    let get = GnttabGetVersion { dom: domid::SELF, version: 0 };
    assert_eq!(world.op(1, nr::GRANT_TABLE_OP, op::GET_VERSION, get).1.version, 1);
    let other = GnttabQuerySize { dom: 0, ..Default::default() };
    let (_, other) = world.op(1, nr::GRANT_TABLE_OP, op::QUERY_SIZE, other);
    assert_eq!(other.status, GrantStatus::PermissionDenied as i16);
}

proptest! {
    /// Any sequence of grants, maps, unmaps and remaps; in the end, after unmapping and destroying
    /// everything, no frame is lost and none was freed twice (the machine asserts that).
    #[test]
    fn nothing_leaks(acts in prop::collection::vec((0u8..5, 0u32..4, 0u64..6), 1..60)) {
        let mut world = World::new();
        set_up(&mut world);
        let mut handles = alloc::vec::Vec::new();
        for (act, gref, gfn) in acts {
            match act {
                0 => grant(&mut world, 8 + gref, 0, gfn as u32 + 2, op::GTF_PERMIT_ACCESS),
                1 | 2 => {
                    let readonly = if act == 2 { op::MAP_READONLY } else { 0 };
                    let done = map(&mut world, 8 + gref, 100 + gfn, op::MAP_HOST | readonly);
                    if done.status == 0 {
                        handles.push((100 + gfn, done.handle));
                    }
                }
                3 if !handles.is_empty() => {
                    let (gfn, handle) = handles.swap_remove(gref as usize % handles.len());
                    prop_assert_eq!(unmap(&mut world, gfn, handle), 0);
                }
                _ => {
                    let arg = RemoveFromPhysmap { domid: domid::SELF, gpfn: gfn + 2 };
                    world.op(1, nr::MEMORY_OP, 15, arg);
                }
            }
        }
        for dom in [1, 0, 2] {
            prop_assert_eq!(world.xen.destroy(&mut world.host, DomId(dom)), Ok(true));
            world.xen.destroyed(&mut world.host, DomId(dom));
        }
        prop_assert_eq!(world.host.free_pages(), world.host.total_pages());
    }
}
