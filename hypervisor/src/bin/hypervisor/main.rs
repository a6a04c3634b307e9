//! The freestanding hypervisor: boot, VMX, interrupts, and the loop that runs domains.
#![no_std]
#![no_main]

extern crate alloc;

mod apic;
mod console;
mod control_registers;
mod device_access;
mod direct_map;
mod domain_build;
mod domains;
mod exits;
mod guest_access;
mod host;
mod ioapic;
mod power;
mod report;
mod rtc;
mod stand_in;
mod string_io;
mod string_moves;
mod traps;
mod vmx_ops;
mod vmx_state;
mod vmx_vcpu;

use apic::Apic;
use console::{die, say};
use core::panic::PanicInfo;
use host::Host;
use hypervisor::boot::{self, BootInfo};
use hypervisor::memory::Memory;
use hypervisor::xen::CpuPolicy;
use hypervisor::{acpi, xen::frames::FrameTable};
use ioapic::IoApic;
use runtime::cpu::rdtsc;
use runtime::heap::Heap;

runtime::multiboot1_header!();
runtime::multiboot2_header!();
// Room for the descriptor of the task-state segment, which `traps` fills in.
runtime::entry! { main: hypervisor_main, stack: 0x10000, rights: 3, descriptors: [0, 0] }

#[global_allocator]
static HEAP: Heap = Heap::new();

/// The I/O APIC's address when no ACPI table gives one.
const IOAPIC: u64 = 0xFEC0_0000;

#[panic_handler]
fn panic(info: &PanicInfo) -> ! {
    say!("PANIC: {info}");
    power::off(None)
}

/// Called by the entry code with EAX and EBX as the boot loader left them.
extern "C" fn hypervisor_main(magic: u32, info: u32) -> ! {
    console::init();
    say!("Strata hypervisor {}", env!("CARGO_PKG_VERSION"));
    traps::init();
    direct_map::early_heap(&HEAP);
    let Some(boot) = boot::parse(&direct_map::Direct, magic, info) else {
        die!("boot loader magic {magic:#x}: accepted are PVH, multiboot 1 and 2");
    };
    // Read before the memory of its tables could be used for anything else.
    let rsdp = acpi::root(&direct_map::Direct, boot.rsdp);
    let tables = domain_build::host_tables(rsdp);
    let platform = acpi::find(&direct_map::Direct, rsdp.unwrap_or(0));
    let memory = take_memory(&boot);
    let mut host = new_host(memory, platform);
    host.tables = tables;
    for (number, word) in boot.cmdline.split_ascii_whitespace().enumerate() {
        match word {
            "until-domus-end" => host.until_domus_end = true,
            // Some loaders put the file's name first.
            _ if number == 0 => {}
            _ => say!("option '{word}' is not known: accepted is until-domus-end"),
        }
    }
    host.xen.commandline = boot.cmdline.clone();
    host.xen.processor = CpuPolicy::of(|leaf, subleaf| host.physical_cpuid(leaf, subleaf));
    host.xen.most_domains = direct_map::most_domains(&boot);
    host.create_all(&boot);
    host.run()
}

/// Sets the heap and the frame table up over all RAM that nothing uses.
fn take_memory(boot: &BootInfo) -> Memory<direct_map::Direct> {
    let Some(free) = direct_map::take_heap(&HEAP, boot) else {
        die!("there is not enough RAM for the hypervisor");
    };
    let mut frames = FrameTable::default();
    for range in &free {
        frames.add(range.start >> 12..range.end >> 12);
    }
    let mut memory = Memory::new(direct_map::Direct, frames, rdtsc);
    let end = free.iter().map(|range| range.end).max().unwrap_or(0);
    if !direct_map::map_high(&mut memory, end) {
        die!("there is not enough RAM for the hypervisor's page tables");
    }
    memory
}

/// Brings the processor's parts up.
fn new_host(mut memory: Memory<direct_map::Direct>, platform: acpi::Platform) -> Host {
    let apic = Apic::init();
    let ioapic = IoApic::init(platform.ioapic.unwrap_or(IOAPIC), apic.id());
    ioapic.bind(console::PIN, false, false, false);
    let Some(region) = memory.own_frame() else {
        die!("there is not enough RAM for the hypervisor");
    };
    let controls = vmx_ops::enable(region).unwrap_or_else(|refusal| die!("VMX: {refusal}"));
    // The wall clock at TSC 0, which is when the machine was switched on.
    let wallclock = rtc::seconds().saturating_sub(rdtsc() / (apic.tsc_khz * 1000));
    say!(
        "TSC {} kHz, {} MiB free, {} I/O APIC pins",
        apic.tsc_khz,
        memory.frames.free_pages() >> 8,
        ioapic.pins()
    );
    Host::new(memory, apic, ioapic, controls, platform, wallclock)
}
