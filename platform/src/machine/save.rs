//! A machine as data: everything that its future depends on, but for the pages of memory.

use super::Machine;
use super::bus::Chipset;
use super::config::{Config, Error};
use super::input::InputQueue;
use super::pages::{PageHash, Pages};
use super::schedule::{Lead, Processor, QUANTUM, Schedule, Shared};
use super::spin::Look;
use crate::board::Board;
use crate::memory_map::MemoryMap;
use crate::time::Icount;
use cpu::Cpu;
use cpu::bus::Message;
use cpu::model::Model;
use cpu::state::State;
use mmu::{Limits, Mmu, Ram};
use serde::{Deserialize, Serialize};
use std::sync::Arc;

/// A machine between two runs, but for the pages of its memory.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Saved {
    config: Config,
    processors: Vec<SavedProcessor>,
    cut: Option<Lead>,
    quantum: u64,
    board: Board,
    messages: Vec<Message>,
    inputs: InputQueue,
}

/// A processor of a [`Saved`] machine.
#[derive(Clone, Debug, Serialize, Deserialize)]
struct SavedProcessor {
    state: State,
    at: u64,
    idle: bool,
    still: u64,
    look: Option<Look>,
    /// Instructions retired, for the user; other counters start anew.
    retired: u64,
}

impl Saved {
    /// The same with every device brought to now: two machines of one state are equal in this form.
    #[must_use]
    pub fn canonical(mut self) -> Saved {
        let now = self.now();
        self.board.advance(now);
        self
    }

    /// What the machine is made of.
    #[must_use]
    pub fn config(&self) -> &Config {
        &self.config
    }

    /// Bytes of memory.
    #[must_use]
    pub fn memory(&self) -> u64 {
        let MemoryMap { low, high } = MemoryMap::new(self.config.ram);
        low + high
    }

    /// The machine's time.
    #[must_use]
    pub fn now(&self) -> Icount {
        Icount(self.processors.iter().map(|p| p.at).min().unwrap_or(0))
    }

    /// Instructions that all processors have retired.
    #[must_use]
    pub fn retired(&self) -> u64 {
        self.processors.iter().map(|p| p.retired).sum()
    }

    /// Whether it is a machine that could have been saved: rows and numbers agree with the configuration.
    fn check(&self) -> Result<(), Error> {
        let Saved { config, processors, cut, quantum, board, messages: _, inputs: _ } = self;
        let model = super::model_of(config)?;
        let known = processors.len() == config.vcpus as usize
            && processors.iter().all(|p| p.state.model == model)
            && (1..=QUANTUM).contains(quantum)
            && cut.is_none_or(|lead| lead.who < processors.len())
            && board.is_wired_as(&config.board(&MemoryMap::new(config.ram)));
        known.then_some(()).ok_or(Error::Saved)
    }
}

impl Machine {
    /// The machine as it is, between two runs. Goes with the pages of [`Machine::held_pages`].
    #[must_use]
    pub fn save(&self) -> Saved {
        let Machine { config, map: _, shared, schedule, pages: _ } = self;
        let Shared { mmu: _, code: _, chipset, inputs, pause: _ } = shared;
        let Schedule { processors, cut, quantum, trace: _, transitions: _, debugging: _ } =
            schedule;
        let processors = processors.iter().map(|p| {
            let Processor { cpu, at, idle, still, look } = p;
            let (state, retired) = (cpu.save(), cpu.stats.retired);
            SavedProcessor {
                state,
                at: *at,
                idle: *idle,
                still: *still,
                look: look.clone(),
                retired,
            }
        });
        Saved {
            config: config.clone(),
            processors: processors.collect(),
            cut: *cut,
            quantum: *quantum,
            board: chipset.board.clone(),
            messages: chipset.messages().to_vec(),
            inputs: inputs.clone(),
        }
    }

    /// The machine that was saved, whose memory is `ram`: zero but for the pages `held`, which have these hashes. `host`
    /// says what is written down, and how code is kept.
    ///
    /// # Errors
    /// It is no machine that could have been saved, or not of this size.
    pub fn restore(
        saved: Saved,
        ram: Ram,
        held: &[(usize, PageHash)],
        host: &Config,
    ) -> Result<Machine, Error> {
        saved.check()?;
        let Saved { config, processors, cut, quantum, board, messages, inputs } = saved;
        let config = Config { trace: host.trace, code: host.code, ..config };
        let map = MemoryMap::new(config.ram);
        let outside = held.iter().any(|(n, _)| *n >= ram.pages());
        if ram.size() != map.low + map.high || outside {
            return Err(Error::Saved);
        }
        let model: Model = super::model_of(&config)?;
        let processors = processors.into_iter().zip(0..).map(|(saved, id)| {
            let SavedProcessor { state, at, idle, still, look, retired } = saved;
            let mut cpu = Cpu::power_up(model.clone(), id);
            cpu.restore(state);
            cpu.count_from(at, retired);
            cpu.set_trace(config.trace);
            Processor { cpu, at, idle, still, look }
        });
        let schedule = Schedule { cut, quantum, ..Schedule::of(processors.collect()) };
        let pages = Pages::holding(ram.pages(), held);
        let chipset = Chipset::restored(board, messages);
        let mmu = Mmu::new(ram, Limits::default());
        let shared =
            Shared { mmu, code: config.code.cache(), chipset, inputs, pause: Arc::default() };
        Ok(Machine { config, map, shared, schedule, pages })
    }

    /// Goes back, or forth, to another state of this machine, `saved` after so many `steps` since the last
    /// instruction, in which these pages of memory are not as now.
    pub(super) fn put_back<'a>(
        &mut self,
        saved: Saved,
        steps: u32,
        pages: impl Iterator<Item = (usize, &'a [u8; 4096])>,
    ) {
        let Saved { config: _, processors, cut, quantum, board, messages, inputs } = saved;
        for (n, page) in pages {
            if let Some(at) = self.shared.mmu.replace_page(n, page) {
                self.drop_code(at, page.len());
            }
        }
        self.shared.mmu.flush_all();
        drop(self.take_unmarked());
        for (p, saved) in self.schedule.processors.iter_mut().zip(processors) {
            let SavedProcessor { state, at, idle, still, look, retired } = saved;
            p.cpu.restore(state);
            p.cpu.count_from(at, retired);
            (p.at, p.idle, p.still, p.look) = (at, idle, still, look);
        }
        (self.schedule.cut, self.schedule.quantum) = (cut, quantum);
        self.schedule.forget_debugging(steps);
        self.shared.chipset = Chipset::restored(board, messages);
        self.shared.inputs = inputs;
    }

    /// The pages of memory that may have changed since the last call of this or of [`Machine::all_pages`].
    pub(super) fn take_unmarked(&mut self) -> Vec<usize> {
        self.pages.take_unmarked(&mut self.shared.mmu)
    }

    /// The same pages, which stay those of the next call.
    pub(super) fn unmarked(&mut self) -> Vec<usize> {
        self.pages.unmarked(&mut self.shared.mmu)
    }

    /// The pages of memory that may hold anything but zeros.
    pub(super) fn all_pages(&mut self) -> Vec<usize> {
        self.pages.take_all(&mut self.shared.mmu)
    }

    /// The pages of memory that are not all zero: their numbers, for [`Machine::page`], and hashes.
    pub fn held_pages(&mut self) -> Vec<(usize, PageHash)> {
        self.pages.held(&mut self.shared.mmu).collect()
    }

    /// The pages that have changed since the last call, or since the machine was made or restored.
    pub fn changed_pages(&mut self) -> Vec<(usize, PageHash)> {
        self.pages.take_changed(&mut self.shared.mmu)
    }

    /// How many pages of memory there are.
    #[must_use]
    pub fn page_count(&self) -> usize {
        self.shared.mmu.ram.pages()
    }

    /// Page `n` of memory: RAM in ascending order, without a gap; in the place of the VGA window system-management
    /// RAM.
    ///
    /// # Panics
    /// If there is no such page.
    #[must_use]
    pub fn page(&self, n: usize) -> &[u8; 4096] {
        self.shared.mmu.ram.page(n)
    }
}
