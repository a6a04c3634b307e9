//! The PCI host bridge: configuration space by ports CF8h/CFCh and by memory (ECAM), and the
//! functions on bus 0: itself (as a Q35 memory controller hub) and the bridge to ISA (as an ICH9).
//!
//! PCI Local Bus Specification 3.0, "Configuration Space"; PCI Express, "Enhanced Configuration
//! Access Mechanism".

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::{
    device::{Device, IoError, little_endian},
    time::Icount,
};

/// Bytes of a function's configuration space; there are no extended capabilities.
const CONFIG_SIZE: usize = 256;
/// Offset of the configuration space in memory; offsets 0 to 7 are the ports.
pub const ECAM: u64 = 1 << 32;
/// Enable bit of CONFIG_ADDRESS.
const ENABLE: u32 = 1 << 31;
/// Bits of CONFIG_ADDRESS that exist.
const ADDRESS_MASK: u32 = 0x80ff_fffc;

/// Bus, device and function as configuration addresses hold them: 8, 5 and 3 bits.
type Bdf = u16;

/// A register of a function: offset, bytes, value at reset, writable bits.
type Register = (u8, u8, u32, u32);

#[rustfmt::skip]
const HOST_BRIDGE: &[Register] = &[
    (0x00, 4, 0x29c0_8086, 0),          // vendor, device: 82G33/Q35 DRAM controller
    (0x04, 2, 0x0006, 0),               // command: memory, bus master
    (0x08, 4, 0x0600_0002, 0),          // class: host bridge
    (0x60, 4, 0xb000_0001, 0),          // PCIEXBAR: ECAM enabled, 256 MiB
    (SMRAM, 1, 0x02, D_OPEN | D_CLS | D_LCK | G_SMRAME),
    (0x9e, 1, 0x38, 0),                 // ESMRAMC: no TSEG, no high SMRAM; caches as they are
];

#[rustfmt::skip]
const ISA_BRIDGE: &[Register] = &[
    (0x00, 4, 0x2918_8086, 0),          // vendor, device: ICH9 LPC interface controller
    (0x04, 2, 0x0007, 0),               // command: I/O, memory, bus master
    (0x08, 4, 0x0601_0002, 0),          // class: ISA bridge
    (0x40, 4, 0x0000_b001, 0),          // PMBASE
    (0x44, 1, 0x80, 0),                 // ACPI_CNTL: enabled, SCI on IRQ9
    (0x60, 4, 0x8080_8080, 0x8f8f_8f8f),// PIRQA–D: not routed to ISA
    (0x68, 4, 0x8080_8080, 0x8f8f_8f8f),// PIRQE–H
];

/// System Management RAM Control, in the host bridge: the segment A0000h-BFFFFh. Data sheet of the Q35
/// memory controller hub, "SMRAM - System Management RAM Control".
const SMRAM: u8 = 0x9d;
const G_SMRAME: u32 = 1 << 3;
const D_LCK: u32 = 1 << 4;
const D_CLS: u32 = 1 << 5;
const D_OPEN: u32 = 1 << 6;

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

const FUNCTIONS: [(Bdf, &[Register]); 2] = [(0x00 << 3, HOST_BRIDGE), (0x1f << 3, ISA_BRIDGE)];

/// A function's configuration space: a table of bytes with write masks.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
struct Function {
    bytes: Vec<u8>,
    writable: Vec<u8>,
}

impl Function {
    fn new(registers: &[Register]) -> Self {
        let mut function = Self { bytes: vec![0; CONFIG_SIZE], writable: vec![0; CONFIG_SIZE] };
        for &(offset, size, value, writable) in registers {
            let range = usize::from(offset)..usize::from(offset) + usize::from(size);
            function.bytes[range.clone()].copy_from_slice(&value.to_le_bytes()[..size.into()]);
            function.writable[range].copy_from_slice(&writable.to_le_bytes()[..size.into()]);
        }
        function
    }

    fn read(&self, register: usize, size: u8) -> Result<u64, IoError> {
        let bytes = self.bytes.get(register..register + usize::from(size));
        bytes.map(little_endian).ok_or(IoError::InvalidRegister)
    }

    fn write(&mut self, register: usize, size: u8, value: u64) {
        let fields = self.bytes.iter_mut().zip(&self.writable).skip(register);
        for ((byte, mask), new) in fields.take(size.into()).zip(value.to_le_bytes()) {
            *byte = *byte & !mask | new & mask;
        }
    }
}

impl Function {
    /// D_LCK closes D_OPEN, and all but D_CLS stays as it is until reset.
    fn lock_smram(&mut self) {
        let at = usize::from(SMRAM);
        if self.bytes[at] & D_LCK as u8 != 0 {
            self.bytes[at] &= !D_OPEN as u8;
            self.writable[at] = D_CLS as u8;
        }
    }
}

/// The host bridge and the functions on its bus.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct PciHost {
    /// CONFIG_ADDRESS.
    address: u32,
    functions: BTreeMap<Bdf, Function>,
}

impl Default for PciHost {
    fn default() -> Self {
        let functions = FUNCTIONS.iter().map(|&(bdf, table)| (bdf, Function::new(table)));
        Self { address: 0, functions: functions.collect() }
    }
}

impl PciHost {
    fn config_read(&self, bdf: Bdf, register: usize, size: u8) -> Result<u64, IoError> {
        self.functions.get(&bdf).ok_or(IoError::NoResponse)?.read(register, size)
    }

    fn config_write(
        &mut self,
        bdf: Bdf,
        register: usize,
        size: u8,
        value: u64,
    ) -> Result<(), IoError> {
        let function = self.functions.get_mut(&bdf).ok_or(IoError::NoResponse)?;
        function.write(register, size, value);
        if bdf == 0 {
            function.lock_smram();
        }
        Ok(())
    }

    /// Who sees system-management RAM.
    #[must_use]
    pub fn smram(&self) -> Smram {
        let value = self.config_read(0, SMRAM.into(), 1).unwrap_or(0) as u32;
        let set = |bit| value & bit != 0;
        Smram { enabled: set(G_SMRAME), open: set(D_OPEN), closed: set(D_CLS) }
    }

    /// The function and register that an access to CONFIG_DATA or to ECAM is for.
    fn selected(&self, offset: u64) -> Result<(Bdf, usize), IoError> {
        if let Some(at) = offset.checked_sub(ECAM) {
            return Ok(((at >> 12) as Bdf, (at & 0xfff) as usize));
        }
        if self.address & ENABLE == 0 {
            return Err(IoError::NoResponse);
        }
        let register = (self.address & 0xfc) as usize + offset as usize - 4;
        Ok(((self.address >> 8) as Bdf, register))
    }
}

impl Device for PciHost {
    fn read(&mut self, offset: u64, size: u8, _now: Icount) -> Result<u64, IoError> {
        match (offset, size) {
            (0, 4) => Ok(self.address.into()),
            // CONFIG_ADDRESS answers to doublewords only.
            (0..=3, _) => Err(IoError::InvalidAccessSize),
            _ => {
                let (bdf, register) = self.selected(offset)?;
                self.config_read(bdf, register, size)
            }
        }
    }

    fn write(&mut self, offset: u64, size: u8, value: u64, _now: Icount) -> Result<(), IoError> {
        match (offset, size) {
            (0, 4) => self.address = value as u32 & ADDRESS_MASK,
            (0..=3, _) => return Err(IoError::InvalidAccessSize),
            _ => {
                let (bdf, register) = self.selected(offset)?;
                self.config_write(bdf, register, size, value)?;
            }
        }
        Ok(())
    }
}
