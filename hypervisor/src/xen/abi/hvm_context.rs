//! `hvm/save.h`: the records of an HVM context, and the processor's state, the largest of them.

use alloc::boxed::Box;
use alloc::vec::Vec;

/// The types of records.
#[expect(missing_docs, reason = "the names are those of hvm/save.h")]
pub mod code {
    pub const END: u16 = 0;
    pub const HEADER: u16 = 1;
    pub const CPU: u16 = 2;
    pub const PIC: u16 = 3;
    pub const IOAPIC: u16 = 4;
    pub const LAPIC: u16 = 5;
    pub const LAPIC_REGS: u16 = 6;
    pub const PCI_IRQ: u16 = 7;
    pub const ISA_IRQ: u16 = 8;
    pub const PCI_LINK: u16 = 9;
    pub const PIT: u16 = 10;
    pub const RTC: u16 = 11;
    pub const PMTIMER: u16 = 13;
    pub const MTRR: u16 = 14;
    pub const TSC_ADJUST: u16 = 19;
    pub const CPU_MSR: u16 = 20;
    /// The highest type.
    pub const MAX: u16 = 20;
}

/// `hvm_save_descriptor`: the head of a record.
pub const DESCRIPTOR: usize = 8;
/// `hvm_save_header`.
pub const HEADER_SIZE: usize = 24;
/// `HVM_FILE_MAGIC` and `HVM_FILE_VERSION`.
pub const MAGIC: [u32; 2] = [0x5468_1286, 1];
/// `hvm_hw_cpu`.
pub const CPU_SIZE: usize = 1032;
/// `hvm_hw_lapic`.
pub const LAPIC_SIZE: usize = 24;
/// `hvm_hw_lapic_regs`.
pub const LAPIC_REGS_SIZE: usize = 1024;
/// `hvm_hw_mtrr`.
pub const MTRR_SIZE: usize = 240;
/// The flag of `hvm_hw_cpu` that its floating-point state holds something.
const FPU_INITIALISED: u32 = 1;

/// A segment register: its access rights in Xen's form, 12 bits without a gap.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
#[expect(missing_docs, reason = "the names are the SDM's")]
pub struct Segment {
    pub selector: u32,
    pub limit: u32,
    pub base: u64,
    pub rights: u32,
}

/// A descriptor-table register.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
#[expect(missing_docs, reason = "the names are the SDM's")]
pub struct TableRegister {
    pub base: u64,
    pub limit: u32,
}

/// `hvm_hw_cpu`: the state of a virtual processor, as its guest sees that.
#[derive(Debug, Clone, PartialEq, Eq)]
#[expect(missing_docs, reason = "the names are those of the header")]
pub struct CpuState {
    /// The FXSAVE image.
    pub fpu: [u8; 512],
    /// RAX, RCX, RDX, RBX, RSP, RBP, RSI, RDI, R8 to R15.
    pub gpr: [u64; 16],
    pub rip: u64,
    pub rflags: u64,
    /// CR0, CR2, CR3, CR4.
    pub cr: [u64; 4],
    /// DR0 to DR3, DR6, DR7.
    pub dr: [u64; 6],
    /// CS, DS, ES, FS, GS, SS, TR, LDTR.
    pub segments: [Segment; 8],
    pub idtr: TableRegister,
    pub gdtr: TableRegister,
    /// CS, ESP, EIP.
    pub sysenter: [u64; 3],
    pub shadow_gs: u64,
    pub lstar: u64,
    pub star: u64,
    pub cstar: u64,
    pub syscall_mask: u64,
    pub efer: u64,
    pub tsc_aux: u64,
    pub tsc: u64,
    /// The event that was being delivered: vector, type, valid.
    pub pending_event: u32,
    pub error_code: u32,
    /// The page-attribute table, which has its place in another record.
    pub pat: u64,
}

/// `IA32_PAT` after a reset.
const RESET_PAT: u64 = 0x0007_0406_0007_0406;

/// The places of `hvm_hw_cpu`.
mod at {
    /// RAX to R15, in the order of [`super::CpuState::gpr`].
    pub(super) const GPR: [usize; 16] =
        [512, 528, 536, 520, 568, 544, 552, 560, 576, 584, 592, 600, 608, 616, 624, 632];
    pub(super) const RIP: usize = 640;
    pub(super) const RFLAGS: usize = 648;
    pub(super) const CR: usize = 656;
    pub(super) const DR: usize = 688;
    pub(super) const SELECTORS: usize = 736;
    pub(super) const LIMITS: usize = 768;
    pub(super) const IDTR_LIMIT: usize = 800;
    pub(super) const GDTR_LIMIT: usize = 804;
    pub(super) const BASES: usize = 808;
    pub(super) const IDTR_BASE: usize = 872;
    pub(super) const GDTR_BASE: usize = 880;
    pub(super) const RIGHTS: usize = 888;
    pub(super) const SYSENTER: usize = 920;
    pub(super) const SHADOW_GS: usize = 944;
    /// `msr_flags`, which is 0, is before LSTAR.
    pub(super) const LSTAR: usize = 960;
    pub(super) const STAR: usize = 968;
    pub(super) const CSTAR: usize = 976;
    pub(super) const SYSCALL_MASK: usize = 984;
    pub(super) const EFER: usize = 992;
    pub(super) const TSC_AUX: usize = 1000;
    pub(super) const TSC: usize = 1008;
    pub(super) const PENDING_EVENT: usize = 1016;
    pub(super) const ERROR_CODE: usize = 1020;
    pub(super) const FLAGS: usize = 1024;
}

impl Default for CpuState {
    /// Zeroed registers, with the floating-point unit in FNINIT's state.
    fn default() -> Self {
        let zero = [0; CPU_SIZE];
        let mut state = Self::decode(&zero);
        state.fpu = fninit();
        state
    }
}

fn fninit() -> [u8; 512] {
    let mut fpu = [0; 512];
    fpu[0..2].copy_from_slice(&0x37F_u16.to_le_bytes());
    fpu[24..28].copy_from_slice(&0x1F80_u32.to_le_bytes());
    fpu
}

fn long(raw: &[u8], at: usize) -> u64 {
    super::layout::Field::load(&raw[at..])
}

fn word(raw: &[u8], at: usize) -> u32 {
    super::layout::Field::load(&raw[at..])
}

fn longs<const N: usize>(raw: &[u8], at: usize) -> [u64; N] {
    core::array::from_fn(|i| long(raw, at + 8 * i))
}

impl CpuState {
    /// The state in a record.
    pub fn decode(raw: &[u8; CPU_SIZE]) -> Self {
        let mut fpu = fninit();
        if word(raw, at::FLAGS) & FPU_INITIALISED != 0 {
            fpu.copy_from_slice(&raw[..512]);
        }
        let table = |base, limit| TableRegister { base: long(raw, base), limit: word(raw, limit) };
        Self {
            fpu,
            gpr: at::GPR.map(|place| long(raw, place)),
            rip: long(raw, at::RIP),
            rflags: long(raw, at::RFLAGS),
            cr: longs(raw, at::CR),
            dr: longs(raw, at::DR),
            segments: core::array::from_fn(|i| Segment {
                selector: word(raw, at::SELECTORS + 4 * i),
                limit: word(raw, at::LIMITS + 4 * i),
                base: long(raw, at::BASES + 8 * i),
                rights: word(raw, at::RIGHTS + 4 * i),
            }),
            idtr: table(at::IDTR_BASE, at::IDTR_LIMIT),
            gdtr: table(at::GDTR_BASE, at::GDTR_LIMIT),
            sysenter: longs(raw, at::SYSENTER),
            shadow_gs: long(raw, at::SHADOW_GS),
            lstar: long(raw, at::LSTAR),
            star: long(raw, at::STAR),
            cstar: long(raw, at::CSTAR),
            syscall_mask: long(raw, at::SYSCALL_MASK),
            efer: long(raw, at::EFER),
            tsc_aux: long(raw, at::TSC_AUX),
            tsc: long(raw, at::TSC),
            pending_event: word(raw, at::PENDING_EVENT),
            error_code: word(raw, at::ERROR_CODE),
            pat: RESET_PAT,
        }
    }

    /// Sets the page-attribute table; none if an entry is not a memory type.
    pub fn set_pat(&mut self, pat: u64) -> Option<()> {
        let types = pat.to_le_bytes().into_iter().all(|kind| matches!(kind, 0 | 1 | 4..=7));
        types.then(|| self.pat = pat)
    }

    /// The record of this state.
    pub fn encode(&self) -> Box<[u8; CPU_SIZE]> {
        let mut raw = Box::new([0; CPU_SIZE]);
        let mut longs: Vec<(usize, u64)> = at::GPR.into_iter().zip(self.gpr).collect();
        let row = |at, values: &[u64]| {
            let places = values.iter().enumerate().map(move |(i, &value)| (at + 8 * i, value));
            places.collect::<Vec<_>>()
        };
        longs.extend(row(at::CR, &self.cr));
        longs.extend(row(at::DR, &self.dr));
        longs.extend(row(at::BASES, &self.segments.map(|segment| segment.base)));
        longs.extend(row(at::SYSENTER, &self.sysenter));
        longs.extend([
            (at::RIP, self.rip),
            (at::RFLAGS, self.rflags),
            (at::IDTR_BASE, self.idtr.base),
            (at::GDTR_BASE, self.gdtr.base),
            (at::SHADOW_GS, self.shadow_gs),
            (at::LSTAR, self.lstar),
            (at::STAR, self.star),
            (at::CSTAR, self.cstar),
            (at::SYSCALL_MASK, self.syscall_mask),
            (at::EFER, self.efer),
            (at::TSC_AUX, self.tsc_aux),
            (at::TSC, self.tsc),
        ]);
        let mut words = alloc::vec![
            (at::IDTR_LIMIT, self.idtr.limit),
            (at::GDTR_LIMIT, self.gdtr.limit),
            (at::PENDING_EVENT, self.pending_event),
            (at::ERROR_CODE, self.error_code),
            (at::FLAGS, FPU_INITIALISED),
        ];
        for (i, segment) in self.segments.iter().enumerate() {
            words.push((at::SELECTORS + 4 * i, segment.selector));
            words.push((at::LIMITS + 4 * i, segment.limit));
            words.push((at::RIGHTS + 4 * i, segment.rights));
        }
        raw[..512].copy_from_slice(&self.fpu);
        for (at, value) in longs {
            raw[at..at + 8].copy_from_slice(&value.to_le_bytes());
        }
        for (at, value) in words {
            raw[at..at + 4].copy_from_slice(&value.to_le_bytes());
        }
        raw
    }
}

/// One record: its type, its instance, and its content.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Record<'a> {
    /// The type of the record.
    pub code: u16,
    /// The vCPU, or 0.
    pub instance: u16,
    /// The bytes after the head.
    pub bytes: &'a [u8],
}

/// Takes the first record off `rest`; none if it is not whole.
pub fn next_record<'a>(rest: &mut &'a [u8]) -> Option<Record<'a>> {
    let head = rest.get(..DESCRIPTOR)?;
    let (code, instance) = (word(head, 0) as u16, (word(head, 0) >> 16) as u16);
    let end = DESCRIPTOR.checked_add(word(head, 4) as usize)?;
    let bytes = rest.get(DESCRIPTOR..end)?;
    *rest = &rest[end..];
    Some(Record { code, instance, bytes })
}

/// Adds a record to `out`.
pub fn push_record(out: &mut Vec<u8>, record: Record<'_>) {
    out.extend_from_slice(&record.code.to_le_bytes());
    out.extend_from_slice(&record.instance.to_le_bytes());
    out.extend_from_slice(&(record.bytes.len() as u32).to_le_bytes());
    out.extend_from_slice(record.bytes);
}
