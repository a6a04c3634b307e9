//! How a run ends: the exit status, and the one line that explains a failure.

use std::fmt::Display;
use std::io::{Error, ErrorKind};

/// The exit statuses of `strata`. `isa-debug-exit` ends a run with `value * 2 + 1`, which is odd;
/// all others are even, so the two never mix.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Status {
    /// The guest powered the machine off, or reset it under `-no-reboot`.
    Success,
    /// Bad input: nothing was started.
    Usage,
    /// The guest told `pvpanic` that it has panicked, or the hypervisor that a domain has.
    GuestPanicked,
    /// Nothing can ever happen any more: every processor halts and no event is due.
    Halted,
    /// The guest's triple fault.
    TripleFault,
    /// The emulator could not go on.
    Emulator,
    /// `--limit-instructions` or `--limit-seconds` was reached.
    Limit,
    /// Ctrl-C or another signal, whose number it is; 0: nobody reads standard output any more.
    Interrupted(i32),
    /// Ctrl-A x.
    Quit,
    /// `quit` at a monitor.
    Closed,
    /// Two states that were compared differ.
    Differs,
    /// A test has failed.
    TestsFailed,
    /// A future has been found in which what was looked for happens.
    Found,
    /// The guest wrote this value to `isa-debug-exit`.
    DebugExit(u32),
}

impl Status {
    /// The process's exit status.
    pub(crate) fn code(self) -> u8 {
        match self {
            Self::Success => 0,
            Self::Usage => 2,
            Self::Differs => 4,
            Self::TestsFailed => 6,
            Self::Found => 8,
            Self::GuestPanicked => 116,
            Self::Halted => 118,
            Self::TripleFault => 120,
            Self::Emulator => 122,
            Self::Limit => 124,
            Self::Interrupted(_) | Self::Quit | Self::Closed => 130,
            Self::DebugExit(value) => (value << 1) as u8 | 1,
        }
    }
}

/// A run that ends before or beside the guest: one line says why.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Failure {
    pub(crate) status: Status,
    pub(crate) text: String,
}

impl Failure {
    /// Bad input: `what` is the flag or file, `why` says what was found and what is accepted.
    pub(crate) fn usage(what: impl Display, why: impl Display) -> Self {
        Self::input(format_args!("{what}: {why}"))
    }

    /// Bad input, where `text` already names the place.
    pub(crate) fn input(text: impl Display) -> Self {
        Self { status: Status::Usage, text: one_line(&text.to_string()) }
    }

    /// The stream `what` does not take what it is given.
    pub(crate) fn output(what: &str, error: &Error) -> Self {
        match error.kind() {
            ErrorKind::BrokenPipe => {
                Self { status: Status::Interrupted(0), text: format!("{what}: its reader is gone") }
            }
            _ => Self::emulator(format_args!("{what}: {error}")),
        }
    }

    /// The emulator's own failure.
    pub(crate) fn emulator(why: impl Display) -> Self {
        Self { status: Status::Emulator, text: one_line(&why.to_string()) }
    }
}

/// `text` on one line and printable, whatever a file's name or content brought in.
pub(crate) fn one_line(text: &str) -> String {
    let line: String = text.split_whitespace().collect::<Vec<_>>().join(" ");
    line.chars()
        .flat_map(|c| if c.is_control() { c.escape_default().collect() } else { vec![c] })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn debug_exit_is_odd_and_the_others_are_even() {
        for value in [0, 1, 0x31, 0x7F, 0x80, u32::MAX] {
            assert_eq!(Status::DebugExit(value).code() & 1, 1, "{value}");
        }
        use Status::{
            Closed, Differs, Emulator, Found, GuestPanicked, Halted, Interrupted, Limit, Quit,
            Success, TestsFailed, TripleFault, Usage,
        };
        let ended =
            [Success, GuestPanicked, Halted, TripleFault, Limit, Interrupted(2), Quit, Closed];
        let all = [&ended[..], &[Usage, Differs, TestsFailed, Found, Emulator]].concat();
        assert!(all.iter().all(|s| s.code() & 1 == 0));
        assert_eq!(Status::DebugExit(0x10).code(), 0x21);
    }

    #[test]
    fn failures_have_one_line() {
        let failure = Failure::usage("a\nb", "c\r\n\td\u{1b}[1m");
        assert_eq!(failure.text, "a b: c d\\u{1b}[1m");
    }
}
