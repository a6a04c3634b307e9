//! Linux kernel images: the ELF file inside a bzImage.
//!
//! The boot protocol's `payload_offset` and `payload_length` (Linux,
//! Documentation/x86/boot.rst, "Details of Header Fields") say where the compressed kernel lies.

use anyhow::{Context, Result, bail, ensure};
use std::io::Read;

/// The largest unpacked kernel that is taken; Debian's are a quarter as large.
const LIMIT: u64 = 512 << 20;

/// The unpacked ELF payload of a bzImage.
///
/// # Errors
/// When `image` is no bzImage, is truncated, or is packed otherwise than by XZ or legacy LZ4.
pub fn payload(image: &[u8]) -> Result<Vec<u8>> {
    ensure!(image.get(0x202..0x206) == Some(b"HdrS"), "not a bzImage: no HdrS at 0x202");
    let sectors = match image[0x1F1] {
        0 => 4,
        n => usize::from(n),
    };
    let begin = (sectors + 1) * 512 + word(image, 0x248)? as usize;
    let length = word(image, 0x24C)? as usize;
    let packed = image.get(begin..begin + length).context("the kernel's payload is truncated")?;
    let elf = match packed {
        [0xFD, b'7', b'z', b'X', b'Z', 0, ..] => unxz(packed)?,
        [0x02, 0x21, 0x4C, 0x18, ..] => unlz4(packed)?,
        _ => bail!("the kernel is packed by neither XZ nor LZ4: {:02x?}", packed.get(..6)),
    };
    ensure!(elf.starts_with(b"\x7FELF"), "the kernel's payload is not an ELF file");
    Ok(elf)
}

/// Unpacks one XZ stream; what follows it is ignored (Linux appends the unpacked size).
pub fn unxz(packed: &[u8]) -> Result<Vec<u8>> {
    let mut out = Vec::new();
    lzma_rust2::XzReader::new(packed, false).take(LIMIT).read_to_end(&mut out)?;
    Ok(out)
}

/// Unpacks LZ4's legacy frame: blocks of at most 8 MiB, each after its packed size. The last
/// word, by Linux's packing, is the unpacked size.
fn unlz4(packed: &[u8]) -> Result<Vec<u8>> {
    const BLOCK: usize = 8 << 20;
    let mut out = Vec::new();
    let mut at = 4;
    let end = packed.len() - 4;
    while at < end {
        let size = word(packed, at)? as usize;
        let block = packed.get(at + 4..at + 4 + size).context("an LZ4 block is truncated")?;
        out.extend(lz4_flex::block::decompress(block, BLOCK)?);
        at += 4 + size;
    }
    ensure!(out.len() == word(packed, end)? as usize, "the LZ4 payload has the wrong size");
    Ok(out)
}

/// The little-endian word at `at`.
fn word(bytes: &[u8], at: usize) -> Result<u32> {
    let four = bytes.get(at..at + 4).context("the kernel image is truncated")?;
    Ok(u32::from_le_bytes([four[0], four[1], four[2], four[3]]))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A bzImage with `packed` as its payload.
    fn image(packed: &[u8]) -> Vec<u8> {
        let mut image = vec![0; 1024];
        image[0x1F1] = 1;
        image[0x202..0x206].copy_from_slice(b"HdrS");
        image[0x24C..0x250].copy_from_slice(&(packed.len() as u32).to_le_bytes());
        image.extend(packed);
        image
    }

    #[track_caller]
    fn check(image: &[u8], expect: &str) {
        let found = match payload(image) {
            Ok(elf) => format!("{elf:02x?}"),
            Err(error) => error.to_string(),
        };
        assert_eq!(found, expect);
    }

    #[test]
    fn payloads() {
        let lz4 = b"\x02\x21\x4C\x18\x07\0\0\0\x60\x7FELF..\x06\0\0\0";
        check(&image(lz4), "[7f, 45, 4c, 46, 2e, 2e]");
        check(&image(&lz4[..14]), "an LZ4 block is truncated");
        check(b"short", "not a bzImage: no HdrS at 0x202");
        let mut truncated = image(lz4);
        truncated.pop();
        check(&truncated, "the kernel's payload is truncated");
        check(
            &image(b"other!"),
            "the kernel is packed by neither XZ nor LZ4: Some([6f, 74, 68, 65, 72, 21])",
        );
    }
}
