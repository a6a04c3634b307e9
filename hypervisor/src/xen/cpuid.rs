//! CPUID as a domain sees it: the physical leaves filtered, and Xen's own.

use super::Xen;
use super::cpu_policy::CpuPolicy;
use super::host_services::DomId;

/// The first leaf of the hypervisor.
pub const BASE: u32 = 0x4000_0000;
/// The hypercall page's MSR.
pub const HYPERCALL_MSR: u32 = 0x4000_0000;
/// "XenVMMXenVMM".
const SIGNATURE: [u32; 3] = [0x566E_6558, 0x6558_4D4D, 0x4D4D_566E];
/// Version 4.17.
pub const VERSION: u32 = 4 << 16 | 17;

const LEAF1_ECX_MONITOR: u32 = 1 << 3;
const LEAF1_ECX_VMX: u32 = 1 << 5;
const LEAF1_ECX_SMX: u32 = 1 << 6;
const LEAF1_ECX_EST: u32 = 1 << 7;
const LEAF1_ECX_TM2: u32 = 1 << 8;
const LEAF1_ECX_PDCM: u32 = 1 << 15;
const LEAF1_ECX_X2APIC: u32 = 1 << 21;
const LEAF1_ECX_TSC_DEADLINE: u32 = 1 << 24;
const LEAF1_ECX_OSXSAVE: u32 = 1 << 27;
const LEAF1_ECX_HYPERVISOR: u32 = 1 << 31;
const LEAF1_EDX_APIC: u32 = 1 << 9;
const LEAF1_EDX_MTRR: u32 = 1 << 12;
const LEAF1_EDX_HIDDEN: u32 = 1 << 7 | 1 << 14 | 1 << 21 | 1 << 22 | 1 << 29 | 1 << 31;
const LEAF7_EBX_HIDDEN: u32 = 1 << 1 | 1 << 2 | 1 << 12 | 1 << 15 | 1 << 25;
impl Xen {
    /// CPUID for a vCPU: EAX, EBX, ECX, EDX. `physical` is what the processor answers.
    pub fn cpuid(
        &self,
        dom: DomId,
        vcpu: u32,
        leaf: u32,
        subleaf: u32,
        physical: [u32; 4],
    ) -> [u32; 4] {
        if leaf & 0xF000_0000 == BASE {
            return self.xen_leaf(dom, vcpu, leaf, subleaf);
        }
        let apic_id = self.vcpu(dom, vcpu).map_or(0, |v| v.lapic.id());
        let count = self.domain(dom).map_or(1, |d| d.vcpus.len() as u32);
        let answer = filter(leaf, subleaf, physical, apic_id, count);
        // DEPARTURE: what the tools have chosen only takes features and leaves away; brand, caches
        // and the like are the machine's.
        let policy = self.domain(dom).ok().and_then(|domain| domain.toolstack.policy.as_ref());
        policy.map_or(answer, |policy| policy.allowed(leaf, subleaf, answer))
    }

    /// The processor that a domain is offered.
    pub fn guest_processor(&self) -> CpuPolicy {
        let physical = &self.processor;
        CpuPolicy::of(|leaf, sub| filter(leaf, sub, physical.answer(leaf, sub), 0, 1))
    }

    fn xen_leaf(&self, dom: DomId, vcpu: u32, leaf: u32, subleaf: u32) -> [u32; 4] {
        let [b, c, d] = SIGNATURE;
        match (leaf - BASE, subleaf) {
            (0, _) => [BASE + 5, b, c, d],
            (1, _) => [VERSION, 0, 0, 0],
            (2, _) => [1, HYPERCALL_MSR, 0, 0],
            // Not emulated, safe, no RDTSCP mode; mode 2 is "never emulate".
            (3, 0) => [1 << 1, 2, self.clock.tsc_khz as u32, 0],
            (3, 1) => [0, 0, self.clock.mul, self.clock.shift as u32],
            (3, 2) => [self.clock.tsc_khz as u32, 0, 0, 0],
            // The vCPU number and the domain number. The upcall vector of each vCPU's own (bit 6)
            // works and is not offered: it costs guests an exit for every end of interrupt.
            (4, 0) => [1 << 3 | 1 << 4, vcpu, u32::from(dom.0), 0],
            _ => [0; 4],
        }
    }
}

/// The physical leaves as a guest sees them: no VMX, no machine-specific features, a flat topology
/// of single-threaded cores whose APIC IDs are even.
fn filter(leaf: u32, subleaf: u32, physical: [u32; 4], apic_id: u32, count: u32) -> [u32; 4] {
    let [mut a, mut b, mut c, mut d] = physical;
    match leaf {
        1 => {
            let logical = (count * 2).min(255);
            b = b & 0xFFFF | logical << 16 | apic_id << 24;
            c &= !(LEAF1_ECX_MONITOR | LEAF1_ECX_VMX | LEAF1_ECX_SMX | LEAF1_ECX_EST);
            c &= !(LEAF1_ECX_TM2 | LEAF1_ECX_PDCM | LEAF1_ECX_OSXSAVE);
            c |= LEAF1_ECX_X2APIC | LEAF1_ECX_TSC_DEADLINE | LEAF1_ECX_HYPERVISOR;
            // XSAVE, AVX, F16C, FMA.
            c &= !(1 << 26 | 1 << 28 | 1 << 29 | 1 << 12);
            d = d & !LEAF1_EDX_HIDDEN & !LEAF1_EDX_MTRR | LEAF1_EDX_APIC | 1 << 28;
        }
        4 => a = if a & 0x1F == 0 { 0 } else { a & 0x3FFF | (count.min(64) - 1).min(63) << 26 },
        5 | 6 | 9 | 0xA | 0xF | 0x10 | 0x12 | 0x14 => return [0; 4],
        7 if subleaf == 0 => {
            b &= !LEAF7_EBX_HIDDEN;
            // AVX2, AVX-512 and their kin.
            b &= !(1 << 5 | 1 << 16 | 1 << 17 | 1 << 21 | 1 << 26 | 1 << 27 | 1 << 28);
            b &= !(1 << 30 | 1 << 31);
            // UMIP and RDPID stay; PKU, CET, LA57 and the rest do not.
            c &= 1 << 2 | 1 << 22;
            // No PCONFIG, no speculation controls: their MSRs are not virtualised.
            d = 0;
        }
        0xB | 0x1F => return topology(subleaf, apic_id, count),
        0xD => return [0; 4],
        0x8000_0001 => {
            // No SVM, XOP or FMA4.
            c &= !(1 << 2 | 1 << 11 | 1 << 16);
        }
        0x8000_0007 => {
            [a, b, c] = [0; 3];
            d = 1 << 8;
        }
        0x8000_0008 => a = a & !0xFF | (a & 0xFF).min(40),
        _ => {}
    }
    [a, b, c, d]
}

/// Leaf 0Bh: one thread a core (the APIC ID's bit 0 is the unused thread), the cores above.
fn topology(subleaf: u32, apic_id: u32, count: u32) -> [u32; 4] {
    let shift = 1 + (count.max(1)).next_power_of_two().trailing_zeros();
    match subleaf {
        0 => [1, 1, 1 << 8, apic_id],
        1 => [shift, count, 2 << 8 | 1, apic_id],
        _ => [0, 0, subleaf, apic_id],
    }
}
