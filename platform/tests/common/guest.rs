//! Small guests: 32-bit code in bytes, under their mnemonics, in a multiboot image.

use platform::boot::BootFile;
use platform::machine::{Boot, Config, Machine};

/// Where the program is loaded and entered.
pub(crate) const CODE: u32 = 0x10_0000;

/// out port, al
pub(crate) fn outb(port: u16, v: u8) -> Vec<u8> {
    [&[0x66, 0xba][..], &port.to_le_bytes(), &[0xb0, v, 0xee]].concat()
}

/// out port, eax
pub(crate) fn outd(port: u16, v: u32) -> Vec<u8> {
    [&[0x66, 0xba][..], &port.to_le_bytes(), &[0xb8], &v.to_le_bytes(), &[0xef]].concat()
}

/// mov dword [at], v
pub(crate) fn store(at: u32, v: u32) -> Vec<u8> {
    [&[0xc7, 0x05][..], &at.to_le_bytes(), &v.to_le_bytes()].concat()
}

/// Stores `bytes`, four at a time.
pub(crate) fn copy(at: u32, bytes: &[u8]) -> Vec<u8> {
    let words = bytes.chunks(4).zip((at..).step_by(4));
    words
        .flat_map(|(b, at)| {
            let mut word = [0; 4];
            word[..b.len()].copy_from_slice(b);
            store(at, u32::from_le_bytes(word))
        })
        .collect()
}

/// A multiboot image that says itself where it goes, entered with `program` in flat 32-bit code.
fn image(program: &[u8]) -> Vec<u8> {
    let (magic, flags) = (0x1bad_b002u32, 1u32 << 16);
    let words = [magic, flags, 0u32.wrapping_sub(magic + flags), CODE, CODE, 0, 0, CODE + 32];
    let header: Vec<u8> = words.iter().flat_map(|w| w.to_le_bytes()).collect();
    [&header, program].concat()
}

/// A machine of 4 MiB, else as `config` says, that is about to run `program`.
pub(crate) fn machine(config: Config, program: &[u8]) -> Machine {
    let mut machine = Machine::new(&Config { ram: 4 << 20, ..config }).unwrap();
    let bytes = image(program);
    let kernel = BootFile { name: "guest", bytes: &bytes };
    machine.boot(&Boot { kernel, modules: &[], cmdline: "" }).unwrap();
    machine
}
