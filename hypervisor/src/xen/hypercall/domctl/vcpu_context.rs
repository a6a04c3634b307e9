//! `getvcpucontext` and `setvcpucontext`: a vCPU's registers in the form that core dumps have, and that resumes a
//! domain. Of an HVM vCPU only general and floating-point registers, RIP and RFLAGS can be set so, as in Xen.

use super::super::super::Action;
use super::super::super::abi::Errno;
use super::super::super::abi::hvm_context::CpuState;
use super::super::super::abi::layout::{Field, VcpuContext};
use super::super::super::host_services::DomId;
use super::super::super::vcpu::Activity;
use super::super::Call;
use alloc::boxed::Box;
use alloc::vec;

/// Bytes of `vcpu_guest_context` of 64 bits.
const SIZE: usize = 5168;
/// `VGCF_I387_VALID` and `VGCF_online`.
const FPU_VALID: u64 = 1;
const ONLINE: u64 = 1 << 5;
/// RFLAGS that always have their value: bit 1 is set.
const RFLAGS_FIXED: u64 = 2;

/// The places of `vcpu_guest_context`.
mod at {
    pub(super) const FLAGS: usize = 512;
    /// RAX, RCX, RDX, RBX, RSP, RBP, RSI, RDI, R8 to R15 of `cpu_user_regs`.
    pub(super) const GPR: [usize; 16] =
        [600, 608, 616, 560, 672, 552, 624, 632, 592, 584, 576, 568, 544, 536, 528, 520];
    pub(super) const RIP: usize = 648;
    pub(super) const RFLAGS: usize = 664;
    /// CS, DS, ES, FS, GS, SS.
    pub(super) const SELECTORS: [usize; 6] = [656, 696, 688, 704, 712, 680];
    pub(super) const CR: [usize; 4] = [4984, 5000, 5008, 5016];
    pub(super) const DR: [usize; 6] = [5048, 5056, 5064, 5072, 5096, 5104];
    pub(super) const FS_BASE: usize = 5144;
    pub(super) const GS_BASE_KERNEL: usize = 5152;
    pub(super) const GS_BASE_USER: usize = 5160;
}

impl Call<'_> {
    /// The number of a vCPU that the caller names, which is not its own.
    fn context_vcpu(&self, dom: DomId, arg: &VcpuContext) -> Result<u32, Errno> {
        let domain = self.xen.domain(dom)?;
        let there = arg.vcpu < domain.max_vcpus && domain.vcpu(arg.vcpu).is_some();
        if there && dom != self.c.dom { Ok(arg.vcpu) } else { Err(Errno::Inval) }
    }

    /// False to be called again.
    pub(super) fn get_vcpu_context(&mut self, dom: DomId, at: u64) -> Result<bool, Errno> {
        let arg: VcpuContext = self.load(at)?;
        let id = self.context_vcpu(dom, &arg)?;
        if !self.have_registers(dom)? {
            return Ok(false);
        }
        let vcpu = self.xen.vcpu(dom, id)?;
        let state = vcpu.registers.as_deref().ok_or(Errno::NoData)?;
        let raw = encode(state, vcpu.activity != Activity::Down);
        self.c.write(self.host, arg.ctxt, &raw)?;
        Ok(true)
    }

    /// False to be called again.
    pub(super) fn set_vcpu_context(&mut self, dom: DomId, at: u64) -> Result<bool, Errno> {
        let arg: VcpuContext = self.load(at)?;
        let id = self.context_vcpu(dom, &arg)?;
        if !self.have_registers(dom)? {
            return Ok(false);
        }
        let mut raw = vec![0; SIZE];
        self.c.read(self.host, arg.ctxt, &mut raw)?;
        let vcpu = self.xen.vcpu_mut(dom, id)?;
        let mut state = vcpu.registers.as_deref().cloned().ok_or(Errno::NoData)?;
        decode(&raw, &mut state);
        vcpu.registers = Some(Box::new(super::hvm_context::checked(state)?));
        let online = u64::load(&raw[at::FLAGS..]) & ONLINE != 0;
        if !online {
            vcpu.activity = Activity::Down;
        } else if vcpu.activity == Activity::Down {
            vcpu.activity = Activity::Runnable;
        }
        self.xen.actions.push(Action::LoadVcpu { dom, vcpu: id });
        Ok(true)
    }
}

/// Puts `value` at a place.
fn put(raw: &mut [u8], at: usize, value: u64) {
    raw[at..at + 8].copy_from_slice(&value.to_le_bytes());
}

fn encode(state: &CpuState, online: bool) -> vec::Vec<u8> {
    let mut raw = vec![0; SIZE];
    raw[..512].copy_from_slice(&state.fpu);
    put(&mut raw, at::FLAGS, FPU_VALID | if online { ONLINE } else { 0 });
    let [cs, ds, es, fs, gs, ss, ..] = &state.segments;
    let selectors = [cs, ds, es, fs, gs, ss].map(|segment| u64::from(segment.selector as u16));
    let numbers = at::GPR.into_iter().zip(state.gpr);
    let numbers = numbers.chain(at::SELECTORS.into_iter().zip(selectors));
    let numbers = numbers.chain(at::CR.into_iter().zip(state.cr));
    let numbers = numbers.chain(at::DR.into_iter().zip(state.dr));
    numbers.for_each(|(at, value)| put(&mut raw, at, value));
    put(&mut raw, at::RIP, state.rip);
    put(&mut raw, at::RFLAGS, state.rflags);
    put(&mut raw, at::FS_BASE, fs.base);
    // The base in force is the kernel's at privilege level 0, and the user's otherwise.
    let ring0 = ss.rights >> 5 & 3 == 0;
    let (kernel, user) =
        if ring0 { (gs.base, state.shadow_gs) } else { (state.shadow_gs, gs.base) };
    put(&mut raw, at::GS_BASE_KERNEL, kernel);
    put(&mut raw, at::GS_BASE_USER, user);
    raw
}

/// Takes over what can be set.
fn decode(raw: &[u8], state: &mut CpuState) {
    if u64::load(&raw[at::FLAGS..]) & FPU_VALID != 0 {
        state.fpu.copy_from_slice(&raw[..512]);
    }
    for (register, at) in state.gpr.iter_mut().zip(at::GPR) {
        *register = u64::load(&raw[at..]);
    }
    state.rip = u64::load(&raw[at::RIP..]);
    state.rflags = u64::load(&raw[at::RFLAGS..]) | RFLAGS_FIXED;
}
