//! What dom0's tools do to domains that they create, in any order, with arguments right and wrong.

use super::input::Input;
use super::world::{DOM0, Registers, World};
use crate::xen::abi::hvm_context::{CpuState, HEADER_SIZE, MAGIC, Record, code, push_record};
use crate::xen::abi::layout::*;
use crate::xen::abi::nr::{ctl, evtchn, hypercall as nr, mem};
use crate::xen::host_services::HostServices;
use crate::xen::{DomId, Width};
use alloc::vec::Vec;

/// The page of dom0 that the arguments stand in, and two for lists.
const TOOLS: u64 = 0x2000;
const LISTS: u64 = 0x4000;
/// Bytes of the lists.
const LIST: usize = 0x2000;

fn call(number: u32, args: [u64; 2]) -> Registers {
    Registers::new(Width::Long, number, [args[0], args[1], 0, 0, 0, 0])
}

/// A domain of the tools, if there is one.
fn target(world: &World, input: &mut Input<'_>) -> Option<DomId> {
    let created: Vec<DomId> = world.kept.keys().copied().collect();
    let count = (created.len() as u64).max(1);
    created.get(input.below(count) as usize).copied()
}

/// A call of the tools.
pub(super) fn tools(world: &mut World, input: &mut Input<'_>) -> Registers {
    let Some(dom) = target(world, input) else { return create(world, input) };
    let cmd = match input.below(26) {
        20..=25 => return device_model(world, input, dom),
        0..=3 => return create(world, input),
        4 | 5 => put(world, ctl::DOM_MAX_VCPUS, &MaxVcpus { max: input.pick(&[2, 2, 1, 0, 33]) }),
        6..=8 => hvm_context(world, input),
        9 => {
            let max_memkb = input.pick(&[64, 4096, 0, u64::MAX]);
            put(world, ctl::DOM_MAX_MEM, &MaxMem { max_memkb })
        }
        10 => policy(world, input),
        11 => {
            let arg = VcpuAffinity { vcpu: input.vcpu(), flags: input.below(4) as u32 };
            for at in [24, 40] {
                let map = Bitmap { bitmap: LISTS, nr_bits: input.pick(&[8, 64, 0, u32::MAX]) };
                world.put(DOM0, TOOLS + at, Width::Long, &map);
            }
            put(world, input.pick(&[ctl::DOM_SET_VCPU_AFFINITY, ctl::DOM_GET_VCPU_AFFINITY]), &arg)
        }
        12 => {
            let arg = SendTrigger { trigger: input.below(6) as u32, vcpu: input.vcpu() };
            put(world, ctl::DOM_SEND_TRIGGER, &arg)
        }
        13 => put(world, ctl::DOM_SUBSCRIBE, &EvtchnPort { port: input.port() }),
        14 => put(world, input.pick(&[ctl::DOM_DESTROY, ctl::DOM_RESUME]), &MaxVcpus::default()),
        15 => put(world, ctl::DOM_UNPAUSE, &MaxVcpus::default()),
        16 => return sysctl(world, input),
        17 => return resource(world, input, dom),
        18 => return populate(world, input, dom),
        _ => put(world, input.below(100) as u32, &GetPhysid { phys_id: input.any() }),
    };
    let head = DomctlHead { cmd, interface_version: ctl::INTERFACE_VERSION, domain: dom.0 };
    world.put(DOM0, TOOLS, Width::Long, &head);
    call(nr::DOMCTL, [TOOLS, 0])
}

/// The argument of a `domctl`; its command.
fn put<T: Layout>(world: &mut World, cmd: u32, arg: &T) -> u32 {
    world.put(DOM0, TOOLS + 16, Width::Long, arg);
    cmd
}

fn create(world: &mut World, input: &mut Input<'_>) -> Registers {
    let config = CreateDomain {
        flags: input.pick(&[3, 3, 3, 11, 1, u32::MAX]),
        max_vcpus: input.pick(&[2, 1, 2, 32, 33, 0]),
        max_evtchn_port: input.pick(&[1023, 0, 3, u32::MAX]),
        max_grant_frames: input.pick(&[u32::MAX, 1, 64, 65]),
        emulation_flags: input.pick(&[1, 1, 0x3FF, 0x1FF, 0]),
        ..CreateDomain::default()
    };
    put(world, ctl::DOM_CREATE, &config);
    let domain = input.pick(&[0, 0, 5, 1, u16::MAX]);
    let head = DomctlHead { cmd: ctl::DOM_CREATE, interface_version: 0x15, domain };
    world.put(DOM0, TOOLS, Width::Long, &head);
    call(nr::DOMCTL, [TOOLS, 0])
}

/// Registers for a vCPU, now and then with a byte changed; or where to write a context.
fn hvm_context(world: &mut World, input: &mut Input<'_>) -> u32 {
    let size = input.pick(&[LIST as u32, LIST as u32, 0, 4096, u32::MAX]);
    if input.once_in(3) {
        let buffer = input.pick(&[LISTS, 0, u64::MAX]);
        return put(world, ctl::DOM_GET_HVM_CONTEXT, &HvmContext { size, buffer });
    }
    let mut header = [0; HEADER_SIZE];
    header[..8].copy_from_slice(MAGIC.map(u32::to_le_bytes).as_flattened());
    let mut raw = Vec::new();
    push_record(&mut raw, Record { code: code::HEADER, instance: 0, bytes: &header });
    let state = CpuState::default().encode();
    let instance = input.vcpu() as u16;
    push_record(&mut raw, Record { code: code::CPU, instance, bytes: &state[..] });
    push_record(&mut raw, Record { code: code::END, instance: 0, bytes: &[] });
    if input.once_in(2) {
        let at = input.below(raw.len() as u64) as usize;
        raw[at] ^= input.byte();
    }
    raw.truncate(LIST);
    world.write(DOM0, LISTS, &raw);
    let arg = HvmContext { size: raw.len() as u32, buffer: LISTS };
    put(world, ctl::DOM_SET_HVM_CONTEXT, &arg)
}

fn policy(world: &mut World, input: &mut Input<'_>) -> u32 {
    let leaf = input.pick(&[0, 1, 4, 7, 0xD, 0x8000_0000, 0x4000_0000, 0x20]);
    let subleaf = input.pick(&[u32::MAX, 0, 1, 62, 63]);
    let row = CpuidLeaf { leaf, subleaf, a: input.word(), ..CpuidLeaf::default() };
    world.put(DOM0, LISTS, Width::Long, &row);
    let nr_leaves = input.pick(&[1, 1, 2, 120, 121, u32::MAX]);
    let leaves = input.pick(&[LISTS, LISTS, 0, u64::MAX]);
    let arg = DomainCpuPolicy { nr_leaves, leaves, ..DomainCpuPolicy::default() };
    put(world, input.pick(&[ctl::DOM_SET_CPU_POLICY, ctl::DOM_GET_CPU_POLICY]), &arg)
}

/// A question about the machine: a list of words as its argument.
fn sysctl(world: &mut World, input: &mut Input<'_>) -> Registers {
    let cmd = input.pick(&[1, 1, 3, 4, 6, 7, 8, 9, 16, 17, 18, 19, 25, 26, 29, 30]);
    let head = SysctlHead { cmd, interface_version: ctl::INTERFACE_VERSION };
    world.put(DOM0, TOOLS, Width::Long, &head);
    for at in (8..48).step_by(8) {
        let word = input.pick(&[LISTS, LISTS, 0, 1, 3, 64, 0xFFFF_FFFF, u64::MAX]);
        world.put(DOM0, TOOLS + at, Width::Long, &GetPhysid { phys_id: word });
    }
    call(nr::SYSCTL, [TOOLS, 0])
}

/// Maps a grant table's frames in dom0.
fn resource(world: &mut World, input: &mut Input<'_>, dom: DomId) -> Registers {
    let gfns: Vec<u8> = (0..8_u64).flat_map(|i| (0x100 + i).to_le_bytes()).collect();
    world.write(DOM0, LISTS, &gfns);
    let arg = AcquireResource {
        domid: dom.0,
        kind: input.pick(&[1, 1, 0, 2]),
        nr_frames: input.pick(&[1, 2, 8, 65, 0, u32::MAX]),
        frame: input.pick(&[0, 0, 1, 63, u64::MAX]),
        frame_list: input.pick(&[LISTS, LISTS, 0, u64::MAX]),
        ..AcquireResource::default()
    };
    world.put(DOM0, TOOLS, Width::Long, &arg);
    call(nr::MEMORY_OP, [mem::ACQUIRE_RESOURCE, TOOLS])
}

/// A device model of `dom` changes what it answers for, or answers.
pub(super) fn device_model(world: &mut World, input: &mut Input<'_>, dom: DomId) -> Registers {
    match input.below(6) {
        0 => {
            reply(world, input, dom);
            answer(world, input)
        }
        1 => resource(world, input, dom),
        2 => {
            let bind = EvtchnBindInterdomain {
                remote_dom: dom.0,
                remote_port: input.port(),
                ..Default::default()
            };
            world.put(DOM0, TOOLS, Width::Long, &bind);
            call(nr::EVENT_CHANNEL_OP, [evtchn::BIND_INTERDOMAIN, TOOLS])
        }
        _ => dm_op(world, input, dom),
    }
}

/// What a device model does, and what it may not.
fn dm_op(world: &mut World, input: &mut Input<'_>, dom: DomId) -> Registers {
    /// A server, its ports and memory, and its beginning.
    const MODEL: [[u32; 8]; 4] = [
        [1, 0, 1, 0, 0, 0, 0, 0],
        [3, 0, 0, 0, 0, 0, 0xFFFF, 0],
        [3, 0, 0, 1, 0, 0, u32::MAX, u32::MAX],
        [5, 0, 0x1_0000, 0, 0, 0, 0, 0],
    ];
    let mut words = input.pick(&MODEL);
    if input.once_in(2) {
        words[0] = input.below(24) as u32;
        for word in &mut words[2..] {
            *word = input.pick(&[0, 0, 1, 1, 2, 3, 0x1_0000, 0x1F0, 0x0101_0100, u32::MAX]);
        }
    }
    let raw = words.map(u32::to_le_bytes);
    let raw = raw.as_flattened();
    world.write(DOM0, LISTS, raw);
    let size = input.pick(&[32, 32, 32, 32, 8, 14, 0, u64::MAX]);
    world.put(DOM0, TOOLS, Width::Long, &DmOpBuf { h: LISTS, size });
    let target = if input.once_in(16) { input.domain() } else { dom.0 };
    let count = input.pick(&[1, 1, 1, 0, 3]);
    Registers::new(Width::Long, nr::DM_OP, [target.into(), count, TOOLS, 0, 0, 0])
}

/// The device model writes to the page of its requests by a mapping of its own, and the event comes.
fn reply(world: &mut World, input: &mut Input<'_>, dom: DomId) {
    let vcpu = input.below(4) as usize;
    let Some(server) = world.xen.pc(dom).and_then(|pc| pc.servers.first()) else { return };
    let (page, port) = (server.page, server.ports.get(vcpu).copied().unwrap_or(0));
    let flags = input.pick(&[0x23, 0x23, 3, 1, 0xFF]);
    world.memory.write(page, vcpu * 32 + 30, &[flags]);
    world.xen.raise_port(&mut world.memory, dom, port);
}

/// A device model writes to the page of its requests, and sends an event.
fn answer(world: &mut World, input: &mut Input<'_>) -> Registers {
    let page = (0x100 + input.below(8)) << 12;
    let at = page + input.below(4) * 32 + input.pick(&[30, 30, 8, 24]);
    // Where it has no page there is nothing to write to.
    world.write(DOM0, at, &[input.pick(&[0x23, 3, 0x13, 0, 0xFF])]);
    world.put(DOM0, TOOLS, Width::Long, &EvtchnPort { port: input.port() });
    call(nr::EVENT_CHANNEL_OP, [evtchn::SEND, TOOLS])
}

/// RAM for a domain, page by page or all at once.
fn populate(world: &mut World, input: &mut Input<'_>, dom: DomId) -> Registers {
    let first = input.pick(&[0, 0, 1, 512, 1024]);
    let gfns: Vec<u8> = (0..8_u64).flat_map(|i| (first + i).to_le_bytes()).collect();
    world.write(DOM0, LISTS, &gfns);
    let arg = MemoryReservation {
        extent_start: LISTS,
        nr_extents: input.pick(&[1, 8, 1, 8, u64::MAX]),
        extent_order: input.pick(&[0, 0, 9, 10]),
        mem_flags: 0,
        domid: dom.0,
    };
    world.put(DOM0, TOOLS, Width::Long, &arg);
    call(nr::MEMORY_OP, [mem::POPULATE_PHYSMAP, TOOLS])
}
