//! Local APIC, I/O APIC, COM1, CPUID, MSRs and the clock.

use crate::xen::devices::{Msr, SLEEP_PORT};
use crate::xen::host_services::{DomId, HostServices};
use crate::xen::testing::World;
use crate::xen::vcpu::Activity;
use crate::xen::vlapic::{self, MIN_PERIOD, reg};
use crate::xen::{Action, Clock, Event, ShutdownReason, Width, vioapic, vuart};
use alloc::vec::Vec;
use proptest::prelude::*;

const DOM: DomId = DomId(1);

/// A domU whose APICs are in x2APIC mode and enabled.
fn x2apic_world() -> World {
    let mut world = World::new();
    for vcpu in 0..2 {
        let bsp = if vcpu == 0 { 1 << 8 } else { 0 };
        assert_eq!(wrmsr(&mut world, vcpu, 0x1B, 0xFEE0_0C00 | bsp), Msr::Done);
        assert_eq!(apic(&mut world, vcpu, reg::SVR, 0x1FF), Msr::Done);
    }
    world
}

fn wrmsr(world: &mut World, vcpu: u32, msr: u32, value: u64) -> Msr {
    world.xen.wrmsr(&mut world.host, (DOM, vcpu), msr, value, Width::Long, world.now)
}

fn apic(world: &mut World, vcpu: u32, offset: u32, value: u64) -> Msr {
    wrmsr(world, vcpu, 0x800 + (offset >> 4), value)
}

fn read(world: &mut World, vcpu: u32, offset: u32) -> Msr {
    world.xen.rdmsr(DOM, vcpu, 0x800 + (offset >> 4), world.now)
}

fn pending(world: &World, vcpu: u32) -> Option<Event> {
    world.xen.pending(&world.host, DOM, vcpu)
}

#[test]
fn modes() {
    let mut world = World::new();
    assert_eq!(read(&mut world, 0, reg::ID), Msr::Gp, "not in x2APIC mode");
    let mut rows = alloc::vec![(0xFEE0_0500, Msr::Gp), (0xFEC0_0D00, Msr::Gp)];
    // To x2APIC, not back to xAPIC, off, and not from off to x2APIC.
    rows.extend([(0xFEE0_0D00, Msr::Done), (0xFEE0_0900, Msr::Gp), (0xFEE0_0100, Msr::Done)]);
    rows.extend([(0xFEE0_0D00, Msr::Gp), (0xFEE0_0900, Msr::Done), (1 << 40, Msr::Gp)]);
    for (value, expected) in rows {
        assert_eq!(wrmsr(&mut world, 0, 0x1B, value), expected, "{value:#x}");
    }
}

#[test]
fn registers() {
    let mut world = x2apic_world();
    let rows = [
        (reg::ID, Msr::Value(2)),
        (reg::VERSION, Msr::Value(0x5_0014)),
        (reg::LDR, Msr::Value(4)),
        (reg::DFR, Msr::Gp),
        (reg::EOI, Msr::Gp),
        (reg::ICR, Msr::Value(0)),
        (reg::ICR_HIGH, Msr::Gp),
        (reg::LVT_TIMER, Msr::Value(1 << 16)),
        (0x000, Msr::Gp),
        (0x3B0, Msr::Gp),
    ];
    for (offset, expected) in rows {
        assert_eq!(read(&mut world, 1, offset), expected, "{offset:#x}");
    }
    let writes = [
        (reg::TPR, 0x20, Msr::Done),
        (reg::EOI, 1, Msr::Gp),
        (reg::ID, 1, Msr::Gp),
        (reg::LDR, 1, Msr::Gp),
        (reg::TPR, 1 << 32, Msr::Gp),
        (reg::VERSION, 0, Msr::Gp),
        (reg::LVT_LINT0, 0x700, Msr::Done),
    ];
    for (offset, value, expected) in writes {
        assert_eq!(apic(&mut world, 1, offset, value), expected, "{offset:#x}");
    }
}

#[test]
fn priorities() {
    let mut world = x2apic_world();
    for vector in [0x31, 0x52, 0x51] {
        apic(&mut world, 0, reg::SELF_IPI, vector);
    }
    assert_eq!(pending(&world, 0), Some(Event::Interrupt(0x52)));
    world.xen.set_cr8(DOM, 0, 5);
    assert_eq!(pending(&world, 0), None);
    world.xen.set_cr8(DOM, 0, 0);
    world.xen.accept(DOM, 0, Event::Interrupt(0x52));
    assert_eq!(pending(&world, 0), None, "same class in service");
    assert_eq!(read(&mut world, 0, reg::PPR), Msr::Value(0x50));
    apic(&mut world, 0, reg::SELF_IPI, 0x60);
    assert_eq!(pending(&world, 0), Some(Event::Interrupt(0x60)));
    world.xen.accept(DOM, 0, Event::Interrupt(0x60));
    apic(&mut world, 0, reg::EOI, 0);
    apic(&mut world, 0, reg::EOI, 0);
    assert_eq!(pending(&world, 0), Some(Event::Interrupt(0x51)));
    apic(&mut world, 0, reg::SELF_IPI, 5);
    apic(&mut world, 0, reg::ESR, 0);
    assert_eq!(read(&mut world, 0, reg::ESR), Msr::Value(1 << 6));
}

/// An illegal vector that is sent, with the interrupt of errors masked, legal and illegal itself.
#[test]
fn errors() {
    for (lvt, esr, interrupt) in [
        (1 << 16 | 5, 1 << 5, None),
        (0x61, 1 << 5, Some(Event::Interrupt(0x61))),
        (5, 1 << 5 | 1 << 6, None),
    ] {
        let mut world = x2apic_world();
        apic(&mut world, 0, reg::LVT_ERROR, lvt);
        apic(&mut world, 0, reg::ICR, 2 << 32 | 5);
        apic(&mut world, 0, reg::ESR, 0);
        assert_eq!(read(&mut world, 0, reg::ESR), Msr::Value(esr), "{lvt:#x}");
        assert_eq!(pending(&world, 0), interrupt, "{lvt:#x}");
    }
}

/// vCPU 0 sends `icr`; which vCPUs have an interrupt then.
#[track_caller]
fn ipi(icr: u64, expected: [bool; 2]) {
    let mut world = x2apic_world();
    apic(&mut world, 0, reg::ICR, icr);
    assert_eq!([0, 1].map(|vcpu| pending(&world, vcpu).is_some()), expected, "{icr:#x}");
}

#[test]
fn destinations() {
    ipi(2 << 32 | 0x40, [false, true]);
    ipi(0x40, [true, false]);
    ipi(7 << 32 | 0x40, [false, false]);
    ipi(0xFFFF_FFFF << 32 | 0x40, [true, true]);
    ipi(1 << 18 | 0x40, [true, false]);
    ipi(2 << 18 | 0x40, [true, true]);
    ipi(3 << 18 | 0x40, [false, true]);
    ipi(5 << 32 | 1 << 11 | 0x40, [true, true]);
    ipi(4 << 32 | 1 << 11 | 0x40, [false, true]);
    ipi(0x1_0005 << 32 | 1 << 11 | 0x40, [false, false]);
    ipi(5 << 32 | 1 << 11 | 1 << 8 | 0x40, [true, false]);
    ipi(2 << 32 | 4 << 8, [false, true]);
    ipi(2 << 32 | 0x0F, [false, false]);
}

#[test]
fn start_up() {
    let mut world = x2apic_world();
    world.xen.vcpu_mut(DOM, 1).unwrap().activity = Activity::Down;
    apic(&mut world, 0, reg::ICR, 2 << 32 | 0xC500);
    apic(&mut world, 0, reg::ICR, 2 << 32 | 0x8500);
    apic(&mut world, 0, reg::ICR, 2 << 32 | 0x0699);
    apic(&mut world, 0, reg::ICR, 2 << 32 | 0x0699);
    let reset = Action::ResetVcpu { dom: DOM, vcpu: 1 };
    let start = Action::StartVcpu { dom: DOM, vcpu: 1, vector: 0x99 };
    assert_eq!(world.xen.actions, [reset, start]);
    assert!(world.xen.runnable(DOM, 1));
}

#[test]
fn deadline_timer() {
    let mut world = x2apic_world();
    assert_eq!(wrmsr(&mut world, 0, 0x6E0, 5_000), Msr::Done);
    assert_eq!(world.xen.rdmsr(DOM, 0, 0x6E0, 0), Msr::Value(0), "not in that mode");
    apic(&mut world, 0, reg::LVT_TIMER, 2 << 17 | 0x70);
    wrmsr(&mut world, 0, 0x6E0, 5_000);
    assert_eq!(world.xen.next_deadline(), Some(5_000));
    world.xen.halt(&world.host, DOM, 0, true);
    assert!(!world.xen.runnable(DOM, 0));
    world.xen.tick(&mut world.host, 5_000);
    assert!(world.xen.runnable(DOM, 0));
    assert_eq!(pending(&world, 0), Some(Event::Interrupt(0x70)));
    assert_eq!(world.xen.rdmsr(DOM, 0, 0x6E0, 5_000), Msr::Value(0));
    assert_eq!(world.xen.next_deadline(), None);
}

#[test]
fn count_down_timer() {
    let mut world = x2apic_world();
    world.now = 0;
    apic(&mut world, 0, reg::TIMER_DIVIDE, 0b1011);
    apic(&mut world, 0, reg::LVT_TIMER, 0x70);
    apic(&mut world, 0, reg::TIMER_INITIAL, 1_000);
    world.now = 400;
    assert_eq!(read(&mut world, 0, reg::TIMER_CURRENT), Msr::Value(600));
    assert_eq!(world.xen.next_deadline(), Some(1_000));
    world.xen.tick(&mut world.host, 1_500);
    assert_eq!(world.xen.next_deadline(), None);
    world.now = 2_000;
    apic(&mut world, 0, reg::LVT_TIMER, 1 << 17 | 0x70);
    apic(&mut world, 0, reg::TIMER_INITIAL, 1);
    assert_eq!(world.xen.next_deadline(), Some(2_000 + MIN_PERIOD), "no interrupt storm");
    world.xen.tick(&mut world.host, 2_000 + MIN_PERIOD * 3 + 7);
    assert_eq!(world.xen.next_deadline(), Some(2_000 + MIN_PERIOD * 4));
    apic(&mut world, 0, reg::LVT_TIMER, 1 << 16 | 1 << 17 | 0x70);
    assert_eq!(world.xen.next_deadline(), None, "masked");
}

#[test]
fn halting_with_interrupts_off_ends_the_domain_with_its_last_vcpu() {
    let mut world = x2apic_world();
    world.xen.halt(&world.host, DOM, 1, false);
    assert_eq!(world.xen.vcpu(DOM, 1).unwrap().activity, Activity::Down);
    assert!(world.xen.domain(DOM).unwrap().alive());
    world.xen.halt(&world.host, DOM, 0, false);
    assert!(!world.xen.domain(DOM).unwrap().alive());
}

fn ioapic(world: &mut World, dom: DomId, register: u32, value: u32) {
    let mut write = |offset: u64, value: u32| {
        let at = vioapic::PAGE + offset;
        assert!(world.xen.mmio_write(&mut world.host, (dom, 0), at, value.into(), 0).is_some());
    };
    write(0, register);
    write(0x10, value);
}

#[test]
fn edge_and_level_pins() {
    let mut world = x2apic_world();
    ioapic(&mut world, DOM, 0x10 + 8, 0x45);
    world.xen.set_gsi(&mut world.host, DOM, 4, true);
    assert_eq!(pending(&world, 0), Some(Event::Interrupt(0x45)));
    world.xen.accept(DOM, 0, Event::Interrupt(0x45));
    world.xen.set_gsi(&mut world.host, DOM, 4, true);
    apic(&mut world, 0, reg::EOI, 0);
    assert_eq!(pending(&world, 0), None, "no new edge");
    // A level-triggered pin interrupts again after the EOI while it is high.
    ioapic(&mut world, DOM, 0x10 + 18, 1 << 15 | 0x46);
    world.xen.set_gsi(&mut world.host, DOM, 9, true);
    for _ in 0..2 {
        assert_eq!(pending(&world, 0), Some(Event::Interrupt(0x46)));
        world.xen.accept(DOM, 0, Event::Interrupt(0x46));
        assert_eq!(pending(&world, 0), None);
        apic(&mut world, 0, reg::EOI, 0);
    }
    world.xen.accept(DOM, 0, Event::Interrupt(0x46));
    world.xen.set_gsi(&mut world.host, DOM, 9, false);
    apic(&mut world, 0, reg::EOI, 0);
    assert_eq!(pending(&world, 0), None);
    world.xen.set_gsi(&mut world.host, DOM, 500, true);
}

/// Dom0's pins follow the physical ones: bound when unmasked, released by the EOI.
#[test]
fn physical_pins() {
    let mut world = World::new();
    let dom0 = DomId(0);
    world.xen.mmio_write(&mut world.host, (dom0, 0), vlapic::PAGE + 0xF0, 0x1FF, 0).unwrap();
    ioapic(&mut world, dom0, 0x10 + 18, 1 << 15 | 1 << 13 | 0x46);
    let bind = Action::BindGsi { gsi: 9, masked: false, level: true, active_low: true };
    assert_eq!(core::mem::take(&mut world.xen.actions), [bind]);
    world.xen.set_gsi(&mut world.host, dom0, 9, true);
    let event = world.xen.pending(&world.host, dom0, 0).unwrap();
    assert_eq!(event, Event::Interrupt(0x46));
    world.xen.accept(dom0, 0, event);
    world.xen.mmio_write(&mut world.host, (dom0, 0), vlapic::PAGE + 0xB0, 0, 0).unwrap();
    assert_eq!(world.xen.actions, [Action::EoiGsi(9)]);
    assert_eq!(world.xen.pending(&world.host, dom0, 0), None);
}

#[test]
fn xapic_page() {
    let mut world = World::new();
    let mut at = |offset: u64, len| world.xen.mmio_read(DOM, 1, vlapic::PAGE + offset, len, 0);
    assert_eq!(at(0x20, 4), Some(2 << 24));
    assert_eq!(at(0x23, 1), Some(2));
    assert_eq!(at(0x30, 4), Some(0x5_0014));
    assert_eq!(at(0x24, 4), Some(0), "between registers");
    assert_eq!(at(0xFFC, 8), Some(0));
    assert_eq!(world.xen.mmio_read(DOM, 0, 0x1000, 4, 0), None);
    // The ICR in two halves: vCPU 1 gets it.
    for vcpu in 0..2 {
        let svr = vlapic::PAGE + 0xF0;
        world.xen.mmio_write(&mut world.host, (DOM, vcpu), svr, 0x1FF, 0).unwrap();
    }
    for (offset, value) in [(0x310, 2 << 24), (0x300, 0x4041)] {
        world.xen.mmio_write(&mut world.host, (DOM, 0), vlapic::PAGE + offset, value, 0).unwrap();
    }
    assert_eq!(pending(&world, 1), Some(Event::Interrupt(0x41)));
}

fn out(world: &mut World, port: u16, value: u32) {
    assert!(world.xen.port_write(&mut world.host, DOM, port, value).is_some());
}

#[test]
fn com1_prints_and_interrupts() {
    let mut world = x2apic_world();
    ioapic(&mut world, DOM, 0x10 + 8, 0x45);
    b"hi\n".iter().for_each(|&byte| out(&mut world, 0x3F8, byte.into()));
    let line = Action::Output { dom: DOM, line: "hi".into() };
    assert_eq!(world.xen.actions, [line]);
    assert_eq!(world.xen.port_read(&mut world.host, DOM, 0x3FD), Some(0x60));
    out(&mut world, 0x3FC, 8);
    assert_eq!(pending(&world, 0), None);
    out(&mut world, 0x3F9, 2);
    assert_eq!(pending(&world, 0), Some(Event::Interrupt(0x45)), "the transmitter is empty");
    world.xen.accept(DOM, 0, Event::Interrupt(0x45));
    apic(&mut world, 0, reg::EOI, 0);
    assert_eq!(world.xen.port_read(&mut world.host, DOM, 0x3FA), Some(2));
    assert_eq!(world.xen.port_read(&mut world.host, DOM, 0x3FA), Some(1), "seen");
    out(&mut world, 0x3F8, b'x'.into());
    assert_eq!(pending(&world, 0), Some(Event::Interrupt(0x45)), "a new edge");
    assert_eq!(world.xen.port_read(&mut world.host, DOM, 0x60), None);
    assert_eq!(
        world.xen.port_read(&mut world.host, DomId(0), 0x3F8),
        None,
        "dom0 has the real one"
    );
}

/// The tests Linux's driver makes: the scratch register, the loop-back modem lines, the FIFO.
#[test]
fn com1_is_detected() {
    let mut uart = vuart::Vuart::default();
    let mut rows = Vec::new();
    uart.write(7, 0x5A);
    rows.push((uart.read(7), 0x5A));
    uart.write(4, 0x10 | 0x0A);
    rows.push((uart.read(6) & 0xF0, 0x90));
    uart.write(2, 1);
    rows.push((uart.read(2) & 0xC0, 0xC0));
    uart.write(3, 0x83);
    uart.write(0, 1);
    rows.push((uart.read(0), 1));
    uart.write(3, 3);
    uart.write(0, b'l');
    rows.push((uart.read(0), b'l'));
    for (index, (found, expected)) in rows.into_iter().enumerate() {
        assert_eq!(found, expected, "row {index}");
    }
}

#[test]
fn acpi_poweroff_and_reset() {
    for (port, value, reason) in
        [(SLEEP_PORT, 0x34, ShutdownReason::Poweroff), (0x606, 1, ShutdownReason::Reboot)]
    {
        let mut world = World::new();
        out(&mut world, port, 0x14);
        assert!(world.xen.domain(DOM).unwrap().alive());
        out(&mut world, port, value);
        assert_eq!(world.xen.domain(DOM).unwrap().shutdown, Some(reason));
    }
}

#[test]
fn cpuid_leaves() {
    let world = World::new();
    let all = [u32::MAX; 4];
    let leaf = |vcpu, leaf, sub| world.xen.cpuid(DOM, vcpu, leaf, sub, all);
    let [last, b, c, d] = leaf(0, 0x4000_0000, 0);
    assert_eq!([b, c, d].map(u32::to_le_bytes).concat(), b"XenVMMXenVMM");
    assert_eq!(last, 0x4000_0005);
    assert_eq!(leaf(0, 0x4000_0001, 0)[0], 0x4_0011);
    assert_eq!(leaf(0, 0x4000_0002, 0), [1, 0x4000_0000, 0, 0]);
    assert_eq!(leaf(1, 0x4000_0004, 0), [0x18, 1, 1, 0]);
    assert_eq!(leaf(0, 0x4000_0100, 0), [0; 4]);
    let [_, b, c, _] = leaf(1, 1, 0);
    assert_eq!(b >> 24, 2, "APIC ID");
    assert_eq!(c & (1 << 31 | 1 << 21 | 1 << 24), 1 << 31 | 1 << 21 | 1 << 24);
    assert_eq!(c & (1 << 5 | 1 << 26 | 1 << 27 | 1 << 28 | 1 << 3), 0, "VMX, XSAVE, AVX, MONITOR");
    assert_eq!(leaf(1, 0xB, 1), [2, 2, 0x201, 2]);
    assert_eq!(leaf(0, 0xD, 0), [0; 4]);
    assert_eq!(leaf(0, 0x8000_0008, 0)[0] & 0xFF, 40);
}

/// The guest's arithmetic on the pvclock and ours agree, and the inverse is the first tick.
#[test]
fn clocks() {
    for khz in [1_000, 99_999, 1_000_000, 1_234_567, 2_400_000, 3_999_999, 100_000_000] {
        let clock = Clock::new(khz);
        assert!(clock.mul >= 1 << 31, "{khz}: full precision");
        for tsc in [0, 1, 12_345, 1 << 32, 1 << 45] {
            let exact = u128::from(tsc) * 1_000_000 / u128::from(khz);
            let ns = u128::from(clock.ns(tsc));
            assert!(exact - ns <= 1 + exact / 1_000_000_000, "{khz} kHz: {tsc} is {ns}");
            let back = clock.tsc_at(clock.ns(tsc));
            assert!(back <= tsc && clock.ns(back) == clock.ns(tsc), "{khz} kHz: {tsc} → {back}");
            assert!(back == 0 || clock.ns(back - 1) < clock.ns(back));
        }
        let _ = clock.tsc_at(u64::MAX);
    }
}

#[test]
fn hypercall_page() {
    let mut world = World::new();
    assert_eq!(wrmsr(&mut world, 0, 0x4000_0000, 0x3000), Msr::Done);
    let mut stub = [0; 9];
    crate::xen::guest_memory::read_gpa(&world.host, DOM, 0x3000 + 32 * 17, &mut stub).unwrap();
    assert_eq!(stub, [0xB8, 17, 0, 0, 0, 0x0F, 0x01, 0xC1, 0xC3]);
    assert_eq!(wrmsr(&mut world, 0, 0x4000_0000, 0x3001), Msr::Gp);
    assert_eq!(wrmsr(&mut world, 0, 0x4000_0000, 1 << 50), Msr::Gp);
}

/// The upcall by `HVM_PARAM_CALLBACK_IRQ` type 2 is injected once for each rise of its flag; a vector of the
/// vCPU's own goes through its APIC once.
#[test]
fn upcalls() {
    let mut world = x2apic_world();
    world.xen.domain_mut(DOM).unwrap().params[0] = 2 << 56 | 0xF3;
    world.xen.mark_upcall(&mut world.host, DOM, 1);
    assert_eq!(pending(&world, 1), Some(Event::Upcall(0xF3)));
    world.xen.accept(DOM, 1, Event::Upcall(0xF3));
    assert_eq!(pending(&world, 1), None);
    world.xen.mark_upcall(&mut world.host, DOM, 1);
    assert_eq!(pending(&world, 1), None, "the flag is still set");
    let info = world.xen.vcpu(DOM, 1).unwrap().info;
    world.host.write(info.mfn, info.offset.into(), &[0]);
    world.xen.mark_upcall(&mut world.host, DOM, 1);
    assert_eq!(pending(&world, 1), Some(Event::Upcall(0xF3)));
    world.xen.vcpu_mut(DOM, 0).unwrap().upcall_vector = 0xF4;
    world.xen.mark_upcall(&mut world.host, DOM, 0);
    world.xen.mark_upcall(&mut world.host, DOM, 0);
    assert_eq!(pending(&world, 0), Some(Event::Interrupt(0xF4)));
    world.xen.accept(DOM, 0, Event::Interrupt(0xF4));
    apic(&mut world, 0, reg::EOI, 0);
    assert_eq!(pending(&world, 0), None);
}

/// One access of a hostile domain.
#[derive(Debug, Clone, Copy)]
enum Access {
    Read(u32),
    Write(u32, u64),
    Load(u64, usize),
    Store(u64, u64),
    In(u16),
    Out(u16, u32),
    Line(u32, bool),
    Halt(bool),
    Time(u64),
}

fn access() -> impl Strategy<Value = Access> {
    let msr = prop_oneof![0x800u32..0x840, Just(0x1B), Just(0x6E0), any::<u32>()];
    let page = prop_oneof![Just(vlapic::PAGE), Just(vioapic::PAGE)];
    let at = (page, 0u64..0x1000).prop_map(|(page, offset)| page + offset);
    let word = prop_oneof![0u64..0x1000, any::<u64>(), Just(0xFEE0_0D00), Just(0xFEE0_0900)];
    let port = prop_oneof![0x3F8u16..0x400, any::<u16>()];
    prop_oneof![
        msr.clone().prop_map(Access::Read),
        (msr, word.clone()).prop_map(|(msr, value)| Access::Write(msr, value)),
        (at.clone(), prop_oneof![Just(1usize), Just(2), Just(4), Just(8)])
            .prop_map(|(at, len)| Access::Load(at, len)),
        (at, word).prop_map(|(at, value)| Access::Store(at, value)),
        port.clone().prop_map(Access::In),
        (port, any::<u32>()).prop_map(|(port, value)| Access::Out(port, value)),
        (0u32..64, any::<bool>()).prop_map(|(pin, level)| Access::Line(pin, level)),
        any::<bool>().prop_map(Access::Halt),
        any::<u64>().prop_map(Access::Time),
    ]
}

fn perform(world: &mut World, dom: DomId, access: Access) {
    let (host, now) = (&mut world.host, world.now);
    match access {
        Access::Read(msr) => drop(world.xen.rdmsr(dom, 0, msr, now)),
        Access::Write(msr, value) => {
            world.xen.wrmsr(host, (dom, 0), msr, value, Width::Long, now);
        }
        Access::Load(at, len) => drop(world.xen.mmio_read(dom, 0, at, len, now)),
        Access::Store(at, value) => drop(world.xen.mmio_write(host, (dom, 0), at, value, now)),
        Access::In(port) => drop(world.xen.port_read(host, dom, port)),
        Access::Out(port, value) => drop(world.xen.port_write(host, dom, port, value)),
        Access::Line(pin, level) => world.xen.set_gsi(host, dom, pin, level),
        Access::Halt(interrupts) => world.xen.halt(host, dom, 0, interrupts),
        Access::Time(step) => world.now = now.saturating_add(step >> 20),
    }
}

proptest! {
    /// Whatever a domain does to its devices: no panic, and after a tick no timer is due in the past.
    #[test]
    fn random_accesses_never_panic(acts in prop::collection::vec((access(), 0u16..2), 1..100)) {
        let mut world = World::new();
        for (act, dom) in acts {
            perform(&mut world, DomId(dom), act);
            if let Some(event) = world.xen.pending(&world.host, DomId(dom), 0) {
                world.xen.accept(DomId(dom), 0, event);
            }
            world.xen.tick(&mut world.host, world.now);
            prop_assert!(world.xen.next_deadline().is_none_or(|at| at > world.now));
            world.xen.actions.clear();
        }
    }
}
