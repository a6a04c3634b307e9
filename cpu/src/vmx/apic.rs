//! The TPR shadow and the APIC-access page. SDM vol. 3, "APIC Virtualization and Virtual Interrupts".

use super::controls::{proc, proc2};
use super::reason;
use crate::Cpu;
use crate::state::vmx::Exit;
use crate::state::vmx::field::Field;
use crate::state::vmx::vmcs::Vmcs;
use crate::trap::Trap;
use mmu::{HostPhys, PageKind};

/// Offset of the task-priority register in an APIC page.
const TPR: u64 = 0x80;

impl Cpu {
    /// The virtual TPR of a VMCS.
    pub(super) fn vtpr_in(&self, v: &Vmcs) -> u8 {
        self.phys_u64(v[Field::VirtualApicAddress].wrapping_add(TPR)) as u8
    }

    /// The virtual TPR.
    pub(super) fn vtpr(&self) -> u8 {
        self.vtpr_in(&self.state.vmx.vmcs)
    }

    /// Writes the virtual TPR, with TPR virtualization.
    pub(super) fn set_vtpr(&mut self, v: u8) {
        let at = self.state.vmx.vmcs[Field::VirtualApicAddress].wrapping_add(TPR);
        self.phys_write(HostPhys(at), &(v as u32).to_le_bytes());
        self.check_tpr(v);
    }

    /// An exit follows when the virtual TPR is below the threshold.
    fn check_tpr(&mut self, v: u8) {
        if (v >> 4) as u64 >= self.state.vmx.vmcs[Field::TprThreshold] & 15 {
            return;
        }
        self.state.vmx.tpr_below = true;
        self.env.leave = true;
    }

    /// A VM entry checks the virtual TPR too.
    pub(super) fn check_tpr_at_entry(&mut self) {
        if self.state.vmx.proc(proc::TPR_SHADOW) && self.state.vmx.proc2(proc2::VIRTUALIZE_APIC) {
            let v = self.vtpr();
            self.check_tpr(v);
        }
    }

    /// Sends accesses to the APIC-access page here.
    ///
    /// DEPARTURE: a page outside RAM is not watched, and the page may be executed from.
    pub(super) fn watch_apic_page(&mut self) {
        if !self.state.vmx.proc2(proc2::VIRTUALIZE_APIC) {
            return;
        }
        let page = HostPhys(self.state.vmx.vmcs[Field::ApicAccessAddress]);
        if !self.mmu().kinds(page).slow_path {
            self.mmu().set_kind(page, PageKind::SlowPath, true);
            self.refresh_generation();
        }
    }

    pub(super) fn is_apic_access(&self, p: HostPhys) -> bool {
        self.state.vmx.proc2(proc2::VIRTUALIZE_APIC)
            && p.page().0 == self.state.vmx.vmcs[Field::ApicAccessAddress]
    }

    /// Whether an access of `len` bytes is one to the virtual TPR.
    pub(super) fn is_virtual_tpr(&self, p: HostPhys, len: usize) -> bool {
        self.state.vmx.proc(proc::TPR_SHADOW) && p.offset() == TPR && len <= 4
    }

    fn apic_access(&mut self, p: HostPhys, write: u64) -> Trap {
        let kind = if self.state.sys.delivering.is_some() { 3 } else { write };
        self.exit_trap(Exit {
            qualification: p.offset() | kind << 12,
            resume: Some(true),
            ..Exit::new(reason::APIC_ACCESS)
        })
    }

    /// A load from a page of kind Trap: the APIC-access page.
    pub(crate) fn special_load(&mut self, p: HostPhys, buf: &mut [u8]) -> Result<(), Trap> {
        if !self.is_apic_access(p) {
            let _ = self.mmu().read_slice(p, buf);
            return Ok(());
        }
        if !self.is_virtual_tpr(p, buf.len()) {
            return Err(self.apic_access(p, 0));
        }
        let len = buf.len();
        buf.copy_from_slice(&(self.vtpr() as u32).to_le_bytes()[..len]);
        Ok(())
    }

    /// A store to a page of kind Trap.
    pub(crate) fn special_store(&mut self, p: HostPhys, buf: &[u8]) -> Result<(), Trap> {
        if !self.is_apic_access(p) {
            self.phys_write(p, buf);
            return Ok(());
        }
        if !self.is_virtual_tpr(p, buf.len()) {
            return Err(self.apic_access(p, 1));
        }
        self.set_vtpr(buf[0]);
        Ok(())
    }
}
