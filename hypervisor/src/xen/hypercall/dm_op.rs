//! `dm_op`: what a device model does to the domain that it serves. `hvm/dm_op.h`.

use super::super::ShutdownReason;
use super::super::abi::layout::{DmOpBuf, Field};
use super::super::abi::nr::dm as op;
use super::super::abi::{Errno, nr::domid};
use super::super::host_services::{DomId, GFN_LIMIT, Mapping, P2mKind};
use super::super::pc::buffered::Buffering;
use super::super::pc::io_server::{MOST_RANGES, Space};
use super::super::vlapic::Message;
use super::{Args, Call, Step};

/// The most buffers of a call.
const MOST_BUFFERS: u64 = 2;
/// Where an operation's structure begins in the first buffer, and the most that this has.
const UNION: usize = 8;
const SIZE: usize = 32;

/// The size of each operation's structure.
const SIZES: [usize; 21] =
    [0, 6, 24, 24, 24, 4, 4, 16, 6, 2, 2, 8, 16, 24, 16, 24, 4, 24, 24, 8, 4];

/// An operation in progress: its domain, and its structure.
struct Operation {
    dom: DomId,
    raw: [u8; SIZE],
}

impl Operation {
    fn field<T: Field>(&self, offset: usize) -> T {
        T::load(&self.raw[UNION + offset..])
    }

    fn put<T: Field>(&mut self, offset: usize, value: T) {
        value.store(&mut self.raw[UNION + offset..]);
    }
}

/// True once all is done; false to be called again with the structure as it is now.
type Progress = Result<bool, Errno>;

impl Call<'_> {
    pub(super) fn dm_op(&mut self, args: Args) -> Result<Step, Errno> {
        let [target, count, buffers, ..] = args;
        if count > MOST_BUFFERS {
            return Err(Errno::TooBig);
        }
        let mut list = [DmOpBuf::default(); 2];
        for index in 0..count {
            list[index as usize] = self.load(self.c.entry::<DmOpBuf>(buffers, index))?;
        }
        let dom = self.served(target)?;
        let [first, _] = list;
        let size = first.size.min(SIZE as u64) as usize;
        if size < UNION {
            return Err(Errno::Fault);
        }
        let mut call = Operation { dom, raw: [0; SIZE] };
        self.c.read(self.host, first.h, &mut call.raw[..UNION])?;
        let number = u32::load(&call.raw);
        let wanted = *SIZES.get(number as usize).ok_or(Errno::OpNotSupp)?;
        let end = UNION + wanted;
        if size < end {
            return Err(Errno::Fault);
        }
        self.c.read(self.host, first.h.wrapping_add(UNION as u64), &mut call.raw[UNION..end])?;
        if u32::load(&call.raw[4..]) != 0 {
            return Err(Errno::Inval);
        }
        let before = call.raw;
        let done = self.dm_operation(number, &mut call)?;
        if call.raw != before {
            self.c.write(self.host, first.h, &call.raw[..end])?;
        }
        Ok(if done { Step::Done(0) } else { Step::Again(args) })
    }

    /// The domain that a device model names: another one, with a PC, and the caller may.
    fn served(&self, target: u64) -> Result<DomId, Errno> {
        let target = target as u16;
        if target == domid::SELF || DomId(target) == self.c.dom {
            return Err(Errno::Perm);
        }
        let domain = self.xen.domain(DomId(target))?;
        if domain.dying {
            return Err(Errno::Srch);
        }
        self.privileged()?;
        if domain.pc.is_none() { Err(Errno::Inval) } else { Ok(domain.id) }
    }

    fn dm_operation(&mut self, number: u32, call: &mut Operation) -> Progress {
        let done = match number {
            op::CREATE_IOREQ_SERVER => self.create_io_server(call),
            op::GET_IOREQ_SERVER_INFO => self.io_server_info(call),
            op::MAP_IO_RANGE => self.map_range(call),
            op::UNMAP_IO_RANGE => self.unmap_range(call),
            op::SET_IOREQ_SERVER_STATE => self.set_server_state(call),
            op::DESTROY_IOREQ_SERVER => {
                self.own_server(call.dom, call.field(0))?;
                self.xen.destroy_server(self.host, call.dom, call.field(0))
            }
            // Nobody tracks: the model takes everything for changed.
            op::TRACK_DIRTY_VRAM => Err(Errno::NoData),
            op::SET_PCI_INTX_LEVEL => self.set_intx(call),
            op::SET_ISA_IRQ_LEVEL => self.set_isa(call),
            op::SET_PCI_LINK_ROUTE => self.set_route(call),
            // There is no log of dirty pages to mark in.
            op::MODIFIED_MEMORY if call.field::<u32>(4) != 0 => Err(Errno::Inval),
            // Memory is always cached.
            op::MODIFIED_MEMORY | op::PIN_MEMORY_CACHEATTR => Ok(()),
            op::SET_MEM_TYPE => return self.set_mem_type(call),
            op::INJECT_MSI => self.inject_msi(call),
            op::REMOTE_SHUTDOWN => {
                let reason = ShutdownReason::from_word(call.field(0))?;
                self.xen.shutdown(call.dom, reason);
                Ok(())
            }
            op::RELOCATE_MEMORY => return self.relocate(call),
            op::NR_VCPUS => {
                call.put(0, self.xen.domain(call.dom)?.max_vcpus);
                Ok(())
            }
            _ => Err(Errno::OpNotSupp),
        };
        done.map(|()| true)
    }

    fn create_io_server(&mut self, call: &mut Operation) -> Result<(), Errno> {
        let buffered = Buffering::of(call.field(0)).ok_or(Errno::Inval)?;
        if call.field::<[u8; 3]>(1) != [0; 3] {
            return Err(Errno::Inval);
        }
        let owner = self.c.dom;
        let id = self.xen.create_server(self.host, call.dom, owner, buffered)?;
        call.put(4, id);
        Ok(())
    }

    /// `-ENOENT` without such a server, `-EPERM` if it is another's.
    fn own_server(&self, dom: DomId, id: u16) -> Result<(), Errno> {
        let pc = self.xen.pc(dom).ok_or(Errno::Inval)?;
        let server = pc.servers.iter().find(|server| server.id == id).ok_or(Errno::NoEnt)?;
        if server.owner == self.c.dom { Ok(()) } else { Err(Errno::Perm) }
    }

    /// The ranges of a space that a server of the caller's has, to change.
    fn ranges(&mut self, call: &Operation) -> Result<&mut alloc::vec::Vec<(u64, u64)>, Errno> {
        let (id, space): (u16, u32) = (call.field(0), call.field(4));
        let (first, last): (u64, u64) = (call.field(8), call.field(16));
        if first > last || call.field::<u16>(2) != 0 {
            return Err(Errno::Inval);
        }
        self.own_server(call.dom, id)?;
        let space = *Space::ALL.get(space as usize).ok_or(Errno::Inval)?;
        let pc = self.xen.pc_mut(call.dom).ok_or(Errno::Inval)?;
        let server = pc.servers.iter_mut().find(|server| server.id == id).ok_or(Errno::NoEnt)?;
        Ok(&mut server.ranges[space as usize])
    }

    fn map_range(&mut self, call: &Operation) -> Result<(), Errno> {
        let (first, last): (u64, u64) = (call.field(8), call.field(16));
        let ranges = self.ranges(call)?;
        if ranges.iter().any(|&(start, end)| first <= end && start <= last) {
            return Err(Errno::Exist);
        }
        if ranges.len() >= MOST_RANGES {
            return Err(Errno::NoMem);
        }
        ranges.try_reserve(1).map_err(|_| Errno::NoMem)?;
        ranges.push((first, last));
        Ok(())
    }

    /// Takes a range away, which may be part of a larger one.
    fn unmap_range(&mut self, call: &Operation) -> Result<(), Errno> {
        let (first, last): (u64, u64) = (call.field(8), call.field(16));
        let ranges = self.ranges(call)?;
        let holds = |&(start, end): &(u64, u64)| start <= first && last <= end;
        let index = ranges.iter().position(holds).ok_or(Errno::NoEnt)?;
        let (start, end) = ranges[index];
        let (before, after) = (start < first, last < end);
        if before && after && ranges.len() >= MOST_RANGES {
            return Err(Errno::NoMem);
        }
        ranges.try_reserve(1).map_err(|_| Errno::NoMem)?;
        ranges.swap_remove(index);
        ranges.extend(before.then(|| (start, first - 1)));
        ranges.extend(after.then(|| (last + 1, end)));
        Ok(())
    }

    fn set_server_state(&mut self, call: &Operation) -> Result<(), Errno> {
        let id: u16 = call.field(0);
        self.own_server(call.dom, id)?;
        if call.field::<u8>(3) != 0 {
            return Err(Errno::Inval);
        }
        let pc = self.xen.pc_mut(call.dom).ok_or(Errno::Inval)?;
        if let Some(server) = pc.servers.iter_mut().find(|server| server.id == id) {
            server.enabled = call.field::<u8>(2) != 0;
        }
        Ok(())
    }

    /// The ports; frames are had as a resource, never at addresses of the domain.
    fn io_server_info(&mut self, call: &mut Operation) -> Result<(), Errno> {
        const NO_GFNS: u16 = 1;
        let id: u16 = call.field(0);
        self.own_server(call.dom, id)?;
        if call.field::<u16>(2) & !NO_GFNS != 0 {
            return Err(Errno::Inval);
        }
        let pc = self.xen.pc(call.dom).ok_or(Errno::Inval)?;
        let server = pc.servers.iter().find(|server| server.id == id).ok_or(Errno::NoEnt)?;
        let port = server.buffered.map_or(0, |ring| ring.port);
        if call.field::<u16>(2) & NO_GFNS == 0 {
            return Err(Errno::OpNotSupp);
        }
        call.put(4, port);
        Ok(())
    }

    fn set_intx(&mut self, call: &Operation) -> Result<(), Errno> {
        let [_, _, bus, device, intx, level]: [u8; 6] = call.field(0);
        if call.field::<u16>(0) != 0 || bus != 0 || level > 1 {
            return Err(Errno::Inval);
        }
        let pc = self.xen.pc_mut(call.dom).ok_or(Errno::Inval)?;
        let known = pc.lines.set_intx(device, intx, level != 0);
        self.changed(call.dom, known)
    }

    fn set_isa(&mut self, call: &Operation) -> Result<(), Errno> {
        let [line, level]: [u8; 2] = call.field(0);
        let pc = self.xen.pc_mut(call.dom).ok_or(Errno::Inval)?;
        let known = level <= 1 && pc.lines.set_isa(line, level != 0);
        self.changed(call.dom, known)
    }

    fn set_route(&mut self, call: &Operation) -> Result<(), Errno> {
        let [link, line]: [u8; 2] = call.field(0);
        let pc = self.xen.pc_mut(call.dom).ok_or(Errno::Inval)?;
        let known = pc.lines.set_route(link, line);
        self.changed(call.dom, known)
    }

    /// Lets the controllers see a change of the lines; `-EINVAL` if there was no such line.
    fn changed(&mut self, dom: DomId, known: bool) -> Result<(), Errno> {
        if !known {
            return Err(Errno::Inval);
        }
        self.xen.drive_lines(self.host, dom);
        Ok(())
    }

    /// Pages become RAM that can be written, or only read.
    fn set_mem_type(&mut self, call: &mut Operation) -> Progress {
        let (count, kind): (u32, u16) = (call.field(0), call.field(4));
        let first: u64 = call.field(8);
        let end = first.checked_add(count.into()).filter(|&end| end <= GFN_LIMIT);
        let end = end.filter(|_| call.field::<u16>(6) == 0).ok_or(Errno::Inval)?;
        let kind = match kind {
            op::MEM_RAM_RW => P2mKind::Ram,
            op::MEM_RAM_RO => P2mKind::RamRo,
            op::MEM_MMIO_DM => return Err(Errno::OpNotSupp),
            _ => return Err(Errno::Inval),
        };
        for gfn in first..end {
            let old = self.host.lookup(call.dom, gfn).ok_or(Errno::Inval)?;
            if !old.kind.is_own() {
                return Err(Errno::Inval);
            }
            self.host.set(call.dom, gfn, Some(Mapping { mfn: old.mfn, kind }))?;
            if gfn + 1 < end && self.preempted() {
                call.put(0, (end - gfn - 1) as u32);
                call.put(8, gfn + 1);
                return Ok(false);
            }
        }
        Ok(true)
    }

    fn inject_msi(&mut self, call: &Operation) -> Result<(), Errno> {
        let (data, addr): (u32, u64) = (call.field(0), call.field(8));
        if call.field::<u32>(4) != 0 {
            return Err(Errno::Inval);
        }
        let message = Message {
            mode: (data >> 8 & 7) as u8,
            vector: data as u8,
            logical: addr & 4 != 0,
            level: data & 1 << 15 != 0,
            assert: true,
            shorthand: 0,
            dest: (addr >> 12) as u32 & 0xFF,
            wide: false,
        };
        // Others would start or stop processors.
        if message.mode > 1 {
            return Err(Errno::Inval);
        }
        self.xen.send_message(self.host, call.dom, None, message);
        Ok(())
    }

    fn relocate(&mut self, call: &mut Operation) -> Progress {
        let (count, from): (u32, u64) = (call.field(0), call.field(8));
        let to: u64 = call.field(16);
        let fits = |first: u64| {
            first.checked_add(count.into()).filter(|&end| end <= GFN_LIMIT).ok_or(Errno::Inval)
        };
        fits(from)?;
        fits(to)?;
        if call.field::<u32>(4) != 0 {
            return Err(Errno::Inval);
        }
        for index in (0..count).rev() {
            self.move_frame(call.dom, from + u64::from(index), to + u64::from(index))?;
            if index != 0 && self.preempted() {
                call.put(0, index);
                return Ok(false);
            }
        }
        Ok(true)
    }
}
