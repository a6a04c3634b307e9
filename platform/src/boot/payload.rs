//! The ELF kernel inside a bzImage, for those who enter a kernel by its PVH note: Xen's tools unpack
//! a domain's kernel likewise.
//!
//! Linux, Documentation/arch/x86/boot.rst: `payload_offset`, `payload_length`.

use super::linux::{self, Header, VERSION};
use super::{BootError, BootFile, elf};
use ruzstd::decoding::{FrameDecoder, StreamingDecoder};
use std::io::{self, Read};

/// Protocol 2.08, the first that says where the packed kernel lies.
const WITH_PAYLOAD: u16 = 0x208;
const PAYLOAD_OFFSET: u64 = 0x248;
const PAYLOAD_LENGTH: u64 = 0x24c;
/// The largest unpacked kernel; Debian's are a quarter as large.
const MOST: u64 = 512 << 20;
/// The largest window of a packing, twice that of a packed Linux.
const WINDOW: u64 = 256 << 20;
/// LZ4's legacy frame has blocks of at most this size.
const LZ4_BLOCK: usize = 8 << 20;

/// Unpacks into the vector at most so many bytes.
type Unpack = fn(&[u8], &mut Vec<u8>, u64) -> io::Result<()>;

/// The packings by their first bytes: those of Linux's build, but for bzip2 and LZO.
const PACKINGS: [(&[u8], Unpack); 6] = [
    (b"\x7fELF", |packed, out, most| read(packed, out, most)),
    (b"\x1f\x8b", |packed, out, most| read(flate2::read::GzDecoder::new(packed), out, most)),
    (b"\xfd7zXZ\0", |packed, out, most| {
        read(lzma_rust2::XzReader::new_mem_limit(packed, false, (WINDOW >> 10) as u32), out, most)
    }),
    (b"\x5d\0\0", |packed, out, most| {
        let reader = lzma_rust2::LzmaReader::new_mem_limit(packed, (WINDOW >> 10) as u32, None)?;
        read(reader, out, most)
    }),
    (b"\x02\x21\x4c\x18", unlz4),
    (b"\x28\xb5\x2f\xfd", unzstd),
];

/// The ELF file that a bzImage carries, if it is not larger than `most` bytes. `None` for a file
/// that is no bzImage.
///
/// # Errors
/// A bzImage that is truncated, packed otherwise than by gzip, XZ, LZMA, LZ4 or zstd, damaged, or
/// too large.
pub fn payload(kernel: &BootFile<'_>, most: u64) -> Result<Option<Vec<u8>>, BootError> {
    if !linux::recognise(kernel.bytes) {
        return Ok(None);
    }
    let what = "setup header";
    let version = kernel.u16(VERSION, what)?;
    if version < WITH_PAYLOAD {
        let accepted = "boot protocol 0x208 (2.08) or later";
        return Err(kernel.bad_field("version", VERSION, version.into(), accepted));
    }
    let start = Header::read(kernel)?.setup_end + u64::from(kernel.u32(PAYLOAD_OFFSET, what)?);
    let length = kernel.u32(PAYLOAD_LENGTH, what)?;
    let packed = kernel.slice(start, length.into(), "packed kernel")?;
    let wrong = |found: String| BootError::Payload { name: kernel.name.into(), found };
    let Some((_, unpack)) = PACKINGS.iter().find(|(magic, _)| packed.starts_with(magic)) else {
        return Err(wrong(format!("begins with {:02x?}", &packed[..packed.len().min(6)])));
    };
    let most = most.min(MOST);
    let mut unpacked = Vec::new();
    unpack(packed, &mut unpacked, most + 1).map_err(|why| wrong(why.to_string()))?;
    if unpacked.len() as u64 > most {
        return Err(wrong(format!("unpacks to more than {most} bytes")));
    }
    if !elf::recognise(&unpacked) {
        return Err(wrong("unpacks to something else than ELF".into()));
    }
    Ok(Some(unpacked))
}

/// Reads a stream to its end; what follows it is not looked at: Linux appends the unpacked size.
fn read(stream: impl Read, out: &mut Vec<u8>, most: u64) -> io::Result<()> {
    stream.take(most).read_to_end(out).map(drop)
}

fn unzstd(packed: &[u8], out: &mut Vec<u8>, most: u64) -> io::Result<()> {
    let mut decoder = FrameDecoder::new();
    decoder.set_max_window_size(WINDOW);
    let stream = StreamingDecoder::new_with_decoder(packed, decoder);
    read(stream.map_err(io::Error::other)?, out, most)
}

/// LZ4's legacy frame: blocks, each after its packed size. The last word is the unpacked size.
fn unlz4(packed: &[u8], out: &mut Vec<u8>, most: u64) -> io::Result<()> {
    let truncated = || io::Error::other("an LZ4 block is truncated");
    let (blocks, size) = packed[4..].split_last_chunk().ok_or_else(truncated)?;
    let mut rest = blocks;
    while let Some((length, after)) = rest.split_first_chunk()
        && (out.len() as u64) < most
    {
        let length = u32::from_le_bytes(*length) as usize;
        let block = after.get(..length).ok_or_else(truncated)?;
        out.extend(lz4_flex::block::decompress(block, LZ4_BLOCK).map_err(io::Error::other)?);
        rest = &after[length..];
    }
    if rest.is_empty() && out.len() as u64 != u64::from(u32::from_le_bytes(*size)) {
        return Err(io::Error::other("LZ4: the unpacked size is another"));
    }
    Ok(())
}
