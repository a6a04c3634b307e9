//! The PVH domain builder: loads a kernel into a domain's memory and says how to enter it.
//!
//! Xen's "x86/HVM direct boot ABI" (`public/arch-x86/hvm/start_info.h`). The domain's RAM is
//! already in its map, zeroed, as [`domu_map`] or [`dom0_map`] describe it.

pub mod acpi_tables;
pub mod elf;

use super::Xen;
use super::abi::layout::E820Entry;
use super::guest_memory::write_gpa;
use super::host_services::{DomId, HostServices, PAGE_SIZE};
use super::vcpu::Activity;
use alloc::vec::Vec;
use core::fmt;

/// E820 types.
#[expect(missing_docs, reason = "the names are those of the ACPI specification")]
pub mod e820 {
    pub const RAM: u32 = 1;
    pub const RESERVED: u32 = 2;
    pub const ACPI: u32 = 3;
    pub const UNUSABLE: u32 = 5;
}

/// The end of a domU's RAM below 4 GiB, at most.
const LOW_RAM_END: u64 = 0xC000_0000;
/// RAM above 4 GiB starts here.
const HIGH_RAM: u64 = 1 << 32;
/// The hole of the PC's first megabyte.
const HOLE: core::ops::Range<u64> = 0xA_0000..0x10_0000;
/// The address of a domU's ACPI tables: in the hole, which no kernel uses as RAM.
const DOMU_ACPI: u64 = 0xE_0000;
const MAGIC: u32 = 0x336E_C578;
const SIF_PRIVILEGED: u32 = 1;
const SIF_INITDOMAIN: u32 = 2;
/// The longest command line: Linux's `COMMAND_LINE_SIZE`.
const MAX_CMDLINE: usize = 2047;
const PAGE: u64 = PAGE_SIZE as u64;

/// The reason why a domain could not be built.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[expect(missing_docs, reason = "Display says it")]
pub enum BuildError {
    BzImage,
    NotElf,
    Truncated,
    NoPvhEntry,
    CommandLineTooLong,
    OutOfMemory,
    BadSegment(u64),
    NoAcpi,
    NoDomain,
}

impl fmt::Display for BuildError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::BzImage => f.write_str("kernel is a bzImage; an ELF vmlinux is accepted"),
            Self::NotElf => f.write_str("kernel is no ELF image"),
            Self::Truncated => f.write_str("kernel's ELF headers point outside the file"),
            Self::NoPvhEntry => f.write_str("kernel has no PVH entry (Xen note 18)"),
            Self::CommandLineTooLong => write!(f, "command line exceeds {MAX_CMDLINE} bytes"),
            Self::OutOfMemory => f.write_str("kernel and initramfs do not fit the memory"),
            Self::BadSegment(at) => write!(f, "kernel segment at {at:#x} is outside the RAM"),
            Self::NoAcpi => f.write_str("platform has no usable ACPI tables"),
            Self::NoDomain => f.write_str("no such domain"),
        }
    }
}

/// The files that a domain starts from.
#[derive(Debug, Clone, Copy, Default)]
pub struct Image<'a> {
    /// An ELF kernel.
    pub kernel: &'a [u8],
    /// The initramfs; empty is none.
    pub initrd: &'a [u8],
    /// The command line.
    pub cmdline: &'a [u8],
}

/// The registers of vCPU 0 at the PVH entry; the general registers not named are 0.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct EntryState {
    /// EIP.
    pub rip: u64,
    /// EBX: the physical address of `hvm_start_info`.
    pub rbx: u64,
    /// PE and ET.
    pub cr0: u64,
    /// CR4: all bits clear.
    pub cr4: u64,
    /// Bit 1 alone.
    pub rflags: u64,
    /// CS: base 0, limit 4 GiB, these access rights.
    pub cs_rights: u32,
    /// DS, ES, SS: likewise.
    pub ds_rights: u32,
    /// TR: base 0, limit 67h, these access rights.
    pub tr_rights: u32,
}

impl EntryState {
    fn new(kernel: &elf::Kernel, start_info: u64) -> Self {
        Self {
            rip: kernel.entry.into(),
            rbx: start_info,
            cr0: 0x11,
            cr4: 0,
            rflags: 2,
            cs_rights: 0xC09B,
            ds_rights: 0xC093,
            tr_rights: 0x8B,
        }
    }
}

/// The memory map of a domU with `bytes` of memory: RAM with the PC's hole, the rest above 4 GiB.
pub fn domu_map(bytes: u64) -> Vec<E820Entry> {
    let bytes = bytes & !(PAGE - 1);
    let low = bytes.min(LOW_RAM_END);
    let entry =
        |addr: u64, end: u64, kind| E820Entry { addr, size: end.saturating_sub(addr), kind };
    let mut map = alloc::vec![
        entry(0, low.min(HOLE.start), e820::RAM),
        entry(HOLE.start, HOLE.end, e820::RESERVED),
        entry(HOLE.end, low, e820::RAM),
        entry(HIGH_RAM, HIGH_RAM + (bytes - low), e820::RAM),
    ];
    map.retain(|entry| entry.size != 0);
    map
}

/// The pages of a domU's memory: (first frame, count), the hole's included.
pub fn domu_ram(bytes: u64) -> Vec<(u64, u64)> {
    let low = (bytes.min(LOW_RAM_END)) >> 12;
    let high = (bytes >> 12) - low;
    let ranges = [(0, low), (HIGH_RAM >> 12, high)];
    ranges.into_iter().filter(|range| range.1 != 0).collect()
}

/// Dom0's memory map: the platform's, its RAM cut after `bytes`, the rest unusable.
pub fn dom0_map(host: &[E820Entry], bytes: u64) -> Vec<E820Entry> {
    let mut left = bytes & !(PAGE - 1);
    let mut map = Vec::new();
    for entry in host {
        if entry.kind != e820::RAM {
            map.push(*entry);
            continue;
        }
        // Whole pages only.
        let start = entry.addr.next_multiple_of(PAGE);
        let end = entry.addr.saturating_add(entry.size) & !(PAGE - 1);
        let size = end.saturating_sub(start);
        let given = size.min(left);
        left -= given;
        let split = start + given;
        let parts = [(start, given, e820::RAM), (split, size - given, e820::UNUSABLE)];
        for (addr, size, kind) in parts {
            if size != 0 {
                map.push(E820Entry { addr, size, kind });
            }
        }
    }
    map
}

/// The RAM below 4 GiB at and above `floor`: ranges of whole pages, (start, end).
fn low_ram(map: &[E820Entry], floor: u64) -> impl Iterator<Item = (u64, u64)> {
    let ram = map.iter().filter(|entry| entry.kind == e820::RAM);
    ram.map(move |entry| {
        let end = entry.addr.saturating_add(entry.size).min(HIGH_RAM);
        (entry.addr.max(floor).next_multiple_of(PAGE), end & !(PAGE - 1))
    })
}

/// The lowest pages at or above `floor` that hold `len` bytes.
fn place(map: &[E820Entry], floor: u64, len: usize) -> Result<u64, BuildError> {
    let fits = |&(start, end): &(u64, u64)| end.saturating_sub(start) >= len as u64;
    let starts = low_ram(map, floor).filter(fits).map(|(start, _)| start);
    starts.min().ok_or(BuildError::OutOfMemory)
}

/// `hvm_start_info` version 1 and what it points to, in one block.
fn start_info(
    at: u64,
    flags: u32,
    image: &Image<'_>,
    initrd: u64,
    rsdp: u64,
    map: &[E820Entry],
) -> Vec<u8> {
    const SIZE: u64 = 56;
    const MODULE: u64 = 32;
    let memmap = at + SIZE + MODULE;
    let cmdline = memmap + map.len() as u64 * 24;
    let modules = u32::from(!image.initrd.is_empty());
    let mut block = Vec::new();
    for word in [MAGIC, 1, flags, modules] {
        block.extend_from_slice(&word.to_le_bytes());
    }
    let modlist = if modules == 0 { 0 } else { at + SIZE };
    for long in [modlist, cmdline, rsdp, memmap, map.len() as u64] {
        block.extend_from_slice(&long.to_le_bytes());
    }
    for long in [initrd, image.initrd.len() as u64, 0, 0] {
        block.extend_from_slice(&long.to_le_bytes());
    }
    for entry in map {
        block.extend_from_slice(&entry.addr.to_le_bytes());
        block.extend_from_slice(&entry.size.to_le_bytes());
        block.extend_from_slice(&u64::from(entry.kind).to_le_bytes());
    }
    block.extend_from_slice(image.cmdline);
    block.push(0);
    block
}

impl Xen {
    /// Loads a domU; its memory map is `domu_map(bytes)` and its pages are in place.
    pub fn build_domu(
        &mut self,
        host: &mut dyn HostServices,
        dom: DomId,
        image: &Image<'_>,
        bytes: u64,
    ) -> Result<EntryState, BuildError> {
        let vcpus = self.domain(dom).map_err(|_| BuildError::NoDomain)?.vcpus.len() as u32;
        let map = domu_map(bytes);
        let (tables, rsdp) = acpi_tables::domu(DOMU_ACPI, vcpus);
        write(host, dom, DOMU_ACPI, &tables.bytes)?;
        self.load_image(host, dom, image, map, (0, rsdp))
    }

    /// Loads dom0. `host` is the platform's memory map, `rsdp` its ACPI root; the pages of
    /// `dom0_map(host, bytes)` are in place, all else is identity-mapped by the caller.
    pub fn build_dom0(
        &mut self,
        host: &mut dyn HostServices,
        dom: DomId,
        image: &Image<'_>,
        mut map: Vec<E820Entry>,
        platform: &acpi_tables::HostTables,
    ) -> Result<EntryState, BuildError> {
        let vcpus = self.domain(dom).map_err(|_| BuildError::NoDomain)?.vcpus.len() as u32;
        // The new tables lie in stolen RAM, at the end of the largest range.
        let size = acpi_tables::dom0(0, vcpus, platform).0.bytes.len();
        let base = steal(&mut map, size)?;
        let (tables, rsdp) = acpi_tables::dom0(base, vcpus, platform);
        write(host, dom, base, &tables.bytes)?;
        self.load_image(host, dom, image, map, (SIF_PRIVILEGED | SIF_INITDOMAIN, rsdp))
    }

    fn load_image(
        &mut self,
        host: &mut dyn HostServices,
        dom: DomId,
        image: &Image<'_>,
        map: Vec<E820Entry>,
        (flags, rsdp): (u32, u64),
    ) -> Result<EntryState, BuildError> {
        if image.cmdline.len() > MAX_CMDLINE {
            return Err(BuildError::CommandLineTooLong);
        }
        let kernel = elf::parse(image.kernel)?;
        for segment in &kernel.segments {
            in_ram(&map, segment.paddr, segment.size)?;
            let bytes = &image.kernel[segment.file.0..][..segment.file.1];
            write(host, dom, segment.paddr, bytes)?;
        }
        // A 32-bit Linux reads the block through its first page tables, which end 2 MiB behind the
        // kernel: the initramfs, of any size, comes after it.
        let size = start_info(0, flags, image, 0, rsdp, &map).len();
        let at = place(&map, kernel.end(), size)?;
        let initrd = place(&map, at + size as u64, image.initrd.len())?;
        write(host, dom, initrd, image.initrd)?;
        write(host, dom, at, &start_info(at, flags, image, initrd, rsdp, &map))?;
        let domain = self.domain_mut(dom).map_err(|_| BuildError::NoDomain)?;
        domain.memory_map = map;
        if let Some(vcpu) = domain.vcpu_mut(0) {
            vcpu.activity = Activity::Runnable;
        }
        Ok(EntryState::new(&kernel, at))
    }
}

/// Cuts `size` bytes, in whole pages, from the end of the largest RAM range below 4 GiB and marks
/// them as ACPI memory.
fn steal(map: &mut Vec<E820Entry>, size: usize) -> Result<u64, BuildError> {
    let size = (size as u64).next_multiple_of(PAGE);
    let largest = low_ram(map, HOLE.end).max_by_key(|(start, end)| end.saturating_sub(*start));
    let (start, end) = largest.ok_or(BuildError::OutOfMemory)?;
    let base =
        end.checked_sub(size).filter(|&base| base >= start).ok_or(BuildError::OutOfMemory)?;
    let holds = |entry: &E820Entry| {
        entry.kind == e820::RAM && entry.addr <= base && base - entry.addr < entry.size
    };
    let index = map.iter().position(holds).ok_or(BuildError::OutOfMemory)?;
    let end = map[index].addr + map[index].size;
    map[index].size = base - map[index].addr;
    map.insert(index + 1, E820Entry { addr: base, size: end - base, kind: e820::ACPI });
    map.retain(|entry| entry.size != 0);
    Ok(base)
}

/// An error unless `[addr, addr + size)` lies in one range of RAM.
fn in_ram(map: &[E820Entry], addr: u64, size: u64) -> Result<(), BuildError> {
    let holds = |entry: &&E820Entry| {
        let offset = addr.checked_sub(entry.addr);
        let room = offset.and_then(|offset| entry.size.checked_sub(offset));
        entry.kind == e820::RAM && room.is_some_and(|room| room >= size)
    };
    map.iter().find(holds).map(|_| ()).ok_or(BuildError::BadSegment(addr))
}

fn write(host: &mut dyn HostServices, dom: DomId, at: u64, bytes: &[u8]) -> Result<(), BuildError> {
    write_gpa(host, dom, at, bytes).map_err(|_| BuildError::OutOfMemory)
}
