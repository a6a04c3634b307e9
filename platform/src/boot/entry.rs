//! The state in which a loaded kernel is entered.

use serde::{Deserialize, Serialize};

use super::{
    layout::{GDT_BASE, INFO_BASE, STACK_TOP},
    request::{GuestMemory, MemoryError},
};

const CODE_SELECTOR: u16 = 0x10;
const DATA_SELECTOR: u16 = 0x18;
const CR0_PE: u64 = 1;
const CR0_ET: u64 = 1 << 4;

/// The processor's mode at entry.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Mode {
    /// Real mode.
    Real,
    /// 32-bit protected mode without paging.
    Protected32,
    /// 64-bit mode.
    Long64,
}

/// A segment register with its descriptor cache.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Segment {
    /// Visible part.
    pub selector: u16,
    /// Linear base address.
    pub base: u64,
    /// Last byte, granularity applied.
    pub limit: u32,
    /// Access rights as a VMCS holds them: bits 8–15 of a descriptor's high dword in bits 0–7, its
    /// bits 20–23 in bits 12–15, bit 16 for "unusable".
    pub access: u32,
}

/// GDTR or IDTR.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Table {
    /// Linear base address.
    pub base: u64,
    /// Last byte.
    pub limit: u16,
}

/// The processor's state at entry; what is not named here is as after reset.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[expect(missing_docs, reason = "the registers' own names")]
pub struct Entry {
    pub mode: Mode,
    pub rip: u64,
    pub rflags: u64,
    pub rax: u64,
    pub rbx: u64,
    pub rcx: u64,
    pub rdx: u64,
    pub rsi: u64,
    pub rdi: u64,
    pub rbp: u64,
    pub rsp: u64,
    pub cr0: u64,
    pub cr3: u64,
    pub cr4: u64,
    pub efer: u64,
    pub cs: Segment,
    pub ds: Segment,
    pub es: Segment,
    pub fs: Segment,
    pub gs: Segment,
    pub ss: Segment,
    pub tr: Segment,
    pub ldtr: Segment,
    pub gdtr: Table,
    pub idtr: Table,
}

/// A flat 4 GiB code segment, accessed, readable, 32-bit.
fn flat_code(selector: u16) -> Segment {
    Segment { selector, base: 0, limit: u32::MAX, access: 0xc09b }
}

/// A flat 4 GiB data segment, accessed, writable, 32-bit.
fn flat_data(selector: u16) -> Segment {
    Segment { selector, base: 0, limit: u32::MAX, access: 0xc093 }
}

impl Entry {
    /// 32-bit protected mode, flat, paging off, interrupts off: the state that the Linux 32-bit
    /// protocol, PVH and multiboot agree on, with the selectors that Linux asks for and GRUB has.
    pub(super) fn flat32(eip: u32) -> Self {
        let data = flat_data(DATA_SELECTOR);
        Self {
            mode: Mode::Protected32,
            rip: eip.into(),
            rflags: 2,
            rax: 0,
            rbx: 0,
            rcx: 0,
            rdx: 0,
            rsi: 0,
            rdi: 0,
            rbp: 0,
            rsp: 0,
            cr0: CR0_PE | CR0_ET,
            cr3: 0,
            cr4: 0,
            efer: 0,
            cs: flat_code(CODE_SELECTOR),
            ds: data,
            es: data,
            fs: data,
            gs: data,
            ss: data,
            tr: Segment { selector: 0, base: 0, limit: 0x67, access: 0x8b },
            ldtr: Segment { selector: 0, base: 0, limit: 0, access: 1 << 16 },
            gdtr: Table { base: GDT_BASE, limit: 0x1f },
            idtr: Table { base: 0, limit: 0 },
        }
    }

    /// Real mode at offset 0 of `cs`, interrupts off, vectors at 0; the other segments are `segment`.
    pub(super) fn real(segment: u16, cs: u16, sp: u16) -> Self {
        let real = |selector: u16, access| Segment {
            selector,
            base: u64::from(selector) << 4,
            limit: 0xffff,
            access,
        };
        let data = real(segment, 0x93);
        Self {
            mode: Mode::Real,
            rsp: sp.into(),
            cr0: CR0_ET,
            cs: real(cs, 0x9b),
            ds: data,
            es: data,
            fs: data,
            gs: data,
            ss: data,
            idtr: Table { base: 0, limit: 0x3ff },
            ..Self::flat32(0)
        }
    }

    /// The entry of a multiboot kernel, with the version's `magic`.
    pub(super) fn multiboot(eip: u32, magic: u64) -> Self {
        Self { rax: magic, rbx: INFO_BASE, rsp: STACK_TOP, ..Self::flat32(eip) }
    }

    /// Writes a descriptor table in which this entry's selectors mean what their caches say, and the first one
    /// code: it is that of QEMU's multiboot, by which kernels make gates without a table of their own.
    pub(super) fn write_gdt(&self, memory: &mut dyn GuestMemory) -> Result<(), MemoryError> {
        let mut table = [0u8; 0x20];
        for segment in [&Segment { selector: 8, ..self.cs }, &self.cs, &self.ds] {
            let at = usize::from(segment.selector & 0x18);
            table[at..at + 8].copy_from_slice(&descriptor(segment).to_le_bytes());
        }
        memory.write(GDT_BASE, &table)
    }
}

/// The 8-byte descriptor of a page-granular segment. SDM vol. 3, "Segment Descriptors".
fn descriptor(segment: &Segment) -> u64 {
    let (base, limit, access) = (segment.base, u64::from(segment.limit >> 12), segment.access);
    limit & 0xffff
        | (base & 0xff_ffff) << 16
        | u64::from(access & 0xff) << 40
        | (limit >> 16) << 48
        | u64::from(access >> 12 & 0xf) << 52
        | (base >> 24 & 0xff) << 56
}
