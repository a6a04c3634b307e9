//! A vCPU's state as the ABI sees it; its registers are the bare-metal part's business.

use super::abi::hvm_context::CpuState;
use super::vlapic::Vlapic;
use alloc::boxed::Box;
use alloc::vec::Vec;

/// The activity of a vCPU. The state of one activity is in its variant, and ends with the activity.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub enum Activity {
    /// Not brought up, or taken down.
    #[default]
    Down,
    /// Wants to run.
    Runnable,
    /// In HLT: an interrupt ends the wait.
    Halted,
    /// In `SCHEDOP_block`: an event channel wakes it too.
    Blocked,
    /// In `SCHEDOP_poll`.
    Polling(Poll),
}

/// A question of the vCPU to a device model.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Io {
    /// No question is open.
    #[default]
    None,
    /// The vCPU waits for the answer.
    Waits {
        /// The number of the server that was asked.
        server: u16,
        /// The bits that the answer has.
        mask: u64,
    },
    /// The answer is there.
    Answered(u64),
}

/// The ends of a `SCHEDOP_poll`, beside interrupts.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Poll {
    /// The ports one of which may become pending.
    pub ports: Vec<u32>,
    /// The time at which the wait is over, ns.
    pub timeout: Option<u64>,
}

/// `RUNSTATE_*`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum RunState {
    /// Running on the processor.
    Running = 0,
    /// Waits for the processor.
    Runnable = 1,
    /// Idle, by the vCPU's own choice.
    Blocked = 2,
    /// Down or paused.
    #[default]
    Offline = 3,
}

/// Time spent in each run state.
#[derive(Debug, Clone, Default)]
pub struct RunStates {
    /// The current state.
    pub state: RunState,
    /// The time at which the state was entered, ns.
    pub entered: u64,
    /// Time in each, ns, the current one up to `entered`.
    pub time: [u64; 4],
}

impl RunStates {
    /// Enters `state` at `now` ns; false if it is the current one.
    pub fn enter(&mut self, state: RunState, now: u64) -> bool {
        if self.state == state {
            return false;
        }
        let spent = now.saturating_sub(self.entered);
        let slot = &mut self.time[self.state as usize];
        *slot = slot.saturating_add(spent);
        self.entered = now;
        self.state = state;
        true
    }
}

/// The place of the vCPU's `vcpu_info`: a frame the hypervisor holds a reference to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct InfoPlace {
    /// The machine frame.
    pub mfn: u64,
    /// The offset within it; the structure does not cross the page.
    pub offset: u16,
}

/// A periodic timer, in ns.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Periodic {
    /// The period, at least [`Periodic::MIN`].
    pub period: u64,
    /// The time of the next expiry.
    pub next: u64,
}

impl Periodic {
    /// The shortest period; `-EINVAL` below it, as in Xen (1 ms).
    pub const MIN: u64 = 1_000_000;
}

/// One vCPU.
#[derive(Debug, Clone)]
pub struct Vcpu {
    /// The vCPU's number within the domain; the APIC ID is twice that.
    pub id: u32,
    /// The vCPU's activity.
    pub activity: Activity,
    /// The place of the vCPU's `vcpu_info`.
    pub info: InfoPlace,
    /// True once `VCPUOP_register_vcpu_info` has moved it; it moves once.
    pub info_registered: bool,
    /// Run state times.
    pub runstate: RunStates,
    /// The guest-physical pieces (address, length) of the registered run-state area.
    pub runstate_area: Vec<(u64, usize)>,
    /// `set_timer_op` and `VCPUOP_set_singleshot_timer`, ns.
    pub singleshot: Option<u64>,
    /// `VCPUOP_set_periodic_timer`.
    pub periodic: Option<Periodic>,
    /// The port of each virtual interrupt bound to this vCPU; 0 is none.
    pub virq_ports: [u32; super::abi::nr::virq::COUNT],
    /// `HVMOP_set_evtchn_upcall_vector`; 0 is unset.
    pub upcall_vector: u8,
    /// The upcall by `HVM_PARAM_CALLBACK_IRQ` was injected since its flag was last set.
    pub upcall_taken: bool,
    /// A non-maskable interrupt waits.
    pub nmi: bool,
    /// Its question to a device model.
    pub io: Io,
    /// The vCPU's local APIC.
    pub lapic: Vlapic,
    /// The vCPU's registers, while dom0's tools look at them or have set them.
    pub registers: Option<Box<CpuState>>,
    /// The processors that it may use and those that it prefers, a bit each; there is one.
    pub affinity: [u64; 2],
}

impl Vcpu {
    /// A vCPU that is down, with its `vcpu_info` in the domain's shared page.
    pub fn new(id: u32, info: InfoPlace) -> Self {
        Self {
            id,
            activity: Activity::Down,
            info,
            info_registered: false,
            runstate: RunStates::default(),
            runstate_area: Vec::new(),
            singleshot: None,
            periodic: None,
            virq_ports: [0; super::abi::nr::virq::COUNT],
            upcall_vector: 0,
            upcall_taken: false,
            nmi: false,
            io: Io::None,
            lapic: Vlapic::new(id),
            registers: None,
            affinity: [u64::MAX; 2],
        }
    }

    /// True if it wants to run, and no device model keeps it waiting.
    pub fn ready(&self) -> bool {
        self.activity == Activity::Runnable && !matches!(self.io, Io::Waits { .. })
    }

    /// The timeout of a poll in progress, ns.
    pub fn poll_timeout(&self) -> Option<u64> {
        match &self.activity {
            Activity::Polling(poll) => poll.timeout,
            _ => None,
        }
    }
}
