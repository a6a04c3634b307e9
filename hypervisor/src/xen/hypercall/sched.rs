//! `sched_op` and `set_timer_op`.

use super::super::abi::layout::{SchedPoll, SchedRemoteShutdown, SchedShutdown};
use super::super::abi::{Errno, OpResult, nr::sched as op};
use super::super::domain::ShutdownReason;
use super::super::vcpu::{Activity, Poll};
use super::{Args, Call};
use alloc::vec::Vec;

/// The most ports one poll may name.
const MAX_POLL: u32 = 128;

impl Call<'_> {
    pub(super) fn sched_op(&mut self, [cmd, arg, ..]: Args) -> OpResult {
        let (dom, vcpu) = (self.c.dom, self.c.vcpu);
        match cmd {
            op::YIELD => self.xen.scheduler.end_slice(),
            op::BLOCK => {
                self.xen.vcpu_mut(dom, vcpu)?.activity = Activity::Blocked;
                self.xen.wake(self.host, dom, vcpu);
            }
            op::SHUTDOWN => {
                let SchedShutdown { reason } = self.load(arg)?;
                self.xen.shutdown(dom, ShutdownReason::from_word(reason)?);
            }
            // The reason alone, without the shutdown: it is given again when it happens.
            op::SHUTDOWN_CODE => {
                let SchedShutdown { reason } = self.load(arg)?;
                ShutdownReason::from_word(reason)?;
            }
            op::POLL => return self.poll(arg),
            op::REMOTE_SHUTDOWN => {
                self.privileged()?;
                let SchedRemoteShutdown { domid, reason } = self.load(arg)?;
                let dom = self.target(domid)?;
                self.xen.shutdown(dom, ShutdownReason::from_word(reason)?);
            }
            _ => return Err(Errno::NoSys),
        }
        Ok(0)
    }

    /// Waits for one of some ports to be pending, or a time.
    fn poll(&mut self, arg: u64) -> OpResult {
        let SchedPoll { ports, nr_ports, timeout } = self.load(arg)?;
        if nr_ports > MAX_POLL {
            return Err(Errno::Inval);
        }
        let mut list = Vec::new();
        for index in 0..u64::from(nr_ports) {
            let mut raw = [0; 4];
            self.c.read(self.host, ports.wrapping_add(index * 4), &mut raw)?;
            let port = u32::from_le_bytes(raw);
            let domain = self.xen.domain(self.c.dom)?;
            domain.channel(port)?;
            if domain.port_pending(self.host, port) {
                return Ok(0);
            }
            list.push(port);
        }
        if timeout != 0 && timeout <= self.now_ns() {
            return Ok(0);
        }
        let (dom, vcpu) = (self.c.dom, self.c.vcpu);
        let poll = Poll { ports: list, timeout: (timeout != 0).then_some(timeout) };
        self.xen.vcpu_mut(dom, vcpu)?.activity = Activity::Polling(poll);
        self.xen.wake(self.host, dom, vcpu);
        Ok(0)
    }

    /// `set_timer_op(timeout)`: absolute ns; 0 stops the timer. A 32-bit caller passes two halves.
    pub(super) fn set_timer_op(&mut self, [low, high, ..]: Args) -> OpResult {
        let timeout = match self.c.width {
            super::Width::Long => low,
            super::Width::Compat => low | high << 32,
        };
        let state = self.xen.vcpu_mut(self.c.dom, self.c.vcpu)?;
        state.singleshot = (timeout != 0).then_some(timeout);
        Ok(0)
    }
}
