//! Basic exit reasons. SDM vol. 3, appendix "VMX Basic Exit Reasons". The numbers are written out, so that
//! the processor is not compared with itself.

pub(crate) const EXCEPTION_OR_NMI: u64 = 0;
pub(crate) const EXTERNAL_INTERRUPT: u64 = 1;
pub(crate) const TRIPLE_FAULT: u64 = 2;
pub(crate) const INIT: u64 = 3;
pub(crate) const SIPI: u64 = 4;
pub(crate) const INTERRUPT_WINDOW: u64 = 7;
pub(crate) const NMI_WINDOW: u64 = 8;
pub(crate) const TASK_SWITCH: u64 = 9;
pub(crate) const CPUID: u64 = 10;
pub(crate) const HLT: u64 = 12;
pub(crate) const INVD: u64 = 13;
pub(crate) const INVLPG: u64 = 14;
pub(crate) const RDPMC: u64 = 15;
pub(crate) const RDTSC: u64 = 16;
pub(crate) const VMCALL: u64 = 18;
pub(crate) const VMLAUNCH: u64 = 20;
pub(crate) const VMXOFF: u64 = 26;
pub(crate) const CR_ACCESS: u64 = 28;
pub(crate) const MOV_DR: u64 = 29;
pub(crate) const IO: u64 = 30;
pub(crate) const RDMSR: u64 = 31;
pub(crate) const WRMSR: u64 = 32;
pub(crate) const GUEST_STATE: u64 = 33;
pub(crate) const MSR_LOADING: u64 = 34;
pub(crate) const MONITOR_TRAP: u64 = 37;
pub(crate) const PAUSE: u64 = 40;
pub(crate) const TPR_BELOW_THRESHOLD: u64 = 43;
pub(crate) const APIC_ACCESS: u64 = 44;
pub(crate) const EPT_VIOLATION: u64 = 48;
pub(crate) const EPT_MISCONFIGURATION: u64 = 49;
pub(crate) const RDTSCP: u64 = 51;
pub(crate) const PREEMPTION_TIMER: u64 = 52;
pub(crate) const WBINVD: u64 = 54;
/// Bit 31 of the exit reason: the VM entry failed.
pub(crate) const ENTRY_FAILED: u64 = 1 << 31;
