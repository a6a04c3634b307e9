//! Where the host wants a run to end, and what a run has met there. No guest sees any of it.

use super::Activity;
use super::vmx::field::Field;

/// Who has to run for a breakpoint to count.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub enum Who {
    /// Hypervisor and all guests.
    #[default]
    Any,
    /// VMX root operation, or no VMX.
    Root,
    /// A guest, by its EPT pointer.
    Ept(u64),
}

/// A breakpoint on an instruction.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct CodeBreakpoint {
    /// Linear address of the instruction.
    pub address: u64,
    /// Who has to run.
    pub who: Who,
}

/// What kind of address a breakpoint on data is at.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Space {
    /// Linear addresses of whoever runs.
    #[default]
    Linear,
    /// Physical addresses, by whatever linear address they are reached.
    Physical,
}

/// A breakpoint on data.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct DataBreakpoint {
    /// The first byte.
    pub first: u64,
    /// The last byte.
    pub last: u64,
    /// Loads count.
    pub loads: bool,
    /// Stores count.
    pub stores: bool,
    /// What its addresses are.
    pub space: Space,
    /// Who has to run.
    pub who: Who,
}

/// VM exits.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Exits {
    /// Exits for any reason.
    All,
    /// Those of a basic exit reason.
    Reason(u32),
}

/// Everything at which a run is to end.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Breakpoints {
    /// Instructions, before they run.
    pub code: Vec<CodeBreakpoint>,
    /// Accesses to data, after the instruction.
    pub data: Vec<DataBreakpoint>,
    /// VM exits, once they are made.
    pub exits: Option<Exits>,
    /// VMWRITEs to a field, after the instruction.
    pub vmwrites: Option<Field>,
}

impl Breakpoints {
    /// Page offsets of the instructions, sorted.
    pub fn offsets(&self) -> Vec<u16> {
        let mut all: Vec<u16> = self.code.iter().map(|b| (b.address & 0xfff) as u16).collect();
        all.sort_unstable();
        all.dedup();
        all
    }

    /// Numbers of the linear pages with data.
    pub fn pages(&self) -> Vec<u64> {
        self.pages_in(Space::Linear)
    }

    /// Numbers of the physical pages with data.
    pub fn frames(&self) -> Vec<u64> {
        self.pages_in(Space::Physical)
    }

    fn pages_in(&self, space: Space) -> Vec<u64> {
        let data = self.data.iter().filter(|b| b.space == space);
        let mut all: Vec<u64> = data.flat_map(|b| b.first >> 12..=b.last >> 12).collect();
        all.sort_unstable();
        all.dedup();
        all
    }
}

/// A breakpoint that a run has met.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Hit {
    /// The next instruction has a breakpoint.
    Code {
        /// Linear address of the instruction.
        address: u64,
    },
    /// The last instruction, or event, has accessed data.
    Data {
        /// Address of the first byte accessed that is watched.
        address: u64,
        /// It was a store.
        store: bool,
    },
    /// A VM exit was made.
    Exit {
        /// Basic exit reason.
        reason: u32,
    },
    /// The last instruction has written a field of the VMCS.
    Vmwrite {
        /// The field written.
        field: Field,
    },
}

/// How far a processor has come: what a step changes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Place {
    pub(crate) now: u64,
    pub(crate) rip: u64,
    pub(crate) guest: bool,
    pub(crate) activity: Activity,
}

/// Where a run is to end, and how far it has come.
#[derive(Clone, Debug, Default)]
pub struct Halts {
    /// Breakpoints that end runs.
    pub(crate) at: Breakpoints,
    /// Somebody debugs: steps are counted, and there may be breakpoints. Nothing else below is looked at before.
    pub(crate) active: bool,
    /// Where the step under way began.
    pub(crate) from: Place,
    /// There are breakpoints on data at linear addresses.
    pub(crate) watching: bool,
    /// After each instruction, or event.
    pub(crate) step: bool,
    /// A step is done.
    pub(crate) stepped: bool,
    /// The events of the boundary at which the last run ended have been served.
    pub(crate) served: bool,
    /// The breakpoint that was met.
    pub(crate) hit: Option<Hit>,
    /// The last breakpoint on an instruction that was met: when, and where. It is not met again there.
    pub(crate) told: Option<(u64, u64)>,
    /// Steps that took no time, since the last that did.
    pub(crate) steps: u32,
}
