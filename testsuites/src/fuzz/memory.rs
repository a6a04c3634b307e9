//! Memory that an input runs in: descriptor tables, paging structures of every kind, code and data.

use super::{Input, MEMORY, PAGE};

/// Paging structures: 4-level and PAE from here on.
pub(super) const PML4: u64 = 0x1000;
const PDPT: u64 = 0x2000;
const PD: u64 = 0x3000;
const PT: u64 = 0x4000;
const PD_TOP: u64 = 0x5000;
/// 32-bit paging.
pub(super) const PD32: u64 = 0x6000;
const PT32: u64 = 0x7000;
/// PAE's four entries.
pub(super) const PDPT32: u64 = 0x7f00;
pub(super) const GDT: u64 = 0x8000;
/// Descriptors in the GDT.
pub(super) const DESCRIPTORS: u64 = 64;
pub(super) const LDT: u64 = 0x8800;
pub(super) const IDT: u64 = 0x9000;
pub(super) const TSS: u64 = 0xa000;
/// A second task.
const TSS2: u64 = 0xb000;
pub(super) const STACKS: u64 = 0xc000;
pub(super) const CODE: u64 = 0x1_0000;
pub(super) const DATA: u64 = 0x1_2000;
/// The handler of SMIs, below a save area at offset 7E00h.
pub(super) const SMI: u64 = 0x1_8000;
pub(super) const EPT: u64 = 0x2_0000;
pub(super) const VMX: u64 = 0x2_8000;
/// What lies above is zero at first.
const END: u64 = 0x4_0000;
/// The local APIC's page, in 2 MiB.
const APIC_2M: u64 = 0xfee0_0000;

/// Frames of the machine that are memory.
pub(super) fn frames() -> impl Iterator<Item = usize> {
    (0..MEMORY as usize / PAGE).filter(|f| !(0xa0..0xc0).contains(f))
}

/// A memory image under construction.
pub(super) struct Image(pub(super) Vec<u8>);

impl Image {
    /// All zeros: what nobody fills stays so.
    pub(super) fn new() -> Image {
        Image(vec![0; END as usize])
    }

    /// Stores `bytes`.
    pub(super) fn put(&mut self, at: u64, bytes: &[u8]) {
        self.0[at as usize..at as usize + bytes.len()].copy_from_slice(bytes);
    }

    /// Stores eight bytes.
    pub(super) fn put64(&mut self, at: u64, v: u64) {
        self.put(at, &v.to_le_bytes());
    }
}

/// What selectors name: 08 code, 10 data, 18 and 20 the same for CPL 3, 28 the TSS, 38 a second TSS,
/// 40 the LDT, 48 16-bit code, 50 16-bit data, 58 conforming code, then anything.
fn descriptors(input: &mut Input, image: &mut Image, long: bool) {
    let code = if long { 0x00af_9b00_0000_ffff } else { 0x00cf_9b00_0000_ffff };
    let data = 0x00cf_9300_0000_ffff;
    let ring3 = 3 << 45;
    let system = |base: u64, kind: u64, limit: u64| limit | base << 16 | kind << 40;
    let fixed = [
        0,
        code,
        data,
        code | ring3,
        data | ring3,
        system(TSS, 0x8b, 0xfff),
        0,
        system(TSS2, 0x89, 0x67),
        system(LDT, 0x82, 0x1ff),
        0x0000_9b00_0000_ffff,
        0x0000_9300_0000_ffff,
        0x00cf_9f00_0000_ffff,
    ];
    for n in 0..DESCRIPTORS + 64 {
        let d = match fixed.get(n as usize) {
            Some(d) if !input.once_in(32) => *d,
            _ => descriptor(input),
        };
        image.put64(GDT + 8 * n, d);
    }
    // The LDT is full of them.
    (0..64).for_each(|n| {
        let d = descriptor(input);
        image.put64(LDT + 8 * n, d);
    });
}

/// A descriptor of any kind, often one that is of use.
fn descriptor(input: &mut Input) -> u64 {
    let rights = match input.below(4) {
        0 => input.random() & 0xff,
        1 => 0x90 | input.random() & 0x6f,
        2 => 0x80 | input.random() & 0x6f,
        _ => input.pick(&[0x9b, 0x93, 0xfb, 0xf3, 0x97, 0xf7, 0x8c, 0xec, 0xee, 0x85, 0xe5, 0x9f]),
    };
    if rights & 0x10 == 0 && input.below(3) != 0 {
        let selector = input.pick(&[0x08, 0x18, 0x1b, 0x28, 0x38, 0x48, 0x58]);
        let offset = CODE + input.below(0x400);
        return offset & 0xffff
            | selector << 16
            | rights << 40
            | input.below(4) << 32
            | (offset >> 16) << 48;
    }
    let base = if input.once_in(2) { 0 } else { input.value() & 0xffff_ffff };
    let limit = if input.once_in(2) { 0xf_ffff } else { input.below(0x10_0000) };
    let high = input.pick(&[0xc0, 0xa0, 0x40, 0x00, 0x80, 0x20]);
    limit & 0xffff
        | (base & 0xff_ffff) << 16
        | rights << 40
        | (limit >> 16) << 48
        | high << 48
        | (base >> 24) << 56
}

/// Gates lead back into the code, so that a fault is not the end.
fn gates(input: &mut Input, image: &mut Image, long: bool) {
    let size = if long { 16 } else { 8 };
    for v in 0..4096 / size {
        let to = CODE + input.below(0x400);
        let kind = input.pick(&[0x8e, 0x8e, 0x8e, 0x8f, 0xee, 0xef, 0x86, 0x85, 0x0e]);
        let selector = input.pick(&[8, 8, 8, 8, 0x18, 0x48, 0x58, 0x38, 0]);
        let ist = if long && input.once_in(4) { input.below(8) } else { 0 };
        let gate = to & 0xffff | selector << 16 | ist << 32 | kind << 40 | (to >> 16) << 48;
        image.put64(IDT + v * size, gate);
    }
    for v in 0..256 {
        let to = (CODE >> 4) << 16 | input.below(0x400);
        image.put(v * 4, &(to as u32).to_le_bytes());
    }
}

/// Task state segments: stacks, a task to come, the I/O bitmap.
fn tasks(input: &mut Input, image: &mut Image, long: bool) {
    for tss in [TSS, TSS2] {
        for n in 0..26 {
            let v = input.value();
            image.put(tss + 4 * n, &(v as u32).to_le_bytes());
        }
        let stack = |input: &mut Input| STACKS + 0x800 + 8 * input.below(0x200);
        if long {
            for n in 0..10 {
                let sp = stack(input);
                image.put64(tss + 4 + 8 * n, sp);
            }
        } else {
            for n in 0..3 {
                let sp = stack(input);
                image.put64(tss + 4 + 8 * n, sp | 0x10 << 32);
            }
            let words = [PD32, CODE + input.below(0x400), 0x202];
            (0..3)
                .for_each(|n| image.put(tss + 28 + 4 * n as u64, &(words[n] as u32).to_le_bytes()));
            for n in 0..6 {
                let selector = if n == 1 { 8 } else { 0x10 };
                image.put64(tss + 72 + 4 * n, selector);
            }
        }
        let bitmap = if input.once_in(4) { input.below(0x1000) } else { 0x68 };
        image.put64(tss + 100, bitmap << 16 | u64::from(input.once_in(16)));
        for n in 0..16 {
            let bits = input.pick(&[0, u64::MAX, 0xaaaa]);
            image.put64(tss + 0x68 + 8 * n, bits);
        }
    }
}

/// The first MiB maps to itself, with exceptions after the tables, and again from 2 MiB on.
fn pages(input: &mut Input, image: &mut Image) {
    image.put64(PML4, PDPT | 7);
    image.put64(PML4 + 8 * 256, PDPT | 7);
    image.put64(PML4 + 8 * 511, PML4 | 3);
    for n in 0..4 {
        let pd = if n == 3 { PD_TOP } else { PD };
        image.put64(PDPT + 8 * n, pd | 7);
        image.put64(PDPT32 + 8 * n, pd | 1);
    }
    image.put64(PD, PT | 7);
    image.put64(PD + 8, 0x87);
    image.put64(PD_TOP + 8 * (APIC_2M >> 21 & 511), APIC_2M | 0x83);
    image.put(PD32, &(PT32 as u32 | 7).to_le_bytes());
    image.put(PD32 + 4, &0x87u32.to_le_bytes());
    image.put(PD32 + 4 * 0x3fb, &0xfec0_0083u32.to_le_bytes());
    for n in 0..MEMORY >> 12 {
        let e = page(input, n);
        image.put64(PT + 8 * n, e);
        // The last entries of this page are PDPT32.
        image.put(PT32 + 4 * n, &(e as u32).to_le_bytes());
    }
}

fn page(input: &mut Input, n: u64) -> u64 {
    let strange = n > 0x12 && input.once_in(4) || input.once_in(64);
    if !strange {
        return n << 12 | if n > 0xf { 0x7 } else { 0x67 };
    }
    let low = input.random() & 0x1ff;
    let high = if input.once_in(4) { 1 << 63 } else { 0 };
    let reserved = if input.once_in(16) { 1 << 45 } else { 0 };
    let frame = if input.once_in(4) { input.below(1 << 20) } else { input.below(0x100) };
    frame << 12 | low | high | reserved
}

/// Stores to a few bytes of the save area, 32 bits each by a 32-bit address, and RSM.
pub(super) fn smi_handler(input: &mut Input, image: &mut Image) {
    let mut code = Vec::new();
    for _ in 0..input.below(4) {
        let at = SMI + 0x7e00 + input.below(0x80) * 4;
        let value = if input.once_in(2) { input.value() } else { 1 << input.below(32) };
        code.extend([0x67, 0x66, 0xc7, 0x05]);
        code.extend((at as u32).to_le_bytes());
        code.extend((value as u32).to_le_bytes());
    }
    code.extend([0x0f, 0xaa]);
    image.put(SMI, &code);
}

/// Fills memory as `input` describes it, for a processor in long mode or not.
pub(super) fn build(input: &mut Input, image: &mut Image, long: bool) {
    image.0.fill(0);
    gates(input, image, long);
    pages(input, image);
    descriptors(input, image, long);
    tasks(input, image, long);
    for n in 0..0x400 {
        let v = input.value();
        image.put64(DATA + 8 * n, v);
        if n < 0x200 {
            image.put64(STACKS + 8 * n + 0x800, v ^ 0x10);
        }
    }
    let code = &input.code()[..input.code().len().min(0x400)];
    // Again and again, so that wherever a jump leads, code is.
    for n in 0..8 {
        image.put(CODE + 0x400 * n, code);
    }
}
