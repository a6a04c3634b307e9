//! The board: which device answers at which address, and which line leads to which input.
//!
//! After every access and at every deadline the board samples the devices' output levels and hands
//! them to the interrupt controllers, so that their outputs are always up to date.

mod map;

use std::collections::BTreeSet;

use serde::{Deserialize, Serialize};

use crate::{
    device::{MmioDevice, PortDevice, Timed, all_ones},
    devices::{
        acpi_pm::AcpiPm,
        hpet::Hpet,
        i8042::I8042,
        ioapic::{InterruptMessage, IoApic},
        misc::{ControlPortA, DebugConsole, DebugExit, PostCode, ResetControl},
        pci::{PciHost, Smram},
        pic::PicPair,
        pit::Pit,
        rtc::{self, Rtc},
        smi::Smi,
        testdev::TestDevice,
        uart::Uart,
    },
    time::{Icount, Rate},
};

pub use map::{COM, PM_BASE, SCI_IRQ};
use map::{Id, MmioId, PortRow, TEST_PORTS, debug_exit_row, mmio_row, port_row};

/// How many unclaimed accesses are remembered.
const UNCLAIMED_LIMIT: usize = 1024;

/// What an access to a device may change, besides what is read from it.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Effect {
    /// Nothing that the board looks at.
    None,
    /// How interrupt lines are taken, or which are asserted.
    Lines,
    /// The lines and the deadline of the device at this place of [`Board::timed`].
    Timed(usize),
}

/// What the board is built from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BoardConfig {
    /// The machine's nominal speed.
    pub rate: Rate,
    /// What the clock shows at power-on: seconds since 1970, UTC.
    pub start: u64,
    /// Bytes of memory below 4 GiB.
    pub low_memory: u64,
    /// Bytes of memory above 4 GiB.
    pub high_memory: u64,
    /// Processors, as CMOS byte 5Fh tells firmware.
    pub processors: u8,
    /// `isa-debug-exit`: first port and number of ports.
    pub debug_exit: Option<(u16, u16)>,
    /// `pc-testdev`.
    pub test_device: bool,
}

impl Default for BoardConfig {
    fn default() -> Self {
        Self {
            rate: Rate::default(),
            start: rtc::DEFAULT_START,
            low_memory: 128 << 20,
            high_memory: 0,
            processors: 1,
            debug_exit: None,
            test_device: false,
        }
    }
}

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
    /// Where.
    pub space: Space,
    /// The first byte's address.
    pub address: u64,
    /// A write, not a read.
    pub write: bool,
}

/// The devices and their wiring.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Board {
    rate: Rate,
    now: Icount,
    next: Option<Icount>,
    /// The deadlines of the devices of [`Self::timed`].
    deadlines: [Option<Icount>; 6],
    /// What [`Self::sample`] has handed on last.
    driven: (u16, u32),
    debug_exit_row: Option<PortRow>,
    acpi_pm: AcpiPm,
    com: [Uart; 2],
    control_port_a: ControlPortA,
    debug_console: DebugConsole,
    debug_exit: DebugExit,
    hpet: Hpet,
    i8042: I8042,
    ioapic: IoApic,
    pci: PciHost,
    pic: PicPair,
    pit: Pit,
    post_code: PostCode,
    reset_control: ResetControl,
    rtc: Rtc,
    smi: Smi,
    test_device: Option<TestDevice>,
    unclaimed: BTreeSet<Unclaimed>,
}

impl Board {
    /// The board at power-on.
    #[must_use]
    pub fn new(config: &BoardConfig) -> Self {
        let rate = config.rate;
        let mut rtc = Rtc::new(rate, config.start);
        rtc.preset_memory(config.low_memory, config.high_memory);
        rtc.preset(0x5f, config.processors.saturating_sub(1));
        let mut board = Self {
            rate,
            now: Icount(0),
            next: None,
            deadlines: [None; 6],
            driven: (0, 0),
            debug_exit_row: config.debug_exit.map(|(base, length)| debug_exit_row(base, length)),
            acpi_pm: AcpiPm::new(rate),
            com: [Uart::new(rate), Uart::new(rate)],
            control_port_a: ControlPortA::default(),
            debug_console: DebugConsole::default(),
            debug_exit: DebugExit::default(),
            hpet: Hpet::new(rate),
            i8042: I8042::default(),
            ioapic: IoApic::default(),
            pci: PciHost::default(),
            pic: PicPair::new(),
            pit: Pit::new(rate),
            post_code: PostCode::default(),
            reset_control: ResetControl::default(),
            rtc,
            smi: Smi::default(),
            test_device: config.test_device.then(TestDevice::default),
            unclaimed: BTreeSet::new(),
        };
        board.settle();
        board
    }

    /// `IN`: reads `size` (1, 2 or 4) bytes from `port`; all-ones where nobody answers.
    pub fn port_read(&mut self, port: u16, size: u8, now: Icount) -> u32 {
        self.arrive(now);
        self.read_part(port, size)
    }

    /// `OUT`: writes the low `size` (1, 2 or 4) bytes of `value` to `port`.
    pub fn port_write(&mut self, port: u16, size: u8, value: u32, now: Icount) {
        self.arrive(now);
        self.write_part(port, size, value);
    }

    /// Reads memory space: `size` is 1, 2, 4 or 8; all-ones where nobody answers.
    pub fn mmio_read(&mut self, address: u64, size: u8, now: Icount) -> u64 {
        self.arrive(now);
        self.mmio_read_part(address, size)
    }

    /// Writes memory space: `size` is 1, 2, 4 or 8.
    pub fn mmio_write(&mut self, address: u64, size: u8, value: u64, now: Icount) {
        self.arrive(now);
        self.mmio_write_part(address, size, value);
    }

    /// The first instant at which an output may change by itself.
    #[must_use]
    pub fn next_deadline(&self) -> Option<Icount> {
        self.next
    }

    /// Goes to `now`, past the deadlines on the way. A device that no access reaches follows
    /// later: nothing of it changes before its deadline.
    pub fn arrive(&mut self, now: Icount) {
        while let Some(due) = self.next.filter(|&due| due <= now) {
            self.step_to(due);
        }
        self.now = self.now.max(now);
    }

    /// Brings every device to `now`, one deadline after the other.
    pub fn advance(&mut self, now: Icount) {
        self.arrive(now);
        let now = self.now;
        self.timed().into_iter().for_each(|device| device.advance(now));
    }

    /// The level of the interrupt controllers' INTR, wired to LINT0 of the processors.
    #[must_use]
    pub fn intr_output(&self) -> bool {
        self.pic.intr()
    }

    /// INTA: the vector of the interrupt that INTR announces.
    pub fn acknowledge(&mut self) -> u8 {
        self.pic.acknowledge()
    }

    /// The interrupt messages to the local APICs since the last call, in order.
    pub fn take_messages(&mut self) -> Vec<InterruptMessage> {
        self.ioapic.take_messages()
    }

    /// There are messages to take.
    #[must_use]
    pub fn has_messages(&self) -> bool {
        self.ioapic.has_messages()
    }

    /// A local APIC has ended the level-triggered interrupt `vector`.
    pub fn eoi(&mut self, vector: u8) {
        self.ioapic.eoi(vector);
    }

    /// Whether SMI# has been asserted since the last call.
    pub fn take_smi(&mut self) -> bool {
        self.smi.take()
    }

    /// There is an SMI to take.
    #[must_use]
    pub fn has_smi(&self) -> bool {
        self.smi.raised()
    }

    /// Who sees system-management RAM.
    #[must_use]
    pub fn smram(&self) -> Smram {
        self.pci.smram()
    }

    /// The guest has switched the machine off.
    #[must_use]
    pub fn power_off(&self) -> bool {
        self.acpi_pm.power_off()
    }

    /// The guest has asked for a reset.
    #[must_use]
    pub fn reset(&self) -> bool {
        self.reset_control.reset() || self.control_port_a.reset() || self.i8042.reset()
    }

    /// The exit status that the guest asked for through `isa-debug-exit`.
    #[must_use]
    pub fn debug_exit(&self) -> Option<u32> {
        self.debug_exit.status()
    }

    /// What serial port `index` (0 or 1) has sent since the last call.
    pub fn take_serial_output(&mut self, index: usize) -> Vec<u8> {
        self.com.get_mut(index).map(Uart::take_output).unwrap_or_default()
    }

    /// What was written to the debug console since the last call.
    pub fn take_debug_output(&mut self) -> Vec<u8> {
        self.debug_console.take_output()
    }

    /// Queues input for serial port `index` (0 or 1) at `now`.
    pub fn push_serial_input(&mut self, index: usize, bytes: &[u8], now: Icount) {
        self.advance(now);
        if let Some(port) = self.com.get_mut(index) {
            port.push_input(bytes, now);
        }
        self.settle();
    }

    /// Presses the power button at `now`.
    pub fn press_power_button(&mut self, now: Icount) {
        self.advance(now);
        self.acpi_pm.press_power_button();
        self.settle();
    }

    /// The accesses that no device claimed, each once; at most the first 1024 places.
    #[must_use]
    pub fn unclaimed(&self) -> &BTreeSet<Unclaimed> {
        &self.unclaimed
    }

    fn step_to(&mut self, due: Icount) {
        self.now = self.now.max(due);
        self.settle();
    }

    fn timed(&mut self) -> [&mut dyn Timed; 6] {
        let [com1, com2] = &mut self.com;
        [&mut self.acpi_pm, com1, com2, &mut self.hpet, &mut self.pit, &mut self.rtc]
    }

    /// Samples the outputs and looks up the next deadline.
    fn settle(&mut self) {
        let now = self.now;
        // An access may have moved a deadline to before `now`.
        self.timed().into_iter().for_each(|device| device.advance(now));
        self.sample(true);
        self.deadlines = self.timed().map(|device| device.deadline(now));
        // At the end of time nothing comes any more.
        self.next = self.deadlines.into_iter().flatten().min().filter(|&due| due > now);
    }

    /// Brings the device that is about to be accessed to now.
    fn reach(&mut self, effect: Effect) {
        if let Effect::Timed(index) = effect {
            let now = self.now;
            self.timed()[index].advance(now);
        }
    }

    /// [`Self::settle`] after an access that has changed no more than `effect`.
    fn settle_after(&mut self, effect: Effect) {
        match effect {
            Effect::None => {}
            Effect::Lines => self.sample(true),
            Effect::Timed(index) => {
                let now = self.now;
                self.reach(effect);
                self.sample(false);
                self.deadlines[index] = self.timed()[index].deadline(now);
                self.next = self.deadlines.into_iter().flatten().min().filter(|&due| due > now);
            }
        }
    }

    /// Hands the output levels to the interrupt controllers: if they have changed, or always if
    /// `anew`. An edge of the HPET is a line that goes down and up again in no time, so its lines
    /// are handed over twice.
    fn sample(&mut self, anew: bool) {
        let isa = self.isa_lines();
        let (before, after) = self.hpet.take_lines();
        if before != after {
            self.drive(isa, before);
        }
        if anew || before != after || self.driven != (isa, after) {
            self.driven = (isa, after);
            self.drive(isa, after);
        }
    }

    /// Drives the ISA lines and the HPET's I/O APIC inputs. IRQ0 leads to input 2; in legacy
    /// replacement mode the HPET's inputs 2 and 8 are IRQ0 and IRQ8 as well.
    fn drive(&mut self, isa: u16, hpet: u32) {
        let legacy = u32::from(self.hpet.legacy());
        let irq0 = (hpet >> 2 & legacy) as u16;
        let irq8 = (hpet & legacy << 8) as u16;
        self.pic.set_lines(isa | irq0 | irq8);
        let pins = u32::from(isa & !1) | u32::from(isa & 1) << 2;
        self.ioapic.set_lines(pins | hpet);
    }

    /// The levels of the sixteen ISA interrupt lines, the HPET's apart.
    fn isa_lines(&self) -> u16 {
        let line = |irq: u8, level: bool| u16::from(level) << irq;
        let legacy = self.hpet.legacy();
        line(0, !legacy && self.pit.irq(self.now))
            | line(1, self.i8042.keyboard_irq())
            | line(COM[0].1, self.com[0].irq())
            | line(COM[1].1, self.com[1].irq())
            | line(8, !legacy && self.rtc.irq())
            | line(SCI_IRQ, self.acpi_pm.sci())
            | self.test_device.as_ref().map_or(0, TestDevice::lines)
    }

    fn port_device(&mut self, id: Id) -> &mut dyn PortDevice {
        match id {
            Id::AcpiPm => &mut self.acpi_pm,
            Id::Com1 => &mut self.com[0],
            Id::Com2 => &mut self.com[1],
            Id::ControlPortA => &mut self.control_port_a,
            Id::DebugConsole => &mut self.debug_console,
            Id::DebugExit => &mut self.debug_exit,
            Id::I8042 => &mut self.i8042,
            Id::Pci => &mut self.pci,
            Id::Pic => &mut self.pic,
            Id::Pit => &mut self.pit,
            Id::PostCode => &mut self.post_code,
            Id::ResetControl => &mut self.reset_control,
            Id::Rtc => &mut self.rtc,
            Id::Smi => &mut self.smi,
            Id::TestDevice => self.test_device.get_or_insert_default(),
        }
    }

    /// What an access to a device with ports may change.
    fn port_effect(id: Id) -> Effect {
        match id {
            Id::AcpiPm => Effect::Timed(0),
            Id::Com1 => Effect::Timed(1),
            Id::Com2 => Effect::Timed(2),
            Id::Pit => Effect::Timed(4),
            Id::Rtc => Effect::Timed(5),
            Id::I8042 | Id::Pic | Id::TestDevice => Effect::Lines,
            _ => Effect::None,
        }
    }

    fn row(&self, port: u16, size: u8) -> Option<PortRow> {
        if let Some(row) = self.debug_exit_row.filter(|row| row.claims(port, size)) {
            return Some(row);
        }
        let test = || TEST_PORTS.iter().copied().find(|row| row.claims(port, size));
        port_row(port, size).or_else(|| self.test_device.as_ref().and_then(|_| test()))
    }

    /// An access that no device takes whole is made in halves.
    fn read_part(&mut self, port: u16, size: u8) -> u32 {
        let now = self.now;
        if let Some(row) = self.row(port, size) {
            let (effect, offset) = (Self::port_effect(row.device), row.offset + (port - row.base));
            self.reach(effect);
            let value = self.port_device(row.device).read(offset, size, now);
            self.settle_after(effect);
            return value & all_ones(size) as u32;
        }
        if size <= 1 {
            self.note(Space::Port, port.into(), false);
            return 0xff;
        }
        let half = size / 2;
        let low = self.read_part(port, half);
        low | self.read_part(port.wrapping_add(half.into()), half) << (u32::from(half) * 8)
    }

    fn write_part(&mut self, port: u16, size: u8, value: u32) {
        let now = self.now;
        if let Some(row) = self.row(port, size) {
            let (effect, offset) = (Self::port_effect(row.device), row.offset + (port - row.base));
            self.reach(effect);
            let value = value & all_ones(size) as u32;
            self.port_device(row.device).write(offset, size, value, now);
            self.settle_after(effect);
            return;
        }
        if size <= 1 {
            self.note(Space::Port, port.into(), true);
            return;
        }
        let half = size / 2;
        self.write_part(port, half, value);
        self.write_part(port.wrapping_add(half.into()), half, value >> (u32::from(half) * 8));
    }

    fn mmio_device(&mut self, id: MmioId) -> &mut dyn MmioDevice {
        match id {
            MmioId::Hpet => &mut self.hpet,
            MmioId::IoApic => &mut self.ioapic,
            MmioId::Pci => &mut self.pci,
            MmioId::TestDevice => self.test_device.get_or_insert_default(),
        }
    }

    /// The same for memory space.
    fn mmio_effect(id: MmioId) -> Effect {
        match id {
            MmioId::Hpet => Effect::Timed(3),
            MmioId::IoApic => Effect::Lines,
            MmioId::Pci | MmioId::TestDevice => Effect::None,
        }
    }

    fn mmio_read_part(&mut self, address: u64, size: u8) -> u64 {
        let now = self.now;
        if let Some(row) = mmio_row(address, size, self.test_device.is_some()) {
            let effect = Self::mmio_effect(row.device);
            self.reach(effect);
            let value = self.mmio_device(row.device).read(address - row.base, size, now);
            self.settle_after(effect);
            return value & all_ones(size);
        }
        if size <= 1 {
            self.note(Space::Memory, address, false);
            return 0xff;
        }
        let half = size / 2;
        let low = self.mmio_read_part(address, half);
        let high = self.mmio_read_part(address.wrapping_add(half.into()), half);
        low | high << (u32::from(half) * 8)
    }

    fn mmio_write_part(&mut self, address: u64, size: u8, value: u64) {
        let now = self.now;
        if let Some(row) = mmio_row(address, size, self.test_device.is_some()) {
            let effect = Self::mmio_effect(row.device);
            self.reach(effect);
            let value = value & all_ones(size);
            self.mmio_device(row.device).write(address - row.base, size, value, now);
            self.settle_after(effect);
            return;
        }
        if size <= 1 {
            self.note(Space::Memory, address, true);
            return;
        }
        let half = size / 2;
        self.mmio_write_part(address, half, value);
        let high = value >> (u32::from(half) * 8);
        self.mmio_write_part(address.wrapping_add(half.into()), half, high);
    }

    fn note(&mut self, space: Space, address: u64, write: bool) {
        if self.unclaimed.len() < UNCLAIMED_LIMIT {
            self.unclaimed.insert(Unclaimed { space, address, write });
        }
    }
}
