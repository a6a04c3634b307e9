//! Building domains: a domU from RAM alone, dom0 with the machine's devices at their own addresses.

use crate::direct_map::Direct;
use crate::host::Host;
use alloc::format;
use alloc::string::{String, ToString};
use alloc::vec::Vec;
use hypervisor::boot::{BootInfo, Range};
use hypervisor::phys::Physical;
use hypervisor::ranges::free_ranges;
use hypervisor::xen::DomId;
use hypervisor::xen::abi::layout::E820Entry;
use hypervisor::xen::build::{self, EntryState, Image, acpi_tables, e820};

/// The end of the addresses below 4 GiB.
const LOW_END: u64 = 1 << 32;
/// The pages of the HPET and of the local APICs.
const HPET: u64 = 0xFED0_0000;
const LOCAL_APIC: u64 = 0xFEE0_0000;

/// The machine's memory for the reader of its ACPI tables.
struct Tables;

impl acpi_tables::TableMemory for Tables {
    fn read(&self, addr: u64, buf: &mut [u8]) -> bool {
        let mapped = addr.checked_add(buf.len() as u64).is_some_and(|end| end <= LOW_END);
        if mapped {
            Direct.read(addr, buf);
        }
        mapped
    }
}

/// The machine's ACPI tables for dom0; none if it has none.
pub(crate) fn host_tables(rsdp: Option<u64>) -> Option<acpi_tables::HostTables> {
    acpi_tables::host_tables(&Tables, rsdp?).ok()
}

fn range(entry: &E820Entry) -> Range {
    Range { start: entry.addr, end: entry.addr.saturating_add(entry.size) }
}

impl Host {
    pub(crate) fn build_domu(
        &mut self,
        dom: DomId,
        image: &Image,
        memory: u64,
    ) -> Result<EntryState, String> {
        for (gfn, count) in build::domu_ram(memory) {
            self.populate(dom, gfn, count)?;
        }
        self.xen.build_domu(&mut self.memory, dom, image, memory).map_err(|error| error.to_string())
    }

    /// Dom0's RAM lies where the machine has RAM. All else below 4 GiB, unless it is RAM that is
    /// not dom0's, an interrupt controller or a timer, is the machine's.
    pub(crate) fn build_dom0(
        &mut self,
        dom: DomId,
        image: &Image,
        memory: u64,
        boot: &BootInfo,
    ) -> Result<EntryState, String> {
        let host: Vec<E820Entry> = boot
            .map
            .iter()
            .map(|(r, kind)| E820Entry { addr: r.start, size: r.end - r.start, kind: *kind })
            .collect();
        let map = build::dom0_map(&host, memory);
        let mut hidden: Vec<Range> = map
            .iter()
            .filter(|entry| matches!(entry.kind, e820::RAM | e820::UNUSABLE))
            .map(range)
            .collect();
        for ram in map.iter().filter(|entry| entry.kind == e820::RAM) {
            self.populate(dom, ram.addr >> 12, ram.size >> 12)?;
        }
        let io_apic = self.platform.ioapic.unwrap_or(crate::IOAPIC);
        for page in [io_apic, HPET, LOCAL_APIC] {
            hidden.push(Range { start: page, end: page + 4096 });
        }
        for hole in free_ranges(&[Range { start: 0, end: LOW_END }], &hidden) {
            self.memory
                .pass_through(dom, hole.start >> 12, hole.end >> 12)
                .map_err(|_| "no memory for its tables".to_string())?;
        }
        // A machine without ACPI has a dom0 without ACPI.
        let tables = self.tables.take().unwrap_or_default();
        self.xen
            .build_dom0(&mut self.memory, dom, image, map, &tables)
            .map_err(|error| error.to_string())
    }

    fn populate(&mut self, dom: DomId, gfn: u64, count: u64) -> Result<(), String> {
        self.memory.allow_tables(dom, count);
        self.xen.populate(&mut self.memory, dom, gfn, count).map_err(|_| {
            let free = self.memory.frames.free_pages() >> 8;
            format!("{} MiB do not fit the {free} MiB that are free", count >> 8)
        })
    }
}
