//! Time: the count of retired instructions, and its exact conversion to device frequencies.

use serde::{Deserialize, Serialize};

/// Instructions retired since power-on: the only clock there is. A processor that idles retires none,
/// but its count goes on. Where there are several processors, each has its own count, and the machine's
/// time is the lowest of them.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Icount(pub u64);

impl Icount {
    /// The instant `instructions` later; stops at the end of time instead of wrapping.
    #[must_use]
    pub fn plus(self, instructions: u64) -> Self {
        Self(self.0.saturating_add(instructions))
    }

    /// Instructions from `earlier` to here; 0 if `earlier` is later.
    #[must_use]
    pub fn since(self, earlier: Self) -> u64 {
        self.0.saturating_sub(earlier.0)
    }
}

/// The nominal speed of the machine in instructions per second.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Rate {
    /// Instructions per second; 0 counts as 1.
    pub hz: u64,
}

impl Default for Rate {
    /// One instruction is one nanosecond.
    fn default() -> Self {
        Self { hz: 1_000_000_000 }
    }
}

impl Rate {
    /// The conversion to the ticks of a clock of `ticks_hz`.
    #[must_use]
    pub fn scale(self, ticks_hz: u64) -> Scale {
        Scale { instructions_hz: self.hz.max(1), ticks_hz: ticks_hz.max(1) }
    }

    /// Instructions in a microsecond, rounded down.
    #[must_use]
    pub fn microsecond(self) -> u64 {
        self.hz / 1_000_000
    }

    /// Nanoseconds since power-on, rounded down.
    #[must_use]
    pub fn nanoseconds(self, now: Icount) -> u64 {
        self.scale(1_000_000_000).ticks(now)
    }
}

/// An exact, monotone map between instants and the ticks of one clock that started at power-on.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Scale {
    instructions_hz: u64,
    ticks_hz: u64,
}

impl Scale {
    /// Whole ticks that have passed at `now`; saturates at 2⁶³, so that a device may add to them.
    #[must_use]
    pub fn ticks(self, now: Icount) -> u64 {
        let ticks =
            u128::from(now.0) * u128::from(self.ticks_hz) / u128::from(self.instructions_hz);
        ticks.min(1 << 63) as u64
    }

    /// The first instant at which `ticks` have passed; saturates at the end of time.
    #[must_use]
    pub fn instant(self, ticks: u64) -> Icount {
        let instructions = (u128::from(ticks) * u128::from(self.instructions_hz))
            .div_ceil(u128::from(self.ticks_hz));
        Icount(u64::try_from(instructions).unwrap_or(u64::MAX))
    }
}
