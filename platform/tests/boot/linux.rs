//! Linux bzImages.

use super::{image::*, *};

const PARAMS: u64 = 0x8_1000;

#[test]
fn entered_at_1_mib_with_the_boot_parameters() {
    let (entry, memory) = load(&bzimage(), &[], "console=ttyS0").unwrap();
    assert_eq!((entry.rip, entry.rsi, entry.rbx), (0x10_0000, PARAMS, 0));
    check_flat(&entry, &memory);
    assert_eq!(memory.read(0x10_0000, CODE.len()), CODE);
}

#[test]
fn boot_parameters() {
    let image = bzimage();
    let (_, memory) = load(&image, &[], "console=ttyS0 quiet").unwrap();
    // The header is copied up to its stated end, with the loader's fields filled in.
    assert_eq!(memory.read(PARAMS + 0x1fe, 16), image[0x1fe..0x20e]);
    assert_eq!(memory.read(PARAMS + 0x260, 4), image[0x260..0x264]);
    assert_eq!(memory.read(PARAMS + 0x210, 1), [0xff]);
    assert_eq!(memory.text(memory.u32(PARAMS + 0x228).into()), "console=ttyS0 quiet");
    assert_eq!((memory.u32(PARAMS + 0x218), memory.u32(PARAMS + 0x21c)), (0, 0));
    assert_eq!(memory.u64(PARAMS + 0x70), 0xf_0000);
    assert_eq!(memory.read(PARAMS + 0x1e8, 1), [MAP.len() as u8]);
    assert_eq!(read_map(&memory, PARAMS + 0x2d0, 20), MAP);
    let kib = (FREE_END - 0x10_0000) as u32 >> 10;
    assert_eq!((memory.u32(PARAMS + 2) & 0xffff, memory.u32(PARAMS + 0x1e0)), (kib, kib));
}

/// The initial ramdisk of `size` bytes goes to `base` if the kernel reaches `max`.
#[track_caller]
fn check_initrd(max: u32, size: usize, base: u64) {
    let mut image = bzimage();
    put32(&mut image, 0x22c, max);
    let initrd = vec![0xa5; size];
    let (_, memory) = load(&image, &[(&initrd, "")], "").unwrap();
    let place = (memory.u32(PARAMS + 0x218).into(), memory.u32(PARAMS + 0x21c) as usize);
    assert_eq!((place, memory.read(base, size)), ((base, size), initrd));
}

#[test]
fn initial_ramdisk() {
    check_initrd(0x7fff_ffff, 5, FREE_END - 0x1000);
    check_initrd(0x7fff_ffff, 0x1001, FREE_END - 0x2000);
    check_initrd(0x1ff_ffff, 5, 0x1ff_f000);
    check_initrd(0x1ff_fff0, 5, 0x1ff_f000);
}

#[test]
fn an_old_header_is_short() {
    // Protocol 2.06: the header ends where its jump goes, before pref_address.
    let mut image = bzimage();
    put(&mut image, 0x206, &0x206u16.to_le_bytes());
    image[0x201] = 0x3c - 2;
    let (entry, memory) = load(&image, &[], "").unwrap();
    assert_eq!((entry.rip, memory.u32(PARAMS + 0x260)), (0x10_0000, 0));
}

#[test]
fn zero_setup_sectors_mean_four() {
    let mut image = bzimage();
    image[0x1f1] = 0;
    image.resize(5 * 512, 0);
    image.extend(CODE);
    let (_, memory) = load(&image, &[], "").unwrap();
    assert_eq!(memory.read(0x10_0000, CODE.len()), CODE);
}

#[test]
fn the_last_paragraph_may_be_short() {
    let mut image = bzimage();
    image.truncate(1024 + 17);
    let (_, memory) = load(&image, &[], "").unwrap();
    assert_eq!(memory.read(0x10_0000, 17), CODE[..17]);
}

#[test]
fn entered_where_the_header_says() {
    for (start, entry) in [(0x10_0010, 0x10_0010), (0x10_0020, 0x10_0000), (1, 0x10_0000)] {
        let mut image = bzimage();
        put32(&mut image, 0x214, start);
        assert_eq!(load(&image, &[], "").unwrap().0.rip, entry, "code32_start {start:#x}");
    }
}

#[test]
fn without_a_32_bit_entry_it_is_entered_in_real_mode() {
    let mut image = bzimage();
    put32(&mut image, 0x214, 0);
    put(&mut image, 0x30, b"code");
    let (entry, memory) = load(&image, &[(b"initrd", "")], "quiet").unwrap();
    assert_eq!((entry.mode, entry.rip, entry.rsp), (boot::Mode::Real, 0, 0xe000));
    assert_eq!((entry.cr0, entry.idtr.base, entry.idtr.limit), (0x10, 0, 0x3ff));
    assert_eq!((entry.cs.selector, entry.cs.base, entry.cs.limit), (0x1020, 0x1_0200, 0xffff));
    for segment in [entry.ds, entry.es, entry.fs, entry.gs, entry.ss] {
        assert_eq!((segment.selector, segment.base, segment.access), (0x1000, 0x1_0000, 0x93));
    }
    let setup = 0x1_0000;
    assert_eq!(memory.read(setup + 0x30, 4), *b"code");
    assert_eq!(memory.read(setup + 0x200, 6), image[0x200..0x206]);
    assert_eq!(memory.read(setup + 0x210, 2), [0xff, 0x81], "a loader; loaded high, with a heap");
    assert_eq!(memory.u32(setup + 0x224) as u16, 0xde00);
    assert_eq!(memory.u32(setup + 0x218), FREE_END as u32 - 0x1000);
    assert_eq!(memory.text(memory.u32(setup + 0x228).into()), "quiet");
    assert_eq!(memory.read(0x10_0000, CODE.len()), CODE);
    image[0x1f1] = 64;
    image.resize(65 * 512, 0);
    image.extend(CODE);
    assert!(load(&image, &[], "").is_err(), "too long for its segment");
}

/// A kernel of an old protocol: fields that it has not hold what would be wrong.
fn old(version: u16) -> Vec<u8> {
    let mut image = bzimage();
    put(&mut image, 0x206, &version.to_le_bytes());
    let newer: [(u16, usize, u32); 4] =
        [(0x203, 0x22c, 0), (0x204, 0x1f4, 0xffff), (0x206, 0x238, 0), (0x20a, 0x260, u32::MAX)];
    for (_, at, value) in newer.into_iter().filter(|(since, ..)| version < *since) {
        put32(&mut image, at, value);
    }
    image
}

#[test]
fn old_protocols() {
    for version in [0x200, 0x201, 0x202, 0x203, 0x204, 0x205, 0x206, 0x209] {
        let (entry, memory) = load(&old(version), &[(b"initrd", "")], "quiet").unwrap();
        assert_eq!(entry.rip, 0x10_0000);
        assert_eq!(memory.u32(PARAMS + 0x218), FREE_END as u32 - 0x1000, "{version:#x}");
        let cmdline = if version < 0x202 {
            assert_eq!(memory.u32(PARAMS + 0x20) as u16, 0xa33f, "{version:#x}");
            PARAMS + u64::from(memory.u32(PARAMS + 0x20) >> 16)
        } else {
            memory.u32(PARAMS + 0x228).into()
        };
        assert_eq!(memory.text(cmdline), "quiet", "{version:#x}");
    }
    let long = "x".repeat(256);
    assert!(load(&old(0x205), &[], &long[..255]).is_ok());
    assert!(load(&old(0x205), &[], &long).is_err());
}
