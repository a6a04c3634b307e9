//! CPUID. SDM vol. 2, "CPUID - CPU Identification".

use crate::Cpu;
use crate::feature::{self, CpuidRegister as Register, ModelName};
use crate::model::Model;
use crate::state::TSC_STEP;
use crate::state::control::{CR4_OSXSAVE, EFER_LMA};

/// Family 6, model 2FH, stepping 2: one that no list of errata in Linux, KVM or Xen matters for, and
/// whose unaligned accesses glibc takes for fast.
pub(crate) const SIGNATURE: u32 = 0x0002_06f2;
/// Retired instructions in a second of the machine.
const INSTRUCTIONS_HZ: u32 = 1_000_000_000;
/// The TSC: 2 GHz. Kernels divide 2³² billions by what they measure, in 32 bits, so it is well above 1 GHz.
pub(crate) const TSC_HZ: u32 = INSTRUCTIONS_HZ * TSC_STEP as u32;
/// The ratio of the TSC to the bus clock of 100 MHz.
pub(crate) const TSC_RATIO: u64 = TSC_HZ as u64 / 100_000_000;
/// What the APIC timer counts.
pub(crate) const CRYSTAL_HZ: u32 = INSTRUCTIONS_HZ / crate::apic::TIMER_TICK as u32;

const VENDOR: &[u8; 12] = b"GenuineIntel";
const BRAND: &[u8; 48] = b"Strata Processor @ 2.00GHz\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0";
/// Leaves in which no processor has anything to say. SDM vol. 2, "Information Returned by CPUID Instruction".
const NO_PROCESSOR: std::ops::RangeInclusive<u32> = 0x4000_0000..=0x4fff_ffff;

/// The highest basic and extended leaf.
fn last_leaves(m: &Model) -> (u32, u32) {
    if m.name == ModelName::Min32 { (2, 0x8000_0004) } else { (0x16, 0x8000_0008) }
}

/// Deterministic cache parameters: (type, level, ways, sets), 64-byte lines.
const CACHES: &[(u32, u32, u32, u32)] =
    &[(1, 1, 8, 64), (2, 1, 8, 64), (3, 2, 8, 512), (3, 3, 16, 8192)];

fn word(b: &[u8], at: usize) -> u32 {
    b.get(at..at + 4).and_then(|b| b.try_into().ok()).map_or(0, u32::from_le_bytes)
}

/// Bits that number `n` things.
fn width(n: u32) -> u32 {
    n.max(1).next_power_of_two().trailing_zeros()
}

impl Cpu {
    /// EAX, EBX, ECX, EDX of a leaf. A leaf above the last answers as the last basic one; those that no
    /// processor has, which belong to hypervisors, as nothing.
    pub fn cpuid(&self, leaf: u32, sub: u32) -> [u32; 4] {
        if NO_PROCESSOR.contains(&leaf) {
            return [0; 4];
        }
        let m = &self.state.model;
        let (last_basic, last_extended) = last_leaves(m);
        let extended = (0x8000_0000..=last_extended).contains(&leaf);
        let leaf = if leaf <= last_basic || extended { leaf } else { last_basic };
        match leaf {
            0 => [last_basic, word(VENDOR, 0), word(VENDOR, 8), word(VENDOR, 4)],
            1 => self.version(),
            2 => [0x00ff_ff01, 0, 0, 0],
            4 => self.cache(sub),
            6 => [m.word(Register::L6Eax), 0, 0, 0],
            7 if sub == 0 => {
                [0, m.word(Register::L7Ebx), m.word(Register::L7Ecx), m.word(Register::L7Edx)]
            }
            0xb => self.topology(sub),
            0xd => self.extended_state(sub),
            0x15 => [1, TSC_HZ / CRYSTAL_HZ, CRYSTAL_HZ, 0],
            0x16 => [TSC_HZ / 1_000_000, TSC_HZ / 1_000_000, 100, 0],
            0x8000_0000 => [last_extended, 0, 0, 0],
            0x8000_0001 => [0, 0, m.word(Register::E1Ecx), self.extended_features()],
            0x8000_0002..=0x8000_0004 => {
                let at = (leaf - 0x8000_0002) as usize * 16;
                [0, 4, 8, 12].map(|k| word(BRAND, at + k))
            }
            0x8000_0006 => [0, 0, 256 << 16 | 8 << 12 | 64, 0],
            0x8000_0007 => [0, 0, 0, m.word(Register::E7Edx)],
            0x8000_0008 if m.has(feature::LM) => [48 << 8 | m.maxphys as u32, 0, 0, 0],
            0x8000_0008 => [32 << 8 | m.maxphys as u32, 0, 0, 0],
            _ => [0; 4],
        }
    }

    fn version(&self) -> [u32; 4] {
        let m = &self.state.model;
        let n = m.processors;
        let threads = if n > 1 { (1 << width(n)).min(255) } else { 1 };
        let ebx = self.state.apic.id << 24 | threads << 16 | 8 << 8;
        let osxsave = (self.state.sys.cr4 & CR4_OSXSAVE != 0) as u32;
        let apic = self.state.apic.base & crate::state::apic::BASE_EN != 0;
        let mut edx = m.word(Register::L1Edx) | ((n > 1) as u32) << 28;
        if !apic {
            edx &= !feature::APIC.mask();
        }
        [SIGNATURE, ebx, m.word(Register::L1Ecx) | osxsave << 27, edx]
    }

    /// SYSCALL shows in 64-bit mode only.
    fn extended_features(&self) -> u32 {
        let edx = self.state.model.word(Register::E1Edx);
        if self.state.sys.efer & EFER_LMA != 0 && self.is_64() {
            edx
        } else {
            edx & !feature::SYSCALL.mask()
        }
    }

    fn cache(&self, sub: u32) -> [u32; 4] {
        let Some(&(kind, level, ways, sets)) = CACHES.get(sub as usize) else { return [0; 4] };
        let cores = (1u32 << width(self.state.model.processors)) - 1;
        let sharing = if level == 3 { cores } else { 0 };
        let eax = cores.min(63) << 26 | sharing.min(4095) << 14 | 1 << 8 | level << 5 | kind;
        [eax, (ways - 1) << 22 | 63, sets - 1, 0]
    }

    fn topology(&self, sub: u32) -> [u32; 4] {
        let (n, id) = (self.state.model.processors, self.state.apic.id);
        match sub {
            0 => [0, 1, 1 << 8, id],
            1 => [width(n), n, 2 << 8 | 1, id],
            _ => [0, 0, sub & 0xff, id],
        }
    }

    fn extended_state(&self, sub: u32) -> [u32; 4] {
        let m = &self.state.model;
        if !m.has(feature::XSAVE) {
            return [0; 4];
        }
        let avx = m.has(feature::AVX);
        let size = |xcr0: u64| if xcr0 & 4 != 0 { 832 } else { 576 };
        match sub {
            0 => [3 | (avx as u32) << 2, size(self.state.sys.xcr0), size((avx as u64) << 2), 0],
            1 => [m.word(Register::LDEax), size(self.state.sys.xcr0), 0, 0],
            2 if avx => [256, 576, 0, 0],
            _ => [0; 4],
        }
    }
}
