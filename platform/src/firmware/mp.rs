//! The multiprocessor tables, for kernels that know no ACPI.
//!
//! MultiProcessor Specification 1.4, "MP Configuration Table".

use crate::{
    acpi::pci_gsi,
    board::SCI_IRQ,
    devices::pci,
    memory_map::{IOAPIC_BASE, LAPIC_BASE},
};

use super::Processors;

/// Address of the floating pointer; the table follows at once.
pub const MP_ADDRESS: u64 = 0xf_0040;
const POINTER_SIZE: usize = 16;
const HEADER_SIZE: usize = 44;
const REVISION: u8 = 4;

/// The kinds of entries.
mod entry {
    pub(super) const PROCESSOR: u8 = 0;
    pub(super) const BUS: u8 = 1;
    pub(super) const IO_APIC: u8 = 2;
    pub(super) const IO_INTERRUPT: u8 = 3;
    pub(super) const LOCAL_INTERRUPT: u8 = 4;
}

const PCI_BUS: u8 = 0;
const ISA_BUS: u8 = 1;
/// The I/O APIC's identifier, as its register says at reset.
const IO_APIC_ID: u8 = 0;
const IO_APIC_VERSION: u8 = 0x20;
/// Kinds of interrupts.
const INT: u8 = 0;
const NMI: u8 = 1;
const EXT_INT: u8 = 3;
/// The trigger and the polarity of the bus; active high and level.
const CONFORMS: u16 = 0;
const HIGH_LEVEL: u16 = 1 | 3 << 2;
const ALL_APICS: u8 = 0xff;
/// Processor flags: enabled, and the bootstrap processor.
const ENABLED: u8 = 1;
const BOOTSTRAP: u8 = 2;

/// The floating pointer and the configuration table.
pub(super) fn tables(processors: &Processors) -> Vec<u8> {
    let address = MP_ADDRESS + POINTER_SIZE as u64;
    // Features: there is a table, and no register that disconnects the 8259s: virtual wire mode.
    let mut pointer =
        [&b"_MP_"[..], &(address as u32).to_le_bytes(), &[1, REVISION, 0, 0, 0, 0, 0, 0]].concat();
    pointer[10] = checksum(&pointer);
    [pointer, table(&entries(processors))].concat()
}

/// The byte that makes the sum of `bytes` and itself zero.
fn checksum(bytes: &[u8]) -> u8 {
    bytes.iter().fold(0u8, |sum, &byte| sum.wrapping_sub(byte))
}

fn table(entries: &[Vec<u8>]) -> Vec<u8> {
    let body = entries.concat();
    let length = (HEADER_SIZE + body.len()) as u16;
    let mut bytes = [
        &b"PCMP"[..],
        &length.to_le_bytes(),
        &[REVISION, 0],
        b"STRATA  ",
        b"STRATAPC    ",
        &[0; 6],
        &(entries.len() as u16).to_le_bytes(),
        &(LAPIC_BASE as u32).to_le_bytes(),
        &[0; 4],
        &body,
    ]
    .concat();
    bytes[7] = checksum(&bytes);
    bytes
}

fn entries(processors: &Processors) -> Vec<Vec<u8>> {
    let mut entries: Vec<_> = (0..processors.count).map(|id| processor(id, processors)).collect();
    entries.push([&[entry::BUS, PCI_BUS][..], b"PCI   "].concat());
    entries.push([&[entry::BUS, ISA_BUS][..], b"ISA   "].concat());
    let io_apic = [entry::IO_APIC, IO_APIC_ID, IO_APIC_VERSION, ENABLED];
    entries.push([io_apic, (IOAPIC_BASE as u32).to_le_bytes()].concat());
    entries.extend((0..16).filter(|&irq| irq != 2).map(isa_interrupt));
    let pins = (0..pci::DEVICES).flat_map(|slot| (0..4).map(move |pin| (slot, pin)));
    entries.extend(pins.map(|(slot, pin)| {
        let source = (slot << 2 | pin) as u8;
        interrupt(entry::IO_INTERRUPT, INT, CONFORMS, (PCI_BUS, source), pci_gsi(slot, pin) as u8)
    }));
    entries.push(local_interrupt(EXT_INT, 0, 0));
    entries.push(local_interrupt(NMI, ALL_APICS, 1));
    entries
}

fn processor(id: u8, processors: &Processors) -> Vec<u8> {
    let flags = ENABLED | if id == 0 { BOOTSTRAP } else { 0 };
    let words = [processors.signature, processors.features, 0, 0];
    let words = words.into_iter().flat_map(u32::to_le_bytes);
    [entry::PROCESSOR, id, processors.apic_version, flags].into_iter().chain(words).collect()
}

/// An ISA line, which leads to the input of its number; that of the 8254 leads to input 2.
fn isa_interrupt(irq: u8) -> Vec<u8> {
    let flags = if irq == SCI_IRQ { HIGH_LEVEL } else { CONFORMS };
    let input = if irq == 0 { 2 } else { irq };
    interrupt(entry::IO_INTERRUPT, INT, flags, (ISA_BUS, irq), input)
}

fn local_interrupt(kind: u8, apic: u8, pin: u8) -> Vec<u8> {
    let mut bytes = interrupt(entry::LOCAL_INTERRUPT, kind, CONFORMS, (ISA_BUS, 0), pin);
    bytes[6] = apic;
    bytes
}

fn interrupt(entry: u8, kind: u8, flags: u16, (bus, irq): (u8, u8), input: u8) -> Vec<u8> {
    let [low, high] = flags.to_le_bytes();
    vec![entry, kind, low, high, bus, irq, IO_APIC_ID, input]
}
