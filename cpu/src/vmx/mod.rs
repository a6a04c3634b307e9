//! VMX. SDM vol. 3, part "Virtual Machine Extensions".

mod hooks;

use crate::state::Cpu;
use crate::trap::Trap;
use mmu::{Eptp, GuestPhys, HostPhys};
use serde::{Deserialize, Serialize};

/// VMX state of a processor.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Vmx {
    /// In VMX operation.
    pub on: bool,
    /// In VMX non-root operation.
    pub guest: bool,
}

impl Vmx {
    /// The EPTP that translations go through now.
    pub fn eptp(&self) -> Option<Eptp> {
        None
    }
}

impl Cpu {
    /// Makes the VM exit whose reason is in `vmx`.
    pub(crate) fn vm_exit(&mut self) {}

    /// An EPT violation: records the exit.
    pub(crate) fn ept_violation(
        &mut self,
        _gpa: GuestPhys,
        _qualification: u64,
        _linear: u64,
    ) -> Trap {
        Trap::VmExit
    }

    /// An EPT misconfiguration: records the exit.
    pub(crate) fn ept_misconfig(&mut self, _gpa: GuestPhys) -> Trap {
        Trap::VmExit
    }

    /// A load from a page of kind Trap: the APIC-access page, or memory under a watchpoint.
    pub(crate) fn special_load(&mut self, p: HostPhys, buf: &mut [u8]) -> Result<(), Trap> {
        let _ = self.mmu().read_slice(p, buf);
        Ok(())
    }

    /// A store to a page of kind Trap.
    pub(crate) fn special_store(&mut self, p: HostPhys, buf: &[u8]) -> Result<(), Trap> {
        self.phys_write(p, buf);
        Ok(())
    }
}
