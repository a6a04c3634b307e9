//! Basic exit reasons. SDM vol. 3, appendix "VMX Basic Exit Reasons".

macro_rules! reasons {
    ($($name:ident = $number:literal, $text:literal;)*) => {
        $(#[doc = $text]
        pub const $name: u32 = $number;)*

        /// The name of basic exit reason `reason`.
        pub fn name(reason: u32) -> &'static str {
            match reason & 0xffff {
                $($number => $text,)*
                _ => "unknown",
            }
        }
    };
}

/// Bit 31 of the exit reason: the VM entry failed.
pub const ENTRY_FAILED: u32 = 1 << 31;

reasons! {
    EXCEPTION_OR_NMI = 0, "exception or NMI";
    EXTERNAL_INTERRUPT = 1, "external interrupt";
    TRIPLE_FAULT = 2, "triple fault";
    INIT = 3, "INIT signal";
    SIPI = 4, "start-up IPI";
    INTERRUPT_WINDOW = 7, "interrupt window";
    NMI_WINDOW = 8, "NMI window";
    TASK_SWITCH = 9, "task switch";
    CPUID = 10, "CPUID";
    GETSEC = 11, "GETSEC";
    HLT = 12, "HLT";
    INVD = 13, "INVD";
    INVLPG = 14, "INVLPG";
    RDPMC = 15, "RDPMC";
    RDTSC = 16, "RDTSC";
    VMCALL = 18, "VMCALL";
    VMCLEAR = 19, "VMCLEAR";
    VMLAUNCH = 20, "VMLAUNCH";
    VMPTRLD = 21, "VMPTRLD";
    VMPTRST = 22, "VMPTRST";
    VMREAD = 23, "VMREAD";
    VMRESUME = 24, "VMRESUME";
    VMWRITE = 25, "VMWRITE";
    VMXOFF = 26, "VMXOFF";
    VMXON = 27, "VMXON";
    CR_ACCESS = 28, "control-register access";
    MOV_DR = 29, "MOV DR";
    IO = 30, "I/O instruction";
    RDMSR = 31, "RDMSR";
    WRMSR = 32, "WRMSR";
    ENTRY_GUEST_STATE = 33, "VM-entry failure: invalid guest state";
    ENTRY_MSR_LOAD = 34, "VM-entry failure: MSR loading";
    MWAIT = 36, "MWAIT";
    MONITOR_TRAP = 37, "monitor trap flag";
    MONITOR = 39, "MONITOR";
    PAUSE = 40, "PAUSE";
    TPR_BELOW_THRESHOLD = 43, "TPR below threshold";
    APIC_ACCESS = 44, "APIC access";
    TABLE_ACCESS = 46, "access to GDTR or IDTR";
    LDTR_TR_ACCESS = 47, "access to LDTR or TR";
    EPT_VIOLATION = 48, "EPT violation";
    EPT_MISCONFIG = 49, "EPT misconfiguration";
    INVEPT = 50, "INVEPT";
    RDTSCP = 51, "RDTSCP";
    PREEMPTION_TIMER = 52, "VMX-preemption timer expired";
    INVVPID = 53, "INVVPID";
    WBINVD = 54, "WBINVD";
    XSETBV = 55, "XSETBV";
    INVPCID = 58, "INVPCID";
    XSAVES = 63, "XSAVES";
    XRSTORS = 64, "XRSTORS";
}
