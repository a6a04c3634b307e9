//! The VMX instructions, and turning VMX on.
#![expect(unsafe_code, reason = "VMX instructions are inline assembly")]

use core::arch::{asm, global_asm};
use hypervisor::vmx::controls::{self, Missing};
use hypervisor::vmx::field::Field;
use runtime::cpu::cpuid;
use runtime::cpu::{rdmsr, wrmsr};

const IA32_FEATURE_CONTROL: u32 = 0x3A;
const IA32_VMX_BASIC: u32 = 0x480;
const IA32_VMX_PROCBASED_CTLS2: u32 = 0x48B;
const IA32_VMX_EPT_VPID_CAP: u32 = 0x48C;
const CR4_VMXE: u64 = 1 << 13;

/// The values of the control fields, chosen once.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Controls {
    pub(crate) pin: u32,
    pub(crate) proc: u32,
    pub(crate) proc2: u32,
    pub(crate) exit: u32,
    pub(crate) entry: u32,
    /// The VMCS revision identifier.
    pub(crate) revision: u32,
}

impl Controls {
    /// Whether a secondary control is on.
    pub(crate) fn secondary(&self, bit: u32) -> bool {
        self.proc2 & bit != 0
    }
}

/// The reason why VMX cannot be used, as a line for the console.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Refusal {
    NoVmx,
    Locked,
    Control(Missing),
    Ept(&'static str),
    VmxonFailed,
}

impl core::fmt::Display for Refusal {
    fn fmt(&self, f: &mut core::fmt::Formatter) -> core::fmt::Result {
        match self {
            Self::NoVmx => write!(f, "CPUID.1:ECX bit 5 is clear: the processor has no VMX"),
            Self::Locked => write!(f, "IA32_FEATURE_CONTROL is locked with VMX off"),
            Self::Control(m) => {
                write!(f, "the {} control '{}' is not allowed", m.group, m.control)
            }
            Self::Ept(what) => write!(f, "IA32_VMX_EPT_VPID_CAP lacks {what}"),
            Self::VmxonFailed => write!(f, "VMXON failed"),
        }
    }
}

/// Reads the capability registers and chooses the controls.
fn choose() -> Result<Controls, Refusal> {
    let basic = rdmsr(IA32_VMX_BASIC);
    let first = if basic & 1 << 55 != 0 { 0x48D } else { 0x481 };
    let choose =
        |wanted: controls::Wanted, msr| wanted.choose(rdmsr(msr)).map_err(Refusal::Control);
    let pin = choose(controls::PIN, first)?;
    let proc = choose(controls::PROC, first + 1)?;
    let exit = choose(controls::EXIT, first + 2)?;
    let entry = choose(controls::ENTRY, first + 3)?;
    let mut proc2 = choose(controls::PROC2, IA32_VMX_PROCBASED_CTLS2)?;
    let ept = rdmsr(IA32_VMX_EPT_VPID_CAP);
    if let Some((_, name)) = controls::EPT_REQUIRED.iter().find(|(bit, _)| ept & bit == 0) {
        return Err(Refusal::Ept(name));
    }
    if ept & controls::VPID_REQUIRED != controls::VPID_REQUIRED {
        proc2 &= !controls::VPID;
    }
    Ok(Controls { pin, proc, proc2, exit, entry, revision: basic as u32 & 0x7FFF_FFFF })
}

/// Enters VMX operation with the zeroed frame at `region`.
pub(crate) fn enable(region: u64) -> Result<Controls, Refusal> {
    if cpuid(1, 0)[2] & 1 << 5 == 0 {
        return Err(Refusal::NoVmx);
    }
    match rdmsr(IA32_FEATURE_CONTROL) & 5 {
        5 => {}
        0 | 4 => wrmsr(IA32_FEATURE_CONTROL, rdmsr(IA32_FEATURE_CONTROL) | 5),
        _ => return Err(Refusal::Locked),
    }
    let controls = choose()?;
    // SAFETY: `region` is a zeroed frame that nothing else uses; CR4.VMXE is only added.
    let failed = unsafe {
        (region as *mut u32).write_volatile(controls.revision);
        let cr4: u64;
        asm!("mov {}, cr4", out(reg) cr4);
        asm!("mov cr4, {}", in(reg) cr4 | CR4_VMXE);
        let failed: u8;
        asm!("vmxon [{}]", "setbe {}", in(reg) &region, out(reg_byte) failed);
        failed
    };
    if failed != 0 { Err(Refusal::VmxonFailed) } else { Ok(controls) }
}

/// Reads a field of the current VMCS.
pub(crate) fn read(field: Field) -> u64 {
    let value: u64;
    // SAFETY: reads the current VMCS, which exists from the first vCPU on.
    unsafe { asm!("vmread {}, {}", out(reg) value, in(reg) u64::from(field.0), options(nostack)) };
    value
}

/// Writes a field of the current VMCS.
pub(crate) fn write(field: Field, value: u64) {
    let failed: u8;
    // SAFETY: what the fields mean for memory (bitmaps, EPT, host state) is the caller's concern.
    unsafe {
        asm!("vmwrite {}, {}", "setbe {}", in(reg) u64::from(field.0), in(reg) value,
            out(reg_byte) failed, options(nostack));
    }
    if failed != 0 {
        crate::console::die!("VMWRITE of field {:#x} failed", field.0);
    }
}

/// VMCLEAR, then VMPTRLD of a fresh region: the VMCS is current and not launched.
pub(crate) fn start(region: u64) {
    // SAFETY: `region` is a frame set up as a VMCS region and used for nothing else.
    unsafe { asm!("vmclear [{}]", in(reg) &region) };
    load(region);
}

/// VMPTRLD: makes a VMCS current.
pub(crate) fn load(region: u64) {
    // SAFETY: as `start`.
    unsafe { asm!("vmptrld [{}]", in(reg) &region) };
}

/// VMCLEAR: the region may be freed.
pub(crate) fn clear(region: u64) {
    // SAFETY: as `start`.
    unsafe { asm!("vmclear [{}]", in(reg) &region) };
}

/// INVEPT of the tables of one EPT pointer.
pub(crate) fn invalidate_ept(pointer: u64) {
    let descriptor = [pointer, 0];
    // SAFETY: drops cached translations only.
    unsafe { asm!("invept {}, [{}]", in(reg) 1_u64, in(reg) &descriptor) };
}

/// INVVPID, all contexts.
pub(crate) fn invalidate_vpids() {
    let descriptor = [0_u64; 2];
    // SAFETY: drops cached translations only.
    unsafe { asm!("invvpid {}, [{}]", in(reg) 2_u64, in(reg) &descriptor) };
}

global_asm!(
    r#"
    .section .text
    .global vmx_enter, vmx_exit
# rdi: the register block (16 GPRs, then the FXSAVE area), rsi: launched. Returns 0 after an exit,
# 1 when the instruction failed.
vmx_enter:
    push rbx
    push rbp
    push r12
    push r13
    push r14
    push r15
    push rdi
    mov eax, 0x6C14                 # HOST_RSP
    vmwrite rax, rsp
    fxrstor64 [rdi + 128]
    test rsi, rsi
    mov rax, [rdi]
    mov rcx, [rdi + 8]
    mov rdx, [rdi + 16]
    mov rbx, [rdi + 24]
    mov rbp, [rdi + 40]
    mov rsi, [rdi + 48]
    mov r8, [rdi + 64]
    mov r9, [rdi + 72]
    mov r10, [rdi + 80]
    mov r11, [rdi + 88]
    mov r12, [rdi + 96]
    mov r13, [rdi + 104]
    mov r14, [rdi + 112]
    mov r15, [rdi + 120]
    mov rdi, [rdi + 56]
    jz 1f
    vmresume
    jmp 2f
1:  vmlaunch
2:  mov eax, 1
    jmp 3f
vmx_exit:
    push rdi
    mov rdi, [rsp + 8]
    mov [rdi], rax
    mov [rdi + 8], rcx
    mov [rdi + 16], rdx
    mov [rdi + 24], rbx
    mov [rdi + 40], rbp
    mov [rdi + 48], rsi
    pop rax
    mov [rdi + 56], rax
    mov [rdi + 64], r8
    mov [rdi + 72], r9
    mov [rdi + 80], r10
    mov [rdi + 88], r11
    mov [rdi + 96], r12
    mov [rdi + 104], r13
    mov [rdi + 112], r14
    mov [rdi + 120], r15
    fxsave64 [rdi + 128]
    xor eax, eax
3:  pop rdi
    pop r15
    pop r14
    pop r13
    pop r12
    pop rbp
    pop rbx
    ret
"#
);

/// The guest's registers across an exit; RSP is in the VMCS.
#[repr(C, align(16))]
#[derive(Clone)]
pub(crate) struct Registers {
    /// RAX, RCX, RDX, RBX, (RSP), RBP, RSI, RDI, R8 to R15.
    pub(crate) gpr: [u64; 16],
    /// The FXSAVE image.
    pub(crate) fx: [u8; 512],
}

impl Registers {
    /// Zeroed registers, with the floating-point unit in FNINIT's state.
    pub(crate) fn new() -> Self {
        let mut fx = [0; 512];
        fx[0..2].copy_from_slice(&0x37F_u16.to_le_bytes());
        fx[24..28].copy_from_slice(&0x1F80_u32.to_le_bytes());
        Self { gpr: [0; 16], fx }
    }
}

unsafe extern "C" {
    fn vmx_enter(registers: *mut Registers, launched: u64) -> u64;
    fn vmx_exit();
}

/// The address that an exit goes to, for HOST_RIP.
pub(crate) fn exit_address() -> u64 {
    vmx_exit as *const () as u64
}

/// Runs the current VMCS until its next exit. False: the entry instruction itself failed.
pub(crate) fn enter(registers: &mut Registers, launched: bool) -> bool {
    // SAFETY: the VMCS's host state leads back to `vmx_exit` with this stack; the guest reaches
    // only memory that its EPT names.
    unsafe { vmx_enter(registers, launched.into()) == 0 }
}
