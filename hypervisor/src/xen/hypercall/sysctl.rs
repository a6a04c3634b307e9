//! `sysctl`: what dom0 asks about the machine. Interface version 15h.

use super::super::Action;
use super::super::abi::layout::{
    AvailHeap, CpuTopo, CpuTopoInfo, CpupoolOp, DebugKeys, DomainInfo, DomainInfoList, GetCpuInfo,
    Layout, MaxVcpus, MemInfo, NumaInfo, PciTopoInfo, PhysInfo, ReadConsole, SchedId, SysctlHead,
    SysctlScheduler,
};
use super::super::abi::nr::ctl as op;
use super::super::abi::{Errno, OpResult};
use super::super::host_services::DomId;
use super::{Args, Call};
use alloc::vec::Vec;

/// The offset of the union of `xen_sysctl`.
const UNION: u64 = SysctlHead::MAX as u64;
/// The place of the bitmap of `xen_sysctl_cpupool_op`.
const POOL_BITMAP: u64 = 24;
/// The processor is the only one of the only pool, and the memory that of the only node.
const ONE: u32 = 1;
/// The keys that one call may press.
const MOST_KEYS: usize = 64;
/// The PCI functions of which one call tells: the caller asks again for the rest, as in Xen.
const MOST_DEVICES: u32 = 64;
/// The distance of a node to itself.
const OWN_DISTANCE: u32 = 10;

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
            op::SYS_SCHED_ID => self.store(at, &SchedId { sched_id: op::SCHED_CREDIT2 })?,
            op::SYS_SCHEDULER_OP => self.scheduler_op(at)?,
            op::SYS_READCONSOLE => self.read_console(at)?,
            op::SYS_DEBUG_KEYS => self.debug_keys(at)?,
            op::SYS_PCITOPOINFO => self.pci_nodes(at)?,
            op::SYS_CPU_LEVELLING_CAPS => self.store(at, &MaxVcpus { max: 0 })?,
            op::SYS_GETCPUINFO => self.cpu_info(at)?,
            op::SYS_AVAILHEAP => {
                let heap: AvailHeap = self.load(at)?;
                let avail_bytes = self.host.free_pages() << 12;
                self.store(at, &AvailHeap { avail_bytes, ..heap })?;
            }
            op::SYS_CPUTOPOINFO => self.topology(at)?,
            op::SYS_NUMAINFO => self.nodes(at)?,
            op::SYS_CPUPOOL_OP => self.cpupool_op(at)?,
            op::SYS_CPU_FEATURESET => self.featureset(at)?,
            op::SYS_CPU_POLICY => self.system_policy(at)?,
            // The processor neither counts nor shares out a domain's cache and bandwidth.
            op::SYS_PSR_CMT_OP | op::SYS_PSR_ALLOC => return Err(Errno::NoDev),
            _ => return Err(Errno::NoSys),
        }
        Ok(0)
    }

    /// Keys as typed at the console while the hypervisor is typed to.
    fn debug_keys(&mut self, at: u64) -> Result<(), Errno> {
        let DebugKeys { keys, nr_keys } = self.load(at)?;
        // DEPARTURE: more at once are passed over.
        let mut typed = [0; MOST_KEYS];
        let typed = &mut typed[..MOST_KEYS.min(nr_keys as usize)];
        self.c.read(self.host, keys, typed)?;
        self.xen.actions.extend(typed.iter().map(|key| Action::Key(*key)));
        Ok(())
    }

    /// The node of each of a list of PCI functions: it is known of none.
    fn pci_nodes(&mut self, at: u64) -> Result<(), Errno> {
        let mut arg: PciTopoInfo = self.load(at)?;
        if arg.devs == 0 || arg.nodes == 0 {
            return Err(Errno::Inval);
        }
        arg.num_devs = arg.num_devs.min(MOST_DEVICES);
        for index in 0..u64::from(arg.num_devs) {
            let node = op::INVALID_DEV.to_le_bytes();
            self.c.write(self.host, arg.nodes.wrapping_add(4 * index), &node)?;
        }
        self.store(at, &arg)
    }

    /// The last lines on the console, or those after the ones read before.
    fn read_console(&mut self, at: u64) -> Result<(), Errno> {
        let mut read: ReadConsole = self.load(at)?;
        let log = &self.xen.log;
        let known = read.incremental != 0
            && log.end().wrapping_sub(read.index) <= log.end().wrapping_sub(log.start());
        let first = if known { read.index } else { log.start() };
        let bytes: Vec<u8> = log.after(first).take(read.count as usize).collect();
        self.c.write(self.host, read.buffer, &bytes)?;
        read.count = bytes.len() as u32;
        read.index = first.wrapping_add(read.count);
        if read.clear != 0 {
            self.xen.log.clear();
        }
        self.store(at, &read)
    }

    /// The scheduler has no rate limit, and none can be set.
    fn scheduler_op(&mut self, at: u64) -> Result<(), Errno> {
        let mut operation: SysctlScheduler = self.load(at)?;
        if operation.cpupool_id != 0 {
            return Err(Errno::Srch);
        }
        if (operation.sched_id, operation.cmd) != (op::SCHED_CREDIT2, op::SCHED_GETINFO) {
            return Err(Errno::Inval);
        }
        operation.ratelimit_us = 0;
        self.store(at, &operation)
    }

    fn domain_list(&mut self, at: u64) -> Result<(), Errno> {
        let mut list: DomainInfoList = self.load(at)?;
        let first = DomId(list.first_domain);
        let domains = self.xen.domains.range(first..).map(|(_, domain)| domain);
        let infos: Vec<_> =
            domains.take(list.max_domains as usize).map(|d| self.domain_info(d)).collect();
        for (index, info) in infos.iter().enumerate() {
            let entry = list.buffer.wrapping_add(index as u64 * DomainInfo::MAX as u64);
            self.store(entry, info)?;
        }
        list.num_domains = infos.len() as u32;
        self.store(at, &list)
    }

    fn physinfo(&self) -> PhysInfo {
        PhysInfo {
            threads_per_core: ONE,
            cores_per_socket: ONE,
            nr_cpus: ONE,
            nr_nodes: ONE,
            cpu_khz: u32::try_from(self.xen.clock.tsc_khz).unwrap_or(u32::MAX),
            capabilities: op::CAP_HVM | op::CAP_HAP | op::CAP_GNTTAB_V1,
            total_pages: self.host.total_pages(),
            free_pages: self.host.free_pages(),
            outstanding_pages: self.xen.claims(self.host),
            max_mfn: self.host.max_mfn(),
            ..PhysInfo::default()
        }
    }

    /// The time that the processor has idled: what no vCPU has used.
    fn cpu_info(&mut self, at: u64) -> Result<(), Errno> {
        let mut arg: GetCpuInfo = self.load(at)?;
        let vcpus = self.xen.domains.values().flat_map(|domain| &domain.vcpus);
        let used = vcpus.fold(0, |sum: u64, vcpu| sum.saturating_add(vcpu.runstate.time[0]));
        arg.nr_cpus = ONE.min(arg.max_cpus);
        if arg.nr_cpus == ONE {
            let idle = self.now_ns().saturating_sub(used);
            self.c.write(self.host, arg.info, &idle.to_le_bytes())?;
        }
        self.store(at, &arg)
    }

    fn topology(&mut self, at: u64) -> Result<(), Errno> {
        let mut arg: CpuTopoInfo = self.load(at)?;
        let count = if arg.cputopo == 0 { ONE } else { ONE.min(arg.num_cpus) };
        if arg.cputopo != 0 && count == ONE {
            self.store(arg.cputopo, &CpuTopo::default())?;
        }
        arg.num_cpus = count;
        self.store(at, &arg)
    }

    fn nodes(&mut self, at: u64) -> Result<(), Errno> {
        let mut arg: NumaInfo = self.load(at)?;
        let asked = arg.meminfo != 0 || arg.distance != 0;
        let count = if asked { ONE.min(arg.num_nodes) } else { ONE };
        if arg.meminfo != 0 && count == ONE {
            let [memsize, memfree] =
                [self.host.total_pages(), self.host.free_pages()].map(|pages| pages << 12);
            self.store(arg.meminfo, &MemInfo { memsize, memfree })?;
        }
        if arg.distance != 0 && count == ONE {
            self.store(arg.distance, &MaxVcpus { max: OWN_DISTANCE })?;
        }
        arg.num_nodes = count;
        self.store(at, &arg)
    }

    /// There is the pool with number 0, with the one processor; it stays as it is.
    fn cpupool_op(&mut self, at: u64) -> Result<(), Errno> {
        let mut arg: CpupoolOp = self.load(at)?;
        match arg.op {
            op::POOL_INFO => {
                if arg.cpupool_id != 0 {
                    return Err(Errno::NoEnt);
                }
                (arg.cpupool_id, arg.sched_id) = (0, op::SCHED_CREDIT2);
                arg.n_dom = self.xen.domains.len() as u32;
                self.store(at, &arg)?;
                self.store_bitmap(at.wrapping_add(POOL_BITMAP), 1, ONE)
            }
            op::POOL_FREE_INFO => self.store_bitmap(at.wrapping_add(POOL_BITMAP), 0, ONE),
            // DEPARTURE: no further pool can be made.
            op::POOL_CREATE => Err(Errno::NoSpc),
            op::POOL_DESTROY | op::POOL_ADD_CPU | op::POOL_REMOVE_CPU if arg.cpupool_id != 0 => {
                Err(Errno::NoEnt)
            }
            op::POOL_DESTROY | op::POOL_REMOVE_CPU => Err(Errno::Busy),
            op::POOL_ADD_CPU => Err(Errno::NoDev),
            op::POOL_MOVE_DOMAIN => {
                let dom = u16::try_from(arg.domid).map_err(|_| Errno::Srch)?;
                self.xen.domain(DomId(dom))?;
                if arg.cpupool_id == 0 { Ok(()) } else { Err(Errno::NoEnt) }
            }
            _ => Err(Errno::NoSys),
        }
    }
}
