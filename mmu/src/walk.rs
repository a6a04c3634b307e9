//! The architectural walk: reads every entry from memory, decides every fault, sets the accessed
//! and dirty flags. SDM vol. 3, "4-Level Paging and 5-Level Paging" and its neighbours.

use crate::addr::{GuestPhys, HostPhys};
use crate::ept::Purpose;
use crate::mmu::Mmu;
use crate::paging::{A, D, Entry, P, Rights, bits};
use crate::regime::{Access, AccessKind, Fault, Mode, Regime};

/// One entry used.
#[derive(Clone, Copy)]
pub(crate) struct Step {
    pub(crate) level: u8,
    /// Where the entry is, before and after EPT.
    pub(crate) gpa: GuestPhys,
    pub(crate) at: HostPhys,
    value: u64,
    /// What this entry alone permits.
    pub(crate) rights: Rights,
}

/// A walk: once it has succeeded, the page found and what may be done there.
pub(crate) struct Walk {
    steps: [Step; 5],
    len: usize,
    /// The guest-physical address reached.
    pub(crate) gpa: GuestPhys,
    pub(crate) rights: Rights,
    pub(crate) dirty: bool,
}

/// Where a walk begins: at the root, or at the deepest table that is cached on the way.
#[derive(Clone, Copy)]
pub(crate) struct Start {
    pub(crate) level: u8,
    /// The table's guest-physical address.
    pub(crate) table: u64,
    /// Over the levels above.
    pub(crate) rights: Rights,
}

impl Walk {
    pub(crate) fn new() -> Walk {
        let none =
            Step { level: 0, gpa: GuestPhys(0), at: HostPhys(0), value: 0, rights: Rights::ALL };
        Walk { steps: [none; 5], len: 0, gpa: GuestPhys(0), rights: Rights::ALL, dirty: true }
    }

    pub(crate) fn steps(&self) -> &[Step] {
        &self.steps[..self.len]
    }

    fn push(&mut self, s: Step) {
        self.rights = self.rights.and(s.rights);
        self.steps[self.len] = s;
        self.len += 1;
    }
}

impl Mmu {
    /// Walks guest paging for `a` at `la`, with all its effects on the paging structures, into `w`.
    /// The final guest-physical address is not translated by EPT yet.
    pub(crate) fn walk(
        &mut self,
        r: &Regime,
        la: u64,
        a: Access,
        start: Option<Start>,
        w: &mut Walk,
    ) -> Result<(), Fault> {
        self.stats.walks += 1;
        let start = start.or_else(|| root(r, la)).ok_or_else(|| r.page_fault(a, false, false))?;
        (w.rights, w.len) = (start.rights, 0);
        self.walk_tables(r, la, a, start, w)?;
        if !r.permits(w.rights, a) {
            return Err(r.page_fault(a, true, false));
        }
        self.mark(r, la, w, a.kind == AccessKind::Write)
    }

    /// Reads the entries down to the leaf.
    fn walk_tables(
        &mut self,
        r: &Regime,
        la: u64,
        a: Access,
        start: Start,
        w: &mut Walk,
    ) -> Result<(), Fault> {
        let mut table = start.table;
        for level in (1..=start.level).rev() {
            let gpa = GuestPhys(table | r.entry_offset(la, level));
            let at = self.table_entry(r, gpa, false, la)?;
            let value = self.ram.entry(at, r.entry_bytes());
            let (rights, leaf) = match r.decode(level, value) {
                Entry::NotPresent => return Err(r.page_fault(a, false, false)),
                Entry::Reserved => return Err(r.page_fault(a, true, true)),
                Entry::Table { gpa, rights } => {
                    table = gpa;
                    (rights, false)
                }
                Entry::Leaf { gpa, shift, rights } => {
                    w.gpa = GuestPhys(gpa | la & bits(0, shift - 1));
                    (rights, true)
                }
            };
            w.push(Step { level, gpa, at, value, rights });
            if leaf {
                break;
            }
        }
        Ok(())
    }

    /// Where the entry at `gpa` is; for setting its flags if `update`.
    #[inline]
    fn table_entry(
        &mut self,
        r: &Regime,
        gpa: GuestPhys,
        update: bool,
        la: u64,
    ) -> Result<HostPhys, Fault> {
        let Some(eptp) = r.ept else { return Ok(HostPhys(gpa.0)) };
        let m = self.ept(r, eptp, gpa, Purpose::table(eptp, update, la));
        if let Err(Fault::EptViolation { .. }) = m {
            // A violation invalidates what was cached for the address, and shadow pages may have
            // been reached through it.
            self.flush_ept(Some(eptp));
        }
        m.map(|m| HostPhys(m.page | gpa.offset()))
    }

    /// Sets the accessed flags, and the dirty flag of the leaf if `write`.
    fn mark(&mut self, r: &Regime, la: u64, w: &mut Walk, write: bool) -> Result<(), Fault> {
        for i in 0..w.len {
            let s = w.steps[i];
            let leaf = i + 1 == w.len;
            let flags = A | if leaf && write { D } else { 0 };
            if s.value & flags != flags {
                let at = self.table_entry(r, s.gpa, true, la)?;
                self.ram.set_entry(
                    at,
                    r.entry_bytes(),
                    self.ram.entry(at, r.entry_bytes()) | flags,
                );
                self.marked_entry(at, r.entry_bytes());
            }
            w.dirty = (s.value | flags) & D != 0;
        }
        Ok(())
    }
}

/// The start at the root; None if its PDPTE register is not present.
pub(crate) fn root(r: &Regime, la: u64) -> Option<Start> {
    let table = match r.mode {
        Mode::Pae => {
            let e = r.pdpte[(la >> 30 & 3) as usize];
            (e & P != 0).then_some(e & bits(12, 51))?
        }
        Mode::Bits32 { .. } => r.root & bits(12, 31),
        _ => r.root & bits(12, 51),
    };
    Some(Start { level: r.top(), table, rights: Rights::ALL })
}
