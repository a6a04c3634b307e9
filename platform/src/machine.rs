//! The machine: processors, memory and board joined, and time.
//!
//! One host thread runs all processors. Each has its own count of retired instructions; the one that is
//! furthest behind runs next, at most [`QUANTUM`] ahead of the others, and never past the board's next
//! deadline by more than that. An inter-processor message or HLT ends its turn. The machine's time is
//! that of the processor furthest behind.

use crate::board::{Board, BoardConfig};
use crate::boot::{self, BootError, BootFile, BootModule, BootRequest, GuestMemory, MemoryError};
use crate::devices::{self, ioapic::InterruptMessage};
use crate::memory_map::{EBDA_BASE, MemoryMap};
use crate::time::Icount;
use cpu::apic::Apic;
use cpu::bus::{Bus, Destination, Message};
use cpu::model::Model;
use cpu::smm::Smram;
use cpu::state::{Segment, TableRegister, seg};
pub use cpu::trace::Items as TraceItems;
use cpu::vmx::stats::Level;
use cpu::{CodeCache, Cpu, Stop};
use mmu::{HostPhys, Limits, Mmu, Ram};
use serde::Serialize;

/// How far a processor runs ahead of the others.
pub const QUANTUM: u64 = 20_000;

/// How decoded code is cut and kept: a matter of speed only, no guest can tell.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CodeOptions {
    /// Longest block in instructions, 1 to [`CodeOptions::MAX_BLOCK`].
    pub block: usize,
    /// Operations that the cache holds, 32 bytes each, from 1.
    pub cache: usize,
    /// Whether one handler may do several instructions.
    pub fuse: bool,
}

impl CodeOptions {
    /// The longest block there is.
    pub const MAX_BLOCK: usize = cpu::decode::MAX_BLOCK;
}

impl Default for CodeOptions {
    fn default() -> CodeOptions {
        CodeOptions { block: CodeOptions::MAX_BLOCK, cache: 2 << 20, fuse: true }
    }
}

/// What a machine is made of.
#[derive(Clone, Debug)]
pub struct Config {
    /// Bytes of memory.
    pub ram: u64,
    /// Processors, 1 to 255.
    pub vcpus: u32,
    /// Name of the CPU model.
    pub cpu_model: String,
    /// `isa-debug-exit`: first port and number of ports.
    pub debug_exit: Option<(u16, u16)>,
    /// `pc-testdev`.
    pub test_device: bool,
    /// What is written down for [`Machine::take_trace`].
    pub trace: TraceItems,
    /// How decoded code is cut and kept.
    pub code: CodeOptions,
}

/// What is booted.
pub struct Boot<'a> {
    /// The kernel.
    pub kernel: BootFile<'a>,
    /// Modules; for Linux its initial ramdisk.
    pub modules: &'a [BootModule<'a>],
    /// The kernel's command line.
    pub cmdline: &'a str,
}

/// Why a machine cannot be made or booted.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// Memory.
    #[error("memory: {0}")]
    Ram(#[from] mmu::RamError),
    /// The number of processors.
    #[error("{0} processors; accepted are 1 to 255")]
    Vcpus(u32),
    /// The CPU model.
    #[error("{0}")]
    CpuModel(String),
    /// The image.
    #[error(transparent)]
    Boot(#[from] BootError),
    /// The tables do not fit.
    #[error(transparent)]
    Memory(#[from] MemoryError),
}

/// Why [`Machine::run`] returned.
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
    /// A processor shut down; what it was doing.
    TripleFault(String),
    /// Nothing can ever happen without input.
    Idle,
}

struct Chipset {
    board: Board,
    /// IPIs of the running processor.
    messages: Vec<Message>,
    /// What the processor that runs knows of the board.
    known: Seen,
    /// There is one processor, whose turn no access need end.
    alone: bool,
}

/// What a processor knows of the board while it runs: INTR, the next deadline, who sees
/// system-management RAM.
type Seen = (bool, Option<Icount>, Smram);

fn seen(board: &Board) -> Seen {
    (board.intr_output(), board.next_deadline(), smram(board))
}

impl Bus for Chipset {
    fn port_read(&mut self, port: u16, size: u8, now: u64) -> u32 {
        self.board.port_read(port, size, Icount(now))
    }
    fn port_write(&mut self, port: u16, size: u8, value: u32, now: u64) {
        self.board.port_write(port, size, value, Icount(now));
    }
    fn mmio_read(&mut self, addr: HostPhys, size: u8, now: u64) -> u64 {
        self.board.mmio_read(addr.0, size, Icount(now))
    }
    fn mmio_write(&mut self, addr: HostPhys, size: u8, value: u64, now: u64) {
        self.board.mmio_write(addr.0, size, value, Icount(now));
    }
    fn acknowledge(&mut self) -> u8 {
        self.board.acknowledge()
    }
    fn message(&mut self, message: Message) {
        self.messages.push(message);
    }
    fn end_of_interrupt(&mut self, vector: u8) {
        self.board.eoi(vector);
    }
    fn calm(&self) -> bool {
        self.alone
            && seen(&self.board) == self.known
            && self.messages.is_empty()
            && !self.board.has_messages()
            && !self.board.has_smi()
            && outputs(&self.board).is_none()
    }
}

/// How the guest has asked for an end of the run, if it has.
fn outputs(board: &Board) -> Option<MachineStop> {
    if let Some(status) = board.debug_exit() {
        return Some(MachineStop::DebugExit(status));
    }
    if board.power_off() {
        return Some(MachineStop::PowerOff);
    }
    board.reset().then_some(MachineStop::Reset)
}

struct Processor {
    cpu: Box<Cpu>,
    /// Its count of retired instructions, with idle time.
    at: u64,
    idle: bool,
}

/// A machine.
pub struct Machine {
    config: Config,
    map: MemoryMap,
    mmu: Mmu,
    code: CodeCache,
    cpus: Vec<Processor>,
    chipset: Chipset,
    trace: String,
}

struct Loader<'a>(&'a mut Mmu);

impl GuestMemory for Loader<'_> {
    fn write(&mut self, address: u64, bytes: &[u8]) -> Result<(), MemoryError> {
        if self.0.write_slice(HostPhys(address), bytes) {
            return Ok(());
        }
        Err(MemoryError { address, length: bytes.len() as u64 })
    }
}

/// The words of the BIOS data area that say where conventional memory ends, as firmware leaves them:
/// segment of the extended BIOS data area, KiB below it. Kernels look for room under 640 KiB by them.
fn bios_data_area(memory: &mut dyn GuestMemory) -> Result<(), MemoryError> {
    let (segment, kib) = ((EBDA_BASE >> 4) as u16, (EBDA_BASE >> 10) as u16);
    memory.write(0x40e, &segment.to_le_bytes())?;
    memory.write(0x413, &kib.to_le_bytes())
}

impl Machine {
    /// A machine at power-on, with empty memory.
    pub fn new(config: &Config) -> Result<Machine, Error> {
        if config.vcpus == 0 || config.vcpus > 255 {
            return Err(Error::Vcpus(config.vcpus));
        }
        let mut model = Model::parse(&config.cpu_model).map_err(Error::CpuModel)?;
        model.processors = config.vcpus;
        let map = MemoryMap::new(config.ram);
        let mmu = Mmu::new(Ram::new(map.low + map.high)?, Limits::default());
        let processor = |n| {
            let mut cpu = Cpu::new(model.clone());
            cpu.apic = Apic::new(n);
            cpu.trace.items = config.trace;
            Processor { cpu, at: 0, idle: false }
        };
        let mut machine = Machine {
            config: config.clone(),
            map,
            mmu,
            code: code_cache(config.code),
            cpus: (0..config.vcpus).map(processor).collect(),
            chipset: Chipset {
                board: board(config, &map),
                messages: Vec::new(),
                known: (false, None, Smram::default()),
                alone: config.vcpus == 1,
            },
            trace: String::new(),
        };
        for p in &mut machine.cpus[1..] {
            p.cpu.wait_for_sipi();
        }
        Ok(machine)
    }

    /// Loads an image as firmware would, and sets the first processor up to enter it.
    pub fn boot(&mut self, boot: &Boot<'_>) -> Result<(), Error> {
        let rsdp =
            crate::acpi::install(&self.map, self.config.vcpus as u8, &mut Loader(&mut self.mmu))?;
        bios_data_area(&mut Loader(&mut self.mmu))?;
        let request = BootRequest {
            kernel: boot.kernel,
            modules: boot.modules,
            cmdline: boot.cmdline,
            map: self.map,
            rsdp: Some(&rsdp),
        };
        let entry = boot::load(&request, &mut Loader(&mut self.mmu))?;
        enter(&mut self.cpus[0].cpu, &entry);
        Ok(())
    }

    /// The machine's time: retired instructions of the processor furthest behind.
    pub fn now(&self) -> u64 {
        self.cpus.iter().map(|p| p.at).min().unwrap_or(0)
    }

    /// Instructions that all processors have retired.
    pub fn retired(&self) -> u64 {
        self.cpus.iter().map(|p| p.cpu.stats.retired).sum()
    }

    /// Retired instructions by level: VMX root operation (or no VMX), then each guest in the order
    /// in which they first ran.
    pub fn levels(&self) -> Vec<u64> {
        let mut order = vec![Level::Root];
        let mut sums = std::collections::BTreeMap::new();
        for p in &self.cpus {
            for (level, count) in p.cpu.stats.vmx.levels(p.at) {
                if !order.contains(&level) {
                    order.push(level);
                }
                *sums.entry(level).or_insert(0) += count;
            }
        }
        order.iter().map(|level| sums.get(level).copied().unwrap_or(0)).collect()
    }

    /// Runs for `instructions` of machine time, or to an end.
    pub fn run(&mut self, instructions: u64) -> MachineStop {
        let end = self.now().saturating_add(instructions);
        let stop = self.turns(end);
        let now = self.now();
        self.chipset.board.advance(Icount(now));
        stop
    }

    fn turns(&mut self, end: u64) -> MachineStop {
        loop {
            if let Some(stop) = outputs(&self.chipset.board) {
                return stop;
            }
            let now = self.now();
            self.chipset.board.arrive(Icount(now));
            self.route();
            if now >= end {
                return MachineStop::Budget;
            }
            if let Some(stop) = self.turn(end) {
                return stop;
            }
        }
    }

    /// Carries interrupt lines and messages to the processors.
    fn route(&mut self) {
        let Machine { chipset, cpus, .. } = self;
        cpus[0].cpu.sys.intr = chipset.board.intr_output();
        let smram = smram(&chipset.board);
        cpus.iter_mut().for_each(|p| p.cpu.sys.smm.smram = smram);
        let mut messages = std::mem::take(&mut chipset.messages);
        if chipset.board.has_messages() {
            messages.extend(chipset.board.take_messages().iter().map(message));
        }
        for m in messages {
            deliver(cpus, &m);
        }
        for p in cpus.iter_mut().filter(|p| p.idle) {
            p.idle = !p.cpu.wakeable();
        }
    }

    /// The turn of the processor furthest behind.
    fn turn(&mut self, end: u64) -> Option<MachineStop> {
        let deadline = self.chipset.board.next_deadline().map_or(u64::MAX, |t| t.0);
        let who = (0..self.cpus.len()).min_by_key(|&n| self.cpus[n].at)?;
        let others = |p: &[Processor]| {
            (0..p.len()).filter(|&n| n != who).map(|n| p[n].at).min().unwrap_or(u64::MAX)
        };
        let horizon = others(&self.cpus).saturating_add(QUANTUM).min(end).min(deadline);
        let at = self.cpus[who].at;
        let horizon = horizon.max(at + 1);
        if self.cpus[who].idle {
            return self.skip(who, horizon, deadline, end);
        }
        let Machine { mmu, code, cpus, chipset, trace, .. } = self;
        chipset.known = seen(&chipset.board);
        let p = &mut cpus[who];
        let stop = p.cpu.run(mmu, code, chipset, at, horizon);
        p.at = p.cpu.now();
        // DEPARTURE: SMI# reaches the processor that has asked for it, not all.
        p.cpu.sys.smm.pending |= chipset.board.take_smi();
        if !p.cpu.trace.text.is_empty() {
            trace.push_str(&p.cpu.trace.text);
            p.cpu.trace.text.clear();
        }
        p.cpu.stats.retired += p.at - at;
        match stop {
            Stop::Budget | Stop::Io => None,
            Stop::Idle => {
                p.idle = true;
                None
            }
            Stop::TripleFault => Some(MachineStop::TripleFault(shutdown(&p.cpu, mmu))),
        }
    }

    /// Lets an idle processor's time pass.
    fn skip(&mut self, who: usize, horizon: u64, deadline: u64, end: u64) -> Option<MachineStop> {
        let wakes = self.cpus.iter().filter(|p| p.idle).map(|p| p.cpu.wakes_at()).min();
        let all_idle = self.cpus.iter().all(|p| p.idle);
        let next = deadline.min(wakes.unwrap_or(u64::MAX));
        if all_idle && next == u64::MAX {
            return Some(MachineStop::Idle);
        }
        let to = if all_idle { next.min(end) } else { horizon.min(next) };
        let p = &mut self.cpus[who];
        let from = p.at;
        p.at = p.at.max(to).max(p.at + !all_idle as u64);
        p.cpu.stats.vmx.idle(p.at - from);
        p.idle = p.cpu.wakes_at() > p.at;
        None
    }

    /// Takes the lines that were written down.
    pub fn take_trace(&mut self) -> String {
        std::mem::take(&mut self.trace)
    }

    /// Takes what serial port `port` (0: COM1) has sent.
    pub fn serial_output(&mut self, port: usize) -> Vec<u8> {
        self.chipset.board.take_serial_output(port)
    }

    /// Takes what was written to the debug port E9h.
    pub fn debug_output(&mut self) -> Vec<u8> {
        self.chipset.board.take_debug_output()
    }

    /// Gives bytes to serial port `port`.
    pub fn serial_input(&mut self, port: usize, bytes: &[u8]) {
        let now = Icount(self.now());
        self.chipset.board.push_serial_input(port, bytes, now);
    }

    /// The processors, to look at.
    pub fn processors(&self) -> impl Iterator<Item = &Cpu> {
        self.cpus.iter().map(|p| &*p.cpu)
    }

    /// Where the first processor goes on, and at most `count` bytes of code from there on in its page; none where
    /// it is not mapped.
    pub fn ahead(&mut self, count: usize) -> (HostPhys, Vec<u8>) {
        self.cpus[0].cpu.ahead(&mut self.mmu, count)
    }

    /// The board, to look at.
    pub fn board(&self) -> &Board {
        &self.chipset.board
    }

    /// Counters of memory translation.
    pub fn mmu_stats(&self) -> mmu::Stats {
        self.mmu.stats()
    }

    /// Counters of decoded code.
    pub fn code_stats(&self) -> cpu::block::CodeStats {
        self.code.stats
    }

    /// The hash of the whole state: processors, board, memory.
    pub fn state_hash(&self) -> [u8; 32] {
        let mut hasher = blake3::Hasher::new();
        for p in &self.cpus {
            feed(&mut hasher, &p.cpu.save());
            feed(&mut hasher, &(p.at, p.idle));
        }
        // Devices that nothing has looked at lately follow first: how a run was sliced is no state.
        let mut board = self.chipset.board.clone();
        board.advance(Icount(self.now()));
        feed(&mut hasher, &board);
        feed(&mut hasher, &self.chipset.messages);
        let mut page = [0; 4096];
        for frame in (0..self.map.low).chain(1 << 32..(1 << 32) + self.map.high).step_by(4096) {
            if self.mmu.read_slice(HostPhys(frame), &mut page) && page != [0; 4096] {
                hasher.update(&frame.to_le_bytes());
                hasher.update(&page);
            }
        }
        for n in 0..32 {
            let page = self.mmu.ram.smram_page(n);
            if page != [0; 4096] {
                hasher.update(&[n as u8]);
                hasher.update(&page);
            }
        }
        hasher.finalize().into()
    }
}

fn feed(hasher: &mut blake3::Hasher, value: &impl Serialize) {
    let buffer = postcard::to_extend(value, Vec::new()).expect("state is plain data");
    hasher.update(&(buffer.len() as u64).to_le_bytes());
    hasher.update(&buffer);
}

/// What `-cpu help` prints: models and features.
pub fn cpu_help() -> String {
    Model::help()
}

fn code_cache(options: CodeOptions) -> CodeCache {
    let mut code = CodeCache::new(options.cache);
    code.max_block = options.block.clamp(1, CodeOptions::MAX_BLOCK);
    code.fuse = options.fuse;
    code
}

fn board(config: &Config, map: &MemoryMap) -> Board {
    Board::new(&BoardConfig {
        low_memory: map.low,
        high_memory: map.high,
        processors: config.vcpus as u8,
        debug_exit: config.debug_exit,
        test_device: config.test_device,
        ..BoardConfig::default()
    })
}

fn smram(board: &Board) -> Smram {
    let devices::pci::Smram { enabled, open, closed } = board.smram();
    Smram { enabled, open, closed }
}

fn message(m: &InterruptMessage) -> Message {
    let destination = if m.logical {
        Destination::Logical(m.destination)
    } else {
        Destination::Physical(m.destination)
    };
    Message {
        destination,
        delivery: m.delivery,
        vector: m.vector,
        level: m.level,
        source: u32::MAX,
    }
}

/// Gives a message to whom it is for; lowest priority: to the first of them.
fn deliver(cpus: &mut [Processor], m: &Message) {
    let mut all = cpus.iter_mut().filter(|p| p.cpu.apic.matches(m));
    if m.delivery == 1 {
        if let Some(p) = all.find(|p| p.cpu.apic.enabled()) {
            p.cpu.receive(m);
        }
        return;
    }
    all.for_each(|p| p.cpu.receive(m));
}

/// Sets `cpu` to the state in which a loaded kernel is entered.
fn enter(cpu: &mut Cpu, e: &boot::Entry) {
    let segment = |s: &boot::Segment| Segment {
        selector: s.selector,
        ar: s.access,
        limit: s.limit,
        base: s.base,
    };
    let table = |t: &boot::Table| TableRegister { base: t.base, limit: t.limit };
    cpu.sys.cr0 = e.cr0;
    cpu.sys.cr3 = e.cr3;
    cpu.sys.cr4 = e.cr4;
    cpu.sys.efer = e.efer;
    cpu.sys.gdtr = table(&e.gdtr);
    cpu.sys.idtr = table(&e.idtr);
    cpu.sys.tr = segment(&e.tr);
    cpu.sys.ldtr = segment(&e.ldtr);
    for (n, s) in [
        (seg::ES, &e.es),
        (seg::SS, &e.ss),
        (seg::DS, &e.ds),
        (seg::FS, &e.fs),
        (seg::GS, &e.gs),
        (seg::CS, &e.cs),
    ] {
        cpu.set_segment(n, segment(s));
    }
    cpu.regs[..8].copy_from_slice(&[e.rax, e.rcx, e.rdx, e.rbx, e.rsp, e.rbp, e.rsi, e.rdi]);
    cpu.set_rflags(e.rflags);
    cpu.rip = e.rip;
}

/// What a processor that shut down was doing: where it is, the last events that it met (the last of
/// them led here), and the code at RIP.
fn shutdown(cpu: &Cpu, mmu: &mut Mmu) -> String {
    let s = &cpu.sys;
    let what = cpu
        .stats
        .rsm_refused
        .map_or("triple fault".into(), |says| format!("RSM of a state that breaks \"{says}\""));
    let mut lines = vec![format!(
        "{what} at {:#x}:{:#x}, cr0 {:#x} cr2 {:#x} cr3 {:#x} cr4 {:#x} efer {:#x}",
        s.seg[seg::CS].selector,
        cpu.rip,
        s.cr0,
        s.cr2,
        s.cr3,
        s.cr4,
        s.efer
    )];
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
