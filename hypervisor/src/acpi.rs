//! The little that the hypervisor itself reads from the machine's ACPI tables: how to power off,
//! and where the I/O APIC is. ACPI specification, "Fixed ACPI Description Table".

use crate::phys::Physical;
use alloc::vec::Vec;

/// Largest table that is looked at.
const LARGEST: u64 = 1 << 20;

/// The parts of the machine that the tables name.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Platform {
    /// The port of PM1a_CNT and the SLP_TYP of S5.
    pub power_off: Option<(u16, u8)>,
    /// The address of the first I/O APIC.
    pub ioapic: Option<u64>,
}

/// Reads the tables from the RSDP that [`root`] finds.
pub fn find(memory: &impl Physical, rsdp: u64) -> Platform {
    let mut platform = Platform::default();
    for table in root(memory, rsdp).map_or(Vec::new(), |rsdp| tables(memory, rsdp)) {
        match &signature(memory, table) {
            b"FACP" => platform.power_off = power_off(memory, table),
            b"APIC" => platform.ioapic = ioapic(memory, table),
            _ => {}
        }
    }
    platform
}

/// The address of the RSDP: `rsdp`, or, where the loader did not tell, what the BIOS area holds.
pub fn root(memory: &impl Physical, rsdp: u64) -> Option<u64> {
    if rsdp == 0 { search(memory) } else { Some(rsdp) }
}

fn bytes<const N: usize>(memory: &impl Physical, addr: u64) -> [u8; N] {
    let mut bytes = [0; N];
    memory.read(addr, &mut bytes);
    bytes
}

fn signature(memory: &impl Physical, table: u64) -> [u8; 4] {
    bytes(memory, table)
}

fn search(memory: &impl Physical) -> Option<u64> {
    (0xE_0000..0x10_0000).step_by(16).find(|&at| &bytes::<8>(memory, at) == b"RSD PTR ")
}

/// The addresses of all tables that XSDT or RSDT lists.
fn tables(memory: &impl Physical, rsdp: u64) -> Vec<u64> {
    let [revision] = bytes(memory, rsdp + 15);
    let xsdt = if revision >= 2 { memory.read_u64(rsdp + 24) } else { 0 };
    let (root, size) =
        if xsdt != 0 { (xsdt, 8) } else { (u64::from(memory.read_u32(rsdp + 16)), 4) };
    let end = root + length(memory, root);
    (root + 36..end.saturating_sub(size - 1))
        .step_by(size as usize)
        .map(|at| match size {
            8 => memory.read_u64(at),
            _ => u64::from(memory.read_u32(at)),
        })
        .collect()
}

fn length(memory: &impl Physical, table: u64) -> u64 {
    u64::from(memory.read_u32(table + 4)).min(LARGEST)
}

fn power_off(memory: &impl Physical, fadt: u64) -> Option<(u16, u8)> {
    let pm1a = u16::try_from(memory.read_u32(fadt + 64)).ok().filter(|&port| port != 0)?;
    let dsdt = u64::from(memory.read_u32(fadt + 40));
    let mut aml = alloc::vec![0; length(memory, dsdt) as usize];
    memory.read(dsdt, &mut aml);
    Some((pm1a, s5(&aml)?))
}

/// SLP_TYP from `Name (_S5, Package {a, b, …})`: NameOp, name, PackageOp, length, count, value.
fn s5(aml: &[u8]) -> Option<u8> {
    let at = aml.windows(4).position(|w| w == b"_S5_")?;
    let package = aml[at + 4..].strip_prefix(&[0x12])?;
    let package = package.get(1 + usize::from(package.first()? >> 6) + 1..)?;
    match *package {
        [0x0A, value, ..] => Some(value & 7),
        [value @ 0..=1, ..] => Some(value),
        _ => None,
    }
}

fn ioapic(memory: &impl Physical, madt: u64) -> Option<u64> {
    let end = madt + length(memory, madt);
    let mut entry = madt + 44;
    while entry + 2 <= end {
        let [kind, len] = bytes(memory, entry);
        if kind == 1 {
            return Some(memory.read_u32(entry + 4).into());
        }
        entry += u64::from(len.max(2));
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::phys::TestMemory;

    #[track_caller]
    fn check_s5(aml: &[u8], expected: Option<u8>) {
        assert_eq!(s5(aml), expected);
    }

    #[test]
    fn sleep_types() {
        check_s5(b"\x08_S5_\x12\x0A\x04\x0A\x05\x0A\x05\x00\x00", Some(5));
        check_s5(b"\x08_S5_\x12\x06\x04\x00\x00\x00\x00", Some(0));
        check_s5(b"\x08_S5_\x12\x40\x07\x04\x01\x00\x00\x00", Some(1));
        check_s5(b"\x08_S5_\x12", None);
        check_s5(b"\x08_S5_", None);
        check_s5(b"", None);
    }

    fn put(memory: &mut TestMemory, at: u64, parts: &[(u64, &[u8])]) {
        for (offset, bytes) in parts {
            memory.write(at + offset, bytes);
        }
    }

    #[test]
    fn tables_are_found_from_the_root_pointer() {
        let mut memory = TestMemory(vec![0; 0x10_0000]);
        put(&mut memory, 0xF_5A00, &[(0, b"RSD PTR "), (16, &0x1000_u32.to_le_bytes())]);
        put(&mut memory, 0x1000, &[(0, b"RSDT"), (4, &[44]), (36, &[0, 0x20, 0, 0, 0, 0x30])]);
        let fadt = [(0, &b"FACP"[..]), (40, &[0, 0x40]), (64, &[4, 0xB0])];
        put(&mut memory, 0x2000, &fadt);
        let madt = [0, 8, 0, 0, 0, 0, 0, 0, 1, 12, 0, 0, 0, 0, 0xC0, 0xFE];
        put(&mut memory, 0x3000, &[(0, b"APIC"), (4, &[64]), (44, &madt)]);
        let aml = b"\x08_S5_\x12\x0A\x04\x0A\x05";
        put(&mut memory, 0x4000, &[(0, b"DSDT"), (4, &[60]), (36, aml)]);
        let expected = Platform { power_off: Some((0xB004, 5)), ioapic: Some(0xFEC0_0000) };
        assert_eq!(find(&memory, 0), expected);
        assert_eq!(find(&memory, 0xF_5A00), expected);
    }

    #[test]
    fn a_machine_without_tables_has_nothing() {
        assert_eq!(find(&TestMemory(vec![0; 0x10_0000]), 0), Platform::default());
    }
}
