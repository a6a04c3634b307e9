//! The fixed ACPI hardware: PM1a event and control registers and the power management timer.
//!
//! Offsets: 0 PM1_STS, 2 PM1_EN, 4 PM1_CNT, 8 PM_TMR. ACPI, "Fixed Hardware Registers".

use serde::{Deserialize, Serialize};

use crate::{
    device::{Device, Ending, Ends, IoError, Timed, all_ones},
    time::{Icount, Rate, Scale},
};

/// Frequency of the PM timer.
pub const PM_TIMER_HZ: u64 = 3_579_545;
/// SLP_TYP of the soft-off state, as the DSDT's `\_S5` says: QEMU's, for kernels that do not ask.
pub const S5_SLEEP_TYPE: u8 = 0;

const TMR_STS: u16 = 1;
const PWRBTN_STS: u16 = 1 << 8;
const ENABLE_MASK: u16 = 0x0721;
const SCI_EN: u16 = 1;
const SLP_EN: u16 = 1 << 13;

/// The register block, with a 32-bit timer. The machine is always in ACPI mode (no SMI command).
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct AcpiPm {
    scale: Scale,
    status: u16,
    enable: u16,
    control: u16,
    /// Half-periods of the timer already seen: TMR_STS sets when bit 31 changes.
    halves: u64,
    power_off: bool,
}

impl AcpiPm {
    /// The block of a machine that runs at `rate`.
    #[must_use]
    pub fn new(rate: Rate) -> Self {
        Self {
            scale: rate.scale(PM_TIMER_HZ),
            status: 0,
            enable: 0,
            control: 0,
            halves: 0,
            power_off: false,
        }
    }

    /// The level of the system control interrupt.
    #[must_use]
    pub fn sci(&self) -> bool {
        self.status & self.enable != 0
    }

    /// Presses the power button.
    pub fn press_power_button(&mut self) {
        self.status |= PWRBTN_STS;
    }

    fn register(&self, index: u64, now: Icount) -> u16 {
        let timer = self.scale.ticks(now) as u32;
        match index {
            0 => self.status,
            1 => self.enable,
            2 => self.control | SCI_EN,
            4 => timer as u16,
            5 => (timer >> 16) as u16,
            _ => 0,
        }
    }

    fn set_control(&mut self, value: u16) {
        // SLP_EN is write-only.
        self.control = value & !SLP_EN;
        self.power_off |= value & SLP_EN != 0 && (value >> 10 & 7) as u8 == S5_SLEEP_TYPE;
    }

    /// Writes `value` where `mask` is 1.
    fn set_register(&mut self, index: u64, value: u16, mask: u16) {
        match index {
            0 => self.status &= !(value & mask),
            1 => self.enable = (self.enable & !mask | value & mask) & ENABLE_MASK,
            2 => self.set_control(self.control & !mask | value & mask),
            _ => {}
        }
    }
}

impl Device for AcpiPm {
    fn read(&mut self, offset: u64, size: u8, now: Icount) -> Result<u64, IoError> {
        let pair = |index| u64::from(self.register(index, now));
        let index = offset / 2;
        let value = pair(index) | pair(index + 1) << 16;
        Ok(value >> (offset % 2 * 8) & all_ones(size))
    }

    fn write(&mut self, offset: u64, size: u8, value: u64, _now: Icount) -> Result<(), IoError> {
        let shift = offset % 2 * 8;
        let mask = if size == 1 { 0xff << shift } else { 0xffff };
        self.set_register(offset / 2, (value as u16) << shift, mask);
        if size == 4 {
            self.set_register(offset / 2 + 1, (value >> 16) as u16, 0xffff);
        }
        Ok(())
    }
}

/// Soft-off, S5, ends the run.
impl Ends for AcpiPm {
    fn ending(&self) -> Option<Ending> {
        self.power_off.then_some(Ending::PowerOff)
    }
}

impl Timed for AcpiPm {
    fn deadline(&self, now: Icount) -> Option<Icount> {
        let wanted = self.enable & !self.status & TMR_STS != 0;
        wanted.then(|| self.scale.instant(((self.scale.ticks(now) >> 31) + 1) << 31))
    }

    fn advance(&mut self, now: Icount) {
        let halves = self.scale.ticks(now) >> 31;
        if halves != self.halves {
            self.halves = halves;
            self.status |= TMR_STS;
        }
    }
}
