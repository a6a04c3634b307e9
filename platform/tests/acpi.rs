//! The generated ACPI tables: found from the root pointer, checksums right, contents decoded.

mod common;

use common::Memory;
use platform::{acpi, board::OptionalDevice, memory_map::MemoryMap};

const SIZE: u64 = 64 << 20;
/// The optional devices that the tables tell of.
const DEVICES: &[OptionalDevice] = &[OptionalDevice::Pvpanic, OptionalDevice::FwCfg];

fn installed(processors: u8) -> Memory {
    let mut memory = Memory::new(SIZE);
    let map = MemoryMap::new(SIZE);
    let root = acpi::install(&map, processors, DEVICES, &mut memory).unwrap();
    assert_eq!((root.address, &root.bytes), (acpi::RSDP_ADDRESS, &memory.read(root.address, 36)));
    memory
}

fn sum(bytes: &[u8]) -> u8 {
    bytes.iter().fold(0, |sum, &byte| sum.wrapping_add(byte))
}

fn table_at(memory: &Memory, address: u64) -> Vec<u8> {
    memory.read(address, memory.u32(address + 4) as usize)
}

/// The tables that the XSDT lists, and the DSDT.
fn tables(memory: &Memory) -> Vec<Vec<u8>> {
    let xsdt = table_at(memory, memory.u64(acpi::RSDP_ADDRESS + 24));
    let listed = xsdt[36..].chunks(8).map(|at| u64::from_le_bytes(at.try_into().unwrap()));
    let mut tables: Vec<_> = listed.map(|address| table_at(memory, address)).collect();
    let fadt = tables.iter().find(|table| table.starts_with(b"FACP")).unwrap();
    let dsdt = u64::from_le_bytes(fadt[140..148].try_into().unwrap());
    tables.push(table_at(memory, dsdt));
    tables
}

fn find(processors: u8, signature: &[u8; 4]) -> Vec<u8> {
    let tables = tables(&installed(processors));
    tables.into_iter().find(|table| table.starts_with(signature)).expect("listed in the XSDT")
}

#[test]
fn root_pointer_has_both_checksums() {
    let memory = installed(1);
    let rsdp = memory.read(acpi::RSDP_ADDRESS, 36);
    assert_eq!(&rsdp[..8], b"RSD PTR ");
    assert_eq!((sum(&rsdp[..20]), sum(&rsdp)), (0, 0));
}

#[test]
fn every_table_has_its_checksum() {
    let memory = installed(3);
    let rsdt = table_at(&memory, memory.u32(acpi::RSDP_ADDRESS + 16).into());
    let xsdt = table_at(&memory, memory.u64(acpi::RSDP_ADDRESS + 24));
    let mut signatures = Vec::new();
    for table in tables(&memory).into_iter().chain([rsdt, xsdt]) {
        signatures.push(String::from_utf8(table[..4].to_vec()).unwrap());
        assert_eq!(sum(&table), 0, "{:?}", signatures.last());
    }
    assert_eq!(
        signatures,
        ["FACP", "APIC", "HPET", "MCFG", "SPCR", "DBG2", "DSDT", "RSDT", "XSDT"]
    );
}

#[test]
fn rsdt_and_xsdt_agree() {
    let memory = installed(1);
    let rsdt = table_at(&memory, memory.u32(acpi::RSDP_ADDRESS + 16).into());
    let xsdt = table_at(&memory, memory.u64(acpi::RSDP_ADDRESS + 24));
    let short = rsdt[36..].chunks(4).map(|at| u32::from_le_bytes(at.try_into().unwrap()).into());
    let long = xsdt[36..].chunks(8).map(|at| u64::from_le_bytes(at.try_into().unwrap()));
    assert_eq!(short.collect::<Vec<u64>>(), long.collect::<Vec<_>>());
}

#[test]
fn madt_has_an_entry_for_each_processor() {
    let check = |processors: u8| {
        let madt = find(processors, b"APIC");
        let (mut at, mut kinds) = (44, Vec::new());
        while at < madt.len() {
            kinds.push(madt[at]);
            at += usize::from(madt[at + 1]);
        }
        assert_eq!(at, madt.len());
        let of = |kind: u8| kinds.iter().filter(|&&found| found == kind).count();
        assert_eq!((of(0), of(1), of(2), of(4)), (usize::from(processors), 1, 2, 1));
    };
    [1, 2, 64, 255].into_iter().for_each(check);
}

#[test]
fn facs_is_aligned_and_found() {
    let memory = installed(1);
    let fadt = find(1, b"FACP");
    let facs = u32::from_le_bytes(fadt[36..40].try_into().unwrap());
    assert_eq!((facs % 64, memory.read(facs.into(), 4)), (0, b"FACS".to_vec()));
}

/// Decodes AML's package structure: every object list ends exactly where its package does.
fn walk_aml(bytes: &[u8], names: &mut Vec<String>) {
    let mut at = 0;
    while at < bytes.len() {
        let header = match bytes[at..] {
            [0x10, ..] => 1,
            [0x5b, 0x82, ..] => 2,
            [0x08, ..] => {
                names.push(String::from_utf8_lossy(&bytes[at + 1..at + 5]).into());
                at += 1 + if bytes[at + 1] == b'\\' { 5 } else { 4 };
                at += data_length(&bytes[at..]);
                continue;
            }
            _ => panic!("opcode {:#x} at {at:#x}", bytes[at]),
        };
        let (length, lead) = package_length(&bytes[at + header..]);
        let end = at + header + length;
        let name = at + header + lead;
        let inner = name + if bytes[name] == b'\\' { 5 } else { 4 };
        names.push(String::from_utf8_lossy(&bytes[inner - 4..inner]).into());
        walk_aml(&bytes[inner..end], names);
        at = end;
    }
}

/// The package length and the bytes of its encoding.
fn package_length(bytes: &[u8]) -> (usize, usize) {
    let further = usize::from(bytes[0] >> 6);
    if further == 0 {
        return (bytes[0].into(), 1);
    }
    let high = (0..further).map(|i| usize::from(bytes[1 + i]) << (4 + 8 * i)).sum::<usize>();
    (high | usize::from(bytes[0] & 15), 1 + further)
}

fn data_length(bytes: &[u8]) -> usize {
    match bytes[0] {
        0x00 | 0x01 => 1,
        0x0a => 2,
        0x0b => 3,
        0x0c => 5,
        0x0d => bytes.iter().position(|&byte| byte == 0).unwrap() + 1,
        0x11 | 0x12 => 1 + package_length(&bytes[1..]).0,
        other => panic!("data object {other:#x}"),
    }
}

#[test]
fn dsdt_nests_properly() {
    let mut names = Vec::new();
    walk_aml(&find(2, b"DSDT")[36..], &mut names);
    for name in [
        "_SB_", "C000", "C001", "PCI0", "_PRT", "_CRS", "ISA_", "COM1", "COM2", "PEVT", "FWCF",
        "HPET",
    ] {
        assert!(names.iter().any(|found| found == name), "{name} in {names:?}");
    }
    assert!(!names.iter().any(|name| name == "C002"));
}

#[test]
fn com1_is_the_console_and_the_debug_port() {
    let spcr = find(1, b"SPCR");
    let com1 = [&[1, 8, 0, 1][..], &0x3f8u64.to_le_bytes()].concat();
    // A 16550 at port 3F8h, line 4 of both controllers, 115200 baud.
    assert_eq!((spcr.len(), spcr[36], &spcr[40..52]), (80, 0, &com1[..]));
    assert_eq!((&spcr[52..54], &spcr[54..58], spcr[58]), (&[3, 4][..], &[4, 0, 0, 0][..], 7));
    let dbg2 = find(1, b"DBG2");
    assert_eq!((&dbg2[36..44]), [44, 0, 0, 0, 1, 0, 0, 0]);
    let device = &dbg2[44..];
    let half = |at: usize| usize::from(u16::from_le_bytes([device[at], device[at + 1]]));
    assert_eq!((half(1), half(12), half(14)), (device.len(), 0x8000, 0));
    assert_eq!(&device[half(18)..][..12], com1);
    assert_eq!(&device[half(20)..][..4], [8, 0, 0, 0]);
    assert_eq!(&device[half(6)..][..half(4)], b"\\_SB.PCI0.ISA.COM1\0");
}
