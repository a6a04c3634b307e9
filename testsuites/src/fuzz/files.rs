//! Arbitrary bytes as what a user's file may hold: a snapshot, also one whose checksums are right although its content
//! is nobody's, and a recording. Each is refused, or loads, runs, and is written again. The fuzz targets `snapshot`
//! and `recording` in `testsuites/fuzz` and the tests in `tests/files.rs` drive this.

use platform::boot::BootFile;
use platform::machine::{Boot, Config, Input, Machine, OptionalDevice};
use platform::recording::{self, Frame, Recording};
use platform::snapshot::{self, Snapshot};
use platform::time::Icount;
use rustix::fs::{MemfdFlags, memfd_create};
use ruzstd::decoding::StreamingDecoder;
use ruzstd::encoding::{CompressionLevel, compress_to_vec};
use std::fs::File;
use std::io::{Read, Write};
use std::os::fd::AsFd;
use std::sync::LazyLock;

/// Instructions that a machine runs which has been loaded.
const BUDGET: u64 = 3000;
/// Bytes of a snapshot's header; see [`platform::snapshot`].
const HEADER: usize = 128;

/// A snapshot that is right.
struct Sample {
    /// The file up to the metadata.
    header: Vec<u8>,
    /// The metadata of the snapshot, unpacked.
    metadata: Vec<u8>,
    /// The memory, page after page.
    memory: Vec<u8>,
}

static SAMPLE: LazyLock<Sample> = LazyLock::new(Sample::new);

impl Sample {
    /// Two processors in the middle of what [`program`] does.
    fn new() -> Sample {
        let mut machine = machine();
        machine.run(5000);
        let file = file(&[]);
        snapshot::write(&mut machine, &file).expect("a snapshot is written");
        let bytes = content(&file);
        let length = bytes[16..24].try_into().map_or(0, u64::from_le_bytes) as usize;
        let (header, rest) = bytes.split_at(HEADER);
        let mut metadata = Vec::new();
        let mut decoder = StreamingDecoder::new(&rest[..length]).expect("metadata");
        decoder.read_to_end(&mut metadata).expect("metadata");
        let memory = bytes[(HEADER + length).next_multiple_of(4096)..].to_vec();
        Sample { header: header.to_vec(), metadata, memory }
    }

    /// The file around other metadata, as if Strata had written all of them.
    fn with(&self, metadata: &[u8]) -> Vec<u8> {
        let packed = compress_to_vec(metadata, CompressionLevel::Uncompressed);
        let length = (packed.len() as u64).to_le_bytes();
        let mut bytes = self.header.clone();
        bytes[16..24].copy_from_slice(&length);
        let id = blake3::hash(&[&length[..], &packed].concat());
        bytes[24..56].copy_from_slice(id.as_bytes());
        bytes.extend(packed);
        bytes.resize(bytes.len().next_multiple_of(4096), 0);
        bytes.extend(&self.memory);
        bytes
    }
}

/// A machine with every kind of device that is about to run [`program`].
fn machine() -> Machine {
    use OptionalDevice::{Edu, FwCfg, Pvpanic, TestDevice};
    let devices = vec![Edu { msix: true }, FwCfg, Pvpanic, TestDevice];
    let config = Config { ram: 4 << 20, vcpus: 2, devices, ..Config::default() };
    let mut machine = Machine::new(&config).expect("a machine");
    let kernel = BootFile { name: "fuzz", bytes: &program() };
    machine.boot(&Boot { kernel, modules: &[], cmdline: "" }).expect("a kernel");
    machine.input(Icount(1000), Input::Serial { port: 0, bytes: b"x".to_vec() });
    machine.input(Icount(9000), Input::Serial { port: 1, bytes: b"y".to_vec() });
    machine
}

/// A multiboot kernel at 64 KiB that starts the timer and sends bytes for ever.
fn program() -> Vec<u8> {
    let (magic, flags, at) = (0x1bad_b002u32, 1u32 << 16, 0x1_0000u32);
    let words = [magic, flags, 0u32.wrapping_sub(magic + flags), at, at, 0, 0, at + 32];
    let code = [
        0xb0, 0x34, 0xe6, 0x43, // mov al, 34h; out 43h, al
        0xb0, 0xff, 0xe6, 0x40, 0xe6, 0x40, // mov al, ffh; out 40h, al; out 40h, al
        0xb9, 0x40, 0, 0, 0, // again: mov ecx, 64
        0xff, 0x05, 0, 0x80, 0, 0, // count: inc dword [8000h]
        0xe2, 0xf8, // loop count
        0x66, 0xba, 0xf8, 0x03, 0xee, // mov dx, 3f8h; out dx, al
        0xeb, 0xec, // jmp again
    ];
    words.iter().flat_map(|word| word.to_le_bytes()).chain(code).collect()
}

/// A file in memory with `bytes`.
fn file(bytes: &[u8]) -> File {
    let mut file: File = memfd_create("fuzz", MemfdFlags::CLOEXEC).expect("a file").into();
    file.write_all(bytes).expect("memory for a file");
    file
}

/// All of a file.
fn content(file: &impl AsFd) -> Vec<u8> {
    let mut bytes = Vec::new();
    let mut at = 0;
    let mut part = vec![0; 1 << 16];
    while let Ok(read @ 1..) = rustix::io::pread(file, &mut part, at) {
        bytes.extend(&part[..read]);
        at += read as u64;
    }
    bytes
}

/// How the bytes of an input change what is right.
fn changed(right: &[u8], edits: &[u8]) -> Vec<u8> {
    let mut bytes = right.to_vec();
    for edit in edits.chunks_exact(4) {
        let place = u32::from_le_bytes([edit[0], edit[1], edit[2], 0]) as usize;
        // The high bits say what is done at the place: a byte set, a bit flipped, bytes removed or added.
        let (what, at) = (place >> 21, (place & 0x1f_ffff) % bytes.len().max(1));
        let Some(byte) = bytes.get_mut(at) else { break };
        match what {
            0..=3 => *byte = edit[3],
            4 | 5 => *byte ^= 1 << (edit[3] & 7),
            6 => drop(bytes.remove(at)),
            _ => bytes.insert(at, edit[3]),
        }
    }
    bytes
}

/// Reads, verifies and restores `bytes`; a machine that comes of it runs, and is written down.
fn load(bytes: &[u8]) -> bool {
    let Ok(snapshot) = Snapshot::read(file(bytes)) else { return false };
    _ = snapshot.verify();
    drop(snapshot::load(std::slice::from_ref(&snapshot), &Config::default()));
    let Ok(mut machine) = snapshot::restore(&[snapshot], &Config::default()) else { return false };
    machine.run(BUDGET);
    machine.state_hash();
    snapshot::write(&mut machine, &file(&[])).expect("a snapshot is written");
    true
}

/// A snapshot as `bytes` say: the file itself changed, or its metadata. Whether it loads.
pub fn snapshot(bytes: &[u8]) -> bool {
    let Some((kind, edits)) = bytes.split_first() else { return load(&[]) };
    match kind & 7 {
        0 => load(edits),
        1 => load(&changed(&SAMPLE.with(&SAMPLE.metadata), edits)),
        _ => load(&SAMPLE.with(&changed(&SAMPLE.metadata, edits))),
    }
}

/// A recording as `bytes` say: the file itself, or frames with right checksums around them. How many frames it has.
pub fn recording(bytes: &[u8]) -> usize {
    let Some((kind, rest)) = bytes.split_first() else { return 0 };
    let frames = |bytes: &[u8]| Recording::read(bytes).map_or(0, |read| read.frames.len());
    if kind & 3 == 0 {
        return frames(rest);
    }
    let file = file(&[]);
    let mut writer = recording::Writer::new(&file).expect("a recording begins");
    let begin = Frame::Snapshot { at: Icount(0), file: "0".into(), id: [0; 32], begins: true };
    writer.add(&begin).expect("a frame is added");
    let mut rest = rest;
    while let Ok((frame, more)) = postcard::take_from_bytes::<Frame>(rest) {
        writer.add(&frame).expect("a frame is added");
        rest = more;
    }
    let bytes = content(&file);
    if kind & 3 == 1 { frames(&bytes) } else { frames(&changed(&bytes, rest)) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_right_loads() {
        assert!(snapshot(&[1]));
        assert!(snapshot(&[2]));
        assert!(!snapshot(&[2, 0, 0, 0, 9]), "another parent");
        assert_eq!(recording(&[1]), 1);
        assert_eq!(recording(&[1, 2, 5]), 1, "half a frame");
    }
}
