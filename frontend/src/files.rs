//! Files that the user names: read whole, and looked at before anything starts.

use crate::status::Failure;
use platform::boot::{self, BootFile, BootModule, BootRequest, Format, GuestMemory, MemoryError};
use platform::memory_map::MemoryMap;
use std::fs;
use std::io::{self, Read};
use std::path::Path;

/// The first bytes of the formats that Linux unpacks as its initramfs.
const INITRAMFS: [(&str, &[u8]); 9] = [
    ("cpio", b"070701"),
    ("cpio", b"070702"),
    ("gzip", b"\x1F\x8B"),
    ("bzip2", b"BZh"),
    ("lzma", b"\x5D\0\0"),
    ("xz", b"\xFD7zXZ\0"),
    ("lzo", b"\x89LZO"),
    ("lz4", b"\x02\x21\x4C\x18"),
    ("zstd", b"\x28\xB5\x2F\xFD"),
];

/// A file to be loaded, with its command line.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Blob {
    pub(crate) name: String,
    pub(crate) bytes: Vec<u8>,
    pub(crate) cmdline: String,
}

/// A file's content. `flag` is the flag that named the file.
pub(crate) fn read(flag: &str, path: &Path) -> Result<Vec<u8>, Failure> {
    let what = format!("{flag} {}", path.display());
    let wrong = |found: String| {
        Failure::usage(&what, format!("{found}; accepted is a readable file that is not empty"))
    };
    let meta = fs::metadata(path).map_err(|e| wrong(e.to_string()))?;
    if !meta.is_file() {
        return Err(wrong("not a regular file".into()));
    }
    let bytes = fs::read(path).map_err(|e| wrong(e.to_string()))?;
    if bytes.is_empty() { Err(wrong("an empty file".into())) } else { Ok(bytes) }
}

/// A domain's kernel as ELF: a bzImage's packed kernel, of at most `memory` bytes, or the file as it
/// is.
pub(crate) fn unpacked(name: &str, bytes: Vec<u8>, memory: u64) -> Result<Vec<u8>, Failure> {
    let elf = boot::payload(&BootFile { name, bytes: &bytes }, memory);
    Ok(elf.map_err(Failure::input)?.unwrap_or(bytes))
}

/// Refuses a domain's kernel that is no ELF file with a PVH note, is truncated, or does not fit
/// into `memory` bytes.
pub(crate) fn check_pvh(name: &str, bytes: &[u8], memory: u64) -> Result<(), Failure> {
    if !boot::offers(bytes, Format::Pvh) {
        let found = &bytes[..bytes.len().min(8)];
        let why = format!(
            "not a kernel for a domain: begins with {found:02x?}; accepted is ELF with a PVH note, or a \
             bzImage with one inside"
        );
        return Err(Failure::usage(name, why));
    }
    check_boot(
        &Blob { name: name.into(), bytes: bytes.into(), cmdline: String::new() },
        &[],
        memory,
    )
}

/// Refuses what no loader takes, or what does not fit into `memory` bytes together.
pub(crate) fn check_boot(kernel: &Blob, modules: &[Blob], memory: u64) -> Result<(), Failure> {
    let map = MemoryMap::new(memory);
    let modules: Vec<_> =
        modules.iter().map(|m| BootModule { file: m.file(), cmdline: &m.cmdline }).collect();
    let (kernel, cmdline) = (kernel.file(), kernel.cmdline.as_str());
    let request = BootRequest { kernel, modules: &modules, cmdline, map, rsdp: None };
    boot::load(&request, &mut Nowhere(map)).map(drop).map_err(Failure::input)
}

impl Blob {
    /// The file in the form that loaders take.
    pub(crate) fn file(&self) -> BootFile<'_> {
        BootFile { name: &self.name, bytes: &self.bytes }
    }
}

/// Memory that takes every write within its ranges and keeps nothing.
struct Nowhere(MemoryMap);

impl GuestMemory for Nowhere {
    fn write(&mut self, address: u64, bytes: &[u8]) -> Result<(), MemoryError> {
        let length = bytes.len() as u64;
        match address.checked_add(length) {
            Some(end) if end <= self.0.low => Ok(()),
            _ => Err(MemoryError { address, length }),
        }
    }
}

/// Refuses an initramfs that Linux would not unpack: unknown, truncated or damaged. Only gzip and
/// plain archives are looked into.
pub(crate) fn check_initramfs(name: &str, bytes: &[u8]) -> Result<(), Failure> {
    let start = bytes.iter().position(|b| *b != 0).unwrap_or(bytes.len());
    let bytes = &bytes[start..];
    let kind = INITRAMFS.iter().find(|(_, magic)| bytes.starts_with(magic));
    let checked = match kind {
        Some(("gzip", _)) => check_gzip(bytes),
        Some(("cpio", _)) => check_cpio(&mut &bytes[..]).map_err(|e| e.to_string()).flatten(),
        Some(_) => Ok(()),
        None => Err(format!("begins with {:02x?}", &bytes[..bytes.len().min(6)])),
    };
    let accepted = "accepted are cpio archives (newc), plain or packed by gzip, bzip2, lzma, xz, \
                    lzo, lz4 or zstd";
    checked.map_err(|found| Failure::usage(name, format!("not an initramfs: {found}; {accepted}")))
}

/// Checks what `bytes` unpack to, as it comes: it may be a thousand times as much.
fn check_gzip(bytes: &[u8]) -> Result<(), String> {
    const LIMIT: u64 = 4 << 30;
    let mut plain = flate2::read::GzDecoder::new(bytes).take(LIMIT);
    let failed = |e| format!("gzip: {e}");
    check_cpio(&mut plain).map_err(failed)??;
    io::copy(&mut plain, &mut io::sink()).map(drop).map_err(failed)
}

/// What an archive lacks, unless it cannot be read.
type Checked = io::Result<Result<(), String>>;

/// Walks a newc archive to its trailer. The header's fields are eight hexadecimal digits each:
/// the content's size is the seventh after the magic, the name's size the twelfth.
fn check_cpio(archive: &mut impl Read) -> Checked {
    const HEADER: usize = 110;
    const TRAILER: &[u8] = b"TRAILER!!!\0";
    let mut at = 0u64;
    loop {
        let wrong = |what: &str| Ok(Err(format!("cpio: {what} at offset {at:#x}")));
        let (mut header, mut name) = ([0; HEADER], [0; TRAILER.len()]);
        let header = match fill(archive, &mut header)? {
            HEADER => header,
            _ => return wrong("truncated"),
        };
        if !header.starts_with(b"07070") {
            return wrong("no header");
        }
        let field = |from: usize| {
            let digits = std::str::from_utf8(&header[from..from + 8]).ok();
            digits.and_then(|d| u64::from_str_radix(d, 16).ok())
        };
        let (Some(size), Some(named)) = (field(54), field(94)) else {
            return Ok(Err(format!("cpio: a size at offset {at:#x} is no number")));
        };
        let begin = fill(archive, &mut name[..TRAILER.len().min(named as usize)])? as u64;
        if begin + skip(archive, named - begin)? < named {
            return wrong("truncated");
        }
        if named == TRAILER.len() as u64 && name == TRAILER {
            return Ok(Ok(()));
        }
        let content = at + HEADER as u64 + named;
        at = (content.next_multiple_of(4) + size).next_multiple_of(4);
        skip(archive, at - content)?;
    }
}

/// Reads as much of `bytes` as there is; how much that was.
fn fill(from: &mut impl Read, bytes: &mut [u8]) -> io::Result<usize> {
    let mut filled = 0;
    while filled < bytes.len() {
        match from.read(&mut bytes[filled..])? {
            0 => break,
            count => filled += count,
        }
    }
    Ok(filled)
}

/// Skips `count` bytes; how many there were.
fn skip(from: &mut impl Read, count: u64) -> io::Result<u64> {
    io::copy(&mut from.by_ref().take(count), &mut io::sink())
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Write;

    /// An archive of one file.
    fn archive() -> Vec<u8> {
        let entry = |name: &str, content: &str| {
            let (size, named) = (content.len(), name.len() + 1);
            let zeros = "0".repeat(8);
            let header = format!(
                "070701{}{size:08X}{}{named:08X}{zeros}{name}\0",
                zeros.repeat(6),
                zeros.repeat(4)
            );
            let mut bytes = header.into_bytes();
            bytes.resize(bytes.len().next_multiple_of(4), 0);
            bytes.extend(content.as_bytes());
            bytes.resize(bytes.len().next_multiple_of(4), 0);
            bytes
        };
        [entry("init", "#!x"), entry("TRAILER!!!", "")].concat()
    }

    fn packed(plain: &[u8]) -> Vec<u8> {
        let mut out = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
        out.write_all(plain).unwrap();
        out.finish().unwrap()
    }

    #[track_caller]
    fn check(bytes: &[u8], expect: &str) {
        let found = check_initramfs("I", bytes).map_or_else(|f| f.text, |()| "fine".into());
        match expect {
            "fine" => assert_eq!(found, "fine"),
            why => {
                assert!(found.starts_with(&format!("I: not an initramfs: {why}; acc")), "{found}")
            }
        }
    }

    #[test]
    fn initramfs() {
        let plain = archive();
        check(&plain, "fine");
        check(&[&[0; 4], &plain[..]].concat(), "fine");
        check(&packed(&plain), "fine");
        check(b"\xFD7zXZ\0...", "fine");
        check(&packed(&plain)[..40], "gzip: incomplete deflate stream");
        check(&packed(b"hello"), "cpio: truncated at offset 0x0");
        check(&plain[..120], "cpio: truncated at offset 0x78");
        check(&plain[..130], "cpio: truncated at offset 0x78");
        check(&plain[..112], "cpio: truncated at offset 0x0");
        check(b"MZ\x90\0", "begins with [4d, 5a, 90, 00]");
        check(b"", "begins with []");
        let mut huge = plain.clone();
        huge[54..62].copy_from_slice(b"FFFFFFFF");
        check(&huge, "cpio: truncated at offset 0x100000074");
        huge[54..62].copy_from_slice(b"notahex!");
        check(&huge, "cpio: a size at offset 0x0 is no number");
    }

    #[test]
    fn kernels() {
        let check = |bytes: &[u8], expect: &str| {
            let text = check_pvh("K", bytes, 64 << 20).unwrap_err().text;
            assert!(text.starts_with(expect), "{text}");
        };
        check(b"MZ", "K: not a kernel for a domain: begins with [4d, 5a]; accepted is ELF");
        let fine = crate::embedded::HYPERVISOR;
        check_pvh("K", fine, 64 << 20).unwrap();
        check(&fine[..fine.len() / 2], "K: truncated: ");
    }

    #[test]
    fn unreadable_files() {
        let accepted = "accepted is a readable file that is not empty";
        let check = |path: &str, found: &str| {
            let failure = read("-kernel", Path::new(path)).unwrap_err();
            assert_eq!(failure.text, format!("-kernel {path}: {found}; {accepted}"));
        };
        check("/no/such", "No such file or directory (os error 2)");
        check("/", "not a regular file");
        check("/dev/zero", "not a regular file");
    }
}
