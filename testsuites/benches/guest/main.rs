//! The bench's guest: one freestanding program with all kernels and system measurements, for any
//! machine that boots it by PVH or by multiboot 2, bare or under a hypervisor of Xen's interface.
//!
//! Its command line is a list of words `name=count` (without a count: the kernel's unit): each is
//! done and reported on COM1 by the lines `begin name` and `end name count checksum`, or answered
//! by `skip name` where the machine has not the means. The word `hold` halts for ever (a dom0 that
//! stays out of the way). After the last word comes `done`, and the machine is switched off.
//!
//! Built by `testsuites::bench::build` with rustc, not by cargo.
#![expect(unsafe_code, reason = "a program without an operating system")]
#![no_std]
#![no_main]

mod boot;
#[path = "../../src/bench/kernels/mod.rs"]
mod kernels;
mod machine;
mod system;
mod traps;
mod vmx;

use core::fmt::{Arguments, Write};
use kernels::{KERNELS, Memory};
use runtime::serial::Com1;
use system::{EVENTS, Event};

static mut MEMORY: Memory = Memory::new();

/// Called by the entry code in 64-bit mode.
extern "C" fn guest_main(magic: u32, info: u32) -> ! {
    // SAFETY: called once, by the boot code.
    let memory = unsafe { &mut *(&raw mut MEMORY) };
    Com1::init();
    boot::split_pages();
    traps::init();
    for word in boot::command_line(magic, info).split_ascii_whitespace() {
        let (name, count) = word.split_once('=').unwrap_or((word, ""));
        if name == "hold" {
            machine::hold();
        } else if let Some(kernel) = KERNELS.iter().find(|kernel| kernel.name == name) {
            let count = count.parse().unwrap_or(kernel.unit);
            line(format_args!("begin {name}"));
            let sum = (kernel.run)(count, memory);
            line(format_args!("end {name} {count} {sum:016x}"));
        } else if let Some(event) = EVENTS.iter().find(|event| event.name == name) {
            measure(event, count.parse().unwrap_or(1));
        }
    }
    line(format_args!("done"));
    machine::off()
}

/// Writes `text` on COM1 as a line.
fn line(text: Arguments<'_>) {
    // Writing never fails.
    let _ = writeln!(Com1, "{text}");
}

/// A system measurement; `skip name` where the machine has not the means.
fn measure(event: &Event, count: u32) {
    let name = event.name;
    if !(event.there)() {
        return line(format_args!("skip {name}"));
    }
    line(format_args!("begin {name}"));
    let events = (event.run)(count);
    line(format_args!("end {name} {count} {events:016x}"));
}

#[panic_handler]
fn panic(info: &core::panic::PanicInfo<'_>) -> ! {
    line(format_args!("panic: {info}"));
    machine::off()
}
