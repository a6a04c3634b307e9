//! `domctl`: what dom0 does to other domains. Interface version 15h.

use super::super::abi::layout::{DomainInfo, DomctlHead, DomctlScheduler, Layout, MaxMem};
use super::super::abi::nr::ctl as op;
use super::super::abi::{Errno, nr::domid};
use super::super::domain::{Domain, ShutdownReason};
use super::super::host_services::DomId;
use super::super::vcpu::{Activity, RunState};
use super::{Args, Call, Step};

/// The offset of the union of `xen_domctl`.
const UNION: u64 = DomctlHead::MAX as u64;
/// `XEN_X86_EMU_LAPIC`: what a PVH domain has of a PC.
const EMU_LAPIC: u32 = 1;

impl Call<'_> {
    pub(super) fn domctl(&mut self, args: Args) -> Result<Step, Errno> {
        let arg = args[0];
        self.privileged()?;
        let mut head: DomctlHead = self.load(arg)?;
        if head.interface_version != op::INTERFACE_VERSION {
            return Err(Errno::Acces);
        }
        let own = head.domain == domid::SELF;
        let dom = if own { self.c.dom } else { DomId(head.domain) };
        let at = arg.wrapping_add(UNION);
        match head.cmd {
            op::DOM_GETINFO => {
                // The next domain, for an unknown number: the way the tools used to list them.
                let info = self.xen.domains.range(dom..).next().map(|(_, domain)| domain);
                let info = self.domain_info(info.ok_or(Errno::Srch)?);
                head.domain = info.domain;
                self.store(at, &info)?;
                self.store(arg, &head)?;
            }
            op::DOM_PAUSE => self.pause(dom)?,
            op::DOM_UNPAUSE => {
                let domain = self.xen.domain_mut(self.other(dom)?)?;
                domain.pause_count = domain.pause_count.checked_sub(1).ok_or(Errno::Inval)?;
            }
            op::DOM_DESTROY => {
                let dom = self.other(dom)?;
                if !self.xen.destroy(self.host, dom)? {
                    return Ok(Step::Again(args));
                }
            }
            op::DOM_MAX_MEM => {
                let MaxMem { max_memkb } = self.load(at)?;
                self.xen.domain_mut(dom)?.max_pages = max_memkb >> 2;
            }
            op::DOM_SCHEDULER_OP => {
                let mut operation: DomctlScheduler = self.load(at)?;
                self.share_op(dom, &mut operation)?;
                self.store(at, &operation)?;
            }
            _ => {
                self.xen.domain(dom)?;
                return Err(Errno::NoSys);
            }
        }
        Ok(Step::Done(0))
    }

    /// `-EINVAL` for the caller itself: it cannot do this to itself.
    fn other(&self, dom: DomId) -> Result<DomId, Errno> {
        if dom == self.c.dom {
            return Err(Errno::Inval);
        }
        self.xen.domain(dom).map(|domain| domain.id)
    }

    /// Tells a domain's weight and cap, or sets them: a weight of 0 and a cap of all-ones stand for
    /// what there is.
    fn share_op(&mut self, dom: DomId, arg: &mut DomctlScheduler) -> Result<(), Errno> {
        let share = &mut self.xen.domain_mut(dom)?.account.share;
        if arg.sched_id != op::SCHED_CREDIT {
            return Err(Errno::Inval);
        }
        match arg.cmd {
            op::SCHED_GETINFO => (arg.weight, arg.cap) = (share.weight, share.cap),
            op::SCHED_PUTINFO => {
                if arg.weight != 0 {
                    share.weight = arg.weight;
                }
                if arg.cap != u16::MAX {
                    share.cap = arg.cap;
                }
            }
            _ => return Err(Errno::Inval),
        }
        Ok(())
    }

    fn pause(&mut self, dom: DomId) -> Result<(), Errno> {
        let domain = self.xen.domain_mut(self.other(dom)?)?;
        domain.pause_count = domain.pause_count.checked_add(1).ok_or(Errno::Overflow)?;
        Ok(())
    }

    /// A domain as the tools see it, with its processor time up to now.
    pub(super) fn domain_info(&self, domain: &Domain) -> DomainInfo {
        let ns = self.now_ns();
        let online = domain.vcpus.iter().filter(|v| v.activity != Activity::Down).count();
        let cpu_time = domain.vcpus.iter().map(|vcpu| {
            let current = vcpu.runstate.state == RunState::Running;
            let running = if current { ns.saturating_sub(vcpu.runstate.entered) } else { 0 };
            vcpu.runstate.time[0].saturating_add(running)
        });
        DomainInfo {
            domain: domain.id.0,
            flags: info_flags(domain),
            tot_pages: self.host.pages(domain.id),
            max_pages: domain.max_pages,
            shared_info_frame: domain.shared_info_gfn,
            cpu_time: cpu_time.fold(0, u64::saturating_add),
            nr_online_vcpus: online as u32,
            max_vcpu_id: domain.vcpus.len() as u32 - 1,
            handle: domain.handle,
            gpaddr_bits: 40,
            emulation_flags: EMU_LAPIC,
            ..DomainInfo::default()
        }
    }
}

fn info_flags(domain: &Domain) -> u32 {
    let has = |state| domain.vcpus.iter().any(|v| v.runstate.state == state);
    let running = has(RunState::Running);
    let idle = |v: &super::super::Vcpu| v.activity != Activity::Runnable;
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
