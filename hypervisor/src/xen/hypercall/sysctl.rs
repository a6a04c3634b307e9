//! `sysctl`: what dom0 asks about the machine. Interface version 15h.

use super::super::abi::layout::{
    DomainInfoList, Layout, PhysInfo, ReadConsole, SchedId, SysctlHead, SysctlScheduler,
};
use super::super::abi::nr::ctl as op;
use super::super::abi::{Errno, OpResult};
use super::super::host_services::DomId;
use super::super::scheduler::SLICE_MS;
use super::{Args, Call};
use alloc::vec::Vec;

/// The offset of the union of `xen_sysctl`.
const UNION: u64 = SysctlHead::MAX as u64;

impl Call<'_> {
    pub(super) fn sysctl(&mut self, [arg, ..]: Args) -> OpResult {
        self.privileged()?;
        let head: SysctlHead = self.load(arg)?;
        if head.interface_version != op::INTERFACE_VERSION {
            return Err(Errno::Acces);
        }
        let at = arg.wrapping_add(UNION);
        match head.cmd {
            op::SYS_GETDOMAININFOLIST => self.domain_list(at)?,
            op::SYS_PHYSINFO => {
                let info = self.physinfo();
                self.store(at, &info)?;
            }
            op::SYS_SCHED_ID => self.store(at, &SchedId { sched_id: op::SCHED_CREDIT })?,
            op::SYS_SCHEDULER_OP => self.slice_op(at)?,
            op::SYS_READCONSOLE => {
                // The hypervisor keeps no log of its own: its lines are on the console.
                let mut read: ReadConsole = self.load(at)?;
                read.count = 0;
                self.store(at, &read)?;
            }
            _ => return Err(Errno::NoSys),
        }
        Ok(0)
    }

    /// Tells the length of a slice, which is fixed.
    fn slice_op(&mut self, at: u64) -> Result<(), Errno> {
        let mut operation: SysctlScheduler = self.load(at)?;
        if (operation.sched_id, operation.cmd) != (op::SCHED_CREDIT, op::SCHED_GETINFO) {
            return Err(Errno::Inval);
        }
        operation.tslice_ms = SLICE_MS as u32;
        (operation.ratelimit_us, operation.vcpu_migr_delay_us) = (0, 0);
        self.store(at, &operation)
    }

    fn domain_list(&mut self, at: u64) -> Result<(), Errno> {
        let mut list: DomainInfoList = self.load(at)?;
        let first = DomId(list.first_domain);
        let domains = self.xen.domains.range(first..).map(|(_, domain)| domain);
        let domains = domains.filter(|domain| !domain.dying).take(list.max_domains as usize);
        let infos: Vec<_> = domains.map(|d| self.domain_info(d)).collect();
        for (index, info) in infos.iter().enumerate() {
            let entry = list.buffer.wrapping_add(index as u64 * 112);
            self.store(entry, info)?;
        }
        list.num_domains = infos.len() as u32;
        self.store(at, &list)
    }

    fn physinfo(&self) -> PhysInfo {
        PhysInfo {
            threads_per_core: 1,
            cores_per_socket: 1,
            nr_cpus: 1,
            nr_nodes: 1,
            cpu_khz: u32::try_from(self.xen.clock.tsc_khz).unwrap_or(u32::MAX),
            capabilities: op::CAP_HVM | op::CAP_HAP | op::CAP_GNTTAB_V1,
            total_pages: self.host.total_pages(),
            free_pages: self.host.free_pages(),
            max_mfn: self.host.max_mfn(),
            ..PhysInfo::default()
        }
    }
}
