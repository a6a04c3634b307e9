//! `getdomaininfo`: a domain as the tools see it.

use super::super::super::abi::layout::{DomainInfo, DomctlHead};
use super::super::super::abi::nr::{ctl as op, domid};
use super::super::super::abi::{Errno, OpResult};
use super::super::super::domain::{Domain, ShutdownReason};
use super::super::super::host_services::DomId;
use super::super::super::vcpu::{Activity, RunState, Vcpu};
use super::super::Call;
use super::UNION;

impl Call<'_> {
    /// The domain, or for an unknown number the next: the way the tools used to list them.
    pub(super) fn get_info(&mut self, arg: u64, mut head: DomctlHead, dom: DomId) -> OpResult {
        if dom.0 >= domid::FIRST_RESERVED {
            return Err(Errno::Inval);
        }
        let info = self.xen.domains.range(dom..).next().map(|(_, domain)| domain);
        let info = self.domain_info(info.ok_or(Errno::Srch)?);
        head.domain = info.domain;
        self.store(arg.wrapping_add(UNION), &info)?;
        self.store(arg, &head)?;
        Ok(0)
    }

    /// A domain with its processor time up to now.
    pub(in super::super) fn domain_info(&self, domain: &Domain) -> DomainInfo {
        let online = domain.vcpus.iter().filter(|v| v.activity != Activity::Down).count();
        let cpu_time = domain.vcpus.iter().map(|vcpu| self.running_time(vcpu));
        DomainInfo {
            domain: domain.id.0,
            flags: info_flags(domain),
            tot_pages: self.host.pages(domain.id),
            max_pages: domain.max_pages,
            outstanding_pages: domain.outstanding(self.host),
            shared_info_frame: domain.shared_info_gfn,
            cpu_time: cpu_time.fold(0, u64::saturating_add),
            nr_online_vcpus: online as u32,
            // All ones, if there are none yet.
            max_vcpu_id: (domain.vcpus.len() as u32).wrapping_sub(1),
            handle: domain.handle,
            gpaddr_bits: 40,
            emulation_flags: domain.toolstack.emulation_flags | op::EMU_LAPIC,
            ..DomainInfo::default()
        }
    }

    /// The time that a vCPU has run, ns.
    pub(super) fn running_time(&self, vcpu: &Vcpu) -> u64 {
        let current = vcpu.runstate.state == RunState::Running;
        let running = if current { self.now_ns().saturating_sub(vcpu.runstate.entered) } else { 0 };
        vcpu.runstate.time[0].saturating_add(running)
    }
}

fn info_flags(domain: &Domain) -> u32 {
    let has = |state| domain.vcpus.iter().any(|v| v.runstate.state == state);
    let running = has(RunState::Running);
    let idle = |v: &Vcpu| v.activity != Activity::Runnable;
    let rows = [
        (op::INFO_HVM_GUEST | op::INFO_HAP, true),
        (op::INFO_DYING, domain.dying),
        (op::INFO_SHUTDOWN, domain.shutdown.is_some()),
        (op::INFO_PAUSED, domain.pause_count != 0),
        (op::INFO_BLOCKED, domain.vcpus.iter().all(idle)),
        (op::INFO_RUNNING, running),
    ];
    let flags = rows.iter().filter(|row| row.1).fold(0, |flags, row| flags | row.0);
    let code = domain.shutdown.map_or(0, |reason: ShutdownReason| reason as u32);
    flags | code << op::INFO_SHUTDOWN_SHIFT
}
