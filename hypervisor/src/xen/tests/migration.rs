//! What saving and moving a domain takes beside its context: vCPUs as core dumps have them, the log of dirty pages.

use super::toolstack::{LIST, NEW, context, created, domctl, entry_state, set_context, sysctl};
use crate::xen::Action;
use crate::xen::abi::Errno;
use crate::xen::abi::hvm_context::{Record, code};
use crate::xen::abi::layout::*;
use crate::xen::abi::nr::ctl;
use crate::xen::guest_memory::{read_gpa, write_gpa};
use crate::xen::host_services::DomId;
use crate::xen::testing::World;

/// A vCPU's general registers are read and set in the form of core dumps; the rest is only read.
#[test]
fn registers_as_a_core_dump_has_them() {
    let mut world = World::new();
    created(&mut world, 16);
    let state = entry_state();
    let raw = state.encode();
    let record = Record { code: code::CPU, instance: 0, bytes: &raw[..] };
    assert_eq!(set_context(&mut world, &context(&[record])), 0);
    let context =
        |world: &mut World, cmd, vcpu| domctl(world, cmd, NEW, VcpuContext { vcpu, ctxt: LIST }).0;
    assert_eq!(context(&mut world, ctl::DOM_GET_VCPU_CONTEXT, 0), 0);
    let word = |world: &World, at: u64| {
        let mut raw = [0; 8];
        read_gpa(&world.host, DomId(0), LIST + at, &mut raw).unwrap();
        u64::from_le_bytes(raw)
    };
    assert_eq!([648, 664, 4984].map(|at| word(&world, at)), [state.rip, 2, state.cr[0]]);
    // VGCF_I387_VALID and VGCF_online.
    assert_eq!(word(&world, 512), 0x21);
    for (at, value) in [(600, 1_u64), (648, 0x1234), (4984, 0)] {
        write_gpa(&mut world.host, DomId(0), LIST + at, &value.to_le_bytes()).unwrap();
    }
    world.xen.actions.clear();
    assert_eq!(context(&mut world, ctl::DOM_SET_VCPU_CONTEXT, 0), 0);
    let now = world.xen.vcpu(DomId(NEW), 0).unwrap().registers.clone().unwrap();
    assert_eq!((now.gpr[0], now.rip, now.cr[0]), (1, 0x1234, state.cr[0]));
    let loads = Action::LoadVcpu { dom: DomId(NEW), vcpu: 0 };
    assert!(world.xen.actions.contains(&loads));
    for (vcpu, expected) in [(7, Errno::Inval), (u32::MAX, Errno::Inval)] {
        assert_eq!(context(&mut world, ctl::DOM_GET_VCPU_CONTEXT, vcpu), expected.result());
    }
}

/// The log tells of each page once, in as many calls as it takes, and ends.
#[test]
fn stores_are_logged() {
    let mut world = World::new();
    let dom = created(&mut world, 16);
    let operation = |world: &mut World, op, pages| {
        let arg = ShadowOp { op, pages, dirty_bitmap: LIST, ..ShadowOp::default() };
        domctl(world, ctl::DOM_SHADOW_OP, NEW, arg)
    };
    let inval = Errno::Inval.result();
    assert_eq!(operation(&mut world, ctl::SHADOW_CLEAN, 16).0, inval);
    assert_eq!(operation(&mut world, ctl::SHADOW_ENABLE_LOGDIRTY, 0).0, 0);
    assert_eq!(operation(&mut world, ctl::SHADOW_ENABLE_LOGDIRTY, 0).0, inval);
    assert!(world.xen.actions.contains(&Action::LogDirty(dom)));
    operation(&mut world, ctl::SHADOW_CLEAN, 4096);
    write_gpa(&mut world.host, dom, 0x5008, &[1]).unwrap();
    let bitmap = |world: &World| {
        let mut raw = [0; 2];
        read_gpa(&world.host, DomId(0), LIST, &mut raw).unwrap();
        u16::from_le_bytes(raw)
    };
    for (op, expected) in
        [(ctl::SHADOW_PEEK, 1 << 5), (ctl::SHADOW_CLEAN, 1 << 5), (ctl::SHADOW_CLEAN, 0)]
    {
        let (result, arg) = operation(&mut world, op, 4096);
        assert_eq!((result, arg.pages, bitmap(&world)), (0, 4096, expected));
        assert_eq!(arg.dirty_count, u32::from(expected != 0));
    }
    // Pages beyond those asked for are not told of.
    write_gpa(&mut world.host, dom, 0x5008, &[1]).unwrap();
    assert_eq!(operation(&mut world, ctl::SHADOW_PEEK, 5).1.dirty_count, 0);
    assert_eq!(operation(&mut world, ctl::SHADOW_OFF, 0).0, 0);
    assert_eq!(operation(&mut world, ctl::SHADOW_CLEAN, 16).0, inval);
}

/// Keys reach the hypervisor, a few at a time; of PCI functions no node is known.
#[test]
fn keys_and_nodes() {
    let mut world = World::new();
    write_gpa(&mut world.host, DomId(0), LIST, b"hd").unwrap();
    let keys = |world: &mut World, nr_keys| {
        sysctl(world, ctl::SYS_DEBUG_KEYS, DebugKeys { keys: LIST, nr_keys }).0
    };
    assert_eq!(keys(&mut world, 2), 0);
    assert_eq!(world.xen.actions, [Action::Key(b'h'), Action::Key(b'd')]);
    assert_eq!(keys(&mut world, u32::MAX), 0);
    assert_eq!(world.xen.actions.len(), 66);
    let arg = PciTopoInfo { num_devs: 2, devs: LIST, nodes: LIST + 64 };
    assert_eq!(sysctl(&mut world, ctl::SYS_PCITOPOINFO, arg).1.num_devs, 2);
    let nodes: GetPhysid = world.get(0, LIST + 64);
    assert_eq!(nodes.phys_id, 0xFFFF_FFFE_FFFF_FFFE);
    let none = PciTopoInfo { nodes: 0, ..arg };
    assert_eq!(sysctl(&mut world, ctl::SYS_PCITOPOINFO, none).0, Errno::Inval.result());
}
