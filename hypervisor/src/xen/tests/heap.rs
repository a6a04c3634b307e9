//! What a domain can make the hypervisor hold in its heap: no more than it may, and an error where
//! there is no memory.
#![expect(unsafe_code, reason = "the test stands between the program and its allocator")]

use crate::xen::abi::Errno;
use crate::xen::abi::layout::*;
use crate::xen::abi::nr::{GrantStatus, domid, gnt, hypercall as nr};
use crate::xen::domain::{DomainConfig, HEAP, MAX_VCPUS};
use crate::xen::host_services::DomId;
use crate::xen::pc::Pc;
use crate::xen::pc::buffered::Ring;
use crate::xen::pc::io_server::{IoServer, MOST, MOST_RANGES};
use crate::xen::testing::World;
use crate::xen::vcpu::{Activity, Poll};
use alloc::boxed::Box;
use core::alloc::{GlobalAlloc, Layout};
use core::cell::Cell;
use std::alloc::System;

std::thread_local! {
    /// The bytes that this thread holds, as the hypervisor's heap counts them.
    static HELD: Cell<usize> = const { Cell::new(0) };
    /// Blocks of a page are refused: those that tables grow by.
    static FULL: Cell<bool> = const { Cell::new(false) };
}

struct Counting;

#[global_allocator]
static HEAP_OF_TESTS: Counting = Counting;

/// The block that `runtime::heap` takes for a layout.
fn block(layout: Layout) -> usize {
    layout.size().max(layout.align()).max(16).next_power_of_two()
}

// SAFETY: hands on to the system's allocator, or refuses.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        if FULL.get() && block(layout) == 4096 {
            return core::ptr::null_mut();
        }
        HELD.set(HELD.get().wrapping_add(block(layout)));
        // SAFETY: the caller's promise.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, at: *mut u8, layout: Layout) {
        HELD.set(HELD.get().wrapping_sub(block(layout)));
        // SAFETY: the caller's promise.
        unsafe { System.dealloc(at, layout) }
    }
}

/// Domain 1 opens every port.
fn open_ports(world: &mut World) -> i64 {
    let arg = EvtchnAllocUnbound { dom: domid::SELF, remote_dom: 0, port: 0 };
    loop {
        let (result, _) = world.op(1, nr::EVENT_CHANNEL_OP, 6, arg);
        if result != 0 {
            return result;
        }
    }
}

/// Domain 1 makes its grant table as long as it gets.
fn grow_grant_table(world: &mut World) -> i16 {
    let setup = GnttabSetup { dom: domid::SELF, nr_frames: 64, status: 0, frame_list: 0x2000 };
    world.op(1, nr::GRANT_TABLE_OP, gnt::SETUP_TABLE, setup).1.status
}

/// Domain 1 maps a grant of domain 2 as often as it may.
fn map_grants(world: &mut World) -> i16 {
    let table = AddToPhysmap { domid: domid::SELF, space: 1, idx: 0, gpfn: 8, size: 0 };
    assert_eq!(world.op(2, nr::MEMORY_OP, 7, table).0, 0);
    let entry = GrantEntry { flags: gnt::GTF_PERMIT_ACCESS, domid: 1, frame: 3 };
    world.put(2, 0x8000 + 8 * 8, &entry);
    for gfn in 100_u64.. {
        let map = GnttabMap {
            host_addr: gfn << 12,
            flags: gnt::MAP_HOST,
            gref: 8,
            dom: 2,
            ..Default::default()
        };
        let status = world.op(1, nr::GRANT_TABLE_OP, gnt::MAP_GRANT_REF, map).1.status;
        if status != 0 {
            return status;
        }
    }
    0
}

/// A PC with as many device models as there may be, which answer for as much as they may.
fn full_pc() -> Box<Pc> {
    let mut pc = Pc::new(0);
    let ranges = || alloc::vec![(0, 0); MOST_RANGES];
    pc.servers.extend((0..MOST as u16).map(|id| IoServer {
        id,
        owner: DomId(0),
        enabled: true,
        page: 0,
        buffered: Some(Ring { page: 0, port: 0, atomic: true }),
        ports: alloc::vec![0; MAX_VCPUS as usize],
        ranges: [ranges(), ranges(), ranges()],
    }));
    Box::new(pc)
}

#[test]
fn a_greedy_domain_stays_within_its_share() {
    let mut world = World::new();
    assert_eq!(open_ports(&mut world), Errno::NoSpc.result());
    assert_eq!(grow_grant_table(&mut world), 0);
    assert_eq!(map_grants(&mut world), GrantStatus::NoSpace as i16);
    let config = DomainConfig { vcpus: MAX_VCPUS, max_pages: 64, ..Default::default() };
    let many = world.xen.create_domain(&mut world.host, config).unwrap();
    for vcpu in &mut world.xen.domain_mut(many).unwrap().vcpus {
        let poll = Poll { ports: alloc::vec![1; 128], timeout: None };
        vcpu.activity = Activity::Polling(poll);
        vcpu.runstate_area = alloc::vec![(0, 24); 2];
    }
    world.xen.domain_mut(many).unwrap().pc = Some(full_pc());
    let domain = world.xen.domain_mut(DomId(1)).unwrap();
    for _ in 0..1023 {
        domain.console.push(b'x');
    }
    let uart = domain.uart.as_mut().unwrap();
    (0..9999).for_each(|_| uart.push_input(0));
    let before = HELD.get();
    let copies = [DomId(1), many].map(|dom| world.xen.domain(dom).unwrap().clone());
    let held = HELD.get() - before;
    // The vCPUs' registers below the ABI take a page each at most.
    let most = HEAP as usize - MAX_VCPUS as usize * 4096;
    assert!((most / 2..most).contains(&held), "{held} bytes of {most}");
    drop(copies);
}

/// Without memory for a table that a guest wants to grow, the guest gets an error.
#[test]
fn a_full_heap_is_an_error() {
    let mut world = World::new();
    let set_up = AddToPhysmap { domid: domid::SELF, space: 1, idx: 0, gpfn: 8, size: 0 };
    assert_eq!(world.op(2, nr::MEMORY_OP, 7, set_up).0, 0);
    FULL.set(true);
    let found = (open_ports(&mut world), grow_grant_table(&mut world), map_grants(&mut world));
    FULL.set(false);
    let refused = (GrantStatus::GeneralError as i16, GrantStatus::NoSpace as i16);
    assert_eq!(found, (Errno::NoMem.result(), refused.0, refused.1));
    assert_eq!(world.xen.domain(DomId(1)).unwrap().grants.frames.len(), 0);
    assert_eq!(open_ports(&mut world), Errno::NoSpc.result());
}
