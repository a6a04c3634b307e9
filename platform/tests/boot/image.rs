//! Bootable images, made field by field.

/// Writes `value` at `at`, growing the image as needed.
pub(crate) fn put(image: &mut Vec<u8>, at: usize, value: &[u8]) {
    let end = at + value.len();
    if image.len() < end {
        image.resize(end, 0);
    }
    image[at..end].copy_from_slice(value);
}

pub(crate) fn put32(image: &mut Vec<u8>, at: usize, value: u32) {
    put(image, at, &value.to_le_bytes());
}

/// Bytes of the protected-mode part of [`bzimage`].
pub(crate) const CODE: &[u8] = b"the compressed kernel, 32 bytes.";

/// A relocatable bzImage of protocol 2.15: one setup sector, then [`CODE`].
pub(crate) fn bzimage() -> Vec<u8> {
    let mut image = vec![0; 1024];
    image[0x1f1] = 1;
    put32(&mut image, 0x1f4, CODE.len() as u32 / 16);
    put(&mut image, 0x1fe, &[0x55, 0xaa, 0xeb, 0x6a]);
    put(&mut image, 0x202, b"HdrS");
    put(&mut image, 0x206, &0x20fu16.to_le_bytes());
    image[0x211] = 1;
    put32(&mut image, 0x214, 0x10_0000);
    put32(&mut image, 0x22c, 0x7fff_ffff);
    image[0x234] = 1;
    put32(&mut image, 0x238, 2047);
    put(&mut image, 0x258, &0x100_0000u64.to_le_bytes());
    put32(&mut image, 0x260, 0x20_0000);
    put(&mut image, 1024, CODE);
    image
}

/// A program header: type, virtual and physical address, content, size in memory.
pub(crate) struct Part {
    pub(crate) kind: u32,
    pub(crate) vaddr: u64,
    pub(crate) paddr: u64,
    pub(crate) bytes: Vec<u8>,
    pub(crate) size: u64,
}

pub(crate) fn load_part(vaddr: u64, paddr: u64, bytes: &[u8], size: u64) -> Part {
    Part { kind: 1, vaddr, paddr, bytes: bytes.to_vec(), size }
}

/// A note segment with one note.
pub(crate) fn note_part(name: &str, kind: u32, content: &[u8]) -> Part {
    let mut bytes = Vec::new();
    for word in [name.len() as u32 + 1, content.len() as u32, kind] {
        bytes.extend(word.to_le_bytes());
    }
    bytes.extend(name.bytes().chain([0]));
    bytes.resize(bytes.len().next_multiple_of(4), 0);
    bytes.extend(content);
    bytes.resize(bytes.len().next_multiple_of(4), 0);
    Part { kind: 4, vaddr: 0, paddr: 0, bytes, size: 0 }
}

/// An executable of 32 or 64 bits.
pub(crate) fn elf(bits: u8, entry: u64, parts: &[Part]) -> Vec<u8> {
    let wide = bits == 64;
    let word = |value: u64| value.to_le_bytes()[..usize::from(bits / 8)].to_vec();
    let (header, entry_size) = if wide { (64, 56u16) } else { (52, 32) };
    let mut image = vec![0x7f, b'E', b'L', b'F', if wide { 2 } else { 1 }, 1, 1];
    image.resize(16, 0);
    for half in [2u16, if wide { 62 } else { 3 }, 1, 0] {
        image.extend(half.to_le_bytes());
    }
    [entry, header, 0].into_iter().for_each(|value| image.extend(word(value)));
    image.extend([0; 4]);
    for half in [header as u16, entry_size, parts.len() as u16, 0, 0, 0] {
        image.extend(half.to_le_bytes());
    }
    assert_eq!(image.len() as u64, header);
    let mut offset = header + u64::from(entry_size) * parts.len() as u64;
    for part in parts {
        image.extend(program_header(wide, part, offset));
        offset += part.bytes.len() as u64;
    }
    parts.iter().for_each(|part| image.extend(&part.bytes));
    image
}

fn program_header(wide: bool, part: &Part, offset: u64) -> Vec<u8> {
    let length = part.bytes.len() as u64;
    let kind = u64::from(part.kind);
    if wide {
        let words = [kind, offset, part.vaddr, part.paddr, length, part.size, 4];
        words.into_iter().flat_map(u64::to_le_bytes).collect()
    } else {
        let words = [kind, offset, part.vaddr, part.paddr, length, part.size, 0, 4];
        words.into_iter().flat_map(|word| (word as u32).to_le_bytes()).collect()
    }
}

/// A multiboot 1 header with `flags` and the five address fields.
pub(crate) fn multiboot1(flags: u32, addresses: [u32; 5]) -> Vec<u8> {
    let magic = 0x1bad_b002u32;
    let checksum = 0u32.wrapping_sub(magic).wrapping_sub(flags);
    let words = [&[magic, flags, checksum][..], &addresses].concat();
    words.into_iter().flat_map(u32::to_le_bytes).collect()
}

/// A multiboot 2 tag: type, flags, content in words.
pub(crate) struct Tag(pub(crate) u16, pub(crate) u16, pub(crate) &'static [u32]);

/// A multiboot 2 header with `tags` and the end tag.
pub(crate) fn multiboot2(tags: &[Tag]) -> Vec<u8> {
    let mut bytes = vec![0; 16];
    for Tag(kind, flags, content) in tags.iter().chain(&[Tag(0, 0, &[])]) {
        bytes.extend(kind.to_le_bytes());
        bytes.extend(flags.to_le_bytes());
        bytes.extend((8 + 4 * content.len() as u32).to_le_bytes());
        content.iter().for_each(|word| bytes.extend(word.to_le_bytes()));
        bytes.resize(bytes.len().next_multiple_of(8), 0);
    }
    let (magic, length) = (0xe852_50d6u32, bytes.len() as u32);
    put32(&mut bytes, 0, magic);
    put32(&mut bytes, 8, length);
    put32(&mut bytes, 12, 0u32.wrapping_sub(magic).wrapping_sub(length));
    bytes
}
