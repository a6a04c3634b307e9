//! The definition block: the devices that ACPI cannot find out otherwise.

use crate::{
    board::{COM, FW_CFG_PORT, OptionalDevice, PANIC_PORT, PM_BASE},
    devices::{acpi_pm::S5_SLEEP_TYPE, pci},
    memory_map::{ECAM_BASE, ECAM_SIZE, HPET_BASE},
};

use super::aml::{
    Aml, buses, device, eisa_id, integer, io, irq, memory_window, memory32, name, package, ports,
    resources, scope, string,
};

/// The I/O APIC inputs to which PCI interrupt pins lead: 16 to 23.
const FIRST_PCI_GSI: u32 = 16;
const PCI_GSIS: u32 = 8;

/// The body of the DSDT of a machine with `processors` processors and some optional devices.
pub(super) fn body(processors: u8, optional: &[OptionalDevice]) -> Aml {
    let mut devices: Vec<Aml> = (0..processors).map(processor).collect();
    devices.extend([pci_root(optional), motherboard(), hpet()]);
    let sleep = u32::from(S5_SLEEP_TYPE);
    let s5 = package(&[integer(sleep), integer(sleep), integer(0), integer(0)]);
    [scope("\\_SB", &devices), name("\\_S5", &s5)].concat()
}

fn processor(index: u8) -> Aml {
    let uid = integer(index.into());
    device(&format!("C{index:03X}"), &[name("_HID", &string("ACPI0007")), name("_UID", &uid)])
}

/// A device with a PNP identifier and fixed resources.
fn pnp(device_name: &str, id: &[u8; 7], unique: u32, resource: &[Aml]) -> Aml {
    let terms = [
        name("_HID", &eisa_id(id)),
        name("_UID", &integer(unique)),
        name("_CRS", &resources(resource)),
    ];
    device(device_name, &terms)
}

fn pci_root(optional: &[OptionalDevice]) -> Aml {
    let windows = [
        buses(0, 0xff),
        io(0xcf8, 8),
        ports(0, 0xcf7),
        ports(0xd00, 0xffff),
        memory_window(0x000a_0000, 0x000b_ffff),
        memory_window((ECAM_BASE + ECAM_SIZE) as u32, 0xfebf_ffff),
    ];
    let terms = [
        name("_HID", &eisa_id(b"PNP0A08")),
        name("_CID", &eisa_id(b"PNP0A03")),
        name("_UID", &integer(0)),
        name("_SEG", &integer(0)),
        name("_BBN", &integer(0)),
        name("_CRS", &resources(&windows)),
        name("_PRT", &routing()),
        isa_bridge(optional),
    ];
    device("PCI0", &terms)
}

/// The I/O APIC input of a device's interrupt pin (0: INTA).
pub(crate) fn pci_gsi(slot: u32, pin: u32) -> u32 {
    FIRST_PCI_GSI + (slot + pin) % PCI_GSIS
}

/// Each interrupt pin of each device leads to one I/O APIC input, rotated by the device number.
fn routing() -> Aml {
    let pins = (0..pci::DEVICES).flat_map(|slot| (0..4u32).map(move |pin| (slot, pin)));
    let route = |(slot, pin): (u32, u32)| {
        let gsi = integer(pci_gsi(slot, pin));
        package(&[integer(slot << 16 | 0xffff), integer(pin), integer(0), gsi])
    };
    package(&pins.map(route).collect::<Vec<_>>())
}

fn isa_bridge(optional: &[OptionalDevice]) -> Aml {
    let [com1, com2] = COM;
    let mut terms = vec![
        name("_ADR", &integer(0x001f_0000)),
        pnp("COM1", b"PNP0501", 1, &[io(com1.0, 8), irq(com1.1)]),
        pnp("COM2", b"PNP0501", 2, &[io(com2.0, 8), irq(com2.1)]),
        pnp("KBD", b"PNP0303", 0, &[io(0x60, 1), io(0x64, 1), irq(1)]),
        pnp("RTC", b"PNP0B00", 0, &[io(0x70, 2), irq(8)]),
        pnp("TIMR", b"PNP0100", 0, &[io(0x40, 4), irq(0)]),
        pnp("PIC", b"PNP0000", 0, &[io(0x20, 2), io(0xa0, 2), irq(2)]),
    ];
    terms.extend(optional.iter().filter_map(|device| isa_device(*device)));
    device("ISA", &terms)
}

/// What the definition block says of an optional device, where drivers look for it there.
fn isa_device(device: OptionalDevice) -> Option<Aml> {
    match device {
        OptionalDevice::DebugExit { .. }
        | OptionalDevice::Edu { .. }
        | OptionalDevice::TestDevice => None,
        OptionalDevice::FwCfg => Some(fw_cfg()),
        OptionalDevice::Pvpanic => Some(pvpanic()),
    }
}

/// The name by which Linux's driver looks for the port; present and working.
fn pvpanic() -> Aml {
    let terms = [
        name("_HID", &string("QEMU0001")),
        name("_CRS", &resources(&[io(PANIC_PORT, 1)])),
        name("_STA", &integer(0x0f)),
    ];
    device("PEVT", &terms)
}

/// The name by which Linux's driver looks for the ports; present, and not shown to users.
fn fw_cfg() -> Aml {
    let terms = [
        name("_HID", &string("QEMU0002")),
        name("_CRS", &resources(&[io(FW_CFG_PORT, 12)])),
        name("_STA", &integer(0x0b)),
    ];
    device("FWCF", &terms)
}

/// What no device driver may take: the configuration space and the fixed hardware's ports.
fn motherboard() -> Aml {
    let fixed = [memory32(ECAM_BASE as u32, ECAM_SIZE as u32), io(PM_BASE, 12), io(0x4d0, 2)];
    pnp("MBRD", b"PNP0C02", 0, &fixed)
}

fn hpet() -> Aml {
    pnp("HPET", b"PNP0103", 0, &[memory32(HPET_BASE as u32, 0x400)])
}
