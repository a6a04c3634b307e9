//! A domain's state as plain data.

use super::abi::{Errno, Width, layout::E820Entry, layout::TscInfo, nr};
use super::cpu_policy::CpuPolicy;
use super::grant_table::GrantTable;
use super::host_services::DomId;
use super::line_buffer::LineBuffer;
use super::pc::Pc;
use super::scheduler::{Account, Share};
use super::table::Table;
use super::vcpu::Vcpu;
use super::vioapic::Vioapic;
use super::vuart::Vuart;
use alloc::{boxed::Box, format, string::String, vec::Vec};

/// The connection of an event channel port.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum PortState {
    /// Free to be allocated.
    #[default]
    Closed,
    /// Waits for `remote` to bind.
    Unbound {
        /// The only domain that may bind.
        remote: DomId,
    },
    /// Connected to another domain's port (or to another port of the same domain).
    Interdomain {
        /// The domain at the other end.
        dom: DomId,
        /// The peer's port.
        port: u32,
    },
    /// Raised by the hypervisor.
    Virq(u32),
    /// Raised by the domain's own vCPUs.
    Ipi,
}

/// One event channel.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Channel {
    /// The channel's connection.
    pub state: PortState,
    /// The vCPU it notifies.
    pub vcpu: u32,
}

/// The description of a domain to create.
#[derive(Debug, Clone, Default)]
pub struct DomainConfig {
    /// The domain's name, for messages.
    pub name: String,
    /// Sees the platform and may manage other domains; at most one, and the first: domain 0.
    pub privileged: bool,
    /// The number of vCPUs, 1 to [`MAX_VCPUS`].
    pub vcpus: u32,
    /// The most pages it may own.
    pub max_pages: u64,
    /// UUID.
    pub handle: [u8; 16],
    /// The tools' part, for a domain that they create.
    pub toolstack: Toolstack,
    /// Its share of the processor.
    pub share: Share,
}

/// The most vCPUs a domain may have: those that fit the page of `shared_info`.
pub const MAX_VCPUS: u32 = nr_vcpus();

const fn nr_vcpus() -> u32 {
    super::abi::layout::shared_info::LEGACY_VCPUS as u32
}

/// The most of the hypervisor's heap that a domain takes, in bytes, when every table of its is full:
/// 4096 ports, 32768 grants in use, 4096 mappings of grants, 32 vCPUs with 128 ports polled each, the
/// console's line, what its COM1 has not read, and 8 device models with 256 ranges of each kind.
pub const HEAP: u64 = 1 << 20;

/// The reason why a domain ended: `sched.h`'s `SHUTDOWN_*`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[expect(missing_docs, reason = "the names are those of sched.h")]
pub enum ShutdownReason {
    Poweroff,
    Reboot,
    Suspend,
    Crash,
    Watchdog,
    SoftReset,
}

impl ShutdownReason {
    /// Decodes a guest's word; the values above the last are invalid.
    pub fn from_word(word: u32) -> Result<Self, Errno> {
        use ShutdownReason as R;
        const ALL: [R; 6] =
            [R::Poweroff, R::Reboot, R::Suspend, R::Crash, R::Watchdog, R::SoftReset];
        ALL.get(word as usize).copied().ok_or(Errno::Inval)
    }
}

/// What dom0's tools have said of a domain, beside what it may have.
#[derive(Debug, Clone, Default)]
pub struct Toolstack {
    /// Dom0's tools have created the domain, not the boot loader's modules.
    pub created: bool,
    /// The domain has run: the description of its processor stays.
    pub started: bool,
    /// The parts of a PC that the hypervisor emulates.
    pub emulation_flags: u32,
    /// The description of its processor; the machine's own, within limits, if there is none.
    pub policy: Option<CpuPolicy>,
    /// The treatment of its time-stamp counter.
    pub tsc: TscInfo,
    /// The bytes of memory for its tables, which is only remembered.
    pub paging_pool: u64,
    /// The seconds by which its wall clock differs.
    pub time_offset: i32,
    /// The port by which the tools learn that it has suspended.
    pub suspend_port: u32,
    /// What it stores to is written down.
    pub log_dirty: bool,
    /// How far a call has got that reads the log: the next frame, and the dirty ones before.
    pub logged: (u64, u32),
}

/// The state of one domain.
#[derive(Debug, Clone)]
pub struct Domain {
    /// The domain's number.
    pub id: DomId,
    /// The domain's name, for messages.
    pub name: String,
    /// The domain's UUID.
    pub handle: [u8; 16],
    /// True for dom0.
    pub privileged: bool,
    /// The virtual processors.
    pub vcpus: Vec<Vcpu>,
    /// How many there are, or will be once dom0's tools have made them.
    pub max_vcpus: u32,
    /// What dom0's tools have said of a domain that they created.
    pub toolstack: Toolstack,
    /// The most ports it may have, port 0 counted.
    pub max_ports: u32,
    /// The highest frame that it ever had anything at.
    pub max_gfn: u64,
    /// The most it may own.
    pub max_pages: u64,
    /// The pages, its own among them, that its tools have claimed.
    pub claimed: u64,
    /// The machine frame of its `shared_info`.
    pub shared_info: u64,
    /// The guest frame at which the domain has mapped that frame, all-ones before.
    pub shared_info_gfn: u64,
    /// The layout of its `shared_info`.
    pub width: Width,
    /// The event channels, by port; as many as `shared_info` has bits for.
    pub channels: Table<Channel>,
    /// The domain's grant table, and its mappings of others' grants.
    pub grants: GrantTable,
    /// HVM parameters.
    pub params: [u64; nr::hvm::NR_PARAMS],
    /// The use of the processor, and the share that it is to have.
    pub account: Account,
    /// `domctl pausedomain` nesting.
    pub pause_count: u32,
    /// Set once it has shut down.
    pub shutdown: Option<ShutdownReason>,
    /// Set once it is being destroyed.
    pub dying: bool,
    /// The frames below this one have been unmapped by its destruction.
    pub unmapped: u64,
    /// The answer to `XENMEM_memory_map`.
    pub memory_map: Vec<E820Entry>,
    /// The console line being written by `console_io`.
    pub console: LineBuffer,
    /// Its output goes where nobody else's goes, and what is typed there comes to it alone.
    pub own_console: bool,
    /// The domain's I/O APIC.
    pub ioapic: Vioapic,
    /// The domain's COM1, where it does not see the platform's.
    pub uart: Option<Vuart>,
    /// The emulated part of its PC, if it is an HVM domain.
    pub pc: Option<Box<Pc>>,
}

impl Domain {
    /// The vCPU `id`.
    pub fn vcpu(&self, id: u32) -> Option<&Vcpu> {
        self.vcpus.get(id as usize)
    }

    /// The vCPU `id`, to change.
    pub fn vcpu_mut(&mut self, id: u32) -> Option<&mut Vcpu> {
        self.vcpus.get_mut(id as usize)
    }

    /// The channel at `port`; port 0 is never valid.
    pub fn channel(&self, port: u32) -> Result<&Channel, Errno> {
        if port == 0 {
            return Err(Errno::Inval);
        }
        self.channels.get(port as usize).ok_or(Errno::Inval)
    }

    /// What it holds beside memory, in words.
    pub fn holds(&self) -> String {
        let ports = self.channels.used().count();
        let lent = self.grants.active.used().filter(|entry| entry.in_use()).count();
        let borrowed = self.grants.mapped.used().count();
        format!("{ports} event channels, {lent} of its grants in use, {borrowed} of others' mapped")
    }

    /// True while the domain exists for others: not shut down, not dying.
    pub fn alive(&self) -> bool {
        !self.dying && self.shutdown.is_none()
    }
}
