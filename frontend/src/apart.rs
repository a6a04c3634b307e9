//! `strata diff`: the first instruction at which two recordings part.
//!
//! What is compared is where the runs go: after each so many instructions of both the place of every processor, and
//! whether it is in a guest; then, in the stretch after the last look at which they were the same, after each
//! instruction. Time and data are not compared, for runs that begin otherwise have others from the first instruction on.

use crate::debug::recorded::{self, Snapshots};
use crate::difference;
use crate::input::{self, Event};
use crate::kept::Diff;
use crate::replay::Replay;
use crate::status::{Failure, Status};
use crate::time_travel;
use platform::machine::debugging::Position;
use platform::machine::{Config, Icount, Level};
use platform::recording::Frame;
use platform::timeline::Timeline;
use std::fmt::Write as _;
use std::path::Path;

/// The most registers that are shown.
const MOST: usize = 40;
/// Instructions of code that are shown.
const CODE: usize = 3;

/// One of two runs.
struct Run {
    timeline: Timeline<Snapshots>,
}

/// Where a run is.
#[derive(Debug, PartialEq, Eq)]
struct Place {
    /// The run ends before.
    ended: bool,
    /// RIP of each processor, and whether it is in a guest.
    processors: Vec<(u64, bool)>,
}

impl Run {
    fn new(replay: Replay) -> Result<Run, Failure> {
        recorded::timeline(replay, Config::default()).map(|timeline| Run { timeline })
    }

    /// Goes to where all processors have retired so many instructions.
    fn go(&mut self, retired: u64) -> Result<Place, Failure> {
        let there = self.timeline.go_to(Position::first(retired, 0))?;
        let machine = self.timeline.machine();
        let place = |cpu: &platform::machine::debugging::Processor| cpu.save().rip;
        let rips = machine.processors().map(place);
        let levels = (0..).map(|n| machine.level(n) != Level::Root);
        Ok(Place { ended: !there, processors: rips.zip(levels).collect() })
    }

    fn retired(&self) -> u64 {
        self.timeline.machine().position().retired
    }

    /// Who is where, and the code there.
    fn here(&self, processor: usize) -> String {
        let machine = self.timeline.machine();
        let rip = machine.processor(processor).map_or(0, |cpu| cpu.save().rip);
        let level = match machine.level(processor) {
            Level::Root => "the hypervisor, or no VMX".into(),
            Level::Ept(pointer) => format!("the guest of EPT pointer {pointer:#x}"),
            Level::Vmcs(address) => format!("the guest of the VMCS at {address:#x}"),
            Level::Others => "another guest".into(),
        };
        let time = machine.now().0;
        let mut text =
            format!("processor {processor} at {rip:#x} in {level}, machine time {time}\n");
        for line in machine.disassemble(Some(processor), rip, CODE) {
            _ = writeln!(text, "    {line}");
        }
        text
    }
}

/// `strata diff`.
pub(crate) fn run(asked: &Diff) -> Result<Status, Failure> {
    let (first, second) = (Replay::read(&asked.first)?, Replay::read(&asked.second)?);
    let same = same_until(&first, &second);
    let input = first_input(&first, &second);
    let mut pair = Pair { a: Run::new(first)?, b: Run::new(second)? };
    let mut text = pair.machines();
    text += &input;
    if same > Icount(0) {
        _ = writeln!(text, "the states are the same up to machine time {}, at the least", same.0);
    }
    let parted = pair.find(same, asked.every)?;
    match parted {
        None => _ = writeln!(text, "the runs go the same way: {} instructions", pair.a.retired()),
        Some(count) => text += &pair.tell(count, &asked.first, &asked.second)?,
    }
    time_travel::print(&text)?;
    Ok(if parted.is_some() { Status::Differs } else { Status::Success })
}

/// The last machine time up to which all states of the last run that both have hashes of are the same.
fn same_until(first: &Replay, second: &Replay) -> Icount {
    let (a, b) = (first.last_run(), second.last_run());
    match (a.first(), b.first()) {
        (Some(Frame::Snapshot { id: a, .. }), Some(Frame::Snapshot { id: b, .. })) if a == b => {}
        _ => return Icount(0),
    }
    let hash = |frame: &Frame| match frame {
        Frame::Hash { at, hash } => Some((*at, *hash)),
        _ => None,
    };
    let theirs: std::collections::BTreeMap<_, _> = b.iter().filter_map(hash).collect();
    let both = a.iter().filter_map(hash).filter(|(at, _)| theirs.contains_key(at));
    let same = both.take_while(|(at, hash)| theirs.get(at) == Some(hash));
    same.last().map_or(Icount(0), |(at, _)| at)
}

/// The first input that the runs do not have in common.
fn first_input(first: &Replay, second: &Replay) -> String {
    let line = |frame: &Frame| match frame {
        Frame::Input { at, input } => Some(input::line(at.0, &Event::Input(input.clone()))),
        _ => None,
    };
    let mut a = first.last_run().iter().filter_map(line);
    let mut b = second.last_run().iter().filter_map(line);
    loop {
        let none = || "none\n".to_owned();
        match (a.next(), b.next()) {
            (None, None) => return String::new(),
            (a, b) if a == b => {}
            (a, b) => {
                let (a, b) = (a.unwrap_or_else(none), b.unwrap_or_else(none));
                return format!("the first input that differs:\n  A: {a}  B: {b}");
            }
        }
    }
}

/// Two runs that are compared.
struct Pair {
    a: Run,
    b: Run,
}

impl Pair {
    /// In what the machines differ before their first instruction.
    fn machines(&self) -> String {
        let [a, b] = [&self.a, &self.b].map(|run| run.timeline.machine().save());
        let all = difference::between(a, b);
        let config = all.iter().filter(|d| d.field.starts_with("config."));
        config.fold(String::new(), |text, d| {
            format!("{text}{}: {} -> {}\n", d.field, d.first, d.second)
        })
    }

    /// How many instructions the runs go the same way; none if to the end. They are the same up to machine time `same`.
    fn find(&mut self, same: Icount, every: u64) -> Result<Option<u64>, Failure> {
        for run in [&mut self.a, &mut self.b] {
            run.timeline.go_to_time(same)?;
        }
        let mut count = self.a.retired();
        loop {
            let (a, b) = (self.a.go(count + every)?, self.b.go(count + every)?);
            if a != b || a.ended && self.a.retired() != self.b.retired() {
                break;
            }
            if a.ended {
                return Ok(None);
            }
            count += every;
        }
        // One after the other: both go on from where they were the same.
        for after in count..count + every {
            let (a, b) = (self.a.go(after + 1)?, self.b.go(after + 1)?);
            if a != b {
                return Ok(Some(after));
            }
        }
        Ok(Some(count + every))
    }

    /// The runs part after `count` instructions.
    fn tell(&mut self, count: u64, first: &Path, second: &Path) -> Result<String, Failure> {
        self.a.go(count + 1)?;
        let processor = self.a.timeline.machine().last_processor();
        let next = [self.a.here(processor), self.b.here(processor)];
        self.a.go(count)?;
        self.b.go(count)?;
        let mut text = format!("the runs part after {count} instructions\n");
        for (name, path, run, next) in
            [("A", first, &self.a, &next[0]), ("B", second, &self.b, &next[1])]
        {
            let path = path.display();
            _ = write!(text, "{name}: {path}: {}  then {next}", run.here(processor));
        }
        let [a, b] = [&self.a, &self.b].map(|run| run.timeline.machine().save());
        let place = format!("processors[{processor}].");
        let all = difference::between(a, b);
        let own: Vec<_> = all.iter().filter(|d| d.field.starts_with(&place)).collect();
        _ = writeln!(text, "of that processor differ, before they part:");
        for d in own.iter().take(MOST) {
            let name = register(d.field.trim_start_matches(&place));
            _ = writeln!(text, "  {name}: {} -> {}", d.first, d.second);
        }
        if own.len() > MOST {
            _ = writeln!(text, "  and {} more", own.len() - MOST);
        }
        Ok(text)
    }
}

/// The name of a register, where it is one by number.
fn register(field: &str) -> String {
    const NAMES: [&str; 16] = [
        "rax", "rcx", "rdx", "rbx", "rsp", "rbp", "rsi", "rdi", "r8", "r9", "r10", "r11", "r12",
        "r13", "r14", "r15",
    ];
    let number = field.strip_prefix("state.regs[").and_then(|rest| rest.strip_suffix(']'));
    let name = number.and_then(|n| NAMES.get(n.parse::<usize>().ok()?).copied());
    name.unwrap_or(field.strip_prefix("state.").unwrap_or(field)).to_owned()
}
