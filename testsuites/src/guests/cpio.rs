//! The archive that Linux unpacks as its first root: cpio's "newc" format, gzipped.
//!
//! Linux, Documentation/driver-api/early-userspace/buffer-format.rst. The bytes depend on the
//! content alone: no time, owner or host inode goes in.

use anyhow::{Context, Result};
use std::io::Write;

const FOLDER: u32 = 0o040_000;
const REGULAR: u32 = 0o100_000;
const SYMBOLIC: u32 = 0o120_000;

/// An archive that grows by one entry after another.
#[derive(Debug, Default)]
pub struct Newc {
    bytes: Vec<u8>,
    entries: u32,
}

impl Newc {
    /// Adds the folder `name`; its parent goes in first.
    pub fn folder(&mut self, name: &str) {
        self.entry(name, FOLDER | 0o755, 0);
    }

    /// Adds the symbolic link `name` to `target`.
    pub fn link(&mut self, name: &str, target: &str) {
        self.entry(name, SYMBOLIC | 0o777, target.len() as u32);
        self.bytes.extend(target.as_bytes());
        self.pad();
    }

    /// Adds a regular file. An error if it does not fit the format's 32-bit size.
    pub fn file(&mut self, name: &str, mode: u32, content: &[u8]) -> Result<()> {
        let size = u32::try_from(content.len()).with_context(|| format!("{name} is too large"))?;
        self.entry(name, REGULAR | mode, size);
        self.bytes.extend(content);
        self.pad();
        Ok(())
    }

    /// Ends the archive.
    pub fn finish(mut self) -> Vec<u8> {
        self.entries = 0;
        self.entry("TRAILER!!!", 0, 0);
        self.bytes
    }

    /// The header: 13 fields of eight hexadecimal digits after the magic, then the name.
    fn entry(&mut self, name: &str, mode: u32, size: u32) {
        self.entries += 1;
        let links = if mode & FOLDER != 0 { 2 } else { 1 };
        let named = name.len() as u32 + 1;
        let fields = [self.entries, mode, 0, 0, links, 0, size, 0, 0, 0, 0, named, 0];
        self.bytes.extend(b"070701");
        for field in fields {
            self.bytes.extend(format!("{field:08X}").as_bytes());
        }
        self.bytes.extend(name.as_bytes());
        self.bytes.push(0);
        self.pad();
    }

    fn pad(&mut self) {
        self.bytes.resize(self.bytes.len().next_multiple_of(4), 0);
    }
}

/// Gzip without name and time.
pub fn gzip(plain: &[u8]) -> Result<Vec<u8>> {
    let level = flate2::Compression::best();
    let mut out = flate2::GzBuilder::new().mtime(0).write(Vec::new(), level);
    out.write_all(plain)?;
    Ok(out.finish()?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn layout() {
        let mut archive = Newc::default();
        archive.folder("d");
        archive.file("d/f", 0o644, b"hello").unwrap();
        archive.link("l", "d/f");
        let bytes = archive.finish();
        let header = |ino, mode, links, size, named| {
            format!(
                "070701{ino:08X}{mode:08X}0000000000000000{links:08X}00000000{size:08X}\
                 00000000000000000000000000000000{named:08X}00000000"
            )
        };
        let expect = [
            header(1, 0o040_755, 2, 0, 2),
            "d\0".into(),
            header(2, 0o100_644, 1, 5, 4),
            "d/f\0\0\0hello\0\0\0".into(),
            header(3, 0o120_777, 1, 3, 2),
            "l\0d/f\0".into(),
            header(1, 0, 1, 0, 11),
            "TRAILER!!!\0\0\0\0".into(),
        ];
        assert_eq!(String::from_utf8(bytes).unwrap(), expect.concat());
    }

    #[test]
    fn gzip_repeats() {
        let packed = gzip(b"some bytes").unwrap();
        assert_eq!(packed[4..8], [0; 4], "no time in the header");
        assert_eq!(packed, gzip(b"some bytes").unwrap());
    }
}
