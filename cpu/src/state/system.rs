//! System registers, model-specific registers and what the processor is doing.

use super::{Event, Segment, Smm, TableRegister};
use crate::trap::Exception;
use serde::{Deserialize, Serialize};

/// What a retired instruction adds to the time-stamp counter.
pub(crate) const TSC_STEP: u64 = 2;

/// What the processor is doing. SDM vol. 3, "Guest Non-Register State" (the numbers are the VMCS's).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum Activity {
    /// Executing instructions.
    #[default]
    Active = 0,
    /// Stopped by HLT.
    Hlt = 1,
    /// Stopped by a triple fault.
    Shutdown = 2,
    /// An application processor that waits for a start-up IPI.
    WaitSipi = 3,
}

/// System registers and event state.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct System {
    /// CR0.
    pub cr0: u64,
    /// CR2.
    pub cr2: u64,
    /// CR3.
    pub cr3: u64,
    /// CR4.
    pub cr4: u64,
    /// IA32_EFER.
    pub efer: u64,
    /// XCR0.
    pub xcr0: u64,
    /// DR0 to DR3.
    pub dr: [u64; 4],
    /// DR6.
    pub dr6: u64,
    /// DR7.
    pub dr7: u64,
    /// Current privilege level.
    pub cpl: u8,
    /// ES, CS, SS, DS, FS, GS; change them with [`crate::Cpu::set_segment`].
    pub seg: [Segment; 6],
    /// Local descriptor table register.
    pub ldtr: Segment,
    /// Task register.
    pub tr: Segment,
    /// Global descriptor table register.
    pub gdtr: TableRegister,
    /// Interrupt descriptor table register.
    pub idtr: TableRegister,
    /// PDPTEs in PAE paging.
    pub pdpte: [u64; 4],
    /// Model-specific registers that have no field of their own.
    pub msr: Msrs,
    /// TSC minus the ticks of all retired instructions.
    pub tsc_offset: u64,
    /// Activity state.
    pub activity: Activity,
    /// The last instruction takes its time until then, if that is still to come.
    pub stalled_until: u64,
    /// Blocking by STI for one instruction.
    pub sti_shadow: bool,
    /// Blocking by MOV SS or POP SS for one instruction.
    pub ss_shadow: bool,
    /// NMIs are blocked until IRET.
    pub nmi_blocked: bool,
    /// An NMI is latched.
    pub nmi_pending: bool,
    /// A second NMI is latched.
    pub nmi_queued: bool,
    /// An INIT is latched.
    pub init_pending: bool,
    /// A start-up IPI with its vector is latched.
    pub sipi_pending: Option<u8>,
    /// Level of the INTR pin (the 8259 pair), through LINT0.
    pub intr: bool,
    /// Debug exceptions (DR6 bits) that are pending after the last instruction.
    pub pending_debug: u64,
    /// State of the random number generator.
    pub random: u64,
    /// Breakpoints on data that the running instruction has met.
    pub watch_hits: u64,
    /// A fault that a task switch met in the new task, to be raised there.
    pub task_fault: Option<Exception>,
    /// TF was set when the running instruction began.
    pub step_trap: bool,
    /// The event that is being delivered.
    pub delivering: Option<Event>,
    /// System-management mode.
    pub smm: Smm,
}

/// Model-specific registers kept as values.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[expect(missing_docs, reason = "the names are the SDM's, vol. 4")]
pub struct Msrs {
    pub star: u64,
    pub lstar: u64,
    pub cstar: u64,
    pub sfmask: u64,
    pub kernel_gs_base: u64,
    pub sysenter_cs: u64,
    pub sysenter_esp: u64,
    pub sysenter_eip: u64,
    pub tsc_aux: u64,
    pub tsc_adjust: u64,
    pub pat: u64,
    pub mtrr_def_type: u64,
    pub mtrr_fixed: [u64; 11],
    pub mtrr_var: [u64; 16],
    pub misc_enable: u64,
    pub feature_control: u64,
    pub debugctl: u64,
    pub xss: u64,
    pub mc_ctl: [u64; 10],
}
