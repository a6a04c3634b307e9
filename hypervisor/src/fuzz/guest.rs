//! What guests do besides hypercalls: stores, their local APICs, ports; and what dom0's tools do.

use super::input::Input;
use super::machine;
use super::toolstack;
use super::witness::SECRET_PAGES;
use super::world::{
    DOM0, FIRST_GRANT, GRANTS, HOSTILE, HVM, Key, Registers, SHARED, WITNESS, World,
};
use crate::xen::abi::layout::{
    AddToPhysmapBatch, DomctlHead, DomctlScheduler, GrantEntry, Layout, SchedPoll,
    SchedRemoteShutdown,
};
use crate::xen::abi::nr::{ctl, domid, hypercall as nr, mem, sched};
use crate::xen::host_services::HostServices;
use crate::xen::pc::io_server::{Access, Space};
use crate::xen::{DomId, Width, vioapic, vlapic, vuart};

/// Something other than a hypercall.
pub(super) fn act(world: &mut World, input: &mut Input<'_>, (dom, vcpu): Key) {
    match input.below(8) {
        0..=2 => store_grant(world, input, dom),
        3 => {
            let (at, value) = (u64::from(input.word() % 4096), input.byte());
            world.write(dom, (SHARED << 12) + at, &[value]);
        }
        4 | 5 => apic(world, input, (dom, vcpu)),
        6 => {
            let interrupts = !input.once_in(8);
            world.xen.halt(&world.memory, dom, vcpu, interrupts);
        }
        _ if world.xen.pc(dom).is_some() => pc(world, input, (dom, vcpu)),
        _ => device(world, input, (dom, vcpu)),
    }
}

/// The ports and the memory of a PC, of which some are a device model's.
fn pc(world: &mut World, input: &mut Input<'_>, key: Key) {
    const PORTS: [u64; 20] = [
        0x20, 0x21, 0xA0, 0xA1, 0x4D0, 0x40, 0x40, 0x42, 0x43, 0x61, 0x70, 0x71, 0xB000, 0xB008,
        0x1F40, 0xCF8, 0xCFC, 0x1F0, 1, 0xFFFF,
    ];
    let (space, addr) = match input.below(6) {
        0 => (Space::Memory, input.pick(&[0, 1, 0xFEC0_0000, 0xFEE0_0020, 0xF_FFFF_FFFF])),
        _ => (Space::Port, input.pick(&PORTS)),
    };
    let written = if input.once_in(3) { None } else { Some(input.word().into()) };
    let access = Access::new(space, addr, input.pick(&[1, 1, 2, 4, 8]), written);
    let now = machine::now();
    if world.xen.access(&mut world.memory, key, access, now).is_some() {
        world.xen.answer(key.0, key.1);
    }
}

/// The end of an interrupt's handler, and of an upcall's.
pub(super) fn handled(world: &mut World, (dom, vcpu): Key) {
    let now = machine::now();
    let eoi = vlapic::PAGE + u64::from(vlapic::reg::EOI);
    world.xen.mmio_write(&mut world.memory, (dom, vcpu), eoi, 0, now);
    if let Ok(info) = world.xen.vcpu(dom, vcpu).map(|vcpu| vcpu.info) {
        world.memory.write(info.mfn, info.offset.into(), &[0; 16]);
    }
}

/// An entry of the own grant table.
fn store_grant(world: &mut World, input: &mut Input<'_>, dom: DomId) {
    let gref = u64::from(FIRST_GRANT) + input.below(6);
    let flags = input.pick(&[1, 1, 1, 5, 0, 2, 3, 0x19, u16::MAX]);
    let entry = GrantEntry { flags, domid: input.domain(), frame: input.frame() as u32 };
    world.put(dom, (GRANTS << 12) + gref * GrantEntry::MAX as u64, Width::Long, &entry);
}

/// A register of the local APIC: interprocessor messages, and the timer.
fn apic(world: &mut World, input: &mut Input<'_>, (dom, vcpu): Key) {
    let now = machine::now();
    let mut write = |offset, value| {
        world.xen.mmio_write(&mut world.memory, (dom, vcpu), vlapic::PAGE + offset, value, now);
    };
    match input.below(8) {
        0..=3 => {
            // INIT, start-up, NMI, fixed, all modes; to one, oneself, all, the others.
            let mode =
                input.pick(&[0x4500, 0x4600, 0x4400, 0x4000, 0x4700, 0x8500, 0x4100, 0x4200]);
            let shorthand = input.pick(&[0, 0, 0, 0, 1, 3, 3, 2]) << 18;
            write(0x310, input.pick(&[0, 2, 4, 2, 4, 0xFF]) << 24);
            write(0x300, shorthand | mode | u64::from(input.byte()));
        }
        4 | 5 => {
            // One-shot, periodic, deadline, and the reserved mode.
            write(0xF0, 0x1FF);
            write(0x320, input.below(4) << 17 | input.pick(&[0, 0x1_0000]) | 0x40);
            write(0x3E0, input.below(16));
            write(0x380, input.pick(&[0, 1, 1000, 1_000_000, 0xFFFF_FFFF]));
        }
        6 => {
            let value = input.time(now);
            world.xen.wrmsr(&mut world.memory, (dom, vcpu), 0x6E0, value, Width::Long, now);
        }
        _ => write(input.below(64) << 4, input.word().into()),
    }
}

/// COM1, the registers that end a domain, the I/O APIC, the hypercall page, the mode of the APIC.
fn device(world: &mut World, input: &mut Input<'_>, (dom, vcpu): Key) {
    let now = machine::now();
    let value = input.byte();
    match input.below(8) {
        0..=2 => {
            let port = vuart::BASE + u16::from(value >> 4 & 7);
            world.xen.port_write(&mut world.memory, dom, port, input.byte().into());
            world.xen.port_read(&mut world.memory, dom, port);
        }
        3 if input.once_in(16) => {
            let port = input.pick(&[0x604, 0x606]);
            world.xen.port_write(&mut world.memory, dom, port, input.pick(&[0x34, 1, 0xFF]));
        }
        3..=5 => {
            let at = vioapic::PAGE + input.pick(&[0, 0x10, 0x10, 0x40]);
            world.xen.mmio_write(&mut world.memory, (dom, vcpu), at, input.word().into(), now);
        }
        6 => {
            let (page, width) = (input.frame() << 12, input.width());
            world.xen.wrmsr(&mut world.memory, (dom, vcpu), 0x4000_0000, page, width, now);
        }
        _ => {
            let base =
                vlapic::PAGE | input.pick(&[0, 0x800, 0xC00]) | if vcpu == 0 { 0x100 } else { 0 };
            world.xen.wrmsr(&mut world.memory, (dom, vcpu), 0x1B, base, Width::Long, now);
        }
    }
}

/// The page of dom0 that its tools' arguments stand in.
const TOOLS: u64 = 0x2000;

/// A call of dom0's tools: to what is hostile, and never to harm the witness.
pub(super) fn tools(world: &mut World, input: &mut Input<'_>) -> Registers {
    if input.once_in(2) {
        return toolstack::tools(world, input);
    }
    if input.once_in(3) {
        return toolstack::device_model(world, input, HVM);
    }
    let target = input.pick(&HOSTILE);
    let most = world.limits[&target].pages;
    let mut put = |offset: u64, bytes: &[u8]| assert!(world.write(DOM0, TOOLS + offset, bytes));
    let args = |number, args| Registers::new(Width::Long, number, args);
    let cmd = match input.below(16) {
        0..=2 => ctl::DOM_PAUSE,
        3..=6 => ctl::DOM_UNPAUSE,
        7 => ctl::DOM_GETINFO,
        8 => ctl::DOM_DESTROY,
        9 => {
            // The union's one word: KiB.
            let pages = if input.once_in(2) { most } else { input.below(256) };
            put(16, &(pages << 2).to_le_bytes());
            ctl::DOM_MAX_MEM
        }
        10 => {
            let (weight, cap) =
                (input.pick(&[0, 1, 256, u16::MAX]), input.pick(&[0, 1, 50, u16::MAX]));
            let operation = DomctlScheduler { sched_id: ctl::SCHED_CREDIT2, cmd: 0, weight, cap };
            let mut raw = [0; DomctlScheduler::MAX];
            operation.encode(Width::Long, &mut raw);
            put(16, &raw);
            ctl::DOM_SCHEDULER_OP
        }
        11 => {
            let arg = SchedRemoteShutdown { domid: target.0, reason: input.below(6) as u32 };
            world.put(DOM0, TOOLS, Width::Long, &arg);
            return args(nr::SCHED_OP, [sched::REMOTE_SHUTDOWN, TOOLS, 0, 0, 0, 0]);
        }
        _ => return args(nr::MEMORY_OP, [foreign(world, input), TOOLS, 0, 0, 0, 0]),
    };
    let head = DomctlHead { cmd, interface_version: ctl::INTERFACE_VERSION, domain: target.0 };
    world.put(DOM0, TOOLS, Width::Long, &head);
    args(nr::DOMCTL, [TOOLS, 0, 0, 0, 0, 0])
}

/// Dom0 waits for a millisecond.
pub(super) fn rest(world: &mut World) -> Registers {
    let timeout = world.xen.clock.ns(machine::now()) + 1_000_000;
    world.put(DOM0, TOOLS, Width::Long, &SchedPoll { ports: TOOLS, nr_ports: 0, timeout });
    Registers::new(Width::Long, nr::SCHED_OP, [sched::POLL, TOOLS, 0, 0, 0, 0])
}

/// Maps a page of another domain in dom0, or removes such a mapping.
fn foreign(world: &mut World, input: &mut Input<'_>) -> u64 {
    let place = 0x100 + input.below(8);
    if input.once_in(2) {
        let raw = [u64::from(domid::SELF).to_le_bytes(), place.to_le_bytes()];
        world.write(DOM0, TOOLS, raw.as_flattened());
        return mem::REMOVE_FROM_PHYSMAP;
    }
    let foreign_domid = input.pick(&[1, 2, WITNESS.0]);
    // A page that dom0 maps counts against its owner: the witness keeps those.
    let idx = if foreign_domid == WITNESS.0 { SECRET_PAGES.start } else { input.frame() };
    let [idxs, gpfns, errs] = [0x100, 0x108, 0x110].map(|offset| TOOLS + offset);
    world.write(DOM0, idxs, &idx.to_le_bytes());
    world.write(DOM0, gpfns, &place.to_le_bytes());
    let space = mem::SPACE_GMFN_FOREIGN as u16;
    let batch =
        AddToPhysmapBatch { domid: domid::SELF, space, size: 1, foreign_domid, idxs, gpfns, errs };
    world.put(DOM0, TOOLS, Width::Long, &batch);
    mem::ADD_TO_PHYSMAP_BATCH
}
