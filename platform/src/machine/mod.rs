//! The machine: processors, memory and board joined, and time.
//!
//! Reading order: `config` (what a machine is made of), `entry` (how a kernel is entered), `schedule`
//! (how the processors take turns, and what the machine's time is), `input` (how the outside world gets
//! in), `perturb` (what is chosen of what hardware leaves open), `bus` (the board as a processor sees it), `dma` (memory as the board sees it), `look` (memory to look at), `report` (how a
//! run ends), `pages` and `state` (the hash of everything), `save` (a machine as data), `debugging` (what a debugger
//! asks), `trail` (the way back), `branch` (states from which many runs go on).
//!
//! Invariant: nothing else in this crate names the `cpu` crate.

mod branch;
mod bus;
mod config;
pub mod debugging;
mod dma;
mod entry;
mod input;
mod look;
pub mod pages;
mod perturb;
mod report;
mod save;
mod schedule;
mod spin;
mod state;
mod trail;

use crate::board::Board;
use crate::memory_map::MemoryMap;
pub use crate::time::Icount;
pub use branch::Branch;
use bus::Chipset;
pub use config::{Boot, CodeOptions, Config, Error, FwCfgFile, OptionalDevice, TraceItems};
use cpu::Cpu;
use cpu::model::Model;
pub use cpu::state::trace::{Transition, TransitionKind};
pub use cpu::state::vmx::stats::Level;
use cpu::state::vmx::stats::Stats;
pub use cpu::vmx::reason::name as exit_reason;
pub use input::Input;
use input::InputQueue;
pub use look::Mapping;
pub use mmu::Ram;
use mmu::{HostPhys, Limits, Mmu};
use pages::Pages;
pub use report::MachineStop;
pub use save::Saved;
pub use schedule::QUANTUM;
use schedule::{Schedule, Shared};
use state::StateHash;
use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
pub use trail::Trail;

/// Processors, memory and a board.
pub struct Machine {
    config: Config,
    map: MemoryMap,
    shared: Shared,
    schedule: Schedule,
    pages: Pages,
}

/// The processors' model.
fn model_of(config: &Config) -> Result<Model, Error> {
    if config.vcpus == 0 || config.vcpus > 255 {
        return Err(Error::Vcpus(config.vcpus));
    }
    let mut model = Model::parse(&config.cpu_model).map_err(Error::CpuModel)?;
    model.processors = config.vcpus;
    Ok(model)
}

impl Machine {
    /// The most levels that are counted by themselves.
    pub const LEVELS: usize = Stats::LEVELS;

    /// A machine at power-on, with empty memory.
    pub fn new(config: &Config) -> Result<Machine, Error> {
        let model = model_of(config)?;
        let map = MemoryMap::new(config.ram);
        config.check_devices(&map)?;
        let cpus = (0..config.vcpus).map(|id| {
            let mut cpu = Cpu::power_up(model.clone(), id);
            cpu.set_trace(config.trace);
            cpu
        });
        let ram = Ram::new(map.low + map.high)?;
        let pages = Pages::zero(ram.pages());
        let shared = Shared {
            mmu: Mmu::new(ram, Limits::default()),
            code: config.code.cache(),
            chipset: Chipset::new(config.board(&map)),
            inputs: InputQueue::default(),
            pause: Arc::default(),
        };
        Ok(Machine { config: config.clone(), map, shared, schedule: Schedule::new(cpus), pages })
    }

    /// Loads an image, leaves the machine as firmware would, and sets the first processor to the entry.
    pub fn boot(&mut self, boot: &Boot<'_>) -> Result<(), Error> {
        let cpu = &self.schedule.processors[0].cpu;
        let entry = entry::load(boot, self.map, &self.config, cpu, &mut self.shared.mmu)?;
        self.shared.chipset.board.hand_over();
        let unlocked = self.config.vmx_unlocked;
        self.schedule.processors.iter_mut().for_each(|p| p.cpu.hand_over(unlocked));
        self.schedule.processors[0].cpu.enter_kernel(&entry);
        Ok(())
    }

    /// The machine's time: retired instructions, and idle time, of the processor furthest behind.
    pub fn now(&self) -> Icount {
        Icount(self.schedule.now())
    }

    /// Instructions that all processors have retired.
    pub fn retired(&self) -> u64 {
        self.schedule.retired()
    }

    /// Retired instructions by level: VMX root operation (or no VMX), then each guest, by processor in the order
    /// in which they first ran; beyond [`Machine::LEVELS`] of them the sum of all others.
    pub fn levels(&self) -> Vec<(Level, u64)> {
        let mut levels = vec![(Level::Root, 0)];
        let mut others = 0;
        for p in &self.schedule.processors {
            for (level, count) in p.cpu.stats.vmx.levels(p.at) {
                match levels.iter().position(|(known, _)| *known == level) {
                    Some(n) => levels[n].1 += count,
                    None if level != Level::Others && levels.len() < Machine::LEVELS => {
                        levels.push((level, count));
                    }
                    None => others += count,
                }
            }
        }
        levels.extend((others > 0).then_some((Level::Others, others)));
        levels
    }

    /// VM exits by level and basic reason. Entries that failed are those of [`Level::Root`].
    pub fn exits(&self) -> BTreeMap<(Level, u32), u64> {
        let mut exits = BTreeMap::new();
        for (level, reason, count) in self.processors().flat_map(|cpu| cpu.stats.vmx.exits()) {
            *exits.entry((level, reason)).or_default() += count;
        }
        exits
    }

    /// Has runs end at once while `flag` is set: [`MachineStop::Paused`]. Another thread may set it; whatever
    /// the guest does, the run that is under way ends within 0.1 s of the host's processor time. Where that is
    /// leaves no trace in what comes after: it is an instruction boundary, with one processor the machine's time.
    /// With several a turn may be cut, which [`Machine::state_hash`] then includes.
    pub fn pause_by(&mut self, flag: &Arc<AtomicBool>) {
        self.schedule.processors.iter_mut().for_each(|p| p.cpu.pause_by(flag.clone()));
        self.shared.pause = flag.clone();
    }

    /// Runs for `instructions` of machine time, or to an end. How a run is sliced into calls of this
    /// leaves no trace.
    pub fn run(&mut self, instructions: u64) -> MachineStop {
        let end = self.now().plus(instructions);
        self.schedule.run(&mut self.shared, end.0)
    }

    /// Hands over an input that the machine takes when its time reaches `at`, or at the next instant if
    /// it has reached `at` already: that it is given in the middle of the present instant cannot be told
    /// later. Returns the stamp, by which the input can be given again in another run.
    pub fn input(&mut self, at: Icount, input: Input) -> Icount {
        let at = at.max(self.now().plus(1));
        self.shared.inputs.push(at, input);
        at
    }

    /// Takes the lines that were written down. While there are more than a MiB of them, runs end at once.
    pub fn take_trace(&mut self) -> String {
        self.schedule.take_trace()
    }

    /// Has events that processors take, and VM exits, written down from now on for [`Machine::take_trace`], or no more.
    pub fn write_events_down(&mut self, on: bool) {
        (self.config.trace.int, self.config.trace.vmexit) = (on, on);
        let trace = self.config.trace;
        self.schedule.processors.iter_mut().for_each(|p| p.cpu.set_trace(trace));
    }

    /// Has VM entries and exits written down for [`Machine::take_transitions`] from now on.
    pub fn write_transitions_down(&mut self) {
        self.config.trace.transitions = true;
        let trace = self.config.trace;
        self.schedule.processors.iter_mut().for_each(|p| p.cpu.set_trace(trace));
    }

    /// Takes the VM entries and exits that were written down, with the processor of each, which are in order for each
    /// processor. While there are many of them, runs end at once.
    pub fn take_transitions(&mut self) -> Vec<(usize, Transition)> {
        self.schedule.take_transitions()
    }

    /// How many bytes of input the guest has left serial port `port` (0: COM1) to hold.
    pub fn serial_waiting(&self, port: usize) -> usize {
        self.shared.chipset.board.serial_waiting(port)
    }

    /// Takes what serial port `port` (0: COM1) has sent; see [`crate::output::Output::MOST`].
    pub fn serial_output(&mut self, port: usize) -> Vec<u8> {
        self.shared.chipset.board.take_serial_output(port)
    }

    /// Takes what was written to the debug port E9h; see [`crate::output::Output::MOST`].
    pub fn debug_output(&mut self) -> Vec<u8> {
        self.shared.chipset.board.take_debug_output()
    }

    /// The processors, to look at.
    pub fn processors(&self) -> impl Iterator<Item = &Cpu> {
        self.schedule.processors.iter().map(|p| &*p.cpu)
    }

    /// Where the first processor goes on, and at most `count` bytes of code from there on in its page; none where
    /// it is not mapped.
    pub fn ahead(&mut self, count: usize) -> (HostPhys, Vec<u8>) {
        self.schedule.processors[0].cpu.ahead(&mut self.shared.mmu, count)
    }

    /// The board, to look at.
    pub fn board(&self) -> &Board {
        &self.shared.chipset.board
    }

    /// Counters of memory translation.
    pub fn mmu_stats(&self) -> mmu::Stats {
        self.shared.mmu.stats()
    }

    /// Counters of decoded code.
    pub fn code_stats(&self) -> cpu::block::CodeStats {
        self.shared.code.stats
    }

    /// The hash of the whole state: processors, board, memory. Inputs to come are not part of it, nor
    /// output, nor how the run was sliced.
    pub fn state_hash(&mut self) -> [u8; 32] {
        let now = self.now();
        let Shared { mmu, chipset, .. } = &mut self.shared;
        let mut hash = StateHash::default();
        self.schedule.processors.iter().for_each(|p| hash.processor(p));
        hash.cut(self.schedule.cut);
        hash.quantum(self.schedule.quantum);
        // Devices that nothing has looked at lately follow first: how a run was sliced is no state.
        let mut board = chipset.board.clone();
        board.advance(now);
        hash.board(&board, chipset.messages());
        hash.memory(self.pages.held(mmu));
        hash.finish()
    }
}

/// Looks whether there is such a processor.
///
/// # Errors
/// A sentence for the user.
pub fn check_cpu(model: &str) -> Result<(), String> {
    Model::parse(model).map(drop)
}

/// What `-cpu help` prints: models and features.
pub fn cpu_help() -> String {
    Model::help()
}
