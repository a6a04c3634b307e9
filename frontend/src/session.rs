//! A session: one machine from its start to its end, with resets, counts and the summary. The one file
//! that drives `platform::machine`.

use crate::console::{Consoles, Key};
use crate::counts::{self, Counts};
use crate::debug::live::{self, Debuggable};
use crate::events::{Chosen, Events};
use crate::input::{self, Log, Script};
use crate::keep::Keep;
use crate::launch::Launch;
use crate::limits::Limits;
use crate::memory;
use crate::monitor::{self, Attended, Monitors};
use crate::output;
use crate::pace::Pace;
use crate::qemu;
use crate::report::Report;
use crate::runner::{self, Ending, Run, Runnable, Stop};
use crate::snapshot::{self, Chain};
use crate::status::{Failure, Status};
use crate::stop::Stop as Asked;
use crate::summary::Summary;
use crate::trace::Tracing;
use platform::boot::BootModule;
use platform::machine::{Boot, Config, Error, Icount, Input, Machine, MachineStop, exit_reason};
use std::collections::BTreeMap;
use std::path::Path;
use std::sync::atomic::Ordering;

/// Starts the machine, runs it to its end and prints the summary.
pub(crate) fn run(launch: &Launch, limits: &Limits, keep: Keep) -> Result<Status, Failure> {
    check_memory(launch)?;
    let asked = Asked::default();
    finish(Session::new(launch, boot(launch, &asked)?, keep, &asked)?, limits)
}

/// Goes on with a machine that was restored, for which `launch` boots nothing.
pub(crate) fn go_on(
    mut machine: Machine,
    launch: &Launch,
    limits: &Limits,
) -> Result<Status, Failure> {
    let asked = Asked::default();
    machine.pause_by(asked.flag());
    let keep = Keep::new(&launch.keep, None);
    let mut session = Session::new(launch, machine, keep, &asked)?;
    session.script.pass(session.machine.now().0);
    finish(session, limits)
}

/// Runs a session to its end and prints the summary.
fn finish(mut session: Session<'_>, limits: &Limits) -> Result<Status, Failure> {
    let (launch, asked) = (session.launch, session.asked);
    let report = limits.report.as_deref().map(Report::create).transpose()?;
    let gdb = live::listen(&launch.gdb)?;
    let _pid_file = launch.process.begin()?;
    let mut consoles = Consoles::open(&launch.serials, asked)?;
    let mut pace = Pace::new(launch.pacing, consoles.person());
    session.events = limits.events.as_ref().map(|chosen| session.events(chosen)).transpose()?;
    session.monitors = Monitors::new(&mut consoles, launch.stopped && gdb.is_none());
    asked.on_signals()?;
    if let Some(seconds) = limits.limit_seconds {
        asked.after(seconds)?;
    }
    launch.process.ready()?;
    let Launch { no_reboot, no_shutdown: stays, as_qemu: halts, .. } = *launch;
    let ending = Ending { limits, no_reboot, stays, halts, asked };
    let (machine, ports) = (&mut session, &mut consoles);
    let run = Run { machine, consoles: ports, pace: &mut pace, ending: &ending };
    let ended = match &gdb {
        Some(gdb) => live::run(run, gdb, launch.stopped),
        None => run.run_to_end(),
    };
    let ended = ended.and_then(|status| session.end(status, &mut consoles).map(|()| status));
    let (sent, traced) = (consoles.finish(asked), session.finish());
    drop(consoles);
    let (mut status, message) = match ended.and_then(|status| sent.and(traced).map(|()| status)) {
        Ok(status) => (status, session.report.take()),
        Err(failure) => (failure.status, Some(failure.text)),
    };
    let name = if launch.as_qemu { qemu::NAME } else { "strata" };
    let say = |text: &str| output::say(&format!("{name}: {text}\n"));
    message.iter().for_each(|text| say(text));
    let summary = (report.is_some() || !launch.as_qemu).then(|| session.summary());
    if let Some((report, summary)) = report.zip(summary.as_ref())
        && let Err(failure) = report.write(summary, status, message.as_deref())
    {
        say(&failure.text);
        status = failure.status;
    }
    match summary.filter(|_| !launch.as_qemu) {
        None => output::say(&qemu::last_words(status).unwrap_or_default()),
        Some(summary) => output::say(&summary.text(status)),
    }
    Ok(status)
}

/// A machine with what it was started from, to start it again after a reset.
struct Session<'a> {
    launch: &'a Launch,
    machine: Machine,
    /// Instructions retired before the last reset.
    before: u64,
    /// What the clock showed then.
    reset_at: u64,
    /// What is still to be typed.
    script: Script,
    /// Where what was typed is written down.
    log: Option<Log>,
    counts: Counts,
    monitors: Monitors,
    /// Where VM entries and exits go.
    events: Option<Events>,
    /// What a triple fault was about.
    report: Option<String>,
    /// Where the trace goes.
    trace: Tracing,
    keep: Keep,
    /// The guest has ended the last slice, not the host.
    ended: bool,
    /// The last slice has ended in the middle of a turn.
    paused: bool,
    /// What could not be kept.
    failure: Option<Failure>,
    asked: &'a Asked,
}

impl<'a> Session<'a> {
    fn new(
        launch: &'a Launch,
        mut machine: Machine,
        mut keep: Keep,
        asked: &'a Asked,
    ) -> Result<Self, Failure> {
        let trace = Tracing::open(&launch.trace, !launch.domains.is_empty())?;
        let script = launch.input.as_deref().map(Script::read).transpose()?.unwrap_or_default();
        let log = launch.input_log.as_deref().map(Log::create).transpose()?;
        keep.begin(&mut machine)?;
        Ok(Self {
            launch,
            machine,
            before: 0,
            reset_at: 0,
            script,
            log,
            counts: Counts::new(&launch.domains),
            events: None,
            monitors: Monitors::default(),
            report: None,
            trace,
            keep,
            ended: false,
            paused: false,
            failure: None,
            asked,
        })
    }

    /// Gives the machine an input, and writes it down.
    fn give(&mut self, at: u64, input: Input) {
        let at = self.machine.input(Icount(at), input.clone());
        let kept = self.keep.input(at, input.clone());
        self.note(kept);
        self.write_down(at.0, &input::Event::Input(input));
    }

    fn write_down(&mut self, at: u64, event: &input::Event) {
        let written = self.log.as_mut().map(|log| log.write(self.reset_at + at, event));
        if let Some(Err(failure)) = written {
            self.log = None;
            self.report = Some(failure.text);
            self.asked.ask(failure.status);
        }
    }

    /// For how long to run until there is something to type, at most for `each`. `None`: the run is to end.
    fn until_typing(&mut self, mut each: u64) -> Option<u64> {
        // Slices end where those of every other run do: there it is looked what the guest has printed.
        let now = self.machine.now().0;
        let slice = slice(self.launch);
        each = each.min(slice - now % slice);
        while let Some(at) = self.script.next() {
            let left = at.saturating_sub(self.reset_at + now);
            match (self.script.ends_next(), left) {
                (true, 0) => return None,
                (false, 0 | 1) => self.type_next(),
                (true, left) => return Some(each.min(left)),
                (false, left) => return Some(each.min(left - 1)),
            }
        }
        Some(each)
    }

    /// Gives the machine the next counted entry.
    fn type_next(&mut self) {
        let at = self.script.next().unwrap_or(0).saturating_sub(self.reset_at);
        if let Some(input::Event::Input(input)) = self.script.take() {
            self.give(at, input);
        }
    }

    /// The run is to end with `status`. What is kept of it ends at a time of the machine's own, to which a run that
    /// somebody has asked to end goes on first.
    fn end(&mut self, status: Status, consoles: &mut Consoles) -> Result<(), Failure> {
        self.happened(monitor::Event::Shutdown(status), consoles);
        if let Some(failure) = self.failure.take() {
            return Err(failure);
        }
        if status == Status::Halted {
            self.report = Some(self.halts());
        }
        if self.log.is_some() || self.keep.wants_time() {
            self.go_on_to_a_time();
            for port in 0..runner::PORTS {
                consoles.write(port, self.sent(port), self.asked)?;
            }
            consoles.write_debug(self.sent_debug(), self.asked)?;
        }
        if self.asked.asked().is_some() {
            self.write_down(self.machine.now().0, &input::Event::End);
        }
        self.keep.end(&mut self.machine, status, self.ended)
    }

    /// Another machine takes the place of this one.
    fn take_place(&mut self, machine: Machine) {
        self.counts.restart(&self.machine);
        self.machine = machine;
        self.paused = false;
        self.machine.pause_by(self.asked.flag());
        if let Some(events) = &mut self.events {
            self.machine.write_transitions_down();
            events.restart();
        }
    }

    /// Where the processors halt.
    fn halts(&self) -> String {
        let places = self.machine.processors().enumerate().map(|(n, cpu)| {
            let rip = cpu.save().rip;
            format!("processor {n} at {rip:#x}")
        });
        format!("what halts: {}", places.collect::<Vec<_>>().join(", "))
    }

    /// Goes on with a turn that was cut.
    fn go_on_to_a_time(&mut self) {
        while self.paused {
            // Whoever asks for the end once more while it is under way sets the flag again.
            self.asked.flag().store(false, Ordering::Release);
            let stop = self.machine.run(1);
            self.paused = stop == MachineStop::Paused;
            self.ended = !self.paused && stop != MachineStop::Budget;
            if self.take_trace().is_err() {
                return;
            }
        }
    }

    /// Notes what could not be kept: that ends the run.
    fn note(&mut self, kept: Result<(), Failure>) {
        if let Err(failure) = kept {
            self.failure.get_or_insert(failure);
        }
    }

    /// Waits until trace and events are written.
    fn finish(&mut self) -> Result<(), Failure> {
        let traced = self.trace.finish(self.asked);
        let told = self.events.as_mut().map_or(Ok(()), |events| events.finish(self.asked));
        traced.and(told)
    }

    /// A file for VM entries and exits.
    fn events(&mut self, chosen: &Chosen) -> Result<Events, Failure> {
        self.machine.write_transitions_down();
        Events::create(chosen, !self.launch.domains.is_empty())
    }

    /// Writes down what was traced since the last call.
    fn take_trace(&mut self) -> Result<(), Failure> {
        let (passed, offset, asked) = (self.machine.take_transitions(), self.reset_at, self.asked);
        self.trace.write(&mut self.machine, &passed, offset, &mut self.counts, asked)?;
        match &mut self.events {
            Some(events) => events.write(passed, offset, &mut self.counts, asked),
            None => Ok(()),
        }
    }

    fn summary(&mut self) -> Summary {
        let state = self.machine.state_hash();
        let machine = &self.machine;
        let exits_by_level = self.counts.exits(machine);
        let unclaimed = machine.board().unclaimed().iter().map(|u| {
            let way = if u.write { "write" } else { "read" };
            format!("{:?} {:#x} {way}", u.space, u.address).to_lowercase()
        });
        let accesses = machine.board().accesses();
        let refused = machine.board().refused();
        let refused = refused.map(|(device, why, count)| (format!("{device}: {why}"), count));
        Summary {
            levels: self.counts.levels().to_vec(),
            exits: sums(exits_by_level.iter().map(|((_, reason), n)| (exit_reason(*reason), *n))),
            exits_by_level,
            accesses: accesses.map(|(name, r, w)| (name.to_owned(), r, w)).collect(),
            time: self.reset_at + machine.now().0,
            refused: sums(
                machine.processors().flat_map(|p| &p.stats.vmx.refused).map(|(k, n)| (k, *n)),
            ),
            translations: self.translations(),
            unimplemented: sums(
                machine.processors().flat_map(|p| &p.stats.unimplemented).map(|(k, n)| (k, *n)),
            ),
            refused_msrs: sums(
                machine
                    .processors()
                    .flat_map(|p| &p.stats.unknown_msrs)
                    .map(|(msr, n)| (format!("{msr:#x}"), *n)),
            ),
            unclaimed: unclaimed.collect(),
            refused_accesses: refused.collect(),
            state,
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
}

/// Counts of the same name added up.
fn sums(counts: impl Iterator<Item = (impl ToString, u64)>) -> Vec<(String, u64)> {
    let mut sums = BTreeMap::new();
    for (name, count) in counts {
        *sums.entry(name.to_string()).or_default() += count;
    }
    sums.into_iter().collect()
}

/// Refuses a machine for which the host has not the memory, before it could fail in the middle of the run.
pub(crate) fn check_memory(launch: &Launch) -> Result<(), Failure> {
    let guest = launch.memory;
    let what = if launch.domains.is_empty() { "-m" } else { "--memory, or memory= of the domains" };
    memory::grant(guest).map_err(|why| Failure::usage(format!("{what}: {}M", guest >> 20), why))
}

/// Instructions of each processor between two looks at the host.
fn slice(launch: &Launch) -> u64 {
    runner::SLICE / u64::from(launch.vcpus)
}

/// A machine with its kernel loaded.
pub(crate) fn boot(launch: &Launch, asked: &Asked) -> Result<Machine, Failure> {
    let config = Config {
        ram: launch.memory,
        vcpus: launch.vcpus,
        cpu_model: launch.cpu.clone(),
        vmx_unlocked: launch.vmx_unlocked,
        devices: launch.devices.clone(),
        fw_cfg: launch.fw_cfg.clone(),
        clock: launch.clock.unwrap_or(Config::default().clock),
        trace: launch.trace.items(),
        code: launch.code,
    };
    let mut machine = Machine::new(&config).map_err(|error| match error {
        Error::Devices(_) => Failure::usage("-device", error),
        error => Failure::input(error),
    })?;
    machine.pause_by(asked.flag());
    let modules: Vec<BootModule<'_>> =
        launch.modules.iter().map(|m| BootModule { file: m.file(), cmdline: &m.cmdline }).collect();
    let kernel = &launch.kernel;
    let boot = Boot { kernel: kernel.file(), modules: &modules, cmdline: &kernel.cmdline };
    machine.boot(&boot).map_err(Failure::input)?;
    Ok(machine)
}

impl Debuggable for Session<'_> {
    fn machine(&self) -> &Machine {
        &self.machine
    }

    fn machine_mut(&mut self) -> &mut Machine {
        &mut self.machine
    }
}

impl Runnable for Session<'_> {
    fn run(&mut self, instructions: u64) -> Stop {
        let started = counts::processor_seconds();
        let each = (instructions / u64::from(self.launch.vcpus)).max(1);
        let Some(each) = self.until_typing(each) else { return Stop::End(Status::Quit) };
        let stop = self.machine.run(each.min(self.keep.ahead(self.machine.now())));
        self.paused = stop == MachineStop::Paused;
        self.ended = !self.paused && stop != MachineStop::Budget;
        if stop == MachineStop::Budget {
            let kept = self.keep.look(&mut self.machine);
            self.note(kept);
        }
        if matches!(stop, MachineStop::Budget | MachineStop::Idle) && self.asked.take_wish() {
            let kept = self.keep.now(&mut self.machine);
            self.note(kept);
        }
        self.counts.slice(&self.machine, counts::processor_seconds() - started);
        let traced = self.take_trace();
        self.note(traced);
        if let Some(failure) = &self.failure {
            return Stop::End(failure.status);
        }
        match stop {
            MachineStop::Budget | MachineStop::Paused => Stop::Budget,
            MachineStop::PowerOff => Stop::End(Status::Success),
            MachineStop::Reset => Stop::Reset,
            MachineStop::DebugExit(status) => Stop::End(Status::DebugExit(status >> 1)),
            MachineStop::GuestPanicked => Stop::End(Status::GuestPanicked),
            // The time of an idle machine passes up to an input that it knows of.
            MachineStop::Idle if self.script.next().is_some() => {
                if self.script.ends_next() {
                    return Stop::End(Status::Quit);
                }
                self.type_next();
                Stop::Budget
            }
            MachineStop::Idle => Stop::Idle,
            MachineStop::TripleFault(_) if self.launch.as_qemu => Stop::Reset,
            MachineStop::TripleFault(report) => {
                self.report = Some(report);
                Stop::End(Status::TripleFault)
            }
        }
    }

    fn restart(&mut self) -> Result<(), Failure> {
        self.before = self.retired();
        self.reset_at += self.machine.now().0;
        self.take_place(boot(self.launch, self.asked)?);
        self.keep.begin(&mut self.machine)
    }

    fn retired(&self) -> u64 {
        self.before + self.machine.retired()
    }

    fn sent(&mut self, port: usize) -> Vec<u8> {
        let sent = self.machine.serial_output(port);
        self.keep.sent(port, &sent);
        let typed = self.script.printed(port, &sent);
        let slice_end = self.machine.now().0.next_multiple_of(slice(self.launch));
        typed.into_iter().for_each(|input| self.give(slice_end + 1, input));
        sent
    }

    fn sent_debug(&mut self) -> Vec<u8> {
        self.machine.debug_output()
    }

    fn time(&self) -> u64 {
        self.machine.now().0
    }

    fn receive(&mut self, port: usize, typed: Key, at: u64) {
        let input = match typed {
            Key::Bytes(bytes) => Input::Serial { port, bytes },
            Key::Break => Input::Break { port },
            Key::Quit | Key::Help | Key::Monitor | Key::Snapshot | Key::Hello => return,
        };
        self.give(at, input);
    }

    fn held(&self, port: usize) -> usize {
        self.machine.serial_waiting(port)
    }

    fn attend(&mut self, consoles: &mut Consoles) -> Attended {
        let (mut monitors, asked) = (std::mem::take(&mut self.monitors), self.asked);
        let attended = monitors.attend(consoles, self, asked);
        self.monitors = monitors;
        attended
    }

    fn happened(&mut self, event: monitor::Event, consoles: &mut Consoles) {
        self.monitors.happened(event, consoles);
    }

    fn stay(&mut self, status: Status, consoles: &mut Consoles) {
        self.monitors.stay(status, consoles);
    }
}

impl monitor::Target for Session<'_> {
    fn machine(&mut self) -> &mut Machine {
        &mut self.machine
    }

    fn input(&mut self, input: Input) {
        self.give(0, input);
    }

    fn is_kept(&self) -> Option<&'static str> {
        (self.log.is_some() || self.keep.records())
            .then_some("what is kept of the run (record, --input-log) would not tell of it")
    }

    fn save(&mut self, path: &Path) -> Result<(), String> {
        self.go_on_to_a_time();
        snapshot::write(&mut self.machine, path).map_err(|failure| failure.text)
    }

    fn load(&mut self, path: &Path) -> Result<(), String> {
        let host = Config {
            trace: self.launch.trace.items(),
            code: self.launch.code,
            ..Config::default()
        };
        let chain = Chain::read(path).and_then(|chain| chain.verify(path).map(|()| chain));
        let restored = chain.and_then(|chain| chain.restore(path, &host));
        self.reset_at += self.machine.now().0;
        self.take_place(restored.map_err(|failure| failure.text)?);
        self.reset_at = self.reset_at.saturating_sub(self.machine.now().0);
        Ok(())
    }

    fn level(&mut self, processor: usize) -> String {
        let place = self.counts.place(self.machine.level(processor));
        self.counts.levels()[place].name.clone()
    }
}
