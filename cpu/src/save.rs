//! The architectural state of a processor as plain data.

use crate::apic::Apic;
use crate::fpu::Fpu;
use crate::model::Model;
use crate::state::{Cpu, System};
use crate::vmx::Vmx;
use serde::{Deserialize, Serialize};

/// Everything that a guest can tell, and nothing that it cannot.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct CpuState {
    /// General-purpose registers.
    pub regs: [u64; 16],
    /// Instruction pointer.
    pub rip: u64,
    /// RFLAGS.
    pub rflags: u64,
    /// System registers and event state.
    pub sys: System,
    /// Floating-point and vector state.
    pub fpu: Fpu,
    /// Local APIC.
    pub apic: Apic,
    /// VMX.
    pub vmx: Vmx,
    /// CPU model.
    pub model: Model,
}

impl Cpu {
    /// The state, between two runs.
    pub fn save(&self) -> CpuState {
        CpuState {
            regs: self.regs,
            rip: self.rip,
            rflags: self.rflags(),
            sys: self.sys.clone(),
            fpu: self.fpu.clone(),
            apic: self.apic.clone(),
            vmx: self.vmx.clone(),
            model: self.model.clone(),
        }
    }
}
