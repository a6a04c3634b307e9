//! How a run ends, and what a processor that shut down was doing.

use crate::device::Ending;
use cpu::Cpu;
use cpu::state::seg;
use mmu::Mmu;

/// Why [`super::Machine::run`] returned.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum MachineStop {
    /// The instructions asked for are retired.
    Budget,
    /// ACPI S5.
    PowerOff,
    /// A reset register or the keyboard controller.
    Reset,
    /// `isa-debug-exit`, with the exit status that QEMU would have.
    DebugExit(u32),
    /// `pvpanic`: the guest has panicked.
    GuestPanicked,
    /// A processor shut down; what it was doing.
    TripleFault(String),
    /// Nothing can ever happen without input.
    Idle,
    /// The host has asked for it ([`super::Machine::pause_by`]), or has much of the trace to take
    /// ([`super::Machine::take_trace`]). The next call goes on from there as if there had been no pause.
    Paused,
}

impl From<Ending> for MachineStop {
    fn from(ending: Ending) -> MachineStop {
        match ending {
            Ending::PowerOff => MachineStop::PowerOff,
            Ending::Reset => MachineStop::Reset,
            Ending::Status(status) => MachineStop::DebugExit(status),
            Ending::GuestPanicked => MachineStop::GuestPanicked,
        }
    }
}

/// What a processor that shut down was doing: where it is, the last events that it met (the last of
/// them led here), and the code at RIP.
pub(super) fn triple_fault(cpu: &Cpu, mmu: &mut Mmu) -> String {
    let refused = |says| format!("RSM of a state that breaks \"{says}\"");
    let what = cpu.stats.rsm_refused.map_or("triple fault".into(), refused);
    let mut lines = vec![format!("{what} at {}", place(cpu))];
    lines.extend(cpu.stats.recent.iter().map(|(e, rip)| {
        let error = e.error.map_or(String::new(), |code| format!(", error code {code:#x}"));
        format!(
            "  {:?} event, vector {}{error}, address {:#x}, at {rip:#x}",
            e.kind, e.vector, e.address
        )
    }));
    lines.extend(cpu.window(mmu).iter().map(|line| format!("  {line}")));
    lines.join("\n")
}

/// CS:RIP and the control registers.
fn place(cpu: &Cpu) -> String {
    let state = cpu.save();
    let s = &state.sys;
    format!(
        "{:#x}:{:#x}, cr0 {:#x} cr2 {:#x} cr3 {:#x} cr4 {:#x} efer {:#x}",
        s.seg[seg::CS].selector,
        state.rip,
        s.cr0,
        s.cr2,
        s.cr3,
        s.cr4,
        s.efer
    )
}
