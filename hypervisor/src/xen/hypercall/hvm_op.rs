//! `hvm_op`: parameters, and the upcall vector.

use super::super::abi::layout::{HvmParam, HvmTime, UpcallVector};
use super::super::abi::nr::hvm as op;
use super::super::abi::{Errno, OpResult};
use super::{Args, Call};

/// Parameters only the tools may write (1, 2, 17, 18: pages and ports of xenstore and console).
fn for_tools(index: usize) -> bool {
    let firmware = [op::PARAM_ACPI_IOPORTS_LOCATION, op::PARAM_VM_GENERATION_ID_ADDR];
    !matches!(index, op::PARAM_CALLBACK_IRQ | 12 | 14 | 15 | 37) && !firmware.contains(&index)
}

/// The page and the port of xenstore's and of the console's ring, which a domain has if the tools say so.
fn of_a_ring(index: usize) -> bool {
    let store = [op::PARAM_STORE_PFN, op::PARAM_STORE_EVTCHN];
    let console = [op::PARAM_CONSOLE_PFN, op::PARAM_CONSOLE_EVTCHN];
    store.contains(&index) || console.contains(&index)
}

impl Call<'_> {
    pub(super) fn hvm_op(&mut self, [cmd, arg, ..]: Args) -> OpResult {
        match cmd {
            op::SET_PARAM => self.set_param(arg)?,
            op::GET_PARAM => {
                let mut param: HvmParam = self.load(arg)?;
                let dom = self.target(param.domid)?;
                let domain = self.xen.domain(dom)?;
                let index = param.index as usize;
                param.value = *domain.params.get(index).ok_or(Errno::Inval)?;
                // 0 would be taken for a frame, and written to. Dom0's Linux makes a ring then.
                if param.value == 0 && of_a_ring(index) && !domain.privileged {
                    return Err(Errno::NoEnt);
                }
                self.store(arg, &param)?;
            }
            op::SET_EVTCHN_UPCALL_VECTOR => self.set_upcall_vector(arg)?,
            op::GET_TIME => {
                let now = self.now_ns();
                self.store(arg, &HvmTime { now })?;
            }
            // Every change of a domain's memory flushes by itself.
            op::FLUSH_TLBS => {}
            _ => return Err(Errno::NoSys),
        }
        Ok(0)
    }

    fn set_param(&mut self, arg: u64) -> Result<(), Errno> {
        let HvmParam { domid, index, value } = self.load(arg)?;
        let dom = self.target(domid)?;
        let index = index as usize;
        if index >= op::NR_PARAMS {
            return Err(Errno::Inval);
        }
        if for_tools(index) {
            self.privileged()?;
        }
        self.xen.domain_mut(dom)?.params[index] = value;
        if index == op::PARAM_CALLBACK_IRQ {
            // DEPARTURE: only the vector type is delivered, no GSI and no PCI INTx.
            if dom == self.c.dom {
                self.xen.latch_width(self.host, dom, self.c.width);
            }
            // An event may have come before its vector.
            let count = self.xen.domain(dom)?.vcpus.len() as u32;
            (0..count).for_each(|vcpu| self.xen.wake(self.host, dom, vcpu));
        }
        Ok(())
    }

    fn set_upcall_vector(&mut self, arg: u64) -> Result<(), Errno> {
        let UpcallVector { vcpu, vector } = self.load(arg)?;
        if vector < 16 {
            return Err(Errno::Inval);
        }
        let dom = self.c.dom;
        let pending = self.xen.domain(dom)?.upcall_pending(self.host, vcpu);
        let state = self.xen.vcpu_mut(dom, vcpu)?;
        state.upcall_vector = vector;
        if pending {
            state.lapic.accept(vector, false);
            self.xen.wake(self.host, dom, vcpu);
        }
        Ok(())
    }
}
