//! VM-exit reasons and qualifications. SDM vol. 3, "VM Exits", and the appendix "VMX Basic Exit Reasons".

macro_rules! reasons {
    ($($name:ident = $number:literal, $text:literal;)*) => {
        $(#[doc = $text]
        pub const $name: u16 = $number;)*

        /// The name of a basic exit reason, for messages.
        pub fn name(reason: u16) -> &'static str {
            match reason {
                $($number => $text,)*
                _ => "unknown",
            }
        }
    };
}

#[rustfmt::skip]
reasons! {
    EXCEPTION_OR_NMI = 0, "exception or NMI";
    EXTERNAL_INTERRUPT = 1, "external interrupt";
    TRIPLE_FAULT = 2, "triple fault";
    INIT_SIGNAL = 3, "INIT signal";
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
    RSM = 17, "RSM";
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
    DR_ACCESS = 29, "MOV DR";
    IO = 30, "I/O instruction";
    RDMSR = 31, "RDMSR";
    WRMSR = 32, "WRMSR";
    ENTRY_GUEST_STATE = 33, "VM-entry failure: guest state";
    ENTRY_MSR_LOAD = 34, "VM-entry failure: MSR loading";
    MWAIT = 36, "MWAIT";
    MONITOR_TRAP = 37, "monitor trap flag";
    MONITOR = 39, "MONITOR";
    PAUSE = 40, "PAUSE";
    ENTRY_MACHINE_CHECK = 41, "VM-entry failure: machine check";
    TPR_BELOW_THRESHOLD = 43, "TPR below threshold";
    APIC_ACCESS = 44, "APIC access";
    VIRTUAL_EOI = 45, "virtualized EOI";
    GDTR_IDTR = 46, "GDTR or IDTR access";
    LDTR_TR = 47, "LDTR or TR access";
    EPT_VIOLATION = 48, "EPT violation";
    EPT_MISCONFIG = 49, "EPT misconfiguration";
    INVEPT = 50, "INVEPT";
    RDTSCP = 51, "RDTSCP";
    PREEMPTION_TIMER = 52, "preemption timer";
    INVVPID = 53, "INVVPID";
    WBINVD = 54, "WBINVD";
    XSETBV = 55, "XSETBV";
    APIC_WRITE = 56, "APIC write";
    RDRAND = 57, "RDRAND";
    INVPCID = 58, "INVPCID";
    VMFUNC = 59, "VMFUNC";
    ENCLS = 60, "ENCLS";
    RDSEED = 61, "RDSEED";
    XSAVES = 63, "XSAVES";
    XRSTORS = 64, "XRSTORS";
}

/// Number of basic exit reasons that are counted one by one.
pub const REASONS: usize = 72;

/// Interruption information as the VMCS holds it. SDM vol. 3, "Format of the VM-Entry Interruption-Information Field".
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Interruption(pub u32);

impl Interruption {
    /// A hardware exception without an error code.
    pub fn exception(vector: u8) -> Self {
        Self(1 << 31 | 3 << 8 | u32::from(vector))
    }

    /// A hardware exception with an error code.
    pub fn exception_with_code(vector: u8) -> Self {
        Self(1 << 31 | 1 << 11 | 3 << 8 | u32::from(vector))
    }

    /// An external interrupt.
    pub fn external(vector: u8) -> Self {
        Self(1 << 31 | u32::from(vector))
    }

    /// A non-maskable interrupt.
    pub fn nmi() -> Self {
        Self(1 << 31 | 2 << 8 | 2)
    }

    /// Whether there is an event at all.
    pub fn valid(self) -> bool {
        self.0 >> 31 != 0
    }

    /// The vector of the event.
    pub fn vector(self) -> u8 {
        self.0 as u8
    }

    /// The event's type: 0 external, 2 NMI, 3 hardware exception, 4 INT n, 5 INT1, 6 INT3 or INTO.
    pub fn kind(self) -> u32 {
        self.0 >> 8 & 7
    }

    /// Whether an error code goes with the event.
    pub fn has_error_code(self) -> bool {
        self.0 & 1 << 11 != 0
    }

    /// Whether delivery continues after the instruction, whose length must be given.
    pub fn needs_length(self) -> bool {
        matches!(self.kind(), 4..=6)
    }

    /// The same event for re-injection: the bits that only an exit sets (NMI unblocking) are gone.
    pub fn for_entry(self) -> Self {
        Self(self.0 & !0x7FFF_F000)
    }
}

/// An I/O instruction's qualification. SDM vol. 3, "Exit Qualification for I/O Instructions".
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Io(pub u64);

impl Io {
    /// Bytes accessed: 1, 2 or 4.
    pub fn size(self) -> u8 {
        (self.0 & 7) as u8 + 1
    }

    /// IN rather than OUT.
    pub fn is_in(self) -> bool {
        self.0 & 1 << 3 != 0
    }

    /// INS or OUTS.
    pub fn is_string(self) -> bool {
        self.0 & 1 << 4 != 0
    }

    /// A REP prefix is present.
    pub fn is_rep(self) -> bool {
        self.0 & 1 << 5 != 0
    }

    /// The number of the port.
    pub fn port(self) -> u16 {
        (self.0 >> 16) as u16
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check_io(qualification: u64, expected: (u8, bool, bool, u16)) {
        let io = Io(qualification);
        assert_eq!((io.size(), io.is_in(), io.is_string(), io.port()), expected);
    }

    #[test]
    fn io_qualification_fields() {
        check_io(0x03F8_0000, (1, false, false, 0x3F8));
        check_io(0x0CFC_000B, (4, true, false, 0xCFC));
        check_io(0x0070_0031, (2, false, true, 0x70));
    }

    #[track_caller]
    fn check_event(event: Interruption, raw: u32, length: bool) {
        assert_eq!((event.0, event.needs_length(), event.valid()), (raw, length, true));
    }

    #[test]
    fn interruption_information_fields() {
        check_event(Interruption::exception(6), 0x8000_0306, false);
        check_event(Interruption::exception_with_code(13), 0x8000_0B0D, false);
        check_event(Interruption::external(0x30), 0x8000_0030, false);
        check_event(Interruption::nmi(), 0x8000_0202, false);
        check_event(Interruption(0x8000_1603).for_entry(), 0x8000_0603, true);
    }

    #[test]
    fn every_handled_reason_has_a_name() {
        assert_eq!(name(VMCALL), "VMCALL");
        assert_eq!(name(71), "unknown");
    }
}
