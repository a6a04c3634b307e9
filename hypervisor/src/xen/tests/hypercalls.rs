//! The register ABI, multicalls, the small operations, and random registers.

use crate::xen::abi::layout::*;
use crate::xen::abi::nr::{ctl, domid, hypercall as nr};
use crate::xen::abi::{Errno, Width};
use crate::xen::domain::ShutdownReason;
use crate::xen::guest_memory::{Paging, read_gpa, write_gpa};
use crate::xen::host_services::DomId;
use crate::xen::hypercall::{Context, Flow};
use crate::xen::testing::{ARG, PAGES, World};
use crate::xen::{Action, Refused};
use alloc::vec::Vec;
use proptest::prelude::*;

#[track_caller]
fn check(dom: u16, number: u32, args: &[u64], expected: i64) {
    assert_eq!(World::new().call(dom, number, args), expected);
}

#[test]
fn results() {
    check(1, nr::XEN_VERSION, &[0, 0], 0x4_0011);
    check(1, nr::XEN_VERSION, &[7, 0], 4096);
    check(1, nr::XEN_VERSION, &[3, ARG], 0);
    check(1, nr::XEN_VERSION, &[77, ARG], Errno::NoSys.result());
    check(1, nr::XEN_VERSION, &[1, u64::MAX], Errno::Fault.result());
    check(1, nr::PLATFORM_OP, &[ARG], Errno::Perm.result());
    check(0, nr::PLATFORM_OP, &[ARG], Errno::Acces.result());
    check(1, nr::XENPMU_OP, &[ARG], Errno::NoSys.result());
    check(1, 9999, &[], Errno::NoSys.result());
    check(1, nr::SYSCTL, &[ARG], Errno::Perm.result());
    check(1, nr::DOMCTL, &[ARG], Errno::Perm.result());
    check(0, nr::DOMCTL, &[ARG], Errno::Acces.result());
    check(0, nr::SYSCTL, &[ARG], Errno::Acces.result());
    check(1, nr::CONSOLE_IO, &[1, 10, ARG], Errno::Perm.result());
    check(1, nr::CONSOLE_IO, &[0, u64::MAX, ARG], Errno::Inval.result());
    check(0, nr::CONSOLE_IO, &[1, 10, ARG], 0);
    check(1, nr::SCHED_OP, &[0, 0], 0);
    check(1, nr::SCHED_OP, &[6, 0], Errno::NoSys.result());
    check(1, nr::SCHED_OP, &[4, ARG], Errno::Perm.result());
    check(1, nr::VCPU_OP, &[3, 1, 0], 1);
    check(1, nr::VCPU_OP, &[3, 2, 0], Errno::NoEnt.result());
    check(1, nr::VCPU_OP, &[3, u64::MAX, 0], Errno::NoEnt.result());
    check(1, nr::VCPU_OP, &[8, 1, ARG], Errno::Inval.result());
    check(1, nr::VCPU_OP, &[99, 0, ARG], Errno::NoSys.result());
    check(1, nr::GRANT_TABLE_OP, &[6, ARG, 2], Errno::Inval.result());
    check(1, nr::HVM_OP, &[9, ARG], Errno::NoSys.result());
}

#[test]
fn refused_numbers_are_counted() {
    let mut world = World::new();
    for number in [5_000, 6_000, nr::XENPMU_OP] {
        world.call(1, number, &[u64::MAX]);
    }
    let counted: Vec<_> = world.xen.refused.counts.clone().into_iter().collect();
    assert_eq!(counted, [((nr::XENPMU_OP, 255), 1), ((nr::LIMIT, 255), 2)]);
    for operation in 0..1000 {
        world.call(1, nr::XENPMU_OP, &[operation]);
    }
    let Refused { counts, others } = &world.xen.refused;
    assert_eq!((counts.len(), counts.values().sum::<u64>() + others), (Refused::MOST, 1003));
    assert_eq!(counts[&(nr::XENPMU_OP, 255)], 1 + 745, "those that are known still count");
}

#[test]
fn user_code_may_not_call() {
    let mut world = World::new();
    let mut gpr = [0; 16];
    gpr[0] = nr::XEN_VERSION.into();
    let context = Context { paging: Paging::default(), cpl: 3, width: Width::Long, now: 0 };
    world.xen.hypercall(&mut world.host, (DomId(1), 0), &mut gpr, context);
    assert_eq!(gpr[0] as i64, Errno::Perm.result());
}

#[test]
fn compat_callers_use_their_registers() {
    let mut world = World::new();
    let mut gpr = [0xFFFF_FFFF_0000_0000; 16];
    gpr[0] |= u64::from(nr::XEN_VERSION);
    world.raw(1, Width::Compat, &mut gpr);
    assert_eq!(gpr[0], 0x4_0011);
    gpr[0] = 9999;
    world.raw(1, Width::Compat, &mut gpr);
    assert_eq!(gpr[0], 0xFFFF_FFDA, "-ENOSYS in 32 bits");
    // add_to_physmap(shared_info at 20) in its compat layout.
    let arg = AddToPhysmap { domid: domid::SELF, size: 0, space: 0, idx: 0, gpfn: 20 };
    let mut raw = [0; 16];
    arg.encode(Width::Compat, &mut raw);
    write_gpa(&mut world.host, DomId(1), ARG, &raw).unwrap();
    let mut gpr = [0; 16];
    (gpr[0], gpr[3], gpr[1]) = (nr::MEMORY_OP.into(), 7, ARG);
    world.raw(1, Width::Compat, &mut gpr);
    assert_eq!((gpr[0], world.xen.domain(DomId(1)).unwrap().shared_info_gfn), (0, 20));
}

fn multicall(world: &mut World, at: u64, op: u64, args: [u64; 6]) {
    world.put(1, at, &MulticallHead { op, result: 0xDEAD });
    for (index, arg) in args.into_iter().enumerate() {
        world.put(1, at + 16 + index as u64 * 8, &GetPhysid { phys_id: arg });
    }
}

#[test]
fn multicalls() {
    let mut world = World::new();
    multicall(&mut world, ARG, nr::XEN_VERSION.into(), [0; 6]);
    multicall(&mut world, ARG + 64, 9999, [0; 6]);
    multicall(&mut world, ARG + 128, nr::MULTICALL.into(), [ARG, 1, 0, 0, 0, 0]);
    assert_eq!(world.call(1, nr::MULTICALL, &[ARG, 3]), 0);
    let results = [0, 64, 128].map(|at| world.get::<MulticallHead>(1, ARG + at).result as i64);
    assert_eq!(results, [0x4_0011, Errno::NoSys.result(), Errno::Inval.result()]);
    assert_eq!(world.call(1, nr::MULTICALL, &[u64::MAX, 1]), Errno::Fault.result());
}

/// The effects of a call are carried out before the hypervisor gathers more: the memory for them
/// is bounded.
#[test]
fn output_is_bounded() {
    let mut world = World::new();
    write_gpa(&mut world.host, DomId(1), 0x4000, &[b'\n'; 0x3000]).unwrap();
    let mut gpr = [0; 16];
    (gpr[0], gpr[7], gpr[6], gpr[2]) = (nr::CONSOLE_IO.into(), 0, 0x300, 0x4000);
    for flow in [Flow::Again, Flow::Again, Flow::Next] {
        assert_eq!(world.raw(1, Width::Long, &mut gpr), flow);
        assert_eq!(core::mem::take(&mut world.xen.actions).len(), 256);
    }
    for index in 0..2 {
        let args = [0, 256, 0x4000, 0, 0, 0];
        multicall(&mut world, ARG + index * 64, nr::CONSOLE_IO.into(), args);
    }
    (gpr[0], gpr[7], gpr[6]) = (nr::MULTICALL.into(), ARG, 2);
    for flow in [Flow::Again, Flow::Next] {
        assert_eq!(world.raw(1, Width::Long, &mut gpr), flow);
        assert_eq!(core::mem::take(&mut world.xen.actions).len(), 256);
    }
}

#[test]
fn console_lines() {
    let mut world = World::new();
    write_gpa(&mut world.host, DomId(1), ARG, b"one\r\ntwo").unwrap();
    world.call(1, nr::CONSOLE_IO, &[0, 8, ARG]);
    let line = |line: &str| Action::Output { dom: DomId(1), line: line.into() };
    assert_eq!(world.xen.actions, [line("one")]);
    world.xen.shutdown(DomId(1), ShutdownReason::Poweroff);
    let end = Action::Shutdown { dom: DomId(1), reason: ShutdownReason::Poweroff };
    assert_eq!(world.xen.actions[1..], [line("two"), end]);
    world.xen.console_input.extend(b"typed");
    assert_eq!(world.call(0, nr::CONSOLE_IO, &[1, 3, ARG]), 3);
    let mut bytes = [0; 3];
    read_gpa(&world.host, DomId(0), ARG, &mut bytes).unwrap();
    assert_eq!(&bytes, b"typ");
}

fn domctl(world: &mut World, cmd: u32, domain: u16) -> i64 {
    let head = DomctlHead { cmd, interface_version: 0x15, domain };
    world.put(0, ARG, &head);
    world.call(0, nr::DOMCTL, &[ARG])
}

#[test]
fn dom0_lists_and_pauses() {
    let mut world = World::new();
    world.put(0, ARG, &SysctlHead { cmd: ctl::SYS_GETDOMAININFOLIST, interface_version: 0x15 });
    let list = DomainInfoList { first_domain: 1, max_domains: 9, buffer: 0x2000, num_domains: 0 };
    world.put(0, ARG + 8, &list);
    assert_eq!(world.call(0, nr::SYSCTL, &[ARG]), 0);
    assert_eq!(world.get::<DomainInfoList>(0, ARG + 8).num_domains, 2);
    let second: DomainInfo = world.get(0, 0x2000 + 112);
    assert_eq!((second.domain, second.tot_pages, second.nr_online_vcpus), (2, PAGES, 2));
    assert_eq!(domctl(&mut world, ctl::DOM_PAUSE, 1), 0);
    assert!(!world.xen.runnable(DomId(1), 0));
    assert_eq!(domctl(&mut world, ctl::DOM_GETINFO, 1), 0);
    let info: DomainInfo = world.get(0, ARG + 16);
    assert_eq!(info.flags & ctl::INFO_PAUSED, ctl::INFO_PAUSED);
    assert_eq!(domctl(&mut world, ctl::DOM_UNPAUSE, 1), 0);
    assert!(world.xen.runnable(DomId(1), 0));
    assert_eq!(domctl(&mut world, ctl::DOM_UNPAUSE, 1), Errno::Inval.result());
    assert_eq!(domctl(&mut world, ctl::DOM_PAUSE, 0), Errno::Inval.result(), "itself");
    assert_eq!(domctl(&mut world, ctl::DOM_PAUSE, 7), Errno::Srch.result());
    assert_eq!(domctl(&mut world, ctl::DOM_DESTROY, 2), 0);
    assert!(world.xen.actions.contains(&Action::Destroyed(DomId(2))));
    assert_eq!(domctl(&mut world, 26, 1), Errno::NoSys.result());
}

#[test]
fn shutdown_reasons() {
    let mut world = World::new();
    let reason = SchedShutdown { reason: 9 };
    assert_eq!(world.op(1, nr::SCHED_OP, 2, reason).0, Errno::Inval.result());
    assert!(world.xen.runnable(DomId(1), 0));
    world.op(1, nr::SCHED_OP, 2, SchedShutdown { reason: 3 });
    assert_eq!(world.xen.domain(DomId(1)).unwrap().shutdown, Some(ShutdownReason::Crash));
    assert!(!world.xen.runnable(DomId(1), 1));
}

fn share(world: &mut World, cmd: u32, weight: u16, cap: u16) -> (i64, u16, u16) {
    let arg = DomctlScheduler { sched_id: ctl::SCHED_CREDIT2, cmd, weight, cap };
    world.put(0, ARG + 16, &arg);
    let result = domctl(world, ctl::DOM_SCHEDULER_OP, 1);
    let DomctlScheduler { weight, cap, .. } = world.get(0, ARG + 16);
    (result, weight, cap)
}

#[test]
fn dom0_sets_weights_and_caps() {
    let mut world = World::new();
    assert_eq!(share(&mut world, ctl::SCHED_GETINFO, 0, 0), (0, 256, 0));
    assert_eq!(share(&mut world, ctl::SCHED_PUTINFO, 512, u16::MAX).0, 0);
    assert_eq!(share(&mut world, ctl::SCHED_PUTINFO, 0, 40).0, 0);
    assert_eq!(share(&mut world, ctl::SCHED_GETINFO, 0, 0), (0, 512, 40));
    assert_eq!(share(&mut world, 2, 0, 0).0, Errno::Inval.result(), "putvcpuinfo");
    world.put(0, ARG, &SysctlHead { cmd: ctl::SYS_SCHEDULER_OP, interface_version: 0x15 });
    let slice = SysctlScheduler {
        sched_id: ctl::SCHED_CREDIT2,
        cmd: ctl::SCHED_GETINFO,
        ..Default::default()
    };
    world.put(0, ARG + 8, &slice);
    assert_eq!(world.call(0, nr::SYSCTL, &[ARG]), 0);
    assert_eq!(world.get::<SysctlScheduler>(0, ARG + 8).ratelimit_us, 0);
}

fn set_time(world: &mut World, time: SetTime64) -> i64 {
    world.put(0, ARG, &PlatformHead { cmd: 62, interface_version: 0x0300_0001 });
    world.put(0, ARG + 8, &time);
    world.call(0, nr::PLATFORM_OP, &[ARG])
}

#[test]
fn dom0_sets_the_wall_clock_of_all() {
    let mut world = World::new();
    let time = SetTime64 { secs: 5_000_000_000, nsecs: 7, mbz: 0, system_time: 1_000_000_008 };
    assert_eq!(set_time(&mut world, time), 0);
    assert_eq!(world.xen.wallclock, (4_999_999_998, 999_999_999));
    let arg = AddToPhysmap { domid: domid::SELF, size: 0, space: 0, idx: 0, gpfn: 20 };
    world.op(2, nr::MEMORY_OP, 7, arg);
    let words = [0, 4, 8, 12].map(|at| world.get::<EvtchnPort>(2, (20 << 12) + 3072 + at).port);
    assert_eq!(words, [4, 4_999_999_998_u64 as u32, 999_999_999, 1]);
    for bad in [
        SetTime64 { mbz: 1, ..time },
        SetTime64 { nsecs: 1_000_000_000, ..time },
        SetTime64 { secs: u64::MAX, ..time },
        SetTime64 { system_time: u64::MAX, ..time },
    ] {
        assert_eq!(set_time(&mut world, bad), Errno::Inval.result());
    }
}

fn param(world: &mut World, dom: u16, cmd: u64, index: u32, value: u64) -> (i64, u64) {
    let arg = HvmParam { domid: domid::SELF, index, value };
    let (result, arg) = world.op(dom, nr::HVM_OP, cmd, arg);
    (result, arg.value)
}

#[test]
fn hvm_params() {
    let mut world = World::new();
    let callback = 2 << 56 | 0xF3;
    assert_eq!(param(&mut world, 1, 0, 0, callback).0, 0);
    assert_eq!(param(&mut world, 1, 1, 0, 0), (0, callback));
    for index in [1, 2, 17, 18] {
        let (result, _) = param(&mut world, 1, 1, index, 77);
        assert_eq!(result, Errno::NoEnt.result(), "no ring, parameter {index}");
    }
    assert_eq!(param(&mut world, 1, 1, 3, 77), (0, 0));
    assert_eq!(param(&mut world, 1, 0, 2, 5).0, Errno::Perm.result());
    let of_domu = HvmParam { domid: 1, index: 2, value: 5 };
    assert_eq!(world.op(0, nr::HVM_OP, 0, of_domu).0, 0);
    assert_eq!(param(&mut world, 1, 1, 2, 0), (0, 5));
    assert_eq!(param(&mut world, 1, 1, 39, 0).0, Errno::Inval.result());
    assert_eq!(param(&mut world, 1, 0, u32::MAX, 0).0, Errno::Inval.result());
}

#[test]
fn runstate_is_kept() {
    let mut world = World::new();
    let xen = &mut world.xen;
    let dom = DomId(1);
    xen.run(&mut world.host, dom, 0, 100);
    xen.stop(&mut world.host, dom, 0, 350);
    xen.run(&mut world.host, dom, 0, 400);
    // The area crosses a page.
    let area = RegisterArea { addr: 0x3FF0 };
    world.put(1, ARG, &area);
    assert_eq!(world.call(1, nr::VCPU_OP, &[5, 0, ARG]), 0);
    let info: RunstateInfo = world.get(1, 0x3FF0);
    assert_eq!((info.state, info.running, info.runnable), (0, 250, 50));
    world.xen.stop(&mut world.host, dom, 0, 1000);
    let info: RunstateInfo = world.get(1, 0x3FF0);
    assert_eq!((info.state, info.state_entry_time, info.running), (1, 1000, 850));
    world.put(1, ARG, &RegisterArea { addr: u64::MAX });
    assert_eq!(world.call(1, nr::VCPU_OP, &[5, 0, ARG]), Errno::Fault.result());
}

/// Small numbers, addresses of RAM and of nothing, and anything else.
fn word() -> impl Strategy<Value = u64> {
    prop_oneof![
        0u64..48,
        (0u64..PAGES * 4096).prop_map(|at| at & !7),
        any::<u64>(),
        Just(u64::MAX),
        Just(1 << 31),
    ]
}

proptest! {
    /// Any registers, any width, any memory at the arguments: an answer, never a panic, and a
    /// bounded number of continuations.
    #[test]
    fn random_calls_never_panic(
        calls in prop::collection::vec(
            (0u64..64, prop::array::uniform6(word()), 0u16..3, any::<bool>()), 1..30),
        memory in prop::collection::vec((0u64..PAGES * 512, word()), 0..200),
    ) {
        let mut world = World::new();
        for (slot, value) in memory {
            for dom in 0..3 {
                world.put(dom, slot * 8, &GetPhysid { phys_id: value });
            }
        }
        for (number, args, dom, long) in calls {
            let mut gpr = [0; 16];
            gpr[0] = number;
            let (width, places) = if long {
                (Width::Long, [7, 6, 2, 10, 8, 9])
            } else {
                (Width::Compat, [3, 1, 2, 6, 7, 5])
            };
            places.into_iter().zip(args).for_each(|(place, arg)| gpr[place] = arg);
            for _ in 0..8 {
                if world.raw(dom, width, &mut gpr) == Flow::Next {
                    break;
                }
                world.save_vcpus();
            }
            world.now += 1000;
            world.xen.tick(&mut world.host, world.now);
            for action in core::mem::take(&mut world.xen.actions) {
                if let Action::Destroyed(dom) = action {
                    world.xen.destroyed(&mut world.host, dom);
                }
            }
        }
    }
}
