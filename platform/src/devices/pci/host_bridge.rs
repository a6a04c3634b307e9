//! The host bridge at 00.0, as a Q35 memory controller hub, and who sees system-management RAM.
//!
//! Data sheet of the Q35 memory controller hub, "Host-PCI Express Bridge Registers" and "SMRAM - System Management RAM
//! Control".

use serde::{Deserialize, Serialize};

use super::{
    config::{ConfigSpace, Register},
    function::PciFunction,
};

/// System Management RAM Control: the segment A0000h-BFFFFh.
const SMRAM: u8 = 0x9d;
const G_SMRAME: u8 = 1 << 3;
const D_LCK: u8 = 1 << 4;
const D_CLS: u8 = 1 << 5;
const D_OPEN: u8 = 1 << 6;
/// The bits of SMRAM that can be written until it is locked.
const UNLOCKED: u32 = (D_OPEN | D_CLS | D_LCK | G_SMRAME) as u32;

#[rustfmt::skip]
const REGISTERS: &[Register] = &[
    (0x00, 4, 0x29c0_8086, 0),          // vendor, device: 82G33/Q35 DRAM controller
    (0x04, 2, 0x0006, 0),               // command: memory, bus master
    (0x08, 4, 0x0600_0002, 0),          // class: host bridge
    (0x60, 4, 0xb000_0001, 0),          // PCIEXBAR: ECAM enabled, 256 MiB
    (SMRAM, 1, 0x02, UNLOCKED),
    (0x9e, 1, 0x38, 0),                 // ESMRAMC: no TSEG, no high SMRAM; caches as they are
];

/// Who sees system-management RAM.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Smram {
    /// G_SMRAME: processors in system-management mode.
    pub enabled: bool,
    /// D_OPEN: all processors.
    pub open: bool,
    /// D_CLS: but not for data.
    pub closed: bool,
}

impl Smram {
    /// What the host bridge's configuration space says.
    #[must_use]
    pub fn of(config: &ConfigSpace) -> Self {
        let set = |bit| config.byte(SMRAM) & bit != 0;
        Self { enabled: set(G_SMRAME), open: set(D_OPEN), closed: set(D_CLS) }
    }
}

/// The bridge. All of its state is in its configuration space.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct HostBridge;

impl PciFunction for HostBridge {
    fn config_space(&self) -> ConfigSpace {
        ConfigSpace::new(REGISTERS)
    }

    /// D_LCK closes D_OPEN, and all but D_CLS stays as it is until reset.
    fn config_written(&mut self, config: &mut ConfigSpace) {
        let value = config.byte(SMRAM);
        if value & D_LCK != 0 {
            config.add((SMRAM, 1, (value & !D_OPEN).into(), D_CLS.into()));
        }
    }
}
