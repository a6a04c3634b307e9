//! The board: which device answers at which address, and which line leads to which input.
//!
//! Reading order: `table` (the devices), `declare` (what a declaration means), `row`, `decode` (an
//! access), `hand_over` (what firmware leaves), `timers` (deadlines), `lines` (interrupts), `pci`
//! (configuration, bus mastering), `report` (accesses that came to nothing).
//!
//! After every access and at every deadline the board samples the devices' output levels and hands
//! them to the interrupt controllers, so that their outputs are always up to date.

mod declare;
mod decode;
mod hand_over;
mod lines;
mod pci;
mod report;
mod row;
mod table;
mod timers;

use std::collections::BTreeSet;

use serde::{Deserialize, Serialize};

use crate::{
    device::Ending,
    devices::{fw_cfg, pci::host_bridge::Smram, rtc, uart::Uart},
    time::{Icount, Rate},
};

use report::{Accesses, Refused};
pub use report::{Space, Unclaimed};
use row::Row;
pub use table::{COM, FW_CFG_PORT, OptionalDevice, PANIC_PORT, PM_BASE, SCI_IRQ};
use table::{Devices, HOST_BRIDGE, SLOTS};

/// What the board is built from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BoardConfig {
    /// The machine's nominal speed.
    pub rate: Rate,
    /// What the clock shows at power-on: seconds since 1970, UTC.
    pub start: u64,
    /// Where free memory from 0 on ends, below 4 GiB, as the bytes of CMOS tell.
    pub low_memory: u64,
    /// Bytes of memory above 4 GiB.
    pub high_memory: u64,
    /// Bytes of memory, as `fw_cfg` tells.
    pub ram: u64,
    /// The files of `fw_cfg`.
    pub files: Vec<fw_cfg::File>,
    /// Processors, as CMOS byte 5Fh tells firmware.
    pub processors: u8,
    /// The optional devices; of each kind the first counts.
    pub devices: Vec<OptionalDevice>,
}

impl Default for BoardConfig {
    fn default() -> Self {
        Self {
            rate: Rate::default(),
            start: rtc::DEFAULT_START,
            low_memory: 128 << 20,
            high_memory: 0,
            ram: 128 << 20,
            files: Vec::new(),
            processors: 1,
            devices: Vec::new(),
        }
    }
}

/// The devices and their wiring.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Board {
    rate: Rate,
    now: Icount,
    next: Option<Icount>,
    /// The deadlines of the devices in [`SLOTS`].
    deadlines: [Option<Icount>; SLOTS.len()],
    /// The ISA lines and the other inputs of the I/O APIC as they were handed on last.
    driven: (u16, u32),
    optional_rows: Vec<Row>,
    devices: Devices,
    unclaimed: BTreeSet<Unclaimed>,
    #[serde(skip)]
    refused: Refused,
    #[serde(skip)]
    accesses: Accesses,
    #[serde(skip)]
    traces: Traces,
}

/// What accesses leave for the machine to look at once they are done. No part of the state: any are
/// equal.
#[derive(Clone, Copy, Debug, Default)]
struct Traces {
    /// Something that the machine looks at may have changed since [`Board::settled`].
    disturbed: bool,
    /// See [`Board::take_access_time`].
    time: u64,
}

impl PartialEq for Traces {
    fn eq(&self, _: &Traces) -> bool {
        true
    }
}

impl Eq for Traces {}

impl BoardConfig {
    /// Why a board cannot be made: two devices would answer at one address.
    #[must_use]
    pub fn clash(&self) -> Option<String> {
        let clash = row::clash(&table::optional_rows(self));
        clash.map(|(row, other)| format!("{row} are in the {other}"))
    }
}

impl Board {
    /// The board at power-on.
    #[must_use]
    pub fn new(config: &BoardConfig) -> Self {
        let mut board = Self {
            rate: config.rate,
            now: Icount(0),
            next: None,
            deadlines: [None; SLOTS.len()],
            driven: (0, 0),
            optional_rows: table::optional_rows(config),
            devices: table::devices(config),
            unclaimed: BTreeSet::new(),
            refused: Refused::default(),
            accesses: Accesses::default(),
            traces: Traces::default(),
        };
        board.settle();
        board
    }

    /// Sets the chips up as firmware leaves them when it hands over to a kernel.
    pub fn hand_over(&mut self) {
        for (port, value) in hand_over::WRITES {
            self.port_write(port, 1, value.into(), Icount(0));
        }
        // No processor has waited for these accesses.
        self.take_access_time();
    }

    /// Whether the board has the speed and the rows of `other`, and the same devices.
    pub(crate) fn is_wired_as(&self, other: &Board) -> bool {
        let same_rows = self.rate == other.rate && self.optional_rows == other.optional_rows;
        same_rows && self.devices.optional.kinds() == other.devices.optional.kinds()
    }

    /// The end of the run that the guest has asked for.
    #[must_use]
    pub fn ending(&self) -> Option<Ending> {
        self.devices.ending()
    }

    /// The machine has looked at all that it looks at between two runs of a processor: lines, the
    /// next deadline, messages, SMI#, who sees SMRAM, and an end of the run.
    pub(crate) fn settled(&mut self) {
        self.traces.disturbed = false;
    }

    /// Whether any of that may have changed since.
    pub(crate) fn disturbed(&self) -> bool {
        self.traces.disturbed
    }

    /// Whether SMI# has been asserted since the last call.
    pub fn take_smi(&mut self) -> bool {
        self.devices.smi.take()
    }

    /// There is an SMI to take.
    #[must_use]
    pub fn has_smi(&self) -> bool {
        self.devices.smi.raised()
    }

    /// Who sees system-management RAM.
    #[must_use]
    pub fn smram(&self) -> Smram {
        self.devices.pci.config(HOST_BRIDGE).map(Smram::of).unwrap_or_default()
    }

    /// Serial port `index` (0: COM1).
    fn serial_port(&mut self, index: usize) -> Option<&mut Uart> {
        match index {
            0 => Some(&mut self.devices.com1),
            1 => Some(&mut self.devices.com2),
            _ => None,
        }
    }

    /// What serial port `index` (0 or 1) has sent since the last call.
    pub fn take_serial_output(&mut self, index: usize) -> Vec<u8> {
        self.serial_port(index).map(Uart::take_output).unwrap_or_default()
    }

    /// What was written to the debug console since the last call.
    pub fn take_debug_output(&mut self) -> Vec<u8> {
        self.devices.debug_console.take_output()
    }

    /// Queues input for serial port `index` (0 or 1) at `now`.
    pub fn push_serial_input(&mut self, index: usize, bytes: &[u8], now: Icount) {
        self.advance(now);
        if let Some(port) = self.serial_port(index) {
            port.push_input(bytes, now);
        }
        self.settle();
    }

    /// A break arrives at serial port `index` (0 or 1) at `now`.
    pub fn push_serial_break(&mut self, index: usize, now: Icount) {
        self.advance(now);
        if let Some(port) = self.serial_port(index) {
            port.push_break(now);
        }
        self.settle();
    }

    /// How many bytes of input wait outside the receive FIFO of serial port `index` (0 or 1).
    #[must_use]
    pub fn serial_waiting(&self, index: usize) -> usize {
        match index {
            0 => self.devices.com1.waiting(),
            1 => self.devices.com2.waiting(),
            _ => 0,
        }
    }

    /// A key of the keyboard goes down or up at `now`, see [`crate::machine::Input::Key`].
    pub fn press_key(&mut self, key: u8, down: bool, now: Icount) {
        self.advance(now);
        self.devices.i8042.key(key, down, now);
        self.settle();
    }

    /// Presses the power button at `now`.
    pub fn press_power_button(&mut self, now: Icount) {
        self.advance(now);
        self.devices.acpi_pm.press_power_button();
        self.settle();
    }
}
