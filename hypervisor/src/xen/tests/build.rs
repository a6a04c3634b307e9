//! The ELF reader, the ACPI tables, the memory maps and the start-of-day block.

use crate::xen::abi::layout::E820Entry;
use crate::xen::build::acpi_tables::{self, TableMemory};
use crate::xen::build::{BuildError, Image, dom0_map, domu_map, domu_ram, e820, elf};
use crate::xen::guest_memory::read_gpa;
use crate::xen::host_services::DomId;
use crate::xen::testing::World;
use alloc::vec::Vec;

/// An ELF64 with one segment of `payload` at `paddr` (`size` bytes in memory) and a Xen note.
fn kernel(paddr: u64, payload: &[u8], size: u64, entry: u32) -> Vec<u8> {
    let mut image = alloc::vec![0; 0x200];
    image[..5].copy_from_slice(b"\x7FELF\x02");
    image[32..40].copy_from_slice(&64u64.to_le_bytes());
    image[54..56].copy_from_slice(&56u16.to_le_bytes());
    image[56..58].copy_from_slice(&2u16.to_le_bytes());
    let mut header = |at: usize, kind: u32, offset: u64, paddr: u64, file: u64, size: u64| {
        image[at..at + 4].copy_from_slice(&kind.to_le_bytes());
        for (place, value) in [(8, offset), (24, paddr), (32, file), (40, size)] {
            image[at + place..at + place + 8].copy_from_slice(&value.to_le_bytes());
        }
    };
    header(64, 1, 0x200, paddr, payload.len() as u64, size);
    header(120, 4, 0x100, 0, 20, 20);
    let note = [4u32, 4, 18, u32::from_le_bytes(*b"Xen\0"), entry];
    for (index, word) in note.iter().enumerate() {
        image[0x100 + index * 4..0x104 + index * 4].copy_from_slice(&word.to_le_bytes());
    }
    image.extend_from_slice(payload);
    image
}

#[track_caller]
fn refused(image: &[u8], expected: BuildError) {
    assert_eq!(elf::parse(image).unwrap_err(), expected);
}

#[test]
fn elf_rows() {
    let good = kernel(0x3000, b"code", 0x800, 0x3010);
    let parsed = elf::parse(&good).unwrap();
    assert_eq!((parsed.entry, parsed.end()), (0x3010, 0x3800));
    refused(b"", BuildError::NotElf);
    refused(b"\x7FELF\x07", BuildError::NotElf);
    refused(&good[..0x40], BuildError::Truncated);
    refused(&good[..0x202], BuildError::Truncated);
    let mut no_note = good.clone();
    no_note[0x108] = 17;
    refused(&no_note, BuildError::NoPvhEntry);
    let mut bz = alloc::vec![0; 0x300];
    bz[0x1FE..0x200].copy_from_slice(&[0x55, 0xAA]);
    bz[0x202..0x206].copy_from_slice(b"HdrS");
    refused(&bz, BuildError::BzImage);
    let mut high = good;
    high[64 + 24..64 + 32].copy_from_slice(&u64::MAX.to_le_bytes());
    refused(&high, BuildError::Truncated);
}

/// No cut or single changed byte of an image makes the reader panic.
#[test]
fn elf_mutations_never_panic() {
    let good = kernel(0x3000, b"code", 0x800, 0x3010);
    for len in 0..good.len() {
        let _ = elf::parse(&good[..len]);
    }
    for at in 0..good.len() {
        for value in [0, 1, 0x7F, 0x80, 0xFF] {
            let mut bad = good.clone();
            bad[at] = value;
            let _ = elf::parse(&bad);
        }
    }
}

#[test]
fn memory_maps() {
    let entry = |addr, size, kind| E820Entry { addr, size, kind };
    assert_eq!(
        domu_map(0x800_0000),
        [entry(0, 0xA_0000, 1), entry(0xA_0000, 0x6_0000, 2), entry(0x10_0000, 0x7F0_0000, 1)]
    );
    assert_eq!(domu_map(5 << 30)[3], entry(1 << 32, 2 << 30, 1));
    assert_eq!(domu_ram(5 << 30), [(0, 0xC_0000), (0x10_0000, 0x8_0000)]);
    let host = [entry(0, 0x9_FC00, 1), entry(0x9_FC00, 0x400, 2), entry(0x10_0000, 0x30_0000, 1)];
    assert_eq!(
        dom0_map(&host, 0x10_0000),
        [
            entry(0, 0x9_F000, e820::RAM),
            entry(0x9_FC00, 0x400, 2),
            entry(0x10_0000, 0x6_1000, e820::RAM),
            entry(0x16_1000, 0x29_F000, e820::UNUSABLE),
        ]
    );
}

fn sum(bytes: &[u8]) -> u8 {
    bytes.iter().fold(0, |sum, &byte| sum.wrapping_add(byte))
}

struct Flat(u64, Vec<u8>);

impl TableMemory for Flat {
    fn read(&self, addr: u64, buf: &mut [u8]) -> bool {
        let Some(at) = addr.checked_sub(self.0).map(|at| at as usize) else { return false };
        let Some(bytes) = self.1.get(at..at + buf.len()) else { return false };
        buf.copy_from_slice(bytes);
        true
    }
}

/// A domU's tables are well formed, and reading them back as a platform finds their parts.
#[test]
fn acpi_tables_round_trip() {
    let (tables, rsdp) = acpi_tables::domu(0xE_0000, 3);
    let flat = Flat(0xE_0000, tables.bytes);
    let mut root = [0; 36];
    assert!(flat.read(rsdp, &mut root));
    assert_eq!((sum(&root[..20]), sum(&root)), (0, 0));
    let platform = acpi_tables::host_tables(&flat, rsdp).unwrap();
    assert_eq!(platform.kept.len(), 1, "the FADT");
    assert_eq!(platform.interrupts.len(), 1, "the I/O APIC");
    for addr in platform.kept.clone() {
        let mut header = [0; 36];
        assert!(flat.read(addr, &mut header));
        let len = u32::from_le_bytes(header[4..8].try_into().unwrap()) as usize;
        let mut table = alloc::vec![0; len];
        assert!(flat.read(addr, &mut table));
        assert_eq!((sum(&table), len), (0, 268));
        let dsdt = u64::from_le_bytes(table[140..148].try_into().unwrap());
        assert!(flat.read(dsdt, &mut header));
        assert_eq!(header[..4], *b"DSDT");
    }
    let (mine, rsdp) = acpi_tables::dom0(0x7000, 2, &platform);
    let mut both = Flat(0x7000, mine.bytes);
    both.1.resize((0xE_0000 - 0x7000) as usize, 0);
    both.1.extend_from_slice(&flat.1);
    assert_eq!(acpi_tables::host_tables(&both, rsdp), Ok(platform));
}

#[test]
fn bad_acpi_is_refused() {
    let (tables, rsdp) = acpi_tables::domu(0xE_0000, 1);
    for at in 0..tables.bytes.len() {
        let mut bytes = tables.bytes.clone();
        bytes[at] ^= 0xFF;
        // Any answer will do, a panic will not.
        let _ = acpi_tables::host_tables(&Flat(0xE_0000, bytes), rsdp);
    }
    assert_eq!(acpi_tables::host_tables(&Flat(0, Vec::new()), 0), Err(BuildError::NoAcpi));
}

#[test]
fn a_domain_is_loaded() {
    let mut world = World::new();
    let dom = DomId(1);
    world.xen.populate(&mut world.host, dom, 0xE0, 16).unwrap();
    let image = kernel(0x3000, b"code", 0x800, 0x3010);
    let image = Image { kernel: &image, initrd: b"initrd", cmdline: b"hello" };
    let state = world.xen.build_domu(&mut world.host, dom, &image, 32 << 12).unwrap();
    assert_eq!((state.rip, state.cr0, state.rflags), (0x3010, 0x11, 2));
    let read = |gpa: u64, len: usize| {
        let mut bytes = alloc::vec![0; len];
        read_gpa(&world.host, dom, gpa, &mut bytes).unwrap();
        bytes
    };
    let long = |gpa: u64| u64::from_le_bytes(read(gpa, 8).try_into().unwrap());
    assert_eq!(read(0x3000, 4), b"code");
    assert_eq!(long(state.rbx), 0x1_336E_C578, "magic and version 1");
    assert_eq!(long(state.rbx + 8), 1 << 32, "no flags, one module");
    let (modules, cmdline, rsdp) =
        (long(state.rbx + 16), long(state.rbx + 24), long(state.rbx + 32));
    assert_eq!(read(cmdline, 6), b"hello\0");
    assert_eq!((read(long(modules), 6), long(modules + 8)), (b"initrd".to_vec(), 6));
    assert_eq!(read(rsdp, 8), b"RSD PTR ");
    assert_eq!((state.rbx, long(modules)), (0x4000, 0x5000), "behind the kernel, in this order");
    assert_eq!(long(state.rbx + 48), 2, "memory map entries");
    assert!(world.xen.runnable(dom, 0));
}

#[test]
fn what_does_not_fit_is_refused() {
    let mut world = World::new();
    let dom = DomId(1);
    world.xen.populate(&mut world.host, dom, 0xE0, 16).unwrap();
    let bytes = 32 << 12;
    let mut build = |kernel: &[u8], initrd: &[u8], cmdline: &[u8]| {
        let image = Image { kernel, initrd, cmdline };
        world.xen.build_domu(&mut world.host, dom, &image, bytes).unwrap_err()
    };
    let good = kernel(0x3000, b"code", 0x800, 0x3010);
    assert_eq!(build(&good, &[0; 32 << 12], b""), BuildError::OutOfMemory);
    assert_eq!(build(&good, b"", &[b'x'; 4000]), BuildError::CommandLineTooLong);
    let outside = kernel(0x4_0000, b"code", 4, 0x4_0000);
    assert_eq!(build(&outside, b"", b""), BuildError::BadSegment(0x4_0000));
}
