//! The processor's pins and sockets: what the machine around it sets, asks and takes between two
//! runs. The machine writes no field of [`Cpu`].

use crate::Cpu;
use crate::bus::Message;
use crate::model::Model;
use crate::state::trace::{Items, Transition};
use crate::state::vmx::stats::Level;
use crate::state::{Apic, Segment, Smram, Stats, TableRegister};
use std::sync::Arc;
use std::sync::atomic::AtomicBool;

/// The state in which a loaded kernel is entered; what is not named here is as after reset.
#[derive(Clone, Debug, PartialEq, Eq)]
#[expect(missing_docs, reason = "the registers' own names")]
pub struct EntryState {
    pub cr0: u64,
    pub cr3: u64,
    pub cr4: u64,
    pub efer: u64,
    pub gdtr: TableRegister,
    pub idtr: TableRegister,
    pub tr: Segment,
    pub ldtr: Segment,
    /// ES, CS, SS, DS, FS, GS.
    pub segments: [Segment; 6],
    /// RAX, RCX, RDX, RBX, RSP, RBP, RSI, RDI.
    pub regs: [u64; 8],
    pub rflags: u64,
    pub rip: u64,
}

impl Cpu {
    /// The processor with APIC ID `id` at power-up. All but number 0 wait for a start-up IPI.
    pub fn power_up(model: Model, id: u32) -> Box<Cpu> {
        let mut cpu = Cpu::new(model);
        cpu.state.apic = Apic::new(id);
        if id != 0 {
            cpu.wait_for_sipi();
        }
        cpu
    }

    /// Goes to the state in which a loaded kernel is entered.
    pub fn enter_kernel(&mut self, e: &EntryState) {
        let s = &mut self.state.sys;
        (s.cr0, s.cr3, s.cr4, s.efer) = (e.cr0, e.cr3, e.cr4, e.efer);
        (s.gdtr, s.idtr, s.tr, s.ldtr) = (e.gdtr, e.idtr, e.tr, e.ldtr);
        for (n, segment) in e.segments.iter().enumerate() {
            self.set_segment(n, *segment);
        }
        self.state.regs[..8].copy_from_slice(&e.regs);
        self.set_rflags(e.rflags);
        self.state.rip = e.rip;
    }

    /// RIP, RFLAGS and the general-purpose registers.
    pub fn registers(&self) -> [u64; 18] {
        let mut all = [0; 18];
        (all[0], all[1]) = (self.state.rip, self.state.flags.get());
        all[2..].copy_from_slice(&self.state.regs[..16]);
        all
    }

    /// Sets the level of the INTR pin.
    pub fn set_intr(&mut self, level: bool) {
        self.state.sys.intr = level;
    }

    /// Asserts SMI#, which stays latched until the processor takes the interrupt.
    pub fn raise_smi(&mut self) {
        self.state.sys.smm.pending = true;
    }

    /// Sets who sees system-management RAM, as programmed in the chipset.
    pub fn set_smram(&mut self, smram: Smram) {
        self.state.sys.smm.smram = smram;
    }

    /// Whether `message` is for the local APIC of this processor.
    pub fn is_destination(&self, message: &Message) -> bool {
        self.state.apic.matches(message)
    }

    /// Whether the local APIC is enabled, in its base register and by software.
    pub fn apic_enabled(&self) -> bool {
        self.state.apic.enabled()
    }

    /// Counts `instructions` as retired, for the user.
    pub fn count_retired(&mut self, instructions: u64) {
        self.stats.retired += instructions;
    }

    /// Counts `time` that has passed without an instruction, for the user.
    pub fn count_idle(&mut self, time: u64) {
        self.stats.vmx.idle(time);
    }

    /// Starts the counters for the user at `now`, when `retired` instructions have been retired before.
    pub fn count_from(&mut self, now: u64, retired: u64) {
        self.stats = Stats { retired, ..Stats::default() };
        self.stats.vmx.idle(now);
        let level = if self.state.vmx.guest { self.state.vmx.level() } else { Level::Root };
        self.stats.vmx.pass(level, now);
    }

    /// Has the run end at the next look while `flag` is set, and every run at once: [`crate::Stop::Paused`].
    /// Another thread may set it. Where the run ends then is an instruction boundary, from which it goes on as
    /// if it had not ended.
    pub fn pause_by(&mut self, flag: Arc<AtomicBool>) {
        self.pause = flag;
    }

    /// Sets what the processor writes down.
    pub fn set_trace(&mut self, items: Items) {
        self.trace.items = items;
    }

    /// Whether lines or transitions have been written down since they were last taken.
    #[inline]
    pub fn has_trace(&self) -> bool {
        !self.trace.text.is_empty() || !self.trace.transitions.is_empty()
    }

    /// Takes the transitions written down since the last call.
    pub fn take_transitions(&mut self) -> Vec<Transition> {
        std::mem::take(&mut self.trace.transitions)
    }

    /// Takes the lines written down since the last call.
    pub fn take_trace(&mut self) -> String {
        std::mem::take(&mut self.trace.text)
    }
}
