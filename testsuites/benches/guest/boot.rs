//! The entry, the page tables of the measurements, the command line.

use core::arch::asm;
use core::ffi::{CStr, c_char};

runtime::multiboot2_header!();
// After code and data: 32-bit user code, as SYSRET wants it; user data; user code; room for the
// task-state segment's descriptor, which `traps` fills in.
runtime::entry! {
    main: crate::guest_main,
    stack: 0x20000,
    rights: 7,
    descriptors: [0, 0x00CFF3000000FFFF, 0x00AFFB000000FFFF, 0, 0]
}

unsafe extern "C" {
    static mut boot_pd: [u64; 4 * 512];
}

/// Page tables for the first 64 MiB, an entry for each of its pages.
#[repr(C, align(4096))]
struct PageTables([u64; 32 * 512]);
static mut PAGE_TABLES: PageTables = PageTables([0; 32 * 512]);

/// Present, writable, open to user mode.
const RIGHTS: u64 = 7;
/// Uncached: PCD and PWT.
const UNCACHED: u64 = 0x18;

/// Maps the first 64 MiB by 4 KiB pages in place of 2 MiB pages, and makes the four MiB from
/// FEC00000h uncached, where the interrupt controllers are.
pub fn split_pages() {
    // SAFETY: the same addresses stay mapped at themselves with the same rights.
    unsafe {
        let tables = &mut (*(&raw mut PAGE_TABLES)).0;
        for (page, entry) in tables.iter_mut().enumerate() {
            *entry = (page as u64) << 12 | RIGHTS;
        }
        for (n, table) in tables.chunks_exact(512).enumerate() {
            boot_pd[n] = table.as_ptr() as u64 | RIGHTS;
        }
        boot_pd[2038] |= UNCACHED;
        boot_pd[2039] |= UNCACHED;
        asm!("mov {t}, cr3", "mov cr3, {t}", t = out(reg) _, options(nostack));
    }
}

/// The address of the entry that maps `page`, which is below 64 MiB.
pub fn pte(page: u64) -> u64 {
    &raw const PAGE_TABLES as u64 + (page >> 12) * 8
}

/// `hvm_start_info.magic`, which the entry code passes on after a PVH start.
const PVH_MAGIC: u32 = 0x336E_C578;

/// The command line of a PVH start or of a multiboot 2 loader.
pub fn command_line(magic: u32, info: u32) -> &'static str {
    let info = u64::from(info);
    let text = match magic {
        // SAFETY: the loader's structures lie in memory that nothing has written yet.
        PVH_MAGIC => unsafe { *((info + 24) as *const u64) },
        _ => multiboot(info),
    };
    if text == 0 {
        return "";
    }
    // SAFETY: as above.
    unsafe { CStr::from_ptr(text as *const c_char) }.to_str().unwrap_or("")
}

/// Tag 1 of the multiboot 2 information, which is the command line.
fn multiboot(info: u64) -> u64 {
    let mut tag = info + 8;
    loop {
        // SAFETY: a list of tags, each with type and size, that ends with type 0.
        let [kind, size] = unsafe { *(tag as *const [u32; 2]) };
        match kind {
            0 => return 0,
            1 => return tag + 8,
            _ => tag += u64::from(size).next_multiple_of(8),
        }
    }
}
