//! The Xen 4.17 guest ABI as host-testable logic.
//!
//! Reading order: [`host_services`] (what is asked of the layer below), [`abi`] (the structures),
//! [`domain`] and [`vcpu`] (the state), [`scheduler`], [`event`] (event channels and upcalls), [`hypercall`] and
//! its sub-modules, then `console`, the emulated devices [`vlapic`], [`vioapic`], [`vuart`], and [`build`].
//!
//! Invariants:
//! - All state is in [`Xen`]. Time is the TSC, passed in as `now`; a guest's TSC equals it. What may
//!   take long asks for it again, [`HostServices::tsc`], to stop at the end of the slice and go on
//!   later.
//! - Every address, frame, port, reference and length a guest names is checked here.
//! - A machine frame that a guest maps, or the hypervisor uses on a guest's behalf, holds a
//!   reference in the frame table for exactly as long.
//! - What must happen outside is left in [`Xen::actions`], in order.

pub mod abi;
pub mod build;
pub mod console;
pub mod cpu_policy;
pub mod cpuid;
pub mod devices;
pub mod domain;
pub mod event;
pub mod frames;
pub mod grant_table;
pub mod guest_memory;
pub mod host_services;
pub mod hypercall;
pub mod lifecycle;
pub mod line_buffer;
pub mod log;
pub mod pc;
pub mod refused;
pub mod scheduler;
pub mod table;
#[cfg(test)]
mod testing;
#[cfg(test)]
mod tests;
pub mod time;
pub mod vcpu;
pub mod vioapic;
pub mod vlapic;
pub mod vuart;
pub mod wakeup;

use abi::Errno;
pub use abi::Width;
pub use abi::hvm_context::CpuState;
use alloc::{collections::BTreeMap, collections::VecDeque, string::String, vec::Vec};
pub use cpu_policy::CpuPolicy;
pub use domain::{Domain, DomainConfig, ShutdownReason, Toolstack};
pub use guest_memory::Paging;
pub use host_services::{DomId, HostServices, Mapping, P2mKind};
pub use hypercall::Flow;
pub use log::Log;
pub use refused::Refused;
pub use scheduler::{Scheduler, Share};
pub use time::Clock;
pub use vcpu::Vcpu;
pub use wakeup::Event;

/// An order of the ABI logic to the bare-metal part.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Action {
    /// Start a vCPU in real mode at `vector << 12` (a start-up IPI).
    StartVcpu {
        /// The domain of the vCPU.
        dom: DomId,
        /// The vCPU.
        vcpu: u32,
        /// The start-up vector.
        vector: u8,
    },
    /// Put a vCPU's registers into their INIT state; it is down until started.
    ResetVcpu {
        /// The domain of the vCPU.
        dom: DomId,
        /// The vCPU.
        vcpu: u32,
    },
    /// A key is pressed that is for the hypervisor.
    Key(u8),
    /// Stores of a domain's processors are written down from now on, or no more.
    LogDirty(DomId),
    /// Dom0's tools have created a domain: it needs what vCPUs share below.
    Created(DomId),
    /// A domain of dom0's tools has its vCPUs now.
    VcpusCreated(DomId),
    /// Copy the registers of a domain's vCPUs that are up to their records.
    SaveVcpus(DomId),
    /// Start a vCPU with the registers of its record.
    LoadVcpu {
        /// The domain of the vCPU.
        dom: DomId,
        /// The vCPU.
        vcpu: u32,
    },
    /// A domain has shut down; its memory stays until it is destroyed.
    Shutdown {
        /// The domain that has ended.
        dom: DomId,
        /// The reason for the end.
        reason: ShutdownReason,
    },
    /// A domain was destroyed and all it held is released: free what belongs to it below.
    Destroyed(DomId),
    /// A line for the physical console.
    Output {
        /// The domain that wrote the line.
        dom: DomId,
        /// The line, without its end and without control characters.
        line: String,
    },
    /// Output as it is, of the domain that a person types to, or that has a console of its own.
    Raw {
        /// The domain that wrote the bytes.
        dom: DomId,
        /// What it has written.
        bytes: Vec<u8>,
    },
    /// Dom0's I/O APIC pin was configured: do likewise with the physical pin, towards yourself.
    BindGsi {
        /// The pin's number.
        gsi: u32,
        /// True if masked now.
        masked: bool,
        /// True if level triggered.
        level: bool,
        /// True if active low.
        active_low: bool,
    },
    /// Dom0 has ended the level-triggered interrupt of this pin: let it interrupt again.
    EoiGsi(u32),
}

/// All state of the ABI.
#[derive(Debug, Clone)]
pub struct Xen {
    /// The relation of TSC and system time.
    pub clock: Clock,
    /// The time since 1970 at system time 0: seconds and nanoseconds.
    pub wallclock: (u64, u32),
    /// The hypervisor's own command line, for `XENVER_commandline`.
    pub commandline: String,
    /// The domains, dying ones included.
    pub domains: BTreeMap<DomId, Domain>,
    /// The orders to the bare-metal part, which drains the list after every call. A call leaves a
    /// bounded number: no more lines than `console_io` takes at a time, a few for each vCPU or pin.
    pub actions: Vec<Action>,
    /// The hypercalls that were refused because they do not exist.
    pub refused: Refused,
    /// Console input that dom0 has not read yet.
    pub console_input: VecDeque<u8>,
    /// Who is typed to.
    pub typing: console::Typing,
    /// The choice of the vCPU that runs.
    pub scheduler: Scheduler,
    /// The last lines on the console.
    pub log: Log,
    /// The processor of the machine.
    pub processor: CpuPolicy,
    /// The most domains: the hypervisor has memory for what so many hold.
    pub most_domains: usize,
    /// The number after that of the domain created last.
    next_domid: u16,
}

impl Xen {
    /// No domains; `wallclock` is seconds since 1970 at TSC 0.
    pub fn new(tsc_khz: u64, wallclock: u64) -> Self {
        Self {
            clock: Clock::new(tsc_khz),
            wallclock: (wallclock, 0),
            commandline: String::new(),
            domains: BTreeMap::new(),
            actions: Vec::new(),
            refused: Refused::default(),
            console_input: VecDeque::new(),
            typing: console::Typing::default(),
            scheduler: Scheduler::new(tsc_khz),
            log: Log::default(),
            processor: CpuPolicy::default(),
            most_domains: usize::MAX,
            next_domid: 0,
        }
    }

    /// The domain `id`; `-ESRCH` if there is none.
    pub fn domain(&self, id: DomId) -> Result<&Domain, Errno> {
        self.domains.get(&id).ok_or(Errno::Srch)
    }

    /// The domain `id`, to change.
    pub fn domain_mut(&mut self, id: DomId) -> Result<&mut Domain, Errno> {
        self.domains.get_mut(&id).ok_or(Errno::Srch)
    }

    /// The vCPU `vcpu` of `dom`; `-ENOENT` if there is none.
    pub fn vcpu(&self, dom: DomId, vcpu: u32) -> Result<&Vcpu, Errno> {
        self.domain(dom)?.vcpu(vcpu).ok_or(Errno::NoEnt)
    }

    /// The vCPU, to change.
    pub fn vcpu_mut(&mut self, dom: DomId, vcpu: u32) -> Result<&mut Vcpu, Errno> {
        self.domain_mut(dom)?.vcpu_mut(vcpu).ok_or(Errno::NoEnt)
    }
}
