//! The boot loader's information: PVH (`hvm_start_info`), multiboot 1 or multiboot 2.

use crate::phys::Physical;
use alloc::string::String;
use alloc::vec::Vec;

/// `hvm_start_info.magic`.
pub const PVH_MAGIC: u32 = 0x336E_C578;
/// EAX at the entry by multiboot 1.
pub const MULTIBOOT1_MAGIC: u32 = 0x2BAD_B002;
/// EAX at the entry by multiboot 2.
pub const MULTIBOOT2_MAGIC: u32 = 0x36D7_6289;

/// Longest command line that is read.
const LONGEST_LINE: u64 = 4096;
/// Most modules and memory ranges that are read.
const MOST_ENTRIES: u64 = 256;

/// A range of memory that the loader calls usable RAM, or a file it loaded.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Range {
    /// First byte of the range.
    pub start: u64,
    /// First byte after the range.
    pub end: u64,
}

/// A file that the loader put into memory.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Module {
    /// The bytes of the file.
    pub range: Range,
    /// The command line of the file.
    pub cmdline: String,
}

/// Everything the loader said.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct BootInfo {
    /// Usable RAM.
    pub ram: Vec<Range>,
    /// The whole memory map: range and e820 type.
    pub map: Vec<(Range, u32)>,
    /// Loaded files, in order.
    pub modules: Vec<Module>,
    /// The hypervisor's own command line.
    pub cmdline: String,
    /// Address of the ACPI RSDP, or 0 if the loader did not tell.
    pub rsdp: u64,
}

/// Reads the structures at `info`; `magic` is EAX at the entry, or [`PVH_MAGIC`].
pub fn parse(memory: &impl Physical, magic: u32, info: u32) -> Option<BootInfo> {
    let info = u64::from(info);
    match magic {
        PVH_MAGIC if memory.read_u32(info) == PVH_MAGIC => Some(pvh(memory, info)),
        MULTIBOOT1_MAGIC => Some(multiboot1(memory, info)),
        MULTIBOOT2_MAGIC => Some(multiboot2(memory, info)),
        _ => None,
    }
}

fn text(memory: &impl Physical, addr: u64) -> String {
    let mut bytes = Vec::new();
    for i in 0..LONGEST_LINE {
        let mut byte = [0];
        memory.read(addr.wrapping_add(i), &mut byte);
        if byte[0] == 0 {
            break;
        }
        bytes.push(byte[0]);
    }
    String::from_utf8_lossy(&bytes).into_owned()
}

fn optional_text(memory: &impl Physical, addr: u64) -> String {
    if addr == 0 { String::new() } else { text(memory, addr) }
}

impl BootInfo {
    fn add_memory(&mut self, start: u64, len: u64, kind: u32) {
        let range = Range { start, end: start.saturating_add(len) };
        self.map.push((range, kind));
        if kind == 1 {
            self.ram.push(range);
        }
    }
}

fn pvh(memory: &impl Physical, info: u64) -> BootInfo {
    let word = |offset| u64::from(memory.read_u32(info + offset));
    let long = |offset| memory.read_u64(info + offset);
    let mut boot = BootInfo {
        cmdline: optional_text(memory, long(24)),
        rsdp: long(32),
        ..BootInfo::default()
    };
    for i in 0..word(12).min(MOST_ENTRIES) {
        let entry = long(16) + i * 32;
        let start = memory.read_u64(entry);
        boot.modules.push(Module {
            range: Range { start, end: start + memory.read_u64(entry + 8) },
            cmdline: optional_text(memory, memory.read_u64(entry + 16)),
        });
    }
    if word(4) >= 1 {
        for i in 0..word(48).min(MOST_ENTRIES) {
            let entry = long(40) + i * 24;
            let (start, len) = (memory.read_u64(entry), memory.read_u64(entry + 8));
            boot.add_memory(start, len, memory.read_u32(entry + 16));
        }
    }
    boot
}

fn multiboot1(memory: &impl Physical, info: u64) -> BootInfo {
    let word = |offset| u64::from(memory.read_u32(info + offset));
    let flags = word(0);
    let mut boot = BootInfo::default();
    if flags & 1 << 2 != 0 {
        boot.cmdline = optional_text(memory, word(16));
    }
    if flags & 1 << 3 != 0 {
        for i in 0..word(20).min(MOST_ENTRIES) {
            let entry = word(24) + i * 16;
            let field = |offset| u64::from(memory.read_u32(entry + offset));
            boot.modules.push(Module {
                range: Range { start: field(0), end: field(4) },
                cmdline: optional_text(memory, field(8)),
            });
        }
    }
    if flags & 1 << 6 != 0 {
        let (mut entry, end) = (word(48), word(48) + word(44));
        while entry + 24 <= end {
            let (start, len) = (memory.read_u64(entry + 4), memory.read_u64(entry + 12));
            boot.add_memory(start, len, memory.read_u32(entry + 20));
            entry += u64::from(memory.read_u32(entry)) + 4;
        }
    }
    boot
}

fn multiboot2(memory: &impl Physical, info: u64) -> BootInfo {
    let mut boot = BootInfo::default();
    let end = info + u64::from(memory.read_u32(info));
    let mut tag = info + 8;
    while tag + 8 <= end {
        let (kind, size) = (memory.read_u32(tag), u64::from(memory.read_u32(tag + 4)));
        match kind {
            0 => break,
            1 => boot.cmdline = text(memory, tag + 8),
            3 => boot.modules.push(Module {
                range: Range {
                    start: u64::from(memory.read_u32(tag + 8)),
                    end: u64::from(memory.read_u32(tag + 12)),
                },
                cmdline: text(memory, tag + 16),
            }),
            6 => multiboot2_memory(memory, &mut boot, tag, size),
            // The tag holds a copy of the RSDP itself; the newer one (15) comes later and wins.
            14 | 15 => boot.rsdp = tag + 8,
            _ => {}
        }
        tag += size.max(8).next_multiple_of(8);
    }
    boot
}

fn multiboot2_memory(memory: &impl Physical, boot: &mut BootInfo, tag: u64, size: u64) {
    let step = u64::from(memory.read_u32(tag + 8)).max(24);
    let mut entry = tag + 16;
    while entry + 24 <= tag + size {
        let (start, len) = (memory.read_u64(entry), memory.read_u64(entry + 8));
        boot.add_memory(start, len, memory.read_u32(entry + 16));
        entry += step;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::phys::TestMemory;

    fn memory(parts: &[(usize, &[u32])], texts: &[(usize, &str)]) -> TestMemory {
        let mut bytes = vec![0; 0x4000];
        for (addr, words) in parts {
            for (i, word) in words.iter().enumerate() {
                bytes[addr + 4 * i..addr + 4 * i + 4].copy_from_slice(&word.to_le_bytes());
            }
        }
        for (addr, text) in texts {
            bytes[*addr..addr + text.len()].copy_from_slice(text.as_bytes());
        }
        TestMemory(bytes)
    }

    #[track_caller]
    fn check(memory: &TestMemory, magic: u32, rsdp: u64) {
        let boot = parse(memory, magic, 0x1000).expect("a known loader");
        assert_eq!(boot.ram, [Range { start: 0x10_0000, end: 0x80_0000 }]);
        assert_eq!(boot.map.len(), 2);
        let range = Range { start: 0x20_0000, end: 0x20_1000 };
        assert_eq!(boot.modules, [Module { range, cmdline: "kernel name=a".into() }]);
        assert_eq!((boot.cmdline.as_str(), boot.rsdp), ("own words", rsdp));
    }

    const TEXTS: [(usize, &str); 2] = [(0x3000, "own words"), (0x3100, "kernel name=a")];
    const MAP: [u32; 12] = [0x10_0000, 0, 0x70_0000, 0, 1, 0, 0xF000_0000, 0, 0x1000, 0, 2, 0];

    #[test]
    fn pvh_start_info() {
        let info = [PVH_MAGIC, 1, 0, 1, 0x2000, 0, 0x3000, 0, 0xE_0000, 0, 0x2100, 0, 2, 0];
        let module = [0x20_0000, 0, 0x1000, 0, 0x3100, 0, 0, 0];
        let parts: [(usize, &[u32]); 3] = [(0x1000, &info), (0x2000, &module), (0x2100, &MAP)];
        check(&memory(&parts, &TEXTS), PVH_MAGIC, 0xE_0000);
    }

    #[test]
    fn multiboot_1() {
        let info = [0x4C, 0, 0, 0, 0x3000, 1, 0x2000, 0, 0, 0, 0, 48, 0x2100];
        let module = [0x20_0000, 0x20_1000, 0x3100, 0];
        let map = [20, 0x10_0000, 0, 0x70_0000, 0, 1, 20, 0xF000_0000, 0, 0x1000, 0, 2];
        let parts: [(usize, &[u32]); 3] = [(0x1000, &info), (0x2000, &module), (0x2100, &map)];
        check(&memory(&parts, &TEXTS), MULTIBOOT1_MAGIC, 0);
    }

    #[test]
    fn multiboot_2() {
        let mut map = vec![6, 64, 24, 0];
        map.extend(MAP);
        let parts: [(usize, &[u32]); 5] = [
            (0x1000, &[0x200, 0]),
            (0x1008, &[1, 18]),
            (0x1020, &[3, 30, 0x20_0000, 0x20_1000]),
            (0x1040, &map),
            (0x1080, &[15, 44]),
        ];
        let texts = [(0x1010, "own words"), (0x1030, "kernel name=a")];
        check(&memory(&parts, &texts), MULTIBOOT2_MAGIC, 0x1088);
    }

    #[test]
    fn an_unknown_loader_is_refused() {
        assert_eq!(parse(&memory(&[], &[]), 0x1234, 0x1000), None);
        assert_eq!(parse(&memory(&[], &[]), PVH_MAGIC, 0x1000), None);
    }
}
