//! `domctl.h` and `sysctl.h`, interface version 15h of Xen 4.17: commands and flag bits.
#![expect(missing_docs, reason = "the names are those of domctl.h and sysctl.h")]

pub const INTERFACE_VERSION: u32 = 0x15;

pub const DOM_CREATE: u32 = 1;
pub const DOM_DESTROY: u32 = 2;
pub const DOM_PAUSE: u32 = 3;
pub const DOM_UNPAUSE: u32 = 4;
pub const DOM_GETINFO: u32 = 5;
pub const DOM_SET_VCPU_AFFINITY: u32 = 9;
pub const DOM_SHADOW_OP: u32 = 10;
pub const DOM_MAX_MEM: u32 = 11;
pub const DOM_SET_VCPU_CONTEXT: u32 = 12;
pub const DOM_GET_VCPU_CONTEXT: u32 = 13;
pub const DOM_GET_VCPU_INFO: u32 = 14;
pub const DOM_MAX_VCPUS: u32 = 15;
pub const DOM_SCHEDULER_OP: u32 = 16;
pub const DOM_SET_HANDLE: u32 = 17;
pub const DOM_SET_TIME_OFFSET: u32 = 24;
pub const DOM_GET_VCPU_AFFINITY: u32 = 25;
pub const DOM_RESUME: u32 = 27;
pub const DOM_SEND_TRIGGER: u32 = 28;
pub const DOM_SUBSCRIBE: u32 = 29;
pub const DOM_GET_HVM_CONTEXT: u32 = 33;
pub const DOM_SET_HVM_CONTEXT: u32 = 34;
pub const DOM_GET_HVM_CONTEXT_PARTIAL: u32 = 55;
pub const DOM_GET_TSC_INFO: u32 = 59;
pub const DOM_SET_TSC_INFO: u32 = 60;
pub const DOM_GET_PAGE_FRAME_INFO: u32 = 61;
pub const DOM_SET_NODE_AFFINITY: u32 = 68;
pub const DOM_GET_NODE_AFFINITY: u32 = 69;
pub const DOM_GET_CPU_POLICY: u32 = 82;
pub const DOM_SET_CPU_POLICY: u32 = 83;
pub const DOM_GET_PAGING_MEMPOOL_SIZE: u32 = 85;
pub const DOM_SET_PAGING_MEMPOOL_SIZE: u32 = 86;

/// `XEN_DOMCTL_CDF_*`.
pub const CDF_HVM: u32 = 1 << 0;
pub const CDF_HAP: u32 = 1 << 1;
pub const CDF_S3_INTEGRITY: u32 = 1 << 2;
pub const CDF_OOS_OFF: u32 = 1 << 3;
pub const CDF_XS_DOMAIN: u32 = 1 << 4;
pub const CDF_IOMMU: u32 = 1 << 5;
pub const CDF_NESTED_VIRT: u32 = 1 << 6;
pub const CDF_VPMU: u32 = 1 << 7;
/// `XEN_X86_EMU_*`: the parts of a PC that a domain has.
pub const EMU_LAPIC: u32 = 1 << 0;
pub const EMU_USE_PIRQ: u32 = 1 << 9;
/// What a PC has: local and I/O APIC, HPET, power management, clock, 8259A, VGA, IOMMU, timer.
pub const EMU_PC: u32 = 0x1FF;
/// `XEN_X86_MSR_RELAXED`.
pub const MSR_RELAXED: u32 = 1 << 0;
/// `XEN_VCPUAFFINITY_*`.
pub const AFFINITY_HARD: u32 = 1 << 0;
pub const AFFINITY_SOFT: u32 = 1 << 1;
pub const AFFINITY_FORCE: u32 = 1 << 2;
/// `XEN_DOMCTL_SENDTRIGGER_*`.
pub const TRIGGER_NMI: u32 = 0;
pub const TRIGGER_POWER: u32 = 3;
pub const TRIGGER_SLEEP: u32 = 4;
/// `XEN_DOMCTL_PFINFO_*`: an ordinary page, and one that is not there.
pub const PFINFO_NOTAB: u64 = 0;
pub const PFINFO_XTAB: u64 = 0xF << 28;
/// `XEN_DOMCTL_SHADOW_OP_*`.
pub const SHADOW_OFF: u32 = 0;
pub const SHADOW_ENABLE_LOGDIRTY: u32 = 2;
pub const SHADOW_CLEAN: u32 = 11;
pub const SHADOW_PEEK: u32 = 12;
pub const SHADOW_GET_ALLOCATION: u32 = 30;
pub const SHADOW_SET_ALLOCATION: u32 = 31;

pub const SYS_READCONSOLE: u32 = 1;
pub const SYS_PHYSINFO: u32 = 3;
pub const SYS_SCHED_ID: u32 = 4;
pub const SYS_GETDOMAININFOLIST: u32 = 6;
pub const SYS_DEBUG_KEYS: u32 = 7;
pub const SYS_GETCPUINFO: u32 = 8;
pub const SYS_AVAILHEAP: u32 = 9;
pub const SYS_CPUTOPOINFO: u32 = 16;
pub const SYS_NUMAINFO: u32 = 17;
pub const SYS_CPUPOOL_OP: u32 = 18;
pub const SYS_SCHEDULER_OP: u32 = 19;
pub const SYS_PSR_CMT_OP: u32 = 21;
pub const SYS_PCITOPOINFO: u32 = 22;
pub const SYS_PSR_ALLOC: u32 = 23;
pub const SYS_CPU_LEVELLING_CAPS: u32 = 25;
pub const SYS_CPU_FEATURESET: u32 = 26;
pub const SYS_CPU_POLICY: u32 = 29;

/// `XEN_INVALID_DEV`: the node of a PCI function that is not known.
pub const INVALID_DEV: u32 = u32::MAX - 1;

/// `XEN_SYSCTL_CPUPOOL_OP_*`.
pub const POOL_CREATE: u32 = 1;
pub const POOL_DESTROY: u32 = 2;
pub const POOL_INFO: u32 = 3;
pub const POOL_ADD_CPU: u32 = 4;
pub const POOL_REMOVE_CPU: u32 = 5;
pub const POOL_MOVE_DOMAIN: u32 = 6;
pub const POOL_FREE_INFO: u32 = 7;
/// `XEN_SYSCTL_CPUPOOL_PAR_ANY`.
pub const POOL_ANY: u32 = u32::MAX;

/// The kinds of processor descriptions that `cpu_featureset` and `cpu_policy` know: raw, host, and
/// from 2 on those of guests, of which each call has its own order.
pub const FEATURESETS: u32 = 6;
pub const FEATURESET_PV: u32 = 2;
pub const FEATURESET_PV_MAX: u32 = 4;
pub const POLICY_RAW: u32 = 0;
pub const POLICY_HOST: u32 = 1;
pub const POLICY_PV_MAX: u32 = 2;
pub const POLICY_PV_DEFAULT: u32 = 4;

pub const INFO_DYING: u32 = 1 << 0;
pub const INFO_HVM_GUEST: u32 = 1 << 1;
pub const INFO_SHUTDOWN: u32 = 1 << 2;
pub const INFO_PAUSED: u32 = 1 << 3;
pub const INFO_BLOCKED: u32 = 1 << 4;
pub const INFO_RUNNING: u32 = 1 << 5;
pub const INFO_HAP: u32 = 1 << 8;
pub const INFO_SHUTDOWN_SHIFT: u32 = 16;
pub const CAP_HVM: u32 = 1 << 0;
pub const CAP_HAP: u32 = 1 << 3;
pub const CAP_GNTTAB_V1: u32 = 1 << 8;

/// `XEN_SCHEDULER_CREDIT2`.
pub const SCHED_CREDIT2: u32 = 6;
/// `XEN_DOMCTL_SCHEDOP_putinfo`, and the same of `sysctl`.
pub const SCHED_PUTINFO: u32 = 0;
/// `XEN_DOMCTL_SCHEDOP_getinfo`, and the same of `sysctl`.
pub const SCHED_GETINFO: u32 = 1;
