//! `createdomain` and `max_vcpus`: a domain of dom0's tools begins.

use super::super::super::abi::layout::{CreateDomain, DomctlHead, MaxVcpus};
use super::super::super::abi::nr::{ctl as op, domid};
use super::super::super::abi::{Errno, OpResult};
use super::super::super::domain::{DomainConfig, MAX_VCPUS, Toolstack};
use super::super::super::grant_table::{MAX_FRAMES, MAX_MAPTRACK_FRAMES};
use super::super::super::host_services::DomId;
use super::super::super::pc::{self, Pc};
use super::super::super::vioapic::Vioapic;
use super::super::super::{Action, Share};
use super::super::Call;
use super::UNION;
use alloc::boxed::Box;
use alloc::format;

/// The flags that exist; those beside HVM, HAP and the ones without effect are refused.
const KNOWN_FLAGS: u32 = op::CDF_HVM
    | op::CDF_HAP
    | op::CDF_S3_INTEGRITY
    | op::CDF_OOS_OFF
    | op::CDF_XS_DOMAIN
    | op::CDF_IOMMU
    | op::CDF_NESTED_VIRT
    | op::CDF_VPMU;
const REFUSED_FLAGS: u32 =
    op::CDF_S3_INTEGRITY | op::CDF_IOMMU | op::CDF_NESTED_VIRT | op::CDF_VPMU;
/// `XEN_DOMCTL_GRANT_version_mask`.
const GRANT_VERSION: u32 = 0xF;

/// A domain has a local APIC alone, or all of a PC; whether pins reach event channels is left open.
fn emulated(flags: u32) -> bool {
    flags == op::EMU_LAPIC || flags & !op::EMU_USE_PIRQ == op::EMU_PC
}

/// Xen's checks, and what is not there: PV domains, nested VMX, an IOMMU, tracing.
fn check(config: &CreateDomain) -> Result<(), Errno> {
    let hvm = config.flags & (op::CDF_HVM | op::CDF_HAP) == op::CDF_HVM | op::CDF_HAP;
    let limit = |asked: u32, most: u32| asked as i32 >= 0 && asked > most;
    let bad = config.flags & (!KNOWN_FLAGS | REFUSED_FLAGS) != 0
        || config.grant_opts & !GRANT_VERSION != 0
        || config.max_vcpus < 1
        || config.max_vcpus > MAX_VCPUS
        || !hvm
        || config.iommu_opts != 0
        || config.vmtrace_size != 0
        || config.misc_flags & !op::MSR_RELAXED != 0
        || config.cpupool_id != 0
        || !emulated(config.emulation_flags)
        || limit(config.max_grant_frames, MAX_FRAMES)
        || limit(config.max_maptrack_frames, MAX_MAPTRACK_FRAMES);
    if bad { Err(Errno::Inval) } else { Ok(()) }
}

impl Call<'_> {
    pub(super) fn create(&mut self, arg: u64, mut head: DomctlHead) -> OpResult {
        let at = arg.wrapping_add(UNION);
        let config: CreateDomain = self.load(at)?;
        let asked = DomId(head.domain);
        let named = asked.0 > 0 && asked.0 < domid::FIRST_RESERVED;
        if named && self.xen.domains.contains_key(&asked) {
            return Err(Errno::Exist);
        }
        check(&config)?;
        let dom = self.make_domain(&config, named.then_some(asked))?;
        if let Err(error) = self.host.create(dom, config.max_vcpus) {
            self.xen.forget(self.host, dom);
            return Err(error);
        }
        self.xen.actions.push(Action::Created(dom));
        head.domain = dom.0;
        self.store(arg, &head)?;
        self.store(at, &config)?;
        Ok(0)
    }

    fn make_domain(&mut self, config: &CreateDomain, named: Option<DomId>) -> Result<DomId, Errno> {
        let toolstack = Toolstack {
            created: true,
            emulation_flags: config.emulation_flags,
            ..Toolstack::default()
        };
        let described = DomainConfig {
            vcpus: config.max_vcpus,
            handle: config.handle,
            toolstack,
            share: Share::default(),
            ..DomainConfig::default()
        };
        let dom = self.xen.create_numbered(self.host, described, named)?;
        let wallclock = self.xen.wallclock.0 as i64;
        let domain = self.xen.domain_mut(dom)?;
        domain.name = format!("d{}", dom.0);
        if config.emulation_flags != op::EMU_LAPIC {
            domain.pc = Some(Box::new(Pc::new(wallclock)));
            domain.ioapic = Vioapic::new(pc::lines::INPUTS, false);
        }
        domain.max_ports = config.max_evtchn_port.saturating_add(1);
        if config.max_grant_frames as i32 >= 0 {
            domain.grants.most_frames = config.max_grant_frames;
        }
        Ok(dom)
    }

    /// Makes the vCPUs of which `createdomain` has told the number.
    pub(super) fn max_vcpus(&mut self, dom: DomId, at: u64) -> Result<(), Errno> {
        let MaxVcpus { max } = self.load(at)?;
        let dom = self.other(dom)?;
        let domain = self.xen.domain(dom)?;
        if max != domain.max_vcpus {
            return Err(Errno::Inval);
        }
        if domain.vcpus.is_empty() && !domain.dying {
            self.xen.create_vcpus(self.host, dom);
            self.xen.actions.push(Action::VcpusCreated(dom));
        }
        Ok(())
    }
}
