//! Runs a machine in slices: between two of them serial bytes move, and it is looked whether somebody
//! has asked for the end, which ends a slice too. How a run is sliced does not change what the machine does.

use crate::console::{Consoles, Key};
use crate::limits::Limits;
use crate::monitor::{Attended, Event};
use crate::pace::Pace;
use crate::status::{Failure, Status};
use crate::stop::Stop as Asked;
use std::time::{Duration, Instant};

/// Instructions between two looks at the host: some tens of milliseconds, mostly.
pub(crate) const SLICE: u64 = 4_000_000;
/// Serial ports of the machine.
pub(crate) const PORTS: usize = 2;
/// Bytes of input that a port may hold until the guest takes them.
const HELD: usize = 64 << 10;

/// Why a slice ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Stop {
    /// Its instructions are used up, or there is reason to look at the host.
    Budget,
    /// The machine ended the run.
    End(Status),
    /// The guest reset the machine.
    Reset,
    /// Without input nothing can ever happen.
    Idle,
}

/// What this module needs of a machine.
pub(crate) trait Runnable {
    /// Runs `instructions`; with several processors, some more of those that are ahead.
    fn run(&mut self, instructions: u64) -> Stop;
    /// Starts again after a reset.
    fn restart(&mut self) -> Result<(), Failure>;
    /// Instructions retired since power-on.
    fn retired(&self) -> u64;
    /// Takes what serial port `port` has sent.
    fn sent(&mut self, port: usize) -> Vec<u8>;
    /// Takes what was written to the debug port.
    fn sent_debug(&mut self) -> Vec<u8> {
        Vec::new()
    }
    /// What the machine's clock shows: nanoseconds since it was started.
    fn time(&self) -> u64;
    /// Gives what was typed to serial port `port`, which takes it when the clock shows `at`, or at the next
    /// instant.
    fn receive(&mut self, port: usize, typed: Key, at: u64);
    /// Does what monitors ask for, and tells what the run does next.
    fn attend(&mut self, _: &mut Consoles) -> Attended {
        Attended::Run
    }
    /// The machine stands still at its end, as monitors are told.
    fn stay(&mut self, _: Status, _: &mut Consoles) {}
    /// Tells monitors of an event.
    fn happened(&mut self, _: Event, _: &mut Consoles) {}
    /// How many bytes serial port `port` has been given that the guest has left there.
    fn held(&self, port: usize) -> usize;
}

/// What decides about the end of a run, besides the machine.
pub(crate) struct Ending<'a> {
    pub(crate) limits: &'a Limits,
    pub(crate) no_reboot: bool,
    /// Where the guest ends the run, the machine stays until somebody asks for the end.
    pub(crate) stays: bool,
    /// Where nothing can ever happen any more, the run goes on until somebody asks for its end.
    pub(crate) halts: bool,
    /// What somebody outside asks for.
    pub(crate) asked: &'a Asked,
}

/// A machine that runs, and all that it needs of the host.
pub(crate) struct Run<'a, M> {
    pub(crate) machine: &'a mut M,
    pub(crate) consoles: &'a mut Consoles,
    pub(crate) pace: &'a mut Pace,
    pub(crate) ending: &'a Ending<'a>,
}

impl<M: Runnable> Run<'_, M> {
    /// Runs the machine to its end.
    pub(crate) fn run_to_end(mut self) -> Result<Status, Failure> {
        loop {
            if let Some(status) = self.slice()? {
                return Ok(status);
            }
        }
    }

    /// Runs a slice, and looks at the host. The status if that was the end.
    pub(crate) fn slice(&mut self) -> Result<Option<Status>, Failure> {
        let Run { machine, consoles, pace, ending } = self;
        let limit = ending.limits.limit_instructions.unwrap_or(u64::MAX);
        if let Some(status) = ending.asked.asked() {
            return Ok(Some(status));
        }
        match machine.attend(consoles) {
            Attended::Run => {}
            Attended::Stopped => {
                let since = Instant::now();
                consoles.wait(Duration::MAX);
                pace.stood(since.elapsed());
                return Ok(None);
            }
            Attended::Reset => {
                machine.restart()?;
                pace.restart();
                return Ok(None);
            }
        }
        let left = limit.saturating_sub(machine.retired());
        if left == 0 {
            return Ok(Some(Status::Limit));
        }
        let stop = machine.run(left.min(SLICE));
        for port in 0..PORTS {
            consoles.write(port, machine.sent(port), ending.asked)?;
        }
        consoles.write_debug(machine.sent_debug(), ending.asked)?;
        let end = match stop {
            Stop::End(status) => Some(status),
            Stop::Reset if ending.no_reboot => Some(Status::Success),
            _ => None,
        };
        if let Some(status) = end {
            if !(ending.stays && by_guest(status)) {
                return Ok(Some(status));
            }
            machine.stay(status, consoles);
            return Ok(None);
        }
        match stop {
            Stop::Budget | Stop::End(_) => {}
            Stop::Reset => {
                machine.happened(Event::Reset { guest: true }, consoles);
                machine.restart()?;
                pace.restart();
            }
            Stop::Idle => {
                if !ending.halts && !consoles.listens() && !may_wake(*machine, consoles) {
                    return Ok(Some(Status::Halted));
                }
                consoles.wait(Duration::MAX);
            }
        }
        // The clock of a machine that waits for nothing but input has stood still.
        let at = if stop == Stop::Idle { pace.now().unwrap_or(0) } else { 0 };
        take_input(*machine, consoles, at);
        if let Some(ahead) = pace.ahead(machine.time()) {
            consoles.wait(ahead);
        }
        Ok(None)
    }
}

/// Whether this is an end at which QEMU's `-no-shutdown` keeps the machine.
fn by_guest(status: Status) -> bool {
    matches!(status, Status::Success | Status::TripleFault | Status::GuestPanicked)
}

/// Whether input may come that the guest takes: more of what it leaves unread will not wake the guest.
fn may_wake(machine: &dyn Runnable, consoles: &Consoles) -> bool {
    consoles.inputs().any(|port| machine.held(port) < HELD)
}

/// Hands on what was typed.
fn take_input(machine: &mut dyn Runnable, consoles: &mut Consoles, at: u64) {
    for port in 0..PORTS {
        if machine.held(port) < HELD
            && let Some(typed) = consoles.typed(port)
        {
            machine.receive(port, typed, at);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::console::Serials;
    use crate::console::chardev::{Chardev, Serial};
    use crate::pace::Pacing;

    /// A machine that ends its slices by a script and counts.
    #[derive(Default)]
    struct Script {
        stops: Vec<(u64, Stop)>,
        retired: u64,
        restarts: u32,
    }

    impl Runnable for Script {
        fn run(&mut self, instructions: u64) -> Stop {
            let (used, stop) = match self.stops.first().copied() {
                Some((at, stop)) if at <= self.retired + instructions => {
                    self.stops.remove(0);
                    (at - self.retired, stop)
                }
                _ => (instructions, Stop::Budget),
            };
            self.retired += used;
            stop
        }

        fn restart(&mut self) -> Result<(), Failure> {
            self.restarts += 1;
            Ok(())
        }

        fn retired(&self) -> u64 {
            self.retired
        }

        fn sent(&mut self, _: usize) -> Vec<u8> {
            Vec::new()
        }

        fn time(&self) -> u64 {
            self.retired
        }

        fn receive(&mut self, _: usize, _: Key, _: u64) {}

        fn held(&self, _: usize) -> usize {
            0
        }
    }

    fn run(machine: &mut Script, limits: &Limits, no_reboot: bool, asked: &Asked) -> Status {
        let ending = Ending { limits, no_reboot, stays: false, halts: false, asked };
        let nowhere = Serial::To { device: Chardev::Null, mux: false };
        let mut consoles =
            Consoles::open(&Serials::new(vec![nowhere], vec![], vec![], None), asked).unwrap();
        let mut pace = Pace::new(Pacing::Off, false);
        let (consoles, pace) = (&mut consoles, &mut pace);
        Run { machine, consoles, pace, ending: &ending }.run_to_end().unwrap()
    }

    /// Runs the script and tells `status retired restarts`.
    #[track_caller]
    fn check(stops: &[(u64, Stop)], limit: Option<u64>, no_reboot: bool, expect: &str) {
        let mut machine = Script { stops: stops.to_vec(), ..Script::default() };
        let limits = Limits { limit_instructions: limit, ..Limits::default() };
        let status = run(&mut machine, &limits, no_reboot, &Asked::default());
        assert_eq!(format!("{status:?} {} {}", machine.retired, machine.restarts), expect);
    }

    #[test]
    fn ends() {
        let off = Stop::End(Status::Success);
        check(&[(10, off)], None, false, "Success 10 0");
        check(&[(3 * SLICE + 1, off)], None, false, "Success 12000001 0");
        check(&[(20, Stop::Reset), (50, off)], None, false, "Success 50 1");
        check(&[(20, Stop::Reset), (50, off)], None, true, "Success 20 0");
        check(&[(7, Stop::End(Status::DebugExit(3)))], None, true, "DebugExit(3) 7 0");
        check(&[(7, Stop::Idle)], None, true, "Halted 7 0");
    }

    #[test]
    fn limits() {
        check(&[], Some(1), false, "Limit 1 0");
        check(&[], Some(SLICE + 7), false, "Limit 4000007 0");
        check(&[(9, Stop::End(Status::Success))], Some(9), false, "Success 9 0");
    }

    #[test]
    fn interrupted() {
        let (limits, asked) = (Limits::default(), Asked::default());
        asked.ask(Status::Interrupted(2));
        let status = run(&mut Script::default(), &limits, false, &asked);
        assert_eq!(status, Status::Interrupted(2));
    }
}
