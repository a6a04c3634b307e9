//! Violations that are about time: what would keep the processor from others, and the measure of it.

#![expect(unsafe_code, reason = "structures at fixed addresses, device registers, assembly")]

use crate::INFO;
use core::arch::global_asm;
use core::fmt::Write;
use guests::hypercalls::{self, MEMORY_OP, MULTICALL, SELF};
use guests::work;
use runtime::serial::Com1;

const MILLISECOND: u64 = 1_000_000;
/// The time that a violation goes on for.
const LONG: u64 = 300 * MILLISECOND;
/// The time that the processor is watched for.
const WATCHED: u64 = 200 * MILLISECOND;
/// A gap that is no exit of one's own.
const GAP: u64 = MILLISECOND / 10;

/// Memory that neither this program nor its loader uses.
const FREE: u64 = 0x200_0000;
/// Page frames that are given back and asked for again.
const FRAMES: u64 = 0x4000;

/// `VCPUOP_down`, by number and operation.
const VCPU_OP: (u64, u64) = (24, 2);
/// The page that the second processor starts at.
const AP_PAGE: u64 = 0x9000;
const ICR: u64 = 0xFEE0_0300;
const INIT: u32 = 0x4500;
const START_AT_AP_PAGE: u32 = 0x4600 | (AP_PAGE >> 12) as u32;
const ALL: u32 = 2 << 18;
const OTHERS: u32 = 3 << 18;

// The second processor, in real mode: SCHEDOP_poll with the structure at 80h of its page.
global_asm!(
    r#"
    .section .rodata
    .global ap_start, ap_end
ap_start:
    .code16
    mov eax, 29
    mov ebx, 3
    mov ecx, 0x9080
    vmcall
2:  hlt
    jmp 2b
ap_end:
    .code64
    .section .text
"#
);

unsafe extern "C" {
    static ap_start: u8;
    static ap_end: u8;
}

fn write<T>(at: u64, value: T) {
    // SAFETY: the callers name free memory, or a register of the local APIC.
    unsafe { (at as *mut T).write_volatile(value) };
}

fn now() -> u64 {
    INFO.map().expect("shared info");
    INFO.time()
}

/// Runs for a time.
fn spin(nanoseconds: u64) {
    let end = INFO.time() + nanoseconds;
    while INFO.time() < end {}
}

/// Sends the interprocessor message `low` to the processor with APIC ID `dest`.
fn send(dest: u32, low: u32) {
    write(ICR + 0x10, dest << 24);
    write(ICR, low);
}

/// Starts the second processor, which polls, and has `down` take it down before the time is over.
fn poller(down: impl FnOnce()) {
    let timeout = now() + 20 * MILLISECOND;
    // SAFETY: the page is memory that nothing uses.
    unsafe {
        let (start, end) = (&raw const ap_start, &raw const ap_end);
        core::ptr::copy_nonoverlapping(start, AP_PAGE as *mut u8, end as usize - start as usize);
    }
    write(AP_PAGE + 0x80, 0_u64);
    write(AP_PAGE + 0x88, timeout);
    send(2, INIT);
    send(2, START_AT_AP_PAGE);
    spin(12 * MILLISECOND);
    down();
    spin(40 * MILLISECOND);
}

/// INIT to a processor that polls.
pub(crate) fn init_poller() {
    poller(|| send(2, INIT));
}

/// `VCPUOP_down` of a processor that polls.
pub(crate) fn down_poller() {
    let (number, down) = VCPU_OP;
    poller(|| {
        hypercalls::hypercall(number, down, 1, 0).expect("vCPU 1 goes down");
    });
}

/// INIT to all processors, this one too.
pub(crate) fn all_down() {
    send(0, ALL | INIT);
}

/// Starts all other processors, and all run.
pub(crate) fn crowd() {
    // `jmp` to itself.
    write(AP_PAGE, 0xFEEB_u16);
    now();
    send(0, OTHERS | INIT);
    send(0, OTHERS | START_AT_AP_PAGE);
    spin(LONG);
}

/// Multicalls of 256 entries, each of which gives a thousand pages back or takes them again.
pub(crate) fn multicalls() {
    let (reservation, list, entries) = (FREE, FREE + 0x1000, FREE + 0x1_0000);
    for i in 0..1024 {
        write(list + i * 8, FRAMES + i);
    }
    for (index, word) in [list, 1024, 0, SELF.into()].into_iter().enumerate() {
        write(reservation + index as u64 * 8, word);
    }
    for i in 0..256 {
        // decrease_reservation and populate_physmap.
        let words = [MEMORY_OP, 0, if i % 2 == 0 { 1 } else { 6 }, reservation, 0, 0, 0, 0];
        for (index, word) in words.into_iter().enumerate() {
            write(entries + i * 64 + index as u64 * 8, word);
        }
    }
    let end = now() + LONG;
    while INFO.time() < end {
        hypercalls::hypercall(MULTICALL, entries, 256, 0).expect("a multicall");
        // SAFETY: the result of the last entry, in free memory.
        let result = unsafe { ((entries + 255 * 64 + 8) as *const u64).read_volatile() };
        assert_eq!(result, 1024, "pages taken again");
        for i in 0..256 {
            write(entries + i * 64 + 16, if i % 2 == 0 { 1_u64 } else { 6 });
        }
    }
}

/// Counts, and now and then gives a few pages back and takes them again, which it then has.
pub(crate) fn lists() {
    const PAGES: usize = 8;
    let end = now() + LONG;
    while INFO.time() < end {
        for n in 0..50_000 {
            core::hint::black_box(n);
        }
        let mut pages: [u64; PAGES] = core::array::from_fn(|n| FRAMES + n as u64);
        // decrease_reservation and populate_physmap.
        for command in [1, 6] {
            let done = hypercalls::reservation(command, &mut pages);
            assert_eq!(done, Ok(PAGES as u64), "the list's end");
        }
        pages.into_iter().for_each(|frame| write(frame << 12, frame));
    }
}

/// Offers dom0 an event channel, grants nothing, and waits.
pub(crate) fn offer_nothing() {
    now();
    hypercalls::alloc_unbound(0).expect("a port");
    spin(LONG);
}

/// Takes all ports and gives them back, makes calls that are refused, and touches what is not there, for ever.
pub(crate) fn pest() -> ! {
    loop {
        let ports = (0..).map_while(|_| hypercalls::alloc_unbound(0).ok()).last();
        for port in 1..=ports.unwrap_or(0) {
            assert!(hypercalls::close(port).is_ok(), "port {port}");
        }
        // Those of memory, lists and timers take their first argument for something else.
        for number in (0..64).filter(|number| !matches!(number, 12 | 13 | 15)) {
            assert!(hypercalls::refused(number, 100).is_err(), "hypercall {number}");
        }
        assert!(hypercalls::domctl(2, 0).is_err(), "a domU destroyed dom0");
        // SAFETY: no memory is there; the hypervisor answers as an empty bus does.
        unsafe { (0x7FFF_0000 as *const u32).read_volatile() };
    }
}

/// Computes twenty times the same, and prints how far it has come, and when.
pub(crate) fn progress() {
    let begin = now();
    for portion in 1..=20 {
        for _ in 0..4 {
            core::hint::black_box(work::chain(b"progress"));
        }
        let passed = (INFO.time() - begin) / 1000;
        // The serial line takes everything.
        let _ = writeln!(Com1, "portion {portion} after {passed} us");
    }
}

/// Runs, and prints how long others kept it from running.
pub(crate) fn measure() {
    let mut last = now();
    let (end, mut longest, mut had) = (last + WATCHED, 0, 0);
    while last < end {
        let now = INFO.time();
        let passed = now - last;
        if passed > GAP {
            longest = longest.max(passed);
        } else {
            had += passed;
        }
        last = now;
    }
    let (longest, had) = (longest / 1000, had * 100 / WATCHED);
    // The serial line takes everything.
    let _ = writeln!(Com1, "longest gap {longest} us, {had} % of the processor");
}
