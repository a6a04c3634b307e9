//! Multiboot 1 and 2.

use super::{image::*, *};

const MODULES: [(&[u8], &str); 2] = [(b"first", "M0 one two"), (b"second", "M1")];

fn elf_with(bits: u8, entry: u64, vaddr: u64, header: &[u8]) -> Vec<u8> {
    elf(bits, entry, &[load_part(vaddr, 0x20_0000, header, 0x2345)])
}

#[test]
fn multiboot_1_elf() {
    // The entry is physical, or virtual and translated by its segment.
    for (bits, entry, vaddr) in [
        (32, 0x20_0010, 0x20_0000),
        (64, 0x20_0010, 0x20_0000),
        (32, 0xc020_0010, 0xc020_0000),
        (64, 0xffff_8000_0020_0010, 0xffff_8000_0020_0000),
        (64, 0x20_0010, 0xffff_8000_0020_0000),
    ] {
        let header = multiboot1(3, [0; 5]);
        let kernel = elf_with(bits, entry, vaddr, &header);
        assert_eq!(boot::recognise(&kernel), Some(boot::Format::Multiboot1));
        let (entry, memory) = load(&kernel, &[], "").unwrap();
        assert_eq!((entry.rip, entry.rax), (0x20_0010, 0x2bad_b002));
        // GRUB's stack, for kernels that begin with a call.
        assert_eq!((entry.rsp, entry.rcx, entry.rdx, entry.rbp), (0x7_ff00, 0, 0, 0));
        check_flat(&entry, &memory);
        assert_eq!(memory.read(0x20_0000, 32), header);
    }
}

#[test]
fn multiboot_1_information() {
    let kernel = elf_with(32, 0x20_0010, 0x20_0000, &multiboot1(3, [0; 5]));
    let (entry, memory) = load(&kernel, &MODULES, "a=1 b").unwrap();
    let info = |at: u64| memory.u32(entry.rbx + at);
    assert_eq!((info(0), info(4), info(8)), (0x24d, 639, (FREE_END as u32 >> 10) - 1024));
    assert_eq!(memory.text(info(16).into()), "K a=1 b");
    assert_eq!(memory.text(info(64).into()), "strata");
    assert_eq!((info(20), info(44)), (2, 24 * MAP.len() as u32));
    for (index, (bytes, cmdline)) in (0u64..).zip(MODULES) {
        let [start, end, text] =
            [0, 4, 8].map(|at| memory.u32(u64::from(info(24)) + 16 * index + at));
        // Page boundaries above the kernel's memory.
        assert_eq!(u64::from(start), 0x40_0000 + 0x1000 * index);
        assert_eq!(memory.read(start.into(), (end - start) as usize), bytes);
        assert_eq!(memory.text(text.into()), cmdline);
    }
    let map = u64::from(info(48));
    assert!((0..MAP.len() as u64).all(|index| memory.u32(map + 24 * index) == 20));
    assert_eq!(read_map(&memory, map + 4, 24), MAP);
}

/// An image that says itself where it goes: 16 bytes, the header, `tail`.
fn flat(addresses: [u32; 5], tail: &[u8]) -> Vec<u8> {
    [&[0x90; 16][..], &multiboot1(1 << 16, addresses), tail].concat()
}

#[test]
fn multiboot_1_address_fields() {
    // header, load, load end, bss end, entry.
    let kernel = flat([0x30_0010, 0x30_0000, 0x30_0034, 0x30_8000, 0x30_0004], b"tail of the file");
    let (entry, memory) = load(&kernel, &MODULES, "").unwrap();
    assert_eq!((entry.rip, memory.read(0x30_0000, 0x34)), (0x30_0004, kernel[..0x34].to_vec()));
    assert_eq!(memory.read(0x30_0034, 12), [0; 12]);
    assert_eq!(memory.read(0x40_0000, 5), b"first");
    // No ends: all of the file. And from the header on, into low memory.
    let kernel = flat([0x4000, 0x4000, 0, 0, 0x4020], b"tail");
    let (entry, memory) = load(&kernel, &[], "").unwrap();
    assert_eq!((entry.rip, memory.read(0x4000, 36)), (0x4020, kernel[16..].to_vec()));
}

#[test]
fn the_header_is_found_where_it_may_be() {
    let header = multiboot1(0, [0; 5]);
    let at = |offset: usize| {
        let mut file = vec![0; 16384];
        put(&mut file, offset, &header);
        boot::recognise(&file)
    };
    assert_eq!((at(8192 - 12), at(8192 - 8)), (Some(boot::Format::Multiboot1), None));
    assert_eq!((at(4), at(6)), (Some(boot::Format::Multiboot1), None));
    let mut damaged = header.clone();
    damaged[8] ^= 1;
    assert_eq!(boot::recognise(&damaged), None);
}

fn kernel2(tags: &[Tag]) -> Vec<u8> {
    elf_with(64, 0x20_0040, 0x20_0000, &multiboot2(tags))
}

/// The information tags: type and content.
fn tags(memory: &Memory, info: u64) -> Vec<(u32, Vec<u8>)> {
    let (total, mut at, mut tags) = (u64::from(memory.u32(info)), 8, Vec::new());
    while at < total {
        let (kind, size) = (memory.u32(info + at), u64::from(memory.u32(info + at + 4)));
        tags.push((kind, memory.read(info + at + 8, size as usize - 8)));
        at = (at + size).next_multiple_of(8);
    }
    assert_eq!((at, tags.last()), (total, Some(&(0, vec![]))));
    tags
}

#[test]
fn multiboot_2_information() {
    let kernel = kernel2(&[Tag(1, 0, &[3, 6, 15]), Tag(6, 0, &[])]);
    assert_eq!(boot::recognise(&kernel), Some(boot::Format::Multiboot2));
    let (entry, memory) = load(&kernel, &MODULES, "a=1").unwrap();
    assert_eq!((entry.rip, entry.rax, entry.rsp), (0x20_0040, 0x36d7_6289, 0x7_ff00));
    check_flat(&entry, &memory);
    let tags = tags(&memory, entry.rbx);
    let kinds: Vec<u32> = tags.iter().map(|tag| tag.0).collect();
    assert_eq!(kinds, [1, 2, 3, 3, 4, 6, 14, 15, 21, 0]);
    let content = |index: usize| &tags[index].1[..];
    assert_eq!((content(0), content(1)), (&b"K a=1\0"[..], &b"strata\0"[..]));
    let module = |start: u32, end: u32, text: &[u8]| {
        [&start.to_le_bytes()[..], &end.to_le_bytes(), text].concat()
    };
    // As GRUB, without the module's name.
    assert_eq!(content(2), module(0x40_0000, 0x40_0005, b"one two\0"));
    assert_eq!(content(3), module(0x40_1000, 0x40_1006, b"\0"));
    let upper = (FREE_END as u32 >> 10) - 1024;
    assert_eq!(content(4), [639u32.to_le_bytes(), upper.to_le_bytes()].concat());
    let entry_of = |&(base, size, kind): &(u64, u64, u32)| {
        [base, size, kind.into()].into_iter().flat_map(u64::to_le_bytes).collect::<Vec<u8>>()
    };
    let map: Vec<u8> = MAP.iter().flat_map(entry_of).collect();
    assert_eq!(content(5), [&[24, 0, 0, 0, 0, 0, 0, 0][..], &map].concat());
    let rsdp: Vec<u8> = (0..36).collect();
    assert_eq!((content(6), content(7)), (&rsdp[..20], &rsdp[..]));
    assert_eq!(content(8), 0x20_0000u32.to_le_bytes());
}

/// Where a kernel with these header tags is loaded, and where it is entered.
#[track_caller]
fn check_place(tags_asked: &[Tag], base: u64, entry: u64) {
    let (found, memory) = load(&kernel2(tags_asked), &[], "").unwrap();
    let load_base = tags(&memory, found.rbx).into_iter().find(|tag| tag.0 == 21).unwrap().1;
    assert_eq!(
        (u64::from(u32::from_le_bytes(load_base.try_into().unwrap())), found.rip),
        (base, entry)
    );
}

#[test]
fn multiboot_2_places() {
    check_place(&[Tag(3, 0, &[0x20_0080])], 0x20_0000, 0x20_0080);
    // Relocatable: minimum, maximum, alignment, preference. Where it was linked, if it may.
    check_place(&[Tag(10, 0, &[0x10_0000, 0xffff_ffff, 0x1000, 0])], 0x20_0000, 0x20_0040);
    check_place(&[Tag(10, 0, &[0x40_0001, 0xffff_ffff, 0x20_0000, 1])], 0x60_0000, 0x60_0040);
    check_place(&[Tag(10, 0, &[0x40_0000, 0x100_0000, 0x1000, 2])], 0xff_d000, 0xff_d040);
    check_place(&[Tag(10, 0, &[0, 0xffff_ffff, 0x40_0000, 1])], 0x40_0000, 0x40_0040);
    // What it does not need is ignored.
    check_place(&[Tag(5, 1, &[0, 0, 0]), Tag(7, 1, &[]), Tag(99, 1, &[])], 0x20_0000, 0x20_0040);
    // Information that there is not on this machine is asked for: no network, no EFI.
    check_place(&[Tag(1, 0, &[8, 16, 17])], 0x20_0000, 0x20_0040);
    check_place(&[Tag(4, 0, &[2]), Tag(9, 0, &[1]), Tag(1, 1, &[8])], 0x20_0000, 0x20_0040);
}

#[test]
fn multiboot_2_address_tag() {
    // header, load, load end, bss end. All-ones: the file's start.
    let fields = |load_addr| -> &'static [u32] {
        if load_addr == 0 { &[0x30_0000, 0x30_0000, 0, 0] } else { &[0x30_0010, u32::MAX, 0, 0] }
    };
    for load_addr in [0, u32::MAX] {
        let header = multiboot2(&[Tag(2, 0, fields(load_addr)), Tag(3, 0, &[0x30_0020])]);
        let kernel = [&[0x90; 16][..], &header].concat();
        let (entry, memory) = load(&kernel, &[], "").unwrap();
        let first = if load_addr == 0 { &kernel[16..] } else { &kernel };
        assert_eq!((entry.rip, memory.read(0x30_0000, first.len())), (0x30_0020, first.to_vec()));
    }
}

#[test]
fn the_format_is_one_that_can_be_loaded() {
    // Multiboot 1 asks for what nobody has; or its image has no room; multiboot 2 is as it should be.
    let both = |flags, addresses| {
        let header = [multiboot1(flags, addresses), multiboot2(&[])].concat();
        elf_with(64, 0x20_0040, 0x20_0000, &header)
    };
    #[track_caller]
    fn check(kernel: &[u8], magic: u64) {
        let (entry, _) = load(kernel, &[], "").unwrap();
        assert_eq!((entry.rax, entry.rip), (magic, 0x20_0040));
    }
    check(&both(3, [0; 5]), 0x2bad_b002);
    check(&both(8, [0; 5]), 0x36d7_6289);
    check(&both(1 << 16, [0xf000_0000, 0xf000_0000, 0, 0, 0]), 0x36d7_6289);
}

#[test]
fn the_image_may_end_past_the_file() {
    let kernel = flat([0x30_0010, 0x30_0000, 0x30_2000, 0, 0x30_0004], b"tail");
    let (_, memory) = load(&kernel, &MODULES, "").unwrap();
    assert_eq!(memory.read(0x30_0000, kernel.len()), kernel);
    assert_eq!(memory.read(0x40_0000, 5), b"first", "modules are clear of what the image takes");
    let header =
        multiboot2(&[Tag(2, 0, &[0x30_0010, 0x30_0000, 0x30_1800, 0]), Tag(3, 0, &[0x30_0020])]);
    let kernel = [&[0x90; 16][..], &header].concat();
    let (_, memory) = load(&kernel, &MODULES, "").unwrap();
    assert_eq!(memory.read(0x30_0000, kernel.len()), kernel);
    assert_eq!(memory.read(0x40_0000, 5), b"first");
}

#[test]
fn a_segment_may_lie_at_0() {
    let parts = |header: &[u8]| {
        [load_part(0x20_0000, 0x20_0000, header, 0x2345), load_part(0, 0, b"vectors", 0x400)]
    };
    for header in [multiboot1(3, [0; 5]), multiboot2(&[])] {
        let kernel = elf(64, 0x20_0040, &parts(&header));
        let (entry, memory) = load(&kernel, &[], "").unwrap();
        assert_eq!((entry.rip, memory.read(0, 7)), (0x20_0040, b"vectors".to_vec()));
    }
}
