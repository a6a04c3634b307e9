//! A virtual processor's registers between its VMCS and the record that dom0's tools read and write.

use crate::vmx_ops::{self, Controls};
use crate::vmx_vcpu::VmxVcpu;
use hypervisor::vmx::controls::IA32E_GUEST;
use hypervisor::vmx::cr0;
use hypervisor::vmx::exit::Interruption;
use hypervisor::vmx::field::{self, Field};
use hypervisor::xen::CpuState;
use hypervisor::xen::abi::hvm_context::{Segment, TableRegister};
use runtime::cpu::rdtsc;

const CR4_VMXE: u64 = 1 << 13;
const EFER_LMA: u64 = 1 << 10;
/// The present bit of access rights, in both forms.
const PRESENT: u32 = 1 << 7;
/// The bit of a VMCS's access rights that says that the segment cannot be used.
const UNUSABLE: u32 = 1 << 16;

/// Selector, limit, base and rights of each segment, in the order of the record.
const SEGMENTS: [[Field; 4]; 8] = [
    [field::GUEST_CS_SELECTOR, field::GUEST_CS_LIMIT, field::GUEST_CS_BASE, field::GUEST_CS_ACCESS],
    [field::GUEST_DS_SELECTOR, field::GUEST_DS_LIMIT, field::GUEST_DS_BASE, field::GUEST_DS_ACCESS],
    [field::GUEST_ES_SELECTOR, field::GUEST_ES_LIMIT, field::GUEST_ES_BASE, field::GUEST_ES_ACCESS],
    [field::GUEST_FS_SELECTOR, field::GUEST_FS_LIMIT, field::GUEST_FS_BASE, field::GUEST_FS_ACCESS],
    [field::GUEST_GS_SELECTOR, field::GUEST_GS_LIMIT, field::GUEST_GS_BASE, field::GUEST_GS_ACCESS],
    [field::GUEST_SS_SELECTOR, field::GUEST_SS_LIMIT, field::GUEST_SS_BASE, field::GUEST_SS_ACCESS],
    [field::GUEST_TR_SELECTOR, field::GUEST_TR_LIMIT, field::GUEST_TR_BASE, field::GUEST_TR_ACCESS],
    [
        field::GUEST_LDTR_SELECTOR,
        field::GUEST_LDTR_LIMIT,
        field::GUEST_LDTR_BASE,
        field::GUEST_LDTR_ACCESS,
    ],
];

/// Rights as the VMCS has them: the record leaves out a gap of four bits.
fn to_vmcs(rights: u32) -> u32 {
    let unusable = if rights & PRESENT == 0 { UNUSABLE } else { 0 };
    rights & 0xFF | (rights & 0xF00) << 4 | unusable
}

fn from_vmcs(rights: u32) -> u32 {
    let present = if rights & UNUSABLE == 0 { PRESENT } else { 0 };
    rights & 0x7F | rights >> 4 & 0xF00 | present
}

/// The current VMCS's segments and tables.
fn tables(state: &mut CpuState) {
    for (segment, [selector, limit, base, access]) in state.segments.iter_mut().zip(SEGMENTS) {
        *segment = Segment {
            selector: vmx_ops::read(selector) as u32,
            limit: vmx_ops::read(limit) as u32,
            base: vmx_ops::read(base),
            rights: from_vmcs(vmx_ops::read(access) as u32),
        };
    }
    let table = |base, limit| TableRegister {
        base: vmx_ops::read(base),
        limit: vmx_ops::read(limit) as u32,
    };
    state.gdtr = table(field::GUEST_GDTR_BASE, field::GUEST_GDTR_LIMIT);
    state.idtr = table(field::GUEST_IDTR_BASE, field::GUEST_IDTR_LIMIT);
}

impl VmxVcpu {
    /// Its registers. It is not on the processor, and its VMCS is current afterwards.
    pub(crate) fn save(&self) -> CpuState {
        vmx_ops::load(self.vmcs());
        let mut state = CpuState { fpu: self.registers.fx, ..CpuState::default() };
        state.gpr = self.registers.gpr;
        state.gpr[4] = vmx_ops::read(field::GUEST_RSP);
        state.rip = vmx_ops::read(field::GUEST_RIP);
        state.rflags = vmx_ops::read(field::GUEST_RFLAGS);
        let [star, lstar, cstar, mask, shadow_gs] = self.msrs;
        (state.star, state.lstar, state.cstar) = (star, lstar, cstar);
        (state.syscall_mask, state.shadow_gs) = (mask, shadow_gs);
        let real = vmx_ops::read(field::GUEST_CR0);
        state.cr = [
            cr0::seen(real, vmx_ops::read(field::CR0_SHADOW)),
            self.cr2,
            vmx_ops::read(field::GUEST_CR3),
            vmx_ops::read(field::GUEST_CR4) & !CR4_VMXE,
        ];
        let [dr0, dr1, dr2, dr3, dr6] = self.dr;
        state.dr = [dr0, dr1, dr2, dr3, dr6, vmx_ops::read(field::GUEST_DR7)];
        tables(&mut state);
        state.sysenter =
            [field::GUEST_SYSENTER_CS, field::GUEST_SYSENTER_ESP, field::GUEST_SYSENTER_EIP]
                .map(vmx_ops::read);
        state.efer = vmx_ops::read(field::GUEST_EFER);
        state.pat = vmx_ops::read(field::GUEST_PAT);
        (state.tsc_aux, state.tsc) = (self.tsc_aux, rdtsc());
        let event = Interruption(vmx_ops::read(field::ENTRY_INTERRUPTION_INFO) as u32);
        if event.valid() {
            state.pending_event = event.0;
            state.error_code = vmx_ops::read(field::ENTRY_ERROR_CODE) as u32;
        }
        state
    }

    /// Sets its registers, in its VMCS, which is current and set up.
    pub(crate) fn restore(&mut self, controls: &Controls, state: &CpuState) {
        self.registers.fx = state.fpu;
        self.registers.gpr = state.gpr;
        self.msrs = [state.star, state.lstar, state.cstar, state.syscall_mask, state.shadow_gs];
        (self.tsc_aux, self.cr2) = (state.tsc_aux, state.cr[1]);
        let [dr0, dr1, dr2, dr3, dr6, dr7] = state.dr;
        self.dr = [dr0, dr1, dr2, dr3, dr6];
        for (segment, [selector, limit, base, access]) in state.segments.iter().zip(SEGMENTS) {
            vmx_ops::write(selector, u64::from(segment.selector & 0xFFFF));
            vmx_ops::write(limit, segment.limit.into());
            vmx_ops::write(base, segment.base);
            vmx_ops::write(access, to_vmcs(segment.rights).into());
        }
        let long = state.efer & EFER_LMA != 0;
        let entry = controls.entry & !IA32E_GUEST | if long { IA32E_GUEST } else { 0 };
        let [cr0, _, cr3, cr4] = state.cr;
        let [cs, esp, eip] = state.sysenter;
        for (field, value) in [
            (field::GUEST_RSP, state.gpr[4]),
            (field::GUEST_RIP, state.rip),
            (field::GUEST_RFLAGS, state.rflags),
            (field::GUEST_CR0, cr0::real(cr0)),
            (field::CR0_SHADOW, cr0),
            (field::GUEST_CR3, cr3),
            (field::GUEST_CR4, cr4 | CR4_VMXE),
            (field::GUEST_EFER, state.efer),
            (field::GUEST_PAT, state.pat),
            (field::GUEST_DR7, dr7),
            (field::ENTRY_CONTROLS, entry.into()),
            (field::GUEST_GDTR_BASE, state.gdtr.base),
            (field::GUEST_GDTR_LIMIT, u64::from(state.gdtr.limit & 0xFFFF)),
            (field::GUEST_IDTR_BASE, state.idtr.base),
            (field::GUEST_IDTR_LIMIT, u64::from(state.idtr.limit & 0xFFFF)),
            (field::GUEST_SYSENTER_CS, cs & 0xFFFF_FFFF),
            (field::GUEST_SYSENTER_ESP, esp),
            (field::GUEST_SYSENTER_EIP, eip),
            (field::ENTRY_INTERRUPTION_INFO, state.pending_event.into()),
            (field::ENTRY_ERROR_CODE, state.error_code.into()),
        ] {
            vmx_ops::write(field, value);
        }
    }
}
