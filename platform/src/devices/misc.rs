//! The one-register devices: POST code, debug console, debug exit, port 92h, reset control.

use serde::{Deserialize, Serialize};

use crate::{
    device::{Device, Ending, Ends, IoError},
    output::Output,
    time::Icount,
};

/// Port 80h: the last POST code, readable.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct PostCode {
    code: u8,
}

impl Device for PostCode {
    fn read(&mut self, _offset: u64, _size: u8, _now: Icount) -> Result<u64, IoError> {
        Ok(self.code.into())
    }

    fn write(&mut self, _offset: u64, _size: u8, value: u64, _now: Icount) -> Result<(), IoError> {
        self.code = value as u8;
        Ok(())
    }
}

/// Port E9h: bytes for the host's eyes; reads E9h as a sign of its presence.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct DebugConsole {
    output: Output,
}

impl DebugConsole {
    /// The bytes written since the last call.
    pub fn take_output(&mut self) -> Vec<u8> {
        self.output.take()
    }
}

impl Device for DebugConsole {
    fn read(&mut self, _offset: u64, _size: u8, _now: Icount) -> Result<u64, IoError> {
        Ok(0xe9)
    }

    fn write(&mut self, _offset: u64, _size: u8, value: u64, _now: Icount) -> Result<(), IoError> {
        self.output.push(value as u8);
        Ok(())
    }
}

/// QEMU's `isa-debug-exit`: the first write ends the run with a status of the guest's choice.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct DebugExit {
    written: Option<u32>,
}

/// The exit status is `value << 1 | 1` once the guest has written `value`.
impl Ends for DebugExit {
    fn ending(&self) -> Option<Ending> {
        self.written.map(|value| Ending::Status(value << 1 | 1))
    }
}

impl Device for DebugExit {
    fn read(&mut self, _offset: u64, _size: u8, _now: Icount) -> Result<u64, IoError> {
        Ok(0)
    }

    fn write(&mut self, _offset: u64, _size: u8, value: u64, _now: Icount) -> Result<(), IoError> {
        self.written.get_or_insert(value as u32);
        Ok(())
    }
}

/// Port 92h, "system control port A": bit 0 resets, bit 1 is A20.
///
/// DEPARTURE: A20 is stored and read back, but address line 20 is always on.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ControlPortA {
    value: u8,
    reset: bool,
}

impl Default for ControlPortA {
    fn default() -> Self {
        Self { value: 2, reset: false }
    }
}

impl Ends for ControlPortA {
    fn ending(&self) -> Option<Ending> {
        self.reset.then_some(Ending::Reset)
    }
}

impl Device for ControlPortA {
    fn read(&mut self, _offset: u64, _size: u8, _now: Icount) -> Result<u64, IoError> {
        Ok(self.value.into())
    }

    fn write(&mut self, _offset: u64, _size: u8, value: u64, _now: Icount) -> Result<(), IoError> {
        self.reset |= value as u8 & !self.value & 1 != 0;
        self.value = value as u8;
        Ok(())
    }
}

/// Port CF9h, the chipset's reset control: bit 2 rising resets (bit 1: hard, bit 3: power cycle).
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ResetControl {
    value: u8,
    reset: bool,
}

impl Ends for ResetControl {
    fn ending(&self) -> Option<Ending> {
        self.reset.then_some(Ending::Reset)
    }
}

impl Device for ResetControl {
    fn read(&mut self, _offset: u64, _size: u8, _now: Icount) -> Result<u64, IoError> {
        Ok(self.value.into())
    }

    fn write(&mut self, _offset: u64, _size: u8, value: u64, _now: Icount) -> Result<(), IoError> {
        let value = value as u8;
        self.reset |= value & !self.value & 4 != 0;
        self.value = value & 0x0e;
        Ok(())
    }
}
