//! One virtual processor: its VMCS, and the guest state that the VMCS does not hold.

use crate::control_registers;
use crate::traps;
use crate::vmx_ops::{self, Controls, Registers};
use hypervisor::vmx::controls::{IA32E_GUEST, RDTSCP, VPID};
use hypervisor::vmx::cr0;
use hypervisor::vmx::exit::REASONS;
use hypervisor::vmx::field::{self, Field};
use hypervisor::xen::CpuState;
use runtime::cpu::cpuid;
use runtime::cpu::{rdmsr, wrmsr};
use runtime::descriptors;

const CR0_PE: u64 = 1;
const CR0_ET: u64 = 1 << 4;
const CR0_NW: u64 = 1 << 29;
const CR0_CD: u64 = 1 << 30;

const CR4_VMXE: u64 = 1 << 13;
/// CR4 bits that a guest may set, as far as the processor has them: VME to OSXMMEXCPT, UMIP,
/// FSGSBASE, PCIDE, SMEP, SMAP. OSXSAVE is missing because only FXSAVE state is switched.
const CR4_GUEST: u64 = 0x7FF | 1 << 11 | 1 << 16 | 1 << 17 | 1 << 20 | 1 << 21;

/// #DB and #AC exit so that a guest cannot keep the processor in an endless delivery; #MC
/// because it is the machine's.
pub(crate) const EXCEPTIONS: u64 = 1 << 1 | 1 << 17 | 1 << 18;

const IA32_PAT: u32 = 0x277;
const IA32_EFER: u32 = 0xC000_0080;
const IA32_KERNEL_GS_BASE: u32 = 0xC000_0102;
const IA32_TSC_AUX: u32 = 0xC000_0103;
/// The registers that SYSCALL and SWAPGS use, which no VMCS field switches.
const SWITCHED_MSRS: [u32; 5] =
    [0xC000_0081, 0xC000_0082, 0xC000_0083, 0xC000_0084, IA32_KERNEL_GS_BASE];

/// The frames that the VMCS of a domain's vCPUs share.
#[derive(Clone, Copy, Debug)]
pub(crate) struct DomainFrames {
    /// EPT pointer.
    pub(crate) ept: u64,
    /// Addresses of the two I/O bitmaps.
    pub(crate) io_bitmaps: [u64; 2],
    /// Address of the MSR bitmap.
    pub(crate) msr_bitmap: u64,
}

/// The starting state of a virtual processor.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Start<'a> {
    /// By the PVH protocol: 32-bit protected mode, paging off, EBX = start info.
    Pvh { entry: u64, start_info: u64 },
    /// By a start-up IPI: real mode at `vector << 12`.
    Sipi { vector: u8 },
    /// With registers that dom0's tools have set.
    State(&'a CpuState),
}

/// A virtual processor.
pub(crate) struct VmxVcpu {
    pub(crate) registers: Registers,
    vmcs: u64,
    vpid: u16,
    launched: bool,
    /// Its VMCS holds a state.
    started: bool,
    pub(crate) msrs: [u64; SWITCHED_MSRS.len()],
    pub(crate) tsc_aux: u64,
    pub(crate) cr2: u64,
    pub(crate) dr: [u64; 5],
    /// Exits so far, by basic reason.
    pub(crate) exits: [u64; REASONS],
}

impl VmxVcpu {
    /// A virtual processor in the zeroed frame `vmcs`; it is not started yet.
    pub(crate) fn new(vmcs: u64, vpid: u16) -> Self {
        Self {
            registers: Registers::new(),
            vmcs,
            vpid,
            launched: false,
            started: false,
            msrs: [0; SWITCHED_MSRS.len()],
            tsc_aux: 0,
            cr2: 0,
            dr: [0, 0, 0, 0, 0xFFFF_0FF0],
            exits: [0; REASONS],
        }
    }

    /// The address of the VMCS.
    pub(crate) fn vmcs(&self) -> u64 {
        self.vmcs
    }

    /// Brings it to its starting state. Its VMCS is current afterwards.
    pub(crate) fn start(&mut self, controls: &Controls, frames: &DomainFrames, start: Start<'_>) {
        *self = Self { exits: self.exits, ..Self::new(self.vmcs, self.vpid) };
        vmx_ops::start(self.vmcs);
        self.started = true;
        set_controls(controls, frames, self.vpid);
        set_host();
        set_flat_guest();
        match start {
            Start::Pvh { entry, start_info } => {
                self.registers.gpr[3] = start_info;
                vmx_ops::write(field::GUEST_RIP, entry);
            }
            Start::Sipi { vector } => {
                // EDX holds the processor's signature after INIT.
                self.registers.gpr[2] = u64::from(cpuid(1, 0)[0]);
                set_real_mode(vector);
            }
            Start::State(state) => self.restore(controls, state),
        }
        if controls.secondary(VPID) {
            vmx_ops::invalidate_vpids();
        }
    }

    /// Makes it take up the tables of an EPT pointer. No VMCS is to be current.
    pub(crate) fn set_ept(&self, ept: u64) {
        if self.started {
            vmx_ops::load(self.vmcs);
            vmx_ops::write(field::EPT_POINTER, ept);
        }
    }

    /// Makes it the one whose state the processor holds.
    pub(crate) fn switch_in(&self, controls: &Controls) {
        vmx_ops::load(self.vmcs);
        for (msr, value) in SWITCHED_MSRS.iter().zip(self.msrs) {
            wrmsr(*msr, value);
        }
        if controls.secondary(RDTSCP) {
            wrmsr(IA32_TSC_AUX, self.tsc_aux);
        }
        control_registers::set_cr2(self.cr2);
        let [dr0, dr1, dr2, dr3, dr6] = self.dr;
        control_registers::set_dr0(dr0);
        control_registers::set_dr1(dr1);
        control_registers::set_dr2(dr2);
        control_registers::set_dr3(dr3);
        control_registers::set_dr6(dr6);
    }

    /// Takes its state off the processor.
    pub(crate) fn switch_out(&mut self, controls: &Controls) {
        for (msr, value) in SWITCHED_MSRS.iter().zip(&mut self.msrs) {
            *value = rdmsr(*msr);
        }
        if controls.secondary(RDTSCP) {
            self.tsc_aux = rdmsr(IA32_TSC_AUX);
        }
        self.cr2 = control_registers::cr2();
        self.dr = [
            control_registers::dr0(),
            control_registers::dr1(),
            control_registers::dr2(),
            control_registers::dr3(),
            control_registers::dr6(),
        ];
    }

    /// Runs it until its next exit; false if the processor refused to enter.
    pub(crate) fn enter(&mut self) -> bool {
        let entered = vmx_ops::enter(&mut self.registers, self.launched);
        self.launched |= entered;
        entered
    }

    /// Reads general register `n` (0 RAX … 15 R15).
    pub(crate) fn gpr(&self, n: u8) -> u64 {
        if n == 4 {
            vmx_ops::read(field::GUEST_RSP)
        } else {
            self.registers.gpr[usize::from(n & 15)]
        }
    }

    /// Writes general register `n`.
    pub(crate) fn set_gpr(&mut self, n: u8, value: u64) {
        if n == 4 {
            vmx_ops::write(field::GUEST_RSP, value);
        } else {
            self.registers.gpr[usize::from(n & 15)] = value;
        }
    }
}

fn set_all(values: &[(Field, u64)]) {
    for &(field, value) in values {
        vmx_ops::write(field, value);
    }
}

fn set_controls(controls: &Controls, frames: &DomainFrames, vpid: u16) {
    set_all(&[
        (field::PIN_CONTROLS, controls.pin.into()),
        (field::PROC_CONTROLS, controls.proc.into()),
        (field::PROC_CONTROLS2, controls.proc2.into()),
        (field::EXIT_CONTROLS, controls.exit.into()),
        (field::ENTRY_CONTROLS, u64::from(controls.entry & !IA32E_GUEST)),
        (field::EXCEPTION_BITMAP, EXCEPTIONS),
        (field::PF_ERROR_MASK, 0),
        (field::PF_ERROR_MATCH, 0),
        (field::CR3_TARGET_COUNT, 0),
        (field::EXIT_MSR_STORE_COUNT, 0),
        (field::EXIT_MSR_LOAD_COUNT, 0),
        (field::ENTRY_MSR_LOAD_COUNT, 0),
        (field::ENTRY_INTERRUPTION_INFO, 0),
        (field::IO_BITMAP_A, frames.io_bitmaps[0]),
        (field::IO_BITMAP_B, frames.io_bitmaps[1]),
        (field::MSR_BITMAP, frames.msr_bitmap),
        (field::EPT_POINTER, frames.ept),
        (field::TSC_OFFSET, 0),
        (field::VMCS_LINK_POINTER, u64::MAX),
        (field::CR0_MASK, cr0::OWNED),
        (field::CR4_MASK, !CR4_GUEST),
        (field::CR4_SHADOW, 0),
    ]);
    if controls.secondary(VPID) {
        vmx_ops::write(field::VPID, vpid.into());
    }
}

fn set_host() {
    let [gdt, idt] = traps::tables();
    set_all(&[
        (field::HOST_CR0, control_registers::cr0()),
        (field::HOST_CR3, control_registers::cr3()),
        (field::HOST_CR4, control_registers::cr4()),
        (field::HOST_CS_SELECTOR, descriptors::CODE.into()),
        (field::HOST_SS_SELECTOR, descriptors::DATA.into()),
        (field::HOST_DS_SELECTOR, descriptors::DATA.into()),
        (field::HOST_ES_SELECTOR, descriptors::DATA.into()),
        (field::HOST_FS_SELECTOR, 0),
        (field::HOST_GS_SELECTOR, 0),
        (field::HOST_TR_SELECTOR, traps::TSS.into()),
        (field::HOST_FS_BASE, 0),
        (field::HOST_GS_BASE, 0),
        (field::HOST_TR_BASE, traps::tss()),
        (field::HOST_GDTR_BASE, gdt),
        (field::HOST_IDTR_BASE, idt),
        (field::HOST_SYSENTER_CS, 0),
        (field::HOST_SYSENTER_ESP, 0),
        (field::HOST_SYSENTER_EIP, 0),
        (field::HOST_PAT, rdmsr(IA32_PAT)),
        (field::HOST_EFER, rdmsr(IA32_EFER)),
        (field::HOST_RIP, vmx_ops::exit_address()),
    ]);
}

/// The PVH starting state: flat 32-bit segments, paging off.
fn set_flat_guest() {
    /// Read/write data, 4-GiB limit, 32-bit.
    const DATA: u64 = 0xC093;
    #[rustfmt::skip]
    let segments = [
        (field::GUEST_ES_SELECTOR, field::GUEST_ES_BASE, field::GUEST_ES_LIMIT, field::GUEST_ES_ACCESS, 0x10, u32::MAX, DATA),
        (field::GUEST_CS_SELECTOR, field::GUEST_CS_BASE, field::GUEST_CS_LIMIT, field::GUEST_CS_ACCESS, 0x08, u32::MAX, 0xC09B),
        (field::GUEST_SS_SELECTOR, field::GUEST_SS_BASE, field::GUEST_SS_LIMIT, field::GUEST_SS_ACCESS, 0x10, u32::MAX, DATA),
        (field::GUEST_DS_SELECTOR, field::GUEST_DS_BASE, field::GUEST_DS_LIMIT, field::GUEST_DS_ACCESS, 0x10, u32::MAX, DATA),
        (field::GUEST_FS_SELECTOR, field::GUEST_FS_BASE, field::GUEST_FS_LIMIT, field::GUEST_FS_ACCESS, 0x10, u32::MAX, DATA),
        (field::GUEST_GS_SELECTOR, field::GUEST_GS_BASE, field::GUEST_GS_LIMIT, field::GUEST_GS_ACCESS, 0x10, u32::MAX, DATA),
        (field::GUEST_LDTR_SELECTOR, field::GUEST_LDTR_BASE, field::GUEST_LDTR_LIMIT, field::GUEST_LDTR_ACCESS, 0, 0, 0x1_0000),
        (field::GUEST_TR_SELECTOR, field::GUEST_TR_BASE, field::GUEST_TR_LIMIT, field::GUEST_TR_ACCESS, 0, 0x67, 0x8B),
    ];
    for (selector, base, limit, access, value, size, rights) in segments {
        set_all(&[(selector, value), (base, 0), (limit, size.into()), (access, rights)]);
    }
    set_all(&[
        (field::GUEST_GDTR_BASE, 0),
        (field::GUEST_GDTR_LIMIT, 0xFFFF),
        (field::GUEST_IDTR_BASE, 0),
        (field::GUEST_IDTR_LIMIT, 0xFFFF),
        (field::GUEST_CR0, CR0_PE | CR0_ET | cr0::NE),
        (field::CR0_SHADOW, CR0_PE | CR0_ET),
        (field::GUEST_CR3, 0),
        (field::GUEST_CR4, CR4_VMXE),
        (field::GUEST_EFER, 0),
        (field::GUEST_PAT, 0x0007_0406_0007_0406),
        (field::GUEST_DEBUGCTL, 0),
        (field::GUEST_DR7, 0x400),
        (field::GUEST_RFLAGS, 2),
        (field::GUEST_RSP, 0),
        (field::GUEST_INTERRUPTIBILITY, 0),
        (field::GUEST_ACTIVITY, 0),
        (field::GUEST_PENDING_DEBUG, 0),
        (field::GUEST_SYSENTER_CS, 0),
        (field::GUEST_SYSENTER_ESP, 0),
        (field::GUEST_SYSENTER_EIP, 0),
    ]);
}

/// The state after INIT and a start-up IPI. SDM vol. 3, "Processor State After Reset".
fn set_real_mode(vector: u8) {
    let segment = u64::from(vector) << 8;
    for (base, limit, access, selector) in [
        (
            field::GUEST_ES_BASE,
            field::GUEST_ES_LIMIT,
            field::GUEST_ES_ACCESS,
            field::GUEST_ES_SELECTOR,
        ),
        (
            field::GUEST_SS_BASE,
            field::GUEST_SS_LIMIT,
            field::GUEST_SS_ACCESS,
            field::GUEST_SS_SELECTOR,
        ),
        (
            field::GUEST_DS_BASE,
            field::GUEST_DS_LIMIT,
            field::GUEST_DS_ACCESS,
            field::GUEST_DS_SELECTOR,
        ),
        (
            field::GUEST_FS_BASE,
            field::GUEST_FS_LIMIT,
            field::GUEST_FS_ACCESS,
            field::GUEST_FS_SELECTOR,
        ),
        (
            field::GUEST_GS_BASE,
            field::GUEST_GS_LIMIT,
            field::GUEST_GS_ACCESS,
            field::GUEST_GS_SELECTOR,
        ),
    ] {
        set_all(&[(base, 0), (limit, 0xFFFF), (access, 0x93), (selector, 0)]);
    }
    set_all(&[
        (field::GUEST_CS_SELECTOR, segment),
        (field::GUEST_CS_BASE, segment << 4),
        (field::GUEST_CS_LIMIT, 0xFFFF),
        (field::GUEST_CS_ACCESS, 0x9B),
        (field::GUEST_CR0, CR0_ET | cr0::NE),
        (field::CR0_SHADOW, CR0_ET | CR0_CD | CR0_NW),
        (field::GUEST_RIP, 0),
    ]);
}
