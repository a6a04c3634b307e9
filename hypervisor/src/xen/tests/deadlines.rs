//! Timers and waits: what is armed ends, and no deadline outlives what it was armed for.

use crate::xen::abi::Width;
use crate::xen::abi::layout::*;
use crate::xen::abi::nr::{hypercall as nr, sched, vcpu as op};
use crate::xen::domain::ShutdownReason;
use crate::xen::host_services::DomId;
use crate::xen::testing::{ARG, World};
use crate::xen::vlapic::reg;
use proptest::prelude::*;

const DOM: DomId = DomId(1);

/// A hypercall of a vCPU of the domU, which finishes at once.
fn call(world: &mut World, vcpu: u32, number: u32, args: [u64; 3]) -> i64 {
    let mut gpr = [0; 16];
    (gpr[0], gpr[7], gpr[6], gpr[2]) = (number.into(), args[0], args[1], args[2]);
    world.raw_on((DOM.0, vcpu), Width::Long, &mut gpr);
    gpr[0] as i64
}

fn poll(world: &mut World, vcpu: u32, timeout: u64) {
    world.put(DOM.0, ARG, &SchedPoll { ports: 0, nr_ports: 0, timeout });
    assert_eq!(call(world, vcpu, nr::SCHED_OP, [sched::POLL, ARG, 0]), 0);
}

fn wrmsr(world: &mut World, vcpu: u32, msr: u32, value: u64) {
    world.xen.wrmsr(&mut world.host, (DOM, vcpu), msr, value, Width::Long, world.now);
}

/// A write of the x2APIC register at `offset`.
fn apic(world: &mut World, vcpu: u32, offset: u32, value: u64) {
    wrmsr(world, vcpu, 0x800 + (offset >> 4), value);
}

/// A domU whose APICs are in x2APIC mode and enabled.
fn x2apic_world() -> World {
    let mut world = World::new();
    for vcpu in 0..2 {
        let bsp = if vcpu == 0 { 1 << 8 } else { 0 };
        wrmsr(&mut world, vcpu, 0x1B, 0xFEE0_0C00 | bsp);
        apic(&mut world, vcpu, reg::SVR, 0x1FF);
    }
    world
}

const INIT: u64 = 5 << 8 | 1 << 14;
const START: u64 = 6 << 8;

/// A vCPU that polls with a timeout is taken down by `down`: nothing is left of the poll.
#[track_caller]
fn check(down: impl FnOnce(&mut World)) {
    let mut world = x2apic_world();
    poll(&mut world, 1, 5_000);
    assert_eq!(world.xen.next_deadline(), Some(5_000));
    down(&mut world);
    assert_eq!(world.xen.next_deadline(), None);
    assert!(world.xen.domain(DOM).unwrap().alive());
    world.xen.tick(&mut world.host, 6_000);
    assert!(!world.xen.runnable(DOM, 1), "only a start-up message brings it back");
    apic(&mut world, 0, reg::ICR, 2 << 32 | START | 0x10);
    assert!(world.xen.runnable(DOM, 1));
    assert_eq!(world.xen.next_deadline(), None);
}

#[test]
fn a_poll_ends_with_its_vcpu() {
    check(|world| apic(world, 0, reg::ICR, 2 << 32 | INIT));
    check(|world| assert_eq!(call(world, 0, nr::VCPU_OP, [op::DOWN, 1, 0]), 0));
}

/// All vCPUs taken down by `down`: the domain has powered itself off.
#[track_caller]
fn check_end(down: impl FnOnce(&mut World)) {
    let mut world = x2apic_world();
    down(&mut world);
    assert_eq!(world.xen.domain(DOM).unwrap().shutdown, Some(ShutdownReason::Poweroff));
    assert_eq!(world.xen.next_deadline(), None);
}

#[test]
fn a_domain_ends_with_its_last_vcpu() {
    let all = 2 << 18;
    check_end(|world| apic(world, 0, reg::ICR, all | INIT));
    check_end(|world| {
        poll(world, 1, 5_000);
        apic(world, 0, reg::ICR, all | INIT);
    });
    check_end(|world| {
        assert_eq!(call(world, 0, nr::VCPU_OP, [op::DOWN, 1, 0]), 0);
        assert_eq!(call(world, 0, nr::VCPU_OP, [op::DOWN, 0, 0]), 0);
    });
    check_end(|world| {
        apic(world, 0, reg::ICR, 2 << 32 | INIT);
        world.xen.halt(&world.host, DOM, 0, false);
    });
}

/// What a vCPU may do that has to do with time.
#[derive(Debug, Clone)]
enum Step {
    Poll(u64),
    SetTimer(u64),
    Singleshot(u64),
    Periodic(u64),
    StopTimers,
    /// Register, value.
    Apic(u32, u64),
    Deadline(u64),
    /// Mode, destination or shorthand, vector.
    Ipi(u64, u64, u64),
    Down(u64),
    Halt(bool),
    Block,
    /// From here on what dom0 does.
    Pause,
    Unpause,
    Shutdown,
    Destroy,
}

fn act(world: &mut World, vcpu: u32, step: Step) {
    let at = |delta: u64| world.now.wrapping_add(delta);
    match step {
        Step::Poll(delta) => poll(world, vcpu, at(delta)),
        Step::SetTimer(delta) => {
            call(world, vcpu, nr::SET_TIMER_OP, [at(delta), 0, 0]);
        }
        Step::Singleshot(delta) => {
            let timer = SetSingleshotTimer { timeout_abs_ns: at(delta), flags: 0 };
            world.put(DOM.0, ARG, &timer);
            call(world, vcpu, nr::VCPU_OP, [op::SET_SINGLESHOT_TIMER, vcpu.into(), ARG]);
        }
        Step::Periodic(period) => {
            world.put(DOM.0, ARG, &SetPeriodicTimer { period_ns: period });
            let id = period & 1;
            call(world, vcpu, nr::VCPU_OP, [op::SET_PERIODIC_TIMER, id, ARG]);
        }
        Step::StopTimers => {
            for stop in [op::STOP_PERIODIC_TIMER, op::STOP_SINGLESHOT_TIMER] {
                call(world, vcpu, nr::VCPU_OP, [stop, vcpu.into(), 0]);
            }
        }
        Step::Apic(offset, value) => apic(world, vcpu, offset, value),
        Step::Deadline(delta) => wrmsr(world, vcpu, 0x6E0, at(delta)),
        Step::Ipi(mode, dest, vector) => {
            apic(world, vcpu, reg::ICR, dest | mode << 8 | 1 << 14 | vector);
        }
        Step::Down(id) => {
            call(world, vcpu, nr::VCPU_OP, [op::DOWN, id, 0]);
        }
        Step::Halt(interrupts) => world.xen.halt(&world.host, DOM, vcpu, interrupts),
        Step::Block => {
            call(world, vcpu, nr::SCHED_OP, [sched::BLOCK, 0, 0]);
        }
        Step::Pause => world.xen.domain_mut(DOM).unwrap().pause_count = 1,
        Step::Unpause => world.xen.domain_mut(DOM).unwrap().pause_count = 0,
        Step::Shutdown => world.xen.shutdown(DOM, ShutdownReason::Crash),
        Step::Destroy => {
            world.xen.destroy(&mut world.host, DOM).unwrap();
        }
    }
}

/// Times near and far, and beyond the end of the counter.
fn delta() -> impl Strategy<Value = u64> {
    prop_oneof![0u64..3, 0u64..200_000, Just(u64::MAX), any::<u64>()]
}

fn step() -> impl Strategy<Value = Step> {
    let apic = prop_oneof![
        (any::<u8>(), 0u64..4, any::<bool>()).prop_map(|(vector, mode, masked)| {
            (reg::LVT_TIMER, u64::from(vector) | mode << 17 | u64::from(masked) << 16)
        }),
        prop_oneof![0u64..5, 0u64..1 << 32].prop_map(|count| (reg::TIMER_INITIAL, count)),
        (0u64..16).prop_map(|divide| (reg::TIMER_DIVIDE, divide)),
        any::<bool>().prop_map(|on| (reg::SVR, 0xFF | u64::from(on) << 8)),
        Just((reg::EOI, 0)),
    ];
    let dest = prop_oneof![Just(0u64), Just(2 << 32), (1u64..4).prop_map(|kind| kind << 18)];
    let mode = prop::sample::select(alloc::vec![0u64, 0, 4, 5, 6, 6]);
    let rare = prop::sample::select(alloc::vec![Step::Shutdown, Step::Destroy]);
    prop_oneof![
        8 => delta().prop_map(Step::Poll),
        4 => delta().prop_map(Step::SetTimer),
        4 => delta().prop_map(Step::Singleshot),
        4 => (999_990u64..3_000_000).prop_map(Step::Periodic),
        2 => Just(Step::StopTimers),
        12 => apic.prop_map(|(offset, value)| Step::Apic(offset, value)),
        4 => delta().prop_map(Step::Deadline),
        12 => (mode, dest, 0u64..256).prop_map(|(mode, dest, vector)| Step::Ipi(mode, dest, vector)),
        3 => (0u64..2).prop_map(Step::Down),
        4 => any::<bool>().prop_map(Step::Halt),
        3 => Just(Step::Block),
        2 => Just(Step::Pause),
        4 => Just(Step::Unpause),
        1 => rare,
    ]
}

proptest! {
    /// Whatever the vCPUs of a domain do: after a tick the next deadline lies ahead.
    #[test]
    fn a_tick_leaves_no_deadline_behind(
        steps in prop::collection::vec((0u32..2, step(), 0u64..2_000_000), 1..60),
    ) {
        let mut world = x2apic_world();
        for (vcpu, step, pause) in steps {
            let by_dom0 =
                matches!(step, Step::Pause | Step::Unpause | Step::Shutdown | Step::Destroy);
            if by_dom0 || world.xen.runnable(DOM, vcpu) {
                act(&mut world, vcpu, step);
            }
            for later in [0, pause] {
                world.now += later;
                world.xen.tick(&mut world.host, world.now);
                let next = world.xen.next_deadline();
                prop_assert!(next.is_none_or(|at| at > world.now), "{:?} at {}", next, world.now);
            }
        }
    }
}
