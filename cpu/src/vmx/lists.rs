//! The MSR lists of VM entries and exits. SDM vol. 3, "Loading MSRs" and "Saving MSRs".

use crate::Cpu;
use crate::state::vmx::field::Field;
use mmu::HostPhys;

/// Entries that a list may have (IA32_VMX_MISC bits 27:25 are 0). More are undefined; here they fail.
const MOST: u64 = 512;

const IA32_TSC: u32 = 0x10;

/// Whether the lists may not load this MSR: FS and GS base, the local APIC's.
fn unloadable(n: u32) -> bool {
    matches!(n, 0xc000_0100 | 0xc000_0101 | 0x800..=0x8ff)
}

impl Cpu {
    /// Index and value of entry `k` of a list; None if reserved bits are not 0.
    fn list_entry(&self, list: u64, k: u64) -> Option<(u32, u64)> {
        let at = list.wrapping_add(16 * k);
        let index = self.phys_u64(at);
        let n = u32::try_from(index).ok()?;
        Some((n, self.phys_u64(at.wrapping_add(8))))
    }

    /// Loads a list; the 1-based number of the entry that fails.
    #[inline]
    fn load_msrs(&mut self, address: Field, count: Field) -> Result<(), u64> {
        let (list, count) = (self.state.vmx.vmcs[address], self.state.vmx.vmcs[count]);
        if count == 0 { Ok(()) } else { self.load_list(list, count) }
    }

    fn load_list(&mut self, list: u64, count: u64) -> Result<(), u64> {
        if count > MOST {
            return Err(MOST + 1);
        }
        for k in 0..count {
            let entry = self.list_entry(list, k).filter(|(n, _)| !unloadable(*n));
            let (n, v) = entry.ok_or(k + 1)?;
            self.write_msr(n, v).ok_or(k + 1)?;
        }
        Ok(())
    }

    /// The list of VM entries.
    pub(super) fn load_entry_msrs(&mut self) -> Result<(), u64> {
        self.load_msrs(Field::EntryMsrLoadAddress, Field::EntryMsrLoadCount)
    }

    /// The load list of VM exits; false is a VMX abort.
    pub(super) fn load_exit_msrs(&mut self) -> bool {
        self.load_msrs(Field::ExitMsrLoadAddress, Field::ExitMsrLoadCount).is_ok()
    }

    /// The store list of VM exits; false is a VMX abort.
    pub(super) fn store_msrs(&mut self) -> bool {
        let list = self.state.vmx.vmcs[Field::ExitMsrStoreAddress];
        let count = self.state.vmx.vmcs[Field::ExitMsrStoreCount];
        if count > MOST {
            return false;
        }
        for k in 0..count {
            let Some((n, _)) = self.list_entry(list, k) else { return false };
            let Some(v) = self.stored_msr(n) else { return false };
            let at = HostPhys(list.wrapping_add(16 * k + 8));
            self.phys_write(at, &v.to_le_bytes());
        }
        true
    }

    fn stored_msr(&mut self, n: u32) -> Option<u64> {
        match n {
            0x800..=0x8ff => None,
            // The counter itself, without the guest's offset.
            IA32_TSC => Some(self.tsc()),
            _ => self.read_msr(n),
        }
    }
}
