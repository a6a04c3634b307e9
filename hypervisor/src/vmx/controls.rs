//! The VMX controls: what this hypervisor needs, what it takes when offered, what it gets.

/// One group of controls: the bits wanted, and the name used in messages.
#[derive(Clone, Copy, Debug)]
pub struct Wanted {
    /// The group's name.
    pub group: &'static str,
    /// Bits without which the hypervisor refuses to start, with their names.
    pub required: &'static [(u32, &'static str)],
    /// Bits that are set when the processor allows them.
    pub optional: u32,
}

/// Pin-based controls. SDM vol. 3, "Pin-Based VM-Execution Controls".
pub const PIN: Wanted = Wanted {
    group: "pin-based",
    required: &[(1 << 0, "external-interrupt exiting"), (1 << 3, "NMI exiting")],
    optional: 0,
};

/// Opens the interrupt window: the guest exits as soon as it can take an interrupt.
pub const INTERRUPT_WINDOW: u32 = 1 << 2;

/// The guest exits after one instruction.
pub const MONITOR_TRAP_FLAG: u32 = 1 << 27;

/// Primary processor-based controls. SDM vol. 3, "Processor-Based VM-Execution Controls".
pub const PROC: Wanted = Wanted {
    group: "primary processor-based",
    required: &[
        (1 << 3, "use TSC offsetting"),
        (1 << 7, "HLT exiting"),
        (1 << 10, "MWAIT exiting"),
        (1 << 25, "use I/O bitmaps"),
        (1 << 28, "use MSR bitmaps"),
        (1 << 29, "MONITOR exiting"),
        (1 << 31, "activate secondary controls"),
    ],
    optional: 0,
};

/// Guests see RDTSCP when this secondary control is on.
pub const RDTSCP: u32 = 1 << 3;
/// Translations are tagged with the virtual processor when this secondary control is on.
pub const VPID: u32 = 1 << 5;
/// Guests see INVPCID when this secondary control is on.
pub const INVPCID: u32 = 1 << 12;

/// Secondary processor-based controls.
pub const PROC2: Wanted = Wanted {
    group: "secondary processor-based",
    required: &[(1 << 1, "enable EPT"), (1 << 7, "unrestricted guest")],
    optional: RDTSCP | VPID | INVPCID,
};

/// VM-exit controls. SDM vol. 3, "VM-Exit Controls".
pub const EXIT: Wanted = Wanted {
    group: "VM-exit",
    required: &[
        (1 << 2, "save debug controls"),
        (1 << 9, "host address-space size"),
        (1 << 15, "acknowledge interrupt on exit"),
        (1 << 18, "save IA32_PAT"),
        (1 << 19, "load IA32_PAT"),
        (1 << 20, "save IA32_EFER"),
        (1 << 21, "load IA32_EFER"),
    ],
    optional: 0,
};

/// The guest runs in IA-32e mode after the entry.
pub const IA32E_GUEST: u32 = 1 << 9;

/// VM-entry controls. SDM vol. 3, "VM-Entry Controls".
pub const ENTRY: Wanted = Wanted {
    group: "VM-entry",
    required: &[
        (1 << 2, "load debug controls"),
        (1 << 14, "load IA32_PAT"),
        (1 << 15, "load IA32_EFER"),
    ],
    optional: 0,
};

/// The bits that `IA32_VMX_EPT_VPID_CAP` must show, with names. SDM vol. 3, "VPID and EPT
/// Capabilities".
pub const EPT_REQUIRED: &[(u64, &str)] = &[
    (1 << 6, "4-level EPT"),
    (1 << 14, "write-back EPT structures"),
    (1 << 16, "2-MByte EPT pages"),
    (1 << 20, "INVEPT"),
    (1 << 25, "single-context INVEPT"),
];

/// The bits that `IA32_VMX_EPT_VPID_CAP` must show before VPIDs are used: INVVPID, all-context.
pub const VPID_REQUIRED: u64 = (1 << 32) | (1 << 42);

/// A control that the processor does not allow.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Missing {
    /// The group of controls.
    pub group: &'static str,
    /// The control's name.
    pub control: &'static str,
}

impl Wanted {
    /// The value for the group under `capability`: bits 31:0 must be 1, bits 63:32 may be 1.
    /// SDM vol. 3, "Reserved Controls and Default Settings".
    pub fn choose(&self, capability: u64) -> Result<u32, Missing> {
        let (must, may) = (capability as u32, (capability >> 32) as u32);
        let mut value = must | (self.optional & may);
        for &(bit, control) in self.required {
            if may & bit == 0 {
                return Err(Missing { group: self.group, control });
            }
            value |= bit;
        }
        Ok(value)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(wanted: Wanted, capability: u64, expected: Result<u32, &'static str>) {
        assert_eq!(wanted.choose(capability).map_err(|m| m.control), expected);
    }

    #[test]
    fn controls_follow_the_capability_register() {
        check(PIN, 0x7F_0000_0016, Ok(0x1F));
        check(PIN, 0x77_0000_0016, Err("NMI exiting").map(|()| 0));
        check(PIN, 0x7E_0000_0016, Err("external-interrupt exiting").map(|()| 0));
        check(PROC2, 0x82_0000_0000, Ok(0x82));
        check(PROC2, 0xFFFF_FFFF_0000_0000, Ok(0x10AA));
        check(PROC2, 0x02_0000_0000, Err("unrestricted guest").map(|()| 0));
    }
}
