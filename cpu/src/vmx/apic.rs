//! The TPR shadow and the APIC-access page. SDM vol. 3, "APIC Virtualization and Virtual Interrupts".

use super::controls::{proc, proc2};
use super::reason;
use crate::Cpu;
use crate::state::Activity;
use crate::state::vmx::Exit;
use crate::state::vmx::field::Field;
use crate::state::vmx::vmcs::Vmcs;
use crate::trap::Trap;
use mmu::HostPhys;

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

    /// A VM entry checks the virtual TPR too, but not into shutdown or wait-for-SIPI.
    pub(super) fn check_tpr_at_entry(&mut self) {
        let inactive = matches!(self.state.sys.activity, Activity::Shutdown | Activity::WaitSipi);
        if !inactive
            && self.state.vmx.proc(proc::TPR_SHADOW)
            && self.state.vmx.proc2(proc2::VIRTUALIZE_APIC)
        {
            let v = self.vtpr();
            self.check_tpr(v);
        }
    }

    /// Sends accesses to the APIC-access page here.
    ///
    /// DEPARTURE: a page outside RAM is not watched, and the page may be executed from.
    pub(crate) fn watch_apic_page(&mut self) {
        if self.state.vmx.proc2(proc2::VIRTUALIZE_APIC) {
            self.watch_page(HostPhys(self.state.vmx.vmcs[Field::ApicAccessAddress]));
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
            ..self.access_exit(reason::APIC_ACCESS, false)
        })
    }

    /// A load from a page of kind [`mmu::PageKind::SlowPath`]: the APIC-access page, one with APIC registers, or one
    /// that the host watches.
    pub(crate) fn special_load(&mut self, p: HostPhys, buf: &mut [u8]) -> Result<(), Trap> {
        if !self.is_apic_access(p) {
            if self.state.apic.claims(p.0) || !self.mmu().read_slice(p, buf) {
                return self.device_load(p, buf);
            }
            self.note_physical(p.0, buf.len(), false);
            return Ok(());
        }
        if !self.is_virtual_tpr(p, buf.len()) {
            return Err(self.apic_access(p, 0));
        }
        let len = buf.len();
        buf.copy_from_slice(&(self.vtpr() as u32).to_le_bytes()[..len]);
        Ok(())
    }

    /// A store to such a page.
    pub(crate) fn special_store(&mut self, p: HostPhys, buf: &[u8]) -> Result<(), Trap> {
        if !self.is_apic_access(p) {
            if self.state.apic.claims(p.0) || !self.phys_write(p, buf) {
                return self.device_store(p, buf);
            }
            self.note_physical(p.0, buf.len(), true);
            return Ok(());
        }
        if !self.is_virtual_tpr(p, buf.len()) {
            return Err(self.apic_access(p, 1));
        }
        self.set_vtpr(buf[0]);
        Ok(())
    }
}
