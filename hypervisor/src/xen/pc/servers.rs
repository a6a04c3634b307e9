//! A vCPU's question to a device model and the answer, and the beginning and end of servers.

use super::super::abi::Errno;
use super::super::domain::{Channel, PortState};
use super::super::host_services::{DomId, HostServices, PAGE_SIZE};
use super::super::vcpu::Io;
use super::super::{vioapic, vlapic};
use super::Xen;
use super::buffered::{Buffering, Ring};
use super::io_server::{Access, IoServer, MOST, Space};
use alloc::vec::Vec;

impl Xen {
    /// Asks the server that answers for an access; ones at once if there is none.
    pub(super) fn ask(
        &mut self,
        host: &mut dyn HostServices,
        (dom, vcpu): (DomId, u32),
        access: Access,
    ) -> Option<u64> {
        let nobody = Some(if access.write { 0 } else { access.mask() });
        let Some(pc) = self.pc(dom) else { return nobody };
        let access = pc.translated(access);
        let Some(server) = pc.server(&access) else { return nobody };
        if let Some(ring) = server.buffered
            && ring.put(host, &access)
        {
            self.notify(host, dom, ring.port);
            return nobody;
        }
        let (id, port) = (server.id, server.ports.get(vcpu as usize).copied());
        server.ask(host, vcpu, &access);
        let Ok(state) = self.vcpu_mut(dom, vcpu) else { return nobody };
        state.io = Io::Waits { server: id, mask: access.mask() };
        self.notify(host, dom, port.unwrap_or(0));
        None
    }

    /// True if a device model would carry out a string instruction's elements by itself.
    pub fn takes_strings(&self, dom: DomId, access: &Access) -> bool {
        let page = access.addr & !(PAGE_SIZE as u64 - 1);
        let apic = access.space == Space::Memory && [vlapic::PAGE, vioapic::PAGE].contains(&page);
        let pc = self.pc(dom).filter(|pc| !apic && pc.translated(*access) == *access);
        pc.is_some_and(|pc| pc.server(access).is_some())
    }

    /// The answer that a vCPU has waited for.
    pub fn answer(&mut self, dom: DomId, vcpu: u32) -> Option<u64> {
        let state = self.vcpu_mut(dom, vcpu).ok()?;
        let Io::Answered(data) = state.io else { return None };
        state.io = Io::None;
        Some(data)
    }

    /// Sends by the hypervisor's end of an event channel.
    fn notify(&mut self, host: &mut dyn HostServices, dom: DomId, port: u32) {
        let channel = self.domain(dom).and_then(|domain| domain.channel(port).copied());
        if let Ok(Channel { state: PortState::Interdomain { dom: peer, port }, .. }) = channel {
            self.raise_port(host, peer, port);
        }
    }

    /// An event at an end that is the hypervisor's: perhaps an answer. False if the port is not one.
    pub(in super::super) fn answered(
        &mut self,
        host: &mut dyn HostServices,
        dom: DomId,
        port: u32,
    ) -> bool {
        let Some(pc) = self.pc(dom) else { return false };
        let place = |server: &IoServer| server.ports.iter().position(|&known| known == port);
        let found = pc.servers.iter().find_map(|server| Some((server, place(server)?)));
        let Some((server, vcpu)) = found else {
            let buffered =
                |server: &IoServer| server.buffered.is_some_and(|ring| ring.port == port);
            return pc.servers.iter().any(buffered);
        };
        let vcpu = vcpu as u32;
        let waits = |io: &Io| matches!(io, Io::Waits { server: id, .. } if *id == server.id);
        let Ok(state) = self.vcpu(dom, vcpu) else { return true };
        if waits(&state.io)
            && let Io::Waits { mask, .. } = state.io
            && let Some(data) = server.answer(host, vcpu)
            && let Ok(state) = self.vcpu_mut(dom, vcpu)
        {
            state.io = Io::Answered(data & mask);
        }
        true
    }

    /// `create_ioreq_server`: the number of a new one.
    pub fn create_server(
        &mut self,
        host: &mut dyn HostServices,
        dom: DomId,
        owner: DomId,
        buffered: Buffering,
    ) -> Result<u16, Errno> {
        let pc = self.pc(dom).ok_or(Errno::Inval)?;
        let free = |id: &u16| pc.servers.iter().all(|server| server.id != *id);
        let id = (0..MOST as u16).find(free).ok_or(Errno::NoSpc)?;
        let vcpus = self.domain(dom)?.vcpus.len() as u32;
        // Each vCPU has a port: the tools make vCPUs before they start a device model.
        if vcpus == 0 {
            return Err(Errno::Inval);
        }
        let page = host.alloc_shared(dom).ok_or(Errno::NoMem)?;
        let ranges = [Vec::new(), Vec::new(), Vec::new()];
        let (enabled, ports) = (false, Vec::new());
        let mut server = IoServer { id, owner, enabled, page, buffered: None, ports, ranges };
        if let Err(error) = self.open_ports(host, dom, &mut server, vcpus, buffered) {
            self.close_server(host, dom, &server);
            return Err(error);
        }
        server.show_ports(host);
        let pc = self.pc_mut(dom).ok_or(Errno::Inval)?;
        pc.servers.push(server);
        pc.servers.sort_by_key(|server| server.id);
        Ok(id)
    }

    fn open_ports(
        &mut self,
        host: &mut dyn HostServices,
        dom: DomId,
        server: &mut IoServer,
        vcpus: u32,
        buffered: Buffering,
    ) -> Result<(), Errno> {
        let state = PortState::Unbound { remote: server.owner };
        for vcpu in 0..vcpus {
            server.ports.push(self.domain_mut(dom)?.open_port(Channel { state, vcpu })?);
        }
        if buffered != Buffering::Off {
            let page = host.alloc_shared(dom).ok_or(Errno::NoMem)?;
            match self.domain_mut(dom)?.open_port(Channel { state, vcpu: 0 }) {
                Ok(port) => {
                    let atomic = buffered == Buffering::Atomic;
                    server.buffered = Some(Ring { page, port, atomic });
                }
                Err(error) => {
                    host.put(page);
                    return Err(error);
                }
            }
        }
        Ok(())
    }

    /// `destroy_ioreq_server`: who waits for it reads ones.
    pub fn destroy_server(
        &mut self,
        host: &mut dyn HostServices,
        dom: DomId,
        id: u16,
    ) -> Result<(), Errno> {
        let pc = self.pc_mut(dom).ok_or(Errno::Inval)?;
        let index = pc.servers.iter().position(|server| server.id == id).ok_or(Errno::NoEnt)?;
        let server = pc.servers.remove(index);
        for vcpu in &mut self.domain_mut(dom)?.vcpus {
            if let Io::Waits { server, mask } = vcpu.io
                && server == id
            {
                vcpu.io = Io::Answered(mask);
            }
        }
        self.close_server(host, dom, &server);
        Ok(())
    }

    /// Gives back what a server that is in no list has.
    fn close_server(&mut self, host: &mut dyn HostServices, dom: DomId, server: &IoServer) {
        let buffered = server.buffered.map(|ring| ring.port);
        for port in server.ports.iter().copied().chain(buffered) {
            // It is open.
            let _ = self.close_port(host, dom, port);
        }
        host.put(server.page);
        if let Some(ring) = server.buffered {
            host.put(ring.page);
        }
    }

    /// Ends all servers of a domain that is being destroyed.
    pub(in super::super) fn destroy_servers(&mut self, host: &mut dyn HostServices, dom: DomId) {
        let ids = self.pc(dom).map(|pc| pc.servers.iter().map(|server| server.id).collect());
        let ids: Vec<u16> = ids.unwrap_or_default();
        ids.into_iter().for_each(|id| {
            let _ = self.destroy_server(host, dom, id);
        });
    }

    /// True if the end of a channel in `dom` belongs to the hypervisor, so that `dom` may not close or use the port.
    pub(in super::super) fn port_of_server(&self, dom: DomId, port: u32) -> bool {
        let of = |server: &IoServer| {
            server.ports.contains(&port) || server.buffered.is_some_and(|ring| ring.port == port)
        };
        self.pc(dom).is_some_and(|pc| pc.servers.iter().any(of))
    }
}
