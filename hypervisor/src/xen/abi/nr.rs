//! Hypercall numbers, sub-operations and flag bits, by header.

pub use super::control_nr as ctl;

/// `xen.h`: hypercall numbers.
#[expect(missing_docs, reason = "the names are those of xen.h")]
pub mod hypercall {
    pub const SET_TRAP_TABLE: u32 = 0;
    pub const PLATFORM_OP: u32 = 7;
    pub const MEMORY_OP: u32 = 12;
    pub const MULTICALL: u32 = 13;
    pub const SET_TIMER_OP: u32 = 15;
    pub const XEN_VERSION: u32 = 17;
    pub const CONSOLE_IO: u32 = 18;
    pub const GRANT_TABLE_OP: u32 = 20;
    pub const VM_ASSIST: u32 = 21;
    pub const IRET: u32 = 23;
    pub const VCPU_OP: u32 = 24;
    pub const XSM_OP: u32 = 27;
    pub const SCHED_OP: u32 = 29;
    pub const EVENT_CHANNEL_OP: u32 = 32;
    pub const PHYSDEV_OP: u32 = 33;
    pub const HVM_OP: u32 = 34;
    pub const SYSCTL: u32 = 35;
    pub const DOMCTL: u32 = 36;
    pub const KEXEC_OP: u32 = 37;
    pub const ARGO_OP: u32 = 39;
    pub const XENPMU_OP: u32 = 40;
    pub const DM_OP: u32 = 41;
    pub const HYPFS_OP: u32 = 42;
    pub const MCA: u32 = 48;
    /// Numbers at and above this one have never existed.
    pub const LIMIT: u32 = 64;
}

/// `xen.h`: domain identifiers with a meaning of their own.
#[expect(missing_docs, reason = "the names are those of xen.h")]
pub mod domid {
    pub const FIRST_RESERVED: u16 = 0x7FF0;
    pub const SELF: u16 = 0x7FF0;
    pub const IO: u16 = 0x7FF1;
    pub const XEN: u16 = 0x7FF2;
    pub const INVALID: u16 = 0x7FF4;
}

/// `event_channel.h`.
#[expect(missing_docs, reason = "the names are those of event_channel.h")]
pub mod evtchn {
    pub const BIND_INTERDOMAIN: u64 = 0;
    pub const BIND_VIRQ: u64 = 1;
    pub const BIND_PIRQ: u64 = 2;
    pub const CLOSE: u64 = 3;
    pub const SEND: u64 = 4;
    pub const STATUS: u64 = 5;
    pub const ALLOC_UNBOUND: u64 = 6;
    pub const BIND_IPI: u64 = 7;
    pub const BIND_VCPU: u64 = 8;
    pub const UNMASK: u64 = 9;
    pub const RESET: u64 = 10;
    pub const INIT_CONTROL: u64 = 11;
    pub const EXPAND_ARRAY: u64 = 12;
    pub const SET_PRIORITY: u64 = 13;
    pub const STAT_CLOSED: u32 = 0;
    pub const STAT_UNBOUND: u32 = 1;
    pub const STAT_INTERDOMAIN: u32 = 2;
    pub const STAT_VIRQ: u32 = 4;
    pub const STAT_IPI: u32 = 5;
}

/// `xen.h`: virtual interrupts.
#[expect(missing_docs, reason = "the names are those of xen.h")]
pub mod virq {
    pub const TIMER: u32 = 0;
    pub const DEBUG: u32 = 1;
    pub const CONSOLE: u32 = 2;
    pub const DOM_EXC: u32 = 3;
    pub const TBUF: u32 = 4;
    pub const DEBUGGER: u32 = 6;
    pub const XENOPROF: u32 = 7;
    pub const CON_RING: u32 = 8;
    pub const PCPU_STATE: u32 = 9;
    pub const MEM_EVENT: u32 = 10;
    pub const ARGO: u32 = 11;
    pub const ENOMEM: u32 = 12;
    pub const XENPMU: u32 = 13;
    /// The number of virtual interrupts, architectural ones (16–23) included.
    pub const COUNT: usize = 24;
}

/// `memory.h`.
#[expect(missing_docs, reason = "the names are those of memory.h")]
pub mod mem {
    pub const INCREASE_RESERVATION: u64 = 0;
    pub const DECREASE_RESERVATION: u64 = 1;
    pub const MAXIMUM_RAM_PAGE: u64 = 2;
    pub const CURRENT_RESERVATION: u64 = 3;
    pub const MAXIMUM_RESERVATION: u64 = 4;
    pub const POPULATE_PHYSMAP: u64 = 6;
    pub const ADD_TO_PHYSMAP: u64 = 7;
    pub const MEMORY_MAP: u64 = 9;
    pub const MACHINE_MEMORY_MAP: u64 = 10;
    pub const SET_MEMORY_MAP: u64 = 13;
    pub const MAXIMUM_GPFN: u64 = 14;
    pub const REMOVE_FROM_PHYSMAP: u64 = 15;
    pub const SET_POD_TARGET: u64 = 16;
    pub const GET_POD_TARGET: u64 = 17;
    pub const GET_SHARING_FREED_PAGES: u64 = 18;
    pub const GET_SHARING_SHARED_PAGES: u64 = 19;
    pub const ADD_TO_PHYSMAP_BATCH: u64 = 23;
    pub const CLAIM_PAGES: u64 = 24;
    pub const GET_VNUMAINFO: u64 = 26;
    pub const ACQUIRE_RESOURCE: u64 = 28;
    pub const RESOURCE_IOREQ_SERVER: u16 = 0;
    pub const RESOURCE_GRANT_TABLE: u16 = 1;
    /// Resource identifier of the grant table itself, version 1 and 2.
    pub const RESOURCE_GRANT_TABLE_SHARED: u32 = 0;
    pub const SPACE_SHARED_INFO: u32 = 0;
    pub const SPACE_GRANT_TABLE: u32 = 1;
    pub const SPACE_GMFN: u32 = 2;
    pub const SPACE_GMFN_FOREIGN: u32 = 4;
    /// `idx` bit that selects the status frames of a version 2 grant table.
    pub const GRANT_TABLE_STATUS: u64 = 0x8000_0000;
}

/// `grant_table.h`.
#[expect(missing_docs, reason = "the names are those of grant_table.h")]
pub mod gnt {
    pub const MAP_GRANT_REF: u64 = 0;
    pub const UNMAP_GRANT_REF: u64 = 1;
    pub const SETUP_TABLE: u64 = 2;
    pub const COPY: u64 = 5;
    pub const QUERY_SIZE: u64 = 6;
    pub const SET_VERSION: u64 = 8;
    pub const GET_VERSION: u64 = 10;
    pub const GTF_TYPE_MASK: u16 = 3;
    pub const GTF_PERMIT_ACCESS: u16 = 1;
    pub const GTF_READONLY: u16 = 1 << 2;
    pub const GTF_READING: u16 = 1 << 3;
    pub const GTF_WRITING: u16 = 1 << 4;
    pub const MAP_DEVICE: u32 = 1;
    pub const MAP_HOST: u32 = 1 << 1;
    pub const MAP_READONLY: u32 = 1 << 2;
    pub const MAP_CONTAINS_PTE: u32 = 1 << 4;
    pub const COPY_SOURCE_GREF: u16 = 1;
    pub const COPY_DEST_GREF: u16 = 2;
    pub const RESERVED_ENTRIES: u32 = 8;
}

/// `grant_table.h`: `GNTST_*`, the status field of every grant operation.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(i16)]
#[expect(missing_docs, reason = "the names are those of grant_table.h")]
pub enum GrantStatus {
    Okay = 0,
    GeneralError = -1,
    BadDomain = -2,
    BadGntref = -3,
    BadHandle = -4,
    BadVirtAddr = -5,
    BadDevAddr = -6,
    PermissionDenied = -8,
    BadPage = -9,
    BadCopyArg = -10,
    AddressTooBig = -11,
    Eagain = -12,
    NoSpace = -13,
}

/// `sched.h`.
#[expect(missing_docs, reason = "the names are those of sched.h")]
pub mod sched {
    pub const YIELD: u64 = 0;
    pub const BLOCK: u64 = 1;
    pub const SHUTDOWN: u64 = 2;
    pub const POLL: u64 = 3;
    pub const REMOTE_SHUTDOWN: u64 = 4;
    pub const SHUTDOWN_CODE: u64 = 5;
    pub const WATCHDOG: u64 = 6;
    pub const PIN_OVERRIDE: u64 = 7;
}

/// `vcpu.h`.
#[expect(missing_docs, reason = "the names are those of vcpu.h")]
pub mod vcpu {
    pub const INITIALISE: u64 = 0;
    pub const UP: u64 = 1;
    pub const DOWN: u64 = 2;
    pub const IS_UP: u64 = 3;
    pub const GET_RUNSTATE_INFO: u64 = 4;
    pub const REGISTER_RUNSTATE_MEMORY_AREA: u64 = 5;
    pub const SET_PERIODIC_TIMER: u64 = 6;
    pub const STOP_PERIODIC_TIMER: u64 = 7;
    pub const SET_SINGLESHOT_TIMER: u64 = 8;
    pub const STOP_SINGLESHOT_TIMER: u64 = 9;
    pub const REGISTER_VCPU_INFO: u64 = 10;
    pub const SEND_NMI: u64 = 11;
    pub const GET_PHYSID: u64 = 12;
    pub const REGISTER_VCPU_TIME_MEMORY_AREA: u64 = 13;
    /// `VCPU_SSHOTTMR_future`: fail with `-ETIME` when the time has passed.
    pub const SSHOTTMR_FUTURE: u32 = 1;
}

/// `hvm/dm_op.h`.
#[expect(missing_docs, reason = "the names are those of dm_op.h")]
pub mod dm {
    pub const CREATE_IOREQ_SERVER: u32 = 1;
    pub const GET_IOREQ_SERVER_INFO: u32 = 2;
    pub const MAP_IO_RANGE: u32 = 3;
    pub const UNMAP_IO_RANGE: u32 = 4;
    pub const SET_IOREQ_SERVER_STATE: u32 = 5;
    pub const DESTROY_IOREQ_SERVER: u32 = 6;
    pub const TRACK_DIRTY_VRAM: u32 = 7;
    pub const SET_PCI_INTX_LEVEL: u32 = 8;
    pub const SET_ISA_IRQ_LEVEL: u32 = 9;
    pub const SET_PCI_LINK_ROUTE: u32 = 10;
    pub const MODIFIED_MEMORY: u32 = 11;
    pub const SET_MEM_TYPE: u32 = 12;
    pub const INJECT_EVENT: u32 = 13;
    pub const INJECT_MSI: u32 = 14;
    pub const MAP_MEM_TYPE: u32 = 15;
    pub const REMOTE_SHUTDOWN: u32 = 16;
    pub const RELOCATE_MEMORY: u32 = 17;
    pub const PIN_MEMORY_CACHEATTR: u32 = 18;
    pub const SET_IRQ_LEVEL: u32 = 19;
    pub const NR_VCPUS: u32 = 20;
    /// `hvmmem_type_t`.
    pub const MEM_RAM_RW: u16 = 0;
    pub const MEM_RAM_RO: u16 = 1;
    pub const MEM_MMIO_DM: u16 = 2;
}

/// `hvm/hvm_op.h` and `hvm/params.h`.
#[expect(missing_docs, reason = "the names are those of hvm_op.h and params.h")]
pub mod hvm {
    pub const SET_PARAM: u64 = 0;
    pub const GET_PARAM: u64 = 1;
    pub const FLUSH_TLBS: u64 = 5;
    pub const PAGETABLE_DYING: u64 = 9;
    pub const GET_TIME: u64 = 10;
    pub const GET_MEM_TYPE: u64 = 15;
    pub const SET_EVTCHN_UPCALL_VECTOR: u64 = 23;
    pub const PARAM_CALLBACK_IRQ: usize = 0;
    pub const PARAM_STORE_PFN: usize = 1;
    pub const PARAM_STORE_EVTCHN: usize = 2;
    pub const PARAM_ACPI_IOPORTS_LOCATION: usize = 19;
    pub const PARAM_VM_GENERATION_ID_ADDR: usize = 34;
    pub const PARAM_CONSOLE_PFN: usize = 17;
    pub const PARAM_CONSOLE_EVTCHN: usize = 18;
    pub const NR_PARAMS: usize = 39;
}

/// `version.h` and `features.h`.
#[expect(missing_docs, reason = "the names are those of version.h and features.h")]
pub mod version {
    pub const VERSION: u64 = 0;
    pub const EXTRAVERSION: u64 = 1;
    pub const COMPILE_INFO: u64 = 2;
    pub const CAPABILITIES: u64 = 3;
    pub const CHANGESET: u64 = 4;
    pub const PLATFORM_PARAMETERS: u64 = 5;
    pub const GET_FEATURES: u64 = 6;
    pub const PAGESIZE: u64 = 7;
    pub const GUEST_HANDLE: u64 = 8;
    pub const COMMANDLINE: u64 = 9;
    pub const BUILD_ID: u64 = 10;
    pub const FEATURE_WRITABLE_PAGE_TABLES: u32 = 1 << 0;
    pub const FEATURE_AUTO_TRANSLATED: u32 = 1 << 2;
    pub const FEATURE_CALLBACK_VECTOR: u32 = 1 << 8;
    pub const FEATURE_SAFE_PVCLOCK: u32 = 1 << 9;
    pub const FEATURE_DOM0: u32 = 1 << 11;
    pub const FEATURE_MEMORY_OP_VNODE: u32 = 1 << 13;
    pub const FEATURE_NOT_DIRECT_MAPPED: u32 = 1 << 16;
}

/// `platform.h`.
#[expect(missing_docs, reason = "the names are those of platform.h")]
pub mod platform {
    pub const INTERFACE_VERSION: u32 = 0x0300_0001;
    pub const SETTIME64: u32 = 62;
}

/// `console_io` commands.
#[expect(missing_docs, reason = "the names are those of xen.h")]
pub mod console {
    pub const WRITE: u64 = 0;
    pub const READ: u64 = 1;
}
