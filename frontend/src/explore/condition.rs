//! What is looked for in a future.

use crate::debug::registers;
use crate::expression::{Expression, Subject};
use crate::status::Status;
use platform::machine::{Machine, MachineStop};

/// Serial ports of the machine.
const PORTS: usize = 2;

/// Something that may happen in a run.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Condition {
    /// A serial port has sent a text.
    Text(String),
    /// The run ends with an exit status.
    Status(u8),
    /// A processor's triple fault.
    TripleFault,
    /// The guest tells `pvpanic` that it has panicked.
    Panic,
    /// An entry to a VM is refused.
    FailedEntry,
    /// Nothing can ever happen any more.
    Halted,
    /// In so many instructions of machine time no serial port has sent a byte, and no VM exit has had a reason that is new.
    Stuck(u64),
    /// An expression that is not zero of a processor, and its text.
    Expression(String, Expression),
}

/// What is looked for unless the user says otherwise.
pub(crate) const USUAL: [Condition; 3] =
    [Condition::TripleFault, Condition::Panic, Condition::FailedEntry];

/// Reads a condition of the command line.
pub(crate) fn parse(text: &str) -> Result<Condition, String> {
    if let Some(text) = text.strip_prefix("expr:") {
        return expression(text);
    }
    let (name, value) = text.split_once(':').unwrap_or((text, ""));
    let known = match (name, value) {
        ("text", text) if !text.is_empty() => Some(Condition::Text(text.into())),
        ("status", value) => value.parse().ok().map(Condition::Status),
        ("stuck", value) => value.parse().ok().filter(|n| *n > 0).map(Condition::Stuck),
        ("triple-fault", "") => Some(Condition::TripleFault),
        ("panic", "") => Some(Condition::Panic),
        ("failed-entry", "") => Some(Condition::FailedEntry),
        ("halted", "") => Some(Condition::Halted),
        _ => None,
    };
    known.ok_or_else(|| {
        "accepted are text:TEXT, status:N, triple-fault, panic, failed-entry, halted, stuck:N and expr:EXPRESSION"
            .into()
    })
}

/// Reads what follows `expr:`.
fn expression(text: &str) -> Result<Condition, String> {
    let (expression, rest) = Expression::read(text)?;
    if !rest.is_empty() {
        return Err(format!("unexpected '{rest}'"));
    }
    match expression.registers().into_iter().find(|name| !registers::is_known(name)) {
        Some(name) => Err(format!("unknown register '${name}'")),
        None => Ok(Condition::Expression(text.to_owned(), expression)),
    }
}

/// A processor that an expression is about.
struct Looked<'a> {
    machine: &'a Machine,
    processor: usize,
}

impl Subject for Looked<'_> {
    fn register(&self, name: &str) -> Option<u64> {
        let processor = self.machine.processor(self.processor)?;
        registers::named(processor, self.machine.now().0, name)
    }

    fn memory(&self, address: u64, size: usize) -> Option<u64> {
        let mut bytes = [0; 8];
        let read = self.machine.peek_linear(self.processor, address, &mut bytes[..size]);
        (read == size).then(|| u64::from_le_bytes(bytes))
    }
}

/// Whether an expression is not zero of any processor. What cannot be told, because no memory is there, is not.
fn holds(expression: &Expression, machine: &Machine) -> bool {
    let mut all = (0..machine.processors().count()).map(|processor| Looked { machine, processor });
    all.any(|subject| expression.value(&subject).is_ok_and(|value| value != 0))
}

impl std::fmt::Display for Condition {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Condition::Text(text) => write!(f, "text:{}", text.escape_debug()),
            Condition::Status(status) => write!(f, "status:{status}"),
            Condition::TripleFault => f.write_str("triple-fault"),
            Condition::Panic => f.write_str("panic"),
            Condition::FailedEntry => f.write_str("failed-entry"),
            Condition::Halted => f.write_str("halted"),
            Condition::Stuck(time) => write!(f, "stuck:{time}"),
            Condition::Expression(text, _) => write!(f, "expr:{text}"),
        }
    }
}

/// The exit status of a run that the guest has ended so.
pub(crate) fn status(stop: &MachineStop) -> Option<Status> {
    match stop {
        MachineStop::Budget | MachineStop::Paused => None,
        MachineStop::PowerOff | MachineStop::Reset => Some(Status::Success),
        MachineStop::DebugExit(value) => Some(Status::DebugExit(value >> 1)),
        MachineStop::GuestPanicked => Some(Status::GuestPanicked),
        MachineStop::Idle => Some(Status::Halted),
        MachineStop::TripleFault(_) => Some(Status::TripleFault),
    }
}

/// A look at one future as it goes on.
pub(crate) struct Watch<'a> {
    conditions: &'a [Condition],
    /// The ends of what the ports have sent, in which a text may begin.
    tails: [Vec<u8>; PORTS],
    /// The machine's time when something new happened last.
    progress: u64,
    /// How many reasons of VM exits there have been.
    reasons: usize,
}

impl<'a> Watch<'a> {
    /// A future that begins at machine time `from`.
    pub(crate) fn new(conditions: &'a [Condition], from: u64) -> Watch<'a> {
        Watch { conditions, tails: Default::default(), progress: from, reasons: 0 }
    }

    /// The machine has run, and stopped so: the first of the conditions that is met.
    pub(crate) fn look(&mut self, machine: &mut Machine, stop: &MachineStop) -> Option<usize> {
        let texts = self.texts(machine);
        self.reasons(machine);
        drop(machine.debug_output());
        let still = machine.now().0.saturating_sub(self.progress);
        let code = status(stop).map(Status::code);
        self.conditions.iter().zip(texts).position(|(condition, told)| match condition {
            Condition::Text(_) => told,
            Condition::Status(wanted) => code == Some(*wanted),
            Condition::TripleFault => matches!(stop, MachineStop::TripleFault(_)),
            Condition::Panic => *stop == MachineStop::GuestPanicked,
            Condition::FailedEntry => machine.processors().any(|p| !p.stats.vmx.refused.is_empty()),
            Condition::Halted => *stop == MachineStop::Idle,
            Condition::Stuck(time) => still >= *time,
            Condition::Expression(_, expression) => holds(expression, machine),
        })
    }

    /// Takes what the ports have sent: for each condition whether it is a text that came.
    fn texts(&mut self, machine: &mut Machine) -> Vec<bool> {
        let longest = self.conditions.iter().filter_map(Condition::text).map(str::len).max();
        let mut told = vec![false; self.conditions.len()];
        for (port, tail) in self.tails.iter_mut().enumerate() {
            let sent = machine.serial_output(port);
            if sent.is_empty() {
                continue;
            }
            self.progress = machine.now().0;
            tail.extend(sent);
            for (told, condition) in told.iter_mut().zip(self.conditions) {
                let text = condition.text().unwrap_or_default().as_bytes();
                *told |= !text.is_empty() && tail.windows(text.len()).any(|part| part == text);
            }
            tail.drain(..tail.len().saturating_sub(longest.unwrap_or(0)));
        }
        told
    }

    /// Notes new reasons of VM exits, if somebody asks.
    fn reasons(&mut self, machine: &Machine) {
        if self.conditions.iter().any(|c| matches!(c, Condition::Stuck(_))) {
            let reasons = machine.exits().len();
            if reasons > self.reasons {
                (self.reasons, self.progress) = (reasons, machine.now().0);
            }
        }
    }
}

impl Condition {
    fn text(&self) -> Option<&str> {
        match self {
            Condition::Text(text) => Some(text),
            _ => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn conditions_are_read_and_shown() {
        for text in [
            "text:a:b",
            "status:33",
            "triple-fault",
            "panic",
            "halted",
            "stuck:5",
            "expr:$cr3 == 5",
        ] {
            assert_eq!(parse(text).unwrap().to_string(), text);
        }
        for text in [
            "",
            "text:",
            "status:256",
            "stuck:0",
            "panic:1",
            "lost",
            "expr:",
            "expr:$foo",
            "expr:1 2",
        ] {
            assert!(parse(text).is_err(), "{text}");
        }
    }
}
