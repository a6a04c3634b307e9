//! The devices of the board, one declaration each. `declare` says what a declaration means.

use serde::{Deserialize, Serialize};

use super::{
    BoardConfig,
    declare::{devices, when, when_any},
    row::Row,
    timers::Effect,
};
use crate::{
    device::{Device, Ending, Ends, Masters, Timed},
    devices::{
        acpi_pm::AcpiPm,
        fsb::Fsb,
        fw_cfg::{self, FwCfg},
        hpet::Hpet,
        i8042::I8042,
        ioapic::IoApic,
        misc::{ControlPortA, DebugConsole, DebugExit, PostCode, ResetControl},
        pci::{
            bus::{self, Bdf, PciBus},
            edu::Edu,
            function::PciFunction,
            host_bridge::HostBridge,
            lpc_bridge::LpcBridge,
        },
        pic::PicPair,
        pit::Pit,
        pvpanic::Pvpanic,
        rtc::Rtc,
        smi::{self, Smi},
        testdev::{self, TestDevice},
        text_display::{self, TextDisplay},
        uart::Uart,
    },
    memory_map::{ECAM_BASE, ECAM_SIZE, HPET_BASE, IOAPIC_BASE, TEXT_BASE},
    time::Icount,
};

/// Base port of the ACPI register block, which is where kernels that read no tables look for QEMU's.
pub const PM_BASE: u16 = 0x600;
/// Port of `pvpanic`.
pub const PANIC_PORT: u16 = 0x505;
/// First port of the firmware configuration.
pub const FW_CFG_PORT: u16 = 0x510;
/// The system control interrupt's line.
pub const SCI_IRQ: u8 = 9;
/// Ports and interrupt lines of COM1 and COM2.
pub const COM: [(u16, u8); 2] = [(0x3f8, 4), (0x2f8, 3)];

/// The host bridge's place on PCI bus 0.
pub(super) const HOST_BRIDGE: Bdf = bdf(0, 0);
/// The place of the bridge to ISA.
pub(super) const LPC_BRIDGE: Bdf = bdf(0x1f, 0);

/// A place on PCI bus 0.
const fn bdf(device: u16, function: u16) -> Bdf {
    device << 3 | function
}

devices! { (config)
soldered {
    acpi_pm: AcpiPm = AcpiPm::new(config.rate) => {
        port (PM_BASE, 12, 4, 0);
        line SCI_IRQ => |pm, _| pm.sci();
        is timed, ends, slow;
    }
    com1: Uart = Uart::new(config.rate) => {
        port (COM[0].0, 8, 1, 0);
        line COM[0].1 => |uart, _| uart.irq();
        is timed, slow;
    }
    com2: Uart = Uart::new(config.rate) => {
        port (COM[1].0, 8, 1, 0);
        line COM[1].1 => |uart, _| uart.irq();
        is timed, slow;
    }
    control_port_a: ControlPortA = ControlPortA::default() => {
        port (0x92, 1, 1, 0);
        is ends, slow;
    }
    debug_console: DebugConsole = DebugConsole::default() => {
        port (0xe9, 1, 1, 0);
    }
    fsb: Fsb = Fsb::default() => {}
    host_bridge: HostBridge = HostBridge => {
        function HOST_BRIDGE;
    }
    hpet: Hpet = Hpet::new(config.rate) => {
        memory (HPET_BASE, 0x400, 8, 0);
        is timed;
    }
    i8042: I8042 = I8042::new(config.rate) => {
        port (0x60, 1, 1, 0);
        port (0x64, 1, 1, 4);
        line 1 => |keyboard, _| keyboard.keyboard_irq();
        is timed, ends, slow;
    }
    ioapic: IoApic = IoApic::default() => {
        memory (IOAPIC_BASE, 0x100, 4, 0);
        is controller;
    }
    lpc_bridge: LpcBridge = LpcBridge => {
        function LPC_BRIDGE;
    }
    pci: PciBus = PciBus::default() => {
        port (0xcf8, 8, 4, 0);
        memory (ECAM_BASE, ECAM_SIZE, 4, bus::ECAM);
        is configuration;
    }
    pic: PicPair = PicPair::new() => {
        port (0x20, 2, 1, 0);
        port (0xa0, 2, 1, 2);
        port (0x4d0, 2, 1, 4);
        is controller, slow;
    }
    pit: Pit = Pit::new(config.rate) => {
        port (0x40, 4, 1, 0);
        port (0x61, 1, 1, 4);
        line 0 => |pit, now| pit.irq(now);
        is timed, slow;
    }
    post_code: PostCode = PostCode::default() => {
        port (0x80, 1, 1, 0);
        is slow;
    }
    reset_control: ResetControl = ResetControl::default() => {
        port (0xcf9, 1, 1, 0);
        is ends;
    }
    rtc: Rtc = rtc(config) => {
        port (0x70, 2, 1, 0);
        line 8 => |rtc, _| rtc.irq();
        is timed, slow;
    }
    smi: Smi = Smi::default() => {
        port (0xb2, 2, 1, 0);
        port (PM_BASE + 0x30, 8, 4, smi::ENABLE);
        is machine;
    }
    text_display: TextDisplay = TextDisplay::new(config.rate) => {
        port (text_display::PORT, 2, 1, 0);
        port (text_display::PORT + 6, 1, 1, text_display::STATUS);
        memory (TEXT_BASE, text_display::PAGE_SIZE, 8, text_display::PAGE);
    }
}
optional {
    /// QEMU's `isa-debug-exit`.
    debug_exit: DebugExit {
        /// First port.
        base: u16,
        /// Number of ports.
        length: u16
    } = DebugExit::default() => {
        port (base, length, 4, 0);
        is ends;
    }
    /// QEMU's `edu`.
    edu: Edu {
        /// With MSI-X, which QEMU's has not.
        msix: bool
    } = Edu::new(config.rate, msix) => {
        function bdf(3, 0);
        is timed;
    }
    /// QEMU's `fw_cfg`.
    fw_cfg: FwCfg = FwCfg::new(config.ram, config.processors, &config.files) => {
        port (FW_CFG_PORT, 2, 2, 0);
        port (FW_CFG_PORT + 4, 8, 4, fw_cfg::DMA);
        is masters;
    }
    /// QEMU's `pvpanic`.
    pvpanic: Pvpanic = Pvpanic::default() => {
        port (PANIC_PORT, 1, 1, 0);
        is ends;
    }
    /// QEMU's `pc-testdev`.
    test_device: TestDevice = TestDevice::default() => {
        port (0xe0, 8, 4, 0);
        port (0x2000, testdev::LINE_COUNT, 1, testdev::LINES);
        memory (0xff00_0000, testdev::MEMORY_SIZE, 8, testdev::MEMORY);
        lines |device| device.lines();
    }
}
}

/// The clock, with what firmware would have written down in its memory.
fn rtc(config: &BoardConfig) -> Rtc {
    let mut rtc = Rtc::new(config.rate, config.start);
    rtc.preset_memory(config.low_memory, config.high_memory);
    rtc.preset(0x5f, config.processors.saturating_sub(1));
    rtc
}

/// The optional devices that the configuration asks for; of each kind the first.
fn first_of_each(config: &BoardConfig) -> impl Iterator<Item = OptionalDevice> {
    let kind = std::mem::discriminant::<OptionalDevice>;
    let mut kinds = Vec::new();
    config.devices.iter().copied().filter(move |device| {
        let new = !kinds.contains(&kind(device));
        kinds.push(kind(device));
        new
    })
}

/// The devices at power-on, with the PCI functions on their bus.
pub(super) fn devices(config: &BoardConfig) -> Devices {
    let mut devices = Devices::new(config);
    for &(id, place) in FUNCTIONS {
        if let Some(config) = devices.function(id).map(|function| function.config_space()) {
            devices.pci.attach(place, config);
        }
    }
    devices
}

/// The function that is declared for a place.
pub(super) fn function_at(place: Bdf) -> Option<Id> {
    FUNCTIONS.iter().find(|(_, declared)| *declared == place).map(|(id, _)| *id)
}

/// What is declared of a device that matters to time and lines.
#[derive(Clone, Copy)]
struct Declared {
    id: Id,
    /// The device's deadline has a slot.
    slot: bool,
    /// An access takes the time of one to the ISA bus.
    slow: bool,
    /// What an access to the device may change.
    effect: Effect,
}

/// The number of slots for deadlines.
const SLOT_COUNT: usize = {
    let (mut count, mut at) = (0, 0);
    while at < DECLARED.len() {
        count += DECLARED[at].slot as usize;
        at += 1;
    }
    count
};

/// The device of each slot.
pub(super) const SLOTS: [Id; SLOT_COUNT] = {
    let mut slots = [DECLARED[0].id; SLOT_COUNT];
    let (mut slot, mut at) = (0, 0);
    while at < DECLARED.len() {
        if DECLARED[at].slot {
            slots[slot] = DECLARED[at].id;
            slot += 1;
        }
        at += 1;
    }
    slots
};

/// The slot of each device.
const SLOT_OF: [Option<usize>; DECLARED.len()] = {
    let mut slots = [None; DECLARED.len()];
    let mut slot = 0;
    while slot < SLOT_COUNT {
        slots[SLOTS[slot] as usize] = Some(slot);
        slot += 1;
    }
    slots
};

impl Id {
    /// What an access to the device may change.
    pub(super) fn effect(self) -> Effect {
        DECLARED[self as usize].effect
    }

    /// An access to the device takes the time of one to the ISA bus.
    pub(super) fn slow(self) -> bool {
        DECLARED[self as usize].slow
    }

    /// The slot of the device's deadline.
    pub(super) fn slot(self) -> Option<usize> {
        SLOT_OF[self as usize]
    }
}
