//! No byte of an image makes a loader panic, or write where the machine or the loader lives.

use proptest::prelude::*;

use super::{image::*, *};

/// One good image of each format.
fn images() -> Vec<Vec<u8>> {
    let note = note_part("Xen", 18, &[0, 0, 16, 0]);
    let header1 = multiboot1(3, [0; 5]);
    let flat1 = multiboot1(1 << 16, [0x20_0000, 0x20_0000, 0, 0, 0x20_0000]);
    let header2 = multiboot2(&[Tag(1, 0, &[6]), Tag(10, 0, &[0, u32::MAX, 4096, 2])]);
    let flat2 = multiboot2(&[Tag(2, 0, &[0x20_0000, u32::MAX, 0, 0]), Tag(3, 0, &[0x20_0000])]);
    vec![
        bzimage(),
        elf(64, 0, &[load_part(0x10_0000, 0x10_0000, b"text", 64), note]),
        elf(32, 0x10_0000, &[load_part(0x10_0000, 0x10_0000, &header1, 64)]),
        elf(64, 0x10_0000, &[load_part(0x10_0000, 0x10_0000, &header2, 256)]),
        flat1,
        flat2,
    ]
}

/// Whatever comes of it, what is written lies in free memory, and the loader's area is whole.
fn load_safely(image: &[u8]) {
    if let Ok((entry, memory)) = load(image, &[(b"module", "words")], "words") {
        assert!(entry.rip <= u32::MAX.into());
        for (&base, bytes) in memory.writes.iter().filter(|(_, bytes)| !bytes.is_empty()) {
            let end = base + bytes.len() as u64;
            let loaders = base >= 0x8_0000 && end <= 0x9_fc00;
            let low = end <= 0x8_0000;
            assert!(loaders || low || base >= 0x10_0000 && end <= FREE_END, "{base:#x}–{end:#x}");
        }
    }
}

#[test]
fn good_images_are_good() {
    for image in images() {
        assert!(load(&image, &[(b"module", "words")], "words").is_ok());
    }
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(400) })]

    #[test]
    fn random_bytes(bytes in prop::collection::vec(any::<u8>(), 0..2048)) {
        load_safely(&bytes);
    }

    /// Good images with bytes changed, or words replaced by extreme ones, and cut.
    #[test]
    fn mutated(
        which in 0..6usize,
        bytes in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 0..4),
        words in prop::collection::vec((any::<prop::sample::Index>(), prop::sample::select(EXTREMES)), 0..3),
        cut in prop::option::weighted(0.2, any::<prop::sample::Index>()),
    ) {
        let mut image = images()[which].clone();
        for (at, value) in bytes {
            let at = at.index(image.len());
            image[at] = value;
        }
        for (at, value) in words {
            let at = at.index(image.len() / 4) * 4;
            put32(&mut image, at, value);
        }
        if let Some(cut) = cut {
            image.truncate(cut.index(image.len()));
        }
        repair(&mut image);
        load_safely(&image);
    }
}

/// Values at which arithmetic goes wrong.
const EXTREMES: &[u32] =
    &[0, 1, 7, 8, 0xfff, 0x7fff_ffff, 0x8000_0000, 0xffff_fff8, u32::MAX, 0x10_0000, 0x3fd_f000];

/// Makes the checksums of multiboot headers right again, so that mutations get past them.
fn repair(image: &mut [u8]) {
    let word = |image: &[u8], at: usize| u32::from_le_bytes(image[at..at + 4].try_into().unwrap());
    for at in (0..image.len().saturating_sub(16)).step_by(4) {
        let magic = word(image, at);
        let (sum, place) = match magic {
            0x1bad_b002 => (word(image, at + 4), at + 8),
            0xe852_50d6 => (word(image, at + 4).wrapping_add(word(image, at + 8)), at + 12),
            _ => continue,
        };
        let checksum = 0u32.wrapping_sub(magic).wrapping_sub(sum);
        image[place..place + 4].copy_from_slice(&checksum.to_le_bytes());
    }
}
