//! Event channels: the two-level bitmaps in `shared_info`, and how a vCPU learns of them.

use super::abi::{Errno, Width, layout::shared_info, nr::virq};
use super::domain::{Channel, Domain, PortState};
use super::host_services::{DomId, HostServices};
use super::{Xen, abi::nr::hvm};

/// Sets or clears a bit of a frame; true if it was set before.
fn change_bit(host: &mut dyn HostServices, mfn: u64, base: u16, bit: u32, set: bool) -> bool {
    let offset = base as usize + bit as usize / 8;
    let mut byte = [0];
    host.read(mfn, offset, &mut byte);
    let mask = 1 << (bit % 8);
    let was = byte[0] & mask != 0;
    let new = if set { byte[0] | mask } else { byte[0] & !mask };
    if new != byte[0] {
        host.write(mfn, offset, &[new]);
    }
    was
}

fn test_bit(host: &dyn HostServices, mfn: u64, base: u16, bit: u32) -> bool {
    let mut byte = [0];
    host.read(mfn, base as usize + bit as usize / 8, &mut byte);
    byte[0] & 1 << (bit % 8) != 0
}

impl Domain {
    /// True if `port` is pending in the shared page.
    pub fn port_pending(&self, host: &dyn HostServices, port: u32) -> bool {
        port < shared_info::ports(self.width)
            && test_bit(host, self.shared_info, shared_info::PENDING, port)
    }

    fn clear_port(&self, host: &mut dyn HostServices, port: u32) {
        if port < shared_info::ports(self.width) {
            change_bit(host, self.shared_info, shared_info::PENDING, port, false);
        }
    }

    /// Opens the lowest free port; `-ENOSPC` if all are in use, `-ENOMEM` without memory.
    pub fn open_port(&mut self, channel: Channel) -> Result<u32, Errno> {
        let limit = shared_info::ports(self.width).min(self.max_ports) as usize;
        self.channels.insert(channel, limit).map(|port| port as u32)
    }

    /// True if the vCPU's `evtchn_upcall_pending` is set.
    pub fn upcall_pending(&self, host: &dyn HostServices, vcpu: u32) -> bool {
        let Some(vcpu) = self.vcpu(vcpu) else { return false };
        let mut byte = [0];
        host.read(
            vcpu.info.mfn,
            (vcpu.info.offset + shared_info::UPCALL_PENDING) as usize,
            &mut byte,
        );
        byte[0] != 0
    }

    /// The vector of `HVM_PARAM_CALLBACK_IRQ`, if that is its type.
    pub fn callback_vector(&self) -> Option<u8> {
        let param = self.params[hvm::PARAM_CALLBACK_IRQ];
        (param >> 56 == 2 && param as u8 >= 16).then_some(param as u8)
    }
}

impl Xen {
    /// Makes `port` of `dom` pending and tells its vCPU. A closed or unknown port is ignored.
    pub fn raise_port(&mut self, host: &mut dyn HostServices, dom: DomId, port: u32) {
        if self.answered(host, dom, port) {
            return;
        }
        let Ok(domain) = self.domain(dom) else { return };
        let Ok(&channel) = domain.channel(port) else { return };
        let (width, page) = (domain.width, domain.shared_info);
        if channel.state == PortState::Closed || port >= shared_info::ports(width) {
            return;
        }
        if change_bit(host, page, shared_info::PENDING, port, true) {
            return;
        }
        if !test_bit(host, page, shared_info::mask(width), port) {
            self.select_port(host, dom, channel.vcpu, port, width);
        }
        self.wake_pollers(dom, port);
    }

    /// Sets the selector bit of a pending, unmasked port.
    fn select_port(
        &mut self,
        host: &mut dyn HostServices,
        dom: DomId,
        vcpu: u32,
        port: u32,
        width: Width,
    ) {
        let Ok(info) = self.vcpu(dom, vcpu).map(|vcpu| vcpu.info) else { return };
        let base = info.offset + shared_info::pending_sel(width);
        let bit = port / (u32::from(shared_info::word(width)) * 8);
        if !change_bit(host, info.mfn, base, bit, true) {
            self.mark_upcall(host, dom, vcpu);
        }
    }

    /// Sets `evtchn_upcall_pending`; its 0 to 1 transition interrupts the vCPU.
    pub fn mark_upcall(&mut self, host: &mut dyn HostServices, dom: DomId, vcpu: u32) {
        let Ok(state) = self.vcpu_mut(dom, vcpu) else { return };
        let info = state.info;
        let mut byte = [0];
        let offset = (info.offset + shared_info::UPCALL_PENDING) as usize;
        host.read(info.mfn, offset, &mut byte);
        if byte[0] != 0 {
            return;
        }
        host.write(info.mfn, offset, &[1]);
        state.upcall_taken = false;
        if state.upcall_vector != 0 {
            state.lapic.accept(state.upcall_vector, false);
        }
        self.wake(host, dom, vcpu);
    }

    /// Clears the mask of `port`; if it is pending it is raised again.
    pub fn unmask_port(
        &mut self,
        host: &mut dyn HostServices,
        dom: DomId,
        port: u32,
    ) -> Result<(), Errno> {
        let domain = self.domain(dom)?;
        let channel = *domain.channel(port)?;
        let (width, page) = (domain.width, domain.shared_info);
        if port >= shared_info::ports(width) {
            return Err(Errno::Inval);
        }
        let was_masked = change_bit(host, page, shared_info::mask(width), port, false);
        if was_masked && test_bit(host, page, shared_info::PENDING, port) {
            self.select_port(host, dom, channel.vcpu, port, width);
        }
        Ok(())
    }

    /// `EVTCHNOP_send`: raises the other end of `port`. Ports that cannot be sent on are `-EINVAL`;
    /// an unbound one swallows the event, as in Xen.
    pub fn send(
        &mut self,
        host: &mut dyn HostServices,
        dom: DomId,
        port: u32,
    ) -> Result<(), Errno> {
        match self.domain(dom)?.channel(port)?.state {
            PortState::Interdomain { dom: peer, port: peer_port } => {
                self.raise_port(host, peer, peer_port);
                Ok(())
            }
            PortState::Ipi => {
                self.raise_port(host, dom, port);
                Ok(())
            }
            PortState::Unbound { .. } => Ok(()),
            PortState::Closed | PortState::Virq(_) => Err(Errno::Inval),
        }
    }

    /// Raises a virtual interrupt of one vCPU, if it is bound.
    pub fn raise_virq(&mut self, host: &mut dyn HostServices, dom: DomId, vcpu: u32, virq: u32) {
        let port = self.vcpu(dom, vcpu).map_or(0, |v| v.virq_ports[virq as usize % virq::COUNT]);
        if port != 0 {
            self.raise_port(host, dom, port);
        }
    }

    /// Raises a global virtual interrupt of `dom` on the vCPU that has bound that interrupt.
    pub fn raise_global_virq(&mut self, host: &mut dyn HostServices, dom: DomId, virq: u32) {
        let Ok(domain) = self.domain(dom) else { return };
        let bound = domain.vcpus.iter().find(|v| v.virq_ports[virq as usize % virq::COUNT] != 0);
        if let Some(vcpu) = bound.map(|v| v.id) {
            self.raise_virq(host, dom, vcpu, virq);
        }
    }

    /// Closes `port` of `dom`; the other end of a connection becomes unbound again.
    pub fn close_port(
        &mut self,
        host: &mut dyn HostServices,
        dom: DomId,
        port: u32,
    ) -> Result<(), Errno> {
        let domain = self.domain_mut(dom)?;
        let channel = *domain.channel(port)?;
        match channel.state {
            PortState::Closed => return Err(Errno::Inval),
            PortState::Virq(virq) => {
                let slot = virq as usize % virq::COUNT;
                domain.vcpus.iter_mut().for_each(|v| {
                    if v.virq_ports[slot] == port {
                        v.virq_ports[slot] = 0;
                    }
                });
            }
            PortState::Unbound { .. } | PortState::Interdomain { .. } | PortState::Ipi => {}
        }
        domain.channels.remove(port as usize);
        domain.clear_port(host, port);
        if let PortState::Interdomain { dom: peer, port: peer_port } = channel.state {
            self.disconnect(dom, peer, peer_port);
        }
        Ok(())
    }

    /// The peer's end of a connection that `closer` has closed waits for `closer` again.
    fn disconnect(&mut self, closer: DomId, peer: DomId, port: u32) {
        let Ok(domain) = self.domain_mut(peer) else { return };
        if let Some(channel) = domain.channels.get_mut(port as usize) {
            channel.state = PortState::Unbound { remote: closer };
        }
    }

    /// Closes the ports of `dom` from the last one down; false if the slice has ended before all
    /// are closed.
    pub fn close_all_ports(&mut self, host: &mut dyn HostServices, dom: DomId) -> bool {
        let ports = self.domain(dom).map_or(0, |domain| domain.channels.len() as u32);
        // A closed port is no error here, and takes no time.
        (1..ports).rev().all(|port| {
            let kept = self.port_of_server(dom, port);
            kept || self.close_port(host, dom, port).is_err() || !self.slice_ended(host)
        })
    }
}
