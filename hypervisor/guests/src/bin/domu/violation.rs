//! Violations on request, to see that the hypervisor ends this domain alone, or ignores them:
//! the command line `violate=NAME`.

#![expect(unsafe_code, reason = "violations are assembly")]

use crate::{device_memory, greed};
use core::arch::{asm, global_asm};
use core::fmt::Write;
use guests::hypercalls::{self, Shared};
use guests::work;
use runtime::cpu;

/// Commits the violation `name`; returns from one that the hypervisor is expected to ignore.
pub(crate) fn commit(name: &str) {
    match name {
        "nothing" => {}
        "triple-fault" => triple_fault(),
        "jump-away" => jump_away(),
        "overrun" => overrun(),
        "real-mode" => real_mode(),
        "read-msr" => read_msr(),
        "read-nothing" => read_nothing(),
        "use-devices" => device_memory::use_devices(),
        "exhaust-tables" => exhaust_tables(),
        "privileged-calls" => privileged_calls(),
        "power-off" => power_off(),
        "init-poller" => greed::init_poller(),
        "down-poller" => greed::down_poller(),
        "all-down" => greed::all_down(),
        "crowd" => greed::crowd(),
        "multicalls" => greed::multicalls(),
        "lists" => greed::lists(),
        "offer-nothing" => greed::offer_nothing(),
        "measure" => greed::measure(),
        "progress" => greed::progress(),
        "pest" => greed::pest(),
        "forge" => forge(),
        _ if name.starts_with("hoard-") => hoard(name[6..].parse().expect("a domain's number")),
        _ if name.starts_with("outgrow-") => outgrow(name[8..].parse().expect("a domain's number")),
        _ => panic!("no such violation: {name}"),
    }
}

/// An exception without an IDT.
fn triple_fault() {
    // SAFETY: ends this program, as intended.
    unsafe { asm!("ud2") };
}

/// Executes where no memory is.
fn jump_away() {
    // SAFETY: ends this program, as intended.
    unsafe { asm!("mov eax, 0x7FFF0000", "jmp rax", out("rax") _) };
}

/// Fills a table and the word behind it, which says where to go when some work is done.
fn overrun() {
    const ENTRIES: usize = 4;
    static TABLE: Shared<[u64; ENTRIES + 1]> = Shared::new([0; ENTRIES + 1]);
    TABLE.write(8 * ENTRIES, 0x20_0000_u64);
    for entry in 0..=ENTRIES {
        TABLE.write(8 * entry, 0x7FFF_0000_u64);
    }
    let _ = work::chain(b"overrun");
    let next: u64 = TABLE.read(8 * ENTRIES);
    // SAFETY: ends this program, as intended.
    unsafe { asm!("jmp {}", in(reg) next) };
}

// The way from 64-bit to real mode, run at 8000h: paging off, long mode off, protection off, then
// #GP by an MSR that does not exist. Its handler powers the domain off by the sleep register.
global_asm!(
    r#"
    .section .rodata
    .global real_mode_start, real_mode_end
real_mode_start:
    .code64
    lgdt [AT_GDT_POINTER]
    push 0x08
    push offset AT_32
    retfq
    .code32
real_mode_32:
    mov eax, 0x11
    mov cr0, eax
    mov ecx, 0xC0000080
    xor eax, eax
    xor edx, edx
    wrmsr
    ljmp 0x10, offset AT_16
    .code16
real_mode_16:
    mov eax, 0x10
    mov cr0, eax
    ljmp 0, offset AT_REAL
real_mode:
    xor ax, ax
    mov ds, ax
    mov ss, ax
    mov sp, 0x7000
    mov word ptr [13 * 4], offset AT_GP
    mov word ptr [13 * 4 + 2], 0
    mov ecx, 0xDEADBEEF
    rdmsr
    hlt
real_mode_gp:
    mov dx, 0x604
    mov al, 0x34
    out dx, al
    hlt
    .align 8
gdt:
    .quad 0
    .quad 0x00CF9B000000FFFF
    .quad 0x00009B000000FFFF
gdt_pointer:
    .short 23
    .quad AT_GDT
real_mode_end:
    .set AT_GDT, gdt - real_mode_start + 0x8000
    .set AT_GDT_POINTER, gdt_pointer - real_mode_start + 0x8000
    .set AT_32, real_mode_32 - real_mode_start + 0x8000
    .set AT_16, real_mode_16 - real_mode_start + 0x8000
    .set AT_REAL, real_mode - real_mode_start + 0x8000
    .set AT_GP, real_mode_gp - real_mode_start + 0x8000
    .code64
    .section .text
"#
);

unsafe extern "C" {
    static real_mode_start: u8;
    static real_mode_end: u8;
}

/// A fault in real mode, where exceptions have no error code.
fn real_mode() {
    // SAFETY: the page is memory that nothing uses; this program does not come back.
    unsafe {
        let (start, end) = (&raw const real_mode_start, &raw const real_mode_end);
        core::ptr::copy_nonoverlapping(start, 0x8000 as *mut u8, end as usize - start as usize);
        asm!("mov eax, 0x8000", "jmp rax", options(noreturn));
    }
}

/// An MSR that does not exist; without an IDT the #GP is a triple fault.
fn read_msr() {
    // SAFETY: ends this program, as intended.
    unsafe { asm!("rdmsr", in("ecx") 0xDEAD_BEEF_u32, out("eax") _, out("edx") _) };
}

/// Reads and writes where no memory is: all-ones, and nothing.
fn read_nothing() {
    let nowhere = 0x7FFF_0000 as *mut u32;
    // SAFETY: no memory is there; the hypervisor answers as an empty bus does.
    let value = unsafe {
        nowhere.write_volatile(7);
        nowhere.read_volatile()
    };
    assert_eq!(value, u32::MAX);
}

/// Maps one page at ever more places, so that the tables fill the hypervisor's memory. The first
/// place is 4 MiB: at 2 MiB is this program.
fn exhaust_tables() {
    let mapped = (2..).take_while(|i| hypercalls::add_to_physmap(0, 0, i << 21).is_ok()).count();
    assert!(mapped < 4096, "the hypervisor gave {mapped} tables");
}

/// Asks for what only dom0 may do.
fn privileged_calls() {
    assert!(hypercalls::domctl(3, 0).is_err(), "a domU paused dom0");
    assert!(hypercalls::list_domains(0).is_err(), "a domU listed the domains");
    assert!(
        hypercalls::map_grant(0, 8, 0x10_0000).is_err(),
        "a domU mapped what dom0 did not grant"
    );
    assert!(hypercalls::bind_interdomain(0, 1).is_err(), "a domU bound what dom0 did not offer");
}

/// Writes lines that a terminal would show as the hypervisor's, on COM1 and by `console_io`.
fn forge() {
    const LINES: &str = "\x1b[2K\x1b[1G(hv) forged\n\r(hv) forged\n\u{9b}1G(hv) forged\n";
    // The serial line takes everything.
    let _ = runtime::serial::Com1.write_str(LINES);
    assert!(hypercalls::console(LINES).is_ok());
}

/// Has the hypervisor hold as much as it will: a long grant table, all of it granted to `peer`, which
/// does the same, as many of the peer's grants mapped as possible, all ports, a log of refused calls,
/// and empty lines.
fn hoard(peer: u16) {
    /// Frames of the grant table that are filled, and its place; where grants are mapped.
    const FRAMES: u64 = 8;
    const TABLE: u64 = 8 << 20;
    const MAPPED: u64 = 1 << 30;
    static LINES: [u8; 4096] = [b'\n'; 4096];
    for frame in 0..FRAMES {
        assert!(hypercalls::add_to_physmap(1, frame, TABLE + (frame << 12)).is_ok());
    }
    for entry in 8..FRAMES * 512 {
        // GTF_permit_access, the peer, a frame of this domain's.
        let word = 1 | u64::from(peer) << 16 | (0x400 + entry % 512) << 32;
        // SAFETY: the pages of the grant table, which nothing else uses.
        unsafe { ((TABLE + entry * 8) as *mut u64).write_volatile(word) };
    }
    let map = |entry: u64| hypercalls::map_grant(peer, entry as u32, MAPPED + (entry << 12));
    // The peer may not have come so far.
    while map(8).is_err() {
        core::hint::spin_loop();
    }
    let mapped = (9..FRAMES * 512).filter(|&entry| map(entry).is_ok()).count();
    let ports = (0..).take_while(|_| hypercalls::alloc_unbound(peer).is_ok()).count();
    // Those of memory, lists and timers take their first argument for something else.
    for number in (0..64).filter(|number| !matches!(number, 12 | 13 | 15)) {
        let refused = (100..256).all(|operation| hypercalls::refused(number, operation).is_err());
        assert!(refused, "hypercall {number}");
    }
    let text = core::str::from_utf8(&LINES).expect("text");
    assert!(hypercalls::console(text).is_ok());
    assert!(mapped > 1000 && ports > 1000, "{mapped} mappings, {ports} ports");
}

/// Grants 256 pages to `peer`, which does the same, gives them back once the peer has mapped them, and asks
/// for others: the hypervisor gives no more than a domain has room for beside what it had.
fn outgrow(peer: u16) {
    /// The place of the grant table; where grants are mapped; where new pages go.
    const TABLE: u64 = 8 << 20;
    const MAPPED: u64 = 1 << 30;
    const NEW: u64 = 2 << 18;
    /// The first page granted.
    const FIRST: u64 = 0x400;
    const PAGES: usize = 256;
    /// A domain may have 256 pages more than its memory; one was replaced by the grant table.
    const ROOM: u64 = 256 + 1;
    assert!(hypercalls::add_to_physmap(1, 0, TABLE).is_ok());
    let entry = |index: u64| (TABLE + (8 + index) * 8) as *mut u64;
    for index in 0..PAGES as u64 {
        // SAFETY: the page of the grant table, which nothing else uses: GTF_permit_access.
        unsafe { entry(index).write_volatile(1 | u64::from(peer) << 16 | (FIRST + index) << 32) };
    }
    for index in 0..PAGES as u64 {
        let at = MAPPED + (index << 12);
        while hypercalls::map_grant(peer, 8 + index as u32, at).is_err() {
            core::hint::spin_loop();
        }
        // GTF_reading: the peer has mapped it.
        // SAFETY: as above.
        while unsafe { entry(index).read_volatile() } & 8 == 0 {
            core::hint::spin_loop();
        }
    }
    let mut pages = [0; PAGES];
    let mut call = |command, first: u64| {
        pages.iter_mut().zip(first..).for_each(|(page, number)| *page = number);
        hypercalls::reservation(command, &mut pages).expect("a number of pages")
    };
    assert_eq!(call(1, FIRST), PAGES as u64, "pages given back");
    let taken: u64 = (0..4).map(|i| call(6, NEW + i * PAGES as u64)).sum();
    assert_eq!(taken, ROOM, "pages beside {PAGES} that the peer maps");
}

/// Writes where PCs have their power management registers.
fn power_off() {
    for port in [0x404, 0x604, 0xB004, 0x1804, 0x4004] {
        if port != 0x604 {
            cpu::outw(port, 0x3400);
            cpu::outw(port, 0x2000);
        }
    }
    cpu::outb(0xF4, 0);
    cpu::outb(0xCF9, 6);
    cpu::outb(0x64, 0xFE);
}
