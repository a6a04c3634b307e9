//! Domains of dom0's tools: creation, vCPUs, registers, processor descriptions, resources, topology.

use crate::xen::abi::Errno;
use crate::xen::abi::hvm_context::{
    CPU_SIZE, CpuState, DESCRIPTOR, HEADER_SIZE, Record, code, next_record, push_record,
};
use crate::xen::abi::layout::*;
use crate::xen::abi::nr::{ctl, domid, hypercall as nr, mem};
use crate::xen::cpu_policy::{MAX_LEAVES, NO_SUBLEAF};
use crate::xen::domain::ShutdownReason;
use crate::xen::guest_memory::{read_gpa, write_gpa};
use crate::xen::host_services::{DomId, HostServices, P2mKind};
use crate::xen::testing::{ARG, World};
use crate::xen::vcpu::Activity;
use crate::xen::{Action, CpuPolicy};
use alloc::vec::Vec;

/// The union of a `domctl`, that of a `sysctl`, and a place for lists.
const UNION: u64 = ARG + 16;
const SYS_UNION: u64 = ARG + 8;
pub(super) const LIST: u64 = 0x4000;
/// The first number that the tools get.
pub(super) const NEW: u16 = 3;

pub(super) fn domctl<T: Layout>(world: &mut World, cmd: u32, domain: u16, arg: T) -> (i64, T) {
    world.put(0, ARG, &DomctlHead { cmd, interface_version: 0x15, domain });
    world.put(0, UNION, &arg);
    (world.call(0, nr::DOMCTL, &[ARG]), world.get(0, UNION))
}

pub(super) fn sysctl<T: Layout>(world: &mut World, cmd: u32, arg: T) -> (i64, T) {
    world.put(0, ARG, &SysctlHead { cmd, interface_version: 0x15 });
    world.put(0, SYS_UNION, &arg);
    (world.call(0, nr::SYSCTL, &[ARG]), world.get(0, SYS_UNION))
}

pub(super) fn pvh() -> CreateDomain {
    CreateDomain {
        flags: ctl::CDF_HVM | ctl::CDF_HAP | ctl::CDF_OOS_OFF,
        max_vcpus: 2,
        max_evtchn_port: 1023,
        max_grant_frames: u32::MAX,
        max_maptrack_frames: u32::MAX,
        grant_opts: 1,
        emulation_flags: ctl::EMU_LAPIC,
        handle: [7; 16],
        ..CreateDomain::default()
    }
}

/// A domain of the tools, with two vCPUs and `pages` of RAM.
pub(super) fn created(world: &mut World, pages: u64) -> DomId {
    created_as(world, pages, pvh())
}

/// The same of another configuration.
pub(super) fn created_as(world: &mut World, pages: u64, config: CreateDomain) -> DomId {
    assert_eq!(domctl(world, ctl::DOM_CREATE, 0, config).0, 0);
    assert_eq!(world.get::<DomctlHead>(0, ARG).domain, NEW);
    assert_eq!(domctl(world, ctl::DOM_MAX_VCPUS, NEW, MaxVcpus { max: 2 }).0, 0);
    assert_eq!(domctl(world, ctl::DOM_MAX_MEM, NEW, MaxMem { max_memkb: pages * 4 }).0, 0);
    world.xen.populate(&mut world.host, DomId(NEW), 0, pages).unwrap();
    DomId(NEW)
}

#[track_caller]
fn refused(change: fn(&mut CreateDomain), asked: u16, expected: Errno) {
    let (mut world, mut config) = (World::new(), pvh());
    change(&mut config);
    let free = world.host.free_pages();
    assert_eq!(domctl(&mut world, ctl::DOM_CREATE, asked, config).0, expected.result());
    assert_eq!((world.host.free_pages(), world.xen.actions.len()), (free, 0));
}

#[test]
fn what_is_not_there_cannot_be_created() {
    refused(|c| c.flags = 0, 0, Errno::Inval);
    refused(|c| c.flags = ctl::CDF_HVM, 0, Errno::Inval);
    refused(|c| c.flags |= 1 << 8, 0, Errno::Inval);
    refused(|c| c.flags |= ctl::CDF_IOMMU, 0, Errno::Inval);
    refused(|c| c.iommu_opts = 1, 0, Errno::Inval);
    refused(|c| c.max_vcpus = 0, 0, Errno::Inval);
    refused(|c| c.max_vcpus = 33, 0, Errno::Inval);
    refused(|c| c.max_grant_frames = 65, 0, Errno::Inval);
    refused(|c| c.max_maptrack_frames = 1025, 0, Errno::Inval);
    refused(|c| c.grant_opts = 16, 0, Errno::Inval);
    refused(|c| c.vmtrace_size = 4096, 0, Errno::Inval);
    refused(|c| c.cpupool_id = 1, 0, Errno::Inval);
    refused(|c| c.misc_flags = 2, 0, Errno::Inval);
    refused(|c| c.emulation_flags = 0x3FE, 0, Errno::Inval);
    refused(|c| c.emulation_flags = 0x7FF, 0, Errno::Inval);
    refused(|_| {}, 2, Errno::Exist);
}

#[test]
fn a_domain_begins_paused_and_without_vcpus() {
    let mut world = World::new();
    assert_eq!(domctl(&mut world, ctl::DOM_CREATE, 0, pvh()).0, 0);
    assert_eq!(world.xen.actions, [Action::Created(DomId(NEW))]);
    let (result, info) = domctl(&mut world, ctl::DOM_GETINFO, NEW, DomainInfo::default());
    let flags = ctl::INFO_HVM_GUEST | ctl::INFO_HAP | ctl::INFO_PAUSED | ctl::INFO_BLOCKED;
    assert_eq!((result, info.flags, info.nr_online_vcpus), (0, flags, 0));
    assert_eq!((info.max_vcpu_id, info.handle), (u32::MAX, [7; 16]));
    let vcpus = |world: &mut World, max| domctl(world, ctl::DOM_MAX_VCPUS, NEW, MaxVcpus { max }).0;
    assert_eq!(vcpus(&mut world, 3), Errno::Inval.result());
    assert_eq!(vcpus(&mut world, 2), 0);
    assert_eq!(vcpus(&mut world, 2), 0, "they are there");
    assert_eq!(world.xen.actions[1..], [Action::VcpusCreated(DomId(NEW))]);
    let (_, info) = domctl(&mut world, ctl::DOM_GETINFO, NEW, DomainInfo::default());
    assert_eq!((info.max_vcpu_id, info.nr_online_vcpus), (1, 0));
    assert!(world.xen.domain(DomId(NEW)).unwrap().uart.is_none());
}

/// The number after the last one, and again after the last of all.
#[test]
fn numbers_go_round() {
    let mut world = World::new();
    for asked in [NEW, 100] {
        assert_eq!(domctl(&mut world, ctl::DOM_CREATE, asked, pvh()).0, 0);
        assert_eq!(world.get::<DomctlHead>(0, ARG).domain, asked);
    }
    assert_eq!(domctl(&mut world, ctl::DOM_CREATE, domid::SELF, pvh()).0, 0);
    assert_eq!(world.get::<DomctlHead>(0, ARG).domain, 4, "3 is taken");
    world.xen.most_domains = 6;
    assert_eq!(domctl(&mut world, ctl::DOM_CREATE, 0, pvh()).0, Errno::NoMem.result());
    assert_eq!(domctl(&mut world, ctl::DOM_DESTROY, 100, MaxVcpus::default()).0, 0);
    world.xen.destroyed(&mut world.host, DomId(100));
    assert_eq!(domctl(&mut world, ctl::DOM_CREATE, 0, pvh()).0, 0);
    assert_eq!(world.get::<DomctlHead>(0, ARG).domain, 5);
}

#[test]
fn nothing_is_left_of_a_domain() {
    let mut world = World::new();
    let free = world.host.free_pages();
    for number in [NEW, NEW + 1] {
        assert_eq!(domctl(&mut world, ctl::DOM_CREATE, number, pvh()).0, 0);
        assert_eq!(domctl(&mut world, ctl::DOM_MAX_VCPUS, number, MaxVcpus { max: 2 }).0, 0);
        assert_eq!(domctl(&mut world, ctl::DOM_MAX_MEM, number, MaxMem { max_memkb: 64 }).0, 0);
        let dom = DomId(number);
        world.xen.populate(&mut world.host, dom, 0, 16).unwrap();
        assert_eq!(grant_table(&mut world, number, 1, 0x80).0, 0);
        assert_eq!(domctl(&mut world, ctl::DOM_DESTROY, number, MaxVcpus::default()).0, 0);
        world.xen.destroyed(&mut world.host, dom);
        let remove = RemoveFromPhysmap { domid: domid::SELF, gpfn: 0x80 };
        assert_eq!(world.op(0, nr::MEMORY_OP, mem::REMOVE_FROM_PHYSMAP, remove).0, 0);
        assert_eq!((world.host.free_pages(), world.host.pages(dom)), (free, 0));
    }
}

/// The records of an HVM context: a header, then `records`, then the end.
pub(super) fn context(records: &[Record<'_>]) -> Vec<u8> {
    let mut head = [0; HEADER_SIZE];
    head[..4].copy_from_slice(&0x5468_1286_u32.to_le_bytes());
    head[4] = 1;
    let mut out = Vec::new();
    push_record(&mut out, Record { code: code::HEADER, instance: 0, bytes: &head });
    records.iter().for_each(|record| push_record(&mut out, *record));
    push_record(&mut out, Record { code: code::END, instance: 0, bytes: &[] });
    out
}

pub(super) fn set_context(world: &mut World, bytes: &[u8]) -> i64 {
    write_gpa(&mut world.host, DomId(0), LIST, bytes).unwrap();
    let arg = HvmContext { size: bytes.len() as u32, buffer: LIST };
    domctl(world, ctl::DOM_SET_HVM_CONTEXT, NEW, arg).0
}

pub(super) fn entry_state() -> CpuState {
    let mut state = CpuState { rip: 0x100_0000, ..CpuState::default() };
    state.cr[0] = 0x11;
    state.gpr[3] = 0x1234;
    state
}

#[test]
fn registers_bring_a_vcpu_up() {
    let mut world = World::new();
    let dom = created(&mut world, 8);
    world.xen.actions.clear();
    let raw = entry_state().encode();
    let record = Record { code: code::CPU, instance: 0, bytes: &raw[..] };
    let bytes = context(&[record]);
    assert_eq!(set_context(&mut world, &bytes), 0);
    assert_eq!(world.xen.actions, [Action::LoadVcpu { dom, vcpu: 0 }]);
    let state = world.xen.vcpu(dom, 0).unwrap().registers.clone().unwrap();
    assert_eq!((state.rip, state.gpr[3], state.rflags), (0x100_0000, 0x1234, 2));
    assert!(!world.xen.runnable(dom, 0), "paused");
    assert_eq!(domctl(&mut world, ctl::DOM_UNPAUSE, NEW, MaxVcpus::default()).0, 0);
    assert!(world.xen.runnable(dom, 0) && !world.xen.runnable(dom, 1));
    let records = read_context(&mut world);
    let kinds: Vec<_> = records.iter().map(|record| (record.0, record.1)).collect();
    let each = [code::LAPIC, code::LAPIC_REGS, code::MTRR].map(|code| [(code, 0), (code, 1)]);
    let mut expected = alloc::vec![(code::HEADER, 0), (code::CPU, 0)];
    expected.extend(each.concat());
    expected.push((code::END, 0));
    assert_eq!(kinds, expected);
    // Once it has run, its registers have to be fetched.
    world.xen.run(&mut world.host, dom, 0, 10);
    assert!(world.xen.vcpu(dom, 0).unwrap().registers.is_none());
    let records = read_context(&mut world);
    assert_eq!(records[1].2.len(), CPU_SIZE);
}

/// The whole context, by its length: types, instances and contents.
fn read_context(world: &mut World) -> Vec<(u16, u16, Vec<u8>)> {
    let query = HvmContext::default();
    let (result, HvmContext { size, .. }) = domctl(world, ctl::DOM_GET_HVM_CONTEXT, NEW, query);
    assert_eq!(result, 0);
    let small = HvmContext { size: size - 1, buffer: LIST };
    let short = domctl(world, ctl::DOM_GET_HVM_CONTEXT, NEW, small).0;
    assert_eq!(short, Errno::NoSpc.result());
    let whole = HvmContext { size, buffer: LIST };
    let (result, got) = domctl(world, ctl::DOM_GET_HVM_CONTEXT, NEW, whole);
    assert!(result == 0 && got.size <= size);
    let mut bytes = alloc::vec![0; got.size as usize];
    read_gpa(&world.host, DomId(0), LIST, &mut bytes).unwrap();
    let mut rest = &bytes[..];
    let mut records = Vec::new();
    while let Some(Record { code, instance, bytes }) = next_record(&mut rest) {
        records.push((code, instance, bytes.to_vec()));
    }
    assert!(rest.is_empty());
    records
}

#[track_caller]
fn bad_context(change: fn(&mut Vec<u8>), expected: Errno) {
    let mut world = World::new();
    created(&mut world, 8);
    let raw = entry_state().encode();
    let record = Record { code: code::CPU, instance: 0, bytes: &raw[..] };
    let mut bytes = context(&[record]);
    change(&mut bytes);
    assert_eq!(set_context(&mut world, &bytes), expected.result());
}

#[test]
fn bad_contexts_are_refused() {
    const CPU: usize = DESCRIPTOR + HEADER_SIZE;
    const STATE: usize = CPU + DESCRIPTOR;
    bad_context(|c| c[DESCRIPTOR] = 0, Errno::Inval);
    bad_context(|c| c[0] = 2, Errno::NoData);
    bad_context(|c| c.truncate(STATE), Errno::NoData);
    bad_context(|c| c.truncate(c.len() - DESCRIPTOR), Errno::NoData);
    bad_context(|c| c[CPU] = 99, Errno::Inval);
    bad_context(|c| c[CPU + 2] = 2, Errno::Inval);
    bad_context(|c| c[CPU + 4] -= 1, Errno::Inval);
    // Reserved bits of CR0 and CR4, of EFER and of MXCSR, an address that is not canonical.
    bad_context(|c| c[STATE + 656] = 0x80, Errno::Inval);
    bad_context(|c| c[STATE + 681] = 0x20, Errno::Inval);
    bad_context(|c| c[STATE + 993] = 0x80, Errno::Inval);
    bad_context(|c| c[STATE + 27] = 1, Errno::Inval);
    bad_context(|c| c[STATE + 967] = 1, Errno::Inval);
}

#[test]
fn one_record() {
    let mut world = World::new();
    let dom = created(&mut world, 8);
    let get = |world: &mut World, kind: u16, instance, bufsz| {
        let arg = HvmContextPartial { kind: kind.into(), instance, bufsz, buffer: LIST };
        domctl(world, ctl::DOM_GET_HVM_CONTEXT_PARTIAL, NEW, arg).0
    };
    assert_eq!(get(&mut world, code::CPU, 0, 4096), Errno::NoData.result(), "down");
    world.xen.vcpu_mut(dom, 0).unwrap().activity = Activity::Runnable;
    assert_eq!(get(&mut world, code::CPU, 0, 4096), 0);
    assert_eq!(get(&mut world, code::CPU, 0, 1031), Errno::NoBufs.result());
    assert_eq!(get(&mut world, code::CPU, 2, 4096), Errno::NoEnt.result());
    assert_eq!(get(&mut world, code::HEADER, 0, 4096), Errno::Inval.result());
    assert_eq!(get(&mut world, code::MTRR, 1, 240), 0);
}

#[test]
fn registers_survive_their_record() {
    let mut raw = [0; CPU_SIZE];
    for (at, byte) in raw.iter_mut().enumerate() {
        *byte = at as u8 ^ (at >> 8) as u8;
    }
    // `msr_flags`, and the flag that the floating-point state is there with its padding.
    raw[952..960].fill(0);
    raw[1024..].fill(0);
    raw[1024] = 1;
    let state = CpuState::decode(&raw);
    assert_eq!((state.gpr[0], state.rip), (u64_at(&raw, 512), u64_at(&raw, 640)));
    assert_eq!((state.gpr[15], state.tsc), (u64_at(&raw, 632), u64_at(&raw, 1008)));
    assert_eq!(state.segments[0].rights, u64_at(&raw, 888) as u32);
    assert_eq!(state.segments[7].base, u64_at(&raw, 864));
    assert!(state.encode()[..] == raw[..]);
}

fn u64_at(raw: &[u8], at: usize) -> u64 {
    <u64 as Field>::load(&raw[at..])
}

/// A local APIC with a timer that runs, through its two records.
#[test]
fn an_apic_survives_its_records() {
    use crate::xen::vlapic::{Vlapic, reg};
    let mut lapic = Vlapic::new(1);
    for (offset, value) in [(reg::SVR, 0x1FF), (reg::TPR, 0x20), (reg::LVT_TIMER, 0x40)] {
        lapic.write(offset, value, 0).unwrap();
    }
    lapic.write(reg::TIMER_INITIAL, 100_000, 1000).unwrap();
    lapic.accept(0x51, false);
    let (hidden, registers) = (lapic.hidden_record(2000), lapic.registers_record(2000));
    let mut other = Vlapic::new(1);
    assert_eq!(other.load_hidden(&hidden), Some(()));
    assert_eq!(other.load_registers(&registers, 2000), Some(()));
    assert_eq!(other.registers_record(2000), registers);
    assert_eq!((other.deliverable(), other.deadline()), (Some(0x51), lapic.deadline()));
    assert_eq!(other.load_hidden(&[0; 24]), None, "another base");
    assert_eq!(other.load_registers(&registers[1..], 0), None);
}

/// A processor of 13 basic and 8 extended leaves whose words say where they are.
fn processor(leaf: u32, subleaf: u32) -> [u32; 4] {
    match leaf {
        0 => [0x16, 0x756E_6547, 0x6C65_746E, 0x4965_6E69],
        4 if subleaf == 3 => [0; 4],
        7 if subleaf == 0 => [0, 0xFF, 0xFFFF_FFFF, 0xFFFF_FFFF],
        0x8000_0000 => [0x8000_0008, 0, 0, 0],
        _ => [leaf | 0x10, u32::MAX, u32::MAX, u32::MAX],
    }
}

#[test]
fn caches_are_not_shared_out() {
    let mut world = World::new();
    for cmd in [ctl::SYS_PSR_CMT_OP, ctl::SYS_PSR_ALLOC] {
        assert_eq!(sysctl(&mut world, cmd, MaxVcpus { max: 0 }).0, Errno::NoDev.result());
    }
}

#[test]
fn processors_are_described() {
    let mut world = World::new();
    world.xen.processor = CpuPolicy::of(processor);
    let size = SystemCpuPolicy { index: ctl::POLICY_HOST, ..Default::default() };
    let (result, size) = sysctl(&mut world, ctl::SYS_CPU_POLICY, size);
    assert_eq!((result, size.nr_leaves, size.nr_msrs), (0, MAX_LEAVES, 2));
    let whole = SystemCpuPolicy { index: 5, nr_leaves: 120, leaves: LIST, ..Default::default() };
    let (result, got) = sysctl(&mut world, ctl::SYS_CPU_POLICY, whole);
    assert_eq!(result, 0);
    let leaves: Vec<CpuidLeaf> =
        (0..got.nr_leaves.into()).map(|i| world.get(0, LIST + i * 24)).collect();
    assert!(leaves.is_sorted_by_key(|leaf| (leaf.leaf, leaf.subleaf)));
    assert_eq!((leaves[0].leaf, leaves[0].subleaf, leaves[0].a), (0, NO_SUBLEAF, 0xD));
    let one = leaves.iter().find(|leaf| leaf.leaf == 1).unwrap();
    assert_eq!(one.c & 1 << 5, 0, "no VMX");
    let short = SystemCpuPolicy { nr_leaves: got.nr_leaves - 1, ..whole };
    assert_eq!(sysctl(&mut world, ctl::SYS_CPU_POLICY, short).0, Errno::NoBufs.result());
    let pv = SystemCpuPolicy { index: ctl::POLICY_PV_DEFAULT, ..whole };
    assert_eq!(sysctl(&mut world, ctl::SYS_CPU_POLICY, pv).0, Errno::OpNotSupp.result());
    let none = SystemCpuPolicy { index: 6, ..whole };
    assert_eq!(sysctl(&mut world, ctl::SYS_CPU_POLICY, none).0, Errno::Inval.result());
    let words = CpuFeatureset { index: 1, nr_features: 2, features: LIST };
    let (result, got) = sysctl(&mut world, ctl::SYS_CPU_FEATURESET, words);
    assert_eq!((result, got.nr_features), (Errno::NoBufs.result(), 2));
    assert_eq!(world.get::<GetPhysid>(0, LIST).phys_id, u64::MAX);
}

fn set_policy(world: &mut World, leaves: &[CpuidLeaf]) -> (i64, DomainCpuPolicy) {
    for (index, leaf) in (0..).zip(leaves) {
        world.put(0, LIST + index * 24, leaf);
    }
    let arg =
        DomainCpuPolicy { nr_leaves: leaves.len() as u32, leaves: LIST, ..Default::default() };
    domctl(world, ctl::DOM_SET_CPU_POLICY, NEW, arg)
}

#[test]
fn a_domain_has_the_processor_that_is_chosen_for_it() {
    let mut world = World::new();
    world.xen.processor = CpuPolicy::of(processor);
    let dom = created(&mut world, 8);
    let ask = |world: &World, leaf| world.xen.cpuid(dom, 0, leaf, 0, processor(leaf, 0));
    let features = ask(&world, 1)[3];
    assert_ne!(ask(&world, 0x8000_0008), [0; 4]);
    let row = |leaf, subleaf, a, d| CpuidLeaf { leaf, subleaf, a, d, ..CpuidLeaf::default() };
    let fewer = [row(1, NO_SUBLEAF, 0, !2), row(0x8000_0000, NO_SUBLEAF, 0x8000_0001, 0)];
    assert_eq!(set_policy(&mut world, &fewer).0, 0);
    assert_eq!(ask(&world, 1)[3], features & !2);
    assert_eq!((ask(&world, 0x8000_0008), ask(&world, 0x8000_0000)[0]), ([0; 4], 0x8000_0001));
    let (result, bad) = set_policy(&mut world, &[row(0x20, 0, 0, 0)]);
    assert_eq!((result, bad.err_leaf, bad.err_subleaf), (Errno::Range.result(), 0x20, 0));
    let (result, bad) = set_policy(&mut world, &[row(0, NO_SUBLEAF, 0xE, 0)]);
    assert_eq!((result, bad.err_leaf), (Errno::Inval.result(), 0));
    let many = DomainCpuPolicy { nr_leaves: 121, leaves: LIST, ..Default::default() };
    let result = domctl(&mut world, ctl::DOM_SET_CPU_POLICY, NEW, many).0;
    assert_eq!(result, Errno::TooBig.result());
    world.xen.run(&mut world.host, dom, 0, 10);
    assert_eq!(set_policy(&mut world, &fewer).0, Errno::Exist.result());
}

#[test]
fn frames_have_types() {
    let mut world = World::new();
    created(&mut world, 8);
    let shared = AddToPhysmap { domid: NEW, size: 0, space: 0, idx: 0, gpfn: 3 };
    assert_eq!(world.op(0, nr::MEMORY_OP, mem::ADD_TO_PHYSMAP, shared).0, 0);
    for (index, gfn) in (0..).zip([0, 3, 7, 8, u64::MAX]) {
        world.put(0, LIST + index * 8, &GetPhysid { phys_id: gfn });
    }
    let ask = |world: &mut World, num| {
        domctl(world, ctl::DOM_GET_PAGE_FRAME_INFO, NEW, PageFrameInfo { num, array: LIST }).0
    };
    assert_eq!(ask(&mut world, 1025), Errno::TooBig.result());
    assert_eq!(ask(&mut world, 5), 0);
    let kinds = [0, 1, 2, 3, 4].map(|i| world.get::<GetPhysid>(0, LIST + i * 8).phys_id >> 28);
    assert_eq!(kinds, [0, 15, 0, 15, 15], "RAM, shared_info, RAM, nothing, nothing");
}

#[test]
fn the_console_is_read() {
    let mut world = World::new();
    world.xen.log.push("first");
    let read = |world: &mut World, clear, incremental, index, count| {
        let arg = ReadConsole { clear, incremental, index, buffer: LIST, count };
        let (result, got) = sysctl(world, ctl::SYS_READCONSOLE, arg);
        assert_eq!(result, 0);
        let mut text = alloc::vec![0; got.count as usize];
        read_gpa(&world.host, DomId(0), LIST, &mut text).unwrap();
        (alloc::string::String::from_utf8(text).unwrap(), got.index)
    };
    assert_eq!(read(&mut world, 0, 0, 0, 4), ("firs".into(), 4));
    assert_eq!(read(&mut world, 0, 1, 4, 99), ("t\n".into(), 6));
    world.xen.log.push("2");
    assert_eq!(read(&mut world, 0, 1, 6, 99), ("2\n".into(), 8));
    assert_eq!(read(&mut world, 0, 1, 77, 99).0, "first\n2\n", "a number that never was");
    assert_eq!(read(&mut world, 1, 0, 0, 99), ("first\n2\n".into(), 8));
    assert_eq!(read(&mut world, 0, 0, 0, 99), (alloc::string::String::new(), 8));
    (0..3000).for_each(|_| world.xen.log.push("a line"));
    assert_eq!(read(&mut world, 0, 0, 0, u32::MAX).0.len(), 16384);
}

/// Dom `dom` maps `count` frames of the grant table of `of`, the first at frame `gfn` of its own.
fn grant_table(world: &mut World, of: u16, count: u32, gfn: u64) -> (i64, AcquireResource) {
    for index in 0..u64::from(count) {
        world.put(0, LIST + index * 8, &GetPhysid { phys_id: gfn + index });
    }
    let frame_list = if count == 0 { 0 } else { LIST };
    let arg =
        AcquireResource { domid: of, kind: 1, nr_frames: count, frame_list, ..Default::default() };
    world.op(0, nr::MEMORY_OP, mem::ACQUIRE_RESOURCE, arg)
}

#[test]
fn dom0_maps_a_grant_table() {
    let mut world = World::new();
    created(&mut world, 8);
    assert_eq!(grant_table(&mut world, NEW, 0, 0).1.nr_frames, 64);
    assert_eq!(grant_table(&mut world, NEW, 2, 0x90).0, 0);
    let frames = world.xen.domain(DomId(NEW)).unwrap().grants.frames.clone();
    let maps = [0x90, 0x91].map(|gfn| world.host.lookup(DomId(0), gfn).unwrap());
    assert_eq!(maps.map(|map| map.mfn)[..], frames[..]);
    assert!(maps.iter().all(|map| map.kind == P2mKind::Foreign));
    assert_eq!(grant_table(&mut world, 0, 1, 0x90).0, Errno::Perm.result());
    assert_eq!(grant_table(&mut world, 99, 1, 0x90).0, Errno::Srch.result());
    assert_eq!(grant_table(&mut world, NEW, 65, 0x90).0, Errno::Inval.result());
    let change = |world: &mut World, dom, change: fn(&mut AcquireResource)| {
        let mut arg = AcquireResource {
            domid: NEW,
            kind: 1,
            nr_frames: 1,
            frame_list: LIST,
            ..Default::default()
        };
        change(&mut arg);
        world.op(dom, nr::MEMORY_OP, mem::ACQUIRE_RESOURCE, arg).0
    };
    assert_eq!(change(&mut world, 1, |_| {}), Errno::Perm.result());
    for bad in [
        (|r| r.pad = 1) as fn(&mut AcquireResource),
        |r| r.frame = u64::MAX,
        |r| r.kind = 0,
        |r| r.id = 1,
        |r| r.nr_frames = 0,
        |r| r.frame_list = 0,
    ] {
        assert_eq!(change(&mut world, 0, bad), Errno::Inval.result());
    }
}

#[test]
fn a_memory_map_is_given() {
    let mut world = World::new();
    created(&mut world, 8);
    let entry = E820Entry { addr: 0x1000, size: 0x2000, kind: 1 };
    world.put(0, LIST, &entry);
    let set = |world: &mut World, dom, nr_entries| {
        let arg = ForeignMemoryMap { domid: NEW, nr_entries, buffer: LIST };
        world.op(dom, nr::MEMORY_OP, mem::SET_MEMORY_MAP, arg).0
    };
    assert_eq!(set(&mut world, 1, 1), Errno::Perm.result());
    assert_eq!(set(&mut world, 0, 129), Errno::Inval.result());
    assert_eq!(set(&mut world, 0, 1), 0);
    let map = MemoryMap { nr_entries: 9, buffer: 0x2000 };
    let (result, got) = world.op(NEW, nr::MEMORY_OP, mem::MEMORY_MAP, map);
    assert_eq!((result, got.nr_entries), (0, 1));
    assert_eq!(world.get::<E820Entry>(NEW, 0x2000), entry);
    let top = world.op(0, nr::MEMORY_OP, mem::MAXIMUM_GPFN, MemoryDomain { domid: NEW }).0;
    assert_eq!(top, 7);
}

#[test]
fn processors_and_pools() {
    let mut world = World::new();
    created(&mut world, 8);
    let info = VcpuInfo { vcpu: 1, ..Default::default() };
    let (result, got) = domctl(&mut world, ctl::DOM_GET_VCPU_INFO, 1, info);
    assert_eq!((result, got.online, got.blocked, got.cpu), (0, 1, 0, 0));
    let beyond = VcpuInfo { vcpu: 2, ..Default::default() };
    let result = domctl(&mut world, ctl::DOM_GET_VCPU_INFO, 1, beyond).0;
    assert_eq!(result, Errno::Inval.result());
    let affinity = |world: &mut World, cmd, flags, bits: u64| {
        world.put(0, LIST, &GetPhysid { phys_id: bits });
        for at in [8, 24] {
            world.put(0, UNION + at, &Bitmap { bitmap: LIST, nr_bits: 64 });
        }
        let result = domctl(world, cmd, NEW, VcpuAffinity { vcpu: 0, flags }).0;
        (result, world.get::<GetPhysid>(0, LIST).phys_id)
    };
    let (set, get) = (ctl::DOM_SET_VCPU_AFFINITY, ctl::DOM_GET_VCPU_AFFINITY);
    assert_eq!(affinity(&mut world, get, 1, 0), (0, u64::MAX));
    assert_eq!(affinity(&mut world, set, 1, 3), (0, 1), "there is one");
    assert_eq!(affinity(&mut world, get, 1, 0), (0, 3));
    assert_eq!(affinity(&mut world, set, 1, 2).0, Errno::Inval.result());
    assert_eq!(affinity(&mut world, set, 0, 1).0, Errno::Inval.result());
    let pool = CpupoolOp { op: ctl::POOL_INFO, bitmap: LIST, nr_bits: 8, ..Default::default() };
    let (result, got) = sysctl(&mut world, ctl::SYS_CPUPOOL_OP, pool);
    assert_eq!((result, got.sched_id, got.n_dom), (0, ctl::SCHED_CREDIT2, 4));
    let (result, _) = sysctl(&mut world, ctl::SYS_CPUPOOL_OP, CpupoolOp { cpupool_id: 1, ..pool });
    assert_eq!(result, Errno::NoEnt.result());
    let (_, topology) = sysctl(&mut world, ctl::SYS_CPUTOPOINFO, CpuTopoInfo::default());
    let (_, nodes) = sysctl(&mut world, ctl::SYS_NUMAINFO, NumaInfo::default());
    assert_eq!((topology.num_cpus, nodes.num_nodes), (1, 1));
    let lists = NumaInfo { num_nodes: 4, meminfo: LIST, distance: LIST + 64 };
    let (result, got) = sysctl(&mut world, ctl::SYS_NUMAINFO, lists);
    let distance: MaxVcpus = world.get(0, LIST + 64);
    assert_eq!((result, got.num_nodes, distance.max), (0, 1, 10));
}

#[test]
fn dom0_hears_of_ends() {
    use crate::xen::abi::nr::virq;
    let mut world = World::new();
    let (local, port) = (DomId(1), 3);
    let bind = EvtchnBindVirq { virq: virq::DOM_EXC, vcpu: 0, port: 0 };
    let exc = world.op(0, nr::EVENT_CHANNEL_OP, 1, bind).1.port;
    for _ in 0..port {
        let arg = EvtchnAllocUnbound { dom: 1, remote_dom: 0, port: 0 };
        world.op(0, nr::EVENT_CHANNEL_OP, 6, arg);
    }
    let bind = EvtchnBindInterdomain { remote_dom: 1, remote_port: port, local_port: 0 };
    let suspended = world.op(0, nr::EVENT_CHANNEL_OP, 0, bind).1.local_port;
    assert_eq!(domctl(&mut world, ctl::DOM_SUBSCRIBE, 1, EvtchnPort { port }).0, 0);
    let pending =
        |world: &World, port| world.xen.domain(DomId(0)).unwrap().port_pending(&world.host, port);
    // A new binding starts pending.
    world.host.write(world.xen.domain(DomId(0)).unwrap().shared_info, 2048, &[0; 8]);
    world.xen.shutdown(local, ShutdownReason::Suspend);
    world.xen.announce_shutdown(&mut world.host, local);
    assert_eq!((pending(&world, suspended), pending(&world, exc)), (true, false));
    assert_eq!(domctl(&mut world, ctl::DOM_RESUME, 1, MaxVcpus::default()).0, 0);
    assert!(world.xen.runnable(local, 0));
    world.xen.shutdown(local, ShutdownReason::Poweroff);
    world.xen.announce_shutdown(&mut world.host, local);
    assert!(pending(&world, exc));
}
