//! The one-register devices: POST code, debug console, debug exit, port 92h, reset control.

use serde::{Deserialize, Serialize};

use crate::{device::PortDevice, time::Icount};

/// Port 80h: the last POST code, readable.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct PostCode {
    code: u8,
}

impl PortDevice for PostCode {
    fn read(&mut self, _offset: u16, _size: u8, _now: Icount) -> u32 {
        self.code.into()
    }

    fn write(&mut self, _offset: u16, _size: u8, value: u32, _now: Icount) {
        self.code = value as u8;
    }
}

/// Port E9h: bytes for the host's eyes; reads E9h as a sign of its presence.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct DebugConsole {
    output: Vec<u8>,
}

impl DebugConsole {
    /// The bytes written since the last call.
    pub fn take_output(&mut self) -> Vec<u8> {
        std::mem::take(&mut self.output)
    }
}

impl PortDevice for DebugConsole {
    fn read(&mut self, _offset: u16, _size: u8, _now: Icount) -> u32 {
        0xe9
    }

    fn write(&mut self, _offset: u16, _size: u8, value: u32, _now: Icount) {
        self.output.push(value as u8);
    }
}

/// QEMU's `isa-debug-exit`: the first write ends the run with a status of the guest's choice.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct DebugExit {
    written: Option<u32>,
}

impl DebugExit {
    /// The exit status, `value << 1 | 1`, once the guest has written `value`.
    #[must_use]
    pub fn status(&self) -> Option<u32> {
        self.written.map(|value| value << 1 | 1)
    }
}

impl PortDevice for DebugExit {
    fn read(&mut self, _offset: u16, _size: u8, _now: Icount) -> u32 {
        0
    }

    fn write(&mut self, _offset: u16, _size: u8, value: u32, _now: Icount) {
        self.written.get_or_insert(value);
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

impl ControlPortA {
    /// A reset has been asked for.
    #[must_use]
    pub fn reset(&self) -> bool {
        self.reset
    }
}

impl PortDevice for ControlPortA {
    fn read(&mut self, _offset: u16, _size: u8, _now: Icount) -> u32 {
        self.value.into()
    }

    fn write(&mut self, _offset: u16, _size: u8, value: u32, _now: Icount) {
        self.reset |= value as u8 & !self.value & 1 != 0;
        self.value = value as u8;
    }
}

/// Port CF9h, the chipset's reset control: bit 2 rising resets (bit 1: hard, bit 3: power cycle).
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ResetControl {
    value: u8,
    reset: bool,
}

impl ResetControl {
    /// A reset has been asked for.
    #[must_use]
    pub fn reset(&self) -> bool {
        self.reset
    }
}

impl PortDevice for ResetControl {
    fn read(&mut self, _offset: u16, _size: u8, _now: Icount) -> u32 {
        self.value.into()
    }

    fn write(&mut self, _offset: u16, _size: u8, value: u32, _now: Icount) {
        let value = value as u8;
        self.reset |= value & !self.value & 4 != 0;
        self.value = value & 0x0e;
    }
}
