//! `claim_pages`: memory that is kept for a domain until its tools have populated that.

use super::super::abi::Errno;
use super::super::abi::layout::MemoryReservation;
use super::super::host_services::{DomId, HostServices};
use super::super::{Domain, Xen};
use super::{Call, OpResult};

impl Domain {
    /// The pages that are claimed for the domain and are not its own yet.
    pub fn outstanding(&self, host: &dyn HostServices) -> u64 {
        let claimed = if self.dying { 0 } else { self.claimed };
        claimed.saturating_sub(host.pages(self.id))
    }
}

impl Xen {
    /// The pages that are claimed for domains, and free.
    pub fn claims(&self, host: &dyn HostServices) -> u64 {
        self.domains.values().map(|domain| domain.outstanding(host)).sum()
    }
}

impl Call<'_> {
    /// The free pages that nobody but `dom` has a claim to.
    pub(super) fn unclaimed(&self, dom: DomId) -> Result<u64, Errno> {
        let own = self.xen.domain(dom)?.outstanding(self.host);
        Ok(self.host.free_pages().saturating_sub(self.xen.claims(self.host) - own))
    }

    pub(super) fn claim_pages(&mut self, arg: u64) -> OpResult {
        let MemoryReservation { extent_start, nr_extents, extent_order, mem_flags, domid } =
            self.load(arg)?;
        if (extent_start, extent_order, mem_flags) != (0, 0, 0) {
            return Err(Errno::Inval);
        }
        let dom = DomId(domid);
        let domain = self.xen.domain(dom).map_err(|_| Errno::Inval)?;
        self.privileged()?;
        let (owned, outstanding) = (self.host.pages(dom), domain.outstanding(self.host));
        if nr_extents != 0 {
            if outstanding != 0 || nr_extents <= owned || nr_extents > domain.max_pages {
                return Err(Errno::Inval);
            }
            if nr_extents - owned > self.unclaimed(dom)? {
                return Err(Errno::NoMem);
            }
        }
        self.xen.domain_mut(dom)?.claimed = nr_extents;
        Ok(0)
    }
}
