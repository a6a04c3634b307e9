//! The ELF file inside a bzImage, packed by the tools that Linux's build uses.

use super::{image::*, *};

const ELF: &[u8] = b"\x7fELF, unpacked";
const GZIP: &[u8] =
    b"\x1f\x8b\x08\0\0\0\0\0\x02\x03\xab\x77\xf5\x71\xd3\x51\x28\xcd\x2b\x48\x4c\xce\
    \x4e\x4d\x01\0\x13\xa9\xeb\xbe\x0e\0\0\0";
const XZ: &[u8] =
    b"\xfd\x37\x7a\x58\x5a\0\0\x01\x69\x22\xde\x36\x02\0\x21\x01\x16\0\0\0\x74\x2f\xe5\
    \xa3\x01\0\x0d\x7f\x45\x4c\x46\x2c\x20\x75\x6e\x70\x61\x63\x6b\x65\x64\0\0\0\x13\xa9\xeb\xbe\0\
    \x01\x22\x0e\x0c\xde\x8c\x60\x90\x42\x99\x0d\x01\0\0\0\0\x01\x59\x5a";
const LZMA: &[u8] =
    b"\x5d\0\0\x80\0\xff\xff\xff\xff\xff\xff\xff\xff\0\x3f\x91\x45\x84\x69\xb8\x3d\xb2\
    \x38\xd0\x7e\xc1\x33\xd8\xe6\x14\xbb\x73\xf0\xff\xf3\x32\x40\0";
const LZ4: &[u8] = b"\x02\x21\x4c\x18\x0f\0\0\0\xe0\x7fELF, unpacked";
const ZSTD: &[u8] = b"\x28\xb5\x2f\xfd\x24\x0e\x71\0\0\x7fELF, unpacked\x31\x78\x5b\xd2";
/// The unpacked size, which Linux appends where the packing does not.
const SIZE: &[u8] = b"\x0e\0\0\0";

/// A bzImage with a packed kernel.
fn bzimage_of(packed: &[u8]) -> Vec<u8> {
    let mut image = bzimage();
    put32(&mut image, 0x248, 0x20);
    put32(&mut image, 0x24c, packed.len() as u32);
    put(&mut image, 1024 + 0x20, packed);
    image
}

fn payload(image: &[u8], most: u64) -> Result<Option<Vec<u8>>, BootError> {
    boot::payload(&BootFile { name: "K", bytes: image }, most)
}

#[track_caller]
fn check(packed: &[&[u8]]) {
    assert_eq!(payload(&bzimage_of(&packed.concat()), 1 << 20), Ok(Some(ELF.to_vec())));
}

#[test]
fn packings() {
    check(&[ELF]);
    check(&[GZIP]);
    check(&[XZ, SIZE]);
    check(&[LZMA, SIZE]);
    check(&[LZ4, SIZE]);
    check(&[ZSTD, SIZE]);
    assert_eq!(payload(ELF, 1 << 20), Ok(None));
    assert_eq!(payload(b"", 1 << 20), Ok(None));
}

#[track_caller]
fn check_error(image: &[u8], most: u64, expect: &str) {
    let error = payload(image, most).unwrap_err().to_string();
    assert!(error.starts_with(&format!("K: {expect}")), "{error}");
    assert!(!error.contains('\n'));
}

#[test]
fn what_cannot_be_unpacked() {
    check_error(&bzimage_of(b"BZh91AY"), 99, "packed kernel: begins with [42, 5a, 68, 39, 31, 41]");
    check_error(&bzimage_of(b""), 99, "packed kernel: begins with []");
    check_error(
        &bzimage_of(&[LZ4, b"\x0f\0\0\0"].concat()),
        99,
        "packed kernel: LZ4: the unpacked",
    );
    check_error(&bzimage_of(&LZ4[..16]), 99, "packed kernel: an LZ4 block is truncated");
    check_error(&bzimage_of(&LZ4[..5]), 99, "packed kernel: an LZ4 block is truncated");
    let mut other = [LZ4, SIZE].concat();
    other[9] = b'M';
    check_error(&bzimage_of(&other), 99, "packed kernel: unpacks to something else than ELF");
    for packed in [GZIP, XZ, LZMA, ZSTD] {
        check_error(&bzimage_of(&packed[..packed.len() / 2]), 99, "packed kernel: ");
    }
    let mut image = bzimage_of(GZIP);
    image.pop();
    check_error(&image, 99, "truncated: packed kernel needs 34 bytes at offset 0x420");
    put32(&mut image, 0x248, u32::MAX);
    check_error(&image, 99, "truncated: packed kernel needs 34 bytes at offset 0x1000003ff");
    put(&mut image, 0x206, &0x207u16.to_le_bytes());
    check_error(&image, 99, "version at offset 0x206 is 0x207; accepted: boot protocol 0x208");
}

/// What unpacks to more than there is memory for is left at that, and a window of 4 GiB is not
/// allocated.
#[test]
fn sizes_are_bounded() {
    for packed in [ELF, GZIP, XZ, LZMA, ZSTD] {
        let image = bzimage_of(packed);
        check_error(&image, 13, "packed kernel: unpacks to more than 13 bytes");
        assert!(payload(&image, 14).unwrap().is_some());
    }
    check_error(&bzimage_of(&[LZ4, SIZE].concat()), 13, "packed kernel: unpacks to more than 13");
    // Blocks of zeros, 255 times as long as they are packed, without end.
    let run = [&[0x1f, 0, 1, 0][..], &[255; 30_000], &[0, 0x50, 0, 0, 0, 0, 0]].concat();
    let block = [&(run.len() as u32).to_le_bytes()[..], &run].concat();
    let bomb = [&LZ4[..4], &block.repeat(40)].concat();
    check_error(&bzimage_of(&bomb), 1 << 20, "packed kernel: unpacks to more than 1048576 bytes");
    let mut wide = ZSTD[..4].to_vec();
    wide.extend([0, 0xa8]);
    check_error(&bzimage_of(&wide), 1 << 20, "packed kernel: ");
    let mut wide = LZMA.to_vec();
    wide[1..5].copy_from_slice(&[0, 0, 0, 0xf0]);
    wide[1..3].fill(0);
    check_error(&bzimage_of(&wide), 1 << 20, "packed kernel: ");
}

/// No cut and no changed byte of a packed kernel makes the reader panic.
#[test]
fn any_bytes_get_an_answer() {
    for packed in [GZIP, XZ, LZMA, LZ4, ZSTD] {
        for at in 0..packed.len() {
            let _ = payload(&bzimage_of(&packed[..at]), 1 << 20);
            for value in [0, 1, 0x7f, 0x80, 0xff] {
                let mut bad = packed.to_vec();
                bad[at] = value;
                let _ = payload(&bzimage_of(&bad), 1 << 20);
            }
        }
    }
}
