//! The machine as gdb's remote protocol knows it, for the crate gdbstub. Processors are threads.

use super::connection::Connection;
use super::monitor::Monitor;
use super::registers::{Registers, X86};
use super::subject::Subject;
use crate::status::Failure;
use gdbstub::common::{Signal, Tid};
use gdbstub::stub::MultiThreadStopReason;
use gdbstub::stub::run_blocking::{BlockingEventLoop, Event, WaitForStopReasonError};
use gdbstub::target::ext::base::BaseOps;
use gdbstub::target::ext::base::multithread::{
    MultiThreadBase, MultiThreadResume, MultiThreadResumeOps, MultiThreadSchedulerLocking,
    MultiThreadSchedulerLockingOps, MultiThreadSingleStep, MultiThreadSingleStepOps,
};
use gdbstub::target::ext::base::reverse_exec::{
    ReplayLogPosition, ReverseCont, ReverseContOps, ReverseStep, ReverseStepOps,
};
use gdbstub::target::ext::breakpoints::{
    Breakpoints as GdbBreakpoints, BreakpointsOps, HwBreakpoint, HwBreakpointOps, HwWatchpoint,
    HwWatchpointOps, SwBreakpoint, SwBreakpointOps, WatchKind,
};
use gdbstub::target::ext::monitor_cmd::{ConsoleOutput, MonitorCmd, MonitorCmdOps};
use gdbstub::target::ext::thread_extra_info::{ThreadExtraInfo, ThreadExtraInfoOps};
use gdbstub::target::{Target as GdbTarget, TargetError, TargetResult};
use platform::machine::debugging::{
    self, Breakpoints, CodeBreakpoint, DataBreakpoint, Hit, Space, Who,
};
use platform::timeline::Outcome;
use std::io;
use std::marker::PhantomData;

/// EFAULT: what gdb is told of memory that is not there.
const FAULT: u8 = 14;
/// EROFS: what gdb is told where nothing may be changed.
const READ_ONLY: u8 = 30;

/// What gdb has asked the machine to do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Resume {
    Continue,
    Step(usize),
    StepBack(usize),
    ContinueBack,
}

/// A breakpoint that gdb has set.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Watched {
    first: u64,
    length: u64,
    kind: WatchKind,
    who: Who,
}

/// What gdb debugs, with what gdb has asked for.
pub(crate) struct Target<'a> {
    pub(super) subject: &'a mut dyn Subject,
    software: Vec<CodeBreakpoint>,
    hardware: Vec<CodeBreakpoint>,
    watched: Vec<Watched>,
    /// For whom breakpoints are that are set from now on.
    pub(super) who: Who,
    resume: Resume,
    /// The processor that gdb was told of last.
    pub(super) shown: usize,
}

impl<'a> Target<'a> {
    pub(crate) fn new(subject: &'a mut dyn Subject) -> Target<'a> {
        let shown = subject.machine().last_processor();
        let (software, hardware, watched) = Default::default();
        let (who, resume) = (Who::Any, Resume::Continue);
        Target { subject, software, hardware, watched, who, resume, shown }
    }

    /// The breakpoints that gdb has set.
    pub(super) fn breakpoints(&self) -> Breakpoints {
        let code = self.software.iter().chain(&self.hardware).copied().collect();
        let data = self.watched.iter().map(|w| DataBreakpoint {
            first: w.first,
            last: w.first.saturating_add(w.length.max(1) - 1),
            loads: w.kind != WatchKind::Write,
            stores: w.kind != WatchKind::Read,
            space: Space::Linear,
            who: w.who,
        });
        Breakpoints { code, data: data.collect(), ..Breakpoints::default() }
    }

    /// Why the machine has stopped, in gdb's words.
    fn reason(&mut self, event: debugging::Event) -> MultiThreadStopReason<u64> {
        let (processor, hit) = match event {
            debugging::Event::Hit { processor, hit } => (processor, Some(hit)),
            debugging::Event::Step { processor } => (processor, None),
        };
        self.shown = processor;
        let tid = thread(processor);
        match hit {
            Some(Hit::Code { address }) => {
                let soft = self.software.iter().any(|b| b.address == address);
                if soft {
                    MultiThreadStopReason::SwBreak(tid)
                } else {
                    MultiThreadStopReason::HwBreak(tid)
                }
            }
            Some(Hit::Data { address, store }) => {
                let found = self.watched.iter().find(|w| {
                    let counts = if store { WatchKind::Read } else { WatchKind::Write };
                    w.kind != counts && w.first <= address && address - w.first < w.length
                });
                let (kind, addr) = found.map_or((WatchKind::Write, address), |w| (w.kind, w.first));
                MultiThreadStopReason::Watch { tid, kind, addr }
            }
            _ => self.trap(),
        }
    }

    /// A stop for no reason of its own.
    fn trap(&self) -> MultiThreadStopReason<u64> {
        let tid = thread(self.shown);
        MultiThreadStopReason::SignalWithThread { tid, signal: Signal::SIGTRAP }
    }

    fn replay_log(&self, pos: ReplayLogPosition) -> MultiThreadStopReason<u64> {
        if let Some(status) = self.subject.exit() {
            return MultiThreadStopReason::Exited(status);
        }
        MultiThreadStopReason::ReplayLog { tid: Some(thread(self.shown)), pos }
    }

    /// Does what gdb has asked for, for a while. Why the machine has stopped, if it has.
    fn advance(
        &mut self,
        connection: &mut Connection,
    ) -> Result<Option<MultiThreadStopReason<u64>>, Failure> {
        self.subject.set_breakpoints(self.breakpoints());
        let outcome = match self.resume {
            Resume::Continue => self.subject.go_on(None)?,
            Resume::Step(processor) => self.subject.go_on(Some(processor))?,
            Resume::StepBack(processor) => {
                self.shown = processor;
                match self.subject.step_back(processor)? {
                    true => return Ok(Some(self.trap())),
                    false => Outcome::Begin,
                }
            }
            Resume::ContinueBack => self.subject.go_back(&mut || connection.has_news())?,
        };
        Ok(match outcome {
            Outcome::More | Outcome::Interrupted => None,
            Outcome::Event(event) => Some(self.reason(event)),
            Outcome::Begin => Some(self.replay_log(ReplayLogPosition::Begin)),
            Outcome::End => Some(self.replay_log(ReplayLogPosition::End)),
        })
    }

    /// The processor of a thread.
    fn processor(&self, tid: Tid) -> usize {
        tid.get() - 1
    }

    /// The processor that a thread of a packet backwards means: the first stands for any.
    fn processor_back(&self, tid: Tid) -> usize {
        match self.processor(tid) {
            0 => self.shown,
            n => n,
        }
    }

    fn registers(&self, tid: Tid) -> Result<Registers, TargetError<Failure>> {
        let machine = self.subject.machine();
        let p = machine.processor(self.processor(tid)).ok_or(TargetError::NonFatal)?;
        Ok(Registers::of(p, machine.now().0))
    }
}

/// The thread of a processor.
fn thread(processor: usize) -> Tid {
    Tid::new(processor + 1).unwrap_or(Tid::MIN)
}

impl GdbTarget for Target<'_> {
    type Arch = X86;
    type Error = Failure;

    fn base_ops(&mut self) -> BaseOps<'_, X86, Failure> {
        BaseOps::MultiThread(self)
    }

    fn support_breakpoints(&mut self) -> Option<BreakpointsOps<'_, Self>> {
        Some(self)
    }

    fn support_monitor_cmd(&mut self) -> Option<MonitorCmdOps<'_, Self>> {
        Some(self)
    }
}

impl MultiThreadBase for Target<'_> {
    fn read_registers(&mut self, registers: &mut Registers, tid: Tid) -> TargetResult<(), Self> {
        *registers = self.registers(tid)?;
        Ok(())
    }

    fn write_registers(&mut self, registers: &Registers, tid: Tid) -> TargetResult<(), Self> {
        let (old, n) = (self.registers(tid)?, self.processor(tid));
        let machine = self.subject.machine_mut().ok_or(TargetError::Errno(READ_ONLY))?;
        let mut given = None;
        machine.set_state(n, |state| given = registers.give(&old, state));
        given.ok_or(TargetError::Errno(READ_ONLY))
    }

    fn read_addrs(&mut self, at: u64, bytes: &mut [u8], tid: Tid) -> TargetResult<usize, Self> {
        match self.subject.machine().peek_linear(self.processor(tid), at, bytes) {
            0 if !bytes.is_empty() => Err(TargetError::Errno(FAULT)),
            count => Ok(count),
        }
    }

    fn write_addrs(&mut self, at: u64, bytes: &[u8], tid: Tid) -> TargetResult<(), Self> {
        let n = self.processor(tid);
        let machine = self.subject.machine_mut().ok_or(TargetError::Errno(READ_ONLY))?;
        let whole = machine.write_linear(n, at, bytes) == bytes.len();
        whole.then_some(()).ok_or(TargetError::Errno(FAULT))
    }

    fn list_active_threads(&mut self, active: &mut dyn FnMut(Tid)) -> Result<(), Failure> {
        (0..self.subject.machine().processors().count()).for_each(|n| active(thread(n)));
        Ok(())
    }

    fn support_resume(&mut self) -> Option<MultiThreadResumeOps<'_, Self>> {
        Some(self)
    }

    fn support_thread_extra_info(&mut self) -> Option<ThreadExtraInfoOps<'_, Self>> {
        Some(self)
    }
}

impl ThreadExtraInfo for Target<'_> {
    fn thread_extra_info(&self, tid: Tid, buffer: &mut [u8]) -> Result<usize, Failure> {
        let n = self.processor(tid);
        let p = self.subject.machine().processor(n);
        let text = p.map(|p| self.subject.domains().level(p)).unwrap_or_default();
        let text = format!("processor {n}, {text}");
        let count = text.len().min(buffer.len());
        buffer[..count].copy_from_slice(&text.as_bytes()[..count]);
        Ok(count)
    }
}

impl MultiThreadResume for Target<'_> {
    fn resume(&mut self) -> Result<(), Failure> {
        Ok(())
    }

    fn clear_resume_actions(&mut self) -> Result<(), Failure> {
        self.resume = Resume::Continue;
        Ok(())
    }

    fn set_resume_action_continue(&mut self, _: Tid, _: Option<Signal>) -> Result<(), Failure> {
        Ok(())
    }

    fn support_single_step(&mut self) -> Option<MultiThreadSingleStepOps<'_, Self>> {
        Some(self)
    }

    fn support_scheduler_locking(&mut self) -> Option<MultiThreadSchedulerLockingOps<'_, Self>> {
        Some(self)
    }

    fn support_reverse_step(&mut self) -> Option<ReverseStepOps<'_, Tid, Self>> {
        if self.subject.goes_back() { Some(self) } else { None }
    }

    fn support_reverse_cont(&mut self) -> Option<ReverseContOps<'_, Tid, Self>> {
        if self.subject.goes_back() { Some(self) } else { None }
    }
}

impl MultiThreadSingleStep for Target<'_> {
    fn set_resume_action_step(&mut self, tid: Tid, _: Option<Signal>) -> Result<(), Failure> {
        self.resume = Resume::Step(self.processor(tid));
        Ok(())
    }
}

/// Who runs follows from the machine's state; processors that gdb would hold go on.
impl MultiThreadSchedulerLocking for Target<'_> {
    fn set_resume_action_scheduler_lock(&mut self) -> Result<(), Failure> {
        Ok(())
    }
}

impl ReverseStep<Tid> for Target<'_> {
    fn reverse_step(&mut self, tid: Tid) -> Result<(), Failure> {
        self.resume = Resume::StepBack(self.processor_back(tid));
        Ok(())
    }
}

impl ReverseCont<Tid> for Target<'_> {
    fn reverse_cont(&mut self) -> Result<(), Failure> {
        self.resume = Resume::ContinueBack;
        Ok(())
    }
}

impl GdbBreakpoints for Target<'_> {
    fn support_sw_breakpoint(&mut self) -> Option<SwBreakpointOps<'_, Self>> {
        Some(self)
    }

    fn support_hw_breakpoint(&mut self) -> Option<HwBreakpointOps<'_, Self>> {
        Some(self)
    }

    fn support_hw_watchpoint(&mut self) -> Option<HwWatchpointOps<'_, Self>> {
        Some(self)
    }
}

/// Removes the first breakpoint at `address`; whether there was one.
fn remove(from: &mut Vec<CodeBreakpoint>, address: u64) -> bool {
    let at = from.iter().position(|b| b.address == address);
    at.map(|at| from.remove(at)).is_some()
}

impl SwBreakpoint for Target<'_> {
    fn add_sw_breakpoint(&mut self, address: u64, _: usize) -> TargetResult<bool, Self> {
        self.software.push(CodeBreakpoint { address, who: self.who });
        Ok(true)
    }

    fn remove_sw_breakpoint(&mut self, address: u64, _: usize) -> TargetResult<bool, Self> {
        Ok(remove(&mut self.software, address))
    }
}

impl HwBreakpoint for Target<'_> {
    fn add_hw_breakpoint(&mut self, address: u64, _: usize) -> TargetResult<bool, Self> {
        self.hardware.push(CodeBreakpoint { address, who: self.who });
        Ok(true)
    }

    fn remove_hw_breakpoint(&mut self, address: u64, _: usize) -> TargetResult<bool, Self> {
        Ok(remove(&mut self.hardware, address))
    }
}

impl HwWatchpoint for Target<'_> {
    fn add_hw_watchpoint(
        &mut self,
        first: u64,
        length: u64,
        kind: WatchKind,
    ) -> TargetResult<bool, Self> {
        self.watched.push(Watched { first, length, kind, who: self.who });
        Ok(true)
    }

    fn remove_hw_watchpoint(
        &mut self,
        first: u64,
        length: u64,
        kind: WatchKind,
    ) -> TargetResult<bool, Self> {
        let same = |w: &Watched| (w.first, w.length, w.kind) == (first, length, kind);
        let at = self.watched.iter().position(same);
        Ok(at.map(|at| self.watched.remove(at)).is_some())
    }
}

impl MonitorCmd for Target<'_> {
    fn handle_monitor_cmd(
        &mut self,
        command: &[u8],
        mut out: ConsoleOutput<'_>,
    ) -> Result<(), Failure> {
        let command = String::from_utf8_lossy(command).into_owned();
        let text = Monitor { target: self }.obey(&command)?;
        out.write_raw(text.as_bytes());
        Ok(())
    }
}

/// How gdbstub waits for the machine.
pub(crate) struct EventLoop<'a>(PhantomData<&'a ()>);

impl<'a> BlockingEventLoop for EventLoop<'a> {
    type Target = Target<'a>;
    type Connection = Connection;
    type StopReason = MultiThreadStopReason<u64>;

    fn wait_for_stop_reason(
        target: &mut Target<'a>,
        connection: &mut Connection,
    ) -> Result<Event<Self::StopReason>, WaitForStopReasonError<Failure, io::Error>> {
        use gdbstub::conn::ConnectionExt;
        loop {
            if let Some(reason) =
                target.advance(connection).map_err(WaitForStopReasonError::Target)?
            {
                return Ok(Event::TargetStopped(reason));
            }
            if connection.has_news() {
                let byte = connection.read().map_err(WaitForStopReasonError::Connection)?;
                return Ok(Event::IncomingData(byte));
            }
        }
    }

    fn on_interrupt(target: &mut Target<'a>) -> Result<Option<Self::StopReason>, Failure> {
        target.shown = target.subject.machine().last_processor();
        let tid = thread(target.shown);
        Ok(Some(MultiThreadStopReason::SignalWithThread { tid, signal: Signal::SIGINT }))
    }
}
