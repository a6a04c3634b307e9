//! Bad input: one line that names the file, the offset, what was found and what is accepted.

use super::{image::*, *};

/// Loading gives exactly this message.
#[track_caller]
fn check(kernel: &[u8], modules: &[(&[u8], &str)], cmdline: &str, expect: &str) {
    let message = match load(kernel, modules, cmdline) {
        Ok((entry, _)) => panic!("loaded: {entry:x?}"),
        Err(error) => error.to_string(),
    };
    assert_eq!(message, expect);
    assert!(!message.contains('\n'));
}

/// A bzImage with these bytes at an offset.
#[track_caller]
fn check_bzimage(at: usize, bytes: &[u8], expect: &str) {
    let mut image = bzimage();
    put(&mut image, at, bytes);
    check(&image, &[], "", expect);
}

#[test]
fn unrecognised() {
    let accepted = "accepted are Linux bzImage (\"HdrS\" at 0x202), ELF with a PVH note, \
                    multiboot 1 and 2";
    let begins = |what: &str| format!("K: not a bootable image: begins with {what}; {accepted}");
    check(b"", &[], "", &begins("nothing (empty file)"));
    check(b"MZ", &[], "", &begins("4d 5a"));
    let elf = elf(64, 0, &[load_part(0x10_0000, 0x10_0000, b"x", 1)]);
    check(&elf, &[], "", &begins("7f 45 4c 46 02 01 01 00"));
}

#[test]
fn bzimages() {
    let old = "K: version at offset 0x206 is 0x1ff; accepted: boot protocol 0x200 (2.00) or later";
    check_bzimage(0x206, &[0xff, 1], old);
    let low =
        "K: loadflags at offset 0x211 is 0x0; accepted: bit 0 set (a bzImage, loaded at 1 MiB)";
    check_bzimage(0x211, &[0], low);
    let big = "K: kernel needs 0x10000000 bytes at 0x100000; free memory is 0x100000 to 0x3fe0000";
    check_bzimage(0x260, &[0, 0, 0x10, 0x0f], big);
    check(
        &bzimage()[..0x210],
        &[],
        "",
        "K: truncated: setup header needs 1 bytes at offset 0x211, the file has 528",
    );
    check(
        &bzimage()[..1030],
        &[],
        "",
        "K: truncated: protected-mode kernel needs 17 bytes at offset 0x400, the file has 1030",
    );
}

#[test]
fn modules_and_command_lines() {
    let huge = vec![0; SIZE as usize];
    let initrd = "M0: initial ramdisk needs 0x4000000 bytes at 0x1200000; free memory is 0x100000 to 0x3fe0000";
    check(&bzimage(), &[(&huge, "")], "", initrd);
    check(&bzimage(), &[(b"a", ""), (b"b", "")], "", "K: 2 modules given; accepted: at most 1");
    let long = "x".repeat(2048);
    check(
        &bzimage(),
        &[],
        &long,
        "command line: 2049 bytes with its terminator; accepted: at most 2048",
    );
    let longer = "x".repeat(0xf000);
    check(
        &bzimage(),
        &[],
        &longer,
        "command line: 61441 bytes with its terminator; accepted: at most 61440",
    );
    let pvh = elf(64, 0, &[load_part(0, 0x10_0000, b"x", 1), note_part("Xen", 18, &[0, 0, 16, 0])]);
    let module =
        "M1: module needs 0x4000000 bytes at 0x100001; free memory is 0x100000 to 0x3fe0000";
    check(&pvh, &[(b"a", ""), (&huge, "")], "", module);
    let many: Vec<(&[u8], &str)> = vec![(b"", ""); 129];
    check(&pvh, &many, "", "K: 129 modules given; accepted: at most 128");
}

/// A PVH kernel with one segment.
fn pvh(paddr: u64, size: u64) -> Vec<u8> {
    elf(64, 0, &[load_part(0, paddr, b"text", size), note_part("Xen", 18, &[0, 0, 16, 0])])
}

#[test]
fn elf_images() {
    let place = |base: &str, size: &str| {
        format!("K: ELF segment needs {size} bytes at {base}; free memory is 0x100000 to 0x3fe0000")
    };
    check(&pvh(0x9_0000, 4), &[], "", &place("0x90000", "0x4"));
    check(&pvh(0x3fd_ffff, 4), &[], "", &place("0x3fdffff", "0x4"));
    check(&pvh(u64::MAX, 4), &[], "", &place("0xffffffffffffffff", "0x0"));
    check(&pvh(0x10_0000, u64::MAX), &[], "", &place("0x100000", "0xffffffffffefffff"));
    let none = elf(64, 0, &[note_part("Xen", 18, &[0, 0, 16, 0])]);
    check(&none, &[], "", "K: ELF loadable segments at offset 0x0 is 0x0; accepted: at least one");
    let mut cut = pvh(0x10_0000, 4);
    put(&mut cut, 64 + 32, &0x1000u64.to_le_bytes());
    check(
        &cut,
        &[],
        "",
        "K: truncated: ELF segment needs 4096 bytes at offset 0xb0, the file has 200",
    );
    let with_header = |change: fn(&mut Vec<u8>)| {
        let mut image = elf(64, 1 << 40, &[load_part(0, 0x10_0000, &multiboot1(0, [0; 5]), 32)]);
        change(&mut image);
        image
    };
    let entry =
        "K: ELF entry point at offset 0x18 is 0x10000000000; accepted: a 32-bit physical address";
    check(&with_header(|_| ()), &[], "", entry);
    let machine = "K: ELF machine at offset 0x12 is 0xb7; accepted: 3 (386), 62 (x86-64)";
    check(&with_header(|image| image[18] = 0xb7), &[], "", machine);
    let class = "K: ELF class and data at offset 0x4 is 0x202; accepted: 0x101 or 0x102";
    check(&with_header(|image| image[5] = 2), &[], "", class);
}

#[test]
fn multiboot_1_headers() {
    let flat = |flags, fields| [multiboot1(flags, fields), vec![0; 32]].concat();
    let required = "K: multiboot header flags at offset 0x4 is 0x8; accepted: no required flag but bits 0 to 2";
    check(&flat(8, [0; 5]), &[], "", required);
    let load = "K: load_addr at offset 0x0 is 0x200000; accepted: between header_addr minus the header's offset and header_addr";
    check(&flat(1 << 16, [0x10_0000, 0x20_0000, 0, 0, 0]), &[], "", load);
    check(&flat(1 << 16, [0x20_0004, 0x20_0000, 0, 0, 0]), &[], "", load);
    let end = "K: load_end_addr at offset 0x0 is 0x1fffff; accepted: at least load_addr";
    check(&flat(1 << 16, [0x20_0000, 0x20_0000, 0x1f_ffff, 0, 0]), &[], "", end);
    let place = "K: image needs 0x40 bytes at 0x80000; free memory is 0x100000 to 0x3fe0000";
    check(&flat(1 << 16, [0x8_0000, 0x8_0000, 0, 0, 0]), &[], "", place);
}

#[test]
fn multiboot_2_headers() {
    let kernel = |tags: &[Tag]| {
        elf(64, 0x10_0000, &[load_part(0x10_0000, 0x10_0000, &multiboot2(tags), 0x100)])
    };
    let tag = |kind: &str| {
        let accepted = "optional, or one of 1 to 4, 6, 8 to 10 (no framebuffer, no EFI)";
        format!("K: multiboot2 tag at offset 0x88 is {kind}; accepted: {accepted}")
    };
    check(&kernel(&[Tag(5, 0, &[0, 0, 0])]), &[], "", &tag("0x5"));
    check(&kernel(&[Tag(7, 0, &[])]), &[], "", &tag("0x7"));
    check(&kernel(&[Tag(4, 0, &[1])]), &[], "", &tag("0x4"));
    check(&kernel(&[Tag(99, 0, &[])]), &[], "", &tag("0x63"));
    let request = "K: multiboot2 requested tag at offset 0x94 is 0x16; accepted: 0 to 21";
    check(&kernel(&[Tag(1, 0, &[6, 22])]), &[], "", request);
    let place =
        "K: relocatable image needs 0x100 bytes at 0x8000000; free memory is 0x100000 to 0x3fe0000";
    check(&kernel(&[Tag(10, 0, &[0x800_0000, 0x900_0000, 1, 0])]), &[], "", place);
    let flat = multiboot2(&[Tag(2, 0, &[0x20_0000, 0x20_0000, 0, 0])]);
    let entry = "K: multiboot2 entry address tag at offset 0x0 is 0x0; accepted: present beside an address tag";
    check(&flat, &[], "", entry);
}

#[test]
fn too_little_memory() {
    let image = bzimage();
    let request = BootRequest {
        kernel: BootFile { name: "K", bytes: &image },
        modules: &[],
        cmdline: "",
        map: MemoryMap::new(3 << 20),
        rsdp: None,
    };
    let error = boot::load(&request, &mut Memory::new(3 << 20)).unwrap_err();
    assert_eq!(error.to_string(), "memory: 0x300000 bytes; accepted: at least 0x400000");
}
