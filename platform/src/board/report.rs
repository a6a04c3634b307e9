//! Accesses that came to nothing: nobody was there, or the device refused them.

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};

use super::{
    Board,
    table::{Id, MEMORY, PORTS},
};
use crate::device::IoError;

/// How many unclaimed accesses are remembered.
const UNCLAIMED_LIMIT: usize = 1024;

/// An address space of the board.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub enum Space {
    /// `IN` and `OUT`.
    Port,
    /// Physical memory.
    Memory,
}

/// An access that no device claims.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Unclaimed {
    /// Address space of the access.
    pub space: Space,
    /// The first byte's address.
    pub address: u64,
    /// The access is a write.
    pub write: bool,
}

/// How often which device has refused an access, and why. A count for the user, no state of the
/// machine: two boards do not differ thereby.
#[derive(Clone, Debug, Default)]
pub(super) struct Refused(BTreeMap<(Id, IoError), u64>);

/// How often each device was read and written. A count for the user likewise.
#[derive(Clone, Debug, Default)]
pub(super) struct Accesses(Vec<(Id, [u64; 2])>);

macro_rules! no_state {
    ($($counts:ty)*) => {$(
        impl PartialEq for $counts {
            fn eq(&self, _: &Self) -> bool {
                true
            }
        }

        impl Eq for $counts {}
    )*};
}

no_state! { Refused Accesses }

impl Board {
    /// The accesses that no device claimed, each once; at most the first 1024 places.
    #[must_use]
    pub fn unclaimed(&self) -> &BTreeSet<Unclaimed> {
        &self.unclaimed
    }

    /// The accesses that devices have refused: the device's name, the reason, how many.
    pub fn refused(&self) -> impl Iterator<Item = (&'static str, IoError, u64)> {
        self.refused.0.iter().map(|(&(device, why), &count)| (device.name(), why, count))
    }

    /// How often each device was read and written: its name, reads, writes.
    pub fn accesses(&self) -> impl Iterator<Item = (&'static str, u64, u64)> {
        let counts = self.accesses.0.iter().filter(|(_, [reads, writes])| reads + writes != 0);
        counts.map(|(device, [reads, writes])| (device.name(), *reads, *writes))
    }

    /// Where devices answer: whether the addresses are ports, the first of them, how many, and the device's name.
    pub fn map(&self) -> impl Iterator<Item = (bool, u64, u64, &'static str)> {
        let rows = PORTS.iter().chain(MEMORY).chain(&self.optional_rows);
        rows.map(|row| {
            let (base, length) = row.range();
            (row.space == Space::Port, base, length, row.device.name())
        })
    }

    pub(super) fn note_access(&mut self, device: Id, write: bool) {
        let (counts, n) = (&mut self.accesses.0, device as usize);
        if counts.len() <= n {
            // What stands before a device that is known is filled in as it comes.
            counts.resize(n + 1, (device, [0; 2]));
        }
        counts[n].0 = device;
        counts[n].1[usize::from(write)] += 1;
    }

    pub(super) fn note_unclaimed(&mut self, space: Space, address: u64, write: bool) {
        if self.unclaimed.len() < UNCLAIMED_LIMIT {
            self.unclaimed.insert(Unclaimed { space, address, write });
        }
    }

    pub(super) fn note_refused(&mut self, device: Id, why: IoError) {
        *self.refused.0.entry((device, why)).or_default() += 1;
    }
}
