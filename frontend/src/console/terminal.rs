//! The terminal: raw while the guest's console is on it, and as it was on every way out.
//!
//! A process in the background leaves the terminal alone, as to touch it would stop the process: it
//! waits until it is in the foreground.

use rustix::process::getpgrp;
use rustix::stdio::stdin;
use rustix::termios::{
    ControlModes, InputModes, LocalModes, OptionalActions, OutputModes, SpecialCodeIndex, Termios,
    tcgetattr, tcgetpgrp, tcsetattr,
};
use std::io::IsTerminal;
use std::sync::{Mutex, MutexGuard, PoisonError};

/// What is known of the terminal.
struct Terminal {
    /// Its modes before the first change.
    before: Option<Termios>,
    /// It is wanted raw; true: with the keys that make signals.
    wanted: Option<bool>,
    /// The terminal is raw now.
    raw: bool,
}

static TERMINAL: Mutex<Terminal> = Mutex::new(Terminal { before: None, wanted: None, raw: false });

fn terminal() -> MutexGuard<'static, Terminal> {
    TERMINAL.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Standard input is a terminal.
pub(crate) fn is_stdin() -> bool {
    std::io::stdin().is_terminal()
}

/// This process may read and change the terminal: it is in the foreground, or another terminal controls
/// the process, or none.
pub(crate) fn foreground() -> bool {
    tcgetpgrp(stdin()).map_or(true, |group| group == getpgrp())
}

/// A terminal that is raw until this is dropped.
pub(crate) struct Raw(());

impl Raw {
    /// Makes the terminal raw, now or when the process comes to the foreground. `signals`: Ctrl-C, Ctrl-Z
    /// and Ctrl-\ stay what they are.
    pub(crate) fn new(signals: bool) -> Self {
        terminal().wanted = Some(signals);
        again();
        Self(())
    }
}

impl Drop for Raw {
    fn drop(&mut self) {
        restore();
        terminal().wanted = None;
    }
}

/// Makes the terminal raw if that is wanted, possible, and not yet so.
pub(crate) fn again() {
    let mut terminal = terminal();
    let Some(signals) = terminal.wanted.filter(|_| !terminal.raw && foreground()) else { return };
    let Ok(now) = tcgetattr(stdin()) else { return };
    terminal.raw = tcsetattr(stdin(), OptionalActions::Now, &raw(&now, signals)).is_ok();
    terminal.before.get_or_insert(now);
}

/// Gives the terminal back as it was.
pub(crate) fn restore() {
    let mut terminal = terminal();
    if let Some(before) = terminal.before.take().filter(|_| foreground()) {
        _ = tcsetattr(stdin(), OptionalActions::Now, &before);
    }
    terminal.raw = false;
}

/// Somebody else has had the terminal meanwhile, and may have set its modes.
pub(crate) fn lost() {
    terminal().raw = false;
}

/// Modes in which each byte comes as it is typed, and is not shown; output is as before, so that the
/// command's own lines begin at the left.
fn raw(modes: &Termios, signals: bool) -> Termios {
    let mut raw = modes.clone();
    raw.input_modes -= InputModes::IGNBRK
        | InputModes::BRKINT
        | InputModes::PARMRK
        | InputModes::ISTRIP
        | InputModes::INLCR
        | InputModes::IGNCR
        | InputModes::ICRNL
        | InputModes::IXON;
    raw.output_modes |= OutputModes::OPOST;
    raw.control_modes =
        (raw.control_modes - (ControlModes::CSIZE | ControlModes::PARENB)) | ControlModes::CS8;
    raw.local_modes -=
        LocalModes::ECHO | LocalModes::ECHONL | LocalModes::ICANON | LocalModes::IEXTEN;
    if !signals {
        raw.local_modes -= LocalModes::ISIG;
    }
    raw.special_codes[SpecialCodeIndex::VMIN] = 1;
    raw.special_codes[SpecialCodeIndex::VTIME] = 0;
    raw
}
