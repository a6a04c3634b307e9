//! The ACPI tables, generated for the board: RSDP, RSDT, XSDT, FADT, FACS, MADT, HPET, MCFG,
//! SPCR, DBG2, DSDT.
//!
//! ACPI 5.1, "ACPI Software Programming Model". The tables lie at the top of low memory, the root
//! pointer where the BIOS area is searched for it.

mod aml;
mod dsdt;
mod serial;

pub(crate) use dsdt::pci_gsi;

use crate::{
    board::{OptionalDevice, PM_BASE, SCI_IRQ},
    boot::{GuestMemory, MemoryError, RootPointer},
    devices::hpet,
    memory_map::{ECAM_BASE, HPET_BASE, IOAPIC_BASE, LAPIC_BASE, MemoryMap},
};

/// Where the root pointer is.
pub const RSDP_ADDRESS: u64 = 0xf_0000;
/// Port and value of the reset register.
const RESET: (u16, u8) = (0xcf9, 0x06);
/// The CMOS byte that holds the century.
const CENTURY: u8 = 0x32;

const HEADER_SIZE: usize = 36;
const OEM_ID: &[u8; 6] = b"STRATA";
const OEM_TABLE_ID: &[u8; 8] = b"STRATAPC";
const FACS_SIZE: usize = 64;

/// Writes the tables into the areas that `map` keeps for them and returns the root pointer.
pub fn install(
    map: &MemoryMap,
    processors: u8,
    devices: &[OptionalDevice],
    memory: &mut dyn GuestMemory,
) -> Result<RootPointer, MemoryError> {
    memory.write(map.facs_base(), &facs())?;
    let mut at = map.acpi_base();
    let mut place = |bytes: Vec<u8>| {
        let address = at;
        at = (at + bytes.len() as u64).next_multiple_of(16);
        memory.write(address, &bytes).map(|()| address)
    };
    let dsdt = place(table(b"DSDT", 2, &dsdt::body(processors, devices)))?;
    let fadt = place(table(b"FACP", 5, &fadt(map.facs_base(), dsdt)))?;
    let madt = place(table(b"APIC", 3, &madt(processors)))?;
    let hpet = place(table(b"HPET", 1, &hpet_body()))?;
    let mcfg = place(table(b"MCFG", 1, &mcfg()))?;
    let spcr = place(table(b"SPCR", 2, &serial::redirection()))?;
    let dbg2 = place(table(b"DBG2", 0, &serial::debug_port()))?;
    let tables = [fadt, madt, hpet, mcfg, spcr, dbg2];
    let short = tables.iter().flat_map(|&address| (address as u32).to_le_bytes());
    let rsdt = place(table(b"RSDT", 1, &short.collect::<Vec<_>>()))?;
    let long = tables.iter().flat_map(|address| address.to_le_bytes());
    let xsdt = place(table(b"XSDT", 1, &long.collect::<Vec<_>>()))?;
    let root = RootPointer { address: RSDP_ADDRESS, bytes: rsdp(rsdt as u32, xsdt) };
    memory.write(root.address, &root.bytes)?;
    Ok(root)
}

/// The byte that makes the sum of `bytes` and itself zero.
fn checksum(bytes: &[u8]) -> u8 {
    bytes.iter().fold(0u8, |sum, &byte| sum.wrapping_sub(byte))
}

/// A table: the common header, then `body`.
fn table(signature: &[u8; 4], revision: u8, body: &[u8]) -> Vec<u8> {
    let length = (HEADER_SIZE + body.len()) as u32;
    let mut bytes = [
        signature,
        &length.to_le_bytes()[..],
        &[revision, 0],
        OEM_ID,
        OEM_TABLE_ID,
        &1u32.to_le_bytes(),
        b"STRA",
        &1u32.to_le_bytes(),
        body,
    ]
    .concat();
    bytes[9] = checksum(&bytes);
    bytes
}

/// Root System Description Pointer, revision 2.
fn rsdp(rsdt: u32, xsdt: u64) -> Vec<u8> {
    let mut bytes = vec![0; 36];
    put(&mut bytes, 0, b"RSD PTR ");
    put(&mut bytes, 9, OEM_ID);
    bytes[15] = 2;
    put(&mut bytes, 16, &rsdt.to_le_bytes());
    put(&mut bytes, 20, &36u32.to_le_bytes());
    put(&mut bytes, 24, &xsdt.to_le_bytes());
    bytes[8] = checksum(&bytes[..20]);
    bytes[32] = checksum(&bytes);
    bytes
}

/// Firmware ACPI Control Structure, version 2.
fn facs() -> Vec<u8> {
    let mut bytes = vec![0; FACS_SIZE];
    put(&mut bytes, 0, b"FACS");
    put(&mut bytes, 4, &(FACS_SIZE as u32).to_le_bytes());
    bytes[32] = 2;
    bytes
}

fn put(bytes: &mut [u8], at: usize, value: &[u8]) {
    bytes[at..at + value.len()].copy_from_slice(value);
}

/// A generic address in port space: `bits` wide, accessed in `access` (1 byte, 2 word, 3 dword).
fn port_address(port: u16, bits: u8, access: u8) -> Vec<u8> {
    [&[1, bits, 0, access][..], &u64::from(port).to_le_bytes()].concat()
}

/// The fields of a revision 5 FADT that are not zero: offset in the table, value.
fn fadt_fields(facs: u64, dsdt: u64) -> Vec<(usize, Vec<u8>)> {
    // No VGA (bit 2); there are an 8042 (bit 1) and ISA devices (bit 0).
    let boot_flags: u16 = 1 << 0 | 1 << 1 | 1 << 2;
    // WBINVD works, C1 works, sleep button absent, RTC wake not fixed, 32-bit timer, reset register.
    let flags: u32 = 1 << 0 | 1 << 2 | 1 << 5 | 1 << 6 | 1 << 8 | 1 << 10;
    let le32 = |value: u64| (value as u32).to_le_bytes().to_vec();
    let port = |offset: u16| u32::from(PM_BASE + offset).to_le_bytes().to_vec();
    vec![
        (36, le32(facs)),
        (40, le32(dsdt)),
        (46, u16::from(SCI_IRQ).to_le_bytes().to_vec()),
        (56, port(0)),
        (64, port(4)),
        (76, port(8)),
        (88, vec![4, 2, 0, 4]),
        // No C2 and no C3: latencies beyond what they may have.
        (96, 0xfffu16.to_le_bytes().to_vec()),
        (98, 0xfffu16.to_le_bytes().to_vec()),
        (108, vec![CENTURY]),
        (109, boot_flags.to_le_bytes().to_vec()),
        (112, flags.to_le_bytes().to_vec()),
        (116, port_address(RESET.0, 8, 1)),
        (128, vec![RESET.1]),
        // ACPI 5.1.
        (131, vec![1]),
        (140, dsdt.to_le_bytes().to_vec()),
        (148, port_address(PM_BASE, 32, 2)),
        (172, port_address(PM_BASE + 4, 16, 2)),
        (208, port_address(PM_BASE + 8, 32, 3)),
    ]
}

/// Fixed ACPI Description Table.
fn fadt(facs: u64, dsdt: u64) -> Vec<u8> {
    let mut bytes = vec![0; 268];
    for (at, value) in fadt_fields(facs, dsdt) {
        put(&mut bytes, at, &value);
    }
    bytes.split_off(HEADER_SIZE)
}

/// Multiple APIC Description Table: processors, the I/O APIC, how ISA lines reach it, LINT1.
fn madt(processors: u8) -> Vec<u8> {
    // There are 8259s as well.
    let mut bytes = [(LAPIC_BASE as u32).to_le_bytes(), 1u32.to_le_bytes()].concat();
    for id in 0..processors {
        bytes.extend([0, 8, id, id, 1, 0, 0, 0]);
    }
    bytes.extend([1, 12, 0, 0]);
    bytes.extend((IOAPIC_BASE as u32).to_le_bytes());
    bytes.extend(0u32.to_le_bytes());
    bytes.extend(source_override(0, 2, 0));
    // Active high, level triggered.
    bytes.extend(source_override(SCI_IRQ, SCI_IRQ.into(), 0x0d));
    // NMI at LINT1 of every processor.
    bytes.extend([4, 6, 0xff, 0, 0, 1]);
    bytes
}

/// ISA interrupt `irq` reaches the I/O APIC at input `gsi`.
fn source_override(irq: u8, gsi: u32, flags: u16) -> Vec<u8> {
    [&[2, 10, 0, irq][..], &gsi.to_le_bytes(), &flags.to_le_bytes()].concat()
}

/// HPET Description Table.
fn hpet_body() -> Vec<u8> {
    let address = [&[0, 64, 0, 0][..], &HPET_BASE.to_le_bytes()].concat();
    let minimum_tick = 100u16.to_le_bytes();
    [&hpet::CAPABILITIES.to_le_bytes()[..], &address, &[0], &minimum_tick, &[0]].concat()
}

/// Memory mapped configuration space: segment 0, all buses.
fn mcfg() -> Vec<u8> {
    [&[0; 8][..], &ECAM_BASE.to_le_bytes(), &[0, 0, 0, 0xff, 0, 0, 0, 0]].concat()
}
