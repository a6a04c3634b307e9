//! QEMU's `pvpanic`: by one port the guest tells that it has panicked. QEMU's documentation, "PVPANIC
//! DEVICE".

use serde::{Deserialize, Serialize};

use crate::{
    device::{Device, Ending, Ends, IoError},
    time::Icount,
};

/// The guest has panicked.
const PANICKED: u8 = 1 << 0;
/// The guest has panicked and deals with it, by a crash kernel: the host takes note only.
const CRASH_LOADED: u8 = 1 << 1;
/// The guest has shut down.
const SHUTDOWN: u8 = 1 << 2;
/// The events that the guest may tell, as the port reads.
const EVENTS: u8 = PANICKED | CRASH_LOADED | SHUTDOWN;

/// The port by which the guest tells.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Pvpanic {
    /// The events that the guest has told.
    told: u8,
}

impl Device for Pvpanic {
    fn read(&mut self, _offset: u64, _size: u8, _now: Icount) -> Result<u64, IoError> {
        Ok(EVENTS.into())
    }

    fn write(&mut self, _offset: u64, _size: u8, value: u64, _now: Icount) -> Result<(), IoError> {
        self.told |= value as u8 & EVENTS;
        Ok(())
    }
}

impl Ends for Pvpanic {
    fn ending(&self) -> Option<Ending> {
        match self.told {
            told if told & PANICKED != 0 => Some(Ending::GuestPanicked),
            told if told & SHUTDOWN != 0 => Some(Ending::PowerOff),
            _ => None,
        }
    }
}
