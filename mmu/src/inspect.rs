//! What the paging structures say of an address: for somebody who looks, without any effect on them, on what is
//! cached, or on the guest.

use crate::addr::{GuestPhys, HostPhys, Linear};
use crate::ept::Purpose;
use crate::mmu::Mmu;
use crate::paging::{Entry, bits};
use crate::regime::{AccessKind, Mode, Regime};
use crate::walk::root;

/// An entry of a paging structure, as it was read.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct EntryRead {
    /// An entry of EPT, not of the guest's own paging.
    pub ept: bool,
    /// Level of the table, from 5 down to 1.
    pub level: u8,
    /// Where the entry is.
    pub at: HostPhys,
    /// Value of the entry.
    pub value: u64,
}

/// A translation that was followed.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Inspection {
    /// The entries used, in the order in which the processor reads them.
    pub entries: Vec<EntryRead>,
    /// The guest-physical address, if the guest's paging maps the linear one.
    pub guest: Option<GuestPhys>,
    /// The physical address, if it is mapped altogether.
    pub phys: Option<HostPhys>,
}

impl Mmu {
    /// Follows the translation of `la`, whatever may be done there.
    #[must_use]
    pub fn inspect(&self, r: &Regime, la: Linear) -> Inspection {
        let mut seen = Inspection::default();
        seen.guest = self.inspect_paging(r, la.0, &mut seen.entries);
        if let Some(gpa) = seen.guest {
            seen.phys = self.inspect_ept(r, gpa, &mut seen.entries);
        }
        seen
    }

    /// Follows the translation of a guest-physical address.
    #[must_use]
    pub fn inspect_guest(&self, r: &Regime, gpa: GuestPhys) -> Inspection {
        let mut seen = Inspection { guest: Some(gpa), ..Inspection::default() };
        seen.phys = self.inspect_ept(r, gpa, &mut seen.entries);
        seen
    }

    fn inspect_paging(
        &self,
        r: &Regime,
        la: u64,
        entries: &mut Vec<EntryRead>,
    ) -> Option<GuestPhys> {
        if r.mode == Mode::Off {
            return Some(GuestPhys(la));
        }
        let start = root(r, la)?;
        let mut table = start.table;
        for level in (1..=start.level).rev() {
            let gpa = GuestPhys(table | r.entry_offset(la, level));
            let at = self.inspect_ept(r, gpa, entries)?;
            let value = self.ram.entry(at, r.entry_bytes());
            entries.push(EntryRead { ept: false, level, at, value });
            match r.decode(level, value) {
                Entry::NotPresent | Entry::Reserved => return None,
                Entry::Table { gpa, .. } => table = gpa,
                Entry::Leaf { gpa, shift, .. } => {
                    return Some(GuestPhys(gpa | la & bits(0, shift - 1)));
                }
            }
        }
        None
    }

    fn inspect_ept(
        &self,
        r: &Regime,
        gpa: GuestPhys,
        entries: &mut Vec<EntryRead>,
    ) -> Option<HostPhys> {
        let Some(eptp) = r.ept else { return Some(HostPhys(gpa.0)) };
        let (path, _, page) =
            self.ept_read(r, eptp, gpa, Purpose::physical(AccessKind::Read)).ok()?;
        let levels = (1..=eptp.levels()).rev();
        let read = path.at[..path.len].iter().zip(levels);
        entries.extend(read.map(|(&(at, value), level)| EntryRead { ept: true, level, at, value }));
        Some(HostPhys(page | gpa.offset()))
    }
}
