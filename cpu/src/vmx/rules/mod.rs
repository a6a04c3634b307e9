//! What must hold at a VM entry: tables of rules, each a sentence and a predicate, in the order of
//! SDM vol. 3, "VM Entries". The sentence is for the user; a guest sees only the kind of failure.

mod controls;
mod event;
mod guest;
mod host;
mod segments;
#[cfg(test)]
mod tests;

use super::controls::proc;
use crate::model::Model;
use crate::state::control::{CR0_PE, EFER_LMA, EFER_LME, EFER_NXE, EFER_SCE};
use crate::state::vmx::field::{Field, group};
use crate::state::vmx::vmcs::Vmcs;

/// A rule on the VMCS and the processor.
#[derive(Clone, Copy)]
pub struct Rule {
    /// What has to be so.
    pub says: &'static str,
    /// Whether the rule holds.
    pub holds: fn(&Check) -> bool,
}

/// `"sentence" => predicate;` lines as a table of [`Rule`]s.
macro_rules! rules {
    ($($says:literal => $holds:expr;)*) => {
        &[$($crate::vmx::rules::Rule { says: $says, holds: $holds }),*]
    };
}
pub(super) use rules;

/// What rules look at.
pub struct Check<'a> {
    /// The VMCS.
    pub vmcs: &'a Vmcs,
    /// The processor's model.
    pub model: &'a Model,
    /// EFER.LMA of the processor that executes the entry.
    pub lma: bool,
    /// Bits 7:4 of the virtual TPR, if a rule needs them.
    pub vtpr_class: Option<u64>,
    /// The first word of the VMCS that the link pointer names.
    pub link_revision: Option<u32>,
    /// The PDPTEs that the entry would load, with PAE paging.
    pub pdptes: Option<[u64; 4]>,
}

/// How an entry fails.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// VMfailValid with this error number: 7 controls, 8 host state.
    Fail(u32),
    /// A VM exit "invalid guest state" with this qualification.
    Guest(u64),
}

/// A rule that does not hold.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Broken {
    /// How the entry fails.
    pub kind: Kind,
    /// The sentence of the rule.
    pub says: &'static str,
    /// The segment register it is about.
    pub segment: Option<&'static str>,
}

impl Check<'_> {
    /// The value of a field.
    #[inline]
    pub fn get(&self, f: Field) -> u64 {
        self.vmcs[f]
    }

    /// Whether a pin-based control is 1.
    pub fn pin(&self, bit: u64) -> bool {
        self.get(Field::PinControls) & bit != 0
    }

    /// Whether a primary control is 1.
    pub fn proc(&self, bit: u64) -> bool {
        self.get(Field::ProcControls) & bit != 0
    }

    /// Whether a secondary control is 1 and in force.
    pub fn proc2(&self, bit: u64) -> bool {
        self.proc(proc::SECONDARY) && self.get(Field::ProcControls2) & bit != 0
    }

    /// Whether a VM-exit control is 1.
    pub fn exit(&self, bit: u64) -> bool {
        self.get(Field::ExitControls) & bit != 0
    }

    /// Whether a VM-entry control is 1.
    pub fn entry(&self, bit: u64) -> bool {
        self.get(Field::EntryControls) & bit != 0
    }

    /// Whether `f` holds an address that is 4 KiB-aligned and not too wide.
    pub fn page(&self, f: Field) -> bool {
        self.get(f) & 0xfff == 0 && self.narrow(self.get(f))
    }

    /// Whether a physical address is not too wide.
    pub fn narrow(&self, p: u64) -> bool {
        p >> self.model.maxphys == 0
    }

    /// Whether an MSR list at `address` with `count` entries can be reached.
    pub fn list(&self, address: Field, count: Field) -> bool {
        let (at, n) = (self.get(address), self.get(count));
        let last = at.checked_add(n.wrapping_mul(16).wrapping_sub(1));
        n == 0 || (at & 15 == 0 && self.narrow(at) && last.is_some_and(|l| self.narrow(l)))
    }

    /// CR0.PE of the guest.
    pub fn protected(&self) -> bool {
        self.get(Field::GuestCr0) & CR0_PE != 0
    }
}

/// Whether `la` is canonical. The processor has no 5-level paging, so that CR4 has no say.
pub fn canonical(la: u64) -> bool {
    ((la << 16) as i64 >> 16) as u64 == la
}

/// Whether all eight bytes are memory types. SDM vol. 3, "IA32_PAT MSR".
pub fn pat(v: u64) -> bool {
    v.to_le_bytes().iter().all(|b| matches!(b, 0 | 1 | 4..=7))
}

/// Whether the bits that EFER does not have are 0.
pub fn efer_bits(v: u64) -> bool {
    v & !(EFER_SCE | EFER_LME | EFER_LMA | EFER_NXE) == 0
}

fn first(table: &[Rule], c: &Check, kind: Kind) -> Result<(), Broken> {
    match table.iter().find(|r| !(r.holds)(c)) {
        Some(r) => Err(Broken { kind, says: r.says, segment: None }),
        None => Ok(()),
    }
}

/// Checks controls and host state; `groups` names what may have changed since they last held.
pub fn before_host(c: &Check, groups: u8) -> Result<(), Broken> {
    if groups & group::CONTROL != 0 {
        first(controls::RULES, c, Kind::Fail(7))?;
    }
    first(controls::ALWAYS, c, Kind::Fail(7))?;
    if c.get(Field::EntryInterruptionInfo) >> 31 & 1 != 0 {
        first(event::RULES, c, Kind::Fail(7))?;
    }
    if groups & group::HOST != 0 {
        first(host::RULES, c, Kind::Fail(8))?;
    }
    first(host::ALWAYS, c, Kind::Fail(8))
}

/// Checks guest state.
pub fn guest_state(c: &Check, groups: u8) -> Result<(), Broken> {
    if groups & group::REGISTERS != 0 {
        first(guest::REGISTERS, c, Kind::Guest(0))?;
    }
    if groups & group::SEGMENTS != 0 {
        segments::check(c)?;
    }
    if groups & group::RUNNING != 0 {
        first(guest::RUNNING, c, Kind::Guest(0))?;
    }
    if c.get(Field::EntryInterruptionInfo) >> 31 & 1 != 0 {
        first(event::GUEST, c, Kind::Guest(0))?;
    }
    if groups & group::REGISTERS != 0 {
        first(guest::LINK, c, Kind::Guest(4))?;
    }
    // PDPTEs may come from memory, so that they are looked at every time.
    first(guest::PDPTES, c, Kind::Guest(2))
}
