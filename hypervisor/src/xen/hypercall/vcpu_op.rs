//! `vcpu_op`: where a vCPU's structures live, its timers, bringing it up and down.

use super::super::abi::layout::{
    GetPhysid, Layout, RegisterArea, RegisterVcpuInfo, RunstateInfo, SetPeriodicTimer,
    SetSingleshotTimer, TimeInfo, shared_info,
};
use super::super::abi::{Errno, OpResult, nr::vcpu as op};
use super::super::host_services::{P2mKind, PAGE_SIZE};
use super::super::vcpu::{Activity, InfoPlace, Periodic};
use super::super::wakeup::{runstate_info, write_runstate};
use super::{Args, Call};
use alloc::vec::Vec;

impl Call<'_> {
    pub(super) fn vcpu_op(&mut self, [cmd, id, arg, ..]: Args) -> OpResult {
        let id = u32::try_from(id).map_err(|_| Errno::NoEnt)?;
        let dom = self.c.dom;
        self.xen.vcpu(dom, id)?;
        match cmd {
            op::IS_UP => {
                return Ok((self.xen.vcpu(dom, id)?.activity != Activity::Down).into());
            }
            op::DOWN => self.xen.take_down(dom, id),
            op::GET_RUNSTATE_INFO => {
                let info = runstate_info(self.xen.vcpu(dom, id)?);
                self.store(arg, &info)?;
            }
            op::REGISTER_RUNSTATE_MEMORY_AREA => self.register_runstate(id, arg)?,
            op::SET_PERIODIC_TIMER => self.set_periodic(id, arg)?,
            op::STOP_PERIODIC_TIMER => self.xen.vcpu_mut(dom, id)?.periodic = None,
            op::SET_SINGLESHOT_TIMER => self.set_singleshot(id, arg)?,
            op::STOP_SINGLESHOT_TIMER => {
                self.own(id)?;
                self.xen.vcpu_mut(dom, id)?.singleshot = None;
            }
            op::REGISTER_VCPU_INFO => self.register_info(id, arg)?,
            op::SEND_NMI => {
                self.xen.vcpu_mut(dom, id)?.nmi = true;
                self.xen.wake(self.host, dom, id);
            }
            op::GET_PHYSID => {
                // Low word the APIC ID, high word the ACPI ID, of a vCPU pinned where it is.
                let apic = u64::from(self.xen.vcpu(dom, id)?.lapic.id());
                self.store(arg, &GetPhysid { phys_id: apic | u64::from(id) << 32 })?;
            }
            op::REGISTER_VCPU_TIME_MEMORY_AREA => self.register_time(arg)?,
            // `initialise` and `up` are for guests that do not start their processors by INIT and
            // start-up IPIs; Linux PVH does.
            _ => return Err(Errno::NoSys),
        }
        Ok(0)
    }

    /// `-EINVAL` unless `id` is the caller.
    fn own(&self, id: u32) -> Result<(), Errno> {
        if id == self.c.vcpu { Ok(()) } else { Err(Errno::Inval) }
    }

    /// The area is a linear address, translated once: the guests keep it mapped where it is.
    fn register_runstate(&mut self, id: u32, arg: u64) -> Result<(), Errno> {
        let RegisterArea { addr } = self.load(arg)?;
        let area = self.pieces(addr, RunstateInfo::size(self.c.width))?;
        let width = self.c.width;
        let vcpu = self.xen.vcpu_mut(self.c.dom, id)?;
        vcpu.runstate_area = area;
        let vcpu = self.xen.vcpu(self.c.dom, id)?;
        Ok(write_runstate(self.host, self.c.dom, vcpu, width)?)
    }

    /// The guest-physical pieces of `[addr, addr + len)`; none for a null address.
    fn pieces(&self, addr: u64, len: usize) -> Result<Vec<(u64, usize)>, Errno> {
        if addr == 0 {
            return Ok(Vec::new());
        }
        let first = (PAGE_SIZE - (addr as usize & (PAGE_SIZE - 1))).min(len);
        let mut pieces = alloc::vec![(addr, first)];
        if first < len {
            pieces.push((addr.wrapping_add(first as u64), len - first));
        }
        for (at, _) in &mut pieces {
            *at = self.c.paging.translate(self.host, self.c.dom, *at, true)?;
        }
        Ok(pieces)
    }

    fn set_periodic(&mut self, id: u32, arg: u64) -> Result<(), Errno> {
        let SetPeriodicTimer { period_ns: period } = self.load(arg)?;
        if period < Periodic::MIN || period > i64::MAX as u64 {
            return Err(Errno::Inval);
        }
        let next = self.now_ns().saturating_add(period);
        self.xen.vcpu_mut(self.c.dom, id)?.periodic = Some(Periodic { period, next });
        Ok(())
    }

    fn set_singleshot(&mut self, id: u32, arg: u64) -> Result<(), Errno> {
        self.own(id)?;
        let SetSingleshotTimer { timeout_abs_ns: at, flags } = self.load(arg)?;
        if flags & op::SSHOTTMR_FUTURE != 0 && at < self.now_ns() {
            return Err(Errno::Time);
        }
        self.xen.vcpu_mut(self.c.dom, id)?.singleshot = Some(at);
        Ok(())
    }

    /// Moves the vCPU's `vcpu_info`, once, into a page of the domain, which is held from then on.
    fn register_info(&mut self, id: u32, arg: u64) -> Result<(), Errno> {
        let RegisterVcpuInfo { mfn: gfn, offset } = self.load(arg)?;
        let size = u32::from(shared_info::VCPU_INFO_SIZE);
        if offset > PAGE_SIZE as u32 - size {
            return Err(Errno::Inval);
        }
        let dom = self.c.dom;
        let vcpu = self.xen.vcpu(dom, id)?;
        if vcpu.info_registered || (id != self.c.vcpu && vcpu.activity != Activity::Down) {
            return Err(Errno::Inval);
        }
        let old = vcpu.info;
        let map = self.host.lookup(dom, gfn).filter(|map| map.kind == P2mKind::Ram);
        let mfn = map.ok_or(Errno::Inval)?.mfn;
        let new = InfoPlace { mfn, offset: offset as u16 };
        self.host.get(mfn);
        self.move_info(old, new);
        let vcpu = self.xen.vcpu_mut(dom, id)?;
        (vcpu.info, vcpu.info_registered) = (new, true);
        self.xen.mark_upcall(self.host, dom, id);
        Ok(())
    }

    /// Copies the structure and marks every word of ports as selected: the guest copes with a
    /// spurious event, not with a lost one.
    fn move_info(&mut self, old: InfoPlace, new: InfoPlace) {
        let mut info = [0; shared_info::VCPU_INFO_SIZE as usize];
        self.host.read(old.mfn, old.offset.into(), &mut info);
        info[shared_info::UPCALL_PENDING as usize] = 0;
        let width = self.xen.domain(self.c.dom).map_or(self.c.width, |domain| domain.width);
        let sel = shared_info::pending_sel(width) as usize;
        info[sel..sel + shared_info::word(width) as usize].fill(0xFF);
        self.host.write(new.mfn, new.offset.into(), &info);
        self.xen.write_time(self.host, new);
    }

    /// A second copy of the pvclock, for user space: constant, so written once.
    fn register_time(&mut self, arg: u64) -> Result<(), Errno> {
        let RegisterArea { addr } = self.load(arg)?;
        if addr == 0 {
            return Ok(());
        }
        let info: TimeInfo = self.xen.clock.time_info();
        self.store(addr, &info)
    }
}
