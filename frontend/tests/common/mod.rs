//! Small guests: multiboot images, entered in 32-bit protected mode.

use std::fs;
use std::path::PathBuf;

/// Path of the command under test.
pub(crate) const STRATA: &str = env!("CARGO_BIN_EXE_strata");

/// A file of the tests' own.
pub(crate) fn path(name: &str) -> PathBuf {
    PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join(name)
}

/// A multiboot image with `code`.
pub(crate) fn image(name: &str, code: &[u8]) -> String {
    const BASE: u32 = 0x10_0000;
    let (magic, flags) = (0x1BAD_B002_u32, 1 << 16);
    let checksum = 0u32.wrapping_sub(magic).wrapping_sub(flags);
    let header = [magic, flags, checksum, BASE, BASE, 0, 0, BASE + 32];
    let mut image: Vec<u8> = header.iter().flat_map(|word| word.to_le_bytes()).collect();
    image.extend(code);
    let path = path(&format!("image-{name}"));
    fs::write(&path, image).unwrap();
    path.to_str().unwrap().to_owned()
}
