//! What gdb's `monitor` takes: to go elsewhere in a recorded run, to look where gdb has no words, and for whom
//! breakpoints are.

use super::registers;
use super::subject::Moved;
use super::target::Target;
use crate::status::Failure;
use platform::machine::debugging::{
    self, Breakpoints, CodeBreakpoint, DataBreakpoint, Exits, FIELDS, Field, Hit, Position,
    Processor, Space, Who,
};
use platform::machine::{Icount, Machine, exit_reason};
use platform::timeline::Outcome;
use std::fmt::Write;

const HELP: &str = "\
when                      where the run is
goto N|begin|end          go to N instructions of machine time
last-write ADDR[,LENGTH]  go back to before the last store to a linear address
last-write phys:ADDR[,LENGTH]  the same of a physical address, whoever stores to it
last-write vmcs:FIELD     go back to before the last VMWRITE to a field
last-exec ADDR            go back to where a linear address was last about to run
last-exit, next-exit [REASON]  go to where a VM exit has just been made
why-interrupt             go back to where the last interrupt was about to be taken, and say who asked for it
level any|hypervisor|here|EPTP  for whom breakpoints are from now on, and those of last-write and last-exec
info registers|tlb|mem|vmcs|domains|exits
ept ADDR                  follow the translation of a linear address
guest ADDR [LENGTH]       memory at a guest-physical address
phys ADDR [LENGTH]        memory at a physical address
After a command that goes elsewhere, say maintenance flush register-cache, or use the commands of docs/strata.gdb.
";

/// Bytes of memory that are shown without a length, and at most.
const SHOWN: (usize, usize) = (64, 4096);
/// Lines that are shown of a long list.
const LINES: usize = 400;

/// The monitor, for one command.
pub(super) struct Monitor<'t, 'a> {
    pub(super) target: &'t mut Target<'a>,
}

/// What a command has to say, or what it lacks.
pub(super) type Said = Result<String, Refused>;

/// Why a command is not obeyed.
pub(super) enum Refused {
    /// A line for the user.
    Line(String),
    /// The end of everything.
    Failure(Failure),
}

impl From<Failure> for Refused {
    fn from(failure: Failure) -> Refused {
        Refused::Failure(failure)
    }
}

pub(super) fn refuse<T>(why: impl Into<String>) -> Result<T, Refused> {
    Err(Refused::Line(why.into()))
}

/// A number, in hexadecimal with 0x.
fn number(text: &str) -> Result<u64, Refused> {
    let plain = text.replace('_', "");
    let value = match plain.strip_prefix("0x") {
        Some(digits) => u64::from_str_radix(digits, 16),
        None => plain.parse(),
    };
    value.or_else(|_| refuse(format!("{text:?} is no number")))
}

/// The VMCS field of a name.
fn field(name: &str) -> Result<Field, Refused> {
    let found = FIELDS.iter().find(|line| format!("{:?}", line.field).eq_ignore_ascii_case(name));
    let names = || FIELDS.iter().map(|l| format!("{:?}", l.field)).collect::<Vec<_>>().join(" ");
    found.map_or_else(
        || refuse(format!("no field {name:?}; accepted are {}", names())),
        |l| Ok(l.field),
    )
}

/// The exits of a reason, by number or name.
fn exits(text: &str) -> Result<Exits, Refused> {
    if text.is_empty() {
        return Ok(Exits::All);
    }
    let by_name = (0..=68).find(|reason| exit_reason(*reason).eq_ignore_ascii_case(text));
    match by_name.map(u64::from).map_or_else(|| number(text), Ok) {
        Ok(reason) => Ok(Exits::Reason(reason as u32)),
        Err(_) => {
            refuse(format!("{text:?} is no exit reason; accepted are numbers, and names as CPUID"))
        }
    }
}

/// Lines of sixteen bytes from `address` on.
fn dump(address: u64, bytes: &[u8]) -> String {
    let mut text = String::new();
    for (line, at) in bytes.chunks(16).zip((address..).step_by(16)) {
        _ = write!(text, "{at:016x}:");
        line.iter().for_each(|byte| _ = write!(text, " {byte:02x}"));
        text.push('\n');
    }
    text
}

impl Monitor<'_, '_> {
    /// Obeys a command, and says what it has to say.
    pub(super) fn obey(&mut self, command: &str) -> Result<String, Failure> {
        let command = command.trim();
        let (word, rest) = command.split_once(' ').unwrap_or((command, ""));
        match self.said(word, rest.trim()) {
            Ok(text) => Ok(text),
            Err(Refused::Line(line)) => Ok(format!("{word}: {line}\n")),
            Err(Refused::Failure(failure)) => Err(failure),
        }
    }

    fn said(&mut self, word: &str, rest: &str) -> Said {
        match word {
            "help" | "" => Ok(HELP.into()),
            "when" => Ok(self.when()),
            "goto" => self.go_to(rest),
            "last-write" => self.last_write(rest),
            "last-exec" => {
                let (address, who) = (number(rest)?, self.target.who);
                let code = vec![CodeBreakpoint { address, who }];
                self.back_to(Breakpoints { code, ..Breakpoints::default() })
            }
            "last-exit" => {
                let exits = Some(exits(rest)?);
                self.back_to(Breakpoints { exits, ..Breakpoints::default() })
            }
            "next-exit" => self.next_exit(exits(rest)?),
            "why-interrupt" => self.why_interrupt(),
            "level" => self.level_for(rest),
            "info" => self.info(rest),
            "ept" => self.walk(number(rest)?),
            "guest" => self.memory(rest, true),
            "phys" => self.memory(rest, false),
            _ => refuse("no such command; help lists them"),
        }
    }

    fn machine(&self) -> &Machine {
        self.target.subject.machine()
    }

    fn processor(&self) -> Result<&Processor, Refused> {
        let shown = self.machine().processor(self.target.shown);
        shown.map_or_else(|| refuse("no processor"), Ok)
    }

    /// Who runs on a processor.
    fn level(&self, p: &Processor) -> String {
        self.target.subject.domains().level(p)
    }

    pub(super) fn when(&self) -> String {
        let Position { retired, steps, at } = self.target.subject.position();
        let shown = self.target.shown;
        let p = self.machine().processor(shown);
        let place = p.map_or(String::new(), |p| {
            let cs = p.state.sys.seg[1].selector;
            format!(" at {cs:04x}:{:016x}, {}", p.state.rip, self.level(p))
        });
        format!(
            "{} instructions of machine time, {retired} retired and {steps} steps; processor {shown}{place}\n",
            at.0
        )
    }

    /// The level that runs on the processor shown.
    fn here(&self) -> Who {
        let Ok(p) = self.processor() else { return Who::Any };
        match (p.state.vmx.guest, p.state.vmx.eptp()) {
            (false, _) => Who::Root,
            (true, Some(pointer)) => Who::Ept(pointer.0),
            (true, None) => Who::Any,
        }
    }

    fn level_for(&mut self, text: &str) -> Said {
        self.target.who = match text {
            "any" => Who::Any,
            "hypervisor" => Who::Root,
            "here" => self.here(),
            other => Who::Ept(number(other)?),
        };
        Ok(format!("breakpoints are for {:x?}\n", self.target.who))
    }

    pub(super) fn goes_back(&self) -> Result<(), Refused> {
        if self.target.subject.goes_back() {
            return Ok(());
        }
        refuse("there is no way back in a live run; record it, and use strata debug")
    }

    fn go_to(&mut self, text: &str) -> Said {
        self.goes_back()?;
        let to = match text {
            "begin" => Moved::Position(Position::default()),
            "end" => Moved::End,
            time => Moved::Time(Icount(number(time)?)),
        };
        let there = self.target.subject.go_to(to)?;
        self.target.shown = self.machine().last_processor();
        let end = if there { "" } else { "the run ends before\n" };
        Ok(format!("{end}{}", self.when()))
    }

    fn last_write(&mut self, text: &str) -> Said {
        if let Some(name) = text.strip_prefix("vmcs:") {
            let vmwrites = Some(field(name)?);
            return self.back_to(Breakpoints { vmwrites, ..Breakpoints::default() });
        }
        let (space, text) = match text.strip_prefix("phys:") {
            Some(text) => (Space::Physical, text),
            None => (Space::Linear, text),
        };
        let (address, length) = text.split_once(',').unwrap_or((text, "1"));
        let (first, length) = (number(address)?, number(length.trim())?.clamp(1, 4096));
        let last = first.saturating_add(length - 1);
        let (loads, stores, who) = (false, true, self.target.who);
        let data = vec![DataBreakpoint { first, last, loads, stores, space, who }];
        self.back_to(Breakpoints { data, ..Breakpoints::default() })
    }

    /// Goes back to the last of these breakpoints.
    fn back_to(&mut self, at: Breakpoints) -> Said {
        self.goes_back()?;
        let from = self.target.subject.position();
        self.target.subject.set_breakpoints(at);
        match self.target.subject.go_back(&mut || false)? {
            Outcome::Event(event) => Ok(self.come(event)),
            _ => {
                self.target.subject.go_to(Moved::Position(from))?;
                Ok("not before here\n".into())
            }
        }
    }

    fn next_exit(&mut self, exits: Exits) -> Said {
        let exits = Some(exits);
        self.target.subject.set_breakpoints(Breakpoints { exits, ..Breakpoints::default() });
        loop {
            match self.target.subject.go_on(None)? {
                Outcome::More => {}
                Outcome::Event(event) => return Ok(self.come(event)),
                _ => return Ok(format!("the run ends before\n{}", self.when())),
            }
        }
    }

    /// What there is to say where a breakpoint was met.
    fn come(&mut self, event: debugging::Event) -> String {
        let mut text = String::new();
        if let debugging::Event::Hit { processor, hit } = event {
            self.target.shown = processor;
            if let Hit::Exit { reason } = hit {
                _ = writeln!(text, "VM exit, reason {reason}, {}", exit_reason(reason));
            }
        }
        text + &self.when()
    }

    fn info(&self, what: &str) -> Said {
        match what {
            "registers" => Ok(registers::text(self.processor()?, self.machine().now().0)),
            "tlb" => self.tlb(),
            "mem" => Ok(self.ranges()),
            "vmcs" => self.vmcs(),
            "domains" => Ok(self.domains()),
            "exits" => Ok(self.exits()),
            _ => refuse("accepted are registers, tlb, mem, vmcs, domains and exits"),
        }
    }

    fn vmcs(&self) -> Said {
        let vmcs = &self.processor()?.state.vmx.vmcs;
        if !vmcs.is_current() {
            return refuse("no VMCS is current");
        }
        let mut text = format!("VMCS at {:#x}\n", vmcs.address);
        for line in FIELDS {
            _ = writeln!(text, "{:04x} {:?} {:#x}", line.encoding, line.field, vmcs[line.field]);
        }
        Ok(text)
    }

    fn tlb(&self) -> Said {
        let regime = self.processor()?.paging_regime();
        let mut text = String::new();
        let entries = self.machine().translations().filter(|entry| entry.regime == regime);
        for entry in entries.take(LINES) {
            let kind = match (entry.view, entry.permitted) {
                (None, _) => "x",
                (_, true) => "rw",
                _ => "r",
            };
            let user = if entry.user { "user" } else { "supervisor" };
            _ = writeln!(text, "{:016x} -> {:012x} {kind} {user}", entry.la, entry.phys);
        }
        Ok(text)
    }

    fn ranges(&self) -> String {
        let pages = self.machine().page_count();
        format!("{pages} pages of memory, {} MiB\n", pages >> 8)
    }

    fn domains(&self) -> String {
        let mut text = String::new();
        for (n, p) in self.machine().processors().enumerate() {
            _ = writeln!(text, "processor {n}: {}", self.level(p));
        }
        for (level, count) in self.machine().level_counts() {
            _ = writeln!(text, "{level}: {count} instructions since the machine was put here");
        }
        text
    }

    fn exits(&self) -> String {
        let mut text = String::new();
        for (level, reason, count) in self.machine().exit_counts() {
            let name = exit_reason(reason);
            _ = writeln!(text, "{level}, {name}: {count} since the machine was put here");
        }
        text
    }

    fn walk(&self, address: u64) -> Said {
        let seen = self.machine().translate(self.target.shown, address);
        let mut text = String::new();
        for entry in &seen.entries {
            let what = if entry.ept { "EPT" } else { "paging" };
            let (level, at, value) = (entry.level, entry.at.0, entry.value);
            _ = writeln!(text, "{what} level {level} at {at:#x}: {value:#018x}");
        }
        match (seen.guest, seen.phys) {
            (Some(guest), Some(phys)) => {
                _ = writeln!(
                    text,
                    "{address:#x} is guest-physical {:#x}, physical {:#x}",
                    guest.0, phys.0
                );
            }
            (Some(guest), None) => {
                _ = writeln!(
                    text,
                    "{address:#x} is guest-physical {:#x}, which EPT does not map",
                    guest.0
                );
            }
            _ => _ = writeln!(text, "{address:#x} is not mapped"),
        }
        Ok(text)
    }

    /// Memory at `ADDR LENGTH`, guest-physical or not.
    fn memory(&self, text: &str, guest: bool) -> Said {
        let (address, length) = text.split_once(' ').unwrap_or((text, ""));
        let address = number(address)?;
        let length = if length.is_empty() { SHOWN.0 } else { number(length.trim())? as usize };
        let mut bytes = vec![0; length.clamp(1, SHOWN.1)];
        let seen = self.machine().translate_guest(self.target.shown, address);
        let physical = if guest { seen.phys.map(|p| p.0) } else { Some(address) };
        let Some(physical) = physical else { return refuse("EPT does not map it") };
        if !self.machine().read_physical(physical, &mut bytes) {
            return refuse("no memory is there");
        }
        Ok(dump(address, &bytes))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn line<T>(refused: Result<T, Refused>) -> String {
        match refused {
            Err(Refused::Line(line)) => line,
            _ => String::new(),
        }
    }

    #[test]
    fn words() {
        assert!(matches!(number("0x1_0"), Ok(16)));
        assert_eq!(line(number("x")), "\"x\" is no number");
        assert!(matches!(field("guestrip"), Ok(Field::GuestRip)));
        assert!(line(field("rip")).starts_with("no field \"rip\"; accepted are Vpid "));
        assert!(matches!(exits(""), Ok(Exits::All)));
        assert!(matches!(exits("cpuid"), Ok(Exits::Reason(10))));
        assert!(matches!(exits("48"), Ok(Exits::Reason(48))));
        assert!(line(exits("nothing")).starts_with("\"nothing\" is no exit reason"));
    }

    #[test]
    fn dumps() {
        let expect = "0000000000001000: 00 01\n";
        assert_eq!(dump(0x1000, &[0, 1]), expect);
        assert_eq!(dump(0, &[0; 17]).lines().count(), 2);
    }
}
