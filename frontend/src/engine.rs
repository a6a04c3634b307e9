//! The machine, as this crate drives it: the one file that knows `platform::machine`.

use crate::args::Limits;
use crate::console::Consoles;
use crate::drive::{self, Ending, Engine, Stop};
use crate::launch::Launch;
use crate::status::{Failure, Status};
use crate::summary::{Level, Summary};
use platform::boot::BootModule;
use platform::machine::{Boot, Config, Machine, MachineStop};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Instant;

/// Starts the machine, runs it to its end and prints the summary.
pub(crate) fn run(launch: &Launch, limits: &Limits) -> Result<Status, Failure> {
    if let Some(item) = launch.trace.items.first() {
        let place = launch.trace.file.as_ref().map(|f| f.display().to_string());
        let place = place.unwrap_or_else(|| "stderr".into());
        let why = format!("{item} to {place}: tracing is not there yet; accepted is no -d");
        return Err(Failure::usage("-d", why));
    }
    let mut running = Running::start(launch)?;
    let mut consoles = Consoles::open(&launch.serials)?;
    let interrupted = on_ctrl_c()?;
    let ending = Ending { limits, no_reboot: launch.no_reboot, interrupted: &interrupted };
    let status = drive::drive(&mut running, &mut consoles, &ending)?;
    if let Some(report) = &running.report {
        eprintln!("strata: {report}");
    }
    eprint!("{}", running.summary().text(status));
    Ok(status)
}

/// A flag that Ctrl-C sets.
fn on_ctrl_c() -> Result<Arc<AtomicBool>, Failure> {
    let flag = Arc::new(AtomicBool::new(false));
    let set = Arc::clone(&flag);
    ctrlc::set_handler(move || set.store(true, Ordering::Relaxed)).map_err(Failure::emulator)?;
    Ok(flag)
}

/// A machine with what it was started from, to start it again after a reset.
struct Running<'a> {
    launch: &'a Launch,
    machine: Machine,
    /// Instructions retired before the last reset.
    before: u64,
    /// The host's time spent in the machine.
    seconds: f64,
    /// What a triple fault was about.
    report: Option<String>,
}

impl<'a> Running<'a> {
    fn start(launch: &'a Launch) -> Result<Self, Failure> {
        Ok(Self { launch, machine: boot(launch)?, before: 0, seconds: 0.0, report: None })
    }

    fn summary(&self) -> Summary {
        let machine = &self.machine;
        let name = if self.launch.domains.is_empty() { "machine" } else { "host" };
        let level =
            Level { name: name.into(), instructions: self.retired(), seconds: self.seconds };
        let unclaimed = machine.board().unclaimed().iter().map(|u| {
            let way = if u.write { "write" } else { "read" };
            format!("{:?} {:#x} {way}", u.space, u.address).to_lowercase()
        });
        Summary {
            levels: vec![level],
            exits: Vec::new(),
            translations: self.translations(),
            unimplemented: self.unimplemented(),
            unclaimed: unclaimed.collect(),
            state: machine.state_hash(),
        }
    }

    fn translations(&self) -> Vec<(String, u64)> {
        let (memory, code) = (self.machine.mmu_stats(), self.machine.code_stats());
        [
            ("walks of paging structures", memory.walks),
            ("walks of EPT structures", memory.ept_walks),
            ("TLB entries made", memory.fills),
            ("shadow pages at the end", memory.shadow_live),
            ("shadow pages at most", memory.shadow_peak),
            ("shadow pages evicted", memory.shadow_evicted),
            ("shadow entries dropped by stores", memory.dropped),
            ("blocks decoded", code.blocks),
            ("blocks dropped by stores", code.dropped),
        ]
        .map(|(name, count)| (name.to_owned(), count))
        .to_vec()
    }

    fn unimplemented(&self) -> Vec<(String, u64)> {
        let mut sums = std::collections::BTreeMap::new();
        for processor in self.machine.processors() {
            for (name, count) in &processor.stats.unimplemented {
                *sums.entry(name.clone()).or_default() += count;
            }
        }
        sums.into_iter().collect()
    }
}

/// A machine with its kernel loaded.
fn boot(launch: &Launch) -> Result<Machine, Failure> {
    let config = Config {
        ram: launch.memory,
        vcpus: launch.vcpus,
        cpu_model: launch.cpu.clone(),
        debug_exit: launch.debug_exit.map(|device| (device.base, device.size)),
    };
    let mut machine = Machine::new(&config).map_err(Failure::input)?;
    let modules: Vec<BootModule<'_>> =
        launch.modules.iter().map(|m| BootModule { file: m.file(), cmdline: &m.words }).collect();
    let kernel = &launch.kernel;
    let boot = Boot { kernel: kernel.file(), modules: &modules, cmdline: &kernel.words };
    machine.boot(&boot).map_err(Failure::input)?;
    Ok(machine)
}

impl Engine for Running<'_> {
    fn run(&mut self, instructions: u64) -> Stop {
        let started = Instant::now();
        let each = (instructions / u64::from(self.launch.vcpus)).max(1);
        let stop = self.machine.run(each);
        self.seconds += started.elapsed().as_secs_f64();
        match stop {
            MachineStop::Budget => Stop::Budget,
            MachineStop::PowerOff => Stop::End(Status::Success),
            MachineStop::Reset => Stop::Reset,
            MachineStop::DebugExit(status) => Stop::End(Status::DebugExit(status >> 1)),
            MachineStop::Idle => Stop::Idle,
            MachineStop::TripleFault(report) => {
                self.report = Some(report);
                Stop::End(Status::TripleFault)
            }
        }
    }

    fn restart(&mut self) -> Result<(), Failure> {
        self.before = self.retired();
        self.machine = boot(self.launch)?;
        Ok(())
    }

    fn retired(&self) -> u64 {
        self.before + self.machine.retired()
    }

    fn sent(&mut self, port: usize) -> Vec<u8> {
        self.machine.serial_output(port)
    }

    fn receive(&mut self, port: usize, bytes: &[u8]) {
        self.machine.serial_input(port, bytes);
    }
}
