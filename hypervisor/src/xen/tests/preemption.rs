//! Long hypercalls: the slice ends in the middle of a list, and the call goes on later with the
//! results that it would have had.

use crate::xen::Action;
use crate::xen::abi::layout::*;
use crate::xen::abi::nr::{ctl, domid, evtchn, gnt, hypercall as nr, mem};
use crate::xen::abi::{Errno, Width};
use crate::xen::domain::{Channel, PortState};
use crate::xen::host_services::{DomId, HostServices};
use crate::xen::hypercall::Flow;
use crate::xen::testing::{ARG, PAGES, World};

/// Ticks in a millisecond, few, so that short lists take long.
const KHZ: u64 = 10_000;
const SLICE: u64 = 5 * KHZ;
/// The longest single step: two pages copied, or a table of 2 MiB unmapped.
const STEP: u64 = 15_000;

/// A hypercall of `dom` from one slice to the next. Its result, and how many slices it took: at
/// least `parts`, none much longer than a slice.
#[track_caller]
fn call(world: &mut World, dom: u16, number: u32, args: &[u64], parts: usize) -> i64 {
    let mut gpr = [0; 16];
    gpr[0] = number.into();
    for (place, &arg) in [7, 6, 2, 10, 8, 9].into_iter().zip(args) {
        gpr[place] = arg;
    }
    let mut count = 0;
    loop {
        count += 1;
        let start = world.host.tsc();
        world.xen.scheduler.end_slice();
        assert!(world.xen.schedule(&mut world.host, start).is_some());
        let flow = world.raw(dom, Width::Long, &mut gpr);
        let spent = world.host.tsc() - start;
        assert!(spent <= SLICE + STEP, "{spent} ticks in part {count}");
        if flow == Flow::Next {
            break;
        }
        assert!(spent >= SLICE, "given up after {spent} ticks");
    }
    assert!(count >= parts, "{count} parts");
    gpr[0] as i64
}

fn words(world: &mut World, dom: u16, at: u64, words: impl IntoIterator<Item = u64>) {
    for (index, word) in words.into_iter().enumerate() {
        world.put(dom, at + index as u64 * 8, &GetPhysid { phys_id: word });
    }
}

/// Writes the reservation of `count` pages from 100 on; its address.
fn reservation(world: &mut World, count: u64) -> u64 {
    words(world, 1, 0x2000, 100..100 + count);
    let arg = MemoryReservation {
        extent_start: 0x2000,
        nr_extents: count,
        domid: domid::SELF,
        ..Default::default()
    };
    world.put(1, ARG, &arg);
    ARG
}

#[test]
fn reservations() {
    let mut world = World::with_clock(KHZ);
    let arg = reservation(&mut world, 30);
    let done = call(&mut world, 1, nr::MEMORY_OP, &[mem::POPULATE_PHYSMAP, arg], 3);
    assert_eq!((done, world.host.pages(DomId(1))), (30, PAGES + 30));
    let done = call(&mut world, 1, nr::MEMORY_OP, &[mem::DECREASE_RESERVATION, arg], 1);
    assert_eq!((done, world.host.pages(DomId(1))), (30, PAGES));
}

#[test]
fn multicalls() {
    let mut world = World::with_clock(KHZ);
    let arg = reservation(&mut world, 20);
    let entry = |index: u64| 0x8000 + index * 64;
    for index in 0..20 {
        let cmd = if index % 2 == 0 { mem::POPULATE_PHYSMAP } else { mem::DECREASE_RESERVATION };
        world.put(1, entry(index), &MulticallHead { op: nr::MEMORY_OP.into(), result: 99 });
        words(&mut world, 1, entry(index) + 16, [cmd, arg, 0, 0, 0, 0]);
    }
    assert_eq!(call(&mut world, 1, nr::MULTICALL, &[entry(0), 20], 15), 0);
    for index in 0..20 {
        assert_eq!(world.get::<MulticallHead>(1, entry(index)).result, 20, "entry {index}");
    }
    // Short entries, but many of them.
    for index in 0..800 {
        world.put(1, entry(index), &MulticallHead { op: nr::XEN_VERSION.into(), result: 99 });
        words(&mut world, 1, entry(index) + 16, [0; 6]);
    }
    assert_eq!(call(&mut world, 1, nr::MULTICALL, &[entry(0), 800], 3), 0);
    for index in 0..800 {
        assert_eq!(world.get::<MulticallHead>(1, entry(index)).result, 0x4_0011);
    }
}

/// The pages 8 to 27 of domain 1 granted to domain 0, by the references of the same numbers.
fn grant(world: &mut World) {
    let arg = AddToPhysmap { domid: domid::SELF, size: 0, space: 1, idx: 0, gpfn: 40 };
    assert_eq!(world.op(1, nr::MEMORY_OP, mem::ADD_TO_PHYSMAP, arg).0, 0);
    for page in 8..28 {
        words(world, 1, (40 << 12) + page * 8, [u64::from(gnt::GTF_PERMIT_ACCESS) | page << 32]);
    }
}

#[test]
fn grants() {
    let mut world = World::with_clock(KHZ);
    grant(&mut world);
    let at = |index: u64, size: u64| 0x8000 + index * size;
    for index in 0..20 {
        let copy = GnttabCopy {
            source: 8 + index,
            source_dom: 1,
            dest: 4,
            dest_dom: domid::SELF,
            len: 4096,
            flags: gnt::COPY_SOURCE_GREF,
            status: 1,
            ..Default::default()
        };
        world.put(0, at(index, 40), &copy);
    }
    assert_eq!(call(&mut world, 0, nr::GRANT_TABLE_OP, &[gnt::COPY, at(0, 40), 20], 4), 0);
    for index in 0..20 {
        assert_eq!(world.get::<GnttabCopy>(0, at(index, 40)).status, 0);
    }
    // The same references again and again.
    for index in 0..400 {
        let map = GnttabMap {
            host_addr: (100 + index) << 12,
            flags: gnt::MAP_HOST,
            gref: 8 + index as u32 % 20,
            dom: 1,
            status: 1,
            ..Default::default()
        };
        world.put(0, at(index, 32), &map);
    }
    assert_eq!(
        call(&mut world, 0, nr::GRANT_TABLE_OP, &[gnt::MAP_GRANT_REF, at(0, 32), 400], 3),
        0
    );
    for index in 0..400 {
        let GnttabMap { handle, host_addr, status, .. } = world.get(0, at(index, 32));
        assert_eq!(status, 0);
        let unmap = GnttabUnmap { handle, host_addr, status: 1, ..Default::default() };
        world.put(0, 0x4000 + index * 24, &unmap);
    }
    let args = [gnt::UNMAP_GRANT_REF, 0x4000, 400];
    assert_eq!(call(&mut world, 0, nr::GRANT_TABLE_OP, &args, 3), 0);
    let mapped = &world.xen.domain(DomId(0)).unwrap().grants.mapped;
    assert!((0..mapped.len()).all(|handle| mapped.get(handle) == Some(&None)));
}

#[test]
fn batches_of_the_physical_map() {
    let mut world = World::with_clock(KHZ);
    // Page 20 wanders from place to place.
    words(&mut world, 1, 0x4000, (0..400).map(|step| if step == 0 { 20 } else { 99 + step }));
    words(&mut world, 1, 0x8000, 100..500);
    let arg = AddToPhysmapBatch {
        domid: domid::SELF,
        space: mem::SPACE_GMFN as u16,
        size: 400,
        idxs: 0x4000,
        gpfns: 0x8000,
        errs: 0xC000,
        ..Default::default()
    };
    world.put(1, ARG, &arg);
    assert_eq!(call(&mut world, 1, nr::MEMORY_OP, &[mem::ADD_TO_PHYSMAP_BATCH, ARG], 3), 0);
    assert_eq!(world.host.lookup(DomId(1), 20), None);
    assert!(world.host.lookup(DomId(1), 499).is_some());
}

#[test]
fn event_channels() {
    let mut world = World::with_clock(KHZ);
    let ipi = Channel { state: PortState::Ipi, vcpu: 0 };
    let domain = world.xen.domain_mut(DomId(1)).unwrap();
    assert!((1..4000).all(|port| domain.open_port(ipi) == Ok(port)));
    world.host.write(domain.shared_info, shared_info::PENDING.into(), &[0xFF; 512]);
    world.put(1, ARG, &EvtchnReset { dom: domid::SELF });
    assert_eq!(call(&mut world, 1, nr::EVENT_CHANNEL_OP, &[evtchn::RESET, ARG], 2), 0);
    let domain = world.xen.domain(DomId(1)).unwrap();
    assert!((1..4000).all(|port| domain.channel(port) == Ok(&Channel::default())));
}

fn domctl(world: &mut World, cmd: u32, parts: usize) -> i64 {
    world.put(0, ARG, &DomctlHead { cmd, interface_version: 0x15, domain: 1 });
    call(world, 0, nr::DOMCTL, &[ARG], parts)
}

#[test]
fn destruction() {
    let mut world = World::with_clock(KHZ);
    grant(&mut world);
    // A page in each of twenty tables.
    for place in 1..20 {
        world.xen.populate(&mut world.host, DomId(1), place << 9, 1).unwrap();
    }
    assert_eq!(domctl(&mut world, ctl::DOM_DESTROY, 2), 0);
    assert_eq!(world.xen.actions, [Action::Destroyed(DomId(1))]);
    assert_eq!(domctl(&mut world, ctl::DOM_DESTROY, 1), 0, "it is as it was");
    assert_eq!(world.xen.actions.len(), 1);
    assert_eq!(world.host.lookup(DomId(1), 3), None);
    world.xen.destroyed(&mut world.host, DomId(1));
    assert_eq!(domctl(&mut world, ctl::DOM_DESTROY, 1), Errno::Srch.result());
    let owned = (0..1024).filter(|&mfn| world.host.owner(mfn) == Some(DomId(1))).count();
    assert_eq!(owned, 0);
}

/// Between two parts of its destruction a domain's memory is nobody's to use.
#[test]
fn a_dying_domain_is_no_target() {
    let mut world = World::with_clock(KHZ);
    world.xen.domain_mut(DomId(1)).unwrap().dying = true;
    let arg = RemoveFromPhysmap { domid: 1, gpfn: 3 };
    assert_eq!(world.op(0, nr::MEMORY_OP, 15, arg).0, Errno::Srch.result());
    let arg = EvtchnReset { dom: 1 };
    assert_eq!(world.op(0, nr::EVENT_CHANNEL_OP, evtchn::RESET, arg).0, Errno::Srch.result());
}
