//! Loading a kernel as firmware would, and the processor's state at its entry.

use super::config::{Boot, Config, Error};
use crate::acpi;
use crate::boot::{self, BootRequest, GuestMemory, MemoryError};
use crate::firmware::{self, Processors};
use crate::memory_map::MemoryMap;
use cpu::state::{Segment, TableRegister};
use cpu::{Cpu, EntryState};
use mmu::{HostPhys, Mmu};

struct Loader<'a>(&'a mut Mmu);

impl GuestMemory for Loader<'_> {
    fn write(&mut self, address: u64, bytes: &[u8]) -> Result<(), MemoryError> {
        if self.0.write_slice(HostPhys(address), bytes) {
            return Ok(());
        }
        Err(MemoryError { address, length: bytes.len() as u64 })
    }
}

/// Puts firmware's tables and the image into memory; the state in which the image is entered.
pub(super) fn load(
    boot: &Boot<'_>,
    map: MemoryMap,
    config: &Config,
    cpu: &Cpu,
    mmu: &mut Mmu,
) -> Result<EntryState, Error> {
    let mut memory = Loader(mmu);
    let count = config.vcpus as u8;
    let rsdp = acpi::install(&map, count, &config.devices, &mut memory)?;
    let [signature, features, version] = cpu.identity();
    let processors = Processors { count, signature, features, apic_version: version as u8 };
    firmware::install(&map, &processors, config.clock, &mut memory)?;
    let request = BootRequest {
        kernel: boot.kernel,
        modules: boot.modules,
        cmdline: boot.cmdline,
        map,
        rsdp: Some(&rsdp),
    };
    Ok(state(&boot::load(&request, &mut memory)?))
}

/// The loader's entry in the processor's terms.
fn state(e: &boot::Entry) -> EntryState {
    EntryState {
        cr0: e.cr0,
        cr3: e.cr3,
        cr4: e.cr4,
        efer: e.efer,
        gdtr: table(&e.gdtr),
        idtr: table(&e.idtr),
        tr: segment(&e.tr),
        ldtr: segment(&e.ldtr),
        segments: [&e.es, &e.cs, &e.ss, &e.ds, &e.fs, &e.gs].map(segment),
        regs: [e.rax, e.rcx, e.rdx, e.rbx, e.rsp, e.rbp, e.rsi, e.rdi],
        rflags: e.rflags,
        rip: e.rip,
    }
}

fn segment(s: &boot::Segment) -> Segment {
    Segment { selector: s.selector, ar: s.access, limit: s.limit, base: s.base }
}

fn table(t: &boot::Table) -> TableRegister {
    TableRegister { base: t.base, limit: t.limit }
}
