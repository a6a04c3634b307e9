//! Exits that need a look at several registers: control registers and device memory.

use crate::exits::{Outcome, advance};
use crate::host::Host;
use crate::vmx_ops;
use alloc::format;
use hypervisor::vmx::controls::{IA32E_GUEST, VPID};
use hypervisor::vmx::{cr0, field};

const GP: u8 = 13;
const CR0_PE: u64 = 1;
const EFER_LMA: u64 = 1 << 10;

impl Host {
    /// SDM vol. 3, "Exit Qualification for Control-Register Accesses".
    pub(crate) fn cr_access(&mut self, index: usize) -> Outcome {
        let qualification = vmx_ops::read(field::EXIT_QUALIFICATION);
        let register = (qualification >> 8 & 15) as u8;
        let slot = &mut self.slots[index];
        let (dom, id) = slot.key();
        match (qualification >> 4 & 3, qualification & 15) {
            (0, 0) => {
                let value = slot.vcpu.gpr(register);
                self.set_cr0(index, value);
            }
            (3, _) => {
                // LMSW: the low four bits, of which PE is only ever set.
                let old = guest_cr0();
                let source = qualification >> 16 & 0xF;
                self.set_cr0(index, old & !0xE | source | old & CR0_PE);
            }
            // A bit of CR4 that no guest may set.
            (0, 4) => self.fault(index, GP, Some(0)),
            (0, 8) => {
                let value = slot.vcpu.gpr(register);
                if value > 15 {
                    self.fault(index, GP, Some(0));
                } else {
                    self.xen.set_cr8(dom, id, value);
                    advance();
                }
            }
            (1, 8) => {
                let value = self.xen.cr8(dom, id);
                slot.vcpu.set_gpr(register, value);
                advance();
            }
            _ => return Err(format!("control-register access {qualification:#x}")),
        }
        Ok(())
    }

    /// MOV to CR0, or LMSW, that changes a bit the guest does not own.
    fn set_cr0(&mut self, index: usize, value: u64) {
        let (cr4, efer) = (vmx_ops::read(field::GUEST_CR4), vmx_ops::read(field::GUEST_EFER));
        let Ok(written) = cr0::write(guest_cr0(), value, cr4, efer) else {
            return self.fault(index, GP, Some(0));
        };
        if written.efer != efer {
            let mode = if written.efer & EFER_LMA != 0 { IA32E_GUEST } else { 0 };
            vmx_ops::write(field::GUEST_EFER, written.efer);
            vmx_ops::write(
                field::ENTRY_CONTROLS,
                u64::from(self.controls.entry & !IA32E_GUEST | mode),
            );
        }
        // DEPARTURE: PDPTEs are not loaded when PAE paging begins here with a write that also
        // changes NE, CD or NW: the guest's next CR3 load does it.
        vmx_ops::write(field::GUEST_CR0, written.real);
        vmx_ops::write(field::CR0_SHADOW, written.shadow);
        if written.paging_changed && self.controls.secondary(VPID) {
            vmx_ops::invalidate_vpids();
        }
        advance();
    }

    /// An access that the EPT refused: a device of the hypervisor's own, or nothing at all.
    /// SDM vol. 3, "Exit Qualification for EPT Violations".
    pub(crate) fn ept_violation(&mut self, index: usize) -> Outcome {
        let qualification = vmx_ops::read(field::EXIT_QUALIFICATION);
        let gpa = vmx_ops::read(field::GUEST_PHYSICAL_ADDRESS);
        self.resume_delivery(index);
        let refused = |what: &str| Err(format!("{what} at guest-physical {gpa:#x}"));
        if self.slots[index].injecting {
            return refused("event delivery through missing memory");
        }
        if qualification & 1 << 2 != 0 {
            return refused("instruction fetch");
        }
        if qualification & 1 << 7 != 0 && qualification & 1 << 8 == 0 {
            return refused("page table in missing memory");
        }
        let written = qualification & 2 != 0;
        if self.xen.pc(self.slots[index].dom).is_some()
            && let Some(outcome) = self.device_memory(index, gpa, written)
        {
            return outcome;
        }
        self.stand_in(index, gpa, written)
    }
}

/// CR0 in the guest's view.
fn guest_cr0() -> u64 {
    cr0::seen(vmx_ops::read(field::GUEST_CR0), vmx_ops::read(field::CR0_SHADOW))
}
