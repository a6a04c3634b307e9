//! What is asked of a run from outside: its end, by signals and the limit of seconds, and a snapshot.

use crate::console::terminal;
use crate::status::{Failure, Status};
use signal_hook::consts::{SIGCONT, SIGHUP, SIGINT, SIGQUIT, SIGTERM, SIGTSTP, SIGXCPU, SIGXFSZ};
use signal_hook::iterator::Signals;
use signal_hook::low_level::emulate_default_handler;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, OnceLock};
use std::thread;
use std::time::Duration;

/// An end of the run that somebody outside may ask for. The first to ask decides about the status.
#[derive(Debug, Clone, Default)]
pub(crate) struct Stop {
    asked: Arc<AtomicBool>,
    status: Arc<OnceLock<Status>>,
    /// A snapshot is wished for.
    wish: Arc<AtomicBool>,
}

impl Stop {
    /// Asks for the end of the run with `status`. False if somebody has asked before.
    pub(crate) fn ask(&self, status: Status) -> bool {
        let first = self.status.set(status).is_ok();
        self.asked.store(true, Ordering::Release);
        first
    }

    /// The status with which the run is to end, if somebody has asked.
    pub(crate) fn asked(&self) -> Option<Status> {
        self.status.get().copied()
    }

    /// Asks for a snapshot of the run, which goes on.
    pub(crate) fn wish(&self) {
        self.wish.store(true, Ordering::Release);
    }

    /// Whether somebody has asked for a snapshot since the last call.
    pub(crate) fn take_wish(&self) -> bool {
        self.wish.swap(false, Ordering::AcqRel)
    }

    /// The flag that the machine looks at.
    pub(crate) fn flag(&self) -> &Arc<AtomicBool> {
        &self.asked
    }

    /// Asks when SIGINT (Ctrl-C), SIGQUIT, SIGTERM, SIGHUP or SIGXCPU comes. If the run has been asked to end already, the
    /// process ends at once, whatever it waits for. Where the process is stopped, the terminal is as it was.
    pub(crate) fn on_signals(&self) -> Result<(), Failure> {
        let stop = self.clone();
        let hangup = (!hangup_is_ignored()).then_some(SIGHUP);
        let ends = [SIGINT, SIGQUIT, SIGTERM, SIGXCPU, SIGTSTP, SIGCONT];
        let ends = ends.into_iter().chain(hangup);
        let mut signals = Signals::new(ends).map_err(Failure::emulator)?;
        spawn("signals", move || signals.forever().for_each(|signal| stop.obey(signal)))
    }

    fn obey(&self, signal: i32) {
        match signal {
            SIGTSTP => {
                terminal::restore();
                _ = emulate_default_handler(SIGTSTP);
            }
            SIGCONT => {
                terminal::lost();
                terminal::again();
            }
            _ if !self.ask(Status::Interrupted(signal)) => {
                terminal::restore();
                std::process::exit(Status::Interrupted(signal).code().into());
            }
            _ => {}
        }
    }

    /// Asks after `seconds` of the host's clock.
    pub(crate) fn after(&self, seconds: u64) -> Result<(), Failure> {
        let stop = self.clone();
        let wait = move || {
            thread::sleep(Duration::from_secs(seconds));
            stop.ask(Status::Limit);
        };
        spawn("limit", wait)
    }
}

/// Has a write beyond the limit of a file's size (SIGXFSZ, `ulimit -f`) fail as one to a full disk does, instead of
/// ending the process.
pub(crate) fn files_may_be_full() {
    // Without a handler the signal ends the process as before; with one, the flag itself is of no interest.
    _ = signal_hook::flag::register(SIGXFSZ, Arc::default());
}

/// Whether the process was started to outlive its terminal, by nohup(1). proc(5): the mask `SigIgn`.
fn hangup_is_ignored() -> bool {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let mask = status.lines().find_map(|line| line.strip_prefix("SigIgn:"));
    let mask = mask.and_then(|mask| u64::from_str_radix(mask.trim(), 16).ok());
    mask.unwrap_or(0) >> (SIGHUP - 1) & 1 != 0
}

/// Starts a thread, where there may be no memory for one.
pub(crate) fn spawn(name: &str, task: impl FnOnce() + Send + 'static) -> Result<(), Failure> {
    let started = thread::Builder::new().name(name.into()).stack_size(STACK).spawn(task);
    started
        .map(drop)
        .map_err(|error| Failure::input(format_args!("no thread can be started: {error}")))
}

/// Bytes of a thread's stack: they read and write, no more.
const STACK: usize = 256 << 10;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_decides() {
        let stop = Stop::default();
        assert_eq!((stop.asked(), stop.flag().load(Ordering::Relaxed)), (None, false));
        assert!(stop.ask(Status::Limit));
        assert!(!stop.ask(Status::Quit));
        assert_eq!(
            (stop.asked(), stop.flag().load(Ordering::Relaxed)),
            (Some(Status::Limit), true)
        );
    }
}
