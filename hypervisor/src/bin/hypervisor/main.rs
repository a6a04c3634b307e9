//! The freestanding hypervisor: boot, VMX, interrupts, and the loop that runs domains.
#![expect(unsafe_code, reason = "the entry point has a fixed name")]
#![no_std]
#![no_main]

extern crate alloc;

mod apic;
mod console;
mod entry;
mod machine;
mod msr;
mod power;
mod smoke;
mod traps;
mod vcpu;
mod vmx;

use console::say;
use core::panic::PanicInfo;
use hypervisor::bare::heap::Heap;
use hypervisor::boot;

#[global_allocator]
static HEAP: Heap = Heap::new();

#[panic_handler]
fn panic(info: &PanicInfo) -> ! {
    say!("PANIC: {info}");
    power::off()
}

/// Called by the entry code with EAX and EBX as the boot loader left them.
#[unsafe(no_mangle)]
extern "C" fn hypervisor_main(magic: u32, info: u32) -> ! {
    console::init();
    say!("Strata hypervisor {}", env!("CARGO_PKG_VERSION"));
    traps::init();
    machine::early_heap(&HEAP);
    let Some(boot) = boot::parse(&machine::Direct, magic, info) else {
        console::die!("boot loader magic {magic:#x}: accepted are PVH, multiboot 1 and 2");
    };
    say!("{} modules, words '{}'", boot.modules.len(), boot.words);
    for m in &boot.modules {
        say!("module {:#x}..{:#x} '{}'", m.range.start, m.range.end, m.words);
    }
    smoke::run();
    power::off()
}
