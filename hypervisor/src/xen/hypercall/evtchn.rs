//! `event_channel_op`, for the two-level ABI.

use super::super::abi::Errno;
use super::super::abi::layout::{
    EvtchnAllocUnbound, EvtchnBindInterdomain, EvtchnBindIpi, EvtchnBindVcpu, EvtchnBindVirq,
    EvtchnExpandArray, EvtchnInitControl, EvtchnPort, EvtchnReset, EvtchnSetPriority, EvtchnStatus,
};
use super::super::abi::nr::{domid, evtchn as op, virq};
use super::super::domain::{Channel, PortState};
use super::super::host_services::DomId;
use super::{Args, Call, Step};

const PAGE_SIZE: u32 = 4096;
/// Bytes of `evtchn_fifo_control_block`: a word of ready bits, one reserved, sixteen heads.
const FIFO_CONTROL_BLOCK: u32 = 72;

/// Virtual interrupts that belong to a domain as a whole, not to each of its vCPUs.
fn is_global(virq: u32) -> bool {
    !matches!(virq, virq::TIMER | virq::DEBUG | virq::XENOPROF | virq::XENPMU)
}

impl Call<'_> {
    pub(super) fn event_channel_op(&mut self, args: Args) -> Result<Step, Errno> {
        let [cmd, arg, ..] = args;
        let done = match cmd {
            op::ALLOC_UNBOUND => self.alloc_unbound(arg),
            op::BIND_INTERDOMAIN => self.bind_interdomain(arg),
            op::BIND_VIRQ => self.bind_virq(arg),
            op::BIND_IPI => self.bind_ipi(arg),
            op::CLOSE => {
                let EvtchnPort { port } = self.load(arg)?;
                self.not_of_server(port)?;
                self.xen.close_port(self.host, self.c.dom, port)
            }
            op::SEND => {
                let EvtchnPort { port } = self.load(arg)?;
                self.not_of_server(port)?;
                self.xen.send(self.host, self.c.dom, port)
            }
            op::UNMASK => {
                let EvtchnPort { port } = self.load(arg)?;
                self.xen.unmask_port(self.host, self.c.dom, port)
            }
            op::STATUS => self.evtchn_status(arg),
            op::BIND_VCPU => self.bind_vcpu(arg),
            op::RESET => {
                let EvtchnReset { dom } = self.load(arg)?;
                let dom = self.target(dom)?;
                if !self.xen.close_all_ports(self.host, dom) {
                    return Ok(Step::Again(args));
                }
                Ok(())
            }
            op::INIT_CONTROL => self.init_control(arg),
            op::EXPAND_ARRAY => self.expand_array(arg),
            op::SET_PRIORITY => self.set_priority(arg),
            // Physical interrupts are not routed by event channels (hvm_pirqs is off).
            _ => Err(Errno::NoSys),
        };
        done.map(|()| Step::Done(0))
    }

    /// The FIFO ABI is not offered: Linux falls back to two levels. What no ABI takes is refused before.
    fn init_control(&mut self, arg: u64) -> Result<(), Errno> {
        let EvtchnInitControl { offset, vcpu, .. } = self.load(arg)?;
        self.xen.vcpu(self.c.dom, vcpu)?;
        if offset > PAGE_SIZE - FIFO_CONTROL_BLOCK || !offset.is_multiple_of(8) {
            return Err(Errno::Inval);
        }
        Err(Errno::NoSys)
    }

    /// There is no array without a control block.
    fn expand_array(&mut self, arg: u64) -> Result<(), Errno> {
        let EvtchnExpandArray { .. } = self.load(arg)?;
        Err(Errno::OpNotSupp)
    }

    /// Two levels have no priorities.
    fn set_priority(&mut self, arg: u64) -> Result<(), Errno> {
        let EvtchnSetPriority { port, .. } = self.load(arg)?;
        self.xen.domain(self.c.dom)?.channel(port)?;
        Err(Errno::NoSys)
    }

    /// `-EINVAL` for an end that is the hypervisor's, by which a device model answers.
    fn not_of_server(&self, port: u32) -> Result<(), Errno> {
        if self.xen.port_of_server(self.c.dom, port) { Err(Errno::Inval) } else { Ok(()) }
    }

    fn open(&mut self, dom: DomId, state: PortState, vcpu: u32) -> Result<u32, Errno> {
        self.xen.domain_mut(dom)?.open_port(Channel { state, vcpu })
    }

    fn alloc_unbound(&mut self, arg: u64) -> Result<(), Errno> {
        let mut alloc: EvtchnAllocUnbound = self.load(arg)?;
        let dom = self.target(alloc.dom)?;
        let own = alloc.remote_dom == domid::SELF;
        let remote = if own { self.c.dom } else { DomId(alloc.remote_dom) };
        alloc.port = self.open(dom, PortState::Unbound { remote }, 0)?;
        self.store(arg, &alloc)
    }

    fn bind_interdomain(&mut self, arg: u64) -> Result<(), Errno> {
        let mut bind: EvtchnBindInterdomain = self.load(arg)?;
        let own = bind.remote_dom == domid::SELF;
        let remote = if own { self.c.dom } else { DomId(bind.remote_dom) };
        let (local, remote_port) = (self.c.dom, bind.remote_port);
        let peer = self.xen.domain(remote)?;
        let expected = PortState::Unbound { remote: local };
        if peer.dying || peer.channel(remote_port)?.state != expected {
            return Err(Errno::Inval);
        }
        let port =
            self.open(local, PortState::Interdomain { dom: remote, port: remote_port }, 0)?;
        let peer = self.xen.domain_mut(remote)?;
        if let Some(channel) = peer.channels.get_mut(remote_port as usize) {
            channel.state = PortState::Interdomain { dom: local, port };
        }
        bind.local_port = port;
        // The peer may have sent while nobody listened: the new end starts pending.
        self.xen.raise_port(self.host, local, port);
        self.store(arg, &bind)
    }

    fn bind_virq(&mut self, arg: u64) -> Result<(), Errno> {
        let mut bind: EvtchnBindVirq = self.load(arg)?;
        if bind.virq as usize >= virq::COUNT || (is_global(bind.virq) && bind.vcpu != 0) {
            return Err(Errno::Inval);
        }
        let slot = bind.virq as usize;
        let bound = self.xen.vcpu(self.c.dom, bind.vcpu)?.virq_ports[slot] != 0;
        // A global one may have been moved to another vCPU since.
        let global = is_global(bind.virq)
            && self.xen.domain(self.c.dom)?.vcpus.iter().any(|v| v.virq_ports[slot] != 0);
        if bound || global {
            return Err(Errno::Exist);
        }
        bind.port = self.open(self.c.dom, PortState::Virq(bind.virq), bind.vcpu)?;
        self.xen.vcpu_mut(self.c.dom, bind.vcpu)?.virq_ports[slot] = bind.port;
        self.store(arg, &bind)
    }

    fn bind_ipi(&mut self, arg: u64) -> Result<(), Errno> {
        let mut bind: EvtchnBindIpi = self.load(arg)?;
        self.xen.vcpu(self.c.dom, bind.vcpu)?;
        bind.port = self.open(self.c.dom, PortState::Ipi, bind.vcpu)?;
        self.store(arg, &bind)
    }

    fn bind_vcpu(&mut self, arg: u64) -> Result<(), Errno> {
        let EvtchnBindVcpu { port, vcpu } = self.load(arg)?;
        self.not_of_server(port)?;
        self.xen.vcpu(self.c.dom, vcpu)?;
        let domain = self.xen.domain_mut(self.c.dom)?;
        match domain.channel(port)?.state {
            PortState::Virq(virq) if !is_global(virq) => return Err(Errno::Inval),
            PortState::Virq(_) | PortState::Unbound { .. } | PortState::Interdomain { .. } => {}
            PortState::Closed | PortState::Ipi => return Err(Errno::Inval),
        }
        if let Some(channel) = domain.channels.get_mut(port as usize) {
            channel.vcpu = vcpu;
        }
        Ok(())
    }

    fn evtchn_status(&mut self, arg: u64) -> Result<(), Errno> {
        let mut status: EvtchnStatus = self.load(arg)?;
        let dom = self.target(status.dom)?;
        let domain = self.xen.domain(dom)?;
        // Port 0 is there, and closed: who goes through all ports begins with it.
        let channel = match status.port {
            0 => Channel::default(),
            port => *domain.channel(port)?,
        };
        (status.status, status.u0, status.u1) = match channel.state {
            PortState::Closed => (op::STAT_CLOSED, 0, 0),
            PortState::Unbound { remote } => (op::STAT_UNBOUND, remote.0.into(), 0),
            PortState::Interdomain { dom, port } => (op::STAT_INTERDOMAIN, dom.0.into(), port),
            PortState::Virq(virq) => (op::STAT_VIRQ, virq, 0),
            PortState::Ipi => (op::STAT_IPI, 0, 0),
        };
        status.vcpu = channel.vcpu;
        self.store(arg, &status)
    }
}
