//! VMX. SDM vol. 3, part "Virtual Machine Extensions".
//!
//! Reading order: [`crate::state::vmx`] (the state, and what a VMCS is), [`controls`] (what this processor has),
//! `instructions`, [`rules`] and `entry` (VM entries), [`exit`] and [`reason`] (VM exits), `intercept`,
//! `cr` and `apic` (what exits or is changed in the guest), `hooks` (events).
//!
//! Invariants: `vmcs` holds the current VMCS from VMPTRLD to the next VMPTRLD, VMCLEAR or VMXOFF, and
//! its region in memory is stale meanwhile. `dirty` names every group of rules that may not hold any
//! more. Host and guest translations live side by side in the mmu, so that a transition flushes nothing.

mod apic;
pub mod cause;
pub mod controls;
mod cr;
pub(crate) mod entry;
pub mod exit;
mod hooks;
mod info;
pub(crate) mod instructions;
mod intercept;
mod lists;
pub mod reason;
pub mod rules;

pub(crate) use cause::Cause;
pub(crate) use cr::{Written, fixed_bits};

use crate::state::Vmx;
use crate::state::vmx::Active;
use crate::state::vmx::field::Field;
use crate::state::vmx::stats::Level;
use controls::{pin, proc, proc2};
use mmu::Eptp;

impl Vmx {
    /// The EPTP that translations go through now.
    pub fn eptp(&self) -> Option<Eptp> {
        self.proc2(proc2::EPT).then(|| Eptp(self.vmcs[Field::EptPointer]))
    }

    /// Who runs in VMX non-root operation, for the counts.
    pub(crate) fn level(&self) -> Level {
        match self.eptp() {
            Some(e) => Level::Ept(e.0),
            None => Level::Vmcs(self.vmcs.address),
        }
    }

    /// What RDTSC adds to the time-stamp counter.
    pub(crate) fn tsc_offset(&self) -> u64 {
        if self.proc(proc::TSC_OFFSET) { self.vmcs[Field::TscOffset] } else { 0 }
    }

    /// Whether NMI blocking is the virtual one.
    pub(crate) fn virtual_nmis(&self) -> bool {
        self.pin(pin::VIRTUAL_NMIS)
    }

    /// The controls of the current VMCS.
    fn read_controls(&self) -> Active {
        let v = &self.vmcs;
        let proc = v[Field::ProcControls];
        let proc2 = if proc & proc::SECONDARY != 0 { v[Field::ProcControls2] } else { 0 };
        Active { pin: v[Field::PinControls], proc, proc2 }
    }
}
