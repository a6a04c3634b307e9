//! Why a processor was interrupted: where it took its last interrupt, and who had asked for that.

use super::monitor::{Monitor, Said, refuse};
use super::subject::{Moved, Subject};
use crate::difference;
use crate::status::Failure;
use platform::machine::Machine;
use platform::machine::debugging::{Breakpoints, Field, Position};
use platform::timeline::Outcome;
use serde_json::Value;

/// Instructions that are run at once in search of an interrupt.
const STRETCH: u64 = 5_000_000;
/// Instructions between two looks at what was written down: less than runs may write.
const PIECE: u64 = 2_000;

/// How an interrupt was taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Way {
    /// An external interrupt with its vector.
    Vector(u8),
    Nmi,
    /// A VM exit for an external interrupt.
    Exit,
}

/// An interrupt that was taken before the instruction at `rip`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Taken {
    way: Way,
    rip: u64,
}

impl Monitor<'_, '_> {
    /// Goes to where the processor shown is about to take its last interrupt, and says why it does.
    pub(super) fn why_interrupt(&mut self) -> Said {
        self.goes_back()?;
        let (here, processor) = (self.target.subject.position(), self.target.shown);
        self.target.subject.set_breakpoints(Breakpoints::default());
        let found = last_interrupt(self.target.subject, here, processor);
        self.target.subject.write_events_down(false);
        match found? {
            Some(why) => Ok(format!("{why}\n{}", self.when())),
            None => {
                self.target.subject.go_to(Moved::Position(here))?;
                refuse("no interrupt before here")
            }
        }
    }
}

/// Goes to before the last interrupt of `processor` before `here`, and says what it is.
fn last_interrupt(
    subject: &mut dyn Subject,
    here: Position,
    processor: usize,
) -> Result<Option<String>, Failure> {
    let mut end = here;
    loop {
        let first = end.retired.saturating_sub(STRETCH);
        subject.go_to(Moved::Position(Position::first(first, 0)))?;
        let begin = subject.position();
        for piece in pieces(subject, end)?.into_iter().rev() {
            if let Some(why) = within(subject, piece, here, processor)? {
                return Ok(Some(why));
            }
        }
        // The run may have begun in between.
        if begin.retired != first || first == 0 {
            return Ok(None);
        }
        end = begin;
    }
}

/// Where the pieces between here and `end` begin in which somebody takes an interrupt.
fn pieces(subject: &mut dyn Subject, end: Position) -> Result<Vec<Position>, Failure> {
    let mut found = Vec::new();
    subject.write_events_down(true);
    loop {
        let from = subject.position();
        if from >= end {
            break;
        }
        let next = Position::first(from.retired + PIECE, 0).min(end);
        subject.go_to(Moved::Position(next))?;
        if subject.write_events_down(true).lines().any(|line| taken(line).is_some()) {
            found.push(from);
        }
        if subject.position() <= from {
            break;
        }
    }
    subject.write_events_down(false);
    Ok(found)
}

/// Goes step by step from `from`: to before the last interrupt of `processor` in the piece, and before `here`.
fn within(
    subject: &mut dyn Subject,
    from: Position,
    here: Position,
    processor: usize,
) -> Result<Option<String>, Failure> {
    subject.go_to(Moved::Position(from))?;
    let mut last = None;
    while subject.position() < here && subject.position().retired <= from.retired + PIECE {
        let before = subject.position();
        let place = place(subject.machine(), processor);
        subject.write_events_down(true);
        let mut outcome = Outcome::More;
        while outcome == Outcome::More && subject.position() < here {
            outcome = subject.go_on(Some(processor))?;
        }
        let text = subject.write_events_down(false);
        let (rip, retired) = place.unwrap_or_default();
        let after = self::place(subject.machine(), processor);
        let event = text.lines().filter_map(taken).find(|taken| taken.rip == rip);
        if let Some(event) = event.filter(|_| after.is_some_and(|a| a.1 == retired)) {
            last = Some((before, why(event.way, subject.machine(), processor)));
        }
        if !matches!(outcome, Outcome::Event(_)) {
            break;
        }
    }
    let Some((before, why)) = last else { return Ok(None) };
    subject.go_to(Moved::Position(before))?;
    Ok(Some(why))
}

/// RIP of a processor, and how many instructions it has retired.
fn place(machine: &Machine, processor: usize) -> Option<(u64, u64)> {
    machine.processor(processor).map(|p| (p.state.rip, p.stats.retired))
}

/// The interrupt that a line of events tells of.
fn taken(line: &str) -> Option<Taken> {
    let number = |hex: &str| u64::from_str_radix(hex, 16).ok();
    if let Some(exit) = line.strip_prefix("vmexit ") {
        exit.split_once(": external interrupt ")?;
        return Some(Taken { way: Way::Exit, rip: number(exit.rsplit_once("ip=")?.1)? });
    }
    let mut words = line.strip_prefix("int ")?.split(' ').skip(1);
    let vector = u8::from_str_radix(words.next()?.strip_prefix("v=")?, 16).ok()?;
    let way = match words.nth(1)? {
        "External" => Way::Vector(vector),
        "Nmi" => Way::Nmi,
        _ => return None,
    };
    Some(Taken { way, rip: number(words.nth(1)?.strip_prefix("ip=")?.split_once(':')?.1)? })
}

/// What the interrupt is that a processor has just taken, with its source.
fn why(way: Way, machine: &Machine, processor: usize) -> String {
    const EXITS: u64 = 1;
    const VALID: u64 = 1 << 31;
    let saved = difference::tree(&machine.save());
    let vmx = machine.processor(processor).map(|p| &p.state.vmx);
    let vmcs = vmx.filter(|vmx| vmx.vmcs.is_current()).map(|vmx| &vmx.vmcs);
    // The vector, if the exit has told it; else it still waits.
    let told = vmcs.map(|vmcs| vmcs[Field::ExitInterruptionInfo]).filter(|v| v & VALID != 0);
    let (what, vector) = match way {
        Way::Vector(vector) => ("interrupt", vector),
        Way::Nmi => return "NMI: from outside, or sent by a processor".into(),
        Way::Exit => {
            let vector = told.map(|v| v as u8).or_else(|| highest(&saved, processor, "irr"));
            ("VM exit for an external interrupt", vector.unwrap_or(0))
        }
    };
    // In a guest for which external interrupts exit, it is the VM entry's.
    let injected = vmx.is_some_and(|vmx| vmx.guest)
        && vmcs.is_some_and(|vmcs| vmcs[Field::PinControls] & EXITS != 0);
    let who = match injected {
        true => "injected by the VM entry (last-write vmcs:EntryInterruptionInfo)".into(),
        false => sources(&saved, processor, vector),
    };
    format!("{what}, vector {vector:#x}: {who}")
}

fn number(value: &Value) -> u64 {
    value.as_u64().unwrap_or(0)
}

/// Whether a register of a local APIC has a vector.
fn is_set(saved: &Value, processor: usize, register: &str, vector: u8) -> bool {
    let words = &saved["processors"][processor]["state"]["apic"][register];
    number(&words[usize::from(vector / 32)]) >> (vector % 32) & 1 != 0
}

/// The highest vector that a register of a local APIC has.
fn highest(saved: &Value, processor: usize, register: &str) -> Option<u8> {
    (0..=u8::MAX).rev().find(|vector| is_set(saved, processor, register, *vector))
}

/// Who has asked for the interrupt of a vector that waits or is being served, as the interrupt controllers are programmed.
fn sources(saved: &Value, processor: usize, vector: u8) -> String {
    let count = saved["processors"].as_array().map_or(0, Vec::len);
    let apic = |n: usize| &saved["processors"][n]["state"]["apic"];
    let has = |entry: &Value| number(entry) & 0x1_00ff == u64::from(vector);
    if !["irr", "isr"].iter().any(|register| is_set(saved, processor, register, vector)) {
        let base = number(&saved["board"]["devices"]["pic"]["master"]["base"]);
        let second = if u64::from(vector & !7) == base { 0 } else { 8 };
        return format!("8259, IRQ {}", second + (vector & 7));
    }
    let mut found = Vec::new();
    if has(&apic(processor)["lvt"][0]) {
        found.push("local APIC timer".to_owned());
    }
    let senders = (0..count).filter(|n| number(&apic(*n)["icr"]) & 0x7ff == u64::from(vector));
    found.extend(senders.map(|n| format!("sent by processor {n}")));
    let entries = saved["board"]["devices"]["ioapic"]["entries"].as_array();
    let inputs = entries.into_iter().flatten().enumerate().filter(|(_, entry)| has(entry));
    found.extend(inputs.map(|(n, _)| format!("I/O APIC, input {n}")));
    if found.is_empty() { "a message to the local APIC".into() } else { found.join(", or ") }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn lines() {
        let line = "int 7: v=ec e=0000 External cpl=0 ip=0010:00000000000000ff address=0";
        let check = |line: &str, way| assert_eq!(taken(line), way, "{line}");
        check(line, Some(Taken { way: Way::Vector(0xec), rip: 0xff }));
        check(&line.replace("External", "Nmi"), Some(Taken { way: Way::Nmi, rip: 0xff }));
        let exit = "vmexit 7: external interrupt qualification=0 ip=00000000000000ff";
        check(exit, Some(Taken { way: Way::Exit, rip: 0xff }));
        for line in ["", "int 7", &line.replace("External", "Hardware"), "vmexit 7: CPUID ip=0"] {
            check(line, None);
        }
    }

    #[test]
    fn who_asks() {
        let mut irr = [0; 8];
        irr[1] = 1 << 4 | 1 << 5;
        let apic = json!({ "irr": irr, "lvt": [0x1_0025, 0], "icr": 0x24 });
        let (ioapic, pic) = (json!({ "entries": [0x1_0000, 0x24, 0x26] }), json!({ "base": 0x20 }));
        let board = json!({ "devices": { "ioapic": ioapic, "pic": { "master": pic } } });
        let saved = json!({ "processors": [{ "state": { "apic": apic } }], "board": board });
        assert_eq!(highest(&saved, 0, "irr"), Some(0x25));
        assert_eq!(sources(&saved, 0, 0x24), "sent by processor 0, or I/O APIC, input 1");
        assert_eq!(sources(&saved, 0, 0x25), "a message to the local APIC");
        assert_eq!(sources(&saved, 0, 0x26), "8259, IRQ 6");
        assert_eq!(sources(&saved, 0, 0x7a), "8259, IRQ 10");
    }
}
