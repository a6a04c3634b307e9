//! Linux kernel images: the ELF file inside a bzImage, and modules.

use anyhow::{Context, Result};
use platform::boot::{self, BootFile};
use std::io::Read;

/// The largest unpacked file that is taken; Debian's kernels are a quarter as large.
const LIMIT: u64 = 512 << 20;

/// The unpacked ELF payload of a bzImage.
///
/// # Errors
/// When `image` is no bzImage, or its payload cannot be unpacked.
pub fn payload(image: &[u8]) -> Result<Vec<u8>> {
    let file = BootFile { name: "the kernel", bytes: image };
    boot::payload(&file, LIMIT)?.context("not a bzImage")
}

/// Unpacks one XZ stream; what follows it is ignored.
pub fn unxz(packed: &[u8]) -> Result<Vec<u8>> {
    let mut out = Vec::new();
    lzma_rust2::XzReader::new(packed, false).take(LIMIT).read_to_end(&mut out)?;
    Ok(out)
}

/// Unpacks one gzip stream.
pub fn gunzip(packed: &[u8]) -> Result<Vec<u8>> {
    let mut out = Vec::new();
    flate2::read::GzDecoder::new(packed).take(LIMIT).read_to_end(&mut out)?;
    Ok(out)
}
