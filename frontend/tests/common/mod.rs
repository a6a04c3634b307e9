//! Small guests: multiboot images, entered in 32-bit protected mode.

use std::fs;
use std::path::PathBuf;
use std::thread;

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
    // Tests that run at the same time share an image: each finds a whole one.
    let path = path(&format!("image-{name}"));
    let whole = path.with_extension(format!("{:?}", thread::current().id()));
    fs::write(&whole, image).unwrap();
    fs::rename(&whole, &path).unwrap();
    path.to_str().unwrap().to_owned()
}
