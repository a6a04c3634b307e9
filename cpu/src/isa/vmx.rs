//! The VMX instructions, by form; their bodies are in [`crate::vmx`].

use super::{Exec, Form, forms};
use crate::Cpu;
use crate::trap::Trap;
use crate::vmx::entry::{vmlaunch, vmresume};
use crate::vmx::instructions::{
    invept, invvpid, vmcall, vmclear, vmptrld, vmptrst, vmread, vmwrite, vmxoff, vmxon,
};
use iced_x86::Instruction;

/// `GETSEC`: there is no SMX. `VMFUNC`: there are no VM functions.
fn undefined(_: &mut Cpu, _: &Instruction) -> Result<(), Trap> {
    Err(Trap::UD)
}

/// VMX instructions.
#[rustfmt::skip]
pub(crate) const FORMS: &[Form] = forms! {
    Vmxon_m64 => Exec::EndsBlock(vmxon);
    Vmxoff => Exec::EndsBlock(vmxoff);
    Vmclear_m64 => Exec::Function(vmclear);
    Vmptrld_m64 => Exec::Function(vmptrld);
    Vmptrst_m64 => Exec::Function(vmptrst);
    Vmread_rm32_r32 => Exec::Function(vmread::<u32>);
    Vmread_rm64_r64 => Exec::Function(vmread::<u64>);
    Vmwrite_r32_rm32 => Exec::Function(vmwrite::<u32>);
    Vmwrite_r64_rm64 => Exec::Function(vmwrite::<u64>);
    Vmlaunch => Exec::EndsBlock(vmlaunch);
    Vmresume => Exec::EndsBlock(vmresume);
    Vmcall => Exec::EndsBlock(vmcall);
    Vmfunc => Exec::Function(undefined);
    Getsecd => Exec::Function(undefined);
    Invept_r32_m128 => Exec::EndsBlock(invept);
    Invept_r64_m128 => Exec::EndsBlock(invept);
    Invvpid_r32_m128 => Exec::EndsBlock(invvpid);
    Invvpid_r64_m128 => Exec::EndsBlock(invvpid);
};
