//! Where SMIs come from: the APM control port, and the SMI registers of the power management block. Data
//! sheet of the ICH9, "APM_CNT", "APM_STS", "SMI_EN", "SMI_STS".
//!
//! Offsets: 0 and 1 are the ports B2h and B3h; from 10h on are SMI_EN and SMI_STS.

use serde::{Deserialize, Serialize};

use crate::{
    device::{Device, IoError, all_ones},
    time::Icount,
};

/// Offset of SMI_EN.
pub const ENABLE: u64 = 0x10;
/// SMI_EN: SMIs are enabled at all.
const GBL_SMI_EN: u32 = 1;
/// SMI_EN: end of SMI.
const EOS: u32 = 1 << 1;
/// SMI_EN: writes to APM_CNT are SMIs.
const APMC_EN: u32 = 1 << 5;
/// SMI_STS: a write to APM_CNT was.
const APM_STS: u32 = 1 << 5;

/// Registers of SMI generation.
///
/// DEPARTURE: EOS always reads 1: each write to APM_CNT is an SMI, also before the handler has set EOS.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Smi {
    control: u8,
    status: u8,
    enable: u32,
    smi_status: u32,
    raised: bool,
}

impl Smi {
    /// Whether an SMI has been raised since the last call.
    pub fn take(&mut self) -> bool {
        std::mem::take(&mut self.raised)
    }

    /// Whether the next [`Smi::take`] will say so.
    pub fn raised(&self) -> bool {
        self.raised
    }

    fn register(&self, offset: u64) -> u32 {
        match offset & !3 {
            0 => u32::from(self.control) | u32::from(self.status) << 8,
            0x10 => self.enable | EOS,
            _ => self.smi_status,
        }
    }

    fn command(&mut self, value: u8) {
        self.control = value;
        if self.enable & APMC_EN != 0 {
            self.smi_status |= APM_STS;
            self.raised |= self.enable & GBL_SMI_EN != 0;
        }
    }
}

impl Device for Smi {
    fn read(&mut self, offset: u64, size: u8, _now: Icount) -> Result<u64, IoError> {
        Ok(u64::from(self.register(offset) >> (offset % 4 * 8)) & all_ones(size))
    }

    fn write(&mut self, offset: u64, size: u8, value: u64, _now: Icount) -> Result<(), IoError> {
        let shift = offset % 4 * 8;
        let (mask, value) = ((all_ones(size) << shift) as u32, (value << shift) as u32);
        match offset {
            0 => self.command(value as u8),
            1 => self.status = (value >> 8) as u8,
            0x10..=0x13 => {
                self.enable = (self.enable & !mask | value & mask) & (GBL_SMI_EN | APMC_EN);
            }
            _ => self.smi_status &= !(value & mask),
        }
        Ok(())
    }
}
