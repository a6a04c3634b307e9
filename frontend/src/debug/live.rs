//! A run that goes on, and that gdb may join and leave. It does not go back.

use super::connection::{Listener, Where};
use super::domains::Domains;
use super::subject::Subject;
use super::{Gone, PORT, say, serve};
use crate::args::Gdb;
use crate::runner::{Run, Runnable};
use crate::status::{Failure, Status};
use platform::machine::Machine;
use platform::machine::debugging::Breakpoints;
use platform::timeline::Outcome;
use std::thread;
use std::time::Duration;

/// How often it is looked whether gdb has come, where nothing else is to be done.
const LOOK: Duration = Duration::from_millis(50);

/// A run whose machine can be debugged.
pub(crate) trait Debuggable: Runnable {
    /// The machine that runs now: after a reset it is another.
    fn machine(&self) -> &Machine;

    /// The machine, to be changed.
    fn machine_mut(&mut self) -> &mut Machine;
}

/// Where gdb is waited for, if it is.
pub(crate) fn listen(asked: &Gdb) -> Result<Option<Listener>, Failure> {
    let place = match (&asked.gdb, asked.standard) {
        (Some(Where::Stdio), _) => {
            let why = "stdio; accepted of a run are tcp:HOST:PORT, unix:PATH and none";
            return Err(Failure::usage("-gdb", why));
        }
        (Some(place), _) => place.clone(),
        (None, true) => Where::Tcp("127.0.0.1".into(), PORT),
        (None, false) => Where::Nobody,
    };
    let listener = Listener::open(&place)?;
    if let Some(listener) = &listener {
        say(listener, "; not backwards, for that needs strata record and debug");
    }
    Ok(listener)
}

/// Runs to the end, and serves gdb whenever it comes; `frozen`: begins when gdb says so.
pub(crate) fn run<M: Debuggable>(
    mut run: Run<'_, M>,
    listener: &Listener,
    frozen: bool,
) -> Result<Status, Failure> {
    let mut wait = frozen;
    let domains = Domains::of(run.machine.machine());
    loop {
        if let Some(connection) = listener.accept(false)? {
            wait = false;
            let breakpoints = Breakpoints::default();
            let mut live = Live { run: &mut run, domains: &domains, breakpoints, ended: None };
            let gone = serve(connection, &mut live)?;
            if let Some(status) = live.ended {
                return Ok(status);
            }
            run.machine.machine_mut().break_at(&Breakpoints::default());
            if gone == Gone::Killed {
                return Ok(Status::Quit);
            }
        }
        match run.ending.asked.asked() {
            None if wait => thread::sleep(LOOK),
            _ => {
                if let Some(status) = run.slice()? {
                    return Ok(status);
                }
            }
        }
    }
}

/// A run that gdb has joined.
struct Live<'a, 'b, M> {
    run: &'a mut Run<'b, M>,
    domains: &'a Domains,
    breakpoints: Breakpoints,
    /// How the run has ended.
    ended: Option<Status>,
}

impl<M: Debuggable> Subject for Live<'_, '_, M> {
    fn machine(&self) -> &Machine {
        self.run.machine.machine()
    }

    fn machine_mut(&mut self) -> Option<&mut Machine> {
        Some(self.run.machine.machine_mut())
    }

    fn domains(&self) -> &Domains {
        self.domains
    }

    fn set_breakpoints(&mut self, at: Breakpoints) {
        self.breakpoints = at;
    }

    fn go_on(&mut self, step: Option<usize>) -> Result<Outcome, Failure> {
        if self.ended.is_some() {
            return Ok(Outcome::End);
        }
        let machine = self.run.machine.machine_mut();
        machine.break_at(&self.breakpoints);
        machine.step_processor(step);
        self.ended = self.run.slice()?;
        let machine = self.run.machine.machine_mut();
        machine.step_processor(None);
        Ok(match (machine.take_event(), self.ended) {
            (Some(event), _) => Outcome::Event(event),
            (None, Some(_)) => Outcome::End,
            (None, None) => Outcome::More,
        })
    }

    fn exit(&self) -> Option<u8> {
        self.ended.map(Status::code)
    }
}
