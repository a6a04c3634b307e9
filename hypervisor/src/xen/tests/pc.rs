//! HVM domains: device models as servers, what they are asked, and the interrupts that they raise.

use super::toolstack::{NEW, created_as, domctl, pvh};
use crate::xen::abi::Errno;
use crate::xen::abi::hvm_context::{Record, next_record};
use crate::xen::abi::layout::*;
use crate::xen::abi::nr::{ctl, dm, domid, evtchn, hypercall as nr, mem};
use crate::xen::guest_memory::{read_gpa, write_gpa};
use crate::xen::host_services::{DomId, HostServices, P2mKind};
use crate::xen::pc::io_server::{Access, Space};
use crate::xen::pc::records::SIZE;
use crate::xen::testing::{ARG, World};
use crate::xen::vcpu::{Activity, Io};
use crate::xen::{Event, ShutdownReason};
use alloc::vec::Vec;

const DOM: DomId = DomId(NEW);
/// Where dom0 maps the pages of a server.
const MAPPED: u64 = 0x200;
const BUFFER: u64 = 0x2000;
const LIST: u64 = 0x4000;

/// A world with an HVM domain of two vCPUs.
fn hvm() -> World {
    let mut world = World::new();
    let config = CreateDomain { emulation_flags: 0x3FF, ..pvh() };
    created_as(&mut world, 16, config);
    assert_eq!(domctl(&mut world, ctl::DOM_UNPAUSE, NEW, MaxVcpus::default()).0, 0);
    world.xen.vcpu_mut(DOM, 0).unwrap().activity = Activity::Runnable;
    world
}

/// A `dm_op` of `caller` on `target`, with `fields` (offset, bytes) in its structure; the structure after.
fn operation(
    world: &mut World,
    caller: u16,
    target: u16,
    number: u32,
    fields: &[(usize, &[u8])],
) -> (i64, [u8; 32]) {
    let mut raw = [0; 32];
    raw[..4].copy_from_slice(&number.to_le_bytes());
    for (at, bytes) in fields {
        raw[8 + at..][..bytes.len()].copy_from_slice(bytes);
    }
    write_gpa(&mut world.host, DomId(caller), BUFFER, &raw).unwrap();
    world.put(caller, ARG, &DmOpBuf { h: BUFFER, size: 32 });
    let result = world.call(caller, nr::DM_OP, &[target.into(), 1, ARG]);
    read_gpa(&world.host, DomId(caller), BUFFER, &mut raw).unwrap();
    (result, raw)
}

fn dm_op(world: &mut World, number: u32, fields: &[(usize, &[u8])]) -> i64 {
    operation(world, 0, NEW, number, fields).0
}

fn range(world: &mut World, number: u32, space: u8, first: u64, last: u64) -> i64 {
    let [first, last] = [first, last].map(u64::to_le_bytes);
    dm_op(world, number, &[(4, &[space]), (8, &first), (16, &last)])
}

/// The server 0 of dom0: it answers for ports 1F0h to 1F7h and for a function, its pages are mapped, and
/// dom0's ends of the vCPUs' event channels are bound. Those ends.
fn server(world: &mut World) -> Vec<u32> {
    let (result, raw) = operation(world, 0, NEW, dm::CREATE_IOREQ_SERVER, &[(0, &[2])]);
    assert_eq!((result, raw[12..14].to_vec()), (0, alloc::vec![0, 0]));
    assert_eq!(range(world, dm::MAP_IO_RANGE, 0, 0x1F0, 0x1F7), 0);
    assert_eq!(range(world, dm::MAP_IO_RANGE, 2, 8, 8), 0);
    assert_eq!(range(world, dm::MAP_IO_RANGE, 1, 0xF000_0000, 0xF000_0FFF), 0);
    for index in 0..2 {
        world.put(0, LIST + index * 8, &GetPhysid { phys_id: MAPPED + index });
    }
    let frames = AcquireResource {
        domid: NEW,
        kind: mem::RESOURCE_IOREQ_SERVER,
        nr_frames: 2,
        frame_list: LIST,
        ..Default::default()
    };
    assert_eq!(world.op(0, nr::MEMORY_OP, mem::ACQUIRE_RESOURCE, frames).0, 0);
    let bound = (0..2).map(|vcpu| {
        let mut port = [0; 4];
        read_gpa(&world.host, DomId(0), request(vcpu) + 24, &mut port).unwrap();
        let remote_port = u32::from_le_bytes(port);
        let bind = EvtchnBindInterdomain { remote_dom: NEW, remote_port, local_port: 0 };
        let (result, bind) = world.op(0, nr::EVENT_CHANNEL_OP, evtchn::BIND_INTERDOMAIN, bind);
        assert_eq!(result, 0);
        bind.local_port
    });
    let bound = bound.collect();
    assert_eq!(dm_op(world, dm::SET_IOREQ_SERVER_STATE, &[(2, &[1])]), 0);
    bound
}

/// Where dom0 sees the request of a vCPU.
fn request(vcpu: u64) -> u64 {
    ((MAPPED + 1) << 12) + vcpu * 32
}

fn ask(world: &mut World, vcpu: u32, access: Access) -> Option<u64> {
    let now = world.now;
    world.xen.access(&mut world.host, (DOM, vcpu), access, now)
}

fn port(addr: u64, size: u8, written: Option<u64>) -> Access {
    Access::new(Space::Port, addr, size, written)
}

/// Dom0 answers the request of a vCPU.
fn answer(world: &mut World, vcpu: u64, local_port: u32, data: u64) {
    write_gpa(&mut world.host, DomId(0), request(vcpu) + 8, &data.to_le_bytes()).unwrap();
    write_gpa(&mut world.host, DomId(0), request(vcpu) + 30, &[0x23]).unwrap();
    let send = EvtchnPort { port: local_port };
    assert_eq!(world.op(0, nr::EVENT_CHANNEL_OP, evtchn::SEND, send).0, 0);
}

#[test]
fn a_device_model_answers() {
    let mut world = hvm();
    let ports = server(&mut world);
    assert_eq!(ask(&mut world, 1, port(0x1F0, 2, None)), None);
    let mut raw = [0; 32];
    read_gpa(&world.host, DomId(0), request(1), &mut raw).unwrap();
    assert_eq!((&raw[..2], &raw[16..24]), (&[0xF0, 1][..], &[1, 0, 0, 0, 2, 0, 0, 0][..]));
    assert_eq!(raw[30..], [0x21, 0]);
    let dom0 = world.xen.domain(DomId(0)).unwrap();
    assert!(dom0.port_pending(&world.host, ports[1]));
    world.xen.vcpu_mut(DOM, 1).unwrap().activity = Activity::Runnable;
    assert!(!world.xen.runnable(DOM, 1));
    // An event without an answer changes nothing.
    let send = EvtchnPort { port: ports[1] };
    assert_eq!(world.op(0, nr::EVENT_CHANNEL_OP, evtchn::SEND, send).0, 0);
    assert!(!world.xen.runnable(DOM, 1));
    answer(&mut world, 1, ports[1], 0xFFFF_1234);
    assert!(world.xen.runnable(DOM, 1));
    assert_eq!(world.xen.answer(DOM, 1), Some(0x1234));
    assert_eq!(world.xen.answer(DOM, 1), None);
    // The state is that of no request, and an answer that nobody waits for is none.
    read_gpa(&world.host, DomId(0), request(1), &mut raw).unwrap();
    assert_eq!(raw[30] & 15, 0);
    answer(&mut world, 1, ports[1], 5);
    assert_eq!(world.xen.answer(DOM, 1), None);
}

#[test]
fn nobody_answers_with_ones() {
    let mut world = hvm();
    assert_eq!(ask(&mut world, 0, port(0x1F0, 4, None)), Some(0xFFFF_FFFF));
    server(&mut world);
    assert_eq!(ask(&mut world, 0, port(0x1F6, 4, None)), Some(0xFFFF_FFFF));
    let memory = Access::new(Space::Memory, 0xF000_0FFC, 8, None);
    assert_eq!(ask(&mut world, 0, memory), Some(u64::MAX));
    assert_eq!(ask(&mut world, 0, port(0x200, 1, Some(3))), Some(0));
    assert_eq!(dm_op(&mut world, dm::SET_IOREQ_SERVER_STATE, &[(2, &[0])]), 0);
    assert_eq!(ask(&mut world, 0, port(0x1F0, 1, None)), Some(0xFF));
}

#[test]
fn configuration_goes_to_the_function() {
    let mut world = hvm();
    let ports = server(&mut world);
    assert_eq!(ask(&mut world, 0, port(0xCF8, 4, Some(0x8000_1004))), Some(0));
    assert_eq!(ask(&mut world, 0, port(0xCFC, 4, None)), Some(0xFFFF_FFFF));
    assert_eq!(ask(&mut world, 0, port(0xCF8, 4, Some(0x8000_0810))), Some(0));
    assert_eq!(ask(&mut world, 0, port(0xCFE, 2, None)), None);
    let mut raw = [0; 32];
    read_gpa(&world.host, DomId(0), request(0), &mut raw).unwrap();
    assert_eq!((&raw[..8], raw[31]), (&[0x12, 0, 0, 0, 8, 0, 0, 0][..], 2));
    answer(&mut world, 0, ports[0], 7);
    assert_eq!(world.xen.answer(DOM, 0), Some(7));
}

#[test]
fn a_server_ends_and_nobody_waits() {
    let mut world = hvm();
    let free = world.host.free_pages();
    let ports = server(&mut world);
    assert_eq!(ask(&mut world, 0, port(0x1F0, 1, None)), None);
    assert_eq!(dm_op(&mut world, dm::DESTROY_IOREQ_SERVER, &[]), 0);
    assert_eq!(world.xen.answer(DOM, 0), Some(0xFF));
    assert_eq!(dm_op(&mut world, dm::DESTROY_IOREQ_SERVER, &[]), Errno::NoEnt.result());
    for index in 0..2 {
        let remove = RemoveFromPhysmap { domid: domid::SELF, gpfn: MAPPED + index };
        assert_eq!(world.op(0, nr::MEMORY_OP, mem::REMOVE_FROM_PHYSMAP, remove).0, 0);
    }
    for port in ports {
        let close = EvtchnPort { port };
        assert_eq!(world.op(0, nr::EVENT_CHANNEL_OP, evtchn::CLOSE, close).0, 0);
    }
    assert_eq!(world.host.free_pages(), free);
}

#[test]
fn the_ends_of_servers_are_not_the_domains() {
    let mut world = hvm();
    server(&mut world);
    let own = world.xen.pc(DOM).unwrap().servers[0].ports[0];
    for cmd in [evtchn::CLOSE, evtchn::SEND] {
        let arg = EvtchnPort { port: own };
        assert_eq!(world.op(NEW, nr::EVENT_CHANNEL_OP, cmd, arg).0, Errno::Inval.result());
    }
    let bind = EvtchnBindVcpu { port: own, vcpu: 1 };
    let bound = world.op(NEW, nr::EVENT_CHANNEL_OP, evtchn::BIND_VCPU, bind).0;
    assert_eq!(bound, Errno::Inval.result());
    let reset = EvtchnReset { dom: domid::SELF };
    assert_eq!(world.op(NEW, nr::EVENT_CHANNEL_OP, evtchn::RESET, reset).0, 0);
    assert!(world.xen.domain(DOM).unwrap().channel(own).is_ok());
    assert_eq!(ask(&mut world, 0, port(0x1F0, 1, None)), None);
    assert_eq!(world.xen.vcpu(DOM, 0).unwrap().io, Io::Waits { server: 0, mask: 0xFF });
}

#[track_caller]
fn refused(caller: u16, target: u16, number: u32, fields: &[(usize, &[u8])], expected: Errno) {
    let mut world = hvm();
    server(&mut world);
    let found = operation(&mut world, caller, target, number, fields).0;
    assert_eq!(found, expected.result());
}

#[test]
fn what_is_refused() {
    refused(1, NEW, dm::NR_VCPUS, &[], Errno::Perm);
    refused(NEW, NEW, dm::NR_VCPUS, &[], Errno::Perm);
    refused(0, 0, dm::NR_VCPUS, &[], Errno::Perm);
    refused(0, 99, dm::NR_VCPUS, &[], Errno::Srch);
    refused(0, 1, dm::NR_VCPUS, &[], Errno::Inval);
    refused(0, NEW, 21, &[], Errno::OpNotSupp);
    refused(0, NEW, dm::INJECT_EVENT, &[], Errno::OpNotSupp);
    refused(0, NEW, dm::CREATE_IOREQ_SERVER, &[(0, &[3])], Errno::Inval);
    refused(0, NEW, dm::CREATE_IOREQ_SERVER, &[(1, &[1])], Errno::Inval);
    refused(0, NEW, dm::GET_IOREQ_SERVER_INFO, &[(0, &[1])], Errno::NoEnt);
    refused(0, NEW, dm::MAP_IO_RANGE, &[(8, &[2]), (16, &[1])], Errno::Inval);
    refused(0, NEW, dm::MAP_IO_RANGE, &[(4, &[3])], Errno::Inval);
    refused(0, NEW, dm::MAP_IO_RANGE, &[(8, &[0xF7, 1]), (16, &[0xF9, 1])], Errno::Exist);
    refused(0, NEW, dm::UNMAP_IO_RANGE, &[(8, &[0xF7, 1]), (16, &[0xF9, 1])], Errno::NoEnt);
    refused(0, NEW, dm::SET_PCI_INTX_LEVEL, &[(3, &[32])], Errno::Inval);
    refused(0, NEW, dm::SET_PCI_INTX_LEVEL, &[(2, &[1])], Errno::Inval);
    refused(0, NEW, dm::SET_ISA_IRQ_LEVEL, &[(0, &[16])], Errno::Inval);
    refused(0, NEW, dm::SET_PCI_LINK_ROUTE, &[(0, &[4])], Errno::Inval);
    refused(0, NEW, dm::SET_MEM_TYPE, &[(0, &[1]), (4, &[9])], Errno::Inval);
    refused(0, NEW, dm::SET_MEM_TYPE, &[(0, &[1]), (4, &[1]), (8, &[99])], Errno::Inval);
    refused(0, NEW, dm::REMOTE_SHUTDOWN, &[(0, &[9])], Errno::Inval);
    refused(0, NEW, dm::TRACK_DIRTY_VRAM, &[], Errno::NoData);
}

#[test]
fn part_of_a_range_goes() {
    let mut world = hvm();
    server(&mut world);
    assert_eq!(range(&mut world, dm::UNMAP_IO_RANGE, 0, 0x1F2, 0x1F3), 0);
    for (at, waits) in [(0x1F0, true), (0x1F1, true), (0x1F2, false), (0x1F3, false), (0x1F7, true)]
    {
        world.xen.vcpu_mut(DOM, 0).unwrap().io = Io::None;
        assert_eq!(ask(&mut world, 0, port(at, 1, None)).is_none(), waits, "{at:#x}");
    }
}

#[test]
fn lines_reach_the_processor() {
    let mut world = hvm();
    server(&mut world);
    // The pair as a BIOS has it, and LINT0 as the way of its interrupts.
    let words = [(0x20, 0x11), (0x21, 8), (0x21, 4), (0x21, 1), (0x21, 0)];
    for (at, word) in words {
        assert_eq!(ask(&mut world, 0, port(at, 1, Some(word))), Some(0));
    }
    let mut apic = |offset: u64, value: u64| {
        let at = 0xFEE0_0000 + offset;
        ask(&mut world, 0, Access::new(Space::Memory, at, 4, Some(value)))
    };
    assert_eq!((apic(0xF0, 0x1FF), apic(0x350, 0x700)), (Some(0), Some(0)));
    world.xen.vcpu_mut(DOM, 0).unwrap().activity = Activity::Halted;
    assert_eq!(dm_op(&mut world, dm::SET_ISA_IRQ_LEVEL, &[(0, &[4, 1])]), 0);
    assert!(world.xen.runnable(DOM, 0));
    assert_eq!(world.xen.pending(&world.host, DOM, 0), Some(Event::Legacy(12)));
    assert_eq!(world.xen.pending(&world.host, DOM, 1), None);
    world.xen.accept(DOM, 0, Event::Legacy(12));
    assert_eq!(world.xen.pending(&world.host, DOM, 0), None);
    // The other way: LINT0 is masked, and pin 0 of the I/O APIC is the wire.
    assert_eq!(ask(&mut world, 0, port(0x20, 1, Some(0x20))), Some(0));
    assert_eq!(dm_op(&mut world, dm::SET_ISA_IRQ_LEVEL, &[(0, &[3, 1])]), 0);
    assert_eq!(world.xen.pending(&world.host, DOM, 0), Some(Event::Legacy(11)));
    let mut memory =
        |at: u64, value: u64| ask(&mut world, 0, Access::new(Space::Memory, at, 4, Some(value)));
    assert_eq!(memory(0xFEE0_0350, 0x1_0700), Some(0));
    assert_eq!(world.xen.pending(&world.host, DOM, 0), None);
    let mut memory =
        |at: u64, value: u64| ask(&mut world, 0, Access::new(Space::Memory, at, 4, Some(value)));
    assert_eq!((memory(0xFEC0_0000, 0x10), memory(0xFEC0_0010, 0x700)), (Some(0), Some(0)));
    assert_eq!(world.xen.pending(&world.host, DOM, 0), Some(Event::Legacy(11)));
    world.xen.accept(DOM, 0, Event::Legacy(11));
    // An MSI to APIC ID 0.
    let addr = 0xFEE0_0000_u64.to_le_bytes();
    assert_eq!(dm_op(&mut world, dm::INJECT_MSI, &[(0, &[0x41]), (8, &addr)]), 0);
    assert_eq!(world.xen.pending(&world.host, DOM, 0), Some(Event::Interrupt(0x41)));
}

#[test]
fn the_timer_ticks() {
    let mut world = hvm();
    for (at, word) in [(0x43, 0x34), (0x40, 0), (0x40, 0x10)] {
        assert_eq!(ask(&mut world, 0, port(at, 1, Some(word))), Some(0));
    }
    let deadline = world.xen.deadlines(DOM..=DOM).min().expect("a deadline");
    // 4096 periods of 1193182 Hz are 3433 microseconds; the TSC counts nanoseconds.
    assert!((3_432_000..3_436_000).contains(&deadline), "{deadline}");
    world.xen.tick_domain(&mut world.host, DOM, deadline);
    let next = world.xen.deadlines(DOM..=DOM).min().expect("another");
    assert!((6_865_000..6_870_000).contains(&next), "{next}");
    assert_eq!(ask(&mut world, 0, port(0x20, 1, None)), Some(1));
}

/// The status register of power management events tells of the button, and the enabled one interrupts.
#[test]
fn buttons() {
    const EVENTS: u16 = 0x1F40;
    let mut world = hvm();
    server(&mut world);
    let press = |world: &mut World, trigger| {
        domctl(world, ctl::DOM_SEND_TRIGGER, NEW, SendTrigger { trigger, vcpu: 0 }).0
    };
    let status = |world: &mut World| ask(world, 0, port(u64::from(EVENTS), 2, None));
    let sci = |world: &World| world.xen.pc(DOM).unwrap().lines.isa() >> 9 & 1;
    assert_eq!(press(&mut world, ctl::TRIGGER_POWER), 0);
    assert_eq!((status(&mut world), sci(&world)), (Some(0x100), 0));
    assert_eq!(ask(&mut world, 0, port(u64::from(EVENTS) + 2, 2, Some(0x300))), Some(0));
    assert_eq!(sci(&world), 1);
    assert_eq!(ask(&mut world, 0, port(u64::from(EVENTS), 2, Some(0x100))), Some(0));
    assert_eq!((status(&mut world), sci(&world)), (Some(0), 0));
    assert_eq!(press(&mut world, ctl::TRIGGER_SLEEP), 0);
    assert_eq!((status(&mut world), sci(&world)), (Some(0x200), 1));
}

#[test]
fn roms_are_not_written() {
    let mut world = hvm();
    server(&mut world);
    let kind = |world: &World, gfn| world.host.lookup(DOM, gfn).unwrap().kind;
    assert_eq!(dm_op(&mut world, dm::SET_MEM_TYPE, &[(0, &[2]), (4, &[1]), (8, &[3])]), 0);
    let kinds = [2, 3, 4, 5].map(|gfn| kind(&world, gfn));
    assert_eq!(kinds, [P2mKind::Ram, P2mKind::RamRo, P2mKind::RamRo, P2mKind::Ram]);
    assert_eq!(dm_op(&mut world, dm::SET_MEM_TYPE, &[(0, &[2]), (8, &[3])]), 0);
    assert_eq!(kind(&world, 3), P2mKind::Ram);
}

#[test]
fn a_pc_survives_its_records() {
    let mut world = hvm();
    server(&mut world);
    for (at, word) in [(0x43, 0x34), (0x40, 0), (0x40, 0x10), (0x70, 0x0B), (0x71, 0x42)] {
        assert_eq!(ask(&mut world, 0, port(at, 1, Some(word))), Some(0));
    }
    assert_eq!(dm_op(&mut world, dm::SET_PCI_INTX_LEVEL, &[(3, &[2, 0, 1])]), 0);
    assert_eq!(dm_op(&mut world, dm::SET_PCI_LINK_ROUTE, &[(0, &[2, 5])]), 0);
    let mut all = Vec::new();
    world.xen.pc_records(DOM, &mut all);
    assert_eq!(all.len(), SIZE);
    let mut other = hvm();
    let mut rest = &all[..];
    let (mut count, now) = (0, world.now);
    while let Some(record) = next_record(&mut rest) {
        other.xen.load_pc_record(DOM, &record, now).expect("a good record");
        let short = Record { bytes: &record.bytes[1..], ..record };
        let bad = other.xen.load_pc_record(DOM, &short, now);
        assert_eq!(bad, Err(Errno::Inval));
        count += 1;
    }
    assert_eq!(count, 9);
    let mut again = Vec::new();
    other.xen.pc_records(DOM, &mut again);
    assert_eq!(again, all);
}

#[test]
fn a_device_model_ends_its_domain() {
    let mut world = hvm();
    server(&mut world);
    assert_eq!(dm_op(&mut world, dm::REMOTE_SHUTDOWN, &[(0, &[1])]), 0);
    assert_eq!(world.xen.domain(DOM).unwrap().shutdown, Some(ShutdownReason::Reboot));
    world.xen.actions.clear();
    while !world.xen.destroy(&mut world.host, DOM).unwrap() {}
    assert!(world.xen.pc(DOM).unwrap().servers.is_empty());
}
