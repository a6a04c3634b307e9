//! Event channels: the operations, the upcall, and a model that counts every event.

use crate::xen::abi::Errno;
use crate::xen::abi::layout::*;
use crate::xen::abi::nr::{domid, evtchn as op, hypercall as nr, virq};
use crate::xen::host_services::{DomId, HostServices};
use crate::xen::testing::{ARG, World};
use crate::xen::vcpu::Activity;
use proptest::prelude::*;

fn alloc(world: &mut World, dom: u16, remote: u16) -> (i64, u32) {
    let arg = EvtchnAllocUnbound { dom: domid::SELF, remote_dom: remote, port: 0 };
    let (result, arg) = world.op(dom, nr::EVENT_CHANNEL_OP, op::ALLOC_UNBOUND, arg);
    (result, arg.port)
}

fn bind(world: &mut World, dom: u16, remote: u16, port: u32) -> (i64, u32) {
    let arg = EvtchnBindInterdomain { remote_dom: remote, remote_port: port, local_port: 0 };
    let (result, arg) = world.op(dom, nr::EVENT_CHANNEL_OP, op::BIND_INTERDOMAIN, arg);
    (result, arg.local_port)
}

fn port_op(world: &mut World, dom: u16, cmd: u64, port: u32) -> i64 {
    world.op(dom, nr::EVENT_CHANNEL_OP, cmd, EvtchnPort { port }).0
}

/// Reads and clears a byte-wide or bit-wide piece of the domain's shared page.
fn shared(world: &mut World, dom: u16, offset: usize, mask: u8) -> bool {
    let page = world.xen.domain(DomId(dom)).unwrap().shared_info;
    let mut byte = [0];
    world.host.read(page, offset, &mut byte);
    world.host.write(page, offset, &[byte[0] & !mask]);
    byte[0] & mask != 0
}

/// Does the work of a guest's upcall handler: true if `port` was pending.
fn consume(world: &mut World, dom: u16, port: u32) -> bool {
    shared(world, dom, 0, 0xFF);
    shared(world, dom, 8 + port as usize / 512, 1 << (port / 64 % 8));
    shared(world, dom, 2048 + port as usize / 8, 1 << (port % 8))
}

/// A connection between domains 1 and 2, both ends drained: their ports.
fn connect(world: &mut World) -> (u32, u32) {
    let (_, one) = alloc(world, 1, 2);
    let (result, two) = bind(world, 2, 1, one);
    assert_eq!(result, 0);
    consume(world, 2, two);
    (one, two)
}

#[test]
fn an_event_arrives_once() {
    let mut world = World::new();
    let (one, two) = connect(&mut world);
    assert_eq!(port_op(&mut world, 1, op::SEND, one), 0);
    assert!(consume(&mut world, 2, two));
    assert!(!consume(&mut world, 2, two));
    assert!(!consume(&mut world, 1, one));
}

#[test]
fn a_bound_end_starts_pending() {
    let mut world = World::new();
    let (_, one) = alloc(&mut world, 1, 2);
    let (_, two) = bind(&mut world, 2, 1, one);
    assert!(consume(&mut world, 2, two));
}

#[track_caller]
fn refused(cmd: u64, words: [u32; 3], expected: Errno) {
    let mut world = World::new();
    let (one, _) = connect(&mut world);
    assert_eq!(one, 1);
    let arg = EvtchnBindVirq { virq: words[0], vcpu: words[1], port: words[2] };
    let (result, _) = world.op(1, nr::EVENT_CHANNEL_OP, cmd, arg);
    assert_eq!(result, expected.result());
}

#[track_caller]
fn refused_control(offset: u32, vcpu: u32, expected: Errno) {
    let arg = EvtchnInitControl { control_gfn: 9, offset, vcpu, link_bits: 0 };
    let (result, _) = World::new().op(1, nr::EVENT_CHANNEL_OP, op::INIT_CONTROL, arg);
    assert_eq!(result, expected.result());
}

#[test]
fn refusals() {
    refused(op::SEND, [0; 3], Errno::Inval);
    refused(op::SEND, [2, 0, 0], Errno::Inval);
    refused(op::SEND, [u32::MAX, 0, 0], Errno::Inval);
    refused(op::CLOSE, [4096, 0, 0], Errno::Inval);
    refused(op::UNMASK, [5000, 0, 0], Errno::Inval);
    refused(op::BIND_VCPU, [1, 2, 0], Errno::NoEnt);
    refused(op::BIND_VCPU, [7, 0, 0], Errno::Inval);
    refused(op::BIND_VIRQ, [24, 0, 0], Errno::Inval);
    refused(op::BIND_VIRQ, [virq::CONSOLE, 1, 0], Errno::Inval);
    refused(op::BIND_VIRQ, [virq::TIMER, 9, 0], Errno::NoEnt);
    refused(op::BIND_IPI, [2, 0, 0], Errno::NoEnt);
    // A second end for the same port, a port of nobody, a port of oneself that waits for another.
    refused(op::BIND_INTERDOMAIN, [2, 1, 0], Errno::Inval);
    refused(op::BIND_INTERDOMAIN, [9, 1, 0], Errno::Srch);
    refused(op::BIND_INTERDOMAIN, [1, 1, 0], Errno::Inval);
    // Another domain's ports, without privilege.
    refused(op::ALLOC_UNBOUND, [2, 0, 0], Errno::Perm);
    refused(op::RESET, [0, 0, 0], Errno::Perm);
    // The FIFO ABI: a vCPU that is not there, a block that leaves its page or is not aligned, and then that
    // there is none.
    refused_control(0, 2, Errno::NoEnt);
    refused_control(4096 - 64, 0, Errno::Inval);
    refused_control(4, 0, Errno::Inval);
    refused_control(u32::MAX, 0, Errno::Inval);
    refused_control(4096 - 72, 1, Errno::NoSys);
    refused(op::EXPAND_ARRAY, [9, 0, 0], Errno::OpNotSupp);
    refused(op::SET_PRIORITY, [4096, 0, 0], Errno::Inval);
    refused(op::SET_PRIORITY, [1, 0, 0], Errno::NoSys);
    refused(op::BIND_PIRQ, [0; 3], Errno::NoSys);
    refused(99, [0; 3], Errno::NoSys);
}

#[test]
fn ports_run_out() {
    let mut world = World::new();
    for port in 1..4096 {
        assert_eq!(alloc(&mut world, 1, 2), (0, port));
    }
    assert_eq!(alloc(&mut world, 1, 2).0, Errno::NoSpc.result());
    assert_eq!(port_op(&mut world, 1, op::CLOSE, 77), 0);
    assert_eq!(alloc(&mut world, 1, 2), (0, 77));
}

#[test]
fn closing_leaves_the_peer_unbound() {
    let mut world = World::new();
    let (one, two) = connect(&mut world);
    assert_eq!(port_op(&mut world, 2, op::CLOSE, two), 0);
    let status = EvtchnStatus { dom: domid::SELF, port: one, ..Default::default() };
    let (_, status) = world.op(1, nr::EVENT_CHANNEL_OP, op::STATUS, status);
    assert_eq!((status.status, status.u0), (op::STAT_UNBOUND, 2));
    let (result, reserved) =
        world.op(1, nr::EVENT_CHANNEL_OP, op::STATUS, EvtchnStatus { port: 0, ..status });
    assert_eq!((result, reserved.status), (0, op::STAT_CLOSED));
    assert_eq!(port_op(&mut world, 1, op::SEND, one), 0, "swallowed");
    assert_eq!(bind(&mut world, 2, 1, one).0, 0, "and bound again");
}

#[test]
fn a_masked_event_waits_for_unmask() {
    let mut world = World::new();
    let (one, two) = connect(&mut world);
    let page = world.xen.domain(DomId(2)).unwrap().shared_info;
    world.host.write(page, 2560, &[1 << two]);
    port_op(&mut world, 1, op::SEND, one);
    assert!(!shared(&mut world, 2, 0, 0xFF), "no upcall while masked");
    assert_eq!(port_op(&mut world, 2, op::UNMASK, two), 0);
    assert!(shared(&mut world, 2, 0, 0xFF));
    assert!(consume(&mut world, 2, two));
}

#[test]
fn the_timer_virq_fires_once_and_wakes() {
    let mut world = World::new();
    let arg = EvtchnBindVirq { virq: virq::TIMER, vcpu: 0, port: 0 };
    let (_, EvtchnBindVirq { port, .. }) = world.op(1, nr::EVENT_CHANNEL_OP, op::BIND_VIRQ, arg);
    let (again, _) = world.op(1, nr::EVENT_CHANNEL_OP, op::BIND_VIRQ, arg);
    assert_eq!(again, Errno::Exist.result());
    world.call(1, nr::SET_TIMER_OP, &[5_000]);
    assert_eq!(world.xen.next_deadline(), Some(5_000));
    world.call(1, nr::SCHED_OP, &[1, 0]);
    assert!(!world.xen.runnable(DomId(1), 0), "blocked");
    world.xen.tick(&mut world.host, 4_999);
    assert!(!world.xen.runnable(DomId(1), 0), "too early");
    world.xen.tick(&mut world.host, 5_000);
    assert!(world.xen.runnable(DomId(1), 0));
    assert!(consume(&mut world, 1, port));
    assert_eq!(world.xen.next_deadline(), None);
}

fn poll(world: &mut World, port: u32, timeout: u64) -> i64 {
    world.put(1, 0x2000, &EvtchnPort { port });
    world.op(1, nr::SCHED_OP, 3, SchedPoll { ports: 0x2000, nr_ports: 1, timeout }).0
}

#[test]
fn poll_ends_by_event_or_time() {
    let mut world = World::new();
    let (one, two) = connect(&mut world);
    assert_eq!(poll(&mut world, one, 0), 0);
    assert!(matches!(world.xen.vcpu(DomId(1), 0).unwrap().activity, Activity::Polling(_)));
    // Even a masked port ends a poll.
    let page = world.xen.domain(DomId(1)).unwrap().shared_info;
    world.host.write(page, 2560, &[1 << one]);
    port_op(&mut world, 2, op::SEND, two);
    assert!(world.xen.runnable(DomId(1), 0));
    assert_eq!(poll(&mut world, one, 0), 0);
    assert!(world.xen.runnable(DomId(1), 0), "still pending: no wait");
    consume(&mut world, 1, one);
    poll(&mut world, one, 9_000);
    assert!(!world.xen.runnable(DomId(1), 0));
    world.xen.tick(&mut world.host, 9_000);
    assert!(world.xen.runnable(DomId(1), 0));
    assert_eq!(poll(&mut world, 999, 0), Errno::Inval.result());
}

#[test]
fn a_moved_vcpu_info_gets_the_events() {
    let mut world = World::new();
    let (one, two) = connect(&mut world);
    let place = RegisterVcpuInfo { mfn: 5, offset: 0x40 };
    world.put(2, ARG, &place);
    assert_eq!(world.call(2, nr::VCPU_OP, &[10, 0, ARG]), 0);
    let pending: EvtchnPort = world.get(2, 0x5040);
    assert_eq!(pending.port & 0xFF, 1, "marked at once");
    world.put(2, 0x5040, &GetPhysid { phys_id: 0 });
    world.put(2, 0x5048, &GetPhysid { phys_id: 0 });
    port_op(&mut world, 1, op::SEND, one);
    let selected: GetPhysid = world.get(2, 0x5048);
    assert_eq!(selected.phys_id, 1 << (two / 64));
    assert_eq!(world.call(2, nr::VCPU_OP, &[10, 0, ARG]), Errno::Inval.result(), "only once");
}

/// One step of the model: who does what.
#[derive(Debug, Clone, Copy)]
enum Act {
    Send(bool),
    Consume(bool),
    Mask(bool, bool),
}

fn act() -> impl Strategy<Value = Act> {
    prop_oneof![
        any::<bool>().prop_map(Act::Send),
        any::<bool>().prop_map(Act::Consume),
        (any::<bool>(), any::<bool>()).prop_map(|(end, mask)| Act::Mask(end, mask)),
    ]
}

proptest! {
    /// Whatever the order: an end sees an event exactly when its peer has sent since it looked
    /// last, and an unmasked pending event has its upcall.
    #[test]
    fn every_send_is_seen_exactly_once(acts in prop::collection::vec(act(), 1..80)) {
        let mut world = World::new();
        let (one, two) = connect(&mut world);
        let (mut sent, mut masked) = ([false; 2], [false; 2]);
        let ends = [(1u16, one), (2, two)];
        for act in acts {
            match act {
                Act::Send(end) => {
                    let (dom, port) = ends[usize::from(end)];
                    prop_assert_eq!(port_op(&mut world, dom, op::SEND, port), 0);
                    let fresh = !core::mem::replace(&mut sent[usize::from(!end)], true);
                    let (peer, _) = ends[usize::from(!end)];
                    if fresh && !masked[usize::from(!end)] {
                        let page = world.xen.domain(DomId(peer)).unwrap().shared_info;
                        let mut byte = [0];
                        world.host.read(page, 0, &mut byte);
                        prop_assert_eq!(byte[0], 1);
                    }
                }
                Act::Consume(end) => {
                    let (dom, port) = ends[usize::from(end)];
                    let expected = core::mem::replace(&mut sent[usize::from(end)], false);
                    prop_assert_eq!(consume(&mut world, dom, port), expected);
                }
                Act::Mask(end, true) => {
                    let (dom, port) = ends[usize::from(end)];
                    let page = world.xen.domain(DomId(dom)).unwrap().shared_info;
                    world.host.write(page, 2560 + port as usize / 8, &[1 << (port % 8)]);
                    masked[usize::from(end)] = true;
                }
                Act::Mask(end, false) => {
                    let (dom, port) = ends[usize::from(end)];
                    prop_assert_eq!(port_op(&mut world, dom, op::UNMASK, port), 0);
                    masked[usize::from(end)] = false;
                }
            }
        }
    }
}
