//! Values that a hostile guest may name: those that mean something, those next to them, and those at
//! which arithmetic turns over.

use super::input::Input;
use super::world::{FIRST_GRANT, GRANTED, GRANTS, LARGE, LOW, SHARED};
use crate::xen::Width;
use crate::xen::abi::nr::domid;
use crate::xen::host_services::GFN_LIMIT;

/// Values at which arithmetic turns over.
const EDGES: [u64; 12] = [
    0,
    1,
    0x7FFF_FFFF,
    0x8000_0000,
    0xFFFF_FFFF,
    1 << 32,
    1 << 36,
    1 << 52,
    (1 << 63) - 1,
    1 << 63,
    u64::MAX - 4095,
    u64::MAX,
];

impl Input<'_> {
    /// A number, of 64 bits.
    pub(super) fn any(&mut self) -> u64 {
        match self.below(4) {
            0 => self.below(256),
            1 => self.pick(&EDGES),
            2 => self.pick(&EDGES).wrapping_add(self.below(16)).wrapping_sub(8),
            _ => u64::from(self.word()) << 32 | u64::from(self.word()),
        }
    }

    /// A domain's number.
    pub(super) fn domain(&mut self) -> u16 {
        let all =
            [domid::SELF, 0, 1, 2, 3, 1, 2, 4, domid::IO, domid::XEN, domid::INVALID, u16::MAX];
        self.pick(&all)
    }

    /// A page frame of a guest.
    pub(super) fn frame(&mut self) -> u64 {
        match self.below(16) {
            0..=4 => self.below(LOW),
            5..=7 => LARGE + self.below(LARGE.min(256)) * 2,
            8 => self.pick(&[GRANTS, SHARED, GRANTED]),
            9 | 10 => LOW + self.below(32),
            // In tables of their own.
            11 | 12 => self.below(256) << 9,
            13 => (GFN_LIMIT + 1).wrapping_sub(self.below(4)),
            14 => (1 << 36) + self.below(1024),
            _ => self.any(),
        }
    }

    /// A reference to a grant.
    pub(super) fn grant(&mut self) -> u32 {
        match self.below(8) {
            0..=5 => FIRST_GRANT + self.below(6) as u32,
            6 => self.pick(&[0, 7, 511, 512, 32767, 32768, u32::MAX]),
            _ => self.word(),
        }
    }

    /// An event channel's port.
    pub(super) fn port(&mut self) -> u32 {
        match self.below(8) {
            0..=5 => self.below(12) as u32,
            6 => self.pick(&[1023, 1024, 4095, 4096, u32::MAX]),
            _ => self.word(),
        }
    }

    /// A virtual processor's number.
    pub(super) fn vcpu(&mut self) -> u32 {
        self.pick(&[0, 1, 2, 0, 1, 2, 3, 31, 32, u32::MAX])
    }

    /// The number of entries of a list.
    pub(super) fn length(&mut self) -> u64 {
        self.pick(&[1, 2, 3, 4, 8, 1, 2, 300, 0, 64, 512, 1 << 26, u64::MAX])
    }

    /// A system time in nanoseconds, mostly about `now`.
    pub(super) fn time(&mut self, now: u64) -> u64 {
        match self.below(8) {
            0..=3 => now.saturating_add(self.below(256) * 20_000),
            4 => now.saturating_sub(self.below(256) * 1000),
            5 => 0,
            _ => self.any(),
        }
    }

    /// The address of an argument: `right`, or another.
    pub(super) fn address(&mut self, right: u64) -> u64 {
        match self.below(32) {
            0 => right + 1,
            // It crosses into a page that is not there.
            1 => (LOW << 12) - 1 - self.below(32),
            2 => self.pick(&[SHARED << 12, GRANTS << 12, 0xFEE0_0000, LOW << 12]),
            3 => self.any(),
            _ => right,
        }
    }

    /// The width of a caller.
    pub(super) fn width(&mut self) -> Width {
        if self.once_in(8) { Width::Compat } else { Width::Long }
    }
}
