//! System time: a pure function of the time-stamp counter.

use super::abi::layout::TimeInfo;

/// The conversion between TSC ticks and nanoseconds, in the form the guest's pvclock uses.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Clock {
    /// The TSC's rate.
    pub tsc_khz: u64,
    /// Multiplier, a 32-bit fraction.
    pub mul: u32,
    /// Shift of the ticks before the multiplication; negative is to the right.
    pub shift: i8,
}

/// `XEN_PVCLOCK_TSC_STABLE_BIT`.
const STABLE: u8 = 1;

impl Clock {
    /// The clock of a TSC at `tsc_khz`, taken as at least 1 MHz and at most 100 GHz: the range in
    /// which the guests' own arithmetic does not overflow within a run.
    pub fn new(tsc_khz: u64) -> Self {
        let tsc_khz = tsc_khz.clamp(1_000, 100_000_000);
        let hz = u128::from(tsc_khz) * 1000;
        // ns = (ticks << shift) * mul >> 32, with mul in its upper half: the most precise choice.
        let mut shift = 0i8;
        let mul = |shift: i8| {
            let scaled = 1_000_000_000u128 << 32;
            if shift >= 0 { (scaled >> shift) / hz } else { (scaled << -shift) / hz }
        };
        while mul(shift) > u128::from(u32::MAX) {
            shift += 1;
        }
        while mul(shift) < 1 << 31 {
            shift -= 1;
        }
        Self { tsc_khz, mul: mul(shift) as u32, shift }
    }

    /// Nanoseconds at `tsc`, exactly as a guest computes them.
    pub fn ns(&self, tsc: u64) -> u64 {
        let shifted =
            if self.shift >= 0 { tsc << self.shift } else { tsc >> (-self.shift).min(63) };
        ((u128::from(shifted) * u128::from(self.mul)) >> 32) as u64
    }

    /// The first tick at which [`Clock::ns`] is at least `ns`; all-ones when there is none.
    pub fn tsc_at(&self, ns: u64) -> u64 {
        let shifted = (u128::from(ns) << 32).div_ceil(u128::from(self.mul));
        let ticks = if self.shift >= 0 {
            shifted.div_ceil(1 << self.shift)
        } else {
            shifted << -self.shift
        };
        u64::try_from(ticks).unwrap_or(u64::MAX)
    }

    /// The guest's pvclock: constant, since the TSC is.
    pub fn time_info(&self) -> TimeInfo {
        TimeInfo {
            version: 2,
            tsc_to_system_mul: self.mul,
            tsc_shift: self.shift as u8,
            flags: STABLE,
            ..TimeInfo::default()
        }
    }
}
