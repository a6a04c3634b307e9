//! Domains from creation to destruction: the pages they hold and how those are released.

use super::abi::layout::{Layout, TimeInfo, shared_info};
use super::abi::{Errno, Width, nr};
use super::domain::{Domain, DomainConfig, MAX_VCPUS};
use super::grant_table::GrantTable;
use super::host_services::{DomId, GFN_LIMIT, HostServices, Mapping, P2mKind};
use super::line_buffer::LineBuffer;
use super::scheduler::Account;
use super::table::Table;
use super::vcpu::{InfoPlace, Vcpu};
use super::vioapic::Vioapic;
use super::vuart::Vuart;
use super::{Action, Xen};
use alloc::vec::Vec;

/// The pins of dom0's I/O APIC until the builder learns the platform's.
const DEFAULT_PINS: u32 = 24;

impl Xen {
    /// Creates a domain: vCPUs down, no memory but its `shared_info`. One of dom0's tools has no
    /// vCPUs yet, and is paused.
    /// `-EINVAL` for a bad vCPU count or a second privileged domain, `-ENOMEM` without a frame or
    /// when there are as many domains or numbers as there may be.
    pub fn create_domain(
        &mut self,
        host: &mut dyn HostServices,
        config: DomainConfig,
    ) -> Result<DomId, Errno> {
        self.create_numbered(host, config, None)
    }

    /// Creates a domain of that number, which is free, or else of the next free one.
    pub(super) fn create_numbered(
        &mut self,
        host: &mut dyn HostServices,
        config: DomainConfig,
        number: Option<DomId>,
    ) -> Result<DomId, Errno> {
        let DomainConfig { name, privileged, vcpus, max_pages, handle, toolstack, share } = config;
        if vcpus == 0 || vcpus > MAX_VCPUS || (privileged && self.next_domid != 0) {
            return Err(Errno::Inval);
        }
        let next = if privileged { DomId(0) } else { self.free_domid()? };
        let id = number.unwrap_or(next);
        let shared = host.alloc_shared(id).ok_or(Errno::NoMem)?;
        if number.is_none() {
            self.next_domid = id.0 + 1;
        }
        let created = toolstack.created;
        let uart = !privileged && !created;
        let domain = Domain {
            id,
            name,
            handle,
            privileged,
            vcpus: Vec::new(),
            max_vcpus: vcpus,
            toolstack,
            max_ports: u32::MAX,
            max_gfn: 0,
            max_pages,
            claimed: 0,
            shared_info: shared,
            shared_info_gfn: u64::MAX,
            width: Width::Long,
            // Port 0 is never valid.
            channels: Table::new(1),
            grants: GrantTable::default(),
            params: [0; nr::hvm::NR_PARAMS],
            account: if created { self.scheduler.newcomer(share) } else { Account::new(share) },
            pause_count: created.into(),
            shutdown: None,
            dying: false,
            unmapped: 0,
            memory_map: Vec::new(),
            console: LineBuffer::default(),
            own_console: false,
            ioapic: Vioapic::new(DEFAULT_PINS, privileged),
            uart: uart.then(Vuart::default),
            pc: None,
        };
        self.domains.insert(id, domain);
        if !created {
            self.create_vcpus(host, id);
        }
        self.write_wallclock(host, id);
        Ok(id)
    }

    /// The next free number after the one given last; without a dom0 the domUs still start at 1.
    fn free_domid(&self) -> Result<DomId, Errno> {
        if self.domains.len() >= self.most_domains {
            return Err(Errno::NoMem);
        }
        let end = nr::domid::FIRST_RESERVED;
        let first = if self.next_domid >= end { 1 } else { self.next_domid.max(1) };
        let numbers = (first..end).chain(1..first).map(DomId);
        numbers.into_iter().find(|id| !self.domains.contains_key(id)).ok_or(Errno::NoMem)
    }

    /// Makes the vCPUs that the domain lacks.
    pub(super) fn create_vcpus(&mut self, host: &mut dyn HostServices, dom: DomId) {
        let Ok(domain) = self.domain_mut(dom) else { return };
        let shared = domain.shared_info;
        let missing = domain.vcpus.len() as u32..domain.max_vcpus;
        domain.vcpus.extend(missing.map(|vcpu| Vcpu::new(vcpu, legacy_info(shared, vcpu))));
        let Ok(domain) = self.domain(dom) else { return };
        domain.vcpus.iter().for_each(|vcpu| self.write_time(host, vcpu.info));
    }

    /// Writes the wall clock and every vCPU's pvclock into the pages they live in.
    pub(super) fn write_clock(&self, host: &mut dyn HostServices, dom: DomId) {
        self.write_wallclock(host, dom);
        let Ok(domain) = self.domain(dom) else { return };
        domain.vcpus.iter().for_each(|vcpu| self.write_time(host, vcpu.info));
    }

    /// Writes the wall clock. No guest runs meanwhile, so its version only moves on by two.
    pub(super) fn write_wallclock(&self, host: &mut dyn HostServices, dom: DomId) {
        let Ok(domain) = self.domain(dom) else { return };
        let at = shared_info::wallclock(domain.width) as usize;
        let mut version = [0; 4];
        host.read(domain.shared_info, at, &mut version);
        let version = (u32::from_le_bytes(version) & !1).wrapping_add(2);
        let (secs, nsecs) = self.wallclock;
        let words = [version, secs as u32, nsecs].map(u32::to_le_bytes);
        host.write(domain.shared_info, at, words.as_flattened());
        let high = ((secs >> 32) as u32).to_le_bytes();
        host.write(domain.shared_info, shared_info::wallclock_hi(domain.width) as usize, &high);
    }

    /// Writes the pvclock of a `vcpu_info`.
    pub(super) fn write_time(&self, host: &mut dyn HostServices, info: InfoPlace) {
        let mut raw = [0; TimeInfo::MAX];
        self.clock.time_info().encode(Width::Long, &mut raw);
        host.write(info.mfn, (info.offset + shared_info::TIME) as usize, &raw);
    }

    /// Latches the layout of `shared_info`; the page is converted only by being cleared, which is
    /// sound because guests set their width before they use the page.
    pub fn latch_width(&mut self, host: &mut dyn HostServices, dom: DomId, width: Width) {
        let Ok(domain) = self.domain_mut(dom) else { return };
        if domain.width == width {
            return;
        }
        domain.width = width;
        let page = domain.shared_info;
        host.write(page, 0, &[0; super::host_services::PAGE_SIZE]);
        self.write_clock(host, dom);
    }

    /// Gives `dom` fresh RAM at `[gfn, gfn + count)`.
    pub fn populate(
        &mut self,
        host: &mut dyn HostServices,
        dom: DomId,
        gfn: u64,
        count: u64,
    ) -> Result<(), Errno> {
        let domain = self.domain(dom)?;
        if gfn.checked_add(count).is_none_or(|end| end > GFN_LIMIT) {
            return Err(Errno::Inval);
        }
        if host.pages(dom).saturating_add(count) > domain.max_pages {
            return Err(Errno::NoMem);
        }
        host.populate(dom, gfn, count)?;
        let domain = self.domain_mut(dom)?;
        domain.max_gfn = domain.max_gfn.max((gfn + count).saturating_sub(1));
        Ok(())
    }

    /// Replaces what `gfn` maps to. The caller has taken the new mapping's reference and keeps it
    /// on error; the old mapping is released.
    pub(super) fn install(
        &mut self,
        host: &mut dyn HostServices,
        dom: DomId,
        gfn: u64,
        mapping: Option<Mapping>,
    ) -> Result<(), Errno> {
        if gfn >= GFN_LIMIT {
            return Err(Errno::Inval);
        }
        let old = host.lookup(dom, gfn);
        if old.is_some_and(|old| matches!(old.kind, P2mKind::GrantRw | P2mKind::GrantRo)) {
            // A granted page leaves only by its unmap operation, or its count would go wrong.
            return Err(Errno::Busy);
        }
        host.set(dom, gfn, mapping)?;
        if let Ok(domain) = self.domain_mut(dom)
            && mapping.is_some()
        {
            domain.max_gfn = domain.max_gfn.max(gfn);
        }
        if let Some(old) = old.filter(|old| old.kind.holds_reference()) {
            host.put(old.mfn);
        }
        Ok(())
    }

    /// Destroys `dom`: closes its ports, unmaps its grants, releases its pages. False if the slice
    /// has ended meanwhile: to be called again, until it is true.
    pub fn destroy(&mut self, host: &mut dyn HostServices, dom: DomId) -> Result<bool, Errno> {
        /// The value of `unmapped` once everything is done.
        const DONE: u64 = u64::MAX;
        let domain = self.domain_mut(dom)?;
        if domain.unmapped == DONE {
            return Ok(true);
        }
        if !core::mem::replace(&mut domain.dying, true) {
            self.flush_console(dom);
            self.destroy_servers(host, dom);
        }
        let done = self.close_all_ports(host, dom)
            && self.unmap_all_grants(host, dom)
            && self.unmap_all_pages(host, dom);
        if done {
            self.release_infos(host, dom);
            self.domain_mut(dom)?.unmapped = DONE;
            self.actions.push(Action::Destroyed(dom));
            self.raise_global_virq(host, DomId(0), nr::virq::DOM_EXC);
        }
        Ok(done)
    }

    /// Unmaps what the dying `dom` has in its second-level table; false if the slice has ended
    /// before all is done.
    fn unmap_all_pages(&mut self, host: &mut dyn HostServices, dom: DomId) -> bool {
        let mut gone = Vec::new();
        while let Ok(from) = self.domain(dom).map(|domain| domain.unmapped) {
            let Some(next) = host.unmap_next(dom, from, &mut gone) else { return true };
            let held = gone.drain(..).filter(|old| old.kind.holds_reference());
            held.for_each(|old| host.put(old.mfn));
            if let Ok(domain) = self.domain_mut(dom) {
                domain.unmapped = next;
            }
            if self.slice_ended(host) {
                return false;
            }
        }
        true
    }

    /// Gives back the frames the hypervisor holds for `dom`.
    fn release_infos(&mut self, host: &mut dyn HostServices, dom: DomId) {
        let Ok(domain) = self.domain_mut(dom) else { return };
        let shared = domain.shared_info;
        for vcpu in &mut domain.vcpus {
            if core::mem::replace(&mut vcpu.info_registered, false) {
                host.put(vcpu.info.mfn);
            }
            vcpu.info = legacy_info(shared, vcpu.id);
        }
        for mfn in core::mem::take(&mut domain.grants.frames) {
            host.put(mfn);
        }
    }

    /// Removes the record of a destroyed domain, with its `shared_info`.
    pub fn destroyed(&mut self, host: &mut dyn HostServices, dom: DomId) {
        if self.domains.get(&dom).is_some_and(|domain| domain.dying)
            && let Some(domain) = self.domains.remove(&dom)
        {
            host.put(domain.shared_info);
        }
    }

    /// Removes a domain that has nothing but its `shared_info` yet.
    pub(super) fn forget(&mut self, host: &mut dyn HostServices, dom: DomId) {
        if let Some(domain) = self.domains.remove(&dom) {
            host.put(domain.shared_info);
        }
    }

    /// Writes `bytes` to the console of `dom`: by lines beside those of others, or as they are.
    pub(super) fn output(&mut self, dom: DomId, bytes: &[u8]) {
        let Some(domain) = self.domains.get_mut(&dom) else { return };
        if domain.own_console || self.typing.shows(dom) {
            self.actions.push(Action::Raw { dom, bytes: bytes.to_vec() });
            return;
        }
        for &byte in bytes {
            if let Some(line) = domain.console.push(byte) {
                self.actions.push(Action::Output { dom, line });
            }
        }
    }

    /// Shows the unfinished line of the domain that a person types to, as it was written.
    pub(super) fn show_focus(&mut self) {
        let shown = self.domains.iter_mut().find(|(dom, _)| self.typing.shows(**dom));
        if let Some((dom, domain)) = shown {
            let bytes = domain.console.raw();
            if !bytes.is_empty() {
                self.actions.push(Action::Raw { dom: *dom, bytes });
            }
        }
    }

    /// Prints the unfinished console line of `dom`.
    pub fn flush_console(&mut self, dom: DomId) {
        let line = self.domains.get_mut(&dom).and_then(|domain| domain.console.flush());
        if let Some(line) = line {
            self.actions.push(Action::Output { dom, line });
        }
    }
}

/// The place of a vCPU's `vcpu_info` until another is registered.
fn legacy_info(shared: u64, vcpu: u32) -> InfoPlace {
    InfoPlace { mfn: shared, offset: vcpu as u16 * shared_info::VCPU_INFO_SIZE }
}
