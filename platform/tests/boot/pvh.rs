//! ELF kernels with a PVH note.

use super::{image::*, *};

const ENTRY: u32 = 0x100_0040;

/// A kernel of two segments at 16 MiB, the second followed by zeroed memory.
fn kernel(bits: u8, note: &[u8]) -> Vec<u8> {
    let parts = [
        load_part(0xffff_8000_0100_0000, 0x100_0000, b"text", 4),
        note_part("Xen", 18, note),
        load_part(0xffff_8000_0120_0000, 0x120_0000, b"data", 0x1000),
    ];
    elf(bits, 0x1234, &parts)
}

#[test]
fn entered_at_the_notes_address() {
    for (bits, note) in [(64, &ENTRY.to_le_bytes()[..]), (32, &u64::from(ENTRY).to_le_bytes())] {
        let (entry, memory) = load(&kernel(bits, note), &[], "").unwrap();
        assert_eq!((entry.rip, entry.rax), (ENTRY.into(), 0));
        check_flat(&entry, &memory);
        assert_eq!(memory.read(0x100_0000, 4), b"text");
        assert_eq!(memory.read(0x120_0000, 4), b"data");
    }
}

#[test]
fn start_info() {
    let kernel = kernel(64, &ENTRY.to_le_bytes());
    let modules: [(&[u8], &str); 2] = [(b"first", "one two"), (b"second", "")];
    let (entry, memory) = load(&kernel, &modules, "console=hvc0").unwrap();
    let info = entry.rbx;
    let head: Vec<u32> = (0..4).map(|index| memory.u32(info + 4 * index)).collect();
    assert_eq!(head, [0x336e_c578, 1, 0, 2]);
    assert_eq!(memory.text(memory.u64(info + 24)), "console=hvc0");
    assert_eq!(memory.u64(info + 32), 0xf_0000);
    assert_eq!(memory.u32(info + 48), MAP.len() as u32);
    assert_eq!(read_map(&memory, memory.u64(info + 40), 24), MAP);
    let list = memory.u64(info + 16);
    for (index, (bytes, cmdline)) in (0u64..).zip(modules) {
        let [start, size, text] = [0, 8, 16].map(|at| memory.u64(list + 32 * index + at));
        assert_eq!((start, size), (FREE_END - 0x1000 * (index + 1), bytes.len() as u64));
        assert_eq!(
            (&memory.read(start, bytes.len())[..], &memory.text(text)[..]),
            (bytes, cmdline)
        );
    }
}

#[test]
fn other_notes_are_passed_over() {
    let parts = [
        load_part(0x100_0000, 0x100_0000, b"text", 4),
        note_part("GNU", 18, b"1234"),
        note_part("Xen", 6, b"xen-3.0"),
        note_part("Xen", 18, &ENTRY.to_le_bytes()),
    ];
    assert_eq!(load(&elf(64, 0, &parts), &[], "").unwrap().0.rip, ENTRY.into());
    assert_eq!(boot::recognise(&elf(64, 0, &parts[..3])), None);
}
